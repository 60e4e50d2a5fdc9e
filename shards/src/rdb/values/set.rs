//! Sets in RDB files and as commands.
//!
//! ```text
//! SET            members:length  member:string …     what is written
//! SET_INTSET     an intset as a string
//! SET_LISTPACK   a listpack as a string
//! ```
//! `Progress::at` is the rank of the next member.

use super::{ELEMENTS_PER_COMMAND, PIECE_BYTES, Progress};
use crate::error::Result;
use crate::rdb::aof::encode_command;
use crate::rdb::format::type_code;
use crate::rdb::input::Source;
use crate::rdb::old;
use crate::rdb::reader::Reader;
use crate::rdb::writer::{Compression, encode_length, encode_string};
use crate::types::Set;
use crate::types::listpack::Listpack;
use crate::types::set::Seen;

/// The lowest RDB version that can hold it.
pub fn version(_set: &Set) -> u32 {
    1
}

/// The type code under which `encode` writes it.
pub fn type_code(_set: &Set) -> u8 {
    type_code::SET
}

/// Encodes the next piece; true when it was the last.
pub fn encode(out: &mut Vec<u8>, set: &Set, progress: &mut Progress, compression: Compression) -> bool {
    let start = out.len();
    if progress.at == 0 {
        encode_length(out, set.len() as u64);
    }
    for member in set.iter_from(progress.at) {
        if out.len() - start >= PIECE_BYTES {
            break;
        }
        member.with_bytes(|member| encode_string(out, member, compression));
        progress.at += 1;
    }
    progress.at == set.len()
}

/// The next commands that make it under a key that does not exist yet; true when they are the last.
pub fn encode_commands(out: &mut Vec<u8>, key: &[u8], set: &Set, progress: &mut Progress) -> bool {
    let start = out.len();
    while progress.at < set.len() && out.len() - start < PIECE_BYTES {
        let members: Vec<_> = set.iter_from(progress.at).take(ELEMENTS_PER_COMMAND).map(|member| member.bytes()).collect();
        progress.at += members.len();
        let words = [&b"SADD"[..], key].into_iter().chain(members.iter().map(|member| &**member));
        encode_command(out, &words.collect::<Vec<_>>());
    }
    progress.at == set.len()
}

/// Reads what stands behind one of its type codes.
pub fn read<S: Source>(reader: &mut Reader<S>, code: u8) -> Result<Set> {
    let offset = reader.offset();
    let set = match code {
        type_code::SET => return read_members(reader, offset),
        type_code::SET_INTSET => {
            let bytes = reader.string()?;
            let ints = old::intset(&bytes).filter(|ints| !ints.is_empty());
            ints.map(|ints| Set::from_ints(&ints, reader.limits()))
        }
        type_code::SET_LISTPACK => {
            let bytes = reader.string()?;
            Listpack::from_bytes(bytes).and_then(|pack| Set::from_listpack(&pack, reader.limits()))
        }
        _ => return Err(reader.unsupported_type(code)),
    };
    set.ok_or_else(|| reader.corrupt(offset, "damaged packed set, an empty one, or a member that is there twice"))
}

fn read_members<S: Source>(reader: &mut Reader<S>, offset: u64) -> Result<Set> {
    let members = reader.plain_length()?;
    let (mut set, mut seen) = (Set::new(), Seen::new());
    set.expect(members.try_into().unwrap_or(usize::MAX), reader.limits());
    for _ in 0..members {
        let member = reader.string()?;
        if !set.push(&member, reader.limits(), &mut seen) {
            return Err(reader.corrupt(offset, format!("member '{}' is there twice", member.escape_ascii())));
        }
    }
    if set.is_empty() { Err(reader.corrupt(offset, "an empty set")) } else { Ok(set) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rdb::reader::{Vendor, read_single_value};
    use crate::types::{Limits, Value};

    fn value(code: u8, body: &[u8]) -> Option<Value> {
        read_single_value(&[&[code], body].concat(), Vendor::Redis, &Limits::DEFAULT).ok()
    }

    /// A packed form as a string.
    fn packed(code: u8, bytes: &[u8]) -> Option<Value> {
        value(code, &[&[bytes.len() as u8], bytes].concat())
    }

    #[test]
    fn every_form_gives_the_same_set() {
        let mut set = Set::new();
        [b"-1", b"07", b"12"].iter().for_each(|member| assert!(set.add(*member, &Limits::DEFAULT)));
        let mut pack = Listpack::new();
        pack.append(&[b"12", b"07", b"-1"]);
        let expected = Some(Value::Set(Box::new(set)));
        assert_eq!(value(type_code::SET, b"\x03\xc0\xff\x0207\x0212"), expected);
        assert_eq!(packed(type_code::SET_LISTPACK, pack.as_bytes()), expected);
        let ints = packed(type_code::SET_INTSET, b"\x02\0\0\0\x02\0\0\0\xff\xff\x0c\0").expect("an intset");
        assert_eq!(value(type_code::SET, b"\x02\xc0\xff\xc0\x0c"), Some(ints.clone()));
        assert_eq!(ints.encoding_name(), "intset");
    }

    #[test]
    fn damaged_sets_are_refused() {
        assert_eq!(value(type_code::SET, b"\x00"), None, "empty");
        assert_eq!(value(type_code::SET, b"\x02\x01a\x01a"), None, "a member twice");
        assert_eq!(value(type_code::SET, b"\x02\xc0\x05\x015"), None, "an integer twice");
        assert_eq!(value(type_code::SET, b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\x01a"), None, "as many as can be claimed");
        assert_eq!(packed(type_code::SET_INTSET, b"\x02\0\0\0\0\0\0\0"), None, "empty");
        assert_eq!(packed(type_code::SET_INTSET, b"\x02\0\0\0\x02\0\0\0\x01\0\x01\0"), None, "an integer twice");
        assert_eq!(packed(type_code::SET_LISTPACK, Listpack::new().as_bytes()), None, "empty");
        let mut pack = Listpack::new();
        pack.append(&[b"a", b"b", b"a"]);
        assert_eq!(packed(type_code::SET_LISTPACK, pack.as_bytes()), None, "a member twice");
    }
}
