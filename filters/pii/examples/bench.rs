//! Native times per 4 KB, best of many: `cargo run -p weir-pii --release --example bench`.

#![expect(clippy::unwrap_used, clippy::string_slice, reason = "a benchmark of inputs that it made itself")]

use std::hint::black_box;
use std::rc::Rc;
use std::time::Instant;

use weir_pii::{Action, Redactor, Rule, Set, Vault, find};

fn best(name: &str, mut run: impl FnMut()) {
    let mut best = f64::MAX;
    for _ in 0..200 {
        let started = Instant::now();
        (0..50).for_each(|_| run());
        best = best.min(started.elapsed().as_secs_f64() / 50.0);
    }
    println!("{name:58} {:8.2} us", best * 1e6);
}

fn fill(unit: &str) -> String {
    let mut text = unit.repeat(4096 / unit.len() + 1);
    text.truncate((0..=4096).rev().find(|at| text.is_char_boundary(*at)).unwrap());
    text
}

fn main() {
    let words: Vec<String> = (0..20).map(|index| format!("Project Codename{index}")).collect();
    let rule = |find: &[&str], words: &[String]| Rule {
        find: find.iter().map(|name| (*name).to_owned()).collect(),
        words: words.to_vec(),
        action: Action::Mask,
    };
    let kinds = ["email", "credit_card", "us_ssn"];
    let prose =
        fill("The quick brown fox jumps over the lazy dog, and then it slept for a while. Nobody knew why. ");
    let texts = [
        ("prose", prose.clone()),
        (
            "prose with typographic quotes",
            fill("The fox’s “quick” jump — over a lazy dog, and then it slept for a while. "),
        ),
        ("Chinese", fill("今天天气很好，我们一起去公园散步吧。")),
        (
            "code with numbers",
            fill("let x = [12, 4096, 31337]; // see 2024-01-15, v1.2.3\nfor i in 0..100 { f(i); }\n"),
        ),
        (
            "personal data throughout",
            fill("Mail jane.doe@example.com, card 4111 1111 1111 1111, SSN 078-05-1120, thanks. "),
        ),
        ("digits", fill("4 1 1 1 ")),
        ("addresses that are none", fill("a.b@c.")),
    ];
    let every: Vec<&str> = weir_pii::DETECTORS.iter().map(|detector| detector.id).collect();
    let all = Rc::new(Set::new(&[rule(&every, &words)]).unwrap());
    let wanted = std::env::args().nth(1).unwrap_or_default();
    for (name, text) in texts.iter().filter(|(name, _)| name.starts_with(&wanted)) {
        println!("{name}: {} bytes", text.len());
        for kind in kinds {
            let set = Set::new(&[rule(&[kind], &[])]).unwrap();
            let mut out = Vec::new();
            best(&format!("  {kind}"), || {
                out.clear();
                find(black_box(&set), black_box(text), &mut out);
            });
        }
        let set = Set::new(&[rule(&[], &words)]).unwrap();
        let mut out = Vec::new();
        best("  20 words", || {
            out.clear();
            find(black_box(&set), black_box(text), &mut out);
        });
        best("  all", || {
            out.clear();
            find(black_box(&all), black_box(text), &mut out);
        });
    }
    let pieces: Vec<&str> =
        (0..prose.len()).step_by(4).map(|at| &prose[at..(at + 4).min(prose.len())]).collect();
    best("prose masked as 1,024 deltas of 4 bytes", || {
        let (mut redactor, mut out) = (Redactor::new(all.clone()), String::with_capacity(5000));
        pieces.iter().for_each(|piece| redactor.push(piece, &mut out));
        redactor.finish(&mut out);
        black_box(out);
    });
    let mut vault = Vault::new();
    vault.placeholder(weir_pii::Kind::WORD, "value");
    best("prose restored as 1,024 deltas of 4 bytes", || {
        let (mut restorer, mut out) = (vault.restorer(), String::with_capacity(5000));
        pieces.iter().for_each(|piece| restorer.push(piece, &mut out));
        restorer.finish(&mut out);
        black_box(out);
    });
}
