//! An iterator's items as a list, in less code than `collect`, which has each iterator twice: once for the first item and
//! the capacity that it promises, once for the others.

/// What [`Gather::gather`] is a method of.
pub trait Gather: Iterator {
    /// The items, in a list that grows as they come: for lists that are short, or rarely made.
    fn gather(self) -> Vec<Self::Item>;
}

impl<I: Iterator> Gather for I {
    fn gather(self) -> Vec<I::Item> {
        let mut all = Vec::new();
        for item in self {
            all.push(item);
        }
        all
    }
}
