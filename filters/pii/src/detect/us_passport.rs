//! Numbers of US passports: nine digits, or a letter and eight, near words.

use super::context::Near;
use super::row::{LONGEST, Row};
use super::{Detector, Scan};

pub(super) const DETECTOR: Detector = Detector {
    id: "us_passport",
    mask: "[US_PASSPORT]",
    longest: LONGEST,
    context: &["passport", "travel document"],
    scan: Scan::Rows(&[
        Row::new(0x9, "d9", 0).near(Near::Around),
        Row::new(0x9, "a1d8", 0).near(Near::Around),
    ]),
};

#[cfg(test)]
mod tests {
    use super::super::vectors::marked;

    #[test]
    fn numbers_are_found_near_words() {
        marked(
            "us_passport",
            &["passport <912803456>", "<A12345678> (US passport)", "912803456 A12345678", "passport 1234567"],
        );
    }
}
