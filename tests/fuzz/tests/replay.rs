//! What searches have found worth keeping, again, with a little damage that is the same on every run.

use weir_fuzz::engine::{catch, check, mutate};
use weir_fuzz::random::Random;
use weir_fuzz::{TARGETS, corpus};

/// Damaged inputs for each target.
const DAMAGED: usize = 300;

#[test]
fn no_known_input_breaks_a_promise_nor_does_any_damage_to_it() {
    catch();
    let mut broken = Vec::new();
    for target in TARGETS {
        let mut known = (target.seeds)();
        known.extend(corpus::read(target.name));
        let mut random = Random::of(target.name.as_bytes());
        let damaged: Vec<Vec<u8>> = (0..DAMAGED)
            .map(|_| {
                let one = random.pick(&known).cloned().unwrap_or_default();
                let other = random.pick(&known).cloned().unwrap_or_default();
                mutate(&one, &other, target.words, 2048, &mut random)
            })
            .collect();
        for input in known.iter().chain(&damaged) {
            if let Err(why) = check(target, input) {
                broken.push(format!("{}: {why}\n  {}", target.name, corpus::escape(input)));
            }
        }
        println!("{}: {} known inputs, {DAMAGED} damaged", target.name, known.len());
    }
    // Panics are silent here, this one too.
    println!("{}", broken.join("\n"));
    assert!(broken.is_empty());
}

#[test]
fn every_corpus_belongs_to_a_target_and_every_target_says_what_it_is() {
    let folder = corpus::path("x").parent().expect("a folder").to_path_buf();
    for entry in std::fs::read_dir(folder).expect("the corpus") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        assert!(TARGETS.iter().any(|target| target.name == name), "{} belongs to nobody", path.display());
    }
    for (at, target) in TARGETS.iter().enumerate() {
        assert!(target.about.len() > 20, "{}", target.name);
        assert!(TARGETS.iter().skip(at + 1).all(|other| other.name != target.name), "{} twice", target.name);
    }
}
