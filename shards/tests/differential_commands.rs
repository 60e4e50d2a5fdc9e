//! The handlers against a real redis-server: thousands of random commands with a fixed seed, replies compared byte for
//! byte, then the whole state, then the state that the stated effects lead to.
//!
//! A failure prints the seed, the step and the last commands; `DIFFERENTIAL_SEED` shifts the seeds. `redis-server` must be on PATH.

mod both_sides;
mod random_commands;
mod snapshots;

use both_sides::*;
use random_commands::*;
use shards::commands::{Run, resolve};
use shards::resp::Protocol;
use snapshots::state;
use std::collections::BTreeSet;

const STEPS: usize = 40_000;

/// Runs `STEPS` random commands on both sides. `gathered`: as if the keys were lent by other shards; encodings may differ then.
fn check(seed: u64, protocol: Protocol, gathered: bool) {
    let mut sides = Sides::start(seed, protocol);
    for _ in 0..STEPS {
        sides.step(gathered);
    }
    sides.check_end();
}

#[test]
fn replies_and_state_are_those_of_redis_in_resp2() {
    check(1, Protocol::Resp2, false);
}

#[test]
fn replies_and_state_are_those_of_redis_in_resp3() {
    check(2, Protocol::Resp3, false);
}

#[test]
fn replies_and_state_are_those_of_redis_when_keys_are_gathered_from_other_shards() {
    check(3, Protocol::Resp2, true);
}

/// Not compared at random, and why. (Commands of the engine and the server are tested in `tests/server`.)
const NOT_RANDOM: &[(&str, &str)] = &[
    ("auth", "tests/server/connections.rs"),
    ("hello", "the protocol is the test's own choice"),
    ("quit", "closes the connection"),
    ("reset", "tests/server/connections.rs"),
    ("time", "tests of the handlers"),
    ("command", "not as many here"),
    ("command|count", "not as many here"),
    ("command|list", "not as many here"),
    ("command|docs", "tests/server/command_docs.rs"),
    ("restore", "not from a template, but of what either side has dumped"),
    ("restore-asking", "as restore; once among the rare cases"),
    ("readonly", "ALONE"),
    ("readwrite", "ALONE"),
    ("asking", "ALONE"),
    ("replicaof", "ALONE"),
    ("slaveof", "ALONE"),
    ("role", "ALONE"),
    ("wait", "ALONE"),
    ("failover", "ALONE"),
    ("replconf", "ALONE"),
    ("psync", "answered by an error: there is no replication"),
    ("sync", "answered by an error: there is no replication"),
    ("object|idletime", "the servers are not asked in the same second"),
    ("lolwut", "art; its errors are compared one by one"),
    ("pfselftest", "takes seconds in Redis"),
];

/// A command that the generator never gets right is compared with its errors only.
#[test]
fn every_command_of_the_table_succeeds_in_some_random_command() {
    let mut handlers = Handlers::new();
    let mut reached = BTreeSet::new();
    // All together, then each family by itself: what many commands must have prepared is rare in the mixture.
    let mixture = (templates(Peer::Redis8_2), 40_000);
    let alone = FAMILIES.iter().map(|family| (family_templates(family, Peer::Redis8_2), 5_000));
    for (templates, commands) in std::iter::once(mixture).chain(alone) {
        let mut generator = Generator::new(7, templates);
        for _ in 0..commands {
            let args = generator.command();
            let words: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
            let reply = handlers.run(&args, false);
            if let (Ok(command), false) = (resolve(&words), reply.starts_with(b"-")) {
                reached.insert(command.name);
            }
        }
    }
    let all = shards::commands::all().flat_map(|command| std::iter::once(command).chain(command.subcommands));
    let here = all.filter(|command| matches!(command.run, Run::Data(_) | Run::Home(_)));
    let is_listed = |name: &str| {
        let of_server = ["client|", "cluster|", "module|"].iter().any(|container| name.starts_with(container));
        of_server || NOT_RANDOM.iter().any(|(listed, _)| *listed == name)
    };
    let missed: Vec<&str> = here.map(|command| command.name).filter(|name| !reached.contains(name) && !is_listed(name)).collect();
    assert!(missed.is_empty(), "no random command is a right one of {missed:?}");
}

/// One by one, what random commands meet seldom.
#[test]
fn rare_cases_are_those_of_redis() {
    let mut redis = Redis::start(Peer::Redis7_0, "rare");
    let mut handlers = Handlers::new();
    let dump = handlers.run(&words("SET k abc"), false);
    assert_eq!(redis.run(&words("SET k abc")), dump);
    let dump = redis.run(&words("DUMP k"));
    let start = dump.iter().position(|&byte| byte == b'\n').expect("a bulk string") + 1;
    let payload = dump[start..dump.len() - 2].to_vec();
    let restore = |ttl: &str, options: &str| [words(&format!("RESTORE k {ttl}")), vec![payload.clone()], words(options)].concat();
    let mut cases: Vec<Args> = Vec::new();
    for value in ["abc", "123", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"] {
        for command in
            ["SETBIT k 0 0", "SETBIT k 0 2", "BITFIELD k GET u8 0", "BITFIELD k INCRBY u8 0 0", "INCRBYFLOAT k 1", "INCR k"]
        {
            cases.extend([words(&format!("SET k {value}")), words(command), words("OBJECT ENCODING k")]);
        }
        cases.extend([words("SETBIT k 1000 0"), words("BITFIELD k OVERFLOW FAIL INCRBY u1 0 9"), words("OBJECT ENCODING k")]);
    }
    for command in ["INCRBYFLOAT k 3", "INCRBYFLOAT k 1e60", "SETBIT k 0 0", "BITFIELD k OVERFLOW FAIL INCRBY u8 0 300"] {
        cases.extend([words("DEL k"), words(command), words("OBJECT ENCODING k"), words("GET k")]);
    }
    for ttl in ["9223372036854775807", "9223372036854775808", "9000000000000000000"] {
        for options in ["REPLACE", "REPLACE ABSTTL"] {
            cases.extend([restore(ttl, options), words("EXISTS k")]);
        }
    }
    cases.extend([words("DEL k"), [words("RESTORE-ASKING k 0"), vec![payload.clone()]].concat(), words("GET k")]);
    cases.extend(["DEL k", "RPUSH k 1 2 3 4", "SORT k BY nosort DESC", "SORT k BY nosort DESC LIMIT 1 2"].map(words));
    cases.extend(["LOLWUT VERSION x", "LOLWUT VERSION 1.5", "LOLWUT VERSION 5 x", "LOLWUT VERSION 6 1 x"].map(words));
    cases.extend([vec![b"f\xff".to_vec(), b"a\r\n".to_vec()], vec![b"OBJECT".to_vec(), b"\xfe".to_vec()]]);
    for args in cases {
        let (ours, theirs) = (handlers.run(&args, false), redis.run(&args));
        assert_eq!(ours.escape_ascii().to_string(), theirs.escape_ascii().to_string(), "{}", show_all(&args));
    }
    assert_same_state("what the effects lead to", 0, &replayed(handlers.log.iter()), &state(&handlers.keyspace));
}

/// What a server answers that has no replicas, no cluster and no modules.
const ALONE: &[&str] = &[
    "CLUSTER",
    "CLUSTER FOO",
    "CLUSTER INFO",
    "CLUSTER NODES x",
    "CLUSTER KEYSLOT k",
    "CLUSTER COUNTKEYSINSLOT x",
    "CLUSTER RESET HARD SOFT",
    "CLUSTER HELP",
    "READONLY",
    "READWRITE",
    "ASKING",
    "REPLICAOF no one",
    "SLAVEOF NO ONE",
    "REPLICAOF NO",
    "REPLICAOF NO TWO",
    "REPLICAOF host 65536",
    "REPLICAOF host -1",
    "REPLICAOF host 99999999999999999999",
    "ROLE",
    "ROLE x",
    "WAIT 0 0",
    "WAIT -1 0",
    "WAIT 1 1",
    "WAIT x x",
    "WAIT 0 x",
    "WAIT 0 -1",
    "FAILOVER",
    "FAILOVER ABORT",
    "FAILOVER ABORT x",
    "FAILOVER ABORT TIMEOUT 5",
    "FAILOVER FORCE ABORT",
    "FAILOVER TO",
    "FAILOVER TO host",
    "FAILOVER TO host x TIMEOUT x",
    "FAILOVER TO host 99999 FORCE TIMEOUT 1",
    "FAILOVER TO host 1 TO host 1",
    "FAILOVER TIMEOUT",
    "FAILOVER TIMEOUT x",
    "FAILOVER TIMEOUT 0",
    "FAILOVER TIMEOUT 5 TIMEOUT 5",
    "FAILOVER FORCE",
    "FAILOVER FORCE FORCE",
    "REPLCONF",
    "REPLCONF listening-port",
    "REPLCONF listening-port 1 CAPA eof capa x ip-address 1.2.3.4",
    "REPLCONF listening-port x",
    "REPLCONF rdb-only 1",
    "REPLCONF rdb-only 2",
    "REPLCONF rdb-only x",
    "REPLCONF rdb-filter-only FUNCTIONS",
    "REPLCONF rdb-filter-only keys",
    "REPLCONF foo bar",
    "REPLCONF foo bar baz",
    "MODULE LIST",
    "MODULE LIST x",
    "MODULE LOAD",
    "MODULE FOO",
    "MODULE HELP",
    "MEMORY",
    "MEMORY FOO",
    "MEMORY USAGE",
    "MEMORY HELP",
];

#[test]
fn a_server_alone_answers_as_redis() {
    let mut redis = Redis::start(Peer::Redis7_0, "alone");
    let mut handlers = Handlers::new();
    let address = format!("REPLCONF ip-address {}", "a".repeat(256));
    for line in ALONE.iter().copied().chain([address.as_str()]) {
        let (ours, theirs) = (handlers.run(&words(line), false), redis.run(&words(line)));
        assert_eq!(String::from_utf8_lossy(&ours), String::from_utf8_lossy(&theirs), "{line}");
    }
    // Here Redis would answer nothing, or wait for what never comes.
    for line in ["REPLCONF ACK 1", "REPLCONF GETACK *", "SYNC", "PSYNC ? -1", "REPLICAOF host 1", "MODULE LOAD x"] {
        let reply = handlers.run(&words(line), false);
        assert!(reply.starts_with(b"-ERR ") && reply.ends_with(b"\r\n"), "{line}: {}", reply.escape_ascii());
    }
    assert_eq!(handlers.run(&words("WAIT 3 0"), false), b":0\r\n");
}

/// Entries that are as in 7.2, where 7.0 has others.
const OTHER_THAN_IN_7_0: &[&str] = &["command|getkeys", "command|getkeysandflags", "sinterstore", "wait", "zrank", "zrevrank"];

#[test]
fn entries_of_the_table_are_those_of_redis() {
    let mut redis = Redis::start(Peer::Redis7_0, "table");
    let mut handlers = Handlers::new();
    for command in shards::commands::all().flat_map(|command| std::iter::once(command).chain(command.subcommands)) {
        let args = words(&format!("COMMAND INFO {}", command.name));
        let (ours, theirs) = (handlers.run(&args, false), redis.run(&args));
        // Commands of 7.2, and our own; containers list their sub-commands in no fixed order.
        let unknown = theirs == b"*1\r\n$-1\r\n";
        if unknown || !command.subcommands.is_empty() || OTHER_THAN_IN_7_0.contains(&command.name) {
            continue;
        }
        assert_eq!(String::from_utf8_lossy(&ours), String::from_utf8_lossy(&theirs), "{}", command.name);
    }
}
