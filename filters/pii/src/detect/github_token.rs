//! GitHub: personal, OAuth, app, refresh and fine-grained tokens.

use super::prefix::{LONGEST, Of, Prefix};
use super::{Detector, Scan};

pub(super) const DETECTOR: Detector = Detector {
    id: "github_token",
    mask: "[GITHUB_TOKEN]",
    longest: LONGEST,
    context: &[],
    scan: Scan::Prefixes(&[
        Prefix { text: "ghp_", least: 36, of: Of::Token },
        Prefix { text: "gho_", least: 36, of: Of::Token },
        Prefix { text: "ghu_", least: 36, of: Of::Token },
        Prefix { text: "ghs_", least: 36, of: Of::Token },
        Prefix { text: "ghr_", least: 36, of: Of::Token },
        Prefix { text: "github_pat_", least: 60, of: Of::Token },
    ]),
};

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::super::vectors::tokens;

    #[test]
    fn tokens_are_found_whole() {
        tokens("github_token", DETECTOR_PREFIXES);
    }

    /// (before the body, characters of the body); bodies are made up, so that no scanner of repositories finds
    /// a key here.
    const DETECTOR_PREFIXES: &[(&str, usize)] = &[("ghp_", 36), ("ghs_", 36), ("github_pat_", 82)];
}
