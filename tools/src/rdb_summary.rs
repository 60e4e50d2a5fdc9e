//! What an RDB or AOF holds, in numbers.

use crate::say;
use crate::show::{count, text};
use shards::ids::DbIndex;
use shards::rdb::Item;
use shards::rdb::aof::AofEnd;
use shards::types::Value;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// Biggest keys remembered; `--top` shows at most so many.
const BIGGEST_MAX: usize = 1000;

/// Upper bounds of time to live, in milliseconds.
const HISTOGRAM: [(&str, i64); 6] = [
    ("expired", 0),
    ("below a minute", 60_000),
    ("below an hour", 3_600_000),
    ("below a day", 86_400_000),
    ("below a week", 604_800_000),
    ("a week and more", i64::MAX),
];

#[derive(Default)]
pub struct Summary {
    pub entries: u64,
    pub commands: u64,
    pub transactions: u64,
    /// Of an RDB, once it has ended.
    pub rdb_crc: Option<u64>,
    pub end: Option<AofEnd>,
    keys: BTreeMap<(DbIndex, &'static str), u64>,
    names: BTreeMap<String, u64>,
    aux: Vec<(Vec<u8>, Vec<u8>)>,
    functions: u64,
    expiries: Vec<i64>,
    biggest: BinaryHeap<Reverse<(usize, DbIndex, Vec<u8>)>>,
}

impl Summary {
    pub fn entry(&mut self, db: DbIndex, key: &[u8], value: &Value, expire_at_ms: Option<i64>) {
        self.entries += 1;
        *self.keys.entry((db, value.type_name())).or_default() += 1;
        self.expiries.extend(expire_at_ms);
        let bytes = bytes_of(value);
        if self.biggest.len() < BIGGEST_MAX || self.biggest.peek().is_some_and(|Reverse((smallest, ..))| *smallest < bytes) {
            self.biggest.push(Reverse((bytes, db, key.to_vec())));
            if self.biggest.len() > BIGGEST_MAX {
                self.biggest.pop();
            }
        }
    }

    pub fn other(&mut self, item: &Item) {
        match item {
            Item::Aux { name, value } => self.aux.push((name.clone(), value.clone())),
            Item::Function(_) => self.functions += 1,
            _ => {}
        }
    }

    pub fn command(&mut self, args: &[Vec<u8>]) {
        self.commands += 1;
        let name = args.first().map_or(String::new(), |name| text(&name.to_ascii_uppercase()));
        *self.names.entry(name).or_default() += 1;
    }

    pub fn say(self, now_ms: i64, top: usize) {
        for (name, value) in &self.aux {
            say(format_args!("aux        {} = {}", text(name), text(value)));
        }
        if self.functions > 0 {
            say(format_args!("functions  {}", count(self.functions, "library", "libraries")));
        }
        for ((db, kind), keys) in &self.keys {
            say(format_args!("keys       db{db}: {keys} of type {kind}"));
        }
        if self.entries > 0 {
            say_expiries(self.entries, &self.expiries, now_ms);
        }
        let mut biggest: Vec<_> = self.biggest.into_iter().map(|Reverse(item)| item).collect();
        biggest.sort_unstable_by(|a, b| b.cmp(a));
        for (bytes, db, key) in biggest.iter().take(top) {
            say(format_args!("big        {bytes} bytes: db{db} {}", text(key)));
        }
        for (name, number) in &self.names {
            say(format_args!("commands   {number} {name}"));
        }
        if self.transactions > 0 {
            say(format_args!("commands   {} (MULTI … EXEC)", count(self.transactions, "transaction", "transactions")));
        }
        if let Some(cut) = self.end.and_then(|end| end.cut) {
            say(format_args!("tail       {} torn bytes at the end ({:?})", cut.bytes, cut.reason));
        }
    }
}

/// Of the value's content.
fn bytes_of(value: &Value) -> usize {
    value.as_str().map_or_else(|| value.heap_bytes(), |string| string.len())
}

fn say_expiries(entries: u64, expiries: &[i64], now_ms: i64) {
    say(format_args!("expiry     never: {}", entries - expiries.len() as u64));
    let mut from = i64::MIN;
    for (name, bound) in HISTOGRAM {
        let number = expiries.iter().map(|at| at.saturating_sub(now_ms)).filter(|ttl| (from..=bound).contains(ttl)).count();
        if number > 0 {
            say(format_args!("expiry     {name}: {number}"));
        }
        from = bound.saturating_add(1);
    }
}
