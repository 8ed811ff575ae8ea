//! Writes responses and their streams: typed events with running numbers, items that open, grow and close, and the whole
//! response again at the end, the request's own settings repeated in it.

use serde_json::{Value, json};

use super::answer::{Usage, call_id, headers, refusal};
use super::request::{Asked, Refusal};
use super::{Config, sealed};
use crate::sim::flow::{Answer, Event};
use crate::sim::reply::{Finish, Piece, Reply};

struct Shape<'a> {
    config: &'a Config,
    asked: &'a Asked,
    reply: &'a Reply,
    id: &'a str,
    created: u64,
    request: &'a Value,
}

#[allow(clippy::too_many_arguments, reason = "all that an answer is made of")]
pub fn write(
    config: &Config,
    asked: &Asked,
    reply: &Reply,
    id: &str,
    created: u64,
    usage: &Usage,
    error: &Refusal,
    request: &Value,
) -> Answer {
    let shape = Shape { config, asked, reply, id, created, request };
    let total = json!({
        "input_tokens": usage.input, "input_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": 0},
        "output_tokens": usage.output, "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.input + usage.output,
    });
    let (status, why) = match reply.finish {
        Finish::Length => ("incomplete", json!({"reason": "max_output_tokens"})),
        _ => ("completed", Value::Null),
    };
    if !asked.stream {
        let mut body = shape.response(status);
        body["output"] = json!(shape.items());
        body["usage"] = total;
        body["incomplete_details"] = why;
        return Answer {
            status: 200,
            headers: headers(id, "application/json"),
            events: vec![Event { bytes: body.to_string().into_bytes(), tokens: usage.output }],
            streamed: false,
            error_event: error.body().to_string().into_bytes(),
        };
    }
    let mut out = Events::default();
    for kind in ["response.created", "response.in_progress"] {
        out.add(kind, json!({"response": shape.response("in_progress")}), 0);
    }
    let items = shape.items();
    for (at, item) in items.iter().enumerate() {
        shape.item(at, item, usage.reasoning, &mut out);
    }
    let mut end = shape.response(status);
    end["output"] = json!(items);
    end["usage"] = total;
    end["incomplete_details"] = why;
    out.add(&format!("response.{status}"), json!({"response": end}), 0);
    let events = std::mem::take(&mut out.events);
    // As the live service breaks off: the error, then the response that failed.
    let told = error.body()["error"].clone();
    let flat =
        json!({"code": told["code"], "message": told["message"], "param": told["param"], "error": told});
    out.add("error", flat, 0);
    let mut failed = shape.response("failed");
    failed["error"] = json!({"code": "server_error", "message": error.message});
    out.add("response.failed", json!({"response": failed}), 0);
    Answer {
        status: 200,
        headers: headers(id, "text/event-stream; charset=utf-8"),
        events,
        streamed: true,
        error_event: out.events.into_iter().flat_map(|event| event.bytes).collect(),
    }
}

impl Shape<'_> {
    fn response(&self, status: &str) -> Value {
        let asked = |key: &str, default: Value| match &self.request[key] {
            Value::Null => default,
            said => said.clone(),
        };
        json!({
            "id": format!("resp_{}", self.id), "object": "response", "created_at": self.created, "status": status,
            "background": false, "error": null, "incomplete_details": null, "output": [], "usage": null,
            "model": self.asked.model,
            "instructions": asked("instructions", Value::Null),
            "max_output_tokens": asked("max_output_tokens", Value::Null),
            "metadata": asked("metadata", json!({})),
            "parallel_tool_calls": asked("parallel_tool_calls", json!(true)),
            "previous_response_id": asked("previous_response_id", Value::Null),
            "reasoning": asked("reasoning", json!({"effort": null, "summary": null})),
            "service_tier": "default",
            "store": asked("store", json!(true)),
            "temperature": asked("temperature", json!(1.0)),
            "text": asked("text", json!({"format": {"type": "text"}})),
            "tool_choice": asked("tool_choice", json!("auto")),
            "tools": asked("tools", json!([])),
            "top_p": asked("top_p", json!(1.0)),
            "truncation": asked("truncation", json!("disabled")),
            "user": asked("user", Value::Null),
        })
    }

    /// All items, complete.
    fn items(&self) -> Vec<Value> {
        let mut items = Vec::new();
        if self.asked.thinks {
            let part = json!({"type": "summary_text", "text": self.config.thought});
            let summary = if self.asked.summary { json!([part]) } else { json!([]) };
            let mut item = json!({"id": format!("rs_{}", self.id), "type": "reasoning", "summary": summary});
            if self.asked.seals {
                item["encrypted_content"] = json!(sealed(self.config, &self.config.thought));
            }
            items.push(item);
        }
        let status = if self.reply.finish == Finish::Length { "incomplete" } else { "completed" };
        if !self.reply.pieces.is_empty() {
            let part = match refusal(self.reply) {
                Some(refusal) => json!({"type": "refusal", "refusal": refusal}),
                None => {
                    json!({"type": "output_text", "text": self.reply.text(), "annotations": [], "logprobs": []})
                }
            };
            items.push(json!({
                "id": format!("msg_{}", self.id), "type": "message", "status": status, "role": "assistant",
                "content": [part],
            }));
        }
        for (at, call) in self.reply.calls.iter().enumerate() {
            items.push(json!({
                "id": format!("fc_{}{at}", self.id), "type": "function_call", "status": status,
                "call_id": call_id(call), "name": call.name, "arguments": call.arguments(),
            }));
        }
        items
    }

    fn item(&self, at: usize, item: &Value, thought: u32, out: &mut Events) {
        let mut open = item.clone();
        for (key, empty) in [("content", json!([])), ("summary", json!([])), ("arguments", json!(""))] {
            if !open[key].is_null() {
                open[key] = empty;
            }
        }
        if !open["status"].is_null() {
            open["status"] = json!("in_progress");
        }
        // Thoughts are billed, shown or not.
        let tokens = if item["type"] == "reasoning" { thought } else { 0 };
        out.add("response.output_item.added", json!({"output_index": at, "item": open}), tokens);
        let about = |more: Value| {
            let mut payload = json!({"item_id": item["id"], "output_index": at});
            for (key, value) in more.as_object().into_iter().flatten() {
                payload[key] = value.clone();
            }
            payload
        };
        let summary = &item["summary"][0];
        if let Some(text) = summary["text"].as_str() {
            let empty = json!({"type": "summary_text", "text": ""});
            out.add(
                "response.reasoning_summary_part.added",
                about(json!({"summary_index": 0, "part": empty})),
                0,
            );
            let middle = text.char_indices().nth(text.chars().count() / 2).map_or(0, |(at, _)| at);
            for piece in [&text[..middle], &text[middle..]] {
                let delta = json!({"summary_index": 0, "delta": piece, "obfuscation": "abc"});
                out.add("response.reasoning_summary_text.delta", about(delta), 0);
            }
            let done = json!({"summary_index": 0, "text": text});
            out.add("response.reasoning_summary_text.done", about(done), 0);
            let done = json!({"summary_index": 0, "part": summary});
            out.add("response.reasoning_summary_part.done", about(done), 0);
        }
        let part = &item["content"][0];
        let mut empty = part.clone();
        if let Some(said) = part["refusal"].as_str() {
            empty["refusal"] = json!("");
            out.add("response.content_part.added", about(json!({"content_index": 0, "part": empty})), 0);
            let delta = json!({"content_index": 0, "delta": said});
            out.add("response.refusal.delta", about(delta), self.reply.tokens());
            out.add("response.refusal.done", about(json!({"content_index": 0, "refusal": said})), 0);
        } else if let Some(said) = part["text"].as_str() {
            empty["text"] = json!("");
            out.add("response.content_part.added", about(json!({"content_index": 0, "part": empty})), 0);
            for Piece { text, tokens } in &self.reply.pieces {
                let delta =
                    json!({"content_index": 0, "delta": text, "logprobs": [], "obfuscation": "abcdefg"});
                out.add("response.output_text.delta", about(delta), *tokens);
            }
            let done = json!({"content_index": 0, "text": said, "logprobs": []});
            out.add("response.output_text.done", about(done), 0);
        }
        if !part.is_null() {
            out.add("response.content_part.done", about(json!({"content_index": 0, "part": part})), 0);
        }
        let call = self.reply.calls.iter().find(|call| item["call_id"] == call_id(call));
        if let Some(call) = call {
            for Piece { text, tokens } in &call.arguments {
                let delta = json!({"delta": text, "obfuscation": "ab"});
                out.add("response.function_call_arguments.delta", about(delta), *tokens);
            }
            let done = json!({"arguments": call.arguments()});
            out.add("response.function_call_arguments.done", about(done), 0);
        }
        out.add("response.output_item.done", json!({"output_index": at, "item": item}), 0);
    }
}

#[derive(Default)]
struct Events {
    events: Vec<Event>,
    next: u64,
}

impl Events {
    fn add(&mut self, kind: &str, mut payload: Value, tokens: u32) {
        payload["type"] = kind.into();
        payload["sequence_number"] = self.next.into();
        self.next += 1;
        self.events.push(Event { bytes: format!("event: {kind}\ndata: {payload}\n\n").into_bytes(), tokens });
    }
}
