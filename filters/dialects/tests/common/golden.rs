//! Golden files: an input beside what became of it. `UPDATE=1` writes the outputs again and deletes those whose input is
//! gone; a reviewer reads the difference.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use weir_dialects::hub::{Event, Loss};
use weir_dialects::{anthropic, bedrock, openai_chat};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("goldens")
}

pub fn check(suite: &str, extension: &str, translate: fn(&str) -> String) {
    let update = std::env::var_os("UPDATE").is_some();
    let folder = root().join(suite);
    let mut inputs = BTreeSet::new();
    let mut outputs = BTreeSet::new();
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("out") => outputs.insert(stem),
            Some(found) if found == extension => inputs.insert(stem),
            _ => panic!("{} is neither input nor output", path.display()),
        };
    }
    assert!(!inputs.is_empty());
    for orphan in outputs.difference(&inputs) {
        let path = folder.join(format!("{orphan}.out"));
        assert!(update, "{} has no input", path.display());
        fs::remove_file(path).unwrap();
    }
    let mut wrong = Vec::new();
    for name in &inputs {
        let input = fs::read_to_string(folder.join(format!("{name}.{extension}"))).unwrap();
        let path = folder.join(format!("{name}.out"));
        let now = translate(&input);
        if update {
            fs::write(&path, now).unwrap();
        } else if fs::read_to_string(&path).unwrap_or_default() != now {
            wrong.push(format!("{}:\n{now}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "not as blessed (UPDATE=1 blesses):\n{}", wrong.join("\n"));
}

pub fn pretty(json: &[u8]) -> String {
    let value: serde_json::Value = serde_json::from_slice(json).unwrap();
    serde_json::to_string_pretty(&value).unwrap()
}

pub fn losses(out: &mut String, losses: &[Loss]) {
    for loss in losses {
        writeln!(out, "loss {loss}").unwrap();
    }
}

/// What a chat stream of a provider tells.
pub fn chat_events(stream: &str) -> Vec<Event> {
    let (mut decoder, mut events) = (openai_chat::StreamDecoder::default(), Vec::new());
    decoder.push(stream.as_bytes(), &mut events);
    decoder.finish(&mut events);
    events
}

/// What a stream of messages tells.
pub fn message_events(stream: &str, renames: bedrock::Renames) -> Vec<Event> {
    let (mut decoder, mut events) = (anthropic::StreamDecoder::new(renames), Vec::new());
    decoder.push(stream.as_bytes(), &mut events);
    decoder.finish(&mut events);
    events
}
