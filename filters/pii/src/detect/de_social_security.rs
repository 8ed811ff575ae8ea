//! German pension insurance numbers: area, date of birth, letter, serial number, check digit.

use super::check::{at, day_of_month, number, part};
use super::row::{LONGEST, Row, SPACE};
use super::{Detector, Scan};

pub(super) const DETECTOR: Detector = Detector {
    id: "de_social_security",
    mask: "[DE_SOCIAL_SECURITY]",
    longest: LONGEST,
    context: &[],
    scan: Scan::Rows(&[
        Row::new(0xc, "d8a1d3", 0).check(valid),
        Row::new(0x2613, "d8a1d3", SPACE).check(valid),
    ]),
};

fn valid(text: &[u8]) -> bool {
    let letter = number(at(text, 8)) - 9;
    // Two digits stand for the letter.
    let digit = |place| match place {
        0..8 => number(at(text, place)),
        8 => letter / 10,
        9 => letter % 10,
        _ => number(at(text, place - 1)),
    };
    let weigh = |(place, weight): (usize, &u8)| {
        let product = digit(place) * u32::from(*weight);
        product / 10 + product % 10
    };
    let sum: u32 = [2u8, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1].iter().enumerate().map(weigh).sum();
    // Fifty more tell two people of the same day apart.
    let day = part(text, 2, 4);
    day_of_month(if day > 50 { day - 50 } else { day }, part(text, 4, 6)) && sum % 10 == number(at(text, 11))
}

#[cfg(test)]
mod tests {
    use super::super::vectors::marked;

    #[test]
    fn numbers_are_found_by_their_check_digit() {
        marked(
            "de_social_security",
            &[
                "<15070649C103> <38551285K051>",
                "RVNR: <15 070649 C 103> laut",
                "15070649C100 15070049C103 15070649C1030",
            ],
        );
    }
}
