//! Logs: segments of any bytes in a disk in memory, read as a start and the check tool read them.
//!
//! ```text
//! input     options:u8  covered:u8  end:u8  segment …
//! options   bit 0: two shards   bit 1: the log was ended at LSN `end`   bit 2: a base covers LSNs up to `covered`
//!           bit 3: power loss   bits 4 and 5: mode of the generation
//! segment   id:u8 (bit 7: of the other shard)   bytes of its frames:u16 LE   frames as in a file, behind the header's block
//! ```
//! Headers of segments are made here, and so are the checksums of whatever looks like a frame, but for one of all ones: that is damage.
//!
//! 1. `scan` and `scan_despite_damage` agree where there is no damage, `decide` and `examine` too.
//! 2. A replay shows every record of the prefix once, in order.
//! 3. What is loaded is the state, or an error; never a panic, whatever the effects say.

use super::keyspaces::{DATABASES, is_costly};
use shards::commands::iter_bytes;
use shards::disk::{Disk, FileIdentity, FileInfo};
use shards::error::Result;
use shards::ids::{Generation, Lsn, ShardId};
use shards::keyspace::KeyspaceOptions;
use shards::log::format::{
    FRAME_HEADER_BYTES, FsyncMode, HEADER_BYTES, Record, SegmentHeader, decode_frame_header, encode_segment_header, frame_crc,
    take_record,
};
use shards::log::reader::{SegmentFile, frames, replay, scan, scan_despite_damage};
use shards::log::writer::{SegmentName, shard_dir};
use shards::manifest::{Base, BaseFile, BaseFormat, GenerationEntry, Manifest, SegmentEntry, State};
use shards::recovery::{Assume, Sequential, decide, examine, load};
use shards::resp::decode_command;
use shards::types::Limits;
use std::collections::BTreeMap;

const SEED: u64 = 0x5eed;
const NUMBER: Generation = Generation(1);
/// A frame that carries it keeps it.
const DAMAGED_CRC: u64 = u64::MAX;

pub fn check(data: &[u8]) {
    let Some(logs) = Logs::of(data) else { return };
    let generation = &logs.manifest.generations[0];
    for shard in (0..generation.shards).map(ShardId) {
        let files = generation.segment_files(shard);
        let end = generation.log_ends.as_ref().map(|ends| ends[shard.0 as usize]);
        scanned(&logs.disk, &files, logs.covered, end);
        for file in &files {
            shown(&logs.disk, &file.path);
        }
    }
    decided(&logs);
}

fn scanned(disk: &Files, files: &[SegmentFile], after: Lsn, end: Option<Lsn>) {
    let (despite, damage) = scan_despite_damage(disk, files, after, end);
    let scan = match scan(disk, files, after, end) {
        Ok(scan) => scan,
        Err(error) => return assert_eq!(damage, Some(error), "the same damage"),
    };
    assert_eq!((&despite, damage), (&scan, None), "without damage nothing is despite it");
    let until = end.map_or(scan.last, |end| scan.last.min(end.max(after)));
    let mut next = after;
    let replayed = replay(disk, files, after, until, &mut |lsn, _| {
        assert_eq!(lsn, next.next(), "records in order, each once");
        next = lsn;
        Ok(())
    });
    assert_eq!(replayed, Ok(()), "what was scanned is replayed");
    assert_eq!(next, until, "the whole prefix");
}

fn shown(disk: &Files, path: &str) {
    let mut after = 0;
    let end = frames(disk, path, &mut |frame| {
        assert!(frame.offset >= after, "frames follow each other");
        assert_eq!(frame.records.len(), frame.header.records as usize);
        after = frame.offset + (FRAME_HEADER_BYTES + frame.header.payload_bytes) as u64;
    });
    if let Ok(end) = end {
        assert!(end.end_byte >= after && end.end_byte <= disk.0[path].len() as u64);
    }
}

fn decided(logs: &Logs) {
    let examination = examine(&logs.disk, &logs.manifest, logs.assume).expect("a crash that is named");
    let decision = match decide(&logs.disk, &logs.manifest, logs.assume) {
        Ok(decision) => decision,
        Err(_) => return assert!(examination.damage().next().is_some(), "a start stops at damage only"),
    };
    assert_eq!(examination.damage().next(), None);
    assert_eq!(examination.decision, decision);
    if logs.effects().any(|args| is_costly(&args)) {
        return;
    }
    let options = KeyspaceOptions { databases: DATABASES, hash_seed: 1, limits: Limits::DEFAULT };
    if let Err(error) = load(&logs.disk, &logs.manifest, &decision, 1, options, &Sequential) {
        _ = error.to_string();
    }
}

struct Logs {
    disk: Files,
    manifest: Manifest,
    covered: Lsn,
    assume: Assume,
}

impl Logs {
    fn of(data: &[u8]) -> Option<Logs> {
        let [options, covered, end, segments @ ..] = data else { return None };
        let has = |bit: u8| options & 1 << bit != 0;
        let shards = if has(0) { 2 } else { 1 };
        let mode = [FsyncMode::Everysec, FsyncMode::No, FsyncMode::Always][(options >> 4 & 3).min(2) as usize];
        let mut disk = Files::default();
        let segments = disk.add_segments(segments, shards);
        let base = has(2).then(|| disk.add_base(Lsn(*covered as u64), shards, mode));
        let log_ends = has(1).then(|| vec![Lsn(*end as u64); shards as usize]);
        let covered = base.as_ref().map_or(Lsn(0), |base| base.files[0].cut);
        let generation = GenerationEntry { number: NUMBER, shards, mode, logged: true, log_ends, segments };
        let manifest = Manifest { base, generations: vec![generation], state: State::Running, ..Manifest::default() };
        let assume = if has(3) { Assume::PowerLoss } else { Assume::ProcessCrash };
        Some(Logs { disk, manifest, covered, assume })
    }

    /// The commands of all effects in frames that are whole.
    fn effects(&self) -> impl Iterator<Item = Vec<&[u8]>> {
        let records = self.disk.0.values().flat_map(move |bytes| {
            let payloads = frames_of(bytes).map(|(at, len)| &bytes[at + FRAME_HEADER_BYTES..at + len]);
            payloads.flat_map(|mut payload| std::iter::from_fn(move || take_record(&mut payload)))
        });
        records.flat_map(|record| match record {
            Record::Write { effects } | Record::Transaction { effects, .. } => {
                iter_bytes(effects).filter_map(|(_, resp)| decode_command(resp)).map(|(args, _)| args).collect::<Vec<_>>()
            }
            Record::Mark { .. } | Record::End { .. } => Vec::new(),
        })
    }
}

/// Where what looks like a frame stands, and how long it is, from the header's block on.
fn frames_of(bytes: &[u8]) -> impl Iterator<Item = (usize, usize)> {
    let mut at = HEADER_BYTES;
    std::iter::from_fn(move || {
        while at < bytes.len() {
            let start = at;
            let frame = decode_frame_header(&bytes[at..]).map(|header| FRAME_HEADER_BYTES + header.payload_bytes);
            match frame.filter(|len| *len <= bytes.len() - start) {
                Some(len) => {
                    at += len;
                    return Some((start, len));
                }
                None => at += 1,
            }
        }
        None
    })
}

/// A disk that is only read.
#[derive(Default)]
struct Files(BTreeMap<String, Vec<u8>>);

impl Files {
    fn add_segments(&mut self, mut rest: &[u8], shards: u16) -> Vec<SegmentEntry> {
        let mut entries = Vec::new();
        while let [id, low, high, tail @ ..] = rest {
            let shard = ShardId((id >> 7) as u16 % shards);
            let id = (id & 0x7f) as u64;
            let len = u16::from_le_bytes([*low, *high]) as usize;
            let (bytes, tail) = tail.split_at(len.min(tail.len()));
            rest = tail;
            let path = SegmentName { generation: NUMBER, shard, id }.path();
            if self.0.contains_key(&path) {
                continue;
            }
            let header = SegmentHeader { shard, shards, generation: NUMBER, id, seed: SEED };
            self.0.insert(path, sealed(&header, bytes));
            entries.push(SegmentEntry { shard, id, bytes: 0 });
        }
        entries.sort_by_key(|entry| (entry.shard, entry.id));
        entries
    }

    /// Of commands: none.
    fn add_base(&mut self, cut: Lsn, shards: u16, mode: FsyncMode) -> Base {
        let mut file = |shard: u16| {
            let path = format!("{}/base-1.aof", shard_dir(ShardId(shard)));
            self.0.insert(path.clone(), Vec::new());
            BaseFile { path, bytes: 0, crc: 0, cut, keys: Vec::new() }
        };
        let files = (0..shards).map(&mut file).collect();
        Base { id: 1, generation: NUMBER, mode, format: BaseFormat::Commands, created_ms: 0, files }
    }
}

fn sealed(header: &SegmentHeader, frames: &[u8]) -> Vec<u8> {
    let mut bytes = encode_segment_header(header);
    bytes.extend_from_slice(frames);
    let found: Vec<(usize, usize)> = frames_of(&bytes).collect();
    for (at, len) in found {
        let (head, payload) = bytes[at..at + len].split_at_mut(FRAME_HEADER_BYTES);
        if head[24..] != DAMAGED_CRC.to_le_bytes() {
            let crc = frame_crc(SEED, head, payload);
            head[24..].copy_from_slice(&crc.to_le_bytes());
        }
    }
    bytes
}

impl Disk for Files {
    fn list(&self, _: &str) -> Result<Vec<FileInfo>> {
        unreachable!("nobody looks around")
    }

    fn len(&self, path: &str) -> Result<Option<u64>> {
        Ok(self.0.get(path).map(|bytes| bytes.len() as u64))
    }

    fn read_at(&self, path: &str, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let bytes = &self.0[path][offset as usize..];
        let len = bytes.len().min(buf.len());
        buf[..len].copy_from_slice(&bytes[..len]);
        Ok(len)
    }

    fn identity(&self, _: &str) -> Result<Option<FileIdentity>> {
        Ok(None)
    }

    fn boot_id(&self) -> Option<String> {
        None
    }

    fn create_dir(&self, path: &str) -> Result<()> {
        unreachable!("readers change nothing: {path}")
    }

    fn create(&self, path: &str) -> Result<()> {
        unreachable!("readers change nothing: {path}")
    }

    fn write_at(&self, path: &str, _: u64, _: &[u8]) -> Result<()> {
        unreachable!("readers change nothing: {path}")
    }

    fn sync(&self, path: &str) -> Result<()> {
        unreachable!("readers change nothing: {path}")
    }

    fn sync_dir(&self, path: &str) -> Result<()> {
        unreachable!("readers change nothing: {path}")
    }

    fn rename(&self, path: &str, _: &str) -> Result<()> {
        unreachable!("readers change nothing: {path}")
    }

    fn remove(&self, path: &str) -> Result<()> {
        unreachable!("readers change nothing: {path}")
    }
}
