//! Dutch citizen service numbers: nine digits of the eleven test, near words.

use super::check::{at, number, varied, weighed};
use super::context::Near;
use super::row::{DOT, LONGEST, Row, SPACE};
use super::{Detector, Scan};

pub(super) const DETECTOR: Detector = Detector {
    id: "nl_bsn",
    mask: "[NL_BSN]",
    longest: LONGEST,
    context: &["bsn", "burgerservice", "sofi", "citizen service"],
    scan: Scan::Rows(&[
        Row::new(0x9, "d9", 0).check(valid).near(Near::Around),
        Row::new(0x423, "d9", SPACE | DOT).check(valid).near(Near::Around),
        Row::new(0x333, "d9", SPACE | DOT).check(valid).near(Near::Around),
    ]),
};

fn valid(text: &[u8]) -> bool {
    let sum = weighed(text, &[9, 8, 7, 6, 5, 4, 3, 2]);
    varied(text) && sum >= number(at(text, 8)) && (sum - number(at(text, 8))).is_multiple_of(11)
}

#[cfg(test)]
mod tests {
    use super::super::vectors::marked;

    #[test]
    fn numbers_are_found_near_words() {
        marked(
            "nl_bsn",
            &[
                "BSN <111222333>, burgerservicenummer: <1234.56.782>",
                "<123 456 782> is mijn BSN",
                "111222333",
                "BSN 111222334",
            ],
        );
    }
}
