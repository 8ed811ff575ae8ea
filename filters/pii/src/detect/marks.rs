//! What was told of a view before anybody is asked: by 64 characters, so that whoever asks about one of them later does not
//! read it again. Not how it is told.

/// What was told of a view: of 64 characters after the other, a bit for each. The first ones have no room of their own, since
/// there are texts, and many in a request, that have no more.
#[derive(Default)]
pub(super) struct Marks {
    first: Option<Known>,
    rest: Vec<Known>,
}

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
        Self { first: None, rest: Vec::with_capacity(characters / 64) }
    }

    /// Adds the next 64.
    #[inline(always)]
    pub(super) fn add(&mut self, known: Known) {
        match self.first {
            None => self.first = Some(known),
            Some(_) => self.rest.push(known),
        }
    }

    /// The 64 of a number.
    #[inline(always)]
    pub(super) fn block(&self, number: usize) -> Option<Known> {
        self.get(number).copied()
    }

    #[inline(always)]
    fn get(&self, number: usize) -> Option<&Known> {
        match number.checked_sub(1) {
            None => self.first.as_ref(),
            Some(number) => self.rest.get(number),
        }
    }

    /// Of the 64 characters from `from` on those that are digits, and those inside of series. Behind the text's end all are the
    /// latter.
    pub(super) fn at(&self, from: usize) -> (u64, u64) {
        let (block, shift) = (from / 64, from as u32 % 64);
        let of = |block: usize| self.get(block).map_or((0, u64::MAX), |known| (known.digits, known.inside));
        let ((digits, inside), (more_digits, more_inside)) = (of(block), of(block + 1));
        let joined = |here: u64, next: u64| here >> shift | next << 1 << (63 - shift);
        (joined(digits, more_digits), joined(inside, more_inside))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::signs::Signs;
    use super::*;
    use crate::class::{BETWEEN_DIGITS, DIGIT, is};

    fn known(text: &[u8]) -> Known {
        let here = Signs::read(text);
        Known { sure: 0, assigned: 0, words: 0, numbers: 0, digits: here.digits, inside: here.inside() }
    }

    pub(crate) fn marks(text: &str) -> Marks {
        let mut marks = Marks::default();
        text.as_bytes().chunks(64).for_each(|here| marks.add(known(here)));
        marks
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
