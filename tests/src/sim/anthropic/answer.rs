//! Writes Messages answers and their streams.
//!
//! As seen live: the first event carries the input's usage and one output token, a `ping` follows the first block's
//! start, `message_delta` restates the usage, and objects of the stream end in blanks of random number.

use serde_json::{Value, json};

use super::request::{Asked, Refusal};
use super::{Config, ENCODING, signature};
use crate::sim::flow::{Answer, Event};
use crate::sim::reply::{Finish, Reply, ToolCall};
use crate::sim::rng::Rng;

#[derive(Clone, Copy)]
pub struct Usage {
    /// Without the cached ones.
    pub input: u32,
    pub output: u32,
    pub cache_read: u32,
    pub cache_write: u32,
}

impl Usage {
    fn json(self, output: u32) -> Value {
        json!({
            "input_tokens": self.input,
            "cache_creation_input_tokens": self.cache_write,
            "cache_read_input_tokens": self.cache_read,
            "cache_creation": {"ephemeral_5m_input_tokens": self.cache_write, "ephemeral_1h_input_tokens": 0},
            "output_tokens": output,
            "service_tier": "standard",
            "inference_geo": "not_available",
        })
    }
}

pub fn headers(id: &str, media: &str) -> Vec<(String, String)> {
    let at = "2026-11-21T06:00:00Z";
    let mut all =
        vec![("request-id".to_owned(), format!("req_01{id}")), ("content-type".to_owned(), media.to_owned())];
    for what in ["requests", "tokens", "input-tokens", "output-tokens"] {
        for (part, value) in [("limit", "4000"), ("remaining", "3999"), ("reset", at)] {
            all.push((format!("anthropic-ratelimit-{what}-{part}"), value.to_owned()));
        }
    }
    all
}

pub struct Made<'a> {
    id: &'a str,
    asked: &'a Asked,
    reply: &'a Reply,
    error: &'a Refusal,
    /// What is thought and its signature.
    thought: Option<(String, String)>,
}

fn tool_id(call: &ToolCall) -> String {
    format!("toolu_01{}", call.id)
}

impl<'a> Made<'a> {
    pub fn new(config: &Config, id: &'a str, asked: &'a Asked, reply: &'a Reply, error: &'a Refusal) -> Self {
        let thought = asked.thinks.then(|| (config.thought.clone(), signature(config, &config.thought)));
        Self { id, asked, reply, error, thought }
    }

    /// Thoughts are billed as output.
    pub fn output_tokens(&self) -> u32 {
        let thought = self.thought.as_ref().map_or(0, |(text, _)| ENCODING.count(text));
        self.reply.tokens() + thought
    }

    fn stop(&self) -> (Value, Value) {
        match &self.reply.finish {
            _ if self.reply.said().refused => ("refusal".into(), Value::Null),
            Finish::Stop => ("end_turn".into(), Value::Null),
            Finish::StopString(text) => ("stop_sequence".into(), text.as_str().into()),
            Finish::Length => ("max_tokens".into(), Value::Null),
            Finish::ToolCalls => ("tool_use".into(), Value::Null),
        }
    }

    fn message(&self, content: Vec<Value>, stop: (Value, Value), usage: Value) -> Value {
        json!({
            "id": format!("msg_01{}", self.id), "type": "message", "role": "assistant", "model": self.asked.model,
            "content": content, "stop_reason": stop.0, "stop_sequence": stop.1, "usage": usage,
        })
    }

    pub fn unary(&self, usage: &Usage) -> Answer {
        let mut content = Vec::new();
        if let Some((text, signature)) = &self.thought {
            content.push(json!({"type": "thinking", "thinking": text, "signature": signature}));
        }
        let text: String = self.reply.said().pieces.iter().map(|piece| piece.text.as_str()).collect();
        if !text.is_empty() {
            content.push(json!({"type": "text", "text": text}));
        }
        for call in &self.reply.calls {
            // Arguments that the limit cut are no JSON; the model's own text is what is left of them.
            let input: Value = serde_json::from_str(&call.arguments()).unwrap_or_else(|_| json!({}));
            content.push(json!({"type": "tool_use", "id": tool_id(call), "name": call.name, "input": input}));
        }
        let body = self.message(content, self.stop(), usage.json(usage.output));
        Answer {
            status: 200,
            headers: headers(self.id, "application/json"),
            events: vec![Event { bytes: body.to_string().into_bytes(), tokens: usage.output }],
            streamed: false,
            error_event: self.error.body(self.id).into_bytes(),
        }
    }

    pub fn stream(&self, usage: &Usage, seed: u64) -> Answer {
        let mut out = Events { rng: Rng::new(seed), events: Vec::new(), index: 0 };
        let message = self.message(Vec::new(), (Value::Null, Value::Null), usage.json(1));
        out.add("message_start", json!({"message": message}), 0);
        if let Some((text, signature)) = &self.thought {
            out.start(json!({"type": "thinking", "thinking": "", "signature": ""}));
            let middle = text.char_indices().nth(text.chars().count() / 2).map_or(0, |(at, _)| at);
            let (first, second) = text.split_at(middle);
            out.delta(json!({"type": "thinking_delta", "thinking": first}), ENCODING.count(text));
            out.delta(json!({"type": "thinking_delta", "thinking": second}), 0);
            out.delta(json!({"type": "signature_delta", "signature": signature}), 0);
            out.stop();
        }
        let said = self.reply.said();
        if !said.pieces.is_empty() {
            out.start(json!({"type": "text", "text": ""}));
            for piece in &said.pieces {
                out.delta(json!({"type": "text_delta", "text": piece.text}), piece.tokens);
            }
            out.stop();
        }
        for call in &self.reply.calls {
            out.start(json!({"type": "tool_use", "id": tool_id(call), "name": call.name, "input": {}}));
            out.delta(json!({"type": "input_json_delta", "partial_json": ""}), 0);
            for piece in &call.arguments {
                out.delta(json!({"type": "input_json_delta", "partial_json": piece.text}), piece.tokens);
            }
            out.stop();
        }
        let (reason, sequence) = self.stop();
        let mut last = usage.json(usage.output);
        for only_first in ["cache_creation", "service_tier", "inference_geo"] {
            last.as_object_mut().map(|last| last.remove(only_first));
        }
        let delta = json!({"stop_reason": reason, "stop_sequence": sequence});
        out.add("message_delta", json!({"delta": delta, "usage": last}), 0);
        out.add("message_stop", json!({}), 0);
        let events = std::mem::take(&mut out.events);
        let error: Value = serde_json::from_str(&self.error.body(self.id)).unwrap_or_default();
        out.add("error", error, 0);
        Answer {
            status: 200,
            headers: headers(self.id, "text/event-stream; charset=utf-8"),
            events,
            streamed: true,
            error_event: out.events.pop().map(|event| event.bytes).unwrap_or_default(),
        }
    }
}

struct Events {
    rng: Rng,
    events: Vec<Event>,
    index: u32,
}

impl Events {
    fn add(&mut self, kind: &str, mut payload: Value, tokens: u32) {
        payload["type"] = kind.into();
        let mut data = payload.to_string();
        // The live service pads objects against the reading of lengths.
        data.insert_str(data.len() - 1, &" ".repeat(self.rng.between(0, 12)));
        self.events.push(Event { bytes: format!("event: {kind}\ndata: {data}\n\n").into_bytes(), tokens });
    }

    fn start(&mut self, block: Value) {
        self.add("content_block_start", json!({"index": self.index, "content_block": block}), 0);
        if self.index == 0 {
            self.add("ping", json!({}), 0);
        }
    }

    fn delta(&mut self, delta: Value, tokens: u32) {
        self.add("content_block_delta", json!({"index": self.index, "delta": delta}), tokens);
    }

    fn stop(&mut self) {
        self.add("content_block_stop", json!({"index": self.index}), 0);
        self.index += 1;
    }
}
