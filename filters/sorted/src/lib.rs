//! A map, a sort, a search, a list and a hash in little code: what stands in for `BTreeMap`, `slice::sort`,
//! `str::contains`, `str::trim`, `collect`, `retain` and `Hasher` in the wasm module.
//!
//! The module's code is compiled when Envoy starts, and every pair of types of a `BTreeMap` costs 8 to 10 KB of it,
//! every `sort` 4 to 8 KB. Here what does not depend on the types is compiled once, behind a `dyn` comparison, and
//! what does is small. Map and sort keep the bounds that matter under hostile input: logarithmic search, no quadratic
//! insertion in any order, n·log n comparisons. Below the leaves of `filters/`; not meant for anything else.

mod gather;
mod map;
#[cfg(feature = "serde")]
mod serial;
mod siphash;
mod sort;
mod text;

pub use gather::{Gather, keep};
pub use map::{Iter, Map};
pub use siphash::SipHash;
pub use sort::sort_by;
pub use text::{contains, trim};
