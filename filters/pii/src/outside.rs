//! Findings of detectors outside. They are shown a text in which what was found here is masked already, and what
//! they find in that is led back to the text itself and merged with what was found here: of several the strictest
//! action wins, as always.

use std::ops::Range;

use crate::set::merge;
use crate::text::{part, put};
use crate::{Action, Finding, Kind};

/// What a detector outside found in a text as it was shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// What it is.
    pub kind: Kind,
    /// Where it is in the text that was shown, in bytes.
    pub range: Range<usize>,
    /// What happens to it.
    pub action: Action,
}

/// The text with all masked that `findings` change; they are as [`crate::find`] gives them.
pub fn shown(text: &str, findings: &[Finding]) -> String {
    let (mut out, mut at) = (String::with_capacity(text.len()), 0);
    for finding in changing(findings) {
        put(&mut out, part(text, at..finding.range.start));
        put(&mut out, finding.kind.mask());
        at = finding.range.end;
    }
    put(&mut out, part(text, at..text.len()));
    out
}

fn changing(findings: &[Finding]) -> impl Iterator<Item = &Finding> {
    findings.iter().filter(|finding| finding.action != Action::Report)
}

/// Adds to the `findings` of a text what `hits` say of it as it was shown. A hit that begins or ends inside of a mask
/// takes in the whole of what is masked; one that is nothing but masks says nothing new and is left out, as is one
/// that is empty, or not on characters of the text.
pub fn add(text: &str, findings: &mut Vec<Finding>, hits: &[Hit]) {
    let found = findings.len();
    for hit in hits {
        let Some(range) = back(&hit.range, findings.get(..found).unwrap_or_default()) else { continue };
        if text.get(range.clone()).is_some_and(|found| !found.is_empty()) {
            let decided = range.end;
            findings.push(Finding {
                kind: hit.kind,
                range,
                action: hit.action,
                decided,
                endless: false,
                open: None,
            });
        }
    }
    if findings.len() > found {
        merge(findings, 0);
    }
}

/// Where a range of the shown text is in the text; `None` where it is nothing but masks.
fn back(range: &Range<usize>, findings: &[Finding]) -> Option<Range<usize>> {
    // What is shown from `shown` on is the text from `at` on, up to the next mask.
    let (mut at, mut shown) = (0, 0);
    let (mut start, mut end, mut plain) = (None, None, false);
    for finding in changing(findings) {
        let mask = shown + finding.range.start.saturating_sub(at);
        plain |= range.start < mask && range.end > shown;
        if start.is_none() && range.start < mask {
            start = Some(at + range.start.saturating_sub(shown));
        }
        if end.is_none() && range.end <= mask {
            end = Some(at + range.end.saturating_sub(shown));
        }
        shown = mask + finding.kind.mask().len();
        at = finding.range.end;
        if start.is_none() && range.start < shown {
            start = Some(finding.range.start);
        }
        if end.is_none() && range.end <= shown {
            end = Some(finding.range.end);
        }
    }
    plain |= range.end > shown;
    let start = start.unwrap_or(at + range.start.saturating_sub(shown));
    let end = end.unwrap_or(at + range.end.saturating_sub(shown));
    (plain && start < end).then_some(start..end)
}

#[cfg(test)]
#[allow(clippy::string_slice, clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::{Rule, Set, Vault, find};

    fn set(action: Action) -> Set {
        Set::new(&[Rule { find: vec!["email".into()], words: Vec::new(), action }]).unwrap()
    }

    fn local(text: &str, action: Action) -> Vec<Finding> {
        let mut findings = Vec::new();
        find(&set(action), text, &mut findings);
        findings
    }

    fn person(shown: &str, what: &str, action: Action) -> Hit {
        let start = shown.find(what).unwrap();
        Hit { kind: Kind::named("person").unwrap(), range: start..start + what.len(), action }
    }

    /// The text as it leaves, when these parts of what is shown are people.
    fn redacted(text: &str, here: Action, people: &[&str], there: Action) -> String {
        let mut findings = local(text, here);
        let shown = shown(text, &findings);
        let hits: Vec<Hit> = people.iter().map(|what| person(&shown, what, there)).collect();
        add(text, &mut findings, &hits);
        let mut out = text.to_owned();
        for (range, with) in set(here).redact(text, &findings, &mut Vault::new()).into_iter().rev() {
            out.replace_range(range, &with);
        }
        out
    }

    #[test]
    fn what_is_found_here_is_not_shown() {
        let text = "Jürgen <j@x.org>, Ann <a@y.org>.";
        assert_eq!(shown(text, &local(text, Action::Tokenize)), "Jürgen <[EMAIL]>, Ann <[EMAIL]>.");
        assert_eq!(shown(text, &local(text, Action::Report)), text, "a dry run changes nothing");
    }

    #[test]
    fn hits_lead_back_before_between_and_behind_masks() {
        let text = "Jürgen <j@x.org>, Ann <a@y.org> 李雷";
        for (people, out) in [
            (vec!["Jürgen"], "[PERSON_1] <[EMAIL_1]>, Ann <[EMAIL_2]> 李雷"),
            (vec!["Ann"], "Jürgen <[EMAIL_1]>, [PERSON_1] <[EMAIL_2]> 李雷"),
            (vec!["李雷"], "Jürgen <[EMAIL_1]>, Ann <[EMAIL_2]> [PERSON_1]"),
            (vec!["Ann", "Jürgen", "李雷"], "[PERSON_1] <[EMAIL_1]>, [PERSON_2] <[EMAIL_2]> [PERSON_3]"),
        ] {
            assert_eq!(redacted(text, Action::Tokenize, &people, Action::Tokenize), out);
        }
    }

    #[test]
    fn what_overlaps_is_one_finding_with_the_strictest_action() {
        let text = "to Ann <a@y.org> now";
        assert_eq!(redacted(text, Action::Tokenize, &["Ann <[EMAIL]>"], Action::Mask), "to [PERSON] now");
        assert_eq!(redacted(text, Action::Mask, &["Ann <[EMAIL]>"], Action::Tokenize), "to [PERSON] now");
        // From inside of a mask: the whole of what is masked, under the name of what reaches farthest.
        assert_eq!(redacted(text, Action::Tokenize, &["AIL]> now"], Action::Mask), "to Ann <[PERSON]");
        assert_eq!(redacted(text, Action::Mask, &["Ann <[E"], Action::Report), "to Ann <[EMAIL]> now");
    }

    #[test]
    fn a_mask_that_is_taken_for_a_name_is_none() {
        let text = "to a@y.org now";
        for part in ["[EMAIL]", "EMAIL", "[", "]"] {
            assert_eq!(
                redacted(text, Action::Tokenize, &[part], Action::Block),
                "to [EMAIL_1] now",
                "{part}"
            );
        }
    }

    #[test]
    fn a_hit_that_is_not_in_the_text_is_left_out() {
        let text = "é Ann a@y.org";
        for range in [0..1, 1..2, 3..3, Range { start: 6, end: 4 }, 90..99, 4..99] {
            let mut findings = local(text, Action::Mask);
            let before = findings.clone();
            add(
                text,
                &mut findings,
                &[Hit { kind: Kind::WORD, range: range.clone(), action: Action::Block }],
            );
            assert_eq!(findings, before, "{range:?}");
        }
    }

    #[test]
    fn every_range_of_what_is_shown_leads_back_to_characters() {
        let text = "ü@ x@y.org é b@c.de 🎉";
        let findings = local(text, Action::Mask);
        let view = shown(text, &findings);
        for start in (0..view.len()).filter(|at| view.is_char_boundary(*at)) {
            for end in (start + 1..=view.len()).filter(|at| view.is_char_boundary(*at)) {
                let Some(range) = back(&(start..end), &findings) else { continue };
                assert!(text.get(range.clone()).is_some(), "{start}..{end}: {range:?}");
                // What is no mask is the same characters.
                let plain = |text: &str| text.replace("x@y.org", "").replace("b@c.de", "");
                let masks = |text: &str| text.replace("[EMAIL]", "");
                if view[start..end].matches("[EMAIL]").count() * 7
                    == view[start..end].chars().filter(|c| "[EMAIL]".contains(*c)).count()
                {
                    assert_eq!(plain(&text[range.clone()]), masks(&view[start..end]), "{start}..{end}");
                }
            }
        }
    }
}
