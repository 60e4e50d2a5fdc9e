//! The read gate: for each bucket of key hashes the LSN of its last write.
//!
//! A reply must not leave before what it shows is committed. The gate tells a command which LSN that is: the greatest among
//! the buckets that it looked up. Several keys share a bucket, so the answer may be too great (a reply waits a little longer
//! than it must), never too small.

use crate::ids::{DbIndex, Lsn};

/// 2^16 stamps of 8 bytes: half a megabyte per shard. With W writes in flight a reader of another key waits needlessly
/// with probability W / 65536.
const BUCKETS: usize = 1 << 16;

pub struct Gate {
    stamps: Box<[Lsn]>,
    /// The last write of all keys at once: FLUSHDB, SWAPDB.
    all: Lsn,
    write_lsn: Lsn,
    needed: Lsn,
}

impl Gate {
    pub fn new() -> Gate {
        Gate { stamps: vec![Lsn(0); BUCKETS].into_boxed_slice(), all: Lsn(0), write_lsn: Lsn(0), needed: Lsn(0) }
    }

    pub fn begin_command(&mut self, write_lsn: Lsn) {
        self.write_lsn = write_lsn;
        self.needed = Lsn(0);
    }

    pub fn needed(&self) -> Lsn {
        self.needed
    }

    pub fn need(&mut self, lsn: Lsn) {
        self.needed = self.needed.max(lsn);
    }

    pub fn looked_up(&mut self, db: DbIndex, hash: u64) {
        let lsn = self.stamps[bucket(db, hash)].max(self.all);
        self.need(lsn);
    }

    pub fn written(&mut self, db: DbIndex, hash: u64) {
        let stamp = &mut self.stamps[bucket(db, hash)];
        *stamp = self.write_lsn.max(*stamp);
    }

    pub fn all_written(&mut self) {
        self.all = self.write_lsn.max(self.all);
    }
}

/// By middle bits of the hash: the top ones say where the segment is, the low ones are the fingerprint.
fn bucket(db: DbIndex, hash: u64) -> usize {
    ((hash >> 8) ^ (db as u64).wrapping_mul(0x9e37)) as usize % BUCKETS
}
