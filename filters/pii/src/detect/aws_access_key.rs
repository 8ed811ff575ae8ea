//! AWS access key ids, of users, roles and temporary sessions.

use super::prefix::{LONGEST, Of, Prefix};
use super::{Detector, Scan};

pub(super) const DETECTOR: Detector = Detector {
    id: "aws_access_key",
    mask: "[AWS_ACCESS_KEY]",
    longest: LONGEST,
    context: &[],
    scan: Scan::Prefixes(&[
        Prefix { text: "AKIA", least: 16, of: Of::Capitals },
        Prefix { text: "ASIA", least: 16, of: Of::Capitals },
        Prefix { text: "ABIA", least: 16, of: Of::Capitals },
        Prefix { text: "ACCA", least: 16, of: Of::Capitals },
    ]),
};

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::super::vectors::tokens;

    #[test]
    fn tokens_are_found_whole() {
        tokens("aws_access_key", DETECTOR_PREFIXES);
    }

    /// (before the body, characters of the body); bodies are made up, so that no scanner of repositories finds
    /// a key here.
    const DETECTOR_PREFIXES: &[(&str, usize)] = &[("AKIA", 16), ("ASIA", 16)];
}
