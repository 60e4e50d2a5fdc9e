//! Pausing, marks, cuts, changes of mode, and bases on this shard.

use super::{EVERYSEC_BOUND_MS, MarkWait, Shard, WaitKind};
use crate::ids::{Lsn, Seq};
use crate::log::FsyncMode;
use crate::log::writer::write_mode;
use crate::manifest::BaseFormat;
use crate::snapshot::BaseWriter;
use crate::transaction::{BarrierAction, Message};

impl Shard {
    pub(super) fn pause(&mut self, seq: Seq) {
        self.pausing = Some(seq);
        self.try_pause();
    }

    /// Stands still as soon as no transaction is under way here.
    pub(super) fn try_pause(&mut self) {
        if let Some(seq) = self.pausing
            && !self.paused
            && self.active.is_none()
            && self.queue.is_empty()
        {
            self.paused = true;
            self.send_coordinator(Message::Paused { seq });
        }
    }

    pub(super) fn abandon(&mut self, seq: Seq) {
        if self.pausing == Some(seq) {
            self.go_on();
        }
    }

    pub(super) fn go_on(&mut self) {
        self.pausing = None;
        self.paused = false;
        self.stirred = true;
        self.run_queue();
        self.run_parked();
    }

    /// The one point: every shard stands still here.
    pub(super) fn place(&mut self, seq: Seq, action: BarrierAction) {
        assert!(self.paused && self.pausing == Some(seq), "Place follows Pause");
        match action {
            BarrierAction::Mark { mode, report } => {
                self.place_mark(seq, mode, report);
                self.go_on();
            }
            BarrierAction::Cut { base, format, log, stay } => {
                self.place_cut(base, format, log);
                if !stay {
                    self.go_on();
                }
            }
            // These stand still: until everything is durable, until they are told, for good.
            BarrierAction::EndLog => self.waits.push(MarkWait { seq, lsn: self.log.last_lsn(), kind: WaitKind::EndLog }),
            BarrierAction::StandStill => self.waits.push(MarkWait { seq, lsn: self.log.last_lsn(), kind: WaitKind::StandStill }),
            BarrierAction::Stop => {
                self.stopped = true;
                self.waits.push(MarkWait { seq, lsn: self.log.last_lsn(), kind: WaitKind::Stop });
            }
        }
    }

    fn place_mark(&mut self, seq: Seq, mode: FsyncMode, report: bool) {
        if !self.log.enabled() {
            // The log was ended after this mark was asked for: there is nothing to cut any more.
            self.send_coordinator(Message::Durable { seq, last: self.log.last_lsn() });
            return;
        }
        let lsn = self.log.append_mark(seq, mode);
        self.log.set_mode(mode);
        if mode == FsyncMode::Always {
            self.ack_mode = mode;
            self.held_at = None;
        }
        self.dirty_sent = false;
        self.oldest_in_mark_ms = self.oldest_in_mark_ms.or(self.oldest_after_mark_ms.take());
        if report {
            self.waits.push(MarkWait { seq, lsn, kind: WaitKind::Mark });
        }
    }

    fn place_cut(&mut self, base: u64, format: BaseFormat, log: Option<FsyncMode>) {
        if let Some(mode) = log
            && !self.log.enabled()
        {
            self.log.set_mode(mode);
            self.ack_mode = mode;
            self.base_first_segment = self.log.enable();
            // Acknowledgements wait for the new log from here on, though it counts only when the base is committed.
            self.log_starts = true;
        } else {
            self.base_first_segment = self.log.cut();
        }
        let cut = self.log.last_lsn();
        self.changes_at_cut = self.keyspace.changes();
        let aux = [("redis-ver", "7.2.0"), ("redis-bits", "64"), ("aof-base", if log.is_some() { "1" } else { "0" })];
        self.base = Some(BaseWriter::begin(base, self.id, format, cut, &mut self.keyspace, &aux, &mut self.disk));
    }

    // --- Once per pass -----------------------------------------------------------------------------------------------

    /// Syncs what marks wait for, and says so when it is durable.
    pub(super) fn advance_marks(&mut self) {
        self.advance_mode();
        let mut index = 0;
        while index < self.waits.len() {
            let MarkWait { seq, lsn, kind } = self.waits[index];
            if self.log.durable_lsn() < lsn {
                if self.log.written_lsn() >= lsn {
                    self.log.sync(&mut self.disk);
                }
                index += 1;
                continue;
            }
            self.waits.remove(index);
            self.send_coordinator(Message::Durable { seq, last: lsn });
            if kind == WaitKind::EndLog {
                self.log.disable(&mut self.disk);
                self.go_on();
            }
        }
    }

    pub(super) fn mark_complete(&mut self, mode: FsyncMode) {
        self.ack_mode = mode;
        self.oldest_in_mark_ms = None;
        self.stirred = true;
    }

    /// A change of mode is coming: have a segment for it.
    fn advance_mode(&mut self) {
        let Some(mode) = self.mode_wanted else { return };
        let wanted = write_mode(mode);
        if self.log.can_write(wanted) && !self.log.is_preparing() {
            self.mode_wanted = None;
            self.send_coordinator(Message::ModeReady);
        } else if !self.log.is_preparing() {
            self.forget = self.log.prepare(wanted, &mut self.disk).or(self.forget.take());
        }
    }

    /// The bound of `everysec`: with an older write that no complete mark covers, nothing more is acknowledged.
    pub(super) fn hold_when_too_old(&mut self) {
        let oldest = self.oldest_in_mark_ms.or(self.oldest_after_mark_ms);
        let is_too_old = oldest.is_some_and(|oldest| self.now_ms - oldest > EVERYSEC_BOUND_MS);
        let holds = is_too_old && self.ack_mode == FsyncMode::Everysec && self.log.enabled();
        match (holds, self.held_at) {
            (true, None) => self.held_at = Some(self.log.written_lsn()),
            (false, Some(_)) => self.held_at = None,
            _ => {}
        }
    }

    // --- Bases -------------------------------------------------------------------------------------------------------

    pub(super) fn step_base(&mut self) {
        if let Some(base) = &mut self.base {
            base.step(&mut self.keyspace, &mut self.disk);
        }
    }

    pub(super) fn base_committed(&mut self, remove: Vec<String>) {
        self.log_starts = false;
        self.changes_saved = self.changes_at_cut;
        for path in remove {
            self.disk.push(crate::disk::DiskOwner::Snapshot, crate::disk::DiskOp::Remove { path });
        }
        self.stirred = true;
    }

    pub(super) fn base_aborted(&mut self, base: u64) {
        if let Some(writer) = self.base.take_if(|writer| writer.base == base) {
            writer.abort(&mut self.keyspace, &mut self.disk);
        }
        if std::mem::take(&mut self.log_starts) {
            self.log.disable(&mut self.disk);
        }
    }

    /// LSN of the last record and up to where the log is written and durable: for INFO and tests.
    pub fn log_positions(&self) -> (Lsn, Lsn, Lsn) {
        (self.log.last_lsn(), self.log.written_lsn(), self.log.durable_lsn())
    }
}
