//! The transitions of a record, one by one.

use super::*;

pub(super) fn granted(g: u64) -> Record {
    let mut record = Record::new(7, b"name".to_vec(), 16);
    record.merge(&Word { wid: 10, ends_at: 100, g, ..Word::default() });
    record
}

#[test]
fn a_grant_that_comes_twice_or_late_counts_once() {
    let mut record = granted(100);
    record.merge(&Word { wid: 10, ends_at: 100, g: 60, ..Word::default() });
    record.merge(&Word { wid: 10, ends_at: 90, g: 100, ..Word::default() });
    assert_eq!((record.now.g, record.ends_at), (100, 100));
    record.merge(&Word { wid: 9, g: 500, ..Word::default() });
    assert_eq!(record.now.g, 100);
}

#[test]
fn nothing_is_reserved_beyond_the_lease_or_its_end() {
    let mut record = granted(100);
    assert!(record.reserve(99, 1, 100).is_some());
    assert!(record.reserve(99, 1, 1).is_none());
    let mut record = granted(100);
    assert!(record.reserve(100, 1, 1).is_none());
}

#[test]
fn a_dead_vm_s_holds_are_spent_and_its_settlements_fenced() {
    let mut record = granted(100);
    let dead = record.reserve(1, 1, 30).unwrap();
    let alive = record.reserve(1, 2, 20).unwrap();
    assert_eq!(record.reap(&mut |vm| vm == 1), 30);
    assert_eq!(record.now, Vector { g: 100, r: 0, u: 30, h: 20 });
    // The VM was only slow: what it reserves now is another slot, which the old ticket must not touch.
    let again = record.reserve(1, 1, 30).unwrap();
    assert_eq!(record.settle(&dead, 1), Settled::Fenced);
    assert_eq!(record.now.h, 50);
    assert_eq!(record.settle(&again, 10), Settled::Booked);
    assert_eq!(record.settle(&alive, 20), Settled::Booked);
    assert_eq!(record.now, Vector { g: 100, r: 0, u: 60, h: 0 });
}

#[test]
fn a_settlement_goes_to_the_window_of_its_lease() {
    let mut record = granted(100);
    record.next = (20, 50, 200);
    let first = record.reserve(99, 1, 40).unwrap();
    let second = record.reserve(100, 1, 25).unwrap();
    assert_eq!((first.wid, second.wid), (10, 20));
    assert_eq!(record.settle(&first, 30), Settled::Booked);
    assert_eq!(record.prev, Vector { g: 100, r: 0, u: 30, h: 0 });
    assert_eq!(record.now, Vector { g: 50, r: 0, u: 0, h: 25 });
    record.merge(&Word { wid: 30, ends_at: 300, g: 9, ..Word::default() });
    record.merge(&Word { wid: 40, ends_at: 400, g: 9, ..Word::default() });
    assert_eq!(record.settle(&second, 1), Settled::Late);
}

#[test]
fn a_tight_lease_keeps_its_cap_and_an_ended_one_nothing() {
    let mut record = granted(100);
    record.merge(&Word { wid: 10, ends_at: 100, g: 100, cap: 30, tight: true, ..Word::default() });
    assert_eq!(record.surplus(50), 70);
    assert_eq!(record.surplus(100), 100);
    assert_eq!(record.give_back(70), 70);
    assert_eq!(record.now.free(), 30);
}

#[test]
fn a_cost_above_its_reservation_asks_for_headroom_until_it_is_long_ago() {
    let mut record = granted(1 << 40);
    assert_eq!(record.headroom(), 0);
    let [first, second] = [(); 2].map(|()| record.reserve(1, 1, 10).unwrap());
    let third = record.reserve(1, 2, 10).unwrap();
    record.settle(&first, 10);
    assert_eq!(record.headroom(), 0, "a bound that was kept asks for nothing");
    record.settle(&second, 60);
    // Fifty above its reservation; one request runs.
    assert_eq!(record.headroom(), 50);
    record.settle(&third, 7);
    assert_eq!(record.headroom(), 0, "nothing runs");
    let held = record.reserve(1, 3, 10).unwrap();
    for _ in 0..1_000 {
        let ticket = record.reserve(1, 3, 10).unwrap();
        record.settle(&ticket, 10);
    }
    assert!((30..50).contains(&record.headroom()), "{}", record.headroom());
    for _ in 0..100_000 {
        let ticket = record.reserve(1, 3, 10).unwrap();
        record.settle(&ticket, 10);
    }
    assert!(record.headroom() <= 4, "{}", record.headroom());
    // The dearest that can be: no overflow.
    record.settle(&held, u64::MAX);
    assert_eq!((record.excess, record.headroom()), (u64::MAX, 0));
}

#[test]
fn demand_fades_to_nothing() {
    let mut record = granted(0);
    record.note_demand(10 * SECOND, 1_000_000);
    assert_eq!(record.rate(), 1_000_000);
    for second in 11..30 {
        record.decay(second * SECOND);
    }
    assert_eq!(record.rate(), 0);
}
