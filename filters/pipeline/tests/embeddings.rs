//! Embeddings, and prompts that are token ids, through the two machines: input alone is billed, and what is sent as
//! numbers is searched as the text that it is.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    dead_code,
    reason = "a test may panic, and uses a part of the host in miniature"
)]

mod drive;

use drive::world::{MAIL, answer, budgeted, policy, read, redaction, sent};
use drive::{Cuts, Gateway, Outcome};
use serde_json::{Value, json};
use weir_tokens::{Vocabulary, encode};

/// A model at each kind of provider, whose tokens are known.
fn gateway(change: impl FnOnce(&mut Value)) -> Gateway {
    let models = [("gpt", "open"), ("gpu", "gpu"), ("claude", "claude"), ("aws", "aws")];
    let models = models.map(|(name, provider)| {
        let mut model = drive::world::model(name, provider, &format!("{provider}/m"));
        model["targets"][0]["tokenizer"] = json!("cl100k_base");
        model
    });
    let providers = [("open", "openai"), ("gpu", "vllm"), ("claude", "anthropic"), ("aws", "bedrock")];
    let mut config = policy(&providers, &models);
    change(&mut config);
    Gateway::of_json(config)
}

fn headers(path: &str) -> Vec<(&str, &str)> {
    drive::world::headers(path, &[("authorization", "Bearer key")])
}

fn error(outcome: &Outcome) -> String {
    read(&outcome.body)["error"]["code"].as_str().unwrap_or_default().to_owned()
}

fn embedded(tokens: u64) -> String {
    json!({"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [0.25, -1e-3]}],
           "model": "open/m", "usage": {"prompt_tokens": tokens, "total_tokens": tokens}})
    .to_string()
}

#[test]
fn embeddings_pass_at_every_cut_counted_and_settled() {
    let gateway = gateway(budgeted);
    let mut ids = Vec::new();
    encode(Vocabulary::Cl100kBase, "Straße nach Zürich", &mut ids);
    for (input, prompts) in [
        (json!("Straße nach Zürich"), 1),
        (json!(["Straße nach Zürich", "b"]), 2),
        (json!(ids), 1),
        (json!([ids, [1, 2]]), 2),
    ] {
        let ask =
            json!({"model": "gpt", "input": input, "encoding_format": "float", "dimensions": 2}).to_string();
        let body = embedded(8);
        for at in 0..=body.len() {
            let json = answer(200, "application/json", body.clone());
            let out =
                gateway.run(&headers("/v1/embeddings"), ask.as_bytes(), &[json], Cuts::At(at), Cuts::At(at));
            assert_eq!(out.body, body.as_bytes());
            assert_eq!(String::from_utf8_lossy(&out.sent[0].2), ask.replace("\"gpt\"", "\"open/m\""));
            assert_eq!(sent(&out, ":path"), "/v1/embeddings");
            assert_eq!(out.settled.last().unwrap(), &[8]);
            // Input alone is reserved, in every window that the request has.
            let held = out.asked[0][0].full;
            assert!((8..8 + 120 * prompts).contains(&held), "{held}");
            let span = out.span.unwrap();
            assert_eq!((span.operation, span.usage.input, span.usage.output), ("embeddings", 8, 0));
            assert_eq!((span.error.as_deref(), span.response_model.as_str()), (None, "open/m"));
            assert!(span.ints.contains(&("gen_ai.embeddings.dimension.count", 2)));
        }
    }
    // Without a bill it is counted here.
    let json = answer(200, "application/json", r#"{"object":"list","data":[{"embedding":[1]}]}"#);
    let ask = json!({"model": "gpt", "input": ids}).to_string();
    let out = gateway.run(&headers("/v1/embeddings"), ask.as_bytes(), &[json], Cuts::Whole, Cuts::Whole);
    assert!(out.settled.last().unwrap()[0] >= ids.len() as u64);
    for model in ["claude", "aws"] {
        let ask = json!({"model": model, "input": "x"}).to_string();
        let out = gateway.run(&headers("/v1/embeddings"), ask.as_bytes(), &[], Cuts::Whole, Cuts::Whole);
        assert_eq!((out.status, error(&out)), (400, "unsupported_feature".to_owned()));
    }
}

#[test]
fn a_batch_is_reserved_beyond_one_window() {
    let gateway = gateway(budgeted);
    let long = "word ".repeat(30_000);
    let ask = json!({"model": "gpt", "input": [long, long, long, long]}).to_string();
    let json = answer(200, "application/json", embedded(120_004));
    let out = gateway.run(&headers("/v1/embeddings"), ask.as_bytes(), &[json], Cuts::Whole, Cuts::Whole);
    assert!(out.asked[0][0].full >= 120_004, "{:?}", out.asked);
}

#[test]
fn token_ids_are_searched_as_the_text_that_they_are_or_refused() {
    let ids = |text: &str| {
        let mut ids = Vec::new();
        encode(Vocabulary::Cl100kBase, text, &mut ids);
        ids
    };
    let gateway_of = |action: &str| {
        let rule = redaction(action, true, false);
        gateway(|config| config["redaction"] = rule)
    };
    let mask = gateway_of("mask");
    let run = |gateway: &Gateway, path: &str, ask: Value| {
        let json = answer(200, "application/json", embedded(8));
        let out = gateway.run(&headers(path), ask.to_string().as_bytes(), &[json], Cuts::Whole, Cuts::Whole);
        let sent = out.sent.first().map(|(.., body)| read(body));
        (out, sent.unwrap_or_default())
    };
    let (clean, mail) = (ids("Straße nach Zürich"), ids(&format!("I am {MAIL}.")));
    let (_, sent) = run(&mask, "/v1/embeddings", json!({"model": "gpt", "input": clean}));
    assert_eq!(sent["input"], json!(clean));
    let (out, sent) = run(&mask, "/v1/embeddings", json!({"model": "gpt", "input": mail}));
    assert_eq!(sent["input"], "I am [EMAIL].");
    assert_eq!(out.span.unwrap().findings, [("email".to_owned(), 1)]);
    let (_, sent) = run(&mask, "/v1/embeddings", json!({"model": "gpt", "input": [clean, mail]}));
    assert_eq!(sent["input"], json!(["Straße nach Zürich", "I am [EMAIL]."]));
    let (_, sent) = run(&mask, "/v1/completions", json!({"model": "gpu", "prompt": mail}));
    assert_eq!(sent["prompt"], "I am [EMAIL].");
    let block = gateway_of("block");
    let (out, _) = run(&block, "/v1/embeddings", json!({"model": "gpt", "input": [mail]}));
    assert_eq!((out.status, error(&out)), (403, "content_blocked".to_owned()));
    // What is no text, or of no known vocabulary, is not let through unseen.
    for ask in [json!({"model": "gpt", "input": [4_000_000]}), json!({"model": "none", "input": mail})] {
        let (out, _) = run(&mask, "/v1/embeddings", ask);
        assert_eq!((out.status, error(&out)), (400, "unreadable_tokens".to_owned()));
    }
}
