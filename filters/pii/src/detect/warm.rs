//! Reading tables before they are needed. Between two requests the processor's caches forget them, and a search would wait
//! for one part after the other, each behind a question that only the last one's answer leads to. Read in a row, all come in
//! the time of a few.

/// Characters of a text for which that is worth it.
pub(super) const WORTH: usize = 1024;

/// Reads each line of the processor's cache that a table has, of 64 bytes; what is read has to be used, so that it is not
/// left out.
#[inline(never)]
pub(super) fn warm<T: Copy + Into<u64>>(table: &[T]) -> u64 {
    let step = (64 / size_of::<T>()).max(1);
    table.iter().step_by(step).fold(0, |all, one| all ^ (*one).into())
}
