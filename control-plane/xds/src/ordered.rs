//! Envoy messages whose maps are written in order.
//!
//! The generated types keep maps in `HashMap`, so that equal messages can have different bytes, and a version
//! that is a hash of the bytes would change for nothing. The few messages whose maps hold more than one key
//! are declared here again, with the same field numbers and ordered maps. They travel inside `Any`, or are
//! appended to the bytes of a generated message: in protobuf, joined encodings are merged.

use std::collections::BTreeMap;

use envoy_types::pb::envoy::config::accesslog::v3::AccessLogFilter;
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::xds::core::v3::TypedExtensionConfig;

/// `xds.type.matcher.v3.Matcher`, trees only.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Matcher {
    #[prost(message, optional, tag = "2")]
    pub tree: Option<MatcherTree>,
    #[prost(message, optional, boxed, tag = "3")]
    pub on_no_match: Option<Box<OnMatch>>,
}

/// `Matcher.OnMatch`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct OnMatch {
    #[prost(message, optional, boxed, tag = "1")]
    pub matcher: Option<Box<Matcher>>,
    #[prost(message, optional, tag = "2")]
    pub action: Option<TypedExtensionConfig>,
}

/// `Matcher.MatcherTree` with an exact map.
#[derive(Clone, PartialEq, prost::Message)]
pub struct MatcherTree {
    #[prost(message, optional, tag = "1")]
    pub input: Option<TypedExtensionConfig>,
    #[prost(message, optional, tag = "2")]
    pub exact: Option<MatchMap>,
}

/// `Matcher.MatcherTree.MatchMap`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct MatchMap {
    #[prost(btree_map = "string, message", tag = "1")]
    pub map: BTreeMap<String, OnMatch>,
}

/// `MatcherClusterSpecifier`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct MatcherClusterSpecifier {
    #[prost(message, optional, tag = "1")]
    pub cluster_matcher: Option<Matcher>,
}

/// `ExtensionWithMatcher`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ExtensionWithMatcher {
    #[prost(message, optional, tag = "2")]
    pub extension: Option<core::TypedExtensionConfig>,
    #[prost(message, optional, tag = "3")]
    pub matcher: Option<Matcher>,
}

/// `google.protobuf.Struct`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Struct {
    #[prost(btree_map = "string, message", tag = "1")]
    pub fields: BTreeMap<String, Value>,
}

/// `google.protobuf.Value`, without lists and booleans.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Value {
    #[prost(oneof = "ValueKind", tags = "1, 3, 5")]
    pub kind: Option<ValueKind>,
}

/// The kinds of [`Value`] that formats use.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum ValueKind {
    #[prost(int32, tag = "1")]
    Null(i32),
    #[prost(string, tag = "3")]
    Text(String),
    #[prost(message, tag = "5")]
    Struct(Struct),
}

impl Value {
    pub fn null() -> Self {
        Self { kind: Some(ValueKind::Null(0)) }
    }

    pub fn text(text: &str) -> Self {
        Self { kind: Some(ValueKind::Text(text.to_owned())) }
    }

    pub fn object<const N: usize>(fields: [(&str, Value); N]) -> Self {
        Self { kind: Some(ValueKind::Struct(Struct::of(fields))) }
    }
}

impl Struct {
    pub fn of<const N: usize>(fields: [(&str, Value); N]) -> Self {
        Self { fields: fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect() }
    }
}

/// `SubstitutionFormatString` with a JSON format.
#[derive(Clone, PartialEq, prost::Message)]
pub struct JsonFormat {
    #[prost(message, optional, tag = "2")]
    pub json: Option<Struct>,
}

/// `StdoutAccessLog`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct StdoutAccessLog {
    #[prost(message, optional, tag = "1")]
    pub format: Option<JsonFormat>,
}

/// `FileAccessLog`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct FileAccessLog {
    #[prost(string, tag = "1")]
    pub path: String,
    #[prost(message, optional, tag = "5")]
    pub format: Option<JsonFormat>,
}

/// The field of `HttpConnectionManager` that holds formats.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LocalReplies {
    #[prost(message, optional, tag = "38")]
    pub config: Option<LocalReplyConfig>,
}

/// `LocalReplyConfig`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LocalReplyConfig {
    #[prost(message, repeated, tag = "1")]
    pub mappers: Vec<ResponseMapper>,
}

/// `ResponseMapper`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ResponseMapper {
    #[prost(message, optional, tag = "1")]
    pub filter: Option<AccessLogFilter>,
    #[prost(message, optional, tag = "4")]
    pub body: Option<JsonFormat>,
}
