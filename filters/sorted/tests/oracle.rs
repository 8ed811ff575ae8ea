//! The map against `BTreeMap`, the sort against the standard library's.

use std::cell::Cell;
use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use weir_sorted::{Map, contains, sort_by};

/// What may happen to a map; keys are few so that they meet again.
#[derive(Clone, Debug)]
enum Step {
    Insert(u16, u8),
    Remove(u16),
    PopFirst,
    Change(u16),
}

fn step(keys: u16) -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..keys, any::<u8>()).prop_map(|(key, value)| Step::Insert(key, value)),
        3 => (0..keys).prop_map(Step::Remove),
        1 => Just(Step::PopFirst),
        1 => (0..keys).prop_map(Step::Change),
    ]
}

fn agree(map: &Map<u16, u8>, oracle: &BTreeMap<u16, u8>) {
    assert_eq!((map.len(), map.is_empty()), (oracle.len(), oracle.is_empty()));
    assert!(map.iter().eq(oracle.iter()), "{map:?} {oracle:?}");
    assert!(map.keys().eq(oracle.keys()) && map.values().eq(oracle.values()));
}

proptest! {
    #[test]
    fn a_map_is_what_a_tree_is(steps in vec(step(40), 0..60), more in vec(step(700), 0..1500)) {
        let (mut map, mut oracle) = (Map::new(), BTreeMap::new());
        for (number, step) in steps.iter().chain(&more).enumerate() {
            match step {
                Step::Insert(key, value) => prop_assert_eq!(map.insert(*key, *value), oracle.insert(*key, *value)),
                Step::Remove(key) => prop_assert_eq!(map.remove(key), oracle.remove(key)),
                Step::PopFirst => prop_assert_eq!(map.pop_first(), oracle.pop_first()),
                Step::Change(key) => {
                    let (one, other) = (map.get_mut(key), oracle.get_mut(key));
                    prop_assert_eq!(one.is_some(), other.is_some());
                    for value in [one, other].into_iter().flatten() {
                        *value = value.wrapping_add(1);
                    }
                }
            }
            for key in 0..40 {
                prop_assert_eq!(map.get(&key), oracle.get(&key));
                prop_assert_eq!(map.contains_key(&key), oracle.contains_key(&key));
            }
            if number % 50 == 0 {
                agree(&map, &oracle);
            }
        }
        agree(&map, &oracle);
        for (_, value) in map.iter_mut() {
            *value ^= 1;
        }
        oracle.values_mut().for_each(|value| *value ^= 1);
        agree(&map, &oracle);
        // Other places, the same entries.
        let copy: Map<u16, u8> = oracle.iter().map(|(key, value)| (*key, *value)).collect();
        prop_assert_eq!(&copy, &map);
        prop_assert_eq!(format!("{map:?}"), format!("{oracle:?}"));
    }

    #[test]
    fn a_text_is_found_where_the_standard_library_finds_it(text in "[abü]{0,9}", part in "[abü]{0,4}") {
        prop_assert_eq!(contains(&text, &part), text.contains(&part));
    }

    #[test]
    fn a_sort_is_stable_and_whole(items in vec((0u8..20, any::<u16>()), 0..300)) {
        let (mut ours, mut oracle) = (items.clone(), items);
        sort_by(&mut ours, |a, b| a.0.cmp(&b.0));
        oracle.sort_by_key(|item| item.0);
        prop_assert_eq!(ours, oracle);
    }
}

#[test]
fn every_order_of_insertion_is_cheap() {
    const MANY: u32 = 200_000;
    let scattered = |at: u32| at.wrapping_mul(2_654_435_761);
    for order in [|at: u32| at, |at: u32| MANY - at, scattered] {
        let mut map = Map::new();
        let start = std::time::Instant::now();
        for at in 0..MANY {
            assert_eq!(map.insert(order(at), at), None);
        }
        for at in 0..MANY {
            assert_eq!(map.remove(&order(at)), Some(at));
        }
        assert!(map.is_empty());
        // A quadratic one takes minutes.
        assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
    }
}

#[test]
fn texts_are_found_by_what_they_borrow_as() {
    let mut map: Map<String, u32> = [("b".to_owned(), 2), ("a".to_owned(), 1)].into_iter().collect();
    assert_eq!((map.get("a"), map.get("c")), (Some(&1), None));
    map.extend([("a".to_owned(), 3)]);
    assert_eq!((map.get("a"), map.len()), (Some(&3), 2));
}

#[test]
fn sorted_items_are_only_looked_at_and_hostile_ones_cost_no_more_than_n_log_n() {
    const MANY: u32 = 1 << 14;
    let looked = Cell::new(0);
    let count = |a: &u32, b: &u32| {
        looked.set(looked.get() + 1);
        a.cmp(b)
    };
    let mut items: Vec<u32> = (0..MANY).collect();
    sort_by(&mut items, count);
    assert_eq!(looked.get(), MANY - 1);
    for order in [|at: u32| MANY - at, |at: u32| at.wrapping_mul(2_654_435_761), |at: u32| at ^ 0x1555] {
        let mut items: Vec<u32> = (0..MANY).map(order).collect();
        looked.set(0);
        sort_by(&mut items, count);
        assert!(items.is_sorted());
        assert!(looked.get() <= MANY * 15, "{}", looked.get());
    }
}
