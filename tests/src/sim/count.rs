//! Token counts of the simulators, by tiktoken-rs from its own asset: the outside oracle of the gateway's
//! own tables. Not exact for what no public rule covers (tools, images): see each simulator's own rule.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::{Deserialize, Serialize};
use tiktoken_rs::CoreBPE;

/// tiktoken-rs' regex overflows its stack on whitespace runs of about a megabyte; above this many bytes of
/// one run, bpe-openai (linear, the same counts) is asked instead.
const LONG_RUN: usize = 100_000;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    #[default]
    O200kHarmony,
    O200kBase,
    Cl100kBase,
}

impl Encoding {
    fn bpe(self) -> &'static CoreBPE {
        match self {
            Self::O200kHarmony => tiktoken_rs::o200k_harmony_singleton(),
            Self::O200kBase => tiktoken_rs::o200k_base_singleton(),
            Self::Cl100kBase => tiktoken_rs::cl100k_base_singleton(),
        }
    }

    /// The token ids of a text, special tokens read as ordinary text.
    pub fn encode(self, text: &str) -> Vec<u32> {
        if !has_long_run(text) {
            let tried = catch_unwind(AssertUnwindSafe(|| self.bpe().encode_ordinary(text)));
            if let Ok(ids) = tried {
                return ids;
            }
        }
        match self {
            Self::Cl100kBase => bpe_openai::cl100k_base().encode(text),
            Self::O200kBase | Self::O200kHarmony => bpe_openai::o200k_base().encode(text),
        }
    }

    pub fn count(self, text: &str) -> u32 {
        self.encode(text).len() as u32
    }

    /// The bytes of one token; empty for an id that the vocabulary does not have.
    pub fn bytes(self, id: u32) -> Vec<u8> {
        self.bpe().decode_bytes(&[id]).unwrap_or_default()
    }

    /// Loads the vocabulary now, off the async threads, so that the first request is not the slow one.
    pub async fn warm(self) {
        let _ = tokio::task::spawn_blocking(move || self.count("warm")).await;
    }
}

fn has_long_run(text: &str) -> bool {
    if text.len() < LONG_RUN {
        return false;
    }
    let mut run = 0;
    for byte in text.bytes() {
        run = if byte.is_ascii_whitespace() { run + 1 } else { 0 };
        if run >= LONG_RUN {
            return true;
        }
    }
    false
}
