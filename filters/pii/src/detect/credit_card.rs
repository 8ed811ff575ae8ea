//! Payment card numbers: 13 to 19 digits whose first digits are an issuer's, of a length that this issuer
//! uses, and whose check digit is right (ISO/IEC 7812, Luhn). Grouped by any separator of up to three spaces,
//! hyphens, dots, slashes or underscores, the same one throughout.
//!
//! Groups as cards print them are found anywhere; odd groups only where the whole row of numbers is the card,
//! because a tenth of all lists of small numbers would pass the check digit somewhere.

use super::ask::{Digits, Pair};
use super::context::Context;
use super::{Detector, Match, Scan};
use crate::view::View;

/// Bytes of a number: 19 wide digits and separators between most of them.
const LONGEST: usize = 160;
/// Bytes after a number that may decide about it: a separator of three and a digit, each at its widest.
const AFTER: usize = 64;
/// Digits of the shortest number, and of the longest.
const SHORTEST: usize = 13;
const DIGITS: usize = 19;

pub(super) const DETECTOR: Detector = Detector {
    id: "credit_card",
    mask: "[CREDIT_CARD]",
    longest: LONGEST,
    context: &[],
    scan: Scan::Digits(Digits { pairs: |Pair { lead, .. }| (2..=6).contains(&lead), at }),
};

fn at(context: &Context<'_>, at: usize, detector: u8, found: &mut dyn FnMut(u8, Match)) -> bool {
    let (view, last) = (context.view, context.last);
    let before = view.before(at);
    // A sign of a telephone number, or of the places after a decimal point.
    let excluded = before == b'+'
        || matches!(before, b'.' | b',') && at.checked_sub(2).is_some_and(|at| view.at(at).is_ascii_digit());
    if excluded || !matches!(view.at(at), b'2'..=b'6') {
        return true;
    }
    let end = view.digits_end(at);
    // Too few, and nothing that separates them from more; or inside of a row, where only fours and what follows them are.
    if end - at < SHORTEST
        && end < view.bytes().len()
        && (!is_separator(view.at(end)) || end - at != 4 && digit_and_separator(view, at))
    {
        return true;
    }
    let cut = number(view, at, last, &mut |end| found(detector, Match::new(at, end)));
    !cut || last || view.left(at) > LONGEST + AFTER
}

/// Tells where numbers end that start with the group of digits at `start`; true when the text ended too early to
/// know them all.
fn number(view: &View<'_>, start: usize, last: bool, found: &mut dyn FnMut(usize)) -> bool {
    let mut digits = [0u8; DIGITS];
    let (mut count, mut at) = (0, start);
    // Lengths of the groups so far, a byte each. What nine or more leave of it begins with no zero.
    let mut groups = 0u64;
    let mut separator = 0;
    let first_of_row = !digit_and_separator(view, start);
    loop {
        let end = view.digits_end(at);
        for digit in view.bytes().get(at..end).unwrap_or_default() {
            match digits.get_mut(count) {
                Some(slot) => *slot = digit - b'0',
                None => return false,
            }
            count += 1;
        }
        if end == view.bytes().len() && !last {
            return true;
        }
        groups = groups << 8 | (end - at) as u64;
        let next = end + separators(view, end);
        if next == view.bytes().len() && next - end <= 3 && !last {
            return true;
        }
        let goes_on = next > end && next - end <= 3 && view.at(next).is_ascii_digit();
        let printed = at == start
            || matches!(
                groups,
                0x04_04_04_04 | 0x04_06_05 | 0x04_06_04 | 0x04_04_04_04_03 | 0x04_04_04_04_02 | 0x04_04_04_01
            );
        // What is printed so far may go on as one of these; nothing else inside of a row is a card.
        let may = first_of_row || matches!(groups, 4 | 0x04_04 | 0x04_06 | 0x04_04_04 | 0x04_04_04_04);
        let fits = view.fits(start, end, LONGEST);
        let number = digits.get(..count).unwrap_or_default();
        if fits && (printed || first_of_row && !goes_on) && issued(number) && luhn(number) {
            found(end);
        }
        // Up to three of them, as a number.
        let between = view.bytes().get(end..next).unwrap_or_default();
        let between = between.iter().fold(0u32, |all, sign| all << 8 | u32::from(*sign));
        if !goes_on || !may || (at != start && between != separator) {
            return false;
        }
        separator = between;
        at = next;
    }
}

/// Characters from `at` that can separate groups.
fn separators(view: &View<'_>, at: usize) -> usize {
    // One more than may separate, so that four are seen to be too many.
    view.bytes().get(at..).unwrap_or_default().iter().take(4).take_while(|byte| is_separator(**byte)).count()
}

fn is_separator(byte: u8) -> bool {
    matches!(byte, b' ' | b'-' | b'.' | b'/' | b'_')
}

/// Whether a digit and one to three separators stand before `start`.
fn digit_and_separator(view: &View<'_>, start: usize) -> bool {
    let mut at = start;
    while start - at < 3 && is_separator(view.before(at)) {
        at -= 1;
    }
    at < start && view.before(at).is_ascii_digit()
}

/// First six digits from and to, and the lengths in use.
const ISSUERS: &[(u32, u32, &[usize])] = &[
    (400_000, 499_999, &[13, 16, 19]),                 // Visa
    (510_000, 559_999, &[16]),                         // Mastercard
    (222_100, 272_099, &[16]),                         // Mastercard
    (340_000, 349_999, &[15]),                         // American Express
    (370_000, 379_999, &[15]),                         // American Express
    (300_000, 305_999, &[14, 16]),                     // Diners Club
    (309_500, 309_599, &[14, 16]),                     // Diners Club
    (360_000, 369_999, &[14, 16]),                     // Diners Club
    (380_000, 399_999, &[14, 16]),                     // Diners Club
    (352_800, 358_999, &[16, 17, 18, 19]),             // JCB
    (601_100, 601_199, &[16, 17, 18, 19]),             // Discover
    (644_000, 659_999, &[16, 17, 18, 19]),             // Discover, RuPay
    (620_000, 629_999, &[16, 17, 18, 19]),             // UnionPay
    (810_000, 817_199, &[16, 17, 18, 19]),             // UnionPay
    (220_000, 220_499, &[16, 17, 18, 19]),             // Mir
    (501_800, 501_899, &[13, 14, 15, 16, 17, 18, 19]), // Maestro
    (502_000, 502_099, &[13, 14, 15, 16, 17, 18, 19]), // Maestro
    (503_800, 503_899, &[13, 14, 15, 16, 17, 18, 19]), // Maestro
    (506_099, 508_999, &[16, 19]),                     // Verve, RuPay
    (561_000, 561_099, &[16]),                         // Bankcard
    (589_300, 589_399, &[13, 14, 15, 16, 17, 18, 19]), // Maestro
    (606_985, 608_500, &[16]),                         // RuPay, Hipercard
    (630_400, 630_499, &[13, 14, 15, 16, 17, 18, 19]), // Maestro
    (636_368, 636_369, &[16]),                         // Elo
    (637_000, 639_999, &[16]),                         // InstaPayment
    (675_900, 676_399, &[13, 14, 15, 16, 17, 18, 19]), // Maestro
];

fn issued(number: &[u8]) -> bool {
    let Some(first) = number.get(..6) else { return false };
    let first = first.iter().fold(0, |value, digit| value * 10 + u32::from(*digit));
    ISSUERS
        .iter()
        .any(|(from, to, lengths)| (*from..=*to).contains(&first) && lengths.contains(&number.len()))
}

fn luhn(number: &[u8]) -> bool {
    let weigh = |(index, digit): (usize, &u8)| {
        let doubled = u32::from(*digit) << (index % 2);
        if doubled > 9 { doubled - 9 } else { doubled }
    };
    number.iter().rev().enumerate().map(weigh).sum::<u32>() % 10 == 0
}

#[cfg(test)]
#[allow(clippy::string_slice, clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::super::vectors::{check, marked};

    #[test]
    fn numbers_of_every_issuer_are_found() {
        // The test numbers that issuers and payment processors publish.
        marked(
            "credit_card",
            &[
                "<4111111111111111>",
                "<4012888888881881>",
                "<4222222222222>",
                "<5555555555554444>",
                "<5105105105105100>",
                "<2223003122003222>",
                "<378282246310005>",
                "<371449635398431>",
                "<30569309025904>",
                "<38520000023237>",
                "<3056930009020004>",
                "<6011111111111117>",
                "<6011000990139424>",
                "<3530111333300000>",
                "<6200000000000005>",
                "<6759649826438453>",
                "<4917300800000000>",
                "<2200000000000004>",
                "<6205500000000000004>",
            ],
        );
    }

    #[test]
    fn groups_and_neighbours_do_not_hide_a_number() {
        marked(
            "credit_card",
            &[
                "card: <4111 1111 1111 1111>, exp 12/29",
                "<4012888888881881> <4012-8888-8888-1881> <4012 8888 8888 1881>",
                "<3782 822463 10005> <3056 930902 5904>",
                "<4111 1111 1111 1111> 123",
                "12 <4111 1111 1111 1111>",
                "<4111.1111.1111.1111>",
                "<4111 - 1111 - 1111 - 1111>",
                "<4111_1111_1111_1111>",
                "<4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1>",
                "<41111 111111 11111>",
                "<41-11-11-11-11-11-11-11>",
                "\"<4111111111111111>\",x<4111111111111111>y",
                "卡号<4111111111111111>。",
                "<４１１１１１１１１１１１１１１１>",
                "<4111\u{a0}1111\u{a0}1111\u{a0}1111>",
                "<4111\u{2011}1111\u{2011}1111\u{2011}1111>",
                "<41\u{200b}1111\u{ad}1111111111>\u{200b}",
                "<٤١١١١١١١١١١١١١١١>",
                "<4111 1111 1111 1111>\n<5555 5555 5555 4444>",
            ],
        );
    }

    #[test]
    fn other_numbers_are_left_alone() {
        marked(
            "credit_card",
            &[
                "4012-8888-8888-1882",
                "36168002586008",
                "1234567890123456",
                "0000000000000000",
                "4111111111111112",
                "41111111111111111111111",
                "0.4111111111111111",
                "3,4111111111111111",
                "+4222222222222",
                "1699999999999999999",
                "9 4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
                "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 9",
                "4111 1111-1111 1111",
                "4111    1111    1111    1111",
                "4111\n1111\n1111\n1111",
                "2024-01-15 10:20:30",
                "192.168.100.100",
                "",
                "5 5 5 5 5 5 5 5 5 5 5 5 5 5 5 5 5 5 5 5 5 5 5 5 5 5 5 5 5 5 5 5 5 5 5 5 5 5 5 5",
            ],
        );
    }

    #[test]
    fn a_number_stretched_over_the_bound_is_no_number() {
        let stretched = |hidden: &str| "4111111111111111".split("").collect::<Vec<_>>().join(hidden);
        let text = stretched("\u{200b}\u{200b}\u{200b}");
        check("credit_card", &format!("x {text} y"), &[text.trim_matches('\u{200b}')]);
        let text = stretched("\u{200b}\u{200b}\u{200b}\u{200b}");
        check("credit_card", &format!("x {text} y"), &[]);
    }
}
