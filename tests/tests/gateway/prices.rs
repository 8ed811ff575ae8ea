//! `weir prices update`: a table of prices beside the policy, judged, shown and live at once; what it says is what
//! spans cost, and what it leaves out is unpriced, not free.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use weir_tests::harness::collector::Span;
use weir_tests::harness::{Collector, paths};

use crate::chat::chat;
use crate::policy::VLLM_FIRST;
use crate::setup::Gateway;

fn update(gateway: &Gateway, table: &Value, more: &[&str]) -> Output {
    let file = gateway.folder().join("new-prices.yaml");
    std::fs::write(&file, table.to_string()).expect("target/ is writable");
    let mut command = Command::new(paths::control_plane());
    command.args(["prices", "update"]).arg(&file).arg("--config").arg(gateway.folder().join("policy.yaml"));
    command.args(more).env("WEIR_TEST_VLLM_KEY", "x").output().expect("weir runs")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

fn table(input: u64, more: Value) -> Value {
    let mut rows = vec![json!({"provider": "gpu-pool", "model": "openai/gpt-oss-20b", "price": [
        {"input": input, "output": 0}, {"from": "2999-01-01", "input": 999, "output": 999},
    ]})];
    rows.extend(more.as_array().cloned().unwrap_or_default());
    json!({"prices": rows})
}

/// The span of a request that the new prices judge, once they do.
async fn costs(gateway: &Gateway, collector: &Collector, input: u64) -> Span {
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut number = input * 1_000;
    loop {
        number += 1;
        let trace = format!("{number:032x}");
        let body = chat(VLLM_FIRST, "what does it cost?", false).to_string();
        let post = gateway.client().post("/v1/chat/completions", body);
        let answer = post.header("traceparent", format!("00-{trace}-00000000000000aa-01")).send().await;
        assert_eq!(answer.expect("an answer").status(), 200);
        let exchange = |span: &Span| span.trace_id() == trace && span.is_exchange();
        let span = collector.wait(1, exchange).await.remove(0);
        let tokens = span.get("gen_ai.usage.input_tokens").as_u64().expect("tokens");
        // USD per million tokens are a thousand nano-USD a token.
        if span.get("weir.cost.usd_nano").as_u64() == Some(tokens * input * 1_000) {
            return span;
        }
        assert!(Instant::now() < deadline, "{span:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_of_prices_is_judged_shown_and_live_at_once() {
    let collector = Collector::start().await;
    let port = collector.port();
    let gateway = Gateway::prepared(
        "prices",
        |plan, _| {
            plan.policy["telemetry"] = json!({"otlp": format!("http://127.0.0.1:{port}")});
            plan.policy["prices"] = json!("prices.yaml");
        },
        |folder| std::fs::write(folder.join("prices.yaml"), table(5, json!([])).to_string()),
    )
    .await;
    costs(&gateway, &collector, 5).await;

    let dry = update(&gateway, &table(7, json!([])), &["--dry-run"]);
    assert!(dry.status.success() && said(&dry).contains("input 5 -> 7"), "{}", said(&dry));
    assert!(said(&dry).contains("nothing was changed"), "{}", said(&dry));
    let file = gateway.folder().join("prices.yaml");
    assert_eq!(std::fs::read_to_string(&file).expect("the table"), table(5, json!([])).to_string());

    let begun = Instant::now();
    let done = update(
        &gateway,
        &table(7, json!([{"provider": "nobody", "model": "x", "price": {"input": 1, "output": 1}}])),
        &[],
    );
    assert!(
        done.status.success() && said(&done).contains("gpu-pool openai/gpt-oss-20b from ever: input 5 -> 7"),
        "{}",
        said(&done)
    );
    assert!(said(&done).contains("warning: no target is `x` at `nobody`"), "{}", said(&done));
    costs(&gateway, &collector, 7).await;
    println!("new prices were in a span after {:?}", begun.elapsed());

    // A table that cannot be is refused, with its place, and changes nothing.
    let bad = update(
        &gateway,
        &json!({"prices": [{"provider": "gpu-pool", "model": "m", "price": {"input": "x", "output": 1}}]}),
        &[],
    );
    assert_eq!(bad.status.code(), Some(2), "{}", said(&bad));
    assert!(said(&bad).contains("line 1"), "{}", said(&bad));
    costs(&gateway, &collector, 7).await;
    let leftovers = std::fs::read_dir(gateway.folder()).expect("the folder").flatten();
    assert!(!leftovers.into_iter().any(|entry| entry.file_name().to_string_lossy().contains("part")));
}
