//! How much of a counter is left, as one process knows it: the ledger's latest word and what the process spent since.
//! For telling clients only; nothing is decided by it, so a lost or late word does no harm.

use crate::Nanos;
use crate::record::Reader;
use crate::store::{Place, SharedData, cell};

/// What a grant says of each need, in the order of the needs. Empty: all is reserved in full and nothing is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Granted {
    /// Units reserved: the need's `full`, or less where the need had a lower `min`.
    pub amounts: Vec<u64>,
    /// What is left of each counter, where the ledger has said it.
    pub levels: Vec<Option<Level>>,
}

/// What is left of one counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Level {
    /// The limit.
    pub limit: u64,
    /// Neither spent nor held by anybody.
    pub remaining: u64,
    /// When the window ends, by the host's clock.
    pub resets_at: Nanos,
}

/// The ledger's word beside a record.
pub(crate) struct Cell {
    pub id: u128,
    pub wid: u64,
    pub ends_at: Nanos,
    pub limit: u64,
    /// Left when the ledger had heard that this process used and held `base`.
    pub room: u64,
    pub base: u64,
}

impl Cell {
    /// Written without compare-and-swap: a lost word is said again within a second.
    pub fn write(&self, store: &mut dyn SharedData, place: Place) {
        let mut out = Vec::with_capacity(56);
        out.extend_from_slice(&self.id.to_le_bytes());
        for word in [self.wid, self.ends_at, self.limit, self.room, self.base] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        let _ = store.set(&cell(place), &out, None);
    }

    pub fn read(store: &mut dyn SharedData, place: Place) -> Option<Cell> {
        let (bytes, _) = store.get(&cell(place))?;
        let mut from = Reader(&bytes);
        Some(Cell {
            id: u128::from_le_bytes(from.take()?),
            wid: from.u64()?,
            ends_at: from.u64()?,
            limit: from.u64()?,
            room: from.u64()?,
            base: from.u64()?,
        })
    }

    /// The level once this process has used and holds `spent`.
    pub fn level(&self, spent: u64) -> Level {
        let remaining = self.room.saturating_add(self.base).saturating_sub(spent);
        Level { limit: self.limit, remaining: remaining.min(self.limit), resets_at: self.ends_at }
    }
}
