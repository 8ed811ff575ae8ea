//! International bank account numbers (ISO 13616): the country's length, the characters in any groups with a
//! space or hyphen between, and the remainder of 97. The country's length says where the number ends, so
//! that text right behind it, set apart, does not hide it.

use super::ask::{Ask, MIXED, Word};
use super::check::Remainder;
use super::context::Context;
use super::{Detector, Match, Scan, Verdict};
use crate::class::{WORD, is};

/// Bytes of a number: the longest with a separator between all groups of four, in wide characters, and some
/// invisible ones.
const LONGEST: usize = 192;
/// Bytes after it that may decide about it.
const AFTER: usize = 32;

pub(super) const DETECTOR: Detector = Detector {
    id: "iban",
    mask: "[IBAN]",
    longest: LONGEST,
    context: &[],
    scan: Scan::Word(Ask { kinds: MIXED, shortest: 4, lone: false, ..Ask::new(at) }),
};

/// Countries of the SWIFT registry in their order, each with the characters of its numbers.
const COUNTRIES: &[u8] = b"AD24AE23AL28AT20AZ28BA20BE16BG22BH22BI27BR29BY28CH21CR22CY28CZ24DE22DJ27DK18DO28EE20EG29ES24FI18FK18FO18FR27GB22GE22GI23GL18GR27GT28HN28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21LY25MC27MD24ME22MK19MN20MR27MT31MU30NI28NL18NO15OM23PK24PL28PS29PT25QA29RO24RS22RU33SA24SC31SD18SE24SI19SK24SM27SO23ST25SV28TL23TN24TR26UA29VA22VG24XK20YE30";

fn length(country: [u8; 2]) -> Option<usize> {
    let country = country.map(|letter| letter.to_ascii_uppercase());
    let (entries, _) = COUNTRIES.as_chunks::<4>();
    let place = |[a, b]: [u8; 2]| u16::from_be_bytes([a, b]);
    let at = entries.partition_point(|[a, b, _, _]| place([*a, *b]) < place(country));
    let [a, b, tens, ones] = *entries.get(at)?;
    ([a, b] == country).then(|| usize::from(tens - b'0') * 10 + usize::from(ones - b'0'))
}

fn at(context: &mut Context<'_>, word: Word, _: u8) -> Verdict {
    let (view, start) = (context.view, word.start);
    let bytes = view.bytes();
    let holds = !context.last && view.left(start) <= LONGEST + AFTER;
    let head = bytes.get(start..word.end).unwrap_or_default();
    let begins = |(index, byte): (usize, &u8)| {
        if index < 2 { byte.is_ascii_alphabetic() } else { byte.is_ascii_digit() }
    };
    if !head.iter().take(4).enumerate().all(begins) {
        return Verdict::No;
    }
    let cut = || if holds { Verdict::Cut(start) } else { Verdict::No };
    let [a, b, _, _, ..] = head else {
        return if word.end == bytes.len() { cut() } else { Verdict::No };
    };
    let Some(length) = length([*a, *b]) else { return Verdict::No };
    let mut at = start + 4;
    let mut rest = Remainder::of(97);
    for _ in 4..length {
        let Some(mut byte) = bytes.get(at).copied() else { return cut() };
        if matches!(byte, b' ' | b'-') {
            at += 1;
            let Some(next) = bytes.get(at).copied() else { return cut() };
            byte = next;
        }
        if !is(byte, WORD) {
            return Verdict::No;
        }
        rest.add(byte);
        at += 1;
    }
    // The country and the check digits come last.
    head.iter().take(4).for_each(|byte| rest.add(*byte));
    if rest.value() != 1 {
        return Verdict::No;
    }
    if at >= bytes.len() && holds {
        return Verdict::Cut(start);
    }
    let fits = view.fits(start, at, LONGEST);
    if !fits || view.at(at).is_ascii_alphanumeric() {
        return Verdict::No;
    }
    Verdict::Yes(Match::new(start, at))
}

#[cfg(test)]
mod tests {
    use super::super::vectors::marked;

    #[test]
    fn countries_are_in_their_order() {
        let (entries, rest) = super::COUNTRIES.as_chunks::<4>();
        assert!(entries.is_sorted() && rest.is_empty());
        for [a, b, tens, ones] in entries {
            let length = usize::from(tens - b'0') * 10 + usize::from(ones - b'0');
            assert_eq!(super::length([*a, b.to_ascii_lowercase()]), Some(length));
        }
        assert_eq!([super::length(*b"AA"), super::length(*b"ZZ"), super::length(*b"US")], [None; 3]);
    }

    #[test]
    fn numbers_of_all_lengths_are_found_however_grouped() {
        // Examples that the registry and banks publish.
        marked(
            "iban",
            &[
                "<GB82WEST12345698765432>",
                "IBAN: <GB29 NWBK 6016 1331 9268 19>.",
                "<DE89370400440532013000> and <FR14 2004 1010 0505 0001 3M02 606>",
                "<NO9386011117947>",
                "<MT84 MALT 0110 0001 2345 MTLC AST0 01S>",
                "<LC14BOSL123456789012345678901234>",
                "<gb29nwbk60161331926819>",
                "<NL91-ABNA-0417-1643-00>",
                "<CH93 0076 2011 6238 5295 7> 2024",
                "pay <BE68 5390 0754 7034> now",
                "<AT61\u{a0}1904\u{a0}3002\u{a0}3457\u{a0}3201>",
                "<DE89\u{200b}370400440532013000>",
                "<\u{ff27}\u{ff22}82WEST12345698765432>",
                "支付<DE89370400440532013000>元",
            ],
        );
    }

    #[test]
    fn other_text_is_left_alone() {
        marked(
            "iban",
            &[
                "GB82WEST12345698765433",
                "GB82WEST123456987654321",
                "GB82 WEST 1234 5698 7654",
                "ZZ82WEST12345698765432",
                "GB82  WEST12345698765432",
                "xGB82WEST12345698765432",
                "GB82",
                "AB12 is a plate",
                "",
            ],
        );
    }
}
