//! US employer identification numbers: two and seven digits, near words.

use super::check::varied;
use super::context::Near;
use super::row::{DASH, LONGEST, Row};
use super::{Detector, Scan};

pub(super) const DETECTOR: Detector = Detector {
    id: "us_ein",
    mask: "[US_EIN]",
    longest: LONGEST,
    context: &["ein", "fein", "employer id", "federal tax", "tax id", "tin "],
    scan: Scan::Rows(&[
        Row::new(0x27, "d9", DASH).check(varied).near(Near::Around),
        Row::new(0x9, "d9", 0).check(varied).near(Near::Before(20)),
    ]),
};

#[cfg(test)]
mod tests {
    use super::super::vectors::marked;

    #[test]
    fn numbers_are_found_near_words() {
        marked(
            "us_ein",
            &[
                "EIN <12-3456789>",
                "<98-7654321> is our federal tax number",
                "ein: <123456789>",
                "12-3456789",
                "EIN 123-456789",
            ],
        );
    }
}
