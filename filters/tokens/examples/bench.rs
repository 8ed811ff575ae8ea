//! Native speed beside the oracles, on distinct windows of 4 KB so that no text is counted twice:
//! `cargo run -p weir-tokens --release --example bench [FILE...]`. Without files it makes up text.
use std::time::Instant;

fn main() {
    let mut texts: Vec<(String, String)> = Vec::new();
    for path in std::env::args().skip(1) {
        let bytes = std::fs::read(&path).expect("a readable file");
        texts.push((path, String::from_utf8_lossy(&bytes).into_owned()));
    }
    for (name, text) in &texts {
        let windows = windows(text, 4096);
        let v = weir_tokens::Vocabulary::O200kBase;
        let bpe = tiktoken_rs::o200k_base_singleton();
        let o = bpe_openai::o200k_base();
        println!("{name}: {} windows", windows.len());
        run("weir", &windows, &|t| weir_tokens::count(v, t));
        run("bpe-openai", &windows, &|t| o.count(t) as u64);
        run("tiktoken-rs", &windows, &|t| bpe.encode_ordinary(t).len() as u64);
    }
}

fn windows(text: &str, size: usize) -> Vec<&str> {
    let mut all = Vec::new();
    let mut rest = text;
    while rest.len() > size {
        let cut = (0..=size).rev().find(|&at| rest.is_char_boundary(at)).unwrap_or(0);
        let (head, tail) = rest.split_at(cut);
        all.push(head);
        rest = tail;
    }
    all
}

fn run(name: &str, windows: &[&str], count: &dyn Fn(&str) -> u64) {
    let warm = windows.len() / 8;
    for window in windows.iter().take(warm) {
        std::hint::black_box(count(window));
    }
    let mut tokens = 0;
    let mut times: Vec<f64> = windows
        .iter()
        .skip(warm)
        .map(|window| {
            let start = Instant::now();
            tokens += count(window);
            start.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let at = |part: f64| times.get((times.len() as f64 * part) as usize).copied().unwrap_or(f64::NAN);
    println!(
        "  {name:12} p50 {:7.1} us  p99 {:7.1} us  sum {:9.0} us  {tokens} tokens",
        at(0.5),
        at(0.99),
        times.iter().sum::<f64>()
    );
}
