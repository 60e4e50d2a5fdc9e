//! `kill -9` at random moments, again and again on one directory, under everything that a server does meanwhile: snapshots, rewrites,
//! exports, changes of the fsync mode, restarts with another number of shards, kills during recovery.
//!
//! What must hold after each start, in every mode, since the page cache survives:
//! 1. every acknowledged write is there, and nothing that was neither acknowledged nor under way;
//! 2. a command over keys of several shards is there whole or not at all;
//! 3. what any reply showed is there; so what was shown before a surviving write was issued is there too;
//! 4. an export holds one point of the order: the same rules, seen by a real redis-server.
//!
//! `SHARDIS_KILL_ROUNDS` (kills per mode and number of shards) and `SHARDIS_KILL_SEED` make it longer and different:
//! `SHARDIS_KILL_ROUNDS=60 SHARDIS_KILL_SEED=7 cargo test --release --test server kill`.

use crate::harness::{Client, Dir, Random, Redis, Reply, Server, bulk, encode, number_of, ok};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const MODES: [&str; 3] = ["always", "everysec", "no"];
const SHARDS: [&str; 3] = ["1", "2", "4"];
const MODEL_WRITERS: usize = 3;
const MODEL_KEYS: u64 = 8;
const PIPELINE_WRITERS: usize = 2;
const PAIRS: usize = 2;
const OBSERVERS: usize = 2;

/// The keys of one writer who has them for himself.
type Model = BTreeMap<String, String>;

/// What must be there, from one kill to the next.
#[derive(Default)]
struct Lineage {
    models: [Model; MODEL_WRITERS],
    /// Per pipeline: its prefix, and how many of its writes were acknowledged.
    pipelines: Vec<(String, u64)>,
    /// The values of the pairs, and the notes of the observers, as found after the last start.
    pairs: [u64; PAIRS],
    notes: [u64; OBSERVERS],
}

/// A writer's end: what he had acknowledged, and the command that was under way.
struct ModelEnd {
    model: Model,
    pending: Option<Vec<String>>,
}

fn model_command(writer: usize, unique: u64, random: &mut Random) -> Vec<String> {
    let mut key = || format!("m{writer}:{}", random.below(MODEL_KEYS));
    let (a, b, c) = (key(), key(), key());
    let value = |part: u64| format!("{unique}.{part}");
    let words: Vec<String> = match random.below(12) {
        0 => vec!["SET".into(), a, value(0)],
        1 => vec!["SET".into(), a, unique.to_string()],
        2 | 3 => vec!["MSET".into(), a, value(0), b, value(1), c, value(2)],
        4 => vec!["MSETNX".into(), a, value(0), b, value(1)],
        5 => vec!["INCR".into(), a],
        6 => vec!["DEL".into(), a, b],
        7 => vec!["RENAME".into(), a, b],
        8 => vec!["COPY".into(), a, b, "REPLACE".into()],
        9 => vec!["APPEND".into(), a, value(0)],
        10 => vec!["GETSET".into(), a, value(0)],
        _ => vec!["MGET".into(), a, b, c],
    };
    words
}

/// The reply that the command must get, and its change.
fn apply(model: &mut Model, words: &[String]) -> Reply {
    let found = |model: &Model, key: &String| model.get(key).map_or(Reply::Null, |value| bulk(value));
    let keys = &words[1..];
    match words[0].as_str() {
        "SET" | "MSET" => {
            keys.chunks(2).for_each(|pair| drop(model.insert(pair[0].clone(), pair[1].clone())));
            ok()
        }
        "MSETNX" => {
            let is_free = keys.chunks(2).all(|pair| !model.contains_key(&pair[0]));
            if is_free {
                keys.chunks(2).for_each(|pair| drop(model.insert(pair[0].clone(), pair[1].clone())));
            }
            Reply::Integer(is_free as i64)
        }
        "INCR" => match model.get(&keys[0]).map_or(Ok(0), |value| value.parse::<i64>()) {
            Ok(value) => {
                model.insert(keys[0].clone(), (value + 1).to_string());
                Reply::Integer(value + 1)
            }
            Err(_) => Reply::Error("ERR value is not an integer or out of range".into()),
        },
        "DEL" => Reply::Integer(keys.iter().filter(|key| model.remove(*key).is_some()).count() as i64),
        "RENAME" => match model.remove(&keys[0]) {
            Some(value) => {
                model.insert(keys[1].clone(), value);
                ok()
            }
            None => Reply::Error("ERR no such key".into()),
        },
        "COPY" if keys[0] == keys[1] => Reply::Error("ERR source and destination objects are the same".into()),
        "COPY" => match model.get(&keys[0]).cloned() {
            Some(value) => {
                model.insert(keys[1].clone(), value);
                Reply::Integer(1)
            }
            None => Reply::Integer(0),
        },
        "APPEND" => {
            let value = model.entry(keys[0].clone()).or_default();
            value.push_str(&keys[1]);
            Reply::Integer(value.len() as i64)
        }
        "GETSET" => {
            let before = found(model, &keys[0]);
            model.insert(keys[0].clone(), keys[1].clone());
            before
        }
        "MGET" => Reply::Array(keys.iter().map(|key| found(model, key)).collect()),
        other => panic!("{other} is not modelled"),
    }
}

fn write_with_model(mut client: Client, writer: usize, mut model: Model, seed: u64) -> ModelEnd {
    let mut random = Random(seed);
    for step in 0.. {
        let words = model_command(writer, (seed % 1_000_000) * 1_000_000 + step, &mut random);
        let Some(reply) = client.ask(&words) else { return ModelEnd { model, pending: Some(words) } };
        assert_eq!(reply, apply(&mut model, &words), "{words:?}");
    }
    unreachable!("the server is killed before")
}

/// Writes under names never used before, many at once; returns how many were acknowledged.
fn write_pipelined(mut client: Client, prefix: &str, seed: u64) -> u64 {
    let mut random = Random(seed);
    let mut acknowledged = 0;
    loop {
        let batch = 1 + random.below(48);
        let mut bytes = Vec::new();
        for i in acknowledged..acknowledged + batch {
            let (a, b, value) = (format!("{prefix}a{i}"), format!("{prefix}b{i}"), i.to_string());
            let words: &[&str] = &["MSET", &a, &value, &b, &value];
            let words = if i % 4 == 0 { words } else { &["SET", &a, &value] };
            bytes.extend(encode(&words.iter().map(|word| word.as_bytes()).collect::<Vec<_>>()));
        }
        if client.stream.write_all(&bytes).is_err() {
            // Some of it may have been answered: those replies are still to be read.
        }
        for _ in 0..batch {
            match client.try_reply() {
                Some(reply) => assert_eq!(reply, ok()),
                None => return acknowledged,
            }
            acknowledged += 1;
        }
    }
}

/// Both keys of a pair always get the same number, each time a higher one; returns the last acknowledged.
fn write_pair(mut client: Client, pair: usize, from: u64, seed: u64) -> u64 {
    let mut random = Random(seed);
    let mut acknowledged = from;
    loop {
        let batch = 1 + random.below(6);
        let mut bytes = Vec::new();
        for value in acknowledged + 1..=acknowledged + batch {
            let value = value.to_string();
            let (x, y) = (format!("pair{pair}:x"), format!("pair{pair}:y"));
            bytes.extend(encode(&[b"MSET", x.as_bytes(), value.as_bytes(), y.as_bytes(), value.as_bytes()]));
        }
        if client.stream.write_all(&bytes).is_err() {
            // Some of it may have been answered: those replies are still to be read.
        }
        for _ in 0..batch {
            match client.try_reply() {
                Some(reply) => assert_eq!(reply, ok()),
                None => return acknowledged,
            }
            acknowledged += 1;
        }
    }
}

fn pair_values(client: &mut Client) -> Option<[u64; PAIRS]> {
    let Reply::Array(values) = client.ask(&["MGET", "pair0:x", "pair0:y", "pair1:x", "pair1:y"])? else { panic!("an array") };
    let numbers: Vec<u64> = values.iter().map(as_number).collect();
    assert!(numbers[0] == numbers[1] && numbers[2] == numbers[3], "a mixture of two MSETs: {numbers:?}");
    Some([numbers[0], numbers[2]])
}

fn as_number(reply: &Reply) -> u64 {
    match reply {
        Reply::Null => 0,
        Reply::Bulk(text) => std::str::from_utf8(text).expect("text").parse().expect("a number"),
        other => panic!("{other:?}"),
    }
}

/// Looks at the pairs and notes what it saw; returns the last note that was acknowledged.
fn observe(mut client: Client, observer: usize, shown: &[AtomicU64; PAIRS], from: u64) -> u64 {
    let mut acknowledged = from;
    let mut last = [0; PAIRS];
    loop {
        let Some(values) = pair_values(&mut client) else { return acknowledged };
        for pair in 0..PAIRS {
            assert!(values[pair] >= last[pair], "pair {pair} went back from {} to {}", last[pair], values[pair]);
            shown[pair].fetch_max(values[pair], Ordering::Relaxed);
        }
        last = values;
        match client.ask(&["SET", &format!("note{observer}"), &values[0].to_string()]) {
            Some(reply) => assert_eq!(reply, ok()),
            None => return acknowledged,
        }
        acknowledged = values[0];
    }
}

/// What an operator does meanwhile.
fn disturb(mut client: Client, round: u64, seed: u64) {
    let mut random = Random(seed);
    for step in 0.. {
        let line = match random.below(6) {
            0 => "BGSAVE".to_string(),
            1 => "BGREWRITEAOF".into(),
            2 => format!("EXPORT RDB export-{round}-{step}.rdb"),
            3 => format!("EXPORT AOF export-{round}-{step}.aof"),
            _ => format!("CONFIG SET appendfsync {}", random.one_of(&MODES)),
        };
        let words: Vec<&str> = line.split(' ').collect();
        match client.ask(&words) {
            None => return,
            Some(Reply::Error(text)) => assert!(text.contains("in progress") || text.contains("right now"), "{line}: {text}"),
            Some(_) => {}
        }
        std::thread::sleep(Duration::from_millis(random.below(40)));
    }
}

/// Everything goes on until the server is killed; then what must be there is written down.
struct Ends {
    models: Vec<ModelEnd>,
    pipelines: Vec<(String, u64)>,
    pairs: Vec<u64>,
    notes: Vec<u64>,
    shown: [AtomicU64; PAIRS],
}

fn run_until_killed(server: Server, lineage: &Lineage, round: u64, random: &mut Random) -> Ends {
    let shown: [AtomicU64; PAIRS] = Default::default();
    let mut seed = || random.next();
    let (models, pipelines, pairs, notes) = std::thread::scope(|scope| {
        let models: Vec<_> = (0..MODEL_WRITERS)
            .map(|writer| {
                let (client, model, seed) = (server.client(), lineage.models[writer].clone(), seed());
                scope.spawn(move || write_with_model(client, writer, model, seed))
            })
            .collect();
        let pipelines: Vec<_> = (0..PIPELINE_WRITERS)
            .map(|writer| {
                let (client, prefix, seed) = (server.client(), format!("p{round}.{writer}:"), seed());
                scope.spawn(move || {
                    let acknowledged = write_pipelined(client, &prefix, seed);
                    (prefix, acknowledged)
                })
            })
            .collect();
        let pairs: Vec<_> = (0..PAIRS)
            .map(|pair| {
                let (client, from, seed) = (server.client(), lineage.pairs[pair], seed());
                scope.spawn(move || write_pair(client, pair, from, seed))
            })
            .collect();
        let shown = &shown;
        let notes: Vec<_> = (0..OBSERVERS)
            .map(|observer| {
                let (client, from) = (server.client(), lineage.notes[observer]);
                scope.spawn(move || observe(client, observer, shown, from))
            })
            .collect();
        let (client, chaos_seed) = (server.client(), seed());
        scope.spawn(move || disturb(client, round, chaos_seed));
        std::thread::sleep(Duration::from_millis(30 + seed() % 500));
        server.kill();
        (join(models), join(pipelines), join(pairs), join(notes))
    });
    Ends { models, pipelines, pairs, notes, shown }
}

fn join<T>(threads: Vec<std::thread::ScopedJoinHandle<'_, T>>) -> Vec<T> {
    threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
}

fn verify(client: &mut Client, lineage: &mut Lineage, ends: Ends, context: &str) {
    for (writer, end) in ends.models.into_iter().enumerate() {
        let found = read_model(client, writer);
        let mut after = end.model.clone();
        end.pending.iter().for_each(|words| drop(apply(&mut after, words)));
        assert!(
            found == end.model || found == after,
            "{context}: writer {writer}:\n  found    {found:?}\n  expected {:?}\n  or after {:?}",
            end.model,
            end.pending
        );
        lineage.models[writer] = found;
    }
    lineage.pipelines.extend(ends.pipelines);
    for (prefix, acknowledged) in &lineage.pipelines {
        verify_pipeline(client, prefix, *acknowledged, context);
    }
    let pairs = pair_values(client).expect("a reply");
    for (pair, &acknowledged) in ends.pairs.iter().enumerate() {
        let (found, shown) = (pairs[pair], ends.shown[pair].load(Ordering::Relaxed));
        assert!(found >= acknowledged, "{context}: pair {pair} is {found}, acknowledged was {acknowledged}");
        assert!(found >= shown, "{context}: pair {pair} is {found}, a reply showed {shown}");
    }
    lineage.pairs = pairs;
    for (observer, acknowledged) in ends.notes.into_iter().enumerate() {
        let note = as_number(&client.call(&format!("get note{observer}")));
        assert!(note >= acknowledged, "{context}: note {observer} is {note}, acknowledged was {acknowledged}");
        assert!(note <= pairs[0], "{context}: note {observer} says {note}, pair 0 is {}", pairs[0]);
        lineage.notes[observer] = note;
    }
}

fn read_model(client: &mut Client, writer: usize) -> Model {
    let mut model = Model::new();
    for key in (0..MODEL_KEYS).map(|key| format!("m{writer}:{key}")) {
        if let Reply::Bulk(value) = client.call(&format!("get {key}")) {
            model.insert(key, String::from_utf8(value).expect("text"));
        }
    }
    model
}

/// Some more than were acknowledged may be there: each whole or not at all.
fn verify_pipeline(client: &mut Client, prefix: &str, acknowledged: u64, context: &str) {
    const AT_ONCE: u64 = 200;
    let end = acknowledged + 64;
    for from in (0..end).step_by(AT_ONCE as usize) {
        let numbers = from..end.min(from + AT_ONCE);
        let keys = numbers.clone().flat_map(|i| [format!("{prefix}a{i}"), format!("{prefix}b{i}")]);
        let words: Vec<String> = std::iter::once("MGET".to_string()).chain(keys).collect();
        let Some(Reply::Array(values)) = client.ask(&words) else { panic!("an array") };
        for (i, pair) in numbers.zip(values.chunks(2)) {
            let value = bulk(&i.to_string());
            let whole = [value.clone(), if i % 4 == 0 { value } else { Reply::Null }];
            let is_absent = pair == [Reply::Null, Reply::Null];
            assert!(pair == whole || (is_absent && i >= acknowledged), "{context}: {prefix}{i} of {acknowledged}: {pair:?}");
        }
    }
}

/// Exports that were finished when the server was killed, and are removed once looked at.
fn exports(dir: &Dir) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir.path()).expect("our directory").map(|entry| entry.expect("an entry").path());
    entries.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("export-"))).collect()
}

/// One point of the order: whole pairs, and nothing noted that is not there.
fn verify_export(path: &PathBuf) {
    let theirs = Dir::new();
    let is_rdb = path.extension().is_some_and(|extension| extension == "rdb");
    let (name, logged) = if is_rdb { ("dump.rdb", "no") } else { ("appendonly.aof", "yes") };
    std::fs::copy(path, theirs.file(name)).expect("a finished export");
    let redis = Redis::start(theirs.path(), &["--appendonly", logged]);
    let mut client = redis.client();
    assert!(matches!(client.call("dbsize"), Reply::Integer(keys) if keys >= 0));
    let pairs = pair_values(&mut client).expect("a reply");
    for observer in 0..OBSERVERS {
        let note = as_number(&client.call(&format!("get note{observer}")));
        assert!(note <= pairs[0], "{}: note {observer} says {note}, pair 0 is {}", path.display(), pairs[0]);
    }
}

#[test]
fn nothing_acknowledged_or_shown_is_lost_by_kill_after_kill() {
    let rounds = number_of("SHARDIS_KILL_ROUNDS", 3);
    let seed = number_of("SHARDIS_KILL_SEED", 1);
    let mut random = Random(seed);
    let (mut kills, mut loaded, mut written) = (0, 0, 0);
    for (mode, shards) in MODES.iter().flat_map(|mode| SHARDS.map(|shards| (*mode, shards))) {
        let (dir, mut lineage, mut shards) = (Dir::new(), Lineage::default(), shards);
        for round in 0..rounds {
            let args = ["--appendonly", "yes", "--appendfsync", mode, "--save", "", "--shards", shards];
            let context = format!("seed {seed}, {mode}, round {round}, {shards} shards");
            let server = Server::start(&dir, &args);
            let ends = run_until_killed(server, &lineage, round, &mut random);
            if random.below(3) == 0 {
                shards = *random.one_of::<&str>(&SHARDS);
            }
            let args = [&args[..7], &[shards]].concat();
            if random.below(3) == 0 {
                let interrupted = Server::launch(&dir, &args);
                std::thread::sleep(Duration::from_millis(random.below(60)));
                interrupted.kill();
                kills += 1;
            }
            let server = Server::start(&dir, &args);
            verify(&mut server.client(), &mut lineage, ends, &context);
            server.kill();
            kills += 2;
            let mut finished = exports(&dir);
            finished.sort();
            if !finished.is_empty() {
                verify_export(random.one_of(&finished));
                loaded += 1;
            }
            finished.iter().for_each(|path| std::fs::remove_file(path).expect("ours"));
        }
        written += lineage.pipelines.iter().map(|(_, count)| count).sum::<u64>() + lineage.pairs.iter().sum::<u64>();
    }
    println!("{kills} kills, {written} acknowledged writes found again, {loaded} exports loaded");
    assert!(written > 0 && (loaded > 0 || rounds < 3), "{written} writes, {loaded} exports");
}
