//! Finding values in a text that may be JSON itself, as a tool's arguments and results are: its reader will see
//! what its escapes stand for, so they are searched as that. Which texts are searched, and what becomes of a
//! finding, is the caller's.

use std::ops::Range;

use weir_pii::Finding;
use weir_wire::json::{self, Kind, Limits, Unescaped, Value};

/// Documents inside of each other's strings that are looked into.
const DEPTH: u32 = 4;

/// Replacements by byte range of the text: types, placeholders and digests, in which nothing is to be escaped.
pub type Edits = Vec<(Range<usize>, String)>;

/// What finds: appends the findings of a text.
pub type Find<'f> = dyn FnMut(&str, &mut Vec<Finding>) + 'f;

/// Shows what `find` finds to `found`: a text, and the findings in it. Their replacements come back as those of
/// `text`, in the order in which `found` told them. Where a text is a JSON document, a string of it that has escapes is
/// judged by what it stands for and by nothing else, since an edit of the escapes could break the document.
pub fn search(find: &mut Find<'_>, text: &str, found: &mut dyn FnMut(&str, &[Finding]) -> Edits) -> Edits {
    inside(find, text, DEPTH, found)
}

fn inside(
    find: &mut Find<'_>,
    text: &str,
    depth: u32,
    found: &mut dyn FnMut(&str, &[Finding]) -> Edits,
) -> Edits {
    let mut findings = Vec::new();
    find(text, &mut findings);
    let mut judged: Vec<Range<usize>> = Vec::new();
    let mut edits = Vec::new();
    if depth > 0
        && document(text)
        && let Ok(doc) = json::parse(text.as_bytes(), &Limits::default())
    {
        escaped(doc.root(), &mut |at, string| {
            judged.push(at);
            for (range, with) in inside(find, &string.text, depth - 1, found) {
                edits.push((string.raw_range(range), with));
            }
        });
        weir_sorted::keep(&mut findings, |finding| {
            // Strings come in the order of the document.
            let next = judged.partition_point(|at| at.end <= finding.range.start);
            judged.get(next).is_none_or(|at| finding.range.end <= at.start)
        });
    }
    if !findings.is_empty() {
        let more = found(text, &findings);
        if edits.is_empty() {
            return more;
        }
        edits.extend(more);
    }
    edits
}

/// May be an object or an array with escapes in it; without any there is nothing more to see.
pub fn document(text: &str) -> bool {
    let text = text.as_bytes();
    matches!(text.trim_ascii_start(), [b'{' | b'[', ..]) && memchr::memchr(b'\\', text).is_some()
}

/// Every string value with escapes, in document order.
fn escaped(value: Value<'_, '_>, each: &mut dyn FnMut(Range<usize>, &Unescaped<'_>)) {
    match value.kind() {
        Kind::String => {
            if let Some(string) = value.unescaped()
                && matches!(string.text, std::borrow::Cow::Owned(_))
            {
                each(value.range(), &string);
            }
        }
        // Bounded by the depth that the parser allows.
        Kind::Array => value.items().for_each(|item| escaped(item, each)),
        Kind::Object => value.members().for_each(|(_, member)| escaped(member, each)),
        Kind::Null | Kind::Bool | Kind::Number => {}
    }
}

#[cfg(test)]
mod tests {
    use weir_pii as pii;

    use super::*;

    fn emails() -> pii::Set {
        let rule = pii::Rule { find: vec!["email".into()], words: Vec::new(), action: pii::Action::Mask };
        pii::Set::new(&[rule]).unwrap()
    }

    fn masked(text: &str) -> String {
        let set = emails();
        let mut vault = pii::Vault::new();
        let mut find = |text: &str, out: &mut Vec<Finding>| pii::find(&set, text, out);
        let mut edits =
            search(&mut find, text, &mut |text, findings| pii::redact(text, findings, &mut vault));
        edits.sort_by_key(|(range, _)| range.start);
        let mut out = text.to_owned();
        for (range, with) in edits.into_iter().rev() {
            out.replace_range(range, &with);
        }
        out
    }

    #[test]
    fn a_value_is_found_behind_escapes_at_every_depth() {
        let mut text = r#"{"a":"to x\u0040y.org, please","b":["p\u00e9p\u00e9@y.org",1]}"#.to_owned();
        let mut hidden = r#"{"a":"to [EMAIL], please","b":["[EMAIL]",1]}"#.to_owned();
        for depth in 0..DEPTH {
            assert_eq!(masked(&text), hidden, "{depth}");
            text = serde_json::json!({ "inner": text }).to_string();
            hidden = serde_json::json!({ "inner": hidden }).to_string();
        }
    }

    #[test]
    fn an_escape_is_not_taken_for_the_beginning_of_a_value() {
        // As plain text this is `nx@y.org` behind a backslash, whose edit would leave the backslash alone.
        assert_eq!(masked(r#"{"a":"\nx@y.org"}"#), r#"{"a":"\n[EMAIL]"}"#);
        assert_eq!(masked(r#"{"a":"\n@y.org"}"#), r#"{"a":"\n@y.org"}"#);
        // And where it is no document, it is text.
        assert_eq!(masked(r"say \nx@y.org"), r"say \[EMAIL]");
    }

    #[test]
    fn strings_without_escapes_and_values_outside_of_strings_are_found_once() {
        assert_eq!(
            masked(r#"{"a":"x@y.org","b":"\t","c":"x@y.org"}"#),
            r#"{"a":"[EMAIL]","b":"\t","c":"[EMAIL]"}"#
        );
        assert_eq!(masked(r#"{"x@y.org":"\t"}"#), r#"{"[EMAIL]":"\t"}"#);
        assert_eq!(masked(r#"{"a":"\t" x@y.org}"#), r#"{"a":"\t" [EMAIL]}"#);
    }
}
