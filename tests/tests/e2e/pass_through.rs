//! What needs no change arrives byte by byte; what needs one differs in exactly those bytes.

use serde_json::json;
use weir_tests::harness::Inject;
use weir_tests::harness::inject::{ALIAS, MODEL};
use weir_tests::sim::Behaviour;
use weir_tests::sim::vllm::Model;

use crate::{chat, chat_stream, last, settled};

/// Spacing, order, escapes, numbers and unknown fields that no serialiser would write back the same.
fn peculiar(model: &str, stream: bool) -> String {
    let stream = if stream { r#""stream" :true,"stream_options":{"include_usage":true},"# } else { "" };
    format!(
        "\r\n {{ \"temperature\" : 0.70, {stream}\"x_unknown\":{{\"b\":1e2,\"a\":[ ]}},\t\"messages\":[{{\"content\":\
         \"caf\\u00e9 \\/ naïve 🦫 \\ud83e\\uddab\\n\",\"role\":\"user\"}}],\"seed\":9007199254740993, \
         \"model\":\"{model}\" ,\"max_tokens\":40}}\n"
    )
}

#[tokio::test]
async fn a_request_that_needs_no_change_is_byte_identical_both_ways() {
    let gate = Inject::start("identical").await;
    for client in [gate.client(), gate.h2()] {
        for stream in [false, true] {
            let body = peculiar(MODEL, stream);
            let answer = client.chat(body.clone()).await;
            let record = settled(&gate).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert_eq!(record.body.as_deref(), Some(body.as_str()));
            assert_eq!(answer.text(), String::from_utf8_lossy(&record.answer()), "stream: {stream}");
            let kind = if stream { "text/event-stream; charset=utf-8" } else { "application/json" };
            assert_eq!(answer.header("content-type"), Some(kind));
        }
    }
}

#[tokio::test]
async fn an_alias_changes_the_model_and_nothing_else() {
    let gate = Inject::start("alias").await;
    for stream in [false, true] {
        let answer = gate.client().chat(peculiar(ALIAS, stream)).await;
        let record = settled(&gate).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(record.body, Some(peculiar(MODEL, stream)));
        assert_eq!(record.header("content-length"), Some(peculiar(MODEL, stream).len().to_string().as_str()));
        assert_eq!(answer.body, record.answer());
    }
}

#[tokio::test]
async fn text_completions_pass_and_models_are_those_of_the_tenant() {
    let gate = Inject::start("completions").await;
    let client = gate.client();
    for stream in [false, true] {
        let body = json!({"model": MODEL, "prompt": "Once upon a time", "stream": stream, "max_tokens": 12})
            .to_string();
        let answer = weir_tests::harness::Client::answer(client.post("/v1/completions", body.clone())).await;
        let record = settled(&gate).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!((record.path.as_str(), record.body.as_ref()), ("/v1/completions", Some(&body)));
        assert_eq!(answer.body, record.answer());
    }
    let asked = gate.vllm.book().records().len();
    let list = weir_tests::harness::Client::answer(client.request(http::Method::GET, "/v1/models")).await;
    assert_eq!(list.status, 200, "{}", list.text());
    let list = list.json();
    let names: Vec<_> = list["data"].as_array().into_iter().flatten().map(|model| &model["id"]).collect();
    assert_eq!(names, [MODEL, ALIAS]);
    assert_eq!(gate.vllm.book().records().len(), asked, "the list is the gateway's own");
}

#[tokio::test]
async fn the_providers_own_errors_come_back_as_they_are() {
    let gate = Inject::start("provider-errors").await;
    for code in [400, 404, 422] {
        gate.vllm.next(Behaviour::status(code));
        let answer = gate.client().chat(chat(MODEL, "hello").to_string()).await;
        let record = settled(&gate).await;
        assert_eq!((answer.status, &answer.body), (code, &record.answer()));
    }
}

#[tokio::test]
async fn an_encoded_answer_passes_unchanged_and_uncounted() {
    let gate = Inject::start("encoded").await;
    for stream in [false, true] {
        gate.vllm.next(Behaviour { gzip: Some(true), ..Behaviour::default() });
        let body = if stream { chat_stream(MODEL, "zip it") } else { chat(MODEL, "zip it") };
        let request = gate
            .client()
            .post("/v1/chat/completions", body.to_string())
            .header("accept-encoding", "gzip, br");
        let answer = weir_tests::harness::Client::answer(request).await;
        let record = settled(&gate).await;
        assert_eq!(record.header("accept-encoding"), None, "nobody may be invited to encode");
        assert_eq!(answer.header("content-encoding"), Some("gzip"));
        assert_eq!(answer.body, record.answer());
        let id = answer.header("x-weir-request-id").expect("ids are shown").to_owned();
        let spans = gate.collector.wait(1, |span| *span.get("weir.request.id") == *id).await;
        assert_eq!(spans[0].get("weir.usage.source"), "estimated");
    }
}

#[tokio::test]
async fn a_prompt_of_three_megabytes_works() {
    let gate = Inject::start("three-megabytes").await;
    let text = "A beaver builds a weir, and then another one. ".repeat(66_000);
    let body = chat(MODEL, &text).to_string();
    assert!(body.len() > 3_000_000);
    let answer = gate.client().chat(body.clone()).await;
    // The example's model has a smaller context; its own limit must not be what is tested here.
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(last(&gate).body.as_ref() == Some(&body), "the prompt arrived changed");
}

#[tokio::test]
async fn every_prompt_count_is_the_providers() {
    let gate = Inject::with("counts", |setup| {
        setup.exchange.telemetry.count = true;
        // What Harmony says before the first message, as recorded for gpt-oss on Bedrock.
        setup.vllm.models = vec![Model { opening: 60, ..Model::named("*") }];
    })
    .await;
    let texts = [
        "hello",
        "naïve café 🦫",
        "fn main() { println!(\"{}\", 1 << 20); }",
        "　日本語の文章です。",
        "it'ſ",
    ];
    for text in texts {
        let answer = gate.client().chat(chat(MODEL, text).to_string()).await;
        let record = settled(&gate).await;
        let id = answer.header("x-weir-request-id").expect("ids are shown").to_owned();
        let spans = gate.collector.wait(1, |span| *span.get("weir.request.id") == *id).await;
        assert_eq!(spans[0].get("gen_ai.usage.input_tokens"), record.prompt_tokens, "{text}");
        assert_eq!(spans[0].get("gen_ai.usage.output_tokens"), record.completion_tokens, "{text}");
        // The provider counts by the same vocabulary from its own asset; what its template adds is its own.
        let counted = spans[0].get("weir.usage.input_tokens.counted").as_u64().expect("the gateway counted");
        let reported = u64::from(record.prompt_tokens);
        assert!(counted <= reported && reported <= counted + 8, "{text}: {counted} here, {reported} there");
    }
}
