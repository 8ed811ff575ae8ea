//! What budgets do to a request and its answer: lowered ceilings, other models, settlements, headers. One file, as all of it is asked of
//! one gateway and its ledger.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    dead_code,
    reason = "a test may panic, and uses a part of the host in miniature"
)]

mod drive;

use std::collections::BTreeMap;

use drive::world::{answer as answered, policy, read, sent_body as sent, target};
use drive::{Answer, Cuts, Gateway, NOW, Outcome};
use serde_json::{Value, json};
use weir_lease::message::Figures;
use weir_lease::{
    Code, Granted, Instance, Level, Mismatch, Need, Refusal, SECOND, SharedData, Shortfall, Unit,
};
use weir_pipeline::learned;
use weir_pipeline::span::Counted;

const DEFINITION: &str = "0123456789abcdef";

/// Two models at two providers, and these budgets.
fn gateway(budgets: Value, change: impl FnOnce(&mut Value)) -> Gateway {
    let model = |name: &str, id: &str| {
        let mut target = target("gpu", id);
        target["tokenizer"] = json!("o200k_base");
        json!({"name": name, "targets": [target]})
    };
    let models = [model("smart", "smart"), model("fast", "org/fast")];
    let mut config = policy(&[("gpu", "vllm"), ("other", "openai")], &models);
    (config["providers"][0]["region"], config["providers"][1]["region"]) = (json!("here"), json!("there"));
    config["headers"] = json!("reasons");
    config["client_labels"] = json!(["session"]);
    config["tenants"][0]["labels"] = json!({"team": "support"});
    config["ledger"] = json!({"cluster": "weir-ledger"});
    config["budgets"] = budgets;
    for budget in config["budgets"].as_array_mut().unwrap() {
        budget["definition"] = json!(DEFINITION);
        budget["window"] = json!("day");
    }
    change(&mut config);
    Gateway::of_json(config)
}

fn day(limit: Value) -> Value {
    json!({"name": "day", "tokens": limit})
}

fn chat(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut body = json!({
        "model": "smart", "max_tokens": 1000, "messages": [{"role": "user", "content": "Tell me a story."}]
    });
    change(&mut body);
    body.to_string().into_bytes()
}

fn answer() -> Answer {
    let body = json!({
        "id": "c", "model": "smart",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "No."}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15}
    });
    let mut answer = answered(200, "application/json", body.to_string());
    answer.headers.push(("x-ratelimit-remaining-requests".into(), "7".into()));
    answer
}

/// A stream that is cut after some words.
fn cut_stream() -> Answer {
    let event = |text: &str| {
        let chunk = json!({
            "id": "c", "model": "smart", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": null}]
        });
        format!("data: {chunk}\n\n")
    };
    let body = ["One", " two", " three", " four"].map(event).concat();
    answered(200, "text/event-stream", body)
}

fn headers<'h>(more: &[(&'h str, &'h str)]) -> Vec<(&'h str, &'h str)> {
    drive::world::headers("/v1/chat/completions", &[&[("authorization", "Bearer key")], more].concat())
}

fn run(gateway: &Gateway, more: &[(&str, &str)], body: &[u8], answers: &[Answer]) -> Outcome {
    gateway.run(&headers(more), body, answers, Cuts::Whole, Cuts::Whole)
}

fn short(budget: &str, code: Code) -> Refusal {
    let figures = Figures {
        limit: 10_000,
        settled: 9_500,
        left: 400,
        leased: 100,
        reset_in_ms: 7_200_000,
        window: "day".into(),
        timezone: "UTC".into(),
        ..Figures::default()
    };
    let instance = Instance::new(budget, Unit::Tokens, "", DEFINITION);
    let retry_after_ms = if code == Code::Exhausted { 7_200_000 } else { 1_000 };
    let budgets = vec![Shortfall { instance, code, need: 1_012, figures: Some(figures), retry_after_ms }];
    Refusal { code, retry_after_ms, budgets }
}

fn error(outcome: &Outcome) -> (u16, String) {
    let body = read(&outcome.body);
    (outcome.status, body["error"]["code"].as_str().unwrap_or_default().to_owned())
}

fn amounts(need: &Need) -> (u64, u64, u64) {
    (need.full, need.floor, need.min)
}

#[test]
fn a_lowered_ceiling_is_what_the_amount_pays_for() {
    let gateway = gateway(json!([{"name": "day", "tokens": 10_000, "min_output": 16}]), |_| {});
    let whole = run(&gateway, &[], &chat(|_| {}), &[answer()]);
    let need = &whole.asked[0][0];
    let input = need.full - 1_000;
    assert_eq!(amounts(need), (input + 1_000, input + 512, input + 16));
    assert_eq!(sent(&whole)["max_tokens"], 1_000, "a full grant changes nothing");
    for given in [16, 17, 500, 999] {
        gateway.ledger.borrow_mut().push_back(Ok(Granted { amounts: vec![input + given], levels: vec![] }));
        let out = run(&gateway, &[], &chat(|_| {}), &[answer()]);
        assert_eq!(sent(&out)["max_tokens"], given);
        let length = out.sent[0].1.iter().find(|(name, _)| name == "content-length").unwrap();
        assert_eq!(length.1, out.sent[0].2.len().to_string());
        assert_eq!(out.settled, [[15]]);
    }
    // Several answers share what is left, and an answer that nobody reports costs what was reserved.
    gateway.ledger.borrow_mut().push_back(Ok(Granted { amounts: vec![input + 100], levels: vec![] }));
    let out = run(&gateway, &[], &chat(|body| body["n"] = json!(3)), &[cut_stream()]);
    assert_eq!(sent(&out)["max_tokens"], 33);
    assert_eq!(out.settled, [[input + 100]]);
}

/// A lower ceiling may have fewer digits: what is written into the body afterwards stands behind it.
#[test]
fn a_lowered_ceiling_moves_what_is_behind_it() {
    let salt = "00112233445566778899aabbccddeeff";
    let gateway = gateway(json!([{"name": "day", "tokens": 10_000, "min_output": 16}]), |config| {
        config["providers"][0]["tenants"] = json!({"acme": salt});
    });
    let body = |ceiling: u64, name: &str, salt: &str| {
        let messages = r#"[{"role":"user","content":"Tell me a story."}]"#;
        format!(r#"{{"max_tokens":{ceiling},"model":"{name}","messages":{messages},"cache_salt":"{salt}"}}"#)
    };
    let need = run(&gateway, &[], body(1_000, "fast", "mine").as_bytes(), &[answer()]).asked[0][0].clone();
    let amounts = vec![need.full - 1_000 + 17];
    gateway.ledger.borrow_mut().push_back(Ok(Granted { amounts, levels: vec![] }));
    let out = run(&gateway, &[], body(1_000, "fast", "mine").as_bytes(), &[answer()]);
    assert_eq!(String::from_utf8_lossy(&out.sent[0].2), body(17, "org/fast", salt));
}

/// Shared data that nobody else writes.
#[derive(Default)]
struct Alone(BTreeMap<String, Vec<u8>>);

impl SharedData for Alone {
    fn get(&mut self, key: &str) -> Option<(Vec<u8>, u32)> {
        self.0.get(key).map(|value| (value.clone(), 1))
    }

    fn set(&mut self, key: &str, value: &[u8], _: Option<u32>) -> Result<(), Mismatch> {
        self.0.insert(key.to_owned(), value.to_owned());
        Ok(())
    }
}

#[test]
fn while_others_may_give_back_no_answer_is_cut_shorter_than_the_model_s_usually_are() {
    let gateway = gateway(json!([{"name": "day", "tokens": 10_000, "min_output": 16}]), |_| {});
    let of = |tokens: u64| {
        let mut answer = answer();
        let mut body: Value = serde_json::from_slice(&answer.body).unwrap();
        body["usage"]["completion_tokens"] = json!(tokens);
        answer.body = body.to_string().into_bytes();
        answer
    };
    let mut store = Alone::default();
    for n in 0..100u64 {
        let out = run(&gateway, &[], &chat(|_| {}), &[of(650 + n)]);
        let need = &out.asked[0][0];
        assert_eq!(need.floor, need.full - 1_000 + 512, "after {n} answers");
        let [sample] = out.learned.as_slice() else { panic!("one sample an answer: {:?}", out.learned) };
        let cell = learned::learn(&mut store, sample).unwrap();
        gateway.policy.as_ref().unwrap().learned.borrow_mut().put(cell);
    }
    let out = run(&gateway, &[], &chat(|_| {}), &[of(700)]);
    let need = &out.asked[0][0];
    let usual = need.floor - (need.full - 1_000);
    assert!((745..=840).contains(&usual), "{usual}");
    assert_eq!(need.min, need.full - 1_000 + 16, "a budget is used to its end all the same");
    // No more than the client asked for.
    let out = run(&gateway, &[], &chat(|body| body["max_tokens"] = json!(600)), &[of(20)]);
    assert_eq!(out.asked[0][0].floor, out.asked[0][0].full);
    // An answer that was cut short here does not say how long it would have been.
    let input = need.full - 1_000;
    gateway.ledger.borrow_mut().push_back(Ok(Granted { amounts: vec![input + 20], levels: vec![] }));
    assert!(run(&gateway, &[], &chat(|_| {}), &[of(20)]).learned.is_empty());
}

#[test]
fn how_long_answers_are_is_learned_only_where_a_budget_would_cut_them() {
    let gateway = gateway(json!([day(json!(10_000))]), |_| {});
    assert!(run(&gateway, &[], &chat(|_| {}), &[answer()]).learned.is_empty());
}

#[test]
fn a_request_waits_for_others_as_long_as_its_budget_says_and_a_rough_bound_does_not() {
    let mut gateway = gateway(
        json!([{"name": "day", "tokens": 10_000, "wait_ms": 2_000}, {"name": "b", "tokens": 1_000_000}]),
        |_| {},
    );
    let waits = |needs: &[Need]| needs.iter().map(|need| need.wait).collect::<Vec<_>>();
    // The first look is at the lease in hand; nobody waits for what a count might not need.
    for roomy in [true, false] {
        gateway.roomy = roomy;
        let out = run(&gateway, &[], &chat(|_| {}), &[answer()]);
        assert_eq!(waits(&out.tried[0]), [0, 0]);
        if !roomy {
            assert_eq!(waits(&out.asked[0]), [2 * SECOND, 0]);
        }
    }
}

#[test]
fn money_lowers_a_ceiling_by_its_price() {
    let gateway = gateway(json!([{"name": "day", "usd_nano": 1_000_000, "min_output": 100}]), |_| {});
    let need = run(&gateway, &[], &chat(|_| {}), &[answer()]).asked[0][0].clone();
    let input = need.full - 1_000 * 4_000;
    assert_eq!(amounts(&need), (input + 4_000_000, input + 512 * 4_000, input + 400_000));
    gateway.ledger.borrow_mut().push_back(Ok(Granted { amounts: vec![input + 403_999], levels: vec![] }));
    let out = run(&gateway, &[], &chat(|_| {}), &[answer()]);
    assert_eq!(sent(&out)["max_tokens"], 100, "rounded down: 101 would cost more than there is");
}

#[test]
fn tools_schemas_and_thinking_are_not_cut_short() {
    let gateway = gateway(json!([{"name": "day", "tokens": 10_000, "min_output": 16}]), |_| {});
    let tool = json!([{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]);
    let schema = json!({"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}});
    for (field, value) in [("tools", tool), ("response_format", schema)] {
        let out = run(&gateway, &[], &chat(|body| body[field] = value), &[answer()]);
        let need = &out.asked[0][0];
        assert_eq!((need.min, need.floor), (need.full, need.full), "{field}");
    }
    let thinking = json!({"type": "enabled", "budget_tokens": 600});
    let out = run(&gateway, &[], &chat(|body| body["thinking"] = thinking), &[answer()]);
    let need = &out.asked[0][0];
    assert_eq!(need.full - need.min, 1_000 - 616);
}

#[test]
fn a_spent_budget_hands_over_to_the_model_it_names() {
    let budgets = || {
        json!([
            {"name": "day", "when": {"model": ["smart"]}, "tokens": 10_000, "exceeded": "fast"},
            {"name": "all", "tokens": 90_000}
        ])
    };
    let gateway = gateway(budgets(), |_| {});
    gateway.ledger.borrow_mut().push_back(Err(short("day", Code::Exhausted)));
    let out = run(&gateway, &[], &chat(|_| {}), &[answer()]);
    assert_eq!((out.status, out.asked.len()), (200, 2));
    let names = |needs: &[Need]| needs.iter().map(|need| need.instance.budget.clone()).collect::<Vec<_>>();
    assert_eq!(
        (names(&out.asked[0]), names(&out.asked[1])),
        (vec!["day".into(), "all".into()], vec!["all".into()])
    );
    assert_eq!(sent(&out)["model"], "org/fast");
    assert_eq!(out.headers["x-weir-downgrade"], "fast; budget=day");
    let span = out.span.unwrap();
    assert_eq!(span.downgrade, Some(("day".into(), "fast".into())));
    assert_eq!((span.model.as_str(), span.request_model.as_str(), span.ints.len()), ("fast", "smart", 1));
    assert_eq!(out.settled, [[15]], "only the second reservation was held");
}

#[test]
fn a_downgrade_opens_nothing_and_happens_once() {
    let exceeded = || json!([{"name": "day", "tokens": 10_000, "exceeded": "fast"}]);
    let refused = |change: fn(&mut Value), answers: Vec<Refusal>| {
        let gateway = gateway(exceeded(), change);
        gateway.ledger.borrow_mut().extend(answers.into_iter().map(Err));
        run(&gateway, &[], &chat(|_| {}), &[])
    };
    let spent = || short("day", Code::Exhausted);
    // The same budget counts the other model too, and is as short.
    let out = refused(|_| {}, vec![spent(), spent()]);
    assert_eq!((error(&out), out.asked.len()), ((429, "budget_exhausted".into()), 2));
    // Not in the tenant's list.
    let out = refused(|config| config["tenants"][0]["models"] = json!(["smart"]), vec![spent()]);
    assert_eq!((error(&out), out.asked.len()), ((429, "budget_exhausted".into()), 1));
    let span = out.span.unwrap();
    assert_eq!((span.downgrade, span.model.as_str()), (None, "smart"));
    // Outside of a boundary.
    let fenced: fn(&mut Value) = |config| {
        config["models"][1]["targets"][0]["provider"] = json!("other");
        config["boundaries"] = json!([{"name": "home", "regions": ["here"]}]);
    };
    assert_eq!(error(&refused(fenced, vec![spent()])), (429, "budget_exhausted".into()));
    // Not for want of a ledger.
    let out = refused(|_| {}, vec![short("day", Code::Unavailable)]);
    assert_eq!((error(&out), out.asked.len()), ((503, "budget_unavailable".into()), 1));
    // Another budget that names no model refuses too.
    let mut both = spent();
    both.budgets.extend(short("all", Code::Held).budgets);
    let out = refused(
        |config| {
            let mut all = config["budgets"][0].clone();
            (all["name"], all["exceeded"]) = (json!("all"), json!(null));
            config["budgets"].as_array_mut().unwrap().push(all);
        },
        vec![both],
    );
    assert_eq!((out.status, out.asked.len()), (429, 1));
}

#[test]
fn an_abort_costs_what_the_provider_says_it_charges() {
    let cost = |stops: bool, kind: &str, answers: &[Answer]| {
        let gateway =
            gateway(json!([{"name": "day", "tokens": 10_000, "usd_nano": 1_000_000_000}]), |config| {
                config["providers"][0]["stops"] = json!(stops);
                config["providers"][0]["kind"] = json!(kind);
                config["models"][0]["targets"][0]["supports"] = json!(["reasoning"]);
            });
        let out = run(&gateway, &[], &chat(|body| body["stream"] = json!(true)), answers);
        let span = out.span.unwrap();
        assert_eq!(span.counted, Counted::Estimated);
        let needs: Vec<u64> = out.asked[0].iter().map(|need| need.full).collect();
        let charged = out.settled[0].clone();
        // The span says what the budgets were charged, so that its sums are the ledger's.
        assert!(span.ints.contains(&("weir.usage.tokens.charged", charged[0] as i64)), "{:?}", span.ints);
        assert_eq!(span.cost_nano, Some(charged[1]));
        (needs, charged)
    };
    let (held, charged) = cost(false, "vllm", &[cut_stream()]);
    assert_eq!(held, charged, "the whole reservation");
    let (held, charged) = cost(true, "vllm", &[cut_stream()]);
    let input = held[0] - 1_000;
    assert_eq!(charged, [input + 4 + 256, input * 1_000 + 260 * 4_000], "four tokens were delivered");
    // What OpenAI's models think is not seen here.
    let (held, charged) = cost(true, "openai", &[cut_stream()]);
    assert_eq!(held, charged);
}

#[test]
fn answers_and_refusals_tell_what_is_left_in_the_words_of_the_dialect() {
    let gateway = gateway(json!([{"name": "day", "tokens": 10_000, "requests": 50}]), |_| {});
    let level = |limit, remaining| Some(Level { limit, remaining, resets_at: NOW.0 + 90_000_000_000 });
    let levels = vec![level(10_000, 6_000), level(50, 49)];
    gateway.ledger.borrow_mut().push_back(Ok(Granted { amounts: vec![], levels }));
    let out = run(&gateway, &[], &chat(|_| {}), &[answer()]);
    for (name, value) in [
        ("x-ratelimit-limit-tokens", "10000"),
        ("x-ratelimit-remaining-tokens", "6000"),
        ("x-ratelimit-reset-tokens", "1m30s"),
        ("x-ratelimit-limit-requests", "50"),
        ("x-ratelimit-remaining-requests", "49"),
        ("x-weir-budget", "day; limit=10000; remaining=6000; reset=90; unit=tokens"),
    ] {
        assert_eq!(out.headers[name], value, "{name}");
    }
    // Without the ledger's word nothing is told, and the provider's own account is nobody's business.
    let out = run(&gateway, &[], &chat(|_| {}), &[answer()]);
    assert!(!out.headers.keys().any(|name| name.starts_with("x-ratelimit")), "{:?}", out.headers);
    gateway.ledger.borrow_mut().push_back(Err(short("day", Code::Exhausted)));
    let out = run(&gateway, &[], &chat(|_| {}), &[]);
    assert_eq!(error(&out), (429, "budget_exhausted".into()));
    for (name, value) in [
        ("retry-after", "7200"),
        ("x-should-retry", "false"),
        ("x-ratelimit-limit-tokens", "10000"),
        ("x-ratelimit-remaining-tokens", "500"),
        ("x-ratelimit-reset-tokens", "2h0m0s"),
        ("x-weir-budget", "day; limit=10000; remaining=500; reset=7200; unit=tokens"),
    ] {
        assert_eq!(out.headers[name], value, "{name}");
    }
    let gateway =
        self::gateway(json!([{"name": "day", "tokens": 10_000}]), |config| config["headers"] = json!("none"));
    gateway.ledger.borrow_mut().push_back(Err(short("day", Code::Held)));
    let out = run(&gateway, &[], &chat(|_| {}), &[]);
    assert!(!out.headers.keys().any(|name| name.starts_with("x-weir")), "{:?}", out.headers);
    assert_eq!(out.headers["x-ratelimit-remaining-tokens"], "500");
}

#[test]
fn without_a_budget_the_providers_headers_pass() {
    let gateway = gateway(json!([]), |_| {});
    let out = run(&gateway, &[], &chat(|_| {}), &[answer()]);
    assert_eq!(out.headers["x-ratelimit-remaining-requests"], "7");
}

#[test]
fn a_soft_budget_changes_nothing_but_asks_for_usage() {
    let gateway = gateway(json!([{"name": "day", "tokens": 10, "soft": true, "exceeded": "fast"}]), |_| {});
    let body = chat(|body| {
        body.as_object_mut().unwrap().remove("max_tokens");
    });
    let out = run(&gateway, &[], &body, &[answer()]);
    assert_eq!(out.sent[0].2, body, "no ceiling is set");
    assert!(out.asked[0][0].soft && out.asked[0][0].full > 4_096);
    assert_eq!(out.settled, [[15]]);
}

#[test]
fn each_session_has_a_counter_and_requests_without_one_share_theirs() {
    let gateway =
        gateway(json!([{"name": "day", "each": ["session", "team", "tenant"], "tokens": 10_000}]), |_| {});
    let subject = |more: &[(&str, &str)]| {
        run(&gateway, more, &chat(|_| {}), &[answer()]).asked[0][0].instance.subject.clone()
    };
    assert_eq!(subject(&[("x-weir-label-session", "s1")]), "s1\u{1f}support\u{1f}acme");
    assert_eq!(subject(&[]), "\u{1f}support\u{1f}acme");
    // What would reach into another part of the subject is no label.
    assert_eq!(subject(&[("x-weir-label-session", "s1\u{1f}night")]), "\u{1f}support\u{1f}acme");
    // What the policy gave is not the client's to set.
    assert_eq!(subject(&[("x-weir-label-team", "other")]), "\u{1f}support\u{1f}acme");
}

#[test]
fn what_nothing_bounds_is_refused_unless_the_budget_lets_it_through() {
    let image = |body: &mut Value| {
        body["messages"][0]["content"] =
            json!([{"type": "image_url", "image_url": {"url": "https://pictures.test/cat.png"}}]);
    };
    let no_context: fn(&mut Value) = |config| config["models"][0]["targets"][0]["context"] = json!(0);
    let ask = |budgets: Value, change: fn(&mut Value), body: &dyn Fn(&mut Value)| {
        run(&gateway(budgets, change), &[], &chat(|b| body(b)), &[answer()])
    };
    let out = ask(json!([day(json!(10_000))]), no_context, &image);
    assert_eq!(error(&out), (400, "unboundable".into()));
    assert_eq!(serde_json::from_slice::<Value>(&out.body).unwrap()["error"]["param"], "messages");
    assert_eq!(out.asked.len(), 0);
    for (budgets, change) in [
        (json!([{"name": "day", "tokens": 10_000, "unbounded": true}]), no_context),
        (json!([{"name": "day", "tokens": 10_000, "soft": true}]), no_context),
        (json!([{"name": "day", "requests": 10_000}]), no_context),
        (json!([{"name": "day", "tokens": 1_000_000}]), (|_| {}) as fn(&mut Value)),
    ] {
        let out = ask(budgets.clone(), change, &image);
        assert_eq!(out.status, 200, "{budgets}: {}", String::from_utf8_lossy(&out.body));
        assert!(out.asked[0][0].full < 200_000, "{:?}", out.asked);
    }
    // Prices that no policy knows, where a provider has them.
    let openai: fn(&mut Value) = |config| config["models"][0]["targets"][0]["provider"] = json!("other");
    let search = |body: &mut Value| body["web_search_options"] = json!({});
    let money = || json!([{"name": "day", "usd_nano": 1_000_000_000}]);
    let out = ask(money(), openai, &search);
    assert_eq!(error(&out), (400, "unboundable".into()));
    assert_eq!(ask(money(), |_| {}, &search).status, 200, "vLLM has no such thing");
    assert_eq!(ask(json!([day(json!(10_000))]), openai, &search).status, 200, "only money depends on it");
}

#[test]
fn the_bound_holds_for_the_target_that_takes_most() {
    let gateway = gateway(json!([day(json!(10_000_000))]), |config| {
        let mut second = config["models"][0]["targets"][0].clone();
        second["context"] = json!(300_000);
        config["models"][0]["targets"].as_array_mut().unwrap().push(second);
    });
    let image = chat(|body| {
        body["messages"][0]["content"] =
            json!([{"type": "image_url", "image_url": {"url": "https://pictures.test/cat.png"}}]);
    });
    let out = run(&gateway, &[], &image, &[answer()]);
    assert!(out.asked[0][0].full >= 300_000, "{:?}", out.asked);
}

#[test]
fn an_input_over_the_limit_is_told_by_its_count() {
    let gateway = gateway(json!([]), |config| {
        config["tenants"][0]["limits"] = json!({"max_input_tokens": 5, "max_output_tokens": 50});
    });
    let out = run(&gateway, &[], &chat(|_| {}), &[]);
    assert_eq!(error(&out), (400, "input_too_long".into()));
    let body = read(&out.body);
    let message = body["error"]["message"].as_str().unwrap();
    assert!(message.contains(" tokens; the limit of tenant `acme` is 5"), "{message}");
    let gateway = self::gateway(json!([]), |config| {
        config["tenants"][0]["limits"] = json!({"max_input_tokens": 5000, "max_output_tokens": 50});
    });
    for (asked, sent_as) in [(json!(1000), 50), (json!(20), 20), (json!(null), 50)] {
        let out = run(&gateway, &[], &chat(|body| body["max_tokens"] = asked), &[answer()]);
        assert_eq!(sent(&out)["max_tokens"], sent_as);
    }
}

/// A stream of this many tokens, one in each event, with its end.
fn long_stream(tokens: usize) -> Answer {
    let event = |delta: Value, finish: Value| {
        let choice = json!({"index": 0, "delta": delta, "finish_reason": finish});
        format!("data: {}\n\n", json!({"id": "c", "model": "smart", "choices": [choice]}))
    };
    let mut body: String = (0..tokens).map(|_| event(json!({"content": " word"}), json!(null))).collect();
    body.push_str(&event(json!({}), json!("stop")));
    let usage = json!({"prompt_tokens": 12, "completion_tokens": tokens, "total_tokens": tokens + 12});
    body.push_str(&format!(
        "data: {}\n\n",
        json!({"id": "c", "model": "smart", "choices": [], "usage": usage})
    ));
    body.push_str("data: [DONE]\n\n");
    answered(200, "text/event-stream", body)
}

/// Reserves ahead at a provider that stops; its answer comes in pieces of `size` bytes.
fn progressive(size: usize, ledger: Vec<Result<Granted, Refusal>>, include: bool) -> (Outcome, u64) {
    let budgets = json!([
        {"name": "day", "tokens": 10_000, "usd_nano": 1_000_000_000, "progressive": true},
        {"name": "calls", "requests": 100, "progressive": true},
        {"name": "full", "tokens": 90_000}
    ]);
    let gateway = gateway(budgets, |config| config["providers"][0]["stops"] = json!(true));
    gateway.ledger.borrow_mut().extend(ledger);
    let body = chat(|body| {
        (body["stream"], body["max_tokens"]) = (json!(true), json!(4_000));
        if include {
            body["stream_options"] = json!({"include_usage": true});
        }
    });
    let out = gateway.run(&headers(&[]), &body, &[long_stream(1_500)], Cuts::Whole, Cuts::Every(size));
    assert_eq!(sent(&out)["max_tokens"], 4_000, "the ceiling is the client's");
    let input = out.asked[0][0].full - 512;
    assert_eq!(out.asked[0][1].full, input * 1_000 + 512 * 4_000);
    assert_eq!((out.asked[0][2].full, out.asked[0][3].full), (1, input + 4_000));
    (out, input)
}

fn words(body: &[u8]) -> u64 {
    String::from_utf8_lossy(body).matches(" word").count() as u64
}

#[test]
fn a_stream_that_is_reserved_ahead_passes_whole_while_there_is_more() {
    for size in [97, 1_000, 40_000] {
        let (out, _) = progressive(size, vec![], true);
        assert_eq!((out.body == long_stream(1_500).body, out.cut), (true, false));
        assert_eq!(out.settled, [[1_512, 12 * 1_000 + 1_500 * 4_000, 1, 1_512]], "usage settles");
        let mut reserved = 512;
        for needs in &out.topped {
            let more = needs[0].full;
            assert_eq!((needs[1].full, needs[2].full, needs[3].full), (more * 4_000, 0, 0));
            reserved += more;
        }
        assert!((1_500..=4_000).contains(&reserved), "{reserved}");
    }
}

#[test]
fn a_stream_ends_early_whenever_no_more_is_to_be_had() {
    let read = |event: &str| serde_json::from_str::<Value>(event.strip_prefix("data: ").unwrap()).unwrap();
    let mut cuts = 0;
    for size in (60..400).step_by(7).chain([3_000, 40_000]) {
        for (given, include) in [(0, false), (0, true), (1, false), (1, true)] {
            let mut ledger = vec![Ok(Granted::default()); 1 + given];
            ledger.push(Err(short("day", Code::Exhausted)));
            let (out, input) = progressive(size, ledger, include);
            if !out.cut {
                // A piece of the answer may bring more than what was reserved, its end included.
                assert!(size > 2_000, "{size}");
                continue;
            }
            cuts += 1;
            let text = String::from_utf8(out.body).unwrap();
            let said = words(text.as_bytes());
            let events: Vec<&str> = text.split("\n\n").filter(|event| !event.is_empty()).collect();
            let (last, rest) = events.split_last().unwrap();
            assert_eq!(*last, "data: [DONE]");
            let rest: Vec<Value> = rest.iter().map(|event| read(event)).collect();
            let ends = rest.iter().map(|event| &event["choices"][0]["finish_reason"]);
            assert_eq!(ends.filter(|end| !end.is_null()).collect::<Vec<_>>(), [&json!("length")]);
            let usage = &rest.last().unwrap()["usage"];
            assert_eq!(usage["completion_tokens"].as_u64(), include.then_some(said));
            let more: u64 = out.topped.iter().take(given).map(|needs| needs[0].full).sum();
            // The margin is not said, but for what the pieces bring at once before the ledger has answered.
            let most = 512 + more - 256 + 2 * (size as u64 / 105 + 1);
            assert!(said <= most && (size > 400 || said + 16 >= most), "size {size}: {said} of {most}");
            let output = said + 256;
            let cost = [input + output, input * 1_000 + output * 4_000, 1, input + output];
            assert_eq!(out.settled, [cost], "what was said and the margin");
            let span = out.span.unwrap();
            assert_eq!((span.error.as_deref(), span.counted), (Some("budget_exhausted"), Counted::Estimated));
        }
    }
    assert!(cuts > 150, "{cuts}");
}

#[test]
fn only_providers_that_stop_are_reserved_ahead() {
    let gateway = gateway(json!([{"name": "day", "tokens": 10_000, "progressive": true}]), |_| {});
    let body = chat(|body| body["stream"] = json!(true));
    let full = run(&gateway, &[], &body, &[cut_stream()]).asked[0][0].full;
    assert!(full > 1_000, "all of it is reserved where a cut answer is billed whole: {full}");
}
