//! The two shapes of Weir's configuration, and nothing that reads or checks them.
//!
//! [`filter`] is what a filter instance receives from Envoy: compiled, validated, free of choices. It is
//! written by the control plane, or by hand where the filters are injected without one.
//! [`policy`] is the policy file that people write. Validation, merging and compilation from the one into
//! the other live in the control plane (`weir-model`).

pub mod filter;
pub mod policy;
