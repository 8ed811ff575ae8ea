//! A Converse request into the hub: the client side that is to come, and today the way that recorded traffic takes
//! through the translation. What the hub has no word for is a loss.

use weir_wire::json::{Doc, Kind, Value};

use super::encode::STOP_PATH;
use crate::hub::{
    Chat, Invalid, Loss, Message, Part, ResponseFormat, Role, Tool, ToolCall, ToolChoice, ToolResult,
};
use crate::media;
use crate::openai_chat::fields::{self, lose, lose_in};

const OWN: &str = "a setting of Bedrock's own";

/// Reads a Converse body; model and streaming are in the path.
pub fn decode(doc: &Doc<'_>, model_id: &str, stream: bool) -> Result<(Chat, Vec<Loss>), Invalid> {
    let root = doc.root();
    if root.kind() != Kind::Object {
        return Err(Invalid::value("", "the request body must be a JSON object"));
    }
    let mut decoder = Decoder { losses: Vec::new() };
    // Its usage is part of every stream.
    let mut chat = Chat::of(model_id.to_owned(), stream, stream);
    decoder.members(root, &mut chat)?;
    Ok((chat, decoder.losses))
}

struct Decoder {
    losses: Vec<Loss>,
}

impl Decoder {
    fn members(&mut self, root: Value<'_, '_>, chat: &mut Chat) -> Result<(), Invalid> {
        if let Some(system) = root.get("system") {
            let mut parts = Vec::new();
            self.parts(system, "system", &mut parts)?;
            if !parts.is_empty() {
                chat.messages.push(Message { role: Role::System, name: None, parts });
            }
        }
        for (key, value) in root.members() {
            by_name!(key => {
                "system" => {},
                "messages" =>
                    fields::each(value, "messages", &mut |message, path| self.message(message, path, chat))?,
                "inferenceConfig" => inference(value, chat)?,
                "toolConfig" => self.tools(value, chat)?,
                "outputConfig" => output(value, chat)?,
                "serviceTier" => chat.service_tier = fields::member(value, "type"),
                "requestMetadata" => {
                    for (label, value) in value.members() {
                        let value = fields::owned(value);
                        chat.metadata.extend(value.map(|value| (label.as_str().into_owned(), value)));
                    }
                },
                // The hub carries it.
                "additionalModelResponseFieldPaths" if value.items().all(|path| path.is_str(STOP_PATH)) => {},
                "additionalModelRequestFields" => self.additional(value, chat),
                _ => lose(&mut self.losses, &key.as_str(), OWN),
            })
        }
        Ok(())
    }

    fn message(&mut self, message: Value<'_, '_>, path: &str, chat: &mut Chat) -> Result<(), Invalid> {
        let role = fields::role(message);
        let Some(role) = role.filter(|role| !matches!(role, Role::Developer | Role::Tool)) else {
            let at = fields::sub(path, "role");
            return Err(Invalid::value(&at, "the role must be user, assistant or system"));
        };
        let content = message.get("content").ok_or_else(|| fields::missing(path, "content"))?;
        let mut parts = Vec::with_capacity(content.len());
        self.parts(content, &fields::sub(path, "content"), &mut parts)?;
        chat.messages.push(Message { role, name: None, parts });
        Ok(())
    }

    fn parts(&mut self, content: Value<'_, '_>, path: &str, parts: &mut Vec<Part>) -> Result<(), Invalid> {
        fields::each(content, path, &mut |block, path| {
            // Each block is a union: an object of one member.
            match block.members().next() {
                Some((key, value)) => self.part(&key.as_str(), value, path, parts),
                None => Ok(()),
            }
        })
    }

    fn part(
        &mut self,
        kind: &str,
        value: Value<'_, '_>,
        path: &str,
        parts: &mut Vec<Part>,
    ) -> Result<(), Invalid> {
        let losses = &mut self.losses;
        let format = &*fields::or_empty(value, "format");
        let known = |known: Option<&str>| {
            let unknown = || {
                let message = ["a format that is not translated: '", format, "'"].concat();
                Invalid::unsupported(path, &message)
            };
            known.map(str::to_owned).ok_or_else(unknown)
        };
        parts.push(by_name!(kind => {
            "text" => {
                let mut text = None;
                fields::text(value, path, &mut text)?;
                Part::Text(text.unwrap_or_default())
            },
            "image" => Part::Image { media_type: ["image/", format].concat(), data: bytes(value, path)? },
            "audio" => Part::Audio { format: format.to_owned(), data: bytes(value, path)? },
            // Bedrock was seen to take a media type in the place of its own word.
            "video" => Part::Video {
                media_type: known(media::video_format(format).map(|_| format).or(media::video_type(format)))?,
                data: bytes(value, path)?,
            },
            "document" => {
                for extra in ["context", "citations"] {
                    if value.get(extra).is_some() {
                        lose_in(losses, path, &["document.", extra].concat(), OWN);
                    }
                }
                let media_type = known(media::document_type(format))?;
                // Clients of other dialects tell a file's format by its name.
                let name = fields::member(value, "name").map(|name| fields::sub(&name, format));
                Part::Document { media_type, name, data: bytes(value, path)? }
            },
            "toolUse" | "toolResult" if value.get("type").is_some() => {
                lose(losses, path, "a tool that Bedrock runs itself, with its result");
                return Ok(());
            },
            "toolUse" => Part::ToolCall(ToolCall {
                id: fields::or_empty(value, "toolUseId"),
                name: fields::or_empty(value, "name"),
                arguments: value.get("input").map(fields::raw).unwrap_or_default(),
            }),
            "toolResult" => {
                let mut inner = Vec::new();
                if let Some(content) = value.get("content") {
                    self.parts(content, &fields::sub(path, "content"), &mut inner)?;
                }
                Part::ToolResult(ToolResult {
                    id: fields::or_empty(value, "toolUseId"),
                    parts: inner,
                    error: fields::is(value, "status", "error"),
                })
            },
            "json" => {
                lose(losses, path, "a JSON result is carried as its text");
                Part::Text(fields::raw(value))
            },
            "reasoningContent" => match fields::member(value, "redactedContent") {
                Some(data) => Part::RedactedReasoning(data),
                None => {
                    let text = value.get("reasoningText").unwrap_or(value);
                    Part::Reasoning {
                        text: fields::or_empty(text, "text"),
                        signature: fields::member(text, "signature"),
                    }
                }
            },
            "cachePoint" => Part::CachePoint { ttl: fields::member(value, "ttl") },
            "guardContent" => {
                lose(losses, path, "text marked for a guardrail is carried as plain text");
                let text = value.get("text").and_then(|text| fields::member(text, "text"));
                let only = "only text can be marked for a guardrail";
                Part::Text(text.ok_or_else(|| Invalid::unsupported(path, only))?)
            },
            _ => {
                let message = ["a '", kind, "' block is not translated"].concat();
                return Err(Invalid::unsupported(path, &message));
            },
        }));
        Ok(())
    }

    fn tools(&mut self, config: Value<'_, '_>, chat: &mut Chat) -> Result<(), Invalid> {
        let (losses, tools) = (&mut self.losses, &mut chat.tools);
        if let Some(list) = config.get("tools") {
            fields::each(list, "toolConfig.tools", &mut |tool, path| {
                if let Some(point) = tool.get("cachePoint") {
                    match tools.last_mut() {
                        Some(last) => last.cache = Some(fields::member(point, "ttl")),
                        None => lose(losses, path, "a cache point without a tool before it"),
                    }
                } else if let Some(spec) = tool.get("toolSpec") {
                    tools.push(Tool {
                        name: fields::or_empty(spec, "name"),
                        description: fields::member(spec, "description"),
                        parameters: spec.get("inputSchema").and_then(|it| it.get("json")).map(fields::raw),
                        strict: fields::truth(spec, "strict"),
                        cache: None,
                    });
                } else {
                    lose(losses, path, "a tool that Bedrock runs itself");
                }
                Ok(())
            })?;
        }
        let Some(choice) = config.get("toolChoice") else { return Ok(()) };
        let choice = choice.members().next();
        chat.tool_choice = by_name!(choice.map(|(key, _)| key.value()) => {
            "auto" => Some(ToolChoice::Auto),
            "any" => Some(ToolChoice::Required),
            "tool" => choice.and_then(|(_, tool)| fields::member(tool, "name")).map(ToolChoice::Named),
            _ => return Err(Invalid::value("toolConfig.toolChoice", "must be auto, any or tool")),
        });
        Ok(())
    }

    fn additional(&mut self, value: Value<'_, '_>, chat: &mut Chat) {
        for (key, value) in value.members() {
            by_name!(key => {
                "thinking" if value.kind() == Kind::Object => chat.thinking = Some(fields::raw(value)),
                "top_k" if value.as_u64().is_some() => chat.top_k = value.as_u64(),
                "inferenceConfig" if value.len() == 1 && value.get("topK").is_some() => {
                    chat.top_k = value.get("topK").and_then(Value::as_u64);
                },
                "reasoning_effort" | "reasoning_config" if value.kind() == Kind::String => {
                    chat.effort = fields::owned(value);
                },
                "output_config" if value.len() == 1 && value.get("effort").is_some() => {
                    chat.effort = fields::member(value, "effort");
                },
                _ => {
                    let holder = "additionalModelRequestFields";
                    lose_in(&mut self.losses, holder, &key.as_str(), "a setting of one model only");
                },
            })
        }
    }
}

/// The bytes of a medium, base64. Where they lie in S3 they are not fetched: the gateway's own rights must not read
/// a client's choice of object.
#[inline(never)]
fn bytes(value: Value<'_, '_>, path: &str) -> Result<String, Invalid> {
    let bytes = value.get("source").and_then(|source| fields::member(source, "bytes"));
    let only = "only bytes are carried, not places in S3";
    bytes.ok_or_else(|| Invalid::unsupported(&fields::sub(path, "source"), only))
}

fn inference(value: Value<'_, '_>, chat: &mut Chat) -> Result<(), Invalid> {
    for (key, value) in value.members() {
        by_name!(key => {
            "maxTokens" => chat.max_output = fields::count(value, "inferenceConfig.maxTokens")?,
            "temperature" => fields::number(value, "inferenceConfig.temperature", &mut chat.temperature)?,
            "topP" => fields::number(value, "inferenceConfig.topP", &mut chat.top_p)?,
            "stopSequences" => chat.stop = fields::strings(value),
            _ => {},
        })
    }
    Ok(())
}

fn output(value: Value<'_, '_>, chat: &mut Chat) -> Result<(), Invalid> {
    if let Some(effort) = fields::member(value, "effort") {
        chat.effort = Some(effort);
    }
    let structure = value.get("textFormat").and_then(|format| format.get("structure"));
    let Some(holder) = structure.and_then(|it| it.get("jsonSchema")) else { return Ok(()) };
    let schema = fields::or_empty(holder, "schema");
    // The hub's raw JSON is spliced by encoders, so what came as a string is judged here.
    if !fields::is_object(&schema) {
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
