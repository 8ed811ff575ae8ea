//! Short numbers that stand alone, told by what follows them: most that a text has. Not what the others are.

use super::signs::{Bits, Signs};

/// Digits of a short number.
pub(super) const SHORT: usize = 6;
/// Digits that no value is made of that needs no words around, but for what full stops or colons join.
const FEW: usize = 5;

/// Whether what follows a number of so many digits neither is another one, but for a few digits, nor could join it to
/// something. Behind a comma, or two signs, no value goes on with letters.
pub(super) fn lone(mut rest: &[u8], mut digits: usize) -> bool {
    let sign = |byte: &&u8| matches!(**byte, b' ' | b'-' | b'.' | b'/' | b':' | b'(' | b')' | b'_' | b'+');
    loop {
        let signs = rest.iter().take(4).take_while(sign).count();
        let next = |at: usize| rest.get(at).copied().unwrap_or(b'0');
        let alone = match signs {
            // What nothing separates is the same word.
            0 => return !next(0).is_ascii_alphanumeric(),
            1 if next(0) == b' ' => !next(1).is_ascii_digit(),
            1 => !next(1).is_ascii_alphanumeric(),
            2 | 3 if !rest.starts_with(b"::") => !next(signs).is_ascii_digit(),
            _ => return false,
        };
        if alone {
            return true;
        }
        let (between, after) = rest.split_at_checked(signs).unwrap_or_default();
        let more = after.iter().take(SHORT).take_while(|byte| byte.is_ascii_digit()).count();
        digits += more;
        if more == 0 || digits > FEW || between.iter().any(|byte| matches!(byte, b'.' | b':')) {
            return false;
        }
        rest = after.get(more..).unwrap_or_default();
    }
}

/// Which numbers something may go on, of those that begin here: all but the short ones behind which neither a number stands
/// nor what could join one. Few branches depend on what they are.
pub(super) fn joined(here: &Signs, next: &Signs, numbers: u64) -> u64 {
    if numbers == 0 {
        return 0;
    }
    let digits = here.digits;
    let ends = numbers.wrapping_add(digits) & !digits;
    let (one, two) = (
        |of: fn(&Signs) -> u64| of(here) >> 1 | of(next) << 63,
        |of: fn(&Signs) -> u64| of(here) >> 2 | of(next) << 62,
    );
    let joins = |signs: &Signs| signs.joins | signs.spaces;
    let words = |signs: &Signs| signs.letters | signs.digits;
    // Nothing that joins; one sign, and no word behind it, though one may stand behind a space; two, and no number.
    let (j0, j1, j2) = (joins(here), one(joins), two(joins));
    let beside = !j0 & !here.letters;
    let (digit, word) = (one(|signs| signs.digits), one(words));
    let single = j0 & !j1 & !(digit | word & !here.spaces);
    let double = j0 & j1 & !j2 & !two(|signs| signs.digits) & !(here.colons & one(|signs| signs.colons));
    let pairs = digits & digits << 1;
    let fours = pairs & pairs << 2;
    let long = (fours & fours << 3) << 1;
    let mut joined = 0;
    for end in Bits(ends & (long | !(beside | single | double))) {
        let before = !digits & (end - 1);
        joined |= 1u64.unbounded_shl(64 - before.leading_zeros());
    }
    // Nor is it known of one that the block cuts off.
    joined
        | if digits >> 63 != 0 { (1u64 << 63).checked_shr(numbers.leading_zeros()).unwrap_or(0) } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the numbers of a text begin that something may go on, by blocks.
    fn places(text: &[u8]) -> Vec<usize> {
        let mut out = Vec::new();
        let (mut before, (mut here, mut rest)) = (0, Signs::read(text));
        for base in (0..text.len()).step_by(64) {
            let next;
            (next, rest) = Signs::read(rest);
            let numbers = here.digits & !(here.digits << 1 | before);
            out.extend(Bits(joined(&here, &next, numbers)).map(|bit| base + bit.trailing_zeros() as usize));
            (before, here) = (here.digits >> 63, next);
        }
        out
    }

    #[test]
    fn a_number_that_stands_alone_in_its_block_is_a_lone_one() {
        const SIGNS: &[u8] = b"1a -.:*,";
        let mut alone = 0;
        for number in 0..SIGNS.len().pow(5) {
            let after: Vec<u8> = (0..5)
                .filter_map(|at| SIGNS.get(number / SIGNS.len().pow(at) % SIGNS.len()))
                .copied()
                .collect();
            for start in [0, 58, 59, 60, 61, 62, 63] {
                let mut text = vec![b'x'; start];
                if let Some(last) = text.last_mut() {
                    *last = b'(';
                }
                text.extend_from_slice(b"1");
                text.extend_from_slice(&after);
                let length = text.iter().skip(start).take_while(|byte| byte.is_ascii_digit()).count();
                let rest = text.get(start + length..).unwrap_or_default();
                if !places(&text).contains(&start) {
                    alone += 1;
                    assert!(length <= SHORT && lone(rest, length), "{:?}", String::from_utf8_lossy(&text));
                }
            }
        }
        assert!(alone > 50_000, "{alone}");
    }

    #[test]
    fn a_long_number_is_never_taken_for_a_short_one() {
        for start in 0..70 {
            for length in 1..20 {
                let text = format!("{}{} men went", " ".repeat(start), "7".repeat(length));
                let cut = start % 64 + length > 63;
                assert!(cut || places(text.as_bytes()).contains(&start) == (length > SHORT), "{text:?}");
                assert!(length <= SHORT || places(text.as_bytes()).contains(&start), "{text:?}");
            }
        }
    }

    #[test]
    fn behind_a_comma_or_two_signs_letters_are_of_something_else() {
        for after in [", so", ",5", ". The", " - b", " (a", " men", "!", "-", "- "] {
            assert!(lone(format!("{after} x").as_bytes(), 2), "{after}");
        }
        for after in ["::a", "-a", ".5", " 5678", "a", "", "-", "    5"] {
            assert!(!lone(after.as_bytes(), 2), "{after}");
        }
    }
}
