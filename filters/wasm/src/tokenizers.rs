//! What the control plane reads from the module and writes into it about tokenizers: a custom section lists the
//! vocabularies that were built in, and an exported place says where tables lie that were added to the built module, in
//! pages of memory beyond those that it was linked with. Compiled tables are data: they cost a VM no start-up time.
#![allow(
    unsafe_code,
    reason = "names of exports and sections, and the one slice that the linker does not know of"
)]
#![allow(dead_code, reason = "the list is read from the file, not by code")]

use std::sync::atomic::{AtomicU32, Ordering};

#[cfg(feature = "o200k")]
#[unsafe(link_section = "weir.tokenizers")]
static O200K: [u8; 25] = *b"o200k_base\no200k_harmony\n";
#[cfg(feature = "cl100k")]
#[unsafe(link_section = "weir.tokenizers")]
static CL100K: [u8; 12] = *b"cl100k_base\n";
#[cfg(feature = "p50k")]
#[unsafe(link_section = "weir.tokenizers")]
static P50K: [u8; 10] = *b"p50k_base\n";
#[cfg(feature = "r50k")]
#[unsafe(link_section = "weir.tokenizers")]
static R50K: [u8; 10] = *b"r50k_base\n";

/// Address and length of the tables that were added; zeros where none were.
#[unsafe(no_mangle)]
static WEIR_ADDED_TOKENIZERS: [AtomicU32; 2] = [AtomicU32::new(0), AtomicU32::new(0)];

/// Makes the added tables known.
pub fn open() {
    let [address, length] =
        WEIR_ADDED_TOKENIZERS.each_ref().map(|part| part.load(Ordering::Relaxed) as usize);
    if address == 0 {
        return;
    }
    // SAFETY: whoever wrote the address laid initialised memory of that length there, beyond the linked memory's end
    // and within the module's initial memory. The allocator takes none but pages that it has grown itself, so nobody
    // writes there.
    let area =
        unsafe { std::slice::from_raw_parts(std::ptr::with_exposed_provenance::<u8>(address), length) };
    weir_tokens::add(area);
}
