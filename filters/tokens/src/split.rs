//! Where a vocabulary's pre-tokenizer cuts a text into pieces. The published rules are regular
//! expressions; these scanners find the same cuts by hand in one pass, because a regex engine would be
//! most of the module's code. What each arm does is said in the terms of the rule it stands for.

use crate::classes::{self, LETTER, LOWER, NEWLINE, NUMBER, SPACE, SYMBOL, Scan, UPPER};

/// A pre-tokenizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rules {
    /// `o200k_base`, and the models that took its rule: gpt-oss, Llama 4.
    O200k,
    /// `cl100k_base`.
    Cl100k,
    /// `r50k_base`, `p50k_base`.
    Gpt2,
    /// `cl100k_base` but for white space at the text's end, which is cut behind its last line end: Llama 3.
    Llama3,
    /// As Llama 3, each digit by itself: Qwen 2, 2.5 and 3.
    Qwen2,
}

impl Rules {
    /// Every rule under the number that compiled tables know it by.
    pub const ALL: [Self; 5] = [Self::O200k, Self::Cl100k, Self::Gpt2, Self::Llama3, Self::Qwen2];

    /// White space is cut behind its last line end even where the text ends with it.
    pub fn cuts_last_blank(self) -> bool {
        matches!(self, Self::O200k | Self::Llama3 | Self::Qwen2)
    }
}

/// The end of the piece that begins at `at`; always beyond `at` while `at` is within the text.
#[inline]
pub fn piece(rules: Rules, scan: &mut Scan<'_>, at: usize) -> usize {
    match rules {
        Rules::O200k => o200k(scan, at),
        Rules::Gpt2 => gpt2(scan, at),
        Rules::Cl100k | Rules::Llama3 | Rules::Qwen2 => cl100k(scan, at, rules),
    }
}

/// The end of a piece that every rule cuts alike: a space or none, an ASCII letter, lower-case ASCII letters, sixteen
/// in all at most, with an ASCII character behind that is no letter and no apostrophe. 0 for any other; most pieces
/// of most texts are such ones.
#[inline]
pub fn common(text: &[u8], at: usize) -> usize {
    let Some(window) = text.get(at..).and_then(|rest| rest.first_chunk::<18>()) else { return 0 };
    let [first, ..] = window;
    let letters = usize::from(*first == b' ');
    let mut run = 0;
    for part in [letters, letters + 8] {
        let Some(bytes) = window.get(part..).and_then(|rest| rest.first_chunk::<8>()) else { return 0 };
        let word = u64::from_le_bytes(*bytes);
        let lower = if run == 0 { word | 0x20 } else { word };
        let here = classes::lower_case(lower);
        run += here;
        if here < 8 {
            let behind = (word >> (8 * here)) as u8;
            return if run > 0 && classes::ends_word(behind) { at + letters + run } else { 0 };
        }
    }
    0
}

fn o200k(scan: &mut Scan<'_>, at: usize) -> usize {
    let (class, length) = scan.class(at);
    if class & (UPPER | LOWER) != 0 {
        // A mark may also be the optional first character of the rule; the cut is the same.
        return cased_word(scan, at);
    }
    if class & NUMBER != 0 {
        return digits(scan, at + length);
    }
    let next = at + length;
    if class & NEWLINE == 0 && scan.class(next).0 & (UPPER | LOWER) != 0 {
        return cased_word(scan, next);
    }
    if let Some(end) = symbols(scan, at, class, next) {
        return scan_newlines(scan, end, true);
    }
    let blank = Blank::read(scan, at);
    match blank.after_newline {
        0 if blank.last_of_text => blank.end,
        0 => blank.without_last(),
        after_newline => after_newline,
    }
}

/// `[upper]*[lower]+` or else `[upper]+[lower]*`, and a contraction. Caseless letters and marks are in both
/// classes, so the first form may have to give back upper-case letters at its end.
fn cased_word(scan: &mut Scan<'_>, at: usize) -> usize {
    let (mut end, mut last_in_both) = (at, 0);
    loop {
        let (class, length) = scan.class(end);
        if class & UPPER == 0 {
            break;
        }
        end += length;
        if class & LOWER != 0 {
            last_in_both = end;
        }
    }
    let lower_end = scan.run(end, LOWER);
    if lower_end == end && last_in_both != 0 && last_in_both != end {
        return last_in_both;
    }
    lower_end + contraction(scan, lower_end, true)
}

fn cl100k(scan: &mut Scan<'_>, at: usize, rules: Rules) -> usize {
    let contracted = contraction(scan, at, true);
    if contracted != 0 {
        return at + contracted;
    }
    let (class, length) = scan.class(at);
    let next = at + length;
    if class & LETTER != 0 {
        return scan.run(next, LETTER);
    }
    if class & NUMBER != 0 {
        return if rules == Rules::Qwen2 { next } else { digits(scan, next) };
    }
    if class & NEWLINE == 0 {
        let word = scan.run(next, LETTER);
        if word != next {
            return word;
        }
    }
    if let Some(end) = symbols(scan, at, class, next) {
        return scan_newlines(scan, end, false);
    }
    let blank = Blank::read(scan, at);
    match blank.after_newline {
        after_newline if blank.last_of_text && (after_newline == 0 || rules == Rules::Cl100k) => blank.end,
        0 => blank.without_last(),
        after_newline => after_newline,
    }
}

fn gpt2(scan: &mut Scan<'_>, at: usize) -> usize {
    let contracted = contraction(scan, at, false);
    if contracted != 0 {
        return at + contracted;
    }
    let (mut class, length) = scan.class(at);
    let mut next = at + length;
    if scan.byte(at) == b' ' {
        let (after, length) = scan.class(next);
        if after & (LETTER | NUMBER | SYMBOL) != 0 {
            (class, next) = (after, next + length);
        }
    }
    for kind in [LETTER, NUMBER, SYMBOL] {
        if class & kind != 0 {
            return scan.run(next, kind);
        }
    }
    let blank = Blank::read(scan, at);
    if blank.last_of_text { blank.end } else { blank.without_last() }
}

/// `\p{N}{1,3}` after its first character.
fn digits(scan: &mut Scan<'_>, mut at: usize) -> usize {
    for _ in 0..2 {
        let (class, length) = scan.class(at);
        if class & NUMBER == 0 {
            break;
        }
        at += length;
    }
    at
}

/// ` ?[^\s\p{L}\p{N}]+` at a character of `class` that ends at `next`.
fn symbols(scan: &mut Scan<'_>, at: usize, class: u8, next: usize) -> Option<usize> {
    if class & SYMBOL != 0 {
        return Some(scan.run(next, SYMBOL));
    }
    if scan.byte(at) != b' ' {
        return None;
    }
    let end = scan.run(next, SYMBOL);
    (end != next).then_some(end)
}

/// `[\r\n]*`, or `[\r\n/]*` with `slash`.
fn scan_newlines(scan: &mut Scan<'_>, mut at: usize, slash: bool) -> usize {
    loop {
        match scan.byte(at) {
            b'\r' | b'\n' => at += 1,
            b'/' if slash => at += 1,
            _ => return at,
        }
    }
}

/// Length of a contraction at `at`, or 0. Under `(?i)` the long s is an s.
pub fn contraction(scan: &mut Scan<'_>, at: usize, any_case: bool) -> usize {
    if scan.byte(at) != b'\'' {
        return 0;
    }
    let fold = if any_case { 0x20 } else { 0 };
    // Setting the bit maps no other byte onto the letters named here but their capitals.
    match scan.byte(at + 1) | fold {
        b's' | b't' | b'm' | b'd' => 2,
        b'l' if scan.byte(at + 2) | fold == b'l' => 3,
        b'v' | b'r' if scan.byte(at + 2) | fold == b'e' => 3,
        _ if any_case && scan.byte(at + 1) == 0xC5 && scan.byte(at + 2) == 0xBF => 3,
        _ => 0,
    }
}

/// A run of white space.
struct Blank {
    start: usize,
    end: usize,
    /// Where its last character begins.
    last: usize,
    /// The end of its last line end; 0 without one.
    after_newline: usize,
    last_of_text: bool,
}

impl Blank {
    fn read(scan: &mut Scan<'_>, at: usize) -> Self {
        let mut blank = Self { start: at, end: at, last: at, after_newline: 0, last_of_text: false };
        loop {
            let (class, length) = scan.class(blank.end);
            if class & SPACE == 0 {
                // Only beyond the end is a character without length.
                blank.last_of_text = length == 0;
                return blank;
            }
            blank.last = blank.end;
            blank.end += length;
            if class & NEWLINE != 0 {
                blank.after_newline = blank.end;
            }
        }
    }

    /// `\s+(?!\S)` before a character that is no space, else the single space.
    fn without_last(&self) -> usize {
        if self.last == self.start { self.end } else { self.last }
    }
}
