//! The whole path, end to end: policy file, control plane, real Envoy, vLLM and Bedrock. Each test starts its own.

mod anthropic;
mod boto3;
mod budget;
mod budget_rules;
mod chat;
mod converse;
mod failover;
mod kill;
mod learned;
mod live;
mod load;
mod mirror;
mod observe;
mod openai;
mod policy;
mod pressure;
mod prices;
mod reconcile;
mod redaction;
mod sdk;
mod sdk_matrix;
mod setup;
mod silence;
mod spend;
mod telemetry;
mod tokenizer;
