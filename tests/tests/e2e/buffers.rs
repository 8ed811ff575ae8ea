//! Answers that are searched while Envoy keeps them: where its buffers are as small as Istio's but for what the route asks
//! for, and where trailers end them.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use weir_config::filter::{Action, Redaction};
use weir_tests::harness::inject::MODEL;
use weir_tests::harness::{Client, Inject};
use weir_tests::sim::{Behaviour, Chunking, ReplyKind};

use crate::chat;

const BUFFER: usize = 32 << 10;
const MAIL: &str = "jane@example.org";

/// Addresses in answers are masked.
fn masking() -> Vec<Redaction> {
    vec![Redaction {
        name: "mail".into(),
        find: vec!["email".into()],
        action: Action::Mask,
        response: true,
        ..Redaction::default()
    }]
}

#[tokio::test]
async fn answers_of_any_size_are_searched_where_buffers_are_small() {
    let gate = Inject::with("buffers", |setup| {
        setup.exchange.redaction = masking();
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
            assert!(answer.header("content-length").is_some(), "{words}");
        }
    }
}

/// A provider whose answers end with trailers.
async fn trailing(bodies: Vec<String>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    tokio::spawn(async move {
        for body in bodies {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let (mut asked, mut piece) = (Vec::new(), [0; 4096]);
            while !asked.ends_with(b"}") {
                let read = stream.read(&mut piece).await.expect("a request");
                asked.extend_from_slice(&piece[..read]);
            }
            let mut answer = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntrailer: x-sum\r\nconnection: close\r\n\
                              transfer-encoding: chunked\r\n\r\n"
                .to_owned();
            for piece in body.as_bytes().chunks(5_000) {
                answer += &format!("{:x}\r\n{}\r\n", piece.len(), String::from_utf8_lossy(piece));
            }
            answer += "0\r\nx-sum: 1\r\n\r\n";
            stream.write_all(answer.as_bytes()).await.expect("read");
        }
    });
    port
}

#[tokio::test]
async fn answers_that_end_with_trailers_are_searched_too() {
    let said = |mail: &str, words: usize| format!("Write to {mail}. {}", "word ".repeat(words));
    let whole = |content: String| {
        let choice = json!({"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"});
        json!({"id": "a", "object": "chat.completion", "created": 1, "model": MODEL, "choices": [choice]})
            .to_string()
    };
    let cases = [10, 3_000, 6_530, 6_560, 9_000, 80_000].map(|words| [(MAIL, words), ("nobody", words)]);
    let too_large = 110_000;
    let mut bodies: Vec<String> =
        cases.as_flattened().iter().map(|(mail, words)| whole(said(mail, *words))).collect();
    bodies.push(whole(said(MAIL, too_large)));
    bodies.push(String::new());
    let provider = trailing(bodies).await;
    let gate = Inject::with("trailers", |setup| {
        setup.exchange.redaction = masking();
        setup.exchange.max_body = 500_000;
        let listener = setup.envoy.listener();
        listener["per_connection_buffer_limit_bytes"] = json!(BUFFER);
        setup.provider = Some(provider);
        let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
        setup.envoy.cluster("weir-gpu-pool")["typed_extension_protocol_options"][options]["explicit_http_config"] =
            json!({"http_protocol_options": {"enable_trailers": true}});
    })
    .await;
    for (mail, words) in cases.into_iter().flatten() {
        let answer = gate.client().chat(chat(MODEL, "Whom?").to_string()).await;
        assert_eq!(answer.status, 200, "{words}: {}", answer.text());
        let content = answer.json()["choices"][0]["message"]["content"].clone();
        assert_eq!(content, said(mail, words).replace(MAIL, "[EMAIL]"), "{words}");
    }
    // Beyond `max_body` its headers have gone on: it is broken off, and does not end as if it were whole.
    let beyond = gate.client().post("/v1/chat/completions", chat(MODEL, "Whom?").to_string());
    assert!(Client::try_answer(beyond).await.is_err());
    // Trailers alone have no place for an error's body.
    let answer = gate.client().chat(chat(MODEL, "Whom?").to_string()).await;
    assert_eq!((answer.status, answer.text()), (502, String::new()));
}
