//! Where a detector is asked: at which words, and at which numbers of a series. The pass turns it into tables, so that
//! nearly all places cost no call. Not what is asked there.

use super::context::Context;
use super::series::Numbers;
use super::{Match, Verdict};

/// A word: a run of ASCII letters and digits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Word {
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// What it consists of.
    pub(crate) kind: u8,
    /// Only of hexadecimal digits.
    pub(crate) hexadecimal: bool,
}

/// A detector that is asked at words, and at which: nearly all words of a prose are told apart here, without a
/// call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    /// Bits of the sums that a word may have, one for each.
    pub(super) kinds: u8,
    /// Characters of the shortest word that no text's end cuts off, and of the longest.
    pub(super) shortest: usize,
    pub(super) longest: usize,
    /// Beginnings of words without a digit, three characters each; see [`Openers::add`].
    pub(super) opens: &'static [&'static str],
    /// Asked only at words right behind a sign of assignment, or behind one of its own beginnings.
    pub(super) behind: bool,
    /// Asked at numbers that nothing goes on with, too.
    pub(super) lone: bool,
    /// Asked only at words that begin with a digit.
    pub(super) number: bool,
    /// At numbers that none of its words stand near, asked only where a value may begin with them; see [`Pair`].
    pub(super) pairs: Option<fn(Pair) -> bool>,
    /// Asked only near its words.
    pub(super) near: bool,
    /// What may stand right before the word.
    pub(super) before: Beside,
    /// What may stand before a space that stands before the word.
    pub(super) spaced: Beside,
    /// What may stand right behind the word, unless a colon stands before it.
    pub(super) after: Beside,
    /// Hyphens right before the word that belong to the value.
    pub(super) hyphens: usize,
    /// The question; told the detector's own number, for the words around.
    pub(super) at: AskWord,
}

/// Asks whether a value begins with a word, or what is there instead.
pub(crate) type AskWord = fn(&mut Context<'_>, Word, u8) -> Verdict;

impl Ask {
    /// Asked at words of any kind, wherever they stand.
    pub(super) const fn new(at: AskWord) -> Self {
        Self {
            kinds: ANY,
            shortest: 1,
            longest: usize::MAX,
            opens: &[],
            behind: false,
            lone: true,
            number: false,
            pairs: None,
            near: false,
            before: Beside::Any,
            spaced: Beside::Any,
            after: Beside::Any,
            hyphens: 0,
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
    pub(super) fn has(self, byte: u8) -> bool {
        match self {
            Self::Any => true,
            Self::Of(bytes) => bytes.contains(&byte),
            Self::Not(bytes) => !bytes.contains(&byte),
        }
    }
}

/// A detector that is asked at series of nine digits and more, and at which.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Digits {
    pub(super) pairs: fn(Pair) -> bool,
    /// The question; told the detector's own number.
    pub(super) at: AskDigits,
}

/// A number of a series and the one behind it, which may be none. The forms of values begin with few of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair {
    /// The first digit.
    pub(super) lead: u8,
    /// How many digits the number has, up to fifteen.
    pub(super) first: u8,
    /// How many the one behind has, up to seven.
    pub(super) second: u8,
}

impl Pair {
    /// How many different ones there are.
    pub(super) const ALL: usize = 10 << 7;

    /// The one with an index.
    pub(super) fn new(index: usize) -> Self {
        Self { lead: (index >> 7) as u8, first: (index >> 3 & 15) as u8, second: (index & 7) as u8 }
    }

    /// The first ones of a series; `lead` as it is written.
    pub(super) fn of(lead: u8, numbers: Numbers) -> Self {
        let second = numbers.behind().0.first();
        Self { lead: lead & 15, first: numbers.first().min(15) as u8, second: second.min(7) as u8 }
    }

    /// Its index among all.
    pub(super) fn index(self) -> usize {
        usize::from(self.lead) << 7 | usize::from(self.first) << 3 | usize::from(self.second)
    }
}

/// Asks what begins at a number, which is reported; false where a text that goes on may have others.
pub(crate) type AskDigits = fn(&Context<'_>, usize, u8, &mut dyn FnMut(u8, Match)) -> bool;

/// Words of any kind.
const ANY: u8 = 0xfe;
/// Words of letters and digits.
pub(super) const MIXED: u8 = 0b1010_1000;
/// Words with a digit in them.
pub(super) const WITH_DIGIT: u8 = 0b1010_1010;
