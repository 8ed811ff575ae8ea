//! How well and how fast texts are searched: precision and recall on texts that others labelled, false hits in
//! texts without personal data, time. `cargo xtask bench redaction` runs it beside Presidio.
//!
//! `--texts` prints every labelled text as a line of JSON, for another program; a path is that program's answers.
//! `--misses` lists what went wrong in texts whose SHA-256 begins with an even byte: those that may be tuned on.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    reason = "a benchmark"
)]

mod speed;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;
use sha2::{Digest, Sha256};
use weir_pii::{Action, DETECTORS, Rule, Set, find_in_message};

/// Types as Presidio calls them; where it has no name, nothing is compared.
const TYPES: &[(&str, &str)] = &[
    ("email", "EMAIL_ADDRESS"),
    ("phone", "PHONE_NUMBER"),
    ("credit_card", "CREDIT_CARD"),
    ("iban", "IBAN_CODE"),
    ("us_ssn", "US_SSN"),
    ("ip_address", "IP_ADDRESS"),
    ("mac_address", "MAC_ADDRESS"),
    ("crypto_address", "CRYPTO"),
    ("us_itin", "US_ITIN"),
    ("us_driver_license", "US_DRIVER_LICENSE"),
    ("us_passport", "US_PASSPORT"),
    ("us_bank_account", "US_BANK_NUMBER"),
    ("aba_routing", "ABA_ROUTING_NUMBER"),
    ("uk_nhs", "UK_NHS"),
    ("uk_nino", "UK_NINO"),
    ("ca_sin", "CA_SIN"),
    ("au_abn", "AU_ABN"),
    ("au_tfn", "AU_TFN"),
    ("in_aadhaar", "IN_AADHAAR"),
    ("in_pan", "IN_PAN"),
    ("sg_nric", "SG_NRIC_FIN"),
    ("de_tax_id", "DE_TAX_ID"),
    ("de_id_card", "DE_ID_CARD"),
    ("de_social_security", "DE_SOCIAL_SECURITY"),
    ("es_nif", "ES_NIF"),
    ("es_nie", "ES_NIE"),
    ("it_fiscal_code", "IT_FISCAL_CODE"),
    ("pl_pesel", "PL_PESEL"),
    ("se_personnummer", "SE_PERSONNUMMER"),
    ("fi_hetu", "FI_PERSONAL_IDENTITY_CODE"),
];

/// A finding or a label: entity, first character, character after the last, certainty.
type Span = (String, usize, usize, f64);

struct Labelled {
    text: String,
    /// `research` or `unit`.
    from: &'static str,
    /// Entities that the labels are complete for.
    judged: Vec<String>,
    labels: Vec<Span>,
}

impl Labelled {
    /// Texts that may be tuned on.
    fn even(&self) -> bool {
        Sha256::digest(self.text.as_bytes())[0] % 2 == 0
    }
}

fn data(path: &str) -> Option<String> {
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data"));
    std::fs::read_to_string(root.join(path)).ok()
}

fn labelled() -> Vec<Labelled> {
    let mut out = Vec::new();
    for file in ["presidio-research/generated_small.json", "presidio-research/generated_large.json"] {
        let Some(text) = data(file) else { continue };
        for record in serde_json::from_str::<Vec<Value>>(&text).unwrap() {
            let span = |span: &Value| {
                let at = |name: &str| span[name].as_u64().unwrap() as usize;
                (
                    span["entity_type"].as_str().unwrap().to_owned(),
                    at("start_position"),
                    at("end_position"),
                    1.0,
                )
            };
            let judged = [
                "EMAIL_ADDRESS",
                "PHONE_NUMBER",
                "CREDIT_CARD",
                "IBAN_CODE",
                "US_SSN",
                "IP_ADDRESS",
                "US_DRIVER_LICENSE",
            ];
            out.push(Labelled {
                text: record["full_text"].as_str().unwrap().to_owned(),
                from: "research",
                judged: judged.map(str::to_owned).to_vec(),
                labels: record["spans"].as_array().unwrap().iter().map(span).collect(),
            });
        }
    }
    let Some(text) = data("presidio-unit/cases.json") else { return out };
    for case in serde_json::from_str::<Vec<Value>>(&text).unwrap() {
        let mut entities: Vec<String> = case["entities"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|e| e.as_str().unwrap().to_owned())
            .collect();
        if case["file"] == "test_phone_recognizer.py" {
            entities = vec!["PHONE_NUMBER".to_owned()];
        }
        let spans = case["spans"].as_array().cloned().unwrap_or_default();
        let wanted = case["expected_len"].as_u64().unwrap_or(0) as usize;
        // A case whose spans are not all given says too little.
        if entities.len() != 1 || spans.len() != wanted {
            continue;
        }
        let at = |value: &Value| value.as_u64().unwrap() as usize;
        let labels =
            spans.iter().map(|span| (entities[0].clone(), at(&span[0]), at(&span[1]), 1.0)).collect();
        out.push(Labelled {
            text: case["text"].as_str().unwrap().to_owned(),
            from: "unit",
            judged: entities,
            labels,
        });
    }
    out
}

fn everything() -> Set {
    let find = DETECTORS.iter().map(|detector| detector.id.to_owned()).collect();
    Set::new(&[Rule { find, words: Vec::new(), action: Action::Mask }]).unwrap()
}

fn ours(set: &Set, text: &str) -> Vec<Span> {
    let mut findings = Vec::new();
    find_in_message(set, text, &mut findings);
    let count = |to: usize| text[..to].chars().count();
    let named = findings.into_iter().map(|finding| {
        let name = TYPES
            .iter()
            .find(|(ours, _)| *ours == finding.kind.name())
            .map_or(finding.kind.name(), |(_, name)| name);
        (name.to_owned(), count(finding.range.start), count(finding.range.end), 1.0)
    });
    named.collect()
}

fn overlap(a: &Span, b: &Span) -> usize {
    a.2.min(b.2).saturating_sub(a.1.max(b.1))
}

#[derive(Clone, Copy, Default)]
struct Tally {
    hit: usize,
    missed: usize,
    extra: usize,
}

impl Tally {
    fn shown(self) -> String {
        let part = |of: usize| {
            if of == 0 { "–".to_owned() } else { format!("{:.3}", self.hit as f64 / of as f64) }
        };
        format!("{} | {}", part(self.hit + self.missed), part(self.hit + self.extra))
    }
}

/// Judges findings of one entity: a label is hit when half of it is covered, a finding is right when half of it
/// is labelled.
fn judge(labelled: &Labelled, found: &[Span], entity: &str, tally: &mut Tally) -> (Vec<String>, Vec<String>) {
    let labels: Vec<&Span> = labelled.labels.iter().filter(|label| label.0 == entity).collect();
    let found: Vec<&Span> = found.iter().filter(|one| one.0 == entity).collect();
    let value = |span: &&&Span| labelled.text.chars().skip(span.1).take(span.2 - span.1).collect::<String>();
    let covered = |label: &&&Span| found.iter().any(|one| overlap(label, one) * 2 >= label.2 - label.1);
    let right = |one: &&&Span| {
        labels.iter().any(|label| overlap(label, one) * 2 >= (one.2 - one.1).min(label.2 - label.1))
    };
    let missed: Vec<_> = labels.iter().filter(|label| !covered(label)).collect();
    let extra: Vec<_> = found.iter().filter(|one| !right(one)).collect();
    tally.hit += labels.len() - missed.len();
    tally.missed += missed.len();
    tally.extra += extra.len();
    (missed.iter().map(value).collect(), extra.iter().map(value).collect())
}

fn table(texts: &[Labelled], others: Option<&[Vec<Span>]>, misses: bool) {
    let set = everything();
    let own: Vec<Vec<Span>> = texts.iter().map(|labelled| ours(&set, &labelled.text)).collect();
    for (title, keep) in [("texts that were not tuned on (odd)", Some(false)), ("all texts", None)] {
        for from in ["research", "unit"] {
            println!("\n### presidio-{from}, {title}\n");
            println!(
                "| type | labels | Weir recall | precision | Presidio recall | precision | Presidio ≥ 0.4 recall | precision |"
            );
            println!("|---|---:|---:|---:|---:|---:|---:|---:|");
            for (name, entity) in TYPES {
                let mut tallies = [Tally::default(); 3];
                for (index, labelled) in texts.iter().enumerate() {
                    let kept = keep.is_none_or(|even| labelled.even() == even);
                    if labelled.from != from
                        || !kept
                        || !labelled.judged.iter().any(|judged| judged == entity)
                    {
                        continue;
                    }
                    judge(labelled, &own[index], entity, &mut tallies[0]);
                    if let Some(others) = others {
                        judge(labelled, &others[index], entity, &mut tallies[1]);
                        let sure: Vec<Span> =
                            others[index].iter().filter(|span| span.3 >= 0.4).cloned().collect();
                        judge(labelled, &sure, entity, &mut tallies[2]);
                    }
                }
                let labels = tallies[0].hit + tallies[0].missed;
                if labels + tallies[0].extra > 0 {
                    println!(
                        "| {name} | {labels} | {} | {} | {} |",
                        tallies[0].shown(),
                        tallies[1].shown(),
                        tallies[2].shown()
                    );
                }
            }
        }
    }
    if misses {
        println!("\n### what went wrong in the texts that are tuned on\n");
        for (index, labelled) in texts.iter().enumerate().filter(|(_, labelled)| labelled.even()) {
            for entity in labelled.judged.iter().filter(|judged| TYPES.iter().any(|(_, name)| name == judged))
            {
                let (missed, extra) = judge(labelled, &own[index], entity, &mut Tally::default());
                if !missed.is_empty() || !extra.is_empty() {
                    println!(
                        "{entity}: missed {missed:?}, beyond the labels {extra:?} in {:?}",
                        labelled.text
                    );
                }
            }
        }
    }
}

fn benign() -> Vec<(String, String)> {
    let mut out = Vec::new();
    for file in ["gsm8k_test.jsonl", "mt_bench_question.jsonl"] {
        let text = data(&format!("prompts/{file}")).unwrap_or_default();
        for line in text.lines() {
            let record: Value = serde_json::from_str(line).unwrap();
            let mut strings = Vec::new();
            collect(&record, &mut strings);
            out.extend(
                strings.into_iter().filter(|text| text.len() > 40).map(|text| (file.to_owned(), text)),
            );
        }
    }
    out
}

fn collect(value: &Value, out: &mut Vec<String>) {
    match value {
        Value::String(text) => out.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| collect(item, out)),
        Value::Object(map) => map.values().for_each(|item| collect(item, out)),
        _ => {}
    }
}

/// Source files of the crates that this one is built from, in pieces of 4 KB.
fn sources() -> Vec<(String, String)> {
    let mut out = Vec::new();
    // Not offline: a fresh machine has fetched only what it had to build.
    let listed = std::process::Command::new("cargo")
        .args(["metadata", "--format-version", "1", "--locked"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .output()
        .unwrap();
    if !listed.status.success() {
        let why = String::from_utf8_lossy(&listed.stderr);
        println!("not run: source files of dependencies, cargo cannot list them: {}", why.trim());
        return out;
    }
    let metadata: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let mut files = Vec::new();
    for package in
        metadata["packages"].as_array().into_iter().flatten().filter(|package| !package["source"].is_null())
    {
        let manifest = PathBuf::from(package["manifest_path"].as_str().unwrap_or_default());
        walk(&manifest.with_file_name("src"), &mut files);
    }
    files.sort();
    for file in files.iter().step_by((files.len() / 3_000).max(1)) {
        let Ok(text) = std::fs::read_to_string(file) else { continue };
        let end = (0..=text.len().min(4096)).rev().find(|at| text.is_char_boundary(*at)).unwrap();
        out.push((file.display().to_string(), text[..end].to_owned()));
    }
    out
}

fn walk(folder: &std::path::Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            walk(&path, out);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            out.push(path);
        }
    }
}

/// Texts of recorded calls: what people and models said.
fn recorded() -> Vec<(String, String)> {
    let files = [
        "wire/openai_chat_completions.jsonl",
        "wire/openai_responses.jsonl",
        "wire/anthropic_messages.jsonl",
        "wire/bedrock_converse.jsonl",
        "tokens/openai_plain_chats.jsonl",
        "tokens/openai_tool_chats.jsonl",
    ];
    let mut out = Vec::new();
    for file in files {
        let mut strings = Vec::new();
        for line in data(file).unwrap_or_default().lines() {
            if let Ok(record) = serde_json::from_str::<Value>(line) {
                collect(&record, &mut strings);
            }
        }
        // Sentences; ids, pictures in base64 and the calls' own bytes are no texts.
        strings.retain(|text| {
            text.len() > 40 && text.len() < 20_000 && text.split(' ').count() * 12 > text.len()
        });
        strings.sort();
        strings.dedup();
        out.extend(strings.into_iter().map(|text| (file.to_owned(), text)));
    }
    out
}

/// Whether a text holds what anybody takes for an address, told without the detectors: such a text is not without
/// personal data, and what is found in it proves nothing.
fn carries(text: &str) -> bool {
    let parses = |word: &str| {
        // `de::de` is a path of a program.
        word.len() > 2
            && word.contains(|c: char| c.is_ascii_digit())
            && (word.parse::<std::net::Ipv4Addr>().is_ok() || word.parse::<std::net::Ipv6Addr>().is_ok())
    };
    let host =
        |word: &str| parses(word) || parses(word.trim_matches('.')) || parses(word.trim_matches(['.', ':']));
    let mut words = text.split(|c: char| !c.is_ascii_hexdigit() && !matches!(c, '.' | ':'));
    let mail = |word: &str| {
        word.split_once('@').is_some_and(|(name, domain)| {
            name.ends_with(|c: char| c.is_alphanumeric())
                && domain.split_once('.').is_some_and(|(label, rest): (&str, &str)| {
                    !label.is_empty()
                        && label.chars().all(|c| c.is_alphanumeric() || c == '-')
                        && rest.chars().take_while(char::is_ascii_alphabetic).count() > 1
                })
        })
    };
    let mut tokens =
        text.split(|c: char| c.is_whitespace() || matches!(c, '"' | '<' | '>' | '(' | ')' | ','));
    let mut numbers = text.split(|c: char| !c.is_ascii_digit() && c != '.');
    words.any(host)
        || numbers.any(|word| parses(word.trim_matches('.')))
        || tokens.any(|token| mail(token) || token.contains("://") && token.contains('@'))
}

/// Values in those texts that are what they are taken for, each looked at: numbers of telephones, cards and ages that
/// documentation gives as such.
const GENUINE: &[(&str, &str)] = &[
    ("phone", "+44 2345678"),
    ("phone", "+44 1234567"),
    ("phone", "2-222-222-2222"),
    ("phone", "111-222-3333"),
    ("phone", "1-800-111-1111"),
    ("age", "30"),
    ("age", "43"),
    ("password", "secure%20password"),
];

fn false_hits(title: &str, texts: &[(String, String)], shown: bool) -> (usize, usize) {
    let set = everything();
    let whole = texts.len();
    let texts: Vec<&(String, String)> = texts.iter().filter(|(_, text)| !carries(text)).collect();
    let (mut with, mut kinds) = (0, BTreeMap::<&str, usize>::new());
    for (from, text) in &texts {
        let mut findings = Vec::new();
        find_in_message(&set, text, &mut findings);
        findings.retain(|finding| {
            let found = (finding.kind.name(), &text[finding.range.clone()]);
            !GENUINE.contains(&found)
        });
        with += usize::from(!findings.is_empty());
        for finding in findings {
            *kinds.entry(finding.kind.name()).or_default() += 1;
            if shown {
                println!("{}: {:?} in {from}", finding.kind.name(), &text[finding.range]);
            }
        }
    }
    told(title, texts.len(), whole, with);
    println!("  by type: {kinds:?}");
    (texts.len(), with)
}

fn told(title: &str, texts: usize, whole: usize, with: usize) {
    let n = texts.max(1) as f64;
    let rate = with as f64 / n;
    // Wilson's upper bound at 95 %, one-sided 97.5 %.
    let z = 1.96f64;
    let upper = (rate + z * z / (2.0 * n) + z * (rate * (1.0 - rate) / n + z * z / (4.0 * n * n)).sqrt())
        / (1.0 + z * z / n);
    println!(
        "{title}: n = {texts} (of {whole}; the others hold addresses), {with} with a hit, {:.2} per 1,000 (95 %: at most {:.2})",
        rate * 1e3,
        upper * 1e3
    );
}

fn main() {
    let texts = labelled();
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.iter().any(|arg| arg == "--texts") {
        texts.iter().for_each(|labelled| println!("{}", Value::from(labelled.text.as_str())));
        return;
    }
    let misses = args.iter().any(|arg| arg == "--misses");
    let others = args.iter().find(|arg| !arg.starts_with("--")).map(|path| {
        let answers = std::fs::read_to_string(path).unwrap();
        answers.lines().map(|line| serde_json::from_str::<Vec<Span>>(line).unwrap()).collect::<Vec<_>>()
    });
    if texts.is_empty() {
        println!("skipped: no labelled texts beside the project");
    } else {
        table(&texts, others.as_deref(), misses);
    }
    println!("\n### texts without personal data\n");
    let (mut judged, mut with) = (0, 0);
    for (title, set) in [
        ("prompts of gsm8k and mt_bench", benign()),
        ("texts of recorded calls", recorded()),
        ("source files of dependencies, 4 KB each", sources()),
    ] {
        let (n, hit) = false_hits(title, &set, misses);
        judged += n;
        with += hit;
    }
    told("all of them", judged, judged, with);
    println!("\n### time, native, all {} detectors\n", DETECTORS.len());
    let mut corpus: Vec<String> = texts.into_iter().map(|labelled| labelled.text).collect();
    corpus.extend(benign().into_iter().map(|(_, text)| text));
    speed::speed(everything(), &corpus.join("\n"));
}
