//! Series of numbers: those that nothing separates but a few signs or spaces, of which cards, telephone numbers and the like
//! are written. How many digits there are tells who has to be asked. Not whether they are anything.

use super::marks::Marks;

/// Digits that matter in a series: who asks wants no more.
pub(super) const NINE: u32 = 9;

/// Characters of a series behind which the rest of those that are seen of it does not tell enough: three numbers of any
/// value that is told by them.
const FAR: usize = 24;

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
    /// The one that begins at a digit of a text of such a length; none where the text goes on and nobody knows.
    pub(super) fn new(marks: &Marks, start: usize, length: usize, last: bool) -> Option<Self> {
        let (digits, inside) = marks.at(start);
        let signs = inside & !digits;
        let ends = !inside | signs & signs >> 1 & signs >> 2 & signs >> 3;
        let end = ends.trailing_zeros();
        // Signs at a text's end may be too many once it goes on.
        let known = last || start + end as usize + 4 <= length;
        known.then_some(Self { start, digits: digits & !u64::MAX.unbounded_shl(end), end })
    }

    /// What begins with one of its numbers; none if it is not known to be one of them, or what follows is not.
    #[inline(always)]
    pub(super) fn from(&self, start: usize) -> Option<Numbers> {
        let behind = start.checked_sub(self.start).filter(|behind| *behind < self.end as usize)?;
        let numbers = Numbers(self.digits >> behind);
        (self.end < u64::BITS || behind <= FAR).then_some(numbers)
    }
}

/// Numbers of a series, a bit for each digit.
#[derive(Clone, Copy)]
pub(super) struct Numbers(u64);

impl Numbers {
    /// One that nothing goes on with.
    pub(super) fn lone(digits: usize) -> Self {
        Self(!u64::MAX.unbounded_shl(digits as u32))
    }

    /// A bit for each digit.
    pub(super) fn bits(self) -> u64 {
        self.0
    }

    /// Digits of them all, as far as they matter.
    pub(super) fn digits(self) -> u32 {
        self.0.count_ones()
    }

    /// Digits of the first.
    pub(super) fn first(self) -> u32 {
        self.0.trailing_ones()
    }

    /// Those behind the first one, and how far behind its end they are.
    pub(super) fn behind(self) -> (Self, u32) {
        let behind = self.0.unbounded_shr(self.first());
        let far = behind.trailing_zeros();
        (Self(behind.unbounded_shr(far)), far)
    }
}

#[cfg(test)]
mod tests {
    use super::super::marks::tests::marks;
    use super::*;

    #[test]
    fn a_series_ends_behind_three_signs() {
        let read = |text: &str, last| Series::new(&marks(text), 1, text.len(), last);
        let digits = |text: &str| read(text, true).and_then(|series| series.from(1)).map(Numbers::digits);
        assert_eq!(digits("x12 345-(6)/7._89"), Some(9));
        assert_eq!([digits("x1 - 2    3"), digits("x1, 2")], [Some(2), Some(1)]);
        assert_eq!([read("x1 2-", false).is_none(), read("x1 2, and", false).is_none()], [true, false]);
        let long = read(&format!("x{}", "1 ".repeat(40)), true);
        let from = |at| long.and_then(|series| series.from(at)).map(Numbers::digits);
        assert_eq!(
            [from(0), from(1), from(3), from(1 + FAR), from(3 + FAR), from(65)],
            [None, Some(32), Some(31), Some(20), None, None]
        );
    }

    #[test]
    fn numbers_are_told_one_after_the_other() {
        let series = Series::new(&marks("x12 345-(6789).x"), 1, 16, true);
        let first = series.and_then(|series| series.from(1));
        let second = first.map(Numbers::behind);
        let third = second.map(|(numbers, _)| numbers.behind());
        assert_eq!(first.map(|numbers| (numbers.first(), numbers.digits())), Some((2, 9)));
        assert_eq!(second.map(|(numbers, far)| (numbers.first(), far)), Some((3, 1)));
        assert_eq!(third.map(|(numbers, far)| (numbers.first(), far)), Some((4, 2)));
        assert_eq!(third.map(|(numbers, _)| numbers.behind().0.first()), Some(0));
        let whole = Numbers::lone(64);
        assert_eq!((whole.first(), whole.behind().0.first(), whole.behind().0.digits()), (64, 0, 0));
    }
}
