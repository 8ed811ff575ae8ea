//! What is done to texts in many places, and is small in each because it stands here.

use std::ops::Range;

/// Appends a text. Once in the module.
#[inline(never)]
pub(crate) fn put(out: &mut String, text: &str) {
    out.push_str(text);
}

/// The part of a text that is there. Once in the module.
#[inline(never)]
pub(crate) fn part(text: &str, range: Range<usize>) -> &str {
    text.get(range).unwrap_or_default()
}
