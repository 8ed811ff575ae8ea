//! The cookbook's rule, with tiktoken's own tables, against what OpenAI billed; and the byte bound against the same.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests stop at what they do not expect"
)]

mod common;

use std::collections::BTreeMap;

use serde_json::Value;
use weir_dialects::openai_chat::{self, Rules};
use weir_wire::json::{Limits, parse};

/// Whether a count is exact, by how many tokens it misses, and what was billed.
type Miss = (bool, i64, u64);

/// Counts each recorded request: by model, how many there are and by how many tokens each was missed.
fn missed(file: &str) -> Option<BTreeMap<String, Vec<Miss>>> {
    let folder = common::data("tokens")?;
    let o200k = tiktoken_rs::o200k_base().unwrap();
    let cl100k = tiktoken_rs::cl100k_base().unwrap();
    let mut missed: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for line in common::lines(&folder, file) {
        let row: Value = serde_json::from_str(&line).unwrap();
        let model = row["model"].as_str().unwrap();
        let old = model.starts_with("gpt-3.5") || model == "gpt-4";
        let tokenizer = if old { &cl100k } else { &o200k };
        let body = row["request"].to_string();
        let doc = parse(body.as_bytes(), &Limits::default()).unwrap();
        let mut count = |text: &str| tokenizer.encode_ordinary(text).len() as u64;
        let counted = openai_chat::prompt_tokens_with(&doc, &Rules::of_model(model), &mut count);
        let billed = row["usage"]["prompt_tokens"].as_u64().unwrap();
        let overhead = openai_chat::overhead(&doc);
        let pictures = u64::from(overhead.images + overhead.low_images + overhead.opaque);
        if pictures == 0 {
            let bound = openai_chat::byte_bound(&doc);
            assert!(bound >= billed.saturating_sub(512), "{model}: bound {bound}, billed {billed}");
            assert!(counted.exact <= (bound >= billed), "{model}: bound {bound}, billed {billed}");
        }
        let by = counted.tokens as i64 - billed as i64;
        missed.entry(model.to_owned()).or_default().push((counted.exact, by, billed));
    }
    Some(missed)
}

#[test]
fn plain_text_is_counted_as_billed() {
    let Some(missed) = missed("openai_plain_chats.jsonl") else { return };
    for (model, missed) in &missed {
        for (exact, by, billed) in missed {
            assert!(*exact, "{model}");
            assert_eq!(*by, 0, "{model}: of {billed}");
        }
        println!("{model}: {} of {} exact", missed.len(), missed.len());
    }
}

#[test]
fn requests_with_tools_are_said_to_be_estimates() {
    let Some(missed) = missed("openai_tool_chats.jsonl") else { return };
    for (model, missed) in &missed {
        assert!(missed.iter().all(|(exact, by, _)| !exact || *by == 0), "{model}: {missed:?}");
        let error: f64 = missed.iter().map(|(_, by, billed)| by.unsigned_abs() as f64 / *billed as f64).sum();
        println!("{model}: mean error {:.1} % of {}", 100.0 * error / missed.len() as f64, missed.len());
    }
}
