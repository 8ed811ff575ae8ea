//! InvokeModel with Anthropic's bodies: the same messages in another envelope. Model and streaming are in the path, the
//! version is in the body, and each event of a stream stands in base64 inside a frame. Bodies and events pass from one
//! envelope to the other as they are; nothing goes through the hub.

use weir_sorted::trim;
use weir_wire::eventstream::{self, Frame};
use weir_wire::json::{self, Doc, Limits, Value, Writer};
use weir_wire::{base64, sse};

use super::{errors, stream_write};
use crate::anthropic;
use crate::hub::{Event, Failure};
use crate::openai_chat::fields;

/// The only version that Bedrock takes.
pub const VERSION: &str = "bedrock-2023-05-31";
/// The largest event accepted, in bytes.
const MOST_EVENT: usize = 4 << 20;

/// Whether a body is one of Anthropic's messages.
pub fn is_messages(doc: &Doc<'_>) -> bool {
    let root = doc.root();
    // Models before messages had the version too.
    root.get("anthropic_version").is_some() && root.get("messages").is_some()
}

/// A Messages body as InvokeModel takes it. `beta` is what the client's header asks for, separated by commas.
pub fn from_messages(doc: &Doc<'_>, beta: &str) -> Vec<u8> {
    let root = doc.root();
    let mut out = Writer::new(Vec::with_capacity(root.raw().len() + 64));
    out.begin_object().member("anthropic_version", VERSION);
    if !beta.is_empty() && root.get("anthropic_beta").is_none() {
        out.key("anthropic_beta").begin_array();
        beta.split(',').map(trim).filter(|word| !word.is_empty()).for_each(|word| _ = out.str(word));
        out.end_array();
    }
    copy(root, &["model", "stream", "anthropic_version"], &mut out);
    out.end_object();
    out.into_inner()
}

/// An InvokeModel body as Anthropic takes it.
pub fn to_messages(doc: &Doc<'_>, model: &str, stream: bool) -> Vec<u8> {
    let root = doc.root();
    let mut out = Writer::new(Vec::with_capacity(root.raw().len() + 64));
    out.begin_object().member("model", model);
    copy(root, &["model", "stream", "anthropic_version", "anthropic_beta"], &mut out);
    if stream {
        out.key("stream").bool(true);
    }
    out.end_object();
    out.into_inner()
}

/// What a body asks for in `anthropic_beta`, as Anthropic's header says it.
pub fn beta(doc: &Doc<'_>) -> String {
    let mut out = String::new();
    for word in doc.root().list("anthropic_beta").take(32) {
        let Some(word) = word.as_str() else { continue };
        if out.len() + word.len() < 1024 && word.bytes().all(|b| b.is_ascii_graphic() && b != b',') {
            if !out.is_empty() {
                out.push(',');
            }
            out.push_str(&word);
        }
    }
    out
}

fn copy(root: Value<'_, '_>, without: &[&str], out: &mut Writer) {
    for (key, value) in root.members() {
        let key = key.as_str();
        if !without.contains(&key.as_ref()) {
            out.key(&key).raw(value.raw());
        }
    }
}

/// What a chunk's frame carries.
pub fn payload(frame: Frame<'_>) -> Option<Vec<u8>> {
    let doc = json::parse(frame.payload, &Limits::default()).ok()?;
    base64::decode(doc.root().get("bytes")?.as_str()?.as_bytes())
}

/// Appends the frame that carries `payload`.
pub fn chunk(payload: &[u8], out: &mut Vec<u8>) {
    let mut text = Vec::with_capacity(payload.len() * 4 / 3 + 16);
    text.extend_from_slice(b"{\"bytes\":\"");
    base64::encode_into(&mut text, payload);
    text.extend_from_slice(b"\"}");
    stream_write::frame("chunk", &text, out);
}

/// The failure that an exception frame is.
pub fn failure_of(frame: Frame<'_>) -> Option<Failure> {
    if frame.message_type() == Some("event") {
        return None;
    }
    let doc = json::parse(frame.payload, &Limits::default());
    let message = doc.ok().and_then(|doc| fields::member(doc.root(), "message"));
    let message = message.or_else(|| frame.header(":error-message").map(str::to_owned));
    let class = frame.exception_type().or_else(|| frame.header(":error-code")).unwrap_or_default();
    Some(errors::of(class, &message.unwrap_or_default(), None))
}

/// A message's stream on its way from one envelope to the other. The events that it tells are only marks: that
/// something came, that it broke, that it is over.
pub struct Reframe {
    frames: Option<eventstream::Decoder>,
    events: sse::Decoder,
    state: State,
}

#[derive(Default)]
struct State {
    /// The client reads frames.
    framed: bool,
    out: Vec<u8>,
    stopped: bool,
    failure: Option<Failure>,
    ended: bool,
}

impl Reframe {
    /// Into frames, or out of them.
    pub fn new(into_frames: bool) -> Self {
        Reframe {
            frames: (!into_frames).then(|| eventstream::Decoder::new(MOST_EVENT)),
            events: sse::Decoder::new(MOST_EVENT),
            state: State { framed: into_frames, ..State::default() },
        }
    }

    /// Takes bytes.
    pub fn push(&mut self, chunk: &[u8], marks: &mut Vec<Event>) {
        let state = &mut self.state;
        let fits = match &mut self.frames {
            Some(frames) => frames
                .push(chunk, &mut |frame| match failure_of(frame) {
                    Some(failure) => state.fail(failure),
                    None => state.event(&payload(frame).unwrap_or_default(), marks),
                })
                .map_err(|_| ()),
            None => self
                .events
                .push(chunk, &mut |event| {
                    if event.has_data {
                        state.event(&event.data, marks);
                    }
                })
                .map_err(|_| ()),
        };
        if fits.is_err() {
            state.fail(Failure::unreadable("the provider's stream cannot be read"));
        }
        state.tell(marks);
    }

    /// Ends the stream.
    pub fn finish(&mut self, marks: &mut Vec<Event>) {
        if !self.state.stopped {
            self.state.fail(Failure::unreadable("the provider's stream ended before the answer did"));
        }
        self.state.tell(marks);
        if !self.state.ended {
            self.state.ended = true;
            marks.push(Event::Done);
        }
    }

    /// Appends what the client reads.
    pub fn take(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.state.out);
    }
}

impl State {
    fn fail(&mut self, failure: Failure) {
        self.failure.get_or_insert(failure);
    }

    fn event(&mut self, payload: &[u8], marks: &mut Vec<Event>) {
        if self.ended || self.failure.is_some() {
            return;
        }
        let Ok(doc) = json::parse(payload, &Limits::default()) else {
            return self.fail(Failure::unreadable("an event of the provider's stream cannot be read"));
        };
        let kind = fields::member(doc.root(), "type").unwrap_or_default();
        by_name!(kind.as_str() => {
            "error" => {
                let failure = anthropic::stream_failure(payload);
                return self
                    .fail(failure.unwrap_or_else(|| Failure::unreadable("the provider's stream broke")));
            },
            "message_start" | "ping" => marks.push(Event::Start { id: None, model: None }),
            _ => marks.push(Event::TextDelta { choice: 0, text: String::new() }),
        });
        self.stopped |= kind == "message_stop";
        if self.framed {
            return chunk(payload, &mut self.out);
        }
        if kind.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') {
            self.out.extend_from_slice(b"event: ");
            self.out.extend_from_slice(kind.as_bytes());
            self.out.push(b'\n');
        }
        self.out.extend_from_slice(b"data: ");
        // One line, whatever the provider wrote: between JSON's tokens a line feed is a blank.
        self.out.extend(payload.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
        self.out.extend_from_slice(b"\n\n");
    }

    fn tell(&mut self, marks: &mut Vec<Event>) {
        if self.ended {
            return;
        }
        let Some(failure) = self.failure.take() else { return };
        self.ended = true;
        self.stopped = true;
        if self.framed {
            stream_write::exception(&failure, &mut self.out);
        } else {
            self.out.extend_from_slice(b"event: error\ndata: ");
            self.out.extend_from_slice(&anthropic::failure(&failure));
            self.out.extend_from_slice(b"\n\n");
        }
        marks.push(Event::Error(failure));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: [&str; 4] = [
        r#"{"type":"message_start","message":{"id":"msg_1"}}"#,
        r#"{"type":"ping"}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"é\n"}}"#,
        r#"{"type":"message_stop","amazon-bedrock-invocationMetrics":{"inputTokenCount":3}}"#,
    ];

    fn through(into_frames: bool, bytes: &[u8], at: usize) -> (Vec<u8>, Vec<Event>) {
        let mut reframe = Reframe::new(into_frames);
        let mut marks = Vec::new();
        reframe.push(&bytes[..at], &mut marks);
        reframe.push(&bytes[at..], &mut marks);
        reframe.finish(&mut marks);
        let mut out = Vec::new();
        reframe.take(&mut out);
        (out, marks)
    }

    #[test]
    fn a_stream_is_the_same_in_both_envelopes_at_every_split() {
        let mut events = String::new();
        for event in EVENTS {
            let kind = json::parse(event.as_bytes(), &Limits::default()).unwrap();
            let kind = fields::member(kind.root(), "type").unwrap();
            events.push_str(&format!("event: {kind}\ndata: {event}\n\n"));
        }
        let mut frames = Vec::new();
        EVENTS.iter().for_each(|event| chunk(event.as_bytes(), &mut frames));
        for at in 0..=events.len() {
            assert_eq!(through(true, events.as_bytes(), at).0, frames, "{at}");
        }
        for at in 0..=frames.len() {
            let (out, marks) = through(false, &frames, at);
            assert_eq!(String::from_utf8(out).unwrap(), events, "{at}");
            assert_eq!(marks.last(), Some(&Event::Done));
        }
    }

    #[test]
    fn what_breaks_in_one_envelope_is_told_in_the_other() {
        let mut frames = Vec::new();
        chunk(EVENTS[0].as_bytes(), &mut frames);
        let cut = frames.len();
        let failure = Failure {
            status: 429,
            kind: "rate_limit_error".into(),
            message: "slow".into(),
            ..Failure::default()
        };
        stream_write::exception(&failure, &mut frames);
        for bytes in [&frames[..], &frames[..cut], &frames[..cut + 3]] {
            let (out, marks) = through(false, bytes, 0);
            let out = String::from_utf8(out).unwrap();
            assert!(out.contains("event: error\ndata: {\"type\":\"error\""), "{out}");
            assert!(matches!(marks.last(), Some(Event::Error(_))));
        }
        let error = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"m\"}}\n\n";
        let (out, _) = through(true, error.as_bytes(), 5);
        let mut seen = Vec::new();
        let mut decoder = eventstream::Decoder::new(1 << 20);
        decoder.push(&out, &mut |frame| seen.push(frame.exception_type().unwrap().to_owned())).unwrap();
        assert_eq!(seen, ["serviceUnavailableException"]);
    }

    #[test]
    fn a_body_changes_its_envelope_and_nothing_else() {
        let inner = r#""max_tokens":5,"messages":[{"role":"user","content":"a"}],"top_p":0.90"#;
        let messages = format!(r#"{{"model":"m","stream":true,{inner}}}"#);
        let doc = json::parse(messages.as_bytes(), &Limits::default()).unwrap();
        let invoke = from_messages(&doc, "one, two");
        let expected =
            format!(r#"{{"anthropic_version":"bedrock-2023-05-31","anthropic_beta":["one","two"],{inner}}}"#);
        assert_eq!(String::from_utf8(invoke.clone()).unwrap(), expected);
        let doc = json::parse(&invoke, &Limits::default()).unwrap();
        assert_eq!(beta(&doc), "one,two");
        let back = String::from_utf8(to_messages(&doc, "m", true)).unwrap();
        assert_eq!(back, format!(r#"{{"model":"m",{inner},"stream":true}}"#));
    }
}
