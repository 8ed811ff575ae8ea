//! Check digits. Each function takes the characters of a value without separators.

/// How many digits a text has; one loop for all, since each would be some hundred bytes of code.
#[inline(never)]
pub(crate) fn digits_in(text: &[u8]) -> usize {
    text.iter().filter(|byte| byte.is_ascii_digit()).count()
}

/// Whether a text is this word in whichever case. Once for all: the standard library's is 100 bytes of code wherever it
/// is inlined, for blocks of sixteen that no word here has.
#[inline(never)]
pub(super) fn same(text: &[u8], word: &[u8]) -> bool {
    text.len() == word.len() && text.iter().zip(word).all(|(a, b)| a.eq_ignore_ascii_case(b))
}

/// Whether a text has no other characters than hexadecimal digits.
#[inline(never)]
pub(super) fn hexadecimal(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_hexdigit)
}

/// Whether this word stands right before `end`, in whichever case.
pub(super) fn ends(text: &[u8], end: usize, word: &[u8]) -> bool {
    let from = end.checked_sub(word.len());
    from.and_then(|from| text.get(from..end)).is_some_and(|here| same(here, word))
}

/// Digits as numbers; letters count from `A` as 10.
pub(super) fn number(byte: u8) -> u32 {
    match byte {
        b'0'..=b'9' => u32::from(byte - b'0'),
        _ => u32::from(byte.to_ascii_uppercase().wrapping_sub(b'A')) + 10,
    }
}

/// The sum of characters, each by its weight.
pub(super) fn weighed(text: &[u8], weights: &[u8]) -> u32 {
    text.iter().zip(weights).map(|(byte, weight)| number(*byte) * u32::from(*weight)).sum()
}

/// The character at a place, `0` where there is none.
pub(super) fn at(text: &[u8], index: usize) -> u8 {
    text.get(index).copied().unwrap_or(b'0')
}

/// The digits in `from..to` as one number.
pub(super) fn part(text: &[u8], from: usize, to: usize) -> u32 {
    text.get(from..to)
        .unwrap_or_default()
        .iter()
        .fold(0, |sum, byte| sum.wrapping_mul(10).wrapping_add(number(*byte)))
}

/// The remainder of a decimal number of any length, letters being two digits (ISO 7064).
pub(super) fn modulo(text: impl Iterator<Item = u8>, by: u32) -> u32 {
    let mut rest = Remainder::of(by);
    text.for_each(|byte| rest.add(byte));
    rest.value()
}

/// The same of one whose characters come one by one.
pub(super) struct Remainder {
    rest: u64,
    by: u64,
}

impl Remainder {
    pub(super) fn of(by: u32) -> Self {
        Self { rest: 0, by: u64::from(by) }
    }

    pub(super) fn add(&mut self, byte: u8) {
        // A division is dear, and few are needed.
        if self.rest > u64::MAX >> 8 {
            self.rest %= self.by;
        }
        let number = u64::from(number(byte));
        self.rest = self.rest * if number < 10 { 10 } else { 100 } + number;
    }

    pub(super) fn value(&self) -> u32 {
        (self.rest % self.by) as u32
    }
}

/// Luhn's formula (ISO/IEC 7812).
pub(super) fn luhn(text: &[u8]) -> bool {
    let weigh = |(index, byte): (usize, &u8)| {
        let doubled = number(*byte) << (index % 2);
        if doubled > 9 { doubled - 9 } else { doubled }
    };
    text.iter().rev().enumerate().map(weigh).sum::<u32>() % 10 == 0
}

/// Whether not all characters are the same: what people type to fill a field.
pub(super) fn varied(text: &[u8]) -> bool {
    text.iter().any(|byte| Some(byte) != text.first())
}

/// Whether some year has such a day.
pub(super) fn day_of_month(day: u32, month: u32) -> bool {
    let days = if month == 2 { 29 } else { 30 + (month + month / 8) % 2 };
    (1..=days).contains(&day) && (1..=12).contains(&month)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remainders_and_sums_are_right() {
        assert!(luhn(b"4111111111111111") && !luhn(b"4111111111111112"));
        // ISO 13616: the country and check digits go to the end.
        assert_eq!(modulo(b"WEST12345698765432GB82".iter().copied(), 97), 1);
        assert_eq!(weighed(b"1A", &[3, 2]), 23);
        assert_eq!((part(b"120345", 2, 5), at(b"7", 0), at(b"7", 1)), (34, b'7', b'0'));
        assert!(varied(b"112") && !varied(b"111"));
    }

    #[test]
    fn months_have_their_days() {
        let days = |month| (0..40).filter(|day| day_of_month(*day, month)).count();
        assert_eq!(
            (0..14).map(days).collect::<Vec<_>>(),
            [0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 0]
        );
    }
}
