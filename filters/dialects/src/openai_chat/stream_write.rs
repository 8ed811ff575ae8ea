//! Hub events as OpenAI's stream: `chat.completion.chunk` objects in SSE, the usage chunk where the client asked for
//! it, `[DONE]` only after a good end. A broken stream ends with an error object and no `[DONE]`, which is what SDKs
//! raise on.

use weir_wire::json::Writer;

use super::answer::{AnswerContext, STOP, finish_word, write_usage};
use super::errors::write_error;
use crate::hub::{Event, Failure, Usage};
use crate::write;

/// Writes one stream.
#[derive(Clone, Debug)]
pub struct StreamEncoder {
    /// `data: {` and the members that every chunk repeats, up to `"choices":`.
    head: Vec<u8>,
    include_usage: bool,
    /// What was said so far, to be told once: providers may say it in several steps.
    usage: Option<Usage>,
    /// The stop text that ends the answer, to be told with its finish.
    stop: Option<String>,
    ended: bool,
}

impl StreamEncoder {
    /// A stream that shows `context` in each chunk.
    pub fn new(context: &AnswerContext, include_usage: bool) -> Self {
        let mut out = Writer::new(b"data: ".to_vec());
        out.fill(r#"{"id":?,"object":"chat.completion.chunk","created":"#, &[&context.id])
            .u64(context.created);
        out.fill(r#""model":?,"choices":"#, &[&context.model]);
        StreamEncoder { head: out.into_inner(), include_usage, usage: None, stop: None, ended: false }
    }

    /// Appends what the event becomes: nothing, one SSE event or more. After [`Event::Done`] or [`Event::Error`]
    /// nothing more is written.
    pub fn event(&mut self, event: &Event, out: &mut Vec<u8>) {
        if self.ended {
            return;
        }
        match event {
            Event::Start { .. } => self.delta(0, r#""role":"assistant","content":"""#, &[], out),
            Event::TextDelta { choice, text } => self.delta(*choice, r#""content":?"#, &[text], out),
            Event::RefusalDelta { choice, text } => self.delta(*choice, r#""refusal":?"#, &[text], out),
            Event::ReasoningDelta { choice, text } => {
                self.delta(*choice, r#""reasoning_content":?"#, &[text], out);
            }
            // The text has been sent already; the signature closes it.
            Event::ReasoningSignature { choice, signature } => {
                let piece = r#""thinking_blocks":[{"type":"thinking","thinking":"","signature":?}]"#;
                self.delta(*choice, piece, &[signature], out);
            }
            Event::ReasoningRedacted { choice, data } => {
                let piece = r#""thinking_blocks":[{"type":"redacted_thinking","data":?}]"#;
                self.delta(*choice, piece, &[data], out);
            }
            Event::ToolStart { choice, index, id, name } => {
                let piece = r#""id":?,"type":"function","function":{"name":?,"arguments":""}}]"#;
                self.call(*choice, *index, piece, &[id, name], out);
            }
            Event::ToolArguments { choice, index, text } => {
                self.call(*choice, *index, r#""function":{"arguments":?}}]"#, &[text], out);
            }
            Event::StopSequence { text, .. } => self.stop = Some(text.clone()),
            Event::Finish { choice, finish } => {
                self.chunk(*choice, Some(finish_word(*finish)), out, &mut |_| {})
            }
            Event::Usage(usage) => {
                self.usage = Some(self.usage.map_or(*usage, |before| usage.or_more(&before)));
            }
            Event::Error(failure) => {
                self.tell_usage(out);
                self.ended = true;
                stream_error(failure, out);
            }
            Event::Done => {
                self.tell_usage(out);
                self.ended = true;
                out.extend_from_slice(b"data: [DONE]\n\n");
            }
        }
    }

    /// Whether the stream has been closed, well or not.
    pub fn ended(&self) -> bool {
        self.ended
    }

    fn tell_usage(&self, out: &mut Vec<u8>) {
        if let Some(usage) = self.usage.as_ref().filter(|_| self.include_usage) {
            let mut chunk = self.begin(out);
            chunk.fill(r#"[],"usage":"#, &[]);
            write_usage(&mut chunk, usage);
            finish(chunk, out);
        }
    }

    #[inline(never)]
    fn begin(&self, out: &mut Vec<u8>) -> Writer {
        out.extend_from_slice(&self.head);
        Writer::new(std::mem::take(out))
    }

    /// A chunk whose delta is this piece of JSON.
    fn delta(&self, choice: u32, piece: &str, texts: &[&str], out: &mut Vec<u8>) {
        self.chunk(choice, None, out, &mut |chunk| _ = chunk.fill(piece, texts));
    }

    /// A chunk whose delta is about a tool call, of which this piece is what follows its number.
    fn call(&self, choice: u32, index: u32, piece: &str, texts: &[&str], out: &mut Vec<u8>) {
        self.chunk(choice, None, out, &mut |chunk| {
            chunk.fill(r#""tool_calls":[{"index":"#, &[]).u64(u64::from(index)).fill(piece, texts);
        });
    }

    fn chunk(
        &self,
        choice: u32,
        reason: Option<&str>,
        out: &mut Vec<u8>,
        delta: &mut dyn FnMut(&mut Writer),
    ) {
        let mut chunk = self.begin(out);
        chunk.fill(r#"[{"index":"#, &[]).u64(u64::from(choice)).fill(r#""delta":{"#, &[]);
        delta(&mut chunk);
        chunk.fill(r#"},"logprobs":null,"finish_reason":"#, &[]).opt(reason);
        write::text(&mut chunk, STOP, self.stop.as_deref().filter(|_| reason.is_some()));
        chunk.fill("}]", &[]);
        if self.include_usage {
            chunk.fill(r#""usage":null"#, &[]);
        }
        finish(chunk, out);
    }
}

fn finish(mut chunk: Writer, out: &mut Vec<u8>) {
    chunk.end_object();
    *out = chunk.into_inner();
    out.extend_from_slice(b"\n\n");
}

/// Appends the SSE event that tells a client that its stream broke.
pub fn stream_error(failure: &Failure, out: &mut Vec<u8>) {
    out.extend_from_slice(b"data: ");
    let mut event = Writer::new(std::mem::take(out));
    write_error(
        &mut event,
        &failure.kind,
        failure.code.as_deref(),
        &failure.message,
        failure.param.as_deref(),
    );
    *out = event.into_inner();
    out.extend_from_slice(b"\n\n");
}

#[cfg(test)]
#[allow(clippy::string_slice, reason = "ranges that the reader gave")]
mod tests {
    use super::super::{Slot, read_chunk};
    use super::*;
    use crate::hub::{Finish, Usage};

    fn written(include_usage: bool, events: &[Event]) -> Vec<String> {
        let context = AnswerContext { id: "i".into(), created: 1, model: "m\"".into() };
        let mut encoder = StreamEncoder::new(&context, include_usage);
        let mut out = Vec::new();
        events.iter().for_each(|event| encoder.event(event, &mut out));
        let text = String::from_utf8(out).unwrap();
        text.split_terminator("\n\n").map(|event| event.strip_prefix("data: ").unwrap().to_owned()).collect()
    }

    fn whole() -> Vec<Event> {
        vec![
            Event::Start { id: None, model: None },
            Event::ReasoningDelta { choice: 0, text: "r".into() },
            Event::ReasoningSignature { choice: 0, signature: "s".into() },
            Event::TextDelta { choice: 0, text: "a\"\n".into() },
            Event::ToolStart { choice: 0, index: 0, id: "c".into(), name: "f".into() },
            Event::ToolArguments { choice: 0, index: 0, text: "{".into() },
            Event::Finish { choice: 0, finish: Finish::ToolCalls },
            Event::Usage(Usage { input: 3, output: 4, ..Usage::default() }),
            Event::Done,
        ]
    }

    #[test]
    fn what_is_written_reads_back() {
        for include_usage in [false, true] {
            let events = written(include_usage, &whole());
            assert_eq!(events.last().map(String::as_str), Some("[DONE]"));
            let mut slots = Vec::new();
            let mut usage = None;
            let mut finish = None;
            for event in &events {
                let chunk = read_chunk(event.as_bytes()).unwrap();
                slots
                    .extend(chunk.texts.iter().map(|text| (text.slot, event[text.value.clone()].to_owned())));
                usage = usage.or(chunk.usage);
                finish = finish.or(chunk.choices.first().and_then(|choice| choice.finish));
                assert!(chunk.is_done || chunk.usage_member.is_some() == include_usage);
            }
            let slots: Vec<_> = slots.iter().map(|(slot, text)| (*slot, text.as_str())).collect();
            assert_eq!(
                slots,
                [
                    (Slot::Content, r#""""#),
                    (Slot::Reasoning, r#""r""#),
                    (Slot::Content, r#""a\"\n""#),
                    (Slot::Tool(0), r#""""#),
                    (Slot::Tool(0), r#""{""#)
                ]
            );
            assert_eq!(usage.is_some(), include_usage);
            assert_eq!(finish, Some(Finish::ToolCalls));
        }
    }

    #[test]
    fn a_broken_stream_has_no_done() {
        let failure = Failure {
            status: 500,
            kind: "server_error".into(),
            message: "gone".into(),
            ..Failure::default()
        };
        let events =
            written(false, &[Event::Start { id: None, model: None }, Event::Error(failure), Event::Done]);
        assert_eq!(events.len(), 2);
        assert_eq!(
            events[1],
            r#"{"error":{"message":"gone","type":"server_error","param":null,"code":null}}"#
        );
    }
}
