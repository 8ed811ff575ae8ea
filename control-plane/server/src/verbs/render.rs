//! `weir render`: the patch that injects the filters into a gateway that others configure, and the one that takes
//! them out again. Every policy then comes from the control plane; the patch names only where it is, the
//! providers' clusters and the route.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use weir_xds::inject::{Patch, inject};
use weir_xds::{AccessLog, Address, EXCHANGE, Form, Module};

use crate::convert::{self, Surroundings};
use crate::source::load;
use crate::{Failure, tokenizers};

/// Print a patch as YAML.
#[derive(Debug, Args)]
pub struct Render {
    /// Whose configuration is patched.
    #[arg(value_enum)]
    target: Target,
    /// The policy file: its providers get clusters.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Where the gateway reaches the control plane.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:18000")]
    control: Address,
    /// The wasm module in the gateway's file system.
    #[arg(long, value_name = "PATH", default_value = "/opt/weir/weir.wasm")]
    module: String,
    /// Authorities that the gateway trusts, a file on its machine.
    #[arg(long, value_name = "FILE", default_value = "/etc/ssl/certs/ca-certificates.crt")]
    ca_file: String,
    /// Istio: namespace of the gateway.
    #[arg(long, value_name = "NAMESPACE", default_value = "istio-system")]
    namespace: String,
    /// Istio: value of the gateway pods' `istio` label.
    #[arg(long, value_name = "LABEL", default_value = "ingressgateway")]
    gateway: String,
    /// Print what takes the filters out again.
    #[arg(long)]
    remove: bool,
    /// The control plane's data folder: tokenizers that were added there are known.
    #[arg(long, value_name = "DIR", default_value = "weir-data")]
    data: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Target {
    /// A static Envoy configuration: parts, and where they go.
    Envoy,
    /// An `EnvoyFilter`, to apply or delete with kubectl.
    Istio,
}

impl Render {
    pub fn run(self) -> Result<(), Failure> {
        let text = std::fs::read_to_string(&self.config)
            .map_err(|why| Failure::new(format!("{}: {why}", self.config.display())))?;
        let known = tokenizers::expected(&self.data);
        let loaded = load(&self.config, &text, "render", None, &known)
            .map_err(|refused| refused.failure(&self.config))?;
        let around = Surroundings {
            ledger: self.control.clone(),
            access_log: AccessLog::Off,
            ca_file: self.ca_file.clone(),
        };
        let module = Module { file: self.module.clone(), fallback: self.module.clone() };
        let patch =
            inject(&convert::input(&loaded.compiled, &module, &around, Form::Slots, &|_| ()), &self.control);
        let document = match (self.target, self.remove) {
            (Target::Envoy, false) => envoy(&patch),
            (Target::Envoy, true) => envoy_removal(&patch),
            (Target::Istio, remove) => self.istio(if remove { Vec::new() } else { istio_patches(&patch) }),
        };
        let yaml = serde_yaml_ng::to_string(&document).map_err(|why| Failure::new(why.to_string()))?;
        print!("{yaml}");
        Ok(())
    }

    /// With no patches it is what `kubectl delete -f -` needs.
    fn istio(&self, patches: Vec<Value>) -> Value {
        let mut filter = json!({
            "apiVersion": "networking.istio.io/v1alpha3",
            "kind": "EnvoyFilter",
            "metadata": {"name": "weir", "namespace": self.namespace},
        });
        if !patches.is_empty() {
            filter["spec"] = json!({
                "workloadSelector": {"labels": {"istio": self.gateway}},
                "configPatches": patches,
            });
        }
        filter
    }
}

fn envoy(patch: &Patch) -> Value {
    json!({
        // In each connection manager that serves LLM traffic, right before envoy.filters.http.router.
        "http_filters": [patch.http_filter],
        // In its virtual host, before other routes.
        "routes": [patch.route],
        // In static_resources.
        "clusters": patch.clusters,
    })
}

fn envoy_removal(patch: &Patch) -> Value {
    let clusters: Vec<&Value> = patch.clusters.iter().map(|cluster| &cluster["name"]).collect();
    json!({
        "http_filters": [{"name": EXCHANGE}],
        "routes": [{"name": patch.route["name"]}],
        "clusters": clusters.into_iter().map(|name| json!({"name": name})).collect::<Vec<Value>>(),
    })
}

fn istio_patches(patch: &Patch) -> Vec<Value> {
    let router = json!({"context": "GATEWAY", "listener": {"filterChain": {"filter": {
        "name": "envoy.filters.network.http_connection_manager",
        "subFilter": {"name": "envoy.filters.http.router"},
    }}}});
    let mut patches = vec![
        json!({
            "applyTo": "HTTP_FILTER",
            "match": router,
            "patch": {"operation": "INSERT_BEFORE", "value": patch.http_filter},
        }),
        json!({
            "applyTo": "HTTP_ROUTE",
            "match": {"context": "GATEWAY"},
            "patch": {"operation": "INSERT_FIRST", "value": patch.route},
        }),
        // Bedrock's model ids hold escaped slashes.
        json!({
            "applyTo": "NETWORK_FILTER",
            "match": {"context": "GATEWAY", "listener": {"filterChain": {"filter": {
                "name": "envoy.filters.network.http_connection_manager",
            }}}},
            "patch": {"operation": "MERGE", "value": {"typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
                "request_timeout": "120s",
                "delayed_close_timeout": "1s",
            }}},
        }),
    ];
    patches.extend(patch.clusters.iter().map(|cluster| {
        json!({
            "applyTo": "CLUSTER",
            "match": {"context": "GATEWAY"},
            "patch": {"operation": "ADD", "value": cluster},
        })
    }));
    patches
}
