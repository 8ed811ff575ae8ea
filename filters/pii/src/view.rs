//! A text as detectors see it: one byte per character, look-alikes folded to ASCII, with the way back.
//!
//! Values are hidden from scanners by characters that readers and models do not see or do not tell apart:
//! zero-width joiners, soft hyphens, no-break spaces, full-width digits. They are folded here once, so that
//! no detector has to know them. An ASCII text, the usual case, is its own view and costs nothing.

use crate::anchors::Anchors;
use crate::characters::fold;
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

/// Bytes of a character at its widest, with those before it that are not seen; not of [`OTHER`], which may stand for many.
const WIDEST: usize = coding::LONGEST + INVISIBLE;

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
        bytes.reserve(all.len());
        let mut folded = Folded { bytes, length: 0, anchors: Vec::new(), hidden: 0 };
        let (mut at, mut plain) = (0, first);
        while let Some(rest) = all.get(at..).filter(|rest| !rest.is_empty()) {
            if plain > 0 {
                folded.bytes.extend_from_slice(rest.get(..plain).unwrap_or_default());
                (folded.length, folded.hidden) = (folded.length + plain, 0);
                at += plain;
                plain = 0;
                continue;
            }
            let read = coding::read(all, at, last);
            let mut more = 0;
            if read != Coding::No && rest.first() == Some(&b'\\') {
                // Those before it are no characters: each was escaped once more.
                let before = all.get(..at).unwrap_or_default().iter().rev().take(coding::AGAIN);
                more = before.take_while(|byte| **byte == b'\\').count().min(folded.length);
                folded.length -= more;
                folded.bytes.truncate(folded.length);
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
        let Folded { bytes, anchors, .. } = folded;
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
        self.folds.is_empty() && self.codings.is_empty()
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

    /// Whether the characters from `start` to `end` are written in at most so many bytes.
    #[inline]
    pub(crate) fn fits(&self, start: usize, end: usize, most: usize) -> bool {
        if self.same() { end - start <= most } else { self.fits_led_back(start, end, most) }
    }

    /// Of a few nobody has to look.
    #[inline(never)]
    fn fits_led_back(&self, start: usize, end: usize, most: usize) -> bool {
        let few = (end - start) * WIDEST <= most && (start..end).all(|at| self.at(at) != OTHER);
        few || self.end_led_back(end).saturating_sub(self.led_back(start)) <= most
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
        !self.codings.is_empty()
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

/// A view's bytes while they are told, in room that was made for them, or is.
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
        match self.bytes.get_mut(self.length) {
            Some(room) => *room = byte,
            None => self.bytes.push(byte),
        }
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

#[cfg(test)]
#[allow(
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]
pub(crate) mod tests {
    use super::*;
    use crate::characters::invisible;

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
        let mut random = crate::text::tests::random(1);
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
    fn few_characters_fit_however_they_are_written() {
        let pieces = [
            "a",
            "漢",
            "\u{200b}",
            "&shy;",
            "%25252540",
            "&amp;amp;#x0000040;",
            "&CounterClockwiseContourIntegral;",
            "\\u00ad",
            "\\\\\\\\\\\\\\\\u0040",
            "\u{1b}[38;5;196m",
            "\\\\033[38;5;196m",
            "&NonBreakingSpace;",
        ];
        let mut random = crate::text::tests::random(1);
        let mut far = 0;
        for _ in 0..4000 {
            let text: String = (0..random(16)).map(|_| pieces[random(pieces.len())]).collect();
            let mut folded = Vec::new();
            let view = View::new(&text, Some(true), &mut folded);
            for start in 0..view.bytes().len() {
                for end in start + 1..=view.bytes().len() {
                    let bytes = view.end(end) - view.start(start);
                    far = far.max(if end - start == 3 { bytes } else { 0 });
                    for most in [48, 96, 128, 160] {
                        assert_eq!(view.fits(start, end, most), bytes <= most, "{text} {start} {end}");
                    }
                }
            }
        }
        assert!(far > 48, "{far}");
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
