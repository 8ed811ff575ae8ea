//! Requests of a chat client, and what it understands of the answers.

use serde_json::{Value, json};
use weir_tests::harness::Answer;

/// A small chat request.
pub fn chat(model: &str, text: &str, stream: bool) -> Value {
    let mut body = json!({"model": model, "messages": [{"role": "user", "content": text}]});
    if stream {
        body["stream"] = json!(true);
        body["stream_options"] = json!({"include_usage": true});
    }
    body
}

/// What a good answer says, streamed or not, and how many tokens the provider says it cost.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Said {
    pub text: String,
    pub finish: Option<String>,
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    /// Streamed answers: `[DONE]` came.
    pub done: bool,
}

/// Reads an answer as a client does; whatever a client could not read is an error.
pub fn said(answer: &Answer, stream: bool) -> Result<Said, String> {
    if answer.status != 200 {
        return Err(format!("{}: {}", answer.status, answer.text()));
    }
    let mut said = Said::default();
    let mut take = |chunk: &Value| {
        for choice in chunk["choices"].as_array().into_iter().flatten() {
            let part = if stream { &choice["delta"] } else { &choice["message"] };
            said.text += part["content"].as_str().unwrap_or_default();
            if let Some(finish) = choice["finish_reason"].as_str() {
                said.finish = Some(finish.to_owned());
            }
        }
        if chunk["usage"].is_object() {
            said.prompt_tokens = chunk["usage"]["prompt_tokens"].as_u64().unwrap_or(0);
            said.completion_tokens = chunk["usage"]["completion_tokens"].as_u64().unwrap_or(0);
        }
    };
    if !stream {
        let value: Value =
            serde_json::from_slice(&answer.body).map_err(|e| format!("{e}: {}", answer.text()))?;
        take(&value);
        said.done = true;
        return Ok(said);
    }
    let mut done = false;
    for line in answer.text().lines() {
        let Some(data) = line.strip_prefix("data: ") else { continue };
        if data == "[DONE]" {
            done = true;
            continue;
        }
        let chunk: Value = serde_json::from_str(data).map_err(|e| format!("{e}: {data}"))?;
        if chunk.get("error").is_some() {
            return Err(format!("an error in the stream: {data}"));
        }
        take(&chunk);
    }
    said.done = done;
    Ok(said)
}
