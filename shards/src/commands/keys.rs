//! Keys of any type: DEL, EXISTS, TYPE, RENAME, COPY, MOVE and their relatives.

use super::arguments::{Failure, NO_SUCH_KEY, NumberText, SYNTAX, answer, db_index, integer_32, is};
use super::context::Ctx;
use super::events::EventClasses;
use super::table::{Command, Merge, Multi, Route, Run, Spec, flags};
use crate::ids::DbIndex;
use crate::rdb::dump_value;
use crate::types::Value;

pub static COMMANDS: &[Command] = &[
Command::new("del", -2, flags::WRITE, Route::Keys(Multi::Split(Merge::Sum)), Run::Data(del))
.keys(1, -1, 1).specs(&[Spec::range(1, -1, 1, "RM delete")]).acl(&["keyspace", "write", "slow"]).tips(&["request_policy:multi_shard", "response_policy:agg_sum"]).arguments("key...")
.doc("generic", "1.0.0", "O(N) where N is the number of keys that will be removed. When a key to remove holds a value other than a string, the individual complexity for this key is O(M) where M is the number of elements in the list, set, sorted set or hash. Removing a single key that holds a string value is O(1).", "Delete a key"),
Command::new("unlink", -2, flags::WRITE | flags::FAST, Route::Keys(Multi::Split(Merge::Sum)), Run::Data(unlink))
.keys(1, -1, 1).specs(&[Spec::range(1, -1, 1, "RM delete")]).acl(&["keyspace", "write", "fast"]).tips(&["request_policy:multi_shard", "response_policy:agg_sum"]).arguments("key...")
.doc("generic", "4.0.0", "O(1) for each key removed regardless of its size. Then the command does O(N) work in a different thread in order to reclaim memory, where N is the number of allocations the deleted objects where composed of.", "Delete a key asynchronously in another thread. Otherwise it is just as DEL, but non blocking."),
Command::new("exists", -2, flags::READONLY | flags::FAST, Route::Keys(Multi::Split(Merge::Sum)), Run::Data(exists))
.keys(1, -1, 1).specs(&[Spec::range(1, -1, 1, "RO")]).acl(&["keyspace", "read", "fast"]).tips(&["request_policy:multi_shard", "response_policy:agg_sum"]).arguments("key...")
.doc("generic", "1.0.0", "O(N) where N is the number of keys to check.", "Determine if a key exists"),
Command::new("touch", -2, flags::READONLY | flags::FAST, Route::Keys(Multi::Split(Merge::Sum)), Run::Data(touch))
.keys(1, -1, 1).specs(&[Spec::range(1, -1, 1, "RO")]).acl(&["keyspace", "read", "fast"]).tips(&["request_policy:multi_shard", "response_policy:agg_sum"]).arguments("key...")
.doc("generic", "3.2.1", "O(N) where N is the number of keys that will be touched.", "Alters the last access time of a key(s). Returns the number of existing keys specified."),
Command::new("type", 2, flags::READONLY | flags::FAST, Route::Keys(Multi::Never), Run::Data(type_of))
.keys(1, 1, 1).specs(&[Spec::at(1, "RO")]).acl(&["keyspace", "read", "fast"]).arguments("key")
.doc("generic", "1.0.0", "O(1)", "Determine the type stored at key"),
Command::new("rename", 3, flags::WRITE, Route::Keys(Multi::Gather), Run::Data(rename))
.keys(1, 2, 1).specs(&[Spec::at(1, "RW access delete"), Spec::at(2, "OW update")]).acl(&["keyspace", "write", "slow"]).arguments("key newkey:key")
.doc("generic", "1.0.0", "O(1)", "Rename a key"),
Command::new("renamenx", 3, flags::WRITE | flags::FAST, Route::Keys(Multi::Gather), Run::Data(renamenx))
.keys(1, 2, 1).specs(&[Spec::at(1, "RW access delete"), Spec::at(2, "OW insert")]).acl(&["keyspace", "write", "fast"]).arguments("key newkey:key")
.doc("generic", "1.0.0", "O(1)", "Rename a key, only if the new key does not exist"),
Command::new("copy", -3, flags::WRITE | flags::DENYOOM, Route::Keys(Multi::Gather), Run::Data(copy))
.keys(1, 2, 1).specs(&[Spec::at(1, "RO access"), Spec::at(2, "OW update")]).acl(&["keyspace", "write", "slow"]).arguments("source:key destination:key [DB destination-db:integer] [REPLACE]")
.doc("generic", "6.2.0", "O(N) worst case for collections, where N is the number of nested items. O(1) for string values.", "Copy a key"),
Command::new("move", 3, flags::WRITE | flags::FAST, Route::Keys(Multi::Never), Run::Data(move_key))
.keys(1, 1, 1).specs(&[Spec::at(1, "RW access update")]).acl(&["keyspace", "write", "fast"]).arguments("key db:integer")
.doc("generic", "1.0.0", "O(1)", "Move a key to another database")];

/// DEL key [key …]
fn del(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    let deleted = args[1..].iter().filter(|key| delete(ctx, key)).count();
    ctx.reply.integer(deleted as i64);
}

/// UNLINK key [key …]: DEL; here every big value is freed in steps anyway.
fn unlink(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    del(ctx, args);
}

/// Deletes a key and states it; false when there is none.
pub fn delete(ctx: &mut Ctx<'_>, key: &[u8]) -> bool {
    ctx.find(key).is_some() && delete_even_expired(ctx, key)
}

/// As `delete`, but of a key that has expired it tells the same: what commands do to their destination when the result is empty.
pub fn delete_even_expired(ctx: &mut Ctx<'_>, key: &[u8]) -> bool {
    let found = ctx.keyspace.find(ctx.db, key);
    if let Some(entry) = found {
        ctx.keyspace.remove(entry);
        ctx.effect(&[b"DEL", key]);
        ctx.notify(EventClasses::GENERIC, "del", key);
    }
    found.is_some()
}

/// EXISTS key [key …]: a key named twice counts twice.
fn exists(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    let found = args[1..].iter().filter(|key| ctx.read(key).is_some()).count();
    ctx.reply.integer(found as i64);
}

/// TOUCH key [key …]
fn touch(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    exists(ctx, args);
}

/// TYPE key
fn type_of(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    let name = ctx.read(args[1]).map_or("none", |entry| ctx.keyspace.value(entry).type_name());
    ctx.reply.simple(name);
}

/// RENAME key newkey
fn rename(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        rename_key(ctx, args[1], args[2], true)?;
        ctx.reply.ok();
        Ok(())
    });
}

/// RENAMENX key newkey
fn renamenx(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let renamed = rename_key(ctx, args[1], args[2], false)?;
        ctx.reply.integer(renamed as i64);
        Ok(())
    });
}

/// False: `to` exists and must not be replaced, or is the same key. The expiry goes along.
fn rename_key(ctx: &mut Ctx<'_>, from: &[u8], to: &[u8], replace: bool) -> Result<bool, Failure> {
    ctx.find(from).ok_or(NO_SUCH_KEY)?;
    if from == to || (ctx.find(to).is_some() && !replace) {
        return Ok(false);
    }
    // Looked up again: deleting an expired `to` may have moved the entry.
    let entry = ctx.find(from).ok_or(NO_SUCH_KEY)?;
    let (value, expire_at_ms) = ctx.keyspace.take(entry);
    if ctx.gathered {
        // The two keys belong to different shards: each gets an effect that needs no other key.
        ctx.effect(&[b"DEL", from]);
        restore_effect(ctx, ctx.db, to, &value, expire_at_ms);
    } else {
        ctx.effect(&[b"RENAME", from, to]);
    }
    ctx.keyspace.insert(ctx.db, to, value, expire_at_ms);
    // A key that is replaced goes, and another one of its name comes.
    ctx.notify(EventClasses::NEW, "new", to);
    ctx.notify(EventClasses::GENERIC, "rename_from", from);
    ctx.notify(EventClasses::GENERIC, "rename_to", to);
    Ok(true)
}

/// States a key's whole value, so that replay needs no other key.
pub fn restore_effect(ctx: &mut Ctx<'_>, db: DbIndex, key: &[u8], value: &Value, expire_at_ms: Option<i64>) {
    let ttl = NumberText::new(expire_at_ms.unwrap_or(0));
    let payload = dump_value(value);
    ctx.effects.push(db, &[b"RESTORE", key, ttl.bytes(), &payload, b"REPLACE", b"ABSTTL"]);
}

/// COPY source destination [DB destination-db] [REPLACE]
fn copy(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let (from, to) = (args[1], args[2]);
        let (to_db, replace) = copy_options(ctx, &args[3..])?;
        if to_db == ctx.db && from == to {
            return Err(SAME_OBJECT);
        }
        let copied = copy_key(ctx, from, to, to_db, replace);
        ctx.reply.integer(copied as i64);
        Ok(())
    });
}

const SAME_OBJECT: Failure = Failure::Borrowed("ERR source and destination objects are the same");

fn copy_options(ctx: &Ctx<'_>, words: &[&[u8]]) -> Result<(DbIndex, bool), Failure> {
    let (mut to_db, mut replace) = (ctx.db, false);
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        if is(word, "REPLACE") {
            replace = true;
        } else if is(word, "DB") {
            let number = integer_32(rest.next().ok_or(SYNTAX)?)?;
            to_db = db_index(number, ctx.keyspace.databases())?;
        } else {
            return Err(SYNTAX);
        }
    }
    Ok((to_db, replace))
}

fn copy_key(ctx: &mut Ctx<'_>, from: &[u8], to: &[u8], to_db: DbIndex, replace: bool) -> bool {
    if ctx.read(from).is_none() || (ctx.find_in(to_db, to).is_some() && !replace) {
        return false;
    }
    // Looked up again: deleting an expired `to` may have moved the entry.
    let Some(entry) = ctx.find(from) else { return false };
    let (value, expire_at_ms) = (ctx.keyspace.value(entry).clone(), ctx.keyspace.expire_at_ms(entry));
    if ctx.gathered {
        restore_effect(ctx, to_db, to, &value, expire_at_ms);
    } else {
        ctx.effect(&[b"COPY", from, to, b"DB", NumberText::new(to_db as i64).bytes(), b"REPLACE"]);
    }
    ctx.keyspace.insert(to_db, to, value, expire_at_ms);
    ctx.effects.notify(to_db, EventClasses::NEW, "new", to);
    ctx.effects.notify(to_db, EventClasses::GENERIC, "copy_to", to);
    true
}

/// MOVE key db
fn move_key(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let key = args[1];
        let to_db = db_index(integer_32(args[2])?, ctx.keyspace.databases())?;
        if to_db == ctx.db {
            return Err(SAME_OBJECT);
        }
        let moves = ctx.find(key).is_some() && ctx.find_in(to_db, key).is_none();
        if let (Some(entry), true) = (ctx.find(key), moves) {
            let (value, expire_at_ms) = ctx.keyspace.take(entry);
            ctx.keyspace.insert(to_db, key, value, expire_at_ms);
            ctx.effect(&[b"MOVE", key, args[2]]);
            ctx.effects.notify(to_db, EventClasses::NEW, "new", key);
            ctx.notify(EventClasses::GENERIC, "move_from", key);
            ctx.effects.notify(to_db, EventClasses::GENERIC, "move_to", key);
        }
        ctx.reply.integer(moves as i64);
        Ok(())
    });
}
