//! Australian tax file numbers: nine or eight digits of modulus 11. In groups anywhere, bare only near words.

use super::check::{varied, weighed};
use super::context::Near;
use super::row::{DASH, LONGEST, Row, SPACE};
use super::{Detector, Scan};

pub(super) const DETECTOR: Detector = Detector {
    id: "au_tfn",
    mask: "[AU_TFN]",
    longest: LONGEST,
    context: &["tfn", "tax file"],
    scan: Scan::Rows(&[
        Row::new(0x333, "d9", SPACE | DASH).check(valid),
        Row::new(0x9, "d9", 0).check(valid).near(Near::Around),
        Row::new(0x332, "d8", SPACE | DASH).check(short).near(Near::Around),
        Row::new(0x8, "d8", 0).check(short).near(Near::Around),
    ]),
};

fn valid(text: &[u8]) -> bool {
    weighed(text, &[1, 4, 3, 7, 5, 8, 6, 9, 10]).is_multiple_of(11) && varied(text)
}

fn short(text: &[u8]) -> bool {
    weighed(text, &[10, 7, 8, 4, 6, 3, 5, 1]).is_multiple_of(11) && varied(text)
}

#[cfg(test)]
mod tests {
    use super::super::vectors::marked;

    #[test]
    fn numbers_are_found_by_their_check_digit() {
        marked(
            "au_tfn",
            &[
                "<876 543 210>",
                "TFN: <876543210>",
                "my tax file number is <37118629>",
                "876543210 824753557",
                "876 543 211",
            ],
        );
    }
}
