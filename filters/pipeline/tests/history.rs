//! A chat that grows: its messages are known by how they were written and are not walked through again. What is known
//! of one chat may never change the count of another.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests stop at what they do not expect")]

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use weir_dialects::openai_chat::Rules;
use weir_pipeline::paths::Api;
use weir_pipeline::prompt::{Counted, count_by};
use weir_pipeline::seen::Seen;
use weir_tokens::Vocabulary;
use weir_wire::json::{Limits, parse};

const MILLION: u64 = 1_000_000;

fn seeded() -> Seen {
    let mut seen = Seen::default();
    seen.seed(&[1, 2, 3, 4]);
    seen
}

fn vocabulary(name: &str) -> Vocabulary {
    Vocabulary::from_name(name).unwrap()
}

fn named() -> Rules {
    Rules { per_message: 4, per_name: 7, ..Rules::COOKBOOK }
}

fn counted_by(seen: &mut Seen, rules: &Rules, name: &str, body: &str) -> Counted {
    let doc = parse(body.as_bytes(), &Limits::default()).unwrap();
    count_by(Api::OpenaiChat, &doc, vocabulary(name), rules, seen)
}

fn counted(seen: &mut Seen, body: &str) -> u64 {
    counted_by(seen, &Rules::COOKBOOK, "o200k_base", body).tokens
}

fn text(number: usize) -> String {
    format!("{number}: what would you tell somebody who has never seen the sea, and never will? Be \"kind\".")
}

fn message(number: usize) -> Value {
    json!({"role": if number.is_multiple_of(2) { "user" } else { "assistant" }, "content": text(number)})
}

fn chat(number: usize) -> String {
    json!({"model": "m", "messages": (0..number).map(message).collect::<Vec<_>>()}).to_string()
}

/// From now on a message has a million tokens for whoever looks at its text.
fn falsify(seen: &mut Seen, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let text = text(number);
        let tokens = weir_tokens::count(vocabulary("o200k_base"), &text);
        let escaped = text.replace('"', "\\\"");
        for (salt, text) in [(0, &text), (1 << 63, &escaped)] {
            let mut key = seen.key(vocabulary("o200k_base").number() | salt);
            key.push(text.as_bytes());
            seen.learn(&key, tokens + MILLION);
        }
    }
}

#[test]
fn a_turn_does_not_look_at_the_texts_before_it() {
    for (before, then) in [(3, 5), (4, 5), (9, 11), (30, 37), (5, 5)] {
        let mut seen = seeded();
        counted(&mut seen, &chat(before));
        falsify(&mut seen, 0..before);
        assert_eq!(
            counted(&mut seen, &chat(then)),
            counted(&mut seeded(), &chat(then)),
            "{before}, then {then}"
        );
        // So did what came then: all of it is known now.
        falsify(&mut seen, 0..then);
        assert_eq!(counted(&mut seen, &chat(then)), counted(&mut seeded(), &chat(then)));
    }
}

#[test]
fn a_history_that_was_written_otherwise_is_another() {
    let then = chat(7);
    let other = |from: &str, to: &str| {
        let changed = then.replacen(from, to, 1);
        assert_ne!(changed, then, "{from}");
        changed
    };
    for changed in [
        other("},{", "}, {"),
        other("0: what", "0: \\u0077hat"),
        other("0: what", "1: what"),
        other("\"user\"", "\"system\""),
        other("\"content\":", "\"name\":\"n\",\"content\":"),
        other("\"role\":", "\"role\" :"),
    ] {
        let mut seen = seeded();
        counted(&mut seen, &chat(5));
        falsify(&mut seen, 0..5);
        let (tokens, anew) = (counted(&mut seen, &changed), counted(&mut seeded(), &changed));
        assert!(tokens >= anew + 4 * MILLION, "{changed}: {tokens} and {anew}");
    }
}

#[test]
fn beyond_seven_new_messages_the_texts_are_looked_at() {
    let mut seen = seeded();
    counted(&mut seen, &chat(5));
    falsify(&mut seen, 0..5);
    let anew = counted(&mut seeded(), &chat(13));
    assert_eq!(counted(&mut seen, &chat(13)), anew + 5 * MILLION);
}

#[test]
fn rules_and_vocabularies_have_histories_of_their_own() {
    let mut seen = seeded();
    for _ in 0..2 {
        for name in ["o200k_base", "cl100k_base"] {
            for rules in [Rules::COOKBOOK, named()] {
                let anew = counted_by(&mut seeded(), &rules, name, &chat(6));
                assert_eq!(counted_by(&mut seen, &rules, name, &chat(6)), anew);
            }
        }
    }
}

#[test]
fn a_history_that_tools_were_offered_in_is_not_one_without() {
    let tools = json!([{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]);
    let with = |number: usize| {
        let mut messages = vec![json!({"role": "system", "content": text(100)})];
        messages.extend((0..number).map(message));
        messages
    };
    let body = |messages: Vec<Value>, tools: &Value| {
        json!({"model": "m", "messages": messages, "tools": tools}).to_string()
    };
    let rules =
        Rules { tools: weir_dialects::openai_chat::ToolRule { with_system: 2, ..named().tools }, ..named() };
    for (first, then) in [(&tools, &Value::Null), (&Value::Null, &tools)] {
        let mut seen = seeded();
        counted_by(&mut seen, &rules, "o200k_base", &body(with(5), first));
        let next = body(with(7), then);
        let anew = counted_by(&mut seeded(), &rules, "o200k_base", &next);
        assert_eq!(counted_by(&mut seen, &rules, "o200k_base", &next), anew);
    }
}

/// What a message may be; some are counted exactly, some are not, some look at those before them.
fn any_message() -> impl Strategy<Value = Value> {
    let call = |id: &str| json!([{"id": id, "type": "function", "function": {"name": "look_up", "arguments": "{}"}}]);
    select(vec![
        message(0),
        message(1),
        message(2),
        json!({"role": "system", "content": text(3)}),
        json!({"role": "user", "name": "jane", "content": text(4)}),
        json!({"role": "user", "content": [{"type": "text", "text": text(5)}]}),
        json!({"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}),
        json!({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://e/x"}}]}),
        json!({"role": "assistant", "content": null, "tool_calls": call("x")}),
        json!({"role": "assistant", "content": text(6), "tool_calls": []}),
        json!({"role": "assistant", "content": text(6), "refusal": null, "annotations": []}),
        json!({"role": "tool", "tool_call_id": "x", "content": "7"}),
        json!({"role": "tool", "tool_call_id": "y", "content": text(7)}),
        json!({"role": "martian", "content": text(8)}),
    ])
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(100),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Chats that grow, fork and are asked again with and without what stands beside them, all in one memory.
    #[test]
    fn no_history_changes_a_count(
        messages in vec(any_message(), 1..24),
        turns in vec((1..24usize, 0..24usize, any_message(), 0..6u8), 1..12),
    ) {
        let mut seen = seeded();
        for (length, place, other, form) in turns {
            let mut messages = messages[..length.min(messages.len())].to_vec();
            if form % 2 == 1 && let Some(message) = messages.get_mut(place) {
                *message = other;
            }
            let mut body = json!({"model": "m", "messages": messages});
            match form {
                2 => body["tools"] = json!([{"type": "function", "function": {"name": "f"}}]),
                3 => body["response_format"] = json!({"type": "json_schema", "json_schema": {"schema": {}}}),
                4 => body["prediction"] = json!({"type": "content", "content": "x"}),
                _ => {}
            }
            let rules = if form == 5 { named() } else { Rules::COOKBOOK };
            let anew = counted_by(&mut seeded(), &rules, "o200k_base", &body.to_string());
            prop_assert_eq!(counted_by(&mut seen, &rules, "o200k_base", &body.to_string()), anew);
        }
    }
}
