//! The module's allocator: what a request frees the next one takes again, by size, without a search.
//!
//! A request asks for memory some hundreds of times, nearly always for little, and Rust's own allocator for wasm takes
//! longer for each than the work that it is for. Here a small block that is freed goes onto the list of its size, up to a
//! bound per size, and is handed out from there; all else is the allocator's underneath.
#![allow(
    unsafe_code,
    reason = "an allocator is an unsafe trait; the lists lie in the freed blocks themselves"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::ptr::null_mut;

/// Sizes are multiples of this many bytes.
const STEP: usize = 16;
/// Lists: blocks of up to a KiB.
const LISTS: usize = 64;
/// Bytes that one list keeps, so that a burst of one size is not held for ever: 2 MiB in all.
const KEPT: usize = 32 << 10;

/// Freed blocks of one size; each begins with the address of the next.
#[derive(Clone, Copy)]
struct List {
    first: *mut u8,
    bytes: usize,
}

struct Lists(UnsafeCell<[List; LISTS]>);

// SAFETY: a VM has one thread.
unsafe impl Sync for Lists {}

#[global_allocator]
static MEMORY: Lists = Lists(UnsafeCell::new([List { first: null_mut(), bytes: 0 }; LISTS]));

impl Lists {
    /// The list of a block, and the layout that all blocks of it have.
    fn of(&self, layout: Layout) -> Option<(*mut List, Layout)> {
        let at = layout.size().wrapping_sub(1) / STEP;
        if at >= LISTS || layout.align() > 8 {
            return None;
        }
        // SAFETY: `at` is within the table, and no reference into it is held elsewhere; 8 is a power of two.
        unsafe {
            Some((self.0.get().cast::<List>().add(at), Layout::from_size_align_unchecked((at + 1) * STEP, 8)))
        }
    }
}

// SAFETY: a block of a list has the size of all that are asked of it, was the allocator's underneath, and is on no list
// while it is handed out.
unsafe impl GlobalAlloc for Lists {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: see above.
        unsafe {
            let Some((list, layout)) = self.of(layout) else { return System.alloc(layout) };
            let block = (*list).first;
            if block.is_null() {
                return System.alloc(layout);
            }
            (*list).first = *block.cast::<*mut u8>();
            (*list).bytes -= layout.size();
            block
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: see above.
        unsafe {
            let Some((list, layout)) = self.of(layout) else { return System.dealloc(block, layout) };
            if (*list).bytes >= KEPT {
                return System.dealloc(block, layout);
            }
            *block.cast::<*mut u8>() = (*list).first;
            (*list).first = block;
            (*list).bytes += layout.size();
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: see above; the caller says that `size` fits a layout.
        unsafe {
            let wanted = Layout::from_size_align_unchecked(size, layout.align());
            match (self.of(layout), self.of(wanted)) {
                (None, None) => return System.realloc(block, layout, size),
                (Some((before, _)), Some((after, _))) if before == after => return block,
                _ => {}
            }
            let moved = self.alloc(wanted);
            if !moved.is_null() {
                moved.copy_from_nonoverlapping(block, layout.size().min(size));
                self.dealloc(block, layout);
            }
            moved
        }
    }
}
