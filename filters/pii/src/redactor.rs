//! Findings hidden in a stream as it passes.

use std::ops::Range;
use std::rc::Rc;

use crate::detect::CONTEXT;
use crate::json::Json;
use crate::tail::{Reach, TAILS, Tail};
use crate::text::{part, put};
use crate::{Action, Document, Escapes, Finding, Kind, Set, set};

/// Replaces every finding that is not only reported by its type or its digest, while a text streams by. Placeholders make
/// no sense here, since nobody would restore them.
///
/// Text is held back only from where a value may have begun: a word that may become an address, digits that
/// may become a number. The output is what the whole text at once would have given.
#[derive(Clone, Debug)]
pub struct Redactor {
    set: Rc<Set>,
    json: Option<Json>,
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
            json: None,
            held: String::new(),
            done: 0,
            covered: 0,
            open: [None; TAILS.len()],
            blocked: None,
            counts: Vec::new(),
        }
    }

    /// The text may be JSON, or surely is, such as the arguments of a tool's call, where it begins as an object or an array:
    /// what its escapes stand for is searched, no value reaches over its strings' ends, and it stays JSON: a number becomes a
    /// string, a fraction is a measure and stays.
    pub fn in_json(mut self, escapes: &'static Escapes, sure: bool) -> Self {
        self.json = Some(Json::new(escapes, sure));
        self
    }

    /// Takes the next piece of the text and appends all that is decided.
    pub fn push(&mut self, text: &str, out: &mut String) {
        self.take(text, false);
        self.advance(false, out);
    }

    /// The text ended: appends the rest.
    pub fn finish(&mut self, out: &mut String) {
        self.whole("", out);
    }

    /// A text that is there at once: the same as its pieces and their end, looked through once.
    pub fn whole(&mut self, text: &str, out: &mut String) {
        self.take(text, true);
        self.advance(true, out);
        self.held.clear();
        (self.done, self.covered, self.open) = (0, 0, [None; TAILS.len()]);
        if let Some(json) = &mut self.json {
            json.reset();
        }
    }

    fn take(&mut self, text: &str, last: bool) {
        match &mut self.json {
            Some(json) => json.read(text, last, &mut self.held),
            None => put(&mut self.held, text),
        }
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
        self.held.len() - self.done + self.json.as_ref().map_or(0, Json::unread)
    }

    fn advance(&mut self, last: bool, out: &mut String) {
        let known = self.extend(last);
        let mut hits = Vec::new();
        let done = 0..self.done;
        let ends = |at| self.json.as_ref().is_some_and(|json| json.ends(at));
        let held = Document { text: &self.held, without: std::slice::from_ref(&done), ends: &ends };
        let mut hold = self.set.scan(&held, last, &mut hits).min(known).max(self.done);
        if let Some(json) = &self.json {
            // Which number it is only its end says.
            let number = json.number(&self.held, hold);
            if !last && (number.end > hold || number.end == self.held.len()) {
                hold = number.start.max(self.done);
            }
            for hit in &mut hits {
                let number = json.number(&self.held, hit.range.start);
                match part(&self.held, number.clone()).bytes().filter(|byte| *byte == b'.').count() {
                    _ if number.end <= hit.range.start || number.start < self.done => {}
                    0 => {
                        hit.range = number.start..number.end.max(hit.range.end);
                        hit.decided = hit.decided.max(number.end);
                    }
                    // A measure.
                    1 if hit.range.end <= number.end => hit.range.start = hold,
                    _ => {}
                }
            }
        }
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
                self.tell(emitted..hit.range.start, None, out);
                let inside = hits.get(index + 1..).unwrap_or_default();
                let mut inside = inside.iter().take_while(|other| other.range.start < hit.decided);
                let mut digest = String::new();
                if hit.action == Action::Hash && !inside.any(|other| other.action > Action::Hash) {
                    self.set.digest(hit, &self.held, &mut digest);
                }
                let with = if digest.is_empty() { hit.kind.mask() } else { &digest };
                // How a value without a bound goes on is never told, and has no end of a string in it.
                self.tell(hit.range.start..hit.decided, Some(with), out);
            } else {
                // Strings may end in what it has more.
                self.tell(self.covered..hit.decided, Some(""), out);
            }
            self.covered = self.covered.max(hit.range.end);
            if let Some((tail, from)) = hit.open {
                self.reopen(tail, from);
            }
            emitted = self.covered;
        }
        self.tell(emitted..hold, None, out);
        self.done = hold;
        let mut drop = hold.saturating_sub(CONTEXT);
        while !self.held.is_char_boundary(drop) {
            drop -= 1;
        }
        self.held.drain(..drop);
        if let Some(json) = &mut self.json {
            json.drop(drop);
        }
        self.done -= drop;
        self.covered = self.covered.saturating_sub(drop);
        // Open ends are sought at the end of what is held, so nothing before them is dropped.
        self.open.iter_mut().flatten().for_each(|from| *from = from.saturating_sub(drop));
    }

    /// Appends a part of what is held, or what stands in its place.
    fn tell(&self, range: Range<usize>, with: Option<&str>, out: &mut String) {
        match &self.json {
            Some(json) => json.tell(&self.held, range, with, out),
            None => put(out, with.unwrap_or_else(|| part(&self.held, range))),
        }
    }

    /// Follows values without a bound into the text that came; returns up to where it is known whether they go on.
    fn extend(&mut self, last: bool) -> usize {
        let mut known = self.held.len();
        for tail in TAILS {
            let Some(from) = self.open.get_mut(tail as usize).and_then(Option::take) else { continue };
            let ends = |at| self.json.as_ref().is_some_and(|json| json.ends(at));
            match tail.reach(&self.held, from, last, &ends) {
                Reach::Ends(end) => self.covered = self.covered.max(end),
                Reach::Open(from) => {
                    self.covered = self.held.len();
                    self.reopen(tail, from);
                }
                Reach::Cut(from) => {
                    self.covered = self.covered.max(from);
                    known = known.min(from);
                    self.reopen(tail, from);
                }
            }
        }
        known
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
