//! The writing end of one shard's log: records in, disk requests out.
//!
//! ```text
//!  append_*            commit                    disk_done(write)        disk_done(sync)
//!  record → open frame ──────→ one write in flight ──────────→ written ─────────────→ durable
//!                                                  (a Durable segment: written = durable)
//! ```
//! One write is in flight at a time; what is appended meanwhile becomes one frame of the next write. So a frame never needs padding,
//! and in a `Durable` segment the last partial block can be rewritten with an identical beginning: a torn sector of it
//! holds either the old bytes or the same bytes and more.
//!
//! Segments are made ahead: created, zeroed, headed, synced with their directory, then listed in the manifest; only a listed segment is
//! written to. When none is ready the current one grows past its zeroed length.

use super::format::{self, FRAME_HEADER_BYTES, HEADER_BYTES, SegmentHeader};
use crate::disk::{BLOCK_BYTES, DiskOp, DiskOwner, DiskQueue, FileId, WriteMode};
use crate::ids::{Generation, Lsn, Seq, ShardId};
use bytes::Bytes;
use format::FsyncMode;
use std::collections::VecDeque;

/// Zeroed length of a generation's first segment; each next one is twice as long, up to the maximum.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentBytes {
    pub min: u64,
    pub max: u64,
}

impl SegmentBytes {
    /// So that the segments in use and made ahead of all shards stay within `log-prepare-bytes`, as far as the smallest length allows.
    pub fn within(prepare_bytes: u64, shards: u16) -> SegmentBytes {
        let default = SegmentBytes::default();
        let each = prepare_bytes / (2 * shards as u64);
        SegmentBytes { min: default.min, max: each.clamp(default.min, default.max) }
    }
}

impl Default for SegmentBytes {
    fn default() -> SegmentBytes {
        SegmentBytes { min: 1 << 20, max: 64 << 20 }
    }
}

/// `appendfsync no` asks for no sync of its own, and a file is closed behind one: with so many full segments open, one is made.
const UNSYNCED_FILES_MAX: usize = 4;

/// A segment as the manifest lists it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SegmentName {
    pub generation: Generation,
    pub shard: ShardId,
    pub id: u64,
}

impl SegmentName {
    pub fn path(&self) -> String {
        format!("{}/log-{}-{}.seg", shard_dir(self.shard), self.generation.0, self.id)
    }
}

pub fn shard_dir(shard: ShardId) -> String {
    format!("shard-{:04}", shard.0)
}

/// How `FsyncMode` is written: `always` with durable writes, the others through the page cache.
pub fn write_mode(mode: FsyncMode) -> WriteMode {
    match mode {
        FsyncMode::Always => WriteMode::Durable,
        FsyncMode::Everysec | FsyncMode::No => WriteMode::Buffered,
    }
}

/// What the owner of the log must know or do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LogNews {
    /// Durable with its directory: the manifest may list it; `LogWriter::listed` makes it usable.
    Prepared { segment: SegmentName, bytes: u64 },
    /// The log goes on in this segment; `end` is the previous one's last LSN.
    Rotated { to: SegmentName, end: Lsn },
    /// The next segment could not be made (a full disk, as a rule), and the current one goes on: `prepare_again` later.
    Postponed(String),
    /// A write or sync failed, or there is no segment. Nothing is written any more.
    Fault(String),
}

struct Segment {
    name: SegmentName,
    file: FileId,
    mode: WriteMode,
    seed: u64,
    zeroed_bytes: u64,
}

struct Current {
    segment: Segment,
    /// End of the frames.
    end_byte: u64,
    /// `Durable` only: the bytes of the last, partial block.
    partial_block: Vec<u8>,
}

enum Preparation {
    Idle,
    Creating(Segment, u64),
    Heading(Segment, u64),
    Syncing(Segment, u64),
    SyncingDir(Segment, u64),
    Listing(Segment),
    Ready(Segment),
}

struct InFlight {
    token: u64,
    last_lsn: Lsn,
}

/// A frame whose header is not filled in yet.
struct Closing {
    frame: Vec<u8>,
    records: u32,
    last_lsn: Lsn,
}

struct SyncRound {
    tokens: Vec<u64>,
    lsn: Lsn,
    /// Files of earlier segments, to be closed when the round is over.
    closing: Vec<FileId>,
}

pub struct LogWriter {
    shard: ShardId,
    shards: u16,
    generation: Generation,
    seeds: fastrand::Rng,
    next_id: u64,
    enabled: bool,
    mode: FsyncMode,
    current: Option<Current>,
    next: Preparation,
    next_zeroed_bytes: u64,
    segment_bytes: SegmentBytes,
    /// A frame that ends the current segment and is not handed to the disk yet; what is appended meanwhile belongs to the next one.
    closing: Option<Closing>,
    /// Starts with room for the frame's header.
    open: Vec<u8>,
    open_records: u32,
    in_flight: Option<InFlight>,
    sync_round: Option<SyncRound>,
    sync_requested: bool,
    /// Files of earlier buffered segments with writes that no sync has covered yet.
    unsynced: Vec<FileId>,
    /// After the log was switched off: operations still under way, and the files to close behind them.
    draining: Vec<u64>,
    drained: Vec<FileId>,
    /// Removals of files that could not be made: whether they succeed does not matter, a start removes what is not listed.
    removals: Vec<u64>,
    last: Lsn,
    written: Lsn,
    durable: Lsn,
    news: VecDeque<LogNews>,
    faulty: bool,
    pub bytes_appended: u64,
    pub syncs: u64,
}

impl LogWriter {
    pub fn new(
        shard: ShardId,
        shards: u16,
        generation: Generation,
        mode: FsyncMode,
        enabled: bool,
        segment_bytes: SegmentBytes,
        seed: u64,
    ) -> LogWriter {
        LogWriter {
            shard,
            shards,
            generation,
            seeds: fastrand::Rng::with_seed(seed),
            next_id: 1,
            enabled,
            mode,
            current: None,
            next: Preparation::Idle,
            next_zeroed_bytes: segment_bytes.min,
            segment_bytes,
            closing: None,
            open: vec![0; FRAME_HEADER_BYTES],
            open_records: 0,
            in_flight: None,
            sync_round: None,
            sync_requested: false,
            unsynced: Vec::new(),
            draining: Vec::new(),
            drained: Vec::new(),
            removals: Vec::new(),
            last: Lsn(0),
            written: Lsn(0),
            durable: Lsn(0),
            news: VecDeque::new(),
            faulty: false,
            bytes_appended: 0,
            syncs: 0,
        }
    }

    pub fn enabled(&self) -> bool {
        self.enabled
    }

    pub fn faulty(&self) -> bool {
        self.faulty
    }

    /// LSN of the last appended record.
    pub fn last_lsn(&self) -> Lsn {
        self.last
    }

    /// Everything up to here is in the page cache or on the disk.
    pub fn written_lsn(&self) -> Lsn {
        if self.enabled { self.written } else { self.last }
    }

    /// Everything up to here survives a power loss.
    pub fn durable_lsn(&self) -> Lsn {
        if self.enabled { self.durable } else { self.last }
    }

    pub fn take_news(&mut self) -> Option<LogNews> {
        self.news.pop_front()
    }

    /// Where the log ends now: for the manifest when the log is ended with everything durable.
    pub fn end(&self) -> Option<(SegmentName, Lsn, u64)> {
        let current = self.current.as_ref()?;
        Some((current.segment.name.clone(), self.last, current.end_byte))
    }

    /// Bytes of frames in the current segment.
    pub fn current_bytes(&self) -> u64 {
        self.current.as_ref().map_or(0, |current| current.end_byte - HEADER_BYTES as u64)
    }

    // --- Appending -------------------------------------------------------------------------------------------------

    pub fn append_write(&mut self, effects: &[u8]) -> Lsn {
        if self.enabled {
            format::push_write(&mut self.open, effects);
        }
        self.appended()
    }

    pub fn append_transaction(&mut self, seq: Seq, participants: &[ShardId], effects: &[u8]) -> Lsn {
        if self.enabled {
            format::push_transaction(&mut self.open, seq, participants, effects);
        }
        self.appended()
    }

    pub fn append_mark(&mut self, seq: Seq, mode: FsyncMode) -> Lsn {
        assert!(self.enabled, "a mark cuts a log: without one there is nothing to place");
        format::push_mark(&mut self.open, seq, mode);
        self.appended()
    }

    fn appended(&mut self) -> Lsn {
        self.last = self.last.next();
        if self.enabled {
            self.open_records += 1;
        }
        self.last
    }

    /// From the next record on the log is written, into a segment that holds nothing yet; everything before belongs to a base that is
    /// being taken. The caller has seen `can_write`. Returns the segment.
    pub fn enable(&mut self) -> u64 {
        assert!(!self.enabled && self.open_records == 0);
        self.enabled = true;
        self.written = self.last;
        self.durable = self.last;
        if self.current.is_none() {
            self.begin_next_segment();
        }
        self.current.as_ref().expect("just begun").segment.name.id
    }

    /// Nothing is written from now on; what was not written is forgotten. A later log begins in a new segment: numbers go on
    /// counting meanwhile, and a gap in one segment would read as damage.
    pub fn disable(&mut self, disk: &mut DiskQueue) {
        self.enabled = false;
        self.open.truncate(FRAME_HEADER_BYTES);
        self.open_records = 0;
        self.closing = None;
        self.sync_requested = false;
        // A file is closed when nothing is under way on it any more.
        self.draining.extend(self.in_flight.take().map(|write| write.token));
        if let Some(round) = self.sync_round.take() {
            self.draining.extend(round.tokens);
            self.drained.extend(round.closing);
        }
        self.drained.append(&mut self.unsynced);
        self.drained.extend(self.current.take().map(|current| current.segment.file));
        self.close_drained(disk);
    }

    fn close_drained(&mut self, disk: &mut DiskQueue) {
        if self.draining.is_empty() {
            for file in self.drained.drain(..) {
                disk.push(DiskOwner::Log, DiskOp::Close { file });
            }
        }
    }

    /// `appendfsync` from the next record on: the log goes on in a segment of that mode when one is ready (`can_write`).
    pub fn set_mode(&mut self, mode: FsyncMode) {
        self.mode = mode;
        if self.current.as_ref().is_some_and(|current| current.segment.mode != write_mode(mode)) {
            self.end_segment();
        }
    }

    /// Whether a change to this mode finds a segment to write to.
    pub fn can_write(&self, mode: WriteMode) -> bool {
        self.has_ready(mode) || self.current.as_ref().is_some_and(|current| current.segment.mode == mode)
    }

    /// The log can't be written to before its first segment is listed.
    pub fn is_ready(&self) -> bool {
        self.current.is_some()
    }

    /// At a cut the log goes on in a new segment when one is ready, so that the old ones can be deleted whole. Returns the first
    /// segment that holds, or will hold, records from now on.
    pub fn cut(&mut self) -> u64 {
        let current = self.current.as_ref().map_or(0, |current| current.segment.name.id);
        match (&self.closing, &self.next) {
            (Some(_), Preparation::Ready(next)) => next.name.id,
            (None, Preparation::Ready(next)) if next.mode == write_mode(self.mode) && self.current.is_some() => {
                let id = next.name.id;
                self.end_segment();
                id
            }
            _ => current,
        }
    }

    /// Ends the current segment behind what was appended so far, when a fitting one is ready and this was not done yet.
    fn end_segment(&mut self) {
        let Preparation::Ready(next) = &self.next else { return };
        if self.closing.is_some() || next.mode != write_mode(self.mode) {
            return;
        }
        format::push_end(&mut self.open, next.name.id);
        self.appended();
        let frame = std::mem::replace(&mut self.open, vec![0; FRAME_HEADER_BYTES]);
        let records = std::mem::take(&mut self.open_records);
        self.closing = Some(Closing { frame, records, last_lsn: self.last });
    }

    pub fn mode(&self) -> FsyncMode {
        self.mode
    }

    // --- Segments --------------------------------------------------------------------------------------------------

    /// True when a listed segment of this write mode waits to be used.
    pub fn has_ready(&self, mode: WriteMode) -> bool {
        matches!(&self.next, Preparation::Ready(segment) if segment.mode == mode)
    }

    pub fn is_preparing(&self) -> bool {
        !matches!(self.next, Preparation::Idle | Preparation::Ready(_))
    }

    /// Starts to make the next segment, unless one is under way; a ready one of another mode is given up and returned for the manifest
    /// to forget.
    pub fn prepare(&mut self, mode: WriteMode, disk: &mut DiskQueue) -> Option<SegmentName> {
        if self.is_preparing() || self.has_ready(mode) || self.faulty || self.closing.is_some() {
            return None;
        }
        let file = disk.new_file();
        let name = SegmentName { generation: self.generation, shard: self.shard, id: self.next_id };
        self.next_id += 1;
        let segment = Segment { file, mode, seed: self.seeds.u64(..), zeroed_bytes: self.next_zeroed_bytes, name };
        let op = DiskOp::Create { file, path: segment.name.path(), mode, zero_bytes: segment.zeroed_bytes };
        let token = disk.push(DiskOwner::Log, op);
        match std::mem::replace(&mut self.next, Preparation::Creating(segment, token)) {
            Preparation::Ready(unused) => {
                disk.push(DiskOwner::Log, DiskOp::Close { file: unused.file });
                Some(unused.name)
            }
            _ => None,
        }
    }

    /// The manifest that lists this segment is durable.
    pub fn listed(&mut self, id: u64, disk: &mut DiskQueue) {
        match std::mem::replace(&mut self.next, Preparation::Idle) {
            Preparation::Listing(segment) if segment.name.id == id => self.next = Preparation::Ready(segment),
            other => self.next = other,
        }
        if self.current.is_none() && self.enabled {
            self.begin_next_segment();
            self.prepare_ahead(disk);
        }
    }

    /// After `LogNews::Postponed`.
    pub fn prepare_again(&mut self, disk: &mut DiskQueue) {
        if self.enabled && self.current.is_some() {
            self.prepare_ahead(disk);
        }
    }

    fn prepare_ahead(&mut self, disk: &mut DiskQueue) {
        if let Preparation::Idle = self.next {
            let unused = self.prepare(write_mode(self.mode), disk);
            assert!(unused.is_none(), "nothing was ready");
        }
    }

    fn begin_next_segment(&mut self) {
        let Preparation::Ready(segment) = std::mem::replace(&mut self.next, Preparation::Idle) else {
            unreachable!("called only when a segment is ready");
        };
        self.next_zeroed_bytes = (segment.zeroed_bytes * 2).min(self.segment_bytes.max);
        self.news.push_back(LogNews::Rotated { to: segment.name.clone(), end: self.last });
        let old = self.current.replace(Current { segment, end_byte: HEADER_BYTES as u64, partial_block: Vec::new() });
        if let Some(old) = old {
            // Closed after a sync in any case: in a `Durable` file a sync finds nothing to do.
            self.unsynced.push(old.segment.file);
            self.sync_requested |= self.unsynced.len() >= UNSYNCED_FILES_MAX;
        }
    }

    // --- Committing ------------------------------------------------------------------------------------------------

    /// Writes what was appended, unless a write is in flight: then its completion is followed by the next commit.
    pub fn commit(&mut self, disk: &mut DiskQueue) {
        if !self.enabled || self.faulty || self.in_flight.is_some() || self.current.is_none() {
            return;
        }
        if self.must_switch() {
            self.end_segment();
        }
        if let Some(closing) = self.closing.take() {
            self.submit(closing, disk);
            self.begin_next_segment();
            self.prepare_ahead(disk);
        } else if self.open_records > 0 {
            let frame = std::mem::replace(&mut self.open, vec![0; FRAME_HEADER_BYTES]);
            self.open.reserve(frame.len().min(OPEN_BYTES_KEPT));
            let records = std::mem::take(&mut self.open_records);
            self.submit(Closing { frame, records, last_lsn: self.last }, disk);
        }
    }

    fn must_switch(&self) -> bool {
        let current = self.current.as_ref().expect("checked by commit");
        let is_full =
            current.end_byte > HEADER_BYTES as u64 && current.end_byte + self.open.len() as u64 > current.segment.zeroed_bytes;
        is_full || current.segment.mode != write_mode(self.mode)
    }

    fn submit(&mut self, frame: Closing, disk: &mut DiskQueue) {
        let current = self.current.as_mut().expect("checked by commit");
        let Closing { mut frame, records, last_lsn } = frame;
        let first_lsn = Lsn(last_lsn.0 - records as u64 + 1);
        format::seal_frame(&mut frame, records, first_lsn, self.durable, current.segment.seed);
        self.bytes_appended += frame.len() as u64;
        let frame_bytes = frame.len() as u64;
        let (offset, data) = match current.segment.mode {
            WriteMode::Buffered => (current.end_byte, Bytes::from(frame)),
            WriteMode::Durable => current.whole_blocks(&frame),
        };
        current.end_byte += frame_bytes;
        let token = disk.push(DiskOwner::Log, DiskOp::Write { file: current.segment.file, offset, data });
        self.in_flight = Some(InFlight { token, last_lsn });
    }

    /// Makes everything that is written by now durable; a sync under way is followed by another one.
    pub fn sync(&mut self, disk: &mut DiskQueue) {
        self.sync_requested = true;
        self.start_sync(disk);
    }

    fn start_sync(&mut self, disk: &mut DiskQueue) {
        if !self.sync_requested || self.sync_round.is_some() || self.in_flight.is_some() || !self.enabled || self.faulty {
            return;
        }
        self.sync_requested = false;
        if self.durable == self.written && self.unsynced.is_empty() {
            return;
        }
        let closing = std::mem::take(&mut self.unsynced);
        let current = self.current.iter().map(|current| current.segment.file);
        let files: Vec<_> = closing.iter().copied().chain(current).collect();
        let tokens = files.into_iter().map(|file| disk.push(DiskOwner::Log, DiskOp::Sync { file })).collect();
        self.syncs += 1;
        self.sync_round = Some(SyncRound { tokens, lsn: self.written, closing });
    }

    // --- Completions -----------------------------------------------------------------------------------------------

    pub fn disk_done(&mut self, token: u64, outcome: &Result<(), String>, disk: &mut DiskQueue) {
        if let Some(at) = self.removals.iter().position(|&t| t == token) {
            self.removals.swap_remove(at);
            return;
        }
        if let Err(cause) = outcome {
            if self.postpone(token, cause, disk) {
                return;
            }
            self.faulty = true;
            self.news.push_back(LogNews::Fault(cause.clone()));
            return;
        }
        if let Some(at) = self.draining.iter().position(|&t| t == token) {
            self.draining.swap_remove(at);
            return self.close_drained(disk);
        }
        if self.in_flight.as_ref().is_some_and(|write| write.token == token) {
            return self.write_done(disk);
        }
        if self.sync_done(token, disk) {
            return;
        }
        self.preparation_done(token, disk);
    }

    fn write_done(&mut self, disk: &mut DiskQueue) {
        let write = self.in_flight.take().expect("checked by disk_done");
        self.written = write.last_lsn;
        let is_durable = self.current.as_ref().is_some_and(|current| current.segment.mode == WriteMode::Durable);
        // Nothing is durable before the tail of the segments before this one is: their sync is asked for or under way.
        let tail_is_durable = self.unsynced.is_empty() && self.sync_round.as_ref().is_none_or(|round| round.closing.is_empty());
        if is_durable && tail_is_durable {
            self.durable = self.written;
        } else if self.mode == FsyncMode::Always {
            self.sync_requested = true;
        }
        self.start_sync(disk);
        self.commit(disk);
    }

    fn sync_done(&mut self, token: u64, disk: &mut DiskQueue) -> bool {
        let Some(round) = &mut self.sync_round else { return false };
        let Some(at) = round.tokens.iter().position(|&t| t == token) else { return false };
        round.tokens.swap_remove(at);
        if round.tokens.is_empty() {
            let round = self.sync_round.take().expect("just seen");
            self.durable = self.durable.max(round.lsn);
            for file in round.closing {
                disk.push(DiskOwner::Log, DiskOp::Close { file });
            }
            if self.mode == FsyncMode::Always && self.durable < self.written {
                self.sync_requested = true;
            }
            self.start_sync(disk);
        }
        true
    }

    /// A segment made ahead of its use that could not even be created has taken nothing that was acknowledged.
    fn postpone(&mut self, token: u64, cause: &str, disk: &mut DiskQueue) -> bool {
        let current = self.current.as_ref().map(|current| current.segment.mode);
        match std::mem::replace(&mut self.next, Preparation::Idle) {
            Preparation::Creating(segment, t) if t == token && current == Some(segment.mode) && !self.faulty => {
                // What the disk had room for would be missing to the current segment.
                self.removals.push(disk.push(DiskOwner::Log, DiskOp::Remove { path: segment.name.path() }));
                self.news.push_back(LogNews::Postponed(cause.into()));
                true
            }
            other => {
                self.next = other;
                false
            }
        }
    }

    fn preparation_done(&mut self, token: u64, disk: &mut DiskQueue) {
        self.next = match std::mem::replace(&mut self.next, Preparation::Idle) {
            Preparation::Creating(segment, t) if t == token => {
                let header = format::encode_segment_header(&SegmentHeader {
                    shard: self.shard,
                    shards: self.shards,
                    generation: self.generation,
                    id: segment.name.id,
                    seed: segment.seed,
                });
                let op = DiskOp::Write { file: segment.file, offset: 0, data: Bytes::from(header) };
                Preparation::Heading(segment, disk.push(DiskOwner::Log, op))
            }
            Preparation::Heading(segment, t) if t == token => {
                // The zeros must be allocated on the disk as well, or the first sync of a commit would pay for them.
                let token = disk.push(DiskOwner::Log, DiskOp::Sync { file: segment.file });
                Preparation::Syncing(segment, token)
            }
            Preparation::Syncing(segment, t) if t == token => {
                let token = disk.push(DiskOwner::Log, DiskOp::SyncDir { path: shard_dir(self.shard) });
                Preparation::SyncingDir(segment, token)
            }
            Preparation::SyncingDir(segment, t) if t == token => {
                self.news.push_back(LogNews::Prepared { segment: segment.name.clone(), bytes: segment.zeroed_bytes });
                Preparation::Listing(segment)
            }
            other => other,
        };
    }
}

/// Room reserved ahead for the next frame: as much as the last one took, up to this.
const OPEN_BYTES_KEPT: usize = 1 << 20;

impl Current {
    /// The frame behind the partial block's bytes, filled up with zeros to whole blocks; and where the write starts.
    fn whole_blocks(&mut self, frame: &[u8]) -> (u64, Bytes) {
        let offset = self.end_byte - self.partial_block.len() as u64;
        assert!(offset.is_multiple_of(BLOCK_BYTES as u64), "blocks of a Durable segment are aligned");
        let mut data = std::mem::take(&mut self.partial_block);
        data.extend_from_slice(frame);
        self.partial_block = data[data.len() / BLOCK_BYTES * BLOCK_BYTES..].to_vec();
        data.resize(data.len().next_multiple_of(BLOCK_BYTES), 0);
        (offset, Bytes::from(data))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The directory's requests are answered until nothing is left, those that create a file with `create`.
    fn run(log: &mut LogWriter, disk: &mut DiskQueue, create: &Result<(), String>) -> Vec<LogNews> {
        let mut news = Vec::new();
        loop {
            let requests = disk.take();
            if requests.is_empty() {
                return news;
            }
            for request in requests {
                let is_create = matches!(request.op, DiskOp::Create { .. });
                log.disk_done(request.token, if is_create { create } else { &Ok(()) }, disk);
                while let Some(one) = log.take_news() {
                    if let LogNews::Prepared { segment, .. } = &one {
                        log.listed(segment.id, disk);
                    }
                    news.push(one);
                }
            }
        }
    }

    #[test]
    fn a_disk_without_room_for_the_next_segment_takes_writes_into_the_current_one() {
        for mode in [FsyncMode::Always, FsyncMode::Everysec] {
            let mut disk = DiskQueue::default();
            let mut log = LogWriter::new(ShardId(0), 1, Generation(1), mode, true, SegmentBytes::default(), 1);
            log.prepare(write_mode(mode), &mut disk);
            // The first segment comes alone: the next one is asked for when it is in use.
            let first = disk.take().remove(0).token;
            log.disk_done(first, &Ok(()), &mut disk);
            let full = Err("no space left on the device".to_string());
            let news = run(&mut log, &mut disk, &full);
            assert!(news.contains(&LogNews::Postponed("no space left on the device".into())), "{news:?}");
            assert!(!log.faulty() && !log.is_preparing());
            let lsn = log.append_write(b"");
            log.commit(&mut disk);
            assert_eq!(run(&mut log, &mut disk, &full), []);
            assert_eq!(log.written_lsn(), lsn);
            log.prepare_again(&mut disk);
            run(&mut log, &mut disk, &Ok(()));
            assert!(log.has_ready(write_mode(mode)), "room again");
        }
    }

    #[test]
    fn without_any_segment_a_failed_creation_is_a_fault() {
        let mut disk = DiskQueue::default();
        let mut log = LogWriter::new(ShardId(0), 1, Generation(1), FsyncMode::Everysec, true, SegmentBytes::default(), 1);
        log.prepare(WriteMode::Buffered, &mut disk);
        assert_eq!(run(&mut log, &mut disk, &Err("full".into())), [LogNews::Fault("full".into())]);
        assert!(log.faulty());
    }

    #[test]
    fn a_log_that_nobody_syncs_keeps_few_files_open() {
        let mut disk = DiskQueue::default();
        let bytes = SegmentBytes { min: 8192, max: 8192 };
        let mut log = LogWriter::new(ShardId(0), 1, Generation(1), FsyncMode::No, true, bytes, 1);
        log.prepare(WriteMode::Buffered, &mut disk);
        let (mut created, mut closed) = (0, 0);
        for _ in 0..3000 {
            for request in disk.take() {
                created += matches!(request.op, DiskOp::Create { .. }) as usize;
                closed += matches!(request.op, DiskOp::Close { .. }) as usize;
                log.disk_done(request.token, &Ok(()), &mut disk);
                while let Some(news) = log.take_news() {
                    if let LogNews::Prepared { segment, .. } = news {
                        log.listed(segment.id, &mut disk);
                    }
                }
            }
            log.append_write(&[7; 100]);
            log.commit(&mut disk);
        }
        assert!(created > 20, "the log went through {created} segments");
        assert!(created - closed <= UNSYNCED_FILES_MAX + 2, "{} files are open", created - closed);
    }

    #[test]
    fn segments_made_ahead_stay_within_the_bound() {
        for shards in [1, 2, 4, 16, 64] {
            let bytes = SegmentBytes::within(256 << 20, shards);
            assert!(2 * shards as u64 * bytes.max <= 256 << 20, "{shards} shards: {bytes:?}");
            assert!(bytes.min <= bytes.max);
        }
        assert_eq!(SegmentBytes::within(1, 16).max, SegmentBytes::default().min, "a segment is never smaller than the smallest");
    }
}
