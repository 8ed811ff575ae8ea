//! Texts: redaction, restoring, counting, and a tokenizer's own file.

use std::rc::Rc;
use std::sync::OnceLock;

use weir_pii::{
    Action, DETECTORS, Escapes, Finding, Redactor, Rule, Set, Vault, Written, find, find_written, redact,
};
use weir_tokens::{Counter, Vocabulary, compile, count};
use weir_wire::json::{self, Limits};

use super::{Target, parts, seeds, text_cuts, words};

static JSON: Escapes = Escapes { short: json::SHORT_ESCAPES, long: json::escape };

fn everything(action: Action) -> Rc<Set> {
    thread_local! {
        static SETS: [Rc<Set>; 2] = [Action::Tokenize, Action::Mask].map(|action| {
            let find = DETECTORS.iter().map(|detector| detector.id.to_owned()).collect();
            let words = ["Project Bluebird", "Übersee", "青い鳥"].map(str::to_owned).to_vec();
            Rc::new(Set::new(&[Rule { find, words, action }]).expect("every detector is known"))
        });
    }
    SETS.with(|sets| sets[usize::from(action == Action::Mask)].clone())
}

/// A text as the body of a JSON string, every so many of its characters spelled by their numbers.
fn spelled(text: &str, every: usize) -> String {
    let mut raw = String::new();
    for (at, c) in text.chars().enumerate() {
        if at % every == 0 {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| raw += &format!("\\u{unit:04X}"));
        } else {
            let quoted = serde_json::to_string(&c).expect("a character is a string");
            raw += quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).expect("in quotes");
        }
    }
    raw
}

pub const REDACTION: Target = Target {
    name: "redaction",
    about: "every detector over any text: what is hidden in a stream is what is hidden in the whole, however it is cut, and little is held; what is found in a text is found in it however it is escaped; JSON stays JSON",
    run: |input| {
        let text = String::from_utf8_lossy(input);
        let set = everything(Action::Mask);
        let mut findings = Vec::new();
        find(&set, &text, &mut findings);
        for every in [1, 3] {
            let raw = spelled(&text, every);
            let document = format!("\"{raw}\"");
            assert!(json::parse(document.as_bytes(), &Limits::default()).is_ok(), "a string of JSON");
            let written = Written { raw: &raw, escapes: &JSON, text: &|| &text, message: false };
            let mut escaped = Vec::new();
            find_written(&set, &written, &mut escaped);
            assert_eq!(escaped, findings, "written with escapes");
        }
        for json in
            [text.to_string(), format!("{{{text}"), format!("{{\"a\":[\"{}\",1]}}", spelled(&text, 3))]
        {
            let mut told: Option<String> = None;
            for pieces in text_cuts(&json) {
                let (mut redactor, mut out) =
                    (Redactor::new(set.clone()).in_json(&JSON, true), String::new());
                for piece in pieces {
                    redactor.push(piece, &mut out);
                }
                redactor.finish(&mut out);
                assert_eq!(redactor.held(), 0);
                assert_eq!(told.get_or_insert_with(|| out.clone()), &out, "cut otherwise");
            }
            let told = told.unwrap_or_default();
            let reads = |text: &str| json::parse_texts(text, &Limits::default()).is_ok();
            let known = json.starts_with("{\"") || json.starts_with("[{") || json.starts_with("[\"");
            assert!(!known || !reads(&json) || reads(&told), "{told}");
        }
        let (mut want, mut at) = (String::new(), 0);
        for Finding { kind, range, action, .. } in &findings {
            if *action != Action::Report {
                want += text.get(at..range.start).expect("in order, on borders of characters");
                want += kind.mask();
                at = range.end;
            }
        }
        want += &text[at..];
        for pieces in text_cuts(&text) {
            let (mut redactor, mut out) = (Redactor::new(set.clone()), String::new());
            for piece in pieces {
                redactor.push(piece, &mut out);
            }
            redactor.finish(&mut out);
            assert_eq!(redactor.held(), 0);
            assert_eq!(out, want, "cut otherwise");
        }
    },
    seeds: || {
        seeds(&[
            "My card is 4111 1111 1111 1111, mail jane.doe+x@example.org, call +1 (415) 555-0132.",
            "SSN 078-05-1120 IBAN GB82 WEST 1234 5698 7654 32 ip 192.168.0.1 fe80::1%eth0",
            "AWS AKIAIOSFODNN7EXAMPLE password: hunter2xyz https://user:pass@host/ Bearer eyJhbGciOiJIUzI1NiJ9.e30.abc",
            "mailto:jane%2Edoe%40example.org \\n10.1.2.3 4111&#32;1111&nbsp;1111%201111 \\u0030\\u0037\\u0038-05-1120 &amp;#64; %2540 \u{1b}[1;31mAKIAIOSFODNN7EXAMPLE\u{1b}[0m",
            "-----BEGIN RSA PRIVATE KEY-----\n\\\u{200b}&#65;&#32;&#64; ghp_a1B2c3D4e5F6g7H8i9J0a1B2c3D4e5F6g7H8%41%20",
            "Project\u{a0}Bluebird \u{ff14}\u{ff11}11 1111\u{ad}1111 1111 born on 12/27/1986",
        ])
    },
    words: words::PERSONAL,
    nanos_per_byte: 120_000,
};

pub const RESTORE: Target = Target {
    name: "restore",
    about: "placeholders: what was hidden comes back, in any answer that says them, cut anywhere, and as a JSON text",
    run: |input| {
        let text = String::from_utf8_lossy(input);
        let set = everything(Action::Tokenize);
        let mut findings = Vec::new();
        find(&set, &text, &mut findings);
        let mut vault = Vault::new();
        vault.reserve(&text);
        let edits = redact(&text, &findings, &mut vault);
        let (mut hidden, mut at) = (String::new(), 0);
        for (range, with) in &edits {
            hidden += &text[at..range.start];
            hidden += with;
            at = range.end;
        }
        hidden += &text[at..];
        // In a text that begins as JSON does, a value's quotes are escaped.
        let split = |first: char, second: char| {
            let rest = hidden.trim_ascii_start().strip_prefix(first).unwrap_or_default();
            rest.trim_ascii_start().starts_with(second)
        };
        let json = split('{', '"') || split('[', '"') || split('[', '{');
        let escaped = |c: char| c < ' ' || matches!(c, '"' | '\\');
        if json && edits.iter().any(|(range, _)| text[range.clone()].contains(escaped)) {
            return;
        }
        assert_eq!(vault.restore(&hidden).as_deref().unwrap_or(&hidden), text);
        for pieces in text_cuts(&hidden) {
            let (mut restorer, mut out) = (vault.restorer(), String::new());
            for piece in pieces {
                restorer.push(piece, &mut out);
            }
            restorer.finish(&mut out);
            assert_eq!(out, text, "cut otherwise");
        }
        // Inside of a JSON text the values are escaped as it is.
        let quoted = serde_json::to_string(&hidden).expect("a text is JSON");
        let mut restorer = vault.restorer().in_json();
        let mut out = String::new();
        restorer.push(&quoted, &mut out);
        restorer.finish(&mut out);
        assert_eq!(serde_json::from_str::<String>(&out).expect("still JSON"), text);
    },
    seeds: || {
        seeds(&[
            "jane@example.org and joe@example.org and jane@example.org",
            "<EMAIL_1> jane@example.org [EMAIL_1] {{EMAIL_1}}",
            "4111111111111111 \"quoted\\\" 078-05-1120",
        ])
    },
    words: words::PERSONAL,
    nanos_per_byte: 60_000,
};

pub const TOKENS: Target = Target {
    name: "tokens",
    about: "token counts of any text: in pieces as in the whole, never more than its bytes",
    run: |input| {
        let text = String::from_utf8_lossy(input);
        for name in ["o200k_base", "cl100k_base"] {
            let vocabulary = Vocabulary::from_name(name).expect("it is built in");
            let want = count(vocabulary, &text);
            assert!(want <= text.len() as u64);
            for pieces in text_cuts(&text) {
                let mut counter = Counter::new(vocabulary);
                for piece in pieces {
                    counter.push(piece);
                }
                assert!(counter.settled() <= want);
                assert_eq!(counter.total(), want, "cut otherwise");
            }
        }
    },
    seeds: || {
        seeds(&[
            "Hello, World's end!\n\n  x\t123456 ==== é漢字🦀",
            "    \r\n\n a'S'ſ",
            "aaaaaaaaaaaaaaaaaaaaaaaa",
        ])
    },
    words: words::TOKENS,
    nanos_per_byte: 100_000,
};

pub const TOKENIZER: Target = Target {
    name: "tokenizer",
    about: "a model's tokenizer.json: refused with a reason, or compiled into a block of the name it was given",
    run: |input| {
        let text = String::from_utf8_lossy(input);
        if let Ok(block) = compile::compile("mine", &text) {
            assert_eq!(compile::name_of(&block), Some("mine"));
            assert!(block.len() < 40_000_000);
        }
        // A block from a stranger, too.
        for part in parts(input) {
            _ = compile::name_of(part);
        }
    },
    seeds: || {
        static SEED: OnceLock<Vec<u8>> = OnceLock::new();
        vec![SEED.get_or_init(smallest).clone(), b"{}".to_vec()]
    },
    words: words::TOKENIZER,
    nanos_per_byte: 1_000_000,
};

/// A tokenizer of all bytes and two merges.
fn smallest() -> Vec<u8> {
    let plain = |byte: u8| (b'!'..=b'~').contains(&byte) || (0xa1..=0xac).contains(&byte) || byte >= 0xae;
    let (mut vocabulary, mut shifted) = (serde_json::Map::new(), 0u32);
    for byte in 0..=255u8 {
        let letter =
            if plain(byte) { char::from(byte) } else { char::from_u32(256 + shifted).unwrap_or(' ') };
        shifted += u32::from(!plain(byte));
        let next = vocabulary.len();
        vocabulary.insert(letter.to_string(), next.into());
    }
    for word in ["ab", "abc"] {
        let next = vocabulary.len();
        vocabulary.insert(word.into(), next.into());
    }
    let level = serde_json::json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    let model = serde_json::json!({"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
        "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
        "vocab": vocabulary, "merges": [["a", "b"], ["ab", "c"]]});
    let file = serde_json::json!({"version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": null, "pre_tokenizer": level, "post_processor": null, "decoder": level, "model": model});
    file.to_string().into_bytes()
}
