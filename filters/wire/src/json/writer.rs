//! A push writer of JSON: commas are its business, matching the brackets is the caller's.

use super::escape_into;

/// Appends JSON to a buffer. Not a validator: what is pushed in the wrong order comes out in that order.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    out: Vec<u8>,
    /// Whether the next key or value needs a comma before it. One bit is enough: a container that just
    /// closed was itself a value of the one around it.
    comma: bool,
}

impl Writer {
    /// Appends to `out`, whatever it holds already.
    pub fn new(out: Vec<u8>) -> Self {
        Self { out, comma: false }
    }

    /// The buffer.
    pub fn into_inner(self) -> Vec<u8> {
        self.out
    }

    /// `{`
    pub fn begin_object(&mut self) -> &mut Self {
        self.begin(b'{')
    }

    /// `}`
    pub fn end_object(&mut self) -> &mut Self {
        self.end(b'}')
    }

    /// `[`
    pub fn begin_array(&mut self) -> &mut Self {
        self.begin(b'[')
    }

    /// `]`
    pub fn end_array(&mut self) -> &mut Self {
        self.end(b']')
    }

    /// A member's key and colon.
    pub fn key(&mut self, key: &str) -> &mut Self {
        self.str(key);
        self.out.push(b':');
        self.comma = false;
        self
    }

    /// A member that is a string. Two hundred places call it: it stays one call in each.
    #[inline(never)]
    pub fn member(&mut self, key: &str, text: &str) -> &mut Self {
        self.key(key).str(text)
    }

    /// A string, escaped here.
    pub fn str(&mut self, text: &str) -> &mut Self {
        self.separate();
        self.quoted(text);
        self
    }

    #[inline(never)]
    fn quoted(&mut self, text: &str) {
        self.out.push(b'"');
        escape_into(&mut self.out, text);
        self.out.push(b'"');
    }

    /// An integer.
    pub fn u64(&mut self, number: u64) -> &mut Self {
        self.separate();
        self.digits(number);
        self
    }

    /// An integer.
    pub fn i64(&mut self, number: i64) -> &mut Self {
        self.separate();
        if number < 0 {
            self.out.push(b'-');
        }
        self.digits(number.unsigned_abs());
        self
    }

    /// The shortest number that reads back as the same `f64`; `null` for what JSON has no number for.
    pub fn f64(&mut self, number: f64) -> &mut Self {
        if number.is_finite() { self.raw(format!("{number:?}").as_bytes()) } else { self.null() }
    }

    /// `true` or `false`
    pub fn bool(&mut self, value: bool) -> &mut Self {
        self.raw(if value { b"true" } else { b"false" })
    }

    /// `null`
    pub fn null(&mut self) -> &mut Self {
        self.raw(b"null")
    }

    /// A string, or `null`.
    pub fn opt(&mut self, text: Option<&str>) -> &mut Self {
        match text {
            Some(text) => self.str(text),
            None => self.null(),
        }
    }

    /// A piece of JSON with a `?` for each of `texts`, which stands there as a string: `{"type":"text","text":?}`. It may
    /// begin and end in the middle of things; what is written next goes on there.
    #[inline(never)]
    pub fn fill(&mut self, piece: &str, texts: &[&str]) -> &mut Self {
        if !piece.starts_with(['}', ']']) {
            self.separate();
        }
        let mut texts = texts.iter();
        for (at, literal) in piece.as_bytes().split(|byte| *byte == b'?').enumerate() {
            if at > 0 {
                self.quoted(texts.next().copied().unwrap_or_default());
            }
            self.out.extend_from_slice(literal);
        }
        self.comma = !piece.ends_with(['{', '[', ':']);
        self
    }

    /// A value that is JSON already.
    pub fn raw(&mut self, json: &[u8]) -> &mut Self {
        self.separate();
        self.out.extend_from_slice(json);
        self
    }

    fn separate(&mut self) {
        if self.comma {
            self.out.push(b',');
        }
        self.comma = true;
    }

    fn begin(&mut self, bracket: u8) -> &mut Self {
        self.separate();
        self.out.push(bracket);
        self.comma = false;
        self
    }

    fn end(&mut self, bracket: u8) -> &mut Self {
        self.out.push(bracket);
        self.comma = true;
        self
    }

    fn digits(&mut self, mut number: u64) {
        // 20 digits hold every u64.
        let mut digits = [0u8; 20];
        let mut length = 0;
        for slot in digits.iter_mut().rev() {
            *slot = b'0' + (number % 10) as u8;
            number /= 10;
            length += 1;
            if number == 0 {
                break;
            }
        }
        self.out.extend_from_slice(digits.get(digits.len() - length..).unwrap_or_default());
    }
}
