//! A whole Converse answer: read into the hub, written from it, and read where it stands when it passes through. Its
//! body has neither id nor model; the caller knows both.

use weir_wire::json::{Doc, Kind, Value, Writer};

use super::names::Renames;
use crate::hub::{Answer, Failure, Finish, Part, ToolCall, Usage};
use crate::openai_chat::{AnswerFacts, AnswerText, Slot, fields, strings};
use crate::write;

/// Reads the facts of an answer that passes. A tool's input is one text, of whatever JSON; reasoning is counted
/// and never to be altered.
pub fn read_answer<'d, 'a>(doc: &'d Doc<'a>) -> AnswerFacts<'d, 'a> {
    let mut facts = AnswerFacts::default();
    let root = doc.root();
    facts.usage = root.get("usage").and_then(usage_of);
    if let Some(word) = root.get("stopReason").and_then(|word| word.as_str()) {
        facts.finishes.push((finish_of(&word), word));
    }
    let Some(content) = fields::dig(root, &["output", "message", "content"]) else { return facts };
    for (choice, block) in (0..).zip(content.items()) {
        let mut add = |slot, value: Value<'d, 'a>| {
            if value.kind() == Kind::String || slot == Slot::Tool(0) {
                facts.texts.push(AnswerText { choice, slot, value });
            }
        };
        for (key, value) in block.members() {
            by_name!(key => {
                "text" => add(Slot::Content, value),
                "toolUse" => {
                    if let Some(input) = value.get("input") {
                        add(Slot::Tool(0), input);
                    }
                },
                "citationsContent" => {
                    for text in value.list("content").filter_map(|piece| piece.get("text")) {
                        add(Slot::Content, text);
                    }
                },
                "reasoningContent" => {
                    if let Some(text) = fields::dig(value, &["reasoningText", "text"]) {
                        add(Slot::Reasoning, text);
                    }
                },
                _ => {},
            })
        }
    }
    facts
}

/// Reads an answer in a model's own dialect: every string is a text; the usage is in the headers.
pub fn read_any<'d, 'a>(doc: &'d Doc<'a>) -> AnswerFacts<'d, 'a> {
    let mut facts = AnswerFacts::default();
    strings(doc.root(), &mut |value| {
        facts.texts.push(AnswerText { choice: 0, slot: Slot::Content, value });
    });
    facts
}

/// Writes an answer.
pub fn encode_answer(answer: &Answer) -> Vec<u8> {
    let mut out = Writer::new(Vec::with_capacity(512));
    out.fill(r#"{"output":{"message":{"role":"assistant","content":["#, &[]);
    let mut refused = false;
    for part in &answer.parts {
        match part {
            Part::Text(text) => _ = out.fill(r#"{"text":?}"#, &[text]),
            Part::Refusal(text) => {
                refused = true;
                out.fill(r#"{"text":?}"#, &[text]);
            }
            Part::Reasoning { text, signature } => write_reasoning(&mut out, text, signature.as_deref()),
            Part::RedactedReasoning(data) => {
                out.fill(r#"{"reasoningContent":{"redactedContent":?}}"#, &[data]);
            }
            Part::ToolCall(call) => {
                out.fill(r#"{"toolUse":{"toolUseId":?,"name":?"#, &[&call.id, &call.name]);
                write::input(&mut out, &call.arguments);
                out.fill("}}", &[]);
            }
            // No model says others in an answer.
            _ => {}
        }
    }
    out.fill("]}}", &[]);
    let finish = if refused { Finish::ContentFilter } else { answer.finish };
    write_ending(&mut out, finish, answer.stop_sequence.as_deref());
    out.key("usage");
    write_usage(&mut out, &answer.usage.unwrap_or_default());
    out.fill(r#""metrics":{"latencyMs":0}}"#, &[]);
    out.into_inner()
}

/// A block of reasoning.
#[inline(never)]
pub(super) fn write_reasoning(out: &mut Writer, text: &str, signature: Option<&str>) {
    out.fill(r#"{"reasoningContent":{"reasoningText":{"text":?"#, &[text]);
    write::text(out, "signature", signature);
    out.fill("}}}", &[]);
}

/// Why an answer ended. Which stop text did stands where Claude's own field is when it is asked for.
pub(super) fn write_ending(out: &mut Writer, finish: Finish, stop: Option<&str>) {
    out.member("stopReason", finish_word(finish));
    if let Some(stop) = stop {
        out.key(EXTRA).fill(r#"{"stop_sequence":?}"#, &[stop]);
    }
}

/// Where the model's own fields stand that were asked for.
const EXTRA: &str = "additionalModelResponseFields";

/// The stop text that ended an answer, where the model was asked for it.
pub(super) fn stop_of(holder: Value<'_, '_>) -> Option<String> {
    fields::member(holder.get(EXTRA)?, "stop_sequence")
}

/// Converse's word for an end.
fn finish_word(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop => "end_turn",
        Finish::StopSequence => "stop_sequence",
        Finish::Length => "max_tokens",
        Finish::ToolCalls => "tool_use",
        Finish::ContentFilter => "content_filtered",
        Finish::Malformed => "malformed_model_output",
    }
}

/// Writes usage: cached tokens stand beside the input, and the total is of all.
pub(super) fn write_usage(out: &mut Writer, usage: &Usage) {
    out.fill(r#"{"inputTokens":"#, &[]).u64(usage.uncached());
    out.key("outputTokens").u64(usage.output).key("totalTokens").u64(usage.total());
    for (key, count) in
        [("cacheReadInputTokens", usage.cache_read), ("cacheWriteInputTokens", usage.cache_write)]
    {
        if count > 0 {
            out.key(key).u64(count);
        }
    }
    out.end_object();
}

/// Reads an answer. `renames` is what the request's encoding returned: it gives tools their own names back. A body
/// that is no answer is the provider's failure.
pub fn decode_answer(body: &[u8], renames: &Renames) -> Result<Answer, Failure> {
    let doc = fields::parsed(body)?;
    let root = doc.root();
    let content = fields::dig(root, &["output", "message", "content"]);
    let (Some(content), Some(stop)) = (content, fields::member(root, "stopReason")) else {
        return Err(Failure::unreadable("the provider's answer has no message"));
    };
    let mut answer = Answer {
        id: None,
        model: None,
        parts: Vec::with_capacity(content.len()),
        finish: finish_of(&stop),
        stop_sequence: stop_of(root),
        usage: root.get("usage").and_then(usage_of),
    };
    for block in content.items() {
        if let Some(part) = part_of(block, renames) {
            answer.parts.push(part);
        }
    }
    Ok(answer)
}

/// A content block of a model; none for those that no request of ours can bring about.
fn part_of(block: Value<'_, '_>, renames: &Renames) -> Option<Part> {
    if let Some(text) = fields::member(block, "text") {
        return Some(Part::Text(text));
    }
    if let Some(call) = block.get("toolUse") {
        // A tool that the provider runs itself: its result is in the text.
        if fields::is(call, "type", "server_tool_use") {
            return None;
        }
        return Some(Part::ToolCall(ToolCall {
            id: fields::member(call, "toolUseId")?,
            name: renames.original(&fields::member(call, "name")?).to_owned(),
            arguments: fields::arguments(call),
        }));
    }
    if let Some(reasoning) = block.get("reasoningContent") {
        if let Some(data) = fields::member(reasoning, "redactedContent") {
            return Some(Part::RedactedReasoning(data));
        }
        let text = reasoning.get("reasoningText")?;
        return Some(Part::Reasoning {
            text: fields::or_empty(text, "text"),
            signature: fields::member(text, "signature"),
        });
    }
    let mut whole = String::new();
    for piece in fields::dig(block, &["citationsContent", "content"])?.items() {
        whole.push_str(&fields::or_empty(piece, "text"));
    }
    Some(Part::Text(whole))
}

/// Converse's reason in the hub's words.
pub(super) fn finish_of(reason: &str) -> Finish {
    by_name!(reason => {
        "stop_sequence" => Finish::StopSequence,
        "tool_use" => Finish::ToolCalls,
        "max_tokens" | "model_context_window_exceeded" => Finish::Length,
        "guardrail_intervened" | "content_filtered" => Finish::ContentFilter,
        "malformed_model_output" | "malformed_tool_use" => Finish::Malformed,
        _ => Finish::Stop,
    })
}

/// Converse's usage. Its input tokens leave the cached ones out; its `…TokenCount` fields repeat others and are not
/// summed.
pub(super) fn usage_of(usage: Value<'_, '_>) -> Option<Usage> {
    let number = |key: &str| fields::tokens(usage, &[key]);
    let (input, output) = (number("inputTokens")?, number("outputTokens")?);
    let cache_read = number("cacheReadInputTokens").unwrap_or(0);
    let cache_write = number("cacheWriteInputTokens").unwrap_or(0);
    let input = input.saturating_add(cache_read).saturating_add(cache_write);
    Some(Usage { input, output, cache_read, cache_write, reasoning: 0 })
}

#[cfg(test)]
mod tests {
    use weir_wire::json::{self, Limits};

    use super::*;

    fn answer(content: &str, stop: &str, usage: &str) -> Answer {
        let body = format!(
            r#"{{"output":{{"message":{{"role":"assistant","content":[{content}]}}}},"stopReason":"{stop}","usage":{usage},"metrics":{{"latencyMs":1}}}}"#
        );
        decode_answer(body.as_bytes(), &Renames::default()).unwrap()
    }

    #[test]
    fn cached_tokens_are_part_of_the_input() {
        let usage = r#"{"inputTokens":433,"outputTokens":16,"totalTokens":3201,"cacheReadInputTokens":2752,"cacheReadInputTokenCount":2752,"cacheWriteInputTokens":0,"serverToolUsage":{}}"#;
        let usage = answer("", "end_turn", usage).usage.unwrap();
        assert_eq!((usage.input, usage.total(), usage.cache_read), (3185, 3201, 2752));
    }

    #[test]
    fn each_stop_reason_has_its_finish() {
        for (reason, finish) in [
            ("end_turn", Finish::Stop),
            ("stop_sequence", Finish::StopSequence),
            ("tool_use", Finish::ToolCalls),
            ("max_tokens", Finish::Length),
            ("model_context_window_exceeded", Finish::Length),
            ("guardrail_intervened", Finish::ContentFilter),
            ("content_filtered", Finish::ContentFilter),
            ("malformed_model_output", Finish::Malformed),
            ("malformed_tool_use", Finish::Malformed),
            ("novel", Finish::Stop),
        ] {
            assert_eq!(answer("", reason, "null").finish, finish, "{reason}");
        }
    }

    #[test]
    fn arguments_stay_as_the_model_wrote_them() {
        let part = answer(
            r#"{"toolUse":{"toolUseId":"i","name":"n","input":{"b": 1.0, "a":1e2}}}"#,
            "tool_use",
            "null",
        );
        let Part::ToolCall(call) = &part.parts[0] else { panic!() };
        assert_eq!(call.arguments, r#"{"b": 1.0, "a":1e2}"#);
    }

    #[test]
    fn cited_text_is_text() {
        let part = answer(
            r#"{"citationsContent":{"content":[{"text":"a"},{"text":"b"}],"citations":[{}]}}"#,
            "end_turn",
            "null",
        );
        assert_eq!(part.parts, [Part::Text("ab".into())]);
    }

    #[test]
    fn an_answer_survives_the_way_out_and_in() {
        let call = ToolCall { id: "i".into(), name: "n".into(), arguments: r#"{"b": 1.0}"#.into() };
        let answer = Answer {
            parts: vec![
                Part::Reasoning { text: "hm".into(), signature: Some("s".into()) },
                Part::RedactedReasoning("AAAA".into()),
                Part::Text("a\n\"b\"".into()),
                Part::ToolCall(call),
            ],
            finish: Finish::StopSequence,
            stop_sequence: Some("\"END\"".into()),
            usage: Some(Usage { input: 10, output: 5, cache_read: 4, cache_write: 3, reasoning: 0 }),
            ..Answer::default()
        };
        let body = encode_answer(&answer);
        assert_eq!(decode_answer(&body, &Renames::default()).unwrap(), answer);
        let doc = json::parse(&body, &Limits::default()).unwrap();
        let facts = read_answer(&doc);
        assert_eq!((facts.usage, facts.finishes[0].1.as_ref()), (answer.usage, "stop_sequence"));
        let texts: Vec<_> = facts.texts.iter().map(|text| (text.choice, text.slot)).collect();
        assert_eq!(texts, [(0, Slot::Reasoning), (2, Slot::Content), (3, Slot::Tool(0))]);
        assert_eq!(doc.root().get("usage").unwrap().raw(), br#"{"inputTokens":3,"outputTokens":5,"totalTokens":15,"cacheReadInputTokens":4,"cacheWriteInputTokens":3}"#);
    }

    #[test]
    fn what_is_no_answer_is_the_providers_failure() {
        for body in
            ["", "{", "{}", "[]", r#"{"output":{"message":{}},"stopReason":"x"}"#, r#"{"message":"m"}"#]
        {
            assert_eq!(
                decode_answer(body.as_bytes(), &Renames::default()).unwrap_err().status,
                502,
                "{body}"
            );
        }
    }
}
