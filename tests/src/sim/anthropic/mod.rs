//! Simulated Anthropic API: Messages, their stream and count_tokens, judged by Anthropic's own SDK.
//!
//! Requests are checked against the SDK's request types (`tests/judges/anthropic_judge.py`), then by the rules that
//! the API applies to conversations; a `thinking` block that comes back must carry the signature that its text was
//! given. Usage has a rule of its own, since the models' tokenizer is not public: o200k tokens of every text, a fixed
//! number per message, per prompt and per image, hidden tokens when there are tools. What lies before the last
//! `cache_control` is written to the cache the first time and read after.

mod answer;
mod request;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::io;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::Response;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::Semaphore;

use super::bedrock::Judge;
use super::control::{Behaviour, Bill, Fault};
use super::count::Encoding;
use super::flow::{Abort, Wire, before_headers, send};
use super::reply;
use super::rng::{Rng, hash};
use super::server::{Call, Provider, Server};
use request::Refusal;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub listen: String,
    /// Model ids served; `*` stands for any.
    pub models: Vec<String>,
    /// The only `x-api-key` accepted.
    pub api_key: String,
    /// Off: no judge of the parameters.
    pub check_parameters: bool,
    pub seed: u64,
    pub concurrency: usize,
    /// Prompt tokens above which the input is too long.
    pub context: u32,
    pub message_tokens: u32,
    pub prompt_tokens: u32,
    pub image_tokens: u32,
    /// Added when the request has tools, as real models add a prompt of their own.
    pub hidden_tool_tokens: u32,
    /// Text block before tool calls; empty: none.
    pub lead_in: String,
    /// What the model thinks where it is told to.
    pub thought: String,
    pub defaults: Behaviour,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:0".into(),
            models: ["claude-sonnet-4-5", "claude-opus-4-6", "claude-3-5-haiku-20241022"]
                .map(str::to_owned)
                .to_vec(),
            api_key: "sk-ant-simulated".into(),
            check_parameters: true,
            seed: 3,
            concurrency: 256,
            context: 200_000,
            message_tokens: 4,
            prompt_tokens: 3,
            image_tokens: 1000,
            hidden_tool_tokens: 300,
            lead_in: "I will look that up.".into(),
            thought: "First the question, then what is known — step by step: naïve 世界 🙂.".into(),
            defaults: Behaviour::default(),
        }
    }
}

/// The vocabulary of every simulated model.
const ENCODING: Encoding = Encoding::O200kBase;

/// Starts the server on the current runtime; fails where the judge is wanted and cannot be started.
pub async fn start(config: Config) -> io::Result<Server> {
    let judge = match config.check_parameters {
        true => Some(Judge::of("anthropic_judge.py").await?),
        false => None,
    };
    ENCODING.warm().await;
    let seats = Arc::new(Semaphore::new(config.concurrency.max(1)));
    let (listen, defaults) = (config.listen.clone(), config.defaults.clone());
    let provider = Anthropic { config, judge, seats, cache: Mutex::default() };
    Server::start(&listen, defaults, Arc::new(provider)).await
}

/// Reads a body for Bedrock's InvokeModel, which has the same messages.
pub(super) use request::Asked;
pub(super) fn read(config: &Config, body: &[u8]) -> Result<Asked, Refusal> {
    request::read(config, body, false)
}

/// The answer to it without any frames: one document, or each event of the stream with the tokens it stands for.
pub(super) fn answer(
    config: &Config,
    asked: &Asked,
    behaviour: &Behaviour,
    id: &str,
    streamed: bool,
    seed: u64,
) -> (Vec<(serde_json::Value, u32)>, answer::Usage) {
    let reply = reply::make(&asked.ask, behaviour, ENCODING, 0);
    let error = Refusal::new(500, "api_error", "Internal server error");
    let made = answer::Made::new(config, id, asked, &reply, &error);
    let read = behaviour.cached_tokens.unwrap_or(0).min(asked.tokens);
    let output = made.output_tokens();
    let usage = answer::Usage { input: asked.tokens - read, output, cache_read: read, cache_write: 0 };
    let all = if streamed { made.stream(&usage, seed) } else { made.unary(&usage) };
    let json = |bytes: &[u8]| {
        let at = bytes.windows(6).position(|six| six == b"data: ").map_or(0, |at| at + 6);
        serde_json::from_slice(&bytes[at..]).expect("what is written is JSON")
    };
    (all.events.iter().map(|event| (json(&event.bytes), event.tokens)).collect(), usage)
}

/// The signature over a thought, as this simulator makes it.
pub fn signature(config: &Config, thought: &str) -> String {
    let mut bytes = Vec::new();
    for round in 0..12 {
        bytes.extend(hash(config.seed ^ 0x51 ^ (round << 8), thought.as_bytes()).to_be_bytes());
    }
    BASE64.encode(bytes)
}

struct Anthropic {
    config: Config,
    judge: Option<Judge>,
    seats: Arc<Semaphore>,
    /// Hashes of the prefixes in the cache.
    cache: Mutex<HashSet<u64>>,
}

impl Provider for Anthropic {
    async fn answer(self: Arc<Self>, call: Call) -> Result<Response<Wire>, Abort> {
        let id = Rng::new(hash(self.config.seed, &call.entry().number().to_le_bytes())).id(24);
        let count = match (call.head.method.as_str(), call.head.path.as_str()) {
            ("POST", "/v1/messages") => false,
            ("POST", "/v1/messages/count_tokens") => true,
            (_, "/v1/messages" | "/v1/messages/count_tokens") => {
                return Ok(refuse(call, &id, &Refusal::invalid(405, "Method Not Allowed")));
            }
            _ => return Ok(refuse(call, &id, &Refusal::new(404, "not_found_error", "Not Found"))),
        };
        match self.messages(call, count, &id).await {
            Ok(response) => Ok(response),
            Err(Failed::Refused(call, refusal)) => Ok(refuse(*call, &id, &refusal)),
            Err(Failed::Aborted(abort)) => Err(abort),
        }
    }
}

enum Failed {
    Refused(Box<Call>, Refusal),
    Aborted(Abort),
}

impl Anthropic {
    async fn messages(self: Arc<Self>, call: Call, count: bool, id: &str) -> Result<Response<Wire>, Failed> {
        let refused = |call: Call, refusal: Refusal| Failed::Refused(Box::new(call), refusal);
        if let Err(refusal) = self.check(&call, count).await {
            return Err(refused(call, refusal));
        }
        let read = {
            let (this, body) = (self.clone(), call.body.clone());
            let work = move || request::read(&this.config, &body, count);
            if call.body.len() < 64 << 10 {
                work()
            } else {
                tokio::task::spawn_blocking(work).await.expect("reading a request does not panic")
            }
        };
        let asked = match read {
            Ok(asked) => asked,
            Err(refusal) => return Err(refused(call, refusal)),
        };
        let entry = call.entry();
        entry.note(|r| {
            r.model = Some(asked.model.clone());
            r.streamed = asked.stream;
        });
        if count {
            // Free of charge: nothing goes into the book.
            let body = json!({"input_tokens": asked.tokens}).to_string();
            return Ok(Wire::whole(
                call.open,
                200,
                &answer::headers(id, "application/json"),
                body.into_bytes(),
            ));
        }
        let mut behaviour = call.controls.take(&asked.ask.prompt);
        // What is generated is billed whether or not it is read: the worst case for whoever keeps a budget.
        let never_begun = matches!(behaviour.fault, Some(Fault::ErrorFirstFrame { .. }));
        behaviour.bill.get_or_insert(if never_begun { Bill::Nothing } else { Bill::All });
        entry.note(|r| r.prompt_tokens = asked.tokens);
        before_headers(behaviour.fault.as_ref(), &call.conn, call.head.http2, &entry)
            .await
            .map_err(Failed::Aborted)?;
        let mut error = Refusal::new(500, "api_error", "Internal server error");
        match &behaviour.fault {
            Some(Fault::Status { code, retry_after, error_type, message }) => {
                let mut refusal = Refusal::ordered(*code, error_type.as_deref(), message.as_deref());
                refusal.retry_after = retry_after.clone();
                return Err(refused(call, refusal));
            }
            Some(Fault::ContextLength) => {
                return Err(refused(call, Refusal::too_long(asked.tokens, self.config.context)));
            }
            Some(
                Fault::ErrorFirstFrame { error_type, message }
                | Fault::ErrorMidStream { error_type, message, .. },
            ) => {
                error = Refusal::of_type(error_type.as_deref(), message.as_deref());
                if !asked.stream && matches!(behaviour.fault, Some(Fault::ErrorFirstFrame { .. })) {
                    return Err(refused(call, error));
                }
            }
            _ => {}
        }
        let seat = self.seats.clone().acquire_owned().await.ok();
        let reply = reply::make(&asked.ask, &behaviour, ENCODING, 0);
        let made = answer::Made::new(&self.config, id, &asked, &reply, &error);
        let usage = self.usage(&asked, &behaviour, made.output_tokens());
        entry.note(|r| {
            r.completion_tokens = usage.output;
            r.cached_tokens = usage.cache_read;
            r.cache_write_tokens = usage.cache_write;
        });
        let answer = if asked.stream { made.stream(&usage, entry.number()) } else { made.unary(&usage) };
        Ok(send(answer, behaviour, call.open, call.conn, call.head.http2, seat).await)
    }

    fn usage(&self, asked: &request::Asked, behaviour: &Behaviour, output: u32) -> answer::Usage {
        let (mut read, mut write) = (0, 0);
        if let Some(forced) = behaviour.cached_tokens {
            read = forced.min(asked.tokens);
        } else if let Some(forced) = behaviour.cache_write_tokens {
            write = forced.min(asked.tokens);
        } else if let Some((key, tokens)) = asked.cache_point {
            let new = self.cache.lock().unwrap().insert(key);
            *(if new { &mut write } else { &mut read }) = tokens.min(asked.tokens);
        }
        answer::Usage { input: asked.tokens - read - write, output, cache_read: read, cache_write: write }
    }

    /// Credentials, version, media type and parameters.
    async fn check(&self, call: &Call, count: bool) -> Result<(), Refusal> {
        let header = |name: &str| call.head.header(name);
        if header("x-api-key") != Some(&self.config.api_key) || header("authorization").is_some() {
            return Err(Refusal::new(401, "authentication_error", "invalid x-api-key"));
        }
        match header("anthropic-version") {
            Some("2023-01-01" | "2023-06-01" | "2026-10-21") => {}
            Some(other) => {
                let message = format!("anthropic-version: \"{other}\" is not a valid version");
                return Err(Refusal::invalid(400, &message));
            }
            None => return Err(Refusal::invalid(400, "anthropic-version: header is required")),
        }
        let media = header("content-type").and_then(|c| c.split(';').next()).map(str::trim);
        if !media.is_some_and(|m| m.eq_ignore_ascii_case("application/json")) {
            return Err(Refusal::invalid(415, "content-type: must be application/json"));
        }
        if serde_json::from_slice::<serde_json::Value>(&call.body).is_err() {
            return Err(Refusal::invalid(400, "The request body is not valid JSON"));
        }
        let Some(judge) = &self.judge else { return Ok(()) };
        let question = json!({
            "op": "request", "body_b64": BASE64.encode(&call.body),
            "count": count, "beta": header("anthropic-beta").is_some(),
            "version": header("anthropic-version"),
        });
        let problems = judge.ask(question).await.map_err(|error| {
            // The judge itself failed: no request may pass as judged.
            Refusal::new(500, "api_error", &format!("the judge failed: {error}"))
        })?;
        let said: Vec<&str> =
            problems.as_array().into_iter().flatten().filter_map(serde_json::Value::as_str).collect();
        if said.is_empty() { Ok(()) } else { Err(Refusal::invalid(400, &said.join("; "))) }
    }
}

fn refuse(call: Call, id: &str, refusal: &Refusal) -> Response<Wire> {
    let mut headers = answer::headers(id, "application/json");
    headers.extend(refusal.retry_after.iter().map(|v| ("retry-after".to_owned(), v.clone())));
    call.open.0.note(|r| r.problems.push(format!("{}: {}", refusal.kind, refusal.message)));
    Wire::whole(call.open, refusal.status, &headers, refusal.body(id).into_bytes())
}
