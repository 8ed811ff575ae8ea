//! Which placeholder stands for which value, within one request.

use std::rc::Rc;

use weir_sorted::Map;

use crate::{Kind, Restorer};

/// Values that get a placeholder in one request. Further ones are masked, which cannot be undone but hides
/// them as well: memory is bounded by what a person could ever mean, not by what fits into a body.
const MOST: usize = 10_000;
/// Digits of a placeholder's number.
pub(crate) const NUMBER_DIGITS: usize = 6;

/// Placeholders and their values, in order of first appearance. It lives as long as its request and is
/// written nowhere.
#[derive(Clone, Debug, Default)]
pub struct Vault {
    table: Rc<Table>,
    by_value: Map<Rc<str>, usize>,
    /// Keys of placeholders that the client typed itself.
    reserved: Map<u32, usize>,
    /// The last number handed out, by kind.
    last: Vec<(Kind, u32)>,
}

/// What restoring needs; shared with the restorers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    entries: Vec<Entry>,
    by_key: Map<u32, usize>,
}

#[derive(Clone, Debug)]
struct Entry {
    placeholder: String,
    value: Rc<str>,
}

impl Table {
    /// The value of a placeholder's key.
    pub(crate) fn value(&self, key: u32) -> Option<&str> {
        self.by_key.get(&key).and_then(|index| self.entries.get(*index)).map(|entry| &*entry.value)
    }
}

impl Vault {
    /// No values.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes every placeholder that the client typed itself, so that it is never handed out and therefore
    /// never restored. Every text of the request has to pass here before the first [`Vault::placeholder`].
    pub fn reserve(&mut self, text: &str) {
        let mut at = 0;
        while let Some(found) = memchr::memchr(b'[', text.as_bytes().get(at..).unwrap_or_default()) {
            at += found;
            match parse(text.as_bytes().get(at..).unwrap_or_default()) {
                Parsed::Yes(length, key) => {
                    self.reserved.insert(key, 0);
                    at += length;
                }
                Parsed::No | Parsed::Cut => at += 1,
            }
        }
    }

    /// The placeholder of a value: the same value gets the same one. When the vault is full, the kind's
    /// mask.
    pub fn placeholder(&mut self, kind: Kind, value: &str) -> &str {
        let index = match self.by_value.get(value) {
            Some(index) => *index,
            None => match self.add(kind, value) {
                Some(index) => index,
                None => return kind.mask(),
            },
        };
        self.table.entries.get(index).map_or(kind.mask(), |entry| &entry.placeholder)
    }

    fn add(&mut self, kind: Kind, value: &str) -> Option<usize> {
        let index = self.table.entries.len();
        if index >= MOST {
            return None;
        }
        let last = self.last.iter().position(|(of, _)| *of == kind);
        let mut number = last.and_then(|at| self.last.get(at)).map_or(0, |(_, number)| *number) + 1;
        while self.reserved.contains_key(&key(kind, number)) {
            number += 1;
        }
        // Kept even where it is too great, so that reserved numbers are walked over once, not once per value.
        match last.and_then(|at| self.last.get_mut(at)) {
            Some(last) => *last = (kind, number),
            None => self.last.push((kind, number)),
        }
        if number >= 10u32.pow(NUMBER_DIGITS as u32) {
            return None;
        }
        let value: Rc<str> = value.into();
        let table = Rc::make_mut(&mut self.table);
        let placeholder = format!("[{}_{number}]", kind.label());
        table.entries.push(Entry { placeholder, value: value.clone() });
        table.by_key.insert(key(kind, number), index);
        self.by_value.insert(value, index);
        Some(index)
    }

    /// Whether no placeholder was handed out: answers need no restoring.
    pub fn is_empty(&self) -> bool {
        self.table.entries.is_empty()
    }

    /// The number of placeholders handed out.
    pub fn len(&self) -> usize {
        self.table.entries.len()
    }

    /// A text with all placeholders replaced by their values; none where it has no placeholder.
    pub fn restore(&self, text: &str) -> Option<String> {
        memchr::memchr(b'[', text.as_bytes())?;
        let (mut restorer, mut out) = (self.restorer(), String::with_capacity(text.len()));
        restorer.push(text, &mut out);
        restorer.finish(&mut out);
        (out != text).then_some(out)
    }

    /// Restores a stream; one for each text that is streamed (choice, tool call).
    pub fn restorer(&self) -> Restorer {
        Restorer::new(self.table.clone())
    }
}

/// A placeholder as a number: kind and number.
fn key(kind: Kind, number: u32) -> u32 {
    u32::from(kind.number()) << 24 | number
}

/// What stands at the start of a text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    No,
    /// A placeholder's length in bytes and key.
    Yes(usize, u32),
    /// The text ended, and could become a placeholder.
    Cut,
}

/// Reads a placeholder `[KIND_NUMBER]`.
pub(crate) fn parse(text: &[u8]) -> Parsed {
    let Some(body) = text.strip_prefix(b"[") else {
        return if text.is_empty() { Parsed::Cut } else { Parsed::No };
    };
    for kind in Kind::all() {
        let label = kind.label().as_bytes();
        if body.len() <= label.len() {
            if label.starts_with(body) {
                return Parsed::Cut;
            }
            continue;
        }
        let Some([b'_', digits @ ..]) = body.strip_prefix(label) else { continue };
        let mut number = 0;
        for (index, byte) in digits.iter().take(NUMBER_DIGITS + 1).enumerate() {
            match byte {
                b']' if index > 0 => return Parsed::Yes(label.len() + index + 3, key(kind, number)),
                b'1'..=b'9' | b'0' if index < NUMBER_DIGITS && (*byte != b'0' || index > 0) => {
                    number = number * 10 + u32::from(byte - b'0');
                }
                _ => return Parsed::No,
            }
        }
        return Parsed::Cut;
    }
    Parsed::No
}

#[cfg(test)]
#[allow(clippy::string_slice, clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn email() -> Kind {
        Kind::of("email").unwrap()
    }

    #[test]
    fn the_same_value_has_the_same_placeholder_and_kinds_count_apart() {
        let mut vault = Vault::new();
        assert!(vault.is_empty());
        assert_eq!(vault.placeholder(email(), "a@b.co"), "[EMAIL_1]");
        assert_eq!(vault.placeholder(Kind::of("us_ssn").unwrap(), "x"), "[US_SSN_1]");
        assert_eq!(vault.placeholder(email(), "c@d.co"), "[EMAIL_2]");
        assert_eq!(vault.placeholder(email(), "a@b.co"), "[EMAIL_1]");
        assert_eq!(vault.placeholder(Kind::WORD, "Bluebird"), "[WORD_1]");
        assert_eq!((vault.len(), vault.is_empty()), (4, false));
        let text = "to [EMAIL_2], [EMAIL_1]; not [EMAIL_3], [EMAIL_01], EMAIL_1";
        assert_eq!(vault.restore(text).unwrap(), "to c@d.co, a@b.co; not [EMAIL_3], [EMAIL_01], EMAIL_1");
        assert_eq!((vault.restore("none [here]"), vault.restore("none")), (None, None));
    }

    #[test]
    fn what_the_client_typed_is_neither_handed_out_nor_restored() {
        let mut vault = Vault::new();
        vault.reserve("what does [EMAIL_1] mean? [[EMAIL_3] [EMAIL_2 [EMAIL_999999] [EMAIL_1000000]");
        assert_eq!(vault.placeholder(email(), "a"), "[EMAIL_2]");
        assert_eq!(vault.placeholder(email(), "b"), "[EMAIL_4]");
        assert_eq!(vault.restore("[EMAIL_1][EMAIL_2][EMAIL_3][EMAIL_4]").unwrap(), "[EMAIL_1]a[EMAIL_3]b");
    }

    #[test]
    fn a_full_vault_masks() {
        let mut vault = Vault::new();
        for index in 0..MOST {
            assert_eq!(vault.placeholder(email(), &index.to_string()), format!("[EMAIL_{}]", index + 1));
        }
        assert_eq!(vault.placeholder(email(), "one more"), "[EMAIL]");
        assert_eq!(vault.placeholder(email(), "7"), "[EMAIL_8]");
        assert_eq!(vault.len(), MOST);
    }

    #[test]
    fn placeholders_are_read_exactly() {
        assert_eq!(parse(b"[EMAIL_12] x"), Parsed::Yes(10, 12));
        let whole = b"[CREDIT_CARD_120]";
        assert_eq!(parse(whole), Parsed::Yes(17, 1 << 24 | 120));
        for end in 0..whole.len() {
            assert_eq!(parse(&whole[..end]), Parsed::Cut, "{end}");
        }
        for no in [
            "x",
            "[x",
            "[EMAIL]",
            "[EMAIL_]",
            "[EMAIL_0]",
            "[EMAIL_x",
            "[EMAIL_1x]",
            "[email_1]",
            "[EMAIL_1234567",
            "[EMAILS_1]",
        ] {
            assert_eq!(parse(no.as_bytes()), Parsed::No, "{no}");
        }
    }
}
