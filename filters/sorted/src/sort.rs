//! A stable merge sort whose code does not depend on the type that is sorted.

use std::cmp::Ordering;

/// Sorts so that `compare` holds between neighbours; what is equal keeps its order. At most n·log₂ n + n comparisons, fewer
/// where the items are nearly sorted, and n − 1 without any memory where they are.
pub fn sort_by<T>(items: &mut [T], compare: impl Fn(&T, &T) -> Ordering) {
    let Some(mut order) = order(items.len(), &Compared { items, compare }) else { return };
    // Each cycle of the permutation is walked once; a place that is done points to itself.
    for start in 0..items.len() {
        let mut at = start;
        while let Some(from) = order.get_mut(at).map(|next| std::mem::replace(next, at)) {
            if from == start || from == at {
                break;
            }
            items.swap(at, from);
            at = from;
        }
    }
}

/// A trait of one method makes the smallest table of functions.
trait Order {
    /// Whether one item belongs after another.
    fn after(&self, one: usize, other: usize) -> bool;
}

struct Compared<'i, T, F> {
    items: &'i [T],
    compare: F,
}

impl<T, F: Fn(&T, &T) -> Ordering> Order for Compared<'_, T, F> {
    fn after(&self, one: usize, other: usize) -> bool {
        match (self.items.get(one), self.items.get(other)) {
            (Some(one), Some(other)) => (self.compare)(one, other) == Ordering::Greater,
            _ => false,
        }
    }
}

/// The places of `len` items in sorted order; `None` where they are sorted already.
#[inline(never)]
fn order(len: usize, items: &dyn Order) -> Option<Vec<usize>> {
    (1..len).find(|&at| items.after(at - 1, at))?;
    let mut order: Vec<usize> = (0..len).collect();
    let mut merged = Vec::with_capacity(len);
    let mut width = 1;
    while width < len {
        merged.clear();
        for pair in order.chunks(2 * width) {
            let (mut left, mut right) = pair.split_at(width.min(pair.len()));
            // Most halves are in order where nearly all items are.
            if let ([.., a], [b, ..]) = (left, right)
                && !items.after(*a, *b)
            {
                merged.extend_from_slice(pair);
                continue;
            }
            while let ([a, rest_left @ ..], [b, rest_right @ ..]) = (left, right) {
                if items.after(*a, *b) {
                    merged.push(*b);
                    right = rest_right;
                } else {
                    merged.push(*a);
                    left = rest_left;
                }
            }
            merged.extend_from_slice(left);
            merged.extend_from_slice(right);
        }
        std::mem::swap(&mut order, &mut merged);
        width *= 2;
    }
    Some(order)
}
