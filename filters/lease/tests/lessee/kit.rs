//! One VM over a map, and a ledger that says what the test wants.

use std::collections::BTreeMap;

use prost::Message;
use weir_lease::message::{Figures, Item, ItemReply, OpenReply, Short, SyncReply, SyncRequest};
use weir_lease::{
    Call, Hold, Instance, LedgerLost, Lessee, Method, Mismatch, Nanos, Need, Refusal, Reserve, SECOND, Setup,
    SharedData, Unit, records,
};

#[derive(Default)]
pub struct Memory {
    pub values: BTreeMap<String, (Vec<u8>, u32)>,
    pub version: u32,
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

pub struct Vm {
    pub lessee: Lessee,
    pub store: Memory,
    pub now: Nanos,
    pub request: u64,
    /// Dispatched and not taken by the test yet.
    pub queue: Vec<Call>,
}

pub const WID: u64 = 5;

pub fn budget(name: &str) -> Instance {
    Instance::new(name, Unit::Tokens, "", "d")
}

pub fn need(name: &str, full: u64) -> Need {
    Need::whole(budget(name), full, LedgerLost::Deny)
}

pub fn granted(item: &Item, g: u64) -> ItemReply {
    ItemReply { wid: WID, ends_in_ms: 3_600_000, g, cap: 1 << 40, rev: item.rev, ..ItemReply::default() }
}

pub fn short(item: &Item, for_ms: u32) -> ItemReply {
    let figures = Figures { limit: 1_000, settled: 990, left: 10, reset_in_ms: 90_000, ..Figures::default() };
    let short = Short { for_ms, terminal: true, quarantine: false };
    ItemReply { short: Some(short), figures: Some(figures), ..granted(item, 0) }
}

impl Vm {
    pub fn new() -> Vm {
        let lessee = Lessee::new(Setup { node: "edge".into(), random: [1, 2] });
        Vm { lessee, store: Memory::default(), now: 100 * SECOND, request: 0, queue: Vec::new() }
    }

    pub fn reserve(&mut self, needs: Vec<Need>) -> Reserve {
        self.request += 1;
        self.lessee.reserve(self.now, &mut self.store, self.request, needs)
    }

    pub fn calls(&mut self, method: Method) -> Vec<Call> {
        self.queue.extend(self.lessee.calls(self.now, &mut self.store));
        let (taken, rest) = self.queue.drain(..).partition(|call| call.method == method);
        self.queue = rest;
        taken
    }

    pub fn reply(&mut self, call: &Call, message: impl Message) {
        let body = message.encode_to_vec();
        self.lessee.reply(self.now, &mut self.store, call.id, Ok(&body));
    }

    pub fn open(&mut self) {
        for call in self.calls(Method::Open) {
            self.reply(&call, OpenReply { sid: 9, epoch: 1, sync_ms: 1_000 });
        }
    }

    /// Answers every Sync, item by item.
    pub fn serve(&mut self, answer: impl Fn(&Item) -> ItemReply) -> Vec<Item> {
        self.open();
        let mut seen = Vec::new();
        for call in self.calls(Method::Sync) {
            let request = SyncRequest::decode(call.body.as_slice()).unwrap();
            let items = request.items.iter().map(&answer).collect();
            seen.extend(request.items);
            self.reply(&call, SyncReply { epoch: 1, items, sync_ms: 0 });
        }
        seen
    }

    pub fn tick(&mut self, by: Nanos) {
        self.now += by;
        self.lessee.tick(self.now, &mut self.store);
    }

    pub fn woken(&mut self) -> Reserve {
        let mut woken = self.lessee.woken();
        assert_eq!(woken.len(), 1);
        woken.pop().unwrap().1
    }

    pub fn held(&mut self) -> u64 {
        records(&mut self.store).iter().map(|record| record.now.h).sum()
    }

    /// A VM that leads and has a lease on budget "a".
    pub fn with_lease(g: u64) -> (Vm, Hold) {
        let mut vm = Vm::new();
        vm.tick(SECOND);
        vm.tick(SECOND);
        assert_eq!(vm.reserve(vec![need("a", 100)]), Reserve::Wait);
        vm.serve(|item| granted(item, g));
        let Reserve::Held(hold) = vm.woken() else { panic!("not admitted") };
        (vm, hold)
    }
}

pub fn refusal(outcome: Reserve) -> Refusal {
    match outcome {
        Reserve::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}
