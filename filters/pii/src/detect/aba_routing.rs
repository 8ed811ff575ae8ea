//! Routing numbers of US banks: nine digits, their district and check digit right, near words.

use super::check::{part, weighed};
use super::context::Near;
use super::row::{DASH, LONGEST, Row};
use super::{Detector, Scan};

pub(super) const DETECTOR: Detector = Detector {
    id: "aba_routing",
    mask: "[ABA_ROUTING]",
    longest: LONGEST,
    context: &["routing", "aba", "rtn", "transit"],
    scan: Scan::Rows(&[
        Row::new(0x9, "d9", 0).check(valid).near(Near::Around),
        Row::new(0x441, "d9", DASH).check(valid).near(Near::Around),
    ]),
};

fn valid(text: &[u8]) -> bool {
    let district = matches!(part(text, 0, 2), 1..=12 | 21..=32 | 61..=72 | 80);
    district && weighed(text, &[3, 7, 1, 3, 7, 1, 3, 7, 1]).is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::super::vectors::marked;

    #[test]
    fn numbers_are_found_near_words() {
        marked(
            "aba_routing",
            &[
                "routing number <121000358>",
                "ABA: <0210-0002-1>, <122105155> (transit)",
                "121000358",
                "routing 121000359 991000358",
                "routing 1234-0000-0",
            ],
        );
    }
}
