//! Every id as tiktoken-rs gives it, on texts chosen, enumerated and drawn.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "helpers of tests stand outside of test functions"
)]

use std::path::{Path, PathBuf};
use std::thread;

use pools::{Random, check, check_chunks, oracle};
use weir_tokens::Vocabulary;

mod pools;

/// Texts of the kinds that a gateway sees, and the corners of each rule.
const CORPUS: &[&str] = &[
    "",
    " ",
    "a",
    "The quick brown fox jumps over the lazy dog, didn't it? It'S 12345678 o'clock; THEY'LL we'Ve I'M.",
    "'ſ x'ſ X'ſ 'ſ's don'ſt O'SſS 'K it'K",
    "{\"role\": \"user\", \"content\": \"caf\\u00e9\\n\", \"n\": [1, 2.50, -3e10, null, true]}\r\n",
    "fn main() {\n    let x = vec![0u8; 1 << 20];\r\n\tprintln!(\"{:?}\", x.len()); // done\n}\n\n\n",
    "SELECT * FROM users WHERE id = 0x7fff_ffff AND name LIKE '%o''brien%';--\n/* a */ // b\n///\n//\r\n/",
    "日本語ABC 日本語ABCdef 中文Latin混排, 你好，世界。한국어 텍스트입니다. ภาษาไทยไม่มีวรรค",
    "Zażółć gęślą jaźń. Příliš žluťoučký kůň. Быстрая лиса — ЛИСА's. Ελληνικά ΆΛΦΑ. İstanbul'da ǅungla",
    "مرحبا بالعالم ١٢٣٤ שלום עולם नमस्ते दुनिया १२३ தமிழ் ไทย ២០២៤",
    "👩‍👩‍👧‍👦 🏳️‍🌈 ❤️‍🔥 🇩🇪🇫🇷 1️⃣ e\u{301}\u{308} \u{301}abc \u{301}ABC \u{301}'s !\u{301}a !!\u{301}a",
    "a\u{a0}b\u{3000}c\u{2003}\u{2003}d\u{85}e\u{2028}f\u{200b}g\u{feff}h\u{180e}i",
    "  \n  \n\n   x\n \t \r\n\r\n  ",
    "\n\n\n",
    "\r\n \r\n x",
    "x  \n",
    "x\n  ",
    "x   ",
    "   x",
    " \t x",
    "\u{3000}\u{3000}x",
    "https://user:pass@example.com:8443/a/b//c?q=%20&x[]=1#frag mailto:a.b+c@d.example",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa ======================== ------------------------ ........................",
    "antidisestablishmentarianism Donaudampfschifffahrtsgesellschaft правительственный internationalization",
    "<|endoftext|><|im_start|>system<|im_sep|> <|fim_prefix|> are ordinary here<|end|>",
    "½ ² ³ Ⅷ ⅷ ㊿ 𝟘𝟙𝟚𝟛 123456 1,234,567.89 0x1F 1e-9 12:34:56 ٣٤٥٦",
    "\0\0\u{1}\u{7f} \u{378}\u{378}s \u{10ffff}\u{e000} \u{1fb00}'s \u{e0067}",
];

#[test]
fn the_corpus_has_the_oracles_ids() {
    for &vocabulary in Vocabulary::ALL {
        for text in CORPUS {
            check(vocabulary, text);
        }
        check(vocabulary, &CORPUS.concat());
    }
}

#[test]
fn names_lead_to_vocabularies_and_back() {
    for &vocabulary in Vocabulary::ALL {
        assert_eq!(Vocabulary::from_name(vocabulary.name()), Some(vocabulary));
    }
    assert_eq!(Vocabulary::from_name("o200k_harmony"), Vocabulary::from_name("o200k_base"));
    assert_eq!(Vocabulary::from_name("claude"), None);
}

#[test]
fn harmony_has_the_same_ordinary_ids() {
    let Some(vocabulary) = Vocabulary::from_name("o200k_harmony") else { return };
    for text in CORPUS {
        let wanted = tiktoken_rs::o200k_harmony_singleton().encode_ordinary(text);
        assert_eq!(weir_tokens::count(vocabulary, text), wanted.len() as u64, "{text:?}");
    }
}

#[test]
fn no_count_exceeds_the_bound() {
    for &vocabulary in Vocabulary::ALL {
        for text in CORPUS {
            assert!(weir_tokens::count(vocabulary, text) <= weir_tokens::upper_bound(text.len() as u64));
        }
    }
}

/// One character of each kind that any rule tells apart, and then some.
const KINDS: &[&str] = &[
    "a", "B", "s", "S", "ſ", "l", "e", "R", "v", "ǅ", "ʰ", "中", "\u{301}", "\u{20e3}", "1", "Ⅷ", "½", " ",
    "\t", "\n", "\r", "\u{a0}", "\u{3000}", "'", "’", "/", ".", "=", "\0", "€", "😀", "\u{200d}", "\u{378}",
    "é", "Ω", "ß",
];

#[test]
fn every_four_kinds_in_a_row_are_cut_as_the_oracle_cuts_them() {
    each_vocabulary_in_a_thread(|vocabulary| {
        let mut text = String::new();
        for first in KINDS {
            for second in KINDS {
                for third in KINDS {
                    text.clear();
                    text.extend([*first, second, third]);
                    check(vocabulary, &text);
                    // The fourth matters to few rules; a letter, a line end and an apostrophe stand for all.
                    for fourth in ["x", "\n", "'", " ", "S"] {
                        text.truncate(first.len() + second.len() + third.len());
                        text.push_str(fourth);
                        check(vocabulary, &text);
                    }
                }
            }
        }
    });
}

#[test]
fn every_code_point_has_the_oracles_classes() {
    each_vocabulary_in_a_thread(|vocabulary| {
        let mut text = String::new();
        // Planes 4 to 13 hold nothing; their ends and a sample stand for them.
        let points = (0..0x4_0000)
            .chain((0x4_0000..0xE_0000).step_by(4099))
            .chain(0xE_0000..0xE_1000)
            .chain(0xF_FF00..0x10_0100);
        for character in points.chain(0x10_FF00..=0x10_FFFF).filter_map(char::from_u32) {
            // As a prefix, within a word of either case, before a contraction, beside digits and line ends.
            text.extend([
                'a', character, 'B', character, 'c', '1', character, ' ', character, '\n', character, '\'',
                's', '!',
            ]);
            if text.len() > 4000 {
                check(vocabulary, &text);
                text.clear();
            }
        }
        check(vocabulary, &text);
    });
}

#[test]
fn every_token_that_is_text_has_the_oracles_ids() {
    each_vocabulary_in_a_thread(|vocabulary| {
        let mut seen = 0;
        for rank in 0..200_000 {
            let bytes = oracle(vocabulary).decode_bytes(&[rank]).unwrap_or_default();
            let Ok(text) = String::from_utf8(bytes) else { continue };
            check(vocabulary, &text);
            seen += 1;
        }
        assert!(seen > 40_000, "only {seen} tokens");
    });
}

#[test]
fn random_texts_have_the_oracles_ids_whole_and_in_chunks() {
    each_vocabulary_in_a_thread(|vocabulary| {
        for seed in 1..=60_000 {
            let mut random = Random(seed);
            let text = pools::text(&mut random, if seed % 400 == 0 { 2500 } else { 30 });
            check(vocabulary, &text);
            check_chunks(vocabulary, &text, &mut random, if text.len() > 3000 { 900 } else { 7 });
        }
    });
}

#[test]
fn the_shared_texts_have_the_oracles_ids() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let mut files = Vec::new();
    list(&data, &mut files);
    if files.is_empty() {
        println!("skipped: no ../shared/data beside the project");
        return;
    }
    each_vocabulary_in_a_thread(|vocabulary| {
        for path in &files {
            let bytes = std::fs::read(path).expect("a readable file");
            let text = String::from_utf8_lossy(&bytes);
            // The oracle's splitter overflows its stack on long runs; lines are safe.
            for line in text.split_inclusive('\n') {
                check(vocabulary, line);
            }
            check_chunks(vocabulary, &text, &mut Random(1), 5000);
        }
    });
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            list(&path, files);
        } else {
            files.push(path);
        }
    }
}

fn each_vocabulary_in_a_thread(run: impl Fn(Vocabulary) + Sync) {
    thread::scope(|scope| {
        for &vocabulary in Vocabulary::ALL {
            let run = &run;
            scope.spawn(move || run(vocabulary));
        }
    });
}
