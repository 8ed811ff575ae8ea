//! Findings hidden in a stream as it passes.

use std::rc::Rc;

use crate::detect::CONTEXT;
use crate::tail::{Reach, TAILS, Tail};
use crate::{Action, Document, Finding, Kind, Set, set};

/// Replaces every finding that is not only reported by its type or its digest, while a text streams by. Placeholders make
/// no sense here, since nobody would restore them.
///
/// Text is held back only from where a value may have begun: a word that may become an address, digits that
/// may become a number. The output is what the whole text at once would have given.
#[derive(Clone, Debug)]
pub struct Redactor {
    set: Rc<Set>,
    /// What was emitted last, as context for detectors, and what is not decided yet.
    held: String,
    /// How much of `held` was emitted.
    done: usize,
    /// Up to where in `held` a finding reaches whose type was emitted already.
    covered: usize,
    /// Findings that reach over the end of `held`: of each kind of tail, from where their end is to be sought.
    open: [Option<usize>; TAILS.len()],
    blocked: Option<Kind>,
    counts: Vec<(Kind, u64)>,
}

impl Redactor {
    /// At the start of a text.
    pub fn new(set: Rc<Set>) -> Self {
        Self {
            set,
            held: String::new(),
            done: 0,
            covered: 0,
            open: [None; TAILS.len()],
            blocked: None,
            counts: Vec::new(),
        }
    }

    /// Takes the next piece of the text and appends all that is decided.
    pub fn push(&mut self, text: &str, out: &mut String) {
        self.held.push_str(text);
        self.advance(false, out);
    }

    /// The text ended: appends the rest.
    pub fn finish(&mut self, out: &mut String) {
        self.advance(true, out);
        self.held.clear();
        (self.done, self.covered, self.open) = (0, 0, [None; TAILS.len()]);
    }

    /// A text that is there at once: the same as its pieces and their end, looked through once.
    pub fn whole(&mut self, text: &str, out: &mut String) {
        self.held.push_str(text);
        self.finish(out);
    }

    /// The first kind found that is to be blocked. Its value was masked, like any other.
    pub fn blocked(&self) -> Option<Kind> {
        self.blocked
    }

    /// Matches so far by kind, reported ones included; overlapping ones count each.
    pub fn counts(&self) -> &[(Kind, u64)] {
        &self.counts
    }

    /// Bytes not yet emitted.
    pub fn held(&self) -> usize {
        self.held.len() - self.done
    }

    fn advance(&mut self, last: bool, out: &mut String) {
        self.extend(last);
        let mut hits = Vec::new();
        let done = 0..self.done;
        let held = Document { without: std::slice::from_ref(&done), ..Document::text(&self.held) };
        let mut hold = self.set.scan(&held, last, &mut hits).max(self.done);
        hits.retain(|hit| hit.range.start >= self.done && hit.range.start < hold);
        set::sort(&mut hits);
        // A digest waits until it is known that nothing stricter begins inside the value.
        let waits = |hit: &&Finding| hit.action == Action::Hash && hit.decided > hold;
        if let Some(hit) = hits.iter().find(waits) {
            hold = hit.range.start;
            hits.retain(|hit| hit.range.start < hold);
        }
        let mut emitted = self.done.max(self.covered);
        for (index, hit) in hits.iter().enumerate() {
            self.count(hit);
            if hit.action == Action::Report {
                continue;
            }
            if hit.range.start >= self.covered {
                out.push_str(self.held.get(emitted..hit.range.start).unwrap_or_default());
                let inside = hits.get(index + 1..).unwrap_or_default();
                let mut inside = inside.iter().take_while(|other| other.range.start < hit.decided);
                if hit.action == Action::Hash && !inside.any(|other| other.action > Action::Hash) {
                    self.set.digest(hit, &self.held, out);
                } else {
                    out.push_str(hit.kind.mask());
                }
            }
            self.covered = self.covered.max(hit.range.end);
            if let Some((tail, from)) = hit.open {
                self.reopen(tail, from);
            }
            emitted = self.covered;
        }
        out.push_str(self.held.get(emitted..hold).unwrap_or_default());
        self.done = hold;
        let mut drop = hold.saturating_sub(CONTEXT);
        while !self.held.is_char_boundary(drop) {
            drop -= 1;
        }
        self.held.drain(..drop);
        self.done -= drop;
        self.covered = self.covered.saturating_sub(drop);
        // Open ends are sought at the end of what is held, so nothing before them is dropped.
        self.open.iter_mut().flatten().for_each(|from| *from = from.saturating_sub(drop));
    }

    /// Follows values without a bound into the text that came.
    fn extend(&mut self, last: bool) {
        for tail in TAILS {
            let Some(from) = self.open.get_mut(tail as usize).and_then(Option::take) else { continue };
            match tail.reach(&self.held, from, last, &|_| false) {
                Reach::Ends(end) => self.covered = self.covered.max(end),
                Reach::Open(from) => {
                    self.covered = self.held.len();
                    self.reopen(tail, from);
                }
            }
        }
    }

    fn reopen(&mut self, tail: Tail, from: usize) {
        if let Some(open) = self.open.get_mut(tail as usize) {
            *open = Some(open.map_or(from, |known| known.min(from)));
        }
    }

    fn count(&mut self, hit: &Finding) {
        if hit.action == Action::Block && self.blocked.is_none() {
            self.blocked = Some(hit.kind);
        }
        match self.counts.iter_mut().find(|(kind, _)| *kind == hit.kind) {
            Some((_, count)) => *count += 1,
            None => self.counts.push((hit.kind, 1)),
        }
    }
}
