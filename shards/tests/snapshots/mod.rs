//! A snapshot taken while random commands run: what is saved is the state at the cut, whatever command came between.
//!
//! Small entries are encoded when the walk shows them, big ones piece by piece from their clones, one piece after each command.

use shards::ids::DbIndex;
use shards::keyspace::{Keyspace, WalkProgress, WalkSink};
use shards::rdb::bodies::{BodyWriter, bodies_version, file_end, merge_header};
use shards::rdb::values::encode_entry_as_commands;
use shards::rdb::writer::Compression;
use shards::rdb::{Item, Reader};
use shards::types::Value;
use std::any::Any;
use std::collections::BTreeMap;

pub type State = BTreeMap<(DbIndex, Vec<u8>), (Value, Option<i64>)>;

pub fn state(keyspace: &Keyspace) -> State {
    let mut state = State::new();
    for db in 0..keyspace.databases() {
        let mut cursor = 0;
        loop {
            cursor = keyspace.scan(db, cursor, 100, &mut |key, value, expire_at_ms| {
                state.insert((db, key.to_vec()), (value.clone(), expire_at_ms));
            });
            if cursor == 0 {
                break;
            }
        }
    }
    state
}

/// Entries walked after each command: few, so that the walk lasts for many commands.
const ENTRIES_PER_COMMAND: usize = 1;

struct Sink {
    body: BodyWriter,
    big: Vec<(DbIndex, Vec<u8>, Value, Option<i64>)>,
}

impl WalkSink for Sink {
    fn entry(&mut self, db: DbIndex, key: &[u8], value: &Value, expire_at_ms: Option<i64>) {
        if value.is_big() {
            self.big.push((db, key.to_vec(), value.clone(), expire_at_ms));
        } else {
            self.body.entry(db, key, value, expire_at_ms);
        }
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

enum Stage {
    Idle,
    Walking(State),
    /// The bool: the last one is begun.
    Big(State, Box<Sink>, bool),
}

/// Takes one snapshot after the other.
pub struct Snapshots {
    stage: Stage,
    pub taken: usize,
    /// Of big values, which `taken` snapshots have met.
    pub pieces: usize,
}

impl Snapshots {
    pub fn new() -> Snapshots {
        Snapshots { stage: Stage::Idle, taken: 0, pieces: 0 }
    }

    /// To be called after each command.
    pub fn step(&mut self, keyspace: &mut Keyspace) {
        self.stage = match std::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Idle => {
                let cut = state(keyspace);
                keyspace.begin_walk(Box::new(Sink { body: BodyWriter::new(Compression::Lzf), big: Vec::new() }));
                Stage::Walking(cut)
            }
            Stage::Walking(cut) => match keyspace.step_walk(ENTRIES_PER_COMMAND) {
                WalkProgress::More => Stage::Walking(cut),
                WalkProgress::Done => {
                    let sink = keyspace.end_walk().expect("a walk is under way").into_any();
                    Stage::Big(cut, sink.downcast().expect("it is ours"), false)
                }
            },
            Stage::Big(cut, mut sink, begun) => {
                let Sink { body, big } = &mut *sink;
                match big.last() {
                    Some((db, key, value, expire_at_ms)) => {
                        if !begun {
                            body.begin(*db, key, value, *expire_at_ms);
                        }
                        self.pieces += 1;
                        let done = body.piece(value);
                        if done {
                            big.pop();
                        }
                        Stage::Big(cut, sink, !done)
                    }
                    None => {
                        self.finish(&cut, sink.body);
                        Stage::Idle
                    }
                }
            }
        };
    }

    fn finish(&mut self, cut: &State, body: BodyWriter) {
        let saved = read(&file_of(body));
        let (saved_keys, cut_keys): (Vec<_>, Vec<_>) = (saved.keys().collect(), cut.keys().collect());
        assert_eq!(saved_keys, cut_keys, "the snapshot holds other keys than there were at its cut");
        for (key, value) in cut {
            assert_eq!(saved.get(key), Some(value), "the snapshot's value of {key:?} is not that of its cut");
        }
        self.taken += 1;
    }
}

fn file_of(body: BodyWriter) -> Vec<u8> {
    let (bytes, body) = body.finish();
    let mut file = Vec::new();
    merge_header(&mut file, bodies_version([&body]), &[("redis-ver", "7.2.0")], &[], &body.dbs);
    let end = file_end(&file, &body);
    file.extend_from_slice(&bytes);
    file.extend_from_slice(&end);
    file
}

fn read(file: &[u8]) -> State {
    let mut reader = Reader::new(file, "snapshot").expect("a header");
    let mut state = State::new();
    while let Some(item) = reader.next_item().expect("a sound file") {
        if let Item::Entry { db, key, value, expire_at_ms } = item {
            assert!(state.insert((db, key), (value, expire_at_ms)).is_none(), "a key is saved once");
        }
    }
    state
}

/// The state as a `dump.rdb` for readers of an RDB version.
pub fn dump(state: &State, version_max: u32) -> Vec<u8> {
    let mut body = BodyWriter::within(Compression::Lzf, version_max);
    for ((db, key), (value, expire_at_ms)) in state {
        body.entry(*db, key, value, *expire_at_ms);
    }
    file_of(body)
}

/// The state as commands: RESP with the database of each.
pub fn commands(state: &State) -> Vec<(DbIndex, Vec<u8>)> {
    let mut all = Vec::new();
    for ((db, key), (value, expire_at_ms)) in state {
        let mut out = Vec::new();
        encode_entry_as_commands(&mut out, key, value, *expire_at_ms);
        all.push((*db, out));
    }
    all
}
