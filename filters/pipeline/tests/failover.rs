//! What one try does for the next, and what becomes of answers that fall silent; natively.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may panic")]

mod drive;

use drive::world::answer;
use drive::{Answer, Cuts, Gateway, NOW, Outcome};
use weir_config::filter;
use weir_pipeline::cooling::{self, Cool, Cooling};
use weir_pipeline::copy::{COPY, Copy, MIRROR};
use weir_pipeline::io::{Effect, Headers, Input, Now, Origin, Step};
use weir_pipeline::plan::{PLAN, Plan, Progress, REPORT, Report};
use weir_pipeline::span::{Counted, Span};
use weir_pipeline::{Attempt, Exchange};

const CONFIG: &str = r#"{
  "version": "7", "max_body": 1000000, "headers": "ids",
  "identity": {"from": [{"header": "authorization", "scheme": "bearer"}]},
  "tenants": [
    {"name": "acme", "models": ["fast", "small", "only", "twin"], "labels": {},
     "keys": [{"id": "web", "sha256": "2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683"}]}],
  "providers": [{"name": "gpu", "kind": "vllm", "cluster": "weir-gpu"},
                {"name": "aws", "kind": "bedrock", "cluster": "weir-aws"},
                {"name": "ant", "kind": "anthropic", "cluster": "weir-ant"}],
  "models": [
    {"name": "fast", "targets": [
      {"provider": "gpu", "model": "g", "context": 8000, "price": {"input_pico": 1000000, "output_pico": 2000000}},
      {"provider": "aws", "model": "a", "priority": 1, "context": 8000}]},
    {"name": "small", "targets": [
      {"provider": "gpu", "model": "g", "context": 8000},
      {"provider": "ant", "model": "c", "priority": 1, "context": 200000}]},
    {"name": "twin", "targets": [
      {"provider": "gpu", "model": "g", "context": 8000, "tokenizer": "o200k_base"},
      {"provider": "gpu", "model": "h", "context": 128000, "priority": 1, "tokenizer": "o200k_base"}]},
    {"name": "only", "targets": [{"provider": "gpu", "model": "g", "context": 8000}]}],
  "retry": {"tries": 2, "on": ["connect", "reset", "429", "5xx"], "first_byte_ms": 4000, "stall_ms": 1000}
}"#;

fn gateway(change: impl FnOnce(&mut filter::Exchange)) -> Gateway {
    let mut config: filter::Exchange = serde_json::from_str(CONFIG).unwrap();
    change(&mut config);
    Gateway::of(config)
}

fn request(path: &'static str) -> Vec<(&'static str, &'static str)> {
    drive::world::headers(path, &[("authorization", "Bearer key")])
}

const CHAT: &str = "/v1/chat/completions";

fn chat(model: &str, stream: bool) -> String {
    format!(r#"{{"model":"{model}","stream":{stream},"messages":[{{"role":"user","content":"Hello"}}]}}"#)
}

const GOOD: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","model":"g","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":14,"completion_tokens":3,"total_tokens":17}}"#;
const EVENTS: [&str; 4] = [
    r#"{"id":"1","model":"g","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#,
    r#"{"id":"1","model":"g","choices":[{"index":0,"delta":{"content":"Hé"},"finish_reason":null}]}"#,
    r#"{"id":"1","model":"g","choices":[{"index":0,"delta":{"content":"llo"},"finish_reason":"stop"}]}"#,
    "[DONE]",
];

fn run(gateway: &Gateway, body: &str, answers: &[Answer]) -> Outcome {
    gateway.run(&request(CHAT), body.as_bytes(), answers, Cuts::Whole, Cuts::Whole)
}

fn header<'a>(fields: &'a [(String, String)], name: &str) -> Option<&'a str> {
    fields.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
}

/// A request that was sent on: its machine, and what it left in filter state and headers.
fn sent(gateway: &Gateway, path: &'static str, body: &str) -> (Exchange, Vec<Effect>) {
    let mut exchange = Exchange::new(gateway.policy.clone());
    let mut effects = Vec::new();
    let fields = request(path);
    let fields: Vec<_> = fields.iter().map(|(k, v)| (k.as_bytes(), v.as_bytes())).collect();
    let headers = Input::RequestHeaders { headers: Headers(&fields), end: false, entropy: [9, 8, 7, 6] };
    exchange.handle(NOW, headers, &mut effects);
    let body = Input::RequestBody { body: body.as_bytes(), size: body.len(), end: true };
    assert_eq!(exchange.handle(NOW, body, &mut effects), Step::Continue, "{effects:?}");
    (exchange, effects)
}

fn plan_of(effects: &[Effect]) -> Plan {
    let plan = |effect: &Effect| match effect {
        Effect::State(PLAN, bytes) => Plan::decode(bytes),
        _ => None,
    };
    effects.iter().find_map(plan).unwrap()
}

fn later(ms: u64) -> Now {
    Now(NOW.0 + ms * 1_000_000)
}

fn head(kind: &str) -> [(&[u8], &[u8]); 2] {
    [(b":status", b"200"), (b"content-type", kind.as_bytes())]
}

fn begin(exchange: &mut Exchange, kind: &str) {
    let report = Report { attempt: 1, progress: Progress::Answering, status: 200, ..Report::default() };
    let report = report.encode();
    let origin = Origin { details: "via_upstream", address: "1.2.3.4:5", report: Some(&report), attempts: 1 };
    let head = head(kind);
    let input = Input::ResponseHeaders { headers: Headers(&head), end: false, origin };
    exchange.handle(NOW, input, &mut Vec::new());
}

fn body_of(effects: &[Effect]) -> Vec<u8> {
    let bytes = |effect: &Effect| match effect {
        Effect::ResponseBody(bytes) => Some(bytes.clone()),
        _ => None,
    };
    effects.iter().find_map(bytes).unwrap_or_default()
}

fn span_of(effects: &[Effect]) -> Span {
    let span = |effect: &Effect| match effect {
        Effect::Emit(span) => Some(Span::clone(span)),
        _ => None,
    };
    effects.iter().find_map(span).unwrap()
}

/// What a client reads of a stream up to its first error: the payloads before, and the error.
fn read(stream: &[u8]) -> (Vec<String>, Option<serde_json::Value>) {
    // An event that was cut may have been cut inside a character.
    let text = String::from_utf8_lossy(stream);
    let mut before = Vec::new();
    for event in text.split("\n\n") {
        let Some(data) = event.lines().find_map(|line| line.strip_prefix("data: ")) else { continue };
        match serde_json::from_str::<serde_json::Value>(data) {
            Ok(json) if json["error"].is_object() => return (before, Some(json)),
            _ => before.push(data.to_owned()),
        }
    }
    (before, None)
}

#[test]
fn a_stream_that_falls_silent_anywhere_ends_with_the_clients_own_error_and_a_cut() {
    let gateway = gateway(|_| ());
    let whole: String = EVENTS.iter().map(|event| format!("data: {event}\n\n")).collect();
    let done = whole.find("data: [DONE]").unwrap();
    // All but the last line's end: then the client knows that it has all.
    for cut in 1..done + "data: [DONE]".len() {
        let (mut exchange, _) = sent(&gateway, CHAT, &chat("fast", true));
        begin(&mut exchange, "text/event-stream");
        assert!(exchange.watched());
        let mut effects = Vec::new();
        let chunk = &whole.as_bytes()[..cut];
        exchange.handle(later(10), Input::ResponseBody { chunk, end: false }, &mut effects);
        assert!(!exchange.due(later(1009)));
        assert_eq!(exchange.handle(later(1009), Input::Tick, &mut effects), Step::Pause);
        assert!(effects.is_empty(), "it is not silent for long enough: {effects:?}");
        assert!(exchange.due(later(1010)));
        let step = exchange.handle(later(1010), Input::Tick, &mut effects);
        assert_eq!(step, Step::Continue, "at {cut}");
        let last = body_of(&effects);
        let (before, error) = read(&[chunk, &last].concat());
        let error = error.unwrap_or_else(|| panic!("no error at {cut}: {before:?}"));
        assert_eq!(error["error"]["code"], "provider_timeout");
        assert!(before.iter().all(|event| event != "[DONE]"), "never a clean end: {before:?}");
        // What comes late is dropped, and the provider cut off.
        let mut effects = Vec::new();
        exchange.handle(later(1020), Input::ResponseBody { chunk: b"late", end: false }, &mut effects);
        assert!(matches!(effects.as_slice(), [Effect::ResponseBody(none)] if none.is_empty()));
        effects.clear();
        assert!(exchange.due(later(1021)));
        assert_eq!(exchange.handle(later(1021), Input::Tick, &mut effects), Step::Pause);
        assert!(matches!(effects.as_slice(), [Effect::Cut]), "{effects:?}");
        effects.clear();
        let done = Input::Done { report: None, details: "downstream_local_disconnect" };
        exchange.handle(later(1022), done, &mut effects);
        assert_eq!(span_of(&effects).error.as_deref(), Some("timeout"));
    }
}

#[test]
fn a_stream_that_told_its_end_is_cut_without_an_error() {
    let gateway = gateway(|_| ());
    let whole: String = EVENTS.iter().map(|event| format!("data: {event}\n\n")).collect();
    let (mut exchange, _) = sent(&gateway, CHAT, &chat("fast", true));
    begin(&mut exchange, "text/event-stream");
    let mut effects = Vec::new();
    let chunk = whole.as_bytes();
    exchange.handle(NOW, Input::ResponseBody { chunk, end: false }, &mut effects);
    exchange.handle(later(1000), Input::Tick, &mut effects);
    assert!(matches!(effects.as_slice(), [Effect::Cut]), "{effects:?}");
}

#[test]
fn an_anthropic_client_reads_an_anthropic_error() {
    let gateway = gateway(|_| ());
    let body =
        r#"{"model":"small","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"Hello"}]}"#;
    let (mut exchange, _) = sent(&gateway, "/v1/messages", body);
    begin(&mut exchange, "text/event-stream");
    let mut effects = Vec::new();
    exchange.handle(later(1000), Input::Tick, &mut effects);
    let last = String::from_utf8(body_of(&effects)).unwrap();
    assert!(last.starts_with("event: error\ndata: {\"type\":\"error\""), "{last}");
}

#[test]
fn without_a_limit_silence_is_nobodys_business() {
    let gateway = gateway(|config| config.retry.stall_ms = 0);
    let (mut exchange, effects) = sent(&gateway, CHAT, &chat("fast", true));
    assert_eq!(plan_of(&effects).stall_ms, 0);
    begin(&mut exchange, "text/event-stream");
    assert!(!exchange.watched() && !exchange.due(later(1_000_000)));
}

/// A try whose answer begins.
fn answering(gateway: &Gateway, cluster: &str, plan: &Plan, kind: &str) -> (Attempt, Step, Vec<Effect>) {
    let plan = plan.encode();
    let mut attempt = Attempt::new(gateway.attempts[cluster].clone(), 1, Some(&plan), None);
    let mut effects = Vec::new();
    let headers = Input::RequestHeaders { headers: Headers(&[]), end: false, entropy: [1; 4] };
    attempt.handle(NOW, headers, &mut effects);
    let body = chat("fast", false);
    let input = Input::RequestBody { body: body.as_bytes(), size: body.len(), end: true };
    attempt.handle(NOW, input, &mut effects);
    effects.clear();
    let head = head(kind);
    let input = Input::ResponseHeaders { headers: Headers(&head), end: false, origin: Origin::default() };
    let step = attempt.handle(NOW, input, &mut effects);
    (attempt, step, effects)
}

#[test]
fn a_whole_answer_that_falls_silent_goes_on_to_the_next_try_and_the_last_says_so() {
    let gateway = gateway(|_| ());
    for (model, cluster) in [("only", "weir-gpu"), ("fast", "weir-gpu")] {
        let (mut exchange, effects) = sent(&gateway, CHAT, &chat(model, false));
        let mut plan = plan_of(&effects);
        if model == "only" {
            plan.legs.truncate(1);
        }
        let (mut attempt, step, _) = answering(&gateway, cluster, &plan, "application/json");
        assert_eq!(step, Step::Pause, "nothing goes on before it is whole");
        let mut effects = Vec::new();
        let chunk = &GOOD.as_bytes()[..20];
        assert_eq!(
            attempt.handle(later(500), Input::ResponseBody { chunk, end: false }, &mut effects),
            Step::Pause
        );
        assert!(!attempt.due(later(1499)) && attempt.due(later(1500)));
        assert_eq!(attempt.handle(later(1500), Input::Tick, &mut effects), Step::Continue);
        assert!(effects.iter().any(|e| matches!(e, Effect::SetResponseHeader(":status", s) if s == "504")));
        let report = effects.iter().find_map(|effect| match effect {
            Effect::State(REPORT, bytes) => Report::decode(bytes),
            _ => None,
        });
        let report = report.unwrap();
        assert!(report.stalled && report.progress == Progress::Answering, "it may be billed: {report:?}");
        let bytes = report.encode();
        let next = Attempt::new(gateway.attempts[cluster].clone(), 2, Some(&plan.encode()), Some(&bytes));
        drop(next);
        // Where no other try is left, the client is told in full.
        let mut effects = Vec::new();
        let origin = Origin { details: "via_upstream", report: Some(&bytes), ..Origin::default() };
        let head: [(&[u8], &[u8]); 1] = [(b":status", b"504")];
        let input = Input::ResponseHeaders { headers: Headers(&head), end: false, origin };
        assert_eq!(exchange.handle(later(1500), input, &mut effects), Step::Pause);
        let reply = effects.iter().find_map(|effect| match effect {
            Effect::Reply(reply) => Some(reply.clone()),
            _ => None,
        });
        let reply = reply.unwrap();
        assert_eq!(reply.status, 504);
        assert!(String::from_utf8(reply.body).unwrap().contains("provider_timeout"));
        effects.clear();
        exchange.handle(later(1500), Input::Done { report: None, details: "" }, &mut effects);
        let span = span_of(&effects);
        assert_eq!((span.error.as_deref(), span.counted), (Some("timeout"), Counted::Estimated));
    }
}

#[test]
fn a_first_byte_is_awaited_by_every_try_of_a_stream_the_only_one_too() {
    let gateway = gateway(|_| ());
    let (_, effects) = sent(&gateway, CHAT, &chat("only", true));
    let limit = effects.iter().find_map(|effect| match effect {
        Effect::SetRequestHeader("x-envoy-upstream-rq-per-try-timeout-ms", ms) => Some(ms.as_str()),
        _ => None,
    });
    assert_eq!(limit, Some("4000"));
    let mut plan = plan_of(&effects);
    plan.legs.truncate(1);
    let (mut attempt, step, _) = answering(&gateway, "weir-gpu", &plan, "text/event-stream");
    assert_eq!(step, Step::Pause, "its head is held until there is an event");
    let event = format!("data: {}\n\n", EVENTS[0]);
    for cut in 0..event.len() {
        let chunk = &event.as_bytes()[..cut];
        let step = attempt.handle(NOW, Input::ResponseBody { chunk, end: false }, &mut Vec::new());
        assert_eq!(step, Step::Pause, "{cut}");
    }
    let chunk = event.as_bytes();
    assert_eq!(
        attempt.handle(NOW, Input::ResponseBody { chunk, end: false }, &mut Vec::new()),
        Step::Continue
    );
    let (_, effects) = sent(&gateway, CHAT, &chat("only", false));
    assert!(!format!("{effects:?}").contains("per-try"), "a whole answer begins when all of it is there");
}

fn throttled(field: Option<(&str, &str)>) -> Answer {
    let mut answer = answer(429, "application/json", r#"{"error":{"message":"slow down","code":429}}"#);
    answer.headers.extend(field.map(|(k, v)| (k.to_owned(), v.to_owned())));
    answer
}

#[test]
fn a_throttling_target_is_left_alone_for_as_long_as_it_asks() {
    let gateway = gateway(|_| ());
    let good = || {
        answer(
            200,
            "application/json",
            r#"{"output":{"message":{"role":"assistant","content":[{"text":"Hi"}]}},"stopReason":"end_turn","usage":{"inputTokens":1,"outputTokens":1,"totalTokens":2}}"#,
        )
    };
    let out = run(&gateway, &chat("fast", false), &[throttled(Some(("retry-after", "7"))), good()]);
    assert_eq!(out.status, 200);
    let cool = Cool { target: cooling::target("gpu", "g"), until: later(7000).0, told: true };
    assert_eq!(out.cooled, [cool]);
    let policy = gateway.policy.clone().unwrap();
    let mut all = Cooling::default();
    all.put(cool, NOW);
    policy.cooling.replace(all.clone());
    let out = run(&gateway, &chat("fast", false), &[good()]);
    assert_eq!((out.status, out.sent[0].0.as_str()), (200, "weir-aws"), "it is skipped");
    // The only one, by the provider's word: the client waits as long.
    let out = run(&gateway, &chat("only", false), &[]);
    assert_eq!((out.status, out.sent.len()), (429, 0));
    assert_eq!(out.headers["retry-after"], "7");
    assert!(String::from_utf8(out.body).unwrap().contains("provider_throttled"));
    // By a guess: better tried than refused, and still a last resort.
    let mut all = Cooling::default();
    all.put(Cool { told: false, ..cool }, NOW);
    policy.cooling.replace(all);
    let out = run(&gateway, &chat("only", false), &[answer(200, "application/json", GOOD)]);
    assert_eq!((out.status, out.sent.len()), (200, 1));
    let failing = answer(500, "application/json", "{}");
    let out = run(&gateway, &chat("fast", false), &[failing, answer(200, "application/json", GOOD)]);
    let clusters: Vec<&str> = out.sent.iter().map(|(cluster, ..)| cluster.as_str()).collect();
    assert_eq!((out.status, clusters.as_slice()), (200, &["weir-aws", "weir-gpu"][..]));
}

#[test]
fn what_is_asked_to_wait_is_not_repeated_at_once() {
    let gateway = gateway(|_| ());
    let out = run(&gateway, &chat("only", false), &[throttled(Some(("retry-after", "7")))]);
    assert_eq!((out.status, out.sent.len()), (429, 1), "its own target would be the next");
    assert_eq!(out.headers.get("x-envoy-ratelimited"), None, "no client sees it");
    let good = answer(200, "application/json", GOOD);
    let out = run(&gateway, &chat("only", false), &[throttled(None), good]);
    assert_eq!((out.status, out.sent.len()), (200, 2), "one that does not say is asked again");
}

#[test]
fn no_fallback_means_no_other_priority_even_while_the_first_throttles() {
    let route = |config: &mut filter::Exchange| {
        config.routes.push(filter::Route {
            name: "stay".into(),
            model: "fast".into(),
            fallback: Some(false),
            ..filter::Route::default()
        });
    };
    let gateway = gateway(route);
    let cool = Cool { target: cooling::target("gpu", "g"), until: later(7000).0, told: true };
    let mut all = Cooling::default();
    all.put(cool, NOW);
    gateway.policy.as_ref().unwrap().cooling.replace(all);
    let out = run(&gateway, &chat("fast", false), &[]);
    assert_eq!((out.status, out.sent.len()), (429, 0));
}

const TOO_LONG: &str = r#"{"error":{"message":"This model's maximum context length is 8000 tokens. However, your request has 9000 input tokens.","type":"BadRequestError","param":"input_tokens","code":400}}"#;

#[test]
fn a_prompt_that_is_too_long_goes_on_to_a_larger_window_and_nowhere_else() {
    let gateway = gateway(|_| ());
    let good = r#"{"id":"msg_1","type":"message","role":"assistant","model":"c","content":[{"type":"text","text":"Hi"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":1}}"#;
    let answers = [answer(400, "application/json", TOO_LONG), answer(200, "application/json", good)];
    let out = run(&gateway, &chat("small", false), &answers);
    assert_eq!((out.status, out.sent.len()), (200, 2), "{}", String::from_utf8_lossy(&out.body));
    assert_eq!(header(&out.routed, "x-envoy-retriable-status-codes"), Some("429,529,498"));
    let span = out.span.unwrap();
    assert_eq!((span.usage.input, span.attempts), (1, 2), "what was refused is not billed");
    // The next window is no larger: the client reads what the provider said.
    let out = run(&gateway, &chat("fast", false), &[answer(400, "application/json", TOO_LONG)]);
    assert_eq!((out.status, out.sent.len(), out.body.as_slice()), (400, 1, TOO_LONG.as_bytes()));
    assert_eq!(header(&out.routed, "x-envoy-retriable-status-codes"), Some("429,529"));
    // Another fault of the request is its own.
    let other = r#"{"error":{"message":"temperature must be positive","type":"BadRequestError","code":400}}"#;
    let out = run(&gateway, &chat("small", false), &[answer(400, "application/json", other)]);
    assert_eq!((out.status, out.sent.len(), out.body.as_slice()), (400, 1, other.as_bytes()));
}

#[test]
fn a_prompt_that_is_known_to_be_too_long_is_sent_to_the_larger_window_at_once() {
    let gateway = gateway(|_| ());
    let long = "word ".repeat(9000);
    let body = chat("twin", false).replace("Hello", &long);
    let out = run(&gateway, &body, &[answer(200, "application/json", GOOD)]);
    assert_eq!(out.status, 200, "{}", String::from_utf8_lossy(&out.body));
    let sent: serde_json::Value = serde_json::from_slice(&out.sent[0].2).unwrap();
    assert_eq!(sent["model"], "h");
    let out = run(&gateway, &chat("twin", false), &[answer(200, "application/json", GOOD)]);
    let sent: serde_json::Value = serde_json::from_slice(&out.sent[0].2).unwrap();
    assert_eq!(sent["model"], "g");
}

#[test]
fn only_a_try_at_the_same_provider_is_a_repeat() {
    let gateway = gateway(|config| config.retry.budget = Some(2000));
    let (_, effects) = sent(&gateway, CHAT, &chat("only", false));
    let plan = plan_of(&effects);
    let nth = |plan: &Plan, cluster: &str, n| {
        Attempt::new(gateway.attempts[cluster].clone(), n, Some(&plan.encode()), None)
    };
    assert_eq!(nth(&plan, "weir-gpu", 1).repeats(), None);
    assert_eq!(nth(&plan, "weir-gpu", 2).repeats(), Some(2000));
    let (_, effects) = sent(&gateway, CHAT, &chat("fast", false));
    assert_eq!(nth(&plan_of(&effects), "weir-aws", 2).repeats(), None, "another provider is exempt");
    let mut forbidden = nth(&plan, "weir-gpu", 2);
    forbidden.forbid();
    let mut effects = Vec::new();
    let headers = Input::RequestHeaders { headers: Headers(&[]), end: false, entropy: [1; 4] };
    assert_eq!(forbidden.handle(NOW, headers, &mut effects), Step::Pause);
    let reply = effects.iter().find_map(|effect| match effect {
        Effect::Reply(reply) => Some(reply.clone()),
        _ => None,
    });
    assert_eq!(reply.unwrap().status, 503);
}

fn mirrored(config: &mut filter::Exchange, percent: u32) {
    config.routes.push(filter::Route {
        name: "try".into(),
        model: "only".into(),
        mirror: Some(filter::Mirror { provider: "gpu".into(), model: "g".into(), percent }),
        ..filter::Route::default()
    });
    config.ledger = Some(filter::Ledger { cluster: "weir-ledger".into() });
    config.budgets.push(filter::Budget {
        name: "b".into(),
        tokens: Some(1_000_000),
        window: "day".into(),
        definition: "0000000000000001".into(),
        ..filter::Budget::default()
    });
}

#[test]
fn a_copy_goes_beside_the_request_and_is_charged_by_itself() {
    let gateway = gateway(|config| mirrored(config, 100));
    let out = run(&gateway, &chat("only", false), &[answer(200, "application/json", GOOD)]);
    assert_eq!((out.status, out.asked.len()), (200, 1), "{}", String::from_utf8_lossy(&out.body));
    assert_eq!(header(&out.routed, MIRROR), Some("weir-gpu"));
    let value = header(&out.routed, COPY).unwrap();
    for (_, headers, _) in &out.sent {
        assert!(headers.iter().all(|(name, _)| !name.starts_with("x-weir-")), "{headers:?}");
    }
    let copy = Copy::decode(value.as_bytes()).unwrap();
    assert_eq!((copy.tenant.as_str(), copy.key.as_str(), copy.plan.legs.len()), ("acme", "web", 1));
    assert_eq!(copy.plan.needs.len(), 1);

    let config = gateway.attempts["weir-gpu"].clone();
    for (given, body, used) in [(200, GOOD, 17), (503, "{}", 0)] {
        let mut attempt = Attempt::copied(config.clone(), 1, value.as_bytes());
        assert!(attempt.is_copy());
        let mut effects = Vec::new();
        let headers = Input::RequestHeaders { headers: Headers(&[]), end: false, entropy: [5; 4] };
        attempt.handle(NOW, headers, &mut effects);
        let sent = &out.left;
        let input = Input::RequestBody { body: sent, size: sent.len(), end: true };
        attempt.handle(NOW, input, &mut effects);
        let asked = |e: &Effect| matches!(e, Effect::Reserve(needs) if *needs == copy.plan.needs);
        assert!(effects.iter().any(asked), "{effects:?}");
        effects.clear();
        assert_eq!(
            attempt.handle(NOW, Input::Reserved(Ok(Default::default())), &mut effects),
            Step::Continue
        );
        assert!(!effects.iter().any(|e| matches!(e, Effect::Settle(_) | Effect::State(..))), "{effects:?}");
        effects.clear();
        let status = given.to_string();
        let head: [(&[u8], &[u8]); 2] =
            [(b":status", status.as_bytes()), (b"content-type", b"application/json")];
        let input = Input::ResponseHeaders { headers: Headers(&head), end: false, origin: Origin::default() };
        attempt.handle(NOW, input, &mut effects);
        for (chunk, end) in [(body.as_bytes(), false), (&b""[..], true)] {
            assert!(attempt.wants_response_body(end));
            attempt.handle(later(5), Input::ResponseBody { chunk, end }, &mut effects);
        }
        effects.clear();
        attempt.handle(later(9), Input::Done { report: None, details: "" }, &mut effects);
        let settled = effects.iter().find_map(|effect| match effect {
            Effect::Settle(settlement) => Some(settlement.used.clone()),
            _ => None,
        });
        assert_eq!(settled, Some(vec![used]), "{given}");
        let span = span_of(&effects);
        assert!(span.words.contains(&("weir.mirror", "true".to_owned())));
        assert!(span.labels.contains(&("mirror".to_owned(), "true".to_owned())));
        assert_eq!(
            (span.tenant.as_str(), span.status, span.usage.input + span.usage.output),
            ("acme", given, used)
        );
        assert_eq!(span.error.is_some(), given >= 400);
    }
    // Short: nothing is sent, nothing is billed, nobody is told.
    let mut attempt = Attempt::copied(config.clone(), 1, value.as_bytes());
    let mut effects = Vec::new();
    let headers = Input::RequestHeaders { headers: Headers(&[]), end: false, entropy: [5; 4] };
    attempt.handle(NOW, headers, &mut effects);
    let input = Input::RequestBody { body: &out.left, size: out.left.len(), end: true };
    attempt.handle(NOW, input, &mut effects);
    effects.clear();
    let refusal =
        weir_lease::Refusal { code: weir_lease::Code::Exhausted, retry_after_ms: 1, budgets: Vec::new() };
    assert_eq!(attempt.handle(NOW, Input::Reserved(Err(refusal)), &mut effects), Step::Pause);
    assert!(!effects.iter().any(|e| matches!(e, Effect::RequestHeaders(_))));
    effects.clear();
    attempt.handle(NOW, Input::Done { report: None, details: "" }, &mut effects);
    assert!(!effects.iter().any(|e| matches!(e, Effect::Emit(_))), "{effects:?}");
    // Envoy never sends it twice, whatever the request's own headers say.
    let mut again = Attempt::copied(config, 2, value.as_bytes());
    let mut effects = Vec::new();
    let headers = Input::RequestHeaders { headers: Headers(&[]), end: false, entropy: [5; 4] };
    again.handle(NOW, headers, &mut effects);
    assert!(matches!(effects.as_slice(), [Effect::Reply(_)]), "{effects:?}");
}

#[test]
fn a_copy_stays_inside_boundaries_and_is_drawn_by_its_share() {
    let at_home = |config: &mut filter::Exchange| {
        mirrored(config, 100);
        config.routes[0].mirror =
            Some(filter::Mirror { provider: "aws".into(), model: "a".into(), percent: 100 });
        config.boundaries.push(filter::Boundary {
            name: "home".into(),
            providers: vec!["gpu".into()],
            ..filter::Boundary::default()
        });
    };
    let good = || [answer(200, "application/json", GOOD)];
    let out = run(&gateway(at_home), &chat("only", false), &good());
    assert_eq!((out.status, header(&out.routed, MIRROR)), (200, None));
    let out = run(&gateway(|config| mirrored(config, 0)), &chat("only", false), &good());
    assert_eq!((out.status, header(&out.routed, MIRROR)), (200, None));
    // A model of which the tenant may use nothing.
    let foreign = |config: &mut filter::Exchange| {
        mirrored(config, 100);
        config.tenants[0].models = vec!["small".into()];
        config.routes[0].model = "small".into();
        config.routes[0].mirror =
            Some(filter::Mirror { provider: "aws".into(), model: "a".into(), percent: 100 });
    };
    let out = run(&gateway(foreign), &chat("small", false), &good());
    assert_eq!((out.status, header(&out.routed, MIRROR)), (200, None));
    // The share, over many requests: the draw is the request's own.
    let policy = gateway(|config| mirrored(config, 30)).policy.unwrap();
    let mut copies = 0;
    for n in 0..2000u64 {
        let mut exchange = Exchange::new(Some(policy.clone()));
        let fields = request(CHAT);
        let fields: Vec<_> = fields.iter().map(|(k, v)| (k.as_bytes(), v.as_bytes())).collect();
        let roll = (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let headers =
            Input::RequestHeaders { headers: Headers(&fields), end: false, entropy: [roll, 2, 3, 4] };
        let mut effects = Vec::new();
        exchange.handle(NOW, headers, &mut effects);
        let body = chat("only", false);
        let body = Input::RequestBody { body: body.as_bytes(), size: body.len(), end: true };
        exchange.handle(NOW, body, &mut effects);
        exchange.handle(NOW, Input::Reserved(Ok(Default::default())), &mut effects);
        copies += usize::from(effects.iter().any(|e| matches!(e, Effect::SetRequestHeader(MIRROR, _))));
    }
    assert!((500..700).contains(&copies), "{copies} of 2000 are not three in ten");
}
