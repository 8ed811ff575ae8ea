//! Which redaction rules a request meets.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests stop at what they do not expect"
)]

mod drive;

use drive::world::{MAIL, answer, headers, model, policy, redaction, sent_body};
use drive::{Cuts, Gateway};
use serde_json::json;

#[test]
fn a_rule_of_one_model_leaves_the_others_alone() {
    let mut config =
        policy(&[("gpu", "vllm")], &[model("m", "gpu", "gpu/m"), model("other", "gpu", "gpu/other")]);
    config["models"][0]["aliases"] = json!(["also-m"]);
    config["redaction"] = redaction("mask", true, true);
    config["redaction"][0]["when"]["model"] = json!(["m"]);
    let gateway = Gateway::of_json(config);
    for (asked, masked) in [("m", true), ("also-m", true), ("other", false)] {
        let ask = json!({"model": asked, "messages": [{"role": "user", "content": MAIL}]}).to_string();
        let said = json!({
            "id": "c", "object": "chat.completion", "created": 1, "model": "gpu/m",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": MAIL}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        });
        let answers = [answer(200, "application/json", said.to_string())];
        let key = headers("/v1/chat/completions", &[("authorization", "Bearer key")]);
        let out = gateway.run(&key, ask.as_bytes(), &answers, Cuts::Whole, Cuts::Whole);
        assert_eq!(out.status, 200, "{asked}");
        assert_eq!(sent_body(&out).to_string().contains(MAIL), !masked, "the request for {asked}");
        assert_eq!(String::from_utf8_lossy(&out.body).contains(MAIL), !masked, "the answer of {asked}");
    }
}

#[test]
fn a_number_that_is_all_of_a_users_message_is_found_by_its_check_digit_and_elsewhere_it_is_not() {
    const NUMBER: &str = "121000358";
    let mut config = policy(&[("gpu", "vllm")], &[model("m", "gpu", "gpu/m")]);
    config["redaction"] = redaction("mask", true, false);
    config["redaction"][0]["find"] = json!(["aba_routing"]);
    let gateway = Gateway::of_json(config);
    let ask = json!({"model": "m", "user": NUMBER, "metadata": {"order": NUMBER}, "messages": [
        {"role": "system", "content": NUMBER},
        {"role": "user", "content": NUMBER},
        {"role": "user", "content": format!("order {NUMBER}")},
        {"role": "user", "content": format!("[\"\\n\",\"{NUMBER}\"]")},
        {"role": "user", "content": [{"type": "text", "text": format!("{NUMBER}\n")}]},
        {"role": "assistant", "content": null, "tool_calls": [
            {"id": "t", "type": "function", "function": {"name": "f", "arguments": NUMBER}}]},
        {"role": "tool", "tool_call_id": "t", "content": NUMBER},
    ]});
    let mut expected = ask.clone();
    expected["model"] = json!("gpu/m");
    expected["messages"][1]["content"] = json!("[ABA_ROUTING]");
    expected["messages"][4]["content"][0]["text"] = json!("[ABA_ROUTING]\n");
    let key = headers("/v1/chat/completions", &[("authorization", "Bearer key")]);
    let answers = [answer(200, "application/json", "{}")];
    let out = gateway.run(&key, ask.to_string().as_bytes(), &answers, Cuts::Whole, Cuts::Whole);
    assert_eq!(sent_body(&out), expected);
}

#[test]
fn a_number_that_is_no_string_is_found_and_what_replaces_it_is_a_string() {
    const CARD: u64 = 4_111_111_111_111_111;
    let mut config = policy(&[("gpu", "vllm")], &[model("m", "gpu", "gpu/m")]);
    config["redaction"] = redaction("mask", true, false);
    config["redaction"][0]["find"] = json!(["credit_card"]);
    let gateway = Gateway::of_json(config);
    let body = |card: serde_json::Value| {
        json!({"model": "m", "max_tokens": 9, "seed": CARD, "metadata": {"card": card, "all": [1, [card]]},
            "messages": [{"role": "user", "content": "pay", "more": {"at": 1_700_000_000_000_u64, "x": 50.386645822324795, "most": [2_147_483_647, -4_294_967_295_i64]}}]})
    };
    let (ask, mut expected) = (body(json!(CARD)), body(json!("[CREDIT_CARD]")));
    expected["model"] = json!("gpu/m");
    let key = headers("/v1/chat/completions", &[("authorization", "Bearer key")]);
    let answers = [answer(200, "application/json", "{}")];
    let out = gateway.run(&key, ask.to_string().as_bytes(), &answers, Cuts::Whole, Cuts::Whole);
    assert_eq!(sent_body(&out), expected);
}
