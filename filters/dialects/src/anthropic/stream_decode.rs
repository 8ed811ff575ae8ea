//! A message's stream, whatever its cuts, as hub events. An `error` event, an event that is no JSON and an end before
//! `message_stop` are one [`Event::Error`]; nothing follows it and there is never a [`Event::Done`] beside it.

use weir_wire::json::Value;
use weir_wire::sse;

use super::answer::{finish_of, usage_of};
use super::errors;
use crate::bedrock::Renames;
use crate::hub::{Event, Failure, Usage};
use crate::openai_chat::fields;

/// The largest event accepted, in bytes.
const MOST_EVENT: usize = 4 << 20;
/// More blocks than any answer has; beyond it the stream is broken.
const MOST_BLOCKS: usize = 4096;

/// Reads one stream.
#[derive(Clone, Debug)]
pub struct StreamDecoder {
    events: sse::Decoder,
    state: State,
    ended: bool,
}

#[derive(Clone, Debug, Default)]
struct State {
    renames: Renames,
    /// The blocks in order: those that are tool calls, by the call's number.
    blocks: Vec<Block>,
    tools: u32,
    /// What the first event said of the usage.
    begun: Usage,
    /// The reason of the end was said.
    finished: bool,
    done: bool,
    failure: Option<Failure>,
}

#[derive(Clone, Copy, Debug)]
enum Block {
    /// Text and thinking.
    Shown,
    /// A call, and whether any arguments came: the client must see JSON in any case.
    Call(u32, bool),
    /// Tools that the provider runs itself.
    Hidden,
}

impl StreamDecoder {
    /// A decoder; `renames` is what the request's encoding returned.
    pub fn new(renames: Renames) -> Self {
        let state = State { renames, ..State::default() };
        StreamDecoder { events: sse::Decoder::new(MOST_EVENT), state, ended: false }
    }

    /// Takes bytes and appends the events that they complete.
    pub fn push(&mut self, chunk: &[u8], events: &mut Vec<Event>) {
        if self.ended {
            return;
        }
        let state = &mut self.state;
        let read = self.events.push(chunk, &mut |event| {
            if event.has_data && state.failure.is_none() && !state.done {
                state.event(&event.data, events);
            }
        });
        if let Err(error) = read {
            let message = format!("the provider's stream cannot be read: {error}");
            state.failure.get_or_insert_with(|| Failure::unreadable(&message));
        }
        self.end(events);
    }

    /// Ends the stream: an error where the message had not ended. Nothing where it has ended already.
    pub fn finish(&mut self, events: &mut Vec<Event>) {
        if !self.ended {
            let failure = Failure::unreadable("the provider's stream ended before the answer did");
            self.state.failure.get_or_insert(failure);
            self.end(events);
        }
    }

    fn end(&mut self, events: &mut Vec<Event>) {
        if let Some(failure) = self.state.failure.take() {
            self.ended = true;
            events.push(Event::Error(failure));
        } else if self.state.done {
            self.ended = true;
            events.push(Event::Done);
        }
    }
}

impl State {
    fn event(&mut self, payload: &[u8], events: &mut Vec<Event>) {
        let doc = match fields::parsed_event(payload) {
            Ok(doc) => doc,
            Err(failure) => {
                self.failure = Some(failure);
                return;
            }
        };
        let root = doc.root();
        let at = fields::index(root, "index") as usize;
        by_name!(root.get("type") => {
            "message_start" => {
                let text = |key: &str| fields::dig(root, &["message", key]).and_then(fields::owned);
                self.begun = fields::dig(root, &["message", "usage"]).and_then(usage_of).unwrap_or_default();
                events.push(Event::Start { id: text("id"), model: text("model") });
            },
            "content_block_start" => {
                if let Some(block) = root.get("content_block") {
                    self.start(block, at, events);
                }
            },
            "content_block_delta" => {
                if let Some(delta) = root.get("delta") {
                    self.delta(delta, at, events);
                }
            },
            "content_block_stop" => {
                if let Some(Block::Call(index, said @ false)) = self.blocks.get_mut(at) {
                    *said = true;
                    events.push(Event::ToolArguments { choice: 0, index: *index, text: "{}".into() });
                }
            },
            "message_delta" => {
                let text = |key: &str| fields::dig(root, &["delta", key]).and_then(fields::owned);
                let reason = text("stop_reason");
                if let Some(reason) = reason.filter(|_| !std::mem::replace(&mut self.finished, true)) {
                    events.extend(text("stop_sequence").map(|text| Event::StopSequence { choice: 0, text }));
                    events.push(Event::Finish { choice: 0, finish: finish_of(&reason) });
                }
                if let Some(usage) = root.get("usage").and_then(usage_of) {
                    events.push(Event::Usage(usage.or_more(&self.begun)));
                }
            },
            "message_stop" if self.finished => self.done = true,
            "message_stop" => {
                let what = "the provider's stream ended without a reason";
                self.failure = Some(Failure::unreadable(what));
            },
            "error" => self.failure = Some(errors::of(Some(root), None)),
            // `ping`, and what may yet be invented.
            _ => {},
        })
    }

    fn start(&mut self, block: Value<'_, '_>, at: usize, events: &mut Vec<Event>) {
        if at != self.blocks.len() || at >= MOST_BLOCKS {
            self.failure = Some(Failure::unreadable("a block of the provider's stream is out of order"));
            return;
        }
        let text = |key: &str| fields::said(block, key);
        self.blocks.push(Block::Shown);
        by_name!(block.get("type") => {
            "text" => events.extend(text("text").map(|text| Event::TextDelta { choice: 0, text })),
            "thinking" => {
                events.extend(text("thinking").map(|text| Event::ReasoningDelta { choice: 0, text }))
            },
            "redacted_thinking" => {
                events.extend(text("data").map(|data| Event::ReasoningRedacted { choice: 0, data }));
            },
            "tool_use" => {
                let index = self.tools;
                self.tools += 1;
                let name = self.renames.original(&fields::or_empty(block, "name")).to_owned();
                events.push(Event::ToolStart { choice: 0, index, id: fields::or_empty(block, "id"), name });
                // As a rule the input comes in deltas, and is an empty object here.
                let input = fields::object(block, "input").filter(|input| !input.is_empty());
                events.extend(input.map(|input| Event::ToolArguments {
                    choice: 0,
                    index,
                    text: fields::raw(input),
                }));
                if let Some(last) = self.blocks.last_mut() {
                    *last = Block::Call(index, input.is_some());
                }
            },
            _ => {
                if let Some(last) = self.blocks.last_mut() {
                    *last = Block::Hidden;
                }
            },
        })
    }

    fn delta(&mut self, delta: Value<'_, '_>, at: usize, events: &mut Vec<Event>) {
        let text = |key: &str| fields::said(delta, key);
        match self.blocks.get_mut(at) {
            Some(Block::Call(index, said)) => {
                if let Some(text) = text("partial_json") {
                    *said = true;
                    events.push(Event::ToolArguments { choice: 0, index: *index, text });
                }
            }
            Some(Block::Shown) => {
                if let Some(text) = text("text") {
                    events.push(Event::TextDelta { choice: 0, text });
                } else if let Some(text) = text("thinking") {
                    events.push(Event::ReasoningDelta { choice: 0, text });
                } else if let Some(signature) = text("signature") {
                    events.push(Event::ReasoningSignature { choice: 0, signature });
                }
            }
            Some(Block::Hidden) => {}
            None => self.failure = Some(Failure::unreadable("a delta of the provider's stream has no block")),
        }
    }
}
