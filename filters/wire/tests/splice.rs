//! Splices as facts.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

use proptest::prelude::*;
use weir_wire::splice::{Overlap, Splices};

fn spliced(text: &str, edits: &[(usize, usize, &str)]) -> Result<String, Overlap> {
    let mut splices = Splices::new();
    edits.iter().for_each(|(from, to, with)| splices.replace(*from..*to, with.as_bytes()));
    assert_eq!((splices.is_empty(), splices.len()), (edits.is_empty(), edits.len()));
    splices.apply(text.as_bytes()).map(|out| String::from_utf8(out).unwrap())
}

#[test]
fn edits_apply_in_document_order_whatever_order_they_came_in() {
    assert_eq!(spliced("abcdef", &[]).unwrap(), "abcdef");
    assert_eq!(spliced("abcdef", &[(4, 5, "EE"), (0, 1, ""), (2, 2, "-")]).unwrap(), "b-cdEEf");
    assert_eq!(spliced("", &[(0, 0, "x"), (0, 0, "y")]).unwrap(), "xy");
    assert_eq!(spliced("ab", &[(2, 2, "3"), (1, 2, "2"), (1, 1, "1")]).unwrap(), "a123");
}

#[test]
fn overlapping_or_outside_edits_are_refused() {
    assert_eq!(spliced("abcdef", &[(0, 3, ""), (2, 4, "")]), Err(Overlap { at: 2 }));
    assert_eq!(spliced("abcdef", &[(0, 3, ""), (2, 2, "x")]), Err(Overlap { at: 2 }));
    assert_eq!(spliced("abcdef", &[(0, 3, ""), (0, 3, "")]), Err(Overlap { at: 0 }));
    assert_eq!(spliced("abcdef", &[(6, 7, "")]), Err(Overlap { at: 6 }));
    #[expect(clippy::reversed_empty_ranges)]
    let reversed = 3..2;
    let mut splices = Splices::new();
    splices.replace(reversed, &[]);
    assert_eq!(
        splices.apply(b"abcdef").unwrap_err().to_string(),
        "splices overlap or leave the document at byte 3"
    );
}

#[test]
fn a_place_moves_with_what_is_edited_before_it() {
    let mut edits = Splices::new();
    edits.replace(4..6, b"longer");
    edits.replace(0..1, b"");
    edits.replace(8..8, b"+");
    // `abcdefghij` becomes `bcdlongergh+ij`.
    assert_eq!(edits.apply(b"abcdefghij").unwrap(), b"bcdlongergh+ij");
    for (range, moved) in [
        (0..1, 0..0),
        (1..4, 0..3),
        (4..6, 3..9),
        (5..7, 3..10),
        (6..8, 9..11),
        (8..8, 12..12),
        (8..10, 12..14),
        (1..10, 0..14),
    ] {
        assert_eq!(edits.moved(range.clone()), moved, "{range:?}");
    }
}

proptest! {
    #[test]
    fn splices_equal_edits_made_one_by_one_from_the_end(
        text in "[a-z]{0,40}",
        cuts in prop::collection::btree_set(0usize..40, 0..10),
        with in "[A-Z]{0,5}",
    ) {
        let cuts: Vec<usize> = cuts.into_iter().filter(|cut| *cut <= text.len()).collect();
        let mut splices = Splices::new();
        let mut expected = text.clone();
        for pair in cuts.chunks_exact(2).rev() {
            splices.replace(pair[0]..pair[1], with.as_bytes());
            expected.replace_range(pair[0]..pair[1], &with);
        }
        prop_assert_eq!(splices.apply(text.as_bytes()).unwrap(), expected.into_bytes());
    }

    #[test]
    fn edits_after_others_equal_all_at_once(
        text in "[a-z]{1,40}",
        cuts in prop::collection::btree_set(0usize..40, 0..12),
        with in "[A-Z]{0,5}",
        second in any::<u16>(),
    ) {
        let cuts: Vec<usize> = cuts.into_iter().filter(|cut| *cut <= text.len()).collect();
        let (mut all, mut before, mut after) = (Splices::new(), Splices::new(), Splices::new());
        let ranges = || cuts.windows(2).map(|pair| pair[0]..pair[1]).chain(cuts.iter().map(|cut| *cut..*cut));
        for of in [0, 1] {
            for (n, range) in ranges().enumerate() {
                if second >> (n % 16) & 1 == of {
                    all.replace(range.clone(), with.as_bytes());
                    if of == 0 { &mut before } else { &mut after }.replace(range, with.as_bytes());
                }
            }
        }
        let edited = before.apply(text.as_bytes()).unwrap();
        let edited = after.behind(&before).apply(&edited).unwrap();
        prop_assert_eq!(String::from_utf8(edited), String::from_utf8(all.apply(text.as_bytes()).unwrap()));
    }
}
