//! Indian Aadhaar numbers: twelve digits of Verhoeff's formula. In groups anywhere, bare only near words.

use super::context::Near;
use super::row::{COLON, DASH, LONGEST, Row, SPACE};
use super::{Detector, Scan};

pub(super) const DETECTOR: Detector = Detector {
    id: "in_aadhaar",
    mask: "[IN_AADHAAR]",
    longest: LONGEST,
    context: &["aadhaar", "aadhar", "adhaar", "uidai", "uid "],
    scan: Scan::Rows(&[
        Row::new(0x444, "d12", SPACE | DASH | COLON).check(valid),
        Row::new(0xc, "d12", 0).check(valid).near(Near::Around),
    ]),
};

/// Verhoeff's permutation of digits, one row per place.
const PERMUTED: [[u8; 10]; 8] = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
    [1, 5, 7, 6, 2, 8, 3, 0, 9, 4],
    [5, 8, 0, 3, 7, 9, 6, 1, 4, 2],
    [8, 9, 1, 6, 0, 4, 3, 5, 2, 7],
    [9, 4, 5, 3, 1, 2, 6, 8, 7, 0],
    [4, 2, 8, 6, 5, 7, 3, 9, 0, 1],
    [2, 7, 9, 3, 8, 0, 6, 4, 1, 5],
    [7, 0, 4, 6, 9, 1, 3, 2, 5, 8],
];

/// A product in the dihedral group of the pentagon.
fn product(a: u8, b: u8) -> u8 {
    match (a < 5, b < 5) {
        (true, true) => (a + b) % 5,
        (true, false) => (a + b) % 5 + 5,
        (false, true) => (a + 5 - b) % 5 + 5,
        (false, false) => (a + 5 - b) % 5,
    }
}

fn valid(text: &[u8]) -> bool {
    let step = |sum, (index, byte): (usize, &u8)| {
        let row = PERMUTED.get(index % 8);
        let digit = row.and_then(|row| row.get(usize::from(byte - b'0'))).copied().unwrap_or(0);
        product(sum, digit)
    };
    matches!(text.first(), Some(b'2'..=b'9')) && text.iter().rev().enumerate().fold(0, step) == 0
}

#[cfg(test)]
mod tests {
    use super::super::vectors::marked;

    #[test]
    fn numbers_are_found_by_their_check_digit() {
        marked(
            "in_aadhaar",
            &[
                "<3998 7654 3211>, <3123-4567-8909>; <3998:7654:3211>",
                "My Aadhaar number is <400123456787> with more",
                "399876543211 1234-5678-9012 3998 7654 3212",
                "aadhaar 399876543212",
            ],
        );
    }
}
