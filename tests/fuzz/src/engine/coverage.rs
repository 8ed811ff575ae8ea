//! Counters of edges taken, where the compiler was asked for them (`-Cpasses=sancov-module`): it hands its table of
//! 8-bit counters to a function of a given name before `main`.
//!
//! The only unsafe code of this crate. Nobody else writes these bytes but the instrumented code itself, which does it
//! without any order; so they are read and cleared through atomics.
#![allow(unsafe_code, reason = "the compiler hands over a table of counters by address")]

use std::sync::atomic::{AtomicPtr, AtomicU8, AtomicUsize, Ordering::Relaxed};

static START: AtomicPtr<AtomicU8> = AtomicPtr::new(std::ptr::null_mut());
static LEN: AtomicUsize = AtomicUsize::new(0);

/// Called by the program's own start-up code, with the one table that the linker has put together.
///
/// # Safety
/// `start` and `stop` are the bounds of one table that lives as long as the program; only the compiler's code calls it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __sanitizer_cov_8bit_counters_init(start: *mut u8, stop: *mut u8) {
    START.store(start.cast(), Relaxed);
    LEN.store((stop as usize).saturating_sub(start as usize), Relaxed);
}

/// The counters; none in a program that was built without.
fn counters() -> &'static [AtomicU8] {
    let (start, len) = (START.load(Relaxed), LEN.load(Relaxed));
    if start.is_null() {
        return &[];
    }
    // SAFETY: the bounds are those of a static table of bytes, and an atomic byte has the same form as a byte.
    unsafe { std::slice::from_raw_parts(start, len) }
}

/// Number of edges; 0 in a program that was built without counters.
pub fn edges() -> usize {
    counters().len()
}

/// Forgets what was counted.
pub fn clear() {
    counters().iter().for_each(|counter| counter.store(0, Relaxed));
}

/// Tells each edge that was taken, and how often by powers of two, as one number.
pub fn each(sink: &mut dyn FnMut(usize)) {
    for (at, counter) in counters().iter().enumerate() {
        let count = counter.load(Relaxed);
        if count > 0 {
            sink(at * 8 + count.ilog2() as usize);
        }
    }
}
