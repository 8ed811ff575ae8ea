//! A keyed hash, of texts that come in pieces.

/// SipHash-1-3 with 128 bits of output (Aumasson and Bernstein, 2012), over a salt, then a text, in whatever pieces: a keyed
/// function of additions, rotations and exclusive ors only, which wasm has; 128-bit products would cost six times as much
/// here. Without the seeds nobody can make texts whose hashes are alike.
#[derive(Clone)]
pub struct SipHash {
    state: State,
    /// Bytes that are no whole word yet.
    last: u64,
    length: u64,
}

impl std::fmt::Debug for SipHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Who knows its state knows what the seeds are for.
        f.write_str("SipHash")
    }
}

impl SipHash {
    /// Nothing yet; `salt` tells apart what a text is hashed for.
    pub fn new(seeds: &[u64; 4], salt: u64) -> Self {
        let [k0, k1, k2, _] = *seeds;
        let mut state = State([
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

    /// Bytes so far.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The text ended.
    pub fn finish(&self) -> (u64, u64) {
        let mut state = self.ended();
        (state.half(0xee), state.half(0xdd))
    }

    /// The first half, at half the price.
    pub fn finish_half(&self) -> u64 {
        self.ended().half(0xee)
    }

    fn ended(&self) -> State {
        let mut state = self.state;
        state.word(self.last | self.length << 56);
        state
    }
}

/// Fewer than eight bytes as a number.
fn word(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

#[derive(Clone, Copy)]
struct State([u64; 4]);

impl State {
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

    fn hash(text: &[u8]) -> (u64, u64) {
        let mut key = SipHash::new(&[9, 8, 7, 6], 0);
        key.push(text);
        key.finish()
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
        let mut key = SipHash::new(&[9, 8, 7, 6], 0);
        key.push(&text);
        assert_eq!(key.finish_half(), key.finish().0);
        // Zeros at the end are not the padding, and a text is not another's beginning.
        assert_ne!(hash(&[0; 65]), hash(&[0; 66]));
    }

    #[test]
    fn a_round_is_sips() {
        // SipRound of (0, 1, 2, 3), by hand from the paper's figure.
        let mut v = State([0, 1, 2, 3]);
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
