//! A Responses request into the hub, for providers of another dialect. Those keep nothing between requests and run no
//! tools of OpenAI's: what asks for that is refused by name. What else no other dialect knows is a loss.

use weir_wire::json::{Doc, Kind, Value};

use super::stream_write::{SEALED, SIGNED};
use crate::hub::{
    Chat, Invalid, Loss, Message, Part, ResponseFormat, Role, Tool, ToolCall, ToolChoice, ToolResult,
};
use crate::openai_chat::{decode_part, fields};

/// Reads a request. Losses name what was left behind.
pub fn decode(doc: &Doc<'_>) -> Result<(Chat, Vec<Loss>), Invalid> {
    let facts = super::read(doc)?;
    let mut chat = Chat {
        model: facts.model_name.clone().into_owned(),
        stream: facts.stream,
        include_usage: facts.stream,
        max_output: facts.ceiling(),
        ..Chat::default()
    };
    let mut decoder = Decoder { losses: Vec::new(), messages: Vec::new() };
    let root = doc.root();
    if let Some(text) = root.get("instructions").and_then(|text| text.as_str()) {
        decoder.add(Role::System, Part::Text(text.into_owned()));
    }
    for (key, value) in root.members() {
        if value.is_null() {
            continue;
        }
        let key = key.as_str();
        by_name!(key.as_ref() => {
            "model" | "stream" | "max_output_tokens" | "background" | "stream_options" => {},
            "instructions" if value.kind() == Kind::String => {},
            "input" => decoder.input(value)?,
            "temperature" => chat.temperature = fields::number(value, "temperature")?,
            "top_p" => chat.top_p = fields::number(value, "top_p")?,
            "top_logprobs" => {
                chat.logprobs = fields::count(value, "top_logprobs")?.is_some_and(|top| top > 0)
            },
            "tools" => {
                for (at, tool) in value.items().enumerate() {
                    chat.tools.push(decode_tool(tool, &fields::item("tools", at))?);
                }
            },
            "tool_choice" => chat.tool_choice = Some(tool_choice(value)?),
            "parallel_tool_calls" => {
                chat.parallel_tool_calls = Some(fields::bool(value, "parallel_tool_calls")?);
            },
            "text" => {
                if value.get("verbosity").is_some_and(|it| !it.is_null() && !it.is_str("medium")) {
                    decoder.lose("text.verbosity", OWN);
                }
                chat.response_format = format(value.get("format"))?;
            },
            "reasoning" => {
                for (key, value) in value.members().filter(|(_, value)| !value.is_null()) {
                    if key.is("effort") {
                        chat.effort = fields::text(value, "reasoning.effort")?;
                    } else if !key.is("summary") && !key.is("generate_summary") {
                        decoder.lose(&fields::sub("reasoning", &key.as_str()), OWN);
                    }
                }
            },
            "service_tier" => chat.service_tier = fields::text(value, "service_tier")?,
            "user" => chat.user = fields::text(value, "user")?,
            "metadata" => {
                for (key, value) in value.members() {
                    if let Some(value) = value.as_str() {
                        chat.metadata.push((key.as_str().into_owned(), value.into_owned()));
                    }
                }
            },
            "previous_response_id" | "conversation" | "prompt" => {
                let message = format!(
                    "'{key}' names what only OpenAI keeps, and this model's provider keeps nothing: send the whole conversation as 'input'"
                );
                return Err(Invalid::unsupported(key, message));
            },
            "store" => {
                if fields::bool(value, "store")? {
                    decoder
                        .lose("store", "nothing is kept: the next request must bring the whole conversation");
                }
            },
            "include" => {
                for (at, one) in value.items().enumerate() {
                    if !one.is_str("reasoning.encrypted_content") {
                        decoder.lose(&fields::item("include", at), OWN);
                    }
                }
            },
            "truncation" if value.is_str("disabled") => {},
            _ => decoder.lose(&key, OWN),
        })
    }
    if chat.tools.is_empty() {
        // Nothing to choose among; OpenAI's chat refuses a choice without tools.
        chat.tool_choice = None;
        chat.parallel_tool_calls = None;
    }
    chat.messages = decoder.messages;
    Ok((chat, decoder.losses))
}

const OWN: &str = "a setting of OpenAI's own";

/// Members of a part that are carried, or whose loss or refusal has words of its own.
const KNOWN: [&str; 13] = [
    "type",
    "text",
    "refusal",
    "annotations",
    "logprobs",
    "image_url",
    "detail",
    "file_data",
    "filename",
    "file_id",
    "file_url",
    "input_audio",
    "id",
];

struct Decoder {
    losses: Vec<Loss>,
    messages: Vec<Message>,
}

impl Decoder {
    fn lose(&mut self, path: &str, reason: &'static str) {
        self.losses.push(Loss { path: path.to_owned(), reason });
    }

    /// Items of the model's one turn stand apart here and together elsewhere.
    fn add(&mut self, role: Role, part: Part) {
        match self.messages.last_mut().filter(|last| role == Role::Assistant && last.role == role) {
            Some(last) => last.parts.push(part),
            None => self.messages.push(Message { role, name: None, parts: vec![part] }),
        }
    }

    fn input(&mut self, input: Value<'_, '_>) -> Result<(), Invalid> {
        if let Some(text) = input.as_str() {
            self.add(Role::User, Part::Text(text.into_owned()));
        }
        for (at, item) in input.items().enumerate() {
            self.item(item, &fields::item("input", at))?;
        }
        Ok(())
    }

    fn item(&mut self, item: Value<'_, '_>, path: &str) -> Result<(), Invalid> {
        let text = |key: &str| fields::member(item, key);
        let needed = |key: &str| {
            let text = text(key).filter(|text| !text.is_empty());
            text.ok_or_else(|| Invalid::missing(fields::sub(path, key)))
        };
        match text("type").as_deref().unwrap_or("message") {
            "message" => {
                let role = by_name!(text("role").as_deref() => {
                    "user" => Role::User,
                    "assistant" => Role::Assistant,
                    "system" => Role::System,
                    "developer" => Role::Developer,
                    _ => {
                        return Err(Invalid::value(
                            fields::sub(path, "role"),
                            "a message's role must be user, assistant, system or developer",
                        ));
                    },
                });
                let mut parts = Vec::new();
                self.content(item.get("content"), &fields::sub(path, "content"), &mut parts)?;
                match self.messages.last_mut().filter(|last| role == Role::Assistant && last.role == role) {
                    Some(last) => last.parts.append(&mut parts),
                    None => self.messages.push(Message { role, name: None, parts }),
                }
            }
            "function_call" => self.add(
                Role::Assistant,
                Part::ToolCall(ToolCall {
                    id: needed("call_id")?,
                    name: needed("name")?,
                    arguments: text("arguments").unwrap_or_default(),
                }),
            ),
            "function_call_output" => {
                let id = needed("call_id")?;
                let mut parts = Vec::new();
                self.content(item.get("output"), &fields::sub(path, "output"), &mut parts)?;
                self.add(Role::Tool, Part::ToolResult(ToolResult { id, parts, error: false }));
            }
            "reasoning" => self.reasoning(item, path),
            kind => {
                let message = by_name!(kind => {
                    "item_reference" | "compaction" => format!(
                        "an item of type '{kind}' stands for what only OpenAI has, and this model's provider keeps nothing: send the item itself"
                    ),
                    _ => format!("an item of type '{kind}' is not translated for this model's provider"),
                });
                return Err(Invalid::unsupported(path, message));
            }
        }
        Ok(())
    }

    fn content(
        &mut self,
        content: Option<Value<'_, '_>>,
        path: &str,
        parts: &mut Vec<Part>,
    ) -> Result<(), Invalid> {
        let Some(content) = content else { return Err(Invalid::missing(path)) };
        if let Some(text) = content.as_str() {
            parts.push(Part::Text(text.into_owned()));
        } else if content.kind() != Kind::Array {
            return Err(Invalid::value(path, "must be a string or an array of parts"));
        }
        for (at, part) in content.items().enumerate() {
            let path = fields::item(path, at);
            if part.get("annotations").is_some_and(|annotations| !annotations.is_empty()) {
                self.lose(&fields::sub(&path, "annotations"), "citations of an earlier answer");
            }
            for (key, _) in part.members().filter(|(_, value)| !value.is_null()) {
                if !KNOWN.contains(&key.as_str().as_ref()) {
                    self.lose(&fields::sub(&path, &key.as_str()), OWN);
                }
            }
            for key in ["file_id", "file_url"] {
                if part.get(key).is_some_and(|it| !it.is_null()) {
                    return Err(Invalid::unsupported(
                        fields::sub(&path, key),
                        "what only OpenAI can fetch is not translated for this model's provider: send it as a base64 data: URI",
                    ));
                }
            }
            parts.push(decode_part(part, &path, &mut self.losses)?);
        }
        Ok(())
    }

    fn reasoning(&mut self, item: Value<'_, '_>, path: &str) {
        let of = |key: &str| {
            let parts = item.get(key).into_iter().flat_map(Value::items);
            parts.filter_map(|part| fields::member(part, "text")).collect::<Vec<_>>().join("\n")
        };
        let (summary, content) = (of("summary"), of("content"));
        let text = if content.is_empty() { summary } else { content };
        let sealed = fields::member(item, "encrypted_content").unwrap_or_default();
        if let Some(data) = sealed.strip_prefix(SEALED) {
            self.add(Role::Assistant, Part::RedactedReasoning(data.to_owned()));
            return;
        }
        let signature = sealed.strip_prefix(SIGNED).map(str::to_owned);
        if signature.is_none() && !sealed.is_empty() {
            self.lose(
                &fields::sub(path, "encrypted_content"),
                "reasoning that only its own provider can read",
            );
        }
        if !text.is_empty() || signature.is_some() {
            self.add(Role::Assistant, Part::Reasoning { text, signature });
        }
    }
}

fn decode_tool(tool: Value<'_, '_>, path: &str) -> Result<Tool, Invalid> {
    let kind = fields::member(tool, "type").unwrap_or_default();
    if kind != "function" {
        let message =
            format!("a tool of type '{kind}' is OpenAI's own and not translated for this model's provider");
        return Err(Invalid::unsupported(path, message));
    }
    let Some(name) = fields::member(tool, "name").filter(|name| !name.is_empty()) else {
        return Err(Invalid::missing(fields::sub(path, "name")));
    };
    let parameters = tool.get("parameters").filter(|schema| !schema.is_null());
    if parameters.is_some_and(|schema| schema.kind() != Kind::Object) {
        return Err(Invalid::value(
            fields::sub(path, "parameters"),
            "parameters must be a JSON Schema object",
        ));
    }
    Ok(Tool {
        name,
        description: fields::member(tool, "description"),
        parameters: parameters.map(fields::raw),
        strict: tool.get("strict").and_then(Value::as_bool),
        cache: None,
    })
}

fn tool_choice(value: Value<'_, '_>) -> Result<ToolChoice, Invalid> {
    let named = || {
        fields::member(value, "name").filter(|_| value.get("type").is_some_and(|it| it.is_str("function")))
    };
    Ok(by_name!(value.as_str().as_deref() => {
        "auto" => ToolChoice::Auto,
        "none" => ToolChoice::None,
        "required" => ToolChoice::Required,
        _ => match named() {
            Some(name) => ToolChoice::Named(name),
            None => {
                return Err(Invalid::unsupported(
                    "tool_choice",
                    "'tool_choice' must be none, auto, required or a function for this model's provider",
                ));
            }
        },
    }))
}

fn format(value: Option<Value<'_, '_>>) -> Result<ResponseFormat, Invalid> {
    let Some(format) = value.filter(|format| !format.is_null()) else { return Ok(ResponseFormat::Text) };
    by_name!(fields::member(format, "type").as_deref() => {
        "text" => Ok(ResponseFormat::Text),
        "json_object" => Ok(ResponseFormat::JsonObject),
        "json_schema" => {
            let Some(schema) = format.get("schema").filter(|schema| schema.kind() == Kind::Object) else {
                return Err(Invalid::missing("text.format.schema"));
            };
            Ok(ResponseFormat::JsonSchema {
                name: fields::member(format, "name"),
                description: fields::member(format, "description"),
                schema: fields::raw(schema),
                strict: format.get("strict").and_then(Value::as_bool),
            })
        },
        _ => Err(Invalid::value("text.format.type", "must be text, json_object or json_schema")),
    })
}
