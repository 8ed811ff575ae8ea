//! Google Cloud: API keys, OAuth client secrets and access tokens. Keys of service accounts are private keys.

use super::prefix::{LONGEST, Of, Prefix};
use super::{Detector, Scan};

pub(super) const DETECTOR: Detector = Detector {
    id: "gcp_key",
    mask: "[GCP_KEY]",
    longest: LONGEST,
    context: &[],
    scan: Scan::Prefixes(&[
        Prefix { text: "AIza", least: 35, of: Of::Token },
        Prefix { text: "GOCSPX-", least: 28, of: Of::Token },
        Prefix { text: "ya29.", least: 40, of: Of::Token },
    ]),
};

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::super::vectors::tokens;

    #[test]
    fn tokens_are_found_whole() {
        tokens("gcp_key", DETECTOR_PREFIXES);
    }

    /// (before the body, characters of the body); bodies are made up, so that no scanner of repositories finds
    /// a key here.
    const DETECTOR_PREFIXES: &[(&str, usize)] = &[("AIza", 35), ("GOCSPX-", 28), ("ya29.", 60)];
}
