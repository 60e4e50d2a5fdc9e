//! Streams.
//!
//! | part | what |
//! |---|---|
//! | `id` | ids of entries: their order, neighbours, text |
//! | `node` | a run of entries in a listpack, byte for byte as Redis saves it |
//! | `group` | consumer groups, their consumers and pending entries |
//! | `range` | entries between two ids, forwards and backwards |
//! | `trim` | how many of the oldest entries a limit takes away |
//!
//! ```text
//! stream   nodes in a tree by master id; a node weighs its live entries, so the rank of an entry takes one descent
//!          groups in a tree by name
//! ```
//! No node is without a live entry. A stream may be without entries; it is a value all the same.

mod group;
mod id;
mod node;
mod range;
#[cfg(test)]
mod tests;
mod trim;

pub use group::{Consumer, Group, Pending};
pub use id::{IdText, StreamId};
pub use node::{Entry, Node};
pub use range::{Range, RangeBack};
pub use trim::{Trim, TrimTo};

use super::limits::Limits;
use super::listpack::LISTPACK_BYTES_MAX;
use super::tree::Tree;
use std::cmp::Ordering;

#[derive(Clone, Debug, Default)]
pub struct Stream {
    nodes: Tree<Node>,
    nodes_len: usize,
    /// The highest id that ever was given; never below that of an entry.
    last_id: StreamId,
    /// The highest id that XDEL took out.
    max_deleted_id: StreamId,
    /// Entries that ever were added.
    entries_added: u64,
    groups: Tree<Group>,
}

impl Stream {
    pub fn new() -> Stream {
        Stream::default()
    }

    pub fn heap_bytes(&self) -> usize {
        size_of::<Stream>() + self.nodes.heap_bytes() + self.groups.heap_bytes()
    }

    /// As `Value::free_some`.
    pub fn free_some(&mut self, parts: usize) -> bool {
        if !self.nodes.free_some(parts) {
            return false;
        }
        while let Some(last) = self.groups.len().checked_sub(1) {
            if !self.groups.update_at(last, |group| group.free_some(parts)) {
                return false;
            }
            self.groups.remove_at(last);
        }
        true
    }

    // --- Entries -----------------------------------------------------------------------------------------------------

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    pub fn last_id(&self) -> StreamId {
        self.last_id
    }

    pub fn max_deleted_id(&self) -> StreamId {
        self.max_deleted_id
    }

    pub fn entries_added(&self) -> u64 {
        self.entries_added
    }

    pub fn first(&self) -> Option<Entry<'_>> {
        self.nodes.get(0).and_then(|(node, _)| node.iter().next())
    }

    pub fn last(&self) -> Option<Entry<'_>> {
        self.range_back(StreamId::ZERO, StreamId::MAX).next()
    }

    /// The id of the first entry; 0-0 when there is none.
    pub fn first_id(&self) -> StreamId {
        self.first().map_or(StreamId::ZERO, |entry| entry.id)
    }

    /// Whether the fields and values of one entry are more than a node may hold.
    pub fn too_large(pairs: &[&[u8]]) -> bool {
        pairs.iter().map(|bytes| bytes.len()).sum::<usize>() > LISTPACK_BYTES_MAX
    }

    /// Puts an entry at the end. `pairs`: field, value, field, value …
    ///
    /// # Panics
    /// When the id is not above `last_id`.
    pub fn add(&mut self, id: StreamId, pairs: &[&[u8]], limits: &Limits) {
        assert!(id > self.last_id, "ids ascend");
        match self.len().checked_sub(1) {
            Some(last) if fits(self.nodes.get(last).expect("the last entry is there").0, pairs, limits) => {
                self.nodes.update_at(last, |node| node.append(id, pairs));
            }
            _ => self.push_node(Node::new(id, pairs)),
        }
        self.last_id = id;
        self.entries_added += 1;
    }

    fn push_node(&mut self, node: Node) {
        self.nodes.push(node);
        self.nodes_len += 1;
    }

    fn remove_node_at(&mut self, rank: usize) {
        self.nodes.remove_at(rank);
        self.nodes_len -= 1;
    }

    pub fn contains(&self, id: StreamId) -> bool {
        self.get(id).is_some()
    }

    pub fn get(&self, id: StreamId) -> Option<Entry<'_>> {
        self.node_of(id)?.1.find(id)
    }

    /// Number of entries below this id.
    pub fn rank(&self, id: StreamId) -> usize {
        self.node_of(id).map_or(0, |(rank, node)| rank + node.count_before(id))
    }

    /// The node whose range of ids this one falls into, and the rank of its first live entry.
    fn node_of(&self, id: StreamId) -> Option<(usize, &Node)> {
        let last = self.nodes.rank(|master| master.cmp(&id).then(Ordering::Less)).checked_sub(1)?;
        let (node, offset) = self.nodes.get(last)?;
        Some((last - offset, node))
    }

    /// Takes an entry out; false: there is none of this id.
    pub fn delete(&mut self, id: StreamId) -> bool {
        let Some((rank, node)) = self.node_of(id).filter(|(_, node)| node.find(id).is_some()) else { return false };
        if node.live() == 1 {
            self.remove_node_at(rank);
        } else {
            self.nodes.update_at(rank, |node| node.delete(id));
        }
        self.max_deleted_id = self.max_deleted_id.max(id);
        true
    }

    /// Takes out the oldest entries, as trimming does: `max_deleted_id` knows nothing of them.
    pub fn remove_oldest(&mut self, count: usize) {
        let mut left = count;
        while left > 0 {
            let live = self.nodes.get(0).expect("no more than there are").0.live();
            if live <= left {
                self.remove_node_at(0);
            } else {
                self.nodes.update_at(0, |node| node.delete_first(left));
            }
            left = left.saturating_sub(live);
        }
    }

    /// Sets what XSETID sets.
    ///
    /// # Panics
    /// When an entry is above `last_id`.
    pub fn set_ids(&mut self, last_id: StreamId, entries_added: u64, max_deleted_id: StreamId) {
        assert!(self.last().is_none_or(|entry| entry.id <= last_id), "no entry is above the last id");
        (self.last_id, self.entries_added, self.max_deleted_id) = (last_id, entries_added, max_deleted_id);
    }

    // --- Nodes: for RDB files, and for XINFO ----------------------------------------------------------------------------

    pub fn nodes_len(&self) -> usize {
        self.nodes_len
    }

    /// Nodes from the one on that covers this rank among the entries.
    pub fn nodes_from(&self, rank: usize) -> impl Iterator<Item = &Node> {
        self.nodes.iter_from(rank)
    }

    /// Takes in a node from an RDB file, unless all in it is deleted; false: it is not above those before.
    pub fn load_node(&mut self, node: Node) -> bool {
        if node.live() == 0 {
            return true;
        }
        let above = self.is_empty() || self.nodes.get(self.len() - 1).is_some_and(|(last, _)| last.last_id() < node.master());
        if above {
            self.last_id = self.last_id.max(node.last_id());
            self.push_node(node);
        }
        above
    }

    // --- Groups ------------------------------------------------------------------------------------------------------

    pub fn groups_len(&self) -> usize {
        self.groups.len()
    }

    /// In order of their names.
    pub fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.iter()
    }

    pub fn group_at(&self, index: usize) -> Option<&Group> {
        self.groups.get(index).map(|(group, _)| group)
    }

    pub fn group(&self, name: &[u8]) -> Option<&Group> {
        self.groups.find(|key| (**key).cmp(name))
    }

    /// Changes a group; None: there is none of this name.
    pub fn change_group<R>(&mut self, name: &[u8], change: impl FnOnce(&mut Group) -> R) -> Option<R> {
        self.groups.update(|key| (**key).cmp(name), change)
    }

    /// Takes in a group in place of one of the same name, which it gives.
    pub fn put_group(&mut self, group: Group) -> Option<Group> {
        let name = group.name().to_vec();
        self.groups.insert(|key| (**key).cmp(&name[..]), group)
    }

    pub fn remove_group(&mut self, name: &[u8]) -> Option<Group> {
        self.groups.remove(|key| (**key).cmp(name))
    }

    /// Whether XDEL may have taken out an entry from this id on.
    pub fn has_holes_from(&self, id: StreamId) -> bool {
        !self.is_empty() && self.max_deleted_id != StreamId::ZERO && self.max_deleted_id >= id
    }

    /// What `entries_read` of a group becomes when it delivers these entries, in order. Counted on where nothing can be missing
    /// in between, otherwise told from the stream.
    pub fn entries_read_after(&self, group: &Group, ids: &[StreamId]) -> Option<u64> {
        let first = self.first_id();
        let (mut read, mut last) = (group.entries_read, group.last_id);
        for &id in ids {
            read = match read {
                Some(read) if last >= first && !self.has_holes_from(last) => Some(read.wrapping_add(1)),
                read if self.entries_added == 0 => read,
                _ => self.entries_read_at(id),
            };
            last = id;
        }
        read
    }

    /// How many entries a group has not delivered yet, when that can be told.
    pub fn lag(&self, group: &Group) -> Option<u64> {
        if self.entries_added == 0 {
            return Some(0);
        }
        let exact = group.entries_read.filter(|_| !self.has_holes_from(group.last_id));
        let read = exact.or_else(|| self.entries_read_at(group.last_id))?;
        Some(self.entries_added.wrapping_sub(read))
    }

    /// How many entries were ever added up to this id, when that can be told.
    pub fn entries_read_at(&self, id: StreamId) -> Option<u64> {
        if self.entries_added == 0 {
            return Some(0);
        }
        if id == self.last_id || (self.is_empty() && id < self.last_id) {
            return Some(self.entries_added);
        }
        let before_holes = StreamId::ZERO < id && id < self.max_deleted_id;
        let first = self.first_id();
        if id > self.last_id || before_holes || self.max_deleted_id >= first {
            return None;
        }
        // XDEL has taken out nothing behind the first entry: what is missing lies before it.
        let gone = self.entries_added.wrapping_sub(self.len() as u64);
        match id.cmp(&first) {
            Ordering::Less => Some(gone),
            Ordering::Equal => Some(gone.wrapping_add(1)),
            Ordering::Greater => None,
        }
    }
}

/// Whether a node takes one more entry, by the limits at which Redis begins another.
fn fits(node: &Node, pairs: &[&[u8]], limits: &Limits) -> bool {
    let bytes_max = match limits.stream_node_max_bytes {
        0 => LISTPACK_BYTES_MAX,
        bytes => bytes.min(LISTPACK_BYTES_MAX),
    };
    let more: usize = pairs.iter().map(|bytes| bytes.len()).sum();
    let entries_max = limits.stream_node_max_entries;
    node.pack().total_bytes() + more < bytes_max && (entries_max == 0 || node.all() < entries_max)
}

/// The same entries, ids and groups; how entries are packed does not count.
impl PartialEq for Stream {
    fn eq(&self, other: &Stream) -> bool {
        let ids = |stream: &Stream| (stream.last_id, stream.max_deleted_id, stream.entries_added, stream.len());
        let all = |stream| Stream::range(stream, StreamId::ZERO, StreamId::MAX);
        ids(self) == ids(other) && self.groups == other.groups && all(self).eq(all(other))
    }
}
