//! The largest closed set of prefixes: which transactions are whole, on all their shards, with everything before them.
//!
//! ```text
//!   shard A   ── T1 ───────── T3 ──        T3 counts only when T1 counts (it stands before T3 on A) and T2 does (before it on C):
//!   shard B   ── T1 ── T2 ─────────        closed is transitive. Since every shard executes transactions in the order of their
//!   shard C   ──────── T2 ─── T3 ──        numbers, one pass in that order finds the largest closed set.
//! ```

use crate::ids::{Seq, ShardId};
use std::collections::VecDeque;

struct Open {
    seq: Seq,
    participants: Vec<ShardId>,
}

/// What one shard has reported, and what it has been told.
#[derive(Clone, Copy, Default)]
struct Positions {
    executed: Seq,
    committed: Seq,
    closed_ordered: Seq,
    closed_committed: Seq,
    told: (Seq, Seq),
}

pub struct Closure {
    open: VecDeque<Open>,
    shards: Vec<Positions>,
    changed: bool,
}

impl Closure {
    pub fn new(shards: u16) -> Closure {
        Closure { open: VecDeque::new(), shards: vec![Positions::default(); shards as usize], changed: false }
    }

    pub fn begin(&mut self, seq: Seq, participants: &[ShardId]) {
        assert!(self.open.back().is_none_or(|last| last.seq < seq), "numbers are handed out in rising order");
        self.open.push_back(Open { seq, participants: participants.to_vec() });
    }

    pub fn progress(&mut self, shard: ShardId, executed: Seq, committed: Seq) {
        let positions = &mut self.shards[shard.0 as usize];
        positions.executed = positions.executed.max(executed);
        positions.committed = positions.committed.max(committed);
        self.changed = true;
    }

    /// Transactions that are not closed yet.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// Recomputes the closed set when something was reported; calls `tell(shard, ordered, committed)` for each shard that gets news.
    pub fn advance(&mut self, mut tell: impl FnMut(ShardId, Seq, Seq)) {
        if !std::mem::take(&mut self.changed) {
            return;
        }
        self.compute();
        for (shard, positions) in self.shards.iter_mut().enumerate() {
            let news = (positions.closed_ordered, positions.closed_committed);
            if news != positions.told {
                positions.told = news;
                tell(ShardId(shard as u16), news.0, news.1);
            }
        }
    }

    fn compute(&mut self) {
        let mut blocked_ordered = vec![false; self.shards.len()];
        let mut blocked_committed = vec![false; self.shards.len()];
        for transaction in &self.open {
            let shards = &self.shards;
            let of = |p: &ShardId| shards[p.0 as usize];
            let is_ordered =
                transaction.participants.iter().all(|p| !blocked_ordered[p.0 as usize] && of(p).executed >= transaction.seq);
            let is_committed = is_ordered
                && transaction
                    .participants
                    .iter()
                    .all(|p| !blocked_committed[p.0 as usize] && of(p).committed >= transaction.seq);
            for p in &transaction.participants {
                let index = p.0 as usize;
                if is_ordered {
                    self.shards[index].closed_ordered = transaction.seq;
                } else {
                    blocked_ordered[index] = true;
                }
                if is_committed {
                    self.shards[index].closed_committed = transaction.seq;
                } else {
                    blocked_committed[index] = true;
                }
            }
        }
        let shards = &self.shards;
        self.open.retain(|transaction| {
            transaction.participants.iter().any(|p| shards[p.0 as usize].closed_committed < transaction.seq)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(shards: &[u16]) -> Vec<ShardId> {
        shards.iter().map(|&s| ShardId(s)).collect()
    }

    #[test]
    fn closed_is_transitive() {
        let mut closure = Closure::new(3);
        closure.begin(Seq(1), &ids(&[0, 1]));
        closure.begin(Seq(2), &ids(&[1, 2]));
        closure.progress(ShardId(1), Seq(2), Seq(2));
        closure.progress(ShardId(2), Seq(2), Seq(2));
        let mut told = Vec::new();
        closure.advance(|shard, ordered, committed| told.push((shard.0, ordered.0, committed.0)));
        assert_eq!(told, [], "2 is written on both its shards, but 1 stands before it on shard 1 and is not on shard 0");
        closure.progress(ShardId(0), Seq(1), Seq(0));
        closure.advance(|shard, ordered, committed| told.push((shard.0, ordered.0, committed.0)));
        assert_eq!(told, [(0, 1, 0), (1, 2, 0), (2, 2, 0)]);
        told.clear();
        closure.progress(ShardId(0), Seq(1), Seq(1));
        closure.advance(|shard, ordered, committed| told.push((shard.0, ordered.0, committed.0)));
        assert_eq!(told, [(0, 1, 1), (1, 2, 2), (2, 2, 2)]);
        assert_eq!(closure.open(), 0);
    }

    #[test]
    fn unrelated_shards_do_not_wait_for_each_other() {
        let mut closure = Closure::new(4);
        closure.begin(Seq(1), &ids(&[0, 1]));
        closure.begin(Seq(2), &ids(&[2, 3]));
        closure.progress(ShardId(2), Seq(2), Seq(2));
        closure.progress(ShardId(3), Seq(2), Seq(2));
        let mut told = Vec::new();
        closure.advance(|shard, _, committed| told.push((shard.0, committed.0)));
        assert_eq!(told, [(2, 2), (3, 2)]);
        assert_eq!(closure.open(), 1);
    }
}
