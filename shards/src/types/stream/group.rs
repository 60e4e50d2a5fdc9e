//! Consumer groups: what was delivered to whom and is not acknowledged yet.
//!
//! ```text
//! group     pending entries by id: when, how often, to whom       one tree, shared with clones
//!           consumers by name ── each: ids of its pending ones    a tree each
//! ```
//! Invariant: an id is in exactly one consumer's tree if and only if it is in the group's, under that consumer's name.

use super::id::StreamId;
use crate::types::element::Element;
use crate::types::tree::{Item, Tree};

#[derive(Clone, Debug)]
pub struct Group {
    name: Element,
    /// The last entry that was delivered.
    pub last_id: StreamId,
    /// Entries up to `last_id`, all those since the stream's beginning. None: not known.
    pub entries_read: Option<u64>,
    pending: Tree<Pending>,
    consumers: Tree<Consumer>,
}

/// An entry that was delivered and not acknowledged. The entry itself may be gone.
#[derive(Clone, Debug, PartialEq)]
pub struct Pending {
    pub id: StreamId,
    pub delivered_ms: i64,
    pub deliveries: u64,
    pub consumer: Element,
}

#[derive(Clone, Debug)]
pub struct Consumer {
    name: Element,
    /// When it last asked for anything, Unix time.
    pub seen_ms: i64,
    /// When it last was given anything. None: never.
    pub active_ms: Option<i64>,
    pending: Tree<PendingId>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct PendingId(StreamId);

impl Item for Group {
    type Key = Element;

    /// Few: a stream that is written to copies a whole leaf of groups.
    const LEAF_ITEMS_MAX: usize = 16;

    fn key(&self) -> &Element {
        &self.name
    }

    fn heap_bytes(&self) -> usize {
        self.name.heap_bytes() + self.pending.heap_bytes() + self.consumers.heap_bytes()
    }
}

impl Item for Pending {
    type Key = StreamId;

    fn key(&self) -> &StreamId {
        &self.id
    }

    /// The consumer's name is counted in the consumer.
    fn heap_bytes(&self) -> usize {
        0
    }
}

impl Item for Consumer {
    type Key = Element;

    const LEAF_ITEMS_MAX: usize = 16;

    fn key(&self) -> &Element {
        &self.name
    }

    fn heap_bytes(&self) -> usize {
        self.name.heap_bytes() + self.pending.heap_bytes()
    }
}

impl Item for PendingId {
    type Key = StreamId;

    fn key(&self) -> &StreamId {
        &self.0
    }

    fn heap_bytes(&self) -> usize {
        0
    }
}

impl Consumer {
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// Number of its pending entries.
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Ids of its pending entries, the first `rank` left out.
    pub fn pending_from(&self, rank: usize) -> impl Iterator<Item = StreamId> {
        self.pending.iter_from(rank).map(|pending| pending.0)
    }

    /// How many of its pending ids are below this one.
    pub fn rank(&self, id: StreamId) -> usize {
        self.pending.rank(|key| key.cmp(&id))
    }
}

impl Group {
    pub fn new(name: &[u8], last_id: StreamId, entries_read: Option<u64>) -> Group {
        Group { name: Element::new(name), last_id, entries_read, pending: Tree::new(), consumers: Tree::new() }
    }

    pub fn name(&self) -> &[u8] {
        &self.name
    }

    // --- Consumers ---------------------------------------------------------------------------------------------------

    pub fn consumer(&self, name: &[u8]) -> Option<&Consumer> {
        self.consumers.find(|key| (**key).cmp(name))
    }

    /// In order of their names.
    pub fn consumers(&self) -> impl Iterator<Item = &Consumer> {
        self.consumers.iter()
    }

    pub fn consumers_len(&self) -> usize {
        self.consumers.len()
    }

    pub fn consumer_at(&self, index: usize) -> Option<&Consumer> {
        self.consumers.get(index).map(|(consumer, _)| consumer)
    }

    /// Makes a consumer that is not there yet; false: it is.
    pub fn create_consumer(&mut self, name: &[u8], seen_ms: i64, active_ms: Option<i64>) -> bool {
        let absent = self.consumer(name).is_none();
        if absent {
            let consumer = Consumer { name: Element::new(name), seen_ms, active_ms, pending: Tree::new() };
            self.consumers.insert(|key| (**key).cmp(name), consumer);
        }
        absent
    }

    /// Removes a consumer and gives up its pending entries; their number.
    pub fn delete_consumer(&mut self, name: &[u8]) -> Option<usize> {
        let consumer = self.consumers.remove(|key| (**key).cmp(name))?;
        for id in consumer.pending_from(0) {
            self.pending.remove(|key| key.cmp(&id));
        }
        Some(consumer.len())
    }

    /// Notes when a consumer asked, and whether it was given anything.
    pub fn touch(&mut self, name: &[u8], seen_ms: i64, active: bool) {
        self.consumers.update(
            |key| (**key).cmp(name),
            |consumer| {
                consumer.seen_ms = seen_ms;
                consumer.active_ms = if active { Some(seen_ms) } else { consumer.active_ms };
            },
        );
    }

    // --- Pending entries ---------------------------------------------------------------------------------------------

    pub fn pending(&self, id: StreamId) -> Option<&Pending> {
        self.pending.find(|key| key.cmp(&id))
    }

    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// All pending entries in order of ids, the first `rank` left out.
    pub fn pending_from(&self, rank: usize) -> impl Iterator<Item = &Pending> {
        self.pending.iter_from(rank)
    }

    /// How many pending ids are below this one.
    pub fn rank(&self, id: StreamId) -> usize {
        self.pending.rank(|key| key.cmp(&id))
    }

    /// Notes an entry as delivered to a consumer, which is there, whoever had it before.
    pub fn deliver(&mut self, consumer: &[u8], id: StreamId, delivered_ms: i64, deliveries: u64) {
        let name = self.consumer(consumer).expect("the consumer is there").name.clone();
        let pending = Pending { id, delivered_ms, deliveries, consumer: name };
        if let Some(old) = self.pending.insert(|key| key.cmp(&id), pending) {
            if *old.consumer == *consumer {
                return;
            }
            self.consumers.update(|key| key.cmp(&old.consumer), |owner| owner.pending.remove(|key| key.cmp(&id)));
        }
        let adds = |owner: &mut Consumer| owner.pending.insert(|key| key.cmp(&id), PendingId(id));
        self.consumers.update(|key| (**key).cmp(consumer), adds);
    }

    /// Takes out what was acknowledged; false: it was not pending.
    pub fn release(&mut self, id: StreamId) -> bool {
        let Some(pending) = self.pending.remove(|key| key.cmp(&id)) else { return false };
        self.consumers.update(|key| key.cmp(&pending.consumer), |owner| owner.pending.remove(|key| key.cmp(&id)));
        true
    }

    /// As `Value::free_some`.
    pub fn free_some(&mut self, parts: usize) -> bool {
        if !self.pending.free_some(parts) {
            return false;
        }
        while let Some(last) = self.consumers.len().checked_sub(1) {
            if !self.consumers.update_at(last, |consumer| consumer.pending.free_some(parts)) {
                return false;
            }
            self.consumers.remove_at(last);
        }
        true
    }
}

/// The same consumers, with the same pending entries. When a consumer was last seen is no content: it changes with every look.
impl PartialEq for Group {
    fn eq(&self, other: &Group) -> bool {
        let names = |group: &Group| group.consumers().map(|consumer| consumer.name.clone()).collect::<Vec<_>>();
        self.name == other.name
            && self.last_id == other.last_id
            && self.entries_read == other.entries_read
            && self.pending == other.pending
            && names(self) == names(other)
    }
}
