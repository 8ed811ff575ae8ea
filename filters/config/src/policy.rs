//! The policy file's types: one schema for the file, the REST API and the Kubernetes resources.
//!
//! Every organ that the file may name has its type here, whether it is built or not, so that a complete
//! policy parses from the first day on; which fields are not built yet is `weir-model`'s knowledge. A type
//! keeps what was written and no more: a field left out is `None` or empty, and its default is applied by
//! the compiler. Quantities are integers in the unit that their type names; nothing passes through a float.
//!
//! Errors carry no position here. The reader in `weir-model` adds line, column and the nearest known name.

mod budget;
mod date;
mod guard;
mod identity;
mod quantity;
mod rule;
mod scalar;
mod upstream;

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use budget::{
    Budget, BudgetLimit, BudgetMode, Engine, Exceeded, Ledger, LedgerLost, Reserve, Unbounded, WhenShort,
    Window, WindowKeyword,
};
pub use date::Date;
pub use guard::{
    Action, Analyzer, BedrockGuardrail, Content, Context, Counting, Decisions, Direction, Drop, EndUser,
    Guardrail, Notify, NotifyOn, OnFailure, OnInvalid, OtlpProtocol, Place, Prompt, PromptVersion, Redaction,
    SampleAbove, Streams, Telemetry, Validate,
};
pub use identity::{ApiKey, Identity, IdentitySource, Jwt, Key, Limits, Mtls, Sigv4, Tenant};
pub use quantity::{BadQuantity, Count, Duration, Percent, Size, Usd, UsdPerMillion};
pub use rule::{Boundary, Mirror, Range, Retry, RetryOn, Route, ToolRule, Use, When};
pub use scalar::{Many, SCALAR};
pub use upstream::{
    Auth, AwsAuth, Balance, CachePrefix, Feature, Model, OnAbort, Price, PriceTable, PricedModel, Provider,
    ProviderKind, Quota, Secret, ServiceTier, Target, TargetApi, TierPrice, TokenBound,
};

/// A whole policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Version of this schema.
    #[serde(rename = "apiVersion")]
    pub api_version: ApiVersion,
    /// `false`: decide, count and report everything; change and refuse nothing. Left out: `true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enforce: Option<bool>,
    /// IANA time zone of calendar windows; weeks start on Monday. Left out: `UTC`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// The listener that Weir writes; left out when the filters are injected into a gateway of others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<Gateway>,
    /// Where requests can go.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub providers: Vec<Provider>,
    /// What may be asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<Model>,
    /// A file with a table of prices, relative to the policy's own folder. `weir prices update` writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prices: Option<String>,
    /// Hard limits of where a request may go; all that match apply together.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub boundaries: Vec<Boundary>,
    /// Preferences; the first that matches wins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
    /// When another try is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// How callers are told apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// Who may call.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tenants: Vec<Tenant>,
    /// What may be spent; all that match apply.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub budgets: Vec<Budget>,
    /// Where spending is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger: Option<Ledger>,
    /// What is found in texts, and what happens to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redaction: Vec<Redaction>,
    /// Verdicts of others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub guardrails: Vec<Guardrail>,
    /// System prompts put in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prompts: Vec<Prompt>,
    /// Long conversations cut to fit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub context: Vec<Context>,
    /// Answers checked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub validate: Vec<Validate>,
    /// Whom to tell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notify: Vec<Notify>,
    /// Spans and the decision log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub telemetry: Option<Telemetry>,
}

/// Version of the policy schema.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub enum ApiVersion {
    /// The only one so far.
    #[default]
    #[serde(rename = "weir.dev/v1")]
    V1,
}

/// The listener and what holds for every request on it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Gateway {
    /// `IP:PORT`. Anything but loopback needs `tls`. Left out: `127.0.0.1:8080`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<String>,
    /// Certificates of the listener.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Larger bodies get 413. Left out: `32MiB`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_body: Option<Size>,
    /// Whole exchange, retries and stream included. Left out: `10m`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_timeout: Option<Duration>,
    /// Paths of no LLM API. Left out: `deny`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown_paths: Option<UnknownPaths>,
    /// What `x-weir-*` response headers tell clients. Left out: `ids`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub headers: Option<Headers>,
}

/// TLS of the listener: paths of PEM files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// Certificate chain.
    pub cert: String,
    /// Private key.
    pub key: String,
    /// Authorities whose client certificates are accepted; left out: none is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<String>,
}

/// Paths of no LLM API. LLM paths that are not understood are always denied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum UnknownPaths {
    /// 404.
    #[default]
    Deny,
    /// Handed on untouched.
    Pass,
}

/// What clients are told in `x-weir-*` response headers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Headers {
    /// Nothing.
    None,
    /// Request id and policy version.
    #[default]
    Ids,
    /// Ids, and why the request went where it went.
    Reasons,
}
