//! Counts of a text that arrives in chunks: the exact total at any moment, equal to the count of the
//! joined text whatever the chunks, in memory that the text cannot make grow.

use std::fmt;

use crate::classes::Scan;
use crate::merge::Merger;
use crate::run::{LONGEST, Run};
use crate::split;
use crate::tables::Tables;
use crate::{Vocabulary, count_piece, count_text};

/// Counts a text that arrives in chunks.
///
/// Exact, with one reservation on pieces (words, symbol runs, white space) longer than 8 KiB: the merges
/// of BPE would have to carry the effect of a character further than 4 KiB to its left for the count to be
/// off by a token, and no text is known that carries it over a tenth of that.
#[derive(Clone)]
pub struct Counter {
    tables: &'static Tables,
    merger: Merger,
    settled: u64,
    /// The text from the first piece on that more text can change; behind an ended `run`, if there is one.
    pending: String,
    /// Length of `pending` from which on it is worth another look.
    patience: usize,
    run: Option<Run>,
    /// `pending` follows the run.
    ended: bool,
}

impl Counter {
    /// A counter that has seen no text.
    pub fn new(vocabulary: Vocabulary) -> Self {
        Self {
            tables: vocabulary.tables(),
            merger: Merger::default(),
            settled: 0,
            pending: String::new(),
            patience: 0,
            run: None,
            ended: false,
        }
    }

    /// Takes the next chunk; a chunk may end anywhere between two characters.
    pub fn push(&mut self, text: &str) {
        let used = match &mut self.run {
            Some(run) if !self.ended => run.take(self.tables, &mut self.merger, text),
            _ => 0,
        };
        let Some(rest) = text.get(used..).filter(|rest| !rest.is_empty()) else { return };
        self.ended = true;
        self.pending.push_str(rest);
        if self.run.is_some() || self.pending.len() >= self.patience {
            self.settle();
        }
    }

    /// Tokens that no later chunk can change (so at most [`total`](Self::total)). Free to read.
    pub fn settled(&self) -> u64 {
        self.settled
    }

    /// The exact count of the text so far, as if it ended here. Costs time in what is not settled: mostly the
    /// last word.
    pub fn total(&self) -> u64 {
        let merger = &mut Merger::default();
        let Some(run) = &self.run else {
            return self.settled + count_text(self.tables, merger, &self.pending);
        };
        if self.ended {
            let (contraction, rest) = contraction(run, &self.pending, &mut Scan::new(&self.pending));
            // Only a word waits here with text behind it, so nothing is carried over.
            let tokens = run.total(self.tables, merger, contraction.as_bytes());
            self.settled + tokens + count_text(self.tables, merger, rest)
        } else {
            self.settled + run.total(self.tables, merger, &[])
        }
    }

    /// Bytes of text that the counter holds; below 64 KiB however long the text, if its chunks are below 16 KiB.
    pub fn held(&self) -> usize {
        self.pending.len() + self.run.as_ref().map_or(0, Run::held)
    }

    /// Counts what is decided.
    fn settle(&mut self) {
        loop {
            if self.run.is_some() && !self.close() {
                return;
            }
            let at = self.count_decided();
            self.pending.drain(..at);
            self.patience = self.pending.len() + self.pending.len() / 8;
            if self.pending.len() <= LONGEST {
                return;
            }
            let mut run = Run::start(self.tables.rules, &self.pending);
            let used = run.take(self.tables, &mut self.merger, &self.pending);
            self.pending.drain(..used);
            self.ended = !self.pending.is_empty();
            self.run = Some(run);
            if !self.ended {
                return;
            }
        }
    }

    /// Counts the pieces whose end does not hang on the end of `pending`; returns where the first other begins.
    fn count_decided(&mut self) -> usize {
        let mut scan = Scan::new(&self.pending);
        let mut at = 0;
        while at < self.pending.len() {
            let end = split::piece(self.tables.rules, &mut scan, at).max(at + 1);
            if scan.met_end {
                break;
            }
            self.settled += count_piece(self.tables, &mut self.merger, self.pending.as_bytes(), at, end);
            at = end;
        }
        at
    }

    /// Counts the run that ended; false while it may yet get a contraction.
    fn close(&mut self) -> bool {
        let Some(run) = &self.run else { return true };
        let mut scan = Scan::new(&self.pending);
        let (contraction, rest) = contraction(run, &self.pending, &mut scan);
        if scan.met_end {
            return false;
        }
        let (tokens, carried) = run.close(self.tables, &mut self.merger, contraction.as_bytes());
        self.settled += tokens;
        self.pending = [str::from_utf8(carried).unwrap_or_default(), rest].concat();
        self.run = None;
        true
    }
}

/// Splits what follows a run into the contraction that belongs to it and the rest.
fn contraction<'a>(run: &Run, text: &'a str, scan: &mut Scan<'_>) -> (&'a str, &'a str) {
    let length = if run.may_contract() { split::contraction(scan, 0, true) } else { 0 };
    text.split_at_checked(length).unwrap_or(("", text))
}

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the text itself: it is a client's.
        let pending = self.pending.len();
        f.debug_struct("Counter")
            .field("settled", &self.settled)
            .field("pending", &pending)
            .finish_non_exhaustive()
    }
}
