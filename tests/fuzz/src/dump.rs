//! DUMP payloads: what RESTORE accepts is a sound value, which every command of its type works on.
//!
//! ```text
//! input   a payload of DUMP: type:u8  value  version:u16  checksum:u64, which is computed anew
//! ```
//! 1. Whether a payload is good does not depend on the thresholds of compact encodings, and neither does the value.
//! 2. The value dumped and restored is the same.
//! 3. Commands work on it: *changed ⇔ effect* (`run_data` asserts it), the effects lead from the old value to the new one, a clone keeps
//!    what it saw, and the changed value too survives a dump.

use super::keyspaces::{self, SMALL, State, bulk_strings, keyspace, replay, state};
use shards::commands::Effects;
use shards::keyspace::Keyspace;
use shards::rdb::format::{CRC_BYTES, REDIS_VERSION_MAX, VALKEY_VERSION};
use shards::rdb::{Crc64, dump_value, restore_value};
use shards::resp::decode_command;
use shards::types::{Limits, Value};

const KEY: &[u8] = b"k";
/// Where commands with a destination put their result.
const OTHER_KEY: &[u8] = b"d";

const COMMANDS: usize = 12;
/// Freed so many parts at a time.
const PARTS: usize = 3;

pub fn check(data: &[u8]) {
    let Some(payload) = sealed(data) else { return };
    let (usual, small) = (restore_value(&payload, &Limits::DEFAULT), restore_value(&payload, &SMALL));
    assert_eq!(usual, small, "thresholds change encodings only");
    let (Ok(usual), Ok(small)) = (usual, small) else { return };
    let seed = u64::from_le_bytes(*payload.last_chunk().expect("a checksum"));
    for (value, limits) in [(usual, Limits::DEFAULT), (small, SMALL)] {
        survives_dump(&value, &limits);
        let clone = value.clone();
        works(value, limits, fastrand::Rng::with_seed(seed));
        assert_eq!(dump_value(&clone), dump_value(&restored(&payload, &limits)), "a clone keeps what it saw");
        freed(clone);
    }
}

/// The payload with a version that is known and its checksum.
fn sealed(data: &[u8]) -> Option<Vec<u8>> {
    let (rest, _) = data.split_last_chunk::<CRC_BYTES>()?;
    let (value, version) = rest.split_last_chunk::<2>()?;
    let version = u16::from_le_bytes(*version) as u32;
    let is_known = (1..=REDIS_VERSION_MAX).contains(&version) || version == VALKEY_VERSION;
    let version = if is_known { version } else { REDIS_VERSION_MAX };
    let mut payload = value.to_vec();
    payload.extend_from_slice(&(version as u16).to_le_bytes());
    let crc = Crc64::of(&payload);
    payload.extend_from_slice(&crc.to_le_bytes());
    Some(payload)
}

fn restored(payload: &[u8], limits: &Limits) -> Value {
    restore_value(payload, limits).expect("it was restored before")
}

pub fn survives_dump(value: &Value, limits: &Limits) {
    let again = restore_value(&dump_value(value), limits);
    assert_eq!(again.as_ref(), Ok(value), "a dumped value restores");
}

fn freed(mut value: Value) {
    while !value.free_some(PARTS) {}
}

fn works(value: Value, limits: Limits, mut random: fastrand::Rng) {
    let (mut keyspace, mut copy) = (keyspace(limits), keyspace(limits));
    let templates = templates_of(&value);
    copy.insert(0, KEY, value.clone(), None);
    keyspace.insert(0, KEY, value, None);
    let mut log = Effects::default();
    for _ in 0..COMMANDS {
        let elements = elements(&mut keyspace, templates[0], &mut log, &mut random);
        let template = match random.u8(..6) {
            0 => ANY[random.usize(..ANY.len())],
            _ => templates[random.usize(..templates.len())],
        };
        let args = filled(template, &elements, &mut random);
        let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        let reply = keyspaces::run(&mut keyspace, &args, &mut log, &mut random);
        assert!(!reply.is_empty(), "{template}: no reply");
        assert!(!reply.starts_with(b"-ERR unknown") && !reply.starts_with(b"-ERR wrong number"), "{template}: no such command");
    }
    let left = state(&keyspace);
    assert_eq!(replayed(&mut copy, &log), left, "what the effects lead to: {}", log.bytes().escape_ascii());
    left.values().for_each(|(value, _)| survives_dump(value, &limits));
}

fn replayed(keyspace: &mut Keyspace, log: &Effects) -> State {
    for (db, resp) in log.iter() {
        let (args, _) = decode_command(resp).expect("an effect is a command");
        let shown = || args.iter().map(|arg| arg.escape_ascii().to_string()).collect::<Vec<_>>().join(" ");
        replay(keyspace, db, &args).unwrap_or_else(|error| panic!("replay of {}: {error}", shown()));
    }
    state(keyspace)
}

/// Some of the value's own elements: commands on others would miss it.
fn elements(keyspace: &mut Keyspace, listing: &str, log: &mut Effects, random: &mut fastrand::Rng) -> Vec<Vec<u8>> {
    let words: Vec<&[u8]> = listing.split(' ').map(|word| if word == "K" { KEY } else { word.as_bytes() }).collect();
    // A look at a hash may find that fields have expired: an effect.
    bulk_strings(&keyspaces::run(keyspace, &words, log, random))
}

fn filled(template: &str, elements: &[Vec<u8>], random: &mut fastrand::Rng) -> Vec<Vec<u8>> {
    let fill = |word: &str| match word {
        "K" => KEY.to_vec(),
        "D" => OTHER_KEY.to_vec(),
        "E" if !elements.is_empty() => elements[random.usize(..elements.len())].clone(),
        "E" | "V" => ["", "a", "b", "-7", "1234567", "longer than a short one"][random.usize(..6)].as_bytes().to_vec(),
        "N" => random.i8(-4..12).to_string().into_bytes(),
        "F" => ["0", "-0", "1.5", "-inf", "+inf", "1e300", "3", "-2.25"][random.usize(..8)].as_bytes().to_vec(),
        "U" => [&b"-"[..], b"+", b"[b", b"(a"][random.usize(..4)].to_vec(),
        word => word.as_bytes().to_vec(),
    };
    template.split(' ').map(fill).collect()
}

fn templates_of(value: &Value) -> &'static [&'static str] {
    match value {
        Value::Str(_) => STRINGS,
        Value::List(_) => LISTS,
        Value::Set(_) => SETS,
        Value::Hash(_) => HASHES,
        Value::Zset(_) => ZSETS,
        Value::Stream(_) => STREAMS,
    }
}

// Words of one capital are filled in: K the key, D another key, E one of its elements, V a short string, N a small integer, F a score,
// U a bound of members. The first of each type lists the value's elements.

const ANY: &[&str] = &[
    "TYPE K",
    "OBJECT ENCODING K",
    "DUMP K",
    "COPY K D",
    "COPY K D REPLACE",
    "RENAME K D",
    "RENAMENX D K",
    "PEXPIREAT K 1800000000000",
    "PERSIST K",
    "TOUCH K D",
    "MOVE K 1",
    "DEL D",
    "UNLINK D",
];

const STRINGS: &[&str] = &[
    "GET K",
    "STRLEN K",
    "GETRANGE K N N",
    "SETRANGE K N V",
    "APPEND K V",
    "APPEND D V",
    "INCRBY K N",
    "INCRBYFLOAT K F",
    "SETBIT K N 1",
    "GETBIT K N",
    "BITCOUNT K N N",
    "BITPOS K 1 N",
    "BITPOS K 0",
    "BITFIELD K INCRBY u8 1 3 GET i64 2 SET i5 #1 N",
    "BITOP NOT D K",
    "BITOP XOR D K D",
    "GETEX K PERSIST",
    "GETSET D E",
    "LCS K D",
    "LCS K D IDX",
    "PFADD K V E",
    "PFADD D V",
    "PFCOUNT K",
    "PFCOUNT K D",
    "PFMERGE D K",
    "PFMERGE K D",
    "MGET K D",
];

const LISTS: &[&str] = &[
    "LRANGE K 0 40",
    "LRANGE K N N",
    "LRANGE K -3 -1",
    "LLEN K",
    "LINDEX K N",
    "LPOS K E",
    "LPOS K E RANK -1 COUNT 0 MAXLEN 5",
    "LSET K N V",
    "LINSERT K BEFORE E V",
    "LINSERT K AFTER E E",
    "LREM K N E",
    "LREM K -1 E",
    "LTRIM K N N",
    "LTRIM K 1 -2",
    "LPUSH K V E N",
    "RPUSH K E V",
    "RPUSHX K V",
    "LPOP K",
    "RPOP K",
    "LPOP K 3",
    "RPOP K 2",
    "LMOVE K D LEFT RIGHT",
    "LMOVE K K RIGHT LEFT",
    "RPOPLPUSH K D",
    "LMPOP 2 D K RIGHT COUNT 2",
    "SORT K ALPHA",
    "SORT K LIMIT 0 3",
    "SORT K BY nosort DESC STORE D",
];

const SETS: &[&str] = &[
    "SMEMBERS K",
    "SADD K E V",
    "SADD K N N N",
    "SADD D E V",
    "SREM K E",
    "SREM K V N",
    "SCARD K",
    "SISMEMBER K E",
    "SMISMEMBER K E V",
    "SPOP K",
    "SPOP K 3",
    "SRANDMEMBER K",
    "SRANDMEMBER K N",
    "SMOVE K D E",
    "SINTER K D",
    "SUNION K D",
    "SDIFF K D",
    "SINTERSTORE D K K",
    "SUNIONSTORE D K D",
    "SDIFFSTORE K K D",
    "SINTERCARD 1 K LIMIT 2",
    "SSCAN K 0 COUNT 100",
    "SORT K ALPHA STORE D",
    "ZUNIONSTORE D 1 K",
];

const HASHES: &[&str] = &[
    "HGETALL K",
    "HGET K E",
    "HMGET K E V E",
    "HSTRLEN K E",
    "HEXISTS K E",
    "HLEN K",
    "HKEYS K",
    "HVALS K",
    "HSET K E V",
    "HSET K V E N V",
    "HSETNX K E V",
    "HDEL K E",
    "HDEL K E E V",
    "HINCRBY K E N",
    "HINCRBYFLOAT K E F",
    "HRANDFIELD K",
    "HRANDFIELD K N WITHVALUES",
    "HSCAN K 0 COUNT 100",
    "HEXPIREAT K 1800000000 FIELDS 2 E V",
    "HPEXPIREAT K 5 FIELDS 1 E",
    "HPERSIST K FIELDS 1 E",
    "HPEXPIRETIME K FIELDS 2 E V",
    "HGETDEL K FIELDS 1 E",
    "HGETEX K PXAT 1900000000000 FIELDS 1 E",
];

const ZSETS: &[&str] = &[
    "ZRANGE K 0 40",
    "ZRANGE K N N WITHSCORES",
    "ZRANGE K 0 -1 REV WITHSCORES",
    "ZCARD K",
    "ZADD K F E",
    "ZADD K F V N E",
    "ZADD K GT CH F E",
    "ZADD K INCR F E",
    "ZINCRBY K F E",
    "ZREM K E",
    "ZREM K E V",
    "ZSCORE K E",
    "ZMSCORE K E V",
    "ZRANK K E WITHSCORE",
    "ZREVRANK K E",
    "ZRANGEBYSCORE K F F",
    "ZREVRANGEBYSCORE K +inf F WITHSCORES LIMIT 1 3",
    "ZRANGEBYLEX K U U",
    "ZREVRANGEBYLEX K + U LIMIT 0 3",
    "ZLEXCOUNT K U U",
    "ZCOUNT K F F",
    "ZREMRANGEBYRANK K N N",
    "ZREMRANGEBYSCORE K F F",
    "ZREMRANGEBYLEX K U U",
    "ZPOPMIN K",
    "ZPOPMAX K 2",
    "ZMPOP 1 K MIN COUNT 2",
    "ZRANDMEMBER K N WITHSCORES",
    "ZRANGESTORE D K N N",
    "ZUNIONSTORE D 2 K D WEIGHTS F 2",
    "ZINTERSTORE D 2 K D AGGREGATE MAX",
    "ZDIFFSTORE D 2 K D",
    "ZSCAN K 0 COUNT 100",
    "GEOPOS K E E",
    "GEODIST K E E km",
    "GEOHASH K E",
    "GEOSEARCH K FROMMEMBER E BYRADIUS 5000 km ASC",
    "GEOSEARCHSTORE D K FROMLONLAT 13 38 BYBOX 9000 9000 km STOREDIST",
];

const STREAMS: &[&str] = &[
    "XRANGE K - + COUNT 20",
    "XRANGE K E + COUNT 3",
    "XREVRANGE K + (E",
    "XLEN K",
    "XADD K 1800000000000-* f v",
    "XADD K * f E g V",
    "XADD K MAXLEN 2 * E V",
    "XADD D 1-N a b",
    "XDEL K E",
    "XDEL K E E V",
    "XTRIM K MAXLEN N",
    "XTRIM K MAXLEN ~ 1 LIMIT 2",
    "XTRIM K MINID E",
    "XSETID K 1900000000000-1",
    "XSETID K E ENTRIESADDED 90 MAXDELETEDID E",
    "XREAD COUNT 2 STREAMS K E",
    "XREAD STREAMS K D 0 0",
    "XGROUP CREATE K g 0",
    "XGROUP CREATE K g E ENTRIESREAD N",
    "XGROUP SETID K g E",
    "XGROUP CREATECONSUMER K g alice",
    "XGROUP DELCONSUMER K g alice",
    "XGROUP DESTROY K h",
    "XREADGROUP GROUP g alice COUNT 2 STREAMS K >",
    "XREADGROUP GROUP g bob NOACK STREAMS K >",
    "XREADGROUP GROUP g alice STREAMS K 0",
    "XACK K g E",
    "XACK K g E E",
    "XPENDING K g",
    "XPENDING K g - + 10",
    "XPENDING K g IDLE 5 - + 3 alice",
    "XCLAIM K g bob 0 E E JUSTID",
    "XCLAIM K g bob 0 E FORCE RETRYCOUNT 3",
    "XAUTOCLAIM K g carol 0 0 COUNT 3",
    "XINFO STREAM K",
    "XINFO STREAM K FULL",
    "XINFO GROUPS K",
    "XINFO CONSUMERS K g",
];
