//! Streams of each dialect: their events do not depend on cuts, they end once, and what clients are given is a stream.

use weir_dialects::hub::Event;
use weir_dialects::{anthropic, bedrock, openai_chat, openai_completions};
use weir_wire::{eventstream, sse};

use super::dialects::context;
use super::{Target, cuts, goldens, is_json, seeds, words};

/// Reads every way of cutting, with a new decoder each, and judges what came out.
fn judge(bytes: &[u8], decode: &mut dyn FnMut(&[&[u8]]) -> Vec<Event>) {
    let mut first: Option<Vec<Event>> = None;
    for pieces in cuts(bytes) {
        let events = decode(&pieces);
        match &first {
            None => first = Some(events),
            Some(first) => assert_eq!(joined(first), joined(&events), "cut otherwise"),
        }
    }
    let events = first.unwrap_or_default();
    ends_once(&events);
    written(&events, bytes.len());
}

/// Deltas may be cut where chunks are: neighbours are joined before they are compared.
fn joined(events: &[Event]) -> Vec<Event> {
    let mut out: Vec<Event> = Vec::new();
    for event in events {
        match (out.last_mut(), event) {
            (Some(Event::TextDelta { choice: a, text: to }), Event::TextDelta { choice: b, text })
                if a == b =>
            {
                to.push_str(text)
            }
            _ => out.push(event.clone()),
        }
    }
    out
}

fn ends_once(events: &[Event]) {
    let terminal = |event: &Event| matches!(event, Event::Done | Event::Error(_));
    assert!(events.last().is_some_and(terminal), "no end: {:?}", events.last());
    assert_eq!(events.iter().filter(|event| terminal(event)).count(), 1, "several ends");
    for choice in 0..4 {
        let finishes =
            events.iter().filter(|event| matches!(event, Event::Finish { choice: of, .. } if *of == choice));
        assert!(finishes.count() <= 1, "answer {choice} finishes twice");
    }
    if matches!(events.last(), Some(Event::Done)) {
        assert!(
            events.iter().any(|event| matches!(event, Event::Finish { .. })),
            "a good end without a finish"
        );
    }
}

/// Both clients' streams: frames of JSON, ended as the events did, of a bounded size.
fn written(events: &[Event], len: usize) {
    let good = matches!(events.last(), Some(Event::Done));
    for usage in [true, false] {
        let mut encoder = openai_chat::StreamEncoder::new(&context(), usage);
        let mut out = Vec::new();
        events.iter().for_each(|event| encoder.event(event, &mut out));
        assert!(encoder.ended());
        let (mut done, mut failed, mut n, mut usages) = (0, 0, 0, 0);
        framed(&out, &mut |_, data| {
            n += 1;
            assert_eq!(done, 0, "something after [DONE]");
            let chunk = openai_chat::read_chunk(data).expect("a chunk");
            done += usize::from(chunk.is_done);
            failed += usize::from(chunk.error);
            usages += usize::from(chunk.usage.is_some());
        });
        assert!(usages <= usize::from(usage), "{usages} usages");
        assert_eq!((done, failed), (usize::from(good), usize::from(!good)), "{n} chunks");
        assert!(out.len() <= 2_000 + 100 * len, "{len} bytes became {}", out.len());
    }
    let mut encoder = anthropic::StreamEncoder::new(&context());
    let mut out = Vec::new();
    events.iter().for_each(|event| encoder.event(event, &mut out));
    let (mut stops, mut failed) = (0, 0);
    framed(&out, &mut |name, data| {
        is_json(data);
        assert_eq!(stops + failed, 0, "something after the end");
        stops += usize::from(name == b"message_stop");
        failed += usize::from(name == b"error");
    });
    assert_eq!((stops, failed), (usize::from(good), usize::from(!good)));
    assert!(out.len() <= 3_000 + 100 * len, "{len} bytes became {}", out.len());
    // Our own stream, read as a provider's, ends as it did.
    let mut decoder = anthropic::StreamDecoder::new(bedrock::Renames::default());
    let mut again = Vec::new();
    decoder.push(&out, &mut again);
    decoder.finish(&mut again);
    ends_once(&again);
    assert_eq!(matches!(again.last(), Some(Event::Done)), good, "{}", String::from_utf8_lossy(&out));
}

fn framed(out: &[u8], each: &mut dyn FnMut(&[u8], &[u8])) {
    let mut frames = sse::Decoder::new(64 << 20);
    let read = frames.push(out, &mut |event| {
        if event.has_data {
            each(event.name.unwrap_or_default(), &event.data);
        }
    });
    assert!(read.is_ok() && frames.finish().is_empty(), "half a frame");
}

pub const CHAT_STREAM: Target = Target {
    name: "chat_stream",
    about: "OpenAI chat streams of a provider: cut anywhere the same events, one end, and streams of both clients' dialects",
    run: |input| {
        judge(input, &mut |pieces| {
            let (mut decoder, mut events) = (openai_chat::StreamDecoder::default(), Vec::new());
            pieces.iter().for_each(|piece| decoder.push(piece, &mut events));
            decoder.finish(&mut events);
            decoder.push(b"data: {}\n\n", &mut events);
            decoder.finish(&mut events);
            events
        });
    },
    seeds: || goldens("chat_stream_to_messages", "sse"),
    words: words::CHUNKS,
    nanos_per_byte: 100_000,
};

pub const MESSAGES_STREAM: Target = Target {
    name: "messages_stream",
    about: "Anthropic streams of a provider: as chat_stream",
    run: |input| {
        judge(input, &mut |pieces| {
            let mut decoder = anthropic::StreamDecoder::new(bedrock::Renames::default());
            let mut events = Vec::new();
            pieces.iter().for_each(|piece| decoder.push(piece, &mut events));
            decoder.finish(&mut events);
            decoder.push(b"data: {}\n\n", &mut events);
            decoder.finish(&mut events);
            events
        });
    },
    seeds: || goldens("messages_stream_to_chat", "sse"),
    words: words::CHUNKS,
    nanos_per_byte: 100_000,
};

pub const CONVERSE_STREAM: Target = Target {
    name: "converse_stream",
    about: "Converse streams, as lines of events that are framed here, some of them damaged: as chat_stream",
    run: |input| {
        judge(&frames(input), &mut |pieces| {
            let mut decoder = bedrock::StreamDecoder::new(bedrock::Renames::default());
            let mut events = Vec::new();
            pieces.iter().for_each(|piece| decoder.push(piece, &mut events));
            decoder.finish(&mut events);
            decoder.push(b"\0\0\0\x10", &mut events);
            decoder.finish(&mut events);
            events
        });
    },
    seeds: || goldens("converse_stream_to_chat", "events"),
    words: words::EVENTS,
    nanos_per_byte: 200_000,
};

/// Lines as in the goldens: `event-type {json}`, `!exception-type {json}`, `cut` for an end inside the next frame,
/// `flip` for a wrong checksum of the next one; any other line is a frame whose type and payload are what they are.
fn frames(input: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (mut cut, mut flip) = (false, false);
    for line in input.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let at = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
        let (kind, payload) = line.split_at(at);
        let kind = String::from_utf8_lossy(kind).into_owned();
        match kind.as_str() {
            "cut" => cut = true,
            "flip" => flip = true,
            _ => {
                let start = bytes.len();
                let headers = match kind.strip_prefix('!') {
                    Some(exception) => [(":exception-type", exception), (":message-type", "exception")],
                    None => [(":event-type", kind.as_str()), (":message-type", "event")],
                };
                eventstream::encode(&mut bytes, &headers, payload.get(1..).unwrap_or(b"{}"));
                if std::mem::take(&mut flip)
                    && let Some(last) = bytes.last_mut()
                {
                    *last ^= 1;
                }
                if std::mem::take(&mut cut) {
                    bytes.truncate((start + 20).min(bytes.len()));
                    break;
                }
            }
        }
    }
    bytes
}

pub const CHUNKS: Target = Target {
    name: "chunks",
    about: "one event of a stream that passes through: what was read is where it is said to be, in each dialect",
    run: |input| {
        let mut chunk = openai_chat::Chunk::default();
        for read in [
            openai_chat::read_chunk_into as fn(&[u8], &mut openai_chat::Chunk) -> _,
            openai_completions::read_chunk_into,
            anthropic::read_event_into,
        ] {
            if read(input, &mut chunk).is_ok() {
                for text in &chunk.texts {
                    assert!(openai_chat::unquote(input, text.value.clone()).is_some(), "{text:?} is no text");
                }
            }
        }
    },
    seeds: || {
        let mut all = seeds(&[
            "[DONE]",
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"x"}}"#,
        ]);
        for suite in ["chat_stream_to_messages", "messages_stream_to_chat"] {
            for stream in goldens(suite, "sse") {
                let lines =
                    stream.split(|byte| *byte == b'\n').filter_map(|line| line.strip_prefix(b"data: "));
                all.extend(lines.map(<[u8]>::to_vec));
            }
        }
        all
    },
    words: words::CHUNKS,
    nanos_per_byte: 10_000,
};
