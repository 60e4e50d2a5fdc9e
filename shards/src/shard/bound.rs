//! The bound of `appendfsync everysec`: what a power loss takes was acknowledged within two seconds.
//!
//! A power loss cuts all logs at the newest mark that is durable everywhere. So what counts is the oldest write, on whatever shard, that no
//! such mark covers: while it is too old, nothing more is acknowledged on any shard.
//!
//! ```text
//!              mark 7            mark 9           now
//!   ────────────┼─────────────────┼────────────────→
//!    completed ─┘ ↑ (7, 1200 ms)    ↑ (9, 2205 ms)     first writes behind each mark, on any shard
//! ```
//! Every shard finds out by itself, from the times that the others tell it, and holds the replies of its own connections: gates stay
//! shut, and word that another shard has committed is not heeded (`Known::committed_told`). What a reply reflects that was committed when it
//! was made needs no gate, so reads go on.
//!
//! This module never reads the clock.

use super::EVERYSEC_HOLD_MS;
use crate::ids::Seq;
use crate::log::FsyncMode;

pub struct Bound {
    /// The last mark or cut that was placed here, of those that are told to be complete.
    placed: Seq,
    /// The newest mark or cut that is durable everywhere.
    completed: Seq,
    /// Per mark: the time of the first write behind it, on any shard. Only what no complete mark covers, so as many entries as there are
    /// marks under way, and one.
    uncovered: Vec<(Seq, i64)>,
    /// Of the newest complete mark: what a power loss is judged by.
    complete_mode: FsyncMode,
    holds: bool,
}

impl Bound {
    /// The start of a generation, and of a log, counts as a complete mark.
    pub fn new(mode: FsyncMode) -> Bound {
        Bound { placed: Seq(0), completed: Seq(0), uncovered: Vec::new(), complete_mode: mode, holds: false }
    }

    pub fn last_placed(&self) -> Seq {
        self.placed
    }

    pub fn placed(&mut self, seq: Seq) {
        self.placed = seq;
    }

    /// A shard that has placed `after` has written at `since_ms`. It may be ahead of this shard by a mark, or behind.
    pub fn wrote(&mut self, after: Seq, since_ms: i64) {
        if after < self.completed {
            return;
        }
        match self.uncovered.iter_mut().find(|(mark, _)| *mark == after) {
            Some((_, first_ms)) => *first_ms = since_ms.min(*first_ms),
            None => self.uncovered.push((after, since_ms)),
        }
    }

    pub fn completed(&mut self, seq: Seq, mode: FsyncMode) {
        // A base may be committed after later marks were complete.
        if seq < self.completed {
            return;
        }
        self.completed = seq;
        self.complete_mode = mode;
        self.uncovered.retain(|(after, _)| *after >= seq);
    }

    pub fn advance(&mut self, now_ms: i64) {
        let oldest_ms = self.uncovered.iter().map(|(_, first_ms)| *first_ms).min();
        let is_too_old = oldest_ms.is_some_and(|oldest_ms| now_ms - oldest_ms > EVERYSEC_HOLD_MS);
        self.holds = is_too_old && self.complete_mode == FsyncMode::Everysec;
    }

    pub fn release(&mut self) {
        self.holds = false;
    }

    /// No reply leaves that has had to wait for a log.
    pub fn holds(&self) -> bool {
        self.holds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOO_OLD_MS: i64 = EVERYSEC_HOLD_MS + 1;

    fn holds(bound: &mut Bound, now_ms: i64) -> bool {
        bound.advance(now_ms);
        bound.holds()
    }

    #[test]
    fn a_write_holds_until_the_mark_behind_it_is_complete() {
        let mut bound = Bound::new(FsyncMode::Everysec);
        bound.wrote(Seq(0), 1000);
        assert!(!holds(&mut bound, 1000 + EVERYSEC_HOLD_MS));
        assert!(holds(&mut bound, 1000 + TOO_OLD_MS));
        bound.placed(Seq(3));
        bound.wrote(Seq(3), 1500);
        assert!(holds(&mut bound, 1000 + TOO_OLD_MS));
        bound.completed(Seq(3), FsyncMode::Everysec);
        assert!(!holds(&mut bound, 1000 + TOO_OLD_MS));
        assert!(holds(&mut bound, 1500 + TOO_OLD_MS));
    }

    #[test]
    fn word_of_a_write_counts_although_a_later_mark_is_placed_here() {
        let mut bound = Bound::new(FsyncMode::Everysec);
        bound.placed(Seq(3));
        bound.wrote(Seq(0), 1000);
        assert!(holds(&mut bound, 1000 + TOO_OLD_MS));
    }

    #[test]
    fn word_of_a_write_behind_a_mark_that_is_not_placed_here_yet_outlives_the_marks_before_it() {
        let mut bound = Bound::new(FsyncMode::Everysec);
        bound.wrote(Seq(6), 1000);
        bound.placed(Seq(6));
        bound.completed(Seq(6), FsyncMode::Everysec);
        assert!(holds(&mut bound, 1000 + TOO_OLD_MS));
        bound.completed(Seq(7), FsyncMode::Everysec);
        bound.wrote(Seq(6), 1000);
        assert!(!holds(&mut bound, 1000 + TOO_OLD_MS));
    }

    #[test]
    fn the_way_into_always_keeps_the_bound_until_its_mark_is_complete() {
        let mut bound = Bound::new(FsyncMode::Everysec);
        bound.wrote(Seq(0), 1000);
        bound.placed(Seq(2));
        assert!(holds(&mut bound, 1000 + TOO_OLD_MS));
        bound.completed(Seq(2), FsyncMode::Always);
        bound.wrote(Seq(2), 1000);
        assert!(!holds(&mut bound, 1000 + TOO_OLD_MS));
    }
}
