//! Short numbers that stand alone, told by what follows them: most that a text has. Not what the others are.

use super::signs::{Bits, Signs};
use crate::class::{BETWEEN_DIGITS, DIGIT, JOINING, class, run};

/// Digits of a short number; longer ones a plus may join to something, too.
pub(super) const SHORT: usize = 5;
/// Digits that no value is made of that needs no words around, but for what full stops or colons join.
const FEW: usize = 5;

/// Whether what follows a number of so many digits, which ends at `at`, neither is another one, but for a few digits, nor could
/// join it to something. Behind a comma, or two signs, no value goes on with letters.
pub(super) fn lone(bytes: &[u8], mut at: usize, mut digits: usize) -> bool {
    loop {
        let signs = run(bytes, at, 4, BETWEEN_DIGITS | JOINING);
        let next = |ahead: usize| bytes.get(at + ahead).copied().unwrap_or(b'0');
        let alone = match signs {
            // What nothing separates is the same word.
            0 => return class(next(0)) == 0,
            1 if next(0) == b' ' => class(next(1)) & DIGIT == 0,
            1 => class(next(1)) == 0,
            2 | 3 if (next(0), next(1)) != (b':', b':') => class(next(signs)) & DIGIT == 0,
            _ => return false,
        };
        if alone {
            return true;
        }
        let more = run(bytes, at + signs, SHORT, DIGIT);
        digits += more;
        let point = |ahead| matches!(next(ahead), b'.' | b':');
        if more == 0 || digits > FEW || point(0) || signs > 1 && (point(1) || signs > 2 && point(2)) {
            return false;
        }
        at += signs + more;
    }
}

/// Which numbers something may go on, of those that begin in a block: all but the short ones behind which neither a number
/// stands nor what could join one. Few branches depend on what they are.
pub(super) fn joined(here: &Signs, numbers: u64) -> u64 {
    if numbers == 0 {
        return 0;
    }
    let Signs { digits, letters, spaces, colons, .. } = *here;
    let ends = numbers.wrapping_add(digits) & !digits;
    let (joins, words) = (here.joins | spaces, letters | digits);
    // Nothing that joins; one sign, and no word behind it, though one may stand behind a space; two, and no number.
    let (j1, j2) = (joins >> 1, joins >> 2);
    let beside = !joins & !letters;
    let single = joins & !j1 & !(digits >> 1 | words >> 1 & !spaces);
    let double = joins & j1 & !j2 & !(digits >> 2) & !(colons & colons >> 1);
    let pairs = digits & digits << 1;
    let fours = pairs & pairs << 2;
    let long = (fours & fours << 2) << 1;
    // What follows the block is not seen here, nor a number's end that it cuts off.
    let cut = 3 << 62;
    let mut joined = 0;
    for end in Bits(ends & (long | cut | !(beside | single | double))) {
        let before = !digits & (end - 1);
        joined |= 1u64.unbounded_shl(64 - before.leading_zeros());
    }
    joined
        | if digits >> 63 != 0 { (1u64 << 63).checked_shr(numbers.leading_zeros()).unwrap_or(0) } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the numbers of a text begin that something may go on, by blocks.
    fn places(text: &[u8]) -> Vec<usize> {
        let mut out = Vec::new();
        let mut before = 0;
        for (block, bytes) in text.chunks(64).enumerate() {
            let here = Signs::read(bytes);
            let numbers = here.digits & !(here.digits << 1 | before);
            out.extend(Bits(joined(&here, numbers)).map(|bit| block * 64 + bit.trailing_zeros() as usize));
            before = here.digits >> 63;
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
                if !places(&text).contains(&start) {
                    alone += 1;
                    assert!(
                        length <= SHORT && lone(&text, start + length, length),
                        "{:?}",
                        String::from_utf8_lossy(&text)
                    );
                }
            }
        }
        assert!(alone > 40_000, "{alone}");
    }

    #[test]
    fn a_long_number_is_never_taken_for_a_short_one() {
        for start in 0..70 {
            for length in 1..20 {
                let text = format!("{}{} men went", " ".repeat(start), "7".repeat(length));
                let cut = start % 64 + length > 61;
                assert!(cut || places(text.as_bytes()).contains(&start) == (length > SHORT), "{text:?}");
                assert!(length <= SHORT || places(text.as_bytes()).contains(&start), "{text:?}");
            }
        }
    }

    #[test]
    fn behind_a_comma_or_two_signs_letters_are_of_something_else() {
        for after in [", so", ",5", ". The", " - b", " (a", " men", "!", "-", "- "] {
            assert!(lone(format!("{after} x").as_bytes(), 0, 2), "{after}");
        }
        for after in ["::a", "-a", ".5", " 5678", "a", "", "-", "    5"] {
            assert!(!lone(after.as_bytes(), 0, 2), "{after}");
        }
    }
}
