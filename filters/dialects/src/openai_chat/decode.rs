//! A request into the hub, for providers of another dialect. What no other dialect knows is a loss; what is wrong in
//! itself is refused with the field's name, as OpenAI would. Whether the *target* can carry a thing is the target's
//! business.

use weir_wire::json::{Doc, Kind, Value};

use super::fields;
use super::request;
use crate::hub::{
    Chat, Invalid, Loss, Message, Part, ResponseFormat, Role, Tool, ToolCall, ToolChoice, ToolResult,
};
use crate::media;

const UNKNOWN: &str = "a field that is not translated";

/// Reads a request. Losses name what was left behind.
pub fn decode(doc: &Doc<'_>) -> Result<(Chat, Vec<Loss>), Invalid> {
    let facts = request::read(doc)?;
    let mut chat = Chat {
        model: facts.model_name.clone().into_owned(),
        stream: facts.stream,
        include_usage: facts.include_usage,
        ..Chat::default()
    };
    let mut losses = Vec::new();
    let mut max_tokens = None;
    for (key, value) in doc.root().members() {
        if value.is_null() {
            continue;
        }
        let key = key.as_str();
        by_name!(key.as_ref() => {
            "model" | "stream" => {},
            "messages" => {
                for (at, message) in value.items().enumerate() {
                    chat.messages.push(decode_message(message, &format!("messages[{at}]"), &mut losses)?);
                }
            },
            "stream_options" => {
                for (option, value) in value.members() {
                    // Weir's own translation pads nothing, so not being padded is no loss.
                    let known = option.is("include_usage") || option.is("include_obfuscation");
                    if !known && !value.is_null() {
                        lose(&mut losses, format!("stream_options.{}", option.as_str()), UNKNOWN);
                    }
                }
            },
            "max_completion_tokens" => chat.max_output = fields::count(value, "max_completion_tokens")?,
            "max_tokens" => max_tokens = fields::count(value, "max_tokens")?,
            "temperature" => chat.temperature = fields::number(value, "temperature")?,
            "top_p" => chat.top_p = fields::number(value, "top_p")?,
            "top_k" => chat.top_k = fields::count(value, "top_k")?,
            "frequency_penalty" => chat.frequency_penalty = fields::number(value, "frequency_penalty")?,
            "presence_penalty" => chat.presence_penalty = fields::number(value, "presence_penalty")?,
            "seed" => chat.seed = value.as_i64(),
            "stop" => chat.stop = stops(value)?,
            "n" => chat.n = fields::count(value, "n")?,
            "logprobs" => chat.logprobs = fields::bool(value, "logprobs")?,
            "top_logprobs" => {
                chat.logprobs |= fields::count(value, "top_logprobs")?.is_some_and(|top| top > 0)
            },
            "tools" => chat.tools = tools(value)?,
            "tool_choice" => chat.tool_choice = tool_choice(value)?,
            "parallel_tool_calls" => {
                chat.parallel_tool_calls = Some(fields::bool(value, "parallel_tool_calls")?);
            },
            "response_format" => chat.response_format = response_format(value)?,
            "reasoning_effort" => chat.effort = fields::text(value, "reasoning_effort")?,
            "thinking" if value.kind() == Kind::Object => chat.thinking = Some(fields::raw(value)),
            "service_tier" => chat.service_tier = fields::text(value, "service_tier")?,
            "user" => chat.user = fields::text(value, "user")?,
            "metadata" => {
                for (key, value) in value.members() {
                    let key = key.as_str().into_owned();
                    match value.as_str() {
                        Some(value) => chat.metadata.push((key, value.into_owned())),
                        None => lose(&mut losses, format!("metadata.{key}"), "a label that is not a string"),
                    }
                }
            },
            "modalities" => {
                if value.items().any(|modality| !modality.is_str("text")) {
                    lose(&mut losses, "modalities".into(), "only text is answered");
                }
            },
            "functions" | "function_call" => {
                let message = format!(
                    "'{key}' was superseded by tools and is not translated for this model's provider"
                );
                return Err(Invalid::unsupported(key, message));
            },
            _ => lose(&mut losses, key.into_owned(), UNKNOWN),
        })
    }
    chat.max_output = chat.max_output.or(max_tokens);
    Ok((chat, losses))
}

fn lose(losses: &mut Vec<Loss>, path: String, reason: &'static str) {
    losses.push(Loss { path, reason });
}

fn stops(value: Value<'_, '_>) -> Result<Vec<String>, Invalid> {
    if let Some(one) = value.as_str() {
        return Ok(vec![one.into_owned()]);
    }
    let bad = || Invalid::value("stop", "'stop' must be a string or an array of strings");
    if value.kind() != Kind::Array {
        return Err(bad());
    }
    value.items().map(|one| one.as_str().map(|text| text.into_owned()).ok_or_else(bad)).collect()
}

fn decode_message(message: Value<'_, '_>, path: &str, losses: &mut Vec<Loss>) -> Result<Message, Invalid> {
    let role = message.get("role").and_then(|role| role.as_str());
    let role = by_name!(role.as_deref() => {
        "system" => Role::System,
        "developer" => Role::Developer,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "tool" => Role::Tool,
        "function" => {
            return Err(Invalid::unsupported(
                format!("{path}.role"),
                "role 'function' was superseded by 'tool' and is not translated for this model's provider",
            ));
        },
        _ => {
            return Err(Invalid::value(
                format!("{path}.role"),
                "a message's role must be system, developer, user, assistant or tool",
            ));
        },
    });
    for (key, value) in message.members() {
        let known = key.is("role")
            || key.is("content")
            || key.is("name")
            || role == Role::Tool && (key.is("tool_call_id") || key.is("is_error"))
            || role == Role::Assistant
                && (key.is("tool_calls")
                    || key.is("refusal")
                    || key.is("reasoning")
                    || key.is("reasoning_content")
                    || key.is("thinking_blocks"));
        let silent = value.is_null() || value.kind() == Kind::Array && value.is_empty();
        if !known && !silent {
            lose(losses, format!("{path}.{}", key.as_str()), UNKNOWN);
        }
    }
    let mut parts = Vec::new();
    if role == Role::Assistant {
        reasoning(message, &mut parts);
    }
    content(message.get("content"), path, &mut parts, losses)?;
    let name = fields::member(message, "name");
    match role {
        Role::Assistant => {
            if let Some(refusal) = fields::member(message, "refusal").filter(|text| !text.is_empty()) {
                parts.push(Part::Refusal(refusal));
            }
            if let Some(calls) = message.get("tool_calls") {
                for (at, call) in calls.items().enumerate() {
                    parts.push(Part::ToolCall(tool_call(call, &format!("{path}.tool_calls[{at}]"))?));
                }
            }
        }
        Role::Tool => {
            let Some(id) = fields::member(message, "tool_call_id").filter(|id| !id.is_empty()) else {
                return Err(Invalid::missing(format!("{path}.tool_call_id")));
            };
            let error = message.get("is_error").and_then(Value::as_bool) == Some(true);
            // A cache point stands behind the result, not in it.
            let point = match parts.last() {
                Some(Part::CachePoint { .. }) => parts.pop(),
                _ => None,
            };
            let result = ToolResult { id, parts: std::mem::take(&mut parts), error };
            parts.push(Part::ToolResult(result));
            parts.extend(point);
        }
        Role::System | Role::Developer | Role::User => {}
    }
    Ok(Message { role, name, parts })
}

/// An assistant's reasoning: signed blocks where it has them, else its bare text.
pub(super) fn reasoning(message: Value<'_, '_>, parts: &mut Vec<Part>) {
    let bare = fields::member(message, "reasoning_content").or_else(|| fields::member(message, "reasoning"));
    let bare = bare.filter(|text| !text.is_empty());
    let blocks = message.get("thinking_blocks").filter(|blocks| !blocks.is_empty());
    let Some(blocks) = blocks else {
        parts.extend(bare.map(|text| Part::Reasoning { text, signature: None }));
        return;
    };
    // A client that put a stream together has pieces: texts without a signature, then the signature alone.
    let mut open = String::new();
    let streamed =
        blocks.items().all(|block| fields::member(block, "thinking").is_none_or(|text| text.is_empty()));
    if streamed {
        open = bare.unwrap_or_default();
    }
    for block in blocks.items() {
        if let Some(data) = fields::member(block, "data") {
            flush(&mut open, None, parts);
            parts.push(Part::RedactedReasoning(data));
            continue;
        }
        open.push_str(&fields::member(block, "thinking").unwrap_or_default());
        if let Some(signature) = fields::member(block, "signature").filter(|it| !it.is_empty()) {
            flush(&mut open, Some(signature), parts);
        }
    }
    flush(&mut open, None, parts);
}

fn flush(open: &mut String, signature: Option<String>, parts: &mut Vec<Part>) {
    if !open.is_empty() || signature.is_some() {
        parts.push(Part::Reasoning { text: std::mem::take(open), signature });
    }
}

fn content(
    content: Option<Value<'_, '_>>,
    path: &str,
    parts: &mut Vec<Part>,
    losses: &mut Vec<Loss>,
) -> Result<(), Invalid> {
    let Some(content) = content.filter(|content| !content.is_null()) else { return Ok(()) };
    if let Some(text) = content.as_str() {
        parts.push(Part::Text(text.into_owned()));
        return Ok(());
    }
    if content.kind() != Kind::Array {
        return Err(Invalid::value(
            format!("{path}.content"),
            "content must be a string or an array of parts",
        ));
    }
    for (at, part) in content.items().enumerate() {
        let path = format!("{path}.content[{at}]");
        parts.push(decode_part(part, &path, losses)?);
        if let Some(ttl) = fields::cache_control(part) {
            parts.push(Part::CachePoint { ttl });
        }
    }
    Ok(())
}

pub(crate) fn decode_part(part: Value<'_, '_>, path: &str, losses: &mut Vec<Loss>) -> Result<Part, Invalid> {
    if let Some(text) = part.as_str() {
        return Ok(Part::Text(text.into_owned()));
    }
    let kind = fields::member(part, "type").unwrap_or_default();
    by_name!(kind.as_str() => {
        "text" | "input_text" | "output_text" => match fields::member(part, "text") {
            Some(text) => Ok(Part::Text(text)),
            None => Err(Invalid::missing(format!("{path}.text"))),
        },
        "refusal" => match fields::member(part, "refusal") {
            Some(text) => Ok(Part::Refusal(text)),
            None => Err(Invalid::missing(format!("{path}.refusal"))),
        },
        "image_url" | "video_url" | "input_image" => {
            // What is flat in Responses is nested in chats.
            let (kind, image) =
                (if kind == "video_url" { "video_url" } else { "image_url" }, kind != "video_url");
            let holder = part.get(kind).unwrap_or(part);
            let path = format!("{path}.{kind}");
            if holder
                .get("detail")
                .or(part.get("detail"))
                .is_some_and(|detail| !detail.is_str("auto") && !detail.is_null())
            {
                lose(losses, format!("{path}.detail"), "only OpenAI has levels of detail");
            }
            let Some(url) =
                fields::member(holder, "url").or_else(|| holder.as_str().map(|url| url.into_owned()))
            else {
                return Err(Invalid::missing(format!("{path}.url")));
            };
            if !media::is_data_uri(&url) {
                return if image {
                    Ok(Part::ImageUrl { url })
                } else {
                    Err(Invalid::unsupported(path, "a video must be sent as a base64 data: URI"))
                };
            }
            let Some(uri) = media::data_uri(&url) else {
                return Err(Invalid::value(path, "the data: URI is not valid base64"));
            };
            let (media_type, data) = (uri.media_type, uri.data.into_owned());
            Ok(if image { Part::Image { media_type, data } } else { Part::Video { media_type, data } })
        },
        "input_audio" => {
            let audio = part.get("input_audio");
            let text = |key: &str| audio.and_then(|audio| fields::member(audio, key));
            let data = text("data").as_deref().and_then(media::clean_base64).map(|data| data.into_owned());
            match (text("format"), data) {
                (Some(format), Some(data)) => Ok(Part::Audio { format, data }),
                (None, _) => Err(Invalid::missing(format!("{path}.input_audio.format"))),
                _ => Err(Invalid::value(format!("{path}.input_audio.data"), "the data is not valid base64")),
            }
        },
        "file" | "input_file" => {
            let file = part.get("file").unwrap_or(part);
            let text = |key: &str| fields::member(file, key);
            let Some(data) = text("file_data") else {
                return Err(Invalid::unsupported(
                    format!("{path}.file"),
                    "a file must be sent as base64 in 'file_data': ids of uploaded files are known only to OpenAI",
                ));
            };
            let name = text("filename");
            let bad = || Invalid::value(format!("{path}.file.file_data"), "the data is not valid base64");
            let (media_type, data) = if media::is_data_uri(&data) {
                let uri = media::data_uri(&data).ok_or_else(bad)?;
                (uri.media_type, uri.data.into_owned())
            } else {
                let data = media::clean_base64(&data).ok_or_else(bad)?;
                ("application/octet-stream".to_owned(), data.into_owned())
            };
            Ok(Part::Document { media_type, name, data })
        },
        _ => Err(Invalid::unsupported(
            path,
            format!("content of type '{kind}' is not translated for this model's provider"),
        )),
    })
}

fn tool_call(call: Value<'_, '_>, path: &str) -> Result<ToolCall, Invalid> {
    let Some(function) = call.get("function") else {
        return Err(Invalid::unsupported(
            path,
            "only function calls are translated for this model's provider",
        ));
    };
    let Some(id) = fields::member(call, "id").filter(|id| !id.is_empty()) else {
        return Err(Invalid::missing(format!("{path}.id")));
    };
    let Some(name) = fields::member(function, "name").filter(|name| !name.is_empty()) else {
        return Err(Invalid::missing(format!("{path}.function.name")));
    };
    Ok(ToolCall { id, name, arguments: fields::member(function, "arguments").unwrap_or_default() })
}

fn tools(value: Value<'_, '_>) -> Result<Vec<Tool>, Invalid> {
    let mut tools = Vec::with_capacity(value.len());
    for (at, tool) in value.items().enumerate() {
        let path = format!("tools[{at}]");
        let Some(function) = tool.get("function").filter(|function| function.kind() == Kind::Object) else {
            return Err(Invalid::unsupported(
                path,
                "only function tools are translated for this model's provider",
            ));
        };
        let Some(name) = fields::member(function, "name").filter(|name| !name.is_empty()) else {
            return Err(Invalid::missing(format!("{path}.function.name")));
        };
        let parameters = function.get("parameters").filter(|schema| !schema.is_null());
        if parameters.is_some_and(|schema| schema.kind() != Kind::Object) {
            return Err(Invalid::value(
                format!("{path}.function.parameters"),
                "parameters must be a JSON Schema object",
            ));
        }
        tools.push(Tool {
            name,
            description: fields::member(function, "description"),
            parameters: parameters.map(fields::raw),
            strict: function.get("strict").and_then(Value::as_bool),
            cache: fields::cache_control(tool).or_else(|| fields::cache_control(function)),
        });
    }
    Ok(tools)
}

fn tool_choice(value: Value<'_, '_>) -> Result<Option<ToolChoice>, Invalid> {
    let word = value.as_str();
    Ok(Some(by_name!(word.as_deref() => {
        "auto" => ToolChoice::Auto,
        "none" => ToolChoice::None,
        "required" => ToolChoice::Required,
        _ => match value.get("function").and_then(|function| fields::member(function, "name")) {
            Some(name) => ToolChoice::Named(name),
            None => {
                return Err(Invalid::value(
                    "tool_choice",
                    "'tool_choice' must be none, auto, required or the name of a function",
                ));
            }
        },
    })))
}

fn response_format(value: Value<'_, '_>) -> Result<ResponseFormat, Invalid> {
    let kind = value.get("type").and_then(|kind| kind.as_str());
    by_name!(kind.as_deref() => {
        "text" => Ok(ResponseFormat::Text),
        "json_object" => Ok(ResponseFormat::JsonObject),
        "json_schema" => {
            let holder = value.get("json_schema").unwrap_or(value);
            let Some(schema) = holder.get("schema").filter(|schema| schema.kind() == Kind::Object) else {
                return Err(Invalid::missing("response_format.json_schema.schema"));
            };
            Ok(ResponseFormat::JsonSchema {
                name: fields::member(holder, "name"),
                description: fields::member(holder, "description"),
                schema: fields::raw(schema),
                strict: holder.get("strict").and_then(Value::as_bool),
            })
        },
        _ => Err(Invalid::value("response_format.type", "must be text, json_object or json_schema")),
    })
}
