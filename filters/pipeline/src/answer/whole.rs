//! An answer that is one JSON document.

use weir_sorted::Gather;
use weir_wire::json::{self, Limits};
use weir_wire::splice::Splices;

use super::{Cut, Facts, MAX_WHOLE, Treatment, quoted, sealed, without_tokens};
use crate::content;
use crate::paths::Api;
use crate::seen::{MIN, Seen};
use weir_dialects::openai_chat::{ECHO, read_answer};
use weir_dialects::{anthropic, bedrock, openai_responses};

/// Bytes of texts that are counted for the next turn; more wait until it comes.
const REMEMBERED: usize = 16 << 10;

/// The reader. It keeps a copy to read at the end; where something may change it keeps the bytes themselves.
pub struct Whole {
    api: Api,
    treatment: Treatment,
    body: Vec<u8>,
    /// Too large to be read: passed on, unless it would have to be changed.
    skipped: bool,
    complete: bool,
    /// The host keeps its pieces.
    kept: bool,
    /// It was no JSON.
    unread: bool,
    facts: Facts,
    /// Texts that the next turn may bring back.
    said: Vec<String>,
    /// What the span shows of it.
    shown: Option<(String, bool)>,
}

impl Whole {
    /// A reader.
    pub fn new(api: Api, treatment: Treatment) -> Self {
        Self {
            api,
            treatment,
            body: Vec::new(),
            skipped: false,
            complete: false,
            kept: false,
            unread: false,
            facts: Facts::default(),
            said: Vec::new(),
            shown: None,
        }
    }

    pub(super) fn shown(&self) -> Option<(String, bool)> {
        self.shown.clone().filter(|_| self.facts.blocked.is_none())
    }

    pub(super) fn changes(&self) -> bool {
        self.treatment.texts()
    }

    pub(super) fn keep(&mut self, kept: bool) -> bool {
        self.kept = kept && self.changes();
        self.kept
    }

    pub(super) fn complete(&self) -> bool {
        self.complete
    }

    pub(super) fn facts(&self) -> Facts {
        self.facts.clone()
    }

    pub(super) fn remember(&self, seen: &mut Seen) {
        if let Some(vocabulary) = self.treatment.vocabulary {
            for text in &self.said {
                seen.count(vocabulary.number(), text, |text| weir_tokens::count(vocabulary, text));
            }
        }
    }

    pub(super) fn push(&mut self, chunk: &[u8], end: bool) -> Result<Option<Vec<u8>>, Cut> {
        self.complete |= end;
        if self.body.len() + chunk.len() > MAX_WHOLE {
            self.skipped = true;
            let mut held = std::mem::take(&mut self.body);
            held.extend_from_slice(chunk);
            // What cannot be read cannot be restored or masked either, and is let through only if the policy says so.
            return match self.changes() {
                true if self.treatment.unsearched => Ok(Some(held)),
                true => Err(Cut { last: Vec::new() }),
                false => Ok(None),
            };
        }
        if self.skipped {
            let passes = self.treatment.unsearched;
            return Ok(self.changes().then(|| if passes { chunk.to_vec() } else { Vec::new() }));
        }
        let alone = self.body.is_empty();
        self.body.extend_from_slice(chunk);
        if !end {
            return Ok(self.changes().then(Vec::new));
        }
        let mut body = std::mem::take(&mut self.body);
        // As it came, where the host has all of it and nothing in it changes.
        let mut same = alone || self.kept;
        if self.treatment.set.is_some()
            && let Some(without) = without_tokens(&body)
        {
            (body, same) = (without, false);
        }
        let mut edits = self.read(&body);
        if !self.changes() {
            return Ok(None);
        }
        if self.unread && self.treatment.set.is_some() && !self.treatment.unsearched {
            // What cannot be read cannot be masked, and is not let through.
            return Err(Cut { last: Vec::new() });
        }
        if same && edits.is_empty() {
            return Ok(None);
        }
        Ok(Some(edits.apply(&body).unwrap_or_default()))
    }

    fn read(&mut self, body: &[u8]) -> Splices {
        let mut edits = Splices::new();
        let Ok(doc) = json::parse(body, &Limits::default()) else {
            self.unread = true;
            return edits;
        };
        let answer = match self.api {
            Api::BedrockConverse => bedrock::read_answer(&doc),
            Api::BedrockModel => bedrock::read_any(&doc),
            Api::OpenaiResponses => openai_responses::read_answer(&doc),
            api if api.messages() => anthropic::read_answer(&doc),
            _ => read_answer(&doc),
        };
        self.facts.id = answer.id.as_deref().unwrap_or_default().to_owned();
        self.facts.model = answer.model.as_deref().unwrap_or_default().to_owned();
        let root = doc.root();
        let said = |value: Option<json::Value<'_, '_>>| {
            value.and_then(|value| value.as_str()).unwrap_or_default().into_owned()
        };
        // Anthropic says it beside the tokens.
        let beside = || root.get("usage").and_then(|usage| usage.get("service_tier"));
        self.facts.tier = said(root.get("service_tier").or_else(beside));
        self.facts.fingerprint = said(root.get("system_fingerprint"));
        self.facts.usage = answer.usage;
        self.facts.finish = answer.finishes.iter().map(|(_, word)| word.as_ref().to_owned()).gather();
        if let Some(set) = &self.treatment.shown {
            self.shown = Some(content::answer(root, &self.facts.finish, set));
        }
        self.facts.counted = true;
        self.facts.bytes = self.treatment.vocabulary.is_none();
        let mut room = REMEMBERED;
        for text in &answer.texts {
            // A tool's input is JSON of the answer itself, its arguments are JSON in a string.
            let string = text.value.as_str();
            let json = matches!(text.value.kind(), json::Kind::Array | json::Kind::Object);
            let value = string.as_deref().unwrap_or(text.value.json());
            let echo = text.choice == ECHO;
            if self.treatment.key.is_some() && !echo && (MIN..=room).contains(&value.len()) {
                room -= value.len();
                self.said.push(value.to_string());
            }
            if answer.usage.is_none() && !echo {
                let bytes = value.len() as u64;
                let counted = self.treatment.vocabulary.map(|v| weir_tokens::count(v, value));
                self.facts.output += counted.unwrap_or(bytes);
            }
            let treated = self.treatment.texts() || self.treatment.watch.is_some();
            if !treated || sealed(self.api, text.slot) {
                continue;
            }
            match self.treatment.whole(text.slot, echo, value, &mut self.facts) {
                Ok(out) if out == value => {}
                Ok(out) if json => edits.replace(text.value.range(), out.as_bytes()),
                Ok(out) => edits.replace(text.value.range(), &quoted(&out)),
                Err(kind) => {
                    // As OpenAI tells a filtered answer: no text, and the reason why.
                    self.facts.blocked = Some(kind.name());
                    edits.replace(text.value.range(), if json { b"{}" } else { b"\"\"" });
                }
            }
        }
        let converse = self.api == Api::BedrockConverse;
        if self.facts.blocked.is_some() && (self.api.messages() || converse) {
            let (key, word): (_, &[u8]) = if converse {
                ("stopReason", b"\"content_filtered\"")
            } else {
                ("stop_reason", b"\"refusal\"")
            };
            if let Some(reason) = doc.root().get(key) {
                edits.replace(reason.range(), word);
            }
        } else if self.facts.blocked.is_some() && self.api == Api::OpenaiResponses {
            let words: [(&str, &[u8]); 2] =
                [("status", b"\"incomplete\""), ("incomplete_details", b"{\"reason\":\"content_filter\"}")];
            for (key, word) in words {
                if let Some(value) = doc.root().get(key) {
                    edits.replace(value.range(), word);
                }
            }
        } else if self.facts.blocked.is_some()
            && let Some(choices) = doc.root().get("choices")
        {
            for reason in choices.items().filter_map(|choice| choice.get("finish_reason")) {
                edits.replace(reason.range(), b"\"content_filter\"");
            }
        }
        edits
    }
}
