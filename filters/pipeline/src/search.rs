//! Finding values in a text that may be JSON itself, as a tool's arguments and results are: its reader will see
//! what its escapes stand for, so they are searched as that. Which texts are searched, and what becomes of a
//! finding, is the caller's.

use std::ops::Range;

use weir_pii::Finding;
use weir_wire::json::{self, Kind, Limits, Value};

/// Documents inside of each other's strings that are looked into.
const DEPTH: u32 = 4;

/// What finds: appends the findings of a text without some parts of it, and maybe others.
pub type Find<'f> = dyn FnMut(&str, &[Range<usize>], &mut Vec<Finding>) + 'f;

/// Tells where a range of a text is in the one that was to be searched; quickest for ranges in order.
pub type Place<'p> = dyn Fn(Range<usize>) -> Range<usize> + 'p;

/// What is told of findings: a text, the findings in it, and where they are.
pub type Found<'f> = dyn FnMut(&str, &[Finding], &Place<'_>) + 'f;

/// Shows what `find` finds to `found`. Where a text is a JSON document, a string of it that has escapes is judged by what it
/// stands for and by nothing else, since an edit of the escapes could break the document. What takes the place of findings is
/// written as it is: types, placeholders and digests have nothing in them that is to be escaped.
pub fn search(find: &mut Find<'_>, text: &str, found: &mut Found<'_>) {
    inside(find, text, DEPTH, &|range| range, &mut Vec::new(), found);
}

/// The same of a text inside of others; `findings` is room for its own.
fn inside(
    find: &mut Find<'_>,
    text: &str,
    depth: u32,
    place: &Place<'_>,
    findings: &mut Vec<Finding>,
    found: &mut Found<'_>,
) {
    findings.clear();
    let doc = if depth > 0 && document(text) {
        json::parse(text.as_bytes(), &Limits::default()).ok()
    } else {
        None
    };
    let (mut strings, mut judged) = (Vec::new(), Vec::new());
    doc.iter().for_each(|doc| escaped(doc.root(), &mut strings));
    strings.iter().for_each(|value| judged.push(value.range()));
    find(text, &judged, findings);
    if !strings.is_empty() {
        let (mut buffer, mut inner) = (String::new(), Vec::new());
        for value in &strings {
            let Some(string) = value.unescaped_in(&mut buffer) else { continue };
            let place = |range| place(string.raw_range(range));
            inside(find, &string.text, depth - 1, &place, &mut inner, found);
        }
        weir_sorted::keep(findings, |finding| {
            // Strings come in the order of the document.
            let next = judged.partition_point(|at| at.end <= finding.range.start);
            judged.get(next).is_none_or(|at| finding.range.end <= at.start)
        });
    }
    if !findings.is_empty() {
        found(text, findings, place);
    }
}

/// May be an object or an array with escapes in it; without any there is nothing more to see.
pub fn document(text: &str) -> bool {
    let text = text.as_bytes();
    matches!(text.trim_ascii_start(), [b'{' | b'[', ..]) && memchr::memchr(b'\\', text).is_some()
}

/// Every string value with escapes, in document order.
fn escaped<'d, 'a>(value: Value<'d, 'a>, out: &mut Vec<Value<'d, 'a>>) {
    match value.kind() {
        Kind::String if value.escaped() => out.push(value),
        // Bounded by the depth that the parser allows.
        Kind::Array => value.items().for_each(|item| escaped(item, out)),
        Kind::Object => value.members().for_each(|(_, member)| escaped(member, out)),
        Kind::String | Kind::Null | Kind::Bool | Kind::Number => {}
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
        let mut find = |text: &str, without: &[Range<usize>], out: &mut Vec<Finding>| {
            pii::find_without(&set, text, without, out);
        };
        let mut edits = Vec::new();
        search(&mut find, text, &mut |text, findings, place| {
            let own = pii::redact(text, findings, &mut vault).into_iter();
            edits.extend(own.map(|(range, with)| (place(range), with)));
        });
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
