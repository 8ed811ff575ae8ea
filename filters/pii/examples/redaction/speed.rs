//! How long texts take, and the pieces of a stream: those that people and programs write, and those that nobody would write
//! but to make it slow.

use std::hint::black_box;
use std::rc::Rc;
use std::time::Instant;

use weir_pii::{Redactor, Set, find};

/// Units of hostile texts.
const UNITS: &[&str] = &[
    "a",
    "1",
    "1 ",
    "12 ",
    "123 ",
    "4111 ",
    "a@",
    "a.",
    "@",
    "::",
    "1:",
    "a:1:",
    "1.",
    "1.1.",
    "+1",
    "(1",
    "078051120 ",
    "078051120 ssn ",
    "GB82 ",
    "GB82WEST",
    "123 456 789 ",
    "12 34 56 78 ",
    "-----BEGIN PRIVATE KEY-----",
    "-----BEGIN ",
    "-",
    "eyJ",
    "eyJa.",
    "sk-a1",
    "ghp_",
    "password=",
    "password=a1b2c3 ",
    "a:b@",
    "://a:b",
    "basic a",
    "Basic QWxh ",
    "16Yeky6GMjeNkAiNcBY7ZhrLoMSgg1BoyZ ",
    "1HGCM82633A004352 ",
    "born 1/1/1980 ",
    "call 123456 ",
    "account 12345678 ",
    "1/1/",
    "é",
    "漢",
    "\u{200b}",
    "1\u{200b}",
    "A1B2 ",
    "AB12 34 ",
    "0 ",
    "00 ",
    "00 00 00 00 ",
    "s",
    "ssn",
    "age: 12 ",
    "02.27.96.63.08 ",
    // What texts put together at random were worst at.
    "01 ",
    "00 4 ",
    "00 (2 ",
    "(67 ",
    "0\u{200b}6 ",
    "1 85 05 78 006 084 36 ",
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
    " age:)91%2085 05 78 006 084 36 ",
    "::1\\n",
    "078%2D05%2D1120 ",
    "&amp;amp;",
    "\\",
];

fn percentiles(mut times: Vec<f64>) -> (f64, f64, f64) {
    times.sort_by(f64::total_cmp);
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize] * 1e6;
    (at(0.5), at(0.99), at(1.0))
}

/// Prints how long parts of a text take, a stream of it, and the worst of the units.
pub(crate) fn speed(set: Set, whole: &str) {
    let set = Rc::new(set);
    let edge = |at: usize| (at..whole.len()).find(|at| whole.is_char_boundary(*at)).unwrap_or(whole.len());
    let pieces: Vec<&str> = (0..whole.len().saturating_sub(4200))
        .step_by(211)
        .map(|at| &whole[edge(at)..edge(at + 4096)])
        .collect();
    let mut out = Vec::new();
    let time = |out: &mut Vec<_>, piece: &str| {
        out.clear();
        let started = Instant::now();
        find(black_box(&set), black_box(piece), out);
        started.elapsed().as_secs_f64()
    };
    // The best of three for each, since the machine does other things too; all texts pass before one returns.
    let mut times = vec![f64::MAX; pieces.len()];
    for _ in 0..3 {
        for (best, piece) in times.iter_mut().zip(&pieces) {
            *best = best.min(time(&mut out, piece));
        }
    }
    let (p50, p99, _) = percentiles(times);
    println!("{} texts of 4 KB, all different: p50 {p50:.1} µs, p99 {p99:.1} µs", pieces.len());
    let mut times = Vec::new();
    let (mut redactor, mut streamed) = (Redactor::new(set.clone()), String::new());
    let mut at = 0;
    while at < whole.len().min(200_000) {
        let next = edge(at + 5);
        let started = Instant::now();
        redactor.push(&whole[at..next], &mut streamed);
        times.push(started.elapsed().as_secs_f64());
        streamed.clear();
        at = next;
    }
    let (p50, p99, _) = percentiles(times);
    println!("a stream in chunks of 5 bytes: p50 {p50:.2} µs, p99 {p99:.2} µs a chunk");
    let mut worst = (0.0, "");
    for unit in UNITS {
        let text = unit.repeat(200_000 / unit.len());
        let best = (0..3).map(|_| time(&mut out, &text)).fold(f64::MAX, f64::min);
        if best > worst.0 {
            worst = (best, unit);
        }
    }
    println!("the worst of {} texts of 200 KB: {:.2} ms ({:?})", UNITS.len(), worst.0 * 1e3, worst.1);
}
