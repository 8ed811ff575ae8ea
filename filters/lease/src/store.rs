//! The process's shared data, and the records in it: fixed keys (shared data knows no delete), sets of a few ways, and
//! a bitmap of the sets that were ever used, by which the reporter finds them.

use crate::record::Record;

/// A key changed between reading and writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mismatch;

/// Version for [`SharedData::set`] that only ever creates a key: proxy-wasm writes an absent key whatever the version
/// says and refuses a present one whose version differs, and a value has this version once in 2³² writes at most.
pub const CREATE: u32 = u32::MAX;

/// Key-value store that all VMs of a process share.
pub trait SharedData {
    /// The value and its version; `None` when the key was never written.
    fn get(&mut self, key: &str) -> Option<(Vec<u8>, u32)>;
    /// Writes: with `None` always, with a version only when the key still has it or does not exist.
    fn set(&mut self, key: &str, value: &[u8], cas: Option<u32>) -> Result<(), Mismatch>;
}

/// Sets of records.
pub const SETS: u16 = 4096;
/// Records of one set. The first absent key ends a search, so unused ways cost nothing.
pub const WAYS: u8 = 16;
/// Tries of one compare-and-swap before the lease counts as short.
pub const TRIES: u32 = 64;

const USED: &str = "weir/2/sets";

/// Where a record lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Set.
    pub set: u16,
    /// Way.
    pub way: u8,
}

/// The key of a record, `weir/2/b/SET/WAY`.
pub fn key(place: Place) -> String {
    at("weir/2/b/", place)
}

/// The key of what the ledger last said of the record's counter, `weir/2/f/SET/WAY`.
pub(crate) fn cell(place: Place) -> String {
    at("weir/2/f/", place)
}

fn at(prefix: &str, place: Place) -> String {
    let mut out = String::with_capacity(20);
    out.push_str(prefix);
    decimal(&mut out, u32::from(place.set));
    out.push('/');
    decimal(&mut out, u32::from(place.way));
    out
}

fn decimal(out: &mut String, value: u32) {
    let mut scale = 10_000;
    while scale > 1 && value < scale {
        scale /= 10;
    }
    while scale > 0 {
        out.push(char::from(b'0' + (value / scale % 10) as u8));
        scale /= 10;
    }
}

/// A record as it was read.
pub struct Found {
    /// Where.
    pub place: Place,
    /// Its version.
    pub cas: u32,
    /// The record.
    pub record: Record,
}

/// Reads one record.
pub fn read(store: &mut dyn SharedData, place: Place) -> Option<Found> {
    let (bytes, cas) = store.get(&key(place))?;
    Some(Found { place, cas, record: Record::decode(&bytes)? })
}

/// Writes a record back, if nobody changed it meanwhile.
pub fn write(store: &mut dyn SharedData, found: &Found) -> Result<(), Mismatch> {
    store.set(&key(found.place), &found.record.encode(), Some(found.cas))
}

/// Finds an instance's record.
pub fn find(store: &mut dyn SharedData, set: u16, id: u128, name: &[u8]) -> Option<Found> {
    for way in 0..WAYS {
        let (bytes, cas) = store.get(&key(Place { set, way }))?;
        if let Some(record) = Record::decode(&bytes)
            && record.id == id
            && record.name == name
        {
            return Some(Found { place: Place { set, way }, cas, record });
        }
    }
    None
}

/// Finds an instance's record or makes one, in an unused way or in the place of an idle record. `None` when the set is
/// full of busy records, or contended.
///
/// A new record is a new *lane*: its vector starts at zero at both ends, so neither a late answer to its predecessor
/// nor a second record made by a neighbour at the same moment can mix their numbers.
pub fn claim(store: &mut dyn SharedData, set: u16, id: u128, name: &[u8]) -> Option<Found> {
    for _ in 0..TRIES {
        let mut vacancy = None;
        for way in 0..WAYS {
            let place = Place { set, way };
            let Some((bytes, cas)) = store.get(&key(place)) else {
                vacancy = Some((place, CREATE, 1));
                break;
            };
            let Some(record) = Record::decode(&bytes) else { continue };
            if record.id == id && record.name == name {
                return Some(Found { place, cas, record });
            }
            if vacancy.is_none() && record.idle() {
                vacancy = Some((place, cas, (record.lane >> 4) + 1));
            }
        }
        let (place, cas, life) = vacancy?;
        mark(store, set)?;
        let record = Record::new(id, name.to_vec(), life << 4 | u32::from(place.way));
        if store.set(&key(place), &record.encode(), Some(cas)).is_err() {
            continue;
        }
    }
    None
}

/// Notes that a set is used.
fn mark(store: &mut dyn SharedData, set: u16) -> Option<()> {
    for _ in 0..TRIES {
        let (mut bits, cas) = store.get(USED).unwrap_or((Vec::new(), CREATE));
        bits.resize(usize::from(SETS) / 8, 0);
        let byte = bits.get_mut(usize::from(set) / 8)?;
        let bit = 1 << (set % 8);
        if *byte & bit != 0 {
            return Some(());
        }
        *byte |= bit;
        let _ = store.set(USED, &bits, Some(cas));
    }
    None
}

/// The sets that have records.
pub fn used(store: &mut dyn SharedData) -> Vec<u16> {
    let mut sets = Vec::new();
    let Some((bits, _)) = store.get(USED) else { return sets };
    for (i, byte) in (0u16..).zip(bits.iter()) {
        for bit in 0..8 {
            if byte & 1 << bit != 0 {
                sets.push(i * 8 + bit);
            }
        }
    }
    sets
}

/// All records of the process, for tests and for figures: never in a request.
pub fn records(store: &mut dyn SharedData) -> Vec<Record> {
    let mut all = Vec::new();
    for set in used(store) {
        for way in 0..WAYS {
            let Some(found) = read(store, Place { set, way }) else { break };
            all.push(found.record);
        }
    }
    all
}

/// What became of an [`update`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    /// Written, or nothing was to be written.
    Done,
    /// The record is gone.
    Gone,
    /// Others were faster every time.
    Contended,
}

/// Changes one lane of an instance by compare-and-swap. `change` may run several times and says whether to write.
pub fn update(
    store: &mut dyn SharedData,
    place: Place,
    lane: u32,
    retries: &mut u64,
    change: &mut dyn FnMut(&mut Record) -> bool,
) -> Update {
    for _ in 0..TRIES {
        let Some(mut found) = read(store, place) else { return Update::Gone };
        if found.record.lane != lane {
            return Update::Gone;
        }
        if !change(&mut found.record) || write(store, &found).is_ok() {
            return Update::Done;
        }
        *retries += 1;
    }
    Update::Contended
}
