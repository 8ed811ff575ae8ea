//! Recorded provider traffic, and the round trip of a Converse request through OpenAI's form. Shared by tests and by
//! the example that hands both requests to an outside validator.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests stop at what they do not expect"
)]
#![allow(dead_code, reason = "each user takes a part of it")]

pub mod differences;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use weir_dialects::hub::{Invalid, Loss};
use weir_dialects::{bedrock, openai_chat};
use weir_wire::json::{Limits, parse};

/// The folder of recordings; none, with one printed line, where it is absent.
pub fn data(folder: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(folder);
    if !root.is_dir() {
        println!("skipped: the recordings in ../shared/data/{folder} are not here");
        return None;
    }
    Some(root)
}

/// The lines of a recording file.
pub fn lines(folder: &Path, file: &str) -> Vec<String> {
    fs::read_to_string(folder.join(file)).unwrap().lines().map(str::to_owned).collect()
}

/// A recorded Converse request.
pub struct Recorded {
    /// File and line, from 1.
    pub id: String,
    pub model_id: String,
    pub stream: bool,
    pub status: u64,
    /// The line, whole.
    pub row: Value,
    /// The request's own bytes, as they stand in the line.
    pub request: Vec<u8>,
}

/// Every recorded Converse request that is JSON.
pub fn converse(folder: &Path) -> Vec<Recorded> {
    let mut all = Vec::new();
    for file in ["bedrock_converse.jsonl", "bedrock_converse_stream.jsonl"] {
        for (number, line) in lines(folder, file).iter().enumerate() {
            let row: Value = serde_json::from_str(line).unwrap();
            let doc = parse(line.as_bytes(), &Limits::default()).unwrap();
            // One line holds a body that is no JSON.
            let Some(request) = doc.root().get("request") else { continue };
            let uri = row["uri"].as_str().unwrap();
            let (_, path) = uri.split_once("/model/").unwrap();
            let (model, operation) = path.rsplit_once('/').unwrap();
            all.push(Recorded {
                id: format!("{file}:{}", number + 1),
                model_id: percent_decode(model),
                stream: operation == "converse-stream",
                status: row["status"].as_u64().unwrap(),
                request: request.raw().to_vec(),
                row,
            });
        }
    }
    all
}

pub fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let hex = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// A request after its way through OpenAI's form.
pub struct Translated {
    pub path: String,
    pub body: Vec<u8>,
    /// The request as an OpenAI client would have sent it.
    pub chat: Vec<u8>,
    pub losses: Vec<Loss>,
}

/// Converse → hub → OpenAI → hub → Converse.
pub fn round_trip(request: &[u8], model_id: &str, stream: bool) -> Result<Translated, Invalid> {
    let doc = parse(request, &Limits::default()).unwrap();
    let (chat, mut losses) = bedrock::decode(&doc, model_id, stream)?;
    let (body, lost) = openai_chat::encode(&chat, true);
    losses.extend(lost);
    let doc = parse(&body, &Limits::default()).unwrap();
    let (chat, lost) = openai_chat::decode(&doc)?;
    losses.extend(lost);
    let encoded = bedrock::encode(&chat, model_id)?;
    losses.extend(encoded.losses);
    Ok(Translated { path: encoded.path, body: encoded.body, chat: body, losses })
}
