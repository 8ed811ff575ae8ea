//! A model's own tokenizer, from the file beside its weights to the count in the gateway: trained here, compiled by
//! `weir tokenizer add`, laid into the module that a running control plane serves, and asked for by a policy. The counts
//! are those of the library that trained it.

use std::path::Path;
use std::process::Command;
use std::str::FromStr;

use serde_json::{Value, json};
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, Tokenizer};
use weir_tests::harness::{Client, paths};
use weir_tests::sim::rng::Rng;
use weir_tests::sim::words;

use crate::setup::Gateway;

/// As Qwen 2 splits.
const SPLIT: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const MODEL: &str = "house";

fn trained(corpus: &[String]) -> Value {
    let mut file = serde_json::to_value(Tokenizer::new(BPE::default())).expect("a tokenizer is JSON");
    file["pre_tokenizer"] = json!({"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": SPLIT}, "behavior": "Isolated", "invert": false},
        {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false},
    ]});
    let mut tokenizer = Tokenizer::from_str(&file.to_string()).expect("a tokenizer");
    let mut trainer: TrainerWrapper = BpeTrainer::builder()
        .vocab_size(1200)
        .show_progress(false)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .special_tokens(vec![AddedToken::from("<|end|>", true)])
        .build()
        .into();
    tokenizer.train(&mut trainer, corpus.iter().map(String::as_str)).expect("training");
    serde_json::to_value(&tokenizer).expect("a tokenizer is JSON")
}

fn text(rng: &mut Rng) -> String {
    let mut text = String::new();
    for _ in 0..rng.between(5, 60) {
        text.push_str(words::word(rng, 12));
        text.push_str(["", " ", " ", " ", "'S ", "\n\n  ", "12345", "—"][rng.below(8)]);
    }
    text
}

fn weir(arguments: &[&str], data: &Path) -> (bool, String) {
    let output = Command::new(paths::control_plane())
        .args(arguments)
        .arg("--data")
        .arg(data)
        .output()
        .expect("weir runs");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// The number of tokens that the gateway says a prompt has: the tenant may send one.
async fn counted(gateway: &Gateway, prompt: &str) -> u64 {
    let body = json!({"model": MODEL, "prompt": prompt, "max_tokens": 4}).to_string();
    let said = Client::answer(gateway.client().post("/v1/completions", body)).await.text();
    let count = said.split_once("the prompt has ").and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
    count.unwrap_or_else(|| panic!("no count in {said}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tokenizer_added_to_a_running_gateway_counts_as_the_library_that_trained_it() {
    let mut with_house = Value::Null;
    let mut gateway = Gateway::with("tokenizer", |plan, _| {
        with_house = plan.policy.clone();
        let mut target = plan.policy["models"][0]["targets"][0].clone();
        target["tokenizer"] = json!("house-bpe");
        with_house["models"] = json!([{"name": MODEL, "targets": [target]}]);
        for tenant in 0..2 {
            with_house["tenants"][tenant]["models"] = json!([MODEL]);
            with_house["tenants"][tenant]["limits"] = json!({"max_input_tokens": 1});
        }
    })
    .await;
    let folder = gateway.module().parent().expect("a folder").to_owned();
    let data = folder.join("data");
    let before =
        gateway.wait("a module", |status| status["policy"]["module"].is_string()).await["policy"]["module"]
            .clone();

    // A policy that names it is refused while the module has it not, and the gateway keeps what it has.
    gateway.write(with_house);
    let told =
        |status: &Value| status["policy"]["problems"].to_string().contains("unknown tokenizer `house-bpe`");
    gateway.wait("the policy is refused", told).await;

    let mut rng = Rng::new(5);
    let corpus: Vec<String> = (0..400).map(|_| text(&mut rng)).collect();
    let file = trained(&corpus);
    let path = folder.join("tokenizer.json");
    std::fs::write(&path, file.to_string()).expect("target/ is writable");
    let mut odd = file.clone();
    odd["normalizer"] = json!({"type": "Lowercase"});
    let odd_path = folder.join("odd.json");
    std::fs::write(&odd_path, odd.to_string()).expect("target/ is writable");
    let (fine, said) = weir(&["tokenizer", "add", "odd", &odd_path.to_string_lossy()], &data);
    assert!(!fine && said.contains("`normalizer` is {\"type\":\"Lowercase\"}"), "{said}");
    let (fine, said) = weir(&["tokenizer", "add", "house-bpe", &path.to_string_lossy()], &data);
    assert!(fine && said.contains("tokenizer: house-bpe"), "{said}");

    // No more is needed: the same file of policy is in force with the new module.
    let current = |status: &Value| {
        status["policy"]["problems"] == json!([])
            && status["policy"]["module"] != before
            && status["gateways"][0]["current"] == true
    };
    gateway.wait("module and policy are in force", current).await;
    let oracle = Tokenizer::from_str(&file.to_string()).expect("a tokenizer");
    for _ in 0..60 {
        let prompt = text(&mut rng);
        let wanted = oracle.encode_fast(prompt.as_str(), false).expect("an encoding").len() as u64;
        assert_eq!(counted(&gateway, &prompt).await, wanted, "{prompt:?}");
    }
    assert_eq!(gateway.envoy.stat("update_rejected").await, 0);

    // It cannot be taken away from a policy that counts by it.
    let (fine, said) = weir(&["tokenizer", "list"], &data);
    assert!(fine && said.contains("house-bpe"), "{said}");
    let (fine, said) = weir(&["tokenizer", "remove", "house-bpe"], &data);
    assert!(fine, "{said}");
    let told =
        |status: &Value| status["policy"]["problems"].to_string().contains("has no tokenizer `house-bpe`");
    gateway.wait("the last module stays", told).await;
    let wanted = oracle.encode_fast("still counted", false).expect("an encoding").len() as u64;
    assert_eq!(counted(&gateway, "still counted").await, wanted);
}
