//! What may be spent, in which window, and where it is kept.

#[cfg(feature = "schema")]
use std::borrow::Cow;
use std::fmt;

#[cfg(feature = "schema")]
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, IntoDeserializer, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use super::quantity::{Count, Duration, Percent, Usd};
use super::rule::{When, is_default};
use super::scalar::Many;

/// A limit on what may be spent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Unique name.
    pub name: String,
    /// Which requests.
    #[serde(default, skip_serializing_if = "is_default")]
    pub when: When,
    /// One counter for each value of these: `tenant`, `key`, or a label name.
    #[serde(default, skip_serializing_if = "Many::is_empty")]
    pub each: Many<String>,
    /// How much; several limits hold together.
    pub limit: BudgetLimit,
    /// In which time.
    pub window: Window,
    /// Left out: `hard`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<BudgetMode>,
    /// Shares of the limit at which to tell.
    #[serde(default, skip_serializing_if = "Many::is_empty")]
    pub alert_at: Many<Percent>,
    /// What happens when it is used up; left out: refuse.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exceeded: Option<Exceeded>,
    /// What happens when less is left than a request asks; left out: refuse.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when_short: Option<WhenShort>,
    /// How long a request waits for others' reservations to come back, where too little is free; left out: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<Duration>,
    /// Left out: `deny`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger_lost: Option<LedgerLost>,
    /// Requests whose cost nothing here bounds: tools that the provider runs itself, settings with prices of their own.
    /// Left out: `deny`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unbounded: Option<Unbounded>,
    /// How much is set aside for a streamed answer. Left out: `full`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserve: Option<Reserve>,
}

/// How much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct BudgetLimit {
    /// Tokens: input, cached included, and output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Count>,
    /// Requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<Count>,
    /// Money.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usd: Option<Usd>,
}

/// In which time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// By the calendar.
    Calendar(WindowKeyword),
    /// The last so much time, at any moment.
    Rolling(Duration),
}

impl Default for Window {
    fn default() -> Self {
        Window::Calendar(WindowKeyword::default())
    }
}

/// An interval of the calendar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum WindowKeyword {
    /// A minute.
    Minute,
    /// An hour.
    Hour,
    /// A day: 23 or 25 hours where clocks change.
    #[default]
    Day,
    /// From Monday.
    Week,
    /// As long as it is.
    Month,
}

impl WindowKeyword {
    /// The name as it is written.
    pub fn name(self) -> &'static str {
        match self {
            WindowKeyword::Minute => "minute",
            WindowKeyword::Hour => "hour",
            WindowKeyword::Day => "day",
            WindowKeyword::Week => "week",
            WindowKeyword::Month => "month",
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rolling {
    rolling: Duration,
}

impl Serialize for Window {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Window::Calendar(keyword) => keyword.serialize(to),
            Window::Rolling(length) => {
                let mut map = to.serialize_map(Some(1))?;
                map.serialize_entry("rolling", length)?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Window {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(WindowVisitor)
    }
}

struct WindowVisitor;

impl<'de> Visitor<'de> for WindowVisitor {
    type Value = Window;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`minute`, `hour`, `day`, `week`, `month` or {rolling: 30d}")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Window, E> {
        WindowKeyword::deserialize(text.into_deserializer()).map(Window::Calendar)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Window, A::Error> {
        let rolling = Rolling::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Window::Rolling(rolling.rolling))
    }
}

#[cfg(feature = "schema")]
impl JsonSchema for Window {
    fn schema_name() -> Cow<'static, str> {
        "Window".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (keyword, length) =
            (generator.subschema_for::<WindowKeyword>(), generator.subschema_for::<Duration>());
        json_schema!({ "anyOf": [keyword, {
            "type": "object", "properties": { "rolling": length }, "required": ["rolling"],
            "additionalProperties": false
        }] })
    }
}

/// Whether a budget may be overspent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum BudgetMode {
    /// Never.
    #[default]
    Hard,
    /// Yes, with an alert.
    Soft,
}

/// What happens when a budget is used up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Exceeded {
    /// Name of the model that serves instead.
    #[serde(rename = "use")]
    pub to: String,
}

/// What happens when less is left than a request asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct WhenShort {
    /// The output ceiling is lowered to what is left, not below this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_output: Option<Count>,
}

/// What happens when the ledger cannot be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum LedgerLost {
    /// 503.
    #[default]
    Deny,
    /// The lease in hand is used up, then 503.
    AllowLocal,
}

/// What happens to a request whose cost nothing bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Unbounded {
    /// 400.
    #[default]
    Deny,
    /// It is served, and may overspend the budget.
    Allow,
}

/// How much is set aside for a streamed answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Reserve {
    /// All that it may cost: nothing runs out in the middle.
    #[default]
    Full,
    /// A part ahead of what was answered: for short windows and high ceilings. An answer ends early when the budget does.
    Progressive,
}

/// Where spending is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Ledger {
    /// In the control plane. Left out, with no `redis`: `embedded`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine: Option<Engine>,
    /// Addresses of Redis or Valkey, for several control planes.
    #[serde(skip_serializing_if = "Many::is_empty")]
    pub redis: Many<String>,
    /// Replicas that must have a grant before it is released.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait_replicas: Option<u32>,
}

/// The ledger's engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    /// A log in the control plane's data directory.
    #[default]
    Embedded,
}
