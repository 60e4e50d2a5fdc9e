//! The keyspace against a model: maps, one per database, and the maps of the cut while a walk is under way.
//!
//! Replay one seed: `KEYSPACE_SEED=17 cargo test -p shards keyspace::tests::any_sequence`.

use super::*;
use crate::types::Str;
use std::collections::{BTreeMap, BTreeSet};

type Model = BTreeMap<Vec<u8>, (Vec<u8>, Option<i64>)>;

#[derive(Default)]
struct Seen(BTreeMap<(DbIndex, Vec<u8>), (Value, Option<i64>)>);

impl WalkSink for Seen {
    fn entry(&mut self, db: DbIndex, key: &[u8], value: &Value, expire_at_ms: Option<i64>) {
        let twice = self.0.insert((db, key.to_vec()), (value.clone(), expire_at_ms));
        assert!(twice.is_none(), "{db} {:?} was shown twice", String::from_utf8_lossy(key));
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

fn string(text: impl AsRef<[u8]>) -> Value {
    Value::Str(Str::new(text.as_ref()))
}

fn numbered(number: usize) -> Vec<u8> {
    format!("key:{number}").into_bytes()
}

fn filled(keys: usize) -> Keyspace {
    let mut keyspace = Keyspace::new(16, 7);
    for number in 0..keys {
        keyspace.insert(0, &numbered(number), string("value"), None);
    }
    keyspace
}

fn look_up(keyspace: &mut Keyspace, db: DbIndex, key: &[u8]) {
    let _ = keyspace.find(db, key);
}

fn remove(keyspace: &mut Keyspace, key: &[u8]) {
    let entry = keyspace.find(0, key).expect("the test put it there");
    keyspace.remove(entry);
}

fn walk_to_the_end(keyspace: &mut Keyspace) -> Seen {
    while keyspace.step_walk(100) == WalkProgress::More {}
    *keyspace.end_walk().expect("a walk is under way").into_any().downcast().expect("the sink is Seen")
}

fn scan_all(keyspace: &Keyspace, db: DbIndex) -> BTreeSet<Vec<u8>> {
    let (mut seen, mut cursor) = (BTreeSet::new(), 0);
    loop {
        cursor = keyspace.scan(db, cursor, 10, &mut |key, _, _| {
            seen.insert(key.to_vec());
        });
        assert!(cursor < 1 << 40);
        if cursor == 0 {
            return seen;
        }
    }
}

// --- Everything against the model --------------------------------------------------------------------------------------

const DBS: DbIndex = 3;

struct Run {
    random: fastrand::Rng,
    keyspace: Keyspace,
    model: Vec<Model>,
    cut: Option<Vec<Model>>,
    changes: u64,
    lsn: u64,
    /// How many different keys: few make collisions of operations, many make splits.
    key_space: usize,
    /// Of 256: how often a key is removed rather than set.
    removals: u8,
}

impl Run {
    fn new(seed: u64) -> Run {
        let mut random = fastrand::Rng::with_seed(seed);
        let key_space = [20, 300, 5000][random.usize(0..3)];
        let model = vec![Model::new(); DBS as usize];
        Run { keyspace: Keyspace::new(DBS, seed), model, cut: None, changes: 0, lsn: 0, key_space, removals: 60, random }
    }

    fn key(&mut self) -> Vec<u8> {
        let number = self.random.usize(0..self.key_space);
        // Some keys are longer than a key block takes.
        let pad = if number.is_multiple_of(37) { 300 } else { number % 5 };
        [&numbered(number)[..], &vec![b'.'; pad]].concat()
    }

    fn value(&mut self) -> Vec<u8> {
        let len = if self.random.u8(..) == 0 { 100_000 } else { self.random.usize(0..100) };
        vec![self.random.alphanumeric() as u8; len]
    }

    fn expiry(&mut self) -> Option<i64> {
        (self.random.u8(..) < 80).then(|| self.random.i64(0..1000))
    }

    fn step(&mut self) {
        self.lsn += 1;
        self.keyspace.begin_command(Lsn(self.lsn));
        let db = self.random.u16(0..DBS);
        match self.random.u16(0..1000) {
            0..4 => self.clear(db),
            4..8 => self.swap(db),
            8..14 => self.begin_walk(),
            14..60 => self.step_walk(),
            60..64 => self.end_walk_early(),
            64..70 => self.removals = self.random.u8(20..235),
            70..80 => drop(self.keyspace.reclaim(50)),
            80..90 => self.check_due(),
            90..200 => self.change_value(db),
            200..260 => self.change_expiry(db),
            260..340 => self.check_key(db),
            _ if self.random.u8(..) < self.removals => self.remove(db),
            _ => self.insert(db),
        }
        assert_eq!(self.keyspace.changes(), self.changes);
    }

    fn insert(&mut self, db: DbIndex) {
        let (key, value, expiry) = (self.key(), self.value(), self.expiry());
        let replaced = self.keyspace.insert(db, &key, string(&value), expiry);
        let model_old = self.model[db as usize].insert(key, (value, expiry));
        assert_eq!(replaced, model_old.is_some());
        self.changes += 1;
    }

    fn remove(&mut self, db: DbIndex) {
        let key = self.key();
        let Some(entry) = self.keyspace.find(db, &key) else { return assert!(!self.model[db as usize].contains_key(&key)) };
        let (value, expiry) = self.keyspace.take(entry);
        let removed = self.model[db as usize].remove(&key).map(|(value, expiry)| (string(value), expiry));
        assert_eq!(Some((value, expiry)), removed);
        self.changes += 1;
    }

    fn change_value(&mut self, db: DbIndex) {
        let (key, tail) = (self.key(), self.value());
        let Some(entry) = self.keyspace.find(db, &key) else { return };
        self.keyspace.value_mut(entry).as_str_mut().expect("all are strings").append(&tail);
        self.model[db as usize].get_mut(&key).expect("found").0.extend_from_slice(&tail);
        self.changes += 1;
    }

    fn change_expiry(&mut self, db: DbIndex) {
        let (key, expiry) = (self.key(), self.expiry());
        let Some(entry) = self.keyspace.find(db, &key) else { return };
        self.keyspace.set_expire(entry, expiry);
        assert_eq!(self.keyspace.expire_at_ms(entry), expiry, "an entry stays valid");
        self.model[db as usize].get_mut(&key).expect("found").1 = expiry;
        self.changes += 1;
    }

    fn clear(&mut self, db: DbIndex) {
        let keys = std::mem::take(&mut self.model[db as usize]).len();
        assert_eq!(self.keyspace.clear(db), keys as u64);
        self.changes += 1;
    }

    fn swap(&mut self, db: DbIndex) {
        let other = self.random.u16(0..DBS);
        self.keyspace.swap(db, other);
        self.model.swap(db as usize, other as usize);
        self.changes += 1;
    }

    fn begin_walk(&mut self) {
        if self.cut.is_none() {
            self.keyspace.begin_walk(Box::new(Seen::default()));
            self.cut = Some(self.model.clone());
        }
    }

    fn step_walk(&mut self) {
        let effort = self.random.usize(1..100);
        if self.keyspace.step_walk(effort) == WalkProgress::Done && self.cut.is_some() {
            self.check_cut();
        }
    }

    fn check_cut(&mut self) {
        let seen = walk_to_the_end(&mut self.keyspace).0;
        let mut cut = BTreeMap::new();
        for (db, items) in self.cut.take().expect("a walk is under way").into_iter().enumerate() {
            for (key, (value, expiry)) in items {
                cut.insert((db as DbIndex, key), (string(value), expiry));
            }
        }
        assert!(seen == cut, "the walk showed {} entries, the cut has {}", seen.len(), cut.len());
    }

    fn end_walk_early(&mut self) {
        assert_eq!(self.keyspace.end_walk().is_some(), self.cut.take().is_some());
    }

    fn check_key(&mut self, db: DbIndex) {
        let key = self.key();
        let found = self.keyspace.find(db, &key);
        let entry = found.map(|entry| (self.keyspace.value(entry).clone(), self.keyspace.expire_at_ms(entry)));
        assert_eq!(entry, self.model[db as usize].get(&key).map(|(value, expiry)| (string(value), *expiry)));
        assert!(found.is_none_or(|entry| self.keyspace.key(entry) == key));
    }

    /// A whole round, from wherever earlier ones stopped, finds exactly what is due; a part of one finds a part of it.
    fn check_due(&mut self) {
        let now_ms = self.random.i64(0..1000);
        let (effort, limit) = (self.random.usize(0..300), self.random.usize(0..100));
        let part = self.keyspace.due(now_ms, effort, limit);
        assert!(part.len() <= limit);
        if self.random.bool() {
            return;
        }
        // Two rounds: a table that SWAPDB moved in the middle of its pass shows its beginning in the second one.
        let mut due = BTreeSet::new();
        for _ in 0..2 {
            due.extend(self.keyspace.due(now_ms, usize::MAX, usize::MAX));
        }
        assert!(part.iter().all(|found| due.contains(found)));
        let mut model = BTreeSet::new();
        for (db, items) in self.model.iter().enumerate() {
            let keys = items.iter().filter(|(_, (_, expiry))| expiry.is_some_and(|at| at <= now_ms));
            model.extend(keys.map(|(key, _)| (db as DbIndex, key.clone())));
        }
        assert!(due == model, "{} found, {} are due", due.len(), model.len());
    }

    fn check_everything(&mut self) {
        let mut value_bytes = 0;
        for (db, items) in self.model.iter().enumerate() {
            let expires = items.values().filter(|(_, expiry)| expiry.is_some()).count() as u64;
            let expire_sum_ms = items.values().filter_map(|(_, expiry)| *expiry).map(i128::from).sum();
            assert_eq!(self.keyspace.stats(db as DbIndex), DbStats { keys: items.len() as u64, expires, expire_sum_ms });
            assert!(scan_all(&self.keyspace, db as DbIndex).iter().eq(items.keys()));
            for key in items.keys() {
                let entry = self.keyspace.find(db as DbIndex, key).expect("in the model");
                value_bytes += self.keyspace.value(entry).heap_bytes();
            }
        }
        self.check_memory(value_bytes);
    }

    /// The count kept in steps equals the one made afresh.
    fn check_memory(&mut self, value_bytes: usize) {
        self.keyspace.end_walk();
        self.cut = None;
        while self.keyspace.reclaim(1000) {}
        let tables = self.keyspace.dbs.iter().flatten();
        let counted: usize = tables.map(|table| table.count_table_bytes()).sum();
        assert_eq!(self.keyspace.memory_bytes(), counted + value_bytes);
    }
}

#[test]
fn any_sequence_of_operations_equals_the_same_on_the_model() {
    let seeds = match std::env::var("KEYSPACE_SEED") {
        Ok(seed) => seed.parse().map(|seed| seed..seed + 1).expect("KEYSPACE_SEED is a number"),
        Err(_) => 0..60,
    };
    for seed in seeds {
        let result = std::panic::catch_unwind(|| {
            let mut run = Run::new(seed);
            for _ in 0..12_000 {
                run.step();
            }
            run.check_everything();
        });
        assert!(result.is_ok(), "replay: KEYSPACE_SEED={seed} cargo test -p shards keyspace::tests::any_sequence");
    }
}

// --- Single claims -----------------------------------------------------------------------------------------------------

#[test]
fn a_walk_over_many_keys_shows_the_cut_while_all_of_it_changes() {
    let mut keyspace = filled(50_000);
    keyspace.begin_walk(Box::new(Seen::default()));
    let mut random = fastrand::Rng::with_seed(1);
    for number in 0..50_000 {
        match random.u8(0..3) {
            0 => remove(&mut keyspace, &numbered(number)),
            1 => drop(keyspace.insert(0, &numbered(number), string("changed"), Some(5))),
            _ => drop(keyspace.insert(0, &numbered(1_000_000 + number), string("new"), None)),
        }
        if number % 100 == 0 {
            keyspace.step_walk(50);
        }
    }
    let seen = walk_to_the_end(&mut keyspace).0;
    assert_eq!(seen.len(), 50_000);
    assert!((0..50_000).all(|number| seen[&(0, numbered(number))] == (string("value"), None)));
}

#[test]
fn a_walk_shows_the_cut_while_sparse_segments_are_merged() {
    let mut keyspace = filled(20_000);
    (0..20_000).filter(|number| number % 3 != 0).for_each(|number| remove(&mut keyspace, &numbered(number)));
    keyspace.begin_walk(Box::new(Seen::default()));
    for number in (0..20_000).step_by(6) {
        remove(&mut keyspace, &numbered(number));
        if number % 100 == 0 {
            keyspace.step_walk(1);
        }
    }
    assert!(
        walk_to_the_end(&mut keyspace)
            .0
            .into_keys()
            .map(|(_, key)| key)
            .eq(BTreeSet::from_iter((0..20_000).step_by(3).map(numbered)))
    );
}

#[test]
fn a_cleared_table_is_shown_to_the_walk_and_freed() {
    let mut keyspace = filled(10_000);
    keyspace.begin_walk(Box::new(Seen::default()));
    keyspace.swap(0, 5);
    assert_eq!(keyspace.clear(5), 10_000);
    keyspace.insert(5, b"new", string("x"), None);
    assert!(!keyspace.reclaim(1000), "the walk needs them first");
    let before = keyspace.memory_bytes();
    assert_eq!(keyspace.step_walk(8000), WalkProgress::More);
    assert!(keyspace.memory_bytes() * 4 < before * 3, "what was shown is freed at once");
    assert_eq!(walk_to_the_end(&mut keyspace).0.into_keys().filter(|(db, _)| *db == 0).count(), 10_000);
    while keyspace.reclaim(100) {}
    assert!(keyspace.memory_bytes() < 2000);
}

#[test]
fn the_pre_image_of_a_big_string_shares_its_bytes() {
    let mut keyspace = Keyspace::new(1, 1);
    keyspace.insert(0, b"big", string(vec![b'x'; 10_000_000]), None);
    keyspace.begin_walk(Box::new(Seen::default()));
    let entry = keyspace.find(0, b"big").expect("just inserted");
    keyspace.value_mut(entry).as_str_mut().expect("a string").write_at(5_000_000, b"changed");
    let (mut shared, mut starts) = (0, Vec::new());
    keyspace.value(entry).as_str().expect("a string").pieces(|piece| starts.push(piece.as_ptr()));
    let seen = walk_to_the_end(&mut keyspace).0;
    seen[&(0, b"big".to_vec())].0.as_str().expect("a string").pieces(|piece| shared += starts.contains(&piece.as_ptr()) as usize);
    assert_eq!(shared, starts.len() - 1);
}

#[test]
fn a_scan_visits_what_stays_while_the_table_grows_and_shrinks() {
    for (before, during) in [(200, 20_000), (20_000, 20_000), (5, 1000)] {
        let mut keyspace = filled(before);
        let (mut seen, mut cursor, mut step) = (BTreeSet::new(), 0, 0);
        loop {
            cursor = keyspace.scan(0, cursor, 10, &mut |key, _, _| {
                seen.insert(key.to_vec());
            });
            if cursor == 0 {
                break;
            }
            // Growth in one half of the steps, shrinking in the other; every tenth key stays.
            let grows = step % 20 < 10;
            for number in (step % 10 * 97..during).step_by(if grows { 7 } else { 3 }).filter(|number| number % 10 != 0) {
                match keyspace.find(0, &numbered(number)) {
                    Some(entry) if !grows => keyspace.remove(entry),
                    _ if grows => drop(keyspace.insert(0, &numbered(number), string("x"), None)),
                    _ => {}
                }
            }
            step += 1;
        }
        assert!((0..before).step_by(10).all(|number| seen.contains(&numbered(number))));
    }
}

#[test]
fn memory_returns_after_mass_deletes() {
    let mut keyspace = filled(200_000);
    let full = keyspace.memory_bytes();
    (0..200_000).filter(|number| number % 100 != 0).for_each(|number| remove(&mut keyspace, &numbered(number)));
    assert!(keyspace.memory_bytes() * 25 < full, "{} of {full} bytes for a hundredth of the keys", keyspace.memory_bytes());
    (0..200_000).step_by(100).for_each(|number| remove(&mut keyspace, &numbered(number)));
    assert!(keyspace.memory_bytes() < 2000, "{}", keyspace.memory_bytes());
}

#[test]
fn random_entries_are_about_uniform() {
    for keys in [1, 3, 100, 2000] {
        let keyspace = filled(keys);
        let mut random = fastrand::Rng::with_seed(3);
        let mut counts = BTreeMap::new();
        for _ in 0..keys * 400 {
            let entry = keyspace.random(0, random.u64(..)).expect("not empty");
            *counts.entry(keyspace.key(entry).to_vec()).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), keys);
        assert!(counts.values().all(|count| (130..1200).contains(count)), "{:?}", counts.values().minmax());
    }
    assert!(Keyspace::new(1, 1).random(0, 5).is_none());
}

trait MinMax: Iterator {
    fn minmax(self) -> Option<(Self::Item, Self::Item)>;
}

impl<I: Iterator<Item: Ord + Copy>> MinMax for I {
    fn minmax(self) -> Option<(I::Item, I::Item)> {
        self.fold(None, |range, item| match range {
            None => Some((item, item)),
            Some((min, max)) => Some((min.min(item), max.max(item))),
        })
    }
}

#[test]
fn due_goes_round_in_small_steps_and_finds_everything() {
    let mut keyspace = Keyspace::new(4, 9);
    for number in 0..10_000 {
        let expiry = [None, Some(100), Some(1000)][number % 3];
        keyspace.insert(number as DbIndex % 2 * 3, &numbered(number), string("x"), expiry);
    }
    let (mut found, mut calls) = (0, 0);
    while keyspace.stats(0).expires + keyspace.stats(3).expires > 3333 {
        let due = keyspace.due(500, 100, 20);
        assert!(due.len() <= 20);
        for (db, key) in due {
            let entry = keyspace.find(db, &key).expect("due does not remove");
            assert_eq!(keyspace.take(entry).1, Some(100));
            found += 1;
        }
        calls += 1;
        assert!(calls < 2000, "no progress");
    }
    assert_eq!(found, 3333);
    assert!(keyspace.due(500, usize::MAX, 10).is_empty());
}

#[test]
fn the_gate_asks_for_the_last_write_of_what_was_looked_up() {
    let mut keyspace = Keyspace::new(2, 4);
    let mut needed = |lsn: u64, act: &mut dyn FnMut(&mut Keyspace)| {
        keyspace.begin_command(Lsn(lsn));
        act(&mut keyspace);
        keyspace.needed().0
    };
    assert_eq!(needed(1, &mut |keyspace| look_up(keyspace, 0, b"a")), 0);
    assert_eq!(needed(1, &mut |keyspace| _ = keyspace.insert(0, b"a", string("1"), None)), 0);
    assert_eq!(needed(2, &mut |keyspace| _ = keyspace.insert(0, b"b", string("1"), None)), 0);
    assert_eq!(needed(3, &mut |keyspace| look_up(keyspace, 0, b"a")), 1);
    assert_eq!(needed(3, &mut |keyspace| [b"a", b"b", b"a"].iter().for_each(|key| look_up(keyspace, 0, *key))), 2);
    assert_eq!(needed(3, &mut |keyspace| look_up(keyspace, 1, b"a")), 0, "another database");
    assert_eq!(needed(3, &mut |keyspace| remove(keyspace, b"a")), 1);
    assert_eq!(needed(4, &mut |keyspace| look_up(keyspace, 0, b"a")), 3, "a missing key");
    assert_eq!(needed(5, &mut |keyspace| keyspace.swap(0, 1)), 0);
    assert_eq!(needed(6, &mut |keyspace| look_up(keyspace, 1, b"never seen")), 5);
    assert_eq!(needed(6, &mut |keyspace| keyspace.need_everything(Lsn(9))), 9);
}

#[test]
fn drain_counts_what_was_changed_in_place_last() {
    let mut keyspace = filled(3);
    let entry = keyspace.find(0, &numbered(1)).expect("it was put in");
    keyspace.value_mut(entry).as_str_mut().expect("a string").append(b"longer than what fits beside the key");
    assert_eq!(keyspace.drain().count(), 3);
}

#[test]
fn drain_takes_everything_out() {
    let mut keyspace = filled(5000);
    keyspace.insert(3, b"other", string("x"), Some(7));
    let drained: BTreeSet<_> = keyspace.drain().map(|(db, key, _, expiry)| (db, key, expiry)).collect();
    assert_eq!(drained.len(), 5001);
    assert!(drained.contains(&(3, b"other".to_vec(), Some(7))));
    assert_eq!((keyspace.stats(0), keyspace.stats(3)), Default::default());
    assert!(keyspace.find(0, &numbered(1)).is_none());
}

#[test]
fn a_discarded_big_value_is_freed_in_steps() {
    let mut keyspace = Keyspace::new(1, 1);
    keyspace.discard(string("small"));
    assert!(!keyspace.reclaim(1));
    keyspace.discard(string(vec![0; 1_000_000]));
    assert!(keyspace.memory_bytes() > 1_000_000);
    let steps = (0..).take_while(|_| keyspace.reclaim(4)).count();
    assert!((2..8).contains(&steps));
    assert_eq!(keyspace.memory_bytes(), 0);
}

#[test]
fn keyspace_and_values_move_between_threads() {
    fn is_send<T: Send>() {}
    is_send::<Keyspace>();
    is_send::<Value>();
}
