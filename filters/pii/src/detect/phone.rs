//! Telephone numbers. Written in a way that nothing else is (E.164 with its plus, an area code in parentheses,
//! the American 3-3-4, a national number with its leading zero in groups) they are found anywhere; other
//! groups of digits, and bare ones, only near words that say so. Dates, addresses of hosts and social security
//! numbers are told by their groups. An extension belongs to the number.

mod national;

use national::national;

use super::ask::{Ask, Beside, Pair, WITH_DIGIT, Word};
use super::check::{part, same, varied};
use super::context::{Context, Near, Said};
use super::series::Numbers;
use super::{Detector, Match, Scan, Verdict};
use crate::view::View;

/// Bytes of a number: its digits, separators and extension, at their widest.
const LONGEST: usize = 160;
/// Bytes after it that may decide about it.
const AFTER: usize = 320;
/// Digits, an exit code included.
const DIGITS: usize = 17;
/// Digits of the shortest number in one group.
const LEAST: usize = 7;
/// Digits of the shortest number in groups, and of the shortest with a form of its own, which has a sign before it: without
/// one it has one more, with an exit code three.
const WEAK: u32 = 6;
const FORM: u32 = 8;
/// Digits of an extension.
const EXTENSION: usize = 6;

pub(super) const DETECTOR: Detector = Detector {
    id: "phone",
    mask: "[PHONE]",
    longest: LONGEST,
    context: &[
        "phone",
        "tel",
        "mobile",
        "cell",
        "fax",
        "call",
        "dial",
        "whatsapp",
        "sms",
        "hotline",
        "reach me",
        "reach us",
        "reach you",
        "reach him",
        "reach her",
        "contact",
        "answering at",
        "handy",
        "desk:",
        "office",
        "home:",
        "work:",
        "landline",
        "voicemail",
        "pager",
        "text me",
        "text him",
        "text her",
        "ring me",
        "cep no",
    ],
    scan: Scan::Word(Ask {
        kinds: WITH_DIGIT,
        lone: false,
        number: true,
        pairs: Some(forms),
        before: Beside::Not(b"$*_#"),
        ..Ask::new(at)
    }),
};

/// How sure a form is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    None,
    /// Needs words around.
    Weak,
    Strong,
}

/// Groups of digits.
#[derive(Default)]
struct Number {
    /// The first eight, the first one lowest.
    digits: u64,
    /// How many there are.
    count: usize,
    /// Lengths of the groups, four bits each, the last in the lowest.
    groups: u64,
    /// Length of the first group.
    lead: usize,
    plus: bool,
    /// Begins with a year and its sign, as ISO 8601 has it: `+9999-12-31`.
    dated: bool,
    /// The first group is in parentheses.
    area: bool,
    /// No other group may be in parentheses.
    parenthesis: bool,
    /// Every separator is a space; a hyphen; a dot.
    spaces: bool,
    dashes: bool,
    dots: bool,
}

fn at(context: &mut Context<'_>, word: Word, detector: u8) -> Verdict {
    let (view, start) = (context.view, word.start);
    let end = view.digits_end(start);
    if end == start {
        return Verdict::No;
    }
    let Some(numbers) = context.series(start, end) else { return number(context, word, detector) };
    // Most are too few; and where no words stand around, only some begin one that has a form of its own.
    let digits = numbers.digits();
    if digits < WEAK {
        return Verdict::No;
    }
    if context.lacks(detector, start) {
        let before = view.before(start);
        let signed = match before {
            b'+' => true,
            // An area code.
            b'(' => (2..=5).contains(&numbers.first()) || view.before(start - 1) == b'+',
            _ => false,
        };
        // Only one group is in parentheses.
        let opens =
            || before == b'(' && end - start < LEAST && view.at(end) == b' ' && view.at(end + 1) == b'(';
        if digits < FORM
            || !signed && !formed(view.bytes().get(start..).unwrap_or_default(), numbers)
            || opens()
        {
            return Verdict::No;
        }
        let row = start.checked_sub(2).is_some_and(|far| view.at(far).is_ascii_digit());
        if !matches!(before, b'=' | b'(' | b'+')
            && (before == b' ' || !row)
            && let Some(end) = national(view, start, numbers, row)
        {
            return end.map_or(Verdict::No, |end| Verdict::Yes(Match::new(start, end)));
        }
    }
    number(context, word, detector)
}

/// Whether a number may begin so that has a form of its own without a sign: with an exit code, the zero of an area code, or
/// groups as they are written in America.
fn forms(Pair { lead, first, second }: Pair) -> bool {
    lead == 0 && first > 1 || first <= 3 && second == 3
}

/// The same of the text that it begins.
fn formed(text: &[u8], numbers: Numbers) -> bool {
    let first = numbers.first();
    let (behind, far) = numbers.behind();
    let american = || {
        let (third, _) = behind.behind();
        let length = third.first();
        if first == 3 { length == 4 } else { length == 3 && third.behind().0.first() == 4 }
    };
    if first <= 3 && behind.first() == 3 && american() {
        return true;
    }
    let third = if first > 2 { 2 } else { 2 + far as usize };
    match text {
        // No exit code has a third zero, no area code two.
        [b'0', b'0', ..] => first > 1 && text.get(third) != Some(&b'0'),
        [b'0', ..] => first > 1,
        _ => false,
    }
}

#[inline(never)]
fn number(context: &mut Context<'_>, word: Word, detector: u8) -> Verdict {
    let view = context.view;
    let mut number = Number { spaces: true, dashes: true, dots: true, ..Number::default() };
    let mut start = word.start;
    for _ in 0..2 {
        match view.before(start) {
            b'(' if !number.area => number.area = true,
            b'+' if !number.plus => number.plus = true,
            _ => break,
        }
        start -= 1;
    }
    let (near, far) = (view.before(start), start.checked_sub(2).map_or(0, |at| view.at(at)));
    let row = far.is_ascii_digit() && matches!(near, b' ' | b'-' | b'.' | b'/' | b')' | b',' | b':');
    let joined = near.is_ascii_alphanumeric()
        || (row && near != b' ')
        || matches!(near, b'$' | b'=' | b'*' | b'_' | b'#');
    if joined && !(near == b'=' && far.is_ascii_alphabetic()) {
        return Verdict::No;
    }
    let holds = !context.last && view.left(start) <= LONGEST + AFTER;
    let length = view.bytes().len();
    // Where no words stand around only a form of its own makes it one.
    let lacks = context.lacks(detector, start);
    number.parenthesis = number.area;
    let signed = number.plus || number.area;
    // Digits of the shortest that may be found here.
    let least = match lacks {
        false => WEAK,
        true if signed => FORM,
        true if view.at(word.start) == b'0' && view.at(word.start + 1) == b'0' => FORM + 3,
        true => FORM + 1,
    };
    let (mut best, mut strong) = (None, false);
    let found = |best: Option<(usize, usize)>| {
        best.map_or(Verdict::No, |(start, end)| Verdict::Yes(Match::new(start, end)))
    };
    let read = |at: usize| context.marks.at(at).0;
    let mut at = word.start;
    // Of 64 characters from `from` on those that are digits.
    let (mut from, mut digits) = (at, read(at));
    loop {
        // So many tell a group and how far the next one is.
        if at - from > 64 - (DIGITS + 5) {
            (from, digits) = (at, read(at));
        }
        let here = digits >> ((at - from) & 63);
        let end = at + here.trailing_ones() as usize;
        let far = here.unbounded_shr(here.trailing_ones()).trailing_zeros();
        let group = view.bytes().get(at..end).unwrap_or_default();
        if number.count + group.len() > DIGITS {
            return found(best);
        }
        number.add(group);
        if end == length && !context.last {
            return if holds { Verdict::Cut(start) } else { found(best) };
        }
        let (few, ending) = (number.count < least as usize, end + 4 >= length);
        // Behind another number only what has a form of its own is one. What has few digits was told by how it begins.
        if (ending || !few || !lacks)
            && (row && !number.plus && !number.open() || lacks && !number.strong_may())
        {
            return found(best);
        }
        let between = if far > 3 && !ending { 0 } else { separators(view, end) };
        let next = end + between;
        if ending && !context.last {
            let sign = end + 1 == length && matches!(view.at(end), b',' | b':');
            if next == length && between <= 3 || sign {
                return if holds { Verdict::Cut(start) } else { found(best) };
            }
        }
        let signs = view.bytes().get(end..next).unwrap_or_default();
        // Only one group is in parentheses, and none behind an area code's zero.
        let opens = signs.contains(&b'(');
        number.parenthesis |= number.nth(0) == b'0' && !number.zeros(2);
        let goes_on =
            matches!(between, 1..=3) && view.at(next).is_ascii_digit() && !(opens && number.parenthesis);
        number.parenthesis |= opens;
        // Most numbers are too short for any form.
        if !goes_on && number.groups < 16 && number.count < LEAST {
            return Verdict::No;
        }
        if number.plus && number.dashes {
            number.dated |= number.groups >> 8 > 3 && number.groups < 0x1000 && number.groups & 0xff == 0x22;
        }
        let form = if few { Form::None } else { number.form(row, group) };
        let apart = form == Form::Strong && !number.plus || number.dashed();
        // What is a number by its form does not grow by a guess.
        let better = form == Form::Strong || form == Form::Weak && !strong && !lacks;
        if better && ends(view, end, goes_on, apart) && view.fits(start, end, LONGEST) {
            // A parenthesis that is not closed inside belongs to the sentence.
            let from = if number.area && number.groups < 16 { word.start } else { start };
            let near = if form == Form::Strong { Near::Free } else { Near::Around };
            // Behind it stands a digit, or maybe one.
            let with = if goes_on { Some(end) } else { extension(view, end, context.last) };
            match (context.said(detector, near, start, end), with) {
                (Said::No, _) => {}
                (Said::Yes, Some(end)) => {
                    best = Some((from, end));
                    strong = form == Form::Strong;
                }
                (Said::Cut, _) | (_, None) if holds => return Verdict::Cut(start),
                (Said::Cut, _) | (_, None) => {}
            }
        }
        if !goes_on {
            return found(best);
        }
        number.pass(if between == 1 { view.at(end) } else { 0 });
        at = next;
    }
}

/// How many characters may stand between two groups: one more than may, so that four are seen to be too many.
fn separators(view: &View<'_>, from: usize) -> usize {
    if view.at(from) == b'.' && view.at(from + 1) == b' ' {
        // A sentence ended.
        return 0;
    }
    let between = |at: &usize| matches!(view.at(from + at), b' ' | b'-' | b'.' | b'/' | b'(' | b')');
    (0..4).take_while(between).count()
}

/// Whether a number may end at `end`; `apart` where another one after a space is another one.
fn ends(view: &View<'_>, end: usize, goes_on: bool, apart: bool) -> bool {
    if goes_on {
        return apart && matches!(view.at(end), b' ' | b'/');
    }
    let near = view.at(end);
    let joined = near.is_ascii_alphabetic() && !near.eq_ignore_ascii_case(&b'x');
    let other = matches!(near, b'%' | b'@' | b'_' | b'=' | b'*')
        || (matches!(near, b':' | b',') && view.at(end + 1).is_ascii_digit() && !apart);
    !joined && !other
}

/// Where the number ends with its extension; none when the text ended too early to know.
fn extension(view: &View<'_>, end: usize, last: bool) -> Option<usize> {
    let bytes = view.bytes();
    let rest = bytes.get(end..).unwrap_or_default();
    let rest = rest.get(..16).unwrap_or(rest);
    let mut at = rest.iter().take(2).take_while(|byte| matches!(**byte, b' ' | b',')).count();
    if rest.get(at).is_some_and(|first| !matches!(first | 0x20, b'e' | b'x')) {
        return Some(end);
    }
    let words: [&[u8]; 3] = [b"extension", b"ext", b"x"];
    for word in words {
        let Some(after) = rest.get(at..) else { break };
        let here = after.get(..word.len()).unwrap_or(after);
        let may = word.get(..here.len()).is_some_and(|begin| same(begin, here));
        let same = same(here, word);
        if !same && may && end + at + here.len() == bytes.len() && !last {
            return None;
        }
        if same {
            at += word.len();
            let after = rest.get(at..).unwrap_or_default();
            at += after.iter().take(2).take_while(|byte| matches!(**byte, b' ' | b'.' | b':')).count();
            let from = end + at;
            let to = view.digits_end(from);
            if to == bytes.len() && to - from <= EXTENSION && !last {
                return None;
            }
            return Some(if to > from && to - from <= EXTENSION { to } else { end });
        }
    }
    Some(end)
}

impl Number {
    /// Reads the next group.
    #[inline(always)]
    fn add(&mut self, group: &[u8]) {
        // So few that copying them is dearer by a call.
        let mut place = self.count as u32 * 8;
        for digit in group {
            if place >= u64::BITS {
                break;
            }
            self.digits |= u64::from(*digit) << place;
            place += 8;
        }
        self.count += group.len();
        self.groups = self.groups << 4 | group.len().min(15) as u64;
        if self.lead == 0 {
            self.lead = group.len();
        }
    }

    /// Passes what separates it from the next group: a sign, or 0 for several.
    fn pass(&mut self, sign: u8) {
        self.spaces &= sign == b' ';
        self.dashes &= sign == b'-';
        self.dots &= sign == b'.';
    }

    /// The digit at a place, of the first eight.
    fn nth(&self, place: u32) -> u8 {
        self.digits.unbounded_shr(place * 8) as u8
    }

    /// Begins with an exit code.
    fn exit(&self) -> bool {
        self.lead > 1 && self.zeros(2) && matches!(self.nth(2), b'1'..=b'9')
    }

    /// Whether the first digits are zeros.
    fn zeros(&self, most: u32) -> bool {
        self.digits << (64 - most * 8) == 0x3030_3030_3030_3030 << (64 - most * 8)
    }

    /// Whether it has so many digits that it may be a national number, with such a first group.
    fn fits(&self, most: usize) -> bool {
        self.count <= most && (2..=5).contains(&self.lead)
    }

    /// Whether it may be, or become, a number with a form of its own, without a plus.
    fn open(&self) -> bool {
        let national = match self.nth(0) {
            b'0' if self.zeros(3) => 0,
            b'0' if self.zeros(2) => DIGITS,
            b'0' => 11,
            _ if self.area => 12,
            _ => 0,
        };
        self.fits(national) || matches!(self.groups, 3 | 0x33 | 0x334 | 1 | 0x13 | 0x133 | 0x1334)
    }

    /// Whether it has, or may yet have, a form that nothing else has.
    fn strong_may(&self) -> bool {
        let zero = self.nth(0) == b'0';
        let national = if self.area { 12 } else { 11 };
        self.plus
            || (self.area || zero) && self.fits(national)
            || zero && self.lead > 1 && self.zeros(2)
            || matches!(self.groups, 1 | 2 | 3 | 0x13 | 0x23 | 0x33 | 0x133 | 0x233 | 0x334 | 0x1334 | 0x2334)
    }

    fn dashed(&self) -> bool {
        !self.spaces && self.groups > 15
    }

    /// What kind of a number this is, of which `last` is the last group; `row` where another one stands right before.
    fn form(&self, row: bool, last: &[u8]) -> Form {
        let first = self.nth(0);
        let single = self.groups < 16;
        let lead = |from| !matches!(self.nth(from), b'0' | b'1');
        if self.plus {
            if self.dated {
                return Form::None;
            }
            let fits = if first == b'1' { self.count == 11 } else { (8..=15).contains(&self.count) };
            return if fits && first != b'0' { Form::Strong } else { Form::None };
        }
        let american = match self.groups {
            0x334 => Some(0),
            0x1334 if first == b'1' => Some(1),
            0x2334 if self.dashes => Some(2),
            _ => None,
        };
        if let Some(from) = american {
            return if lead(from) && lead(from + 3) && (!self.spaces || from == 1) {
                Form::Strong
            } else {
                Form::Weak.unless(row)
            };
        }
        let second = self.groups >> 4 & 15;
        // Dates, times behind them, social security numbers, versions and addresses of hosts.
        let year = matches!(first, b'1' | b'2')
            && matches!(self.groups, 0x42 | 0x422 | 0x412 | 0x421 | 0x4222 | 0x42222 | 0x42_2222 | 0x4422);
        if year
            || matches!(self.groups, 0x224 | 0x124 | 0x214 | 0x114 | 0x324 | 0x2242 | 0x4444 | 0x465)
            || (self.dots && !single && self.groups < 0x10000 && self.groups & 0xccc0 == 0)
        {
            return Form::None;
        }
        if self.exit() && (11..=DIGITS).contains(&self.count) && !single {
            return Form::Strong;
        }
        let leading = self.lead;
        if self.area && !single && (2..=5).contains(&leading) && (8..=12).contains(&self.count) {
            return if self.groups & 15 >= 3 { Form::Strong } else { Form::Weak };
        }
        if first == b'0'
            && self.nth(1) != b'0'
            && !single
            && (9..=11).contains(&self.count)
            && (2..=5).contains(&leading)
        {
            let short = self.count == 9 && leading != 2;
            return if second >= 2 && self.groups & 15 >= 2 && !short { Form::Strong } else { Form::Weak };
        }
        if row {
            return Form::None;
        }
        // Powers of two are sizes, digits that are all the same fill a field.
        if single && (part(last, 0, last.len()).is_power_of_two() || !varied(last)) {
            return Form::None;
        }
        let least = if single { LEAST } else { WEAK as usize };
        if (least..=13).contains(&self.count) && (single || self.groups & 15 >= 2) && leading <= 13 {
            return Form::Weak;
        }
        Form::None
    }
}

impl Form {
    fn unless(self, not: bool) -> Self {
        if not { Self::None } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::super::vectors::marked;

    #[test]
    fn forms_that_nothing_else_has_are_found_anywhere() {
        marked(
            "phone",
            &[
                "<+14155550132>",
                "<+1 415 555 0132>, <+1-415-555-0132> <+1 (415) 555-0132>",
                "<+49 30 1234567> <+39 06 678 4343>; <+91 4155550132>",
                "<(415) 555-0132>, <(415)555-0132>. <415-555-0132>",
                "<415.555.0132> <415-555-0132>",
                "<1-800-555-0199>",
                "<+1 (415) 555-0132> <(415) 555-0133> <+44 (0)20 7946 0958> <(020 7946 0958>) (5, <01 23 45 67 89>(3)",
                "<978-249-9678x20779> <+1-944-435-4352x04732>",
                "<415-555-0132 ext. 12>; <415-555-0132 x7>, extra",
                "<001-420-335-7509x38548>",
                "<(96) 627-277> <(07) 5331 0577>",
                "<(07)  2955839661>; x",
                "<02.27.96.63.08> <079 7602 9803> <0910-5877671>-Office",
                "<090-1234-5678>, <09-7625400>, <0477 11 28 98>, <91-415-555-0132>",
                "room 12 <415-555-0132>",
                "+49 301120:1, +49 30121000358:1, <+49 301120>: x",
                "电话<+86 138 1234 5678>。",
                "<\u{ff0b}1 415 555 0132> <+1\u{2011}415\u{2011}555\u{2011}0132> <+1\u{a0}415\u{a0}555\u{a0}0132>",
                "tel:<+14155550132>;",
            ],
        );
    }

    #[test]
    fn other_groups_need_words_around() {
        marked(
            "phone",
            &[
                "call me at <781 5991>",
                "Mobile: <041-412-293>",
                "<61 51 81> office",
                "How can we reach you? You can call <73 448 266>",
                "my phone is <4155550132>.",
                "WhatsApp <13812345678>",
                "781 5991",
                "4155550132",
                "041-412-293",
                "20-32-85-26",
            ],
        );
    }

    #[test]
    fn other_numbers_are_left_alone() {
        marked(
            "phone",
            &[
                "call 2024-01-15 or 01/02/2024, 1.2.3.4, 192.168.100.100, 12:30:45",
                "phone: 078-05-1120",
                "call 12 people",
                "order 415-555-01323 x-415-555-0132-9",
                "phone $4155550132 =4155550132",
                "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18",
                "ISBN 0-306-40615-2 and 978-3-16-148410-0",
                "3+41555501321",
                "call 4111 1111 1111 1111",
                "2^31 = 2147483648, 1732012345678",
                "",
            ],
        );
    }
}
