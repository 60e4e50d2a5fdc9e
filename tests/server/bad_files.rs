//! Damaged files: what was durable and is no longer so stops the start, with exit code 1, file and offset; the unfinished end of the newest
//! log is cut and reported. Nothing is repaired in silence.

use crate::harness::{Dir, Redis, Reply, Server, bulk, encode, ok};
use std::path::{Path, PathBuf};

const ARGS: [&str; 4] = ["--shards", "2", "--appendonly", "yes"];

/// Files of the shards whose name begins so, in order.
fn files(dir: &Dir, prefix: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for shard in ["shard-0000", "shard-0001"] {
        for entry in std::fs::read_dir(dir.file(shard)).expect("a shard's directory") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            // Segments that were only prepared hold no frame.
            if name.starts_with(prefix) && !is_empty(&path) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn is_empty(path: &Path) -> bool {
    std::fs::read(path).expect("readable").iter().skip(4096).all(|&byte| byte == 0)
        && std::fs::metadata(path).expect("there").len() > 8192
}

/// A directory with a base and logs on both shards, stopped in order or killed.
fn prepared(mode: &str, is_killed: bool) -> Dir {
    let dir = Dir::new();
    let server = Server::start(&dir, &[&ARGS[..], &["--appendfsync", mode]].concat());
    let mut client = server.client();
    for i in 0..300 {
        assert_eq!(client.call(&format!("set base:{i} {i}")), ok());
    }
    assert_eq!(client.call("save"), ok());
    for i in 0..300 {
        assert_eq!(client.call(&format!("set log:{i} {i}")), ok());
    }
    if is_killed {
        server.kill();
    } else {
        server.terminate();
        assert_eq!(server.wait(), 0);
    }
    dir
}

/// The start must stop; returns what it says.
fn refusal(dir: &Dir, what: &str) -> String {
    refusal_of(dir, &ARGS, what)
}

fn refusal_of(dir: &Dir, args: &[&str], what: &str) -> String {
    let server = Server::launch(dir, args);
    let log = dir.file(&format!("log-{}", server.port));
    let code = server.wait();
    let text = std::fs::read_to_string(log).expect("its log");
    assert_eq!(code, 1, "{what}: {text}");
    text
}

/// The start must stop, naming the file.
fn refused(dir: &Dir, path: &Path, what: &str) {
    let text = refusal(dir, what);
    let name = path.strip_prefix(dir.path()).expect("inside").to_string_lossy().into_owned();
    assert!(text.contains(&format!("{name} @ ")), "{what}: {name} and an offset are not named: {text}");
}

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).expect("readable");
    bytes[at] ^= 0x10;
    std::fs::write(path, bytes).expect("writable");
}

/// The last byte that is not zero: segments are zeroed ahead.
fn last_written(path: &Path) -> usize {
    std::fs::read(path).expect("readable").iter().rposition(|&byte| byte != 0).expect("something is written")
}

/// Damages a file in every way, restoring it in between; the start must be refused each time, and succeed at the end.
fn each_damage_is_refused(dir: &Dir, path: &Path) {
    let sound = std::fs::read(path).expect("readable");
    let end = last_written(path);
    for at in [0, end / 3, end / 2, end] {
        flip(path, at);
        refused(dir, path, &format!("byte {at} of {end} flipped"));
        std::fs::write(path, &sound).expect("writable");
    }
    for length in [0, end / 2, end] {
        std::fs::write(path, &sound[..length]).expect("writable");
        refused(dir, path, &format!("cut off at {length} of {end}"));
        std::fs::write(path, &sound).expect("writable");
    }
}

fn all_is_there(dir: &Dir) {
    let server = Server::start(dir, &ARGS);
    let mut client = server.client();
    assert_eq!(client.call("dbsize"), Reply::Integer(600));
    assert_eq!(client.call("get log:299"), bulk("299"));
    assert_eq!(
        (client.info("shardis_recovery_cut_bytes"), client.info("shardis_recovery_cut_records")),
        ("0".into(), "0".into())
    );
}

#[test]
fn a_damaged_manifest_stops_the_start() {
    let dir = prepared("everysec", false);
    each_damage_is_refused(&dir, &dir.file("shardis.manifest"));
    all_is_there(&dir);
}

#[test]
fn a_missing_manifest_beside_files_of_shards_stops_the_start() {
    let dir = prepared("everysec", false);
    let away = dir.file("away");
    std::fs::rename(dir.file("shardis.manifest"), &away).expect("there");
    let log = refusal(&dir, "no manifest");
    assert!(log.contains("there is no shardis.manifest, but files of shards are there"), "{log}");
    std::fs::rename(&away, dir.file("shardis.manifest")).expect("there");
    all_is_there(&dir);
}

#[test]
fn a_damaged_or_missing_base_stops_the_start() {
    let dir = prepared("everysec", false);
    let bases = files(&dir, "base-");
    assert_eq!(bases.len(), 2, "{bases:?}");
    for path in &bases {
        each_damage_is_refused(&dir, path);
        let away = dir.file("away");
        std::fs::rename(path, &away).expect("there");
        refused(&dir, path, "missing");
        std::fs::rename(&away, path).expect("there");
    }
    all_is_there(&dir);
}

#[test]
fn a_damaged_or_missing_segment_of_a_clean_stop_stops_the_start() {
    for mode in ["everysec", "always"] {
        let dir = prepared(mode, false);
        let segments = files(&dir, "log-");
        assert!(segments.len() >= 2, "{segments:?}");
        for path in &segments {
            each_damage_is_refused(&dir, path);
            let away = dir.file("away");
            std::fs::rename(path, &away).expect("there");
            refused(&dir, path, "missing");
            std::fs::rename(&away, path).expect("there");
        }
        all_is_there(&dir);
    }
}

#[test]
fn a_torn_end_of_the_newest_log_is_cut_and_reported() {
    let dir = prepared("no", true);
    let segment = files(&dir, "log-").pop().expect("a segment");
    let end = last_written(&segment);
    // A write that the kernel had begun: the last bytes never came.
    let mut bytes = std::fs::read(&segment).expect("readable");
    bytes[end - 3..=end].fill(0);
    std::fs::write(&segment, bytes).expect("writable");
    let server = Server::start(&dir, &ARGS);
    let name = segment.strip_prefix(dir.path()).expect("inside").to_string_lossy().into_owned();
    let log = server.log();
    assert!(log.contains(&format!("{name} @ ")) && log.contains("bytes were cut off"), "{log}");
    let mut client = server.client();
    assert_ne!(client.info("shardis_recovery_cut_bytes"), "0");
    let Reply::Integer(keys) = client.call("dbsize") else { panic!("a number") };
    assert!((500..600).contains(&keys), "{keys}");
}

#[test]
fn a_damage_before_what_was_durable_stops_the_start_after_a_kill_too() {
    let dir = prepared("always", true);
    for path in files(&dir, "log-") {
        let end = last_written(&path);
        let sound = std::fs::read(&path).expect("readable");
        flip(&path, end / 2);
        refused(&dir, &path, &format!("byte {} of {end} flipped", end / 2));
        std::fs::write(&path, &sound).expect("writable");
    }
    all_is_there(&dir);
}

/// Names and bytes of a directory's files, subdirectories of it included.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("a directory").map(|entry| entry.expect("an entry")) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copied");
        }
    }
}

#[test]
fn an_import_that_was_interrupted_begins_anew() {
    let source = Dir::new();
    let server = Server::start(&source, &ARGS);
    let mut client = server.client();
    assert_eq!(client.call("mset a 1 b 2 c 3"), ok());
    assert_eq!(client.call("export rdb"), ok());
    drop(server);
    let dir = Dir::new();
    std::fs::copy(source.file("dump.rdb"), dir.file("dump.rdb")).expect("copied");
    // The base of the first shard was begun, no manifest is there: as `kill -9` or a full disk leaves an import.
    std::fs::create_dir(dir.file("shard-0000")).expect("made");
    std::fs::write(dir.file("shard-0000/base-1.rdb"), b"REDIS00").expect("written");
    let log = refusal(&dir, "as if the manifest was lost");
    assert!(log.contains("the manifest was lost"), "{log}");
    std::fs::write(dir.file("shardis.importing"), b"").expect("written");
    let without_source = Dir::new();
    copy(dir.path(), without_source.path());
    std::fs::remove_file(without_source.file("dump.rdb")).expect("there");
    let log = refusal(&without_source, "nothing to import");
    assert!(log.contains("an import was interrupted, and what it read is gone"), "{log}");
    let server = Server::start(&dir, &ARGS);
    assert_eq!(server.client().call("mget a b c"), Reply::Array(vec![bulk("1"), bulk("2"), bulk("3")]));
    assert!(!dir.file("shardis.importing").exists());
    server.kill();
    let server = Server::start(&dir, &ARGS);
    assert_eq!(server.client().call("mget a b c"), Reply::Array(vec![bulk("1"), bulk("2"), bulk("3")]));
}

/// An AOF of these commands.
fn aof(lines: &[&str]) -> Vec<u8> {
    lines.iter().flat_map(|line| encode(&line.split(' ').map(str::as_bytes).collect::<Vec<_>>())).collect()
}

#[test]
fn what_an_import_has_no_place_for_is_named() {
    let source = Dir::new();
    let redis = Redis::start(source.path(), &[]);
    let library = b"#!lua name=mylib\nredis.register_function('f', function() return 1 end)";
    assert_eq!(redis.client().call_args(&[b"function", b"load", library]), bulk("mylib"));
    assert_eq!(redis.client().call("set a 1"), ok());
    assert_eq!(redis.client().call("save"), ok());
    let dir = Dir::new();
    std::fs::copy(source.file("dump.rdb"), dir.file("dump.rdb")).expect("copied");
    let server = Server::start(&dir, &ARGS);
    assert_eq!(server.client().call("get a"), bulk("1"));
    let log = server.log();
    assert!(log.contains("dump.rdb: a library of functions: #!lua name=mylib: not loaded"), "{log}");
}

#[test]
fn a_standard_aof_that_can_not_be_loaded_is_refused_with_its_offset() {
    let whole = aof(&["SELECT 0", "SET a 1"]);
    for (bad, why) in [("FOO a", "unknown command 'FOO'"), ("INCR a x", "wrong number of arguments")] {
        let dir = Dir::new();
        std::fs::write(dir.file("appendonly.aof"), [whole.clone(), aof(&[bad])].concat()).expect("written");
        let log = refusal(&dir, bad);
        assert!(log.contains(&format!("appendonly.aof @ {}: ERR {why}", whole.len())), "{log}");
    }
    let dir = Dir::new();
    std::fs::write(dir.file("appendonly.aof"), [whole.clone(), aof(&["MULTI", "SET b 1", "FOO", "EXEC"])].concat())
        .expect("written");
    let log = refusal(&dir, "in a transaction");
    assert!(log.contains(&format!("appendonly.aof @ {}: ERR unknown command 'FOO'", whole.len())), "{log}");
}

#[test]
fn a_relative_expiry_of_a_standard_aof_counts_from_the_start() {
    let dir = Dir::new();
    std::fs::write(dir.file("appendonly.aof"), aof(&["SET a 1 EX 1000", "SETEX b 1000 1", "SET c 1", "EXPIRE c 1000"]))
        .expect("written");
    let server = Server::start(&dir, &ARGS);
    let mut client = server.client();
    for key in ["a", "b", "c"] {
        let Reply::Integer(seconds) = client.call(&format!("ttl {key}")) else { panic!("a number") };
        assert!((900..=1000).contains(&seconds), "{key}: {seconds}");
    }
}

#[test]
fn parts_of_an_aof_without_their_manifest_are_not_taken_for_nothing() {
    let source = Dir::new();
    let redis = Redis::start(source.path(), &["--appendonly", "yes"]);
    assert_eq!(redis.client().call("set a 1"), ok());
    drop(redis);
    let dir = Dir::new();
    copy(&source.file("appendonlydir"), &dir.file("appendonlydir"));
    std::fs::remove_file(dir.file("appendonlydir/appendonly.aof.manifest")).expect("there");
    let log = refusal(&dir, "no manifest of the AOF");
    assert!(
        log.contains("appendonlydir/appendonly.aof.manifest @ 0: there is none, but appendonlydir/appendonly.aof.1."),
        "{log}"
    );
}

#[test]
fn a_torn_end_of_a_standard_aof_is_named_in_words() {
    let dir = Dir::new();
    let whole = aof(&["SELECT 0", "SET a 1"]);
    std::fs::write(dir.file("appendonly.aof"), [&whole[..], b"*3\r\n$3\r\nSE"].concat()).expect("written");
    let server = Server::start(&dir, &ARGS);
    let log = server.log();
    let cut = format!(
        "appendonly.aof @ {}: its end was torn and is not loaded: 10 bytes, a record that was never finished",
        whole.len()
    );
    assert!(log.contains(&cut), "{log}");
}

#[test]
fn a_torn_standard_aof_stops_the_start_where_truncated_ones_are_not_loaded() {
    let args = [&ARGS[..], &["--aof-load-truncated", "no"]].concat();
    let whole = aof(&["SELECT 0", "SET a 1"]);
    for (tail, what) in [
        (&b"*3\r\n$3\r\nSE"[..], "10 bytes, a record that was never finished"),
        (&aof(&["MULTI", "SET b 2"]), "42 bytes, a transaction (MULTI) that was never finished"),
    ] {
        let dir = Dir::new();
        let parts = dir.file("appendonlydir");
        std::fs::create_dir(&parts).expect("new");
        std::fs::write(parts.join("appendonly.aof.manifest"), "file appendonly.aof.1.incr.aof seq 1 type i\n").expect("written");
        let torn = [&whole[..], tail].concat();
        for file in ["appendonlydir/appendonly.aof.1.incr.aof", "appendonly.aof"] {
            if file == "appendonly.aof" {
                std::fs::remove_dir_all(&parts).expect("there");
            }
            std::fs::write(dir.file(file), &torn).expect("written");
            let log = refusal_of(&dir, &args, what);
            let refused = format!("{file} @ {}: the end is torn, and aof-load-truncated is no: {what}", whole.len());
            assert!(log.contains(&refused), "{log}");
            assert_eq!(std::fs::read(dir.file(file)).expect("still there"), torn);
        }
        // Nothing stands in the way of the same start with the other choice, and a whole file is loaded with either.
        let server = Server::start(&dir, &ARGS);
        assert_eq!(server.client().call("get a"), bulk("1"));
        drop(server);
        let dir = Dir::new();
        std::fs::write(dir.file("appendonly.aof"), &whole).expect("written");
        assert_eq!(Server::start(&dir, &args).client().call("get a"), bulk("1"));
    }
}
