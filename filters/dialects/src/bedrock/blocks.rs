//! Content blocks as Converse spells them.

use weir_sorted::trim;
use weir_wire::json::Writer;

use super::answer::write_reasoning;
use super::family::Family;
use super::names::{self, Documents, Renames};
use super::turns::{Block, Piece, at};
use crate::hub::{Invalid, Loss, Part, ToolCall, ToolResult};
use crate::media;
use crate::openai_chat::fields;
use crate::write;

/// Writes blocks, and remembers what was renamed and lost.
pub(super) struct Blocks {
    pub out: Writer,
    pub family: Family,
    pub renames: Renames,
    pub losses: Vec<Loss>,
    pub documents: Documents,
}

impl Blocks {
    #[inline(never)]
    pub(super) fn lose(&mut self, path: &str, reason: &'static str) {
        fields::lose(&mut self.losses, path, reason);
    }

    /// Notes what a message loses.
    #[inline(never)]
    fn lose_at(&mut self, message: usize, reason: &'static str) {
        self.lose(&at(message), reason);
    }

    /// One block of a turn.
    pub(super) fn block(&mut self, block: &Block<'_>) -> Result<(), Invalid> {
        match block.piece {
            Piece::Filler(text) => self.text(text),
            Piece::Part(part) => self.part(part, block.message)?,
        }
        Ok(())
    }

    /// One block of the system prompt: text or cache point.
    pub(super) fn system(&mut self, block: &Block<'_>) -> Result<(), Invalid> {
        match block.piece {
            Piece::Part(Part::Text(text) | Part::Refusal(text)) => self.text(text),
            Piece::Part(Part::CachePoint { ttl }) => self.cache_point(ttl.as_deref(), block.message),
            _ => return Err(unsupported(block.message, "a system message can only hold text")),
        }
        Ok(())
    }

    fn text(&mut self, text: &str) {
        self.out.fill(r#"{"text":?}"#, &[text]);
    }

    fn part(&mut self, part: &Part, message: usize) -> Result<(), Invalid> {
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
                self.media("image", format, None, data);
            }
            Part::ImageUrl { .. } => {
                return Err(unsupported(
                    message,
                    "this model's provider cannot fetch pictures: send them as base64 data: URIs",
                ));
            }
            Part::Audio { format, data } => self.media("audio", format, None, data),
            Part::Video { media_type, data } => {
                let Some(format) = media::video_format(media_type) else {
                    return Err(not_accepted(message, "videos", media_type, ""));
                };
                self.media("video", format, None, data);
            }
            Part::Document { media_type, name, data } => {
                let Some(format) = media::document_format(media_type, name.as_deref()) else {
                    let instead = ": use pdf, csv, doc, docx, xls, xlsx, html, txt or md";
                    return Err(not_accepted(message, "files", media_type, instead));
                };
                let name = self.documents.name(name.as_deref(), format);
                self.media("document", format, Some(&name), data);
            }
            Part::ToolCall(call) => {
                let arguments = arguments_of(call, message)?;
                let name = self.renames.tool(&call.name);
                let piece = r#"{"toolUse":{"toolUseId":?,"name":?,"input":"#;
                self.out
                    .fill(piece, &[&names::call_id(&call.id), &name])
                    .raw(arguments.as_bytes())
                    .fill("}}", &[]);
            }
            Part::ToolResult(result) => self.result(result, message)?,
            Part::Reasoning { text, signature } => {
                write_reasoning(&mut self.out, text, signature.as_deref());
            }
            Part::RedactedReasoning(data) => {
                self.out.fill(r#"{"reasoningContent":{"redactedContent":?}}"#, &[data]);
            }
            Part::CachePoint { ttl } => self.cache_point(ttl.as_deref(), message),
        }
        Ok(())
    }

    fn media(&mut self, kind: &str, format: &str, name: Option<&str>, data: &str) {
        self.out.begin_object().key(kind).fill(r#"{"format":?"#, &[format]);
        write::text(&mut self.out, "name", name);
        self.out.fill(r#""source":{"bytes":?}}}"#, &[data]);
    }

    fn result(&mut self, result: &ToolResult, message: usize) -> Result<(), Invalid> {
        self.out.fill(r#"{"toolResult":{"toolUseId":?,"content":["#, &[&names::call_id(&result.id)]);
        let mut said = false;
        for part in &result.parts {
            match part {
                Part::Text(text) if trim(text).is_empty() => continue,
                Part::Text(_)
                | Part::Image { .. }
                | Part::ImageUrl { .. }
                | Part::Document { .. }
                | Part::Video { .. } => {
                    self.part(part, message)?;
                    said = true;
                }
                _ => self.lose_at(message, "content that a tool result cannot hold"),
            }
        }
        if !said {
            self.lose_at(message, "an empty tool result is written as '(no output)'");
            self.text("(no output)");
        }
        self.out.end_array();
        if result.error {
            if matches!(self.family, Family::Claude | Family::OldClaude | Family::Nova | Family::Unknown) {
                self.out.member("status", "error");
            } else {
                self.lose_at(message, "that the tool failed: only Claude and Nova are told");
            }
        }
        self.out.fill("}}", &[]);
        Ok(())
    }

    /// A cache point, for the families that have them.
    pub(super) fn cache_point(&mut self, ttl: Option<&str>, message: usize) {
        if !self.caches() {
            return self.lose_at(message, "a cache point: this model has none");
        }
        self.write_cache_point(ttl);
    }

    pub(super) fn caches(&self) -> bool {
        matches!(self.family, Family::Claude | Family::OldClaude | Family::Nova | Family::Unknown)
    }

    pub(super) fn write_cache_point(&mut self, ttl: Option<&str>) {
        self.out.fill(r#"{"cachePoint":{"type":"default""#, &[]);
        write::text(&mut self.out, "ttl", ttl);
        self.out.fill("}}", &[]);
    }
}

/// The arguments of a call, which must be an object; an empty one where the model said nothing.
#[inline(never)]
pub(crate) fn arguments_of(call: &ToolCall, message: usize) -> Result<&str, Invalid> {
    let arguments = trim(&call.arguments);
    if arguments.is_empty() {
        return Ok("{}");
    }
    if fields::is_object(arguments) {
        return Ok(arguments);
    }
    let words = ["the arguments of tool call '", &call.id, "' are not a JSON object"].concat();
    Err(Invalid::value(&fields::sub(&at(message), "tool_calls"), &words))
}

/// That a provider takes no such medium.
#[inline(never)]
pub(crate) fn not_accepted(message: usize, what: &str, media_type: &str, instead: &str) -> Invalid {
    unsupported(message, &[what, " of type '", media_type, "' are not accepted", instead].concat())
}

#[inline(never)]
pub(crate) fn unsupported(message: usize, words: &str) -> Invalid {
    Invalid::unsupported(&fields::sub(&at(message), "content"), words)
}
