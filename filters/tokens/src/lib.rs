//! weir-tokens.
