//! Anthropic: API, admin and session keys.

use super::prefix::{LONGEST, Of, Prefix};
use super::{Detector, Scan};

pub(super) const DETECTOR: Detector = Detector {
    id: "anthropic_key",
    mask: "[ANTHROPIC_KEY]",
    longest: LONGEST,
    context: &[],
    scan: Scan::Prefixes(&[Prefix { text: "sk-ant-", least: 24, of: Of::Token }]),
};

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::super::vectors::tokens;

    #[test]
    fn tokens_are_found_whole() {
        tokens("anthropic_key", DETECTOR_PREFIXES);
    }

    /// (before the body, characters of the body); bodies are made up, so that no scanner of repositories finds
    /// a key here.
    const DETECTOR_PREFIXES: &[(&str, usize)] = &[("sk-ant-api03-", 95), ("sk-ant-", 30)];
}
