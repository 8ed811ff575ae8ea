//! What is billed: by the service tier that the answer names, whole or streamed, at each cut; and by none where the
//! policy has no price.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    dead_code,
    reason = "a test may panic, and uses a part of the host in miniature"
)]

mod drive;

use std::collections::BTreeMap;
use std::rc::Rc;

use drive::{Answer, Cuts, Gateway, Outcome};
use serde_json::{Value, json};
use weir_config::filter;
use weir_pipeline::Policy;

const USAGE: &str = r#"{"prompt_tokens":1000,"completion_tokens":100,"total_tokens":1100,
    "prompt_tokens_details":{"cached_tokens":400},"completion_tokens_details":{"reasoning_tokens":40}}"#;

fn gateway(price: &Value, tiers: &Value) -> Gateway {
    let config = json!({
        "version": "7",
        "identity": {"from": [{"header": "authorization", "scheme": "bearer"}]},
        "tenants": [{
            "name": "acme", "models": ["m"],
            "keys": [{"id": "web", "sha256": "2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683"}]
        }],
        "providers": [{"name": "openai", "kind": "openai", "region": "r", "cluster": "weir-openai"}],
        "models": [{"name": "m", "targets": [
            {"provider": "openai", "model": "m", "weight": 1, "context": 100_000, "price": price, "tiers": tiers}
        ]}],
    });
    let config: filter::Exchange = serde_json::from_value(config).unwrap();
    let attempt = filter::Attempt {
        provider: "openai".into(),
        kind: filter::ProviderKind::Openai,
        authority: "openai.test".into(),
        ..filter::Attempt::default()
    };
    Gateway {
        policy: Some(Rc::new(Policy::new(config).unwrap())),
        attempts: BTreeMap::from([("weir-openai".to_owned(), Rc::new(attempt))]),
        ledger: Default::default(),
        roomy: false,
    }
}

fn priced() -> Gateway {
    let price = json!({"input_pico": 10_000, "output_pico": 20_000, "cache_read_pico": 1_000, "reasoning_pico": 30_000});
    gateway(&price, &json!([{"name": "flex", "price": {"input_pico": 5_000, "output_pico": 10_000}}]))
}

fn ask(gateway: &Gateway, asked: Option<&str>, said: Option<&str>, stream: bool, cuts: Cuts) -> Outcome {
    let mut body = json!({"model": "m", "stream": stream, "messages": [{"role": "user", "content": "Hi"}]});
    if let Some(tier) = asked {
        body["service_tier"] = json!(tier);
    }
    let usage: Value = serde_json::from_str(USAGE).unwrap();
    let mut answer = json!({"id": "c", "model": "m", "system_fingerprint": "fp_1"});
    if let Some(tier) = said {
        answer["service_tier"] = json!(tier);
    }
    let (kind, bytes) = if stream {
        let mut first = answer.clone();
        first["choices"] = json!([{"index": 0, "delta": {"content": "No."}, "finish_reason": "stop"}]);
        answer["choices"] = json!([]);
        answer["usage"] = usage;
        ("text/event-stream", format!("data: {first}\n\ndata: {answer}\n\ndata: [DONE]\n\n"))
    } else {
        answer["choices"] = json!([{"index": 0, "message": {"role": "assistant", "content": "No."}, "finish_reason": "stop"}]);
        answer["usage"] = usage;
        ("application/json", answer.to_string())
    };
    let answer =
        Answer { status: 200, headers: vec![("content-type".into(), kind.into())], body: bytes.into_bytes() };
    let headers = [
        (":method", "POST"),
        (":path", "/v1/chat/completions"),
        (":scheme", "http"),
        ("content-type", "application/json"),
        ("authorization", "Bearer key"),
    ];
    gateway.run(&headers, body.to_string().as_bytes(), &[answer], Cuts::Whole, cuts)
}

fn cost(out: &Outcome) -> Option<u64> {
    out.span.as_ref().unwrap().cost_nano
}

#[test]
fn the_answers_tier_is_billed_before_the_one_asked_for_at_every_cut() {
    let gateway = priced();
    // Nano-USD: 600 plain and 400 cached tokens in, 60 and 40 of reasoning out.
    let base = Some((600 * 10_000 + 400 * 1_000 + 60 * 20_000 + 40 * 30_000) / 1_000);
    let flex = Some((1_000 * 5_000 + 100 * 10_000) / 1_000);
    for (asked, said, expected) in [
        (None, None, base),
        (None, Some("default"), base),
        (Some("flex"), Some("flex"), flex),
        (Some("flex"), None, flex),
        (Some("flex"), Some("default"), base),
        (Some("auto"), Some("flex"), flex),
    ] {
        let whole = ask(&gateway, asked, said, false, Cuts::Whole);
        assert_eq!(cost(&whole), expected, "{asked:?} {said:?}");
        let length = ask(&gateway, asked, said, true, Cuts::Whole).body.len();
        for at in 0..=length {
            let out = ask(&gateway, asked, said, true, Cuts::At(at));
            assert_eq!(cost(&out), expected, "{asked:?} {said:?} cut at {at}");
            let words = &out.span.as_ref().unwrap().words;
            assert!(
                words.contains(&("openai.response.system_fingerprint", "fp_1".to_owned())),
                "cut at {at}"
            );
            let tier = words.iter().find(|(key, _)| *key == "openai.response.service_tier");
            assert_eq!(tier.map(|(_, tier)| tier.as_str()), said, "cut at {at}");
        }
    }
}

#[test]
fn what_has_no_price_has_no_cost_and_not_zero() {
    let gateway = gateway(&Value::Null, &json!([]));
    assert_eq!(cost(&ask(&gateway, None, None, false, Cuts::Whole)), None);
    assert_eq!(cost(&ask(&gateway, None, None, true, Cuts::Every(7))), None);
}
