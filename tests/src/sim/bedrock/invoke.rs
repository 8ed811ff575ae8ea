//! InvokeModel and its stream. Bodies that name `anthropic_version` are Anthropic's messages and answered by that
//! simulator's rules, judged by its judge; every other body is taken for Titan's text dialect. What was billed is told as
//! Bedrock tells it: in headers, in streams with the last chunk.

use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::Response;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::Judge;
use super::request::{Refusal, Target};
use super::{Bedrock, Failed};
use crate::sim::anthropic;
use crate::sim::control::{Behaviour, Bill, Fault};
use crate::sim::flow::{Answer, Event, Wire, before_headers, send};
use crate::sim::reply::{self, Ask, Finish, ToolChoice};
use crate::sim::rng::Rng;
use crate::sim::server::Call;

/// What InvokeModel needs beside Converse.
pub struct Invoke {
    pub config: anthropic::Config,
    /// Started at the first body of Anthropic's.
    judge: OnceCell<Judge>,
}

impl Invoke {
    pub fn new(seed: u64, lead_in: &str) -> Self {
        let config = anthropic::Config {
            models: vec!["*".into()],
            seed,
            lead_in: lead_in.to_owned(),
            ..anthropic::Config::default()
        };
        Self { config, judge: OnceCell::new() }
    }

    /// Problems of a body of Anthropic's, once it has its model again.
    async fn problems(&self, body: &Value, streamed: bool) -> Result<Vec<u8>, Refusal> {
        let version = body["anthropic_version"].as_str().unwrap_or_default();
        // The second is what Anthropic's own client for Bedrock says.
        if !["bedrock-2023-05-31", "2026-10-21"].contains(&version) {
            return Err(Refusal::validation(&format!("anthropic_version: {version} is not supported")));
        }
        for extra in ["model", "stream"] {
            if body.get(extra).is_some() {
                return Err(Refusal::validation(&format!("{extra}: Extra inputs are not permitted")));
            }
        }
        let mut body = body.clone();
        let beta = body["anthropic_beta"].is_array();
        for own in ["anthropic_version", "anthropic_beta"] {
            body.as_object_mut().map(|body| body.remove(own));
        }
        body["model"] = "claude".into();
        body["stream"] = streamed.into();
        let bytes = body.to_string().into_bytes();
        let judge = self.judge.get_or_try_init(|| Judge::of("anthropic_judge.py")).await;
        let judge = judge.map_err(|error| Refusal::judge(error.to_string()))?;
        let question = json!({
            "op": "request", "body_b64": BASE64.encode(&bytes), "count": false, "beta": beta, "version": "2023-06-01",
        });
        let problems = judge.ask(question).await.map_err(Refusal::judge)?;
        let said: Vec<&str> = problems.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if said.is_empty() { Ok(bytes) } else { Err(Refusal::validation(&said.join("; "))) }
    }
}

/// What came of a request: the answer's pieces without their frames, and what they cost.
struct Made {
    /// JSON, each with the tokens it stands for.
    pieces: Vec<(Value, u32)>,
    input: u32,
    cache: (u32, u32),
    output: u32,
}

impl Bedrock {
    pub(super) async fn invoke(
        self: std::sync::Arc<Self>,
        call: Call,
        target: &Target,
        id: &str,
    ) -> Result<Response<Wire>, Failed> {
        let refused = |call: Call, refusal: Refusal| Failed::Refused(Box::new(call), refusal);
        if let Some(Err(why)) = call.head.header("x-amzn-bedrock-request-metadata").map(metadata) {
            return Err(refused(call, Refusal::validation(&why)));
        }
        let body: Value = match serde_json::from_slice(&call.body) {
            Ok(body) => body,
            Err(why) => {
                return Err(refused(call, Refusal::validation(&format!("Malformed input request: {why}"))));
            }
        };
        let claude = body.get("anthropic_version").is_some();
        let asked = if claude {
            let read = match self.invoke.problems(&body, target.stream).await {
                Ok(body) => anthropic::read(&self.invoke.config, &body)
                    .map_err(|refusal| Refusal::validation(&refusal.message)),
                Err(refusal) => Err(refusal),
            };
            match read {
                Ok(asked) => Asked::Claude(asked),
                Err(refusal) => return Err(refused(call, refusal)),
            }
        } else {
            match titan(&body) {
                Some(ask) => Asked::Titan(ask),
                None => {
                    let why = "Malformed input request: #: required key [inputText] not found";
                    return Err(refused(call, Refusal::validation(why)));
                }
            }
        };
        let entry = call.entry();
        let mut behaviour = call.controls.take(match &asked {
            Asked::Claude(asked) => &asked.ask.prompt,
            Asked::Titan(ask) => &ask.prompt,
        });
        behaviour.bill.get_or_insert(Bill::All);
        before_headers(behaviour.fault.as_ref(), &call.conn, call.head.http2, &entry)
            .await
            .map_err(Failed::Aborted)?;
        let mut error = ("internalServerException".to_owned(), None);
        match &behaviour.fault {
            Some(Fault::Status { code, retry_after, error_type, message }) => {
                let mut refusal = Refusal::ordered(*code, error_type.as_deref(), message.as_deref());
                refusal.retry_after = retry_after.clone();
                return Err(refused(call, refusal));
            }
            Some(Fault::ContextLength) => return Err(refused(call, Refusal::too_long())),
            Some(Fault::ErrorFirstFrame { error_type, message }) if !target.stream => {
                let refusal = Refusal::exception(error_type.as_deref(), message.as_deref());
                return Err(refused(call, refusal));
            }
            Some(
                Fault::ErrorFirstFrame { error_type, message }
                | Fault::ErrorMidStream { error_type, message, .. },
            ) => {
                error = (error_type.clone().unwrap_or(error.0), message.clone());
            }
            _ => {}
        }
        let made = self.invoked(&asked, &behaviour, target.stream, id, entry.number());
        entry.note(|r| {
            r.prompt_tokens = made.input + made.cache.0 + made.cache.1;
            r.completion_tokens = made.output;
            r.cached_tokens = made.cache.0;
        });
        let answer = if target.stream { made.stream(id, entry.number(), &error) } else { made.unary(id) };
        let seat = self.seats.clone().acquire_owned().await.ok();
        Ok(send(answer, behaviour, call.open, call.conn, call.head.http2, seat).await)
    }

    fn invoked(&self, asked: &Asked, behaviour: &Behaviour, streamed: bool, id: &str, seed: u64) -> Made {
        match asked {
            Asked::Claude(asked) => {
                let (pieces, usage) =
                    anthropic::answer(&self.invoke.config, asked, behaviour, id, streamed, seed);
                Made {
                    pieces,
                    input: usage.input,
                    cache: (usage.cache_read, usage.cache_write),
                    output: usage.output,
                }
            }
            Asked::Titan(ask) => {
                let reply = reply::make(ask, behaviour, self.config.encoding, 0);
                let input = self.config.encoding.count(&ask.prompt);
                let output = reply.tokens();
                let reason = if matches!(reply.finish, Finish::Length) { "LENGTH" } else { "FINISH" };
                let pieces = if streamed {
                    let last = reply.pieces.len().saturating_sub(1);
                    let piece = |(at, piece): (usize, &reply::Piece)| {
                        let end = if at == last { json!(reason) } else { Value::Null };
                        let value = json!({
                            "outputText": piece.text, "index": 0, "completionReason": end,
                            "inputTextTokenCount": input,
                        });
                        (value, piece.tokens)
                    };
                    reply.pieces.iter().enumerate().map(piece).collect()
                } else {
                    let result =
                        json!({"tokenCount": output, "outputText": reply.text(), "completionReason": reason});
                    vec![(json!({"inputTextTokenCount": input, "results": [result]}), output)]
                };
                Made { pieces, input, cache: (0, 0), output }
            }
        }
    }
}

enum Asked {
    Claude(anthropic::Asked),
    Titan(Ask),
}

/// The bounds of `RequestMetadataJson` and of the map in it, by the service's model.
fn metadata(header: &str) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("requestMetadata: {what}"));
    let Ok(Value::Object(entries)) = serde_json::from_str(header) else { return wrong("no JSON object") };
    if header.len() > 8500 || !(1..=16).contains(&entries.len()) {
        return wrong("too much, or nothing");
    }
    let fits = |text: &str| {
        let known =
            |c: char| c.is_ascii_alphanumeric() || c.is_ascii_whitespace() || ":_@$#=/+,-.".contains(c);
        text.len() <= 256 && text.chars().all(known)
    };
    let entry =
        |(key, value): (&String, &Value)| !key.is_empty() && fits(key) && value.as_str().is_some_and(fits);
    if entries.iter().all(entry) { Ok(()) } else { wrong("an entry that does not fit") }
}

fn titan(body: &Value) -> Option<Ask> {
    let text = body["inputText"].as_str()?;
    let config = &body["textGenerationConfig"];
    Some(Ask {
        prompt: text.to_owned(),
        last_user: Some(text.to_owned()),
        tools: Vec::new(),
        choice: ToolChoice::Auto,
        single_call: false,
        max_tokens: config["maxTokenCount"].as_u64().and_then(|most| u32::try_from(most).ok()),
        stop: Vec::new(),
        lead_in: None,
        seed: 4,
    })
}

impl Made {
    fn headers(&self, id: &str, media: &str) -> Vec<(String, String)> {
        vec![("x-amzn-requestid".into(), id.into()), ("content-type".into(), media.into())]
    }

    fn unary(self, id: &str) -> Answer {
        let mut headers = self.headers(id, "application/json");
        let mut tell = |name: &str, value: u32| {
            headers.push((format!("x-amzn-bedrock-{name}"), value.to_string()));
        };
        tell("invocation-latency", 321);
        tell("input-token-count", self.input);
        tell("output-token-count", self.output);
        if self.cache != (0, 0) {
            tell("cache-read-input-token-count", self.cache.0);
            tell("cache-write-input-token-count", self.cache.1);
        }
        let bytes = self.pieces.first().map(|(value, _)| value.to_string().into_bytes()).unwrap_or_default();
        Answer {
            status: 200,
            headers,
            events: vec![Event { bytes, tokens: self.output }],
            streamed: false,
            error_event: br#"{"message":"An internal error occurred."}"#.to_vec(),
        }
    }

    fn stream(self, id: &str, seed: u64, (name, message): &(String, Option<String>)) -> Answer {
        let mut rng = Rng::new(seed);
        let headers = self.headers(id, "application/vnd.amazon.eventstream");
        let metrics = json!({
            "inputTokenCount": self.input, "outputTokenCount": self.output, "invocationLatency": 900,
            "firstByteLatency": 300, "cacheReadInputTokenCount": self.cache.0, "cacheWriteInputTokenCount": self.cache.1,
        });
        let last = self.pieces.len().saturating_sub(1);
        let mut events = Vec::new();
        for (at, (mut value, tokens)) in self.pieces.into_iter().enumerate() {
            if at == last {
                value["amazon-bedrock-invocationMetrics"] = metrics.clone();
            }
            let payload =
                json!({"bytes": BASE64.encode(value.to_string()), "p": "abcdefgh"[..rng.between(2, 8)]});
            events.push(Event { bytes: frame("event", ":event-type", "chunk", &payload), tokens });
        }
        let message = message.as_deref().unwrap_or("The stream failed.");
        let error_event = frame("exception", ":exception-type", name, &json!({"message": message}));
        Answer { status: 200, headers, events, streamed: true, error_event }
    }
}

fn frame(kind: &str, name: &str, value: &str, payload: &Value) -> Vec<u8> {
    let mut message = Message::new(payload.to_string().into_bytes());
    for (name, value) in [(name, value), (":content-type", "application/json"), (":message-type", kind)] {
        message =
            message.add_header(Header::new(name.to_owned(), HeaderValue::String(value.to_owned().into())));
    }
    let mut bytes = Vec::new();
    write_message_to(&message, &mut bytes).expect("a small frame has a valid length");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_keeps_to_the_services_bounds() {
        let many: Vec<String> = (0..17).map(|n| format!("\"k{n}\":\"\"")).collect();
        for (header, good) in [
            (r#"{"tenant":"acme","b":""}"#.to_owned(), true),
            (format!("{{{}}}", many[..16].join(",")), true),
            (format!("{{{}}}", many.join(",")), false),
            (r#"{"a":"x;y"}"#.to_owned(), false),
            (r#"{"":"x"}"#.to_owned(), false),
            (r#"{"a":7}"#.to_owned(), false),
            (format!(r#"{{"a":"{}"}}"#, "x".repeat(257)), false),
            ("{}".to_owned(), false),
            ("tenant".to_owned(), false),
        ] {
            assert_eq!(metadata(&header).is_ok(), good, "{header}");
        }
    }
}
