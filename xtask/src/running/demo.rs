//! `demo failover`: the first provider fails and the second answers. `demo budget`: many clients, one dollar.

use serde_json::json;

use super::story::{KEY, MODEL};
use super::{GATEWAY, VLLM, http, must_run};
use crate::process::{Error, Result, say};

/// Shows one ability on what `up` started.
pub fn demo(name: &str) -> Result {
    match name {
        "failover" => failover(),
        "budget" => super::budget::demo(),
        other => Err(Error::new(format!("there is no demo {other:?}; there are failover and budget"))),
    }
}

fn failover() -> Result {
    must_run()?;
    say("vLLM works:");
    ask()?;
    say("vLLM answers 503 to everything:");
    let broken = json!({"defaults": {"fault": {"kind": "status", "code": 503}}}).to_string();
    http::post(VLLM, "/sim/control", &[], &broken, &mut |_| ())?;
    let asked = ask();
    let working = json!({"defaults": {}}).to_string();
    http::post(VLLM, "/sim/control", &[], &working, &mut |_| ())?;
    asked?;
    say("vLLM works again:");
    ask()
}

fn ask() -> Result {
    let body = json!({"model": MODEL, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 20});
    let authorization = format!("Bearer {KEY}");
    let headers = [("authorization", authorization.as_str())];
    let answer = http::post(GATEWAY, "/v1/chat/completions", &headers, &body.to_string(), &mut |_| ())?;
    let target = answer.header("x-weir-target").unwrap_or("(the policy does not show targets)");
    println!("    {} from {target} after {:.1} ms", answer.status, answer.first_byte.as_secs_f64() * 1e3);
    if answer.status != 200 {
        println!("    {}", answer.text());
    }
    Ok(())
}
