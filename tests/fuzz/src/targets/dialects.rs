//! Requests, answers and errors of each dialect.

use weir_dialects::openai_chat::AnswerContext;
use weir_dialects::{anthropic, bedrock, hub, openai_chat, openai_completions};
use weir_wire::json::{Doc, Kind, Limits, parse};
use weir_wire::splice::Splices;

use super::{Target, goldens, is_json, seeds, words};

/// Model ids of every family that encoders tell apart.
const MODELS: [&str; 4] = [
    "us.anthropic.claude-opus-4-6-v1",
    "us.amazon.nova-lite-v1:0",
    "openai.gpt-oss-120b-1:0",
    "arn:aws:bedrock:us-east-1:1:inference-profile/x",
];

pub fn context() -> AnswerContext {
    AnswerContext { id: "chatcmpl-1".into(), created: 1, model: "m".into() }
}

/// What all targets make of a chat: documents, none of them many times the size of what came in.
pub fn carried(chat: &hub::Chat, len: usize) {
    let bounded = |body: &[u8]| {
        is_json(body);
        // A control character of one byte is written as six; a field's frame is paid by at least two bytes.
        assert!(body.len() <= 2_000 + 60 * len, "{len} bytes became {}", body.len());
    };
    for extended in [true, false] {
        let (body, _) = openai_chat::encode(chat, extended);
        bounded(&body);
        let doc = parse(&body, &Limits::default());
        // Nesting may have grown by the frames around raw JSON.
        if let Ok(doc) = doc {
            _ = openai_chat::decode(&doc);
        }
    }
    for model in MODELS {
        if let Ok(encoded) = bedrock::encode(chat, model) {
            bounded(&encoded.body);
            assert!(encoded.path.is_ascii() && encoded.path.starts_with("/model/"), "{}", encoded.path);
            if let Ok(doc) = parse(&encoded.body, &Limits::default()) {
                _ = bedrock::decode(&doc, model, chat.stream);
            }
        }
        if let Ok(encoded) = anthropic::encode(chat, model) {
            bounded(&encoded.body);
            if let Ok(doc) = parse(&encoded.body, &Limits::default()) {
                _ = anthropic::decode(&doc);
            }
        }
    }
}

pub fn document(input: &[u8], read: impl FnOnce(&Doc<'_>)) {
    if let Ok(doc) = parse(input, &Limits::default()) {
        read(&doc);
    }
}

/// Sets what a gateway sets, and reads it again.
pub fn edited(
    input: &[u8],
    doc: &Doc<'_>,
    read: &dyn for<'d, 'a> Fn(&'d Doc<'a>) -> Result<openai_chat::Request<'d, 'a>, hub::Invalid>,
    named: bool,
) {
    let Ok(request) = read(doc) else { return };
    let mut edits = Splices::new();
    if named {
        request.set_model("other", &mut edits);
    }
    request.set_ceiling(5, &mut edits);
    request.set_include_usage(&mut edits);
    let edited = edits.apply(input).expect("edits of one request do not overlap");
    is_json(&edited);
    let doc = parse(&edited, &Limits::default()).expect("just read");
    let again = read(&doc).expect("an edited request is one");
    assert!(again.include_usage && (again.fixed || again.ceiling().is_some_and(|most| most <= 5)));
    assert!(!named || again.model_name == "other");
}

/// Sees that texts are strings and JSON, and that no JSON stands before what was told ahead of it.
pub fn shown() -> impl FnMut(openai_chat::Text<'_, '_>) {
    let mut end = 0;
    move |text| {
        let (at, kind) = (text.value.range(), text.value.kind());
        assert!(matches!(kind, Kind::String | Kind::Array | Kind::Object), "{kind:?}");
        if kind != Kind::String {
            assert!(end <= at.start, "{end} and {at:?}");
            end = at.end;
        }
    }
}

pub const CHAT_REQUEST: Target = Target {
    name: "chat_request",
    about: "OpenAI chat requests: edits leave a request that says what was set; what is carried to any dialect is a bounded document there",
    run: |input| {
        document(input, |doc| {
            openai_chat::texts(doc, &mut shown());
            let counted = openai_chat::prompt_tokens(doc, &mut |text| text.len() as u64);
            assert!(counted.tokens < 1 << 40);
            openai_chat::overhead(doc);
            openai_chat::byte_bound(doc);
            edited(input, doc, &|doc| openai_chat::read(doc), true);
            if let Ok((chat, _)) = openai_chat::decode(doc) {
                carried(&chat, input.len());
            }
        });
    },
    seeds: || {
        goldens("chat_to_converse", "json").into_iter().chain(goldens("chat_to_messages", "json")).collect()
    },
    words: words::CHAT,
    nanos_per_byte: 40_000,
};

pub const MESSAGES_REQUEST: Target = Target {
    name: "messages_request",
    about: "Anthropic requests: as chat_request",
    run: |input| {
        document(input, |doc| {
            anthropic::texts(doc, &mut shown());
            anthropic::byte_bound(doc);
            let counted =
                anthropic::prompt_tokens(doc, &openai_chat::Rules::COOKBOOK, &mut |text| text.len() as u64);
            assert!(counted.tokens < 1 << 40);
            _ = anthropic::read(doc, true);
            edited(input, doc, &|doc| anthropic::read(doc, false), true);
            if let Ok((chat, _)) = anthropic::decode(doc) {
                carried(&chat, input.len());
            }
        });
    },
    seeds: || goldens("messages_to_others", "json"),
    words: words::MESSAGES,
    nanos_per_byte: 40_000,
};

pub const CONVERSE_REQUEST: Target = Target {
    name: "converse_request",
    about: "Converse requests: what is carried to any dialect is a bounded document there",
    run: |input| {
        document(input, |doc| {
            for stream in [false, true] {
                if let Ok((chat, _)) = bedrock::decode(doc, "m", stream) {
                    carried(&chat, input.len());
                }
            }
        });
    },
    seeds: || goldens("converse_to_chat", "json"),
    words: words::CONVERSE,
    nanos_per_byte: 60_000,
};

pub const COMPLETIONS_REQUEST: Target = Target {
    name: "completions_request",
    about: "OpenAI text completions: edits leave a request that says what was set",
    run: |input| {
        document(input, |doc| {
            openai_completions::texts(doc, &mut shown());
            if let Ok(request) = openai_completions::read(doc) {
                assert!(openai_completions::prompt_tokens(&request, &mut |text| text.len() as u64) < 1 << 40);
                openai_completions::byte_bound(&request);
                let mut edits = Splices::new();
                request.set_model("other", &mut edits);
                request.set_ceiling(5, &mut edits);
                request.set_include_usage(&mut edits);
                let edited = edits.apply(input).expect("edits of one request do not overlap");
                is_json(&edited);
                let doc = parse(&edited, &Limits::default()).expect("just read");
                let again = openai_completions::read(&doc).expect("an edited request is one");
                assert!(again.ceiling().is_some_and(|most| most <= 5));
            }
        });
    },
    seeds: || {
        seeds(&[
            r#"{"model":"m","prompt":"p","max_tokens":9,"stream":true,"stream_options":{"include_usage":false}}"#,
            r#"{"model":"m","prompt":[[1,2],[3]],"n":2}"#,
            r#"{"model":"m","prompt":["a","b"],"best_of":3,"suffix":"s"}"#,
        ])
    },
    words: words::CHAT,
    nanos_per_byte: 10_000,
};

pub const ANSWERS: Target = Target {
    name: "answers",
    about: "whole answers of each provider: what each client is given is a document that its dialect reads",
    run: |input| {
        let renames = bedrock::Renames::default();
        let answers = [
            openai_chat::decode_answer(input),
            anthropic::decode_answer(input, &renames),
            bedrock::decode_answer(input, &renames),
        ];
        for answer in answers {
            match answer {
                Ok(answer) => {
                    let chat = openai_chat::encode_answer(&answer, &context());
                    is_json(&chat);
                    openai_chat::decode_answer(&chat).expect("our own answer");
                    let messages = anthropic::encode_answer(&answer, &context());
                    is_json(&messages);
                    anthropic::decode_answer(&messages, &renames).expect("our own answer");
                    assert!(chat.len().max(messages.len()) <= 2_000 + 30 * input.len());
                }
                Err(failure) => told(&failure),
            }
        }
        document(input, |doc| {
            openai_chat::read_answer(doc);
            anthropic::read_answer(doc);
            openai_completions::read_answer(doc);
        });
    },
    seeds: || {
        let mut all = goldens("converse_answer_to_chat", "json");
        all.extend(seeds(&[
            r#"{"id":"i","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"x","refusal":null,"reasoning_content":"so","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3,"prompt_tokens_details":{"cached_tokens":1}}}"#,
            r#"{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"thinking","thinking":"so","signature":"s"},{"type":"text","text":"x"},{"type":"tool_use","id":"t","name":"f","input":{}}],"stop_reason":"tool_use","stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":2,"cache_read_input_tokens":3}}"#,
        ]));
        all
    },
    words: words::CONVERSE,
    nanos_per_byte: 20_000,
};

fn told(failure: &hub::Failure) {
    assert!((400..600).contains(&failure.status), "{failure:?}");
    is_json(&openai_chat::failure(failure));
    is_json(&anthropic::failure(failure));
}

pub const ERRORS: Target = Target {
    name: "errors",
    about: "errors of each provider, any status and class: each client is given a document of its dialect",
    run: |input| {
        let (class, body) = match input.split_first() {
            Some((first, rest)) => (*first, rest),
            None => (0, input),
        };
        let names = [
            "ThrottlingException:http://internal.amazon.com/coral/",
            "ns#ValidationException",
            "",
            "ModelErrorException",
            "é",
        ];
        let class = (class > 9).then(|| names[usize::from(class) % names.len()]);
        for status in [400, 401, 403, 404, 408, 413, 424, 429, 500, 503, 529, 599] {
            for failure in [
                openai_chat::decode_error(status, body),
                anthropic::decode_error(status, body),
                bedrock::decode_error(status, class, body),
            ] {
                told(&failure);
            }
        }
        _ = anthropic::stream_failure(body);
    },
    seeds: || {
        seeds(&[
            r#" {"error":{"message":"m","type":"invalid_request_error","param":"p","code":"c"}}"#,
            r#"a{"message":"Too many tokens, please wait before trying again.","__type":"ThrottlingException"}"#,
            r#" {"type":"error","error":{"type":"overloaded_error","message":"m","details":{"error_code":"c"}},"request_id":"r"}"#,
            r#" {"object":"error","message":"m","code":400}"#,
            " <html>",
        ])
    },
    words: &[
        "\"error\"",
        "\"message\"",
        "\"code\":400",
        "\"type\":\"rate_limit_error\"",
        "\"__type\":",
        "\"param\":null",
        "\"detail\":",
    ],
    nanos_per_byte: 40_000,
};
