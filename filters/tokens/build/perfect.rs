//! A perfect hash by displacement: keys fall into buckets, and each bucket stores the one number under
//! which all of its keys land in slots of their own. Crowded buckets are placed first.

use crate::hash;

/// Where each key went.
pub struct Perfect {
    /// One displacement per bucket.
    pub displacements: Vec<u16>,
    /// The key in each slot; a few slots stay empty.
    pub slots: Vec<Option<usize>>,
}

/// Places `hashes`; the keys behind them must be distinct. Where the keys will not fit with few free slots, more are
/// left free; `None` when even that does not help: the same hash twice.
pub fn place(hashes: &[u64]) -> Option<Perfect> {
    [40, 20, 10, 5, 2].into_iter().find_map(|share| attempt(hashes, hashes.len() + hashes.len() / share + 1))
}

fn attempt(hashes: &[u64], slot_count: usize) -> Option<Perfect> {
    let bucket_count = hashes.len() / 5 + 1;
    let mut buckets = vec![Vec::new(); bucket_count];
    for (key, &hash) in hashes.iter().enumerate() {
        buckets[hash::bucket(hash, bucket_count)].push(key);
    }
    let mut order: Vec<usize> = (0..bucket_count).collect();
    order.sort_by_key(|&bucket| std::cmp::Reverse(buckets[bucket].len()));
    let mut perfect = Perfect { displacements: vec![0; bucket_count], slots: vec![None; slot_count] };
    let mut wanted: Vec<usize> = Vec::new();
    for bucket in order {
        let keys = &buckets[bucket];
        let displacement = (0..=u16::MAX).find(|&displacement| {
            wanted.clear();
            keys.iter().all(|&key| {
                let slot = hash::slot(hashes[key], displacement, slot_count);
                let free = perfect.slots[slot].is_none() && !wanted.contains(&slot);
                wanted.push(slot);
                free
            })
        });
        perfect.displacements[bucket] = displacement?;
        for (&slot, &key) in wanted.iter().zip(keys) {
            perfect.slots[slot] = Some(key);
        }
    }
    Some(perfect)
}
