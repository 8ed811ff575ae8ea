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
    pub fn key(&self, salt: u64) -> Key {
        Key::new(&self.seeds, salt)
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
    pub fn learn(&mut self, key: &Key, tokens: u64) {
        let remembered = key.length >= MIN as u64 && self.seeds != [0; 4];
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

/// What a text is known by: SipHash-1-3 with 128 bits of output (Aumasson and Bernstein, 2012), over the salt, then the
/// text, in whatever pieces: a keyed function of additions, rotations and exclusive ors only, which wasm has; 128-bit
/// products would cost six times as much here.
#[derive(Clone)]
pub struct Key {
    state: Sip,
    /// Bytes that are no whole word yet.
    last: u64,
    length: u64,
}

impl Key {
    fn new(seeds: &[u64; 4], salt: u64) -> Self {
        let [k0, k1, k2, _] = *seeds;
        let mut state = Sip([
            k0 ^ 0x736f_6d65_7073_6575,
            k1 ^ 0x646f_7261_6e64_6f6d ^ 0xee,
            k0 ^ 0x6c79_6765_6e65_7261,
            k1 ^ 0x7465_6462_7974_6573,
        ]);
        state.word(salt ^ k2);
        Self { state, last: 0, length: 0 }
    }

    /// Takes the next piece.
    pub fn push(&mut self, piece: &[u8]) {
        let held = self.length % 8;
        self.length += piece.len() as u64;
        let mut state = self.state;
        let missing = if held == 0 { 0 } else { piece.len().min(8 - held as usize) };
        let (first, rest) = piece.split_at_checked(missing).unwrap_or((piece, &[]));
        let mut last = self.last | word(first) << (8 * held);
        if held > 0 && held as usize + missing == 8 {
            state.word(last);
            last = 0;
        }
        let (words, rest) = rest.as_chunks::<8>();
        for word in words {
            state.word(u64::from_le_bytes(*word));
        }
        self.last = last | word(rest);
        self.state = state;
    }

    /// The text ended.
    pub fn finish(&self) -> Hash {
        let mut state = self.state;
        state.word(self.last | self.length << 56);
        (state.half(0xee), state.half(0xdd))
    }
}

/// Fewer than eight bytes as a number.
fn word(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

#[derive(Clone, Copy)]
struct Sip([u64; 4]);

impl Sip {
    #[inline(always)]
    fn round(&mut self) {
        let [mut a, mut b, mut c, mut d] = self.0;
        a = a.wrapping_add(b);
        c = c.wrapping_add(d);
        b = b.rotate_left(13) ^ a;
        d = d.rotate_left(16) ^ c;
        a = a.rotate_left(32).wrapping_add(d);
        c = c.wrapping_add(b);
        d = d.rotate_left(21) ^ a;
        b = b.rotate_left(17) ^ c;
        c = c.rotate_left(32);
        self.0 = [a, b, c, d];
    }

    #[inline(always)]
    fn word(&mut self, word: u64) {
        let [.., d] = &mut self.0;
        *d ^= word;
        self.round();
        let [a, ..] = &mut self.0;
        *a ^= word;
    }

    fn half(&mut self, tag: u64) -> u64 {
        let [_, b, c, _] = &mut self.0;
        match tag {
            0xee => *c ^= tag,
            _ => *b ^= tag,
        }
        for _ in 0..3 {
            self.round();
        }
        let [a, b, c, d] = self.0;
        a ^ b ^ c ^ d
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

    fn hash(text: &[u8]) -> Hash {
        let mut key = Key::new(&[9, 8, 7, 6], 0);
        key.push(text);
        key.finish()
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

    #[test]
    fn every_changed_byte_is_another_text() {
        let mut text = vec![b'x'; 80];
        let mut all = std::collections::BTreeSet::new();
        for at in 0..80 {
            for byte in 0..=255u8 {
                text[at] = byte;
                assert!(all.insert(hash(&text)) || byte == b'x', "byte {byte} at {at}");
            }
            text[at] = b'x';
        }
        // Zeros at the end are not the padding, and a text is not another's beginning.
        assert_ne!(hash(&[0; 65]), hash(&[0; 66]));
    }

    #[test]
    fn a_round_is_sips() {
        // SipRound of (0, 1, 2, 3), by hand from the paper's figure.
        let mut v = Sip([0, 1, 2, 3]);
        v.round();
        let mut w = [0u64, 1, 2, 3];
        w[0] = w[0].wrapping_add(w[1]);
        w[1] = w[1].rotate_left(13);
        w[1] ^= w[0];
        w[0] = w[0].rotate_left(32);
        w[2] = w[2].wrapping_add(w[3]);
        w[3] = w[3].rotate_left(16);
        w[3] ^= w[2];
        w[0] = w[0].wrapping_add(w[3]);
        w[3] = w[3].rotate_left(21);
        w[3] ^= w[0];
        w[2] = w[2].wrapping_add(w[1]);
        w[1] = w[1].rotate_left(17);
        w[1] ^= w[2];
        w[2] = w[2].rotate_left(32);
        assert_eq!(v.0, w);
    }
}
