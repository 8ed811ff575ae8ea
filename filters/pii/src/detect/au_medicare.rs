//! Australian Medicare numbers: ten digits with a check digit in the ninth place, and maybe one more. In groups
//! anywhere, bare only near words.

use super::check::{at, number, weighed};
use super::context::Near;
use super::row::{DASH, LONGEST, Row, SPACE};
use super::{Detector, Scan};

pub(super) const DETECTOR: Detector = Detector {
    id: "au_medicare",
    mask: "[AU_MEDICARE]",
    longest: LONGEST,
    context: &["medicare"],
    scan: Scan::Rows(&[
        Row::new(0x451, "d10", SPACE | DASH).check(valid),
        Row::new(0xa, "d10", 0).check(valid).near(Near::Around),
        Row::new(0x4511, "d11", SPACE).check(valid),
        Row::new(0xb, "d11", 0).check(valid).near(Near::Around),
    ]),
};

fn valid(text: &[u8]) -> bool {
    let sum = weighed(text, &[1, 3, 7, 9, 1, 3, 7, 9]);
    matches!(text.first(), Some(b'2'..=b'6')) && sum % 10 == number(at(text, 8))
}

#[cfg(test)]
mod tests {
    use super::super::vectors::marked;

    #[test]
    fn numbers_are_found_by_their_check_digit() {
        marked(
            "au_medicare",
            &["<2123 45670 1>", "Medicare card <2123456701>", "2123456701 2123 45671 1 1123 45670 1"],
        );
    }
}
