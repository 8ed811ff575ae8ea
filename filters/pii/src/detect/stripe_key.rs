//! Stripe: secret, restricted and publishable keys, and secrets of webhooks.

use super::prefix::{LONGEST, Of, Prefix};
use super::{Detector, Scan};

pub(super) const DETECTOR: Detector = Detector {
    id: "stripe_key",
    mask: "[STRIPE_KEY]",
    longest: LONGEST,
    context: &[],
    scan: Scan::Prefixes(&[
        Prefix { text: "sk_live_", least: 24, of: Of::Token },
        Prefix { text: "sk_test_", least: 24, of: Of::Token },
        Prefix { text: "rk_live_", least: 24, of: Of::Token },
        Prefix { text: "rk_test_", least: 24, of: Of::Token },
        Prefix { text: "pk_live_", least: 24, of: Of::Token },
        Prefix { text: "pk_test_", least: 24, of: Of::Token },
        Prefix { text: "whsec_", least: 24, of: Of::Token },
    ]),
};

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::super::vectors::tokens;

    #[test]
    fn tokens_are_found_whole() {
        tokens("stripe_key", DETECTOR_PREFIXES);
    }

    /// (before the body, characters of the body); bodies are made up, so that no scanner of repositories finds
    /// a key here.
    const DETECTOR_PREFIXES: &[(&str, usize)] = &[("sk_live_", 24), ("rk_test_", 90), ("whsec_", 32)];
}
