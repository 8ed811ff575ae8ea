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

/// The two halves are mixed by multiplications of full width, as in wyhash: no byte can be changed without changing
/// both, and how depends on the seeds.
fn hash(seeds: &[u64; 4], salt: u64, text: &[u8]) -> (u64, u64) {
    let [s0, s1, s2, s3] = *seeds;
    let (mut a, mut b) = (s0 ^ salt, s1 ^ text.len() as u64);
    let mut chunks = text.chunks_exact(16);
    for chunk in &mut chunks {
        let (x, y) = words(chunk);
        (a, b) = (mix(a ^ x, s2 ^ y), mix(b ^ y, s3 ^ x.rotate_left(32)));
    }
    let mut last = [0u8; 16];
    for (to, from) in last.iter_mut().zip(chunks.remainder()) {
        *to = *from;
    }
    let (x, y) = words(&last);
    (mix(a ^ x ^ s3, y ^ s1), mix(b ^ y ^ s2, x ^ s0))
}

fn words(chunk: &[u8]) -> (u64, u64) {
    let (x, y) = chunk.split_at_checked(8).unwrap_or_default();
    let word = |bytes: &[u8]| bytes.try_into().map(u64::from_le_bytes).unwrap_or_default();
    (word(x), word(y))
}

fn mix(a: u64, b: u64) -> u64 {
    // An operand of zero would forget the other: it is moved off zero by a constant of no meaning.
    let product = u128::from(a ^ 0xa076_1d64_78bd_642f) * u128::from(b ^ 0xe703_7ed1_a0b4_28db);
    (product as u64) ^ (product >> 64) as u64
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
        // Zeros at the end are not the padding.
        assert_ne!(hash(&[9, 8, 7, 6], 0, &[0; 65]), hash(&[9, 8, 7, 6], 0, &[0; 66]));
    }
}
