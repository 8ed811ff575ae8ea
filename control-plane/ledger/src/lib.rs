//! weir-ledger.
