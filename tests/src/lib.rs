//! weir-tests.
