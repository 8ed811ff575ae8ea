//! Texts that are documents themselves, as a tool's results are, and JSON in the body that is a client's own, as a tool's
//! input is: a value in them is replaced as it is elsewhere, and what it is its name says.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests stop at what they do not expect"
)]

mod drive;

use drive::world::{MAIL, answer, headers, model, policy, redaction, sent_body};
use drive::{Cuts, Gateway};
use serde_json::{Value, json};

const OTHER: &str = "second@example.org";

/// The contents that a provider reads.
fn sent(action: &str, contents: &[&str]) -> Vec<String> {
    let mut config = policy(&[("p", "vllm")], &[model("m", "p", "m")]);
    config["redaction"] = redaction(action, true, false);
    config["tenants"][0]["digest_key"] = json!("0b".repeat(32));
    let message = |content: &&str| json!({"role": "user", "content": content});
    let messages: Vec<Value> = contents.iter().map(message).collect();
    let request = json!({"model": "m", "messages": messages}).to_string();
    let chat =
        json!({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}});
    let out = Gateway::of_json(config).run(
        &headers("/v1/chat/completions", &[("authorization", "Bearer key")]),
        request.as_bytes(),
        &[answer(200, "application/json", chat.to_string())],
        Cuts::Whole,
        Cuts::Whole,
    );
    let body = sent_body(&out);
    let content = |message: &Value| message["content"].as_str().unwrap().to_owned();
    body["messages"].as_array().unwrap().iter().map(content).collect()
}

#[test]
fn a_value_in_a_document_is_replaced_as_it_is_elsewhere() {
    for action in ["tokenize", "hash", "mask"] {
        let document = |mail: &str, other: &str| {
            let inner = json!({"to": format!("\n{other}"), "plain": mail}).to_string();
            json!({"a": format!("to\n{mail}, {other}"), "b": [format!("\"{other}\"\t")], "c": mail, "d": inner, format!("z {mail}"): 1})
                .to_string()
        };
        let plain = format!("{MAIL} {OTHER}");
        let told = sent(action, &[&plain, &document(MAIL, OTHER), &plain, &document(OTHER, MAIL)]);
        let (mail, other) = told[0].split_once(' ').unwrap();
        assert!(mail.starts_with("[EMAIL") && other.starts_with("[EMAIL"), "{told:?}");
        assert_eq!(mail == other, action == "mask", "{told:?}");
        assert_eq!(told, [told[0].clone(), document(mail, other), told[0].clone(), document(other, mail)]);
        // The first one that is seen is a document.
        let told = sent(action, &[&document(MAIL, OTHER), &plain]);
        let (mail, other) = told[1].split_once(' ').unwrap();
        assert_eq!(told[0], document(mail, other));
    }
}

#[test]
fn a_value_in_a_document_is_refused_as_it_is_elsewhere() {
    let mut config = policy(&[("p", "vllm")], &[model("m", "p", "m")]);
    config["redaction"] = redaction("block", true, false);
    let document = json!({"a": format!("to\n{MAIL}")}).to_string();
    let request = json!({"model": "m", "messages": [{"role": "user", "content": document}]}).to_string();
    let header = [("authorization", "Bearer key")];
    let out = Gateway::of_json(config).run(
        &headers("/v1/chat/completions", &header),
        request.as_bytes(),
        &[],
        Cuts::Whole,
        Cuts::Whole,
    );
    assert!(out.sent.is_empty());
    assert!(String::from_utf8_lossy(&out.body).contains("content_blocked"));
}

/// JSON of a client's own, and what of it is to be seen.
fn own() -> [Value; 2] {
    [
        json!({"ssn": "078051120", "password": "c0rrecthorse9X", "cvv": 123, "deep": [{"dob": "1980-01-02\n", MAIL: [MAIL, 7]}],
            "card": 4_111_111_111_111_111_u64, "at": [1_700_000_000_000_u64, 50.386645822324795, true, null],
            "text": "{\"ssn\":\"\\t078051120\",\"card\":4111111111111111}"}),
        json!({"ssn": "[US_SSN]", "password": "[PASSWORD]", "cvv": "[CARD_CVV]",
            "deep": [{"dob": "[DATE_OF_BIRTH]\n", "[EMAIL]": ["[EMAIL]", 7]}],
            "card": "[CREDIT_CARD]", "at": [1_700_000_000_000_u64, 50.386645822324795, true, null],
            "text": "{\"ssn\":\"\\t[US_SSN]\",\"card\":\"[CREDIT_CARD]\"}"}),
    ]
}

#[test]
fn what_is_in_json_of_the_body_its_names_say_in_every_dialect() {
    let models = [("chat", "gpu"), ("claude", "claude"), ("aws", "aws"), ("oai", "oai")];
    let models = models.map(|(name, provider)| model(name, provider, name));
    let mut config =
        policy(&[("gpu", "vllm"), ("claude", "anthropic"), ("aws", "bedrock"), ("oai", "openai")], &models);
    config["redaction"] = redaction("mask", true, false);
    config["redaction"][0]["find"] =
        json!(["us_ssn", "password", "card_cvv", "date_of_birth", "email", "credit_card"]);
    let gateway = Gateway::of_json(config);
    let chat = |own: &Value| {
        json!({"model": "chat", "max_tokens": 9, "metadata": own, "novelty": [own],
            "messages": [{"role": "user", "content": "hi", "novelty": own}],
            "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "default": own}}}]})
    };
    let messages = |own: &Value| {
        json!({"model": "claude", "max_tokens": 9, "metadata": own, "messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": own}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "x"}]}],
            "tools": [{"name": "f", "input_schema": {"type": "object", "default": own}}]})
    };
    let converse = |own: &Value| {
        json!({"requestMetadata": own, "inferenceConfig": {"maxTokens": 9}, "messages": [
            {"role": "user", "content": [{"text": "hi"}]},
            {"role": "assistant", "content": [{"toolUse": {"toolUseId": "t", "name": "f", "input": own}}]},
            {"role": "user", "content": [{"toolResult": {"toolUseId": "t", "content": [{"json": own}]}}]}],
            "toolConfig": {"tools": [{"toolSpec": {"name": "f", "inputSchema": {"json": {"type": "object", "default": own}}}}]}})
    };
    let responses = |own: &Value| {
        json!({"model": "oai", "max_output_tokens": 9, "metadata": own, "input": "hi",
            "tools": [{"type": "function", "name": "f", "parameters": {"type": "object", "default": own}}]})
    };
    let [own, seen] = own();
    for (path, body, expected) in [
        ("/v1/chat/completions", chat(&own), chat(&seen)),
        ("/v1/messages", messages(&own), messages(&seen)),
        ("/model/aws/converse", converse(&own), converse(&seen)),
        ("/v1/responses", responses(&own), responses(&seen)),
    ] {
        for text in [body.to_string(), serde_json::to_string_pretty(&body).unwrap()] {
            let out = gateway.run(
                &headers(path, &[("authorization", "Bearer key")]),
                text.as_bytes(),
                &[answer(200, "application/json", "{}")],
                Cuts::Whole,
                Cuts::Whole,
            );
            assert_eq!(out.status, 200, "{path}: {}", String::from_utf8_lossy(&out.body));
            assert_eq!(sent_body(&out), expected, "{path}");
        }
    }
}
