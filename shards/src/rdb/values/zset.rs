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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rdb::reader::{Vendor, read_single_value};
    use crate::rdb::values::{VERSION_ALL, encode_value};
    use crate::types::{Limits, Value};

    fn zset(members: &[(&str, f64)]) -> Zset {
        let mut zset = Zset::new();
        for (member, score) in members {
            zset.insert(member.as_bytes(), *score, &Limits::DEFAULT);
        }
        zset
    }

    fn read_payload(code: u8, body: &[u8]) -> Result<Value> {
        read_single_value(&[&[code], body].concat(), Vendor::Redis, &Limits::DEFAULT)
    }

    fn packed(elements: &[&str]) -> Vec<u8> {
        let mut pack = Listpack::new();
        elements.iter().for_each(|element| pack.push(element.as_bytes()));
        let mut body = Vec::new();
        encode_string(&mut body, pack.as_bytes(), Compression::Off);
        body
    }

    #[test]
    fn every_form_that_ever_was_is_read() {
        let expected = Value::Zset(Box::new(zset(&[("b", f64::NEG_INFINITY), ("a", 1.5), ("c", 7.0), ("d", f64::INFINITY)])));
        let text = b"\x04\x01a\x031.5\x01b\xff\x01c\x017\x01d\xfe";
        assert_eq!(read_payload(type_code::ZSET, text).expect("reads"), expected);
        let mut binary = vec![4];
        for (member, score) in [(b'a', 1.5), (b'b', f64::NEG_INFINITY), (b'c', 7.0f64), (b'd', f64::INFINITY)] {
            binary.extend_from_slice(&[1, member]);
            binary.extend_from_slice(&score.to_le_bytes());
        }
        assert_eq!(read_payload(type_code::ZSET_2, &binary).expect("reads"), expected);
        for elements in [["b", "-inf", "a", "1.5", "c", "7", "d", "inf"], ["d", "inf", "a", "1.50", "c", "7", "b", "-inf"]] {
            let read = read_payload(type_code::ZSET_LISTPACK, &packed(&elements)).expect("reads, in whatever order");
            assert_eq!((&read, read.encoding_name()), (&expected, "listpack"));
        }
        let ziplist = b"\x17\x17\0\0\0\x13\0\0\0\x04\0\0\x01a\x03\xf2\x02\x01b\x03\x032.5\xff";
        let entries = &ziplist[1..];
        let len = entries.len() as u8;
        let mut body = vec![len];
        body.extend_from_slice(entries);
        (body[1], body[5]) = (len, len - 6);
        let expected = Value::Zset(Box::new(zset(&[("a", 1.0), ("b", 2.5)])));
        assert_eq!(read_payload(type_code::ZSET_ZIPLIST, &body).expect("reads"), expected);
    }

    #[test]
    fn what_is_no_sorted_set_is_refused() {
        let nan = [&b"\x01\x01a"[..], &f64::NAN.to_le_bytes()].concat();
        let twice = [&b"\x02\x01a"[..], &1f64.to_le_bytes(), b"\x01a", &2f64.to_le_bytes()].concat();
        let claim = [&b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\x01a"[..], &1f64.to_le_bytes()].concat();
        for (code, body) in [
            (type_code::ZSET_2, &b"\0"[..]),
            (type_code::ZSET_2, &nan),
            (type_code::ZSET_2, &twice),
            (type_code::ZSET_2, &claim),
            (type_code::ZSET, b"\x01\x01a\xfd"),
            (type_code::ZSET, b"\x01\x01a\x01x"),
            (type_code::ZSET_LISTPACK, &packed(&[])),
            (type_code::ZSET_LISTPACK, &packed(&["a"])),
            (type_code::ZSET_LISTPACK, &packed(&["a", "x"])),
            (type_code::ZSET_LISTPACK, &packed(&["a", "nan"])),
            (type_code::ZSET_LISTPACK, &packed(&["a", "1", "a", "2"])),
            (type_code::ZSET_LISTPACK, b"\x03abc"),
            (type_code::ZSET_ZIPLIST, b"\x03abc"),
        ] {
            assert!(read_payload(code, body).is_err(), "{code}: {}", body.escape_ascii());
        }
    }

    #[test]
    fn damaged_payloads_never_panic() {
        let mut random = fastrand::Rng::with_seed(1);
        let good = packed(&["a", "1", "member", "2.5", "z", "70000"]);
        for _ in 0..20_000 {
            let mut body = good.clone();
            for _ in 0..random.usize(1..4) {
                let at = random.usize(..body.len());
                body[at] = random.u8(..);
            }
            let code = [type_code::ZSET_LISTPACK, type_code::ZSET_ZIPLIST, type_code::ZSET, type_code::ZSET_2][random.usize(..4)];
            drop(read_payload(code, &body));
        }
    }

    #[test]
    fn a_big_set_is_written_in_pieces_and_as_commands() {
        let mut big = Zset::new();
        for number in 0..20_000 {
            big.insert(format!("member:{number}").as_bytes(), number as f64 / 3.0, &Limits::DEFAULT);
        }
        let (mut body, mut progress, mut pieces) = (Vec::new(), Progress::default(), 1);
        while !encode(&mut body, &big, &mut progress, Compression::Off) {
            pieces += 1;
        }
        assert!(pieces > 4);
        let value = Value::Zset(Box::new(big.clone()));
        let mut whole = Vec::new();
        encode_value(&mut whole, &value, VERSION_ALL, Compression::Off);
        assert!(whole == body);
        assert!(read_payload(type_code::ZSET_2, &body).expect("reads") == value);

        let (mut commands, mut progress, mut again) = (Vec::new(), Progress::default(), Zset::new());
        while !encode_commands(&mut commands, b"key", &big, &mut progress) {}
        let mut rest = &commands[..];
        while let Some((args, consumed)) = crate::resp::decode_command(rest) {
            assert_eq!(args[..2], [&b"ZADD"[..], b"key"]);
            assert!(args.len() <= 2 + 2 * ELEMENTS_PER_COMMAND);
            for pair in args[2..].chunks(2) {
                again.insert(pair[1], parse_double(pair[0]).expect("a score"), &Limits::DEFAULT);
            }
            rest = &rest[consumed..];
        }
        assert!(rest.is_empty() && again == big);
    }
}
