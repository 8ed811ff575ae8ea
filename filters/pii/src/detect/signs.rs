//! What 64 characters of a view are, told together: which are letters, digits, signs of assignment, `@`, and what may join
//! numbers. Not which of them matter to anybody.

/// What 64 characters are, a bit for each.
#[derive(Clone, Copy, Default)]
pub(super) struct Signs {
    pub(super) letters: u64,
    pub(super) digits: u64,
    pub(super) colons: u64,
    pub(super) equals: u64,
    pub(super) spaces: u64,
    /// `@`.
    pub(super) ats: u64,
    /// Signs that may join a number to something, and some that may not.
    pub(super) joins: u64,
}

impl Signs {
    /// What there is behind a text: nobody knows.
    pub(super) const NONE: Self =
        Self { letters: 0, digits: 0, colons: 0, equals: 0, spaces: 0, ats: 0, joins: u64::MAX };

    /// Those of the first 64 characters of a text, and what follows.
    pub(super) fn read(text: &[u8]) -> (Self, &[u8]) {
        if let Some((whole, rest)) = text.split_first_chunk() {
            return (Self::new(whole), rest);
        }
        if text.is_empty() {
            return (Self::NONE, &[]);
        }
        let mut padded = [0; 64];
        if let Some(room) = padded.get_mut(..text.len()) {
            room.copy_from_slice(text);
        }
        let mut signs = Self::new(&padded);
        signs.joins |= u64::MAX << text.len();
        (signs, &[])
    }

    /// Sixteen at a time, as the module is built.
    #[cfg(target_feature = "simd128")]
    fn new(text: &[u8; 64]) -> Self {
        use core::arch::wasm32::{u8x16_bitmask, u8x16_eq, u8x16_lt, u8x16_splat, u8x16_sub, u64x2, v128_or};

        let all = text.as_chunks::<16>().0;
        let read = |sixteen: &[u8; 16]| {
            let (low, high) = sixteen.split_at(8);
            let half = |half: &[u8]| half.try_into().map_or(0, u64::from_le_bytes);
            u64x2(half(low), half(high))
        };
        let range = |bytes, from, count| u8x16_lt(u8x16_sub(bytes, u8x16_splat(from)), u8x16_splat(count));
        let (mut letters, mut digits, mut spaces, mut joins, mut others) = (0, 0, 0, 0, 0);
        for (index, sixteen) in all.iter().enumerate() {
            let bytes = read(sixteen);
            let bits = |of| u64::from(u8x16_bitmask(of)) << (index * 16);
            letters |= bits(range(v128_or(bytes, u8x16_splat(0x20)), b'a', 26));
            digits |= bits(range(bytes, b'0', 10));
            spaces |= bits(u8x16_eq(bytes, u8x16_splat(b' ')));
            let join = v128_or(u8x16_eq(bytes, u8x16_splat(b'_')), range(bytes, b'(', 4));
            joins |= bits(v128_or(join, range(bytes, b'-', 3)));
            others |= bits(range(bytes, b':', 7));
        }
        let mut signs = Self { letters, digits, colons: 0, equals: 0, spaces, ats: 0, joins };
        if others != 0 {
            // From `:` to `@`.
            for (index, sixteen) in all.iter().enumerate() {
                let bytes = read(sixteen);
                let is = |byte| u64::from(u8x16_bitmask(u8x16_eq(bytes, u8x16_splat(byte)))) << (index * 16);
                signs.colons |= is(b':');
                signs.equals |= is(b'=');
                signs.ats |= is(b'@');
            }
            signs.joins |= signs.colons;
        }
        signs
    }

    #[cfg(not(target_feature = "simd128"))]
    fn new(text: &[u8; 64]) -> Self {
        const HIGH: u64 = 0x8080_8080_8080_8080;
        const ONES: u64 = 0x0101_0101_0101_0101;
        let mut signs = Self::default();
        for (index, eight) in text.as_chunks::<8>().0.iter().enumerate() {
            let bytes = u64::from_le_bytes(*eight);
            // Adding what is missing to 0x80 sets the high bit of what is at least that. No sum carries over.
            let plain = bytes & !HIGH;
            let lower = (bytes | (ONES * 0x20)) & !HIGH;
            let range = |bytes: u64, from: u8, count: u8| {
                let from = u64::from(from);
                (bytes + ONES * (0x80 - from)) & !(bytes + ONES * (0x80 - from - u64::from(count)))
            };
            let ascii = !bytes & HIGH;
            let is = |byte| range(plain, byte, 1);
            let joins = is(b':') | is(b'_') | range(plain, b'(', 4) | range(plain, b'-', 3);
            for (mask, of) in [
                (&mut signs.letters, range(lower, b'a', 26)),
                (&mut signs.digits, range(plain, b'0', 10)),
                (&mut signs.colons, is(b':')),
                (&mut signs.equals, is(b'=')),
                (&mut signs.spaces, is(b' ')),
                (&mut signs.ats, is(b'@')),
                (&mut signs.joins, joins),
            ] {
                // The high bits side by side.
                *mask |= (((of & ascii) >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56) << (index * 8);
            }
        }
        signs
    }
}

/// Each bit that is set, the lowest first.
pub(super) struct Bits(pub(super) u64);

impl Iterator for Bits {
    type Item = u64;

    #[inline(always)]
    fn next(&mut self) -> Option<u64> {
        let bit = self.0 & self.0.wrapping_neg();
        self.0 ^= bit;
        (bit != 0).then_some(bit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_what_the_standard_library_says() {
        for byte in 0..=u8::MAX {
            for place in [0, 7, 15, 63] {
                let mut text = [0; 64];
                if let Some(slot) = text.get_mut(place) {
                    *slot = byte;
                }
                let (signs, rest) = Signs::read(&text);
                let is = |yes: bool| u64::from(yes) << place;
                assert_eq!(signs.letters, is(byte.is_ascii_alphabetic()), "{byte}");
                assert_eq!(signs.digits, is(byte.is_ascii_digit()), "{byte}");
                assert_eq!(signs.colons, is(byte == b':'), "{byte}");
                assert_eq!(signs.equals, is(byte == b'='), "{byte}");
                assert_eq!(signs.spaces, is(byte == b' '), "{byte}");
                assert_eq!(signs.ats, is(byte == b'@'), "{byte}");
                assert_eq!(signs.joins, is(b":_()*+-./".contains(&byte)), "{byte}");
                assert!(rest.is_empty());
            }
        }
    }

    #[test]
    fn behind_the_end_everything_may_join() {
        for length in 0..64 {
            let text = vec![b'a'; length];
            let (signs, rest) = Signs::read(&text);
            assert_eq!((signs.letters, signs.joins), ((1 << length) - 1, u64::MAX << length));
            assert!(rest.is_empty());
        }
    }
}
