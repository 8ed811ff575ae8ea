//! US individual taxpayer identification numbers: nine digits that begin with 9, their fourth and fifth in the
//! ranges that the Internal Revenue Service gives out. With separators anywhere, without only near words.

use super::check::part;
use super::context::Near;
use super::row::{DASH, DOT, LONGEST, Row, SPACE};
use super::{Detector, Scan};

pub(super) const DETECTOR: Detector = Detector {
    id: "us_itin",
    mask: "[US_ITIN]",
    longest: LONGEST,
    context: &["itin", "taxpayer", "tax id", "tax ident", "tin "],
    scan: Scan::Rows(&[
        Row::new(0x324, "d9", DASH | SPACE | DOT).check(valid),
        Row::new(0x9, "d9", 0).check(valid).near(Near::Around),
    ]),
};

fn valid(text: &[u8]) -> bool {
    let group = part(text, 3, 5);
    text.first() == Some(&b'9') && matches!(group, 50..=65 | 70..=88 | 90..=92 | 94..=99)
}

#[cfg(test)]
mod tests {
    use super::super::vectors::marked;

    #[test]
    fn numbers_are_found_by_their_group() {
        marked(
            "us_itin",
            &[
                "<911-70-1234>, <911 64 1234>",
                "my ITIN is <911701234>.",
                "911701234",
                "911-89-1234",
                "my tax id 911-89-1234",
                "811-70-1234 911-70-1234-5 1-911-70-1234 12 911 70 1234",
                "<\u{ff19}11-70-1234>",
                "993 55 _3\t . 911 70 1_34 911-70- 123",
            ],
        );
    }
}
