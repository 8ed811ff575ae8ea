//! A judge of spans and metrics by OpenTelemetry's GenAI conventions, read as data. It knows the attribute names and
//! conditions from the conventions' own resolved list and from what a test sent, and nothing of how the filter works.
//!
//! Whoever runs a request tells what it asked and how it ended ([`Told`]); the judge says what the span must then have,
//! may have and must not have. What the conventions demand and cannot be had is in [`EXCEPTIONS`], each with its reason.

mod coverage;
mod metrics;
mod shapes;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use serde_json::Value;

use crate::harness::collector::{Metric, Span};
use crate::harness::shared_data;

pub use coverage::{COVERAGE, Coverage};
use shapes::Shapes;

/// The conventions.
pub struct Conventions {
    root: Value,
    shapes: Shapes,
}

/// What a test knows of the request behind a span.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told<'a> {
    /// The body, where the gateway has read it.
    pub request: Option<&'a Value>,
    /// The answer's body, or the chunk of a stream that says most; OpenAI's dialect.
    pub answer: Option<&'a Value>,
    /// A model answered, completely.
    pub answered: bool,
    /// It ended in an error, a refusal or an abort.
    pub failed: bool,
    /// The client speaks Converse.
    pub converse: bool,
}

/// What is wrong with a span or a metric.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// Attribute, or `name`, `kind`, `status`, `time`.
    pub of: String,
    /// What is wrong with it.
    pub what: String,
}

/// An attribute that the conventions demand and that is not there, for a reason.
pub struct Exception {
    /// The attribute.
    pub attribute: &'static str,
    /// Where it may be missing.
    pub when: fn(&Told<'_>) -> bool,
    /// Why.
    pub reason: &'static str,
}

/// All of them.
pub const EXCEPTIONS: &[Exception] = &[
    Exception {
        attribute: "aws.bedrock.guardrail.id",
        when: |_| true,
        reason: "required even of a call without a guardrail, and an id that does not exist would be a lie",
    },
    Exception {
        attribute: "gen_ai.request.model",
        when: |told| told.request.is_none(),
        reason: "OpenAI's refinement requires it, and a request refused before its body was read has named none",
    },
    Exception {
        attribute: "gen_ai.response.id",
        when: |told| told.converse,
        reason: "an answer in Converse's shape has no id, whoever gave it",
    },
    Exception {
        attribute: "gen_ai.response.model",
        when: |told| told.converse,
        reason: "nor does it name a model; the target's stands beside",
    },
];

/// Attributes of other conventions than these that an exchange's span may have.
const OTHERS: [&str; 1] = ["http.response.status_code"];

impl Conventions {
    /// The published ones, where they lie beside the repository.
    pub fn published() -> Option<Self> {
        let file = shared_data()?.join("otel-genai/resolved.json");
        let text = std::fs::read_to_string(file).expect("the resolved conventions");
        let shapes = Shapes::published(&shared_data()?.join("otel-genai/model/gen-ai"));
        Some(Self { root: serde_json::from_str(&text).expect("JSON"), shapes })
    }

    /// A few lines of our own in the same form, so that the judge itself is always tested.
    pub fn small() -> Self {
        let root = serde_json::from_str(include_str!("small.json")).expect("JSON");
        Self { root, shapes: Shapes::default() }
    }

    /// The published ones, or else ours.
    pub fn any() -> Self {
        Self::published().unwrap_or_else(Self::small)
    }

    /// Names of the registry.
    pub fn registry(&self) -> BTreeSet<&str> {
        self.root["registry"]
            .as_object()
            .map(|all| all.keys().map(String::as_str).collect())
            .unwrap_or_default()
    }

    /// What is wrong with an exchange's span, named exceptions left out.
    pub fn judge(&self, span: &Span, told: &Told<'_>) -> Vec<Fault> {
        let excused = |fault: &Fault| {
            fault.what == MISSING
                && EXCEPTIONS
                    .iter()
                    .any(|exception| exception.attribute == fault.of && (exception.when)(told))
        };
        let mut faults = self.all_faults(span, told);
        faults.retain(|fault| !excused(fault));
        faults
    }

    /// The convention of a span: its provider's refinement, else the general one.
    fn of(&self, span: &Span) -> &Value {
        let provider = span.get("gen_ai.provider.name").as_str().unwrap_or_default();
        let embeddings = &self.root["spans"]["gen_ai.embeddings.client"];
        if span.get("gen_ai.operation.name") == "embeddings" && embeddings.is_object() {
            return embeddings;
        }
        let refined = &self.root["spans"][format!("{provider}.inference.client")];
        if refined.is_object() { refined } else { &self.root["spans"]["gen_ai.inference.client"] }
    }

    fn all_faults(&self, span: &Span, told: &Told<'_>) -> Vec<Fault> {
        let mut faults = Vec::new();
        let convention = self.of(span);
        let known = convention["attributes"].as_object().expect("a span has attributes");

        let operation = span.get("gen_ai.operation.name").as_str().unwrap_or_default();
        let name = match span.get("gen_ai.request.model").as_str() {
            Some(model) => format!("{operation} {model}"),
            None => operation.to_owned(),
        };
        expect(&mut faults, "name", span.raw.name == name, || format!("`{}`, not `{name}`", span.raw.name));
        let kinds = [("internal", 1), ("server", 2), ("client", 3)];
        let kind = kinds.iter().find(|(kind, _)| convention["kind"] == *kind).map(|(_, number)| *number);
        expect(&mut faults, "kind", Some(span.raw.kind) == kind, || format!("{}", span.raw.kind));
        let status = span.raw.status.as_ref().map_or(0, |status| status.code);
        expect(&mut faults, "status", (status == 2) == told.failed, || format!("{status}"));
        let times = span.raw.start_time_unix_nano..=span.raw.end_time_unix_nano;
        expect(&mut faults, "time", !times.is_empty(), || format!("{times:?}"));
        for event in &span.raw.events {
            let at = event.time_unix_nano;
            expect(&mut faults, &event.name, times.contains(&at), || format!("{at} is not in {times:?}"));
            expect(&mut faults, &event.name, event.name.starts_with("weir."), || "not our namespace".into());
        }

        for (name, about) in known {
            let there = !span.get(name).is_null();
            match due(name, about, span, told) {
                Due::Must if !there => fault(&mut faults, name, MISSING),
                Due::Never if there => fault(&mut faults, name, "there without its condition"),
                _ => {}
            }
        }
        for (name, value) in &span.attributes {
            match known.get(name) {
                Some(about) => typed(&mut faults, name, about, value),
                None if name.starts_with("weir.") || OTHERS.contains(&name.as_str()) => {}
                None => fault(&mut faults, name, "no attribute of this span"),
            }
            if let Some(what) = self.shapes.fault(name, value) {
                fault(&mut faults, name, what);
            }
        }
        faults
    }

    /// What is wrong with a metric and its points.
    pub fn judge_metric(&self, metric: &Metric) -> Vec<Fault> {
        metrics::faults(&self.root["metrics"][&metric.name], metric)
    }
}

const MISSING: &str = "missing";

fn fault(faults: &mut Vec<Fault>, of: &str, what: impl Into<String>) {
    faults.push(Fault { of: of.to_owned(), what: what.into() });
}

fn expect(faults: &mut Vec<Fault>, of: &str, holds: bool, what: impl FnOnce() -> String) {
    if !holds {
        fault(faults, of, what());
    }
}

/// Whether an attribute belongs on a span.
enum Due {
    Must,
    May,
    Never,
}

fn due(name: &str, about: &Value, span: &Span, told: &Told<'_>) -> Due {
    let level = &about["level"];
    if level == "required" {
        return Due::Must;
    }
    if level == "opt_in" {
        return Due::May;
    }
    // A condition in words: its meaning is here.
    let asked =
        |fields: &[&str]| fields.iter().any(|field| told.request.is_some_and(|body| !body[*field].is_null()));
    let said = |field: &str| told.answer.is_some_and(|answer| !answer[field].is_null());
    let body = |field: &str| told.request.map(|body| &body[field]).filter(|value| !value.is_null());
    let when = |holds: bool| if holds { Due::Must } else { Due::May };
    let only_when = |holds: bool| if holds { Due::Must } else { Due::Never };
    match name {
        "gen_ai.request.model" => when(told.request.is_some()),
        "gen_ai.provider.name" => Due::Must,
        "error.type" => only_when(told.failed),
        "server.address" => when(told.answered),
        "server.port" => when(!span.get("server.address").is_null()),
        "gen_ai.usage.input_tokens"
        | "gen_ai.usage.output_tokens"
        | "gen_ai.response.id"
        | "gen_ai.response.model"
        | "gen_ai.response.finish_reasons" => when(told.answered),
        "gen_ai.usage.cache_read.input_tokens" => when(cached(told) > 0),
        "gen_ai.request.max_tokens" => {
            when(asked(&["max_tokens", "max_completion_tokens", "max_output_tokens"]))
        }
        "gen_ai.request.choice.count" => only_when(body("n").is_some_and(|n| n != 1)),
        "gen_ai.request.temperature" => when(asked(&["temperature"])),
        "gen_ai.request.top_k" => when(asked(&["top_k"])),
        "gen_ai.request.top_p" => when(asked(&["top_p"])),
        "gen_ai.request.stop_sequences" => when(asked(&["stop", "stop_sequences"])),
        "gen_ai.request.frequency_penalty" => when(asked(&["frequency_penalty"])),
        "gen_ai.request.presence_penalty" => when(asked(&["presence_penalty"])),
        "gen_ai.request.seed" => only_when(asked(&["seed"])),
        "gen_ai.output.type" => {
            let format = body("text").is_some_and(|text| !text["format"].is_null());
            only_when(format || asked(&["response_format", "output_format"]))
        }
        "gen_ai.request.encoding_formats" => only_when(asked(&["encoding_format"])),
        "gen_ai.embeddings.dimension.count" => only_when(asked(&["dimensions"])),
        "gen_ai.request.previous_response.id" => only_when(asked(&["previous_response_id"])),
        "gen_ai.request.stream" => only_when(body("stream").is_some_and(|stream| *stream == true)),
        "gen_ai.request.reasoning.level" => when(asked(&["reasoning_effort"])),
        "gen_ai.response.time_to_first_chunk" => {
            let stream = body("stream").is_some_and(|stream| *stream == true);
            if stream { when(told.answered) } else { Due::Never }
        }
        "openai.request.service_tier" => only_when(body("service_tier").is_some_and(|tier| tier != "auto")),
        "openai.response.service_tier" => when(said("service_tier")),
        "openai.response.system_fingerprint" => when(said("system_fingerprint")),
        "openai.api.type" => when(span.get("gen_ai.operation.name") == "chat"),
        _ => Due::May,
    }
}

/// Tokens that the answer says were read from the provider's cache.
fn cached(told: &Told<'_>) -> u64 {
    let usage = told.answer.map(|answer| &answer["usage"]);
    usage.and_then(|usage| usage["prompt_tokens_details"]["cached_tokens"].as_u64()).unwrap_or(0)
}

/// A value's type and, of an enum, whether it is a member.
fn typed(faults: &mut Vec<Fault>, name: &str, about: &Value, value: &Value) {
    let kind = match (about["type"].as_str(), name) {
        (Some("external"), "server.port") => "int",
        (Some("external"), _) => "string",
        (kind, _) => kind.unwrap_or_default(),
    };
    let fits = match kind {
        "string" => value.is_string(),
        "int" => value.is_i64(),
        "double" => value.is_f64(),
        "boolean" => value.is_boolean(),
        "string[]" => value.as_array().is_some_and(|items| items.iter().all(Value::is_string)),
        "enum" => {
            value.is_string() && about["members"].as_array().is_none_or(|members| members.contains(value))
        }
        "any" => true,
        _ => false,
    };
    expect(faults, name, fits, || format!("{value} is no {kind} of this attribute"));
}
