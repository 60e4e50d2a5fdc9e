//! Hashes: HSET, HGET and their relatives.

use super::arguments::{
    Failure, NOT_FLOAT, NumberText, answer, find_typed, integer, read_typed, remove_emptied, typed_mut, typed_to_change,
};
use super::context::Ctx;
use super::elements::{EFFECT_ELEMENTS_MAX, ElementScan, RandomCount, last_option, reply_scan, shows};
use super::events::EventClasses;
use super::long_double::LongDouble;
use super::lookup::wrong_number;
use super::table::{Command, Multi, Route, Run, Spec, flags};
use crate::keyspace::{Entry, Keyspace};
use crate::resp::{Protocol, parse_integer};
use crate::types::element::Element;
use crate::types::listpack::Packed;
use crate::types::{Hash, Typed};

pub static COMMANDS: &[Command] = &[
    Command::new("hset", -4, flags::WRITE | flags::DENYOOM | flags::FAST, Route::Keys(Multi::Never), Run::Data(hset))
    .keys(1, 1, 1)
    .specs(&[Spec::at(1, "RW update")])
    .acl(&["write", "hash", "fast"])
    .arguments("key data(field value)...")
    .doc("hash", "2.0.0", "O(1) for each field/value pair added, so O(N) to add N field/value pairs when the command is called with multiple field/value pairs.", "Creates or modifies the value of a field in a hash."),
    Command::new("hsetnx", 4, flags::WRITE | flags::DENYOOM | flags::FAST, Route::Keys(Multi::Never), Run::Data(hsetnx))
    .keys(1, 1, 1)
    .specs(&[Spec::at(1, "RW insert")])
    .acl(&["write", "hash", "fast"])
    .arguments("key field value")
    .doc("hash", "2.0.0", "O(1)", "Sets the value of a field in a hash only when the field doesn't exist."),
    Command::new("hmset", -4, flags::WRITE | flags::DENYOOM | flags::FAST, Route::Keys(Multi::Never), Run::Data(hmset))
    .keys(1, 1, 1)
    .specs(&[Spec::at(1, "RW update")])
    .acl(&["write", "hash", "fast"])
    .arguments("key data(field value)...")
    .doc("hash", "2.0.0", "O(N) where N is the number of fields being set.", "Sets the values of multiple fields."),
    Command::new("hget", 3, flags::READONLY | flags::FAST, Route::Keys(Multi::Never), Run::Data(hget))
    .keys(1, 1, 1)
    .specs(&[Spec::at(1, "RO access")])
    .acl(&["read", "hash", "fast"])
    .arguments("key field")
    .doc("hash", "2.0.0", "O(1)", "Returns the value of a field in a hash."),
    Command::new("hmget", -3, flags::READONLY | flags::FAST, Route::Keys(Multi::Never), Run::Data(hmget))
    .keys(1, 1, 1)
    .specs(&[Spec::at(1, "RO access")])
    .acl(&["read", "hash", "fast"])
    .arguments("key field...")
    .doc("hash", "2.0.0", "O(N) where N is the number of fields being requested.", "Returns the values of all fields in a hash."),
    Command::new("hgetall", 2, flags::READONLY, Route::Keys(Multi::Never), Run::Data(hgetall))
    .keys(1, 1, 1)
    .specs(&[Spec::at(1, "RO access")])
    .acl(&["read", "hash", "slow"])
    .tips(&["nondeterministic_output_order"])
    .arguments("key")
    .doc("hash", "2.0.0", "O(N) where N is the size of the hash.", "Returns all fields and values in a hash."),
    Command::new("hdel", -3, flags::WRITE | flags::FAST, Route::Keys(Multi::Never), Run::Data(hdel))
    .keys(1, 1, 1)
    .specs(&[Spec::at(1, "RW delete")])
    .acl(&["write", "hash", "fast"])
    .arguments("key field...")
    .doc("hash", "2.0.0", "O(N) where N is the number of fields to be removed.", "Deletes one or more fields and their values from a hash. Deletes the hash if no fields remain."),
    Command::new("hlen", 2, flags::READONLY | flags::FAST, Route::Keys(Multi::Never), Run::Data(hlen))
    .keys(1, 1, 1)
    .specs(&[Spec::at(1, "RO")])
    .acl(&["read", "hash", "fast"])
    .arguments("key")
    .doc("hash", "2.0.0", "O(1)", "Returns the number of fields in a hash."),
    Command::new("hstrlen", 3, flags::READONLY | flags::FAST, Route::Keys(Multi::Never), Run::Data(hstrlen))
    .keys(1, 1, 1)
    .specs(&[Spec::at(1, "RO")])
    .acl(&["read", "hash", "fast"])
    .arguments("key field")
    .doc("hash", "3.2.0", "O(1)", "Returns the length of the value of a field."),
    Command::new("hexists", 3, flags::READONLY | flags::FAST, Route::Keys(Multi::Never), Run::Data(hexists))
    .keys(1, 1, 1)
    .specs(&[Spec::at(1, "RO")])
    .acl(&["read", "hash", "fast"])
    .arguments("key field")
    .doc("hash", "2.0.0", "O(1)", "Determines whether a field exists in a hash."),
    Command::new("hkeys", 2, flags::READONLY, Route::Keys(Multi::Never), Run::Data(hkeys))
    .keys(1, 1, 1)
    .specs(&[Spec::at(1, "RO access")])
    .acl(&["read", "hash", "slow"])
    .tips(&["nondeterministic_output_order"])
    .arguments("key")
    .doc("hash", "2.0.0", "O(N) where N is the size of the hash.", "Returns all fields in a hash."),
    Command::new("hvals", 2, flags::READONLY, Route::Keys(Multi::Never), Run::Data(hvals))
    .keys(1, 1, 1)
    .specs(&[Spec::at(1, "RO access")])
    .acl(&["read", "hash", "slow"])
    .tips(&["nondeterministic_output_order"])
    .arguments("key")
    .doc("hash", "2.0.0", "O(N) where N is the size of the hash.", "Returns all values in a hash."),
    Command::new("hincrby", 4, flags::WRITE | flags::DENYOOM | flags::FAST, Route::Keys(Multi::Never), Run::Data(hincrby))
    .keys(1, 1, 1)
    .specs(&[Spec::at(1, "RW access update")])
    .acl(&["write", "hash", "fast"])
    .arguments("key field increment:integer")
    .doc("hash", "2.0.0", "O(1)", "Increments the integer value of a field in a hash by a number. Uses 0 as initial value if the field doesn't exist."),
    Command::new("hincrbyfloat", 4, flags::WRITE | flags::DENYOOM | flags::FAST, Route::Keys(Multi::Never), Run::Data(hincrbyfloat))
    .keys(1, 1, 1)
    .specs(&[Spec::at(1, "RW access update")])
    .acl(&["write", "hash", "fast"])
    .arguments("key field increment:double")
    .doc("hash", "2.6.0", "O(1)", "Increments the floating point value of a field by a number. Uses 0 as initial value if the field doesn't exist."),
    Command::new("hrandfield", -2, flags::READONLY, Route::Keys(Multi::Never), Run::Data(hrandfield))
    .keys(1, 1, 1)
    .specs(&[Spec::at(1, "RO access")])
    .acl(&["read", "hash", "slow"])
    .tips(&["nondeterministic_output"])
    .arguments("key [options(count:integer [WITHVALUES])]")
    .doc("hash", "6.2.0", "O(N) where N is the number of fields returned", "Returns one or more random fields from a hash."),
    Command::new("hscan", -3, flags::READONLY, Route::Keys(Multi::Never), Run::Data(hscan))
    .keys(1, 1, 1)
    .specs(&[Spec::at(1, "RO access")])
    .acl(&["read", "hash", "slow"])
    .tips(&["nondeterministic_output"])
    .arguments("key cursor:integer [MATCH pattern] [COUNT count:integer] [NOVALUES]")
    .doc("hash", "2.8.0", "O(1) for every call. O(N) for a complete iteration, including enough command calls for the cursor to return back to 0. N is the number of elements inside the collection.", "Iterates over fields and values of a hash."),
];

/// The hash of an entry that was checked to hold one. Of the keyspace alone, so that the reply can be written meanwhile.
pub fn hash_at(keyspace: &Keyspace, entry: Entry) -> &Hash {
    Hash::of(keyspace.value(entry)).expect("the entry was checked to hold a hash")
}

/// As `find_typed`, behind the removal of fields that have expired: what writing commands use.
pub fn find_hash(ctx: &mut Ctx<'_>, key: &[u8]) -> Result<Option<Entry>, Failure> {
    let entry = find_typed::<Hash>(ctx, key)?;
    Ok(entry.and_then(|entry| remove_expired(ctx, key, entry)))
}

/// As `find_hash`, and counts a hit or a miss: what reading commands use.
pub fn read_hash(ctx: &mut Ctx<'_>, key: &[u8]) -> Result<Option<Entry>, Failure> {
    let entry = read_typed::<Hash>(ctx, key)?;
    Ok(entry.and_then(|entry| remove_expired(ctx, key, entry)))
}

/// Active expiry: removes the fields of a key's hash that have expired.
pub fn expire_fields_of(ctx: &mut Ctx<'_>, key: &[u8]) {
    // Of another type by now, or gone: nothing to do.
    let _ = find_hash(ctx, key);
}

/// Removes the fields that have expired, and the hash with its last one, and states it. None: the hash is gone.
fn remove_expired(ctx: &mut Ctx<'_>, key: &[u8], entry: Entry) -> Option<Entry> {
    let due = |ctx: &Ctx<'_>| {
        let due = hash_at(ctx.keyspace, entry).expiries_from(0).take_while(|(_, at_ms)| *at_ms <= ctx.now_ms);
        due.take(EFFECT_ELEMENTS_MAX).map(|(field, _)| Element::new(field)).collect::<Vec<_>>()
    };
    if ctx.replaying {
        return Some(entry);
    }
    if !ctx.may_expire {
        return hide_expired(ctx, entry);
    }
    loop {
        let fields = due(ctx);
        if fields.is_empty() {
            return Some(entry);
        }
        let fields: Vec<&[u8]> = fields.iter().map(|field| &**field).collect();
        if remove_fields(ctx, key, entry, &fields, "hexpired").emptied {
            return None;
        }
    }
}

/// Sets fields of the hash of `entry`, or of a new one, and states it; gives the number of new fields.
pub fn set_pairs(ctx: &mut Ctx<'_>, key: &[u8], entry: Option<Entry>, pairs: &[&[u8]], event: &'static str) -> usize {
    let limits = *ctx.keyspace.limits();
    let hash = typed_to_change(ctx, key, entry, Hash::new);
    hash.expect(pairs.len() / 2, &limits);
    let new = pairs.chunks_exact(2).filter(|pair| hash.set(pair[0], pair[1], &limits)).count();
    for some in pairs.chunks(EFFECT_ELEMENTS_MAX * 2) {
        ctx.effect(&[&[b"HSET", key], some].concat());
    }
    ctx.notify(EventClasses::HASH, event, key);
    new
}

/// HSET key field value [field value …]
fn hset(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let new = set_all(ctx, args, "hset")?;
        ctx.reply.integer(new as i64);
        Ok(())
    });
}

/// HMSET key field value [field value …]
fn hmset(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        set_all(ctx, args, "hmset")?;
        ctx.reply.ok();
        Ok(())
    });
}

fn set_all(ctx: &mut Ctx<'_>, args: &[&[u8]], command: &str) -> Result<usize, Failure> {
    if !args.len().is_multiple_of(2) {
        return Err(wrong_number(command).into());
    }
    let entry = find_hash(ctx, args[1])?;
    Ok(set_pairs(ctx, args[1], entry, &args[2..], "hset"))
}

/// HSETNX key field value
fn hsetnx(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let entry = find_hash(ctx, args[1])?;
        let absent = entry.is_none_or(|entry| !hash_at(ctx.keyspace, entry).contains(args[2]));
        if absent {
            set_pairs(ctx, args[1], entry, &args[2..], "hset");
        }
        ctx.reply.integer(absent as i64);
        Ok(())
    });
}

/// HGET key field
fn hget(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let entry = read_hash(ctx, args[1])?;
        reply_value(ctx, entry, args[2]);
        Ok(())
    });
}

/// HMGET key field [field …]
fn hmget(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let entry = read_hash(ctx, args[1])?;
        ctx.reply.array(args.len() - 2);
        args[2..].iter().for_each(|field| reply_value(ctx, entry, field));
        Ok(())
    });
}

/// Answers the value of a field, or null.
pub fn reply_value(ctx: &mut Ctx<'_>, entry: Option<Entry>, field: &[u8]) {
    match entry.and_then(|entry| hash_at(ctx.keyspace, entry).get(field)) {
        Some(value) => value.with_bytes(|value| ctx.reply.bulk(value)),
        None => ctx.reply.null(),
    }
}

/// HGETALL key
fn hgetall(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let entry = read_hash(ctx, args[1])?;
        ctx.reply.map(entry.map_or(0, |entry| hash_at(ctx.keyspace, entry).len()));
        for (field, value) in pairs(ctx.keyspace, entry) {
            field.with_bytes(|field| ctx.reply.bulk(field));
            value.with_bytes(|value| ctx.reply.bulk(value));
        }
        Ok(())
    });
}

/// HKEYS key
fn hkeys(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    reply_list(ctx, args[1], |(field, _)| field);
}

/// HVALS key
fn hvals(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    reply_list(ctx, args[1], |(_, value)| value);
}

type Pair<'a> = (Packed<'a>, Packed<'a>);

fn reply_list(ctx: &mut Ctx<'_>, key: &[u8], part: fn(Pair<'_>) -> Packed<'_>) {
    answer(ctx, |ctx| {
        let entry = read_hash(ctx, key)?;
        ctx.reply.array(entry.map_or(0, |entry| hash_at(ctx.keyspace, entry).len()));
        for pair in pairs(ctx.keyspace, entry) {
            part(pair).with_bytes(|bytes| ctx.reply.bulk(bytes));
        }
        Ok(())
    });
}

fn pairs(keyspace: &Keyspace, entry: Option<Entry>) -> impl Iterator<Item = Pair<'_>> {
    entry.into_iter().flat_map(|entry| hash_at(keyspace, entry).iter())
}

/// HDEL key field [field …]
fn hdel(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let removed = match find_hash(ctx, args[1])? {
            Some(entry) => remove_fields(ctx, args[1], entry, &args[2..], "hdel").count,
            None => 0,
        };
        ctx.reply.integer(removed as i64);
        Ok(())
    });
}

/// Takes expired fields out and states nothing: in the log they go on expiring, so nobody will ever see them either way.
/// None: all have expired; then the hash stays as it is, because none may be empty.
fn hide_expired(ctx: &mut Ctx<'_>, entry: Entry) -> Option<Entry> {
    let now_ms = ctx.now_ms;
    let hash = hash_at(ctx.keyspace, entry);
    let due: Vec<Element> =
        hash.expiries_from(0).take_while(|(_, at_ms)| *at_ms <= now_ms).map(|(field, _)| Element::new(field)).collect();
    if due.len() == hash.len() {
        return None;
    }
    if !due.is_empty() {
        ctx.keyspace.reform(entry, |value| {
            let hash = Hash::of_mut(value).expect("the entry was checked to hold a hash");
            due.iter().for_each(|field| _ = hash.remove(field));
        });
    }
    Some(entry)
}

pub struct Removed {
    /// Fields that were there.
    pub count: usize,
    /// The last field is gone, and the hash with it.
    pub emptied: bool,
}

/// Removes fields, and the hash with its last one, and states it.
pub fn remove_fields(ctx: &mut Ctx<'_>, key: &[u8], entry: Entry, fields: &[&[u8]], event: &'static str) -> Removed {
    let there = |field: &&&[u8]| hash_at(ctx.keyspace, entry).contains(field);
    let fields: Vec<&[u8]> = fields.iter().filter(there).copied().collect();
    if fields.is_empty() {
        return Removed { count: 0, emptied: false };
    }
    let hash = typed_mut::<Hash>(ctx, entry);
    // A field named twice is there only once.
    let removed: Vec<&[u8]> = fields.into_iter().filter(|field| hash.remove(field)).collect();
    let emptied = hash.is_empty();
    for some in removed.chunks(EFFECT_ELEMENTS_MAX) {
        ctx.effect(&[&[b"HDEL", key], some].concat());
    }
    ctx.notify(EventClasses::HASH, event, key);
    if emptied {
        remove_emptied(ctx, key, entry);
    }
    Removed { count: removed.len(), emptied }
}

/// HLEN key
fn hlen(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    reply_number(ctx, args[1], Hash::len);
}

/// HSTRLEN key field
fn hstrlen(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    reply_number(ctx, args[1], |hash| hash.get(args[2]).map_or(0, Packed::len));
}

/// HEXISTS key field
fn hexists(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    reply_number(ctx, args[1], |hash| hash.contains(args[2]) as usize);
}

/// Answers what `number` says of the hash, 0 when there is none.
fn reply_number(ctx: &mut Ctx<'_>, key: &[u8], number: impl FnOnce(&Hash) -> usize) {
    answer(ctx, |ctx| {
        let entry = read_hash(ctx, key)?;
        let number = entry.map_or(0, |entry| number(hash_at(ctx.keyspace, entry)));
        ctx.reply.integer(number as i64);
        Ok(())
    });
}

/// HINCRBY key field increment
fn hincrby(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let (key, field, increment) = (args[1], args[2], integer(args[3])?);
        let entry = find_hash(ctx, key)?;
        let old = match entry.and_then(|entry| hash_at(ctx.keyspace, entry).get(field)) {
            Some(Packed::Int(value)) => value,
            Some(Packed::Bytes(text)) => parse_integer(text).ok_or("ERR hash value is not an integer")?,
            None => 0,
        };
        let sum = old.checked_add(increment).ok_or("ERR increment or decrement would overflow")?;
        set_keeping_expiry(ctx, key, entry, &[field, NumberText::new(sum).bytes()], "hincrby");
        ctx.reply.integer(sum);
        Ok(())
    });
}

/// As `set_pairs` with one pair, and the field expires when it did before.
fn set_keeping_expiry(ctx: &mut Ctx<'_>, key: &[u8], entry: Option<Entry>, pair: &[&[u8]; 2], event: &'static str) {
    let expiry = entry.and_then(|entry| hash_at(ctx.keyspace, entry).expiry(pair[0]));
    set_pairs(ctx, key, entry, pair, event);
    if let (Some(entry), Some(at_ms)) = (entry, expiry) {
        typed_mut::<Hash>(ctx, entry).set_expiry(pair[0], at_ms);
        state_expiry(ctx, key, at_ms, &pair[..1]);
    }
}

/// States when fields expire.
pub fn state_expiry(ctx: &mut Ctx<'_>, key: &[u8], at_ms: i64, fields: &[&[u8]]) {
    let at_ms = NumberText::new(at_ms);
    for some in fields.chunks(EFFECT_ELEMENTS_MAX) {
        let count = NumberText::new(some.len() as i64);
        ctx.effect(&[&[b"HPEXPIREAT", key, at_ms.bytes(), b"FIELDS", count.bytes()], some].concat());
    }
}

/// HINCRBYFLOAT key field increment
fn hincrbyfloat(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let (key, field) = (args[1], args[2]);
        let increment = LongDouble::parse(args[3]).ok_or(NOT_FLOAT)?;
        if let LongDouble::Infinite { .. } = increment {
            return Err("ERR value is NaN or Infinity".into());
        }
        let entry = find_hash(ctx, key)?;
        let old = match entry.and_then(|entry| hash_at(ctx.keyspace, entry).get(field)) {
            Some(value) => value.with_bytes(LongDouble::parse).ok_or("ERR hash value is not a float")?,
            None => LongDouble::ZERO,
        };
        let sum = old.add(increment).ok_or("ERR increment would produce NaN or Infinity")?;
        // The result is stated, not the increment: another machine's arithmetic must not change it.
        let text = sum.text();
        set_keeping_expiry(ctx, key, entry, &[field, text.as_bytes()], "hincrbyfloat");
        ctx.reply.bulk(text.as_bytes());
        Ok(())
    });
}

/// HRANDFIELD key [count [WITHVALUES]]
fn hrandfield(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let [_, key, count, ..] = args else { return random_field(ctx, args[1]) };
        let count = RandomCount::parse(count)?;
        let with_values = last_option(args, 3, "WITHVALUES")?;
        count.check_pairs(with_values)?;
        let Some(entry) = read_hash(ctx, key)? else {
            ctx.reply.array(0);
            return Ok(());
        };
        let hash = hash_at(ctx.keyspace, entry);
        let ranks = count.ranks(ctx.random, hash.len());
        let nested = with_values && ctx.reply.protocol == Protocol::Resp3;
        ctx.reply.array(if with_values && !nested { ranks.len() * 2 } else { ranks.len() });
        for (field, value) in at_ranks(hash, &ranks) {
            if nested {
                ctx.reply.array(2);
            }
            field.with_bytes(|field| ctx.reply.bulk(field));
            if with_values {
                value.with_bytes(|value| ctx.reply.bulk(value));
            }
        }
        Ok(())
    });
}

fn random_field(ctx: &mut Ctx<'_>, key: &[u8]) -> Result<(), Failure> {
    let Some(entry) = read_hash(ctx, key)? else {
        ctx.reply.null();
        return Ok(());
    };
    let hash = hash_at(ctx.keyspace, entry);
    let (field, _) = hash.at(ctx.random.usize(..hash.len())).expect("a rank below the length");
    field.with_bytes(|field| ctx.reply.bulk(field));
    Ok(())
}

fn at_ranks<'h>(hash: &'h Hash, ranks: &[usize]) -> Vec<Pair<'h>> {
    if hash.is_compact() {
        // One walk instead of one for each rank.
        let all: Vec<_> = hash.iter().collect();
        return ranks.iter().map(|&rank| all[rank]).collect();
    }
    ranks.iter().map(|&rank| hash.at(rank).expect("a rank below the length")).collect()
}

/// HSCAN key cursor [MATCH pattern] [COUNT count] [NOVALUES]
fn hscan(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let mut scan = ElementScan::new(args)?;
        let Some(entry) = read_hash(ctx, args[1])? else {
            reply_scan(ctx, 0, &[]);
            return Ok(());
        };
        scan.take_without_values();
        let (cursor, options) = scan.options()?;
        let mut found = Vec::new();
        let next = hash_at(ctx.keyspace, entry).scan(cursor, options.count, |field, value| {
            if field.with_bytes(|field| shows(&options, field)) {
                found.push(field.bytes().into_owned());
                if !scan.without_values {
                    found.push(value.bytes().into_owned());
                }
            }
        });
        reply_scan(ctx, next, &found);
        Ok(())
    });
}
