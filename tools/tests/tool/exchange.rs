//! To standard files and back.

use crate::engine::Engine;
use crate::peer::{Content, Redis, approve};
use crate::{TempDir, files_below, tool, tool_ok};
use shards::log::FsyncMode;
use shards::manifest::BaseFormat;
use shards::transaction::Job;
use std::path::Path;

const FAR_MS: i64 = 4_000_000_000_000;

/// Writes keys of all kinds and remembers what must be found.
fn fill(engine: &mut Engine, content: &mut Content, round: usize) {
    let mut set = |db: u16, key: String, value: Vec<u8>, expire: Option<i64>| {
        engine.ok(&format!("SELECT {db}"));
        let at = expire.map_or(String::new(), |at| at.to_string());
        let mut args: Vec<&[u8]> = vec![b"SET", key.as_bytes(), &value];
        if expire.is_some() {
            args.extend([b"PXAT", at.as_bytes()]);
        }
        assert_eq!(engine.call(&args), b"+OK\r\n");
        content.insert((db, key.into_bytes()), (value, expire.unwrap_or(-1)));
    };
    for i in 0..200 {
        let value = "v".repeat(i % 50).into_bytes();
        set((i % 3) as u16, format!("key:{round}:{i}"), value, (i % 5 == 0).then_some(FAR_MS + i as i64));
    }
    set(0, format!("number:{round}"), b"-12345".to_vec(), None);
    set(15, format!("empty:{round}"), Vec::new(), Some(FAR_MS));
    let binary: Vec<u8> = (0..=255).collect();
    set(1, format!("binary:{round}"), binary.clone(), None);
    set(2, format!("big:{round}"), binary.repeat(12_000), Some(FAR_MS));
    set(2, format!("compressible:{round}"), vec![b'x'; 100_000], None);
    // Transactions over shards.
    engine.ok("SELECT 0");
    engine.ok(&format!("MSET a:{round} 1 b:{round} 2 c:{round} 3 d:{round} 4"));
    for (key, value) in [("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")] {
        content.insert((0, format!("{key}:{round}").into_bytes()), (value.into(), -1));
    }
    engine.ok(&format!("DEL key:{round}:0"));
    content.remove(&(0, format!("key:{round}:0").into_bytes()));
}

/// Export as RDB, loaded by redis-server.
fn content_of_rdb(dir: &Path, temp: &TempDir, version: &str) -> Content {
    let target = temp.join("redis");
    _ = std::fs::remove_dir_all(&target);
    std::fs::create_dir_all(&target).expect("new");
    let rdb = target.join("dump.rdb");
    tool_ok(&[&"export", &"--dir", &dir, &"--rdb", &rdb, &"--rdb-version", &version]);
    assert!(approve("redis-check-rdb", &rdb).contains("RDB looks OK"));
    let header = std::fs::read(&rdb).expect("just written");
    assert_eq!(&header[..9], format!("REDIS{version:0>4}").as_bytes());
    assert_eq!(files_below(&target).len(), 1, "nothing is left beside it");
    Redis::start(&target, &[]).content()
}

fn content_of_aof(dir: &Path, temp: &TempDir, options: &[&str]) -> Content {
    let target = temp.join("redis-aof");
    _ = std::fs::remove_dir_all(&target);
    std::fs::create_dir_all(&target).expect("new");
    let aof = target.join("appendonly.aof");
    let mut args: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"export", &"--dir", &dir, &"--aof", &aof];
    options.iter().for_each(|option| args.push(option));
    tool_ok(&args);
    approve("redis-check-aof", &aof);
    let begins_with_rdb = std::fs::read(&aof).expect("just written").starts_with(b"REDIS");
    assert_eq!(begins_with_rdb, options.is_empty());
    Redis::start(&target, &["--appendonly", "yes"]).content()
}

fn check_all_forms(dir: &Path, temp: &TempDir, expected: &Content) {
    let before = files_below(dir);
    tool_ok(&[&"check", &"--dir", &dir]);
    tool_ok(&[&"inspect", &"--dir", &dir]);
    for version in ["9", "10"] {
        assert!(content_of_rdb(dir, temp, version) == *expected, "RDB {version}");
    }
    assert!(content_of_aof(dir, temp, &[]) == *expected, "AOF with an RDB at its beginning");
    assert!(content_of_aof(dir, temp, &["--no-preamble"]) == *expected, "AOF of commands");
    assert!(files_below(dir) == before, "export, check and inspect change nothing");
}

#[test]
fn an_export_holds_base_and_log_of_every_generation_and_a_copy_of_bases_alone() {
    for base_format in [BaseFormat::Rdb, BaseFormat::Commands] {
        let temp = TempDir::new(&format!("export-{base_format:?}"));
        let (dir, mut content) = (temp.join("data"), Content::new());
        let start = |shards, mode| Engine::try_start(&dir, shards, mode, base_format).expect("starts");
        let mut engine = start(3, FsyncMode::Everysec);
        fill(&mut engine, &mut content, 1);
        engine.stop();
        check_all_forms(&dir, &temp, &content);
        // Another number of shards, no clean stop, a base in between.
        let mut engine = start(2, FsyncMode::Always);
        fill(&mut engine, &mut content, 2);
        engine.job(Job::Snapshot { format: base_format, start_log: false });
        fill(&mut engine, &mut content, 3);
        drop(engine);
        check_all_forms(&dir, &temp, &content);
        let mut engine = start(2, FsyncMode::No);
        engine.job(Job::Snapshot { format: base_format, start_log: false });
        engine.stop();
        let text = tool_ok(&[&"export", &"--dir", &dir, &"--rdb", &temp.join("copied.rdb")]);
        assert_eq!(text.contains("copied from 2 base files"), base_format == BaseFormat::Rdb, "{text}");
        check_all_forms(&dir, &temp, &content);
    }
}

#[test]
fn files_of_redis_come_in_and_go_out_unchanged() {
    let temp = TempDir::new("import");
    let redis_dir = temp.join("redis-source");
    std::fs::create_dir_all(&redis_dir).expect("new");
    let mut redis = Redis::start(&redis_dir, &["--appendonly", "yes"]);
    for i in 0..500u32 {
        redis.call(&[b"SELECT", (i % 4).to_string().as_bytes()]);
        let (key, value) = (format!("k{i}"), format!("{i}").repeat(i as usize % 40 + 1));
        redis.call(&[b"SET", key.as_bytes(), value.as_bytes()]);
        if i % 3 == 0 {
            redis.call(&[b"PEXPIREAT", key.as_bytes(), (FAR_MS + i as i64).to_string().as_bytes()]);
        }
    }
    redis.call(&[b"MULTI"]);
    redis.call(&[b"SET", b"in", b"transaction"]);
    redis.call(&[b"INCR", b"counter"]);
    redis.call(&[b"EXEC"]);
    redis.call(&[b"SAVE"]);
    let expected = redis.content();
    let parts = redis_dir.join("appendonlydir");
    let increment = parts.join("appendonly.aof.1.incr.aof");
    let single = temp.join("single.aof");
    std::fs::copy(&increment, &single).expect("the increment holds all commands");
    drop(redis);
    let sources: [(&str, &Path); 3] = [("--rdb", &redis_dir.join("dump.rdb")), ("--aof", &single), ("--appendonlydir", &parts)];
    for (option, path) in sources {
        let dir = temp.join(&format!("data{option}"));
        let text = tool_ok(&[&"import", &"--dir", &dir, &"--shards", &"3", &option, &path]);
        assert!(text.contains("502 keys in 3 shards"), "{option}: {text}");
        check_all_forms(&dir, &temp, &expected);
        // A server starts with it, and not on top of it.
        let mut engine = Engine::start(&dir, 2, FsyncMode::Always);
        engine.ok("SET written later");
        engine.stop();
        let mut more = expected.clone();
        more.insert((0, b"written".to_vec()), (b"later".to_vec(), -1));
        assert!(content_of_rdb(&dir, &temp, "10") == more, "{option}");
        let again = tool(&[&"import", &"--dir", &dir, &option, &path]);
        assert_eq!(again.status, 2, "{}", again.text);
        tool_ok(&[&"check", &path.join(if path.is_dir() { "appendonly.aof.manifest" } else { "" }).components().as_path()]);
    }
}

#[test]
fn an_inspected_rdb_shows_how_big_its_values_are() {
    let temp = TempDir::new("sizes");
    let redis_dir = temp.join("redis");
    std::fs::create_dir_all(&redis_dir).expect("new");
    let mut redis = Redis::start(&redis_dir, &[]);
    for line in [
        "SET string 12345",
        "RPUSH list aaaa bb 7",
        "SADD set 1 22 333",
        "SADD set:words one three",
        "HSET hash field value f 12",
        "ZADD zset 1.5 member 2 m",
        "XADD stream 1-1 field value",
        "XADD stream 2-1 field value",
    ] {
        redis.call(&line.split(' ').map(str::as_bytes).collect::<Vec<_>>());
    }
    // Compressed in the file, and more than one node, table or tree here.
    let big: Vec<String> = (0..2000).map(|number| format!("{number:04}{}", "x".repeat(96))).collect();
    for command in ["RPUSH big:list", "SADD big:set"] {
        let args = command.split(' ').chain(big.iter().map(String::as_str));
        redis.call(&args.map(str::as_bytes).collect::<Vec<_>>());
    }
    redis.call(&[b"SAVE"]);
    let text = tool_ok(&[&"inspect", &redis_dir.join("dump.rdb")]);
    for line in [
        "big        2000 elements in 200000 bytes: db0 big:list (list)",
        "big        2000 members in 200000 bytes: db0 big:set (set)",
        "big        5 bytes: db0 string (string)",
        "big        3 elements in 7 bytes: db0 list (list)",
        "big        3 members in 6 bytes: db0 set (set)",
        "big        2 members in 8 bytes: db0 set:words (set)",
        "big        2 fields in 13 bytes: db0 hash (hash)",
        "big        2 members in 23 bytes: db0 zset (zset)",
        "keys       db0: 2 of type list, 2003 elements in 200007 bytes",
        "keys       db0: 3 of type set, 2005 members in 200014 bytes",
        "keys       db0: 1 of type string, 5 bytes",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert!(text.contains("big        2 entries in ") && text.contains("db0 stream (stream)"), "{text}");
}

#[test]
fn a_torn_aof_is_cut_or_refused_as_asked() {
    let temp = TempDir::new("torn-aof");
    let file = temp.join("torn.aof");
    std::fs::write(&file, b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n*3\r\n$3").expect("new");
    let refused = tool(&[&"import", &"--dir", &temp.join("refused"), &"--no-truncated", &"--aof", &file]);
    assert_eq!(refused.status, 1, "{}", refused.text);
    let expected = "torn.aof @ 27: the end is torn, and aof-load-truncated is no: 6 bytes, a record that was never finished";
    assert!(refused.text.contains(expected), "{}", refused.text);
    let cut = tool_ok(&[&"import", &"--dir", &temp.join("cut"), &"--aof", &file]);
    assert!(cut.contains("torn.aof @ 27: a torn tail of 6 bytes") && cut.contains("1 key in"), "{cut}");
}

#[test]
fn a_running_server_and_wrong_usage_are_refused() {
    let temp = TempDir::new("refused");
    let dir = temp.join("data");
    let mut engine = Engine::start(&dir, 1, FsyncMode::No);
    engine.ok("SET a 1");
    let rdb = temp.join("dump.rdb");
    // The server takes the lock; the engine alone does not.
    let lock = std::fs::File::create(dir.join("shardis.lock")).expect("lock file");
    lock.lock().expect("free");
    let refusals: [&[&dyn AsRef<std::ffi::OsStr>]; 4] = [
        &[&"export", &"--dir", &dir, &"--rdb", &rdb],
        &[&"check", &"--dir", &dir],
        &[&"check", &"--dir", &dir, &"--fix"],
        &[&"inspect", &"--dir", &dir],
    ];
    for args in refusals {
        let outcome = tool(args);
        assert_eq!(outcome.status, 2);
        assert!(outcome.text.contains("EXPORT"), "{}", outcome.text);
    }
    // Not only dropped: a process that another test is about to start may hold a copy of the descriptor for a moment.
    lock.unlock().expect("ours");
    tool_ok(refusals[0]);
    let wrong: [&[&dyn AsRef<std::ffi::OsStr>]; 7] = [
        &[&"export", &"--dir", &dir],
        &[&"export", &"--dir", &dir, &"--rdb", &rdb, &"--no-preamble"],
        &[&"export", &"--dir", &dir, &"--rdb", &rdb, &"--rdb-version", &"13"],
        &[&"export", &"--dir", &temp.join("no"), &"--rdb", &rdb],
        &[&"export", &"--dir", &temp.join(""), &"--rdb", &rdb],
        &[&"check", &temp.join("no")],
        &[&"import", &"--dir", &dir, &"--rdb", &rdb],
    ];
    for args in wrong {
        let outcome = tool(args);
        assert_eq!(outcome.status, 2, "{}", outcome.text);
    }
}
