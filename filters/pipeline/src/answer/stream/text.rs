//! One text of a streamed answer on its way to the client: masked, restored and counted piece by piece.

use weir_dialects::openai_chat::Slot;
use weir_pii as pii;
use weir_tokens::{Counter, Vocabulary};

use crate::answer::{Treatment, restorer};
use crate::seen::{Key, Seen};

/// Bytes within which a counter is exact whatever it is given, as [`Counter`] says.
const EXACT: usize = 8192;

/// One text of the answer, on its way.
pub(super) struct Text {
    redactor: Option<pii::Redactor>,
    restorer: Option<pii::Restorer>,
    pub(super) counter: Option<Counter>,
    /// What its count is remembered by.
    key: Option<Key>,
}

impl Text {
    pub(super) fn new(treatment: &Treatment, slot: Slot) -> Self {
        Self {
            redactor: treatment.set.clone().map(pii::Redactor::new),
            restorer: treatment.vault.as_ref().map(|v| restorer(v, slot)),
            counter: treatment.vocabulary.map(|v: Vocabulary| Counter::new(v)),
            key: treatment.key.clone(),
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

    /// First the model's own words are masked, then the client's own values come back.
    pub(super) fn push(&mut self, piece: &str) -> String {
        let masked = match &mut self.redactor {
            Some(redactor) => {
                let mut out = String::new();
                redactor.push(piece, &mut out);
                out
            }
            None => piece.to_owned(),
        };
        match &mut self.restorer {
            Some(restorer) => {
                let mut out = String::new();
                restorer.push(&masked, &mut out);
                out
            }
            None => masked,
        }
    }

    pub(super) fn blocked(&self) -> Option<pii::Kind> {
        self.redactor.as_ref().and_then(pii::Redactor::blocked)
    }

    pub(super) fn finish(&mut self) -> String {
        let mut rest = String::new();
        if let Some(redactor) = &mut self.redactor {
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
