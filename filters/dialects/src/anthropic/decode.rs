//! A Messages request into the hub, for providers of another dialect. What changes the meaning and cannot be said
//! elsewhere (tools that Anthropic runs itself, files that only it holds) is refused by name; the rest is a loss.

use weir_wire::base64;
use weir_wire::json::{Doc, Kind, Value};

use crate::hub::{
    Chat, Invalid, Loss, Message, Part, ResponseFormat, Role, Tool, ToolCall, ToolChoice, ToolResult,
};
use crate::media;
use crate::openai_chat::fields;

/// Reads a request. Losses name what was left behind.
pub fn decode(doc: &Doc<'_>) -> Result<(Chat, Vec<Loss>), Invalid> {
    decode_as(doc, false)
}

/// [`decode`], also of a request of `count_tokens`.
pub(super) fn decode_as(doc: &Doc<'_>, counting: bool) -> Result<(Chat, Vec<Loss>), Invalid> {
    let facts = super::read(doc, counting)?;
    let mut chat = Chat {
        model: facts.model_name.clone().into_owned(),
        stream: facts.stream,
        include_usage: facts.stream,
        max_output: facts.ceiling(),
        ..Chat::default()
    };
    let mut decoder = Decoder { losses: Vec::new() };
    let root = doc.root();
    if let Some(system) = root.get("system") {
        let mut parts = Vec::new();
        decoder.content(system, "system", &mut parts)?;
        if !parts.is_empty() {
            chat.messages.push(Message { role: Role::System, name: None, parts });
        }
    }
    for (key, value) in root.members() {
        if value.is_null() {
            continue;
        }
        let key = key.as_str();
        by_name!(key.as_ref() => {
            "model" | "stream" | "system" | "max_tokens" | "cache_control" => {},
            "messages" => {
                for (at, message) in value.items().enumerate() {
                    chat.messages.push(decoder.message(message, &fields::item("messages", at))?);
                }
            },
            "temperature" => chat.temperature = fields::number(value, "temperature")?,
            "top_p" => chat.top_p = fields::number(value, "top_p")?,
            "top_k" => chat.top_k = fields::count(value, "top_k")?,
            "stop_sequences" => {
                chat.stop = value.items().filter_map(|it| Some(it.as_str()?.into_owned())).collect()
            },
            "tools" => {
                for (at, tool) in value.items().enumerate() {
                    chat.tools.push(decoder.tool(tool, &fields::item("tools", at))?);
                }
            },
            "tool_choice" => tool_choice(value, &mut chat)?,
            "thinking" if value.kind() == Kind::Object => {
                // Not thinking is what happens without the setting.
                let off = value.get("type").is_some_and(|kind| kind.is_str("disabled"));
                chat.thinking = (!off).then(|| fields::raw(value));
            },
            "output_config" => decoder.output(value, &mut chat)?,
            "service_tier" => {
                let standard = value.is_str("standard_only");
                chat.service_tier = Some(if standard { "default" } else { "auto" }.to_owned());
            },
            "metadata" => chat.user = fields::member(value, "user_id"),
            "mcp_servers" | "container" if !(value.kind() == Kind::Array && value.is_empty()) => {
                let message =
                    format!("'{key}' is Anthropic's own and is not translated for this model's provider");
                return Err(Invalid::unsupported(key, message));
            },
            _ => decoder.lose(&key, "a setting of Anthropic's own"),
        })
    }
    if chat.tools.is_empty() {
        // Nothing to choose among; OpenAI refuses a choice without tools.
        chat.tool_choice = None;
        chat.parallel_tool_calls = None;
    }
    // The breakpoint that the API sets by itself moves along with the conversation's end.
    if let Some(ttl) = fields::cache_control(root)
        && let Some(last) = chat.messages.last_mut()
        && !matches!(last.parts.last(), Some(Part::CachePoint { .. }))
    {
        last.parts.push(Part::CachePoint { ttl });
    }
    Ok((chat, decoder.losses))
}

/// A member that must be a string.
#[inline(never)]
fn needed(block: Value<'_, '_>, key: &str, path: &str) -> Result<String, Invalid> {
    fields::member(block, key).ok_or_else(|| Invalid::missing(fields::sub(path, key)))
}

struct Decoder {
    losses: Vec<Loss>,
}

impl Decoder {
    fn lose(&mut self, path: &str, reason: &'static str) {
        self.losses.push(Loss { path: path.to_owned(), reason });
    }

    fn message(&mut self, message: Value<'_, '_>, path: &str) -> Result<Message, Invalid> {
        let role = by_name!(message.get("role").and_then(|role| role.as_str()).as_deref() => {
            "user" => Role::User,
            "assistant" => Role::Assistant,
            "system" => Role::System,
            _ => return Err(Invalid::value(fields::sub(path, "role"), "the role must be user or assistant")),
        });
        let mut parts = Vec::new();
        let path = fields::sub(path, "content");
        let content = message.get("content").ok_or_else(|| Invalid::missing(path.as_str()))?;
        self.content(content, &path, &mut parts)?;
        Ok(Message { role, name: None, parts })
    }

    fn content(&mut self, content: Value<'_, '_>, path: &str, parts: &mut Vec<Part>) -> Result<(), Invalid> {
        if let Some(text) = content.as_str() {
            parts.push(Part::Text(text.into_owned()));
            return Ok(());
        }
        if content.kind() != Kind::Array && !content.is_null() {
            return Err(Invalid::value(path, "content must be a string or an array of blocks"));
        }
        for (at, block) in content.items().enumerate() {
            self.block(block, &fields::item(path, at), parts)?;
            if let Some(ttl) = fields::cache_control(block) {
                parts.push(Part::CachePoint { ttl });
            }
        }
        Ok(())
    }

    fn block(&mut self, block: Value<'_, '_>, path: &str, parts: &mut Vec<Part>) -> Result<(), Invalid> {
        let text = |key: &str| fields::member(block, key);
        let needed = |key: &str| needed(block, key, path);
        let kind = text("type").unwrap_or_default();
        parts.push(match kind.as_str() {
            "text" => {
                if block.get("citations").is_some_and(|citations| !citations.is_empty()) {
                    self.lose(&fields::sub(path, "citations"), "citations of an earlier answer");
                }
                Part::Text(needed("text")?)
            }
            "image" | "document" => self.medium(block, kind == "image", path)?,
            "tool_use" => Part::ToolCall(ToolCall {
                id: needed("id")?,
                name: needed("name")?,
                arguments: block.get("input").map_or_else(|| "{}".to_owned(), fields::raw),
            }),
            "tool_result" => {
                let id = needed("tool_use_id")?;
                let mut inner = Vec::new();
                if let Some(content) = block.get("content") {
                    self.content(content, &fields::sub(path, "content"), &mut inner)?;
                }
                let error = block.get("is_error").and_then(Value::as_bool) == Some(true);
                Part::ToolResult(ToolResult { id, parts: inner, error })
            }
            "thinking" => Part::Reasoning {
                text: needed("thinking")?,
                signature: text("signature").filter(|signature| !signature.is_empty()),
            },
            "redacted_thinking" => Part::RedactedReasoning(needed("data")?),
            "search_result" => {
                self.lose(path, "a search result is carried as its text");
                let mut inner = Vec::new();
                if let Some(content) = block.get("content") {
                    self.content(content, &fields::sub(path, "content"), &mut inner)?;
                }
                parts.extend(inner);
                return Ok(());
            }
            other if other == "server_tool_use" || other.ends_with("_tool_result") => {
                self.lose(path, "a tool that Anthropic runs itself, with its result");
                return Ok(());
            }
            other => {
                let message = format!("a '{other}' block is not translated for this model's provider");
                return Err(Invalid::unsupported(path, message));
            }
        });
        Ok(())
    }

    /// A picture or a file.
    fn medium(&mut self, block: Value<'_, '_>, image: bool, path: &str) -> Result<Part, Invalid> {
        let path = fields::sub(path, "source");
        let Some(source) = block.get("source") else { return Err(Invalid::missing(path)) };
        let text = |key: &str| fields::member(source, key);
        let name = fields::member(block, "title");
        if block.get("context").is_some_and(|context| !context.is_null()) {
            self.lose(&path, "the context of a document");
        }
        let cited = block.get("citations").and_then(|it| it.get("enabled")).and_then(Value::as_bool);
        if cited == Some(true) {
            self.lose(&path, "citations: this model's provider gives none");
        }
        let media_type = text("media_type").unwrap_or_default().to_ascii_lowercase();
        match (text("type").unwrap_or_default().as_str(), image) {
            ("base64", _) => {
                let data = text("data");
                let Some(data) = data.as_deref().and_then(media::clean_base64).map(|data| data.into_owned())
                else {
                    return Err(Invalid::value(path, "the data is not valid base64"));
                };
                Ok(if image {
                    Part::Image { media_type, data }
                } else {
                    Part::Document { media_type, name, data }
                })
            }
            ("url", true) => match text("url") {
                Some(url) => Ok(Part::ImageUrl { url }),
                None => Err(Invalid::missing(fields::sub(&path, "url"))),
            },
            ("text", false) => {
                let mut data = Vec::new();
                base64::encode_into(&mut data, text("data").unwrap_or_default().as_bytes());
                let data = String::from_utf8(data).unwrap_or_default();
                Ok(Part::Document { media_type: "text/plain".to_owned(), name, data })
            }
            _ => Err(Invalid::unsupported(
                path,
                "what only Anthropic can fetch is not translated for this model's provider: send it as base64",
            )),
        }
    }

    fn tool(&mut self, tool: Value<'_, '_>, path: &str) -> Result<Tool, Invalid> {
        if tool.get("type").is_some_and(|kind| !kind.is_null() && !kind.is_str("custom")) {
            return Err(Invalid::unsupported(
                path,
                "a tool that Anthropic runs or defines itself is not translated for this model's provider",
            ));
        }
        let Some(name) = fields::member(tool, "name").filter(|name| !name.is_empty()) else {
            return Err(Invalid::missing(fields::sub(path, "name")));
        };
        let schema = tool.get("input_schema");
        if schema.is_none_or(|schema| schema.kind() != Kind::Object) {
            return Err(Invalid::value(fields::sub(path, "input_schema"), "must be a JSON Schema object"));
        }
        for (key, value) in tool.members() {
            let known = ["type", "name", "description", "input_schema", "strict", "cache_control"];
            if !known.iter().any(|name| key.is(name)) && !value.is_null() {
                self.lose(&fields::sub(path, &key.as_str()), "a setting of Anthropic's own");
            }
        }
        Ok(Tool {
            name,
            description: fields::member(tool, "description"),
            parameters: schema.map(fields::raw),
            strict: tool.get("strict").and_then(Value::as_bool),
            cache: fields::cache_control(tool),
        })
    }

    fn output(&mut self, value: Value<'_, '_>, chat: &mut Chat) -> Result<(), Invalid> {
        chat.effort = fields::member(value, "effort");
        let Some(format) = value.get("format").filter(|format| !format.is_null()) else { return Ok(()) };
        let Some(schema) = format.get("schema").filter(|schema| schema.kind() == Kind::Object) else {
            return Err(Invalid::missing("output_config.format.schema"));
        };
        let schema = fields::raw(schema);
        chat.response_format =
            ResponseFormat::JsonSchema { name: None, description: None, schema, strict: Some(true) };
        Ok(())
    }
}

fn tool_choice(value: Value<'_, '_>, chat: &mut Chat) -> Result<(), Invalid> {
    let kind = fields::member(value, "type").unwrap_or_default();
    chat.tool_choice = Some(match (kind.as_str(), fields::member(value, "name")) {
        ("auto", _) => ToolChoice::Auto,
        ("any", _) => ToolChoice::Required,
        ("none", _) => ToolChoice::None,
        ("tool", Some(name)) => ToolChoice::Named(name),
        _ => {
            return Err(Invalid::value(
                "tool_choice",
                "'tool_choice' must be auto, any, none or a tool's name",
            ));
        }
    });
    let single = value.get("disable_parallel_tool_use").and_then(Value::as_bool);
    chat.parallel_tool_calls = single.map(|single| !single);
    Ok(())
}
