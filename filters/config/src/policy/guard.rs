//! What is done to texts, and what is told about requests: redaction, guardrails, prompts, context,
//! validation, alerts, telemetry.

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::quantity::{Count, Duration, Percent, Size, Usd};
use super::rule::{When, is_default};
use super::scalar::{self, Many};
use super::upstream::Secret;

/// What is found, and what happens to it. Per finding the strictest matching rule wins.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Redaction {
    /// Unique name.
    pub name: String,
    /// Which requests.
    #[serde(default, skip_serializing_if = "is_default")]
    pub when: When,
    /// Detectors and groups of detectors.
    #[serde(default, skip_serializing_if = "Many::is_empty")]
    pub find: Many<String>,
    /// Words of the house, case ignored.
    #[serde(default, skip_serializing_if = "Many::is_empty")]
    pub words: Many<String>,
    /// Regular expressions of bounded length; ASCII, on text whose look-alike characters are folded.
    #[serde(default, skip_serializing_if = "Many::is_empty")]
    pub patterns: Many<String>,
    /// What happens to a finding.
    #[serde(rename = "do")]
    pub action: Action,
    /// What digests are derived from, for `hash`; each tenant gets a key of its own from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Secret>,
    /// Where. Left out: `request`.
    #[serde(default, rename = "in", skip_serializing_if = "Many::is_empty")]
    pub within: Many<Direction>,
    /// What happens when it cannot be looked for. Left out: `deny`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnFailure>,
}

/// What happens to a finding, mildest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Counted only.
    Report,
    /// Replaced by a placeholder that is restored in the answer.
    #[default]
    Tokenize,
    /// Replaced by a keyed digest.
    Hash,
    /// Replaced by its type.
    Mask,
    /// Refused.
    Block,
}

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// What the client sends.
    Request,
    /// What the model answers.
    Response,
}

/// What happens when a check cannot be made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// Refuse.
    #[default]
    Deny,
    /// Go on, marked.
    Pass,
}

/// A verdict of others.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Guardrail {
    /// Unique name.
    pub name: String,
    /// Which requests.
    #[serde(default, skip_serializing_if = "is_default")]
    pub when: When,
    /// An Amazon Bedrock guardrail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bedrock: Option<BedrockGuardrail>,
    /// A detector with Presidio's HTTP API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analyzer: Option<Analyzer>,
    /// Where. Left out: `request`.
    #[serde(default, rename = "in", skip_serializing_if = "Many::is_empty")]
    pub within: Many<Direction>,
    /// How long to wait for the verdict. Left out: `500ms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// What happens without a verdict. Left out: `deny`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnFailure>,
}

/// An Amazon Bedrock guardrail.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct BedrockGuardrail {
    /// Name of a provider of kind `bedrock`.
    pub provider: String,
    /// Its identifier.
    #[serde(deserialize_with = "scalar::plain")]
    pub id: String,
    /// Its version.
    #[serde(deserialize_with = "scalar::plain")]
    pub version: String,
}

/// A detector outside, for what no pattern sees: names, addresses. It is asked as Presidio's analyzer is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Analyzer {
    /// `http(s)://HOST[:PORT][/PREFIX]`; texts go to `PREFIX/analyze`.
    pub url: String,
    /// Types that it is asked for: ours, or its own in capitals.
    #[serde(default, skip_serializing_if = "Many::is_empty")]
    pub find: Many<String>,
    /// What happens to a finding.
    #[serde(rename = "do")]
    pub action: Action,
    /// What digests are derived from, for `hash`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Secret>,
    /// Language of the texts, two letters. Left out: `en`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// How sure it must be. Left out: its own default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<Percent>,
    /// Where it stands: boundaries that allow regions hold for it too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// A longer text is not sent to it and counts as a failure. Left out: `100KiB`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_text: Option<Size>,
    /// Texts of one request that it is sent at a time. Left out: 8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parallel: Option<u32>,
}

/// A system prompt put in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Prompt {
    /// Unique name.
    pub name: String,
    /// Which requests.
    #[serde(default, skip_serializing_if = "is_default")]
    pub when: When,
    /// Where. Left out: `before`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// Its texts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<PromptVersion>,
}

/// Where a system prompt is put, by the client's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// Before it.
    #[default]
    Before,
    /// After it.
    After,
    /// In its place.
    Replace,
}

/// One text of a prompt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PromptVersion {
    /// Unique in its prompt.
    pub id: u64,
    /// Share. Left out: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// The text.
    pub system: String,
}

/// How long conversations are cut to fit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Context {
    /// Unique name.
    pub name: String,
    /// Which requests.
    #[serde(default, skip_serializing_if = "is_default")]
    pub when: When,
    /// What they are cut to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_input_tokens: Option<Count>,
    /// What is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drop: Option<Drop>,
    /// Whether repeated texts are sent once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dedupe: Option<bool>,
}

/// What is left out of a conversation that is too long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Drop {
    /// The oldest turns; never system, never half of a tool call.
    #[default]
    OldestTurns,
}

/// How answers are checked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Validate {
    /// Unique name.
    pub name: String,
    /// Which requests.
    #[serde(default, skip_serializing_if = "is_default")]
    pub when: When,
    /// What happens to an answer that fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_invalid: Option<OnInvalid>,
    /// What happens in streams.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub streams: Option<Streams>,
}

/// What happens to an answer that fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct OnInvalid {
    /// So many times again, then 502.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<u32>,
}

/// How streamed answers are checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Streams {
    /// Passed on and reported.
    #[default]
    Report,
    /// Held until they are whole.
    Hold,
}

/// Whom to tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Notify {
    /// URL that gets a POST.
    pub webhook: String,
    /// Of what.
    #[serde(default, skip_serializing_if = "Many::is_empty")]
    pub on: Many<NotifyOn>,
}

/// What is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum NotifyOn {
    /// A budget passed an alert mark.
    Budget,
    /// A gateway refused a configuration.
    Nack,
    /// A guardrail could not be asked.
    GuardFailure,
    /// A request had no price.
    Unpriced,
}

/// Spans and the decision log.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Telemetry {
    /// `http://HOST:PORT` of an OTLP collector, for OTLP/HTTP with a path that stands before `/v1/traces` where it has
    /// one; left out: no spans.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otlp: Option<String>,
    /// How the collector is spoken to. Left out: `grpc`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otlp_protocol: Option<OtlpProtocol>,
    /// Share of requests that get a span; errors, refusals and aborts always do. Left out: `100%`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample: Option<Percent>,
    /// Requests that have a span whatever the share and whatever their caller says of its trace: those that cost more
    /// than this. A try of theirs has a span of its own where the share says so: its cost is not known when it ends.
    /// Left out: no cost does that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample_above: Option<SampleAbove>,
    /// Prompt and answer in spans, of requests that a rule of `redaction` matches. Left out: `none`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    /// Which prompts are counted before they are sent. Left out: `lazy`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<Counting>,
    /// Labels that become span attributes.
    #[serde(skip_serializing_if = "Many::is_empty")]
    pub labels: Many<String>,
    /// End users in spans, as digests. Left out: they are nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_user: Option<EndUser>,
    /// `true`: applications may say in `x-weir-documents` (ids, with commas between) and `x-weir-retrieval-ms` which
    /// documents they have put into a prompt and how long it took to find them; both go into its span and no further.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retrieval: Option<bool>,
    /// The log of decisions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decisions: Option<Decisions>,
}

/// Whose request it is, behind the application: said by a header, else by the body's `safety_identifier`, `user` or
/// `metadata.user_id`, at most 1,024 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct EndUser {
    /// A header that goes before the body's word, case ignored; no provider sees it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// What the digests are made with, at least 16 characters; each tenant has a key of its own from it.
    pub key: Secret,
}

/// Above what a request is worth a span in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SampleAbove {
    /// What it cost, in USD.
    pub usd: Usd,
}

/// How a collector is spoken to, by the names of `OTEL_EXPORTER_OTLP_PROTOCOL`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub enum OtlpProtocol {
    /// OTLP/gRPC, port 4317 as a rule.
    #[default]
    #[serde(rename = "grpc")]
    Grpc,
    /// OTLP/HTTP with protobuf bodies, over HTTP/1.1; port 4318 as a rule.
    #[serde(rename = "http/protobuf")]
    HttpProtobuf,
}

/// Which prompts are counted before they are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Counting {
    /// Those where a limit, a budget that is nearly used up, or a provider without usage makes the count decide.
    #[default]
    Lazy,
    /// All, so that every span has the count.
    Always,
}

/// Prompt and answer in spans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// Left out.
    #[default]
    None,
    /// As redacted: all is masked that the rules look for, in either direction, reported or not. At most 16 KiB each of
    /// prompt (its newest messages) and answer; no bytes of pictures, sound or files, no signed reasoning.
    Redacted,
}

/// The log of decisions: hash-chained, without content.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Decisions {
    /// Path of the file.
    pub file: String,
    /// Which requests.
    #[serde(default, skip_serializing_if = "is_default")]
    pub when: When,
    /// What happens when it cannot be written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnFailure>,
}
