//! HyperLogLogs in strings: PFADD, PFCOUNT, PFMERGE.

use super::arguments::{Failure, answer, find_string, read_string, string_at, string_at_mut};
use super::context::Ctx;
use super::events::EventClasses;
use super::table::{Command, Home, Multi, Route, Run, Spec, flags};
use crate::keyspace::Entry;
use crate::types::hyperloglog::{Corrupt, HyperLogLog, REGISTERS, cardinality};
use crate::types::{Str, Value};

pub static COMMANDS: &[Command] = &[
    Command::new("pfadd", -2, flags::WRITE | flags::DENYOOM | flags::FAST, Route::Keys(Multi::Never), Run::Data(pfadd))
        .keys(1, 1, 1)
        .specs(&[Spec::at(1, "RW insert")])
        .acl(&["write", "hyperloglog", "fast"])
        .arguments("key [element...]")
        .doc("hyperloglog", "2.8.9", "O(1) to add every element.", "Adds the specified elements to the specified HyperLogLog."),
    Command::new("pfcount", -2, flags::READONLY, Route::Keys(Multi::Gather), Run::Data(pfcount))
        .keys(1, -1, 1)
        .specs(&[Spec::range(1, -1, 1, "RW access")
            .notes("RW because it may change the internal representation of the key, and propagate to replicas")])
        .acl(&["read", "hyperloglog", "slow"])
        .arguments("key...")
        .doc(
            "hyperloglog",
            "2.8.9",
            "O(1) with a very small average constant time when called with a single key. O(N) with N being the number of keys, \
             and much bigger constant times, when called with multiple keys.",
            "Return the approximated cardinality of the set(s) observed by the HyperLogLog at key(s).",
        ),
    Command::new("pfmerge", -2, flags::WRITE | flags::DENYOOM, Route::Keys(Multi::Gather), Run::Data(pfmerge))
        .keys(1, -1, 1)
        .specs(&[Spec::at(1, "RW access insert"), Spec::range(2, -1, 1, "RO access")])
        .acl(&["write", "hyperloglog", "slow"])
        .arguments("destkey:key [sourcekey:key...]")
        .doc(
            "hyperloglog",
            "2.8.9",
            "O(N) to merge N HyperLogLogs, but with high constant times.",
            "Merge N different HyperLogLogs into a single one.",
        ),
    Command::new("pfdebug", 3, flags::WRITE | flags::DENYOOM | flags::ADMIN, Route::Keys(Multi::Never), Run::Data(pfdebug))
        .keys(2, 2, 1)
        .specs(&[Spec::at(2, "RW access")])
        .acl(&["write", "hyperloglog", "admin", "slow", "dangerous"])
        .arguments("subcommand key")
        .doc("hyperloglog", "2.8.9", "N/A", "Internal commands for debugging HyperLogLog values"),
    Command::new("pfselftest", 1, flags::ADMIN, Route::Home, Run::Home(pfselftest))
        .acl(&["hyperloglog", "admin", "slow", "dangerous"])
        .doc("hyperloglog", "2.8.9", "N/A", "An internal command for testing HyperLogLog values"),
];

const NONE: Failure = Failure::Borrowed("WRONGTYPE Key is not a valid HyperLogLog string value.");

impl From<Corrupt> for Failure {
    fn from(_: Corrupt) -> Failure {
        Failure::Borrowed("INVALIDOBJ Corrupted HLL object detected")
    }
}

fn log_at(ctx: &Ctx<'_>, entry: Entry) -> Result<HyperLogLog, Failure> {
    HyperLogLog::from_bytes(&string_at(ctx, entry).bytes()).ok_or(NONE)
}

/// A string as Redis keeps a HyperLogLog: raw, whatever its bytes.
fn raw(log: &HyperLogLog) -> Str {
    let mut string = Str::new(b"");
    string.append(log.as_bytes());
    string
}

/// Puts the log under its key, which keeps its expiry.
fn store(ctx: &mut Ctx<'_>, key: &[u8], entry: Option<Entry>, log: &HyperLogLog) {
    match entry {
        Some(entry) => *string_at_mut(ctx, entry) = raw(log),
        None => ctx.put(key, Value::Str(raw(log)), None),
    }
}

/// PFADD key [element …]
fn pfadd(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let entry = find_string(ctx, args[1])?;
        let mut log = entry.map_or_else(|| Ok(HyperLogLog::new()), |entry| log_at(ctx, entry))?;
        let sparse_bytes_max = ctx.keyspace.limits().hll_sparse_max_bytes;
        let mut changes = false;
        for element in &args[2..] {
            changes |= log.add(element, sparse_bytes_max)?;
        }
        if changes || entry.is_none() {
            log.forget_cardinality();
            store(ctx, args[1], entry, &log);
            ctx.effect(args);
            ctx.notify(EventClasses::STRING, "pfadd", args[1]);
        }
        ctx.reply.integer((changes || entry.is_none()) as i64);
        Ok(())
    });
}

/// PFCOUNT key [key …]
fn pfcount(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let count = match args {
            [_, key] => count_one(ctx, key)?,
            _ => cardinality(&merged(ctx, &args[1..])?.0),
        };
        ctx.reply.integer(count as i64);
        Ok(())
    });
}

/// Keeps what it has computed in the value, and says so: the bytes are part of what GET shows.
fn count_one(ctx: &mut Ctx<'_>, key: &[u8]) -> Result<u64, Failure> {
    let Some(entry) = read_string(ctx, key)? else { return Ok(0) };
    let mut log = log_at(ctx, entry)?;
    if let Some(known) = log.known_cardinality() {
        return Ok(known);
    }
    let count = cardinality(&log.registers()?);
    if ctx.may_expire || ctx.replaying {
        log.know_cardinality(count);
        store(ctx, key, Some(entry), &log);
        ctx.effect(&[b"PFCOUNT", key]);
    }
    Ok(count)
}

/// The greatest registers of all keys, and whether one of them is dense.
fn merged(ctx: &mut Ctx<'_>, keys: &[&[u8]]) -> Result<(Box<[u8; REGISTERS]>, bool), Failure> {
    let (mut registers, mut dense) = (Box::new([0; REGISTERS]), false);
    for key in keys {
        let Some(entry) = read_string(ctx, key)? else { continue };
        let log = log_at(ctx, entry)?;
        dense |= log.is_dense();
        registers.iter_mut().zip(log.registers()?).for_each(|(to, from)| *to = from.max(*to));
    }
    Ok((registers, dense))
}

/// PFMERGE destkey [sourcekey …]
fn pfmerge(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let (registers, dense) = merged(ctx, &args[1..])?;
        let entry = find_string(ctx, args[1])?;
        let mut log = entry.map_or_else(|| Ok(HyperLogLog::new()), |entry| log_at(ctx, entry))?;
        log.merge(&registers, dense, ctx.keyspace.limits().hll_sparse_max_bytes)?;
        store(ctx, args[1], entry, &log);
        // The bytes, not the sources: they may live on other shards.
        ctx.effect(&[b"SET", args[1], log.as_bytes(), b"KEEPTTL"]);
        ctx.notify(EventClasses::STRING, "pfadd", args[1]);
        ctx.reply.ok();
        Ok(())
    });
}

/// PFDEBUG GETREG | DECODE | ENCODING | TODENSE key
fn pfdebug(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let entry = find_string(ctx, args[2])?.ok_or("ERR The specified key does not exist")?;
        let mut log = log_at(ctx, entry)?;
        match &args[1].to_ascii_uppercase()[..] {
            b"GETREG" => {
                if !log.is_dense() {
                    log.make_dense()?;
                    store_dense(ctx, args[2], entry, &log);
                }
                let registers = log.registers()?;
                ctx.reply.array(REGISTERS);
                registers.iter().for_each(|register| ctx.reply.integer(*register as i64));
            }
            b"DECODE" if log.is_dense() => return Err("ERR HLL encoding is not sparse".into()),
            b"DECODE" => ctx.reply.bulk(log.describe_runs()?.as_bytes()),
            b"ENCODING" => ctx.reply.simple(if log.is_dense() { "dense" } else { "sparse" }),
            b"TODENSE" => {
                let converts = !log.is_dense();
                if converts {
                    log.make_dense()?;
                    store_dense(ctx, args[2], entry, &log);
                }
                ctx.reply.integer(converts as i64);
            }
            _ => return Err(format!("ERR Unknown PFDEBUG subcommand '{}'", String::from_utf8_lossy(args[1])).into()),
        }
        Ok(())
    });
}

fn store_dense(ctx: &mut Ctx<'_>, key: &[u8], entry: Entry, log: &HyperLogLog) {
    store(ctx, key, Some(entry), log);
    ctx.effect(&[b"PFDEBUG", b"TODENSE", key]);
}

/// PFSELFTEST: that an estimate of known elements is within the error it is known for.
fn pfselftest(home: &mut Home<'_>, _args: &[&[u8]]) {
    const ELEMENTS: u32 = 10_000;
    let mut log = HyperLogLog::new();
    let added = (0..ELEMENTS).all(|element| log.add(&element.to_le_bytes(), 3000).is_ok());
    let estimate = log.registers().map(|registers| cardinality(&registers)).unwrap_or(0);
    match added && estimate.abs_diff(ELEMENTS as u64) < ELEMENTS as u64 / 20 {
        true => home.reply.ok(),
        false => home.reply.error(&format!("ERR TESTFAILED {estimate} of {ELEMENTS} elements")),
    }
}
