//! A message that is nothing but a number: somebody was asked for it. What the words around a number say elsewhere, the
//! question has said before, so that its check digit is enough.

use weir_sorted::trim;

use crate::detect::check::digits_in;
use crate::set::{self, Set};
use crate::view::View;
use crate::{DETECTORS, Document, Finding, Kind};

/// Bytes of the longest value, however its digits are spelled.
const LONGEST: usize = 96;
/// Characters of values, with what separates their groups.
const CHARACTERS: std::ops::RangeInclusive<usize> = 8..=24;

/// Types that have a check digit and yet are found near words only, or only near words where nothing separates their
/// groups.
const CHECKED: [&str; 12] = [
    "aba_routing",
    "ca_sin",
    "uk_nhs",
    "uk_utr",
    "de_tax_id",
    "de_id_card",
    "nl_bsn",
    "se_personnummer",
    "au_tfn",
    "au_abn",
    "au_medicare",
    "in_aadhaar",
];

/// Whether a folded text may be such a value: nearly all texts have more letters in their first words.
pub(crate) fn may_be(bytes: &[u8]) -> bool {
    let most = *CHARACTERS.end();
    bytes.iter().filter(|byte| byte.is_ascii_alphanumeric()).take(most + 1).count() <= most
}

/// Appends what a text is that consists of one value of such types, as [`crate::find`] does of matches that overlap. It is
/// judged as if a word of the type stood before it.
pub(crate) fn find(set: &Set, text: &str, out: &mut Vec<Finding>) {
    let value = trim(text);
    if value.len() > LONGEST {
        return;
    }
    let mut folded = Vec::new();
    let view = View::new(value, Some(true), &mut folded);
    let bytes = view.bytes();
    let number = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b' ' | b'-' | b'.');
    let digits = digits_in(bytes);
    if !CHARACTERS.contains(&bytes.len()) || !bytes.iter().all(number) || digits * 2 < bytes.len() {
        return;
    }
    let start = text.len() - text.trim_start().len();
    let (mut spoken, first) = (String::new(), out.len());
    for detector in DETECTORS.iter().filter(|detector| CHECKED.contains(&detector.id)) {
        let Some(word) = detector.context.first() else { continue };
        spoken.clear();
        for part in [word, " ", value] {
            spoken.push_str(part);
        }
        let at = spoken.len() - value.len()..spoken.len();
        let mut hits = Vec::new();
        set.scan(&Document::text(&spoken), true, &mut hits);
        let own = |hit: &Finding| hit.range == at && Kind::of(detector.id) == Some(hit.kind);
        if let Some(mut hit) = hits.into_iter().find(own) {
            hit.range = start..start + value.len();
            hit.decided = hit.range.end;
            out.push(hit);
        }
    }
    set::merge(out, first);
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use crate::view::tests::{ESCAPES, written};
    use crate::{Action, Rule, Set, Written, find, find_in_message, find_written};

    fn found(types: &[&str], text: &str) -> Vec<String> {
        let rule = Rule {
            find: types.iter().map(|id| (*id).to_owned()).collect(),
            words: Vec::new(),
            action: Action::Mask,
        };
        let set = Set::new(&[rule]).unwrap();
        let (mut findings, mut elsewhere) = (Vec::new(), Vec::new());
        find_in_message(&set, text, &mut findings);
        let mut escaped = Vec::new();
        let raw = written(text, |at| at % 2 == 0);
        find_written(
            &set,
            &Written { raw: &raw, escapes: &ESCAPES, text: &|| text, message: true },
            &mut escaped,
        );
        assert_eq!(escaped, findings, "{raw}");
        find(&set, &format!("{text} it is"), &mut elsewhere);
        assert!(elsewhere.is_empty(), "{text}");
        findings
            .into_iter()
            .map(|found| format!("{} {}", found.kind.name(), text.get(found.range).unwrap()))
            .collect()
    }

    #[test]
    fn a_message_that_is_a_number_with_a_right_check_digit_is_found() {
        for (id, text) in [
            ("aba_routing", "121000358"),
            ("ca_sin", "130692544"),
            ("uk_nhs", "9434765919"),
            ("de_tax_id", "86095742719"),
            ("de_id_card", "T220001293"),
            ("nl_bsn", "111222333"),
            ("se_personnummer", "8112189876"),
            ("au_tfn", "876543210"),
            ("au_abn", "51824753556"),
            ("au_medicare", "2123456701"),
            ("in_aadhaar", "399876543211"),
        ] {
            assert_eq!(found(&[id], text), [format!("{id} {text}")]);
            assert_eq!(found(&[id], &format!(" {text}\n")), [format!("{id} {text}")]);
            let wide = |c: char| if c.is_ascii() { char::from_u32(c as u32 + 0xfee0).unwrap() } else { c };
            let wide: String = text.chars().map(wide).collect();
            assert_eq!(found(&[id], &wide), [format!("{id} {wide}")]);
        }
    }

    #[test]
    fn any_other_message_is_not() {
        let all: Vec<&str> = super::CHECKED.into_iter().chain(["us_ssn", "us_passport"]).collect();
        // A wrong check digit, a count, a year, words, two numbers, and a number that no type is looked for of.
        for text in ["121000359 no", "order 130692544", "20240101", "1000000", "A B C D E F G H", "12-34-56"]
        {
            assert_eq!(found(&all, text), [""; 0], "{text}");
        }
        assert_eq!(found(&["email"], "121000358"), [""; 0]);
    }

    #[test]
    fn of_several_types_the_first_names_it_and_the_strictest_action_holds() {
        let both = ["aba_routing 121000028", "au_tfn 121000028"];
        for (aba, tfn) in [
            (Action::Report, Action::Block),
            (Action::Mask, Action::Block),
            (Action::Block, Action::Tokenize),
        ] {
            let rule = |id: &str, action| Rule { find: vec![id.to_owned()], words: Vec::new(), action };
            let set = Set::new(&[rule("aba_routing", aba), rule("au_tfn", tfn)]).unwrap();
            let mut findings = Vec::new();
            find_in_message(&set, "121000028", &mut findings);
            assert_eq!(findings.iter().map(|found| found.action).max(), Some(Action::Block));
        }
        let mut told = found(&["au_tfn", "aba_routing"], "121000028");
        told.sort();
        assert_eq!(told, both);
    }
}
