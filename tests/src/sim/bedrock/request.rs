//! Reads Converse requests and holds them to the rules that no schema states: turns, blank texts, tool
//! results that answer tool calls. Shapes and bounds are the judge's work.

use serde_json::{Value, json};

use super::Config;
use crate::sim::reply::{Ask, Tool, ToolChoice};
use crate::sim::rng::hash;

/// What the path names.
pub struct Target {
    pub model: String,
    /// The model id as it came.
    pub segment: String,
    /// Encoded once, as AWS SDKs do: everything but `A-Za-z0-9-_.~`, in upper-case hex.
    pub canonical: bool,
    pub stream: bool,
    /// InvokeModel, not Converse.
    pub invoke: bool,
}

impl Target {
    /// `/model/{id}/converse`, `/invoke`, and what they are called for streams.
    pub fn find(path: &str) -> Option<Self> {
        let (segment, operation) = path.strip_prefix("/model/")?.split_once('/')?;
        let (invoke, stream) = match operation {
            "converse" => (false, false),
            "converse-stream" => (false, true),
            "invoke" => (true, false),
            "invoke-with-response-stream" => (true, true),
            _ => return None,
        };
        let model = percent_decode(segment)?;
        let canonical = !model.is_empty() && percent_encode(&model) == segment;
        Some(Self { model, segment: segment.to_owned(), canonical, stream, invoke })
    }
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' {
            let pair = std::str::from_utf8(after.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(pair, 16).ok()?);
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

fn percent_encode(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(byte as char);
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

pub fn lower_first(name: &str) -> String {
    let mut characters = name.chars();
    characters.next().map(|c| c.to_ascii_lowercase()).into_iter().chain(characters).collect()
}

/// An error in Bedrock's shape: the class in a header, the text in the body.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub status: u16,
    pub class: String,
    pub message: String,
    pub retry_after: Option<String>,
    /// The namespace that follows the class in the header.
    namespace: &'static str,
}

const RUNTIME: &str = "http://internal.amazon.com/coral/com.amazon.bedrock/";
const CORAL: &str = "http://internal.amazon.com/coral/com.amazon.coral.service/";

impl Refusal {
    fn new(status: u16, class: &str, message: &str) -> Self {
        Self { status, class: class.into(), message: message.into(), retry_after: None, namespace: RUNTIME }
    }

    pub fn validation(message: &str) -> Self {
        Self::new(400, "ValidationException", message)
    }

    pub fn access(class: &str, message: &str) -> Self {
        Self { namespace: CORAL, ..Self::new(403, class, message) }
    }

    pub fn signature(reason: &str) -> Self {
        let text = "The request signature we calculated does not match the signature you provided.";
        Self::access("InvalidSignatureException", &format!("{text} ({reason})"))
    }

    pub fn unknown_operation() -> Self {
        Self { namespace: CORAL, ..Self::new(404, "UnknownOperationException", "") }
    }

    pub fn media() -> Self {
        Self::new(415, "UnsupportedMediaTypeException", "content-type must be application/json")
    }

    pub fn too_long() -> Self {
        Self::validation("Input is too long for requested model.")
    }

    /// The judge itself failed: no request may pass as judged.
    pub fn judge(error: String) -> Self {
        Self::new(500, "InternalServerException", &format!("the judge failed: {error}"))
    }

    /// The error that a fault orders, by status.
    pub fn ordered(status: u16, class: Option<&str>, message: Option<&str>) -> Self {
        let (usual, text) = match status {
            400 => ("ValidationException", "The request is not valid."),
            403 => {
                ("AccessDeniedException", "You don't have access to the model with the specified model ID.")
            }
            404 => ("ResourceNotFoundException", "The model was not found."),
            408 => ("ModelTimeoutException", "The model did not answer in time."),
            424 => ("ModelErrorException", "The model failed."),
            429 => ("ThrottlingException", "Too many tokens, please wait before trying again."),
            503 => ("ServiceUnavailableException", "The service is temporarily unavailable."),
            _ => ("InternalServerException", "An internal error occurred."),
        };
        Self::new(status, class.unwrap_or(usual), message.unwrap_or(text))
    }

    /// The error that a stream's exception would have been before the stream.
    pub fn exception(class: Option<&str>, message: Option<&str>) -> Self {
        let class = class.unwrap_or("internalServerException");
        let status = match lower_first(class).as_str() {
            "validationException" => 400,
            "throttlingException" | "modelNotReadyException" => 429,
            "modelStreamErrorException" | "modelErrorException" => 424,
            "serviceUnavailableException" => 503,
            _ => 500,
        };
        let name: String = class[..1].to_ascii_uppercase() + &class[1..];
        Self::ordered(status, Some(&name), message)
    }

    pub fn header(&self) -> String {
        format!("{}:{}", self.class, self.namespace)
    }

    pub fn body(&self) -> String {
        if self.status == 404 && self.message.is_empty() {
            let kind = format!("com.amazon.coral.service#{}", self.class);
            return json!({"Output": {"__type": kind}, "Version": "1.0"}).to_string();
        }
        json!({"message": self.message}).to_string()
    }
}

/// A request understood.
pub struct Asked {
    pub ask: Ask,
    /// Of the prompt, cached ones included.
    pub tokens: u32,
    /// Key and tokens of what lies before the last cache point.
    pub cache_point: Option<(u64, u32)>,
    pub service_tier: Value,
    pub performance: Value,
}

/// Counts as it reads, in the order in which a model sees it: tools, system, messages.
struct Count<'a> {
    config: &'a Config,
    tokens: u32,
    key: u64,
    cache_point: Option<(u64, u32)>,
    texts: Vec<String>,
}

impl Count<'_> {
    fn text(&mut self, text: &str) {
        self.tokens += self.config.encoding.count(text);
        self.key = hash(self.key, text.as_bytes());
    }

    fn json(&mut self, value: &Value) {
        self.text(&value.to_string());
    }

    fn said(&mut self, text: &str) {
        self.text(text);
        self.texts.push(text.to_owned());
    }

    fn cache_point(&mut self, block: &Value) {
        if block.get("cachePoint").is_some() {
            self.cache_point = Some((self.key, self.tokens));
        }
    }

    fn fixed(&mut self, tokens: u32) {
        self.tokens += tokens;
    }
}

pub fn read(config: &Config, body: &[u8]) -> Result<Asked, Refusal> {
    let spread = hash(1, body) % (u64::from(config.hidden_tool_spread) + 1);
    let body: Value = serde_json::from_slice(body)
        .map_err(|e| Refusal::new(400, "SerializationException", &e.to_string()))?;
    let messages = body["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    turns(config, messages)?;
    let mut count =
        Count { config, tokens: config.prompt_tokens, key: 0, cache_point: None, texts: Vec::new() };
    let tools = tools(&body["toolConfig"], &mut count)?;
    if !tools.is_empty() {
        count.fixed(spread as u32);
    }
    for (at, block) in body["system"].as_array().into_iter().flatten().enumerate() {
        if let Some(text) = block["text"].as_str() {
            not_blank(config, text, &format!("system.{at}"), "SystemContentBlock")?;
            count.fixed(config.message_tokens);
            count.said(text);
        }
        count.cache_point(block);
    }
    let mut uses_tools = false;
    let mut last_user = None;
    for (at, message) in messages.iter().enumerate() {
        count.fixed(config.message_tokens);
        let from = count.texts.len();
        for (block_at, block) in blocks(message).iter().enumerate() {
            uses_tools |= block.get("toolUse").is_some() || block.get("toolResult").is_some();
            content(block, &format!("messages.{at}.content.{block_at}"), &mut count)?;
            count.cache_point(block);
        }
        let only_results = blocks(message).iter().all(|b| b.get("toolResult").is_some());
        last_user = (message["role"] == "user" && !only_results).then(|| count.texts[from..].concat());
    }
    if uses_tools && tools.is_empty() {
        return Err(Refusal::validation(
            "The toolConfig field must be defined when using toolUse and toolResult content blocks.",
        ));
    }
    if count.tokens > config.context {
        return Err(Refusal::too_long());
    }
    let choice = &body["toolConfig"]["toolChoice"];
    let choice = match choice["tool"]["name"].as_str() {
        Some(name) => ToolChoice::Named(name.to_owned()),
        None if choice.get("any").is_some() => ToolChoice::Any,
        None => ToolChoice::Auto,
    };
    let stop = body["inferenceConfig"]["stopSequences"].as_array().into_iter().flatten();
    let single = &body["additionalModelRequestFields"]["tool_choice"]["disable_parallel_tool_use"];
    let ask = Ask {
        prompt: count.texts.join("\n"),
        last_user,
        tools,
        choice,
        single_call: *single == true,
        max_tokens: body["inferenceConfig"]["maxTokens"].as_u64().map(|n| n.min(u64::from(u32::MAX)) as u32),
        stop: stop.filter_map(Value::as_str).map(str::to_owned).collect(),
        lead_in: Some(config.lead_in.clone()).filter(|t| !t.is_empty()),
        seed: config.seed,
    };
    Ok(Asked {
        ask,
        tokens: count.tokens,
        cache_point: count.cache_point,
        service_tier: body["serviceTier"].clone(),
        performance: body["performanceConfig"].clone(),
    })
}

fn blocks(message: &Value) -> &[Value] {
    message["content"].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn not_blank(config: &Config, text: &str, path: &str, shape: &str) -> Result<(), Refusal> {
    let checked = if config.strict { text.trim() } else { text };
    if checked.is_empty() {
        let message = format!(
            "The text field in the {shape} object at {path} is blank. Add text to the text field, and try again."
        );
        return Err(Refusal::validation(&message));
    }
    Ok(())
}

/// The rules of a conversation.
fn turns(config: &Config, messages: &[Value]) -> Result<(), Refusal> {
    if messages.is_empty() || (config.strict && messages[0]["role"] != "user") {
        return Err(Refusal::validation(
            "A conversation must start with a user message. Try again with a conversation that starts with a user message.",
        ));
    }
    let mut asked: Vec<&str> = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        if blocks(message).is_empty() {
            let text = format!(
                "The content field in the Message object at messages.{at} is empty. Add a ContentBlock object to the content field and try again."
            );
            return Err(Refusal::validation(&text));
        }
        if config.strict && at > 0 && messages[at - 1]["role"] == message["role"] {
            return Err(Refusal::validation(
                "A conversation must alternate between user and assistant roles. Make sure the conversation alternates between user and assistant roles and try again.",
            ));
        }
        // A server tool's use and result stand together in the assistant's turn.
        let own = |b: &&Value| b["type"].is_null();
        let ids = |kind: &str| -> Vec<&str> {
            let found = blocks(message).iter().map(|b| &b[kind]).filter(own);
            found.filter_map(|b| b["toolUseId"].as_str()).collect()
        };
        let results = ids("toolResult");
        let missing: Vec<&str> = asked.iter().filter(|id| !results.contains(id)).copied().collect();
        if !missing.is_empty() {
            let text = format!(
                "Expected toolResult blocks at messages.{at}.content for the following Ids: {}",
                missing.join(", ")
            );
            return Err(Refusal::validation(&text));
        }
        if results.len() > asked.len() {
            let text = format!(
                "The number of toolResult blocks at messages.{at}.content exceeds the number of toolUse blocks of previous turn."
            );
            return Err(Refusal::validation(&text));
        }
        asked = ids("toolUse");
    }
    Ok(())
}

fn tools(config: &Value, count: &mut Count<'_>) -> Result<Vec<Tool>, Refusal> {
    let mut tools: Vec<Tool> = Vec::new();
    for tool in config["tools"].as_array().into_iter().flatten() {
        count.cache_point(tool);
        let spec = &tool["toolSpec"];
        let Some(name) = spec["name"].as_str() else { continue };
        if tools.iter().any(|t| t.name == name) {
            return Err(Refusal::validation(&format!(
                "The tool {name} is already defined at toolConfig.tools."
            )));
        }
        if spec["inputSchema"]["json"]["type"] != "object" {
            let path = "toolConfig.tools.0.toolSpec.inputSchema.json";
            return Err(Refusal::validation(&format!(
                "The value at {path}.type must be one of the following: object."
            )));
        }
        count.text(name);
        count.text(spec["description"].as_str().unwrap_or_default());
        count.json(&spec["inputSchema"]["json"]);
        tools.push(Tool { name: name.to_owned(), schema: spec["inputSchema"]["json"].clone() });
    }
    if !tools.is_empty() {
        count.fixed(count.config.hidden_tool_tokens);
    }
    Ok(tools)
}

fn content(block: &Value, path: &str, count: &mut Count<'_>) -> Result<(), Refusal> {
    if let Some(text) = block["text"].as_str() {
        not_blank(count.config, text, path, "ContentBlock")?;
        count.said(text);
    }
    if let Some(call) = block.get("toolUse") {
        count.said(call["name"].as_str().unwrap_or_default());
        let input = call["input"].to_string();
        count.said(&input);
    }
    if let Some(text) = block["reasoningContent"]["reasoningText"]["text"].as_str() {
        count.said(text);
    }
    if block.get("image").is_some() || block.get("document").is_some() || block.get("video").is_some() {
        count.fixed(count.config.image_tokens);
    }
    for part in block["toolResult"]["content"].as_array().into_iter().flatten() {
        match part.get("json") {
            Some(value) => {
                let text = value.to_string();
                count.said(&text);
            }
            None => content(part, path, count)?,
        }
    }
    Ok(())
}
