//! Frames and JSON.

use std::io::Cursor;

use aws_smithy_types::event_stream::HeaderValue;
use base64::Engine as _;
use weir_wire::json::{self, ErrorKind, Joined, Kind, Limits, Unescaped, Value, Writer, escape_into};
use weir_wire::splice::Splices;
use weir_wire::{base64 as own, eventstream, sse};

use super::{Target, cuts, is_json, seeds, words};
use crate::random::Random;

pub const JSON: Target = Target {
    name: "json",
    about: "JSON: accepts what serde_json accepts but for named reasons, splices leave a document, what is written reads the same",
    run: read_json,
    seeds: || {
        seeds(&[
            r#"{"model":"m","messages":[{"role":"user","content":"a\"\u00e9\ud83d\ude00 b"}],"n":-1.5e3,"s":true,"x":null}"#,
            "[]",
            " [1, 2 ,{}] ",
            r#""\\\/\b""#,
        ])
    },
    words: words::JSON,
    nanos_per_byte: 5_000,
};

/// Documents one after the other are what each is alone.
fn joined(input: &str) {
    let mut random = Random::of(input.as_bytes());
    let borders: Vec<usize> =
        (0..=input.len()).filter(|at| input.is_char_boundary(*at)).take(5_000).collect();
    let mut joined = Joined::default();
    let (mut parts, mut from) = (Vec::new(), 0);
    for _ in 0..random.below(4) {
        let to = (*random.pick(&borders).expect("0")).max(from);
        parts.extend([&input[from..to], input]);
        from = to;
    }
    let mut expected = Vec::new();
    for part in parts {
        let alone = json::parse_texts(part, &Limits::default());
        let start = joined.push(part);
        assert_eq!(start.is_some(), alone.is_ok(), "{part}");
        if let (Some(start), Ok(doc)) = (start, alone) {
            expected.push((start, doc));
        }
    }
    let Some(doc) = joined.doc() else { return assert!(expected.is_empty()) };
    assert_eq!((doc.root().raw(), doc.root().len()), (doc.text().as_bytes(), expected.len()));
    assert_eq!(doc.root().items().count(), expected.len());
    let mut scalars = Vec::new();
    doc.root().scalars(&mut |value, name| scalars.push((value.range(), value.kind(), name)));
    let mut alone = Vec::new();
    for ((start, part), item) in expected.iter().zip(doc.root().items()) {
        assert_eq!(
            (item.raw(), item.kind(), item.len()),
            (part.root().raw(), part.root().kind(), part.root().len())
        );
        let moved = |range: std::ops::Range<usize>| start + range.start..start + range.end;
        part.root().scalars(&mut |value, name| alone.push((moved(value.range()), value.kind(), name)));
    }
    assert_eq!(scalars, alone);
    assert!(json::parse_texts(doc.text(), &Limits { depth: 129, ..Limits::default() }).is_ok());
}

fn read_json(input: &[u8]) {
    if let Ok(text) = std::str::from_utf8(input) {
        joined(text);
    }
    let ours = json::parse(input, &Limits::default());
    let theirs = serde_json::from_slice::<serde_json::Value>(input);
    let doc = match (ours, theirs) {
        (Ok(doc), Ok(_)) => doc,
        (Err(error), Err(_)) => return assert!(error.at <= input.len()),
        (Err(error), Ok(_)) => {
            let named = [ErrorKind::DuplicateKey, ErrorKind::LoneSurrogate, ErrorKind::Depth];
            let text = std::str::from_utf8(input).expect("serde_json read it");
            let lax = json::parse_texts(text, &Limits::default()).map_err(|error| error.kind);
            assert!(
                lax.is_ok()
                    || error.kind != ErrorKind::DuplicateKey
                    || lax.is_err_and(|kind| named.contains(&kind))
            );
            return assert!(named.contains(&error.kind), "{error}");
        }
        // serde_json refuses numbers that no double holds.
        (Ok(doc), Err(error)) => {
            assert!(error.to_string().contains("number out of range"), "only we accept it: {error}");
            doc
        }
    };
    let mut random = Random::of(input);
    let mut values = Vec::new();
    collect(doc.root(), &mut values);
    let text = std::str::from_utf8(input).expect("it was read");
    let whole = Unescaped::document(text, false);
    let lax = json::parse_texts(text, &Limits::default()).expect("it was read");
    let mut strings = Vec::new();
    lax.root().scalars(&mut |value, name| strings.extend((!name).then(|| value.range())));
    let scalar = |value: &&Value<'_, '_>| matches!(value.kind(), Kind::String | Kind::Number);
    let of_kind = values.iter().filter(scalar).map(|value| value.range());
    assert_eq!(strings, of_kind.collect::<Vec<_>>());
    let mut written = Writer::new(Vec::new());
    write(doc.root(), &mut written);
    let written = written.into_inner();
    is_json(&written);
    let again = json::parse(&written, &Limits::default()).expect("what is written is JSON");
    let mut others = Vec::new();
    collect(again.root(), &mut others);
    assert_eq!(values.len(), others.len());
    for (one, other) in values.iter().zip(&others) {
        assert_eq!((one.kind(), one.as_str(), one.as_f64()), (other.kind(), other.as_str(), other.as_f64()));
    }
    // One value for another, and a part of a text for other text.
    for _ in 0..3 {
        let Some(value) = random.pick(&values) else { return };
        let mut edits = Splices::new();
        edits.replace(value.range(), b"[{\"new\":0}]");
        is_json(&edits.apply(input).expect("one edit cannot overlap"));
        if value.kind() != Kind::String {
            continue;
        }
        let unescaped = value.unescaped();
        let text = unescaped.text.as_ref();
        let borders: Vec<usize> =
            (0..=text.len()).filter(|at| text.is_char_boundary(*at)).take(5_000).collect();
        let (mut from, mut to) = (*random.pick(&borders).expect("0"), *random.pick(&borders).expect("0"));
        if from > to {
            (from, to) = (to, from);
        }
        let std::ops::Range { start: at, end } = whole.place(unescaped.body_range());
        assert_eq!(whole.text.get(at..end), Some(text));
        assert_eq!(whole.raw_range(at + from..at + to), unescaped.raw_range(from..to));
        let mut with = Vec::new();
        escape_into(&mut with, "new\" \u{1f980}\n");
        let mut edits = Splices::new();
        edits.replace(unescaped.raw_range(from..to), &with);
        let edited = edits.apply(input).expect("one edit cannot overlap");
        is_json(&edited);
        let want = format!("{}new\" \u{1f980}\n{}", &text[..from], &text[to..]);
        let edited = json::parse(&edited, &Limits::default()).expect("just read");
        let mut now = Vec::new();
        collect(edited.root(), &mut now);
        let place = values.iter().position(|one| one.range() == value.range()).expect("it is one of them");
        assert_eq!(now[place].as_str().as_deref(), Some(want.as_str()));
    }
}

fn collect<'d, 'a>(value: Value<'d, 'a>, out: &mut Vec<Value<'d, 'a>>) {
    out.push(value);
    value.items().for_each(|item| collect(item, out));
    value.members().for_each(|(_, member)| collect(member, out));
}

fn write(value: Value<'_, '_>, out: &mut Writer) {
    match value.kind() {
        Kind::Object => {
            out.begin_object();
            for (key, member) in value.members() {
                out.key(&key.as_str());
                write(member, out);
            }
            out.end_object();
        }
        Kind::Array => {
            out.begin_array();
            value.items().for_each(|item| write(item, out));
            out.end_array();
        }
        Kind::String => drop(out.str(&value.as_str().expect("a string"))),
        Kind::Number => drop(out.raw(value.raw())),
        Kind::Bool => drop(out.bool(value.as_bool().expect("a bool"))),
        Kind::Null => drop(out.null()),
    }
}

pub const SSE: Target = Target {
    name: "sse",
    about: "server-sent events: any cut gives the same events, no byte is lost, what is held is bounded",
    run: read_sse,
    seeds: || {
        seeds(&[
            "data: a\n\ndata: b\r\n\r\n: c\n\nevent: x\ndata: 1\ndata:2\n\n",
            "\u{feff}data: a\rdata: b\r\r",
            "data: tail",
        ])
    },
    words: words::SSE,
    nanos_per_byte: 5_000,
};

type Seen = (Vec<u8>, Option<Vec<u8>>, Vec<u8>, bool);

fn read_sse(input: &[u8]) {
    const MOST: usize = 512;
    let mut first: Option<(Vec<Seen>, bool, Vec<u8>)> = None;
    for pieces in cuts(input) {
        let mut decoder = sse::Decoder::new(MOST);
        let mut seen: Vec<Seen> = Vec::new();
        let mut broken = false;
        for piece in pieces {
            let read = decoder.push(piece, &mut |event| {
                seen.push((
                    event.raw.to_vec(),
                    event.name.map(<[u8]>::to_vec),
                    event.data.to_vec(),
                    event.has_data,
                ));
            });
            broken |= read.is_err();
            // An oversized event is reported as soon as it is known to be one.
            assert!(broken || decoder.held() <= MOST, "{} bytes are held", decoder.held());
        }
        let rest = decoder.finish();
        if !broken {
            let whole: Vec<u8> = seen.iter().flat_map(|event| event.0.clone()).chain(rest.clone()).collect();
            assert_eq!(whole, input, "bytes were lost");
        }
        for (raw, _, data, _) in &seen {
            assert!(raw.len() <= MOST && data.len() <= raw.len());
        }
        let now = (seen, broken, if broken { Vec::new() } else { rest });
        match &first {
            None => first = Some(now),
            Some(first) => assert_eq!(*first, now, "cut otherwise"),
        }
    }
}

pub const EVENTSTREAM: Target = Target {
    name: "eventstream",
    about: "AWS event stream: any cut gives the same frames and the same error, as the SDK's own decoder; half of the inputs get right checksums",
    run: read_frames,
    seeds: || {
        let mut two = Vec::new();
        eventstream::encode(
            &mut two,
            &[(":event-type", "messageStart"), (":message-type", "event")],
            b"{\"role\":\"assistant\"}",
        );
        eventstream::encode(&mut two, &[], b"");
        vec![two.clone(), two[..30].to_vec()]
    },
    words: &[
        ":event-type",
        ":message-type",
        "event",
        "exception",
        "error",
        ":exception-type",
        ":content-type",
        "\u{7}\0\u{5}",
        "\0\0\0\u{10}\0\0\0\0",
    ],
    nanos_per_byte: 5_000,
};

fn read_frames(input: &[u8]) {
    read_frames_as_they_are(input);
    read_frames_as_they_are(&mended(input));
}

/// The bytes with right checksums, wherever they could be frames.
fn mended(input: &[u8]) -> Vec<u8> {
    let (mut out, mut at) = (input.to_vec(), 0);
    while let Some(head) = out.get(at..at + 8) {
        let total = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let sum = crc32fast::hash(head);
        if out.len() < at + 16 {
            break;
        }
        out[at + 8..at + 12].copy_from_slice(&sum.to_be_bytes());
        if total < 16 || at + total > out.len() {
            break;
        }
        let sum = crc32fast::hash(&out[at..at + total - 4]);
        out[at + total - 4..at + total].copy_from_slice(&sum.to_be_bytes());
        at += total;
    }
    out
}

type Fields = Vec<(String, Option<String>)>;
type Frames = (Vec<(Fields, Vec<u8>)>, Result<(), eventstream::Error>);

fn read_frames_as_they_are(input: &[u8]) {
    let mut first: Option<Frames> = None;
    for pieces in cuts(input) {
        let mut decoder = eventstream::Decoder::new(4096);
        let mut frames = Vec::new();
        let mut result = Ok(());
        for piece in pieces {
            let pushed = decoder.push(piece, &mut |frame| {
                let fields = frame.headers().map(|(name, value)| {
                    let text = match value {
                        eventstream::HeaderValue::Str(text) => Some(text.to_owned()),
                        _ => None,
                    };
                    (name.to_owned(), text)
                });
                frames.push((fields.collect(), frame.payload.to_vec()));
            });
            result = result.and(pushed);
        }
        let result = result.and(decoder.finish());
        match &first {
            None => first = Some((frames, result)),
            Some(first) => assert_eq!(*first, (frames, result), "cut otherwise"),
        }
    }
    let Some((frames, _)) = first else { return };
    // Whatever frame we give out, the SDK reads the same; what it refuses we do not give out.
    let mut rest = Cursor::new(input);
    for (fields, payload) in frames {
        let message =
            aws_smithy_eventstream::frame::read_message_from(&mut rest).expect("the SDK reads it too");
        assert_eq!(message.payload().as_ref(), payload);
        let theirs: Fields = message
            .headers()
            .iter()
            .map(|header| {
                let text = match header.value() {
                    HeaderValue::String(text) => Some(text.as_str().to_owned()),
                    _ => None,
                };
                (header.name().as_str().to_owned(), text)
            })
            .collect();
        assert_eq!(theirs, fields);
    }
}

pub const BASE64: Target = Target {
    name: "base64",
    about: "base64: what is encoded decodes, as by the crate of that name; decoding accepts nothing that it refuses",
    run: read_base64,
    seeds: || seeds(&["", "AAAA", "aGVsbG8=", "aGVsbA==", "aGVs bG8="]),
    words: &["=", "==", "AAAA", "+/", "-_", "\n", " "],
    nanos_per_byte: 2_000,
};

fn read_base64(input: &[u8]) {
    let theirs = base64::engine::general_purpose::STANDARD;
    let mut text = Vec::new();
    own::encode_into(&mut text, input);
    assert_eq!(text, theirs.encode(input).into_bytes());
    assert_eq!(own::decode(&text).as_deref(), Some(input));
    assert_eq!(own::decode(input), theirs.decode(input).ok());
}
