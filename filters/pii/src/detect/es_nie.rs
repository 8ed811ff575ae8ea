//! Spanish numbers of foreigners: X, Y or Z, seven digits and a check letter.

use super::check::{at, part};
use super::es_nif::LETTERS;
use super::row::{DASH, LONGEST, Row};
use super::{Detector, Scan};

pub(super) const DETECTOR: Detector = Detector {
    id: "es_nie",
    mask: "[ES_NIE]",
    longest: LONGEST,
    context: &[],
    scan: Scan::Rows(&[
        Row::new(0x9, "a1d7a1", 0).check(valid),
        Row::new(0x81, "a1d7a1", DASH).check(valid),
        Row::new(0x171, "a1d7a1", DASH).check(valid),
    ]),
};

fn valid(text: &[u8]) -> bool {
    let [first, digits @ .., last] = text else { return false };
    let first = match first.to_ascii_uppercase() {
        letter @ b'X'..=b'Z' => u32::from(letter - b'X'),
        _ => return false,
    };
    let number = first * 10_000_000 + part(digits, 0, digits.len());
    at(LETTERS, (number % 23) as usize) == last.to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::super::vectors::marked;

    #[test]
    fn numbers_are_found_by_their_check_letter() {
        marked(
            "es_nie",
            &[
                "<Y8063915Z>, <Y8063915-Z>; <X-9613851-N>",
                "<Z8078221M> en mi NIE",
                "Y8063915A W8063915Q 58063915Q",
            ],
        );
    }
}
