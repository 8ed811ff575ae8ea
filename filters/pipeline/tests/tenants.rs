//! What the policy gives providers of a tenant: vLLM's cache salt and Bedrock's request metadata, from every client API,
//! in place of or beside the client's own, with every other byte as it came.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    dead_code,
    reason = "a test may panic, and uses a part of the host in miniature"
)]

mod drive;

use drive::world::{answer, headers, model, policy, sent, sent_body, target};
use drive::{Cuts, Gateway, Outcome};
use serde_json::{Value, json};

const SALT: &str = "00112233445566778899aabbccddeeff";
const SONNET: &str = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";
const CHAT: &str = "/v1/chat/completions";
const MESSAGES: &str = "/v1/messages";
const OWN: &str = r#""team":"a b","tenant":"acme""#;

fn gateway() -> Gateway {
    let mut invoked = model("invoked", "aws", SONNET);
    invoked["targets"][0]["invoke"] = json!(true);
    let mut both = model("both", "plain", "plain/m");
    let mut second = target("gpu", "gpu/m");
    second["priority"] = json!(1);
    both["targets"].as_array_mut().unwrap().push(second);
    let models = [
        model("gpu/m", "gpu", "gpu/m"),
        model("gpu", "gpu", "gpu/m"),
        model("aws", "aws", SONNET),
        invoked,
        both,
    ];
    let providers = [("gpu", "vllm"), ("plain", "openai"), ("aws", "bedrock")];
    let mut config = policy(&providers, &models);
    config["providers"][0]["tenants"] = json!({"acme": SALT, "globex": "ff"});
    config["providers"][2]["tenants"] = json!({"acme": OWN});
    config["retry"] = json!({"tries": 2, "on": ["5xx"]});
    Gateway::of_json(config)
}

fn run(path: &str, more: &[(&str, &str)], body: &str) -> Outcome {
    let mut all = headers(path, &[("authorization", "Bearer key")]);
    all.extend(more);
    let failed = answer(503, "application/json", r#"{"error":{"message":"x","type":"t"}}"#);
    gateway().run(&all, body.as_bytes(), &[failed.clone(), failed], Cuts::Whole, Cuts::Whole)
}

fn losses(outcome: &Outcome) -> &str {
    outcome.span.as_ref().map(|span| span.losses.as_str()).unwrap_or_default()
}

#[test]
fn a_chat_to_vllm_differs_in_the_salt_and_the_models_name_alone() {
    // The name may be the provider's own already: then the body would not be touched without the salt.
    for name in ["gpu", "gpu/m"] {
        let rest = r#" "messages" : [{"role":"user","content":"h\u00e9llo"}], "x":1.0e0}"#;
        let outcome = run(CHAT, &[], &format!(r#"{{ "model":"{name}",{rest}"#));
        let arrived = String::from_utf8(outcome.sent[0].2.clone()).unwrap();
        assert_eq!(arrived, format!(r#"{{"cache_salt":"{SALT}", "model":"gpu/m",{rest}"#));
        assert_eq!(sent(&outcome, "content-length"), arrived.len().to_string());
        assert_eq!(losses(&outcome), "");
    }
    let outcome = run("/v1/completions", &[], r#"{"prompt":"p","model":"gpu"}"#);
    assert_eq!(sent_body(&outcome)["cache_salt"], SALT);
}

#[test]
fn the_policys_salt_stands_in_the_place_of_the_clients() {
    for own in [r#""mine""#, "null", r#"{"a":[1]}"#] {
        let body =
            format!(r#"{{"model":"gpu","cache_salt": {own} ,"messages":[{{"role":"user","content":"x"}}]}}"#);
        let outcome = run(CHAT, &[], &body);
        let expected = format!(
            r#"{{"model":"gpu/m","cache_salt": "{SALT}" ,"messages":[{{"role":"user","content":"x"}}]}}"#
        );
        assert_eq!(String::from_utf8_lossy(&outcome.sent[0].2), expected);
        assert_eq!(losses(&outcome), "cache_salt: the policy's stands in its place");
    }
}

#[test]
fn other_clients_requests_are_salted_as_well_and_other_providers_get_no_salt() {
    let asks = [
        (MESSAGES, json!({"model": "gpu", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]})),
        ("/v1/responses", json!({"model": "gpu", "input": "x", "store": false})),
        ("/model/gpu/converse", json!({"messages": [{"role": "user", "content": [{"text": "x"}]}]})),
    ];
    for (path, body) in asks {
        let outcome = run(path, &[], &body.to_string());
        assert_eq!(sent_body(&outcome)["cache_salt"], SALT, "{path}");
        assert_eq!(sent_body(&outcome)["model"], "gpu/m", "{path}");
    }
    // Each try has what is its own, and nothing of another's.
    let outcome = run(CHAT, &[], r#"{"model":"both","messages":[{"role":"user","content":"x"}]}"#);
    let bodies: Vec<Value> =
        outcome.sent.iter().map(|sent| serde_json::from_slice(&sent.2).unwrap()).collect();
    assert_eq!(bodies.len(), 2);
    assert_eq!((&bodies[0]["cache_salt"], &bodies[1]["cache_salt"]), (&Value::Null, &json!(SALT)));
}

#[test]
fn converse_passes_with_the_policys_entries_before_the_clients() {
    let rest = r#""messages":[{"role":"user","content":[{"text":"h\u00e9"}]}]}"#;
    let outcome = run("/model/aws/converse", &[], &format!("{{ {rest}"));
    let arrived = String::from_utf8_lossy(&outcome.sent[0].2).into_owned();
    assert_eq!(arrived, format!(r#"{{"requestMetadata":{{{OWN}}}, {rest}"#));
    let own = r#"{"job":"night","tenant":"globex"}"#;
    let outcome = run("/model/aws/converse", &[], &format!(r#"{{"requestMetadata": {own},{rest}"#));
    let arrived = String::from_utf8_lossy(&outcome.sent[0].2).into_owned();
    assert_eq!(arrived, format!(r#"{{"requestMetadata": {{{OWN},"job":"night"}},{rest}"#));
    assert!(losses(&outcome).starts_with("requestMetadata.tenant: "), "{}", losses(&outcome));
}

#[test]
fn what_is_translated_for_bedrock_has_them_too() {
    let chat = json!({"model": "aws", "messages": [{"role": "user", "content": "x"}],
        "metadata": {"team": "b", "job": "night"}, "user": "u"});
    let outcome = run(CHAT, &[], &chat.to_string());
    let expected = json!({"team": "a b", "tenant": "acme", "job": "night", "user": "u"});
    assert_eq!(sent_body(&outcome)["requestMetadata"], expected);
    assert!(losses(&outcome).starts_with("metadata.team: "), "{}", losses(&outcome));
    let messages = json!({"model": "aws", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]});
    let outcome = run(MESSAGES, &[], &messages.to_string());
    assert_eq!(sent_body(&outcome)["requestMetadata"], json!({"team": "a b", "tenant": "acme"}));
}

#[test]
fn invoke_model_has_them_in_its_header() {
    const HEADER: &str = "x-amzn-bedrock-request-metadata";
    let invoke = json!({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9,
        "messages": [{"role": "user", "content": "x"}]})
    .to_string();
    let path = "/model/invoked/invoke";
    let outcome = run(path, &[], &invoke);
    assert_eq!(sent(&outcome, HEADER), format!("{{{OWN}}}"));
    assert_eq!(String::from_utf8_lossy(&outcome.sent[0].2), invoke, "the body is the client's");
    let more = [(HEADER, r#"{"job": "night", "tenant": "globex"}"#), ("x-amzn-bedrock-trace", "ENABLED")];
    let outcome = run(path, &more, &invoke);
    assert_eq!(sent(&outcome, HEADER), format!(r#"{{{OWN},"job": "night"}}"#));
    assert_eq!(outcome.sent[0].1.iter().filter(|(name, _)| name == HEADER).count(), 1);
    assert_eq!(sent(&outcome, "x-amzn-bedrock-trace"), "ENABLED");
    assert!(losses(&outcome).starts_with("requestMetadata.tenant: "), "{}", losses(&outcome));
    // Of Anthropic's and OpenAI's clients: translated, or put into the other envelope.
    for (path, body) in [
        (
            MESSAGES,
            json!({"model": "invoked", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}),
        ),
        (CHAT, json!({"model": "invoked", "messages": [{"role": "user", "content": "x"}]})),
    ] {
        let outcome = run(path, &more, &body.to_string());
        assert_eq!(sent(&outcome, HEADER), format!("{{{OWN}}}"), "{path}");
        assert!(sent_body(&outcome).get("requestMetadata").is_none());
    }
}
