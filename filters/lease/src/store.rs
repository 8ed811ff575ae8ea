//! The process's shared data as the records use it.

/// A key changed between reading and writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mismatch;

/// Version for [`SharedData::set`] that only ever creates a key. A store must not use it as a version of a value.
/// (proxy-wasm writes an absent key whatever the version says, and refuses a present one whose version differs.)
pub const CREATE: u32 = u32::MAX;

/// Key-value store that all VMs of a process share.
pub trait SharedData {
    /// The value and its version; `None` when the key was never written.
    fn get(&mut self, key: &str) -> Option<(Vec<u8>, u32)>;
    /// Writes: with `None` always, with a version only when the key still has it or does not exist.
    fn set(&mut self, key: &str, value: &[u8], cas: Option<u32>) -> Result<(), Mismatch>;
}
