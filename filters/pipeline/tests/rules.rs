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
