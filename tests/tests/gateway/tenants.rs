//! What providers are told of tenants, on the whole path: a prefix cache of its own for each at vLLM, request metadata at
//! Bedrock by Converse, by InvokeModel and for other clients. The simulators hold what arrives to the services' rules.

use serde_json::{Value, json};
use weir_tests::harness::Client;

use crate::anthropic::{BEDROCK, VLLM, start};
use crate::boto3::{INVOKED, with_aws};
use crate::policy::{KEY, OTHER_KEY, VLLM_FIRST};
use crate::setup::Gateway;

/// A secret that the control plane of every test has.
const SECRET: &str = "WEIR_TEST_VLLM_KEY";

fn chat(model: &str, text: &str) -> Value {
    json!({"model": model, "max_tokens": 8, "messages": [{"role": "user", "content": text}]})
}

/// Tokens that vLLM found in its cache for a tenant's chat.
async fn cached(gateway: &Gateway, key: &str, text: &str) -> u64 {
    let answer = Client::new(gateway.ports.gateway, key).chat(chat(VLLM_FIRST, text).to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let cached = &answer.json()["usage"]["prompt_tokens_details"]["cached_tokens"];
    cached.as_u64().unwrap_or_else(|| panic!("{}", answer.text()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_tenant_can_tell_by_the_cache_what_another_has_asked() {
    let mut gateway = Gateway::with("tenants-salt", |plan, _| plan.vllm.prompt_tokens_details = true).await;
    let text = |n: u32| format!("{n} ").repeat(400);
    // Without salts the second tenant sees that the first has asked the same.
    assert_eq!(cached(&gateway, KEY, &text(1)).await, 0);
    assert!(cached(&gateway, OTHER_KEY, &text(1)).await > 0);
    let mut policy = gateway.policy.clone();
    policy["providers"][0]["cache_salt"] = json!({"env": SECRET});
    gateway.change(policy).await;
    assert_eq!(cached(&gateway, KEY, &text(2)).await, 0);
    let own = salt(&gateway).expect("a salt");
    assert!(cached(&gateway, KEY, &text(2)).await > 0, "its own cache serves a tenant as before");
    assert_eq!(salt(&gateway).as_deref(), Some(own.as_str()));
    assert_eq!(cached(&gateway, OTHER_KEY, &text(2)).await, 0, "another tenant's does not");
    let other = salt(&gateway).expect("a salt");
    assert!(own != other && [&own, &other].iter().all(|salt| salt.len() == 64), "{own} {other}");
    // A client that names another tenant's salt does not get there.
    let mut body = chat(VLLM_FIRST, &text(2));
    body["cache_salt"] = json!(own);
    let answer = Client::new(gateway.ports.gateway, OTHER_KEY).chat(body.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(salt(&gateway), Some(other));
}

/// The salt of the last request that vLLM got.
fn salt(gateway: &Gateway) -> Option<String> {
    gateway.vllm().book().last()?.json()["cache_salt"].as_str().map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bedrock_is_told_whose_request_it_is() {
    let (gateway, _claude) = start("tenants-metadata", |plan| {
        with_aws(plan);
        plan.policy["providers"][1]["request_metadata"] = json!(["tenant", "cost-center"]);
        plan.policy["providers"][0]["cache_salt"] = json!({"env": SECRET});
        plan.policy["tenants"][0]["labels"] = json!({"cost-center": "4711/a"});
    })
    .await;
    let client = Client::new(gateway.ports.gateway, KEY);
    let blocks = json!([{"role": "user", "content": [{"text": "Say something."}]}]);
    let messages = json!([{"role": "user", "content": "Say something."}]);
    let mut labelled = chat(BEDROCK, "Say something.");
    labelled["metadata"] = json!({"job": "night", "tenant": "globex"});
    let converse = |metadata: Value| json!({"messages": blocks, "requestMetadata": metadata});
    let invoke = json!({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 8, "messages": messages});
    let own = json!({"tenant": "acme", "cost-center": "4711/a"});
    let with = json!({"tenant": "acme", "cost-center": "4711/a", "job": "night"});
    const HEADER: &str = "x-amzn-bedrock-request-metadata";
    let theirs = json!({"job": "night", "tenant": "globex"});
    for (path, body, header, expected) in [
        (format!("/model/{BEDROCK}/converse"), json!({"messages": blocks}), None, &own),
        (format!("/model/{BEDROCK}/converse-stream"), converse(theirs.clone()), None, &with),
        ("/v1/chat/completions".to_owned(), chat(BEDROCK, "Say something."), None, &own),
        ("/v1/chat/completions".to_owned(), labelled, None, &with),
        (format!("/model/{INVOKED}/invoke"), invoke.clone(), None, &own),
        (format!("/model/{INVOKED}/invoke-with-response-stream"), invoke, Some(theirs.to_string()), &with),
        (
            "/v1/messages".to_owned(),
            json!({"model": INVOKED, "max_tokens": 8, "messages": messages}),
            None,
            &own,
        ),
    ] {
        let mut post = client.post(&path, body.to_string()).header("anthropic-version", "2023-06-01");
        if let Some(header) = header {
            post = post.header(HEADER, header);
        }
        let answer = Client::answer(post).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        let record = gateway.bedrock.book().last().expect("a request");
        let told = match record.header(HEADER) {
            Some(header) => serde_json::from_str(header).expect("JSON"),
            None => record.json()["requestMetadata"].clone(),
        };
        assert_eq!(&told, expected, "{path}");
        assert!(record.problems.is_empty(), "{path}: {:?}", record.problems);
    }
    // vLLM gets its salt whatever the client speaks.
    for (path, body) in [
        (format!("/model/{VLLM}/converse"), json!({"messages": blocks})),
        ("/v1/messages".to_owned(), json!({"model": VLLM, "max_tokens": 8, "messages": messages})),
    ] {
        let answer = Client::answer(client.post(&path, body.to_string())).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert_eq!(salt(&gateway).map(|salt| salt.len()), Some(64), "{path}");
    }
}
