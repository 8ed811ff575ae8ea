//! Numbers of the UK National Health Service: ten digits with a check digit of modulus 11. In groups anywhere,
//! bare only near words.

use super::check::{at, number, varied, weighed};
use super::context::Near;
use super::row::{DASH, LONGEST, Row, SPACE};
use super::{Detector, Scan};

pub(super) const DETECTOR: Detector = Detector {
    id: "uk_nhs",
    mask: "[UK_NHS]",
    longest: LONGEST,
    context: &["nhs", "health service", "patient"],
    scan: Scan::Rows(&[
        Row::new(0x334, "d10", SPACE | DASH).check(valid),
        Row::new(0xa, "d10", 0).check(valid).near(Near::Around),
    ]),
};

fn valid(text: &[u8]) -> bool {
    let sum = weighed(text, &[10, 9, 8, 7, 6, 5, 4, 3, 2]);
    (11 - sum % 11) % 11 == number(at(text, 9)) && varied(text)
}

#[cfg(test)]
mod tests {
    use super::super::vectors::marked;

    #[test]
    fn numbers_are_found_by_their_check_digit() {
        marked(
            "uk_nhs",
            &[
                "<401-023-2137>, <221 395 1837>",
                "NHS number <0032698674>",
                "0032698674",
                "401-023-2138 000 000 0000 12 401 023 2137",
            ],
        );
    }
}
