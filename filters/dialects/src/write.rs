//! Members that writers of several dialects write where there is something to say.

use weir_sorted::trim;
use weir_wire::json::Writer;

use crate::openai_chat::fields;

/// A string.
#[inline(never)]
pub(crate) fn text(out: &mut Writer, key: &str, text: Option<&str>) {
    if let Some(text) = text {
        out.member(key, text);
    }
}

/// What is JSON already.
#[inline(never)]
pub(crate) fn raw(out: &mut Writer, key: &str, json: Option<&str>) {
    if let Some(json) = json {
        out.key(key).raw(json.as_bytes());
    }
}

/// A truth value.
#[inline(never)]
pub(crate) fn truth(out: &mut Writer, key: &str, truth: Option<bool>) {
    if let Some(truth) = truth {
        out.key(key).bool(truth);
    }
}

/// A number of things.
#[inline(never)]
pub(crate) fn count(out: &mut Writer, key: &str, count: Option<u64>) {
    if let Some(count) = count {
        out.key(key).u64(count);
    }
}

/// An array of strings, unless it would be empty.
#[inline(never)]
pub(crate) fn texts(out: &mut Writer, key: &str, texts: &[String], wanted: fn(&&String) -> bool) {
    let mut texts = texts.iter().filter(wanted).peekable();
    if texts.peek().is_some() {
        out.key(key).begin_array();
        texts.for_each(|text| _ = out.str(text));
        out.end_array();
    }
}

/// What a model said as a call's arguments, as an object: where the ceiling cut them or the model broke them, one that
/// says so.
#[inline(never)]
pub(crate) fn input(out: &mut Writer, arguments: &str) {
    let arguments = trim(arguments);
    out.key("input");
    if fields::is_object(arguments) {
        out.raw(arguments.as_bytes());
    } else if arguments.is_empty() {
        out.fill("{}", &[]);
    } else {
        out.fill(r#"{"arguments":?}"#, &[arguments]);
    }
}

/// Opens an event that is named in the frame and in its data.
#[inline(never)]
pub(crate) fn begin_event(kind: &str, out: &mut Vec<u8>) -> Writer {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    let mut event = Writer::new(std::mem::take(out));
    event.fill(r#"{"type":?"#, &[kind]);
    event
}

/// Closes an event's object and the event.
#[inline(never)]
pub(crate) fn end_event(mut event: Writer, out: &mut Vec<u8>) {
    event.end_object();
    *out = event.into_inner();
    out.extend_from_slice(b"\n\n");
}
