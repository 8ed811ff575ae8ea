//! What a gateway that others configure needs in its own configuration, so that the filters run there.
//!
//! The same filters, clusters and route as in `build/`, as the JSON that people put into their files, with one
//! difference: filters are asked for on streams of their own. Over ADS a filter of a *static* cluster crashes
//! Envoy at its start (seen on 1.39 and 1.40).

use serde_json::{Map, Value, json};

use crate::bootstrap::{CONTROL_CLUSTER, control_cluster};
use crate::build::{attempt_name, idle_ms};
use crate::input::{
    Address, Analyzer, EXCHANGE, Input, LEDGER_CLUSTER, MIRROR_HEADER, OTLP_CLUSTER, Provider, Services, Tls,
};

const TYPE: &str = "type.googleapis.com/";

/// The parts of a patch.
#[derive(Clone, Debug, PartialEq)]
pub struct Patch {
    /// Goes right before the router.
    pub http_filter: Value,
    /// Takes everything that the policy judges; goes before the gateway's own routes for it.
    pub route: Value,
    /// All that the filters need, the control plane's included.
    pub clusters: Vec<Value>,
}

/// The patch for a policy and the control plane at `control`.
pub fn inject(input: &Input, control: &Address) -> Patch {
    let mut clusters = vec![control_cluster(control)];
    clusters.extend(input.providers.iter().map(|of| provider(input, of)));
    let Services { ledger, otlp, otlp_http, analyzers, .. } = &input.services;
    clusters.extend(ledger.iter().map(|to| service(LEDGER_CLUSTER, to, false)));
    clusters.extend(otlp.iter().map(|to| service(OTLP_CLUSTER, to, *otlp_http)));
    clusters.extend(analyzers.iter().map(analyzer));
    Patch { http_filter: discovered(EXCHANGE, input), route: route(input), clusters }
}

fn discovered(name: &str, input: &Input) -> Value {
    json!({"name": name, "config_discovery": {
        "config_source": {
            "resource_api_version": "V3",
            "initial_fetch_timeout": "5s",
            "api_config_source": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "grpc_services": [{"envoy_grpc": {
                    "cluster_name": CONTROL_CLUSTER,
                    "retry_policy": {"retry_back_off": {"base_interval": "0.2s", "max_interval": "1s"}},
                }}],
            },
        },
        // Until a policy arrives every request is refused with 503, never passed.
        "default_config": {
            "@type": format!("{TYPE}envoy.extensions.filters.http.wasm.v3.Wasm"),
            "config": {
                "name": "weir.no-policy",
                "root_id": "exchange",
                "vm_config": {
                    "vm_id": "weir",
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": {"local": {"filename": input.module.fallback}},
                },
                "allow_on_headers_stop_iteration": true,
                "failure_policy": "FAIL_RELOAD",
                "reload_config": {"backoff": {"base_interval": "0.1s", "max_interval": "1s"}},
            },
        },
        "type_urls": [format!("{TYPE}envoy.extensions.filters.http.wasm.v3.Wasm")],
    }})
}

fn provider(input: &Input, of: &Provider) -> Value {
    let mut filters = vec![discovered(&attempt_name(&of.name), input)];
    if let Some(signing) = &of.signing {
        filters.push(json!({"name": "envoy.filters.http.aws_request_signing", "typed_config": {
            "@type": format!("{TYPE}envoy.extensions.filters.http.aws_request_signing.v3.AwsRequestSigning"),
            "service_name": signing.service,
            "region": signing.region,
            "host_rewrite": signing.host,
        }}));
    }
    filters.push(json!({"name": "envoy.filters.http.upstream_codec", "typed_config": {
        "@type": format!("{TYPE}envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec"),
    }}));
    let protocol = json!({"http_protocol_options": {}});
    let mut cluster = cluster(&of.cluster, &of.endpoints, protocol, filters);
    cluster["lb_policy"] = json!("LEAST_REQUEST");
    if let Some(tls) = &of.tls {
        cluster["transport_socket"] = transport_socket(tls);
    }
    cluster
}

fn service(name: &str, to: &Address, over_http1: bool) -> Value {
    let protocol = match over_http1 {
        true => json!({"http_protocol_options": {}}),
        false => json!({"http2_protocol_options": {
            "connection_keepalive": {"interval": "5s", "timeout": "2s"},
        }}),
    };
    cluster(name, std::slice::from_ref(to), protocol, Vec::new())
}

fn analyzer(of: &Analyzer) -> Value {
    let to = std::slice::from_ref(&of.endpoint);
    let mut cluster = cluster(&of.cluster, to, json!({"http_protocol_options": {}}), Vec::new());
    if let Some(tls) = &of.tls {
        cluster["transport_socket"] = transport_socket(tls);
    }
    cluster
}

fn cluster(name: &str, to: &[Address], protocol: Value, http_filters: Vec<Value>) -> Value {
    let kind = if to.iter().all(Address::is_ip) { "STATIC" } else { "STRICT_DNS" };
    let endpoint = |to: &Address| json!({"endpoint": {"address": {"socket_address": {"address": to.host, "port_value": to.port}}}});
    let mut options = json!({
        "@type": format!("{TYPE}envoy.extensions.upstreams.http.v3.HttpProtocolOptions"),
        "common_http_protocol_options": {"idle_timeout": "300s"},
        "explicit_http_config": protocol,
    });
    if !http_filters.is_empty() {
        options["http_filters"] = json!(http_filters);
    }
    json!({
        "name": name,
        "type": kind,
        "connect_timeout": "1s",
        "dns_lookup_family": "V4_PREFERRED",
        // Envoy's defaults would stop a failover exactly when it is needed.
        "circuit_breakers": {"thresholds": [{
            "max_connections": 1_000_000,
            "max_pending_requests": 1_000_000,
            "max_requests": 1_000_000,
            "max_retries": 1_000_000,
        }]},
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": to.iter().map(endpoint).collect::<Vec<Value>>()}],
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options,
        },
    })
}

fn transport_socket(tls: &Tls) -> Value {
    json!({"name": "envoy.transport_sockets.tls", "typed_config": {
        "@type": format!("{TYPE}envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"),
        "sni": tls.sni,
        "common_tls_context": {"validation_context": {
            "trusted_ca": {"filename": tls.ca_file},
            "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": tls.sni}}],
        }},
    }})
}

fn route(input: &Input) -> Value {
    let gateway = input.gateway.clone().unwrap_or_default();
    let clusters: Vec<&str> = input.providers.iter().map(|provider| provider.cluster.as_str()).collect();
    let mut route = json!({
        "name": "weir",
        "match": {"prefix": "/"},
        "request_body_buffer_limit": gateway.max_body.saturating_add(1 << 20).to_string(),
        "route": {
            "timeout": "0s",
            "request_mirror_policies": [{"cluster_header": MIRROR_HEADER}],
            "idle_timeout": format!("{}s", idle_ms(&gateway).div_ceil(1000)),
            "retry_policy": {
                "retry_on": "5xx,reset,connect-failure,refused-stream,retriable-status-codes",
                "retriable_status_codes": [429],
                // The filter sets x-envoy-max-retries to what the policy allows.
                "num_retries": 2,
                "refresh_cluster_on_retry": true,
                "retry_back_off": {"base_interval": "0.025s", "max_interval": "0.25s"},
            },
            "inline_cluster_specifier_plugin": {"extension": {
                "name": "weir.slots",
                "typed_config": {
                    "@type":
                        format!("{TYPE}envoy.extensions.router.cluster_specifiers.matcher.v3.MatcherClusterSpecifier"),
                    "cluster_matcher": {
                        "matcher_tree": {
                            "input": state("wasm.tried"),
                            "exact_match_map": {"map": {"1": slot(2, &clusters), "2": slot(3, &clusters)}},
                        },
                        "on_no_match": slot(1, &clusters),
                    },
                },
            }},
        },
    });
    if clusters.is_empty() {
        // Envoy refuses an empty choice.
        let action = &mut route["route"];
        action["cluster"] = json!("weir-none");
        action.as_object_mut().map(|action| action.remove("inline_cluster_specifier_plugin"));
    }
    route
}

fn slot(number: u32, clusters: &[&str]) -> Value {
    let to = |cluster: &&str| {
        let action = json!({"action": {"name": "cluster", "typed_config": {
            "@type": format!("{TYPE}envoy.extensions.router.cluster_specifiers.matcher.v3.ClusterAction"),
            "cluster": cluster,
        }}});
        ((*cluster).to_owned(), action)
    };
    let map: Map<String, Value> = clusters.iter().map(to).collect();
    json!({"matcher": {"matcher_tree": {
        "input": state(&format!("wasm.s{number}")),
        "exact_match_map": {"map": map},
    }}})
}

fn state(key: &str) -> Value {
    json!({"name": key, "typed_config": {
        "@type": format!("{TYPE}envoy.extensions.matching.common_inputs.network.v3.FilterStateInput"),
        "key": key,
    }})
}
