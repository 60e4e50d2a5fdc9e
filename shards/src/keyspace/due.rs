//! The scan for expired entries: round and round, a bit per call, skipping what can't be due.
//!
//! Each segment and each table keeps a time before which none of its entries expires. It may be too early (an entry was
//! removed, or got a later expiry), never too late; passing over a segment makes its time exact, a whole pass the table's.

use super::table::Table;

pub struct DueState {
    /// Position of the next segment.
    next: u64,
    /// No entry expires before this.
    earliest_ms: i64,
    /// The same for the segments passed since the start of this pass.
    passed_earliest_ms: i64,
}

impl Default for DueState {
    fn default() -> DueState {
        DueState { next: 0, earliest_ms: i64::MAX, passed_earliest_ms: i64::MAX }
    }
}

impl DueState {
    /// An entry got this expiry.
    pub fn note(&mut self, expire_at_ms: Option<i64>) {
        if let Some(at) = expire_at_ms {
            self.earliest_ms = self.earliest_ms.min(at);
            self.passed_earliest_ms = self.passed_earliest_ms.min(at);
        }
    }
}

impl Table {
    /// Goes on from where it stopped until the end of the table (true), or until `effort` entries were examined or `found`
    /// has had enough (false).
    pub fn find_due(&mut self, now_ms: i64, effort: &mut usize, found: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        if self.expires == 0 || self.due.earliest_ms > now_ms {
            return true;
        }
        while *effort > 0 {
            let place = self.place(self.due.next);
            let next = self.next_position(self.due.next, place);
            let segment = self.segment(place);
            let mut cost = 1;
            if segment.earliest_ms().is_some_and(|at| at <= now_ms) {
                cost = segment.len();
                for (key, _, expire_at_ms) in segment.entries() {
                    if expire_at_ms.is_some_and(|at| at <= now_ms) && !found(key) {
                        // Stay here: the rest of this segment comes with the next call.
                        return false;
                    }
                }
                self.resize(place, |segment| segment.refresh_earliest());
            }
            let passed = self.segment(place).earliest_ms();
            self.due.note_passed(passed);
            *effort = effort.saturating_sub(cost);
            match next {
                Some(next) => self.due.next = next,
                None => {
                    self.due.end_pass();
                    return true;
                }
            }
        }
        false
    }
}

impl DueState {
    fn note_passed(&mut self, earliest_ms: Option<i64>) {
        self.passed_earliest_ms = self.passed_earliest_ms.min(earliest_ms.unwrap_or(i64::MAX));
    }

    fn end_pass(&mut self) {
        self.next = 0;
        self.earliest_ms = self.passed_earliest_ms;
        self.passed_earliest_ms = i64::MAX;
    }
}
