//! A snapshot: every resource of a gateway, each with a version that is a hash of what it says.

use std::collections::BTreeMap;
use std::sync::Arc;

use envoy_types::pb::google::protobuf::Any;
use sha2::{Digest, Sha256};

/// Kinds of resources, in the order in which a change is sent: what is referred to before what refers to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// CDS.
    Cluster,
    /// EDS.
    Endpoints,
    /// LDS.
    Listener,
    /// RDS.
    Routes,
    /// ECDS.
    Extension,
}

impl Kind {
    /// All of them, in order.
    pub const ALL: [Kind; 5] =
        [Kind::Cluster, Kind::Endpoints, Kind::Listener, Kind::Routes, Kind::Extension];

    /// Type URL of its resources.
    pub fn type_url(self) -> &'static str {
        match self {
            Kind::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Kind::Endpoints => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            Kind::Listener => "type.googleapis.com/envoy.config.listener.v3.Listener",
            Kind::Routes => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
            Kind::Extension => "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
        }
    }

    /// The kind of a type URL.
    pub fn of(type_url: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.type_url() == type_url)
    }

    /// Short name for people.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Cluster => "CDS",
            Kind::Endpoints => "EDS",
            Kind::Listener => "LDS",
            Kind::Routes => "RDS",
            Kind::Extension => "ECDS",
        }
    }

    /// Whether an Envoy that names nothing wants all, and whether what is left out of a state of the world is
    /// thereby removed.
    pub fn is_wildcard(self) -> bool {
        matches!(self, Kind::Cluster | Kind::Listener)
    }
}

/// One resource.
#[derive(Clone, Debug, PartialEq)]
pub struct Resource {
    /// Name by which Envoy asks for it.
    pub name: String,
    /// Hash of `body`, 16 hex digits: equal bytes have equal versions, in every control plane.
    pub version: String,
    /// The message.
    pub body: Any,
    /// What a gateway must have accepted before it gets this one, where it asks for those at all.
    pub after: Vec<(Kind, String)>,
}

impl Resource {
    /// A resource with its version.
    pub fn new(name: impl Into<String>, body: Any) -> Self {
        let mut hash = Sha256::new();
        hash.update(body.type_url.as_bytes());
        hash.update([0]);
        hash.update(&body.value);
        Self { name: name.into(), version: short(hash), body, after: Vec::new() }
    }
}

/// Everything that a gateway is told, under one policy.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Version of the policy.
    pub policy: String,
    /// Hash of all resources.
    pub version: String,
    resources: BTreeMap<Kind, BTreeMap<String, Arc<Resource>>>,
}

impl Snapshot {
    /// A snapshot of these resources.
    pub fn new(policy: impl Into<String>, all: impl IntoIterator<Item = (Kind, Resource)>) -> Self {
        let mut resources: BTreeMap<Kind, BTreeMap<String, Arc<Resource>>> = BTreeMap::new();
        for (kind, resource) in all {
            resources.entry(kind).or_default().insert(resource.name.clone(), Arc::new(resource));
        }
        let mut hash = Sha256::new();
        for (kind, named) in &resources {
            for resource in named.values() {
                hash.update(format!("{} {} {}\n", kind.name(), resource.name, resource.version));
            }
        }
        Self { policy: policy.into(), version: short(hash), resources }
    }

    /// Resources of a kind, by name.
    pub fn of(&self, kind: Kind) -> impl Iterator<Item = &Arc<Resource>> {
        self.resources.get(&kind).into_iter().flat_map(BTreeMap::values)
    }

    /// One resource.
    pub fn get(&self, kind: Kind, name: &str) -> Option<&Arc<Resource>> {
        self.resources.get(&kind)?.get(name)
    }

    /// All resources in the order of [`Kind`].
    pub fn all(&self) -> impl Iterator<Item = (Kind, &Arc<Resource>)> {
        self.resources.iter().flat_map(|(kind, named)| named.values().map(|resource| (*kind, resource)))
    }
}

fn short(hash: Sha256) -> String {
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
