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

    #[test]
    fn more_groups_are_an_address_of_another_kind_or_a_fingerprint() {
        marked(
            "mac_address",
            &[
                "aa:bb:cc:dd:ee:ff:ab, aa:bb:cc:dd:ee:ff:ab:cd aabb.ccdd.eeff.abcd aa-bb-cc-dd-ee-ff-ab",
                "MD5:16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48",
                "SHA1 Fingerprint=AB:CD:EF:AA:BB:CC:DD:EE:FF:AB:CD:EF:AA:BB:CC:DD:EE:FF:AB:CD",
                "<aa:bb:cc:dd:ee:ff>:eth0 iface:<aa:bb:cc:dd:ee:ff>:abc b:<aa:bb:cc:dd:ee:ff>: on",
                "<aabb.ccdd.eeff>.local <aabb.ccdd.eeff>.eu",
            ],
        );
    }
}
