//! One shard's keys: up to `databases` logical databases, each a table from key to value and expiry.
//!
//! The keyspace knows nothing of commands, logs or files. What it does know, because only it can:
//! - the read gate: the LSN of the last write of each key-hash bucket;
//! - the walk: at a cut an epoch starts; entries not yet saved are shown to the sink before they change.
//!
//! Every change goes through `value_mut`, `set_expire`, `insert`, `remove`, `clear` or `swap`; each of these counts in
//! `changes`, stamps the gate and saves the pre-image when a walk is under way.
//!
//! ```text
//! key_block   the keys of a segment, packed           directory   extendible hashing, one level
//! segment     some dozens of entries                        table       two levels of it: one database
//! gate        last write per bucket                   walk, due   the cut, the expiry scan, by position
//! ```
//! No operation takes longer because the keyspace is big: growth and shrinking are a segment at a time, and what `clear`
//! takes out is freed by `reclaim`. Reads no clock.

mod directory;
mod due;
mod gate;
mod hash;
mod key_block;
mod segment;
mod table;
#[cfg(test)]
mod tests;
mod walk;

use crate::ids::{DbIndex, Lsn};
use crate::types::{Limits, Value};
use gate::Gate;
use hash::{KeyHasher, bend};
use std::any::Any;
use table::{Counted, Cut, POSITION_BITS, Place, Table};
use walk::Walk;

/// So many empty segments in a row are rare: sparse segments are merged.
const RANDOM_ATTEMPTS: u32 = 64;

/// Receives each entry that existed at the cut exactly once, as it was at the cut, in no particular order.
pub trait WalkSink: Send {
    fn entry(&mut self, db: DbIndex, key: &[u8], value: &Value, expire_at_ms: Option<i64>);
    fn as_any(&mut self) -> &mut dyn Any;
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

/// Is shown key, value and expiry of each entry of a scan.
pub type Visit<'a> = dyn FnMut(&[u8], &Value, Option<i64>) + 'a;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalkProgress {
    More,
    Done,
}

/// A found entry. Valid until the next call that changes the keyspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    hash: u64,
    place: Place,
    slot: u16,
    db: DbIndex,
}

/// Per database: what `INFO keyspace` and `DBSIZE` show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DbStats {
    pub keys: u64,
    pub expires: u64,
    /// Sum of all times of expiry: what the average time to live is computed from.
    pub expire_sum_ms: i128,
}

/// What a keyspace is made with.
#[derive(Clone, Copy, Debug)]
pub struct KeyspaceOptions {
    pub databases: DbIndex,
    pub hash_seed: u64,
    pub limits: Limits,
}

pub struct Keyspace {
    /// Allocated on first use.
    dbs: Vec<Option<Box<Table>>>,
    hasher: KeyHasher,
    gate: Gate,
    changes: u64,
    walk: Option<Walk>,
    /// Of the newest walk; counted from 1, because new segments carry 0.
    walk_epoch: u32,
    /// Cleared tables. The walk empties those that it still has to show, `reclaim` the others.
    #[allow(clippy::vec_box)] // They come from `dbs` boxed: moving the box is O(1).
    cleared: Vec<Box<Table>>,
    /// Big values on their way out, freed by `reclaim`.
    discarded: Vec<Value>,
    /// The database where `due` goes on.
    due_db: usize,
    /// The entry given out by `value_mut`, whose value's size is counted when the next change begins.
    open: Option<Entry>,
    limits: Limits,
}

impl Keyspace {
    pub fn new(databases: DbIndex, hash_seed: u64) -> Keyspace {
        Keyspace::with(KeyspaceOptions { databases, hash_seed, limits: Limits::default() })
    }

    pub fn with(options: KeyspaceOptions) -> Keyspace {
        let KeyspaceOptions { databases, hash_seed, limits } = options;
        Keyspace {
            dbs: (0..databases).map(|_| None).collect(),
            hasher: KeyHasher::new(hash_seed),
            gate: Gate::new(),
            changes: 0,
            walk: None,
            walk_epoch: 0,
            cleared: Vec::new(),
            discarded: Vec::new(),
            due_db: 0,
            open: None,
            limits,
        }
    }

    /// The thresholds by which its collections choose their encoding.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    pub fn databases(&self) -> DbIndex {
        self.dbs.len() as DbIndex
    }

    // --- The read gate -------------------------------------------------------------------------------------------

    /// Before a command runs: the LSN that its record gets if it writes. Resets `needed` to 0.
    pub fn begin_command(&mut self, write_lsn: Lsn) {
        self.gate.begin_command(write_lsn);
    }

    /// The greatest LSN among the buckets looked up since `begin_command`.
    pub fn needed(&self) -> Lsn {
        self.gate.needed()
    }

    /// Whole-keyspace commands (DBSIZE, SCAN, KEYS, RANDOMKEY) need the shard's last write.
    pub fn need_everything(&mut self, last_lsn: Lsn) {
        self.gate.need(last_lsn);
    }

    /// Number of changes since creation; the dispatcher asserts changed ⇔ effect with it.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// A keyspace that was loaded goes on where `other` stops: every lookup needs `last_lsn`, and changes are counted on.
    pub fn take_the_place_of(&mut self, other: &Keyspace, last_lsn: Lsn) {
        self.settle();
        self.changes = other.changes;
        self.gate.begin_command(last_lsn);
        self.gate.all_written();
    }

    // --- Lookups -------------------------------------------------------------------------------------------------

    /// Finds an entry, expired or not, and raises `needed` to its bucket's LSN (also when there is no such key).
    pub fn find(&mut self, db: DbIndex, key: &[u8]) -> Option<Entry> {
        let hash = self.hasher.hash(key);
        self.gate.looked_up(db, hash);
        let (place, slot) = self.dbs[db as usize].as_ref()?.find(hash, key)?;
        Some(Entry { hash, place, slot: slot as u16, db })
    }

    pub fn key(&self, entry: Entry) -> &[u8] {
        self.table(entry.db).segment(entry.place).key(entry.slot as usize)
    }

    pub fn value(&self, entry: Entry) -> &Value {
        self.table(entry.db).segment(entry.place).value(entry.slot as usize)
    }

    pub fn expire_at_ms(&self, entry: Entry) -> Option<i64> {
        self.table(entry.db).segment(entry.place).expire_at_ms(entry.slot as usize)
    }

    // --- Changes -------------------------------------------------------------------------------------------------

    /// The value, to be changed in place. Counts as a change: ask only when it will be changed.
    pub fn value_mut(&mut self, entry: Entry) -> &mut Value {
        self.before_change(entry.db, entry.hash);
        self.open = Some(entry);
        let table = table_mut(&mut self.dbs, entry.db);
        let counted = Counted::of(table.segment(entry.place).value(entry.slot as usize));
        table.forget_counted(counted);
        table.segment_mut(entry.place).value_mut(entry.slot as usize)
    }

    /// The same value in another form, as `reform` makes it: no change, so nothing is logged, and a walk need not have seen it before.
    pub fn reform(&mut self, entry: Entry, reform: impl FnOnce(&mut Value)) {
        self.settle();
        let table = table_mut(&mut self.dbs, entry.db);
        let value = table.segment_mut(entry.place).value_mut(entry.slot as usize);
        let before = Counted::of(value);
        reform(value);
        let after = Counted::of(value);
        table.forget_counted(before);
        table.count(after);
    }

    pub fn set_expire(&mut self, entry: Entry, expire_at_ms: Option<i64>) {
        self.before_change(entry.db, entry.hash);
        table_mut(&mut self.dbs, entry.db).set_expire(entry.place, entry.slot as usize, expire_at_ms);
    }

    /// Touches the memory where `key` lies or will lie. Called for several keys before they are inserted, the processor waits for
    /// their cache lines at the same time instead of one after the other.
    pub fn warm(&self, db: DbIndex, key: &[u8]) {
        if let Some(table) = &self.dbs[db as usize] {
            let segment = table.segment(table.place(self.hasher.hash(key)));
            std::hint::black_box(segment.first_byte());
        }
    }

    /// Sets value and expiry, whether the key exists or not; true when it replaced another value, which is freed in steps.
    pub fn insert(&mut self, db: DbIndex, key: &[u8], value: Value, expire_at_ms: Option<i64>) -> bool {
        let hash = self.hasher.hash(key);
        self.before_change(db, hash);
        let table = self.dbs[db as usize].get_or_insert_with(|| Box::new(Table::new()));
        match table.find(hash, key) {
            Some((place, slot)) => {
                let (old, _) = table.replace(place, slot, value, expire_at_ms);
                self.discard(old);
                true
            }
            None => {
                table.insert_new(&self.hasher, hash, key, value, expire_at_ms);
                false
            }
        }
    }

    /// Takes the entry out; its value is freed in steps.
    pub fn remove(&mut self, entry: Entry) {
        let (value, _) = self.take(entry);
        self.discard(value);
    }

    /// Takes the entry out and gives it to the caller, who puts it back under another key.
    pub fn take(&mut self, entry: Entry) -> (Value, Option<i64>) {
        self.before_change(entry.db, entry.hash);
        let table = table_mut(&mut self.dbs, entry.db);
        let removed = table.remove(entry.place, entry.slot as usize);
        while let Some(partner) = table.merge_partner(entry.hash) {
            if let Some(walk) = &mut self.walk {
                walk.save(table, partner);
            }
            table.merge(entry.hash);
        }
        removed
    }

    /// `FLUSHDB`: unsaved entries are handed to the walk first. Returns the number of keys removed. Memory is freed in steps.
    pub fn clear(&mut self, db: DbIndex) -> u64 {
        self.settle();
        self.changes += 1;
        self.gate.all_written();
        let Some(table) = self.dbs[db as usize].take() else { return 0 };
        let keys = table.keys;
        self.cleared.push(table);
        keys
    }

    /// `SWAPDB`.
    pub fn swap(&mut self, a: DbIndex, b: DbIndex) {
        self.settle();
        self.dbs.swap(a as usize, b as usize);
        self.changes += 1;
        self.gate.all_written();
    }

    // --- Whole-keyspace reads --------------------------------------------------------------------------------------

    pub fn stats(&self, db: DbIndex) -> DbStats {
        let stats = |table: &Table| DbStats { keys: table.keys, expires: table.expires, expire_sum_ms: table.expire_sum_ms };
        self.dbs[db as usize].as_deref().map_or(DbStats::default(), stats)
    }

    /// One step of SCAN over one database of this shard. Visits at least one bucket and about `count` entries from
    /// `cursor` (0 = start) on; returns the next cursor, 0 = finished. Cursors are below 2^40 and stateless: an entry that is present
    /// during the whole scan is visited at least once, also while the table grows and shrinks.
    pub fn scan(&self, db: DbIndex, cursor: u64, count: usize, visit: &mut Visit) -> u64 {
        let (Some(table), true) = (&self.dbs[db as usize], cursor >> POSITION_BITS == 0) else { return 0 };
        let mut position = cursor << (64 - POSITION_BITS);
        let mut left = count.max(1);
        while left > 0 {
            let place = table.place(position);
            let segment = table.segment(place);
            segment.entries().for_each(|(key, value, expire_at_ms)| visit(key, value, expire_at_ms));
            left = left.saturating_sub(segment.len().max(1));
            match table.next_position(position, place) {
                Some(next) => position = next,
                None => return 0,
            }
        }
        position >> (64 - POSITION_BITS)
    }

    /// A random entry, about uniform; `random` is a fresh random number. None when the database is empty.
    pub fn random(&self, db: DbIndex, random: u64) -> Option<Entry> {
        let table = self.dbs[db as usize].as_ref().filter(|table| table.keys > 0)?;
        let mut position = bend(random);
        let mut place = table.place(position);
        // Segments cover ranges of hashes in proportion to their entries, about: a random position is a fair choice of
        // segment. An empty one asks for another position, and after some of those for the next segment that isn't.
        for attempt in 0.. {
            if table.segment(place).len() > 0 {
                break;
            }
            position = match attempt {
                0..RANDOM_ATTEMPTS => bend(mix(position)),
                _ => table.next_position(position, place).unwrap_or(0),
            };
            place = table.place(position);
        }
        let segment = table.segment(place);
        let slot = ((mix(position) as u128 * segment.len() as u128) >> 64) as usize;
        let hash = self.hasher.hash(segment.key(slot));
        Some(Entry { hash, place, slot: slot as u16, db })
    }

    /// Collects keys whose expiry is at or before `now_ms`, examining at most about `effort` entries from where the last call stopped,
    /// at most `limit` keys. Does not remove them and does not raise `needed`.
    pub fn due(&mut self, now_ms: i64, effort: usize, limit: usize) -> Vec<(DbIndex, Vec<u8>)> {
        let mut found = Vec::new();
        let mut left = effort.max(1);
        // One more than there are databases: the first one may be entered in the middle, its beginning comes last.
        for _ in 0..=self.dbs.len() {
            let db = self.due_db;
            let mut collect = |key: &[u8]| {
                let wanted = found.len() < limit;
                if wanted {
                    found.push((db as DbIndex, key.to_vec()));
                }
                wanted
            };
            if let Some(table) = &mut self.dbs[db]
                && !table.find_due(now_ms, &mut left, &mut collect)
            {
                break;
            }
            self.due_db = (db + 1) % self.dbs.len();
        }
        found
    }

    /// Collects keys of values some of whose elements are due, as `due` does for whole keys: `effort` segments are looked at, from where
    /// the last call stopped. Costs nothing while no value has such elements.
    pub fn due_inside(&mut self, now_ms: i64, effort: usize, limit: usize) -> Vec<(DbIndex, Vec<u8>)> {
        self.settle();
        let (mut found, mut left) = (Vec::new(), effort);
        for (db, table) in self.dbs.iter_mut().enumerate() {
            let Some(table) = table.as_mut().filter(|table| table.expiring_inside > 0) else { continue };
            // At most once around.
            let from = table.inside_next;
            while left > 0 && found.len() < limit {
                let place = table.place(table.inside_next);
                for (key, value, _) in table.segment(place).entries() {
                    if value.next_element_expiry_ms().is_some_and(|at| at <= now_ms) {
                        found.push((db as DbIndex, key.to_vec()));
                    }
                }
                left -= 1;
                table.inside_next = table.next_position(table.inside_next, place).unwrap_or(0);
                if table.inside_next == from || from == 0 && table.inside_next == 0 {
                    break;
                }
            }
        }
        found
    }

    /// Takes every entry out, in no particular order, emptying the keyspace (used to spread keys over another number of shards).
    pub fn drain(&mut self) -> impl Iterator<Item = (DbIndex, Vec<u8>, Value, Option<i64>)> {
        assert!(self.walk.is_none(), "a walk shows a keyspace that stays");
        self.settle();
        let tables: Vec<_> = self.dbs.iter_mut().map(Option::take).enumerate().collect();
        tables.into_iter().flat_map(|(db, table)| {
            let items = table.into_iter().flat_map(|table| table.into_items());
            items.map(move |item| (db as DbIndex, item.key.into_vec(), item.value, item.expire_at_ms))
        })
    }

    /// Bytes of memory held by tables, keys and values (an estimate, kept incrementally).
    pub fn memory_bytes(&self) -> usize {
        let open = self.open.map_or(0, |entry| self.value(entry).heap_bytes());
        let discarded: usize = self.discarded.iter().map(Value::heap_bytes).sum();
        let tables = self.dbs.iter().flatten().chain(&self.cleared);
        tables.map(|table| table.memory_bytes()).sum::<usize>() + open + discarded
    }

    // --- The walk --------------------------------------------------------------------------------------------------

    /// The cut: from now on each entry that exists is shown to the sink once, by `step_walk` or just before it changes.
    pub fn begin_walk(&mut self, sink: Box<dyn WalkSink>) {
        assert!(self.walk.is_none(), "one walk at a time");
        self.settle();
        self.walk_epoch += 1;
        self.walk = Some(Walk { sink, epoch: self.walk_epoch });
        for (db, table) in self.dbs.iter_mut().enumerate() {
            if let Some(table) = table {
                table.cut = Some(Cut { db: db as DbIndex, next: 0 });
            }
        }
    }

    /// Shows about `entries` more entries to the sink.
    pub fn step_walk(&mut self, entries: usize) -> WalkProgress {
        self.settle();
        let Some(walk) = &mut self.walk else { return WalkProgress::Done };
        let mut left = entries.max(1);
        while left > 0 {
            let live = self.dbs.iter_mut().flatten().map(|table| (table, false));
            let mut tables = self.cleared.iter_mut().map(|table| (table, true)).chain(live);
            let Some((table, cleared)) = tables.find(|(table, _)| table.cut.is_some()) else { return WalkProgress::Done };
            left = left.saturating_sub(walk.step(table, cleared));
        }
        WalkProgress::More
    }

    /// The sink of the walk under way, for its owner to take what has been collected.
    pub fn walk_sink(&mut self) -> Option<&mut dyn WalkSink> {
        match &mut self.walk {
            Some(walk) => Some(&mut *walk.sink),
            None => None,
        }
    }

    /// Ends the walk, finished or not, and gives the sink back.
    pub fn end_walk(&mut self) -> Option<Box<dyn WalkSink>> {
        let walk = self.walk.take()?;
        self.dbs.iter_mut().flatten().chain(&mut self.cleared).for_each(|table| table.cut = None);
        Some(walk.sink)
    }

    // --- Freeing in steps --------------------------------------------------------------------------------------------

    /// Takes a value that nobody needs any more, to be freed by `reclaim` when it is big.
    #[inline]
    pub fn discard(&mut self, mut value: Value) {
        if !value.free_some(0) {
            self.discarded.push(value);
        }
    }

    /// Frees about `entries` entries of cleared databases, and as many parts of discarded values; true while there is more.
    /// To be called between commands. What a walk still has to show stays until it is shown, and is not counted as more.
    pub fn reclaim(&mut self, entries: usize) -> bool {
        if let Some(value) = self.discarded.last_mut()
            && value.free_some(entries.max(1))
        {
            self.discarded.pop();
        }
        let mut left = entries.max(1);
        while left > 0
            && let Some(at) = self.cleared.iter().position(|table| table.cut.is_none())
        {
            match self.cleared[at].pop_segment() {
                Some(segment) => left = left.saturating_sub(segment.len().max(1)),
                None => drop(self.cleared.swap_remove(at)),
            }
        }
        !self.discarded.is_empty() || self.cleared.iter().any(|table| table.cut.is_none())
    }

    // --- Inside ----------------------------------------------------------------------------------------------------

    fn table(&self, db: DbIndex) -> &Table {
        self.dbs[db as usize].as_ref().expect("an entry's table is there until the next change")
    }

    /// What each change of one entry begins with.
    fn before_change(&mut self, db: DbIndex, hash: u64) {
        self.settle();
        self.changes += 1;
        self.gate.written(db, hash);
        if let (Some(walk), Some(table)) = (&mut self.walk, &mut self.dbs[db as usize]) {
            let place = table.place(hash);
            walk.save(table, place);
        }
    }

    /// Counts the value that `value_mut` gave out, now that its user is done with it.
    fn settle(&mut self) {
        if let Some(entry) = self.open.take() {
            let table = table_mut(&mut self.dbs, entry.db);
            table.count(Counted::of(table.segment(entry.place).value(entry.slot as usize)));
        }
    }
}

/// A function of one field, so that others can be borrowed meanwhile.
fn table_mut(dbs: &mut [Option<Box<Table>>], db: DbIndex) -> &mut Table {
    dbs[db as usize].as_mut().expect("an entry's table is there until the next change")
}

/// The next number of a pseudo-random sequence (SplitMix64).
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
