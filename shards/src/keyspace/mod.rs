//! One shard's keys: up to `databases` logical databases, each a table from key to value and expiry.
//!
//! The keyspace knows nothing of commands, logs or files. What it does know, because only it can:
//! - the read gate: the LSN of the last write of each key-hash bucket;
//! - the walk: at a cut an epoch starts; entries not yet saved are shown to the sink before they change.
//!
//! Every change goes through `value_mut`, `set_expire`, `insert`, `remove`, `clear` or `swap`; each of these counts in
//! `changes`, stamps the gate and saves the pre-image when a walk is under way.
//!
//! First form: to be replaced by the extendible table behind the same methods.

use crate::ids::{DbIndex, Lsn};
use crate::types::Value;
use std::any::Any;
use std::collections::BTreeMap;

/// Receives each entry that existed at the cut exactly once, as it was at the cut, in no particular order.
pub trait WalkSink: Send {
    fn entry(&mut self, db: DbIndex, key: &[u8], value: &Value, expire_at_ms: Option<i64>);
    fn as_any(&mut self) -> &mut dyn Any;
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalkProgress {
    More,
    Done,
}

/// A found entry. Valid until the next call that changes the keyspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    db: DbIndex,
    id: u64,
}

/// Per database: what `INFO keyspace` and `DBSIZE` show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DbStats {
    pub keys: u64,
    pub expires: u64,
}

struct Item {
    id: u64,
    value: Value,
    expire_at_ms: Option<i64>,
}

pub struct Keyspace {
    dbs: Vec<BTreeMap<Vec<u8>, Item>>,
    keys_by_id: BTreeMap<u64, Vec<u8>>,
    next_id: u64,
    changes: u64,
    write_lsn: Lsn,
    needed: Lsn,
    gate: BTreeMap<(DbIndex, Vec<u8>), Lsn>,
    gate_all: Lsn,
    walk: Option<(Box<dyn WalkSink>, Vec<(DbIndex, Vec<u8>)>)>,
}

impl Keyspace {
    pub fn new(databases: DbIndex, _hash_seed: u64) -> Keyspace {
        Keyspace {
            dbs: (0..databases).map(|_| BTreeMap::new()).collect(),
            keys_by_id: BTreeMap::new(),
            next_id: 0,
            changes: 0,
            write_lsn: Lsn(0),
            needed: Lsn(0),
            gate: BTreeMap::new(),
            gate_all: Lsn(0),
            walk: None,
        }
    }

    pub fn databases(&self) -> DbIndex {
        self.dbs.len() as DbIndex
    }

    // --- The read gate -------------------------------------------------------------------------------------------

    /// Before a command runs: the LSN that its record gets if it writes. Resets `needed` to 0.
    pub fn begin_command(&mut self, write_lsn: Lsn) {
        self.write_lsn = write_lsn;
        self.needed = Lsn(0);
    }

    /// The greatest LSN among the buckets looked up since `begin_command`.
    pub fn needed(&self) -> Lsn {
        self.needed
    }

    /// Whole-keyspace commands (DBSIZE, SCAN, KEYS, RANDOMKEY) need the shard's last write.
    pub fn need_everything(&mut self, last_lsn: Lsn) {
        self.needed = self.needed.max(last_lsn);
    }

    /// Number of changes since creation; the dispatcher asserts changed ⇔ effect with it.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    // --- Lookups -------------------------------------------------------------------------------------------------

    /// Finds an entry, expired or not, and raises `needed` to its bucket's LSN (also when there is no such key).
    pub fn find(&mut self, db: DbIndex, key: &[u8]) -> Option<Entry> {
        let lsn = self.gate.get(&(db, key.to_vec())).copied().unwrap_or(Lsn(0)).max(self.gate_all);
        self.needed = self.needed.max(lsn);
        let item = self.dbs[db as usize].get(key)?;
        Some(Entry { db, id: item.id })
    }

    pub fn key(&self, entry: Entry) -> &[u8] {
        &self.keys_by_id[&entry.id]
    }

    pub fn value(&self, entry: Entry) -> &Value {
        &self.item(entry).value
    }

    pub fn expire_at_ms(&self, entry: Entry) -> Option<i64> {
        self.item(entry).expire_at_ms
    }

    // --- Changes -------------------------------------------------------------------------------------------------

    /// The value, to be changed in place. Counts as a change: ask only when it will be changed.
    pub fn value_mut(&mut self, entry: Entry) -> &mut Value {
        self.touch(entry.db, &self.keys_by_id[&entry.id].clone());
        let key = &self.keys_by_id[&entry.id];
        &mut self.dbs[entry.db as usize].get_mut(key).expect("entry is valid until the next change").value
    }

    pub fn set_expire(&mut self, entry: Entry, expire_at_ms: Option<i64>) {
        self.touch(entry.db, &self.keys_by_id[&entry.id].clone());
        let key = &self.keys_by_id[&entry.id];
        self.dbs[entry.db as usize].get_mut(key).expect("entry is valid until the next change").expire_at_ms = expire_at_ms;
    }

    /// Sets value and expiry, whether the key exists or not; returns what it replaced.
    pub fn insert(&mut self, db: DbIndex, key: &[u8], value: Value, expire_at_ms: Option<i64>) -> Option<(Value, Option<i64>)> {
        self.touch(db, key);
        self.next_id += 1;
        let id = self.next_id;
        self.keys_by_id.insert(id, key.to_vec());
        let old = self.dbs[db as usize].insert(key.to_vec(), Item { id, value, expire_at_ms })?;
        self.keys_by_id.remove(&old.id);
        Some((old.value, old.expire_at_ms))
    }

    /// Takes the entry out. The caller decides how the value is freed.
    pub fn remove(&mut self, entry: Entry) -> (Value, Option<i64>) {
        let key = self.keys_by_id[&entry.id].clone();
        self.touch(entry.db, &key);
        self.keys_by_id.remove(&entry.id);
        let item = self.dbs[entry.db as usize].remove(&key).expect("entry is valid until the next change");
        (item.value, item.expire_at_ms)
    }

    /// `FLUSHDB`: unsaved entries are handed to the walk first. Returns the number of keys removed. Memory is freed in steps.
    pub fn clear(&mut self, db: DbIndex) -> u64 {
        let keys: Vec<_> = self.dbs[db as usize].keys().cloned().collect();
        for key in &keys {
            let entry = self.find(db, key).expect("just listed");
            self.remove(entry);
        }
        self.changes += 1;
        self.gate_all = self.write_lsn;
        keys.len() as u64
    }

    /// `SWAPDB`.
    pub fn swap(&mut self, a: DbIndex, b: DbIndex) {
        assert!(self.walk.is_none(), "the first form can't swap during a walk");
        self.dbs.swap(a as usize, b as usize);
        self.changes += 1;
        self.gate_all = self.write_lsn;
    }

    // --- Whole-keyspace reads --------------------------------------------------------------------------------------

    pub fn stats(&self, db: DbIndex) -> DbStats {
        let items = &self.dbs[db as usize];
        DbStats { keys: items.len() as u64, expires: items.values().filter(|item| item.expire_at_ms.is_some()).count() as u64 }
    }

    /// One step of SCAN over one database of this shard. Visits at least one bucket and about `count` entries from
    /// `cursor` (0 = start) on; returns the next cursor, 0 = finished. Cursors are below 2^40 and stateless: an entry that is present
    /// during the whole scan is visited at least once, also while the table grows and shrinks.
    pub fn scan(&self, db: DbIndex, cursor: u64, count: usize, visit: &mut dyn FnMut(&[u8], &Value, Option<i64>)) -> u64 {
        let items = &self.dbs[db as usize];
        for (key, item) in items.iter().skip(cursor as usize).take(count.max(1)) {
            visit(key, &item.value, item.expire_at_ms);
        }
        let next = cursor as usize + count.max(1);
        if next >= items.len() { 0 } else { next as u64 }
    }

    /// A random entry, about uniform; `random` is a fresh random number. None when the database is empty.
    pub fn random(&self, db: DbIndex, random: u64) -> Option<Entry> {
        let items = &self.dbs[db as usize];
        let (_, item) = items.iter().nth((random % items.len().max(1) as u64) as usize)?;
        Some(Entry { db, id: item.id })
    }

    /// Collects keys whose expiry is at or before `now_ms`, examining at most about `effort` entries from where the last call stopped,
    /// at most `limit` keys. Does not remove them and does not raise `needed`.
    pub fn due(&mut self, now_ms: i64, effort: usize, limit: usize) -> Vec<(DbIndex, Vec<u8>)> {
        let _ = effort;
        let mut found = Vec::new();
        for (db, items) in self.dbs.iter().enumerate() {
            for (key, item) in items {
                if found.len() < limit && item.expire_at_ms.is_some_and(|at| at <= now_ms) {
                    found.push((db as DbIndex, key.clone()));
                }
            }
        }
        found
    }

    /// Takes every entry out, in no particular order, emptying the keyspace (used to spread keys over another number of shards).
    pub fn drain(&mut self) -> impl Iterator<Item = (DbIndex, Vec<u8>, Value, Option<i64>)> {
        self.keys_by_id.clear();
        let mut all = Vec::new();
        for (db, items) in self.dbs.iter_mut().enumerate() {
            for (key, item) in std::mem::take(items) {
                all.push((db as DbIndex, key, item.value, item.expire_at_ms));
            }
        }
        all.into_iter()
    }

    /// Bytes of memory held by tables, keys and values (an estimate, kept incrementally).
    pub fn memory_bytes(&self) -> usize {
        self.dbs.iter().flatten().map(|(key, item)| key.len() + item.value.as_str().map_or(0, |s| s.heap_bytes()) + 64).sum()
    }

    // --- The walk --------------------------------------------------------------------------------------------------

    /// The cut: from now on each entry that exists is shown to the sink once, by `step_walk` or just before it changes.
    pub fn begin_walk(&mut self, sink: Box<dyn WalkSink>) {
        assert!(self.walk.is_none(), "one walk at a time");
        let mut left = Vec::new();
        for (db, items) in self.dbs.iter().enumerate() {
            left.extend(items.keys().map(|key| (db as DbIndex, key.clone())));
        }
        self.walk = Some((sink, left));
    }

    /// Shows about `entries` more entries to the sink.
    pub fn step_walk(&mut self, entries: usize) -> WalkProgress {
        for _ in 0..entries {
            let Some((_, left)) = &mut self.walk else { return WalkProgress::Done };
            let Some((db, key)) = left.pop() else { return WalkProgress::Done };
            self.show(db, &key);
        }
        WalkProgress::More
    }

    /// The sink of the walk under way, for its owner to take what has been collected.
    pub fn walk_sink(&mut self) -> Option<&mut dyn WalkSink> {
        match &mut self.walk {
            Some((sink, _)) => Some(&mut **sink),
            None => None,
        }
    }

    /// Ends the walk, finished or not, and gives the sink back.
    pub fn end_walk(&mut self) -> Option<Box<dyn WalkSink>> {
        self.walk.take().map(|(sink, _)| sink)
    }

    // --- Inside ----------------------------------------------------------------------------------------------------

    fn item(&self, entry: Entry) -> &Item {
        &self.dbs[entry.db as usize][&self.keys_by_id[&entry.id]]
    }

    fn touch(&mut self, db: DbIndex, key: &[u8]) {
        self.changes += 1;
        self.gate.insert((db, key.to_vec()), self.write_lsn);
        if let Some((_, left)) = &mut self.walk
            && let Some(at) = left.iter().position(|(d, k)| *d == db && k == key)
        {
            left.swap_remove(at);
            self.show(db, key);
        }
    }

    fn show(&mut self, db: DbIndex, key: &[u8]) {
        let item = &self.dbs[db as usize][key];
        let (sink, _) = self.walk.as_mut().expect("a walk is under way");
        sink.entry(db, key, &item.value, item.expire_at_ms);
    }
}
