//! A hub chat as a Messages request. Turns are laid out as for Claude at Bedrock: all system text at the head,
//! neighbours of one role merged, results first and in the order of their calls. What Messages cannot say is refused
//! where leaving it out would change the answer's form (`n`, `logprobs`), else it is a loss.

use weir_sorted::{Map, trim};
use weir_wire::base64;
use weir_wire::json::{self, Limits, Writer};

use super::answer::{self, begin_block};
use crate::bedrock::{
    Block, Effort, Encoded, Family, Piece, Renames, arguments_of, at, effort, is_said, lose_sampling,
    not_accepted, one_answer, plan, unsupported,
};
use crate::hub::{Chat, Invalid, Loss, Part, ResponseFormat, ToolChoice};
use crate::media;
use crate::openai_chat::fields;
use crate::write;

/// The ceiling where nobody names one, which Messages demands: every model has at least this.
const DEFAULT_CEILING: u64 = 4096;

/// Writes the request for `model`.
pub fn encode(chat: &Chat, model: &str) -> Result<Encoded, Invalid> {
    one_answer(chat)?;
    let mut losses = Vec::new();
    let plan = plan(chat, Family::Claude, false, &mut losses)?;
    let mut encoder =
        Encoder { out: Writer::new(Vec::with_capacity(2048)), renames: Renames::default(), losses };
    encoder.out.begin_object().member("model", model);
    encoder.settings(chat, model)?;
    if !plan.system.is_empty() {
        encoder.out.key("system");
        encoder.blocks(&plan.system, true)?;
    }
    encoder.out.key("messages").begin_array();
    for turn in &plan.turns {
        let role = if turn.assistant { "assistant" } else { "user" };
        encoder.out.fill(r#"{"role":?,"content":"#, &[role]);
        encoder.blocks(&turn.blocks, false)?;
        encoder.out.end_object();
    }
    encoder.out.end_array();
    encoder.tools(chat);
    encoder.out.end_object();
    Ok(Encoded {
        path: "/v1/messages".to_owned(),
        body: encoder.out.into_inner(),
        losses: encoder.losses,
        renames: encoder.renames,
    })
}

struct Encoder {
    out: Writer,
    renames: Renames,
    losses: Vec<Loss>,
}

impl Encoder {
    #[inline(never)]
    fn lose(&mut self, path: &str, reason: &'static str) {
        fields::lose(&mut self.losses, path, reason);
    }

    /// Notes what a message loses.
    #[inline(never)]
    fn lose_at(&mut self, message: usize, reason: &'static str) {
        self.lose(&at(message), reason);
    }

    fn settings(&mut self, chat: &Chat, model: &str) -> Result<(), Invalid> {
        if chat.max_output == Some(0) {
            return Err(Invalid::value(
                "max_completion_tokens",
                "an answer must be allowed at least 1 token",
            ));
        }
        if chat.max_output.is_none() {
            self.lose("max_tokens", "this provider demands a ceiling: 4096 is written");
        }
        self.out.key("max_tokens").u64(chat.max_output.unwrap_or(DEFAULT_CEILING));
        if let Some(asked) = &chat.temperature {
            if asked.value > 1.0 {
                self.lose("temperature", "Anthropic's scale ends at 1: lowered to 1");
            }
            self.out.key("temperature").raw(if asked.value > 1.0 { b"1.0" } else { asked.text.as_bytes() });
        }
        write::raw(&mut self.out, "top_p", chat.top_p.as_ref().map(|asked| asked.text.as_str()));
        write::count(&mut self.out, "top_k", chat.top_k);
        if !chat.stop.iter().all(|stop| is_said(&stop)) {
            self.lose("stop", "a blank stop text is not accepted");
        }
        write::texts(&mut self.out, "stop_sequences", &chat.stop, is_said);
        write::truth(&mut self.out, "stream", chat.stream.then_some(true));
        write::raw(&mut self.out, "thinking", chat.thinking.as_deref());
        self.output_config(chat, model);
        match chat.service_tier.as_deref() {
            None => {}
            Some("auto") => _ = self.out.member("service_tier", "auto"),
            Some("default") => _ = self.out.member("service_tier", "standard_only"),
            Some(_) => self.lose("service_tier", "a tier that Anthropic does not have"),
        }
        if let Some(user) = &chat.user {
            self.out.fill(r#""metadata":{"user_id":?}"#, &[user]);
        }
        for (key, _) in &chat.metadata {
            fields::lose_in(&mut self.losses, "metadata", key, "Anthropic takes no labels but the user's");
        }
        lose_sampling(chat, "a setting that Anthropic does not have", &mut self.losses);
        Ok(())
    }

    fn output_config(&mut self, chat: &Chat, model: &str) {
        let effort = match chat.effort.as_deref() {
            Some(asked) => {
                // The table of families knows Claude by its id at Bedrock.
                let family = Family::of(&fields::sub("anthropic", model));
                effort(family, asked, chat.thinking.is_some(), &mut self.losses)
            }
            None => None,
        };
        if chat.response_format == ResponseFormat::JsonObject {
            self.lose("response_format", "an answer of any JSON cannot be demanded, only one of a schema");
        }
        let schema = match &chat.response_format {
            ResponseFormat::JsonSchema { schema, .. } => Some(schema),
            _ => None,
        };
        let effort = match effort {
            Some(Effort::Converse(word)) => Some(word),
            _ => None,
        };
        if effort.is_none() && schema.is_none() {
            return;
        }
        self.out.key("output_config").begin_object();
        write::text(&mut self.out, "effort", effort);
        if let Some(schema) = schema {
            let piece = r#""format":{"type":"json_schema","schema":"#;
            self.out.fill(piece, &[]).raw(schema.as_bytes()).end_object();
        }
        self.out.end_object();
    }

    /// An array of blocks; a cache point becomes a member of the block before it.
    fn blocks(&mut self, blocks: &[Block<'_>], system: bool) -> Result<(), Invalid> {
        self.out.begin_array();
        let mut blocks = blocks.iter().peekable();
        while let Some(block) = blocks.next() {
            let part = match block.piece {
                Piece::Filler(text) => {
                    self.text(text);
                    self.out.end_object();
                    continue;
                }
                Piece::Part(part) => part,
            };
            if system && !matches!(part, Part::Text(_) | Part::Refusal(_) | Part::CachePoint { .. }) {
                return Err(unsupported(block.message, "a system message can only hold text"));
            }
            if !self.begin_part(part, block.message)? {
                continue;
            }
            if let Some(Block { piece: Piece::Part(Part::CachePoint { ttl }), .. }) =
                blocks.next_if(|next| matches!(next.piece, Piece::Part(Part::CachePoint { .. })))
            {
                // Thinking cannot be marked; it is cached with what follows it.
                if matches!(part, Part::Reasoning { .. } | Part::RedactedReasoning(_)) {
                    self.lose_at(block.message, "a cache point behind thinking");
                } else {
                    self.cache_control(ttl.as_deref());
                }
            }
            self.out.end_object();
        }
        self.out.end_array();
        Ok(())
    }

    fn text(&mut self, text: &str) {
        self.out.fill(r#"{"type":"text","text":?"#, &[text]);
    }

    fn cache_control(&mut self, ttl: Option<&str>) {
        self.out.fill(r#""cache_control":{"type":"ephemeral""#, &[]);
        write::text(&mut self.out, "ttl", ttl);
        self.out.end_object();
    }

    /// Opens a block and writes all of it but the closing brace; false where there is nothing to write.
    fn begin_part(&mut self, part: &Part, message: usize) -> Result<bool, Invalid> {
        match part {
            Part::Text(text) => self.text(text),
            Part::Refusal(text) => {
                self.lose_at(message, "a refusal is written as text");
                self.text(text);
            }
            Part::Image { media_type, data } => {
                let Some(format) = media::image_format(media_type) else {
                    return Err(not_accepted(
                        message,
                        "pictures",
                        media_type,
                        ": use png, jpeg, gif or webp",
                    ));
                };
                self.source("image", "base64", &["image/", format].concat(), "data", data);
            }
            Part::ImageUrl { url } => self.source("image", "url", "", "url", url),
            Part::Document { media_type, name, data } => {
                by_name!(media::document_format(media_type, name.as_deref()) => {
                    "pdf" => self.source("document", "base64", "application/pdf", "data", data),
                    "txt" | "md" | "csv" | "html" => {
                        let text =
                            base64::decode(data.as_bytes()).and_then(|text| String::from_utf8(text).ok());
                        let Some(text) = text else {
                            return Err(unsupported(message, "a text file must be UTF-8"));
                        };
                        self.source("document", "text", "text/plain", "data", &text);
                    },
                    _ => {
                        return Err(not_accepted(message, "files", media_type, ": use pdf or text"));
                    },
                });
                let name = name.as_deref().filter(|name| !name.is_empty());
                write::text(&mut self.out, "title", name);
            }
            Part::ToolCall(call) => {
                let arguments = arguments_of(call, message)?;
                let name = self.renames.tool(&call.name);
                begin_block(&mut self.out, answer::Block::Tool(&Renames::id(&call.id), &name));
                write::raw(&mut self.out, "input", Some(arguments));
            }
            Part::ToolResult(result) => {
                let piece = r#"{"type":"tool_result","tool_use_id":?,"content":["#;
                self.out.fill(piece, &[&Renames::id(&result.id)]);
                for part in &result.parts {
                    match part {
                        Part::Text(text) if trim(text).is_empty() => {}
                        Part::Text(_)
                        | Part::Image { .. }
                        | Part::ImageUrl { .. }
                        | Part::Document { .. } => {
                            self.begin_part(part, message)?;
                            self.out.end_object();
                        }
                        _ => self.lose_at(message, "content that a tool result cannot hold"),
                    }
                }
                self.out.end_array();
                write::truth(&mut self.out, "is_error", result.error.then_some(true));
            }
            Part::Reasoning { text, signature } => {
                let signature = signature.as_deref().unwrap_or_default();
                begin_block(&mut self.out, answer::Block::Thinking(text, signature));
            }
            Part::RedactedReasoning(data) => {
                begin_block(&mut self.out, answer::Block::Redacted(data));
            }
            Part::CachePoint { .. } => {
                self.lose_at(message, "a cache point without content before it");
                return Ok(false);
            }
            Part::Audio { .. } | Part::Video { .. } => {
                return Err(unsupported(message, "this model's provider takes neither sound nor films"));
            }
        }
        Ok(true)
    }

    fn source(&mut self, block: &str, kind: &str, media_type: &str, key: &str, data: &str) {
        self.out.fill(r#"{"type":?,"source":{"type":?"#, &[block, kind]);
        write::text(&mut self.out, "media_type", Some(media_type).filter(|known| !known.is_empty()));
        self.out.member(key, data).end_object();
    }

    fn tools(&mut self, chat: &Chat) {
        let mut offered: Map<&str, usize> = Map::new();
        if chat.tools.is_empty() {
            // Those of the history must be on offer, or the history is refused.
            for part in chat.messages.iter().flat_map(|message| &message.parts) {
                match part {
                    Part::ToolCall(call) => _ = offered.insert(call.name.as_str(), 0),
                    Part::ToolResult(_) if offered.is_empty() => _ = offered.insert("unknown", 0),
                    _ => {}
                }
            }
            if offered.is_empty() {
                return;
            }
            self.lose(
                "tools",
                "tools that the history calls and the request does not offer are offered without a schema",
            );
        }
        self.out.key("tools").begin_array();
        for tool in &chat.tools {
            self.tool(&tool.name, tool.parameters.as_deref());
            let description = tool.description.as_deref().filter(|text| !trim(text).is_empty());
            write::text(&mut self.out, "description", description);
            write::truth(&mut self.out, "strict", tool.strict);
            if let Some(ttl) = &tool.cache {
                self.cache_control(ttl.as_deref());
            }
            self.out.end_object();
        }
        for (name, _) in &offered {
            self.tool(name, None);
            self.out.end_object();
        }
        self.out.end_array();
        let single = chat.parallel_tool_calls == Some(false);
        // No tool was on offer: none may be called.
        let none = !offered.is_empty() || chat.tool_choice == Some(ToolChoice::None);
        if chat.tool_choice.is_none() && !single && !none {
            return;
        }
        let named = match &chat.tool_choice {
            Some(ToolChoice::Named(name)) if !none => Some(self.renames.tool(name).into_owned()),
            _ => None,
        };
        let kind = match &chat.tool_choice {
            _ if none => "none",
            Some(ToolChoice::Required) => "any",
            Some(ToolChoice::Named(_)) => "tool",
            _ => "auto",
        };
        self.out.fill(r#""tool_choice":{"type":?"#, &[kind]);
        write::text(&mut self.out, "name", named.as_deref());
        write::truth(&mut self.out, "disable_parallel_tool_use", (single && !none).then_some(true));
        self.out.end_object();
    }

    fn tool(&mut self, name: &str, parameters: Option<&str>) {
        let name = self.renames.tool(name);
        self.out.fill(r#"{"name":?"#, &[&name]);
        // Messages demands the type, which JSON Schema does not.
        let typed = parameters.filter(|schema| {
            json::parse(schema.as_bytes(), &Limits::default())
                .is_ok_and(|doc| fields::is(doc.root(), "type", "object"))
        });
        if parameters.is_some_and(|schema| typed.is_none() && trim(schema) != "{}") {
            fields::lose_in(&mut self.losses, "tools", &name, "a schema that is no object's is left out");
        }
        let schema = typed.unwrap_or(r#"{"type":"object","properties":{}}"#);
        self.out.key("input_schema").raw(schema.as_bytes());
    }
}
