//! A text as detectors see it: one byte per character, look-alikes folded to ASCII, with the way back.
//!
//! Values are hidden from scanners by characters that readers and models do not see or do not tell apart:
//! zero-width joiners, soft hyphens, no-break spaces, full-width digits. They are folded here once, so that
//! no detector has to know them. An ASCII text, the usual case, is its own view and costs nothing.

use std::cell::Cell;

/// A letter of a script that separates words, outside ASCII.
pub(crate) const LETTER: u8 = 0xc0;
/// A letter of a script that does not: Chinese, Japanese, Korean and their neighbours.
pub(crate) const WIDE: u8 = 0xe0;
/// Any other character: no value reaches over it.
pub(crate) const OTHER: u8 = 0xff;

/// Bytes of invisible characters in a row that may stand inside a value. More are a break, because the
/// length of a match has to be bounded.
pub(crate) const INVISIBLE: usize = 12;

/// The folded text.
pub(crate) struct View<'t> {
    text: &'t str,
    bytes: &'t [u8],
    /// (index in `bytes`, offset in `text`): from here on both count alike, up to the next pair.
    anchors: Vec<(u32, u32)>,
    /// The pair behind the one that was asked for last: what is asked for next is near.
    last: Cell<usize>,
}

impl<'t> View<'t> {
    /// Folds a text, where there is something to fold, into `bytes`.
    #[inline(never)]
    pub(crate) fn new(text: &'t str, bytes: &'t mut Vec<u8>) -> Self {
        if text.is_ascii() {
            return Self { text, bytes: text.as_bytes(), anchors: Vec::new(), last: Cell::new(0) };
        }
        bytes.clear();
        bytes.reserve(text.len());
        let mut anchors: Vec<(u32, u32)> = Vec::with_capacity(64);
        let (mut at, mut hidden) = (0, 0);
        while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
            let plain = ascii_run(rest.as_bytes());
            if plain > 0 {
                bytes.extend_from_slice(rest.as_bytes().get(..plain).unwrap_or_default());
                at += plain;
                hidden = 0;
                continue;
            }
            let Some(c) = rest.chars().next() else { break };
            let width = c.len_utf8();
            match fold(c) {
                Some(byte) => {
                    bytes.push(byte);
                    hidden = 0;
                }
                None => {
                    hidden += width;
                    if hidden > INVISIBLE && hidden - width <= INVISIBLE {
                        bytes.push(OTHER);
                    }
                }
            }
            at += width;
            let anchor = (bytes.len() as u32, at as u32);
            match anchors.last_mut() {
                Some(last) if last.0 == anchor.0 => *last = anchor,
                _ => anchors.push(anchor),
            }
        }
        Self { text, bytes, anchors, last: Cell::new(0) }
    }

    /// One byte per character.
    pub(crate) fn bytes(&self) -> &'t [u8] {
        self.bytes
    }

    /// Where character `index` starts in the text; the text's length for one after the last.
    #[inline]
    pub(crate) fn start(&self, index: usize) -> usize {
        if self.anchors.is_empty() { index.min(self.text.len()) } else { self.led_back(index) }
    }

    /// The same in a text that is not its own view.
    #[inline(never)]
    fn led_back(&self, index: usize) -> usize {
        if index >= self.bytes.len() {
            return self.text.len();
        }
        let anchor =
            |at: usize| self.anchors.get(at).map(|(folded, offset)| (*folded as usize, *offset as usize));
        let after = self.last.get();
        let before = after.checked_sub(1).map_or(Some((0, 0)), anchor);
        if let Some((folded, offset)) = before.filter(|(folded, _)| *folded <= index)
            && anchor(after).is_none_or(|(folded, _)| index < folded)
        {
            return offset + (index - folded);
        }
        let after = self.anchors.partition_point(|(folded, _)| *folded as usize <= index);
        self.last.set(after);
        let (folded, offset) = after.checked_sub(1).and_then(anchor).unwrap_or_default();
        offset + (index - folded)
    }

    /// Where the last character before `index` ends in the text: invisible ones between are not included.
    #[inline]
    pub(crate) fn end(&self, index: usize) -> usize {
        if self.anchors.is_empty() { index.min(self.text.len()) } else { self.end_led_back(index) }
    }

    #[inline(never)]
    fn end_led_back(&self, index: usize) -> usize {
        let Some(last) = index.checked_sub(1) else { return 0 };
        let start = self.led_back(last);
        let width = match self.text.as_bytes().get(start) {
            Some(0..0x80) => 1,
            Some(0x80..0xe0) => 2,
            Some(0xe0..0xf0) => 3,
            Some(_) => 4,
            None => 0,
        };
        start + width
    }

    /// A character at or right before the one that starts at `offset` of the text.
    pub(crate) fn index(&self, offset: usize) -> usize {
        let after = self.anchors.partition_point(|(_, of)| *of as usize <= offset);
        let anchor = |at: usize| self.anchors.get(at).map(|(folded, of)| (*folded as usize, *of as usize));
        let (folded, of) = after.checked_sub(1).and_then(anchor).unwrap_or_default();
        let index = folded + (offset - of);
        // Among characters that are not seen none starts.
        anchor(after).map_or(index, |(next, _)| index.min(next.saturating_sub(1)))
    }

    /// Bytes of the text from character `from` to its end.
    pub(crate) fn left(&self, from: usize) -> usize {
        self.text.len().saturating_sub(self.start(from))
    }

    /// The character before `index`, [`OTHER`] at the start.
    pub(crate) fn before(&self, index: usize) -> u8 {
        index.checked_sub(1).and_then(|at| self.bytes.get(at)).copied().unwrap_or(OTHER)
    }

    /// The character at `index`, [`OTHER`] at the end.
    pub(crate) fn at(&self, index: usize) -> u8 {
        self.bytes.get(index).copied().unwrap_or(OTHER)
    }

    /// The first character at or after `from` that is no ASCII letter or digit.
    pub(crate) fn word_end(&self, from: usize) -> usize {
        let rest = self.bytes.get(from..).unwrap_or_default();
        from + rest.iter().position(|byte| !byte.is_ascii_alphanumeric()).unwrap_or(rest.len())
    }

    /// The first character at or after `from` that is no digit.
    pub(crate) fn digits_end(&self, from: usize) -> usize {
        let rest = self.bytes.get(from..).unwrap_or_default();
        from + rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len())
    }
}

/// Bytes of ASCII at the start, eight a step.
fn ascii_run(bytes: &[u8]) -> usize {
    let (words, tail) = bytes.as_chunks::<8>();
    let mut at = 0;
    for word in words {
        let high = u64::from_le_bytes(*word) & 0x8080_8080_8080_8080;
        if high != 0 {
            return at + (high.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    at + tail.iter().position(|byte| *byte >= 0x80).unwrap_or(tail.len())
}

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

/// The byte that stands for a character; none for an invisible one.
fn fold(c: char) -> Option<u8> {
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
        None if matches!(c, '\u{2010}'..='\u{206f}') || plain_sign(c) || !c.is_alphanumeric() => OTHER,
        None if c >= '\u{2e80}' => WIDE,
        None => LETTER,
    })
}

#[cfg(test)]
#[allow(clippy::string_slice, clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn look_alikes_fold_and_positions_lead_back() {
        let text = "a\u{200b}４\u{ad}é\u{a0}漢–b…𝟗";
        let mut folded = Vec::new();
        let view = View::new(text, &mut folded);
        assert_eq!(view.bytes(), [b'a', b'4', LETTER, b' ', WIDE, b'-', b'b', OTHER, b'9']);
        let characters: Vec<&str> =
            (0..9).map(|index| &text[view.start(index)..view.end(index + 1)]).collect();
        let back: Vec<usize> = (0..9).map(|index| view.index(view.start(index))).collect();
        assert!(back.iter().enumerate().all(|(index, back)| index - back < 2), "{back:?}");
        assert_eq!(characters, ["a", "４", "é", "\u{a0}", "漢", "–", "b", "…", "𝟗"]);
        assert_eq!((view.start(9), view.end(0), view.left(7)), (text.len(), 0, 7));
    }

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
    fn many_invisible_characters_are_a_break() {
        let joined = format!("1{}2", "\u{200b}".repeat(4));
        assert_eq!(View::new(&joined, &mut Vec::new()).bytes(), b"12");
        let broken = format!("1{}2", "\u{200b}".repeat(50));
        let mut folded = Vec::new();
        let view = View::new(&broken, &mut folded);
        assert_eq!(view.bytes(), [b'1', OTHER, b'2']);
        assert_eq!((view.end(1), view.start(2)), (1, 151));
        assert!((0..151).all(|offset| view.index(offset) < 2) && (1..3).contains(&view.index(151)));
    }
}
