//! Answers that are one document and are searched: while a client has nothing of them, their length can be what it is.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests stop at what they do not expect"
)]

mod drive;

use drive::world::{MAIL, answer, headers, model, policy, read, redaction};
use drive::{Answer, Cuts, Gateway, KEPT, Outcome};
use serde_json::{Value, json};

const HEADERS: [(&str, &str); 1] = [("authorization", "Bearer key")];
/// The `max_body` of the policy here: up to there the host waits for an answer's end.
const WAITED: usize = 1_000_000;

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
fn an_answer_has_its_length_when_the_host_no_longer_keeps_it_and_goes_without_one_when_it_does_not_wait() {
    for (size, told) in
        [(KEPT / 2, true), (KEPT, true), (KEPT * 2, true), (WAITED * 9 / 10, true), (WAITED, false)]
    {
        for said in [MAIL, "nobody"] {
            let body = chat(&format!("{said} {}", "word ".repeat(size / 5)));
            let out = ran(&body, Cuts::Every(1 << 12), "mask");
            assert_eq!(out.headers.contains_key("content-length"), told, "{size}");
            assert_eq!(out.body, body.replace(MAIL, "[EMAIL]").as_bytes(), "{size}");
        }
    }
}

#[test]
fn an_answer_that_ends_with_trailers_arrives_whole_or_is_cut() {
    for (size, whole) in
        [(10, true), (KEPT, true), (KEPT * 2, true), (WAITED * 9 / 10, true), (WAITED, false)]
    {
        for (said, piece) in [(MAIL, 1 << 12), ("nobody", 1 << 12), (MAIL, KEPT + 1), ("nobody", 2 * WAITED)]
        {
            let body = chat(&format!("{said} {}", "word ".repeat(size / 5)));
            let out = ran(&body, Cuts::Trailers(piece), "mask");
            let expected = if whole { body.replace(MAIL, "[EMAIL]") } else { String::new() };
            assert_eq!(out.body, expected.as_bytes(), "{size} {piece}");
            assert_eq!(
                (out.cut, out.headers.contains_key("content-length")),
                (!whole, whole),
                "{size} {piece}"
            );
            let error = out.span.unwrap().error;
            assert_eq!(error.as_deref(), (!whole).then_some("answer_too_large"), "{size} {piece}");
        }
    }
}

#[test]
fn what_is_restored_is_an_error_when_the_host_cannot_take_it() {
    let long = format!("{}@example.org", "x".repeat(50));
    let mut config = policy(&[("p", "vllm")], &[model("m", "p", "m")]);
    config["redaction"] = redaction("tokenize", true, false);
    let request = json!({"model": "m", "messages": [{"role": "user", "content": long}]}).to_string();
    for (times, status) in [(10_000, 200), (60_000, 502)] {
        let given = answer(200, "application/json", chat(&"[EMAIL_1] ".repeat(times)));
        let out = Gateway::of_json(config.clone()).run(
            &headers("/v1/chat/completions", &HEADERS),
            request.as_bytes(),
            &[given],
            Cuts::Whole,
            Cuts::Trailers(1 << 14),
        );
        assert_eq!((out.status, out.body.len() > times * 50), (status, status == 200), "{times}");
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

#[test]
fn trailers_alone_are_an_error_without_a_body() {
    let out = ran("", Cuts::Trailers(1), "mask");
    assert_eq!((out.status, &*out.headers["content-length"], out.body.len()), (502, "0", 0));
}
