//! Hub events as a Converse stream: AWS frames, blocks one after the other, the usage at the end, after the stop. A
//! broken stream ends with an exception frame and no `messageStop`.

use weir_wire::eventstream;
use weir_wire::json::Writer;

use super::answer::{write_ending, write_usage};
use super::errors;
use crate::hub::{Event, Failure, Usage};
use crate::progress::Progress;

/// Writes one stream.
#[derive(Clone, Debug, Default)]
pub struct StreamEncoder {
    open: Open,
    progress: Progress,
    ended: bool,
}

/// The block that is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Open {
    #[default]
    Nothing,
    Text,
    Thinking,
    Tool,
}

impl StreamEncoder {
    /// Appends what the event becomes: nothing, one frame or more. After [`Event::Done`] or [`Event::Error`] nothing
    /// more is written. There is one answer: events of others are passed over.
    pub fn event(&mut self, event: &Event, out: &mut Vec<u8>) {
        if self.ended {
            return;
        }
        self.progress.hear(event);
        match event {
            Event::Start { .. } => {
                frame("messageStart", br#"{"role":"assistant"}"#, out);
            }
            Event::TextDelta { choice: 0, text } | Event::RefusalDelta { choice: 0, text } => {
                self.delta(Open::Text, None, "text", text, out);
            }
            Event::ReasoningDelta { choice: 0, text } => {
                self.delta(Open::Thinking, Some("reasoningContent"), "text", text, out);
            }
            Event::ReasoningSignature { choice: 0, signature } => {
                self.delta(Open::Thinking, Some("reasoningContent"), "signature", signature, out);
                // What is thought after it has a signature of its own.
                self.close(out);
            }
            Event::ReasoningRedacted { choice: 0, data } => {
                self.close(out);
                self.delta(Open::Thinking, Some("reasoningContent"), "redactedContent", data, out);
                self.close(out);
            }
            Event::ToolStart { choice: 0, index: _, id, name } => {
                self.block(Open::Tool, true, out);
                self.progress.calls();
                let mut w = begin(self.progress.last(), "start");
                w.fill(r#"{"toolUse":{"toolUseId":?,"name":?}}"#, &[id, name]);
                frame("contentBlockStart", &end(w), out);
            }
            Event::ToolArguments { choice: 0, index, text } => {
                if let Some(block) = self.progress.block_of(*index) {
                    write_delta(block, Some("toolUse"), "input", text, out);
                }
            }
            Event::Finish { choice: 0, .. } => self.close(out),
            Event::Error(failure) => {
                self.ended = true;
                exception(failure, out);
            }
            Event::Done => {
                self.ended = true;
                self.close(out);
                write_end(&self.progress, out);
            }
            _ => {}
        }
    }

    /// Goes on in an open block of this kind, unless another is wanted, else in the next.
    fn block(&mut self, kind: Open, another: bool, out: &mut Vec<u8>) {
        if self.open != kind || another {
            self.close(out);
            self.open = kind;
            self.progress.next += 1;
        }
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        if self.open != Open::Nothing {
            self.open = Open::Nothing;
            write_stop(self.progress.last(), out);
        }
    }

    fn delta(&mut self, kind: Open, holder: Option<&str>, key: &str, text: &str, out: &mut Vec<u8>) {
        self.block(kind, false, out);
        write_delta(self.progress.last(), holder, key, text, out);
    }
}

/// The end of an answer that the policy stopped inside the block `open`.
pub fn refused(open: Option<u32>, usage: &Usage, out: &mut Vec<u8>) {
    if let Some(block) = open {
        write_stop(u64::from(block), out);
    }
    write_end(&Progress::refused(usage), out);
}

/// The frame that ends a broken stream.
pub fn exception(failure: &Failure, out: &mut Vec<u8>) {
    let class = errors::class_in_stream(failure);
    let mut w = Writer::new(Vec::with_capacity(32 + failure.message.len()));
    w.fill(r#"{"message":?}"#, &[&failure.message]);
    let headers =
        [(":exception-type", class), (":content-type", "application/json"), (":message-type", "exception")];
    eventstream::encode(out, &headers, &w.into_inner());
}

/// Appends an event's frame.
#[inline(never)]
pub fn frame(kind: &str, payload: &[u8], out: &mut Vec<u8>) {
    let headers = [(":event-type", kind), (":content-type", "application/json"), (":message-type", "event")];
    eventstream::encode(out, &headers, payload);
}

fn write_delta(block: u64, holder: Option<&str>, key: &str, text: &str, out: &mut Vec<u8>) {
    let mut w = begin(block, "delta");
    w.begin_object();
    if let Some(holder) = holder {
        w.key(holder).begin_object();
    }
    w.member(key, text);
    if holder.is_some() {
        w.end_object();
    }
    w.end_object();
    frame("contentBlockDelta", &end(w), out);
}

fn write_stop(block: u64, out: &mut Vec<u8>) {
    let mut w = Writer::new(Vec::new());
    w.fill(r#"{"contentBlockIndex":"#, &[]).u64(block);
    frame("contentBlockStop", &end(w), out);
}

fn write_end(progress: &Progress, out: &mut Vec<u8>) {
    let mut w = Writer::new(Vec::new());
    w.begin_object();
    write_ending(&mut w, progress.finish, progress.stop.as_deref());
    frame("messageStop", &end(w), out);
    let mut w = Writer::new(Vec::new());
    w.begin_object().key("usage");
    write_usage(&mut w, &progress.usage);
    w.fill(r#""metrics":{"latencyMs":0}"#, &[]);
    frame("metadata", &end(w), out);
}

/// Opens a payload about a block.
#[inline(never)]
fn begin(block: u64, key: &str) -> Writer {
    let mut w = Writer::new(Vec::with_capacity(96));
    w.fill(r#"{"contentBlockIndex":"#, &[]).u64(block).key(key);
    w
}

#[inline(never)]
fn end(mut w: Writer) -> Vec<u8> {
    w.end_object();
    w.into_inner()
}
