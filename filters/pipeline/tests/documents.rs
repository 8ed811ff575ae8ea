//! Texts that are documents themselves, as a tool's results are: a value in them is replaced as it is elsewhere.

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
