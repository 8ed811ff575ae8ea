//! A map and a sort in little code: what stands in for `BTreeMap` and `slice::sort` in the wasm module.
//!
//! The module's code is compiled when Envoy starts, and every pair of types of a `BTreeMap` costs 8 to 10 KB of it,
//! every `sort` 4 to 8 KB. Here what does not depend on the types is compiled once, behind a `dyn` comparison, and
//! what does is small. Both keep the bounds that matter under hostile input: logarithmic search, no quadratic
//! insertion in any order, n·log n comparisons. Below the leaves of `filters/`; not meant for anything else.

mod map;
#[cfg(feature = "serde")]
mod serial;
mod sort;

pub use map::{Iter, Map};
pub use sort::sort_by;
