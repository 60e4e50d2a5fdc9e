//! The table of one logical database: extendible hashing over the top bits of the key's hash, in two levels.
//!
//! ```text
//! hash  | c bits ........ | s bits ....... | ...        | low 8 bits |
//!         root directory    chunk directory                fingerprint in the segment
//!             │                  │
//!             ▼                  ▼
//!         Directory<Chunk> ► Directory<Segment> ► Segment: up to 64 entries, neighbours in hash order
//! ```
//! A full segment splits in two; when its chunk's directory is at `CHUNK_BITS_MAX`, first the chunk splits in two. So no
//! operation moves more than one segment's entries, one chunk's pointers (512), and the root's index, which has a few
//! slots for each 10,000 keys. Sparse neighbours are merged the same way back.
//!
//! Positions are hashes: segments lie in hash order, and a position stays meaningful whatever splits and merges. SCAN,
//! the walk and the expiry scan all go by positions.

use super::directory::Directory;
use super::hash::KeyHasher;
use super::segment::{Item, MERGE_ENTRIES_MAX, SEGMENT_ENTRIES_MAX, Segment};
use crate::ids::DbIndex;
use crate::types::Value;

/// A chunk's directory has at most 2^9 slots.
const CHUNK_BITS_MAX: u32 = 9;

/// Chunks of so few segments merge: far below the maximum, as with segments.
const CHUNK_MERGE_SEGMENTS_MAX: usize = 128;

/// SCAN cursors are the top 40 bits of a position, so segments are not divided further. One that would have to be (dozens
/// of keys with the same 40 bits) grows instead.
pub const POSITION_BITS: u32 = 40;

/// Segments are boxed, so that splitting a chunk moves pointers, and growing its list takes no blocks of odd sizes.
type Chunk = Directory<Box<Segment>>;

/// Where a segment is. Valid until the next split or merge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    chunk: u32,
    segment: u32,
}

/// A table's part in a walk: its database at the cut, and how far the walk has come.
pub struct Cut {
    pub db: DbIndex,
    pub next: u64,
}

/// What a table keeps count of for each value.
#[derive(Clone, Copy)]
pub struct Counted {
    bytes: usize,
    expires_inside: bool,
}

impl Counted {
    #[inline]
    pub fn of(value: &Value) -> Counted {
        Counted { bytes: value.heap_bytes(), expires_inside: value.next_element_expiry_ms().is_some() }
    }
}

pub struct Table {
    root: Directory<Chunk>,
    pub keys: u64,
    pub expires: u64,
    /// Sum of all times of expiry.
    pub expire_sum_ms: i128,
    /// Bytes of directories and segments.
    table_bytes: usize,
    /// Bytes that the values hold outside of the segments, without the one being changed by `value_mut`.
    pub value_bytes: usize,
    /// Values some of whose elements expire, without the one being changed by `value_mut`.
    pub expiring_inside: usize,
    /// Where the scan of those goes on.
    pub inside_next: u64,
    /// While a walk has entries of this table to show.
    pub cut: Option<Cut>,
    pub due: super::due::DueState,
}

impl Table {
    pub fn new() -> Table {
        let root = Directory::new(Directory::new(Box::default()));
        let table_bytes = root.heap_bytes() + root.item(0).heap_bytes() + size_of::<Table>() + size_of::<Segment>();
        Table {
            root,
            keys: 0,
            expires: 0,
            expire_sum_ms: 0,
            table_bytes,
            value_bytes: 0,
            expiring_inside: 0,
            inside_next: 0,
            cut: None,
            due: Default::default(),
        }
    }

    pub fn count(&mut self, counted: Counted) {
        self.value_bytes += counted.bytes;
        self.expiring_inside += counted.expires_inside as usize;
    }

    pub fn forget_counted(&mut self, counted: Counted) {
        self.value_bytes -= counted.bytes;
        self.expiring_inside -= counted.expires_inside as usize;
    }

    pub fn memory_bytes(&self) -> usize {
        self.table_bytes + self.value_bytes
    }

    pub fn place(&self, position: u64) -> Place {
        let chunk = self.root.at(position);
        let segment = self.root.item(chunk).at(position << self.root.depth(chunk));
        Place { chunk: chunk as u32, segment: segment as u32 }
    }

    pub fn segment(&self, place: Place) -> &Segment {
        self.root.item(place.chunk as usize).item(place.segment as usize)
    }

    pub fn segment_mut(&mut self, place: Place) -> &mut Segment {
        self.root.item_mut(place.chunk as usize).item_mut(place.segment as usize)
    }

    /// The position after the last one of the segment that covers `position`; None after the last segment.
    pub fn next_position(&self, position: u64, place: Place) -> Option<u64> {
        let bits = self.depth(place);
        let span = 1u64.checked_shl(64 - bits)?;
        (position & !(span - 1)).checked_add(span)
    }

    pub fn find(&self, hash: u64, key: &[u8]) -> Option<(Place, usize)> {
        let place = self.place(hash);
        let slot = self.segment(place).find(hash, key)?;
        Some((place, slot))
    }

    /// Adds an entry whose key is not there.
    pub fn insert_new(&mut self, hasher: &KeyHasher, hash: u64, key: &[u8], value: Value, expire_at_ms: Option<i64>) {
        let mut place = self.place(hash);
        while self.segment(place).len() >= SEGMENT_ENTRIES_MAX && self.depth(place) < POSITION_BITS {
            self.split(hasher, hash);
            place = self.place(hash);
        }
        self.keys += 1;
        self.expires += expire_at_ms.is_some() as u64;
        self.expire_sum_ms += expire_at_ms.unwrap_or(0) as i128;
        self.count(Counted::of(&value));
        self.due.note(expire_at_ms);
        self.resize(place, |segment| segment.push(hash, key, value, expire_at_ms));
    }

    pub fn replace(&mut self, place: Place, slot: usize, value: Value, expire_at_ms: Option<i64>) -> (Value, Option<i64>) {
        let old_expire = self.set_expire(place, slot, expire_at_ms);
        self.count(Counted::of(&value));
        let old = std::mem::replace(self.segment_mut(place).value_mut(slot), value);
        self.forget_counted(Counted::of(&old));
        (old, old_expire)
    }

    pub fn set_expire(&mut self, place: Place, slot: usize, expire_at_ms: Option<i64>) -> Option<i64> {
        if expire_at_ms.is_none() && self.segment(place).earliest_ms().is_none() {
            return None;
        }
        let old = self.resize(place, |segment| segment.set_expire(slot, expire_at_ms));
        self.expires = self.expires + expire_at_ms.is_some() as u64 - old.is_some() as u64;
        self.expire_sum_ms += expire_at_ms.unwrap_or(0) as i128 - old.unwrap_or(0) as i128;
        self.due.note(expire_at_ms);
        old
    }

    pub fn remove(&mut self, place: Place, slot: usize) -> (Value, Option<i64>) {
        let (value, expire_at_ms) = self.resize(place, |segment| segment.remove(slot));
        self.keys -= 1;
        self.expires -= expire_at_ms.is_some() as u64;
        self.expire_sum_ms -= expire_at_ms.unwrap_or(0) as i128;
        self.forget_counted(Counted::of(&value));
        (value, expire_at_ms)
    }

    /// The neighbour with which the segment at `position` should be merged.
    pub fn merge_partner(&self, position: u64) -> Option<Place> {
        let place = self.place(position);
        let len = self.segment(place).len();
        if len > MERGE_ENTRIES_MAX {
            return None;
        }
        let chunk = self.root.item(place.chunk as usize);
        let buddy = chunk.buddy(position << self.root.depth(place.chunk as usize))?;
        let small = len + chunk.item(buddy).len() <= MERGE_ENTRIES_MAX;
        small.then_some(Place { chunk: place.chunk, segment: buddy as u32 })
    }

    /// Merges the segment at `position` with its `merge_partner`, and its chunk with a neighbour when both are sparse.
    pub fn merge(&mut self, position: u64) {
        let number = self.place(position).chunk as usize;
        let shift = self.root.depth(number);
        let before = self.root.item(number).heap_bytes();
        let chunk = self.root.item_mut(number);
        let (mut freed, mut taken) = (0, 0);
        chunk.merge(position << shift, |left, right| {
            freed = left.heap_bytes() + right.heap_bytes();
            left.absorb(*right);
            taken = left.heap_bytes();
        });
        let after = self.root.item(number).heap_bytes();
        self.table_bytes = self.table_bytes + after + taken - before - freed;
        while self.merge_chunks(position) {}
    }

    fn merge_chunks(&mut self, position: u64) -> bool {
        let number = self.root.at(position);
        let Some(buddy) = self.root.buddy(position) else { return false };
        let (chunk, buddy) = (self.root.item(number), self.root.item(buddy));
        let fits = chunk.bits().max(buddy.bits()) < CHUNK_BITS_MAX;
        if !fits || chunk.len() + buddy.len() > CHUNK_MERGE_SEGMENTS_MAX {
            return false;
        }
        let before = self.root.heap_bytes() + chunk.heap_bytes() + buddy.heap_bytes();
        self.root.merge(position, |left, right| {
            let whole = std::mem::replace(left, Directory::new(Box::default()));
            *left = Directory::join(whole, right);
        });
        let after = self.root.heap_bytes() + self.root.item(self.root.at(position)).heap_bytes();
        self.table_bytes = self.table_bytes + after - before;
        true
    }

    fn split(&mut self, hasher: &KeyHasher, hash: u64) {
        let place = self.place(hash);
        if self.root.item(place.chunk as usize).depth(place.segment as usize) == CHUNK_BITS_MAX {
            self.split_chunk(hash);
        }
        let number = self.root.at(hash);
        let shift = self.root.depth(number);
        let depth = self.depth(self.place(hash));
        let before = self.root.item(number).heap_bytes();
        let (mut freed, mut taken) = (0, 0);
        self.root.item_mut(number).split(hash << shift, |segment| {
            freed = segment.heap_bytes();
            let right = segment.split(depth, |key| hasher.hash(key));
            taken = segment.heap_bytes() + right.heap_bytes();
            Box::new(right)
        });
        let after = self.root.item(number).heap_bytes();
        self.table_bytes = self.table_bytes + after + taken - before - freed;
    }

    fn split_chunk(&mut self, position: u64) {
        let number = self.root.at(position);
        let before = self.root.heap_bytes() + self.root.item(number).heap_bytes();
        let mut halves_bytes = 0;
        self.root.split(position, |chunk| {
            let whole = std::mem::replace(chunk, Directory::new(Box::default()));
            let (left, right) = whole.halves();
            halves_bytes = left.heap_bytes() + right.heap_bytes();
            *chunk = left;
            right
        });
        self.table_bytes = self.table_bytes + self.root.heap_bytes() + halves_bytes - before;
    }

    fn depth(&self, place: Place) -> u32 {
        self.root.depth(place.chunk as usize) + self.root.item(place.chunk as usize).depth(place.segment as usize)
    }

    /// Runs a change of one segment and keeps count of its bytes.
    pub fn resize<R>(&mut self, place: Place, change: impl FnOnce(&mut Segment) -> R) -> R {
        let segment = self.segment_mut(place);
        let before = segment.heap_bytes();
        let result = change(segment);
        let after = segment.heap_bytes();
        self.table_bytes = self.table_bytes + after - before;
        result
    }

    /// Empties one segment of a table that nobody looks into any more, in the course of its last walk.
    pub fn empty_segment(&mut self, place: Place) {
        let freed = std::mem::take(self.segment_mut(place));
        self.forget(&freed);
        self.table_bytes += size_of::<Segment>();
    }

    /// Takes a whole segment out of a table that nobody looks into any more. None when nothing is left.
    pub fn pop_segment(&mut self) -> Option<Segment> {
        loop {
            match self.root.last_mut()?.pop() {
                Some(segment) => {
                    self.forget(&segment);
                    return Some(*segment);
                }
                None => drop(self.root.pop()),
            }
        }
    }

    /// Every entry, segment by segment.
    pub fn into_items(mut self) -> impl Iterator<Item = Item> {
        std::iter::from_fn(move || self.pop_segment()).flat_map(Segment::into_items)
    }

    fn forget(&mut self, segment: &Segment) {
        self.keys -= segment.len() as u64;
        self.table_bytes -= segment.heap_bytes();
        segment.entries().for_each(|(_, value, _)| self.forget_counted(Counted::of(value)));
    }

    /// What `table_bytes` should be, counted afresh.
    #[cfg(test)]
    pub fn count_table_bytes(&self) -> usize {
        let chunks = (0..self.root.len()).map(|number| self.root.item(number));
        let chunk_bytes = |chunk: &Chunk| {
            let segments = (0..chunk.len()).map(|number| chunk.item(number).heap_bytes());
            chunk.heap_bytes() + segments.sum::<usize>()
        };
        size_of::<Table>() + self.root.heap_bytes() + chunks.map(chunk_bytes).sum::<usize>()
    }
}
