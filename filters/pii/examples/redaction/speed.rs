//! How long texts take that people and programs write, and the pieces of a stream, outside of Envoy. What hostile ones take is
//! measured in Envoy.

use std::hint::black_box;
use std::rc::Rc;
use std::time::Instant;

use weir_pii::{Redactor, Set, find};

fn percentiles(mut times: Vec<f64>) -> (f64, f64) {
    times.sort_by(f64::total_cmp);
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize] * 1e6;
    (at(0.5), at(0.99))
}

/// Prints how long parts of a text take, and a stream of it.
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
    let (p50, p99) = percentiles(times);
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
    let (p50, p99) = percentiles(times);
    println!("a stream in chunks of 5 bytes: p50 {p50:.2} µs, p99 {p99:.2} µs a chunk");
}
