//! Many keys with expiry, written in each fsync mode and interrupted by `kill -9`: all acknowledged ones are there; the exported files hold
//! the same keys, values and expiries for a real redis-server; and both come back, into an empty directory and through `shardis-tool`.
//!
//! 100,000 keys; `SHARDIS_BULK_KEYS=1000000` asks for more. `--nocapture` shows how long each step took.

use crate::harness::{Client, Dir, Redis, Reply, Server, bulk, encode, number_of, ok};
use shardis_tool::{Verdict, import};
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const WRITERS: u64 = 4;
const BATCH: u64 = 500;

/// What key `i` holds: integers, short and longer strings; each expires at another moment, all of them long after the test.
struct Contents {
    keys: u64,
    expire_from_ms: u64,
}

impl Contents {
    fn new(keys: u64) -> Contents {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is after 1970");
        Contents { keys, expire_from_ms: (now + Duration::from_secs(10 * 24 * 3600)).as_millis() as u64 }
    }

    fn key(&self, i: u64) -> String {
        format!("key:{i:08}")
    }

    fn value(&self, i: u64) -> String {
        match i % 4 {
            0 => i.to_string(),
            1 => format!("v{i}"),
            2 => format!("a longer value of key number {i}, more than what lies inline"),
            _ => format!("{i}:").repeat(20),
        }
    }

    fn expire_at_ms(&self, i: u64) -> u64 {
        self.expire_from_ms + i * 7
    }

    fn set(&self, i: u64) -> Vec<u8> {
        let (key, value, at) = (self.key(i), self.value(i), self.expire_at_ms(i).to_string());
        encode(&[b"SET", key.as_bytes(), value.as_bytes(), b"PXAT", at.as_bytes()])
    }

    /// Writes key `from`, `from + step`, …; `acknowledged` says up to where, also when the server is killed meanwhile.
    fn write(&self, client: &mut Client, from: u64, step: u64, acknowledged: &AtomicU64) {
        let mut batch: Vec<u64> = Vec::new();
        for i in (from..self.keys).step_by(step as usize) {
            batch.push(i);
            if batch.len() as u64 == BATCH || i + step >= self.keys {
                let bytes: Vec<u8> = batch.iter().flat_map(|&i| self.set(i)).collect();
                let sent = client.stream.write_all(&bytes).is_ok();
                for _ in batch.drain(..) {
                    match client.try_reply() {
                        Some(reply) => assert_eq!(reply, ok()),
                        None => return,
                    }
                    acknowledged.fetch_add(1, Ordering::Relaxed);
                }
                assert!(sent, "all was answered, so all was read");
            }
        }
    }

    /// Compares the keys of `numbers` with what the server says.
    fn verify(&self, client: &mut Client, numbers: impl Iterator<Item = u64>, context: &str) {
        let numbers: Vec<u64> = numbers.collect();
        for batch in numbers.chunks(BATCH as usize) {
            let ask =
                |i: u64| [encode(&[b"GET", self.key(i).as_bytes()]), encode(&[b"PEXPIRETIME", self.key(i).as_bytes()])].concat();
            client.send(&batch.iter().flat_map(|&i| ask(i)).collect::<Vec<u8>>());
            for &i in batch {
                assert_eq!(client.reply(), bulk(&self.value(i)), "{context}: {}", self.key(i));
                assert_eq!(client.reply(), Reply::Integer(self.expire_at_ms(i) as i64), "{context}: {}", self.key(i));
            }
        }
    }

    fn verify_all(&self, mut client: Client, context: &str) {
        assert_eq!(client.call("dbsize"), Reply::Integer(self.keys as i64), "{context}");
        self.verify(&mut client, 0..self.keys, context);
    }
}

/// Says how long each step took.
struct Watch(&'static str, Instant);

impl Watch {
    fn step(&mut self, what: &str) {
        println!("{:8} {:7.2} s  {what}", self.0, self.1.elapsed().as_secs_f64());
        self.1 = Instant::now();
    }
}

fn check(mode: &'static str) {
    let contents = Contents::new(number_of("SHARDIS_BULK_KEYS", 100_000));
    let mut watch = Watch(mode, Instant::now());
    let dir = Dir::new();
    let args = ["--shards", "2", "--appendonly", "yes", "--appendfsync", mode, "--save", ""];
    write_and_kill(&dir, &args, &contents);
    watch.step("written and killed");
    let server = Server::start(&dir, &args);
    watch.step("started again");
    let mut client = server.client();
    for line in ["export rdb", "export aof"] {
        assert_eq!(client.call(line), ok());
        watch.step(line);
    }
    server.kill();
    read_back(&dir, &contents, &mut watch);
}

/// Killed when most keys are written; the rest is written after a start has shown that no acknowledged one is lost.
fn write_and_kill(dir: &Dir, args: &[&str], contents: &Contents) {
    let server = Server::start(dir, args);
    let acknowledged: [AtomicU64; WRITERS as usize] = Default::default();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (mut client, acknowledged) = (server.client(), &acknowledged[writer as usize]);
            scope.spawn(move || contents.write(&mut client, writer, WRITERS, acknowledged));
        }
        while acknowledged.iter().map(|count| count.load(Ordering::Relaxed)).sum::<u64>() < contents.keys * 9 / 10 {
            std::thread::sleep(Duration::from_millis(1));
        }
        server.kill();
    });
    let server = Server::start(dir, args);
    let mut client = server.client();
    for (writer, acknowledged) in (0..WRITERS).zip(&acknowledged) {
        let count = acknowledged.load(Ordering::Relaxed);
        contents.verify(&mut client, (0..count).map(|n| writer + n * WRITERS), "after the kill");
        contents.write(&mut client, writer + count * WRITERS, WRITERS, &AtomicU64::new(0));
    }
    assert_eq!(client.call("dbsize"), Reply::Integer(contents.keys as i64));
    server.kill();
}

/// What was exported: by Redis, by a server in an empty directory, and by the tool.
fn read_back(dir: &Dir, contents: &Contents, watch: &mut Watch) {
    for (file, logged) in [("dump.rdb", "no"), ("appendonly.aof", "yes")] {
        let theirs = Dir::new();
        std::fs::copy(dir.file(file), theirs.file(file)).expect("exported");
        let redis = Redis::start(theirs.path(), &["--appendonly", logged, "--save", ""]);
        watch.step(&format!("{file} loaded by redis-server"));
        contents.verify_all(redis.client(), &format!("{file} in Redis"));
        watch.step("compared");
        drop(redis);

        let ours = Dir::new();
        std::fs::copy(dir.file(file), ours.file(file)).expect("exported");
        let server = Server::start(&ours, &["--shards", "2", "--appendonly", logged, "--save", ""]);
        watch.step(&format!("{file} loaded from an empty directory"));
        contents.verify_all(server.client(), &format!("{file} in an empty directory"));
        watch.step("compared");
        drop(server);

        let (imported, path) = (Dir::new(), dir.file(file));
        let source = if logged == "no" { import::Source::Rdb(path) } else { import::Source::Aof(path) };
        assert!(matches!(import::import(imported.path(), &source, Some(3), true), Ok(Verdict::Sound)));
        watch.step(&format!("{file} imported by the tool"));
        let server = Server::start(&imported, &["--shards", "2", "--appendonly", "yes", "--save", ""]);
        watch.step("started from that");
        contents.verify_all(server.client(), &format!("{file} imported"));
        watch.step("compared");
    }
}

#[test]
fn many_keys_survive_and_move_out_and_back_in_always() {
    check("always");
}

#[test]
fn many_keys_survive_and_move_out_and_back_in_everysec() {
    check("everysec");
}

#[test]
fn many_keys_survive_and_move_out_and_back_in_no() {
    check("no");
}
