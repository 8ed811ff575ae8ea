//! Token counts of texts seen before, and texts in which a search has found nothing. A chat sends its history again with
//! every turn: a turn costs its new text only, and what the model answered is known too, since it was counted on its way
//! out.
//!
//! A text is known by a 128-bit hash under seeds that no client knows, so nobody can make one text pass for another. It
//! is the text that is hashed, without its escapes: JSON may write the same text in many ways. Beside it stands how it
//! was written, so that a text which comes again as it came is not unescaped; and beside the texts of a chat, all its
//! messages as they were written, so that the next turn does not even walk through them. The table is of fixed size; a
//! text takes the place of another that hashes to the same slot.

use weir_dialects::openai_chat::Rules;
use weir_sorted::SipHash;
use weir_wire::json::Value;

/// Slots; with 24 bytes each the table is 96 KiB per VM and policy version.
const SLOTS: usize = 4096;
/// Bytes; shorter texts are counted, and searched, about as fast as they are looked up.
pub const MIN: usize = 64;
/// Marks what is known by how it is written.
const WRITTEN: u64 = 1 << 63;
/// Marks the messages that a chat begins with.
const MESSAGES: u64 = 1 << 62;
/// Marks what was searched.
const SEARCHED: u64 = 1 << 61;
/// Messages of a chat whose beginning is looked for; those before a second turn are fewer.
const FEWEST: usize = 3;
/// The last messages behind which a known beginning may end.
const ENDS: usize = 8;

/// What a text is known by.
pub type Hash = (u64, u64);

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    hash: Hash,
    tokens: u64,
}

/// What is known of a chat.
#[derive(Default)]
pub struct Known {
    /// So many of its first messages.
    pub messages: usize,
    /// Their tokens.
    pub tokens: u64,
    /// What all its messages are to be known by; none where that is not worth it.
    pub all: Option<Hash>,
}

/// The table.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    seeds: [u64; 4],
    slots: Vec<Slot>,
}

impl Seen {
    /// Sets the seeds once; later calls change nothing.
    pub fn seed(&mut self, entropy: &[u64; 4]) {
        if self.seeds == [0; 4] {
            self.seeds = *entropy;
        }
    }

    /// The key of a text that comes in pieces, to be counted under the rule `salt`.
    pub fn key(&self, salt: u64) -> SipHash {
        SipHash::new(&self.seeds, salt)
    }

    /// The count of `text` under the rule `salt`, counted by `count` if it is not known.
    pub fn count(&mut self, salt: u64, text: &str, count: impl FnOnce(&str) -> u64) -> u64 {
        let hash = self.hash(salt, text);
        match hash.and_then(|hash| self.slot(hash)) {
            Some(slot) => {
                if Some(slot.hash) != hash {
                    *slot = Slot { hash: hash.unwrap_or_default(), tokens: count(text) };
                }
                slot.tokens
            }
            None => count(text),
        }
    }

    /// The same of a string of a document.
    pub fn count_value(&mut self, salt: u64, value: Value<'_, '_>, count: impl FnOnce(&str) -> u64) -> u64 {
        let raw = value.str_raw().unwrap_or_default();
        if !value.escaped() {
            return self.count(salt, raw, count);
        }
        let written = self.hash(salt | WRITTEN, raw);
        if let Some(slot) = written.and_then(|hash| self.slot(hash)).filter(|slot| Some(slot.hash) == written)
        {
            return slot.tokens;
        }
        let tokens = self.count(salt, &value.as_str().unwrap_or_default(), count);
        self.put(written, tokens);
        tokens
    }

    /// The longest beginning of a chat that was counted by these rules, as it is written.
    pub fn resume(&mut self, salt: u64, rules: &Rules, messages: Value<'_, '_>) -> Known {
        let number = messages.len();
        let mut out = Known::default();
        if number < FEWEST || self.seeds == [0; 4] {
            return out;
        }
        let mut key = self.key(salt | MESSAGES);
        for rule in [rules.per_message, rules.per_name] {
            key.push(&rule.to_le_bytes());
        }
        let (from, raw) = (messages.range().start, messages.raw());
        let first = number.saturating_sub(ENDS);
        let mut hashes = [Hash::default(); ENDS];
        // Behind the bracket.
        let mut at = 1;
        for (message, hash) in messages.items().skip(first).zip(&mut hashes) {
            let end = message.range().end - from;
            key.push(raw.get(at..end).unwrap_or_default());
            (at, *hash) = (end, key.finish());
            out.all = Some(*hash);
        }
        for (before, hash) in hashes.iter().enumerate().take(number - first).rev() {
            if let Some(slot) = self.slot(*hash).filter(|slot| slot.hash == *hash) {
                (out.messages, out.tokens) = (first + before + 1, slot.tokens);
                break;
            }
        }
        out
    }

    /// What a text is known by, as it is written, once `rules` have found nothing in it; `part` says what the text is.
    /// None where that is not worth it.
    pub fn searched(&self, rules: u64, part: u8, written: &str) -> Option<Hash> {
        if written.len() < MIN || self.seeds == [0; 4] {
            return None;
        }
        let mut key = self.key(SEARCHED | u64::from(part));
        key.push(&rules.to_le_bytes());
        key.push(written.as_bytes());
        Some(key.finish())
    }

    /// Whether this is known.
    pub fn has(&mut self, hash: Hash) -> bool {
        self.slot(hash).is_some_and(|slot| slot.hash == hash)
    }

    /// Takes in a text that was counted elsewhere.
    pub fn learn(&mut self, key: &SipHash, tokens: u64) {
        let remembered = key.length() >= MIN as u64 && self.seeds != [0; 4];
        self.put(remembered.then(|| key.finish()), tokens);
    }

    /// Takes in what is known by this hash.
    pub fn put(&mut self, hash: Option<Hash>, tokens: u64) {
        if let Some(hash) = hash
            && let Some(slot) = self.slot(hash)
        {
            *slot = Slot { hash, tokens };
        }
    }

    /// None of what is not remembered.
    fn hash(&self, salt: u64, text: &str) -> Option<Hash> {
        if text.len() < MIN || self.seeds == [0; 4] {
            return None;
        }
        let mut key = self.key(salt);
        key.push(text.as_bytes());
        Some(key.finish())
    }

    /// Where a text is, if it is known.
    fn slot(&mut self, hash: Hash) -> Option<&mut Slot> {
        if self.slots.is_empty() {
            self.slots.resize(SLOTS, Slot::default());
        }
        self.slots.get_mut(usize::try_from(hash.0 % SLOTS as u64).unwrap_or(0))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests stop at what they do not expect")]
mod tests {
    use weir_wire::json::{Limits, parse};

    use super::*;

    const TEXT: &str =
        "a text that is long enough to be remembered, if only just by a few letters \u{1F600}\n";

    fn seeded() -> Seen {
        let mut seen = Seen::default();
        seen.seed(&[1, 2, 3, 4]);
        seen
    }

    #[test]
    fn a_text_is_counted_once_per_rule() {
        let mut seen = seeded();
        let mut counted = 0;
        for salt in [0, 1, 0, 1] {
            let n = seen.count(salt, TEXT, |t| {
                counted += 1;
                t.len() as u64 + salt
            });
            assert_eq!(n, TEXT.len() as u64 + salt);
        }
        assert_eq!(counted, 2);
    }

    #[test]
    fn a_text_is_known_however_it_is_written() {
        let plain = serde_json::to_string(TEXT).unwrap();
        let escaped: String = TEXT.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect();
        for (first, then) in [(0, 1), (1, 0), (1, 1), (0, 0)] {
            let forms = [plain.clone(), format!("\"{escaped}\"")];
            let mut seen = seeded();
            for (form, known) in [(first, false), (then, true), (then, true)] {
                let text = forms.get(form).unwrap();
                let doc = parse(text.as_bytes(), &Limits::default()).unwrap();
                let mut counted = false;
                let tokens = seen.count_value(0, doc.root(), |text| {
                    counted = true;
                    assert_eq!(text, TEXT);
                    7
                });
                assert_eq!((tokens, counted), (7, !known), "{form} after {first}");
            }
            assert_eq!(seen.count(0, TEXT, |_| 0), 7);
        }
        // The letters of an escape are no escape.
        let mut seen = seeded();
        let doc = parse(plain.as_bytes(), &Limits::default()).unwrap();
        let raw = doc.root().str_raw().unwrap();
        assert_eq!(seen.count_value(0, doc.root(), |_| 7) + seen.count(0, raw, |_| 30), 37);
    }

    #[test]
    fn a_text_that_came_in_pieces_is_known_wherever_it_was_cut() {
        for length in 0..=TEXT.len() {
            let Some(text) = TEXT.get(..length) else { continue };
            for cut in 0..=length {
                for then in cut..=length.min(cut + 9) {
                    let mut seen = seeded();
                    let mut key = seen.key(0);
                    for piece in
                        [&text.as_bytes()[..cut], &text.as_bytes()[cut..then], &text.as_bytes()[then..]]
                    {
                        key.push(piece);
                    }
                    seen.learn(&key, 7);
                    let expected = if length < MIN { 30 } else { 7 };
                    assert_eq!(seen.count(0, text, |_| 30), expected, "{cut}, {then} of {length}");
                    assert_eq!(seen.count(1, text, |_| 30), 30, "another vocabulary's");
                }
            }
        }
    }

    #[test]
    fn without_seeds_nothing_is_known() {
        let mut seen = Seen::default();
        let mut key = seen.key(0);
        key.push(TEXT.as_bytes());
        seen.learn(&key, 7);
        assert_eq!((seen.count(0, TEXT, |_| 30), seen.slots.len()), (30, 0));
    }
}
