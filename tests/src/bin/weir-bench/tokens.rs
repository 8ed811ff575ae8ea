//! `tokens`: what counting a prompt costs in Envoy, in the module that is shipped, and natively beside other counters.
//!
//! Two models differ in nothing but that one has a tokenizer, and every prompt is asked to be counted. Each body is sent
//! three times, one request after the other on a kept connection: bounded by bytes (the model without a tokenizer),
//! counted, and counted again; which of the first two comes first alternates. What is told is the difference of the
//! times that the client saw, text by text: counting, and nothing that both do. "Cold" texts were never sent before,
//! "warm" ones are the counted again. The bound by bytes walks the texts too, a microsecond or two for 4 KB. The first
//! requests, of other texts, are thrown away: the engine compiles meanwhile.

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use weir_tests::harness::{Envoy, EnvoyConfig, free_port, inject, paths, repo_root};
use weir_tests::sim::rng::Rng;
use weir_tokens::Vocabulary;

use crate::stats::percentile;
use crate::texts::Texts;
use crate::upstream;

#[derive(clap::Args)]
pub struct Options {
    /// Texts of 4 KB for each case; those of 200 KB are a tenth.
    #[arg(long, default_value_t = 400)]
    texts: usize,
    /// The vocabulary that the module counts by.
    #[arg(long, default_value = "o200k_base")]
    tokenizer: String,
}

const SMALL: usize = 4 << 10;
const LARGE: usize = 200 << 10;
const COUNTED: &str = "counted";
const BOUNDED: &str = "bounded";
const TURNS: usize = 10;

pub fn run(options: &Options) -> Result<(), String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    runtime.block_on(measure(options))
}

/// Texts of one kind.
struct Case {
    name: String,
    /// Microseconds that are aimed at, cold and warm.
    aims: (Option<f64>, Option<f64>),
    /// The messages of each chat.
    chats: Vec<Vec<String>>,
    /// What is sent before the last chat of the same conversation.
    growing: bool,
}

impl Case {
    fn new(name: &str, aims: (Option<f64>, Option<f64>), texts: Vec<String>) -> Self {
        Self {
            name: name.to_owned(),
            aims,
            chats: texts.into_iter().map(|text| vec![text]).collect(),
            growing: false,
        }
    }
}

async fn measure(options: &Options) -> Result<(), String> {
    let mut rng = Rng::new(7);
    let cases = cases(options.texts.max(40), &mut rng);
    let upstream = upstream::start(Instant::now()).await.map_err(|e| e.to_string())?;
    let (envoy, port) = start(&options.tokenizer, upstream).await?;
    let mut gateway = Gateway { sender: connect(port).await? };
    for round in 0..3 {
        for chat in warm_up(&mut rng, if round == 0 { 900 } else { 300 }) {
            gateway.send(COUNTED, &chat).await?;
            gateway.send(BOUNDED, &chat).await?;
        }
    }
    println!(
        "Each text goes through Envoy bounded by its bytes, then counted, then counted again, on one connection; told is \
         the difference that the client saw, text by text.\n"
    );
    println!("| {} in Envoy | cold: median (quartiles) us | aim | warm us | aim |", options.tokenizer);
    println!("|---|---|---|---|---|");
    let mut native = Vec::new();
    let mut worst: Option<(f64, String)> = None;
    for case in &cases {
        let Seen { mut cold, mut warm, texts } = gateway.case(case).await?;
        let median = percentile(&mut cold, 0.5);
        let aim = |aim: Option<f64>| aim.map_or(String::new(), |aim| format!("{aim:.0}"));
        println!(
            "| {} ({texts}) | {} | {} | {} | {} |",
            case.name,
            told(&mut cold),
            aim(case.aims.0),
            told(&mut warm),
            aim(case.aims.1)
        );
        if case.name.starts_with("hostile") && worst.as_ref().is_none_or(|(most, _)| median > *most) {
            worst = Some((median, case.name.clone()));
        }
        native.push((case.name.clone(), natively(&options.tokenizer, case)));
    }
    if let Some((most, name)) = worst {
        println!("\nworst hostile: {name}, {:.1} ms", most / 1e3);
    }
    println!("\n| natively, cold, median us | weir-tokens | bpe-openai | tiktoken-rs |\n|---|---|---|---|");
    for (name, columns) in &mut native {
        let columns: Vec<String> =
            columns.iter_mut().map(|times| format!("{:.1}", percentile(times, 0.5))).collect();
        println!("| {name} | {} |", columns.join(" | "));
    }
    memory(&envoy);
    Ok(())
}

fn told(times: &mut [f64]) -> String {
    let mut at = |share| percentile(times, share);
    format!("{:.1} ({:.1} to {:.1})", at(0.5), at(0.25), at(0.75))
}

/// Tables lie in the module's memory, which every VM has once.
fn memory(envoy: &Envoy) {
    println!("\n| vocabulary | tables in each VM that is built with it |\n|---|---|");
    for vocabulary in Vocabulary::ALL {
        println!("| {} | {:.2} MB |", vocabulary.name(), vocabulary.size() as f64 / 1e6);
    }
    println!(
        "\no200k_harmony is o200k_base for ordinary text and shares its tables. No table is loaded, parsed or built at run time."
    );
    println!("Envoy after all of the above, one worker: {:.1} MB resident", envoy.rss() as f64 / 1e6);
}

/// Makes a text.
type Made = Box<dyn Fn(&mut Rng) -> String>;

fn cases(texts: usize, rng: &mut Rng) -> Vec<Case> {
    let prose = Texts::load();
    let few = (texts / 10).max(20);
    let many = |rng: &mut Rng, count: usize, make: &dyn Fn(&mut Rng) -> String| -> Vec<String> {
        (0..count).map(|_| make(rng)).collect()
    };
    let sources = sources();
    let mut cases = vec![
        Case::new("prose 4 KB", (Some(100.0), Some(20.0)), many(rng, texts, &|rng| prose.text(SMALL, rng))),
        Case::new("code 4 KB", (None, None), many(rng, texts, &|rng| code(&sources, SMALL, rng))),
        Case::new("code 200 KB", (Some(5000.0), None), many(rng, few, &|rng| code(&sources, LARGE, rng))),
        Case::new("Chinese and Japanese 4 KB", (Some(250.0), None), many(rng, texts, &|rng| han(SMALL, rng))),
    ];
    let chats = (0..texts)
        .map(|_| {
            (0..2 * TURNS - 1)
                .map(|at| prose.text(if at.is_multiple_of(2) { 200 } else { 600 }, rng))
                .collect()
        })
        .collect();
    let name = format!("turn {TURNS} of a chat (800 bytes new, 7 KB in all: the last answer is new too)");
    cases.push(Case { name, aims: (Some(20.0), None), chats, growing: true });
    let random = |letters: &'static str| {
        move |rng: &mut Rng| {
            let letters: Vec<char> = letters.chars().collect();
            let mut text = String::new();
            while text.len() < LARGE {
                text.push(letters[rng.below(letters.len())]);
            }
            text
        }
    };
    let run = |fragment: &'static str| {
        move |rng: &mut Rng| {
            // Not the same text twice.
            format!("{} {}", rng.below(1 << 30), fragment.repeat(LARGE / fragment.len()))
        }
    };
    let hostile: [(&str, Made); 8] = [
        ("random letters", Box::new(random("abcdefghijklmnopqrstuvwxyz"))),
        ("a and b", Box::new(random("ab"))),
        ("symbols", Box::new(random("!#$%&()*+,-.:;<=>?@[]^_{|}~"))),
        ("====", Box::new(run("="))),
        ("spaces", Box::new(run(" "))),
        ("aaaa", Box::new(run("a"))),
        ("one character of Han", Box::new(run("中"))),
        (
            "random Han",
            Box::new(|rng| {
                let mut text = String::new();
                while text.len() < LARGE {
                    text.extend(char::from_u32(0x4E00 + rng.below(0x51FF) as u32));
                }
                text
            }),
        ),
    ];
    for (name, make) in &hostile {
        let name = format!("hostile 200 KB, {name}");
        cases.push(Case::new(&name, (Some(20_000.0), None), many(rng, few / 2, make.as_ref())));
    }
    cases
}

/// Pieces of this repository's own code.
fn sources() -> Vec<String> {
    let mut folders =
        vec![repo_root().join("filters"), repo_root().join("control-plane"), repo_root().join("xtask")];
    let mut pieces = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap_or_default();
                let lines: Vec<&str> = text.split_inclusive('\n').collect();
                pieces.extend(lines.chunks(12).map(|lines| lines.concat()));
            }
        }
    }
    pieces.sort();
    pieces
}

fn code(pieces: &[String], bytes: usize, rng: &mut Rng) -> String {
    let mut text = String::new();
    while text.len() < bytes {
        text.push_str(&pieces[rng.below(pieces.len())]);
    }
    text
}

/// Sentences of characters, frequent ones more often; every second one with kana.
fn han(bytes: usize, rng: &mut Rng) -> String {
    const COMMON: &str = "的一是不了在人有我他这中大来上国个到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可里后小么心多天而能好都然没日于起还发成事只作当想看文无开手十用主行方又如前所本见经头面公同三已老从动两长知民样现分将外但身些与高意进把法此实回二理美点月明其种声全工己话儿者向情部正名定女问力机给等几很业最间新什打便位因重被走电四第门相次东政海口使教西再平真听世气信北少关并内加化由却代军产入先山五太水万市眼体别处总才场师书比住员九笑性通目华报立马命张活难神数件安表原车白应路期叫死常提感金何更反合放做系计或司利受光王果亲界及今京务制解各任至清物台象记边共风战干接它许八特觉望直服毛林题建南度统色字请交爱让认算论百吃义科怎元社术结六功指思非流每青管夫连远资队跟带花快条院变联";
    let common: Vec<char> = COMMON.chars().collect();
    let mut text = String::new();
    while text.len() < bytes {
        let japanese = rng.below(2) == 0;
        for _ in 0..rng.between(6, 24) {
            let place = rng.below(common.len()) * rng.below(common.len()) / common.len();
            let char = match rng.below(20) {
                0 => char::from_u32(0x4E00 + rng.below(0x51FF) as u32),
                1..9 if japanese => char::from_u32(0x3041 + rng.below(83) as u32),
                9..11 if japanese => char::from_u32(0x30A1 + rng.below(83) as u32),
                _ => Some(common[place]),
            };
            text.extend(char);
        }
        text.push(if rng.below(3) == 0 { '，' } else { '。' });
    }
    text
}

fn warm_up(rng: &mut Rng, count: usize) -> Vec<Vec<String>> {
    let (prose, sources) = (Texts::load(), sources());
    (0..count)
        .map(|at| match at % 8 {
            0 => vec![han(SMALL, rng)],
            1 => vec![code(&sources, 8 * SMALL, rng)],
            2 => (0..10).map(|_| prose.text(300, rng)).collect(),
            _ => vec![prose.text(SMALL, rng)],
        })
        .collect()
}

/// Envoy with the example's configuration but for these two models; every prompt is counted.
async fn start(tokenizer: &str, upstream: u16) -> Result<(Envoy, u16), String> {
    let mut config = EnvoyConfig::read("envoy/inject/envoy.yaml");
    let mut exchange = config.configuration("exchange");
    let model = |name: &str, tokenizer: Value| {
        json!({"name": name, "targets": [{
            "provider": "gpu-pool", "model": "m", "weight": 1, "tokenizer": tokenizer, "context": 100_000_000,
        }]})
    };
    exchange["models"] = json!([model(COUNTED, tokenizer.into()), model(BOUNDED, Value::Null)]);
    exchange["tenants"][0]["models"] = json!([COUNTED, BOUNDED]);
    exchange["telemetry"] = json!({"count": true});
    let port = free_port();
    config
        .module(&paths::module("weir"))
        .configure("exchange", &exchange.to_string())
        .port(8080, port)
        .port(9101, upstream)
        .port(4317, free_port());
    let envoy = Envoy::builder(config).name("bench-tokens").concurrency(1).try_start().await?;
    Ok((envoy, port))
}

async fn connect(port: u16) -> Result<SendRequest<Full<Bytes>>, String> {
    let socket = TcpStream::connect(("127.0.0.1", port)).await.map_err(|e| e.to_string())?;
    socket.set_nodelay(true).map_err(|e| e.to_string())?;
    let (sender, connection) = handshake(TokioIo::new(socket)).await.map_err(|e| e.to_string())?;
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(sender)
}

struct Gateway {
    sender: SendRequest<Full<Bytes>>,
}

/// Differences in microseconds.
struct Seen {
    cold: Vec<f64>,
    warm: Vec<f64>,
    texts: usize,
}

impl Gateway {
    async fn case(&mut self, case: &Case) -> Result<Seen, String> {
        let mut seen = Seen { cold: Vec::new(), warm: Vec::new(), texts: case.chats.len() };
        for (number, chat) in case.chats.iter().enumerate() {
            if case.growing {
                for turn in 1..TURNS {
                    self.send(COUNTED, &chat[..2 * turn - 1]).await?;
                }
            }
            let (bounded, cold) = if number % 2 == 0 {
                let bounded = self.send(BOUNDED, chat).await?;
                (bounded, self.send(COUNTED, chat).await?)
            } else {
                let cold = self.send(COUNTED, chat).await?;
                (self.send(BOUNDED, chat).await?, cold)
            };
            let warm = self.send(COUNTED, chat).await?;
            let micros = |one: Duration| (one.as_secs_f64() - bounded.as_secs_f64()) * 1e6;
            seen.cold.push(micros(cold));
            seen.warm.push(micros(warm));
        }
        Ok(seen)
    }

    /// How long an answer took.
    async fn send(&mut self, model: &str, messages: &[String]) -> Result<Duration, String> {
        let role = |at: usize| if at.is_multiple_of(2) { "user" } else { "assistant" };
        let messages: Vec<Value> = messages
            .iter()
            .enumerate()
            .map(|(at, text)| json!({"role": role(at), "content": text}))
            .collect();
        let body = json!({"model": model, "messages": messages, "max_tokens": 64}).to_string();
        let request = Request::post("/v1/chat/completions")
            .header("host", "bench")
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {}", inject::KEY))
            .body(Full::new(Bytes::from(body)))
            .map_err(|e| e.to_string())?;
        let begun = Instant::now();
        let answer = self.sender.send_request(request).await.map_err(|e| e.to_string())?;
        let status = answer.status();
        let body = answer.into_body().collect().await.map_err(|e| e.to_string())?.to_bytes();
        let took = begun.elapsed();
        match status.is_success() {
            true => Ok(took),
            false => Err(format!("status {status}: {}", String::from_utf8_lossy(&body))),
        }
    }
}

/// The same texts by this counter and by two others, in turns.
fn natively(tokenizer: &str, case: &Case) -> [Vec<f64>; 3] {
    let cl100k = tokenizer == "cl100k_base";
    let ours = Vocabulary::from_name(tokenizer).or_else(|| Vocabulary::from_name("o200k_base"));
    let bpe = if cl100k { bpe_openai::cl100k_base() } else { bpe_openai::o200k_base() };
    let tiktoken =
        if cl100k { tiktoken_rs::cl100k_base_singleton() } else { tiktoken_rs::o200k_base_singleton() };
    let counts: [&dyn Fn(&str) -> u64; 3] = [
        &|text| ours.map_or(0, |vocabulary| weir_tokens::count(vocabulary, text)),
        &|text| bpe.count(text) as u64,
        &|text| tiktoken.encode_ordinary(text).len() as u64,
    ];
    let mut times: [Vec<f64>; 3] = Default::default();
    for chat in &case.chats {
        for (count, times) in counts.iter().zip(&mut times) {
            let begun = Instant::now();
            for text in chat {
                black_box(count(black_box(text)));
            }
            times.push(begun.elapsed().as_secs_f64() * 1e6);
        }
    }
    times
}
