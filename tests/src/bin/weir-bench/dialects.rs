//! `dialects`: what a request of 4 KB and an event of a stream cost in Envoy's CPU for each client's dialect at each
//! kind of provider, beside bare Envoy in the same round, and beside the client's own dialect passing through.
//!
//! Identity, limits, routing and the span are in every figure of Weir; what a translation adds is the difference to the
//! pass. Requests for Bedrock are signed by Envoy itself: what Weir adds there is told beside a bare Envoy that signs
//! too. All texts are different. One worker, whose own thread is measured: what Envoy does beside requests, as compiling
//! and talking to the control plane, is not in the figures. Load and provider share another thread.

mod bare;
mod provider;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Value, json};

use crate::everything::{self, KEY_SHA256};
use crate::load::Load;
use crate::stats::{median, spread};
use crate::texts::Texts;

#[derive(clap::Args)]
pub struct Options {
    /// Rounds over all pairs.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Requests of 4 KB for each pair and round.
    #[arg(long, default_value_t = 400)]
    requests: usize,
    /// Streams of 200 events for each pair and round, eight at a time.
    #[arg(long, default_value_t = 16)]
    streams: usize,
    /// Only the clients whose name has this in it.
    #[arg(long, default_value = "")]
    client: String,
    /// Write the report here too.
    #[arg(long)]
    out: Option<PathBuf>,
}

const CLIENTS: [&str; 4] = ["OpenAI chat", "OpenAI responses", "Anthropic messages", "AWS Converse"];
const KINDS: [&str; 5] = ["vllm", "openai", "anthropic", "bedrock", "bedrock_openai"];
/// Which kinds speak a client's own dialect.
const OWN: [&str; 4] = ["vllm", "openai", "anthropic", "bedrock"];
const SIZE: usize = 4 << 10;
const WARM_UP: usize = 400;

/// The requests of a pair are sent in so many parts, between those of the other pairs, so that what else the machine does
/// meets all of them alike.
const PARTS: usize = 4;

/// Where requests are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Bare,
    Signed,
    Weir(usize),
}

const WAYS: [Way; 7] =
    [Way::Bare, Way::Signed, Way::Weir(0), Way::Weir(1), Way::Weir(2), Way::Weir(3), Way::Weir(4)];

/// CPU per request and per event, µs, in each round.
type Figures = BTreeMap<(usize, Way), Vec<(f64, f64)>>;

pub fn run(options: &Options) -> Result<(), String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    let text = runtime.block_on(rounds(options))?;
    println!("{text}");
    match &options.out {
        Some(path) => std::fs::write(path, text).map_err(|e| format!("{}: {e}", path.display())),
        None => Ok(()),
    }
}

async fn rounds(options: &Options) -> Result<String, String> {
    let texts = Texts::load();
    let upstream = provider::start().await.map_err(|e| e.to_string())?;
    let mut figures = Figures::new();
    for round in 0..options.rounds {
        eprintln!("round {} of {}", round + 1, options.rounds);
        let (mut bare, bare_port) = bare::start(upstream, false).await?;
        let (mut signed, signed_port) = bare::start(upstream, true).await?;
        let mut weir = everything::start_with(&|port| policy(port, upstream), 1).await?;
        let pids = [&mut bare, &mut signed, &mut weir.envoy].map(|envoy| envoy.process().pid());
        for (client, name) in CLIENTS.iter().enumerate().filter(|(_, name)| name.contains(&options.client)) {
            let mut number = (round as u64 + 1) << 40 | (client as u64) << 32;
            let mut bodies = |count: usize, model: &str, stream: bool| -> Vec<Bytes> {
                let make = |_| {
                    number += 1;
                    body(client, &texts, number, model, stream)
                };
                (0..count).map(make).collect()
            };
            // Its CPU, µs.
            let mut load = async |way: Way, count: usize, stream: bool| {
                let (pid, port, model) = match way {
                    Way::Bare => (pids[0], bare_port, "m"),
                    Way::Signed => (pids[1], signed_port, "m"),
                    Way::Weir(kind) => (pids[2], weir.port, KINDS[kind]),
                };
                let bodies = bodies(count, model, stream);
                let load = Load {
                    port,
                    connections: 8,
                    limit: Duration::from_secs(60),
                    start: Instant::now(),
                    bodies: &bodies,
                    requests: bodies.len(),
                };
                let before = cpu(pid);
                let seen = load.run_at(&path(client, model, stream)).await;
                seen.map_err(|why| format!("{name} at {way:?}: {why}"))?;
                Ok::<f64, String>((cpu(pid) - before).as_secs_f64() * 1e6)
            };
            // Every round has an Envoy of its own: what it makes on the way has been made before anything is measured.
            for way in WAYS {
                load(way, WARM_UP, false).await?;
                load(way, 8, true).await?;
            }
            let part = options.requests.div_ceil(PARTS);
            let mut requests = [0.0; WAYS.len()];
            for turn in 0..PARTS {
                for at in 0..WAYS.len() {
                    let at = (at + turn) % WAYS.len();
                    requests[at] += load(WAYS[at], part, false).await? / (part * PARTS) as f64;
                }
            }
            for (way, request) in WAYS.into_iter().zip(requests) {
                let event = load(way, options.streams, true).await? / options.streams as f64;
                // The request of the stream costs what a request costs.
                let event = (event - request) / provider::EVENTS as f64;
                figures.entry((client, way)).or_default().push((request, event));
            }
        }
    }
    Ok(report(&figures, options))
}

/// CPU of Envoy's worker so far.
fn cpu(pid: u32) -> Duration {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let read = |task: &std::fs::DirEntry, name| std::fs::read_to_string(task.path().join(name)).ok();
    let workers = tasks.filter(|task| read(task, "comm").is_some_and(|name| name.starts_with("wrk:")));
    let nanos =
        workers.filter_map(|task| read(&task, "schedstat")?.split_whitespace().next()?.parse::<u64>().ok());
    Duration::from_nanos(nanos.sum())
}

/// Where a client asks.
fn path(client: usize, model: &str, stream: bool) -> String {
    match client {
        0 => "/v1/chat/completions".to_owned(),
        1 => "/v1/responses".to_owned(),
        2 => "/v1/messages".to_owned(),
        _ => format!("/model/{model}/converse{}", if stream { "-stream" } else { "" }),
    }
}

/// A request of one client's dialect, of another text for every number.
fn body(client: usize, texts: &Texts, number: u64, model: &str, stream: bool) -> Bytes {
    let chat: Value = serde_json::from_slice(&texts.chat(number, SIZE, model)).expect("plain JSON");
    let (system, user) = (chat["messages"][0]["content"].clone(), chat["messages"][1]["content"].clone());
    let said = json!([{"role": "user", "content": user}]);
    let body = match client {
        0 if stream => json!({
            "model": model, "messages": chat["messages"], "max_tokens": 1000, "stream": true,
            "stream_options": {"include_usage": true},
        }),
        0 => json!({"model": model, "messages": chat["messages"], "max_tokens": 1000}),
        1 => json!({
            "model": model, "instructions": system, "input": said, "max_output_tokens": 1000, "store": false,
            "stream": stream,
        }),
        2 => {
            json!({"model": model, "system": system, "messages": said, "max_tokens": 1000, "stream": stream})
        }
        _ => json!({
            "system": [{"text": system}], "messages": [{"role": "user", "content": [{"text": user}]}],
            "inferenceConfig": {"maxTokens": 1000},
        }),
    };
    Bytes::from(body.to_string())
}

/// A provider of each kind, all of them one server, and a model on each that is called as the kind.
fn policy(port: u16, upstream: u16) -> Value {
    let url = format!("http://127.0.0.1:{upstream}");
    let provider = |kind: &str| {
        let mut provider =
            json!({"name": format!("p-{}", kind.replace('_', "-")), "kind": kind, "region": "us-east-1"});
        match kind {
            "vllm" => provider["endpoints"] = json!([url]),
            _ => provider["endpoint"] = json!(url),
        }
        if kind.starts_with("bedrock") {
            provider["auth"] = json!({"aws": "default"});
        }
        provider
    };
    let model = |kind: &str| {
        let target = json!({
            "provider": format!("p-{}", kind.replace('_', "-")), "model": "us.anthropic.claude-x", "context": 131_072,
            "supports": ["tools", "json_schema"], "price": {"input": 1, "output": 4},
        });
        json!({"name": kind, "targets": [target]})
    };
    json!({
        "apiVersion": "weir.dev/v1",
        "gateway": {"listen": format!("127.0.0.1:{port}"), "headers": "ids"},
        "providers": KINDS.map(provider),
        "models": KINDS.map(model),
        "identity": {"from": [{"api_key": {"header": "authorization", "scheme": "bearer"}}]},
        "tenants": [{"name": "demo", "models": KINDS, "keys": [{"id": "demo-key", "sha256": KEY_SHA256}]}],
    })
}

fn report(figures: &Figures, options: &Options) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "CPU of Envoy's worker, µs: medians of {} rounds (least to greatest), {} requests of 4 KB and {} streams of {} events \
         for each pair and round, all texts different. \"Bare\" is Envoy without Weir, and with its signer where it signs for \
         Bedrock; of that, \"signing\" is the signer. \"Weir\" is all that Weir adds to it, and \"more than a pass\" what of \
         it a translation adds to the client's own dialect passing through.\n",
        options.rounds,
        options.requests.div_ceil(PARTS) * PARTS,
        options.streams,
        provider::EVENTS
    );
    let _ = writeln!(
        text,
        "| client | provider | request: bare | signing | Weir | more than a pass | event: bare | Weir | more than a pass |\n|{}",
        "---|".repeat(9)
    );
    for (client, name) in CLIENTS.iter().enumerate() {
        let of = |way: Way| figures.get(&(client, way)).map(Vec::as_slice).unwrap_or_default();
        if of(Way::Bare).is_empty() {
            continue;
        }
        let added = |kind: usize, event: bool| -> Vec<f64> {
            let pick = |pair: &(f64, f64)| if event { pair.1 } else { pair.0 };
            let both = of(Way::Weir(kind)).iter().zip(of(without(kind)));
            both.map(|(weir, bare)| pick(weir) - pick(bare)).collect()
        };
        let own = KINDS.iter().position(|kind| *kind == OWN[client]).unwrap_or_default();
        for (at, kind) in KINDS.iter().enumerate() {
            let _ = write!(text, "| {name} | {kind} |");
            for event in [false, true] {
                let bare: Vec<f64> =
                    of(without(at)).iter().map(|pair| if event { pair.1 } else { pair.0 }).collect();
                let _ = write!(text, " {} |", number(median(&bare), event));
                if !event {
                    let both = bare.iter().zip(of(Way::Bare));
                    let signing: Vec<f64> = both.map(|(signed, bare)| signed - bare.0).collect();
                    let signing =
                        if without(at) == Way::Signed { shown(&signing, event) } else { String::new() };
                    let _ = write!(text, " {signing} |");
                }
                let weir = added(at, event);
                let more: Vec<f64> =
                    weir.iter().zip(added(own, event)).map(|(weir, pass)| weir - pass).collect();
                let more = if own == at { "the pass".to_owned() } else { shown(&more, event) };
                let _ = write!(text, " {} | {more} |", shown(&weir, event));
            }
            text.push('\n');
        }
    }
    text
}

/// What a kind of provider would cost without Weir.
fn without(kind: usize) -> Way {
    if KINDS[kind].starts_with("bedrock") { Way::Signed } else { Way::Bare }
}

fn shown(values: &[f64], fine: bool) -> String {
    let (low, high) = spread(values);
    format!("{} ({} to {})", number(median(values), fine), number(low, fine), number(high, fine))
}

fn number(value: f64, fine: bool) -> String {
    if fine { format!("{value:.1}") } else { format!("{value:.0}") }
}
