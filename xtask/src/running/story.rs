//! One streamed request, told: what each stage decided, what the provider saw, what the client got, what to try next.

use std::io::Write;
use std::process::Command;

use serde_json::{Value, json};

use super::{GATEWAY, VLLM, http};
use crate::paths;
use crate::process::{Context, Result, output, say};

/// The key of the example's tenant `acme`, accepted on loopback only.
pub const KEY: &str = "key";
/// A name that applications already send.
pub const MODEL: &str = "gpt-4o-mini";
/// Has something to hide.
const TEXT: &str = "Write to jane@example.org that card 4111 1111 1111 1111 was charged.";

/// Sends it and tells it; `simulated` providers can be asked what they saw.
pub fn tell(simulated: bool) -> Result {
    let mut body = json!({"model": MODEL, "stream": true, "max_tokens": 40});
    body["messages"] = json!([{"role": "user", "content": TEXT}]);
    let body = body.to_string();
    if simulated {
        // The provider repeats what it reads, so that redaction and restoring can be seen.
        let order = json!({"next": [{"reply": "echo"}]}).to_string();
        http::post(VLLM, "/sim/control", &[], &order, &mut |_| ())?;
    }
    println!("\n  the client sends      {body}");
    print!("  the client gets       ");
    let authorization = format!("Bearer {KEY}");
    let mut events = String::new();
    let answer = http::post(
        GATEWAY,
        "/v1/chat/completions",
        &[("authorization", &authorization)],
        &body,
        &mut |piece| {
            events.push_str(&String::from_utf8_lossy(piece));
            while let Some((event, rest)) = events.split_once("\n\n") {
                print!("{}", said(event));
                let _ = std::io::stdout().flush();
                events = rest.to_owned();
            }
        },
    )?;
    println!();
    if answer.status != 200 {
        println!("  {} {}", answer.status, answer.text());
    }
    if simulated && let Some(seen) = provider_saw()? {
        println!("  the provider saw      {seen}");
    }
    println!("  first byte after      {:.1} ms", answer.first_byte.as_secs_f64() * 1e3);
    for (name, value) in answer.headers.iter().filter(|(name, _)| name.starts_with("x-weir-")) {
        println!("  {name:<21} {value}");
    }
    if let Some(stages) = explained() {
        println!("\n  what each stage decided:\n{stages}");
    }
    next();
    Ok(())
}

/// The text of an event.
fn said(event: &str) -> String {
    let data = event.lines().find_map(|line| line.strip_prefix("data: ")).unwrap_or_default();
    let event: Value = serde_json::from_str(data).unwrap_or_default();
    event["choices"][0]["delta"]["content"].as_str().unwrap_or_default().to_owned()
}

fn provider_saw() -> Result<Option<String>> {
    let book = http::get(VLLM, "/sim/book")?;
    let book: Value = serde_json::from_str(&book.text()).context("the simulator's book")?;
    let records = book["records"].as_array().or_else(|| book.as_array());
    Ok(records.and_then(|records| records.last()?["body"].as_str().map(str::to_owned)))
}

fn explained() -> Option<String> {
    let policy = paths::root().join("envoy/first.yaml");
    let mut weir = Command::new(paths::target().join("release/weir"));
    let text = output(weir.arg("explain").arg(policy).args(["-k", KEY, "-m", MODEL, TEXT]))?;
    Some(text.lines().map(|line| format!("    {line}\n")).collect())
}

fn next() {
    println!();
    say("try next:");
    println!("    cargo xtask demo failover      vLLM fails; Bedrock answers");
    println!("    cargo xtask demo budget        many clients against one dollar");
    println!("    edit envoy/first.yaml          and watch it come into force");
    println!(
        "    curl -N http://127.0.0.1:{GATEWAY}/v1/chat/completions -H 'authorization: Bearer {KEY}' \\\n      \
         -H 'content-type: application/json' \\\n      \
         -d '{{\"model\": \"{MODEL}\", \"stream\": true, \"messages\": [{{\"role\": \"user\", \"content\": \"Hello\"}}]}}'"
    );
    println!(
        "    python:  openai.OpenAI(base_url=\"http://127.0.0.1:{GATEWAY}/v1\", api_key=\"{KEY}\")\
         .chat.completions.create(model=\"{MODEL}\", messages=[…])\n"
    );
}
