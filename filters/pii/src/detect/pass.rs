//! The one pass over a view that finds where values may begin: at words with a digit, at those whose first three
//! characters are a beginning that some detector named, and behind signs of assignment. Eight characters are
//! looked at together; in prose nearly all of them are done with that. Detectors are asked only at the rest.

use super::check::same;
use super::context::{Context, Seen, Vocabulary};
use super::prefix::Prefixes;
use super::row::Rows;
use super::{DETECTORS, Match, Scan, Verdict};
use crate::view::View;

/// What words consist of, as a sum.
pub(super) const DIGIT: u8 = 1;
pub(super) const SMALL: u8 = 2;
pub(super) const CAPITAL: u8 = 4;
/// Beside it; no part of the sum.
pub(super) const HEXADECIMAL: u8 = 8;

/// A word: a run of ASCII letters and digits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Word {
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// What it consists of.
    pub(crate) kind: u8,
}

/// A detector that is asked at words, and at which: nearly all words of a prose are told apart here, without a
/// call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    /// Bits of the sums that a word may have, one for each.
    pub(super) kinds: u8,
    /// Characters of the longest word.
    pub(super) longest: usize,
    /// Beginnings of words without a digit, three characters each; see [`Openers::add`].
    pub(super) opens: &'static [&'static str],
    /// Asked only at words right behind a sign of assignment, or behind one of its own beginnings.
    pub(super) behind: bool,
    /// Asked at numbers that nothing goes on with, too.
    pub(super) lone: bool,
    /// Asked only near its words.
    pub(super) near: bool,
    /// What may stand right before the word.
    pub(super) before: Beside,
    /// What may stand before a space that stands before the word.
    pub(super) spaced: Beside,
    /// What may stand right behind the word, unless a colon stands before it.
    pub(super) after: Beside,
    /// The question; told the detector's own number, for the words around.
    pub(super) at: fn(&mut Context<'_>, Word, u8) -> Verdict,
}

impl Ask {
    /// Asked at words of any kind, wherever they stand.
    pub(super) const fn new(at: fn(&mut Context<'_>, Word, u8) -> Verdict) -> Self {
        Self {
            kinds: ANY,
            longest: usize::MAX,
            opens: &[],
            behind: false,
            lone: true,
            near: false,
            before: Beside::Any,
            spaced: Beside::Any,
            after: Beside::Any,
            at,
        }
    }
}

/// What may stand beside a word.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Beside {
    Any,
    Of(&'static [u8]),
    Not(&'static [u8]),
}

impl Beside {
    fn has(self, byte: u8) -> bool {
        match self {
            Self::Any => true,
            Self::Of(bytes) => bytes.contains(&byte),
            Self::Not(bytes) => !bytes.contains(&byte),
        }
    }
}

/// A detector that is asked at digits behind something else. It reports what begins there; false where a text that
/// goes on may have others.
pub(crate) type AskDigits = fn(&Context<'_>, usize, u8, &mut dyn FnMut(u8, Match)) -> bool;

/// Words of any kind.
const ANY: u8 = 0xfe;
/// Words of letters and digits.
pub(super) const MIXED: u8 = 0b1010_1000;
/// Words with a digit in them.
pub(super) const WITH_DIGIT: u8 = 0b1010_1010;

/// Characters after a sign of assignment in which the assigned word begins.
const ASSIGNED: usize = 8;
/// What may stand between a name and its value.
pub(super) const BETWEEN: &[u8] = b"=: \"'`\t>\\!#%*@^~$-";

/// How words without a digit begin that any detector is asked at: by their first three characters. Words with
/// one are always asked about, others hardly ever.
#[derive(Clone, Debug, Default)]
pub(crate) struct Openers {
    /// By the last five bits of the first two characters, and whether both are capitals: those of the third, a bit for
    /// each; once for what is asked about, once for words that candidates look up.
    thirds: Vec<[u32; 2]>,
}

/// The index of two characters in [`Openers::thirds`].
fn pair(first: u8, second: u8) -> usize {
    let capitals = first.is_ascii_uppercase() & second.is_ascii_uppercase();
    usize::from(capitals) << 10 | usize::from(first & 31) << 5 | usize::from(second & 31)
}

impl Openers {
    /// Adds what has such a character in each place.
    pub(super) fn group(&mut self, has: &dyn Fn(usize, u8) -> bool) {
        self.insert(0, has);
    }

    #[inline(never)]
    fn insert(&mut self, which: usize, has: &dyn Fn(usize, u8) -> bool) {
        self.thirds.resize(2048, [0; 2]);
        let have = |place| (0..=u8::MAX).filter(move |byte| has(place, *byte));
        let third = have(2).fold(0u32, |bits, byte| bits | 1 << (byte & 31));
        for first in have(0) {
            for second in have(1) {
                if let Some(slot) = self.thirds.get_mut(pair(first, second)).and_then(|of| of.get_mut(which))
                {
                    *slot |= third;
                }
            }
        }
    }

    /// Adds a beginning without regard to case; `X` is a hexadecimal letter, `*` is anything.
    pub(super) fn add(&mut self, text: &str) {
        let text = text.as_bytes();
        self.insert(0, &|place, byte| match text.get(place) {
            Some(b'X') => byte.is_ascii_hexdigit() && byte.is_ascii_alphabetic(),
            Some(b'*') | None => true,
            Some(one) => one.eq_ignore_ascii_case(&byte),
        });
    }

    /// Adds a word that candidates look up.
    pub(super) fn word(&mut self, text: &[u8]) {
        self.insert(1, &|place, byte| text.get(place).is_none_or(|one| one.eq_ignore_ascii_case(&byte)));
    }

    /// Whether a word that begins here may be asked about, and whether it may be one to look up; so may what the
    /// text's end cuts off.
    fn has(&self, bytes: &[u8], start: usize) -> (bool, bool) {
        let Some([a, b, c, ..]) = bytes.get(start..) else { return (true, true) };
        let [asked, looked_up] = self.thirds.get(pair(*a, *b)).copied().unwrap_or_default();
        (asked >> (c & 31) & 1 != 0, looked_up >> (c & 31) & 1 != 0)
    }
}

/// What is looked for at words.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pass {
    rows: Rows,
    prefixes: Prefixes,
    asked: Vec<(Ask, u8)>,
    /// Which of them to ask at a word, by what it consists of (0: its end is not known); four times, since words stand
    /// behind signs of assignment or do not, and are lone numbers or are not.
    asks: Vec<u8>,
    /// The same by the word's length, up to fifteen.
    lengths: [u8; 16],
    /// The same by the character before it, by the one before a space before it, and by the one behind it.
    beside: Vec<[u8; 3]>,
    /// Those that are asked only near their words.
    near: u8,
    digits: Vec<(AskDigits, u8)>,
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
                prefixes.iter().for_each(|prefix| self.openers.add(prefix.text));
            }
            Some(Scan::Word(ask)) => {
                self.asks.resize(32, 0);
                self.beside.resize(256, [0; 3]);
                let bit = 1 << (self.asked.len() & 7);
                for (index, asks) in self.asks.iter_mut().enumerate() {
                    let (kind, behind, lone) =
                        (index as u8 & 7, index & BEHIND_BIT != 0, index & LONE_BIT != 0);
                    if (kind == 0 || ask.kinds & 1 << kind != 0)
                        && (behind || !ask.behind)
                        && (ask.lone || !lone)
                    {
                        *asks |= bit;
                    }
                }
                for (length, asks) in self.lengths.iter_mut().enumerate() {
                    *asks |= if length <= ask.longest { bit } else { 0 };
                }
                for (byte, beside) in self.beside.iter_mut().enumerate() {
                    for (asks, may) in beside.iter_mut().zip([ask.before, ask.spaced, ask.after]) {
                        *asks |= if may.has(byte as u8) { bit } else { 0 };
                    }
                }
                self.near |= if ask.near { bit } else { 0 };
                self.asked.push((*ask, detector));
                ask.opens.iter().for_each(|text| self.openers.add(text));
            }
            Some(Scan::Digits(at)) => self.digits.push((*at, detector)),
            Some(Scan::Whole(_)) | None => return,
        }
        self.vocabulary.add(detector, &mut self.openers);
        self.any = true;
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.any
    }

    /// Reports all matches with their detectors; returns from which character on a text that goes on may have
    /// others.
    pub(crate) fn scan(&self, view: &View<'_>, last: bool, found: &mut dyn FnMut(u8, Match)) -> usize {
        let bytes = view.bytes();
        let mut seen = Vec::new();
        let places = self.places(bytes, last, &mut seen);
        let context = Context::new(view, last, seen);
        let mut asking = Asking { pass: self, context, hold: bytes.len(), found };
        let mut done = 0;
        for place in &places {
            let at = (place >> 2) as usize;
            let lone = place & NUMBER != 0 && asking.digits(at);
            if at < done {
                continue;
            }
            let mut start = at;
            while start > done && view.before(start).is_ascii_alphanumeric() {
                start -= 1;
            }
            let behind = place & BEHIND != 0;
            // Most numbers are short, stand alone, and beside no word that anybody asks for.
            if !lone || behind || start != at || !asking.context.silent(at, at + 4 * SHORT) {
                done = asking.word(start, behind, lone && start == at);
            }
        }
        if last {
            return bytes.len();
        }
        // A sign before a number may be a part of it: `+`, `(`, `::`.
        let signs =
            bytes.iter().rev().take(2).take_while(|byte| matches!(**byte, b'+' | b'(' | b':')).count();
        asking.hold.min(bytes.len() - signs)
    }

    /// Where to ask, by position, four times the offset and what is there; a word may be there twice.
    fn places(&self, bytes: &[u8], last: bool, seen: &mut Vec<Seen>) -> Vec<u32> {
        let mut places = Vec::with_capacity(256);
        // Where the current word begins, and up to where one is assigned.
        let (mut begin, mut behind) = (0, 0);
        let (mut word, mut letter, mut digit) = (0, 0, 0);
        for (block, text) in bytes.chunks(64).enumerate() {
            let signs = match text.try_into() {
                Ok(whole) => Signs::new(whole),
                Err(_) => {
                    let mut padded = [0; 64];
                    padded.iter_mut().zip(text).for_each(|(to, from)| *to = *from);
                    Signs::new(&padded)
                }
            };
            let words = signs.letters | signs.digits;
            let starts = words & !(words << 1 | word);
            let heads = signs.letters & !(signs.letters << 1 | letter);
            let numbers = signs.digits & !(signs.digits << 1 | digit);
            (word, letter, digit) = (words >> 63, signs.letters >> 63, signs.digits >> 63);
            let mut events = starts | heads | numbers | signs.assigns;
            while events != 0 {
                let bit = events & events.wrapping_neg();
                events ^= bit;
                let at = block * 64 + bit.trailing_zeros() as usize;
                let place = (at as u32) << 2;
                if starts & bit != 0 {
                    begin = at;
                }
                if numbers & bit != 0 {
                    let here = if begin == at && at <= behind { BEHIND } else { 0 };
                    places.push(place | NUMBER | here);
                    continue;
                }
                if signs.assigns & bit != 0 {
                    if assigns(bytes, at) {
                        behind = at + ASSIGNED;
                    }
                    continue;
                }
                let (asked, looked_up) = self.openers.has(bytes, at);
                if looked_up {
                    self.vocabulary.see(bytes, at, seen);
                }
                if starts & bit == 0 {
                    continue;
                }
                if at <= behind {
                    places.push(place | BEHIND);
                } else if asked {
                    places.push(place);
                }
                if asked && let Some(length) = scheme(bytes, at) {
                    behind = at + length;
                }
            }
        }
        // The end of the text cuts its last word off, which may become anything.
        if !last && bytes.last().is_some_and(u8::is_ascii_alphanumeric) {
            places.push((begin as u32) << 2);
        }
        places
    }
}

/// Bits of an index of [`Pass::asks`].
const BEHIND_BIT: usize = 8;
const LONE_BIT: usize = 16;

/// What a place is: one right behind a sign of assignment; where digits begin.
const BEHIND: u32 = 1;
const NUMBER: u32 = 2;

/// Whether what the sign at `at` assigns may be a secret. A colon may stand in an address, too.
fn assigns(bytes: &[u8], at: usize) -> bool {
    if bytes.get(at) == Some(&b':') && bytes.get(at + 1).is_none_or(|next| *next == b'/') {
        return true;
    }
    let mut name = bytes.get(..at).unwrap_or_default();
    for _ in 0..ASSIGNED {
        match name {
            [rest @ .., last] if BETWEEN.contains(last) => name = rest,
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
    let is = |word: &[u8]| bytes.get(at..at + word.len()).is_some_and(|here| same(here, word));
    if is(b"basic ") { Some(6) } else { is(b"bearer ").then_some(7) }
}

/// What 64 characters are, a bit for each.
#[derive(Default)]
struct Signs {
    letters: u64,
    digits: u64,
    /// `=` and `:`.
    assigns: u64,
}

impl Signs {
    /// Sixteen at a time, as every engine that runs the module can.
    #[cfg(target_arch = "wasm32")]
    #[target_feature(enable = "simd128")]
    fn new(text: &[u8; 64]) -> Self {
        use core::arch::wasm32::{u8x16_bitmask, u8x16_eq, u8x16_lt, u8x16_splat, u8x16_sub, u64x2, v128_or};

        let mut signs = Self::default();
        for (index, sixteen) in text.as_chunks::<16>().0.iter().enumerate() {
            let (low, high) = sixteen.split_at(8);
            let half = |half: &[u8]| half.try_into().map_or(0, u64::from_le_bytes);
            let bytes = u64x2(half(low), half(high));
            let lower = v128_or(bytes, u8x16_splat(0x20));
            let letters = u8x16_lt(u8x16_sub(lower, u8x16_splat(b'a')), u8x16_splat(26));
            let digits = u8x16_lt(u8x16_sub(bytes, u8x16_splat(b'0')), u8x16_splat(10));
            let assigns = v128_or(u8x16_eq(bytes, u8x16_splat(b':')), u8x16_eq(bytes, u8x16_splat(b'=')));
            signs.letters |= u64::from(u8x16_bitmask(letters)) << (index * 16);
            signs.digits |= u64::from(u8x16_bitmask(digits)) << (index * 16);
            signs.assigns |= u64::from(u8x16_bitmask(assigns)) << (index * 16);
        }
        signs
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn new(text: &[u8; 64]) -> Self {
        const HIGH: u64 = 0x8080_8080_8080_8080;
        const ONES: u64 = 0x0101_0101_0101_0101;
        let mut signs = Self::default();
        for (index, eight) in text.as_chunks::<8>().0.iter().enumerate() {
            let bytes = u64::from_le_bytes(*eight);
            // Adding what is missing to 0x80 sets the high bit of what is at least that. No sum carries over.
            let plain = bytes & !HIGH;
            let from = |least: u64| plain + ONES * (0x80 - least);
            let lower = (bytes | (ONES * 0x20)) & !HIGH;
            let ascii = !bytes & HIGH;
            // The high bits side by side.
            let packed =
                |bits: u64| (((bits & ascii) >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56) << (index * 8);
            let behind = from(0x3a);
            signs.letters |= packed((lower + ONES * 0x1f) & !(lower + ONES * 0x05));
            signs.digits |= packed(from(0x30) & !behind);
            signs.assigns |= packed(behind & !from(0x3b) | from(0x3d) & !from(0x3e));
        }
        signs
    }
}

/// A view being asked about.
struct Asking<'p, 'v, 'f> {
    pass: &'p Pass,
    context: Context<'v>,
    /// From where on a text that goes on may have others.
    hold: usize,
    found: &'f mut dyn FnMut(u8, Match),
}

impl Asking<'_, '_, '_> {
    /// Asks about the word that begins at `start`; returns where it ends.
    fn word(&mut self, start: usize, behind: bool, lone: bool) -> usize {
        let (view, last) = (self.context.view, self.context.last);
        let bytes = view.bytes();
        let (mut kind, mut end) = (0, start);
        for byte in bytes.get(start..).unwrap_or_default() {
            match class(*byte) {
                0 => break,
                class => kind |= class,
            }
            end += 1;
        }
        kind &= DIGIT | SMALL | CAPITAL;
        let word = Word { start, end, kind };
        let (length, before) = (end - start, view.before(start));
        let far = start.checked_sub(2).map_or(0, |at| view.at(at));
        let open = end == bytes.len() && !last;
        if (open || self.pass.rows.may_start(&self.context, word))
            && !self.pass.rows.at(&mut self.context, start, end, self.found)
        {
            self.hold = self.hold.min(start);
        }
        let flags = if behind { BEHIND_BIT } else { 0 } | if lone { LONE_BIT } else { 0 };
        let index = flags | if open { 0 } else { usize::from(kind) };
        let pass = self.pass;
        let mut asks = pass.asks.get(index).copied().unwrap_or(0);
        let beside = |byte: u8| pass.beside.get(usize::from(byte)).copied().unwrap_or_default();
        let [here, _, _] = beside(before);
        asks &= here;
        if before == b' ' {
            let [_, spaced, _] = beside(far);
            asks &= spaced;
        }
        if !open {
            asks &= pass.lengths.get(length.min(15)).copied().unwrap_or(0);
            if before != b':' {
                let [_, _, after] = beside(view.at(end));
                asks &= after;
            }
        }
        while asks != 0 {
            let next = asks.trailing_zeros() as usize;
            let near = pass.near & asks & asks.wrapping_neg() != 0;
            asks &= asks - 1;
            let Some((ask, detector)) = pass.asked.get(next) else { break };
            if near && self.context.lacks(*detector, start) {
                continue;
            }
            match (ask.at)(&mut self.context, word, *detector) {
                Verdict::No => {}
                Verdict::Yes(value) => (self.found)(*detector, value),
                Verdict::Cut(from) => self.hold = self.hold.min(from),
            }
        }
        if self.pass.prefixes.may_start(view, start)
            && let Verdict::Cut(from) = self.pass.prefixes.at(view, word, last, self.found)
        {
            self.hold = self.hold.min(from);
        }
        end
    }

    /// Asks about the digits that begin at `start`; true where they are a short number that nothing goes on with.
    fn digits(&mut self, start: usize) -> bool {
        let view = self.context.view;
        let end = view.digits_end(start);
        if end - start <= SHORT
            && view.before(start) != b':'
            && lone(view.bytes().get(end..).unwrap_or_default(), end - start)
        {
            return true;
        }
        for (ask, detector) in &self.pass.digits {
            if !ask(&self.context, start, *detector, self.found) {
                self.hold = self.hold.min(start);
            }
        }
        false
    }
}

/// Digits of a short number.
const SHORT: usize = 6;
/// Digits that no value is made of that needs no words around, but for what full stops or colons join.
const FEW: usize = 5;

/// Whether what follows a number of so many digits neither is another one, but for a few digits, nor could join it to
/// something.
fn lone(mut rest: &[u8], mut digits: usize) -> bool {
    let sign =
        |byte: &&u8| matches!(**byte, b' ' | b'-' | b'.' | b'/' | b':' | b'(' | b')' | b'_' | b'+' | b',');
    loop {
        let signs = rest.iter().take(4).take_while(sign).count();
        let next = |at: usize| rest.get(at).copied().unwrap_or(b'0');
        let alone = match signs {
            // What nothing separates is the same word.
            0 => return !next(0).is_ascii_alphanumeric(),
            1 if next(0) == b' ' => !next(1).is_ascii_digit(),
            1..4 if !rest.starts_with(b"::") => !next(signs).is_ascii_alphanumeric(),
            _ => return false,
        };
        if alone {
            return true;
        }
        let (between, after) = rest.split_at_checked(signs).unwrap_or_default();
        let more = after.iter().take(SHORT).take_while(|byte| byte.is_ascii_digit()).count();
        digits += more;
        if more == 0 || digits > FEW || between.iter().any(|byte| matches!(byte, b'.' | b':')) {
            return false;
        }
        rest = after.get(more..).unwrap_or_default();
    }
}

/// What a character is: a bit, so that a word's characters are the sum of them.
pub(super) fn class(byte: u8) -> u8 {
    CLASSES.get(usize::from(byte)).copied().unwrap_or(0)
}

static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::indexing_slicing, reason = "computed by the compiler")]
        {
            classes[byte] = match byte as u8 {
                b'0'..=b'9' => DIGIT | HEXADECIMAL,
                b'a'..=b'f' => SMALL | HEXADECIMAL,
                b'A'..=b'F' => CAPITAL | HEXADECIMAL,
                b'g'..=b'z' => SMALL,
                b'G'..=b'Z' => CAPITAL,
                _ => 0,
            };
        }
        byte += 1;
    }
    classes
};
