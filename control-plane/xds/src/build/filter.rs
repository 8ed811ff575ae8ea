//! The wasm filter: its plugins as ECDS resources, and the places in listener and clusters that ask for them.

use envoy_types::pb::envoy::config::core::v3::{
    AsyncDataSource, BackoffStrategy, DataSource, ExtensionConfigSource, TypedExtensionConfig,
    async_data_source, data_source,
};
use envoy_types::pb::envoy::extensions::filters::http::wasm::v3::Wasm;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpFilter, http_filter,
};
use envoy_types::pb::envoy::extensions::wasm::v3::{
    FailurePolicy, PluginConfig, ReloadConfig, VmConfig, plugin_config,
};
use envoy_types::pb::google::protobuf::{Any, StringValue};
use prost::Name;

use super::any::{millis, over_ads, pack, yes};
use super::attempt_name;
use crate::input::{ATTEMPTS, EXCHANGE, Input, Provider};
use crate::resource::Resource;

/// Shared data is scoped by it, budgets' leases among it: the same for ever.
const VM_ID: &str = "weir";

/// The policy, as the client's side gets it.
pub fn exchange(input: &Input) -> Resource {
    let wasm = plugin(EXCHANGE, "exchange", &input.module.file, Some(&input.exchange));
    resource(EXCHANGE, wasm)
}

/// The provider's side of one provider.
pub fn attempt(input: &Input, provider: &Provider) -> Resource {
    let name = attempt_name(&provider.name);
    let wasm = plugin(&name, "attempt", &input.module.file, Some(&provider.attempt));
    resource(&name, wasm)
}

/// The provider's side of all providers, for clusters that hold several: the host of a try picks its own.
pub fn attempts(input: &Input) -> Resource {
    let all: Vec<&str> = input.providers.iter().map(|provider| provider.attempt.as_str()).collect();
    let all = format!("{{\"providers\":[{}]}}", all.join(","));
    resource(ATTEMPTS, plugin(ATTEMPTS, "attempts", &input.module.file, Some(&all)))
}

/// An HTTP filter whose configuration is asked for by name, on the stream that the filter itself came by.
///
/// Until it arrives, every request is refused with 503 in the client's dialect: the fallback is the client's
/// side of the same module without a policy, in both places.
pub fn discovered(name: &str, input: &Input) -> HttpFilter {
    let fallback = plugin("weir.no-policy", "exchange", &input.module.fallback, None);
    let source = ExtensionConfigSource {
        config_source: Some(over_ads()),
        default_config: Some(pack(&fallback)),
        apply_default_config_without_warming: false,
        type_urls: vec![Wasm::type_url()],
    };
    HttpFilter {
        name: name.to_owned(),
        config_type: Some(http_filter::ConfigType::ConfigDiscovery(source)),
        ..Default::default()
    }
}

/// An HTTP filter that is configured where it stands.
pub fn fixed(name: &str, config: Any) -> HttpFilter {
    HttpFilter {
        name: name.to_owned(),
        config_type: Some(http_filter::ConfigType::TypedConfig(config)),
        ..Default::default()
    }
}

fn resource(name: &str, wasm: Wasm) -> Resource {
    let config = TypedExtensionConfig { name: name.to_owned(), typed_config: Some(pack(&wasm)) };
    Resource::new(name, pack(&config))
}

fn plugin(name: &str, root_id: &str, file: &str, configuration: Option<&str>) -> Wasm {
    let local = DataSource {
        specifier: Some(data_source::Specifier::Filename(file.to_owned())),
        ..Default::default()
    };
    let vm = VmConfig {
        vm_id: VM_ID.to_owned(),
        runtime: "envoy.wasm.runtime.v8".to_owned(),
        code: Some(AsyncDataSource { specifier: Some(async_data_source::Specifier::Local(local)) }),
        ..Default::default()
    };
    let reload = ReloadConfig {
        backoff: Some(BackoffStrategy { base_interval: millis(100), max_interval: millis(1000) }),
    };
    let config = PluginConfig {
        name: name.to_owned(),
        root_id: root_id.to_owned(),
        configuration: configuration.map(|text| pack(&StringValue { value: text.to_owned() })),
        // A trap costs the open streams of one worker; the next request gets a new VM.
        failure_policy: FailurePolicy::FailReload.into(),
        reload_config: Some(reload),
        // Without it a request whose body is read before it is routed hangs for ever.
        allow_on_headers_stop_iteration: yes(),
        vm: Some(plugin_config::Vm::VmConfig(vm)),
        ..Default::default()
    };
    Wasm { config: Some(config) }
}
