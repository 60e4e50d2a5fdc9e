//! Immutable bytes on the heap behind 12 bytes: pointer and length, without the padding of `Box<[u8]>`.
//!
//! Why: `Box<[u8]>` is 16 bytes with alignment 8, so an enum around it takes 24. This one leaves room for the tag: a `Value`
//! takes 16 bytes in its table, 8 less for every key. The block on the heap is exactly `len` bytes, so a 64-byte value
//! takes a 64-byte block of the allocator.
//!
//! The only unsafe code of the values. Invariant: `start` and `len` are those of one `Box<[u8]>` that this owns.

#![allow(unsafe_code)]

use std::ops::Deref;
use std::ptr::{self, NonNull};

#[repr(C, packed(4))]
pub struct ThinBytes {
    start: NonNull<u8>,
    len: u32,
}

// SAFETY: ThinBytes owns its bytes alone, as the Box<[u8]> it was made from, and that is Send and Sync.
unsafe impl Send for ThinBytes {}
// SAFETY: as above; a shared reference only reads.
unsafe impl Sync for ThinBytes {}

impl ThinBytes {
    /// Copies `bytes`. Panics beyond 4 GiB; strings are kept in chunks long before.
    pub fn new(bytes: &[u8]) -> ThinBytes {
        let len = u32::try_from(bytes.len()).expect("longer strings are kept in chunks");
        let block = Box::into_raw(Box::<[u8]>::from(bytes));
        ThinBytes { start: NonNull::new(block.cast::<u8>()).expect("a box is never null"), len }
    }
}

impl Deref for ThinBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `start` and `len` are those of the live box (invariant), which nobody writes while `self` is borrowed.
        unsafe { std::slice::from_raw_parts({ self.start }.as_ptr(), self.len as usize) }
    }
}

impl Drop for ThinBytes {
    fn drop(&mut self) {
        let block = ptr::slice_from_raw_parts_mut({ self.start }.as_ptr(), self.len as usize);
        // SAFETY: the pointer came from Box::into_raw with this length (invariant), and is given back once, here.
        drop(unsafe { Box::from_raw(block) });
    }
}

impl Clone for ThinBytes {
    fn clone(&self) -> ThinBytes {
        ThinBytes::new(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_and_clones_what_it_was_given() {
        for len in [0, 1, 15, 64, 1000, 65536] {
            let bytes: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let thin = ThinBytes::new(&bytes);
            let copy = thin.clone();
            drop(thin);
            assert_eq!(&copy[..], &bytes[..]);
        }
    }

    #[test]
    fn takes_twelve_bytes() {
        assert_eq!((size_of::<ThinBytes>(), align_of::<ThinBytes>()), (12, 4));
    }
}
