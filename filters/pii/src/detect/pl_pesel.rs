//! Polish PESEL numbers: a date of birth with its century, a serial number and a check digit.

use super::check::{at, day_of_month, number, part, weighed};
use super::row::{LONGEST, Row};
use super::{Detector, Scan};

pub(super) const DETECTOR: Detector = Detector {
    id: "pl_pesel",
    mask: "[PL_PESEL]",
    longest: LONGEST,
    context: &[],
    scan: Scan::Rows(&[Row::new(0xb, "d11", 0).check(valid)]),
};

fn valid(text: &[u8]) -> bool {
    let sum = weighed(text, &[1, 3, 7, 9, 1, 3, 7, 9, 1, 3]);
    day_of_month(part(text, 4, 6), part(text, 2, 4) % 20) && (10 - sum % 10) % 10 == number(at(text, 10))
}

#[cfg(test)]
mod tests {
    use super::super::vectors::marked;

    #[test]
    fn numbers_are_found_by_their_check_digit() {
        marked(
            "pl_pesel",
            &["<44051401359>, <11111111116>", "PESEL: <02070803628>", "44051401358 85040812345 44053201359"],
        );
    }
}
