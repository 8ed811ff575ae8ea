//! The whole path, end to end: policy file, control plane, real Envoy, vLLM and Bedrock. Each test starts its own.

mod failover;
mod kill;
mod setup;
