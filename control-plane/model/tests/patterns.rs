//! Patterns of tenants run as the filters run them: as the expression says (an engine for expressions is the judge),
//! the same at every split of a stream, hidden by look-alikes or not.

use std::rc::Rc;

use proptest::prelude::*;
use regex_automata::{Anchored, Input, MatchKind, dfa::Automaton, dfa::dense, util::syntax};
use weir_model::pattern;
use weir_pii::{Action, Redactor, Set, find};

const PATTERNS: &[&str] = &[
    "TCK-[0-9]{6}",
    r"\bEMP[0-9]{4,8}\b",
    "(?i)project[ -]?(x|zeus)",
    r"[A-Z]{2}[0-9]{2,4}(-[a-z]{1,3})?",
    r"(ab|abab|b[^a]c){1,3}",
    r"#\w{2,5}\B",
];

fn set(expression: &str) -> Rc<Set> {
    let mut set = Set::default();
    assert!(set.add_pattern(&pattern::compile(expression).unwrap(), Action::Mask));
    Rc::new(set)
}

/// The longest match at each character, joined where they overlap.
fn judged(expression: &str, text: &str) -> Vec<std::ops::Range<usize>> {
    let dfa = dense::Builder::new()
        .configure(dense::Config::new().match_kind(MatchKind::All))
        .syntax(syntax::Config::new().unicode(false).utf8(false))
        .thompson(regex_automata::nfa::thompson::Config::new().utf8(false))
        .build(expression)
        .unwrap();
    let mut out: Vec<std::ops::Range<usize>> = Vec::new();
    for start in 0..text.len() {
        let input = Input::new(text).range(start..).anchored(Anchored::Yes);
        let Some(found) = dfa.try_search_fwd(&input).unwrap() else { continue };
        match out.last_mut() {
            Some(last) if start < last.end => last.end = last.end.max(found.offset()),
            _ => out.push(start..found.offset()),
        }
    }
    out
}

fn masked(set: &Rc<Set>, pieces: &[&str]) -> String {
    let (mut redactor, mut out) = (Redactor::new(set.clone()), String::new());
    pieces.iter().for_each(|piece| redactor.push(piece, &mut out));
    redactor.finish(&mut out);
    out
}

fn agrees(expression: &str, text: &str) {
    let set = set(expression);
    let mut findings = Vec::new();
    find(&set, text, &mut findings);
    let found: Vec<_> = findings.iter().map(|finding| finding.range.clone()).collect();
    if text.is_ascii() {
        assert_eq!(found, judged(expression, text), "{expression} in {text:?}");
    }
    let mut expected = text.to_owned();
    found.iter().rev().for_each(|range| expected.replace_range(range.clone(), "[PATTERN]"));
    for at in (0..=text.len()).filter(|at| text.is_char_boundary(*at)) {
        assert_eq!(
            masked(&set, &[&text[..at], &text[at..]]),
            expected,
            "{expression} in {text:?} split at {at}"
        );
    }
    let characters: Vec<String> = text.chars().map(String::from).collect();
    let pieces: Vec<&str> = characters.iter().map(String::as_str).collect();
    assert_eq!(masked(&set, &pieces), expected, "{expression} in {text:?} by character");
}

#[test]
fn values_are_found_as_the_expression_says() {
    for (expression, text, values) in [
        (PATTERNS[0], "see TCK-123456 and TCK-12345, TCK-1234567", &["TCK-123456", "TCK-123456"][..]),
        (PATTERNS[1], "EMP1234 xEMP1234 EMP123456789 EMP12345678", &["EMP1234", "EMP12345678"]),
        (PATTERNS[2], "Project X, PROJECT-ZEUS; projectx", &["Project X", "PROJECT-ZEUS", "projectx"]),
    ] {
        let mut findings = Vec::new();
        find(&set(expression), text, &mut findings);
        let found: Vec<&str> = findings.iter().map(|finding| &text[finding.range.clone()]).collect();
        assert_eq!(found, values, "{expression}");
        assert!(findings.iter().all(|finding| finding.kind.name() == "pattern"));
        agrees(expression, text);
    }
}

#[test]
fn look_alikes_do_not_hide_a_value() {
    for text in ["TCK-１２３４５６", "TCK\u{2011}123456 …", "T\u{200b}CK-12\u{ad}3456"] {
        let mut findings = Vec::new();
        find(&set(PATTERNS[0]), text, &mut findings);
        assert_eq!(findings.len(), 1, "{text:?}");
        agrees(PATTERNS[0], text);
    }
}

/// A tenant may mean what is written, and may mean what that stands for.
#[test]
fn codings_hide_no_value_and_a_pattern_may_have_their_signs() {
    for (expression, text, values) in [
        (
            PATTERNS[0],
            "TCK%2D123456 \\nTCK-123456 TCK&#45;12345&#54;",
            &["TCK%2D123456", "TCK-123456", "TCK&#45;12345&#54;"][..],
        ),
        (PATTERNS[1], "\\nEMP1234 nEMP1234 %20EMP1234", &["EMP1234", "EMP1234"]),
        (r"CORP\\[a-z]{2,8}", "CORP\\nancy or CORP\\bob%20", &["CORP\\nancy", "CORP\\bob"]),
        ("%[0-9A-F]{2}x", "%41x A", &["%41x"]),
    ] {
        let mut findings = Vec::new();
        let set = set(expression);
        find(&set, text, &mut findings);
        let found: Vec<&str> = findings.iter().map(|finding| &text[finding.range.clone()]).collect();
        assert_eq!(found, values, "{expression}");
        let mut expected = text.to_owned();
        findings.iter().rev().for_each(|found| expected.replace_range(found.range.clone(), "[PATTERN]"));
        for at in 0..=text.len() {
            assert_eq!(
                masked(&set, &[&text[..at], &text[at..]]),
                expected,
                "{expression} in {text} split at {at}"
            );
        }
    }
}

#[test]
fn what_is_no_table_is_refused() {
    let table = pattern::compile(PATTERNS[1]).unwrap();
    let accepted = |bytes: &[u8]| Set::default().add_pattern(bytes, Action::Mask);
    assert!(accepted(&table));
    assert!((0..table.len()).all(|end| !accepted(&table[..end])));
    for (at, byte) in [(0, 2), (4, 0), (7, 0xff), (8, 0xff), (table.len() - 1, 0xff)] {
        let mut broken = table.clone();
        broken[at] = byte;
        assert!(!accepted(&broken), "{at}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_stream_finds_what_the_engine_finds(
        index in 0..PATTERNS.len(),
        pieces in prop::collection::vec(
            prop::sample::select(vec![
                "TCK-", "TCK", "-", "123456", "12", "4", "EMP", "x", " ", "project", "PROJECT", "zeus", "AB", "ab", "bxc", "b", "c", "a", "#", "wo",
                "_", "é", "\u{200b}", "１", "漢", ".", "\n", "AB12-",
            ]),
            0..12,
        ),
    ) {
        agrees(PATTERNS[index], &pieces.concat());
    }
}
