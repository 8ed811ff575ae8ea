//! Numbers of medical records: whatever the house uses, so only behind words.

use super::check::digits_in;
use super::context::Near;
use super::row::{DASH, LONGEST, Row};
use super::{Detector, Scan};

pub(super) const DETECTOR: Detector = Detector {
    id: "medical_record",
    mask: "[MEDICAL_RECORD]",
    longest: LONGEST,
    context: &["mrn", "medical record", "patient id", "patient n", "patient #", "chart n", "health record"],
    scan: Scan::Rows(&[
        Row::new(0x5, "n5", 0).check(valid).near(Near::Before(32)),
        Row::new(0x6, "n6", 0).check(valid).near(Near::Before(32)),
        Row::new(0x7, "n7", 0).check(valid).near(Near::Before(32)),
        Row::new(0x8, "n8", 0).check(valid).near(Near::Before(32)),
        Row::new(0x9, "n9", 0).check(valid).near(Near::Before(32)),
        Row::new(0xa, "n10", 0).check(valid).near(Near::Before(32)),
        Row::new(0xb, "n11", 0).check(valid).near(Near::Before(32)),
        Row::new(0xc, "n12", 0).check(valid).near(Near::Before(32)),
        Row::new(0x33, "n6", DASH).check(valid).near(Near::Before(32)),
        Row::new(0x34, "n7", DASH).check(valid).near(Near::Before(32)),
        Row::new(0x222, "d6", DASH).check(valid).near(Near::Before(32)),
        Row::new(0x332, "d8", DASH).check(valid).near(Near::Before(32)),
    ]),
};

fn valid(text: &[u8]) -> bool {
    digits_in(text) >= 4
}

#[cfg(test)]
mod tests {
    use super::super::vectors::marked;

    #[test]
    fn numbers_are_found_behind_words() {
        marked(
            "medical_record",
            &[
                "MRN: <00482913>, medical record number <A123456>",
                "patient ID <482-913>",
                "00482913 A123456",
                "patient number unknown",
            ],
        );
    }
}
