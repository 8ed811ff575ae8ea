//! Base64 as facts: the vectors of RFC 4648 §10, and one reading for every text.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

use proptest::prelude::*;
use weir_wire::base64::{decode, encode_into};

fn encode(bytes: &[u8]) -> String {
    let mut out = Vec::new();
    encode_into(&mut out, bytes);
    String::from_utf8(out).unwrap()
}

#[test]
fn the_vectors_of_the_rfc_hold() {
    for (plain, coded) in [
        ("", ""),
        ("f", "Zg=="),
        ("fo", "Zm8="),
        ("foo", "Zm9v"),
        ("foob", "Zm9vYg=="),
        ("fooba", "Zm9vYmE="),
        ("foobar", "Zm9vYmFy"),
    ] {
        assert_eq!(encode(plain.as_bytes()), coded);
        assert_eq!(decode(coded.as_bytes()).unwrap(), plain.as_bytes());
    }
}

#[test]
fn what_has_a_second_reading_is_refused() {
    for bad in [
        "Zg", "Zg=", "Zg===", "Zh==", "Zm9=", "====", "Z===", "Zg==Zg==", "Zm9v\n", "Zm 9v", "Zm-_", "=Zm9",
        "Z=m9", "Zm=v", "é",
    ] {
        assert_eq!(decode(bad.as_bytes()), None, "{bad}");
    }
}

proptest! {
    #[test]
    fn bytes_come_back(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(decode(encode(&bytes).as_bytes()).unwrap(), bytes);
    }

    #[test]
    fn a_text_that_decodes_is_the_only_one_for_its_bytes(text in "[A-D+/=]{0,12}") {
        if let Some(bytes) = decode(text.as_bytes()) {
            prop_assert_eq!(encode(&bytes), text);
        }
    }
}
