//! Names that Bedrock restricts more than OpenAI does: tools, calls, documents, labels. A name within bounds is never
//! touched; one outside is replaced by a readable head and a hash of the whole, so that the same name is always
//! replaced alike, in every turn and on every gateway. Tool names are given back in answers by [`Renames`]; call ids
//! of earlier turns never come back.

use std::borrow::Cow;

use weir_sorted::{Map, trim};

/// Tool names that were replaced, to be restored in answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Renames(Map<String, String>);

impl Renames {
    /// The client's own name of a tool.
    pub fn original<'n>(&'n self, sent: &'n str) -> &'n str {
        self.0.get(sent).map_or(sent, String::as_str)
    }

    /// Whether every tool kept its name.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The id to send for a call where its characters are those of tool names.
    pub(crate) fn id(id: &str) -> Cow<'_, str> {
        bounded(id, is_tool_char, TOOL_MOST)
    }

    /// The name to send for a tool; remembered where it differs.
    pub(crate) fn tool<'n>(&mut self, name: &'n str) -> Cow<'n, str> {
        let sent = bounded(name, is_tool_char, TOOL_MOST);
        if let Cow::Owned(sent) = &sent
            && !self.0.contains_key(sent)
        {
            self.0.insert(sent.clone(), name.to_owned());
        }
        sent
    }
}

const TOOL_MOST: usize = 64;

fn is_tool_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

/// The id to send for a call: 1 to 64 of `[a-zA-Z0-9_.:-]`.
pub(super) fn call_id(id: &str) -> Cow<'_, str> {
    bounded(id, |byte| is_tool_char(byte) || matches!(byte, b'.' | b':'), TOOL_MOST)
}

fn bounded(name: &str, allowed: fn(u8) -> bool, most: usize) -> Cow<'_, str> {
    if !name.is_empty() && name.len() <= most && name.bytes().all(allowed) {
        return Cow::Borrowed(name);
    }
    // 17 for the dash and the hash.
    let mut sent =
        cleaned(name, most.saturating_sub(17), &|c| if u8::try_from(c).is_ok_and(allowed) { c } else { '_' });
    sent.push('-');
    for shift in (0..16).rev() {
        let digit = (hash(name) >> (shift * 4) & 15) as u32;
        sent.push(char::from_digit(digit, 16).unwrap_or('0'));
    }
    Cow::Owned(sent)
}

/// FNV-1a, 64 bits: stable over versions and platforms. A client that seeks collisions only confuses itself.
fn hash(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// Names of a request's documents so far: Bedrock wants them unlike.
#[derive(Debug, Default)]
pub(super) struct Documents {
    /// By name the next number to try for it, so that a thousand files of one name cost a thousand steps.
    taken: Map<String, u32>,
}

impl Documents {
    /// The name to send: alphanumerics, single spaces, hyphens and brackets, 1 to 200, unlike all before it. The file
    /// extension goes, because the format says it.
    pub(super) fn name(&mut self, name: Option<&str>, format: &str) -> String {
        let base = document(name, format);
        let Some(&first) = self.taken.get(&base) else {
            self.taken.insert(base.clone(), 2);
            return base;
        };
        let mut next = first;
        loop {
            let unique = format!("{base} ({next})");
            next = next.saturating_add(1);
            if !self.taken.contains_key(&unique) {
                self.taken.insert(unique.clone(), 2);
                self.taken.insert(base, next);
                return unique;
            }
        }
    }
}

fn document(name: Option<&str>, format: &str) -> String {
    let name = name.unwrap_or("document");
    let stem = match name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() && extension.eq_ignore_ascii_case(format) => stem,
        _ => name,
    };
    let mut clean = String::with_capacity(stem.len().min(200));
    for c in stem.chars() {
        match c {
            c if c.is_ascii_alphanumeric() || matches!(c, '-' | '(' | ')' | '[' | ']') => clean.push(c),
            c if c.is_whitespace() => {
                if !clean.ends_with(' ') {
                    clean.push(' ');
                }
            }
            _ => clean.push('-'),
        }
        // Room for a number behind it.
        if clean.len() >= 180 {
            break;
        }
    }
    let clean = trim(trim(&clean).trim_matches('-'));
    if clean.is_empty() { "document".to_owned() } else { clean.to_owned() }
}

/// A label's key or value: Bedrock's characters only, cut to `most` bytes.
pub(super) fn label(text: &str, most: usize) -> String {
    let clean = |c: char| match c {
        c if c.is_ascii_alphanumeric() => c,
        ' ' | ':' | '_' | '@' | '$' | '#' | '=' | '/' | '+' | ',' | '-' | '.' => c,
        c if c.is_whitespace() => ' ',
        _ => '_',
    };
    cleaned(text, most, &clean)
}

/// As many characters, each by what may stand in its place.
fn cleaned(text: &str, most: usize, clean: &dyn Fn(char) -> char) -> String {
    let mut out = String::with_capacity(text.len().min(most));
    text.chars().take(most).for_each(|c| out.push(clean(c)));
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_name_within_bounds_is_never_touched() {
        let mut renames = Renames::default();
        for name in ["f", "get_weather-2", &"x".repeat(64)] {
            assert_eq!(renames.tool(name), name);
            assert_eq!(call_id(name), name);
        }
        assert_eq!(call_id("call:1.2"), "call:1.2");
        assert!(renames.is_empty());
    }

    #[test]
    fn a_name_outside_is_replaced_alike_and_restored() {
        let mut renames = Renames::default();
        let long = "y".repeat(65);
        let mut seen = Vec::new();
        for name in ["mcp.server/tool", "mcp.server.tool", "wetter_für", "", &long, "a b"] {
            let sent = renames.tool(name).into_owned();
            assert_eq!(renames.tool(name), sent);
            assert!((1..=64).contains(&sent.len()) && sent.bytes().all(is_tool_char), "{sent}");
            assert_eq!(renames.original(&sent), name);
            assert!(!seen.contains(&sent));
            seen.push(sent);
        }
        assert_eq!(renames.original("other"), "other");
        // Never to change: a client may hold ids of last year.
        assert_eq!(call_id("call one"), "call_one-e96e4885ade1b859");
    }

    #[test]
    fn document_names_are_clean_and_unlike() {
        let mut documents = Documents::default();
        for (name, clean) in [
            (Some("report.pdf"), "report"),
            (Some("report.PDF"), "report (2)"),
            (Some("report.v2.pdf"), "report-v2"),
            (Some("Größe  und\tForm.pdf"), "Gr--e und Form"),
            (Some(".pdf"), "pdf"),
            (Some("???"), "document"),
            (None, "document (2)"),
            (Some("a_b [1] (x).txt"), "a-b [1] (x)-txt"),
        ] {
            assert_eq!(documents.name(name, "pdf"), clean);
        }
        assert!(documents.name(Some(&"long ".repeat(100)), "pdf").len() <= 200);
        // Many of one name, some of them taken by their own right.
        let many: BTreeSet<_> = (0..20_000)
            .map(|at| documents.name(Some(if at % 2 == 0 { "same" } else { "same (7)" }), "pdf"))
            .collect();
        assert_eq!(many.len(), 20_000);
    }

    #[test]
    fn labels_keep_bedrocks_characters() {
        assert_eq!(label("team: a/b+c@d.e \"ü\"\n", 256), "team: a/b+c@d.e ___ ");
        assert_eq!(label("abcdef", 3), "abc");
    }
}
