//! What characters look like: which are not seen, which look like an ASCII one, and which letters and digits there are.

use crate::view::{LETTER, OTHER, WIDE};

/// Whether a character is a Chinese, Japanese or Korean one that is its own folded form: what texts in these
/// scripts consist of, told without a table.
pub(crate) const fn plainly_wide(c: char) -> bool {
    matches!(c, '\u{3041}'..='\u{3096}' | '\u{30a1}'..='\u{30fa}' | '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}')
}

/// Whether a character is a letter of the commonest scripts that separate words, told without a table.
const fn plain_letter(c: char) -> bool {
    matches!(c, '\u{c0}'..='\u{d6}' | '\u{d8}'..='\u{f6}' | '\u{f8}'..='\u{24f}' | '\u{3a3}'..='\u{3f5}' | '\u{400}'..='\u{481}'
        | '\u{48a}'..='\u{52f}' | '\u{1ea0}'..='\u{1eff}' | '\u{5d0}'..='\u{5ea}' | '\u{620}'..='\u{64a}' | '\u{904}'..='\u{939}'
        | '\u{e01}'..='\u{e30}' | '\u{10d0}'..='\u{10fa}' | '\u{1f00}'..='\u{1f15}')
}

/// Whether a character is a quotation mark, a bullet or an ellipsis: the commonest signs outside ASCII.
fn quoted(c: char) -> bool {
    matches!(c, '\u{2016}'..='\u{2023}' | '\u{2025}'..='\u{2027}')
}

/// Whether a character is a sign of the commonest blocks of signs, arrows and pictures, told without a table.
fn plain_sign(c: char) -> bool {
    matches!(c, '\u{a1}'..='\u{a9}' | '\u{ab}' | '\u{ac}' | '\u{ae}'..='\u{b1}' | '\u{d7}' | '\u{f7}' | '\u{20a0}'..='\u{20cf}' | '\u{2190}'..='\u{245f}' | '\u{2500}'..='\u{2775}' | '\u{1f300}'..='\u{1faff}')
}

/// Whether a character is not seen: it neither separates nor joins for a reader.
pub(crate) fn invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}' | '\u{e0000}'..='\u{e0fff}')
}

/// The ASCII character that a character looks like; itself where it is ASCII; none for other characters.
pub(crate) fn look_alike(c: char) -> Option<char> {
    let code = u32::from(c);
    let ascii = match code {
        0..0x80 => code,
        0xa0 | 0x1680 | 0x2000..=0x200a | 0x202f | 0x205f | 0x3000 => 0x20,
        0x2010..=0x2015 | 0x2043 | 0x2212 | 0xfe58 | 0xfe63 => 0x2d,
        0x2024 | 0x3002 | 0xfe52 | 0xff61 => 0x2e,
        0xfe6b => 0x40,
        0xff01..=0xff5e => code - 0xff01 + 0x21,
        0x660..=0x669 => code - 0x660 + 0x30,
        0x6f0..=0x6f9 => code - 0x6f0 + 0x30,
        0x966..=0x96f => code - 0x966 + 0x30,
        0x1d7ce..=0x1d7ff => (code - 0x1d7ce) % 10 + 0x30,
        0x1fbf0..=0x1fbf9 => code - 0x1fbf0 + 0x30,
        _ => return None,
    };
    char::from_u32(ascii)
}

/// Characters of a block whose characters are all folded alike.
const BLOCK: usize = 16;

/// What the characters of a block are folded to; 0 where that is not told by the block.
static BLOCKS: [u8; 0x1_0000 / BLOCK] = {
    let mut blocks = [0; 0x1_0000 / BLOCK];
    let mut block = 0;
    while block < blocks.len() {
        let (mut all, mut at) = (0, 0);
        while at < BLOCK {
            let one = match char::from_u32((block * BLOCK + at) as u32) {
                Some(c) if plainly_wide(c) => WIDE,
                Some(c) if plain_letter(c) => LETTER,
                _ => 0,
            };
            all = if at == 0 || all == one { one } else { 0 };
            at += 1;
        }
        #[expect(clippy::indexing_slicing, reason = "computed by the compiler")]
        {
            blocks[block] = all;
        }
        block += 1;
    }
    blocks
};

// Which characters are letters or digits: `PLACES` tells of 64 of them where in `ROWS` their bits are.
include!(concat!(env!("OUT_DIR"), "/alphanumeric.rs"));

/// Whether a character is a letter or a digit, as the standard library says it.
fn alphanumeric(c: char) -> bool {
    let code = c as usize;
    let row = PLACES.get(code / 64).and_then(|place| ROWS.get(usize::from(*place)));
    row.is_some_and(|row| row >> (code % 64) & 1 != 0)
}

/// The byte that stands for a character; none for an invisible one.
pub(crate) fn fold(c: char) -> Option<u8> {
    match BLOCKS.get(c as usize / BLOCK).copied().unwrap_or(0) {
        0 => unlike(c),
        one => Some(one),
    }
}

/// The same of a character that is not told by its block.
fn unlike(c: char) -> Option<u8> {
    if quoted(c) {
        return Some(OTHER);
    }
    if plainly_wide(c) {
        return Some(WIDE);
    }
    if plain_letter(c) {
        return Some(LETTER);
    }
    if invisible(c) {
        return None;
    }
    Some(match look_alike(c) {
        Some(ascii) => ascii as u8,
        // General punctuation is common in prose and needs no table either.
        None if matches!(c, '\u{2010}'..='\u{206f}') || plain_sign(c) || !alphanumeric(c) => OTHER,
        None if c >= '\u{2e80}' => WIDE,
        None => LETTER,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn blocks_tell_nothing_else() {
        let told = (0..=0x10_ffffu32).filter_map(char::from_u32).filter(|c| fold(*c) != unlike(*c));
        assert_eq!(told.count(), 0);
        assert_eq!([fold('a'), fold('\u{627}'), fold('\u{4e2d}')], [Some(b'a'), Some(LETTER), Some(WIDE)]);
        assert!(BLOCKS.iter().filter(|one| **one != 0).count() > 1000);
    }

    #[test]
    fn letters_told_without_a_table_are_letters() {
        for c in (0..=0x10_ffffu32).filter_map(char::from_u32).filter(|c| plain_letter(*c)) {
            assert!(
                c.is_alphanumeric() && !invisible(c) && look_alike(c).is_none() && c < '\u{2e80}',
                "{c:?}"
            );
        }
    }

    #[test]
    fn signs_told_without_a_table_are_signs() {
        for c in (0..=0x10_ffffu32).filter_map(char::from_u32).filter(|c| plain_sign(*c) || quoted(*c)) {
            assert!(!c.is_alphanumeric() && !invisible(c), "{c:?}");
            assert!(!quoted(c) || look_alike(c).is_none(), "{c:?}");
        }
    }

    #[test]
    fn letters_and_digits_are_those_of_the_standard_library() {
        let told = (0..=0x10_ffffu32).filter_map(char::from_u32);
        assert_eq!(told.filter(|c| alphanumeric(*c) != c.is_alphanumeric()).count(), 0);
    }
}
