//! Hashes in RDB files and as commands.
//!
//! ```text
//! HASH            pairs:length  (field:string value:string) …     what is written when no field expires
//! HASH_ZIPMAP     a zipmap as a string                            before Redis 2.6
//! HASH_ZIPLIST    a ziplist as a string: field, value …           before Redis 7
//! HASH_LISTPACK   a listpack as a string: field, value …
//!
//! with fields that expire, times in Unix milliseconds:
//! HASH_TTL               earliest:i64 LE  pairs:length  (ttl:length field:string value:string) …     what is written
//!                        ttl: 0 = never, otherwise time - earliest + 1
//! HASH_LISTPACK_TTL      earliest:i64 LE, a listpack as a string: field, value, time or 0 …
//! HASH_22                pairs:length  (time or 0:length field:string value:string) …
//! HASH_LISTPACK_PRE_GA   as HASH_LISTPACK_TTL, without the earliest time
//! HASH_22 of Valkey      pairs:length  (field:string value:string time or -1:i64 LE) …
//! ```
//! For readers of versions before 12, fields that expire are left out. Nobody there would take them away, and data that outlives
//! its time is worse than data that is missing a while before: whoever reads such a hash must bear that fields are gone.
//!
//! `Progress::at` is the rank of the next pair; in commands, of the next expiry in stage 1.

use super::{ELEMENTS_PER_COMMAND, Loss, PIECE_BYTES, Progress};
use crate::error::{Error, Result};
use crate::rdb::aof::encode_command;
use crate::rdb::format::type_code;
use crate::rdb::input::Source;
use crate::rdb::old;
use crate::rdb::reader::{Reader, Vendor};
use crate::rdb::writer::{Compression, encode_length, encode_string};
use crate::types::hash::Seen;
use crate::types::listpack::{Listpack, Packed};
use crate::types::{Hash, Limits};

/// The latest time that HPEXPIREAT takes, so that the commands of a hash make it again. Valkey's may be later, and become this one.
const EXPIRE_AT_MS_MAX: i64 = (1 << 46) - 1;

/// Version of Redis 7.4.
const TTL_VERSION: u32 = 12;

/// The lowest RDB version that can hold it.
pub fn version(hash: &Hash) -> u32 {
    if hash.next_expiry().is_some() { TTL_VERSION } else { 1 }
}

/// What is lost for readers of versions up to this one.
pub fn loss(hash: &Hash, version_max: u32) -> Option<Loss> {
    match hash.expiring_len() {
        0 => None,
        _ if version_max >= TTL_VERSION => None,
        fields if fields == hash.len() => Some(Loss::Key),
        fields => Some(Loss::ExpiringFields(fields)),
    }
}

/// The type code under which `encode` writes it.
pub fn type_code(hash: &Hash, version_max: u32) -> u8 {
    if earliest_within(hash, version_max).is_some() { type_code::HASH_TTL } else { type_code::HASH }
}

/// When the first field expires, where the version can say so.
fn earliest_within(hash: &Hash, version_max: u32) -> Option<i64> {
    hash.next_expiry().filter(|_| version_max >= TTL_VERSION)
}

/// Whether a field is left out.
fn is_lost(hash: &Hash, field: Packed<'_>, version_max: u32) -> bool {
    version_max < TTL_VERSION && hash.expiring_len() > 0 && field.with_bytes(|field| hash.expiry(field)).is_some()
}

/// Encodes the next piece; true when it was the last.
pub fn encode(out: &mut Vec<u8>, hash: &Hash, version_max: u32, progress: &mut Progress, compression: Compression) -> bool {
    let start = out.len();
    let earliest = earliest_within(hash, version_max);
    if progress.at == 0 {
        earliest.inspect(|earliest| out.extend_from_slice(&earliest.to_le_bytes()));
        let lost = if earliest.is_none() { hash.expiring_len() } else { 0 };
        encode_length(out, (hash.len() - lost) as u64);
    }
    for (field, value) in hash.iter_from(progress.at) {
        if out.len() - start >= PIECE_BYTES {
            break;
        }
        progress.at += 1;
        if is_lost(hash, field, version_max) {
            continue;
        }
        if let Some(earliest) = earliest {
            let expiry = field.with_bytes(|field| hash.expiry(field));
            encode_length(out, expiry.map_or(0, |at_ms| at_ms.abs_diff(earliest) + 1));
        }
        field.with_bytes(|field| encode_string(out, field, compression));
        value.with_bytes(|value| encode_string(out, value, compression));
    }
    progress.at == hash.len()
}

/// The next commands that make it under a key that does not exist yet; true when they are the last.
pub fn encode_commands(out: &mut Vec<u8>, key: &[u8], hash: &Hash, version_max: u32, progress: &mut Progress) -> bool {
    let start = out.len();
    if progress.stage == 1 {
        return encode_expiries(out, key, hash, progress);
    }
    while progress.at < hash.len() && out.len() - start < PIECE_BYTES {
        let (rank, kept) = (progress.at, |field: Packed<'_>| !is_lost(hash, field, version_max));
        progress.at = hash.len().min(rank + ELEMENTS_PER_COMMAND);
        let pairs = hash.iter_from(rank).take(ELEMENTS_PER_COMMAND).filter(|(field, _)| kept(*field));
        let pairs: Vec<_> = pairs.flat_map(|(field, value)| [field.bytes(), value.bytes()]).collect();
        if !pairs.is_empty() {
            let words = [&b"HSET"[..], key].into_iter().chain(pairs.iter().map(|word| &**word));
            encode_command(out, &words.collect::<Vec<_>>());
        }
    }
    if progress.at < hash.len() || earliest_within(hash, version_max).is_none() {
        return progress.at == hash.len();
    }
    *progress = Progress { stage: 1, ..Progress::default() };
    encode_expiries(out, key, hash, progress)
}

fn encode_expiries(out: &mut Vec<u8>, key: &[u8], hash: &Hash, progress: &mut Progress) -> bool {
    let start = out.len();
    for (field, at_ms) in hash.expiries_from(progress.at) {
        if out.len() - start >= PIECE_BYTES {
            return false;
        }
        encode_command(out, &[b"HPEXPIREAT", key, at_ms.to_string().as_bytes(), b"FIELDS", b"1", field]);
        progress.at += 1;
    }
    true
}

/// Reads what stands behind one of its type codes.
pub fn read<S: Source>(reader: &mut Reader<S>, code: u8) -> Result<Hash> {
    let offset = reader.offset();
    let hash = match code {
        type_code::HASH => return read_pairs(reader, offset),
        type_code::HASH_ZIPMAP => {
            let bytes = reader.string()?;
            old::zipmap(&bytes).and_then(|pairs| hash_of(pairs.into_iter(), reader))
        }
        type_code::HASH_ZIPLIST => {
            let bytes = reader.string()?;
            old::ziplist(&bytes).and_then(|elements| hash_of(pairs_of(elements)?, reader))
        }
        type_code::HASH_LISTPACK => {
            let bytes = reader.string()?;
            Listpack::from_bytes(bytes).and_then(|pack| Hash::from_listpack(pack, reader.limits()))
        }
        type_code::HASH_LISTPACK_TTL | type_code::HASH_LISTPACK_PRE_GA if reader.vendor() == Vendor::Redis => {
            if code == type_code::HASH_LISTPACK_TTL {
                reader.array::<8>()?;
            }
            let bytes = reader.string()?;
            Listpack::from_bytes(bytes).and_then(|pack| expiring_of(&pack, reader.limits()))
        }
        type_code::HASH_TTL if reader.vendor() == Vendor::Redis => {
            let earliest = i64::from_le_bytes(reader.array()?);
            return read_expiring(reader, offset, |reader| {
                // 0 means never, so that the earliest time is written as 1.
                let (time, field, value) = (reader.plain_length()?, reader.string()?, reader.string()?);
                Ok((field, value, time.checked_sub(1).map(|since| earliest.checked_add_unsigned(since).unwrap_or(-1))))
            });
        }
        type_code::HASH_22 if reader.vendor() == Vendor::Redis => {
            return read_expiring(reader, offset, |reader| {
                let (time, field, value) = (reader.plain_length()?, reader.string()?, reader.string()?);
                Ok((field, value, (time != 0).then(|| time.try_into().unwrap_or(-1))))
            });
        }
        type_code::HASH_22 => {
            return read_expiring(reader, offset, |reader| {
                let (field, value) = (reader.string()?, reader.string()?);
                Ok((field, value, Some(i64::from_le_bytes(reader.array()?)).filter(|&at_ms| at_ms != -1)))
            });
        }
        _ => return Err(reader.unsupported_type(code)),
    };
    hash.ok_or_else(|| reader.corrupt(offset, "damaged packed hash, an empty one, or a field that is there twice"))
}

fn read_pairs<S: Source>(reader: &mut Reader<S>, offset: u64) -> Result<Hash> {
    let pairs = reader.plain_length()?;
    let (mut hash, mut seen) = (Hash::new(), Seen::new());
    hash.expect(pairs.try_into().unwrap_or(usize::MAX), reader.limits());
    for _ in 0..pairs {
        let (field, value) = (reader.string()?, reader.string()?);
        if !hash.push(&field, &value, reader.limits(), &mut seen) {
            return Err(twice(reader, offset, &field));
        }
    }
    if hash.is_empty() { Err(reader.corrupt(offset, "an empty hash")) } else { Ok(hash) }
}

/// Field, value and time.
type Expiring = (Vec<u8>, Vec<u8>, Option<i64>);

fn read_expiring<S: Source>(
    reader: &mut Reader<S>,
    offset: u64,
    mut read: impl FnMut(&mut Reader<S>) -> Result<Expiring>,
) -> Result<Hash> {
    let pairs = reader.plain_length()?;
    let (mut hash, mut seen, mut expiries) = (Hash::new(), Seen::new(), Vec::new());
    hash.expect(pairs.try_into().unwrap_or(usize::MAX), reader.limits());
    for _ in 0..pairs {
        let (field, value, expiry) = read(reader)?;
        if !hash.push(&field, &value, reader.limits(), &mut seen) {
            return Err(twice(reader, offset, &field));
        }
        match expiry {
            Some(..0) => return Err(reader.corrupt(offset, "a field's expiry is out of range")),
            Some(at_ms) => expiries.push((field, at_ms.min(EXPIRE_AT_MS_MAX))),
            None => {}
        }
    }
    expiries.iter().for_each(|(field, at_ms)| hash.set_expiry(field, *at_ms));
    if hash.is_empty() { Err(reader.corrupt(offset, "an empty hash")) } else { Ok(hash) }
}

/// A listpack of fields, values and times, 0 for never. None: it is damaged.
fn expiring_of(pack: &Listpack, limits: &Limits) -> Option<Hash> {
    let (mut hash, mut seen, mut expiries) = (Hash::new(), Seen::new(), Vec::new());
    hash.expect(pack.len() / 3, limits);
    let mut elements = pack.iter();
    while let Some(field) = elements.next() {
        let (field, value, at_ms) = (field.bytes(), elements.next()?.bytes(), elements.next()?.int()?);
        if at_ms < 0 || !hash.push(&field, &value, limits, &mut seen) {
            return None;
        }
        if at_ms > 0 {
            expiries.push((field, at_ms.min(EXPIRE_AT_MS_MAX)));
        }
    }
    expiries.iter().for_each(|(field, at_ms)| hash.set_expiry(field, *at_ms));
    (!hash.is_empty()).then_some(hash)
}

fn twice<S: Source>(reader: &Reader<S>, offset: u64, field: &[u8]) -> Error {
    reader.corrupt(offset, format!("field '{}' is there twice", field.escape_ascii()))
}

/// None: an odd number of elements.
fn pairs_of(elements: Vec<Vec<u8>>) -> Option<impl Iterator<Item = (Vec<u8>, Vec<u8>)>> {
    let even = elements.len().is_multiple_of(2);
    let mut elements = elements.into_iter();
    even.then(|| std::iter::from_fn(move || Some((elements.next()?, elements.next()?))))
}

/// None: no pair, or a field twice.
fn hash_of<S: Source>(pairs: impl Iterator<Item = (Vec<u8>, Vec<u8>)>, reader: &Reader<S>) -> Option<Hash> {
    let (mut hash, mut seen) = (Hash::new(), Seen::new());
    for (field, value) in pairs {
        if !hash.push(&field, &value, reader.limits(), &mut seen) {
            return None;
        }
    }
    (!hash.is_empty()).then_some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rdb::reader::read_single_value;
    use crate::rdb::values::{VERSION_ALL, encode_entry_as_commands, encode_piece, encode_value};
    use crate::types::Value;

    fn value(code: u8, body: &[u8]) -> Option<Value> {
        read_single_value(&[&[code], body].concat(), Vendor::Redis, &Limits::DEFAULT).ok()
    }

    /// A packed form as a string.
    fn packed(code: u8, bytes: &[u8]) -> Option<Value> {
        let mut body = Vec::new();
        encode_length(&mut body, bytes.len() as u64);
        value(code, &[&body, bytes].concat())
    }

    fn hash(pairs: &[(&str, &str)]) -> Option<Value> {
        let mut hash = Hash::new();
        pairs.iter().for_each(|(field, value)| assert!(hash.set(field.as_bytes(), value.as_bytes(), &Limits::DEFAULT)));
        Some(Value::Hash(Box::new(hash)))
    }

    #[test]
    fn old_forms_are_read() {
        let zipmap = b"\x02\x03foo\x03\x00bar\x05hello\x05\x02worldxx\xff";
        assert_eq!(packed(type_code::HASH_ZIPMAP, zipmap), hash(&[("foo", "bar"), ("hello", "world")]));
        let ziplist = b"\x10\0\0\0\x0d\0\0\0\x02\0\0\x01a\x03\xf6\xff";
        assert_eq!(packed(type_code::HASH_ZIPLIST, ziplist), hash(&[("a", "5")]));
    }

    #[test]
    fn damaged_hashes_are_refused() {
        assert_eq!(value(type_code::HASH, b"\x00"), None, "empty");
        assert_eq!(value(type_code::HASH, b"\x02\x01a\x011\x01a\x012"), None, "a field twice");
        assert_eq!(value(type_code::HASH, b"\x02\x01a\x011"), None, "too short");
        assert_eq!(value(type_code::HASH, b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\x01a\x011"), None, "as many as can be claimed");
        assert_eq!(packed(type_code::HASH_ZIPMAP, b"\x00\xff"), None, "empty");
        assert_eq!(packed(type_code::HASH_ZIPMAP, b"\x02\x01a\x01\x00b\x01a\x01\x00b\xff"), None, "a field twice");
        assert_eq!(packed(type_code::HASH_ZIPLIST, b"\x0e\0\0\0\x0a\0\0\0\x01\0\0\x01a\xff"), None, "an odd number");
        let mut pack = Listpack::new();
        pack.append(&[b"a", b"1", b"a", b"2"]);
        assert_eq!(packed(type_code::HASH_LISTPACK, pack.as_bytes()), None, "a field twice");
        assert_eq!(packed(type_code::HASH_LISTPACK, Listpack::new().as_bytes()), None, "empty");
    }

    #[test]
    fn damaged_expiries_are_refused_or_others_but_never_a_panic() {
        let mut expiring = Hash::new();
        (0..10u8).for_each(|i| assert!(expiring.set(&[b'a' + i], b"value", &Limits::DEFAULT)));
        (0..5u8).for_each(|i| expiring.set_expiry(&[b'a' + i], 4_000_000_000_000 + i as i64 * 1000));
        let mut good = Vec::new();
        encode_value(&mut good, &Value::Hash(Box::new(expiring.clone())), VERSION_ALL, Compression::Lzf);
        assert_eq!(value(type_code::HASH_TTL, &good), Some(Value::Hash(Box::new(expiring))));
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..20_000 {
            let mut bytes = good.clone();
            let at = random.usize(..bytes.len());
            bytes[at] = random.u8(..);
            if random.bool() {
                bytes.truncate(random.usize(..bytes.len()));
            }
            for code in [type_code::HASH_TTL, type_code::HASH_22, type_code::HASH_LISTPACK_TTL, type_code::HASH] {
                if let Some(read) = value(code, &bytes) {
                    encode_value(&mut Vec::new(), &read, VERSION_ALL, Compression::Off);
                }
            }
        }
        let mut pack = Listpack::new();
        pack.append(&[b"a", b"1", b"0", b"b", b"2", b"5"]);
        let read = packed(type_code::HASH_LISTPACK_PRE_GA, pack.as_bytes()).expect("a hash");
        assert_eq!((read.encoding_name(), Some(&read) != hash(&[("a", "1"), ("b", "2")]).as_ref()), ("listpackex", true));
        pack.push(b"c");
        assert_eq!(packed(type_code::HASH_LISTPACK_PRE_GA, pack.as_bytes()), None, "no value, no time");
    }

    #[test]
    fn no_expiry_is_later_than_a_command_can_set() {
        let late = i64::MAX.to_string();
        let mut pack = Listpack::new();
        pack.append(&[b"a", b"1", late.as_bytes()]);
        let general = [&i64::MAX.to_le_bytes()[..], b"\x01\x01\x01a\x011"].concat();
        for read in [packed(type_code::HASH_LISTPACK_PRE_GA, pack.as_bytes()), value(type_code::HASH_TTL, &general)] {
            let mut commands = Vec::new();
            encode_entry_as_commands(&mut commands, b"key", &read.expect("a hash"), None);
            let shown = commands.escape_ascii().to_string();
            assert!(shown.contains("HPEXPIREAT") && shown.contains("70368744177663"), "{shown}");
        }
    }

    #[test]
    fn a_big_hash_is_encoded_in_pieces() {
        let mut hash = Hash::new();
        (0..20_000).for_each(|i| assert!(hash.set(i.to_string().as_bytes(), &[b'v'; 20], &Limits::DEFAULT)));
        let value = Value::Hash(Box::new(hash));
        let (mut whole, mut pieces) = (vec![type_code::HASH], vec![type_code::HASH]);
        encode_value(&mut whole, &value, VERSION_ALL, Compression::Lzf);
        let mut progress = Progress::default();
        loop {
            let before = pieces.len();
            let done = encode_piece(&mut pieces, &value, VERSION_ALL, &mut progress, Compression::Lzf);
            assert!(pieces.len() - before < PIECE_BYTES + 100);
            if done {
                break;
            }
        }
        assert_eq!(whole, pieces);
        assert_eq!(read_single_value(&pieces, Vendor::Redis, &Limits::DEFAULT).ok(), Some(value.clone()));
        let mut commands = Vec::new();
        encode_entry_as_commands(&mut commands, b"key", &value, None);
        let heads = commands.windows(4).filter(|bytes| bytes == b"HSET").count();
        assert_eq!(heads, 20_000_usize.div_ceil(ELEMENTS_PER_COMMAND));
    }
}
