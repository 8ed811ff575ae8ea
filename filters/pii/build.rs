//! Writes which characters are letters or digits: the standard library, whose tables these are, walks through them, which
//! takes a microsecond where a script is rare.

#![allow(
    clippy::expect_used,
    reason = "a build script reports by panicking, and runs on nothing but the standard library's tables"
)]

use std::fmt::Write as _;
use std::path::PathBuf;
use std::{env, fs};

/// Characters of a row.
const ROW: u32 = 64;
/// Behind it no character is a letter or a digit.
const END: u32 = 0x4_0000;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let mut rows: Vec<u64> = Vec::new();
    let mut places = Vec::new();
    for first in (0..END).step_by(ROW as usize) {
        let is = |bit: &u32| char::from_u32(first + bit).is_some_and(char::is_alphanumeric);
        let row = (0..ROW).filter(is).fold(0u64, |row, bit| row | 1 << bit);
        let place = rows.iter().position(|known| *known == row).unwrap_or_else(|| {
            rows.push(row);
            rows.len() - 1
        });
        places.push(place);
    }
    assert!((END..=0x10_ffff).filter_map(char::from_u32).all(|c| !c.is_alphanumeric()), "END is too small");
    let mut out = String::new();
    writeln!(out, "static PLACES: [u16; {}] = {places:?};", places.len()).expect("writing to a string");
    writeln!(out, "static ROWS: [u64; {}] = {rows:?};", rows.len()).expect("writing to a string");
    let path = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("alphanumeric.rs");
    fs::write(&path, out).expect("OUT_DIR can be written to");
}
