//! Every text of a Converse request, for redaction: system, blocks at any depth, every string of a tool's input. Not
//! shown are words of the API, base64, and signed reasoning, which may not change. Of a body in a model's own dialect
//! every string is shown.

use weir_wire::json::{Doc, Kind, Value};

use crate::openai_chat::{Place, Text, all_texts, place_of, strings};

type Sink<'s, 'd, 'a> = &'s mut dyn FnMut(Text<'d, 'a>);

/// Shows each text to `sink`, in document order. Linear in the document.
pub fn texts<'d, 'a>(doc: &'d Doc<'a>, sink: &mut dyn FnMut(Text<'d, 'a>)) {
    for (key, value) in doc.root().members() {
        by_name!(key => {
            "system" => blocks(value, Place::System, None, sink),
            "messages" => {
                for (at, message) in (0..).zip(value.items()) {
                    let place = place_of(message.get("role"));
                    if let Some(content) = message.get("content") {
                        blocks(content, place, Some(at), sink);
                    }
                }
            },
            "toolConfig" => {
                for spec in value.list("tools").filter_map(|tool| tool.get("toolSpec")) {
                    for (key, value) in spec.members() {
                        by_name!(key => {
                            "name" => {},
                            _ => all_texts(value, Place::Other, None, sink),
                        })
                    }
                }
            },
            "inferenceConfig" => {
                if let Some(stop) = value.get("stopSequences") {
                    all_texts(stop, Place::Other, None, sink);
                }
            },
            "outputConfig" => {
                if let Some(format) = value.get("textFormat").and_then(|format| format.get("structure")) {
                    all_texts(format, Place::Other, None, sink);
                }
            },
            // Words of the API, and what Weir reads itself.
            "guardrailConfig" | "performanceConfig" | "serviceTier" | "additionalModelResponseFieldPaths" => {
            },
            _ => all_texts(value, Place::Other, None, sink),
        })
    }
}

/// Shows every string of a body.
pub fn all<'d, 'a>(doc: &'d Doc<'a>, sink: &mut dyn FnMut(Text<'d, 'a>)) {
    for (_, value) in doc.root().members() {
        all_texts(value, Place::Other, None, sink);
    }
}

/// The texts of content blocks, each a union of one member. No deeper than the parser's depth limit.
fn blocks<'d, 'a>(content: Value<'d, 'a>, place: Place, at: Option<u32>, sink: Sink<'_, 'd, 'a>) {
    for (key, value) in content.items().flat_map(Value::members) {
        by_name!(key => {
            "text" if value.kind() == Kind::String => sink(Text { value, place, message: at }),
            "toolUse" => {
                if let Some(input) = value.get("input") {
                    all_texts(input, Place::Other, at, sink);
                }
            },
            "toolResult" => {
                if let Some(content) = value.get("content") {
                    blocks(content, Place::Tool, at, sink);
                }
            },
            "reasoningContent" => {
                let text = value.get("reasoningText");
                let signature = text.and_then(|text| text.get("signature")).and_then(Value::str_raw);
                let words = text.and_then(|text| text.get("text"));
                if let Some(words) = words.filter(|_| signature.is_none_or(str::is_empty)) {
                    all_texts(words, Place::Other, at, sink);
                }
            },
            "image" | "audio" | "video" => {
                if let Some(found) = value.get("source") {
                    source(found, place, at, sink);
                }
            },
            "document" => {
                for (key, part) in value.members() {
                    by_name!(key => {
                        "name" => all_texts(part, Place::Other, at, sink),
                        "source" => source(part, place, at, sink),
                        "format" | "citations" => {},
                        _ => all_texts(part, place, at, sink),
                    })
                }
            },
            "cachePoint" => {},
            "guardContent" => strings(value, &mut |value| all_texts(value, place, at, sink)),
            // A citation, a search result, JSON of a tool, and what may yet be invented.
            _ => all_texts(value, place, at, sink),
        })
    }
}

/// Of a medium's source all but its bytes.
fn source<'d, 'a>(source: Value<'d, 'a>, place: Place, at: Option<u32>, sink: Sink<'_, 'd, 'a>) {
    for (key, value) in source.members() {
        by_name!(key => {
            "bytes" => {},
            "s3Location" => all_texts(value, Place::Other, at, sink),
            _ => all_texts(value, place, at, sink),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openai_chat::assert_shown;

    #[test]
    fn every_text_is_shown_with_its_place_and_signed_reasoning_is_not() {
        let body = r#"{"system":[{"text":"s"},{"cachePoint":{"type":"default"}}],"messages":[
          {"role":"user","content":[{"text":"u"},{"image":{"format":"png","source":{"bytes":"AAAA"}}},
            {"document":{"format":"txt","name":"f","context":"c","source":{"text":"d"}}},
            {"video":{"format":"mp4","source":{"s3Location":{"uri":"s3://b"}}}}]},
          {"role":"assistant","content":[{"reasoningContent":{"reasoningText":{"text":"secret","signature":"sig"}}},
            {"reasoningContent":{"reasoningText":{"text":"open"}}},{"reasoningContent":{"redactedContent":"AAAA"}},
            {"toolUse":{"toolUseId":"i","name":"n","input":{"a":["x"]}}}]},
          {"role":"user","content":[{"toolResult":{"toolUseId":"i","content":[{"json":{"k":"j"}},{"text":"r"}]}},
            {"guardContent":{"text":{"text":"g"}}},{"novel":{"words":["w"]}}]}],
         "toolConfig":{"tools":[{"toolSpec":{"name":"n","description":"D","inputSchema":{"json":{"properties":{"a":{"description":"S"}}}}}}],
           "toolChoice":{"tool":{"name":"n"}}},
         "inferenceConfig":{"stopSequences":["END"]},"requestMetadata":{"k":"m"},"guardrailConfig":{"guardrailIdentifier":"gr"},
         "additionalModelRequestFields":{"user":"o"},"promptVariables":{"v":{"text":"p"}}}"#;
        let expected = [
            ("s", Place::System, None),
            ("u", Place::User, Some(0)),
            ("f", Place::Other, Some(0)),
            ("c", Place::User, Some(0)),
            ("d", Place::User, Some(0)),
            (r#"{"uri":"s3://b"}"#, Place::Other, Some(0)),
            ("open", Place::Other, Some(1)),
            (r#"{"a":["x"]}"#, Place::Other, Some(1)),
            (r#"{"k":"j"}"#, Place::Tool, Some(2)),
            ("r", Place::Tool, Some(2)),
            ("g", Place::User, Some(2)),
            (r#"{"words":["w"]}"#, Place::User, Some(2)),
            ("D", Place::Other, None),
            (r#"{"json":{"properties":{"a":{"description":"S"}}}}"#, Place::Other, None),
            (r#"["END"]"#, Place::Other, None),
            (r#"{"k":"m"}"#, Place::Other, None),
            (r#"{"user":"o"}"#, Place::Other, None),
            (r#"{"v":{"text":"p"}}"#, Place::Other, None),
        ];
        assert_shown(texts, body, &expected);
    }
}
