//! Slack: bot, user, app and configuration tokens, and addresses of incoming webhooks.

use super::prefix::{LONGEST, Of, Prefix};
use super::{Detector, Scan};

pub(super) const DETECTOR: Detector = Detector {
    id: "slack_token",
    mask: "[SLACK_TOKEN]",
    longest: LONGEST,
    context: &[],
    scan: Scan::Prefixes(&[
        Prefix { text: "xoxb-", least: 20, of: Of::Mixed },
        Prefix { text: "xoxp-", least: 20, of: Of::Mixed },
        Prefix { text: "xoxa-", least: 20, of: Of::Mixed },
        Prefix { text: "xoxr-", least: 20, of: Of::Mixed },
        Prefix { text: "xoxs-", least: 20, of: Of::Mixed },
        Prefix { text: "xoxe-", least: 20, of: Of::Mixed },
        Prefix { text: "xoxe.", least: 20, of: Of::Mixed },
        Prefix { text: "xapp-", least: 20, of: Of::Mixed },
        Prefix { text: "hooks.slack.com/services/", least: 20, of: Of::Base64 },
    ]),
};

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::super::vectors::tokens;

    #[test]
    fn tokens_are_found_whole() {
        tokens("slack_token", DETECTOR_PREFIXES);
    }

    /// (before the body, characters of the body); bodies are made up, so that no scanner of repositories finds
    /// a key here.
    const DETECTOR_PREFIXES: &[(&str, usize)] =
        &[("xoxb-1234", 40), ("xapp-1-", 60), ("https://hooks.slack.com/services/T", 44)];
}
