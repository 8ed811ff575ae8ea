//! Italian fiscal codes: letters of the name, date and place of birth, and a check letter.

use super::check::{at, number};
use super::row::{LONGEST, Row, SPACE};
use super::{Detector, Scan};

pub(super) const DETECTOR: Detector = Detector {
    id: "it_fiscal_code",
    mask: "[IT_FISCAL_CODE]",
    longest: LONGEST,
    context: &[],
    scan: Scan::Rows(&[
        Row::new(0xf, "a6n2a1n2a1n3a1", 0).check(valid),
        Row::new(0x33555, "U6n2U1n2U1n3U1", SPACE).check(valid),
    ]),
};

/// What characters count in odd places, digits like the letters from A.
const ODD: &[u8] =
    &[1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23];

fn valid(text: &[u8]) -> bool {
    let place = |byte: u8| number(byte) - if byte.is_ascii_digit() { 0 } else { 10 };
    let count = |(index, byte): (usize, &u8)| {
        let place = place(*byte);
        if index % 2 == 0 { ODD.get(place as usize).copied().map_or(0, u32::from) } else { place }
    };
    let Some((last, body)) = text.split_last() else { return false };
    let sum: u32 = body.iter().enumerate().map(count).sum();
    b"ABCDEHLMPRST".contains(&at(text, 8).to_ascii_uppercase()) && sum % 26 == place(*last)
}

#[cfg(test)]
mod tests {
    use super::super::vectors::marked;

    #[test]
    fn codes_are_found_by_their_check_letter() {
        marked(
            "it_fiscal_code",
            &[
                "<RSSMRA85T10A562S>, <rssmra85t10a562s>",
                "<AAAAAA00B11C333Y> and AAAAAA00B11C333N",
                "RSSMRA85T10A562T RSSMRA85T10A562SX",
            ],
        );
    }
}
