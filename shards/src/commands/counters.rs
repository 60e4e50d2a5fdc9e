//! Strings as numbers: INCR and its relatives.

use super::arguments::{Failure, NOT_FLOAT, NOT_INTEGER, NumberText, answer, find_string, integer, string_at, string_at_mut};
use super::context::Ctx;
use super::events::EventClasses;
use super::long_double::LongDouble;
use super::table::{Command, Multi, Route, Run, Spec, flags};
use crate::types::{Str, Value};

pub static COMMANDS: &[Command] = &[
    Command::new("incr", 2, flags::WRITE | flags::DENYOOM | flags::FAST, Route::Keys(Multi::Never), Run::Data(incr))
        .keys(1, 1, 1)
        .specs(&[Spec::at(1, "RW access update")])
        .acl(&["write", "string", "fast"])
        .arguments("key")
        .doc("string", "1.0.0", "O(1)", "Increment the integer value of a key by one"),
    Command::new("decr", 2, flags::WRITE | flags::DENYOOM | flags::FAST, Route::Keys(Multi::Never), Run::Data(decr))
        .keys(1, 1, 1)
        .specs(&[Spec::at(1, "RW access update")])
        .acl(&["write", "string", "fast"])
        .arguments("key")
        .doc("string", "1.0.0", "O(1)", "Decrement the integer value of a key by one"),
    Command::new("incrby", 3, flags::WRITE | flags::DENYOOM | flags::FAST, Route::Keys(Multi::Never), Run::Data(incrby))
        .keys(1, 1, 1)
        .specs(&[Spec::at(1, "RW access update")])
        .acl(&["write", "string", "fast"])
        .arguments("key increment:integer")
        .doc("string", "1.0.0", "O(1)", "Increment the integer value of a key by the given amount"),
    Command::new("decrby", 3, flags::WRITE | flags::DENYOOM | flags::FAST, Route::Keys(Multi::Never), Run::Data(decrby))
        .keys(1, 1, 1)
        .specs(&[Spec::at(1, "RW access update")])
        .acl(&["write", "string", "fast"])
        .arguments("key decrement:integer")
        .doc("string", "1.0.0", "O(1)", "Decrement the integer value of a key by the given number"),
    Command::new(
        "incrbyfloat",
        3,
        flags::WRITE | flags::DENYOOM | flags::FAST,
        Route::Keys(Multi::Never),
        Run::Data(incrbyfloat),
    )
    .keys(1, 1, 1)
    .specs(&[Spec::at(1, "RW access update")])
    .acl(&["write", "string", "fast"])
    .arguments("key increment:double")
    .doc("string", "2.6.0", "O(1)", "Increment the float value of a key by the given amount"),
];

/// INCR key
fn incr(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| add(ctx, args[1], 1));
}

/// DECR key
fn decr(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| add(ctx, args[1], -1));
}

/// INCRBY key increment
fn incrby(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| add(ctx, args[1], integer(args[2])?));
}

/// DECRBY key decrement
fn decrby(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let decrement = integer(args[2])?;
        let increment = decrement.checked_neg().ok_or("ERR decrement would overflow")?;
        add(ctx, args[1], increment)
    });
}

fn add(ctx: &mut Ctx<'_>, key: &[u8], increment: i64) -> Result<(), Failure> {
    let entry = find_string(ctx, key)?;
    let old = match entry {
        Some(entry) => string_at(ctx, entry).as_i64().ok_or(NOT_INTEGER)?,
        None => 0,
    };
    let sum = old.checked_add(increment).ok_or("ERR increment or decrement would overflow")?;
    match entry {
        Some(entry) => *string_at_mut(ctx, entry) = Str::from_i64(sum),
        None => ctx.put(key, Value::Str(Str::from_i64(sum)), None),
    }
    ctx.effect(&[b"INCRBY", key, NumberText::new(increment).bytes()]);
    ctx.notify(EventClasses::STRING, "incrby", key);
    ctx.reply.integer(sum);
    Ok(())
}

/// INCRBYFLOAT key increment: in the long double arithmetic that Redis uses on x86, see `long_double`.
fn incrbyfloat(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let key = args[1];
        let entry = find_string(ctx, key)?;
        let old = match entry {
            Some(entry) => LongDouble::parse(&string_at(ctx, entry).bytes()).ok_or(NOT_FLOAT)?,
            None => LongDouble::ZERO,
        };
        let increment = LongDouble::parse(args[2]).ok_or(NOT_FLOAT)?;
        let sum = old.add(increment).ok_or("ERR increment would produce NaN or Infinity")?;
        let text = sum.text();
        match entry {
            Some(entry) => *string_at_mut(ctx, entry) = Str::from_bytes(text.as_bytes()),
            None => ctx.put(key, Value::Str(Str::from_bytes(text.as_bytes())), None),
        }
        // The result, not the increment: another machine's arithmetic must not change it.
        ctx.effect(&[b"SET", key, text.as_bytes(), b"KEEPTTL"]);
        ctx.notify(EventClasses::STRING, "incrbyfloat", key);
        ctx.reply.bulk(text.as_bytes());
        Ok(())
    });
}
