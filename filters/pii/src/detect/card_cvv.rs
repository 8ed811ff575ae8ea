//! Security codes of payment cards: three or four digits behind words that say so.

use super::context::Near;
use super::row::{LONGEST, Row};
use super::{Detector, Scan};

pub(super) const DETECTOR: Detector = Detector {
    id: "card_cvv",
    mask: "[CARD_CVV]",
    longest: LONGEST,
    context: &["cvv", "cvc", "cvn", "csc", "security code", "card code", "card verification"],
    scan: Scan::Rows(&[
        Row::new(0x3, "d3", 0).near(Near::Before(28)),
        Row::new(0x4, "d4", 0).near(Near::Before(28)),
    ]),
};

#[cfg(test)]
mod tests {
    use super::super::vectors::marked;

    #[test]
    fn codes_are_found_behind_words() {
        marked(
            "card_cvv",
            &[
                "CVV: <123>, cvc2 <4567>",
                "my security code is <987>.",
                "123 4567",
                "cvv 12345 cvv 12",
                "cvv $123",
            ],
        );
    }
}
