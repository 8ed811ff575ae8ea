//! How large a prompt is: counted where that decides something, bounded else. The bound is what the budgets reserve,
//! so it holds for every target that a try may reach; the count is what limits compare and what settles an answer whose
//! provider reports nothing.

use weir_config::filter::Target;
use weir_dialects::openai_chat::Rules;
use weir_tokens::Vocabulary;
use weir_wire::json::Doc;

use crate::learned::{self, Learned, Sample};
use crate::paths::Api;
use crate::prompt::{self, Counted, Request};
use crate::seen::Seen;

/// Where a bound comes from, the weakest last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Basis {
    /// Not measured.
    #[default]
    None,
    /// Counted with the model's own vocabulary.
    Exact,
    /// Learned from what the provider reported: 99.9 % of requests keep to it.
    Calibrated,
    /// Bytes: no tokenizer makes more of them.
    Bytes,
    /// The target's context window, since something cannot be seen from here.
    Context,
}

impl Basis {
    /// For attributes and records.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Exact => "exact",
            Self::Calibrated => "calibrated",
            Self::Bytes => "bytes",
            Self::Context => "context",
        }
    }
}

/// A prompt's size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// By the vocabulary of the first target, if it was counted.
    pub counted: Option<u64>,
    /// No part of that count is an estimate.
    pub exact: bool,
    /// What no target exceeds.
    pub bound: u64,
    /// What of it can be seen from here.
    pub seen: u64,
    /// Where the bound comes from.
    pub basis: Basis,
    /// A count would lower the bound.
    pub loose: bool,
    /// What the first target's usage will teach.
    pub sample: Option<Sample>,
}

impl Size {
    /// What a limit compares: the count, or the bound where there is none.
    pub fn tokens(&self) -> u64 {
        self.counted.unwrap_or(self.bound)
    }
}

/// What measuring looks at.
pub struct Measure<'m, 'd, 'a> {
    /// The client's API.
    pub api: Api,
    /// The body as it will leave.
    pub doc: &'m Doc<'a>,
    /// The request read from the body as it came: its facts are the same.
    pub request: &'m Request<'d, 'a>,
    /// In the order of their tries.
    pub targets: &'m [(usize, &'m Target)],
    /// The smallest window of them, in tokens.
    pub context: u64,
}

impl Measure<'_, '_, '_> {
    /// Measures; counts only if it must.
    pub fn size(&self, count: bool, seen: &mut Seen, learned: &Learned) -> Size {
        let mut size = Size::default();
        let bytes = prompt::byte_bound(self.api, self.doc);
        let tools = self.request.tools();
        let pictures = self.request.needs().contains(&"images");
        // Chats of one vocabulary and one template are counted once, whatever the number of targets.
        let mut known: Vec<(u64, &Rules, Counted)> = Vec::new();
        for (at, (_, target)) in self.targets.iter().enumerate() {
            let rules = match self.request {
                Request::Chat(_) => Rules::of_model(&target.model),
                Request::Text(_) => const { &Rules::COOKBOOK },
            };
            let window = if target.context == 0 { u64::MAX } else { target.context };
            let window = window.saturating_mul(self.request.prompts());
            let own = target.tokenizer.as_deref().and_then(Vocabulary::from_name);
            let stand_in = Vocabulary::ALL.first().copied().filter(|_| target.learned);
            let teaches = target.learned && (own.is_none() || tools);
            let counted = own.or(stand_in).filter(|_| count || teaches);
            let counted = counted.map(|vocabulary| self.counted(vocabulary, rules, &mut known, seen));
            let images = match counted {
                Some(counted) if rules.known => Some(counted.images),
                _ if pictures => prompt::images(self.api, self.doc, rules),
                _ => Some(0),
            };
            let around = rules.opening + rules.slack + if tools { rules.tools.hidden } else { 0 };
            let proven = bytes.saturating_add(around).saturating_add(images.unwrap_or(0));
            let exact = own.is_some() && counted.is_some_and(|counted| counted.exact);
            // Pictures and files would teach what texts do not keep to.
            let learns = counted.filter(|_| teaches && !exact && !self.request.unbounded());
            let calibrated = learns.and_then(|counted| {
                let cell = learned::cell(&target.provider, &target.model, tools, counted.tokens);
                if at == 0 {
                    size.sample = Some(Sample { cell, counted: counted.tokens, ..Sample::default() });
                }
                learned.cell(cell)?.bound(counted.tokens).filter(|bound| *bound < proven)
            });
            if at == 0 && own.is_some() {
                size.counted = counted.map(|counted| counted.tokens);
                size.exact = counted.is_some_and(|counted| counted.exact);
            }
            let (bound, basis) = match (counted, calibrated) {
                _ if self.request.opaque() || images.is_none() => (window, Basis::Context),
                (Some(counted), _) if exact => (counted.tokens + rules.slack, Basis::Exact),
                (_, Some(bound)) => (bound, Basis::Calibrated),
                // An estimate may be above the bytes of a few odd tools.
                (Some(counted), _) if own.is_some() => {
                    (proven.max(counted.tokens + rules.slack), Basis::Bytes)
                }
                _ => (proven, Basis::Bytes),
            };
            size.loose |=
                own.is_some() && counted.is_none() && basis == Basis::Bytes && !self.request.inexact();
            let (bound, basis) = if bound > window { (window, Basis::Context) } else { (bound, basis) };
            if at == 0 || bound > size.bound {
                (size.bound, size.basis) = (bound, basis);
            }
            size.seen = size.seen.max(proven);
        }
        if let Some(sample) = &mut size.sample {
            sample.bound = size.bound;
        }
        size
    }

    fn counted<'r>(
        &self,
        vocabulary: Vocabulary,
        rules: &'r Rules,
        known: &mut Vec<(u64, &'r Rules, Counted)>,
        seen: &mut Seen,
    ) -> Counted {
        let number = vocabulary.number();
        if let Some((.., counted)) = known.iter().find(|(of, by, _)| *of == number && *by == rules) {
            return *counted;
        }
        let counted = prompt::count_by(self.api, self.doc, vocabulary, rules, seen);
        known.push((number, rules, counted));
        counted
    }
}
