//! Series of numbers: those that nothing separates but a few signs or spaces, of which cards, telephone numbers and the like
//! are written. How many digits there are tells who has to be asked. Not whether they are anything.

/// Digits that matter in a series: who asks wants no more.
pub(super) const NINE: u32 = 9;

/// Characters of a series behind which the rest of those that are seen of it does not tell enough: three numbers of any
/// value that is told by them.
const FAR: usize = 24;

/// What was told of a view: of 64 characters after the other, a bit for each.
#[derive(Default)]
pub(super) struct Marks(Vec<Known>);

/// Of 64 characters.
#[derive(Clone, Copy)]
pub(super) struct Known {
    /// Where to ask in any case.
    pub(super) sure: u64,
    /// What begins right behind a sign of assignment.
    pub(super) assigned: u64,
    /// The first letters of words.
    pub(super) words: u64,
    /// The first digits of numbers.
    pub(super) numbers: u64,
    /// All of them.
    pub(super) digits: u64,
    /// These, and what stands between the digits of some value.
    pub(super) inside: u64,
}

impl Marks {
    /// Of so many characters, none yet.
    pub(super) fn new(characters: usize) -> Self {
        Self(Vec::with_capacity(characters / 64 + 1))
    }

    /// Adds the next 64.
    #[inline(always)]
    pub(super) fn add(&mut self, known: Known) {
        self.0.push(known);
    }

    /// The 64 of a number.
    #[inline(always)]
    pub(super) fn block(&self, number: usize) -> Option<Known> {
        self.0.get(number).copied()
    }

    /// Of the 64 characters from `from` on those that are digits, and those inside of series. Behind the text's end all are the
    /// latter.
    pub(super) fn at(&self, from: usize) -> (u64, u64) {
        let (block, shift) = (from / 64, from as u32 % 64);
        let of = |block: usize| self.0.get(block).map_or((0, u64::MAX), |known| (known.digits, known.inside));
        let ((digits, inside), (more_digits, more_inside)) = (of(block), of(block + 1));
        let joined = |here: u64, next: u64| here >> shift | next << 1 << (63 - shift);
        (joined(digits, more_digits), joined(inside, more_inside))
    }
}

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
    use super::super::signs::Signs;
    use super::*;
    use crate::class::{BETWEEN_DIGITS, DIGIT, is};

    fn known(text: &[u8]) -> Known {
        let here = Signs::read(text);
        Known { sure: 0, assigned: 0, words: 0, numbers: 0, digits: here.digits, inside: here.inside() }
    }

    fn marks(text: &str) -> Marks {
        let mut marks = Marks::default();
        text.as_bytes().chunks(64).for_each(|here| marks.add(known(here)));
        marks
    }

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

    #[test]
    fn what_stands_between_numbers_is_the_same_everywhere() {
        for byte in 0..=u8::MAX {
            let mut marks = Marks::default();
            marks.add(known(&[byte; 64]));
            let (digits, inside) = marks.at(0);
            assert_eq!(digits != 0, is(byte, DIGIT), "{byte}");
            assert_eq!(inside != 0, is(byte, DIGIT | BETWEEN_DIGITS), "{byte}");
        }
    }

    #[test]
    fn characters_are_marked_wherever_a_block_ends() {
        let text = "ab12-(3) 4:5".repeat(17);
        let marks = marks(&text);
        for from in 0..text.len() + 200 {
            let is = |at: usize, of| text.as_bytes().get(from + at).map(|byte| is(*byte, of));
            let bits =
                |of, behind| (0..64).map(|at| u64::from(is(at, of).unwrap_or(behind)) << at).sum::<u64>();
            assert_eq!(marks.at(from), (bits(DIGIT, false), bits(DIGIT | BETWEEN_DIGITS, true)), "{from}");
        }
    }
}
