//! Hardware addresses (IEEE 802 EUI-48): six pairs with hyphens or colons, or three fours with dots.

use super::check::varied;
use super::row::{COLON, DASH, DOT, LONGEST, Row};
use super::{Detector, Scan};

pub(super) const DETECTOR: Detector = Detector {
    id: "mac_address",
    mask: "[MAC_ADDRESS]",
    longest: LONGEST,
    context: &[],
    scan: Scan::Rows(&[
        Row::new(0x222222, "x12", DASH | COLON).check(varied),
        Row::new(0x444, "x12", DOT).check(varied),
    ]),
};

#[cfg(test)]
mod tests {
    use super::super::vectors::marked;

    #[test]
    fn addresses_are_found_in_their_three_spellings() {
        marked(
            "mac_address",
            &[
                "<00-1A-2B-3C-4D-5E>, <aa:bb:cc:dd:ee:ff>;",
                "MAC <aabb.ccdd.eeff>.",
                "<0d-B3-4a-6A-d9-cF>",
                "10:2F:33-AC-29-C3 00:00:00:00:00:00 00:1A:2B:3C:4D:5E:6F 1234.5678.9012.3456 12:34:56",
                "aa:bb:cc:dd:ee",
            ],
        );
    }
}
