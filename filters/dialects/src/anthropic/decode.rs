//! A Messages request into the hub, for providers of another dialect. What changes the meaning and cannot be said
//! elsewhere (tools that Anthropic runs itself, files that only it holds) is refused by name; the rest is a loss.

use weir_wire::base64;
use weir_wire::json::{Doc, Kind, Value};

use crate::hub::{
    Chat, Invalid, Loss, Message, Part, ResponseFormat, Role, Tool, ToolCall, ToolChoice, ToolResult,
};
use crate::media;
use crate::openai_chat::fields::{self, lose, lose_in};

const OWN: &str = "a setting of Anthropic's own";

/// Reads a request. Losses name what was left behind.
pub fn decode(doc: &Doc<'_>) -> Result<(Chat, Vec<Loss>), Invalid> {
    decode_as(doc, false)
}

/// [`decode`], also of a request of `count_tokens`.
pub(super) fn decode_as(doc: &Doc<'_>, counting: bool) -> Result<(Chat, Vec<Loss>), Invalid> {
    let root = doc.root();
    let mut chat = super::read(doc, counting)?.chat();
    let mut decoder = Decoder { losses: Vec::new() };
    decoder.members(root, &mut chat)?;
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

struct Decoder {
    losses: Vec<Loss>,
}

impl Decoder {
    fn members(&mut self, root: Value<'_, '_>, chat: &mut Chat) -> Result<(), Invalid> {
        if let Some(system) = root.get("system") {
            let mut parts = Vec::new();
            self.content(system, "system", &mut parts)?;
            if !parts.is_empty() {
                chat.messages.push(Message { role: Role::System, name: None, parts });
            }
        }
        for (key, value) in root.members() {
            if value.is_null() {
                continue;
            }
            let key = &*key.as_str();
            by_name!(key => {
                "model" | "stream" | "system" | "max_tokens" | "cache_control" => {},
                "messages" => fields::each(value, key, &mut |message, path| self.message(message, path, chat))?,
                "temperature" | "top_p" | "top_k" => fields::setting(key, value, chat)?,
                "stop_sequences" => chat.stop = fields::strings(value),
                "tools" => fields::each(value, key, &mut |tool, path| self.tool(tool, path, chat))?,
                "tool_choice" => tool_choice(value, chat)?,
                // Not thinking is what happens without the setting.
                "thinking" if value.kind() == Kind::Object => {
                    let thinks = !fields::is(value, "type", "disabled");
                    chat.thinking = thinks.then(|| fields::raw(value));
                },
                "output_config" => output(value, chat)?,
                "service_tier" => {
                    let standard = value.is_str("standard_only");
                    chat.service_tier = Some(if standard { "default" } else { "auto" }.to_owned());
                },
                "metadata" => chat.user = fields::member(value, "user_id"),
                "mcp_servers" | "container" if !fields::is_nothing(value) => {
                    let own = "' is Anthropic's own and is not translated for this model's provider";
                    return Err(Invalid::unsupported(key, &["'", key, own].concat()));
                },
                _ => lose(&mut self.losses, key, OWN),
            })
        }
        Ok(())
    }

    fn message(&mut self, message: Value<'_, '_>, path: &str, chat: &mut Chat) -> Result<(), Invalid> {
        let role = fields::role(message);
        let Some(role) = role.filter(|role| !matches!(role, Role::Developer | Role::Tool)) else {
            return Err(Invalid::value(&fields::sub(path, "role"), "the role must be user or assistant"));
        };
        let mut parts = Vec::new();
        let content = message.get("content").ok_or_else(|| fields::missing(path, "content"))?;
        self.content(content, &fields::sub(path, "content"), &mut parts)?;
        chat.messages.push(Message { role, name: None, parts });
        Ok(())
    }

    fn content(&mut self, content: Value<'_, '_>, path: &str, parts: &mut Vec<Part>) -> Result<(), Invalid> {
        if let Some(text) = fields::owned(content) {
            parts.push(Part::Text(text));
        } else if content.kind() != Kind::Array && !content.is_null() {
            return Err(Invalid::value(path, "content must be a string or an array of blocks"));
        }
        fields::each(content, path, &mut |block, path| {
            self.block(block, path, parts)?;
            parts.extend(fields::cache_control(block).map(|ttl| Part::CachePoint { ttl }));
            Ok(())
        })
    }

    /// What a block holds.
    fn inner(&mut self, block: Value<'_, '_>, path: &str, parts: &mut Vec<Part>) -> Result<(), Invalid> {
        match block.get("content") {
            Some(content) => self.content(content, &fields::sub(path, "content"), parts),
            None => Ok(()),
        }
    }

    fn block(&mut self, block: Value<'_, '_>, path: &str, parts: &mut Vec<Part>) -> Result<(), Invalid> {
        let needed = |key: &str| fields::needed(block, key, path);
        let kind = &*fields::or_empty(block, "type");
        parts.push(by_name!(kind => {
            "text" => {
                if block.get("citations").is_some_and(|citations| !citations.is_empty()) {
                    lose_in(&mut self.losses, path, "citations", "citations of an earlier answer");
                }
                Part::Text(needed("text")?)
            },
            "image" | "document" => self.medium(block, kind == "image", path)?,
            "tool_use" => Part::ToolCall(ToolCall {
                id: needed("id")?,
                name: needed("name")?,
                arguments: fields::arguments(block),
            }),
            "tool_result" => {
                let id = needed("tool_use_id")?;
                let mut inner = Vec::new();
                self.inner(block, path, &mut inner)?;
                let error = fields::truth(block, "is_error") == Some(true);
                Part::ToolResult(ToolResult { id, parts: inner, error })
            },
            "thinking" => Part::Reasoning {
                text: needed("thinking")?,
                signature: fields::said(block, "signature"),
            },
            "redacted_thinking" => Part::RedactedReasoning(needed("data")?),
            "search_result" => {
                lose(&mut self.losses, path, "a search result is carried as its text");
                return self.inner(block, path, parts);
            },
            _ => {
                if kind == "server_tool_use" || kind.ends_with("_tool_result") {
                    lose(&mut self.losses, path, "a tool that Anthropic runs itself, with its result");
                    return Ok(());
                }
                let message = ["a '", kind, "' block is not translated for this model's provider"].concat();
                return Err(Invalid::unsupported(path, &message));
            },
        }));
        Ok(())
    }

    /// A picture or a file.
    fn medium(&mut self, block: Value<'_, '_>, image: bool, path: &str) -> Result<Part, Invalid> {
        let path = &*fields::sub(path, "source");
        let Some(source) = block.get("source") else { return Err(Invalid::missing(path)) };
        if fields::some(block, "context").is_some() {
            lose(&mut self.losses, path, "the context of a document");
        }
        if block.get("citations").and_then(|it| fields::truth(it, "enabled")) == Some(true) {
            lose(&mut self.losses, path, "citations: this model's provider gives none");
        }
        let name = fields::member(block, "title");
        by_name!(source.get("type") => {
            "base64" => {
                let media_type = fields::or_empty(source, "media_type").to_ascii_lowercase();
                let data = media::base64_of(source, "data", path)?;
                Ok(if image { Part::Image { media_type, data } } else { Part::Document { media_type, name, data } })
            },
            "url" if image => Ok(Part::ImageUrl { url: fields::needed(source, "url", path)? }),
            "text" if !image => {
                let mut data = Vec::new();
                base64::encode_into(&mut data, fields::or_empty(source, "data").as_bytes());
                let data = String::from_utf8(data).unwrap_or_default();
                Ok(Part::Document { media_type: "text/plain".to_owned(), name, data })
            },
            _ => Err(Invalid::unsupported(
                path,
                "what only Anthropic can fetch is not translated for this model's provider: send it as base64",
            )),
        })
    }

    fn tool(&mut self, tool: Value<'_, '_>, path: &str, chat: &mut Chat) -> Result<(), Invalid> {
        if fields::some(tool, "type").is_some_and(|kind| !kind.is_str("custom")) {
            return Err(Invalid::unsupported(
                path,
                "a tool that Anthropic runs or defines itself is not translated for this model's provider",
            ));
        }
        let name = fields::filled(tool, "name", path)?;
        let Some(schema) = fields::object(tool, "input_schema") else {
            return Err(Invalid::value(&fields::sub(path, "input_schema"), "must be a JSON Schema object"));
        };
        for (key, value) in tool.members() {
            by_name!(key => {
                "type" | "name" | "description" | "input_schema" | "strict" | "cache_control" => {},
                _ => {
                    if !value.is_null() {
                        lose_in(&mut self.losses, path, &key.as_str(), OWN);
                    }
                },
            })
        }
        chat.tools.push(Tool {
            name,
            description: fields::member(tool, "description"),
            parameters: Some(fields::raw(schema)),
            strict: fields::truth(tool, "strict"),
            cache: fields::cache_control(tool),
        });
        Ok(())
    }
}

fn output(value: Value<'_, '_>, chat: &mut Chat) -> Result<(), Invalid> {
    chat.effort = fields::member(value, "effort");
    let Some(format) = fields::some(value, "format") else { return Ok(()) };
    let schema = fields::object(format, "schema").map(fields::raw);
    let schema = schema.ok_or_else(|| Invalid::missing("output_config.format.schema"))?;
    chat.response_format =
        ResponseFormat::JsonSchema { name: None, description: None, schema, strict: Some(true) };
    Ok(())
}

fn tool_choice(value: Value<'_, '_>, chat: &mut Chat) -> Result<(), Invalid> {
    let choice = by_name!(value.get("type") => {
        "auto" => Some(ToolChoice::Auto),
        "any" => Some(ToolChoice::Required),
        "none" => Some(ToolChoice::None),
        "tool" => fields::member(value, "name").map(ToolChoice::Named),
        _ => None,
    });
    if choice.is_none() {
        return Err(Invalid::value("tool_choice", "'tool_choice' must be auto, any, none or a tool's name"));
    }
    chat.tool_choice = choice;
    chat.parallel_tool_calls = fields::truth(value, "disable_parallel_tool_use").map(|single| !single);
    Ok(())
}
