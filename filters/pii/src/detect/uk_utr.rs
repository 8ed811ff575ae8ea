//! UK unique taxpayer references: ten digits with a check digit in front, near words.

use super::check::{at, number, weighed};
use super::context::Near;
use super::row::{LONGEST, Row, SPACE};
use super::{Detector, Scan};

pub(super) const DETECTOR: Detector = Detector {
    id: "uk_utr",
    mask: "[UK_UTR]",
    longest: LONGEST,
    context: &["utr", "unique tax", "taxpayer ref", "tax ref", "self assessment"],
    scan: Scan::Rows(&[
        Row::new(0xa, "d10", 0).check(valid).near(Near::Around),
        Row::new(0x55, "d10", SPACE).check(valid).near(Near::Around),
    ]),
};

fn valid(text: &[u8]) -> bool {
    let rest = weighed(text.get(1..).unwrap_or_default(), &[6, 7, 8, 9, 10, 5, 4, 3, 2]) % 11;
    number(at(text, 0)) == [2, 1, 9, 8, 7, 6, 5, 4, 3, 2, 1].get(rest as usize).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::vectors::marked;

    #[test]
    fn references_are_found_near_words() {
        marked(
            "uk_utr",
            &["UTR <1955839661>", "<19558 39661> is my tax reference", "1955839661", "UTR 2955839661"],
        );
    }
}
