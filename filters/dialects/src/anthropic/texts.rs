//! Every text of a Messages request, for redaction: system, blocks at any depth, every string of a tool's input. Not
//! shown are words of the API, base64, what only the provider can read, and signed thinking, which may not change.

use weir_wire::json::{Doc, Kind, Value};

use crate::openai_chat::{Place, Text, all_texts, place_of};

type Sink<'s, 'd, 'a> = &'s mut dyn FnMut(Text<'d, 'a>);

/// Shows each text to `sink`, in document order. Linear in the document.
pub fn texts<'d, 'a>(doc: &'d Doc<'a>, sink: &mut dyn FnMut(Text<'d, 'a>)) {
    for (key, value) in doc.root().members() {
        by_name!(key => {
            "system" => walk(value, Place::System, None, sink),
            "messages" => {
                for (at, message) in (0..).zip(value.items()) {
                    let place = place_of(message.get("role"));
                    for (key, value) in message.members() {
                        if !key.is("role") {
                            walk(value, place, Some(at), sink);
                        }
                    }
                }
            },
            "tools" => {
                for (key, value) in value.items().flat_map(Value::members) {
                    by_name!(key => {
                        "type" | "name" | "cache_control" => {},
                        _ => all_texts(value, Place::Other, None, sink),
                    })
                }
            },
            // Words of the API, and what Weir reads itself.
            "model" | "service_tier" | "tool_choice" | "thinking" | "cache_control" => {},
            _ => all_texts(value, Place::Other, None, sink),
        })
    }
}

/// Whether a block is thinking that a signature covers, or that is no text at all.
fn sealed(block: Value<'_, '_>) -> bool {
    let Some(kind) = block.get("type") else { return false };
    let signature = || block.get("signature").and_then(|it| it.str_raw()).is_some_and(|it| !it.is_empty());
    kind.is_str("redacted_thinking") || kind.is_str("thinking") && signature() || kind.is_str("base64")
}

/// The texts of a content: a string, blocks, or what a block holds. No deeper than the parser's depth limit.
fn walk<'d, 'a>(value: Value<'d, 'a>, place: Place, at: Option<u32>, sink: Sink<'_, 'd, 'a>) {
    match value.kind() {
        Kind::String => sink(Text { value, place, message: at }),
        Kind::Array => value.items().for_each(|item| walk(item, place, at, sink)),
        Kind::Object if !sealed(value) => {
            let is = |name: &str| value.get("type").is_some_and(|kind| kind.is_str(name));
            let place = if is("tool_result") { Place::Tool } else { place };
            let call = is("tool_use") || is("server_tool_use");
            for (key, member) in value.members() {
                by_name!(key => {
                    "type" | "id" | "tool_use_id" | "file_id" | "media_type" | "cache_control"
                    | "signature" | "encrypted_content" | "encrypted_index" | "encrypted_stdout" => {},
                    "name" if call => {},
                    "input" | "thinking" | "url" | "title" => all_texts(member, Place::Other, at, sink),
                    _ => walk(member, place, at, sink),
                })
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openai_chat::assert_shown;

    #[test]
    fn every_text_is_shown_with_its_place_and_signed_thinking_is_not() {
        let body = r#"{"model":"M","max_tokens":5,"system":[{"type":"text","text":"s","cache_control":{"type":"ephemeral"}}],"messages":[
          {"role":"user","content":"u"},
          {"role":"user","content":[{"type":"text","text":"t"},
            {"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAAA"}},
            {"type":"image","source":{"type":"url","url":"https://e/x"}},
            {"type":"document","title":"f.pdf","context":"c","source":{"type":"text","media_type":"text/plain","data":"d"}}]},
          {"role":"assistant","content":[{"type":"thinking","thinking":"secret","signature":"sig"},
            {"type":"thinking","thinking":"open","signature":""},{"type":"redacted_thinking","data":"xyz"},
            {"type":"tool_use","id":"i","name":"n","input":{"id":"a","deep":[{"type":"b"}]}}]},
          {"role":"user","content":[{"type":"tool_result","tool_use_id":"i","content":[{"type":"text","text":"r"}]},
            {"type":"tool_result","tool_use_id":"i","content":"r2"},{"type":"novel","words":["w"]}]}],
         "tools":[{"name":"n","description":"D","input_schema":{"properties":{"a":{"description":"S"}}}}],
         "metadata":{"user_id":"m"},"stop_sequences":["END"],"thinking":{"type":"enabled"},"novelty":"o"}"#;
        let expected = [
            ("s", Place::System, None),
            ("u", Place::User, Some(0)),
            ("t", Place::User, Some(1)),
            ("https://e/x", Place::Other, Some(1)),
            ("f.pdf", Place::Other, Some(1)),
            ("c", Place::User, Some(1)),
            ("d", Place::User, Some(1)),
            ("open", Place::Other, Some(2)),
            (r#"{"id":"a","deep":[{"type":"b"}]}"#, Place::Other, Some(2)),
            ("r", Place::Tool, Some(3)),
            ("r2", Place::Tool, Some(3)),
            ("w", Place::User, Some(3)),
            ("D", Place::Other, None),
            (r#"{"properties":{"a":{"description":"S"}}}"#, Place::Other, None),
            (r#"{"user_id":"m"}"#, Place::Other, None),
            (r#"["END"]"#, Place::Other, None),
            ("o", Place::Other, None),
        ];
        assert_shown(texts, body, &expected);
    }
}
