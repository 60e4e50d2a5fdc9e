//! Encodes RDB items at the end of a buffer. The caller writes the buffer out when it likes.

use super::crc64::Crc64;
use super::format::{WRITE_VERSION_MIN, length, opcode, special};
use super::lzf;
use super::values::{VERSION_ALL, encode_value, type_of};
use crate::ids::DbIndex;
use crate::types::Value;

/// Longer strings are written as they are: compressing them needs the whole value in one piece and stalls the shard.
pub const COMPRESS_BYTES_MAX: usize = 1024 * 1024;
/// Redis does not try shorter strings either.
const COMPRESS_BYTES_MIN: usize = 21;
/// The longest decimal form that fits 32 bits: "-2147483648".
const INTEGER_BYTES_MAX: usize = 11;

/// `rdbcompression`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Compression {
    #[default]
    Lzf,
    Off,
}

/// Magic, version and AUX fields. Panics on a version that this module does not write.
pub fn encode_header(out: &mut Vec<u8>, version: u32, aux: &[(&str, &str)]) {
    assert!((WRITE_VERSION_MIN..=super::format::REDIS_VERSION_MAX).contains(&version), "version {version}");
    out.extend_from_slice(format!("REDIS{version:04}").as_bytes());
    for (name, value) in aux {
        encode_aux(out, name.as_bytes(), value.as_bytes());
    }
}

pub fn encode_aux(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.push(opcode::AUX);
    encode_string(out, name, Compression::Off);
    encode_string(out, value, Compression::Off);
}

pub fn encode_select_db(out: &mut Vec<u8>, db: DbIndex) {
    out.push(opcode::SELECTDB);
    encode_length(out, db as u64);
}

pub fn encode_resize_db(out: &mut Vec<u8>, keys: u64, expires: u64) {
    out.push(opcode::RESIZEDB);
    encode_length(out, keys);
    encode_length(out, expires);
}

/// One library of functions, as its source text.
pub fn encode_function(out: &mut Vec<u8>, library: &[u8]) {
    out.push(opcode::FUNCTION2);
    encode_string(out, library, Compression::Lzf);
}

/// `crc` covers everything before; the EOF opcode is added here.
pub fn encode_eof(out: &mut Vec<u8>, crc: u64) {
    let mut whole = Crc64::resume(crc);
    whole.update(&[opcode::EOF]);
    out.push(opcode::EOF);
    out.extend_from_slice(&whole.value().to_le_bytes());
}

/// One key with its value, into the database selected before.
pub fn encode_entry(out: &mut Vec<u8>, key: &[u8], value: &Value, expire_at_ms: Option<i64>) {
    encode_entry_with(out, key, value, expire_at_ms, Compression::Lzf);
}

pub fn encode_entry_with(out: &mut Vec<u8>, key: &[u8], value: &Value, expire_at_ms: Option<i64>, compression: Compression) {
    encode_entry_start(out, type_of(value, VERSION_ALL), key, expire_at_ms, compression);
    encode_value(out, value, VERSION_ALL, compression);
}

/// Everything of an entry before its value.
pub fn encode_entry_start(out: &mut Vec<u8>, type_code: u8, key: &[u8], expire_at_ms: Option<i64>, compression: Compression) {
    if let Some(at) = expire_at_ms {
        out.push(opcode::EXPIRETIME_MS);
        out.extend_from_slice(&at.to_le_bytes());
    }
    out.push(type_code);
    encode_string(out, key, compression);
}

pub fn encode_string(out: &mut Vec<u8>, bytes: &[u8], compression: Compression) {
    if let Some(integer) = small_integer(bytes) {
        return encode_integer(out, integer);
    }
    let compressible = (COMPRESS_BYTES_MIN..=COMPRESS_BYTES_MAX).contains(&bytes.len());
    if compression == Compression::Lzf && compressible && encode_lzf(out, bytes) {
        return;
    }
    encode_length(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// The integer whose decimal form these bytes are, exactly.
fn small_integer(bytes: &[u8]) -> Option<i32> {
    let first = *bytes.first()?;
    if bytes.len() > INTEGER_BYTES_MAX || !(first == b'-' || first.is_ascii_digit()) {
        return None;
    }
    let canonical = match bytes {
        [b'0'] => true,
        [b'-', digit, ..] | [digit, ..] => *digit != b'0',
        [] => false,
    };
    canonical.then(|| std::str::from_utf8(bytes).ok()?.parse().ok())?
}

fn encode_integer(out: &mut Vec<u8>, value: i32) {
    if let Ok(value) = i8::try_from(value) {
        out.push(length::SPECIAL | special::INT8);
        out.extend_from_slice(&value.to_le_bytes());
    } else if let Ok(value) = i16::try_from(value) {
        out.push(length::SPECIAL | special::INT16);
        out.extend_from_slice(&value.to_le_bytes());
    } else {
        out.push(length::SPECIAL | special::INT32);
        out.extend_from_slice(&value.to_le_bytes());
    }
}

/// False, and `out` unchanged, when at least four bytes would not be saved.
fn encode_lzf(out: &mut Vec<u8>, bytes: &[u8]) -> bool {
    let mut stream = Vec::with_capacity(bytes.len());
    let Some(stream_len) = lzf::compress(&mut stream, bytes, bytes.len() - 4) else {
        return false;
    };
    out.push(length::SPECIAL | special::LZF);
    encode_length(out, stream_len as u64);
    encode_length(out, bytes.len() as u64);
    out.extend_from_slice(&stream);
    true
}

pub fn encode_length(out: &mut Vec<u8>, len: u64) {
    match len {
        0..=0x3f => out.push(len as u8),
        0x40..=0x3fff => out.extend_from_slice(&[length::BITS_14 | (len >> 8) as u8, len as u8]),
        0x4000..=0xffff_ffff => {
            out.push(length::BITS_32);
            out.extend_from_slice(&(len as u32).to_be_bytes());
        }
        _ => {
            out.push(length::BITS_64);
            out.extend_from_slice(&len.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exact_decimal_forms_of_32_bits_become_integers() {
        for text in ["0", "-1", "127", "2147483647", "-2147483648"] {
            assert_eq!(small_integer(text.as_bytes()).map(|i| i.to_string()).as_deref(), Some(text));
        }
        for text in ["", "-", "-0", "00", "01", "+1", " 1", "1 ", "1a", "2147483648", "-2147483649", "99999999999", "1.0"] {
            assert_eq!(small_integer(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn every_length_takes_its_shortest_form() {
        let cases: [(u64, &[u8]); 6] = [
            (0x3f, &[0x3f]),
            (0x40, &[0x40, 0x40]),
            (0x3fff, &[0x7f, 0xff]),
            (0x4000, &[0x80, 0, 0, 0x40, 0]),
            (0xffff_ffff, &[0x80, 0xff, 0xff, 0xff, 0xff]),
            (0x1_0000_0000, &[0x81, 0, 0, 0, 1, 0, 0, 0, 0]),
        ];
        for (len, expected) in cases {
            let mut out = Vec::new();
            encode_length(&mut out, len);
            assert_eq!(out, expected, "{len:#x}");
        }
    }
}
