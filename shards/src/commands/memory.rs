//! MEMORY: what a key takes. What concerns the whole server is the engine's.

use super::arguments::{Failure, SYNTAX, answer, integer, is, reply_help};
use super::context::Ctx;
use super::table::{Command, EngineCommand, Home, Multi, Route, Run, Spec, flags};
use crate::types::Value;

pub static COMMANDS: &[Command] = &[Command::new("memory", -2, 0, Route::Home, Run::Container)
    .acl(&["slow"])
    .doc("server", "4.0.0", "Depends on subcommand.", "A container for memory diagnostics commands.")
    .subcommands(&[
        Command::new("memory|doctor", 2, 0, Route::Engine, Run::Engine(EngineCommand::MemoryDoctor))
            .acl(&["slow"])
            .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"])
            .doc("server", "4.0.0", "O(1)", "Outputs a memory problems report."),
        Command::new("memory|help", 2, flags::LOADING | flags::STALE, Route::Home, Run::Home(help)).acl(&["slow"]).doc(
            "server",
            "4.0.0",
            "O(1)",
            "Returns helpful text about the different subcommands.",
        ),
        Command::new("memory|malloc-stats", 2, 0, Route::Engine, Run::Engine(EngineCommand::MemoryMallocStats))
            .acl(&["slow"])
            .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"])
            .doc(
                "server",
                "4.0.0",
                "Depends on how much memory is allocated, could be slow",
                "Returns the allocator statistics.",
            ),
        Command::new("memory|purge", 2, 0, Route::Engine, Run::Engine(EngineCommand::MemoryPurge))
            .acl(&["slow"])
            .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
            .doc(
                "server",
                "4.0.0",
                "Depends on how much memory is allocated, could be slow",
                "Asks the allocator to release memory.",
            ),
        Command::new("memory|stats", 2, 0, Route::Engine, Run::Engine(EngineCommand::MemoryStats))
            .acl(&["slow"])
            .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"])
            .doc("server", "4.0.0", "O(1)", "Returns details about memory usage."),
        Command::new("memory|usage", -3, flags::READONLY, Route::Keys(Multi::Never), Run::Data(usage))
            .keys(2, 2, 1)
            .specs(&[Spec::at(2, "RO")])
            .acl(&["read", "slow"])
            .arguments("key [SAMPLES count:integer]")
            .doc("server", "4.0.0", "O(N) where N is the number of samples.", "Estimates the memory usage of a key."),
    ])];

/// Fingerprint and end of a key in its segment's block.
const KEY_OVERHEAD_BYTES: usize = 3;

/// MEMORY USAGE key [SAMPLES count]: a value knows its size, so nothing is sampled. Without the slack of tables that grow.
fn usage(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        check_samples(&args[3..])?;
        // An expired key takes memory until it is deleted, which looking at it does not do: as in Redis.
        let Some(entry) = ctx.keyspace.find(ctx.db, args[2]) else {
            ctx.reply.null();
            return Ok(());
        };
        let key_bytes = args[2].len() + KEY_OVERHEAD_BYTES;
        let expiry_bytes = ctx.keyspace.expire_at_ms(entry).map_or(0, |_| size_of::<i64>());
        let value_bytes = size_of::<Value>() + ctx.keyspace.value(entry).heap_bytes();
        ctx.reply.integer((key_bytes + expiry_bytes + value_bytes) as i64);
        Ok(())
    });
}

fn check_samples(words: &[&[u8]]) -> Result<(), Failure> {
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let count = rest.next().filter(|_| is(word, "SAMPLES")).ok_or(SYNTAX)?;
        if integer(count)? < 0 {
            return Err(SYNTAX);
        }
    }
    Ok(())
}

/// MEMORY HELP
fn help(home: &mut Home<'_>, args: &[&[u8]]) {
    reply_help(&mut home.reply, args[0], HELP);
}

const HELP: &[&str] = &[
    "DOCTOR",
    "    Return memory problems reports.",
    "MALLOC-STATS",
    "    Return internal statistics report from the memory allocator.",
    "PURGE",
    "    Attempt to purge dirty pages for reclamation by the allocator.",
    "STATS",
    "    Return information about the memory usage of the server.",
    "USAGE <key> [SAMPLES <count>]",
    "    Return memory in bytes used by <key> and its value. Nested values are",
    "    sampled up to <count> times (default: 5, 0 means sample all).",
];
