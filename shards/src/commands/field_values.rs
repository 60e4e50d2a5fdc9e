//! Fields of a hash read or set together with what becomes of them, as since Redis 8.0: HGETDEL, HGETEX, HSETEX.

use super::arguments::{Failure, answer, is, typed_mut};
use super::context::Ctx;
use super::events::EventClasses;
use super::expiry_time::Unit;
use super::field_expiry::{BAD_NUMBER, expire_fields, parse_fields, parse_time, persist_fields};
use super::hashes::{find_hash, hash_at, remove_fields, reply_value, set_pairs, state_expiry};
use super::lookup::wrong_number;
use super::table::{Command, Multi, Route, Run, Spec, flags};
use crate::keyspace::Entry;
use crate::resp::parse_integer;
use crate::types::Hash;
use std::collections::HashSet;

pub static COMMANDS: &[Command] = &[
    Command::new("hgetdel", -5, flags::WRITE | flags::FAST, Route::Keys(Multi::Never), Run::Data(hgetdel))
    .keys(1, 1, 1)
    .specs(&[Spec::at(1, "RW access delete")])
    .acl(&["write", "hash", "fast"])
    .arguments("key fields(FIELDS numfields:integer field...)")
    .doc("hash", "8.0.0", "O(N) where N is the number of specified fields", "Returns the value of a field and deletes it from the hash."),
    Command::new("hgetex", -5, flags::WRITE | flags::FAST, Route::Keys(Multi::Never), Run::Data(hgetex))
    .keys(1, 1, 1)
    .specs(&[Spec::at(1, "RW access update").notes("RW and UPDATE because it changes the TTL")])
    .acl(&["write", "hash", "fast"])
    .arguments("key [expiration(EX seconds:integer | PX milliseconds:integer | EXAT unix-time-seconds:unix-time | PXAT unix-time-milliseconds:unix-time | PERSIST)] fields(FIELDS numfields:integer field...)")
    .doc("hash", "8.0.0", "O(N) where N is the number of specified fields", "Get the value of one or more fields of a given hash key, and optionally set their expiration."),
    Command::new("hsetex", -6, flags::WRITE | flags::DENYOOM | flags::FAST, Route::Keys(Multi::Never), Run::Data(hsetex))
    .keys(1, 1, 1)
    .specs(&[Spec::at(1, "RW update")])
    .acl(&["write", "hash", "fast"])
    .arguments("key [condition(FNX | FXX)] [expiration(EX seconds:integer | PX milliseconds:integer | EXAT unix-time-seconds:unix-time | PXAT unix-time-milliseconds:unix-time | KEEPTTL)] fields(FIELDS numfields:integer data(field value)...)")
    .doc("hash", "8.0.0", "O(N) where N is the number of fields being set.", "Set the value of one or more fields of a given hash key, and optionally set their expiration."),
];

/// HGETDEL key FIELDS numfields field [field …]
fn hgetdel(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let entry = find_hash(ctx, args[1])?;
        let fields = parse_fields(args, 2, BAD_NUMBER)?;
        reply_values(ctx, entry, fields, true);
        if let Some(entry) = entry {
            remove_fields(ctx, args[1], entry, fields, "hdel");
        }
        Ok(())
    });
}

/// Answers the values of fields. `once`: they go with the answer, so that one named again is there no more.
fn reply_values(ctx: &mut Ctx<'_>, entry: Option<Entry>, fields: &[&[u8]], once: bool) {
    let mut gone = HashSet::new();
    ctx.reply.array(fields.len());
    for field in fields {
        let there = !once || gone.insert(*field);
        reply_value(ctx, entry.filter(|_| there), field);
    }
}

/// HGETEX key [EX seconds | PX ms | EXAT unix-s | PXAT unix-ms | PERSIST] FIELDS numfields field [field …]
fn hgetex(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let entry = find_hash(ctx, args[1])?;
        let kind = Unit::of_option(args[2]);
        let at_ms = kind.map(|(unit, absolute)| parse_time(ctx, args[3], unit, absolute, "hgetex")).transpose()?;
        let persist = is(args[2], "PERSIST");
        let at = 2 + if at_ms.is_some() { 2 } else { persist as usize };
        let fields = parse_fields(args, at, BAD_NUMBER)?;
        let passed = at_ms.is_some_and(|at_ms| !ctx.replaying && at_ms <= ctx.now_ms);
        reply_values(ctx, entry, fields, passed);
        let Some(entry) = entry else { return Ok(()) };
        match at_ms {
            Some(at_ms) => _ = expire_fields(ctx, args[1], entry, fields, at_ms, None),
            None if persist => persist_fields(ctx, args[1], entry, fields),
            None => {}
        }
        Ok(())
    });
}

/// HSETEX key [FNX | FXX] [EX seconds | PX ms | EXAT unix-s | PXAT unix-ms | KEEPTTL] FIELDS numfields field value [field value …]
fn hsetex(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let request = SetRequest::parse(ctx, args)?;
        let entry = find_hash(ctx, args[1])?;
        let allowed = request.condition.is_none_or(|exists| {
            let mut fields = request.pairs.iter().step_by(2);
            fields.all(|field| entry.is_some_and(|entry| hash_at(ctx.keyspace, entry).contains(field)) == exists)
        });
        if allowed {
            set(ctx, args[1], entry, &request);
        }
        ctx.reply.integer(allowed as i64);
        Ok(())
    });
}

#[derive(Default)]
struct SetRequest<'a> {
    /// All fields must be there, or none.
    condition: Option<bool>,
    at_ms: Option<i64>,
    keep_ttl: bool,
    pairs: &'a [&'a [u8]],
}

impl<'a> SetRequest<'a> {
    fn parse(ctx: &Ctx<'_>, args: &'a [&'a [u8]]) -> Result<SetRequest<'a>, Failure> {
        let mut request = SetRequest::default();
        let mut at = 2;
        while at < args.len() {
            let word = args[at];
            at += 1;
            if is(word, "FIELDS") {
                request.pairs = parse_pairs(&args[at..])?;
                return Ok(request);
            }
            if is(word, "FNX") || is(word, "FXX") {
                if request.condition.replace(is(word, "FXX")).is_some() {
                    return Err("ERR Only one of FXX or FNX arguments can be specified".into());
                }
                continue;
            }
            let kind = Unit::of_option(word);
            if kind.is_none() && !is(word, "KEEPTTL") {
                return Err(format!("ERR unknown argument: {}", String::from_utf8_lossy(word)).into());
            }
            if request.at_ms.is_some() || request.keep_ttl {
                return Err("ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified".into());
            }
            match kind {
                None => request.keep_ttl = true,
                Some((unit, absolute)) => {
                    let text = args.get(at).ok_or_else(|| wrong_number("hsetex"))?;
                    request.at_ms = Some(parse_time(ctx, text, unit, absolute, "hsetex")?);
                    at += 1;
                }
            }
        }
        Err(wrong_number("hsetex").into())
    }
}

/// `words` begin at the number of fields.
fn parse_pairs<'a>(words: &'a [&'a [u8]]) -> Result<&'a [&'a [u8]], Failure> {
    let [number, pairs @ ..] = words else { return Err(wrong_number("hsetex").into()) };
    if pairs.len() < 2 {
        return Err(wrong_number("hsetex").into());
    }
    let number =
        parse_integer(number).filter(|number| (1..=i32::MAX as i64).contains(number)).ok_or("ERR invalid number of fields")?;
    if pairs.len() as i64 != number * 2 {
        return Err(wrong_number("hsetex").into());
    }
    Ok(pairs)
}

/// Set and expired at once: what was there is gone. Events tell of both.
fn set_and_delete(ctx: &mut Ctx<'_>, key: &[u8], entry: Option<Entry>, fields: &[&[u8]]) {
    if entry.is_none() {
        ctx.notify(EventClasses::NEW, "new", key);
    }
    ctx.notify(EventClasses::HASH, "hset", key);
    let removed = entry.map_or(0, |entry| remove_fields(ctx, key, entry, fields, "hdel").count);
    if removed == 0 {
        ctx.notify(EventClasses::HASH, "hdel", key);
    }
    if entry.is_none() {
        ctx.notify(EventClasses::GENERIC, "del", key);
    }
}

fn set(ctx: &mut Ctx<'_>, key: &[u8], entry: Option<Entry>, request: &SetRequest<'_>) {
    let fields: Vec<&[u8]> = request.pairs.iter().step_by(2).copied().collect();
    if request.at_ms.is_some_and(|at_ms| !ctx.replaying && at_ms <= ctx.now_ms) {
        return set_and_delete(ctx, key, entry, &fields);
    }
    let mut kept = Vec::new();
    if let (Some(entry), true) = (entry, request.keep_ttl) {
        let hash = hash_at(ctx.keyspace, entry);
        kept.extend(fields.iter().filter_map(|field| Some((*field, hash.expiry(field)?))));
    }
    set_pairs(ctx, key, entry, request.pairs, "hset");
    let entry = ctx.keyspace.find(ctx.db, key).expect("it was just set");
    for (field, at_ms) in kept {
        typed_mut::<Hash>(ctx, entry).set_expiry(field, at_ms);
        state_expiry(ctx, key, at_ms, &[field]);
    }
    if let Some(at_ms) = request.at_ms {
        expire_fields(ctx, key, entry, &fields, at_ms, None);
    }
}
