//! A key's value as an object: OBJECT, DUMP, RESTORE.

use super::arguments::{Failure, NumberText, SYNTAX, answer, integer, is, reply_help};
use super::context::Ctx;
use super::events::EventClasses;
use super::keys::delete_even_expired;
use super::table::{Command, Home, Multi, Route, Run, Spec, flags};
use crate::rdb::dump::RestoreError;
use crate::rdb::values::{VERSION_ALL, encode_value};
use crate::rdb::writer::Compression;
use crate::rdb::{dump_value, restore_value};
use crate::types::{Str, Value};

pub static COMMANDS: &[Command] = &[
Command::new("dump", 2, flags::READONLY, Route::Keys(Multi::Never), Run::Data(dump))
.keys(1, 1, 1).specs(&[Spec::at(1, "RO access")]).acl(&["keyspace", "read", "slow"]).tips(&["nondeterministic_output"]).arguments("key")
.doc("generic", "2.6.0", "O(1) to access the key and additional O(N*M) to serialize it, where N is the number of Redis objects composing the value and M their average size. For small string values the time complexity is thus O(1)+O(1*M) where M is small, so simply O(1).", "Return a serialized version of the value stored at the specified key."),
Command::new("restore", -4, flags::WRITE | flags::DENYOOM, Route::Keys(Multi::Never), Run::Data(restore))
.keys(1, 1, 1).specs(&[Spec::at(1, "OW update")]).acl(&["keyspace", "write", "slow", "dangerous"]).arguments("key ttl:integer serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds:integer] [FREQ \
             frequency:integer]")
.doc("generic", "2.6.0", "O(1) to create the new key and additional O(N*M) to reconstruct the serialized value, where N is the number of Redis objects composing the value and M their average size. For small string values the time complexity is thus O(1)+O(1*M) where M is small, so simply O(1). However for sorted set values the complexity is O(N*M*log(N)) because inserting values into sorted sets is O(log(N)).", "Create a key using the provided serialized value, previously obtained using DUMP."),
Command::new("restore-asking", -4, flags::WRITE | flags::DENYOOM | flags::ASKING, Route::Keys(Multi::Never), Run::Data(restore))
    .keys(1, 1, 1)
    .specs(&[Spec::at(1, "OW update")])
    .acl(&["keyspace", "write", "slow", "dangerous"])
    .arguments("key ttl:integer serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds:integer] [FREQ frequency:integer]")
    .doc("server", "3.0.0", "O(1) to create the new key and additional O(N*M) to reconstruct the serialized value, where N is the number of Redis objects composing the value and M their average size. For small string values the time complexity is thus O(1)+O(1*M) where M is small, so simply O(1). However for sorted set values the complexity is O(N*M*log(N)) because inserting values into sorted sets is O(log(N)).", "An internal command for migrating keys in a cluster."),
Command::new("object", -2, 0, Route::Home, Run::Container)
.acl(&["slow"]).doc("generic", "2.2.3", "Depends on subcommand.", "A container for object introspection commands").subcommands(&[Command::new("object|encoding", 3, flags::READONLY, Route::Keys(Multi::Never), Run::Data(encoding))
.keys(2, 2, 1).specs(&[Spec::at(2, "RO")]).acl(&["keyspace", "read", "slow"]).tips(&["nondeterministic_output"]).arguments("key")
.doc("generic", "2.2.3", "O(1)", "Inspect the internal encoding of a Redis object"),
Command::new("object|refcount", 3, flags::READONLY, Route::Keys(Multi::Never), Run::Data(refcount))
.keys(2, 2, 1).specs(&[Spec::at(2, "RO")]).acl(&["keyspace", "read", "slow"]).tips(&["nondeterministic_output"]).arguments("key")
.doc("generic", "2.2.3", "O(1)", "Get the number of references to the value of the key"),
Command::new("object|idletime", 3, flags::READONLY, Route::Keys(Multi::Never), Run::Data(idletime))
.keys(2, 2, 1).specs(&[Spec::at(2, "RO")]).acl(&["keyspace", "read", "slow"]).tips(&["nondeterministic_output"]).arguments("key")
.doc("generic", "2.2.3", "O(1)", "Get the time since a Redis object was last accessed"),
Command::new("object|freq", 3, flags::READONLY, Route::Keys(Multi::Never), Run::Data(freq))
.keys(2, 2, 1).specs(&[Spec::at(2, "RO")]).acl(&["keyspace", "read", "slow"]).tips(&["nondeterministic_output"]).arguments("key")
.doc("generic", "4.0.0", "O(1)", "Get the logarithmic access frequency counter of a Redis object"),
Command::new("object|help", 2, flags::LOADING | flags::STALE, Route::Home, Run::Home(help))
.acl(&["keyspace", "slow"]).doc("generic", "6.2.0", "O(1)", "Show helpful text about the different subcommands")])];

/// Not in the table: DEBUG is the server's, but a key can be looked at only where it is.
pub static DEBUG_OBJECT: Command = Command::new(
    "debug",
    3,
    flags::ADMIN | flags::NOSCRIPT | flags::LOADING | flags::STALE,
    Route::Keys(Multi::Never),
    Run::Data(debug_object),
)
.keys(2, 2, 1);

/// DEBUG OBJECT key
fn debug_object(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    let Some(entry) = ctx.find(args[2]) else {
        return ctx.reply.error("ERR no such key");
    };
    let value = ctx.keyspace.value(entry);
    let mut serialized = Vec::new();
    encode_value(&mut serialized, value, VERSION_ALL, Compression::Lzf);
    // Access times aren't kept, so every key was used just now.
    let text = format!(
        "Value at:{:p} refcount:{} encoding:{} serializedlength:{} lru:{} lru_seconds_idle:0",
        std::ptr::from_ref(value),
        references(value),
        value.encoding_name(),
        serialized.len(),
        (ctx.now_ms / 1000) & 0xff_ffff,
    );
    ctx.reply.simple(&text);
}

/// OBJECT ENCODING key
fn encoding(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    with_object(ctx, args, |value| Ok(Answer::Bulk(value.encoding_name())));
}

/// OBJECT REFCOUNT key
fn refcount(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    with_object(ctx, args, |value| Ok(Answer::Integer(references(value))));
}

/// Values aren't shared here; small integers answer as in Redis, where they are.
fn references(value: &Value) -> i64 {
    let integer = value.as_str().filter(|string| string.encoding_name() == "int").and_then(Str::as_i64);
    let shared = integer.is_some_and(|integer| SHARED_INTEGERS.contains(&integer));
    if shared { i32::MAX as i64 } else { 1 }
}

const SHARED_INTEGERS: std::ops::Range<i64> = 0..10_000;

/// OBJECT IDLETIME key: access times aren't kept, so every key was used just now.
fn idletime(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    with_object(ctx, args, |_| Ok(Answer::Integer(0)));
}

/// OBJECT FREQ key
fn freq(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    with_object(ctx, args, |_| {
        Err("ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when \
             switching between policies at runtime LRU and LFU data will take some time to adjust."
            .into())
    });
}

enum Answer {
    Integer(i64),
    Bulk(&'static str),
}

/// Answers null when there is no such key. Looking at a key counts as no use of it, neither hit nor miss.
fn with_object(ctx: &mut Ctx<'_>, args: &[&[u8]], describe: fn(&Value) -> Result<Answer, Failure>) {
    let Some(entry) = ctx.find(args[2]) else {
        return ctx.reply.null();
    };
    match describe(ctx.keyspace.value(entry)) {
        Ok(Answer::Integer(value)) => ctx.reply.integer(value),
        Ok(Answer::Bulk(text)) => ctx.reply.bulk(text.as_bytes()),
        Err(failure) => ctx.reply.error(&failure),
    }
}

/// OBJECT HELP
fn help(home: &mut Home<'_>, args: &[&[u8]]) {
    reply_help(
        &mut home.reply,
        args[0],
        &[
            "ENCODING <key>",
            "    Return the kind of internal representation used in order to store the value",
            "    associated with a <key>.",
            "FREQ <key>",
            "    Return the access frequency index of the <key>. The returned integer is",
            "    proportional to the logarithm of the recent access frequency of the key.",
            "IDLETIME <key>",
            "    Return the idle time of the <key>, that is the approximated number of",
            "    seconds elapsed since the last access to the key.",
            "REFCOUNT <key>",
            "    Return the number of references of the value associated with the specified",
            "    <key>.",
        ],
    );
}

/// DUMP key
fn dump(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    match ctx.read(args[1]) {
        None => ctx.reply.null(),
        Some(entry) => {
            let payload = dump_value(ctx.keyspace.value(entry));
            ctx.reply.bulk(&payload);
        }
    }
}

/// RESTORE key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]
fn restore(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let (key, payload) = (args[1], args[3]);
        let options = RestoreOptions::parse(&args[4..])?;
        if !options.replace && ctx.find(key).is_some() {
            return Err("BUSYKEY Target key name already exists.".into());
        }
        let ttl = integer(args[2])?;
        if ttl < 0 {
            return Err("ERR Invalid TTL value, must be >= 0".into());
        }
        let value = restore_value(payload, ctx.keyspace.limits()).map_err(|error| match error {
            RestoreError::VersionOrChecksum => "ERR DUMP payload version or checksum are wrong",
            RestoreError::BadFormat => "ERR Bad data format",
        })?;
        let expire_at_ms = match ttl {
            0 => None,
            at if options.absolute => Some(at),
            // As Redis: a sum beyond 64 bits wraps into the past, and the key is expired already.
            ms => Some(ms.wrapping_add(ctx.now_ms)),
        };
        restore_key(ctx, key, value, payload, expire_at_ms);
        ctx.reply.ok();
        Ok(())
    });
}

fn restore_key(ctx: &mut Ctx<'_>, key: &[u8], value: Value, payload: &[u8], expire_at_ms: Option<i64>) {
    if !ctx.replaying && expire_at_ms.is_some_and(|at| at <= ctx.now_ms) {
        delete_even_expired(ctx, key);
        return;
    }
    ctx.keyspace.insert(ctx.db, key, value, expire_at_ms);
    let ttl = NumberText::new(expire_at_ms.unwrap_or(0));
    ctx.effect(&[b"RESTORE", key, ttl.bytes(), payload, b"REPLACE", b"ABSTTL"]);
    // A key that is replaced goes, and another one of its name comes.
    ctx.notify(EventClasses::NEW, "new", key);
    ctx.notify(EventClasses::GENERIC, "restore", key);
}

#[derive(Default)]
struct RestoreOptions {
    replace: bool,
    absolute: bool,
}

impl RestoreOptions {
    /// IDLETIME and FREQ are checked and have no effect: access times aren't kept.
    fn parse(words: &[&[u8]]) -> Result<RestoreOptions, Failure> {
        let mut options = RestoreOptions::default();
        let (mut idle, mut freq) = (false, false);
        let mut rest = words.iter();
        while let Some(word) = rest.next() {
            match () {
                () if is(word, "REPLACE") => options.replace = true,
                () if is(word, "ABSTTL") => options.absolute = true,
                () if is(word, "IDLETIME") && !freq => {
                    idle = true;
                    if integer(rest.next().ok_or(SYNTAX)?)? < 0 {
                        return Err("ERR Invalid IDLETIME value, must be >= 0".into());
                    }
                }
                () if is(word, "FREQ") && !idle => {
                    freq = true;
                    if !(0..=255).contains(&integer(rest.next().ok_or(SYNTAX)?)?) {
                        return Err("ERR Invalid FREQ value, must be >= 0 and <= 255".into());
                    }
                }
                () => return Err(SYNTAX),
            }
        }
        Ok(options)
    }
}
