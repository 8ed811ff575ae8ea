//! Bank identifier codes (ISO 9362): eight or eleven characters of no check digit, so only near words.

use super::context::Near;
use super::row::{LONGEST, Row};
use super::{Detector, Scan};

pub(super) const DETECTOR: Detector = Detector {
    id: "swift_bic",
    mask: "[SWIFT_BIC]",
    longest: LONGEST,
    context: &["swift", "bic"],
    scan: Scan::Rows(&[
        Row::new(0x8, "U6n2", 0).near(Near::Around),
        Row::new(0xb, "U6n5", 0).near(Near::Around),
    ]),
};

#[cfg(test)]
mod tests {
    use super::super::vectors::marked;

    #[test]
    fn codes_are_found_near_words() {
        marked(
            "swift_bic",
            &[
                "SWIFT: <DEUTDEFF>, BIC <DEUTDEFF500>",
                "the BIC code is <NEDSZAJJXXX>.",
                "DEUTDEFF IMPORTANT ABSOLUTELY",
                "swift transfers are quick",
            ],
        );
    }
}
