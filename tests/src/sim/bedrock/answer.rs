//! Writes Converse answers and event streams; the frames are made by aws-smithy-eventstream.
//!
//! As seen live: no start event for text blocks, `messageStop` before the usage, a padding key `p` of
//! random length in every payload, keys in the usage that the model does not know.

use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use serde_json::{Map, Value, json};

use super::request::Asked;
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
    fn json(self) -> Value {
        json!({
            "inputTokens": self.input,
            "outputTokens": self.output,
            "totalTokens": self.input + self.output + self.cache_read + self.cache_write,
            "cacheReadInputTokens": self.cache_read,
            "cacheWriteInputTokens": self.cache_write,
            // The same again under names that the service model does not have.
            "cacheReadInputTokenCount": self.cache_read,
            "cacheWriteInputTokenCount": self.cache_write,
            "serverToolUsage": {},
        })
    }
}

pub struct Made<'a> {
    pub id: &'a str,
    pub asked: &'a Asked,
    pub reply: &'a Reply,
    pub usage: Usage,
    /// Exception name in camel case and its message, for a stream that is to fail.
    pub error: (String, Option<String>),
    pub seed: u64,
}

fn stop_reason(finish: &Finish) -> &'static str {
    match finish {
        Finish::Stop => "end_turn",
        Finish::StopString(_) => "stop_sequence",
        Finish::Length => "max_tokens",
        Finish::ToolCalls => "tool_use",
    }
}

fn tool_id(call: &ToolCall) -> String {
    format!("tooluse_{}", call.id)
}

/// Of every thought.
pub const SIGNATURE: &str = "c2lnbmVkIGJ5IHRoZSBzaW11bGF0b3I=";

const PADDING: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ012345678";

impl Made<'_> {
    fn headers(&self, media: &str) -> Vec<(String, String)> {
        vec![("x-amzn-requestid".into(), self.id.into()), ("content-type".into(), media.into())]
    }

    /// Metrics and what the request asked to be served with.
    fn about(&self) -> Map<String, Value> {
        let mut about = Map::new();
        about.insert("usage".into(), self.usage.json());
        about.insert("metrics".into(), json!({"latencyMs": 100 + self.seed % 900}));
        for (name, value) in
            [("serviceTier", &self.asked.service_tier), ("performanceConfig", &self.asked.performance)]
        {
            if value.is_object() {
                about.insert(name.into(), value.clone());
            }
        }
        about
    }

    fn stop_reason(&self) -> &'static str {
        // Converse has no word of its own for what a model will not do.
        if self.reply.said().refused { "content_filtered" } else { stop_reason(&self.reply.finish) }
    }

    pub fn unary(&self) -> Answer {
        let mut content = Vec::new();
        let said = self.reply.said();
        if let Some(thought) = said.thought {
            let text = json!({"text": thought.text, "signature": SIGNATURE});
            content.push(json!({"reasoningContent": {"reasoningText": text}}));
        }
        let text: String = said.pieces.iter().map(|piece| piece.text.as_str()).collect();
        if !text.is_empty() || self.reply.calls.is_empty() {
            content.push(json!({"text": text}));
        }
        for call in &self.reply.calls {
            // Arguments that the limit cut are no JSON; the model's own text is what is left of them.
            let input: Value = serde_json::from_str(&call.arguments()).unwrap_or_else(|_| json!({}));
            content.push(json!({"toolUse": {"toolUseId": tool_id(call), "name": call.name, "input": input}}));
        }
        let mut body = self.about();
        body.insert("output".into(), json!({"message": {"role": "assistant", "content": content}}));
        body.insert("stopReason".into(), self.stop_reason().into());
        Answer {
            status: 200,
            headers: self.headers("application/json"),
            events: vec![Event {
                bytes: Value::Object(body).to_string().into_bytes(),
                tokens: self.reply.tokens(),
            }],
            streamed: false,
            error_event: br#"{"message":"An internal error occurred."}"#.to_vec(),
        }
    }

    pub fn stream(&self) -> Answer {
        let mut rng = Rng::new(self.seed);
        let mut events = Vec::new();
        let mut add = |kind: &str, payload: Value, tokens: u32| {
            let bytes = frame(
                &[(":event-type", kind), (":content-type", "application/json"), (":message-type", "event")],
                payload,
                &mut rng,
            );
            events.push(Event { bytes, tokens });
        };
        add("messageStart", json!({"role": "assistant"}), 0);
        let mut index = 0;
        let said = self.reply.said();
        if let Some(thought) = said.thought {
            for (part, tokens) in
                [(json!({"text": thought.text}), thought.tokens), (json!({"signature": SIGNATURE}), 0)]
            {
                let delta = json!({"contentBlockIndex": index, "delta": {"reasoningContent": part}});
                add("contentBlockDelta", delta, tokens);
            }
            add("contentBlockStop", json!({"contentBlockIndex": index}), 0);
            index += 1;
        }
        if !said.pieces.is_empty() {
            for piece in &said.pieces {
                let delta = json!({"contentBlockIndex": index, "delta": {"text": piece.text}});
                add("contentBlockDelta", delta, piece.tokens);
            }
            add("contentBlockStop", json!({"contentBlockIndex": index}), 0);
            index += 1;
        }
        for call in &self.reply.calls {
            let start = json!({"toolUse": {"toolUseId": tool_id(call), "name": call.name}});
            add("contentBlockStart", json!({"contentBlockIndex": index, "start": start}), 0);
            for piece in &call.arguments {
                let delta = json!({"toolUse": {"input": piece.text}});
                add("contentBlockDelta", json!({"contentBlockIndex": index, "delta": delta}), piece.tokens);
            }
            add("contentBlockStop", json!({"contentBlockIndex": index}), 0);
            index += 1;
        }
        add("messageStop", json!({"stopReason": self.stop_reason()}), 0);
        add("metadata", Value::Object(self.about()), 0);
        let error_event = self.exception(&mut rng);
        Answer {
            status: 200,
            headers: self.headers("application/vnd.amazon.eventstream"),
            events,
            streamed: true,
            error_event,
        }
    }

    fn exception(&self, rng: &mut Rng) -> Vec<u8> {
        let (name, message) = &self.error;
        let message = message.as_deref().unwrap_or("The stream failed.");
        let mut payload = json!({"message": message});
        if name == "modelStreamErrorException" {
            payload["originalStatusCode"] = 500.into();
            payload["originalMessage"] = message.into();
        }
        let headers = [
            (":exception-type", name.as_str()),
            (":content-type", "application/json"),
            (":message-type", "exception"),
        ];
        frame(&headers, payload, rng)
    }
}

/// One frame with string headers and a padded JSON payload.
fn frame(headers: &[(&str, &str)], mut payload: Value, rng: &mut Rng) -> Vec<u8> {
    payload["p"] = PADDING[..rng.between(2, PADDING.len())].into();
    let mut message = Message::new(payload.to_string().into_bytes());
    for (name, value) in headers {
        message = message
            .add_header(Header::new((*name).to_owned(), HeaderValue::String((*value).to_owned().into())));
    }
    let mut bytes = Vec::new();
    write_message_to(&message, &mut bytes).expect("a small frame has a valid length");
    bytes
}
