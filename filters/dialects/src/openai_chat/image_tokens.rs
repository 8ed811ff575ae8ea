//! What a picture costs by OpenAI's two published rules, whose numbers are the model's. Tiles: base + tile × n, where
//! the picture is first fitted into 2048 × 2048 and its shorter side into 768, and n counts tiles of 512. Patches: n of
//! 32 × 32, at most 1536, times a factor. Sizes are read from the picture's own header; no picture is decoded.

use weir_wire::base64;

/// A model's rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageRule {
    /// By tiles.
    Tiles {
        /// Tokens of any picture, and all of one in low detail.
        base: u64,
        /// Tokens of a tile.
        tile: u64,
    },
    /// By patches; low detail changes nothing.
    Patches {
        /// Tokens around any picture.
        base: u64,
        /// Tokens of a hundred patches.
        percent: u64,
    },
}

/// The most tiles that the rule can ask for: 768 × 2048 is 2 × 4.
const MOST_TILES: u64 = 8;
/// The most patches; a larger picture is made smaller first.
const MOST_PATCHES: u64 = 1536;

impl ImageRule {
    /// Tokens of a picture: of the most expensive one where its size is not known.
    pub fn tokens(self, size: Option<(u32, u32)>, low: bool) -> u64 {
        match self {
            Self::Tiles { base, .. } if low => base,
            Self::Tiles { base, tile } => {
                base + tile * size.map_or(MOST_TILES, |(width, height)| tiles(width, height))
            }
            Self::Patches { base, percent } => {
                let side = |length: u32| u64::from(length.max(1)).div_ceil(32);
                let patches = size.map_or(MOST_PATCHES, |(width, height)| side(width) * side(height));
                base + (patches.min(MOST_PATCHES) * percent).div_ceil(100)
            }
        }
    }
}

fn tiles(width: u32, height: u32) -> u64 {
    let (mut width, mut height) = (f64::from(width.max(1)), f64::from(height.max(1)));
    let fit = |width: f64, height: f64, scale: f64| {
        if scale < 1.0 { (width * scale, height * scale) } else { (width, height) }
    };
    (width, height) = fit(width, height, 2048.0 / width.max(height));
    (width, height) = fit(width, height, 768.0 / width.min(height));
    let side = |length: f64| (length / 512.0).ceil().max(1.0) as u64;
    side(width).saturating_mul(side(height)).min(MOST_TILES)
}

/// Where a format keeps its width and height.
struct Header {
    /// What a file begins with, and what it has from its ninth byte on.
    head: &'static [u8],
    tag: &'static [u8],
    /// Of the width and of the height.
    at: [usize; 2],
    /// Bytes of each.
    length: usize,
    /// The first byte is the greatest.
    big: bool,
    /// Bits below the height's.
    shift: u32,
    mask: u32,
    /// What is added to both.
    more: u32,
}

const RIFF: Header =
    Header { head: b"RIFF", tag: b"", at: [0; 2], length: 3, big: false, shift: 0, mask: u32::MAX, more: 1 };

const HEADERS: &[Header] = &[
    Header { head: b"\x89PNG\r\n\x1a\n", at: [16, 20], length: 4, big: true, more: 0, ..RIFF },
    Header { head: b"GIF8", at: [6, 8], length: 2, more: 0, ..RIFF },
    Header { tag: b"WEBPVP8X", at: [24, 27], ..RIFF },
    Header { tag: b"WEBPVP8 ", at: [26, 28], length: 2, mask: 0x3fff, more: 0, ..RIFF },
    Header { tag: b"WEBPVP8L", at: [21, 22], shift: 6, mask: 0x3fff, ..RIFF },
];

/// Bytes as a number.
#[inline(never)]
fn number(bytes: &[u8], at: usize, length: usize, big: bool) -> Option<u32> {
    let mut number = 0;
    for place in 0..length {
        let byte = *bytes.get(at + if big { place } else { length - 1 - place })?;
        number = number << 8 | u32::from(byte);
    }
    Some(number)
}

/// Width and height of a base64 PNG, GIF, WebP or JPEG, from its first kilobytes.
pub fn image_size(data: &str) -> Option<(u32, u32)> {
    // Whole groups of four; 32 KiB hold the thumbnails that cameras put before a JPEG's frame header.
    let length = data.len().min(43_692) & !3;
    let bytes = base64::decode(data.as_bytes().get(..length)?)?;
    let tag = bytes.get(8..).unwrap_or_default();
    if let Some(row) = HEADERS.iter().find(|row| bytes.starts_with(row.head) && tag.starts_with(row.tag)) {
        let side = |at, shift: u32| {
            let bits = number(&bytes, at, row.length, row.big)?;
            Some((bits >> shift & row.mask).saturating_add(row.more))
        };
        let [width, height] = row.at;
        return Some((side(width, 0)?, side(height, row.shift)?));
    }
    if bytes.starts_with(b"\xff\xd8") {
        // Each segment is at least four bytes, so this ends within the bytes held.
        let mut at = 2;
        while bytes.get(at) == Some(&0xff) {
            let marker = *bytes.get(at + 1)?;
            match marker {
                0xff => at += 1,
                0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => {
                    return Some((number(&bytes, at + 7, 2, true)?, number(&bytes, at + 5, 2, true)?));
                }
                0x01 | 0xd0..=0xd8 => at += 2,
                0xd9 | 0xda => return None,
                _ => at += 2 + usize::try_from(number(&bytes, at + 2, 2, true)?.max(2)).ok()?,
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const GPT_4O: ImageRule = ImageRule::Tiles { base: 85, tile: 170 };

    #[test]
    fn patches_are_counted_up_to_their_most() {
        let rule = ImageRule::Patches { base: 2, percent: 120 };
        // Recorded: 400 × 301 and 597 × 566 on gpt-5-mini.
        assert_eq!(rule.tokens(Some((400, 301)), false), 158);
        assert_eq!(rule.tokens(Some((597, 566)), false), 413);
        assert_eq!(rule.tokens(None, true), 2 + 1844);
        assert_eq!(rule.tokens(Some((u32::MAX, u32::MAX)), false), rule.tokens(None, false));
    }

    #[test]
    fn published_examples_hold() {
        for (size, tokens) in [((1024, 1024), 765), ((2048, 4096), 1105), ((1, 1), 255), ((512, 512), 255)] {
            assert_eq!(GPT_4O.tokens(Some(size), false), tokens, "{size:?}");
        }
        assert_eq!(GPT_4O.tokens(Some((2048, 4096)), true), 85);
        // The bound holds for every shape.
        let most = GPT_4O.tokens(None, false);
        for width in [1, 400, 511, 513, 767, 769, 1000, 2047, 2049, 5000] {
            for height in [1, 300, 512, 768, 769, 1537, 2048, 9000, u32::MAX] {
                assert!(GPT_4O.tokens(Some((width, height)), false) <= most);
            }
        }
    }

    #[test]
    fn sizes_are_read_from_headers() {
        let size = |bytes: &[u8]| {
            let mut text = Vec::new();
            base64::encode_into(&mut text, bytes);
            image_size(std::str::from_utf8(&text).unwrap())
        };
        assert_eq!(size(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x01\0\0\0\0\x02"), Some((256, 2)));
        assert_eq!(size(b"GIF89a\x10\0\x20\0"), Some((16, 32)));
        let jpeg = b"\xff\xd8\xff\xe0\0\x04ab\xff\xc4\0\x02\xff\xc2\0\x11\x08\0\x10\x01\0\x03";
        assert_eq!(size(jpeg), Some((256, 16)));
        assert_eq!(size(b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\x0f\0\0\x1f\0\0"), Some((16, 32)));
        assert_eq!(size(b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f\x0f\xc0\x07\0"), Some((16, 32)));
        let lossy = b"RIFF\0\0\0\0WEBPVP8 \0\0\0\0\0\0\0\x9d\x01\x2a\x10\x40\x20\x80";
        assert_eq!(size(lossy), Some((16, 32)));
        assert_eq!(size(b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f\xff\xff\xff\x0f"), Some((16_384, 16_384)));
        assert_eq!(size(b"RIFF\0\0\0\0WAVEfmt \0\0\0\0\0\0\0\0\0\0\0\0"), None);
        for cut in 0..jpeg.len() - 2 {
            assert_eq!(size(&jpeg[..cut]), None, "{cut}");
        }
        assert_eq!(size(b"\xff\xd8\xff\xe0\0\0\xff\xe0\0\0"), None);
    }
}
