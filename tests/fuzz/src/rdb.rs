//! RDB files: any bytes give the same items however they arrive, and what is read is sound.
//!
//! ```text
//! input   an RDB file; a checksum of 0 passes
//! ```
//! 1. The items, and the error at the end, do not depend on how many bytes a read gives.
//! 2. A value that was read survives a dump, and its commands lead to the same value.
//! 3. A keyspace of all entries, walked and saved as a snapshot is, reads the same.

use super::dump::survives_dump;
use super::keyspaces::{DATABASES, SMALL, State, keyspace, replay, state};
use shards::error::{Error, Result};
use shards::ids::DbIndex;
use shards::keyspace::{WalkProgress, WalkSink};
use shards::rdb::bodies::{BodyWriter, bodies_version, file_end, merge_header};
use shards::rdb::input::Input;
use shards::rdb::values::encode_entry_as_commands;
use shards::rdb::writer::Compression;
use shards::rdb::{Item, Reader, Source};
use shards::resp::decode_command;
use shards::types::stream::StreamId;
use shards::types::{Limits, Value};
use std::any::Any;

/// Enough for the longest field of fixed length.
const BUFFER_BYTES: usize = 64;

pub fn check(data: &[u8]) {
    let (items, error) = read(data, 4096, usize::MAX);
    assert_eq!((&items, &error), (&read(data, BUFFER_BYTES, 3).0, &read(data, BUFFER_BYTES, 3).1), "in small pieces");
    if let Some(error) = error {
        _ = error.to_string();
    }
    for item in items.iter() {
        let Item::Entry { value, expire_at_ms, .. } = item else { continue };
        survives_dump(value, &Limits::DEFAULT);
        commands_make(value);
        encode_entry_as_commands(&mut Vec::new(), b"k", value, *expire_at_ms);
    }
    snapshot_holds(items);
}

/// Gives at most so many bytes at a time.
struct Pieces<'a>(&'a [u8], usize);

impl Source for Pieces<'_> {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        let len = buf.len().min(self.1);
        Source::read(&mut self.0, &mut buf[..len])
    }
}

fn read(data: &[u8], buffer_bytes: usize, piece_bytes: usize) -> (Vec<Item>, Option<Error>) {
    let input = Input::with_buffer(Pieces(data, piece_bytes), "input", buffer_bytes);
    let mut items = Vec::new();
    let mut reader = match Reader::from_input(input) {
        Ok(reader) => reader,
        Err(error) => return (items, Some(error)),
    };
    loop {
        match reader.next_item() {
            Ok(Some(item)) => items.push(item),
            Ok(None) => return (items, None),
            Err(error) => return (items, Some(error)),
        }
    }
}

fn commands_make(value: &Value) {
    let mut encoded = Vec::new();
    encode_entry_as_commands(&mut encoded, b"k", value, None);
    for limits in [Limits::DEFAULT, SMALL] {
        let mut made = keyspace(limits);
        let mut rest = &encoded[..];
        while !rest.is_empty() {
            let (args, consumed) = decode_command(rest).expect("commands");
            replay(&mut made, 0, &args).unwrap_or_else(|error| panic!("{}: {error}", args[0].escape_ascii()));
            rest = &rest[consumed..];
        }
        let made = state(&made);
        let [(made, None)] = &made.values().collect::<Vec<_>>()[..] else { panic!("one key without an expiry") };
        assert_eq!(made, &with_traces_of(made, value), "its commands make the value");
    }
}

/// Redis 6.2 kept no highest deleted id. The commands of a stream that holds none leave one, of entries that are pending and gone.
fn with_traces_of(made: &Value, value: &Value) -> Value {
    let mut value = value.clone();
    if let (Value::Stream(made), Value::Stream(stream)) = (made, &mut value)
        && stream.max_deleted_id() == StreamId::ZERO
    {
        stream.set_ids(stream.last_id(), stream.entries_added(), made.max_deleted_id());
    }
    value
}

struct Sink(BodyWriter);

impl WalkSink for Sink {
    fn entry(&mut self, db: DbIndex, key: &[u8], value: &Value, expire_at_ms: Option<i64>) {
        self.0.begin(db, key, value, expire_at_ms);
        while !self.0.piece(value) {}
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

fn snapshot_holds(items: Vec<Item>) {
    let mut keyspace = keyspace(SMALL);
    for item in items {
        if let Item::Entry { db, key, value, expire_at_ms } = item {
            keyspace.insert(db % DATABASES, &key, value, expire_at_ms);
        }
    }
    let expected = state(&keyspace);
    keyspace.begin_walk(Box::new(Sink(BodyWriter::new(Compression::Lzf))));
    while let WalkProgress::More = keyspace.step_walk(1) {}
    let sink: Box<Sink> = keyspace.end_walk().expect("a walk").into_any().downcast().expect("ours");
    let (bytes, body) = sink.0.finish();
    let mut file = Vec::new();
    merge_header(&mut file, bodies_version([&body]), &[], &[], &body.dbs);
    let end = file_end(&file, &body);
    file.extend_from_slice(&bytes);
    file.extend_from_slice(&end);
    let (items, error) = read(&file, 4096, usize::MAX);
    assert_eq!(error, None, "a snapshot is a sound file");
    let saved: State = items
        .into_iter()
        .filter_map(|item| match item {
            Item::Entry { db, key, value, expire_at_ms } => Some(((db, key), (value, expire_at_ms))),
            _ => None,
        })
        .collect();
    assert_eq!(saved, expected, "a snapshot holds what the keyspace held");
}
