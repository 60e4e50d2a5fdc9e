//! How many of the oldest entries a limit takes away. Looking and removing are apart: a command that removes nothing must not
//! count as a change.

use super::{Stream, StreamId};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrimTo {
    /// MAXLEN
    Len(u64),
    /// MINID
    MinId(StreamId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trim {
    pub to: TrimTo,
    /// `~`: whole nodes only.
    pub whole_nodes: bool,
    /// Of entries taken away, with `whole_nodes`. 0: no limit.
    pub limit: u64,
}

impl Stream {
    /// How many entries `remove_oldest` has to remove.
    pub fn trim_count(&self, trim: &Trim) -> usize {
        if trim.whole_nodes {
            return self.trim_count_whole(trim);
        }
        match trim.to {
            TrimTo::Len(len) => self.len() - (self.len() as u64).min(len) as usize,
            TrimTo::MinId(id) => self.rank(id),
        }
    }

    fn trim_count_whole(&self, trim: &Trim) -> usize {
        let mut count = 0;
        for node in self.nodes.iter() {
            let live = node.live();
            let left = (self.len() - count) as u64;
            let goes = match trim.to {
                TrimTo::Len(len) => left > len && left - live as u64 >= len,
                TrimTo::MinId(id) => node.last_id() < id,
            };
            if !goes || (trim.limit > 0 && (count + live) as u64 > trim.limit) {
                break;
            }
            count += live;
        }
        count
    }
}
