//! Numbers of US driver licences: every state has its own form, so only the words tell them.

use super::check::{digits_in, varied};
use super::context::Near;
use super::row::{DASH, LONGEST, Row};
use super::{Detector, Scan};

pub(super) const DETECTOR: Detector = Detector {
    id: "us_driver_license",
    mask: "[US_DRIVER_LICENSE]",
    longest: LONGEST,
    context: &[
        "driver's lic",
        "drivers lic",
        "driver lic",
        "driver license",
        "driving lic",
        "dl number",
        "dl no",
        "dl #",
        "dl#",
        "dl:",
        "license number",
        "licence number",
        "license no",
        "licence no",
        "license #",
    ],
    scan: Scan::Rows(&[
        Row::new(0x6, "n6", 0).check(valid).near(Near::Before(48)),
        Row::new(0x7, "n7", 0).check(valid).near(Near::Before(48)),
        Row::new(0x8, "n8", 0).check(valid).near(Near::Before(48)),
        Row::new(0x9, "n9", 0).check(valid).near(Near::Before(48)),
        Row::new(0xa, "n10", 0).check(valid).near(Near::Before(48)),
        Row::new(0xb, "n11", 0).check(valid).near(Near::Before(48)),
        Row::new(0xc, "n12", 0).check(valid).near(Near::Before(48)),
        Row::new(0xd, "n13", 0).check(valid).near(Near::Before(48)),
        Row::new(0xe, "n14", 0).check(valid).near(Near::Before(48)),
        Row::new(0x3333, "n12", DASH).check(valid).near(Near::Before(48)),
        Row::new(0x455, "a1d13", DASH).check(valid).near(Near::Before(48)),
    ]),
};

fn valid(text: &[u8]) -> bool {
    digits_in(text) >= 5 && varied(text)
}

#[cfg(test)]
mod tests {
    use super::super::vectors::marked;

    #[test]
    fn numbers_are_found_behind_words() {
        marked(
            "us_driver_license",
            &[
                "My driver's license number is <481195160>",
                "driver's license: <M943688896309>; DL# <C1234567>",
                "my driver license is <a56319335>",
                "D123-4567-8901 481195160 M943688896309",
                "driver's license number of my neighbour",
                "drivers licence 1234",
            ],
        );
    }
}
