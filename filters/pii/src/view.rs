//! A text as detectors see it: one byte per character, look-alikes folded to ASCII, with the way back.
//!
//! Values are hidden from scanners by characters that readers and models do not see or do not tell apart:
//! zero-width joiners, soft hyphens, no-break spaces, full-width digits. They are folded here once, so that
//! no detector has to know them. An ASCII text, the usual case, is its own view and costs nothing.

use std::cell::Cell;

use crate::class::{DIGIT, WORD, run};
use crate::coding::{self, Coding};

/// A letter of a script that separates words, outside ASCII.
pub(crate) const LETTER: u8 = 0xc0;
/// A letter of a script that does not: Chinese, Japanese, Korean and their neighbours.
pub(crate) const WIDE: u8 = 0xe0;
/// Any other character: no value reaches over it.
pub(crate) const OTHER: u8 = 0xff;

/// Bytes of invisible characters in a row that may stand inside a value. More are a break, because the
/// length of a match has to be bounded.
pub(crate) const INVISIBLE: usize = 12;

/// How a document writes characters behind a backslash.
#[derive(Debug)]
pub struct Escapes {
    /// The character that a single one stands for; 0 where more has to be read.
    pub short: [u8; 128],
    /// Tells the others by where the backslash stands: the character that they stand for, and their length in bytes.
    pub long: fn(&str, usize) -> Option<(char, usize)>,
}

/// The folded text.
pub(crate) struct View<'t> {
    /// Bytes of the text.
    length: usize,
    bytes: &'t [u8],
    /// From what is seen to what is written with codings, and from there to the text.
    codings: Anchors,
    folds: Anchors,
}

/// (index, offset): from here on both count alike, up to the next pair. Where characters that are not seen follow another one
/// there are two of an index, of which the first is where that one ends.
#[derive(Default)]
struct Anchors {
    pairs: Vec<(u32, u32)>,
    /// The pair behind the one that was asked for last: what is asked for next is near.
    last: Cell<usize>,
}

impl<'t> View<'t> {
    /// Folds a text, where there is something to fold, into `bytes`, and reads its codings, where it is told whether the text does
    /// not go on: one that does ends before what may be one.
    pub(crate) fn new(text: &'t str, last: Option<bool>, bytes: &'t mut Vec<u8>) -> Self {
        let all = text.as_bytes();
        let plain = coding::plain(all, true);
        if plain < all.len() {
            if !text.is_ascii() {
                return Self::fold(text, last, None, bytes);
            }
            if let Some(last) = last
                && let Some(first) = coding::first(all, plain, last)
            {
                return Self::decode(all, first, last, all.len(), Vec::new(), bytes);
            }
        }
        Self { length: all.len(), bytes: all, codings: Anchors::default(), folds: Anchors::default() }
    }

    /// Folds a text that is written with escapes: the same view as that of the text without them.
    pub(crate) fn written(raw: &str, escapes: &Escapes, bytes: &'t mut Vec<u8>) -> Self {
        Self::fold(raw, Some(true), Some(escapes), bytes)
    }

    /// Reads the codings of what is folded already.
    #[inline(never)]
    fn decode(
        all: &[u8],
        first: usize,
        last: bool,
        length: usize,
        folds: Vec<(u32, u32)>,
        bytes: &'t mut Vec<u8>,
    ) -> Self {
        bytes.clear();
        bytes.resize(all.len(), 0);
        let mut folded = Folded { bytes, length: 0, anchors: Vec::new(), hidden: 0 };
        let (mut at, mut plain) = (0, first);
        while let Some(rest) = all.get(at..).filter(|rest| !rest.is_empty()) {
            if plain > 0 {
                let room = folded.bytes.get_mut(folded.length..folded.length + plain);
                if let (Some(room), Some(part)) = (room, rest.get(..plain)) {
                    room.copy_from_slice(part);
                }
                (folded.length, folded.hidden) = (folded.length + plain, 0);
                at += plain;
                plain = 0;
                continue;
            }
            let read = coding::read(rest, last);
            let mut more = 0;
            if read != Coding::No && rest.first() == Some(&b'\\') {
                // Those before it are no characters: each was escaped once more.
                let before = all.get(..at).unwrap_or_default().iter().rev().take(coding::AGAIN);
                more = before.take_while(|byte| **byte == b'\\').count().min(folded.length);
                folded.length -= more;
            }
            match read {
                Coding::Cut => {
                    at -= more;
                    break;
                }
                Coding::No => {
                    folded.push(rest.first().copied().unwrap_or_default());
                    at += 1;
                }
                Coding::Yes(c, width) => {
                    at += width;
                    if c.is_ascii() {
                        folded.push(c as u8);
                        folded.anchors.push((folded.length as u32, at as u32));
                    } else {
                        folded.other(c, width, at as u32);
                    }
                }
            }
            plain = coding::plain(all.get(at..).unwrap_or_default(), false);
        }
        let Folded { bytes, length: seen, anchors, .. } = folded;
        bytes.truncate(seen);
        let folds = Anchors::new(folds);
        let length = if at < all.len() { folds.start(at) } else { length };
        Self { length, bytes, codings: Anchors::new(anchors), folds }
    }

    #[inline(never)]
    fn fold(written: &str, last: Option<bool>, escapes: Option<&Escapes>, bytes: &'t mut Vec<u8>) -> Self {
        let all = written.as_bytes();
        // No byte of plain ASCII is this one, where there are no escapes.
        let stop = if escapes.is_some() { b'\\' } else { 0x80 };
        bytes.clear();
        // No character takes more bytes than it is written with; sixteen are copied at once.
        bytes.resize(all.len() + 16, 0);
        let mut folded = Folded { bytes, length: 0, anchors: Vec::with_capacity(64), hidden: 0 };
        // Of what is written; by how much longer that is than the text.
        let (mut at, mut longer) = (0, 0);
        loop {
            let plain = folded.copy_plain(all, at, stop);
            if plain > at {
                (at, folded.hidden) = (plain, 0);
            }
            let c = match escapes.filter(|_| all.get(at) == Some(&stop)) {
                Some(escapes) => {
                    let short = all.get(at + 1).and_then(|next| escapes.short.get(usize::from(*next)));
                    if let Some(meant) = short.filter(|meant| **meant != 0) {
                        folded.push(*meant);
                        (at, longer) = (at + 2, longer + 1);
                        continue;
                    }
                    // Every escape has been judged; a bad one could only end the text early here.
                    let Some((c, length)) = (escapes.long)(written, at) else { break };
                    at += length;
                    longer += length.saturating_sub(c.len_utf8());
                    c
                }
                None => {
                    let Some(c) = written.get(at..).and_then(|rest| rest.chars().next()) else { break };
                    at += c.len_utf8();
                    c
                }
            };
            if c.is_ascii() {
                folded.push(c as u8);
            } else {
                folded.other(c, c.len_utf8(), (at - longer) as u32);
            }
        }
        let Folded { bytes, length, anchors, .. } = folded;
        bytes.truncate(length);
        let text = at - longer;
        if let Some(last) = last
            && let Some(first) = coding::first(bytes, 0, last)
        {
            let folded = std::mem::take(bytes);
            return Self::decode(&folded, first, last, text, anchors, bytes);
        }
        Self { length: text, bytes, codings: Anchors::default(), folds: Anchors::new(anchors) }
    }

    /// Bytes of the text.
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// One byte per character.
    pub(crate) fn bytes(&self) -> &'t [u8] {
        self.bytes
    }

    /// Where character `index` starts in the text; the text's length for one after the last.
    #[inline]
    pub(crate) fn start(&self, index: usize) -> usize {
        if self.same() { index.min(self.length) } else { self.led_back(index) }
    }

    /// Whether the text is its own view.
    fn same(&self) -> bool {
        self.folds.pairs.is_empty() && self.codings.pairs.is_empty()
    }

    #[inline(never)]
    fn led_back(&self, index: usize) -> usize {
        if index >= self.bytes.len() {
            return self.length;
        }
        self.folds.start(self.codings.start(index))
    }

    /// Where the last character before `index` ends in the text: invisible ones between are not included.
    #[inline]
    pub(crate) fn end(&self, index: usize) -> usize {
        if self.same() { index.min(self.length) } else { self.end_led_back(index) }
    }

    #[inline(never)]
    fn end_led_back(&self, index: usize) -> usize {
        self.folds.end(self.codings.end(index)).min(self.length)
    }

    /// A character at or right before the one that starts at `offset` of the text.
    pub(crate) fn index(&self, offset: usize) -> usize {
        self.codings.index(self.folds.index(offset))
    }

    /// How many characters from `from` on are inside a value that others would end: at most so many. What is written as a coding
    /// ends one only where the value stands behind one.
    #[inline(always)]
    pub(crate) fn goes_on(&self, from: usize, most: usize, inside: impl Fn(u8) -> bool) -> usize {
        let rest = self.bytes.get(from..).unwrap_or_default().iter().take(most).enumerate();
        rest.take_while(|(at, byte)| inside(**byte) || self.inner(from, from + at)).count()
    }

    #[inline(never)]
    fn inner(&self, from: usize, at: usize) -> bool {
        let coded = |at: usize| self.codings.end(at + 1) > self.codings.start(at) + 1;
        self.at(at) >= b' ' && coded(at) && from.checked_sub(1).is_none_or(|before| !coded(before))
    }

    /// Whether there are codings.
    pub(crate) fn decoded(&self) -> bool {
        !self.codings.pairs.is_empty()
    }

    /// Whether some are between two characters, or beside them.
    pub(crate) fn around(&self, start: usize, end: usize) -> bool {
        let start = start.saturating_sub(1);
        self.codings.start(end + 1) - self.codings.start(start) > end + 1 - start
    }

    /// Bytes of the text from character `from` to its end.
    pub(crate) fn left(&self, from: usize) -> usize {
        self.length.saturating_sub(self.start(from))
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
        from + run(self.bytes, from, usize::MAX, WORD)
    }

    /// The first character at or after `from` that is no digit.
    pub(crate) fn digits_end(&self, from: usize) -> usize {
        from + run(self.bytes, from, usize::MAX, DIGIT)
    }
}

impl Anchors {
    fn new(pairs: Vec<(u32, u32)>) -> Self {
        Self { pairs, last: Cell::new(0) }
    }

    fn anchor(&self, at: usize) -> Option<(usize, usize)> {
        self.pairs.get(at).map(|(folded, offset)| (*folded as usize, *offset as usize))
    }

    /// How many pairs there are up to a character: searched from the last one on in steps that double.
    #[inline(never)]
    fn behind(&self, index: usize) -> usize {
        let at = self.last.get();
        if let Some([(from, _), (to, _), ..]) = self.pairs.get(at.wrapping_sub(1)..)
            && index >= *from as usize
            && index < *to as usize
        {
            return at;
        }
        let is = |at: usize| self.pairs.get(at).is_some_and(|(folded, _)| *folded as usize <= index);
        let (mut from, mut to, mut step) = (self.last.get(), self.last.get(), 1);
        if is(to) {
            while is(to) {
                (from, to, step) = (to + 1, to + step, step * 2);
            }
        } else {
            while from > 0 && !is(from - 1) {
                (from, to, step) = (from.saturating_sub(step), from, step * 2);
            }
        }
        let to = to.min(self.pairs.len());
        let between = self.pairs.get(from..to).unwrap_or_default();
        let after = from + between.partition_point(|(folded, _)| *folded as usize <= index);
        self.last.set(after);
        after
    }

    /// Where a character starts.
    #[inline]
    fn start(&self, index: usize) -> usize {
        if self.pairs.is_empty() { index } else { self.led_back(index) }
    }

    #[inline(never)]
    fn led_back(&self, index: usize) -> usize {
        let (folded, offset) =
            self.behind(index).checked_sub(1).and_then(|at| self.anchor(at)).unwrap_or_default();
        offset + (index - folded)
    }

    /// Where the one before it ends.
    #[inline]
    fn end(&self, index: usize) -> usize {
        if self.pairs.is_empty() { index } else { self.end_led_back(index) }
    }

    #[inline(never)]
    fn end_led_back(&self, index: usize) -> usize {
        let Some(last) = index.checked_sub(1) else { return 0 };
        match self.anchor(self.behind(last)) {
            Some((folded, end)) if folded == index => end,
            // Before nothing else than plain ASCII.
            _ => self.led_back(last) + 1,
        }
    }

    /// A character at or right before the one that starts at `offset`.
    #[inline(never)]
    fn index(&self, offset: usize) -> usize {
        let after = self.pairs.partition_point(|(_, of)| *of as usize <= offset);
        let (folded, of) = after.checked_sub(1).and_then(|at| self.anchor(at)).unwrap_or_default();
        let index = folded + (offset - of);
        // Among characters that are not seen none starts.
        self.anchor(after).map_or(index, |(next, _)| index.min(next.saturating_sub(1)))
    }
}

/// A view's bytes while they are told, in room that is large enough.
struct Folded<'b> {
    bytes: &'b mut Vec<u8>,
    length: usize,
    anchors: Vec<(u32, u32)>,
    /// Bytes of characters in a row that are not seen.
    hidden: usize,
}

impl Folded<'_> {
    /// Appends what a visible character is folded to.
    fn push(&mut self, byte: u8) {
        self.bytes.get_mut(self.length).into_iter().for_each(|room| *room = byte);
        (self.length, self.hidden) = (self.length + 1, 0);
    }

    /// Appends a character that is not ASCII, which is written in `width` bytes up to `end`.
    #[inline(never)]
    fn other(&mut self, c: char, width: usize, end: u32) {
        if let Some(byte) = fold(c) {
            self.push(byte);
            return self.anchors.push((self.length as u32, end));
        }
        let hidden = self.hidden + width;
        if hidden > INVISIBLE && self.hidden <= INVISIBLE {
            self.push(OTHER);
            self.anchors.push((self.length as u32, end));
        } else {
            let here = self.length as u32;
            match self.anchors.as_mut_slice() {
                [.., (before, _), (last, to)] if *before == here && *last == here => *to = end,
                [.., (last, _)] if *last == here => self.anchors.push((here, end)),
                _ => self.anchors.extend([(here, end - width as u32), (here, end)]),
            }
        }
        self.hidden = hidden;
    }

    /// Appends the plain ASCII from `at` on, up to the first byte that is `stop`; returns where it ends.
    #[inline]
    fn copy_plain(&mut self, all: &[u8], mut at: usize, stop: u8) -> usize {
        while let Some(sixteen) = all.get(at..).and_then(<[u8]>::first_chunk::<16>) {
            // Copied whole, which needs no call.
            let room = self.bytes.get_mut(self.length..).and_then(<[u8]>::first_chunk_mut);
            room.into_iter().for_each(|room| *room = *sixteen);
            let marks = marks(sixteen, stop);
            let plain = if marks == 0 { 16 } else { marks.trailing_zeros() as usize };
            at += plain;
            self.length += plain;
            if marks != 0 {
                return at;
            }
        }
        for byte in all.get(at..).unwrap_or_default() {
            if *byte >= 0x80 || *byte == stop {
                break;
            }
            self.push(*byte);
            at += 1;
        }
        at
    }
}

/// Which of sixteen bytes are no plain ASCII, or are `stop`: a bit for each.
#[cfg(target_feature = "simd128")]
#[inline]
fn marks(sixteen: &[u8; 16], stop: u8) -> u32 {
    use core::arch::wasm32::{u8x16_bitmask, u8x16_eq, u8x16_splat, v128_or};

    let bytes = crate::text::load(sixteen);
    // The mask is of the bytes' high bits.
    u8x16_bitmask(v128_or(bytes, u8x16_eq(bytes, u8x16_splat(stop)))).into()
}

#[cfg(not(target_feature = "simd128"))]
#[inline]
fn marks(sixteen: &[u8; 16], stop: u8) -> u32 {
    // Told together first: nearly all are.
    if sixteen.iter().fold(0, |all, byte| all | byte & 0x80 | u8::from(*byte == stop)) == 0 {
        return 0;
    }
    sixteen.iter().rev().fold(0, |marks, byte| marks << 1 | u32::from(*byte >= 0x80 || *byte == stop))
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

// Which characters are letters or digits: `PLACES` tells of 64 of them where in `ROWS` their bits are.
include!(concat!(env!("OUT_DIR"), "/alphanumeric.rs"));

/// Whether a character is a letter or a digit, as the standard library says it.
fn alphanumeric(c: char) -> bool {
    let code = c as usize;
    let row = PLACES.get(code / 64).and_then(|place| ROWS.get(usize::from(*place)));
    row.is_some_and(|row| row >> (code % 64) & 1 != 0)
}

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
        None if matches!(c, '\u{2010}'..='\u{206f}') || plain_sign(c) || !alphanumeric(c) => OTHER,
        None if c >= '\u{2e80}' => WIDE,
        None => LETTER,
    })
}

#[cfg(test)]
#[allow(
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]
pub(crate) mod tests {
    use super::*;

    #[test]
    fn look_alikes_fold_and_positions_lead_back() {
        let text = "a\u{200b}４\u{ad}é\u{a0}漢–b…𝟗";
        let mut folded = Vec::new();
        let view = View::new(text, Some(true), &mut folded);
        assert_eq!(view.bytes(), [b'a', b'4', LETTER, b' ', WIDE, b'-', b'b', OTHER, b'9']);
        let characters: Vec<&str> =
            (0..9).map(|index| &text[view.start(index)..view.end(index + 1)]).collect();
        let back: Vec<usize> = (0..9).map(|index| view.index(view.start(index))).collect();
        assert!(back.iter().enumerate().all(|(index, back)| index - back < 2), "{back:?}");
        assert_eq!(characters, ["a", "４", "é", "\u{a0}", "漢", "–", "b", "…", "𝟗"]);
        assert_eq!((view.start(9), view.end(0), view.left(7)), (text.len(), 0, 7));
    }

    /// Escapes as JSON has them, of those that the tests write.
    pub(crate) const ESCAPES: Escapes = {
        let mut short = [0; 128];
        short[b'n' as usize] = b'\n';
        short[b'"' as usize] = b'"';
        Escapes { short, long }
    };

    fn long(raw: &str, at: usize) -> Option<(char, usize)> {
        let rest = raw.get(at..)?;
        match rest.as_bytes().get(1)? {
            b'n' => Some(('\n', 2)),
            b'u' => {
                let code = u32::from_str_radix(rest.get(2..6)?, 16).ok()?;
                Some((char::from_u32(code)?, 6))
            }
            other => Some((char::from(*other), 2)),
        }
    }

    /// The text with the characters escaped that `which` names by their places.
    pub(crate) fn written(text: &str, which: impl Fn(usize) -> bool) -> String {
        let mut out = String::new();
        for (at, c) in text.chars().enumerate() {
            match c {
                '\\' | '"' => out.extend(['\\', c]),
                '\n' => out.push_str("\\n"),
                c if which(at) && u32::from(c) < 0x1_0000 => {
                    out.push_str(&format!("\\u{:04x}", u32::from(c)));
                }
                c => out.push(c),
            }
        }
        out
    }

    #[test]
    fn what_is_written_with_escapes_is_seen_as_the_text() {
        let characters: Vec<char> = "ab1 \\\"\né漢\u{200b}\u{ad}４–\u{a0}𝟗👍0.@x".chars().collect();
        let mut state = 1u64;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        for number in 0..4000 {
            let plain = random(40);
            let text: String = (0..random(60))
                .map(|_| if random(50) < plain { 'c' } else { characters[random(characters.len())] })
                .collect();
            let raw = written(&text, |at| (at + number) % 5 == 0);
            let (mut bytes, mut folded) = (Vec::new(), Vec::new());
            let (seen, view) =
                (View::written(&raw, &ESCAPES, &mut bytes), View::new(&text, Some(true), &mut folded));
            assert_eq!((seen.bytes(), seen.length()), (view.bytes(), text.len()), "{raw}");
            for index in (0..=view.bytes().len() + 1).rev() {
                assert_eq!(seen.start(index), view.start(index), "{raw} {index}");
                assert_eq!(seen.end(index), view.end(index), "{raw} {index}");
            }
            // Each character of the text is whole, and none is in two.
            for index in 0..view.bytes().len() {
                let character = &text[view.start(index)..view.end(index + 1)];
                let visible = character.chars().filter(|c| !invisible(*c)).count();
                let coded = character.starts_with('\\');
                assert!(visible == 1 || coded || view.at(index) == OTHER, "{raw} {index} {character}");
                assert!(view.end(index + 1) <= view.start(index + 1));
            }
        }
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
    fn letters_and_digits_are_those_of_the_standard_library() {
        let told = (0..=0x10_ffffu32).filter_map(char::from_u32);
        assert_eq!(told.filter(|c| alphanumeric(*c) != c.is_alphanumeric()).count(), 0);
    }

    #[test]
    fn many_invisible_characters_are_a_break() {
        let joined = format!("1{}2", "\u{200b}".repeat(4));
        assert_eq!(View::new(&joined, Some(true), &mut Vec::new()).bytes(), b"12");
        let broken = format!("1{}2", "\u{200b}".repeat(50));
        let mut folded = Vec::new();
        let view = View::new(&broken, Some(true), &mut folded);
        assert_eq!(view.bytes(), [b'1', OTHER, b'2']);
        assert_eq!((view.end(1), view.start(2)), (1, 151));
        assert!((0..151).all(|offset| view.index(offset) < 2) && (1..3).contains(&view.index(151)));
    }
}
