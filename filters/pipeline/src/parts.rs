//! What a prompt is made of, by its bytes: so that a span shows which part of its input tokens is instructions, tools,
//! conversation, results of tools, documents or the newest question.
//!
//! No provider says which part cost what, and a prompt is counted as a whole (its history is remembered, not counted
//! again): the tokens told are shared out in proportion to the bytes, and the span says that it is so. It reads every
//! dialect by the shapes that they have in common, and looks at the length of each string, never into it: nothing is
//! unescaped, nothing copied.

use weir_wire::json::{Kind, Value};

/// The parts, as attributes.
pub const PARTS: [&str; 6] = [
    "weir.usage.input_tokens.system",
    "weir.usage.input_tokens.tools",
    "weir.usage.input_tokens.history",
    "weir.usage.input_tokens.tool_results",
    "weir.usage.input_tokens.documents",
    "weir.usage.input_tokens.user",
];
/// How the tokens of parts are known.
pub const BASIS: (&str, &str) = ("weir.usage.input_tokens.parts", "bytes");

/// Bytes of each of [`PARTS`].
pub type Parts = [u64; PARTS.len()];

const SYSTEM: usize = 0;
const TOOLS: usize = 1;
const HISTORY: usize = 2;
const RESULTS: usize = 3;
const DOCUMENTS: usize = 4;
const USER: usize = 5;

/// What stands for a picture, a sound or a file in base64, in bytes: about a thousand tokens. Its own bytes say nothing.
const DATA: usize = 4096;

/// Fields of a body that are no conversation.
const FIELDS: [(&str, usize); 12] = [
    ("system", SYSTEM),
    ("instructions", SYSTEM),
    ("tools", TOOLS),
    ("functions", TOOLS),
    ("toolConfig", TOOLS),
    ("response_format", TOOLS),
    ("output_format", TOOLS),
    ("output_config", TOOLS),
    ("outputConfig", TOOLS),
    ("text", TOOLS),
    ("documents", DOCUMENTS),
    ("inputText", USER),
];
/// Fields that are.
const TALKS: [&str; 3] = ["messages", "input", "prompt"];
/// Whose message it is.
const ROLES: [(&str, usize); 6] = [
    ("user", USER),
    ("assistant", HISTORY),
    ("tool", RESULTS),
    ("function", RESULTS),
    ("system", SYSTEM),
    ("developer", SYSTEM),
];
/// Blocks of a user's message that are not the user's own words: by their type, or where a dialect has none by their
/// only field.
const BLOCKS: [(&str, usize); 7] = [
    ("tool_result", RESULTS),
    ("toolResult", RESULTS),
    ("document", DOCUMENTS),
    ("file", DOCUMENTS),
    ("input_file", DOCUMENTS),
    ("search_result", DOCUMENTS),
    ("searchResult", DOCUMENTS),
];

fn of(table: &[(&str, usize)], is: &dyn Fn(&str) -> bool) -> Option<usize> {
    table.iter().find(|(name, _)| is(name)).map(|(_, part)| *part)
}

/// The parts of a request. Linear in its values; of the user only the newest turn is the user's, the rest is history.
pub fn parts(root: Value<'_, '_>) -> Parts {
    let mut parts = Parts::default();
    for (key, value) in root.members() {
        if let Some(part) = of(&FIELDS, &|name| key.is(name)) {
            add(&mut parts, part, value);
        } else if TALKS.iter().any(|name| key.is(name)) {
            match value.kind() {
                Kind::Array => talk(value, &mut parts),
                _ => add(&mut parts, USER, value),
            }
        }
    }
    parts
}

fn add(parts: &mut Parts, part: usize, value: Value<'_, '_>) {
    if let Some(bytes) = parts.get_mut(part) {
        *bytes = bytes.saturating_add(weight(value));
    }
}

fn talk(items: Value<'_, '_>, parts: &mut Parts) {
    // The message before was the user's, too: both are the newest turn.
    let mut goes_on = true;
    for item in items.items() {
        let whose = match item.get("role") {
            Some(role) => of(&ROLES, &|name| role.is_str(name)),
            // Items of Responses: results of tools, and what the model did. Prompts of completions are strings.
            None => item
                .get("type")
                .and_then(|kind| kind.str_raw())
                .map(|kind| if kind.ends_with("_output") { RESULTS } else { HISTORY }),
        };
        let whose = whose.unwrap_or(USER);
        if whose != USER {
            add(parts, whose, item);
            goes_on = false;
            continue;
        }
        let content = item.get("content").unwrap_or(item);
        let mut said = Parts::default();
        match content.kind() {
            Kind::Array => content.items().for_each(|block| {
                let mut named = block.members().filter_map(|(key, value)| {
                    of(&BLOCKS, &|name| key.is(name) || key.is("type") && value.is_str(name))
                });
                let part = named.next().unwrap_or(USER);
                add(&mut said, part, block);
            }),
            _ => add(&mut said, USER, content),
        }
        let [.., history, _, _, user] = parts;
        if said[USER] > 0 && !goes_on {
            *history = history.saturating_add(std::mem::take(user));
        }
        goes_on = said[USER] > 0;
        parts.iter_mut().zip(said).for_each(|(sum, bytes)| *sum = sum.saturating_add(bytes));
    }
}

/// Bytes of the strings, names and numbers in a value, as they are written; data counts [`DATA`] at most. It recurses
/// no deeper than the parser's depth limit.
fn weight(value: Value<'_, '_>) -> u64 {
    let length = value.range().len();
    match value.kind() {
        Kind::String => {
            let data = length > DATA && value.str_raw().is_some_and(is_data);
            (if data { DATA } else { length.saturating_sub(2) }) as u64
        }
        Kind::Array => value.items().fold(0, |sum: u64, item| sum.saturating_add(weight(item))),
        Kind::Object => value.members().fold(0, |sum: u64, (key, member)| {
            sum.saturating_add(key.range().len() as u64).saturating_add(weight(member))
        }),
        _ => length as u64,
    }
}

/// A long string that begins as base64 and data URIs do, and no text does.
fn is_data(text: &str) -> bool {
    text.bytes().take(64).all(|byte| byte.is_ascii_alphanumeric() || b"+/=-_:;,.".contains(&byte))
}

/// `tokens` shared out in proportion to the bytes; the shares are `tokens` in sum. `None` where nothing can be shared.
pub fn shares(parts: &Parts, tokens: u64) -> Option<Parts> {
    let all = parts.iter().fold(0u64, |sum, bytes| sum.saturating_add(*bytes));
    // More than that is nobody's prompt, and would be multiplied beyond 64 bits.
    if all == 0 || all > u64::from(u32::MAX) || tokens > u64::from(u32::MAX) {
        return None;
    }
    let (mut sum, mut before) = (0, 0);
    Some(parts.map(|bytes| {
        sum += bytes;
        let until = tokens * sum / all;
        until - std::mem::replace(&mut before, until)
    }))
}

#[cfg(test)]
mod tests {
    use weir_wire::json::{Limits, parse};

    use super::*;

    fn of_body(body: &serde_json::Value) -> Parts {
        let text = body.to_string();
        parts(parse(text.as_bytes(), &Limits::default()).unwrap().root())
    }

    /// Which parts a body has.
    fn there(body: &serde_json::Value) -> Vec<&'static str> {
        let parts = of_body(body);
        let names = PARTS.iter().zip(parts).filter(|(_, bytes)| *bytes > 0);
        names.map(|(name, _)| name.rsplit('.').next().unwrap()).collect()
    }

    #[test]
    fn each_dialect_has_its_parts() {
        use serde_json::json;
        let all = ["system", "tools", "history", "tool_results", "documents", "user"];
        let pdf = "JVBERi0x".repeat(2_000);
        let chat = json!({"model": "m", "temperature": 1, "messages": [
            {"role": "system", "content": "s"}, {"role": "user", "content": "old"},
            {"role": "assistant", "content": null, "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "c", "content": "r"},
            {"role": "user", "content": [{"type": "text", "text": "new"}, {"type": "file", "file": {"file_data": pdf}}]},
        ], "tools": [{"type": "function", "function": {"name": "f"}}]});
        let anthropic = json!({"model": "m", "system": [{"type": "text", "text": "s"}], "messages": [
            {"role": "user", "content": "old"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "f", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "r"}]},
            {"role": "assistant", "content": "well"},
            {"role": "user", "content": [{"type": "document", "source": {"type": "base64", "data": pdf}}, {"type": "text", "text": "new"}]},
        ], "tools": [{"name": "f", "input_schema": {}}]});
        let converse = json!({"system": [{"text": "s"}], "messages": [
            {"role": "user", "content": [{"text": "old"}]},
            {"role": "assistant", "content": [{"toolUse": {"toolUseId": "c", "name": "f", "input": {}}}]},
            {"role": "user", "content": [{"toolResult": {"toolUseId": "c", "content": [{"text": "r"}]}}]},
            {"role": "assistant", "content": [{"text": "well"}]},
            {"role": "user", "content": [{"document": {"name": "d", "source": {"bytes": pdf}}}, {"text": "new"}]},
        ], "toolConfig": {"tools": [{"toolSpec": {"name": "f"}}]}});
        let responses = json!({"model": "m", "instructions": "s", "input": [
            {"role": "user", "content": "old"},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "r"},
            {"type": "message", "role": "user", "content": [{"type": "input_file", "file_data": pdf}, {"type": "input_text", "text": "new"}]},
        ], "tools": [{"type": "function", "name": "f"}]});
        for body in [&chat, &anthropic, &converse, &responses] {
            assert_eq!(there(body), all, "{body}");
            let [.., documents, user] = of_body(body);
            // A file counts what stands for it, with the few bytes around it.
            assert!((DATA as u64..DATA as u64 + 100).contains(&documents), "{documents} {body}");
            assert!((3..40).contains(&user), "{user}: only the newest turn is the user's: {body}");
        }
        for body in [
            json!({"prompt": "p"}),
            json!({"prompt": ["p", "q"]}),
            json!({"input": "p"}),
            json!({"input": [1, 2]}),
            json!({"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]}),
        ] {
            assert_eq!(there(&body), ["user"], "{body}");
        }
        assert_eq!(there(&json!({"model": "m", "messages": 7, "tools": {}, "x": ["y"]})), ["user"]);
        assert_eq!(there(&json!([1])), [""; 0]);
    }

    #[test]
    fn while_tools_answer_the_question_stays_the_users() {
        use serde_json::json;
        let call = json!({"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "f", "input": {}}]});
        let result =
            json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "r"}]});
        let mut messages =
            vec![json!({"role": "user", "content": "old"}), json!({"role": "assistant", "content": "well"})];
        messages.push(json!({"role": "user", "content": "the question"}));
        let [.., before, _, _, _] = of_body(&json!({ "messages": messages }));
        for _ in 0..3 {
            messages.extend([call.clone(), result.clone()]);
            let [.., history, results, _, user] = of_body(&json!({ "messages": messages }));
            assert_eq!(user, "the question".len() as u64);
            assert!(history > before && results > 0);
        }
        messages.push(json!({"role": "user", "content": "go on"}));
        let [.., user] = of_body(&json!({ "messages": messages }));
        assert_eq!(user, "go on".len() as u64);
    }

    #[test]
    fn long_texts_count_in_full_whatever_they_are_written_in() {
        use serde_json::json;
        for text in
            ["words and words, ".repeat(1_000), "漢字".repeat(3_000), "fn f(x: u8) -> u8 { x }".repeat(500)]
        {
            let [.., user] = of_body(&json!({"messages": [{"role": "user", "content": text}]}));
            assert_eq!(user, text.len() as u64);
        }
        let picture = format!("data:image/png;base64,{}", "iVBORw0K".repeat(9_000));
        let [.., user] = of_body(
            &json!({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": picture}}]}]}),
        );
        assert!((4_096..4_200).contains(&user), "{user}");
    }

    #[test]
    fn shares_are_the_tokens_in_sum() {
        for parts in [
            [1, 0, 0, 0, 0, 0],
            [1, 1, 1, 1, 1, 1],
            [0, 7, 0, 3, 1_000_000, 1],
            [u64::from(u32::MAX) - 1, 0, 0, 0, 0, 1],
        ] {
            for tokens in [0, 1, 2, 5, 1_000, 99_999, u64::from(u32::MAX)] {
                let shares = shares(&parts, tokens).unwrap();
                assert_eq!(shares.iter().sum::<u64>(), tokens, "{parts:?}");
                let all: u64 = parts.iter().sum();
                for (share, bytes) in shares.iter().zip(parts) {
                    let exact = u128::from(tokens) * u128::from(bytes) / u128::from(all);
                    assert!(u128::from(*share).abs_diff(exact) <= 1, "{parts:?} {tokens}");
                }
            }
        }
        assert_eq!(shares(&[0; 6], 5), None);
        assert_eq!(shares(&[u64::MAX, u64::MAX, 0, 0, 0, 0], 5), None);
        assert_eq!(shares(&[1; 6], u64::MAX), None);
    }
}
