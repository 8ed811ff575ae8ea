//! Canadian social insurance numbers: nine digits of Luhn's formula. In groups anywhere, bare only near words.

use super::check::{luhn, varied};
use super::context::Near;
use super::row::{DASH, LONGEST, Row, SPACE};
use super::{Detector, Scan};

pub(super) const DETECTOR: Detector = Detector {
    id: "ca_sin",
    mask: "[CA_SIN]",
    longest: LONGEST,
    context: &["sin ", "sin:", "social insurance", "nas", "assurance sociale", "canad"],
    scan: Scan::Rows(&[
        Row::new(0x333, "d9", SPACE | DASH).check(valid),
        Row::new(0x9, "d9", 0).check(valid).near(Near::Around),
    ]),
};

fn valid(text: &[u8]) -> bool {
    !matches!(text.first(), Some(b'0' | b'8')) && varied(text) && luhn(text)
}

#[cfg(test)]
mod tests {
    use super::super::vectors::marked;

    #[test]
    fn numbers_are_found_by_their_check_digit() {
        marked(
            "ca_sin",
            &[
                "<435 418 165>, <347-677-452>;",
                "my SIN is <130692544>",
                "mon NAS: <258 933 688>",
                "130692544 130 692 545 812 345 678 111 111 111 046-454 286",
                "12 435 418 165; 435 418 165 7",
            ],
        );
    }
}
