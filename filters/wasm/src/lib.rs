//! The wasm module: Envoy's callbacks in, host calls out, the two machines of `weir-pipeline` between them.
//!
//! Nothing is decided here. A plugin's `root_id` picks the machine: `exchange` or `attempt`. All plugins of one
//! `vm_id` and one module share a VM per worker, and so the lease client and the batch of spans in it.

#[cfg(target_family = "wasm")]
mod attempt;
#[cfg(target_family = "wasm")]
mod decisions;
#[cfg(target_family = "wasm")]
mod effects;
#[cfg(target_family = "wasm")]
mod exchange;
#[cfg(target_family = "wasm")]
mod exports;
#[cfg(target_family = "wasm")]
mod host;
#[cfg(target_family = "wasm")]
mod lease;
#[cfg(target_family = "wasm")]
mod memory;
#[cfg(target_family = "wasm")]
mod opinions;
#[cfg(target_family = "wasm")]
mod spans;
#[cfg(target_family = "wasm")]
mod statistics;
#[cfg(target_family = "wasm")]
mod tokenizers;
#[cfg(target_family = "wasm")]
mod vm;
