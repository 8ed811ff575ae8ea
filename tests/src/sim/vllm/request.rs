//! Reads and judges requests as vLLM does: unknown fields are ignored, wrong ones are its 400.

use serde_json::{Value, json};

use super::{Config, Model};
use crate::sim::count::Encoding;
use crate::sim::reply::{Ask, Tool, ToolChoice};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Chat,
    Text,
}

/// An error in vLLM's shape; its `code` is a number.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub status: u16,
    pub kind: String,
    pub message: String,
    pub param: Option<&'static str>,
}

impl Refusal {
    fn bad(message: impl Into<String>, param: Option<&'static str>) -> Self {
        Self { status: 400, kind: "BadRequestError".into(), message: message.into(), param }
    }

    /// The error that a fault orders.
    pub fn ordered(status: u16, kind: Option<&str>, message: Option<&str>) -> Self {
        let (usual, text) = match status {
            400 => ("BadRequestError", "The request is not valid."),
            401 => ("AuthenticationError", "Unauthorized"),
            404 => ("NotFoundError", "Not found."),
            429 => ("TooManyRequestsError", "Too many requests."),
            503 => ("ServiceUnavailableError", "The engine is not available."),
            _ => ("InternalServerError", "EngineCore encountered an issue."),
        };
        Self {
            status,
            kind: kind.unwrap_or(usual).to_owned(),
            message: message.unwrap_or(text).to_owned(),
            param: None,
        }
    }

    pub fn context(limit: u32, prompt: u32) -> Self {
        let message = format!(
            "This model's maximum context length is {limit} tokens. However, your request has {prompt} input \
             tokens. Please reduce the length of the input messages."
        );
        Self::bad(message, Some("input_tokens"))
    }

    pub fn body(&self) -> String {
        json!({"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.status}})
            .to_string()
    }
}

/// A request understood.
pub struct Asked {
    pub kind: Kind,
    pub model: String,
    pub encoding: Encoding,
    pub max_model_len: u32,
    pub stream: bool,
    pub include_usage: bool,
    pub continuous_usage: bool,
    /// Choices per prompt.
    pub n: usize,
    /// One per choice, prompt by prompt.
    pub asks: Vec<Ask>,
    /// Token ids of each prompt, overhead included.
    pub prompts: Vec<Vec<u32>>,
    /// All texts, for orders that match on them.
    pub prompt_text: String,
    /// Sets its prefix cache apart; empty where nothing does.
    pub salt: String,
}

impl Asked {
    pub fn prompt_tokens(&self) -> u32 {
        self.prompts.iter().map(|p| p.len() as u32).sum()
    }
}

fn parse(body: &[u8]) -> Result<Value, Refusal> {
    let value: Value = serde_json::from_slice(body).map_err(|error| {
        let message = format!(
            "[{{'type': 'json_invalid', 'loc': ('body', {}), 'msg': 'JSON decode error'}}]",
            error.column()
        );
        Refusal::bad(message, None)
    })?;
    if value.is_object() { Ok(value) } else { Err(Refusal::bad("Input should be a valid dictionary", None)) }
}

fn find_model(config: &Config, body: &Value) -> Result<(String, Model), Refusal> {
    let name = match &body["model"] {
        Value::String(name) => name.clone(),
        Value::Null => config.models.first().map(|m| m.name.clone()).unwrap_or_default(),
        _ => return Err(Refusal::bad("Input should be a valid string", Some("model"))),
    };
    let served = config.models.iter().find(|m| m.name == name);
    match served.or_else(|| config.models.iter().find(|m| m.name == "*")) {
        Some(model) => Ok((name, model.clone())),
        None => Err(Refusal {
            status: 404,
            kind: "NotFoundError".into(),
            message: format!("The model `{name}` does not exist."),
            param: Some("model"),
        }),
    }
}

pub fn read(config: &Config, kind: Kind, content_type: Option<&str>, body: &[u8]) -> Result<Asked, Refusal> {
    let media = content_type.and_then(|c| c.split(';').next()).map(|c| c.trim().to_ascii_lowercase());
    if media.as_deref() != Some("application/json") {
        return Err(Refusal::bad("Unsupported Media Type: Only 'application/json' is allowed", None));
    }
    let body = parse(body)?;
    let (name, model) = find_model(config, &body)?;
    let stream = flag(&body["stream"], "stream")?;
    let options = &body["stream_options"];
    if !options.is_null() && !stream {
        return Err(Refusal::bad(
            "Stream options can only be defined when `stream=True`.",
            Some("stream_options"),
        ));
    }
    let n = number(&body["n"], "n")?.unwrap_or(1).clamp(1, 16) as usize;
    let max_tokens = match (number(&body["max_completion_tokens"], "max_completion_tokens")?, kind) {
        (Some(limit), Kind::Chat) => Some(limit),
        _ => number(&body["max_tokens"], "max_tokens")?,
    };
    if max_tokens == Some(0) {
        return Err(Refusal::bad("max_tokens must be at least 1, got 0.", Some("max_tokens")));
    }
    let base = Ask { max_tokens, stop: stops(&body["stop"])?, ..Ask::default() };
    let seed = config.seed.wrapping_add(body["seed"].as_u64().unwrap_or(0));
    let (prompts, unique) = match kind {
        Kind::Chat => {
            let (ids, ask) = chat(config, &body, &model)?;
            (vec![ids], vec![Ask { max_tokens, stop: base.stop, seed, ..ask }])
        }
        // vLLM's default for text completions.
        Kind::Text => text(&body["prompt"], model.encoding)?
            .into_iter()
            .map(|(ids, prompt)| {
                let max_tokens = max_tokens.or(Some(16));
                let last_user = Some(prompt.clone());
                (ids, Ask { prompt, last_user, seed, max_tokens, ..base.clone() })
            })
            .unzip(),
    };
    let longest = prompts.iter().map(|p| p.len() as u32).max().unwrap_or(0);
    if longest.saturating_add(max_tokens.unwrap_or(1)) > model.max_model_len {
        return Err(Refusal::context(model.max_model_len, longest));
    }
    let prompt_text = unique.iter().map(|a| a.prompt.as_str()).collect::<Vec<_>>().join("\n");
    Ok(Asked {
        kind,
        model: name,
        encoding: model.encoding,
        max_model_len: model.max_model_len,
        stream,
        include_usage: stream && flag(&options["include_usage"], "stream_options")?,
        continuous_usage: stream && flag(&options["continuous_usage_stats"], "stream_options")?,
        n,
        asks: unique.into_iter().flat_map(|ask| vec![ask; n]).collect(),
        prompts,
        prompt_text,
        salt: salt(&body["cache_salt"])?,
    })
}

fn salt(value: &Value) -> Result<String, Refusal> {
    match value {
        Value::Null => Ok(String::new()),
        Value::String(salt) if !salt.is_empty() => Ok(salt.clone()),
        _ => {
            let message = "Parameter 'cache_salt' must be a non-empty string if provided.";
            Err(Refusal::bad(message, Some("cache_salt")))
        }
    }
}

fn flag(value: &Value, param: &'static str) -> Result<bool, Refusal> {
    match value {
        Value::Null => Ok(false),
        Value::Bool(on) => Ok(*on),
        _ => Err(Refusal::bad("Input should be a valid boolean", Some(param))),
    }
}

fn number(value: &Value, param: &'static str) -> Result<Option<u32>, Refusal> {
    match value {
        Value::Null => Ok(None),
        _ => match value.as_u64().and_then(|n| u32::try_from(n).ok()) {
            Some(n) => Ok(Some(n)),
            None => Err(Refusal::bad("Input should be a valid integer", Some(param))),
        },
    }
}

fn stops(value: &Value) -> Result<Vec<String>, Refusal> {
    let wrong = || Refusal::bad("stop must be a string or a list of strings", Some("stop"));
    match value {
        Value::Null => Ok(Vec::new()),
        Value::String(one) => Ok(vec![one.clone()]),
        Value::Array(all) => all.iter().map(|v| v.as_str().map(str::to_owned).ok_or_else(wrong)).collect(),
        _ => Err(wrong()),
    }
}

/// Stand-ins for the ids of a chat template's own tokens.
const FRAME: u32 = u32::MAX;
const IMAGE: u32 = u32::MAX - 1;

fn chat(config: &Config, body: &Value, model: &Model) -> Result<(Vec<u32>, Ask), Refusal> {
    let encoding = model.encoding;
    let wrong = |message: &str| Refusal::bad(message, Some("messages"));
    let messages = body["messages"].as_array().ok_or_else(|| wrong("messages: Field required"))?;
    if messages.is_empty() {
        return Err(wrong("messages must not be empty"));
    }
    let mut ids = vec![FRAME; model.opening as usize];
    let mut texts = Vec::new();
    let mut last_user = None;
    for message in messages {
        let role = message["role"].as_str().ok_or_else(|| wrong("role: Field required"))?;
        if !["system", "developer", "user", "assistant", "tool", "function"].contains(&role) {
            return Err(wrong("unknown role"));
        }
        ids.extend([FRAME; 3]);
        ids.extend(encoding.encode(role));
        let content = contents(config, &message["content"])?;
        for part in &content {
            match part {
                Content::Text(text) => ids.extend(encoding.encode(text)),
                Content::Image(tokens) => ids.extend(vec![IMAGE; *tokens as usize]),
            }
        }
        if let Some(name) = message["name"].as_str() {
            ids.push(FRAME);
            ids.extend(encoding.encode(name));
        }
        let said: String = content.iter().map(Content::text).collect();
        last_user = (role == "user").then(|| said.clone());
        texts.push(said);
        for call in message["tool_calls"].as_array().into_iter().flatten() {
            for field in ["name", "arguments"] {
                let text =
                    call["function"][field].as_str().ok_or_else(|| wrong("tool_calls: Field required"))?;
                ids.extend(encoding.encode(text));
                texts.push(text.to_owned());
            }
        }
    }
    ids.extend([FRAME; 3]);
    let tools = tools(&body["tools"])?;
    if !tools.is_empty() {
        ids.extend(encoding.encode(&body["tools"].to_string()));
    }
    let choice = match &body["tool_choice"] {
        Value::String(s) if s == "none" => ToolChoice::None,
        Value::String(s) if s == "required" => ToolChoice::Any,
        Value::Object(_) => {
            let name = body["tool_choice"]["function"]["name"].as_str();
            ToolChoice::Named(name.unwrap_or_default().to_owned())
        }
        _ => ToolChoice::Auto,
    };
    let single_call = body["parallel_tool_calls"] == json!(false);
    let prompt = texts.join("\n");
    Ok((ids, Ask { prompt, last_user, tools, choice, single_call, ..Ask::default() }))
}

enum Content {
    Text(String),
    Image(u32),
}

impl Content {
    fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Image(_) => "",
        }
    }
}

fn contents(config: &Config, value: &Value) -> Result<Vec<Content>, Refusal> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::String(text) => Ok(vec![Content::Text(text.clone())]),
        Value::Array(parts) => parts
            .iter()
            .map(|part| match (part["type"].as_str(), part["text"].as_str()) {
                (Some("text" | "refusal"), Some(text)) => Ok(Content::Text(text.to_owned())),
                (Some("image_url"), _) if part["image_url"]["url"].is_string() => {
                    Ok(Content::Image(config.image_tokens))
                }
                _ => Err(Refusal::bad("Unknown part type in content", Some("messages"))),
            })
            .collect(),
        _ => Err(Refusal::bad("content must be a string or a list of parts", Some("messages"))),
    }
}

fn tools(value: &Value) -> Result<Vec<Tool>, Refusal> {
    let Some(all) = value.as_array() else {
        return if value.is_null() {
            Ok(Vec::new())
        } else {
            Err(Refusal::bad("tools must be a list", Some("tools")))
        };
    };
    all.iter()
        .map(|tool| match tool["function"]["name"].as_str() {
            Some(name) if tool["type"] == "function" => {
                Ok(Tool { name: name.to_owned(), schema: tool["function"]["parameters"].clone() })
            }
            _ => Err(Refusal::bad("a tool needs a type and a function with a name", Some("tools"))),
        })
        .collect()
}

fn text(prompt: &Value, encoding: Encoding) -> Result<Vec<(Vec<u32>, String)>, Refusal> {
    let wrong =
        || Refusal::bad("Either prompt or prompt_embeds must be provided and non-empty.", Some("prompt"));
    let from_ids = |ids: Vec<u32>| {
        let bytes: Vec<u8> = ids.iter().flat_map(|id| encoding.bytes(*id)).collect();
        (ids, String::from_utf8_lossy(&bytes).into_owned())
    };
    let id = |v: &Value| v.as_u64().and_then(|n| u32::try_from(n).ok());
    match prompt {
        Value::String(text) => Ok(vec![(encoding.encode(text), text.clone())]),
        Value::Array(all) if all.is_empty() => Err(wrong()),
        Value::Array(all) if all.iter().all(Value::is_number) => {
            let ids: Option<Vec<u32>> = all.iter().map(id).collect();
            Ok(vec![from_ids(ids.ok_or_else(wrong)?)])
        }
        Value::Array(all) => all
            .iter()
            .map(|one| match one {
                Value::String(text) => Ok((encoding.encode(text), text.clone())),
                Value::Array(ids) => {
                    let ids: Option<Vec<u32>> = ids.iter().map(id).collect();
                    Ok(from_ids(ids.ok_or_else(wrong)?))
                }
                _ => Err(wrong()),
            })
            .collect(),
        _ => Err(wrong()),
    }
}

/// `POST /tokenize` with a prompt or with messages.
pub fn tokenize(config: &Config, body: &[u8]) -> Result<String, Refusal> {
    let body = parse(body)?;
    let (_, model) = find_model(config, &body)?;
    let ids = match &body["prompt"] {
        Value::String(text) => model.encoding.encode(text),
        _ => chat(config, &body, &model)?.0,
    };
    // A template's own tokens have no id in the vocabulary; 0 keeps the list as long as the count.
    let shown: Vec<u32> = ids.iter().map(|id| if *id >= IMAGE { 0 } else { *id }).collect();
    let strings = (body["return_token_strs"] == json!(true)).then(|| {
        let text = |id: &u32| String::from_utf8_lossy(&model.encoding.bytes(*id)).into_owned();
        shown.iter().map(text).collect::<Vec<_>>()
    });
    Ok(json!({"count": ids.len(), "max_model_len": model.max_model_len, "tokens": shown, "token_strs": strings})
        .to_string())
}

/// `POST /v1/embeddings`: the model's name, tokens of what is embedded, and the answer, which means nothing.
pub fn embeddings(config: &Config, body: &[u8]) -> Result<(String, u32, String), Refusal> {
    let body = parse(body)?;
    let (name, model) = find_model(config, &body)?;
    let prompts = text(&body["input"], model.encoding)?;
    let tokens = prompts.iter().map(|(ids, _)| ids.len() as u32).sum();
    let data: Vec<Value> = (0..prompts.len())
        .map(|index| json!({"object": "embedding", "index": index, "embedding": [0.25, -0.5]}))
        .collect();
    let usage = json!({"prompt_tokens": tokens, "total_tokens": tokens, "completion_tokens": 0});
    let answer = json!({"id": "embd-sim", "object": "list", "created": 1, "model": name, "data": data, "usage": usage});
    Ok((name, tokens, answer.to_string()))
}

pub fn detokenize(config: &Config, body: &[u8]) -> Result<String, Refusal> {
    let body = parse(body)?;
    let (_, model) = find_model(config, &body)?;
    let (_, prompt) = text(&body["tokens"], model.encoding)?.pop().unwrap_or_default();
    Ok(json!({"prompt": prompt}).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_salt_is_a_text_that_is_not_empty() {
        assert_eq!(salt(&Value::Null).ok().as_deref(), Some(""));
        assert_eq!(salt(&json!("s")).ok().as_deref(), Some("s"));
        for wrong in [json!(""), json!(7), json!(["s"])] {
            assert_eq!(salt(&wrong).err().map(|refusal| refusal.param), Some(Some("cache_salt")), "{wrong}");
        }
    }
}
