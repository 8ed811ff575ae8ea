//! Vehicle identification numbers (ISO 3779): seventeen characters with the check digit that North America
//! demands; without it only near words.

use super::check::{at, digits_in};
use super::context::Near;
use super::row::{LONGEST, Row};
use super::{Detector, Scan};

pub(super) const DETECTOR: Detector = Detector {
    id: "vin",
    mask: "[VIN]",
    longest: LONGEST,
    context: &["vin", "chassis", "vehicle id"],
    scan: Scan::Rows(&[
        Row::new(0xf, "n17", 0).check(checked),
        Row::new(0xf, "n17", 0).check(formed).near(Near::Around),
    ]),
};

fn formed(text: &[u8]) -> bool {
    let digits = digits_in(text);
    let alike = text.iter().any(|byte| b"IOQ".contains(&byte.to_ascii_uppercase()));
    !alike && (4..17).contains(&digits)
}

fn checked(text: &[u8]) -> bool {
    let value = |byte: &u8| match byte.to_ascii_uppercase() {
        digit @ b'0'..=b'9' => u32::from(digit - b'0'),
        letter @ b'A'..=b'H' => u32::from(letter - b'A') + 1,
        letter @ b'J'..=b'R' => u32::from(letter - b'J') + 1,
        letter => u32::from(letter.wrapping_sub(b'S')) + 2,
    };
    let weights = [8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2];
    let sum: u32 = text.iter().zip(weights).map(|(byte, weight)| value(byte) * weight).sum();
    formed(text) && at(b"0123456789X", (sum % 11) as usize) == at(text, 8).to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::super::vectors::marked;

    #[test]
    fn numbers_are_found_by_their_check_digit() {
        marked(
            "vin",
            &[
                "<1HGCM82633A004352>, <1M8GDM9AXKP042788>.",
                "VIN: <WVWZZZ1JZXW000001>",
                "WVWZZZ1JZXW000001 1HGCM82633A004353 1HGCM82633A0O4352 12345678901234567",
            ],
        );
    }
}
