//! A Converse request into the hub: the client side that is to come, and today the way that recorded traffic takes
//! through the translation. What the hub has no word for is a loss.

use weir_wire::json::{self, Doc, Kind, Limits, Value};

use super::encode::STOP_PATH;
use crate::hub::{
    Chat, Invalid, Loss, Message, Part, ResponseFormat, Role, Tool, ToolCall, ToolChoice, ToolResult,
};
use crate::media;
use crate::openai_chat::fields;

/// Reads a Converse body; model and streaming are in the path.
pub fn decode(doc: &Doc<'_>, model_id: &str, stream: bool) -> Result<(Chat, Vec<Loss>), Invalid> {
    let root = doc.root();
    if root.kind() != Kind::Object {
        return Err(Invalid::value("", "the request body must be a JSON object"));
    }
    let mut decoder = Decoder { losses: Vec::new() };
    // Its usage is part of every stream.
    let model = model_id.to_owned();
    let mut chat = Chat { model, stream, include_usage: stream, ..Chat::default() };
    let system = root.get("system").map(|system| decoder.parts(system, "system")).transpose()?;
    if let Some(parts) = system.filter(|parts| !parts.is_empty()) {
        chat.messages.push(Message { role: Role::System, name: None, parts });
    }
    for (key, value) in root.members() {
        match key.as_str().as_ref() {
            "system" => {}
            "messages" => {
                for (at, message) in value.items().enumerate() {
                    let path = format!("messages[{at}]");
                    chat.messages.push(decoder.message(message, &path)?);
                }
            }
            "inferenceConfig" => inference(value, &mut chat)?,
            "toolConfig" => decoder.tools(value, &mut chat)?,
            "outputConfig" => output(value, &mut chat)?,
            "serviceTier" => chat.service_tier = fields::member(value, "type"),
            "requestMetadata" => {
                let labels = value.members().filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)));
                chat.metadata = labels.map(|(key, value)| (key.into_owned(), value.into_owned())).collect();
            }
            // The hub carries it.
            "additionalModelResponseFieldPaths" if value.items().all(|path| path.is_str(STOP_PATH)) => {}
            "additionalModelRequestFields" => decoder.additional(value, &mut chat),
            other => decoder.lose(other, "a setting of Bedrock's own"),
        }
    }
    Ok((chat, decoder.losses))
}

struct Decoder {
    losses: Vec<Loss>,
}

impl Decoder {
    fn lose(&mut self, path: impl Into<String>, reason: &'static str) {
        self.losses.push(Loss { path: path.into(), reason });
    }

    fn message(&mut self, message: Value<'_, '_>, path: &str) -> Result<Message, Invalid> {
        let role = by_name!(message.get("role").and_then(|role| role.as_str()).as_deref() => {
            "user" => Role::User,
            "assistant" => Role::Assistant,
            "system" => Role::System,
            _ => {
                return Err(Invalid::value(
                    format!("{path}.role"),
                    "the role must be user, assistant or system",
                ));
            },
        });
        let content = message.get("content").ok_or_else(|| Invalid::missing(format!("{path}.content")))?;
        Ok(Message { role, name: None, parts: self.parts(content, &format!("{path}.content"))? })
    }

    fn parts(&mut self, content: Value<'_, '_>, path: &str) -> Result<Vec<Part>, Invalid> {
        let mut parts = Vec::with_capacity(content.len());
        for (at, block) in content.items().enumerate() {
            let path = format!("{path}[{at}]");
            // Each block is a union: an object of one member.
            if let Some((key, value)) = block.members().next() {
                parts.extend(self.part(key.as_str().as_ref(), value, &path)?);
            }
        }
        Ok(parts)
    }

    fn part(&mut self, kind: &str, value: Value<'_, '_>, path: &str) -> Result<Option<Part>, Invalid> {
        let format = || fields::member(value, "format").unwrap_or_default();
        let unknown =
            || Invalid::unsupported(path, format!("a format that is not translated: '{}'", format()));
        Ok(Some(match kind {
            "text" => Part::Text(fields::text(value, path)?.unwrap_or_default()),
            "image" => Part::Image { media_type: format!("image/{}", format()), data: bytes(value, path)? },
            "audio" => Part::Audio { format: format(), data: bytes(value, path)? },
            "video" => {
                // Bedrock was seen to take a media type in the place of its own word.
                let format = format();
                let media_type = match media::video_format(&format) {
                    Some(_) => format,
                    None => media::video_type(&format).ok_or_else(unknown)?.to_owned(),
                };
                Part::Video { media_type, data: bytes(value, path)? }
            }
            "document" => {
                for extra in ["context", "citations"] {
                    if value.get(extra).is_some() {
                        self.lose(format!("{path}.document.{extra}"), "a setting of Bedrock's own");
                    }
                }
                let media_type = media::document_type(&format()).ok_or_else(unknown)?.to_owned();
                // Clients of other dialects tell a file's format by its name.
                let name = fields::member(value, "name").map(|name| format!("{name}.{}", format()));
                Part::Document { media_type, name, data: bytes(value, path)? }
            }
            "toolUse" | "toolResult" if value.get("type").is_some() => {
                self.lose(path, "a tool that Bedrock runs itself, with its result");
                return Ok(None);
            }
            "toolUse" => Part::ToolCall(ToolCall {
                id: fields::member(value, "toolUseId").unwrap_or_default(),
                name: fields::member(value, "name").unwrap_or_default(),
                arguments: value.get("input").map_or_else(String::new, fields::raw),
            }),
            "toolResult" => {
                let content = value.get("content");
                let parts =
                    content.map(|content| self.parts(content, &format!("{path}.content"))).transpose()?;
                Part::ToolResult(ToolResult {
                    id: fields::member(value, "toolUseId").unwrap_or_default(),
                    parts: parts.unwrap_or_default(),
                    error: value.get("status").is_some_and(|status| status.is_str("error")),
                })
            }
            "json" => {
                self.lose(path, "a JSON result is carried as its text");
                Part::Text(fields::raw(value))
            }
            "reasoningContent" => match fields::member(value, "redactedContent") {
                Some(data) => Part::RedactedReasoning(data),
                None => {
                    let text = value.get("reasoningText").unwrap_or(value);
                    Part::Reasoning {
                        text: fields::member(text, "text").unwrap_or_default(),
                        signature: fields::member(text, "signature"),
                    }
                }
            },
            "cachePoint" => Part::CachePoint { ttl: fields::member(value, "ttl") },
            "guardContent" => {
                self.lose(path, "text marked for a guardrail is carried as plain text");
                let Some(text) = value.get("text").and_then(|text| fields::member(text, "text")) else {
                    return Err(Invalid::unsupported(path, "only text can be marked for a guardrail"));
                };
                Part::Text(text)
            }
            other => return Err(Invalid::unsupported(path, format!("a '{other}' block is not translated"))),
        }))
    }

    fn tools(&mut self, config: Value<'_, '_>, chat: &mut Chat) -> Result<(), Invalid> {
        for (at, tool) in config.get("tools").into_iter().flat_map(Value::items).enumerate() {
            if let Some(point) = tool.get("cachePoint") {
                match chat.tools.last_mut() {
                    Some(last) => last.cache = Some(fields::member(point, "ttl")),
                    None => {
                        self.lose(format!("toolConfig.tools[{at}]"), "a cache point without a tool before it")
                    }
                }
                continue;
            }
            let Some(spec) = tool.get("toolSpec") else {
                self.lose(format!("toolConfig.tools[{at}]"), "a tool that Bedrock runs itself");
                continue;
            };
            chat.tools.push(Tool {
                name: fields::member(spec, "name").unwrap_or_default(),
                description: fields::member(spec, "description"),
                parameters: spec.get("inputSchema").and_then(|schema| schema.get("json")).map(fields::raw),
                strict: spec.get("strict").and_then(Value::as_bool),
                cache: None,
            });
        }
        let Some(choice) = config.get("toolChoice") else { return Ok(()) };
        chat.tool_choice = match choice.members().next() {
            Some((key, _)) if key.is("auto") => Some(ToolChoice::Auto),
            Some((key, _)) if key.is("any") => Some(ToolChoice::Required),
            Some((key, tool)) if key.is("tool") => fields::member(tool, "name").map(ToolChoice::Named),
            _ => return Err(Invalid::value("toolConfig.toolChoice", "must be auto, any or tool")),
        };
        Ok(())
    }

    fn additional(&mut self, value: Value<'_, '_>, chat: &mut Chat) {
        let path = |key: &str| format!("additionalModelRequestFields.{key}");
        for (key, value) in value.members() {
            match key.as_str().as_ref() {
                "thinking" if value.kind() == Kind::Object => chat.thinking = Some(fields::raw(value)),
                "top_k" if value.as_u64().is_some() => chat.top_k = value.as_u64(),
                "inferenceConfig" if value.len() == 1 && value.get("topK").is_some() => {
                    chat.top_k = value.get("topK").and_then(Value::as_u64);
                }
                "reasoning_effort" | "reasoning_config" if value.kind() == Kind::String => {
                    chat.effort = value.as_str().map(|effort| effort.into_owned());
                }
                "output_config" if value.len() == 1 && value.get("effort").is_some() => {
                    chat.effort = fields::member(value, "effort");
                }
                other => self.lose(path(other), "a setting of one model only"),
            }
        }
    }
}

/// The bytes of a medium, base64. Where they lie in S3 they are not fetched: the gateway's own rights must not read
/// a client's choice of object.
fn bytes(value: Value<'_, '_>, path: &str) -> Result<String, Invalid> {
    let source = value.get("source");
    match source.and_then(|source| fields::member(source, "bytes")) {
        Some(bytes) => Ok(bytes),
        None => {
            Err(Invalid::unsupported(format!("{path}.source"), "only bytes are carried, not places in S3"))
        }
    }
}

fn inference(value: Value<'_, '_>, chat: &mut Chat) -> Result<(), Invalid> {
    for (key, value) in value.members() {
        by_name!(key => {
            "maxTokens" => chat.max_output = fields::count(value, "inferenceConfig.maxTokens")?,
            "temperature" => chat.temperature = fields::number(value, "inferenceConfig.temperature")?,
            "topP" => chat.top_p = fields::number(value, "inferenceConfig.topP")?,
            "stopSequences" => {
                let stops = value.items().filter_map(|stop| stop.as_str());
                chat.stop = stops.map(|stop| stop.into_owned()).collect();
            },
            _ => {},
        })
    }
    Ok(())
}

fn output(value: Value<'_, '_>, chat: &mut Chat) -> Result<(), Invalid> {
    if let Some(effort) = fields::member(value, "effort") {
        chat.effort = Some(effort);
    }
    let schema = value
        .get("textFormat")
        .and_then(|format| format.get("structure"))
        .and_then(|structure| structure.get("jsonSchema"));
    let Some(holder) = schema else { return Ok(()) };
    let schema = fields::member(holder, "schema").unwrap_or_default();
    // The hub's raw JSON is spliced by encoders, so what came as a string is judged here.
    let object =
        json::parse(schema.as_bytes(), &Limits::default()).is_ok_and(|doc| doc.root().kind() == Kind::Object);
    if !object {
        return Err(Invalid::value(
            "outputConfig.textFormat.structure.jsonSchema.schema",
            "the schema must be the text of a JSON object",
        ));
    }
    chat.response_format = ResponseFormat::JsonSchema {
        name: fields::member(holder, "name"),
        description: fields::member(holder, "description"),
        schema,
        strict: None,
    };
    Ok(())
}
