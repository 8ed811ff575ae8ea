//! weir-dialects.
