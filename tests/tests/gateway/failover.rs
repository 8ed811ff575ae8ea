//! Failover as one table: what the first provider does, of which kind it is, streamed or not. Every row is answered 200
//! by the other provider, neither sees a header that is not on its list, and nothing is billed twice.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use weir_tests::harness::Client;
use weir_tests::sim::{At, Behaviour, Fault, Order, Record, Rule, Server};

use crate::anthropic::ANTHROPIC;
use crate::chat::{chat, said};
use crate::openai::{self, OPENAI};
use crate::policy::{BEDROCK_FIRST, KEY, VLLM_FIRST, VLLM_KEY};
use crate::setup::Gateway;

/// Anthropic first, an OpenAI-compatible server when it fails.
const CLAUDE_FIRST: &str = "claude-first";
/// The other way round.
const OPEN_FIRST: &str = "open-first";
const FIRSTS: [&str; 4] = [VLLM_FIRST, BEDROCK_FIRST, CLAUDE_FIRST, OPEN_FIRST];

/// How the first provider fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Nobody listens.
    Refused,
    ResetBeforeHeaders,
    CloseBeforeHeaders,
    /// 200 and headers, then a reset.
    ResetBeforeFirstByte,
    Status(u16),
    StallBeforeHeaders,
    /// 200 and headers, then nothing.
    Silence,
    /// Bytes that are no HTTP.
    GarbageHead,
    /// 200 and headers, then bytes that are nothing.
    GarbageBody,
    /// 200 and headers, then a proper end.
    Empty,
    /// 200, and the first event of the stream is an error of this kind.
    FirstFrame(&'static str),
}

/// For whom a row holds. How long a whole answer may take is `gateway.request_timeout`, not `retry.first_byte`:
/// it begins to come when all of it was generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Where {
    Everywhere,
    Streams,
    /// Streams of this provider.
    StreamsOf(&'static str),
}

const KINDS: [(Kind, Where); 20] = [
    (Kind::Refused, Where::Everywhere),
    (Kind::ResetBeforeHeaders, Where::Everywhere),
    (Kind::CloseBeforeHeaders, Where::Everywhere),
    (Kind::ResetBeforeFirstByte, Where::Everywhere),
    (Kind::Status(429), Where::Everywhere),
    (Kind::Status(500), Where::Everywhere),
    (Kind::Status(503), Where::Everywhere),
    (Kind::StallBeforeHeaders, Where::Streams),
    (Kind::Silence, Where::Streams),
    (Kind::GarbageHead, Where::Everywhere),
    (Kind::GarbageBody, Where::Streams),
    (Kind::Empty, Where::Streams),
    (Kind::FirstFrame("InternalServerError"), Where::StreamsOf(VLLM_FIRST)),
    (Kind::FirstFrame("internalServerException"), Where::StreamsOf(BEDROCK_FIRST)),
    (Kind::FirstFrame("throttlingException"), Where::StreamsOf(BEDROCK_FIRST)),
    (Kind::FirstFrame("serviceUnavailableException"), Where::StreamsOf(BEDROCK_FIRST)),
    (Kind::FirstFrame("modelStreamErrorException"), Where::StreamsOf(BEDROCK_FIRST)),
    (Kind::FirstFrame("api_error"), Where::StreamsOf(CLAUDE_FIRST)),
    (Kind::FirstFrame("overloaded_error"), Where::StreamsOf(CLAUDE_FIRST)),
    (Kind::FirstFrame("server_error"), Where::StreamsOf(OPEN_FIRST)),
];

/// What throttles is left alone for a second: those rows come one after the other.
fn throttles(kind: Kind) -> bool {
    matches!(kind, Kind::Status(429) | Kind::FirstFrame("throttlingException" | "overloaded_error"))
}
const LEFT_ALONE: Duration = Duration::from_millis(1_100);

/// Longer than a healthy first byte takes on a busy machine.
const FIRST_BYTE: &str = "4s";

/// What each provider may see, and nothing else.
const BOTH: [&str; 8] = [
    "host",
    "content-type",
    "content-length",
    "accept",
    "user-agent",
    "traceparent",
    "tracestate",
    "x-request-id",
];
/// By provider: its further headers, and its own credential.
const ALSO: [(&str, &[&str], &str); 4] = [
    ("gpu-pool:", &["authorization"], "Bearer vllm-only-credential"),
    (
        "bedrock:",
        &["authorization", "x-amz-date", "x-amz-content-sha256"],
        "AWS4-HMAC-SHA256 Credential=AKID",
    ),
    ("claude:", &["x-api-key", "anthropic-version"], "sk-ant-simulated"),
    ("open:", &["authorization"], "Bearer sk-simulated"),
];

struct Case {
    kind: Kind,
    first: &'static str,
    stream: bool,
    /// In the prompt, so that simulators and books know whose request it is.
    mark: String,
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (kind, place) in KINDS {
        for first in FIRSTS {
            for stream in [false, true] {
                let holds = match place {
                    Where::Everywhere => true,
                    Where::Streams => stream,
                    Where::StreamsOf(whose) => stream && whose == first,
                };
                if holds {
                    let mark = format!("case-{:03}.", cases.len());
                    cases.push(Case { kind, first, stream, mark });
                }
            }
        }
    }
    cases
}

fn behaviour(kind: Kind) -> Option<Behaviour> {
    Some(Behaviour::fault(match kind {
        Kind::Refused => return None,
        Kind::ResetBeforeHeaders => Fault::ResetBeforeHeaders,
        Kind::CloseBeforeHeaders => Fault::CloseBeforeHeaders,
        Kind::ResetBeforeFirstByte => Fault::ResetMidStream { at: At::Bytes(0) },
        Kind::Status(code) => return Some(Behaviour::status(code)),
        Kind::StallBeforeHeaders => Fault::StallBeforeHeaders { ms: None },
        Kind::Silence => Fault::SilenceAfterHeaders { ms: None },
        Kind::GarbageHead => Fault::GarbageHead { bytes: 200 },
        Kind::GarbageBody => Fault::GarbageBody { bytes: 200 },
        Kind::Empty => Fault::CutMidStream { at: At::Bytes(0) },
        Kind::FirstFrame(name) => Fault::ErrorFirstFrame { error_type: Some(name.into()), message: None },
    }))
}

/// Claims that a client has no say in, and credentials that are nobody's business.
fn spoofed(client: &Client, body: &Value) -> reqwest::RequestBuilder {
    client
        .post("/v1/chat/completions", body.to_string())
        .header("x-envoy-attempt-count", "1")
        .header("x-envoy-max-retries", "0")
        .header("x-envoy-retry-on", "gateway-error")
        .header("x-envoy-upstream-rq-per-try-timeout-ms", "1")
        .header("x-envoy-upstream-rq-timeout-ms", "1")
        .header("x-weir-tried", "1")
        .header("x-weir-s1", "weir-bedrock")
        .header("x-api-key", "client-secret")
        .header("api-key", "client-secret")
        .header("cookie", "session=client-secret")
        .header("proxy-authorization", "Basic client-secret")
        .header("openai-organization", "client-secret")
        .header("x-amz-security-token", "client-secret")
        .header("x-amz-date", "20200101T000000Z")
        .header("x-amz-content-sha256", "client-secret")
        .header("x-goog-api-key", "client-secret")
        .header("x-stainless-lang", "python")
        .header("tracestate", "vendor=value")
}

/// All four providers behind one gateway.
struct World {
    gateway: Gateway,
    open: Server,
    claude: Server,
}

impl World {
    async fn start(name: &str, version: &str) -> Self {
        let (gateway, open, claude) = openai::start(name, |plan| {
            plan.version = version.into();
            plan.policy["retry"]["first_byte"] = json!(FIRST_BYTE);
            plan.policy["retry"]["tries"] = json!(2);
            pairs(&mut plan.policy);
        })
        .await;
        Self { gateway, open, claude }
    }

    /// By the prefix of its targets.
    fn server(&self, provider: &str) -> &Server {
        match provider {
            "gpu-pool:" => self.gateway.vllm(),
            "bedrock:" => &self.gateway.bedrock,
            "claude:" => &self.claude,
            _ => &self.open,
        }
    }
}

/// The model's two providers.
fn order(first: &str) -> (&'static str, &'static str) {
    match first {
        VLLM_FIRST => ("gpu-pool:", "bedrock:"),
        BEDROCK_FIRST => ("bedrock:", "gpu-pool:"),
        CLAUDE_FIRST => ("claude:", "open:"),
        _ => ("open:", "claude:"),
    }
}

/// Models over Anthropic and the OpenAI-compatible server, and the same with a first that nobody listens at.
fn pairs(policy: &mut Value) {
    let providers = policy["providers"].as_array_mut().expect("a list");
    let dead = |name: &str| providers.iter().find(|one| one["name"] == name).cloned().expect("a provider");
    let (mut dead_claude, mut dead_open) = (dead("claude"), dead("open"));
    let nowhere = dead("dead-pool")["endpoints"][0].clone();
    for (provider, name) in [(&mut dead_claude, "dead-claude"), (&mut dead_open, "dead-open")] {
        provider["name"] = json!(name);
        provider["endpoint"] = nowhere.clone();
    }
    providers.extend([dead_claude, dead_open]);
    let models = policy["models"].as_array_mut().expect("a list");
    let only =
        |name: &str| models.iter().find(|one| one["name"] == name).expect("a model")["targets"][0].clone();
    let (claude, open) = (only(ANTHROPIC), only(OPENAI));
    let at = |target: &Value, provider: &str| {
        let mut target = target.clone();
        target["provider"] = json!(provider);
        target
    };
    let model = |name: &str, first: Value, mut second: Value| {
        second["priority"] = json!(1);
        json!({"name": name, "targets": [first, second]})
    };
    let more = [
        model(CLAUDE_FIRST, claude.clone(), open.clone()),
        model(OPEN_FIRST, open.clone(), claude.clone()),
        model("dead-claude-first", at(&claude, "dead-claude"), open.clone()),
        model("dead-open-first", at(&open, "dead-open"), claude.clone()),
    ];
    let names: Vec<Value> = more.iter().map(|model| model["name"].clone()).collect();
    models.extend(more);
    for tenant in policy["tenants"].as_array_mut().expect("a list") {
        tenant["models"].as_array_mut().expect("a list").extend(names.clone());
    }
}

async fn run(world: &World, case: &Case) -> Result<Duration, String> {
    let dead = format!("dead-{}", case.first);
    let model = if case.kind == Kind::Refused { dead.as_str() } else { case.first };
    let begun = Instant::now();
    // A connection for each: what one row does to it is no other row's business.
    let body = chat(model, &format!("{} Say something.", case.mark), case.stream);
    let request = spoofed(&world.gateway.client(), &body);
    let answer = Client::try_answer(request).await.map_err(|error| format!("{error:?}"))?;
    let took = begun.elapsed();
    let said = said(&answer, case.stream)?;
    if !said.done || said.finish.is_none() || said.text.is_empty() {
        return Err(format!("not a whole answer: {said:?} in {}", answer.text()));
    }
    let target = answer.header("x-weir-target").unwrap_or_default();
    let (first, second) = order(case.first);
    if !target.starts_with(second) || !target.ends_with(" attempt 2") {
        return Err(format!("answered by {target}"));
    }
    let seen = |provider: &str| -> Vec<Record> {
        let records = world.server(provider).book().records().into_iter();
        records.filter(|r| r.body.as_ref().is_some_and(|body| body.contains(&case.mark))).collect()
    };
    let (by_first, by_second) = (seen(first), seen(second));
    let asked_first = usize::from(case.kind != Kind::Refused);
    if (by_first.len(), by_second.len()) != (asked_first, 1) {
        return Err(format!("asked {} times, then {} times", by_first.len(), by_second.len()));
    }
    // The client is billed for one answer; the first's provider bills what it had begun, if anything.
    let begun = by_first.iter().any(|record| record.status == 200);
    let lost: u32 = by_first.iter().map(|record| record.billed_completion_tokens).sum();
    let billed = by_second.first().map_or((0, 0), |r| (r.billed_prompt_tokens, r.billed_completion_tokens));
    if (lost > 0 && !begun)
        || (u64::from(billed.0), u64::from(billed.1)) != (said.prompt_tokens, said.completion_tokens)
    {
        return Err(format!(
            "billed {lost} tokens of an answer, then {billed:?}; the client was told {said:?}"
        ));
    }
    for (provider, also, credential) in ALSO {
        let books = if provider == first { &by_first } else { &by_second };
        if [first, second].contains(&provider) {
            books.iter().try_for_each(|record| only_allowed(record, also, credential))?;
        }
    }
    Ok(took)
}

fn only_allowed(record: &Record, also: &[&str], credential: &str) -> Result<(), String> {
    for (name, value) in &record.headers {
        let name = name.to_ascii_lowercase();
        if !BOTH.contains(&name.as_str()) && !also.contains(&name.as_str()) {
            return Err(format!("a provider saw {name}: {value}"));
        }
        let own = ["authorization", "x-api-key"].contains(&name.as_str()) && value.starts_with(credential);
        let foreign = [KEY, VLLM_KEY, "secret", "AKID", "sk-"].iter().any(|what| value.contains(what));
        if (foreign || name == "authorization") && !own {
            return Err(format!("a provider saw {name}: {value}"));
        }
    }
    let body = record.body.as_deref().unwrap_or_default();
    match body.contains(VLLM_KEY) || body.contains("client-secret") {
        true => Err("a credential is in the body".into()),
        false => Ok(()),
    }
}

async fn matrix(version: &str) {
    matrix_of(version, cases()).await;
}

async fn matrix_of(version: &str, cases: Vec<Case>) {
    let world = Arc::new(World::start(&format!("failover-{version}"), version).await);
    let count = cases.len();
    for case in &cases {
        let Some(behaviour) = behaviour(case.kind) else { continue };
        let rule = Rule { contains: case.mark.clone(), times: None, behaviour };
        world.server(order(case.first).0).order(Order { rules: vec![rule], ..Order::default() });
    }
    let seats = Arc::new(Semaphore::new(12));
    let mut running = JoinSet::new();
    let stalls = |kind| matches!(kind, Kind::StallBeforeHeaders | Kind::Silence);
    let (mut last, cases): (Vec<Case>, Vec<Case>) = cases.into_iter().partition(|case| throttles(case.kind));
    // Those that stall wait for the others to be done beside them.
    let (slow, fast): (Vec<Case>, Vec<Case>) = cases.into_iter().partition(|case| stalls(case.kind));
    for case in slow.into_iter().chain(fast) {
        let (world, seats) = (world.clone(), seats.clone());
        running.spawn(async move {
            let _seat = seats.acquire().await;
            let result = run(&world, &case).await;
            vec![(case, result)]
        });
    }
    let mut done = running.join_all().await;
    let mut running = JoinSet::new();
    for first in FIRSTS {
        let (own, rest): (Vec<Case>, Vec<Case>) = last.into_iter().partition(|case| case.first == first);
        last = rest;
        let world = world.clone();
        running.spawn(async move {
            let mut results = Vec::new();
            for case in own {
                let result = run(&world, &case).await;
                results.push((case, result));
                tokio::time::sleep(LEFT_ALONE).await;
            }
            results
        });
    }
    done.extend(running.join_all().await);
    let mut failures = Vec::new();
    let mut longest = Duration::ZERO;
    for (case, result) in done.into_iter().flatten() {
        match result {
            Ok(took) if !stalls(case.kind) => longest = longest.max(took),
            Ok(_) => {}
            Err(why) => {
                failures.push(format!("{:?}, {}, stream {}: {why}", case.kind, case.first, case.stream))
            }
        }
    }
    println!(
        "Envoy {version}: {} of {count} rows answered by the other provider, stalls aside in {longest:?} at most",
        count - failures.len()
    );
    assert!(failures.is_empty(), "{}\n{}", failures.join("\n"), world.gateway.envoy.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_failure_of_the_first_provider_is_answered_by_the_other() {
    matrix("1.40.0").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_failure_of_the_first_provider_is_answered_by_the_other_on_the_release_before() {
    matrix("1.39.3").await;
}

/// Where a try cannot pick another cluster, one cluster holds both providers. That Envoy crashes when it retries on
/// headers that were held, so what is found in the first frame of a stream is told to the client in its own dialect.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_failure_of_the_first_provider_is_answered_by_the_other_within_one_cluster() {
    let (held, others): (Vec<Case>, Vec<Case>) = cases()
        .into_iter()
        .partition(|case| matches!(case.kind, Kind::FirstFrame(_) | Kind::GarbageBody | Kind::Empty));
    matrix_of("1.36.4", others).await;

    let world = World::start("failover-held", "1.36.4").await;
    let gateway = &world.gateway;
    for case in held {
        let rule = Rule {
            contains: case.mark.clone(),
            times: None,
            behaviour: behaviour(case.kind).expect("a behaviour"),
        };
        world.server(order(case.first).0).order(Order { rules: vec![rule], ..Order::default() });
        let answer = gateway.client().chat(chat(case.first, &case.mark, true).to_string()).await;
        assert!(answer.status == 429 || answer.status >= 500, "{:?}: {}", case.kind, answer.text());
        assert!(answer.json()["error"]["message"].is_string(), "{:?}: {}", case.kind, answer.text());
        assert_eq!(answer.header("x-envoy-ratelimited"), None);
        if throttles(case.kind) {
            tokio::time::sleep(LEFT_ALONE).await;
        }
    }
    // What the provider refuses for good is told in full.
    gateway.bedrock.next(Behaviour::status(400));
    let answer = gateway.client().chat(chat(BEDROCK_FIRST, "Refused.", false).to_string()).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert!(answer.json()["error"]["message"].is_string(), "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forty_streams_at_once_fail_over_when_the_first_provider_is_dead() {
    let gateway = Arc::new(Gateway::start("breakers").await);
    // A retry counts as active while its stream lives: they must live at the same time.
    let slow = Behaviour { reply_tokens: Some(30), token_us: Some(40_000), ..Behaviour::default() };
    gateway.vllm().always(slow.clone());
    gateway.bedrock.always(slow);
    for model in ["dead-vllm-first", "dead-bedrock-first"] {
        let mut running = JoinSet::new();
        for number in 0..40 {
            let client = gateway.client();
            let body = chat(model, &format!("Stream {number}."), true).to_string();
            running.spawn(async move { said(&client.chat(body).await, true) });
        }
        let mut good = 0;
        while let Some(result) = running.join_next().await {
            let said = result.expect("no panic").unwrap_or_else(|why| panic!("{model}: {why}"));
            assert!(said.done && said.finish.is_some(), "{model}: {said:?}");
            good += 1;
        }
        assert_eq!(good, 40);
    }
}
