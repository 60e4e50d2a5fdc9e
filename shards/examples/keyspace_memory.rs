//! What a key costs: memory and time of insert, find, overwrite and remove, for 16-byte keys and 64-byte values.
//!
//! `cargo run --release -p shards --example keyspace_memory [keys]` (default 2,000,000). With mimalloc, as the server.
//! Memory is VmRSS of this process before and after. Keys come in another order than they were inserted.

use shards::keyspace::{Keyspace, WalkProgress, WalkSink};
use shards::types::{Str, Value};
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let keys: u64 = std::env::args().nth(1).map_or(2_000_000, |text| text.parse().expect("the number of keys"));
    let mut keyspace = Keyspace::new(16, 0x5eed);
    let before = rss_bytes();
    time("insert", keys, |number| _ = keyspace.insert(0, &key(number), value(number), None));
    let held = rss_bytes() - before;
    println!("memory            {:>8.1} bytes per key (VmRSS)", held as f64 / keys as f64);
    println!("memory_bytes()    {:>8.1} bytes per key", keyspace.memory_bytes() as f64 / keys as f64);

    time("find, first byte", keys, |number| {
        let entry = keyspace.find(0, &key(shuffled(number, keys))).expect("it was inserted");
        assert_eq!(keyspace.value(entry).as_str().expect("a string").byte_at(0), b'v');
    });
    time("find, missing", keys, |number| assert!(keyspace.find(0, &key(keys + number)).is_none()));
    time("overwrite", keys, |number| {
        let number = shuffled(number, keys);
        assert!(keyspace.insert(0, &key(number), value(number + 1), None));
    });
    walk(&mut keyspace, keys);
    time("remove", keys, |number| {
        let entry = keyspace.find(0, &key(shuffled(number, keys))).expect("it was inserted");
        keyspace.remove(entry);
    });
    println!("memory_bytes()    {:>8} bytes when empty", keyspace.memory_bytes());
    drop(keyspace);
    println!("slowest insert    {:>8.1} us (of each, the fastest of 3 identical runs)", slowest_insert(keys).as_secs_f64() * 1e6);
}

/// Inserts the same keys in three keyspaces with the same seed: each operation does the same work in each run, so the
/// fastest time of each is free of other processes' time slices.
fn slowest_insert(keys: u64) -> Duration {
    let mut fastest = vec![u32::MAX; keys as usize];
    for _ in 0..3 {
        let mut keyspace = Keyspace::new(16, 0x5eed);
        for number in 0..keys {
            let start = Instant::now();
            keyspace.insert(0, &key(number), value(number), None);
            let nanos = start.elapsed().as_nanos() as u32;
            fastest[number as usize] = fastest[number as usize].min(nanos);
        }
    }
    Duration::from_nanos(fastest.into_iter().max().unwrap_or(0).into())
}

struct Count(u64);

impl WalkSink for Count {
    fn entry(&mut self, _: u16, key: &[u8], value: &Value, _: Option<i64>) {
        self.0 += (key.len() + value.as_str().map_or(0, Str::len) == 80) as u64;
    }

    fn as_any(&mut self) -> &mut dyn std::any::Any {
        self
    }

    fn into_any(self: Box<Self>) -> Box<dyn std::any::Any> {
        self
    }
}

fn walk(keyspace: &mut Keyspace, keys: u64) {
    let start = Instant::now();
    keyspace.begin_walk(Box::new(Count(0)));
    let mut worst = Duration::ZERO;
    loop {
        let step = Instant::now();
        let progress = keyspace.step_walk(100);
        worst = worst.max(step.elapsed());
        if progress == WalkProgress::Done {
            break;
        }
    }
    println!("walk              {:>8.1} ns per key", start.elapsed().as_nanos() as f64 / keys as f64);
    println!("slowest step of 100 {:>6.1} us", worst.as_secs_f64() * 1e6);
    let count = keyspace.end_walk().expect("a walk is under way").into_any().downcast::<Count>().expect("the sink");
    assert_eq!(count.0, keys);
}

fn time(name: &str, keys: u64, mut act: impl FnMut(u64)) {
    let start = Instant::now();
    (0..keys).for_each(&mut act);
    println!("{name:<17} {:>8.1} ns per key", start.elapsed().as_nanos() as f64 / keys as f64);
}

/// 16 bytes.
fn key(number: u64) -> [u8; 16] {
    let mut key = *b"key:000000000000";
    let mut left = number;
    for digit in key[4..].iter_mut().rev() {
        *digit = b'0' + (left % 10) as u8;
        left /= 10;
    }
    key
}

/// 64 bytes.
fn value(number: u64) -> Value {
    let mut value = [b'v'; 64];
    value[56..].copy_from_slice(&number.to_be_bytes());
    Value::Str(Str::new(&value))
}

/// Every number once, far from its neighbours: times a prime, modulo `keys` (which it must not divide).
fn shuffled(number: u64, keys: u64) -> u64 {
    (number as u128 * 1_000_000_007 % keys as u128) as u64
}

fn rss_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS in /proc/self/status");
    let kib: u64 = line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).expect("a number of kB");
    kib * 1024
}
