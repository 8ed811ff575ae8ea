//! Vocabularies that were compiled apart from this build: a model's own tokenizer, as `weir tokenizer add` lays it into
//! the module's memory. They are looked for by name only where the name is none that was built in.

use std::fmt;
use std::sync::{PoisonError, RwLock};

use crate::tables::{self, Tables};

/// Most that one process holds.
const MOST: usize = 64;
/// The first number of theirs; those that were built in have lower ones.
const FIRST: u64 = 16;

static ADDED: RwLock<Vec<&'static Added>> = RwLock::new(Vec::new());

/// A vocabulary that was added.
pub struct Added {
    name: &'static str,
    number: u64,
    tables: Tables,
}

impl Added {
    /// The name that it was given.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn tables(&'static self) -> &'static Tables {
        &self.tables
    }
}

impl PartialEq for Added {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Added {}

impl fmt::Debug for Added {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Makes the vocabularies known that lie one behind the other in `area`, up to the first that is none; returns how many
/// they are. Nothing is copied. A name that is known already then means the new one.
pub fn add(area: &'static [u8]) -> usize {
    let mut all = ADDED.write().unwrap_or_else(PoisonError::into_inner);
    let (mut rest, before) = (area, all.len());
    while all.len() < MOST
        && let Some((name, tables, length)) = tables::open(rest)
    {
        let number = FIRST + all.len() as u64;
        all.push(Box::leak(Box::new(Added { name, number, tables })));
        rest = rest.get(length..).unwrap_or_default();
    }
    all.len() - before
}

/// The one of that name.
pub(crate) fn find(name: &str) -> Option<&'static Added> {
    let all = ADDED.read().unwrap_or_else(PoisonError::into_inner);
    all.iter().rev().copied().find(|added| added.name == name)
}
