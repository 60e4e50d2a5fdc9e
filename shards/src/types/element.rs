//! One element of a collection: a member, a field, a field's value.

use rapidhash::v3::{RapidSecrets, rapidhash_v3_seeded};
use std::cmp::Ordering;
use std::ops::Deref;
use triomphe::ThinArc;

/// What fits beside tag and length in 16 bytes.
const INLINE_BYTES_MAX: usize = 14;

/// Reference count and length in front of shared bytes.
const SHARED_HEADER_BYTES: usize = 16;

/// Bytes that never change, in 16 bytes plus what does not fit. A clone shares what is on the heap, so copying a node of a
/// tree costs no copy of its elements, and a sorted set's two trees hold one copy of each member.
#[derive(Clone)]
pub struct Element(Form);

#[derive(Clone)]
enum Form {
    Inline { len: u8, bytes: [u8; INLINE_BYTES_MAX] },
    Shared(ThinArc<(), u8>),
}

const _: () = assert!(size_of::<Element>() == 16);

impl Element {
    pub fn new(bytes: &[u8]) -> Element {
        Element(if bytes.len() <= INLINE_BYTES_MAX {
            let mut inline = [0; INLINE_BYTES_MAX];
            inline[..bytes.len()].copy_from_slice(bytes);
            Form::Inline { len: bytes.len() as u8, bytes: inline }
        } else {
            Form::Shared(ThinArc::from_header_and_slice((), bytes))
        })
    }

    /// Bytes of memory outside of the element itself. Shared ones count as if they were not.
    pub fn heap_bytes(&self) -> usize {
        match &self.0 {
            Form::Inline { .. } => 0,
            Form::Shared(bytes) => SHARED_HEADER_BYTES + bytes.slice.len(),
        }
    }
}

impl Deref for Element {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Form::Inline { len, bytes } => &bytes[..*len as usize],
            Form::Shared(bytes) => &bytes.slice,
        }
    }
}

impl PartialEq for Element {
    fn eq(&self, other: &Element) -> bool {
        **self == **other
    }
}

impl Eq for Element {}

impl PartialOrd for Element {
    fn partial_cmp(&self, other: &Element) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// By their bytes, as Redis orders members.
impl Ord for Element {
    fn cmp(&self, other: &Element) -> Ordering {
        (**self).cmp(&**other)
    }
}

impl std::fmt::Debug for Element {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{}\"", self.escape_ascii())
    }
}

/// The place of an element in a tree that is ordered by hash: the hash first, the bytes where hashes are equal. No choice of
/// elements makes such a tree degenerate, so the hash needs no secret, and a tree means the same on every shard.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hashed {
    pub hash: u64,
    pub element: Element,
}

impl Hashed {
    pub fn new(bytes: &[u8]) -> Hashed {
        Hashed { hash: element_hash(bytes), element: Element::new(bytes) }
    }

    /// The order of this place relative to that of `bytes`, whose hash is `hash`.
    pub fn order(&self, hash: u64, bytes: &[u8]) -> Ordering {
        self.hash.cmp(&hash).then_with(|| (*self.element).cmp(bytes))
    }
}

pub fn element_hash(bytes: &[u8]) -> u64 {
    const SECRETS: RapidSecrets = RapidSecrets::seed(0);
    rapidhash_v3_seeded(bytes, &SECRETS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_their_bytes() {
        for len in [0, 1, 14, 15, 16, 1000] {
            let bytes: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let element = Element::new(&bytes);
            assert_eq!(&*element, &bytes[..]);
            assert_eq!(element.clone(), element);
            assert_eq!(element.heap_bytes() == 0, len <= INLINE_BYTES_MAX);
        }
        assert!(Element::new(b"a") < Element::new(b"b"));
        assert!(Element::new(b"a") < Element::new(b"a\0"));
        assert!(Element::new(&[b'z'; 20]) > Element::new(b"a"));
    }
}
