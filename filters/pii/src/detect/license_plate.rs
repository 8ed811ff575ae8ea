//! Licence plates: letters and digits in as many forms as there are states, so only behind words.

use super::check::digits_in;
use super::context::Near;
use super::row::{DASH, LONGEST, Row, SPACE};
use super::{Detector, Scan};

pub(super) const DETECTOR: Detector = Detector {
    id: "license_plate",
    mask: "[LICENSE_PLATE]",
    longest: LONGEST,
    context: &[
        "license plate",
        "licence plate",
        "number plate",
        "plate number",
        "plate n",
        "plate:",
        "plate is",
        "car reg",
        "vehicle reg",
        "registration n",
        "kennzeichen",
    ],
    scan: Scan::Rows(&[
        Row::new(0x5, "n5", 0).check(valid).near(Near::Before(32)),
        Row::new(0x6, "n6", 0).check(valid).near(Near::Before(32)),
        Row::new(0x7, "n7", 0).check(valid).near(Near::Before(32)),
        Row::new(0x8, "n8", 0).check(valid).near(Near::Before(32)),
        Row::new(0x23, "N5", SPACE | DASH).check(valid).near(Near::Before(32)),
        Row::new(0x33, "N6", SPACE | DASH).check(valid).near(Near::Before(32)),
        Row::new(0x34, "N7", SPACE | DASH).check(valid).near(Near::Before(32)),
        Row::new(0x43, "N7", SPACE | DASH).check(valid).near(Near::Before(32)),
        Row::new(0x24, "N6", SPACE | DASH).check(valid).near(Near::Before(32)),
        Row::new(0x42, "N6", SPACE | DASH).check(valid).near(Near::Before(32)),
        Row::new(0x32, "N5", SPACE | DASH).check(valid).near(Near::Before(32)),
        Row::new(0x25, "N7", SPACE | DASH).check(valid).near(Near::Before(32)),
        Row::new(0x124, "N7", SPACE | DASH).check(valid).near(Near::Before(32)),
        Row::new(0x133, "N7", SPACE | DASH).check(valid).near(Near::Before(32)),
    ]),
};

fn valid(text: &[u8]) -> bool {
    let digits = digits_in(text);
    let mixed = text.iter().any(u8::is_ascii_uppercase) && text.iter().any(u8::is_ascii_lowercase);
    (1..text.len()).contains(&digits) && !mixed
}

#[cfg(test)]
mod tests {
    use super::super::vectors::marked;

    #[test]
    fn plates_are_found_behind_words() {
        marked(
            "license_plate",
            &[
                "license plate <7ABC123>, number plate: <AB51 ABC>",
                "My car reg is <AB51 ABC> and it expires",
                "7ABC123 AB51 ABC",
                "license plate readers",
            ],
        );
    }
}
