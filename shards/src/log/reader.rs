//! The reading end: finds the longest valid prefix of one shard's log, and replays it. Never modifies a file.

use super::format::{self, FRAME_HEADER_BYTES, FrameHeader, FsyncMode, HEADER_BYTES, Record, SegmentHeader};
use crate::disk::{Disk, read_all};
use crate::error::{Error, Result};
use crate::ids::{Lsn, Seq, ShardId};

/// A segment to read, as the manifest lists it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SegmentFile {
    pub path: String,
    pub id: u64,
    /// Length when it was listed: a shorter file has been truncated by something else.
    pub bytes_min: u64,
}

/// What a scan of one shard's segments found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Scan {
    /// Last LSN of the longest valid prefix.
    pub last: Lsn,
    pub transactions: Vec<ScannedTransaction>,
    pub marks: Vec<ScannedMark>,
    /// Why the prefix ends where it does, when something lies behind it.
    pub tail: Option<Tail>,
    /// Where the last valid frame ends: index into the segments, byte.
    pub end: Option<(usize, u64)>,
    pub records: u64,
    pub bytes: u64,
    /// The highest LSN that a frame calls durable.
    pub durable: Lsn,
    /// Per segment that was read: its path and the last LSN in it.
    pub segments: Vec<(String, Lsn)>,
}

impl Scan {
    /// Segments with records that no frame calls durable.
    pub fn unproven(&self) -> impl Iterator<Item = &String> {
        self.segments.iter().filter(|(_, last)| *last > self.durable).map(|(path, _)| path)
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScannedTransaction {
    pub seq: Seq,
    pub lsn: Lsn,
    pub participants: Vec<ShardId>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ScannedMark {
    pub seq: Seq,
    pub lsn: Lsn,
    pub mode: FsyncMode,
}

/// Bytes behind the valid prefix that are no zeros.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tail {
    pub path: String,
    pub offset: u64,
    pub bytes: u64,
    pub reason: String,
}

/// One segment's bytes with its header's seed.
struct Loaded {
    path: String,
    bytes: Vec<u8>,
    seed: u64,
}

enum At {
    Frame(FrameHeader),
    /// Nothing but zeros up to the end of the file.
    Empty,
    Invalid(String),
}

impl Loaded {
    fn load(disk: &dyn Disk, file: &SegmentFile) -> Result<Loaded> {
        let bytes = read_all(disk, &file.path, u64::MAX)?
            .ok_or_else(|| Error::corrupt(&file.path, 0, "the manifest lists this segment, but there is no such file"))?;
        if (bytes.len() as u64) < file.bytes_min {
            let cause = format!("the file ends here, but had at least {} bytes when it was listed: truncated", file.bytes_min);
            return Err(Error::corrupt(&file.path, bytes.len() as u64, cause));
        }
        let (loaded, header) = Loaded::decode(&file.path, bytes)?;
        if header.id != file.id {
            return Err(Error::corrupt(&file.path, 24, format!("segment id {}, expected {}", header.id, file.id)));
        }
        Ok(loaded)
    }

    fn decode(path: &str, bytes: Vec<u8>) -> Result<(Loaded, SegmentHeader)> {
        let header = format::decode_segment_header(&bytes).map_err(|cause| Error::corrupt(path, 0, cause))?;
        if bytes.len() < HEADER_BYTES {
            return Err(Error::corrupt(path, bytes.len() as u64, "the file ends within the header's block: truncated"));
        }
        Ok((Loaded { path: path.to_string(), bytes, seed: header.seed }, header))
    }

    /// What stands at `offset`, whatever its LSN.
    fn at(&self, offset: usize) -> At {
        let rest = &self.bytes[offset..];
        let Some(header) = format::decode_frame_header(rest) else {
            let is_empty = rest.iter().all(|&byte| byte == 0);
            return if is_empty { At::Empty } else { At::Invalid("no possible frame header".into()) };
        };
        let Some(payload) = rest.get(FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + header.payload_bytes) else {
            return At::Invalid(format!("a frame of {} bytes, but the file ends", header.payload_bytes));
        };
        let expected = format::frame_crc(self.seed, rest, payload);
        if expected != header.crc {
            return At::Invalid(format!("frame crc {:016x}, expected {expected:016x}", header.crc));
        }
        At::Frame(header)
    }

    fn payload(&self, offset: usize, header: &FrameHeader) -> &[u8] {
        &self.bytes[offset + FRAME_HEADER_BYTES..offset + FRAME_HEADER_BYTES + header.payload_bytes]
    }

    /// The first valid frame at or behind `from`, at any byte, that says that LSN `lsn` was durable.
    fn proof_of_durability(&self, from: usize, lsn: Lsn) -> Option<usize> {
        let last_start = self.bytes.len().checked_sub(FRAME_HEADER_BYTES)?;
        (from..=last_start).find(|&offset| {
            // The cheap test first: most bytes are zeros.
            let header = format::decode_frame_header(&self.bytes[offset..]);
            let is_candidate = header.is_some_and(|h| h.durable_lsn >= lsn && h.payload_bytes <= self.bytes.len() - offset);
            is_candidate && matches!(self.at(offset), At::Frame(_))
        })
    }
}

/// Walks the valid frames of a shard's segments, from the frame that holds `after` + 1 on.
struct Walk<'a> {
    disk: &'a dyn Disk,
    files: &'a [SegmentFile],
    expected: Lsn,
    scan: Scan,
}

/// Reads all segments of one shard (in order of their ids) and finds the longest valid prefix behind `after`, which a base covers.
/// Damage below a durable LSN is an error; `expected_end` is the recorded end of a log that was ended: less than that is one too.
pub fn scan(disk: &dyn Disk, files: &[SegmentFile], after: Lsn, expected_end: Option<Lsn>) -> Result<Scan> {
    let mut walk = Walk { disk, files, expected: Lsn(0), scan: Scan { last: after, ..Scan::default() } };
    // What stands behind a recorded end never counted: it is not read, so damage there is none.
    walk.run(after, expected_end, &mut |_, _| Ok(()))?;
    check_end(files, &walk.scan, expected_end)?;
    Ok(walk.scan)
}

fn check_end(files: &[SegmentFile], scan: &Scan, expected_end: Option<Lsn>) -> Result<()> {
    let Some(end) = expected_end.filter(|&end| scan.last < end) else { return Ok(()) };
    let (path, offset) = end_position(files, scan);
    let reason = scan.tail.as_ref().map_or("nothing follows", |tail| &tail.reason);
    let cause = format!("the log was ended at LSN {}, but is valid only to {}: {reason}", end.0, scan.last.0);
    Err(Error::corrupt(path, offset, cause))
}

/// As `scan`, but damage only ends the prefix: what stands before it, and the damage. For the check tool; a start never goes past damage.
pub fn scan_despite_damage(
    disk: &dyn Disk,
    files: &[SegmentFile],
    after: Lsn,
    expected_end: Option<Lsn>,
) -> (Scan, Option<Error>) {
    let mut walk = Walk { disk, files, expected: Lsn(0), scan: Scan { last: after, ..Scan::default() } };
    let damage = walk.run(after, expected_end, &mut |_, _| Ok(())).err();
    let mut scan = walk.scan;
    // Of a frame that turned out malformed some records may be noted already.
    scan.transactions.retain(|transaction| transaction.lsn <= scan.last);
    scan.marks.retain(|mark| mark.lsn <= scan.last);
    let damage = damage.or_else(|| check_end(files, &scan, expected_end).err());
    (scan, damage)
}

/// One valid frame of a segment, as `frames` shows it.
pub struct Frame<'a> {
    pub offset: u64,
    pub header: FrameHeader,
    pub records: Vec<Record<'a>>,
}

/// What `frames` has read.
pub struct SegmentEnd {
    pub header: SegmentHeader,
    /// Where the last valid frame ends.
    pub end_byte: u64,
    pub tail: Option<Tail>,
}

/// The valid frames of one file, which need not be in any manifest. Damage below what a later frame calls durable is an error.
pub fn frames(disk: &dyn Disk, path: &str, visit: &mut dyn FnMut(&Frame<'_>)) -> Result<SegmentEnd> {
    let bytes = read_all(disk, path, u64::MAX)?.ok_or_else(|| Error::corrupt(path, 0, "there is no such file"))?;
    let (loaded, header) = Loaded::decode(path, bytes)?;
    let (mut offset, mut expected) = (HEADER_BYTES, None);
    let reason = loop {
        let frame = match loaded.at(offset) {
            At::Frame(frame) => frame,
            At::Empty => return Ok(SegmentEnd { header, end_byte: offset as u64, tail: None }),
            At::Invalid(reason) => break reason,
        };
        if let Some(Lsn(expected)) = expected.filter(|&lsn| lsn != frame.first_lsn) {
            break format!("a frame of LSN {}, expected {expected}", frame.first_lsn.0);
        }
        let records = records_of(loaded.payload(offset, &frame), &frame)
            .ok_or_else(|| Error::corrupt(path, offset as u64, "a frame with a valid checksum holds a malformed record"))?;
        visit(&Frame { offset: offset as u64, header: frame, records });
        expected = Some(frame.last_lsn().next());
        offset += FRAME_HEADER_BYTES + frame.payload_bytes;
    };
    // Without any frame before, a later one proves that the first was once there when it calls anything durable.
    if let Some(at) = loaded.proof_of_durability(offset, expected.unwrap_or(Lsn(1))) {
        let cause =
            format!("{reason}; a later frame (@ {at}) says that this was durable: this is damage, not an unfinished write");
        return Err(Error::corrupt(path, offset as u64, cause));
    }
    let bytes = loaded.bytes[offset..].iter().rposition(|&byte| byte != 0).map_or(0, |last| last as u64 + 1);
    let tail = Some(Tail { path: path.to_string(), offset: offset as u64, bytes, reason });
    Ok(SegmentEnd { header, end_byte: offset as u64, tail })
}

/// Rule 5 of a valid frame.
fn records_of<'a>(mut payload: &'a [u8], header: &FrameHeader) -> Option<Vec<Record<'a>>> {
    let records = (0..header.records).map(|_| format::take_record(&mut payload)).collect::<Option<Vec<_>>>()?;
    payload.is_empty().then_some(records)
}

/// Gives every record with `after` < LSN ≤ `until` in order. The range must lie inside the valid prefix that `scan` found.
pub fn replay(
    disk: &dyn Disk,
    files: &[SegmentFile],
    after: Lsn,
    until: Lsn,
    visit: &mut dyn FnMut(Lsn, Record<'_>) -> Result<()>,
) -> Result<()> {
    let mut walk = Walk { disk, files, expected: Lsn(0), scan: Scan { last: after, ..Scan::default() } };
    walk.run(after, Some(until), visit)?;
    assert!(walk.scan.last >= until, "replay goes no further than what a scan has found valid");
    Ok(())
}

fn end_position(files: &[SegmentFile], scan: &Scan) -> (String, u64) {
    match (&scan.tail, scan.end) {
        (Some(tail), _) => (tail.path.clone(), tail.offset),
        (None, Some((index, byte))) => (files[index].path.clone(), byte),
        (None, None) => (files.first().map_or(String::new(), |file| file.path.clone()), HEADER_BYTES as u64),
    }
}

impl Walk<'_> {
    fn run(&mut self, after: Lsn, until: Option<Lsn>, visit: &mut dyn FnMut(Lsn, Record<'_>) -> Result<()>) -> Result<()> {
        let mut index = 0;
        while index < self.files.len() {
            let loaded = Loaded::load(self.disk, &self.files[index])?;
            let is_continued = self.segment(index, &loaded, after, until, visit)?;
            if until.is_some_and(|until| self.scan.last >= until) {
                return Ok(());
            }
            match is_continued {
                Continued::To(id) => {
                    let next = self.files.get(index + 1..).unwrap_or_default().iter().position(|file| file.id == id);
                    // A segment made for a mode that was left again is skipped: the end record names the one that counts.
                    let Some(skip) = next else {
                        return Err(Error::corrupt(
                            &loaded.path,
                            0,
                            format!("the log goes on in segment {id}, which the manifest does not list"),
                        ));
                    };
                    index += 1 + skip;
                }
                Continued::Not { offset, reason } => return self.stop(index, &loaded, offset, reason),
            }
        }
        Ok(())
    }

    fn segment(
        &mut self,
        index: usize,
        loaded: &Loaded,
        after: Lsn,
        until: Option<Lsn>,
        visit: &mut dyn FnMut(Lsn, Record<'_>) -> Result<()>,
    ) -> Result<Continued> {
        let mut offset = HEADER_BYTES;
        loop {
            let header = match loaded.at(offset) {
                At::Frame(header) => header,
                At::Empty => return Ok(Continued::Not { offset, reason: None }),
                At::Invalid(reason) => return Ok(Continued::Not { offset, reason: Some(reason) }),
            };
            if self.expected == Lsn(0) {
                if header.first_lsn > after.next() {
                    let cause = format!(
                        "the first frame begins at LSN {}, but the base ends at {}: a segment is missing",
                        header.first_lsn.0, after.0
                    );
                    return Err(Error::corrupt(&loaded.path, offset as u64, cause));
                }
            } else if header.first_lsn != self.expected {
                let reason = format!("a frame of LSN {}, expected {}", header.first_lsn.0, self.expected.0);
                return Ok(Continued::Not { offset, reason: Some(reason) });
            }
            let mut payload = loaded.payload(offset, &header);
            let mut end = None;
            for lsn in (header.first_lsn.0..=header.last_lsn().0).map(Lsn) {
                let record = format::take_record(&mut payload).ok_or_else(|| {
                    Error::corrupt(
                        &loaded.path,
                        offset as u64,
                        format!("a frame with a valid checksum holds a malformed record, LSN {}", lsn.0),
                    )
                })?;
                if let Record::End { next_segment } = record {
                    end = Some(next_segment);
                }
                if lsn > after && until.is_none_or(|until| lsn <= until) {
                    self.note(lsn, &record);
                    visit(lsn, record)?;
                }
            }
            self.expected = header.last_lsn().next();
            self.scan.last = self.scan.last.max(header.last_lsn());
            self.scan.durable = self.scan.durable.max(header.durable_lsn);
            match self.scan.segments.last_mut() {
                Some((path, last)) if *path == loaded.path => *last = header.last_lsn(),
                _ => self.scan.segments.push((loaded.path.clone(), header.last_lsn())),
            }
            self.scan.bytes += (FRAME_HEADER_BYTES + header.payload_bytes) as u64;
            offset += FRAME_HEADER_BYTES + header.payload_bytes;
            self.scan.end = Some((index, offset as u64));
            if let Some(next) = end {
                return Ok(Continued::To(next));
            }
            if until.is_some_and(|until| self.scan.last >= until) {
                return Ok(Continued::Not { offset, reason: None });
            }
        }
    }

    fn note(&mut self, lsn: Lsn, record: &Record<'_>) {
        self.scan.records += 1;
        match record {
            Record::Transaction { seq, participants, .. } => {
                self.scan.transactions.push(ScannedTransaction { seq: *seq, lsn, participants: participants.clone() });
            }
            Record::Mark { seq, mode } => self.scan.marks.push(ScannedMark { seq: *seq, lsn, mode: *mode }),
            Record::Write { .. } | Record::End { .. } => {}
        }
    }

    /// The prefix ends here. Is it an unsynced tail, or damage to what once was durable?
    fn stop(&mut self, index: usize, loaded: &Loaded, offset: usize, reason: Option<String>) -> Result<()> {
        let missing = if self.expected == Lsn(0) { self.scan.last.next() } else { self.expected };
        let mut proof = loaded.proof_of_durability(offset, missing).map(|at| (loaded.path.clone(), at));
        let mut later_bytes = 0;
        for file in &self.files[index + 1..] {
            let later = Loaded::load(self.disk, file)?;
            later_bytes += later.bytes[HEADER_BYTES..].iter().rposition(|&byte| byte != 0).map_or(0, |last| last as u64 + 1);
            proof = proof.or_else(|| later.proof_of_durability(HEADER_BYTES, missing).map(|at| (later.path.clone(), at)));
        }
        let reason = reason.unwrap_or_else(|| "no frame".into());
        if let Some((path, at)) = proof {
            let cause = format!(
                "{reason}; a later frame ({path} @ {at}) says that LSN {} was durable: this is damage, not an unfinished write",
                missing.0
            );
            return Err(Error::corrupt(&loaded.path, offset as u64, cause));
        }
        let behind = loaded.bytes[offset..].iter().rposition(|&byte| byte != 0).map_or(0, |last| last as u64 + 1);
        if behind + later_bytes > 0 {
            self.scan.tail = Some(Tail { path: loaded.path.clone(), offset: offset as u64, bytes: behind + later_bytes, reason });
        }
        Ok(())
    }
}

enum Continued {
    To(u64),
    Not { offset: usize, reason: Option<String> },
}
