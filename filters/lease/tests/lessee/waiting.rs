//! Requests that wait for what others hold.

use weir_lease::message::{Figures, Item, ItemReply, Short, WatchReply};
use weir_lease::{Code, MS, Method, Nanos, Need, Reserve, SECOND};

use super::kit::{Vm, budget, granted, need, refusal, short};

/// A need whose request waits for others'.
fn patient(full: u64, wait: Nanos) -> Need {
    Need { wait, ..need("a", full) }
}

fn held_by_others(item: &Item, for_ms: u32) -> ItemReply {
    let figures = Figures { limit: 1_000, held: 990, left: 10, release_in_ms: 4_000, ..Figures::default() };
    let short = Short { for_ms, terminal: false, quarantine: false };
    ItemReply { short: Some(short), figures: Some(figures), ..granted(item, 0) }
}

/// Answers and ticks until the waiting request is decided; how long that took, how many Acquires it took, and the
/// outcome.
fn decide(vm: &mut Vm, answer: impl Fn(&Item, Nanos) -> ItemReply) -> (Nanos, usize, Reserve) {
    let (begun, mut asks) = (vm.now, 0);
    loop {
        let elapsed = vm.now - begun;
        let items = vm.serve(|item| answer(item, elapsed));
        asks += items.iter().filter(|item| item.ask.is_some()).count();
        if let Some((_, outcome)) = vm.lessee.woken().pop() {
            return (elapsed, asks, outcome);
        }
        assert!(elapsed < 10 * SECOND, "it waits for ever");
        vm.tick(20 * MS);
    }
}

#[test]
fn a_patient_request_waits_for_what_others_hold_and_no_longer_than_it_may() {
    // It comes back after a second.
    let mut vm = Vm::new();
    assert_eq!(vm.reserve(vec![patient(100, 2 * SECOND)]), Reserve::Wait);
    let (elapsed, asks, outcome) = decide(&mut vm, |item, elapsed| match elapsed < SECOND {
        true => held_by_others(item, 150),
        false => granted(item, 1_000),
    });
    assert!(matches!(outcome, Reserve::Held(_)), "{outcome:?}");
    assert!((SECOND..=SECOND + 300 * MS).contains(&elapsed), "{elapsed}");
    // While the ledger says that there is nothing, it is not asked.
    assert!((2..=9).contains(&asks), "{asks}");
    assert_eq!(vm.lessee.stats().waited, 1);

    // It never comes back.
    let mut vm = Vm::new();
    assert_eq!(vm.reserve(vec![patient(100, 2 * SECOND)]), Reserve::Wait);
    let (elapsed, asks, outcome) = decide(&mut vm, |item, _| held_by_others(item, 150));
    assert_eq!(refusal(outcome).code, Code::Held);
    assert!((2 * SECOND..=2 * SECOND + 200 * MS).contains(&elapsed), "{elapsed}");
    assert!((5..=20).contains(&asks), "{asks}");

    // Without patience, and where it is used up, the first answer decides.
    for (wait, terminal) in [(0, false), (2 * SECOND, true)] {
        let mut vm = Vm::new();
        assert_eq!(vm.reserve(vec![patient(100, wait)]), Reserve::Wait);
        let (elapsed, asks, outcome) = decide(&mut vm, |item, _| match terminal {
            true => short(item, 150),
            false => held_by_others(item, 150),
        });
        assert_eq!((elapsed, asks), (0, 1), "{wait} {terminal}");
        assert_eq!(refusal(outcome).code, if terminal { Code::Exhausted } else { Code::Held });
    }
}

#[test]
fn every_budget_that_refuses_must_be_patient() {
    let mut vm = Vm::new();
    let hasty = need("b", 100);
    assert_eq!(vm.reserve(vec![patient(100, 2 * SECOND), hasty]), Reserve::Wait);
    let (elapsed, _, outcome) = decide(&mut vm, |item, _| held_by_others(item, 150));
    assert_eq!((elapsed, refusal(outcome).budgets.len()), (0, 2));
}

#[test]
fn under_the_ledger_s_mark_a_patient_request_waits_and_a_hasty_one_is_refused() {
    let mut vm = Vm::new();
    assert_eq!(vm.reserve(vec![need("a", 100)]), Reserve::Wait);
    vm.serve(|item| held_by_others(item, 900));
    assert_eq!(refusal(vm.woken()).code, Code::Held);
    assert_eq!(refusal(vm.reserve(vec![need("a", 100)])).code, Code::Held);
    assert_eq!(vm.reserve(vec![patient(100, 3 * SECOND)]), Reserve::Wait);
    // Nobody is asked before the mark has ended.
    let answer = |item: &Item, _| granted(item, if item.ask.is_some() { 1_000 } else { 0 });
    let (elapsed, asks, outcome) = decide(&mut vm, answer);
    assert!(matches!(outcome, Reserve::Held(_)));
    assert!((800 * MS..=1_100 * MS).contains(&elapsed) && asks == 1, "{elapsed} {asks}");
}

#[test]
fn a_patient_request_hears_at_once_that_there_is_room() {
    let mut vm = Vm::new();
    vm.tick(SECOND);
    vm.tick(SECOND);
    assert_eq!(vm.reserve(vec![patient(100, 5 * SECOND)]), Reserve::Wait);
    vm.serve(|item| held_by_others(item, 4_000));
    vm.tick(600 * MS);
    vm.serve(|item| granted(item, 0));
    assert!(vm.lessee.woken().is_empty());
    let watch = vm.calls(Method::Watch).pop().unwrap();
    let id = budget("a").id();
    let id = weir_lease::message::Id { hi: (id >> 64) as u64, lo: id as u64 };
    vm.reply(&watch, WatchReply { epoch: 1, wake: vec![id], ..WatchReply::default() });
    let seen = vm.serve(|item| granted(item, 1_000));
    assert!(seen.iter().any(|item| item.ask.is_some()));
    assert!(matches!(vm.woken(), Reserve::Held(_)));
}

#[test]
fn those_who_wait_are_bounded_and_whoever_leaves_is_forgotten() {
    let mut vm = Vm::new();
    let mut waiting = 0;
    assert_eq!(vm.reserve(vec![need("a", 100)]), Reserve::Wait);
    vm.serve(|item| held_by_others(item, 1_000));
    vm.woken();
    for _ in 0..2_000 {
        waiting += u32::from(vm.reserve(vec![patient(100, 3 * SECOND)]) == Reserve::Wait);
    }
    assert_eq!(waiting, 1_024);
    for request in 0..=vm.request {
        vm.lessee.cancel(vm.now, &mut vm.store, request);
    }
    assert_eq!(vm.reserve(vec![patient(100, 3 * SECOND)]), Reserve::Wait);
    assert_eq!(vm.held(), 0);
}

#[test]
fn a_patient_request_whose_vm_stalled_past_its_time_learns_which_budget_refuses() {
    let mut vm = Vm::new();
    assert_eq!(vm.reserve(vec![need("a", 100)]), Reserve::Wait);
    vm.serve(|item| held_by_others(item, 900));
    vm.woken();
    assert_eq!(vm.reserve(vec![patient(100, 3 * SECOND)]), Reserve::Wait);
    vm.tick(5 * SECOND);
    let refusal = refusal(vm.woken());
    assert_eq!(refusal.budgets.first().map(|one| &one.instance), Some(&budget("a")));
}
