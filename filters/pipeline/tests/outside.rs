//! Requests whose texts detectors outside are asked about: what they are shown, what becomes of what they find, and
//! what happens when they do not answer. The detector here is a table of names with Presidio's API, whose offsets are
//! Python's: code points.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::panic,
    reason = "tests stop at what they do not expect"
)]

use std::collections::VecDeque;
use std::rc::Rc;

use serde_json::{Value, json};
use weir_config::filter;
use weir_pipeline::io::{Ask, Effect, Headers, Input, Now, Reply, Step};
use weir_pipeline::span::Span;
use weir_pipeline::{Exchange, Policy, outside};

const KEY: &str = "2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683";
const START: u64 = 1_700_000_000_000_000_000;
const MS: u64 = 1_000_000;

fn analyzer(change: impl FnOnce(&mut Value)) -> Value {
    let mut rule = json!({
        "name": "names", "cluster": "weir-analyzer:names", "authority": "names.test", "path": "/analyze",
        "rest": ",\"language\":\"en\",\"entities\":[\"PERSON\"]}", "types": {"PERSON": "person", "LOCATION": "location"},
        "action": "mask", "timeout_ms": 500, "max_text": 1000, "parallel": 8
    });
    change(&mut rule);
    rule
}

fn policy(change: impl FnOnce(&mut Value)) -> Rc<Policy> {
    let mut config = json!({
        "version": "v",
        "identity": {"from": [{"header": "authorization", "scheme": "bearer"}]},
        "tenants": [{"name": "acme", "keys": [{"id": "k", "sha256": KEY}], "models": ["m"]}],
        "providers": [{"name": "p", "cluster": "weir-p", "region": "home"}],
        "models": [{"name": "m", "targets": [{"provider": "p", "model": "gpt-4o", "context": 100_000, "supports": ["tools"]}]}],
        "analyzers": [analyzer(|_| ())]
    });
    change(&mut config);
    let config: filter::Exchange = serde_json::from_value(config).unwrap();
    Rc::new(Policy::new(config).unwrap())
}

/// What came of a request.
struct Outcome {
    /// The client's answer, if it got one here.
    reply: Option<Reply>,
    /// What leaves for the provider.
    body: Value,
    /// What was asked, in turn.
    asked: Vec<Ask>,
    /// Most questions at a time.
    open: usize,
    span: Span,
}

impl Outcome {
    fn text(&self) -> &str {
        assert_eq!(self.reply, None);
        self.body["messages"][0]["content"].as_str().unwrap()
    }

    fn shown(&self) -> Vec<String> {
        let text = |ask: &Ask| -> String {
            serde_json::from_slice::<Value>(&ask.body).unwrap()["text"].as_str().unwrap().to_owned()
        };
        self.asked.iter().map(text).collect()
    }

    fn refused(&self) -> (u16, String, String) {
        let reply = self.reply.as_ref().expect("a refusal");
        let body: Value = serde_json::from_slice(&reply.body).unwrap();
        let said = |field: &str| body["error"][field].as_str().unwrap_or_default().to_owned();
        (reply.status, said("code"), said("message"))
    }
}

type Said = Option<(u16, Vec<u8>)>;
type Detector<'d> = dyn Fn(&Ask) -> Said + 'd;

/// Runs a request; `detector` answers after `late` milliseconds, the last question first.
fn run(policy: &Rc<Policy>, body: &Value, late: u64, detector: &Detector<'_>) -> Outcome {
    run_at(policy, START, body.to_string().as_bytes(), late, detector)
}

fn run_at(policy: &Rc<Policy>, start: u64, body: &[u8], late: u64, detector: &Detector<'_>) -> Outcome {
    let mut exchange = Exchange::new(Some(policy.clone()));
    let (mut effects, mut now) = (Vec::new(), start);
    let headers = [
        (":method", "POST"),
        (":path", "/v1/chat/completions"),
        (":scheme", "http"),
        ("content-type", "application/json"),
        ("authorization", "Bearer key"),
    ];
    let fields: Vec<(&[u8], &[u8])> = headers.iter().map(|(k, v)| (k.as_bytes(), v.as_bytes())).collect();
    let entropy = [11, 22, 33, 44];
    exchange.handle(
        Now(now),
        Input::RequestHeaders { headers: Headers(&fields), end: false, entropy },
        &mut effects,
    );
    let end = Input::RequestBody { body, size: body.len(), end: true };
    let mut step = exchange.handle(Now(now), end, &mut effects);
    let (mut reply, mut sent, mut asked, mut open) = (None, body.to_vec(), Vec::new(), 0);
    let mut waiting: VecDeque<Ask> = VecDeque::new();
    loop {
        for effect in effects.drain(..) {
            match effect {
                Effect::Ask(ask) => {
                    asked.push(ask.clone());
                    waiting.push_front(ask);
                }
                Effect::RequestBody(bytes) => sent = bytes,
                Effect::Reply(said) => reply = Some(said),
                _ => {}
            }
        }
        open = open.max(waiting.len());
        let Some(ask) = waiting.pop_front() else { break };
        if reply.is_none() {
            assert_eq!(step, Step::Pause, "nothing goes on before all have answered");
        }
        now += late * MS;
        let said = detector(&ask);
        let answer = said.as_ref().map(|(status, body)| (*status, body.as_slice()));
        step = exchange.handle(Now(now), Input::Asked { id: ask.id, answer }, &mut effects);
    }
    assert_eq!(reply.is_none(), step == Step::Continue);
    exchange.handle(Now(now), Input::Done { report: None, details: "" }, &mut effects);
    let span = effects.into_iter().find_map(|effect| match effect {
        Effect::Emit(span) => Some(*span),
        _ => None,
    });
    let body = serde_json::from_slice(&sent).unwrap();
    Outcome { reply, body, asked, open, span: span.unwrap() }
}

fn text(ask: &Ask) -> String {
    let body: Value = serde_json::from_slice(&ask.body).unwrap();
    body["text"].as_str().unwrap().to_owned()
}

/// Presidio in miniature: every occurrence of these, in code points.
fn knows(names: &'static [&'static str]) -> impl Fn(&Ask) -> Said {
    move |ask| {
        let text = text(ask);
        let mut found = Vec::new();
        for name in names {
            for (at, _) in text.match_indices(name) {
                let start = text[..at].chars().count();
                found.push(json!({
                    "analysis_explanation": null, "entity_type": "PERSON", "score": 0.85,
                    "start": start, "end": start + name.chars().count()
                }));
            }
        }
        Some((200, Value::from(found).to_string().into_bytes()))
    }
}

fn says(status: u16, body: &'static str) -> impl Fn(&Ask) -> Said {
    move |_| Some((status, body.as_bytes().to_vec()))
}

fn chat(text: &str) -> Value {
    json!({"model": "m", "messages": [{"role": "user", "content": text}]})
}

#[test]
fn what_is_found_outside_is_hidden_like_everything_that_is_found() {
    let body = chat("Ask Ann Lee, not Ann Lees; Bob too.");
    for (action, out) in [
        ("mask", "Ask [PERSON], not [PERSON]s; [PERSON] too."),
        ("tokenize", "Ask [PERSON_1], not [PERSON_1]s; [PERSON_2] too."),
        ("report", "Ask Ann Lee, not Ann Lees; Bob too."),
    ] {
        let policy = policy(|config| config["analyzers"][0]["action"] = json!(action));
        let outcome = run(&policy, &body, 1, &knows(&["Ann Lee", "Bob"]));
        assert_eq!(outcome.text(), out);
        assert_eq!(outcome.span.findings, [("person".to_owned(), 3)]);
    }
    let policy = policy(|config| config["analyzers"][0]["action"] = json!("block"));
    let outcome = run(&policy, &body, 1, &knows(&["Bob"]));
    let (status, code, message) = outcome.refused();
    assert_eq!((status, code.as_str()), (403, "content_blocked"));
    assert!(message.contains("`person`") && !message.contains("Bob"), "{message}");
}

#[test]
fn digests_have_the_tenants_key() {
    let policy = policy(|config| {
        config["analyzers"][0]["action"] = json!("hash");
        config["tenants"][0]["digest_key"] = json!("0b".repeat(32));
    });
    let outcome = run(&policy, &chat("to Ann"), 1, &knows(&["Ann"]));
    // Python: hmac.new(b"\x0b" * 32, b"PERSON\0ann", "sha256").hexdigest()[:16]
    assert_eq!(outcome.text(), "to [PERSON:78b6bb8098ebb79f]");
}

#[test]
fn a_detector_is_asked_as_presidios_api_has_it() {
    let outcome = run(&policy(|_| ()), &chat("He said \"Ann\"\n\u{1}"), 1, &knows(&[]));
    assert_eq!(outcome.asked.len(), 1);
    let ask = &outcome.asked[0];
    assert_eq!(
        (ask.cluster.as_str(), ask.authority.as_str(), ask.path.as_str(), ask.timeout_ms),
        ("weir-analyzer:names", "names.test", "/analyze", 500)
    );
    let body: Value = serde_json::from_slice(&ask.body).unwrap();
    assert_eq!(body, json!({"text": "He said \"Ann\"\n\u{1}", "language": "en", "entities": ["PERSON"]}));
}

#[test]
fn offsets_count_code_points_whatever_their_bytes() {
    for around in ["", "é", "日本語", "👩‍👩‍👧 ", "𝕏𝕐𝕫", "e\u{301}", "\u{10ffff}", "\\\"\n"]
    {
        for name in ["Ann", "Zoë", "李雷", "🎉"] {
            let names: &'static [&'static str] = Box::leak(Box::new([name]));
            let body = chat(&format!("{around}{name}{around} {name}"));
            let outcome = run(&policy(|_| ()), &body, 1, &knows(names));
            assert_eq!(outcome.text(), format!("{around}[PERSON]{around} [PERSON]"));
        }
    }
    // Written as surrogate pairs, which are one code point each.
    let body =
        br#"{"model":"m","messages":[{"role":"user","content":"\ud83d\ude00 to \u0041nn \ud83d\ude00"}]}"#;
    let outcome = run_at(&policy(|_| ()), START, body, 1, &knows(&["Ann"]));
    assert_eq!(outcome.text(), "😀 to [PERSON] 😀");
}

#[test]
fn detectors_outside_see_nothing_that_was_found_here_and_both_are_merged() {
    let rule = |action: &str| {
        policy(|config| {
            config["redaction"] =
                json!([{"name": "r", "find": ["email"], "action": action, "request": true}]);
        })
    };
    let body = chat("From Ann <ann@x.org> to Ben Ann");
    let outcome = run(&rule("tokenize"), &body, 1, &knows(&["Ann"]));
    assert_eq!(outcome.shown(), ["From Ann <[EMAIL]> to Ben Ann"]);
    assert_eq!(outcome.text(), "From [PERSON] <[EMAIL_1]> to Ben [PERSON]");
    // One that overlaps is one finding, and the strictest wins.
    let outcome = run(&rule("tokenize"), &body, 1, &knows(&["Ann <[EMAIL]>"]));
    assert_eq!(outcome.text(), "From [PERSON] to Ben Ann");
    assert_eq!(outcome.span.findings, [("email".to_owned(), 1), ("person".to_owned(), 1)]);
    // What blocks here is shown to nobody.
    let outcome = run(&rule("block"), &body, 1, &knows(&["Ann"]));
    assert_eq!((outcome.refused().0, outcome.asked.len()), (403, 0));
}

#[test]
fn every_text_of_a_request_is_shown_once_and_what_programs_call_things_is_not() {
    let body = json!({
        "model": "m",
        "messages": [
            {"role": "system", "content": "sys"},
            {"role": "user", "content": [{"type": "text", "text": "part"}, {"type": "text", "text": "part"}]},
            {"role": "assistant", "content": null, "tool_calls": [{"id": "c", "type": "function", "function":
                {"name": "mail", "arguments": "{\"to\":\"Ann \\\"A\\\" Lee\",\"firstName\":\"Ann\"}"}}]},
            {"role": "tool", "tool_call_id": "c", "content": "- 12 ??"}
        ],
        "tools": [{"type": "function", "function": {"name": "mail", "description": "mails",
            "parameters": {"type": "object", "properties": {"Full Name": {"type": "string"}, "homeTown": {"type": "string"}}}}}]
    });
    let outcome = run(&policy(|_| ()), &body, 1, &knows(&["Ann", "Full Name", "homeTown", "firstName"]));
    let mut shown = outcome.shown();
    shown.sort();
    let function = |body: &serde_json::Value| body["tools"][0]["function"]["parameters"].clone();
    let schema = function(&body).to_string();
    for text in ["sys", "part", "mails", schema.as_str(), "Ann \"A\" Lee", "- 12 ??"] {
        assert_eq!(shown.iter().filter(|one| *one == text).count(), 1, "{text}: {shown:?}");
    }
    let mut expected = function(&body);
    let properties = expected["properties"].as_object_mut().unwrap();
    let name = properties.remove("Full Name").unwrap();
    properties.insert("[PERSON]".to_owned(), name);
    assert_eq!(function(&outcome.body), expected);
    let arguments = &outcome.body["messages"][2]["tool_calls"][0]["function"]["arguments"];
    assert_eq!(*arguments, json!("{\"to\":\"[PERSON] \\\"A\\\" Lee\",\"firstName\":\"[PERSON]\"}"));
}

#[test]
fn a_document_in_a_text_stays_one_whatever_is_found_in_it() {
    for (found, out) in [
        (r#"Ann","b":"Bob"#, r#"{"a":"[PERSON]","b":"[PERSON]","c":7}"#),
        (r#""a":"Ann""#, r#"{"a":"[PERSON]","b":"Bob","c":7}"#),
        (r#"Bob","c":7}"#, r#"{"a":"Ann","b":"[PERSON]","c":7}"#),
        (r#"7"#, r#"{"a":"Ann","b":"Bob","c":7}"#),
    ] {
        let names: &'static [&'static str] = Box::leak(Box::new([found]));
        let outcome = run(&policy(|_| ()), &chat(r#"{"a":"Ann","b":"Bob","c":7}"#), 1, &knows(names));
        assert_eq!(outcome.text(), out, "{found}");
    }
}

#[test]
fn without_an_answer_nothing_is_sent_unless_the_policy_lets_it_pass() {
    let body = chat("to Ann");
    let cases: [(&Detector, &str); 12] = [
        (&|_| None, "cannot be reached"),
        (&says(503, "upstream connect error"), "cannot be reached"),
        (&says(504, ""), "did not answer in time"),
        (&says(500, r#"{"error":"No text provided"}"#), "refused to look at it"),
        (&says(200, ""), "an answer that is none"),
        (&says(200, "[{\"start\":3"), "an answer that is none"),
        (&says(200, "{}"), "an answer that is none"),
        (&says(200, "[{\"start\":3,\"end\":6}]"), "an answer that is none"),
        (&says(200, r#"[{"start":3,"end":7,"entity_type":"PERSON","score":1}]"#), "an answer that is none"),
        (&says(200, r#"[{"start":5,"end":3,"entity_type":"PERSON","score":1}]"#), "an answer that is none"),
        (&says(200, r#"[{"start":-1,"end":3,"entity_type":"PERSON"}]"#), "an answer that is none"),
        (&says(200, r#"[{"start":3,"end":1e99,"entity_type":"PERSON"}]"#), "an answer that is none"),
    ];
    for (detector, why) in cases {
        let outcome = run(&policy(|_| ()), &body, 1, detector);
        let (status, code, message) = outcome.refused();
        assert_eq!((status, code.as_str()), (503, "detector_unavailable"));
        assert!(
            message.contains("`names`") && message.contains(why) && !message.contains("Ann"),
            "{message}"
        );
        let retry = outcome.reply.unwrap().headers.iter().any(|(name, _)| *name == "retry-after");
        assert!(retry && outcome.span.error.as_deref() == Some("detector_unavailable"));

        let pass = policy(|config| config["analyzers"][0]["pass"] = json!(true));
        let outcome = run(&pass, &body, 1, detector);
        assert_eq!(outcome.text(), "to Ann", "{why}");
        let marked = outcome.span.events.iter().any(|event| format!("{event:?}").contains("weir.unsearched"));
        assert!(marked, "what passes unseen is marked: {:?}", outcome.span.events);
    }
}

#[test]
fn a_connection_that_broke_is_tried_once_more_and_no_more() {
    let count = std::cell::Cell::new(0);
    let flaky = |ask: &Ask| {
        count.set(count.get() + 1);
        if count.get() == 1 { Some((503, Vec::new())) } else { knows(&["Ann"])(ask) }
    };
    assert_eq!(run(&policy(|_| ()), &chat("to Ann"), 1, &flaky).text(), "to [PERSON]");
    assert_eq!(count.get(), 2);
    let outcome = run(&policy(|_| ()), &chat("to Ann"), 1, &says(503, ""));
    assert_eq!((outcome.refused().0, outcome.asked.len()), (503, 2));
}

#[test]
fn no_more_are_open_at_a_time_than_allowed_and_all_share_the_time() {
    let messages: Vec<Value> =
        (0..20).map(|n| json!({"role": "user", "content": format!("text {n} of Ann")})).collect();
    let body = json!({"model": "m", "messages": messages});
    let three = policy(|config| config["analyzers"][0]["parallel"] = json!(3));
    let outcome = run(&three, &body, 10, &knows(&["Ann"]));
    assert_eq!((outcome.asked.len(), outcome.open), (20, 3));
    assert!((0..20).all(|n| outcome.body["messages"][n]["content"] == format!("text {n} of [PERSON]")));
    // What is left of the time gets less with every question, and then it is over.
    let times: Vec<u32> = outcome.asked.iter().map(|ask| ask.timeout_ms).collect();
    assert!(times.is_sorted_by(|a, b| a >= b) && times[19] <= 500 - 170, "{times:?}");
    let three = policy(|config| config["analyzers"][0]["parallel"] = json!(3));
    let outcome = run(&three, &body, 100, &knows(&["Ann"]));
    let (status, _, message) = outcome.refused();
    assert!(status == 503 && message.contains("did not answer in time"), "{message}");
    assert!(outcome.asked.len() < 20);
}

#[test]
fn what_was_seen_is_not_shown_again_until_it_is_old() {
    let policy = policy(|_| ());
    let detector = knows(&["Ann"]);
    let mut messages = vec![json!({"role": "user", "content": "I am Ann."})];
    for turn in 0..3 {
        let body = json!({"model": "m", "messages": messages});
        let outcome = run(&policy, &body, 1, &detector);
        assert_eq!(outcome.text(), "I am [PERSON].");
        assert_eq!(outcome.shown().len(), if turn == 0 { 1 } else { 2 }, "the new texts only");
        messages.push(json!({"role": "assistant", "content": format!("Answer {turn}")}));
        messages.push(json!({"role": "user", "content": format!("Question {turn}")}));
    }
    let body = json!({"model": "m", "messages": &messages[..1]});
    assert_eq!(run(&policy, &body, 1, &|_| panic!("known")).text(), "I am [PERSON].");
    let later = START + 601_000 * MS;
    let outcome = run_at(&policy, later, body.to_string().as_bytes(), 1, &detector);
    assert_eq!((outcome.asked.len(), outcome.text()), (1, "I am [PERSON]."));
    // A failure is not remembered.
    let body = chat("You are Ann");
    assert_eq!(run(&policy, &body, 1, &|_| None).refused().0, 503);
    assert_eq!(run(&policy, &body, 1, &detector).text(), "You are [PERSON]");
}

#[test]
fn boundaries_hold_for_detectors_too() {
    let inside = |boundary: Value, pass: bool| {
        policy(|config| {
            config["boundaries"] = json!([boundary]);
            config["analyzers"][0]["region"] = json!("abroad");
            config["analyzers"][0]["pass"] = json!(pass);
            config["redaction"] =
                json!([{"name": "r", "find": ["email"], "action": "report", "request": true}]);
        })
    };
    let body = chat("Ann, ann@x.org");
    let home = json!({"name": "home", "when": {"found": ["email"]}, "regions": ["home"]});
    let outcome = run(&inside(home.clone(), false), &body, 1, &knows(&["Ann"]));
    assert!(outcome.refused().2.contains("outside of the boundaries"));
    assert_eq!(outcome.asked.len(), 0);
    let outcome = run(&inside(home.clone(), true), &body, 1, &knows(&["Ann"]));
    assert_eq!((outcome.text(), outcome.asked.len()), ("Ann, ann@x.org", 0));
    assert_eq!(run(&inside(home, false), &chat("Ann"), 1, &knows(&["Ann"])).text(), "[PERSON]");
    let named = json!({"name": "n", "providers": ["p", "names"]});
    assert_eq!(run(&inside(named, false), &chat("Ann"), 1, &knows(&["Ann"])).text(), "[PERSON]");
    let other = json!({"name": "n", "providers": ["p"]});
    assert_eq!(run(&inside(other, false), &chat("Ann"), 1, &knows(&["Ann"])).refused().0, 503);
}

#[test]
fn a_boundary_of_a_model_holds_for_detectors_whatever_the_client_calls_the_model() {
    let policy = policy(|config| {
        config["models"][0]["aliases"] = json!(["m-latest"]);
        config["boundaries"] = json!([{"name": "home", "when": {"model": ["m"]}, "regions": ["home"]}]);
        config["analyzers"][0]["region"] = json!("abroad");
    });
    for name in ["m", "m-latest"] {
        let mut body = chat("Ann");
        body["model"] = json!(name);
        let outcome = run(&policy, &body, 1, &knows(&["Ann"]));
        assert_eq!((outcome.refused().0, outcome.asked.len()), (503, 0), "{name}");
    }
}

#[test]
fn a_text_too_long_is_not_shown() {
    let long = chat(&"Ann ".repeat(251));
    let outcome = run(&policy(|_| ()), &long, 1, &knows(&["Ann"]));
    let (status, _, message) = outcome.refused();
    assert!(status == 503 && message.contains("at most 1000 bytes"), "{message}");
    assert_eq!(outcome.asked.len(), 0);
    assert_eq!(run(&policy(|_| ()), &chat(&"Ann ".repeat(250)), 1, &knows(&["Ann"])).asked.len(), 1);
}

#[test]
fn only_requests_that_match_are_shown_and_of_several_detectors_the_strictest_wins() {
    let policy = policy(|config| {
        config["analyzers"] = json!([
            analyzer(|rule| rule["action"] = json!("tokenize")),
            analyzer(|rule| {
                rule["name"] = json!("other");
                rule["cluster"] = json!("other");
            }),
            analyzer(|rule| {
                rule["cluster"] = json!("never");
                rule["when"] = json!({"tenant": ["globex"]});
            }),
            analyzer(|rule| {
                rule["cluster"] = json!("never");
                rule["when"] = json!({"model": ["another"]});
            }),
        ]);
    });
    let detector = |ask: &Ask| match ask.cluster.as_str() {
        "other" => knows(&["Ann Lee"])(ask),
        "weir-analyzer:names" => knows(&["Ann", "Bob"])(ask),
        other => panic!("{other} is asked"),
    };
    let outcome = run(&policy, &chat("Ann Lee and Bob"), 1, &detector);
    assert_eq!((outcome.text(), outcome.asked.len()), ("[PERSON] and [PERSON_1]", 2));
}

#[test]
fn a_client_that_leaves_while_it_waits_is_told_apart() {
    let policy = policy(|_| ());
    let mut exchange = Exchange::new(Some(policy));
    let mut effects = Vec::new();
    let fields: [(&[u8], &[u8]); 4] = [
        (b":method", b"POST"),
        (b":path", b"/v1/chat/completions"),
        (b"content-type", b"application/json"),
        (b"authorization", b"Bearer key"),
    ];
    let input = Input::RequestHeaders { headers: Headers(&fields), end: false, entropy: [1, 2, 3, 4] };
    exchange.handle(Now(START), input, &mut effects);
    let body = chat("Ann").to_string();
    let input = Input::RequestBody { body: body.as_bytes(), size: body.len(), end: true };
    assert_eq!(exchange.handle(Now(START), input, &mut effects), Step::Pause);
    // Hosts report an end twice.
    let input = Input::RequestBody { body: body.as_bytes(), size: body.len(), end: true };
    assert_eq!(exchange.handle(Now(START), input, &mut effects), Step::Pause);
    exchange.handle(Now(START), Input::Done { report: None, details: "" }, &mut effects);
    let span = effects.iter().find_map(|effect| match effect {
        Effect::Emit(span) => Some(span.error.clone()),
        _ => None,
    });
    assert_eq!(span.unwrap().as_deref(), Some("client_gone"));
    // Nobody waits for the answer any more.
    let input = Input::Asked { id: 0, answer: Some((200, b"[]")) };
    assert_eq!(exchange.handle(Now(START), input, &mut effects), Step::Pause);
}

#[test]
fn answers_are_read_whatever_stands_beside_what_is_asked_and_types_nobody_asked_for_are_left_out() {
    let rule: filter::Analyzer = serde_json::from_value(analyzer(|_| ())).unwrap();
    let said = r#"[
        {"analysis_explanation": {"recognizer": "SpacyRecognizer", "pattern": "\\b\u00e9", "score": 0.85},
         "end": 2, "entity_type": "PERSON", "recognition_metadata": {"x": [1]}, "score": 0.85, "start": 0},
        {"end": 3, "entity_type": "DATE_TIME", "score": 0.6, "start": 1}
    ]"#;
    let hits = outside::answer(&rule, "éüx", said.as_bytes()).unwrap();
    assert_eq!(hits.len(), 1);
    assert_eq!((hits[0].kind.name(), hits[0].range.clone()), ("person", 0..4));
    for cut in 0..said.len() {
        assert!(said.get(..cut).is_none_or(|part| outside::answer(&rule, "éüx", part.as_bytes()).is_none()));
    }
}
