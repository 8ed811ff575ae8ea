//! Series of numbers: those that nothing separates but a few signs or spaces, of which cards, telephone numbers and the like
//! are written. How many digits there are tells who has to be asked. Not whether they are anything.

use super::signs::series;
use crate::view::View;

/// Digits that matter in a series: who asks wants no more.
pub(super) const NINE: u32 = 9;

/// The beginning of a series: a number, and others behind up to three signs or spaces each.
#[derive(Clone, Copy, Default)]
pub(super) struct Series {
    start: usize,
    /// A bit for each digit among 64 characters.
    digits: u64,
    /// Where it ends among them.
    end: u32,
}

impl Series {
    /// The one that begins at a digit; none where the text goes on and nobody knows.
    #[inline(never)]
    pub(super) fn new(view: &View<'_>, start: usize, last: bool) -> Option<Self> {
        let (digits, inside) = series(view.bytes().get(start..).unwrap_or_default());
        let signs = inside & !digits;
        let ends = !inside | signs & signs >> 1 & signs >> 2 & signs >> 3;
        let end = ends.trailing_zeros();
        // Signs at a text's end may be too many once it goes on.
        let known = last || start + end as usize + 4 <= view.bytes().len();
        known.then_some(Self { start, digits: digits & !u64::MAX.unbounded_shl(end), end })
    }

    /// Digits of the number behind the one at `start`; 0 where none is.
    pub(super) fn second(&self, start: usize) -> u32 {
        let digits = self.digits.unbounded_shr(start.wrapping_sub(self.start) as u32);
        let behind = digits.unbounded_shr(digits.trailing_ones());
        behind.unbounded_shr(behind.trailing_zeros()).trailing_ones()
    }

    /// Digits from one of its numbers on; none if that is not known to be one of them, or to be followed by so many.
    pub(super) fn from(&self, start: usize) -> Option<u32> {
        let behind = start.checked_sub(self.start).filter(|behind| *behind < self.end as usize)?;
        let digits = (self.digits >> behind).count_ones();
        (self.end < u64::BITS || digits >= NINE).then_some(digits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::class::{BETWEEN_DIGITS, DIGIT, is};

    #[test]
    fn a_series_ends_behind_three_signs() {
        let read = |text: &str, last| Series::new(&View::new(text, &mut Vec::new()), 1, last);
        let digits = |text: &str| read(text, true).and_then(|series| series.from(1));
        assert_eq!(digits("x12 345-(6)/7._89"), Some(9));
        assert_eq!([digits("x1 - 2    3"), digits("x1, 2")], [Some(2), Some(1)]);
        assert_eq!([read("x1 2-", false).is_none(), read("x1 2, and", false).is_none()], [true, false]);
        let long = read(&format!("x{}", "1 ".repeat(40)), true);
        let from = |at| long.and_then(|series| series.from(at));
        assert_eq!(
            [from(0), from(1), from(3), from(47), from(49), from(65)],
            [None, Some(32), Some(31), Some(9), None, None]
        );
    }

    #[test]
    fn what_stands_between_numbers_is_the_same_everywhere() {
        for byte in 0..=u8::MAX {
            let (digits, inside) = series(&[byte; 64]);
            assert_eq!(digits != 0, is(byte, DIGIT), "{byte}");
            assert_eq!(inside != 0, is(byte, DIGIT | BETWEEN_DIGITS), "{byte}");
        }
    }
}
