//! Expiry of a hash's fields, as since Redis 7.4: HEXPIRE, HTTL, HPERSIST and their relatives.
//!
//! Fields that have expired are removed when a command meets their hash (`hashes::find_hash`).

use super::arguments::{Failure, NumberText, answer, integer, is, typed_mut};
use super::context::Ctx;
use super::elements::EFFECT_ELEMENTS_MAX;
use super::events::EventClasses;
use super::expiry_time::Unit;
use super::hashes::{find_hash, hash_at, read_hash, remove_fields, state_expiry};
use super::table::{Command, Multi, Route, Run, Spec, flags};
use crate::keyspace::Entry;
use crate::resp::parse_integer;
use crate::types::Hash;
use std::collections::HashSet;

/// The latest time, in Unix milliseconds, that Redis can keep with a field.
const EXPIRE_AT_MS_MAX: i64 = (1 << 46) - 1;

/// Answers for one field.
const NO_FIELD: i64 = -2;
const NO_EXPIRY: i64 = -1;
const NOT_SET: i64 = 0;
const SET: i64 = 1;
const DELETED: i64 = 2;

pub static COMMANDS: &[Command] = &[
    Command::new("hexpire", -6, flags::WRITE | flags::FAST, Route::Keys(Multi::Never), Run::Data(hexpire))
        .keys(1, 1, 1)
        .specs(&[Spec::at(1, "RW update")])
        .acl(&["write", "hash", "fast"])
        .arguments("key seconds:integer [condition(NX | XX | GT | LT)] fields(FIELDS numfields:integer field...)")
        .doc(
            "hash",
            "7.4.0",
            "O(N) where N is the number of specified fields",
            "Set expiry for hash field using relative time to expire (seconds)",
        ),
    Command::new("hpexpire", -6, flags::WRITE | flags::FAST, Route::Keys(Multi::Never), Run::Data(hpexpire))
        .keys(1, 1, 1)
        .specs(&[Spec::at(1, "RW update")])
        .acl(&["write", "hash", "fast"])
        .arguments("key milliseconds:integer [condition(NX | XX | GT | LT)] fields(FIELDS numfields:integer field...)")
        .doc(
            "hash",
            "7.4.0",
            "O(N) where N is the number of specified fields",
            "Set expiry for hash field using relative time to expire (milliseconds)",
        ),
    Command::new("hexpireat", -6, flags::WRITE | flags::FAST, Route::Keys(Multi::Never), Run::Data(hexpireat))
        .keys(1, 1, 1)
        .specs(&[Spec::at(1, "RW update")])
        .acl(&["write", "hash", "fast"])
        .arguments("key unix-time-seconds:unix-time [condition(NX | XX | GT | LT)] fields(FIELDS numfields:integer field...)")
        .doc(
            "hash",
            "7.4.0",
            "O(N) where N is the number of specified fields",
            "Set expiry for hash field using an absolute Unix timestamp (seconds)",
        ),
    Command::new("hpexpireat", -6, flags::WRITE | flags::FAST, Route::Keys(Multi::Never), Run::Data(hpexpireat))
        .keys(1, 1, 1)
        .specs(&[Spec::at(1, "RW update")])
        .acl(&["write", "hash", "fast"])
        .arguments(
            "key unix-time-milliseconds:unix-time [condition(NX | XX | GT | LT)] fields(FIELDS numfields:integer field...)",
        )
        .doc(
            "hash",
            "7.4.0",
            "O(N) where N is the number of specified fields",
            "Set expiry for hash field using an absolute Unix timestamp (milliseconds)",
        ),
    Command::new("httl", -5, flags::READONLY | flags::FAST, Route::Keys(Multi::Never), Run::Data(httl))
        .keys(1, 1, 1)
        .specs(&[Spec::at(1, "RO access")])
        .acl(&["read", "hash", "fast"])
        .tips(&["nondeterministic_output"])
        .arguments("key fields(FIELDS numfields:integer field...)")
        .doc("hash", "7.4.0", "O(N) where N is the number of specified fields", "Returns the TTL in seconds of a hash field."),
    Command::new("hpttl", -5, flags::READONLY | flags::FAST, Route::Keys(Multi::Never), Run::Data(hpttl))
        .keys(1, 1, 1)
        .specs(&[Spec::at(1, "RO access")])
        .acl(&["read", "hash", "fast"])
        .tips(&["nondeterministic_output"])
        .arguments("key fields(FIELDS numfields:integer field...)")
        .doc(
            "hash",
            "7.4.0",
            "O(N) where N is the number of specified fields",
            "Returns the TTL in milliseconds of a hash field.",
        ),
    Command::new("hexpiretime", -5, flags::READONLY | flags::FAST, Route::Keys(Multi::Never), Run::Data(hexpiretime))
        .keys(1, 1, 1)
        .specs(&[Spec::at(1, "RO access")])
        .acl(&["read", "hash", "fast"])
        .arguments("key fields(FIELDS numfields:integer field...)")
        .doc(
            "hash",
            "7.4.0",
            "O(N) where N is the number of specified fields",
            "Returns the expiration time of a hash field as a Unix timestamp, in seconds.",
        ),
    Command::new("hpexpiretime", -5, flags::READONLY | flags::FAST, Route::Keys(Multi::Never), Run::Data(hpexpiretime))
        .keys(1, 1, 1)
        .specs(&[Spec::at(1, "RO access")])
        .acl(&["read", "hash", "fast"])
        .arguments("key fields(FIELDS numfields:integer field...)")
        .doc(
            "hash",
            "7.4.0",
            "O(N) where N is the number of specified fields",
            "Returns the expiration time of a hash field as a Unix timestamp, in msec.",
        ),
    Command::new("hpersist", -5, flags::WRITE | flags::FAST, Route::Keys(Multi::Never), Run::Data(hpersist))
        .keys(1, 1, 1)
        .specs(&[Spec::at(1, "RW update")])
        .acl(&["write", "hash", "fast"])
        .arguments("key fields(FIELDS numfields:integer field...)")
        .doc(
            "hash",
            "7.4.0",
            "O(N) where N is the number of specified fields",
            "Removes the expiration time for each specified field",
        ),
];

// --- Setting -----------------------------------------------------------------------------------------------------------

/// HEXPIRE key seconds [NX | XX | GT | LT] FIELDS numfields field [field …]
fn hexpire(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    expire(ctx, args, Unit::Seconds, false, "hexpire");
}

/// HPEXPIRE key milliseconds [NX | XX | GT | LT] FIELDS numfields field [field …]
fn hpexpire(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    expire(ctx, args, Unit::Milliseconds, false, "hpexpire");
}

/// HEXPIREAT key unix-time-seconds [NX | XX | GT | LT] FIELDS numfields field [field …]
fn hexpireat(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    expire(ctx, args, Unit::Seconds, true, "hexpireat");
}

/// HPEXPIREAT key unix-time-milliseconds [NX | XX | GT | LT] FIELDS numfields field [field …]
fn hpexpireat(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    expire(ctx, args, Unit::Milliseconds, true, "hpexpireat");
}

fn expire(ctx: &mut Ctx<'_>, args: &[&[u8]], unit: Unit, absolute: bool, command: &str) {
    answer(ctx, |ctx| {
        let entry = find_hash(ctx, args[1])?;
        let at_ms = parse_time(ctx, args[2], unit, absolute, command)?;
        let condition = Condition::parse(args[3]);
        let at = if condition.is_some() { 4 } else { 3 };
        let fields = parse_fields(args, at, "ERR Parameter `numFields` should be greater than 0")?;
        let answers = match entry {
            Some(entry) => expire_fields(ctx, args[1], entry, fields, at_ms, condition),
            None => vec![NO_FIELD; fields.len()],
        };
        reply_numbers(ctx, &answers);
        Ok(())
    });
}

pub fn parse_time(ctx: &Ctx<'_>, text: &[u8], unit: Unit, absolute: bool, command: &str) -> Result<i64, Failure> {
    let time = integer(text)?;
    if time < 0 {
        return Err("ERR invalid expire time, must be >= 0".into());
    }
    let since_ms = if absolute { 0 } else { ctx.now_ms };
    let factor = if unit == Unit::Seconds { 1000 } else { 1 };
    let at_ms = time.checked_mul(factor).and_then(|ms| ms.checked_add(since_ms));
    let at_ms = at_ms.filter(|&at_ms| at_ms <= EXPIRE_AT_MS_MAX);
    at_ms.ok_or_else(|| format!("ERR invalid expire time in '{command}' command").into())
}

/// The fields behind `FIELDS numfields`, which begins at `at`.
pub fn parse_fields<'a>(args: &'a [&'a [u8]], at: usize, bad_number: &'static str) -> Result<&'a [&'a [u8]], Failure> {
    if !args.get(at).is_some_and(|word| is(word, "FIELDS")) {
        return Err("ERR Mandatory argument FIELDS is missing or not at the right position".into());
    }
    let number = args.get(at + 1).and_then(|text| parse_integer(text)).filter(|&number| number > 0).ok_or(bad_number)?;
    let fields = &args[at + 2..];
    if fields.len() as i64 != number {
        return Err("ERR The `numfields` parameter must match the number of arguments".into());
    }
    Ok(fields)
}

#[derive(Clone, Copy)]
pub enum Condition {
    NoExpiry,
    AnyExpiry,
    Later,
    Earlier,
}

impl Condition {
    fn parse(word: &[u8]) -> Option<Condition> {
        match () {
            () if is(word, "NX") => Some(Condition::NoExpiry),
            () if is(word, "XX") => Some(Condition::AnyExpiry),
            () if is(word, "GT") => Some(Condition::Later),
            () if is(word, "LT") => Some(Condition::Earlier),
            () => None,
        }
    }

    /// No expiry is later than any.
    fn allows(self, old: Option<i64>, new: i64) -> bool {
        match self {
            Condition::NoExpiry => old.is_none(),
            Condition::AnyExpiry => old.is_some(),
            Condition::Later => old.is_some_and(|old| new > old),
            Condition::Earlier => old.is_none_or(|old| new < old),
        }
    }
}

/// Sets the expiry of fields, or removes them when it has passed, and states it; gives the answer for each.
pub fn expire_fields(
    ctx: &mut Ctx<'_>,
    key: &[u8],
    entry: Entry,
    fields: &[&[u8]],
    at_ms: i64,
    condition: Option<Condition>,
) -> Vec<i64> {
    let passed = !ctx.replaying && at_ms <= ctx.now_ms;
    // A field may be named twice: the second time it is as the first time has left it.
    let (mut answers, mut changed) = (Vec::with_capacity(fields.len()), Vec::<&[u8]>::new());
    let mut named = HashSet::new();
    for field in fields {
        let hash = hash_at(ctx.keyspace, entry);
        let again = named.contains(field);
        let old = if again { Some(at_ms) } else { hash.expiry(field) };
        let answer = match () {
            () if !hash.contains(field) || (again && passed) => NO_FIELD,
            () if condition.is_some_and(|condition| !condition.allows(old, at_ms)) => NOT_SET,
            () if passed => DELETED,
            () => SET,
        };
        if answer > 0 && named.insert(*field) {
            changed.push(field);
        }
        answers.push(answer);
    }
    if changed.is_empty() {
        return answers;
    }
    if passed {
        remove_fields(ctx, key, entry, &changed, "hdel");
    } else {
        let hash = typed_mut::<Hash>(ctx, entry);
        changed.iter().for_each(|field| hash.set_expiry(field, at_ms));
        state_expiry(ctx, key, at_ms, &changed);
        ctx.notify(EventClasses::HASH, "hexpire", key);
    }
    answers
}

/// HPERSIST key FIELDS numfields field [field …]
fn hpersist(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let entry = find_hash(ctx, args[1])?;
        let fields = parse_fields(args, 2, BAD_NUMBER)?;
        let mut named = HashSet::new();
        let answers = fields.iter().map(|field| match expiry_of(ctx, entry, field) {
            0.. if named.insert(*field) => SET,
            0.. => NO_EXPIRY,
            none => none,
        });
        let answers: Vec<i64> = answers.collect();
        if let Some(entry) = entry {
            persist_fields(ctx, args[1], entry, fields);
        }
        reply_numbers(ctx, &answers);
        Ok(())
    });
}

/// Fields that expire do so no more, and states it.
pub fn persist_fields(ctx: &mut Ctx<'_>, key: &[u8], entry: Entry, fields: &[&[u8]]) {
    let expires = |field: &&&[u8]| hash_at(ctx.keyspace, entry).expiry(field).is_some();
    let fields: Vec<&[u8]> = fields.iter().filter(expires).copied().collect();
    if fields.is_empty() {
        return;
    }
    let hash = typed_mut::<Hash>(ctx, entry);
    // A field named twice expires only once.
    let persisted: Vec<&[u8]> = fields.into_iter().filter(|field| hash.persist(field)).collect();
    for some in persisted.chunks(EFFECT_ELEMENTS_MAX) {
        let count = NumberText::new(some.len() as i64);
        ctx.effect(&[&[b"HPERSIST", key, b"FIELDS", count.bytes()], some].concat());
    }
    ctx.notify(EventClasses::HASH, "hpersist", key);
}

// --- Asking ------------------------------------------------------------------------------------------------------------

pub const BAD_NUMBER: &str = "ERR Number of fields must be a positive integer";

/// HTTL key FIELDS numfields field [field …]: rounded up.
fn httl(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    reply_expiries(ctx, args, |at_ms, now_ms| (at_ms - now_ms + 999) / 1000);
}

/// HPTTL key FIELDS numfields field [field …]
fn hpttl(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    reply_expiries(ctx, args, |at_ms, now_ms| at_ms - now_ms);
}

/// HEXPIRETIME key FIELDS numfields field [field …]: rounded up.
fn hexpiretime(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    reply_expiries(ctx, args, |at_ms, _| (at_ms + 999) / 1000);
}

/// HPEXPIRETIME key FIELDS numfields field [field …]
fn hpexpiretime(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    reply_expiries(ctx, args, |at_ms, _| at_ms);
}

fn reply_expiries(ctx: &mut Ctx<'_>, args: &[&[u8]], shown: fn(at_ms: i64, now_ms: i64) -> i64) {
    answer(ctx, |ctx| {
        let entry = read_hash(ctx, args[1])?;
        let fields = parse_fields(args, 2, BAD_NUMBER)?;
        let answer = |field: &&[u8]| match expiry_of(ctx, entry, field) {
            at_ms @ 0.. => shown(at_ms, ctx.now_ms),
            none => none,
        };
        let answers: Vec<i64> = fields.iter().map(answer).collect();
        reply_numbers(ctx, &answers);
        Ok(())
    });
}

/// When a field expires; negative: the answer that says why not.
fn expiry_of(ctx: &Ctx<'_>, entry: Option<Entry>, field: &[u8]) -> i64 {
    let hash = entry.map(|entry| hash_at(ctx.keyspace, entry)).filter(|hash| hash.contains(field));
    hash.map_or(NO_FIELD, |hash| hash.expiry(field).unwrap_or(NO_EXPIRY))
}

fn reply_numbers(ctx: &mut Ctx<'_>, numbers: &[i64]) {
    ctx.reply.array(numbers.len());
    numbers.iter().for_each(|number| ctx.reply.integer(*number));
}
