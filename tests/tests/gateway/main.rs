//! The whole path, end to end: policy file, control plane, real Envoy, vLLM and Bedrock. Each test starts its own.

mod budget;
mod failover;
mod kill;
mod live;
mod load;
mod redaction;
mod setup;
