//! Lists in RDB files and as commands.
//!
//! ```text
//! LIST               elements:length  (element:string) …                                   written; the others are read only
//! LIST_ZIPLIST       a ziplist:string
//! LIST_QUICKLIST     nodes:length  (a ziplist:string) …
//! LIST_QUICKLIST_2   nodes:length  (container:length  node:string) …      container 1: the node is one element, 2: a listpack
//! ```

use super::{ELEMENTS_PER_COMMAND, PIECE_BYTES, Progress};
use crate::error::Result;
use crate::rdb::aof::encode_command;
use crate::rdb::format::type_code;
use crate::rdb::input::Source;
use crate::rdb::old;
use crate::rdb::reader::Reader;
use crate::rdb::writer::{Compression, encode_length, encode_string};
use crate::types::List;
use crate::types::list::End;
use crate::types::listpack::Listpack;
use std::ops::ControlFlow;

const CONTAINER_PLAIN: u64 = 1;
const CONTAINER_PACKED: u64 = 2;

/// The lowest RDB version that can hold it.
pub fn version(_list: &List) -> u32 {
    1
}

/// The type code under which `encode` writes it.
pub fn type_code(_list: &List) -> u8 {
    type_code::LIST
}

/// Encodes the next piece; true when it was the last. `progress.at`: elements encoded so far.
pub fn encode(out: &mut Vec<u8>, list: &List, progress: &mut Progress, compression: Compression) -> bool {
    if progress.at == 0 {
        encode_length(out, list.len() as u64);
    }
    let start = out.len();
    list.each_from(progress.at, |_, element| {
        element.with_bytes(|bytes| encode_string(out, bytes, compression));
        progress.at += 1;
        if out.len() - start < PIECE_BYTES { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    progress.at == list.len()
}

/// The next commands that make it under a key that does not exist yet; true when they are the last.
pub fn encode_commands(out: &mut Vec<u8>, key: &[u8], list: &List, progress: &mut Progress) -> bool {
    let start = out.len();
    while progress.at < list.len() && out.len() - start < PIECE_BYTES {
        let mut elements = Vec::with_capacity(ELEMENTS_PER_COMMAND);
        list.each_from(progress.at, |_, element| {
            elements.push(element.bytes().into_owned());
            if elements.len() < ELEMENTS_PER_COMMAND { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        progress.at += elements.len();
        let args: Vec<&[u8]> = [&b"RPUSH"[..], key].into_iter().chain(elements.iter().map(Vec::as_slice)).collect();
        encode_command(out, &args);
    }
    progress.at == list.len()
}

/// Reads what stands behind one of its type codes.
pub fn read<S: Source>(reader: &mut Reader<S>, code: u8) -> Result<List> {
    let offset = reader.offset();
    let limits = *reader.limits();
    let mut list = List::to_load();
    let mut push = |bytes: &[u8]| list.push(End::Right, bytes, &limits);
    match code {
        type_code::LIST => {
            for _ in 0..reader.plain_length()? {
                push(&reader.string()?);
            }
        }
        type_code::LIST_ZIPLIST => read_ziplist(reader, &mut push)?,
        _ => {
            for _ in 0..reader.plain_length()? {
                match code {
                    type_code::LIST_QUICKLIST => read_ziplist(reader, &mut push)?,
                    _ => read_node(reader, &mut push)?,
                }
            }
        }
    }
    if list.is_empty() {
        return Err(reader.corrupt(offset, "an empty list"));
    }
    list.loaded(&limits);
    Ok(list)
}

fn read_ziplist<S: Source>(reader: &mut Reader<S>, push: &mut impl FnMut(&[u8])) -> Result<()> {
    let offset = reader.offset();
    let bytes = reader.string()?;
    let elements = old::ziplist(&bytes).ok_or_else(|| reader.corrupt(offset, "a damaged ziplist"))?;
    elements.iter().for_each(|element| push(element));
    Ok(())
}

fn read_node<S: Source>(reader: &mut Reader<S>, push: &mut impl FnMut(&[u8])) -> Result<()> {
    let offset = reader.offset();
    let container = reader.plain_length()?;
    let bytes = reader.string()?;
    match container {
        CONTAINER_PLAIN => push(&bytes),
        CONTAINER_PACKED => {
            let pack = Listpack::from_bytes(bytes).ok_or_else(|| reader.corrupt(offset, "a damaged listpack"))?;
            pack.iter().for_each(|element| element.with_bytes(&mut *push));
        }
        other => return Err(reader.corrupt(offset, format!("a list's node in a container of kind {other}"))),
    }
    Ok(())
}
