//! Payloads of DUMP and RESTORE.
//!
//! ```text
//! type:u8  value  version:u16 little-endian  CRC-64/REDIS of all bytes before it: u64 little-endian
//! ```
//! The version is the lowest that can hold the value, at least 9, so that older servers take the payload too:
//! RESTORE refuses only versions above its own.

use super::crc64::Crc64;
use super::format::{CRC_BYTES, REDIS_VERSION_MAX, VALKEY_VERSION, WRITE_VERSION_MIN};
use super::reader::Vendor;
use super::reader::read_single_value;
use super::values::{VERSION_ALL, encode_value, type_of, value_version};
use super::writer::Compression;
use crate::types::{Limits, Value};

const VERSION_BYTES: usize = 2;

pub fn dump_value(value: &Value) -> Vec<u8> {
    dump_value_within(value, VERSION_ALL)
}

/// For a server that reads versions up to this one: what it can't say (`values::loss`) is left out; `Loss::Key` has no payload.
pub fn dump_value_within(value: &Value, version_max: u32) -> Vec<u8> {
    let mut out = vec![type_of(value, version_max)];
    encode_value(&mut out, value, version_max, Compression::Lzf);
    let version = value_version(value).min(version_max).max(WRITE_VERSION_MIN) as u16;
    out.extend_from_slice(&version.to_le_bytes());
    let crc = Crc64::of(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestoreError {
    /// `ERR DUMP payload version or checksum are wrong`
    VersionOrChecksum,
    /// `ERR Bad data format`
    BadFormat,
}

pub fn restore_value(payload: &[u8], limits: &Limits) -> Result<Value, RestoreError> {
    let (rest, crc) = payload.split_last_chunk::<CRC_BYTES>().ok_or(RestoreError::VersionOrChecksum)?;
    let (value, version) = rest.split_last_chunk::<VERSION_BYTES>().ok_or(RestoreError::VersionOrChecksum)?;
    let version = u16::from_le_bytes(*version) as u32;
    let version_known = version <= REDIS_VERSION_MAX || version == VALKEY_VERSION;
    if !version_known || u64::from_le_bytes(*crc) != Crc64::of(rest) {
        return Err(RestoreError::VersionOrChecksum);
    }
    let vendor = if version == VALKEY_VERSION { Vendor::Valkey } else { Vendor::Redis };
    read_single_value(value, vendor, limits).map_err(|_| RestoreError::BadFormat)
}
