//! Every client's dialect with every kind of provider, whole and streamed: each exchange has one span, each try one, and
//! the conventions find nothing wrong with the exchange's.

use serde_json::{Value, json};
use weir_tests::conventions::{Conventions, Told};
use weir_tests::harness::{Client, Collector};

use crate::anthropic::{ANTHROPIC, BEDROCK, VLLM};
use crate::boto3::{self, COMPATIBLE, INVOKED};
use crate::openai::{self, OPENAI};
use crate::policy::KEY;

/// Models, and what their spans call the provider.
const MODELS: [(&str, &str); 6] = [
    (VLLM, "openai"),
    (OPENAI, "openai"),
    (ANTHROPIC, "anthropic"),
    (BEDROCK, "aws.bedrock"),
    (INVOKED, "aws.bedrock"),
    (COMPATIBLE, "aws.bedrock"),
];

/// What a client asks: the path and the body.
fn asks(model: &str, stream: bool) -> [(String, Value); 5] {
    let said = "Say something.";
    let messages = json!([{"role": "user", "content": said}]);
    let blocks = json!([{"role": "user", "content": [{"text": said}]}]);
    let (converse, invoke) = match stream {
        true => ("converse-stream", "invoke-with-response-stream"),
        false => ("converse", "invoke"),
    };
    [
        (
            "/v1/chat/completions".into(),
            json!({"model": model, "messages": messages, "max_tokens": 64, "stream": stream}),
        ),
        (
            "/v1/responses".into(),
            json!({"model": model, "input": said, "max_output_tokens": 64, "stream": stream, "store": false}),
        ),
        (
            "/v1/messages".into(),
            json!({"model": model, "messages": messages, "max_tokens": 64, "stream": stream}),
        ),
        (
            format!("/model/{model}/{converse}"),
            json!({"messages": blocks, "inferenceConfig": {"maxTokens": 64}}),
        ),
        (
            format!("/model/{model}/{invoke}"),
            json!({"anthropic_version": "bedrock-2023-05-31", "messages": messages, "max_tokens": 64}),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_spans_of_every_client_with_every_provider_are_by_the_conventions() {
    let collector = Collector::start().await;
    let port = collector.port();
    let (gateway, _open, _claude) = openai::start("pairs", |plan| {
        boto3::with_aws(plan);
        plan.policy["telemetry"] = json!({"otlp": format!("http://127.0.0.1:{port}"), "sample": "100%"});
    })
    .await;
    let conventions = Conventions::any();
    let client = Client::new(gateway.ports.gateway, KEY);
    let mut number = 0u64;
    for (model, provider) in MODELS {
        for stream in [false, true] {
            for (path, body) in asks(model, stream) {
                number += 1;
                let case = format!("{path} {model} {stream}");
                let trace = format!("{number:032x}");
                let post = client.post(&path, body.to_string()).header("anthropic-version", "2023-06-01");
                let answer =
                    Client::answer(post.header("traceparent", format!("00-{trace}-00000000000000aa-01")))
                        .await;
                assert_eq!(answer.status, 200, "{case}: {}", answer.text());
                let spans = collector.wait(2, |span| span.trace_id() == trace).await;
                assert_eq!(spans.len(), 2, "{case}: {spans:#?}");
                let exchange = spans.iter().find(|span| span.is_exchange());
                let exchange = exchange.expect("the exchange's span");
                // AWS says in the path whether it is a stream, and in a member of its own how long it may be.
                let asked = json!({"model": model, "stream": stream, "max_tokens": 64});
                let told = Told {
                    request: Some(if path.starts_with("/model/") { &asked } else { &body }),
                    answered: true,
                    converse: path.contains("/converse"),
                    ..Told::default()
                };
                assert_eq!(conventions.judge(exchange, &told), [], "{case}: {exchange:#?}");
                assert_eq!(exchange.get("gen_ai.provider.name"), provider, "{case}");
                assert_eq!(exchange.get("gen_ai.request.max_tokens"), 64, "{case}");
            }
        }
    }
    assert_eq!(number, 60);
}
