//! Commands that the plain workload leaves out, by families: each has its own keys, or changes those of the plain workload.

use crate::workload::{LISTED, Plan};

/// A command of one of the plan's families, or none: then it is one of the plain workload.
pub fn wide_command(random: &mut fastrand::Rng, plan: &Plan, keys: [&str; 3], token: &str) -> Option<Vec<String>> {
    type Family = fn(&mut fastrand::Rng, [&str; 3], &str) -> String;
    let families: [(bool, Family); 7] = [
        (plan.expiry, expiry),
        (plan.databases, databases),
        (plan.big_values, big_values),
        (plan.dependent, dependent),
        (plan.collections, collections),
        (plan.scans, scans),
        (plan.many_keys, many_keys),
    ];
    let families: Vec<Family> = families.into_iter().filter_map(|(is_on, family)| is_on.then_some(family)).collect();
    if families.is_empty() || random.u8(0..3) == 0 {
        return None;
    }
    let family = families[random.usize(0..families.len())];
    Some(family(random, keys, token).split(' ').map(String::from).collect())
}

fn expiry(random: &mut fastrand::Rng, [a, b, c]: [&str; 3], token: &str) -> String {
    let ms = random.u32(1..400);
    match random.u8(0..20) {
        0..3 => format!("SET {a} {token} PX {ms}"),
        3..6 => format!("PEXPIRE {a} {ms}"),
        6 => format!("PERSIST {a}"),
        7 => format!("GETEX {a} PX {ms}"),
        8 => format!("GETEX {a} PERSIST"),
        9 => format!("SET {a} {token} KEEPTTL"),
        10 => format!("GETDEL {a}"),
        11 => format!("PEXPIRE {a} -1"),
        12 => format!("GET {a}"),
        // Over shards: each deletes those of its keys that have expired.
        13..18 => format!("MGET {a} {b} {c}"),
        18 => format!("RENAME {a} {b}"),
        _ => format!("COPY {a} {b} REPLACE"),
    }
}

fn databases(random: &mut fastrand::Rng, [a, b, _]: [&str; 3], token: &str) -> String {
    let db = random.u8(0..2);
    match random.u8(0..20) {
        0..5 => format!("SELECT {db}"),
        5..8 => format!("MOVE {a} {db}"),
        8..11 => format!("COPY {a} {b} DB {db} REPLACE"),
        11..13 => format!("RENAME {a} {b}"),
        13 => "SWAPDB 0 1".into(),
        14 => "FLUSHDB".into(),
        15 if random.bool() => "FLUSHALL".into(),
        15 | 16 => "DBSIZE".into(),
        _ => format!("SET {a} {token}"),
    }
}

fn big_values(random: &mut fastrand::Rng, _: [&str; 3], token: &str) -> String {
    let key = |random: &mut fastrand::Rng| format!("big{}", random.u8(0..3));
    let (a, b) = (key(random), key(random));
    let bytes = random.usize(60_000..150_000);
    match random.u8(0..20) {
        0..3 => format!("SET {a} {token}{}", "x".repeat(bytes)),
        3..8 => format!("APPEND {a} {token}"),
        8..13 => format!("SETRANGE {a} {bytes} {token}"),
        13 => format!("SETBIT bigbits {} 1", bytes * 8),
        14 => format!("GET {a}"),
        15 => format!("GETRANGE {a} {} {bytes}", bytes - 100),
        16 => format!("RENAME {a} {b}"),
        17 => format!("COPY {a} {b} REPLACE"),
        18 => format!("DEL {a}"),
        _ => format!("STRLEN {a}"),
    }
}

/// The keys of BITOP hold bytes that can't become a token: of each, the second and the third highest bit are equal in every result.
fn dependent(random: &mut fastrand::Rng, [a, b, _]: [&str; 3], token: &str) -> String {
    let bits = |random: &mut fastrand::Rng| format!("bits{}", random.u8(0..4));
    let (x, y, z) = (bits(random), bits(random), bits(random));
    let number = random.u32(0..4);
    match random.u8(0..20) {
        0..3 => format!("INCR n{number}"),
        3 => format!("INCRBY n{number} {}", random.u32(1..1000)),
        4 => format!("DECR n{number}"),
        5 => format!("INCRBYFLOAT f{number} 0.25"),
        6..9 => format!("APPEND {a} {token}"),
        9 => format!("SETRANGE {a} {} {token}", random.u32(0..40)),
        10 => format!("GETSET {a} {token}"),
        11 => format!("GETRANGE {a} 0 100"),
        12 => format!("SET {x} {}", ["a", "no", "fghi"][random.usize(0..3)].repeat(random.usize(1..20))),
        13 => format!("SETBIT {x} {} 1", random.u32(0..40) * 8),
        14..17 => format!("BITOP {} {x} {y} {z}", ["AND", "OR", "XOR"][random.usize(0..3)]),
        17 => format!("BITOP NOT {x} {y}"),
        18 => format!("RENAME {x} {y}"),
        _ => format!("COPY {a} {b} REPLACE"),
    }
}

/// Every key has its type, but RENAME and COPY put any value under any of them.
fn collections(random: &mut fastrand::Rng, _: [&str; 3], token: &str) -> String {
    let number = |random: &mut fastrand::Rng| random.u8(0..3);
    let (i, j, k) = (number(random), number(random), number(random));
    let small = random.u32(0..30);
    match random.u8(0..56) {
        0..3 => format!("RPUSH list{i} {token}"),
        3 => format!("LPUSH list{i} {token} {token}x"),
        4 => format!("LPOP list{i}"),
        5 => format!("RPOP list{i} 2"),
        6..9 => format!("LMOVE list{i} list{j} LEFT RIGHT"),
        9 => format!("LTRIM list{i} -20 -1"),
        10 => format!("LSET list{i} 0 moved"),
        11 => format!("LRANGE list{i} 0 -1"),
        12 => format!("LMPOP 2 list{i} list{j} LEFT COUNT 2"),
        13..15 => format!("SADD set{i} {token} m{small}"),
        15 => format!("SADD set{i} {small}"),
        16 => format!("SREM set{i} m{small}"),
        17 => format!("SPOP set{i}"),
        18..20 => format!("SMOVE set{i} set{j} m{small}"),
        20 => format!("SUNIONSTORE set{i} set{j} set{k}"),
        21 => format!("SINTERSTORE set{i} set{j} set{k}"),
        22 => format!("SDIFFSTORE set{i} set{j} set{k}"),
        23 => format!("SMEMBERS set{i}"),
        24..27 => format!("HSET hash{i} f{small} {token}"),
        27 => format!("HDEL hash{i} f{small}"),
        28 => format!("HINCRBY hash{i} n 3"),
        29 => format!("HINCRBYFLOAT hash{i} x 0.5"),
        30 => format!("HPEXPIRE hash{i} 200 FIELDS 1 f{small}"),
        31 => format!("HGETALL hash{i}"),
        // Long values, so that the hash is big after a dozen of these.
        32..34 => (0..60)
            .fold(format!("HSET bighash{i}"), |words, f| format!("{words} f{f} {token}{}", "v".repeat(100 + small as usize))),
        34 => format!("HDEL bighash{i} f1 f{small}"),
        35 => format!("COPY bighash{i} bighash{j} REPLACE"),
        36 => format!("RENAME bighash{i} bighash{j}"),
        37..39 => format!("ZADD zset{i} {small} {token}"),
        39 => format!("ZADD zset{i} INCR 1.5 m{small}"),
        40 => format!("ZPOPMIN zset{i}"),
        41 => format!("ZUNIONSTORE zset{i} 2 zset{j} set{k}"),
        42 => format!("ZRANGESTORE zset{i} zset{j} 0 5"),
        43 => format!("ZREMRANGEBYSCORE zset{i} 0 {small}"),
        44..46 => format!("XADD stream{i} * f {token}"),
        46 => format!("XADD stream{i} MAXLEN 10 * f {token}"),
        47 => format!("XGROUP CREATE stream{i} g 0 MKSTREAM"),
        48 => format!("XREADGROUP GROUP g c{j} COUNT 2 STREAMS stream{i} >"),
        // Over shards; each has effects of its own.
        49 => format!("XREADGROUP GROUP g c{j} COUNT 2 STREAMS stream{i} stream{k} > >"),
        50 => format!("XAUTOCLAIM stream{i} g c{k} 0 0 COUNT 2"),
        51 => format!("PFADD log{i} {token}"),
        52 => format!("PFMERGE log{i} log{j} log{k}"),
        53 => format!("SORT list{i} BY w_* ALPHA GET # GET k{small} STORE list{j}"),
        54 => format!("RENAME set{i} set{j}"),
        _ => format!("DEL {}{i}", ["list", "set", "hash", "zset", "stream", "bighash"][random.usize(0..6)]),
    }
}

fn scans(random: &mut fastrand::Rng, _: [&str; 3], token: &str) -> String {
    match random.u8(0..12) {
        0..3 => format!("SET t0{token} {token}"),
        3..6 => format!("MSET t0{token} {token} t1{token} {token} t2{token} {token}"),
        6..8 => format!("KEYS {LISTED}*"),
        8..10 => "SCAN 0 COUNT 5".into(),
        10 => "RANDOMKEY".into(),
        _ => "DBSIZE".into(),
    }
}

fn many_keys(random: &mut fastrand::Rng, [a, b, _]: [&str; 3], token: &str) -> String {
    match random.u8(0..4) {
        0 | 1 => (0..40).fold("MSET".into(), |words, _| format!("{words} k{} {token}", random.u32(0..400))),
        2 => format!("DEL {a} {b}"),
        _ => format!("RENAME {a} {b}"),
    }
}
