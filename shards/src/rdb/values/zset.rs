//! Sorted sets in RDB files and as commands.

use super::Progress;
use crate::error::Result;
use crate::rdb::format::type_code;
use crate::rdb::input::Source;
use crate::rdb::reader::Reader;
use crate::rdb::writer::Compression;
use crate::types::Zset;

/// The lowest RDB version that can hold it.
pub fn version(_zset: &Zset) -> u32 {
    8
}

/// The type code under which `encode` writes it.
pub fn type_code(_zset: &Zset) -> u8 {
    type_code::ZSET_2
}

/// Encodes the next piece; true when it was the last.
pub fn encode(_out: &mut Vec<u8>, _zset: &Zset, _progress: &mut Progress, _compression: Compression) -> bool {
    unimplemented!()
}

/// The next commands that make it under a key that does not exist yet; true when they are the last.
pub fn encode_commands(_out: &mut Vec<u8>, _key: &[u8], _zset: &Zset, _progress: &mut Progress) -> bool {
    unimplemented!()
}

/// Reads what stands behind one of its type codes.
pub fn read<S: Source>(reader: &mut Reader<S>, code: u8) -> Result<Zset> {
    Err(reader.unsupported_type(code))
}
