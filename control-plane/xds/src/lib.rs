//! weir-xds.
