//! How many cases a property test runs, and from which seed.
//!
//! Where `CI` is set the seed is fixed, so that a release does not fail at random; elsewhere every run tries
//! other texts. To search on purpose, with the same switches as any proptest:
//!
//! ```text
//! PROPTEST_CASES=50000 cargo test -p weir-pii --release          # random seeds
//! PROPTEST_RNG_SEED=7 PROPTEST_CASES=50000 cargo test -p weir-pii --release
//! ```

use proptest::test_runner::{Config, RngSeed};

/// The seed of runs that have to give the same result each time.
const FIXED: u64 = 0x5765_6972;

/// A configuration of `usual` cases, unless `PROPTEST_CASES` says how many.
pub fn cases(usual: u32) -> Config {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let mut config = Config::default();
    if !set("PROPTEST_CASES") {
        config.cases = usual;
    }
    if set("CI") && !set("PROPTEST_RNG_SEED") {
        config.rng_seed = RngSeed::Fixed(FIXED);
    }
    config
}
