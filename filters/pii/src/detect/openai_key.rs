//! OpenAI: API keys of users, projects, service accounts and administrators. Anthropic's begin alike and are
//! these too; the key's own name wins, since it is registered first.

use super::prefix::{LONGEST, Of, Prefix};
use super::{Detector, Scan};

pub(super) const DETECTOR: Detector = Detector {
    id: "openai_key",
    mask: "[OPENAI_KEY]",
    longest: LONGEST,
    context: &[],
    scan: Scan::Prefixes(&[Prefix { text: "sk-", least: 32, of: Of::Mixed }]),
};

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::super::vectors::tokens;

    #[test]
    fn tokens_are_found_whole() {
        tokens("openai_key", DETECTOR_PREFIXES);
    }

    /// (before the body, characters of the body); bodies are made up, so that no scanner of repositories finds
    /// a key here.
    const DETECTOR_PREFIXES: &[(&str, usize)] = &[("sk-proj-", 60), ("sk-1", 47)];
}
