//! What every gateway should have, and what each of them has: published snapshots, streams, acceptances, refusals.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use tokio::sync::watch;
use weir_xds::{Event, Form, Progress, Snapshot};

/// Refusals that are kept for people to read.
const REFUSALS: usize = 50;

/// One policy in every form that gateways may need.
#[derive(Clone, Debug, Default)]
pub struct Published {
    /// For Envoy 1.39 and newer.
    pub slots: Arc<Snapshot>,
    /// For older ones.
    pub lists: Arc<Snapshot>,
    /// For the filters of older ones that others configure.
    pub single: Arc<Snapshot>,
}

impl Published {
    /// The snapshot in a form.
    pub fn form(&self, form: Form) -> &Arc<Snapshot> {
        match form {
            Form::Slots => &self.slots,
            Form::Lists => &self.lists,
            Form::Single => &self.single,
        }
    }

    fn has(&self, version: &str) -> bool {
        [&self.slots, &self.lists, &self.single].iter().any(|form| form.version == version)
    }
}

/// All gateways.
pub struct Fleet {
    current: watch::Sender<Arc<Published>>,
    next_peer: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    gateways: BTreeMap<u64, Gateway>,
    /// Snapshots that some gateway has taken, or refused, among the last ones.
    taken: BTreeSet<String>,
    refused: BTreeSet<String>,
    /// The last one that some gateway took.
    good: Option<Arc<Published>>,
    refusals: VecDeque<Refusal>,
    /// Refusals in all.
    refused_count: u64,
}

/// One stream of a gateway, for people.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Gateway {
    /// `node.id` of its bootstrap.
    pub node: String,
    /// `node.cluster` of its bootstrap.
    pub cluster: String,
    /// Envoy's release.
    pub envoy: String,
    /// Address that the stream comes from.
    pub address: String,
    /// `ADS` or `ECDS`.
    pub service: &'static str,
    /// Unix milliseconds.
    pub since_ms: u64,
    /// Version of the policy that it judges by, as far as this stream knows.
    pub policy: Option<String>,
    /// Whether it has all that it should have, by what its Envoy has acknowledged.
    pub current: bool,
    /// Its last refusal, as long as it stands.
    pub refusal: Option<Refusal>,
    /// Resources that it has, by kind.
    pub has: BTreeMap<&'static str, usize>,
    /// Version of the snapshot that it has all of.
    #[serde(skip)]
    complete: Option<String>,
}

/// A gateway refused something and goes on with what it had.
#[derive(Clone, Debug, Serialize)]
pub struct Refusal {
    /// Unix milliseconds.
    pub at_ms: u64,
    /// `node.id`.
    pub node: String,
    /// Version of the policy.
    pub policy: String,
    /// `CDS`, `EDS`, `LDS`, `RDS` or `ECDS`.
    pub kind: &'static str,
    /// Resources that were in the refused answer.
    pub names: Vec<String>,
    /// Envoy's reason.
    pub message: String,
}

/// A stream's place in the fleet, given back when it is dropped.
pub struct Peer {
    id: u64,
    fleet: Arc<Fleet>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        let gone = self.fleet.state().gateways.remove(&self.id);
        if let Some(gateway) = gone {
            tracing::info!(node = gateway.node, service = gateway.service, "gateway left");
        }
    }
}

impl Fleet {
    /// A fleet that is given `first`.
    pub fn new(first: Arc<Published>) -> Arc<Self> {
        let (current, _) = watch::channel(first);
        Arc::new(Self { current, next_peer: AtomicU64::new(0), state: Mutex::default() })
    }

    /// From now on every gateway should have this.
    pub fn publish(&self, published: Arc<Published>) {
        self.current.send_replace(published);
    }

    /// What every gateway should have.
    pub fn current(&self) -> Arc<Published> {
        self.current.borrow().clone()
    }

    /// Tells of publications.
    pub fn news(&self) -> watch::Receiver<Arc<Published>> {
        self.current.subscribe()
    }

    /// What a gateway that begins is given: the current snapshot, or the last good one while the current one
    /// has been refused and taken by nobody. Else a restarted gateway would stand there without any.
    pub fn for_a_new_stream(&self, form: Form) -> Arc<Snapshot> {
        let current = self.current().form(form).clone();
        let state = self.state();
        match &state.good {
            Some(good)
                if state.refused.contains(&current.version) && !state.taken.contains(&current.version) =>
            {
                good.form(form).clone()
            }
            _ => current,
        }
    }

    /// A stream begins.
    pub fn join(self: &Arc<Self>, address: String, service: &'static str) -> Peer {
        let id = self.next_peer.fetch_add(1, Ordering::Relaxed);
        let gateway = Gateway { address, service, since_ms: unix_ms(), ..Gateway::default() };
        self.state().gateways.insert(id, gateway);
        Peer { id, fleet: self.clone() }
    }

    /// Something became of a snapshot.
    pub fn note(&self, peer: &Peer, event: Event) {
        let current = self.current();
        let mut state = self.state();
        let State { gateways, taken, refused, good, refusals, refused_count } = &mut *state;
        let Some(gateway) = gateways.get_mut(&peer.id) else { return };
        match event {
            Event::Hello { node, cluster, envoy } => {
                tracing::info!(node, cluster, envoy, service = gateway.service, "gateway joined");
                (gateway.node, gateway.cluster, gateway.envoy) = (node, cluster, envoy);
            }
            Event::Accepted { version, policy } => {
                tracing::info!(node = gateway.node, policy, "policy in force");
                gateway.policy = Some(policy);
                gateway.refusal = None;
                if current.has(&version) {
                    // Only the newest matter; the sets must not grow with every change.
                    refused.retain(|refused| current.has(refused));
                    taken.retain(|taken| current.has(taken));
                    *good = Some(current);
                }
                taken.insert(version);
            }
            Event::Rejected { version, policy, kind, names, message } => {
                let kind = kind.name();
                tracing::debug!(message, "gateway's reason in full");
                let message = brief(&message);
                tracing::error!(node = gateway.node, policy, kind, ?names, message, "gateway refused");
                let refusal =
                    Refusal { at_ms: unix_ms(), node: gateway.node.clone(), policy, kind, names, message };
                gateway.refusal = Some(refusal.clone());
                *refused_count += 1;
                refusals.push_back(refusal);
                if refusals.len() > REFUSALS {
                    refusals.pop_front();
                }
                refused.insert(version);
            }
        }
    }

    /// How far a gateway is.
    pub fn progress(&self, peer: &Peer, progress: Progress) {
        let mut state = self.state();
        let Some(gateway) = state.gateways.get_mut(&peer.id) else { return };
        gateway.has = progress.has.iter().map(|(kind, count)| (kind.name(), *count)).collect();
        gateway.complete = progress.complete.then_some(progress.target);
    }

    /// All streams, for people.
    pub fn gateways(&self) -> Vec<Gateway> {
        let published = self.current();
        let of = |gateway: &Gateway| Gateway {
            // Told when asked for: a session takes its time to hear of what was published.
            current: gateway.complete.as_deref().is_some_and(|version| published.has(version)),
            ..gateway.clone()
        };
        self.state().gateways.values().map(of).collect()
    }

    /// The last refusals, oldest first.
    pub fn refusals(&self) -> Vec<Refusal> {
        self.state().refusals.iter().cloned().collect()
    }

    /// Refusals since the control plane began.
    pub fn refused(&self) -> u64 {
        self.state().refused_count
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here is left half-changed by a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Envoy repeats the whole resource between what it says first and last; both are kept.
fn brief(message: &str) -> String {
    const HEAD: usize = 200;
    const TAIL: usize = 600;
    let count = message.chars().count();
    if count <= HEAD + TAIL {
        return message.to_owned();
    }
    let head: String = message.chars().take(HEAD).collect();
    let tail: String = message.chars().skip(count - TAIL).collect();
    format!("{head} … {tail}")
}

/// Milliseconds since 1970.
pub fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(version: &str) -> Arc<Published> {
        let mut snapshot = Snapshot::new(version, []);
        snapshot.version = version.into();
        Arc::new(Published { slots: Arc::new(snapshot), ..Published::default() })
    }

    #[test]
    fn a_gateway_is_behind_from_the_moment_that_something_new_is_published() {
        let fleet = Fleet::new(published("1"));
        let peer = fleet.join("127.0.0.1:1".into(), "ADS");
        let is_current = || fleet.gateways().iter().all(|gateway| gateway.current);
        assert!(!is_current(), "it has said nothing yet");
        let done = |target: &str| Progress { target: target.into(), complete: true, ..Progress::default() };
        fleet.progress(&peer, done("1"));
        assert!(is_current());
        // Before its session has heard of it.
        fleet.publish(published("2"));
        assert!(!is_current());
        fleet.progress(&peer, done("1"));
        assert!(!is_current(), "of the old one");
        fleet.progress(&peer, done("2"));
        assert!(is_current());
    }

    #[test]
    fn a_long_reason_keeps_its_beginning_and_its_end() {
        let long = format!("first{}last", "·".repeat(5_000));
        let brief = brief(&long);
        assert!(brief.starts_with("first") && brief.ends_with("last"));
        assert!(brief.chars().count() < 1_000);
        assert_eq!(super::brief("short"), "short");
    }
}
