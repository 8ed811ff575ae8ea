//! Account numbers of US banks: eight to seventeen digits that nothing tells from other numbers but the words
//! right before.

use super::check::varied;
use super::context::Near;
use super::row::{LONGEST, Row};
use super::{Detector, Scan};

pub(super) const DETECTOR: Detector = Detector {
    id: "us_bank_account",
    mask: "[US_BANK_ACCOUNT]",
    longest: LONGEST,
    context: &[
        "account n",
        "account #",
        "account: ",
        "acct",
        "bank account",
        "checking",
        "savings acc",
        "account is",
    ],
    scan: Scan::Rows(&[
        Row::new(0x8, "d8", 0).check(varied).near(Near::Before(40)),
        Row::new(0x9, "d9", 0).check(varied).near(Near::Before(40)),
        Row::new(0xa, "d10", 0).check(varied).near(Near::Before(40)),
        Row::new(0xb, "d11", 0).check(varied).near(Near::Before(40)),
        Row::new(0xc, "d12", 0).check(varied).near(Near::Before(40)),
        Row::new(0xd, "d13", 0).check(varied).near(Near::Before(40)),
        Row::new(0xe, "d14", 0).check(varied).near(Near::Before(40)),
        Row::new(0xf, "d*", 0).check(|text| text.len() < 18 && varied(text)).near(Near::Before(40)),
    ]),
};

#[cfg(test)]
mod tests {
    use super::super::vectors::marked;

    #[test]
    fn numbers_are_found_behind_words() {
        marked(
            "us_bank_account",
            &[
                "bank account <945456787654>",
                "Account number: <12345678>; acct #<12345678901234567>",
                "checking <000123456789>",
                "945456787654",
                "account 1234567, account number 123456789012345678",
                "account with 12 orders",
            ],
        );
    }
}
