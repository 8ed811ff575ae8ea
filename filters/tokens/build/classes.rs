//! Character classes from regex-syntax' own Unicode tables, as a two-level table: a block number per
//! 128 code points, then one byte of flags per code point of each distinct block.

use std::collections::HashMap;
use std::path::Path;

use regex_syntax::Parser;
use regex_syntax::hir::{Class, HirKind};

/// Flags, the same as in `src/classes.rs` (a test of the crate compares the meaning).
const UPPER: u8 = 1;
const LOWER: u8 = 2;
const LETTER: u8 = 4;
const NUMBER: u8 = 8;
const SPACE: u8 = 16;
const NEWLINE: u8 = 32;
const SYMBOL: u8 = 64;

const BLOCK: usize = 128;

pub fn write(out: &Path) {
    let mut flags = vec![0u8; 0x11_0000];
    for (pattern, flag) in [
        (r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", UPPER),
        (r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]", LOWER),
        (r"\p{L}", LETTER),
        (r"\p{N}", NUMBER),
        (r"\s", SPACE),
        (r"[\r\n]", NEWLINE),
        (r"[^\s\p{L}\p{N}]", SYMBOL),
    ] {
        let hir = Parser::new().parse(pattern).expect("a valid class");
        let HirKind::Class(Class::Unicode(class)) = hir.kind() else { panic!("{pattern} is no class") };
        for range in class.iter() {
            for point in range.start()..=range.end() {
                flags[point as usize] |= flag;
            }
        }
    }
    let mut numbers: HashMap<&[u8], u8> = HashMap::new();
    let (mut index, mut blocks) = (Vec::new(), Vec::new());
    for block in flags.chunks(BLOCK) {
        let next = numbers.len();
        let number = *numbers.entry(block).or_insert_with(|| {
            blocks.extend_from_slice(block);
            u8::try_from(next).expect("at most 256 distinct blocks")
        });
        index.push(number);
    }
    crate::save(out, "class_index.bin", &index);
    crate::save(out, "class_blocks.bin", &blocks);
}
