//! The headers of a frame, read in place.

/// A header's value in one of the protocol's types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderValue<'f> {
    /// Types 0 and 1.
    Bool(bool),
    /// Type 2.
    Byte(i8),
    /// Type 3.
    Int16(i16),
    /// Type 4.
    Int32(i32),
    /// Type 5.
    Int64(i64),
    /// Type 6.
    Bytes(&'f [u8]),
    /// Type 7.
    Str(&'f str),
    /// Type 8: milliseconds since 1970.
    Timestamp(i64),
    /// Type 9.
    Uuid(u128),
}

/// Headers in order.
#[derive(Clone, Debug)]
pub struct Headers<'f> {
    rest: &'f [u8],
    bad: bool,
}

impl<'f> Headers<'f> {
    pub(super) fn new(rest: &'f [u8]) -> Self {
        Self { rest, bad: false }
    }

    /// Whether iteration ended at something that is no header. Never so for a frame that a decoder gave.
    pub(super) fn is_bad(&self) -> bool {
        self.bad
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*taken)
    }

    fn slice(&mut self, length: usize) -> Option<&'f [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    fn header(&mut self) -> Option<(&'f str, HeaderValue<'f>)> {
        let [length] = self.take()?;
        let name = std::str::from_utf8(self.slice(usize::from(length))?).ok()?;
        let [kind] = self.take()?;
        let value = match kind {
            0 => HeaderValue::Bool(true),
            1 => HeaderValue::Bool(false),
            2 => HeaderValue::Byte(i8::from_be_bytes(self.take()?)),
            3 => HeaderValue::Int16(i16::from_be_bytes(self.take()?)),
            4 => HeaderValue::Int32(i32::from_be_bytes(self.take()?)),
            5 => HeaderValue::Int64(i64::from_be_bytes(self.take()?)),
            6 | 7 => {
                let length = usize::from(u16::from_be_bytes(self.take()?));
                let bytes = self.slice(length)?;
                if kind == 6 {
                    HeaderValue::Bytes(bytes)
                } else {
                    HeaderValue::Str(std::str::from_utf8(bytes).ok()?)
                }
            }
            8 => HeaderValue::Timestamp(i64::from_be_bytes(self.take()?)),
            9 => HeaderValue::Uuid(u128::from_be_bytes(self.take()?)),
            _ => return None,
        };
        Some((name, value))
    }
}

impl<'f> Iterator for Headers<'f> {
    type Item = (&'f str, HeaderValue<'f>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() || self.bad {
            return None;
        }
        let header = self.header();
        self.bad = header.is_none();
        header
    }
}

pub(super) fn encode(out: &mut Vec<u8>, name: &str, value: &str) {
    let (name, value) = (cut(name, 255), cut(value, usize::from(i16::MAX.unsigned_abs())));
    out.push(name.len() as u8);
    out.extend_from_slice(name.as_bytes());
    out.push(7);
    out.extend_from_slice(&(value.len() as u16).to_be_bytes());
    out.extend_from_slice(value.as_bytes());
}

/// At most `most` bytes of `text`, whole characters.
fn cut(text: &str, most: usize) -> &str {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}
