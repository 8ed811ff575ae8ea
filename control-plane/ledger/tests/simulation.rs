//! The promise, tried: in every run of the simulation, whatever breaks, no budget is overspent, no process uses more
//! than it was granted, and the ledger never grants beyond a limit. Rules of safety broken on purpose are noticed.

mod sim;

use sim::{Outcome, Plan, Rng, World, budget};
use weir_lease::mutant::{self, Mutant};
use weir_lease::{LedgerLost, Unit};
use weir_ledger::{Params, WindowKind};

/// A run in which everything may break, chosen by its seed.
fn fuzz(seed: u64) -> Plan {
    let mut rng = Rng::new(seed ^ 0xabcd);
    let limit = rng.within(5_000, 80_000);
    let mut budgets = vec![budget("tokens", Unit::Tokens, limit, WindowKind::Minute, &[])];
    let rolling = rng.chance(40.0);
    if rolling {
        let window = WindowKind::Rolling(rng.within(4_000, 40_000));
        budgets.push(budget("rolling", Unit::Tokens, limit / 2, window, &[]));
    }
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
        seconds: rng.within(30, 70) * (1 + u64::from(rolling)),
        reserve: (50, rng.within(100, 2_500)),
        billed: (rng.within(1, 60), 100),
        over: (0, 0),
        duration_ms: (10, rng.within(100, 15_000)),
        wait_ms: if seed.is_multiple_of(3) { (0, 4_000) } else { (0, 0) },
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
        params: Params { session_ttl: if rolling { 4_000 } else { 15_000 }, ..Params::default() },
        forget_ms: 0,
        warm_s: 0,
        long_until_ms: 0,
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

/// `WEIR_SEEDS`: how many from 0, or `FROM..TO` to see some of them again.
fn seeds() -> std::ops::Range<u64> {
    let said = std::env::var("WEIR_SEEDS").unwrap_or_default();
    let (from, to) = said.split_once("..").unwrap_or(("0", &said));
    from.parse().unwrap_or(0)..to.parse().unwrap_or(300)
}

#[test]
fn nothing_overspends_whatever_breaks() {
    let all = run(seeds(), None, fuzz);
    let (mut admitted, mut refused, mut presumed, mut healed) = (0, 0, 0, 0);
    // Ten thousand seeds take minutes: all that fail are named at once.
    let failed = all.iter().filter(|(_, outcome)| !outcome.breaches.is_empty());
    let failed: Vec<_> = failed.map(|(seed, outcome)| (seed, &outcome.breaches)).collect();
    assert!(failed.is_empty(), "seeds and what they broke: {failed:#?}");
    for (seed, outcome) in &all {
        let (checked, admitted_here) = (outcome.checked, outcome.admitted);
        // A process that is cut off from its first second to its last admits nobody.
        let looked = checked > admitted_here || admitted_here == 0;
        assert!(looked, "seed {seed}: {checked} records looked at, {admitted_here} admitted");
        admitted += outcome.admitted;
        refused += outcome.refused.values().sum::<u64>();
        presumed += outcome.presumed;
        healed += outcome.healed;
    }
    println!("{} seeds: {admitted} admitted, {refused} refused, {presumed} units presumed spent", all.len());
    if all.len() >= 100 {
        assert!(admitted > 50 * all.len() as u64, "the runs must do something");
        assert!(refused > 0 && presumed > 0, "and must reach the hard cases");
    }
    assert_eq!(healed, 0, "a ledger that syncs never forgets a grant");
}

/// Whether a rule broken on purpose is noticed in some of 60 seeds.
fn noticed(broken: Mutant) -> bool {
    for from in (1_000..1_060).step_by(6) {
        let caught = run(from..from + 6, Some(broken), fuzz)
            .into_iter()
            .find(|(_, outcome)| !outcome.breaches.is_empty());
        if let Some((seed, outcome)) = caught {
            println!("{broken:?}, seed {seed}: {}", outcome.breaches[0]);
            return true;
        }
    }
    false
}

#[test]
fn units_of_a_silent_session_may_not_be_granted_again() {
    assert!(noticed(Mutant::ExpiryRegrant));
}

#[test]
fn holds_of_a_dead_vm_may_not_be_released() {
    assert!(noticed(Mutant::ReapRelease));
}

#[test]
fn two_process_lives_may_not_share_a_session() {
    assert!(noticed(Mutant::SameSid));
}

#[test]
fn grants_may_not_be_added_up() {
    assert!(noticed(Mutant::GAdd));
}

#[test]
fn a_grant_may_not_be_told_before_it_is_durable() {
    assert!(noticed(Mutant::NoSync));
}

#[test]
fn a_return_may_not_be_counted_twice() {
    assert!(noticed(Mutant::RetDelta));
}

#[test]
fn a_rolling_window_may_not_be_charged_when_units_are_granted() {
    assert!(noticed(Mutant::RollAtGrant));
}

/// Two long streams fill a short rolling window, their VM stalls until after they have ended, and its neighbour goes on
/// asking: what random seeds hardly ever meet.
fn stalled(seed: u64) -> Outcome {
    let plan = Plan {
        processes: 1,
        vms: 2,
        clients: 0,
        budgets: vec![budget("rolling", Unit::Tokens, 4_000, WindowKind::Rolling(4_000), &[])],
        rate: 10.0,
        seconds: 30,
        reserve: (2_000, 2_000),
        billed: (100, 100),
        duration_ms: (10, 15_900),
        long_until_ms: 2_400,
        interleave: 0.0,
        params: Params { session_ttl: 4_000, ..Params::default() },
        ..quiet()
    };
    let mut world = World::new(seed, plan);
    world.stall_at(0, 2_500, 19_000);
    world.run()
}

#[test]
fn a_dead_vm_s_holds_of_a_rolling_window_may_not_be_charged_at_once() {
    let mut caught = 0;
    for seed in 0..10 {
        mutant::set(None);
        let outcome = stalled(seed);
        assert!(outcome.breaches.is_empty(), "seed {seed}: {:#?}", outcome.breaches);
        mutant::set(Some(Mutant::RollReapNow));
        caught += u32::from(!stalled(seed).breaches.is_empty());
        mutant::set(None);
    }
    println!("RollReapNow: {caught} of 10");
    assert!(caught > 0);
}

/// A copy that lags is promoted while twenty gateways spend as fast as they can.
fn promotions(seed: u64) -> Vec<(u64, Outcome)> {
    (seed..seed + 6)
        .map(|seed| {
            let mut rng = Rng::new(seed);
            let plan = Plan {
                processes: 10,
                vms: 1,
                clients: 50,
                budgets: vec![budget("day", Unit::Tokens, 200_000, WindowKind::Day, &[])],
                seconds: 15,
                reserve: (300, 1_400),
                billed: (80, 100),
                duration_ms: (100, 1_500),
                forget_ms: rng.within(300, 1_000),
                ..quiet()
            };
            let mut world = World::new(seed, plan);
            world.crash_at(rng.within(2_000, 6_000));
            (seed, world.run())
        })
        .collect()
}

#[test]
fn a_promoted_copy_may_not_grant_before_everybody_has_reported() {
    for (seed, outcome) in promotions(0) {
        assert!(outcome.breaches.is_empty(), "seed {seed}: {:#?}", outcome.breaches);
    }
    mutant::set(Some(Mutant::NoQuarantine));
    let caught = promotions(0).iter().filter(|(_, outcome)| !outcome.breaches.is_empty()).count();
    mutant::set(None);
    println!("NoQuarantine: {caught} of 6");
    assert!(caught > 0);
}

/// Every answer costs more than was reserved for it, up to fifty units, and two hundred clients spend a budget to its
/// end.
fn dearer(seed: u64) -> Outcome {
    let plan = Plan {
        clients: 200,
        budgets: vec![budget("day", Unit::Tokens, 600_000, WindowKind::Day, &[])],
        reserve: (300, 1_400),
        billed: (100, 100),
        over: (1, 50),
        duration_ms: (100, 1_500),
        seconds: 300,
        ..tight(0)
    };
    World::new(seed, plan).run()
}

#[test]
fn answers_above_their_bounds_overspend_no_more_than_those_in_flight_and_headroom_keeps_it_back() {
    let (mut without, mut kept) = (0, 0);
    for seed in 0..3 {
        mutant::set(Some(Mutant::NoHeadroom));
        let bare = dearer(seed);
        mutant::set(None);
        let outcome = dearer(seed);
        for run in [&bare, &outcome] {
            assert!(run.breaches.is_empty(), "seed {seed}: {:#?}", run.breaches);
            assert!(run.overspent <= 200 * 50, "seed {seed}: {} is above r1", run.overspent);
        }
        let used = outcome.settled as f64 / 600_000.0;
        println!(
            "overspent {} without headroom, {} with it, {used:.4} used",
            bare.overspent, outcome.overspent
        );
        assert!(used >= 0.98, "{used}");
        (without, kept) = (without + bare.overspent, kept + outcome.overspent);
    }
    assert!(without > 0, "the runs must reach the case");
    assert_eq!(kept, 0);
}

#[test]
fn whoever_waits_for_others_is_seldom_refused_for_their_sake() {
    let run = |wait| {
        let plan = Plan { wait_ms: (wait, wait), duration_ms: (100, 1_500), ..tight(0) };
        let plan = Plan {
            clients: 64,
            // All may run at once, and hardly more: who comes when others hold the rest has to wait.
            budgets: vec![budget("day", Unit::Tokens, 400_000, WindowKind::Day, &[])],
            ..plan
        };
        let outcome = World::new(3, plan).run();
        assert!(outcome.breaches.is_empty(), "{wait}: {:#?}", outcome.breaches);
        let (used, _) = report(if wait > 0 { "waits" } else { "is refused" }, &outcome, 400_000);
        assert!(used >= 0.98, "{used}");
        let held = outcome.refused.get("budget_held").copied().unwrap_or(0);
        (held, outcome.longest_wait_ms)
    };
    let ((hasty, _), (patient, longest)) = (run(0), run(5_000));
    assert!(hasty > 20 && patient * 4 < hasty, "{hasty} refused without waiting, {patient} with");
    assert!((1_000..6_500).contains(&longest), "{longest} ms");
}

/// Nothing breaks.
fn quiet() -> Plan {
    Plan { until_spent: false, ..tight(0) }
}

/// 64 clients on a budget that they can spend many times over, with nothing broken.
fn tight(_: u64) -> Plan {
    Plan {
        processes: 2,
        vms: 2,
        budgets: vec![budget("day", Unit::Tokens, 2_000_000, WindowKind::Day, &[])],
        rate: 0.0,
        clients: 64,
        seconds: 900,
        reserve: (1_200, 4_400),
        billed: (5, 40),
        over: (0, 0),
        duration_ms: (200, 12_000),
        wait_ms: (0, 0),
        loss: 0.0,
        duplicate: 0.0,
        slow: 0.0,
        interleave: 1.0,
        trap: 0.0,
        kill: 0.0,
        stall: 0.0,
        partition: 0.0,
        crash: 0.0,
        limits: 0.0,
        unknown: 0.0,
        lost: LedgerLost::Deny,
        until_spent: true,
        params: Params::default(),
        forget_ms: 0,
        warm_s: 0,
        long_until_ms: 0,
    }
}

fn report(name: &str, outcome: &Outcome, limit: u64) -> (f64, f64) {
    let refused: u64 = outcome.refused.values().sum();
    let requests = outcome.admitted + refused;
    let used = outcome.settled as f64 / limit as f64;
    let falsely = outcome.falsely as f64 / requests as f64;
    println!(
        "{name}: settled {used:.4}, stranded {:.4}, {} admitted, refused {:?}, falsely {:.5}, waited {:.3}, \
         ledger calls per request {:.2}, {} recalls, longest wait {} ms, {} s",
        outcome.stranded as f64 / limit as f64,
        outcome.admitted,
        outcome.refused,
        falsely,
        outcome.waited as f64 / requests as f64,
        outcome.syncs as f64 / requests as f64,
        outcome.recalls,
        outcome.longest_wait_ms,
        outcome.seconds,
    );
    (used, falsely)
}

#[test]
fn a_tight_day_is_used_to_the_end() {
    for seed in 0..3 {
        let outcome = World::new(seed, tight(seed)).run();
        assert!(outcome.breaches.is_empty(), "{:#?}", outcome.breaches);
        let (used, falsely) = report("tight day", &outcome, 2_000_000);
        assert!(used >= 0.98, "settled {used}");
        assert!(falsely < 0.001, "falsely refused {falsely}");
    }
}

#[test]
fn what_a_killed_process_held_is_stranded_and_the_rest_is_used() {
    for seed in 0..3 {
        let mut world = World::new(seed, tight(seed));
        world.kill_at(1, 20);
        let outcome = world.run();
        assert!(outcome.breaches.is_empty(), "{:#?}", outcome.breaches);
        let (used, _) = report("one killed", &outcome, 2_000_000);
        let stranded = outcome.stranded as f64 / 2_000_000.0;
        assert!(used + stranded >= 0.98, "settled {used}, stranded {stranded}");
        assert!(stranded > 0.0);
    }
}

/// The shapes of load whose figures are quoted: `cargo test --release -p weir-ledger -- --ignored --nocapture shapes`.
#[test]
#[ignore = "takes a minute; run by hand for its figures"]
fn shapes() {
    let base = |processes, vms, clients, limit, window| Plan {
        processes,
        vms,
        clients,
        seconds: 60,
        budgets: vec![budget("day", Unit::Tokens, limit, window, &[])],
        reserve: (300, 1_400),
        billed: (20, 100),
        duration_ms: (100, 1_500),
        interleave: 0.0,
        until_spent: false,
        ..tight(0)
    };
    let day = WindowKind::Day;
    for (name, plan) in [
        ("1 process, roomy", base(1, 4, 80, 1_000_000_000, day)),
        ("1 process, tight", Plan { until_spent: true, ..base(1, 4, 80, 600_000, day) }),
        ("2 processes, roomy", base(2, 2, 200, 1_000_000_000, day)),
        ("2 processes, tight", Plan { until_spent: true, ..base(2, 2, 200, 600_000, day) }),
        ("50 processes, roomy", base(50, 2, 800, 1_000_000_000, day)),
        ("50 processes, tight", Plan { until_spent: true, ..base(50, 2, 800, 6_000_000, day) }),
        ("50 processes, minutes", Plan { seconds: 180, ..base(50, 1, 160, 1_000_000, WindowKind::Minute) }),
    ] {
        let limit = plan.budgets[0].limit;
        let outcome = World::new(7, plan).run();
        assert!(outcome.breaches.is_empty(), "{name}: {:#?}", outcome.breaches);
        report(name, &outcome, limit);
        for ((instance, wid), billed) in outcome.billed {
            println!("    {instance} {wid}: billed {:.4}", billed as f64 / limit as f64);
        }
    }
}

/// `cargo xtask bench ledger`: ten thousand gateways that share one budget: one that has plenty left, and one that their
/// clients spend ten times over.
#[test]
#[ignore = "takes minutes; run by hand for its figures"]
fn ten_thousand_gateways() {
    for (name, limit, seconds) in
        [("10,000 gateways, roomy", 1_000_000_000_000, 30), ("10,000 gateways, tight", 30_000_000, 60)]
    {
        let tight = limit < 1_000_000_000;
        let plan = Plan {
            processes: 10_000,
            vms: 1,
            clients: 10_000,
            seconds,
            budgets: vec![budget("day", Unit::Tokens, limit, WindowKind::Day, &[])],
            reserve: (300, 1_400),
            billed: (20, 100),
            duration_ms: (100, 1_500),
            interleave: 0.0,
            until_spent: tight,
            // Every gateway's first request waits for its first lease.
            warm_s: if tight { 0 } else { 10 },
            ..quiet()
        };
        let begun = std::time::Instant::now();
        let outcome = World::new(7, plan).run();
        assert!(outcome.breaches.is_empty(), "{name}: {:#?}", outcome.breaches);
        let (used, falsely) = report(name, &outcome, limit);
        let billed: u128 = outcome.billed.values().sum();
        let steady = outcome.steady;
        let per_second = |count: u64| count as f64 / steady.seconds.max(1) as f64;
        let requests = (steady.admitted + steady.refused).max(1) as f64;
        println!(
            "    overspent {}; in the last {} s: {:.0} requests/s, {:.2} % of them waited, {:.0} reports and asks/s, \
             {:.0} calls/s of any kind, {:.1} us of a core each; shared data {} bytes a gateway; simulated in {:.0} s",
            billed.saturating_sub(u128::from(limit)),
            steady.seconds,
            requests / steady.seconds.max(1) as f64,
            steady.waited as f64 / requests * 100.0,
            per_second(steady.syncs),
            per_second(steady.calls),
            steady.ledger_time.as_secs_f64() * 1e6 / steady.calls.max(1) as f64,
            outcome.store_bytes,
            begun.elapsed().as_secs_f64()
        );
        if tight {
            assert!(used >= 0.98, "settled {used}");
            assert!(falsely < 0.001, "falsely refused {falsely}");
        } else {
            assert!(steady.waited as f64 / requests < 0.01, "waited {}", steady.waited);
        }
    }
}
