//! Answers that are searched, in a gateway whose buffers are as small as Istio's but for what the route asks for.

use serde_json::json;
use weir_config::filter::{Action, Redaction};
use weir_tests::harness::Inject;
use weir_tests::harness::inject::MODEL;
use weir_tests::sim::{Behaviour, Chunking, ReplyKind};

use crate::chat;

const BUFFER: usize = 32 << 10;
const MAIL: &str = "jane@example.org";

#[tokio::test]
async fn answers_of_any_size_are_searched_where_buffers_are_small() {
    let gate = Inject::with("buffers", |setup| {
        setup.exchange.redaction = vec![Redaction {
            name: "mail".into(),
            find: vec!["email".into()],
            action: Action::Mask,
            response: true,
            ..Redaction::default()
        }];
        let listener = setup.envoy.listener();
        listener["per_connection_buffer_limit_bytes"] = json!(BUFFER);
    })
    .await;
    for (words, chunk) in
        [(10, 100), (6_000, 16_384), (6_400, 4_096), (6_540, 1_000), (7_000, 9_000), (40_000, 16_384)]
    {
        let said = format!("Write to {MAIL}. {}", "word ".repeat(words));
        for reply in [&said, &said.replace(MAIL, "nobody")] {
            gate.vllm.always(Behaviour {
                reply: Some(ReplyKind::Fixed(reply.clone())),
                chunking: Some(Chunking::Fixed(chunk)),
                ..Behaviour::default()
            });
            let answer = gate.client().chat(chat(MODEL, "Whom?").to_string()).await;
            let text = answer.text();
            assert_eq!(answer.status, 200, "{words}: {text}");
            let content = answer.json()["choices"][0]["message"]["content"].clone();
            assert_eq!(content, reply.replace(MAIL, "[EMAIL]"), "{words}");
            // A length is told of what fits, and of what turns out to be at its end when it no longer does.
            let told = answer.header("content-length").is_some();
            assert!(told || reply.len() > BUFFER - 600, "{words}");
            assert!(!told || reply.len() < 2 * BUFFER, "{words}");
        }
    }
}
