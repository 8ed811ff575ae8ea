//! Weir in a real Envoy, end to end. One test binary, so that it is linked once; each module starts its own Envoys.

mod foundations;
