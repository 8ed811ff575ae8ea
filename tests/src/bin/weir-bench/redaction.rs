//! `redaction`: what searching for personal data costs in Envoy, in the module that is shipped, with all detectors on.
//!
//! One key's requests and answers are searched for everything, another's requests only, a third's for nothing. Each text is
//! sent by all that are compared, but for a digit at its beginning, one right after the other on a kept connection, in turns
//! first and last; told is by how much the client waited longer, text by text. No text is sent twice, but for the history
//! that chats repeat. Streams are told by Envoy's CPU time: many of them, searched and not, in alternating rounds.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;
use weir_tests::harness::inject;
use weir_tests::sim::rng::Rng;

use crate::single::{Client, Single};
use crate::stats::percentile;
use crate::texts::Texts;
use crate::upstream::{self, CHUNKS};

#[derive(clap::Args)]
pub struct Options {
    /// Texts of 4 KB; chats are a twelfth of that, each hostile text comes a two-hundredth, the dearest ten thrice as often anew.
    #[arg(long, default_value_t = 2400)]
    texts: usize,
    /// Streams in each round.
    #[arg(long, default_value_t = 60)]
    streams: usize,
    /// Only these types, in place of all.
    #[arg(long, value_delimiter = ',')]
    find: Vec<String>,
    /// Search nothing: what the measurement itself tells of two keys that are alike.
    #[arg(long)]
    control: bool,
}

const SMALL: usize = 4 << 10;
const LARGE: usize = 200_000;
/// Hostile texts that are told of.
const WORST: usize = 5;
/// Of how many.
const CANDIDATES: usize = 10;
const PLAIN: &str = inject::KEY;
const SEARCHED: &str = "test";
/// Whose answers are not searched.
const ASKED: &str = "hello";
const MODEL: &str = "openai/gpt-oss-20b";
/// Turns of a chat, of which the last is measured.
const TURNS: usize = 10;
/// Rounds of streams of each kind.
const ROUNDS: usize = 3;

/// Texts that a scanner may take long for: numbers, words, signs and beginnings of values without an end. Each `#` is a digit,
/// so that values differ.
const HOSTILE: &[&str] = &[
    "a",
    "1 ",
    "12 ",
    "123 ",
    "0 ",
    "00 00 00 00 ",
    "4111-",
    "4 1 1 1 ",
    "123 456 789 ",
    "12 34 56 78 ",
    "1/1/",
    "(1) ",
    "+1",
    "1:",
    "a:1:",
    "ab:cd:",
    "ab-cd-",
    "a1-",
    "AB CD ",
    "A1B2 ",
    "a@",
    "a.",
    "@",
    "eyJa.",
    "sk-a1",
    "ghp_",
    "password=",
    "a:b@",
    "-----BEGIN ",
    "078051120 ssn ",
    "age: 12 ",
    "born 1/1/1980 ",
    "call 123456 ",
    "GB82 ",
    "漢",
    "1\u{200b}",
    "1",
    "4111 ",
    "::",
    "1.",
    "1.1.",
    "(1",
    "078051120 ",
    "GB82WEST",
    "-----BEGIN PRIVATE KEY-----",
    "-",
    "eyJ",
    "password=a1b2c3 ",
    "://a:b",
    "basic a",
    "Basic QWxh ",
    "16Yeky6GMjeNkAiNcBY7ZhrLoMSgg1BoyZ ",
    "1HGCM82633A004352 ",
    "account 12345678 ",
    "é",
    "\u{200b}",
    "AB12 34 ",
    "00 ",
    "s",
    "ssn",
    "02.27.96.63.08 ",
    "\\",
    // What texts put together at random were worst at.
    "01 ",
    "00 4 ",
    "00 (2 ",
    "(67 ",
    "0\u{200b}6 ",
    "1 85 05 78 006 084 36 ",
    "1BoatSLRHtKNngkdXEeobR76b53LETtpyT ",
    "BSN ",
    "05  ",
    ")00-1 ",
    "(123 456 782  ",
    " age:)91 85 05 78 006 084 36 ",
    "5(",
    "6_",
    ":.0",
    "@é",
    "４375 ",
    // Letters of rare scripts.
    "\u{bbf}",
    "\u{20000}",
    // What looks like the beginning of a placeholder; escapes; values to be replaced, as many as there may be.
    "[",
    "[E",
    "[AGE_######]",
    "\n",
    "a@b.co\n",
    "a########@b.co ",
    "415-555-#### ",
    "078-05-#### ",
    "06 ######## ",
    "10.#.#.#,",
    "::1 ",
    "1.##.#.# ",
    "password=a########;",
    // What URLs, HTML and source code write otherwise.
    " age:)91%2085 05 78 006 084 36 ",
    " age:)91 85 05 78&#32;006 084 36 ",
    "::1\\n",
    "age:)91\\n",
    "(123%20456 782  ",
    "078%2D05%2D1120 ",
    "4111\\-",
    "a%40b.co ",
    "&#52;",
    "&amp;amp;",
    "&zwnj;1",
    "\\\\\\",
    "\u{1b}[31m1",
    "password=a%20",
];

/// Strings with escapes; some are documents themselves.
const IN_DOCUMENT: &[&str] = &[
    "\"\\n\",",
    "\"\\na#@b.co\",",
    "\"\\n::1\",",
    "\"\\n[::1\",",
    "\"[\\\"\\\\n::1\\\"]\",",
    "\"-----BEGIN PRIVATE KEY-----\\n\",",
];

/// Units, what is told of where they stand, and the body that they stand in behind a text with something to be replaced.
type Place = (&'static [&'static str], &'static str, fn(&str, &str) -> String);

const PLACES: [Place; 3] = [
    (HOSTILE, "", |first, units| user(&format!("{first} {units}"))),
    (IN_DOCUMENT, " in a document", |first, units| user(&format!("[\"{first}\",{units}0]"))),
    (
        &["\"A\",", "\"A1:B@\",", "\"A1:B@c\",", "\"a@b.co\",", "\"::1\",", "\"é1:2\","],
        " in a tool's schema",
        listed,
    ),
];

pub fn run(options: &Options) -> Result<(), String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    runtime.block_on(measure(options))
}

async fn measure(options: &Options) -> Result<(), String> {
    let upstream = upstream::start(Instant::now()).await.map_err(|e| e.to_string())?;
    let all: Vec<&str> = weir_pii::DETECTORS.iter().map(|detector| detector.id).collect();
    let find = if options.find.is_empty() { all } else { options.find.iter().map(String::as_str).collect() };
    let mut single = start(upstream, &find, options).await?;
    let (texts, mut rng) = (Texts::load(), Rng::new(11));
    let personal = personal(&mut rng);
    for _ in 0..800 {
        let text = mixed(&texts, &personal, &mut rng);
        for key in [SEARCHED, ASKED, PLAIN] {
            send(&mut single.client, key, &text, false).await?;
        }
    }
    println!(
        "In Envoy, {} of {} detectors on, texts all different, what searching adds:\n",
        find.len(),
        weir_pii::DETECTORS.len(),
    );
    println!("| | median (quartiles) µs | p99 µs |\n|---|---|---|");
    let (mut asked, mut both, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..options.texts {
        let text = texts.text(SMALL, &mut rng);
        let ([request, exchange], plain) =
            added(&mut single.client, [ASKED, SEARCHED], &mut rng, again(&text), number).await?;
        asked.push(request);
        both.push(exchange);
        bare.push(plain);
    }
    row("a request of 4 KB of prose and code", &mut asked);
    row("the same, and its answer", &mut both);
    row("what that is added to: the same exchange, searched for nothing", &mut bare);
    let mut times = Vec::new();
    for number in 0..options.texts {
        let text = mixed(&texts, &personal, &mut rng);
        times.extend(added(&mut single.client, [SEARCHED], &mut rng, again(&text), number).await?.0);
    }
    row("4 KB with personal data in every second line, and its answer", &mut times);
    let mut times = Vec::new();
    for number in 0..options.texts / 12 {
        times.push(turn(&mut single.client, &texts, &mut rng, number % 2 == 0).await?);
    }
    row(&format!("turn {TURNS} of a chat of 7 KB, 200 bytes new, and its answer"), &mut times);
    let rounds = (options.texts / 200).max(4);
    let texts = PLACES.into_iter().flat_map(|(units, place, body)| {
        units.iter().map(move |unit| Hostile { unit, place, body, times: Vec::new() })
    });
    let mut hostile: Vec<Hostile> = texts.collect();
    let number = hostile.len();
    // Of so many, one is the dearest by chance: those that may be are measured anew.
    for (rounds, told) in [(rounds, CANDIDATES), (3 * rounds, WORST)] {
        for text in &mut hostile {
            text.times = added_by(&mut single.client, text, &mut rng, rounds).await?;
        }
        hostile.sort_by_cached_key(|text| Reverse(percentile(&mut text.times.clone(), 0.5) as u64));
        hostile.truncate(told);
    }
    for Hostile { unit, place, times, .. } in &mut hostile {
        row(&format!("hostile 200 KB of {unit:?}{place}, among the worst of {number}"), times);
    }
    let chunk = chunks(&single, options.streams).await?;
    println!(
        "| a chunk of a stream, Envoy's CPU ({} chunks) | {chunk:.2} | |",
        ROUNDS * options.streams * CHUNKS
    );
    Ok(())
}

/// A text that is to be slow, and what it took.
struct Hostile {
    unit: &'static str,
    place: &'static str,
    body: fn(&str, &str) -> String,
    times: Vec<f64>,
}

/// What searching adds to 200 KB of a unit, in microseconds, each time in another text.
async fn added_by(
    client: &mut Client,
    Hostile { unit, body, .. }: &Hostile,
    rng: &mut Rng,
    rounds: usize,
) -> Result<Vec<f64>, String> {
    let mut times = Vec::new();
    for number in 0..rounds {
        let body = |_: usize, rng: &mut Rng| {
            body(&format!("{0} x{0}@example.org", rng.below(1 << 30)), &fill(unit, rng))
        };
        times.extend(added(client, [SEARCHED], rng, body, number).await?.0);
    }
    Ok(times)
}

/// What a chunk of a searched stream costs more, in microseconds.
async fn chunks(single: &Single, streams: usize) -> Result<f64, String> {
    let mut spent = [0.0, 0.0];
    for round in 0..2 * ROUNDS {
        let key = [PLAIN, SEARCHED][round % 2];
        let before = single.envoy.cpu();
        let mut running = JoinSet::new();
        for number in 0..streams {
            let mut client = Client::connect(single.port).await?;
            running.spawn(async move {
                send(&mut client, key, &format!("Tell me of {round} {number}."), true).await
            });
        }
        while let Some(done) = running.join_next().await {
            done.map_err(|e| e.to_string())??;
        }
        spent[round % 2] += (single.envoy.cpu() - before).as_secs_f64();
    }
    Ok((spent[1] - spent[0]) * 1e6 / (ROUNDS * streams * CHUNKS) as f64)
}

/// Sentences with values in them, made up, no two alike.
fn personal(rng: &mut Rng) -> Vec<String> {
    (0..400)
        .map(|_| {
            let mut number = |most: usize| rng.below(most);
            match number(5) {
                0 => format!("Write to person{}.x@example{}.org about it.", number(9999), number(99)),
                1 => format!(
                    "Call +49 30 {} or (415) 555-0{:03}.",
                    1_000_000 + number(8_999_999),
                    number(1000)
                ),
                2 => format!(
                    "Host 10.{}.{}.{} answered at 12:{:02}.",
                    number(256),
                    number(256),
                    number(256),
                    number(60)
                ),
                3 => format!(
                    "Her SSN is {:03}-{:02}-{:04}, she was born {}/{}/19{:02}.",
                    100 + number(500),
                    10 + number(80),
                    1 + number(9998),
                    1 + number(12),
                    1 + number(28),
                    number(99)
                ),
                _ => format!("export API_KEY=sk{:08x}{:08x}", number(1 << 31), number(1 << 31)),
            }
        })
        .collect()
}

fn mixed(texts: &Texts, personal: &[String], rng: &mut Rng) -> String {
    let mut text = String::new();
    while text.len() < SMALL - 120 {
        text += &personal[rng.below(personal.len())];
        text.push('\n');
        text += &texts.text(120, rng);
        text.push('\n');
    }
    text
}

/// A line of the table.
fn row(name: &str, times: &mut [f64]) {
    let number = times.len();
    let mut at = |part| percentile(times, part);
    let [quarter, median, more, most] = [0.25, 0.5, 0.75, 0.99].map(&mut at);
    println!("| {name} ({number}) | {median:.1} ({quarter:.1} to {more:.1}) | {most:.1} |");
}

/// Microseconds that searching adds to what one of these keys sends, in turns before and after what nobody searches; and
/// those of the latter.
async fn added<const N: usize>(
    client: &mut Client,
    keys: [&str; N],
    rng: &mut Rng,
    mut body: impl FnMut(usize, &mut Rng) -> String,
    number: usize,
) -> Result<([f64; N], f64), String> {
    let mut took = [0.0; N];
    let mut plain = 0.0;
    for at in 0..=N {
        let which = (at + number) % (N + 1);
        let key = keys.get(which).copied().unwrap_or(PLAIN);
        let time = client.post(key, body(at, rng)).await?.1.as_secs_f64() * 1e6;
        *took.get_mut(which).unwrap_or(&mut plain) = time;
    }
    Ok((took.map(|time| time - plain), plain))
}

/// Microseconds that a search adds to a chat's last turn. The turns before have gone the same way.
async fn turn(client: &mut Client, texts: &Texts, rng: &mut Rng, first: bool) -> Result<f64, String> {
    let said = |at: usize| if at.is_multiple_of(2) { ("user", 200) } else { ("assistant", 600) };
    let message = |at: usize| json!({"role": said(at).0, "content": texts.text(said(at).1, rng)});
    let chat: Vec<Value> = (0..2 * TURNS - 1).map(message).collect();
    let mut times = [Duration::ZERO; 2];
    let order = if first { [0, 1] } else { [1, 0] };
    for end in (1..=chat.len()).step_by(2) {
        let messages = json!(chat.get(..end));
        for at in order {
            times[at] = ask(client, [SEARCHED, PLAIN][at], &messages, false).await?;
        }
    }
    Ok((times[0].as_secs_f64() - times[1].as_secs_f64()) * 1e6)
}

async fn send(client: &mut Client, key: &str, text: &str, stream: bool) -> Result<Duration, String> {
    ask(client, key, &json!([{"role": "user", "content": text}]), stream).await
}

async fn ask(client: &mut Client, key: &str, messages: &Value, stream: bool) -> Result<Duration, String> {
    Ok(client.post(key, request(messages, "", stream)).await?.1)
}

/// A body; the provider looks for `stream` at its end.
fn request(messages: &Value, more: &str, stream: bool) -> String {
    format!(r#"{{"model":"{MODEL}","messages":{messages},{more}"max_tokens":64,"stream":{stream}}}"#)
}

/// One of a text alone.
fn user(text: &str) -> String {
    request(&json!([{"role": "user", "content": text}]), "", false)
}

/// The same text, but for a number: the gateway remembers the tokens of texts, so that the second one would be counted for
/// nothing.
fn again(text: &str) -> impl Fn(usize, &mut Rng) -> String {
    move |at, _| user(&format!("{at} {text}"))
}

/// A body with a tool, of whose parameter these are the values.
fn listed(text: &str, values: &str) -> String {
    let parameters = format!(r#"{{"type":"object","properties":{{"p":{{"enum":[{values}0]}}}}}}"#);
    let function = format!(r#"{{"name":"f","parameters":{parameters}}}"#);
    let tools = format!(r#""tools":[{{"type":"function","function":{function}}}],"#);
    request(&json!([{"role": "user", "content": text}]), &tools, false)
}

/// So many of these that they are large, each `#` another digit.
fn fill(unit: &str, rng: &mut Rng) -> String {
    let text = unit.repeat(LARGE / unit.len());
    let digit = |c| if c == '#' { char::from(b'0' + rng.below(10) as u8) } else { c };
    if unit.contains('#') { text.chars().map(digit).collect() } else { text }
}

/// Envoy with the example's configuration, and keys whose texts are searched.
async fn start(upstream: u16, find: &[&str], options: &Options) -> Result<Single, String> {
    // SHA-256 of the keys themselves.
    let more = [
        ("searched", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"),
        ("asked", "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"),
    ];
    let of = |keys: &[&str]| if options.control { json!(["nobody"]) } else { json!(keys) };
    let change = |exchange: &mut Value| {
        if let Some(keys) = exchange["tenants"][0]["keys"].as_array_mut() {
            keys.extend(more.map(|(id, sha256)| json!({"id": id, "sha256": sha256})));
        }
        exchange["redaction"] = json!([
            {"name": "out", "when": {"key": of(&["searched", "asked"])}, "find": find, "action": "tokenize", "request": true},
            {"name": "back", "when": {"key": of(&["searched"])}, "find": find, "action": "mask", "response": true},
        ]);
    };
    Single::start("bench-redaction", upstream, change).await
}
