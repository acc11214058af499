// SPDX-License-Identifier: GPL-3.0-or-later
//! A frame in which nothing changed allocates nothing.

#![allow(clippy::unwrap_used, unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use leco_core::config::Config;
use leco_core::model::overseer::Overseer;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_frame_in_which_nothing_changed_allocates_nothing() {
    let mut overseer = Overseer::new(Config::default());
    for ns in 0..60_u64 {
        let event = serde_json::json!({"ns": ns, "ns_trx": ns, "line": format!("a :: {ns}")}).to_string();
        overseer.receive(event.as_bytes(), 100);
    }
    overseer.frame(100, 50);
    let before = ALLOCATIONS.get();
    overseer.frame(101, 50);
    assert!(overseer.next_change(101).is_some());
    assert_eq!(ALLOCATIONS.get(), before);
    overseer.frame(101, 51);
    assert!(ALLOCATIONS.get() > before, "the count counts");
}
