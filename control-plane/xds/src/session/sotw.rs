//! State of the world: every request repeats all names, an answer has one version for its kind.

use std::collections::BTreeSet;
use std::sync::Arc;

use envoy_types::pb::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};

use super::{Out, Session};
use crate::resource::{Kind, Resource, Snapshot};

impl Session {
    pub(super) fn sotw(&mut self, request: DiscoveryRequest, out: &mut Vec<Out>) {
        self.greet(request.node.as_ref(), out);
        let Some(kind) = self.kind(&request.type_url) else { return };
        if !request.response_nonce.is_empty() {
            let refusal = request.error_detail.map(|status| status.message);
            let was_answer = self.answered(kind, &request.response_nonce, refusal, out);
            let waits = self.books.get(&kind).is_some_and(|books| books.sent.is_some());
            // About an answer before the last one: its names come again with the answer to the last one.
            if !was_answer && waits {
                return;
            }
        }
        let books = self.books.entry(kind).or_default();
        let names: BTreeSet<String> = request.resource_names.into_iter().collect();
        books.wildcard = names.contains("*") || names.is_empty() && kind.is_wildcard();
        // A name that is given up and asked for again is sent again.
        if !books.wildcard {
            books.has.retain(|name, _| names.contains(name));
        }
        books.names = names;
    }
}

pub(super) fn response(
    kind: Kind,
    nonce: &str,
    target: &Snapshot,
    sends: &[&Arc<Resource>],
) -> DiscoveryResponse {
    DiscoveryResponse {
        version_info: version(target, kind),
        type_url: kind.type_url().to_owned(),
        nonce: nonce.to_owned(),
        resources: sends.iter().map(|resource| resource.body.clone()).collect(),
        ..Default::default()
    }
}

/// One version for all resources of a kind: it changes with any of them and with nothing else.
fn version(target: &Snapshot, kind: Kind) -> String {
    Snapshot::new("", target.of(kind).map(|resource| (kind, Resource::clone(resource)))).version
}
