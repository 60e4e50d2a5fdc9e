//! Damaged files: named with their offset, never a panic, and cut only on request.

use crate::engine::Engine;
use crate::{TempDir, files_below, tool, tool_ok};
use shards::log::FsyncMode;
use shards::log::format::HEADER_BYTES;
use shards::manifest::BaseFormat;
use shards::transaction::Job;
use std::path::{Path, PathBuf};

/// Two shards with a base and a log behind it, stopped in order.
fn data(temp: &TempDir) -> PathBuf {
    let dir = temp.join("data");
    let mut engine = Engine::start(&dir, 2, FsyncMode::Always);
    (0..50).for_each(|i| engine.ok(&format!("SET base:{i} {i}")));
    engine.job(Job::Snapshot { format: BaseFormat::Rdb, start_log: false });
    for i in 0..300 {
        engine.ok(&format!("SET key:{i} {i}"));
        if i % 10 == 0 {
            engine.ok(&format!("MSET a:{i} 1 b:{i} 2 c:{i} 3"));
        }
    }
    engine.stop();
    dir
}

fn copy(from: &Path, to: &Path) {
    _ = std::fs::remove_dir_all(to);
    for (path, bytes) in files_below(from) {
        let target = to.join(path.strip_prefix(from).expect("below"));
        std::fs::create_dir_all(target.parent().expect("below")).expect("new");
        std::fs::write(target, bytes).expect("new");
    }
}

fn find(dir: &Path, wanted: &str) -> PathBuf {
    let files = files_below(dir);
    let found = files.iter().find(|(path, _)| path.display().to_string().contains(wanted));
    found.unwrap_or_else(|| panic!("no {wanted} in {:?}", files.iter().map(|(path, _)| path).collect::<Vec<_>>())).0.clone()
}

fn flip(path: &Path, offset: usize) {
    let mut bytes = std::fs::read(path).expect("there");
    bytes[offset] ^= 0x10;
    std::fs::write(path, bytes).expect("writable");
}

fn truncate(path: &Path, bytes: u64) {
    std::fs::OpenOptions::new().write(true).open(path).expect("there").set_len(bytes).expect("writable");
}

#[test]
fn damage_is_named_with_file_and_offset() {
    let temp = TempDir::new("damage");
    let (sound, dir) = (data(&temp), temp.join("damaged"));
    let text = tool_ok(&[&"check", &"--dir", &sound]);
    assert!(text.contains("after a clean stop") && text.ends_with("sound\n"), "{text}");
    type Damage = fn(&Path);
    let cases: [(&str, Damage, &str); 8] = [
        ("log-1-", |path| flip(path, HEADER_BYTES + 40), "@ 4096"),
        ("log-1-", |path| flip(path, 30), "@ 0"),
        ("log-1-", |path| truncate(path, 5000), "truncated"),
        ("log-1-", |path| std::fs::remove_file(path).expect("there"), "there is no such file"),
        (".rdb", |path| flip(path, 60), "@ "),
        (".rdb", |path| truncate(path, 100), "@ 100"),
        (".rdb", |path| std::fs::remove_file(path).expect("there"), "there is none"),
        ("shardis.manifest", |path| flip(path, 30), "@ "),
    ];
    for (file, damage, expected) in cases {
        copy(&sound, &dir);
        let path = find(&dir, file);
        damage(&path);
        let before = files_below(&dir);
        let outcome = tool(&[&"check", &"--dir", &dir]);
        let name = path.strip_prefix(&dir).expect("below").display().to_string();
        assert_eq!(outcome.status, 1, "{file}: {}", outcome.text);
        let line =
            outcome.text.lines().find(|line| line.starts_with("DAMAGE")).unwrap_or_else(|| panic!("{file}: {}", outcome.text));
        assert!(line.contains(&name) && line.contains(expected), "{file}, {expected}: {line}");
        // A start stops at the same place, and an export leaves nothing half-made.
        assert!(Engine::try_start(&dir, 2, FsyncMode::Always, BaseFormat::Rdb).is_err(), "{file}");
        assert!(files_below(&dir) == before, "{file}: neither a check nor a refused start changes a file");
        let rdb = temp.join("dump.rdb");
        assert_eq!(tool(&[&"export", &"--dir", &dir, &"--rdb", &rdb]).status, 1, "{file}");
        assert!(!rdb.exists());
        if path.exists() && file != "log-1-" {
            assert_eq!(tool(&[&"check", &path]).status, 1, "{file} by itself");
        }
    }
}

#[test]
fn fix_cuts_a_damaged_log_to_the_largest_consistent_state() {
    let temp = TempDir::new("fix");
    let (sound, dir) = (data(&temp), temp.join("damaged"));
    let segments = |dir: &Path| {
        files_below(dir).into_iter().filter(|(path, _)| path.display().to_string().contains("shard-0001/log-1-")).count()
    };
    assert!(segments(&sound) >= 2, "the log has rotated");
    type Damage = fn(&Path);
    let damages: [Damage; 4] = [
        |path| flip(path, 4500),
        |path| flip(path, 0),
        |path| truncate(path, 6000),
        |path| std::fs::remove_file(path).expect("there"),
    ];
    for (case, damage) in damages.into_iter().enumerate() {
        copy(&sound, &dir);
        let path = find(&dir, "shard-0001/log-1-2");
        damage(&path);
        let damaged = std::fs::read(&path).ok();
        let before = files_below(&dir);
        let outcome = tool(&[&"check", &"--dir", &dir, &"--fix"]);
        assert_eq!(outcome.status, 0, "{case}: {}", outcome.text);
        assert_kept(&dir, &before, damaged.as_deref(), &path, &outcome.text);
        assert!(outcome.text.contains("lost       generation 1 shard-0001"), "{case}: {}", outcome.text);
        tool_ok(&[&"check", &"--dir", &dir]);
        let mut engine = Engine::start(&dir, 2, FsyncMode::Always);
        for i in 0..50 {
            assert_eq!(engine.call(&[b"EXISTS", format!("base:{i}").as_bytes()]), b":1\r\n", "{case}: the base is there");
        }
        for i in (0..300).step_by(10) {
            let keys = [format!("a:{i}"), format!("b:{i}"), format!("c:{i}")];
            let reply = engine.call(&[b"EXISTS", keys[0].as_bytes(), keys[1].as_bytes(), keys[2].as_bytes()]);
            assert!(reply == b":0\r\n" || reply == b":3\r\n", "{case}: a transaction is there in part, {i}");
        }
        engine.ok("SET after fix");
        // A snapshot removes the segments that it replaces, and not what was kept aside.
        engine.job(Job::Snapshot { format: BaseFormat::Rdb, start_log: false });
        engine.stop();
        assert_kept(&dir, &before, damaged.as_deref(), &path, &outcome.text);
        tool_ok(&[&"check", &"--dir", &dir]);
        let asides = |dir: &Path| {
            files_below(dir).into_iter().filter(|(path, _)| path.display().to_string().contains(".damaged")).collect::<Vec<_>>()
        };
        let kept = asides(&dir);
        tool_ok(&[&"check", &"--dir", &dir, &"--fix"]);
        assert!(asides(&dir) == kept, "{case}: a second repair leaves what was kept");
    }
}

#[test]
fn a_repair_leaves_what_an_earlier_one_has_kept() {
    let temp = TempDir::new("twice");
    let dir = data(&temp);
    let path = find(&dir, "shard-0001/log-1-2");
    flip(&path, 4500);
    let aside = |suffix: &str| PathBuf::from(format!("{}.damaged{suffix}", path.display()));
    std::fs::write(aside(""), "kept before").expect("new");
    let damaged = std::fs::read(&path).expect("there");
    tool_ok(&[&"check", &"--dir", &dir, &"--fix"]);
    assert_eq!(std::fs::read(aside("")).expect("there"), b"kept before");
    assert!(std::fs::read(aside("-2")).expect("there") == damaged);
}

/// Every segment that loses records is kept aside as it was, the damaged one too, and the tool says where.
fn assert_kept(dir: &Path, before: &[(PathBuf, Vec<u8>)], damaged: Option<&[u8]>, path: &Path, said: &str) {
    let beside = |path: &Path| PathBuf::from(format!("{}.damaged", path.display()));
    if let Some(bytes) = damaged {
        assert!(std::fs::read(beside(path)).expect("the damaged file is kept aside") == bytes);
    }
    let mut kept = 0;
    for (file, bytes) in before.iter().filter(|(file, _)| beside(file).exists()) {
        assert!(std::fs::read(beside(file)).expect("there") == *bytes, "{}", file.display());
        let name = beside(file).strip_prefix(dir).expect("below").display().to_string();
        assert!(said.contains(&format!("kept aside {name}: ")), "{said}");
        kept += 1;
    }
    // Shard 0 loses transactions that shard 1 has lost.
    assert!(kept >= 2, "{said}");
}

#[test]
fn a_torn_tail_is_reported_and_cut_by_the_next_start() {
    let temp = TempDir::new("torn");
    let dir = temp.join("data");
    let mut engine = Engine::start(&dir, 1, FsyncMode::No);
    (0..20).for_each(|i| engine.ok(&format!("SET key:{i} {i}")));
    drop(engine);
    let path = find(&dir, "log-1-1");
    let mut bytes = std::fs::read(&path).expect("there");
    let end = bytes.iter().rposition(|&byte| byte != 0).expect("frames");
    bytes[end] ^= 1;
    std::fs::write(&path, &bytes).expect("writable");
    let text = tool_ok(&[&"check", &"--dir", &dir]);
    assert!(text.contains("torn tail of") && text.contains("frame crc") && text.contains("cuts "), "{text}");
    let text = tool_ok(&[&"check", &path]);
    assert!(text.contains("torn tail of"), "{text}");
    assert!(tool_ok(&[&"inspect", &path]).contains("db0 SET key:18 18"));
    let fixed = temp.join("fixed");
    copy(&dir, &fixed);
    let text = tool_ok(&[&"check", &"--dir", &fixed, &"--fix", &"--recovery-assume", &"process-crash"]);
    assert!(text.contains("fixed"), "{text}");
    assert!(!tool_ok(&[&"check", &"--dir", &fixed]).contains("cuts"));
    for dir in [&dir, &fixed] {
        let mut engine = Engine::start(dir, 1, FsyncMode::No);
        assert_eq!(engine.call(&[b"EXISTS", b"key:18"]), b":1\r\n");
        assert_eq!(engine.call(&[b"EXISTS", b"key:19"]), b":0\r\n");
    }
}

#[test]
fn random_damage_never_makes_the_tool_panic() {
    let temp = TempDir::new("random");
    let (sound, dir) = (data(&temp), temp.join("damaged"));
    let mut standard = Vec::new();
    for (option, name) in [("--rdb", "dump.rdb"), ("--aof", "appendonly.aof")] {
        standard.push(temp.join(name));
        tool_ok(&[&"export", &"--dir", &sound, &option, &temp.join(name)]);
    }
    let mut random = fastrand::Rng::with_seed(11);
    for round in 0..60 {
        copy(&sound, &dir);
        let names: Vec<PathBuf> = files_below(&dir).into_iter().map(|(path, _)| path).chain(standard.clone()).collect();
        let path = &names[random.usize(..names.len())];
        let before = std::fs::read(path).expect("there");
        let mut bytes = before.clone();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(..bytes.len().max(1));
            match random.u8(..5) {
                0 => bytes.truncate(at),
                1 => bytes.extend((0..random.usize(..100)).map(|_| random.u8(..))),
                2 => bytes.iter_mut().skip(at).take(100).for_each(|byte| *byte = 0),
                3 => bytes.iter_mut().skip(at).take(8).for_each(|byte| *byte = 0xff),
                _ => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << random.u8(..8)),
            }
        }
        std::fs::write(path, &bytes).expect("writable");
        let checked = tool(&[&"check", &"--dir", &dir]);
        assert!(checked.status <= 1, "round {round}: {}", checked.text);
        tool(&[&"check", path]);
        tool(&[&"inspect", path]);
        tool(&[&"inspect", &"--dir", &dir]);
        let exported = tool(&[&"export", &"--dir", &dir, &"--aof", &temp.join("out.aof"), &"--no-preamble"]);
        // The check and the export read with the same eyes: what one finds sound the other can load.
        assert_eq!(checked.status, exported.status, "round {round}, {}: {}\n{}", path.display(), checked.text, exported.text);
        let fixed = tool(&[&"check", &"--dir", &dir, &"--fix"]);
        if fixed.status == 0 {
            tool_ok(&[&"check", &"--dir", &dir]);
        }
        if standard.contains(path) {
            tool(&[
                &"import",
                &"--dir",
                &temp.join(&format!("import-{round}")),
                &if path == &standard[0] { "--rdb" } else { "--aof" },
                path,
            ]);
            std::fs::write(path, before).expect("writable");
        }
    }
}
