//! Figures by hand: `cargo xtask bench ledger`, or
//! `cargo test --release -p weir-ledger --test figures -- --ignored --nocapture --test-threads 1`.

mod kit;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kit::Kit;
use weir_lease::message::{Ask, Item, OpenRequest, SyncRequest, WatchRequest};
use weir_lease::{
    Instance, LedgerLost, Lessee, Method, Mismatch, Need, Reserve, SECOND, Setup, SharedData, Unit,
};
use weir_ledger::{BudgetDef, Core, Desk, Engine, Params, Reply, Request, Time, WindowKind};

#[derive(Default)]
struct Memory {
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

fn budget(limit: u64) -> Vec<BudgetDef> {
    vec![BudgetDef {
        name: "b".into(),
        unit: Unit::Tokens,
        limit,
        window: WindowKind::Month,
        timezone: "UTC".into(),
        definition: "0123456789abcdef".into(),
        each: vec![],
        alert_at: vec![],
        max_life: 600_000,
    }]
}

/// Answers all that a client wants, at once.
async fn serve(engine: &Desk, lessee: &mut Lessee, store: &mut Memory, now: u64) {
    use prost::Message;
    for _ in 0..8 {
        let calls = lessee.calls(now, store);
        for call in calls {
            let reply = match call.method {
                Method::Open => {
                    let request = Message::decode(call.body.as_slice()).unwrap();
                    engine.open(request).await.unwrap().encode_to_vec()
                }
                Method::Sync => {
                    let request = Message::decode(call.body.as_slice()).unwrap();
                    engine.sync(request).await.unwrap().encode_to_vec()
                }
                _ => continue,
            };
            lessee.reply(now, store, call.id, Ok(&reply));
        }
    }
}

#[tokio::test]
#[ignore = "prints a figure"]
async fn a_lease_hit() {
    let folder = std::env::temp_dir().join(format!("weir-figures-hit-{}", std::process::id()));
    let engine = Desk::open(&folder).unwrap();
    engine.set_budgets(budget(u64::MAX / 4)).await.unwrap();
    let mut store = Memory::default();
    let mut lessee = Lessee::new(Setup { node: "n".into(), random: [1, 2] });
    let need = || {
        vec![Need::whole(Instance::new("b", Unit::Tokens, "", "0123456789abcdef"), 1_000, LedgerLost::Deny)]
    };
    let mut now = SECOND;
    let (mut hits, mut spent) = (0u32, Duration::ZERO);
    for request in 0..300_000u64 {
        now += 50_000;
        let begun = Instant::now();
        let outcome = lessee.reserve(now, &mut store, request, need());
        if let Reserve::Held(hold) = outcome {
            lessee.settle(now, &mut store, hold, &[400]);
            hits += 1;
            spent += begun.elapsed();
        }
        serve(&engine, &mut lessee, &mut store, now).await;
        for (_, outcome) in lessee.woken() {
            if let Reserve::Held(hold) = outcome {
                lessee.settle(now, &mut store, hold, &[400]);
            }
        }
    }
    println!(
        "reserve + settle on a lease: {:.0} ns, {hits} of 300,000 hits",
        spent.as_nanos() as f64 / f64::from(hits)
    );
    println!("{:?}", lessee.stats());
    drop(engine);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints a figure"]
async fn grants_per_second() {
    let shapes = [(1, true), (64, true), (1_024, true), (10_240, true), (10_240, false)];
    for (sessions, grants, redis) in
        [false, true].into_iter().flat_map(|redis| shapes.map(|(sessions, grants)| (sessions, grants, redis)))
    {
        let kit = if redis { Kit::redis() } else { Kit::embedded() };
        let engine = Arc::new(kit.open());
        engine.set_budgets(budget((1 << 53) - 1)).await.unwrap();
        let begun = Instant::now();
        let mut tasks = Vec::new();
        for session in 0..sessions {
            let engine = Arc::clone(&engine);
            tasks.push(tokio::spawn(async move {
                let open = OpenRequest { node: "n".into(), nonce_hi: session, nonce_lo: 1, version: 1 };
                let sid = engine.open(open).await.unwrap().sid;
                let (mut wid, mut g, mut u, mut rev) = (0, 0, 0, 0);
                let (mut slowest, mut calls) = (Duration::ZERO, 0u64);
                while begun.elapsed() < Duration::from_secs(3) {
                    rev += 1;
                    let ask = grants.then_some(Ask { full: 1_000, floor: 1_000, min: 1_000, one: 1_000 });
                    let item = Item {
                        instance: Some(Instance::new("b", Unit::Tokens, "", "0123456789abcdef")),
                        lane: 16,
                        wid,
                        g,
                        u,
                        rev,
                        ask,
                        ..Item::default()
                    };
                    let sent = Instant::now();
                    let reply = engine.sync(SyncRequest { sid, epoch: 0, items: vec![item] }).await.unwrap();
                    slowest = slowest.max(sent.elapsed());
                    calls += 1;
                    let item = &reply.items[0];
                    (wid, g) = (item.wid, item.g);
                    u = g;
                }
                (calls, slowest)
            }));
        }
        let (mut calls, mut slowest) = (0, Duration::ZERO);
        for task in tasks {
            let (one, slow) = task.await.unwrap();
            calls += one;
            slowest = slowest.max(slow);
        }
        let kind = if grants { "durable grants" } else { "reports of nothing new" };
        let store = if redis { "Redis, appendfsync always" } else { "embedded" };
        println!(
            "{store}, {sessions} sessions: {:.0} {kind} per second, slowest {slowest:?}",
            calls as f64 / 3.0
        );
    }
}

/// This process's resident memory in bytes.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap() * 4_096
}

#[test]
#[ignore = "prints a figure"]
fn memory_per_gateway() {
    let gateways = 100_000u64;
    let now = Time { wall: 1_767_607_240_000, mono: 1_000 };
    let mut core = Core::new(Params::default());
    core.start(now);
    core.set_budgets(now, budget(u64::MAX / 4)).unwrap();
    let before = resident();
    for nonce in 0..gateways {
        let node = format!("gateway-{nonce:06}");
        core.handle(now, 1, Request::Open(OpenRequest { node, nonce_hi: nonce, nonce_lo: 1, version: 1 }));
        let Some((_, Ok(Reply::Open(opened)))) = core.take().replies.pop() else { panic!("not opened") };
        let item = Item {
            instance: Some(Instance::new("b", Unit::Tokens, "", "0123456789abcdef")),
            lane: 16,
            rev: 1,
            d: 1_000,
            mean: 1_000,
            ask: Some(Ask { full: 1_000, floor: 1_000, min: 1_000, one: 1_000 }),
            ..Item::default()
        };
        core.handle(now, 2, Request::Sync(SyncRequest { sid: opened.sid, epoch: 0, items: vec![item] }));
        core.handle(
            now,
            3 + nonce,
            Request::Watch(WatchRequest { sid: opened.sid, epoch: 9, wait_ms: 10_000 }),
        );
        core.take();
    }
    let used = resident().saturating_sub(before) / gateways as usize;
    println!("the ledger's memory for a gateway with one counter and its long poll: {used} bytes");
}
