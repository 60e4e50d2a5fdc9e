//! Whole strings: SET and its relatives, GET and its relatives, MSET, MGET.

use super::arguments::{Failure, NumberText, SYNTAX, answer, is, put_string, read_string, reply_string};
use super::context::Ctx;
use super::events::EventClasses;
use super::expiry::{expire_entry, persist_entry};
use super::expiry_time::{ExpiryTime, Unit};
use super::lookup::wrong_number;
use super::table::{Command, Merge, Multi, Route, Run, Spec, flags};
use crate::keyspace::Entry;

pub static COMMANDS: &[Command] = &[
    Command::new("set", -3, flags::WRITE | flags::DENYOOM, Route::Keys(Multi::Never), Run::Data(set))
        .keys(1, 1, 1)
        .specs(&[Spec::at(1, "RW access update variable_flags").notes("RW and ACCESS due to the optional `GET` argument")])
        .acl(&["write", "string", "slow"])
        .arguments(
            "key value [condition(NX | XX)] [GET] [expiration(EX seconds:integer | PX milliseconds:integer | \
             EXAT unix-time-seconds:unix-time | PXAT unix-time-milliseconds:unix-time | KEEPTTL)]",
        )
        .doc("string", "1.0.0", "O(1)", "Set the string value of a key"),
    Command::new("setnx", 3, flags::WRITE | flags::DENYOOM | flags::FAST, Route::Keys(Multi::Never), Run::Data(setnx))
        .keys(1, 1, 1)
        .specs(&[Spec::at(1, "OW insert")])
        .acl(&["write", "string", "fast"])
        .arguments("key value")
        .doc("string", "1.0.0", "O(1)", "Set the value of a key, only if the key does not exist"),
    Command::new("setex", 4, flags::WRITE | flags::DENYOOM, Route::Keys(Multi::Never), Run::Data(setex))
        .keys(1, 1, 1)
        .specs(&[Spec::at(1, "OW update")])
        .acl(&["write", "string", "slow"])
        .arguments("key seconds:integer value")
        .doc("string", "2.0.0", "O(1)", "Set the value and expiration of a key"),
    Command::new("psetex", 4, flags::WRITE | flags::DENYOOM, Route::Keys(Multi::Never), Run::Data(psetex))
        .keys(1, 1, 1)
        .specs(&[Spec::at(1, "OW update")])
        .acl(&["write", "string", "slow"])
        .arguments("key milliseconds:integer value")
        .doc("string", "2.6.0", "O(1)", "Set the value and expiration in milliseconds of a key"),
    Command::new("get", 2, flags::READONLY | flags::FAST, Route::Keys(Multi::Never), Run::Data(get))
        .keys(1, 1, 1)
        .specs(&[Spec::at(1, "RO access")])
        .acl(&["read", "string", "fast"])
        .arguments("key")
        .doc("string", "1.0.0", "O(1)", "Get the value of a key"),
    Command::new("getset", 3, flags::WRITE | flags::DENYOOM | flags::FAST, Route::Keys(Multi::Never), Run::Data(getset))
        .keys(1, 1, 1)
        .specs(&[Spec::at(1, "RW access update")])
        .acl(&["write", "string", "fast"])
        .arguments("key value")
        .doc("string", "1.0.0", "O(1)", "Set the string value of a key and return its old value"),
    Command::new("getdel", 2, flags::WRITE | flags::FAST, Route::Keys(Multi::Never), Run::Data(getdel))
        .keys(1, 1, 1)
        .specs(&[Spec::at(1, "RW access delete")])
        .acl(&["write", "string", "fast"])
        .arguments("key")
        .doc("string", "6.2.0", "O(1)", "Get the value of a key and delete the key"),
    Command::new("getex", -2, flags::WRITE | flags::FAST, Route::Keys(Multi::Never), Run::Data(getex))
        .keys(1, 1, 1)
        .specs(&[Spec::at(1, "RW access update").notes("RW and UPDATE because it changes the TTL")])
        .acl(&["write", "string", "fast"])
        .arguments(
            "key [expiration(EX seconds:integer | PX milliseconds:integer | EXAT unix-time-seconds:unix-time \
             | PXAT unix-time-milliseconds:unix-time | PERSIST)]",
        )
        .doc("string", "6.2.0", "O(1)", "Get the value of a key and optionally set its expiration"),
    Command::new("mget", -2, flags::READONLY | flags::FAST, Route::Keys(Multi::Split(Merge::ByKey)), Run::Data(mget))
        .keys(1, -1, 1)
        .specs(&[Spec::range(1, -1, 1, "RO access")])
        .acl(&["read", "string", "fast"])
        .tips(&["request_policy:multi_shard"])
        .arguments("key...")
        .doc("string", "1.0.0", "O(N) where N is the number of keys to retrieve.", "Get the values of all the given keys"),
    Command::new("mset", -3, flags::WRITE | flags::DENYOOM, Route::Keys(Multi::Split(Merge::First)), Run::Data(mset))
        .keys(1, -1, 2)
        .specs(&[Spec::range(1, -1, 2, "OW update")])
        .acl(&["write", "string", "slow"])
        .tips(&["request_policy:multi_shard", "response_policy:all_succeeded"])
        .arguments("data(key value)...")
        .doc("string", "1.0.1", "O(N) where N is the number of keys to set.", "Set multiple keys to multiple values"),
    Command::new("msetnx", -3, flags::WRITE | flags::DENYOOM, Route::Keys(Multi::Gather), Run::Data(msetnx))
        .keys(1, -1, 2)
        .specs(&[Spec::range(1, -1, 2, "OW insert")])
        .acl(&["write", "string", "slow"])
        .tips(&["request_policy:multi_shard", "response_policy:agg_min"])
        .arguments("data(key value)...")
        .doc(
            "string",
            "1.0.1",
            "O(N) where N is the number of keys to set.",
            "Set multiple keys to multiple values, only if none of the keys exist",
        ),
];

/// Options that SET and GETEX share.
#[derive(Default)]
struct Options<'a> {
    not_exists: bool,
    exists: bool,
    get: bool,
    keep_ttl: bool,
    persist: bool,
    expiry: Option<ExpiryTime<'a>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum For {
    Set,
    GetEx,
}

impl<'a> Options<'a> {
    fn parse(words: &[&'a [u8]], command: For) -> Result<Options<'a>, Failure> {
        let mut options = Options::default();
        let mut rest = words.iter();
        while let Some(word) = rest.next() {
            if !options.flag(word, command) {
                let (unit, absolute) = Unit::of_option(word).ok_or(SYNTAX)?;
                let text = rest.next().ok_or(SYNTAX)?;
                options.set_expiry(ExpiryTime { text, unit, absolute })?;
            }
        }
        Ok(options)
    }

    /// Takes an option without a value; false when the word is none that may stand here.
    fn flag(&mut self, word: &[u8], command: For) -> bool {
        let set = command == For::Set;
        let option = match () {
            () if set && is(word, "NX") && !self.exists => &mut self.not_exists,
            () if set && is(word, "XX") && !self.not_exists => &mut self.exists,
            () if set && is(word, "GET") => &mut self.get,
            () if set && is(word, "KEEPTTL") && self.expiry.is_none() => &mut self.keep_ttl,
            () if !set && is(word, "PERSIST") && self.expiry.is_none() => &mut self.persist,
            () => return false,
        };
        *option = true;
        true
    }

    /// The same expiry option may be repeated (the last one counts), but not mixed with another.
    fn set_expiry(&mut self, expiry: ExpiryTime<'a>) -> Result<(), Failure> {
        let mixed = self.expiry.is_some_and(|old| old.unit != expiry.unit || old.absolute != expiry.absolute);
        if mixed || self.keep_ttl || self.persist {
            return Err(SYNTAX);
        }
        self.expiry = Some(expiry);
        Ok(())
    }
}

/// SET key value [NX | XX] [GET] [EX seconds | PX ms | EXAT unix-s | PXAT unix-ms | KEEPTTL]
fn set(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    // By far the most frequent form: no option to look at, no old value needed.
    if let [_, key, value] = args {
        store(ctx, key, value, None);
        return ctx.reply.ok();
    }
    answer(ctx, |ctx| set_with_options(ctx, args));
}

fn set_with_options(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Failure> {
    let (key, value) = (args[1], args[2]);
    let options = Options::parse(&args[3..], For::Set)?;
    let expire_at_ms = options.expiry.map(|expiry| expiry.at_ms(ctx.now_ms, "set")).transpose()?;
    let old = if options.get { reply_value(ctx, key)? } else { ctx.find(key) };
    if (options.not_exists && old.is_some()) || (options.exists && old.is_none()) {
        if !options.get {
            ctx.reply.null();
        }
        return Ok(());
    }
    if options.keep_ttl {
        store_keeping_ttl(ctx, key, value, old);
    } else {
        store(ctx, key, value, expire_at_ms);
    }
    if !options.get {
        ctx.reply.ok();
    }
    Ok(())
}

/// Sets the key and states it.
fn store(ctx: &mut Ctx<'_>, key: &[u8], value: &[u8], expire_at_ms: Option<i64>) {
    put_string(ctx, key, value, expire_at_ms);
    match expire_at_ms {
        None => ctx.effect(&[b"SET", key, value]),
        Some(at) => ctx.effect(&[b"SET", key, value, b"PXAT", NumberText::new(at).bytes()]),
    }
    ctx.notify(EventClasses::STRING, "set", key);
    if expire_at_ms.is_some() {
        ctx.notify(EventClasses::GENERIC, "expire", key);
    }
}

fn store_keeping_ttl(ctx: &mut Ctx<'_>, key: &[u8], value: &[u8], old: Option<Entry>) {
    let expire_at_ms = old.and_then(|entry| ctx.keyspace.expire_at_ms(entry));
    put_string(ctx, key, value, expire_at_ms);
    ctx.effect(&[b"SET", key, value, b"KEEPTTL"]);
    ctx.notify(EventClasses::STRING, "set", key);
}

/// Answers the key's string or null, and gives its entry.
fn reply_value(ctx: &mut Ctx<'_>, key: &[u8]) -> Result<Option<Entry>, Failure> {
    let entry = read_string(ctx, key)?;
    match entry {
        Some(entry) => reply_string(ctx, entry),
        None => ctx.reply.null(),
    }
    Ok(entry)
}

/// SETNX key value
fn setnx(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    let absent = ctx.find(args[1]).is_none();
    if absent {
        store(ctx, args[1], args[2], None);
    }
    ctx.reply.integer(absent as i64);
}

/// SETEX key seconds value
fn setex(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    set_with_expiry(ctx, args, Unit::Seconds, "setex");
}

/// PSETEX key milliseconds value
fn psetex(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    set_with_expiry(ctx, args, Unit::Milliseconds, "psetex");
}

fn set_with_expiry(ctx: &mut Ctx<'_>, args: &[&[u8]], unit: Unit, command: &str) {
    answer(ctx, |ctx| {
        let at = ExpiryTime { text: args[2], unit, absolute: false }.at_ms(ctx.now_ms, command)?;
        store(ctx, args[1], args[3], Some(at));
        ctx.reply.ok();
        Ok(())
    });
}

/// GET key
fn get(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| reply_value(ctx, args[1]).map(drop));
}

/// GETSET key value
fn getset(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        reply_value(ctx, args[1])?;
        store(ctx, args[1], args[2], None);
        Ok(())
    });
}

/// GETDEL key
fn getdel(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        if let Some(entry) = reply_value(ctx, args[1])? {
            ctx.keyspace.remove(entry);
            ctx.effect(&[b"DEL", args[1]]);
            ctx.notify(EventClasses::GENERIC, "del", args[1]);
        }
        Ok(())
    });
}

/// GETEX key [EX seconds | PX ms | EXAT unix-s | PXAT unix-ms | PERSIST]
fn getex(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let options = Options::parse(&args[2..], For::GetEx)?;
        let Some(entry) = read_string(ctx, args[1])? else {
            ctx.reply.null();
            return Ok(());
        };
        let expire_at_ms = options.expiry.map(|expiry| expiry.at_ms(ctx.now_ms, "getex")).transpose()?;
        reply_string(ctx, entry);
        match expire_at_ms {
            Some(at) => expire_entry(ctx, entry, args[1], at),
            None if options.persist => drop(persist_entry(ctx, entry, args[1])),
            None => {}
        }
        Ok(())
    });
}

/// MGET key [key …]: null for a key that is absent or holds no string.
fn mget(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    ctx.reply.array(args.len() - 1);
    for key in &args[1..] {
        if reply_value(ctx, key).is_err() {
            ctx.reply.null();
        }
    }
}

/// MSET key value [key value …]
fn mset(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        store_pairs(ctx, args, "mset")?;
        ctx.reply.ok();
        Ok(())
    });
}

/// MSETNX key value [key value …]: all, or nothing when one of the keys exists.
fn msetnx(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let mut keys = args[1..].iter().step_by(2);
        let none_exists = args.len().is_multiple_of(2) || keys.all(|key| ctx.find(key).is_none());
        if none_exists {
            store_pairs(ctx, args, "msetnx")?;
        }
        ctx.reply.integer(none_exists as i64);
        Ok(())
    });
}

fn store_pairs(ctx: &mut Ctx<'_>, args: &[&[u8]], command: &str) -> Result<(), Failure> {
    if args.len().is_multiple_of(2) {
        return Err(wrong_number(command).into());
    }
    for pair in args[1..].chunks_exact(2) {
        store(ctx, pair[0], pair[1], None);
    }
    Ok(())
}
