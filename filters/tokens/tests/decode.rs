//! Token ids back into bytes, beside tiktoken-rs.
#![allow(clippy::unwrap_used, reason = "tests stop at what they do not expect")]

use weir_tokens::{Vocabulary, decode, encode};

#[test]
fn every_token_is_the_bytes_that_tiktoken_has_for_it() {
    for (vocabulary, oracle, most) in [
        (Vocabulary::O200kBase, tiktoken_rs::o200k_base_singleton(), 201_000),
        (Vocabulary::Cl100kBase, tiktoken_rs::cl100k_base_singleton(), 101_000),
    ] {
        let mut known = 0;
        for id in 0..most {
            let special =
                oracle.special_tokens().iter().any(|name| oracle.encode_with_special_tokens(name) == [id]);
            let expected = oracle.decode_bytes(&[id]).ok().filter(|bytes| !bytes.is_empty() && !special);
            assert_eq!(decode(vocabulary, &[id]), expected, "{id} of {}", vocabulary.name());
            known += u32::from(expected.is_some());
        }
        assert!(known > 100_000, "{known}");
        assert_eq!(decode(vocabulary, &[u32::MAX]), None);
    }
}

#[test]
fn a_text_survives_the_way_into_tokens_and_back() {
    for text in
        ["", "Straße nach Zürich", "   \n\n\tfn main() {}", "川の流れ 👩‍👩‍👧", "a@b.org 4111 1111 1111 1111"]
    {
        let mut ids = Vec::new();
        encode(Vocabulary::Cl100kBase, text, &mut ids);
        assert_eq!(decode(Vocabulary::Cl100kBase, &ids).unwrap(), text.as_bytes());
    }
}
