//! A wasm module without its data section, and with it again. What is between is another program's work.

const DATA: u8 = 11;
const DATA_COUNT: u8 = 12;
/// Sections with a name.
pub const CUSTOM: u8 = 0;
/// Magic number and version.
const HEAD: usize = 8;

/// The module without data, and the data section with its head; `None` for what is no module, or has two of them.
pub fn apart(module: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut rest = module.get(..HEAD)?.to_vec();
    let mut data: Option<&[u8]> = None;
    for (id, section) in sections(module)? {
        match id {
            DATA if data.is_some() => return None,
            DATA => data = Some(section),
            // It would promise segments that are not there; nothing here uses passive ones.
            DATA_COUNT => {}
            _ => rest.extend_from_slice(section),
        }
    }
    Some((rest, data.unwrap_or_default()))
}

/// The data section in its place again: behind the code, before what is custom at the end.
pub fn together(module: &[u8], data: &[u8]) -> Option<Vec<u8>> {
    let all = sections(module)?;
    let last = all.iter().rposition(|(id, _)| *id != CUSTOM)?;
    let mut whole = module.get(..HEAD)?.to_vec();
    for (index, (_, section)) in all.iter().enumerate() {
        whole.extend_from_slice(section);
        if index == last {
            whole.extend_from_slice(data);
        }
    }
    Some(whole)
}

/// The module without the sections of debug information, which another program would try to keep true.
pub fn without_debug_information(module: &[u8]) -> Option<Vec<u8>> {
    let mut rest = module.get(..HEAD)?.to_vec();
    for (id, section) in sections(module)? {
        // Behind the section's number and size, a byte or more each, comes its name.
        let begins = section.get(..section.len().min(16))?;
        if id != CUSTOM || !begins.windows(7).any(|bytes| bytes == b".debug_") {
            rest.extend_from_slice(section);
        }
    }
    Some(rest)
}

/// Each section's number, and the section with its head.
pub fn sections(module: &[u8]) -> Option<Vec<(u8, &[u8])>> {
    let mut at = HEAD;
    let mut found = Vec::new();
    while at < module.len() {
        let start = at;
        let id = module[at];
        at += 1;
        let (mut size, mut shift) = (0usize, 0);
        loop {
            let byte = *module.get(at)?;
            at += 1;
            size |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                break;
            }
            if shift > 28 {
                return None;
            }
        }
        at = at.checked_add(size)?;
        found.push((id, module.get(start..at)?));
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_out_is_put_back_where_it_was() {
        let head = b"\0asm\x01\0\0\0".as_slice();
        let code = [10, 2, 1, 1].as_slice();
        let data = [11, 3, 7, 7, 7].as_slice();
        let custom = [0, 2, 1, b'x'].as_slice();
        let count = [12, 1, 1].as_slice();
        let module = [head, count, code, data, custom].concat();
        let (without, taken) = apart(&module).unwrap();
        assert_eq!((without.as_slice(), taken), ([head, code, custom].concat().as_slice(), data));
        assert_eq!(together(&without, taken).unwrap(), [head, code, data, custom].concat());
        assert!(apart(&module[..module.len() - 1]).is_none());
        assert!(apart(&[head, data, data].concat()).is_none());
    }
}
