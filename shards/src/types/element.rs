//! One element of a collection: a member, a field, a field's value.

use super::tree::{Item, Tree};
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

/// Bits of a hash that are no part of a cursor: cursors stay below 2^52, exact in every client's numbers.
const CURSOR_SHIFT: u32 = 12;

/// One step of HSCAN, SSCAN and ZSCAN over a tree that is ordered by hash: visits about `count` items from `cursor` (0 = start)
/// on and gives the next cursor, 0 = finished. A cursor is a place among the hashes, so an item that is there throughout is
/// visited exactly once, whatever comes and goes meanwhile. Items that one cursor can't tell apart are visited together.
pub fn scan_hashed<T: Item<Key = Hashed>>(tree: &Tree<T>, cursor: u64, count: usize, mut visit: impl FnMut(&T)) -> u64 {
    if cursor >> (64 - CURSOR_SHIFT) != 0 {
        return 0;
    }
    let rank = tree.rank(|key| key.hash.cmp(&(cursor << CURSOR_SHIFT)));
    let (mut visited, mut last) = (0, None);
    for item in tree.iter_from(rank) {
        let place = item.key().hash >> CURSOR_SHIFT;
        if visited >= count && last != Some(place) {
            return place;
        }
        visit(item);
        (visited, last) = (visited + 1, Some(place));
    }
    0
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

    #[derive(Clone)]
    struct Member(Hashed);

    impl Item for Member {
        type Key = Hashed;

        fn key(&self) -> &Hashed {
            &self.0
        }

        fn heap_bytes(&self) -> usize {
            0
        }
    }

    #[test]
    fn a_scan_returns_what_is_there_throughout_exactly_once() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut tree = Tree::<Member>::new();
        let member = |number: u32| Hashed::new(number.to_string().as_bytes());
        let add = |tree: &mut Tree<Member>, number| drop(tree.insert(|key| key.cmp(&member(number)), Member(member(number))));
        (0..2000).for_each(|number| add(&mut tree, number));
        let (mut cursor, mut seen) = (0, vec![0; 2000]);
        loop {
            cursor = scan_hashed(&tree, cursor, 10, |item| {
                let number: usize = std::str::from_utf8(&item.0.element).expect("digits").parse().expect("a number");
                if number < 2000 {
                    seen[number] += 1;
                }
            });
            if cursor == 0 {
                break;
            }
            for _ in 0..20 {
                let number = random.u32(2000..9000);
                add(&mut tree, number);
                let gone = random.u32(2000..9000);
                tree.remove(|key| key.cmp(&member(gone)));
            }
        }
        assert!(seen.iter().all(|times| *times == 1));
        assert_eq!(scan_hashed(&tree, u64::MAX, 10, |_| panic!("beyond all cursors")), 0);
    }
}
