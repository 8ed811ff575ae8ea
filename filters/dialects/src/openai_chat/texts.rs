//! Every text that a client sends, in document order: what redaction searches and splices, and what counting reads.
//! Strings that are not prose by the API's own rules (roles, types, ids, tool names, base64) are left out; strings
//! in fields that this file does not know are shown as [`Place::Other`], so that a new field is no way around
//! redaction. JSON whose form is not the API's (a tool's parameters, a label's values, such a field) is one text: what
//! its values are, the names beside them say. Names elsewhere are not shown: they cannot be told from the API's own.

use weir_wire::json::{Doc, Kind, Value};

use crate::media;

/// Where a text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A system message.
    System,
    /// A developer message.
    Developer,
    /// A user message.
    User,
    /// An assistant message from before.
    Assistant,
    /// A tool's result.
    Tool,
    /// A message of no known role.
    UnknownRole,
    /// Anywhere else: what a tool does, what it was called with, a label, a field that the dialect does not know.
    Other,
}

/// A text of a request.
#[derive(Clone, Copy, Debug)]
pub struct Text<'d, 'a> {
    /// A string, an array or an object.
    pub value: Value<'d, 'a>,
    /// Where it stands.
    pub place: Place,
    /// The message's number, from 0.
    pub message: Option<u32>,
}

type Sink<'s, 'd, 'a> = &'s mut dyn FnMut(Text<'d, 'a>);

/// Shows each text to `sink`, in document order. Linear in the document.
pub fn texts<'d, 'a>(doc: &'d Doc<'a>, sink: &mut dyn FnMut(Text<'d, 'a>)) {
    for (key, value) in doc.root().members() {
        by_name!(key => {
            "messages" => {
                for (at, one) in (0..).zip(value.items()) {
                    message(one, at, sink);
                }
            },
            "tools" => value.items().for_each(|tool| tool_texts(tool, sink)),
            "functions" => value.items().for_each(|function| function_texts(function, sink)),
            // Words of the API, and what Weir reads itself.
            "model"
            | "service_tier"
            | "reasoning_effort"
            | "verbosity"
            | "modalities"
            | "tool_choice"
            | "function_call"
            | "stream_options"
            | "audio"
            | "thinking"
            | "prompt_cache_retention" => {},
            _ => all(value, Place::Other, None, sink),
        })
    }
}

/// The place of a message's content.
pub(crate) fn place_of(role: Option<Value<'_, '_>>) -> Place {
    let Some(role) = role else { return Place::UnknownRole };
    by_name!(role.str_raw() => {
        "user" => Place::User,
        "assistant" => Place::Assistant,
        "system" => Place::System,
        "developer" => Place::Developer,
        "tool" | "function" => Place::Tool,
        _ => Place::UnknownRole,
    })
}

fn message<'d, 'a>(message: Value<'d, 'a>, at: u32, sink: Sink<'_, 'd, 'a>) {
    let at = Some(at);
    let place = place_of(message.get("role"));
    for (key, value) in message.members() {
        by_name!(key => {
            "content" => match value.kind() {
                Kind::String => sink(Text { value, place, message: at }),
                _ => value.items().for_each(|one| part(one, place, at, sink)),
            },
            // The name of a function's result is the function's.
            "name" if place == Place::Tool => {},
            "thinking_blocks" => {
                for block in value.items() {
                    one(block.get("thinking"), at, sink);
                }
            },
            "tool_calls" => {
                for call in value.items() {
                    for (kind, input) in [("function", "arguments"), ("custom", "input")] {
                        one(call.get(kind).and_then(|body| body.get(input)), at, sink);
                    }
                }
            },
            "function_call" => one(value.get("arguments"), at, sink),
            "role" | "tool_call_id" | "id" | "audio" | "cache_control" => {},
            _ => all(value, Place::Other, at, sink),
        })
    }
}

fn part<'d, 'a>(part: Value<'d, 'a>, place: Place, at: Option<u32>, sink: Sink<'_, 'd, 'a>) {
    if part.kind() == Kind::String {
        return sink(Text { value: part, place, message: at });
    }
    for (key, value) in part.members() {
        by_name!(key => {
            "text" => all(value, place, at, sink),
            "image_url" | "video_url" | "audio_url" => {
                let url = value.get("url").unwrap_or(value);
                if url.str_raw().is_some_and(|url| !media::is_data_uri(url)) {
                    one(Some(url), at, sink);
                }
            },
            "file" => one(value.get("filename"), at, sink),
            "type" | "input_audio" | "cache_control" | "id" | "signature" => {},
            _ => all(value, Place::Other, at, sink),
        })
    }
}

fn tool_texts<'d, 'a>(tool: Value<'d, 'a>, sink: Sink<'_, 'd, 'a>) {
    for (key, value) in tool.members() {
        by_name!(key => {
            "function" => function_texts(value, sink),
            "custom" => {
                one(value.get("description"), None, sink);
                if let Some(format) = value.get("format") {
                    all(format, Place::Other, None, sink);
                }
            },
            "type" | "cache_control" => {},
            _ => all(value, Place::Other, None, sink),
        })
    }
}

fn function_texts<'d, 'a>(function: Value<'d, 'a>, sink: Sink<'_, 'd, 'a>) {
    for (key, value) in function.members() {
        by_name!(key => {
            "name" | "cache_control" => {},
            _ => all(value, Place::Other, None, sink),
        })
    }
}

fn one<'d, 'a>(value: Option<Value<'d, 'a>>, message: Option<u32>, sink: Sink<'_, 'd, 'a>) {
    if let Some(value) = value.filter(|value| value.kind() == Kind::String) {
        sink(Text { value, place: Place::Other, message });
    }
}

/// A string, or JSON that is searched as a whole.
#[inline(never)]
pub(crate) fn all<'d, 'a>(value: Value<'d, 'a>, place: Place, message: Option<u32>, sink: Sink<'_, 'd, 'a>) {
    if matches!(value.kind(), Kind::String | Kind::Array | Kind::Object) {
        sink(Text { value, place, message });
    }
}

/// Shows each string that a value is or holds.
pub(crate) fn strings<'d, 'a>(value: Value<'d, 'a>, sink: &mut dyn FnMut(Value<'d, 'a>)) {
    value.scalars(&mut |value, name| {
        if !name && value.kind() == Kind::String {
            sink(value);
        }
    });
}

/// A text, its place and its message, as tests write them.
#[cfg(test)]
pub(crate) type Shown<'t> = (&'t str, Place, Option<u32>);

/// That a dialect shows just these texts of a body, in this order.
#[cfg(test)]
pub(crate) fn assert_shown(
    texts: for<'d, 'a> fn(&'d Doc<'a>, &mut dyn FnMut(Text<'d, 'a>)),
    body: &str,
    expected: &[Shown<'_>],
) {
    let doc = weir_wire::json::parse(body.as_bytes(), &weir_wire::json::Limits::default()).unwrap();
    let mut seen = Vec::new();
    texts(&doc, &mut |text| seen.push((text.value.unescaped().text, text.place, text.message)));
    let seen: Vec<Shown<'_>> = seen.iter().map(|(text, place, at)| (text.as_ref(), *place, *at)).collect();
    assert_eq!(seen, expected);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_shown_with_its_place() {
        let body = r#"{"model":"M","user":"u","messages":[
          {"role":"system","content":"s\n1"},
          {"role":"developer","content":"d"},
          {"role":"user","name":"ann","content":[{"type":"text","text":"t"},"bare",
            {"type":"image_url","image_url":{"url":"https://e/x","detail":"low"}},
            {"type":"image_url","image_url":{"url":"data:image/png;base64,AA=="}},
            {"type":"file","file":{"filename":"f.pdf","file_data":"data:;base64,AA=="}}]},
          {"role":"assistant","content":null,"refusal":"no","reasoning_content":"why","tool_calls":[
            {"id":"c","type":"function","function":{"name":"f","arguments":"{\"a\":\"b\"}"}}]},
          {"role":"tool","tool_call_id":"c","name":"f","content":"r"},
          {"role":"martian","content":"x","planet":{"name":"mars"}}],
         "tools":[{"type":"function","function":{"name":"f","description":"D","parameters":{"type":"object","properties":{"a":"S"}}}}],
         "metadata":{"k":"v"},"stop":["END"],"documents":[{"text":"hidden"}],"temperature":1}"#;
        let expected = [
            ("u", Place::Other, None),
            ("s\n1", Place::System, Some(0)),
            ("d", Place::Developer, Some(1)),
            ("ann", Place::Other, Some(2)),
            ("t", Place::User, Some(2)),
            ("bare", Place::User, Some(2)),
            ("https://e/x", Place::Other, Some(2)),
            ("f.pdf", Place::Other, Some(2)),
            ("no", Place::Other, Some(3)),
            ("why", Place::Other, Some(3)),
            (r#"{"a":"b"}"#, Place::Other, Some(3)),
            ("r", Place::Tool, Some(4)),
            ("x", Place::UnknownRole, Some(5)),
            (r#"{"name":"mars"}"#, Place::Other, Some(5)),
            ("D", Place::Other, None),
            (r#"{"type":"object","properties":{"a":"S"}}"#, Place::Other, None),
            (r#"{"k":"v"}"#, Place::Other, None),
            (r#"["END"]"#, Place::Other, None),
            (r#"[{"text":"hidden"}]"#, Place::Other, None),
        ];
        assert_shown(texts, body, &expected);
    }
}
