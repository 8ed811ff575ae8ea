//! The cluster of each try, read from filter state: `wasm.tried` says which slot is next, the slot names it.
//!
//! One route serves every model, weight and order: the exchange filter writes `wasm.s1` to `wasm.s3`, the
//! attempt filter counts its tries in `wasm.tried`. Needs Envoy 1.39 or newer.

use envoy_types::pb::envoy::config::route::v3::ClusterSpecifierPlugin;
use envoy_types::pb::envoy::extensions::matching::common_inputs::network::v3::FilterStateInput;
use envoy_types::pb::envoy::extensions::router::cluster_specifiers::matcher::v3::{
    ClusterAction, MatcherClusterSpecifier,
};
use envoy_types::pb::xds::core::v3::TypedExtensionConfig;

use super::any::{extension, pack, pack_as, xds_extension};
use crate::ordered::{self, MatchMap, Matcher, MatcherTree, OnMatch};

/// How many clusters a request can be tried on.
pub const SLOTS: usize = 3;

/// The specifier over these clusters; a slot that names none of them is answered with 503.
pub fn specifier(clusters: &[&str]) -> ClusterSpecifierPlugin {
    let later = (1..SLOTS).map(|tried| (tried.to_string(), nested(slot(tried + 1, clusters)))).collect();
    let matcher = Matcher {
        tree: Some(MatcherTree { input: state("wasm.tried"), exact: Some(MatchMap { map: later }) }),
        on_no_match: Some(Box::new(nested(slot(1, clusters)))),
    };
    let config = ordered::MatcherClusterSpecifier { cluster_matcher: Some(matcher) };
    ClusterSpecifierPlugin {
        extension: extension("weir.slots", pack_as::<MatcherClusterSpecifier>(&config)),
        ..Default::default()
    }
}

fn slot(number: usize, clusters: &[&str]) -> Matcher {
    let to = |cluster: &str| OnMatch {
        action: xds_extension("cluster", pack(&ClusterAction { cluster: cluster.to_owned() })),
        ..Default::default()
    };
    let map = clusters.iter().map(|cluster| ((*cluster).to_owned(), to(cluster))).collect();
    Matcher {
        tree: Some(MatcherTree { input: state(&format!("wasm.s{number}")), exact: Some(MatchMap { map }) }),
        on_no_match: None,
    }
}

fn nested(matcher: Matcher) -> OnMatch {
    OnMatch { matcher: Some(Box::new(matcher)), action: None }
}

/// A key of filter state as a matcher reads it.
pub fn state(key: &str) -> Option<TypedExtensionConfig> {
    xds_extension(key, pack(&FilterStateInput { key: key.to_owned(), ..Default::default() }))
}
