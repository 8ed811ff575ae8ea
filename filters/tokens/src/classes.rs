//! What kind of character stands at a byte: flags from static tables, for the splitters. Unassigned
//! code points are what the oracle's regex engine takes them for, because the tables come from it.

/// `Lu`, `Lt`, `Lm`, `Lo` or `M`: may stand in the upper-case part of a word.
pub const UPPER: u8 = 1;
/// `Ll`, `Lm`, `Lo` or `M`: may stand in the lower-case part of a word.
pub const LOWER: u8 = 2;
/// `L`.
pub const LETTER: u8 = 4;
/// `N`.
pub const NUMBER: u8 = 8;
/// White space, line ends included.
pub const SPACE: u8 = 16;
/// Carriage return or line feed.
pub const NEWLINE: u8 = 32;
/// Neither letter, nor number, nor white space; marks are symbols too.
pub const SYMBOL: u8 = 64;
/// Only in the table of bytes: a longer character begins or goes on here.
const WIDE: u8 = 128;

static INDEX: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/class_index.bin"));
static BLOCKS: &[[u8; 128]] =
    include_bytes!(concat!(env!("OUT_DIR"), "/class_blocks.bin")).as_chunks::<128>().0;
/// The first block holds ASCII; 256 entries so that a byte needs no bounds check.
static BYTES: [u8; 256] = {
    let mut table = [WIDE; 256];
    let (mut byte, mut rest) = (0, BLOCKS);
    if let [ascii, ..] = rest {
        rest = &[];
        while byte < 128 {
            #[allow(
                clippy::indexing_slicing,
                reason = "both indexes are below 128 here; evaluated by the compiler"
            )]
            {
                table[byte] = ascii[byte];
            }
            byte += 1;
        }
    }
    assert!(rest.is_empty());
    table
};

/// A text being cut, which notes whether a decision hung on where the text ends.
pub struct Scan<'a> {
    text: &'a [u8],
    /// Something asked for a character beyond the end.
    pub met_end: bool,
}

impl<'a> Scan<'a> {
    /// Over the bytes of a text in UTF-8.
    pub fn new(text: &'a str) -> Self {
        Self { text: text.as_bytes(), met_end: false }
    }

    /// The byte at `at`; beyond the end a zero, which no rule of the splitters names.
    #[inline]
    pub fn byte(&mut self, at: usize) -> u8 {
        match self.text.get(at) {
            Some(&byte) => byte,
            None => {
                self.met_end = true;
                0
            }
        }
    }

    /// Flags and length in bytes of the character at `at`; no flags beyond the end.
    #[inline]
    pub fn class(&mut self, at: usize) -> (u8, usize) {
        let Some(&byte) = self.text.get(at) else {
            self.met_end = true;
            return (0, 0);
        };
        let flags = class_of_byte(byte);
        if flags & WIDE == 0 { (flags, 1) } else { wide(self.text, at) }
    }

    /// Where the run of characters with any of `flags` that begins at `at` ends.
    #[inline]
    pub fn run(&mut self, at: usize, flags: u8) -> usize {
        let mut at = if flags & LOWER != 0 {
            self.ascii_letters(at, 0)
        } else if flags & LETTER != 0 {
            self.ascii_letters(at, 0x20)
        } else {
            at
        };
        loop {
            let (class, length) = self.class(at);
            if class & flags == 0 {
                return at;
            }
            at += length;
        }
    }
}

impl Scan<'_> {
    /// Passes over lower-case ASCII letters, or with `fold` 0x20 over all, eight at a time while the text has as
    /// many: one branch for most words instead of one for each letter.
    #[inline]
    fn ascii_letters(&self, mut at: usize, fold: u8) -> usize {
        const EACH: u64 = 0x0101_0101_0101_0101;
        const HIGH: u64 = 0x80 * EACH;
        while let Some(bytes) = self.text.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
            let word = u64::from_le_bytes(*bytes);
            let low = (word | (u64::from(fold) * EACH)) & !HIGH;
            // No carry leaves a byte: both sums stay below 256.
            let from_a = low + u64::from(0x80 - b'a') * EACH;
            let beyond_z = low + u64::from(0x7F - b'z') * EACH;
            let others = !(from_a & !beyond_z & !word) & HIGH;
            if others != 0 {
                return at + (others.trailing_zeros() / 8) as usize;
            }
            at += 8;
        }
        at
    }
}

/// Whether an ASCII character that is neither letter nor apostrophe stands here: the end of a word under every rule.
#[inline]
pub fn ends_word(byte: u8) -> bool {
    class_of_byte(byte) & (WIDE | LETTER) == 0 && byte != b'\''
}

/// How many of the eight bytes are lower-case ASCII letters before the first other.
#[inline]
pub fn lower_case(word: u64) -> usize {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * EACH;
    let low = word & !HIGH;
    // No carry leaves a byte: both sums stay below 256.
    let from_a = low + u64::from(0x80 - b'a') * EACH;
    let beyond_z = low + u64::from(0x7F - b'z') * EACH;
    ((!(from_a & !beyond_z & !word) & HIGH).trailing_zeros() / 8) as usize
}

#[inline]
fn class_of_byte(byte: u8) -> u8 {
    #[allow(clippy::indexing_slicing, reason = "a byte is a valid index of 256 entries")]
    BYTES[usize::from(byte)]
}

/// The character of more than one byte at `at` in valid UTF-8.
fn wide(text: &[u8], at: usize) -> (u8, usize) {
    let tail = |number: usize| text.get(at + number).map_or(0, |&byte| u32::from(byte & 0x3F));
    let head = text.get(at).map_or(0, |&byte| u32::from(byte));
    let (point, length) = match head {
        0..0xE0 => ((head & 0x1F) << 6 | tail(1), 2),
        0xE0..0xF0 => ((head & 0x0F) << 12 | tail(1) << 6 | tail(2), 3),
        _ => ((head & 0x07) << 18 | tail(1) << 12 | tail(2) << 6 | tail(3), 4),
    };
    let block = INDEX.get((point >> 7) as usize).and_then(|&block| BLOCKS.get(usize::from(block)));
    let class = block.and_then(|block| block.get((point & 127) as usize));
    (class.copied().unwrap_or(SYMBOL), length)
}
