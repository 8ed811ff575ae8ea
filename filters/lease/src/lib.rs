//! weir-lease.
