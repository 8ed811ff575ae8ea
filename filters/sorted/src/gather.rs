//! An iterator's items as a list, in less code than `collect`, which has each iterator twice: once for the first item and
//! the capacity that it promises, once for the others. And a list without some of its items, where `retain` has the
//! condition twice: until the first item that goes, and from there on.

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

/// Keeps the items that are wanted, in their order.
pub fn keep<T>(items: &mut Vec<T>, mut wanted: impl FnMut(&mut T) -> bool) {
    let mut kept = 0;
    for at in 0..items.len() {
        if items.get_mut(at).is_some_and(&mut wanted) {
            items.swap(kept, at);
            kept += 1;
        }
    }
    items.truncate(kept);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_is_kept_in_its_order() {
        for bits in 0u32..256 {
            let wanted = |n: &mut u32| bits >> *n & 1 == 1;
            let mut items: Vec<u32> = (0..8).gather();
            keep(&mut items, wanted);
            let mut expected: Vec<u32> = (0..8).collect();
            expected.retain_mut(wanted);
            assert_eq!(items, expected);
        }
    }
}
