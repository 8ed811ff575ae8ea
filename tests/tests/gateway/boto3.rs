//! AWS's clients against the whole gateway: boto3 with nothing changed but where Bedrock is, by key pairs that Weir
//! issued and by bearer keys; every provider answers them, and what breaks is told in AWS's words.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::process::Command;
use weir_tests::harness::paths;

use crate::anthropic::{ANTHROPIC, BEDROCK, VLLM, start};
use crate::policy::KEY;
use crate::setup::{Gateway, Plan};

pub const COMPATIBLE: &str = "bedrock-openai-only";
pub const INVOKED: &str = "invoked";

/// Signatures are looked at; a target asked by InvokeModel, and Bedrock's OpenAI-compatible endpoint.
pub fn with_aws(plan: &mut Plan) {
    let bedrock = plan.policy["providers"][1].clone();
    assert_eq!(bedrock["kind"], "bedrock");
    let mut compatible = bedrock.clone();
    compatible["name"] = json!("bedrock-compatible");
    compatible["kind"] = json!("bedrock_openai");
    let endpoint = format!("{}/openai", bedrock["endpoint"].as_str().expect("an endpoint"));
    compatible["endpoint"] = json!(endpoint);
    plan.policy["providers"].as_array_mut().expect("a list").push(compatible);
    let models = plan.policy["models"].as_array_mut().expect("a list");
    let only = models.iter().find(|model| model["name"] == BEDROCK).expect("a model").clone();
    let (mut invoked, mut compatible) = (only.clone(), only);
    invoked["name"] = json!(INVOKED);
    invoked["targets"][0]["api"] = json!("invoke");
    compatible["name"] = json!(COMPATIBLE);
    compatible["targets"][0]["provider"] = json!("bedrock-compatible");
    compatible["targets"][0]["model"] = json!("openai.gpt-oss-20b-1:0");
    models.extend([invoked, compatible]);
    let from = plan.policy["identity"]["from"].as_array_mut().expect("a list");
    from.push(json!({"sigv4": {}}));
    let models = plan.policy["tenants"][0]["models"].as_array_mut().expect("a list");
    models.extend([INVOKED, COMPATIBLE].map(|name| json!(name)));
}

/// Runs the command line against the control plane.
async fn weir(gateway: &Gateway, arguments: &[&str]) -> String {
    let mut weir = Command::new(paths::control_plane());
    weir.args(arguments).args(["--api", &format!("127.0.0.1:{}", gateway.api_port())]);
    let output = weir.output().await.expect("weir starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// A key pair of tenant `acme`, live in the gateway.
pub async fn pair(gateway: &Gateway, id: &str) -> (String, String) {
    let told = weir(gateway, &["key", "issue", "acme", id, "--label", "team=aws"]).await;
    let value = |name: &str| {
        let line = told.lines().find_map(|line| line.strip_prefix(&format!("export {name}=")));
        line.unwrap_or_else(|| panic!("{told}")).to_owned()
    };
    let key = value("AWS_ACCESS_KEY_ID");
    knows(gateway, &key, true).await;
    (key, value("AWS_SECRET_ACCESS_KEY"))
}

/// Waits until Envoy has the access key, or has it no more.
async fn knows(gateway: &Gateway, key: &str, wanted: bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let dump = gateway.envoy.admin("/config_dump").await.expect("Envoy's administration answers");
        if dump.contains(key) == wanted {
            return gateway.in_force().await;
        }
        assert!(Instant::now() < deadline, "Envoy was not told of {key}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub async fn python(gateway: &Gateway, script: &str, env: &[(&str, &str)], arguments: &[&str]) -> String {
    let mut python = Command::new(paths::python());
    python.arg(paths::repo_root().join("tests/sdk").join(script)).args(arguments);
    for name in
        ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_BEARER_TOKEN_BEDROCK"]
    {
        python.env_remove(name);
    }
    let endpoint = format!("http://127.0.0.1:{}", gateway.ports.gateway);
    python.env("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", endpoint).env("AWS_EC2_METADATA_DISABLED", "true");
    python.env("AWS_CONFIG_FILE", "/dev/null").env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
    python.envs(env.iter().copied());
    let output = python.output().await.expect("python starts");
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(
        output.status.success(),
        "{text}\n{}",
        gateway.envoy.log().lines().rev().take(5).collect::<Vec<_>>().join("\n")
    );
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn boto3_with_a_key_pair_of_weirs_gets_the_same_from_every_kind_of_provider() {
    let (gateway, _claude) = start("boto3", with_aws).await;
    let (key, secret) = pair(&gateway, "acme-boto").await;
    let env = [("AWS_ACCESS_KEY_ID", key.as_str()), ("AWS_SECRET_ACCESS_KEY", secret.as_str())];
    let invokes = |name: &str| format!("{name}+invoke");
    let (anthropic, vllm, bedrock, invoked) =
        (invokes(ANTHROPIC), invokes(VLLM), invokes(BEDROCK), invokes(INVOKED));
    let models = [anthropic.as_str(), vllm.as_str(), bedrock.as_str(), invoked.as_str(), COMPATIBLE];
    let text = python(&gateway, "boto3_gateway.py", &env, &models).await;
    for model in [ANTHROPIC, VLLM, BEDROCK, INVOKED, COMPATIBLE] {
        for step in ["chat", "stream", "tools", "image", "shape", "at_once"] {
            assert!(text.contains(&format!("ok {model} {step}\n")), "{model} {step} is missing: {text}");
        }
    }
    for model in [ANTHROPIC, VLLM, BEDROCK, INVOKED] {
        for step in ["invoke", "bedrock_sdk"] {
            assert!(text.contains(&format!("ok {model} {step}\n")), "{model} {step} is missing: {text}");
        }
    }
    assert!(text.contains("ok errors\n") && text.contains("ok strangers\n"), "{text}");
    // The endpoint that speaks OpenAI's chat was asked by its own path, signed by Envoy.
    let paths: Vec<String> = gateway.bedrock.book().records().into_iter().map(|record| record.path).collect();
    assert!(paths.iter().any(|path| path == "/openai/v1/chat/completions"), "{paths:?}");
    assert!(paths.iter().any(|path| path.ends_with("/invoke-with-response-stream")), "{paths:?}");
    // The gateway has keys of days, never the secret.
    let dump = gateway.envoy.admin("/config_dump").await.expect("Envoy's administration answers");
    assert!(dump.contains(&key) && !dump.contains(&secret));

    // Taken back, it is refused.
    weir(&gateway, &["key", "revoke", "acme-boto"]).await;
    knows(&gateway, &key, false).await;
    let script = "import boto3\ntry:\n  boto3.client('bedrock-runtime', region_name='us-east-1').converse(modelId='m', messages=[])\nexcept Exception as e: print(e.response['Error']['Code'])";
    let mut python = Command::new(paths::python());
    python
        .args(["-c", script])
        .envs(env)
        .env("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", format!("http://127.0.0.1:{}", gateway.ports.gateway));
    let output = python.output().await.expect("python starts");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "UnrecognizedClientException");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn boto3_with_a_bearer_key_is_an_api_key_like_any_other() {
    let (gateway, _claude) = start("boto3-bearer", with_aws).await;
    let env = [("WEIR_BEARER", KEY)];
    let text = python(&gateway, "boto3_gateway.py", &env, &[VLLM, &format!("{BEDROCK}+invoke")]).await;
    assert!(text.contains("ok errors\n"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_long_window_spent_boto3_asks_exactly_once() {
    let (gateway, _claude) = start("boto3-spent", |plan| {
        with_aws(plan);
        plan.policy["budgets"] = json!([{
            "name": "acme-month", "when": {"tenant": "acme"}, "limit": {"tokens": 10}, "window": "month",
        }]);
    })
    .await;
    let (key, secret) = pair(&gateway, "acme-boto").await;
    let env = [("AWS_ACCESS_KEY_ID", key.as_str()), ("AWS_SECRET_ACCESS_KEY", secret.as_str())];
    let text = python(&gateway, "boto3_spent.py", &env, &[BEDROCK]).await;
    assert!(text.contains("ok one request"), "{text}");
    assert_eq!(gateway.bedrock.book().totals().requests, 0);
}
