//! Whether a snapshot holds together: everything that a resource names is there. A pure check, run on every
//! snapshot before any gateway sees it.

use std::collections::BTreeSet;

use envoy_types::pb::envoy::config::cluster::v3::{
    Cluster,
    cluster::{ClusterDiscoveryType, DiscoveryType},
};
use envoy_types::pb::envoy::config::core::v3::TypedExtensionConfig;
use envoy_types::pb::envoy::config::listener::v3::{Listener, filter};
use envoy_types::pb::envoy::config::route::v3::{RouteConfiguration, route, route_action};
use envoy_types::pb::envoy::extensions::filters::http::wasm::v3::Wasm;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, HttpFilter, http_connection_manager::RouteSpecifier, http_filter,
};
use envoy_types::pb::envoy::extensions::router::cluster_specifiers::matcher::v3::ClusterAction;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
use envoy_types::pb::google::protobuf::StringValue;
use prost::Message;

use crate::input::EXCHANGE;
use crate::ordered::{Matcher, MatcherClusterSpecifier, OnMatch};
use crate::resource::{Kind, Snapshot};

/// A reference that leads nowhere, or a resource that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inconsistent {
    /// A resource names another one that is not in the snapshot.
    Missing {
        /// Who names it.
        by: (Kind, String),
        /// What is named.
        what: (Kind, String),
    },
    /// A resource that nothing names.
    Orphan(Kind, String),
    /// Bytes that are no message of their type.
    Unreadable(Kind, String),
}

impl std::fmt::Display for Inconsistent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing { by, what } => {
                write!(f, "{} `{}` names {} `{}`, which is missing", by.0.name(), by.1, what.0.name(), what.1)
            }
            Self::Orphan(kind, name) => write!(f, "nothing names {} `{name}`", kind.name()),
            Self::Unreadable(kind, name) => write!(f, "{} `{name}` cannot be read", kind.name()),
        }
    }
}

impl std::error::Error for Inconsistent {}

/// Everything that is wrong with a snapshot; empty when it holds together.
pub fn consistent(snapshot: &Snapshot) -> Vec<Inconsistent> {
    let mut problems = Vec::new();
    let mut named: BTreeSet<(Kind, String)> = BTreeSet::new();
    for (kind, resource) in snapshot.all() {
        let Some(names) = names(kind, resource.body.value.as_slice()) else {
            problems.push(Inconsistent::Unreadable(kind, resource.name.clone()));
            continue;
        };
        for what in names {
            if snapshot.get(what.0, &what.1).is_none() {
                let by = (kind, resource.name.clone());
                problems.push(Inconsistent::Missing { by, what: what.clone() });
            }
            named.insert(what);
        }
    }
    for (kind, resource) in snapshot.all() {
        let found_by_itself = kind.is_wildcard() || resource.name == EXCHANGE;
        if !found_by_itself && !named.contains(&(kind, resource.name.clone())) {
            problems.push(Inconsistent::Orphan(kind, resource.name.clone()));
        }
    }
    problems
}

/// What a resource names; `None` when it cannot be read.
fn names(kind: Kind, bytes: &[u8]) -> Option<Vec<(Kind, String)>> {
    let mut names = Vec::new();
    match kind {
        Kind::Cluster => {
            let cluster = Cluster::decode(bytes).ok()?;
            let eds = ClusterDiscoveryType::Type(DiscoveryType::Eds.into());
            if cluster.cluster_discovery_type == Some(eds) {
                names.push((Kind::Endpoints, cluster.name.clone()));
            }
            for options in cluster.typed_extension_protocol_options.values() {
                let options = HttpProtocolOptions::decode(options.value.as_slice()).ok()?;
                discovered(&options.http_filters, &mut names);
            }
        }
        Kind::Endpoints => {}
        Kind::Listener => {
            let listener = Listener::decode(bytes).ok()?;
            for filter in listener.filter_chains.iter().flat_map(|chain| &chain.filters) {
                let Some(filter::ConfigType::TypedConfig(config)) = &filter.config_type else { continue };
                let manager = HttpConnectionManager::decode(config.value.as_slice()).ok()?;
                discovered(&manager.http_filters, &mut names);
                if let Some(RouteSpecifier::Rds(rds)) = manager.route_specifier {
                    names.push((Kind::Routes, rds.route_config_name));
                }
            }
        }
        Kind::Routes => {
            let config = RouteConfiguration::decode(bytes).ok()?;
            for route in config.virtual_hosts.into_iter().flat_map(|host| host.routes) {
                let Some(route::Action::Route(action)) = route.action else { continue };
                let Some(route_action::ClusterSpecifier::InlineClusterSpecifierPlugin(plugin)) =
                    action.cluster_specifier
                else {
                    continue;
                };
                let config = plugin.extension?.typed_config?;
                let slots = MatcherClusterSpecifier::decode(config.value.as_slice()).ok()?;
                clusters(&slots.cluster_matcher?, &mut names)?;
            }
        }
        Kind::Extension => {
            let config = TypedExtensionConfig::decode(bytes).ok()?;
            let wasm = Wasm::decode(config.typed_config?.value.as_slice()).ok()?.config?;
            if config.name == EXCHANGE {
                let text = StringValue::decode(wasm.configuration?.value.as_slice()).ok()?.value;
                let policy: serde_json::Value = serde_json::from_str(&text).ok()?;
                let of = |key| policy.get(key).and_then(|list| list.as_array()).into_iter().flatten();
                for named in of("providers").chain(of("lists")).chain(of("analyzers")) {
                    let cluster = named.get("cluster").and_then(|name| name.as_str())?;
                    names.push((Kind::Cluster, cluster.to_owned()));
                }
                for at in ["/ledger/cluster", "/telemetry/otlp_cluster"] {
                    if let Some(cluster) = policy.pointer(at).and_then(|name| name.as_str()) {
                        names.push((Kind::Cluster, cluster.to_owned()));
                    }
                }
            }
        }
    }
    Some(names)
}

fn discovered(filters: &[HttpFilter], names: &mut Vec<(Kind, String)>) {
    for filter in filters {
        if let Some(http_filter::ConfigType::ConfigDiscovery(_)) = filter.config_type {
            names.push((Kind::Extension, filter.name.clone()));
        }
    }
}

fn clusters(matcher: &Matcher, names: &mut Vec<(Kind, String)>) -> Option<()> {
    let exact = matcher.tree.iter().filter_map(|tree| tree.exact.as_ref());
    let branches: Vec<&OnMatch> =
        exact.flat_map(|exact| exact.map.values()).chain(matcher.on_no_match.as_deref()).collect();
    for branch in branches {
        if let Some(inner) = &branch.matcher {
            clusters(inner, names)?;
        }
        if let Some(action) = &branch.action {
            let to = ClusterAction::decode(action.typed_config.as_ref()?.value.as_slice()).ok()?;
            names.push((Kind::Cluster, to.cluster));
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::{Address, Gateway, Input, Provider};
    use crate::snapshot;

    fn input() -> Input {
        let provider = Provider {
            name: "gpu".into(),
            cluster: "weir-gpu".into(),
            attempt: "{}".into(),
            endpoints: vec![Address::new("127.0.0.1", 9101)],
            ..Provider::default()
        };
        Input {
            exchange: r#"{"providers":[{"cluster":"weir-gpu"}]}"#.into(),
            providers: vec![provider],
            gateway: Some(Gateway::default()),
            ..Input::default()
        }
    }

    #[test]
    fn what_is_built_holds_together() {
        assert_eq!(consistent(&snapshot(&input())), []);
    }

    #[test]
    fn a_policy_that_names_an_absent_cluster_is_found() {
        let mut input = input();
        input.exchange = r#"{"providers":[{"cluster":"weir-gone"}]}"#.into();
        let what = (Kind::Cluster, "weir-gone".to_owned());
        let by = (Kind::Extension, EXCHANGE.to_owned());
        assert_eq!(consistent(&snapshot(&input)), [Inconsistent::Missing { by, what }]);
    }

    #[test]
    fn every_single_missing_resource_is_found() {
        let whole = snapshot(&input());
        for (gone, name) in whole.all().map(|(kind, resource)| (kind, resource.name.clone())) {
            let rest = whole.all().filter(|(kind, resource)| (*kind, &resource.name) != (gone, &name));
            let rest = Snapshot::new("", rest.map(|(kind, resource)| (kind, (**resource).clone())));
            // A listener is named by nobody; without it the route and the policy are what is too much.
            assert_ne!(consistent(&rest), [], "without {} {name}", gone.name());
        }
    }

    #[test]
    fn bytes_that_are_no_message_are_found() {
        let whole = snapshot(&input());
        for (kind, resource) in whole.all() {
            let mut broken = (**resource).clone();
            broken.body.value = vec![0xff; 7];
            let one = Snapshot::new("", [(kind, broken)]);
            let readable = kind == Kind::Endpoints;
            let found = consistent(&one).contains(&Inconsistent::Unreadable(kind, resource.name.clone()));
            assert_eq!(found, !readable, "{}", kind.name());
        }
    }
}
