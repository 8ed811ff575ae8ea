//! Hugging Face: user and organisation tokens.

use super::prefix::{LONGEST, Of, Prefix};
use super::{Detector, Scan};

pub(super) const DETECTOR: Detector = Detector {
    id: "huggingface_token",
    mask: "[HUGGINGFACE_TOKEN]",
    longest: LONGEST,
    context: &[],
    scan: Scan::Prefixes(&[
        Prefix { text: "hf_", least: 34, of: Of::Token },
        Prefix { text: "api_org_", least: 34, of: Of::Token },
    ]),
};

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::super::vectors::tokens;

    #[test]
    fn tokens_are_found_whole() {
        tokens("huggingface_token", DETECTOR_PREFIXES);
    }

    /// (before the body, characters of the body); bodies are made up, so that no scanner of repositories finds
    /// a key here.
    const DETECTOR_PREFIXES: &[(&str, usize)] = &[("hf_", 34), ("api_org_", 34)];
}
