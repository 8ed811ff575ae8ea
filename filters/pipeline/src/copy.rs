//! A copy of a request for a mirror: what Exchange decided for it, and what became of it.
//!
//! Envoy sends the copy beside the request and throws its answer away, so nothing that happens to it slows the request
//! or fails it. But its stream has no Exchange and no filter state: all that its one try must know travels in a header
//! of the request, which no provider sees since a try writes all headers anew. The try itself reserves what the copy
//! may cost, skips it where too little is left, reads the answer's usage, settles and emits a span of its own.

use weir_config::filter::{Price, ProviderKind};
use weir_dialects::hub::Usage;
use weir_tokens::Vocabulary;
use weir_wire::base64;

use crate::answer::{Answer, Treatment};
use crate::budget;
use crate::codec::{Reader, Writer};
use crate::io::{Effect, Headers, Now, Step};
use crate::plan::{Plan, Progress, Report};
use crate::span::{Counted, Span, TraceContext};

/// Request header that names the cluster of the copy; without it Envoy makes none.
pub const MIRROR: &str = "x-weir-mirror";
/// Request header that carries the [`Copy`].
pub const COPY: &str = "x-weir-copy";
/// The label under which the cost of copies is told apart.
const LABEL: &str = "mirror";
const VERSION: u8 = 2;

/// What Exchange decided for a copy.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Copy {
    /// The request's own plan, with the copy's one leg and its needs.
    pub plan: Plan,
    /// Whose request it is.
    pub tenant: String,
    /// The id of the key.
    pub key: String,
    /// The policy's name of the model that was chosen.
    pub model: String,
    /// Version of the policy.
    pub policy: String,
    /// The route that wants the copy.
    pub route: String,
    /// What the policy wants of the caller's labels.
    pub labels: Vec<(String, String)>,
    /// Input tokens that were reserved at most.
    pub input: u64,
    /// What the copy's target costs.
    pub price: Option<Price>,
    /// The target's vocabulary.
    pub tokenizer: String,
}

impl Copy {
    /// The header's value, with this plan in the place of its own.
    pub fn encode(&self, plan: &Plan) -> String {
        let mut w = Writer::new(VERSION);
        w.bytes(&plan.encode());
        for text in [&self.tenant, &self.key, &self.model, &self.policy, &self.route, &self.tokenizer] {
            w.bytes(text.as_bytes());
        }
        w.int(self.input);
        let price = self.price.unwrap_or_default();
        w.int(u64::from(self.price.is_some())).int(price.input_pico).int(price.output_pico);
        for part in [price.cache_read_pico, price.cache_write_pico, price.reasoning_pico] {
            w.int(part.map_or(0, |pico| pico.saturating_add(1)));
        }
        for (name, value) in &self.labels {
            w.bytes(name.as_bytes()).bytes(value.as_bytes());
        }
        let mut out = Vec::new();
        base64::encode_into(&mut out, &w.finish());
        String::from_utf8(out).unwrap_or_default()
    }

    /// The copy in a header's value; `None` where it is of another version or damaged.
    pub fn decode(value: &[u8]) -> Option<Self> {
        let bytes = base64::decode(value)?;
        let mut r = Reader::new(&bytes, VERSION)?;
        let mut copy = Self { plan: Plan::decode(r.bytes())?, ..Self::default() };
        for text in [
            &mut copy.tenant,
            &mut copy.key,
            &mut copy.model,
            &mut copy.policy,
            &mut copy.route,
            &mut copy.tokenizer,
        ] {
            *text = r.text();
        }
        copy.input = r.int();
        let priced = r.int() == 1;
        let (input_pico, output_pico) = (r.int(), r.int());
        let [cache_read_pico, cache_write_pico, reasoning_pico] =
            std::array::from_fn(|_| r.int().checked_sub(1));
        r.whole()?;
        let price = Price { input_pico, output_pico, cache_read_pico, cache_write_pico, reasoning_pico };
        copy.price = priced.then_some(price);
        while copy.labels.len() < 64 && !r.is_empty() {
            let label = (r.text(), r.text());
            if r.whole().is_some() {
                copy.labels.push(label);
            }
        }
        Some(copy)
    }
}

/// A copy on its way.
pub struct Copied {
    copy: Copy,
    answer: Answer,
    status: u16,
    first: Option<u64>,
    start: u64,
}

impl Copied {
    pub(crate) fn new(copy: Copy) -> Self {
        Self { copy, answer: Answer::None, status: 0, first: None, start: 0 }
    }

    pub(crate) fn begins(&mut self, now: Now) {
        self.start = now.0;
    }

    /// The answer begins, in the client's dialect but for what `effects` still do to its headers.
    pub(crate) fn head(&mut self, headers: &Headers<'_>, effects: &[Effect]) {
        self.status = headers.get(":status").and_then(|status| status.parse().ok()).unwrap_or(0);
        let written = effects.iter().rev().find_map(|effect| match effect {
            Effect::SetResponseHeader("content-type", kind) => Some(kind.as_str()),
            _ => None,
        });
        let kind = written.or_else(|| headers.get("content-type")).unwrap_or_default();
        let encoded = headers.get("content-encoding").is_some_and(|e| !e.eq_ignore_ascii_case("identity"));
        let treatment =
            Treatment { vocabulary: Vocabulary::from_name(&self.copy.tokenizer), ..Treatment::default() };
        let kind = if encoded { "" } else { kind };
        self.answer = Answer::new(self.copy.plan.api, kind, treatment);
    }

    /// A piece goes on, in the client's dialect: `chunk`, unless `effects` put something into its place.
    pub(crate) fn body(&mut self, now: Now, chunk: &[u8], end: bool, step: Step, effects: &[Effect]) {
        if step == Step::Pause {
            return;
        }
        let written = effects.iter().rev().find_map(|effect| match effect {
            Effect::ResponseBody(bytes) => Some(bytes.as_slice()),
            _ => None,
        });
        self.first.get_or_insert(now.0);
        let _ = self.answer.push(written.unwrap_or(chunk), end);
    }

    /// What it cost, and its span. `sent` says that it left the gateway.
    pub(crate) fn over(
        &mut self,
        now: Now,
        context: Option<TraceContext>,
        report: &Report,
        sent: bool,
        kind: ProviderKind,
        effects: &mut Vec<Effect>,
    ) {
        let Copy { plan, .. } = &self.copy;
        let facts = self.answer.facts();
        let unbilled = !sent || matches!(report.progress, Progress::Refused | Progress::Unreached);
        let (counted, usage) = match facts.usage {
            Some(usage) => (Counted::Provider, usage),
            None if unbilled => (Counted::No, Usage::default()),
            None => {
                let usage = Usage { input: self.copy.input, output: facts.output, ..Usage::default() };
                (Counted::Estimated, usage)
            }
        };
        let cost_nano = budget::cost_nano(&usage, self.copy.price.as_ref());
        effects.push(Effect::Settle(if counted == Counted::Estimated {
            // Nobody says what it cost.
            budget::in_full(&plan.needs)
        } else {
            let sent = sent && report.progress != Progress::Unreached;
            budget::used(&plan.needs, &usage, if sent { cost_nano } else { Some(0) }, sent)
        }));
        if !sent {
            return;
        }
        let error = if self.status >= 400 {
            Some(self.status.to_string())
        } else {
            (!self.answer.complete()).then(|| "upstream_cut".to_owned())
        };
        let mut span = Span::boxed();
        (span.response_model, span.response_id, span.finish_reasons) = (facts.model, facts.id, facts.finish);
        let copy = &mut self.copy;
        let mut leg = copy.plan.legs.pop().unwrap_or_default();
        // It is over: what is known of it moves into its span.
        for (to, from) in [
            (&mut span.id, &mut copy.plan.id),
            (&mut span.tracestate, &mut copy.plan.tracestate),
            (&mut span.request_model, &mut copy.plan.asked),
            (&mut span.tenant, &mut copy.tenant),
            (&mut span.key, &mut copy.key),
            (&mut span.policy, &mut copy.policy),
            (&mut span.route, &mut copy.route),
            (&mut span.model, &mut copy.model),
            (&mut span.target, &mut leg.provider),
            (&mut span.target_model, &mut leg.model),
        ] {
            std::mem::swap(to, from);
        }
        std::mem::swap(&mut span.labels, &mut copy.labels);
        span.labels.push((LABEL.to_owned(), "true".to_owned()));
        span.words.push(("weir.mirror", "true".to_owned()));
        span.context = context.unwrap_or_default();
        (span.start, span.end) = (self.start, now.0);
        span.first_chunk = self.first.map(|at| at.saturating_sub(self.start));
        span.operation = copy.plan.api.operation();
        match kind {
            ProviderKind::Bedrock => "aws.bedrock",
            ProviderKind::Anthropic => "anthropic",
            _ => "openai",
        }
        .clone_into(&mut span.provider);
        (span.usage, span.counted, span.cost_nano) = (usage, counted, cost_nano);
        (span.stream, span.status, span.error) = (copy.plan.stream, self.status, error);
        span.attempts = 1;
        span.losses.clone_from(&report.losses);
        effects.push(Effect::Emit(span));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Leg;

    #[test]
    fn a_copy_survives_its_header_and_damage_is_no_copy() {
        let leg = Leg { provider: "gpu".into(), model: "m".into(), ..Leg::default() };
        let copy = Copy {
            plan: Plan { id: "req_1".into(), legs: vec![leg], asked: "a".into(), ..Plan::default() },
            tenant: "acme".into(),
            labels: vec![("team".into(), "research".into())],
            input: 77,
            price: Some(Price {
                input_pico: 3,
                cache_read_pico: Some(0),
                reasoning_pico: Some(9),
                ..Price::default()
            }),
            tokenizer: "o200k_base".into(),
            ..Copy::default()
        };
        let value = copy.encode(&copy.plan);
        assert!(value.bytes().all(|b| b.is_ascii_graphic()), "{value}");
        assert_eq!(Copy::decode(value.as_bytes()), Some(copy));
        for damaged in [b"", b"AA==".as_slice(), b"%%%", &value.as_bytes()[..value.len() / 2]] {
            assert_eq!(Copy::decode(damaged), None, "{damaged:?}");
        }
    }
}
