//! Clusters over several providers, for Envoys that cannot pick another cluster for the next try.
//!
//! Each provider is a priority of its own: the first try goes to the first, and the route's retry priority leads
//! every further one to the next. A host says in its metadata whose it is, by which the attempt filter finds its
//! provider and Envoy the host's TLS.

use std::collections::{BTreeMap, HashMap};

use envoy_types::pb::envoy::config::cluster::v3::{
    Cluster,
    cluster::{ClusterDiscoveryType, DiscoveryType, LbPolicy, TransportSocketMatch},
};
use envoy_types::pb::envoy::config::core::v3::Metadata;
use envoy_types::pb::envoy::config::endpoint::v3::{ClusterLoadAssignment, LbEndpoint, LocalityLbEndpoints};
use envoy_types::pb::envoy::extensions::common::matching::v3::ExtensionWithMatcher;
use envoy_types::pb::envoy::extensions::filters::http::composite::v3::{Composite, ExecuteFilterAction};
use envoy_types::pb::envoy::extensions::filters::http::upstream_codec::v3::UpstreamCodec;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter;
use envoy_types::pb::google::protobuf::{Struct, Value, value};

use super::any::{extension, pack, pack_as, xds_extension};
use super::cluster::{self, SIGNER, http1, signer, tls_socket};
use super::filter::{discovered, fixed};
use super::slots::state;
use crate::input::{ATTEMPTS, Address, Input, List, Provider};
use crate::ordered::{self, MatchMap, Matcher, MatcherTree, OnMatch};
use crate::resource::Resource;

/// Where Envoy looks for what a host's transport socket must match. A map of two keys would have no order, so the
/// attempt filter reads the same.
const NAMESPACE: &str = "envoy.transport_socket_match";

/// Filter state in which the attempt filter names the provider of its try.
const PROVIDER: &str = "wasm.provider";

/// The cluster of a list.
pub fn cluster(input: &Input, list: &List) -> Resource {
    let find = |name: &String| input.providers.iter().find(|provider| provider.name == *name);
    let providers: Vec<&Provider> = list.providers.iter().filter_map(find).collect();
    let mut filters = vec![discovered(ATTEMPTS, input)];
    filters.extend(signers(&providers));
    filters.push(fixed("envoy.filters.http.upstream_codec", pack(&UpstreamCodec {})));
    let addresses: Vec<Address> = providers.iter().flat_map(|provider| provider.endpoints.clone()).collect();
    let kind = match addresses.iter().all(Address::is_ip) {
        true => DiscoveryType::Static,
        false => DiscoveryType::StrictDns,
    };
    let endpoints = providers.iter().zip(0..).map(|(provider, priority)| priority_of(provider, priority));
    let cluster = Cluster {
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(kind.into())),
        load_assignment: Some(ClusterLoadAssignment {
            cluster_name: list.cluster.clone(),
            endpoints: endpoints.collect(),
            ..Default::default()
        }),
        // What matches none of them is plain text.
        transport_socket_matches: providers.iter().filter_map(|provider| tls(provider)).collect(),
        lb_policy: LbPolicy::LeastRequest.into(),
        typed_extension_protocol_options: http1(filters),
        ..cluster::cluster(&list.cluster, &addresses, None)
    };
    Resource::new(&list.cluster, pack(&cluster))
}

fn priority_of(provider: &Provider, priority: u32) -> LocalityLbEndpoints {
    let metadata = Metadata {
        filter_metadata: HashMap::from([(NAMESPACE.to_owned(), named(provider))]),
        ..Default::default()
    };
    let host = |to| LbEndpoint { metadata: Some(metadata.clone()), ..cluster::host(to) };
    LocalityLbEndpoints {
        lb_endpoints: provider.endpoints.iter().map(host).collect(),
        priority,
        ..Default::default()
    }
}

fn named(provider: &Provider) -> Struct {
    let name = Value { kind: Some(value::Kind::StringValue(provider.name.clone())) };
    Struct { fields: HashMap::from([("provider".to_owned(), name)]) }
}

fn tls(provider: &Provider) -> Option<TransportSocketMatch> {
    Some(TransportSocketMatch {
        name: provider.name.clone(),
        r#match: Some(named(provider)),
        transport_socket: Some(tls_socket(provider.tls.as_ref()?)),
    })
}

/// The signer of the provider that the try is at; none for the others. Chosen by filter state and not by a header,
/// which would be signed and sent.
fn signers(providers: &[&Provider]) -> Option<HttpFilter> {
    let sign = |provider: &&Provider| {
        let filter = extension(SIGNER, signer(provider.signing.as_ref()?));
        let action = ExecuteFilterAction { typed_config: filter, ..Default::default() };
        let action = OnMatch { matcher: None, action: xds_extension("sign", pack(&action)) };
        Some((provider.name.clone(), action))
    };
    let map: BTreeMap<String, OnMatch> = providers.iter().filter_map(sign).collect();
    if map.is_empty() {
        return None;
    }
    let tree = MatcherTree { input: state(PROVIDER), exact: Some(MatchMap { map }) };
    let config = ordered::ExtensionWithMatcher {
        extension: extension("envoy.filters.http.composite", pack(&Composite::default())),
        matcher: Some(Matcher { tree: Some(tree), on_no_match: None }),
    };
    Some(fixed("weir.signer", pack_as::<ExtensionWithMatcher>(&config)))
}
