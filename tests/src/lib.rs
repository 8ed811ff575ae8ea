//! What Weir is tested with: real Envoys, simulated providers, judges from outside. Nothing of it is shipped.

pub mod conventions;
pub mod harness;
pub mod reconcile;
pub mod sim;
