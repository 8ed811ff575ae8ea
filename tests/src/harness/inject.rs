//! The example `envoy/inject` on free ports, with a simulated vLLM behind it and a span collector beside it.

use serde_json::json;
use weir_config::filter::Exchange;

use super::{Client, Collector, Envoy, EnvoyConfig, Raw, free_port, paths};
use crate::sim::{Server, vllm};

/// The API key of the example's only tenant.
pub const KEY: &str = "weir-demo";
/// The model that needs no change on its way.
pub const MODEL: &str = "openai/gpt-oss-20b";
/// Another name for it, which the provider does not know.
pub const ALIAS: &str = "gpt-4o-mini";

/// What a gateway is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filters {
    /// Weir's.
    Weir,
    /// Two wasm filters that do nothing.
    Idle,
    /// None: what the same Envoy does by itself.
    None,
}

/// What may differ from the example.
pub struct Setup {
    /// Names the logs.
    pub name: String,
    /// Module by name.
    pub module: &'static str,
    /// Envoy's release.
    pub version: String,
    /// Worker threads.
    pub concurrency: u32,
    /// What the example's Exchange is configured with.
    pub exchange: Exchange,
    /// Exchange has received no policy, as before the control plane has answered.
    pub no_policy: bool,
    /// What stands where Weir's filters stand.
    pub filters: Filters,
    /// Requests go to this port instead of the simulated provider's.
    pub provider: Option<u16>,
    /// The provider.
    pub vllm: vllm::Config,
    /// HTTP/2 towards the provider.
    pub upstream_h2: bool,
    /// The whole bootstrap, ports not set yet.
    pub envoy: EnvoyConfig,
}

/// All of it, running.
pub struct Inject {
    /// The gateway.
    pub envoy: Envoy,
    /// Its port.
    pub port: u16,
    /// The provider.
    pub vllm: Server,
    /// Spans.
    pub collector: Collector,
}

impl Inject {
    /// The example as it is.
    pub async fn start(name: &str) -> Self {
        Self::with(name, |_| ()).await
    }

    /// The example with changes.
    pub async fn with(name: &str, change: impl FnOnce(&mut Setup)) -> Self {
        Self::try_with(name, change).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// The example with changes that may keep Envoy from starting.
    pub async fn try_with(name: &str, change: impl FnOnce(&mut Setup)) -> Result<Self, String> {
        let mut envoy = EnvoyConfig::read("envoy/inject/envoy.yaml");
        let written = envoy.configuration("exchange");
        let mut setup = Setup {
            name: name.into(),
            module: "weir",
            version: super::envoy::NEWEST.into(),
            concurrency: 1,
            exchange: serde_json::from_value(written).expect("the example's configuration is valid"),
            no_policy: false,
            filters: Filters::Weir,
            provider: None,
            vllm: vllm::Config::default(),
            upstream_h2: false,
            envoy,
        };
        change(&mut setup);
        let vllm = vllm::start(setup.vllm).await.expect("a free port");
        let collector = Collector::start().await;
        let port = free_port();
        let mut config = setup.envoy;
        let exchange = match setup.no_policy {
            true => String::new(),
            false => serde_json::to_string(&setup.exchange).expect("plain data"),
        };
        match setup.filters {
            Filters::Weir => config.module(&paths::module(setup.module)).configure("exchange", &exchange),
            Filters::Idle => config.idle_filters("weir-gpu-pool"),
            Filters::None => config.without_filters("weir-gpu-pool"),
        };
        config
            .port(8080, port)
            .port(9101, setup.provider.unwrap_or(vllm.port()))
            .port(4317, collector.port());
        if setup.upstream_h2 {
            let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
            let cluster = config.cluster("weir-gpu-pool");
            cluster["typed_extension_protocol_options"][options]["explicit_http_config"] =
                json!({"http2_protocol_options": {}});
        }
        let builder = Envoy::builder(config).name(&setup.name).version(&setup.version);
        let envoy = builder.concurrency(setup.concurrency).try_start().await?;
        Ok(Self { envoy, port, vllm, collector })
    }

    /// A client with the example's key.
    pub fn client(&self) -> Client {
        Client::new(self.port, KEY)
    }

    /// The same over HTTP/2.
    pub fn h2(&self) -> Client {
        Client::h2(self.port, KEY)
    }

    /// A connection of one's own.
    pub async fn raw(&self) -> Raw {
        Raw::connect(self.port).await
    }
}
