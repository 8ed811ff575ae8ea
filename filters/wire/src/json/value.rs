//! Cursors on a document's tape.

use std::borrow::Cow;
use std::ops::Range;

use super::unescape::{Unescaped, unescape};
use super::{COUNT, Doc, ESCAPED, Kind, NAME, Node};
use crate::number;

/// A value of a document: `'d` the tape, `'a` the text. Two words, so that what holds many of them stays small.
#[derive(Clone, Copy, Debug)]
pub struct Value<'d, 'a> {
    doc: &'d Doc<'a>,
    index: u32,
}

// Dialects and policies ask for hundreds of values. So what looks into the tape is not inlined, which would bring its
// bounds check along. But on wasm an `Option` of a value is returned through memory: the most frequent question is
// answered by a number, and inlined is only what makes an `Option` of it (5 KB less code than returning it).
impl<'d, 'a> Value<'d, 'a> {
    pub(super) fn at(doc: &'d Doc<'a>, index: u32) -> Self {
        Self { doc, index }
    }

    fn node(self) -> &'d Node {
        self.doc.node(self.index)
    }

    /// What it is.
    #[inline(never)]
    pub fn kind(self) -> Kind {
        self.node().kind()
    }

    /// Its bytes in the document, quotes and brackets included.
    pub fn range(self) -> Range<usize> {
        let node = self.node();
        node.start as usize..node.end as usize
    }

    /// Its text as the client wrote it.
    pub fn raw(self) -> &'a [u8] {
        self.slice().as_bytes()
    }

    /// The value as it is written.
    pub fn json(self) -> &'a str {
        self.slice()
    }

    fn slice(self) -> &'a str {
        let node = self.node();
        self.doc.slice(node.start, node.end)
    }

    /// Whether it is `null`.
    pub fn is_null(self) -> bool {
        self.kind() == Kind::Null
    }

    /// `true` or `false`.
    #[inline(never)]
    pub fn as_bool(self) -> Option<bool> {
        (self.kind() == Kind::Bool).then(|| self.raw().first() == Some(&b't'))
    }

    /// A number written as an integer from 0 to 2⁶⁴ − 1: no sign, point or exponent.
    #[inline(never)]
    pub fn as_u64(self) -> Option<u64> {
        if self.kind() == Kind::Number { self.slice().parse().ok() } else { None }
    }

    /// A number written as an integer from −2⁶³ to 2⁶³ − 1: no point or exponent.
    #[inline(never)]
    pub fn as_i64(self) -> Option<i64> {
        if self.kind() == Kind::Number { self.slice().parse().ok() } else { None }
    }

    /// The nearest `f64`, within what [`number`] promises; none where that is infinite.
    #[inline(never)]
    pub fn as_f64(self) -> Option<f64> {
        if self.kind() == Kind::Number { number(self.slice()) } else { None }
    }

    /// A string without its escapes; borrowed where it has none.
    #[inline(never)]
    pub fn as_str(self) -> Option<Cow<'a, str>> {
        let raw = self.str_raw()?;
        Some(if self.escaped() { Cow::Owned(unescape(raw)) } else { Cow::Borrowed(raw) })
    }

    /// A string between its quotes, still escaped.
    #[inline(never)]
    pub fn str_raw(self) -> Option<&'a str> {
        let node = self.node();
        (node.kind() == Kind::String).then(|| self.doc.slice(node.start + 1, node.end - 1))
    }

    /// Whether it is a string that holds exactly `text`, escapes resolved.
    #[inline(never)]
    pub fn is_str(self, text: &str) -> bool {
        match self.str_raw() {
            Some(raw) if self.escaped() => unescape(raw) == text,
            Some(raw) => raw == text,
            None => false,
        }
    }

    /// A string between its quotes, still escaped; any other value as it is written.
    #[inline(never)]
    pub fn inner(self) -> &'a str {
        self.str_raw().unwrap_or_else(|| self.slice())
    }

    /// A string with the way back from its text to the document's bytes; any other value as it is written.
    #[inline(never)]
    pub fn unescaped(self) -> Unescaped<'a> {
        let start = self.range().start + usize::from(self.kind() == Kind::String);
        Unescaped::new(self.inner(), start, self.escaped())
    }

    /// Whether it is a string with escapes.
    pub fn escaped(self) -> bool {
        self.node().meta & ESCAPED != 0
    }

    /// The member of an object; linear in its number of members.
    #[inline(always)]
    pub fn get(self, key: &str) -> Option<Value<'d, 'a>> {
        let index = self.find(key);
        (index > 0).then_some(Value { doc: self.doc, index })
    }

    /// The member's place on the tape; 0, which is the root's, where there is none. Most keys differ in length already.
    #[inline(never)]
    fn find(self, key: &str) -> u32 {
        let end = self.doc.end_of(self.index, Kind::Object);
        let mut at = self.index + 1;
        while at < end {
            let name = self.doc.node(at);
            let length = (name.end - name.start) as usize;
            if (length == key.len() + 2 || name.meta & ESCAPED != 0)
                && (Value { doc: self.doc, index: at }).is_str(key)
            {
                return at + 1;
            }
            // A key is a string, which has nothing inside it: its value follows at once.
            at = self.doc.after(at + 1);
        }
        0
    }

    /// An object's members in document order; nothing for other values.
    #[inline(never)]
    pub fn members(self) -> Members<'d, 'a> {
        Members(self.children(Kind::Object))
    }

    /// An array's items in document order; nothing for other values.
    #[inline(never)]
    pub fn items(self) -> Items<'d, 'a> {
        Items(self.children(Kind::Array))
    }

    /// Tells every string and number that it is, or that is inside of it, in their order, and whether it is the name of a member.
    #[inline(never)]
    pub fn scalars(self, told: &mut dyn FnMut(Value<'d, 'a>, bool)) {
        for index in self.index..self.doc.after(self.index) {
            let value = Value { doc: self.doc, index };
            if matches!(value.kind(), Kind::String | Kind::Number) {
                told(value, value.node().meta & NAME != 0);
            }
        }
    }

    /// The items of a member that is an array; nothing where it is absent or something else.
    #[inline(never)]
    pub fn list(self, key: &str) -> Items<'d, 'a> {
        let index = self.find(key);
        let end = if index > 0 { self.doc.end_of(index, Kind::Array) } else { 0 };
        Items(Children { doc: self.doc, at: index + 1, end })
    }

    #[inline]
    fn children(self, of: Kind) -> Children<'d, 'a> {
        Children { doc: self.doc, at: self.index + 1, end: self.doc.end_of(self.index, of) }
    }

    /// Number of items or members; 1 for a member's name, 0 for other values.
    #[inline(never)]
    pub fn len(self) -> usize {
        (self.node().meta >> COUNT) as usize
    }

    /// Whether it has neither items nor members.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Where one more item or member can be spliced into an array or object (just before its closing
    /// bracket), and whether a comma must precede it.
    pub fn append_at(self) -> Option<(usize, bool)> {
        matches!(self.kind(), Kind::Array | Kind::Object)
            .then(|| (self.node().end as usize - 1, !self.is_empty()))
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
    #[inline(never)]
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
    #[inline]
    fn step(&mut self) -> Option<Value<'d, 'a>> {
        if self.at >= self.end {
            return None;
        }
        let value = Value { doc: self.doc, index: self.at };
        self.at = self.doc.after(self.at);
        Some(value)
    }
}

/// Members of an object.
#[derive(Clone, Debug)]
pub struct Members<'d, 'a>(Children<'d, 'a>);

impl<'d, 'a> Iterator for Members<'d, 'a> {
    type Item = (Key<'d, 'a>, Value<'d, 'a>);

    #[inline(never)]
    fn next(&mut self) -> Option<Self::Item> {
        let children = &mut self.0;
        if children.at >= children.end {
            return None;
        }
        // A key is a string, which has nothing inside it: its value follows at once.
        let key = Value { doc: children.doc, index: children.at };
        let value = Value { doc: children.doc, index: children.at + 1 };
        children.at = children.doc.after(value.index);
        Some((Key(key), value))
    }
}

/// Items of an array.
#[derive(Clone, Debug)]
pub struct Items<'d, 'a>(Children<'d, 'a>);

impl<'d, 'a> Iterator for Items<'d, 'a> {
    type Item = Value<'d, 'a>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.0.step()
    }
}
