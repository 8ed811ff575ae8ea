//! weir-pii.
