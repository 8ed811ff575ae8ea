//! A hub chat as a chat-completions request, for OpenAI-compatible providers behind clients of other dialects.

use weir_wire::json::Writer;

use super::answer::{write_thinking_blocks, write_tool_call};
use super::fields;
use crate::hub::{Chat, Loss, Message, Part, ResponseFormat, Role, Tool, ToolCall, ToolChoice, ToolResult};
use crate::media;
use crate::write;

/// Writes the request body. `extended` allows the members that OpenAI itself does not know (`thinking_blocks`,
/// `reasoning_content`, `cache_control`, `is_error`, `thinking`, `top_k`, `video_url`); without it they are losses,
/// because OpenAI refuses what it does not know.
pub fn encode(chat: &Chat, extended: bool) -> (Vec<u8>, Vec<Loss>) {
    let mut encoder = Encoder::new(extended);
    encoder.chat(chat);
    (encoder.out.into_inner(), encoder.losses)
}

/// Tools alone, as they stand in a request.
pub(super) fn encode_tools(tools: &[Tool]) -> Vec<u8> {
    let mut encoder = Encoder::new(true);
    encoder.tools(tools);
    encoder.out.into_inner()
}

/// A message's parts by where they stand here.
pub(super) struct Apart<'m> {
    /// In its content.
    pub said: Vec<&'m Part>,
    pub calls: Vec<&'m ToolCall>,
    /// Each with a cache point behind it.
    pub results: Vec<(&'m ToolResult, Option<&'m Part>)>,
    /// Beside the messages of its results there is one of its own.
    pub whole: bool,
}

impl<'m> Apart<'m> {
    pub fn of(message: &'m Message) -> Self {
        let said = Vec::with_capacity(message.parts.len());
        let mut out = Apart { said, calls: Vec::new(), results: Vec::new(), whole: message.parts.is_empty() };
        let mut parts = message.parts.iter().peekable();
        while let Some(part) = parts.next() {
            out.whole |= !matches!(part, Part::ToolResult(_));
            match part {
                Part::ToolResult(result) => {
                    let point = parts.next_if(|next| matches!(next, Part::CachePoint { .. }));
                    out.results.push((result, point));
                }
                Part::ToolCall(call) => out.calls.push(call),
                Part::Reasoning { .. } | Part::RedactedReasoning(_) => {}
                _ => out.said.push(part),
            }
        }
        out
    }
}

struct Encoder {
    out: Writer,
    losses: Vec<Loss>,
    extended: bool,
}

impl Encoder {
    fn new(extended: bool) -> Self {
        Encoder { out: Writer::new(Vec::with_capacity(1024)), losses: Vec::new(), extended }
    }

    #[inline(never)]
    fn lose(&mut self, path: &str, reason: &'static str) {
        fields::lose(&mut self.losses, path, reason);
    }

    fn chat(&mut self, chat: &Chat) {
        self.out.fill(r#"{"model":?,"messages":["#, &[&chat.model]);
        for (at, message) in chat.messages.iter().enumerate() {
            self.message(message, &fields::item("messages", at));
        }
        self.out.end_array();
        if !chat.tools.is_empty() {
            self.out.key("tools");
            self.tools(&chat.tools);
        }
        let word = match &chat.tool_choice {
            None => None,
            Some(ToolChoice::Named(name)) => {
                self.out.fill(r#""tool_choice":{"type":"function","function":{"name":?}}"#, &[name]);
                None
            }
            Some(ToolChoice::Auto) => Some("auto"),
            Some(ToolChoice::None) => Some("none"),
            Some(ToolChoice::Required) => Some("required"),
        };
        write::text(&mut self.out, "tool_choice", word);
        self.settings(chat);
        self.out.end_object();
    }

    fn tools(&mut self, tools: &[Tool]) {
        self.out.begin_array();
        for (at, tool) in tools.iter().enumerate() {
            let out = self.out.fill(r#"{"type":"function","function":{"name":?"#, &[&tool.name]);
            write::text(out, "description", tool.description.as_deref());
            write::raw(out, "parameters", tool.parameters.as_deref());
            write::truth(out, "strict", tool.strict);
            out.end_object();
            if let Some(ttl) = &tool.cache {
                self.cache_control(ttl.as_deref(), &fields::item("tools", at));
            }
            self.out.end_object();
        }
        self.out.end_array();
    }

    fn settings(&mut self, chat: &Chat) {
        let out = &mut self.out;
        write::truth(out, "parallel_tool_calls", chat.parallel_tool_calls);
        write::count(out, "max_completion_tokens", chat.max_output);
        for (key, number) in [
            ("temperature", &chat.temperature),
            ("top_p", &chat.top_p),
            ("frequency_penalty", &chat.frequency_penalty),
            ("presence_penalty", &chat.presence_penalty),
        ] {
            write::raw(out, key, number.as_ref().map(|number| number.text.as_str()));
        }
        if let Some(seed) = chat.seed {
            out.key("seed").i64(seed);
        }
        write::texts(out, "stop", &chat.stop, |_| true);
        write::count(out, "n", chat.n);
        write::truth(out, "logprobs", chat.logprobs.then_some(true));
        for (key, text) in
            [("reasoning_effort", &chat.effort), ("service_tier", &chat.service_tier), ("user", &chat.user)]
        {
            write::text(out, key, text.as_deref());
        }
        match &chat.response_format {
            ResponseFormat::Text => {}
            ResponseFormat::JsonObject => _ = out.fill(r#""response_format":{"type":"json_object"}"#, &[]),
            ResponseFormat::JsonSchema { name, description, schema, strict } => {
                // OpenAI demands a name.
                let name = name.as_deref().unwrap_or("answer");
                let piece = r#""response_format":{"type":"json_schema","json_schema":{"name":?"#;
                out.fill(piece, &[name]);
                write::text(out, "description", description.as_deref());
                write::truth(out, "strict", *strict);
                write::raw(out, "schema", Some(schema));
                out.fill("}}", &[]);
            }
        }
        if !chat.metadata.is_empty() {
            out.key("metadata").begin_object();
            for (key, value) in &chat.metadata {
                out.member(key, value);
            }
            out.end_object();
        }
        if self.extended {
            write::count(out, "top_k", chat.top_k);
            write::raw(out, "thinking", chat.thinking.as_deref());
        }
        if chat.stream {
            write::truth(out, "stream", Some(true));
            if chat.include_usage {
                out.fill(r#""stream_options":{"include_usage":true}"#, &[]);
            }
        }
        if !self.extended {
            for (path, there) in [("top_k", chat.top_k.is_some()), ("thinking", chat.thinking.is_some())] {
                if there {
                    self.lose(path, "a setting that OpenAI does not have");
                }
            }
        }
    }

    /// One hub message is one message here, but that each tool result is a message of its own and comes first,
    /// because results must follow their calls at once.
    fn message(&mut self, message: &Message, path: &str) {
        let Apart { said, calls, results, whole } = Apart::of(message);
        for (result, point) in results {
            self.tool_result(result, point, path);
        }
        if !whole {
            return;
        }
        self.out.fill(r#"{"role":?"#, &[message.role.as_str()]);
        write::text(&mut self.out, "name", message.name.as_deref());
        self.reasoning(message, path);
        self.out.key("content");
        if said.is_empty() && message.role == Role::Assistant {
            self.out.null();
        } else {
            self.content(&said, path);
        }
        if !calls.is_empty() {
            self.out.key("tool_calls").begin_array();
            for call in calls {
                write_tool_call(&mut self.out, call);
            }
            self.out.end_array();
        }
        self.out.end_object();
    }

    fn reasoning(&mut self, message: &Message, path: &str) {
        let (mut signed, mut bare) = (false, None);
        for part in &message.parts {
            match part {
                Part::Reasoning { text, signature } => {
                    signed |= signature.is_some();
                    bare.get_or_insert_with(String::new).push_str(text);
                }
                Part::RedactedReasoning(_) => signed = true,
                _ => {}
            }
        }
        if !signed && bare.is_none() {
            return;
        }
        if !self.extended {
            self.lose(path, "reasoning of an earlier turn: OpenAI takes none");
        } else if signed {
            write_thinking_blocks(&mut self.out, &message.parts);
        } else {
            write::text(&mut self.out, "reasoning_content", bare.as_deref());
        }
    }

    fn tool_result(&mut self, result: &ToolResult, point: Option<&Part>, path: &str) {
        self.out.fill(r#"{"role":"tool","tool_call_id":?"#, &[&result.id]);
        if result.error {
            if self.extended {
                write::truth(&mut self.out, "is_error", Some(true));
            } else {
                self.lose(path, "that the tool failed: OpenAI has no field for it");
            }
        }
        self.out.key("content");
        let mut parts = Vec::with_capacity(result.parts.len() + 1);
        parts.extend(&result.parts);
        parts.extend(point);
        self.content(&parts, path);
        self.out.end_object();
    }

    /// A bare string where that says it all, else an array of parts.
    fn content(&mut self, parts: &[&Part], path: &str) {
        match parts {
            [] => _ = self.out.str(""),
            [Part::Text(text)] => _ = self.out.str(text),
            _ => {
                self.out.begin_array();
                let mut parts = parts.iter().peekable();
                while let Some(part) = parts.next() {
                    if let Part::CachePoint { .. } = part {
                        self.lose(path, "a cache point without content before it");
                        continue;
                    }
                    if !self.begin_part(part, path) {
                        continue;
                    }
                    if let Some(Part::CachePoint { ttl }) =
                        parts.next_if(|next| matches!(next, Part::CachePoint { .. }))
                    {
                        self.cache_control(ttl.as_deref(), path);
                    }
                    self.out.end_object();
                }
                self.out.end_array();
            }
        }
    }

    /// Opens a part's object and writes all of it but the closing brace; false where the part cannot be said.
    fn begin_part(&mut self, part: &Part, path: &str) -> bool {
        let data_uri = |media_type: &str, data: &str| ["data:", media_type, ";base64,", data].concat();
        let out = &mut self.out;
        match part {
            Part::Text(text) => _ = out.fill(r#"{"type":"text","text":?"#, &[text]),
            Part::Refusal(text) => _ = out.fill(r#"{"type":"refusal","refusal":?"#, &[text]),
            Part::Image { media_type, data } => {
                _ = out.fill(IMAGE, &[&data_uri(media_type, data)]);
            }
            Part::ImageUrl { url } => _ = out.fill(IMAGE, &[url]),
            Part::Video { media_type, data } if self.extended => {
                out.fill(r#"{"type":"video_url","video_url":{"url":?}"#, &[&data_uri(media_type, data)]);
            }
            Part::Audio { format, data } => {
                out.fill(r#"{"type":"input_audio","input_audio":{"data":?,"format":?}"#, &[data, format]);
            }
            Part::Document { media_type, name, data } => {
                let extension = media::document_format(media_type, None).unwrap_or("bin");
                let unnamed = ["document.", extension].concat();
                let name = name.as_deref().unwrap_or(&unnamed);
                let piece = r#"{"type":"file","file":{"filename":?,"file_data":?}"#;
                out.fill(piece, &[name, &data_uri(media_type, data)]);
            }
            _ => {
                self.lose(path, "content that a chat message cannot hold");
                return false;
            }
        }
        true
    }

    fn cache_control(&mut self, ttl: Option<&str>, path: &str) {
        if !self.extended {
            return self.lose(path, "a cache point: OpenAI caches by itself");
        }
        self.out.fill(r#""cache_control":{"type":"ephemeral""#, &[]);
        write::text(&mut self.out, "ttl", ttl);
        self.out.end_object();
    }
}

/// A picture, up to the closing brace.
const IMAGE: &str = r#"{"type":"image_url","image_url":{"url":?}"#;
