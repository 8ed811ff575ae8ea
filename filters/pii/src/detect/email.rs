//! E-mail addresses: the addr-spec of RFC 5322 as people type it (no quoted local parts, no comments, no
//! address literals), with internationalised names. Every `@` is looked at once, to both sides.

use super::ask::Word;
use super::context::Context;
use super::{Detector, Match, Scan, Verdict};
use crate::view::{LETTER, View, WIDE};

/// RFC 5321 §4.5.3.1.1: characters of a local part.
const LOCAL: usize = 64;
/// Bytes of a local part: two per character, and some invisible ones.
const LOCAL_BYTES: usize = 128;
/// Bytes of a domain.
const DOMAIN_BYTES: usize = 256;

pub(super) const DETECTOR: Detector = Detector {
    id: "email",
    mask: "[EMAIL]",
    longest: LOCAL_BYTES + 4 + DOMAIN_BYTES,
    context: &[],
    scan: Scan::Ats(at),
};

/// Asked at every `@`, and at the end of a text that goes on: the word there may be a local part whose `@` is still to
/// come, and of which script its last character will be is not known either.
fn at(context: &mut Context<'_>, sign: Word, _: u8) -> Verdict {
    let (view, at) = (context.view, sign.start);
    if at == view.bytes().len() {
        return Verdict::Cut(local(view, at, false).min(local(view, at, true)));
    }
    let mut start = local(view, at, view.before(at) == WIDE);
    // Punctuation before a name belongs to the sentence: quotes, stars of emphasis.
    while start < at
        && !matches!(view.at(start), b'_' | LETTER | WIDE)
        && !view.at(start).is_ascii_alphanumeric()
    {
        start += 1;
    }
    if start == at {
        return Verdict::No;
    }
    match domain(view, at + 1) {
        (_, true) if !context.last => Verdict::Cut(start),
        (end, _) => end.map_or(Verdict::No, |end| Verdict::Yes(Match::new(start, end))),
    }
}

/// Where the local part starts that ends before `at`; the flag says whether its last character is of a script
/// without spaces.
fn local(view: &View<'_>, at: usize, wide: bool) -> usize {
    let limit = view.end(at).saturating_sub(LOCAL_BYTES);
    let mut start = at;
    while start > 0 && at - start < LOCAL {
        let allowed = match view.before(start) {
            b'.' | b'_' | b'%' | b'+' | b'-' | b'\'' | b'&' | b'~' | b'!' | b'#' | b'$' | b'*' | b'^' => true,
            LETTER => !wide,
            // A script without spaces runs into the address; it ends where the script changes.
            WIDE => wide,
            byte => byte.is_ascii_alphanumeric(),
        };
        if !allowed || view.start(start - 1) < limit {
            break;
        }
        start -= 1;
    }
    start
}

/// Where the domain ends that starts at `from`, if there is one, and whether the text ended before that
/// could be known.
fn domain(view: &View<'_>, from: usize) -> (Option<usize>, bool) {
    let limit = view.start(from) + DOMAIN_BYTES;
    let (mut label, mut at) = (from, from);
    let mut end = None;
    loop {
        let byte = view.at(at);
        let stop = at >= view.bytes().len();
        let full = !stop && view.end(at + 1) > limit;
        let inside = match byte {
            _ if stop || full => false,
            b'-' | b'_' => at > label,
            WIDE => at == label || view.before(at) == WIDE,
            LETTER => at == label || view.before(at) != WIDE,
            _ => byte.is_ascii_alphanumeric() && (at == label || view.before(at) != WIDE),
        };
        if inside {
            at += 1;
            continue;
        }
        // A label ended. Any but the first may be the top-level domain: its leading letters, so that what
        // is written right behind an address does not save it.
        if label > from {
            let letters = top_level(view, label, at);
            if letters >= 2 {
                end = Some(label + letters);
            }
        }
        if stop || byte != b'.' || full || at == label {
            return (end, stop);
        }
        at += 1;
        label = at;
    }
}

/// Characters of a label that can be a top-level domain.
fn top_level(view: &View<'_>, label: usize, end: usize) -> usize {
    let text = view.bytes().get(label..end).unwrap_or_default();
    if text.len() > 4 && text.get(..4).is_some_and(|head| head.eq_ignore_ascii_case(b"xn--")) {
        return text.iter().rposition(u8::is_ascii_alphanumeric).map_or(0, |at| at + 1);
    }
    text.iter().take_while(|byte| matches!(**byte, LETTER | WIDE) || byte.is_ascii_alphabetic()).count()
}

#[cfg(test)]
#[allow(clippy::string_slice, clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::super::vectors::{check, marked};

    #[test]
    fn addresses_are_found_and_nothing_around_them() {
        marked(
            "email",
            &[
                "<john@example.com>",
                "write to <john.doe+tag@mail.example.co.uk>, please",
                "<a@b.co>.",
                "(<o'brien@example.org>) '<x@y.io>' **<x@y.io>** mailto:<x@y.io>?subject=1",
                "{\"email\":\"<josé@exämple.de>\"}",
                "<a@xn--d1acufc.xn--p1ai>",
                "email=<jane_roe%x@sub-domain.example.com>;",
                "<a@b.com>,<c@d.com>/<e@f.com>",
                "联系<john@example.com>谢谢",
                "<山田@例え.jp>",
                "<john@example.com>2 <john@example.com>-2 <john@example.com>.5",
                "see <git@github.com>:org/repo",
                "<joe@mail.example.com>...",
                "<\u{ff4a}ohn\u{ff20}example\u{ff0e}com>",
                "<jo\u{200b}hn\u{ad}@exa\u{200d}mple.com>\u{200b} x",
                "<_x_@y.org>",
            ],
        );
    }

    #[test]
    fn what_is_no_address_is_left_alone() {
        marked(
            "email",
            &[
                "this is not an email: hello-world here",
                "@john",
                "john@",
                "john@localhost",
                "a@b.c",
                "lodash@4.17.21",
                "x@@y.com",
                "a@.com",
                "a @b.com",
                "a@ b.com",
                "@@@@@@@@",
                "a@b@c@d",
                "a@-b.com",
                ".@x.com",
                "5 @ 3.50",
                "user@192.168.1.1",
                "",
            ],
        );
    }

    #[test]
    fn long_parts_are_bounded() {
        let local = "a".repeat(64);
        check("email", &format!("x {local}@example.com y"), &[&format!("{local}@example.com")]);
        let domain = format!("{}com", "abcdefg.".repeat(31));
        check("email", &format!("<j@{domain}>"), &[&format!("j@{domain}")]);
        let text = format!("{}@example.com", "b".repeat(1000));
        check("email", &text, &[&text[1000 - 64..]]);
        let text = format!("j@{}", "abcdefg.".repeat(100));
        check("email", &text, &[&text[..2 + 32 * 8 - 1]]);
    }
}
