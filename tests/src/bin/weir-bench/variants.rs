//! The same Envoy four times: without filters, with two filters that do nothing, with Weir, and with all that
//! Weir does, its control plane and ledger beside it.

use std::path::Path;
use std::time::Duration;

use clap::ValueEnum;
use serde_json::{Value, json};
use weir_tests::harness::{Child, Envoy, EnvoyConfig, free_port, paths};

use crate::everything;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Variant {
    Bare,
    Noop,
    Weir,
    Everything,
}

impl Variant {
    pub fn title(self) -> &'static str {
        match self {
            Self::Bare => "bare Envoy",
            Self::Noop => "no-op filters",
            Self::Weir => "Weir",
            Self::Everything => "everything on",
        }
    }
}

const CLUSTER: &str = "weir-gpu-pool";

/// One that runs.
pub struct Running {
    pub envoy: Envoy,
    pub port: u16,
    /// Until it could serve.
    pub started_in: Duration,
    /// Ends with this value.
    pub control: Option<Child>,
}

/// Starts one.
pub async fn start(
    variant: Variant,
    upstream: u16,
    collector: u16,
    exchange: Option<&Path>,
    workers: u32,
) -> Result<Running, String> {
    let mut config = EnvoyConfig::read("envoy/inject/envoy.yaml");
    match variant {
        Variant::Everything => {
            let everything::Gateway { envoy, port, control, started_in } =
                everything::start(upstream, collector, workers).await?;
            return Ok(Running { envoy, port, started_in, control: Some(control) });
        }
        Variant::Bare => {
            config.without_filters(CLUSTER);
        }
        Variant::Noop => {
            route_to_cluster(&mut config.0);
            let probe = paths::module("probe");
            config.module(&probe).configure("exchange", "idle").configure("attempt", "idle");
            config.plugins(|_, plugin| {
                plugin["vm_config"]["vm_id"] = json!("idle");
                plugin.as_object_mut().map(|p| p.remove("root_id"));
            });
        }
        Variant::Weir => {
            config.module(&paths::module("weir"));
            if let Some(path) = exchange {
                let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
                config.configure("exchange", &text);
            }
        }
    }
    let port = free_port();
    config.port(8080, port).port(9101, upstream).port(4317, collector);
    let envoy = Envoy::builder(config)
        .name(&format!("bench-{variant:?}").to_lowercase())
        .concurrency(workers)
        .try_start()
        .await?;
    Ok(Running { started_in: envoy.started_in, envoy, port, control: None })
}

/// Filters that do nothing choose no cluster.
fn route_to_cluster(value: &mut Value) {
    if let Some(route) = value.get_mut("route").and_then(Value::as_object_mut)
        && route.remove("inline_cluster_specifier_plugin").is_some()
    {
        route.insert("cluster".into(), json!(CLUSTER));
    }
    match value {
        Value::Array(all) => all.iter_mut().for_each(route_to_cluster),
        Value::Object(all) => all.values_mut().for_each(route_to_cluster),
        _ => {}
    }
}
