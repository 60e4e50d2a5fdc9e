//! A segment: up to `SEGMENT_ENTRIES_MAX` entries whose hashes share their first bits.
//!
//! ```text
//! keys    one block: fingerprints, ends, key bytes          (key_block.rs)
//! values  [Value; n], 16 bytes each, in the same order
//! extras  only when some entry has an expiry, or a key is long
//! ```
//! Both lists grow in the allocator's own size classes and shrink when half empty. Nothing in here is ordered by hash; an
//! entry is found by comparing one-byte fingerprints, eight at a time.

use super::key_block::{KeyBlock, LongKeys, size_class};
use crate::types::Value;

/// A segment with so many entries splits before the next one is added.
pub const SEGMENT_ENTRIES_MAX: usize = 64;

/// Two neighbours with no more than this in both together are merged. Far below the maximum, so that a table that breathes
/// does not split and merge all the time.
pub const MERGE_ENTRIES_MAX: usize = 24;

/// In the list of expiry times: none. An expiry that long ago is stored one millisecond later.
const NO_EXPIRY: i64 = i64::MIN;

#[derive(Default)]
pub struct Segment {
    keys: KeyBlock,
    values: Vec<Value>,
    extras: Option<Box<Extras>>,
    /// The walk epoch in which the entries were last shown to a sink.
    pub saved_epoch: u32,
}

struct Extras {
    /// One per entry, or none at all.
    expires: Vec<i64>,
    /// No entry expires before this.
    earliest_ms: i64,
    /// Keys that do not lie in the block, in the order of their entries.
    long_keys: Vec<Box<[u8]>>,
}

/// What is taken out of a table or put into one.
pub struct Item {
    pub key: Box<[u8]>,
    pub value: Value,
    pub expire_at_ms: Option<i64>,
}

impl Segment {
    pub fn len(&self) -> usize {
        self.values.len()
    }

    pub fn find(&self, hash: u64, key: &[u8]) -> Option<usize> {
        self.keys.find(hash as u8, key, self.long_keys())
    }

    pub fn first_byte(&self) -> Option<u8> {
        self.keys.first_byte()
    }

    pub fn key(&self, slot: usize) -> &[u8] {
        self.keys.key(slot, self.long_keys())
    }

    pub fn value(&self, slot: usize) -> &Value {
        &self.values[slot]
    }

    pub fn value_mut(&mut self, slot: usize) -> &mut Value {
        &mut self.values[slot]
    }

    pub fn expire_at_ms(&self, slot: usize) -> Option<i64> {
        let at = *self.extras.as_ref()?.expires.get(slot)?;
        (at != NO_EXPIRY).then_some(at)
    }

    /// No entry expires before this; None = no entry expires.
    pub fn earliest_ms(&self) -> Option<i64> {
        self.extras.as_ref().filter(|extras| !extras.expires.is_empty()).map(|extras| extras.earliest_ms)
    }

    pub fn entries(&self) -> impl Iterator<Item = (&[u8], &Value, Option<i64>)> {
        (0..self.len()).map(|slot| (self.key(slot), self.value(slot), self.expire_at_ms(slot)))
    }

    /// Bytes of the segment with its keys, values and expiry times, without what the values hold elsewhere. O(1).
    pub fn heap_bytes(&self) -> usize {
        let extras = self.extras.as_ref().map_or(0, |extras| {
            let long_bytes: usize = extras.long_keys.iter().map(|key| key.len() + size_of::<Box<[u8]>>()).sum();
            size_of::<Extras>() + extras.expires.capacity() * size_of::<i64>() + long_bytes
        });
        size_of::<Segment>() + self.keys.heap_bytes() + self.values.capacity() * size_of::<Value>() + extras
    }

    pub fn push(&mut self, hash: u64, key: &[u8], value: Value, expire_at_ms: Option<i64>) {
        self.push_parts(hash as u8, key, value, expire_at_ms);
    }

    fn push_parts(&mut self, fingerprint: u8, key: &[u8], value: Value, expire_at_ms: Option<i64>) {
        if self.keys.push(fingerprint, key) {
            self.extras_mut().long_keys.push(key.into());
        }
        self.reserve_values(1);
        self.values.push(value);
        if let Some(extras) = &mut self.extras
            && !extras.expires.is_empty()
        {
            extras.expires.push(NO_EXPIRY);
        }
        if expire_at_ms.is_some() {
            self.set_expire(self.len() - 1, expire_at_ms);
        }
    }

    /// Returns what it replaced.
    pub fn set_expire(&mut self, slot: usize, expire_at_ms: Option<i64>) -> Option<i64> {
        let old = self.expire_at_ms(slot);
        if old.is_none() && expire_at_ms.is_none() {
            return None;
        }
        let len = self.len();
        let extras = self.extras_mut();
        if extras.expires.is_empty() {
            extras.expires.resize(len, NO_EXPIRY);
        }
        let at = expire_at_ms.map_or(NO_EXPIRY, |at| at.max(NO_EXPIRY + 1));
        extras.expires[slot] = at;
        if at != NO_EXPIRY {
            extras.earliest_ms = extras.earliest_ms.min(at);
        }
        old
    }

    pub fn remove(&mut self, slot: usize) -> (Value, Option<i64>) {
        let expire_at_ms = self.expire_at_ms(slot);
        let long_at = self.keys.remove(slot);
        if let Some(extras) = &mut self.extras {
            if let Some(at) = long_at {
                extras.long_keys.remove(at);
            }
            if !extras.expires.is_empty() {
                extras.expires.remove(slot);
            }
            if extras.expires.is_empty() && extras.long_keys.is_empty() {
                self.extras = None;
            }
        }
        let value = self.values.remove(slot);
        if self.values.capacity() > 8 && self.values.capacity() > 2 * self.values.len() {
            self.values.shrink_to(values_capacity(self.values.len()));
        }
        (value, expire_at_ms)
    }

    /// Makes `earliest_ms` exact and drops the list of expiry times when no entry has one any more.
    pub fn refresh_earliest(&mut self) {
        let Some(extras) = &mut self.extras else { return };
        let times = extras.expires.iter().copied().filter(|at| *at != NO_EXPIRY);
        extras.earliest_ms = times.min().unwrap_or(i64::MAX);
        if extras.expires.iter().all(|at| *at == NO_EXPIRY) {
            extras.expires = Vec::new();
            if extras.long_keys.is_empty() {
                self.extras = None;
            }
        }
    }

    /// Splits off the entries whose hash has a 1 at bit `depth`, counted from the top.
    pub fn split(&mut self, depth: u32, hash_of: impl Fn(&[u8]) -> u64) -> Segment {
        let goes: Vec<bool> = (0..self.len()).map(|slot| (hash_of(self.key(slot)) << depth) >> 63 == 1).collect();
        let moved = goes.iter().filter(|goes| **goes).count();
        let share = |count: usize| self.keys.blob_bytes() * count / self.len().max(1);
        let mut stays = Segment::with_room(self.len() - moved, share(self.len() - moved), self.saved_epoch);
        let mut leaves = Segment::with_room(moved, share(moved), self.saved_epoch);
        let values = std::mem::take(&mut self.values);
        for (slot, value) in values.into_iter().enumerate() {
            let side = if goes[slot] { &mut leaves } else { &mut stays };
            let expire_at_ms = self.expire_at_ms(slot);
            side.push_parts(self.keys.fingerprint(slot), self.key(slot), value, expire_at_ms);
        }
        *self = stays;
        leaves
    }

    /// Takes over all entries of `other`.
    pub fn absorb(&mut self, mut other: Segment) {
        self.reserve_values(other.len());
        let values = std::mem::take(&mut other.values);
        for (slot, value) in values.into_iter().enumerate() {
            self.push_parts(other.keys.fingerprint(slot), other.key(slot), value, other.expire_at_ms(slot));
        }
    }

    pub fn into_items(mut self) -> impl Iterator<Item = Item> {
        let values = std::mem::take(&mut self.values);
        values.into_iter().enumerate().map(move |(slot, value)| {
            let expire_at_ms = self.expire_at_ms(slot);
            Item { key: self.key(slot).into(), value, expire_at_ms }
        })
    }

    fn with_room(count: usize, key_bytes: usize, saved_epoch: u32) -> Segment {
        let values = Vec::with_capacity(values_capacity(count));
        Segment { keys: KeyBlock::with_room(count, key_bytes), values, extras: None, saved_epoch }
    }

    fn reserve_values(&mut self, more: usize) {
        let needed = self.values.len() + more;
        if needed > self.values.capacity() {
            self.values.reserve_exact(values_capacity(needed) - self.values.len());
        }
    }

    fn long_keys(&self) -> &LongKeys {
        self.extras.as_ref().map_or(&[], |extras| &extras.long_keys)
    }

    fn extras_mut(&mut self) -> &mut Extras {
        self.extras.get_or_insert_with(|| Box::new(Extras { expires: Vec::new(), earliest_ms: i64::MAX, long_keys: Vec::new() }))
    }
}

fn values_capacity(count: usize) -> usize {
    if count == 0 { 0 } else { size_class(count * size_of::<Value>()) / size_of::<Value>() }
}
