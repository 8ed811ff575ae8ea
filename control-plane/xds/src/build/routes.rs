//! The one route: everything to the clusters in the request's slots, tried again as the policy says.

use envoy_types::pb::envoy::config::route::v3::{
    RetryPolicy, Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost,
    retry_policy::{RetryBackOff, RetryPriority, retry_priority},
    route,
    route_action::{self, RequestMirrorPolicy},
    route_match,
};
use envoy_types::pb::envoy::extensions::retry::priority::previous_priorities::v3::PreviousPrioritiesConfig;
use envoy_types::pb::google::protobuf::UInt64Value;

use super::any::{millis, number, pack};
use super::slots;
use crate::input::{CLUSTER_HEADER, Form, Gateway, Input, MIRROR_HEADER, Retry};
use crate::resource::Resource;

/// Name of the route configuration.
pub const NAME: &str = "weir";

/// Above the largest body that the exchange filter takes: it refuses in the client's dialect, and Envoy's own
/// limit is the net below. Requests are routed once before their headers are changed, so it stands on a route
/// to clusters, where Envoy honours it.
const BODY_SLACK: u64 = 1 << 20;

pub fn routes(input: &Input, gateway: &Gateway) -> Resource {
    let mut clusters: Vec<&str> = input.providers.iter().map(|provider| provider.cluster.as_str()).collect();
    clusters.sort_unstable();
    clusters.dedup();
    let action = RouteAction {
        cluster_specifier: Some(match input.form {
            Form::Lists => route_action::ClusterSpecifier::ClusterHeader(CLUSTER_HEADER.to_owned()),
            Form::Slots | Form::Single => specifier(&clusters),
        }),
        // A stream may be longer than any sensible limit on an answer: the limits are the policy's.
        timeout: millis(0),
        idle_timeout: millis(idle_ms(gateway)),
        // Only requests in which the exchange filter names a cluster are copied.
        request_mirror_policies: vec![RequestMirrorPolicy {
            cluster_header: MIRROR_HEADER.to_owned(),
            ..Default::default()
        }],
        retry_policy: match input.form {
            Form::Slots => Some(retry(&input.retry)),
            Form::Lists => Some(RetryPolicy {
                refresh_cluster_on_retry: false,
                retry_priority: Some(next_priority()),
                ..retry(&input.retry)
            }),
            Form::Single => None,
        },
        ..Default::default()
    };
    let route = Route {
        name: "all".to_owned(),
        r#match: Some(RouteMatch {
            path_specifier: Some(route_match::PathSpecifier::Prefix("/".to_owned())),
            ..Default::default()
        }),
        request_body_buffer_limit: Some(UInt64Value { value: gateway.max_body.saturating_add(BODY_SLACK) }),
        action: Some(route::Action::Route(action)),
        ..Default::default()
    };
    let host = VirtualHost {
        name: "all".to_owned(),
        domains: vec!["*".to_owned()],
        routes: vec![route],
        ..Default::default()
    };
    let config =
        RouteConfiguration { name: NAME.to_owned(), virtual_hosts: vec![host], ..Default::default() };
    Resource::new(NAME, pack(&config))
}

/// Envoy refuses an empty choice. Without providers every request is refused by the filter before it is routed;
/// the route is still one to a cluster, for the limit on bodies.
fn specifier(clusters: &[&str]) -> route_action::ClusterSpecifier {
    match clusters {
        [] => route_action::ClusterSpecifier::Cluster("weir-none".to_owned()),
        some => route_action::ClusterSpecifier::InlineClusterSpecifierPlugin(slots::specifier(some)),
    }
}

/// Longest silence on a stream: an answer that is not streamed is silent until it is complete.
pub fn idle_ms(gateway: &Gateway) -> u64 {
    match gateway.request_timeout_ms {
        0 => 3_600_000,
        limit => limit.saturating_add(5_000),
    }
}

/// Each try goes to a priority where none was before; in a cluster with one, to that one again.
fn next_priority() -> RetryPriority {
    RetryPriority {
        name: "envoy.retry_priorities.previous_priorities".to_owned(),
        config_type: Some(retry_priority::ConfigType::TypedConfig(pack(&PreviousPrioritiesConfig {
            update_frequency: 1,
        }))),
    }
}

/// Always the same but for its conditions: how many tries a request gets is in its `x-envoy-max-retries`,
/// which the exchange filter sets to the number of its slots less one.
fn retry(retry: &Retry) -> RetryPolicy {
    let mut on: Vec<&str> = Vec::new();
    let mut codes = Vec::new();
    for condition in &retry.on {
        match condition.as_str() {
            "connect" => on.extend(["connect-failure", "refused-stream"]),
            "reset" => on.push("reset"),
            "5xx" => on.push("5xx"),
            "429" => {
                on.push("retriable-status-codes");
                codes.push(429);
            }
            _ => {}
        }
    }
    on.sort_unstable();
    on.dedup();
    let most = retry.tries.clamp(1, slots::SLOTS as u32) - 1;
    RetryPolicy {
        retry_on: on.join(","),
        num_retries: number(if on.is_empty() { 0 } else { most }),
        retriable_status_codes: codes,
        retry_back_off: Some(RetryBackOff { base_interval: millis(25), max_interval: millis(250) }),
        // Each try picks its cluster anew.
        refresh_cluster_on_retry: true,
        ..Default::default()
    }
}
