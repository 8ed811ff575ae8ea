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
    edits.iter().for_each(|(from, to, with)| splices.replace(*from..*to, with.as_bytes().to_vec()));
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
    splices.replace(reversed, Vec::new());
    assert_eq!(
        splices.apply(b"abcdef").unwrap_err().to_string(),
        "splices overlap or leave the document at byte 3"
    );
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
            splices.replace(pair[0]..pair[1], with.clone().into_bytes());
            expected.replace_range(pair[0]..pair[1], &with);
        }
        prop_assert_eq!(splices.apply(text.as_bytes()).unwrap(), expected.into_bytes());
    }
}
