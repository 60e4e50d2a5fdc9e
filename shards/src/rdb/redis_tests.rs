//! Our files read by the real `redis-server` and `redis-check-rdb`, and theirs by us. Both are prerequisites of the tests.

use super::aof::{self, AofItem, AofReader, Part};
use super::aof_manifest::AofManifest;
use super::bodies::{self, Body, BodyWriter};
use super::writer::{Compression, encode_header};
use super::{IoSource, Item, Reader};
use crate::ids::DbIndex;
use crate::types::{Limits, Str, Value, Zset};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Database and key to value and expiry.
type Content = BTreeMap<(DbIndex, Vec<u8>), (Vec<u8>, Option<i64>)>;

/// The expiry of test keys: far in the future.
const FAR_MS: i64 = 4_000_000_000_000;

struct TempDir(PathBuf);

impl TempDir {
    fn new(name: &str) -> TempDir {
        let path = std::env::temp_dir().join(format!("shards-rdb-{name}-{}", std::process::id()));
        _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("temporary directory");
        TempDir(path)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Ended when dropped, also by a failing test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

struct RedisServer {
    _process: Process,
    connection: TcpStream,
}

impl RedisServer {
    /// On a free port of the loopback; waits until it has loaded its files.
    fn start(dir: &Path, options: &[&str]) -> RedisServer {
        let port = TcpListener::bind("127.0.0.1:0").expect("free port").local_addr().expect("address").port();
        let log = std::fs::File::create(dir.join("redis.log")).expect("log");
        let mut command = Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"]).arg(dir).args(options);
        let process = command.stdout(Stdio::from(log)).spawn();
        let process = Process(process.expect("redis-server is installed (a prerequisite of the tests)"));
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Ok(connection) = TcpStream::connect(("127.0.0.1", port)) {
                let mut server = RedisServer { _process: process, connection };
                while server.call(&[b"PING"]) != b"PONG" {
                    std::thread::sleep(Duration::from_millis(10));
                }
                return server;
            }
            if Instant::now() > deadline {
                panic!("redis-server does not start: {}", std::fs::read_to_string(dir.join("redis.log")).unwrap_or_default());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The reply without its type: a line, or the bulk string. Arrays are joined with newlines.
    fn call(&mut self, args: &[&[u8]]) -> Vec<u8> {
        let mut request = Vec::new();
        aof::encode_command(&mut request, args);
        self.connection.write_all(&request).expect("request");
        self.reply()
    }

    fn reply(&mut self) -> Vec<u8> {
        let line = self.line();
        let number = || std::str::from_utf8(&line[1..]).expect("ascii").parse::<usize>();
        match line[0] {
            b'$' if line != b"$-1" => {
                let mut bulk = vec![0; number().expect("length") + 2];
                self.connection.read_exact(&mut bulk).expect("bulk");
                bulk.truncate(bulk.len() - 2);
                bulk
            }
            b'*' => {
                let count = number().expect("count");
                (0..count).map(|_| self.reply()).collect::<Vec<_>>().join(&b'\n')
            }
            _ => line[1..].to_vec(),
        }
    }

    fn line(&mut self) -> Vec<u8> {
        let mut line = Vec::new();
        let mut byte = [0];
        while !line.ends_with(b"\r\n") {
            self.connection.read_exact(&mut byte).expect("reply");
            line.push(byte[0]);
        }
        line.truncate(line.len() - 2);
        line
    }

    fn fill(&mut self, content: &Content) {
        for ((db, key), (value, expire)) in content {
            self.call(&[b"SELECT", db.to_string().as_bytes()]);
            let reply = match expire {
                None => self.call(&[b"SET", key, value]),
                Some(at) => self.call(&[b"SET", key, value, b"PXAT", at.to_string().as_bytes()]),
            };
            assert_eq!(reply, b"OK");
        }
    }

    fn content(&mut self) -> Content {
        let mut content = Content::new();
        for db in 0..16 {
            self.call(&[b"SELECT", db.to_string().as_bytes()]);
            let keys = self.call(&[b"KEYS", b"*"]);
            for key in keys.split(|&byte| byte == b'\n').filter(|key| !key.is_empty()) {
                let value = self.call(&[b"GET", key]);
                let expire: i64 = String::from_utf8(self.call(&[b"PEXPIRETIME", key])).expect("ascii").parse().expect("number");
                content.insert((db, key.to_vec()), (value, (expire >= 0).then_some(expire)));
            }
        }
        content
    }
}

fn sample() -> Content {
    let mut random = fastrand::Rng::with_seed(11);
    let mut content = Content::new();
    let mut add = |db, key: &str, value: Vec<u8>, expire| content.insert((db, key.as_bytes().to_vec()), (value, expire));
    for (i, number) in
        [0, -1, 127, -128, 128, 32767, 32768, i32::MAX as i64, i32::MIN as i64, i64::MAX, i64::MIN].iter().enumerate()
    {
        add(0, &format!("number:{i}"), number.to_string().into_bytes(), (i % 2 == 0).then_some(FAR_MS + i as i64));
    }
    add(0, "12345", b"007".to_vec(), None);
    add(3, "empty", Vec::new(), None);
    add(3, &"long key ".repeat(30), b"x".to_vec(), Some(FAR_MS));
    for len in [20, 21, 63, 64, 300, 16_383, 16_384, 70_000, 2_000_000] {
        add(15, &format!("same:{len}"), vec![b'a'; len], None);
        add(7, &format!("words:{len}"), (0..len).map(|i| b"the quick brown fox"[(i + i / 50) % 19]).collect(), None);
        add(9, &format!("random:{len}"), (0..len).map(|_| random.u8(..)).collect(), Some(FAR_MS + len as i64));
    }
    content
}

fn read_rdb(path: &Path) -> Content {
    let source = IoSource { inner: std::fs::File::open(path).expect("file"), path: path.display().to_string() };
    let mut reader = Reader::new(source, path.display().to_string()).expect("header");
    let mut content = Content::new();
    while let Some(item) = reader.next_item().expect("sound") {
        insert(&mut content, item);
    }
    content
}

fn insert(content: &mut Content, item: Item) {
    if let Item::Entry { db, key, value, expire_at_ms } = item {
        let bytes = value.as_str().expect("a string").bytes().to_vec();
        assert_eq!(content.insert((db, key), (bytes, expire_at_ms)), None, "a key comes once");
    }
}

fn read_aof(path: &Path, part: Part, content: &mut Content) {
    let source = IoSource { inner: std::fs::File::open(path).expect("file"), path: path.display().to_string() };
    let mut reader = AofReader::new(source, path.display().to_string(), part).expect("header");
    while let Some(item) = reader.next_item().expect("sound") {
        match item {
            AofItem::Preamble(item) => insert(content, item),
            AofItem::Command(command) => apply(content, command),
            AofItem::Transaction(commands) => commands.into_iter().for_each(|command| apply(content, command)),
            AofItem::Timestamp(at) => assert!(at > 1_500_000_000),
            AofItem::End(end) => assert_eq!(end.cut, None),
        }
    }
}

/// A rewrite without RDB writes expiries as commands of their own.
fn apply(content: &mut Content, command: aof::Command) {
    match &command.args[..] {
        [set, key, value] if set.eq_ignore_ascii_case(b"SET") => {
            content.insert((command.db, key.clone()), (value.clone(), None));
        }
        [set, key, value, pxat, at] if set.eq_ignore_ascii_case(b"SET") && pxat == b"PXAT" => {
            let at = std::str::from_utf8(at).expect("ascii").parse().expect("number");
            content.insert((command.db, key.clone()), (value.clone(), Some(at)));
        }
        [pexpireat, key, at] if pexpireat.eq_ignore_ascii_case(b"PEXPIREAT") => {
            let at = std::str::from_utf8(at).expect("ascii").parse().expect("number");
            content.get_mut(&(command.db, key.clone())).expect("set before").1 = Some(at);
        }
        other => panic!("unexpected command {other:?}"),
    }
}

/// The content dealt out to shards, databases interleaved; the merged file.
fn merged_file(content: &Content, shards: usize, compression: Compression) -> Vec<u8> {
    let mut writers: Vec<BodyWriter> = (0..shards).map(|_| BodyWriter::new(compression)).collect();
    let mut entries: Vec<_> = content.iter().collect();
    fastrand::Rng::with_seed(2).shuffle(&mut entries);
    for (i, ((db, key), (value, expire))) in entries.into_iter().enumerate() {
        writers[i % shards].entry(*db, key, &Value::Str(Str::new(value)), *expire);
    }
    let (bytes, parts): (Vec<Vec<u8>>, Vec<Body>) = writers.into_iter().map(BodyWriter::finish).unzip();
    let body = bodies::concatenate(&parts);
    let mut file = Vec::new();
    let aux = [("redis-ver", "7.2.0"), ("redis-bits", "64"), ("shardis-note", "unknown to Redis")];
    bodies::merge_header(&mut file, bodies::bodies_version(&parts), &aux, &[], &body.dbs);
    let end = bodies::file_end(&file, &body);
    file.extend(bytes.concat());
    file.extend(end);
    file
}

fn check_rdb(path: &Path) -> String {
    let output = Command::new("redis-check-rdb").arg(path).output().expect("redis-check-rdb is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("RDB looks OK"), "{text}");
    text
}

fn assert_same(found: &Content, expected: &Content) {
    assert!(found.keys().eq(expected.keys()), "other keys: {:?}", found.keys());
    for (key, value) in expected {
        assert!(&found[key] == value, "{key:?}");
    }
}

#[test]
fn redis_loads_our_merged_rdb_with_equal_content() {
    let content = sample();
    for (shards, compression) in [(1, Compression::Lzf), (4, Compression::Lzf), (3, Compression::Off)] {
        let dir = TempDir::new(&format!("ours-{shards}"));
        let path = dir.0.join("dump.rdb");
        std::fs::write(&path, merged_file(&content, shards, compression)).expect("write");
        let report = check_rdb(&path);
        assert!(report.contains(&format!("{} keys read", content.len())), "{report}");
        let mut redis = RedisServer::start(&dir.0, &["--dbfilename", "dump.rdb"]);
        assert_same(&redis.content(), &content);
    }
}

#[test]
fn redis_check_rdb_accepts_the_file_of_one_shard() {
    let dir = TempDir::new("shard");
    let mut writer = BodyWriter::new(Compression::Lzf);
    sample().iter().for_each(|((db, key), (value, expire))| writer.entry(*db, key, &Value::Str(Str::new(value)), *expire));
    let (bytes, body) = writer.finish();
    let mut file = Vec::new();
    bodies::shard_header(&mut file, 9, &[("redis-ver", "7.2.0")], &body.dbs);
    let (end, _) = bodies::shard_end(&file, &[body]);
    file.extend(bytes);
    file.extend(end);
    let path = dir.0.join("shard.rdb");
    std::fs::write(&path, file).expect("write");
    check_rdb(&path);
    assert_same(&read_rdb(&path), &sample());
}

#[test]
fn we_read_what_redis_saves() {
    for compression in ["yes", "no"] {
        let dir = TempDir::new(&format!("theirs-{compression}"));
        let mut redis = RedisServer::start(&dir.0, &["--rdbcompression", compression]);
        redis.fill(&sample());
        assert_eq!(redis.call(&[b"SAVE"]), b"OK");
        assert_same(&read_rdb(&dir.0.join("dump.rdb")), &sample());
    }
}

#[test]
fn dump_and_restore_work_in_both_directions_with_redis() {
    let dir = TempDir::new("dump");
    let mut redis = RedisServer::start(&dir.0, &[]);
    for ((_, key), (bytes, _)) in sample() {
        let value = Value::Str(Str::new(&bytes));
        assert_eq!(redis.call(&[b"RESTORE", &key, b"0", &super::dump_value(&value)]), b"OK");
        assert!(redis.call(&[b"GET", &key]) == bytes);
        assert!(super::restore_value(&redis.call(&[b"DUMP", &key]), &Limits::default()) == Ok(value));
    }
}

#[test]
fn redis_loads_our_single_file_aof_with_equal_content() {
    let content = sample();
    let mut commands = Vec::new();
    for ((db, key), (value, expire)) in &content {
        aof::encode_select(&mut commands, *db);
        super::values::encode_entry_as_commands(&mut commands, key, &Value::Str(Str::new(value)), *expire);
    }
    let mut preamble = merged_file(&content, 2, Compression::Lzf);
    aof::encode_select(&mut preamble, 2);
    aof::encode_command(&mut preamble, &[b"SET", b"behind", b"the preamble"]);
    let mut with_tail = content.clone();
    with_tail.insert((2, b"behind".to_vec()), (b"the preamble".to_vec(), None));
    for (name, file, expected) in [("commands", commands, content), ("preamble", preamble, with_tail)] {
        let dir = TempDir::new(&format!("aof-{name}"));
        let path = dir.0.join("appendonly.aof");
        std::fs::write(&path, file).expect("write");
        let mut found = Content::new();
        read_aof(&path, Part::Last, &mut found);
        assert_same(&found, &expected);
        let mut redis = RedisServer::start(&dir.0, &["--appendonly", "yes"]);
        assert_same(&redis.content(), &expected);
    }
}

#[test]
fn we_read_the_append_only_directory_of_redis() {
    for (name, preamble) in [("rdb", "yes"), ("plain", "no")] {
        let dir = TempDir::new(&format!("appendonlydir-{name}"));
        let options = ["--appendonly", "yes", "--aof-use-rdb-preamble", preamble, "--aof-timestamp-enabled", "yes"];
        let mut redis = RedisServer::start(&dir.0, &options);
        let content = sample();
        redis.fill(&content);
        redis.call(&[b"BGREWRITEAOF"]);
        wait_for_rewrite(&mut redis);
        redis.call(&[b"SELECT", b"4"]);
        redis.call(&[b"MULTI"]);
        redis.call(&[b"SET", b"in", b"multi"]);
        redis.call(&[b"SELECT", b"5"]);
        redis.call(&[b"SET", b"in", b"another database"]);
        redis.call(&[b"EXEC"]);
        let mut expected = content;
        expected.insert((4, b"in".to_vec()), (b"multi".to_vec(), None));
        expected.insert((5, b"in".to_vec()), (b"another database".to_vec(), None));

        let directory = dir.0.join("appendonlydir");
        let text = std::fs::read(directory.join("appendonly.aof.manifest")).expect("manifest");
        let manifest = AofManifest::parse(&text, "manifest").expect("valid");
        let files: Vec<_> = manifest.files().collect();
        assert!(files.len() >= 2);
        let mut found = Content::new();
        for (i, file) in files.iter().enumerate() {
            let part = if i + 1 == files.len() { Part::Last } else { Part::Earlier };
            read_aof(&directory.join(&file.name), part, &mut found);
        }
        assert_same(&found, &expected);
    }
}

fn wait_for_rewrite(redis: &mut RedisServer) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let info = String::from_utf8(redis.call(&[b"INFO", b"persistence"])).expect("text");
        if info.contains("aof_rewrite_in_progress:0") && info.contains("aof_rewrite_scheduled:0") {
            return;
        }
        assert!(Instant::now() < deadline, "{info}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn redis_reads_a_header_of_version_9_to_10_and_refuses_11() {
    for (version, accepted) in [(9, true), (10, true), (11, false)] {
        let dir = TempDir::new(&format!("version-{version}"));
        let mut file = Vec::new();
        encode_header(&mut file, version, &[]);
        file.extend(bodies::file_end(&file, &Body::default()));
        let path = dir.0.join("dump.rdb");
        std::fs::write(&path, file).expect("write");
        let output = Command::new("redis-check-rdb").arg(&path).output().expect("redis-check-rdb is installed");
        assert_eq!(output.status.success(), accepted, "version {version}");
    }
}

#[test]
fn sorted_sets_of_all_encodings_go_both_ways_with_redis() {
    let dir = TempDir::new("zsets");
    let mut redis = RedisServer::start(&dir.0, &[]);
    let scores = [0.1, -1e300, f64::INFINITY, 5e-324, 7.0, -3.0, 1e17];
    for (key, count, member) in [("small", 5, "m"), ("long", 5, &*"x".repeat(100)), ("big", 1000, "m"), ("numbers", 100, "")] {
        let mut zset = Zset::new();
        for number in 0..count {
            let (member, score) = (format!("{member}{number}"), scores[number % scores.len()] + number as f64);
            redis.call(&[b"ZADD", key.as_bytes(), score.to_string().as_bytes(), member.as_bytes()]);
            zset.insert(member.as_bytes(), score, &Limits::default());
        }
        let value = Value::Zset(Box::new(zset));
        let theirs = redis.call(&[b"DUMP", key.as_bytes()]);
        assert!(super::restore_value(&theirs, &Limits::default()) == Ok(value.clone()), "{key}");
        assert_eq!(redis.call(&[b"OBJECT", b"ENCODING", key.as_bytes()]), value.encoding_name().as_bytes(), "{key}");
        let ours = super::dump_value(&value);
        assert_eq!(redis.call(&[b"RESTORE", b"copy", b"0", &ours, b"REPLACE"]), b"OK", "{key}");
        assert!(
            redis.call(&[b"ZRANGE", b"copy", b"0", b"-1", b"WITHSCORES"])
                == redis.call(&[b"ZRANGE", key.as_bytes(), b"0", b"-1", b"WITHSCORES"])
        );
        assert_eq!(redis.call(&[b"OBJECT", b"ENCODING", b"copy"]), value.encoding_name().as_bytes(), "{key}");
    }
}
