//! Base64 of RFC 4648 §4: the standard alphabet, padded. Refuses what has two readings (white space, missing
//! padding, bits after the end).

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The value of each byte; 64 where it is none.
const VALUES: [u8; 256] = values();

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, where a bad index is an error")]
const fn values() -> [u8; 256] {
    let mut values = [64; 256];
    let mut index = 0;
    while index < 64 {
        values[ALPHABET[index] as usize] = index as u8;
        index += 1;
    }
    values
}

/// Appends the base64 form of `bytes`.
pub fn encode_into(out: &mut Vec<u8>, bytes: &[u8]) {
    out.reserve(bytes.len().div_ceil(3) * 4);
    let digit = |bits: u32| ALPHABET.get((bits & 63) as usize).copied().unwrap_or(b'A');
    let (groups, rest) = bytes.as_chunks::<3>();
    for &[a, b, c] in groups {
        let bits = u32::from_be_bytes([0, a, b, c]);
        out.extend_from_slice(&[digit(bits >> 18), digit(bits >> 12), digit(bits >> 6), digit(bits)]);
    }
    match *rest {
        [a] => {
            let bits = u32::from(a) << 16;
            out.extend_from_slice(&[digit(bits >> 18), digit(bits >> 12), b'=', b'=']);
        }
        [a, b] => {
            let bits = u32::from_be_bytes([0, a, b, 0]);
            out.extend_from_slice(&[digit(bits >> 18), digit(bits >> 12), digit(bits >> 6), b'=']);
        }
        _ => {}
    }
}

/// The bytes of a base64 text, or none where it is not exactly what [`encode_into`] would have written.
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let (groups, rest) = text.as_chunks::<4>();
    if !rest.is_empty() {
        return None;
    }
    let mut out = Vec::with_capacity(groups.len() * 3);
    let Some((last, groups)) = groups.split_last() else { return Some(out) };
    let value = |byte: u8| VALUES.get(usize::from(byte)).map_or(64, |value| u32::from(*value));
    for &[a, b, c, d] in groups {
        let (a, b, c, d) = (value(a), value(b), value(c), value(d));
        if (a | b | c | d) & 64 != 0 {
            return None;
        }
        let [_, x, y, z] = (a << 18 | b << 12 | c << 6 | d).to_be_bytes();
        out.extend_from_slice(&[x, y, z]);
    }
    let &[a, b, c, d] = last;
    let padding = if (c, d) == (b'=', b'=') { 2 } else { usize::from(d == b'=') };
    let (c, d) = (if padding == 2 { 0 } else { value(c) }, if padding >= 1 { 0 } else { value(d) });
    let (a, b) = (value(a), value(b));
    let bits = a << 18 | b << 12 | c << 6 | d;
    let unused = if padding == 0 { 0 } else { (1 << (8 * padding)) - 1 };
    if (a | b | c | d) & 64 != 0 || bits & unused != 0 {
        return None;
    }
    let [_, bytes @ ..] = bits.to_be_bytes();
    out.extend_from_slice(bytes.get(..3 - padding)?);
    Some(out)
}
