//! What clients beside OpenAI's chat and Anthropic's say and hear: Responses, embeddings, Converse, bodies in a model's
//! own dialect, with their streams; and how long a provider asks to be left alone.

use weir_dialects::hub::Event;
use weir_dialects::openai_chat::{Chunk, Rules, Slot};
use weir_dialects::{bedrock, openai_chat, openai_completions, openai_embeddings, openai_responses};
use weir_pipeline::cooling;
use weir_pipeline::io::{Headers, Now};
use weir_wire::json::{Limits, parse};
use weir_wire::splice::Splices;
use weir_wire::{eventstream, sse};

use super::dialects::{carried, context, document, edited, shown};
use super::{Target, cuts, goldens, is_json, parts, seeds, words};

fn counted(tokens: u64) {
    assert!(tokens < 1 << 40, "{tokens} tokens");
}

pub const RESPONSES_REQUEST: Target = Target {
    name: "responses_request",
    about: "Responses requests: edits leave a request that says what was set; what is carried to any dialect, and what is left for OpenAI itself, is a bounded document",
    run: |input| {
        document(input, |doc| {
            openai_responses::texts(doc, &mut shown());
            let rules = &Rules::COOKBOOK;
            counted(openai_responses::prompt_tokens(doc, rules, &mut |text| text.len() as u64).tokens);
            openai_responses::byte_bound(doc);
            openai_responses::images(doc);
            edited(input, doc, &|doc| openai_responses::read(doc), true);
            is_json(&[b"{", &openai_responses::echo(Some(doc))[..], b"}"].concat());
            if let Ok((chat, _)) = openai_responses::decode(doc) {
                carried(&chat, input.len());
            }
            if let Some((own, losses)) = openai_responses::own(input) {
                is_json(&own);
                assert!(own.len() <= input.len() && !losses.is_empty());
            }
        });
    },
    seeds: || goldens("responses_to_others", "json"),
    words: words::RESPONSES,
    nanos_per_byte: 60_000,
};

pub const RESPONSES_STREAM: Target = Target {
    name: "responses_stream",
    about: "events of a response that passes through: what was read is where it is said to be, an event in our words is one of the API, and a response's end is a document",
    run: |input| {
        let mut chunk = Chunk::default();
        for payload in parts(input) {
            _ = openai_responses::first(payload);
            if openai_responses::read_event_into(payload, &mut chunk).is_err() {
                continue;
            }
            for text in chunk.texts.iter().chain(&chunk.wholes) {
                let word = openai_chat::unquote(payload, text.value.clone());
                assert!(word.is_some(), "{text:?} is no text");
                if let Some((kind, event)) = openai_responses::text_event(payload, text.slot, 7, b"\"x\"") {
                    is_json(&event);
                    assert!(kind.starts_with("response."), "{kind}");
                }
            }
        }
        // The whole of one, as an answer that passes.
        document(input, |doc| {
            let facts = openai_responses::read_answer(doc);
            assert!(facts.texts.iter().all(|text| text.value.as_str().is_some()));
        });
    },
    seeds: || {
        let mut all = Vec::new();
        for suite in ["chat_stream_to_responses", "messages_stream_to_responses"] {
            for stream in goldens(suite, "out") {
                let lines =
                    stream.split(|byte| *byte == b'\n').filter_map(|line| line.strip_prefix(b"data: "));
                all.extend(lines.map(<[u8]>::to_vec));
            }
        }
        all.sort();
        all.dedup();
        all.truncate(60);
        all
    },
    words: words::RESPONSES,
    nanos_per_byte: 20_000,
};

pub const RESPONSES_WRITTEN: Target = Target {
    name: "responses_written",
    about: "a chat stream of a provider for a client of the Responses API: numbered events of JSON, one end as the events had it, of a bounded size",
    run: |input| {
        let (mut decoder, mut events) = (openai_chat::StreamDecoder::default(), Vec::new());
        decoder.push(input, &mut events);
        decoder.finish(&mut events);
        let good = matches!(events.last(), Some(Event::Done));
        let mut encoder = openai_responses::StreamEncoder::new(&context(), &openai_responses::echo(None));
        let mut out = Vec::new();
        events.iter().for_each(|event| encoder.event(event, &mut out));
        let (mut ends, mut broken, mut next) = (0, 0, 0u64);
        let mut frames = sse::Decoder::new(64 << 20);
        let read = frames.push(&out, &mut |event| {
            assert_eq!(ends, 0, "something after the end");
            let doc =
                parse(&event.data, &Limits { depth: 300, ..Limits::default() }).expect("an event is JSON");
            let number = |key: &str| doc.root().get(key).and_then(|value| value.as_u64());
            assert_eq!(number("sequence_number"), Some(next));
            next += 1;
            let name = event.name.unwrap_or_default();
            assert!(
                doc.root().get("type").is_some_and(|kind| kind.str_raw().map(str::as_bytes) == Some(name))
            );
            broken += usize::from(name == b"error");
            let end = [&b"response.completed"[..], b"response.incomplete", b"response.failed"];
            ends += usize::from(end.contains(&name));
        });
        assert!(read.is_ok() && frames.finish().is_empty(), "half a frame");
        assert_eq!((ends, broken), (1, usize::from(!good)));
        // Each text is said four times: as it comes, at its end, with its item, with the response.
        assert!(out.len() <= 5_000 + 400 * input.len(), "{} bytes became {}", input.len(), out.len());
    },
    seeds: || goldens("chat_stream_to_responses", "sse"),
    words: words::CHUNKS,
    nanos_per_byte: 100_000,
};

pub const EMBEDDINGS: Target = Target {
    name: "embeddings_request",
    about: "embeddings: edits leave a request, lists of ids are what the request counts, and an answer's outline does not depend on cuts",
    run: |input| {
        document(input, |doc| {
            openai_completions::texts(doc, &mut shown());
            if let Ok(request) = openai_embeddings::read(doc) {
                counted(openai_completions::prompt_tokens(&request, &mut |text| text.len() as u64));
                openai_completions::byte_bound(&request);
                let lists = openai_embeddings::token_lists(request.prompt);
                if let (Some(lists), Some(tokens)) = (lists, request.form.tokens()) {
                    assert_eq!(lists.iter().map(|list| list.len() as u64).sum::<u64>(), tokens);
                }
                let mut edits = Splices::new();
                request.set_model("other", &mut edits);
                let edited = edits.apply(input).expect("edits of one request do not overlap");
                let doc = parse(&edited, &Limits::default()).expect("an edited request is JSON");
                assert_eq!(openai_embeddings::read(&doc).expect("an edited request").model_name, "other");
            }
        });
        let mut first: Option<Vec<u8>> = None;
        for pieces in cuts(input) {
            let mut outline = openai_embeddings::Outline::default();
            pieces.iter().for_each(|piece| outline.push(piece));
            assert!(outline.text.len() <= input.len());
            assert_eq!(first.get_or_insert_with(|| outline.text.clone()), &outline.text, "cut otherwise");
        }
        if let Some(text) = first {
            document(input, |_| document(&text, |doc| _ = openai_embeddings::form(doc)));
        }
    },
    seeds: || {
        seeds(&[
            r#"{"model":"m","input":"text","dimensions":256,"encoding_format":"base64"}"#,
            r#"{"model":"m","input":[[1,2],[3]],"user":"u"}"#,
            r#"{"model":"m","input":[1,2,3]}"#,
            r#"{"model":"m","input":["a","\u00e9"]}"#,
            r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.1,-2e-3]}],"model":"m","usage":{"prompt_tokens":5,"total_tokens":5}}"#,
        ])
    },
    words: &[
        "\"input\":",
        "\"model\":\"m\"",
        "[1,2]",
        "[[",
        "]]",
        "\"dimensions\":",
        "\"a\"",
        "-1",
        "1e9",
        "\\\"",
        "4294967296",
    ],
    nanos_per_byte: 20_000,
};

pub const CONVERSE_CLIENT: Target = Target {
    name: "converse_client",
    about: "Converse requests as a client sends them: facts, texts and bounds are read, edits leave a request; events that pass are where they are said to be",
    run: |input| {
        document(input, |doc| {
            bedrock::texts(doc, &mut shown());
            let rules = &Rules::COOKBOOK;
            counted(bedrock::prompt_tokens(doc, rules, &mut |text| text.len() as u64).tokens);
            bedrock::byte_bound(doc);
            for stream in [false, true] {
                edited(input, doc, &|doc| bedrock::read(doc, "m", stream), false);
            }
            let facts = bedrock::read_answer(doc);
            assert!(
                facts
                    .texts
                    .iter()
                    .all(|text| text.value.as_str().is_some() || matches!(text.slot, Slot::Tool(_)))
            );
        });
        let mut chunk = Chunk::default();
        for kind in ["contentBlockDelta", "contentBlockStop", "messageStop", "metadata", "messageStart", "x"]
        {
            if bedrock::read_event_into(kind, input, &mut chunk).is_ok() {
                for text in &chunk.texts {
                    assert!(openai_chat::unquote(input, text.value.clone()).is_some(), "{text:?} is no text");
                    is_json(&bedrock::text_event(text.choice, text.slot, b"\"x\""));
                }
            }
        }
        is_json(&bedrock::text_event(9, Slot::Reasoning, b"\"\""));
    },
    seeds: || {
        let mut all = goldens("converse_to_chat", "json");
        all.extend(goldens("converse_answer_to_chat", "json"));
        for events in goldens("converse_stream_to_chat", "events") {
            let lines = events.split(|byte| *byte == b'\n');
            all.extend(lines.filter_map(|line| {
                let at = line.iter().position(|byte| *byte == b' ')?;
                line.get(at + 1..).map(<[u8]>::to_vec)
            }));
        }
        all
    },
    words: words::CONVERSE,
    nanos_per_byte: 60_000,
};

pub const INVOKE: Target = Target {
    name: "invoke",
    about: "InvokeModel: bodies of any model are read and edited, Anthropic's pass from one envelope to the other and back, and so does a stream, whatever its cuts, damage included, with one end",
    run: |input| {
        document(input, |doc| {
            bedrock::all(doc, &mut shown());
            edited(input, doc, &|doc| bedrock::read_invoke(doc, "m", false), false);
            _ = bedrock::invoke::is_messages(doc);
            if doc.root().get("messages").is_some() {
                let beta = bedrock::invoke::beta(doc);
                assert!(beta.len() <= 1_024 && beta.bytes().all(|byte| byte.is_ascii_graphic()));
                let invoke = bedrock::invoke::from_messages(doc, &beta);
                is_json(&invoke);
                let doc = parse(&invoke, &Limits::default()).expect("just judged");
                assert!(bedrock::invoke::is_messages(&doc));
                is_json(&bedrock::invoke::to_messages(&doc, "m", true));
            }
            let facts = bedrock::read_any(doc);
            assert!(facts.texts.iter().all(|text| text.value.as_str().is_some()));
        });
        let mut chunk = Chunk::default();
        _ = bedrock::read_invoke_into(input, &mut chunk);
        // Events with zero bytes between them, framed; and the bytes as they are, as a stream of either kind.
        let mut frames = Vec::new();
        parts(input).for_each(|part| bedrock::invoke::chunk(part, &mut frames));
        for (into, bytes) in [(false, &frames[..]), (false, input), (true, input)] {
            let mut first: Option<(Vec<u8>, bool)> = None;
            for pieces in cuts(bytes) {
                let mut reframe = bedrock::invoke::Reframe::new(into);
                let (mut marks, mut out) = (Vec::new(), Vec::new());
                pieces.iter().for_each(|piece| reframe.push(piece, &mut marks));
                reframe.finish(&mut marks);
                reframe.take(&mut out);
                let ends = marks.iter().filter(|mark| matches!(mark, Event::Done | Event::Error(_))).count();
                assert_eq!(ends, 1, "{ends} ends");
                let good = marks.contains(&Event::Done);
                let (same, was) = first.get_or_insert_with(|| (out.clone(), good));
                assert_eq!((&out, good), (&*same, *was), "cut otherwise");
                assert!(out.len() <= 1_000 + 200 * bytes.len(), "{} became {}", bytes.len(), out.len());
                if into {
                    let mut decoder = eventstream::Decoder::new(64 << 20);
                    let read = decoder.push(&out, &mut |_| {});
                    assert!(read.is_ok() && decoder.finish().is_ok(), "half a frame");
                } else {
                    let mut decoder = sse::Decoder::new(64 << 20);
                    let read = decoder.push(&out, &mut |event| is_json(&event.data));
                    assert!(read.is_ok() && decoder.finish().is_empty(), "half an event");
                }
            }
        }
    },
    seeds: || {
        let mut all = seeds(&[
            r#"{"anthropic_version":"bedrock-2023-05-31","anthropic_beta":["a","b"],"max_tokens":9,"messages":[{"role":"user","content":"x"}]}"#,
            r#"{"inputText":"x","textGenerationConfig":{"maxTokenCount":50}}"#,
            r#"{"prompt":"x","max_gen_len":512,"temperature":0.5}"#,
            r#"{"messages":[{"role":"user","content":[{"text":"x"}]}],"inferenceConfig":{"max_new_tokens":9}}"#,
            "{\"type\":\"message_start\",\"message\":{}}\0{\"type\":\"ping\"}\0{\"type\":\"message_stop\",\"amazon-bedrock-invocationMetrics\":{\"inputTokenCount\":3,\"outputTokenCount\":4}}",
            "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"m\"}}",
        ]);
        all.extend(goldens("messages_stream_to_chat", "sse"));
        all
    },
    words: words::MESSAGES,
    nanos_per_byte: 200_000,
};

pub const RETRY_AFTER: Target = Target {
    name: "retry_after",
    about: "how long a provider asks to be left alone, in seconds, in milliseconds or by a date: never longer than the longest, and never before now",
    run: |input| {
        let (one, other) = input.split_at(input.iter().position(|byte| *byte == 0).unwrap_or(input.len()));
        let other = other.get(1..).unwrap_or_default();
        for now in [0, 784_111_777_000_000_000, 1_800_000_000_000_000_000, u64::MAX] {
            for names in [["retry-after", "retry-after-ms"], ["retry-after-ms", "retry-after"]] {
                let pairs = [(names[0].as_bytes(), one), (names[1].as_bytes(), other)];
                let cool = cooling::asked(7, &Headers(&pairs), Now(now));
                assert!(cool.until >= now && cool.until - now <= 3_600_000_000_000, "{cool:?}");
                assert_eq!(cool.target, 7);
                let said =
                    |text: &[u8]| str::from_utf8(text).ok().and_then(|text| text.trim().parse::<f64>().ok());
                // What core reads as a number of milliseconds, we do; it reads more words for infinite ones.
                let plain = |number: &f64| number.is_finite() && *number >= 0.0;
                if let Some(ms) = said(pairs[1].1).filter(plain).filter(|_| names[1] == "retry-after-ms") {
                    let (got, want) = ((cool.until - now) as f64, (ms * 1e6).min(3.6e12));
                    assert!(now == u64::MAX || (got - want).abs() <= 2.0 + want * 1e-9, "{got} {want}");
                }
            }
        }
    },
    seeds: || {
        seeds(&[
            "5\x001500",
            "0.5",
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Fri, 31 Dec 9999 23:59:59 GMT",
            "-1\x00-0.0",
            "1e300\x00inf",
        ])
    },
    words: &[
        "Sun, ",
        "06 Nov 1994 ",
        "08:49:37",
        " GMT",
        "0.5",
        "1e9",
        "-",
        "\0",
        "60",
        "Feb",
        "29",
        "99999999999999999999",
    ],
    nanos_per_byte: 20_000,
};

pub const NUMBERS: Target = Target {
    name: "numbers",
    about: "decimal numbers of settings and headers: what core reads as finite is read, near enough; what core refuses is refused",
    run: |input| {
        let text = String::from_utf8_lossy(input);
        for line in text.lines().take(50) {
            // Ours has no words, and no sign twice.
            let core = line.parse::<f64>().ok().filter(|number| number.is_finite());
            match (weir_wire::number(line), core) {
                (Some(ours), Some(core)) => {
                    // Beyond 2⁻¹⁰²² a unit of the last place is no longer a part of the number.
                    assert!(
                        (ours - core).abs() <= core.abs() * 1e-13 + f64::MIN_POSITIVE,
                        "{line}: {ours} {core}"
                    );
                    let digits = line.bytes().filter(u8::is_ascii_digit).count();
                    assert!(
                        digits > 15 || line.contains(['e', 'E']) || ours.to_bits() == core.to_bits(),
                        "{line}"
                    );
                }
                (None, Some(core)) => assert!(core.abs() > 1.7e308, "{line} is {core}"),
                (Some(ours), None) => {
                    assert!(line.parse::<f64>().is_ok() && ours.abs() > 1.7e308, "{line}: {ours}")
                }
                (None, None) => {}
            }
        }
    },
    seeds: || {
        seeds(&["0.7\n1e-7\n-0.0\n123456789012345678901234567890e-20", ".5\n5.\n+1e+1\n1e400\n4.9e-324"])
    },
    words: &[
        "0",
        "1",
        ".",
        "e",
        "E",
        "-",
        "+",
        "\n",
        "000000000000000000000",
        "9999999999999999999999",
        "e-30",
        "e+300",
    ],
    nanos_per_byte: 20_000,
};
