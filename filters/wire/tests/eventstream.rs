//! AWS event stream frames against the AWS SDK's own codec, at every split point.
//!
//! One difference: the SDK refuses an empty string as the very last header; the format allows it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

use aws_smithy_eventstream::frame::{DecodedFrame, MessageFrameDecoder, write_message_to};
use aws_smithy_types::event_stream::{Header, HeaderValue as Theirs, Message};
use aws_smithy_types::{DateTime, str_bytes::StrBytes};
use bytes::Bytes;
use proptest::prelude::*;
use weir_wire::eventstream::{Decoder, Error, HeaderValue, encode};

type Owned = (Vec<(String, String)>, Vec<u8>);

fn show(value: HeaderValue<'_>) -> String {
    format!("{value:?}")
}

fn ours(chunks: &[&[u8]], limit: usize) -> (Vec<Owned>, Result<(), Error>) {
    let mut decoder = Decoder::new(limit);
    let mut frames = Vec::new();
    for chunk in chunks {
        let result = decoder.push(chunk, &mut |frame| {
            let headers = frame.headers().map(|(name, value)| (name.to_owned(), show(value))).collect();
            frames.push((headers, frame.payload.to_vec()));
        });
        if let Err(error) = result {
            assert_eq!(decoder.push(b"", &mut |_| panic!("a frame after an error")), Err(error));
            assert_eq!(decoder.finish(), Err(error));
            return (frames, Err(error));
        }
    }
    (frames, decoder.finish())
}

fn everywhere(stream: &[u8], limit: usize) -> (Vec<Owned>, Result<(), Error>) {
    let batch = ours(&[stream], limit);
    for at in 0..=stream.len() {
        assert_eq!(ours(&[&stream[..at], &stream[at..]], limit), batch, "split at {at}");
    }
    let single: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(ours(&single, limit), batch);
    batch
}

fn theirs(stream: &[u8]) -> (Vec<Owned>, bool) {
    let mut decoder = MessageFrameDecoder::new();
    let mut stream = Bytes::copy_from_slice(stream);
    let mut frames = Vec::new();
    loop {
        match decoder.decode_frame(&mut stream) {
            Ok(DecodedFrame::Complete(message)) => {
                let headers = message.headers().iter().map(|header| {
                    let value = match header.value() {
                        Theirs::Bool(value) => HeaderValue::Bool(*value),
                        Theirs::Byte(value) => HeaderValue::Byte(*value),
                        Theirs::Int16(value) => HeaderValue::Int16(*value),
                        Theirs::Int32(value) => HeaderValue::Int32(*value),
                        Theirs::Int64(value) => HeaderValue::Int64(*value),
                        Theirs::ByteArray(value) => HeaderValue::Bytes(value),
                        Theirs::String(value) => HeaderValue::Str(value.as_str()),
                        Theirs::Timestamp(value) => HeaderValue::Timestamp(value.to_millis().unwrap()),
                        Theirs::Uuid(value) => HeaderValue::Uuid(*value),
                        other => panic!("{other:?}"),
                    };
                    (header.name().as_str().to_owned(), show(value))
                });
                frames.push((headers.collect(), message.payload().to_vec()));
            }
            Ok(_) => return (frames, true),
            Err(_) => return (frames, false),
        }
    }
}

fn sample() -> Vec<u8> {
    let mut out = Vec::new();
    encode(
        &mut out,
        &[(":event-type", "messageStart"), (":content-type", "application/json"), (":message-type", "event")],
        br#"{"role":"assistant"}"#,
    );
    encode(&mut out, &[], b"");
    encode(
        &mut out,
        &[(":exception-type", "throttlingException"), (":message-type", "exception")],
        "{\"message\":\"é\"}".as_bytes(),
    );
    out
}

#[test]
fn frames_come_out_at_every_split_as_the_sdk_reads_them() {
    let stream = sample();
    let (frames, result) = everywhere(&stream, 1 << 20);
    assert_eq!((frames.len(), result), (3, Ok(())));
    assert_eq!(theirs(&stream), (frames, true));
}

#[test]
fn the_headers_that_matter_have_names() {
    let mut seen = Vec::new();
    let mut decoder = Decoder::new(1 << 20);
    decoder
        .push(&sample(), &mut |frame| {
            let names = [frame.message_type(), frame.event_type(), frame.exception_type()];
            seen.push(names.map(|name| name.unwrap_or("").to_owned()));
        })
        .unwrap();
    assert_eq!(seen, [["event", "messageStart", ""], ["", "", ""], ["exception", "", "throttlingException"]]);
}

#[test]
fn every_changed_bit_is_noticed() {
    let stream = sample();
    let (frames, _) = ours(&[&stream], 1 << 20);
    for at in 0..stream.len() {
        for bit in 0..8 {
            let mut changed = stream.clone();
            changed[at] ^= 1 << bit;
            let (seen, result) = ours(&[&changed], 1 << 20);
            assert!(result.is_err(), "byte {at} bit {bit}");
            assert!(seen.len() < frames.len() && seen == frames[..seen.len()], "byte {at} bit {bit}");
        }
    }
}

#[test]
fn a_cut_stream_is_truncated_unless_cut_between_frames() {
    let stream = sample();
    let mut whole = 0;
    for end in 0..stream.len() {
        match ours(&[&stream[..end]], 1 << 20) {
            (_, Ok(())) => whole += 1,
            (_, error) => assert_eq!(error, Err(Error::Truncated), "{end}"),
        }
    }
    assert_eq!(whole, 3);
}

/// A frame with correct checksums around any lengths and headers.
fn forged(total: u32, headers_length: u32, headers: &[u8], payload: &[u8]) -> Vec<u8> {
    let crc = |bytes: &[u8]| {
        !bytes.iter().fold(u32::MAX, |sum, byte| {
            (0..8).fold(sum ^ u32::from(*byte), |sum, _| sum >> 1 ^ (0xedb8_8320 * (sum & 1)))
        })
    };
    let mut out = [total.to_be_bytes(), headers_length.to_be_bytes()].concat();
    out.extend(crc(&out).to_be_bytes());
    out.extend(headers);
    out.extend(payload);
    out.extend(crc(&out).to_be_bytes());
    out
}

#[test]
fn contradicting_lengths_and_broken_headers_are_refused() {
    let verdict = |frame: &[u8]| everywhere(frame, 1 << 20).1;
    assert_eq!(verdict(&forged(16, 0, b"", b"")), Ok(()));
    for (total, headers) in [(0, 0), (15, 0), (16, 1), (20, 5), (u32::MAX, u32::MAX), (200_000, 131_073)] {
        assert_eq!(verdict(&forged(total, headers, b"", b"")), Err(Error::BadPrelude), "{total} {headers}");
    }
    assert_eq!(verdict(&forged(2 << 20, 0, b"", b"")), Err(Error::TooLarge));
    assert_eq!(everywhere(&forged(20, 0, b"", b"1234"), 19).1, Err(Error::TooLarge));
    assert_eq!(everywhere(&forged(20, 0, b"", b"1234"), 20).1, Ok(()));
    for headers in [
        &b"\x01"[..],
        b"\x01a",
        b"\x01a\x0a",
        b"\x01a\x07\x00",
        b"\x01a\x07\x00\x02x",
        b"\x01\xff\x00",
        b"\x01a\x07\x00\x01\xff",
        b"\x01a\x03\x00",
        b"\x05a\x00",
        b"\x01a\x00\x00",
        b"\x01a\x09123456789012345",
    ] {
        let frame = forged(16 + headers.len() as u32, headers.len() as u32, headers, b"");
        assert_eq!(verdict(&frame), Err(Error::BadHeaders), "{headers:x?}");
        assert!(!theirs(&frame).1, "{headers:x?}");
    }
}

#[test]
fn recorded_streams_are_read_as_the_sdk_reads_them() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/wire");
    let mut streams = 0;
    for file in ["bedrock_converse_stream.jsonl", "bedrock_invoke_with_response_stream.jsonl"] {
        let Ok(text) = std::fs::read_to_string(format!("{folder}/{file}")) else {
            println!("skipped: no recorded calls beside the project");
            return;
        };
        for line in text.lines() {
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            let Some(coded) = record["response_b64"].as_str() else { continue };
            let stream = weir_wire::base64::decode(coded.as_bytes()).unwrap();
            let expected = theirs(&stream);
            assert!(!expected.0.is_empty() && expected.1);
            let sizes = [1, 7, 64, 1000, usize::MAX];
            for size in sizes {
                let chunks: Vec<&[u8]> = stream.chunks(size.min(stream.len())).collect();
                let (frames, result) = ours(&chunks, 1 << 24);
                assert_eq!((&frames, result), (&expected.0, Ok(())));
            }
            streams += 1;
        }
    }
    assert!(streams > 10);
}

fn header() -> impl Strategy<Value = Header> {
    let value = prop_oneof![
        any::<bool>().prop_map(Theirs::Bool),
        any::<i8>().prop_map(Theirs::Byte),
        any::<i16>().prop_map(Theirs::Int16),
        any::<i32>().prop_map(Theirs::Int32),
        any::<i64>().prop_map(Theirs::Int64),
        prop::collection::vec(any::<u8>(), 1..20).prop_map(|bytes| Theirs::ByteArray(bytes.into())),
        "\\PC{1,20}".prop_map(|text| Theirs::String(StrBytes::from(text))),
        (-9_000_000_000_000i64..9_000_000_000_000)
            .prop_map(|ms| Theirs::Timestamp(DateTime::from_millis(ms))),
        any::<u128>().prop_map(Theirs::Uuid),
    ];
    ("[a-z:-]{1,20}", value).prop_map(|(name, value)| Header::new(name, value))
}

proptest! {
    #[test]
    fn what_the_sdk_writes_is_read(headers in prop::collection::vec(header(), 0..5), payload in prop::collection::vec(any::<u8>(), 0..60)) {
        let mut stream = Vec::new();
        let message = headers.into_iter().fold(Message::new(payload), Message::add_header);
        write_message_to(&message, &mut stream).unwrap();
        let (frames, result) = everywhere(&stream, 1 << 20);
        prop_assert_eq!((frames, result.is_ok()), theirs(&stream));
    }

    #[test]
    fn what_is_written_the_sdk_reads(name in "[a-z:-]{1,20}", value in "\\PC{1,20}", payload in prop::collection::vec(any::<u8>(), 0..60)) {
        let mut stream = vec![];
        encode(&mut stream, &[(&name, &value), (&name, "second")], &payload);
        let (frames, whole) = theirs(&stream);
        prop_assert!(whole);
        prop_assert_eq!(&frames[0].1, &payload);
        prop_assert_eq!(&frames[0].0[0], &(name, show(HeaderValue::Str(&value))));
        prop_assert_eq!(everywhere(&stream, 1 << 20).0, frames);
    }
}
