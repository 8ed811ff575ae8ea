//! Who waits for a counter's units: asks that are parked until others return some, and sessions that were sent away and
//! are to be woken. Both may be as many as there are gateways, so nothing here walks a list for one call.

use std::collections::{BTreeMap, VecDeque};

use crate::book::Key;

/// A request that waits for others' returns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parked {
    pub call: u64,
    /// Its item in the call.
    pub item: usize,
    pub key: Key,
    pub rev: u64,
    /// Still wanted, beyond what the process has free.
    pub full: u64,
    pub floor: u64,
    pub min: u64,
    pub one: u64,
    pub until: u64,
}

/// Parked asks in their order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asks {
    list: VecDeque<Parked>,
    wanted: u128,
}

impl Asks {
    pub fn push(&mut self, parked: Parked) {
        self.wanted += u128::from(parked.full);
        self.list.push_back(parked);
    }

    pub fn front(&self) -> Option<Parked> {
        self.list.front().copied()
    }

    pub fn pop(&mut self) -> Option<Parked> {
        let first = self.list.pop_front()?;
        self.wanted -= u128::from(first.full);
        Some(first)
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// What all of them want.
    pub fn wanted(&self) -> u128 {
        self.wanted
    }
}

/// Sessions that were sent away and the least that is of use to each, in the order of being told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    next: u64,
    order: BTreeMap<u64, (u64, u64)>,
    places: BTreeMap<u64, u64>,
}

impl Told {
    /// Tells a session; one that was told before goes to the end.
    pub fn push(&mut self, sid: u64, floor: u64) {
        self.next += 1;
        if let Some(old) = self.places.insert(sid, self.next) {
            self.order.remove(&old);
        }
        self.order.insert(self.next, (sid, floor));
    }

    pub fn front(&self) -> Option<(u64, u64)> {
        self.order.first_key_value().map(|(_, one)| *one)
    }

    pub fn pop(&mut self) -> Option<(u64, u64)> {
        let (_, one) = self.order.pop_first()?;
        self.places.remove(&one.0);
        Some(one)
    }

    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_told_again_goes_to_the_end() {
        let mut told = Told::default();
        told.push(7, 1);
        told.push(8, 2);
        told.push(7, 3);
        assert_eq!(told.front(), Some((8, 2)));
        assert_eq!([told.pop(), told.pop(), told.pop()], [Some((8, 2)), Some((7, 3)), None]);
        assert!(told.is_empty() && told.places.is_empty());
    }

    #[test]
    fn what_is_wanted_is_the_sum_of_those_who_wait() {
        let mut asks = Asks::default();
        for full in [5, 0, 9] {
            let key = (1, 0);
            asks.push(Parked { call: 0, item: 0, key, rev: 0, full, floor: 0, min: 0, one: 0, until: 0 });
        }
        assert_eq!(asks.wanted(), 14);
        assert_eq!(asks.pop().map(|one| one.full), Some(5));
        assert_eq!(asks.wanted(), 9);
        while asks.pop().is_some() {}
        assert!(asks.is_empty() && asks.wanted() == 0);
    }
}
