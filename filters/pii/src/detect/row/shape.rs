//! How a row of data says what values look like. Not how they are found.

use crate::class::{CAPITAL, DIGIT, HEXADECIMAL, SMALL};
use crate::detect::context::Near;

/// Separators that a row allows between its groups, the same one throughout.
pub(in crate::detect) const SPACE: u8 = 1;
pub(in crate::detect) const DASH: u8 = 2;
pub(in crate::detect) const DOT: u8 = 4;
pub(in crate::detect) const SLASH: u8 = 8;
pub(in crate::detect) const COLON: u8 = 16;
pub(in crate::detect) const PLUS: u8 = 32;

/// The bit of a separator; 0 for other characters.
pub(super) fn separator(byte: u8) -> u8 {
    match byte {
        b' ' => SPACE,
        b'-' => DASH,
        b'.' => DOT,
        b'/' => SLASH,
        b':' => COLON,
        b'+' => PLUS,
        _ => 0,
    }
}

/// A shape of values.
#[derive(Debug)]
pub(crate) struct Row {
    pub(super) groups: u64,
    shape: &'static str,
    pub(super) separators: u8,
    pub(super) near: Near,
    pub(super) check: fn(&[u8]) -> bool,
}

impl Row {
    /// `groups` as hexadecimal digits, `F` for fifteen and more; `shape` as characters with counts: `d` digit,
    /// `a` letter, `U` capital, `n` letter or digit, `N` capital or digit, `x` hexadecimal, `*` for all that follow.
    pub(in crate::detect) const fn new(groups: u64, shape: &'static str, separators: u8) -> Self {
        Self { groups, shape, separators, near: Near::Free, check: |_| true }
    }

    /// With a check of the characters without separators.
    pub(in crate::detect) const fn check(mut self, check: fn(&[u8]) -> bool) -> Self {
        self.check = check;
        self
    }

    /// Only near words of the detector.
    pub(in crate::detect) const fn near(mut self, near: Near) -> Self {
        self.near = near;
        self
    }

    /// What the shape consists of.
    pub(super) fn parts(&self) -> Parts {
        let mut parts = Parts::default();
        let mut shape = self.shape.as_bytes();
        for part in &mut parts {
            let [of, after @ ..] = shape else { break };
            let of = match of {
                b'd' => DIGIT,
                b'U' => CAPITAL,
                b'N' => DIGIT | CAPITAL,
                b'a' => SMALL | CAPITAL,
                b'x' => HEXADECIMAL,
                _ => DIGIT | SMALL | CAPITAL,
            };
            let digits = after.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let (number, after) = after.split_at_checked(digits).unwrap_or_default();
            // No number is written as `*`.
            let count = number.iter().fold(0, |count, digit| count * 10 + (digit - b'0'));
            *part = (of, if count == 0 { ALL } else { count });
            shape = after;
        }
        parts
    }
}

/// Characters of a shape: what each consists of, and how many follow each other.
pub(super) type Parts = [(u8, u8); 8];
/// As many as there are.
pub(super) const ALL: u8 = u8::MAX;

/// What the character at an index of a shape is.
pub(super) fn nth(parts: &Parts, mut index: usize) -> u8 {
    for (of, count) in parts {
        match index.checked_sub(usize::from(*count)) {
            Some(left) if *count != ALL => index = left,
            _ => return *of,
        }
    }
    0
}
