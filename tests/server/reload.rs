//! DEBUG RELOAD and DEBUG LOADAOF read the files back, and lose nothing.

use crate::harness::{Client, Dir, Reply, Server, bulk, ok};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const DEBUG: [&str; 2] = ["--enable-debug-command", "yes"];

fn start(dir: &Dir, args: &[&str]) -> Server {
    let all: Vec<&str> = DEBUG.iter().chain(args).copied().collect();
    Server::start(dir, &all)
}

fn big() -> Vec<u8> {
    (0..3_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

/// Keys with and without expiry in several databases, small and big.
fn fill(client: &mut Client) {
    for i in 0..2000 {
        client.call(&format!("set key:{i} value-{i}"));
    }
    client.call("set soon 1 px 1");
    client.call("set later 1 ex 10000");
    client.call_args(&[b"set", b"big", &big()]);
    client.call("select 3");
    client.call("set other 17");
    client.call("incr other");
    client.call("expire other 5000");
    client.call("select 0");
}

fn check(client: &mut Client) {
    for i in 0..2000 {
        assert_eq!(client.call(&format!("get key:{i}")), bulk(&format!("value-{i}")));
    }
    assert_eq!(client.call("get soon"), Reply::Null);
    assert!(matches!(client.call("ttl later"), Reply::Integer(9000..=10000)));
    assert_eq!(client.call("get big"), Reply::Bulk(big()));
    client.call("select 3");
    assert_eq!(client.call("get other"), bulk("18"));
    assert!(matches!(client.call("ttl other"), Reply::Integer(4000..=5000)));
    client.call("select 0");
    assert_eq!(client.call("dbsize"), Reply::Integer(2002));
}

#[test]
fn everything_is_there_after_a_reload() {
    for (shards, log, command) in [
        ("2", "no", "debug reload"),
        ("1", "no", "debug reload"),
        ("2", "yes", "debug reload"),
        ("2", "yes", "debug loadaof"),
        ("1", "yes", "debug loadaof"),
        ("2", "yes", "debug reload nosave"),
        ("2", "no", "debug reload noflush merge"),
    ] {
        for mode in ["everysec", "always", "no"] {
            let dir = Dir::new();
            let server = start(&dir, &["--shards", shards, "--appendonly", log, "--appendfsync", mode, "--save", ""]);
            let mut client = server.client();
            fill(&mut client);
            assert_eq!(client.call(command), ok(), "{command} on {shards} shards, log {log} {mode}: {}", server.log());
            check(&mut client);
            // A second time, behind the log of what was written in between.
            client.call("set key:1 changed");
            client.call("set key:1 value-1");
            assert_eq!(client.call(command), ok());
            check(&mut client);
            if log == "yes" {
                server.kill();
                let server = start(&dir, &["--shards", shards, "--appendonly", log, "--appendfsync", mode, "--save", ""]);
                check(&mut server.client());
            }
        }
    }
}

/// What is in memory after a reload comes from the files: without a new base, that is the state of the last one.
#[test]
fn a_reload_without_a_save_brings_the_last_save_back() {
    let dir = Dir::new();
    let server = start(&dir, &["--shards", "2", "--save", ""]);
    let mut client = server.client();
    client.call("set a saved");
    client.call("set b saved");
    assert!(matches!(client.call("debug reload nosave"), Reply::Error(_)), "nothing was saved yet");
    assert_eq!(client.call("get a"), bulk("saved"), "a reload that fails loses nothing");
    assert_eq!(client.call("save"), ok());
    client.call("set a new");
    client.call("set c new");
    assert!(matches!(client.call("debug reload nosave noflush"), Reply::Error(_)), "a key twice");
    assert_eq!(client.call("mget a b c"), Reply::Array(vec![bulk("new"), bulk("saved"), bulk("new")]));
    assert_eq!(client.call("debug reload nosave noflush merge"), ok());
    assert_eq!(client.call("mget a b c"), Reply::Array(vec![bulk("saved"), bulk("saved"), bulk("new")]));
    assert_eq!(client.call("debug reload nosave"), ok());
    assert_eq!(client.call("mget a b c"), Reply::Array(vec![bulk("saved"), bulk("saved"), Reply::Null]));
    assert_eq!(
        client.call("debug reload quickly"),
        Reply::Error("ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.".into())
    );
    assert!(matches!(client.call("debug loadaof"), Reply::Error(text) if text.contains("appendonly is no")));
}

#[test]
fn a_reload_of_damaged_files_keeps_the_keys() {
    let dir = Dir::new();
    let server = start(&dir, &["--shards", "2", "--appendonly", "yes", "--save", ""]);
    let mut client = server.client();
    fill(&mut client);
    assert_eq!(client.call("save"), ok());
    client.call("set behind the-base");
    let base = std::fs::read_dir(dir.file("shard-0001")).expect("a directory").map(|entry| entry.expect("an entry").path());
    let base = base.into_iter().find(|path| path.to_string_lossy().contains("base-")).expect("a base");
    let sound = std::fs::read(&base).expect("the base");
    let mut damaged = sound.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    std::fs::write(&base, &damaged).expect("writing over it");
    assert!(matches!(client.call("debug loadaof"), Reply::Error(text) if text.starts_with("ERR Error trying to load")));
    assert_eq!(client.call("get behind"), bulk("the-base"));
    client.call("del behind");
    check(&mut client);
    // Everything goes on.
    std::fs::write(&base, &sound).expect("writing over it");
    assert_eq!(client.call("debug loadaof"), ok());
    check(&mut client);
}

#[test]
fn writes_of_others_are_not_lost_by_reloads() {
    for log in ["yes", "no"] {
        let dir = Dir::new();
        let server = start(&dir, &["--shards", "2", "--appendonly", log, "--save", ""]);
        let stop = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let (mut client, stop) = (server.client(), stop.clone());
                std::thread::spawn(move || {
                    let mut count = 0;
                    while !stop.load(Ordering::Relaxed) {
                        assert_eq!(client.call(&format!("incr counter:{writer}")), Reply::Integer(count + 1));
                        assert_eq!(client.call(&format!("mset {writer}:a {count} {writer}:b {count}")), ok());
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        let mut client = server.client();
        for round in 0..12 {
            let command = if log == "yes" && round % 2 == 0 { "debug loadaof" } else { "debug reload" };
            assert_eq!(client.call(command), ok());
            std::thread::sleep(Duration::from_millis(20));
        }
        stop.store(true, Ordering::Relaxed);
        let counts: Vec<i64> = writers.into_iter().map(|writer| writer.join().expect("no panic")).collect();
        for (writer, count) in counts.iter().enumerate() {
            assert!(*count > 0);
            assert_eq!(client.call(&format!("get counter:{writer}")), bulk(&count.to_string()));
            let last = bulk(&(count - 1).to_string());
            assert_eq!(client.call(&format!("mget {writer}:a {writer}:b")), Reply::Array(vec![last.clone(), last]));
        }
    }
}
