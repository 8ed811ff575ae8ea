//! Real Envoys, raw sockets, a span collector and their logs, for tests and benchmarks. No judgement is made here.
//!
//! Everything started ends with the value that holds it, and with the test process however that ends.

pub mod access_log;
pub mod child;
pub mod client;
pub mod collector;
mod collector_http;
pub mod config;
pub mod envoy;
pub mod folder;
pub mod inject;
pub mod paths;
pub mod ports;
pub mod prometheus;
pub mod raw;

pub use child::Child;
pub use client::{Answer, Client};
pub use collector::Collector;
pub use config::EnvoyConfig;
pub use envoy::Envoy;
pub use folder::Folder;
pub use inject::Inject;

pub use paths::{repo_root, shared_data};
pub use ports::free_port;
pub use prometheus::Prometheus;
pub use raw::Raw;
