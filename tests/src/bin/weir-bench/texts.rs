//! Chat requests of different texts. Real prose and code from recorded prompts where they are present, mixed
//! with sentences of made-up words, in an order that never repeats: a counter that remembers whole texts
//! gains nothing, one that remembers words gains what it would in life.

use serde_json::{Value, json};
use weir_tests::harness::repo_root;
use weir_tests::sim::rng::Rng;
use weir_tests::sim::words;

const ONSETS: &[&str] = &[
    "b", "br", "c", "ch", "d", "f", "gr", "h", "j", "l", "m", "n", "p", "pl", "r", "s", "st", "t", "tr", "v",
    "w",
];
const RIMES: &[&str] = &[
    "a", "an", "ar", "e", "ed", "ell", "en", "er", "i", "ing", "o", "ol", "on", "or", "ought", "u", "um", "y",
];

/// Sentences to draw from.
pub struct Texts {
    sentences: Vec<String>,
    /// Bytes of real text; 0 where the recorded prompts are absent.
    pub real: usize,
}

impl Texts {
    pub fn load() -> Self {
        let data = repo_root().join("../shared/data");
        let files = [
            "prompts/gsm8k_test.jsonl",
            "prompts/mt_bench_question.jsonl",
            "wire/openai_chat_completions.jsonl",
            "wire/anthropic_messages.jsonl",
        ];
        let mut sentences = Vec::new();
        for file in files {
            let Ok(text) = std::fs::read_to_string(data.join(file)) else { continue };
            for line in text.lines() {
                if let Ok(value) = serde_json::from_str::<Value>(line) {
                    collect(&value, &mut sentences);
                }
            }
        }
        sentences.sort();
        sentences.dedup();
        let real = sentences.iter().map(String::len).sum();
        Self { sentences, real }
    }

    /// A text of about `bytes` bytes; another one for every number.
    pub fn text(&self, bytes: usize, rng: &mut Rng) -> String {
        let mut text = String::with_capacity(bytes + 256);
        while text.len() < bytes {
            if !self.sentences.is_empty() && rng.below(4) > 0 {
                text.push_str(&self.sentences[rng.below(self.sentences.len())]);
            } else {
                made_up(&mut text, rng);
            }
            text.push(if rng.below(8) == 0 { '\n' } else { ' ' });
        }
        let mut end = bytes;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text
    }

    /// The body of a chat request of about `bytes` bytes, in messages of at most 8 KB.
    pub fn chat(&self, number: u64, bytes: usize, model: &str) -> Vec<u8> {
        let mut rng = Rng::new(number);
        let mut messages =
            vec![json!({"role": "system", "content": "You are a careful assistant. Answer briefly."})];
        let turns = bytes.div_ceil(8 << 10) | 1;
        for turn in 0..turns {
            let role = if turn % 2 == 0 { "user" } else { "assistant" };
            messages.push(json!({"role": role, "content": self.text((bytes - 150) / turns - 40, &mut rng)}));
        }
        serde_json::to_vec(&json!({"model": model, "messages": messages})).expect("plain JSON")
    }
}

/// Every string of some length that is not a key, an id or an encoded thing, cut into sentences.
fn collect(value: &Value, sentences: &mut Vec<String>) {
    match value {
        Value::String(text) => {
            let spaces = text.bytes().filter(|b| *b == b' ').count();
            if text.len() < 40 || spaces * 20 < text.len() || text.starts_with("data: ") {
                return;
            }
            let ends = |c: char| matches!(c, '.' | '?' | '!' | '\n');
            sentences.extend(
                text.split_inclusive(ends)
                    .map(str::trim)
                    .filter(|s| s.len() > 20 && s.len() < 400)
                    .map(str::to_owned),
            );
        }
        Value::Array(all) => all.iter().for_each(|v| collect(v, sentences)),
        Value::Object(all) => all.values().for_each(|v| collect(v, sentences)),
        _ => {}
    }
}

/// A sentence of common words, words of other scripts, and one word in seven that nobody has seen.
fn made_up(text: &mut String, rng: &mut Rng) {
    for at in 0..rng.between(6, 16) {
        if at > 0 {
            text.push(' ');
        }
        if rng.below(7) == 0 {
            for _ in 0..rng.between(2, 3) {
                text.push_str(rng.pick(ONSETS));
                text.push_str(rng.pick(RIMES));
            }
        } else {
            text.push_str(words::word(rng, 12));
        }
    }
    text.push('.');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_its_own_text_of_the_size_asked_for() {
        let texts = Texts::load();
        let mut seen = std::collections::BTreeSet::new();
        for number in 0..200 {
            let body = texts.chat(number, 4 << 10, "m");
            assert!(body.len() > 3700 && body.len() < 4700, "{}", body.len());
            assert!(seen.insert(body));
        }
        let big = texts.chat(1, 64 << 10, "m");
        assert!(big.len() > 60_000 && big.len() < 72_000, "{}", big.len());
    }
}
