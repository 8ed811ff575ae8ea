//! Small conversions that the generated types leave to their users.

use envoy_types::pb::envoy::config::core::v3::{
    Address, AggregatedConfigSource, ApiVersion, ConfigSource, SocketAddress, TypedExtensionConfig, address,
    config_source::ConfigSourceSpecifier, socket_address,
};
use envoy_types::pb::google::protobuf::{Any, BoolValue, Duration, UInt32Value};
use envoy_types::pb::xds::core::v3 as xds;
use prost::{Message, Name};

use crate::input;

/// A message in an `Any`.
pub fn pack<M: Message + Name>(message: &M) -> Any {
    Any { type_url: M::type_url(), value: message.encode_to_vec() }
}

/// A message of [`crate::ordered`] in an `Any` of the type that it stands for.
pub fn pack_as<N: Name>(message: &impl Message) -> Any {
    Any { type_url: N::type_url(), value: message.encode_to_vec() }
}

pub fn millis(ms: u64) -> Option<Duration> {
    Some(Duration { seconds: (ms / 1000) as i64, nanos: (ms % 1000) as i32 * 1_000_000 })
}

pub fn yes() -> Option<BoolValue> {
    Some(BoolValue { value: true })
}

pub fn number(value: u32) -> Option<UInt32Value> {
    Some(UInt32Value { value })
}

pub fn extension(name: &str, config: Any) -> Option<TypedExtensionConfig> {
    Some(TypedExtensionConfig { name: name.to_owned(), typed_config: Some(config) })
}

/// The same message under the name that xDS matchers use.
pub fn xds_extension(name: &str, config: Any) -> Option<xds::TypedExtensionConfig> {
    Some(xds::TypedExtensionConfig { name: name.to_owned(), typed_config: Some(config) })
}

/// "Ask on the stream that this came by."
pub fn over_ads() -> ConfigSource {
    ConfigSource {
        resource_api_version: ApiVersion::V3.into(),
        // Long enough for a control plane that starts together with its gateways.
        initial_fetch_timeout: millis(15_000),
        config_source_specifier: Some(ConfigSourceSpecifier::Ads(AggregatedConfigSource {})),
        ..Default::default()
    }
}

pub fn socket(to: &input::Address) -> Option<Address> {
    let port = socket_address::PortSpecifier::PortValue(to.port.into());
    let socket = SocketAddress { address: to.host.clone(), port_specifier: Some(port), ..Default::default() };
    Some(Address { address: Some(address::Address::SocketAddress(socket)) })
}
