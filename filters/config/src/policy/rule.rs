//! Rules by which a request's way is chosen: conditions, boundaries, routes, retries.

#[cfg(feature = "schema")]
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

#[cfg(feature = "schema")]
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize, Serializer};

use super::quantity::{BadQuantity, Count, Duration, Percent};
use super::scalar::{self, Many};

/// A condition: all that is given must hold, a list means any of its values; empty means everyone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct When {
    /// Tenant names.
    #[serde(skip_serializing_if = "Many::is_empty")]
    pub tenant: Many<String>,
    /// Key ids.
    #[serde(skip_serializing_if = "Many::is_empty")]
    pub key: Many<String>,
    /// Model names: the asked one in routes, the chosen one in budgets.
    #[serde(skip_serializing_if = "Many::is_empty")]
    pub model: Many<String>,
    /// Label values by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, Many<String>>,
    /// Detectors that found something, before redaction.
    #[serde(skip_serializing_if = "Many::is_empty")]
    pub found: Many<String>,
    /// Counted input tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<Range>,
    /// Whether the request offers tools.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<bool>,
    /// The response format asked for.
    #[serde(skip_serializing_if = "Many::is_empty")]
    pub response_format: Many<String>,
}

/// A range of counts, both ends included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Range {
    /// At least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<Count>,
    /// At most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<Count>,
}

/// Where matching requests may go; what is left out does not restrict.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Boundary {
    /// Unique name.
    pub name: String,
    /// Which requests.
    #[serde(default, skip_serializing_if = "is_default")]
    pub when: When,
    /// Providers allowed.
    #[serde(default, skip_serializing_if = "Many::is_empty")]
    pub providers: Many<String>,
    /// Regions allowed.
    #[serde(default, skip_serializing_if = "Many::is_empty")]
    pub regions: Many<String>,
    /// Tools allowed or denied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<ToolRule>,
}

/// Whether a value is its type's default, and so need not be written.
pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Tools by name; `*` stands for any characters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct ToolRule {
    /// Only these.
    #[serde(skip_serializing_if = "Many::is_empty")]
    pub allow: Many<String>,
    /// Not these.
    #[serde(skip_serializing_if = "Many::is_empty")]
    pub deny: Many<String>,
}

/// A preference.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Unique name.
    pub name: String,
    /// Which requests.
    #[serde(default, skip_serializing_if = "is_default")]
    pub when: When,
    /// What they use.
    #[serde(rename = "use")]
    pub to: Use,
}

/// What a route uses.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Use {
    /// Name of a model.
    pub model: String,
    /// Whether targets after the first may be tried. Left out: yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<bool>,
    /// A copy of some requests, its answer discarded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<Mirror>,
}

/// Where copies go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Mirror {
    /// Name of a provider.
    pub provider: String,
    /// The provider's own name of the model.
    pub model: String,
    /// Of a hundred requests.
    pub percent: u32,
}

/// When another try is made, and how long each may take. Only before the client has seen a byte.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// Tries in all, the first included. Left out: 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tries: Option<u32>,
    /// What is tried again. Left out: all of them.
    #[serde(skip_serializing_if = "Many::is_empty")]
    pub on: Many<RetryOn>,
    /// Streamed answers: until the first byte. Left out: 60 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_byte: Option<Duration>,
    /// Streamed answers: between chunks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stall: Option<Duration>,
    /// Share of the requests in flight that may be retries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<Percent>,
}

/// What is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RetryOn {
    /// No connection came about.
    Connect,
    /// The connection broke.
    Reset,
    /// Status 429.
    TooMany,
    /// Status 500 to 599.
    ServerError,
}

impl RetryOn {
    /// All of them, in the order in which they are written.
    pub const ALL: [RetryOn; 4] = [RetryOn::Connect, RetryOn::Reset, RetryOn::TooMany, RetryOn::ServerError];

    /// The name as it is written.
    pub fn name(self) -> &'static str {
        match self {
            RetryOn::Connect => "connect",
            RetryOn::Reset => "reset",
            RetryOn::TooMany => "429",
            RetryOn::ServerError => "5xx",
        }
    }
}

const RETRY_ON: &str = "`connect`, `reset`, `429` or `5xx`";

impl FromStr for RetryOn {
    type Err = BadQuantity;

    fn from_str(text: &str) -> Result<Self, BadQuantity> {
        RetryOn::ALL.into_iter().find(|on| on.name() == text).ok_or(BadQuantity::Form(RETRY_ON))
    }
}

impl fmt::Display for RetryOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for RetryOn {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for RetryOn {
    // By its text, because `429` without quotes is a number.
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = scalar::text(from, RETRY_ON)?;
        text.parse().map_err(|bad| de::Error::custom(format_args!("bad value `{text}`: {bad}")))
    }
}

#[cfg(feature = "schema")]
impl JsonSchema for RetryOn {
    fn schema_name() -> Cow<'static, str> {
        "RetryOn".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "enum": ["connect", "reset", "429", 429, "5xx"] })
    }
}
