//! Australian business numbers: eleven digits of modulus 89. In groups anywhere, bare only near words.

use super::check::{at, weighed};
use super::context::Near;
use super::row::{DASH, LONGEST, Row, SPACE};
use super::{Detector, Scan};

pub(super) const DETECTOR: Detector = Detector {
    id: "au_abn",
    mask: "[AU_ABN]",
    longest: LONGEST,
    context: &["abn", "business n"],
    scan: Scan::Rows(&[
        Row::new(0x2333, "d11", SPACE | DASH).check(valid),
        Row::new(0xb, "d11", 0).check(valid).near(Near::Around),
    ]),
};

fn valid(text: &[u8]) -> bool {
    let sum = weighed(text, &[10, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19]);
    at(text, 0) != b'0' && sum.checked_sub(10).is_some_and(|sum| sum.is_multiple_of(89))
}

#[cfg(test)]
mod tests {
    use super::super::vectors::marked;

    #[test]
    fn numbers_are_found_by_their_check_digit() {
        marked(
            "au_abn",
            &["<51 824 753 556>", "ABN <51824753556>", "51824753556 52 824 753 556", "ABN 52824753556"],
        );
    }
}
