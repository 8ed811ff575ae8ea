//! The dashboard and the alert rules of `envoy/observe`, evaluated by a real Prometheus over what a gateway and its
//! control plane really emit: a query that finds nothing after the traffic that should feed it fails, a rule fires on
//! what is planted for it and on nothing else.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use weir_tests::harness::collector::Mood;
use weir_tests::harness::prometheus::promtool;
use weir_tests::harness::{Client, Collector, Prometheus, repo_root};
use weir_tests::sim::Behaviour;

use crate::chat::chat;
use crate::policy::{BEDROCK_FIRST, OTHER_KEY, VLLM_FIRST};
use crate::setup::Gateway;

fn read(name: &str) -> String {
    let path = repo_root().join("envoy/observe").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
}

/// Every query of the dashboard, for each choice of what it is divided by: title and expression.
fn queries() -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_str(&read("dashboard.json")).expect("JSON");
    let mut out = Vec::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().expect("an expression");
            for by in ["tenant", "route", "model", "provider"] {
                let told = [
                    ("$__rate_interval", "20s"),
                    ("$__range", "1m"),
                    ("$by", by),
                    ("$tenant", ".*"),
                    ("$model", ".*"),
                    ("$provider", ".*"),
                ];
                let told =
                    told.iter().fold(expression.to_owned(), |text, (name, value)| text.replace(name, value));
                assert!(!told.contains('$'), "{told}");
                out.push((panel["title"].as_str().unwrap_or_default().to_owned(), told));
                if !expression.contains("$by") {
                    break;
                }
            }
        }
    }
    out
}

/// The rules with windows that a test can wait for.
fn hasty(rules: &str) -> String {
    let mut out = String::new();
    for line in rules.lines().filter(|line| !line.trim_start().starts_with("for:")) {
        let mut line = line.to_owned();
        for window in ["5m", "10m", "15m", "1h"] {
            line = line
                .replace(&format!("[{window}]"), "[20s]")
                .replace(&format!("offset {window}"), "offset 20s");
        }
        out.push_str(&line);
        out.push('\n');
    }
    out
}

fn names(rules: &str) -> BTreeSet<String> {
    let lines = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    lines.map(str::to_owned).collect()
}

/// What a policy has that feeds every panel.
fn policy(plan: &mut crate::setup::Plan, collector: u16) {
    let policy = &mut plan.policy;
    policy["telemetry"] = json!({"otlp": format!("http://127.0.0.1:{collector}")});
    let mut unpriced = policy["models"][0].clone();
    unpriced["name"] = json!("unpriced");
    for target in unpriced["targets"].as_array_mut().into_iter().flatten() {
        target.as_object_mut().map(|target| target.remove("price"));
    }
    if let Some(models) = policy["models"].as_array_mut() {
        models.push(unpriced);
    }
    for tenant in policy["tenants"].as_array_mut().into_iter().flatten() {
        if let Some(models) = tenant["models"].as_array_mut() {
            models.push(json!("unpriced"));
        }
    }
    policy["routes"] = json!([
        {"name": "usual", "when": {"model": VLLM_FIRST}, "use": {"model": VLLM_FIRST}},
        {"name": "other", "when": {"model": BEDROCK_FIRST}, "use": {"model": BEDROCK_FIRST}},
    ]);
    policy["redaction"] = json!([{"name": "people", "find": ["email"], "do": "tokenize", "in": "request"}]);
    policy["budgets"] = json!([
        {"name": "acme-month", "when": {"tenant": "acme"}, "limit": {"tokens": 100_000_000}, "window": "month"},
        {"name": "acme-usd", "when": {"tenant": "acme", "model": [VLLM_FIRST, BEDROCK_FIRST]}, "limit": {"usd": 500}, "window": "month"},
        {"name": "globex-month", "when": {"tenant": "globex"}, "limit": {"requests": 60}, "window": "month"},
    ]);
}

/// A second of ordinary traffic: two tenants, two models, streams and whole answers, something to redact.
async fn ordinary(gateway: &Gateway, round: usize) {
    let acme = gateway.client();
    let mut answers = Vec::new();
    for n in 0..4 {
        let text = format!("round {round}, {n}: write to jane.doe{n}@example.org");
        let model = if n % 2 == 0 { VLLM_FIRST } else { BEDROCK_FIRST };
        answers.push(acme.chat(chat(model, &text, n < 2).to_string()).await);
    }
    // Not every second: its budget is to last.
    if round.is_multiple_of(4) {
        let globex = Client::new(gateway.ports.gateway, OTHER_KEY);
        answers.push(globex.chat(chat(VLLM_FIRST, &format!("globex {round}"), false).to_string()).await);
    }
    for answer in answers {
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    // Its own mistake, not the provider's.
    assert_eq!(acme.chat(chat("nonsense", "x", false).to_string()).await.status, 404);
    tokio::time::sleep(Duration::from_millis(500)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_query_finds_what_we_emit_and_rules_fire_on_what_is_planted_only() {
    let collector = Collector::start().await;
    let mut gateway = Gateway::with("observe", |plan, _| policy(plan, collector.port())).await;
    let rules = hasty(&read("alerts.yaml"));
    let targets = [
        ("weir-gateway", gateway.envoy.admin_port(), "/stats/prometheus"),
        ("weir-control", gateway.api_port(), "/metrics"),
    ];
    let prometheus = Prometheus::start("observe", &targets, &rules).await;
    // A first request of each kind, since what begins with an event shows no rate of it.
    let mut round = 0;
    let mut empty = queries();
    let deadline = Instant::now() + Duration::from_secs(90);
    while !empty.is_empty() {
        let left: Vec<&String> = empty.iter().map(|(_, expression)| expression).collect();
        assert!(Instant::now() < deadline, "these find nothing: {left:#?}");
        ordinary(&gateway, round).await;
        round += 1;
        let mut still = Vec::new();
        for (title, expression) in empty {
            let unpriced = expression.contains("unpriced") || expression.contains("estimated");
            let samples = prometheus.query(&expression).await;
            // Of what does not happen in ordinary traffic, the name alone must be known.
            if !unpriced && !samples.iter().any(|(_, value)| value.is_finite()) {
                still.push((title, expression));
            }
        }
        empty = still;
    }
    for _ in 0..5 {
        ordinary(&gateway, round).await;
        round += 1;
        assert_eq!(prometheus.firing().await, [""; 0], "nothing is wrong");
    }
    plausible(&prometheus).await;
    planted(&mut gateway, &collector, &prometheus).await;
}

/// What the panels say is what happened.
async fn plausible(prometheus: &Prometheus) {
    let labels = prometheus.query("count by (tenant, route, model, provider) (weir_requests_total)").await;
    let wanted = json!({"tenant": "acme", "route": "usual", "model": VLLM_FIRST, "provider": "gpu-pool"});
    assert!(labels.iter().any(|(labels, _)| *labels == wanted), "{labels:#?}");
    // Envoy shows its histograms anew every few seconds, its counters at once.
    let told = "sum (weir_request_duration_milliseconds_count) == sum (weir_requests_total)";
    let deadline = Instant::now() + Duration::from_secs(30);
    while prometheus.query(told).await.is_empty() {
        assert!(Instant::now() < deadline, "the histograms stay behind");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    // All the time of a request is in one of its stages.
    let stages = prometheus.query("sum (weir_stage_microseconds_total{stage!='own'})").await[0].1;
    let whole = prometheus.query("sum (weir_request_duration_milliseconds_sum) * 1000").await[0].1;
    let count = prometheus.query("sum (weir_request_duration_milliseconds_count)").await[0].1;
    assert!((stages - whole).abs() < whole * 0.1 + count * 1_100.0, "{stages} of {whole}");
    let own = prometheus.query("sum (weir_stage_microseconds_total{stage='own'})").await[0].1;
    assert!(own > count * 10.0 && own < whole, "{own} of {whole} for {count}");
    let versions =
        prometheus.query("weir_policy_info * on (version) group_left () weir_gateway_policy_info").await;
    assert!(!versions.is_empty(), "the gateway judges by the policy that it is told");
    let found = prometheus.query("sum by (type) (weir_findings_total)").await;
    assert_eq!(found[0].0, json!({"type": "email"}), "{found:#?}");
}

/// Something goes wrong, and the rule for it fires.
async fn planted(gateway: &mut Gateway, collector: &Collector, prometheus: &Prometheus) {
    collector.mood(Mood::Refusing(3));
    let acme = gateway.client();
    let globex = Client::new(gateway.ports.gateway, OTHER_KEY);
    let expected: BTreeSet<String> = [
        "WeirProviderFails",
        "WeirUnpricedTraffic",
        "WeirBudgetExhausted",
        "WeirBudgetNearlyUsed",
        "WeirSpansDropped",
        "WeirExportFails",
        "WeirPolicyFileRefused",
    ]
    .map(str::to_owned)
    .into();
    gateway.write(json!({"apiVersion": "weir.dev/v1", "nonsense": true}));
    for _ in 0..70 {
        globex.chat(chat(VLLM_FIRST, "more than it may", false).to_string()).await;
    }
    acme.chat(chat("unpriced", "x", false).to_string()).await;
    let mut fired = BTreeSet::new();
    let deadline = Instant::now() + Duration::from_secs(60);
    gateway.vllm().always(Behaviour::status(500));
    gateway.bedrock.always(Behaviour::status(500));
    while !expected.is_subset(&fired) {
        assert!(Instant::now() < deadline, "{:?} are silent", expected.difference(&fired));
        assert_ne!(acme.chat(chat(VLLM_FIRST, "x", false).to_string()).await.status, 200);
        fired.extend(prometheus.firing().await);
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    // Charged by a bound, and still failing: nothing else is the matter.
    fired.remove("WeirManyEstimates");
    assert_eq!(fired, expected);
    gateway.kill_control();
    let deadline = Instant::now() + Duration::from_secs(30);
    while !prometheus.firing().await.iter().any(|name| name == "WeirDown") {
        assert!(Instant::now() < deadline, "WeirDown is silent");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// Series and their values, one a minute, in `promtool`'s notation.
type Series = &'static [(&'static str, &'static str)];

/// A rule, series on which it fires, and series on which it must not.
const PLANTED: &[(&str, Series, Series)] = &[
    (
        "WeirProviderFails",
        &[
            ("weir_errors_total{provider=\"a\",reason=\"503\"}", "0+6x60"),
            ("weir_requests_total{provider=\"a\"}", "0+60x60"),
        ],
        &[
            ("weir_errors_total{provider=\"a\",reason=\"503\"}", "0+2x60"),
            ("weir_errors_total{provider=\"a\",reason=\"client_gone\"}", "0+30x60"),
            ("weir_requests_total{provider=\"a\"}", "0+60x60"),
        ],
    ),
    (
        "WeirSlowFirstPiece",
        &[
            ("weir_first_chunk_milliseconds_bucket{provider=\"a\",le=\"10000\"}", "0+1x60"),
            ("weir_first_chunk_milliseconds_bucket{provider=\"a\",le=\"30000\"}", "0+9x60"),
            ("weir_first_chunk_milliseconds_bucket{provider=\"a\",le=\"+Inf\"}", "0+9x60"),
        ],
        &[
            ("weir_first_chunk_milliseconds_bucket{provider=\"a\",le=\"10000\"}", "0+9x60"),
            ("weir_first_chunk_milliseconds_bucket{provider=\"a\",le=\"30000\"}", "0+9x60"),
            ("weir_first_chunk_milliseconds_bucket{provider=\"a\",le=\"+Inf\"}", "0+9x60"),
        ],
    ),
    // The first request without a price is enough: its counter begins with it.
    (
        "WeirUnpricedTraffic",
        &[("weir_unpriced_requests_total{model=\"m\",provider=\"a\"}", "_x55 1x5")],
        &[("weir_cost_nano_usd_total{model=\"m\",provider=\"a\"}", "0+1000x60")],
    ),
    (
        "WeirManyEstimates",
        &[
            ("weir_estimated_requests_total{provider=\"a\"}", "0+3x60"),
            ("weir_requests_total{provider=\"a\"}", "0+10x60"),
        ],
        &[
            ("weir_estimated_requests_total{provider=\"a\"}", "0+1x60"),
            ("weir_requests_total{provider=\"a\"}", "0+10x60"),
        ],
    ),
    (
        "WeirBudgetExhausted",
        &[("weir_errors_total{tenant=\"t\",model=\"m\",reason=\"budget_exhausted\"}", "_x58 1x2")],
        &[("weir_errors_total{tenant=\"t\",model=\"m\",reason=\"budget_exhausted\"}", "3x60")],
    ),
    (
        "WeirBudgetNearlyUsed",
        &[
            ("weir_budget_settled{budget=\"b\",unit=\"tokens\"}", "0x50 1700x10"),
            ("weir_budget_stranded{budget=\"b\",unit=\"tokens\"}", "0x50 150x10"),
            ("weir_budget_limit{budget=\"b\",unit=\"tokens\"}", "1000x60"),
            ("weir_budget_counters{budget=\"b\",unit=\"tokens\"}", "2x60"),
        ],
        &[
            ("weir_budget_settled{budget=\"b\",unit=\"tokens\"}", "0x60"),
            ("weir_budget_stranded{budget=\"b\",unit=\"tokens\"}", "0x60"),
            ("weir_budget_limit{budget=\"b\",unit=\"tokens\"}", "1000x60"),
            // Nobody has used it yet.
            ("weir_budget_counters{budget=\"b\",unit=\"tokens\"}", "0x60"),
        ],
    ),
    ("WeirUnitsStranded", &[("weir_budget_stranded", "0x40 5x20")], &[("weir_budget_stranded", "0x55 5x5")]),
    ("WeirLedgerStoreAway", &[("weir_ledger_up", "1x50 0x10")], &[("weir_ledger_up", "1x60")]),
    (
        "WeirLedgerUnreachable",
        &[("weir_errors_total{reason=\"budget_unavailable\"}", "1x57 1+1x3")],
        &[("weir_errors_total{reason=\"budget_unavailable\"}", "7x60")],
    ),
    (
        "WeirLedgerSlows",
        &[("weir_admit_waited_total", "0+90x60"), ("weir_admit_local_total", "0+200x60")],
        &[("weir_admit_waited_total", "0+1x60"), ("weir_admit_local_total", "0+2x60")],
    ),
    (
        "WeirBudgetExceeded",
        &[("weir_budget_excess_units_total", "0x55 1x5")],
        &[("weir_budget_excess_units_total", "1x60")],
    ),
    (
        "WeirDown",
        &[("up{job=\"weir-gateway\"}", "1x55 0x5")],
        &[("up{job=\"weir-gateway\"}", "1x60"), ("up{job=\"other\"}", "0x60")],
    ),
    (
        "WeirNoPolicy",
        &[("weir_errors_total{reason=\"no_policy\"}", "_x58 4x2")],
        &[("weir_errors_total{reason=\"model_not_found\"}", "0+9x60")],
    ),
    (
        "WeirPolicyFileRefused",
        &[("weir_policy_problems", "0x50 2x10")],
        &[("weir_policy_problems", "0x50 2x4 0x6")],
    ),
    (
        "WeirPolicyRefusedByGateway",
        &[("weir_gateway_refusals_total", "0x55 1x5")],
        &[("weir_gateway_refusals_total", "5x60")],
    ),
    (
        "WeirGatewayBehind",
        &[("weir_gateways_behind", "0x50 1x10")],
        &[("weir_gateways_behind", "0x57 1x1 0x2")],
    ),
    (
        "WeirSpansDropped",
        &[("weir_spans_dropped_total{instance=\"g\"}", "0x57 100x3")],
        &[
            ("weir_spans_dropped_total{instance=\"g\"}", "5x60"),
            ("weir_spans_rejected_total{instance=\"g\"}", "0x60"),
        ],
    ),
    (
        "WeirExportFails",
        &[("weir_export_failures_total{instance=\"g\"}", "0x50 0+1x10")],
        &[("weir_export_failures_total{instance=\"g\"}", "0x50 1x10")],
    ),
];

#[test]
fn promtool_has_every_rule_fire_on_what_is_planted_for_it_and_on_nothing_else() {
    let rules = read("alerts.yaml");
    let known: BTreeSet<String> = PLANTED.iter().map(|(name, ..)| (*name).to_owned()).collect();
    assert_eq!(known, names(&rules), "each rule is planted");
    for (name, fires, silent) in PLANTED {
        for (series, fire) in [(fires, true), (silent, false)] {
            let series: Vec<Value> =
                series.iter().map(|(name, values)| json!({"series": name, "values": values})).collect();
            let count = json!({"expr": format!("count(ALERTS{{alertname='{name}',alertstate='firing'}}) or vector(0)"),
                "eval_time": "59m", "exp_samples": [{"labels": "{}", "value": u8::from(fire)}]});
            let tests = json!({"rule_files": ["rules.yaml"], "evaluation_interval": "1m",
                "tests": [{"interval": "1m", "input_series": series, "promql_expr_test": [count]}]});
            if let Err(why) = promtool(&format!("promtool-{name}"), &rules, &tests.to_string()) {
                panic!("{name} must {}: {why}", if fire { "fire" } else { "be silent" });
            }
        }
    }
}
