//! Compiled configuration of the filters, as JSON in the plugin's `configuration`.
//!
//! Every reference in here is resolved: names that a rule mentions exist, windows are keywords, money is
//! integer. Units are in the field names: `_ms` milliseconds, `_pico` 10⁻¹² USD per token, `_nano` 10⁻⁹ USD.

use serde::{Deserialize, Serialize};

use weir_sorted::Map;

/// What the `exchange` machine of one gateway needs to judge a request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Exchange {
    /// Policy version: shown in spans and in `x-weir-policy`.
    pub version: String,
    /// Largest request body in bytes; a larger one is answered with 413 in the client's dialect.
    pub max_body: u64,
    /// Whole exchange, retries and stream included, in milliseconds; 0 is no limit.
    pub request_timeout_ms: u64,
    /// What happens to a path of no LLM API.
    pub unknown_paths: UnknownPaths,
    /// What the `x-weir-*` response headers tell clients.
    pub headers: ShowHeaders,
    /// How callers are told apart.
    pub identity: Identity,
    /// Label names that a client may set by `x-weir-label-NAME`.
    pub client_labels: Vec<String>,
    /// Who may call, by tenant.
    pub tenants: Vec<Tenant>,
    /// Where requests can go.
    pub providers: Vec<Provider>,
    /// Where no try can pick its cluster anew, the clusters that hold several providers: the request names one in
    /// a header. `None` where each try has a slot of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lists: Option<Vec<List>>,
    /// What may be asked for.
    pub models: Vec<Model>,
    /// Hard limits of where a request may go; all that match apply together.
    pub boundaries: Vec<Boundary>,
    /// Preferences; the first that matches wins.
    pub routes: Vec<Route>,
    /// When and how often another try is made.
    pub retry: Retry,
    /// Limits on what may be spent; all that match apply.
    pub budgets: Vec<Budget>,
    /// The ledger's address; `None` only where no budget exists.
    pub ledger: Option<Ledger>,
    /// What is found and hidden; all that match apply.
    pub redaction: Vec<Redaction>,
    /// Detectors outside; all that match are asked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub analyzers: Vec<Analyzer>,
    /// Where spans go.
    pub telemetry: Telemetry,
}

/// Paths of no LLM API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownPaths {
    /// 404, naming what is served.
    #[default]
    Deny,
    /// Handed on untouched.
    Pass,
}

/// What clients are told in `x-weir-*` response headers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShowHeaders {
    /// Nothing.
    None,
    /// Request id and policy version.
    #[default]
    Ids,
    /// Ids, and why the request went where it went.
    Reasons,
}

/// Credential sources in order; the first whose credential is present decides.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Identity {
    /// Where an API key may be found.
    pub from: Vec<KeySource>,
    /// The tenant of callers without a credential; `None` refuses them.
    pub anonymous: Option<String>,
}

/// A header that carries an API key, or with the scheme `aws4-hmac-sha256` a signature.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeySource {
    /// Lower-case header name.
    pub header: String,
    /// Authentication scheme before the key, compared without case: `bearer`.
    pub scheme: Option<String>,
}

/// One tenant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tenant {
    /// Unique name.
    pub name: String,
    /// Its API keys.
    pub keys: Vec<Key>,
    /// Its key pairs, by which AWS's SDKs sign.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pairs: Vec<KeyPair>,
    /// Models that may be asked for and that may be chosen, `auto` included; empty allows none.
    pub models: Vec<String>,
    /// Labels of all its requests.
    pub labels: Map<String, String>,
    /// Token limits of one request.
    pub limits: Limits,
    /// What the digests of its values are made with, 64 hexadecimal digits; empty where nothing is hashed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub digest_key: String,
    /// What the digests of its end users are made with, 64 hexadecimal digits as bytes; empty where spans have none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user_key: String,
}

/// One API key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Key {
    /// Shown in spans and spend, never secret.
    pub id: String,
    /// SHA-256 of the key, 64 lower-case hex digits.
    pub sha256: String,
    /// Labels that override the tenant's.
    pub labels: Map<String, String>,
    /// Unix seconds from which the key is refused.
    pub expires: Option<u64>,
}

/// A key pair, without its secret.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeyPair {
    /// Shown in spans and spend, never secret.
    pub id: String,
    /// What requests name it by.
    pub access_key: String,
    /// By day (`YYYYMMDD`, UTC) the key derived from the secret for that day, 64 lower-case hex digits: yesterday's,
    /// today's and tomorrow's.
    pub days: Map<String, String>,
    /// Labels that override the tenant's.
    pub labels: Map<String, String>,
    /// Unix seconds from which it is refused.
    pub expires: Option<u64>,
}

/// Token limits of one request; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// More input is refused with 400.
    pub max_input_tokens: Option<u64>,
    /// More output, or none asked, is set to this.
    pub max_output_tokens: Option<u64>,
}

/// A provider's API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProviderKind {
    /// vLLM's OpenAI-compatible server.
    #[default]
    Vllm,
    /// Any OpenAI-compatible server.
    Openai,
    /// Amazon Bedrock Converse.
    Bedrock,
    /// Anthropic Messages.
    Anthropic,
    /// Amazon Bedrock's OpenAI-compatible endpoint.
    BedrockOpenai,
}

/// A provider as Exchange sees it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Provider {
    /// Unique name.
    pub name: String,
    /// Its API.
    pub kind: ProviderKind,
    /// Region that boundaries refer to.
    pub region: String,
    /// Envoy cluster that reaches it.
    pub cluster: String,
    /// It stops generating, and billing, soon after its client hangs up.
    pub stops: bool,
    /// What it is given of a tenant, by the tenant's name: vLLM a cache salt of hexadecimal digits, Bedrock members of
    /// `requestMetadata` as they stand in JSON.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub tenants: Map<String, String>,
}

/// One cluster over several providers, tried in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct List {
    /// Envoy cluster.
    pub cluster: String,
    /// Names of two or more [`Provider`]s, each once.
    pub providers: Vec<String>,
}

/// A model name that clients use.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Model {
    /// Unique name.
    pub name: String,
    /// Other names for it.
    pub aliases: Vec<String>,
    /// Where it is served; tried by `priority`, then `weight`.
    pub targets: Vec<Target>,
}

/// One place where a model is served.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Target {
    /// Name of a [`Provider`].
    pub provider: String,
    /// The provider's own name of the model.
    pub model: String,
    /// Lower is tried first.
    pub priority: u32,
    /// Share among targets of the same priority.
    pub weight: u32,
    /// Vocabulary: `o200k_base`, `o200k_harmony`, `cl100k_base`, or `None` when it is unknown and the byte bound holds.
    pub tokenizer: Option<String>,
    /// The bound of an unknown vocabulary is learned from reported usage; until enough is known it is that of bytes.
    pub learned: bool,
    /// Bedrock is asked by InvokeModel with Anthropic's bodies, not by Converse.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub invoke: bool,
    /// Context window in tokens.
    pub context: u64,
    /// Features: `tools`, `json_schema`, `images`, `documents`, `audio`, `reasoning`.
    pub supports: Vec<String>,
    /// Prices; `None` is unpriced.
    pub price: Option<Price>,
    /// Prices of service tiers where they are not those.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tiers: Vec<Tier>,
}

/// What a service tier costs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tier {
    /// The provider's own name of it, as requests ask and answers say.
    pub name: String,
    /// Its prices.
    pub price: Price,
}

/// Prices in pico-USD (10⁻¹² USD) per token: 1 USD per million tokens is 1,000,000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Price {
    /// Uncached input.
    pub input_pico: u64,
    /// Output.
    pub output_pico: u64,
    /// Input read from the provider's cache; `None` is the input price.
    pub cache_read_pico: Option<u64>,
    /// Input written to the provider's cache; `None` is the input price.
    pub cache_write_pico: Option<u64>,
    /// Output that is reasoning; `None` is the output price.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_pico: Option<u64>,
}

/// A condition: every given field must hold, a list means any of its values, an empty field means everyone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct When {
    /// Tenant names.
    pub tenant: Vec<String>,
    /// Key ids.
    pub key: Vec<String>,
    /// Model names: the asked one in routes, the chosen one in budgets.
    pub model: Vec<String>,
    /// Label values by name.
    pub labels: Map<String, Vec<String>>,
    /// Types of findings, before redaction.
    pub found: Vec<String>,
}

/// Where matching requests may go; an empty list does not restrict.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Boundary {
    /// Unique name.
    pub name: String,
    /// Which requests.
    pub when: When,
    /// Providers allowed.
    pub providers: Vec<String>,
    /// Regions allowed.
    pub regions: Vec<String>,
}

/// A preference.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Route {
    /// Unique name.
    pub name: String,
    /// Which requests.
    pub when: When,
    /// Name of the model to use.
    pub model: String,
    /// Whether targets after the first may be tried; absent is yes.
    pub fallback: Option<bool>,
    /// A copy of some requests, its answer discarded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirror: Option<Mirror>,
}

/// Where copies go: a target of some model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mirror {
    /// Name of a [`Provider`].
    pub provider: String,
    /// The provider's own name of the model.
    pub model: String,
    /// Of a hundred requests.
    pub percent: u32,
}

/// When another try is made, and how long each may take.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// Tries in all, the first included; 0 and 1 mean no retry.
    pub tries: u32,
    /// `connect`, `reset`, `429`, `5xx`.
    pub on: Vec<String>,
    /// Streamed answers: until the first byte of the answer, in milliseconds; 0 is no limit.
    pub first_byte_ms: u64,
    /// Between two pieces of an answer, in milliseconds; 0 is no limit.
    #[serde(skip_serializing_if = "is_zero")]
    pub stall_ms: u64,
    /// Share of the requests in flight that may be repeats at the same provider, in hundredths of a percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<u32>,
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// One budget. Each limit that is given is an instance of its own: both must hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Budget {
    /// Unique name.
    pub name: String,
    /// Which requests.
    pub when: When,
    /// One counter for each value of these: `tenant`, `key`, `model`, or a label name.
    pub each: Vec<String>,
    /// Tokens, input and output together.
    pub tokens: Option<u64>,
    /// Requests.
    pub requests: Option<u64>,
    /// Nano-USD (10⁻⁹ USD).
    pub usd_nano: Option<u64>,
    /// `minute`, `hour`, `day`, `week` or `month`, by the calendar.
    pub window: String,
    /// Hash of when/each/unit/window; a new hash starts a new counter. 16 lower-case hex digits.
    pub definition: String,
    /// What happens without a ledger.
    pub ledger_lost: LedgerLost,
    /// Only counted, never refused.
    pub soft: bool,
    /// The output ceiling may be lowered to what is left, not below this.
    pub min_output: Option<u64>,
    /// Name of the model that serves instead where this one's budget has too little left.
    pub exceeded: Option<String>,
    /// Requests whose cost nothing bounds are let through.
    pub unbounded: bool,
    /// Reserves ahead of the stream, a part at a time.
    pub progressive: bool,
    /// How long a request waits for others' reservations to come back, in milliseconds; 0 is not at all.
    pub wait_ms: u64,
}

/// What happens to requests under a budget whose ledger cannot be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LedgerLost {
    /// 503 after `lost_after`.
    #[default]
    Deny,
    /// The lease in hand may be used up, then 503.
    AllowLocal,
}

/// Where the ledger answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ledger {
    /// Envoy cluster of the control plane's gRPC.
    pub cluster: String,
}

/// What is found in texts, and what happens to it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Redaction {
    /// Unique name.
    pub name: String,
    /// Which requests.
    pub when: When,
    /// Detector types, groups resolved: `email`, `credit_card`, `us_ssn`.
    pub find: Vec<String>,
    /// Words of the house, compared without case.
    pub words: Vec<String>,
    /// Patterns as automata, in base64.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub patterns: Vec<String>,
    /// What happens to a finding.
    pub action: Action,
    /// Applies to what the client sends.
    pub request: bool,
    /// Applies to what the model answers.
    pub response: bool,
    /// What cannot be searched passes, marked.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub pass: bool,
}

/// A detector outside, asked by HTTP for what is in a text.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Analyzer {
    /// Unique name.
    pub name: String,
    /// Which requests.
    pub when: When,
    /// Its Envoy cluster.
    pub cluster: String,
    /// `:authority` of requests to it.
    pub authority: String,
    /// Path of requests to it.
    pub path: String,
    /// Where it stands.
    pub region: String,
    /// What follows the text in a request's JSON object: `,"language":"en"}`.
    pub rest: String,
    /// Type of a finding, ours by its.
    pub types: Map<String, String>,
    /// What happens to a finding.
    pub action: Action,
    /// How long a request waits for all of its texts, in milliseconds.
    pub timeout_ms: u64,
    /// Bytes of the longest text that it is sent.
    pub max_text: u64,
    /// Texts of a request that it is sent at a time.
    pub parallel: u32,
    /// Without its word a request passes, marked.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub pass: bool,
}

/// What happens to a finding, mildest first: of several the greatest wins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Counted only.
    Report,
    /// Replaced by a placeholder that is restored in the answer.
    #[default]
    Tokenize,
    /// Replaced by a digest with the tenant's key.
    Hash,
    /// Replaced by its type.
    Mask,
    /// The request is refused.
    Block,
}

/// Where spans go.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Telemetry {
    /// Envoy cluster of an OTLP collector; `None` emits no spans.
    pub otlp_cluster: Option<String>,
    /// Authority and path prefix of a collector that speaks OTLP/HTTP; `None` speaks gRPC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otlp_http: Option<String>,
    /// Share of traces that are sampled where the caller does not say, in hundredths of a percent; `None` is all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample: Option<u32>,
    /// What costs more than this is kept whatever the share, in nano-USD; `None` is nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample_above: Option<u64>,
    /// Labels that become span attributes.
    pub labels: Vec<String>,
    /// Every prompt is counted, even where nothing depends on it.
    pub count: bool,
    /// Spans show what was said, as far as it is redacted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub content: bool,
    /// Lower-case name of the header that says who the end user is; empty where only bodies do.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user_header: String,
    /// Applications may say which documents they bring.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub retrieval: bool,
    /// The log of decisions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decisions: Option<Decisions>,
}

/// The log of decisions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Decisions {
    /// Envoy cluster of the control plane's gRPC, which keeps it.
    pub cluster: String,
    /// Which requests.
    pub when: When,
    /// A request is refused while its record has no place; else records are dropped, and counted.
    pub deny: bool,
}

/// What the `attempt` machine of one provider's cluster needs. Everything else comes with the request's plan.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Attempt {
    /// Name of the provider.
    pub provider: String,
    /// Its API.
    pub kind: ProviderKind,
    /// `:authority` of requests to it.
    pub authority: String,
    /// Prepended to the API's own path, without a trailing slash: `/openai`.
    pub path_prefix: String,
    /// Whole value of the `authorization` header, for Anthropic of `x-api-key`; `None` sends none (or Envoy's signer
    /// writes it).
    pub authorization: Option<String>,
}

/// What the `attempts` filter of a cluster over several providers needs: the host of a try says which one it is at.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Attempts {
    /// Each as its own cluster's filter has it.
    pub providers: Vec<Attempt>,
}
