//! A simulated vLLM server: chat and text completions, models, tokenize, metrics, its errors and headers.
//!
//! What it answers is shaped after vLLM 0.32; what it cannot know of a real model it fixes by a written
//! rule: prompts cost the chat overhead that OpenAI's cookbook gives (3 per message, 1 more for a name, 3
//! for the reply), tools cost the tokens of their compact JSON, an image a fixed number. Nothing is drawn
//! by chance: a reply follows from the prompt and the seed.

mod answer;
mod metrics;
mod request;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;

use http::Response;
use serde::{Deserialize, Serialize};

use super::book::Record;
use super::control::{Behaviour, Fault};
use super::count::Encoding;
use super::flow::{Abort, Wire, before_headers, send};
use super::reply;
use super::rng::{Rng, hash};
use super::server::{Call, Provider, Server};
use metrics::Engine;
use request::{Kind, Refusal};

/// A model that the server serves.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// `*` stands for any name.
    pub name: String,
    #[serde(default)]
    pub encoding: Encoding,
    /// Prompt and reply together, in tokens.
    #[serde(default = "default_length")]
    pub max_model_len: u32,
    /// Tokens that the chat template says before the first message.
    #[serde(default)]
    pub opening: u32,
}

fn default_length() -> u32 {
    // Above what a 4 MB prompt counts, so that size tests meet the gateway's limits and not this one.
    4_000_000
}

impl Model {
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            encoding: Encoding::default(),
            max_model_len: default_length(),
            opening: 0,
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub listen: String,
    pub models: Vec<Model>,
    /// Asked for as `authorization: Bearer …` where set.
    pub api_key: Option<String>,
    pub seed: u64,
    /// Requests that run at once; the rest waits.
    pub concurrency: usize,
    /// Whether usage carries `prompt_tokens_details.cached_tokens`.
    pub prompt_tokens_details: bool,
    /// Real servers leave the ORCA header out of streamed answers.
    pub orca_on_streams: bool,
    /// Tokens that one image costs.
    pub image_tokens: u32,
    pub defaults: Behaviour,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:0".into(),
            models: vec![Model::named("openai/gpt-oss-20b"), Model::named("openai/gpt-oss-120b")],
            api_key: None,
            seed: 1,
            concurrency: 256,
            prompt_tokens_details: false,
            orca_on_streams: false,
            image_tokens: 765,
            defaults: Behaviour::default(),
        }
    }
}

/// Starts the server on the current runtime.
pub async fn start(config: Config) -> io::Result<Server> {
    for model in &config.models {
        model.encoding.warm().await;
    }
    let (listen, defaults) = (config.listen.clone(), config.defaults.clone());
    let engine = Engine::new(config.concurrency);
    Server::start(&listen, defaults, Arc::new(Vllm { config, engine: Arc::new(engine) })).await
}

/// The same without a socket, for an endpoint of another provider that speaks OpenAI's chat.
pub(super) fn provider(config: Config) -> Arc<Vllm> {
    let engine = Engine::new(config.concurrency);
    Arc::new(Vllm { config, engine: Arc::new(engine) })
}

pub(super) struct Vllm {
    config: Config,
    engine: Arc<Engine>,
}

impl Provider for Vllm {
    async fn answer(self: Arc<Self>, call: Call) -> Result<Response<Wire>, Abort> {
        let route = (call.head.method.as_str().to_owned(), call.head.path.clone());
        let needs_key = route.1.starts_with("/v1/");
        if let Some(key) = self.config.api_key.as_ref().filter(|_| needs_key)
            && call.head.header("authorization") != Some(&format!("Bearer {key}"))
        {
            return Ok(whole(call, 401, r#"{"error":"Unauthorized"}"#.into()));
        }
        match (route.0.as_str(), route.1.as_str()) {
            ("POST", "/v1/chat/completions") => self.generate(call, Kind::Chat).await,
            ("POST", "/v1/completions") => self.generate(call, Kind::Text).await,
            ("POST", "/v1/embeddings") => Ok(self.embed(call)),
            ("POST", "/tokenize") => Ok(self.tokenize(call).await),
            ("POST", "/detokenize") => Ok(self.detokenize(call)),
            ("GET", "/v1/models") => {
                let body = answer::models(&self.config.models);
                Ok(whole(call, 200, body))
            }
            ("GET", "/health" | "/ping") => Ok(whole(call, 200, String::new())),
            ("GET", "/version") => Ok(whole(call, 200, r#"{"version":"0.32.0"}"#.into())),
            ("GET", "/metrics") => {
                let body = self.engine.exposition(&self.config.models);
                let kind = "text/plain; version=0.0.4; charset=utf-8";
                let headers = [("content-type".to_owned(), kind.to_owned())];
                Ok(Wire::whole(call.open, 200, &headers, body.into_bytes()))
            }
            (
                _,
                "/v1/embeddings"
                | "/v1/chat/completions"
                | "/v1/completions"
                | "/tokenize"
                | "/v1/models"
                | "/metrics",
            ) => Ok(whole(call, 405, r#"{"detail":"Method Not Allowed"}"#.into())),
            _ => Ok(whole(call, 404, r#"{"detail":"Not Found"}"#.into())),
        }
    }
}

impl Vllm {
    async fn generate(self: Arc<Self>, call: Call, kind: Kind) -> Result<Response<Wire>, Abort> {
        let read = {
            let (this, body) = (self.clone(), call.body.clone());
            let content_type = call.head.header("content-type").map(str::to_owned);
            off_thread(body.len(), move || request::read(&this.config, kind, content_type.as_deref(), &body))
                .await
        };
        let asked = match read {
            Ok(asked) => asked,
            Err(refusal) => return Ok(refuse(call, &refusal)),
        };
        let entry = call.entry();
        let behaviour = call.controls.take(&asked.prompt_text);
        entry.note(|r| describe(r, &asked));
        before_headers(behaviour.fault.as_ref(), &call.conn, call.head.http2, &entry).await?;
        match &behaviour.fault {
            Some(Fault::Status { code, retry_after, error_type, message }) => {
                let refusal = Refusal::ordered(*code, error_type.as_deref(), message.as_deref());
                let extra = retry_after.iter().map(|v| ("retry-after".to_owned(), v.clone()));
                return Ok(refuse_with(call, &refusal, extra.collect()));
            }
            Some(Fault::ErrorFirstFrame { error_type, message }) if !asked.stream => {
                let refusal = Refusal::ordered(500, error_type.as_deref(), message.as_deref());
                return Ok(refuse(call, &refusal));
            }
            Some(Fault::ContextLength) => {
                return Ok(refuse(call, &Refusal::context(asked.max_model_len, asked.prompt_tokens())));
            }
            _ => {}
        }
        let mut seat = self.engine.clone().enter(&asked.model, asked.prompt_tokens()).await;
        let cached =
            behaviour.cached_tokens.unwrap_or_else(|| self.engine.look_up(&asked.prompts, &asked.salt));
        let replies: Vec<_> = asked
            .asks
            .iter()
            .enumerate()
            .map(|(at, ask)| reply::make(ask, &behaviour, asked.encoding, (at % asked.n) as u64))
            .collect();
        let completion: u32 = replies.iter().map(reply::Reply::tokens).sum();
        entry.note(|r| {
            r.completion_tokens = completion;
            r.cached_tokens = cached;
        });
        seat.plan(entry.clone(), cached, &replies);
        let id = Rng::new(hash(self.config.seed, &entry.number().to_le_bytes())).id(32).to_lowercase();
        let usage = answer::Usage::new(
            asked.prompt_tokens(),
            completion,
            self.config.prompt_tokens_details.then_some(cached),
        );
        let (error_type, message) = match &behaviour.fault {
            Some(
                Fault::ErrorFirstFrame { error_type, message }
                | Fault::ErrorMidStream { error_type, message, .. },
            ) => (error_type.as_deref(), message.as_deref()),
            _ => (None, None),
        };
        let error = Refusal::ordered(500, error_type, message);
        let mut answer = answer::write(&asked, &replies, &id, &usage, &error);
        if !asked.stream || self.config.orca_on_streams {
            answer.headers.extend(self.engine.orca(call.head.header("endpoint-load-metrics-format")));
        }
        Ok(send(answer, behaviour, call.open, call.conn, call.head.http2, seat).await)
    }

    fn embed(&self, call: Call) -> Response<Wire> {
        match request::embeddings(&self.config, &call.body) {
            Ok((model, tokens, answer)) => {
                call.entry().note(|r| {
                    r.model = Some(model);
                    r.prompt_tokens = tokens;
                });
                whole(call, 200, answer)
            }
            Err(refusal) => refuse(call, &refusal),
        }
    }

    async fn tokenize(self: Arc<Self>, call: Call) -> Response<Wire> {
        let (this, body) = (self.clone(), call.body.clone());
        let read = off_thread(body.len(), move || request::tokenize(&this.config, &body)).await;
        match read {
            Ok(answer) => whole(call, 200, answer),
            Err(refusal) => refuse(call, &refusal),
        }
    }

    fn detokenize(&self, call: Call) -> Response<Wire> {
        match request::detokenize(&self.config, &call.body) {
            Ok(answer) => whole(call, 200, answer),
            Err(refusal) => refuse(call, &refusal),
        }
    }
}

/// Long texts are counted off the async threads.
async fn off_thread<T: Send + 'static>(bytes: usize, work: impl FnOnce() -> T + Send + 'static) -> T {
    if bytes < 64 << 10 {
        return work();
    }
    tokio::task::spawn_blocking(work).await.expect("reading a request does not panic")
}

fn describe(record: &mut Record, asked: &request::Asked) {
    record.model = Some(asked.model.clone());
    record.streamed = asked.stream;
    record.prompt_tokens = asked.prompt_tokens();
}

fn whole(call: Call, status: u16, body: String) -> Response<Wire> {
    let headers = [("content-type".to_owned(), "application/json".to_owned())];
    Wire::whole(call.open, status, &headers, body.into_bytes())
}

fn refuse(call: Call, refusal: &Refusal) -> Response<Wire> {
    refuse_with(call, refusal, Vec::new())
}

fn refuse_with(call: Call, refusal: &Refusal, mut headers: Vec<(String, String)>) -> Response<Wire> {
    headers.push(("content-type".to_owned(), "application/json".to_owned()));
    call.open.0.note(|r| r.problems.push(refusal.message.clone()));
    Wire::whole(call.open, refusal.status, &headers, refusal.body().into_bytes())
}
