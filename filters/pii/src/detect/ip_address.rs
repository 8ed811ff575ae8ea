//! Addresses of hosts: IPv4 in four decimal parts, IPv6 in any of its spellings (RFC 4291 §2.2). A version of
//! four parts is not told from an address, unless the word before or a product's slash tells it.

use super::ask::{Ask, Beside, Word};
use super::check::{ends, hexadecimal};
use super::context::Context;
use super::{Detector, Match, Scan, Verdict};
use crate::class::{HEXADECIMAL, is};
use crate::view::View;

/// Bytes of an address.
const LONGEST: usize = 128;
/// Bytes after it that may decide about it.
const AFTER: usize = 48;
/// Characters of the longest spelling.
const CHARACTERS: usize = 45;

pub(super) const DETECTOR: Detector = Detector {
    id: "ip_address",
    mask: "[IP_ADDRESS]",
    longest: LONGEST,
    context: &[],
    scan: Scan::Word(Ask {
        longest: 4,
        opens: &["X:*", "XX:", "XXX:", "XXXX:"],
        lone: false,
        before: Beside::Not(b"_"),
        after: Beside::Of(b":."),
        ..Ask::new(at)
    }),
};

fn at(context: &mut Context<'_>, word: Word, _: u8) -> Verdict {
    let view = context.view;
    if word.end - word.start > 4 || !word.hexadecimal {
        return Verdict::No;
    }
    let bytes = view.bytes();
    let mut start = word.start;
    if view.before(start) == b'_' {
        return Verdict::No;
    }
    // An address may begin with its two colons; otherwise a part before means that it began there.
    if view.before(start) == b':' {
        if view.before(start - 1) == b':' {
            start -= 2;
            if view.before(start).is_ascii_alphanumeric() || view.before(start) == b':' {
                return Verdict::No;
            }
        } else {
            let from = (1..6).find(|back| !view.before(start - back).is_ascii_alphanumeric());
            let back = from.unwrap_or(6);
            let part =
                back > 1 && start >= back && bytes.get(start - back..start - 1).is_some_and(hexadecimal);
            if part {
                return Verdict::No;
            }
        }
    } else if view.before(start) == b'.' && view.before(start - 1).is_ascii_alphanumeric() {
        return Verdict::No;
    }
    // Behind its first part stands another one, or a second colon.
    let (sign, next) = (view.at(word.end), view.at(word.end + 1));
    let goes_on = match sign {
        b':' => next == b':' || next.is_ascii_hexdigit(),
        _ => next.is_ascii_digit(),
    };
    if start == word.start && !goes_on && word.end + 1 < bytes.len() {
        return Verdict::No;
    }
    let rest = bytes.get(start..).unwrap_or_default();
    // Four parts have three signs between them, the shortest other form two.
    let (mut run, mut dots, mut colons) = (0, 0, 0);
    for byte in rest.iter().take(CHARACTERS + 2) {
        match byte {
            b'.' => dots += 1,
            b':' => colons += 1,
            _ if is(*byte, HEXADECIMAL) => {}
            _ => break,
        }
        run += 1;
    }
    if start + run == bytes.len() && !context.last {
        return if view.left(start) <= LONGEST + AFTER { Verdict::Cut(start) } else { Verdict::No };
    }
    if dots < 3 && colons < 2 {
        return Verdict::No;
    }
    let mut end = start + run;
    let next = view.at(end);
    if next.is_ascii_alphanumeric() || next == b'_' {
        return Verdict::No;
    }
    if view.at(end - 1) == b'.' || (view.at(end - 1) == b':' && view.before(end - 1) != b':') {
        end -= 1;
    }
    let mut text = bytes.get(start..end).unwrap_or_default();
    // Behind four decimal parts follows a port.
    if colons > 0 {
        let first = text.iter().position(|byte| *byte == b':').unwrap_or(text.len());
        let host = text.get(..first).unwrap_or_default();
        if host.contains(&b'.') {
            (text, colons) = (host, 0);
            end = start + first;
        }
    }
    let found = if colons > 0 {
        !lonely(text, view.at(end))
            && text.len() > 3
            && text.iter().any(u8::is_ascii_digit)
            && version_6(text)
            || text == b"::1"
    } else {
        version_4(text) && !version(view, start)
    };
    let fits = view.fits(start, end, LONGEST);
    if found && fits { Verdict::Yes(Match::new(start, end)) } else { Verdict::No }
}

/// Four decimal numbers up to 255, without zeros in front. (The standard library's parsers are 3 KB of code.)
fn version_4(text: &[u8]) -> bool {
    let (mut parts, mut digits, mut value) = (1, 0, 0);
    for byte in text {
        match byte {
            b'.' if digits > 0 => (parts, digits, value) = (parts + 1, 0, 0),
            b'0'..=b'9' if digits == 0 || value > 0 => {
                (digits, value) = (digits + 1, value * 10 + u32::from(byte - b'0'));
            }
            _ => return false,
        }
        if value > 255 {
            return false;
        }
    }
    parts == 4 && digits > 0
}

/// RFC 4291, 2.2: eight groups; `::` once, for one or more of them; the last two may be written as IPv4.
fn version_6(text: &[u8]) -> bool {
    let Some(gap) = text.windows(2).position(|two| two == b"::") else {
        return groups(text, true) == Some(8);
    };
    let (head, tail) = (text.get(..gap).unwrap_or_default(), text.get(gap + 2..).unwrap_or_default());
    matches!((groups(head, false), groups(tail, true)), (Some(head), Some(tail)) if head + tail < 8)
}

/// How many groups a list of them is.
fn groups(text: &[u8], decimal: bool) -> Option<usize> {
    let mut count = 0;
    let mut rest = Some(text).filter(|text| !text.is_empty());
    while let Some(text) = rest {
        let end = text.iter().position(|byte| *byte == b':');
        let group = text.get(..end.unwrap_or(text.len())).unwrap_or_default();
        rest = end.and_then(|end| text.get(end + 1..));
        count += match rest {
            _ if (1..=4).contains(&group.len()) && hexadecimal(group) => 1,
            None if decimal && version_4(group) => 2,
            _ => return None,
        };
    }
    Some(count)
}

/// Whether nothing but one part stands before two colons: a path of a program (`u64::`), unless it is a network's.
fn lonely(text: &[u8], next: u8) -> bool {
    next != b'/' && text.strip_suffix(b"::").is_some_and(|part| !part.contains(&b':'))
}

/// Whether what stands before says that four numbers are a version.
fn version(view: &View<'_>, start: usize) -> bool {
    let before = |word: &[u8]| ends(view.bytes(), start, word);
    (view.before(start) == b'/' && view.before(start - 1).is_ascii_alphabetic())
        || before(b"section ")
        || before(b"version ")
        || before(b"version: ")
        || before(b"version=")
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::super::vectors::marked;
    use super::{version_4, version_6};

    fn as_the_standard_library_says(text: &str) {
        assert_eq!(version_4(text.as_bytes()), text.parse::<Ipv4Addr>().is_ok(), "{text}");
        assert_eq!(version_6(text.as_bytes()), text.parse::<Ipv6Addr>().is_ok(), "{text}");
    }

    #[test]
    fn addresses_are_those_of_the_standard_library() {
        let mut text = String::new();
        // Every text of up to seven of these.
        for number in 0..5_usize.pow(7) * 2 {
            text.clear();
            let mut rest = number;
            while rest > 0 {
                text.push(['0', '1', ':', '.', 'f'][rest % 5]);
                rest /= 5;
            }
            as_the_standard_library_says(&text);
        }
        // Every number of groups on both sides of a gap, and ends that are not hexadecimal.
        for (head, tail) in (0..100).map(|n| (n / 10, n % 10)) {
            for last in ["", ":", "1.2.3.4", ":1.2.3.4", "01.2.3.4", "1.2.3.256", "1.2.3", "12345", "g", "00"]
            {
                let groups = |count: usize| vec!["aB0"; count].join(":");
                for middle in ["::", ":", "", ":::"] {
                    as_the_standard_library_says(&format!("{}{middle}{}{last}", groups(head), groups(tail)));
                    as_the_standard_library_says(&format!("{}{middle}{}:{last}", groups(head), groups(tail)));
                }
            }
        }
        for octet in 0..1000 {
            as_the_standard_library_says(&format!("{octet}.{octet:02}.9.{octet}"));
            as_the_standard_library_says(&format!("1.{octet}.9.{octet}"));
        }
    }

    #[test]
    fn addresses_are_found_in_every_spelling() {
        marked(
            "ip_address",
            &[
                "<192.168.0.1> and <10.0.0.0>/8, (<127.0.0.1>).",
                "http://<8.8.8.8>:80/ user@<10.1.2.3> |<98.85.59.159>|",
                "<2001:db8::8a2e:370:7334>, <fe80::1>%eth0; [<2001:db8::1>]:80",
                "<2345:0425:2CA1:0000:0000:0567:5673:23b5>.",
                "src=<::1>: <::ffff:192.0.2.1>",
                "connecting from <::1>",
                "<::1>/128, src=:: dst=<::1>",
                "<64:ff9b::198.51.100.1> <d80:e4b5:79da:6cf6:71f3:51f7:9161:c319> blocked",
                "IPv6:<2001:db8::1>, ip:<10.0.0.1>",
                "<\u{ff11}92.168.0.1> <192\u{3002}168\u{3002}0\u{3002}1>",
            ],
        );
    }

    #[test]
    fn other_text_is_left_alone() {
        marked(
            "ip_address",
            &[
                "192.168.0 256.1.1.1 1.2.3.4.5 v1.2.3.4 version 1.2.3.4 Chrome/120.0.0.0",
                "12:34:56 MyClass::toString std::fmt abc:def:ghi ::",
                "text192.168.1.1 fe80::1text 12345:db8::1 2001::db8::1 ::ffff:256.0.0.1",
                "64::x 01::, x86_64::_mm section 4.2.1.13 dead::beef 00:1A:2B:3C:4D:5E 3.14 2024.01.15",
                "",
            ],
        );
    }
}
