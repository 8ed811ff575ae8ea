//! What characters of a view are: the kinds that words, and what stands between numbers, consist of.

/// What words consist of, as a sum.
pub(crate) const DIGIT: u8 = 1;
pub(crate) const SMALL: u8 = 2;
pub(crate) const CAPITAL: u8 = 4;
/// Any of these.
pub(crate) const WORD: u8 = DIGIT | SMALL | CAPITAL;
/// Beside it; no part of the sum.
pub(crate) const HEXADECIMAL: u8 = 8;
/// Signs that stand between the digits of some value; one that may join a short number to something, too.
pub(crate) const BETWEEN_DIGITS: u8 = 16;
pub(crate) const JOINING: u8 = 32;
/// Signs of tokens; of those that Base64 and JWT have besides.
pub(crate) const TOKEN: u8 = 64;
pub(crate) const BASE64: u8 = 128;

/// What a character of a word is: a bit, so that a word's characters are the sum of them.
pub(crate) fn class(byte: u8) -> u8 {
    CLASSES.get(usize::from(byte)).copied().unwrap_or(0) & (WORD | HEXADECIMAL)
}

/// Whether it is of such classes.
pub(crate) fn is(byte: u8, of: u8) -> bool {
    CLASSES.get(usize::from(byte)).is_some_and(|class| class & of != 0)
}

/// How many characters from `from` on are of such classes, up to so many. Once for all, as each loop is much code where the
/// host unrolls it.
#[inline(never)]
pub(crate) fn run(bytes: &[u8], from: usize, most: usize, of: u8) -> usize {
    bytes.get(from..).unwrap_or_default().iter().take(most).take_while(|byte| is(**byte, of)).count()
}

static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::indexing_slicing, reason = "computed by the compiler")]
        {
            classes[byte] = match byte as u8 {
                b'0'..=b'9' => DIGIT | HEXADECIMAL,
                b'a'..=b'f' => SMALL | HEXADECIMAL,
                b'A'..=b'F' => CAPITAL | HEXADECIMAL,
                b'g'..=b'z' => SMALL,
                b'G'..=b'Z' => CAPITAL,
                b' ' | b'(' | b')' => BETWEEN_DIGITS,
                b'-' | b'_' => BETWEEN_DIGITS | TOKEN,
                b'.' | b'/' => BETWEEN_DIGITS | BASE64,
                b'+' | b'=' => BASE64,
                b':' => JOINING,
                _ => 0,
            };
        }
        byte += 1;
    }
    classes
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tail::Tail;

    #[test]
    fn tokens_go_on_with_what_they_consist_of() {
        for byte in 0..=u8::MAX {
            assert_eq!(is(byte, WORD | TOKEN | BASE64), Tail::Dotted.has(byte), "{byte}");
            assert!(!is(byte, WORD | TOKEN) || Tail::Token.has(byte), "{byte}");
        }
    }

    #[test]
    fn words_are_what_the_standard_library_says() {
        for byte in 0..=u8::MAX {
            assert_eq!(class(byte) & WORD != 0, byte.is_ascii_alphanumeric(), "{byte}");
            assert_eq!(is(byte, HEXADECIMAL), byte.is_ascii_hexdigit(), "{byte}");
        }
    }
}
