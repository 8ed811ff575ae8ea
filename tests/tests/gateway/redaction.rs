//! Personal data never reaches a provider and comes back exactly: the provider's book is searched for every piece
//! of four bytes of each planted value, the echo is compared to the byte, whatever way the answer is cut.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use weir_tests::harness::{Answer, Client};
use weir_tests::sim::{Behaviour, Chunking, Record, ReplyKind};

use crate::chat::chat;
use crate::policy::{BEDROCK_FIRST, OTHER_KEY, VLLM_FIRST};
use crate::setup::Gateway;

/// Values of which no four bytes stand in a request by nature.
const EMAIL: &str = "zqxvkw.jyt+qq@wqzrfjx.net";
const OTHER_EMAIL: &str = "übung-qkz@grüße-vjq.de";
const CARD: &str = "4539 1488 0343 6467";
const SSN: &str = "536-22-8726";
const WORD: &str = "Kqüvzbird \"Wxjq\"";
const ALL: [&str; 5] = [EMAIL, OTHER_EMAIL, CARD, SSN, WORD];

/// What the client writes: values beside text that must survive, and words that look like Weir's own.
fn text() -> String {
    format!(
        "Write to {EMAIL}, or <{OTHER_EMAIL}>; pay with {CARD} (again: {CARD}). SSN: {SSN}.\n\
         {WORD} is secret. [EMAIL_000001] and [EMAIL_1] were typed by hand; 👩‍👩‍👧 ends it: {EMAIL}"
    )
}

async fn start(name: &str, action: &str) -> Arc<Gateway> {
    let gateway = Gateway::with(name, |plan, _| {
        plan.policy["redaction"] = json!([
            {"name": "people", "find": ["email", "us_ssn", "credit_card"], "do": action, "in": "request", "on_failure": "deny"},
            {"name": "house", "words": [WORD], "do": action, "in": "request"},
            {"name": "answers", "when": {"tenant": "globex"}, "find": ["email", "us_ssn", "credit_card"],
             "do": "mask", "in": "response"},
        ]);
    })
    .await;
    Arc::new(gateway)
}

fn chunkings() -> Vec<Chunking> {
    vec![
        Chunking::Event,
        Chunking::Fixed(1),
        Chunking::Fixed(2),
        Chunking::Fixed(5),
        Chunking::Fixed(16 << 10),
        Chunking::Hostile,
        Chunking::Random { min: 1, max: 9, seed: 1 },
        Chunking::Random { min: 1, max: 60, seed: 2 },
    ]
}

/// No four bytes of a value in the body as it came, nor in any of its strings once read.
fn clean(record: &Record) {
    let mut texts = vec![record.body.clone().expect("UTF-8")];
    strings(&record.json(), &mut texts, 0);
    for text in &texts {
        for value in ALL {
            for piece in value.as_bytes().windows(4) {
                let leaked = text.as_bytes().windows(4).any(|window| window == piece);
                assert!(!leaked, "{:?} of {value:?} in {text}", String::from_utf8_lossy(piece));
            }
        }
    }
}

/// Every string, and those inside of strings that are JSON themselves.
fn strings(value: &Value, out: &mut Vec<String>, depth: usize) {
    match value {
        Value::String(text) => {
            out.push(text.clone());
            if depth < 3
                && let Ok(inner) = serde_json::from_str::<Value>(text)
            {
                strings(&inner, out, depth + 1);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| strings(item, out, depth)),
        Value::Object(members) => members.values().for_each(|member| strings(member, out, depth)),
        _ => {}
    }
}

fn last(gateway: &Gateway, model: &str) -> Record {
    let server = if model == VLLM_FIRST { gateway.vllm() } else { &gateway.bedrock };
    server.book().last().expect("the provider was asked")
}

/// Text and tool arguments of an answer, streamed or not, put together.
fn heard(answer: &Answer, stream: bool) -> (String, Vec<String>) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let (mut text, mut arguments) = (String::new(), Vec::<String>::new());
    let mut take = |part: &Value| {
        text += part["content"].as_str().unwrap_or_default();
        for (at, call) in part["tool_calls"].as_array().into_iter().flatten().enumerate() {
            let index = call["index"].as_u64().map_or(at, |index| index as usize);
            arguments.resize(arguments.len().max(index + 1), String::new());
            arguments[index] += call["function"]["arguments"].as_str().unwrap_or_default();
        }
    };
    if !stream {
        take(&answer.json()["choices"][0]["message"]);
        return (text, arguments);
    }
    let events = answer.text();
    assert!(events.trim_end().ends_with("data: [DONE]"), "{events}");
    for data in events.lines().filter_map(|line| line.strip_prefix("data: {")) {
        let chunk: Value =
            serde_json::from_str(&format!("{{{data}")).unwrap_or_else(|e| panic!("{e}: {data}"));
        assert!(chunk.get("error").is_none(), "{chunk}");
        take(&chunk["choices"][0]["delta"]);
    }
    (text, arguments)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_echo_comes_back_exactly_and_the_provider_saw_nothing_of_it() {
    let gateway = start("redaction-echo", "tokenize").await;
    let mut count = 0;
    for model in [VLLM_FIRST, BEDROCK_FIRST] {
        for stream in [false, true] {
            for chunking in chunkings() {
                let echo = Behaviour {
                    reply: Some(ReplyKind::Echo),
                    chunking: Some(chunking.clone()),
                    ..Behaviour::default()
                };
                let server = if model == VLLM_FIRST { gateway.vllm() } else { &gateway.bedrock };
                server.always(echo);
                let answer = gateway.client().chat(chat(model, &text(), stream).to_string()).await;
                let (heard, _) = heard(&answer, stream);
                assert_eq!(heard, text(), "{model}, stream {stream}, {chunking:?}");
                clean(&last(&gateway, model));
                count += 1;
            }
        }
    }
    println!("{count} echoes exact, none of {} values seen by a provider", ALL.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_come_back_inside_of_tool_arguments_as_json() {
    let gateway = start("redaction-tools", "tokenize").await;
    let tools = json!([{"type": "function", "function": {
        "name": "note", "description": "Notes a text.",
        "parameters": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
    }}]);
    for model in [VLLM_FIRST, BEDROCK_FIRST] {
        for stream in [false, true] {
            for chunking in [Chunking::Event, Chunking::Fixed(1), Chunking::Hostile] {
                let echo = Behaviour {
                    reply: Some(ReplyKind::Echo),
                    chunking: Some(chunking),
                    ..Behaviour::default()
                };
                let server = if model == VLLM_FIRST { gateway.vllm() } else { &gateway.bedrock };
                server.always(echo);
                let mut body = chat(model, &text(), stream);
                body["tools"] = tools.clone();
                body["tool_choice"] = json!("required");
                let answer = gateway.client().chat(body.to_string()).await;
                let (_, arguments) = heard(&answer, stream);
                assert!(!arguments.is_empty(), "{}", answer.text());
                for arguments in arguments {
                    let read: Value =
                        serde_json::from_str(&arguments).unwrap_or_else(|e| panic!("{e}: {arguments}"));
                    assert_eq!(read["text"], text(), "{model}, stream {stream}");
                }
                clean(&last(&gateway, model));
            }
        }
    }
}

/// A text whose signs are written otherwise.
fn coded(text: &str, otherwise: fn(char) -> String) -> String {
    let one = |c: char| if c.is_alphanumeric() { c.into() } else { otherwise(c) };
    text.chars().map(one).collect()
}

/// Every place of a request in which a client can put a text, written as plainly and as oddly as JSON allows.
fn places(model: &str) -> Vec<(&'static str, String)> {
    let escaped = |text: &str| -> String {
        // Every character as an escape of its own.
        text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect()
    };
    let message = |content: &str| {
        format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":{content}}}]}}"#)
    };
    let all = ALL.map(str::to_owned).join("; ");
    let quoted = json!(all).to_string();
    let history = |arguments: &str, result: &str| {
        format!(
            r#"{{"model":"{model}","messages":[{{"role":"user","content":"Go on."}},{{"role":"assistant","content":null,
            "tool_calls":[{{"id":"call_1","type":"function","function":{{"name":"note","arguments":{arguments}}}}}]}},
            {{"role":"tool","tool_call_id":"call_1","content":{result}}}],
            "tools":[{{"type":"function","function":{{"name":"note","parameters":{{"type":"object"}}}}}}]}}"#
        )
    };
    let inner = json!({"text": all, "deep": [{"mail": EMAIL}]}).to_string();
    let odd_inner =
        format!(r#"{{"text":"{}","mail":"{}"}}"#, escaped(&all), OTHER_EMAIL.replace('@', "\\u0040"));
    vec![
        ("string", message(&quoted)),
        ("escaped string", message(&format!("\"{}\"", escaped(&all)))),
        ("one escape", message(&format!("\"{}\"", EMAIL.replace('@', "\\u0040")))),
        ("as URLs write it", message(&json!(coded(&all, |c| format!("%{:02X}", u32::from(c)))).to_string())),
        ("as HTML writes it", message(&json!(coded(&all, |c| format!("&#{};", u32::from(c)))).to_string())),
        (
            "as source code writes it",
            message(&json!(format!("print(\"Of them:\\n{}\")", all.replace("; ", "\\n\\t"))).to_string()),
        ),
        (
            "as a log of JSON has it",
            message(&json!(format!("INFO {}", json!({"said": all.replace('@', "\\u0040")}))).to_string()),
        ),
        (
            "content part",
            message(&format!(r#"[{{"type":"text","text":"Look:"}},{{"type":"text","text":{quoted}}}]"#)),
        ),
        (
            "system",
            format!(
                r#"{{"model":"{model}","messages":[{{"role":"system","content":{quoted}}},{{"role":"user","content":"Hi."}}]}}"#
            ),
        ),
        (
            "assistant",
            format!(
                r#"{{"model":"{model}","messages":[{{"role":"user","content":"Hi."}},{{"role":"assistant","content":{quoted}}},
                {{"role":"user","content":"Again."}}]}}"#
            ),
        ),
        ("tool arguments", history(&json!(inner).to_string(), "\"done\"")),
        ("escaped tool arguments", history(&json!(odd_inner).to_string(), "\"done\"")),
        ("tool result", history("\"{}\"", &json!(all).to_string())),
        ("tool result that is JSON", history("\"{}\"", &json!(inner).to_string())),
        ("tool result that is odd JSON", history("\"{}\"", &json!(odd_inner).to_string())),
        ("tool result in parts", history("\"{}\"", &format!(r#"[{{"type":"text","text":{quoted}}}]"#))),
        (
            "tool description",
            format!(
                r#"{{"model":"{model}","messages":[{{"role":"user","content":"Hi."}}],"tools":[{{"type":"function",
                "function":{{"name":"note","description":{quoted},"parameters":{{"type":"object","properties":{{"a":{{
                "type":"string","description":{quoted},"enum":[{quoted}]}}}}}}}}}}]}}"#
            ),
        ),
        (
            "unknown field",
            message("\"Hi.\"").replacen('{', &format!(r#"{{"notes":{{"mine":[{quoted}]}},"#), 1),
        ),
        (
            "names of members",
            format!(
                r#"{{"model":"{model}","messages":[{{"role":"user","content":"Hi."}}],"tools":[{{"type":"function",
                "function":{{"name":"note","parameters":{{"type":"object","properties":{{{}:{{"type":"string"}}}}}}}}}}]}}"#,
                json!(EMAIL)
            ),
        ),
        ("user", message("\"Hi.\"").replacen('{', &format!(r#"{{"user":{},"#, json!(EMAIL)), 1)),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_place_and_no_spelling_lets_a_value_through() {
    for action in ["tokenize", "mask"] {
        let gateway = start(&format!("redaction-{action}"), action).await;
        let mut failures = Vec::new();
        for model in [VLLM_FIRST, BEDROCK_FIRST] {
            for (place, body) in places(model) {
                let sent: Value =
                    serde_json::from_str(&body).unwrap_or_else(|e| panic!("{place}: {e}: {body}"));
                let seen = |gateway: &Gateway| {
                    gateway.vllm().book().totals().requests + gateway.bedrock.book().totals().requests
                };
                let before = seen(&gateway);
                let answer = gateway.client().chat(body).await;
                if answer.status != 200 {
                    // vLLM refuses fields that it does not know; Weir's own refusals would be a bug.
                    if seen(&gateway) == before || place != "unknown field" {
                        failures.push(format!("{action}, {model}, {place}: {} to {sent}", answer.text()));
                    }
                }
                let record = last(&gateway, model);
                if let Err(why) = std::panic::catch_unwind(|| clean(&record)) {
                    let why = why.downcast_ref::<String>().cloned().unwrap_or_default();
                    failures.push(format!("{action}, {model}, {place}: {why}"));
                }
            }
        }
        assert!(failures.is_empty(), "{}", failures.join("\n"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_blocks_is_refused_by_type_and_nothing_is_sent() {
    let gateway = start("redaction-block", "block").await;
    for model in [VLLM_FIRST, BEDROCK_FIRST] {
        for (place, body) in places(model) {
            let answer = gateway.client().chat(body).await;
            assert_eq!(answer.status, 403, "{place}: {}", answer.text());
            assert_eq!(answer.json()["error"]["code"], "content_blocked", "{place}: {}", answer.text());
            for value in ALL {
                let told = value
                    .as_bytes()
                    .windows(4)
                    .any(|piece| answer.body.windows(4).any(|window| window == piece));
                assert!(!told, "{place}: the refusal quotes {value}: {}", answer.text());
            }
        }
    }
    let asked = gateway.vllm().book().totals().requests + gateway.bedrock.book().totals().requests;
    assert_eq!(asked, 0, "a provider was asked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_provider_says_is_masked_however_it_is_cut() {
    let gateway = start("redaction-answers", "tokenize").await;
    let said = format!(
        "You can reach Ana at {EMAIL}; her card is {CARD}, and {OTHER_EMAIL} too. SSN: {SSN}. Bye 👋"
    );
    let mut running = JoinSet::new();
    for model in [VLLM_FIRST, BEDROCK_FIRST] {
        for chunking in chunkings() {
            for stream in [false, true] {
                let fixed = Behaviour {
                    reply: Some(ReplyKind::Fixed(said.clone())),
                    chunking: Some(chunking.clone()),
                    ..Behaviour::default()
                };
                let server = if model == VLLM_FIRST { gateway.vllm() } else { &gateway.bedrock };
                server.next(fixed);
                let client = Client::new(gateway.ports.gateway, OTHER_KEY);
                let answer = client.chat(chat(model, "Who is Ana?", stream).to_string()).await;
                let chunking = chunking.clone();
                running.spawn(async move {
                    let (heard, _) = heard(&answer, stream);
                    let expected = "You can reach Ana at [EMAIL]; her card is [CREDIT_CARD], and [EMAIL] too. SSN: [US_SSN]. Bye 👋";
                    assert_eq!(heard, expected, "{model}, {chunking:?}, stream {stream}");
                });
            }
        }
    }
    while let Some(done) = running.join_next().await {
        done.expect("masked");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_digest_is_one_value_s_in_both_directions_and_one_tenant_s() {
    let secret = std::env::temp_dir().join(format!("weir-digest-{}", std::process::id()));
    std::fs::write(&secret, "a secret of twenty-five bytes\n").expect("a temporary file");
    let gateway = Gateway::with("redaction-hash", |plan, _| {
        let rule = |name: &str, part: Value| {
            let mut rule =
                json!({"name": name, "do": "hash", "key": {"file": secret}, "in": ["request", "response"]});
            rule.as_object_mut().expect("an object").extend(part.as_object().expect("an object").clone());
            rule
        };
        plan.policy["redaction"] = json!([
            rule("people", json!({"find": ["email", "credit_card"]})),
            rule("tickets", json!({"patterns": ["\\bTCK-[0-9]{4,6}\\b"]})),
        ]);
    })
    .await;
    let text = format!("Mail {EMAIL}; {CARD}, or {}; see TCK-48151 and TCK-4815162.", CARD.replace(' ', "-"));
    let part = |text: &str, from: &str| {
        let at = text.find(from).unwrap_or_else(|| panic!("{from} in {text}"));
        text[at..at + text[at..].find(']').expect("a digest ends")].to_owned()
    };
    let mut digests = Vec::new();
    for key in [crate::policy::KEY, OTHER_KEY] {
        for stream in [false, true] {
            for chunking in chunkings() {
                let server = gateway.vllm();
                server.next(Behaviour {
                    reply: Some(ReplyKind::Fixed(text.clone())),
                    chunking: Some(chunking.clone()),
                    ..Behaviour::default()
                });
                let client = Client::new(gateway.ports.gateway, key);
                let answer = client.chat(chat(VLLM_FIRST, &text, stream).to_string()).await;
                let (heard, _) = heard(&answer, stream);
                let record = server.book().last().expect("asked");
                let sent = record.json()["messages"][0]["content"].as_str().expect("text").to_owned();
                assert_eq!(heard, sent, "{chunking:?}, stream {stream}");
                for value in [EMAIL, CARD, "TCK-48151 "] {
                    assert!(!sent.contains(value), "{value} in {sent}");
                }
                assert!(sent.contains("TCK-4815162"), "{sent}");
                let (first, second) = (sent.find("[CREDIT_CARD:"), sent.rfind("[CREDIT_CARD:"));
                let (first, second) = (first.expect("a card"), second.expect("a card"));
                assert_ne!(first, second);
                assert_eq!(part(&sent[first..], "[CREDIT_CARD:"), part(&sent[second..], "[CREDIT_CARD:"));
                digests.push((key, part(&sent, "[EMAIL:"), part(&sent, "[PATTERN:")));
            }
        }
    }
    digests.dedup();
    assert_eq!(digests.len(), 2, "{digests:?}");
    assert!(digests[0].1 != digests[1].1 && digests[0].2 != digests[1].2, "{digests:?}");
    let _ = std::fs::remove_file(secret);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_cannot_be_searched_is_refused_unless_the_policy_says_otherwise() {
    let gateway = Gateway::with("redaction-failure", |plan, _| {
        plan.policy["redaction"] = json!([
            {"name": "strict", "when": {"tenant": "acme"}, "find": ["email"], "do": "mask", "in": "response"},
            {"name": "lax", "when": {"tenant": "globex"}, "find": ["email"], "do": "mask", "in": "response",
             "on_failure": "pass"},
        ]);
    })
    .await;
    for stream in [false, true] {
        for (key, status) in [(crate::policy::KEY, 502), (OTHER_KEY, 200)] {
            let encoded = Behaviour {
                reply: Some(ReplyKind::Fixed(format!("It is {EMAIL}."))),
                gzip: Some(true),
                ..Behaviour::default()
            };
            gateway.vllm().always(encoded);
            let client = Client::new(gateway.ports.gateway, key);
            let answer = client.chat(chat(VLLM_FIRST, "Who is Ana?", stream).to_string()).await;
            assert_eq!(answer.status, status, "{key}, stream {stream}: {}", answer.text());
            if status == 502 {
                assert_eq!(answer.json()["error"]["code"], "answer_unreadable", "{}", answer.text());
            }
        }
        gateway.vllm().always(Behaviour {
            reply: Some(ReplyKind::Fixed(format!("It is {EMAIL}."))),
            gzip: Some(false),
            ..Behaviour::default()
        });
        for key in [crate::policy::KEY, OTHER_KEY] {
            let client = Client::new(gateway.ports.gateway, key);
            let answer = client.chat(chat(VLLM_FIRST, "Who is Ana?", stream).to_string()).await;
            assert_eq!(heard(&answer, stream).0, "It is [EMAIL].", "{key}");
        }
    }
}
