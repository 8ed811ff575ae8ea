//! Tokenizers of the tests' own, trained here by Hugging Face's library and compiled: the counts are that library's.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests stand outside of test functions"
)]

use std::str::FromStr;

use pools::Random;
use serde_json::{Value, json};
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, Tokenizer};
use weir_tokens::{Vocabulary, add, compile, count};

mod pools;

const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const O200K: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

fn byte_level(regex: bool) -> Value {
    json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": regex})
}

fn split(pattern: &str) -> Value {
    let cut =
        json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false});
    json!({"type": "Sequence", "pretokenizers": [cut, byte_level(false)]})
}

/// A tokenizer that splits so, of up to `size` tokens, as its file.
fn trained(pre_tokenizer: &Value, size: usize) -> Value {
    let mut blank = serde_json::to_value(Tokenizer::new(BPE::default())).expect("a tokenizer is JSON");
    blank["pre_tokenizer"] = pre_tokenizer.clone();
    let mut tokenizer = Tokenizer::from_str(&blank.to_string()).expect("a tokenizer");
    let mut random = Random(99);
    let corpus: Vec<String> = (0..3000).map(|_| pools::text(&mut random, 40)).collect();
    let mut trainer: TrainerWrapper = BpeTrainer::builder()
        .vocab_size(size)
        .min_frequency(2)
        .show_progress(false)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .special_tokens(vec![AddedToken::from("<|never|>", true)])
        .build()
        .into();
    tokenizer.train(&mut trainer, corpus.iter().map(String::as_str)).expect("training");
    serde_json::to_value(&tokenizer).expect("a tokenizer is JSON")
}

/// Compiles a file under `name` and compares counts over so many random texts.
fn compare(name: &str, file: &Value, texts: u64) {
    let text = file.to_string();
    let block = compile::compile(name, &text).unwrap_or_else(|why| panic!("{name}: {why}"));
    assert_eq!(compile::name_of(&block), Some(name));
    assert_eq!(add(block.leak()), 1);
    let vocabulary = Vocabulary::from_name(name).expect("it was added");
    assert_eq!(vocabulary.name(), name);
    let oracle = Tokenizer::from_str(&text).expect("a tokenizer");
    for seed in 0..texts {
        let mut random = Random(seed);
        let text = pools::text(&mut random, if seed % 100 == 0 { 1500 } else { 40 });
        let wanted = oracle.encode_fast(text.as_str(), false).expect("an encoding").len() as u64;
        assert_eq!(count(vocabulary, &text), wanted, "{name}, seed {seed}: {text:?}");
        pools::check_chunks(vocabulary, &text, &mut random, if text.len() > 3000 { 900 } else { 7 });
    }
}

#[test]
fn trained_tokenizers_count_as_the_library_that_trained_them() {
    let families = [
        ("gpt2-regex", byte_level(true)),
        ("gpt2-split", split(GPT2)),
        ("llama3", split(LLAMA3)),
        ("qwen2", split(QWEN2)),
        ("o200k", split(O200K)),
    ];
    std::thread::scope(|scope| {
        for (name, pre_tokenizer) in &families {
            scope.spawn(move || compare(name, &trained(pre_tokenizer, 3000), 20_000));
        }
    });
}

#[test]
fn words_of_the_vocabulary_are_one_token_where_merges_are_ignored() {
    let mut file = trained(&split(LLAMA3), 1500);
    // A word that no merges give, and the first half of the merges only: much of the vocabulary is out of reach.
    let next = file["model"]["vocab"].as_object().expect("a map").len();
    file["model"]["vocab"]["Ġunreachable"] = next.into();
    let merges = file["model"]["merges"].as_array_mut().expect("a list");
    merges.truncate(merges.len() / 2);
    compare("with-merges", &file, 5_000);
    file["model"]["ignore_merges"] = true.into();
    compare("ignoring-merges", &file, 5_000);
    let counted = |name: &str| count(Vocabulary::from_name(name).expect("added"), " unreachable");
    assert!(counted("with-merges") > 1);
    assert_eq!(counted("ignoring-merges"), 1);
}

#[test]
fn merges_as_converters_write_them_count_as_the_library_does() {
    // Converters from tiktoken's form list every pair that gives a token, most of which are never met.
    let file = trained(&split(LLAMA3), 3000);
    let vocab = file["model"]["vocab"].as_object().expect("a map").clone();
    let mut tokens: Vec<(u64, &str)> =
        vocab.iter().map(|(t, id)| (id.as_u64().expect("a number"), t.as_str())).collect();
    tokens.sort_unstable();
    let mut merges = Vec::new();
    for (_, token) in tokens.iter().filter(|(_, token)| *token != "<|never|>") {
        let cuts = token.char_indices().skip(1).map(|(at, _)| token.split_at(at));
        let mut pairs: Vec<_> = cuts
            .filter_map(|(l, r)| Some((vocab.get(l)?.as_u64()?, vocab.get(r)?.as_u64()?, l, r)))
            .collect();
        pairs.sort_unstable();
        merges.extend(pairs.into_iter().map(|(_, _, l, r)| json!([l, r])));
    }
    let mut converted = file.clone();
    let before = file["model"]["merges"].as_array().expect("a list").len();
    assert!(merges.len() > before + 100, "{} pairs, {before} merges", merges.len());
    converted["model"]["merges"] = merges.into();
    compare("converted", &converted, 10_000);
    // The older way to write a merge.
    let merges = file["model"]["merges"].as_array().expect("a list").iter();
    let merges: Vec<Value> = merges
        .map(|m| format!("{} {}", m[0].as_str().expect("text"), m[1].as_str().expect("text")).into())
        .collect();
    let mut older = file.clone();
    older["model"]["merges"] = merges.into();
    compare("older", &older, 1_000);
}

#[test]
fn the_same_file_compiles_to_the_same_bytes() {
    let text = trained(&split(QWEN2), 600).to_string();
    assert_eq!(compile::compile("twice", &text), compile::compile("twice", &text));
}

#[test]
fn what_cannot_be_counted_exactly_is_refused_with_the_reason() {
    let good = trained(&split(LLAMA3), 400);
    let mut cases: Vec<(Value, &str)> = Vec::new();
    let mut case = |path: &[&str], value: Value, wanted: &'static str| {
        let mut file = good.clone();
        let at = path.iter().fold(&mut file, |at, key| &mut at[*key]);
        *at = value;
        cases.push((file, wanted));
    };
    case(&["normalizer"], json!({"type": "Lowercase"}), "`normalizer` is {\"type\":\"Lowercase\"}");
    case(&["pre_tokenizer"], json!({"type": "Metaspace"}), "`pre_tokenizer` is [{\"type\":\"Metaspace\"}]");
    case(&["pre_tokenizer"], split(r"\p{L}+|\s+"), "`pre_tokenizer` is");
    case(&["pre_tokenizer"], json!({"type": "ByteLevel", "add_prefix_space": true}), "`pre_tokenizer` is");
    case(&["model", "type"], "WordPiece".into(), "`type` is \"WordPiece\"");
    case(&["model", "dropout"], 0.1.into(), "`dropout` is 0.1");
    case(&["model", "byte_fallback"], true.into(), "`byte_fallback` is true");
    case(&["model", "end_of_word_suffix"], "</w>".into(), "`end_of_word_suffix` is \"</w>\"");
    case(&["model", "vocab"], json!({"a": 0}), "merge 0 names");
    case(&["model", "merges"], json!([["Ġ", "qqqq"]]), "merge 0 names `qqqq`");
    case(&["model", "merges"], 7.into(), "`model.merges` is no list");
    case(&["model"], Value::Null, "it has no `model`");
    for (file, wanted) in cases {
        let why = compile::compile("case", &file.to_string()).expect_err(wanted).to_string();
        assert!(why.contains(wanted), "{why}\nis not about\n{wanted}");
    }
    let mut lacking = good.clone();
    lacking["model"]["vocab"].as_object_mut().expect("a map").remove("ÿ");
    assert!(compile::compile("case", &lacking.to_string()).is_ok(), "0xff is in no text");
    lacking["model"]["vocab"].as_object_mut().expect("a map").remove("~");
    let why = compile::compile("case", &lacking.to_string()).expect_err("no ~").to_string();
    assert!(why.contains("without a token for the byte 0x7e"), "{why}");
    for name in ["", "-x", "a b", "o200k_base", "learned", "ä", &"x".repeat(65)] {
        assert!(matches!(compile::compile(name, "{}"), Err(compile::Error::Name(_))), "{name}");
    }
}

#[test]
fn bytes_that_are_no_tables_add_nothing() {
    let block = compile::compile("cut", &trained(&split(LLAMA3), 300).to_string()).expect("it compiles");
    assert_eq!(add(b"no tables"), 0);
    assert_eq!(add(b""), 0);
    for end in [8, 31, 60, 140, 1000, block.len() - 1] {
        assert_eq!(add(block[..end].to_vec().leak()), 0, "{end} bytes");
        assert_eq!(compile::name_of(&block[..end]), None);
    }
    let two = [
        block.clone(),
        compile::compile("second", &trained(&split(QWEN2), 300).to_string()).expect("it compiles"),
    ];
    assert_eq!(add(two.concat().leak()), 2);
    assert!(Vocabulary::from_name("second").is_some());
}
