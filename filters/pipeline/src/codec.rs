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

/// Takes fields back in the order they were written. `None` is a message cut short or of another version.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Opens a message of `version`.
    pub fn new(message: &'a [u8], version: u8) -> Option<Self> {
        let (first, rest) = message.split_first()?;
        (*first == version).then_some(Self(rest))
    }

    /// Takes an integer.
    pub fn int(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// Takes bytes.
    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.int()?).ok()?;
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }

    /// Takes a string.
    pub fn str(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    /// Nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
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
            Some((r.int()?, r.int()?, r.int()?, r.str()?.into(), r.str()?.into()))
        };
        assert_eq!(read(&message), Some((0, 300, u64::MAX, "abc".into(), String::new())));
        for cut in 0..message.len() {
            assert_eq!(read(&message[..cut]), None, "cut at {cut}");
        }
        assert!(Reader::new(&message, 8).is_none());
    }
}
