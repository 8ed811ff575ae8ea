//! GitLab: personal, deploy, runner, trigger and other tokens.

use super::prefix::{LONGEST, Of, Prefix};
use super::{Detector, Scan};

pub(super) const DETECTOR: Detector = Detector {
    id: "gitlab_token",
    mask: "[GITLAB_TOKEN]",
    longest: LONGEST,
    context: &[],
    scan: Scan::Prefixes(&[
        Prefix { text: "glpat-", least: 20, of: Of::Token },
        Prefix { text: "gldt-", least: 20, of: Of::Token },
        Prefix { text: "glrt-", least: 20, of: Of::Token },
        Prefix { text: "glptt-", least: 20, of: Of::Token },
        Prefix { text: "glcbt-", least: 20, of: Of::Token },
        Prefix { text: "glsoat-", least: 20, of: Of::Token },
        Prefix { text: "glft-", least: 20, of: Of::Token },
        Prefix { text: "glagent-", least: 20, of: Of::Token },
    ]),
};

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::super::vectors::tokens;

    #[test]
    fn tokens_are_found_whole() {
        tokens("gitlab_token", DETECTOR_PREFIXES);
    }

    /// (before the body, characters of the body); bodies are made up, so that no scanner of repositories finds
    /// a key here.
    const DETECTOR_PREFIXES: &[(&str, usize)] = &[("glpat-", 20), ("glrt-", 20)];
}
