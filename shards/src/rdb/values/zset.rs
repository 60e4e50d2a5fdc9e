//! Sorted sets in RDB files and as commands.
//!
//! | type code | form |
//! |---|---|
//! | ZSET_2 | length, then so many: member:string, score: f64 little-endian. Written, from the greatest member to the least, as Redis does |
//! | ZSET | the same with scores as text: length:u8, so many characters; length 253 = NaN, 254 = +inf, 255 = -inf |
//! | ZSET_LISTPACK, ZSET_ZIPLIST | member, score, member, score …, in order, in one packed run |
//!
//! A sorted set is valid when: 1. it is not empty; 2. no score is NaN or unreadable; 3. every member has a score and is there
//! once. The order of packed members is made good.

use super::{ELEMENTS_PER_COMMAND, PIECE_BYTES, Progress};
use crate::error::Result;
use crate::rdb::aof::encode_command;
use crate::rdb::format::type_code;
use crate::rdb::input::Source;
use crate::rdb::old;
use crate::rdb::reader::Reader;
use crate::rdb::writer::{Compression, encode_length, encode_string};
use crate::resp::{DOUBLE_TEXT_MAX, double_text, parse_double};
use crate::types::Zset;
use crate::types::listpack::Listpack;

/// The lowest RDB version that can hold it.
pub fn version(_zset: &Zset) -> u32 {
    8
}

/// The type code under which `encode` writes it.
pub fn type_code(_zset: &Zset) -> u8 {
    type_code::ZSET_2
}

/// Encodes the next piece; true when it was the last. `progress.at`: members written.
pub fn encode(out: &mut Vec<u8>, zset: &Zset, progress: &mut Progress, compression: Compression) -> bool {
    let (len, start) = (zset.len(), out.len());
    if progress.at == 0 {
        encode_length(out, len as u64);
    }
    for (member, score) in zset.iter_back_from(len.wrapping_sub(progress.at + 1)) {
        member.with_bytes(|member| encode_string(out, member, compression));
        out.extend_from_slice(&score.to_le_bytes());
        progress.at += 1;
        if out.len() - start >= PIECE_BYTES {
            break;
        }
    }
    progress.at == len
}

/// The next commands that make it under a key that does not exist yet; true when they are the last. `progress.at`: members written.
pub fn encode_commands(out: &mut Vec<u8>, key: &[u8], zset: &Zset, progress: &mut Progress) -> bool {
    let (len, start) = (zset.len(), out.len());
    let mut members = zset.iter_from(progress.at);
    while progress.at < len && out.len() - start < PIECE_BYTES {
        let mut words: Vec<Vec<u8>> = Vec::with_capacity(2 * ELEMENTS_PER_COMMAND);
        for (member, score) in members.by_ref().take(ELEMENTS_PER_COMMAND) {
            words.push(double_text(score, &mut [0; DOUBLE_TEXT_MAX]).to_vec());
            words.push(member.bytes().into_owned());
        }
        progress.at += words.len() / 2;
        let args: Vec<&[u8]> = [&b"ZADD"[..], key].into_iter().chain(words.iter().map(Vec::as_slice)).collect();
        encode_command(out, &args);
    }
    progress.at == len
}

fn read_ziplist<S: Source>(reader: &mut Reader<S>) -> Result<Zset> {
    let start = reader.offset();
    let bytes = reader.string()?;
    let elements = old::ziplist(&bytes).ok_or_else(|| reader.corrupt(start, "no valid ziplist"))?;
    from_elements(reader, start, elements.into_iter())
}

/// Reads what stands behind one of its type codes.
pub fn read<S: Source>(reader: &mut Reader<S>, code: u8) -> Result<Zset> {
    match code {
        type_code::ZSET_LISTPACK => read_listpack(reader),
        type_code::ZSET_ZIPLIST => read_ziplist(reader),
        code => read_members(reader, code),
    }
}

fn read_members<S: Source>(reader: &mut Reader<S>, code: u8) -> Result<Zset> {
    let start = reader.offset();
    let len = reader.plain_length()?;
    if len == 0 {
        return Err(reader.corrupt(start, "an empty sorted set"));
    }
    let limits = *reader.limits();
    if len > limits.zset_max_listpack_entries as u64 {
        let mut zset = Zset::for_members(usize::MAX, 0, &limits);
        for _ in 0..len {
            let (offset, member, score) = read_member(reader, code)?;
            put(reader, offset, &mut zset, &member, score)?;
        }
        return Ok(zset);
    }
    // The form is chosen by the longest member, so all are read first.
    let members = (0..len).map(|_| read_member(reader, code)).collect::<Result<Vec<_>>>()?;
    let longest = members.iter().map(|(_, member, _)| member.len()).max().unwrap_or(0);
    let mut zset = Zset::for_members(members.len(), longest, &limits);
    for (offset, member, score) in members {
        put(reader, offset, &mut zset, &member, score)?;
    }
    Ok(zset)
}

/// A member and its score, and where they stand.
fn read_member<S: Source>(reader: &mut Reader<S>, code: u8) -> Result<(u64, Vec<u8>, f64)> {
    let offset = reader.offset();
    let member = reader.string()?;
    let score = if code == type_code::ZSET_2 { f64::from_le_bytes(reader.array()?) } else { text_score(reader)? };
    Ok((offset, member, score))
}

/// A score in the text form of old files.
fn text_score<S: Source>(reader: &mut Reader<S>) -> Result<f64> {
    let offset = reader.offset();
    let [len] = reader.array()?;
    match len {
        253 => Ok(f64::NAN),
        254 => Ok(f64::INFINITY),
        255 => Ok(f64::NEG_INFINITY),
        len => {
            let text = (0..len).map(|_| reader.array::<1>().map(|[byte]| byte)).collect::<Result<Vec<u8>>>()?;
            parse_double(&text).ok_or_else(|| reader.corrupt(offset, format!("score '{}'", text.escape_ascii())))
        }
    }
}

fn put<S: Source>(reader: &Reader<S>, offset: u64, zset: &mut Zset, member: &[u8], score: f64) -> Result<()> {
    if score.is_nan() {
        return Err(reader.corrupt(offset, "a score that is NaN"));
    }
    match zset.insert(member, score, reader.limits()) {
        None => Ok(()),
        Some(_) => Err(reader.corrupt(offset, format!("member '{}' twice", member.escape_ascii()))),
    }
}

fn read_listpack<S: Source>(reader: &mut Reader<S>) -> Result<Zset> {
    let start = reader.offset();
    let bytes = reader.string()?;
    let pack = Listpack::from_bytes(bytes).ok_or_else(|| reader.corrupt(start, "no valid listpack"))?;
    if let Some(zset) = Zset::from_pack(pack.clone(), reader.limits()) {
        return Ok(zset);
    }
    // Out of order, or wrong: put in one by one, which says what is wrong.
    from_elements(reader, start, pack.iter().map(|element| element.bytes().into_owned()))
}

fn from_elements<S: Source>(reader: &Reader<S>, start: u64, mut elements: impl Iterator<Item = Vec<u8>>) -> Result<Zset> {
    let mut zset = Zset::new();
    while let Some(member) = elements.next() {
        let text = elements.next().ok_or_else(|| reader.corrupt(start, "a member without a score"))?;
        let score = parse_double(&text).ok_or_else(|| reader.corrupt(start, format!("score '{}'", text.escape_ascii())))?;
        put(reader, start, &mut zset, &member, score)?;
    }
    if zset.is_empty() { Err(reader.corrupt(start, "an empty sorted set")) } else { Ok(zset) }
}
