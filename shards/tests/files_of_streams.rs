//! Streams through real servers: every form of their payloads, and the commands that make them, are understood there as here.

use shards::commands::{CommandStats, Ctx, Effects, resolve, run_data};
use shards::keyspace::Keyspace;
use shards::rdb::dump::dump_value_within;
use shards::rdb::values::{Progress, VERSION_ALL, encode_commands_piece, encode_entry_as_commands, encode_piece, value_version};
use shards::rdb::writer::Compression;
use shards::rdb::{Crc64, restore_value};
use shards::resp::{Protocol, Reply, decode_command};
use shards::types::stream::{Group, StreamId};
use shards::types::{Limits, Stream, Value};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const LIMITS: Limits = Limits::DEFAULT;

/// Debian's Redis 7.0, and what `tests/install` puts in place; the highest RDB version that each reads.
const PEERS: [(&str, u32); 4] = [
    ("redis-server", 10),
    (concat!(env!("CARGO_MANIFEST_DIR"), "/../target/peers/bin/valkey-server-8"), 11),
    (concat!(env!("CARGO_MANIFEST_DIR"), "/../target/peers/bin/valkey-server-9"), 11),
    (concat!(env!("CARGO_MANIFEST_DIR"), "/../target/peers/bin/redis-server-8"), 12),
];

struct Peer {
    child: Child,
    dir: PathBuf,
    stream: BufReader<UnixStream>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
        _ = std::fs::remove_dir_all(&self.dir);
    }
}

impl Peer {
    fn start(program: &str, name: &str) -> Peer {
        let dir = std::env::temp_dir().join(format!("shards-streams-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a temporary directory");
        let socket = dir.join("socket");
        let child = Command::new(program)
            .args(["--port", "0", "--save", "", "--dir"])
            .args([dir.as_path(), Path::new("--unixsocket"), &socket])
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}"));
        let started = Instant::now();
        while UnixStream::connect(&socket).is_err() {
            assert!(started.elapsed() < Duration::from_secs(20), "{program} does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        let stream = BufReader::new(UnixStream::connect(&socket).expect("it has just answered"));
        Peer { child, dir, stream }
    }

    /// A bulk string's bytes; the lines of other replies.
    fn call(&mut self, args: &[&[u8]]) -> Vec<u8> {
        let mut request = format!("*{}\r\n", args.len()).into_bytes();
        for arg in args {
            request.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
            request.extend_from_slice(arg);
            request.extend_from_slice(b"\r\n");
        }
        self.stream.get_mut().write_all(&request).expect("it takes requests");
        self.reply(args)
    }

    fn reply(&mut self, args: &[&[u8]]) -> Vec<u8> {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("it answers");
        let shown: Vec<String> = args.iter().map(|arg| arg.escape_ascii().to_string()).collect();
        assert!(!line.starts_with('-'), "{}: {line}", shown.join(" "));
        let number = || line[1..].trim_end().parse::<i64>().expect("a length");
        match line.as_bytes()[0] {
            b'*' => (0..number()).flat_map(|_| self.reply(args)).collect(),
            b'$' => {
                let mut bulk = vec![0; number() as usize + 2];
                self.stream.read_exact(&mut bulk).expect("a whole bulk string");
                bulk.truncate(bulk.len() - 2);
                bulk
            }
            _ => line.into_bytes(),
        }
    }

    fn dump(&mut self) -> Stream {
        stream_of(&self.call(&[b"DUMP", b"s"]))
    }
}

fn stream_of(payload: &[u8]) -> Stream {
    match restore_value(payload, &LIMITS).expect("a valid payload") {
        Value::Stream(stream) => *stream,
        other => panic!("a {}", other.type_name()),
    }
}

fn value(stream: &Stream) -> Value {
    Value::Stream(Box::new(stream.clone()))
}

/// Streams with all that they can have. Some end empty, some with pending entries that are gone.
fn random_stream(random: &mut fastrand::Rng) -> Stream {
    let mut stream = Stream::new();
    let entries = [0, 3, 40, 300][random.usize(..4)];
    for ms in 1..=entries {
        let (value, field) = ("x".repeat(random.usize(..60)), random.u8(..3).to_string());
        stream.add(StreamId::new(ms, random.u64(..3)), &[b"f", value.as_bytes(), field.as_bytes(), b"12"], &LIMITS);
    }
    let ids: Vec<StreamId> = stream.range(StreamId::ZERO, StreamId::MAX).map(|entry| entry.id).collect();
    for name in ["g", "h", "i"].iter().take(random.usize(..4)) {
        let position = ids.get(random.usize(..=ids.len())).copied().unwrap_or_default();
        let mut group = Group::new(name.as_bytes(), position, Some(random.u64(..=ids.len() as u64)).filter(|_| random.bool()));
        for consumer in ["alice", "a-consumer-with-a-long-name"].iter().take(random.usize(..3)) {
            let active_ms = [None, Some(1_600_000_000_000), Some(1_600_000_000_001)][random.usize(..3)];
            group.create_consumer(consumer.as_bytes(), 1_600_000_000_000, active_ms);
            for &id in &ids {
                if random.u8(..3) == 0 {
                    group.deliver(consumer.as_bytes(), id, 1_500_000_000_000 + random.i64(0..2), random.u64(1..3));
                }
            }
        }
        stream.put_group(group);
    }
    if random.bool() {
        stream.remove_oldest(random.usize(..=stream.len()));
    }
    if random.bool() {
        ids.iter().filter(|_| random.u8(..10) == 0).for_each(|id| _ = stream.delete(*id));
    }
    if random.u8(..3) == 0 {
        let last = StreamId::new(stream.last_id().ms + 5, 0);
        stream.set_ids(last, stream.entries_added() + random.u64(..3), stream.max_deleted_id());
    }
    stream
}

/// When consumers were seen and active: no part of equality.
fn times(stream: &Stream) -> Vec<(i64, Option<i64>)> {
    stream.groups().flat_map(Group::consumers).map(|consumer| (consumer.seen_ms, consumer.active_ms)).collect()
}

#[test]
fn every_form_of_a_payload_means_the_same_to_real_servers() {
    for (number, (program, version_max)) in PEERS.into_iter().enumerate() {
        let mut peer = Peer::start(program, &format!("forms-{number}"));
        let mut random = fastrand::Rng::with_seed(1);
        for round in 0..100 {
            let stream = random_stream(&mut random);
            for version in 9..=version_max.min(11) {
                let payload = dump_value_within(&value(&stream), version);
                let read_here = stream_of(&payload);
                peer.call(&[b"RESTORE", b"s", b"0", &payload, b"REPLACE"]);
                let read_there = peer.dump();
                let what = format!("{program}, version {version}, round {round}");
                assert_same(&read_there, &read_here, &what);
                if version_max >= 11 {
                    assert_eq!(times(&read_here), times(&read_there), "{what}");
                }
                if version >= value_version(&value(&stream)) {
                    assert_same(&read_here, &stream, &what);
                    assert_eq!(times(&read_here), times(&stream), "{what}");
                }
            }
        }
    }
}

/// In parts: a whole stream would fill pages.
fn assert_same(found: &Stream, expected: &Stream, what: &str) {
    let ids = |stream: &Stream| (stream.last_id(), stream.max_deleted_id(), stream.entries_added(), stream.len());
    assert_eq!(ids(found), ids(expected), "{what}: last id, highest deleted, ever added, length");
    let groups = |stream: &Stream| {
        stream.groups().map(|group| (group.name().to_vec(), group.last_id, group.entries_read)).collect::<Vec<_>>()
    };
    assert_eq!(groups(found), groups(expected), "{what}: name, last id and entries read of groups");
    let pending = |stream: &Stream| stream.groups().flat_map(|group| group.pending_from(0)).cloned().collect::<Vec<_>>();
    assert_eq!(pending(found), pending(expected), "{what}: pending entries");
    assert!(found == expected, "{what}: entries or consumers");
}

#[test]
fn the_commands_of_a_stream_make_it_on_real_servers() {
    for (number, (program, _)) in PEERS.into_iter().enumerate() {
        let mut peer = Peer::start(program, &format!("commands-{number}"));
        let mut random = fastrand::Rng::with_seed(2);
        for round in 0..100 {
            let stream = random_stream(&mut random);
            let mut commands = Vec::new();
            encode_entry_as_commands(&mut commands, b"s", &value(&stream), None);
            peer.call(&[b"DEL", b"s"]);
            let mut rest = &commands[..];
            while !rest.is_empty() {
                let (args, consumed) = decode_command(rest).expect("commands one after another");
                peer.call(&args);
                rest = &rest[consumed..];
            }
            let made = peer.dump();
            assert_same(&made, &stream, &format!("{program}, round {round}"));
        }
    }
}

fn big_stream() -> Stream {
    let mut random = fastrand::Rng::with_seed(3);
    let mut stream = Stream::new();
    (1..=30_000).for_each(|ms| stream.add(StreamId::new(ms, 0), &[b"field", &[b'v'; 20]], &LIMITS));
    for name in [&b"g"[..], b"h"] {
        let mut group = Group::new(name, StreamId::new(20_000, 0), Some(20_000));
        for consumer in [&b"alice"[..], b"bob", b"nobody"] {
            group.create_consumer(consumer, 1_600_000_000_000, None);
        }
        for ms in 1..=20_000 {
            let consumer = if random.bool() { &b"alice"[..] } else { b"bob" };
            group.deliver(consumer, StreamId::new(ms, 0), 1_500_000_000_000 + ms as i64 / 1000, 1);
        }
        stream.put_group(group);
    }
    (1..100).for_each(|at| _ = stream.delete(StreamId::new(at * 100, 0)));
    stream
}

/// What is saved is a clone: the stream may change between two pieces.
#[test]
fn a_big_stream_is_encoded_in_pieces_while_it_changes() {
    let mut stream = big_stream();
    let (whole, saved) = (dump_value_within(&value(&stream), u32::MAX), value(&stream));
    let (mut pieces, mut progress, mut count) = (vec![whole[0]], Progress::default(), 1);
    while !encode_piece(&mut pieces, &saved, VERSION_ALL, &mut progress, Compression::Lzf) {
        count += 1;
        let next = stream.last_id().next().expect("far from the last id");
        stream.add(next, &[b"field", b"value"], &LIMITS);
        stream.remove_oldest(200);
        stream.change_group(b"g", |group| group.release(StreamId::new(count * 7, 0)));
    }
    assert!(count > 10, "{count} pieces");
    let checksum_and_version = 10;
    assert!(pieces == whole[..whole.len() - checksum_and_version]);
}

#[test]
fn the_commands_of_a_stream_make_it_here() {
    let mut random = fastrand::Rng::with_seed(4);
    let streams = (0..100).map(|_| random_stream(&mut random)).chain([big_stream()]);
    for (round, stream) in streams.enumerate() {
        assert_same(&replayed(&commands_of(&stream)), &stream, &format!("round {round}"));
    }
}

fn commands_of(stream: &Stream) -> Vec<u8> {
    let (mut commands, mut progress) = (Vec::new(), Progress::default());
    while !encode_commands_piece(&mut commands, b"s", &value(stream), None, VERSION_ALL, &mut progress) {}
    commands
}

/// XTRIM, XSETID with a lower id and XADD lead there.
#[test]
fn the_commands_of_a_stream_with_a_pending_entry_behind_its_last_id_make_it_here() {
    let mut stream = Stream::new();
    stream.add(StreamId::new(2, 0), &[b"f", b"v"], &LIMITS);
    let mut group = Group::new(b"g", StreamId::new(5, 0), Some(1));
    group.create_consumer(b"alice", 5, Some(6));
    group.deliver(b"alice", StreamId::new(5, 0), 3, 1);
    stream.put_group(group);
    assert_same(&replayed(&commands_of(&stream)), &stream, "2-0 is there, 5-0 is pending");
}

fn replayed(mut commands: &[u8]) -> Stream {
    let mut keyspace = Keyspace::new(1, 1);
    let mut random = fastrand::Rng::with_seed(1);
    while !commands.is_empty() {
        let (args, consumed) = decode_command(commands).expect("commands one after another");
        commands = &commands[consumed..];
        let (mut out, mut effects, mut stats) = (Vec::new(), Effects::default(), CommandStats::default());
        let mut ctx = Ctx {
            keyspace: &mut keyspace,
            reply: Reply::new(&mut out, Protocol::Resp2),
            effects: &mut effects,
            db: 0,
            now_ms: 1_700_000_000_000,
            random: &mut random,
            replaying: true,
            gathered: false,
            may_expire: false,
            stats: &mut stats,
            unnamed: None,
        };
        run_data(resolve(&args).expect("a command of the table"), &mut ctx, &args);
        assert_ne!(out[0], b'-', "{}", out.escape_ascii());
    }
    let entry = keyspace.find(0, b"s").expect("the commands made it");
    stream_of(&dump_value_within(keyspace.value(entry), u32::MAX))
}

/// Whatever the bytes: an error, or a stream of which all can be told.
#[test]
fn damaged_payloads_are_refused_or_others_but_never_a_panic() {
    let mut random = fastrand::Rng::with_seed(5);
    let mut restored = 0;
    for _ in 0..20_000 {
        let stream = if random.u8(..50) > 0 { small_stream(&mut random) } else { random_stream(&mut random) };
        let mut payload = dump_value_within(&value(&stream), random.u32(9..12));
        let body = payload.len() - 8;
        for _ in 0..random.usize(1..3) {
            let at = random.usize(..body - 2);
            payload[at] = if random.bool() { random.u8(..) } else { payload[at].wrapping_add(1) };
        }
        let crc = Crc64::of(&payload[..body]).to_le_bytes();
        payload[body..].copy_from_slice(&crc);
        if let Ok(Value::Stream(stream)) = restore_value(&payload, &LIMITS) {
            restored += 1;
            let again = stream_of(&dump_value_within(&value(&stream), u32::MAX));
            assert_same(&again, &stream, "what was restored is valid");
            assert_eq!(stream.range_back(StreamId::ZERO, StreamId::MAX).count(), stream.len());
            // None of its commands is refused.
            replayed(&commands_of(&stream));
        }
    }
    assert!(restored > 1000, "{restored} of the damaged payloads are payloads");
}

fn small_stream(random: &mut fastrand::Rng) -> Stream {
    let mut stream = Stream::new();
    (1..4).for_each(|ms| stream.add(StreamId::new(ms, 0), &[b"f", b"v"], &LIMITS));
    let mut group = Group::new(b"g", StreamId::new(3, 0), Some(2));
    group.create_consumer(b"alice", 5, Some(6));
    (1..random.u64(1..4)).for_each(|ms| group.deliver(b"alice", StreamId::new(ms, 0), 3, 1));
    stream.put_group(group);
    stream
}
