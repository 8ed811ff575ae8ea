//! The one pass over a view that finds where values may begin: at words with a digit, at those whose first four
//! characters are a beginning that some detector named, at `@`, and behind signs of assignment. What characters are is told
//! for 64 of them together; in prose nearly all of them are done with that. Detectors are asked only at the rest.

use std::ops::Range;

use super::ask::{Ask, AskWord, Digits, Pair, Word};
use super::check::same;
use super::context::{Context, Seen, Vocabulary};
use super::marks::{Known, Marks};
use super::numbers::{SHORT, joined, lone};
use super::openers::Openers;
use super::prefix::Prefixes;
use super::row::Rows;
use super::series::NINE;
use super::signs::{Bits, Signs};
use super::warm::WORTH;
use super::{DETECTORS, Match, Scan, Verdict};
use crate::class::{HEXADECIMAL, WORD, class};
use crate::view::View;

/// Characters after a sign of assignment in which the assigned word begins.
const ASSIGNED: usize = 8;
/// What may stand between a name and its value.
pub(super) const BETWEEN: &[u8] = b"=: \"'`\t>\\!#%*@^~$-";

/// Whether a character may; by a bit for each.
pub(super) fn between(byte: u8) -> bool {
    const BITS: u128 = {
        let (mut bits, mut left) = (0, BETWEEN);
        while let [byte, rest @ ..] = left {
            (bits, left) = (bits | 1 << *byte, rest);
        }
        bits
    };
    let [low, high] = [BITS as u64, (BITS >> 64) as u64];
    byte < 128 && (if byte < 64 { low } else { high }) >> (byte & 63) & 1 != 0
}

/// What is looked for at words.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pass {
    rows: Rows,
    prefixes: Prefixes,
    asked: Vec<(Ask, u8)>,
    /// Which of them to ask at a word, by what it consists of (0: its end is not known); eight times, since words stand
    /// behind signs of assignment or do not, are lone numbers or are not, and begin with a digit or do not.
    asks: Vec<u8>,
    /// The same by the word's length, up to fifteen.
    lengths: [u8; 16],
    /// The same by the character before it, by the one before a space before it, and by the one behind it.
    beside: Vec<[u8; 3]>,
    /// Those that are asked only near their words.
    near: u8,
    digits: Vec<(Digits, u8)>,
    /// Which of the former to ask at a number that none of their words stand near, and of the latter at any, by what [`Pair`]
    /// it is.
    pairs: Vec<[u8; 2]>,
    /// The former's detectors, a bit for each.
    paired: u64,
    /// Who is asked at every `@`.
    ats: Option<(AskWord, u8)>,
    /// Hyphens at a text's end that may belong to a value.
    hyphens: usize,
    openers: Openers,
    vocabulary: Vocabulary,
    any: bool,
}

impl Pass {
    /// Adds a detector, once.
    pub(crate) fn add(&mut self, detector: u8) {
        match DETECTORS.get(usize::from(detector)).map(|found| &found.scan) {
            Some(Scan::Rows(rows)) => self.rows.add(detector, rows, &mut self.openers),
            Some(Scan::Prefixes(prefixes)) => {
                self.prefixes.add(detector, prefixes);
                prefixes.iter().for_each(|prefix| self.openers.add(prefix.text, false));
            }
            Some(Scan::Word(ask)) => {
                self.asks.resize(64, 0);
                self.beside.resize(256, [0; 3]);
                let bit = 1 << (self.asked.len() & 7);
                self.pair(|[words, _]| words, ask.pairs, bit);
                for (index, asks) in self.asks.iter_mut().enumerate() {
                    let kind = index as u8 & 7;
                    let [behind, lone, number] =
                        [BEHIND_BIT, LONE_BIT, NUMBER_BIT].map(|bit| index & bit != 0);
                    if (kind == 0 || ask.kinds & 1 << kind != 0)
                        && (behind || !ask.behind)
                        && (ask.lone || !lone)
                        && (number || !ask.number)
                    {
                        *asks |= bit;
                    }
                }
                for (length, asks) in self.lengths.iter_mut().enumerate() {
                    *asks |= if (ask.shortest..=ask.longest).contains(&length) { bit } else { 0 };
                }
                for (byte, beside) in self.beside.iter_mut().enumerate() {
                    for (asks, may) in beside.iter_mut().zip([ask.before, ask.spaced, ask.after]) {
                        *asks |= if may.has(byte as u8) { bit } else { 0 };
                    }
                }
                self.near |= if ask.near { bit } else { 0 };
                self.paired |= if ask.pairs.is_some() { 1 << detector.min(63) } else { 0 };
                self.hyphens = self.hyphens.max(ask.hyphens);
                self.asked.push((*ask, detector));
                ask.opens.iter().for_each(|text| self.openers.add(text, ask.near));
            }
            Some(Scan::Digits(digits)) => {
                self.pair(|[_, digits]| digits, Some(digits.pairs), 1 << (self.digits.len() & 7));
                self.digits.push((*digits, detector));
            }
            Some(Scan::Ats(at)) => self.ats = Some((*at, detector)),
            None => return,
        }
        self.vocabulary.add(detector, &mut self.openers);
        self.any = true;
    }

    /// Notes at which numbers a detector is asked.
    fn pair(&mut self, of: fn(&mut [u8; 2]) -> &mut u8, pairs: Option<fn(Pair) -> bool>, bit: u8) {
        self.pairs.resize(Pair::ALL, [0; 2]);
        for (index, asks) in self.pairs.iter_mut().enumerate() {
            *of(asks) |= if pairs.is_none_or(|may| may(Pair::new(index))) { bit } else { 0 };
        }
    }

    /// Whom to ask at a word, by what it and the characters beside it are; `open` where its end is not known.
    #[inline(always)]
    fn at(&self, view: &View<'_>, word: Word, flags: usize, open: bool) -> u8 {
        let index = flags | if open { 0 } else { usize::from(word.kind) };
        let mut asks = self.asks.get(index).copied().unwrap_or(0);
        let beside = |byte: u8| self.beside.get(usize::from(byte)).copied().unwrap_or_default();
        let before = view.before(word.start);
        let [here, _, _] = beside(before);
        asks &= here;
        if before == b' ' {
            let [_, spaced, _] = beside(word.start.checked_sub(2).map_or(0, |far| view.at(far)));
            asks &= spaced;
        }
        if !open {
            asks &= self.lengths.get((word.end - word.start).min(15)).copied().unwrap_or(0);
            if before != b':' {
                let [_, _, after] = beside(view.at(word.end));
                asks &= after;
            }
        }
        asks
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.any
    }

    /// Reports all matches outside of some parts of the text, which are in order, and some that are not, with their detectors;
    /// returns from which character on a text that goes on may have others. What stands in these parts is only read: every
    /// value has the character that it is told by.
    #[inline(never)]
    pub(crate) fn scan(
        &self,
        view: &View<'_>,
        without: &[Range<usize>],
        last: bool,
        found: &mut dyn FnMut(u8, Match),
    ) -> usize {
        let bytes = view.bytes();
        if bytes.len() >= WORTH {
            std::hint::black_box(self.openers.warm() ^ self.vocabulary.warm());
        }
        let mut seen = Vec::new();
        let marks = self.blocks(bytes, &mut seen);
        let mut asking = Asking {
            pass: self,
            context: Context::new(view, last, seen, marks),
            hold: bytes.len(),
            found,
            done: 0,
        };
        let mut without = without.iter().map(|part| (view.index(part.start), view.index(part.end)));
        let (mut next, mut part) = (0, without.next());
        for base in (0..bytes.len()).step_by(64) {
            let Some(known) = asking.context.marks.block(base / 64) else { break };
            let mut wanted = u64::MAX;
            while let Some((start, end)) = part {
                wanted &= before(start, base) | !before(end, base);
                if start >= base + 64 || end > base + 64 {
                    break;
                }
                part = without.next();
            }
            if wanted == 0 {
                continue;
            }
            let mut events = known.sure;
            // Elsewhere a short number that stands alone is nothing, nor is a word that needs others around.
            if asking.context.noisy(&mut next, base) {
                events |= known.numbers | self.openers.near(bytes, base, known.words & !known.sure);
            }
            for bit in Bits(events & wanted) {
                let is = |mask: u64| mask & bit != 0;
                asking.place(
                    base + bit.trailing_zeros() as usize,
                    &Place { behind: is(known.assigned), number: is(known.numbers), sure: is(known.sure) },
                );
            }
        }
        if last {
            return bytes.len();
        }
        // The end of the text cuts its last word off, which may become anything.
        if bytes.last().is_some_and(u8::is_ascii_alphanumeric) {
            let length = bytes.iter().rev().take_while(|byte| byte.is_ascii_alphanumeric()).count();
            asking.place(bytes.len() - length, &Place { behind: false, number: false, sure: true });
        }
        asking.at_sign(bytes.len());
        // A sign before a number may be a part of it: `+`, `(`, `::`.
        let ends = |most: usize, signs: &[u8]| {
            bytes.iter().rev().take(most).take_while(|byte| signs.contains(byte)).count()
        };
        asking.hold.min(bytes.len() - ends(2, b"+(:").max(ends(self.hyphens, b"-")))
    }

    /// Where to ask, for 64 characters after the other; notes the words that candidates look up, and where numbers are.
    #[inline(never)]
    fn blocks(&self, bytes: &[u8], seen: &mut Vec<Seen>) -> Marks {
        let mut marks = Marks::new(bytes.len());
        // Before which a word is assigned.
        let mut behind = 0;
        let mut last = Last::default();
        for base in (0..bytes.len()).step_by(64) {
            let here = Signs::read(bytes.get(base..).unwrap_or_default());
            let at = |bit: u64| base + bit.trailing_zeros() as usize;
            let words = here.letters | here.digits;
            let starts = words & !(words << 1 | last.word);
            let (heads, numbers) = (
                here.letters & !(here.letters << 1 | last.letter),
                here.digits & !(here.digits << 1 | last.digit),
            );
            // What is told for one kind of character after the other takes fewer branches that nobody can foresee.
            let mut asked = 0;
            for bit in Bits(self.openers.among(bytes, base, heads)) {
                let (may, looked_up) = self.openers.has(bytes, at(bit));
                if looked_up {
                    self.vocabulary.see(bytes, at(bit), seen);
                }
                asked |= if may { bit } else { 0 };
            }
            asked &= starts;
            let signs = here.colons | here.equals;
            let mut assigned = before(behind, base);
            if signs | asked != 0 {
                assigned = announced(bytes, base, signs, asked, &mut behind);
            }
            assigned &= starts;
            // Behind a colon it may be a part of an address, if another part or colon stands before.
            let parts = words | here.colons;
            let colons = here.colons & (parts << 1 | last.part);
            let attached = numbers & !(starts & !(colons << 1 | last.colon));
            let ats = if self.ats.is_some() { here.ats } else { 0 };
            let sure = asked | assigned | attached | joined(&here, numbers) | ats;
            marks.add(Known {
                sure,
                assigned,
                words: heads & starts,
                numbers,
                digits: here.digits,
                inside: here.inside(),
            });
            last = Last {
                letter: here.letters >> 63,
                digit: here.digits >> 63,
                word: words >> 63,
                part: parts >> 63,
                colon: colons >> 63,
            };
        }
        marks
    }
}

/// Which of 64 characters from `base` on stand behind a sign that assigns, or behind a word that announces credentials;
/// `behind` is where that ends.
#[inline(never)]
fn announced(bytes: &[u8], base: usize, signs: u64, words: u64, behind: &mut usize) -> u64 {
    let mut assigned = before(*behind, base);
    for bit in Bits(signs | words) {
        let at = base + bit.trailing_zeros() as usize;
        let length = match signs & bit {
            0 => scheme(bytes, at),
            _ => assigns(bytes, at).then_some(ASSIGNED),
        };
        if let Some(length) = length {
            *behind = at + length + 1;
            let passed = bit | (bit - 1);
            assigned = assigned & passed | before(*behind, base) & !passed;
        }
    }
    assigned
}

/// What the last one of 64 characters is, as a bit.
#[derive(Default)]
struct Last {
    letter: u64,
    digit: u64,
    /// A letter or a digit.
    word: u64,
    /// One of these, or a colon.
    part: u64,
    /// A colon behind one of these.
    colon: u64,
}

/// The bits of characters before the one at `end`, of 64 that begin at `base`.
fn before(end: usize, base: usize) -> u64 {
    !u64::MAX.unbounded_shl(end.saturating_sub(base) as u32)
}

/// Bits of an index of [`Pass::asks`].
const BEHIND_BIT: usize = 8;
const LONE_BIT: usize = 16;
const NUMBER_BIT: usize = 32;

/// What a place is.
struct Place {
    /// Right behind a sign of assignment.
    behind: bool,
    /// Where digits begin that were not asked about.
    number: bool,
    /// No short number that stands alone, nor asked about only near a detector's words.
    sure: bool,
}

/// Whether what the sign at `at` assigns may be a secret. A colon may stand in an address, too.
fn assigns(bytes: &[u8], at: usize) -> bool {
    if bytes.get(at) == Some(&b':') && bytes.get(at + 1).is_none_or(|next| *next == b'/') {
        return true;
    }
    let mut name = bytes.get(..at).unwrap_or_default();
    for _ in 0..ASSIGNED {
        match name {
            [rest @ .., last] if between(*last) => name = rest,
            _ => break,
        }
    }
    names_secret(name)
}

/// Whether the last letters are those of a name in `password`: nearly all other words end otherwise.
pub(super) fn names_secret(text: &[u8]) -> bool {
    let [.., a, b] = text else { return false };
    matches!(&[a | 0x20, b | 0x20], b"rd" | b"wd" | b"se" | b"de" | b"et" | b"en" | b"ey" | b"al" | b"ls")
}

/// Up to where credentials begin behind a word that announces them.
fn scheme(bytes: &[u8], at: usize) -> Option<usize> {
    if bytes.get(at).is_none_or(|first| first | 0x20 != b'b') {
        return None;
    }
    let is = |word: &[u8]| bytes.get(at..at + word.len()).is_some_and(|here| same(here, word));
    if is(b"basic ") { Some(6) } else { is(b"bearer ").then_some(7) }
}

/// A view being asked about.
struct Asking<'p, 'v, 'f> {
    pass: &'p Pass,
    context: Context<'v>,
    /// From where on a text that goes on may have others.
    hold: usize,
    found: &'f mut dyn FnMut(u8, Match),
    /// Where the last word ends that was asked about.
    done: usize,
}

impl Asking<'_, '_, '_> {
    /// Asks about what is at `at`. A word may come twice.
    fn place(&mut self, at: usize, place: &Place) {
        if !place.sure && self.context.quiet(at) {
            return;
        }
        if self.context.view.at(at) == b'@' {
            return self.at_sign(at);
        }
        let mut asks = u8::MAX;
        let lone = place.number && (!place.sure || self.digits(at, &mut asks));
        if at < self.done {
            return;
        }
        let mut start = at;
        while start > self.done && self.context.view.before(start).is_ascii_alphanumeric() {
            start -= 1;
        }
        if !lone || place.behind || start != at || !self.context.silent(at, at + 4 * SHORT) {
            let begins = start == at;
            self.done = self.word(start, place.behind, lone && begins, if begins { asks } else { u8::MAX });
        }
    }

    /// Asks about an `@`, or the text's end.
    fn at_sign(&mut self, at: usize) {
        if let Some((ask, detector)) = self.pass.ats {
            let verdict =
                ask(&mut self.context, Word { start: at, end: at, kind: 0, hexadecimal: false }, detector);
            self.judge(verdict, detector);
        }
    }

    fn judge(&mut self, verdict: Verdict, detector: u8) {
        match verdict {
            Verdict::No => {}
            Verdict::Yes(value) => (self.found)(detector, value),
            Verdict::Cut(from) => self.hold = self.hold.min(from),
        }
    }

    /// Asks about the word that begins at `start` those that `asks` has a bit for; returns where it ends.
    #[inline(never)]
    fn word(&mut self, start: usize, behind: bool, lone: bool, mut asks: u8) -> usize {
        let (view, last) = (self.context.view, self.context.last);
        let bytes = view.bytes();
        // What it consists of, and a bit where not all of it is hexadecimal.
        let (mut kinds, mut end) = (0, start);
        for byte in bytes.get(start..).unwrap_or_default() {
            match class(*byte) {
                0 => break,
                class => kinds |= class ^ HEXADECIMAL,
            }
            end += 1;
        }
        let (kind, hexadecimal) = (kinds & WORD, kinds & HEXADECIMAL == 0);
        let word = Word { start, end, kind, hexadecimal };
        let open = end == bytes.len() && !last;
        let may = if open { u8::MAX } else { self.pass.rows.may_start(&self.context, word) };
        if may != 0 && !self.pass.rows.at(&mut self.context, (start, end), may, self.found) {
            self.hold = self.hold.min(start);
        }
        let number = view.at(start).is_ascii_digit();
        if asks != 0 {
            let flags = if behind { BEHIND_BIT } else { 0 }
                | if lone { LONE_BIT } else { 0 }
                | if number { NUMBER_BIT } else { 0 };
            asks &= self.pass.at(view, word, flags, open);
            if asks & self.pass.near != 0 && self.context.quiet(start) {
                asks &= !self.pass.near;
            }
        }
        while asks != 0 {
            let next = asks.trailing_zeros() as usize;
            let near = self.pass.near & asks & asks.wrapping_neg() != 0;
            asks &= asks - 1;
            let Some((ask, detector)) = self.pass.asked.get(next) else { break };
            if near && self.context.lacks(*detector, start) {
                continue;
            }
            match (ask.at)(&mut self.context, word, *detector) {
                Verdict::No => {}
                verdict => self.judge(verdict, *detector),
            }
        }
        if !number
            && self.pass.prefixes.may_start(view, start, last)
            && let Verdict::Cut(from) = self.pass.prefixes.at(view, word, last, self.found)
        {
            self.hold = self.hold.min(from);
        }
        end
    }

    /// Asks about the digits that begin at `start`; true where they are a short number that nothing goes on with. Tells whom
    /// of those to ask that are asked at words.
    #[inline(never)]
    fn digits(&mut self, start: usize, words: &mut u8) -> bool {
        let (view, context) = (self.context.view, &self.context);
        let end = view.digits_end(start);
        // Of a series of nine digits none is lone.
        if !context.in_series(start)
            && end - start <= SHORT
            && !(view.before(start) == b':' && is_part(view.before(start - 1)))
            && lone(view.bytes(), end, end - start)
        {
            return true;
        }
        let mut digits = u8::MAX;
        if let Some(numbers) = context.series(start, end) {
            let pair = Pair::of(view.at(start), numbers);
            let [at_words, at_digits] = self.pass.pairs.get(pair.index()).copied().unwrap_or_default();
            digits = at_digits;
            // Signs before a number are a form of their own.
            if !matches!(view.before(start), b'+' | b'(') && !context.near(self.pass.paired, start) {
                *words = at_words;
            }
            if numbers.digits() < NINE {
                return false;
            }
        }
        while digits != 0 {
            let next = digits.trailing_zeros() as usize;
            digits &= digits - 1;
            let Some((ask, detector)) = self.pass.digits.get(next) else { break };
            if !(ask.at)(&self.context, start, *detector, self.found) {
                self.hold = self.hold.min(start);
            }
        }
        false
    }
}

/// Whether a character before a colon may be a part of an address.
fn is_part(byte: u8) -> bool {
    byte == b':' || byte.is_ascii_alphanumeric()
}
