//! The walk: shows every entry as it was at the cut, while the keyspace goes on changing. A snapshot without fork.
//!
//! ```text
//! table at the cut   [ saved | saved | unsaved | saved | unsaved | unsaved ]     segments in hash order
//!                                    ▲             ▲
//!                       `next` of the walk         a write came: the whole segment was shown first
//! ```
//! 1. A segment is saved when its `saved_epoch` is the walk's. At the cut none is: each walk has a new epoch, so the cut
//!    touches no segment, only the list of databases.
//! 2. Whoever changes a segment shows it before, when it is not saved. So what is not saved is as it was at the cut, and
//!    what is saved may change: entries inserted later are never shown.
//! 3. Splits happen to saved segments only (a change led to them), and both halves are saved. Before a merge both are.
//! 4. A table made after the cut has no `cut` and nothing to show. A cleared one keeps it, and the walk empties it as it goes.

use super::WalkSink;
use super::table::{Place, Table};

pub struct Walk {
    pub sink: Box<dyn WalkSink>,
    pub epoch: u32,
}

impl Walk {
    /// Shows the segment's entries unless they were shown; returns how many.
    pub fn save(&mut self, table: &mut Table, place: Place) -> usize {
        let Some(cut) = &table.cut else { return 0 };
        let db = cut.db;
        let segment = table.segment_mut(place);
        if segment.saved_epoch == self.epoch {
            return 0;
        }
        segment.saved_epoch = self.epoch;
        for (key, value, expire_at_ms) in segment.entries() {
            self.sink.entry(db, key, value, expire_at_ms);
        }
        segment.len()
    }

    /// Goes on to the table's next segment; ends the table's part in the walk after the last one. Returns what it cost, in entries.
    pub fn step(&mut self, table: &mut Table, cleared: bool) -> usize {
        let Some(cut) = &table.cut else { return 0 };
        let position = cut.next;
        let place = table.place(position);
        let next = table.next_position(position, place);
        let mut cost = self.save(table, place);
        if cleared {
            cost += table.segment(place).len();
            table.empty_segment(place);
        }
        match (next, &mut table.cut) {
            (Some(next), Some(cut)) => cut.next = next,
            _ => table.cut = None,
        }
        cost.max(1)
    }
}
