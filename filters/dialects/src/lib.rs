//! Dialects: what applications and providers say to each other, one folder per API, around [`hub`], the form
//! between them. A dialect as client side reads facts cheaply from the JSON tape, shows every text to redaction
//! and counting, and writes answers, streams and errors; as provider side it takes a hub chat and gives bytes, and
//! reads answers back. What a dialect cannot carry is a named [`hub::Loss`] or an [`hub::Invalid`], never silence.
//!
//! Bytes in, bytes out: no I/O, no clock, no policy. Frames and JSON belong to `weir-wire`.

#[macro_use]
mod names;

pub mod anthropic;
pub mod bedrock;
pub mod hub;
mod media;
pub mod openai_chat;
pub mod openai_completions;
pub mod openai_embeddings;
pub mod openai_responses;
mod progress;
mod write;
