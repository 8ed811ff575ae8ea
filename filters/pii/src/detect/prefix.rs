//! Tokens that begin with letters of their issuer: `ghp_`, `AKIA`, `sk-ant-`. A token is found as soon as so
//! many of its characters are there that it can be nothing else; what follows of the same characters belongs to
//! it, however long.

use weir_sorted::sort_by;

use super::ask::Word;
use super::{Match, Verdict};
use crate::class::{BASE64, CAPITAL, DIGIT, TOKEN, WORD, run};
use crate::tail::Tail;
use crate::view::View;

/// Bytes of what decides about a token.
pub(super) const LONGEST: usize = 256;

/// A beginning of tokens.
#[derive(Debug)]
pub(crate) struct Prefix {
    /// As it is written, case included.
    pub(super) text: &'static str,
    /// Characters that have to follow.
    pub(super) least: u8,
    /// Which characters follow.
    pub(super) of: Of,
}

/// Characters of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    /// Capitals and digits.
    Capitals,
    /// Letters, digits, `_` and `-`.
    Token,
    /// The same, and among those that have to follow a digit.
    Mixed,
    /// The same and `+`, `/`, `=`, `.`.
    Base64,
}

impl Of {
    fn classes(self) -> u8 {
        match self {
            Self::Capitals => CAPITAL | DIGIT,
            Self::Token | Self::Mixed => WORD | TOKEN,
            Self::Base64 => WORD | TOKEN | BASE64,
        }
    }

    fn tail(self) -> Tail {
        if self == Self::Base64 { Tail::Dotted } else { Tail::Token }
    }
}

/// All prefixes that are looked for.
#[derive(Clone, Debug)]
pub(crate) struct Prefixes {
    /// By their text, each with its first two characters.
    all: Vec<([u8; 2], &'static Prefix, u8)>,
    /// By the last six bits of a first character, which tell capitals from small letters, the last five of the second ones, a
    /// bit for each.
    starts: [u32; 64],
}

impl Default for Prefixes {
    fn default() -> Self {
        Self { all: Vec::new(), starts: [0; 64] }
    }
}

impl Prefixes {
    pub(crate) fn add(&mut self, detector: u8, prefixes: &'static [Prefix]) {
        for prefix in prefixes {
            let [first, second, ..] = *prefix.text.as_bytes() else { continue };
            // At words that begin with a digit nobody asks.
            debug_assert!(first.is_ascii_alphabetic());
            self.all.push(([first, second], prefix, detector));
            if let Some(starts) = self.starts.get_mut(usize::from(first & 63)) {
                *starts |= 1 << (second & 31);
            }
        }
        sort_by(&mut self.all, |(_, a, _), (_, b, _)| a.text.cmp(b.text));
    }

    /// Whether a token may begin here; `last` where the text does not go on.
    pub(crate) fn may_start(&self, view: &View<'_>, start: usize, last: bool) -> bool {
        let starts = self.starts.get(usize::from(view.at(start) & 63)).copied().unwrap_or_default();
        let cut = start + 1 >= view.bytes().len() && !last;
        starts & if cut { u32::MAX } else { 1 << (view.at(start + 1) & 31) } != 0
    }

    /// Reports tokens that begin at a word.
    #[inline(never)]
    pub(crate) fn at(
        &self,
        view: &View<'_>,
        word: Word,
        last: bool,
        found: &mut dyn FnMut(u8, Match),
    ) -> Verdict {
        let start = word.start;
        let rest = view.bytes().get(start..).unwrap_or_default();
        let Some(first) = rest.first() else { return Verdict::No };
        // Where a text ends behind the first, it may be any of those that begin with it.
        let second = rest.get(1).copied();
        let two = u16::from_be_bytes([*first, second.unwrap_or(0)]);
        let from = self.all.partition_point(|(here, _, _)| u16::from_be_bytes(*here) < two);
        let mut verdict = Verdict::No;
        for ([a, b], prefix, detector) in self.all.get(from..).unwrap_or_default() {
            if a != first || second.is_some_and(|second| *b != second) {
                break;
            }
            let text = prefix.text.as_bytes();
            if rest.len() < text.len() {
                if text.starts_with(rest) && !last {
                    verdict = Verdict::Cut(start);
                }
                continue;
            }
            // Most differ in their first three characters, which are compared without a call.
            if rest.first_chunk::<3>() != text.first_chunk() {
                continue;
            }
            let Some(body) = rest.strip_prefix(text) else { continue };
            let least = usize::from(prefix.least);
            let body = body.get(..least).unwrap_or(body);
            if run(body, 0, least, prefix.of.classes()) < body.len() {
                continue;
            }
            let end = start + text.len() + body.len();
            let fits = view.fits(start, end, LONGEST);
            if body.len() < least {
                if !last && view.left(start) <= LONGEST + 16 {
                    verdict = Verdict::Cut(start);
                }
            } else if fits && (prefix.of != Of::Mixed || body.iter().any(u8::is_ascii_digit)) {
                found(*detector, Match { start, end, tail: Some(prefix.of.tail()) });
            }
        }
        verdict
    }
}
