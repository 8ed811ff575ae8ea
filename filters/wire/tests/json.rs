//! JSON against serde_json: what is accepted, what it means, and where Weir is stricter on purpose.
//!
//! Differences: duplicate keys and half surrogate pairs are refused (serde_json keeps the last key and
//! refuses only some halves), depth has its own limit, and `1e400` is a valid number without an `f64`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

use proptest::prelude::*;
use weir_wire::json::{self, ErrorKind, Kind, Limits, Value};

fn kind_of(text: impl AsRef<[u8]>) -> Option<ErrorKind> {
    json::parse(text.as_ref(), &Limits::default()).err().map(|error| error.kind)
}

fn error_of(text: &str) -> (ErrorKind, usize) {
    let error = json::parse(text.as_bytes(), &Limits::default()).expect_err(text);
    (error.kind, error.at)
}

/// Asserts that two readers understood the same.
fn same(ours: Value<'_, '_>, theirs: &serde_json::Value) {
    match theirs {
        serde_json::Value::Null => assert!(ours.is_null()),
        serde_json::Value::Bool(value) => assert_eq!(ours.as_bool(), Some(*value)),
        serde_json::Value::Number(number) => {
            assert_eq!(ours.kind(), Kind::Number);
            if let Some(number) = number.as_u64() {
                assert_eq!(ours.as_u64(), Some(number));
            }
            if let Some(number) = number.as_i64() {
                assert_eq!(ours.as_i64(), Some(number));
            }
            // serde_json without `float_roundtrip` may be off by one unit in the last place.
            let (a, b) = (ours.as_f64().unwrap(), number.as_f64().unwrap());
            assert!((a - b).abs() <= a.abs() * 1e-15 + f64::MIN_POSITIVE, "{a} {b}");
        }
        serde_json::Value::String(text) => {
            assert_eq!(ours.as_str().as_deref(), Some(text.as_str()));
            let unescaped = ours.unescaped();
            assert_eq!(unescaped.text, text.as_str());
            assert_eq!(unescaped.raw_range(0..text.len()), unescaped.body_range());
        }
        serde_json::Value::Array(items) => {
            assert_eq!(ours.len(), items.len());
            assert_eq!(ours.items().count(), items.len());
            ours.items().zip(items).for_each(|(ours, theirs)| same(ours, theirs));
        }
        serde_json::Value::Object(members) => {
            assert_eq!(ours.len(), members.len());
            assert_eq!(ours.members().count(), members.len());
            for (key, value) in ours.members() {
                same(value, &members[&*key.as_str()]);
                same(ours.get(&key.as_str()).unwrap(), &members[&*key.as_str()]);
            }
        }
    }
}

fn agree(text: &[u8]) {
    let ours = json::parse(text, &Limits::default());
    let theirs = serde_json::from_slice::<serde_json::Value>(text);
    match (&ours, &theirs) {
        (Ok(doc), Ok(value)) => {
            assert_eq!(doc.text().as_bytes(), text);
            same(doc.root(), value);
        }
        (Err(error), Ok(_)) => assert!(
            matches!(error.kind, ErrorKind::DuplicateKey | ErrorKind::LoneSurrogate | ErrorKind::Bom),
            "{error}: {}",
            String::from_utf8_lossy(text)
        ),
        (Ok(_), Err(error)) => assert!(
            error.to_string().contains("out of range") || error.to_string().contains("recursion"),
            "{error}: {}",
            String::from_utf8_lossy(text)
        ),
        (Err(error), Err(_)) => assert!(error.at <= text.len()),
    }
}

#[test]
fn what_rfc_8259_allows_is_accepted_and_the_rest_is_refused() {
    for good in [
        "0",
        "-0",
        "-0.0",
        "1e400",
        "1E+2",
        "0.5e-7",
        "18446744073709551616",
        "null",
        "true",
        "false",
        "\"\"",
        "[]",
        "{}",
        " \t\r\n[ ] \n",
        "[1,2]",
        "{\"a\":[{}]}",
        r#""\u0000\/\b\f""#,
        r#""\ud83d\ude00""#,
        "\"\u{7f}\u{2028}\u{feff}\"",
    ] {
        assert_eq!(kind_of(good), None, "{good}");
        agree(good.as_bytes());
    }
    for bad in [
        "01",
        "-",
        "-01",
        "+1",
        ".5",
        "1.",
        "1.e2",
        "1e",
        "1e+",
        "0x1",
        "NaN",
        "Infinity",
        "nul",
        "True",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{a:1}",
        "{'a':1}",
        "{\"a\":1 \"b\":2}",
        "[",
        "{",
        "\"",
        "[1}",
        "{\"a\":1]",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\n\"",
        "\"\0\"",
        "\"\\",
        "\"\\u",
        "]",
        "}",
        ",",
        ":",
        "{\"a\":1,1}",
        "{1:1}",
        "/**/1",
        "\u{a0}1",
        "00",
        "1e1.5",
        "--1",
    ] {
        let kind = kind_of(bad);
        assert!(matches!(kind, Some(ErrorKind::Syntax | ErrorKind::TrailingData)), "{bad}: {kind:?}");
        agree(bad.as_bytes());
    }
}

#[test]
fn each_refusal_names_its_reason_and_its_byte() {
    assert_eq!(error_of(""), (ErrorKind::Empty, 0));
    assert_eq!(error_of(" \n"), (ErrorKind::Empty, 2));
    assert_eq!(error_of("{} {}"), (ErrorKind::TrailingData, 3));
    assert_eq!(error_of("1\0"), (ErrorKind::TrailingData, 1));
    assert_eq!(error_of("\u{feff}{}"), (ErrorKind::Bom, 0));
    assert_eq!(error_of(r#"{"a":1,"a":2}"#), (ErrorKind::DuplicateKey, 7));
    assert_eq!(json::parse_texts(r#"{"a":1,"a":2}"#, &Limits::default()).unwrap().root().len(), 2);
    assert_eq!(error_of(r#"["\ud800"]"#), (ErrorKind::LoneSurrogate, 2));
    assert_eq!(error_of(r#"["\udc00\ud800"]"#), (ErrorKind::LoneSurrogate, 2));
    assert_eq!(error_of(r#"["\ud800\ud800"]"#), (ErrorKind::LoneSurrogate, 2));
    assert_eq!(error_of(r#"["\ud800x"]"#), (ErrorKind::LoneSurrogate, 2));
    assert_eq!(error_of("[tru]"), (ErrorKind::Syntax, 4));
    let utf8 = json::parse(b"[\"ab\xff\"]", &Limits::default()).unwrap_err();
    assert_eq!((utf8.kind, utf8.at), (ErrorKind::Utf8, 4));
    assert_eq!(utf8.to_string(), "JSON that is not UTF-8 at byte 4");
}

#[test]
fn bad_utf8_is_refused_in_every_form() {
    for bad in [
        &b"\x80"[..],
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xe2\x82",
        b"\xf8\x88\x80\x80\x80",
    ] {
        let mut text = b"\"".to_vec();
        text.extend_from_slice(bad);
        text.push(b'"');
        assert_eq!(kind_of(&text), Some(ErrorKind::Utf8), "{bad:x?}");
        assert_eq!(kind_of(bad), Some(ErrorKind::Utf8), "{bad:x?} bare");
    }
}

#[test]
fn a_duplicate_key_is_found_however_it_is_written_and_wherever_it_stands() {
    assert_eq!(error_of(r#"{"model":1,"mod\u0065l":2}"#), (ErrorKind::DuplicateKey, 11));
    assert_eq!(error_of(r#"{"\u0061":1,"\u0061":2}"#), (ErrorKind::DuplicateKey, 12));
    assert_eq!(error_of(r#"[{"x":{"":0,"":0}}]"#), (ErrorKind::DuplicateKey, 12));
    assert_eq!(kind_of(r#"{"a":{"a":{"a":1}},"b":{"a":1},"A":2}"#), None);
    for size in [2, 11, 12, 13, 14, 200] {
        for (first, second) in [(0, 1), (0, size - 1), (size / 2, size - 1), (size - 2, size - 1)] {
            if first >= second {
                continue;
            }
            for escaped in [false, true] {
                let key = |n: usize| match (n == second, escaped) {
                    (true, true) => format!("\\u006b{first}"),
                    (true, false) => format!("k{first}"),
                    _ => format!("k{n}"),
                };
                let members: Vec<String> = (0..size).map(|n| format!("\"{}\":[{n},{{}}]", key(n))).collect();
                let text = format!("{{{}}}", members.join(","));
                let at = text.rfind(&format!("\"{}\"", key(second))).unwrap();
                assert_eq!(error_of(&text), (ErrorKind::DuplicateKey, at), "{text}");
            }
        }
    }
}

#[test]
fn an_object_of_many_members_costs_no_square_of_them() {
    // All keys share length and prefix, the worst case for comparisons. Squared, this takes minutes.
    let members: Vec<String> = (0..200_000).map(|n| format!("\"{}{n:06}\":0", "x".repeat(30))).collect();
    let text = format!("{{{}}}", members.join(","));
    let started = std::time::Instant::now();
    assert_eq!(kind_of(&text), None);
    assert!(started.elapsed().as_secs() < 10, "{:?}", started.elapsed());
    let text = format!("{},{}}}", &text[..text.len() - 1], members[77]);
    assert_eq!(kind_of(text), Some(ErrorKind::DuplicateKey));
}

#[test]
fn depth_and_number_of_values_are_bounded_without_recursion() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(kind_of(nested(128)), None);
    assert_eq!(error_of(&nested(129)), (ErrorKind::Depth, 128));
    assert_eq!(error_of(&nested(100_000)), (ErrorKind::Depth, 128));
    assert_eq!(error_of(&"{\"a\":".repeat(100_000)), (ErrorKind::Depth, 128 * 5));
    let deep = Limits { depth: u16::MAX, ..Limits::default() };
    assert!(json::parse(nested(65_535).as_bytes(), &deep).is_ok());
    assert_eq!(json::parse(nested(100_000).as_bytes(), &deep).unwrap_err().kind, ErrorKind::Depth);
    let few = Limits { nodes: 5, ..Limits::default() };
    assert!(json::parse(b"[1,2,3,4]", &few).is_ok());
    assert_eq!(
        json::parse(b"[1,2,3,4,5]", &few).unwrap_err(),
        json::Error { at: 9, kind: ErrorKind::TooMany }
    );
    assert_eq!(json::parse(b"{\"a\":1,\"b\":2}", &few).unwrap().root().len(), 2);
}

#[test]
fn three_megabytes_in_one_string_come_back_whole() {
    let plain = "p".repeat(3_000_000);
    let doc = format!("{{\"image\":\"{plain}\"}}");
    let doc = json::parse(doc.as_bytes(), &Limits::default()).unwrap();
    assert_eq!(doc.root().get("image").unwrap().as_str().unwrap(), plain.as_str());
    let escaped = format!("\"{}\"", "\\u00e9x".repeat(400_000));
    let doc = json::parse(escaped.as_bytes(), &Limits::default()).unwrap();
    assert_eq!(doc.root().as_str().unwrap(), "éx".repeat(400_000).as_str());
}

#[test]
fn every_cut_of_a_document_is_refused_and_every_byte_of_it_may_be_changed() {
    let text = r#"{"model":"gpt","messages":[{"role":"user","content":"a\"\u00e9\ud83d\ude00 b"}],"n":-1.5e3,"s":true,"x":null}"#;
    for end in 0..text.len() {
        assert!(kind_of(&text[..end]).is_some(), "{}", &text[..end]);
    }
    for at in 0..text.len() {
        for byte in 0..=255 {
            let mut changed = text.as_bytes().to_vec();
            changed[at] = byte;
            agree(&changed);
        }
    }
}

#[test]
fn numbers_convert_only_where_they_mean_the_same() {
    let doc = json::parse(
        b"[0,-0,18446744073709551615,18446744073709551616,-9223372036854775808,1.0,1e2,1e400,1e-400,\"1\"]",
        &Limits::default(),
    )
    .unwrap();
    let value: Vec<_> = doc.root().items().collect();
    let u64s: Vec<_> = value.iter().map(|value| value.as_u64()).collect();
    assert_eq!(u64s, [Some(0), None, Some(u64::MAX), None, None, None, None, None, None, None]);
    let i64s: Vec<_> = value.iter().map(|value| value.as_i64()).collect();
    assert_eq!(i64s, [Some(0), Some(0), None, None, Some(i64::MIN), None, None, None, None, None]);
    let f64s: Vec<_> = value.iter().map(|value| value.as_f64()).collect();
    assert_eq!(f64s[5..], [Some(1.0), Some(100.0), None, Some(0.0), None]);
}

#[test]
fn cursors_give_ranges_of_the_document() {
    let text = r#" { "a" : [ 1 , {"b":"x"} ] , "a\u0062" : "é" } "#;
    let doc = json::parse(text.as_bytes(), &Limits::default()).unwrap();
    let root = doc.root();
    assert_eq!(&text[root.range()], text.trim());
    assert_eq!(&text[root.get("a").unwrap().range()], r#"[ 1 , {"b":"x"} ]"#);
    assert_eq!(root.get("ab").unwrap().raw(), "\"é\"".as_bytes());
    let keys: Vec<_> = root.members().map(|(key, _)| (key.as_str(), &text[key.range()])).collect();
    assert_eq!(keys, [("a".into(), "\"a\""), ("ab".into(), "\"a\\u0062\"")]);
    let inner = root.get("a").unwrap().items().nth(1).unwrap();
    assert_eq!(inner.get("b").unwrap().str_raw(), Some("x"));
    assert_eq!(root.append_at(), Some((text.len() - 2, true)));
    assert!(root.get("b").is_none() && inner.get("b").unwrap().get("x").is_none());
    assert_eq!((inner.items().count(), root.get("a").unwrap().members().count()), (0, 0));
}

#[test]
fn documents_that_are_joined_are_what_each_is_alone() {
    let parts = [
        r#"{"a":"\u0040","a":[1]}"#,
        "[",
        " [] ",
        r#"["a]"#,
        r#"[b"]"#,
        "",
        "1 2",
        "-7",
        "\u{feff}[]",
        r#"["\ud800"]"#,
        r#"[{"é":"x"},null,"y"]"#,
    ];
    let mut joined = json::Joined::default();
    let starts = parts.map(|part| joined.push(part));
    let read = [0, 2, 7, 10];
    let doc = joined.doc().unwrap();
    assert_eq!(doc.text(), format!("[{}]", read.map(|part| parts[part]).join(",")));
    assert_eq!((doc.root().raw(), doc.root().len()), (doc.text().as_bytes(), read.len()));
    let items: Vec<_> = doc.root().items().map(|item| item.json()).collect();
    assert_eq!(items, read.map(|part| parts[part].trim()));
    for (number, part) in parts.iter().enumerate() {
        let start = starts[number].filter(|start| doc.text()[*start..].starts_with(part));
        assert_eq!(start.is_some(), read.contains(&number), "{part}");
        assert_eq!(starts[number].is_some(), read.contains(&number), "{part}");
    }
    let mut told = Vec::new();
    doc.root().scalars(&mut |value, name| told.push((value.json(), name)));
    let of = [("\"a\"", true), (r#""\u0040""#, false), ("\"a\"", true), ("1", false), ("-7", false)];
    assert_eq!(told, [&of[..], &[("\"é\"", true), ("\"x\"", false), ("\"y\"", false)]].concat());
    assert!(json::Joined::default().doc().is_none());
}

/// The raw form of a character in several spellings, and how a range of the text maps back.
fn spellings(c: char, pick: u8) -> String {
    let mut units = [0; 2];
    let long: String = c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect();
    match (c, pick % 3) {
        ('\n', 0) => "\\n".into(),
        ('"' | '\\', 0 | 1) => format!("\\{c}"),
        ('/', 0) => "\\/".into(),
        (_, 2) => long,
        (c, _) if c >= ' ' && c != '"' && c != '\\' => c.into(),
        _ => long,
    }
}

fn check_ranges(pieces: &[(char, u8)], step: usize) {
    let mut raw = String::from("[\"");
    let (mut text, mut starts) = (String::new(), Vec::new());
    for (c, pick) in pieces {
        starts.push((text.len(), raw.len()));
        text.push(*c);
        raw += &spellings(*c, *pick);
    }
    starts.push((text.len(), raw.len()));
    raw += "\"]";
    let doc = json::parse(raw.as_bytes(), &Limits::default()).unwrap();
    let unescaped = doc.root().items().next().unwrap().unescaped();
    assert_eq!(unescaped.text, text.as_str());
    let whole = json::Unescaped::document(&raw, false);
    assert_eq!(whole.text, format!("[\"{text}\"]"));
    for (from, raw_from) in starts.iter().step_by(step) {
        assert_eq!(whole.raw_range(from + 2..from + 2), *raw_from..*raw_from);
    }
    assert_eq!(whole.place(unescaped.body_range()), 2..text.len() + 2);
    // In order, and back.
    for (from, raw_from) in starts.iter().step_by(step).chain(starts.first()) {
        let (last, raw_last) = starts[starts.len() - 1];
        assert_eq!(whole.place(*raw_from..raw_last), from + 2..last + 2);
        assert_eq!(whole.place(*raw_from..*raw_from), from + 2..from + 2);
    }
    assert_eq!(json::Unescaped::document(&raw, true).place(unescaped.body_range()), 2..raw.len() - 2);
    for (index, (from, raw_from)) in starts.iter().enumerate().step_by(step) {
        for (to, raw_to) in starts[index..].iter().step_by(step) {
            assert_eq!(unescaped.raw_range(*from..*to), *raw_from..*raw_to, "{raw} {from}..{to}");
        }
    }
    // Inside a character: all of it.
    for (pair, (c, _)) in starts.windows(2).zip(pieces).step_by(step) {
        for inside in 1..c.len_utf8() {
            let at = pair[0].0 + inside;
            assert_eq!(unescaped.raw_range(at..at), pair[0].1..pair[1].1, "{raw}");
        }
    }
    assert_eq!(unescaped.raw_range(text.len() + 9..text.len() + 99).len(), 0);
}

#[test]
fn a_range_far_inside_a_long_text_maps_back() {
    let pieces: Vec<(char, u8)> = (0..9_000u32)
        .map(|n| (['a', '\n', 'é', '😀', '"', 'b'][(n * n / 7 % 6) as usize], (n % 5) as u8))
        .collect();
    check_ranges(&pieces, 131);
    let plain: Vec<(char, u8)> = std::iter::once(('"', 0)).chain((0..9_000).map(|_| ('é', 1))).collect();
    check_ranges(&plain, 97);

    // Would each range be walked to from the beginning, these would not end soon.
    for (unit, count) in [("x", 3_000_000), ("\\n", 1_000_000)] {
        let long = format!("\"\\n{}\"", unit.repeat(count));
        let doc = json::parse(long.as_bytes(), &Limits::default()).unwrap();
        let unescaped = doc.root().unescaped();
        for at in (0..count).step_by(10) {
            let from = 3 + at * unit.len();
            assert_eq!(unescaped.raw_range(at + 1..at + 2), from..from + unit.len());
        }
        assert_eq!(unescaped.raw_range(1..1), 3..3, "going back");
    }
}

#[test]
fn the_writer_writes_what_a_reader_reads() {
    let mut writer = json::Writer::new(b"data: ".to_vec());
    writer.begin_object().key("a\"\n").begin_array();
    writer.u64(u64::MAX).i64(i64::MIN).i64(7).u64(0).f64(0.1).f64(1e300).f64(-2.0).f64(f64::NAN).end_array();
    writer.key("b").begin_object().end_object().key("c").raw(b"[1]").key("d").bool(true).key("e").null();
    writer
        .key("f")
        .str("é\u{1}\u{1f}\u{7f}\\")
        .key("g")
        .begin_array()
        .begin_array()
        .end_array()
        .str("")
        .end_array();
    writer.end_object();
    let out = writer.into_inner();
    let json = out.strip_prefix(b"data: ").unwrap();
    let expected = serde_json::json!({
        "a\"\n": [u64::MAX, i64::MIN, 7, 0, 0.1, 1e300, -2.0, null],
        "b": {}, "c": [1], "d": true, "e": null, "f": "é\u{1}\u{1f}\u{7f}\\", "g": [[], ""],
    });
    assert_eq!(serde_json::from_slice::<serde_json::Value>(json).unwrap(), expected);
    agree(json);
}

#[test]
fn a_piece_of_json_is_filled_and_commas_go_on_around_it() {
    let mut writer = json::Writer::default();
    writer.fill(r#"{"a":?,"b":["#, &["\"?\n"]).u64(1).fill("{}", &[]).fill(r#"],"c":{"d":"#, &[]).null();
    writer.key("e").bool(true).fill(r#""f":[?,?]"#, &["", "?"]).end_object().member("g", "").fill("}", &[]);
    let expected = r#"{"a":"\"?\n","b":[1,{}],"c":{"d":null,"e":true,"f":["","?"]},"g":""}"#;
    assert_eq!(String::from_utf8(writer.into_inner()).unwrap(), expected);
}

fn tokens() -> impl Strategy<Value = String> {
    let token = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\"a\"",
        "\"a\":",
        "\"b\":1",
        "1",
        "-",
        "0",
        "1.5e3",
        "e",
        "true",
        "null",
        " ",
        "\\",
        "\\u",
        "d83d",
        "\"\\ud83d\\ude00\"",
        "\"\\udc00\"",
        "é",
        "\u{feff}",
        "\n",
        "[]",
        "{}",
        "\"\\n\"",
    ]);
    prop::collection::vec(token, 0..24).prop_map(|tokens| tokens.concat())
}

fn values() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(6, 64, 20, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..20).prop_map(Into::into),
            prop::collection::btree_map(any::<String>(), inner, 0..20)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn token_salad_is_judged_as_serde_json_judges_it(text in tokens()) {
        agree(text.as_bytes());
    }

    #[test]
    fn any_bytes_are_judged_as_serde_json_judges_them(text in prop::collection::vec(any::<u8>(), 0..64)) {
        agree(&text);
    }

    #[test]
    fn any_document_means_the_same_to_both(value in values()) {
        agree(serde_json::to_string(&value).unwrap().as_bytes());
        agree(serde_json::to_string_pretty(&value).unwrap().as_bytes());
    }

    #[test]
    fn escaped_text_reads_back(text in any::<String>()) {
        let mut out = b"\"".to_vec();
        json::escape_into(&mut out, &text);
        out.push(b'"');
        prop_assert_eq!(String::from_utf8_lossy(&out), serde_json::to_string(&text).unwrap());
        let doc = json::parse(&out, &Limits::default()).unwrap();
        prop_assert_eq!(doc.root().as_str().unwrap(), text);
    }

    #[test]
    fn every_range_of_a_text_maps_back_to_its_bytes(
        pieces in prop::collection::vec((prop::sample::select(vec!['a', '"', '\\', '\n', 'é', '€', '😀', '/', '\0']), any::<u8>()), 0..24)
    ) {
        check_ranges(&pieces, 1);
    }
}

#[test]
fn recorded_calls_are_read_as_serde_json_reads_them() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/wire");
    let Ok(files) = std::fs::read_dir(folder) else {
        println!("skipped: no recorded calls beside the project");
        return;
    };
    let mut lines = 0;
    for file in files {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        for line in text.lines() {
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            for part in ["request", "response"] {
                agree(record[part].to_string().as_bytes());
            }
            lines += 1;
        }
    }
    assert!(lines > 100);
}

#[test]
fn every_scalar_is_told_in_order_and_which_are_names() {
    let doc = json::parse_texts(r#"[{"a":"b","c":[1,"d",{"e":null}],"a":{}},"\u0066"]"#, &Limits::default())
        .unwrap();
    let mut told = Vec::new();
    doc.root().scalars(&mut |value, name| {
        let text = value.as_str().unwrap_or_else(|| value.json().into());
        told.push((text.into_owned(), name, value.len()));
    });
    let expected = [
        ("a", true),
        ("b", false),
        ("c", true),
        ("1", false),
        ("d", false),
        ("e", true),
        ("a", true),
        ("f", false),
    ];
    assert_eq!(told, expected.map(|(text, name)| (text.to_owned(), name, usize::from(name))));
}
