//! An ordered map as a list of short sorted lists.
//!
//! A search is two binary searches; an insertion moves at most one short list and now and then splits one. So hostile
//! orders cost no more than friendly ones, and keys that ascend fill the lists.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;

/// Entries of one list. A greater number makes insertions dearer and the list of lists shorter.
const MOST: usize = 64;

/// The map. Searches and insertions take a logarithmic number of comparisons; up to some hundred thousand entries
/// nothing else counts.
#[derive(Clone)]
pub struct Map<K, V> {
    /// None of them is empty.
    lists: Vec<Vec<(K, V)>>,
    len: usize,
}

/// What a search needs of a map and a key; a trait of one method makes the smallest table of functions.
trait Probe {
    /// How the entry at a place compares with what is sought; `None` where there is no entry.
    fn compare(&self, list: usize, at: usize) -> Option<Ordering>;
}

/// The list that belongs to what is sought, the place in it, and whether it is there.
#[inline(never)]
fn seek(lists: usize, probe: &dyn Probe) -> (usize, usize, bool) {
    let (mut list, mut end) = (0, lists);
    while list + 1 < end {
        let middle = list + (end - list) / 2;
        match probe.compare(middle, 0) {
            Some(Ordering::Greater) => end = middle,
            _ => list = middle,
        }
    }
    let (mut at, mut end) = (0, MOST);
    while at < end {
        let middle = at + (end - at) / 2;
        match probe.compare(list, middle) {
            Some(Ordering::Less) => at = middle + 1,
            Some(Ordering::Equal) => return (list, middle, true),
            Some(Ordering::Greater) | None => end = middle,
        }
    }
    (list, at, false)
}

impl<K, V> Map<K, V> {
    /// No entries.
    pub const fn new() -> Self {
        Self { lists: Vec::new(), len: 0 }
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The entries by key, the smallest first.
    pub fn iter(&self) -> Iter<'_, K, V> {
        Iter { lists: self.lists.iter(), list: [].iter() }
    }

    /// The keys, the smallest first.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    /// The values, that of the smallest key first.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// The entries with values that may be changed, the smallest key first.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.lists.iter_mut().flatten().map(|(key, value)| (&*key, value))
    }

    /// Takes the entry of the smallest key out.
    pub fn pop_first(&mut self) -> Option<(K, V)> {
        (self.len > 0).then(|| self.take(0, 0))
    }

    fn take(&mut self, list: usize, at: usize) -> (K, V) {
        self.len -= 1;
        // A list that had one entry goes with it.
        match self.lists.get_mut(list) {
            Some(entries) if entries.len() > 1 => entries.remove(at),
            _ => self.lists.remove(list).remove(at),
        }
    }
}

struct Sought<'m, K, V, Q: ?Sized> {
    lists: &'m [Vec<(K, V)>],
    key: &'m Q,
}

impl<K: Borrow<Q>, V, Q: Ord + ?Sized> Probe for Sought<'_, K, V, Q> {
    fn compare(&self, list: usize, at: usize) -> Option<Ordering> {
        self.lists.get(list)?.get(at).map(|(key, _)| key.borrow().cmp(self.key))
    }
}

impl<K: Ord, V> Map<K, V> {
    fn seek<Q: Ord + ?Sized>(&self, key: &Q) -> (usize, usize, bool)
    where
        K: Borrow<Q>,
    {
        seek(self.lists.len(), &Sought { lists: &self.lists, key })
    }

    /// The value of a key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let (list, at, found) = self.seek(key);
        let entry = self.lists.get(list).and_then(|entries| entries.get(at)).filter(|_| found);
        entry.map(|(_, value)| value)
    }

    /// The value of a key, to be changed.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let (list, at, found) = self.seek(key);
        let entry = self.lists.get_mut(list).and_then(|entries| entries.get_mut(at)).filter(|_| found);
        entry.map(|(_, value)| value)
    }

    /// Whether a key is there.
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.seek(key).2
    }

    /// Puts a value in; hands out the one that it replaces.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let (mut list, mut at, found) = self.seek(&key);
        if found {
            let old = self.lists.get_mut(list).and_then(|entries| entries.get_mut(at));
            return old.map(|(_, old)| std::mem::replace(old, value));
        }
        self.len += 1;
        let last = list + 1 >= self.lists.len();
        match self.lists.get_mut(list) {
            None => self.lists.push(Vec::new()),
            Some(full) if full.len() >= MOST => {
                // Keys that ascend begin a new list and leave full ones behind.
                let keep = if last && at == full.len() { at } else { MOST / 2 };
                let rest = full.split_off(keep);
                self.lists.insert(list + 1, rest);
                if at >= keep {
                    list += 1;
                    at -= keep;
                }
            }
            Some(_) => {}
        }
        if let Some(entries) = self.lists.get_mut(list) {
            entries.insert(at, (key, value));
        }
        None
    }

    /// Takes a value out.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let (list, at, found) = self.seek(key);
        found.then(|| self.take(list, at).1)
    }
}

impl<K, V> Default for Map<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: PartialEq, V: PartialEq> PartialEq for Map<K, V> {
    fn eq(&self, other: &Self) -> bool {
        // The same entries may lie in other lists.
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl<K: Eq, V: Eq> Eq for Map<K, V> {}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for Map<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}

impl<K: Ord, V> Extend<(K, V)> for Map<K, V> {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, entries: I) {
        for (key, value) in entries {
            self.insert(key, value);
        }
    }
}

impl<K: Ord, V> FromIterator<(K, V)> for Map<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut map = Self::new();
        map.extend(entries);
        map
    }
}

impl<'m, K, V> IntoIterator for &'m Map<K, V> {
    type Item = (&'m K, &'m V);
    type IntoIter = Iter<'m, K, V>;

    fn into_iter(self) -> Iter<'m, K, V> {
        self.iter()
    }
}

/// The entries of a [`Map`], the smallest key first.
#[derive(Clone, Debug)]
pub struct Iter<'m, K, V> {
    lists: std::slice::Iter<'m, Vec<(K, V)>>,
    list: std::slice::Iter<'m, (K, V)>,
}

impl<'m, K, V> Iterator for Iter<'m, K, V> {
    type Item = (&'m K, &'m V);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((key, value)) = self.list.next() {
                return Some((key, value));
            }
            self.list = self.lists.next()?.iter();
        }
    }
}
