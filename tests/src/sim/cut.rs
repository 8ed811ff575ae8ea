//! Cuts the bytes of an answer into frames by a rule: whole events, fixed or seeded sizes, or the places where
//! a careless reader loses something.

use super::control::Chunking;
use super::rng::Rng;

/// Cuts a stream of bytes into frames.
pub struct Cutter {
    rule: Chunking,
    rng: Rng,
    /// Size of the next frame, for the rules that fix it beforehand.
    next: usize,
    buffer: Vec<u8>,
}

impl Cutter {
    pub fn new(rule: Chunking) -> Self {
        let seed = if let Chunking::Random { seed, .. } = rule { seed } else { 0 };
        let mut cutter = Self { rule, rng: Rng::new(seed), next: 1, buffer: Vec::new() };
        cutter.choose();
        cutter
    }

    fn choose(&mut self) {
        self.next = match self.rule {
            Chunking::Fixed(size) => size.clamp(1, 16 << 10),
            Chunking::Random { min, max, .. } => {
                let low = min.clamp(1, 16 << 10);
                self.rng.between(low, max.clamp(low, 16 << 10))
            }
            Chunking::Event | Chunking::Hostile => usize::MAX,
        };
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next frame, if its bytes are there; with `flush` the rest counts as one.
    pub fn pop(&mut self, flush: bool) -> Option<Vec<u8>> {
        if self.buffer.is_empty() {
            return None;
        }
        let size = match self.rule {
            Chunking::Event => self.buffer.len(),
            Chunking::Hostile => worst_cut(&self.buffer),
            _ if self.buffer.len() >= self.next => self.next,
            _ if flush => self.buffer.len(),
            _ => return None,
        };
        self.choose();
        let rest = self.buffer.split_off(size);
        Some(std::mem::replace(&mut self.buffer, rest))
    }
}

/// The first place from byte 1 on where a careless reader loses something; the whole where there is none.
fn worst_cut(bytes: &[u8]) -> usize {
    (1..bytes.len())
        .find(|&at| {
            let (before, after) = bytes.split_at(at);
            let inside_character = after[0] & 0xC0 == 0x80;
            let inside_field = before.ends_with(b"da") && after.starts_with(b"ta:");
            let inside_boundary = before.ends_with(b"\n") && after.starts_with(b"\n");
            let inside_escape = before.ends_with(b"\\") && after[0].is_ascii_alphabetic();
            inside_character || inside_field || inside_boundary || inside_escape
        })
        .unwrap_or(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(rule: Chunking, bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut cutter = Cutter::new(rule);
        cutter.push(bytes);
        std::iter::from_fn(|| cutter.pop(true)).collect()
    }

    #[test]
    fn every_rule_keeps_the_bytes() {
        let text = "data: {\"a\":\"héllo 世界 \\u00e9\"}\n\ndata: [DONE]\n\n".repeat(40).into_bytes();
        for rule in [
            Chunking::Event,
            Chunking::Hostile,
            Chunking::Fixed(1),
            Chunking::Fixed(7),
            Chunking::Fixed(16 << 10),
            Chunking::Random { min: 1, max: 300, seed: 9 },
        ] {
            assert_eq!(cut(rule.clone(), &text).concat(), text, "{rule:?}");
        }
    }

    #[test]
    fn the_hostile_rule_splits_characters_fields_and_boundaries() {
        let frames = cut(Chunking::Hostile, "data: é\n\n".as_bytes());
        let expected: Vec<&[u8]> = vec![b"da", b"ta: \xc3", b"\xa9\n", b"\n"];
        assert_eq!(frames, expected);
    }

    #[test]
    fn fixed_frames_have_one_size_but_the_last() {
        let sizes: Vec<usize> = cut(Chunking::Fixed(3), &[0; 8]).iter().map(Vec::len).collect();
        assert_eq!(sizes, [3, 3, 2]);
    }
}
