//! Exact token counts: text in, the number of BPE tokens out, as the provider's own tokenizer would
//! count it. Special tokens are counted as ordinary text. It is no chat template: the few tokens that
//! a provider adds around each message are the caller's business.
//!
//! A text is cut into pieces ([`split`]); most pieces are one token, which a look into a perfect hash tells
//! ([`tables`]), many of them side by side ([`batch`]); the others are encoded by merges ([`merge`]), very long ones
//! in windows ([`long`]). All tables are static data, so there is no load step, and no text makes the work more
//! than n·log n.

#![cfg_attr(
    not(all(feature = "o200k", feature = "cl100k", any(feature = "p50k", feature = "r50k"))),
    allow(dead_code, unused_macros, reason = "what only another vocabulary uses")
)]

mod added;
mod batch;
mod classes;
#[cfg(feature = "compile")]
pub mod compile;
mod counter;
mod decode;
mod hash;
mod long;
mod merge;
#[cfg(feature = "compile")]
#[path = "../build/perfect.rs"]
#[allow(clippy::indexing_slicing, reason = "not in the module; build.rs uses the same file")]
mod perfect;
mod run;
mod split;
mod tables;
#[cfg(feature = "compile")]
#[path = "../build/vocabulary.rs"]
#[allow(clippy::indexing_slicing, reason = "not in the module; build.rs uses the same file")]
mod vocabulary;

use std::cell::RefCell;

pub use added::{Added, add};
pub use counter::Counter;
pub use decode::decode;

use batch::Batch;
use classes::Scan;
use long::{Long, WINDOW};
use merge::{Memory, Merger};
use tables::Tables;

/// A vocabulary that this build carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Vocabulary {
    /// GPT-4o, GPT-4.1, GPT-5, the o-series; gpt-oss too, whose `o200k_harmony` differs in special tokens only.
    #[cfg(feature = "o200k")]
    O200kBase,
    /// GPT-4, GPT-3.5-turbo, the embedding models of their time.
    #[cfg(feature = "cl100k")]
    Cl100kBase,
    /// Codex and text-davinci-002/003.
    #[cfg(feature = "p50k")]
    P50kBase,
    /// GPT-2 and GPT-3.
    #[cfg(feature = "r50k")]
    R50kBase,
    /// One that was compiled apart from this build and [`add`]ed.
    Added(&'static Added),
}

impl Vocabulary {
    /// Every vocabulary that was built in.
    pub const ALL: &[Self] = &[
        #[cfg(feature = "o200k")]
        Self::O200kBase,
        #[cfg(feature = "cl100k")]
        Self::Cl100kBase,
        #[cfg(feature = "p50k")]
        Self::P50kBase,
        #[cfg(feature = "r50k")]
        Self::R50kBase,
    ];

    /// The vocabulary of that name, or `None` where it is neither built in nor added.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            #[cfg(feature = "o200k")]
            "o200k_base" | "o200k_harmony" => Some(Self::O200kBase),
            #[cfg(feature = "cl100k")]
            "cl100k_base" => Some(Self::Cl100kBase),
            #[cfg(feature = "p50k")]
            "p50k_base" => Some(Self::P50kBase),
            #[cfg(feature = "r50k")]
            "r50k_base" | "gpt2" => Some(Self::R50kBase),
            _ => added::find(name).map(Self::Added),
        }
    }

    /// The name under which tokenizer libraries know it.
    pub fn name(self) -> &'static str {
        match self {
            #[cfg(feature = "o200k")]
            Self::O200kBase => "o200k_base",
            #[cfg(feature = "cl100k")]
            Self::Cl100kBase => "cl100k_base",
            #[cfg(feature = "p50k")]
            Self::P50kBase => "p50k_base",
            #[cfg(feature = "r50k")]
            Self::R50kBase => "r50k_base",
            Self::Added(added) => added.name(),
        }
    }

    /// A number that no other vocabulary of this process has, while it runs.
    pub fn number(self) -> u64 {
        match self {
            #[cfg(feature = "o200k")]
            Self::O200kBase => 0,
            #[cfg(feature = "cl100k")]
            Self::Cl100kBase => 1,
            #[cfg(feature = "p50k")]
            Self::P50kBase => 2,
            #[cfg(feature = "r50k")]
            Self::R50kBase => 3,
            Self::Added(added) => added.number(),
        }
    }

    /// Bytes of its tables, which every VM holds once.
    pub fn size(self) -> usize {
        self.tables().size()
    }

    fn tables(self) -> &'static Tables {
        match self {
            #[cfg(feature = "o200k")]
            Self::O200kBase => &tables::O200K,
            #[cfg(feature = "cl100k")]
            Self::Cl100kBase => &tables::CL100K,
            #[cfg(feature = "p50k")]
            Self::P50kBase => &tables::P50K,
            #[cfg(feature = "r50k")]
            Self::R50kBase => &tables::R50K,
            Self::Added(added) => added.tables(),
        }
    }
}

thread_local! {
    /// Of all counts of this thread: in the module, of the VM.
    static MEMORY: RefCell<Memory> = RefCell::default();
}

/// Shorter texts, such as the names of roles, are counted before a batch would be made ready.
const SHORT: usize = 16;

/// The number of tokens in `text`.
pub fn count(vocabulary: Vocabulary, text: &str) -> u64 {
    let tables = vocabulary.tables();
    MEMORY.with(|memory| match memory.try_borrow_mut() {
        Ok(mut memory) if text.len() >= SHORT && u32::try_from(text.len()).is_ok() => {
            let mut batch = Batch::new(tables, vocabulary.number(), &mut memory, text.as_bytes());
            for_pieces(tables, text, |at, end| batch.push(at, end));
            batch.finish()
        }
        _ => count_text(tables, &mut Merger::default(), text),
    })
}

/// Appends the token ids of `text`; for tests and tools, the gateway only counts.
pub fn encode(vocabulary: Vocabulary, text: &str, ids: &mut Vec<u32>) {
    let tables = vocabulary.tables();
    let mut merger = Merger::default();
    for_pieces(tables, text, |at, end| {
        let piece = text.as_bytes().get(at..end).unwrap_or_default();
        if piece.len() <= WINDOW {
            merger.merge(tables, piece);
            ids.extend(merger.tokens().map(|(token, _)| token));
        } else {
            let mut long = Vec::new();
            Long::default().advance(tables, &mut merger, piece, true, Some(&mut long));
            ids.append(&mut long);
        }
    });
}

/// A proven bound on the tokens of any text of so many bytes: every token is at least one byte.
pub const fn upper_bound(bytes: u64) -> u64 {
    bytes
}

fn count_text(tables: &Tables, merger: &mut Merger, text: &str) -> u64 {
    let mut count = 0;
    for_pieces(tables, text, |at, end| count += count_piece(tables, merger, text.as_bytes(), at, end));
    count
}

/// Calls `each` with the bounds of every piece.
#[inline]
fn for_pieces(tables: &Tables, text: &str, mut each: impl FnMut(usize, usize)) {
    let mut scan = Scan::new(text);
    let mut at = 0;
    while at < text.len() {
        let end = match split::common(text.as_bytes(), at) {
            // A piece is never empty; were one, the loop must end nevertheless.
            0 => split::piece(tables.rules, &mut scan, at).max(at + 1),
            end => end,
        };
        each(at, end);
        at = end;
    }
}

#[inline]
fn count_piece(tables: &Tables, merger: &mut Merger, text: &[u8], at: usize, end: usize) -> u64 {
    if tables.is_token(text, at, end) {
        return 1;
    }
    let piece = text.get(at..end).unwrap_or_default();
    if piece.len() <= merge::SHORT {
        return merge::count_short(tables, piece);
    }
    count_long(tables, merger, text, at, end)
}

/// A piece of more than one token that is not short.
fn count_long(tables: &Tables, merger: &mut Merger, text: &[u8], at: usize, end: usize) -> u64 {
    let piece = text.get(at..end).unwrap_or_default();
    if piece.len() <= WINDOW {
        return merger.merge(tables, piece) as u64;
    }
    let count = Long::default().advance(tables, merger, piece, true, None);
    count.unwrap_or(upper_bound(piece.len() as u64))
}
