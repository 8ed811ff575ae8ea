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

/// Shared data of tests: as the host's, in a map.
#[cfg(test)]
pub mod memory {
    use std::collections::BTreeMap;

    use weir_lease::{Mismatch, SharedData};

    #[derive(Default)]
    pub struct Memory {
        pub values: BTreeMap<String, (Vec<u8>, u32)>,
        /// So many writes find that somebody was faster.
        pub busy: u32,
    }

    impl SharedData for Memory {
        fn get(&mut self, key: &str) -> Option<(Vec<u8>, u32)> {
            self.values.get(key).cloned()
        }

        fn set(&mut self, key: &str, value: &[u8], cas: Option<u32>) -> Result<(), Mismatch> {
            let version = self.values.get(key).map(|(_, version)| *version);
            if self.busy > 0 || version.is_some() && cas.is_some() && version != cas {
                self.busy = self.busy.saturating_sub(1);
                return Err(Mismatch);
            }
            self.values.insert(key.to_owned(), (value.to_vec(), version.unwrap_or(0) + 1));
            Ok(())
        }
    }
}
