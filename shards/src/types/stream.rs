//! Streams: entries in listpacks as Redis packs them, in a tree ordered by id; consumer groups.

use super::listpack::Listpack;
use super::tree::{Item, Tree};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamId {
    pub ms: u64,
    pub seq: u64,
}

#[derive(Clone, Debug, Default)]
pub struct Stream {
    nodes: Tree<Node>,
}

/// A run of entries that share a master entry.
#[derive(Clone, Debug)]
struct Node {
    master: StreamId,
    entries: Listpack,
}

impl Item for Node {
    type Key = StreamId;

    fn key(&self) -> &StreamId {
        &self.master
    }

    fn heap_bytes(&self) -> usize {
        self.entries.heap_bytes()
    }
}

impl Stream {
    pub fn heap_bytes(&self) -> usize {
        size_of::<Stream>() + self.nodes.heap_bytes()
    }

    pub fn free_some(&mut self, parts: usize) -> bool {
        self.nodes.free_some(parts)
    }
}

/// The same entries and groups; how entries are packed does not count.
impl PartialEq for Stream {
    fn eq(&self, _other: &Stream) -> bool {
        unimplemented!()
    }
}
