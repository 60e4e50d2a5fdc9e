//! When keys expire: EXPIRE and its relatives, PERSIST, TTL and its relatives.

use super::arguments::{Failure, NumberText, answer, integer, is};
use super::context::Ctx;
use super::events::EventClasses;
use super::expiry_time::{Unit, invalid_expire};
use super::table::{Command, Multi, Route, Run, Spec, flags};
use crate::keyspace::Entry;

pub static COMMANDS: &[Command] = &[
    Command::new("expire", -3, flags::WRITE | flags::FAST, Route::Keys(Multi::Never), Run::Data(expire))
        .keys(1, 1, 1)
        .specs(&[Spec::at(1, "RW update")])
        .acl(&["keyspace", "write", "fast"])
        .arguments("key seconds:integer [condition(NX | XX | GT | LT)]")
        .doc("generic", "1.0.0", "O(1)", "Set a key's time to live in seconds"),
    Command::new("pexpire", -3, flags::WRITE | flags::FAST, Route::Keys(Multi::Never), Run::Data(pexpire))
        .keys(1, 1, 1)
        .specs(&[Spec::at(1, "RW update")])
        .acl(&["keyspace", "write", "fast"])
        .arguments("key milliseconds:integer [condition(NX | XX | GT | LT)]")
        .doc("generic", "2.6.0", "O(1)", "Set a key's time to live in milliseconds"),
    Command::new("expireat", -3, flags::WRITE | flags::FAST, Route::Keys(Multi::Never), Run::Data(expireat))
        .keys(1, 1, 1)
        .specs(&[Spec::at(1, "RW update")])
        .acl(&["keyspace", "write", "fast"])
        .arguments("key unix-time-seconds:unix-time [condition(NX | XX | GT | LT)]")
        .doc("generic", "1.2.0", "O(1)", "Set the expiration for a key as a UNIX timestamp"),
    Command::new("pexpireat", -3, flags::WRITE | flags::FAST, Route::Keys(Multi::Never), Run::Data(pexpireat))
        .keys(1, 1, 1)
        .specs(&[Spec::at(1, "RW update")])
        .acl(&["keyspace", "write", "fast"])
        .arguments("key unix-time-milliseconds:unix-time [condition(NX | XX | GT | LT)]")
        .doc("generic", "2.6.0", "O(1)", "Set the expiration for a key as a UNIX timestamp specified in milliseconds"),
    Command::new("persist", 2, flags::WRITE | flags::FAST, Route::Keys(Multi::Never), Run::Data(persist))
        .keys(1, 1, 1)
        .specs(&[Spec::at(1, "RW update")])
        .acl(&["keyspace", "write", "fast"])
        .arguments("key")
        .doc("generic", "2.2.0", "O(1)", "Remove the expiration from a key"),
    Command::new("ttl", 2, flags::READONLY | flags::FAST, Route::Keys(Multi::Never), Run::Data(ttl))
        .keys(1, 1, 1)
        .specs(&[Spec::at(1, "RO access")])
        .acl(&["keyspace", "read", "fast"])
        .tips(&["nondeterministic_output"])
        .arguments("key")
        .doc("generic", "1.0.0", "O(1)", "Get the time to live for a key in seconds"),
    Command::new("pttl", 2, flags::READONLY | flags::FAST, Route::Keys(Multi::Never), Run::Data(pttl))
        .keys(1, 1, 1)
        .specs(&[Spec::at(1, "RO access")])
        .acl(&["keyspace", "read", "fast"])
        .tips(&["nondeterministic_output"])
        .arguments("key")
        .doc("generic", "2.6.0", "O(1)", "Get the time to live for a key in milliseconds"),
    Command::new("expiretime", 2, flags::READONLY | flags::FAST, Route::Keys(Multi::Never), Run::Data(expiretime))
        .keys(1, 1, 1)
        .specs(&[Spec::at(1, "RO access")])
        .acl(&["keyspace", "read", "fast"])
        .arguments("key")
        .doc("generic", "7.0.0", "O(1)", "Get the expiration Unix timestamp for a key"),
    Command::new("pexpiretime", 2, flags::READONLY | flags::FAST, Route::Keys(Multi::Never), Run::Data(pexpiretime))
        .keys(1, 1, 1)
        .specs(&[Spec::at(1, "RO access")])
        .acl(&["keyspace", "read", "fast"])
        .arguments("key")
        .doc("generic", "7.0.0", "O(1)", "Get the expiration Unix timestamp for a key in milliseconds"),
];

/// EXPIRE key seconds [NX | XX | GT | LT]
fn expire(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    expire_by(ctx, args, Unit::Seconds, false, "expire");
}

/// PEXPIRE key milliseconds [NX | XX | GT | LT]
fn pexpire(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    expire_by(ctx, args, Unit::Milliseconds, false, "pexpire");
}

/// EXPIREAT key unix-time-seconds [NX | XX | GT | LT]
fn expireat(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    expire_by(ctx, args, Unit::Seconds, true, "expireat");
}

/// PEXPIREAT key unix-time-milliseconds [NX | XX | GT | LT]
fn pexpireat(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    expire_by(ctx, args, Unit::Milliseconds, true, "pexpireat");
}

fn expire_by(ctx: &mut Ctx<'_>, args: &[&[u8]], unit: Unit, absolute: bool, command: &str) {
    answer(ctx, |ctx| {
        let condition = Condition::parse(&args[3..])?;
        let at =
            time_ms(integer(args[2])?, unit, if absolute { 0 } else { ctx.now_ms }).ok_or_else(|| invalid_expire(command))?;
        let entry = ctx.find(args[1]);
        let holds = entry.is_some_and(|entry| condition.holds(ctx.keyspace.expire_at_ms(entry), at));
        if let (Some(entry), true) = (entry, holds) {
            expire_entry(ctx, entry, args[1], at);
        }
        ctx.reply.integer(holds as i64);
        Ok(())
    });
}

/// Unlike SET's, this time may be zero or negative: the key is deleted then.
fn time_ms(value: i64, unit: Unit, base_ms: i64) -> Option<i64> {
    let value = if unit == Unit::Seconds { value.checked_mul(1000)? } else { value };
    value.checked_add(base_ms)
}

#[derive(Default)]
struct Condition {
    not_exists: bool,
    exists: bool,
    greater: bool,
    less: bool,
}

impl Condition {
    fn parse(words: &[&[u8]]) -> Result<Condition, Failure> {
        let mut condition = Condition::default();
        for word in words {
            let option = match () {
                () if is(word, "NX") => &mut condition.not_exists,
                () if is(word, "XX") => &mut condition.exists,
                () if is(word, "GT") => &mut condition.greater,
                () if is(word, "LT") => &mut condition.less,
                () => return Err(format!("ERR Unsupported option {}", String::from_utf8_lossy(word)).into()),
            };
            *option = true;
        }
        if condition.not_exists && (condition.exists || condition.greater || condition.less) {
            return Err("ERR NX and XX, GT or LT options at the same time are not compatible".into());
        }
        if condition.greater && condition.less {
            return Err("ERR GT and LT options at the same time are not compatible".into());
        }
        Ok(condition)
    }

    /// A key without expiry counts as one that expires at the end of time.
    fn holds(&self, current: Option<i64>, new: i64) -> bool {
        (!self.not_exists || current.is_none())
            && (!self.exists || current.is_some())
            && (!self.greater || current.is_some_and(|current| new > current))
            && (!self.less || current.is_none_or(|current| new < current))
    }
}

/// Gives an entry an expiry, or deletes it when that is past; states either.
pub fn expire_entry(ctx: &mut Ctx<'_>, entry: Entry, key: &[u8], at_ms: i64) {
    if at_ms <= ctx.now_ms && !ctx.replaying {
        ctx.keyspace.remove(entry);
        ctx.effect(&[b"DEL", key]);
        return ctx.notify(EventClasses::GENERIC, "del", key);
    }
    ctx.keyspace.set_expire(entry, Some(at_ms));
    ctx.effect(&[b"PEXPIREAT", key, NumberText::new(at_ms).bytes()]);
    ctx.notify(EventClasses::GENERIC, "expire", key);
}

/// Takes an entry's expiry away and states it; false when there is none.
pub fn persist_entry(ctx: &mut Ctx<'_>, entry: Entry, key: &[u8]) -> bool {
    let had_expiry = ctx.keyspace.expire_at_ms(entry).is_some();
    if had_expiry {
        ctx.keyspace.set_expire(entry, None);
        ctx.effect(&[b"PERSIST", key]);
        ctx.notify(EventClasses::GENERIC, "persist", key);
    }
    had_expiry
}

/// PERSIST key
fn persist(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    let persisted = match ctx.find(args[1]) {
        Some(entry) => persist_entry(ctx, entry, args[1]),
        None => false,
    };
    ctx.reply.integer(persisted as i64);
}

/// TTL key
fn ttl(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    reply_expiry(ctx, args, |at, now| rounded_seconds((at - now).max(0)));
}

/// PTTL key
fn pttl(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    reply_expiry(ctx, args, |at, now| (at - now).max(0));
}

/// EXPIRETIME key
fn expiretime(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    reply_expiry(ctx, args, |at, _| rounded_seconds(at));
}

/// PEXPIRETIME key
fn pexpiretime(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    reply_expiry(ctx, args, |at, _| at);
}

fn rounded_seconds(ms: i64) -> i64 {
    ms.saturating_add(500) / 1000
}

/// -2: no such key. -1: no expiry.
fn reply_expiry(ctx: &mut Ctx<'_>, args: &[&[u8]], shown: fn(at_ms: i64, now_ms: i64) -> i64) {
    let answer = match ctx.read(args[1]) {
        None => -2,
        Some(entry) => ctx.keyspace.expire_at_ms(entry).map_or(-1, |at| shown(at, ctx.now_ms)),
    };
    ctx.reply.integer(answer);
}
