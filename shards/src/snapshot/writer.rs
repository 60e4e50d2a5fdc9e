//! Writes one shard's file of a base in small steps.

use super::sink::{BaseSink, BigEntry, Encoder};
use crate::disk::{DiskOp, DiskOwner, DiskQueue, FileId, WriteMode};
use crate::ids::{DbIndex, Lsn, ShardId};
use crate::keyspace::{Keyspace, WalkProgress};
use crate::log::writer::shard_dir;
use crate::manifest::{BaseFile, BaseFormat, BaseKeys};
use crate::rdb::bodies::{Body, BodyWriter, DbMeta, shard_end, shard_header};
use crate::rdb::writer::Compression;
use bytes::Bytes;
use std::collections::VecDeque;

/// Entries walked per pass; a pass with nothing else to do is followed by the next at once.
pub const WALK_ENTRIES_PER_PASS: usize = 128;
/// Bytes handed to the disk in one write.
const WRITE_BYTES: usize = 256 * 1024;
/// With more than this many bytes under way the walk waits; pre-images of written entries go on.
const IN_FLIGHT_BYTES_MAX: usize = 4 << 20;

#[derive(Clone, Debug, PartialEq)]
pub enum BaseProgress {
    Working,
    /// The file and its directory are durable.
    Done(BaseFile),
    Failed(String),
}

enum Phase {
    Small,
    Big {
        encoder: Encoder,
        rest: VecDeque<BigEntry>,
    },
    /// All bytes are handed out; waiting for the writes.
    Writing {
        crc: u64,
    },
    Syncing {
        token: u64,
        crc: u64,
    },
    SyncingDir {
        token: u64,
        crc: u64,
    },
}

pub struct BaseWriter {
    pub base: u64,
    shard: ShardId,
    format: BaseFormat,
    cut: Lsn,
    keys: Vec<BaseKeys>,
    entries: u64,
    path: String,
    file: FileId,
    created: bool,
    create_failed: bool,
    create_token: u64,
    header: Vec<u8>,
    offset: u64,
    bodies: Vec<Body>,
    phase: Option<Phase>,
    /// Token and bytes of each write under way.
    in_flight: Vec<(u64, usize)>,
    /// Bytes that wait for the file to be created.
    waiting: VecDeque<(u64, Bytes)>,
}

pub fn base_path(shard: ShardId, base: u64, format: BaseFormat) -> String {
    let extension = if format == BaseFormat::Rdb { "rdb" } else { "aof" };
    format!("{}/base-{base}.{extension}", shard_dir(shard))
}

impl BaseWriter {
    /// The cut: the state of the keyspace as it is now goes into the file; `cut` is the last LSN that it reflects.
    pub fn begin(
        base: u64,
        shard: ShardId,
        format: BaseFormat,
        cut: Lsn,
        keyspace: &mut Keyspace,
        aux: &[(&str, &str)],
        disk: &mut DiskQueue,
    ) -> BaseWriter {
        let keys = count_keys(keyspace);
        let mut header = Vec::new();
        if format == BaseFormat::Rdb {
            let dbs: Vec<_> = keys.iter().map(|k| DbMeta { db: k.db, keys: k.keys, expires: k.expires }).collect();
            shard_header(&mut header, crate::rdb::format::WRITE_VERSION_MIN, aux, &dbs);
        }
        let encoder = Encoder::new(format, Compression::Lzf);
        keyspace.begin_walk(Box::new(BaseSink { encoder, big: VecDeque::new(), entries: 0 }));
        let (file, path) = (disk.new_file(), base_path(shard, base, format));
        let op = DiskOp::Create { file, path: path.clone(), mode: WriteMode::Buffered, zero_bytes: 0 };
        BaseWriter {
            base,
            shard,
            format,
            cut,
            keys,
            entries: 0,
            path,
            file,
            created: false,
            create_failed: false,
            create_token: disk.push(DiskOwner::Snapshot, op),
            offset: header.len() as u64,
            header,
            bodies: Vec::new(),
            phase: Some(Phase::Small),
            in_flight: Vec::new(),
            waiting: VecDeque::new(),
        }
    }

    /// Keys walked, and how many there are.
    pub fn progress(&self) -> (u64, u64) {
        (self.entries, self.keys.iter().map(|keys| keys.keys).sum())
    }

    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether a step has work to do without waiting for the disk.
    pub fn wants_step(&self) -> bool {
        matches!(self.phase, Some(Phase::Small | Phase::Big { .. })) && self.bytes_under_way() <= IN_FLIGHT_BYTES_MAX
    }

    fn bytes_under_way(&self) -> usize {
        self.in_flight.iter().map(|(_, bytes)| bytes).sum::<usize>()
            + self.waiting.iter().map(|(_, data)| data.len()).sum::<usize>()
    }

    /// One step; call it once per pass.
    pub fn step(&mut self, keyspace: &mut Keyspace, disk: &mut DiskQueue) {
        if !self.wants_step() {
            return;
        }
        match self.phase.take() {
            Some(Phase::Small) => self.step_small(keyspace, disk),
            Some(Phase::Big { encoder, rest }) => self.step_big(encoder, rest, keyspace, disk),
            other => self.phase = other,
        }
    }

    fn step_small(&mut self, keyspace: &mut Keyspace, disk: &mut DiskQueue) {
        let progress = keyspace.step_walk(WALK_ENTRIES_PER_PASS);
        if progress == WalkProgress::More {
            let sink = sink_of(keyspace);
            self.entries = sink.entries;
            if sink.encoder.pending_bytes() >= WRITE_BYTES {
                let bytes = sink.encoder.take();
                self.write(bytes, disk);
            }
            self.phase = Some(Phase::Small);
            return;
        }
        let sink = keyspace.end_walk().expect("the walk of this base is under way").into_any();
        let sink = *sink.downcast::<BaseSink>().expect("walks of bases use this sink");
        self.entries = sink.entries;
        self.phase = Some(match self.format {
            BaseFormat::Rdb => {
                let (bytes, body) = sink.encoder.finish();
                self.bodies.push(body);
                self.write(bytes, disk);
                Phase::Big { encoder: Encoder::Rdb(Box::new(BodyWriter::new(Compression::Off))), rest: sink.big }
            }
            BaseFormat::Commands => Phase::Big { encoder: sink.encoder, rest: sink.big },
        });
    }

    fn step_big(&mut self, mut encoder: Encoder, mut rest: VecDeque<BigEntry>, keyspace: &mut Keyspace, disk: &mut DiskQueue) {
        let Some(entry) = rest.front_mut() else {
            let (bytes, body) = encoder.finish();
            self.bodies.push(body);
            self.write(bytes, disk);
            return self.finish(disk);
        };
        if encoder.piece(entry) {
            // The key may be gone: then this was the last to hold the value.
            rest.pop_front().into_iter().for_each(|entry| keyspace.discard(entry.value));
        }
        if encoder.pending_bytes() >= WRITE_BYTES {
            let bytes = encoder.take();
            self.write(bytes, disk);
        }
        self.phase = Some(Phase::Big { encoder, rest });
    }

    fn finish(&mut self, disk: &mut DiskQueue) {
        let crc = match self.format {
            BaseFormat::Rdb => {
                let version = crate::rdb::bodies::bodies_version(&self.bodies);
                // The length of a header does not depend on its version.
                self.header[5..9].copy_from_slice(format!("{version:04}").as_bytes());
                let (end, meta) = shard_end(&self.header, &self.bodies);
                self.write(end, disk);
                let header = std::mem::take(&mut self.header);
                self.write_at(0, Bytes::from(header), disk);
                meta.crc
            }
            BaseFormat::Commands => self.bodies[0].crc,
        };
        self.phase = Some(Phase::Writing { crc });
        self.sync_when_written(disk);
    }

    fn write(&mut self, bytes: Vec<u8>, disk: &mut DiskQueue) {
        if !bytes.is_empty() {
            let offset = self.offset;
            self.offset += bytes.len() as u64;
            self.write_at(offset, Bytes::from(bytes), disk);
        }
    }

    fn write_at(&mut self, offset: u64, data: Bytes, disk: &mut DiskQueue) {
        if !self.created {
            self.waiting.push_back((offset, data));
            return;
        }
        let len = data.len();
        let token = disk.push(DiskOwner::Snapshot, DiskOp::Write { file: self.file, offset, data });
        self.in_flight.push((token, len));
    }

    fn sync_when_written(&mut self, disk: &mut DiskQueue) {
        if let Some(Phase::Writing { crc }) = self.phase
            && self.in_flight.is_empty()
            && self.waiting.is_empty()
            && self.created
        {
            let token = disk.push(DiskOwner::Snapshot, DiskOp::Sync { file: self.file });
            self.phase = Some(Phase::Syncing { token, crc });
        }
    }

    pub fn disk_done(&mut self, token: u64, outcome: &Result<(), String>, disk: &mut DiskQueue) -> BaseProgress {
        if !self.asked_for(token) {
            // A removal, of an old file or of a base that was given up, or a last write into that one.
            return BaseProgress::Working;
        }
        if let Err(cause) = outcome {
            self.create_failed |= token == self.create_token;
            return BaseProgress::Failed(format!("writing {}: {cause}", self.path));
        }
        if token == self.create_token {
            self.created = true;
            for (offset, data) in std::mem::take(&mut self.waiting) {
                self.write_at(offset, data, disk);
            }
        }
        self.in_flight.retain(|(t, _)| *t != token);
        match self.phase {
            Some(Phase::Syncing { token: t, crc }) if t == token => {
                disk.push(DiskOwner::Snapshot, DiskOp::Close { file: self.file });
                let token = disk.push(DiskOwner::Snapshot, DiskOp::SyncDir { path: shard_dir(self.shard) });
                self.phase = Some(Phase::SyncingDir { token, crc });
            }
            Some(Phase::SyncingDir { token: t, crc }) if t == token => {
                let keys = std::mem::take(&mut self.keys);
                return BaseProgress::Done(BaseFile { path: self.path.clone(), bytes: self.offset, crc, cut: self.cut, keys });
            }
            _ => self.sync_when_written(disk),
        }
        BaseProgress::Working
    }

    fn asked_for(&self, token: u64) -> bool {
        let waits_for = match self.phase {
            Some(Phase::Syncing { token, .. } | Phase::SyncingDir { token, .. }) => Some(token),
            _ => None,
        };
        token == self.create_token || waits_for == Some(token) || self.in_flight.iter().any(|(t, _)| *t == token)
    }

    /// Gives up: the walk ends, the file is removed; one that is not created yet, when it is.
    pub fn abort(self, keyspace: &mut Keyspace, disk: &mut DiskQueue) -> Option<Creation> {
        if matches!(self.phase, Some(Phase::Small)) {
            keyspace.end_walk();
        }
        let creation = Creation { token: self.create_token, file: self.file, path: self.path };
        if !self.created && !self.create_failed {
            return Some(creation);
        }
        // Behind the file's sync it is closed already.
        let is_open = self.created && !matches!(self.phase, Some(Phase::SyncingDir { .. }));
        creation.undo(is_open, disk);
        None
    }
}

/// A file that a base was to be written into.
pub struct Creation {
    pub token: u64,
    file: FileId,
    path: String,
}

impl Creation {
    pub fn undo(self, is_open: bool, disk: &mut DiskQueue) {
        if is_open {
            disk.push(DiskOwner::Snapshot, DiskOp::Close { file: self.file });
        }
        disk.push(DiskOwner::Snapshot, DiskOp::Remove { path: self.path });
    }
}

fn sink_of(keyspace: &mut Keyspace) -> &mut BaseSink {
    let sink = keyspace.walk_sink().expect("the walk of this base is under way");
    sink.as_any().downcast_mut().expect("walks of bases use this sink")
}

fn count_keys(keyspace: &Keyspace) -> Vec<BaseKeys> {
    let count = |db: DbIndex| {
        let stats = keyspace.stats(db);
        BaseKeys { db, keys: stats.keys, expires: stats.expires }
    };
    (0..keyspace.databases()).map(count).filter(|keys| keys.keys > 0).collect()
}
