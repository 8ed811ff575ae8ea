//! The whole path, end to end: policy file, control plane, real Envoy, vLLM and Bedrock. Each test starts its own.

mod budget;
mod chat;
mod converse;
mod failover;
mod kill;
mod live;
mod load;
mod policy;
mod redaction;
mod sdk;
mod setup;
