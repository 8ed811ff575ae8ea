//! What redaction promises: nothing of a value survives, everything comes back, time is linear, and how it
//! does on texts that others labelled.
//!
//! Property tests: fixed seed where `CI` is set, random elsewhere; `tests/cases/mod.rs` says how to search with
//! more cases or a seed of one's own.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

mod cases;

use std::time::Instant;

use cases::cases;
use proptest::prelude::*;
use weir_pii::{Action, Finding, Key, Rule, Set, Vault, find};

fn set(find: &[&str], words: &[&str], action: Action) -> Set {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Set::new(&[Rule { find: owned(find), words: owned(words), action }]).unwrap()
}

fn all(action: Action) -> Set {
    set(&["email", "credit_card", "us_ssn"], &["Project Bluebird"], action)
}

fn everything(action: Action) -> Set {
    let find: Vec<&str> = weir_pii::DETECTORS.iter().map(|detector| detector.id).collect();
    set(&find, &["Project Bluebird"], action)
}

fn findings(set: &Set, text: &str) -> Vec<Finding> {
    let mut out = Vec::new();
    find(set, text, &mut out);
    out
}

fn redacted(set: &Set, text: &str, vault: &mut Vault) -> String {
    let mut out = text.to_owned();
    for (range, with) in set.redact(text, &findings(set, text), vault).into_iter().rev() {
        out.replace_range(range, &with);
    }
    out
}

#[test]
fn each_action_leaves_its_own_trace() {
    let text = "Mail a@b.co or c@d.co, then a@b.co again.";
    for (action, expected) in [
        (Action::Report, text),
        (Action::Tokenize, "Mail [EMAIL_1] or [EMAIL_2], then [EMAIL_1] again."),
        (Action::Hash, "Mail [EMAIL] or [EMAIL], then [EMAIL] again."),
        (Action::Mask, "Mail [EMAIL] or [EMAIL], then [EMAIL] again."),
        (Action::Block, "Mail [EMAIL] or [EMAIL], then [EMAIL] again."),
    ] {
        let mut vault = Vault::new();
        assert_eq!(redacted(&all(action), text, &mut vault), expected);
        assert_eq!(vault.is_empty(), action != Action::Tokenize);
    }
}

#[test]
fn a_key_makes_digests_and_what_has_no_bound_is_masked() {
    let set = set(&["email", "credit_card", "jwt"], &[], Action::Hash).keyed(Key::from_hex(&"0b".repeat(32)));
    let token = format!("eyJ{}", "hbGciOiJIUzI1NiJ9".repeat(3));
    let text = format!("a@b.co, A@b.co, 4111 1111 1111 1111 and 4111-1111-1111-1111; {token}");
    let out = redacted(&set, &text, &mut Vault::new());
    let parts: Vec<&str> = out.split([',', ';', ' ']).filter(|part| part.starts_with('[')).collect();
    assert_eq!(parts.len(), 5, "{out}");
    assert_eq!((parts[0], parts[2], parts[4]), (parts[1], parts[3], "[JWT]"));
    assert!(parts[0].starts_with("[EMAIL:") && parts[2].starts_with("[CREDIT_CARD:"), "{out}");
}

#[test]
fn the_strictest_action_of_a_type_wins() {
    let rule = |action| Rule { find: vec!["email".to_owned()], words: Vec::new(), action };
    for rules in [[rule(Action::Report), rule(Action::Block)], [rule(Action::Block), rule(Action::Tokenize)]]
    {
        assert_eq!(findings(&Set::new(&rules).unwrap(), "a@b.co")[0].action, Action::Block);
    }
}

#[test]
fn overlapping_findings_are_one_and_no_kind_is_lost() {
    let set = Set::new(&[
        Rule { find: vec!["email".into()], words: Vec::new(), action: Action::Tokenize },
        Rule { find: Vec::new(), words: vec!["example".into(), "com now".into()], action: Action::Block },
    ])
    .unwrap();
    let text = "to j@example.com now";
    let found: Vec<_> =
        findings(&set, text).into_iter().map(|f| (f.kind.name(), &text[f.range], f.action)).collect();
    assert_eq!(
        found,
        [
            ("email", "j@example.com now", Action::Block),
            ("word", "example", Action::Report),
            ("word", "com now", Action::Report),
        ]
    );
    let set = Set::new(&[
        Rule { find: vec!["email".into()], words: Vec::new(), action: Action::Report },
        Rule { find: Vec::new(), words: vec!["example".into()], action: Action::Mask },
    ])
    .unwrap();
    assert_eq!(redacted(&set, text, &mut Vault::new()), "to j@[WORD].com now");
}

#[test]
fn unknown_types_are_named() {
    let rule = Rule { find: vec!["emial".to_owned()], words: Vec::new(), action: Action::Mask };
    assert_eq!(Set::new(&[rule]).unwrap_err().to_string(), "unknown type to find `emial`");
    let none = Set::new(&[]).unwrap();
    assert!(none.is_empty() && none.tail() == 0 && findings(&none, "a@b.co").is_empty());
    assert_eq!((all(Action::Mask).tail(), set(&["us_ssn"], &[], Action::Mask).tail()), (388, 96));
}

/// A valid value of a kind from free digits.
fn value(kind: u8, seed: u64, separator: &str) -> String {
    let digit = |index: u32| (seed / 10u64.pow(index) % 10) as u8;
    match kind {
        0 => {
            let name = ["jane.doe", "o'hara", "k+tag", "x_y-z"][(seed % 4) as usize];
            format!("{name}{}@sub{}.example.org", seed % 1000, seed % 77)
        }
        1 => {
            let mut digits: Vec<u8> = [4].into_iter().chain((0..14).map(digit)).collect();
            let sum: u32 = digits
                .iter()
                .rev()
                .enumerate()
                .map(|(index, digit)| {
                    let weighed = u32::from(*digit) * (2 - index as u32 % 2);
                    if weighed > 9 { weighed - 9 } else { weighed }
                })
                .sum();
            digits.push(((10 - sum % 10) % 10) as u8);
            let text: String = digits.iter().map(u8::to_string).collect();
            [&text[..4], &text[4..8], &text[8..12], &text[12..]].join(separator)
        }
        3 => format!(
            "+1{separator}2{:02}{separator}5{:02}{separator}{:04}",
            seed % 100,
            seed / 100 % 100,
            seed / 10_000 % 10_000
        ),
        4 => {
            let body = format!("{:018}", seed * 7919 % 1_000_000_000_000_000_000);
            let rest = format!("{body}131400")
                .bytes()
                .fold(0, |rest, byte| (rest * 10 + u64::from(byte - b'0')) % 97);
            format!("DE{:02}{body}", 98 - rest)
        }
        5 => format!(
            "{}.{}.{}.{}",
            1 + seed % 254,
            seed / 254 % 256,
            seed / 65_000 % 256,
            100 + seed / 99_000 % 150
        ),
        6 => format!(
            "ghp_{:018}{:018}",
            seed * 7919 % 1_000_000_000_000_000_000,
            seed * 104_729 % 1_000_000_000_000_000_000
        ),
        _ => {
            let separator = if separator.is_empty() { "-" } else { separator };
            format!(
                "{:03}{separator}{:02}{separator}{:04}",
                1 + seed % 600,
                1 + seed / 600 % 99,
                1 + seed / 60_000 % 9999
            )
        }
    }
}

proptest! {
    #![proptest_config(cases(1_000))]

    /// The text around has nothing in common with values, so that whatever is left of one is seen.
    #[test]
    fn no_four_bytes_of_a_value_survive(
        values in prop::collection::vec((prop::sample::select(vec![0u8, 1, 2, 3, 4, 5, 6]), 0u64..100_000_000_000_000, prop::sample::select(vec!["", " ", "-", "\u{2011}"])), 1..5),
        between in prop::collection::vec("[ΔΩЖ漢(){};:\"\n\t,?]{1,12}", 6),
        hide in prop::option::of(prop::sample::select(vec!["\u{200b}", "\u{ad}", "\u{2060}"])),
    ) {
        let (mut text, mut originals) = (String::new(), Vec::new());
        for (index, (kind, seed, separator)) in values.iter().enumerate() {
            text += &between[index];
            text += "; ";
            let plain = value(*kind, *seed, separator);
            let shown = match hide {
                Some(hidden) => plain.split("").filter(|c| !c.is_empty()).collect::<Vec<_>>().join(hidden),
                None => plain.clone(),
            };
            text += &shown;
            text += " ;";
            originals.push(plain);
        }
        text += &between[5];
        let mut vault = Vault::new();
        let out = redacted(&everything(Action::Tokenize), &text, &mut vault);
        prop_assert_eq!(vault.restore(&out).unwrap(), text.as_str());
        let visible: String = out.chars().filter(|c| !"\u{200b}\u{ad}\u{2060}".contains(*c)).collect();
        for original in &originals {
            let characters: Vec<char> = original.chars().collect();
            for part in characters.windows(4) {
                let part: String = part.iter().collect();
                prop_assert!(!visible.contains(&part), "{part:?} of {original:?} in {visible:?} from {text:?}");
            }
        }
    }

    #[test]
    fn any_text_comes_back_from_tokenizing(text in "\\PC{0,60}", typed in prop::option::of("\\[(EMAIL|US_SSN)_[1-3]\\]")) {
        let text = format!("{text} a@b.co 078-05-1120 {}", typed.unwrap_or_default());
        let mut vault = Vault::new();
        vault.reserve(&text);
        let out = redacted(&all(Action::Tokenize), &text, &mut vault);
        prop_assert_eq!(vault.restore(&out).unwrap(), text);
    }
}

#[test]
fn time_is_linear_in_the_worst_texts() {
    let find: Vec<&str> = weir_pii::DETECTORS.iter().map(|detector| detector.id).collect();
    let set = set(&find, &["aaaaaaaaaaaaaaaaaaaaaaaaaaaaab", "1 1 1 1 1 1 2", "青い鳥"], Action::Mask);
    for unit in [
        "@",
        "a@",
        "a",
        "a.",
        "a@a.",
        "a.aa@",
        "1",
        "1 ",
        "4 ",
        "41",
        "4111 ",
        "4-1-1_",
        "078-05-",
        "078051120 ",
        "078 05 ",
        "s",
        "SSN ",
        "\u{200b}",
        "4\u{200b}",
        "青",
        "é",
        "é@",
        "[EMAIL_",
        "a@b.co ",
        "4111111111111111 ",
        "-----BEGIN PRIVATE KEY-----",
        "-----END",
        "eyJ",
        "eyJaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.",
        "sk-a1b2c3d4",
        "ghp_",
        "password=a1b2c3 ",
        "1:",
        "::",
        "1.1.",
        "+1",
        "GB82 ",
        "078051120 ssn ",
        "AB 12 ",
        "call 123456 ",
        "Basic a",
        "://a:",
        " ",
    ] {
        let time = |bytes: usize| {
            let text = unit.repeat(bytes / unit.len());
            let started = Instant::now();
            std::hint::black_box(findings(&set, &text));
            started.elapsed().as_secs_f64()
        };
        // Ten seconds for 256 KB, unoptimised, on a busy machine: what is square takes minutes.
        let large = time(1 << 18);
        assert!(large < 10.0, "{unit:?}: {large} s");
    }
}

/// Signs that begin codings elsewhere stand before values, too: `LIKE '%…%'` in SQL, a number sign, what no terminal knows.
#[test]
fn what_only_looks_like_a_coding_hides_nothing() {
    for (text, hidden) in [
        ("\u{1b}[4111111111111111m", "\u{1b}[[CREDIT_CARD]m"),
        ("\u{1b}[10.1.2.3", "\u{1b}[[IP_ADDRESS]"),
        ("\\x1b[4111111111111111 ", "\\x1b[[CREDIT_CARD] "),
        ("&#4111111111111111;", "&#[CREDIT_CARD];"),
        ("&#10.1.2.3", "&#[IP_ADDRESS]"),
        ("&#078-05-1120", "&#[US_SSN]"),
        ("LIKE '%4111111111111111%'", "LIKE '%[CREDIT_CARD]%'"),
        ("LIKE '%4111 1111 1111 1111%'", "LIKE '%[CREDIT_CARD]%'"),
        ("LIKE \"%10.1.2.3%\"", "LIKE \"%[IP_ADDRESS]%\""),
        ("a %41.1.2.3", "a %[IP_ADDRESS]"),
        ("LIKE '%192.168.1.10%'", "LIKE '%[IP_ADDRESS]%'"),
        ("LIKE '%078-05-1120%'", "LIKE '%[US_SSN]%'"),
        ("C:\\041-10.1.2.3 \\078-05-1120", "C:\\041-[IP_ADDRESS] \\[US_SSN]"),
        ("\u{1b}[31\u{e9}Project Bluebird", "\u{1b}[31\u{e9}Project Bluebird"),
    ] {
        assert_eq!(redacted(&everything(Action::Mask), text, &mut Vault::new()), hidden);
    }
}

#[test]
fn a_client_that_types_a_million_placeholders_costs_no_more_than_reading_them() {
    let mut vault = Vault::new();
    let typed: String = (1..1_000_000).map(|number| format!("[EMAIL_{number}]")).collect();
    let started = Instant::now();
    vault.reserve(&typed);
    let kind = weir_pii::Kind::of("email").unwrap();
    for value in 0..2_000 {
        assert_eq!(vault.placeholder(kind, &value.to_string()), "[EMAIL]");
    }
    assert!(started.elapsed().as_secs() < 20);
}

#[test]
fn labelled_texts_of_others_are_searched_well() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/presidio-research");
    let set = all(Action::Mask);
    let (mut missed, mut hit, mut extra) = (Vec::new(), 0, Vec::new());
    for file in ["generated_small.json", "generated_large.json"] {
        let Ok(text) = std::fs::read_to_string(format!("{folder}/{file}")) else {
            println!("skipped: no labelled texts beside the project");
            return;
        };
        let records: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
        for record in &records {
            let text = record["full_text"].as_str().unwrap();
            let mut found: Vec<(&str, &str)> =
                findings(&set, text).into_iter().map(|f| (f.kind.name(), &text[f.range])).collect();
            for span in record["spans"].as_array().unwrap() {
                let kind = match span["entity_type"].as_str().unwrap() {
                    "EMAIL_ADDRESS" => "email",
                    "CREDIT_CARD" => "credit_card",
                    "US_SSN" => "us_ssn",
                    _ => continue,
                };
                let value = span["entity_value"].as_str().unwrap();
                match found.iter().position(|one| *one == (kind, value)) {
                    Some(index) => {
                        found.remove(index);
                        hit += 1;
                    }
                    None => missed.push((kind, value.to_owned())),
                }
            }
            extra.extend(found.into_iter().map(|(kind, value)| (kind, value.to_owned())));
        }
    }
    println!("{hit} found, missed {missed:?}, beyond the labels {extra:?}");
    assert!(hit >= 90, "{hit}");
    assert!(missed.len() * 50 <= hit && extra.len() * 50 <= hit, "missed {missed:?}, extra {extra:?}");
}

#[test]
fn prompts_without_personal_data_stay_as_they_are() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/prompts");
    let set = everything(Action::Mask);
    for file in ["gsm8k_test.jsonl", "mt_bench_question.jsonl"] {
        let Ok(text) = std::fs::read_to_string(format!("{folder}/{file}")) else {
            println!("skipped: no prompts beside the project");
            return;
        };
        let found: Vec<&str> =
            findings(&set, &text).into_iter().map(|finding| &text[finding.range]).collect();
        assert!(found.is_empty(), "{file}: {found:?}");
    }
}
