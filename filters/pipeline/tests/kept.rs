//! Answers that are one document and are searched: while a client has nothing of them, their length can be what it is.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests stop at what they do not expect"
)]

mod drive;

use drive::world::{MAIL, answer, headers, model, policy, read, redaction};
use drive::{Answer, Cuts, Gateway, Outcome};
use serde_json::{Value, json};

const HEADERS: [(&str, &str); 1] = [("authorization", "Bearer key")];
/// Up to here the host keeps an answer.
const KEPT: usize = 32 << 10;

fn chat(says: &str) -> String {
    let choice =
        json!({"index": 0, "message": {"role": "assistant", "content": says}, "finish_reason": "stop"});
    let usage = json!({"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12});
    json!({"id": "a", "model": "m", "choices": [choice], "usage": usage}).to_string()
}

fn ran(body: &str, down: Cuts, action: &str) -> Outcome {
    let mut config = policy(&[("p", "vllm")], &[model("m", "p", "m")]);
    config["redaction"] = redaction(action, false, true);
    let request = json!({"model": "m", "messages": [{"role": "user", "content": "hello"}]}).to_string();
    let mut given: Answer = answer(200, "application/json", body);
    given.headers.push(("content-length".into(), body.len().to_string()));
    Gateway::of_json(config).run(
        &headers("/v1/chat/completions", &HEADERS),
        request.as_bytes(),
        &[given],
        Cuts::Whole,
        down,
    )
}

fn says(out: &Outcome) -> Value {
    read(&out.body)["choices"][0]["message"]["content"].clone()
}

#[test]
fn an_answer_has_its_length_wherever_it_is_cut() {
    // The gateway of these tests holds every client to the length that it is told.
    for (said, told) in [("nobody is here", "nobody is here"), (MAIL, "[EMAIL]")] {
        let body = chat(said);
        for at in 0..=body.len() {
            let out = ran(&body, Cuts::At(at), "mask");
            assert!(out.headers.contains_key("content-length"), "{at}");
            assert_eq!(says(&out), told, "{at}");
            assert_eq!(out.body == body.as_bytes(), said == told, "{at}");
        }
    }
}

#[test]
fn an_answer_that_is_too_large_to_be_kept_goes_without_a_length_and_is_searched_all_the_same() {
    for (more, told) in [(0, true), (KEPT, false)] {
        let body = chat(&format!("{MAIL} {}", "word ".repeat(KEPT / 8 + more / 5)));
        let out = ran(&body, Cuts::Every(1 << 12), "mask");
        assert_eq!(out.headers.contains_key("content-length"), told, "{more}");
        assert!(says(&out).as_str().unwrap().starts_with("[EMAIL] word"), "{more}");
        assert_eq!(out.body.len(), body.len() - MAIL.len() + "[EMAIL]".len(), "{more}");
    }
}

#[test]
fn what_cannot_be_read_is_an_error_with_its_own_status() {
    for (cuts, body) in [(Cuts::Whole, "no json"), (Cuts::Every(2), "{\"choices\":[")] {
        let out = ran(body, cuts, "mask");
        assert_eq!((out.status, read(&out.body)["error"]["code"].clone()), (502, json!("answer_unreadable")));
        assert_eq!(out.span.unwrap().error.as_deref(), Some("answer_unreadable"));
    }
}
