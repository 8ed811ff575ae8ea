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

/// JSON at random: values that are found and values that are not, under names that say what they are, documents in
/// strings among them.
struct Made(u64);

impl Made {
    fn next(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % most
    }

    fn value(&mut self, depth: usize) -> Value {
        const TEXTS: [&str; 12] = [
            MAIL,
            "078-05-1120",
            "078051120",
            "c0rrecthorse9X",
            "plain words",
            "\n::1",
            "\"",
            "é\u{1f600}",
            "",
            "{",
            "[1]",
            "-----BEGIN PRIVATE KEY-----\nMIIB",
        ];
        const NAMES: [&str; 8] = ["ssn", "password", "cvv", "a", MAIL, "é\n", "", "card"];
        match self.next(if depth == 0 { 4 } else { 7 }) {
            0 | 1 => json!(TEXTS[self.next(TEXTS.len())]),
            2 => {
                [json!(4_111_111_111_111_111_u64), json!(123), json!(-78_051_120), json!(50.386645822324795)]
                    [self.next(4)]
                .clone()
            }
            3 => [json!(null), json!(true), json!([]), json!({})][self.next(4)].clone(),
            4 => (0..self.next(5)).map(|_| self.value(depth - 1)).collect(),
            5 => json!(self.value(depth - 1).to_string()),
            _ => {
                let names: Vec<&str> = (0..self.next(5)).map(|_| NAMES[self.next(NAMES.len())]).collect();
                Value::Object(
                    names.into_iter().map(|name| (name.to_owned(), self.value(depth - 1))).collect(),
                )
            }
        }
    }
}

/// What is hidden leaves JSON of the same form: a string or a number became a string. So in strings, where they are
/// told from text: documents in so many others, with a quote in them.
fn assert_form(sent: &Value, asked: &Value, deep: usize) {
    match (sent, asked) {
        (Value::Array(sent), Value::Array(asked)) => {
            assert_eq!(sent.len(), asked.len());
            sent.iter().zip(asked).for_each(|(sent, asked)| assert_form(sent, asked, deep));
        }
        // Two names may have become one.
        (Value::Object(sent), Value::Object(asked)) => {
            for (name, asked) in asked {
                sent.get(name).into_iter().for_each(|sent| assert_form(sent, asked, deep));
            }
        }
        (Value::String(sent), Value::String(asked)) if deep > 0 && asked.contains('"') => {
            if let Ok(asked @ (Value::Array(_) | Value::Object(_))) = serde_json::from_str(asked) {
                let sent = serde_json::from_str(sent).unwrap_or_else(|e| panic!("{e}: {sent}"));
                assert_form(&sent, &asked, deep - 1);
            }
        }
        (Value::String(_), Value::String(_)) => {}
        (Value::String(sent), Value::Number(asked)) => {
            assert!(sent.starts_with('[') && asked.as_i64().is_some(), "{sent} for {asked}");
        }
        _ => assert_eq!(sent, asked),
    }
}

#[test]
fn whatever_is_found_in_json_of_the_body_it_keeps_its_form() {
    let mut config = policy(&[("p", "vllm")], &[model("m", "p", "m")]);
    config["redaction"] = redaction("mask", true, false);
    let all: Vec<&str> = weir_pii::DETECTORS.iter().map(|detector| detector.id).collect();
    config["redaction"][0]["find"] = json!(all);
    let gateway = Gateway::of_json(config);
    let mut made = Made(17);
    let mut hidden = 0;
    for _ in 0..3_000 {
        let own = made.value(5);
        let body = json!({"model": "m", "metadata": own, "messages": [{"role": "user", "content": "hi", "x": made.value(3)}],
            "tools": [{"type": "function", "function": {"name": "f", "parameters": made.value(4)}}]});
        let out = gateway.run(
            &headers("/v1/chat/completions", &[("authorization", "Bearer key")]),
            body.to_string().as_bytes(),
            &[answer(200, "application/json", "{}")],
            Cuts::Whole,
            Cuts::Whole,
        );
        assert_eq!(out.status, 200, "{}", String::from_utf8_lossy(&out.body));
        let sent = sent_body(&out);
        assert_form(&sent, &body, 3);
        hidden += usize::from(sent != body);
    }
    assert!(hidden > 1_000, "{hidden}");
}
