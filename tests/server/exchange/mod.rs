//! Files between servers: what Redis 6.2, 7.0 and 8.2 and Valkey 8 and 9 have written is read here, element for element the same, and
//! what is exported here is read by each of them. RDB files and AOFs, with and without an RDB at their beginning.

mod content;
mod reader;

use crate::harness::{Client, Dir, Redis, Reply, Server, ok};
use content::{Args, args, everything, later, run};
use reader::{Content, EXPIRES, Tolerance, assert_same, read};
use shardis_tool::directory::Directory;
use shardis_tool::{Verdict, export};
use shards::recovery::Assume;
use std::path::Path;
use std::time::{Duration, Instant};

struct Peer {
    program: &'static str,
    /// The highest RDB version that it reads.
    version: u32,
    /// Whether it knows commands for fields that expire.
    has_field_expiry: bool,
    /// Redis 6.2 has no switch for DEBUG.
    is_6: bool,
    tolerance: Tolerance,
}

/// Redis 6.2 does not have them.
const SINCE_7_0: [&str; 6] =
    ["max-deleted-entry-id", "entries-added", "recorded-first-entry-id", "entries-read", "lag", "active-time"];
const NOT_IN_COMMANDS: [&str; 2] = ["active-time", "seen-time"];
const NOT_IN_COMMANDS_FOR_6: [&str; 7] =
    ["max-deleted-entry-id", "entries-added", "recorded-first-entry-id", "entries-read", "lag", "active-time", "seen-time"];

const REDIS_6: Peer = Peer {
    program: "redis-server-6",
    version: 9,
    has_field_expiry: false,
    is_6: true,
    tolerance: Tolerance {
        stream_fields: &SINCE_7_0,
        // Ziplists, with other thresholds.
        encodings_of: &["list", "set", "hash", "zset"],
    },
};
const REDIS_7: Peer = Peer {
    program: "redis-server",
    version: 10,
    has_field_expiry: false,
    is_6: false,
    // Small sets and lists are packed since 7.2.
    tolerance: Tolerance { stream_fields: &["active-time"], encodings_of: &["list", "set"] },
};
const REDIS_8: Peer = Peer { program: "redis-server-8", version: 12, has_field_expiry: true, is_6: false, tolerance: SAME };
const VALKEY_8: Peer = Peer { program: "valkey-server-8", version: 11, has_field_expiry: false, is_6: false, tolerance: SAME };
/// It takes versions 12 and later for Redis's own, and refuses them.
const VALKEY_9: Peer = Peer { program: "valkey-server-9", version: 11, has_field_expiry: true, is_6: false, tolerance: SAME };

const SAME: Tolerance = Tolerance { stream_fields: &[], encodings_of: &[] };

impl Peer {
    fn start(&self, dir: &Dir, args: &[&str]) -> Redis {
        let debug: &[&str] = if self.is_6 { &[] } else { &["--enable-debug-command", "yes"] };
        let args = [&["--save", "", "--appendfsync", "always"], debug, args].concat();
        match self.program {
            "redis-server" => Redis::start(dir.path(), &args),
            name => Redis::start_peer(name, dir.path(), &args),
        }
    }

    /// Commands can't say when a consumer was seen.
    fn tolerance_of_commands(&self) -> Tolerance {
        let stream_fields = if self.is_6 { &NOT_IN_COMMANDS_FOR_6[..] } else { &NOT_IN_COMMANDS };
        Tolerance { stream_fields, ..self.tolerance }
    }

    /// What the commands that it logs don't say: a start of its own does not bring it back either. Redis 7.0 logs XREADGROUP without
    /// how many entries the group has read by then.
    fn not_in_its_log(&self) -> &'static [&'static str] {
        match self.version {
            10 => &["active-time", "seen-time", "entries-read", "lag"],
            _ => self.tolerance_of_commands().stream_fields,
        }
    }
}

fn shardis(dir: &Dir, appendonly: &str) -> Server {
    Server::start(dir, &["--shards", "2", "--appendonly", appendonly, "--save", ""])
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        std::fs::create_dir_all(to).expect("a directory");
        for entry in std::fs::read_dir(from).expect("there").map(|entry| entry.expect("readable")) {
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        std::fs::copy(from, to).expect("a file to copy");
    }
}

/// A directory with one file or directory of another.
fn dir_with(from: &Path, name: &str) -> Dir {
    let dir = Dir::new();
    copy(from, &dir.file(name));
    dir
}

fn rewrite_aof(client: &mut Client, order: &str) {
    let reply = client.call(order);
    assert!(!matches!(reply, Reply::Error(_)), "{order}: {reply:?}");
    let begun = Instant::now();
    while client.info("aof_rewrite_in_progress") != "0" || client.info("aof_rewrite_scheduled") != "0" {
        assert!(begun.elapsed() < Duration::from_secs(20), "the rewrite ends");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(client.info("aof_last_bgrewrite_status"), "ok");
}

/// Files of the peer → Shardis → files → the peer.
fn check_round_trip(peer: &Peer) {
    let theirs = Dir::new();
    let redis = peer.start(&theirs, &["--appendonly", "no"]);
    let mut client = redis.client();
    run(&mut client, &everything(peer.has_field_expiry));
    let (content, digest) = (read(&mut client), client.call("DEBUG DIGEST"));
    assert_eq!(client.call("SAVE"), ok());
    let dir = dir_with(&theirs.file("dump.rdb"), "dump.rdb");
    check_back(peer, &shardis(&dir, "no"), &dir, &content, &digest);
    for (round, order) in [(1, "CONFIG SET appendonly yes"), (2, "BGREWRITEAOF")] {
        let preamble = if round == 1 { "yes" } else { "no" };
        assert_eq!(client.call(&format!("CONFIG SET aof-use-rdb-preamble {preamble}")), ok());
        rewrite_aof(&mut client, order);
        run(&mut client, &later(round));
        let content = read(&mut client);
        let name = if peer.is_6 { "appendonly.aof" } else { "appendonlydir" };
        let dir = dir_with(&theirs.file(name), name);
        let server = shardis(&dir, "yes");
        let what = format!("{}'s AOF, preamble {preamble}", peer.program);
        let tolerance = Tolerance { stream_fields: peer.not_in_its_log(), ..peer.tolerance };
        assert_same(&read(&mut server.client()), &content, tolerance, &what);
    }
}

/// What Shardis has read is right, and what it exports of that is the same to the peer.
fn check_back(peer: &Peer, server: &Server, dir: &Dir, content: &Content, digest: &Reply) {
    let mut client = server.client();
    assert_same(&read(&mut client), content, peer.tolerance, &format!("the RDB of {}", peer.program));
    for file in exports(&mut client, peer) {
        let back = peer.load(dir, file);
        let mut client = back.1.client();
        let tolerance = if file == "commands.aof" { peer.tolerance_of_commands() } else { peer.tolerance };
        if peer.has_field_expiry && peer.version < 12 && file != "commands.aof" {
            let content = without_expiring_fields(content);
            assert_same(&read(&mut client), &content, tolerance, &format!("{file} in {}", peer.program));
        } else {
            assert_same(&read(&mut client), content, tolerance, &format!("{file} in {}", peer.program));
            assert_eq!(client.call("DEBUG DIGEST"), *digest, "{file} in {}", peer.program);
        }
    }
}

/// Names of files that Shardis exports for the peer.
fn exports(client: &mut Client, peer: &Peer) -> [&'static str; 3] {
    let version = peer.version;
    // Valkey knows expiring fields as commands, but in no version that Redis has given a number.
    let of_commands = if peer.has_field_expiry { 12 } else { version };
    for (preamble, command) in [
        ("yes", format!("EXPORT RDB all.rdb VERSION {version}")),
        ("yes", format!("EXPORT AOF all.aof VERSION {version}")),
        ("no", format!("EXPORT AOF commands.aof VERSION {of_commands}")),
    ] {
        assert_eq!(client.call(&format!("CONFIG SET aof-use-rdb-preamble {preamble}")), ok());
        let reply = client.call(&command);
        assert!(matches!(&reply, Reply::Simple(text) if text.starts_with("OK")), "{command}: {reply:?}");
    }
    ["all.rdb", "all.aof", "commands.aof"]
}

impl Peer {
    /// Starts on a file that was exported.
    fn load(&self, dir: &Dir, file: &str) -> (Dir, Redis) {
        let (name, appendonly) = if file.ends_with(".rdb") { ("dump.rdb", "no") } else { ("appendonly.aof", "yes") };
        let target = dir_with(&dir.file(file), name);
        let redis = self.start(&target, &["--appendonly", appendonly]);
        (target, redis)
    }
}

/// What readers get that don't know fields with an expiry of their own.
fn without_expiring_fields(content: &Content) -> Content {
    let mut content = content.clone();
    for entry in content.values_mut().filter(|entry| entry.kind == "hash") {
        let expiring: Vec<String> =
            entry.elements.keys().filter_map(|path| path.strip_suffix(EXPIRES)).map(str::to_string).collect();
        for field in &expiring {
            entry.elements.remove(field);
            entry.elements.remove(&format!("{field}{EXPIRES}"));
        }
        if !expiring.is_empty() {
            entry.encoding = "listpack".into();
        }
    }
    content.retain(|_, entry| !entry.elements.is_empty());
    content
}

#[test]
fn files_of_redis_6_2_come_in_and_go_out_the_same() {
    check_round_trip(&REDIS_6);
}

#[test]
fn files_of_redis_7_0_come_in_and_go_out_the_same() {
    check_round_trip(&REDIS_7);
}

#[test]
fn files_of_redis_8_2_come_in_and_go_out_the_same() {
    check_round_trip(&REDIS_8);
}

#[test]
fn files_of_valkey_8_come_in_and_go_out_the_same() {
    check_round_trip(&VALKEY_8);
}

#[test]
fn files_of_valkey_9_come_in_and_go_out_the_same() {
    check_round_trip(&VALKEY_9);
}

/// Everything was made here, keys were renamed and copied between shards; every peer reads what a running server and what the tool exports.
#[test]
fn exports_are_read_by_every_peer() {
    let dir = Dir::new();
    let server = shardis(&dir, "yes");
    let mut client = server.client();
    run(&mut client, &everything(true));
    let in_transaction = |command: &Args| matches!(&command[0][..], b"MULTI" | b"EXEC");
    run(&mut client, &later(1).into_iter().filter(|command| !in_transaction(command)).collect::<Vec<_>>());
    // Between shards these are logged as RESTORE, in versions up to 12, which must not reach an export.
    for key in ["stream:groups", "fields:some:129", "fields:all:4", "z:129", "h:513", "big:hash"] {
        run(&mut client, &["{a}", "{b}", "{c}"].map(|tag| args(&format!("COPY {key} copy:{tag}:{key}"))));
    }
    let made = read(&mut client);
    server.kill();
    // The log says when an entry was delivered, not when that was said: a consumer counts as active then.
    let server = shardis(&dir, "yes");
    let content = read(&mut server.client());
    assert_same(&content, &made, Tolerance { stream_fields: &NOT_IN_COMMANDS, ..SAME }, "after a kill");
    server.kill();
    // All of it is in the log, so that the tool encodes it anew.
    for peer in [REDIS_6, REDIS_7, REDIS_8] {
        let directory = Directory::open(dir.path()).expect("stopped");
        for (file, format) in [
            ("all.rdb", export::Format::Rdb(dir.file("all.rdb"))),
            ("all.aof", export::Format::Aof { path: dir.file("all.aof"), preamble: true }),
            ("commands.aof", export::Format::Aof { path: dir.file("commands.aof"), preamble: false }),
        ] {
            let options = export::Options { format, rdb_version: Some(peer.version), verify: true, assume: Assume::ProcessCrash };
            let verdict = export::export(&directory, &options).expect("exported");
            assert_eq!(verdict == Verdict::Sound, peer.version == 12, "{}", peer.program);
            check_native(&peer, &dir, file, &content);
        }
    }
    let server = shardis(&dir, "yes");
    let mut client = server.client();
    for peer in [REDIS_6, REDIS_7, REDIS_8, VALKEY_8, VALKEY_9] {
        for file in exports(&mut client, &peer) {
            check_native(&peer, &dir, file, &content);
        }
    }
}

fn check_native(peer: &Peer, dir: &Dir, file: &str, content: &Content) {
    let is_commands = file == "commands.aof";
    let bytes = std::fs::read(dir.file(file)).expect("exported");
    assert_eq!(bytes.starts_with(b"REDIS"), !is_commands);
    assert!(!is_commands || !bytes.windows(7).any(|word| word == b"RESTORE"), "the log's RESTOREs are not copied");
    let (_dir, redis) = peer.load(dir, file);
    let found = read(&mut redis.client());
    let tolerance = if is_commands { peer.tolerance_of_commands() } else { peer.tolerance };
    let what = format!("{file} in {}", peer.program);
    if peer.has_field_expiry && (is_commands || peer.version == 12) {
        assert_same(&found, content, tolerance, &what);
    } else {
        assert_same(&found, &without_expiring_fields(content), tolerance, &what);
    }
}

#[test]
fn an_export_names_what_a_version_cannot_say() {
    let dir = Dir::new();
    let server = shardis(&dir, "no");
    let mut client = server.client();
    let far = content::FAR_MS;
    let lines = format!(
        "HSET h a 1 b 2 c 3|HPEXPIREAT h {far} FIELDS 1 a|HSET gone a 1|HPEXPIREAT gone {far} FIELDS 1 a|XADD s 1-1 a b|XADD s 2-1 a b\
         |XDEL s 1-1|XGROUP CREATE s g 0|XGROUP CREATECONSUMER s g alice|SET string value"
    );
    run(&mut client, &lines.split('|').map(args).collect::<Vec<_>>());
    for (version, reply) in [
        (12, "OK"),
        (11, "OK, but 1 keys left out, 1 written with less: see the log"),
        (10, "OK, but 1 keys left out, 2 written with less: see the log"),
        (9, "OK, but 1 keys left out, 2 written with less: see the log"),
    ] {
        assert_eq!(client.call(&format!("EXPORT RDB v{version}.rdb VERSION {version}")), Reply::Simple(reply.into()));
        let bytes = std::fs::read(dir.file(&format!("v{version}.rdb"))).expect("exported");
        assert_eq!(&bytes[..9], format!("REDIS{version:04}").as_bytes());
    }
    let log = server.log();
    for line in [
        "Not in v11.rdb: db0 h (hash): written without 1 field that has an expiry of its own",
        "Not in v11.rdb: db0 gone (hash): left out: each of its fields has an expiry of its own",
        "Not in v10.rdb: db0 s (stream): written without the times when consumers were last active",
        "Not in v9.rdb: db0 s (stream): written without the counts of entries ever added and read, the highest deleted id, and the times",
    ] {
        assert!(log.contains(line), "{line}\n{log}");
    }
    for wrong in
        ["EXPORT RDB x VERSION 8", "EXPORT RDB x VERSION 13", "EXPORT RDB VERSION x", "EXPORT RDB a b", "EXPORT RDB a VERSION"]
    {
        assert!(matches!(client.call(wrong), Reply::Error(_)), "{wrong}");
    }
}
