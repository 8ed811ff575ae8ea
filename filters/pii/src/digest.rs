//! Keyed digests in the place of values: who has the key can tell that two texts hold the same value, nobody can
//! tell which, and without the key nobody can try out values. HMAC (RFC 2104) with SHA-256, of which 64 bits are
//! shown.

use sha2::{Digest, Sha256};

use crate::Kind;
use crate::characters::{invisible, look_alike};
use crate::text::put;

/// Bytes of the digest that are shown, as two hexadecimal digits each.
const SHOWN: usize = 8;
/// Bytes of a block of SHA-256.
const BLOCK: usize = 64;

/// What digests are made with; one for each tenant.
#[derive(Clone)]
pub struct Key {
    /// The key's block read, for the inner hash and for the outer one.
    inner: Sha256,
    outer: Sha256,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

impl Key {
    /// From 64 hexadecimal digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
        let mut key = [0; 32];
        if pairs.len() != key.len() {
            return None;
        }
        for (slot, [high, low]) in key.iter_mut().zip(pairs) {
            let digit = |byte: u8| char::from(byte).to_digit(16);
            *slot = (digit(*high)? << 4 | digit(*low)?) as u8;
        }
        let padded = |pad: u8| {
            let mut block = [pad; BLOCK];
            block.iter_mut().zip(key).for_each(|(slot, byte)| *slot ^= byte);
            read(&Sha256::new(), &block)
        };
        let [inner, outer] = [0x36, 0x5c].map(padded);
        Some(Self { inner, outer })
    }

    /// Appends what stands in the place of a value: `[EMAIL:0123456789abcdef]`. Case, white space, hyphens, look-alike and
    /// invisible characters make no difference: the same value written otherwise has the same digest.
    pub(crate) fn digest(&self, kind: Kind, value: &str, out: &mut String) {
        let mut text = String::with_capacity(value.len() + kind.label().len() + 1);
        put(&mut text, kind.label());
        text.push('\0');
        for c in value.chars().filter(|c| !invisible(*c)) {
            let c = look_alike(c).unwrap_or(c);
            if !c.is_whitespace() && c != '-' {
                text.push(c.to_ascii_lowercase());
            }
        }
        let outer = goes_on(&self.outer, &goes_on(&self.inner, text.as_bytes()));
        out.push('[');
        put(out, kind.label());
        out.push(':');
        for byte in outer.iter().take(SHOWN) {
            for digit in [byte >> 4, byte & 15] {
                out.push(char::from(if digit < 10 { b'0' + digit } else { b'a' - 10 + digit }));
            }
        }
        out.push(']');
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    goes_on(&Sha256::new(), bytes)
}

/// The hash of what was read and what follows. One copy of it in the module.
#[inline(never)]
fn goes_on(before: &Sha256, bytes: &[u8]) -> [u8; 32] {
    read(before, bytes).finalize().into()
}

/// Reads on.
#[inline(never)]
fn read(before: &Sha256, bytes: &[u8]) -> Sha256 {
    let mut all = before.clone();
    all.update(bytes);
    all
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn digest(key: &Key, kind: Kind, value: &str) -> String {
        let mut out = String::new();
        key.digest(kind, value, &mut out);
        out
    }

    #[test]
    fn a_digest_is_an_hmac_of_kind_and_value() {
        let key = Key::from_hex(&"0b".repeat(32)).unwrap();
        // Python: hmac.new(b"\x0b" * 32, b"EMAIL\0jane@example.org", "sha256").hexdigest()[:16]
        assert_eq!(digest(&key, Kind::of("email").unwrap(), "Jane@Example.org"), "[EMAIL:49f5d9af4bbd8b63]");
    }

    #[test]
    fn the_way_a_value_is_written_makes_no_difference_and_everything_else_does() {
        let (a, b) = (Key::from_hex(&"01".repeat(32)).unwrap(), Key::from_hex(&"02".repeat(32)).unwrap());
        let card = Kind::of("credit_card").unwrap();
        let plain = digest(&a, card, "4111111111111111");
        for same in [
            "4111 1111 1111 1111",
            "4111-1111-1111-1111",
            "４111\u{200b}111111111111",
            "4111\u{2011}111111111111",
        ] {
            assert_eq!(digest(&a, card, same), plain, "{same}");
        }
        assert_ne!(digest(&a, card, "4111111111111112"), plain);
        assert_ne!(digest(&b, card, "4111111111111111"), plain);
        assert_ne!(digest(&a, Kind::WORD, "4111111111111111"), plain);
        assert!(Key::from_hex("01").is_none() && Key::from_hex(&"0g".repeat(32)).is_none());
    }
}
