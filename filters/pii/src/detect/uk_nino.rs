//! UK national insurance numbers: two letters that are given out, six digits and a letter from A to D.

use super::row::{DASH, LONGEST, Row, SPACE};
use super::{Detector, Scan};

pub(super) const DETECTOR: Detector = Detector {
    id: "uk_nino",
    mask: "[UK_NINO]",
    longest: LONGEST,
    context: &[],
    scan: Scan::Rows(&[
        Row::new(0x9, "a2d6a1", 0).check(valid),
        Row::new(0x22221, "U2d6a1", SPACE | DASH).check(valid),
        Row::new(0x27, "U2d6a1", SPACE).check(valid),
        Row::new(0x261, "U2d6a1", SPACE | DASH).check(valid),
    ]),
};

fn valid(text: &[u8]) -> bool {
    let [a, b, .., suffix] = text else { return false };
    let (a, b) = (a.to_ascii_uppercase(), b.to_ascii_uppercase());
    !b"DFIQUV".contains(&a)
        && !b"DFIOQUV".contains(&b)
        && !matches!(&[a, b], b"BG" | b"GB" | b"KN" | b"NK" | b"NT" | b"TN" | b"ZZ")
        && matches!(suffix.to_ascii_uppercase(), b'A'..=b'D')
}

#[cfg(test)]
mod tests {
    use super::super::vectors::marked;

    #[test]
    fn numbers_are_found_with_and_without_spaces() {
        marked(
            "uk_nino",
            &[
                "<tw987654a> and <PR 12 36 12 C>",
                "nino: <PR 123612C>, <AB123456C>.",
                "<AA-12-34-56-B>",
                "FQ 00 00 00 C, nt 99 88 77 a, UV 98 76 54 B",
                "AB123456E ABC123456C AB1234567C",
            ],
        );
    }
}
