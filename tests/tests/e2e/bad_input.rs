//! Bad input: each a clear error in OpenAI's shape, nothing reaches the provider, and the gateway lives on.

use serde_json::json;
use weir_tests::harness::inject::{KEY, MODEL};
use weir_tests::harness::{Answer, Client, Inject};

use crate::{chat, lives, refused};

/// A body for the chat path, what the answer's status and code are, and a word its message must have.
type Row = (&'static str, Vec<u8>, u16, &'static str, &'static str);

fn bodies() -> Vec<Row> {
    let text = |text: &str| text.as_bytes().to_vec();
    let deep = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
    let deep = [br#"{"model":"m","messages":"#.to_vec(), deep, b"}".to_vec()].concat();
    let objects = [br#"{"a":"#.repeat(100_000), b"1".to_vec(), vec![b'}'; 100_000]].concat();
    vec![
        ("empty", text(""), 400, "empty_body", "no body"),
        ("cut", text(r#"{"model":"m","messages":[{"role":"user""#), 400, "invalid_json", "byte"),
        ("not JSON", text("model=m"), 400, "invalid_json", "byte"),
        ("trailing comma", text(r#"{"model":"m","messages":[],}"#), 400, "invalid_json", "byte"),
        ("two documents", text(r#"{"model":"m"} {"model":"n"}"#), 400, "invalid_json", "byte"),
        ("arrays 100,000 deep", deep, 400, "invalid_json", "byte"),
        ("objects 100,000 deep", objects, 400, "invalid_json", "byte"),
        ("wrong UTF-8", b"{\"model\":\"m\xff\",\"messages\":[]}".to_vec(), 400, "invalid_json", "byte"),
        ("a lone surrogate", text(r#"{"model":"m\ud800","messages":[]}"#), 400, "invalid_json", "byte"),
        (
            "a byte order mark",
            [b"\xef\xbb\xbf".to_vec(), text(r#"{"model":"m"}"#)].concat(),
            400,
            "invalid_json",
            "",
        ),
        ("an array", text("[]"), 400, "*", ""),
        ("a duplicate key", text(r#"{"model":"m","model":"n","messages":[]}"#), 400, "invalid_json", "byte"),
        (
            "the same, escaped",
            text(r#"{"model":"m","mod\u0065l":"n","messages":[]}"#),
            400,
            "invalid_json",
            "byte",
        ),
        ("no model", text(r#"{"messages":[{"role":"user","content":"x"}]}"#), 400, "*", "model"),
        (
            "model a number",
            text(r#"{"model":7,"messages":[{"role":"user","content":"x"}]}"#),
            400,
            "*",
            "model",
        ),
        (
            "model null",
            text(r#"{"model":null,"messages":[{"role":"user","content":"x"}]}"#),
            400,
            "*",
            "model",
        ),
        (
            "unknown model",
            chat("gpt-nonsense", "x").to_string().into(),
            404,
            "model_not_found",
            "gpt-nonsense",
        ),
        ("no messages", text(&json!({"model": MODEL}).to_string()), 400, "*", "messages"),
        (
            "messages a string",
            text(&json!({"model": MODEL, "messages": "hi"}).to_string()),
            400,
            "*",
            "messages",
        ),
    ]
}

/// As [`refused`], with `*` for any code.
#[track_caller]
fn refused_as(name: &str, answer: &Answer, status: u16, code: &str, word: &str) {
    let any = answer.json()["error"]["code"].as_str().unwrap_or_default().to_owned();
    assert!(!any.is_empty(), "{name}: {}", answer.text());
    let message = refused(answer, status, if code == "*" { &any } else { code });
    assert!(message.contains(word), "{name}: {word:?} is not in {message:?}");
}

#[tokio::test]
async fn bad_bodies_are_refused_and_the_gateway_lives_on() {
    let gate = Inject::start("bad-bodies").await;
    for client in [gate.client(), gate.h2()] {
        for (name, body, status, code, word) in bodies() {
            let answer = client.chat(body).await;
            refused_as(name, &answer, status, code, word);
        }
    }
    assert_eq!(gate.vllm.book().records().len(), 0, "nothing of it reached the provider");
    lives(&gate).await;
    assert_eq!(gate.envoy.stat("vm_reload").await, 0, "no trap");
}

#[tokio::test]
async fn bad_headers_are_refused_and_the_gateway_lives_on() {
    let gate = Inject::start("bad-headers").await;
    let good = chat(MODEL, "hello").to_string();
    for client in [gate.client(), gate.h2()] {
        let post = |client: &Client| client.post("/v1/chat/completions", good.clone());
        let answer = Client::answer(post(&client.clone().anonymous())).await;
        refused(&answer, 401, "missing_api_key");
        let answer = Client::answer(post(&client.clone().with_key("wrong"))).await;
        refused(&answer, 401, "invalid_api_key");
        assert!(!answer.text().contains("wrong"), "a key is never echoed");
        let answer = Client::answer(post(&client).header("authorization", "Bearer other")).await;
        refused(&answer, 401, "multiple_api_keys");
        // The second credential source is looked at only without the first.
        let answer = Client::answer(post(&client.clone().anonymous()).header("x-api-key", KEY)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer = Client::answer(post(&client.clone().with_key("wrong")).header("x-api-key", KEY)).await;
        refused(&answer, 401, "invalid_api_key");

        let zipped = post(&client).header("content-encoding", "gzip");
        refused(&Client::answer(zipped).await, 415, "unsupported_content_encoding");
        let typeless = client.request(http::Method::POST, "/v1/chat/completions").body(good.clone());
        refused(&Client::answer(typeless).await, 415, "unsupported_media_type");
        let form = client.request(http::Method::POST, "/v1/chat/completions");
        let form = form.header("content-type", "text/plain").body(good.clone());
        refused(&Client::answer(form).await, 415, "unsupported_media_type");

        for path in [
            "/",
            "/v1/nothing",
            "/v2/chat/completions",
            "/v1/chat/completions/",
            "//v1/chat/completions",
            "/v1/%63hat/completions",
            "/v1/files",
        ] {
            refused(&Client::answer(client.post(path, good.clone())).await, 404, "unknown_path");
        }
        // In the words of whoever asks for such a path.
        let answer = Client::answer(client.post("/model/x%2Fy/count-tokens", good.clone())).await;
        assert_eq!(
            (answer.status, answer.header("x-amzn-errortype")),
            (404, Some("UnknownOperationException"))
        );
        let answer = Client::answer(client.request(http::Method::GET, "/v1/chat/completions")).await;
        refused(&answer, 405, "method_not_allowed");
        assert_eq!(answer.header("allow"), Some("POST"));
    }
    let reached = gate.vllm.book().records().len();
    assert_eq!(reached, 2, "only the two good ones reached the provider");
    lives(&gate).await;
    assert_eq!(gate.envoy.stat("vm_reload").await, 0, "no trap");
}

#[tokio::test]
async fn two_authorization_headers_are_refused_however_they_are_sent() {
    let gate = Inject::start("two-keys").await;
    let body = chat(MODEL, "hello").to_string();
    for second in [KEY, "other"] {
        let mut raw = gate.raw().await;
        raw.send(format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {KEY}\r\n\
             Authorization: Bearer {second}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await;
        let head = raw.head().await;
        assert_eq!(head.status, 401);
        let text = raw.body(&head).await.expect("a whole answer");
        let error: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
        assert!(error["error"]["message"].is_string());
    }
    assert_eq!(gate.vllm.book().records().len(), 0);
}

#[tokio::test]
async fn the_size_limit_is_the_filters_own() {
    let gate = Inject::with("size-limit", |setup| setup.exchange.max_body = 100_000).await;
    let body = chat(MODEL, &"x".repeat(100_000)).to_string();
    let message = refused(&gate.client().chat(body.clone()).await, 413, "request_too_large");
    assert!(message.contains("100000"), "{message}");
    // Without a length it is found out while the body arrives.
    let pieces: Vec<Result<Vec<u8>, std::io::Error>> =
        body.as_bytes().chunks(10_000).map(|piece| Ok(piece.to_vec())).collect();
    let stream = tokio_stream::iter(pieces);
    let answer = gate.client().chat(reqwest::Body::wrap_stream(stream)).await;
    refused(&answer, 413, "request_too_large");
    assert_eq!(gate.vllm.book().records().len(), 0);
    lives(&gate).await;

    // What is too large for Envoy itself comes in the same shape, by the listener's local replies.
    let gate = Inject::start("size-limit-envoy").await;
    let length = 40 << 20;
    let mut raw = gate.raw().await;
    raw.send(format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {KEY}\r\n\
         content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    ))
    .await;
    let piece = [b"10000\r\n".to_vec(), vec![b' '; 65_536], b"\r\n".to_vec()].concat();
    for _ in 0..length / 65_536 {
        // The answer comes before all is sent; then the gateway need not read on.
        if raw.try_send(&piece).await.is_err() {
            break;
        }
    }
    let head = raw.head().await;
    assert_eq!(head.status, 413);
    let body = raw.body(&head).await.unwrap_or_else(|(_, part)| part);
    let error: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(error["error"]["code"], "request_too_large", "{error}");
    lives(&gate).await;
}

#[tokio::test]
async fn a_protocol_upgrade_is_refused() {
    let gate = Inject::start("upgrade").await;
    let mut raw = gate.raw().await;
    raw.send(format!(
        "GET /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {KEY}\r\nconnection: upgrade\r\n\
         upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ))
    .await;
    let head = raw.head().await;
    assert!((400..500).contains(&head.status), "{head:?}");
    let body = raw.body(&head).await.unwrap_or_else(|(_, part)| part);
    let error: serde_json::Value =
        serde_json::from_slice(&body).unwrap_or_else(|_| panic!("{head:?} {body:?}"));
    assert!(error["error"]["message"].is_string(), "{error}");
    lives(&gate).await;
}

#[tokio::test]
async fn without_a_policy_nothing_passes() {
    let gate = Inject::with("no-policy", |setup| setup.no_policy = true).await;
    for path in ["/v1/chat/completions", "/v1/models", "/", "/anything"] {
        let answer = Client::answer(gate.client().post(path, chat(MODEL, "hello").to_string())).await;
        refused(&answer, 503, "no_policy");
        assert!(answer.header("retry-after").is_some());
    }
    assert_eq!(gate.vllm.book().records().len(), 0);
}
