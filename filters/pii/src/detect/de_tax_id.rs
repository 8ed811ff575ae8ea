//! German tax identification numbers: eleven digits of ISO 7064 modulus 11,10, one of the first ten more than
//! once. In groups anywhere, bare only near words.

use super::check::{at, number};
use super::context::Near;
use super::row::{LONGEST, Row, SPACE};
use super::{Detector, Scan};

pub(super) const DETECTOR: Detector = Detector {
    id: "de_tax_id",
    mask: "[DE_TAX_ID]",
    longest: LONGEST,
    context: &["steuer", "idnr", "tax id", "tin ", "taxpayer"],
    scan: Scan::Rows(&[
        Row::new(0x2333, "d11", SPACE).check(valid),
        Row::new(0xb, "d11", 0).check(valid).near(Near::Around),
    ]),
};

fn valid(text: &[u8]) -> bool {
    let (body, _) = text.split_at_checked(10).unwrap_or_default();
    let product = body.iter().fold(10, |product, byte| {
        let sum = (number(*byte) + product) % 10;
        (if sum == 0 { 10 } else { sum }) * 2 % 11
    });
    let seen = body.iter().fold(0u16, |seen, digit| seen | 1 << (digit & 15));
    // Not all are different.
    let twice = seen.count_ones() < 10;
    at(text, 0) != b'0' && (11 - product) % 10 == number(at(text, 10)) && twice
}

#[cfg(test)]
mod tests {
    use super::super::vectors::marked;

    #[test]
    fn numbers_are_found_by_their_check_digit() {
        marked(
            "de_tax_id",
            &[
                "<86 095 742 719>",
                "Steuer-ID: <86095742719>",
                "Steueridentifikationsnummer <86095742719>",
                "86095742719",
                "Steuer 86095742718 Steuer 02345678901",
            ],
        );
    }
}
