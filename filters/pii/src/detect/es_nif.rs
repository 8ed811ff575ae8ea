//! Spanish tax numbers of citizens: up to eight digits and a check letter.

use super::check::{at, part};
use super::row::{DASH, LONGEST, Row};
use super::{Detector, Scan};

pub(super) const DETECTOR: Detector = Detector {
    id: "es_nif",
    mask: "[ES_NIF]",
    longest: LONGEST,
    context: &[],
    scan: Scan::Rows(&[
        Row::new(0x9, "d8a1", 0).check(valid),
        Row::new(0x81, "d8a1", DASH).check(valid),
        Row::new(0x71, "d7a1", DASH).check(valid),
    ]),
};

/// Check letters by the remainder of 23.
pub(super) const LETTERS: &[u8] = b"TRWAGMYFPDXBNJZSQVHLCKE";

fn valid(text: &[u8]) -> bool {
    let Some((last, digits)) = text.split_last() else { return false };
    at(LETTERS, (part(digits, 0, digits.len()) % 23) as usize) == last.to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::super::vectors::marked;

    #[test]
    fn numbers_are_found_by_their_check_letter() {
        marked("es_nif", &["<12345678Z>, <12345678-Z> <1111111-G>", "<12345678z>", "12345678A 123456789Z"]);
    }
}
