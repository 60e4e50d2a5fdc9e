//! The numbers that must not be mixed up, each as its own type.

use std::fmt;

/// One core's engine: index of its keys, its log and its files.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct ShardId(pub u16);

/// Position in one shard's log: the number of the record, counted from 1 over the life of the data directory.
/// 0 = before the first record.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Lsn(pub u64);

/// Position in the one order of everything that touches several shards; handed out by the coordinator.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Seq(pub u64);

/// Every start of the server opens a new generation, counted from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Generation(pub u64);

/// Redis Cluster hash slot, `0..16384`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Slot(pub u16);

/// A client connection, unique over the whole server while it runs (its `CLIENT ID`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct ConnId(pub u64);

/// Number of a logical database (`SELECT`).
pub type DbIndex = u16;

/// Number of hash slots, as in Redis Cluster.
pub const SLOTS: u16 = 16384;

impl Lsn {
    pub fn next(self) -> Lsn {
        Lsn(self.0 + 1)
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shard-{:04}", self.0)
    }
}

impl Slot {
    /// CRC16/XMODEM of the key, or of what stands between the first `{` and the next `}` when that is not empty.
    pub fn of_key(key: &[u8]) -> Slot {
        Slot(crc16(hash_tag(key)) % SLOTS)
    }

    /// Slots are spread over shards in contiguous ranges, as a cluster client expects of nodes.
    pub fn shard(self, shards: u16) -> ShardId {
        ShardId((self.0 as u32 * shards as u32 / SLOTS as u32) as u16)
    }
}

fn hash_tag(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|&b| b == b'{') else {
        return key;
    };
    match key[open + 1..].iter().position(|&b| b == b'}') {
        Some(0) | None => key,
        Some(len) => &key[open + 1..open + 1 + len],
    }
}

fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, &byte| (crc << 8) ^ CRC16_TABLE[((crc >> 8) as u8 ^ byte) as usize])
}

/// CRC-16/XMODEM: polynomial 0x1021, not reflected, initial value 0.
static CRC16_TABLE: [u16; 256] = {
    let mut table = [0u16; 256];
    let mut i = 0;
    while i < 256 {
        let mut crc = (i as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 != 0 { (crc << 1) ^ 0x1021 } else { crc << 1 };
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_redis_cluster() {
        // From CLUSTER KEYSLOT of redis-server 7.0.15.
        for (key, slot) in [("foo", 12182), ("bar", 5061), ("123456789", 12739), ("", 0), ("{foo}x", 12182)] {
            assert_eq!(Slot::of_key(key.as_bytes()), Slot(slot), "{key}");
        }
        assert_eq!(Slot::of_key(b"a{}{foo}"), Slot(crc16(b"a{}{foo}") % SLOTS), "an empty tag hashes the whole key");
    }

    #[test]
    fn every_shard_owns_one_contiguous_range() {
        for shards in [1u16, 2, 3, 4, 7, 16, 64] {
            let owners: Vec<_> = (0..SLOTS).map(|slot| Slot(slot).shard(shards).0).collect();
            assert!(owners.is_sorted());
            assert_eq!(owners[0], 0);
            assert_eq!(*owners.last().expect("slots"), shards - 1);
        }
    }
}
