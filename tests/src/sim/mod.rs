//! Simulated providers: a vLLM server, Amazon Bedrock's runtime, Anthropic's and OpenAI's APIs, with real sockets and real billing.
//!
//! Each simulator is strict about what it accepts, deterministic about what it answers, keeps a [`book`]
//! of every request and every billed token, and misbehaves on order ([`control`]). They share the server
//! ([`server`]), the writing of answers ([`flow`]) and the making of replies ([`reply`]); a provider's
//! folder holds only its dialect. Tokens are counted by tiktoken-rs from its own asset ([`count`]), never
//! by the crates under test. They are test doubles: nothing here is linked into the gateway.

pub mod analyzer;
pub mod anthropic;
pub mod bedrock;
pub mod book;
pub mod control;
pub mod count;
pub mod cut;
pub mod flow;
pub mod openai;
pub mod reply;
pub mod rng;
pub mod server;
pub mod vllm;
pub mod words;

pub use book::{Book, Outcome, Record};
pub use control::{At, Behaviour, Bill, Chunking, Fault, Order, ReplyKind, Rule};
pub use count::Encoding;
pub use server::Server;
