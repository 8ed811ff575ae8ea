//! Rules compiled into what to look for, and matches merged into findings.

use std::cmp::Ordering;
use std::ops::Range;
use std::rc::Rc;

use weir_sorted::{Gather, sort_by};

use crate::detect::pass::Pass;
use crate::detect::pattern::Pattern;
use crate::detect::words::Words;
use crate::detect::{DETECTORS, Match};
use crate::tail::{Reach, Tail};
use crate::text::{part, put};
use crate::view::View;
use crate::{Action, Document, Finding, Key, Kind, Rule, UnknownType, Vault, Written, alone};

/// Bytes of the shortest value, but for addresses of hosts with zeros left out: `::1`.
const SHORTEST: usize = 6;

/// What to look for; built once per policy, shared by all requests.
#[derive(Clone, Debug, Default)]
pub struct Set {
    /// By kind, each once.
    detectors: Vec<(Kind, Action)>,
    /// What becomes of findings, by a detector's number.
    actions: Vec<Action>,
    pass: Rc<Pass>,
    words: Words,
    patterns: Vec<(Pattern, Action)>,
    key: Option<Key>,
}

impl Set {
    /// Compiles rules; of a type or word named twice the strictest action holds.
    pub fn new(rules: &[Rule]) -> Result<Self, UnknownType> {
        let mut set = Self::default();
        for rule in rules {
            for name in &rule.find {
                let kind = Kind::of(name).ok_or_else(|| UnknownType { name: name.clone() })?;
                match set.detectors.iter_mut().find(|(known, _)| *known == kind) {
                    Some((_, action)) => *action = (*action).max(rule.action),
                    None => set.detectors.push((kind, rule.action)),
                }
            }
            rule.words.iter().for_each(|word| set.words.add(word, rule.action));
        }
        sort_by(&mut set.detectors, Ord::cmp);
        let mut pass = Pass::default();
        set.actions = vec![Action::Report; DETECTORS.len()];
        for (kind, action) in &set.detectors {
            pass.add(kind.number());
            if let Some(slot) = set.actions.get_mut(usize::from(kind.number())) {
                *slot = *action;
            }
        }
        set.pass = Rc::new(pass);
        Ok(set)
    }

    /// With the tables of another set that looks for the same types: what both need is then in the processor's cache.
    pub fn beside(mut self, other: &Self) -> Self {
        let kinds = |set: &Self| -> Vec<Kind> { set.detectors.iter().map(|(kind, _)| *kind).gather() };
        if kinds(&self) == kinds(other) {
            self.pass = other.pass.clone();
        }
        self
    }

    /// With the key of digests; without one, what is to be hashed is masked.
    pub fn keyed(mut self, key: Option<Key>) -> Self {
        self.key = key;
        self
    }

    /// The edits that `findings` of `text` ask for, as [`crate::redact`], with digests for what is hashed.
    pub fn redact(&self, text: &str, findings: &[Finding], vault: &mut Vault) -> Vec<(Range<usize>, String)> {
        let mut edits = Vec::with_capacity(findings.len());
        for finding in findings {
            let mut with = String::new();
            if self.replacement(text, finding, vault, &mut with) {
                edits.push((finding.range.clone(), with));
            }
        }
        edits
    }

    /// Appends what is to stand in the place of a finding of `text`; false where it is only reported.
    pub fn replacement(&self, text: &str, finding: &Finding, vault: &mut Vault, out: &mut String) -> bool {
        match finding.action {
            Action::Report => return false,
            Action::Tokenize => {
                let value = part(text, finding.range.clone());
                vault.place(finding.kind, value, out);
            }
            Action::Hash => self.digest(finding, text, out),
            Action::Mask | Action::Block => put(out, finding.kind.mask()),
        }
        true
    }

    /// Adds a tenant's pattern, as the control plane lays it out; false where the bytes are none.
    #[must_use]
    pub fn add_pattern(&mut self, table: &[u8], action: Action) -> bool {
        let pattern = Pattern::new(table);
        self.patterns.extend(pattern.clone().map(|pattern| (pattern, action)));
        pattern.is_some()
    }

    /// Appends what stands in the place of a finding that is hashed.
    pub(crate) fn digest(&self, finding: &Finding, text: &str, out: &mut String) {
        let value = part(text, finding.range.start..finding.decided);
        match &self.key {
            Some(key) if !finding.endless => key.digest(finding.kind, value, out),
            _ => put(out, finding.kind.mask()),
        }
    }

    /// Whether what is found is only counted.
    pub fn reports_only(&self) -> bool {
        self.detectors.iter().all(|(_, action)| *action == Action::Report)
            && self.words.strictest() <= Action::Report
            && self.patterns.iter().all(|(_, action)| *action == Action::Report)
    }

    /// Whether nothing is looked for.
    pub fn is_empty(&self) -> bool {
        self.detectors.is_empty() && self.words.is_empty() && self.patterns.is_empty()
    }

    /// Bytes of the longest value that can be found: about what a [`crate::Redactor`] holds back at most.
    pub fn tail(&self) -> usize {
        let longest = |(kind, _): &(Kind, Action)| kind.detector().map_or(0, |detector| detector.longest);
        let patterns = self.patterns.iter().map(|(pattern, _)| pattern.longest());
        self.detectors.iter().map(longest).chain(patterns).max().unwrap_or(0).max(self.words.longest())
    }

    /// Whether a text may hold anything, told by its length. One that is written with escapes is longer than it is: it may be told
    /// by how it is written.
    pub fn may_find(&self, text: &str) -> bool {
        text.len() >= SHORTEST
            || text.as_bytes().windows(2).any(|two| two == b"::" || !two.is_ascii())
            || !self.words.is_empty()
            || !self.patterns.is_empty()
    }

    /// Appends all matches outside of some parts of the text, which are in order, and some that are not, in no order; returns the
    /// offset before which they are final, if the text goes on.
    pub(crate) fn scan(&self, document: &Document<'_>, last: bool, hits: &mut Vec<Finding>) -> usize {
        let text = document.text;
        let mut hold = text.len();
        if !self.words.is_empty() {
            hold = self.words.scan(text, last, hits);
        }
        if self.views() && (!last || self.may_find(text)) {
            let mut folded = Vec::new();
            hold = hold.min(self.look(
                &View::new(text, Some(last), &mut folded),
                &|| text,
                document,
                last,
                hits,
            ));
        }
        if last { text.len() } else { hold }
    }

    /// Appends all matches in a text that is written with escapes, in no order; tells whether it may be a number and nothing else.
    pub(crate) fn scan_written(&self, written: &Written<'_>, hits: &mut Vec<Finding>) -> bool {
        if !self.words.is_empty() {
            self.words.scan((written.text)(), true, hits);
        }
        let mut folded = Vec::new();
        let view = View::written(written.raw, written.escapes, &mut folded);
        if self.views() {
            self.look(&view, written.text, &Document::text(""), true, hits);
        }
        alone::may_be(view.bytes())
    }

    /// Whether there is something to look for in a view.
    fn views(&self) -> bool {
        !self.detectors.is_empty() || !self.patterns.is_empty()
    }

    /// What patterns match, all or only what codings are part of, or beside; returns where the text that goes on is not decided.
    #[inline(never)]
    fn patterned(&self, places: &mut Places<'_, '_>, coded: bool) -> usize {
        let view = places.view;
        let mut hold = view.length();
        for (pattern, action) in &self.patterns {
            let from = pattern.scan(view, places.last, &mut |found| {
                if !coded || view.around(found.start, found.end) {
                    places.add(Kind::PATTERN, *action, &found);
                }
            });
            hold = hold.min(view.start(from));
        }
        hold
    }

    fn look<'d>(
        &self,
        view: &View<'_>,
        text: Text<'d>,
        document: &Document<'d>,
        last: bool,
        hits: &mut Vec<Finding>,
    ) -> usize {
        let mut hold = view.length();
        let first = hits.len();
        let (ends, both) = (document.ends, view.decoded() && !self.patterns.is_empty());
        if both {
            // A tenant may mean what is written, and may mean what that stands for.
            let mut folded = Vec::new();
            let view = &View::new(text(), None, &mut folded);
            hold = hold.min(self.patterned(
                &mut Places { view, text, ends, last, tails: Vec::new(), hits, first, hold },
                false,
            ));
        }
        let mut places = Places { view, text, ends, last, tails: Vec::new(), hits, first, hold };
        hold = hold.min(self.patterned(&mut places, both));
        if !self.pass.is_empty() {
            let from = self.pass.scan(view, document.without, last, &mut |number, found| {
                let action = self.actions.get(usize::from(number)).copied();
                places.add(Kind::numbered(number), action.unwrap_or(Action::Report), &found);
            });
            hold = hold.min(view.start(from)).min(places.hold);
        }
        hold
    }
}

/// Tells a text, which few need to see.
type Text<'t> = &'t dyn Fn() -> &'t str;

/// Turns characters of a view into places of its text.
struct Places<'a, 't> {
    view: &'a View<'a>,
    text: Text<'t>,
    /// See [`Document::ends`].
    ends: &'t dyn Fn(usize) -> bool,
    last: bool,
    /// The last tail of each kind: where it began and how far it goes. Whatever begins inside ends there too,
    /// so that no part of a text is walked over once per value.
    tails: Vec<(Tail, usize, Reach)>,
    hits: &'a mut Vec<Finding>,
    /// Those before are others'.
    first: usize,
    /// Behind which a tail may end, which only what follows says.
    hold: usize,
}

impl Places<'_, '_> {
    fn add(&mut self, kind: Kind, action: Action, found: &Match) {
        let mut range = self.view.start(found.start)..self.view.end(found.end);
        let (decided, mut open) = (range.end, None);
        if let Some(tail) = found.tail {
            match self.reach(tail, range.end) {
                Reach::Ends(end) => range.end = end,
                Reach::Open(from) => {
                    range.end = self.view.length();
                    open = Some((tail, from));
                }
                Reach::Cut(from) => {
                    (range.end, self.hold) = (from, self.hold.min(from));
                    open = Some((tail, from));
                }
            }
        }
        let endless = found.tail.is_some();
        self.hits.push(Finding { kind, range, action, decided, endless, open });
        // Nearly in order as they come: of what is so, sorting sees no more than that it is.
        let mut near = self.hits.get_mut(self.first..).unwrap_or_default();
        for _ in 1..NEAR {
            match near {
                [.., one, other] if order(one, other) == Ordering::Greater => std::mem::swap(one, other),
                _ => break,
            }
            near = near.split_last_mut().map(|(_, rest)| rest).unwrap_or_default();
        }
    }

    fn reach(&mut self, tail: Tail, from: usize) -> Reach {
        if let Some((_, start, reach)) = self.tails.iter().find(|(of, _, _)| *of == tail) {
            let (Reach::Ends(end) | Reach::Open(end) | Reach::Cut(end)) = reach;
            if from >= *start && from < *end {
                return *reach;
            }
        }
        let reach = tail.reach((self.text)(), from, self.last, self.ends);
        self.tails.retain(|(of, _, _)| *of != tail);
        self.tails.push((tail, from, reach));
        reach
    }
}

/// Places by which a match may come too late to be put where it belongs at once.
const NEAR: usize = 8;

/// Sorts matches so that the first of several that overlap names them all: by start, the longest first.
pub(crate) fn sort(hits: &mut [Finding]) {
    sort_by(hits, order);
}

/// Once in the module.
#[inline(always)]
fn order(a: &Finding, b: &Finding) -> Ordering {
    a.range.start.cmp(&b.range.start).then(b.decided.cmp(&a.decided)).then(a.kind.cmp(&b.kind))
}

/// Merges the matches from `first` on into findings; see [`crate::find`].
pub(crate) fn merge(all: &mut Vec<Finding>, first: usize) {
    let hits = all.get_mut(first..).unwrap_or_default();
    if hits.is_empty() {
        return;
    }
    sort(hits);
    // Findings up to `end`; where the one is that is being extended.
    let (mut end, mut open) = (0, None);
    for at in 0..hits.len() {
        let Some((before, [hit, ..])) = hits.split_at_mut_checked(at) else { break };
        let extended = open.and_then(|index: usize| before.get_mut(index));
        match extended.filter(|open| hit.range.start < open.range.end) {
            _ if hit.action == Action::Report => {}
            Some(open) => {
                open.range.end = open.range.end.max(hit.range.end);
                // Beyond what is digested nothing makes it a mask: in a stream it is out by then.
                if open.action != Action::Hash
                    || hit.range.start < open.decided
                    || hit.action == Action::Block
                {
                    open.action = open.action.max(hit.action);
                }
                if open.kind == hit.kind {
                    continue;
                }
                hit.action = Action::Report;
            }
            None => open = Some(end),
        }
        if end < at {
            hits.swap(end, at);
        }
        end += 1;
    }
    all.truncate(first + end);
    debug_assert!(all.get(first..).is_some_and(|new| new.is_sorted_by_key(|finding| finding.range.start)));
    debug_assert!(DETECTORS.len() < usize::from(u8::MAX));
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    /// Every text of so many of the letters.
    fn each(letters: &[char], most: usize, text: &mut String, told: &mut dyn FnMut(&str)) {
        told(text);
        if most == 0 {
            return;
        }
        for letter in letters {
            text.push(*letter);
            each(letters, most - 1, text, told);
            text.pop();
        }
    }

    #[test]
    fn what_is_too_short_for_any_value_holds_none() {
        let all = DETECTORS.iter().map(|detector| detector.id.to_owned()).collect();
        let set = Set::new(&[Rule { find: all, words: Vec::new(), action: Action::Mask }]).unwrap();
        let mut passed = 0;
        let mut told = |text: &str| {
            let mut hits = Vec::new();
            set.look(
                &View::new(text, Some(true), &mut Vec::new()),
                &|| text,
                &Document::text(text),
                true,
                &mut hits,
            );
            assert!(hits.is_empty() || set.may_find(text), "{text:?} {hits:?}");
            passed += usize::from(!set.may_find(text));
        };
        each(&(' '..='~').collect::<Vec<_>>(), 2, &mut String::new(), &mut told);
        let signs = ['1', '9', 'a', 'G', '@', '.', ':', '-', '/', ' ', '\u{ff1a}', '\u{661}', '\n'];
        each(&signs, 4, &mut String::new(), &mut told);
        each(&['1', 'c', 'o', '@', '.', ':', '=', '-', '+'], 5, &mut String::new(), &mut told);
        assert!(passed > 60_000, "{passed}");
        // The shortest values that there are.
        for text in ["::1", "a@b.co", "\u{ff1a}:1", "age 12"] {
            assert!(set.may_find(text), "{text}");
        }
    }

    #[test]
    fn parts_that_somebody_else_searches_hide_nothing_elsewhere() {
        let all: Vec<String> = DETECTORS.iter().map(|detector| detector.id.to_owned()).collect();
        let set = Set::new(&[Rule { find: all, words: Vec::new(), action: Action::Mask }]).unwrap();
        let pieces = [
            "a@b.co",
            "415-555-1234",
            " 10.1.2.3",
            "::1",
            "age: 12 ",
            "ssn 078-05-1120",
            "4111 1111 1111 1111",
            " ",
            "password=hunter2Rtx9",
            "DE89 3702 0044 0532 0130 00",
            "\"",
            "\\n",
            "p\u{e9}",
            "\u{200b}",
            "+49 30 1234567",
            "sk-ant-api03-0123456789abcdefghijklmnopqrstuv",
            "https://a:b@c.de/x",
            "x",
            "7",
            "AB 12 34 56 C",
        ];
        let mut number = crate::text::tests::random(7);
        let mut outside = 0;
        for _ in 0..4000 {
            let mut text = String::new();
            (0..number(40)).for_each(|_| text.push_str(pieces.get(number(pieces.len())).unwrap()));
            let mut ends: Vec<usize> = (0..2 * number(5)).map(|_| number(text.len() + 1)).collect();
            ends.retain(|end| text.is_char_boundary(*end));
            ends.sort_unstable();
            let parts: Vec<Range<usize>> =
                ends.as_chunks().0.iter().map(|[start, end]| *start..*end).collect();
            let of = |parts: &[Range<usize>]| {
                let mut hits = Vec::new();
                set.scan(&Document { without: parts, ..Document::text(&text) }, true, &mut hits);
                hits.sort_by(order);
                hits
            };
            let elsewhere = |hit: &Finding| {
                parts.iter().all(|part| hit.range.end <= part.start || part.end <= hit.range.start)
            };
            let expected: Vec<Finding> = of(&[]).into_iter().filter(elsewhere).collect();
            let found: Vec<Finding> = of(&parts).into_iter().filter(elsewhere).collect();
            assert_eq!(found, expected, "{text:?} {parts:?}");
            outside += found.len();
        }
        assert!(outside > 10_000, "{outside}");
    }
}
