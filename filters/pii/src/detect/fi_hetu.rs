//! Finnish personal identity codes: a date of birth, a sign of the century, three digits and a check character.

use super::check::{at, day_of_month, part};
use super::row::{DASH, LONGEST, PLUS, Row};
use super::{Detector, Scan};

pub(super) const DETECTOR: Detector = Detector {
    id: "fi_hetu",
    mask: "[FI_HETU]",
    longest: LONGEST,
    context: &[],
    scan: Scan::Rows(&[
        Row::new(0xb, "d6a1d3n1", 0).check(valid),
        Row::new(0x64, "d9n1", DASH | PLUS).check(dashed),
    ]),
};

fn check(text: &[u8], serial: usize) -> bool {
    let number = part(text, 0, 6) * 1000 + part(text, serial, serial + 3);
    day_of_month(part(text, 0, 2), part(text, 2, 4))
        && part(text, serial, serial + 3) > 1
        && at(b"0123456789ABCDEFHJKLMNPRSTUVWXY", (number % 31) as usize)
            == at(text, serial + 3).to_ascii_uppercase()
}

fn valid(text: &[u8]) -> bool {
    b"ABCDEFUVWXY".contains(&at(text, 6).to_ascii_uppercase()) && check(text, 7)
}

fn dashed(text: &[u8]) -> bool {
    check(text, 6)
}

#[cfg(test)]
mod tests {
    use super::super::vectors::marked;

    #[test]
    fn codes_are_found_by_their_check_character() {
        marked(
            "fi_hetu",
            &[
                "<020594X903P> is my hetu, <131052-308T>.",
                "<010516B902W> <040594V9030>",
                "310289-211C 131052-308U 111111-111A 010324A110G 131052/308T 320594X903P",
            ],
        );
    }
}
