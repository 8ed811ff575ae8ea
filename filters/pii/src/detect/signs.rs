//! What 64 characters of a view are, told together: which are letters, digits, signs of assignment, `@`, and what may join
//! numbers. Not which of them matter to anybody.

#[cfg(target_feature = "simd128")]
use crate::text::load;

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
    /// Signs that may join a short number to something.
    pub(super) joins: u64,
}

impl Signs {
    /// Those of the first 64 characters of a text; behind its end everything may join.
    #[inline]
    pub(super) fn read(text: &[u8]) -> Self {
        let mut padded = [0; 64];
        let whole = match text.first_chunk() {
            Some(whole) => whole,
            None => {
                pad(text, &mut padded);
                &padded
            }
        };
        let mut signs = Self::new(whole);
        // Behind its end.
        signs.joins |= u64::MAX.unbounded_shl(text.len() as u32);
        signs
    }

    /// Digits, and what stands between the digits of some value.
    #[inline(always)]
    pub(super) fn inside(&self) -> u64 {
        self.digits | self.spaces | self.joins & !self.colons
    }

    /// Sixteen at a time, as the module is built: a character is what both halves of its number allow.
    #[cfg(target_feature = "simd128")]
    #[inline(always)]
    fn new(text: &[u8; 64]) -> Self {
        use core::arch::wasm32::{u8x16_bitmask, u8x16_eq, u8x16_splat, v128_and, v128_any_true, v128_or};

        let all = text.as_chunks::<16>().0;
        let mut signs = Self::default();
        let mut kinds = u8x16_splat(0);
        // One after the other: the compiler leaves loops as they are.
        if let [first, second, third, fourth] = all {
            kinds = v128_or(
                v128_or(signs.add(first, 0), signs.add(second, 16)),
                v128_or(signs.add(third, 32), signs.add(fourth, 48)),
            );
        }
        if v128_any_true(v128_and(kinds, u8x16_splat(OTHERS))) {
            for (index, sixteen) in all.iter().enumerate() {
                let bytes = load(sixteen);
                let is = |byte| u64::from(u8x16_bitmask(u8x16_eq(bytes, u8x16_splat(byte)))) << (index * 16);
                signs.colons |= is(b':');
                signs.equals |= is(b'=');
                signs.ats |= is(b'@');
            }
            signs.joins |= signs.colons;
        }
        signs
    }

    /// Adds sixteen of them, whose first one's bit is the one named; returns what they are.
    #[cfg(target_feature = "simd128")]
    #[inline(always)]
    fn add(&mut self, sixteen: &[u8; 16], first: u32) -> core::arch::wasm32::v128 {
        use core::arch::wasm32::{
            i8x16_swizzle, i16x8_shl, u8x16_bitmask, u8x16_shr, u8x16_splat, v128_and, v128_or,
        };

        let bytes = load(sixteen);
        let is = v128_and(
            i8x16_swizzle(load(&LOW), v128_and(bytes, u8x16_splat(15))),
            i8x16_swizzle(load(&HIGH), u8x16_shr(bytes, 4)),
        );
        // The mask is of the bytes' high bits.
        let bits = |of| u64::from(u8x16_bitmask(of)) << first;
        self.letters |= bits(v128_or(is, i16x8_shl(is, 1)));
        self.digits |= bits(i16x8_shl(is, 2));
        self.joins |= bits(v128_or(i16x8_shl(is, 3), i16x8_shl(is, 4)));
        self.spaces |= bits(i16x8_shl(is, 5));
        is
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
            let joins = is(b':') | is(b'_') | range(plain, b'(', 2) | range(plain, b'-', 3);
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

/// What characters are that have a number's lower half, and its upper one; a bit for each kind, of which letters and joins
/// have two.
#[cfg(any(test, target_feature = "simd128"))]
const LOW: [u8; 16] = halves(false);
#[cfg(any(test, target_feature = "simd128"))]
const HIGH: [u8; 16] = halves(true);
/// `:`, `=` and `@`.
#[cfg(any(test, target_feature = "simd128"))]
const OTHERS: u8 = 3;

#[cfg(any(test, target_feature = "simd128"))]
const fn halves(upper: bool) -> [u8; 16] {
    // No kind has a character of which each half is another one's.
    const KINDS: [(u8, &[u8]); 8] = [
        (0x80, b"ABCDEFGHIJKLMNOabcdefghijklmno"),
        (0x40, b"PQRSTUVWXYZpqrstuvwxyz"),
        (0x20, b"0123456789"),
        (0x10, b"()-./"),
        (0x08, b"_"),
        (0x04, b" "),
        (0x02, b":="),
        (0x01, b"@"),
    ];
    let (mut halves, mut kinds) = ([0; 16], KINDS.as_slice());
    while let [(bit, characters), rest @ ..] = kinds {
        let mut left = *characters;
        while let [character, more @ ..] = left {
            let half = if upper { *character >> 4 } else { *character & 15 };
            #[expect(clippy::indexing_slicing, reason = "computed by the compiler")]
            {
                halves[half as usize] |= *bit;
            }
            left = more;
        }
        kinds = rest;
    }
    halves
}

/// Copies what is left of a text; apart, since only its end needs it.
#[inline(never)]
fn pad(text: &[u8], padded: &mut [u8; 64]) {
    padded.iter_mut().zip(text).for_each(|(to, from)| *to = *from);
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
                let signs = Signs::read(&text);
                let is = |yes: bool| u64::from(yes) << place;
                assert_eq!(signs.letters, is(byte.is_ascii_alphabetic()), "{byte}");
                assert_eq!(signs.digits, is(byte.is_ascii_digit()), "{byte}");
                assert_eq!(signs.colons, is(byte == b':'), "{byte}");
                assert_eq!(signs.equals, is(byte == b'='), "{byte}");
                assert_eq!(signs.spaces, is(byte == b' '), "{byte}");
                assert_eq!(signs.ats, is(byte == b'@'), "{byte}");
                assert_eq!(signs.joins, is(b":_()-./".contains(&byte)), "{byte}");
            }
        }
    }

    #[test]
    fn halves_of_numbers_tell_what_a_character_is() {
        for byte in 0..=u8::MAX {
            let half = |of: &[u8; 16], half: u8| of.get(usize::from(half)).copied().unwrap_or_default();
            let is = half(&LOW, byte & 15) & half(&HIGH, byte >> 4);
            assert_eq!(is & 0xc0 != 0, byte.is_ascii_alphabetic(), "{byte}");
            assert_eq!(is & 0x20 != 0, byte.is_ascii_digit(), "{byte}");
            assert_eq!(is & 0x18 != 0, b"_()-./".contains(&byte), "{byte}");
            assert_eq!(is & 0x04 != 0, byte == b' ', "{byte}");
            assert_eq!(is & OTHERS != 0, b":=@".contains(&byte), "{byte}");
        }
    }

    #[test]
    fn behind_the_end_everything_may_join() {
        for length in 0..64 {
            let text = vec![b'a'; length];
            let signs = Signs::read(&text);
            assert_eq!((signs.letters, signs.joins), ((1 << length) - 1, u64::MAX << length));
        }
    }
}
