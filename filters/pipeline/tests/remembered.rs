//! A chat's next turn: what the model said was counted on its way out, and is not counted again, whatever client brings
//! it back and however it is written. Nothing of it may change what is counted, only how often.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "tests stop at what they do not expect"
)]

mod drive;

use drive::world::{self, MAIL, policy, redaction, target};
use drive::{Answer, Cuts, Gateway, Outcome};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};
use weir_pipeline::outside::Part;
use weir_tokens::Vocabulary;

const ASKED: &str =
    "What would you tell somebody who has never seen the sea, and never will? Be brief, be kind.";
const SAID: &str =
    "Grüße 😀 — \"that it is wide\", a\\b,\n\tand loud, and never twice the same; so is the way there.";
const NEXT: &str = "And who would tell them that the way back is longer than it was, and that nobody waits?";

/// Every prompt is counted.
fn gateway(change: impl FnOnce(&mut Value)) -> Gateway {
    let mut target = target("gpu", "gpu/m");
    target["tokenizer"] = json!("o200k_base");
    let mut config = policy(&[("gpu", "vllm")], &[json!({"name": "m", "targets": [target]})]);
    config["telemetry"] = json!({"count": true});
    change(&mut config);
    Gateway::of_json(config)
}

fn o200k() -> Vocabulary {
    Vocabulary::from_name("o200k_base").unwrap()
}

fn tokens(text: &str) -> u64 {
    weir_tokens::count(o200k(), text)
}

/// What is remembered of a text.
fn known(gateway: &Gateway, text: &str) -> Option<u64> {
    let mut seen = gateway.policy.as_ref().unwrap().seen.borrow().clone();
    let mut counted = false;
    let tokens = seen.count(o200k().number(), text, |_| {
        counted = true;
        0
    });
    (!counted).then_some(tokens)
}

/// From now on the text is remembered as having so many tokens more: whoever counts it anew will not say so.
fn falsify(gateway: &Gateway, text: &str, more: u64) {
    let mut seen = gateway.policy.as_ref().unwrap().seen.borrow_mut();
    let mut key = seen.key(o200k().number());
    key.push(text.as_bytes());
    seen.learn(&key, tokens(text) + more);
}

fn whole(text: &str) -> Answer {
    let message = json!({"role": "assistant", "content": text});
    let body = json!({
        "id": "c", "object": "chat.completion", "created": 1, "model": "gpu/m",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18},
    });
    world::answer(200, "application/json", body.to_string())
}

fn stream<'p>(pieces: impl IntoIterator<Item = &'p str>) -> Answer {
    let mut body = String::new();
    let mut event = |delta: Value, finish: Value| {
        let choice = json!([{"index": 0, "delta": delta, "finish_reason": finish}]);
        let event = json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "gpu/m", "choices": choice});
        body.push_str(&format!("data: {event}\n\n"));
    };
    for piece in pieces {
        event(json!({"content": piece}), Value::Null);
    }
    event(json!({}), json!("stop"));
    body.push_str("data: [DONE]\n\n");
    world::answer(200, "text/event-stream", body)
}

fn words(text: &str) -> Vec<&str> {
    text.split_inclusive(' ').collect()
}

fn run(gateway: &Gateway, path: &str, body: &str, answer: Answer, down: Cuts) -> Outcome {
    let key = [("authorization", "Bearer key"), ("anthropic-version", "2023-06-01")];
    let out = gateway.run(&world::headers(path, &key), body.as_bytes(), &[answer], Cuts::Whole, down);
    assert_eq!(out.status, 200, "{}", String::from_utf8_lossy(&out.body));
    out
}

fn counted(gateway: &Gateway, path: &str, body: &str) -> u64 {
    run(gateway, path, body, whole("No."), Cuts::Whole).span.unwrap().input_counted.unwrap()
}

const CHAT: &str = "/v1/chat/completions";

fn chat(messages: Value, stream: bool) -> String {
    json!({"model": "m", "messages": messages, "stream": stream}).to_string()
}

fn user(text: &str) -> Value {
    json!({"role": "user", "content": text})
}

fn said(text: &str) -> Value {
    json!({"role": "assistant", "content": text})
}

/// A client: its path and body of the first turn for a whole answer and a stream, and in which forms it may send the
/// next, in which the assistant's message stands for itself.
struct Client {
    whole: (&'static str, Value),
    stream: (&'static str, Value),
    next: Vec<Value>,
}

fn clients() -> Vec<Client> {
    let streamed = |mut body: Value| {
        body["stream"] = json!(true);
        body
    };
    let next = |turns: &dyn Fn(Value) -> Value, forms: Vec<Value>| forms.into_iter().map(turns).collect();
    let body = json!({"model": "m", "messages": [user(ASKED)], "max_tokens": 99});
    let chat_turns = |answer: Value| json!({"model": "m", "messages": [user(ASKED), answer, user(NEXT)], "max_tokens": 99});
    let call = json!([{"id": "x", "type": "function", "function": {"name": "f", "arguments": "{}"}}]);
    let chat = Client {
        whole: (CHAT, body.clone()),
        stream: (CHAT, streamed(body.clone())),
        next: next(
            &chat_turns,
            vec![
                said(SAID),
                json!({"role": "assistant", "content": [{"type": "text", "text": SAID}]}),
                // As the SDK's own object is written when it is sent back.
                json!({"content": SAID, "refusal": null, "role": "assistant", "annotations": [], "tool_calls": null}),
                json!({"role": "assistant", "content": SAID, "tool_calls": call}),
            ],
        ),
    };
    let messages = Client {
        whole: ("/v1/messages", body.clone()),
        stream: ("/v1/messages", streamed(body)),
        next: next(
            &chat_turns,
            vec![
                said(SAID),
                json!({"role": "assistant", "content": [{"type": "text", "text": SAID, "citations": null}]}),
            ],
        ),
    };
    let body = json!({"model": "m", "input": ASKED, "store": false});
    let part = json!([{"type": "output_text", "text": SAID, "annotations": []}]);
    let responses = Client {
        whole: ("/v1/responses", body.clone()),
        stream: ("/v1/responses", streamed(body)),
        next: next(
            &|answer| json!({"model": "m", "input": [user(ASKED), answer, user(NEXT)], "store": false}),
            vec![
                said(SAID),
                json!({"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": part}),
            ],
        ),
    };
    let block = |role: &str, text: &str| json!({"role": role, "content": [{"text": text}]});
    let body = json!({"messages": [block("user", ASKED)]});
    let converse = Client {
        whole: ("/model/m/converse", body.clone()),
        stream: ("/model/m/converse-stream", body),
        next: vec![
            json!({"messages": [block("user", ASKED), block("assistant", SAID), block("user", NEXT)]}),
        ],
    };
    vec![chat, messages, responses, converse]
}

/// The same JSON with every character of its strings that may be escaped in another way, as Python writes it.
fn escaped(json: &str) -> String {
    let ascii = |c: char| match c {
        '/' => "\\/".to_owned(),
        c if c.is_ascii() => c.to_string(),
        c => c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
    };
    json.chars().map(ascii).collect()
}

#[test]
fn what_was_said_is_known_to_the_next_turn_of_every_client() {
    for client in clients() {
        let path = client.whole.0;
        for ((first_path, first), answer) in
            [(&client.whole, whole(SAID)), (&client.stream, stream(words(SAID)))]
        {
            for next in &client.next {
                for next in [next.to_string(), escaped(&next.to_string())] {
                    let anew = counted(&gateway(|_| {}), path, &next);
                    for more in [0, 1_000_000] {
                        let gateway = gateway(|_| {});
                        run(&gateway, first_path, &first.to_string(), answer.clone(), Cuts::Every(40));
                        assert_eq!(known(&gateway, SAID), Some(tokens(SAID)), "{first_path}");
                        falsify(&gateway, SAID, more);
                        assert_eq!(counted(&gateway, path, &next), anew + more, "{first_path}, then {next}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_turn_counts_its_new_text_only() {
    let gateway = gateway(|_| {});
    let (mut messages, mut texts) = (Vec::new(), Vec::new());
    for turn in 0..6 {
        let (asked, answer) = (format!("{turn}. {ASKED}"), format!("{turn}. {SAID}"));
        messages.push(user(&asked));
        texts.push(asked);
        let unknown: Vec<&String> = texts.iter().filter(|text| known(&gateway, text).is_none()).collect();
        assert_eq!(unknown, [texts.last().unwrap()], "turn {turn}");
        let said_now = if turn % 2 == 0 { whole(&answer) } else { stream(words(&answer)) };
        let body = chat(Value::Array(messages.clone()), turn % 2 == 1);
        let span = run(&gateway, CHAT, &body, said_now, Cuts::Whole).span.unwrap();
        let plain: u64 = texts.iter().map(|text| tokens(text) + 4).sum();
        assert_eq!(span.input_counted, Some(plain + 3), "turn {turn}");
        messages.push(said(&answer));
        texts.push(answer);
    }
}

#[test]
fn an_answer_is_known_wherever_it_was_cut() {
    let body = |stream| chat(json!([user(ASKED)]), stream);
    for (stream, answer) in [(false, whole(SAID)), (true, stream(words(SAID)))] {
        for cut in 0..=answer.body.len() {
            let gateway = gateway(|_| {});
            run(&gateway, CHAT, &body(stream), answer.clone(), Cuts::At(cut));
            assert_eq!(known(&gateway, SAID), Some(tokens(SAID)), "{cut}");
        }
    }
}

#[test]
fn what_nobody_counts_is_not_counted_for_later() {
    for (is_stream, answer) in [(false, whole(SAID)), (true, stream(words(SAID)))] {
        let gateway = gateway(|config| config["telemetry"] = json!({}));
        let usage = json!({"include_usage": true});
        let body =
            json!({"model": "m", "messages": [user(ASKED)], "stream": is_stream, "stream_options": usage});
        let out = run(&gateway, CHAT, &body.to_string(), answer, Cuts::Whole);
        assert_eq!((out.span.unwrap().input_counted, known(&gateway, SAID)), (None, None));
    }
}

#[test]
fn what_a_counter_may_get_wrong_by_a_token_is_counted_anew() {
    let long = format!("{SAID}{}", "ab".repeat(5_000));
    let pieces: Vec<&str> = long.split_inclusive('b').collect();
    for (answer, expected) in [
        (stream(pieces.iter().copied()), None),
        (stream([long.as_str()]), None),
        // Counted at once.
        (whole(&long), Some(tokens(&long))),
    ] {
        let gateway = gateway(|_| {});
        run(&gateway, CHAT, &chat(json!([user(ASKED)]), true), answer, Cuts::Whole);
        assert_eq!(known(&gateway, &long), expected);
    }
    let gateway = gateway(|_| {});
    let prose = SAID.repeat(200);
    run(&gateway, CHAT, &chat(json!([user(ASKED)]), true), stream(words(&prose)), Cuts::Whole);
    assert_eq!(known(&gateway, &prose), Some(tokens(&prose)));
}

#[test]
fn an_answer_of_many_pages_is_counted_when_it_comes_back() {
    let page = |n: u64| format!("{n}{}", SAID.repeat(40));
    let text = page(0).repeat(6);
    let gateway = gateway(|_| {});
    run(&gateway, CHAT, &chat(json!([user(ASKED)]), false), whole(&text), Cuts::Whole);
    assert_eq!((text.len() > 20_000, known(&gateway, &text)), (true, None));
    run(&gateway, CHAT, &chat(json!([user(ASKED)]), false), whole(&page(0)), Cuts::Whole);
    assert_eq!(known(&gateway, &page(0)), Some(tokens(&page(0))));
}

/// The provider reads and says placeholders, the client values: the prompt is counted as the provider reads it.
#[test]
fn a_restored_answer_is_known_as_the_provider_said_it() {
    let asked = format!("Write to {MAIL} that nobody waits, and say it so that they do not mind.");
    let provider = "I wrote to [EMAIL_1], and to nobody else, that the evening comes when it comes.";
    let client = provider.replace("[EMAIL_1]", MAIL);
    for (is_stream, answer) in [(false, whole(provider)), (true, stream(provider.split_inclusive('L')))] {
        for more in [0, 1_000_000] {
            let redacting = || gateway(|config| config["redaction"] = redaction("tokenize", true, false));
            let gateway = redacting();
            let out =
                run(&gateway, CHAT, &chat(json!([user(&asked)]), is_stream), answer.clone(), Cuts::Whole);
            assert!(String::from_utf8_lossy(&out.body).contains("jane.doe"), "it was restored");
            let next = chat(json!([user(&asked), said(&client), user(NEXT)]), false);
            let anew = counted(&redacting(), CHAT, &next);
            falsify(&gateway, provider, more);
            assert_eq!(counted(&gateway, CHAT, &next), anew + more);
        }
    }
}

/// What is masked comes back masked, which is another text.
#[test]
fn a_masked_answer_is_counted_as_the_client_sends_it() {
    let provider = format!("I wrote to {MAIL}, and to nobody else, that the evening comes when it comes.");
    for (is_stream, answer) in [(false, whole(&provider)), (true, stream(words(&provider)))] {
        let masking = || gateway(|config| config["redaction"] = redaction("mask", true, true));
        let gateway = masking();
        run(&gateway, CHAT, &chat(json!([user(ASKED)]), is_stream), answer, Cuts::Whole);
        let client = provider.replace(MAIL, "[EMAIL]");
        for text in [&client, &provider] {
            let next = chat(json!([user(ASKED), said(text), user(NEXT)]), false);
            let expected = 7 + 2 * 4 + tokens(ASKED) + tokens(&client) + tokens(NEXT);
            assert_eq!(counted(&gateway, CHAT, &next), expected);
            assert_eq!(counted(&masking(), CHAT, &next), expected);
        }
    }
}

fn fragment() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => "[ a-zA-Z']{0,40}",
        2 => "[ \\n\\t\"\\\\/.,0-9]{0,12}",
        2 => "\\PC{0,20}",
        2 => "[一-龠ぁ-ん가-힣😀-😏]{0,20}",
        1 => ("[ a=\\n-]", 1..6_000usize).prop_map(|(one, times)| one.repeat(times)),
    ]
}

/// What the provider said arrives as it likes, and the client sends it back: the count is the same as without memory.
fn equal(fragments: &[String], every: usize, is_stream: bool, cut: usize) {
    let text: String = fragments.concat();
    let pieces: Vec<&str> = match every {
        0 => fragments.iter().map(String::as_str).collect(),
        every => {
            let ends: Vec<usize> =
                text.char_indices().map(|(at, _)| at).step_by(every).chain([text.len()]).collect();
            ends.windows(2).map(|ends| &text[ends[0]..ends[1]]).collect()
        }
    };
    let answer = if is_stream { stream(pieces) } else { whole(&text) };
    let gateway = gateway(|_| {});
    run(&gateway, CHAT, &chat(json!([user(ASKED)]), is_stream), answer, Cuts::Every(cut));
    let plain = tokens(&text);
    assert!(known(&gateway, &text).is_none_or(|known| known == plain));
    // What a counter holds of a long run is more than the run.
    if (64..2048).contains(&text.len()) {
        assert_eq!(known(&gateway, &text), Some(plain));
    }
    let next = chat(json!([user(ASKED), said(&text), user(NEXT)]), false);
    assert_eq!(counted(&gateway, CHAT, &next), 7 + 2 * 4 + tokens(ASKED) + plain + tokens(NEXT));
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(100),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_is_remembered_is_what_is_counted(
        fragments in vec(fragment(), 0..12),
        every in prop_oneof![Just(0), 1..200usize],
        is_stream in any::<bool>(),
        cut in 1..5_000usize,
    ) {
        equal(&fragments, every, is_stream, cut);
    }
}

/// Whether a text as it is written is known as one in which these rules found nothing.
fn searched(gateway: &Gateway, rules: u64, part: Part, text: &str) -> bool {
    let mut seen = gateway.policy.as_ref().unwrap().seen.borrow().clone();
    seen.searched(rules, part as u8, text).is_some_and(|hash| seen.has(hash))
}

#[test]
fn a_text_in_which_nothing_was_found_is_not_searched_again_and_one_with_a_value_always() {
    let gateway = gateway(|config| {
        config["redaction"] = redaction("mask", true, false);
        config["redaction"][0]["when"] = json!({"model": ["m"]});
        let mut other = config["redaction"][0].clone();
        (other["name"], other["find"]) = (json!("other"), json!(["us_ssn"]));
        other["when"] = json!({"model": ["other"]});
        config["redaction"].as_array_mut().unwrap().push(other);
        let mut model = config["models"][0].clone();
        model["name"] = json!("other");
        config["models"].as_array_mut().unwrap().push(model);
        config["tenants"][0]["models"] = json!(["m", "other"]);
    });
    let long = |text: &str| format!("{text} {}", "and so on, as ever ".repeat(20));
    let (clean, ssn, mail) = (long("Be kind."), long("SSN 536-22-8726."), long(MAIL));
    let ask = |model: &str, texts: [&str; 4]| {
        let of = |role: &str, text: &str| json!({"role": role, "content": text});
        let messages =
            [of("system", texts[0]), of("user", texts[1]), of("assistant", texts[2]), of("user", texts[3])];
        let body = json!({"model": model, "messages": messages}).to_string();
        let key = world::headers("/v1/chat/completions", &[("authorization", "Bearer key")]);
        let answers = [world::answer(200, "application/json", "{}")];
        let out = gateway.run(&key, body.as_bytes(), &answers, Cuts::Whole, Cuts::Whole);
        assert_eq!(out.status, 200, "{}", String::from_utf8_lossy(&out.body));
        world::sent_body(&out)["messages"].clone()
    };
    let masked = |text: &str| text.replace(MAIL, "[EMAIL]").replace("536-22-8726", "[US_SSN]");
    for _ in 0..2 {
        let sent = ask("m", [&clean, &ssn, &mail, &clean]);
        assert_eq!(sent[1]["content"], ssn, "the rule looks for mail");
        assert_eq!(sent[2]["content"], masked(&mail));
    }
    assert!(searched(&gateway, 1, Part::Text, &clean) && searched(&gateway, 1, Part::Message, &ssn));
    assert!(
        !searched(&gateway, 1, Part::Message, &clean),
        "the newest message is remembered when it comes again"
    );
    assert!(!searched(&gateway, 1, Part::Text, &mail) && !searched(&gateway, 2, Part::Message, &ssn));
    // Another rule looks for itself, and so does the same one at another place.
    let sent = ask("other", [&clean, &ssn, &mail, &clean]);
    assert_eq!((&sent[1]["content"], &sent[2]["content"]), (&json!(masked(&ssn)), &json!(mail)));
    // That a text is known is believed: nothing is searched twice.
    let mut seen = gateway.policy.as_ref().unwrap().seen.borrow_mut();
    let hash = seen.searched(1, Part::Text as u8, &mail);
    seen.put(hash, 0);
    drop(seen);
    let sent = ask("m", [&mail, &mail, &mail, &mail]);
    let contents = [0, 1, 2, 3].map(|at| sent[at]["content"].clone());
    assert_eq!(contents, [mail.clone(), masked(&mail), mail.clone(), masked(&mail)]);
}
