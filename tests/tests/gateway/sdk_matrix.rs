//! The matrix: one conversation by each client's own SDK with each kind of provider, over one gateway. What a turn must
//! be is in `tests/sdk/matrix/`; here is only what the providers answer, and that nobody found anything wrong with what
//! came.

use serde_json::json;
use tokio::process::Command;
use weir_tests::harness::paths;
use weir_tests::sim::{Behaviour, Order, ReplyKind, Rule, Server};

use crate::anthropic::{ANTHROPIC, BEDROCK, VLLM};
use crate::boto3::{self, COMPATIBLE, INVOKED};
use crate::openai::{self, OPENAI};
use crate::policy::KEY;

/// What each provider answers to the words of `tests/sdk/matrix/common.py`, those of later turns first: all of a
/// conversation is in its last request.
fn rules(thinks: bool) -> Order {
    let says = |text: &str| Behaviour { reply: Some(ReplyKind::Fixed(text.into())), ..Behaviour::default() };
    let thought = if thinks { "<think>Berlin is big.</think>It is Berlin." } else { "It is Berlin." };
    let rules = [
        ("[200 pieces]", Behaviour { reply_tokens: Some(200), ..Behaviour::default() }),
        ("Please refuse this.", says("refusal: I will not help with that.")),
        ("Think hard", says(thought)),
        ("as JSON", says("{\"city\":\"Berlin\"}")),
    ];
    let rule =
        |(contains, behaviour): (&str, Behaviour)| Rule { contains: contains.into(), times: None, behaviour };
    Order { rules: rules.map(rule).into(), ..Order::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_sdk_holds_its_conversation_with_every_kind_of_provider() {
    let (gateway, open, claude) = openai::start("sdk-matrix", |plan| {
        boto3::with_aws(plan);
        // A reasoning turn goes to targets that can.
        for model in plan.policy["models"].as_array_mut().expect("a list") {
            for target in model["targets"].as_array_mut().expect("a list") {
                target["supports"] = json!(["tools", "json_schema", "images", "documents", "reasoning"]);
            }
        }
    })
    .await;
    let servers: [(&Server, bool); 4] =
        [(gateway.vllm(), true), (&gateway.bedrock, true), (&claude, false), (&open, false)];
    servers.iter().for_each(|(server, thinks)| server.order(rules(*thinks)));
    let (access, secret) = boto3::pair(&gateway, "acme-matrix").await;

    let kinds = [
        ("vllm", VLLM),
        ("bedrock", BEDROCK),
        ("anthropic", ANTHROPIC),
        ("openai", OPENAI),
        ("bedrock_openai", COMPATIBLE),
        ("invoked", INVOKED),
    ];
    let pairs: Vec<String> = kinds.iter().map(|(kind, model)| format!("{kind}={model}")).collect();
    let url = format!("http://127.0.0.1:{}", gateway.ports.gateway);
    let mut told = String::new();
    for (script, addressed) in [
        ("openai_chat", true),
        ("openai_responses", true),
        ("anthropic_messages", true),
        ("boto3_converse", false),
        ("langchain_chats", true),
    ] {
        let mut python = Command::new(paths::python());
        python.arg(paths::repo_root().join("tests/sdk/matrix").join(format!("{script}.py")));
        if addressed {
            python.args([url.as_str(), KEY]);
        }
        python.args(&pairs).env("PYTHONDONTWRITEBYTECODE", "1");
        python.env("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", &url).env("AWS_EC2_METADATA_DISABLED", "true");
        python.env("AWS_CONFIG_FILE", "/dev/null").env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
        python.env_remove("AWS_BEARER_TOKEN_BEDROCK").env_remove("AWS_SESSION_TOKEN");
        python.env("AWS_ACCESS_KEY_ID", &access).env("AWS_SECRET_ACCESS_KEY", &secret);
        let output = python.output().await.expect("python starts");
        told += &String::from_utf8_lossy(&output.stdout);
        // A conversation that fails says so above; this is what keeps a script from running at all.
        if !told.contains(script.split('_').next().unwrap_or(script)) {
            told += &String::from_utf8_lossy(&output.stderr);
        }
    }
    let clients = [
        "openai_chat",
        "openai_responses",
        "anthropic_messages",
        "boto3_converse",
        "langchain_openai",
        "langchain_anthropic",
        "langchain_bedrock",
    ];
    let mut missing = Vec::new();
    for client in clients {
        for (kind, _) in kinds {
            if !told.contains(&format!("ok {client} {kind}\n")) {
                missing.push(format!("{client} with {kind}"));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}\n{told}");
    for (server, _) in servers {
        let totals = server.book().totals();
        assert_eq!((totals.errors, totals.vanished), (0, 0), "{:?}", server.book().last());
    }
}
