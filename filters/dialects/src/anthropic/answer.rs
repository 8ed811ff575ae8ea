//! A whole message: written from the hub, read into it, and read where it stands when it passes through.

use weir_wire::json::{Doc, Kind, Value, Writer};

use crate::bedrock::Renames;
use crate::hub::{Answer, Failure, Finish, Part, ToolCall, Usage};
use crate::openai_chat::{AnswerContext, AnswerFacts, AnswerText, Slot, fields};
use crate::write;

/// Reads the facts of an answer that passes. A tool's input is one text, of whatever JSON; thinking is counted
/// and never to be altered.
pub fn read_answer<'d, 'a>(doc: &'d Doc<'a>) -> AnswerFacts<'d, 'a> {
    let mut facts = AnswerFacts::default();
    for (key, value) in doc.root().members() {
        by_name!(key => {
            "id" => facts.id = value.as_str(),
            "model" => facts.model = value.as_str(),
            "usage" => facts.usage = usage_of(value),
            "error" => facts.error = !value.is_null(),
            "stop_reason" => {
                if let Some(word) = value.as_str() {
                    facts.finishes.push((finish_of(&word), word));
                }
            },
            "content" => {
                for (choice, block) in (0..).zip(value.items()) {
                    let mut add = |slot, value| facts.texts.push(AnswerText { choice, slot, value });
                    for (key, value) in block.members() {
                        by_name!(key => {
                            "text" if value.kind() == Kind::String => add(Slot::Content, value),
                            "thinking" if value.kind() == Kind::String => add(Slot::Reasoning, value),
                            "input" => add(Slot::Tool(0), value),
                            _ => {},
                        })
                    }
                }
            },
            _ => {},
        })
    }
    facts
}

/// A `usage` object; its input leaves the cached tokens out, ours does not. None where it has no output tokens.
pub(super) fn usage_of(usage: Value<'_, '_>) -> Option<Usage> {
    let number = |path: &[&str]| fields::tokens(usage, path);
    let output = number(&["output_tokens"])?;
    let cache_read = number(&["cache_read_input_tokens"]).unwrap_or(0);
    let cache_write = number(&["cache_creation_input_tokens"]).unwrap_or(0);
    let input = number(&["input_tokens"]).unwrap_or(0).saturating_add(cache_read).saturating_add(cache_write);
    let details = usage.get("output_tokens_details");
    let reasoning = details.and_then(|it| it.get("thinking_tokens").or_else(|| it.get("reasoning_tokens")));
    let reasoning = reasoning.and_then(Value::as_u64).unwrap_or(0);
    Some(Usage { input, output, cache_read, cache_write, reasoning })
}

pub(super) fn write_usage(out: &mut Writer, usage: &Usage) {
    out.fill(r#"{"input_tokens":"#, &[]).u64(usage.uncached());
    out.key("cache_creation_input_tokens").u64(usage.cache_write);
    out.key("cache_read_input_tokens").u64(usage.cache_read);
    out.key("output_tokens").u64(usage.output).end_object();
}

/// The reason understood; a pause is a stop, since nobody here runs the tool that it waits for.
pub(super) fn finish_of(reason: &str) -> Finish {
    by_name!(reason => {
        "stop_sequence" => Finish::StopSequence,
        "tool_use" => Finish::ToolCalls,
        "max_tokens" | "model_context_window_exceeded" => Finish::Length,
        "refusal" => Finish::ContentFilter,
        _ => Finish::Stop,
    })
}

/// Anthropic's word for an end.
pub(super) fn finish_word(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop | Finish::Malformed => "end_turn",
        Finish::StopSequence => "stop_sequence",
        Finish::Length => "max_tokens",
        Finish::ToolCalls => "tool_use",
        Finish::ContentFilter => "refusal",
    }
}

/// Opens a message, up to the bracket of its content.
pub(super) fn begin_message(out: &mut Writer, context: &AnswerContext) {
    let piece = r#"{"id":?,"type":"message","role":"assistant","model":?,"content":["#;
    out.fill(piece, &[&context.id, &context.model]);
}

/// Why a message ended, and the stop text that ended it.
pub(super) fn write_ending(out: &mut Writer, finish: Option<Finish>, stop: Option<&str>) {
    out.key("stop_reason").opt(finish.map(finish_word)).key("stop_sequence").opt(stop);
}

/// Closes it.
pub(super) fn end_message(out: &mut Writer, finish: Option<Finish>, stop: Option<&str>, usage: &Usage) {
    out.end_array();
    write_ending(out, finish, stop);
    out.key("usage");
    write_usage(out, usage);
    out.end_object();
}

/// Writes a message.
pub fn encode_answer(answer: &Answer, context: &AnswerContext) -> Vec<u8> {
    let mut out = Writer::new(Vec::with_capacity(512));
    begin_message(&mut out, context);
    for part in &answer.parts {
        match part {
            Part::Text(text) | Part::Refusal(text) => begin_block(&mut out, Block::Text(text)),
            Part::Reasoning { text, signature } => {
                begin_block(&mut out, Block::Thinking(text, signature.as_deref().unwrap_or_default()));
            }
            Part::RedactedReasoning(data) => begin_block(&mut out, Block::Redacted(data)),
            Part::ToolCall(call) => {
                begin_block(&mut out, Block::Tool(&call.id, &call.name));
                write::input(&mut out, &call.arguments);
            }
            // No model says these in an answer.
            _ => continue,
        }
        out.end_object();
    }
    let stop = answer.stop_sequence.as_deref();
    end_message(&mut out, Some(finish_told(answer)), stop, &answer.usage.unwrap_or_default());
    out.into_inner()
}

/// A refusal in words is a refusal here, whatever ended it.
fn finish_told(answer: &Answer) -> Finish {
    let refused = answer.parts.iter().any(|part| matches!(part, Part::Refusal(_)));
    if refused { Finish::ContentFilter } else { answer.finish }
}

/// What a block begins with.
pub(super) enum Block<'b> {
    Text(&'b str),
    /// With its signature, empty where the provider signs nothing.
    Thinking(&'b str, &'b str),
    Redacted(&'b str),
    /// Id and name; the input follows.
    Tool(&'b str, &'b str),
}

/// Opens a block's object and writes what is known at its begin.
pub(super) fn begin_block(out: &mut Writer, block: Block<'_>) {
    match block {
        Block::Text(text) => out.fill(r#"{"type":"text","text":?"#, &[text]),
        Block::Thinking(text, signature) => {
            out.fill(r#"{"type":"thinking","thinking":?,"signature":?"#, &[text, signature])
        }
        Block::Redacted(data) => out.fill(r#"{"type":"redacted_thinking","data":?"#, &[data]),
        Block::Tool(id, name) => out.fill(r#"{"type":"tool_use","id":?,"name":?"#, &[id, name]),
    };
}

/// Reads a message into the hub. A body that is none is the provider's failure.
pub fn decode_answer(body: &[u8], renames: &Renames) -> Result<Answer, Failure> {
    let doc = fields::parsed(body)?;
    let root = doc.root();
    let content = root.get("content").filter(|content| content.kind() == Kind::Array);
    let (Some(content), Some(reason)) = (content, fields::member(root, "stop_reason")) else {
        return Err(Failure::unreadable("the provider's answer has no message"));
    };
    let mut answer = Answer {
        id: fields::member(root, "id"),
        model: fields::member(root, "model"),
        parts: Vec::with_capacity(content.len()),
        finish: finish_of(&reason),
        stop_sequence: fields::member(root, "stop_sequence"),
        usage: root.get("usage").and_then(usage_of),
    };
    for block in content.items() {
        let text = |key: &str| fields::or_empty(block, key);
        answer.parts.push(by_name!(block.get("type") => {
            "text" => Part::Text(text("text")),
            "thinking" => Part::Reasoning {
                text: text("thinking"),
                signature: fields::said(block, "signature"),
            },
            "redacted_thinking" => Part::RedactedReasoning(text("data")),
            "tool_use" => Part::ToolCall(ToolCall {
                id: text("id"),
                name: renames.original(&text("name")).to_owned(),
                arguments: fields::arguments(block),
            }),
            // Tools that the provider runs itself: their results are in the text.
            _ => continue,
        }));
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use weir_wire::json::{self, Limits};

    use super::*;

    #[test]
    fn an_answer_survives_the_way_out_and_in() {
        let call = |id: &str| {
            Part::ToolCall(ToolCall {
                id: id.into(),
                name: "f".into(),
                arguments: r#"{"b": 1.0, "a":1e2}"#.into(),
            })
        };
        let answer = Answer {
            id: Some("msg_1".into()),
            model: Some("asked".into()),
            parts: vec![
                Part::Reasoning { text: "hm".into(), signature: Some("sig".into()) },
                Part::RedactedReasoning("AAAA".into()),
                Part::Text("text \"quoted\"\n".into()),
                call("a"),
                call("b"),
            ],
            finish: Finish::StopSequence,
            stop_sequence: Some("\"END\"".into()),
            usage: Some(Usage { input: 10, output: 5, cache_read: 4, cache_write: 3, reasoning: 0 }),
        };
        let context = AnswerContext { id: "msg_1".into(), created: 0, model: "asked".into() };
        let body = encode_answer(&answer, &context);
        assert_eq!(decode_answer(&body, &Renames::default()).unwrap(), answer);
        let doc = json::parse(&body, &Limits::default()).unwrap();
        let facts = read_answer(&doc);
        assert_eq!((facts.usage, facts.finishes[0].1.as_ref()), (answer.usage, "stop_sequence"));
        let texts: Vec<_> = facts.texts.iter().map(|text| (text.choice, text.slot)).collect();
        let tool = Slot::Tool(0);
        assert_eq!(texts, [(0, Slot::Reasoning), (2, Slot::Content), (3, tool), (4, tool)]);
    }

    #[test]
    fn broken_arguments_are_shown_as_they_were_said() {
        for (arguments, input) in [
            ("", "{}"),
            ("{\"a\"", r#"{"arguments":"{\"a\""}"#),
            ("[1]", r#"{"arguments":"[1]"}"#),
            ("{\"a\":1}", "{\"a\":1}"),
        ] {
            let call = ToolCall { id: "i".into(), name: "f".into(), arguments: arguments.into() };
            let answer = Answer { parts: vec![Part::ToolCall(call)], ..Answer::default() };
            let context = AnswerContext { id: "i".into(), created: 0, model: "m".into() };
            let body = String::from_utf8(encode_answer(&answer, &context)).unwrap();
            assert!(body.contains(&format!("\"input\":{input}")), "{body}");
        }
    }

    #[test]
    fn what_is_no_answer_is_the_providers_failure() {
        for body in ["", "{", "{}", "[]", r#"{"content":[]}"#, r#"{"type":"error","error":{"type":"x"}}"#] {
            assert_eq!(
                decode_answer(body.as_bytes(), &Renames::default()).unwrap_err().status,
                502,
                "{body}"
            );
        }
    }
}
