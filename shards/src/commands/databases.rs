//! Whole databases: FLUSHDB, FLUSHALL, SWAPDB, DBSIZE, KEYS; and one shard's part of SCAN and RANDOMKEY.

use super::arguments::{Failure, SYNTAX, answer, db_index, integer, integer_32, is};
use super::context::Ctx;
use super::glob::glob_matches;
use super::table::{Command, EngineCommand, Merge, Route, Run, flags};
use crate::ids::DbIndex;

pub static COMMANDS: &[Command] = &[
Command::new("flushdb", -1, flags::WRITE, Route::All(Merge::First), Run::Data(flushdb))
.acl(&["keyspace", "write", "slow", "dangerous"]).tips(&["request_policy:all_shards", "response_policy:all_succeeded"]).arguments("[flush-type(ASYNC | SYNC)]")
.doc("server", "1.0.0", "O(N) where N is the number of keys in the selected database", "Remove all keys from the current database"),
Command::new("flushall", -1, flags::WRITE, Route::All(Merge::First), Run::Data(flushall))
.acl(&["keyspace", "write", "slow", "dangerous"]).tips(&["request_policy:all_shards", "response_policy:all_succeeded"]).arguments("[flush-type(ASYNC | SYNC)]")
.doc("server", "1.0.0", "O(N) where N is the total number of keys in all databases", "Remove all keys from all databases"),
Command::new("swapdb", 3, flags::WRITE | flags::FAST, Route::All(Merge::First), Run::Data(swapdb))
.acl(&["keyspace", "write", "fast", "dangerous"]).arguments("index1:integer index2:integer")
.doc("server", "4.0.0", "O(N) where N is the count of clients watching or blocking on keys from both databases.", "Swaps two Redis databases"),
Command::new("dbsize", 1, flags::READONLY | flags::FAST, Route::All(Merge::Sum), Run::Data(dbsize))
.acl(&["keyspace", "read", "fast"]).tips(&["request_policy:all_shards", "response_policy:agg_sum"]).doc("server", "1.0.0", "O(1)", "Return the number of keys in the selected database"),
Command::new("keys", 2, flags::READONLY, Route::All(Merge::Concat), Run::Data(keys))
.acl(&["keyspace", "read", "slow", "dangerous"]).tips(&["request_policy:all_shards", "nondeterministic_output_order"]).arguments("pattern")
.doc("generic", "1.0.0", "O(N) with N being the number of keys in the database, under the assumption that the key names in the database and the given pattern have limited length.", "Find all keys matching the given pattern"),
Command::new("scan", -2, flags::READONLY, Route::Engine, Run::Engine(EngineCommand::Scan))
.acl(&["keyspace", "read", "slow"]).tips(&["nondeterministic_output", "request_policy:special"]).arguments("cursor:integer [MATCH pattern] [COUNT count:integer] [TYPE type]")
.doc("generic", "2.8.0", "O(1) for every call. O(N) for a complete iteration, including enough command calls for the cursor to return back to 0. N is the number of elements inside the collection.", "Incrementally iterate the keys space"),
Command::new("randomkey", 1, flags::READONLY, Route::Engine, Run::Engine(EngineCommand::RandomKey))
.acl(&["keyspace", "read", "slow"]).tips(&["request_policy:all_shards", "nondeterministic_output"]).doc("generic", "1.0.0", "O(1)", "Return a random key from the keyspace")];

/// FLUSHDB [ASYNC | SYNC]: memory is freed in steps either way.
fn flushdb(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        check_flush_options(args)?;
        clear(ctx, ctx.db);
        ctx.reply.ok();
        Ok(())
    });
}

/// FLUSHALL [ASYNC | SYNC]
fn flushall(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        check_flush_options(args)?;
        for db in 0..ctx.keyspace.databases() {
            clear(ctx, db);
        }
        ctx.reply.ok();
        Ok(())
    });
}

fn check_flush_options(args: &[&[u8]]) -> Result<(), Failure> {
    match args {
        [_] => Ok(()),
        [_, option] if is(option, "ASYNC") || is(option, "SYNC") => Ok(()),
        _ => Err(SYNTAX),
    }
}

fn clear(ctx: &mut Ctx<'_>, db: DbIndex) {
    if ctx.keyspace.stats(db).keys > 0 {
        ctx.keyspace.clear(db);
        ctx.effects.push(db, &[b"FLUSHDB"]);
    }
}

/// SWAPDB index1 index2
fn swapdb(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let first = integer_32(args[1]).map_err(|_| "ERR invalid first DB index")?;
        let second = integer_32(args[2]).map_err(|_| "ERR invalid second DB index")?;
        let databases = ctx.keyspace.databases();
        let (first, second) = (db_index(first, databases)?, db_index(second, databases)?);
        if first != second {
            ctx.keyspace.swap(first, second);
            ctx.effect(&[b"SWAPDB", args[1], args[2]]);
        }
        ctx.reply.ok();
        Ok(())
    });
}

/// DBSIZE: expired keys count until they are deleted, as in Redis.
fn dbsize(ctx: &mut Ctx<'_>, _args: &[&[u8]]) {
    let keys = ctx.keyspace.stats(ctx.db).keys;
    ctx.reply.integer(keys as i64);
}

/// KEYS pattern
fn keys(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    let options = ScanOptions { pattern: Some(args[1]), ..ScanOptions::default() };
    let (mut found, mut cursor) = (Vec::new(), 0);
    loop {
        cursor = scan_step(ctx, cursor, KEYS_STEP, &options, &mut found);
        if cursor == 0 {
            break;
        }
    }
    ctx.reply.array(found.len());
    for key in &found {
        ctx.reply.bulk(key);
    }
}

/// Entries per step of KEYS: one call per table segment, not per key.
const KEYS_STEP: usize = 4096;

/// What SCAN asks for besides the cursor.
#[derive(Clone, Debug)]
pub struct ScanOptions<'a> {
    pub pattern: Option<&'a [u8]>,
    pub count: usize,
    /// Name of a type, in any case; a name of no type finds nothing.
    pub type_name: Option<&'a [u8]>,
}

impl Default for ScanOptions<'_> {
    fn default() -> Self {
        ScanOptions { pattern: None, count: 10, type_name: None }
    }
}

/// SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]: cursor and options, or Redis's error.
pub fn parse_scan<'a>(args: &[&'a [u8]]) -> Result<(u64, ScanOptions<'a>), Failure> {
    parse_scan_from(&args[1..], true)
}

/// The same for the elements of one key, which have no types of their own: `words` begin at the cursor.
pub fn parse_element_scan<'a>(words: &[&'a [u8]]) -> Result<(u64, ScanOptions<'a>), Failure> {
    parse_scan_from(words, false)
}

fn parse_scan_from<'a>(words: &[&'a [u8]], typed: bool) -> Result<(u64, ScanOptions<'a>), Failure> {
    let cursor = std::str::from_utf8(words[0]).ok().and_then(|text| text.parse().ok()).ok_or("ERR invalid cursor")?;
    let mut options = ScanOptions::default();
    let mut rest = words[1..].iter();
    while let Some(word) = rest.next() {
        let value = *rest.next().ok_or(SYNTAX)?;
        match () {
            () if is(word, "COUNT") => match integer(value)? {
                count @ 1.. => options.count = count as usize,
                _ => return Err(SYNTAX),
            },
            () if is(word, "MATCH") => options.pattern = Some(value),
            () if typed && is(word, "TYPE") => options.type_name = Some(value),
            () => return Err(SYNTAX),
        }
    }
    Ok((cursor, options))
}

/// One step of SCAN over this shard's part of the command's database: looks at about `count` entries from `cursor` on
/// (0 = start) and adds the keys that match to `found`; returns the next cursor, 0 = finished. Expired keys are left
/// out, not deleted: SCAN is no writing command.
pub fn scan_step(ctx: &Ctx<'_>, cursor: u64, count: usize, options: &ScanOptions<'_>, found: &mut Vec<Vec<u8>>) -> u64 {
    let pattern = options.pattern.filter(|pattern| *pattern != b"*");
    ctx.keyspace.scan(ctx.db, cursor, count, &mut |key, value, expire_at_ms| {
        let alive = expire_at_ms.is_none_or(|at| at > ctx.now_ms);
        let of_type = options.type_name.is_none_or(|name| is(name, value.type_name()));
        if alive && of_type && pattern.is_none_or(|pattern| glob_matches(pattern, key, false)) {
            found.push(key.to_vec());
        }
    })
}

/// A random key of this shard's part of the command's database that is not expired. None: there is none, or
/// `RANDOM_TRIES` expired ones were met (a database full of expired keys must not hold up the shard).
pub fn random_key(ctx: &mut Ctx<'_>) -> Option<Vec<u8>> {
    for _ in 0..RANDOM_TRIES {
        let entry = ctx.keyspace.random(ctx.db, ctx.random.u64(..))?;
        if ctx.keyspace.expire_at_ms(entry).is_none_or(|at| at > ctx.now_ms) {
            return Some(ctx.keyspace.key(entry).to_vec());
        }
    }
    None
}

const RANDOM_TRIES: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scan_options_are_read_or_refused_as_in_redis() {
        let parse = |words: &str| {
            let args: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
            parse_scan(&args).map(|(cursor, options)| (cursor, options.count)).map_err(|error| error.into_owned())
        };
        assert_eq!(parse("scan 0"), Ok((0, 10)));
        assert_eq!(parse("scan 17 match a* COUNT 5 type string"), Ok((17, 5)));
        assert_eq!(parse("scan x"), Err("ERR invalid cursor".into()));
        assert_eq!(parse("scan 0 count"), Err("ERR syntax error".into()));
        assert_eq!(parse("scan 0 count 0"), Err("ERR syntax error".into()));
        assert_eq!(parse("scan 0 count x"), Err("ERR value is not an integer or out of range".into()));
        assert_eq!(parse("scan 0 foo bar"), Err("ERR syntax error".into()));
    }
}
