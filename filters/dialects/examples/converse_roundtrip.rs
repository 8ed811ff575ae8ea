//! Prints each recorded Converse request beside what it becomes on its way through OpenAI's form, one JSON object per
//! line: `{"id","model","stream","status","original","chat","translated","path","losses"}`, or `refused` in the place of
//! the last four. An outside validator (botocore's) judges both.
//!
//! `cargo run -p weir-dialects --example converse_roundtrip`

#![allow(clippy::indexing_slicing, reason = "assigning to a key of a JSON object that was just made")]

#[path = "../tests/common/mod.rs"]
mod common;

use serde_json::{Value, json};

fn main() {
    let Some(folder) = common::data("wire") else { return };
    for recorded in common::converse(&folder) {
        let original: Value = serde_json::from_slice(&recorded.request).unwrap_or_default();
        let mut line = json!({
            "id": recorded.id,
            "model": recorded.model_id,
            "stream": recorded.stream,
            "status": recorded.status,
            "original": original,
        });
        match common::round_trip(&recorded.request, &recorded.model_id, recorded.stream) {
            Ok(translated) => {
                let losses: Vec<_> = translated.losses.iter().map(ToString::to_string).collect();
                line["chat"] = serde_json::from_slice(&translated.chat).unwrap_or_default();
                line["translated"] = serde_json::from_slice(&translated.body).unwrap_or_default();
                line["path"] = translated.path.into();
                line["losses"] = losses.into();
            }
            Err(invalid) => line["refused"] = format!("{}: {}", invalid.param, invalid.message).into(),
        }
        println!("{line}");
    }
}
