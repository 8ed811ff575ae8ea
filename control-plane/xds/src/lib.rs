//! From a compiled policy to what Envoy is told, and who has been told what. No sockets, no clock, no files.
//!
//! [`snapshot`] is a pure function: one [`Input`] in, every xDS resource of a gateway out. [`Session`] is the
//! conversation with one Envoy about such snapshots: versions, nonces, ACK and NACK, state of the world and
//! delta, and the order in which a change reaches a gateway so that no request meets half of it.
//! [`bootstrap`] writes the file that an Envoy starts with.
//!
//! Not in here: the policy (`weir-model` compiles it, the server turns its result into an [`Input`]) and the
//! transport (the server feeds gRPC messages to [`Session::handle`]).

pub mod bootstrap;
mod build;
mod consistent;
pub mod inject;
mod input;
mod ordered;
mod resource;
mod session;

pub use build::{filter, snapshot};
pub use consistent::{Inconsistent, consistent};
pub use input::{
    ATTEMPT, ATTEMPTS, AccessLog, Address, Analyzer, CLUSTER_HEADER, EXCHANGE, Form, Gateway, Input,
    LEDGER_CLUSTER, List, Module, OTLP_CLUSTER, Provider, Retry, Services, Signing, Tls,
};
pub use resource::{Kind, Resource, Snapshot};
pub use session::{Event, In, Out, PATIENCE_MS, Progress, Session, release};
