//! What one gateway asked for, has accepted, was sent and refused, of one kind of resource.

use std::collections::{BTreeMap, BTreeSet};

use crate::resource::{Kind, Resource, Snapshot};

/// The books of one kind.
#[derive(Debug, Default)]
pub struct Books {
    /// Spoken in delta.
    pub delta: bool,
    /// All resources are wanted.
    pub wildcard: bool,
    /// Names that are wanted.
    pub names: BTreeSet<String>,
    /// Versions that the gateway has, by name.
    pub has: BTreeMap<String, String>,
    /// Versions that it refused, by name.
    pub refused: BTreeMap<String, String>,
    /// What it was sent and has not answered.
    pub sent: Option<Sent>,
    /// Something was sent since the stream began.
    pub answered: bool,
    /// Names asked for since the last answer: what does not exist is said so, once.
    pub asked: BTreeSet<String>,
}

/// One answer under way.
#[derive(Debug)]
pub struct Sent {
    pub nonce: String,
    /// Version of the snapshot.
    pub snapshot: String,
    /// Version of its policy.
    pub policy: String,
    /// Version by name; `None` says that there is no such resource.
    pub versions: BTreeMap<String, Option<String>>,
}

impl Books {
    pub fn wants(&self, name: &str) -> bool {
        self.wildcard || self.names.contains(name)
    }

    /// Whether the gateway should be sent this.
    pub fn lacks(&self, resource: &Resource) -> bool {
        self.has.get(&resource.name) != Some(&resource.version)
            && self.refused.get(&resource.name) != Some(&resource.version)
    }

    /// What the gateway has and should not have any more.
    pub fn gone(&self, target: &Snapshot, kind: Kind) -> Vec<String> {
        // A state of the world can only leave out, and only of some kinds.
        if !self.delta && !kind.is_wildcard() {
            return Vec::new();
        }
        self.has.keys().filter(|name| target.get(kind, name).is_none()).cloned().collect()
    }

    /// What was asked for and does not exist; only delta can say so.
    pub fn missing(&self, target: &Snapshot, kind: Kind) -> Vec<String> {
        if !self.delta {
            return Vec::new();
        }
        self.asked.iter().filter(|name| target.get(kind, name).is_none()).cloned().collect()
    }

    /// The gateway took what it was sent; answers the names of resources that it had in another version.
    pub fn accept(&mut self, sent: Sent) -> Vec<String> {
        let mut changed = Vec::new();
        for (name, version) in sent.versions {
            self.asked.remove(&name);
            match version {
                Some(version) => {
                    if self.has.insert(name.clone(), version.clone()).is_some_and(|old| old != version) {
                        changed.push(name);
                    }
                }
                None => {
                    self.has.remove(&name);
                }
            }
        }
        changed
    }

    /// The gateway refused it. What it had of it stays valid.
    pub fn refuse(&mut self, sent: Sent) {
        for (name, version) in sent.versions {
            self.asked.remove(&name);
            match version {
                Some(version) if self.has.get(&name) != Some(&version) => {
                    self.refused.insert(name, version);
                }
                Some(_) => {}
                // It will not be asked to drop it again.
                None => {
                    self.has.remove(&name);
                }
            }
        }
    }
}
