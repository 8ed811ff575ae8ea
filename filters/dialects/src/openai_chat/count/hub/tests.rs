//! The count over the hub is that of the chat request which would be written.

use std::path::Path;

use weir_wire::json::parse;

use super::super::super::encode::encode;
use super::super::super::rules::TABLE;
use super::super::prompt_tokens_by;
use super::*;
use crate::hub::{Tool, ToolResult};
use crate::{anthropic, bedrock, openai_responses};

type Decoded = Result<(Chat, Vec<Loss>), Invalid>;

/// Bytes, so that each text matters as a whole, and its seams do.
fn bytes(text: &str) -> u64 {
    text.len() as u64 * 3 + 1
}

/// By way of the bytes that a provider would be sent.
fn written(decoded: &Decoded, rules: &Rules) -> Option<Count> {
    let (chat, losses) = decoded.as_ref().ok()?;
    let (body, _) = encode(chat, true);
    let doc = parse(&body, &Limits::default()).ok()?;
    let count = prompt_tokens_by(&doc, rules, &mut bytes);
    Some(Count { exact: count.exact && losses.is_empty(), ..count })
}

fn assert_same(decoded: &Decoded) -> Option<Count> {
    let mut last = None;
    for rules in TABLE.iter().step_by(4).map(|(_, rules)| rules).chain([&Rules::COOKBOOK]) {
        last = chat_tokens(decoded.clone(), rules, &mut bytes);
        assert_eq!(last, written(decoded, rules), "{decoded:?}");
    }
    last
}

#[test]
fn recorded_requests_of_every_dialect_count_the_same() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/wire");
    if !folder.exists() {
        eprintln!("skipped: no ../shared/data/wire beside the project");
        return;
    }
    let (mut counted, mut exact, mut pictures) = (0, 0, 0);
    for file in [
        "anthropic_messages",
        "anthropic_count_tokens",
        "openai_responses",
        "openai_chat_completions",
        "bedrock_converse",
        "bedrock_converse_stream",
    ] {
        let text = std::fs::read_to_string(folder.join(file).with_extension("jsonl")).unwrap();
        for line in text.lines() {
            let row = parse(line.as_bytes(), &Limits::default()).unwrap();
            let Some(request) = row.root().get("request") else { continue };
            let Ok(doc) = parse(request.raw(), &Limits::default()) else { continue };
            let decoded = match file.split_once('_') {
                Some(("anthropic", _)) => anthropic::decode(&doc),
                Some(("bedrock", _)) => bedrock::decode(&doc, "m", false),
                Some((_, "responses")) => openai_responses::decode(&doc),
                _ => crate::openai_chat::decode(&doc),
            };
            let count = assert_same(&decoded);
            counted += u64::from(count.is_some());
            exact += u64::from(count.is_some_and(|count| count.exact));
            pictures += u64::from(count.is_some_and(|count| count.images > 0));
        }
    }
    println!("{counted} requests counted, {exact} of them exactly, {pictures} with pictures");
    assert!(counted > 400 && exact > 100 && pictures > 10, "{counted}, {exact}, {pictures}");
}

/// A xorshift generator: the same chats in every run.
struct Draw(u64);

impl Draw {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn text(&mut self) -> String {
        let words = ["", "a", "two words", "\"quoted\"\n", "é\u{1f600}", "{}", "\u{1}", "functions.f"];
        words[self.below(8) as usize].to_owned()
    }

    fn part(&mut self, depth: u64) -> Part {
        match self.below(if depth > 0 { 13 } else { 16 }) {
            0..4 => Part::Text(self.text()),
            4 => Part::Refusal(self.text()),
            5 => Part::Image {
                media_type: "image/png".into(),
                data: "iVBORw0KGgoAAAANSUhEUgAABAAAAAQA".into(),
            },
            6 => Part::Image { media_type: "image/gif".into(), data: self.text() },
            7 => Part::ImageUrl { url: "https://e/x".into() },
            8 => Part::Audio { format: "wav".into(), data: "AAAA".into() },
            9 => Part::Document { media_type: "application/pdf".into(), name: None, data: "AAAA".into() },
            10 | 11 => Part::CachePoint { ttl: None },
            12 => Part::Video { media_type: "video/mp4".into(), data: "AAAA".into() },
            13 => {
                let signature = (self.below(2) == 0).then(|| "s".to_owned());
                Part::Reasoning { text: self.text(), signature }
            }
            14 if self.below(3) == 0 => Part::RedactedReasoning("r".into()),
            14 => {
                let id = self.below(3).to_string();
                Part::ToolCall(ToolCall { id, name: self.text(), arguments: self.text() })
            }
            _ => {
                let parts = (0..self.below(4)).map(|_| self.part(1)).collect();
                Part::ToolResult(ToolResult {
                    id: self.below(3).to_string(),
                    parts,
                    error: self.below(2) == 0,
                })
            }
        }
    }

    fn chat(&mut self) -> Chat {
        let mut chat = Chat::of("m".into(), false, false);
        for _ in 0..self.below(5) {
            let roles = [Role::System, Role::Developer, Role::User, Role::Assistant, Role::Tool];
            let role = roles[self.below(5) as usize];
            let name = (self.below(4) == 0).then(|| self.text());
            let most = if self.below(2) == 0 { 1 } else { 5 };
            let parts = (0..self.below(most + 1)).map(|_| self.part(0)).collect();
            chat.messages.push(Message { role, name, parts });
        }
        for _ in 0..self.below(6).saturating_sub(3) {
            let schema = r#" {"type":"object","properties":{"a":{"type":"string"}}}"#;
            let parameters = (self.below(2) == 0).then(|| schema.to_owned());
            let cache = (self.below(3) == 0).then_some(None);
            chat.tools.push(Tool {
                name: self.text(),
                description: Some(self.text()),
                parameters,
                strict: None,
                cache,
            });
        }
        if self.below(4) == 0 {
            let (name, description, strict) = (None, None, None);
            chat.response_format =
                ResponseFormat::JsonSchema { name, description, schema: "\t{\"a\": 1}\n ".into(), strict };
        }
        chat
    }
}

#[test]
fn any_chat_counts_the_same() {
    let mut draw = Draw(0x9e37_79b9_7f4a_7c15);
    let mut exact = 0;
    for _ in 0..5_000 {
        let losses = (draw.below(4) == 0).then(|| Loss { path: "p".into(), reason: "r" });
        let decoded = Ok((draw.chat(), losses.into_iter().collect()));
        exact += u64::from(assert_same(&decoded).is_some_and(|count| count.exact));
    }
    assert!(exact > 100, "{exact}");
}

#[test]
fn what_cannot_become_a_chat_has_no_count() {
    let decoded = Err(Invalid::missing("messages"));
    assert_eq!(chat_tokens(decoded, &Rules::COOKBOOK, &mut bytes), None);
}
