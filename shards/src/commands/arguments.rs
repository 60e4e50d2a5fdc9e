//! What handlers share: reading arguments, Redis's error texts, answering with an error.

use super::context::Ctx;
use super::events::EventClasses;
use crate::keyspace::Entry;
use crate::resp::{INTEGER_TEXT_MAX, Reply, integer_text, parse_integer};
use crate::types::{Str, Typed, Value};
use std::borrow::Cow;

/// An error reply with its code in front.
pub type Failure = Cow<'static, str>;

pub const SYNTAX: Failure = Cow::Borrowed("ERR syntax error");
pub const NOT_INTEGER: Failure = Cow::Borrowed("ERR value is not an integer or out of range");
pub const NOT_FLOAT: Failure = Cow::Borrowed("ERR value is not a valid float");
pub const WRONG_TYPE: Failure = Cow::Borrowed("WRONGTYPE Operation against a key holding the wrong kind of value");
pub const NO_SUCH_KEY: Failure = Cow::Borrowed("ERR no such key");
pub const TOO_LONG: Failure = Cow::Borrowed("ERR string exceeds maximum allowed size (proto-max-bulk-len)");
pub const DB_OUT_OF_RANGE: Failure = Cow::Borrowed("ERR DB index is out of range");

/// Longest string value that a command may build (`proto-max-bulk-len` at its default). Replay obeys the log instead.
pub const STRING_LEN_MAX: usize = 512 * 1024 * 1024;

/// Runs `body`, which writes its reply on success; on failure writes the error.
#[inline]
pub fn answer<'a>(ctx: &mut Ctx<'a>, body: impl FnOnce(&mut Ctx<'a>) -> Result<(), Failure>) {
    if let Err(failure) = body(ctx) {
        ctx.reply.error(&failure);
    }
}

pub fn integer(text: &[u8]) -> Result<i64, Failure> {
    parse_integer(text).ok_or(NOT_INTEGER)
}

/// Whether an option's word is this one (given in upper case).
pub fn is(word: &[u8], option: &str) -> bool {
    word.eq_ignore_ascii_case(option.as_bytes())
}

/// The number of a database that exists.
pub fn db_index(value: i64, databases: u16) -> Result<u16, Failure> {
    u16::try_from(value).ok().filter(|&db| db < databases).ok_or(DB_OUT_OF_RANGE)
}

/// A string value's length must stay below the limit.
pub fn check_string_len(ctx: &Ctx<'_>, size: usize, more: usize) -> Result<(), Failure> {
    let fits = ctx.replaying || size.checked_add(more).is_some_and(|total| total <= STRING_LEN_MAX);
    if fits { Ok(()) } else { Err(TOO_LONG) }
}

/// The key's entry when it holds a value of this type; None when there is no key. Counts no hit and no miss.
pub fn find_typed<T: Typed>(ctx: &mut Ctx<'_>, key: &[u8]) -> Result<Option<Entry>, Failure> {
    let entry = ctx.find(key);
    of_type::<T>(ctx, entry)
}

/// As `find_typed`, and counts a hit or a miss.
pub fn read_typed<T: Typed>(ctx: &mut Ctx<'_>, key: &[u8]) -> Result<Option<Entry>, Failure> {
    let entry = ctx.read(key);
    of_type::<T>(ctx, entry)
}

fn of_type<T: Typed>(ctx: &Ctx<'_>, entry: Option<Entry>) -> Result<Option<Entry>, Failure> {
    match entry {
        Some(found) if T::of(ctx.keyspace.value(found)).is_none() => Err(WRONG_TYPE),
        entry => Ok(entry),
    }
}

/// The value of an entry that `find_typed` or `read_typed` gave.
pub fn typed<'c, T: Typed>(ctx: &'c Ctx<'_>, entry: Entry) -> &'c T {
    T::of(ctx.keyspace.value(entry)).expect("the entry was checked to hold this type")
}

/// The same, to be changed. Counts as a change: ask only when it will be changed.
pub fn typed_mut<'c, T: Typed>(ctx: &'c mut Ctx<'_>, entry: Entry) -> &'c mut T {
    T::of_mut(ctx.keyspace.value_mut(entry)).expect("the entry was checked to hold this type")
}

/// The value of `entry`, or of a new key with `new` in it, to be changed.
pub fn typed_to_change<'c, T: Typed>(
    ctx: &'c mut Ctx<'_>,
    key: &[u8],
    entry: Option<Entry>,
    new: impl FnOnce() -> T,
) -> &'c mut T {
    let entry = entry.unwrap_or_else(|| {
        ctx.put(key, new().into_value(), None);
        ctx.keyspace.find(ctx.db, key).expect("it was just put there")
    });
    typed_mut(ctx, entry)
}

/// Removes an entry whose collection has become empty. States nothing: replaying what emptied it removes it too.
pub fn remove_emptied(ctx: &mut Ctx<'_>, key: &[u8], entry: Entry) {
    ctx.keyspace.remove(entry);
    ctx.notify(EventClasses::GENERIC, "del", key);
}

pub fn find_string(ctx: &mut Ctx<'_>, key: &[u8]) -> Result<Option<Entry>, Failure> {
    find_typed::<Str>(ctx, key)
}

pub fn read_string(ctx: &mut Ctx<'_>, key: &[u8]) -> Result<Option<Entry>, Failure> {
    read_typed::<Str>(ctx, key)
}

pub fn string_at<'c>(ctx: &'c Ctx<'_>, entry: Entry) -> &'c Str {
    typed(ctx, entry)
}

pub fn string_at_mut<'c>(ctx: &'c mut Ctx<'_>, entry: Entry) -> &'c mut Str {
    typed_mut(ctx, entry)
}

/// Answers the string of an entry as a bulk string, without copying a big value first.
pub fn reply_string(ctx: &mut Ctx<'_>, entry: Entry) {
    let string = ctx.keyspace.value(entry).as_str().expect("the entry was checked to hold a string");
    ctx.reply.bulk_header(string.len());
    let out = &mut *ctx.reply.out;
    string.pieces(|piece| out.extend_from_slice(piece));
    ctx.reply.bulk_end();
}

/// Sets a string whatever the key holds.
pub fn put_string(ctx: &mut Ctx<'_>, key: &[u8], bytes: &[u8], expire_at_ms: Option<i64>) {
    ctx.put(key, Value::Str(Str::new(bytes)), expire_at_ms);
}

/// A number as an argument of an effect.
pub struct NumberText {
    buffer: [u8; INTEGER_TEXT_MAX],
    start: usize,
}

impl NumberText {
    pub fn new(value: i64) -> NumberText {
        let mut buffer = [0; INTEGER_TEXT_MAX];
        let start = INTEGER_TEXT_MAX - integer_text(value, &mut buffer).len();
        NumberText { buffer, start }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..]
    }
}

/// The string of `entry`, or of a new empty key, to be written into.
pub fn string_to_change<'c>(ctx: &'c mut Ctx<'_>, key: &[u8], entry: Option<Entry>) -> &'c mut Str {
    let entry = entry.unwrap_or_else(|| {
        put_string(ctx, key, b"", None);
        ctx.keyspace.find(ctx.db, key).expect("it was just put there")
    });
    string_at_mut(ctx, entry)
}

/// Redis makes a string raw before it looks whether there is anything to write; OBJECT ENCODING tells.
pub fn make_raw(ctx: &mut Ctx<'_>, entry: Option<Entry>) {
    if let Some(entry) = entry.filter(|&entry| string_at(ctx, entry).encoding_name() != "raw") {
        ctx.keyspace.reform(entry, |value| value.as_str_mut().expect("the entry was checked to hold a string").make_raw());
    }
}

/// An integer that must fit 32 bits (numbers of databases).
pub fn integer_32(text: &[u8]) -> Result<i64, Failure> {
    let value = integer(text)?;
    match i32::try_from(value) {
        Ok(_) => Ok(value),
        Err(_) => Err(format!("ERR value is out of range, value must between {} and {}", i32::MIN, i32::MAX).into()),
    }
}

/// The answer of a container's HELP sub-command. `name`: as the client calls the container.
pub fn reply_help(reply: &mut Reply<'_>, name: &[u8], lines: &[&str]) {
    reply.array(lines.len() + 3);
    let name = String::from_utf8_lossy(name).to_uppercase();
    reply.simple(&format!("{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    for line in lines.iter().chain(&["HELP", "    Prints this help."]) {
        reply.simple(line);
    }
}
