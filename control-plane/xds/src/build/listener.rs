//! The listener: one HTTP connection manager with the exchange filter before the router.

use envoy_types::pb::envoy::config::core::v3::HttpProtocolOptions;
use envoy_types::pb::envoy::config::listener::v3::{Filter, FilterChain, Listener, filter};
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, Rds, http_connection_manager,
};
use prost::Message;

use super::any::{millis, over_ads, pack, socket, yes};
use super::filter::{discovered, fixed};
use super::local_reply::local_replies;
use super::log::access_log;
use super::routes;
use crate::input::{EXCHANGE, Gateway, Input};
use crate::resource::Resource;

/// Name of the listener.
pub const NAME: &str = "weir";

/// Beyond the policy's own limit on an exchange, which answers in the client's dialect where it can.
const NET_MS: u64 = 10_000;

pub fn listener(input: &Input, gateway: &Gateway) -> Resource {
    let manager = manager(input, gateway);
    let mut config = pack(&manager);
    // Joined encodings are merged: the one field whose maps must be in order is appended.
    config.value.extend(local_replies().encode_to_vec());
    let filter = Filter {
        name: "envoy.filters.network.http_connection_manager".to_owned(),
        config_type: Some(filter::ConfigType::TypedConfig(config)),
    };
    let listener = Listener {
        name: NAME.to_owned(),
        address: socket(&gateway.listen),
        filter_chains: vec![FilterChain { filters: vec![filter], ..Default::default() }],
        ..Default::default()
    };
    Resource::new(NAME, pack(&listener))
}

fn manager(input: &Input, gateway: &Gateway) -> HttpConnectionManager {
    let http_filters = vec![
        discovered(EXCHANGE, input),
        // Its headers for upstreams would be signed and sent to providers.
        fixed(
            "envoy.filters.http.router",
            pack(&Router { suppress_envoy_headers: true, ..Default::default() }),
        ),
    ];
    let net = match gateway.request_timeout_ms {
        0 => None,
        limit => millis(limit.saturating_add(NET_MS)),
    };
    HttpConnectionManager {
        stat_prefix: NAME.to_owned(),
        route_specifier: Some(http_connection_manager::RouteSpecifier::Rds(Rds {
            config_source: Some(over_ads()),
            route_config_name: routes::NAME.to_owned(),
        })),
        http_filters,
        access_log: access_log(&gateway.access_log),
        // Who is at the other end is what the connection says, never a header.
        use_remote_address: yes(),
        // Bedrock's model ids hold escaped slashes: neither decoded nor refused.
        path_with_escaped_slashes_action:
            http_connection_manager::PathWithEscapedSlashesAction::KeepUnchanged.into(),
        // The whole request must have arrived and been judged by then. Also what ends a request whose filter
        // trapped while it waited for an answer.
        request_timeout: millis(120_000),
        request_headers_timeout: millis(30_000),
        stream_idle_timeout: millis(routes::idle_ms(gateway)),
        // A client that gets the end of an answer is not kept waiting for the end of its connection.
        delayed_close_timeout: millis(1_000),
        common_http_protocol_options: Some(HttpProtocolOptions {
            max_stream_duration: net,
            ..Default::default()
        }),
        ..Default::default()
    }
}
