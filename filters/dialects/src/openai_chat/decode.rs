//! A request into the hub, for providers of another dialect. What no other dialect knows is a loss; what is wrong in
//! itself is refused with the field's name, as OpenAI would. Whether the *target* can carry a thing is the target's
//! business.

use weir_wire::json::{Doc, Kind, Value};

use super::fields::{self, lose, lose_in};
use super::request;
use crate::hub::{Chat, Invalid, Loss, Message, Part, Role, ToolCall, ToolResult};
use crate::media;

const UNKNOWN: &str = "a field that is not translated";

/// Reads a request. Losses name what was left behind.
pub fn decode(doc: &Doc<'_>) -> Result<(Chat, Vec<Loss>), Invalid> {
    let mut chat = request::read(doc)?.chat();
    let mut losses = Vec::new();
    // Which of two ceilings counts is told below.
    chat.max_output = None;
    members(doc.root(), &mut chat, &mut losses)?;
    Ok((chat, losses))
}

fn members(root: Value<'_, '_>, chat: &mut Chat, losses: &mut Vec<Loss>) -> Result<(), Invalid> {
    let mut max_tokens = None;
    for (key, value) in root.members() {
        if value.is_null() {
            continue;
        }
        let key = &*key.as_str();
        by_name!(key => {
            "model" | "stream" => {},
            "messages" => {
                let messages = &mut chat.messages;
                fields::each(value, key, &mut |one, path| decode_message(one, path, messages, losses))?;
            },
            "stream_options" => {
                for (option, value) in value.members() {
                    // Weir's own translation pads nothing, so not being padded is no loss.
                    let known = option.is("include_usage") || option.is("include_obfuscation");
                    if !known && !value.is_null() {
                        lose_in(losses, key, &option.as_str(), UNKNOWN);
                    }
                }
            },
            "max_tokens" => max_tokens = fields::count(value, key)?,
            "temperature" | "top_p" | "top_k" | "frequency_penalty" | "presence_penalty" | "n" | "logprobs"
            | "max_completion_tokens" | "parallel_tool_calls" | "reasoning_effort" | "service_tier"
            | "user" => fields::setting(key, value, chat)?,
            "seed" => chat.seed = value.as_i64(),
            "stop" => chat.stop = stops(value)?,
            "top_logprobs" => chat.logprobs |= fields::count(value, key)?.is_some_and(|top| top > 0),
            "tools" => {
                let tools = &mut chat.tools;
                tools.clear();
                fields::each(value, key, &mut |tool, path| {
                    let Some(function) = fields::object(tool, "function") else {
                        return Err(Invalid::unsupported(
                            path,
                            "only function tools are translated for this model's provider",
                        ));
                    };
                    let cache = fields::cache_control(tool).or_else(|| fields::cache_control(function));
                    fields::function(function, &fields::sub(path, "function"), cache, tools)
                })?;
            },
            "tool_choice" => {
                let named = value.get("function").and_then(|function| fields::member(function, "name"));
                chat.tool_choice = fields::choice(value, named);
                if chat.tool_choice.is_none() {
                    return Err(Invalid::value(
                        key,
                        "'tool_choice' must be none, auto, required or the name of a function",
                    ));
                }
            },
            "response_format" => {
                let holder = value.get("json_schema").unwrap_or(value);
                let at = ["response_format.type", "response_format.json_schema.schema"];
                fields::format(value, holder, at, chat)?;
            },
            "thinking" if value.kind() == Kind::Object => chat.thinking = Some(fields::raw(value)),
            "metadata" => {
                for (label, value) in value.members() {
                    let label = label.as_str();
                    match fields::owned(value) {
                        Some(value) => chat.metadata.push((label.into_owned(), value)),
                        None => lose_in(losses, key, &label, "a label that is not a string"),
                    }
                }
            },
            "modalities" => {
                if value.items().any(|modality| !modality.is_str("text")) {
                    lose(losses, key, "only text is answered");
                }
            },
            "functions" | "function_call" => {
                let superseded = "' was superseded by tools and is not translated for this model's provider";
                return Err(Invalid::unsupported(key, &["'", key, superseded].concat()));
            },
            _ => lose(losses, key, UNKNOWN),
        })
    }
    chat.max_output = chat.max_output.or(max_tokens);
    Ok(())
}

fn stops(value: Value<'_, '_>) -> Result<Vec<String>, Invalid> {
    if let Some(one) = fields::owned(value) {
        return Ok(vec![one]);
    }
    let stops = fields::strings(value);
    if value.kind() != Kind::Array || stops.len() != value.len() {
        return Err(Invalid::value("stop", "'stop' must be a string or an array of strings"));
    }
    Ok(stops)
}

fn decode_message(
    message: Value<'_, '_>,
    path: &str,
    messages: &mut Vec<Message>,
    losses: &mut Vec<Loss>,
) -> Result<(), Invalid> {
    let Some(role) = fields::role(message) else {
        let at = fields::sub(path, "role");
        return Err(if fields::is(message, "role", "function") {
            let why =
                "role 'function' was superseded by 'tool' and is not translated for this model's provider";
            Invalid::unsupported(&at, why)
        } else {
            Invalid::value(&at, "a message's role must be system, developer, user, assistant or tool")
        });
    };
    for (key, value) in message.members() {
        let known = by_name!(key => {
            "role" | "content" | "name" => true,
            "tool_call_id" | "is_error" => role == Role::Tool,
            "tool_calls" | "refusal" | "reasoning" | "reasoning_content" | "thinking_blocks" =>
                role == Role::Assistant,
            _ => false,
        });
        if !known && !fields::is_nothing(value) {
            lose_in(losses, path, &key.as_str(), UNKNOWN);
        }
    }
    let mut parts = Vec::new();
    if role == Role::Assistant {
        reasoning(message, &mut parts);
    }
    if let Some(said) = fields::some(message, "content") {
        content(said, &fields::sub(path, "content"), &mut parts, losses)?;
    }
    match role {
        Role::Assistant => {
            parts.extend(fields::said(message, "refusal").map(Part::Refusal));
            if let Some(calls) = message.get("tool_calls") {
                fields::each(calls, &fields::sub(path, "tool_calls"), &mut |call, path| {
                    tool_call(call, path, &mut parts)
                })?;
            }
        }
        Role::Tool => {
            let id = fields::filled(message, "tool_call_id", path)?;
            let error = fields::truth(message, "is_error") == Some(true);
            // A cache point stands behind the result, not in it.
            let point = parts.pop_if(|last| matches!(last, Part::CachePoint { .. }));
            let result = ToolResult { id, parts: std::mem::take(&mut parts), error };
            parts.push(Part::ToolResult(result));
            parts.extend(point);
        }
        Role::System | Role::Developer | Role::User => {}
    }
    messages.push(Message { role, name: fields::member(message, "name"), parts });
    Ok(())
}

/// An assistant's reasoning: signed blocks where it has them, else its bare text.
pub(super) fn reasoning(message: Value<'_, '_>, parts: &mut Vec<Part>) {
    let bare = fields::member(message, "reasoning_content").or_else(|| fields::member(message, "reasoning"));
    let bare = bare.unwrap_or_default();
    // A client that put a stream together has pieces: texts without a signature, then the signature alone.
    let streamed = message.list("thinking_blocks").all(|block| fields::said(block, "thinking").is_none());
    let mut open = if streamed { bare } else { String::new() };
    for block in message.list("thinking_blocks") {
        if let Some(data) = fields::member(block, "data") {
            flush(&mut open, None, parts);
            parts.push(Part::RedactedReasoning(data));
            continue;
        }
        open.push_str(&fields::or_empty(block, "thinking"));
        if let Some(signature) = fields::said(block, "signature") {
            flush(&mut open, Some(signature), parts);
        }
    }
    flush(&mut open, None, parts);
}

#[inline(never)]
fn flush(open: &mut String, signature: Option<String>, parts: &mut Vec<Part>) {
    if !open.is_empty() || signature.is_some() {
        parts.push(Part::Reasoning { text: std::mem::take(open), signature });
    }
}

fn content(
    content: Value<'_, '_>,
    path: &str,
    parts: &mut Vec<Part>,
    losses: &mut Vec<Loss>,
) -> Result<(), Invalid> {
    if let Some(text) = fields::owned(content) {
        parts.push(Part::Text(text));
    } else if content.kind() != Kind::Array {
        return Err(Invalid::value(path, "content must be a string or an array of parts"));
    }
    fields::each(content, path, &mut |part, path| {
        decode_part(part, path, parts, losses)?;
        parts.extend(fields::cache_control(part).map(|ttl| Part::CachePoint { ttl }));
        Ok(())
    })
}

#[inline(never)]
pub(crate) fn decode_part(
    part: Value<'_, '_>,
    path: &str,
    parts: &mut Vec<Part>,
    losses: &mut Vec<Loss>,
) -> Result<(), Invalid> {
    if let Some(text) = fields::owned(part) {
        parts.push(Part::Text(text));
        return Ok(());
    }
    parts.push(by_name!(part.get("type") => {
        "text" | "input_text" | "output_text" => Part::Text(fields::needed(part, "text", path)?),
        "refusal" => Part::Refusal(fields::needed(part, "refusal", path)?),
        // What is flat in Responses is nested in chats.
        "image_url" | "input_image" => picture(part, "image_url", path, losses)?,
        "video_url" => picture(part, "video_url", path, losses)?,
        "input_audio" => {
            let path = fields::sub(path, "input_audio");
            let audio = part.get("input_audio").ok_or_else(|| fields::missing(&path, "format"))?;
            let format = fields::needed(audio, "format", &path)?;
            Part::Audio { format, data: media::base64_of(audio, "data", &fields::sub(&path, "data"))? }
        },
        "file" | "input_file" => {
            let file = part.get("file").unwrap_or(part);
            let path = fields::sub(path, "file");
            let Some(data) = fields::member(file, "file_data") else {
                let why = "a file must be sent as base64 in 'file_data': ids of uploaded files are known only to OpenAI";
                return Err(Invalid::unsupported(&path, why));
            };
            let name = fields::member(file, "filename");
            let media = if media::is_data_uri(&data) {
                media::data_uri(&data)
            } else {
                media::clean_base64(&data)
                    .map(|data| media::DataUri { media_type: "application/octet-stream".to_owned(), data })
            };
            let Some(media) = media else {
                return Err(media::not_base64(&fields::sub(&path, "file_data")));
            };
            Part::Document { media_type: media.media_type, name, data: media.data.into_owned() }
        },
        _ => {
            let kind = fields::or_empty(part, "type");
            let message =
                ["content of type '", &kind, "' is not translated for this model's provider"].concat();
            return Err(Invalid::unsupported(path, &message));
        },
    }));
    Ok(())
}

/// An image or a film, by its address or in a `data:` URI.
fn picture(part: Value<'_, '_>, kind: &str, path: &str, losses: &mut Vec<Loss>) -> Result<Part, Invalid> {
    let image = kind == "image_url";
    let holder = part.get(kind).unwrap_or(part);
    let path = fields::sub(path, kind);
    let detail = holder.get("detail").or(part.get("detail"));
    if detail.is_some_and(|detail| !detail.is_str("auto") && !detail.is_null()) {
        lose_in(losses, &path, "detail", "only OpenAI has levels of detail");
    }
    let url = fields::member(holder, "url").or_else(|| fields::owned(holder));
    let url = url.ok_or_else(|| fields::missing(&path, "url"))?;
    if !media::is_data_uri(&url) {
        return if image {
            Ok(Part::ImageUrl { url })
        } else {
            Err(Invalid::unsupported(&path, "a video must be sent as a base64 data: URI"))
        };
    }
    let Some(uri) = media::data_uri(&url) else {
        return Err(Invalid::value(&path, "the data: URI is not valid base64"));
    };
    let (media_type, data) = (uri.media_type, uri.data.into_owned());
    Ok(if image { Part::Image { media_type, data } } else { Part::Video { media_type, data } })
}

fn tool_call(call: Value<'_, '_>, path: &str, parts: &mut Vec<Part>) -> Result<(), Invalid> {
    let Some(function) = call.get("function") else {
        return Err(Invalid::unsupported(
            path,
            "only function calls are translated for this model's provider",
        ));
    };
    let id = fields::filled(call, "id", path)?;
    let name = fields::filled(function, "name", &fields::sub(path, "function"))?;
    parts.push(Part::ToolCall(ToolCall { id, name, arguments: fields::or_empty(function, "arguments") }));
    Ok(())
}
