//! The exchange's record as one line of JSON for Envoy's own access log, so that a lost batch of spans can be rebuilt.
//! It holds figures and names, never content.

use weir_wire::json::Writer;

use crate::content::prefix;
use crate::span::{Counted, Span, hex};

/// Filter state key; in a log format `%FILTER_STATE(wasm.rec:PLAIN)%`.
pub const RECORD: &str = "rec";

/// Longest text: what a client may name, such as a model, is no place for a prompt.
const MAX_TEXT: usize = 256;

fn short(text: &str) -> &str {
    prefix(text, MAX_TEXT)
}

/// The record. Fields without a value are left out; money is nano-USD, times are nanoseconds since the Unix epoch.
/// `whole` adds what only the decision log has.
pub fn encode(span: &Span, whole: bool) -> Vec<u8> {
    let mut w = Writer::new(Vec::with_capacity(512));
    w.begin_object();
    let mut trace = String::with_capacity(32);
    hex(&mut trace, &span.context.trace);
    let mut id = String::with_capacity(16);
    hex(&mut id, &span.context.span);
    for (key, value) in [
        ("id", span.id.as_str()),
        ("trace", &trace),
        ("span", &id),
        ("policy", &span.policy),
        ("tenant", &span.tenant),
        ("key", &span.key),
        ("model", &span.request_model),
        ("route", &span.route),
        ("provider", &span.target),
        ("target", &span.target_model),
        ("response_id", &span.response_id),
        ("error", span.error.as_deref().unwrap_or_default()),
        ("chosen", if whole { &span.model } else { "" }),
    ] {
        if !value.is_empty() {
            w.key(key).str(short(value));
        }
    }
    w.key("start").u64(span.start);
    w.key("end").u64(span.end);
    w.key("status").u64(u64::from(span.status));
    if span.attempts > 0 {
        w.key("attempts").u64(span.attempts);
    }
    if span.counted != Counted::No {
        w.key("input").u64(span.usage.input);
        w.key("output").u64(span.usage.output);
        w.key("cache_read").u64(span.usage.cache_read);
        w.key("cache_write").u64(span.usage.cache_write);
        w.key("usage").str(span.counted.name());
    }
    if span.bound > 0 {
        w.key("bound").u64(span.bound);
        w.key("basis").str(span.basis);
        // What a bound was short of the bill, to be summed up.
        let over = span.usage.input.saturating_sub(span.bound);
        if over > 0 && span.counted == Counted::Provider {
            w.key("over_bound").u64(over);
        }
    }
    if let Some(nano) = span.cost_nano {
        w.key("cost_usd_nano").u64(nano);
    }
    if !span.findings.is_empty() {
        w.key("findings").begin_object();
        for (name, n) in &span.findings {
            w.key(name).u64(*n);
        }
        w.end_object();
    }
    if whole {
        decided(span, &mut w);
    }
    w.end_object();
    w.into_inner()
}

/// The reasons and what became of each part.
fn decided(span: &Span, w: &mut Writer) {
    let finish = span.finish_reasons.first().map(String::as_str).unwrap_or_default();
    let noted = |key: &str| {
        let event = span.events.iter().rev().find(|event| event.about.0 == key);
        event.map(|event| event.about.1.as_str()).unwrap_or_default()
    };
    for (key, value) in [
        ("finish", finish),
        ("unsearched", noted("weir.unsearched")),
        ("short", noted("weir.budget.refused")),
    ] {
        if !value.is_empty() {
            w.key(key).str(short(value));
        }
    }
    if !span.losses.is_empty() {
        // Their paths are the client's words.
        w.key("losses").u64(span.losses.lines().count() as u64);
    }
    if let Some((budget, model)) = &span.downgrade {
        w.key("downgrade").begin_object();
        w.key("budget").str(budget).key("model").str(model).end_object();
    }
    w.key("tries").begin_array();
    for one in &span.tries {
        w.begin_object().key("provider").str(&one.provider).key("target").str(&one.model);
        w.key("status").u64(one.status).end_object();
    }
    w.end_array();
    w.key("budgets").begin_array();
    for one in &span.charged {
        w.begin_object().key("name").str(&one.budget).key("unit").str(one.unit).key("held").u64(one.held);
        if let Some(used) = one.used {
            w.key("used").u64(used);
        }
        w.end_object();
    }
    w.end_array();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_line_of_json_without_empty_fields() {
        let span = Span { id: "req_1".into(), tenant: "a\"b\n".into(), status: 200, ..Span::default() };
        let line = encode(&span, false);
        let read: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(read["tenant"], "a\"b\n");
        assert_eq!(read["status"], 200);
        assert!(read.get("model").is_none() && read.get("input").is_none());
        assert!(!line.contains(&b'\n'));
    }

    #[test]
    fn what_a_client_names_is_cut_at_a_character() {
        let span = Span { request_model: "é".repeat(400), ..Span::default() };
        let read: serde_json::Value = serde_json::from_slice(&encode(&span, true)).unwrap();
        assert_eq!(read["model"].as_str().map(str::len), Some(256));
        assert_eq!((&read["tries"], &read["budgets"]), (&serde_json::json!([]), &serde_json::json!([])));
    }
}
