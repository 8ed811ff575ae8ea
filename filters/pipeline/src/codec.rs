//! A flat byte format for what the two machines pass each other in filter state.
//!
//! Not a wire format: both ends are this crate. A message opens with a version byte, since a module upgrade
//! may put the two ends into different builds; a reader refuses a version it does not know.

/// Appends fields.
#[derive(Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// A message of `version`.
    pub fn new(version: u8) -> Self {
        Self(vec![version])
    }

    /// Appends an integer as LEB128.
    pub fn int(&mut self, mut value: u64) -> &mut Self {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
        self
    }

    /// Appends bytes behind their length.
    pub fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.int(value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    /// The message.
    pub fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Takes fields back in the order they were written. What a message is cut short of, or holds damaged, is 0 or empty, and
/// so is all that comes after it: [`Reader::whole`] asks once for many fields, since a way out behind each is code.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    damaged: bool,
}

impl<'a> Reader<'a> {
    /// Opens a message of `version`; `None` is one of another version.
    pub fn new(message: &'a [u8], version: u8) -> Option<Self> {
        let (first, rest) = message.split_first()?;
        (*first == version).then_some(Self { rest, damaged: false })
    }

    /// Takes an integer.
    #[inline(never)]
    pub fn int(&mut self) -> u64 {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let Some((byte, rest)) = self.rest.split_first() else { break };
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return value;
            }
        }
        self.damage();
        0
    }

    /// Takes bytes.
    #[inline(never)]
    pub fn bytes(&mut self) -> &'a [u8] {
        let len = usize::try_from(self.int()).unwrap_or(usize::MAX);
        let Some((head, rest)) = self.rest.split_at_checked(len) else {
            self.damage();
            return &[];
        };
        self.rest = rest;
        head
    }

    /// Takes a string.
    #[inline(never)]
    pub fn str(&mut self) -> &'a str {
        std::str::from_utf8(self.bytes()).unwrap_or_else(|_| {
            self.damage();
            ""
        })
    }

    /// Takes a string to keep.
    #[inline(never)]
    pub fn text(&mut self) -> String {
        self.str().to_owned()
    }

    /// All that was taken so far was there.
    pub fn whole(&self) -> Option<()> {
        (!self.damaged).then_some(())
    }

    /// Nothing is left.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    fn damage(&mut self) {
        self.damaged = true;
        self.rest = &[];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_as_written_and_a_cut_message_is_none() {
        let mut w = Writer::new(7);
        w.int(0).int(300).int(u64::MAX).bytes(b"abc").bytes(b"");
        let message = w.finish();
        let read = |m: &[u8]| -> Option<(u64, u64, u64, String, String)> {
            let mut r = Reader::new(m, 7)?;
            let fields = (r.int(), r.int(), r.int(), r.text(), r.text());
            r.whole().map(|()| fields)
        };
        assert_eq!(read(&message), Some((0, 300, u64::MAX, "abc".into(), String::new())));
        for cut in 0..message.len() {
            assert_eq!(read(&message[..cut]), None, "cut at {cut}");
        }
        assert!(Reader::new(&message, 8).is_none());
    }
}
