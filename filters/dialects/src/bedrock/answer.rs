//! A whole Converse answer, read into the hub. Its body has neither id nor model; the caller knows both.

use weir_wire::json::{self, Doc, Limits, Value};

use super::names::Renames;
use crate::hub::{Answer, Failure, Finish, Part, ToolCall, Usage};
use crate::openai_chat::fields;

/// Reads an answer. `renames` is what the request's encoding returned: it gives tools their own names back. A body
/// that is no answer is the provider's failure.
pub fn decode_answer(body: &[u8], renames: &Renames) -> Result<Answer, Failure> {
    let doc: Doc<'_> = json::parse(body, &Limits::default())
        .map_err(|error| Failure::unreadable(&format!("the provider's answer cannot be read: {error}")))?;
    let root = doc.root();
    let message = root.get("output").and_then(|output| output.get("message"));
    let content = message.and_then(|message| message.get("content"));
    let (Some(content), Some(stop)) = (content, fields::member(root, "stopReason")) else {
        return Err(Failure::unreadable("the provider's answer has no message"));
    };
    let mut answer = Answer {
        id: None,
        model: None,
        parts: Vec::with_capacity(content.len()),
        finish: finish_of(&stop),
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
        if call.get("type").is_some_and(|kind| kind.is_str("server_tool_use")) {
            return None;
        }
        return Some(Part::ToolCall(ToolCall {
            id: fields::member(call, "toolUseId")?,
            name: renames.original(&fields::member(call, "name")?).to_owned(),
            arguments: call.get("input").map_or_else(|| "{}".to_owned(), fields::raw),
        }));
    }
    if let Some(reasoning) = block.get("reasoningContent") {
        if let Some(data) = fields::member(reasoning, "redactedContent") {
            return Some(Part::RedactedReasoning(data));
        }
        let text = reasoning.get("reasoningText")?;
        return Some(Part::Reasoning {
            text: fields::member(text, "text").unwrap_or_default(),
            signature: fields::member(text, "signature"),
        });
    }
    let cited = block.get("citationsContent")?.get("content")?;
    let texts = cited.items().filter_map(|piece| fields::member(piece, "text"));
    Some(Part::Text(texts.collect()))
}

/// Converse's reason in the hub's words.
pub(super) fn finish_of(reason: &str) -> Finish {
    match reason {
        "stop_sequence" => Finish::StopSequence,
        "tool_use" => Finish::ToolCalls,
        "max_tokens" | "model_context_window_exceeded" => Finish::Length,
        "guardrail_intervened" | "content_filtered" => Finish::ContentFilter,
        "malformed_model_output" | "malformed_tool_use" => Finish::Malformed,
        _ => Finish::Stop,
    }
}

/// Converse's usage. Its input tokens leave the cached ones out; its `…TokenCount` fields repeat others and are not
/// summed.
pub(super) fn usage_of(usage: Value<'_, '_>) -> Option<Usage> {
    let number = |key: &str| usage.get(key).and_then(Value::as_u64);
    let (input, output) = (number("inputTokens")?, number("outputTokens")?);
    let cache_read = number("cacheReadInputTokens").unwrap_or(0);
    let cache_write = number("cacheWriteInputTokens").unwrap_or(0);
    let input = input.saturating_add(cache_read).saturating_add(cache_write);
    Some(Usage { input, output, cache_read, cache_write, reasoning: 0 })
}

#[cfg(test)]
mod tests {
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
