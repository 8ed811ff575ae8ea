//! `dialects`: what a request of 4 KB and an event of a stream cost in Envoy's CPU for each client's dialect at each
//! kind of provider, beside bare Envoy in the same round, and beside the client's own dialect passing through.
//!
//! Identity, limits, routing and the span are in every figure of Weir; what a translation adds is the difference to the
//! pass. Requests for Bedrock are signed by Envoy itself, which bare Envoy does not do: that is in their figures too. All
//! texts are different. One worker; load and provider share another thread.

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
use crate::variants::{self, Variant};

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

/// CPU per request and per event, µs, in each round.
type Figures = BTreeMap<(usize, Option<usize>), Vec<(f64, f64)>>;

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
        let bare = variants::start(Variant::Bare, upstream, upstream, None, 1).await?;
        let weir = everything::start_with(&|port| policy(port, upstream), 1).await?;
        for (client, _) in CLIENTS.iter().enumerate() {
            let mut number = (round as u64 + 1) << 40 | (client as u64) << 32;
            let mut bodies = |count: usize, model: &str, stream: bool| -> Vec<Bytes> {
                let make = |_| {
                    number += 1;
                    body(client, &texts, number, model, stream)
                };
                (0..count).map(make).collect()
            };
            let cpu = || (bare.envoy.cpu(), weir.envoy.cpu());
            let kinds = || [None].into_iter().chain((0..KINDS.len()).map(Some));
            // Every round has an Envoy of its own, which makes its machine code for what comes while it comes: all of it
            // has come before anything is measured.
            for (kind, measured) in kinds().map(|kind| (kind, false)).chain(kinds().map(|kind| (kind, true)))
            {
                let (port, model) = match kind {
                    None => (bare.port, "m"),
                    Some(kind) => (weir.port, KINDS[kind]),
                };
                let of = |before: (Duration, Duration)| {
                    let after = cpu();
                    (if kind.is_none() { after.0 - before.0 } else { after.1 - before.1 }).as_secs_f64() * 1e6
                };
                let load = async |bodies: &[Bytes], connections: usize, stream: bool| {
                    let load = Load {
                        port,
                        connections,
                        limit: Duration::from_secs(60),
                        start: Instant::now(),
                        bodies,
                        requests: bodies.len(),
                    };
                    let named = format!("{} at {kind:?}", CLIENTS[client]);
                    load.run_at(&path(client, model, stream)).await.map_err(|why| format!("{named}: {why}"))
                };
                if !measured {
                    load(&bodies(WARM_UP, model, false), 8, false).await?;
                    load(&bodies(8, model, true), 8, true).await?;
                    continue;
                }
                let sent = bodies(options.requests, model, false);
                let before = cpu();
                load(&sent, 8, false).await?;
                let request = of(before) / sent.len() as f64;
                let sent = bodies(options.streams, model, true);
                let before = cpu();
                load(&sent, 8, true).await?;
                // The request of the stream costs what a request costs.
                let event = of(before) / sent.len() as f64 - request;
                let event = event / provider::EVENTS as f64;
                figures.entry((client, kind)).or_default().push((request, event));
            }
        }
    }
    Ok(report(&figures, options))
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
        "Envoy's CPU, µs: medians of {} rounds (least to greatest), {} requests of 4 KB and {} streams of {} events for each \
         pair and round, all texts different; one worker. \"Weir − bare\" has all of Weir in it, and for Bedrock Envoy's \
         signing; \"more than a pass\" is what a translation adds to the client's own dialect passing through.\n",
        options.rounds,
        options.requests,
        options.streams,
        provider::EVENTS
    );
    let _ = writeln!(
        text,
        "| client | provider | request: bare | Weir − bare | more than a pass | event: bare | Weir − bare | more than a pass |\n|{}",
        "---|".repeat(8)
    );
    for (client, name) in CLIENTS.iter().enumerate() {
        let own = KINDS.iter().position(|kind| *kind == OWN[client]);
        let of = |kind: Option<usize>| figures.get(&(client, kind)).map(Vec::as_slice).unwrap_or_default();
        for (at, kind) in KINDS.iter().enumerate() {
            let _ = write!(text, "| {name} | {kind} |");
            for event in [false, true] {
                let pick = |pair: &(f64, f64)| if event { pair.1 } else { pair.0 };
                let less = |other: &[(f64, f64)]| -> String {
                    let both = of(Some(at)).iter().zip(other);
                    shown(&both.map(|(a, b)| pick(a) - pick(b)).collect::<Vec<f64>>(), event)
                };
                let bare: Vec<f64> = of(None).iter().map(pick).collect();
                let pass = if own == Some(at) { "the pass".to_owned() } else { less(of(own)) };
                let _ = write!(text, " {} | {} | {pass} |", number(median(&bare), event), less(of(None)));
            }
            text.push('\n');
        }
    }
    text
}

fn shown(values: &[f64], fine: bool) -> String {
    let (low, high) = spread(values);
    format!("{} ({} to {})", number(median(values), fine), number(low, fine), number(high, fine))
}

fn number(value: f64, fine: bool) -> String {
    if fine { format!("{value:.1}") } else { format!("{value:.0}") }
}
