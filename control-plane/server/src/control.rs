//! A running control plane: it watches the policy file and the module, and publishes what follows from them.
//!
//! A change is published only after it was read, judged, compiled and found consistent; until then, and for
//! ever if it is not, the last good one stays, and the status says why.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use weir_config::filter;
use weir_model::Problem;
use weir_xds::{Form, Input, List, Module, Provider, consistent, snapshot};

use crate::Failure;
use crate::audit::Audit;
use crate::convert::{self, Surroundings};
use crate::decisions::Decisions;
use crate::fleet::{Fleet, Published, unix_ms};
use crate::ledger::Ledger;
use crate::module::ModuleFile;
use crate::pairs::Pairs;
use crate::source::{Loaded, Refused, Source};
use crate::spend::Spend;

/// How often files are looked at. With it, a change is live within a fifth of a second.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long the clusters of a removed provider stay: requests that were judged before may still be tried there.
const LINGER: Duration = Duration::from_secs(60);

/// What a control plane is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The policy file.
    pub config: PathBuf,
    /// What has to survive a restart: the ledger, the last good policy, copies of the module.
    pub data: PathBuf,
    /// The module, and whether it is a path of the gateways' file systems.
    pub module: (PathBuf, bool),
    /// The listener's address in place of the policy's.
    pub listen: Option<SocketAddr>,
    /// What is the same for every policy.
    pub around: Surroundings,
    /// Whether a broken file at the start may be passed over for the last good policy.
    pub fall_back: bool,
}

/// A running control plane.
pub struct Control {
    /// Gateways, and what they are told.
    pub fleet: Arc<Fleet>,
    /// Budgets.
    pub ledger: Ledger,
    /// Whose spend it is.
    pub spend: Arc<Spend>,
    /// Why each request went where it went.
    pub decisions: Arc<Decisions>,
    /// What operators did.
    pub audit: Audit,
    /// Key pairs for AWS's SDKs.
    pub pairs: Pairs,
    /// The policy's tenants, with the ids of their keys.
    tenants: Mutex<Vec<(String, Vec<String>)>>,
    status: Mutex<Status>,
}

/// What people are told about the policy.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Status {
    /// Version of the policy that gateways are told.
    pub version: String,
    /// Unix milliseconds of its publication.
    pub since_ms: u64,
    /// The policy file.
    pub file: PathBuf,
    /// Why the file as it stands is not in use; empty when it is.
    pub problems: Vec<String>,
    /// What will probably disappoint in the policy in use.
    pub warnings: Vec<Problem>,
    /// SHA-256 of the module; empty when gateways bring their own.
    pub module: String,
    /// Version of the snapshot that gateways are told.
    pub snapshot: String,
    /// The policy in use, as written.
    #[serde(skip)]
    pub text: String,
}

impl Control {
    /// Reads everything once and publishes it. An unusable policy ends the start, unless an earlier life left a
    /// good one and `fall_back` allows it.
    pub async fn start(options: &Options) -> Result<(Arc<Self>, Watcher), Failure> {
        let data = &options.data;
        std::fs::create_dir_all(data).map_err(|why| Failure::new(format!("{}: {why}", data.display())))?;
        let mut source = Source::new(&options.config, data, options.listen);
        let (file, in_gateways) = &options.module;
        let mut module_file =
            if *in_gateways { ModuleFile::in_gateways(file, data) } else { ModuleFile::here(file, data) };
        let module = module_file.poll().unwrap_or_else(|| Err(Failure::new("no module")))?;
        source.set_tokenizers(module_file.tokenizers());
        let last_good = source.last_good();
        let (loaded, problems) = match source.poll() {
            Some(Ok(loaded)) => (loaded, Vec::new()),
            Some(Err(refused)) => {
                let failure = refused.failure(&options.config);
                match last_good.filter(|_| options.fall_back) {
                    Some(loaded) => {
                        tracing::error!(
                            version = loaded.compiled.version,
                            "{failure}; the last good policy stays"
                        );
                        (loaded, refused.lines())
                    }
                    None => return Err(failure),
                }
            }
            None => return Err(Failure::new("the policy file was not read")),
        };
        let refused = problems.clone();
        let ledger = Ledger::open(data, &loaded.compiled.ledger)?;
        if let Some(why) = ledger.lacks().await {
            tracing::warn!("hard budgets are hard but for the last moments before a loss of Redis: {why}");
        }
        let control = Arc::new(Self {
            fleet: Fleet::new(Arc::default()),
            ledger,
            spend: Arc::new(Spend::open(data).map_err(|why| Failure::new(format!("spend records: {why}")))?),
            decisions: Arc::default(),
            audit: Audit::new(data),
            pairs: Pairs::open(data).map_err(|why| Failure::new(format!("key pairs: {why}")))?,
            tenants: Mutex::default(),
            status: Mutex::new(Status { file: source.file().to_owned(), problems, ..Status::default() }),
        });
        let mut watcher = Watcher {
            control: control.clone(),
            source,
            module_file,
            module,
            waiting: None,
            refused,
            loaded,
            pairs: (0, 0),
            around: options.around.clone(),
            lingering: Vec::new(),
            lingering_lists: Vec::new(),
        };
        let next = watcher.loaded.clone();
        watcher.publish(next).await.map_err(Failure::new)?;
        Ok((control, watcher))
    }

    /// What people are told about the policy.
    pub fn status(&self) -> Status {
        self.state().clone()
    }

    /// The policy's tenants, with the ids of their keys.
    pub fn tenants(&self) -> Vec<(String, Vec<String>)> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn state(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The part of a control plane that looks at files.
pub struct Watcher {
    control: Arc<Control>,
    source: Source,
    module_file: ModuleFile,
    module: Module,
    /// A newer one that lacks a tokenizer which the policy in use names.
    waiting: Option<Module>,
    /// Why the file as it stands is not in use, whatever is published besides; empty when it is.
    refused: Vec<String>,
    loaded: Loaded,
    /// What gateways were last told of key pairs.
    pairs: (u64, u64),
    around: Surroundings,
    /// Providers that the policy no longer has, and when it lost them.
    lingering: Vec<(Provider, Instant)>,
    /// The same of lists.
    lingering_lists: Vec<(List, Instant)>,
}

impl Watcher {
    /// Looks for ever.
    pub async fn run(mut self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            self.look().await;
        }
    }

    async fn look(&mut self) {
        let module = match self.module_file.poll() {
            Some(Ok(module)) => {
                tracing::info!(sha256 = self.module_file.hash(), "new module");
                self.waiting = None;
                self.take_module(module)
            }
            Some(Err(why)) => {
                tracing::error!("{why}; the last good module stays");
                false
            }
            None => false,
        };
        let policy = match self.source.poll() {
            Some(Ok(loaded)) => {
                self.refused.clear();
                Some(loaded)
            }
            Some(Err(refused)) => {
                self.refuse(&refused);
                self.refused = refused.lines();
                None
            }
            None => None,
        };
        let before = self.lingering.len() + self.lingering_lists.len();
        self.lingering.retain(|(_, since)| since.elapsed() < LINGER);
        self.lingering_lists.retain(|(_, since)| since.elapsed() < LINGER);
        let after = self.lingering.len() + self.lingering_lists.len();
        let pairs = self.control.pairs.mark(unix_ms() / 1000) != self.pairs;
        if policy.is_none() && !module && !pairs && after == before {
            return;
        }
        let next = policy.unwrap_or_else(|| self.loaded.clone());
        let mut published = self.publish(next).await;
        if published.is_ok()
            && let Some(module) = self.waiting.take()
            && self.take_module(module)
        {
            published = self.publish(self.loaded.clone()).await;
        }
        if !self.refused.is_empty() {
            self.control.state().problems.clone_from(&self.refused);
        }
        if let Err(why) = published {
            tracing::error!("{why}; the last good policy stays");
            self.control.state().problems = vec![why];
        }
    }

    /// Takes a module, unless the policy in use counts by a tokenizer that it has not: gateways would refuse both.
    fn take_module(&mut self, module: Module) -> bool {
        let tokenizers = self.module_file.tokenizers();
        let used = self.loaded.compiled.exchange.models.iter().flat_map(|model| &model.targets);
        let lost = used
            .filter_map(|target| target.tokenizer.as_ref())
            .find(|name| *name != "learned" && !tokenizers.contains(name));
        if let Some(name) = lost {
            let why = format!(
                "the new module has no tokenizer `{name}`, which the policy in use names: the last one stays"
            );
            tracing::error!("{why}");
            self.control.state().problems = vec![why];
            self.waiting = Some(module);
            return false;
        }
        self.source.set_tokenizers(tokenizers);
        self.module = module;
        true
    }

    fn refuse(&mut self, refused: &Refused) {
        let failure = refused.failure(self.source.file());
        tracing::error!(stays = self.loaded.compiled.version, "{failure}");
        self.control.state().problems = refused.lines();
    }

    /// Tells budgets to the ledger and everything to the gateways, in this order: a new budget is known before
    /// anyone asks for it.
    async fn publish(&mut self, next: Loaded) -> Result<(), String> {
        let now = unix_ms() / 1000;
        // Taken first: what is issued meanwhile is another change.
        let mark = self.control.pairs.mark(now);
        let add = |exchange: &mut filter::Exchange| self.control.pairs.hand_out(exchange, now);
        let before = convert::input(&self.loaded.compiled, &self.module, &self.around, Form::Lists, &add);
        let input = |form| convert::input(&next.compiled, &self.module, &self.around, form, &add);
        let (slots, lists) = (input(Form::Slots), input(Form::Lists));
        let has = |name: &str| slots.providers.iter().any(|kept| kept.name == name);
        for provider in before.providers.into_iter().filter(|provider| !has(&provider.name)) {
            self.lingering.retain(|(old, _)| old.name != provider.name);
            self.lingering.push((provider, Instant::now()));
        }
        self.lingering.retain(|(old, _)| !has(&old.name));
        let has_list = |list: &List| lists.lists.iter().any(|kept| kept.cluster == list.cluster);
        for list in before.lists.into_iter().filter(|list| !has_list(list)) {
            self.lingering_lists.retain(|(old, _)| old.cluster != list.cluster);
            self.lingering_lists.push((list, Instant::now()));
        }
        self.lingering_lists.retain(|(old, _)| !has_list(old));
        let build = |mut input: Input| {
            input.providers.extend(self.lingering.iter().map(|(provider, _)| provider.clone()));
            if input.form == Form::Lists {
                input.lists.extend(self.lingering_lists.iter().map(|(list, _)| list.clone()));
            }
            let snapshot = snapshot(&input);
            match consistent(&snapshot).first() {
                Some(problem) => Err(format!("policy {}: {problem}", next.compiled.version)),
                None => Ok(Arc::new(snapshot)),
            }
        };
        let published =
            Published { single: build(input(Form::Single))?, lists: build(lists)?, slots: build(slots)? };
        let version = published.slots.version.clone();
        if next.compiled.ledger != *self.control.ledger.store() {
            return Err("`ledger` names another store: that takes a restart of the control plane".into());
        }
        let decisions = self.control.decisions.set(next.compiled.decisions.as_deref());
        decisions.map_err(|why| format!("`telemetry.decisions.file`: {why}"))?;
        self.control.ledger.set_budgets(&next.compiled.budgets, next.compiled.request_timeout_ms).await?;
        let known = self.control.ledger.budgets();
        let known: Vec<_> = known.iter().map(|of| (of.name.clone(), of.definition.clone())).collect();
        self.control.spend.keep(&known);
        self.source.keep(&next);
        {
            let mut status = self.control.state();
            if status.version != next.compiled.version {
                status.version.clone_from(&next.compiled.version);
                status.since_ms = unix_ms();
            }
            status.text.clone_from(&next.text);
            status.warnings.clone_from(&next.warnings);
            status.module = self.module_file.hash().to_owned();
            status.snapshot.clone_from(&version);
            if !self.control.fleet.current().slots.version.is_empty() {
                status.problems.clear();
            }
            // Before the status can be read: a gateway that is current is so with what the status names.
            self.control.fleet.publish(Arc::new(published));
        }
        let keys = |tenant: &filter::Tenant| tenant.keys.iter().map(|key| key.id.clone()).collect();
        let tenants = next.compiled.exchange.tenants.iter().map(|t| (t.name.clone(), keys(t))).collect();
        *self.control.tenants.lock().unwrap_or_else(PoisonError::into_inner) = tenants;
        self.pairs = mark;
        tracing::info!(version = next.compiled.version, snapshot = version, "published");
        self.loaded = next;
        Ok(())
    }
}
