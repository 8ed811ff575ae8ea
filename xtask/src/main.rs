//! Build, setup and test verbs.
fn main() {}
