//! npm: access tokens.

use super::prefix::{LONGEST, Of, Prefix};
use super::{Detector, Scan};

pub(super) const DETECTOR: Detector = Detector {
    id: "npm_token",
    mask: "[NPM_TOKEN]",
    longest: LONGEST,
    context: &[],
    scan: Scan::Prefixes(&[Prefix { text: "npm_", least: 36, of: Of::Token }]),
};

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::super::vectors::tokens;

    #[test]
    fn tokens_are_found_whole() {
        tokens("npm_token", DETECTOR_PREFIXES);
    }

    /// (before the body, characters of the body); bodies are made up, so that no scanner of repositories finds
    /// a key here.
    const DETECTOR_PREFIXES: &[(&str, usize)] = &[("npm_", 36)];
}
