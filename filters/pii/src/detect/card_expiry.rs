//! Expiry dates of payment cards: month and year behind words that say so.

use super::check::part;
use super::context::Near;
use super::row::{DASH, LONGEST, Row, SLASH};
use super::{Detector, Scan};

pub(super) const DETECTOR: Detector = Detector {
    id: "card_expiry",
    mask: "[CARD_EXPIRY]",
    longest: LONGEST,
    context: &["exp", "valid thru", "valid through", "valid until", "good thru", "mm/yy"],
    scan: Scan::Rows(&[
        Row::new(0x22, "d4", SLASH | DASH).check(valid).near(Near::Before(24)),
        Row::new(0x24, "d6", SLASH | DASH).check(valid).near(Near::Before(24)),
        Row::new(0x12, "d3", SLASH).check(|text| part(text, 0, 1) > 0).near(Near::Before(24)),
    ]),
};

fn valid(text: &[u8]) -> bool {
    let year = part(text, 2, text.len());
    (1..=12).contains(&part(text, 0, 2)) && (year < 100 || (2000..2100).contains(&year))
}

#[cfg(test)]
mod tests {
    use super::super::vectors::marked;

    #[test]
    fn dates_are_found_behind_words() {
        marked(
            "card_expiry",
            &[
                "exp <12/29>, expires <01/2030>; Expiry date: <09-27>",
                "valid thru <5/28>",
                "12/29",
                "exp 13/29 exp 00/29 exp 12/1999 exp 12/29/2024",
            ],
        );
    }
}
