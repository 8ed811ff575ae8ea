//! weir-wasm.
