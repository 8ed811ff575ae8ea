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

/// Places `hashes`; the keys behind them must be distinct.
pub fn place(hashes: &[u64]) -> Perfect {
    let slot_count = hashes.len() + hashes.len() / 40 + 1;
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
        perfect.displacements[bucket] =
            displacement.expect("a displacement for every bucket: change a hash constant");
        for (&slot, &key) in wanted.iter().zip(keys) {
            perfect.slots[slot] = Some(key);
        }
    }
    perfect
}
