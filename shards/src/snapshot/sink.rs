//! Where the walk's entries go: encoded at once when small, remembered by a cheap clone when big.

use crate::ids::DbIndex;
use crate::keyspace::WalkSink;
use crate::log::format::crc64;
use crate::manifest::BaseFormat;
use crate::rdb::aof::encode_select;
use crate::rdb::bodies::{Body, BodyWriter};
use crate::rdb::values::{Progress, VERSION_ALL, encode_commands_piece, encode_entry_as_commands};
use crate::rdb::writer::Compression;
use crate::types::Value;
use std::any::Any;
use std::collections::VecDeque;

/// An entry that is written in pieces; of a base, a big one, after the small ones.
pub struct BigEntry {
    pub db: DbIndex,
    pub key: Vec<u8>,
    pub value: Value,
    pub expire_at_ms: Option<i64>,
    /// None: not begun.
    progress: Option<Progress>,
}

impl BigEntry {
    pub fn new(db: DbIndex, key: Vec<u8>, value: Value, expire_at_ms: Option<i64>) -> BigEntry {
        BigEntry { db, key, value, expire_at_ms, progress: None }
    }
}

/// Entries encoded in the base's format, one after another.
pub enum Encoder {
    Rdb(Box<BodyWriter>),
    Commands { out: Vec<u8>, digest: crc64fast::Digest, bytes: u64, db: Option<DbIndex>, version_max: u32 },
}

impl Encoder {
    pub fn new(format: BaseFormat, compression: Compression) -> Encoder {
        Encoder::within(format, compression, VERSION_ALL)
    }

    /// For standard files whose readers know versions up to this one; see `rdb::survey` for what they then don't get.
    pub fn for_export(format: BaseFormat, version_max: u32) -> Encoder {
        Encoder::within(format, Compression::Lzf, version_max)
    }

    fn within(format: BaseFormat, compression: Compression, version_max: u32) -> Encoder {
        match format {
            BaseFormat::Rdb => Encoder::Rdb(Box::new(BodyWriter::within(compression, version_max))),
            // Even of database 0 the first entry is preceded by its SELECT: exports put the shards' files one behind the other.
            BaseFormat::Commands => {
                Encoder::Commands { out: Vec::new(), digest: crc64fast::Digest::new(), bytes: 0, db: None, version_max }
            }
        }
    }

    pub fn entry(&mut self, db: DbIndex, key: &[u8], value: &Value, expire_at_ms: Option<i64>) {
        match self {
            Encoder::Rdb(body) => body.entry(db, key, value, expire_at_ms),
            Encoder::Commands { out, db: selected, .. } => {
                if *selected != Some(db) {
                    encode_select(out, db);
                    *selected = Some(db);
                }
                encode_entry_as_commands(out, key, value, expire_at_ms);
            }
        }
    }

    /// The next piece of a big entry; true when it was the last.
    pub fn piece(&mut self, entry: &mut BigEntry) -> bool {
        let BigEntry { db, key, value, expire_at_ms, progress } = entry;
        let begins = progress.is_none();
        let progress = progress.get_or_insert_default();
        match self {
            Encoder::Rdb(body) => {
                if begins {
                    body.begin(*db, key, value, *expire_at_ms);
                }
                body.piece(value)
            }
            Encoder::Commands { out, db: selected, version_max, .. } => {
                if *selected != Some(*db) {
                    encode_select(out, *db);
                    *selected = Some(*db);
                }
                encode_commands_piece(out, key, value, *expire_at_ms, *version_max, progress)
            }
        }
    }

    pub fn pending_bytes(&self) -> usize {
        match self {
            Encoder::Rdb(body) => body.pending_bytes(),
            Encoder::Commands { out, .. } => out.len(),
        }
    }

    pub fn take(&mut self) -> Vec<u8> {
        match self {
            Encoder::Rdb(body) => body.take(),
            Encoder::Commands { out, digest, bytes, .. } => {
                digest.write(out);
                *bytes += out.len() as u64;
                std::mem::take(out)
            }
        }
    }

    /// The last bytes, and what the body is; for commands `crc` is CRC-64/XZ.
    pub fn finish(mut self) -> (Vec<u8>, Body) {
        let last = self.take();
        match self {
            Encoder::Rdb(body) => {
                let (none, body) = body.finish();
                assert!(none.is_empty(), "everything was just taken");
                (last, body)
            }
            Encoder::Commands { digest, bytes, .. } => {
                (last, Body { bytes, crc: if bytes == 0 { crc64(&[]) } else { digest.sum64() }, version: 0, dbs: Vec::new() })
            }
        }
    }
}

pub struct BaseSink {
    pub encoder: Encoder,
    pub big: VecDeque<BigEntry>,
    /// Entries seen so far.
    pub entries: u64,
}

impl WalkSink for BaseSink {
    fn entry(&mut self, db: DbIndex, key: &[u8], value: &Value, expire_at_ms: Option<i64>) {
        self.entries += 1;
        if value.is_big() {
            self.big.push_back(BigEntry::new(db, key.to_vec(), value.clone(), expire_at_ms));
        } else {
            self.encoder.entry(db, key, value, expire_at_ms);
        }
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Str;

    #[test]
    fn files_of_commands_can_follow_each_other() {
        let file = |db| {
            let mut encoder = Encoder::new(BaseFormat::Commands, Compression::Off);
            encoder.entry(db, b"k", &Value::Str(Str::new(b"v")), None);
            encoder.finish().0
        };
        let select = |db: &str| format!("*2\r\n$6\r\nSELECT\r\n$1\r\n{db}\r\n").into_bytes();
        assert!(file(0).starts_with(&select("0")), "behind a file that ended in another database, 0 must be selected");
        assert!(file(3).starts_with(&select("3")));
    }
}
