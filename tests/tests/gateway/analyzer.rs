//! Detectors outside on the live path: names that no pattern sees never reach a provider and come back exactly; a
//! detector that is down, slow or wrong keeps a request from leaving, in the client's own dialect, or lets it pass where
//! the policy says so. The detector is a simulated Presidio analyzer that checks what it is asked.

use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::task::JoinSet;
use weir_tests::harness::{Answer, Client, paths, repo_root};
use weir_tests::sim::analyzer::{self, Config};
use weir_tests::sim::{Behaviour, Fault, ReplyKind, Server};

use crate::chat::{chat, said};
use crate::policy::{BEDROCK_FIRST, VLLM_FIRST};
use crate::setup::Gateway;

/// As the simulated analyzer knows them.
const PERSON: &str = "Qxilvana Wqzrfjx";
const OTHER: &str = "Übükvüz";
const PLACE: &str = "Vjqgrad";
/// Found here.
const EMAIL: &str = "zqxvkw.jyt+qq@wqzrfjx.net";

fn text() -> String {
    format!(
        "👩‍👩‍👧 {PERSON} <{EMAIL}> of {PLACE} met {OTHER}; \"{PERSON}\" says hello. [PERSON_1] was typed by hand."
    )
}

/// The gateway with one rule for an analyzer at `url`, changed by `change`, and what is found here.
async fn start(name: &str, url: &str, change: Value) -> Gateway {
    let mut rule = json!({
        "name": "names", "analyzer": {"url": url, "find": ["person", "location"], "do": "tokenize", "score": "50%"},
        "timeout": "2s",
    });
    for (key, value) in change.as_object().into_iter().flatten() {
        rule[key] = value.clone();
    }
    Gateway::with(name, |plan, _| {
        plan.policy["guardrails"] = json!([rule]);
        plan.policy["redaction"] = json!([{"name": "mail", "find": ["email"], "do": "tokenize"}]);
    })
    .await
}

async fn detector() -> Server {
    analyzer::start(Config { prefix: "/presidio".into(), ..Config::default() }).await.expect("a free port")
}

fn url(server: &Server) -> String {
    format!("{}/presidio", server.url())
}

fn nothing_leaked(body: &str) {
    for value in [PERSON, OTHER, PLACE, EMAIL] {
        for piece in value.as_bytes().windows(4) {
            let leaked = body.as_bytes().windows(4).any(|window| window == piece);
            assert!(!leaked, "{:?} of {value:?} in {body}", String::from_utf8_lossy(piece));
        }
    }
}

fn sent_on(gateway: &Gateway) -> u64 {
    gateway.vllm().book().totals().requests + gateway.bedrock.book().totals().requests
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_found_outside_reach_no_provider_and_come_back_exactly() {
    let detector = detector().await;
    let gateway = start("analyzer-echo", &url(&detector), json!({})).await;
    for model in [VLLM_FIRST, BEDROCK_FIRST] {
        let server = if model == VLLM_FIRST { gateway.vllm() } else { &gateway.bedrock };
        server.always(Behaviour { reply: Some(ReplyKind::Echo), ..Behaviour::default() });
        for stream in [false, true] {
            let answer = gateway.client().chat(chat(model, &text(), stream).to_string()).await;
            let said = said(&answer, stream).unwrap_or_else(|why| panic!("{why}"));
            assert_eq!(said.text, text(), "{model}, stream {stream}");
            nothing_leaked(&server.book().last().expect("a request").body.expect("UTF-8"));
        }
    }
    let asked = detector.book().records();
    for record in &asked {
        assert_eq!(record.problems, [""; 0], "asked as Presidio documents it");
        let shown = record.json();
        assert_eq!(shown["entities"], json!(["LOCATION", "PERSON"]));
        assert_eq!((&shown["language"], &shown["score_threshold"]), (&json!("en"), &json!(0.5)));
        let shown = shown["text"].as_str().expect("a text");
        assert!(
            !shown.contains("wqzrfjx.net") && shown.contains("<[EMAIL]>"),
            "what is found here is not shown: {shown}"
        );
    }
    // Two workers, each with a memory of its own: four requests with one text are at most two questions.
    assert!((1..=2).contains(&asked.len()), "{} questions", asked.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_detector_that_is_down_keeps_requests_from_leaving_in_every_dialect() {
    let detector = detector().await;
    let at = url(&detector);
    detector.kill().await;
    let gateway = start("analyzer-down", &at, json!({})).await;
    let client = gateway.client();
    let message = json!([{"role": "user", "content": text()}]);
    let post = |path: &str, body: Value| client.post(path, body.to_string());
    let told = |answer: &Answer| {
        let told = answer.text();
        assert!(told.contains("`names`") && told.contains("cannot be reached"), "{told}");
        nothing_leaked(&told);
    };
    for stream in [false, true] {
        let answer = client.chat(chat(VLLM_FIRST, &text(), stream).to_string()).await;
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert_eq!(answer.json()["error"]["code"], "detector_unavailable");
        assert_eq!(answer.json()["error"]["type"], "server_error");
        assert_eq!(answer.header("retry-after"), Some("1"));
        told(&answer);
    }
    let body = json!({"model": VLLM_FIRST, "max_tokens": 9, "messages": message});
    let answer = Client::answer(post("/v1/messages", body).header("anthropic-version", "2023-06-01")).await;
    assert!(answer.status >= 500, "{}", answer.text());
    assert_eq!(answer.json()["type"], "error", "{}", answer.text());
    told(&answer);
    let body = json!({"messages": [{"role": "user", "content": [{"text": text()}]}]});
    let answer = Client::answer(post(&format!("/model/{BEDROCK_FIRST}/converse"), body)).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(answer.header("x-amzn-errortype"), Some("ServiceUnavailableException"));
    told(&answer);
    let answer = Client::answer(post("/v1/responses", json!({"model": VLLM_FIRST, "input": text()}))).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    told(&answer);
    assert_eq!(sent_on(&gateway), 0, "nothing reaches a provider");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_policy_says_so_requests_pass_without_a_detector_and_what_is_found_here_stays_hidden() {
    let detector = detector().await;
    let at = url(&detector);
    detector.kill().await;
    let gateway = start("analyzer-pass", &at, json!({"on_failure": "pass"})).await;
    let answer = gateway.client().chat(chat(VLLM_FIRST, &text(), false).to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let sent = gateway.vllm().book().last().expect("a request").body.expect("UTF-8");
    assert!(sent.contains(PERSON) && sent.contains("[EMAIL_1]") && !sent.contains(EMAIL), "{sent}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_detector_that_is_slow_or_wrong_is_not_waited_for_and_not_believed() {
    let detector = detector().await;
    let gateway = start("analyzer-wrong", &url(&detector), json!({"timeout": "300ms"})).await;
    let message = |message: &str| {
        Behaviour::fault(Fault::Status {
            code: 200,
            retry_after: None,
            error_type: None,
            message: Some(message.into()),
        })
    };
    let cases = [
        ("slow", Behaviour { ttft_ms: Some(5_000), ..Behaviour::default() }, "did not answer in time"),
        ("silent", Behaviour::fault(Fault::StallBeforeHeaders { ms: None }), "did not answer in time"),
        ("failing", Behaviour::status(500), "refused to look at it"),
        ("cut", Behaviour::fault(Fault::CloseBeforeHeaders), "cannot be reached"),
        ("no JSON", message("[{\"start\": 1"), "an answer that is none"),
        (
            "beyond",
            message(r#"[{"start":0,"end":9999,"entity_type":"PERSON","score":1}]"#),
            "an answer that is none",
        ),
    ];
    for (what, behaviour, why) in cases {
        detector.always(behaviour);
        let begun = Instant::now();
        let answer = gateway.client().chat(chat(VLLM_FIRST, &text(), true).to_string()).await;
        assert_eq!(answer.status, 503, "{what}: {}", answer.text());
        assert!(answer.text().contains(why), "{what}: {}", answer.text());
        assert!(begun.elapsed() < Duration::from_secs(3), "{what} took {:?}", begun.elapsed());
    }
    assert_eq!(sent_on(&gateway), 0);
    detector.always(Behaviour::default());
    let answer = gateway.client().chat(chat(VLLM_FIRST, &text(), false).to_string()).await;
    assert_eq!(answer.status, 200, "it is asked again: {}", answer.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_wait_at_once_each_for_its_own_words_and_who_leaves_hurts_nobody() {
    let detector = detector().await;
    let gateway = Arc::new(start("analyzer-many", &url(&detector), json!({"timeout": "10s"})).await);
    detector.always(Behaviour { ttft_ms: Some(150), ..Behaviour::default() });
    gateway.vllm().always(Behaviour { reply: Some(ReplyKind::Echo), ..Behaviour::default() });
    let mut tasks = JoinSet::new();
    for n in 0..60 {
        let gateway = gateway.clone();
        tasks.spawn(async move {
            let text = format!("Request {n}: {PERSON} wrote {n} letters to {PLACE}.");
            let mut body = chat(VLLM_FIRST, &text, n % 2 == 0);
            // A history of its own, a text each.
            let history: Vec<Value> = (0..9)
                .flat_map(|turn| {
                    let said = format!("{turn} of {n}: {OTHER}");
                    [
                        json!({"role": "user", "content": said}),
                        json!({"role": "assistant", "content": "Yes."}),
                    ]
                })
                .collect();
            let last = body["messages"][0].take();
            body["messages"] = history.into_iter().chain([last]).collect();
            let client = gateway.client();
            if n % 5 == 4 {
                // Leaves while its texts are looked at.
                let left =
                    tokio::time::timeout(Duration::from_millis(60), client.chat(body.to_string())).await;
                assert!(left.is_err());
                return;
            }
            let answer = client.chat(body.to_string()).await;
            let said = said(&answer, n % 2 == 0).unwrap_or_else(|why| panic!("{n}: {why}"));
            assert_eq!(said.text, text);
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("no request fails");
    }
    let records = gateway.vllm().book().records();
    assert_eq!(records.len(), 48, "who left is not sent on");
    records.iter().for_each(|record| nothing_leaked(record.body.as_deref().expect("UTF-8")));
    assert!(detector.book().records().iter().all(|record| record.problems.is_empty()));
}

/// Presidio's own engine as the oracle of the API, where `cargo xtask bench redaction` has put it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn presidios_own_engine_understands_what_it_is_asked_and_is_understood() {
    let python = paths::weir().join("presidio/venv/bin/python");
    if !python.exists() {
        println!("skipped: Presidio is not here; `cargo xtask bench redaction` sets it up");
        return;
    }
    let mut presidio = Command::new(python)
        .arg(repo_root().join("tests/judges/presidio.py"))
        .arg(json!([PERSON, OTHER]).to_string())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("Python starts");
    let mut lines = BufReader::new(presidio.stdout.take().expect("piped")).lines();
    let port = lines.next_line().await.expect("it lives").expect("it says its port");
    let gateway =
        start("analyzer-presidio", &format!("http://127.0.0.1:{port}"), json!({"timeout": "20s"})).await;
    gateway.vllm().always(Behaviour { reply: Some(ReplyKind::Echo), ..Behaviour::default() });
    let text = text().replace(PLACE, "home");
    let answer = gateway.client().chat(chat(VLLM_FIRST, &text, false).to_string()).await;
    assert_eq!(said(&answer, false).unwrap_or_else(|why| panic!("{why}")).text, text);
    nothing_leaked(&gateway.vllm().book().last().expect("a request").body.expect("UTF-8"));
}
