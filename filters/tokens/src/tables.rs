//! The vocabularies as the static tables that `build.rs` wrote, or that `weir tokenizer add` compiled and laid into the
//! module: read where they lie, aligned to cache lines, with nothing to load, allocate or free.

use crate::hash;
use crate::split::Rules;

/// Aligns the tables within to a cache line, so that no slot lies on two.
#[repr(C, align(64))]
struct Aligned<T: ?Sized>(T);

/// One vocabulary.
pub struct Tables {
    /// Where its pieces end.
    pub rules: Rules,
    /// The token of each byte.
    singles: &'static [[u8; 4]],
    /// The token of each two bytes, `NONE` where they are none.
    couples: &'static [[u8; 4]],
    /// Left token, right token and what they merge into, 18 bits each.
    merges: Perfect<8>,
    /// A byte of the hash of each slot of `merges`: most neighbours do not merge, and this smaller table, which a
    /// second-level cache holds, says so.
    tags: &'static [u8],
    /// Words of up to 15 bytes, their length in the top byte: the most frequent ones.
    first_words: Perfect<16>,
    /// The others.
    words: Perfect<16>,
    /// Offsets into the arena of longer words.
    long: Perfect<4>,
    /// Longer words, each behind a byte with its length.
    arena: &'static [u8],
}

/// No token.
pub const NONE: u32 = u32::MAX;

/// A perfect hash table of slots of so many bytes.
pub struct Perfect<const SLOT: usize> {
    displacements: &'static [[u8; 2]],
    slots: &'static [[u8; SLOT]],
}

impl<const SLOT: usize> Perfect<SLOT> {
    /// The number of the one slot where the key of this hash can be.
    #[inline]
    fn place(&self, hash: u64) -> Option<usize> {
        let displacement = *self.displacements.get(hash::bucket(hash, self.displacements.len()))?;
        Some(hash::slot(hash, u16::from_le_bytes(displacement), self.slots.len()))
    }

    /// Something of what lies there.
    #[inline]
    pub fn touch(&self, at: u32) -> u8 {
        self.slots.get(at as usize).map_or(0, |slot| slot.first().copied().unwrap_or_default())
    }

    fn size(&self) -> usize {
        2 * self.displacements.len() + SLOT * self.slots.len()
    }

    /// That slot.
    #[inline]
    fn slot(&self, hash: u64) -> Option<&'static [u8; SLOT]> {
        self.slots.get(self.place(hash)?)
    }
}

impl Perfect<16> {
    /// Where the word with this key would be.
    #[inline]
    pub fn at(&self, (first, second): (u64, u64)) -> u32 {
        self.place(hash::two(first, second)).unwrap_or(usize::MAX) as u32
    }

    /// Whether it is there.
    #[inline]
    pub fn has(&self, (first, second): (u64, u64), at: u32) -> bool {
        let slot = self.slots.get(at as usize).map_or(0, |slot| u128::from_le_bytes(*slot));
        (slot as u64 ^ first) | ((slot >> 64) as u64 ^ second) == 0
    }
}

/// Two neighbouring tokens.
#[derive(Clone, Copy, Default)]
pub struct Pair {
    both: u64,
    /// What they merge into, or `NONE`.
    pub token: u32,
    place: u32,
    /// The caller's note.
    pub at: u32,
}

impl Pair {
    /// What is not known yet.
    #[inline]
    pub fn new(left: u32, right: u32, at: usize) -> Self {
        Self { both: u64::from(left) << 18 | u64::from(right), token: NONE, place: 0, at: at as u32 }
    }
}

/// What the pair merges into if this slot has it.
#[inline]
fn merge(slot: Option<&[u8; 8]>, pair: u64) -> u32 {
    let entry = slot.map_or(u64::MAX, |slot| u64::from_le_bytes(*slot));
    if entry >> 18 == pair { entry as u32 & ((1 << 18) - 1) } else { NONE }
}

impl Tables {
    /// Bytes of static data.
    pub fn size(&self) -> usize {
        let perfect = self.merges.size()
            + [&self.first_words, &self.words].map(Perfect::size).iter().sum::<usize>()
            + self.long.size();
        perfect + 4 * (self.singles.len() + self.couples.len()) + self.tags.len() + self.arena.len()
    }

    /// The token of a byte.
    #[inline]
    pub fn single(&self, byte: u8) -> u32 {
        self.singles.get(usize::from(byte)).map_or(NONE, |rank| u32::from_le_bytes(*rank))
    }

    /// The token of two bytes, or `NONE`.
    #[inline]
    pub fn couple(&self, first: u8, second: u8) -> u32 {
        let at = usize::from(first) << 8 | usize::from(second);
        self.couples.get(at).map_or(NONE, |rank| u32::from_le_bytes(*rank))
    }

    /// What two neighbouring tokens merge into, or `NONE`.
    #[inline]
    pub fn merged(&self, left: u32, right: u32) -> u32 {
        let pair = u64::from(left) << 18 | u64::from(right);
        let hash = hash::one(pair);
        let Some(place) = self.merges.place(hash) else { return NONE };
        if self.tags.get(place) != Some(&hash::tag(hash)) {
            return NONE;
        }
        merge(self.merges.slots.get(place), pair)
    }

    /// Shows every merge: two tokens, and what they are together.
    pub fn each_merge(&self, sink: &mut dyn FnMut(u32, u32, u32)) {
        const BITS: u64 = (1 << 18) - 1;
        for slot in self.merges.slots.iter().map(|slot| u64::from_le_bytes(*slot)) {
            let pair = slot >> 18;
            let (left, right, into) = ((pair >> 18) as u32, (pair & BITS) as u32, (slot & BITS) as u32);
            // A slot that no merge fills is all ones, or says something else than it would be found by.
            if self.merged(left, right) == into {
                sink(left, right, into);
            }
        }
        for (at, into) in self.couples.iter().enumerate() {
            let [first, second] = (at as u16).to_be_bytes();
            sink(self.single(first), self.single(second), u32::from_le_bytes(*into));
        }
    }

    /// What each pair merges into, into its `token`: the same as [`merged`](Self::merged), but the look-ups wait side by
    /// side.
    pub fn merge_all(&self, pairs: &mut [Pair]) {
        for pair in pairs.iter_mut() {
            pair.place = self.merges.place(hash::one(pair.both)).unwrap_or(usize::MAX) as u32;
        }
        for pair in pairs.iter_mut() {
            pair.token = merge(self.merges.slots.get(pair.place as usize), pair.both);
        }
    }

    /// Whether `text[at..end]` is one token. May not know tokens that are no valid text.
    #[inline]
    pub fn is_token(&self, text: &[u8], at: usize, end: usize) -> bool {
        let length = end.wrapping_sub(at);
        match length {
            1 => true,
            2..16 => {
                let key = Self::key(text, at, length);
                [&self.first_words, &self.words].into_iter().any(|words| words.has(key, words.at(key)))
            }
            _ => text.get(at..end).is_some_and(|word| self.is_long_token(word)),
        }
    }

    /// What tells a piece of 2 to 15 bytes from every other: the bytes and their number.
    #[inline]
    pub fn key(text: &[u8], at: usize, length: usize) -> (u64, u64) {
        let (first, second) = words(text, at, length);
        let tag = (length as u64) << 56;
        if length < 8 { (keep(first, length), tag) } else { (first, keep(second, length - 8) | tag) }
    }

    /// The two tables of words of up to 15 bytes, the frequent ones first.
    #[inline]
    pub fn words(&self) -> [&Perfect<16>; 2] {
        [&self.first_words, &self.words]
    }

    #[inline(never)]
    fn is_long_token(&self, word: &[u8]) -> bool {
        let Ok(length) = u8::try_from(word.len()) else { return false };
        let Some(slot) = self.long.slot(hash::many(word)) else { return false };
        let rest = self.arena.get(u32::from_le_bytes(*slot) as usize..).unwrap_or_default();
        matches!(rest, [first, rest @ ..] if *first == length && rest.starts_with(word))
    }
}

/// The lowest `count` bytes of a word.
#[inline]
fn keep(word: u64, count: usize) -> u64 {
    word & ((1 << (8 * (count & 7))) - 1)
}

/// Sixteen bytes from `at`; those beyond `length` are arbitrary.
#[inline]
fn words(text: &[u8], at: usize, length: usize) -> (u64, u64) {
    let rest = text.get(at..).unwrap_or_default();
    if let Some(bytes) = rest.first_chunk::<16>() {
        let bytes = u128::from_le_bytes(*bytes);
        return (bytes as u64, (bytes >> 64) as u64);
    }
    let bytes = rest.iter().take(length).rev().fold(0u128, |bytes, &byte| bytes << 8 | u128::from(byte));
    (bytes as u64, (bytes >> 64) as u64)
}

/// How many tables a vocabulary has.
pub const PARTS: usize = 12;
/// What tables that were compiled apart from the module begin with.
pub const MAGIC: [u8; 8] = *b"WEIRTOK2";
/// Bytes of the head before the name; see [`open`].
pub const HEAD: usize = 32;

/// Opens the first vocabulary that lies in `area`, which must stand at a multiple of 64: its name, its tables, and how
/// many bytes it takes.
///
/// Behind the magic stand six numbers of four bytes: the length of all, the rules, the name's length, and three that are
/// zero; then where each table begins and its length, in the order below; then the name; each table at a multiple of 64.
pub fn open(area: &'static [u8]) -> Option<(&'static str, Tables, usize)> {
    let number = |at: usize| {
        let bytes = area.get(at..)?.first_chunk::<4>()?;
        Some(u32::from_le_bytes(*bytes) as usize)
    };
    if !area.starts_with(&MAGIC) {
        return None;
    }
    let (length, rules, name) = (number(8)?, *Rules::ALL.get(number(12)?)?, number(16)?);
    let part = |index: usize| {
        let at = HEAD + 8 * index;
        let from = number(at)?;
        area.get(from..from.checked_add(number(at + 4)?)?)
    };
    let names = HEAD + 8 * PARTS;
    let name = str::from_utf8(area.get(names..names.checked_add(name)?)?).ok()?;
    let tables = Tables {
        rules,
        singles: part(0)?.as_chunks().0,
        couples: part(1)?.as_chunks().0,
        merges: Perfect { displacements: part(3)?.as_chunks().0, slots: part(2)?.as_chunks().0 },
        tags: part(4)?,
        first_words: Perfect { displacements: part(6)?.as_chunks().0, slots: part(5)?.as_chunks().0 },
        words: Perfect { displacements: part(8)?.as_chunks().0, slots: part(7)?.as_chunks().0 },
        long: Perfect { displacements: part(10)?.as_chunks().0, slots: part(9)?.as_chunks().0 },
        arena: part(11)?,
    };
    (length >= HEAD && length <= area.len()).then_some((name, tables, length))
}

macro_rules! table {
    ($vocabulary:literal, $table:literal) => {{
        static ALIGNED: &Aligned<[u8]> =
            &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/", $vocabulary, "_", $table, ".bin")));
        &ALIGNED.0
    }};
}

macro_rules! tables {
    ($vocabulary:literal, $rules:expr) => {
        Tables {
            rules: $rules,
            singles: table!($vocabulary, "singles").as_chunks().0,
            couples: table!($vocabulary, "couples").as_chunks().0,
            merges: Perfect {
                displacements: table!($vocabulary, "merges_at").as_chunks().0,
                slots: table!($vocabulary, "merges").as_chunks().0,
            },
            tags: table!($vocabulary, "tags"),
            first_words: Perfect {
                displacements: table!($vocabulary, "first_words_at").as_chunks().0,
                slots: table!($vocabulary, "first_words").as_chunks().0,
            },
            words: Perfect {
                displacements: table!($vocabulary, "words_at").as_chunks().0,
                slots: table!($vocabulary, "words").as_chunks().0,
            },
            long: Perfect {
                displacements: table!($vocabulary, "long_at").as_chunks().0,
                slots: table!($vocabulary, "long").as_chunks().0,
            },
            arena: table!($vocabulary, "arena"),
        }
    };
}

/// `o200k_base`, and `o200k_harmony` for ordinary text.
#[cfg(feature = "o200k")]
pub static O200K: Tables = tables!("o200k", Rules::O200k);
/// `cl100k_base`.
#[cfg(feature = "cl100k")]
pub static CL100K: Tables = tables!("cl100k", Rules::Cl100k);
/// `p50k_base`.
#[cfg(feature = "p50k")]
pub static P50K: Tables = tables!("p50k", Rules::Gpt2);
/// `r50k_base`.
#[cfg(feature = "r50k")]
pub static R50K: Tables = tables!("r50k", Rules::Gpt2);
