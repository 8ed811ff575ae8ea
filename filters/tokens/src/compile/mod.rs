//! Compiles a model's own tokenizer into the tables that the counter reads: a Hugging Face `tokenizer.json` in, one block
//! of bytes out, which [`add`](crate::add) takes as it is. For the control plane and for tests; the module links none of
//! it. What is not understood in full is refused: a count that is nearly right is no count.

mod hugging_face;

use std::fmt;

use crate::split::Rules;
use crate::tables::{HEAD, MAGIC, PARTS};
use crate::vocabulary;

/// Alignment of a block and of the tables in it.
const LINE: usize = 64;

/// Why a tokenizer cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The file is no JSON, or not a tokenizer's.
    Format(String),
    /// It does what the counter does not.
    Unsupported {
        /// The part of the file, as a path.
        part: &'static str,
        /// What stands there.
        found: String,
        /// What would do.
        wanted: &'static str,
    },
    /// It contradicts itself.
    Inconsistent(String),
    /// It is larger than the tables can hold.
    TooLarge(String),
    /// No name for a vocabulary.
    Name(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Format(why) => write!(f, "not a tokenizer.json: {why}"),
            Self::Unsupported { part, found, wanted } => write!(f, "`{part}` is {found}; {wanted}"),
            Self::Inconsistent(why) => write!(f, "the tokenizer contradicts itself: {why}"),
            Self::TooLarge(why) => write!(f, "the tokenizer is too large: {why}"),
            Self::Name(name) => write!(
                f,
                "`{name}` cannot name a tokenizer: letters, digits, `-`, `_` and `.`, 64 at most, first a letter or \
                 digit, and none of the names that are built in"
            ),
        }
    }
}

impl std::error::Error for Error {}

/// Names that mean something else already, whatever a build carries.
const TAKEN: [&str; 7] =
    ["o200k_base", "o200k_harmony", "cl100k_base", "p50k_base", "r50k_base", "gpt2", "learned"];

/// Whether `name` can name an added tokenizer.
pub fn valid_name(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    first && name.len() <= 64 && name.bytes().all(inner) && !TAKEN.contains(&name)
}

/// Compiles the text of a `tokenizer.json` under a name. The same text gives the same bytes.
pub fn compile(name: &str, json: &str) -> Result<Vec<u8>, Error> {
    if !valid_name(name) {
        return Err(Error::Name(name.to_owned()));
    }
    let (rules, vocabulary) = hugging_face::read(json)?;
    let tables = vocabulary::tables(&vocabulary)
        .ok_or_else(|| Error::TooLarge("its words have no perfect hash".to_owned()))?;
    Ok(block(name, rules, &tables))
}

/// The name of a compiled block, if `bytes` is exactly one.
pub fn name_of(bytes: &[u8]) -> Option<&str> {
    let number = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk::<4>()?) as usize);
    let names = HEAD + 8 * PARTS;
    let name = str::from_utf8(bytes.get(names..names.checked_add(number(16)?)?)?).ok()?;
    (bytes.starts_with(&MAGIC) && number(8)? == bytes.len() && valid_name(name)).then_some(name)
}

/// Writes what [`crate::tables::open`] reads.
fn block(name: &str, rules: Rules, tables: &[vocabulary::Table]) -> Vec<u8> {
    let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes();
    let rules = Rules::ALL.iter().position(|other| *other == rules).unwrap_or(usize::MAX);
    let mut places = Vec::new();
    let mut at = (HEAD + 8 * PARTS + name.len()).next_multiple_of(LINE);
    for (_, bytes) in tables {
        places.extend([number(at), number(bytes.len())]);
        at = (at + bytes.len()).next_multiple_of(LINE);
    }
    let mut out = MAGIC.to_vec();
    out.extend([number(at), number(rules), number(name.len()), [0; 4], [0; 4], [0; 4]].concat());
    out.extend(places.concat());
    out.extend(name.as_bytes());
    for (_, bytes) in tables {
        out.resize(out.len().next_multiple_of(LINE), 0);
        out.extend(bytes);
    }
    out.resize(at, 0);
    out
}
