//! What is counted against what providers billed, over recorded requests: by the rules of `openai_chat::TABLE` with
//! tiktoken's own tables, and by the formula of OpenAI's cookbook as the peer. With `--nocapture` it prints the tables:
//!
//! ```text
//! cargo test -p weir-dialects --test counts -- --nocapture
//! ```
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests stop at what they do not expect"
)]

mod common;

use std::collections::BTreeMap;

use serde_json::Value;
use tiktoken_rs::CoreBPE;
use weir_dialects::openai_chat::{self, Rules};
use weir_wire::json::{Limits, parse};

/// Every recorded request that is not counted as billed, with the reason: file and line, from 1.
const MISSED: &str = include_str!("counts.missed");

struct Row {
    id: String,
    model: String,
    exact: bool,
    ours: u64,
    cookbook: u64,
    billed: u64,
}

/// Counts each recorded request in both ways.
fn rows(file: &str) -> Option<Vec<Row>> {
    let folder = common::data("tokens")?;
    let o200k = tiktoken_rs::o200k_base().unwrap();
    let cl100k = tiktoken_rs::cl100k_base().unwrap();
    let mut rows = Vec::new();
    for (line, text) in (1..).zip(common::lines(&folder, file)) {
        let row: Value = serde_json::from_str(&text).unwrap();
        let model = row["model"].as_str().unwrap().to_owned();
        let old = model.starts_with("gpt-3.5") || model == "gpt-4";
        let tokenizer = if old { &cl100k } else { &o200k };
        let body = row["request"].to_string();
        let doc = parse(body.as_bytes(), &Limits::default()).unwrap();
        let mut count = |text: &str| tokenizer.encode_ordinary(text).len() as u64;
        let rules = Rules::of_model(&model);
        let counted = openai_chat::prompt_tokens_by(&doc, rules, &mut count);
        let billed = row["usage"]["prompt_tokens"].as_u64().unwrap();
        let overhead = openai_chat::overhead(&doc);
        if overhead.opaque == 0 {
            let bound = openai_chat::byte_bound(&doc) + overhead.image_bound(rules);
            let bound = bound + rules.opening + if overhead.tools > 0 { rules.tools.hidden } else { 0 };
            assert!(bound >= billed, "{model}: bound {bound}, billed {billed}");
            assert!(bound >= counted.tokens, "{model}: bound {bound}, counted {}", counted.tokens);
        }
        rows.push(Row {
            id: format!("{file}:{line}"),
            exact: counted.exact,
            ours: counted.tokens,
            cookbook: cookbook(&row["request"], old, tokenizer),
            model,
            billed,
        });
    }
    Some(rows)
}

/// "How to count tokens with tiktoken", OpenAI's cookbook.
fn cookbook(request: &Value, old: bool, tokenizer: &CoreBPE) -> u64 {
    let count = |text: &str| tokenizer.encode_ordinary(text).len() as i64;
    let trimmed = |value: &Value| value.as_str().unwrap_or_default().trim_end_matches('.').to_owned();
    let mut tokens = 3;
    for message in request["messages"].as_array().unwrap() {
        tokens += 3;
        for (key, value) in message.as_object().unwrap() {
            tokens += value.as_str().map_or(0, count) + i64::from(key == "name");
        }
    }
    let tools = request["tools"].as_array().or(request["functions"].as_array());
    for tool in tools.into_iter().flatten() {
        let function = tool.get("function").unwrap_or(tool);
        tokens += if old { 10 } else { 7 };
        let name = function["name"].as_str().unwrap_or_default();
        tokens += count(&format!("{name}:{}", trimmed(&function["description"])));
        let properties = function["parameters"]["properties"].as_object();
        for (at, (key, property)) in properties.into_iter().flatten().enumerate() {
            tokens += if at == 0 { 6 } else { 3 };
            for (at, value) in property["enum"].as_array().into_iter().flatten().enumerate() {
                tokens += if at == 0 { 0 } else { 3 } + count(value.as_str().unwrap_or_default());
            }
            let kind = property["type"].as_str().unwrap_or_default();
            tokens += count(&format!("{key}:{kind}:{}", trimmed(&property["description"])));
        }
    }
    (tokens + if tools.is_some() { 12 } else { 0 }) as u64
}

fn percent(counted: u64, billed: u64) -> f64 {
    100.0 * counted.abs_diff(billed) as f64 / billed as f64
}

fn mean(rows: &[&Row], of: impl Fn(&Row) -> f64) -> f64 {
    rows.iter().map(|row| of(row)).sum::<f64>() / rows.len() as f64
}

/// Prints a line a model; the mean absolute errors over all, ours and the cookbook's, in per cent.
fn table(title: &str, rows: &[Row]) -> (f64, f64) {
    let mut models: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        models.entry(&row.model).or_default().push(row);
    }
    println!(
        "\n{title}\n{:14} {:>8} {:>7} {:>10} {:>13}",
        "model", "requests", "exact", "error, %", "cookbook's, %"
    );
    let line = |name: &str, rows: &[&Row]| {
        let exact = rows.iter().filter(|row| row.ours == row.billed).count();
        let errors =
            (mean(rows, |r| percent(r.ours, r.billed)), mean(rows, |r| percent(r.cookbook, r.billed)));
        println!("{name:14} {:8} {exact:7} {:10.2} {:13.2}", rows.len(), errors.0, errors.1);
        errors
    };
    for (model, rows) in &models {
        line(model, rows);
    }
    line("all", &rows.iter().collect::<Vec<_>>())
}

/// Every miss is listed with a reason, and nothing else is.
fn misses_are_those_listed(file: &str, rows: &[Row]) {
    let listed = MISSED.lines().filter(|line| line.starts_with(file));
    let listed: Vec<_> = listed.map(|line| line.split_once(' ').unwrap().0).collect();
    let missed: Vec<_> =
        rows.iter().filter(|row| row.ours != row.billed).map(|row| row.id.as_str()).collect();
    assert_eq!(missed, listed, "counts.missed lists other requests than those that are missed");
}

#[test]
fn plain_text_is_counted_as_billed() {
    let file = "openai_plain_chats.jsonl";
    let Some(rows) = rows(file) else { return };
    assert!(rows.iter().all(|row| row.exact));
    misses_are_those_listed(file, &rows);
    table("plain chats", &rows);
}

#[test]
fn tools_are_counted_twice_as_well_as_by_the_cookbook() {
    let file = "openai_tool_chats.jsonl";
    let Some(rows) = rows(file) else { return };
    assert!(rows.iter().all(|row| !row.exact), "no estimate is called exact");
    misses_are_those_listed(file, &rows);
    let (ours, cookbook) = table("chats with tools", &rows);
    assert!(2.0 * ours <= cookbook, "{ours} is more than half of {cookbook}");
}

#[test]
fn what_bedrock_billed_is_within_the_byte_bound() {
    let Some(folder) = common::data("tokens") else { return };
    let mut models: BTreeMap<String, Vec<(u64, u64)>> = BTreeMap::new();
    for line in common::lines(&folder, "bedrock_converse_usage.jsonl") {
        let row: Value = serde_json::from_str(&line).unwrap();
        let doc = parse(line.as_bytes(), &Limits::default()).unwrap();
        let (_, path) = row["uri"].as_str().unwrap().split_once("/model/").unwrap();
        let model = common::percent_decode(path.rsplit_once('/').unwrap().0);
        let request = doc.root().get("request").unwrap().raw();
        let Ok(translated) = common::round_trip(request, &model, false) else { continue };
        let chat = parse(&translated.chat, &Limits::default()).unwrap();
        let overhead = openai_chat::overhead(&chat);
        if overhead.opaque + overhead.images + overhead.low_images > 0 {
            // What cannot be seen has the context window as its bound.
            continue;
        }
        let usage = |key: &str| row["usage"][key].as_u64().unwrap_or(0);
        let billed = usage("inputTokens") + usage("cacheReadInputTokens") + usage("cacheWriteInputTokens");
        let rules = Rules::of_model(&model);
        let hidden = if overhead.tools > 0 { rules.tools.hidden } else { 0 };
        let bound = openai_chat::byte_bound(&chat) + rules.opening + hidden;
        models.entry(model).or_default().push((bound, billed.max(1)));
    }
    println!("\nBedrock\n{:46} {:>8} {:>15} {:>5}", "model", "requests", "bound ÷ billed", "over");
    for (model, rows) in &models {
        let ratio = rows.iter().map(|(bound, billed)| *bound as f64 / *billed as f64).sum::<f64>();
        let over = rows.iter().filter(|(bound, billed)| billed > bound).count();
        println!("{model:46} {:8} {:15.1} {over:5}", rows.len(), ratio / rows.len() as f64);
    }
    assert!(
        models.values().flatten().all(|(bound, billed)| billed <= bound),
        "more was billed than the bound"
    );
}
