//! Recorded answers: Converse's into OpenAI's form, OpenAI's read where they stand.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests stop at what they do not expect"
)]

mod common;

use serde_json::Value;
use weir_dialects::hub::Part;
use weir_dialects::{bedrock, openai_chat};
use weir_wire::json::{Limits, parse};
use weir_wire::sse;

#[test]
fn converse_answers_keep_their_text_tools_and_tokens() {
    let Some(folder) = common::data("wire") else { return };
    let mut seen = 0;
    for line in common::lines(&folder, "bedrock_converse.jsonl") {
        let row: Value = serde_json::from_str(&line).unwrap();
        if row["status"] != 200 {
            let class = row["resp_headers"]["x-amzn-errortype"].as_str();
            let failure = bedrock::decode_error(400, class, row["response"].to_string().as_bytes());
            assert_eq!((failure.status, failure.kind.as_str()), (400, "invalid_request_error"));
            assert_eq!(failure.message, row["response"]["message"].as_str().unwrap());
            continue;
        }
        seen += 1;
        let answer =
            bedrock::decode_answer(row["response"].to_string().as_bytes(), &bedrock::Renames::default())
                .unwrap();
        let usage = answer.usage.unwrap();
        assert_eq!(Some(usage.total()), row["response"]["usage"]["totalTokens"].as_u64(), "{line}");
        let context = openai_chat::AnswerContext { id: "i".into(), created: 1, model: "m".into() };
        let body = openai_chat::encode_answer(&answer, &context);
        let now: Value = serde_json::from_slice(&body).unwrap();
        let message = &now["choices"][0]["message"];
        let blocks = row["response"]["output"]["message"]["content"].as_array().unwrap();
        let text: String = blocks.iter().filter_map(|block| block["text"].as_str()).collect();
        assert_eq!(message["content"].as_str().unwrap_or_default(), text);
        let own =
            |block: &&Value| block["toolUse"].is_object() && block["toolUse"]["type"] != "server_tool_use";
        let calls: Vec<_> = blocks.iter().filter(own).map(|block| &block["toolUse"]).collect();
        let called: Vec<_> = message["tool_calls"].as_array().into_iter().flatten().collect();
        assert_eq!(calls.len(), called.len());
        for (call, called) in calls.iter().zip(called) {
            assert_eq!(call["toolUseId"], called["id"]);
            assert_eq!(call["name"], called["function"]["name"]);
            let arguments = called["function"]["arguments"].as_str().unwrap();
            assert_eq!(call["input"], serde_json::from_str::<Value>(arguments).unwrap());
        }
        // What the client sends back as history holds the same signatures.
        let again = openai_chat::decode_answer(&body).unwrap();
        let signed = |parts: &[Part]| {
            let signed = parts.iter().filter(|part| {
                matches!(part, Part::Reasoning { signature: Some(_), .. } | Part::RedactedReasoning(_))
            });
            signed.cloned().collect::<Vec<_>>()
        };
        assert_eq!(signed(&again.parts), signed(&answer.parts));
    }
    assert!(seen > 100);
}

#[test]
fn openai_answers_and_streams_are_read_where_they_stand() {
    let Some(folder) = common::data("wire") else { return };
    let (mut answers, mut streams, mut chunks, mut ends) = (0, 0, 0, 0);
    for line in common::lines(&folder, "openai_chat_completions.jsonl") {
        let row: Value = serde_json::from_str(&line).unwrap();
        let body = if row["response"].is_null() { &row["response_text"] } else { &row["response"] };
        match body {
            Value::Object(response) if response.contains_key("choices") => {
                answers += 1;
                let body = row["response"].to_string();
                let doc = parse(body.as_bytes(), &Limits::default()).unwrap();
                let facts = openai_chat::read_answer(&doc);
                assert_eq!(facts.model.as_deref(), response["model"].as_str());
                assert_eq!(facts.finishes.len(), response["choices"].as_array().unwrap().len());
                let usage = facts.usage.unwrap();
                assert_eq!(Some(usage.total()), response["usage"]["total_tokens"].as_u64());
                for text in &facts.texts {
                    assert!(text.value.as_str().is_some());
                }
                // Read into the hub and written again, the message says the same.
                let answer = openai_chat::decode_answer(body.as_bytes()).unwrap();
                assert_eq!(answer.usage, Some(usage));
            }
            Value::String(text) if text.contains("data:") => {
                streams += 1;
                let mut chunk = openai_chat::Chunk::default();
                let mut usages = 0;
                sse::Decoder::new(1 << 20)
                    .push(text.as_bytes(), &mut |event| {
                        openai_chat::read_chunk_into(&event.data, &mut chunk).unwrap();
                        chunks += 1;
                        ends += usize::from(chunk.is_done);
                        usages += usize::from(chunk.usage.is_some());
                        assert_eq!(chunk.is_usage_only(), chunk.choices_empty && chunk.usage.is_some());
                        if let Some(member) = &chunk.usage_member {
                            let mut payload = event.data.to_vec();
                            payload.drain(member.clone());
                            let cut: Value = serde_json::from_slice(&payload).unwrap();
                            assert!(cut.get("usage").is_none());
                        }
                    })
                    .unwrap();
                let asked = row["request"]["stream_options"]["include_usage"] == true;
                assert!(!asked || usages == 1, "{line}");
            }
            _ => {}
        }
    }
    println!("{answers} answers, {streams} streams, {chunks} chunks, {ends} [DONE]");
    assert!(answers > 100 && streams > 30 && chunks > 500 && ends == streams);
}
