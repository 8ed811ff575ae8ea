//! Cursors on a document's tape.

use std::borrow::Cow;
use std::ops::Range;

use super::unescape::{Unescaped, unescape};
use super::{COUNT, Doc, ESCAPED, Kind, Node};

/// A value of a document: `'d` the tape, `'a` the text.
#[derive(Clone, Copy, Debug)]
pub struct Value<'d, 'a> {
    doc: &'d Doc<'a>,
    index: u32,
    node: Node,
}

impl<'d, 'a> Value<'d, 'a> {
    pub(super) fn at(doc: &'d Doc<'a>, index: u32) -> Self {
        Self { doc, index, node: doc.node(index) }
    }

    /// What it is.
    pub fn kind(self) -> Kind {
        self.node.kind()
    }

    /// Its bytes in the document, quotes and brackets included.
    pub fn range(self) -> Range<usize> {
        self.node.start as usize..self.node.end as usize
    }

    /// Its text as the client wrote it.
    pub fn raw(self) -> &'a [u8] {
        self.slice().as_bytes()
    }

    fn slice(self) -> &'a str {
        self.doc.slice(self.node.start, self.node.end)
    }

    /// Whether it is `null`.
    pub fn is_null(self) -> bool {
        self.kind() == Kind::Null
    }

    /// `true` or `false`.
    pub fn as_bool(self) -> Option<bool> {
        (self.kind() == Kind::Bool).then(|| self.raw().first() == Some(&b't'))
    }

    /// A number written as an integer from 0 to 2⁶⁴ − 1: no sign, point or exponent.
    pub fn as_u64(self) -> Option<u64> {
        if self.kind() == Kind::Number { self.slice().parse().ok() } else { None }
    }

    /// A number written as an integer from −2⁶³ to 2⁶³ − 1: no point or exponent.
    pub fn as_i64(self) -> Option<i64> {
        if self.kind() == Kind::Number { self.slice().parse().ok() } else { None }
    }

    /// The nearest `f64`; none where that is infinite.
    pub fn as_f64(self) -> Option<f64> {
        if self.kind() != Kind::Number {
            return None;
        }
        self.slice().parse().ok().filter(|number: &f64| number.is_finite())
    }

    /// A string without its escapes; borrowed where it has none.
    pub fn as_str(self) -> Option<Cow<'a, str>> {
        let raw = self.str_raw()?;
        Some(if self.escaped() { Cow::Owned(unescape(raw)) } else { Cow::Borrowed(raw) })
    }

    /// A string between its quotes, still escaped.
    pub fn str_raw(self) -> Option<&'a str> {
        (self.kind() == Kind::String).then(|| self.doc.slice(self.node.start + 1, self.node.end - 1))
    }

    /// Whether it is a string that holds exactly `text`, escapes resolved.
    pub fn is_str(self, text: &str) -> bool {
        match self.str_raw() {
            Some(raw) if self.escaped() => unescape(raw) == text,
            Some(raw) => raw == text,
            None => false,
        }
    }

    /// A string with the way back from its text to the document's bytes.
    pub fn unescaped(self) -> Option<Unescaped<'a>> {
        self.str_raw().map(|raw| Unescaped::new(raw, self.node.start as usize + 1, self.escaped()))
    }

    fn escaped(self) -> bool {
        self.node.meta & ESCAPED != 0
    }

    /// The member of an object; linear in its number of members.
    pub fn get(self, key: &str) -> Option<Value<'d, 'a>> {
        self.members().find(|(name, _)| name.is(key)).map(|(_, value)| value)
    }

    /// An object's members in document order; nothing for other values.
    pub fn members(self) -> Members<'d, 'a> {
        Members(self.children(Kind::Object))
    }

    /// An array's items in document order; nothing for other values.
    pub fn items(self) -> Items<'d, 'a> {
        Items(self.children(Kind::Array))
    }

    fn children(self, of: Kind) -> Children<'d, 'a> {
        let end = if self.kind() == of { self.node.next } else { 0 };
        Children { doc: self.doc, at: self.index + 1, end }
    }

    /// Number of items or members; 0 for other values.
    pub fn len(self) -> usize {
        (self.node.meta >> COUNT) as usize
    }

    /// Whether it has neither items nor members.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Where one more item or member can be spliced into an array or object (just before its closing
    /// bracket), and whether a comma must precede it.
    pub fn append_at(self) -> Option<(usize, bool)> {
        matches!(self.kind(), Kind::Array | Kind::Object)
            .then(|| (self.node.end as usize - 1, !self.is_empty()))
    }
}

/// The key of a member.
#[derive(Clone, Copy, Debug)]
pub struct Key<'d, 'a>(Value<'d, 'a>);

impl<'d, 'a> Key<'d, 'a> {
    /// The key as the string that it is.
    pub fn value(self) -> Value<'d, 'a> {
        self.0
    }

    /// The key without its escapes.
    pub fn as_str(self) -> Cow<'a, str> {
        self.0.as_str().unwrap_or_default()
    }

    /// Whether it is `name`, without allocating for a key without escapes.
    pub fn is(self, name: &str) -> bool {
        self.0.is_str(name)
    }

    /// Its bytes in the document, quotes included.
    pub fn range(self) -> Range<usize> {
        self.0.range()
    }
}

#[derive(Clone, Debug)]
struct Children<'d, 'a> {
    doc: &'d Doc<'a>,
    at: u32,
    end: u32,
}

impl<'d, 'a> Children<'d, 'a> {
    fn step(&mut self) -> Option<Value<'d, 'a>> {
        if self.at >= self.end {
            return None;
        }
        let value = Value::at(self.doc, self.at);
        self.at = value.node.next;
        Some(value)
    }
}

/// Members of an object.
#[derive(Clone, Debug)]
pub struct Members<'d, 'a>(Children<'d, 'a>);

impl<'d, 'a> Iterator for Members<'d, 'a> {
    type Item = (Key<'d, 'a>, Value<'d, 'a>);

    fn next(&mut self) -> Option<Self::Item> {
        Some((Key(self.0.step()?), self.0.step()?))
    }
}

/// Items of an array.
#[derive(Clone, Debug)]
pub struct Items<'d, 'a>(Children<'d, 'a>);

impl<'d, 'a> Iterator for Items<'d, 'a> {
    type Item = Value<'d, 'a>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.step()
    }
}
