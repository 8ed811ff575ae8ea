//! Serial numbers of German identity cards and passports: nine characters with a check digit of weights 7, 3, 1,
//! near words.

use super::check::{at, digits_in, number, weighed};
use super::context::Near;
use super::row::{LONGEST, Row};
use super::{Detector, Scan};

pub(super) const DETECTOR: Detector = Detector {
    id: "de_id_card",
    mask: "[DE_ID_CARD]",
    longest: LONGEST,
    context: &["ausweis", "personalausweis", "reisepass", "id card", "passport", "identity card"],
    scan: Scan::Rows(&[
        Row::new(0x9, "n9", 0).check(valid).near(Near::Around),
        Row::new(0xa, "n9d1", 0).check(valid).near(Near::Around),
    ]),
};

fn valid(text: &[u8]) -> bool {
    let first = at(text, 0).to_ascii_uppercase();
    let (body, _) = text.split_at_checked(9).unwrap_or_default();
    let given = body.iter().all(|byte| !b"AEIOUBDQS".contains(&byte.to_ascii_uppercase()));
    let whole = text.len() < 10 || weighed(body, &[7, 3, 1, 7, 3, 1, 7, 3, 1]) % 10 == number(at(text, 9));
    b"CFGHJKLMNPRTVWXYZ".contains(&first) && given && whole && digits_in(text) > 3
}

#[cfg(test)]
mod tests {
    use super::super::vectors::marked;

    #[test]
    fn numbers_are_found_near_words() {
        marked(
            "de_id_card",
            &[
                "Personalausweis: <L01X00T44>.",
                "Ausweis Nr. <T22000129>, <t220001293>",
                "T22000129 L01X00T44",
                "Ausweis 123456789 Ausweis T2200O129",
            ],
        );
    }
}
