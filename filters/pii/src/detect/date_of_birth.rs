//! Dates of birth: dates in figures, or with the month's name, near words that say so.

use super::ask::{Ask, Word};
use super::check::{day_of_month, same};
use super::context::{Context, Near, Said};
use super::{Detector, Match, Scan, Verdict};
use crate::class::DIGIT;

/// Bytes of a date.
const LONGEST: usize = 96;
/// Bytes after it that may decide about it.
const AFTER: usize = 96;

pub(super) const DETECTOR: Detector = Detector {
    id: "date_of_birth",
    mask: "[DATE_OF_BIRTH]",
    longest: LONGEST,
    context: &[
        "born",
        "birth",
        "dob",
        "d.o.b",
        "bday",
        "geboren",
        "geburt",
        "nacido",
        "nacimiento",
        "naissance",
        "nato il",
    ],
    scan: Scan::Word(Ask { longest: 9, opens: MONTHS, near: true, ..Ask::new(at) }),
};

/// First letters of months in English.
const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

/// A part of a date.
enum Part {
    Number(u32, usize),
    Month,
}

fn at(context: &mut Context<'_>, word: Word, detector: u8) -> Verdict {
    let (view, start) = (context.view, word.start);
    // Words before are there, whatever comes.
    if context.said(detector, Near::Before(48), start, start) != Said::Yes {
        return Verdict::No;
    }
    if word.end - start > 9 || !view.at(start).is_ascii_digit() && word.kind & DIGIT != 0 {
        return Verdict::No;
    }
    let length = view.bytes().len();
    let holds = !context.last && view.left(start) <= LONGEST + AFTER;
    let cut = || if holds { Verdict::Cut(start) } else { Verdict::No };
    if view.before(start) != b' ' && start > 0 && start >= 2 && view.at(start - 2).is_ascii_digit() {
        return Verdict::No;
    }
    let mut parts = [const { Part::Month }; 3];
    let (mut at, mut end) = (start, word.end);
    for index in 0..3 {
        let text = view.bytes().get(at..end).unwrap_or_default();
        if end == length && !context.last && text.len() <= 9 {
            return cut();
        }
        let Some(read) = part(text) else { return Verdict::No };
        if let Some(slot) = parts.get_mut(index) {
            *slot = read;
        }
        if index == 2 {
            break;
        }
        // One sign, or a comma or full stop and a space.
        let next = match (view.at(end), view.at(end + 1)) {
            (b',' | b'.', b' ') => end + 2,
            (b'-' | b'/' | b'.' | b' ' | b',', _) => end + 1,
            _ if end == length => return cut(),
            _ => return Verdict::No,
        };
        if next >= length && !context.last {
            return cut();
        }
        at = next;
        end = view.word_end(at);
    }
    let fits = view.fits(start, end, LONGEST);
    let date = match parts {
        [Part::Number(year, 4), Part::Number(month, _), Part::Number(day, 1..=2)] => {
            year > 1800 && day_of_month(day, month)
        }
        [Part::Number(a, 1..=2), Part::Number(b, 1..=2), Part::Number(year, 2 | 4)] => {
            (year < 100 || (1800..2100).contains(&year)) && (day_of_month(a, b) || day_of_month(b, a))
        }
        [Part::Month, Part::Number(day, 1..=2), Part::Number(year, 2 | 4)]
        | [Part::Number(day, 1..=2), Part::Month, Part::Number(year, 2 | 4)] => {
            day_of_month(day, 1) && (year < 100 || (1800..2100).contains(&year))
        }
        _ => false,
    };
    if !date || !fits || (view.at(end) == b'-' && view.at(end + 1).is_ascii_digit()) {
        return Verdict::No;
    }
    if view.at(end) == b'-' && end + 1 == length && holds {
        return Verdict::Cut(start);
    }
    Verdict::Yes(Match::new(start, end))
}

fn part(text: &[u8]) -> Option<Part> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    // `3rd` is three.
    let ordinal = matches!(text.get(digits..), Some([b's' | b'n' | b'r' | b't', b't' | b'd' | b'h']));
    if (1..=4).contains(&digits) && (digits == text.len() || (ordinal && digits < 3)) {
        let value = super::check::part(text, 0, digits);
        return Some(Part::Number(value, digits));
    }
    let head = text.get(..3)?;
    let month = |month: &&str| same(head, month.as_bytes());
    (text.len() <= 9 && MONTHS.iter().any(month)).then_some(Part::Month)
}

#[cfg(test)]
mod tests {
    use super::super::vectors::marked;

    #[test]
    fn dates_are_found_near_words() {
        marked(
            "date_of_birth",
            &[
                "She was born on <12/27/1986>. Her",
                "DOB: <1986-12-27>, date of birth is <3/31/82>",
                "born <March 3, 1980> or <3rd March 1980> or <3 Mar. 1980>",
                "geboren am <27.12.1986>.",
                "12/27/1986 born in 1986, born 13/27/1986 birth 1986-12",
                "born 12/27/19861",
                "May 3, 1980 was sunny",
            ],
        );
    }
}
