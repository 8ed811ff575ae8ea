//! Token counts of texts seen before. A chat sends its history again with every turn: a turn costs its new text only.
//!
//! A text is known by a 128-bit hash under seeds that no client knows, so nobody can make one text pass for another.
//! The table is of fixed size; a text takes the place of another that hashes to the same slot.

/// Slots; with 32 bytes each the table is 128 KiB per VM and policy version.
const SLOTS: usize = 4096;
/// Shorter texts are counted faster than they are looked up.
const MIN: usize = 64;

/// The table.
#[derive(Debug, Default)]
pub struct Seen {
    seeds: [u64; 4],
    slots: Vec<(u64, u64, u64)>,
}

impl Seen {
    /// Sets the seeds once; later calls change nothing.
    pub fn seed(&mut self, entropy: &[u64; 4]) {
        if self.seeds == [0; 4] {
            self.seeds = *entropy;
        }
    }

    /// The count of `text` under the rule `salt`, counted by `count` if it is not known.
    pub fn count(&mut self, salt: u64, text: &str, count: impl FnOnce(&str) -> u64) -> u64 {
        if text.len() < MIN || self.seeds == [0; 4] {
            return count(text);
        }
        if self.slots.is_empty() {
            self.slots.resize(SLOTS, (0, 0, 0));
        }
        let (a, b) = hash(&self.seeds, salt, text.as_bytes());
        let index = usize::try_from(a % SLOTS as u64).unwrap_or(0);
        let Some(slot) = self.slots.get_mut(index) else { return count(text) };
        if (slot.0, slot.1) != (a, b) {
            *slot = (a, b, count(text));
        }
        slot.2
    }
}

/// SipHash-1-3 with 128 bits of output (Aumasson and Bernstein, 2012), over the salt, then the text: a keyed function of
/// additions, rotations and exclusive ors only, which wasm has; 128-bit products would cost six times as much here.
fn hash(seeds: &[u64; 4], salt: u64, text: &[u8]) -> (u64, u64) {
    let [k0, k1, k2, _] = *seeds;
    let mut v = Sip([
        k0 ^ 0x736f_6d65_7073_6575,
        k1 ^ 0x646f_7261_6e64_6f6d ^ 0xee,
        k0 ^ 0x6c79_6765_6e65_7261,
        k1 ^ 0x7465_6462_7974_6573,
    ]);
    v.word(salt ^ k2);
    let mut words = text.chunks_exact(8);
    for word in &mut words {
        v.word(word.try_into().map(u64::from_le_bytes).unwrap_or_default());
    }
    let mut last = [0u8; 8];
    for (to, from) in last.iter_mut().zip(words.remainder()) {
        *to = *from;
    }
    v.word(u64::from_le_bytes(last) | (text.len() as u64) << 56);
    (v.half(0xee), v.half(0xdd))
}

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
mod tests {
    use super::*;

    #[test]
    fn a_text_is_counted_once_per_rule() {
        let mut seen = Seen::default();
        seen.seed(&[1, 2, 3, 4]);
        let text = "a text that is long enough to be remembered, if only just by a few letters";
        let mut counted = 0;
        for salt in [0, 1, 0, 1] {
            let n = seen.count(salt, text, |t| {
                counted += 1;
                t.len() as u64 + salt
            });
            assert_eq!(n, text.len() as u64 + salt);
        }
        assert_eq!(counted, 2);
    }

    #[test]
    fn every_changed_byte_is_another_text() {
        let mut text = vec![b'x'; 80];
        let mut all = std::collections::BTreeSet::new();
        for at in 0..80 {
            for byte in 0..=255u8 {
                text[at] = byte;
                let h = hash(&[9, 8, 7, 6], 0, &text);
                assert!(all.insert(h) || byte == b'x', "byte {byte} at {at}");
            }
            text[at] = b'x';
        }
        // Zeros at the end are not the padding, and a text is not another's beginning.
        assert_ne!(hash(&[9, 8, 7, 6], 0, &[0; 65]), hash(&[9, 8, 7, 6], 0, &[0; 66]));
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
