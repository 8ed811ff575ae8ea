//! What is done to texts in many places, and is small in each because it stands here.

use std::ops::Range;

/// Appends a text. Once in the module.
#[inline(never)]
pub(crate) fn put(out: &mut String, text: &str) {
    out.push_str(text);
}

/// The part of a text that is there. Once in the module.
#[inline(never)]
pub(crate) fn part(text: &str, range: Range<usize>) -> &str {
    text.get(range).unwrap_or_default()
}

/// Sixteen bytes as a vector.
#[cfg(target_feature = "simd128")]
#[inline(always)]
pub(crate) fn load(sixteen: &[u8; 16]) -> core::arch::wasm32::v128 {
    let (low, high) = sixteen.split_at(8);
    let half = |half: &[u8]| half.try_into().map_or(0, u64::from_le_bytes);
    core::arch::wasm32::u64x2(half(low), half(high))
}

#[cfg(test)]
pub(crate) mod tests {
    /// Numbers below others, always the same ones.
    pub(crate) fn random(mut state: u64) -> impl FnMut(usize) -> usize {
        move |below| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        }
    }
}
