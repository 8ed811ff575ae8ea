//! The promise, tried: in every run of the simulation, whatever breaks, no budget is overspent, no process uses more
//! than it was granted, and the ledger never grants beyond a limit. Rules of safety broken on purpose are noticed.

mod sim;

use sim::{Outcome, Plan, Rng, World, budget};
use weir_lease::mutant::{self, Mutant};
use weir_lease::{LedgerLost, Unit};
use weir_ledger::WindowKind;

/// A run in which everything may break, chosen by its seed.
fn fuzz(seed: u64) -> Plan {
    let mut rng = Rng::new(seed ^ 0xabcd);
    let limit = rng.within(5_000, 80_000);
    let mut budgets = vec![budget("tokens", Unit::Tokens, limit, WindowKind::Minute, &[])];
    if rng.chance(50.0) {
        budgets.push(budget("each", Unit::NanoUsd, limit / 2, WindowKind::Hour, &["key"]));
    }
    if rng.chance(30.0) {
        budgets.push(budget("count", Unit::Requests, rng.within(20, 400), WindowKind::Minute, &[]));
    }
    Plan {
        processes: rng.within(1, 5) as usize,
        vms: rng.within(1, 3) as usize,
        budgets,
        rate: rng.within(1, 6) as f64,
        clients: 0,
        seconds: rng.within(30, 70),
        reserve: (50, rng.within(100, 2_500)),
        billed: (rng.within(1, 60), 100),
        duration_ms: (10, rng.within(100, 15_000)),
        loss: rng.below(20) as f64,
        duplicate: rng.below(30) as f64,
        slow: rng.below(30) as f64,
        interleave: rng.below(6) as f64,
        trap: rng.below(8) as f64,
        kill: rng.below(6) as f64,
        stall: rng.below(4) as f64,
        partition: rng.below(4) as f64,
        crash: rng.below(8) as f64,
        limits: if rng.chance(20.0) { 10.0 } else { 0.0 },
        unknown: 5.0,
        lost: if rng.chance(50.0) { LedgerLost::AllowLocal } else { LedgerLost::Deny },
        until_spent: false,
    }
}

/// Runs seeds on two threads; the outcomes in the order of the seeds.
fn run(seeds: std::ops::Range<u64>, broken: Option<Mutant>, plan: fn(u64) -> Plan) -> Vec<(u64, Outcome)> {
    let half = |odd: u64| {
        let seeds = seeds.clone();
        move || -> Vec<(u64, Outcome)> {
            mutant::set(broken);
            seeds
                .filter(|seed| seed % 2 == odd)
                .map(|seed| (seed, World::new(seed, plan(seed)).run()))
                .collect()
        }
    };
    let other = std::thread::spawn(half(1));
    let mut all = std::thread::spawn(half(0)).join().unwrap();
    all.extend(other.join().unwrap());
    all.sort_by_key(|(seed, _)| *seed);
    all
}

fn seeds() -> u64 {
    std::env::var("WEIR_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(120)
}

#[test]
fn nothing_overspends_whatever_breaks() {
    let all = run(0..seeds(), None, fuzz);
    let (mut admitted, mut refused, mut presumed, mut healed) = (0, 0, 0, 0);
    for (seed, outcome) in &all {
        assert!(outcome.breaches.is_empty(), "seed {seed}: {:#?}", outcome.breaches);
        admitted += outcome.admitted;
        refused += outcome.refused.values().sum::<u64>();
        presumed += outcome.presumed;
        healed += outcome.healed;
    }
    println!("{} seeds: {admitted} admitted, {refused} refused, {presumed} units presumed spent", all.len());
    assert!(admitted > 50 * all.len() as u64, "the runs must do something");
    assert!(refused > 0 && presumed > 0, "and must reach the hard cases");
    assert_eq!(healed, 0, "a ledger that syncs never forgets a grant");
}

/// Seeds out of 40 in which a rule broken on purpose was noticed.
fn noticed(broken: Mutant) -> usize {
    let all = run(1_000..1_040, Some(broken), fuzz);
    let caught = all.iter().filter(|(_, outcome)| !outcome.breaches.is_empty()).count();
    println!("{broken:?}: noticed in {caught} of {} seeds", all.len());
    caught
}

#[test]
fn units_of_a_silent_session_may_not_be_granted_again() {
    assert!(noticed(Mutant::ExpiryRegrant) > 0);
}

#[test]
fn holds_of_a_dead_vm_may_not_be_released() {
    assert!(noticed(Mutant::ReapRelease) > 0);
}

#[test]
fn two_process_lives_may_not_share_a_session() {
    assert!(noticed(Mutant::SameSid) > 0);
}

#[test]
fn grants_may_not_be_added_up() {
    assert!(noticed(Mutant::GAdd) > 0);
}

#[test]
fn a_grant_may_not_be_told_before_it_is_durable() {
    assert!(noticed(Mutant::NoSync) > 0);
}
