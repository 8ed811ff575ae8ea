//! What the VMs of a process agree on in shared data: the session, which VMs live, and who reports.

use crate::instance::mix;
use crate::mutant::{self, Mutant};
use crate::record::Reader;
use crate::store::{CREATE, SharedData, TRIES};
use crate::{LOST_AFTER, MS, Nanos, SECOND, VM_DEAD};

const SESSION: &str = "weir/2/session";
const VMS: &str = "weir/2/vm";
const LEADER: &str = "weir/2/leader";
const VERSION: u8 = 1;
/// How long a reporter stays reporter without renewing.
const LEASE: Nanos = 3 * SECOND;

/// The process's session with the ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// Makes this process life unique.
    pub nonce: [u64; 2],
    /// From the ledger; 0 is not open.
    pub sid: u64,
    /// Highest epoch heard of.
    pub epoch: u64,
    /// When the latest answered report was sent, or when the process began.
    pub heard: Nanos,
    /// Time between two reports in milliseconds.
    pub sync_ms: u32,
    /// The process will end.
    pub draining: bool,
    /// The session is over.
    pub closed: bool,
}

impl Session {
    /// Whether the ledger counts as lost: not before three reports could have been answered.
    pub fn lost(&self, now: Nanos) -> bool {
        now.saturating_sub(self.heard) > LOST_AFTER.max(self.sync().saturating_mul(3))
    }

    /// Time between two reports.
    pub fn sync(&self) -> Nanos {
        Nanos::from(self.sync_ms.max(10)) * MS
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(48);
        out.extend_from_slice(&[VERSION, u8::from(self.draining), u8::from(self.closed), 0]);
        out.extend_from_slice(&self.sync_ms.to_le_bytes());
        for word in [self.nonce[0], self.nonce[1], self.sid, self.epoch, self.heard] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out
    }

    fn decode(bytes: &[u8]) -> Option<Session> {
        let mut from = Reader(bytes);
        let [version, draining, closed, _] = from.take()?;
        let sync_ms = from.u32()?;
        let nonce = [from.u64()?, from.u64()?];
        let (sid, epoch, heard) = (from.u64()?, from.u64()?, from.u64()?);
        (version == VERSION).then_some(Session {
            nonce,
            sid,
            epoch,
            heard,
            sync_ms,
            draining: draining != 0,
            closed: closed != 0,
        })
    }
}

/// Reads the session; the first VM of the process makes it, with a nonce of its own random bits.
pub fn session(store: &mut dyn SharedData, now: Nanos, node: &str, random: [u64; 2]) -> Session {
    for _ in 0..TRIES {
        if let Some((bytes, _)) = store.get(SESSION)
            && let Some(session) = Session::decode(&bytes)
        {
            return session;
        }
        // The node and the time are mixed in, so that a host with poor randomness still starts a new life each time.
        let mut words = [random[0], random[1], now, node.len() as u64];
        for (i, byte) in node.bytes().enumerate() {
            if let Some(word) = words.get_mut(i % 4) {
                *word = mix(&[*word, u64::from(byte)]);
            }
        }
        let nonce = [mix(&words), mix(&[words[3], words[1], words[0], words[2]])];
        let fresh = Session { nonce, heard: now, sync_ms: 1_000, ..Session::default() };
        let _ = store.set(SESSION, &fresh.encode(), Some(CREATE));
    }
    Session { heard: now, sync_ms: 1_000, ..Session::default() }
}

/// Changes the session by compare-and-swap; `change` says whether to write.
pub fn change_session(
    store: &mut dyn SharedData,
    change: &mut dyn FnMut(&mut Session) -> bool,
) -> Option<Session> {
    for _ in 0..TRIES {
        let (bytes, cas) = store.get(SESSION)?;
        let mut session = Session::decode(&bytes)?;
        if !change(&mut session) || store.set(SESSION, &session.encode(), Some(cas)).is_ok() {
            return Some(session);
        }
    }
    None
}

/// Notes that a call sent at `sent` was answered, with what the answer says of reports to come (0 is nothing). Written
/// at most four times a second.
pub fn heard(store: &mut dyn SharedData, sent: Nanos, epoch: u64, sync_ms: u32) -> Option<Session> {
    change_session(store, &mut |session| {
        let write = sent > session.heard + 250 * MS || epoch > session.epoch;
        session.heard = session.heard.max(sent);
        session.epoch = session.epoch.max(epoch);
        if sync_ms > 0 {
            session.sync_ms = sync_ms;
        }
        write
    })
}

/// The VMs that reserve: number of the next one, and each one's latest heartbeat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vms {
    /// Numbers below this have been given out.
    pub next: u32,
    /// VM and heartbeat.
    pub beats: Vec<(u32, Nanos)>,
}

impl Vms {
    fn decode(bytes: &[u8]) -> Vms {
        let mut from = Reader(bytes);
        let mut vms = Vms { next: from.u32().unwrap_or(1).max(1), beats: Vec::new() };
        while let (Some(vm), Some(beat)) = (from.u32(), from.u64()) {
            vms.beats.push((vm, beat));
        }
        vms
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(4 + 12 * self.beats.len());
        out.extend_from_slice(&self.next.to_le_bytes());
        for (vm, beat) in &self.beats {
            out.extend_from_slice(&vm.to_le_bytes());
            out.extend_from_slice(&beat.to_le_bytes());
        }
        out
    }

    /// Whether a VM of this table has been silent for too long.
    pub fn dead(&self, vm: u32, now: Nanos) -> bool {
        self.beats.iter().any(|(known, beat)| *known == vm && now.saturating_sub(*beat) > VM_DEAD)
    }

    /// Whether a VM of this table has been silent for long enough to presume spent what it held in a record, too.
    pub fn over(&self, vm: u32, now: Nanos, hold_ms: u32) -> bool {
        if mutant::on(Mutant::RollReapNow) {
            return true;
        }
        let term = VM_DEAD + Nanos::from(hold_ms) * MS;
        self.beats.iter().any(|(known, beat)| *known == vm && now.saturating_sub(*beat) > term)
    }

    /// Whether a VM was removed from this table. One that is younger than the table was not.
    pub fn buried(&self, vm: u32) -> bool {
        vm < self.next && !self.beats.iter().any(|(known, _)| *known == vm)
    }
}

/// The table of VMs.
pub fn vms(store: &mut dyn SharedData) -> Vms {
    store.get(VMS).map_or(Vms { next: 1, beats: Vec::new() }, |(bytes, _)| Vms::decode(&bytes))
}

/// Writes a VM's heartbeat; a VM without a number (0), or whose entry was removed, gets a new number. The VM's number;
/// 0 when the table is contended.
pub fn beat(store: &mut dyn SharedData, vm: u32, now: Nanos) -> u32 {
    for _ in 0..TRIES {
        let (bytes, cas) = store.get(VMS).unwrap_or((Vec::new(), CREATE));
        let mut vms = Vms::decode(&bytes);
        let vm = match vms.beats.iter_mut().find(|(known, _)| *known == vm && vm != 0) {
            Some((vm, beat)) => {
                *beat = now;
                *vm
            }
            None => {
                let vm = vms.next;
                vms.next += 1;
                vms.beats.push((vm, now));
                vm
            }
        };
        if store.set(VMS, &vms.encode(), Some(cas)).is_ok() {
            return vm;
        }
    }
    0
}

/// Removes VMs that were found dead and whose slots are all reaped.
pub fn bury(store: &mut dyn SharedData, dead: &[u32], now: Nanos) {
    for _ in 0..TRIES {
        let Some((bytes, cas)) = store.get(VMS) else { return };
        let mut vms = Vms::decode(&bytes);
        weir_sorted::keep(&mut vms.beats, |(vm, beat)| {
            !dead.contains(vm) || now.saturating_sub(*beat) <= VM_DEAD
        });
        if store.set(VMS, &vms.encode(), Some(cas)).is_ok() {
            return;
        }
    }
}

/// Becomes or stays the VM that reports for the process. A VM that serves requests (`busy`) lets the others go first
/// when the place is free: their callbacks wait behind no request.
pub fn lead(store: &mut dyn SharedData, token: u64, now: Nanos, busy: bool) -> bool {
    let (held, cas) = match store.get(LEADER) {
        Some((bytes, cas)) => {
            let mut from = Reader(&bytes);
            (from.u64().zip(from.u64()), cas)
        }
        None => (None, CREATE),
    };
    if let Some((holder, until)) = held {
        let patience = if busy { SECOND + SECOND / 2 } else { 0 };
        // A time far ahead is a clock that was set back since: nobody leads then.
        let stale = now >= until.saturating_add(patience) || until > now + 2 * LEASE;
        if holder != token && !stale {
            return false;
        }
    }
    let mut out = Vec::with_capacity(16);
    out.extend_from_slice(&token.to_le_bytes());
    out.extend_from_slice(&(now + LEASE).to_le_bytes());
    store.set(LEADER, &out, Some(cas)).is_ok()
}

#[cfg(test)]
pub mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::store::Mismatch;

    /// Shared data of one process, as proxy-wasm keeps it.
    #[derive(Default)]
    pub struct Memory {
        values: BTreeMap<String, (Vec<u8>, u32)>,
        version: u32,
    }

    impl SharedData for Memory {
        fn get(&mut self, key: &str) -> Option<(Vec<u8>, u32)> {
            self.values.get(key).cloned()
        }

        fn set(&mut self, key: &str, value: &[u8], cas: Option<u32>) -> Result<(), Mismatch> {
            let found = self.values.get(key).map(|(_, version)| *version);
            if let (Some(cas), Some(found)) = (cas, found)
                && cas != found
            {
                return Err(Mismatch);
            }
            self.version += 1;
            self.values.insert(key.to_owned(), (value.to_owned(), self.version));
            Ok(())
        }
    }

    #[test]
    fn the_first_vm_makes_the_nonce_and_all_share_it() {
        let mut store = Memory::default();
        let first = session(&mut store, 5, "node", [1, 2]);
        assert_eq!(session(&mut store, 9, "node", [3, 4]), first);
        let restarted = session(&mut Memory::default(), 6, "node", [1, 2]);
        assert_ne!(restarted.nonce, first.nonce, "the time alone makes another life");
    }

    #[test]
    fn a_buried_vm_gets_a_new_number() {
        let mut store = Memory::default();
        let one = beat(&mut store, 0, 0);
        let two = beat(&mut store, 0, 0);
        assert_ne!(one, two);
        assert_eq!(beat(&mut store, two, 6 * SECOND), two);
        let table = vms(&mut store);
        assert!(table.dead(one, 6 * SECOND) && !table.dead(two, 6 * SECOND));
        assert!(
            !table.buried(two + 1) && !table.dead(two + 1, 6 * SECOND),
            "a VM younger than the table lives"
        );
        bury(&mut store, &[one, two], 6 * SECOND);
        assert_eq!(vms(&mut store).beats, [(two, 6 * SECOND)]);
        assert!(vms(&mut store).buried(one));
        assert!(beat(&mut store, one, 6 * SECOND) > two);
    }

    #[test]
    fn one_vm_leads_and_the_idle_one_goes_first() {
        let mut store = Memory::default();
        assert!(lead(&mut store, 1, 0, true));
        assert!(!lead(&mut store, 2, SECOND, false));
        assert!(lead(&mut store, 1, 2 * SECOND, true));
        assert!(!lead(&mut store, 3, 5 * SECOND, true));
        assert!(lead(&mut store, 2, 5 * SECOND, false));
        assert!(!lead(&mut store, 1, 6 * SECOND, true));
    }
}
