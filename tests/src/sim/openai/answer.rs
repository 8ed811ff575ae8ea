//! Writes chat completions and their streams as the API does: padded chunks, `usage` in every one where it is asked for.

use serde_json::{Value, json};

use super::request::{Asked, Refusal};
use crate::sim::flow::{Answer, Event};
use crate::sim::reply::{Finish, Reply, ToolCall};

#[derive(Clone, Copy)]
pub struct Usage {
    pub input: u32,
    pub cached: u32,
    /// Reasoning included.
    pub output: u32,
    pub reasoning: u32,
}

impl Usage {
    fn json(self) -> Value {
        json!({
            "prompt_tokens": self.input, "completion_tokens": self.output, "total_tokens": self.input + self.output,
            "prompt_tokens_details": {"cached_tokens": self.cached, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": self.reasoning, "audio_tokens": 0,
                "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0,
            },
        })
    }
}

pub fn headers(id: &str, media: &str) -> Vec<(String, String)> {
    [
        ("content-type", media),
        ("x-request-id", &format!("req_{id}")),
        ("openai-version", "2020-10-01"),
        ("openai-processing-ms", "5"),
        ("x-ratelimit-limit-requests", "10000"),
        ("x-ratelimit-remaining-requests", "9999"),
        ("x-ratelimit-reset-requests", "6ms"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

pub fn call_id(call: &ToolCall) -> String {
    format!("call_{}", call.id)
}

/// The refusal that a reply is.
pub fn refusal(reply: &Reply) -> Option<String> {
    reply.text().strip_prefix("refusal: ").map(str::to_owned)
}

fn reason(finish: &Finish) -> &'static str {
    match finish {
        Finish::Stop | Finish::StopString(_) => "stop",
        Finish::Length => "length",
        Finish::ToolCalls => "tool_calls",
    }
}

pub fn write(
    asked: &Asked,
    replies: &[Reply],
    id: &str,
    created: u64,
    usage: &Usage,
    error: &Refusal,
) -> Answer {
    let head = |object: &str| {
        json!({
            "id": format!("chatcmpl-{id}"), "object": object, "created": created, "model": asked.model,
            "service_tier": "default", "system_fingerprint": "fp_sim",
        })
    };
    if !asked.stream {
        let choices: Vec<Value> =
            replies.iter().enumerate().map(|(index, reply)| whole_choice(index, reply)).collect();
        let mut body = head("chat.completion");
        body["choices"] = json!(choices);
        body["usage"] = usage.json();
        return Answer {
            status: 200,
            headers: headers(id, "application/json"),
            events: vec![Event { bytes: body.to_string().into_bytes(), tokens: usage.output }],
            streamed: false,
            error_event: error.body().to_string().into_bytes(),
        };
    }
    let mut events = Vec::new();
    let mut add = |choices: Value, told: Option<Value>, tokens: u32| {
        let mut chunk = head("chat.completion.chunk");
        chunk["choices"] = choices;
        if asked.include_usage {
            chunk["usage"] = told.unwrap_or_default();
        }
        // The live service hides how long its pieces are.
        chunk["obfuscation"] = json!("x".repeat(7));
        events.push(Event { bytes: format!("data: {chunk}\n\n").into_bytes(), tokens });
    };
    let shown: u32 = replies.iter().map(Reply::tokens).sum();
    for (index, reply) in replies.iter().enumerate() {
        let mut delta = |delta: Value, tokens: u32, finish: Option<&Finish>| {
            let reason = finish.map(reason);
            let choice = json!([{"index": index, "delta": delta, "logprobs": null, "finish_reason": reason}]);
            add(choice, None, tokens);
        };
        // Thoughts are generated before anything is said.
        let thought = if index == 0 { usage.output - shown } else { 0 };
        let said = (reply.calls.is_empty() || !reply.pieces.is_empty()).then_some("");
        delta(json!({"role": "assistant", "content": said, "refusal": null}), thought, None);
        if let Some(refusal) = refusal(reply) {
            delta(json!({"refusal": refusal}), reply.tokens(), None);
        } else {
            for piece in &reply.pieces {
                delta(json!({"content": piece.text}), piece.tokens, None);
            }
        }
        for (at, call) in reply.calls.iter().enumerate() {
            let function = json!({"name": call.name, "arguments": ""});
            let first = json!({"index": at, "id": call_id(call), "type": "function", "function": function});
            delta(json!({"tool_calls": [first]}), 0, None);
            for piece in &call.arguments {
                let more = json!({"index": at, "function": {"arguments": piece.text}});
                delta(json!({"tool_calls": [more]}), piece.tokens, None);
            }
        }
        delta(json!({}), 0, Some(&reply.finish));
    }
    if asked.include_usage {
        add(json!([]), Some(usage.json()), 0);
    }
    events.push(Event { bytes: b"data: [DONE]\n\n".to_vec(), tokens: 0 });
    Answer {
        status: 200,
        headers: headers(id, "text/event-stream; charset=utf-8"),
        events,
        streamed: true,
        error_event: format!("data: {}\n\n", error.body()).into_bytes(),
    }
}

fn whole_choice(index: usize, reply: &Reply) -> Value {
    let refusal = refusal(reply);
    let text =
        (refusal.is_none() && (reply.calls.is_empty() || !reply.pieces.is_empty())).then(|| reply.text());
    let mut message = json!({"role": "assistant", "content": text, "refusal": refusal, "annotations": []});
    if !reply.calls.is_empty() {
        let call = |call: &ToolCall| {
            let function = json!({"name": call.name, "arguments": call.arguments()});
            json!({"id": call_id(call), "type": "function", "function": function})
        };
        message["tool_calls"] = reply.calls.iter().map(call).collect();
    }
    json!({"index": index, "message": message, "logprobs": null, "finish_reason": reason(&reply.finish)})
}
