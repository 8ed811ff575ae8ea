//! Reads requests of the three APIs: what they refuse beyond their schema, and what a prompt counts.

use serde_json::{Value, json};

use super::{Config, EMBEDDING, ENCODING, sealed};
use crate::sim::reply::{Ask, Tool, ToolChoice};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Chat,
    Responses,
    Embeddings,
}

/// An error in the API's own shape.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub status: u16,
    pub kind: String,
    pub code: Option<String>,
    pub message: String,
    pub param: Option<String>,
    pub retry_after: Option<String>,
}

impl Refusal {
    pub fn new(status: u16, code: Option<&str>, message: &str, param: Option<&str>) -> Self {
        let kind = match status {
            429 => "rate_limit_error",
            500.. => "server_error",
            _ => "invalid_request_error",
        };
        let (code, param) = (code.map(str::to_owned), param.map(str::to_owned));
        Self { status, kind: kind.into(), code, message: message.to_owned(), param, retry_after: None }
    }

    pub fn too_long(tokens: u32, context: u32) -> Self {
        let message = format!(
            "This model's maximum context length is {context} tokens. However, your messages resulted in {tokens} tokens."
        );
        Self::new(400, Some("context_length_exceeded"), &message, Some("messages"))
    }

    /// The error that a fault orders.
    pub fn ordered(status: u16, kind: Option<&str>, message: Option<&str>) -> Self {
        let (code, text) = match status {
            401 => (Some("invalid_api_key"), "Incorrect API key provided."),
            404 => (Some("model_not_found"), "The model does not exist or you do not have access to it."),
            429 => (Some("rate_limit_exceeded"), "Rate limit reached for tokens per min (TPM)."),
            400..=499 => (None, "The request is not valid."),
            503 => (None, "The engine is currently overloaded, please try again later."),
            _ => (None, "The server had an error while processing your request."),
        };
        let mut refusal = Self::new(status, code, message.unwrap_or(text), None);
        if let Some(kind) = kind {
            refusal.kind = kind.to_owned();
        }
        refusal
    }

    pub fn body(&self) -> Value {
        json!({"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}})
    }
}

fn wrong<T>(message: impl AsRef<str>, param: &str) -> Result<T, Refusal> {
    Err(Refusal::new(400, Some("invalid_value"), message.as_ref(), Some(param)))
}

/// A request understood.
#[derive(Default)]
pub struct Asked {
    pub ask: Ask,
    pub model: String,
    pub stream: bool,
    pub include_usage: bool,
    /// Number of answers.
    pub n: u64,
    /// The model reasons before it answers; its summary and its sealed form are asked for.
    pub thinks: bool,
    pub summary: bool,
    pub seals: bool,
    /// Of the prompt.
    pub tokens: u32,
    /// What is embedded, and how.
    pub embed: Vec<String>,
    pub base64: bool,
    pub dimensions: u64,
}

struct Count<'a> {
    config: &'a Config,
    tokens: u32,
    texts: Vec<String>,
}

impl Count<'_> {
    fn said(&mut self, text: &str) {
        self.tokens += ENCODING.count(text);
        self.texts.push(text.to_owned());
    }
}

/// `kept` is what is known of the response that the request goes on from, where it names one.
#[allow(clippy::option_option, reason = "not named, named and unknown, named and known")]
pub fn read(
    config: &Config,
    kind: Kind,
    body: &Value,
    kept: Option<Option<(u32, Vec<String>)>>,
) -> Result<Asked, Refusal> {
    let model = body["model"].as_str().unwrap_or_default().to_owned();
    if !config.models.iter().any(|m| *m == model || m == "*") {
        let message = format!("The model `{model}` does not exist or you do not have access to it.");
        return Err(Refusal::new(404, Some("model_not_found"), &message, None));
    }
    let mut asked = Asked { model, stream: body["stream"] == true, n: 1, ..Asked::default() };
    if kind == Kind::Embeddings {
        embeddings(config, body, &mut asked)?;
        return Ok(asked);
    }
    for (name, most) in [("temperature", 2.0), ("top_p", 1.0)] {
        if body[name].as_f64().is_some_and(|value| !(0.0..=most).contains(&value)) {
            return wrong(format!("Invalid '{name}': outside of 0 to {most}."), name);
        }
    }
    let mut count = Count { config, tokens: 3, texts: Vec::new() };
    if kind == Kind::Chat {
        chat(body, &mut asked, &mut count)?;
    } else {
        responses(body, &mut asked, &mut count, kept)?;
    }
    if !asked.ask.tools.is_empty() {
        count.tokens += ENCODING.count(&body["tools"].to_string());
    }
    if count.tokens > config.context {
        return Err(Refusal::too_long(count.tokens, config.context));
    }
    asked.tokens = count.tokens;
    asked.ask.prompt = count.texts.join("\n");
    asked.ask.seed = config.seed;
    asked.ask.single_call = body["parallel_tool_calls"] == false;
    Ok(asked)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn ceiling(value: &Value, least: u64, name: &str) -> Result<Option<u32>, Refusal> {
    match value.as_u64() {
        None => Ok(None),
        Some(max) if max < least => wrong(
            format!(
                "Invalid '{name}': integer below minimum value. Expected a value >= {least}, but got {max} instead."
            ),
            name,
        ),
        Some(max) => Ok(Some(u32::try_from(max).unwrap_or(u32::MAX))),
    }
}

fn tool(value: &Value, path: &str) -> Result<Tool, Refusal> {
    let name = value["name"].as_str().unwrap_or_default();
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if name.is_empty() || name.len() > 64 || !name.bytes().all(fits) {
        return wrong("Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'.", path);
    }
    Ok(Tool { name: name.to_owned(), schema: value["parameters"].clone() })
}

fn choice(value: &Value, name: &Value, tools: &[Tool]) -> Result<ToolChoice, Refusal> {
    if !value.is_null() && tools.is_empty() {
        return wrong("'tool_choice' is only allowed when 'tools' are specified.", "tool_choice");
    }
    Ok(match (value.as_str(), name.as_str()) {
        (Some("none"), _) => ToolChoice::None,
        (Some("required"), _) => ToolChoice::Any,
        (None, Some(name)) if tools.iter().any(|tool| tool.name == name) => {
            ToolChoice::Named(name.to_owned())
        }
        (None, Some(_)) => return wrong("Tool choice not found in 'tools' parameter.", "tool_choice"),
        _ => ToolChoice::Auto,
    })
}

/// A data URI or an address.
fn picture(url: Option<&str>, path: &str) -> Result<(), Refusal> {
    let known = [
        "data:image/png;base64,",
        "data:image/jpeg;base64,",
        "data:image/gif;base64,",
        "data:image/webp;base64,",
    ];
    match url {
        Some(url) if url.starts_with("https://") || known.iter().any(|it| url.starts_with(it)) => Ok(()),
        _ => wrong("Invalid image: expected a URL or a base64 data URI of an image.", path),
    }
}

fn chat(body: &Value, asked: &mut Asked, count: &mut Count<'_>) -> Result<(), Refusal> {
    asked.include_usage = body["stream_options"]["include_usage"] == true;
    if !body["stream_options"].is_null() && !asked.stream {
        return wrong(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            "stream_options",
        );
    }
    asked.n = body["n"].as_u64().unwrap_or(1).clamp(1, 16);
    asked.thinks = body["reasoning_effort"].as_str().is_some_and(|effort| effort != "none");
    let mut waiting: Vec<String> = Vec::new();
    let messages = list(&body["messages"]);
    if messages.is_empty() {
        return wrong("Invalid 'messages': empty array.", "messages");
    }
    for (at, message) in messages.iter().enumerate() {
        let path = format!("messages.[{at}]");
        let role = message["role"].as_str().unwrap_or_default();
        count.tokens += 3 + ENCODING.count(role);
        if role == "tool" {
            let id = message["tool_call_id"].as_str().unwrap_or_default();
            let Some(place) = waiting.iter().position(|it| it == id) else {
                let message =
                    "messages with role 'tool' must be a response to a preceding message with 'tool_calls'.";
                return wrong(message, &path);
            };
            waiting.remove(place);
        } else if !waiting.is_empty() {
            let message = "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'.";
            return wrong(message, &path);
        }
        let from = count.texts.len();
        if let Some(text) = message["content"].as_str() {
            count.said(text);
        }
        for part in list(&message["content"]) {
            match part["type"].as_str() {
                Some("image_url") => {
                    picture(part["image_url"]["url"].as_str(), &path)?;
                    count.tokens += count.config.image_tokens;
                }
                Some("file") => count.tokens += count.config.image_tokens,
                _ => count.said(part["text"].as_str().or(part["refusal"].as_str()).unwrap_or_default()),
            }
        }
        if let Some(name) = message["name"].as_str() {
            count.tokens += 1 + ENCODING.count(name);
        }
        asked.ask.last_user = (role == "user").then(|| count.texts[from..].concat());
        for call in list(&message["tool_calls"]) {
            waiting.push(call["id"].as_str().unwrap_or_default().to_owned());
            count.said(call["function"]["name"].as_str().unwrap_or_default());
            count.said(call["function"]["arguments"].as_str().unwrap_or_default());
        }
        if role == "assistant"
            && message["content"].is_null()
            && list(&message["tool_calls"]).is_empty()
            && message["refusal"].is_null()
        {
            return wrong("Invalid value for 'content': expected a string, got null.", &path);
        }
    }
    if !waiting.is_empty() {
        return wrong("'tool_calls' without responses at the end of the conversation.", "messages");
    }
    for (at, value) in list(&body["tools"]).iter().enumerate() {
        asked.ask.tools.push(tool(&value["function"], &format!("tools[{at}].function.name"))?);
    }
    asked.ask.choice =
        choice(&body["tool_choice"], &body["tool_choice"]["function"]["name"], &asked.ask.tools)?;
    let old = ceiling(&body["max_tokens"], 1, "max_tokens")?;
    asked.ask.max_tokens = ceiling(&body["max_completion_tokens"], 1, "max_completion_tokens")?.or(old);
    asked.ask.stop = match &body["stop"] {
        Value::String(one) => vec![one.clone()],
        all => list(all).iter().filter_map(Value::as_str).map(str::to_owned).collect(),
    };
    Ok(())
}

fn responses(
    body: &Value,
    asked: &mut Asked,
    count: &mut Count<'_>,
    kept: Option<Option<(u32, Vec<String>)>>,
) -> Result<(), Refusal> {
    let mut waiting = Vec::new();
    if let Some(kept) = kept {
        let Some((tokens, calls)) = kept else {
            let message = format!("Previous response with id '{}' not found.", body["previous_response_id"]);
            let code = Some("previous_response_not_found");
            return Err(Refusal::new(400, code, &message, Some("previous_response_id")));
        };
        count.tokens += tokens;
        waiting = calls;
    }
    let effort = body["reasoning"]["effort"].as_str();
    asked.thinks = effort.is_some_and(|effort| effort != "none");
    asked.summary = !body["reasoning"]["summary"].is_null();
    asked.seals = list(&body["include"]).iter().any(|it| it == "reasoning.encrypted_content");
    if let Some(text) = body["instructions"].as_str() {
        count.tokens += 4;
        count.said(text);
    }
    if let Some(text) = body["input"].as_str() {
        count.tokens += 4;
        count.said(text);
        asked.ask.last_user = Some(text.to_owned());
    }
    let items = list(&body["input"]);
    for (at, item) in items.iter().enumerate() {
        let path = format!("input[{at}]");
        let kind = item["type"].as_str().unwrap_or("message");
        count.tokens += 4;
        let from = count.texts.len();
        match kind {
            "message" => content(&item["content"], &path, count)?,
            "function_call" => {
                waiting.push(item["call_id"].as_str().unwrap_or_default().to_owned());
                count.said(item["name"].as_str().unwrap_or_default());
                count.said(item["arguments"].as_str().unwrap_or_default());
            }
            "function_call_output" => {
                let id = item["call_id"].as_str().unwrap_or_default();
                let Some(place) = waiting.iter().position(|it| it == id) else {
                    return wrong(
                        format!("No tool call found for function call output with call_id {id}."),
                        "input",
                    );
                };
                waiting.remove(place);
                content(&item["output"], &path, count)?;
            }
            "reasoning" => {
                let thought: String =
                    list(&item["summary"]).iter().filter_map(|part| part["text"].as_str()).collect();
                let follows = items.get(at + 1).is_some_and(|next| next["role"] != "user");
                if !follows {
                    let message = format!(
                        "Item {} of type 'reasoning' was provided without its required following item.",
                        item["id"]
                    );
                    return wrong(message, "input");
                }
                let seal = item["encrypted_content"].as_str();
                if seal.is_some_and(|seal| seal != sealed(count.config, &count.config.thought))
                    || (!thought.is_empty() && thought != count.config.thought)
                {
                    let code = Some("invalid_encrypted_content");
                    return Err(Refusal::new(
                        400,
                        code,
                        "The encrypted content could not be verified.",
                        Some(&path),
                    ));
                }
            }
            other => return wrong(format!("Invalid value: '{other}'."), &path),
        }
        asked.ask.last_user = (item["role"] == "user").then(|| count.texts[from..].concat());
    }
    if !waiting.is_empty() {
        return wrong(format!("No tool output found for function call {}.", waiting[0]), "input");
    }
    for (at, value) in list(&body["tools"]).iter().enumerate() {
        if value["type"] == "function" {
            asked.ask.tools.push(tool(value, &format!("tools[{at}].name"))?);
        }
    }
    asked.ask.choice = choice(&body["tool_choice"], &body["tool_choice"]["name"], &asked.ask.tools)?;
    asked.ask.max_tokens = ceiling(&body["max_output_tokens"], 16, "max_output_tokens")?;
    Ok(())
}

fn content(value: &Value, path: &str, count: &mut Count<'_>) -> Result<(), Refusal> {
    if let Some(text) = value.as_str() {
        count.said(text);
    }
    for part in list(value) {
        match part["type"].as_str() {
            Some("input_image") => {
                picture(part["image_url"].as_str(), path)?;
                count.tokens += count.config.image_tokens;
            }
            Some("input_file") => count.tokens += count.config.image_tokens,
            _ => count.said(part["text"].as_str().or(part["refusal"].as_str()).unwrap_or_default()),
        }
    }
    Ok(())
}

fn embeddings(config: &Config, body: &Value, asked: &mut Asked) -> Result<(), Refusal> {
    let input = &body["input"];
    let ids = |list: &Value| -> Option<Vec<u32>> {
        list.as_array()?.iter().map(|id| u32::try_from(id.as_u64()?).ok()).collect()
    };
    let bad = || Refusal::new(400, None, "'$.input' is invalid. Please check the API reference.", None);
    let all: Vec<Vec<u32>> = match input {
        Value::String(text) => vec![EMBEDDING.encode(text)],
        Value::Array(list) if list.iter().all(Value::is_string) => {
            list.iter().filter_map(Value::as_str).map(|text| EMBEDDING.encode(text)).collect()
        }
        Value::Array(list) if list.iter().all(Value::is_number) => vec![ids(input).ok_or_else(bad)?],
        Value::Array(list) => list.iter().map(ids).collect::<Option<_>>().ok_or_else(bad)?,
        _ => return Err(bad()),
    };
    if all.is_empty() || all.len() > 2048 || all.iter().any(Vec::is_empty) {
        return Err(bad());
    }
    if let Some(long) = all.iter().find(|ids| ids.len() > 8192) {
        return Err(Refusal::too_long(long.len() as u32, 8192));
    }
    asked.tokens = all.iter().map(|ids| ids.len() as u32).sum();
    for ids in all {
        let bytes: Vec<u8> = ids.iter().flat_map(|id| EMBEDDING.bytes(*id)).collect();
        asked.embed.push(String::from_utf8_lossy(&bytes).into_owned());
    }
    asked.ask.prompt = asked.embed.join("\n");
    asked.base64 = body["encoding_format"] == "base64";
    asked.dimensions = body["dimensions"].as_u64().unwrap_or(config.dimensions);
    Ok(())
}
