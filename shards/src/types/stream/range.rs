//! Entries between two ids, both included.

use super::node::{Entries, EntriesBack, Entry, Node};
use super::{Stream, StreamId};
use crate::types::tree;

impl Stream {
    /// Entries from `start` to `end`, in order.
    pub fn range(&self, start: StreamId, end: StreamId) -> Range<'_> {
        let rank = self.node_of(start).map_or(0, |(rank, _)| rank);
        Range { nodes: self.nodes.iter_from(rank), entries: None, start, end }
    }

    /// Entries from `end` to `start`, backwards.
    pub fn range_back(&self, start: StreamId, end: StreamId) -> RangeBack<'_> {
        // Beyond the end when nothing is at or below `end`: there is nothing to give then.
        let rank = self.node_of(end).map_or(usize::MAX, |(rank, _)| rank);
        RangeBack { nodes: self.nodes.iter_back_from(rank), entries: None, start, end }
    }
}

pub struct Range<'a> {
    nodes: tree::Iter<'a, Node>,
    entries: Option<Entries<'a>>,
    start: StreamId,
    end: StreamId,
}

impl<'a> Iterator for Range<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        loop {
            let start = self.start;
            match self.entries.as_mut().and_then(|entries| entries.find(|entry| entry.id >= start)) {
                Some(entry) => return (entry.id <= self.end).then_some(entry),
                None => self.entries = Some(self.nodes.next()?.iter()),
            }
        }
    }
}

pub struct RangeBack<'a> {
    nodes: tree::IterBack<'a, Node>,
    entries: Option<EntriesBack<'a>>,
    start: StreamId,
    end: StreamId,
}

impl<'a> Iterator for RangeBack<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        loop {
            let end = self.end;
            match self.entries.as_mut().and_then(|entries| entries.find(|entry| entry.id <= end)) {
                Some(entry) => return (entry.id >= self.start).then_some(entry),
                None => self.entries = Some(self.nodes.next()?.iter_back()),
            }
        }
    }
}
