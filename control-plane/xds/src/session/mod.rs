//! The conversation with one Envoy on one stream: what it asks for, what it has, what it is sent next.
//!
//! Events in, messages out; `now` is an argument in milliseconds of any monotone clock. State of the world and
//! delta differ only at the edge (`sotw.rs`, `delta.rs`): both keep the same books.
//!
//! - Only what differs from what the gateway has accepted is sent (a state of the world of clusters or
//!   listeners is complete, because leaving something out would remove it).
//! - One answer per kind is under way; the next waits for its ACK or NACK.
//! - A resource waits for those that it needs ([`crate::Resource::after`]), so a policy arrives last.
//! - What was refused is not sent again under the same target; whatever waits for it stays back too, so the
//!   gateway goes on with the whole of its last good policy.
//!
//! After every call the caller sends all [`Out`]s in order, and calls with [`In::Tick`] at
//! [`Session::deadline`] at the latest.

mod books;
mod delta;
mod sotw;

use std::collections::BTreeMap;
use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::{Node, node::UserAgentVersionType};
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};

use crate::input::EXCHANGE;
use crate::resource::{Kind, Resource, Snapshot};
use books::{Books, Sent};

/// How long a resource waits for others of which nothing is heard. What was refused is waited for without end.
pub const PATIENCE_MS: u64 = 3_000;

/// What happens to a session.
#[derive(Clone, Debug)]
pub enum In {
    /// A request of a state-of-the-world stream.
    Sotw(DiscoveryRequest),
    /// A request of a delta stream.
    Delta(DeltaDiscoveryRequest),
    /// From now on the gateway should have this.
    Target(Arc<Snapshot>),
    /// Time has passed.
    Tick,
}

/// What a session wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Out {
    /// Send this on a state-of-the-world stream.
    Sotw(DiscoveryResponse),
    /// Send this on a delta stream.
    Delta(DeltaDiscoveryResponse),
    /// Note this.
    Event(Event),
}

/// What became of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The gateway said who it is.
    Hello {
        /// `node.id`.
        node: String,
        /// `node.cluster`.
        cluster: String,
        /// Release of Envoy, such as `1.40.0`; empty when it did not say.
        envoy: String,
    },
    /// The gateway has all of a snapshot and judges by its policy.
    Accepted {
        /// Version of the snapshot.
        version: String,
        /// Version of the policy.
        policy: String,
    },
    /// The gateway refused resources and goes on with those that it had.
    Rejected {
        /// Version of the snapshot.
        version: String,
        /// Version of the policy.
        policy: String,
        /// Kind of the resources.
        kind: Kind,
        /// Their names.
        names: Vec<String>,
        /// Envoy's reason.
        message: String,
    },
}

/// How far a gateway is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Version of the snapshot that it should have.
    pub target: String,
    /// Whether it has all of it.
    pub complete: bool,
    /// Number of resources that it has accepted, by kind.
    pub has: BTreeMap<Kind, usize>,
    /// Number of resources that it was sent and has not answered, by kind.
    pub unanswered: BTreeMap<Kind, usize>,
}

/// One stream.
#[derive(Debug)]
pub struct Session {
    /// Kind of requests that do not name one: those of a service for one kind.
    only: Option<Kind>,
    target: Arc<Snapshot>,
    books: BTreeMap<Kind, Books>,
    greeted: bool,
    nonce: u64,
    /// Since when something waits for others.
    waiting_since: Option<u64>,
    accepted: String,
}

impl Session {
    /// A new stream towards `target`; `only` names the kind where the service has just one.
    pub fn new(target: Arc<Snapshot>, only: Option<Kind>) -> Self {
        Self {
            only,
            target,
            books: BTreeMap::new(),
            greeted: false,
            nonce: 0,
            waiting_since: None,
            accepted: String::new(),
        }
    }

    /// Takes one event; what to do about it is appended to `out`.
    pub fn handle(&mut self, now: u64, input: In, out: &mut Vec<Out>) {
        match input {
            In::Sotw(request) => self.sotw(request, out),
            In::Delta(request) => self.delta(request, out),
            In::Target(target) => self.aim(target),
            In::Tick => {}
        }
        self.pump(now, out);
    }

    /// When [`In::Tick`] is due.
    pub fn deadline(&self) -> Option<u64> {
        self.waiting_since.map(|since| since + PATIENCE_MS)
    }

    /// How far the gateway is.
    pub fn progress(&self) -> Progress {
        let version = self.target.version.clone();
        let complete = self.accepted == version;
        let mut progress = Progress { target: version, complete, ..Progress::default() };
        for (kind, books) in &self.books {
            progress.has.insert(*kind, books.has.len());
            if let Some(sent) = &books.sent {
                progress.unanswered.insert(*kind, sent.versions.len());
            }
        }
        progress
    }

    fn aim(&mut self, target: Arc<Snapshot>) {
        if target.version != self.target.version {
            // A new target is a new try for everything.
            for books in self.books.values_mut() {
                books.refused.clear();
            }
            self.waiting_since = None;
        }
        self.target = target;
    }

    fn kind(&self, type_url: &str) -> Option<Kind> {
        if type_url.is_empty() { self.only } else { Kind::of(type_url) }
    }

    fn greet(&mut self, node: Option<&Node>, out: &mut Vec<Out>) {
        let Some(node) = node.filter(|_| !self.greeted) else { return };
        self.greeted = true;
        out.push(Out::Event(Event::Hello {
            node: node.id.clone(),
            cluster: node.cluster.clone(),
            envoy: release(node),
        }));
    }

    /// The gateway took or refused what was under way for a kind. A stale nonce changes nothing.
    fn answered(&mut self, kind: Kind, nonce: &str, refusal: Option<String>, out: &mut Vec<Out>) -> bool {
        let Some(books) = self.books.get_mut(&kind) else { return false };
        let Some(sent) = books.sent.take_if(|sent| sent.nonce == nonce) else { return false };
        match refusal {
            None => {
                let changed = books.accept(sent);
                if kind == Kind::Cluster {
                    self.renew_hosts(&changed);
                }
            }
            Some(message) => {
                let names: Vec<String> = sent.versions.keys().cloned().collect();
                let (version, policy) = (sent.snapshot.clone(), sent.policy.clone());
                books.refuse(sent);
                out.push(Out::Event(Event::Rejected { version, policy, kind, names, message }));
            }
        }
        true
    }

    /// A cluster that changed is warmed anew and waits for its hosts, which nobody asks for again.
    fn renew_hosts(&mut self, clusters: &[String]) {
        if let Some(endpoints) = self.books.get_mut(&Kind::Endpoints) {
            for name in clusters {
                endpoints.has.remove(name);
            }
        }
    }

    /// Sends what can be sent.
    fn pump(&mut self, now: u64, out: &mut Vec<Out>) {
        let patient = self.waiting_since.is_none_or(|since| now < since + PATIENCE_MS);
        let mut waits = false;
        for kind in Kind::ALL {
            let Some(books) = self.books.get(&kind).filter(|books| books.sent.is_none()) else { continue };
            let wanted: Vec<&Arc<Resource>> =
                self.target.of(kind).filter(|resource| books.wants(&resource.name)).collect();
            let changed: Vec<&Arc<Resource>> =
                wanted.iter().copied().filter(|resource| books.lacks(resource)).collect();
            let (ready, held): (Vec<&Arc<Resource>>, Vec<&Arc<Resource>>) =
                changed.into_iter().partition(|resource| self.is_ready(resource, patient));
            waits |= !held.is_empty();
            let complete = !books.delta && kind.is_wildcard();
            // Envoy takes a first answer without a listener for all that there will be.
            if !held.is_empty() && (complete || !books.answered && ready.is_empty()) {
                continue;
            }
            let gone = books.gone(&self.target, kind);
            let removed = if complete || self.is_quiet_but_for_removals(kind) { gone } else { Vec::new() };
            let missing = books.missing(&self.target, kind);
            // The first answer to "all" is given even when there is nothing: Envoy waits for it.
            let first = books.wildcard && !books.answered;
            if ready.is_empty() && removed.is_empty() && missing.is_empty() && !first {
                continue;
            }
            self.nonce += 1;
            let nonce = self.nonce.to_string();
            let sends = if complete { wanted } else { ready };
            let mut versions: BTreeMap<String, Option<String>> = BTreeMap::new();
            for resource in &sends {
                versions.insert(resource.name.clone(), Some(resource.version.clone()));
            }
            for name in removed.iter().chain(&missing) {
                versions.insert(name.clone(), None);
            }
            out.push(match books.delta {
                true => Out::Delta(delta::response(kind, &nonce, &self.target, &sends, &versions)),
                false => Out::Sotw(sotw::response(kind, &nonce, &self.target, &sends)),
            });
            let (snapshot, policy) = (self.target.version.clone(), self.target.policy.clone());
            if let Some(books) = self.books.get_mut(&kind) {
                books.answered = true;
                books.sent = Some(Sent { nonce, snapshot, policy, versions });
            }
        }
        match (waits, self.waiting_since) {
            (true, None) => self.waiting_since = Some(now),
            (false, Some(_)) => self.waiting_since = None,
            _ => {}
        }
        self.note_acceptance(out);
    }

    /// Whether everything that a resource needs has been accepted, as far as this stream carries it.
    fn is_ready(&self, resource: &Resource, patient: bool) -> bool {
        // A stream without clusters belongs to a gateway that others configure: it asks for filters only.
        let full = self.books.contains_key(&Kind::Cluster);
        resource.after.iter().all(|(kind, name)| {
            let Some(needed) = self.target.get(*kind, name) else { return true };
            match self.books.get(kind).filter(|books| books.wants(name)) {
                Some(books) if books.has.get(name) == Some(&needed.version) => true,
                Some(books) if books.refused.get(name) == Some(&needed.version) => false,
                Some(_) => !patient,
                // Not asked for: hosts and filters of a cluster are asked for once the cluster has arrived.
                None => match kind {
                    Kind::Endpoints | Kind::Extension => !full || !patient,
                    _ => true,
                },
            }
        })
    }

    /// Removals of one kind wait until everything else has been accepted: first nobody refers to it any more.
    fn is_quiet_but_for_removals(&self, of: Kind) -> bool {
        self.books.iter().all(|(kind, books)| {
            let settled = self
                .target
                .of(*kind)
                .filter(|resource| books.wants(&resource.name))
                .all(|resource| books.has.get(&resource.name) == Some(&resource.version));
            settled && (*kind == of || books.sent.is_none())
        })
    }

    fn note_acceptance(&mut self, out: &mut Vec<Out>) {
        if self.accepted == self.target.version {
            return;
        }
        let has_policy = || {
            let policy = self.target.get(Kind::Extension, EXCHANGE)?;
            let books = self.books.get(&Kind::Extension)?;
            // A stream of a single provider's filter has no policy to wait for.
            (!books.wants(EXCHANGE) && self.only.is_some()
                || books.has.get(EXCHANGE) == Some(&policy.version))
            .then_some(())
        };
        let settled = self.books.iter().all(|(kind, books)| {
            books.sent.is_none()
                && self
                    .target
                    .of(*kind)
                    .filter(|resource| books.wants(&resource.name))
                    .all(|resource| books.has.get(&resource.name) == Some(&resource.version))
        });
        if settled && has_policy().is_some() {
            self.accepted = self.target.version.clone();
            out.push(Out::Event(Event::Accepted {
                version: self.target.version.clone(),
                policy: self.target.policy.clone(),
            }));
        }
    }
}

/// Release of Envoy, such as `1.40.0`; empty when the node does not say.
pub fn release(node: &Node) -> String {
    match &node.user_agent_version_type {
        Some(UserAgentVersionType::UserAgentVersion(version)) => version.clone(),
        Some(UserAgentVersionType::UserAgentBuildVersion(build)) => match &build.version {
            Some(v) => format!("{}.{}.{}", v.major_number, v.minor_number, v.patch),
            None => String::new(),
        },
        None => String::new(),
    }
}

#[cfg(test)]
mod tests;
