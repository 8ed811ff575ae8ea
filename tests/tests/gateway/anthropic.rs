//! Anthropic's Messages API on both sides: its own SDK against each provider kind, and OpenAI's against Anthropic.

use serde_json::{Value, json};
use tokio::process::Command;
use weir_tests::harness::paths;
use weir_tests::sim::{Behaviour, Fault, Server, anthropic};

use crate::policy::KEY;
use crate::setup::{Gateway, Plan};

/// Anthropic's own credential, which only Anthropic may see.
pub const ANTHROPIC_KEY: &str = "sk-ant-simulated";
const CLAUDE: &str = "claude-sonnet-4-5";

/// A model on Anthropic alone.
pub const ANTHROPIC: &str = "anthropic-only";
/// A model on vLLM alone.
pub const VLLM: &str = "vllm-only";
/// A model on Bedrock alone.
pub const BEDROCK: &str = "bedrock-only";
/// Anthropic first, then Bedrock, then vLLM.
pub const ALL: &str = "anthropic-first";

/// The gateway with a simulated Anthropic beside the others.
pub async fn start(name: &str, change: impl FnOnce(&mut Plan)) -> (Gateway, Server) {
    let claude = anthropic::start(anthropic::Config::default()).await.expect("a free port, and Python");
    let gateway = Gateway::with(name, |plan, _| {
        add(&mut plan.policy, &claude.url());
        change(plan);
    })
    .await;
    (gateway, claude)
}

fn add(policy: &mut Value, url: &str) {
    let secret = paths::logs().join(format!("anthropic-{}.key", std::process::id()));
    std::fs::write(&secret, ANTHROPIC_KEY).expect("target/ is writable");
    let provider = json!({
        "name": "claude", "kind": "anthropic", "region": "us", "endpoint": url,
        "auth": {"bearer": {"file": secret}},
    });
    policy["providers"].as_array_mut().expect("a list").push(provider);
    let supports = json!(["tools", "json_schema", "images", "documents", "reasoning"]);
    let on = |provider: &str, model: &str, tokenizer: Value| {
        let mut target = json!({
            "provider": provider, "model": model, "context": 131_072, "supports": supports,
            "price": {"input": 3, "output": 15, "cache_read": 0.3, "cache_write": 3.75},
        });
        if tokenizer.is_string() {
            target["tokenizer"] = tokenizer;
        }
        target
    };
    let claude = on("claude", CLAUDE, Value::Null);
    let vllm = on("gpu-pool", "openai/gpt-oss-20b", json!("o200k_harmony"));
    let bedrock = on("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", Value::Null);
    let later = |target: &Value, priority: u32| {
        let mut target = target.clone();
        target["priority"] = json!(priority);
        target
    };
    let models = [
        json!({"name": ANTHROPIC, "targets": [claude]}),
        json!({"name": VLLM, "targets": [vllm]}),
        json!({"name": BEDROCK, "targets": [bedrock]}),
        json!({"name": ALL, "targets": [claude, later(&bedrock, 1), later(&vllm, 2)]}),
    ];
    policy["models"].as_array_mut().expect("a list").extend(models);
    policy["retry"]["tries"] = json!(3);
    policy["identity"]["from"] = json!([
        {"api_key": {"header": "authorization", "scheme": "bearer"}}, {"api_key": {"header": "x-api-key"}},
    ]);
    for tenant in policy["tenants"].as_array_mut().expect("a list") {
        let models = tenant["models"].as_array_mut().expect("a list");
        models.extend([ANTHROPIC, VLLM, BEDROCK, ALL].map(|name| json!(name)));
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
async fn the_anthropic_python_client_gets_the_same_from_every_kind_of_provider() {
    let (gateway, claude) = start("anthropic-python", |_| ()).await;
    let url = format!("http://127.0.0.1:{}", gateway.ports.gateway);
    let signed = format!("{ANTHROPIC}+thinking");
    let text = python("anthropic_gateway.py", &[&url, KEY, &signed, VLLM, BEDROCK]).await;
    for model in [ANTHROPIC, VLLM, BEDROCK] {
        for step in ["chat", "stream", "tools", "image", "shape", "at_once"] {
            assert!(text.contains(&format!("ok {model} {step}\n")), "{model} {step} is missing: {text}");
        }
    }
    for step in
        [&format!("{ANTHROPIC} thinking"), &format!("{ANTHROPIC} count"), "models", "errors", "strangers"]
    {
        assert!(text.contains(&format!("ok {step}\n")), "{step} is missing: {text}");
    }
    // The simulators found nothing wrong with what came.
    for server in [&claude, gateway.vllm(), &gateway.bedrock] {
        let totals = server.book().totals();
        assert_eq!((totals.errors, totals.vanished), (0, 0), "{:?}", server.book().last());
    }
    for record in claude.book().records() {
        assert_eq!(record.header("x-api-key"), Some(ANTHROPIC_KEY));
        assert_eq!(record.header("authorization"), None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_openai_python_client_is_served_by_anthropic() {
    let (gateway, claude) = start("openai-to-anthropic", |_| ()).await;
    let url = format!("http://127.0.0.1:{}/v1", gateway.ports.gateway);
    let text = python("openai_gateway.py", &[&url, KEY, ANTHROPIC]).await;
    for step in ["chat", "stream", "tools", "image", "shape", "at_once"] {
        assert!(text.contains(&format!("ok {ANTHROPIC} {step}\n")), "{step} is missing: {text}");
    }
    let totals = claude.book().totals();
    assert_eq!((totals.errors, totals.vanished), (0, 0), "{:?}", claude.book().last());
}

fn asking(model: &str, text: &str) -> Value {
    json!({"model": model, "max_tokens": 64, "messages": [{"role": "user", "content": text}]})
}

/// Posts as Anthropic's clients do.
async fn post(gateway: &Gateway, path: &str, body: &[u8]) -> (u16, reqwest::header::HeaderMap, Vec<u8>) {
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let post = http.post(format!("http://127.0.0.1:{}{path}", gateway.ports.gateway)).body(body.to_vec());
    let post = post.header("x-api-key", KEY).header("anthropic-version", "2023-06-01");
    let post =
        post.header("anthropic-beta", "some-beta-2026-01-01").header("content-type", "application/json");
    let answer = post.send().await.expect("an answer");
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    (status, headers, answer.bytes().await.expect("a body").to_vec())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_anthropic_is_asked_in_its_own_dialect_differs_in_the_models_name_alone() {
    let (gateway, claude) = start("anthropic-same", |_| ()).await;
    let body = r#"{ "messages" : [{"role":"user","content":[{"type":"text","text":"h\u00e9llo"}]}],"model":"anthropic-only" ,"max_tokens":7.0e0 }"#;
    // A number that only a careless reader would rewrite is no integer to Weir.
    let (status, _, _) = post(&gateway, "/v1/messages", body.as_bytes()).await;
    assert_eq!(status, 400);
    for stream in [false, true] {
        let body = body.replace("7.0e0", &format!("70,\"stream\":{stream}"));
        let (status, headers, answer) = post(&gateway, "/v1/messages?beta=true", body.as_bytes()).await;
        let record = claude.book().last().expect("it was asked");
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
        assert_eq!(record.body.as_deref(), Some(body.replace(ANTHROPIC, CLAUDE).as_str()));
        assert_eq!(answer, record.answer(), "the answer is the provider's, byte for byte");
        assert_eq!(record.header("anthropic-version"), Some("2023-06-01"));
        assert_eq!(record.header("anthropic-beta"), Some("some-beta-2026-01-01"));
        assert!(headers.get("request-id").is_some_and(|id| id.as_bytes().starts_with(b"req_01")));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_overloaded_anthropic_fails_over_and_nothing_is_billed_twice() {
    let (gateway, claude) = start("anthropic-529", |_| ()).await;
    let overloaded = || Behaviour::status(529);
    let early = || {
        Behaviour::fault(Fault::ErrorFirstFrame {
            error_type: Some("overloaded_error".into()),
            message: None,
        })
    };
    for (stream, fault) in [(false, overloaded()), (true, overloaded()), (true, early())] {
        claude.next(fault);
        gateway.bedrock.book().clear();
        let mut body = asking(ALL, "Say something.");
        body["stream"] = json!(stream);
        let (status, _, answer) = post(&gateway, "/v1/messages", body.to_string().as_bytes()).await;
        let answer = String::from_utf8_lossy(&answer);
        assert_eq!(status, 200, "{answer}");
        assert!(answer.contains(if stream { "event: message_stop" } else { "\"stop_reason\"" }), "{answer}");
        assert_eq!(gateway.bedrock.book().totals().answered, 1);
        // What throttles is left alone for a second.
        tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    }
    assert_eq!(claude.book().totals().billed_completion_tokens, 0);
    assert_eq!(gateway.vllm().book().totals().requests, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_breaks_ends_with_the_clients_own_error_event() {
    let (gateway, claude) = start("anthropic-broken", |_| ()).await;
    let breaks = |kind: &str| {
        Behaviour::fault(Fault::ErrorMidStream {
            at: weir_tests::sim::At::Events(6),
            error_type: Some(kind.into()),
            message: Some("gone".into()),
        })
    };
    let mut body = asking(ANTHROPIC, "Say something.");
    body["stream"] = json!(true);
    claude.next(breaks("overloaded_error"));
    let (_, _, answer) = post(&gateway, "/v1/messages", body.to_string().as_bytes()).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.contains("event: error") && !answer.contains("message_stop"), "{answer}");
    body["model"] = json!(BEDROCK);
    gateway.bedrock.next(breaks("throttlingException"));
    let (_, _, answer) = post(&gateway, "/v1/messages", body.to_string().as_bytes()).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.contains("event: error") && answer.contains("rate_limit_error"), "{answer}");
    assert!(!answer.contains("message_stop"), "{answer}");
    // The other way round: a chat client of Anthropic reads an error object and no end.
    claude.next(breaks("overloaded_error"));
    let chat = json!({"model": ANTHROPIC, "stream": true, "messages": [{"role": "user", "content": "Hi"}]});
    let answer = gateway.client().chat(chat.to_string().into_bytes()).await.text();
    assert!(
        answer.contains("\"error\"") && answer.contains("overloaded") && !answer.contains("[DONE]"),
        "{answer}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_long_window_spent_the_anthropic_client_asks_exactly_once() {
    let (gateway, claude) = start("anthropic-spent", |plan| {
        plan.policy["budgets"] = json!([{
            "name": "acme-month", "when": {"tenant": "acme"}, "limit": {"tokens": 2000}, "window": "month",
        }]);
    })
    .await;
    let script = "
import sys, anthropic
url, key, model = sys.argv[1:]
sent = []
import httpx
client = anthropic.Anthropic(base_url=url, api_key=key, timeout=30)
kind = None
for number in range(40):
    sent.append(1)
    try:
        client.messages.create(model=model, max_tokens=200, messages=[{'role': 'user', 'content': 'Say something.'}])
    except anthropic.RateLimitError as error:
        kind = error.body['error']
        assert error.response.headers['x-should-retry'] == 'false', dict(error.response.headers)
        break
assert kind and kind['type'] == 'rate_limit_error' and kind['details']['error_code'] == 'budget_exhausted', kind
assert 'acme-month' in kind['message'], kind
print('asked', len(sent))
";
    let url = format!("http://127.0.0.1:{}", gateway.ports.gateway);
    let mut python = Command::new(paths::python());
    python.args(["-c", &script.replace("import httpx\n", ""), &url, KEY, ANTHROPIC]);
    let output = python.output().await.expect("python starts");
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}");
    let asked: u64 = text.trim().rsplit(' ').next().and_then(|n| n.parse().ok()).expect("a number");
    // One request of each question reached the gateway, the refused one too: no client hammered.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while (gateway.envoy.access_log().lines().len() as u64) < asked && std::time::Instant::now() < deadline {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(gateway.envoy.access_log().lines().len() as u64, asked);
    let totals = claude.book().totals();
    assert_eq!(totals.requests, asked - 1);
    assert!(totals.billed_prompt_tokens + totals.billed_completion_tokens <= 2000, "{totals:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_counted_here_where_exact_else_by_anthropic_else_not_at_all() {
    let (gateway, claude) = start("anthropic-count", |_| ()).await;
    let count = async |model: &str, more: Value| {
        let mut body = json!({"model": model, "messages": [{"role": "user", "content": "How many tokens?"}]});
        for (key, value) in more.as_object().expect("members") {
            body[key] = value.clone();
        }
        let (status, _, answer) =
            post(&gateway, "/v1/messages/count_tokens", body.to_string().as_bytes()).await;
        (status, serde_json::from_slice::<Value>(&answer).expect("JSON"))
    };
    let tools = json!({"tools": [{"name": "f", "input_schema": {"type": "object"}}]});
    let (status, here) = count(VLLM, json!({})).await;
    assert!(status == 200 && here["input_tokens"].as_u64() > Some(4), "{here}");
    assert_eq!(gateway.vllm().book().totals().requests + claude.book().totals().requests, 0);
    let (status, there) = count(ANTHROPIC, tools.clone()).await;
    assert!(status == 200 && there["input_tokens"].as_u64() > Some(300), "{there}");
    let record = claude.book().last().expect("it was asked");
    assert_eq!((record.path.as_str(), record.billed_prompt_tokens), ("/v1/messages/count_tokens", 0));
    let (status, refused) = count(VLLM, tools).await;
    assert_eq!((status, &refused["error"]["details"]["error_code"]), (400, &json!("unsupported_feature")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_envoy_itself_says_is_in_anthropics_shape_too() {
    let (gateway, _claude) = start("anthropic-dead", |plan| {
        let mut dead = plan.policy["models"][0].clone();
        dead["name"] = json!("dead-only");
        dead["targets"][0]["provider"] = json!("dead-pool");
        dead["targets"].as_array_mut().expect("a list").truncate(1);
        plan.policy["models"].as_array_mut().expect("a list").push(dead);
        let models = plan.policy["tenants"][0]["models"].as_array_mut();
        models.expect("a list").push(json!("dead-only"));
    })
    .await;
    for (path, status, kind) in
        [("/v1/messages", 503, "overloaded_error"), ("/v1/messages/batches", 404, "not_found_error")]
    {
        let (got, headers, body) =
            post(&gateway, path, asking("dead-only", "x").to_string().as_bytes()).await;
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(
            (got, &body["type"], &body["error"]["type"]),
            (status, &json!("error"), &json!(kind)),
            "{body}"
        );
        assert_eq!(headers["content-type"], "application/json");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_anthropic_clients_values_never_leave_and_come_back_whole() {
    const MAIL: &str = "jane.doe+x@example.org";
    let (gateway, claude) = start("anthropic-redaction", |plan| {
        plan.policy["redaction"] = json!([{"name": "r", "find": ["email"], "do": "tokenize"}]);
    })
    .await;
    for server in [&claude, gateway.vllm(), &gateway.bedrock] {
        let chunking = Some(weir_tests::sim::Chunking::Hostile);
        server.always(Behaviour { chunking, tokens_per_event: Some(1), ..Behaviour::echo() });
    }
    for (model, server) in [(ANTHROPIC, &claude), (VLLM, gateway.vllm()), (BEDROCK, &gateway.bedrock)] {
        for stream in [false, true] {
            let mut body = asking(model, &format!("Write to {MAIL}, \u{1f30a} and {MAIL} again."));
            body["system"] = json!(format!("You serve {MAIL}."));
            body["stream"] = json!(stream);
            let (status, _, answer) = post(&gateway, "/v1/messages", body.to_string().as_bytes()).await;
            let answer = String::from_utf8_lossy(&answer).into_owned();
            assert_eq!(status, 200, "{answer}");
            let said: String = if stream {
                let data = answer.lines().filter_map(|line| line.strip_prefix("data: "));
                let events = data.map(|data| serde_json::from_str::<Value>(data).expect("JSON"));
                events.filter_map(|e| e["delta"]["text"].as_str().map(str::to_owned)).collect()
            } else {
                let answer: Value = serde_json::from_str(&answer).expect("JSON");
                answer["content"][0]["text"].as_str().expect("a text").to_owned()
            };
            assert_eq!(said, format!("Write to {MAIL}, \u{1f30a} and {MAIL} again."), "{model} {stream}");
            let sent = server.book().last().expect("it was asked").body.expect("UTF-8");
            assert!(!sent.contains("jane") && !sent.contains("example.org"), "{sent}");
        }
    }
}
