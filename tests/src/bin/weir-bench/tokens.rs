//! `tokens`: what counting a prompt costs in Envoy, in the module that is shipped, and natively beside other counters.
//!
//! Two models differ in nothing but that one has a tokenizer, and every prompt is asked to be counted. Each body is sent
//! five times, one request after the other on a kept connection: bounded by bytes (the model without a tokenizer) for
//! nothing, since whoever brings a new text pays for more than its counting; bounded, counted, and bounded again; and
//! counted again. What is told is the counted one's time less the mean of those before and after it, as the client saw
//! them, text by text: counting, and nothing that both do. "Cold" texts were never counted before, "warm" ones are the
//! counted again. The bound by bytes walks the texts too, a microsecond or two for 4 KB. The first requests, of other
//! texts, are thrown away: the engine compiles meanwhile.
//!
//! A growing chat is a conversation: each turn goes through Envoy, is answered, whole or as a stream in turns, and what
//! the client read is its assistant message in the next. The tenth is measured. Where the ninth turn is said to have gone
//! through another worker, it was not sent here at all.

mod made;

use std::hint::black_box;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use weir_tests::harness::{Envoy, inject};
use weir_tests::sim::rng::Rng;
use weir_tokens::Vocabulary;

use crate::single::Single;
use crate::stats::percentile;
use crate::texts::Texts;
use crate::upstream::{self, Says};
use made::{LARGE, SMALL};

#[derive(clap::Args)]
pub struct Options {
    /// Texts of 4 KB for each case; those of 200 KB are a tenth.
    #[arg(long, default_value_t = 400)]
    texts: usize,
    /// The vocabulary that the module counts by.
    #[arg(long, default_value = "o200k_base")]
    tokenizer: String,
}

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
    /// Of a conversation, the turns before the last that go through this gateway.
    turns: usize,
}

impl Case {
    fn new(name: &str, aims: (Option<f64>, Option<f64>), texts: Vec<String>) -> Self {
        Self {
            name: name.to_owned(),
            aims,
            chats: texts.into_iter().map(|text| vec![text]).collect(),
            turns: 0,
        }
    }
}

async fn measure(options: &Options) -> Result<(), String> {
    let mut rng = Rng::new(7);
    let cases = cases(options.texts.max(40), &mut rng);
    let mut gateway = Gateway::start(&options.tokenizer).await?;
    for round in 0..3 {
        for chat in made::warm_up(&mut rng, if round == 0 { 900 } else { 300 }) {
            gateway.send(COUNTED, &chat, false).await?;
            gateway.send(BOUNDED, &chat, false).await?;
        }
        let conversations = conversations(&Texts::load(), 40, &mut rng);
        gateway
            .case(&Case { turns: TURNS - 1, chats: conversations, ..Case::new("", (None, None), Vec::new()) })
            .await?;
    }
    println!(
        "Each text goes through Envoy bounded by its bytes, counted, bounded and counted again, on one connection; told is \
         by how much counting was slower, as the client saw it, text by text.\n"
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
    memory(&gateway.single.envoy);
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

fn cases(texts: usize, rng: &mut Rng) -> Vec<Case> {
    let prose = Texts::load();
    let few = (texts / 10).max(20);
    let many = |rng: &mut Rng, count: usize, make: &dyn Fn(&mut Rng) -> String| -> Vec<String> {
        (0..count).map(|_| make(rng)).collect()
    };
    let sources = made::sources();
    let code = |bytes: usize| {
        let sources = &sources;
        move |rng: &mut Rng| made::code(sources, bytes, rng)
    };
    let mut cases = vec![
        Case::new("prose 4 KB", (Some(100.0), Some(20.0)), many(rng, texts, &|rng| prose.text(SMALL, rng))),
        Case::new("code 4 KB", (None, None), many(rng, texts, &code(SMALL))),
        Case::new("code 200 KB", (Some(5000.0), None), many(rng, few, &code(LARGE))),
        Case::new(
            "Chinese and Japanese 4 KB",
            (Some(250.0), None),
            many(rng, texts, &|rng| made::han(SMALL, rng)),
        ),
    ];
    for (turns, aim, name) in [
        (
            TURNS - 1,
            Some(20.0),
            "tenth turn of a conversation of 7 KB, nine answered here: 200 bytes are new",
        ),
        (
            TURNS - 2,
            None,
            "the same, the ninth turn and its answer through another worker: 1,000 bytes are new",
        ),
    ] {
        let chats = conversations(&prose, texts, rng);
        cases.push(Case { turns, chats, ..Case::new(name, (aim, None), Vec::new()) });
    }
    for (name, make) in &made::hostile() {
        let name = format!("hostile 200 KB, {name}");
        cases.push(Case::new(&name, (Some(20_000.0), None), many(rng, few / 2, make.as_ref())));
    }
    cases
}

/// What is said in turns by a client and a model; the client has the last word.
fn conversations(prose: &Texts, count: usize, rng: &mut Rng) -> Vec<Vec<String>> {
    let size = |at: usize| if at.is_multiple_of(2) { 200 } else { 600 };
    (0..count).map(|_| (0..2 * TURNS - 1).map(|at| prose.text(size(at), rng)).collect()).collect()
}

/// Envoy with two models, of which one is counted, and the provider that says what it is told to.
struct Gateway {
    single: Single,
    says: Says,
}

/// Differences in microseconds.
struct Seen {
    cold: Vec<f64>,
    warm: Vec<f64>,
    texts: usize,
}

impl Gateway {
    async fn start(tokenizer: &str) -> Result<Self, String> {
        let says = Says::default();
        let upstream =
            upstream::start_saying(Instant::now(), says.clone()).await.map_err(|e| e.to_string())?;
        let model = |name: &str, tokenizer: Value| {
            json!({"name": name, "targets": [{
                "provider": "gpu-pool", "model": "m", "weight": 1, "tokenizer": tokenizer, "context": 100_000_000,
            }]})
        };
        let change = |exchange: &mut Value| {
            exchange["models"] = json!([model(COUNTED, tokenizer.into()), model(BOUNDED, Value::Null)]);
            exchange["tenants"][0]["models"] = json!([COUNTED, BOUNDED]);
            exchange["telemetry"] = json!({"count": true});
        };
        Ok(Self { single: Single::start("bench-tokens", upstream, change).await?, says })
    }

    async fn case(&mut self, case: &Case) -> Result<Seen, String> {
        let mut seen = Seen { cold: Vec::new(), warm: Vec::new(), texts: case.chats.len() };
        for (number, chat) in case.chats.iter().enumerate() {
            for turn in 1..=case.turns {
                self.turn(&chat[..2 * turn - 1], &chat[2 * turn - 1], (number + turn) % 2 == 0).await?;
            }
            if case.turns > 0 {
                // The gateway still books the last turn while its client reads: a person would not have answered yet.
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            self.send(BOUNDED, chat, false).await?;
            let before = self.send(BOUNDED, chat, false).await?;
            let cold = self.send(COUNTED, chat, false).await?;
            let after = self.send(BOUNDED, chat, false).await?;
            let bounded = (before + after) / 2;
            let warm = self.send(COUNTED, chat, false).await?;
            let micros = |one: Duration| (one.as_secs_f64() - bounded.as_secs_f64()) * 1e6;
            seen.cold.push(micros(cold));
            seen.warm.push(micros(warm));
        }
        Ok(seen)
    }

    /// One turn, which the provider answers with `answer`.
    async fn turn(&mut self, messages: &[String], answer: &str, stream: bool) -> Result<(), String> {
        if let Ok(mut says) = self.says.lock() {
            *says = Some(answer.to_owned());
        }
        let body = self.single.client.post(inject::KEY, body(COUNTED, messages, stream)).await?.0;
        match read(&body, stream) == answer {
            true => Ok(()),
            false => Err("the client did not read what the provider said".into()),
        }
    }

    /// How long an answer took.
    async fn send(&mut self, model: &str, messages: &[String], stream: bool) -> Result<Duration, String> {
        Ok(self.single.client.post(inject::KEY, body(model, messages, stream)).await?.1)
    }
}

/// The provider looks for `stream` at the end.
fn body(model: &str, messages: &[String], stream: bool) -> String {
    let role = |at: usize| if at.is_multiple_of(2) { "user" } else { "assistant" };
    let messages: Vec<Value> =
        messages.iter().enumerate().map(|(at, text)| json!({"role": role(at), "content": text})).collect();
    let messages = Value::Array(messages);
    format!(r#"{{"model":"{model}","messages":{messages},"max_tokens":64,"stream":{stream}}}"#)
}

/// The text of an answer.
fn read(body: &[u8], stream: bool) -> String {
    let text = |json: &str, part: &str| {
        let value: Value = serde_json::from_str(json).unwrap_or_default();
        value["choices"][0][part]["content"].as_str().unwrap_or_default().to_owned()
    };
    let body = String::from_utf8_lossy(body);
    if stream {
        body.lines().filter_map(|line| line.strip_prefix("data: ")).map(|data| text(data, "delta")).collect()
    } else {
        text(&body, "message")
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
