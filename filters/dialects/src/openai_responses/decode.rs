//! A Responses request into the hub, for providers of another dialect. Those keep nothing between requests and run no
//! tools of OpenAI's: what asks for that is refused by name. What else no other dialect knows is a loss.

use weir_wire::json::{Doc, Kind, Value};

use super::stream_write::{SEALED, SIGNED};
use crate::hub::{Chat, Invalid, Loss, Message, Part, ResponseFormat, Role, ToolCall, ToolResult};
use crate::openai_chat::decode_part;
use crate::openai_chat::fields::{self, lose, lose_in};

/// Reads a request. Losses name what was left behind.
pub fn decode(doc: &Doc<'_>) -> Result<(Chat, Vec<Loss>), Invalid> {
    let mut chat = super::read(doc)?.chat();
    let mut decoder = Decoder { losses: Vec::new(), messages: Vec::new() };
    decoder.members(doc.root(), &mut chat)?;
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
    fn members(&mut self, root: Value<'_, '_>, chat: &mut Chat) -> Result<(), Invalid> {
        if let Some(text) = fields::member(root, "instructions") {
            self.add(Role::System, vec![Part::Text(text)]);
        }
        for (key, value) in root.members() {
            if value.is_null() {
                continue;
            }
            let key = &*key.as_str();
            by_name!(key => {
                "model" | "stream" | "max_output_tokens" | "background" | "stream_options" => {},
                "instructions" if value.kind() == Kind::String => {},
                "input" => {
                    if let Some(text) = fields::owned(value) {
                        self.add(Role::User, vec![Part::Text(text)]);
                    }
                    fields::each(value, key, &mut |item, path| self.item(item, path))?;
                },
                "temperature" | "top_p" | "parallel_tool_calls" | "service_tier" | "user" =>
                    fields::setting(key, value, chat)?,
                "top_logprobs" => chat.logprobs = fields::count(value, key)?.is_some_and(|top| top > 0),
                "tools" => fields::each(value, key, &mut |tool, path| decode_tool(tool, path, chat))?,
                "tool_choice" => {
                    let named = fields::member(value, "name").filter(|_| fields::is(value, "type", "function"));
                    chat.tool_choice = fields::choice(value, named);
                    if chat.tool_choice.is_none() {
                        return Err(Invalid::unsupported(
                            key,
                            "'tool_choice' must be none, auto, required or a function for this model's provider",
                        ));
                    }
                },
                "text" => {
                    if fields::some(value, "verbosity").is_some_and(|it| !it.is_str("medium")) {
                        lose_in(&mut self.losses, key, "verbosity", OWN);
                    }
                    match fields::some(value, "format") {
                        Some(format) => {
                            let at = ["text.format.type", "text.format.schema"];
                            fields::format(format, format, at, chat)?;
                        }
                        None => chat.response_format = ResponseFormat::Text,
                    }
                },
                "reasoning" => {
                    for (setting, value) in value.members().filter(|(_, value)| !value.is_null()) {
                        by_name!(setting => {
                            "effort" => fields::text(value, "reasoning.effort", &mut chat.effort)?,
                            "summary" | "generate_summary" => {},
                            _ => lose_in(&mut self.losses, key, &setting.as_str(), OWN),
                        })
                    }
                },
                "metadata" => {
                    for (label, value) in value.members() {
                        chat.metadata.extend(fields::owned(value).map(|value| (label.as_str().into_owned(), value)));
                    }
                },
                "previous_response_id" | "conversation" | "prompt" => {
                    let why = "' names what only OpenAI keeps, and this model's provider keeps nothing: send the whole conversation as 'input'";
                    return Err(Invalid::unsupported(key, &["'", key, why].concat()));
                },
                "store" => {
                    if fields::bool(value, key)? {
                        let why = "nothing is kept: the next request must bring the whole conversation";
                        lose(&mut self.losses, key, why);
                    }
                },
                "include" => fields::each(value, key, &mut |one, path| {
                    if !one.is_str("reasoning.encrypted_content") {
                        lose(&mut self.losses, path, OWN);
                    }
                    Ok(())
                })?,
                "truncation" if value.is_str("disabled") => {},
                _ => lose(&mut self.losses, key, OWN),
            })
        }
        Ok(())
    }

    /// Items of the model's one turn stand apart here and together elsewhere.
    fn add(&mut self, role: Role, mut parts: Vec<Part>) {
        match self.messages.last_mut().filter(|last| role == Role::Assistant && last.role == role) {
            Some(last) => last.parts.append(&mut parts),
            None => self.messages.push(Message { role, name: None, parts }),
        }
    }

    fn item(&mut self, item: Value<'_, '_>, path: &str) -> Result<(), Invalid> {
        let kind = fields::member(item, "type");
        let kind = kind.as_deref().unwrap_or("message");
        let mut parts = Vec::new();
        let role = by_name!(kind => {
            "message" => {
                let Some(role) = fields::role(item).filter(|role| *role != Role::Tool) else {
                    let why = "a message's role must be user, assistant, system or developer";
                    return Err(Invalid::value(&fields::sub(path, "role"), why));
                };
                self.content(item.get("content"), &fields::sub(path, "content"), &mut parts)?;
                role
            },
            "function_call" => {
                parts.push(Part::ToolCall(ToolCall {
                    id: fields::filled(item, "call_id", path)?,
                    name: fields::filled(item, "name", path)?,
                    arguments: fields::or_empty(item, "arguments"),
                }));
                Role::Assistant
            },
            "function_call_output" => {
                let id = fields::filled(item, "call_id", path)?;
                let mut inner = Vec::new();
                self.content(item.get("output"), &fields::sub(path, "output"), &mut inner)?;
                parts.push(Part::ToolResult(ToolResult { id, parts: inner, error: false }));
                Role::Tool
            },
            "reasoning" => return self.reasoning(item, path),
            _ => {
                let message = by_name!(kind => {
                    "item_reference" | "compaction" => [
                        "an item of type '",
                        kind,
                        "' stands for what only OpenAI has, and this model's provider keeps nothing: send the item itself",
                    ],
                    _ => ["an item of type '", kind, "' is not translated for this model's provider"],
                });
                return Err(Invalid::unsupported(path, &message.concat()));
            },
        });
        self.add(role, parts);
        Ok(())
    }

    fn content(
        &mut self,
        content: Option<Value<'_, '_>>,
        path: &str,
        parts: &mut Vec<Part>,
    ) -> Result<(), Invalid> {
        let Some(content) = content else { return Err(Invalid::missing(path)) };
        if let Some(text) = fields::owned(content) {
            parts.push(Part::Text(text));
        } else if content.kind() != Kind::Array {
            return Err(Invalid::value(path, "must be a string or an array of parts"));
        }
        let losses = &mut self.losses;
        fields::each(content, path, &mut |part, path| {
            if part.get("annotations").is_some_and(|annotations| !annotations.is_empty()) {
                lose_in(losses, path, "annotations", "citations of an earlier answer");
            }
            for (key, _) in part.members().filter(|(_, value)| !value.is_null()) {
                if !KNOWN.iter().any(|known| key.is(known)) {
                    lose_in(losses, path, &key.as_str(), OWN);
                }
            }
            for key in ["file_id", "file_url"] {
                if fields::some(part, key).is_some() {
                    return Err(Invalid::unsupported(
                        &fields::sub(path, key),
                        "what only OpenAI can fetch is not translated for this model's provider: send it as a base64 data: URI",
                    ));
                }
            }
            decode_part(part, path, parts, losses)
        })
    }

    fn reasoning(&mut self, item: Value<'_, '_>, path: &str) -> Result<(), Invalid> {
        let of = |key: &str| {
            let mut text = String::new();
            for (at, part) in item.list(key).filter_map(|part| fields::member(part, "text")).enumerate() {
                text.push_str(if at > 0 { "\n" } else { "" });
                text.push_str(&part);
            }
            text
        };
        let content = of("content");
        let text = if content.is_empty() { of("summary") } else { content };
        let sealed = fields::or_empty(item, "encrypted_content");
        if let Some(data) = sealed.strip_prefix(SEALED) {
            self.add(Role::Assistant, vec![Part::RedactedReasoning(data.to_owned())]);
            return Ok(());
        }
        let signature = sealed.strip_prefix(SIGNED).map(str::to_owned);
        if signature.is_none() && !sealed.is_empty() {
            let why = "reasoning that only its own provider can read";
            lose_in(&mut self.losses, path, "encrypted_content", why);
        }
        if !text.is_empty() || signature.is_some() {
            self.add(Role::Assistant, vec![Part::Reasoning { text, signature }]);
        }
        Ok(())
    }
}

fn decode_tool(tool: Value<'_, '_>, path: &str, chat: &mut Chat) -> Result<(), Invalid> {
    if !fields::is(tool, "type", "function") {
        let kind = fields::or_empty(tool, "type");
        let own = "' is OpenAI's own and not translated for this model's provider";
        return Err(Invalid::unsupported(path, &["a tool of type '", &kind, own].concat()));
    }
    fields::function(tool, path, None, &mut chat.tools)
}
