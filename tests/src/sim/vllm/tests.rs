//! The simulator against plain clients: its shapes, its counts, its faults, its book.

use std::io::Read as _;
use std::time::{Duration, Instant};

use reqwest::{Client, Response};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Config, Model, start};
use crate::sim::{At, Behaviour, Chunking, Encoding, Fault, Order, Outcome, Record, ReplyKind, Rule, Server};

async fn server() -> Server {
    start(Config { prompt_tokens_details: true, ..Config::default() }).await.unwrap()
}

fn chat(text: &str) -> Value {
    json!({"model": "openai/gpt-oss-20b", "messages": [{"role": "user", "content": text}]})
}

fn streamed(text: &str) -> Value {
    let mut body = chat(text);
    body["stream"] = true.into();
    body["stream_options"] = json!({"include_usage": true});
    body
}

async fn post(server: &Server, path: &str, body: &Value) -> Response {
    let client = Client::builder().no_proxy().build().unwrap();
    client.post(format!("{}{path}", server.url())).json(body).send().await.unwrap()
}

async fn ask(server: &Server, body: &Value) -> Value {
    post(server, "/v1/chat/completions", body).await.json().await.unwrap()
}

/// The JSON payloads of a stream; panics where it does not end with the sentinel.
fn payloads(stream: &str) -> Vec<Value> {
    let mut data: Vec<&str> = stream.split("\n\n").filter(|e| !e.is_empty()).collect();
    assert_eq!(data.pop(), Some("data: [DONE]"), "{stream}");
    data.iter().map(|e| serde_json::from_str(e.strip_prefix("data: ").unwrap()).unwrap()).collect()
}

async fn settled(server: &Server) -> Record {
    for _ in 0..400 {
        if let Some(record) = server.book().last().filter(|r| r.outcome.is_some()) {
            return record;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the exchange never ended: {:?}", server.book().last());
}

/// A request written by hand; what the server said until it closed or `wait` passed, and the read's error.
async fn raw(server: &Server, body: &Value, wait: Duration) -> (Vec<u8>, Option<std::io::ErrorKind>) {
    let mut socket = TcpStream::connect(server.address()).await.unwrap();
    let body = body.to_string();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: sim\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(body.as_bytes()).await.unwrap();
    let (mut said, mut piece) = (Vec::new(), [0; 4096]);
    let ended = tokio::time::timeout(wait, async {
        loop {
            match socket.read(&mut piece).await {
                Ok(0) => return None,
                Ok(n) => said.extend_from_slice(&piece[..n]),
                Err(error) => return Some(error.kind()),
            }
        }
    });
    let error = ended.await.unwrap_or(Some(std::io::ErrorKind::TimedOut));
    (said, error)
}

#[tokio::test]
async fn usage_is_the_count_of_prompt_and_reply() {
    let server = server().await;
    let mut body = chat("How high is the river?");
    body["messages"].as_array_mut().unwrap().insert(0, json!({"role": "system", "content": "Be brief."}));
    let answer = ask(&server, &body).await;
    let count = |t: &str| Encoding::O200kHarmony.count(t);
    let text = answer["choices"][0]["message"]["content"].as_str().unwrap();
    let prompt =
        3 + count("system") + count("Be brief.") + 3 + count("user") + count("How high is the river?") + 3;
    assert_eq!(answer["usage"]["prompt_tokens"], prompt);
    assert_eq!(answer["usage"]["completion_tokens"], count(text));
    assert_eq!(answer["usage"]["total_tokens"], prompt + count(text));
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    let record = settled(&server).await;
    assert_eq!((record.billed_prompt_tokens, record.billed_completion_tokens), (prompt, count(text)));
    assert_eq!(record.outcome, Some(Outcome::Answered));
    assert_eq!(serde_json::from_slice::<Value>(&record.answer()).unwrap(), answer);
}

#[tokio::test]
async fn a_stream_says_what_the_whole_answer_says() {
    let server = server().await;
    let whole = ask(&server, &chat("Same words")).await;
    let text = post(&server, "/v1/chat/completions", &streamed("Same words")).await.text().await.unwrap();
    let events = payloads(&text);
    let said: String = events.iter().filter_map(|e| e["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(said, whole["choices"][0]["message"]["content"].as_str().unwrap());
    assert_eq!(events[0]["choices"][0]["delta"], json!({"role": "assistant", "content": ""}));
    let usage = events.last().unwrap();
    assert_eq!(usage["choices"], json!([]));
    assert_eq!(usage["usage"]["completion_tokens"], whole["usage"]["completion_tokens"]);
    let reasons: Vec<&Value> =
        events.iter().map(|e| &e["choices"][0]["finish_reason"]).filter(|r| !r.is_null()).collect();
    assert_eq!(reasons, ["stop"]);
    let mut silent = streamed("Same words");
    silent.as_object_mut().unwrap().remove("stream_options");
    let text = post(&server, "/v1/chat/completions", &silent).await.text().await.unwrap();
    assert!(payloads(&text).iter().all(|e| e.get("usage").is_none()));
}

#[tokio::test]
async fn every_chunking_carries_the_same_bytes_one_frame_each() {
    let server = server().await;
    let rules = [
        Chunking::Fixed(1),
        Chunking::Fixed(16 << 10),
        Chunking::Random { min: 1, max: 64, seed: 3 },
        Chunking::Hostile,
    ];
    let mut words = Vec::new();
    for rule in rules {
        server.next(Behaviour { chunking: Some(rule.clone()), ..Behaviour::default() });
        let (said, _) = raw(&server, &streamed("Cut me"), Duration::from_millis(700)).await;
        let head = said.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
        let (sizes, body) = unchunk(&said[head..]);
        let record = settled(&server).await;
        assert_eq!(body, record.answer());
        assert_eq!(sizes.len() as u64, record.frames, "{rule:?}");
        match rule {
            Chunking::Fixed(1) => assert!(sizes.iter().all(|s| *s == 1)),
            Chunking::Fixed(_) => assert!(sizes[..sizes.len() - 1].iter().all(|s| *s == 16 << 10)),
            Chunking::Random { .. } => assert!(sizes.iter().all(|s| *s <= 64) && sizes.len() > 20),
            _ => assert!(sizes.len() > 20),
        }
        let text = String::from_utf8(body).unwrap();
        let said = payloads(&text);
        words.push(
            said.iter().filter_map(|e| e["choices"][0]["delta"]["content"].as_str()).collect::<String>(),
        );
    }
    assert!(words.windows(2).all(|w| w[0] == w[1]) && !words[0].is_empty());
}

/// Sizes and bytes of a chunked body.
fn unchunk(mut rest: &[u8]) -> (Vec<usize>, Vec<u8>) {
    let (mut sizes, mut body) = (Vec::new(), Vec::new());
    loop {
        let line = rest.windows(2).position(|w| w == b"\r\n").expect("a chunk has a size line");
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        rest = &rest[line + 2..];
        if size == 0 {
            return (sizes, body);
        }
        sizes.push(size);
        body.extend_from_slice(&rest[..size]);
        rest = &rest[size + 2..];
    }
}

#[tokio::test]
async fn errors_have_vllms_shape_and_an_integer_code() {
    let server = server().await;
    let mut unknown = chat("x");
    unknown["model"] = "nobody".into();
    let cases = [
        (unknown, 404, "NotFoundError"),
        (json!({"model": "openai/gpt-oss-20b", "messages": []}), 400, "BadRequestError"),
        (json!({"model": "openai/gpt-oss-20b"}), 400, "BadRequestError"),
        (json!({"model": 5, "messages": [{"role": "user", "content": "x"}]}), 400, "BadRequestError"),
        (json!([]), 400, "BadRequestError"),
    ];
    for (body, status, kind) in cases {
        let response = post(&server, "/v1/chat/completions", &body).await;
        assert_eq!(response.status(), status);
        let error = response.json::<Value>().await.unwrap()["error"].take();
        assert_eq!(
            (error["code"].as_u64(), error["type"].as_str()),
            (Some(status.into()), Some(kind)),
            "{body}"
        );
    }
    let client = Client::builder().no_proxy().build().unwrap();
    let url = format!("{}/v1/chat/completions", server.url());
    let broken = client.post(&url).header("content-type", "application/json").body("{").send().await.unwrap();
    assert_eq!(broken.status(), 400);
    let untyped = client.post(&url).body(chat("x").to_string()).send().await.unwrap();
    assert_eq!(untyped.status(), 400);
    assert_eq!(client.get(&url).send().await.unwrap().status(), 405);
    let totals = server.book().totals();
    assert_eq!((totals.billed_prompt_tokens, totals.billed_completion_tokens), (0, 0));
}

#[tokio::test]
async fn a_prompt_over_the_context_is_400_streamed_or_not() {
    let model = Model { max_model_len: 50, ..Model::named("small") };
    let server = start(Config { models: vec![model], ..Config::default() }).await.unwrap();
    for mut body in [chat(&"word ".repeat(60)), streamed(&"word ".repeat(60))] {
        body["model"] = "small".into();
        let response = post(&server, "/v1/chat/completions", &body).await;
        assert_eq!(response.status(), 400);
        assert_eq!(response.json::<Value>().await.unwrap()["error"]["param"], "input_tokens");
    }
}

#[tokio::test]
async fn the_book_has_headers_and_body_as_they_came() {
    let server = server().await;
    let mut socket = TcpStream::connect(server.address()).await.unwrap();
    let body = chat("raw").to_string();
    let mut piece = vec![0; 16 << 10];
    for round in 0..2 {
        let head = format!(
            "POST /v1/chat/completions?a=1 HTTP/1.1\r\nX-Zebra: {round}\r\nHOST: sim\r\nContent-Type: application/json\r\n\
             x-a:  twice \r\nX-a: again\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
            body.len()
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        assert!(socket.read(&mut piece).await.unwrap() > 0);
        let record = settled(&server).await;
        let expected = [
            ("X-Zebra", if round == 0 { "0" } else { "1" }),
            ("HOST", "sim"),
            ("Content-Type", "application/json"),
            ("x-a", "twice"),
            ("X-a", "again"),
            ("Transfer-Encoding", "chunked"),
        ];
        let seen: Vec<(&str, &str)> = record.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(seen, expected);
        assert_eq!((record.path.as_str(), record.query.as_deref()), ("/v1/chat/completions", Some("a=1")));
        assert_eq!((record.body.as_deref(), record.number), (Some(body.as_str()), round + 1));
        assert_eq!(record.connection, 1);
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

#[tokio::test]
async fn faults_before_the_head() {
    let server = server().await;
    let short = Duration::from_millis(400);
    server.next(Behaviour::fault(Fault::ResetBeforeHeaders));
    let (said, error) = raw(&server, &chat("x"), short).await;
    assert_eq!((said.len(), error), (0, Some(std::io::ErrorKind::ConnectionReset)));
    server.next(Behaviour::fault(Fault::CloseBeforeHeaders));
    let (said, error) = raw(&server, &chat("x"), short).await;
    assert_eq!((said.len(), error), (0, None));
    server.next(Behaviour::fault(Fault::GarbageHead { bytes: 100 }));
    let (said, error) = raw(&server, &chat("x"), short).await;
    assert_eq!((said.len(), error), (100, None));
    server.next(Behaviour::fault(Fault::StallBeforeHeaders { ms: None }));
    let (said, error) = raw(&server, &chat("x"), short).await;
    assert_eq!((said.len(), error), (0, Some(std::io::ErrorKind::TimedOut)));
    assert_eq!(settled(&server).await.outcome, Some(Outcome::Vanished));
    assert_eq!(server.book().totals().billed_prompt_tokens, 0);
    server.next(Behaviour::fault(Fault::StallBeforeHeaders { ms: Some(60) }));
    let begun = Instant::now();
    let (said, _) = raw(&server, &chat("x"), short).await;
    assert!(said.starts_with(b"HTTP/1.1 200") && begun.elapsed() >= Duration::from_millis(60));
}

#[tokio::test]
async fn faults_in_the_stream() {
    let server = server().await;
    let short = Duration::from_millis(400);
    let at = At::Bytes(700);
    let run = async |fault: Fault| {
        server.next(Behaviour::fault(fault));
        let (said, error) = raw(&server, &streamed("x"), short).await;
        assert!(said.starts_with(b"HTTP/1.1 200"));
        let head = said.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
        let record = settled(&server).await;
        (said[head..].to_vec(), error, record)
    };
    let (body, error, record) = run(Fault::SilenceAfterHeaders { ms: None }).await;
    assert_eq!((body.len(), error), (0, Some(std::io::ErrorKind::TimedOut)));
    assert_eq!((record.outcome, record.generated_tokens), (Some(Outcome::Vanished), 0));
    assert!(record.billed_prompt_tokens > 0, "a prompt that was begun is billed");

    let (_, error, record) = run(Fault::ResetMidStream { at }).await;
    assert_eq!(error, Some(std::io::ErrorKind::ConnectionReset));
    assert_eq!((record.outcome, record.answer_bytes), (Some(Outcome::Faulted), 700));

    let (body, error, record) = run(Fault::CloseMidStream { at }).await;
    assert_eq!(error, None);
    assert!(!body.ends_with(b"0\r\n\r\n"));
    assert_eq!(record.answer_bytes, 700);

    let (body, _, record) = run(Fault::CutMidStream { at }).await;
    assert!(body.ends_with(b"0\r\n\r\n"));
    assert_eq!(unchunk(&body).1, record.answer());
    assert_eq!((record.outcome, record.answer_bytes), (Some(Outcome::Faulted), 700));
    assert!(record.billed_completion_tokens < record.completion_tokens);

    let (body, _, _) = run(Fault::ErrorFirstFrame { error_type: None, message: None }).await;
    let text = String::from_utf8(unchunk(&body).1).unwrap();
    assert_eq!(payloads(&text)[0]["error"]["code"], 500);

    let (body, _, _) =
        run(Fault::ErrorMidStream { at: At::Events(2), error_type: None, message: None }).await;
    let text = String::from_utf8(unchunk(&body).1).unwrap();
    let events = payloads(&text);
    assert_eq!((events.len(), events[2]["error"]["type"].as_str()), (3, Some("InternalServerError")));

    let (body, _, _) = run(Fault::GarbageBody { bytes: 333 }).await;
    assert_eq!(unchunk(&body).1.len(), 333);

    let begun = Instant::now();
    let (body, _, record) = run(Fault::StallMidStream { at, ms: Some(80) }).await;
    assert!(begun.elapsed() >= Duration::from_millis(80));
    assert_eq!((unchunk(&body).1, record.outcome), (record.answer(), Some(Outcome::Answered)));
}

#[tokio::test]
async fn status_faults_and_their_retry_after() {
    let server = server().await;
    let fault = Fault::Status { code: 429, retry_after: Some("7".into()), error_type: None, message: None };
    server.order(Order {
        next: vec![Behaviour::fault(fault), Behaviour::status(429), Behaviour::status(503)],
        ..Order::default()
    });
    let first = post(&server, "/v1/chat/completions", &chat("x")).await;
    assert_eq!((first.status().as_u16(), first.headers()["retry-after"].to_str().unwrap()), (429, "7"));
    let second = post(&server, "/v1/chat/completions", &chat("x")).await;
    assert!(second.status() == 429 && second.headers().get("retry-after").is_none());
    assert_eq!(post(&server, "/v1/chat/completions", &chat("x")).await.status(), 503);
    assert_eq!(post(&server, "/v1/chat/completions", &chat("x")).await.status(), 200);
    server.next(Behaviour::fault(Fault::ContextLength));
    let over = post(&server, "/v1/chat/completions", &chat("x")).await;
    assert_eq!(over.json::<Value>().await.unwrap()["error"]["param"], "input_tokens");
}

#[tokio::test]
async fn orders_over_http_match_prompts_and_run_out() {
    let server = server().await;
    let order = json!({"rules": [{"contains": "unlucky", "times": 1, "behaviour": {"fault": {"kind": "status", "code": 500}}}],
                       "next": [{"reply": "echo"}]});
    assert_eq!(post(&server, "/sim/control", &order).await.status(), 200);
    assert_eq!(post(&server, "/v1/chat/completions", &chat("an unlucky one")).await.status(), 500);
    let echoed = ask(&server, &chat("an unlucky one")).await;
    assert_eq!(echoed["choices"][0]["message"]["content"], "an unlucky one");
    assert_ne!(ask(&server, &chat("again")).await["choices"][0]["message"]["content"], "again");
    let wrong = post(&server, "/sim/control", &json!({"nxt": []})).await;
    assert_eq!(wrong.status(), 400);
    let client = Client::builder().no_proxy().build().unwrap();
    let url = format!("{}/sim/book", server.url());
    let book: Value = client.get(&url).send().await.unwrap().json().await.unwrap();
    assert_eq!(book["totals"]["requests"], 3);
    let records: Vec<Record> = serde_json::from_value(book["records"].clone()).unwrap();
    assert_eq!(records[0].json()["messages"][0]["content"], "an unlucky one");
    client.delete(&url).send().await.unwrap();
    assert_eq!(server.book().totals(), Default::default());
}

#[tokio::test]
async fn a_client_that_leaves_is_billed_what_was_generated() {
    let server = server().await;
    let slow = Behaviour { reply_tokens: Some(60), token_us: Some(10_000), ..Behaviour::default() };
    server.next(slow);
    let (said, error) = raw(&server, &streamed("slow"), Duration::from_millis(200)).await;
    assert!(!said.is_empty() && error == Some(std::io::ErrorKind::TimedOut));
    let record = settled(&server).await;
    assert_eq!(record.outcome, Some(Outcome::Vanished));
    assert!(record.billed_completion_tokens > 5 && record.billed_completion_tokens < 40, "{record:?}");
    assert_eq!(record.billed_prompt_tokens, record.prompt_tokens);
}

#[tokio::test]
async fn latency_is_kept() {
    let server = server().await;
    let slow = Behaviour {
        reply_tokens: Some(21),
        ttft_ms: Some(50),
        token_us: Some(5_000),
        ..Behaviour::default()
    };
    server.always(slow);
    for body in [chat("t"), streamed("t")] {
        let begun = Instant::now();
        post(&server, "/v1/chat/completions", &body).await.bytes().await.unwrap();
        let took = begun.elapsed();
        assert!(took >= Duration::from_millis(150) && took < Duration::from_millis(600), "{took:?}");
    }
}

#[tokio::test]
async fn tool_calls_are_parallel_streamed_or_not() {
    let server = server().await;
    let mut body = chat("Use the tool for Paris and Oslo");
    let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
    body["tools"] = json!([{"type": "function", "function": {"name": "get_weather", "parameters": schema}}]);
    let whole = ask(&server, &body).await;
    let message = &whole["choices"][0]["message"];
    assert_eq!(
        (whole["choices"][0]["finish_reason"].as_str(), &message["content"]),
        (Some("tool_calls"), &Value::Null)
    );
    let calls = message["tool_calls"].as_array().unwrap();
    assert_eq!(calls.len(), 2);
    body["stream"] = true.into();
    let text = post(&server, "/v1/chat/completions", &body).await.text().await.unwrap();
    let mut arguments = [String::new(), String::new()];
    for event in payloads(&text) {
        for call in event["choices"][0]["delta"]["tool_calls"].as_array().into_iter().flatten() {
            let index = call["index"].as_u64().unwrap() as usize;
            arguments[index].push_str(call["function"]["arguments"].as_str().unwrap());
        }
    }
    for (call, streamed) in calls.iter().zip(&arguments) {
        assert_eq!(call["function"]["arguments"].as_str(), Some(streamed.as_str()));
        assert!(serde_json::from_str::<Value>(streamed).unwrap()["city"].is_string());
    }
    body["messages"].as_array_mut().unwrap().push(json!({"role": "assistant", "tool_calls": calls}));
    body["messages"]
        .as_array_mut()
        .unwrap()
        .push(json!({"role": "tool", "tool_call_id": "x", "content": "12"}));
    body["stream"] = false.into();
    assert_eq!(ask(&server, &body).await["choices"][0]["finish_reason"], "stop");
}

#[tokio::test]
async fn limits_and_stops_are_honoured() {
    let server = server().await;
    server.always(Behaviour {
        reply: Some(ReplyKind::Fixed("one two three four five six".into())),
        ..Behaviour::default()
    });
    for field in ["max_tokens", "max_completion_tokens"] {
        let mut body = chat("x");
        body[field] = 3.into();
        let answer = ask(&server, &body).await;
        assert_eq!(answer["usage"]["completion_tokens"], 3);
        assert_eq!(answer["choices"][0]["finish_reason"], "length");
    }
    let mut body = chat("x");
    body["stop"] = json!(["four"]);
    let choice = &ask(&server, &body).await["choices"][0];
    assert_eq!(
        (choice["message"]["content"].as_str(), choice["stop_reason"].as_str()),
        (Some("one two three "), Some("four"))
    );
}

#[tokio::test]
async fn text_completions_take_strings_and_ids_and_several_choices() {
    let server = server().await;
    let ids = Encoding::O200kHarmony.encode("Hello there");
    for (prompt, tokens, choices) in
        [(json!("Hello there"), 2, 2), (json!(ids), 2, 2), (json!(["Hello there", "Bye"]), 3, 4)]
    {
        let body = json!({"model": "openai/gpt-oss-20b", "prompt": prompt, "n": 2, "max_tokens": 7});
        let answer: Value = post(&server, "/v1/completions", &body).await.json().await.unwrap();
        assert_eq!(answer["object"], "text_completion");
        assert_eq!(answer["choices"].as_array().unwrap().len(), choices);
        assert_eq!(
            (answer["usage"]["prompt_tokens"].as_u64(), answer["usage"]["completion_tokens"].as_u64()),
            (Some(tokens), Some(7 * choices as u64))
        );
    }
    let body = json!({"model": "openai/gpt-oss-20b", "prompt": "Hi", "stream": true, "stream_options": {"include_usage": true}});
    let text = post(&server, "/v1/completions", &body).await.text().await.unwrap();
    assert_eq!(payloads(&text).last().unwrap()["usage"]["completion_tokens"], 16);
}

#[tokio::test]
async fn the_prefix_cache_remembers_whole_blocks() {
    let server = server().await;
    let long = "a fixed system prompt of many words ".repeat(20);
    let cached = async |text: &str| {
        let answer = ask(&server, &chat(text)).await;
        let tokens = answer["usage"]["prompt_tokens"].as_u64().unwrap();
        (answer["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap(), tokens)
    };
    assert_eq!(cached(&long).await.0, 0);
    let (again, tokens) = cached(&long).await;
    assert!(again % 16 == 0 && again < tokens && again + 32 > tokens, "{again} of {tokens}");
    let (longer, _) =
        cached(&format!("{long} and more words at the end of it, enough for another block or two")).await;
    assert!(longer > 0 && longer <= again);
    assert_eq!(cached(&format!("other {long}")).await.0, 0);
}

#[tokio::test]
async fn the_queue_shows_in_metrics_and_orca() {
    let config = Config { concurrency: 1, ..Config::default() };
    let server = start(config).await.unwrap();
    server.always(Behaviour { ttft_ms: Some(400), ..Behaviour::default() });
    let (one, two) = (chat("one"), chat("two"));
    let busy = async {
        tokio::join!(post(&server, "/v1/chat/completions", &one), post(&server, "/v1/chat/completions", &two))
    };
    let look = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let client = Client::builder().no_proxy().build().unwrap();
        client.get(format!("{}/metrics", server.url())).send().await.unwrap().text().await.unwrap()
    };
    let (_, metrics) = tokio::join!(busy, look);
    let gauge = |name: &str| format!("vllm:{name}{{engine=\"0\",model_name=\"openai/gpt-oss-20b\"}} 1.0");
    assert!(metrics.contains(&gauge("num_requests_running")), "{metrics}");
    assert!(metrics.contains(&gauge("num_requests_waiting")), "{metrics}");
    server.always(Behaviour::default());
    let client = Client::builder().no_proxy().build().unwrap();
    let orca = async |format: &str, body: Value| {
        let url = format!("{}/v1/chat/completions", server.url());
        let sent =
            client.post(url).header("endpoint-load-metrics-format", format).json(&body).send().await.unwrap();
        sent.headers().get("endpoint-load-metrics").map(|v| v.to_str().unwrap().to_owned())
    };
    assert!(orca("json", chat("x")).await.unwrap().starts_with("JSON {\"named_metrics\":{"));
    assert!(orca("TEXT", chat("x")).await.unwrap().starts_with("TEXT named_metrics.kv_cache_usage_perc="));
    assert_eq!(orca("BIN", chat("x")).await, None);
    assert_eq!(orca("JSON", streamed("x")).await, None);
    let metrics = client.get(format!("{}/metrics", server.url())).send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("finished_reason=\"stop\"} 6.0"), "{metrics}");
}

#[tokio::test]
async fn a_gzip_answer_is_marked_and_decodes() {
    let server = server().await;
    for body in [chat("zip"), streamed("zip")] {
        server.next(Behaviour { gzip: Some(true), ..Behaviour::default() });
        let response = post(&server, "/v1/chat/completions", &body).await;
        assert_eq!(response.headers()["content-encoding"], "gzip");
        let (bytes, mut text) = (response.bytes().await.unwrap(), String::new());
        flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
        assert!(text.contains("\"id\":\"chatcmpl-"), "{text}");
    }
}

#[tokio::test]
async fn http2_serves_and_records_too() {
    let server = server().await;
    let client = Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    let url = format!("{}/v1/chat/completions", server.url());
    let text = client.post(&url).json(&streamed("two")).send().await.unwrap().text().await.unwrap();
    assert!(!payloads(&text).is_empty());
    let record = settled(&server).await;
    assert_eq!((record.version.as_str(), record.header(":path")), ("HTTP/2.0", Some("/v1/chat/completions")));
    server.next(Behaviour::fault(Fault::ResetMidStream { at: At::Events(2) }));
    let broken = client.post(&url).json(&streamed("two")).send().await.unwrap().text().await;
    assert!(broken.is_err());
    assert_eq!(client.post(&url).json(&chat("x")).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn tokenize_counts_what_chat_bills() {
    let server = server().await;
    let body = json!({"model": "openai/gpt-oss-20b", "messages": [{"role": "user", "content": "Ça va, 世界?"}], "return_token_strs": true});
    let count: Value = post(&server, "/tokenize", &body).await.json().await.unwrap();
    let answer = ask(&server, &body).await;
    assert_eq!(count["count"], answer["usage"]["prompt_tokens"]);
    assert_eq!(count["tokens"].as_array().unwrap().len() as u64, count["count"].as_u64().unwrap());
    let plain: Value =
        post(&server, "/tokenize", &json!({"prompt": "Hello there"})).await.json().await.unwrap();
    let back: Value =
        post(&server, "/detokenize", &json!({"tokens": plain["tokens"]})).await.json().await.unwrap();
    assert_eq!(back["prompt"], "Hello there");
}

#[tokio::test]
async fn a_megabyte_of_spaces_is_counted() {
    let server = server().await;
    let answer = ask(&server, &chat(&" ".repeat(1 << 20))).await;
    assert!(answer["usage"]["prompt_tokens"].as_u64().unwrap() > 1000, "{answer}");
}

#[tokio::test]
async fn a_killed_server_takes_its_connections_with_it() {
    let server = server().await;
    let url = format!("{}/v1/chat/completions", server.url());
    server.next(Behaviour { reply_tokens: Some(200), token_us: Some(20_000), ..Behaviour::default() });
    let client = Client::builder().no_proxy().build().unwrap();
    let response = client.post(&url).json(&streamed("x")).send().await.unwrap();
    server.kill().await;
    assert!(response.bytes().await.is_err());
    assert!(client.post(&url).json(&chat("x")).send().await.unwrap_err().is_connect());
}

#[tokio::test]
async fn orders_can_be_laid_on_some_prompts_for_ever() {
    let server = server().await;
    let rule = Rule { contains: "secret".into(), times: None, behaviour: Behaviour::echo() };
    server.order(Order { rules: vec![rule], ..Order::default() });
    for _ in 0..3 {
        let answer = ask(&server, &chat("my secret")).await;
        assert_eq!(answer["choices"][0]["message"]["content"], "my secret");
    }
}
