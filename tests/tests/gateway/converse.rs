//! Recorded Converse traffic: each request that Bedrock accepted, written as an OpenAI client would write it, goes
//! through the whole gateway and is accepted by Bedrock's judge, with the meaning that the translation has natively.
//! (That the native translation keeps the meaning of the recording is a test of the dialects themselves.)

use std::collections::BTreeMap;

use serde_json::{Value, json};
use weir_dialects::{bedrock, openai_chat};
use weir_tests::harness::shared_data;
use weir_wire::json::{Limits, parse};

use crate::chat::said;
use crate::setup::Gateway;

/// A recording in both forms.
struct Recorded {
    /// File and line.
    id: String,
    stream: bool,
    /// The request as OpenAI's clients write it.
    chat: Vec<u8>,
    /// What natively becomes of that.
    expected: Value,
    path: String,
}

/// The name under which a model of the recordings is asked for.
type Names = BTreeMap<String, String>;

fn recordings() -> Option<(Vec<Recorded>, Names)> {
    let folder = shared_data()?.join("wire");
    let (mut all, mut names) = (Vec::new(), Names::new());
    for file in ["bedrock_converse.jsonl", "bedrock_converse_stream.jsonl"] {
        let text = std::fs::read_to_string(folder.join(file)).expect("the recordings are there");
        for (number, line) in text.lines().enumerate() {
            let row: Value = serde_json::from_str(line).expect("a line is JSON");
            // Some bodies are no JSON, and Bedrock refused some requests.
            if row["status"] != 200 || !row["request"].is_object() {
                continue;
            }
            all.push(recorded(format!("{file}:{}", number + 1), line, &row, &mut names));
        }
    }
    Some((all, names))
}

fn recorded(id: String, line: &str, row: &Value, names: &mut Names) -> Recorded {
    let doc = parse(line.as_bytes(), &Limits::default()).expect("a line is JSON");
    let request = doc.root().get("request").expect("a request").raw().to_vec();
    let uri = row["uri"].as_str().expect("an address");
    let (_, path) = uri.split_once("/model/").expect("a model");
    let (model, operation) = path.rsplit_once('/').expect("an operation");
    let model = model.replace("%3A", ":").replace("%2F", "/");
    let stream = operation == "converse-stream";
    let request = parse(&request, &Limits::default()).expect("a request is JSON");
    let (mut chat, _) =
        bedrock::decode(&request, &model, stream).unwrap_or_else(|why| panic!("{id}: {why:?}"));
    let next = format!("model-{}", names.len());
    chat.model.clone_from(names.entry(model.clone()).or_insert(next));
    let (body, _) = openai_chat::encode(&chat, true);
    let doc = parse(&body, &Limits::default()).expect("what is written is JSON");
    let (chat, _) = openai_chat::decode(&doc).unwrap_or_else(|why| panic!("{id}: {why:?}"));
    let encoded = bedrock::encode(&chat, &model).unwrap_or_else(|why| panic!("{id}: {why:?}"));
    Recorded {
        id,
        stream,
        chat: body.clone(),
        expected: serde_json::from_slice(&encoded.body).expect("JSON"),
        path: encoded.path,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_recorded_request_is_accepted_after_its_way_through_openais_form_and_weir() {
    let Some((recordings, names)) = recordings() else { return };
    let gateway = Gateway::with("converse", |plan, _| {
        // Each model of the recordings, under a name of its own.
        let supports = json!(["tools", "json_schema", "images", "documents", "audio", "reasoning"]);
        let models = names.iter().map(|(model, name)| {
            json!({"name": name, "targets": [{"provider": "bedrock", "model": model, "context": 200_000, "supports": supports}]})
        });
        plan.policy["models"] = models.collect();
        plan.policy["tenants"][0]["models"] = names.values().cloned().collect();
        plan.policy["tenants"].as_array_mut().expect("a list").truncate(1);
        plan.bedrock.models = vec!["*".into()];
        // As the recorded models took it, not as the strictest would.
        plan.bedrock.strict = false;
    })
    .await;
    let mut failures = Vec::new();
    for recorded in &recordings {
        let before = gateway.bedrock.book().totals().requests;
        let answer = gateway.client().chat(recorded.chat.clone()).await;
        if gateway.bedrock.book().totals().requests == before {
            failures.push(format!("{}: refused by Weir: {}", recorded.id, answer.text()));
            continue;
        }
        let record = gateway.bedrock.book().last().expect("it was asked");
        if !record.problems.is_empty() || answer.status != 200 {
            failures.push(format!("{}: {}: {:?}", recorded.id, answer.text(), record.problems));
            continue;
        }
        if let Err(why) = said(&answer, recorded.stream) {
            failures.push(format!("{}: {why}", recorded.id));
        }
        if record.path != recorded.path || record.json() != recorded.expected {
            failures.push(format!(
                "{}: {} {}, but natively {} {}",
                recorded.id,
                record.path,
                record.json(),
                recorded.path,
                recorded.expected
            ));
        }
    }
    println!(
        "{} of {} recorded requests accepted by botocore's validator and signer, and as the native translation",
        recordings.len() - failures.len(),
        recordings.len()
    );
    assert!(recordings.len() > 80, "too few recordings: {}", recordings.len());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
