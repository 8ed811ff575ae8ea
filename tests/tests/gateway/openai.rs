//! OpenAI's Responses API and embeddings, and plain OpenAI-compatible servers as providers: OpenAI's own SDK against each
//! provider kind, whatever that speaks.

use serde_json::{Value, json};
use tokio::process::Command;
use weir_tests::conventions::{Conventions, Told};
use weir_tests::harness::{Client, Collector, paths};
use weir_tests::sim::{At, Behaviour, Fault, ReplyKind, Server, openai};

use crate::anthropic::{self, ANTHROPIC, BEDROCK, VLLM};
use crate::chat::chat;
use crate::policy::KEY;
use crate::setup::{Gateway, Plan};

/// OpenAI's own credential, which only it may see.
const OPENAI_KEY: &str = "sk-simulated";
/// A model on the OpenAI-compatible server alone.
pub const OPENAI: &str = "openai-only";
/// A model that embeds, there too.
pub const EMBEDS: &str = "text-embedding-3-small";

/// The gateway with simulated OpenAI and Anthropic servers beside the others.
pub async fn start(name: &str, change: impl FnOnce(&mut Plan)) -> (Gateway, Server, Server) {
    let config = openai::Config { prefix: "/compat".into(), ..openai::Config::default() };
    let open = openai::start(config).await.expect("a free port, and Python");
    let (gateway, claude) = anthropic::start(name, |plan| {
        add(&mut plan.policy, &open.url());
        change(plan);
    })
    .await;
    (gateway, open, claude)
}

fn add(policy: &mut Value, url: &str) {
    let secret = paths::logs().join(format!("openai-{}.key", std::process::id()));
    std::fs::write(&secret, OPENAI_KEY).expect("target/ is writable");
    let provider = json!({
        "name": "open", "kind": "openai", "region": "us", "endpoint": format!("{url}/compat"),
        "auth": {"bearer": {"file": secret}},
    });
    policy["providers"].as_array_mut().expect("a list").push(provider);
    let on = |model: &str, tokenizer: &str| {
        json!({
            "provider": "open", "model": model, "context": 131_072, "tokenizer": tokenizer,
            "supports": ["tools", "json_schema", "images", "documents", "reasoning"],
            "price": {"input": 1, "output": 4, "cache_read": 0.5},
        })
    };
    let models = [
        json!({"name": OPENAI, "targets": [on("gpt-5-mini", "o200k_base")]}),
        json!({"name": EMBEDS, "targets": [on(EMBEDS, "cl100k_base")]}),
    ];
    policy["models"].as_array_mut().expect("a list").extend(models);
    for tenant in policy["tenants"].as_array_mut().expect("a list") {
        tenant["models"].as_array_mut().expect("a list").extend([json!(OPENAI), json!(EMBEDS)]);
    }
}

async fn python(script: &str, arguments: &[&str]) -> String {
    let mut python = Command::new(paths::python());
    python.arg(paths::repo_root().join("tests/sdk").join(script)).args(arguments);
    let output = python.output().await.expect("python starts");
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}");
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_openai_client_gets_responses_from_every_kind_of_provider() {
    let (gateway, open, claude) = start("responses", |_| ()).await;
    let url = format!("http://127.0.0.1:{}/v1", gateway.ports.gateway);
    let text = python("responses_gateway.py", &[&url, KEY, OPENAI, ANTHROPIC, VLLM, BEDROCK]).await;
    for model in [OPENAI, ANTHROPIC, VLLM, BEDROCK] {
        for step in ["chat", "stream", "tools", "image", "shape", "at_once"] {
            assert!(text.contains(&format!("ok {model} {step}\n")), "{model} {step} is missing: {text}");
        }
    }
    for step in
        [&format!("{OPENAI} reasoning"), &format!("{OPENAI} kept"), &format!("{OPENAI} embeddings"), "errors"]
    {
        assert!(text.contains(&format!("ok {step}\n")), "{step} is missing: {text}");
    }
    // The simulators found nothing wrong with what came.
    for server in [&open, &claude, gateway.vllm(), &gateway.bedrock] {
        let totals = server.book().totals();
        assert_eq!((totals.errors, totals.vanished), (0, 0), "{:?}", server.book().last());
    }
    for record in open.book().records() {
        assert_eq!(record.header("authorization"), Some(&*format!("Bearer {OPENAI_KEY}")));
        assert!(record.path.starts_with("/compat/v1/"), "{}", record.path);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_openai_client_chats_with_an_openai_compatible_server() {
    let (gateway, open, _claude) = start("openai-chat", |_| ()).await;
    let url = format!("http://127.0.0.1:{}/v1", gateway.ports.gateway);
    let text = python("openai_gateway.py", &[&url, KEY, OPENAI]).await;
    for step in ["chat", "stream", "tools", "image", "shape", "at_once"] {
        assert!(text.contains(&format!("ok {OPENAI} {step}\n")), "{step} is missing: {text}");
    }
    let signed = format!("http://127.0.0.1:{}", gateway.ports.gateway);
    let text = python("anthropic_gateway.py", &[&signed, KEY, OPENAI]).await;
    for step in ["chat", "stream", "tools", "image", "shape", "at_once"] {
        assert!(text.contains(&format!("ok {OPENAI} {step}\n")), "{step} is missing: {text}");
    }
    let totals = open.book().totals();
    assert_eq!((totals.errors, totals.vanished), (0, 0), "{:?}", open.book().last());
}

async fn post(gateway: &Gateway, path: &str, body: &Value) -> (u16, Vec<u8>) {
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let post =
        http.post(format!("http://127.0.0.1:{}{path}", gateway.ports.gateway)).bearer_auth(KEY).json(body);
    let answer = post.send().await.expect("an answer");
    (answer.status().as_u16(), answer.bytes().await.expect("a body").to_vec())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_passes_is_the_providers_own_word_but_for_what_is_hidden() {
    let mail = "jane.doe+x@example.org";
    let (gateway, open, _claude) = start("responses-redacted", |plan| {
        plan.policy["redaction"] = json!([{"name": "mail", "find": ["email"], "do": "tokenize"}]);
    })
    .await;
    let ask = json!({
        "model": OPENAI, "input": format!("I am {mail}, 世界"), "instructions": format!("Serve {mail}."),
        "stream": true, "store": false,
    });
    open.always(Behaviour::echo());
    let (status, body) = post(&gateway, "/v1/responses", &ask).await;
    let body = String::from_utf8(body).expect("text");
    assert_eq!(status, 200, "{body}");
    let record = open.book().last().expect("it was asked");
    let sent = record.json();
    assert!(!record.body.clone().unwrap_or_default().contains("jane"), "{sent}");
    // The same JSON but for the model's name and the hidden value.
    let placeholder = sent["instructions"]
        .as_str()
        .and_then(|it| it.strip_prefix("Serve "))
        .and_then(|it| it.strip_suffix('.'));
    let placeholder = placeholder.expect("a placeholder").to_owned();
    let mut expected = ask.to_string().replace(mail, &placeholder);
    expected = expected.replace(&format!("\"{OPENAI}\""), "\"gpt-5-mini\"");
    assert_eq!(record.body.as_deref(), Some(expected.as_str()));
    let events: Vec<Value> = body
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| serde_json::from_str(data).expect("JSON"))
        .collect();
    let said: String = events
        .iter()
        .filter(|e| e["type"] == "response.output_text.delta")
        .filter_map(|e| e["delta"].as_str())
        .collect();
    assert_eq!(said, format!("I am {mail}, 世界"));
    let end = &events.last().expect("an end")["response"];
    assert_eq!(end["output"][0]["content"][0]["text"], said);
    assert_eq!(end["instructions"], format!("Serve {mail}."));
    assert!(events.iter().enumerate().all(|(at, event)| event["sequence_number"] == at), "{body}");
    // Token ids are searched too.
    let ids = weir_tests::sim::Encoding::Cl100kBase.encode(&format!("I am {mail}"));
    let (status, _) = post(&gateway, "/v1/embeddings", &json!({"model": EMBEDS, "input": ids})).await;
    let record = open.book().last().expect("it was asked");
    assert_eq!((status, &record.json()["input"]), (200, &json!(format!("I am {placeholder}"))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn responses_and_embeddings_have_their_spans_by_the_conventions() {
    let collector = Collector::start().await;
    let port = collector.port();
    let (gateway, open, _claude) = start("responses-spans", |plan| {
        plan.policy["telemetry"] = json!({"otlp": format!("http://127.0.0.1:{port}"), "sample": "100%"});
    })
    .await;
    let conventions = Conventions::any();
    let client = Client::new(gateway.ports.gateway, KEY);
    let ask = |model: &str, more: Value| {
        let mut body = json!({"model": model, "input": "Say something."});
        for (key, value) in more.as_object().expect("members") {
            body[key] = value.clone();
        }
        body
    };
    let format = json!({"format": {"type": "json_object"}});
    let asks = [
        ("/v1/responses", ask(OPENAI, json!({"temperature": 0.5, "text": format, "max_output_tokens": 64}))),
        ("/v1/responses", ask(OPENAI, json!({"stream": true, "reasoning": {"effort": "low"}}))),
        ("/v1/responses", ask(VLLM, json!({"stream": true}))),
        ("/v1/responses", ask(ANTHROPIC, json!({}))),
        ("/v1/chat/completions", chat(OPENAI, "Say something.", false)),
        ("/v1/chat/completions", chat(OPENAI, "Say something.", true)),
        ("/v1/embeddings", ask(EMBEDS, json!({"dimensions": 4, "encoding_format": "float"}))),
    ];
    for (number, (path, body)) in asks.iter().enumerate() {
        let trace = format!("{:032x}", number + 1);
        let post = client.post(path, body.to_string());
        let answer =
            Client::answer(post.header("traceparent", format!("00-{trace}-00000000000000aa-01"))).await;
        assert_eq!(answer.status, 200, "{body}: {}", answer.text());
        let spans = collector.wait(2, |span| span.trace_id() == trace).await;
        let exchange = spans.iter().find(|span| span.is_exchange()).expect("a span");
        let told = Told { request: Some(body), answered: true, ..Told::default() };
        assert_eq!(conventions.judge(exchange, &told), [], "{body}: {exchange:#?}");
        let operation = if *path == "/v1/embeddings" { "embeddings" } else { "chat" };
        assert_eq!(exchange.get("gen_ai.operation.name"), operation);
        if body["model"] == OPENAI {
            assert_eq!(exchange.get("openai.response.service_tier"), "default", "{body}");
            let print = if *path == "/v1/responses" { Value::Null } else { json!("fp_sim") };
            assert_eq!(exchange.get("openai.response.system_fingerprint"), &print, "{body}");
        }
    }
    let bill = open.book().last().expect("it was asked").billed_prompt_tokens;
    let spans = collector.wait(1, |span| span.get("gen_ai.embeddings.dimension.count") == 4).await;
    assert_eq!(spans[0].get("gen_ai.usage.input_tokens"), bill);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_and_broken_streams_are_told_as_the_api_tells_them() {
    let (gateway, open, claude) = start("responses-broken", |_| ()).await;
    open.next(Behaviour { reply: Some(ReplyKind::Fixed("refusal: No.".into())), ..Behaviour::default() });
    let (_, body) = post(&gateway, "/v1/responses", &json!({"model": OPENAI, "input": "x"})).await;
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(body["output"][0]["content"][0], json!({"type": "refusal", "refusal": "No."}));
    let cut = Fault::ErrorMidStream { at: At::Events(6), error_type: None, message: Some("gone".into()) };
    for (server, model) in [(&open, OPENAI), (&claude, ANTHROPIC), (gateway.vllm(), VLLM)] {
        server.next(Behaviour::fault(cut.clone()));
        let (status, body) =
            post(&gateway, "/v1/responses", &json!({"model": model, "input": "x", "stream": true})).await;
        let body = String::from_utf8(body).expect("text");
        assert!(
            status == 200 && body.contains("event: error\n") && body.contains("event: response.failed\n"),
            "{model} {body}"
        );
        assert!(!body.contains("response.completed"), "{model} {body}");
    }
    server_error(&gateway, &open).await;
}

/// The provider's own error, as it is.
async fn server_error(gateway: &Gateway, open: &Server) {
    for _ in 0..3 {
        open.next(Behaviour::fault(Fault::Status {
            code: 400,
            retry_after: None,
            error_type: None,
            message: Some("no such thing".into()),
        }));
    }
    let (status, body) = post(gateway, "/v1/embeddings", &json!({"model": EMBEDS, "input": "x"})).await;
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!((status, &body["error"]["message"]), (400, &json!("no such thing")));
    for model in [ANTHROPIC, BEDROCK] {
        let (status, body) = post(gateway, "/v1/embeddings", &json!({"model": model, "input": "x"})).await;
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!((status, &body["error"]["code"]), (400, &json!("unsupported_feature")), "{body}");
    }
}
