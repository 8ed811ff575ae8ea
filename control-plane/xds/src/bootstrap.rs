//! The file that an Envoy starts with: where the control plane is, and nothing of the policy.

use serde_json::{Value, json};

use crate::input::Address;

/// Static cluster of the control plane's xDS.
pub const CONTROL_CLUSTER: &str = "weir-control";

/// What differs from gateway to gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bootstrap {
    /// Unique name of this gateway, shown in the control plane's status.
    pub node: String,
    /// Name of the group of gateways.
    pub cluster: String,
    /// Envoy's own admin interface; loopback only.
    pub admin: Address,
    /// The control plane's xDS.
    pub control: Address,
}

/// The bootstrap as JSON; Envoy reads it from a file whose name ends in `.json`.
pub fn bootstrap(of: &Bootstrap) -> Value {
    let ads = json!({"ads": {}, "resource_api_version": "V3"});
    json!({
        "node": {"id": of.node, "cluster": of.cluster},
        "admin": {"address": socket(&of.admin)},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": true,
                "grpc_services": [{"envoy_grpc": {
                    "cluster_name": CONTROL_CLUSTER,
                    // Envoy's own backoff would leave a gateway without news for up to 23 s after a restart.
                    "retry_policy": {"retry_back_off": {"base_interval": "0.2s", "max_interval": "1s"}},
                }}],
            },
            "cds_config": ads,
            "lds_config": ads,
        },
        "static_resources": {"clusters": [control_cluster(&of.control)]},
        "stats_config": {"stats_tags": tags()},
        // A worker that hangs is ended with its process, for a supervisor to start anew.
        "watchdogs": {
            "main_thread_watchdog": {"kill_timeout": "30s"},
            "worker_watchdog": {"kill_timeout": "10s"},
        },
    })
}

/// Labels of statistics, which the filters write into names: `weir_requests_total;tenant=acme`.
pub const LABELS: [&str; 7] = ["tenant", "route", "model", "provider", "reason", "type", "stage"];

fn tags() -> Vec<Value> {
    let tag = |name| json!({"tag_name": name, "regex": format!("(;{name}=([^;]*))")});
    LABELS.into_iter().map(tag).collect()
}

/// The static cluster of the control plane's xDS.
pub(crate) fn control_cluster(control: &Address) -> Value {
    json!({
        "name": CONTROL_CLUSTER,
        "type": if control.is_ip() { "STATIC" } else { "STRICT_DNS" },
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": CONTROL_CLUSTER,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": socket(control)}}]}],
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                // A control plane that is gone without a word is noticed.
                "explicit_http_config": {"http2_protocol_options": {
                    "connection_keepalive": {"interval": "5s", "timeout": "2s"},
                }},
            },
        },
    })
}

fn socket(to: &Address) -> Value {
    json!({"socket_address": {"address": to.host, "port_value": to.port}})
}
