//! Providers and models: where a request can go, and what a target costs.

use std::collections::BTreeMap;

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::budget::Window;
use super::date::Date;
use super::quantity::{Count, UsdPerMillion};
use super::scalar::Many;

/// A place that serves models.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// Unique name; its Envoy cluster is `weir-NAME`.
    pub name: String,
    /// Its API.
    pub kind: ProviderKind,
    /// Any name, boundaries refer to it; for `bedrock` and `bedrock_openai` the AWS region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Replicas: `http(s)://HOST[:PORT][/PREFIX]`, of one scheme and prefix.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<String>,
    /// The only endpoint, in place of `endpoints`; `bedrock`, `bedrock_openai`, `openai` and `anthropic` have a default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// How a replica is picked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balance: Option<Balance>,
    /// Credentials that are sent to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// What it charges when the client hangs up. Left out: `bills_all`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_abort: Option<OnAbort>,
    /// `vllm` only: from this secret, of at least 16 characters, each tenant has a `cache_salt` of its own, and no answer's
    /// speed tells it what others have asked. It stands in the place of a client's own. Left out: prefixes are shared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_salt: Option<Secret>,
    /// `bedrock` only: what its invocation logs say of a request's tenant, as `requestMetadata`: `tenant`, its name, and
    /// names of its labels; 16 at most. They go before a client's entries of the same names.
    #[serde(default, skip_serializing_if = "Many::is_empty")]
    pub request_metadata: Many<String>,
}

/// A provider's API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ProviderKind {
    /// vLLM's OpenAI-compatible server.
    #[default]
    Vllm,
    /// Any OpenAI-compatible server.
    Openai,
    /// Anthropic Messages.
    Anthropic,
    /// Amazon Bedrock: Converse, or InvokeModel where a target says so.
    Bedrock,
    /// Amazon Bedrock's own OpenAI-compatible endpoint.
    BedrockOpenai,
}

/// How a replica is picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// By the prompt's prefix, so that the KV cache is met again; load bounded.
    Prefix,
    /// The fewest requests in flight.
    LeastRequest,
    /// In turn.
    RoundRobin,
}

/// Credentials for a provider; never a literal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Auth {
    /// Signed by Envoy's AWS chain.
    Aws(AwsAuth),
    /// `authorization: Bearer …`.
    Bearer(Secret),
}

/// Which AWS credentials.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum AwsAuth {
    /// Envoy's chain: environment, web identity, pod identity, instance.
    #[default]
    Default,
}

/// Where a secret value is found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Secret {
    /// An environment variable of the control plane.
    Env(String),
    /// A file that the control plane reads; surrounding whitespace is dropped.
    File(String),
    /// A Kubernetes secret, `NAME` or `NAME/KEY`.
    Secret(String),
}

/// What a provider charges when the client hangs up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum OnAbort {
    /// What it had delivered.
    Stops,
    /// Everything it would have produced.
    #[default]
    BillsAll,
}

/// A model name that clients use.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Unique name.
    pub name: String,
    /// Names that unchanged applications already send.
    #[serde(default, skip_serializing_if = "Many::is_empty")]
    pub aliases: Many<String>,
    /// Where it is served: by priority, then weight; only those that support the request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<Target>,
}

/// One place where a model is served.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Name of a provider.
    pub provider: String,
    /// The provider's own name of the model.
    pub model: String,
    /// Of `bedrock`: how the model is asked. Left out: `converse`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<TargetApi>,
    /// Lower is tried first. Left out: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u32>,
    /// Share among targets of one priority. Left out: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// `o200k_base`, `o200k_harmony`, `cl100k_base`, or `learned`; left out: the bound by bytes holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<String>,
    /// What budgets reserve for input that cannot be counted exactly: an unknown vocabulary, tools. Left out: `calibrated`
    /// where `tokenizer` is `learned`, else `proven`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound: Option<TokenBound>,
    /// Context window in tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<Count>,
    /// What it can do beyond text.
    #[serde(default, skip_serializing_if = "Many::is_empty")]
    pub supports: Many<Feature>,
    /// USD per 1M tokens, or several with the dates from which they hold; left out: unpriced.
    #[serde(default, skip_serializing_if = "Many::is_empty")]
    pub price: Many<Price>,
    /// Service tier asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_tier: Option<ServiceTier>,
    /// The provider's own limit, avoided before it throttles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<Quota>,
    /// Cache points put in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_prefix: Option<CachePrefix>,
}

/// Which of Bedrock's APIs a target is asked by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum TargetApi {
    /// Converse and ConverseStream, alike for all models.
    #[default]
    Converse,
    /// InvokeModel with Anthropic's bodies: what Anthropic's clients send passes as it is.
    Invoke,
}

/// An upper bound of input tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum TokenBound {
    /// By bytes: never exceeded.
    #[default]
    Proven,
    /// Learned from reported usage, after 1,000 requests of a kind: exceeded by 1 in 1,000. Until then by bytes.
    Calibrated,
}

/// What a target can do beyond text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Feature {
    /// Tool calls.
    Tools,
    /// Answers held to a JSON Schema.
    JsonSchema,
    /// Images in the prompt.
    Images,
    /// Documents in the prompt.
    Documents,
    /// Audio in the prompt.
    Audio,
    /// Reasoning, with its effort asked for.
    Reasoning,
}

impl Feature {
    /// The name as it is written.
    pub fn name(self) -> &'static str {
        match self {
            Feature::Tools => "tools",
            Feature::JsonSchema => "json_schema",
            Feature::Images => "images",
            Feature::Documents => "documents",
            Feature::Audio => "audio",
            Feature::Reasoning => "reasoning",
        }
    }
}

/// Exact USD per 1M tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// From when it holds, until one with a later date does. Left out: ever since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Date>,
    /// Uncached input.
    pub input: UsdPerMillion,
    /// Output.
    pub output: UsdPerMillion,
    /// Input read from the provider's cache. Left out: as `input`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_read: Option<UsdPerMillion>,
    /// Input written to the provider's cache. Left out: as `input`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<UsdPerMillion>,
    /// Output that is reasoning. Left out: as `output`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<UsdPerMillion>,
    /// Service tiers with prices of their own, by the provider's name of the tier: `flex`, `priority`, `batch`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tiers: BTreeMap<String, TierPrice>,
}

/// Exact USD per 1M tokens in a service tier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TierPrice {
    /// Uncached input.
    pub input: UsdPerMillion,
    /// Output.
    pub output: UsdPerMillion,
    /// Input read from the provider's cache. Left out: as `input`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_read: Option<UsdPerMillion>,
    /// Input written to the provider's cache. Left out: as `input`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<UsdPerMillion>,
    /// Output that is reasoning. Left out: as `output`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<UsdPerMillion>,
}

/// A table of prices, a file of its own that a policy names in `prices`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PriceTable {
    /// What each model costs. They go before what the policy's targets say.
    pub prices: Vec<PricedModel>,
}

/// What one model of one provider costs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PricedModel {
    /// The policy's name of the provider.
    pub provider: String,
    /// The provider's own name of the model.
    pub model: String,
    /// USD per 1M tokens, or several with the dates from which they hold.
    pub price: Many<Price>,
}

/// Service tier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ServiceTier {
    /// The provider's own default.
    #[default]
    Default,
    /// Cheaper and slower.
    Flex,
    /// Dearer and faster.
    Priority,
    /// Bought in advance.
    Reserved,
}

/// A provider's own limit of one model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Quota {
    /// Tokens a window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Count>,
    /// Requests a window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<Count>,
    /// Length of the window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
}

/// When cache points are put in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct CachePrefix {
    /// Prefixes shorter than this get none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_tokens: Option<Count>,
}
