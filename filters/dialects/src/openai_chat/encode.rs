//! A hub chat as a chat-completions request, for OpenAI-compatible providers behind clients of other dialects.

use weir_wire::json::Writer;

use super::answer::{write_thinking_blocks, write_tool_call};
use crate::hub::{Chat, Loss, Message, Part, ResponseFormat, Role, ToolChoice, ToolResult};
use crate::media;

/// Writes the request body. `extended` allows the members that OpenAI itself does not know (`thinking_blocks`,
/// `reasoning_content`, `cache_control`, `is_error`, `thinking`, `top_k`, `video_url`); without it they are losses,
/// because OpenAI refuses what it does not know.
pub fn encode(chat: &Chat, extended: bool) -> (Vec<u8>, Vec<Loss>) {
    let mut encoder = Encoder { out: Writer::new(Vec::with_capacity(1024)), losses: Vec::new(), extended };
    encoder.chat(chat);
    (encoder.out.into_inner(), encoder.losses)
}

struct Encoder {
    out: Writer,
    losses: Vec<Loss>,
    extended: bool,
}

impl Encoder {
    fn lose(&mut self, path: String, reason: &'static str) {
        self.losses.push(Loss { path, reason });
    }

    fn chat(&mut self, chat: &Chat) {
        self.out.begin_object();
        self.out.member("model", &chat.model);
        self.out.key("messages").begin_array();
        for (at, message) in chat.messages.iter().enumerate() {
            self.message(message, &format!("messages[{at}]"));
        }
        self.out.end_array();
        if !chat.tools.is_empty() {
            self.out.key("tools").begin_array();
            for (at, tool) in chat.tools.iter().enumerate() {
                let out = self.out.begin_object();
                out.member("type", "function");
                out.key("function").begin_object();
                out.member("name", &tool.name);
                if let Some(description) = &tool.description {
                    out.member("description", description);
                }
                if let Some(parameters) = &tool.parameters {
                    out.key("parameters").raw(parameters.as_bytes());
                }
                if let Some(strict) = tool.strict {
                    out.key("strict").bool(strict);
                }
                out.end_object();
                if let Some(ttl) = &tool.cache {
                    self.cache_control(ttl.as_deref(), &format!("tools[{at}]"));
                }
                self.out.end_object();
            }
            self.out.end_array();
        }
        match &chat.tool_choice {
            None => {}
            Some(ToolChoice::Named(name)) => {
                let out = self.out.key("tool_choice").begin_object();
                out.member("type", "function");
                out.key("function").begin_object().member("name", name).end_object().end_object();
            }
            Some(ToolChoice::Auto) => _ = self.out.member("tool_choice", "auto"),
            Some(ToolChoice::None) => _ = self.out.member("tool_choice", "none"),
            Some(ToolChoice::Required) => _ = self.out.member("tool_choice", "required"),
        }
        self.settings(chat);
        self.out.end_object();
    }

    fn settings(&mut self, chat: &Chat) {
        let out = &mut self.out;
        if let Some(parallel) = chat.parallel_tool_calls {
            out.key("parallel_tool_calls").bool(parallel);
        }
        if let Some(most) = chat.max_output {
            out.key("max_completion_tokens").u64(most);
        }
        for (key, number) in [
            ("temperature", &chat.temperature),
            ("top_p", &chat.top_p),
            ("frequency_penalty", &chat.frequency_penalty),
            ("presence_penalty", &chat.presence_penalty),
        ] {
            if let Some(number) = number {
                out.key(key).raw(number.text.as_bytes());
            }
        }
        if let Some(seed) = chat.seed {
            out.key("seed").i64(seed);
        }
        if !chat.stop.is_empty() {
            out.key("stop").begin_array();
            chat.stop.iter().for_each(|stop| _ = out.str(stop));
            out.end_array();
        }
        if let Some(n) = chat.n {
            out.key("n").u64(n);
        }
        if chat.logprobs {
            out.key("logprobs").bool(true);
        }
        for (key, text) in
            [("reasoning_effort", &chat.effort), ("service_tier", &chat.service_tier), ("user", &chat.user)]
        {
            if let Some(text) = text {
                out.member(key, text);
            }
        }
        match &chat.response_format {
            ResponseFormat::Text => {}
            ResponseFormat::JsonObject => {
                out.key("response_format").begin_object().member("type", "json_object").end_object();
            }
            ResponseFormat::JsonSchema { name, description, schema, strict } => {
                out.key("response_format").begin_object().member("type", "json_schema");
                out.key("json_schema").begin_object();
                // OpenAI demands a name.
                out.member("name", name.as_deref().unwrap_or("answer"));
                if let Some(description) = description {
                    out.member("description", description);
                }
                if let Some(strict) = strict {
                    out.key("strict").bool(*strict);
                }
                out.key("schema").raw(schema.as_bytes());
                out.end_object().end_object();
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
            if let Some(top_k) = chat.top_k {
                out.key("top_k").u64(top_k);
            }
            if let Some(thinking) = &chat.thinking {
                out.key("thinking").raw(thinking.as_bytes());
            }
        }
        if chat.stream {
            out.key("stream").bool(true);
            if chat.include_usage {
                out.key("stream_options").begin_object().key("include_usage").bool(true).end_object();
            }
        }
        if !self.extended {
            for (path, there) in [("top_k", chat.top_k.is_some()), ("thinking", chat.thinking.is_some())] {
                if there {
                    self.lose(path.into(), "a setting that OpenAI does not have");
                }
            }
        }
    }

    /// One hub message is one message here, but that each tool result is a message of its own and comes first,
    /// because results must follow their calls at once.
    fn message(&mut self, message: &Message, path: &str) {
        let mut rest = Vec::with_capacity(message.parts.len());
        let mut parts = message.parts.iter().peekable();
        while let Some(part) = parts.next() {
            if let Part::ToolResult(result) = part {
                let point = parts.next_if(|next| matches!(next, Part::CachePoint { .. }));
                self.tool_result(result, point, path);
            } else {
                rest.push(part);
            }
        }
        if rest.is_empty() && message.parts.iter().any(|part| matches!(part, Part::ToolResult(_))) {
            return;
        }
        self.out.begin_object();
        self.out.member("role", message.role.as_str());
        if let Some(name) = &message.name {
            self.out.member("name", name);
        }
        let calls: Vec<_> = rest
            .iter()
            .filter_map(|part| match part {
                Part::ToolCall(call) => Some(call),
                _ => None,
            })
            .collect();
        self.reasoning(message, path);
        rest.retain(|part| {
            !matches!(part, Part::ToolCall(_) | Part::Reasoning { .. } | Part::RedactedReasoning(_))
        });
        self.out.key("content");
        if rest.is_empty() && message.role == Role::Assistant {
            self.out.null();
        } else {
            self.content(&rest, path);
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
        let signed = message.parts.iter().any(|part| {
            matches!(part, Part::Reasoning { signature: Some(_), .. } | Part::RedactedReasoning(_))
        });
        let bare = message.parts.iter().any(|part| matches!(part, Part::Reasoning { .. }));
        if !signed && !bare {
            return;
        }
        if !self.extended {
            self.lose(path.into(), "reasoning of an earlier turn: OpenAI takes none");
        } else if signed {
            write_thinking_blocks(&mut self.out, &message.parts);
        } else {
            let mut whole = String::new();
            for part in &message.parts {
                if let Part::Reasoning { text, .. } = part {
                    whole.push_str(text);
                }
            }
            self.out.member("reasoning_content", &whole);
        }
    }

    fn tool_result(&mut self, result: &ToolResult, point: Option<&Part>, path: &str) {
        self.out.begin_object();
        self.out.member("role", "tool");
        self.out.member("tool_call_id", &result.id);
        if result.error {
            if self.extended {
                self.out.key("is_error").bool(true);
            } else {
                self.lose(path.into(), "that the tool failed: OpenAI has no field for it");
            }
        }
        self.out.key("content");
        let parts: Vec<_> = result.parts.iter().chain(point).collect();
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
                        self.lose(path.into(), "a cache point without content before it");
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
        let url = |out: &mut Writer, kind: &str, url: &str| {
            out.begin_object().member("type", kind);
            out.key(kind).begin_object().member("url", url).end_object();
        };
        match part {
            Part::Text(text) => _ = self.out.begin_object().member("type", "text").member("text", text),
            Part::Refusal(text) => {
                _ = self.out.begin_object().member("type", "refusal").member("refusal", text)
            }
            Part::Image { media_type, data } => {
                url(&mut self.out, "image_url", &format!("data:{media_type};base64,{data}"));
            }
            Part::ImageUrl { url: at } => url(&mut self.out, "image_url", at),
            Part::Video { media_type, data } if self.extended => {
                url(&mut self.out, "video_url", &format!("data:{media_type};base64,{data}"));
            }
            Part::Audio { format, data } => {
                self.out.begin_object().member("type", "input_audio");
                self.out.key("input_audio").begin_object();
                self.out.member("data", data).member("format", format).end_object();
            }
            Part::Document { media_type, name, data } => {
                self.out.begin_object().member("type", "file");
                self.out.key("file").begin_object();
                let extension = media::document_format(media_type, None).unwrap_or("bin");
                match name {
                    Some(name) => self.out.member("filename", name),
                    None => self.out.member("filename", &format!("document.{extension}")),
                };
                self.out.member("file_data", &format!("data:{media_type};base64,{data}")).end_object();
            }
            _ => {
                self.lose(path.into(), "content that a chat message cannot hold");
                return false;
            }
        }
        true
    }

    fn cache_control(&mut self, ttl: Option<&str>, path: &str) {
        if !self.extended {
            return self.lose(path.into(), "a cache point: OpenAI caches by itself");
        }
        self.out.key("cache_control").begin_object().member("type", "ephemeral");
        if let Some(ttl) = ttl {
            self.out.member("ttl", ttl);
        }
        self.out.end_object();
    }
}
