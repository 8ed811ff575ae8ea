//! A whole answer: written from the hub, read into it, and read where it stands when it passes through.

use std::borrow::Cow;

use weir_wire::json::{Doc, Value, Writer};

use super::fields;
use super::stream_read::{Slot, read_texts};
use crate::hub::{Answer, Failure, Finish, Part, ToolCall, Usage};
use crate::write;

/// What an answer says of itself and the provider's body did not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerContext {
    /// `chatcmpl-…`
    pub id: String,
    /// Seconds since 1970.
    pub created: u64,
    /// The model's name as the client asked for it.
    pub model: String,
}

/// A text of an answer that passes through.
#[derive(Clone, Copy, Debug)]
pub struct AnswerText<'d, 'a> {
    /// Which answer, from 0.
    pub choice: u32,
    /// Which of its texts.
    pub slot: Slot,
    /// The string value.
    pub value: Value<'d, 'a>,
}

/// What telemetry, budgets and restoring need of an answer that passes through.
#[derive(Clone, Debug, Default)]
pub struct AnswerFacts<'d, 'a> {
    /// The answer's id.
    pub id: Option<Cow<'a, str>>,
    /// The model that answered.
    pub model: Option<Cow<'a, str>>,
    /// Tokens billed.
    pub usage: Option<Usage>,
    /// Why each choice ended, in order: as understood, and the provider's word.
    pub finishes: Vec<(Finish, Cow<'a, str>)>,
    /// The texts, in order.
    pub texts: Vec<AnswerText<'d, 'a>>,
    /// The body is an error object.
    pub error: bool,
}

/// Reads the facts of an answer; unknown fields and wrong types are passed over.
pub fn read_answer<'d, 'a>(doc: &'d Doc<'a>) -> AnswerFacts<'d, 'a> {
    let mut facts = AnswerFacts::default();
    for (key, value) in doc.root().members() {
        by_name!(key => {
            "id" => facts.id = value.as_str(),
            "model" => facts.model = value.as_str(),
            "usage" => facts.usage = read_usage(value),
            "error" => facts.error = !value.is_null(),
            "choices" => {
                for choice in value.items() {
                    let index = fields::index(choice, "index");
                    if let Some(reason) = choice.get("finish_reason")
                        && let Some(word) = reason.as_str()
                    {
                        facts.finishes.push((finish_of(reason), word));
                    }
                    if let Some(message) = choice.get("message") {
                        read_texts(message, index, &mut |choice, slot, value| {
                            facts.texts.push(AnswerText { choice, slot, value });
                        });
                    }
                }
            },
            _ => {},
        })
    }
    facts
}

/// A `usage` object; none for null and for what has no token numbers at all.
pub fn read_usage(value: Value<'_, '_>) -> Option<Usage> {
    let input = fields::tokens(value, &["prompt_tokens"]);
    let output = fields::tokens(value, &["completion_tokens"]);
    if input.is_none() && output.is_none() {
        return None;
    }
    let detail = |path: [&str; 2]| fields::tokens(value, &path).unwrap_or(0);
    Some(Usage {
        input: input.unwrap_or(0),
        output: output.unwrap_or(0),
        cache_read: detail(["prompt_tokens_details", "cached_tokens"]),
        cache_write: detail(["prompt_tokens_details", "cache_write_tokens"]),
        reasoning: detail(["completion_tokens_details", "reasoning_tokens"]),
    })
}

pub(super) fn write_usage(out: &mut Writer, usage: &Usage) {
    out.fill(r#"{"prompt_tokens":"#, &[]).u64(usage.input);
    out.key("completion_tokens").u64(usage.output).key("total_tokens").u64(usage.total());
    out.fill(r#""prompt_tokens_details":{"cached_tokens":"#, &[]).u64(usage.cache_read);
    out.key("cache_write_tokens").u64(usage.cache_write).end_object();
    // A zero that nobody counted would be a lie; OpenAI's details are optional.
    if usage.reasoning > 0 {
        out.fill(r#""completion_tokens_details":{"reasoning_tokens":"#, &[])
            .u64(usage.reasoning)
            .end_object();
    }
    out.end_object();
}

/// The stop text that ended a choice, which vLLM tells; a token's number is none.
pub(super) fn stop_of(choice: Value<'_, '_>) -> Option<String> {
    fields::member(choice, STOP)
}

/// vLLM's member for it; OpenAI has none, and clients of its own read over what they do not know.
pub(super) const STOP: &str = "stop_reason";

/// The finish reason of a choice understood; a word that is not known is taken as a plain stop.
pub(super) fn finish_of_choice(reason: Value<'_, '_>, stop: &Option<String>) -> Finish {
    match finish_of(reason) {
        Finish::Stop if stop.is_some() => Finish::StopSequence,
        finish => finish,
    }
}

/// The finish reason understood; a word that is not known is taken as a plain stop.
pub(crate) fn finish_of(reason: Value<'_, '_>) -> Finish {
    by_name!(reason.str_raw() => {
        "length" => Finish::Length,
        "tool_calls" | "function_call" => Finish::ToolCalls,
        "content_filter" => Finish::ContentFilter,
        _ => Finish::Stop,
    })
}

/// OpenAI's word for an end.
pub(super) fn finish_word(finish: Finish) -> &'static str {
    match finish {
        // OpenAI has no word for a broken output format; its own models end it with `stop`.
        Finish::Stop | Finish::StopSequence | Finish::Malformed => "stop",
        Finish::Length => "length",
        Finish::ToolCalls => "tool_calls",
        Finish::ContentFilter => "content_filter",
    }
}

/// Writes `chat.completion`.
pub fn encode_answer(answer: &Answer, context: &AnswerContext) -> Vec<u8> {
    let (mut content, mut refusal, mut reasoning) = (String::new(), String::new(), String::new());
    let mut calls = Vec::new();
    let mut signed = false;
    for part in &answer.parts {
        match part {
            Part::Text(text) => content.push_str(text),
            Part::Refusal(text) => refusal.push_str(text),
            Part::Reasoning { text, signature } => {
                reasoning.push_str(text);
                signed |= signature.is_some();
            }
            Part::RedactedReasoning(_) => signed = true,
            Part::ToolCall(call) => calls.push(call),
            // No model says these in a chat completion.
            Part::Image { .. }
            | Part::ImageUrl { .. }
            | Part::Audio { .. }
            | Part::Video { .. }
            | Part::Document { .. }
            | Part::ToolResult(_)
            | Part::CachePoint { .. } => {}
        }
    }
    let mut out = Writer::new(Vec::with_capacity(384 + content.len() + reasoning.len()));
    out.fill(r#"{"id":?,"object":"chat.completion","created":"#, &[&context.id]).u64(context.created);
    out.fill(
        r#""model":?,"choices":[{"index":0,"message":{"role":"assistant","content":"#,
        &[&context.model],
    );
    let silent = content.is_empty() && (!calls.is_empty() || !refusal.is_empty());
    out.opt((!silent).then_some(&content));
    out.key("refusal").opt((!refusal.is_empty()).then_some(&refusal));
    write::text(&mut out, "reasoning_content", (!reasoning.is_empty()).then_some(&reasoning));
    if signed {
        // The client sends them back with the tool results; without their signatures Claude refuses the turn.
        write_thinking_blocks(&mut out, &answer.parts);
    }
    if !calls.is_empty() {
        out.key("tool_calls").begin_array();
        for call in calls {
            write_tool_call(&mut out, call);
        }
        out.end_array();
    }
    out.fill(r#"},"logprobs":null,"finish_reason":?"#, &[finish_word(answer.finish)]);
    write::text(&mut out, STOP, answer.stop_sequence.as_deref());
    out.fill("}]", &[]);
    if let Some(usage) = &answer.usage {
        out.key("usage");
        write_usage(&mut out, usage);
    }
    out.end_object();
    out.into_inner()
}

/// `{"id","type":"function","function":{"name","arguments"}}`
#[inline(never)]
pub(super) fn write_tool_call(out: &mut Writer, call: &ToolCall) {
    let piece = r#"{"id":?,"type":"function","function":{"name":?,"arguments":?}}"#;
    out.fill(piece, &[&call.id, &call.name, &call.arguments]);
}

/// The `thinking_blocks` member of a message, for parts that are reasoning.
pub(super) fn write_thinking_blocks(out: &mut Writer, parts: &[Part]) {
    out.key("thinking_blocks").begin_array();
    for part in parts {
        match part {
            Part::Reasoning { text, signature } => {
                out.fill(r#"{"type":"thinking","thinking":?"#, &[text]);
                write::text(out, "signature", signature.as_deref());
                out.end_object();
            }
            Part::RedactedReasoning(data) => {
                out.fill(r#"{"type":"redacted_thinking","data":?}"#, &[data]);
            }
            _ => {}
        }
    }
    out.end_array();
}

/// Reads `chat.completion` into the hub: its first choice. A body that is no answer is the provider's failure.
pub fn decode_answer(body: &[u8]) -> Result<Answer, Failure> {
    let doc = fields::parsed(body)?;
    let root = doc.root();
    let Some(choice) = root.list("choices").next() else {
        return Err(Failure::unreadable("the provider's answer has no choices"));
    };
    let mut answer = Answer {
        id: fields::member(root, "id"),
        model: fields::member(root, "model"),
        stop_sequence: stop_of(choice),
        usage: root.get("usage").and_then(read_usage),
        ..Answer::default()
    };
    if let Some(reason) = choice.get("finish_reason") {
        answer.finish = finish_of_choice(reason, &answer.stop_sequence);
    }
    let Some(message) = choice.get("message") else { return Ok(answer) };
    let parts = &mut answer.parts;
    super::decode::reasoning(message, parts);
    parts.extend(fields::said(message, "content").map(Part::Text));
    for part in message.list("content") {
        parts.extend(fields::member(part, "text").map(Part::Text));
    }
    parts.extend(fields::said(message, "refusal").map(Part::Refusal));
    for call in message.list("tool_calls") {
        let function = call.get("function").unwrap_or(call);
        parts.push(Part::ToolCall(ToolCall {
            id: fields::or_empty(call, "id"),
            name: fields::or_empty(function, "name"),
            arguments: fields::or_empty(function, "arguments"),
        }));
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use weir_wire::json::{self, Limits};

    use super::*;

    fn context() -> AnswerContext {
        AnswerContext { id: "chatcmpl-1".into(), created: 7, model: "asked".into() }
    }

    fn call(id: &str) -> Part {
        Part::ToolCall(ToolCall { id: id.into(), name: "f".into(), arguments: r#"{"a":1}"#.into() })
    }

    #[test]
    fn an_answer_survives_the_way_out_and_in() {
        let answer = Answer {
            id: Some("chatcmpl-1".into()),
            model: Some("asked".into()),
            parts: vec![
                Part::Reasoning { text: "hm".into(), signature: Some("sig".into()) },
                Part::RedactedReasoning("AAAA".into()),
                Part::Text("text".into()),
                call("a"),
                call("b"),
            ],
            finish: Finish::StopSequence,
            stop_sequence: Some("\"END\"".into()),
            usage: Some(Usage { input: 10, output: 5, cache_read: 4, cache_write: 3, reasoning: 2 }),
        };
        let body = encode_answer(&answer, &context());
        assert_eq!(decode_answer(&body).unwrap(), answer);
    }

    #[test]
    fn content_is_null_when_there_are_only_tool_calls() {
        let only_calls = Answer { parts: vec![call("a")], ..Answer::default() };
        let body = String::from_utf8(encode_answer(&only_calls, &context())).unwrap();
        assert!(body.contains(r#""content":null"#), "{body}");
        let nothing = String::from_utf8(encode_answer(&Answer::default(), &context())).unwrap();
        assert!(nothing.contains(r#""content":"""#), "{nothing}");
    }

    #[test]
    fn facts_of_a_passing_answer_have_handles() {
        let body = br#"{"id":"i","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hi","refusal":null,"annotations":null,"tool_calls":[{"id":"x","function":{"name":"f","arguments":"{}"}}]},"finish_reason":"tool_calls","stop_reason":null}],"usage":{"prompt_tokens":1,"completion_tokens":2,"prompt_tokens_details":null},"kv_transfer_params":null}"#;
        let doc = json::parse(body, &Limits::default()).unwrap();
        let facts = read_answer(&doc);
        assert_eq!((facts.id.as_deref(), facts.model.as_deref()), (Some("i"), Some("m")));
        assert_eq!(facts.usage, Some(Usage { input: 1, output: 2, ..Usage::default() }));
        assert_eq!(facts.finishes, [(Finish::ToolCalls, "tool_calls".into())]);
        let texts: Vec<_> = facts.texts.iter().map(|t| (t.slot, &body[t.value.range()])).collect();
        assert_eq!(texts, [(Slot::Content, &b"\"hi\""[..]), (Slot::Tool(0), &b"\"{}\""[..])]);
    }

    #[test]
    fn what_is_no_answer_is_the_providers_failure() {
        for body in ["", "{", "{}", r#"{"choices":[]}"#, "[]"] {
            assert_eq!(decode_answer(body.as_bytes()).unwrap_err().status, 502, "{body}");
        }
    }
}
