//! JSON web tokens (RFC 7519): a header and a payload that are objects, and whatever follows.

use super::prefix::{LONGEST, Of, Prefix};
use super::{Detector, Scan};

pub(super) const DETECTOR: Detector = Detector {
    id: "jwt",
    mask: "[JWT]",
    longest: LONGEST,
    context: &[],
    scan: Scan::Prefixes(&[Prefix { text: "eyJ", least: 24, of: Of::Base64 }]),
};

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::super::vectors::tokens;

    #[test]
    fn tokens_are_found_whole() {
        tokens("jwt", DETECTOR_PREFIXES);
    }

    /// (before the body, characters of the body); bodies are made up, so that no scanner of repositories finds
    /// a key here.
    const DETECTOR_PREFIXES: &[(&str, usize)] = &[("eyJ", 24)];
}
