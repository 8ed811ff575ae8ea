//! JSON documents as a flat tape of byte ranges.
//!
//! [`parse`] accepts exactly RFC 8259 in UTF-8, and refuses three things that the grammar allows but two
//! readers could understand differently: duplicate keys (compared unescaped), lone surrogate escapes, and a
//! byte order mark. What Weir judged is therefore what the provider will read. Numbers keep their text;
//! they are converted only when asked, so `1e400` is a valid document whose number has no `f64`.
//!
//! The tape is one `Vec` of 16-byte nodes in document order; a [`Value`] is a cursor on it. Strings stay
//! where they are in the document and are unescaped on demand.

mod parse;
mod scan;
mod unescape;
mod value;
mod writer;

use std::fmt;

pub use parse::{Joined, parse, parse_texts};
pub use scan::{escape_into, plain_end};
pub use unescape::{SHORT_ESCAPES, Unescaped, escape, has_escapes, unescaped_length, without_escapes};
pub use value::{Items, Key, Members, Value};
pub use writer::Writer;

/// How much of a document is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Arrays and objects inside one another.
    pub depth: u16,
    /// Values and keys in all; each takes 16 bytes of memory. At most 2²⁸ − 1 counts, whatever is asked.
    pub nodes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { depth: 128, nodes: 2_000_000 }
    }
}

/// Why a document is refused, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    /// Byte offset of the first byte that cannot be accepted.
    pub at: usize,
    /// What is wrong there.
    pub kind: ErrorKind,
}

/// What is wrong with a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Not RFC 8259, the end of the text inside a value included.
    Syntax,
    /// More nested arrays and objects than [`Limits::depth`].
    Depth,
    /// More values than [`Limits::nodes`], or 4 GiB of text.
    TooMany,
    /// Not UTF-8.
    Utf8,
    /// `\ud800` to `\udfff` without its other half.
    LoneSurrogate,
    /// A key that its object already has.
    DuplicateKey,
    /// A byte order mark before the document.
    Bom,
    /// More text after the document.
    TrailingData,
    /// Nothing but white space.
    Empty,
}

impl ErrorKind {
    /// The error in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Syntax => "invalid JSON",
            Self::Depth => "JSON nested too deeply",
            Self::TooMany => "JSON with too many values",
            Self::Utf8 => "JSON that is not UTF-8",
            Self::LoneSurrogate => "JSON with half a surrogate pair",
            Self::DuplicateKey => "JSON object with a duplicate key",
            Self::Bom => "JSON after a byte order mark",
            Self::TrailingData => "more text after the JSON document",
            Self::Empty => "no JSON document",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.kind.as_str(), self.at)
    }
}

impl std::error::Error for Error {}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Bool,
    /// Any number; see [`Value::as_u64`] and its siblings.
    Number,
    /// A string.
    String,
    /// An array.
    Array,
    /// An object.
    Object,
}

/// One value or key on the tape.
#[derive(Clone, Copy, Debug)]
struct Node {
    /// First byte in the document.
    start: u32,
    /// After the last byte in the document.
    end: u32,
    /// Tape index after this value and all that is inside it.
    next: u32,
    /// Bits 0–2 kind, bit 3 "string has escapes", bits 4–31 number of items or members; of a string, bit 4 "is a name".
    meta: u32,
}

/// "This string has escapes" in [`Node::meta`].
const ESCAPED: u32 = 1 << 3;
/// Where the count starts in [`Node::meta`].
const COUNT: u32 = 4;
/// "This string is a member's name" in [`Node::meta`].
const NAME: u32 = 1 << COUNT;

impl Node {
    fn kind(self) -> Kind {
        match self.meta & 7 {
            1 => Kind::Bool,
            2 => Kind::Number,
            3 => Kind::String,
            4 => Kind::Array,
            5 => Kind::Object,
            _ => Kind::Null,
        }
    }
}

/// A document that was accepted whole: every [`Value`] of it is valid.
#[derive(Clone, Debug)]
pub struct Doc<'a> {
    text: &'a str,
    nodes: Vec<Node>,
}

impl<'a> Doc<'a> {
    /// The document's one value.
    pub fn root(&self) -> Value<'_, 'a> {
        Value::at(self, 0)
    }

    /// The whole text, white space around the value included.
    pub fn text(&self) -> &'a str {
        self.text
    }

    fn node(&self, index: u32) -> &Node {
        // A `Value` is only made from an index on the tape; the default keeps a mistake from being a trap.
        static NOTHING: Node = Node { start: 0, end: 0, next: u32::MAX, meta: 0 };
        self.nodes.get(index as usize).unwrap_or(&NOTHING)
    }

    /// The index after a value and all that is inside it.
    #[inline(never)]
    fn after(&self, index: u32) -> u32 {
        self.node(index).next
    }

    /// The same of a container of this kind; 0 for other values.
    #[inline(never)]
    fn end_of(&self, index: u32, kind: Kind) -> u32 {
        let node = self.node(index);
        if node.kind() == kind { node.next } else { 0 }
    }

    fn slice(&self, start: u32, end: u32) -> &'a str {
        self.text.get(start as usize..end as usize).unwrap_or_default()
    }
}
