//! Pausing, marks, cuts, changes of mode, and bases on this shard.

use super::bound::Bound;
use super::{MarkWait, Shard};
use crate::ids::{Lsn, Seq, ShardId};
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
        self.waits.retain(|wait| wait.seq != seq);
        if self.pausing == Some(seq) {
            self.go_on();
        }
    }

    pub(super) fn go_on(&mut self) {
        self.pausing = None;
        self.paused = false;
        self.stands = false;
        self.stirred = true;
        self.run_queue();
        self.run_parked();
    }

    /// The end of a `StandStill`, also of one that was given up.
    pub(super) fn stand_no_longer(&mut self) {
        self.waits.retain(|wait| Some(wait.seq) != self.pausing);
        self.go_on();
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
                self.place_cut(seq, base, format, log);
                if stay {
                    self.stands = true;
                } else {
                    self.go_on();
                }
            }
            // After a disk fault nothing that this shard would stand still for becomes durable any more: the coordinator, which hears of
            // the fault, gives it up.
            BarrierAction::EndLog | BarrierAction::StandStill | BarrierAction::Stop if self.refusing.is_some() => self.go_on(),
            // These stand still: until everything is durable everywhere, until `GoOn`, for good.
            BarrierAction::EndLog | BarrierAction::StandStill | BarrierAction::Stop => {
                self.stands = action == BarrierAction::StandStill;
                self.waits.push(MarkWait { seq, lsn: self.log.last_lsn() });
            }
        }
    }

    /// Everything before the end is durable on all shards.
    pub(super) fn end_log(&mut self, seq: Seq) {
        if self.pausing == Some(seq) {
            self.log.disable(&mut self.disk);
            self.go_on();
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
        }
        self.wrote_sent = false;
        if report {
            self.bound.placed(seq);
            self.waits.push(MarkWait { seq, lsn });
        }
    }

    fn place_cut(&mut self, seq: Seq, base: u64, format: BaseFormat, log: Option<FsyncMode>) {
        if let Some(mode) = log
            && !self.log.enabled()
        {
            self.log.set_mode(mode);
            self.ack_mode = mode;
            self.bound = Bound::new(mode);
            self.base_first_segment = self.log.enable();
            // Acknowledgements wait for the new log from here on, though it counts only when the base is committed.
            self.log_starts = true;
        } else {
            self.base_first_segment = self.log.cut();
        }
        self.wrote_sent = false;
        self.bound.placed(seq);
        self.base_seq = seq;
        self.base_moved_ms = self.stall.waited_ms;
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
            let MarkWait { seq, lsn } = self.waits[index];
            if self.log.durable_lsn() < lsn {
                if self.log.written_lsn() >= lsn {
                    self.log.sync(&mut self.disk);
                }
                index += 1;
                continue;
            }
            self.waits.remove(index);
            self.send_coordinator(Message::Durable { seq, last: lsn });
        }
    }

    pub(super) fn mark_complete(&mut self, seq: Seq, mode: FsyncMode) {
        self.ack_mode = mode;
        self.bound.completed(seq, mode);
        self.stirred = true;
    }

    /// The first write behind a mark: everyone must hear of it before its acknowledgement can be two seconds old.
    pub(super) fn tell_of_write(&mut self) {
        let (after, since_ms) = (self.bound.last_placed(), self.now_ms);
        for shard in (0..self.shards).map(ShardId) {
            self.send(shard, Message::Wrote { after, since_ms });
        }
    }

    pub(super) fn someone_wrote(&mut self, after: Seq, since_ms: i64) {
        self.bound.wrote(after, since_ms);
        if let Some(coordinator) = &mut self.coordinator {
            coordinator.wrote();
        }
    }

    /// A change of mode is coming: have a segment for it.
    fn advance_mode(&mut self) {
        let Some((job, mode)) = self.mode_wanted else { return };
        let wanted = write_mode(mode);
        let is_there = match job {
            Some(_) => self.log.can_write(wanted),
            // The next segment is to fit the current one again. Where there is no room for one, it is tried again anyway.
            None => self.log.has_ready(wanted) || self.postponed.is_some(),
        };
        if is_there && !self.log.is_preparing() {
            self.mode_wanted = None;
            if let Some(job) = job {
                self.send_coordinator(Message::ModeReady { job });
            }
        } else if !self.log.is_preparing() {
            self.forget = self.log.prepare(wanted, &mut self.disk).or(self.forget.take());
        }
    }

    pub(super) fn hold_when_too_old(&mut self) {
        let held = self.bound.holds();
        if self.log.enabled() && !self.log_starts {
            self.bound.advance(self.now_ms);
        } else {
            // Nothing is promised: there is no log, or none that counts before its base is committed.
            self.bound.release();
        }
        if held && !self.bound.holds() {
            self.known.iter_mut().for_each(|known| known.committed = known.committed_told);
        }
    }

    // --- Bases -------------------------------------------------------------------------------------------------------

    pub(super) fn step_base(&mut self) {
        let Some(base) = &mut self.base else { return };
        base.step(&mut self.keyspace, &mut self.disk);
        let timeout_ms = self.settings.commit_timeout_ms;
        if self.stall.waited_ms - self.base_moved_ms > timeout_ms {
            let cause = format!("writing {}: the disk has not answered for {timeout_ms} ms", base.path());
            let base = base.base;
            self.base_moved_ms = self.stall.waited_ms;
            self.send_coordinator(Message::BaseFailed { base, cause });
        }
    }

    pub(super) fn base_committed(&mut self, mode: FsyncMode, remove: Vec<String>) {
        self.log_starts = false;
        self.base_file = None;
        self.bound.completed(self.base_seq, mode);
        self.changes_saved = self.changes_at_cut;
        for path in remove {
            self.disk.push(crate::disk::DiskOwner::Snapshot, crate::disk::DiskOp::Remove { path });
        }
        self.stirred = true;
    }

    pub(super) fn base_aborted(&mut self, base: u64) {
        if let Some(writer) = self.base.take_if(|writer| writer.base == base) {
            self.base_creations.extend(writer.abort(&mut self.keyspace, &mut self.disk));
        }
        if let Some((_, path)) = self.base_file.take_if(|(finished, _)| *finished == base) {
            self.disk.push(crate::disk::DiskOwner::Snapshot, crate::disk::DiskOp::Remove { path });
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
