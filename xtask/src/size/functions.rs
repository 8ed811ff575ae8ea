//! The functions of a wasm module: what each is called, and which bytes of the code section are its. Names are those
//! that the linker left, so a stripped module's functions have none.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::sections::{self, CUSTOM};

const IMPORTS: u8 = 2;
const CODE: u8 = 10;
/// In the section of names, the part that names functions.
const FUNCTIONS: u8 = 1;

/// One function that has code.
#[derive(Debug, PartialEq, Eq)]
pub struct Function<'a> {
    /// As the compiler mangled it.
    pub name: Option<&'a str>,
    /// Its locals and instructions; counted, as debug information does, from where the code section's contents begin.
    pub code: Range<usize>,
}

/// Bytes of the code section's contents; `None` for what is no module.
pub fn code_section(module: &[u8]) -> Option<usize> {
    Some(contents(module, CODE)?.len())
}

/// The module's functions in their order; `None` for what is no module.
pub fn functions(module: &[u8]) -> Option<Vec<Function<'_>>> {
    let imported = contents(module, IMPORTS).map_or(Some(0), imported_functions)?;
    let names = names(custom(module, "name").unwrap_or_default())?;
    let code = contents(module, CODE)?;
    let mut reader = Reader { rest: code };
    let count = reader.number()?;
    let mut found = Vec::new();
    for index in 0..count {
        let size = reader.number()?;
        let start = code.len() - reader.rest.len();
        reader.take(size)?;
        found.push(Function { name: names.get(&(imported + index)).copied(), code: start..start + size });
    }
    Some(found)
}

/// The contents of a custom section.
pub fn custom<'a>(module: &'a [u8], wanted: &str) -> Option<&'a [u8]> {
    sections::sections(module)?.into_iter().filter(|(id, _)| *id == CUSTOM).find_map(|(_, section)| {
        let mut reader = Reader { rest: without_head(section)? };
        (reader.text()? == wanted).then_some(reader.rest)
    })
}

fn contents(module: &[u8], wanted: u8) -> Option<&[u8]> {
    let sections = sections::sections(module)?;
    without_head(sections.iter().find(|(id, _)| *id == wanted)?.1)
}

fn without_head(section: &[u8]) -> Option<&[u8]> {
    let mut reader = Reader { rest: section.get(1..)? };
    reader.number()?;
    Some(reader.rest)
}

/// Imported functions are counted before the module's own.
fn imported_functions(section: &[u8]) -> Option<usize> {
    let mut reader = Reader { rest: section };
    let mut functions = 0;
    for _ in 0..reader.number()? {
        reader.text()?;
        reader.text()?;
        // Of other kinds nothing is imported by a proxy-wasm module.
        (reader.take(1)? == [0]).then_some(())?;
        reader.number()?;
        functions += 1;
    }
    Some(functions)
}

fn names(section: &[u8]) -> Option<BTreeMap<usize, &str>> {
    let mut reader = Reader { rest: section };
    let mut names = BTreeMap::new();
    while let [part, rest @ ..] = reader.rest {
        reader.rest = rest;
        let size = reader.number()?;
        let mut inside = Reader { rest: reader.take(size)? };
        if *part == FUNCTIONS {
            for _ in 0..inside.number()? {
                names.insert(inside.number()?, inside.text()?);
            }
        }
    }
    Some(names)
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, size: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(size)?;
        self.rest = rest;
        Some(taken)
    }

    /// Unsigned LEB128.
    fn number(&mut self) -> Option<usize> {
        let mut value = 0;
        for shift in (0..35).step_by(7) {
            let [byte] = self.take(1)? else { return None };
            value |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn text(&mut self) -> Option<&'a str> {
        let size = self.number()?;
        std::str::from_utf8(self.take(size)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One import, two functions of four and two bytes, and the second's name.
    const MODULE: &[u8] = b"\0asm\x01\0\0\0\
        \x01\x04\x01\x60\0\0\
        \x02\x07\x01\x01m\x01i\0\0\
        \x03\x03\x02\0\0\
        \x0a\x09\x02\x04\0\x01\x01\x0b\x02\0\x0b\
        \0\x0b\x04name\x01\x04\x01\x02\x01f";

    #[test]
    fn names_count_the_imported_functions_and_places_do_not() {
        let functions = functions(MODULE).unwrap();
        let first = Function { name: None, code: 2..6 };
        let second = Function { name: Some("f"), code: 7..9 };
        assert_eq!(functions, [first, second]);
        assert_eq!(code_section(MODULE), Some(9));
    }

    #[test]
    fn what_is_cut_off_is_no_module_unless_only_the_names_are() {
        let nameless = MODULE.len() - 13;
        for end in 0..MODULE.len() {
            let found = functions(&MODULE[..end]).map(|functions| functions.len());
            assert_eq!(found, (end == nameless).then_some(2), "{end} bytes");
        }
    }
}
