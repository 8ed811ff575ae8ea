//! What leaves the gateway about each exchange, however it ends: its span and one for each try, judged by the
//! conventions; metrics; counters; and what happens where nobody takes them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use weir_tests::conventions::{COVERAGE, Conventions, Coverage, Told};
use weir_tests::harness::collector::{Mood, Span};
use weir_tests::harness::inject::{ALIAS, KEY, MODEL};
use weir_tests::harness::{Client, Collector, Inject};
use weir_tests::sim::{At, Behaviour, Fault};

use crate::{chat, chat_stream, settled};

/// How the client behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stays {
    /// To the end.
    Yes,
    /// Until nothing has come for a while.
    BeforeAnswer,
    /// Until the first piece of the answer has come.
    DuringAnswer,
}

struct Ending {
    name: &'static str,
    provider: Option<Fault>,
    path: &'static str,
    key: &'static str,
    body: Value,
    stays: Stays,
    /// `error.type` of the exchange; null where it is none.
    error: Value,
    /// `error.type` of each try, in order.
    tries: Vec<Value>,
}

fn ending(name: &'static str, body: Value) -> Ending {
    Ending {
        name,
        provider: None,
        path: "/v1/chat/completions",
        key: KEY,
        body,
        stays: Stays::Yes,
        error: Value::Null,
        tries: vec![Value::Null],
    }
}

/// A request that says all that a request can say.
fn talkative(stream: bool) -> Value {
    let mut body = if stream { chat_stream(ALIAS, "all of it") } else { chat(ALIAS, "all of it") };
    for (name, value) in [
        ("temperature", 0.5.into()),
        ("top_p", 0.9.into()),
        ("top_k", 40.into()),
        ("seed", 7.into()),
        ("max_tokens", 20.into()),
        ("frequency_penalty", 0.1.into()),
        ("presence_penalty", 0.2.into()),
        ("n", 2.into()),
        ("stop", Value::from(vec!["never", "ever"])),
        ("reasoning_effort", "low".into()),
        ("service_tier", "default".into()),
        ("response_format", json!({"type": "json_object"})),
    ] {
        body[name] = value;
    }
    body
}

fn endings() -> Vec<Ending> {
    let stall = || Some(Fault::StallBeforeHeaders { ms: None });
    vec![
        ending("success, whole", chat(MODEL, "plain")),
        ending("success, streamed", chat_stream(MODEL, "streamed")),
        ending("success, with every parameter", talkative(false)),
        ending("success, streamed, with every parameter", talkative(true)),
        Ending {
            path: "/v1/completions",
            ..ending("success, text completion", json!({"model": MODEL, "prompt": "Once", "max_tokens": 5}))
        },
        Ending {
            provider: Some(Fault::Status { code: 500, retry_after: None, error_type: None, message: None }),
            error: json!("500"),
            tries: vec![json!("500")],
            ..ending("provider error", chat(MODEL, "x"))
        },
        Ending {
            provider: Some(Fault::ContextLength),
            error: json!("400"),
            tries: vec![json!("400")],
            ..ending("provider's refusal", chat(MODEL, "x"))
        },
        Ending {
            error: json!("model_not_found"),
            tries: vec![],
            ..ending("refused, no such model", chat("nonsense", "x"))
        },
        Ending {
            key: "wrong",
            error: json!("invalid_api_key"),
            tries: vec![],
            ..ending("refused, before the body is read", chat(MODEL, "x"))
        },
        Ending {
            provider: stall(),
            stays: Stays::BeforeAnswer,
            error: json!("client_gone"),
            tries: vec![json!("cancelled")],
            ..ending("client goes before the answer", chat(MODEL, "x"))
        },
        Ending {
            provider: Some(Fault::StallMidStream { at: At::Bytes(300), ms: None }),
            stays: Stays::DuringAnswer,
            error: json!("client_gone"),
            tries: vec![json!("cancelled")],
            ..ending("client goes during the answer", chat_stream(MODEL, "x"))
        },
        Ending {
            provider: Some(Fault::ResetBeforeHeaders),
            error: json!("503"),
            tries: vec![json!("upstream_reset")],
            ..ending("provider resets before the answer", chat(MODEL, "x"))
        },
        Ending {
            provider: Some(Fault::ResetMidStream { at: At::Bytes(300) }),
            error: json!("upstream_cut"),
            tries: vec![json!("upstream_reset")],
            ..ending("provider resets during the answer", chat_stream(MODEL, "x"))
        },
        Ending {
            provider: stall(),
            error: json!("504"),
            tries: vec![json!("timeout")],
            ..ending("no answer in time", chat(MODEL, "x"))
        },
        Ending {
            provider: Some(Fault::StallMidStream { at: At::Bytes(300), ms: None }),
            error: json!("timeout"),
            tries: vec![json!("timeout")],
            ..ending("no end in time", chat_stream(MODEL, "x"))
        },
    ]
}

async fn run(gate: &Inject, number: usize, ending: &Ending) -> Option<Value> {
    if let Some(fault) = &ending.provider {
        gate.vllm.next(Behaviour::fault(fault.clone()));
    }
    let body = ending.body.to_string();
    let parent = traceparent(number);
    let request = gate.client().with_key(ending.key).post(ending.path, body).header("traceparent", parent);
    match ending.stays {
        Stays::Yes => {
            let response = request.header("tracestate", "a=b").send().await.expect("an answer");
            let whole = response.bytes().await.unwrap_or_default();
            serde_json::from_slice(&whole).ok()
        }
        Stays::BeforeAnswer => {
            let gone = tokio::time::timeout(Duration::from_millis(300), request.send()).await;
            assert!(gone.is_err(), "{}: an answer came", ending.name);
            None
        }
        Stays::DuringAnswer => {
            let mut response = request.send().await.expect("an answer");
            assert!(response.chunk().await.expect("a piece").is_some());
            None
        }
    }
}

fn trace(number: usize) -> String {
    format!("{:032x}", number + 1)
}

fn traceparent(number: usize) -> String {
    format!("00-{}-00000000000000aa-01", trace(number))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_ending_has_its_spans_by_the_conventions() {
    let gate = Inject::with("endings", |setup| {
        setup.exchange.retry.tries = 1;
        setup.exchange.request_timeout_ms = 3_000;
        setup.vllm.prompt_tokens_details = true;
    })
    .await;
    let conventions = Conventions::any();
    let endings = endings();
    let mut seen = BTreeSet::new();
    for (number, ending) in endings.iter().enumerate() {
        let answer = run(&gate, number, ending).await;
        let name = ending.name;
        let spans = of_trace(&gate.collector, number, 1 + ending.tries.len()).await;
        let (exchanges, tries): (Vec<&Span>, Vec<&Span>) = spans.iter().partition(|span| span.is_exchange());
        let [exchange] = exchanges[..] else { panic!("{name}: {} spans of exchanges", exchanges.len()) };
        assert_eq!(exchange.get("error.type"), &ending.error, "{name}: {exchange:#?}");
        let failed = !ending.error.is_null();
        let refused_early = ending.key != KEY;
        let told = Told {
            request: Some(&ending.body).filter(|_| !refused_early),
            answer: answer.as_ref().filter(|_| !failed),
            answered: !failed,
            failed,
            ..Told::default()
        };
        assert_eq!(conventions.judge(exchange, &told), [], "{name}: {exchange:#?}");
        assert_eq!(exchange.parent_id(), "00000000000000aa", "{name}");
        seen.extend(exchange.attributes.keys().cloned());
        let errors: Vec<Value> = tries.iter().map(|one| one.get("error.type").clone()).collect();
        assert_eq!(errors, ending.tries, "{name}: {tries:#?}");
        for one in tries {
            assert_eq!(one.parent_id(), exchange.span_id(), "{name}");
            judge_try(one, name);
            let told = settled(&gate).await.header("traceparent").map(str::to_owned);
            assert_eq!(told, Some(format!("00-{}-{}-01", trace(number), one.span_id())), "{name}");
        }
    }
    // The run has shown what the list says is emitted of OpenAI's, and nothing that it says is not.
    let elsewhere = [
        "gen_ai.usage.cache_creation.input_tokens",
        "gen_ai.usage.reasoning.output_tokens",
        "gen_ai.request.encoding_formats",
        "gen_ai.request.previous_response.id",
        "gen_ai.embeddings.dimension.count",
        "gen_ai.conversation.id",
        // vLLM says neither.
        "openai.response.service_tier",
        "openai.response.system_fingerprint",
    ];
    for (name, coverage) in COVERAGE {
        let due = *coverage == Coverage::Span && !elsewhere.contains(name);
        assert!(!due || seen.contains(*name) || name.contains("cache_read"), "{name} was never emitted");
        assert!(*coverage == Coverage::Span || !seen.contains(*name), "{name} is emitted, against the list");
    }
    let events: BTreeSet<String> =
        gate.collector.spans().iter().flat_map(|s| s.raw.events.iter().map(|e| e.name.clone())).collect();
    assert!(events.contains("weir.route"), "{events:?}");
}

/// All spans of a trace, once there are so many; a little later there are no more.
async fn of_trace(collector: &Collector, number: usize, count: usize) -> Vec<Span> {
    collector.wait(count, |span| span.trace_id() == trace(number)).await;
    tokio::time::sleep(Duration::from_millis(250)).await;
    collector.wait(count, |span| span.trace_id() == trace(number)).await
}

/// The HTTP conventions' required attributes of a client's span.
fn judge_try(one: &Span, name: &str) {
    assert_eq!((one.raw.name.as_str(), one.raw.kind), ("POST", 3), "{name}");
    assert_eq!(one.get("http.request.method"), "POST", "{name}");
    let url = one.get("url.full").as_str().unwrap_or_default();
    assert!(url.starts_with("http://") && url.contains("/v1/"), "{name}: {url}");
    assert!(one.get("server.address").is_string() && one.get("server.port").is_i64(), "{name}: {one:#?}");
    let failed = one.get("error.type").is_string();
    assert_eq!(one.raw.status.as_ref().map_or(0, |status| status.code) == 2, failed, "{name}");
    assert!(failed || one.get("http.response.status_code") == 200, "{name}");
    assert!(
        one.get("weir.target.provider").is_string() && one.get("weir.target.model").is_string(),
        "{name}"
    );
    let others = |key: &str| key.starts_with("gen_ai.") || key.starts_with("openai.");
    assert!(!one.attributes.keys().any(|key| others(key)), "{name}: a try is no operation of its own");
}

/// Envoy's counters of ours by name, over its Prometheus endpoint: sums over their labels.
async fn counters(gate: &Inject) -> BTreeMap<String, u64> {
    let url = format!("http://127.0.0.1:{}/stats/prometheus?filter=weir_", gate.envoy.admin_port());
    let text = reqwest::get(url).await.expect("the admin port answers").text().await.expect("text");
    let mut sums = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.contains("le=\"")) {
        let (Some((name, _)), Some((_, value))) = (line.split_once('{'), line.rsplit_once(' ')) else {
            continue;
        };
        *sums.entry(name.to_owned()).or_default() += value.parse::<u64>().unwrap_or(0);
    }
    sums
}

/// Waits until Envoy's counters are so.
async fn counted(gate: &Inject, is: impl Fn(&BTreeMap<String, u64>) -> bool) -> BTreeMap<String, u64> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let now = counters(gate).await;
        if is(&now) {
            return now;
        }
        assert!(Instant::now() < deadline, "{now:#?}\n{}", gate.envoy.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn get(counters: &BTreeMap<String, u64>, name: &str) -> u64 {
    counters.get(name).copied().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_on_envoys_own_endpoint_equal_the_providers_books() {
    let gate = Inject::start("counters").await;
    for n in 0..5 {
        assert_eq!(
            gate.client().chat(chat_stream(MODEL, &format!("count {n}")).to_string()).await.status,
            200
        );
    }
    gate.client().chat(chat("nonsense", "x").to_string()).await;
    settled(&gate).await;
    // Envoy shows its histograms anew every few seconds.
    let counters = counted(&gate, |c| get(c, "weir_request_duration_milliseconds_count") == 6).await;
    let books = gate.vllm.book().records();
    let sum = |of: fn(&weir_tests::sim::Record) -> u32| books.iter().map(|r| u64::from(of(r))).sum::<u64>();
    assert_eq!(get(&counters, "weir_input_tokens_total"), sum(|r| r.prompt_tokens));
    assert_eq!(get(&counters, "weir_output_tokens_total"), sum(|r| r.completion_tokens));
    assert_eq!(get(&counters, "weir_errors_total"), 1);
    assert_eq!(get(&counters, "weir_tries_total"), 5);
    assert_eq!(get(&counters, "weir_requests_total"), 6, "{counters:#?}");
    assert_eq!(get(&counters, "weir_first_chunk_milliseconds_count"), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_follow_the_conventions_and_equal_the_spans() {
    // Chunks that come at once are one chunk to whoever reads: these are apart.
    let gate = Inject::with("metrics", |setup| setup.vllm.defaults.token_us = Some(4_000)).await;
    for n in 0..4 {
        gate.client().chat(chat_stream(MODEL, &format!("measure {n}")).to_string()).await;
    }
    gate.client().chat(chat(MODEL, "whole").to_string()).await;
    gate.client().chat(chat("nonsense", "x").to_string()).await;
    let spans = gate.collector.wait(6, Span::is_exchange).await;
    let conventions = Conventions::any();
    let deadline = Instant::now() + Duration::from_secs(20);
    let of = |name: &str| {
        let all = gate.collector.metrics();
        all.into_iter()
            .filter(|metric| metric.name == name)
            .flat_map(|metric| metric.points)
            .collect::<Vec<_>>()
    };
    while of("gen_ai.client.operation.duration").iter().map(|point| point.count).sum::<u64>() < 6 {
        assert!(Instant::now() < deadline, "{:#?}", gate.collector.metrics());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let names: BTreeSet<String> = gate.collector.metrics().iter().map(|metric| metric.name.clone()).collect();
    let expected = [
        "gen_ai.client.operation.duration",
        "gen_ai.client.operation.time_per_output_chunk",
        "gen_ai.client.operation.time_to_first_chunk",
        "gen_ai.client.token.usage",
    ];
    assert!(names.iter().eq(expected.iter()), "{names:?}");
    for metric in gate.collector.metrics() {
        assert_eq!(conventions.judge_metric(&metric), [], "{metric:#?}");
    }
    for (kind, attribute) in
        [("input", "gen_ai.usage.input_tokens"), ("output", "gen_ai.usage.output_tokens")]
    {
        let sum: f64 = of("gen_ai.client.token.usage")
            .iter()
            .filter(|point| point.attributes["gen_ai.token.type"] == kind)
            .map(|point| point.sum)
            .sum();
        let said: f64 = spans.iter().filter_map(|span| span.get(attribute).as_f64()).sum();
        assert_eq!(sum, said, "{kind}");
    }
    let seconds: f64 = of("gen_ai.client.operation.duration").iter().map(|point| point.sum).sum();
    let nanos: u64 = spans.iter().map(|s| s.raw.end_time_unix_nano - s.raw.start_time_unix_nano).sum();
    assert!((seconds - nanos as f64 / 1e9).abs() < 1e-6, "{seconds} {nanos}");
    assert_eq!(of("gen_ai.client.operation.time_to_first_chunk").iter().map(|p| p.count).sum::<u64>(), 4);
    // A model that no route knows is anything a client may write: it makes no series.
    let text = format!("{:?}", gate.collector.metrics());
    assert!(!text.contains("nonsense"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_down_slow_or_choosy_costs_spans_that_are_counted_and_no_request() {
    let gate = Inject::start("collectors").await;
    let ask = async |count: usize| {
        for _ in 0..count {
            assert_eq!(gate.client().chat(chat("nonsense", "x").to_string()).await.status, 404);
        }
    };
    // Down, and back before the batch is given up: nothing is lost.
    gate.collector.mood(Mood::Refusing(14));
    ask(20).await;
    counted(&gate, |c| get(c, "weir_export_failures_total") >= 2).await;
    assert_eq!(gate.collector.spans().len(), 0);
    gate.collector.mood(Mood::Well);
    gate.collector.wait(20, Span::is_exchange).await;
    assert_eq!(get(&counters(&gate).await, "weir_spans_dropped_total"), 0);
    // A status after which the same again is useless: dropped and counted.
    gate.collector.mood(Mood::Refusing(3));
    ask(5).await;
    counted(&gate, |c| get(c, "weir_spans_dropped_total") == 5).await;
    // Some of a batch.
    gate.collector.mood(Mood::Rejecting(2));
    ask(1).await;
    counted(&gate, |c| get(c, "weir_spans_rejected_total") == 1).await;
    // Slow: no request waits for it.
    gate.collector.mood(Mood::Slow(2_000));
    let begin = Instant::now();
    ask(20).await;
    assert!(begin.elapsed() < Duration::from_millis(1_900), "{:?}", begin.elapsed());
    gate.collector.mood(Mood::Well);
    let counters = counted(&gate, |c| get(c, "weir_spans_sent_total") >= 40).await;
    // Every span is in one of the books, once.
    let books =
        ["sent", "dropped", "rejected"].map(|book| get(&counters, &format!("weir_spans_{book}_total")));
    assert_eq!(books.iter().sum::<u64>(), 46, "{counters:#?}");
    assert_eq!(get(&counters, "weir_requests_total"), 46);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_stays_away_costs_the_room_of_four_thousand_spans_and_no_time() {
    const REQUESTS: usize = 6_000;
    let gate = Inject::start("collector-away").await;
    let median = async |requests: usize| {
        let mut clients = tokio::task::JoinSet::new();
        for _ in 0..16 {
            let client = gate.client();
            clients.spawn(async move {
                let mut took = Vec::new();
                for _ in 0..requests / 16 {
                    let begun = Instant::now();
                    assert_eq!(client.chat(chat("nonsense", "x").to_string()).await.status, 404);
                    took.push(begun.elapsed());
                }
                took
            });
        }
        let mut all = clients.join_all().await.concat();
        all.sort();
        all[all.len() / 2]
    };
    let before = median(1_600).await;
    counted(&gate, |c| get(c, "weir_spans_sent_total") == 1_600).await;
    let memory = gate.envoy.rss();
    gate.collector.mood(Mood::Refusing(14));
    let away = median(REQUESTS).await;
    let grown = gate.envoy.rss().saturating_sub(memory);
    assert!(grown < 24 << 20, "{grown} bytes more");
    // Other tests run beside; whoever waited for a collector would wait for hundreds of milliseconds.
    assert!(away < before * 4 + Duration::from_millis(20), "{before:?} before, {away:?} while it was away");
    // What found no room was counted; the rest arrives when it is back.
    let all = 1_600 + REQUESTS as u64;
    counted(&gate, |c| get(c, "weir_spans_dropped_total") >= 1_000).await;
    gate.collector.mood(Mood::Well);
    let books =
        |c: &BTreeMap<String, u64>| get(c, "weir_spans_sent_total") + get(c, "weir_spans_dropped_total");
    let counters = counted(&gate, |c| books(c) == all).await;
    assert_eq!(gate.collector.count(Span::is_exchange) as u64, get(&counters, "weir_spans_sent_total"));
    assert!(get(&counters, "weir_spans_dropped_total") < 3_000, "{counters:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unsampled_exchanges_have_a_span_only_where_they_failed() {
    let gate = Inject::with("sampling", |setup| setup.exchange.telemetry.sample = Some(0)).await;
    for n in 0..3 {
        let answer = gate.client().chat(chat(MODEL, &format!("unseen {n}")).to_string()).await;
        assert_eq!(answer.status, 200);
    }
    // The provider is told that the trace is not sampled.
    assert!(settled(&gate).await.header("traceparent").is_some_and(|header| header.ends_with("-00")));
    gate.client().chat(chat("nonsense", "x").to_string()).await;
    // The caller's word goes before the share.
    let request = gate.client().post("/v1/chat/completions", chat(MODEL, "sampled").to_string());
    Client::answer(request.header("traceparent", traceparent(0))).await;
    of_trace(&gate.collector, 0, 2).await;
    let spans = gate.collector.wait(2, Span::is_exchange).await;
    let errors: BTreeSet<String> = spans.iter().map(|span| span.get("error.type").to_string()).collect();
    assert!(
        spans.len() == 2 && errors.contains("\"model_not_found\"") && errors.contains("null"),
        "{spans:#?}"
    );
    let counters = counted(&gate, |c| get(c, "weir_requests_total") == 5).await;
    assert_eq!(get(&counters, "weir_spans_unsampled_total"), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_costs_more_than_the_policy_says_has_a_span_whatever_the_share() {
    // 0.03 and 0.12 USD per million tokens: some tokens of a long prompt are a microdollar, of a short one not.
    const ABOVE: u64 = 20_000;
    let gate = Inject::with("sampling-cost", |setup| {
        setup.exchange.telemetry.sample = Some(0);
        setup.exchange.telemetry.sample_above = Some(ABOVE);
    })
    .await;
    let ask = |text: &str| {
        let mut body = chat(MODEL, text);
        body["max_tokens"] = json!(1);
        gate.client().post("/v1/chat/completions", body.to_string())
    };
    let long = "one two three four ".repeat(500);
    for (n, text) in ["short", &long, "brief"].into_iter().enumerate() {
        // The second is of a caller who does not sample either: what is dear is kept all the same.
        let parent = format!("00-{:032x}-00000000000000aa-00", n + 1);
        assert_eq!(Client::answer(ask(text).header("traceparent", parent)).await.status, 200);
    }
    let counters = counted(&gate, |c| get(c, "weir_requests_total") == 3).await;
    let spans = gate.collector.wait(1, Span::is_exchange).await;
    assert_eq!(get(&counters, "weir_spans_unsampled_total"), 2);
    assert_eq!(spans.iter().map(Span::trace_id).collect::<Vec<_>>(), [format!("{:032x}", 2)]);
    assert!(spans[0].get("weir.cost.usd_nano").as_u64() > Some(ABOVE), "{spans:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_label_has_a_thousand_values_and_then_other() {
    let gate = Inject::with("labels", |setup| {
        setup.exchange.client_labels = vec!["workflow".into()];
        setup.exchange.telemetry.labels = vec!["workflow".into()];
    })
    .await;
    let client = gate.client();
    for n in 0..1_003 {
        let request = client.post("/v1/chat/completions", chat("nonsense", "x").to_string());
        Client::answer(request.header("x-weir-label-workflow", format!("w{n}"))).await;
    }
    let spans = gate.collector.wait(1_003, Span::is_exchange).await;
    let values: BTreeSet<&str> = spans.iter().filter_map(|s| s.get("weir.label.workflow").as_str()).collect();
    assert_eq!(values.len(), 1_001);
    assert_eq!(spans.iter().filter(|s| s.get("weir.label.workflow") == "other").count(), 3);
}
