//! Exchanges that a trap takes along: their VM ends without a last word to anybody. So each has a slot in the process's
//! shared data from its admission to its end, and the VM that finds another one silent says of what it left open that it is
//! lost: the ids, whose it was, when it began. What it cost is not known here; budgets presume it spent.
//!
//! Bounded: so many slots a VM, so many VMs. An exchange that finds none free is only not told of.

use weir_lease::SharedData;
use weir_sorted::Gather;

use crate::codec::{Reader, Writer};
use crate::io::Now;
use crate::shared;
use crate::span::{Span, TraceContext};

/// Where the VMs' lines lie in shared data.
const KEY: &str = "weir/1/vms";
/// Where their slots do.
const SLOT: &str = "weir/1/open/";
/// VMs of a process.
const VMS: usize = 64;
/// Exchanges of one VM.
const SLOTS: u16 = 256;
/// A VM that has been silent for so long is gone, in nanoseconds.
const GONE: u64 = 8_000_000_000;
/// How often it says that it is not.
const FRESH: u64 = 1_000_000_000;
const LINE: usize = 24;
const VERSION: u8 = 1;
/// Operations, by their number in a slot.
const OPERATIONS: [&str; 4] = ["chat", "text_completion", "embeddings", "generate_content"];

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Line {
    vm: u64,
    number: u64,
    at: u64,
}

fn decode(bytes: &[u8]) -> Vec<Line> {
    let line = |bytes: &[u8]| {
        let mut words = bytes.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word));
        let mut next = || words.next().unwrap_or(0);
        Line { vm: next(), number: next(), at: next() }
    };
    bytes.chunks_exact(LINE).take(VMS).map(line).gather()
}

fn encode(lines: &[Line]) -> Vec<u8> {
    let mut out = Vec::with_capacity(LINE * lines.len());
    for line in lines {
        for word in [line.vm, line.number, line.at] {
            out.extend_from_slice(&word.to_le_bytes());
        }
    }
    out
}

/// What one VM has open.
#[derive(Debug, Default)]
pub struct Open {
    own: Line,
    /// Slots that were used before.
    free: Vec<u16>,
    /// Slots that never were.
    next: u16,
    /// Its line is in the record.
    known: bool,
}

impl Open {
    /// Says that this VM lives, and answers what those left open that do not. `vm` are random bits of its own.
    pub fn tick(&mut self, store: &mut dyn SharedData, now: Now, vm: u64) -> Vec<Lost> {
        if self.known && now.0.saturating_sub(self.own.at) < FRESH {
            return Vec::new();
        }
        self.own.vm = vm.max(1);
        let (mut own, mut silent) = (None, Vec::new());
        let written = shared::change(store, KEY, &mut |bytes| {
            let lines = decode(bytes);
            let others = || lines.iter().filter(|line| line.vm != self.own.vm);
            let gone = |line: &&Line| line.at.saturating_add(GONE) <= now.0;
            // Also not that of a VM that is being found out to be gone.
            let free = |number: &u64| !others().any(|line| line.number == *number);
            let number = Some(self.own.number).filter(|number| self.known && free(number));
            let number = number.or_else(|| (0..VMS as u64).find(free))?;
            let line = Line { number, at: now.0, ..self.own };
            own = Some(line);
            silent = others().filter(gone).copied().gather();
            let mut live: Vec<Line> = others().filter(|line| !gone(line)).copied().gather();
            live.push(line);
            Some(encode(&live))
        });
        let mut lost = Vec::new();
        if let Some(own) = own.filter(|_| written) {
            (self.own, self.known) = (own, true);
            silent.iter().for_each(|line| sweep(store, line, &mut lost));
        }
        lost
    }

    /// The others know that this VM lives.
    pub fn known(&self) -> bool {
        self.known
    }

    /// Gives an exchange a slot; `None` where there is none.
    pub fn open(&mut self, store: &mut dyn SharedData, span: &Span, logged: bool) -> Option<u16> {
        if !self.known {
            return None;
        }
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None if self.next < SLOTS => {
                self.next += 1;
                self.next - 1
            }
            None => return None,
        };
        let mut w = Writer::new(VERSION);
        w.int(self.own.vm).int(span.start).int(u64::from(span.context.flags)).int(u64::from(logged));
        w.int(OPERATIONS.iter().position(|name| *name == span.operation).unwrap_or(0) as u64);
        w.bytes(&span.context.trace).bytes(&span.context.span);
        w.bytes(span.context.parent.as_ref().map_or(&[], |parent| parent));
        for text in [&span.id, &span.policy, &span.tenant, &span.key, &span.request_model, &span.provider] {
            w.bytes(text.as_bytes());
        }
        if store.set(&key(self.own.number, slot), &w.finish(), None).is_err() {
            self.free.push(slot);
            return None;
        }
        Some(slot)
    }

    /// The exchange is over.
    pub fn close(&mut self, store: &mut dyn SharedData, slot: u16) {
        let _ = store.set(&key(self.own.number, slot), &[], None);
        self.free.push(slot);
    }
}

/// An exchange whose VM is gone.
#[derive(Clone, Debug, PartialEq)]
pub struct Lost {
    /// What is known of it.
    pub span: Box<Span>,
    /// The decision log keeps it.
    pub logged: bool,
}

fn key(number: u64, slot: u16) -> String {
    let mut key = String::with_capacity(SLOT.len() + 4);
    key.push_str(SLOT);
    for digits in [number as u16, slot] {
        for part in [digits >> 5, digits & 31] {
            // 32 letters from `0` on: no two pairs are the same.
            key.push(char::from(b'0' + (part & 31) as u8));
        }
    }
    key
}

/// Takes what a VM left in its slots: those that were ever used come first.
fn sweep(store: &mut dyn SharedData, line: &Line, lost: &mut Vec<Lost>) {
    for slot in 0..SLOTS {
        let key = key(line.number, slot);
        let Some((bytes, cas)) = store.get(&key) else { return };
        let Some((vm, at)) = read(&bytes) else { continue };
        if vm == line.vm && store.set(&key, &[], Some(cas)).is_ok() {
            let mut at = at;
            at.span.end = line.at.max(at.span.start);
            lost.push(at);
        }
    }
}

fn read(bytes: &[u8]) -> Option<(u64, Lost)> {
    let mut r = Reader::new(bytes, VERSION)?;
    let (vm, start, flags, logged) = (r.int(), r.int(), r.int() as u8, r.int() == 1);
    let operation = OPERATIONS.get(usize::try_from(r.int()).ok()?)?;
    let context = TraceContext {
        trace: r.bytes().try_into().ok()?,
        span: r.bytes().try_into().ok()?,
        parent: r.bytes().try_into().ok(),
        flags,
    };
    let mut span = Span::boxed();
    span.context = context;
    span.start = start;
    span.operation = operation;
    for place in [
        &mut span.id,
        &mut span.policy,
        &mut span.tenant,
        &mut span.key,
        &mut span.request_model,
        &mut span.provider,
    ] {
        *place = r.text();
    }
    span.error = Some("weir.vm_lost".into());
    r.whole().map(|()| (vm, Lost { span, logged }))
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::shared::memory::Memory;

    const SECOND: u64 = 1_000_000_000;

    fn at(seconds: u64) -> Now {
        Now(1_700_000_000 * SECOND + seconds * SECOND)
    }

    fn span(n: u64) -> Span {
        let mut context = TraceContext::continued(None, &[n + 1, 2, n + 3, 4]);
        context.parent = n.is_multiple_of(2).then_some([7; 8]);
        Span {
            id: format!("req_{n}"),
            context,
            start: at(n).0,
            operation: if n == 3 { "embeddings" } else { "chat" },
            tenant: "acme".into(),
            key: "web".into(),
            request_model: "fast".into(),
            policy: "7".into(),
            provider: "openai".into(),
            ..Span::default()
        }
    }

    #[test]
    fn what_a_vm_leaves_open_is_told_once_by_another() {
        let mut store = Memory::default();
        let (mut a, mut b, mut c) = (Open::default(), Open::default(), Open::default());
        assert_eq!(a.open(&mut store, &span(0), false), None, "nobody knows it yet");
        assert!(a.tick(&mut store, at(0), 11).is_empty());
        assert!(b.tick(&mut store, at(0), 22).is_empty());
        let slots: Vec<u16> = (0..4).filter_map(|n| a.open(&mut store, &span(n), n == 3)).collect();
        assert_eq!(slots, [0, 1, 2, 3]);
        let others = b.open(&mut store, &span(9), false).unwrap();
        a.close(&mut store, 1);
        // It traps: no word any more. While it may live, nobody says anything.
        assert!(b.tick(&mut store, at(4), 22).is_empty());
        assert!(c.tick(&mut store, at(4), 33).is_empty());
        let lost = b.tick(&mut store, at(9), 22);
        let ids: Vec<&str> = lost.iter().map(|lost| lost.span.id.as_str()).collect();
        assert_eq!(ids, ["req_0", "req_2", "req_3"]);
        assert!(c.tick(&mut store, at(9), 33).is_empty(), "once");
        let first = &lost[0].span;
        assert_eq!((first.context, first.start), (span(0).context, span(0).start));
        assert_eq!((first.tenant.as_str(), first.request_model.as_str()), ("acme", "fast"));
        assert_eq!(first.error.as_deref(), Some("weir.vm_lost"));
        assert_eq!(
            lost.iter().map(|lost| lost.span.operation).collect::<Vec<_>>(),
            ["chat", "chat", "embeddings"]
        );
        assert_eq!(lost.iter().map(|lost| lost.logged).collect::<Vec<_>>(), [false, false, true]);
        assert!(lost.iter().all(|lost| lost.span.end >= lost.span.start));
        b.close(&mut store, others);
        // A new VM in its place has its slots again, and what it closes nobody tells.
        let mut d = Open::default();
        d.tick(&mut store, at(10), 44);
        let slot = d.open(&mut store, &span(5), false).unwrap();
        d.close(&mut store, slot);
        assert!(b.tick(&mut store, at(20), 22).is_empty());
    }

    #[test]
    fn slots_are_bounded_and_used_again() {
        let mut store = Memory::default();
        let mut a = Open::default();
        a.tick(&mut store, at(0), 11);
        for n in 0..SLOTS {
            assert_eq!(a.open(&mut store, &span(1), false), Some(n));
        }
        assert_eq!(a.open(&mut store, &span(1), false), None);
        a.close(&mut store, 17);
        assert_eq!(a.open(&mut store, &span(1), false), Some(17));
        assert_eq!(store.values.len(), usize::from(SLOTS) + 1, "each key is another");
    }

    #[test]
    fn a_damaged_slot_is_nobodys() {
        let mut store = Memory::default();
        let mut a = Open::default();
        a.tick(&mut store, at(0), 11);
        let slot = a.open(&mut store, &span(1), false).unwrap();
        let key = key(a.own.number, slot);
        let (bytes, _) = store.get(&key).unwrap();
        for cut in 0..bytes.len() {
            assert_eq!(read(&bytes[..cut]), None);
        }
        assert!(read(&bytes).is_some());
    }
}
