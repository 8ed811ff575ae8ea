//! An ordered map as a heap of entries and a list of short sorted lists of their places.
//!
//! A search is two binary searches; an insertion moves at most one short list and now and then splits one. So hostile
//! orders cost no more than friendly ones, and keys that ascend fill the lists. The order knows places alone, so that
//! the code that keeps it is one for all maps.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;

/// Places in one list. A greater number makes insertions dearer and the list of lists shorter.
const MOST: usize = 64;

/// The map. Searches and insertions take a logarithmic number of comparisons; up to some hundred thousand entries
/// nothing else counts.
#[derive(Clone)]
pub struct Map<K, V> {
    /// In no order.
    entries: Vec<(K, V)>,
    order: Order,
}

/// The places of entries, ordered by their keys.
#[derive(Clone, Debug, Default)]
struct Order {
    /// None of them is empty.
    lists: Vec<Vec<usize>>,
}

/// What a search needs of a map and a key; a trait of one method makes the smallest table of functions.
trait Probe {
    /// How the entry at a place compares with what is sought.
    fn compare(&self, entry: usize) -> Ordering;
}

impl Order {
    /// The list that belongs to what is sought, the position in it, and the place of the entry if it is there.
    #[inline(never)]
    fn seek(&self, probe: &dyn Probe) -> (usize, usize, Option<usize>) {
        let (mut list, mut end) = (0, self.lists.len());
        while list + 1 < end {
            let middle = list + (end - list) / 2;
            match self.get(middle, 0).map(|entry| probe.compare(entry)) {
                Some(Ordering::Greater) => end = middle,
                _ => list = middle,
            }
        }
        let (mut at, mut end) = (0, self.lists.get(list).map_or(0, Vec::len));
        while at < end {
            let middle = at + (end - at) / 2;
            let Some(entry) = self.get(list, middle) else { break };
            match probe.compare(entry) {
                Ordering::Less => at = middle + 1,
                Ordering::Equal => return (list, middle, Some(entry)),
                Ordering::Greater => end = middle,
            }
        }
        (list, at, None)
    }

    fn get(&self, list: usize, at: usize) -> Option<usize> {
        self.lists.get(list)?.get(at).copied()
    }

    /// Puts a place where [`Order::seek`] found none.
    #[inline(never)]
    fn insert(&mut self, mut list: usize, mut at: usize, entry: usize) {
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
        if let Some(places) = self.lists.get_mut(list) {
            places.insert(at, entry);
        }
    }

    #[inline(never)]
    fn remove(&mut self, list: usize, at: usize) {
        // A list that had one place goes with it.
        match self.lists.get_mut(list) {
            Some(places) if places.len() > 1 => {
                places.remove(at);
            }
            _ => {
                self.lists.remove(list);
            }
        }
    }

    /// The entry is at another place from now on.
    fn moved(&mut self, list: usize, at: usize, entry: usize) {
        if let Some(place) = self.lists.get_mut(list).and_then(|places| places.get_mut(at)) {
            *place = entry;
        }
    }
}

impl<K, V> Map<K, V> {
    /// No entries.
    pub const fn new() -> Self {
        Self { entries: Vec::new(), order: Order { lists: Vec::new() } }
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entries by key, the smallest first.
    pub fn iter(&self) -> Iter<'_, K, V> {
        Iter { entries: &self.entries, lists: self.order.lists.iter(), list: [].iter() }
    }

    /// The keys, the smallest first.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    /// The values, that of the smallest key first.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// The entries with values that may be changed, in no order.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.entries.iter_mut().map(|(key, value)| (&*key, value))
    }
}

struct Sought<'m, K, V, Q: ?Sized> {
    entries: &'m [(K, V)],
    key: &'m Q,
}

impl<K: Borrow<Q>, V, Q: Ord + ?Sized> Probe for Sought<'_, K, V, Q> {
    fn compare(&self, entry: usize) -> Ordering {
        self.entries.get(entry).map_or(Ordering::Less, |(key, _)| key.borrow().cmp(self.key))
    }
}

impl<K: Ord, V> Map<K, V> {
    fn seek<Q: Ord + ?Sized>(&self, key: &Q) -> (usize, usize, Option<usize>)
    where
        K: Borrow<Q>,
    {
        self.order.seek(&Sought { entries: &self.entries, key })
    }

    /// The value of a key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let (.., entry) = self.seek(key);
        self.entries.get(entry?).map(|(_, value)| value)
    }

    /// The value of a key, to be changed.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let (.., entry) = self.seek(key);
        self.entries.get_mut(entry?).map(|(_, value)| value)
    }

    /// Whether a key is there.
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.seek(key).2.is_some()
    }

    /// Puts a value in; hands out the one that it replaces.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let (list, at, entry) = self.seek(&key);
        if let Some((_, known)) = entry.and_then(|entry| self.entries.get_mut(entry)) {
            return Some(std::mem::replace(known, value));
        }
        self.order.insert(list, at, self.entries.len());
        self.entries.push((key, value));
        None
    }

    /// Takes a value out.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let (list, at, entry) = self.seek(key);
        Some(self.take(list, at, entry?).1)
    }

    /// Takes the entry of the smallest key out.
    pub fn pop_first(&mut self) -> Option<(K, V)> {
        let entry = self.order.get(0, 0)?;
        Some(self.take(0, 0, entry))
    }

    fn take(&mut self, list: usize, at: usize, entry: usize) -> (K, V) {
        // The last entry moves into the place that is free.
        if let Some((last, _)) = self.entries.last() {
            let (list, at, _) = self.seek(last);
            self.order.moved(list, at, entry);
        }
        self.order.remove(list, at);
        self.entries.swap_remove(entry)
    }
}

impl<K, V> Default for Map<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: PartialEq, V: PartialEq> PartialEq for Map<K, V> {
    fn eq(&self, other: &Self) -> bool {
        // The same entries may lie in other places.
        self.len() == other.len() && self.iter().eq(other.iter())
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
    entries: &'m [(K, V)],
    lists: std::slice::Iter<'m, Vec<usize>>,
    list: std::slice::Iter<'m, usize>,
}

impl<'m, K, V> Iterator for Iter<'m, K, V> {
    type Item = (&'m K, &'m V);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.list.next() {
                return self.entries.get(*entry).map(|(key, value)| (key, value));
            }
            self.list = self.lists.next()?.iter();
        }
    }
}
