//! The whole path, end to end: policy file, control plane, real Envoy, vLLM and Bedrock. Each test starts its own.

mod anthropic;
mod budget;
mod budget_rules;
mod chat;
mod converse;
mod failover;
mod kill;
mod learned;
mod live;
mod load;
mod policy;
mod redaction;
mod sdk;
mod setup;
mod spend;
mod telemetry;
mod tokenizer;
