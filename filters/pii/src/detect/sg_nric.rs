//! Numbers of Singapore's identity cards and permits: a letter, seven digits and a check letter.

use super::check::{at, weighed};
use super::row::{LONGEST, Row};
use super::{Detector, Scan};

pub(super) const DETECTOR: Detector = Detector {
    id: "sg_nric",
    mask: "[SG_NRIC]",
    longest: LONGEST,
    context: &[],
    scan: Scan::Rows(&[Row::new(0x9, "a1d7a1", 0).check(valid)]),
};

fn valid(text: &[u8]) -> bool {
    let [series, digits @ .., last] = text else { return false };
    let (first, last) = (series.to_ascii_uppercase(), last.to_ascii_uppercase());
    let sum = weighed(digits, &[2, 7, 6, 5, 4, 3, 2]);
    let (sum, letters): (u32, &[u8]) = match first {
        b'S' => (sum, b"JZIHGFEDCBA"),
        b'T' => (sum + 4, b"JZIHGFEDCBA"),
        b'F' => (sum, b"XWUTRQPNMLK"),
        b'G' => (sum + 4, b"XWUTRQPNMLK"),
        b'M' => (sum + 3, b"XWUTRQPNJLK"),
        _ => return false,
    };
    at(letters, if first == b'M' { 10 - sum % 11 } else { sum % 11 } as usize) == last
}

#[cfg(test)]
mod tests {
    use super::super::vectors::marked;

    #[test]
    fn numbers_are_found_by_their_check_letter() {
        marked(
            "sg_nric",
            &[
                "<S2740116C>, <F2346401L>; <S9108268C> <T7572225C>",
                "NRIC <s2740116c> was processed",
                "S2740116D B1234567Z S27401160C",
            ],
        );
    }
}
