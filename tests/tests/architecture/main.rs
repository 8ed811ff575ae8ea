//! The rules of the layout, checked rather than remembered: who may depend on whom, what the built module imports
//! and weighs, that no file is an orphan and no document names a path that is gone.

mod crates;
mod files;
mod lints;
mod module;
mod workspace;
