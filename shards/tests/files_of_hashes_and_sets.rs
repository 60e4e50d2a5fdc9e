//! Hashes and sets in all encodings through the files of real servers: theirs read here, ours read there.

use shards::rdb::values::value_version;
use shards::rdb::writer::{encode_entry, encode_eof, encode_header, encode_select_db};
use shards::rdb::{Crc64, Item, Reader, restore_value};
use shards::types::{Hash, Limits, Set, Value};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const LIMITS: Limits = Limits::DEFAULT;

/// Debian's Redis 7.0, and what `tests/install` puts in place. Whether the server has packed sets.
const PEERS: [(&str, bool); 3] = [
    ("redis-server", false),
    (concat!(env!("CARGO_MANIFEST_DIR"), "/../target/peers/bin/valkey-server-8"), true),
    (REDIS_8, true),
];

const REDIS_8: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/peers/bin/redis-server-8");
const VALKEY_9: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/peers/bin/valkey-server-9");

type Content = BTreeMap<Vec<u8>, Value>;

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
    /// Loads `file` if there is one.
    fn start(program: &str, name: &str, file: Option<&[u8]>) -> Peer {
        let dir = std::env::temp_dir().join(format!("shards-files-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a temporary directory");
        if let Some(bytes) = file {
            std::fs::write(dir.join("dump.rdb"), bytes).expect("a file");
        }
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

    /// Status, integer, bulk string or an array of one integer.
    fn call(&mut self, args: &[&[u8]]) -> Vec<u8> {
        let mut request = format!("*{}\r\n", args.len()).into_bytes();
        for arg in args {
            request.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
            request.extend_from_slice(arg);
            request.extend_from_slice(b"\r\n");
        }
        self.stream.get_mut().write_all(&request).expect("it takes requests");
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("it answers");
        if line.starts_with('*') {
            // One number, of a command on one field.
            self.stream.read_line(&mut line).expect("it answers");
        }
        let Some(len) = line.strip_prefix('$') else {
            assert!(!line.starts_with('-'), "{line}");
            return line.trim_end().as_bytes().to_vec();
        };
        let mut bulk = vec![0; len.trim_end().parse::<usize>().expect("a length") + 2];
        self.stream.read_exact(&mut bulk).expect("a whole bulk string");
        bulk.truncate(bulk.len() - 2);
        bulk
    }

    fn fill(&mut self, content: &Content) {
        for (key, value) in content {
            match value {
                Value::Hash(hash) => hash.iter().for_each(|(field, value)| {
                    let field = field.bytes();
                    self.call(&[b"HSET", key, &field, &value.bytes()]);
                    if let Some(at_ms) = hash.expiry(&field) {
                        self.call(&[b"HPEXPIREAT", key, at_ms.to_string().as_bytes(), b"FIELDS", b"1", &field]);
                    }
                }),
                Value::Set(set) => set.iter().for_each(|member| {
                    self.call(&[b"SADD", key, &member.bytes()]);
                }),
                _ => unreachable!("hashes and sets only"),
            }
        }
    }

    fn holds(&mut self, content: &Content, packed_sets: bool) {
        assert_eq!(self.call(&[b"DBSIZE"]), format!(":{}", content.len()).into_bytes());
        for (key, value) in content {
            let dump = self.call(&[b"DUMP", key]);
            let restored = restore_value(&dump, &LIMITS).expect("a payload of a real server");
            assert_eq!(restored, *value, "{}", key.escape_ascii());
            let encoding = self.call(&[b"OBJECT", b"ENCODING", key]);
            if packed_sets || value.type_name() == "hash" {
                assert_eq!(restored.encoding_name().as_bytes(), encoding, "{}", key.escape_ascii());
            }
        }
    }
}

fn hash(pairs: usize, value: &[u8]) -> Value {
    let mut hash = Hash::new();
    for i in 0..pairs {
        let text = if i % 3 == 0 { i.to_string().into_bytes() } else { value.to_vec() };
        hash.set(format!("field{i}").as_bytes(), &text, &LIMITS);
        hash.set(i.to_string().as_bytes(), value, &LIMITS);
    }
    Value::Hash(Box::new(hash))
}

fn set(members: impl Iterator<Item = Vec<u8>>) -> Value {
    let mut set = Set::new();
    members.for_each(|member| _ = set.add(&member, &LIMITS));
    Value::Set(Box::new(set))
}

fn ints(range: impl Iterator<Item = i64>) -> Value {
    set(range.map(|int| int.to_string().into_bytes()))
}

/// Every encoding, both sides of every threshold.
fn sample() -> Content {
    let values = [
        hash(1, b""),
        hash(256, b"value"),
        hash(257, b"value"),
        hash(2, &[b'v'; 64]),
        hash(2, &[b'v'; 65]),
        hash(3000, &[b'a'; 100]),
        ints(-5..5),
        ints([1, 40_000].into_iter()),
        ints([1, i64::MIN, i64::MAX].into_iter()),
        ints(0..512),
        ints(0..513),
        set((0..128).map(|i| format!("m{i}").into_bytes())),
        set((0..129).map(|i| format!("m{i}").into_bytes())),
        set([vec![b'x'; 64], vec![], b"12".to_vec()].into_iter()),
        set([vec![b'x'; 65], b"\xff\0".to_vec()].into_iter()),
        set((0..20_000).map(|i| format!("member number {i}").into_bytes())),
    ];
    values.into_iter().enumerate().map(|(i, value)| (format!("key{i}").into_bytes(), value)).collect()
}

/// Fields that expire, in a small and a big hash.
fn expiring_sample() -> Content {
    let hash = |fields: usize| {
        let mut hash = Hash::new();
        for i in 0..fields {
            let field = format!("f{i}").into_bytes();
            hash.set(&field, i.to_string().as_bytes(), &LIMITS);
            if i % 3 != 1 {
                hash.set_expiry(&field, 4_000_000_000_123 + (i * 7919 % 1000) as i64);
            }
        }
        Value::Hash(Box::new(hash))
    };
    [10, 512, 513, 3000].into_iter().map(|fields| (format!("h{fields}").into_bytes(), hash(fields))).collect()
}

fn file_of(content: &Content) -> Vec<u8> {
    let version = content.values().map(value_version).max().expect("it has keys").max(9);
    let mut file = Vec::new();
    encode_header(&mut file, version, &[]);
    encode_select_db(&mut file, 0);
    content.iter().for_each(|(key, value)| encode_entry(&mut file, key, value, None));
    let crc = Crc64::of(&file);
    encode_eof(&mut file, crc);
    file
}

fn read(file: &[u8]) -> Content {
    let mut reader = Reader::new(file, "dump.rdb").expect("a header");
    let mut content = Content::new();
    while let Some(item) = reader.next_item().expect("a good file") {
        if let Item::Entry { key, value, .. } = item {
            content.insert(key, value);
        }
    }
    content
}

#[test]
fn we_read_what_real_servers_save() {
    let sample = sample();
    for (at, (program, packed_sets)) in PEERS.into_iter().enumerate() {
        let mut peer = Peer::start(program, &format!("save{at}"), None);
        peer.fill(&sample);
        peer.holds(&sample, packed_sets);
        assert_eq!(peer.call(&[b"SAVE"]), b"+OK");
        let found = read(&std::fs::read(peer.dir.join("dump.rdb")).expect("it was just saved"));
        assert_eq!(found, sample, "{program}");
    }
}

#[test]
fn real_servers_load_what_we_write() {
    let sample = sample();
    let file = file_of(&sample);
    assert_eq!(read(&file), sample);
    for (at, (program, packed_sets)) in PEERS.into_iter().enumerate() {
        Peer::start(program, &format!("load{at}"), Some(&file)).holds(&sample, packed_sets);
    }
}

#[test]
fn expiries_of_fields_are_read_from_redis_and_valkey() {
    let sample = expiring_sample();
    for (at, program) in [REDIS_8, VALKEY_9].into_iter().enumerate() {
        let mut peer = Peer::start(program, &format!("expiring{at}"), None);
        peer.fill(&sample);
        for (key, value) in &sample {
            let dump = peer.call(&[b"DUMP", key]);
            assert_eq!(restore_value(&dump, &LIMITS).expect("a payload of a real server"), *value, "{program}");
        }
        assert_eq!(peer.call(&[b"SAVE"]), b"+OK");
        let found = read(&std::fs::read(peer.dir.join("dump.rdb")).expect("it was just saved"));
        assert_eq!(found, sample, "{program}");
    }
}

#[test]
fn redis_loads_expiries_of_fields_that_we_write() {
    let sample = expiring_sample();
    let file = file_of(&sample);
    assert!(file.starts_with(b"REDIS0012"));
    assert_eq!(read(&file), sample);
    Peer::start(REDIS_8, "expiring-load", Some(&file)).holds(&sample, true);
}
