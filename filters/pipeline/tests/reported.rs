//! What a model says is reported: counted by type in the span, and not a byte of the answer is another one, nor later.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests stop at what they do not expect"
)]

mod drive;

use drive::world::{MAIL, answer, headers, model, policy, redaction, sent_body};
use drive::{Cuts, Gateway, Outcome};
use serde_json::{Value, json};

const ASK: &str = r#"{"model":"m","messages":[{"role":"user","content":"To whom?"}],"stream":true}"#;

fn gateway(action: &str) -> Gateway {
    let mut config = policy(&[("gpu", "vllm")], &[model("m", "gpu", "gpu/m")]);
    config["redaction"] = redaction(action, true, true);
    Gateway::of_json(config)
}

fn run(gateway: &Gateway, ask: &str, media: &str, body: &str, cuts: Cuts) -> Outcome {
    let answers = [answer(200, media, body)];
    gateway.run(
        &headers("/v1/chat/completions", &[("authorization", "Bearer key")]),
        ask.as_bytes(),
        &answers,
        Cuts::Whole,
        cuts,
    )
}

fn found(outcome: &Outcome) -> Vec<(&str, u64)> {
    let span = outcome.span.as_ref().unwrap();
    span.findings.iter().map(|(name, count)| (name.as_str(), *count)).collect()
}

/// Two choices, two addresses in the first, cut anywhere; the tokens' own texts beside them.
fn stream() -> String {
    let event = |index: u64, text: &str, end: bool| -> String {
        let finish = if end { json!("stop") } else { Value::Null };
        let choice = json!([{
            "index": index, "delta": {"content": text}, "finish_reason": finish,
            "logprobs": {"content": [{"token": text, "logprob": -0.5, "bytes": null, "top_logprobs": []}]},
        }]);
        format!("data: {}\n\n", json!({"id": "c", "model": "gpu/m", "choices": choice}))
    };
    let (front, back) = MAIL.split_at(7);
    [
        event(0, &format!("To {front}"), false),
        event(1, MAIL, false),
        event(0, &format!("{back}, or {MAIL}"), true),
        event(1, "", true),
        "data: [DONE]\n\n".to_owned(),
    ]
    .concat()
}

#[test]
fn a_stream_goes_on_as_it_came_and_its_findings_are_counted() {
    let body = stream();
    for cuts in (1..200).map(Cuts::Every).chain([Cuts::Whole]) {
        let out = run(&gateway("report"), ASK, "text/event-stream", &body, cuts);
        assert_eq!(String::from_utf8(out.body.clone()).unwrap(), body);
        assert_eq!(found(&out), [("answer.email", 3)]);
    }
}

#[test]
fn a_whole_answer_goes_on_as_it_came_and_its_findings_are_counted() {
    let message = json!({"role": "assistant", "content": format!("To {MAIL}.")});
    let body = json!({"id": "c", "model": "gpu/m", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]});
    let ask = ASK.replace("To whom?", &format!("To {MAIL}?")).replace("true", "false");
    let out = run(&gateway("report"), &ask, "application/json", &body.to_string(), Cuts::Every(5));
    assert_eq!(String::from_utf8(out.body.clone()).unwrap(), body.to_string());
    assert_eq!(found(&out), [("email", 1), ("answer.email", 1)]);
    assert_eq!(sent_body(&out)["messages"][0]["content"], format!("To {MAIL}?"));
}

#[test]
fn what_is_masked_in_an_answer_is_counted_too() {
    let out = run(&gateway("mask"), ASK, "text/event-stream", &stream(), Cuts::Whole);
    let text = String::from_utf8(out.body.clone()).unwrap();
    assert!(text.contains("[EMAIL]") && !text.contains(MAIL));
    assert_eq!(found(&out), [("answer.email", 3)]);
}
