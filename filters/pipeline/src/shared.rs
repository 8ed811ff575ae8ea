//! One record of the process's shared data, changed by whoever comes first: read, changed, and written only if nobody
//! else wrote in between. What a record says is its owner's business.

use weir_lease::{CREATE, SharedData};

/// Tries before a change is let go: so many neighbours in a row do not come first but by a fault.
pub const TRIES: u32 = 32;

/// Changes the record under `key`. `change` is handed its bytes, none of a record that is not there, and gives the new
/// ones, or `None` to leave it as it is. True once they are written.
pub fn change(
    store: &mut dyn SharedData,
    key: &str,
    change: &mut dyn FnMut(&[u8]) -> Option<Vec<u8>>,
) -> bool {
    for _ in 0..TRIES {
        let (bytes, cas) = store.get(key).unwrap_or((Vec::new(), CREATE));
        let Some(bytes) = change(&bytes) else { return false };
        if store.set(key, &bytes, Some(cas)).is_ok() {
            return true;
        }
    }
    false
}
