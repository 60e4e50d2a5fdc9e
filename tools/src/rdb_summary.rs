//! What an RDB or AOF holds, in numbers.

use crate::say;
use crate::show::{count, text};
use shards::ids::DbIndex;
use shards::rdb::Item;
use shards::rdb::aof::AofEnd;
use shards::types::Value;
use shards::types::listpack::Packed;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::ops::ControlFlow;

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
    keys: BTreeMap<(DbIndex, &'static str), KeysOfType>,
    names: BTreeMap<String, u64>,
    aux: Vec<(Vec<u8>, Vec<u8>)>,
    functions: u64,
    expiries: Vec<i64>,
    biggest: BinaryHeap<Reverse<Big>>,
}

/// Of one type in one database.
#[derive(Default)]
struct KeysOfType {
    keys: u64,
    size: Size,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Size {
    /// Of the content: names, values, 8 for a score; of a stream, its packed entries. Neither what it takes in memory nor, compressed, in
    /// the file.
    bytes: u64,
    /// Fields of a hash, entries of a stream; a string has none.
    elements: u64,
}

/// Compared by its size first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Big {
    size: Size,
    db: DbIndex,
    key: Vec<u8>,
    type_name: &'static str,
}

impl Summary {
    pub fn entry(&mut self, db: DbIndex, key: &[u8], value: &Value, expire_at_ms: Option<i64>) {
        self.entries += 1;
        let (size, type_name) = (content_size(value), value.type_name());
        let of_type = self.keys.entry((db, type_name)).or_default();
        of_type.keys += 1;
        of_type.size.bytes += size.bytes;
        of_type.size.elements += size.elements;
        self.expiries.extend(expire_at_ms);
        if self.biggest.len() < BIGGEST_MAX || self.biggest.peek().is_some_and(|Reverse(smallest)| smallest.size < size) {
            self.biggest.push(Reverse(Big { size, db, key: key.to_vec(), type_name }));
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
        for ((db, kind), KeysOfType { keys, size }) in &self.keys {
            say(format_args!("keys       db{db}: {keys} of type {kind}, {}", say_size(*size, kind)));
        }
        if self.entries > 0 {
            say_expiries(self.entries, &self.expiries, now_ms);
        }
        let mut biggest: Vec<_> = self.biggest.into_iter().map(|Reverse(item)| item).collect();
        biggest.sort_unstable_by(|a, b| b.cmp(a));
        for Big { size, db, key, type_name } in biggest.iter().take(top) {
            say(format_args!("big        {}: db{db} {} ({type_name})", say_size(*size, type_name), text(key)));
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

fn content_size(value: &Value) -> Size {
    let len = |packed: Packed<'_>| packed.len() as u64;
    let mut bytes = 0;
    let elements = match value {
        Value::Str(string) => return Size { bytes: string.len() as u64, elements: 0 },
        Value::List(list) => {
            list.each_from(0, |_, element| {
                bytes += len(element);
                ControlFlow::Continue(())
            });
            list.len()
        }
        Value::Set(set) => {
            bytes = set.iter().map(len).sum();
            set.len()
        }
        Value::Hash(hash) => {
            bytes = hash.iter().map(|(field, value)| len(field) + len(value)).sum();
            hash.len()
        }
        Value::Zset(zset) => {
            bytes = zset.iter().map(|(member, _)| len(member) + SCORE_BYTES).sum();
            zset.len()
        }
        Value::Stream(stream) => {
            // Fields that entries have in common stand once in a node.
            bytes = stream.nodes_from(0).map(|node| node.pack().as_bytes().len() as u64).sum();
            stream.len()
        }
    };
    Size { bytes, elements: elements as u64 }
}

const SCORE_BYTES: u64 = size_of::<f64>() as u64;

fn say_size(size: Size, type_name: &str) -> String {
    let elements = match type_name {
        "list" => count(size.elements, "element", "elements"),
        "hash" => count(size.elements, "field", "fields"),
        "stream" => count(size.elements, "entry", "entries"),
        "string" => return count(size.bytes, "byte", "bytes"),
        _ => count(size.elements, "member", "members"),
    };
    format!("{elements} in {}", count(size.bytes, "byte", "bytes"))
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
