//! What only a store on Redis has to show: the same replies as the core alone after any sequence of calls, what it
//! refuses, and that grants survive its restarts, its emptying and a second control plane.

mod kit;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kit::{Kit, Server, ask, instance, month, open, sync};
use weir_lease::message::{Ask, DrainRequest, Item, OpenRequest, SyncRequest};
use weir_lease::{Instance, Unit};
use weir_ledger::{
    BudgetDef, Core, Desk, Engine, Entry, Error, Guarantee, Params, RedisOptions, Reply, Request, Scope,
    Time, WindowKind,
};

/// xorshift64*.
struct Rng(u64);

impl Rng {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % n.max(1)
    }
}

/// 2026-01-05 10:00:00 UTC.
const BEGIN: u64 = 1_767_607_200_000;

/// A core that knows nothing of Redis, called as a desk calls it.
struct Oracle {
    core: Core,
    calls: u64,
}

impl Oracle {
    fn call(&mut self, now: Time, request: Request) -> Option<Reply> {
        self.calls += 1;
        self.core.handle(now, self.calls, request);
        self.core.tick(now);
        let effect = self.core.take();
        effect.replies.into_iter().find(|(call, _)| *call == self.calls).and_then(|(_, reply)| reply.ok())
    }
}

/// What one process believes of one counter.
#[derive(Clone, Copy, Default)]
struct Held {
    wid: u64,
    g: u64,
    r: u64,
    u: u64,
    h: u64,
    rev: u64,
}

fn budgets(limit: u64) -> Vec<BudgetDef> {
    let def = |name: &str, limit, window, alert_at: &[u64]| BudgetDef {
        name: name.into(),
        unit: Unit::Tokens,
        limit,
        window,
        timezone: "UTC".into(),
        definition: "d".into(),
        each: vec![],
        alert_at: alert_at.to_vec(),
        max_life: 3_000,
    };
    vec![
        def("minute", limit, WindowKind::Minute, &[5_000, 9_000]),
        def("day", limit * 5, WindowKind::Day, &[]),
        def("rolling", limit, WindowKind::Rolling(20_000), &[8_000]),
    ]
}

/// Random calls of six sessions on three budgets, with limits, overrides, silences, releases and repeats: the engine
/// on Redis and the core alone say the same at every step.
async fn differ(server: &Server, seed: u64, steps: u64) {
    let mut rng = Rng(seed * 0x9e37_79b9 + 1);
    let time = Arc::new(AtomicU64::new(BEGIN));
    let params = Params { session_ttl: 5_000, recall_wait: 0, ..Params::default() };
    let desk = Desk::redis(RedisOptions {
        addresses: vec![server.address()],
        params,
        fixed_time: Some(time.clone()),
        prefix: format!("seed{seed}"),
        ..RedisOptions::default()
    })
    .unwrap();
    let mut oracle = Oracle { core: Core::new(params), calls: 0 };
    let at = |time: &AtomicU64| {
        let ms = time.load(Ordering::SeqCst);
        Time { wall: ms, mono: ms }
    };
    // Its rolling windows are cut where the server's are.
    oracle.core.restore(Entry::Clock { clock: BEGIN, wall: BEGIN });
    oracle.core.start(at(&time));
    let mut limit = 3_000 + rng.below(20_000);
    desk.set_budgets(budgets(limit)).await.unwrap();
    oracle.core.set_budgets(at(&time), budgets(limit)).unwrap();
    let mut sids = Vec::new();
    for nonce in 0..6 {
        let request = OpenRequest { node: "n".into(), nonce_hi: nonce, nonce_lo: 1, version: 1 };
        let Some(Reply::Open(expected)) = oracle.call(at(&time), Request::Open(request.clone())) else {
            panic!("an open is answered at once");
        };
        let opened = desk.open(request).await.unwrap();
        assert_eq!(opened.sid, expected.sid);
        sids.push(opened.sid);
    }
    let mut held = vec![[Held::default(); 3]; sids.len()];
    let mut last: Option<SyncRequest> = None;
    for step in 0..steps {
        time.fetch_add([0, 1, 20, 300, 2_500, 9_000][rng.below(6) as usize], Ordering::SeqCst);
        let now = at(&time);
        // Both do what the time asks before they hear anything.
        desk.drain(DrainRequest { sid: 99 }).await.unwrap_err();
        oracle.core.tick(now);
        oracle.core.take();
        if rng.below(60) == 0 {
            limit = 3_000 + rng.below(20_000);
            desk.set_budgets(budgets(limit)).await.unwrap();
            oracle.core.set_budgets(now, budgets(limit)).unwrap();
        }
        let scope =
            Scope { budget: ["minute", "day", "rolling"][rng.below(3) as usize].into(), ..Scope::default() };
        if rng.below(60) == 0 {
            let (add, until) = (rng.below(4) * 1_000, now.wall + rng.below(40_000));
            desk.override_limit(scope.clone(), add, until, "me".into()).await.unwrap();
            oracle.core.override_limit(now, scope.clone(), add, until, "me".into()).unwrap();
        }
        if rng.below(40) == 0 {
            let ours = desk.release_stranded(scope.clone(), None, "me".into()).await.unwrap();
            assert_eq!(
                ours,
                oracle.core.release_stranded(now, &scope, None, "me".into()),
                "seed {seed}, step {step}"
            );
        }
        let who = rng.below(sids.len() as u64) as usize;
        let mut items = Vec::new();
        let mut which = Vec::new();
        for (budget, name) in ["minute", "day", "rolling"].iter().enumerate() {
            if rng.below(3) == 0 {
                continue;
            }
            let one = &mut held[who][budget];
            let free = one.g - one.r - one.u - one.h;
            match rng.below(4) {
                0 => one.h += rng.below(free + 1),
                1 => {
                    let (ended, used) = (rng.below(one.h + 1), rng.below(101));
                    one.h -= ended;
                    one.u += ended * used / 100;
                }
                2 => one.r += rng.below(free + 1),
                _ => {}
            }
            one.rev += 1;
            let need = 1 + rng.below(limit / 3);
            let floor = if rng.below(2) == 0 { need } else { 1 + rng.below(need) };
            items.push(Item {
                instance: Some(Instance::new(name, Unit::Tokens, "", "d")),
                lane: 16,
                wid: one.wid,
                g: one.g,
                r: one.r,
                u: one.u,
                h: one.h,
                n: u32::from(one.h > 0),
                d: rng.below(3_000),
                mean: 1 + rng.below(800),
                rev: one.rev,
                ask: (rng.below(2) == 0).then_some(Ask { full: need, floor, min: floor.min(16), one: need }),
                no_grant: rng.below(10) == 0,
                headroom: rng.below(50),
                ..Item::default()
            });
            which.push(budget);
        }
        let mut request = SyncRequest { sid: sids[who], epoch: 0, items };
        let repeated = rng.below(12) == 0;
        if repeated && let Some(before) = &last {
            request = before.clone();
        }
        let Some(Reply::Sync(expected)) = oracle.call(now, Request::Sync(request.clone())) else {
            panic!("with no wait every sync is answered at once");
        };
        let reply = desk.sync(request.clone()).await.unwrap();
        assert_eq!(reply.items, expected.items, "seed {seed}, step {step}: {request:#?}");
        if !repeated {
            for (budget, item) in which.into_iter().zip(&reply.items) {
                let one = &mut held[who][budget];
                if item.wid > one.wid {
                    *one = Held { wid: item.wid, rev: one.rev, ..Held::default() };
                }
                if item.wid == one.wid {
                    one.g = one.g.max(item.g);
                }
            }
        }
        last = Some(request);
        if step % 10 == 0 {
            assert_eq!(desk.spend().await.unwrap(), oracle.core.spend(now), "seed {seed}, step {step}");
        }
    }
    // Limits were lowered, so what a window that is over had committed says nothing: only that its sums are right.
    oracle.core.set_budgets(at(&time), budgets(u64::MAX / 8)).unwrap();
    assert!(oracle.core.sound(), "seed {seed}: {}", oracle.core.unsound(true));
    // What another control plane reads of the store is what this one had in mind.
    let spend = desk.spend().await.unwrap();
    drop(desk);
    let again = Desk::redis(RedisOptions {
        addresses: vec![server.address()],
        params,
        fixed_time: Some(time.clone()),
        prefix: format!("seed{seed}"),
        ..RedisOptions::default()
    })
    .unwrap();
    again.set_budgets(budgets(limit)).await.unwrap();
    let settled = |all: &[weir_ledger::Spend]| {
        let mut all: Vec<_> =
            all.iter().map(|one| (one.instance.clone(), one.settled, one.limit, one.overcommitted)).collect();
        all.sort();
        all
    };
    assert_eq!(settled(&again.spend().await.unwrap()), settled(&spend), "seed {seed}");
}

fn seeds() -> u64 {
    std::env::var("WEIR_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(40)
}

#[tokio::test]
async fn random_calls_get_the_same_replies_from_the_core_alone_and_over_redis() {
    let server = Server::start(&["--appendonly", "no"]);
    for seed in 0..seeds() {
        differ(&server, seed, 150).await;
    }
}

#[tokio::test]
async fn a_server_that_evicts_is_refused_and_one_that_may_lose_its_tail_says_so() {
    let evicts = Server::start(&["--maxmemory-policy", "allkeys-lru"]);
    let options =
        |server: &Server| RedisOptions { addresses: vec![server.address()], ..RedisOptions::default() };
    let refused = Desk::redis(options(&evicts)).map(|_| ());
    assert!(matches!(&refused, Err(Error::Redis(why)) if why.contains("noeviction")), "{refused:?}");

    for (arguments, hard) in [
        (&["--appendonly", "yes", "--appendfsync", "always"][..], true),
        (&["--appendonly", "yes", "--appendfsync", "everysec"][..], false),
        (&["--appendonly", "no"][..], false),
    ] {
        let server = Server::start(arguments);
        let desk = Desk::redis(options(&server)).unwrap();
        assert_eq!(desk.guarantee().await.unwrap() == Guarantee::Hard, hard, "{arguments:?}");
    }
    for address in ["rediss://127.0.0.1:1", "http://127.0.0.1:1", "127.0.0.1:not-a-port"] {
        let nowhere = RedisOptions { addresses: vec![address.into()], ..RedisOptions::default() };
        assert!(Desk::redis(nowhere).is_err(), "{address}");
    }
}

#[tokio::test]
async fn a_server_that_is_down_at_the_start_is_joined_when_it_appears() {
    let mut kit = Kit::redis();
    let ledger = kit.open();
    ledger.set_budgets(month(1_000)).await.unwrap();
    let sid = open(&ledger, 1).await.sid;
    assert_eq!(sync(&ledger, sid, vec![ask(600, 1)]).await.items[0].g, 600);
    drop(ledger);
    kit.server.as_mut().unwrap().kill();

    let ledger = kit.open();
    assert!(ledger.away());
    // The policy is taken, the rest waits for what the store knows.
    ledger.set_budgets(month(1_100)).await.unwrap();
    let request = OpenRequest { node: "n".into(), nonce_hi: 2, nonce_lo: 1, version: 1 };
    assert_eq!(ledger.open(request.clone()).await.unwrap_err().code, 14);
    assert!(matches!(ledger.spend().await, Err(Error::Away)));
    assert_eq!(ledger.counters().await.unwrap().0.syncs, 0);
    kit.server.as_mut().unwrap().again();
    let other = loop {
        match ledger.open(request.clone()).await {
            Ok(opened) => break opened.sid,
            Err(status) => assert_eq!(status.code, 14),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(!ledger.away());
    // What was granted before it was down is remembered, and the limit is the one that was told meanwhile.
    let reply = sync(&ledger, other, vec![ask(600, 1)]).await.items.remove(0);
    assert!(reply.short.is_some() && reply.g == 0, "{reply:?}");
    assert_eq!(sync(&ledger, other, vec![ask(500, 2)]).await.items[0].g, 500);
    assert_eq!(ledger.spend().await.unwrap()[0].limit, 1_100);
}

#[tokio::test]
async fn a_server_that_appears_and_may_not_be_used_is_not_joined() {
    let mut evicts = Server::start(&["--maxmemory-policy", "allkeys-lru"]);
    evicts.kill();
    let options = RedisOptions { addresses: vec![evicts.address()], ..RedisOptions::default() };
    let ledger = Desk::redis(options).unwrap();
    ledger.set_budgets(month(1_000)).await.unwrap();
    evicts.again();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let request = OpenRequest { node: "n".into(), nonce_hi: 2, nonce_lo: 1, version: 1 };
    assert_eq!(ledger.open(request).await.unwrap_err().code, 14);
    assert!(ledger.away());
}

/// Waits until the ledger grants again.
async fn granted(ledger: &Desk, sid: u64, full: u64, rev: &mut u64) -> u64 {
    let mut said = None;
    for _ in 0..100 {
        *rev += 1;
        let reply = ledger.sync(SyncRequest { sid, epoch: 0, items: vec![ask(full, *rev)] }).await;
        if let Ok(reply) = &reply
            && reply.items[0].short.is_none()
        {
            return reply.items[0].g;
        }
        said = Some(reply);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("nothing was granted for ten seconds: {said:?}");
}

#[tokio::test]
async fn a_killed_server_comes_back_with_every_grant_and_the_ledger_goes_on_by_itself() {
    let mut kit = Kit::redis();
    kit.params.quarantine = 500;
    let ledger = kit.open();
    ledger.set_budgets(month(1_000)).await.unwrap();
    let (one, other) = (open(&ledger, 1).await, open(&ledger, 2).await.sid);
    assert_eq!(sync(&ledger, one.sid, vec![ask(600, 1)]).await.items[0].g, 600);
    kit.server.as_mut().unwrap().kill();
    let away = ledger.sync(SyncRequest { sid: one.sid, epoch: 0, items: vec![ask(100, 2)] }).await;
    assert_eq!(away.unwrap_err().code, 14);
    kit.server.as_mut().unwrap().again();
    let mut rev = 0;
    while ledger.sync(SyncRequest { sid: other, epoch: 0, items: vec![] }).await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // What was asked while it was away was decided, and never told: it stays out.
    let spend = ledger.spend().await.unwrap().remove(0);
    assert!(spend.left == 400 || spend.left == 300, "{spend:?}");
    assert_eq!(granted(&ledger, other, spend.left, &mut rev).await, spend.left);
    let spend = ledger.spend().await.unwrap().remove(0);
    assert_eq!((spend.left, spend.overcommitted), (0, 0), "nothing is forgotten and nothing granted twice");
    assert!(open(&ledger, 1).await.epoch > one.epoch, "every gateway reports again");
    drop(ledger);
    let again = kit.open();
    again.set_budgets(month(1_000)).await.unwrap();
    assert_eq!(again.spend().await.unwrap()[0].left, 0);
}

#[tokio::test]
async fn an_emptied_store_grants_nothing_until_an_operator_confirms() {
    let mut kit = Kit { server: Some(Server::start(&["--appendonly", "no"])), ..Kit::embedded() };
    kit.params.quarantine = 300;
    let note = kit.folder.0.join("id");
    let noted = RedisOptions { note: Some(note), ..kit.options() };
    let ledger = Desk::redis(noted.clone()).unwrap();
    ledger.set_budgets(month(1_000)).await.unwrap();
    let sid = open(&ledger, 1).await.sid;
    assert_eq!(sync(&ledger, sid, vec![ask(600, 1)]).await.items[0].g, 600);
    kit.server.as_mut().unwrap().kill();
    kit.server.as_mut().unwrap().again();
    let other = loop {
        let request = OpenRequest { node: "n".into(), nonce_hi: 2, nonce_lo: 1, version: 1 };
        match ledger.open(request).await {
            Ok(opened) => break opened.sid,
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    for rev in 1..10 {
        let reply = ledger.sync(SyncRequest { sid: other, epoch: 0, items: vec![ask(100, rev)] }).await;
        assert!(reply.is_err() || reply.unwrap().items[0].g == 0);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // Another control plane that has noted the store's id sees it too.
    let second = Desk::redis(noted).unwrap();
    second.set_budgets(month(1_000)).await.unwrap();
    ledger.confirm().await.unwrap();
    let mut rev = 100;
    let g = granted(&ledger, other, 400, &mut rev).await;
    assert!(g <= 400, "what this control plane had granted is remembered: {g}");
}

#[tokio::test]
async fn two_control_planes_over_one_store_never_grant_more_than_the_limit() {
    let kit = Kit::redis();
    let (one, two) = (Arc::new(kit.open()), Arc::new(kit.open()));
    for ledger in [&one, &two] {
        ledger.set_budgets(month(100_000)).await.unwrap();
    }
    let mut tasks = Vec::new();
    for nonce in 0..20 {
        let ledger = if nonce % 2 == 0 { one.clone() } else { two.clone() };
        tasks.push(tokio::spawn(async move {
            let sid = open(&*ledger, nonce).await.sid;
            let (mut g, mut wid, mut used) = (0, 0, 0);
            for rev in 1..400 {
                let item = Item { wid, g, u: used, ..ask(300, rev) };
                match ledger.sync(SyncRequest { sid, epoch: 0, items: vec![item] }).await {
                    Ok(reply) => {
                        (wid, g) = (reply.items[0].wid, g.max(reply.items[0].g));
                        // Everything that is granted is spent.
                        used = g;
                    }
                    Err(status) => assert_eq!(status.code, 14),
                }
            }
            used
        }));
    }
    let mut spent = 0;
    for task in tasks {
        spent += task.await.unwrap();
    }
    println!("{spent} of 100000 spent");
    assert!(spent <= 100_000, "{spent}");
    assert!(spent >= 98_000, "{spent}");
}

#[tokio::test]
async fn a_grant_is_told_only_when_the_replicas_have_it() {
    let primary = Server::hard();
    let mut replica =
        Server::start(&["--appendonly", "yes", "--replicaof", "127.0.0.1", &primary.port.to_string()]);
    let options = RedisOptions {
        // The replica first: the primary is found.
        addresses: vec![replica.address(), primary.address()],
        wait_replicas: 1,
        ..RedisOptions::default()
    };
    let ledger = Desk::redis(options).unwrap();
    ledger.set_budgets(month(1_000)).await.unwrap();
    let sid = open(&ledger, 1).await.sid;
    let mut rev = 0;
    // The replica has not finished its first copy, perhaps.
    let first = granted(&ledger, sid, 10, &mut rev).await;
    assert!(first >= 10);
    replica.kill();
    rev += 1;
    let before = ledger.spend().await.unwrap().remove(0).left;
    let untold = ledger.sync(SyncRequest { sid, epoch: 0, items: vec![ask(200, rev)] }).await;
    assert_eq!(untold.unwrap_err().code, 14);
    let spend = ledger.spend().await.unwrap().remove(0);
    assert_eq!(spend.instance, instance());
    assert!(spend.left + 200 <= before, "it stays outstanding: {spend:?}");
}
