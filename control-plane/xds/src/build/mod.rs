//! The pure function from an [`Input`] to the resources of a gateway; one file per kind of resource.

mod any;
mod cluster;
pub mod filter;
mod list;
mod listener;
mod local_reply;
mod log;
mod routes;
mod slots;

pub(crate) use routes::idle_ms;

use crate::input::{ATTEMPT, Input};
use crate::resource::{Kind, Resource, Snapshot};

/// Every xDS resource of a gateway.
///
/// A function of its input alone: equal inputs give equal bytes. A change of rules, models or budgets
/// changes only the extension configurations; a change of providers also their clusters and the route; only
/// a change of `gateway` touches the listener.
pub fn snapshot(input: &Input) -> Snapshot {
    let mut all: Vec<(Kind, Resource)> = Vec::new();
    for provider in &input.providers {
        let mut cluster = cluster::provider(input, provider);
        // A new cluster is of use only with its hosts and its filter; what is sent with them waits for all.
        cluster.after = Vec::new();
        all.push((Kind::Cluster, cluster));
        if let Some(endpoints) = cluster::endpoints(provider) {
            all.push((Kind::Endpoints, endpoints));
        }
        all.push((Kind::Extension, filter::attempt(input, provider)));
    }
    for list in &input.lists {
        all.push((Kind::Cluster, list::cluster(input, list)));
    }
    if !input.lists.is_empty() {
        all.push((Kind::Extension, filter::attempts(input)));
    }
    all.extend(cluster::services(input).into_iter().map(|cluster| (Kind::Cluster, cluster)));
    let clusters: Vec<(Kind, String)> =
        all.iter().map(|(kind, resource)| (*kind, resource.name.clone())).collect();
    let mut before_policy = clusters.clone();
    if let Some(gateway) = &input.gateway {
        let mut routes = routes::routes(input, gateway);
        routes.after = clusters.clone();
        let mut listener = listener::listener(input, gateway);
        listener.after = clusters;
        before_policy.push((Kind::Listener, listener.name.clone()));
        before_policy.push((Kind::Routes, routes.name.clone()));
        all.push((Kind::Listener, listener));
        all.push((Kind::Routes, routes));
    }
    // The policy comes last: once a gateway judges by it, whatever it may decide can be carried out.
    let mut exchange = filter::exchange(input);
    exchange.after = before_policy;
    all.push((Kind::Extension, exchange));
    Snapshot::new(input.policy.clone(), all)
}

/// Name of the attempt filter of a provider.
pub(crate) fn attempt_name(provider: &str) -> String {
    format!("{ATTEMPT}.{provider}")
}
