//! Every Converse request that Bedrock accepted, through OpenAI's form and back: equal in meaning, but for the
//! differences listed here, each with its reason.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests stop at what they do not expect"
)]

mod common;

use serde_json::{Value, json};

/// A difference that is allowed: `apply` does to the original what the way does to it, and tells whether it did.
struct Difference {
    name: &'static str,
    reason: &'static str,
    apply: fn(&mut Value) -> bool,
}

const DIFFERENCES: &[Difference] = &[
    Difference {
        name: "empty containers",
        reason: "an empty inferenceConfig, system or additionalModelRequestFields says nothing",
        apply: |request| {
            let fields = request.as_object_mut().unwrap();
            let before = fields.len();
            fields.retain(|key, value| {
                let empty = value.as_object().is_some_and(|it| it.is_empty())
                    || value.as_array().is_some_and(|it| it.is_empty());
                !(empty
                    && ["inferenceConfig", "system", "additionalModelRequestFields"].contains(&key.as_str()))
            });
            fields.len() != before
        },
    },
    Difference {
        name: "status success",
        reason: "success is the default of a tool result's status, and OpenAI has no word for it",
        apply: |request| {
            each_block(request, &mut |block| {
                let Some(result) = block.get_mut("toolResult").and_then(Value::as_object_mut) else {
                    return false;
                };
                result.get("status") == Some(&json!("success")) && result.remove("status").is_some()
            })
        },
    },
    Difference {
        name: "JSON results",
        reason: "OpenAI's tool results are texts: the same JSON, as text",
        apply: |request| {
            each_block(request, &mut |block| {
                let content = block.get_mut("toolResult").and_then(|result| result.get_mut("content"));
                let mut changed = false;
                for piece in content.and_then(Value::as_array_mut).into_iter().flatten() {
                    if let Some(json) = piece.get("json") {
                        *piece = json!({ "text": json.to_string() });
                        changed = true;
                    }
                }
                changed
            })
        },
    },
    Difference {
        name: "guardrails",
        reason: "which guardrail applies is the gateway's policy, not the client's: config dropped, marked text plain",
        apply: |request| {
            let config = request.as_object_mut().unwrap().remove("guardrailConfig").is_some();
            let plain = &mut |block: &mut Value| {
                let Some(text) = block.pointer("/guardContent/text/text").cloned() else { return false };
                *block = json!({ "text": text });
                true
            };
            let mut marked = each_block(request, plain);
            for block in request.get_mut("system").and_then(Value::as_array_mut).into_iter().flatten() {
                marked |= plain(block);
            }
            config | marked
        },
    },
    Difference {
        name: "Bedrock's own tools",
        reason: "tools that Bedrock runs itself have no OpenAI form: left out with their calls and results",
        apply: |request| {
            let mut changed = false;
            if let Some(tools) = request.pointer_mut("/toolConfig/tools").and_then(Value::as_array_mut) {
                let before = tools.len();
                tools.retain(|tool| tool.get("systemTool").is_none());
                changed |= tools.len() != before;
            }
            for message in request["messages"].as_array_mut().unwrap() {
                let content = message["content"].as_array_mut().unwrap();
                let before = content.len();
                content.retain(|block| {
                    let own = |key: &str| block.get(key).is_some_and(|it| it.get("type").is_some());
                    !own("toolUse") && !own("toolResult")
                });
                changed |= content.len() != before;
            }
            changed
        },
    },
    Difference {
        name: "neighbours of one role",
        reason: "older models refuse two turns of one role in a row: they are merged",
        apply: |request| {
            let messages = request["messages"].as_array_mut().unwrap();
            let before = messages.len();
            let mut merged: Vec<Value> = Vec::new();
            for message in messages.drain(..) {
                match merged.last_mut().filter(|last| last["role"] == message["role"]) {
                    Some(last) => {
                        let more = message["content"].as_array().unwrap().clone();
                        last["content"].as_array_mut().unwrap().extend(more);
                    }
                    None => merged.push(message),
                }
            }
            *messages = merged;
            messages.len() != before
        },
    },
    Difference {
        name: "media types as formats",
        reason: "Bedrock took 'video/mp4' for its own word 'mp4'; the word is written",
        apply: |request| {
            each_block(request, &mut |block| {
                let Some(format) = block.pointer_mut("/video/format") else { return false };
                let word =
                    format.as_str().and_then(|format| format.strip_prefix("video/")).map(str::to_owned);
                word.map(|word| *format = json!(word)).is_some()
            })
        },
    },
    Difference {
        name: "Claude's effort",
        reason: "Converse's own outputConfig.effort in the place of Claude's output_config.effort",
        apply: |request| {
            let Some(fields) = request.get_mut("additionalModelRequestFields").and_then(Value::as_object_mut)
            else {
                return false;
            };
            let Some(config) = fields.remove("output_config") else { return false };
            request["outputConfig"]["effort"] = config["effort"].clone();
            true
        },
    },
];

fn each_block(request: &mut Value, change: &mut dyn FnMut(&mut Value) -> bool) -> bool {
    let mut changed = false;
    for message in request["messages"].as_array_mut().unwrap() {
        for block in message["content"].as_array_mut().unwrap() {
            changed |= change(block);
        }
    }
    changed
}

/// Spellings of one meaning made one: whole numbers of settings, JSON inside texts of tool results and schemas.
fn canonical(value: &mut Value) {
    match value {
        Value::Number(number) => {
            if let Some(whole) = number.as_f64().filter(|number| number.fract() == 0.0 && number.abs() < 1e15)
            {
                *value = json!(whole as i64);
            }
        }
        Value::String(text) => {
            if text.starts_with('{')
                && let Ok(mut inner) = serde_json::from_str::<Value>(text)
            {
                canonical(&mut inner);
                *text = inner.to_string();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(canonical),
        Value::Object(members) => members.values_mut().for_each(canonical),
        _ => {}
    }
}

#[test]
fn accepted_converse_requests_survive_openais_form() {
    let Some(folder) = common::data("wire") else { return };
    let mut equal = 0;
    let mut touched = vec![0; DIFFERENCES.len()];
    let accepted: Vec<_> =
        common::converse(&folder).into_iter().filter(|recorded| recorded.status == 200).collect();
    assert!(accepted.len() > 100);
    for recorded in &accepted {
        let translated = common::round_trip(&recorded.request, &recorded.model_id, recorded.stream);
        let translated = translated.unwrap_or_else(|invalid| panic!("{}: {invalid:?}", recorded.id));
        let operation = if recorded.stream { "converse-stream" } else { "converse" };
        assert!(translated.path.ends_with(operation));
        let uri = recorded.row["uri"].as_str().unwrap();
        assert!(uri.ends_with(&translated.path), "{uri} {}", translated.path);
        let mut original: Value = serde_json::from_slice(&recorded.request).unwrap();
        for (difference, touched) in DIFFERENCES.iter().zip(&mut touched) {
            *touched += usize::from((difference.apply)(&mut original));
        }
        let mut now: Value = serde_json::from_slice(&translated.body).unwrap();
        canonical(&mut original);
        canonical(&mut now);
        assert_eq!(original, now, "{}\nlosses {:#?}", recorded.id, translated.losses);
        equal += 1;
    }
    println!(
        "{} requests that Bedrock accepted: {equal} equal in meaning after the way through OpenAI's form",
        accepted.len()
    );
    println!("{} allowed differences:", DIFFERENCES.len());
    for (difference, touched) in DIFFERENCES.iter().zip(&touched) {
        println!("  {} ({touched} requests): {}", difference.name, difference.reason);
        assert!(*touched > 0, "no request needs '{}' any more", difference.name);
    }
}

/// Whatever was recorded, accepted by Bedrock or not, is read without panic, and what comes out is JSON.
#[test]
fn refused_converse_requests_are_read_too() {
    let Some(folder) = common::data("wire") else { return };
    for recorded in common::converse(&folder).into_iter().filter(|recorded| recorded.status != 200) {
        if let Ok(translated) = common::round_trip(&recorded.request, &recorded.model_id, recorded.stream) {
            serde_json::from_slice::<Value>(&translated.body).unwrap();
        }
    }
}
