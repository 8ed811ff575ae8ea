//! An Envoy bootstrap as a document: read from the repository's own example, then changed where a test must differ.

use std::path::Path;

use serde_json::{Value, json};

use super::paths;

/// The bootstrap.
#[derive(Clone, Debug)]
pub struct EnvoyConfig(pub Value);

impl EnvoyConfig {
    /// Reads YAML from a path below the repository.
    pub fn read(path: &str) -> Self {
        let text = std::fs::read_to_string(paths::repo_root().join(path)).expect("the example is there");
        Self::parse(&text)
    }

    /// Reads YAML (or JSON, which is YAML).
    pub fn parse(text: &str) -> Self {
        Self(serde_yaml_ng::from_str(text).expect("the bootstrap is YAML"))
    }

    /// Writes `value` over every `port_value` that is `from`; there must be one.
    pub fn port(&mut self, from: u16, to: u16) -> &mut Self {
        let mut found = 0;
        visit(&mut self.0, &mut |value| {
            if value.get("port_value") == Some(&json!(from)) {
                value["port_value"] = json!(to);
                found += 1;
            }
        });
        assert!(found > 0, "no port {from} in the bootstrap");
        self
    }

    /// Replaces the module of every wasm plugin.
    pub fn module(&mut self, path: &Path) -> &mut Self {
        self.plugins(|_, plugin| plugin["vm_config"]["code"] = json!({"local": {"filename": path}}))
    }

    /// Replaces the configuration of every plugin whose `root_id` is this one; there must be one.
    pub fn configure(&mut self, root_id: &str, configuration: &str) -> &mut Self {
        let mut found = 0;
        self.plugins(|root, plugin| {
            if root == root_id {
                plugin["configuration"]["value"] = json!(configuration);
                found += 1;
            }
        });
        assert!(found > 0, "no plugin with root_id {root_id}");
        self
    }

    /// The JSON configuration of the first plugin with this `root_id`.
    pub fn configuration(&mut self, root_id: &str) -> Value {
        let mut found = None;
        self.plugins(|root, plugin| {
            if root == root_id && found.is_none() {
                found = plugin["configuration"]["value"].as_str().map(str::to_owned);
            }
        });
        let text = found.unwrap_or_else(|| panic!("no plugin with root_id {root_id}"));
        serde_json::from_str(&text).expect("the configuration is JSON")
    }

    /// Visits every wasm plugin with its `root_id`.
    pub fn plugins(&mut self, mut change: impl FnMut(&str, &mut Value)) -> &mut Self {
        visit(&mut self.0, &mut |value| {
            if value.get("vm_config").is_some() {
                let root = value["root_id"].as_str().unwrap_or_default().to_owned();
                change(&root, value);
            }
        });
        self
    }

    /// Takes both filters out: the same Envoy without Weir, its route straight to `cluster`.
    pub fn without_filters(&mut self, cluster: &str) -> &mut Self {
        visit(&mut self.0, &mut |value| {
            if let Some(filters) = value.get_mut("http_filters").and_then(Value::as_array_mut) {
                filters.retain(|filter| filter.pointer("/typed_config/config/vm_config").is_none());
            }
        });
        self.straight_to(cluster)
    }

    /// Puts filters that do nothing in the place of both, its route straight to `cluster`.
    pub fn idle_filters(&mut self, cluster: &str) -> &mut Self {
        self.module(&paths::module("probe")).configure("exchange", "idle").configure("attempt", "idle");
        self.straight_to(cluster)
    }

    fn straight_to(&mut self, cluster: &str) -> &mut Self {
        visit(&mut self.0, &mut |value| {
            if let Some(route) = value.get_mut("route").and_then(Value::as_object_mut)
                && route.remove("inline_cluster_specifier_plugin").is_some()
            {
                route.insert("cluster".into(), json!(cluster));
            }
        });
        self
    }

    /// The first listener.
    pub fn listener(&mut self) -> &mut Value {
        self.0.pointer_mut("/static_resources/listeners/0").expect("a listener")
    }

    /// The connection manager of the first listener.
    pub fn connection_manager(&mut self) -> &mut Value {
        let place = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
        self.0.pointer_mut(place).expect("the first filter is the connection manager")
    }

    /// A cluster by name.
    pub fn cluster(&mut self, name: &str) -> &mut Value {
        let clusters = self.0.pointer_mut("/static_resources/clusters").and_then(Value::as_array_mut);
        let mut clusters = clusters.into_iter().flatten();
        clusters.find(|cluster| cluster["name"] == name).unwrap_or_else(|| panic!("no cluster {name}"))
    }
}

fn visit(value: &mut Value, change: &mut dyn FnMut(&mut Value)) {
    change(value);
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| visit(item, change)),
        Value::Object(members) => members.values_mut().for_each(|member| visit(member, change)),
        _ => {}
    }
}
