//! Text → findings → redacted text, and back.
//!
//! [`find`] looks for personal data with hand-written scanners (no regular expressions: those cost the
//! module its start-up time, and some inputs cost them everything). [`redact`] turns findings into edits;
//! a [`Vault`] remembers which placeholder stands for which value, and its [`Restorer`] puts the values back
//! into an answer, whole or streamed. A [`Redactor`] hides findings in a stream as it passes.
//!
//! Every detector is *local*: whether a value is found depends on a bounded number of bytes around it, never
//! on how the scan came there. That is what makes a stream's result the same at every split, with bounded
//! memory. It also means that all matches are found, overlapping ones too; overlaps are merged afterwards.
//!
//! Not here: which texts of a request are searched (the dialect knows), and JSON (the caller splices).

mod alone;
mod anchors;
mod characters;
mod class;
mod coding;
mod detect;
mod digest;
mod json;
pub mod outside;
mod redactor;
mod restore;
mod set;
mod tail;
mod text;
mod vault;
mod view;

use std::fmt;
use std::ops::Range;

pub use detect::{DETECTORS, Detector, Kind};
pub use digest::Key;
pub use redactor::Redactor;
pub use restore::Restorer;
pub use set::Set;
pub use vault::{PLACEHOLDER, Vault};
pub use view::Escapes;

/// What happens to a finding, mildest first: of several the greatest wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// Counted only.
    Report,
    /// Replaced by a placeholder that is restored in the answer.
    Tokenize,
    /// Replaced by a keyed digest; what has no bound (a token, a key block) is masked, since in a stream it is
    /// replaced before its end is known.
    Hash,
    /// Replaced by its type.
    Mask,
    /// The request is refused; a stream that cannot be refused any more is masked.
    Block,
}

/// What is looked for, and what happens to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Types of [`DETECTORS`].
    pub find: Vec<String>,
    /// Words of the house: without regard to case, as whole words, white space of any kind alike.
    pub words: Vec<String>,
    /// For all of them.
    pub action: Action,
}

/// A rule names a type that no detector has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownType {
    /// The name.
    pub name: String,
}

impl fmt::Display for UnknownType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown type to find `{}`", self.name)
    }
}

impl std::error::Error for UnknownType {}

/// Something found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub kind: Kind,
    /// Where it is, in bytes; on character boundaries.
    pub range: Range<usize>,
    /// What happens to it.
    pub action: Action,
    /// Where the part of it ends that decided: of several findings the name does not depend on what follows.
    decided: usize,
    /// It has no bound: what its digest would be, nobody knows before its end.
    endless: bool,
    /// Where the search for its end goes on, when it reaches over the text's.
    open: Option<(tail::Tail, usize)>,
}

impl Finding {
    /// The same finding of another value, which is appended to `values`: a finding of those.
    pub fn detached(&self, value: &str, values: &mut String) -> Self {
        let start = values.len();
        text::put(values, value);
        let end = values.len();
        let same = self.range.len() == value.len();
        let decided = if same { self.decided.saturating_sub(self.range.start) + start } else { end };
        Self { range: start..end, decided, ..self.clone() }
    }
}

/// Appends what `set` finds in `text`, by position.
///
/// Findings that change the text never overlap: matches that do are one finding from the first one's start
/// to the last one's end, of the first one's kind and the strictest action. So that no kind is lost to a
/// caller who asks what was found, other kinds inside it follow as findings to report. Time is linear in
/// `text`.
pub fn find(set: &Set, text: &str, out: &mut Vec<Finding>) {
    find_in_document(set, &Document::text(text), out);
}

/// A document, read without the escapes of its strings.
#[derive(Clone, Copy)]
pub struct Document<'a> {
    /// All of it.
    pub text: &'a str,
    /// Where somebody else looks; in order, without overlaps. Of the values that reach in there not all are found. Words there
    /// say as much of values elsewhere as all others do.
    pub without: &'a [Range<usize>],
    /// Whether the quote at a place ends a string, and is no part of one. No value reaches over it; asked in their order.
    pub ends: &'a dyn Fn(usize) -> bool,
}

impl<'a> Document<'a> {
    /// A text that is none.
    #[inline(never)]
    pub fn text(text: &'a str) -> Self {
        Self { text, without: &[], ends: &|_| false }
    }
}

/// The same in a document.
#[inline(never)]
pub fn find_in_document(set: &Set, document: &Document<'_>, out: &mut Vec<Finding>) {
    let first = out.len();
    set.scan(document, true, out);
    set::merge(out, first);
}

/// The same for a text that is a user's whole message: one that is nothing but a number answers a question for it, so that
/// a right check digit is enough where words have to stand near it elsewhere.
pub fn find_in_message(set: &Set, text: &str, out: &mut Vec<Finding>) {
    let from = out.len();
    find(set, text, out);
    if out.len() == from {
        find_alone(set, text, out);
    }
}

/// The second half of that, for a message in which nothing else was found.
pub fn find_alone(set: &Set, text: &str, out: &mut Vec<Finding>) {
    alone::find(set, text, out);
}

/// A text as a document holds it.
#[derive(Clone, Copy)]
pub struct Written<'a> {
    /// As it is written, with escapes.
    pub raw: &'a str,
    /// One begins at every backslash.
    pub escapes: &'a Escapes,
    /// The text without them, asked for only where that is not enough.
    pub text: &'a dyn Fn() -> &'a str,
    /// It is a user's whole message.
    pub message: bool,
}

/// As [`find`], or as [`find_in_message`], in a text that is written with escapes: few texts have findings, so that few have
/// to be read without them. Places are the text's.
pub fn find_written(set: &Set, written: &Written<'_>, out: &mut Vec<Finding>) {
    let from = out.len();
    let number = set.scan_written(written, out);
    set::merge(out, from);
    if out.len() == from && number && written.message {
        alone::find(set, (written.text)(), out);
    }
}

/// The edits that `findings` of `text` ask for, by position: a placeholder of `vault` for what is tokenized, the
/// type's name for what is masked, hashed or blocked, nothing for what is only reported.
pub fn redact(text: &str, findings: &[Finding], vault: &mut Vault) -> Vec<(Range<usize>, String)> {
    Set::default().redact(text, findings, vault)
}
