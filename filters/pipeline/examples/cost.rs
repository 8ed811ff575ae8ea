//! What the machines cost natively, stage by stage, on prompts that are all different.
//! `cargo run --release -p weir-pipeline --example cost`

#![allow(clippy::panic, reason = "a measuring program may stop")]

use std::rc::Rc;
use std::time::Instant;

use weir_config::filter;
use weir_pipeline::io::{Headers, Input, Now};
use weir_pipeline::paths::Api;
use weir_pipeline::seen::Seen;
use weir_pipeline::{Exchange, Policy, prompt};
use weir_tokens::Vocabulary;

const ROUNDS: u64 = 4000;

fn main() {
    let config = r#"{"version":"1","max_body":1000000,"identity":{"from":[{"header":"authorization","scheme":"bearer"}]},
      "tenants":[{"name":"a","models":["m"],"keys":[{"id":"k","sha256":"2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683"}]}],
      "providers":[{"name":"p","cluster":"c"}],
      "models":[{"name":"m","targets":[{"provider":"p","model":"m","tokenizer":"o200k_base","context":100000}]}]}"#;
    let config: filter::Exchange = serde_json::from_str(config).unwrap_or_default();
    let policy = Rc::new(Policy::new(config).unwrap_or_else(|e| panic!("{e}")));
    let bodies: Vec<String> = (0..ROUNDS).map(body).collect();
    let each = |name: &str, f: &mut dyn FnMut(&str)| {
        let start = Instant::now();
        bodies.iter().for_each(|b| f(b));
        println!("{name:24} {:8.1} µs", start.elapsed().as_secs_f64() * 1e6 / ROUNDS as f64);
    };
    each("json", &mut |b| drop(prompt::parse(b.as_bytes())));
    each("json + count", &mut |b| {
        if let Ok(doc) = prompt::parse(b.as_bytes()) {
            prompt::count(Api::OpenaiChat, &doc, Vocabulary::O200kBase, &mut Seen::default());
        }
    });
    let headers: Vec<(&[u8], &[u8])> = vec![
        (b":method", b"POST"),
        (b":path", b"/v1/chat/completions"),
        (b"content-type", b"application/json"),
        (b"authorization", b"Bearer key"),
    ];
    let mut sent = 0usize;
    each("exchange, request side", &mut |b| {
        let mut exchange = Exchange::new(Some(policy.clone()));
        let mut effects = Vec::new();
        exchange.handle(
            Now(1),
            Input::RequestHeaders { headers: Headers(&headers), end: false, entropy: [1, 2, 3, 4] },
            &mut effects,
        );
        exchange.handle(
            Now(1),
            Input::RequestBody { body: b.as_bytes(), size: b.len(), end: true },
            &mut effects,
        );
        sent += effects.len();
    });
    println!("{sent} effects");
}

fn body(seed: u64) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut text = String::new();
    while text.len() < 4000 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        for k in 0..2 + state % 7 {
            text.push(char::from(b'a' + ((state >> (k * 5)) % 26) as u8));
        }
        text.push(' ');
    }
    format!(r#"{{"model":"m","messages":[{{"role":"user","content":"{text}"}}]}}"#)
}
