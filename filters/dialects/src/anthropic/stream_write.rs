//! Hub events as a message's stream: named events, blocks one after the other, the usage restated at the end, where
//! providers of other dialects tell it. A broken stream ends with an `error` event and no `message_stop`.

use weir_wire::json::Writer;

use super::answer::{Block, begin_block, begin_message, end_message, write_ending, write_usage};
use super::errors::write_error;
use crate::hub::{Event, Failure, Usage};
use crate::openai_chat::AnswerContext;
use crate::progress::Progress;
use crate::write::{begin_event, end_event};

/// Writes one stream.
#[derive(Clone, Debug)]
pub struct StreamEncoder {
    context: AnswerContext,
    open: Open,
    progress: Progress,
    ended: bool,
}

/// The block that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    Nothing,
    Text,
    Thinking,
    Tool,
}

impl StreamEncoder {
    /// A stream that shows `context`.
    pub fn new(context: &AnswerContext) -> Self {
        StreamEncoder {
            context: context.clone(),
            open: Open::Nothing,
            progress: Progress::default(),
            ended: false,
        }
    }

    /// Appends what the event becomes: nothing, one SSE event or more. After [`Event::Done`] or [`Event::Error`]
    /// nothing more is written. There is one answer: events of others are passed over.
    pub fn event(&mut self, event: &Event, out: &mut Vec<u8>) {
        if self.ended {
            return;
        }
        self.progress.hear(event);
        match event {
            Event::Start { .. } => {
                let mut w = begin_event("message_start", out);
                w.key("message");
                begin_message(&mut w, &self.context);
                end_message(&mut w, None, None, &Usage::default());
                end_event(w, out);
            }
            Event::TextDelta { choice: 0, text } | Event::RefusalDelta { choice: 0, text } => {
                self.block(Open::Text, Block::Text(""), out);
                self.delta(self.progress.last(), "text_delta", "text", text, out);
            }
            Event::ReasoningDelta { choice: 0, text } => {
                self.block(Open::Thinking, Block::Thinking("", ""), out);
                self.delta(self.progress.last(), "thinking_delta", "thinking", text, out);
            }
            Event::ReasoningSignature { choice: 0, signature } => {
                self.block(Open::Thinking, Block::Thinking("", ""), out);
                self.delta(self.progress.last(), "signature_delta", "signature", signature, out);
                // What is thought after it has a signature of its own.
                self.close(out);
            }
            Event::ReasoningRedacted { choice: 0, data } => {
                self.close(out);
                self.block(Open::Thinking, Block::Redacted(data), out);
                self.close(out);
            }
            Event::ToolStart { choice: 0, index: _, id, name } => {
                self.close(out);
                self.block(Open::Tool, Block::Tool(id, name), out);
                self.progress.calls();
            }
            Event::ToolArguments { choice: 0, index, text } => {
                if let Some(block) = self.progress.block_of(*index) {
                    self.delta(block, "input_json_delta", "partial_json", text, out);
                }
            }
            Event::Finish { choice: 0, .. } => self.close(out),
            Event::Error(failure) => {
                self.ended = true;
                stream_error(failure, out);
            }
            Event::Done => {
                self.ended = true;
                self.close(out);
                write_end(&self.progress, out);
            }
            _ => {}
        }
    }

    /// Opens a block where another kind or none is open.
    fn block(&mut self, kind: Open, block: Block<'_>, out: &mut Vec<u8>) {
        if self.open == kind {
            return;
        }
        self.close(out);
        self.open = kind;
        let mut w = begin_event("content_block_start", out);
        w.key("index").u64(self.progress.next).key("content_block");
        begin_block(&mut w, block);
        if kind == Open::Tool {
            w.fill(r#""input":{}"#, &[]);
        }
        w.end_object();
        end_event(w, out);
        self.progress.next += 1;
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        if self.open != Open::Nothing {
            self.open = Open::Nothing;
            write_stop(self.progress.last(), out);
        }
    }

    fn delta(&self, block: u64, kind: &str, key: &str, text: &str, out: &mut Vec<u8>) {
        let mut w = begin_event("content_block_delta", out);
        w.key("index").u64(block).fill(r#""delta":{"type":?"#, &[kind]).member(key, text).end_object();
        end_event(w, out);
    }
}

/// The end of an answer that the policy stopped inside the block `open`.
pub fn refused(open: Option<u32>, usage: &Usage, out: &mut Vec<u8>) {
    if let Some(block) = open {
        write_stop(u64::from(block), out);
    }
    write_end(&Progress::refused(usage), out);
}

fn write_stop(block: u64, out: &mut Vec<u8>) {
    let mut w = begin_event("content_block_stop", out);
    w.key("index").u64(block);
    end_event(w, out);
}

fn write_end(progress: &Progress, out: &mut Vec<u8>) {
    let mut w = begin_event("message_delta", out);
    w.key("delta").begin_object();
    write_ending(&mut w, Some(progress.finish), progress.stop.as_deref());
    w.end_object().key("usage");
    write_usage(&mut w, &progress.usage);
    end_event(w, out);
    end_event(begin_event("message_stop", out), out);
}

fn stream_error(failure: &Failure, out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: error\ndata: ");
    let mut w = Writer::new(std::mem::take(out));
    write_error(&mut w, failure.status, failure.code.as_deref(), &failure.message, failure.param.as_deref());
    *out = w.into_inner();
    out.extend_from_slice(b"\n\n");
}
