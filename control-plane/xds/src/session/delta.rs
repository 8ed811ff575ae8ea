//! Delta: requests add and drop names, an answer has a version for each resource.

use std::collections::BTreeMap;
use std::sync::Arc;

use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource as Wire,
};

use super::{Out, Session};
use crate::resource::{Kind, Resource, Snapshot};

impl Session {
    pub(super) fn delta(&mut self, request: DeltaDiscoveryRequest, out: &mut Vec<Out>) {
        self.greet(request.node.as_ref(), out);
        let Some(kind) = self.kind(&request.type_url) else { return };
        if !request.response_nonce.is_empty() {
            let refusal = request.error_detail.map(|status| status.message);
            self.answered(kind, &request.response_nonce, refusal, out);
        }
        let first = !self.books.contains_key(&kind);
        let books = self.books.entry(kind).or_default();
        books.delta = true;
        let named = !request.resource_names_subscribe.is_empty();
        if first && !named && kind.is_wildcard() {
            books.wildcard = true;
        }
        for name in request.resource_names_subscribe {
            if name == "*" {
                books.wildcard = true;
                continue;
            }
            // Asked for again: whatever it had is forgotten.
            books.has.remove(&name);
            books.asked.insert(name.clone());
            books.names.insert(name);
        }
        for name in request.resource_names_unsubscribe {
            if name == "*" {
                books.wildcard = false;
            }
            books.has.remove(&name);
            books.asked.remove(&name);
            books.names.remove(&name);
        }
        // After a reconnection: what the gateway still has. A name of those was subscribed in this request.
        for (name, version) in request.initial_resource_versions {
            books.asked.remove(&name);
            books.has.insert(name, version);
        }
    }
}

pub(super) fn response(
    kind: Kind,
    nonce: &str,
    target: &Snapshot,
    sends: &[&Arc<Resource>],
    versions: &BTreeMap<String, Option<String>>,
) -> DeltaDiscoveryResponse {
    let wire = |resource: &&Arc<Resource>| Wire {
        name: resource.name.clone(),
        version: resource.version.clone(),
        resource: Some(resource.body.clone()),
        ..Default::default()
    };
    let gone = versions.iter().filter(|(_, version)| version.is_none());
    DeltaDiscoveryResponse {
        system_version_info: target.version.clone(),
        type_url: kind.type_url().to_owned(),
        nonce: nonce.to_owned(),
        resources: sends.iter().map(wire).collect(),
        removed_resources: gone.map(|(name, _)| name.clone()).collect(),
        ..Default::default()
    }
}
