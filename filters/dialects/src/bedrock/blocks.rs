//! Content blocks as Converse spells them.

use weir_wire::json::Writer;

use super::family::Family;
use super::names::{self, Documents, Renames};
use super::turns::{Block, Piece, at};
use crate::hub::{Invalid, Loss, Part, ToolCall, ToolResult};
use crate::media;
use crate::openai_chat::fields;

/// Writes blocks, and remembers what was renamed and lost.
pub(super) struct Blocks {
    pub out: Writer,
    pub family: Family,
    pub renames: Renames,
    pub losses: Vec<Loss>,
    pub documents: Documents,
}

impl Blocks {
    pub(super) fn lose(&mut self, path: impl Into<String>, reason: &'static str) {
        self.losses.push(Loss { path: path.into(), reason });
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
        self.out.begin_object().member("text", text).end_object();
    }

    fn part(&mut self, part: &Part, message: usize) -> Result<(), Invalid> {
        match part {
            Part::Text(text) => self.text(text),
            Part::Refusal(text) => {
                self.lose(at(message), "a refusal is written as text");
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
                self.out.begin_object().key("toolUse").begin_object();
                self.out.member("toolUseId", &names::call_id(&call.id));
                self.out.member("name", &name);
                self.out.key("input").raw(arguments.as_bytes());
                self.out.end_object().end_object();
            }
            Part::ToolResult(result) => self.result(result, message)?,
            Part::Reasoning { text, signature } => {
                self.out.begin_object().key("reasoningContent").begin_object();
                self.out.key("reasoningText").begin_object().member("text", text);
                if let Some(signature) = signature {
                    self.out.member("signature", signature);
                }
                self.out.end_object().end_object().end_object();
            }
            Part::RedactedReasoning(data) => {
                self.out.begin_object().key("reasoningContent").begin_object();
                self.out.member("redactedContent", data).end_object().end_object();
            }
            Part::CachePoint { ttl } => self.cache_point(ttl.as_deref(), message),
        }
        Ok(())
    }

    fn media(&mut self, kind: &str, format: &str, name: Option<&str>, data: &str) {
        self.out.begin_object().key(kind).begin_object().member("format", format);
        if let Some(name) = name {
            self.out.member("name", name);
        }
        self.out.key("source").begin_object().member("bytes", data).end_object();
        self.out.end_object().end_object();
    }

    fn result(&mut self, result: &ToolResult, message: usize) -> Result<(), Invalid> {
        self.out.begin_object().key("toolResult").begin_object();
        self.out.member("toolUseId", &names::call_id(&result.id));
        self.out.key("content").begin_array();
        let mut said = false;
        for part in &result.parts {
            match part {
                Part::Text(text) if text.trim().is_empty() => continue,
                Part::Text(_)
                | Part::Image { .. }
                | Part::ImageUrl { .. }
                | Part::Document { .. }
                | Part::Video { .. } => {
                    self.part(part, message)?;
                    said = true;
                }
                _ => self.lose(at(message), "content that a tool result cannot hold"),
            }
        }
        if !said {
            self.lose(at(message), "an empty tool result is written as '(no output)'");
            self.text("(no output)");
        }
        self.out.end_array();
        if result.error {
            if matches!(self.family, Family::Claude | Family::OldClaude | Family::Nova | Family::Unknown) {
                self.out.member("status", "error");
            } else {
                self.lose(at(message), "that the tool failed: only Claude and Nova are told");
            }
        }
        self.out.end_object().end_object();
        Ok(())
    }

    /// A cache point, for the families that have them.
    pub(super) fn cache_point(&mut self, ttl: Option<&str>, message: usize) {
        if !self.caches() {
            return self.lose(at(message), "a cache point: this model has none");
        }
        self.write_cache_point(ttl);
    }

    pub(super) fn caches(&self) -> bool {
        matches!(self.family, Family::Claude | Family::OldClaude | Family::Nova | Family::Unknown)
    }

    pub(super) fn write_cache_point(&mut self, ttl: Option<&str>) {
        self.out.begin_object().key("cachePoint").begin_object().member("type", "default");
        if let Some(ttl) = ttl {
            self.out.member("ttl", ttl);
        }
        self.out.end_object().end_object();
    }
}

/// The arguments of a call, which must be an object; an empty one where the model said nothing.
#[inline(never)]
pub(crate) fn arguments_of(call: &ToolCall, message: usize) -> Result<&str, Invalid> {
    let arguments = call.arguments.trim();
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
