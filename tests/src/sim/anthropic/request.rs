//! Reads Messages requests: what the API refuses beyond its schema, and what a prompt counts.

use serde_json::{Value, json};

use super::{Config, ENCODING, signature};
use crate::sim::reply::{Ask, Tool, ToolChoice};
use crate::sim::rng::hash;

/// An error in the API's own shape.
pub struct Refusal {
    pub status: u16,
    pub kind: String,
    pub message: String,
    pub retry_after: Option<String>,
}

impl Refusal {
    pub fn new(status: u16, kind: &str, message: &str) -> Self {
        Self { status, kind: kind.to_owned(), message: message.to_owned(), retry_after: None }
    }

    pub fn invalid(status: u16, message: &str) -> Self {
        Self::new(status, "invalid_request_error", message)
    }

    pub fn too_long(tokens: u32, context: u32) -> Self {
        Self::invalid(400, &format!("prompt is too long: {tokens} tokens > {context} maximum"))
    }

    /// The error that a fault orders, by status.
    pub fn ordered(status: u16, kind: Option<&str>, message: Option<&str>) -> Self {
        let (usual, text) = match status {
            401 => ("authentication_error", "invalid x-api-key"),
            403 => {
                ("permission_error", "Your API key does not have permission to use the specified resource.")
            }
            404 => ("not_found_error", "The requested resource could not be found."),
            413 => ("request_too_large", "Request exceeds the maximum size"),
            429 => ("rate_limit_error", "Number of request tokens has exceeded your per-minute rate limit"),
            400..=499 => ("invalid_request_error", "The request is not valid."),
            504 => ("timeout_error", "The request timed out."),
            529 => ("overloaded_error", "Overloaded"),
            _ => ("api_error", "Internal server error"),
        };
        Self::new(status, kind.unwrap_or(usual), message.unwrap_or(text))
    }

    /// The error of a type, as it would have been before the stream.
    pub fn of_type(kind: Option<&str>, message: Option<&str>) -> Self {
        let status = match kind.unwrap_or("api_error") {
            "invalid_request_error" => 400,
            "rate_limit_error" => 429,
            "overloaded_error" => 529,
            _ => 500,
        };
        Self::ordered(status, kind, message)
    }

    pub fn body(&self, id: &str) -> String {
        let error = json!({"type": self.kind, "message": self.message});
        json!({"type": "error", "error": error, "request_id": format!("req_01{id}")}).to_string()
    }
}

/// A request understood.
pub struct Asked {
    pub ask: Ask,
    pub model: String,
    pub stream: bool,
    /// The model thinks before it answers.
    pub thinks: bool,
    /// Of the prompt, cached ones included.
    pub tokens: u32,
    /// Key and tokens of what lies before the last cache breakpoint.
    pub cache_point: Option<(u64, u32)>,
}

/// Counts as it reads, in the order in which a model sees it: tools, system, messages.
struct Count<'a> {
    config: &'a Config,
    tokens: u32,
    key: u64,
    cache_point: Option<(u64, u32)>,
    points: usize,
    texts: Vec<String>,
}

impl Count<'_> {
    fn text(&mut self, text: &str) {
        self.tokens += ENCODING.count(text);
        self.key = hash(self.key, text.as_bytes());
    }

    fn said(&mut self, text: &str) {
        self.text(text);
        self.texts.push(text.to_owned());
    }

    fn cache_point(&mut self, holder: &Value) {
        if holder["cache_control"].is_object() {
            self.cache_point = Some((self.key, self.tokens));
            self.points += 1;
        }
    }
}

fn fits(text: &str, most: usize) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    !text.is_empty() && text.len() <= most && text.bytes().all(allowed)
}

fn wrong<T>(message: impl AsRef<str>) -> Result<T, Refusal> {
    Err(Refusal::invalid(400, message.as_ref()))
}

pub fn read(config: &Config, body: &[u8], count_only: bool) -> Result<Asked, Refusal> {
    let body: Value = serde_json::from_slice(body).map_err(|e| Refusal::invalid(400, &e.to_string()))?;
    let model = body["model"].as_str().unwrap_or_default().to_owned();
    if !config.models.iter().any(|m| *m == model || m == "*") {
        return Err(Refusal::new(404, "not_found_error", &format!("model: {model}")));
    }
    let max_tokens = body["max_tokens"].as_u64().unwrap_or(0);
    if !count_only && max_tokens == 0 {
        return wrong("max_tokens: must be greater than or equal to 1");
    }
    if body["temperature"].as_f64().is_some_and(|t| !(0.0..=1.0).contains(&t)) {
        return wrong("temperature: range: 0..1");
    }
    let thinking = &body["thinking"];
    let thinks = thinking["type"] == "enabled" || thinking["type"] == "adaptive";
    if let Some(budget) = thinking["budget_tokens"].as_u64() {
        if budget < 1024 {
            return wrong("thinking.enabled.budget_tokens: Input should be greater than or equal to 1024");
        }
        if !count_only && budget >= max_tokens {
            return wrong("`max_tokens` must be greater than `thinking.budget_tokens`.");
        }
    }
    if thinks && (body["tool_choice"]["type"] == "any" || body["tool_choice"]["type"] == "tool") {
        return wrong("Thinking may not be enabled when tool_choice forces tool use.");
    }
    for (at, stop) in list(&body["stop_sequences"]).iter().enumerate() {
        if stop.as_str().is_none_or(|stop| stop.trim().is_empty()) {
            return wrong(format!("stop_sequences.{at}: each stop sequence must contain non-whitespace"));
        }
    }
    let messages = list(&body["messages"]);
    turns(config, messages, thinks)?;
    let tokens = config.prompt_tokens;
    let mut count = Count { config, tokens, key: 0, cache_point: None, points: 0, texts: Vec::new() };
    let tools = tools(&body, &mut count)?;
    match &body["system"] {
        Value::String(text) => {
            count.tokens += config.message_tokens;
            count.said(text);
        }
        blocks => {
            for (at, block) in list(blocks).iter().enumerate() {
                count.tokens += config.message_tokens;
                content(block, &format!("system.{at}"), &mut count)?;
            }
        }
    }
    let (mut uses_tools, mut last_user) = (false, None);
    for (at, message) in messages.iter().enumerate() {
        count.tokens += config.message_tokens;
        let from = count.texts.len();
        let mut only_results = false;
        match &message["content"] {
            Value::String(text) => {
                not_blank(text, &format!("messages.{at}"))?;
                count.said(text);
            }
            blocks => {
                let blocks = list(blocks);
                only_results = !blocks.is_empty() && blocks.iter().all(|b| b["type"] == "tool_result");
                for (number, block) in blocks.iter().enumerate() {
                    uses_tools |= block["type"] == "tool_use" || block["type"] == "tool_result";
                    content(block, &format!("messages.{at}.content.{number}"), &mut count)?;
                }
            }
        }
        last_user = (message["role"] == "user" && !only_results).then(|| count.texts[from..].concat());
    }
    // As the API adds it by itself to the last block.
    count.cache_point(&body);
    if count.points > 4 {
        return wrong(format!(
            "A maximum of 4 blocks with cache_control may be provided. Found {}.",
            count.points
        ));
    }
    if uses_tools && tools.is_empty() {
        return wrong("Requests which include `tool_use` or `tool_result` blocks must define tools");
    }
    if count.tokens > config.context {
        return Err(Refusal::too_long(count.tokens, config.context));
    }
    let choice = &body["tool_choice"];
    let ask = Ask {
        prompt: count.texts.join("\n"),
        last_user,
        tools,
        choice: match choice["type"].as_str() {
            Some("any") => ToolChoice::Any,
            Some("none") => ToolChoice::None,
            Some("tool") => ToolChoice::Named(choice["name"].as_str().unwrap_or_default().to_owned()),
            _ => ToolChoice::Auto,
        },
        single_call: choice["disable_parallel_tool_use"] == true,
        max_tokens: Some(max_tokens.min(u64::from(u32::MAX)) as u32),
        stop: list(&body["stop_sequences"]).iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        lead_in: Some(config.lead_in.clone()).filter(|t| !t.is_empty()),
        seed: config.seed,
    };
    Ok(Asked {
        ask,
        model,
        stream: body["stream"] == true,
        thinks,
        tokens: count.tokens,
        cache_point: count.cache_point,
    })
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn not_blank(text: &str, path: &str) -> Result<(), Refusal> {
    match text.trim().is_empty() {
        true => wrong(format!("{path}: text content blocks must contain non-whitespace text")),
        false => Ok(()),
    }
}

/// The rules of a conversation.
fn turns(config: &Config, messages: &[Value], thinks: bool) -> Result<(), Refusal> {
    if messages.first().is_none_or(|first| first["role"] != "user") {
        return wrong("messages: first message must use the \"user\" role");
    }
    let mut asked: Vec<&str> = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        let blocks = list(&message["content"]);
        if message["content"].is_array() && blocks.is_empty() {
            return wrong(format!("messages.{at}: all messages must have non-empty content"));
        }
        let of = |kind: &str, id: &str| -> Vec<&str> {
            blocks.iter().filter(|b| b["type"] == kind).filter_map(|b| b[id].as_str()).collect()
        };
        let results = of("tool_result", "tool_use_id");
        let missing: Vec<&str> = asked.iter().filter(|id| !results.contains(id)).copied().collect();
        if !missing.is_empty() {
            return wrong(format!(
                "messages.{at}: `tool_use` ids were found without `tool_result` blocks immediately after: {}",
                missing.join(", ")
            ));
        }
        if let Some(stray) = results.iter().find(|id| !asked.contains(id)) {
            return wrong(format!(
                "messages.{at}: unexpected `tool_use_id` found in `tool_result` blocks: {stray}"
            ));
        }
        let calls = of("tool_use", "id");
        for (block, id) in blocks.iter().filter(|b| b["type"] == "tool_use").zip(&calls) {
            if !fits(id, 256) || !fits(block["name"].as_str().unwrap_or_default(), 128) {
                return wrong(format!(
                    "messages.{at}: tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'"
                ));
            }
        }
        for block in blocks.iter().filter(|b| b["type"] == "thinking") {
            let text = block["thinking"].as_str().unwrap_or_default();
            if block["signature"] != signature(config, text) {
                return wrong(format!("messages.{at}: Invalid `signature` in `thinking` block"));
            }
        }
        let goes_on = messages.get(at + 1).is_some_and(|next| {
            at + 2 == messages.len() && list(&next["content"]).iter().any(|b| b["type"] == "tool_result")
        });
        let begins = blocks.first().and_then(|b| b["type"].as_str()).unwrap_or_default();
        if thinks && goes_on && !calls.is_empty() && !begins.ends_with("thinking") {
            return wrong(format!(
                "messages.{at}.content.0.type: Expected `thinking` or `redacted_thinking`, but found `{begins}`."
            ));
        }
        asked = calls;
    }
    if !asked.is_empty() {
        return wrong("messages: the last `tool_use` has no `tool_result`");
    }
    let last = messages.last().filter(|last| last["role"] == "assistant");
    if last.and_then(|last| last["content"].as_str()).is_some_and(|text| text.trim_end() != text) {
        return wrong("messages: final assistant content cannot end with trailing whitespace");
    }
    Ok(())
}

fn tools(body: &Value, count: &mut Count<'_>) -> Result<Vec<Tool>, Refusal> {
    let mut tools: Vec<Tool> = Vec::new();
    for (at, tool) in list(&body["tools"]).iter().enumerate() {
        if tool["type"].as_str().is_some_and(|kind| kind != "custom") {
            continue;
        }
        let name = tool["name"].as_str().unwrap_or_default();
        if !fits(name, 128) {
            return wrong(format!(
                "tools.{at}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'"
            ));
        }
        if tools.iter().any(|t| t.name == name) {
            return wrong("tools: Tool names must be unique.");
        }
        if tool["input_schema"]["type"] != "object" {
            return wrong(format!("tools.{at}.custom.input_schema.type: Input should be 'object'"));
        }
        count.text(name);
        count.text(tool["description"].as_str().unwrap_or_default());
        count.text(&tool["input_schema"].to_string());
        count.cache_point(tool);
        tools.push(Tool { name: name.to_owned(), schema: tool["input_schema"].clone() });
    }
    if !tools.is_empty() {
        count.tokens += count.config.hidden_tool_tokens;
    }
    Ok(tools)
}

fn content(block: &Value, path: &str, count: &mut Count<'_>) -> Result<(), Refusal> {
    match block["type"].as_str().unwrap_or_default() {
        "text" => {
            let text = block["text"].as_str().unwrap_or_default();
            not_blank(text, path)?;
            count.said(text);
        }
        "tool_use" => {
            count.said(block["name"].as_str().unwrap_or_default());
            count.said(&block["input"].to_string());
        }
        "thinking" => count.said(block["thinking"].as_str().unwrap_or_default()),
        "tool_result" => match &block["content"] {
            Value::String(text) => count.said(text),
            parts => {
                for (at, part) in list(parts).iter().enumerate() {
                    content(part, &format!("{path}.content.{at}"), count)?;
                }
            }
        },
        "document" if block["source"]["type"] == "text" => {
            count.said(block["source"]["data"].as_str().unwrap_or_default());
        }
        "image" | "document" => count.tokens += count.config.image_tokens,
        _ => {}
    }
    count.cache_point(block);
    Ok(())
}
