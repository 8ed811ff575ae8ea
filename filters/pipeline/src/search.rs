//! Finding values in a text that may be JSON itself, as a tool's arguments and results are: its reader will see
//! what its escapes stand for, so it is searched as that. Which texts are searched, and what becomes of a
//! finding, is the caller's.

use std::ops::Range;

use weir_pii::{Document, Finding};
use weir_wire::json::{self, Doc, Joined, Limits, Unescaped, has_escapes, without_escapes};

/// Documents inside of each other's strings that are looked into.
const DEPTH: u16 = 4;

/// The quote of a string in a document in so many strings.
const QUOTE: &str = r#"\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\""#;

/// What finds: appends the findings of a text, and maybe others.
pub type Find<'f> = dyn FnMut(&Document<'_>, &mut Vec<Finding>) + 'f;

/// Tells where a range of a text is in the one that was to be searched; quickest for ranges in order.
type Place<'p> = dyn Fn(Range<usize>) -> Range<usize> + 'p;

/// A value that was found, or what of it is in one string or number.
pub struct Hit<'h> {
    /// The finding, of whatever length.
    pub finding: &'h Finding,
    /// The value.
    pub value: &'h str,
    /// Where it is written in the text that was to be searched.
    pub range: Range<usize>,
    /// What has to stand on both sides of that which takes its place: a number becomes a string.
    pub quote: &'static str,
}

/// Whoever looks for values in documents.
pub struct Search<'f> {
    /// Asked about each text.
    pub find: &'f mut Find<'f>,
    /// Each string with escapes is a text of its own: where what is searched is judged by strings, too.
    pub apart: bool,
    /// The text is searched as what is in so many strings.
    pub level: u16,
    /// Shown what was found.
    pub found: &'f mut dyn FnMut(Hit<'_>),
}

impl Search<'_> {
    /// Searches a text, which may be a document, or surely is one. A document is searched without the escapes of its
    /// strings, and a string of it that is a document itself apart from it. What takes the place of findings is written as it
    /// is: types, placeholders and digests have nothing in them that is to be escaped.
    pub fn text(&mut self, text: &str, sure: bool) {
        self.inside(text, None, sure, DEPTH, &|range| range);
    }

    /// The same of a text inside of others, and of documents that were read.
    fn inside(&mut self, text: &str, doc: Option<Doc<'_>>, sure: bool, depth: u16, place: &Place<'_>) {
        let mut findings = Vec::new();
        let escaped = has_escapes(text);
        let mut doc = if escaped && doc.is_none() { parsed(text, sure, depth) } else { doc };
        let as_written = self.apart || doc.is_none();
        let whole = Unescaped::document(text, as_written);
        // Documents in strings: where they are, an array of them, and where they are in that.
        let mut without: Vec<Range<usize>> = Vec::new();
        let (mut inner, mut starts) = (Joined::default(), Vec::new());
        if let Some(doc) = &doc {
            doc.root().scalars(&mut |value, _| {
                if self.apart {
                    if value.escaped() {
                        let string = value.unescaped();
                        without.push(string.body_range());
                        self.inside(&string.text, None, false, depth - 1, &|range| {
                            place(string.raw_range(range))
                        });
                    }
                } else if depth > 1 && value.str_raw().is_some_and(may_be_document) {
                    let at = value.range();
                    let at = whole.place(at.start + 1..at.end - 1);
                    let string = whole.text.get(at.clone()).unwrap_or_default();
                    if begins(string)
                        && let Some(start) = inner.push(string)
                    {
                        without.push(at);
                        starts.push(start);
                    }
                }
            });
        }
        if let Some(doc) = inner.doc() {
            self.inside(doc.text(), Some(doc), true, depth - 1, &|range| {
                // All of it is in one string.
                let start = moved(&starts, &without, range.start);
                place(whole.raw_range(start..start + range.len()))
            });
        }
        // One that a string has is written with an escape.
        let quotes = !as_written || (sure && !escaped);
        let ends = |at| quotes && whole.raw_range(at..at + 1).len() == 1;
        // Who is shown the whole is shown none of the values in it.
        let parts = if self.apart { &[] } else { without.as_slice() };
        (self.find)(&Document { text: &whole.text, without: parts, ends: &ends }, &mut findings);
        weir_sorted::keep(&mut findings, |finding| {
            let next = without.partition_point(|at| at.end <= finding.range.start);
            without.get(next).is_none_or(|at| finding.range.end <= at.start)
        });
        if findings.is_empty() {
            return;
        }
        if doc.is_none() && !escaped {
            doc = parsed(text, sure, depth);
        }
        let quote = QUOTE.get(QUOTE.len() - (1 << (self.level + DEPTH - depth))..).unwrap_or_default();
        let (mut next, mut first, mut end, mut at, mut placed) = (0, 0, 0, 0..0, 0..0);
        // Tells what of the findings is in a string or a number; these come in their order.
        let mut tell = |scalar: Range<usize>, number: bool| {
            while let Some(finding) = findings.get(next) {
                if finding.range.start >= end {
                    (first, end) = (next, finding.range.end);
                    at = whole.raw_range(finding.range.clone());
                }
                if at.start >= scalar.end {
                    return;
                }
                if at.end > scalar.start {
                    let (part, quote) = match number {
                        true => (scalar.clone(), quote),
                        false => (scalar.start.max(at.start)..scalar.end.min(at.end), ""),
                    };
                    let written = text.get(part.clone()).unwrap_or_default();
                    let value = without_escapes(written);
                    let value = if as_written { written } else { &*value };
                    // One inside of another is only told of, as where that is.
                    if next == first {
                        placed = place(part);
                    }
                    (self.found)(Hit { finding, value, range: placed.clone(), quote });
                }
                if at.end > scalar.end {
                    return;
                }
                next += 1;
            }
        };
        match &doc {
            None => tell(0..text.len(), false),
            // What may be changed: strings, and numbers as a whole, but no fractions, which are measures.
            Some(doc) => doc.root().scalars(&mut |value, _| {
                let at = value.range();
                match value.kind() {
                    json::Kind::String => tell(at.start + 1..at.end - 1, false),
                    _ if !value.json().contains('.') => tell(at, true),
                    _ => {}
                }
            }),
        }
    }
}

/// A document, where there are levels left.
fn parsed(text: &str, sure: bool, depth: u16) -> Option<Doc<'_>> {
    let limits = Limits::default();
    if depth > 0 && (sure || begins(text)) { json::parse_texts(text, &limits).ok() } else { None }
}

/// Where a place in the array of documents that begin at `starts` is in the text that they are from.
#[inline(never)]
fn moved(starts: &[usize], from: &[Range<usize>], at: usize) -> usize {
    let of = starts.partition_point(|start| *start <= at).saturating_sub(1);
    let start = starts.get(of).copied().unwrap_or_default();
    from.get(of).map_or(0, |from| (from.start + at).saturating_sub(start))
}

/// May be an object or an array with escapes in it; without any there is nothing more to see.
pub fn document(text: &str) -> bool {
    begins(text) && has_escapes(text)
}

/// Begins and ends as an object or an array does.
fn begins(text: &str) -> bool {
    matches!(text.as_bytes().trim_ascii(), [b'{' | b'[', .., b'}' | b']'])
}

/// Whether a string may be a document itself, told by how it begins as it is written.
pub fn may_be_document(raw: &str) -> bool {
    let mut raw = raw.as_bytes();
    loop {
        raw = match raw {
            [b' ', rest @ ..] | [b'\\', b'n' | b'r' | b't', rest @ ..] => rest,
            [b'{' | b'[', ..] | [b'\\', b'u', ..] => return true,
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use weir_pii as pii;

    use super::*;

    fn set(types: &[&str]) -> pii::Set {
        let find = types.iter().map(|id| (*id).to_owned()).collect();
        pii::Set::new(&[pii::Rule { find, words: Vec::new(), action: pii::Action::Mask }]).unwrap()
    }

    /// Both ways, where they are to tell the same.
    fn masked(text: &str) -> String {
        let [one, other] = [false, true].map(|apart| masked_by(&set(&["email"]), apart, text));
        assert_eq!(one, other);
        one
    }

    fn masked_by(set: &pii::Set, apart: bool, text: &str) -> String {
        let mut vault = pii::Vault::new();
        let mut find = |document: &Document<'_>, out: &mut Vec<Finding>| {
            pii::find_in_document(set, document, out);
        };
        let mut edits = Vec::new();
        let mut found = |hit: Hit<'_>| {
            let (mut values, mut with) = (String::new(), hit.quote.to_owned());
            let finding = hit.finding.detached(hit.value, &mut values);
            if set.replacement(&values, &finding, &mut vault, &mut with) {
                edits.push((hit.range, with + hit.quote));
            }
        };
        Search { find: &mut find, apart, level: 0, found: &mut found }.text(text, false);
        edits.sort_by_key(|(range, _)| range.start);
        let mut out = text.to_owned();
        for (range, with) in edits.into_iter().rev() {
            out.replace_range(range, &with);
        }
        out
    }

    #[test]
    fn a_value_is_found_behind_escapes_at_every_depth() {
        let mut text = r#"{"a":"to x\u0040y.org, please","b":["p\u00e9p\u00e9@y.org",1]}"#.to_owned();
        let mut hidden = r#"{"a":"to [EMAIL], please","b":["[EMAIL]",1]}"#.to_owned();
        for depth in 0..DEPTH {
            assert_eq!(masked(&text), hidden, "{depth}");
            text = serde_json::json!({ "inner": text }).to_string();
            hidden = serde_json::json!({ "inner": hidden }).to_string();
        }
    }

    #[test]
    fn an_escape_is_not_taken_for_the_beginning_of_a_value() {
        // As plain text this is `nx@y.org` behind a backslash, whose edit would leave the backslash alone.
        assert_eq!(masked(r#"{"a":"\nx@y.org"}"#), r#"{"a":"\n[EMAIL]"}"#);
        assert_eq!(masked(r#"{"a":"\n@y.org"}"#), r#"{"a":"\n@y.org"}"#);
        // Nor where it is no document, as in a program's text.
        assert_eq!(masked(r"say \nx@y.org"), r"say \n[EMAIL]");
    }

    #[test]
    fn strings_without_escapes_and_values_outside_of_strings_are_found_once() {
        assert_eq!(
            masked(r#"{"a":"x@y.org","b":"\t","c":"x@y.org"}"#),
            r#"{"a":"[EMAIL]","b":"\t","c":"[EMAIL]"}"#
        );
        assert_eq!(masked(r#"{"x@y.org":"\t"}"#), r#"{"[EMAIL]":"\t"}"#);
        assert_eq!(masked(r#"{"a":"\t" x@y.org}"#), r#"{"a":"\t" [EMAIL]}"#);
    }

    #[test]
    fn a_value_is_judged_by_what_stands_around_it_with_escapes_as_without() {
        let set = set(&["password", "us_ssn", "date_of_birth", "ip_address"]);
        for (text, hidden) in [
            (r#"{"password":"c0rrect\u0068orse\u0039X"}"#, r#"{"password":"[PASSWORD]"}"#),
            (r#"{"ssn":"\t078051120"}"#, r#"{"ssn":"\t[US_SSN]"}"#),
            (r#"{"d\u006fb":"1980-01-02\n"}"#, r#"{"d\u006fb":"[DATE_OF_BIRTH]\n"}"#),
            (r#"["1.2.\u0033.4","\n::1"]"#, r#"["[IP_ADDRESS]","\n[IP_ADDRESS]"]"#),
            (r#"{"a":"1.2.\u0033.4","a":"\n::1"}"#, r#"{"a":"[IP_ADDRESS]","a":"\n[IP_ADDRESS]"}"#),
        ] {
            assert_eq!(masked_by(&set, false, text), hidden);
        }
        assert_eq!(
            masked(r#"{"\u0078@y.org":"\t"}"#.replace("\\u0078", "x").as_str()),
            r#"{"[EMAIL]":"\t"}"#
        );
        let name = masked_by(&self::set(&["email"]), false, r#"{"\u0078@y.org":"\t"}"#);
        assert_eq!(name, r#"{"[EMAIL]":"\t"}"#);
    }

    #[test]
    fn a_key_that_breaks_off_ends_with_its_string() {
        let set = set(&["private_key", "email"]);
        let begins = "-----BEGIN PRIVATE KEY-----";
        for apart in [false, true] {
            for (key, hidden) in [
                (r"\nMIIB", "[PRIVATE_KEY]"),
                (r"\nMIIB\n-----END PRIVATE KEY-----\n", r"[PRIVATE_KEY]\n"),
                (r#"\n\"MIIB\",\n"#, "[PRIVATE_KEY]"),
            ] {
                let text = |key: &str, mail: &str| {
                    format!("{{\"a\":\"{key}\",\n \"b\":[\"MIIC\\n\",\"{mail}\",\"MIID\"]}}")
                };
                let found = masked_by(&set, apart, &text(&format!("{begins}{key}"), r"x@y.org\n"));
                assert_eq!(found, text(hidden, r"[EMAIL]\n"), "{apart}");
            }
        }
        // As many as there may be take no longer for each.
        let many = format!("[{}0]", format!("\"{begins}\\n\",").repeat(20_000));
        let whole = format!(r"{begins}\nMIIB\n-----END PRIVATE KEY-----\n").repeat(20_000);
        let blocks = masked_by(&set, false, &format!("[\"{whole}\"]"));
        assert_eq!(blocks, format!("[\"{}\"]", r"[PRIVATE_KEY]\n".repeat(20_000)));
        assert_eq!(masked_by(&set, false, &many), format!("[{}0]", "\"[PRIVATE_KEY]\",".repeat(20_000)));
    }

    #[test]
    fn a_number_becomes_a_string_at_every_depth_and_a_fraction_stays() {
        let set = set(&["credit_card", "card_cvv", "email"]);
        let mut text = r#"{"card":4111111111111111,"x":[50.386645822324795,-4111111111111111]}"#.to_owned();
        let mut hidden = r#"{"card":"[CREDIT_CARD]","x":[50.386645822324795,"[CREDIT_CARD]"]}"#.to_owned();
        assert_eq!(masked_by(&set, false, r#"{"cvv":123}"#), r#"{"cvv":"[CARD_CVV]"}"#);
        for depth in 0..DEPTH {
            assert_eq!(masked_by(&set, false, &text), hidden, "{depth}");
            // An escape makes it worth a look.
            text = serde_json::json!({ "in": text, "by": "\t" }).to_string();
            hidden = serde_json::json!({ "in": hidden, "by": "\t" }).to_string();
        }
        // It is none in a text that is no document, nor in a string that has more than a document.
        assert_eq!(masked_by(&set, false, "[card 4111111111111111]"), "[card [CREDIT_CARD]]");
    }

    #[test]
    fn what_reaches_over_several_strings_is_hidden_in_each() {
        let find = |words: &[&str]| {
            let words = words.iter().map(|word| (*word).to_owned()).collect();
            pii::Set::new(&[pii::Rule { find: Vec::new(), words, action: pii::Action::Mask }]).unwrap()
        };
        for (word, hidden) in [
            (r#"Ann","b":"Bob"#, r#"{"a":"[WORD]","[WORD]":"[WORD]","c":7,"d":"\n"}"#),
            (r#""a":"Ann""#, r#"{"[WORD]":"[WORD]","b":"Bob","c":7,"d":"\n"}"#),
            (r#"Bob","c":7,"d"#, r#"{"a":"Ann","b":"[WORD]","[WORD]":"[WORD]","[WORD]":"\n"}"#),
        ] {
            let text = r#"{"a":"Ann","b":"Bob","c":7,"d":"\n"}"#;
            assert_eq!(masked_by(&find(&[word]), false, text), hidden, "{word}");
            let (text, hidden) = (text.replace("\\n", ""), hidden.replace("\\n", ""));
            assert_eq!(masked_by(&find(&[word]), false, &text), hidden, "{word}");
        }
    }

    #[test]
    fn documents_side_by_side_in_strings_are_each_searched_in_their_place() {
        let deep = |depth: usize| format!("{}\"\\nx@y.org\"{}", "[".repeat(depth), "]".repeat(depth));
        let inner = [
            r#"{"a":"\n::1"}"#.to_owned(),
            r#"["\u0078@y.org",["\t"]]"#.to_owned(),
            r#" {"\u00e9":"p\u00e9@y.org \u00e9","é":"é"} "#.to_owned(),
            r#"{"a":1,"a":"\nx@y.org"}"#.to_owned(),
            // No documents.
            r#"["\n x@y.org"#.to_owned(),
            r"[note] \tx@y.org\".to_owned(),
            "[]".to_owned(),
            deep(127),
            deep(128),
        ];
        let set = set(&["email", "ip_address"]);
        let alone = |text: &str| masked_by(&set, false, text);
        assert_eq!(inner.iter().filter(|text| alone(text) == **text).count(), 1);
        for first in 0..inner.len() {
            for length in 0..=inner.len() {
                let texts: Vec<&String> = inner.iter().cycle().skip(first).take(length).collect();
                let hidden: Vec<String> = texts.iter().map(|text| alone(text)).collect();
                let (mut outer, mut expected) =
                    (serde_json::json!(texts).to_string(), serde_json::json!(hidden));
                for _ in 0..2 {
                    let told: serde_json::Value = serde_json::from_str(&alone(&outer)).unwrap();
                    assert_eq!(told, expected, "{outer}");
                    outer = serde_json::json!({ "in": outer }).to_string();
                    expected = serde_json::json!({ "in": expected.to_string() });
                }
            }
        }
    }

    /// Numbers below others, always the same ones.
    fn random(mut state: u64) -> impl FnMut(usize) -> usize {
        move |most| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % most
        }
    }

    /// What strings say.
    const VALUES: [&str; 13] = [
        "x@y.org",
        "078-05-1120",
        "4111 1111 1111 1111",
        "ssn 078051120",
        "c0rrecthorse9X",
        "10.1.2.3",
        "::1",
        "p\u{e9}p\u{e9}@y.org",
        "born 1980-01-02",
        "sk-ant-api03-A1B2C3D4E5F6G7H8J9K0A1B2C3D4E5F6G7H8J9K0",
        "plain words",
        "\u{1f600} 41111\u{200b}11111111111",
        "https://a:b0b0b0b0@host/x",
    ];

    #[test]
    fn what_is_written_with_escapes_is_hidden_as_what_is_not() {
        let names = ["a", "password", "ssn", "x@z.org", "note", "dob", "age"];
        let all: Vec<&str> = pii::DETECTORS.iter().map(|detector| detector.id).collect();
        let (set, mut next) = (set(&all), random(7));
        let mut escapes = 0;
        for _ in 0..3_000 {
            let [mut plain, mut written] = [const { String::new() }; 2];
            let fill = 1 + next(5);
            let put = |both: &str, plain: &mut String, written: &mut String| {
                plain.push_str(both);
                written.push_str(both);
            };
            put("{", &mut plain, &mut written);
            for at in 0..fill {
                put(if at == 0 { "\"" } else { ", \"" }, &mut plain, &mut written);
                for (text, end) in [(names[next(names.len())], "\": \""), (VALUES[next(VALUES.len())], "\"")]
                {
                    let often = [1, 3, 20][next(3)];
                    for c in text.chars() {
                        plain.push(c);
                        if next(often) > 0 {
                            written.push(c);
                            continue;
                        }
                        escapes += 1;
                        c.encode_utf16(&mut [0; 2])
                            .iter()
                            .for_each(|u| written.push_str(&format!("\\u{u:04x}")));
                    }
                    put(end, &mut plain, &mut written);
                }
            }
            put("}", &mut plain, &mut written);
            let [expected, told] = [&plain, &written].map(|text| {
                let hidden = masked_by(&set, false, text);
                serde_json::from_str::<serde_json::Value>(&hidden).unwrap_or_else(|e| panic!("{e}: {hidden}"))
            });
            assert_eq!(told, expected, "{written}");
        }
        assert!(escapes > 50_000, "{escapes}");
    }

    /// A document of random members, written in random ways.
    fn document_of(next: &mut dyn FnMut(usize) -> usize, depth: usize) -> String {
        let texts = [
            "call 415-555-0132, ext. 12",
            "a \"quoted\" \\ word/",
            "-----BEGIN PRIVATE KEY-----\nMIIB",
            "Bluebird",
            "ghp_a1B2c3D4e5F6g7H8i9J0a1B2c3D4e5F6g7H8",
            "eyJhbGciOiJIUzI1NiJ9.eyJhIjoxfQ.c2ln",
            "",
            "\n\t",
        ];
        let texts: Vec<&str> = VALUES.into_iter().chain(texts).collect();
        let names = ["a", "password", "ssn", "x@z.org", "note", "dob", "age", "cvv", "card", "phone"];
        let bare = [
            "4111111111111111",
            "-4111111111111111",
            "50.386645822324795",
            "123",
            "219099999",
            "0.1",
            "1e5",
            "true",
            "null",
            "41111111111111110000",
            "34",
            "4155550132",
        ];
        let written = |text: &str, next: &mut dyn FnMut(usize) -> usize| {
            let (mut out, often) = ("\"".to_owned(), [1, 3, 20][next(3)]);
            for c in text.chars() {
                match (c, next(often)) {
                    (_, 0) => c.encode_utf16(&mut [0; 2]).iter().for_each(|u| out += &format!("\\u{u:04x}")),
                    ('"' | '\\' | '/', _) => out.extend(['\\', c]),
                    ('\n', _) => out += "\\n",
                    ('\t', _) => out += "\\t",
                    _ => out.push(c),
                }
            }
            out + "\""
        };
        let space = ["", "", " ", "\n  "];
        let (mut out, array) = (String::new(), next(4) == 0);
        out.push(if array { '[' } else { '{' });
        for member in 0..next(4) {
            out += if member > 0 { "," } else { "" };
            out += space[next(4)];
            if !array {
                out += &written(names[next(names.len())], next);
                out += [":", ": "][next(2)];
            }
            match next(8) {
                0 if depth > 0 => out += &document_of(next, depth - 1),
                0..3 => out += bare[next(bare.len())],
                _ => out += &written(texts[next(texts.len())], next),
            }
            out += space[next(4)];
        }
        out.push(if array { ']' } else { '}' });
        out
    }

    #[test]
    fn a_document_that_streams_by_is_hidden_as_one_that_is_there() {
        let all: Vec<String> = pii::DETECTORS.iter().map(|detector| detector.id.to_owned()).collect();
        let rule = |find: &[String], words: &[&str], action| {
            let words = words.iter().map(|word| (*word).to_owned()).collect();
            pii::Rule { find: find.to_vec(), words, action }
        };
        let words = rule(&[], &["bluebird", "words\",\"a"], pii::Action::Mask);
        let (some, others) = all.split_at(all.len() / 2);
        let mixed = [rule(some, &[], pii::Action::Hash), rule(others, &[], pii::Action::Mask), words.clone()];
        let sets = [pii::Set::new(&[rule(&all, &[], pii::Action::Mask), words]), pii::Set::new(&mixed)];
        let sets = sets.map(|set| std::rc::Rc::new(set.unwrap().keyed(pii::Key::from_hex(&"5a".repeat(32)))));
        let streamed = |set: &std::rc::Rc<pii::Set>, pieces: &[&str]| {
            let mut redactor = pii::Redactor::new(set.clone()).in_json(&crate::outside::ESCAPES, true);
            let mut out = String::new();
            pieces.iter().for_each(|piece| redactor.push(piece, &mut out));
            redactor.finish(&mut out);
            out
        };
        let mut next = random(3);
        let mut changed = 0;
        for round in 0..2_000 {
            let text = [" \n", ""][next(2)].to_owned() + &document_of(&mut next, 2);
            let set = &sets[round % 2];
            let hidden = masked_by(set, false, &text);
            serde_json::from_str::<serde_json::Value>(&hidden).unwrap_or_else(|e| panic!("{e}: {hidden}"));
            assert_eq!(streamed(set, &[&text]), hidden, "{text}");
            let pieces: Vec<&str> = text.split_inclusive(|_| true).collect();
            assert_eq!(streamed(set, &pieces), hidden, "{text} by character");
            for at in (0..text.len()).filter(|at| round % 20 < 2 && text.is_char_boundary(*at)) {
                assert_eq!(
                    streamed(set, &<[&str; 2]>::from(text.split_at(at))),
                    hidden,
                    "{text} cut at {at}"
                );
            }
            changed += usize::from(hidden != text);
        }
        assert!(changed > 1_000, "{changed}");
    }

    #[test]
    fn what_breaks_off_as_it_streams_by_is_hidden_however_it_comes() {
        let find = pii::DETECTORS.iter().map(|detector| detector.id.to_owned()).collect();
        let rule = pii::Rule { find, words: Vec::new(), action: pii::Action::Mask };
        let set = std::rc::Rc::new(pii::Set::new(&[rule]).unwrap());
        for (text, hidden) in [
            ("{-----BEGIN PRIVATE KEY----- MIIB, ", "{\"[PRIVATE_KEY]\" \"[PRIVATE_KEY]\" \"[PRIVATE_KEY]\""),
            (r#"{"a":"-----BEGIN PRIVATE KEY-----\nMIIB"#, r#"{"a":"[PRIVATE_KEY]"#),
            (r#"{"a":"x@y.org\"#, r#"{"a":"[EMAIL]\"#),
            (r#"{"a":"x\u0040y.org\u00"#, r#"{"a":"[EMAIL]\u00"#),
            (r#"{"a":"\ud83d x@y.org"#, r#"{"a":"\ud83d [EMAIL]"#),
            (r#"{"a":"\q x@y.org"#, r#"{"a":"\q [EMAIL]"#),
            ("{+x@y.org ", "{+\"[EMAIL]\" "),
            ("{10.x@y.org ", "{\"[EMAIL]\" "),
            ("{a: x@y.org, b: 10.1.2.3}", "{a: \"[EMAIL]\", b: \"[IP_ADDRESS]\"}"),
            (r#"{"a":4111111111111111"#, r#"{"a":"[CREDIT_CARD]""#),
            ("{\"a\":4111111111111111} 4111111111111111", "{\"a\":\"[CREDIT_CARD]\"} [CREDIT_CARD]"),
            ("\n x@y.org", "\n [EMAIL]"),
            ("\n ", "\n "),
            ("", ""),
        ] {
            for size in [1, 2, 5, 100] {
                let mut redactor = pii::Redactor::new(set.clone()).in_json(&crate::outside::ESCAPES, true);
                // What came before is over.
                for _ in 0..2 {
                    let mut out = String::new();
                    for piece in text.as_bytes().chunks(size) {
                        redactor.push(std::str::from_utf8(piece).unwrap(), &mut out);
                    }
                    redactor.finish(&mut out);
                    assert_eq!(out, hidden, "in pieces of {size}");
                }
            }
        }
    }
}
