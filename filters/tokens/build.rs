//! Writes the tables that the crate links: character classes, and per enabled vocabulary the perfect
//! hashes over its words and its merges. Nothing is parsed or built at run time.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a build script reports by panicking, and runs on nothing but the vocabularies"
)]

use std::path::{Path, PathBuf};
use std::{env, fs};

#[path = "build/classes.rs"]
mod classes;
#[path = "build/openai.rs"]
mod openai;
#[path = "build/perfect.rs"]
mod perfect;
#[path = "build/vocabulary.rs"]
mod vocabulary;

#[path = "src/hash.rs"]
mod hash;

fn main() {
    for path in ["build.rs", "build", "src/hash.rs"] {
        println!("cargo::rerun-if-changed={path}");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    classes::write(&out);
    type Open = fn() -> tiktoken_rs::CoreBPE;
    let all: [(&str, &str, Open); 4] = [
        ("O200K", "o200k", || tiktoken_rs::o200k_base().expect("asset")),
        ("CL100K", "cl100k", || tiktoken_rs::cl100k_base().expect("asset")),
        ("P50K", "p50k", || tiktoken_rs::p50k_base().expect("asset")),
        ("R50K", "r50k", || tiktoken_rs::r50k_base().expect("asset")),
    ];
    for (feature, name, open) in all {
        if env::var_os(format!("CARGO_FEATURE_{feature}")).is_some() {
            let tables = vocabulary::tables(&openai::read(name, &open()));
            for (table, bytes) in tables.expect("hashes that differ: change a hash constant") {
                save(&out, &format!("{name}_{table}.bin"), &bytes);
            }
        }
    }
}

/// Writes one table and says where it failed.
fn save(out: &Path, name: &str, bytes: &[u8]) {
    let path = out.join(name);
    fs::write(&path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
