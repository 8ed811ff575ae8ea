//! Swedish personal identity numbers: a date of birth and four digits of Luhn's formula. Bare ten digits only
//! near words.

use super::check::{day_of_month, luhn, part};
use super::context::Near;
use super::row::{DASH, LONGEST, PLUS, Row};
use super::{Detector, Scan};

pub(super) const DETECTOR: Detector = Detector {
    id: "se_personnummer",
    mask: "[SE_PERSONNUMMER]",
    longest: LONGEST,
    context: &["personn", "pnr", "identity", "samordningsn", "swedish id"],
    scan: Scan::Rows(&[
        Row::new(0x64, "d10", DASH | PLUS).check(short),
        Row::new(0x84, "d12", DASH).check(long),
        Row::new(0xc, "d12", 0).check(long),
        Row::new(0xa, "d10", 0).check(short).near(Near::Around),
    ]),
};

fn short(text: &[u8]) -> bool {
    // Coordination numbers have sixty added to the day.
    let day = part(text, 4, 6);
    day_of_month(if day > 60 { day - 60 } else { day }, part(text, 2, 4)) && luhn(text)
}

fn long(text: &[u8]) -> bool {
    matches!(part(text, 0, 2), 18..=20) && short(text.get(2..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::super::vectors::marked;

    #[test]
    fn numbers_are_found_by_their_check_digit() {
        marked(
            "se_personnummer",
            &[
                "<199109242397>, <19910924-2397>; <910924-2397> <910924+2397>",
                "mitt personnummer <9109242397>",
                "9109242397 19910924-2398 19913924-2397 910924-23971",
            ],
        );
    }
}
