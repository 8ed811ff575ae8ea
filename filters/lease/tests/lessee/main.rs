//! One VM's client against a ledger that says what the test wants.

// The helpers outside test functions fail by panicking, like the tests they serve.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod kit;
mod waiting;

use prost::Message;
use weir_lease::message::{Item, ItemReply, Short, SyncReply, SyncRequest, WatchReply};
use weir_lease::{Code, Hold, LedgerLost, MS, Method, Need, Reserve, SECOND, records};

use kit::{Vm, WID, budget, granted, need, refusal, short};

#[test]
fn the_first_request_asks_and_the_next_ones_do_not() {
    let (mut vm, first) = Vm::with_lease(10_000);
    assert_eq!(first.amounts().collect::<Vec<_>>(), [100]);
    assert_eq!(first.windows().collect::<Vec<_>>(), [WID]);
    let Reserve::Held(second) = vm.reserve(vec![need("a", 300)]) else { panic!() };
    assert!(vm.calls(Method::Sync).is_empty());
    vm.lessee.settle(vm.now, &mut vm.store, first, &[40]);
    vm.lessee.settle(vm.now, &mut vm.store, second, &[]);
    let record = &records(&mut vm.store)[0];
    assert_eq!((record.now.h, record.now.u), (0, 340));
}

#[test]
fn a_process_reports_as_often_as_the_ledger_last_said_and_is_as_patient_with_it() {
    let mut vm = Vm::new();
    vm.tick(SECOND);
    vm.tick(SECOND);
    vm.open();
    let said = |vm: &mut Vm, seconds: u64, sync_ms: u32| {
        let mut reports = 0;
        for _ in 0..seconds {
            vm.tick(SECOND);
            for call in vm.calls(Method::Sync) {
                reports += 1;
                vm.reply(&call, SyncReply { epoch: 1, items: Vec::new(), sync_ms });
            }
        }
        reports
    };
    assert!(said(&mut vm, 5, 4_000) <= 2);
    assert_eq!(said(&mut vm, 40, 4_000), 10);
    assert_eq!(said(&mut vm, 40, 0), 10, "an older ledger does not say");
    // Ten seconds of silence are two reports that were lost: the ledger is not.
    vm.tick(10 * SECOND);
    assert_eq!(vm.reserve(vec![need("a", 10)]), Reserve::Wait);
    vm.tick(5 * SECOND);
    assert_eq!(refusal(vm.reserve(vec![need("a", 10)])).code, Code::Unavailable);
}

#[test]
fn without_a_ledger_the_lease_lasts_five_seconds_and_its_return_is_noticed() {
    let (mut vm, _hold) = Vm::with_lease(10_000);
    for _ in 0..4 {
        vm.tick(SECOND);
        for call in vm.lessee.calls(vm.now, &mut vm.store) {
            vm.lessee.reply(vm.now, &mut vm.store, call.id, Err(14));
        }
        assert!(matches!(vm.reserve(vec![need("a", 10)]), Reserve::Held(_)));
    }
    vm.tick(2 * SECOND);
    let lost = refusal(vm.reserve(vec![need("a", 10)]));
    assert_eq!((lost.code, lost.code.status()), (Code::Unavailable, 503));
    assert!(lost.text().contains("its ledger does not answer"), "{}", lost.text());
    // The lease in hand, if the budget says so; then no more.
    let local = Need { ledger_lost: LedgerLost::AllowLocal, ..need("a", 10) };
    assert!(matches!(vm.reserve(vec![local.clone()]), Reserve::Held(_)));
    assert_eq!(refusal(vm.reserve(vec![Need { full: 20_000, ..local }])).code, Code::Unavailable);
    vm.tick(SECOND);
    vm.serve(|item| granted(item, 10_000));
    assert!(matches!(vm.reserve(vec![need("a", 10)]), Reserve::Held(_)));
}

#[test]
fn a_ledger_that_does_not_answer_refuses_within_a_second_or_two() {
    let mut vm = Vm::new();
    assert_eq!(vm.reserve(vec![need("a", 100)]), Reserve::Wait);
    let begun = vm.now;
    loop {
        for call in vm.lessee.calls(vm.now, &mut vm.store) {
            vm.lessee.reply(vm.now, &mut vm.store, call.id, Err(14));
        }
        if let Some((_, outcome)) = vm.lessee.woken().pop() {
            assert_eq!(refusal(outcome).code, Code::Unavailable);
            break;
        }
        let wait = u64::from(vm.lessee.tick_in_ms(vm.now)) * MS;
        vm.tick(wait);
        assert!(vm.now - begun <= 2 * SECOND);
    }
    assert!(vm.now - begun >= SECOND);
}

#[test]
fn of_two_budgets_both_are_held_or_none() {
    let (mut vm, hold) = Vm::with_lease(10_000);
    vm.lessee.settle(vm.now, &mut vm.store, hold, &[0]);
    assert_eq!(vm.reserve(vec![need("a", 50), need("b", 50)]), Reserve::Wait);
    assert_eq!(vm.held(), 0, "nothing is held while waiting");
    let asked = vm.serve(|item| short(item, 200));
    assert_eq!(asked.len(), 1, "only the short one is asked for");
    let refused = refusal(vm.woken());
    assert_eq!(vm.held(), 0);
    assert_eq!((refused.code, refused.budgets.len()), (Code::Exhausted, 1));
    assert_eq!(refused.budgets[0].instance, budget("b"));
    assert_eq!(refused.retry_after_ms, 90_000);
    assert_eq!(vm.reserve(vec![need("a", 50), need("c", 70)]), Reserve::Wait);
    vm.serve(|item| granted(item, 70));
    let Reserve::Held(both) = vm.woken() else { panic!() };
    assert_eq!(both.amounts().collect::<Vec<_>>(), [50, 70]);
    assert_eq!(vm.held(), 120);
}

#[test]
fn a_refusal_without_asking_needs_a_live_mark() {
    let mut vm = Vm::new();
    assert_eq!(vm.reserve(vec![need("a", 100)]), Reserve::Wait);
    vm.serve(|item| short(item, 200));
    refusal(vm.woken());
    // Live: refused here, with the same figures. A smaller need is another question.
    assert_eq!(refusal(vm.reserve(vec![need("a", 100)])).budgets[0].figures.as_ref().unwrap().left, 10);
    assert_eq!(vm.reserve(vec![need("a", 5)]), Reserve::Wait);
    vm.serve(|item| granted(item, 5));
    assert!(matches!(vm.woken(), Reserve::Held(_)));
    assert_eq!(vm.reserve(vec![need("a", 100)]), Reserve::Wait);
    vm.serve(|item| short(item, 200));
    refusal(vm.woken());
    // Over: asked again.
    vm.now += 201 * MS;
    assert_eq!(vm.reserve(vec![need("a", 100)]), Reserve::Wait);
}

#[test]
fn a_mark_does_not_outlive_the_window_that_it_speaks_of() {
    let mut vm = Vm::new();
    assert_eq!(vm.reserve(vec![need("a", 100)]), Reserve::Wait);
    vm.serve(|item| ItemReply { ends_in_ms: 100, ..short(item, 900) });
    refusal(vm.woken());
    vm.now += 99 * MS;
    refusal(vm.reserve(vec![need("a", 100)]));
    vm.now += MS;
    assert_eq!(vm.reserve(vec![need("a", 100)]), Reserve::Wait, "the next window may have it");
}

#[test]
fn while_the_ledger_recovers_refusals_made_here_say_so_too() {
    let recovers = |item: &Item| {
        let short = Short { for_ms: 200, terminal: false, quarantine: true };
        ItemReply { short: Some(short), ..self::short(item, 200) }
    };
    let mut vm = Vm::new();
    assert_eq!(vm.reserve(vec![need("a", 100)]), Reserve::Wait);
    vm.serve(recovers);
    assert_eq!(refusal(vm.woken()).code, Code::Quarantine);
    for amount in [100, 1] {
        assert_eq!(
            refusal(vm.reserve(vec![need("a", amount)])).code,
            Code::Quarantine,
            "nobody gets anything"
        );
    }
    vm.now += 201 * MS;
    assert_eq!(vm.reserve(vec![need("a", 100)]), Reserve::Wait);
    vm.serve(|item| short(item, 200));
    refusal(vm.woken());
    assert_ne!(refusal(vm.reserve(vec![need("a", 100)])).code, Code::Quarantine, "it is over");
    assert_eq!(vm.reserve(vec![need("a", 5)]), Reserve::Wait, "a smaller need is another question again");
}

#[test]
fn a_wake_ends_the_mark_and_a_recall_empties_the_lease() {
    let (mut vm, _hold) = Vm::with_lease(150);
    assert_eq!(vm.reserve(vec![need("a", 100)]), Reserve::Wait);
    vm.serve(|item| ItemReply { g: 150, ..short(item, 60_000) });
    refusal(vm.woken());
    vm.tick(SECOND);
    let watch = vm.calls(Method::Watch).pop().expect("one long poll is always out");
    vm.reply(&watch, WatchReply { epoch: 1, wake: vec![budget("a").id().into()], ..WatchReply::default() });
    assert_eq!(vm.reserve(vec![need("a", 100)]), Reserve::Wait, "the mark is gone");
    let watch = vm.calls(Method::Watch).pop().expect("the next long poll is out");
    vm.serve(|item| ItemReply { g: 150, ..short(item, 60_000) });
    vm.reply(&watch, WatchReply { epoch: 1, recall: vec![budget("a").id().into()], ..WatchReply::default() });
    let reports = vm.calls(Method::Sync);
    let report = SyncRequest::decode(reports[0].body.as_slice()).unwrap();
    let item = &report.items[0];
    assert_eq!(
        (item.g, item.r, item.h),
        (150, 50, 100),
        "all that is free goes home, and what is held stays"
    );
    assert!(item.no_grant);
}

#[test]
fn what_exceeds_a_tight_cap_goes_home_within_50_ms() {
    let mut vm = Vm::new();
    vm.tick(0);
    assert_eq!(vm.reserve(vec![need("a", 100)]), Reserve::Wait);
    vm.serve(|item| ItemReply { tight: true, cap: 0, ..granted(item, 100) });
    let Reserve::Held(hold) = vm.woken() else { panic!() };
    vm.lessee.settle(vm.now, &mut vm.store, hold, &[30]);
    assert!(vm.calls(Method::Sync).is_empty());
    let wait = vm.lessee.tick_in_ms(vm.now);
    assert!(wait <= 50);
    vm.tick(u64::from(wait) * MS);
    let report = SyncRequest::decode(vm.calls(Method::Sync)[0].body.as_slice()).unwrap();
    assert_eq!((report.items[0].u, report.items[0].r), (30, 70));
}

#[test]
fn a_grant_for_a_request_that_is_gone_is_held_by_nobody() {
    let mut vm = Vm::new();
    assert_eq!(vm.reserve(vec![need("a", 100)]), Reserve::Wait);
    vm.open();
    let call = vm.calls(Method::Sync).pop().unwrap();
    vm.lessee.cancel(vm.now, &mut vm.store, 1);
    let request = SyncRequest::decode(call.body.as_slice()).unwrap();
    vm.reply(&call, SyncReply { epoch: 1, items: vec![granted(&request.items[0], 100)], sync_ms: 0 });
    assert!(vm.lessee.woken().is_empty());
    assert_eq!(vm.held(), 0);
    // Decided, and gone before it was told.
    assert!(matches!(vm.reserve(vec![need("a", 100)]), Reserve::Held(_)));
    assert_eq!(vm.reserve(vec![need("a", 70)]), Reserve::Wait);
    vm.serve(|item| granted(item, 170));
    vm.lessee.cancel(vm.now, &mut vm.store, vm.request);
    assert!(vm.lessee.woken().is_empty());
    assert_eq!(vm.held(), 100);
}

#[test]
fn a_drained_process_returns_all_and_closes_when_its_last_request_ends() {
    let (mut vm, hold) = Vm::with_lease(10_000);
    vm.lessee.drain(vm.now, &mut vm.store);
    assert_eq!(vm.calls(Method::Drain).len(), 1);
    vm.tick(SECOND);
    let reported = vm.serve(|item| granted(item, 10_000));
    assert_eq!((reported[0].h, reported[0].r), (100, 9_900));
    vm.tick(SECOND);
    assert!(vm.calls(Method::Close).is_empty());
    vm.lessee.settle(vm.now, &mut vm.store, hold, &[60]);
    for _ in 0..30 {
        vm.tick(SECOND);
        let calls = [vm.calls(Method::Sync), vm.calls(Method::Close)].concat();
        for call in calls {
            match call.method {
                Method::Sync => {
                    let request = SyncRequest::decode(call.body.as_slice()).unwrap();
                    let items = request.items.iter().map(|item| granted(item, 10_000)).collect();
                    vm.reply(&call, SyncReply { epoch: 1, items, sync_ms: 0 });
                }
                Method::Close => {
                    vm.lessee.reply(vm.now, &mut vm.store, call.id, Ok(&[]));
                    assert_eq!(refusal(vm.reserve(vec![need("a", 1)])).code, Code::Unavailable);
                    return;
                }
                _ => {}
            }
        }
    }
    panic!("never closed");
}

#[test]
fn a_request_without_a_cost_needs_no_ledger() {
    let mut vm = Vm::new();
    let Reserve::Held(hold) = vm.reserve(vec![need("a", 0)]) else { panic!() };
    vm.lessee.settle(vm.now, &mut vm.store, hold, &[0]);
    assert!(vm.lessee.calls(vm.now, &mut vm.store).is_empty());
}

#[test]
fn when_the_budget_allows_it_the_last_units_serve_a_smaller_answer() {
    let mut vm = Vm::new();
    let clamp = Need { min: 30, floor: 80, ..need("a", 100) };
    assert_eq!(vm.reserve(vec![clamp.clone()]), Reserve::Wait);
    vm.serve(|item| {
        assert_eq!(item.ask.unwrap().min, 30);
        ItemReply { g: 40, ..short(item, 100) }
    });
    let Reserve::Held(hold) = vm.woken() else { panic!() };
    assert_eq!(hold.amounts().collect::<Vec<_>>(), [40]);
    // While others hold what is missing, no answer is cut that short.
    let mut vm = Vm::new();
    assert_eq!(vm.reserve(vec![clamp]), Reserve::Wait);
    vm.serve(|item| {
        let mut reply = ItemReply { g: 40, ..short(item, 100) };
        reply.short.as_mut().unwrap().terminal = false;
        reply.figures.as_mut().unwrap().settled = 0;
        reply
    });
    assert_eq!(refusal(vm.woken()).code, Code::Held);
}

#[test]
fn a_soft_budget_never_refuses_and_counts_what_was_used() {
    let mut vm = Vm::new();
    let soft = Need { soft: true, ..need("a", 100) };
    let Reserve::Held(hold) = vm.reserve(vec![soft.clone(), need("b", 0)]) else {
        panic!("it waits for nobody")
    };
    assert_eq!(hold.amounts().collect::<Vec<_>>(), [100, 0]);
    vm.lessee.settle(vm.now, &mut vm.store, hold, &[70, 0]);
    // No window is known: it is owed, and the ledger is asked for the window with no grant.
    let asked = vm.serve(|item| ItemReply { g: 0, ..granted(item, 0) });
    assert_eq!((asked.len(), asked[0].ask, asked[0].u), (1, None, 0));
    vm.tick(200 * MS);
    assert_eq!(records(&mut vm.store)[0].now.u, 70);
    // Far beyond what was granted, and still counted exactly; one that nobody settles counts in full.
    let Reserve::Held(hold) = vm.reserve(vec![soft.clone()]) else { panic!() };
    vm.lessee.settle(vm.now, &mut vm.store, hold, &[]);
    assert_eq!(records(&mut vm.store)[0].now.u, 170);
    assert_eq!(vm.lessee.stats().excess, 0);
    vm.tick(SECOND);
    let told = vm.serve(|item| granted(item, 0));
    assert_eq!(told.last().map(|item| (item.u, item.h)), Some((170, 0)));
    // Nor does a lost ledger refuse.
    vm.now += 60 * SECOND;
    assert!(matches!(vm.reserve(vec![soft]), Reserve::Held(_)));
}

#[test]
fn what_is_owed_to_a_budget_that_is_gone_is_forgotten() {
    let mut vm = Vm::new();
    let Reserve::Held(hold) = vm.reserve(vec![Need { soft: true, ..need("a", 100) }]) else { panic!() };
    vm.lessee.settle(vm.now, &mut vm.store, hold, &[70]);
    let gone = |item: &Item| ItemReply { gone: true, rev: item.rev, ..ItemReply::default() };
    vm.serve(gone);
    let mut reported = Vec::new();
    for _ in 0..20 {
        vm.tick(200 * MS);
        reported = vm.serve(gone);
    }
    assert_eq!(reported, []);
}

#[test]
fn a_level_follows_what_this_process_spends_after_the_ledger_s_word() {
    let mut vm = Vm::new();
    assert_eq!(vm.reserve(vec![need("a", 100)]), Reserve::Wait);
    vm.serve(|item| ItemReply { limit: 1_000, room: 900, ..granted(item, 500) });
    let Reserve::Held(first) = vm.woken() else { panic!() };
    let level = |hold: &Hold, vm: &mut Vm| hold.levels(&mut vm.store)[0].unwrap();
    let told = level(&first, &mut vm);
    assert_eq!((told.limit, told.remaining, told.resets_at), (1_000, 800, vm.now + 3_600 * SECOND));
    let Reserve::Held(second) = vm.reserve(vec![need("a", 200)]) else { panic!("the lease is local") };
    assert_eq!(level(&second, &mut vm).remaining, 600);
    vm.lessee.settle(vm.now, &mut vm.store, first, &[10]);
    let Reserve::Held(third) = vm.reserve(vec![need("a", 1)]) else { panic!() };
    assert_eq!(level(&third, &mut vm).remaining, 689);
}

#[test]
fn a_rough_bound_will_do_only_where_plenty_is_left() {
    let mut vm = Vm::new();
    vm.tick(SECOND);
    vm.tick(SECOND);
    let roomy = |vm: &mut Vm, needs: &[Need]| vm.lessee.roomy(vm.now, &mut vm.store, needs);
    assert!(!roomy(&mut vm, &[need("a", 1)]), "nothing is known of it");
    assert_eq!(vm.reserve(vec![need("a", 100)]), Reserve::Wait);
    vm.serve(|item| ItemReply { roomy: true, ..granted(item, 10_100) });
    assert!(matches!(vm.woken(), Reserve::Held(_)));
    assert!(roomy(&mut vm, &[need("a", 5_000)]));
    assert!(!roomy(&mut vm, &[need("a", 5_001)]), "half of what is free, no more");
    assert!(!roomy(&mut vm, &[need("a", 1), need("b", 1)]), "every budget must have it");
    let soft = Need { soft: true, ..need("b", 1 << 40) };
    assert!(roomy(&mut vm, &[need("a", 1), soft]), "a soft budget refuses nobody");
    // The ledger has less than half left.
    let Reserve::Held(_) = vm.reserve(vec![need("a", 9_000)]) else { panic!("at hand") };
    vm.tick(SECOND);
    vm.serve(|item| granted(item, 20_000));
    assert!(!roomy(&mut vm, &[need("a", 1)]));
    vm.now += 3_600 * SECOND;
    assert!(!roomy(&mut vm, &[need("a", 1)]), "the window is over");
}

#[test]
fn what_answers_cost_above_their_reservations_is_told_to_the_ledger() {
    let (mut vm, first) = Vm::with_lease(10_000);
    let running: Vec<_> = (0..3).map(|_| vm.reserve(vec![need("a", 50)])).collect();
    assert!(running.iter().all(|one| matches!(one, Reserve::Held(_))));
    vm.tick(SECOND);
    assert!(vm.serve(|item| granted(item, 10_000)).iter().all(|item| item.headroom == 0));
    vm.lessee.settle(vm.now, &mut vm.store, first, &[130]);
    vm.tick(SECOND);
    let reported = vm.serve(|item| granted(item, 10_000));
    // Three run, each of which may cost thirty more too.
    assert_eq!(reported.last().map(|item| (item.n, item.headroom)), Some((3, 90)));
}

/// `cargo xtask bench ledger`: what a request costs that the lease in hand serves, reservation and settlement together.
/// Natively, with a map for shared data: the module does the same within Envoy, with five host calls.
#[test]
#[ignore = "prints a figure; run by hand in release mode"]
fn a_lease_hit_takes_microseconds() {
    const ROUNDS: u32 = 200_000;
    let (mut vm, first) = Vm::with_lease(1 << 40);
    vm.lessee.settle(vm.now, &mut vm.store, first, &[1]);
    let begun = std::time::Instant::now();
    for _ in 0..ROUNDS {
        let Reserve::Held(hold) = vm.reserve(vec![need("a", 100)]) else { panic!("not from the lease") };
        vm.lessee.settle(vm.now, &mut vm.store, hold, &[40]);
    }
    let each = begun.elapsed() / ROUNDS;
    println!(
        "a lease hit, reserved and settled: {each:?}; {} of {ROUNDS} without the ledger",
        vm.lessee.stats().local
    );
    assert_eq!(vm.lessee.stats().local, u64::from(ROUNDS));
    assert!(each.as_micros() <= 10, "{each:?}");
}
