//! Addresses of cryptocurrencies: Base58Check as Bitcoin and its kin use it, Bech32 and Bech32m (BIP 173,
//! BIP 350), and Ethereum's forty hexadecimal digits.

use super::check::hexadecimal;
use super::row::{LONGEST, Row};
use super::{Detector, Scan};
use crate::digest::sha256;

pub(super) const DETECTOR: Detector = Detector {
    id: "crypto_address",
    mask: "[CRYPTO_ADDRESS]",
    longest: LONGEST,
    context: &[],
    scan: Scan::Rows(&[Row::new(0xf, "n*", 0).check(valid)]),
};

fn valid(text: &[u8]) -> bool {
    match text {
        [b'0', b'x', rest @ ..] => {
            rest.len() == 40 && hexadecimal(rest) && rest.iter().any(u8::is_ascii_alphabetic)
        }
        [b'1' | b'3' | b'2' | b'm' | b'n' | b'L' | b'M' | b'D', ..] if (26..=35).contains(&text.len()) => {
            base58(text)
        }
        [b'b', b'c', b'1', ..] | [b't', b'b', b'1', ..] | [b'B', b'C', b'1', ..] => bech32(text),
        _ => false,
    }
}

/// What each character is worth; 58 and more for those that are none.
static BASE58: [u8; 256] = {
    let mut values = [u8::MAX; 256];
    let (mut left, mut value) = (b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz".as_slice(), 0);
    while let [letter, rest @ ..] = left {
        #[expect(clippy::indexing_slicing, reason = "computed by the compiler")]
        {
            values[*letter as usize] = value;
        }
        (left, value) = (rest, value + 1);
    }
    values
};

/// 25 bytes whose last four are of the double digest of the others.
fn base58(text: &[u8]) -> bool {
    let mut bytes = [0u8; 25];
    // As many characters at once as a byte can be multiplied by.
    for some in text.chunks(8) {
        let (mut carry, mut by) = (0u64, 1u64);
        for byte in some {
            let value = BASE58.get(usize::from(*byte)).copied().unwrap_or(u8::MAX);
            if value >= 58 {
                return false;
            }
            (carry, by) = (carry * 58 + u64::from(value), by * 58);
        }
        for slot in bytes.iter_mut().rev() {
            carry += u64::from(*slot) * by;
            *slot = carry as u8;
            carry >>= 8;
        }
        if carry != 0 {
            return false;
        }
    }
    let (body, sum) = bytes.split_at_checked(21).unwrap_or_default();
    sha256(&sha256(body)).get(..4) == Some(sum)
}

/// The checksum over the prefix and the characters behind the `1`.
fn bech32(text: &[u8]) -> bool {
    const ALPHABET: &[u8] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    let mut sum = 1u32;
    let mut step = |value: u32| {
        let top = sum >> 25;
        sum = (sum & 0x01ff_ffff) << 5 ^ value;
        for (bit, part) in GENERATOR.iter().enumerate() {
            if top >> bit & 1 == 1 {
                sum ^= part;
            }
        }
    };
    let (prefix, body) = text.split_at_checked(2).unwrap_or_default();
    let lower = |byte: &u8| u32::from(byte.to_ascii_lowercase());
    prefix.iter().for_each(|byte| step(lower(byte) >> 5));
    step(0);
    prefix.iter().for_each(|byte| step(lower(byte) & 31));
    for byte in body.iter().skip(1) {
        match ALPHABET.iter().position(|letter| *letter == byte.to_ascii_lowercase()) {
            Some(value) => step(value as u32),
            None => return false,
        }
    }
    sum == 1 || sum == 0x2bc8_30a3
}

#[cfg(test)]
mod tests {
    use super::super::vectors::marked;

    #[test]
    fn addresses_are_found_by_their_checksum() {
        marked(
            "crypto_address",
            &[
                "<16Yeky6GMjeNkAiNcBY7ZhrLoMSgg1BoyZ> <3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy>",
                "wallet: <bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq>.",
                "<bc1p5d7rjq7g6rdk2yhzks9smlaqtedr4dekq08ge8ztwac72sfr9rusxg3297>",
                "<0xde0B295669a9FD93d5F28D9Ec85E40f4cb697BAe>",
                "16Yeky6GMjeNkAiNcBY7ZhrLoMSgg1BoyZ2 16Yeky6GMjeNkAiNcBY7ZhrLoMSgg1BoyY",
                "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdr 0xde0B295669a9FD93d5F28D9Ec85E40f4cb697B",
            ],
        );
    }
}
