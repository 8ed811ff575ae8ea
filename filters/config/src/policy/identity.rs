//! Who calls: credential sources, tenants, keys.

use std::collections::BTreeMap;

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::date::Date;
use super::quantity::Count;
use super::scalar::{self, Many};

/// How callers are told apart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Identity {
    /// In order; the first whose credential is present decides. Left out: `authorization: Bearer`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<IdentitySource>,
    /// `deny`, or the tenant of callers without a credential. Left out: `deny`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anonymous: Option<String>,
    /// Labels that a client may set by `x-weir-label-NAME`.
    #[serde(skip_serializing_if = "Many::is_empty")]
    pub client_labels: Many<String>,
}

/// A kind of credential.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum IdentitySource {
    /// A key in a header.
    ApiKey(ApiKey),
    /// An AWS signature by a key pair that Weir issued.
    Sigv4(Sigv4),
    /// The SPIFFE id of the mesh peer.
    Mtls(Mtls),
    /// A signed token.
    Jwt(Jwt),
}

/// A key in a header.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    /// Header name, case ignored.
    pub header: String,
    /// Authentication scheme before the key, case ignored: `bearer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
}

/// An AWS signature; nothing to set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Sigv4 {}

/// The mesh peer; nothing to set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Mtls {}

/// A signed token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Jwt {
    /// Required `iss`.
    pub issuer: String,
    /// Where its public keys are.
    pub jwks: String,
    /// Claim that names the tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Claims that become labels.
    #[serde(default, skip_serializing_if = "Many::is_empty")]
    pub labels: Many<String>,
}

/// Who may call.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Tenant {
    /// Unique name.
    pub name: String,
    /// SPIFFE ids of its workloads; `*` stands for any characters.
    #[serde(default, skip_serializing_if = "Many::is_empty")]
    pub workloads: Many<String>,
    /// Its API keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<Key>,
    /// What may be asked for, and what may be chosen; left out: nothing.
    #[serde(default, skip_serializing_if = "Many::is_empty")]
    pub models: Many<String>,
    /// Labels of all its requests.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Token limits of one request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
}

/// One API key, known by its digest only.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// Unique, shown in spans and spend.
    #[serde(deserialize_with = "scalar::plain")]
    pub id: String,
    /// SHA-256 of the key, 64 lower-case hex digits.
    // By its text, because a digest of digits alone looks like a number.
    #[serde(deserialize_with = "scalar::plain")]
    pub sha256: String,
    /// Labels that override the tenant's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// From then on it is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Date>,
}

/// Token limits of one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// More is refused with 400.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_input_tokens: Option<Count>,
    /// More, or none asked, is set to this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<Count>,
}
