//! Names of the API as data. A `match` on strings becomes a comparison in code for each of its names, hundreds of
//! them over all dialects; [`by_name!`] has the same arms, and what they are chosen by is a table.

use weir_wire::json::{Key, Value};

/// A `match` on a name: arms of words with or without a guard, each closed by a comma, and `_` at the end.
///
/// ```ignore
/// by_name!(key => {
///     "model" | "stream" => {},
///     "thinking" if value.kind() == Kind::Object => chat.thinking = Some(fields::raw(value)),
///     _ => lose(key),
/// })
/// ```
macro_rules! by_name {
    ($name:expr => { $($($word:literal)|+ $(if $guard:expr)? => $body:expr,)+ _ => $other:expr $(,)? }) => {{
        const WORDS: &[&str] = &[$($($word),+),+];
        match $crate::names::Named::place($name, WORDS) {
            $(place if ($(place == const { $crate::names::first(WORDS, $word) })||+) $(&& $guard)? => $body,)+
            _ => $other,
        }
    }};
}

/// What can be one of a list's words.
pub(crate) trait Named {
    /// The place of the first word that it is, or the list's length.
    fn place(self, words: &[&str]) -> usize;
}

impl Named for &str {
    #[inline(never)]
    fn place(self, words: &[&str]) -> usize {
        words.iter().position(|word| *word == self).unwrap_or(words.len())
    }
}

impl Named for Option<&str> {
    fn place(self, words: &[&str]) -> usize {
        self.map_or(words.len(), |name| name.place(words))
    }
}

/// A string, escapes resolved.
impl Named for Value<'_, '_> {
    #[inline(never)]
    fn place(self, words: &[&str]) -> usize {
        self.as_str().as_deref().place(words)
    }
}

impl Named for Option<Value<'_, '_>> {
    #[inline(never)]
    fn place(self, words: &[&str]) -> usize {
        self.map_or(words.len(), |value| value.place(words))
    }
}

impl Named for Key<'_, '_> {
    fn place(self, words: &[&str]) -> usize {
        self.value().place(words)
    }
}

/// The place of a word that the list has.
#[allow(clippy::indexing_slicing, reason = "runs in the compiler, where a word that is missing is an error")]
pub(crate) const fn first(words: &[&str], word: &str) -> usize {
    let mut at = 0;
    while !same(words[at].as_bytes(), word.as_bytes()) {
        at += 1;
    }
    at
}

#[allow(clippy::indexing_slicing, reason = "runs in the compiler, on texts of one length")]
const fn same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let mut at = 0;
    while at < one.len() {
        if one[at] != other[at] {
            return false;
        }
        at += 1;
    }
    true
}
