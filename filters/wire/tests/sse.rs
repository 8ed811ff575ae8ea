//! Server-sent events: every split point gives the batch result, and no byte is lost or invented.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

use proptest::prelude::*;
use weir_wire::sse::{Decoder, TooLarge};

#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    raw: Vec<u8>,
    name: Option<String>,
    data: Option<String>,
}

type Outcome = (Vec<Seen>, Vec<u8>, Result<(), TooLarge>);

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Decodes chunks; on an error what was not pushed is put behind what the decoder still had.
fn decode(chunks: &[&[u8]], limit: usize) -> Outcome {
    let mut decoder = Decoder::new(limit);
    let (mut seen, mut result, mut unpushed) = (Vec::new(), Ok(()), Vec::new());
    for chunk in chunks {
        if result.is_err() {
            assert_eq!(decoder.push(chunk, &mut |_| panic!("an event after an error")), result);
            unpushed.extend_from_slice(chunk);
            continue;
        }
        result = decoder.push(chunk, &mut |event| {
            assert!(event.raw.len() <= limit);
            assert!(event.has_data || event.data.is_empty());
            seen.push(Seen {
                raw: event.raw.to_vec(),
                name: event.name.map(text),
                data: event.has_data.then(|| text(&event.data)),
            });
        });
        assert!(result.is_err() || decoder.held() <= limit);
    }
    let mut rest = decoder.finish();
    rest.extend(unpushed);
    (seen, rest, result)
}

fn everywhere(stream: &[u8], limit: usize) -> Outcome {
    let batch = decode(&[stream], limit);
    let mut bytes: Vec<u8> = batch.0.iter().flat_map(|event| event.raw.clone()).collect();
    bytes.extend(&batch.1);
    assert_eq!(text(&bytes), text(stream));
    for at in 0..=stream.len() {
        assert_eq!(decode(&[&stream[..at], &stream[at..]], limit), batch, "{:?} split at {at}", text(stream));
    }
    let single: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(decode(&single, limit), batch, "{:?} byte by byte", text(stream));
    batch
}

fn events(stream: &str) -> Vec<(Option<String>, Option<String>)> {
    let (seen, rest, result) = everywhere(stream.as_bytes(), 1 << 20);
    assert_eq!((text(&rest).as_str(), result), ("", Ok(())), "{stream:?}");
    seen.into_iter().map(|event| (event.name, event.data)).collect()
}

fn data(stream: &str) -> Vec<String> {
    events(stream).into_iter().filter_map(|(_, data)| data).collect()
}

#[test]
fn lines_end_by_lf_crlf_or_cr() {
    for end in ["\n", "\r\n", "\r"] {
        let stream = "data: a|data:b|data:  c||event: x|data|||: ping||data: é😀||".replace('|', end);
        let expected = [
            (None, Some("a\nb\n c".to_owned())),
            (Some("x".to_owned()), Some(String::new())),
            (None, None),
            (None, None),
            (None, Some("é😀".to_owned())),
        ];
        assert_eq!(events(&stream), expected, "{end:?}");
    }
}

#[test]
fn mixed_line_ends_still_give_one_reading() {
    assert_eq!(data("data: a\r\ndata: b\rdata: c\n\ndata: d\n\r\n"), ["a\nb\nc", "d"]);
    assert_eq!(data("data: a\r\r\n\n\ndata: b\r\n\r\n"), ["a", "b"]);
}

#[test]
fn a_stream_of_bare_crs_is_not_held_back() {
    let mut seen = 0;
    let mut decoder = Decoder::new(100);
    decoder.push(b"data: a\r\r", &mut |_| seen += 1).unwrap();
    assert_eq!((seen, decoder.held()), (1, 0));
}

#[test]
fn fields_follow_the_standard() {
    assert_eq!(data("data\n\n"), [""]);
    assert_eq!(data("data: \n\n"), [""]);
    assert_eq!(data("data\ndata\n\n"), ["\n"]);
    assert_eq!(data("datax: no\ndata : no\n data: no\nDATA: no\n\n"), [""; 0]);
    assert_eq!(data("data:x:y: z\nid: 7\nretry: 10\nunknown\n\n"), ["x:y: z"]);
    assert_eq!(events("event: a\nevent: b\ndata: 1\n\n")[0].0.as_deref(), Some("b"));
    assert_eq!(events("event\ndata: 1\n\n")[0].0, None);
    assert_eq!(data("data: a\0b\u{b}c\n\n"), ["a\0b\u{b}c"]);
}

#[test]
fn a_byte_order_mark_stands_only_at_the_start() {
    assert_eq!(data("\u{feff}data: a\n\n\u{feff}data: b\n\ndata: c\n\n"), ["a", "c"]);
    assert_eq!(events("\u{feff}\n\ndata: a\n\n").len(), 3);
    assert_eq!(data("\u{feff}\u{feff}data: a\n\n"), [""; 0]);
    assert_eq!(events("\u{feff}\r\rdata: a\r\r").len(), 3);
}

#[test]
fn an_unfinished_event_is_returned_not_dispatched() {
    let (seen, rest, result) = everywhere(b"data: a\n\ndata: b\n", 100);
    assert_eq!((seen.len(), rest.as_slice(), result), (1, &b"data: b\n"[..], Ok(())));
    let (seen, rest, _) = everywhere(b"data: a\r\n\r", 100);
    assert_eq!((seen.len(), rest.as_slice()), (0, &b"data: a\r\n\r"[..]));
}

#[test]
fn an_event_over_the_bound_is_an_error_and_its_bytes_come_back() {
    let stream = b"data: a\n\ndata: 0123456789\n\ndata: b\n\n";
    for limit in 0..40 {
        let (seen, rest, result) = everywhere(stream, limit);
        let (events, left) = match limit {
            0..9 => (0, stream.len()),
            9..18 => (1, stream.len() - 9),
            _ => (3, 0),
        };
        assert_eq!((seen.len(), rest.len(), result.is_ok()), (events, left, left == 0), "limit {limit}");
    }
    let endless = vec![b'x'; 5_000];
    assert_eq!(everywhere(&endless, 100).2, Err(TooLarge { limit: 100 }));
}

#[test]
fn a_decoder_is_as_new_after_finish() {
    let mut decoder = Decoder::new(8);
    assert!(decoder.push(b"data: 012345", &mut |_| {}).is_err());
    assert_eq!(decoder.finish(), b"data: 012345");
    let mut seen = 0;
    decoder.push(b"data\n\n", &mut |_| seen += 1).unwrap();
    assert_eq!(seen, 1);
}

/// The standard's algorithm, written the slow and obvious way over the whole stream.
fn oracle(stream: &str) -> Vec<(Option<String>, String)> {
    let stream = stream.strip_prefix('\u{feff}').unwrap_or(stream);
    let normal = stream.replace("\r\n", "\n").replace('\r', "\n");
    let Some(end) = normal.rfind('\n') else { return Vec::new() };
    let (mut name, mut data, mut out) = (String::new(), None::<String>, Vec::new());
    for line in normal[..end].split('\n') {
        if line.is_empty() {
            let name = std::mem::take(&mut name);
            if let Some(data) = data.take() {
                out.push(((!name.is_empty()).then_some(name), data));
            }
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => data = Some(data.map_or(value.to_owned(), |data| data + "\n" + value)),
            "event" => name = value.to_owned(),
            _ => {}
        }
    }
    out
}

fn salad() -> impl Strategy<Value = String> {
    let token = prop::sample::select(vec![
        "data",
        "data: ",
        "data:",
        "event: x",
        ":",
        " ",
        "\n",
        "\r",
        "\r\n",
        "\n\n",
        "é",
        "😀",
        "\u{feff}",
        "a",
        "id: 1",
        "{\"a\":1}",
    ]);
    prop::collection::vec(token, 0..20).prop_map(|tokens| tokens.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn any_stream_is_read_as_the_standard_reads_it(stream in salad()) {
        // A last CR may be half a CRLF, so the decoder waits where the oracle need not.
        prop_assume!(!stream.ends_with('\r'));
        let (seen, _, _) = everywhere(stream.as_bytes(), 1 << 20);
        let ours: Vec<_> = seen.into_iter().filter_map(|event| Some((event.name, event.data?))).collect();
        prop_assert_eq!(ours, oracle(&stream));
    }

    #[test]
    fn any_bytes_at_any_bound_come_back(stream in prop::collection::vec(prop::sample::select(b"d:\r\n \xef\xbb\xbf".to_vec()), 0..40), limit in 0usize..30) {
        let (_, rest, result) = everywhere(&stream, limit);
        prop_assert!(result.is_err() || rest.len() <= limit);
    }
}
