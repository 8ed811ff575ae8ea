//! One text of a streamed answer on its way to the client: masked, restored and counted piece by piece.

use weir_dialects::openai_chat::Slot;
use weir_pii as pii;
use weir_tokens::{Counter, Vocabulary};

use crate::answer::{Treatment, restorer};

/// One text of the answer, on its way.
pub(super) struct Text {
    redactor: Option<pii::Redactor>,
    restorer: Option<pii::Restorer>,
    pub(super) counter: Option<Counter>,
}

impl Text {
    pub(super) fn new(treatment: &Treatment, slot: Slot) -> Self {
        Self {
            redactor: treatment.set.clone().map(pii::Redactor::new),
            restorer: treatment.vault.as_ref().map(|v| restorer(v, slot)),
            counter: treatment.vocabulary.map(|v: Vocabulary| Counter::new(v)),
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
