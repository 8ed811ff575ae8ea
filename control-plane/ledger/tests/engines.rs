//! Every promise of an engine, tried on each of them: the log on a disk, and a real Redis server.

mod kit;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kit::{Kit, ask, instance, month, open, sync};
use weir_lease::message::{
    CloseReply, CloseRequest, DrainRequest, Item, OpenRequest, SyncRequest, WatchReply, WatchRequest,
};
use weir_lease::{Instance, Unit};
use weir_ledger::{Alert, Core, Engine, Error, Params, Reply, Request, Scope, Time, WindowKind};

/// The same tests on each engine.
macro_rules! on_each_engine {
    ($($name:ident)*) => {
        mod embedded {
            $(#[tokio::test] async fn $name() { super::$name(&mut super::Kit::embedded()).await; })*
        }
        mod redis {
            $(#[tokio::test] async fn $name() { super::$name(&mut super::Kit::redis()).await; })*
        }
    };
}

on_each_engine! {
    a_grant_survives_a_restart_and_the_epoch_rises
    figures_add_up_to_the_limit
    a_raised_limit_serves_those_who_were_told_to_wait
    a_recalled_lease_serves_the_one_who_waits
    a_lowered_limit_grants_nothing_and_shows_the_overcommitment
    an_unknown_budget_or_definition_is_gone_and_an_unknown_session_not_found
    a_session_closes_only_with_nothing_outstanding
    an_override_raises_the_limit_until_it_ends
    released_units_are_granted_again_and_what_was_spent_of_them_comes_on_top
    each_threshold_is_told_once_in_a_window
    a_removed_budget_grants_nothing_and_is_shown_until_its_window_ends
    headroom_is_kept_back_up_to_a_hundredth
    a_drained_process_is_told_and_gets_nothing_ahead
    a_rolling_window_frees_what_was_used_a_window_ago
    a_rolling_window_stops_counting_the_dead_and_grants_them_nothing_until_they_are_empty
}

async fn a_grant_survives_a_restart_and_the_epoch_rises(kit: &mut Kit) {
    let ledger = kit.open();
    ledger.set_budgets(month(1_000)).await.unwrap();
    let first = open(&ledger, 7).await;
    let reply = sync(&ledger, first.sid, vec![ask(600, 1)]).await;
    assert_eq!(reply.items[0].g, 600);
    drop(ledger);

    let ledger = kit.open();
    ledger.set_budgets(month(1_000)).await.unwrap();
    let again = open(&ledger, 7).await;
    assert_eq!(again.sid, first.sid, "the same process life is the same session");
    assert!(again.epoch > first.epoch);
    let other = open(&ledger, 8).await;
    assert_ne!(other.sid, first.sid);
    let reply = sync(&ledger, other.sid, vec![ask(600, 1)]).await;
    let item = &reply.items[0];
    assert!(item.short.is_some() && item.g == 0, "{item:?}");
    let figures = item.figures.as_ref().unwrap();
    assert_eq!((figures.limit, figures.left, figures.leased), (1_000, 400, 600));
    assert_eq!((figures.window.as_str(), figures.timezone.as_str()), ("month", "Europe/Berlin"));
}

async fn figures_add_up_to_the_limit(kit: &mut Kit) {
    let ledger = kit.open();
    ledger.set_budgets(month(1_000)).await.unwrap();
    let sid = open(&ledger, 1).await.sid;
    let granted = sync(&ledger, sid, vec![ask(500, 1)]).await.items[0].clone();
    let report = Item { wid: granted.wid, g: granted.g, u: 120, h: 80, n: 3, rev: 2, ask: None, ..ask(0, 2) };
    sync(&ledger, sid, vec![report]).await;
    let spend = ledger.spend().await.unwrap();
    let one = &spend[0];
    assert_eq!((one.settled, one.held, one.running, one.stranded), (120, 80, 3, 0));
    assert_eq!(one.settled + one.held + one.leased + one.stranded + one.left, one.limit);
}

async fn a_raised_limit_serves_those_who_were_told_to_wait(kit: &mut Kit) {
    let ledger = Arc::new(kit.open());
    ledger.set_budgets(month(100)).await.unwrap();
    let sid = open(&*ledger, 1).await.sid;
    assert!(sync(&*ledger, sid, vec![ask(600, 1)]).await.items[0].short.is_some());
    let waiting = Arc::clone(&ledger);
    let epoch = open(&*ledger, 1).await.epoch;
    let watch =
        tokio::spawn(async move { waiting.watch(WatchRequest { sid, epoch, wait_ms: 10_000 }).await });
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    ledger.set_budgets(month(1_000)).await.unwrap();
    let news: WatchReply = watch.await.unwrap().unwrap();
    assert!(news.limits);
    assert_eq!(news.wake.iter().map(|id| u128::from(*id)).collect::<Vec<_>>(), [instance().id()]);
    assert_eq!(sync(&*ledger, sid, vec![ask(600, 2)]).await.items[0].g, 600);
}

async fn a_recalled_lease_serves_the_one_who_waits(kit: &mut Kit) {
    let ledger = Arc::new(kit.open());
    ledger.set_budgets(month(1_000)).await.unwrap();
    let (rich, poor) = (open(&*ledger, 1).await, open(&*ledger, 2).await);
    let lease = sync(&*ledger, rich.sid, vec![ask(900, 1)]).await.items[0].clone();
    let asking = Arc::clone(&ledger);
    let wait = tokio::spawn(async move { sync(&*asking, poor.sid, vec![ask(500, 1)]).await });
    let news =
        ledger.watch(WatchRequest { sid: rich.sid, epoch: rich.epoch, wait_ms: 10_000 }).await.unwrap();
    assert_eq!(news.recall.len(), 1);
    let back = Item { wid: lease.wid, g: lease.g, r: lease.g, rev: 2, ask: None, ..ask(0, 2) };
    sync(&*ledger, rich.sid, vec![back]).await;
    assert_eq!(wait.await.unwrap().items[0].g, 500);
}

async fn a_lowered_limit_grants_nothing_and_shows_the_overcommitment(kit: &mut Kit) {
    let ledger = kit.open();
    ledger.set_budgets(month(1_000)).await.unwrap();
    let sid = open(&ledger, 1).await.sid;
    sync(&ledger, sid, vec![ask(900, 1)]).await;
    ledger.set_budgets(month(500)).await.unwrap();
    let other = open(&ledger, 2).await.sid;
    assert!(sync(&ledger, other, vec![ask(10, 1)]).await.items[0].g <= 10);
    let spend = ledger.spend().await.unwrap();
    assert_eq!((spend[0].limit, spend[0].left), (500, 0));
    assert!(spend[0].overcommitted >= 400);
}

async fn an_unknown_budget_or_definition_is_gone_and_an_unknown_session_not_found(kit: &mut Kit) {
    let ledger = kit.open();
    ledger.set_budgets(month(1_000)).await.unwrap();
    let sid = open(&ledger, 1).await.sid;
    let other = Item { instance: Some(Instance::new("b", Unit::Tokens, "", "another")), ..ask(5, 1) };
    assert!(sync(&ledger, sid, vec![other]).await.items[0].gone);
    let unknown = ledger.sync(SyncRequest { sid: 12_345, epoch: 0, items: vec![] }).await;
    assert_eq!(unknown.unwrap_err().code, 5);
}

async fn a_session_closes_only_with_nothing_outstanding(kit: &mut Kit) {
    let ledger = kit.open();
    ledger.set_budgets(month(1_000)).await.unwrap();
    let sid = open(&ledger, 1).await.sid;
    let lease = sync(&ledger, sid, vec![ask(100, 1)]).await.items[0].clone();
    ledger.drain(DrainRequest { sid }).await.unwrap();
    assert_eq!(ledger.close(CloseRequest { sid }).await.unwrap_err().code, 9);
    let last = Item { wid: lease.wid, g: lease.g, r: lease.g - 40, u: 40, rev: 2, ask: None, ..ask(0, 2) };
    sync(&ledger, sid, vec![last]).await;
    assert_eq!(ledger.close(CloseRequest { sid }).await, Ok(CloseReply {}));
    assert_eq!(ledger.close(CloseRequest { sid }).await, Ok(CloseReply {}));
    assert_eq!(ledger.sync(SyncRequest { sid, epoch: 0, items: vec![ask(1, 3)] }).await.unwrap_err().code, 9);
    let spend = ledger.spend().await.unwrap();
    assert_eq!((spend[0].settled, spend[0].left), (40, 960));
}

fn scope(subject: Option<&str>) -> Scope {
    Scope { budget: "b".into(), unit: None, subject: subject.map(str::to_owned) }
}

fn in_ms(ms: u64) -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64 + ms
}

async fn an_override_raises_the_limit_until_it_ends(kit: &mut Kit) {
    let ledger = kit.open();
    ledger.set_budgets(month(100)).await.unwrap();
    let sid = open(&ledger, 1).await.sid;
    assert!(sync(&ledger, sid, vec![ask(150, 1)]).await.items[0].short.is_some());
    ledger.override_limit(scope(None), 100, in_ms(1_500), "me".into()).await.unwrap();
    ledger.override_limit(scope(Some("another")), 7, in_ms(60_000), "me".into()).await.unwrap();
    assert_eq!(ledger.overrides().await.unwrap().len(), 2);
    let spend = ledger.spend().await.unwrap().remove(0);
    assert_eq!((spend.limit, spend.added), (200, 100));
    assert_eq!(sync(&ledger, sid, vec![ask(150, 2)]).await.items[0].g, 150);
    // It is remembered.
    drop(ledger);
    let ledger = kit.open();
    ledger.set_budgets(month(100)).await.unwrap();
    assert_eq!(ledger.spend().await.unwrap()[0].limit, 200);
    tokio::time::sleep(Duration::from_millis(1_600)).await;
    let spend = ledger.spend().await.unwrap().remove(0);
    assert_eq!((spend.limit, spend.added, spend.overcommitted), (100, 0, 50));
    let other = open(&ledger, 2).await.sid;
    assert!(sync(&ledger, other, vec![ask(10, 1)]).await.items[0].short.is_some());
    // Ended by hand, of exactly the same scope.
    ledger.override_limit(scope(None), 500, in_ms(60_000), "me".into()).await.unwrap();
    ledger.override_limit(scope(None), 0, in_ms(60_000), "me".into()).await.unwrap();
    assert_eq!(ledger.spend().await.unwrap()[0].limit, 100);
    let unknown = Scope { budget: "none".into(), ..Scope::default() };
    let refused = ledger.override_limit(unknown, 1, in_ms(60_000), "me".into()).await;
    assert!(matches!(refused, Err(Error::NoBudget(_))));
    let audit = ledger.audit().await.unwrap();
    assert!(audit.len() >= 4 && audit.iter().all(|one| one.by == "me"), "{audit:?}");
}

async fn released_units_are_granted_again_and_what_was_spent_of_them_comes_on_top(kit: &mut Kit) {
    kit.params.session_ttl = 300;
    let ledger = kit.open();
    ledger.set_budgets(month(1_000)).await.unwrap();
    let lost = open(&ledger, 1).await.sid;
    let lease = sync(&ledger, lost, vec![ask(900, 1)]).await.items[0].clone();
    assert_eq!(ledger.release_stranded(scope(None), None, "me".into()).await.unwrap(), [], "it lives");
    tokio::time::sleep(Duration::from_millis(400)).await;
    let spend = ledger.spend().await.unwrap().remove(0);
    assert_eq!((spend.stranded, spend.left), (900, 100));
    assert_eq!(ledger.release_stranded(scope(None), Some(77), "me".into()).await.unwrap(), []);
    let released = ledger.release_stranded(scope(None), Some(lost), "me".into()).await.unwrap();
    assert_eq!((released.len(), released[0].units, released[0].sid), (1, 900, lost));
    assert_eq!(ledger.spend().await.unwrap()[0].left, 1_000);
    // A restart does not forget it.
    drop(ledger);
    let ledger = kit.open();
    ledger.set_budgets(month(1_000)).await.unwrap();
    let other = open(&ledger, 2).await.sid;
    assert_eq!(sync(&ledger, other, vec![ask(950, 1)]).await.items[0].g, 950);
    // It was only away. What it has spent is booked, nothing more is granted, everything is called home.
    let late = Item { wid: lease.wid, g: 900, u: 300, h: 100, n: 1, rev: 2, ..ask(50, 2) };
    let answer = sync(&ledger, lost, vec![late]).await.items[0].clone();
    assert_eq!((answer.g, answer.cap, answer.tight), (900, 0, true));
    let spend = ledger.spend().await.unwrap().remove(0);
    assert_eq!((spend.settled, spend.overcommitted, spend.left), (300, 250, 0));
    let home = Item { wid: lease.wid, g: 900, u: 400, r: 500, rev: 3, ask: None, ..ask(0, 3) };
    sync(&ledger, lost, vec![home]).await;
    let all = Item { wid: lease.wid, g: 950, r: 950, rev: 2, ask: None, ..ask(0, 2) };
    sync(&ledger, other, vec![all]).await;
    let spend = ledger.spend().await.unwrap().remove(0);
    assert_eq!((spend.settled, spend.left, spend.overcommitted), (400, 600, 0));
    // With nothing left in hand it is a session like any other.
    let again = Item { wid: lease.wid, g: 900, u: 400, r: 500, ..ask(60, 4) };
    assert!(sync(&ledger, lost, vec![again]).await.items[0].g >= 960);
}

async fn each_threshold_is_told_once_in_a_window(kit: &mut Kit) {
    let ledger = kit.open();
    let mut budgets = month(1_000);
    budgets[0].alert_at = vec![5_000, 8_000, 10_000];
    ledger.set_budgets(budgets.clone()).await.unwrap();
    let sid = open(&ledger, 1).await.sid;
    let lease = sync(&ledger, sid, vec![ask(900, 1)]).await.items[0].clone();
    for (rev, used) in [(2, 499), (3, 500), (4, 850), (5, 850)] {
        let report = Item { wid: lease.wid, g: 900, u: used, rev, ask: None, no_grant: true, ..ask(0, rev) };
        sync(&ledger, sid, vec![report]).await;
    }
    let told = |alerts: &[Alert]| alerts.iter().map(|one| (one.threshold, one.spent)).collect::<Vec<_>>();
    let alerts = ledger.alerts().await.unwrap();
    assert_eq!(told(&alerts), [(5_000, 500), (8_000, 850)]);
    assert_eq!((alerts[0].wid, alerts[0].limit), (lease.wid, 1_000));
    assert_eq!(ledger.spend().await.unwrap()[0].alerts, [5_000, 8_000]);
    drop(ledger);
    let ledger = kit.open();
    ledger.set_budgets(budgets).await.unwrap();
    ledger.spend().await.unwrap();
    assert_eq!(told(&ledger.alerts().await.unwrap()), [(5_000, 500), (8_000, 850)]);
}

async fn a_removed_budget_grants_nothing_and_is_shown_until_its_window_ends(kit: &mut Kit) {
    let ledger = kit.open();
    ledger.set_budgets(month(1_000)).await.unwrap();
    let sid = open(&ledger, 1).await.sid;
    let lease = sync(&ledger, sid, vec![ask(300, 1)]).await.items[0].clone();
    let mut renamed = month(1_000);
    renamed[0].name = "c".into();
    ledger.set_budgets(renamed).await.unwrap();
    let report = Item { wid: lease.wid, g: 300, u: 120, h: 80, n: 1, rev: 2, ..ask(50, 2) };
    assert!(sync(&ledger, sid, vec![report]).await.items[0].gone);
    let spend = ledger.spend().await.unwrap().remove(0);
    assert_eq!((spend.gone, spend.settled, spend.held, spend.limit), (true, 120, 80, 0));
    // It comes back with what was spent.
    ledger.set_budgets(month(1_000)).await.unwrap();
    let spend = ledger.spend().await.unwrap().remove(0);
    assert_eq!((spend.gone, spend.settled, spend.left), (false, 120, 700));
}

async fn headroom_is_kept_back_up_to_a_hundredth(kit: &mut Kit) {
    let ledger = kit.open();
    ledger.set_budgets(month(10_000)).await.unwrap();
    let sid = open(&ledger, 1).await.sid;
    let lease = sync(&ledger, sid, vec![ask(1_000, 1)]).await.items[0].clone();
    let report = |rev, headroom| Item {
        wid: lease.wid,
        g: lease.g,
        h: 1_000,
        n: 1,
        rev,
        headroom,
        ask: None,
        no_grant: true,
        ..ask(0, rev)
    };
    for (rev, headroom, kept) in [(2, 30, 30), (3, 5_000, 100), (4, 0, 0)] {
        sync(&ledger, sid, vec![report(rev, headroom)]).await;
        let spend = ledger.spend().await.unwrap().remove(0);
        assert_eq!((spend.headroom, spend.left), (kept, 10_000 - lease.g - kept));
    }
}

async fn a_drained_process_is_told_and_gets_nothing_ahead(kit: &mut Kit) {
    let ledger = kit.open();
    ledger.set_budgets(month(1_000_000)).await.unwrap();
    let one = open(&ledger, 1).await;
    ledger.drain(DrainRequest { sid: one.sid }).await.unwrap();
    let news = ledger.watch(WatchRequest { sid: one.sid, epoch: one.epoch, wait_ms: 5_000 }).await.unwrap();
    assert!(news.drain);
    assert_eq!(sync(&ledger, one.sid, vec![ask(100, 1)]).await.items[0].g, 100, "what is asked, and no more");
    let holders = ledger.holders().await.unwrap();
    assert!(holders[0].draining && holders[0].counters == 1 && !holders[0].lost);
    assert_eq!(ledger.drain(DrainRequest { sid: 99 }).await.unwrap_err().code, 5);
}

async fn a_rolling_window_frees_what_was_used_a_window_ago(kit: &mut Kit) {
    kit.params.session_ttl = 500;
    let ledger = kit.open();
    let mut budgets = month(1_000);
    budgets[0].window = WindowKind::Rolling(1_200);
    budgets[0].max_life = 100;
    ledger.set_budgets(budgets.clone()).await.unwrap();
    let sid = open(&ledger, 1).await.sid;
    let lease = sync(&ledger, sid, vec![ask(1_000, 1)]).await.items[0].clone();
    assert_eq!((lease.wid, lease.g, lease.ends_in_ms, lease.hold_ms), (1, 1_000, 500, 100));
    let used = Item { wid: 1, g: 1_000, u: 600, r: 400, rev: 2, ask: None, no_grant: true, ..ask(0, 2) };
    sync(&ledger, sid, vec![used]).await;
    let spend = ledger.spend().await.unwrap().remove(0);
    assert_eq!((spend.settled, spend.left, spend.kind), (600, 400, WindowKind::Rolling(1_200)));
    let short = sync(&ledger, sid, vec![Item { wid: 1, g: 1_000, u: 600, r: 400, ..ask(500, 3) }]).await;
    assert!(short.items[0].short.is_some(), "{short:?}");
    // A restart keeps the buckets; it may count them for longer, never for less.
    drop(ledger);
    let ledger = kit.open();
    ledger.set_budgets(budgets).await.unwrap();
    assert_eq!(ledger.spend().await.unwrap()[0].settled, 600);
    if kit.server.is_none() {
        return;
    }
    tokio::time::sleep(Duration::from_millis(1_300)).await;
    assert_eq!(ledger.spend().await.unwrap()[0].left, 1_000);
    let again = sync(&ledger, sid, vec![Item { wid: 1, g: 1_000, u: 600, r: 400, ..ask(1_000, 4) }]).await;
    assert_eq!(again.items[0].g, 2_000);
}

async fn a_rolling_window_stops_counting_the_dead_and_grants_them_nothing_until_they_are_empty(
    kit: &mut Kit,
) {
    kit.params.session_ttl = 200;
    let ledger = kit.open();
    let mut budgets = month(1_000);
    budgets[0].window = WindowKind::Rolling(600);
    budgets[0].max_life = 100;
    ledger.set_budgets(budgets).await.unwrap();
    let sid = open(&ledger, 1).await.sid;
    assert_eq!(sync(&ledger, sid, vec![ask(1_000, 1)]).await.items[0].g, 1_000);
    // Silent for 0.2 s + 0.1 s + 0.6 s; looked for every 5 s.
    tokio::time::sleep(Duration::from_millis(6_000)).await;
    let spend = ledger.spend().await.unwrap().remove(0);
    assert_eq!((spend.stranded, spend.left), (0, 1_000));
    let late = Item { wid: 1, g: 1_000, u: 50, h: 950, n: 1, ..ask(10, 2) };
    let answer = sync(&ledger, sid, vec![late]).await.items[0].clone();
    assert_eq!((answer.g, answer.ends_in_ms), (1_000, 0), "nothing may be reserved of what is not counted");
    assert_eq!(ledger.spend().await.unwrap()[0].settled, 50);
    let empty = Item { wid: 1, g: 1_000, u: 50, r: 950, ..ask(10, 3) };
    let answer = sync(&ledger, sid, vec![empty]).await.items[0].clone();
    assert!(answer.g >= 1_010 && answer.ends_in_ms == 200, "{answer:?}");
}

#[test]
fn many_processes_are_told_to_report_less_often() {
    let mut core = Core::new(Params::default());
    let now = Time { wall: 1_767_607_240_000, mono: 1_000 };
    core.start(now);
    let mut open = |nonce: u64| {
        let request = OpenRequest { node: "n".into(), nonce_hi: nonce, nonce_lo: 1, version: 1 };
        core.handle(now, 1, Request::Open(request));
        match core.take().replies.pop() {
            Some((1, Ok(Reply::Open(reply)))) => reply,
            other => panic!("{other:?}"),
        }
    };
    let first = open(0);
    assert_eq!(first.sync_ms, 1_000);
    for nonce in 1..6_000 {
        open(nonce);
    }
    assert_eq!(open(0).sync_ms, 3_000, "two thousand reports a second");
    for nonce in 6_000..12_000 {
        open(nonce);
    }
    let longest = open(0).sync_ms;
    assert_eq!(longest, 5_000, "a living process is heard of three times before it would count as lost");

    // Those who are there hear of it with the answer to their next report; when the others have died, too.
    let mut report = |mono: u64| {
        let now = Time { mono, ..now };
        core.tick(now);
        core.handle(now, 2, Request::Sync(SyncRequest { sid: first.sid, epoch: 0, items: vec![] }));
        match core.take().replies.pop() {
            Some((2, Ok(Reply::Sync(reply)))) => reply.sync_ms,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(report(2_000), 5_000);
    assert_eq!(report(20_000), 1_000);
}
