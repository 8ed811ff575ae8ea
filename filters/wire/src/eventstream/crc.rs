//! CRC-32 (IEEE 802.3, reflected), eight bytes a step by eight tables of 256 that the compiler computes.

const POLYNOMIAL: u32 = 0xedb8_8320;
static TABLES: [[u32; 256]; 8] = tables();

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, where a bad index is an error")]
const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut sum = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            sum = if sum & 1 == 1 { sum >> 1 ^ POLYNOMIAL } else { sum >> 1 };
            bit += 1;
        }
        tables[0][byte] = sum;
        byte += 1;
    }
    let mut table = 1;
    while table < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[table - 1][byte];
            tables[table][byte] = before >> 8 ^ tables[0][(before & 255) as usize];
            byte += 1;
        }
        table += 1;
    }
    tables
}

/// The checksum of `bytes`.
pub(super) fn of(bytes: &[u8]) -> u32 {
    let [t0, t1, t2, t3, t4, t5, t6, t7] = &TABLES;
    let (words, tail) = bytes.as_chunks::<8>();
    let mut sum = u32::MAX;
    for &[a, b, c, d, e, f, g, h] in words {
        let [x, y, z, w] = (sum ^ u32::from_le_bytes([a, b, c, d])).to_le_bytes();
        sum = at(t7, x) ^ at(t6, y) ^ at(t5, z) ^ at(t4, w) ^ at(t3, e) ^ at(t2, f) ^ at(t1, g) ^ at(t0, h);
    }
    for byte in tail {
        let [low, ..] = sum.to_le_bytes();
        sum = sum >> 8 ^ at(t0, low ^ byte);
    }
    !sum
}

/// A byte cannot miss a table of 256, which the compiler sees: no check is left.
fn at(table: &[u32; 256], byte: u8) -> u32 {
    table.get(usize::from(byte)).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_check_value_of_the_catalogue_comes_out() {
        assert_eq!(super::of(b"123456789"), 0xcbf4_3926);
        assert_eq!(super::of(b""), 0);
    }
}
