//! Tables laid into a built module: fresh pages of memory behind those that it was linked with, one data segment that
//! fills them, and one that says where they lie. Code is not touched, so a module with ten tokenizers starts as fast as
//! one with none. Also what a module says about itself: which vocabularies it was built with.
//!
//! Only what a module of this project has is understood; anything else is refused, never half patched.

/// The custom section in which a module lists what it was built with, one name a line.
const BUILT_IN: &str = "weir.tokenizers";
/// The custom section in which this file lists what it added.
const ADDED: &str = "weir.tokenizers.added";
/// The exported place of two numbers, address and length, that the module reads at its start.
const SLOT: &str = "WEIR_ADDED_TOKENIZERS";
const PAGE: usize = 1 << 16;

const CUSTOM: u8 = 0;
const IMPORT: u8 = 2;
const MEMORY: u8 = 5;
const GLOBAL: u8 = 6;
const EXPORT: u8 = 7;
const DATA: u8 = 11;
const DATA_COUNT: u8 = 12;

/// One section: its number and its contents.
type Section<'a> = (u8, &'a [u8]);

/// Names of the vocabularies that a module has, those that were added last; `None` where it does not say.
pub fn tokenizers(module: &[u8]) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let mut says = false;
    for (_, contents) in sections(module)?.into_iter().filter(|(id, _)| *id == CUSTOM) {
        let mut reader = Reader(contents);
        let section = reader.name()?;
        if section == BUILT_IN || section == ADDED {
            says = true;
            let text = std::str::from_utf8(reader.0).ok()?;
            names.extend(text.lines().filter(|name| !name.is_empty()).map(str::to_owned));
        }
    }
    says.then_some(names)
}

/// The module with these tables, each under its name.
pub fn graft(module: &[u8], tables: &[(String, Vec<u8>)]) -> Result<Vec<u8>, String> {
    if tables.is_empty() {
        return Ok(module.to_vec());
    }
    let sections = sections(module).ok_or("not a whole wasm module")?;
    let has_added = |(id, contents): &Section<'_>| *id == CUSTOM && Reader(contents).name() == Some(ADDED);
    if sections.iter().any(has_added) {
        return Err("it has added tokenizers already: begin with the module as it was built".to_owned());
    }
    let slot = slot(&sections).ok_or("it has no place for added tokenizers: it is older than they are")?;
    let area: Vec<u8> = tables.iter().flat_map(|(_, bytes)| bytes.iter().copied()).collect();
    let mut out = module.get(..8).unwrap_or_default().to_vec();
    let mut base = None;
    for (id, contents) in &sections {
        let contents = match *id {
            MEMORY => {
                let (contents, end) =
                    more_memory(contents, area.len()).ok_or("its memory is not one of its own")?;
                base = Some(end);
                contents
            }
            DATA_COUNT => {
                let count = Reader(contents).number().ok_or("its data count is cut")?;
                unsigned(count + 2)
            }
            DATA => {
                let base = base.ok_or("its sections are out of order")?;
                let place = [number(base)?, number(area.len())?].concat();
                more_data(contents, &[(base, &area), (slot, &place)]).ok_or("its data is cut")?
            }
            _ => contents.to_vec(),
        };
        section(&mut out, *id, &contents);
    }
    if !sections.iter().any(|(id, _)| *id == DATA) {
        return Err("it has no data".to_owned());
    }
    let names: String = tables.iter().map(|(name, _)| format!("{name}\n")).collect();
    section(&mut out, CUSTOM, &[&unsigned(ADDED.len()), ADDED.as_bytes(), names.as_bytes()].concat());
    Ok(out)
}

fn number(value: usize) -> Result<[u8; 4], String> {
    u32::try_from(value).map(u32::to_le_bytes).map_err(|_| "more than 4 GiB of tables".to_owned())
}

/// The address of the slot: the value of the constant that is exported under its name.
fn slot(sections: &[Section<'_>]) -> Option<usize> {
    let of = |wanted: u8| sections.iter().find(|(id, _)| *id == wanted).map(|(_, contents)| Reader(contents));
    let mut exports = of(EXPORT)?;
    let mut index = None;
    for _ in 0..exports.number()? {
        let (name, kind, at) = (exports.name()?, exports.byte()?, exports.number()?);
        if name == SLOT && kind == 3 {
            index = Some(at);
        }
    }
    // Globals are numbered behind those that are imported; a module that imports any is not ours.
    if let Some(mut imports) = of(IMPORT) {
        for _ in 0..imports.number()? {
            let (_, _, kind, _) = (imports.name()?, imports.name()?, imports.byte()?, imports.number()?);
            if kind != 0 {
                return None;
            }
        }
    }
    let (index, mut globals) = (index?, of(GLOBAL)?);
    for at in 0..globals.number()? {
        // Type, mutability, then `i32.const ADDRESS end`.
        let (_, _, op) = (globals.byte()?, globals.byte()?, globals.byte()?);
        let value = globals.signed()?;
        if op != 0x41 || globals.byte()? != 0x0b {
            return None;
        }
        if at == index {
            return usize::try_from(value as u32).ok();
        }
    }
    None
}

/// The memory section with room for so many bytes more, and where they begin.
fn more_memory(contents: &[u8], bytes: usize) -> Option<(Vec<u8>, usize)> {
    let mut reader = Reader(contents);
    let (count, flags, least) = (reader.number()?, reader.byte()?, reader.number()?);
    let pages = least + bytes.div_ceil(PAGE);
    if count != 1 || flags > 1 || pages > 1 << 16 {
        return None;
    }
    let mut out = [unsigned(1), vec![flags], unsigned(pages)].concat();
    if flags == 1 {
        out.extend(unsigned(reader.number()?.max(pages)));
    }
    Some((out, least * PAGE))
}

/// The data section with these segments behind its own; a later one overwrites an earlier.
fn more_data(contents: &[u8], segments: &[(usize, &[u8])]) -> Option<Vec<u8>> {
    let mut reader = Reader(contents);
    let count = reader.number()?;
    let mut out = unsigned(count + segments.len());
    out.extend_from_slice(reader.0);
    for (at, bytes) in segments {
        // Active, in memory 0, at `i32.const ADDRESS end`.
        out.extend([0, 0x41]);
        out.extend(signed(i64::from(u32::try_from(*at).ok()? as i32)));
        out.push(0x0b);
        out.extend(unsigned(bytes.len()));
        out.extend_from_slice(bytes);
    }
    Some(out)
}

fn section(out: &mut Vec<u8>, id: u8, contents: &[u8]) {
    out.push(id);
    out.extend(unsigned(contents.len()));
    out.extend_from_slice(contents);
}

fn sections(module: &[u8]) -> Option<Vec<Section<'_>>> {
    let mut reader = Reader(module.strip_prefix(b"\0asm\x01\0\0\0")?);
    let mut found = Vec::new();
    while !reader.0.is_empty() {
        let (id, size) = (reader.byte()?, reader.number()?);
        found.push((id, reader.take(size)?));
    }
    Some(found)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, size: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(size)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    /// Unsigned LEB128 of at most 32 bits.
    fn number(&mut self) -> Option<usize> {
        let mut value = 0;
        for shift in (0..35).step_by(7) {
            let byte = self.byte()?;
            value |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// Signed LEB128 of at most 32 bits.
    fn signed(&mut self) -> Option<i64> {
        let mut value = 0i64;
        for shift in (0..35).step_by(7) {
            let byte = self.byte()?;
            value |= i64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                let unused = 64 - 7 - shift;
                return Some(value << unused >> unused);
            }
        }
        None
    }

    fn name(&mut self) -> Option<&'a str> {
        let size = self.number()?;
        std::str::from_utf8(self.take(size)?).ok()
    }
}

fn unsigned(mut value: usize) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            out.push(byte);
            return out;
        }
        out.push(byte | 0x80);
    }
}

fn signed(mut value: i64) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        if (value == 0 && byte & 0x40 == 0) || (value == -1 && byte & 0x40 != 0) {
            out.push(byte);
            return out;
        }
        out.push(byte | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The smallest module with a slot at 1024 in two pages of memory.
    fn module(maximum: Option<usize>) -> Vec<u8> {
        let mut out = b"\0asm\x01\0\0\0".to_vec();
        let memory = match maximum {
            Some(most) => [vec![1, 1, 2], unsigned(most)].concat(),
            None => vec![1, 0, 2],
        };
        section(&mut out, MEMORY, &memory);
        let globals =
            [vec![2, 0x7f, 1, 0x41], signed(70_000), vec![0x0b, 0x7f, 0, 0x41], signed(1024), vec![0x0b]];
        section(&mut out, GLOBAL, &globals.concat());
        let names: [(&str, u8, u8); 2] = [("memory", 2, 0), (SLOT, 3, 1)];
        let exports = names.iter().flat_map(|(name, kind, at)| {
            [unsigned(name.len()), name.as_bytes().to_vec(), vec![*kind, *at]].concat()
        });
        section(&mut out, EXPORT, &[vec![2], exports.collect()].concat());
        section(&mut out, DATA_COUNT, &[1]);
        section(&mut out, DATA, &[1, 0, 0x41, 0, 0x0b, 2, 7, 8]);
        let custom =
            [unsigned(BUILT_IN.len()), BUILT_IN.as_bytes().to_vec(), b"one\ntwo\n".to_vec()].concat();
        section(&mut out, CUSTOM, &custom);
        out
    }

    fn tables() -> Vec<(String, Vec<u8>)> {
        vec![("a".to_owned(), vec![1; PAGE]), ("b".to_owned(), vec![2; 10])]
    }

    #[test]
    fn tables_come_to_lie_behind_the_linked_memory() {
        for maximum in [None, Some(2), Some(100)] {
            let grafted = graft(&module(maximum), &tables()).unwrap();
            assert_eq!(tokenizers(&grafted).unwrap(), ["one", "two", "a", "b"]);
            let sections = sections(&grafted).unwrap();
            let of = |id: u8| Reader(sections.iter().find(|(other, _)| *other == id).unwrap().1);
            let mut memory = of(MEMORY);
            let limits = (memory.number(), memory.byte(), memory.number());
            assert_eq!(limits, (Some(1), Some(u8::from(maximum.is_some())), Some(4)));
            assert_eq!(memory.number(), maximum.map(|most| most.max(4)));
            assert_eq!(of(DATA_COUNT).number(), Some(3));
            let mut data = of(DATA);
            assert_eq!(data.number(), Some(3));
            let mut segment = || {
                assert_eq!((data.byte(), data.byte()), (Some(0), Some(0x41)));
                let at = data.signed().unwrap();
                assert_eq!(data.byte(), Some(0x0b));
                let size = data.number().unwrap();
                (at, data.take(size).unwrap())
            };
            assert_eq!(segment(), (0, &[7, 8][..]));
            let (at, area) = segment();
            assert_eq!((at, area.len(), area[PAGE - 1], area[PAGE]), (2 << 16, PAGE + 10, 1, 2));
            let place = [(2u32 << 16).to_le_bytes(), (PAGE as u32 + 10).to_le_bytes()].concat();
            assert_eq!(segment(), (1024, place.as_slice()));
        }
    }

    #[test]
    fn without_tables_the_module_stays_as_it_is() {
        assert_eq!(graft(&module(None), &[]).unwrap(), module(None));
    }

    #[test]
    fn what_is_not_ours_or_is_cut_is_refused() {
        let whole = module(None);
        for end in 0..whole.len() {
            let cut = graft(&whole[..end], &tables());
            // Only the list of names stands behind the data.
            let names_only = sections(&whole[..end]).is_some_and(|s| s.iter().any(|(id, _)| *id == DATA));
            assert_eq!(cut.is_ok(), names_only, "{end} bytes");
        }
        let twice = graft(&graft(&whole, &tables()).unwrap(), &tables()).unwrap_err();
        assert!(twice.contains("already"), "{twice}");
        let mut other = whole.clone();
        let at = whole.windows(SLOT.len()).position(|w| w == SLOT.as_bytes()).unwrap();
        other[at] = b'X';
        assert!(graft(&other, &tables()).unwrap_err().contains("no place"), "an older module");
        assert_eq!(tokenizers(b"\0asm\x01\0\0\0"), None);
    }

    #[test]
    fn numbers_survive_both_ways() {
        for value in [0i64, 1, 63, 64, 127, 128, 8191, 8192, 0x7fff_ffff, -1, -64, -65, -0x8000_0000] {
            assert_eq!(Reader(&signed(value)).signed(), Some(value));
            if let Ok(value) = usize::try_from(value) {
                assert_eq!(Reader(&unsigned(value)).number(), Some(value));
            }
        }
    }
}
