//! One text of a streamed answer on its way to the client: masked, restored and counted piece by piece.

use weir_dialects::openai_chat::Slot;
use weir_pii as pii;
use weir_sorted::SipHash;
use weir_tokens::{Counter, Vocabulary};

use crate::answer::{Treatment, restorer};
use crate::seen::Seen;

/// Bytes within which a counter is exact whatever it is given, as [`Counter`] says.
const EXACT: usize = 8192;

/// One text of the answer, on its way.
pub(super) struct Text {
    redactor: Option<pii::Redactor>,
    /// What the redactor finds is only counted.
    watches: bool,
    restorer: Option<pii::Restorer>,
    pub(super) counter: Option<Counter>,
    /// What its count is remembered by.
    key: Option<SipHash>,
}

impl Text {
    pub(super) fn new(treatment: &Treatment, slot: Slot) -> Self {
        Self {
            redactor: treatment.redactor(slot),
            watches: treatment.set.is_none(),
            restorer: treatment.vault.as_ref().map(|v| restorer(v, slot)),
            counter: treatment.vocabulary.map(|v: Vocabulary| Counter::new(v)),
            key: treatment.key.clone(),
        }
    }

    /// Findings by type.
    pub(super) fn found(&self) -> &[(pii::Kind, u64)] {
        self.redactor.as_ref().map(pii::Redactor::counts).unwrap_or_default()
    }

    /// Looks at a piece that goes on as it is.
    pub(super) fn watch(&mut self, piece: &str) {
        if let Some(redactor) = &mut self.redactor {
            redactor.push(piece, &mut String::new());
        }
    }

    /// The text that was looked at ended.
    pub(super) fn watched(&mut self) {
        if let Some(redactor) = &mut self.redactor {
            redactor.finish(&mut String::new());
        }
    }

    /// Counts what the model said.
    pub(super) fn count(&mut self, piece: &str) {
        let Some(counter) = &mut self.counter else { return };
        if counter.held() + piece.len() > EXACT {
            self.key = None;
        }
        if let Some(key) = &mut self.key {
            key.push(piece.as_bytes());
        }
        counter.push(piece);
    }

    pub(super) fn remember(&self, seen: &mut Seen) {
        if let (Some(counter), Some(key)) = (&self.counter, &self.key) {
            seen.learn(key, counter.total());
        }
    }

    /// First the model's own words are masked, then the client's own values come back: appended to `out`.
    pub(super) fn push(&mut self, piece: &str, out: &mut String) {
        let redactor = self.redactor.as_mut().filter(|_| !self.watches);
        match (redactor, &mut self.restorer) {
            (Some(redactor), Some(restorer)) => {
                let mut masked = String::new();
                redactor.push(piece, &mut masked);
                restorer.push(&masked, out);
            }
            (Some(redactor), None) => redactor.push(piece, out),
            (None, Some(restorer)) => restorer.push(piece, out),
            (None, None) => out.push_str(piece),
        }
    }

    pub(super) fn blocked(&self) -> Option<pii::Kind> {
        self.redactor.as_ref().and_then(pii::Redactor::blocked)
    }

    pub(super) fn finish(&mut self) -> String {
        let mut rest = String::new();
        if let Some(redactor) = self.redactor.as_mut().filter(|_| !self.watches) {
            redactor.finish(&mut rest);
        }
        match &mut self.restorer {
            Some(restorer) => {
                let mut out = String::new();
                restorer.push(&rest, &mut out);
                restorer.finish(&mut out);
                out
            }
            None => rest,
        }
    }
}
