//! A filter configuration made ready to judge requests: look-up tables and compiled redaction sets.

use std::cell::RefCell;
use std::rc::Rc;

use weir_config::filter;
use weir_pii as pii;
use weir_sorted::Map;
use weir_tokens::Vocabulary;
use weir_wire::base64;

use crate::cooling::Cooling;
use crate::io::Now;
use crate::learned::Learned;
use crate::outside::Heard;
use crate::seen::Seen;
use crate::sigv4::unhex;

/// Redaction sets are kept per combination of matching rules; more combinations than this are built anew.
const MAX_SETS: usize = 64;

/// Detectors outside that a policy may name.
pub const MOST_ANALYZERS: usize = 32;

/// What of an exchange is searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Request,
    Answer,
    /// Both, for what a span shows of them: whatever a rule does with what it finds, it is masked there.
    Shown,
}

/// A redaction set under its side, the rules that it was made of, and the tenant whose key
/// it has, if it has one.
type KeptSet = ((Side, u64, Option<usize>), Rc<pii::Set>);

/// One version of the policy.
#[derive(Debug)]
pub struct Policy {
    /// As received.
    pub config: filter::Exchange,
    keys: Map<[u8; 32], (usize, usize)>,
    pairs: Map<String, (usize, usize)>,
    models: Map<String, usize>,
    tenants: Map<String, usize>,
    sets: RefCell<Vec<KeptSet>>,
    /// Counts of texts seen before.
    pub seen: RefCell<Seen>,
    /// What detectors outside said of texts before.
    pub heard: RefCell<Heard>,
    /// What providers taught; the host hands one VM's on from policy to policy.
    pub learned: Rc<RefCell<Learned>>,
    /// Targets that are left alone, as the host last knew.
    pub cooling: RefCell<Cooling>,
    /// Types that boundaries ask for, found whether or not a rule redacts them.
    found: Vec<String>,
}

/// Who calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// Index of the tenant.
    pub tenant: usize,
    /// Its name.
    pub name: String,
    /// Id of the key; empty for anonymous callers.
    pub key: String,
    /// Labels: the tenant's, overridden by the key's.
    pub labels: Map<String, String>,
}

/// Why a configuration cannot be used; names the offending entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// A key's hash is not 64 hex digits.
    KeyHash(String),
    /// Two keys have the same hash.
    KeyTwice(String),
    /// A model name or alias is given twice.
    ModelTwice(String),
    /// A target names a provider that does not exist.
    Provider(String),
    /// A route or a tenant names a model that does not exist.
    Model(String),
    /// A target names a vocabulary that this module was not built with.
    Tokenizer(String),
    /// A detector does not exist.
    Detector(String),
    /// Anonymous callers are given to a tenant that does not exist.
    Tenant(String),
    /// More of something than the filter keeps track of.
    TooMany(&'static str),
    /// A budget needs a ledger and none is configured.
    NoLedger(String),
    /// A budget's definition is not 16 hex digits.
    Definition(String),
}

impl std::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::KeyHash(id) => write!(f, "key `{id}`: sha256 is not 64 hex digits"),
            Self::KeyTwice(id) => write!(f, "key `{id}`: another key has the same sha256"),
            Self::ModelTwice(name) => write!(f, "model name or alias `{name}` is given twice"),
            Self::Provider(name) => write!(f, "provider `{name}` does not exist"),
            Self::Model(name) => write!(f, "model `{name}` does not exist"),
            Self::Tokenizer(name) => write!(f, "tokenizer `{name}` is not built into this module"),
            Self::Detector(name) => write!(f, "detector `{name}` does not exist"),
            Self::Tenant(name) => write!(f, "tenant `{name}` does not exist"),
            Self::TooMany(what) => write!(f, "too many {what}"),
            Self::NoLedger(name) => write!(f, "budget `{name}` needs `ledger`"),
            Self::Definition(name) => write!(f, "budget `{name}`: definition is not 16 hex digits"),
        }
    }
}

impl Policy {
    /// Checks every reference and builds the tables.
    pub fn new(config: filter::Exchange) -> Result<Self, ConfigError> {
        let mut keys = Map::new();
        let mut pairs = Map::new();
        let mut tenants = Map::new();
        for (t, tenant) in config.tenants.iter().enumerate() {
            tenants.insert(tenant.name.clone(), t);
            for (p, pair) in tenant.pairs.iter().enumerate() {
                let hashes = pair.days.values().all(|key| unhex(key.as_bytes()).is_some());
                if !hashes {
                    return Err(ConfigError::KeyHash(pair.id.clone()));
                }
                if pairs.insert(pair.access_key.clone(), (t, p)).is_some() {
                    return Err(ConfigError::KeyTwice(pair.id.clone()));
                }
            }
            for (k, key) in tenant.keys.iter().enumerate() {
                let hash =
                    unhex(key.sha256.as_bytes()).ok_or_else(|| ConfigError::KeyHash(key.id.clone()))?;
                if keys.insert(hash, (t, k)).is_some() {
                    return Err(ConfigError::KeyTwice(key.id.clone()));
                }
            }
        }
        let mut models = Map::new();
        for (m, model) in config.models.iter().enumerate() {
            for name in std::iter::once(&model.name).chain(&model.aliases) {
                if models.insert(name.clone(), m).is_some() {
                    return Err(ConfigError::ModelTwice(name.clone()));
                }
            }
            for target in &model.targets {
                if !config.providers.iter().any(|p| p.name == target.provider) {
                    return Err(ConfigError::Provider(target.provider.clone()));
                }
                if let Some(name) = &target.tokenizer
                    && Vocabulary::from_name(name).is_none()
                {
                    return Err(ConfigError::Tokenizer(name.clone()));
                }
            }
        }
        let known = |name: &String| {
            if models.contains_key(name) { Ok(()) } else { Err(ConfigError::Model(name.clone())) }
        };
        for route in &config.routes {
            known(&route.model)?;
        }
        for budget in &config.budgets {
            budget.exceeded.as_ref().map_or(Ok(()), known)?;
        }
        for mirror in config.routes.iter().filter_map(|route| route.mirror.as_ref()) {
            let there = |t: &filter::Target| t.provider == mirror.provider && t.model == mirror.model;
            if !config.models.iter().any(|model| model.targets.iter().any(there)) {
                return Err(ConfigError::Model(mirror.model.clone()));
            }
        }
        if let Some(name) = &config.identity.anonymous
            && !tenants.contains_key(name)
        {
            return Err(ConfigError::Tenant(name.clone()));
        }
        if config.redaction.len() > 64 {
            return Err(ConfigError::TooMany("redaction rules (at most 64)"));
        }
        if config.analyzers.len() > MOST_ANALYZERS {
            return Err(ConfigError::TooMany("detectors outside (at most 32)"));
        }
        for analyzer in &config.analyzers {
            if let Some(name) = analyzer.types.values().find(|name| pii::Kind::named(name).is_none()) {
                return Err(ConfigError::Detector(name.clone()));
            }
        }
        for budget in &config.budgets {
            if config.ledger.is_none() {
                return Err(ConfigError::NoLedger(budget.name.clone()));
            }
            if u64::from_str_radix(&budget.definition, 16).is_err() {
                return Err(ConfigError::Definition(budget.name.clone()));
            }
        }
        let mut found: Vec<String> = Vec::new();
        for boundary in &config.boundaries {
            for name in &boundary.when.found {
                if !found.contains(name) {
                    found.push(name.clone());
                }
            }
        }
        let policy = Self {
            config,
            keys,
            pairs,
            models,
            tenants,
            sets: RefCell::default(),
            seen: RefCell::default(),
            heard: RefCell::default(),
            learned: Rc::default(),
            cooling: RefCell::default(),
            found,
        };
        // Built once here so that an unknown detector is an error of the configuration, not of a request.
        policy.build_set(Side::Request, u64::MAX)?;
        policy.build_set(Side::Answer, u64::MAX)?;
        Ok(policy)
    }

    /// The caller whose key has this hash; `Err` names a key that has expired.
    pub fn caller(&self, hash: &[u8; 32], now: Now) -> Option<Result<Caller, &str>> {
        let (t, k) = *self.keys.get(hash)?;
        let tenant = self.config.tenants.get(t)?;
        let key = tenant.keys.get(k)?;
        Some(self.known(t, &key.id, &key.labels, key.expires, now))
    }

    /// The caller who signs with this access key, and the pair; `Err` names one that has expired.
    pub fn signer(&self, access_key: &str, now: Now) -> Option<Result<(Caller, &filter::KeyPair), &str>> {
        let (t, p) = *self.pairs.get(access_key)?;
        let pair = self.config.tenants.get(t)?.pairs.get(p)?;
        Some(self.known(t, &pair.id, &pair.labels, pair.expires, now).map(|caller| (caller, pair)))
    }

    fn known<'p>(
        &'p self,
        tenant: usize,
        id: &'p str,
        own: &Map<String, String>,
        expires: Option<u64>,
        now: Now,
    ) -> Result<Caller, &'p str> {
        if expires.is_some_and(|at| now.seconds() >= at) {
            return Err(id);
        }
        let of = self.config.tenants.get(tenant);
        let mut labels = of.map(|of| of.labels.clone()).unwrap_or_default();
        labels.extend(own.iter().map(|(name, value)| (name.clone(), value.clone())));
        let name = of.map(|of| of.name.clone()).unwrap_or_default();
        Ok(Caller { tenant, name, key: id.to_owned(), labels })
    }

    /// The caller without a credential, if the policy admits one.
    pub fn anonymous(&self) -> Option<Caller> {
        let name = self.config.identity.anonymous.as_ref()?;
        let t = *self.tenants.get(name)?;
        let labels = self.config.tenants.get(t)?.labels.clone();
        Some(Caller { tenant: t, name: name.clone(), key: String::new(), labels })
    }

    /// The caller's tenant.
    pub fn tenant(&self, caller: &Caller) -> Option<&filter::Tenant> {
        self.config.tenants.get(caller.tenant)
    }

    /// The model of a name or alias.
    pub fn model(&self, name: &str) -> Option<&filter::Model> {
        self.config.models.get(*self.models.get(name)?)
    }

    /// The name of the model of a name or alias; other names are themselves.
    pub fn name_of<'n>(&'n self, name: &'n str) -> &'n str {
        self.model(name).map_or(name, |model| model.name.as_str())
    }

    /// The provider of a name.
    pub fn provider(&self, name: &str) -> Option<&filter::Provider> {
        self.config.providers.iter().find(|p| p.name == name)
    }

    /// What a provider is given of the caller's tenant; empty is nothing.
    pub fn own(&self, provider: &str, caller: &Caller) -> String {
        let own = self.provider(provider).and_then(|provider| provider.tenants.get(&caller.name));
        own.cloned().unwrap_or_default()
    }

    /// What is looked for in a caller's requests for this model (or their answers); `None` when nothing is.
    pub fn redaction(&self, caller: &Caller, asked: &str, request: bool) -> Option<Rc<pii::Set>> {
        let mask = self.rules(caller, asked, request);
        let looks_for_boundaries = request && !self.found.is_empty();
        let outside = if request { self.analyzers(caller, asked) } else { 0 };
        if mask == 0 && !looks_for_boundaries && outside == 0 {
            return None;
        }
        let mut rules = self.config.redaction.iter().enumerate();
        let mut others = self.config.analyzers.iter().enumerate();
        let hashes = rules.any(|(i, rule)| mask & (1 << i) != 0 && rule.action == filter::Action::Hash)
            || others.any(|(i, rule)| outside & (1 << i) != 0 && rule.action == filter::Action::Hash);
        let tenant = self.config.tenants.iter().position(|tenant| hashes && tenant.name == caller.name);
        self.set(if request { Side::Request } else { Side::Answer }, mask, tenant)
    }

    /// What must not be seen in what a span shows of a caller's exchange: all that the rules of either direction look
    /// for. `Err` says why nothing may be shown: no rule proves anything of it, or a detector outside reports what then
    /// stays where it is.
    pub fn shown(&self, caller: &Caller, asked: &str) -> Result<Rc<pii::Set>, &'static str> {
        let outside = self.analyzers(caller, asked);
        let mut others = self.config.analyzers.iter().enumerate();
        if others.any(|(i, rule)| outside & (1 << i) != 0 && rule.action == filter::Action::Report) {
            return Err("reported");
        }
        match self.rules(caller, asked, true) | self.rules(caller, asked, false) {
            0 => Err("no_rule"),
            mask => self.set(Side::Shown, mask, None).ok_or("no_rule"),
        }
    }

    fn set(&self, side: Side, mask: u64, tenant: Option<usize>) -> Option<Rc<pii::Set>> {
        if let Some((_, set)) = self.sets.borrow().iter().find(|(of, _)| *of == (side, mask, tenant)) {
            return Some(set.clone());
        }
        let key = tenant.and_then(|tenant| self.config.tenants.get(tenant));
        let key = key.and_then(|tenant| pii::Key::from_hex(&tenant.digest_key));
        // Every rule was built once when the configuration came.
        let set = self.build_set(side, mask).ok()?.keyed(key);
        let mut sets = self.sets.borrow_mut();
        let set = Rc::new(sets.iter().fold(set, |set, (_, other)| set.beside(other)));
        if sets.len() < MAX_SETS {
            sets.push(((side, mask, tenant), set.clone()));
        }
        Some(set)
    }

    /// Whether what cannot be searched passes: all rules that match say so.
    pub fn may_pass(&self, caller: &Caller, asked: &str, request: bool) -> bool {
        let mask = self.rules(caller, asked, request);
        let outside = if request { self.analyzers(caller, asked) } else { 0 };
        self.config.redaction.iter().enumerate().all(|(i, rule)| mask & (1 << i) == 0 || rule.pass)
            && self.config.analyzers.iter().enumerate().all(|(i, rule)| outside & (1 << i) == 0 || rule.pass)
    }

    /// The detectors outside that look at a caller's requests for this model, a bit for each.
    pub fn analyzers(&self, caller: &Caller, asked: &str) -> u32 {
        let mut mask = 0;
        for (i, rule) in self.config.analyzers.iter().enumerate() {
            if who(&rule.when, caller) && any(&rule.when.model, asked) {
                mask |= 1 << i;
            }
        }
        mask
    }

    /// The redaction rules that match, a bit for each.
    pub fn rules(&self, caller: &Caller, asked: &str, request: bool) -> u64 {
        let mut mask = 0u64;
        for (i, rule) in self.config.redaction.iter().enumerate() {
            let side = if request { rule.request } else { rule.response };
            if side && who(&rule.when, caller) && any(&rule.when.model, asked) {
                mask |= 1 << i;
            }
        }
        mask
    }

    fn build_set(&self, side: Side, mask: u64) -> Result<pii::Set, ConfigError> {
        let (mut rules, mut patterns) = (Vec::new(), Vec::new());
        let shown = side == Side::Shown;
        if side != Side::Answer && !self.found.is_empty() {
            rules.push(pii::Rule {
                find: self.found.clone(),
                words: Vec::new(),
                action: if shown { pii::Action::Mask } else { pii::Action::Report },
            });
        }
        for (i, rule) in self.config.redaction.iter().enumerate() {
            let searched = match side {
                Side::Request => rule.request,
                Side::Answer => rule.response,
                Side::Shown => true,
            };
            if searched && mask & (1 << i) != 0 {
                let action = match action(rule.action) {
                    _ if shown => pii::Action::Mask,
                    // Nobody would restore what a placeholder stands for in an answer.
                    pii::Action::Tokenize if side == Side::Answer => pii::Action::Mask,
                    action => action,
                };
                let mut find = rule.find.clone();
                if rule.pass {
                    // A newer control plane may know types that this module does not.
                    weir_sorted::keep(&mut find, |name| pii::Kind::of(name).is_some());
                }
                patterns.extend(rule.patterns.iter().map(|table| (action, table)));
                rules.push(pii::Rule { find, words: rule.words.clone(), action });
            }
        }
        let mut set = pii::Set::new(&rules).map_err(|e| ConfigError::Detector(e.to_string()))?;
        for (action, table) in patterns {
            let bytes = base64::decode(table.as_bytes()).unwrap_or_default();
            if !set.add_pattern(&bytes, action) {
                return Err(ConfigError::Detector("a pattern whose table is none".to_owned()));
            }
        }
        Ok(set)
    }
}

/// An action as the detectors know it.
pub fn action(action: filter::Action) -> pii::Action {
    match action {
        filter::Action::Report => pii::Action::Report,
        filter::Action::Tokenize => pii::Action::Tokenize,
        filter::Action::Hash => pii::Action::Hash,
        filter::Action::Mask => pii::Action::Mask,
        filter::Action::Block => pii::Action::Block,
    }
}

/// Whether the caller's part of a condition holds: tenant, key and labels.
pub fn who(when: &filter::When, caller: &Caller) -> bool {
    any(&when.tenant, &caller.name)
        && any(&when.key, &caller.key)
        && when
            .labels
            .iter()
            .all(|(name, values)| caller.labels.get(name).is_some_and(|v| values.contains(v)))
}

/// Whether a list allows a value: an empty one allows every value.
pub fn any(list: &[String], value: &str) -> bool {
    list.is_empty() || list.iter().any(|v| v == value)
}
