//! Bytes ⇄ frames: what every LLM API is carried in, and nothing about any provider.
//!
//! [`json`] judges a whole document in one strict pass and leaves a flat tape of byte ranges, so that a
//! stage edits a body by [`splice`]s of the original instead of re-serialising it. [`sse`] and
//! [`eventstream`] cut byte streams into events at whatever boundaries the network chose. Everything here
//! is bounded, iterative and free of panics, because foreign bytes reach it first. No I/O, no clock.

pub mod base64;
pub mod eventstream;
pub mod json;
mod number;
pub mod splice;
pub mod sse;

pub use number::number;
