//! Hub events as a response's stream: typed events with running numbers, items that open, grow and close, and the whole
//! response again at the end. A broken stream ends with an `error` event, which SDKs raise, and `response.failed`.

use weir_wire::json::Writer;

use super::answer::{Ending, write_response, write_usage};
use crate::hub::{Event, Failure, Finish, Usage};
use crate::openai_chat::AnswerContext;
use crate::write::{self, end_event};

/// What `encrypted_content` begins with that Weir wrote: a signature over the item's text,
pub(super) const SIGNED: &str = "weir.signed.";
/// or reasoning that only its provider can read.
pub(super) const SEALED: &str = "weir.sealed.";

/// Bytes of items that are kept for the end of the stream.
const MOST: usize = 3 << 20;
/// More tool calls than any answer has.
const MOST_CALLS: usize = 1024;

/// Writes one stream.
#[derive(Clone, Debug)]
pub struct StreamEncoder {
    context: AnswerContext,
    /// Members that repeat the request; see [`super::echo`].
    echo: Vec<u8>,
    /// Nobody reads its events: what they make of the answer is wanted as a whole.
    unread: bool,
    sequence: u64,
    /// Items that are complete, as JSON; empty until then.
    items: Vec<Vec<u8>>,
    /// Bytes kept.
    size: usize,
    /// The message or reasoning that is open, by its place among the items.
    item: Option<(Item, usize)>,
    /// Its part that is open, and what that says.
    part: Option<Part>,
    text: String,
    /// Its parts that are complete, as JSON with commas between, and their number.
    parts: Vec<u8>,
    count: u64,
    sealed: Option<String>,
    /// Tool calls; they close with the answer, since pieces of several may take turns.
    calls: Vec<Call>,
    finish: Finish,
    usage: Option<Usage>,
    ended: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    Message,
    Reasoning,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Text,
    Refusal,
    Summary,
}

impl Part {
    fn item(self) -> Item {
        if self == Part::Summary { Item::Reasoning } else { Item::Message }
    }

    /// Its type, the member that holds its text, and the events of its text and of itself.
    fn words(self) -> (&'static str, &'static str, &'static str, &'static str) {
        match self {
            Part::Text => ("output_text", "text", "response.output_text", "response.content_part"),
            Part::Refusal => ("refusal", "refusal", "response.refusal", "response.content_part"),
            Part::Summary => {
                ("summary_text", "text", "response.reasoning_summary_text", "response.reasoning_summary_part")
            }
        }
    }

    /// What was said, in the member `key`.
    fn said(self, key: &str, text: &str, out: &mut Writer) {
        out.member(key, text);
        if self == Part::Text {
            out.fill(r#""logprobs":[]"#, &[]);
        }
    }

    fn write(self, out: &mut Writer, text: &str) {
        let (kind, key, ..) = self.words();
        out.begin_object().member("type", kind).member(key, text);
        if self == Part::Text {
            out.fill(r#""annotations":[],"logprobs":[]"#, &[]);
        }
        out.end_object();
    }
}

#[derive(Clone, Debug)]
struct Call {
    at: usize,
    id: String,
    name: String,
    arguments: String,
}

impl StreamEncoder {
    /// A stream that shows `context` and repeats the request's `echo`.
    pub fn new(context: &AnswerContext, echo: &[u8]) -> Self {
        StreamEncoder {
            context: context.clone(),
            echo: echo.to_vec(),
            unread: false,
            sequence: 0,
            items: Vec::new(),
            size: 0,
            item: None,
            part: None,
            text: String::new(),
            parts: Vec::new(),
            count: 0,
            sealed: None,
            calls: Vec::new(),
            finish: Finish::Stop,
            usage: None,
            ended: false,
        }
    }

    /// The same for an answer that came as a whole: see [`Self::whole`].
    pub(super) fn unread(context: &AnswerContext, echo: &[u8]) -> Self {
        StreamEncoder { unread: true, ..Self::new(context, echo) }
    }

    /// Appends what the event becomes: nothing, one SSE event or more. After [`Event::Done`] or [`Event::Error`]
    /// nothing more is written. There is one answer: events of others are passed over.
    pub fn event(&mut self, event: &Event, out: &mut Vec<u8>) {
        if self.ended {
            return;
        }
        match event {
            Event::Start { .. } => {
                for kind in ["response.created", "response.in_progress"] {
                    self.response(kind, Ending::Open, out);
                }
            }
            Event::TextDelta { choice: 0, text } => self.say(Part::Text, text, out),
            Event::RefusalDelta { choice: 0, text } => self.say(Part::Refusal, text, out),
            Event::ReasoningDelta { choice: 0, text } => self.say(Part::Summary, text, out),
            Event::ReasoningSignature { choice: 0, signature } => {
                self.open(Item::Reasoning, out);
                self.sealed = Some([SIGNED, signature].concat());
                // What is thought after it has a signature of its own.
                self.close(out);
            }
            Event::ReasoningRedacted { choice: 0, data } => {
                self.close(out);
                self.open(Item::Reasoning, out);
                self.sealed = Some([SEALED, data].concat());
                self.close(out);
            }
            Event::ToolStart { choice: 0, index: _, id, name } if self.calls.len() < MOST_CALLS => {
                self.close(out);
                let call = Call {
                    at: self.items.len(),
                    id: id.clone(),
                    name: name.clone(),
                    arguments: String::new(),
                };
                self.items.push(Vec::new());
                self.tell("response.output_item.added", out, &mut |own, w| {
                    w.key("output_index").u64(call.at as u64).key("item");
                    own.write_call(w, &call, "in_progress");
                });
                self.calls.push(call);
            }
            Event::ToolArguments { choice: 0, index, text } => {
                let last = self.calls.len().saturating_sub(1);
                let at = usize::try_from(*index).unwrap_or(usize::MAX).min(last);
                let Some(call) = self.calls.get_mut(at) else { return };
                call.arguments.push_str(text);
                let at = call.at;
                self.size += text.len();
                self.tell("response.function_call_arguments.delta", out, &mut |own, w| {
                    w.member("item_id", &own.id("fc", at)).key("output_index").u64(at as u64);
                    w.member("delta", text);
                });
            }
            Event::Finish { choice: 0, finish } => {
                self.finish = *finish;
                self.close(out);
                self.close_calls(out);
            }
            Event::Usage(usage) => self.usage = Some(*usage),
            Event::Error(failure) => self.fail(failure, out),
            Event::Done => {
                self.close(out);
                self.close_calls(out);
                self.ended = true;
                let ending = ending(self.finish);
                let kind = match ending {
                    Ending::Completed => "response.completed",
                    _ => "response.incomplete",
                };
                self.response(kind, ending, out);
            }
            _ => {}
        }
        if self.size > MOST && !self.ended {
            self.fail(&Failure::unreadable("the provider's answer is larger than 3 MiB"), out);
        }
    }

    /// The whole response, as it is at the end of the stream.
    pub(super) fn whole(&self) -> Vec<u8> {
        let mut w = Writer::new(Vec::with_capacity(512 + self.size + self.echo.len()));
        self.write_response(&mut w, ending(self.finish));
        w.into_inner()
    }

    fn fail(&mut self, failure: &Failure, out: &mut Vec<u8>) {
        self.ended = true;
        stream_error(failure, self.sequence, out);
        self.sequence += 1;
        self.response("response.failed", Ending::Failed(failure), out);
    }

    fn id(&self, kind: &str, at: usize) -> String {
        let id = self.context.id.strip_prefix("resp_").unwrap_or(&self.context.id);
        [kind, "_", id, "_", &at.to_string()].concat()
    }

    /// Appends an event of this kind, with what `write` says of it.
    #[inline(never)]
    fn tell(&mut self, kind: &str, out: &mut Vec<u8>, write: &mut dyn FnMut(&Self, &mut Writer)) {
        if self.unread {
            return;
        }
        let mut w = begin(kind, self.sequence, out);
        self.sequence += 1;
        write(self, &mut w);
        end_event(w, out);
    }

    fn response(&mut self, kind: &str, ending: Ending<'_>, out: &mut Vec<u8>) {
        self.tell(kind, out, &mut |own, w| {
            w.key("response");
            own.write_response(w, ending);
        });
    }

    fn write_response(&self, w: &mut Writer, ending: Ending<'_>) {
        write_response(w, &self.context, ending, &self.echo);
        w.key("output").begin_array();
        for item in self.items.iter().filter(|item| !item.is_empty()) {
            w.raw(item);
        }
        w.end_array().key("usage");
        match &self.usage {
            Some(usage) => write_usage(w, usage),
            None => _ = w.null(),
        }
        w.end_object();
    }

    /// An event about a part: `…item_id, output_index, content_index`, and what `write` says.
    fn about(
        &mut self,
        kind: [&str; 2],
        (part, at): (Part, usize),
        out: &mut Vec<u8>,
        write: &mut dyn FnMut(&mut Writer),
    ) {
        let (prefix, index) = match part.item() {
            Item::Message => ("msg", "content_index"),
            Item::Reasoning => ("rs", "summary_index"),
        };
        self.tell(&kind.concat(), out, &mut |own, w| {
            w.member("item_id", &own.id(prefix, at)).key("output_index").u64(at as u64);
            w.key(index).u64(own.count);
            write(w);
        });
    }

    fn say(&mut self, part: Part, text: &str, out: &mut Vec<u8>) {
        self.open(part.item(), out);
        let Some((_, at)) = self.item else { return };
        let (.., said, around) = part.words();
        if self.part != Some(part) {
            self.close_part(out);
            self.part = Some(part);
            self.about([around, ".added"], (part, at), out, &mut |w| {
                w.key("part");
                part.write(w, "");
            });
        }
        self.text.push_str(text);
        self.size += text.len();
        self.about([said, ".delta"], (part, at), out, &mut |w| part.said("delta", text, w));
    }

    /// Opens an item where another kind or none is open.
    fn open(&mut self, item: Item, out: &mut Vec<u8>) {
        if self.item.is_some_and(|(open, _)| open == item) {
            return;
        }
        self.close(out);
        let at = self.items.len();
        self.item = Some((item, at));
        self.items.push(Vec::new());
        self.tell("response.output_item.added", out, &mut |own, w| {
            w.key("output_index").u64(at as u64).key("item");
            own.write_item(w, item, at, "in_progress");
        });
    }

    fn close_part(&mut self, out: &mut Vec<u8>) {
        let (Some(part), Some((_, at))) = (self.part.take(), self.item) else { return };
        let text = std::mem::take(&mut self.text);
        let (_, key, said, around) = part.words();
        self.about([said, ".done"], (part, at), out, &mut |w| part.said(key, &text, w));
        let mut json = Writer::new(Vec::with_capacity(text.len() + 64));
        part.write(&mut json, &text);
        let json = json.into_inner();
        self.about([around, ".done"], (part, at), out, &mut |w| _ = w.key("part").raw(&json));
        if self.count > 0 {
            self.parts.push(b',');
        }
        self.parts.extend_from_slice(&json);
        self.count += 1;
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        self.close_part(out);
        let Some((item, at)) = self.item.take() else { return };
        let mut json = Writer::new(Vec::with_capacity(self.parts.len() + 128));
        self.write_item(&mut json, item, at, status(self.finish));
        self.parts.clear();
        (self.count, self.sealed) = (0, None);
        self.done(at, json.into_inner(), out);
    }

    fn close_calls(&mut self, out: &mut Vec<u8>) {
        for call in std::mem::take(&mut self.calls) {
            self.tell("response.function_call_arguments.done", out, &mut |own, w| {
                w.member("item_id", &own.id("fc", call.at)).key("output_index").u64(call.at as u64);
                w.member("name", &call.name).member("arguments", &call.arguments);
            });
            let mut json = Writer::new(Vec::with_capacity(call.arguments.len() + 128));
            self.write_call(&mut json, &call, status(self.finish));
            self.done(call.at, json.into_inner(), out);
        }
    }

    fn done(&mut self, at: usize, json: Vec<u8>, out: &mut Vec<u8>) {
        self.tell("response.output_item.done", out, &mut |_, w| {
            w.key("output_index").u64(at as u64).key("item").raw(&json);
        });
        if let Some(item) = self.items.get_mut(at) {
            *item = json;
        }
    }

    fn write_item(&self, w: &mut Writer, item: Item, at: usize, status: &str) {
        let (prefix, kind, parts) = match item {
            Item::Message => ("msg", "message", "content"),
            Item::Reasoning => ("rs", "reasoning", "summary"),
        };
        w.fill(r#"{"id":?,"type":?"#, &[&self.id(prefix, at), kind]);
        if item == Item::Message {
            w.fill(r#""status":?,"role":"assistant""#, &[status]);
        }
        w.key(parts).begin_array();
        if !self.parts.is_empty() {
            w.raw(&self.parts);
        }
        w.end_array();
        write::text(w, "encrypted_content", self.sealed.as_deref());
        w.end_object();
    }

    fn write_call(&self, w: &mut Writer, call: &Call, status: &str) {
        let piece = r#"{"id":?,"type":"function_call","status":?,"call_id":?,"name":?,"arguments":?}"#;
        w.fill(piece, &[&self.id("fc", call.at), status, &call.id, &call.name, &call.arguments]);
    }
}

fn status(finish: Finish) -> &'static str {
    if ending(finish) == Ending::Completed { "completed" } else { "incomplete" }
}

fn ending(finish: Finish) -> Ending<'static> {
    match finish {
        Finish::Length => Ending::Incomplete("max_output_tokens"),
        Finish::ContentFilter => Ending::Incomplete("content_filter"),
        Finish::Stop | Finish::StopSequence | Finish::ToolCalls | Finish::Malformed => Ending::Completed,
    }
}

/// The end of an answer that the policy stopped, as event number `sequence`.
pub fn refused(context: &AnswerContext, sequence: u64, out: &mut Vec<u8>) {
    let mut w = begin("response.incomplete", sequence, out);
    w.key("response");
    write_response(&mut w, context, Ending::Incomplete("content_filter"), &super::echo(None));
    w.fill(r#""output":[],"usage":null}"#, &[]);
    end_event(w, out);
}

/// The event that says that the stream broke, as number `sequence`: flat as the API's types have it, and with the
/// `error` that SDKs raise.
pub fn stream_error(failure: &Failure, sequence: u64, out: &mut Vec<u8>) {
    let mut w = begin("error", sequence, out);
    let members = |w: &mut Writer| {
        w.member("message", &failure.message).key("param").opt(failure.param.as_deref());
        w.key("code").opt(failure.code.as_deref());
    };
    members(&mut w);
    w.fill(r#""error":{"type":?"#, &[&failure.kind]);
    members(&mut w);
    w.end_object();
    end_event(w, out);
}

fn begin(kind: &str, sequence: u64, out: &mut Vec<u8>) -> Writer {
    let mut w = write::begin_event(kind, out);
    w.key("sequence_number").u64(sequence);
    w
}
