//! Simulated Amazon Bedrock runtime: Converse and ConverseStream, InvokeModel and its stream, and the OpenAI-compatible
//! endpoint below `/openai`, judged by botocore.
//!
//! Requests are checked by botocore's own service model and signer ([`Judge`]), then by the rules that
//! Bedrock applies to conversations. Usage has a rule of its own, since real models' tokenizers are not
//! public: o200k tokens of every text (system, messages, tool names, descriptions, schemas and results, JSON
//! in compact form), a fixed number per message, per prompt and per image, and hidden tokens when there are
//! tools. What lies before the last cache point is written to the cache the first time and read after.

mod answer;
mod invoke;
mod judge;
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
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::control::{Behaviour, Bill, Fault};
use super::count::Encoding;
use super::flow::{Abort, Wire, before_headers, send};
use super::reply;
use super::rng::{Rng, hash};
use super::server::{Call, Provider, Server};
use super::vllm;
pub use judge::Judge;
use request::Refusal;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub listen: String,
    /// Model ids served; `*` stands for any.
    pub models: Vec<String>,
    /// Region that signatures must name; absent: any.
    pub region: Option<String>,
    pub access_key: String,
    pub secret_key: String,
    pub session_token: Option<String>,
    /// Bedrock API keys accepted as `authorization: Bearer …`.
    pub api_keys: Vec<String>,
    /// Off: requests without authorization pass too, and signatures are not looked at.
    pub check_signature: bool,
    /// Off: no judge of the parameters.
    pub check_parameters: bool,
    /// Seconds that a signature may be old; absent: any.
    pub max_skew_s: Option<u32>,
    /// Host that requests must be for; absent: any.
    pub host: Option<String>,
    /// As the strictest models: the user begins, roles alternate, no text block is blank. Off: as recorded
    /// calls show that some models take it.
    pub strict: bool,
    pub seed: u64,
    pub concurrency: usize,
    /// Prompt tokens above which the input is too long.
    pub context: u32,
    pub message_tokens: u32,
    pub prompt_tokens: u32,
    pub image_tokens: u32,
    /// Added when the request has tools, as real models add a prompt of their own.
    pub hidden_tool_tokens: u32,
    /// And up to so many more, by the request.
    pub hidden_tool_spread: u32,
    /// The vocabulary of every model.
    pub encoding: Encoding,
    /// Text block before tool calls; empty: none.
    pub lead_in: String,
    pub defaults: Behaviour,
}

impl Default for Config {
    fn default() -> Self {
        let models = [
            "openai.gpt-oss-20b-1:0",
            "openai.gpt-oss-120b-1:0",
            "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
            "us.amazon.nova-lite-v1:0",
        ];
        Self {
            listen: "127.0.0.1:0".into(),
            models: models.map(str::to_owned).to_vec(),
            region: None,
            access_key: "AKIDEXAMPLE".into(),
            secret_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into(),
            session_token: None,
            api_keys: Vec::new(),
            check_signature: true,
            check_parameters: true,
            max_skew_s: Some(300),
            host: None,
            strict: true,
            seed: 2,
            concurrency: 256,
            context: 4_000_000,
            message_tokens: 4,
            prompt_tokens: 3,
            image_tokens: 1000,
            hidden_tool_tokens: 0,
            hidden_tool_spread: 0,
            encoding: ENCODING,
            lead_in: "I will look that up.".into(),
            defaults: Behaviour::default(),
        }
    }
}

/// The vocabulary of every simulated Bedrock model, unless told otherwise.
const ENCODING: Encoding = Encoding::O200kBase;

/// Starts the server on the current runtime; fails where the judge is wanted and cannot be started.
pub async fn start(config: Config) -> io::Result<Server> {
    let judge = match config.check_signature || config.check_parameters {
        true => Some(Judge::start().await?),
        false => None,
    };
    config.encoding.warm().await;
    let seats = Arc::new(Semaphore::new(config.concurrency.max(1)));
    let (listen, defaults) = (config.listen.clone(), config.defaults.clone());
    let models = config
        .models
        .iter()
        .map(|name| vllm::Model { encoding: config.encoding, ..vllm::Model::named(name) });
    let compatible = vllm::provider(vllm::Config { models: models.collect(), ..vllm::Config::default() });
    let invoke = invoke::Invoke::new(config.seed, &config.lead_in);
    let provider = Bedrock { config, judge, seats, cache: Mutex::default(), compatible, invoke };
    Server::start(&listen, defaults, Arc::new(provider)).await
}

struct Bedrock {
    config: Config,
    judge: Option<Judge>,
    seats: Arc<Semaphore>,
    /// Hashes of the prefixes in the cache.
    cache: Mutex<HashSet<u64>>,
    /// Answers below `/openai`.
    compatible: Arc<vllm::Vllm>,
    invoke: invoke::Invoke,
}

impl Provider for Bedrock {
    async fn answer(self: Arc<Self>, mut call: Call) -> Result<Response<Wire>, Abort> {
        let id = Rng::new(hash(self.config.seed, &call.entry().number().to_le_bytes())).uuid();
        let target = request::Target::find(&call.head.path).filter(|_| call.head.method == "POST");
        let Some(target) = target else {
            let Some(path) = call.head.path.strip_prefix("/openai").map(str::to_owned) else {
                return Ok(refuse(call, &id, &Refusal::unknown_operation()));
            };
            if let Err(refusal) = self.authorized(&call, None).await {
                return Ok(refuse(call, &id, &refusal));
            }
            call.head.path = path;
            return self.compatible.clone().answer(call).await;
        };
        call.entry().note(|r| {
            r.model = Some(target.model.clone());
            r.streamed = target.stream;
            r.canonical_path = Some(target.canonical);
        });
        match self.converse(call, &target, &id).await {
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

impl Bedrock {
    async fn converse(
        self: Arc<Self>,
        call: Call,
        target: &request::Target,
        id: &str,
    ) -> Result<Response<Wire>, Failed> {
        let refused = |call: Call, refusal: Refusal| Failed::Refused(Box::new(call), refusal);
        if let Err(refusal) = self.check(&call, target).await {
            return Err(refused(call, refusal));
        }
        if target.invoke {
            return self.invoke(call, target, id).await;
        }
        let read = {
            let (this, body) = (self.clone(), call.body.clone());
            let work = move || request::read(&this.config, &body);
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
        let mut behaviour = call.controls.take(&asked.ask.prompt);
        // What Bedrock generates is billed whether or not it is read.
        behaviour.bill.get_or_insert(Bill::All);
        entry.note(|r| r.prompt_tokens = asked.tokens);
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
                if let Some(name) = error_type {
                    error.0 = request::lower_first(name);
                }
                error.1 = message.clone();
            }
            _ => {}
        }
        let seat = self.seats.clone().acquire_owned().await.ok();
        let reply = reply::make(&asked.ask, &behaviour, self.config.encoding, 0);
        let usage = self.usage(&asked, &behaviour, reply.tokens());
        entry.note(|r| {
            r.completion_tokens = reply.tokens();
            r.cached_tokens = usage.cache_read;
            r.cache_write_tokens = usage.cache_write;
        });
        let made = answer::Made { id, asked: &asked, reply: &reply, usage, error, seed: entry.number() };
        let answer = if target.stream { made.stream() } else { made.unary() };
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

    /// Authorization, host, model and parameters, in the order in which AWS looks at them.
    async fn check(&self, call: &Call, target: &request::Target) -> Result<(), Refusal> {
        let problems = self.authorized(call, Some(target)).await?;
        let known = self.config.models.iter().any(|m| *m == target.model || m == "*");
        if !known {
            return Err(Refusal::validation("The provided model identifier is invalid."));
        }
        let media = call.head.header("content-type").and_then(|c| c.split(';').next()).map(str::trim);
        if !media.is_some_and(|m| m.eq_ignore_ascii_case("application/json")) {
            return Err(Refusal::media());
        }
        if !problems.is_empty() {
            return Err(Refusal::validation(&problems.join("; ")));
        }
        Ok(())
    }

    /// Authorization and host; the problems of the parameters are told, not judged.
    async fn authorized(
        &self,
        call: &Call,
        target: Option<&request::Target>,
    ) -> Result<Vec<String>, Refusal> {
        let host = call.head.header("host").or_else(|| call.head.header(":authority")).unwrap_or_default();
        if let Some(wanted) = self.config.host.as_ref().filter(|w| *w != host) {
            return Err(Refusal::signature(&format!("the request is for host {host}, not {wanted}")));
        }
        let given = call.head.header("authorization").unwrap_or_default();
        let bearer = given.strip_prefix("Bearer ");
        let by_key = bearer.is_some_and(|key| self.config.api_keys.iter().any(|k| k == key));
        let signed = self.config.check_signature && !by_key;
        if signed && bearer.is_some() {
            return Err(Refusal::access(
                "UnrecognizedClientException",
                "The security token included in the request is invalid.",
            ));
        }
        if signed && given.is_empty() {
            return Err(Refusal::access(
                "MissingAuthenticationTokenException",
                "Missing Authentication Token",
            ));
        }
        let verdict = match &self.judge {
            Some(judge) => {
                judge.ask(self.question(call, target, host, signed)).await.map_err(Refusal::judge)?
            }
            None => Value::Null,
        };
        let said = |value: &Value| -> Vec<String> {
            value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        if let Some(error) = verdict["signature_error"].as_str() {
            let class = "UnrecognizedClientException";
            return Err(Refusal::access(
                class,
                &format!("The security token included in the request is invalid. ({error})"),
            ));
        }
        let reasons = said(&verdict["signature"]);
        if !reasons.is_empty() {
            return Err(Refusal::signature(&reasons.join("; ")));
        }
        Ok(said(&verdict["parameters"]))
    }

    fn question(&self, call: &Call, target: Option<&request::Target>, host: &str, signed: bool) -> Value {
        let mut headers: Vec<_> =
            call.head.headers.iter().filter(|(n, _)| !n.starts_with(':')).cloned().collect();
        if call.head.header("host").is_none() {
            headers.push(("host".into(), host.into()));
        }
        json!({
            "op": "judge",
            "operation": if target.is_some_and(|t| t.stream) { "ConverseStream" } else { "Converse" },
            "check_signature": signed,
            // The body of InvokeModel is bytes to botocore.
            "check_parameters": self.config.check_parameters && target.is_some_and(|t| !t.invoke),
            "method": call.head.method.as_str(),
            "path": call.head.path,
            "query": call.head.query,
            "headers": headers,
            "body_b64": BASE64.encode(&call.body),
            "model_id": target.map(|target| target.segment.as_str()),
            "access_key": self.config.access_key,
            "secret_key": self.config.secret_key,
            "session_token": self.config.session_token,
            "region": self.config.region,
            "max_skew_s": self.config.max_skew_s,
        })
    }
}

fn refuse(call: Call, id: &str, refusal: &Refusal) -> Response<Wire> {
    let mut headers = vec![
        ("x-amzn-requestid".to_owned(), id.to_owned()),
        ("content-type".to_owned(), "application/json".to_owned()),
        ("x-amzn-errortype".to_owned(), refusal.header()),
    ];
    headers.extend(refusal.retry_after.iter().map(|v| ("retry-after".to_owned(), v.clone())));
    call.open.0.note(|r| r.problems.push(format!("{}: {}", refusal.class, refusal.message)));
    Wire::whole(call.open, refusal.status, &headers, refusal.body().into_bytes())
}
