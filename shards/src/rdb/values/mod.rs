//! How each type of value is written and read: a file for each, all with the same functions.
//!
//! | function | what |
//! |---|---|
//! | `version`, `type_code` | the lowest RDB version that can hold the value, and the code it is written under |
//! | `encode` | its RDB form, in pieces of about `PIECE_BYTES` |
//! | `encode_commands` | commands that make it, in pieces |
//! | `read` | every RDB form that ever was |
//!
//! A file for readers of an older version is written by the same functions, with the highest version that they know: `version_max`.
//! What such a file does not say is named by `loss`; only a value of which nothing would be left is the caller's to leave out.
//!
//! Collections are written in their oldest general form, element by element: every server since Redis 4 reads it and chooses
//! its own compact encoding, and it can be written in pieces.

pub mod hash;
pub mod list;
pub mod set;
pub mod stream;
pub mod zset;

use super::aof::encode_command;
use super::format::type_code;
use super::input::Source;
use super::reader::Reader;
use super::writer::{COMPRESS_BYTES_MAX, Compression, encode_length, encode_string};
use crate::error::Result;
use crate::types::{Str, Value};

/// A version that can hold all there is to say about every value: what the server's own files are written with.
pub const VERSION_ALL: u32 = 12;

/// What a file for readers of an older version does not say of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Nothing of the value would be left, so the key must be left out: every field of a hash has an expiry of its own.
    Key,
    /// So many fields of a hash that have an expiry of their own: without it they would stay for ever.
    ExpiringFields(usize),
    /// When the consumers of a stream's groups were last active.
    ActiveTimes,
    /// What was deleted from a stream, how many entries it ever had, and how many of them its groups have read.
    History,
    HistoryAndActiveTimes,
}

impl std::fmt::Display for Loss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Loss::Key => f.write_str("left out: each of its fields has an expiry of its own"),
            Loss::ExpiringFields(1) => f.write_str("written without 1 field that has an expiry of its own"),
            Loss::ExpiringFields(fields) => write!(f, "written without {fields} fields that have an expiry of their own"),
            Loss::ActiveTimes => f.write_str("written without the times when consumers were last active"),
            Loss::History => f.write_str("written without the counts of entries ever added and read, and the highest deleted id"),
            Loss::HistoryAndActiveTimes => f.write_str(
                "written without the counts of entries ever added and read, the highest deleted id, and the times when consumers \
                 were last active",
            ),
        }
    }
}

/// What is lost for readers of versions up to this one; None: nothing.
pub fn loss(value: &Value, version_max: u32) -> Option<Loss> {
    match value {
        Value::Str(_) | Value::List(_) | Value::Set(_) | Value::Zset(_) => None,
        Value::Hash(hash) => hash::loss(hash, version_max),
        Value::Stream(stream) => stream::loss(stream, version_max),
    }
}

/// About so many bytes are encoded in one piece.
pub const PIECE_BYTES: usize = 64 * 1024;

/// Elements in one command of an AOF, as in Redis.
pub const ELEMENTS_PER_COMMAND: usize = 64;

/// How far a value that is encoded in pieces has come. What the numbers mean is the type's own matter; all begin at 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub stage: usize,
    pub at: usize,
    pub inner: usize,
}

/// The lowest RDB version that can hold the value whole.
pub fn value_version(value: &Value) -> u32 {
    match value {
        Value::Str(_) => 1,
        Value::List(list) => list::version(list),
        Value::Set(set) => set::version(set),
        Value::Hash(hash) => hash::version(hash),
        Value::Zset(zset) => zset::version(zset),
        Value::Stream(stream) => stream::version(stream),
    }
}

/// The type code under which `encode_piece` writes this value.
pub fn type_of(value: &Value, version_max: u32) -> u8 {
    match value {
        Value::Str(_) => type_code::STRING,
        Value::List(list) => list::type_code(list),
        Value::Set(set) => set::type_code(set),
        Value::Hash(hash) => hash::type_code(hash, version_max),
        Value::Zset(zset) => zset::type_code(zset),
        Value::Stream(stream) => stream::type_code(stream, version_max),
    }
}

/// Encodes the next piece of the value behind its type code and key; true when it was the last.
pub fn encode_piece(
    out: &mut Vec<u8>,
    value: &Value,
    version_max: u32,
    progress: &mut Progress,
    compression: Compression,
) -> bool {
    match value {
        Value::Str(string) => encode_str(out, string, progress, compression),
        Value::List(list) => list::encode(out, list, progress, compression),
        Value::Set(set) => set::encode(out, set, progress, compression),
        Value::Hash(hash) => hash::encode(out, hash, version_max, progress, compression),
        Value::Zset(zset) => zset::encode(out, zset, progress, compression),
        Value::Stream(stream) => stream::encode(out, stream, version_max, progress, compression),
    }
}

pub fn encode_value(out: &mut Vec<u8>, value: &Value, version_max: u32, compression: Compression) {
    let mut progress = Progress::default();
    while !encode_piece(out, value, version_max, &mut progress, compression) {}
}

/// The next commands that make the entry in the selected database, where the key must not exist yet; true when they are the
/// last. Understood since Redis 6.2, but for fields with an expiry of their own: for readers of versions that don't know them
/// they are left out, as in an RDB file.
pub fn encode_commands_piece(
    out: &mut Vec<u8>,
    key: &[u8],
    value: &Value,
    expire_at_ms: Option<i64>,
    version_max: u32,
    progress: &mut Progress,
) -> bool {
    let done = match value {
        Value::Str(string) => {
            match expire_at_ms {
                None => encode_command(out, &[b"SET", key, &string.bytes()]),
                Some(at) => encode_command(out, &[b"SET", key, &string.bytes(), b"PXAT", at.to_string().as_bytes()]),
            }
            return true;
        }
        Value::List(list) => list::encode_commands(out, key, list, progress),
        Value::Set(set) => set::encode_commands(out, key, set, progress),
        Value::Hash(hash) => hash::encode_commands(out, key, hash, version_max, progress),
        Value::Zset(zset) => zset::encode_commands(out, key, zset, progress),
        Value::Stream(stream) => stream::encode_commands(out, key, stream, progress),
    };
    if done && let Some(at) = expire_at_ms {
        encode_command(out, &[b"PEXPIREAT", key, at.to_string().as_bytes()]);
    }
    done
}

/// All commands that make the entry, whole.
pub fn encode_entry_as_commands(out: &mut Vec<u8>, key: &[u8], value: &Value, expire_at_ms: Option<i64>) {
    let mut progress = Progress::default();
    while !encode_commands_piece(out, key, value, expire_at_ms, VERSION_ALL, &mut progress) {}
}

/// Reads the value behind a type code. What makes its keys or elements contradict each other is corruption.
pub fn read_value<S: Source>(reader: &mut Reader<S>, code: u8) -> Result<Value> {
    match code {
        type_code::STRING => reader.str_value(),
        type_code::LIST | type_code::LIST_ZIPLIST | type_code::LIST_QUICKLIST | type_code::LIST_QUICKLIST_2 => {
            list::read(reader, code).map(|list| Value::List(Box::new(list)))
        }
        type_code::SET | type_code::SET_INTSET | type_code::SET_LISTPACK => {
            set::read(reader, code).map(|set| Value::Set(Box::new(set)))
        }
        type_code::ZSET | type_code::ZSET_2 | type_code::ZSET_ZIPLIST | type_code::ZSET_LISTPACK => {
            zset::read(reader, code).map(|zset| Value::Zset(Box::new(zset)))
        }
        type_code::STREAM | type_code::STREAM_2 | type_code::STREAM_3 => {
            stream::read(reader, code).map(|stream| Value::Stream(Box::new(stream)))
        }
        type_code::HASH | type_code::HASH_ZIPMAP | type_code::HASH_ZIPLIST | type_code::HASH_LISTPACK => {
            hash::read(reader, code).map(|hash| Value::Hash(Box::new(hash)))
        }
        type_code::HASH_22..=type_code::HASH_LISTPACK_TTL => hash::read(reader, code).map(|hash| Value::Hash(Box::new(hash))),
        _ => Err(reader.unsupported_type(code)),
    }
}

/// A long string is written as it is, in pieces.
fn encode_str(out: &mut Vec<u8>, string: &Str, progress: &mut Progress, compression: Compression) -> bool {
    if string.len() <= COMPRESS_BYTES_MAX && compression == Compression::Lzf || string.len() <= PIECE_BYTES {
        encode_string(out, &string.bytes(), compression);
        return true;
    }
    if progress.at == 0 {
        encode_length(out, string.len() as u64);
    }
    let end = (progress.at + PIECE_BYTES).min(string.len());
    out.extend_from_slice(&string.range(progress.at, end));
    progress.at = end;
    end == string.len()
}
