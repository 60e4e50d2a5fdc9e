//! A segment's bytes. This is the one place where the format stands.
//!
//! ```text
//! segment   [ header block, 4096 bytes ][ frame ][ frame ] … [ zeros, or nothing ]
//!
//! header    offset size field                       (all numbers little-endian)
//!                0    8 magic "SHARDLOG"
//!                8    4 format version, 1
//!               12    2 shard, 14 2 number of shards of that generation
//!               16    8 generation
//!               24    8 segment id, rising within the shard
//!               32    8 seed: random, mixed into every frame's checksum
//!               40    8 CRC-64/XZ of bytes 0..40
//!               48      zeros to 4096
//!
//! frame          0    4 payload bytes, at least 1
//!                4    4 number of records
//!                8    8 LSN of the first record
//!               16    8 durable LSN of the shard when the frame was sealed
//!               24    8 CRC-64/XZ of seed, bytes 0..24 and payload
//!               32      payload: records one after another
//!
//! record         0    1 kind
//!   write (1)    1    4 length, then effects
//!   transaction (2)   1 8 seq, 9 2 number of participants, 11 2×n shards, then 4 length, effects (none for a reader)
//!   mark (3)     1    8 seq, 9 1 mode that holds after it
//!   end (4)      1    8 id of the segment that continues
//!
//! effect         0    2 database, 2 4 length, 6 … one command as a RESP array of bulk strings
//! ```
//!
//! A frame is valid when:
//! 1. 32 bytes are there, the payload length is at least 1 and the payload lies inside the file;
//! 2. its first LSN is the one expected (the previous frame's last + 1);
//! 3. its durable LSN is below its first LSN;
//! 4. its checksum, with the segment's seed, is right;
//! 5. its payload is exactly as many records as it says (a valid checksum with a bad payload is a bug or an attack: corrupt).
//!
//! The seed makes a frame of a recycled file, or one that a user stored as a value, never valid. The durable LSN lets
//! the reader tell a torn tail from bit rot: damage below what a later valid frame calls durable is no tail.

use crate::ids::{Generation, Lsn, Seq, ShardId};

pub const MAGIC: &[u8; 8] = b"SHARDLOG";
pub const VERSION: u32 = 1;
/// Frames start here: one block, so that a block-aligned writer never rewrites the header.
pub const HEADER_BYTES: usize = 4096;
pub const FRAME_HEADER_BYTES: usize = 32;
const HEADER_FIELDS_BYTES: usize = 40;

const WRITE: u8 = 1;
const TRANSACTION: u8 = 2;
const MARK: u8 = 3;
const END: u8 = 4;

/// `appendfsync`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum FsyncMode {
    Always,
    #[default]
    Everysec,
    No,
}

impl FsyncMode {
    pub fn name(self) -> &'static str {
        match self {
            FsyncMode::Always => "always",
            FsyncMode::Everysec => "everysec",
            FsyncMode::No => "no",
        }
    }

    pub fn from_name(name: &str) -> Option<FsyncMode> {
        [FsyncMode::Always, FsyncMode::Everysec, FsyncMode::No].into_iter().find(|mode| mode.name() == name)
    }

    fn code(self) -> u8 {
        match self {
            FsyncMode::Always => 1,
            FsyncMode::Everysec => 2,
            FsyncMode::No => 3,
        }
    }

    fn from_code(code: u8) -> Option<FsyncMode> {
        [FsyncMode::Always, FsyncMode::Everysec, FsyncMode::No].into_iter().find(|mode| mode.code() == code)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentHeader {
    pub shard: ShardId,
    pub shards: u16,
    pub generation: Generation,
    pub id: u64,
    pub seed: u64,
}

/// One record, borrowed from a frame's payload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Record<'a> {
    /// One command on one shard.
    Write { effects: &'a [u8] },
    /// This shard's part of a transaction over several shards.
    Transaction { seq: Seq, participants: Vec<ShardId>, effects: &'a [u8] },
    /// A cut through all logs; the mode holds after it.
    Mark { seq: Seq, mode: FsyncMode },
    /// The log goes on in another segment.
    End { next_segment: u64 },
}

pub fn encode_segment_header(header: &SegmentHeader) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&header.shard.0.to_le_bytes());
    out.extend_from_slice(&header.shards.to_le_bytes());
    out.extend_from_slice(&header.generation.0.to_le_bytes());
    out.extend_from_slice(&header.id.to_le_bytes());
    out.extend_from_slice(&header.seed.to_le_bytes());
    let crc = crc64(&[&out]);
    out.extend_from_slice(&crc.to_le_bytes());
    out.resize(HEADER_BYTES, 0);
    out
}

/// The header, or what is wrong with it.
pub fn decode_segment_header(bytes: &[u8]) -> Result<SegmentHeader, String> {
    let fields = bytes.get(..HEADER_FIELDS_BYTES + 8).ok_or("shorter than a segment header")?;
    if &fields[..8] != MAGIC {
        return Err("not a log segment (no magic SHARDLOG)".into());
    }
    let (found, expected) = (u64_at(fields, 40), crc64(&[&fields[..HEADER_FIELDS_BYTES]]));
    if found != expected {
        return Err(format!("segment header: crc {found:016x}, expected {expected:016x}"));
    }
    if u32_at(fields, 8) != VERSION {
        return Err(format!("segment format version {}, this program reads {VERSION}", u32_at(fields, 8)));
    }
    Ok(SegmentHeader {
        shard: ShardId(u16_at(fields, 12)),
        shards: u16_at(fields, 14),
        generation: Generation(u64_at(fields, 16)),
        id: u64_at(fields, 24),
        seed: u64_at(fields, 32),
    })
}

pub fn push_write(out: &mut Vec<u8>, effects: &[u8]) {
    out.push(WRITE);
    push_bytes(out, effects);
}

pub fn push_transaction(out: &mut Vec<u8>, seq: Seq, participants: &[ShardId], effects: &[u8]) {
    out.push(TRANSACTION);
    out.extend_from_slice(&seq.0.to_le_bytes());
    out.extend_from_slice(&(participants.len() as u16).to_le_bytes());
    for shard in participants {
        out.extend_from_slice(&shard.0.to_le_bytes());
    }
    push_bytes(out, effects);
}

pub fn push_mark(out: &mut Vec<u8>, seq: Seq, mode: FsyncMode) {
    out.push(MARK);
    out.extend_from_slice(&seq.0.to_le_bytes());
    out.push(mode.code());
}

pub fn push_end(out: &mut Vec<u8>, next_segment: u64) {
    out.push(END);
    out.extend_from_slice(&next_segment.to_le_bytes());
}

fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = u32::try_from(bytes.len()).expect("effects of one record are below 4 GiB (proto-max-bulk-len bounds them)");
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(bytes);
}

/// Takes the first record off a payload; `None` when it is malformed.
pub fn take_record<'a>(payload: &mut &'a [u8]) -> Option<Record<'a>> {
    let kind = take(payload, 1)?[0];
    match kind {
        WRITE => Some(Record::Write { effects: take_bytes(payload)? }),
        TRANSACTION => {
            let seq = Seq(take_u64(payload)?);
            let count = u16_at(take(payload, 2)?, 0) as usize;
            let shards = take(payload, 2 * count)?;
            let participants = shards.chunks_exact(2).map(|pair| ShardId(u16_at(pair, 0))).collect();
            Some(Record::Transaction { seq, participants, effects: take_bytes(payload)? })
        }
        MARK => {
            let seq = Seq(take_u64(payload)?);
            Some(Record::Mark { seq, mode: FsyncMode::from_code(take(payload, 1)?[0])? })
        }
        END => Some(Record::End { next_segment: take_u64(payload)? }),
        _ => None,
    }
}

/// Fills in the header of a frame whose first `FRAME_HEADER_BYTES` are a placeholder.
pub fn seal_frame(frame: &mut [u8], records: u32, first_lsn: Lsn, durable_lsn: Lsn, seed: u64) {
    assert!(durable_lsn < first_lsn, "a record is durable only after its frame is sealed");
    let payload_bytes = frame.len() - FRAME_HEADER_BYTES;
    assert!(payload_bytes > 0 && records > 0, "an empty frame would read as the end of the log");
    let (header, payload) = frame.split_at_mut(FRAME_HEADER_BYTES);
    let length = u32::try_from(payload_bytes).expect("the writer seals a frame before it reaches 4 GiB");
    header[0..4].copy_from_slice(&length.to_le_bytes());
    header[4..8].copy_from_slice(&records.to_le_bytes());
    header[8..16].copy_from_slice(&first_lsn.0.to_le_bytes());
    header[16..24].copy_from_slice(&durable_lsn.0.to_le_bytes());
    let crc = crc64(&[&seed.to_le_bytes(), &header[..24], payload]);
    header[24..32].copy_from_slice(&crc.to_le_bytes());
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameHeader {
    pub payload_bytes: usize,
    pub records: u32,
    pub first_lsn: Lsn,
    pub durable_lsn: Lsn,
    pub crc: u64,
}

impl FrameHeader {
    pub fn last_lsn(&self) -> Lsn {
        Lsn(self.first_lsn.0 + self.records as u64 - 1)
    }
}

/// The header's fields when they are possible at all: rules 1 (but for the file's end) and 3.
pub fn decode_frame_header(bytes: &[u8]) -> Option<FrameHeader> {
    let bytes = bytes.get(..FRAME_HEADER_BYTES)?;
    let header = FrameHeader {
        payload_bytes: u32_at(bytes, 0) as usize,
        records: u32_at(bytes, 4),
        first_lsn: Lsn(u64_at(bytes, 8)),
        durable_lsn: Lsn(u64_at(bytes, 16)),
        crc: u64_at(bytes, 24),
    };
    let possible = header.payload_bytes > 0 && header.records > 0 && header.durable_lsn < header.first_lsn;
    (possible && header.records as usize <= header.payload_bytes).then_some(header)
}

/// The checksum that a frame with these first 24 header bytes and this payload must carry.
pub fn frame_crc(seed: u64, header: &[u8], payload: &[u8]) -> u64 {
    crc64(&[&seed.to_le_bytes(), &header[..24], payload])
}

pub fn crc64(parts: &[&[u8]]) -> u64 {
    let mut digest = crc64fast::Digest::new();
    parts.iter().for_each(|part| digest.write(part));
    digest.sum64()
}

fn take<'a>(bytes: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (head, tail) = bytes.split_at_checked(len)?;
    *bytes = tail;
    Some(head)
}

fn take_u64(bytes: &mut &[u8]) -> Option<u64> {
    Some(u64_at(take(bytes, 8)?, 0))
}

fn take_bytes<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = u32_at(take(bytes, 4)?, 0) as usize;
    take(bytes, len)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().expect("two bytes"))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_survive_encoding() {
        let mut payload = Vec::new();
        push_write(&mut payload, b"effects");
        push_transaction(&mut payload, Seq(9), &[ShardId(0), ShardId(3)], b"");
        push_mark(&mut payload, Seq(10), FsyncMode::Always);
        push_end(&mut payload, 4);
        let mut rest = payload.as_slice();
        assert_eq!(take_record(&mut rest), Some(Record::Write { effects: b"effects" }));
        let participants = vec![ShardId(0), ShardId(3)];
        assert_eq!(take_record(&mut rest), Some(Record::Transaction { seq: Seq(9), participants, effects: b"" }));
        assert_eq!(take_record(&mut rest), Some(Record::Mark { seq: Seq(10), mode: FsyncMode::Always }));
        assert_eq!(take_record(&mut rest), Some(Record::End { next_segment: 4 }));
        assert!(rest.is_empty());
        for cut in 0..payload.len() {
            let mut rest = &payload[..cut];
            while take_record(&mut rest).is_some() {}
            assert!(rest.len() <= cut, "a cut payload ends without a panic");
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_in_a_segment_header_is_noticed() {
        let header = SegmentHeader { shard: ShardId(1), shards: 2, generation: Generation(3), id: 4, seed: 5 };
        let bytes = encode_segment_header(&header);
        assert_eq!(decode_segment_header(&bytes), Ok(header));
        for bit in 0..(HEADER_FIELDS_BYTES + 8) * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_segment_header(&damaged).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn the_checksum_is_crc64_xz() {
        assert_eq!(crc64(&[b"1234", b"56789"]), 0x995d_c9bb_df19_39fa);
    }
}
