//! A chat stream of another provider, whatever its cuts, as hub events, for clients of another dialect. An error
//! object, a payload that is no JSON and an end before any finish are one [`Event::Error`]; nothing follows it.

use weir_wire::json::Value;
use weir_wire::sse;

use super::answer::{finish_of_choice, read_usage, stop_of};
use super::{decode_error, fields};
use crate::hub::{Event, Failure};

/// The largest event accepted, in bytes.
const MOST_EVENT: usize = 4 << 20;
/// More tool calls than any answer has; beyond it the stream is broken.
const MOST_TOOLS: usize = 1024;

/// Reads one stream. Only the first choice is carried: the hub's clients ask for one.
#[derive(Clone, Debug)]
pub struct StreamDecoder {
    events: sse::Decoder,
    state: State,
    ended: bool,
}

#[derive(Clone, Debug, Default)]
struct State {
    started: bool,
    /// The provider's index of each call, in order of their begins, and whether it has said any arguments.
    tools: Vec<(u64, bool)>,
    finished: bool,
    done: bool,
    failure: Option<Failure>,
}

impl Default for StreamDecoder {
    fn default() -> Self {
        StreamDecoder { events: sse::Decoder::new(MOST_EVENT), state: State::default(), ended: false }
    }
}

impl StreamDecoder {
    /// Takes bytes and appends the events that they complete.
    pub fn push(&mut self, chunk: &[u8], events: &mut Vec<Event>) {
        if self.ended {
            return;
        }
        let state = &mut self.state;
        let read = self.events.push(chunk, &mut |event| {
            if event.has_data && state.failure.is_none() && !state.done {
                state.payload(&event.data, events);
            }
        });
        if let Err(error) = read {
            let message = format!("the provider's stream cannot be read: {error}");
            state.failure.get_or_insert_with(|| Failure::unreadable(&message));
        }
        self.end(events);
    }

    /// Ends the stream: well after a finish, even where the provider leaves `[DONE]` out; else by an error.
    pub fn finish(&mut self, events: &mut Vec<Event>) {
        if self.ended {
            return;
        }
        if self.state.finished {
            self.state.done = true;
        } else {
            let failure = Failure::unreadable("the provider's stream ended before the answer did");
            self.state.failure.get_or_insert(failure);
        }
        self.end(events);
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
    fn payload(&mut self, payload: &[u8], events: &mut Vec<Event>) {
        if payload.trim_ascii() == b"[DONE]" {
            if self.finished {
                self.done = true;
            } else {
                self.failure = Some(Failure::unreadable("the provider's stream ended before the answer did"));
            }
            return;
        }
        let doc = match fields::parsed_event(payload) {
            Ok(doc) => doc,
            Err(failure) => {
                self.failure = Some(failure);
                return;
            }
        };
        let root = doc.root();
        let error = fields::some(root, "error");
        if error.is_some() || fields::is(root, "object", "error") {
            let code = error.unwrap_or(root).get("code").and_then(Value::as_u64);
            let status =
                code.and_then(|code| u16::try_from(code).ok()).filter(|code| (400..600).contains(code));
            self.failure = Some(decode_error(status.unwrap_or(503), payload));
            return;
        }
        if !self.started {
            self.started = true;
            events
                .push(Event::Start { id: fields::member(root, "id"), model: fields::member(root, "model") });
        }
        for choice in root.list("choices") {
            if fields::tokens(choice, &["index"]).unwrap_or(0) == 0 {
                self.choice(choice, events);
            }
        }
        events.extend(root.get("usage").and_then(read_usage).map(Event::Usage));
    }

    fn choice(&mut self, choice: Value<'_, '_>, events: &mut Vec<Event>) {
        if let Some(delta) = choice.get("delta") {
            let text = |key: &str| fields::said(delta, key);
            if let Some(text) = text("reasoning_content").or_else(|| text("reasoning")) {
                events.push(Event::ReasoningDelta { choice: 0, text });
            }
            if let Some(text) = text("content") {
                events.push(Event::TextDelta { choice: 0, text });
            }
            if let Some(text) = text("refusal") {
                events.push(Event::RefusalDelta { choice: 0, text });
            }
            for (position, call) in (0..).zip(delta.list("tool_calls")) {
                self.call(call, position, events);
            }
        }
        if let Some(reason) = fields::some(choice, "finish_reason") {
            for (index, (_, said)) in (0..).zip(&mut self.tools) {
                if !std::mem::replace(said, true) {
                    events.push(Event::ToolArguments { choice: 0, index, text: "{}".into() });
                }
            }
            // An answer ends once: the first word counts.
            if !std::mem::replace(&mut self.finished, true) {
                let stop = stop_of(choice);
                let finish = finish_of_choice(reason, &stop);
                events.extend(stop.map(|text| Event::StopSequence { choice: 0, text }));
                events.push(Event::Finish { choice: 0, finish });
            }
        }
    }

    fn call(&mut self, call: Value<'_, '_>, position: u64, events: &mut Vec<Event>) {
        let number = fields::tokens(call, &["index"]).unwrap_or(position);
        let function = call.get("function");
        let text = |key: &str| function.and_then(|function| fields::said(function, key));
        let at = match self.tools.iter().position(|(known, _)| *known == number) {
            Some(at) => at,
            None if self.tools.len() >= MOST_TOOLS => {
                self.failure = Some(Failure::unreadable("the provider's stream has too many tool calls"));
                return;
            }
            None => {
                self.tools.push((number, false));
                let index = u32::try_from(self.tools.len() - 1).unwrap_or(u32::MAX);
                let id = fields::or_empty(call, "id");
                events.push(Event::ToolStart {
                    choice: 0,
                    index,
                    id,
                    name: text("name").unwrap_or_default(),
                });
                self.tools.len() - 1
            }
        };
        if let Some(arguments) = text("arguments")
            && let Some((_, said)) = self.tools.get_mut(at)
        {
            *said = true;
            let index = u32::try_from(at).unwrap_or(u32::MAX);
            events.push(Event::ToolArguments { choice: 0, index, text: arguments });
        }
    }
}
