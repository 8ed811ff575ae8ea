//! Every text of a Responses request, for redaction: input, instructions, items at any depth, tool arguments and results.
//! Not shown are words of the API, base64, what only the provider can read, and reasoning that is sealed, which may not
//! change.

use weir_wire::json::{Doc, Kind, Value};

use super::request::is_data;
use crate::openai_chat::{Place, Text, all_texts, place_of};

type Sink<'s, 'd, 'a> = &'s mut dyn FnMut(Text<'d, 'a>);

/// Shows each text to `sink`, in document order. Linear in the document.
pub fn texts<'d, 'a>(doc: &'d Doc<'a>, sink: &mut dyn FnMut(Text<'d, 'a>)) {
    for (key, value) in doc.root().members() {
        by_name!(key => {
            "input" if value.kind() == Kind::String => {
                sink(Text { value, place: Place::User, message: None })
            },
            "input" => {
                for (at, item) in (0..).zip(value.items()) {
                    walk(item, place_of(item.get("role")), Some(at), sink);
                }
            },
            "instructions" => walk(value, Place::System, None, sink),
            "tools" => value.items().for_each(|tool| tool_texts(tool, sink)),
            // Words of the API, and what Weir reads itself.
            "model"
            | "service_tier"
            | "reasoning"
            | "tool_choice"
            | "include"
            | "truncation"
            | "stream_options"
            | "previous_response_id"
            | "prompt_cache_retention" => {},
            _ => all_texts(value, Place::Other, None, sink),
        })
    }
}

fn tool_texts<'d, 'a>(tool: Value<'d, 'a>, sink: Sink<'_, 'd, 'a>) {
    for (key, value) in tool.members() {
        by_name!(key => {
            "type" | "name" => {},
            // A namespace.
            "tools" => value.items().for_each(|tool| tool_texts(tool, sink)),
            _ => all_texts(value, Place::Other, None, sink),
        })
    }
}

/// Reasoning, or a summary of the conversation, that only the provider can read, and what belongs to it.
fn sealed(item: Value<'_, '_>) -> bool {
    let sealed = item.get("encrypted_content").and_then(|it| it.str_raw());
    sealed.is_some_and(|it| !it.is_empty())
}

/// The texts of an item, of its parts, of what a part holds. No deeper than the parser's depth limit.
fn walk<'d, 'a>(value: Value<'d, 'a>, place: Place, at: Option<u32>, sink: Sink<'_, 'd, 'a>) {
    match value.kind() {
        Kind::String => sink(Text { value, place, message: at }),
        Kind::Array => value.items().for_each(|item| walk(item, place, at, sink)),
        Kind::Object if !sealed(value) => {
            let kind = value.get("type").and_then(|kind| kind.str_raw()).unwrap_or_default();
            let place = if kind.ends_with("_output") { Place::Tool } else { place };
            for (key, member) in value.members() {
                by_name!(key => {
                    "type" | "id" | "call_id" | "status" | "role" | "detail" | "file_id" | "phase"
                    | "input_audio" | "file_data" => {},
                    "name" if kind.ends_with("_call") => {},
                    // A picture's bytes.
                    "result" if kind == "image_generation_call" => {},
                    "image_url" | "file_url" if is_data(member) => {},
                    "image_url" | "file_url" | "url" | "arguments" | "input" | "filename" | "refusal" => {
                        all_texts(member, Place::Other, at, sink)
                    },
                    "summary" => walk(member, Place::Other, at, sink),
                    "content" if kind == "reasoning" => walk(member, Place::Other, at, sink),
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
    fn every_text_is_shown_with_its_place_and_sealed_reasoning_is_not() {
        let body = r#"{"model":"M","instructions":"s","input":[
          {"role":"user","content":"u"},
          {"type":"message","role":"user","content":[{"type":"input_text","text":"t"},
            {"type":"input_image","image_url":"https://e/x","detail":"low"},
            {"type":"input_image","image_url":"data:image/png;base64,AAAA"},
            {"type":"input_file","filename":"f.pdf","file_data":"data:application/pdf;base64,AAAA"}]},
          {"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"secret"}],"encrypted_content":"gAAA"},
          {"type":"reasoning","id":"rs_2","summary":[{"type":"summary_text","text":"open"}],"encrypted_content":null},
          {"type":"function_call","id":"fc","call_id":"c","name":"n","arguments":"{\"a\":\"b\"}","status":"completed"},
          {"type":"function_call_output","call_id":"c","output":"r"},
          {"type":"function_call_output","call_id":"c","output":[{"type":"input_text","text":"r2"}]},
          {"type":"message","id":"msg","role":"assistant","status":"completed","content":[
            {"type":"output_text","text":"said","annotations":[{"type":"url_citation","url":"https://c","title":"T"}]},
            {"type":"refusal","refusal":"no"}]},
          {"type":"novel_call","words":["w"]}],
         "tools":[{"type":"function","name":"n","description":"D","parameters":{"properties":{"a":{"description":"S"}}}}],
         "metadata":{"k":"m"},"user":"U","text":{"format":{"name":"N","schema":{"title":"Z"}}},"novelty":"o"}"#;
        let expected = [
            ("s", Place::System, None),
            ("u", Place::User, Some(0)),
            ("t", Place::User, Some(1)),
            ("https://e/x", Place::Other, Some(1)),
            ("f.pdf", Place::Other, Some(1)),
            ("open", Place::Other, Some(3)),
            (r#"{"a":"b"}"#, Place::Other, Some(4)),
            ("r", Place::Tool, Some(5)),
            ("r2", Place::Tool, Some(6)),
            ("said", Place::Assistant, Some(7)),
            ("https://c", Place::Other, Some(7)),
            ("T", Place::Assistant, Some(7)),
            ("no", Place::Other, Some(7)),
            ("w", Place::UnknownRole, Some(8)),
            ("D", Place::Other, None),
            (r#"{"properties":{"a":{"description":"S"}}}"#, Place::Other, None),
            (r#"{"k":"m"}"#, Place::Other, None),
            ("U", Place::Other, None),
            (r#"{"format":{"name":"N","schema":{"title":"Z"}}}"#, Place::Other, None),
            ("o", Place::Other, None),
        ];
        assert_shown(texts, body, &expected);
    }
}
