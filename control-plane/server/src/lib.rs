//! The control plane's parts that touch the world: files, sockets, processes. What is decided, is decided in
//! `weir-model` (policy), `weir-xds` (gateways) and `weir-ledger` (budgets).
//!
//! [`control::Control`] holds a running control plane together; each verb of the command line is one file in
//! [`verbs`].

pub mod api;
pub mod audit;
pub mod client;
pub mod control;
pub mod convert;
pub mod decisions;
pub mod drill;
pub mod envoy;
pub mod fleet;
pub mod graft;
pub mod ledger;
pub mod lists;
pub mod module;
pub mod pairs;
pub mod records;
pub mod source;
pub mod spend;
pub mod tokenizers;
pub mod verbs;
pub mod xds;

/// Why a verb failed, and the exit code that says so.
#[derive(Debug)]
pub struct Failure {
    /// 1 for everything that is not told apart, 2 for an invalid policy, 3 for one that asks for the unbuilt.
    pub code: u8,
    /// For people; may have several lines.
    pub message: String,
}

impl Failure {
    /// A failure with exit code 1.
    pub fn new(message: impl Into<String>) -> Self {
        Self { code: 1, message: message.into() }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
