//! A ConverseStream body, whatever its cuts, as hub events. An exception frame, a wrong checksum, a truncated frame
//! and an end before `messageStop` are one [`Event::Error`]; nothing follows it and there is never a
//! [`Event::Done`] beside it.

use weir_wire::eventstream::{Decoder, Frame};
use weir_wire::json::{self, Limits, Value};

use super::answer::{finish_of, stop_of, usage_of};
use super::errors;
use super::names::Renames;
use crate::hub::{Event, Failure};
use crate::openai_chat::fields;

/// The largest frame accepted, in bytes: botocore's bound of a payload (24 MiB) would be a whole worker's memory;
/// the largest that Bedrock was seen to send is a few KiB, and a tool's input in one piece is the largest it can be.
const MOST_FRAME: usize = 4 << 20;

/// Reads one stream.
#[derive(Clone, Debug)]
pub struct StreamDecoder {
    frames: Decoder,
    state: State,
    ended: bool,
}

#[derive(Clone, Debug)]
struct State {
    renames: Renames,
    /// The tool calls in order: OpenAI counts calls, Converse counts blocks.
    tools: Vec<Call>,
    /// Blocks whose deltas are not shown: tools that the provider runs itself.
    hidden: Vec<u64>,
    stopped: bool,
    failure: Option<Failure>,
}

#[derive(Clone, Copy, Debug)]
struct Call {
    block: u64,
    /// Whether any arguments came: a call without them has no deltas, and the client must still see JSON.
    said: bool,
}

/// More tool calls than any answer has; beyond it the stream is broken.
const MOST_TOOLS: usize = 1024;

impl StreamDecoder {
    /// A decoder; `renames` is what the request's encoding returned.
    pub fn new(renames: Renames) -> Self {
        let state = State { renames, tools: Vec::new(), hidden: Vec::new(), stopped: false, failure: None };
        StreamDecoder { frames: Decoder::new(MOST_FRAME), state, ended: false }
    }

    /// Takes bytes and appends the events that they complete.
    pub fn push(&mut self, chunk: &[u8], events: &mut Vec<Event>) {
        if self.ended {
            return;
        }
        let state = &mut self.state;
        let read = self.frames.push(chunk, &mut |frame| {
            if state.failure.is_none() {
                state.frame(frame, events);
            }
        });
        if let Err(error) = read {
            let message = format!("the provider's stream cannot be read: {error}");
            state.failure.get_or_insert_with(|| Failure::unreadable(&message));
        }
        self.fail(events);
    }

    /// Ends the stream: [`Event::Done`] after a whole answer, else an error. Nothing where it has ended already.
    pub fn finish(&mut self, events: &mut Vec<Event>) {
        if self.ended {
            return;
        }
        if self.frames.finish().is_err() || !self.state.stopped {
            self.state.failure =
                Some(Failure::unreadable("the provider's stream ended before the answer did"));
            return self.fail(events);
        }
        self.ended = true;
        events.push(Event::Done);
    }

    fn fail(&mut self, events: &mut Vec<Event>) {
        if let Some(failure) = self.state.failure.take() {
            self.ended = true;
            events.push(Event::Error(failure));
        }
    }
}

impl State {
    fn frame(&mut self, frame: Frame<'_>, events: &mut Vec<Event>) {
        let doc = json::parse(frame.payload, &Limits::default());
        let kind = match frame.message_type() {
            Some("event") => frame.event_type().unwrap_or_default(),
            other => {
                let message = doc.as_ref().ok().and_then(|doc| fields::member(doc.root(), "message"));
                let message = message.or_else(|| frame.header(":error-message").map(str::to_owned));
                let class = frame.exception_type().or_else(|| frame.header(":error-code"));
                let class = class.or(other).unwrap_or_default();
                self.failure = Some(errors::of(class, &message.unwrap_or_default(), None));
                return;
            }
        };
        match doc {
            Ok(doc) => self.event(kind, doc.root(), events),
            Err(error) => {
                let message = format!("an event of the provider's stream cannot be read: {error}");
                self.failure = Some(Failure::unreadable(&message));
            }
        }
    }

    fn event(&mut self, kind: &str, payload: Value<'_, '_>, events: &mut Vec<Event>) {
        let block = fields::tokens(payload, &["contentBlockIndex"]).unwrap_or(0);
        by_name!(kind => {
            "messageStart" => events.push(Event::Start { id: None, model: None }),
            "contentBlockStart" => {
                let start = payload.get("start");
                if let Some(call) = start.and_then(|start| start.get("toolUse")) {
                    self.tool(call, block, events);
                } else if start.is_some_and(|start| start.get("toolResult").is_some()) {
                    self.hide(block);
                }
            },
            "contentBlockDelta" if !self.hidden.contains(&block) => {
                if let Some(delta) = payload.get("delta") {
                    self.delta(delta, block, events);
                }
            },
            // An answer ends once: the first word counts.
            "messageStop" if !self.stopped => {
                self.stopped = true;
                let reason = fields::or_empty(payload, "stopReason");
                events.extend(stop_of(payload).map(|text| Event::StopSequence { choice: 0, text }));
                events.push(Event::Finish { choice: 0, finish: finish_of(&reason) });
            },
            "metadata" => {
                events.extend(payload.get("usage").and_then(usage_of).map(Event::Usage));
            },
            "contentBlockStop" => {
                if let Some((index, call)) = self.call(block).filter(|(_, call)| !call.said) {
                    call.said = true;
                    events.push(Event::ToolArguments { choice: 0, index, text: "{}".into() });
                }
            },
            // What may yet be invented.
            _ => {},
        })
    }

    fn tool(&mut self, call: Value<'_, '_>, block: u64, events: &mut Vec<Event>) {
        if fields::is(call, "type", "server_tool_use") {
            return self.hide(block);
        }
        let (Some(id), Some(name)) = (fields::member(call, "toolUseId"), fields::member(call, "name")) else {
            self.failure = Some(Failure::unreadable("a tool call of the provider's stream has no name"));
            return;
        };
        if self.tools.len() >= MOST_TOOLS {
            self.failure = Some(Failure::unreadable("the provider's stream has too many tool calls"));
            return;
        }
        let index = u32::try_from(self.tools.len()).unwrap_or(u32::MAX);
        self.tools.push(Call { block, said: false });
        let name = self.renames.original(&name).to_owned();
        events.push(Event::ToolStart { choice: 0, index, id, name });
    }

    fn call(&mut self, block: u64) -> Option<(u32, &mut Call)> {
        (0..).zip(&mut self.tools).find(|(_, call)| call.block == block)
    }

    fn hide(&mut self, block: u64) {
        if self.hidden.len() < MOST_TOOLS {
            self.hidden.push(block);
        }
    }

    fn delta(&mut self, delta: Value<'_, '_>, block: u64, events: &mut Vec<Event>) {
        if let Some(text) = fields::said(delta, "text") {
            events.push(Event::TextDelta { choice: 0, text });
        } else if let Some(call) = delta.get("toolUse") {
            let text = fields::said(call, "input");
            if let (Some((index, call)), Some(text)) = (self.call(block), text) {
                call.said = true;
                events.push(Event::ToolArguments { choice: 0, index, text });
            }
        } else if let Some(reasoning) = delta.get("reasoningContent") {
            if let Some(text) = fields::said(reasoning, "text") {
                events.push(Event::ReasoningDelta { choice: 0, text });
            }
            if let Some(signature) = fields::said(reasoning, "signature") {
                events.push(Event::ReasoningSignature { choice: 0, signature });
            }
            if let Some(data) = fields::said(reasoning, "redactedContent") {
                events.push(Event::ReasoningRedacted { choice: 0, data });
            }
        }
    }
}
