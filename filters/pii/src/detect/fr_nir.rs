//! French social security numbers: sex, year, month, place, order and a key of modulus 97.

use super::check::{at, modulo, part};
use super::row::{LONGEST, Row, SPACE};
use super::{Detector, Scan};

pub(super) const DETECTOR: Detector = Detector {
    id: "fr_nir",
    mask: "[FR_NIR]",
    longest: LONGEST,
    context: &[],
    scan: Scan::Rows(&[
        Row::new(0xf, "d5n2d8", 0).check(valid),
        Row::new(0x1222332, "d5n2d8", SPACE).check(valid),
        Row::new(0xd2, "d5n2d8", SPACE).check(valid),
    ]),
};

fn valid(text: &[u8]) -> bool {
    // Corsica's departments 2A and 2B count as 19 and 18.
    let (body, key) = text.split_at_checked(13).unwrap_or_default();
    let corsica = at(body, 6).to_ascii_uppercase();
    let place = if corsica == b'A' { 9 } else { 8 };
    let island = corsica.is_ascii_alphabetic();
    let digits = body.iter().enumerate().map(|(index, byte)| match (island, index) {
        (true, 5) => b'1',
        (true, 6) => b'0' + place,
        _ => *byte,
    });
    let month = part(text, 3, 5);
    matches!(at(text, 0), b'1'..=b'4' | b'7' | b'8')
        && (matches!(month, 1..=12 | 20..=42 | 50..=99))
        && (!island || (at(body, 5) == b'2' && matches!(corsica, b'A' | b'B')))
        && 97 - modulo(digits, 97) == part(key, 0, 2)
}

#[cfg(test)]
mod tests {
    use super::super::vectors::marked;

    #[test]
    fn numbers_are_found_by_their_key() {
        marked(
            "fr_nir",
            &[
                "<1 85 05 78 006 084 91>",
                "<185057800608491>, ok",
                "<185052A00608435>",
                "185057800608492 1 85 13 78 006 084 91",
            ],
        );
    }
}
