//! An answer that is a stream: of server-sent events, or of AWS's frames.

use weir_dialects::hub::{Event, Finish, Usage};
use weir_dialects::openai_chat::{AnswerContext, Chunk, ECHO, Slot, StreamEncoder};
use weir_dialects::{anthropic, bedrock, openai_responses};
use weir_pii as pii;
use weir_sorted::Gather;
use weir_tokens::Counter;
use weir_wire::splice::Splices;
use weir_wire::{eventstream, sse};

use super::heard::Heard;
use super::{Cut, Facts, MAX_EVENT, Treatment, quoted, read_chunk_into, sealed, unquoted, without_tokens};
use crate::paths::Api;
use crate::seen::Seen;

mod text;
mod words;

use text::Text;
use words::{delta, emit, tell_failure};

/// Texts that are treated apart: choices times their slots. What a stream opens beyond that is not restored.
const MAX_TEXTS: usize = 256;

/// The reader. In a stream that nothing may change it only looks; else it hands out each event anew.
pub struct Stream {
    decoder: Framing,
    events: Events,
    /// What is told to the client is over.
    cut: bool,
}

enum Framing {
    Sse(sse::Decoder),
    Aws(eventstream::Decoder),
}

/// An event, whatever its frame.
struct Framed<'e> {
    name: Option<&'e [u8]>,
    data: &'e [u8],
    raw: &'e [u8],
}

struct Events {
    api: Api,
    treatment: Treatment,
    chunk: Chunk,
    /// By choice and slot; few, so that a search is a walk.
    texts: Vec<((u32, Slot), Text)>,
    id: String,
    model: String,
    tier: String,
    fingerprint: String,
    /// By choice.
    finish: Vec<(u32, String)>,
    usage: Option<Usage>,
    /// Of the texts, where no vocabulary counts them.
    bytes: u64,
    /// What the first event said of it; it is no bill.
    begun: Usage,
    /// Where the model said what the policy blocks.
    blocked_at: u32,
    done: bool,
    complete: bool,
    failed: bool,
    /// The model said what the policy blocks: nothing more is told, the rest is read for its usage.
    blocked: Option<pii::Kind>,
    /// The client has been told that the answer was filtered.
    told: bool,
    /// The last event with a choice: the form in which text that was held back to the end is told.
    template: Vec<u8>,
    /// Its name.
    template_name: Vec<u8>,
    /// What becomes of a piece of text, whose memory is used again.
    piece: String,
    /// The number of the next event, where events are numbered, and by how much those to come are shifted.
    sequence: u64,
    shift: u64,
    /// What the span shows.
    heard: Option<Box<Heard>>,
}

impl Stream {
    /// A reader.
    pub fn new(api: Api, treatment: Treatment) -> Self {
        let heard = treatment.shown.clone().map(|set| Box::new(Heard::new(set)));
        let events = Events {
            api,
            treatment,
            heard,
            chunk: Chunk::default(),
            texts: Vec::new(),
            id: String::new(),
            model: String::new(),
            tier: String::new(),
            fingerprint: String::new(),
            finish: Vec::new(),
            usage: None,
            bytes: 0,
            begun: Usage::default(),
            blocked_at: 0,
            done: false,
            complete: false,
            failed: false,
            blocked: None,
            told: false,
            template: Vec::new(),
            template_name: Vec::new(),
            piece: String::new(),
            sequence: 0,
            shift: 0,
        };
        let decoder = if api.aws() {
            Framing::Aws(eventstream::Decoder::new(MAX_EVENT))
        } else {
            Framing::Sse(sse::Decoder::new(MAX_EVENT))
        };
        Self { decoder, events, cut: false }
    }

    pub(super) fn changes(&self) -> bool {
        self.events.treatment.changes()
    }

    pub(super) fn complete(&self) -> bool {
        self.events.complete && !self.events.failed
    }

    pub(super) fn facts(&self) -> Facts {
        let e = &self.events;
        let mut facts = Facts {
            id: e.id.clone(),
            model: e.model.clone(),
            tier: e.tier.clone(),
            fingerprint: e.fingerprint.clone(),
            finish: e.finish.iter().map(|(_, word)| word.clone()).gather(),
            usage: e.usage,
            output: self.output(),
            counted: e.texts.len() < MAX_TEXTS,
            bytes: e.treatment.vocabulary.is_none(),
            blocked: e.blocked.map(|kind| kind.name()),
            found: Vec::new(),
        };
        e.texts.iter().for_each(|(_, text)| facts.count(text.found()));
        facts
    }

    pub(super) fn shown(&self) -> Option<(String, bool)> {
        let events = &self.events;
        let heard = events.heard.as_ref().filter(|heard| events.blocked.is_none() && !heard.is_empty());
        heard.map(|heard| heard.tell(events.api, &events.finish, self.complete()))
    }

    pub(super) fn remember(&self, seen: &mut Seen) {
        self.events.texts.iter().for_each(|(_, text)| text.remember(seen));
    }

    pub(super) fn output(&self) -> u64 {
        let counters = self.events.texts.iter().filter_map(|(_, text)| text.counter.as_ref());
        counters.map(Counter::total).sum::<u64>() + self.events.bytes
    }

    pub(super) fn end_early(&mut self, usage: Option<Usage>) -> Vec<u8> {
        let mut out = Vec::new();
        if !self.cut && !self.events.done {
            self.events.tell_end(usage, &mut out);
            self.cut = true;
        }
        out
    }

    /// Ends a stream that fell silent; nothing where its end was told already.
    pub(super) fn give_up(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        if !self.cut && !self.events.done && !self.events.told {
            let begun = match &mut self.decoder {
                Framing::Sse(decoder) => !decoder.finish().is_empty(),
                Framing::Aws(decoder) => decoder.finish().is_err(),
            };
            self.events.failed = true;
            if begun && !self.changes() {
                // The client has the beginning of an event. In a frame nothing else can be told.
                if self.events.api.aws() {
                    return out;
                }
                out.extend_from_slice(b"\n\n");
            }
            let message = "the provider fell silent in the middle of its answer: try again";
            tell_failure(self.events.api, self.events.sequence, 504, "provider_timeout", message, &mut out);
        }
        self.cut = true;
        out
    }

    pub(super) fn push(&mut self, chunk: &[u8], end: bool) -> Result<Option<Vec<u8>>, Cut> {
        let changes = self.changes();
        if self.cut {
            return Ok(changes.then(Vec::new));
        }
        let mut out = Vec::with_capacity(if changes { chunk.len() + 64 } else { 0 });
        let events = &mut self.events;
        let fits = match &mut self.decoder {
            Framing::Sse(decoder) => {
                decoder.push(chunk, &mut |event| events.sse(&event, changes, &mut out)).is_ok()
            }
            Framing::Aws(decoder) => {
                decoder.push(chunk, &mut |frame| events.frame(frame, changes, &mut out)).is_ok()
            }
        };
        if !fits {
            self.cut = true;
            events.failed = true;
            if !changes {
                return Ok(None);
            }
            let message = match events.api.aws() {
                true => "the provider's stream cannot be read",
                false => "the provider sent an event larger than 4 MiB",
            };
            tell_failure(events.api, events.sequence, 502, "event_too_large", message, &mut out);
            return Err(Cut { last: out });
        }
        if end {
            events.complete = events.done || !events.finish.is_empty();
            if events.treatment.watch.is_some() {
                events.texts.iter_mut().for_each(|(_, text)| text.watched());
            }
            if changes {
                events.flush_all(&mut out);
                let rest = match &mut self.decoder {
                    Framing::Sse(decoder) => decoder.finish(),
                    Framing::Aws(_) => Vec::new(),
                };
                if events.treatment.set.is_none() {
                    out.extend_from_slice(&rest);
                }
                events.tell_blocked(&mut out);
            }
        }
        Ok(changes.then_some(out))
    }
}

impl Events {
    fn sse(&mut self, event: &sse::Event<'_>, changes: bool, out: &mut Vec<u8>) {
        if event.has_data {
            self.event(&Framed { name: event.name, data: &event.data, raw: event.raw }, changes, out);
        } else if changes {
            out.extend_from_slice(event.raw);
        }
    }

    fn frame(&mut self, frame: eventstream::Frame<'_>, changes: bool, out: &mut Vec<u8>) {
        let name = frame.event_type().map(str::as_bytes);
        let inner = match self.api {
            Api::BedrockConverse => None,
            _ => Some(bedrock::invoke::payload(frame).unwrap_or_default()),
        };
        if frame.message_type() == Some("event") {
            let data = inner.as_deref().unwrap_or(frame.payload);
            self.event(&Framed { name, data, raw: frame.raw }, changes, out);
        } else {
            self.failed = true;
            if changes && self.blocked.is_none() {
                out.extend_from_slice(frame.raw);
            }
        }
    }

    fn event(&mut self, event: &Framed<'_>, changes: bool, out: &mut Vec<u8>) {
        let texts = self.treatment.set.is_some() && !self.api.aws();
        if let Some(data) = texts.then(|| without_tokens(event.data)).flatten() {
            let mut raw = Vec::with_capacity(data.len() + 32);
            emit(self.api, event.name, &data, &mut raw);
            return self.read_event(&Framed { name: event.name, data: &data, raw: &raw }, changes, out);
        }
        self.read_event(event, changes, out);
    }

    fn read_event(&mut self, event: &Framed<'_>, changes: bool, out: &mut Vec<u8>) {
        let mut chunk = std::mem::take(&mut self.chunk);
        let name = event.name.unwrap_or_default();
        let read = read_chunk_into(self.api, name, event.data, &mut chunk).is_ok();
        if read {
            self.learn(event.data, &chunk);
        }
        if changes && self.blocked.is_none() {
            if read {
                self.rewrite(event, &chunk, out);
            } else if self.treatment.set.is_none() || self.treatment.unsearched {
                out.extend_from_slice(event.raw);
            } else {
                // What cannot be read cannot be masked, and is not let through.
                self.failed = true;
            }
        }
        self.tell_blocked(out);
        self.chunk = chunk;
    }

    /// Ends a blocked answer as the client's API ends a filtered one.
    fn tell_blocked(&mut self, out: &mut Vec<u8>) {
        if self.blocked.is_none() || self.told {
            return;
        }
        self.told = true;
        if self.api == Api::BedrockConverse {
            bedrock::refused(Some(self.blocked_at), &self.begun, out);
            return;
        }
        if self.api.messages() {
            let mut end = Vec::new();
            anthropic::refused(Some(self.blocked_at), &self.begun, &mut end);
            if self.api.aws() {
                let mut reframe = bedrock::invoke::Reframe::new(true);
                reframe.push(&end, &mut Vec::new());
                end.clear();
                reframe.take(&mut end);
            }
            out.append(&mut end);
            return;
        }
        let context = AnswerContext { id: self.id.clone(), created: 0, model: self.model.clone() };
        if self.api == Api::OpenaiResponses {
            return openai_responses::refused(&context, self.sequence, out);
        }
        let mut encoder = StreamEncoder::new(&context, false);
        encoder.event(&Event::Finish { choice: 0, finish: Finish::ContentFilter }, out);
        encoder.event(&Event::Done, out);
    }

    /// Ends an answer as one that ran into its ceiling.
    fn tell_end(&mut self, usage: Option<Usage>, out: &mut Vec<u8>) {
        self.flush_all(out);
        self.tell_blocked(out);
        if self.told {
            return;
        }
        self.told = true;
        let context = AnswerContext { id: self.id.clone(), created: 0, model: self.model.clone() };
        let mut encoder = StreamEncoder::new(&context, usage.is_some());
        let mut told = None;
        for ((choice, _), _) in &self.texts {
            if told != Some(*choice) && !self.finish.iter().any(|(of, _)| of == choice) {
                encoder.event(&Event::Finish { choice: *choice, finish: Finish::Length }, out);
            }
            told = Some(*choice);
        }
        if let Some(usage) = usage {
            encoder.event(&Event::Usage(usage), out);
        }
        encoder.event(&Event::Done, out);
    }

    fn learn(&mut self, payload: &[u8], chunk: &Chunk) {
        self.done |= chunk.is_done;
        self.failed |= chunk.error;
        for (known, said) in [
            (&mut self.id, &chunk.id),
            (&mut self.model, &chunk.model),
            (&mut self.tier, &chunk.tier),
            (&mut self.fingerprint, &chunk.fingerprint),
        ] {
            if let Some(range) = said.as_ref().filter(|_| known.is_empty()) {
                *known = unquoted(payload, range.clone()).unwrap_or_default().into_owned();
            }
        }
        if let Some(begun) = chunk.begun {
            self.begun = begun;
        }
        if let Some(usage) = chunk.usage {
            self.usage = Some(usage.or_more(&self.begun));
        }
        for choice in &chunk.choices {
            if let Some(range) = &choice.finish_value
                && self.finish.len() < MAX_TEXTS
            {
                let reason = unquoted(payload, range.clone()).unwrap_or_default().into_owned();
                let at = self
                    .finish
                    .iter()
                    .position(|(index, _)| *index >= choice.index)
                    .unwrap_or(self.finish.len());
                match self.finish.get_mut(at).filter(|(index, _)| *index == choice.index) {
                    Some((_, known)) => *known = reason,
                    None => self.finish.insert(at, (choice.index, reason)),
                }
            }
        }
        let counts = self.treatment.vocabulary.is_some();
        if !counts {
            // As escaped, which is never shorter.
            self.bytes += chunk.texts.iter().map(|text| text.value.len() as u64).sum::<u64>();
        }
        if let Some(heard) = &mut self.heard {
            heard.hear(self.api, payload, chunk);
        }
        let watches = self.treatment.watch.is_some();
        if !counts && !watches && !self.treatment.texts() {
            return;
        }
        for text in &chunk.texts {
            let key = (text.choice, text.slot);
            let at = self.texts.iter().position(|(of, _)| *of >= key).unwrap_or(self.texts.len());
            if self.texts.get(at).is_none_or(|(of, _)| *of != key) {
                if self.texts.len() >= MAX_TEXTS {
                    continue;
                }
                self.texts.insert(at, (key, Text::new(&self.treatment, text.slot)));
            }
            if (counts || watches)
                && let Some((_, on_its_way)) = self.texts.get_mut(at)
                && let Some(piece) = unquoted(payload, text.value.clone())
            {
                on_its_way.count(&piece);
                if watches {
                    on_its_way.watch(&piece);
                }
            }
        }
    }

    /// Hands the event out with its texts treated and our usage hidden.
    fn rewrite(&mut self, event: &Framed<'_>, chunk: &Chunk, out: &mut Vec<u8>) {
        if let Some((_, number)) = &chunk.sequence {
            self.sequence = number.saturating_add(self.shift);
        }
        if chunk.is_done {
            self.flush_all(out);
            if self.blocked.is_some() {
                return;
            }
        }
        if self.treatment.hide_usage && chunk.is_usage_only() {
            return;
        }
        let payload = event.data;
        let mut edits = Splices::new();
        if self.treatment.hide_usage
            && let Some(range) = &chunk.usage_member
        {
            edits.replace(range.clone(), &[]);
        }
        if self.treatment.texts() {
            for text in chunk.texts.iter().filter(|text| !sealed(self.api, text.slot)) {
                let key = (text.choice, text.slot);
                let Some((_, on_its_way)) = self.texts.iter_mut().find(|(of, _)| *of == key) else {
                    continue;
                };
                let Some(piece) = unquoted(payload, text.value.clone()) else { continue };
                self.piece.clear();
                on_its_way.push(&piece, &mut self.piece);
                if self.blocked.is_none() {
                    self.blocked = on_its_way.blocked();
                    self.blocked_at = text.choice;
                }
                if self.piece != piece {
                    edits.replace(text.value.clone(), &quoted(&self.piece));
                }
            }
            if self.blocked.is_some() {
                return;
            }
            for choice in &chunk.choices {
                if choice.finish.is_some() {
                    self.flush(payload, chunk, Some(choice.index), out);
                }
            }
            for text in chunk.wholes.iter().filter(|text| !sealed(self.api, text.slot)) {
                let Some(value) = unquoted(payload, text.value.clone()) else { continue };
                // It repeats what came in pieces, which were counted.
                let mut counted = Facts::default();
                match self.treatment.whole(text.slot, text.choice == ECHO, &value, &mut counted) {
                    Ok(told) if told == value => {}
                    Ok(told) => edits.replace(text.value.clone(), &quoted(&told)),
                    Err(kind) => self.blocked = self.blocked.or(Some(kind)),
                }
            }
            if self.blocked.is_some() {
                return;
            }
            if !chunk.choices.is_empty() {
                self.template.clear();
                self.template.extend_from_slice(payload);
                self.template_name.clear();
                self.template_name.extend_from_slice(event.name.unwrap_or_default());
            }
        }
        if let Some((range, _)) = &chunk.sequence {
            if self.shift > 0 {
                edits.replace(range.clone(), self.sequence.to_string().as_bytes());
            }
            self.sequence += 1;
        }
        if edits.is_empty() {
            out.extend_from_slice(event.raw);
            return;
        }
        match edits.apply(payload) {
            Ok(edited) => emit(self.api, event.name, &edited, out),
            // Ranges that the reader gave cannot overlap; if they did, nothing unredacted may pass.
            Err(_) => self.failed = true,
        }
    }

    /// Tells what was held back of a choice's texts (or of all), in the form of `payload`.
    fn flush(&mut self, payload: &[u8], chunk: &Chunk, only: Option<u32>, out: &mut Vec<u8>) {
        for ((choice, slot), text) in &mut self.texts {
            if only.is_some_and(|c| c != *choice) {
                continue;
            }
            let rest = text.finish();
            self.blocked = self.blocked.or(text.blocked());
            if self.blocked.is_some() {
                self.blocked_at = *choice;
                return;
            }
            if rest.is_empty() {
                continue;
            }
            let Some(form) = chunk.choices.iter().find(|c| c.index == *choice) else { continue };
            if self.api == Api::OpenaiResponses {
                let event = openai_responses::text_event(payload, *slot, self.sequence, &quoted(&rest));
                if let Some((kind, event)) = event {
                    emit(self.api, Some(kind.as_bytes()), &event, out);
                    self.sequence += 1;
                    self.shift += 1;
                }
                continue;
            }
            let mut edits = Splices::new();
            edits.replace(form.delta.clone(), &delta(self.api, *choice, *slot, &quoted(&rest)));
            // In text completions the delta is the choice itself, its end included.
            if let Some(range) =
                form.finish_value.as_ref().filter(|r| r.start >= form.delta.end || r.end <= form.delta.start)
            {
                edits.replace(range.clone(), b"null");
            }
            if let Some(range) = &chunk.usage_member {
                edits.replace(range.clone(), &[]);
            }
            if let Ok(event) = edits.apply(payload) {
                let name: Option<&[u8]> = match self.api {
                    Api::BedrockConverse => Some(b"contentBlockDelta"),
                    api => api.anthropic().then_some(b"content_block_delta"),
                };
                emit(self.api, name, &event, out);
            }
        }
    }

    fn flush_all(&mut self, out: &mut Vec<u8>) {
        if self.template.is_empty() {
            return;
        }
        let template = std::mem::take(&mut self.template);
        let mut chunk = Chunk::default();
        let name = std::mem::take(&mut self.template_name);
        if read_chunk_into(self.api, &name, &template, &mut chunk).is_ok() {
            self.flush(&template, &chunk, None, out);
        }
    }
}
