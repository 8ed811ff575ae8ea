//! Simulated OpenAI API: chat completions, responses and embeddings, with their streams, judged by OpenAI's own SDK.
//!
//! Requests are checked against the SDK's request types (`tests/judges/openai_judge.py`), then by the rules that the API
//! applies to conversations: results belong to calls, sealed reasoning comes back as it was given, an earlier response is
//! one that was kept. Usage has the rule of OpenAI's cookbook for texts (o200k_base; cl100k_base for embeddings); tools
//! cost the tokens of their JSON, an image a fixed number. A fixed reply that begins with `refusal: ` is one.
#![allow(
    clippy::result_large_err,
    reason = "a simulator's refusal is read by people, its size matters to nobody"
)]

mod answer;
mod request;
mod responses;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::bedrock::Judge;
use super::control::{Behaviour, Bill, Fault};
use super::count::Encoding;
use super::flow::{Abort, Answer, Event, Wire, before_headers, send};
use super::reply;
use super::rng::{Rng, hash};
use super::server::{Call, Provider, Server};
use request::{Asked, Kind, Refusal};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub listen: String,
    /// Model ids served; `*` stands for any.
    pub models: Vec<String>,
    /// The only bearer accepted.
    pub api_key: String,
    /// What paths begin with, as of servers that are only compatible: empty or `/compat`.
    pub prefix: String,
    /// Off: no judge of the parameters.
    pub check_parameters: bool,
    pub seed: u64,
    pub concurrency: usize,
    /// Prompt tokens above which the input is too long.
    pub context: u32,
    pub image_tokens: u32,
    /// What the model thinks where it is asked to reason.
    pub thought: String,
    /// Numbers of an embedding, unless the request says how many.
    pub dimensions: u64,
    pub defaults: Behaviour,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:0".into(),
            models: ["gpt-4o-mini", "gpt-5-mini", "text-embedding-3-small"].map(str::to_owned).to_vec(),
            api_key: "sk-simulated".into(),
            prefix: String::new(),
            check_parameters: true,
            seed: 4,
            concurrency: 256,
            context: 4_000_000,
            image_tokens: 765,
            thought: "First the question, then what is known: naïve 世界 🙂.".into(),
            dimensions: 16,
            defaults: Behaviour::default(),
        }
    }
}

/// The vocabulary of every model that talks.
const ENCODING: Encoding = Encoding::O200kBase;
/// The vocabulary of every model that embeds.
const EMBEDDING: Encoding = Encoding::Cl100kBase;

/// Starts the server on the current runtime; fails where the judge is wanted and cannot be started.
pub async fn start(config: Config) -> io::Result<Server> {
    let judge = match config.check_parameters {
        true => Some(Judge::of("openai_judge.py").await?),
        false => None,
    };
    ENCODING.warm().await;
    EMBEDDING.warm().await;
    let seats = Arc::new(Semaphore::new(config.concurrency.max(1)));
    let (listen, defaults) = (config.listen.clone(), config.defaults.clone());
    let provider = OpenAi { config, judge, seats, kept: Mutex::default() };
    Server::start(&listen, defaults, Arc::new(provider)).await
}

/// Reasoning as only this simulator can read it.
pub fn sealed(config: &Config, thought: &str) -> String {
    let mut bytes = Vec::new();
    for round in 0..12 {
        bytes.extend(hash(config.seed ^ 0x71 ^ (round << 8), thought.as_bytes()).to_be_bytes());
    }
    format!("gAAAAA{}", BASE64.encode(bytes))
}

struct OpenAi {
    config: Config,
    judge: Option<Judge>,
    seats: Arc<Semaphore>,
    /// Tokens of the conversations that are kept, by the id of their last response, and the calls that wait for results.
    kept: Mutex<HashMap<String, (u32, Vec<String>)>>,
}

impl Provider for OpenAi {
    async fn answer(self: Arc<Self>, call: Call) -> Result<Response<Wire>, Abort> {
        let id = Rng::new(hash(self.config.seed, &call.entry().number().to_le_bytes())).id(24);
        let path = call.head.path.strip_prefix(self.config.prefix.as_str()).unwrap_or_default();
        let kind = match path {
            "/v1/chat/completions" => Kind::Chat,
            "/v1/responses" => Kind::Responses,
            "/v1/embeddings" => Kind::Embeddings,
            _ => {
                let message = format!("Invalid URL ({} {})", call.head.method, call.head.path);
                return Ok(refuse(call, &id, &Refusal::new(404, None, &message, None)));
            }
        };
        if call.head.method != "POST" {
            let message = "Method not allowed. Only POST is accepted.";
            return Ok(refuse(call, &id, &Refusal::new(405, Some("method_not_supported"), message, None)));
        }
        match self.asked(call, kind, &id).await {
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

impl OpenAi {
    async fn asked(self: Arc<Self>, call: Call, kind: Kind, id: &str) -> Result<Response<Wire>, Failed> {
        let refused = |call: Call, refusal: Refusal| Failed::Refused(Box::new(call), refusal);
        if let Err(refusal) = self.check(&call, kind).await {
            return Err(refused(call, refusal));
        }
        let body: Value = serde_json::from_slice(&call.body).unwrap_or_default();
        let kept = body["previous_response_id"].as_str().map(|id| self.kept.lock().unwrap().get(id).cloned());
        let read = {
            let (this, body) = (self.clone(), body.clone());
            let work = move || request::read(&this.config, kind, &body, kept);
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
        let mut behaviour = call.controls.take(&asked.ask.prompt);
        // What is generated is billed whether or not it is read: the worst case for whoever keeps a budget.
        let never_begun = matches!(behaviour.fault, Some(Fault::ErrorFirstFrame { .. }));
        behaviour.bill.get_or_insert(if never_begun { Bill::Nothing } else { Bill::All });
        entry.note(|r| r.prompt_tokens = asked.tokens);
        before_headers(behaviour.fault.as_ref(), &call.conn, call.head.http2, &entry)
            .await
            .map_err(Failed::Aborted)?;
        let mut error = Refusal::ordered(500, None, None);
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
                error = Refusal::ordered(500, error_type.as_deref(), message.as_deref());
                if !asked.stream && never_begun {
                    return Err(refused(call, error));
                }
            }
            _ => {}
        }
        let seat = self.seats.clone().acquire_owned().await.ok();
        let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let answer = if kind == Kind::Embeddings {
            self.embeddings(&asked, id)
        } else {
            let replies: Vec<_> =
                (0..asked.n).map(|n| reply::make(&asked.ask, &behaviour, ENCODING, n)).collect();
            let thought = if asked.thinks { ENCODING.count(&self.config.thought) } else { 0 };
            let said: u32 = replies.iter().map(reply::Reply::tokens).sum();
            let usage = answer::Usage {
                input: asked.tokens,
                cached: behaviour.cached_tokens.unwrap_or(0).min(asked.tokens),
                output: said + thought * asked.n as u32,
                reasoning: thought * asked.n as u32,
            };
            entry.note(|r| {
                r.completion_tokens = usage.output;
                r.cached_tokens = usage.cached;
            });
            if kind == Kind::Chat {
                answer::write(&asked, &replies, id, created, &usage, &error)
            } else {
                if body["store"] != false {
                    let calls = replies.iter().flat_map(|r| &r.calls).map(answer::call_id).collect();
                    let mut kept = self.kept.lock().unwrap();
                    kept.insert(format!("resp_{id}"), (asked.tokens + said, calls));
                }
                responses::write(&self.config, &asked, &replies[0], id, created, &usage, &error, &body)
            }
        };
        Ok(send(answer, behaviour, call.open, call.conn, call.head.http2, seat).await)
    }

    /// The same text has the same embedding; nothing else of it means anything.
    fn embeddings(&self, asked: &Asked, id: &str) -> Answer {
        let data: Vec<Value> = asked
            .embed
            .iter()
            .enumerate()
            .map(|(index, text)| {
                let mut rng = Rng::new(hash(self.config.seed, text.as_bytes()));
                let numbers: Vec<f32> =
                    (0..asked.dimensions).map(|_| rng.below(2_000_000) as f32 / 1e6 - 1.0).collect();
                let embedding = if asked.base64 {
                    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
                    json!(BASE64.encode(bytes))
                } else {
                    json!(numbers)
                };
                json!({"object": "embedding", "index": index, "embedding": embedding})
            })
            .collect();
        let usage = json!({"prompt_tokens": asked.tokens, "total_tokens": asked.tokens});
        let body = json!({"object": "list", "data": data, "model": asked.model, "usage": usage});
        Answer {
            status: 200,
            headers: answer::headers(id, "application/json"),
            events: vec![Event { bytes: body.to_string().into_bytes(), tokens: 0 }],
            streamed: false,
            error_event: Vec::new(),
        }
    }

    /// Credentials, media type and parameters.
    async fn check(&self, call: &Call, kind: Kind) -> Result<(), Refusal> {
        let header = |name: &str| call.head.header(name);
        if header("authorization") != Some(&format!("Bearer {}", self.config.api_key)) {
            let message = "Incorrect API key provided.";
            return Err(Refusal::new(401, Some("invalid_api_key"), message, None));
        }
        let media = header("content-type").and_then(|c| c.split(';').next()).map(str::trim);
        if !media.is_some_and(|m| m.eq_ignore_ascii_case("application/json")) {
            return Err(Refusal::new(400, None, "Unsupported content type: send application/json.", None));
        }
        if !serde_json::from_slice::<Value>(&call.body).is_ok_and(|body| body.is_object()) {
            return Err(Refusal::new(400, None, "We could not parse the JSON body of your request.", None));
        }
        let Some(judge) = &self.judge else { return Ok(()) };
        let api = match kind {
            Kind::Chat => "chat",
            Kind::Responses => "responses",
            Kind::Embeddings => "embeddings",
        };
        let question = json!({"op": "request", "api": api, "body_b64": BASE64.encode(&call.body)});
        let problems = judge.ask(question).await.map_err(|error| {
            // The judge itself failed: no request may pass as judged.
            Refusal::new(500, None, &format!("the judge failed: {error}"), None)
        })?;
        let said: Vec<&str> = problems.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if said.is_empty() { Ok(()) } else { Err(Refusal::new(400, None, &said.join("; "), None)) }
    }
}

fn refuse(call: Call, id: &str, refusal: &Refusal) -> Response<Wire> {
    let mut headers = answer::headers(id, "application/json");
    headers.extend(refusal.retry_after.iter().map(|v| ("retry-after".to_owned(), v.clone())));
    call.open.0.note(|r| r.problems.push(refusal.message.clone()));
    Wire::whole(call.open, refusal.status, &headers, refusal.body().to_string().into_bytes())
}
