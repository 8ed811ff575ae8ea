//! Which placeholder stands for which value, within one request.

use std::rc::Rc;

use weir_sorted::{Map, SipHash};

use crate::detect::DETECTORS;
use crate::text::{part, put};
use crate::{Kind, Restorer};

/// Values that get a placeholder in one request. Further ones are masked, which cannot be undone but hides
/// them as well: memory is bounded by what a person could ever mean, not by what fits into a body.
const MOST: usize = 10_000;
/// Digits of a placeholder's number.
pub(crate) const NUMBER_DIGITS: usize = 6;

/// Placeholders and their values, in order of first appearance. It lives as long as its request and is
/// written nowhere.
#[derive(Clone, Debug)]
pub struct Vault {
    table: Rc<Table>,
    /// What values are looked up by.
    hash: SipHash,
    /// By hash, the places of entries and one; 0 where there is none. At least half of them are free.
    slots: Vec<u16>,
    /// Keys of placeholders that the client typed itself.
    reserved: Map<u32, usize>,
}

/// What restoring needs; shared with the restorers.
#[derive(Debug, Default)]
pub(crate) struct Table {
    entries: Vec<Entry>,
    /// Of all entries, one after the other.
    values: String,
    given: Vec<Given>,
}

#[derive(Debug)]
struct Entry {
    key: u32,
    /// A part of the value's hash.
    hash: u32,
    /// Where its value is.
    start: usize,
    end: usize,
}

/// The placeholders of a kind.
#[derive(Debug)]
struct Given {
    kind: Kind,
    /// The last number looked at.
    last: u32,
    /// Numbers that were handed out, ascending, and the places of their entries.
    numbers: Vec<(u32, usize)>,
}

impl Table {
    /// The value of a placeholder's key.
    pub(crate) fn value(&self, wanted: u32) -> Option<&str> {
        let given = self.given.iter().find(|given| key(given.kind, 0) == wanted & !NUMBER)?;
        let at = given.numbers.binary_search_by_key(&(wanted & NUMBER), |(number, _)| *number).ok()?;
        given.numbers.get(at).and_then(|(_, place)| self.entries.get(*place)).map(|entry| self.read(entry))
    }

    fn read(&self, entry: &Entry) -> &str {
        part(&self.values, entry.start..entry.end)
    }
}

impl Default for Vault {
    fn default() -> Self {
        Self::keyed(SipHash::new(&[0; 4], 0))
    }
}

impl Vault {
    /// No values. Where they come from somebody who may want to waste time, see [`Vault::keyed`].
    pub fn new() -> Self {
        Self::default()
    }

    /// No values; `hash` is one that no client knows, so that nobody can choose values that are all looked for in the same
    /// place.
    pub fn keyed(hash: SipHash) -> Self {
        Self { table: Rc::default(), hash, slots: Vec::new(), reserved: Map::new() }
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

    /// The placeholder of a value: the same value gets the same one. When the vault is full, or somebody restores already, the
    /// kind's mask.
    pub fn placeholder(&mut self, kind: Kind, value: &str) -> String {
        let mut out = String::new();
        self.place(kind, value, &mut out);
        out
    }

    /// Appends it.
    pub(crate) fn place(&mut self, kind: Kind, value: &str, out: &mut String) {
        match self.key(kind, value) {
            Some(key) => write(key, out),
            None => put(out, kind.mask()),
        }
    }

    fn key(&mut self, kind: Kind, value: &str) -> Option<u32> {
        let mut hash = self.hash.clone();
        hash.push(value.as_bytes());
        let hash = hash.finish_half() as u32;
        let place = self.table.entries.len();
        if place * 2 >= self.slots.len() {
            self.slots = vec![0; (place * 4).max(16)];
            for (at, entry) in self.table.entries.iter().enumerate() {
                let free = free(&self.slots, entry.hash, |_| false);
                self.slots.get_mut(free).into_iter().for_each(|slot| *slot = at as u16 + 1);
            }
        }
        let known = |at: usize| {
            let entry = self.table.entries.get(at);
            entry.is_some_and(|entry| entry.hash == hash && self.table.read(entry) == value)
        };
        let slot = free(&self.slots, hash, known);
        let slot = self.slots.get_mut(slot)?;
        if let Some(at) = slot.checked_sub(1) {
            return self.table.entries.get(usize::from(at)).map(|entry| entry.key);
        }
        if place >= MOST {
            return None;
        }
        // Who restores has the table as it is: there are no new ones then.
        let table = Rc::get_mut(&mut self.table)?;
        let of = table.given.iter().position(|given| given.kind == kind).unwrap_or(table.given.len());
        if of == table.given.len() {
            table.given.push(Given { kind, last: 0, numbers: Vec::new() });
        }
        let given = table.given.get_mut(of)?;
        // Kept even where it is too great, so that reserved numbers are walked over once, not once per value.
        given.last += 1;
        while self.reserved.contains_key(&key(kind, given.last)) {
            given.last += 1;
        }
        if given.last >= 10u32.pow(NUMBER_DIGITS as u32) {
            return None;
        }
        let key = key(kind, given.last);
        given.numbers.push((given.last, place));
        let start = table.values.len();
        put(&mut table.values, value);
        table.entries.push(Entry { key, hash, start, end: start + value.len() });
        *slot = place as u16 + 1;
        Some(key)
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

/// The slot of the entry that `is` says, or the first free one behind those that its hash shares. There is one.
fn free(slots: &[u16], hash: u32, is: impl Fn(usize) -> bool) -> usize {
    let mut at = hash as usize & (slots.len() - 1);
    for _ in 0..slots.len() {
        match slots.get(at).and_then(|slot| slot.checked_sub(1)) {
            Some(entry) if !is(usize::from(entry)) => at = (at + 1) & (slots.len() - 1),
            _ => break,
        }
    }
    at
}

/// A placeholder as a number: kind and number.
fn key(kind: Kind, number: u32) -> u32 {
    u32::from(kind.number()) << 24 | number
}

/// The bits of a key that are the placeholder's number.
const NUMBER: u32 = (1 << 24) - 1;

/// Appends the placeholder of a key.
fn write(key: u32, out: &mut String) {
    let mask = Kind::numbered((key >> 24) as u8).mask();
    put(out, part(mask, 0..mask.len() - 1));
    // Told from its end.
    let mut end = [b']'; NUMBER_DIGITS + 2];
    let (mut left, mut from) = (key & NUMBER, NUMBER_DIGITS + 1);
    for place in end.iter_mut().rev().skip(1) {
        from -= 1;
        if left == 0 {
            *place = b'_';
            break;
        }
        *place = b'0' + (left % 10) as u8;
        left /= 10;
    }
    put(out, std::str::from_utf8(end.get(from..).unwrap_or_default()).unwrap_or_default());
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

/// Bytes of the shortest placeholder.
pub const PLACEHOLDER: usize = {
    let (mut shortest, mut left) = (usize::MAX, DETECTORS);
    while let [first, rest @ ..] = left {
        shortest = if first.mask.len() < shortest { first.mask.len() } else { shortest };
        left = rest;
    }
    shortest + 2
};

/// Characters between the brackets of the longest placeholder.
const LONGEST: usize = {
    let (mut longest, mut left) = (0, DETECTORS);
    while let [first, rest @ ..] = left {
        longest = if first.mask.len() > longest { first.mask.len() } else { longest };
        left = rest;
    }
    longest - 1 + NUMBER_DIGITS
};

/// Reads a placeholder `[KIND_NUMBER]`. Most brackets are told by the few characters that follow them: kinds are gone through
/// where a whole name with a number stands, or where the text ends.
pub(crate) fn parse(text: &[u8]) -> Parsed {
    let Some(body) = text.strip_prefix(b"[") else {
        return if text.is_empty() { Parsed::Cut } else { Parsed::No };
    };
    let name = |byte: &&u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || **byte == b'_';
    let length = body.iter().take(LONGEST + 1).take_while(name).count();
    let name = body.get(..length).unwrap_or_default();
    match body.get(length) {
        None if first(&|label| begins(label, name)).is_some() => Parsed::Cut,
        Some(b']') => whole(name).map_or(Parsed::No, |key| Parsed::Yes(length + 2, key)),
        _ => Parsed::No,
    }
}

/// The key of what stands between a placeholder's brackets.
fn whole(name: &[u8]) -> Option<u32> {
    let digits = name.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let (label, number) = name.split_at_checked(name.len() - digits)?;
    let label = label.strip_suffix(b"_")?;
    if !numbered(number) {
        return None;
    }
    // Most differ in length already.
    let is = |mask: &[u8]| mask.len() == label.len() + 2 && mask.get(1..=label.len()) == Some(label);
    let kind = Kind::all().find(|kind| is(kind.mask().as_bytes()))?;
    Some(key(kind, number.iter().fold(0, |all, digit| all * 10 + u32::from(digit - b'0'))))
}

/// The first kind with such a name.
#[inline(never)]
fn first(is: &dyn Fn(&[u8]) -> bool) -> Option<Kind> {
    Kind::all().find(|kind| is(kind.label().as_bytes()))
}

/// Whether digits are a placeholder's number.
fn numbered(digits: &[u8]) -> bool {
    matches!(digits, [b'1'..=b'9', rest @ ..] if rest.len() < NUMBER_DIGITS && rest.iter().all(u8::is_ascii_digit))
}

/// Whether a name is the beginning of a placeholder of a kind.
fn begins(label: &[u8], name: &[u8]) -> bool {
    match name.strip_prefix(label) {
        None => label.starts_with(name),
        Some([b'_', digits @ ..]) => digits.is_empty() || numbered(digits),
        Some(rest) => rest.is_empty(),
    }
}

#[cfg(test)]
#[allow(clippy::string_slice, clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn email() -> Kind {
        Kind::of("email").unwrap()
    }

    #[test]
    fn no_placeholder_is_shorter_than_the_shortest() {
        let shortest = Kind::all().map(|kind| Vault::new().placeholder(kind, "x").len()).min();
        assert_eq!(shortest, Some(PLACEHOLDER));
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

    #[test]
    fn what_may_become_a_placeholder_is_told_at_every_place_where_a_text_ends() {
        let ends = ["", "1", "12", "0", "01", "123456", "1234567", "1x", "x"];
        let names =
            Kind::all().map(|kind| kind.label().to_owned()).chain(["EMAILS".into(), "E".into(), "".into()]);
        let mut seen = [0; 3];
        for name in names {
            for (end, close) in ends.iter().flat_map(|end| ["]", "]]", " ", ""].map(|close| (end, close))) {
                let text = format!("[{name}_{end}{close}");
                for cut in 0..=text.len() {
                    let text = &text[..cut];
                    // No label has a digit.
                    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
                    let number = digits.parse().unwrap_or(1).clamp(1, 999_999);
                    let mut expected = Parsed::No;
                    for kind in Kind::all() {
                        let whole = format!("[{}_{number}]", kind.label());
                        if text.starts_with(&whole) {
                            expected = Parsed::Yes(whole.len(), key(kind, number));
                        } else if whole.starts_with(text) {
                            expected = Parsed::Cut;
                        }
                    }
                    assert_eq!(parse(text.as_bytes()), expected, "{text}");
                    seen[usize::from(expected != Parsed::No)
                        + usize::from(matches!(expected, Parsed::Yes(..)))] += 1;
                }
            }
        }
        assert!(seen.iter().all(|n| *n > 500), "{seen:?}");
    }

    #[test]
    fn every_value_is_found_again_among_many() {
        let mut vault = Vault::keyed(SipHash::new(&[1, 2, 3, 4], 5));
        let kinds: Vec<Kind> = Kind::all().collect();
        let mut given = Vec::new();
        for number in 0..3_000 {
            let value = format!("{number}");
            given.push((vault.placeholder(kinds[number % kinds.len()], &value), value));
        }
        for (placeholder, value) in &given {
            assert_eq!(&vault.placeholder(Kind::WORD, value), placeholder);
            assert_eq!(vault.restore(placeholder).as_ref(), Some(value));
        }
        assert_eq!(
            (vault.len(), given[0].0.as_str(), given[68].0.as_str()),
            (3_000, "[EMAIL_1]", "[EMAIL_2]")
        );
    }
}
