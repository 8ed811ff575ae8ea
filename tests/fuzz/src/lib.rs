//! Fuzz targets for everything that decodes bytes from outside: each is a function that fails by panicking when a
//! promise is broken, and the promises are more than "no panic". A stream cut anywhere means what the whole means, ends
//! exactly once, and grows by no more than a factor; an edited document is a document; what a reader accepts, its
//! writer gives back; whoever has an outside oracle agrees with it; time is linear in the input.
//!
//! `cargo xtask fuzz TARGET --minutes 10` searches with [`engine`], which keeps what reaches new code. `cargo test -p
//! weir-fuzz` replays what is in `corpus/` and the seeds, and adds a little seeded damage, the same on every run.
//!
//! The engine is our own, some four hundred lines: libFuzzer wants a C++ compiler and its wrapper a nightly Rust, and
//! what it needs from the compiler, counters on edges, the stable one gives too.

pub mod corpus;
pub mod engine;
pub mod random;
mod targets;

pub use targets::{TARGETS, Target};
