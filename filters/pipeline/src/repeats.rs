//! How many of a gateway's requests are repeats at the same provider: a share of those in flight, over all workers.
//!
//! Each VM has a line of its own in one record of shared data: its requests in flight and its repeats. A repeat is
//! allowed by one compare-and-swap over all lines, so that no burst goes beyond the share. What is in flight is only
//! the measure of it, and told now and then. A line that nobody refreshes was a VM's that is gone, and counts no more.

use weir_lease::SharedData;
use weir_sorted::Gather;

use crate::io::Now;
use crate::shared;

/// Where the record lies in shared data.
const KEY: &str = "weir/1/repeat";
/// Workers of a process that have a line.
const MOST: usize = 128;
/// How long a line counts that is not refreshed, in nanoseconds.
const STALE: u64 = 10_000_000_000;
/// How often it is refreshed where nothing changed.
const FRESH: u64 = 2_000_000_000;
const LINE: usize = 32;

/// One VM's part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Line {
    vm: u64,
    requests: u64,
    repeats: u64,
    at: u64,
}

/// What a VM has in flight.
#[derive(Clone, Copy, Debug, Default)]
pub struct InFlight {
    own: Line,
    /// As the others know it.
    told: Line,
}

fn decode(bytes: &[u8]) -> Vec<Line> {
    let line = |bytes: &[u8]| {
        let mut words = bytes.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word));
        let mut next = || words.next().unwrap_or(0);
        Line { vm: next(), requests: next(), repeats: next(), at: next() }
    };
    bytes.chunks_exact(LINE).take(MOST).map(line).gather()
}

fn encode(lines: &[Line]) -> Vec<u8> {
    let mut out = Vec::with_capacity(LINE * lines.len());
    for line in lines {
        for word in [line.vm, line.requests, line.repeats, line.at] {
            out.extend_from_slice(&word.to_le_bytes());
        }
    }
    out
}

impl InFlight {
    /// A request begins (1) or is over (-1).
    pub fn request(&mut self, change: i64) {
        self.own.requests = self.own.requests.saturating_add_signed(change);
    }

    /// Whether the VM has a number yet that tells it apart.
    pub fn known(&self) -> bool {
        self.own.vm != 0
    }

    /// That number.
    pub fn vm(&self) -> u64 {
        self.own.vm
    }

    /// Gives it one.
    pub fn name(&mut self, vm: u64) {
        self.own.vm = vm.max(1);
    }

    /// The name of a queue that is this VM's own.
    pub fn queue(&self) -> String {
        let mut name = String::from("weir/1/bell/");
        crate::span::hex(&mut name, &self.own.vm.to_be_bytes());
        name
    }

    /// Writes its line with `change` repeats more, if `most` of all lines' requests allows them.
    fn write(
        &mut self,
        store: &mut dyn SharedData,
        now: Now,
        change: i64,
        most: &dyn Fn(u64) -> u64,
    ) -> bool {
        let before = self.own;
        let (mut own, mut full) = (before, false);
        let written = shared::change(store, KEY, &mut |bytes| {
            let mut lines = decode(bytes);
            weir_sorted::keep(&mut lines, |line| {
                line.vm != before.vm && line.at.saturating_add(STALE) > now.0
            });
            own = Line { repeats: before.repeats.saturating_add_signed(change), at: now.0, ..before };
            lines.push(own);
            let sum = |of: fn(&Line) -> u64| lines.iter().map(of).fold(0, u64::saturating_add);
            if change > 0 && sum(|line| line.repeats) > most(sum(|line| line.requests)) {
                return None;
            }
            // A worker for which the record has no room goes on without a line.
            full = lines.len() > MOST;
            (!full).then(|| encode(&lines))
        });
        if written || full {
            (self.own, self.told) = (own, own);
        }
        written || full
    }

    /// One repeat more, if a `share` (in hundredths of a percent, rounded up) of what is in flight allows it.
    pub fn repeat(&mut self, store: &mut dyn SharedData, now: Now, share: u32) -> bool {
        let most = |requests: u64| (u128::from(requests) * u128::from(share)).div_ceil(10_000) as u64;
        self.write(store, now, 1, &most)
    }

    /// A repeat is over.
    pub fn over(&mut self, store: &mut dyn SharedData, now: Now) {
        if !self.write(store, now, -1, &|_| 0) {
            self.own.repeats = self.own.repeats.saturating_sub(1);
        }
    }

    /// Tells the others, where they do not know.
    pub fn tell(&mut self, store: &mut dyn SharedData, now: Now) {
        let idle = self.own.requests == 0 && self.own.repeats == 0;
        let known = Line { at: self.told.at, ..self.own } == self.told;
        let fresh = self.told.at.saturating_add(FRESH) > now.0;
        if self.known() && !(known && (fresh || idle)) {
            self.write(store, now, 0, &|_| 0);
        }
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::shared::memory::Memory;

    fn vm(number: u64, requests: u64) -> InFlight {
        let mut vm = InFlight::default();
        vm.name(number);
        (0..requests).for_each(|_| vm.request(1));
        vm
    }

    #[test]
    fn workers_share_one_share() {
        let mut store = Memory::default();
        let (mut a, mut b) = (vm(1, 10), vm(2, 5));
        let now = Now(1);
        b.tell(&mut store, now);
        // A fifth of fifteen.
        store.busy = 3;
        let allowed = (0..20).filter(|n| [&mut a, &mut b][n % 2].repeat(&mut store, now, 2000)).count();
        assert_eq!(allowed, 3);
        b.over(&mut store, now);
        assert!(a.repeat(&mut store, now, 2000));
        assert!(!a.repeat(&mut store, now, 2000));
        // None at all, and as many as there are.
        assert!(!vm(3, 9).repeat(&mut Memory::default(), now, 0));
        let (mut all, mut store) = (vm(4, 9), Memory::default());
        assert_eq!((0..20).filter(|_| all.repeat(&mut store, now, 10_000)).count(), 9);
        // A share is rounded up, so that a single request may be repeated.
        assert!(vm(5, 1).repeat(&mut Memory::default(), now, 1));
    }

    #[test]
    fn a_vm_that_is_gone_counts_no_more() {
        let mut store = Memory::default();
        let mut gone = vm(1, 100);
        assert!((0..20).all(|_| gone.repeat(&mut store, Now(0), 2000)));
        let mut next = vm(2, 5);
        assert!(!(0..9).all(|_| next.repeat(&mut store, Now(1), 2000)));
        let later = Now(STALE + 2);
        next.tell(&mut store, later);
        let lines = decode(&store.values.values().next().unwrap().0);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert_eq!(decode(b"damage"), []);
    }

    #[test]
    fn a_line_is_told_when_it_changed_or_grows_old() {
        let mut store = Memory::default();
        let mut one = vm(1, 1);
        let mut told = |one: &mut InFlight, now: u64| {
            let before = store.values.clone();
            one.tell(&mut store, Now(now));
            store.values != before
        };
        assert!(told(&mut one, 1));
        assert!(!told(&mut one, 2));
        one.request(1);
        assert!(told(&mut one, 3));
        assert!(told(&mut one, 3 + FRESH));
        one.request(-2);
        assert!(told(&mut one, 4 + FRESH));
        assert!(!told(&mut one, 9 * FRESH), "one that is idle says so once");
    }
}
