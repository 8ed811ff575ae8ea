//! US social security numbers: three, two and four digits by the Social Security Administration's rules (no
//! area 000, 666 or 9xx, no group 00, no serial 0000). With separators they are found anywhere; without, or
//! with one missing, only where the words around say what the nine digits are.

use super::ask::{Digits, Pair};
use super::context::{Context, Near, Said};
use super::{Detector, Match, Scan, Verdict};

/// Bytes of a number.
const LONGEST: usize = 96;
/// Bytes after it that are searched for the words.
const AFTER: usize = 40;
/// Bytes after it that may decide about it: a separator and a digit, each at its widest.
const NEXT: usize = 32;

pub(super) const DETECTOR: Detector = Detector {
    id: "us_ssn",
    mask: "[US_SSN]",
    longest: LONGEST,
    context: &["ssn", "social sec", "soc sec", "soc. sec", "ss#", "ss #", "ss no", "s.s.n"],
    scan: Scan::Digits(Digits {
        pairs: |Pair { first, second, .. }| first >= 9 || matches!((first, second), (3, 2 | 6) | (5, 4)),
        at,
    }),
};

fn at(context: &Context<'_>, at: usize, detector: u8, found: &mut dyn FnMut(u8, Match)) -> bool {
    match number(context, at, detector) {
        Verdict::Yes(value) => found(detector, value),
        Verdict::Cut(_) => return context.view.left(at) > LONGEST + NEXT + AFTER,
        Verdict::No => {}
    }
    true
}

fn number(context: &Context<'_>, start: usize, detector: u8) -> Verdict {
    let (view, last) = (context.view, context.last);
    let length = view.bytes().len();
    let before = view.before(start);
    let digit_before = start.checked_sub(2).is_some_and(|at| view.at(at).is_ascii_digit());
    if matches!(before, b'.' | b'-') && digit_before {
        return Verdict::No;
    }
    // Up to three groups of digits with one separator, the same between all.
    let mut digits = [0u8; 9];
    let (mut count, mut groups, mut at) = (0, 0u32, start);
    let mut separator = 0;
    let end = loop {
        let end = view.digits_end(at);
        for digit in view.bytes().get(at..end).unwrap_or_default() {
            match digits.get_mut(count) {
                Some(slot) => *slot = digit - b'0',
                None => return Verdict::No,
            }
            count += 1;
        }
        groups = groups * 10 + (end - at) as u32;
        if end == length && !last {
            return Verdict::Cut(start);
        }
        if !matches!(groups, 3 | 5 | 9 | 32 | 36 | 54 | 324) {
            return Verdict::No;
        }
        let next = view.at(end);
        if !matches!(next, b'-' | b' ' | b'.') {
            break end;
        }
        if end + 1 == length && !last {
            return Verdict::Cut(start);
        }
        if !view.at(end + 1).is_ascii_digit() {
            break end;
        }
        if next != separator && (separator != 0 || count == 9) {
            // After the number another separator starts something else; inside it this is no number.
            break end;
        }
        if count == 9 || (separator == 0 && digit_before && before == next) {
            return Verdict::No;
        }
        separator = next;
        at = end + 1;
    };
    if count != 9 || !valid(&digits) || !view.fits(start, end, LONGEST) {
        return Verdict::No;
    }
    match groups {
        324 => Verdict::Yes(Match::new(start, end)),
        9 | 36 | 54 => match context.said(detector, Near::Around, start, end) {
            Said::Yes => Verdict::Yes(Match::new(start, end)),
            Said::No => Verdict::No,
            Said::Cut => Verdict::Cut(start),
        },
        _ => Verdict::No,
    }
}

fn valid(digits: &[u8; 9]) -> bool {
    match *digits {
        [9, ..] | [0, 0, 0, ..] | [6, 6, 6, ..] => false,
        [_, _, _, a, b, c, d, e, f] => (a, b) != (0, 0) && (c, d, e, f) != (0, 0, 0, 0),
    }
}

#[cfg(test)]
#[allow(clippy::string_slice, clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::super::vectors::{check, marked};

    #[test]
    fn separated_numbers_are_found_anywhere() {
        marked(
            "us_ssn",
            &[
                "<078-05-1120>",
                "my number is <531-21-7351>.",
                "<078 05 1123>",
                "<078.05.1123>",
                "x<219-09-9999>y",
                "<123-45-6789>,<123-45-6788>",
                "5 <078-05-1123>",
                "<078-05-1123> 5",
                "<078-05-1123> - 5",
                "<\u{ff10}78-05-1120>",
                "<078\u{2011}05\u{2011}1120>",
                "<078\u{a0}05\u{a0}1120>",
                "<07\u{200b}8-05-11\u{ad}20>",
            ],
        );
    }

    #[test]
    fn nine_bare_digits_need_words_around() {
        marked(
            "us_ssn",
            &[
                "SSN <078051121>",
                "ssn:<078051121>",
                "my Social  Security number is 078051121",
                "his social security number, as far as we know, is <078051121>",
                "SS# <07805-1121>",
                "SSN 078-05-1121-2",
                "<078-051121> is my SSN",
                "078051121",
                "className 078051121",
                "order 078-051121 07805-1121",
                "<078051121> (social security)",
            ],
        );
        let far = format!("SSN {} 078051121", "x".repeat(100));
        check("us_ssn", &far, &[]);
        let far = format!("078051121 {} SSN", "x".repeat(40));
        check("us_ssn", &far, &[]);
    }

    #[test]
    fn other_numbers_are_left_alone() {
        marked(
            "us_ssn",
            &[
                "SSN 0780511201",
                "SSN 666000000",
                "078 00 1123",
                "693-09.4444",
                "000-12-3456",
                "666-12-3456",
                "900-12-3456",
                "078-00-1120",
                "078-05-0000",
                "1-078-05-1120",
                "078-05-1120-1",
                "1078-05-1120",
                "078-05-11201",
                "0.078-05-1120",
                "12 078 05 1123",
                "078 05 1123 99",
                "555-123-4567",
                "2024-01-15",
                "07-805-1120",
                "078--05--1120",
                "",
            ],
        );
    }
}
