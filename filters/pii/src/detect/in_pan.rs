//! Indian permanent account numbers: five letters, the fourth telling the kind of holder, four digits, a letter.

use super::check::at;
use super::row::{DASH, LONGEST, Row, SPACE};
use super::{Detector, Scan};

pub(super) const DETECTOR: Detector = Detector {
    id: "in_pan",
    mask: "[IN_PAN]",
    longest: LONGEST,
    context: &[],
    scan: Scan::Rows(&[
        Row::new(0xa, "a5d4a1", 0).check(|text| b"ABCFGHJLPT".contains(&at(text, 3).to_ascii_uppercase())),
        Row::new(0x541, "U5d4U1", SPACE | DASH)
            .check(|text| b"ABCFGHJLPT".contains(&at(text, 3).to_ascii_uppercase())),
    ]),
};

#[cfg(test)]
mod tests {
    use super::super::vectors::marked;

    #[test]
    fn numbers_are_found_by_their_form() {
        marked(
            "in_pan",
            &[
                "My PAN number is <ABBPM4567S>, ok",
                "<aaapa1234c>; <ABCPD-1234-E>",
                "ABCND1234Z AAASA1111R ABCPD12345 ABCPD1234EF",
            ],
        );
    }
}
