//! Makes the seeds of the corpora anew: `cargo run --manifest-path tests/fuzz/Cargo.toml --example seeds`, from the repository's root.
//!
//! Values and files come from real servers (`tests/install` puts them in place), the rest is put together here. Seeds begin with
//! `seed-`; what the fuzzer found beside them stays.

use shards::commands::Effects;
use shards::ids::{Lsn, Seq, ShardId};
use shards::log::format::{FRAME_HEADER_BYTES, FsyncMode, push_end, push_mark, push_transaction, push_write, seal_frame};
use shards::rdb::format::{REDIS_VERSION_MAX, VALKEY_VERSION, type_code};
use shards::rdb::quoting::quote;
use shards::rdb::writer::{Compression, encode_length, encode_string};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const SERVERS: [(&str, &str); 4] = [
    ("redis7", "redis-server"),
    ("redis8", "target/peers/bin/redis-server-8"),
    ("valkey8", "target/peers/bin/valkey-server-8"),
    ("valkey9", "target/peers/bin/valkey-server-9"),
];

/// A value under the key k: what it shows, and the commands that make it. A command that a server does not know is left out.
const VALUES: &[(&str, &[&str])] = &[
    ("int", &["SET k 12345"]),
    ("int-negative", &["SET k -7"]),
    ("int-64", &["SET k 9223372036854775807"]),
    ("string", &["SET k hello"]),
    ("string-empty", &["SET k "]),
    ("string-lzf", &["SETRANGE k 100 abcabcabcabcabcabcabc"]),
    ("string-bits", &["SETBIT k 77 1", "SETBIT k 3 1"]),
    ("hll-sparse", &["PFADD k a b c d e"]),
    ("hll-dense", &["CONFIG SET hll-sparse-max-bytes 30", "PFADD k a b c d e f g h i j k l m n o p q"]),
    ("list", &["RPUSH k a b 1 -1000 300000 12345678901 0"]),
    ("list-plain-nodes", &["CONFIG SET list-max-listpack-size 2", "RPUSH k a b c d e f g", "APPEND x y"]),
    (
        "list-big-element",
        &["CONFIG SET list-max-listpack-size -1", "SETRANGE x 5000 z", "RPUSH k a", "SORT nosuch GET x STORE y"],
    ),
    ("set-int", &["SADD k 1 2 3"]),
    ("set-int-32", &["SADD k 1 70000 -5"]),
    ("set-int-64", &["SADD k 1 5000000000 -5"]),
    ("set", &["SADD k a b 5 -4000 c"]),
    ("set-table", &["CONFIG SET set-max-listpack-entries 2", "CONFIG SET set-max-intset-entries 2", "SADD k a b 7 c"]),
    ("hash", &["HSET k f v n 5 empty  m -70000"]),
    ("hash-table", &["CONFIG SET hash-max-listpack-entries 2", "HSET k f v n 5 g w"]),
    ("hash-expiring", &["HSET k f v n 5 g w", "HPEXPIREAT k 1900000000000 FIELDS 1 f", "HPEXPIREAT k 1900000000001 FIELDS 1 n"]),
    (
        "hash-table-expiring",
        &["CONFIG SET hash-max-listpack-entries 1", "HSET k f v n 5 g w", "HPEXPIREAT k 1900000000000 FIELDS 2 f g"],
    ),
    ("zset", &["ZADD k 1 a 2.5 b -inf c +inf d 1e300 e 3 7"]),
    ("zset-table", &["CONFIG SET zset-max-listpack-entries 2", "ZADD k 1 a 2.5 b -inf c +inf d 0 e"]),
    ("zset-geo", &["GEOADD k 13.361389 38.115556 Palermo 15.087269 37.502669 Catania"]),
    ("stream", &["XADD k 1-1 a 1 b 2", "XADD k 1-2 a 3 b 4", "XADD k 5-0 c x", "XADD k 6-0 c y"]),
    ("stream-deleted", &["XADD k 1-1 a 1", "XADD k 1-2 a 3", "XADD k 5-0 c x", "XDEL k 1-2", "XTRIM k MAXLEN 1"]),
    ("stream-empty", &["XGROUP CREATE k g $ MKSTREAM"]),
    (
        "stream-nodes",
        &["CONFIG SET stream-node-max-entries 2", "XADD k 1-1 a 1", "XADD k 1-2 a 3", "XADD k 1-3 a 3", "XADD k 9-3 b 3"],
    ),
    (
        "stream-groups",
        &[
            "XADD k 1-1 a 1",
            "XADD k 1-2 a 3",
            "XADD k 5-0 c x",
            "XGROUP CREATE k g 0",
            "XGROUP CREATE k h 1-1",
            "XREADGROUP GROUP g alice COUNT 2 STREAMS k >",
            "XREADGROUP GROUP g bob COUNT 1 STREAMS k >",
            "XGROUP CREATECONSUMER k h carol",
            "XACK k g 1-1",
        ],
    ),
];

struct Server {
    child: Child,
    dir: PathBuf,
    stream: BufReader<UnixStream>,
}

impl Drop for Server {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
        _ = std::fs::remove_dir_all(&self.dir);
    }
}

impl Server {
    fn start(name: &str, program: &str) -> Server {
        let dir = std::env::temp_dir().join(format!("shardis-seeds-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a temporary directory");
        let socket = dir.join("socket");
        let child = Command::new(program)
            .args(["--port", "0", "--save", "", "--rdbchecksum", "no", "--dir"])
            .args([dir.as_path(), Path::new("--unixsocket"), &socket])
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}; tests/install puts the servers in place"));
        let started = Instant::now();
        while UnixStream::connect(&socket).is_err() {
            assert!(started.elapsed() < Duration::from_secs(20), "{program} does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        let stream = BufReader::new(UnixStream::connect(&socket).expect("it has just answered"));
        Server { child, dir, stream }
    }

    /// The reply's first line and, of a bulk string, its bytes.
    fn call(&mut self, args: &[&[u8]]) -> Vec<u8> {
        self.stream.get_mut().write_all(&request(args)).expect("it takes requests");
        self.reply()
    }

    fn reply(&mut self) -> Vec<u8> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line).expect("it answers");
        let number = || std::str::from_utf8(&line[1..]).expect("ASCII").trim_end().parse::<i64>().expect("a number");
        match line[0] {
            b'$' if number() >= 0 => {
                let mut bulk = vec![0; number() as usize + 2];
                self.stream.read_exact(&mut bulk).expect("a whole bulk string");
                bulk.truncate(bulk.len() - 2);
                bulk
            }
            b'*' => (0..number()).map(|_| self.reply()).last().unwrap_or_default(),
            _ => line,
        }
    }

    fn make(&mut self, commands: &[&str]) {
        for command in commands {
            let words: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
            self.call(&words);
        }
    }

    /// Everything that commands have set goes back to what it was.
    fn clear(&mut self) {
        self.make(&[
            "FLUSHALL",
            "FUNCTION FLUSH",
            "CONFIG SET list-max-listpack-size -2",
            "CONFIG SET hash-max-listpack-entries 128",
            "CONFIG SET zset-max-listpack-entries 128",
            "CONFIG SET set-max-listpack-entries 128",
            "CONFIG SET set-max-intset-entries 512",
            "CONFIG SET stream-node-max-entries 100",
            "CONFIG SET hll-sparse-max-bytes 3000",
            "CONFIG SET maxmemory-policy noeviction",
            "SELECT 0",
        ]);
    }

    fn saved(&mut self) -> Vec<u8> {
        self.call(&[b"SAVE"]);
        std::fs::read(self.dir.join("dump.rdb")).expect("it has just been saved")
    }
}

fn request(args: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    shards::rdb::aof::encode_command(&mut out, args);
    out
}

fn keep(target: &str, name: &str, bytes: &[u8]) {
    let path = Path::new("tests/fuzz/corpus").join(target).join(format!("seed-{name}"));
    std::fs::create_dir_all(path.parent().expect("a directory")).expect("writable");
    std::fs::write(path, bytes).expect("writable");
}

fn main() {
    for (name, program) in SERVERS {
        of_server(name, &mut Server::start(name, program));
    }
    old_values();
    requests();
    aofs();
    logs();
    manifests();
    settings();
}

fn of_server(name: &str, server: &mut Server) {
    for (value, commands) in VALUES {
        server.clear();
        server.make(commands);
        let payload = server.call(&[b"DUMP", b"k"]);
        if payload.len() > 10 {
            keep("dump", &format!("{name}-{value}"), &payload);
            server.make(&["DEL x y"]);
            keep("rdb", &format!("{name}-{value}"), &without_aux(&server.saved()));
        }
    }
    server.clear();
    server.make(&[
        "SET a 1 PXAT 1900000000000",
        "SELECT 3",
        "SET b x",
        "CONFIG SET maxmemory-policy allkeys-lfu",
        "GET b",
        "SELECT 0",
        "SADD c 1 2",
    ]);
    server.call(&[b"FUNCTION", b"LOAD", b"#!lua name=l\nredis.register_function('f', function() return 1 end)"]);
    let file = server.saved();
    keep("rdb", &format!("{name}-databases-function-lfu"), &file);
    server.make(&["CONFIG SET maxmemory-policy allkeys-lru", "GET a"]);
    keep("rdb", &format!("{name}-lru"), &server.saved());
    let mut aof = vec![0];
    aof.extend_from_slice(&file);
    aof.extend_from_slice(&request(&[b"SET", b"after", b"preamble"]));
    keep("aof", &format!("{name}-preamble"), &aof);
}

/// The header and what stands from SELECTDB on: names and versions of servers only make mutations miss.
fn without_aux(file: &[u8]) -> Vec<u8> {
    let from = file.windows(2).position(|pair| pair == [254, 0]).expect("database 0 is selected");
    [&file[..9], &file[from..]].concat()
}

/// In forms that no server at hand writes any more.
fn old_values() {
    let plain: [&[u8]; 4] = [b"ab", b"5", b"-300", b"longer than a few bytes"];
    let scored: [&[u8]; 4] = [b"a", b"1", b"b", b"2.5"];
    let strings = |elements: &[&[u8]]| {
        let mut out = Vec::new();
        encode_length(&mut out, elements.len() as u64);
        elements.iter().for_each(|element| encode_string(&mut out, element, Compression::Lzf));
        out
    };
    let packed = |bytes: &[u8]| {
        let mut out = Vec::new();
        encode_string(&mut out, bytes, Compression::Off);
        out
    };
    let quicklist = [&[2][..], &packed(&ziplist(&plain)), &packed(&ziplist(&plain[..1]))].concat();
    let zipmap = b"\x02\x01f\x01\x00v\x05hello\x05\x02worldxx\xff";
    let zset = [&[2][..], b"\x01a\x031.5", b"\x01b\xfe"].concat();
    let valkey_hash =
        [&[2][..], b"\x01f\x01v", &1_900_000_000_000i64.to_le_bytes(), b"\x01g\x01w", &(-1i64).to_le_bytes()].concat();
    for (name, code, value, version) in [
        ("old-list", type_code::LIST, strings(&plain), 1),
        ("old-set", type_code::SET, strings(&plain), 1),
        ("old-hash", type_code::HASH, [&[2][..], &strings(&plain)[1..]].concat(), 1),
        ("old-zset", type_code::ZSET, zset, 1),
        ("old-zipmap", type_code::HASH_ZIPMAP, packed(zipmap), 2),
        ("old-list-ziplist", type_code::LIST_ZIPLIST, packed(&ziplist(&plain)), 2),
        ("old-zset-ziplist", type_code::ZSET_ZIPLIST, packed(&ziplist(&scored)), 2),
        ("old-hash-ziplist", type_code::HASH_ZIPLIST, packed(&ziplist(&plain)), 4),
        ("old-quicklist", type_code::LIST_QUICKLIST, quicklist, 7),
        ("old-valkey-hash", type_code::HASH_22, valkey_hash, VALKEY_VERSION),
    ] {
        let payload = [&[code][..], &value, &(version as u16).to_le_bytes(), &[0; 8]].concat();
        keep("dump", name, &payload);
        let header =
            if version == VALKEY_VERSION { b"VALKEY080".to_vec() } else { format!("REDIS{:04}", version.max(6)).into_bytes() };
        assert!(version <= REDIS_VERSION_MAX || version == VALKEY_VERSION);
        keep("rdb", name, &[&header[..], &[254, 0, code], b"\x01k", &value, &[255], &[0; 8]].concat());
    }
}

fn ziplist(elements: &[&[u8]]) -> Vec<u8> {
    let (mut entries, mut before) = (Vec::new(), 0u8);
    let mut last = 10;
    for element in elements {
        last = 10 + entries.len();
        let start = entries.len();
        entries.push(before);
        match std::str::from_utf8(element).ok().and_then(|text| text.parse::<i16>().ok()) {
            Some(number) => entries.extend([&[0xc0][..], &number.to_le_bytes()].concat()),
            None => entries.extend([&[element.len() as u8][..], element].concat()),
        }
        before = (entries.len() - start) as u8;
    }
    let total = 10 + entries.len() + 1;
    let header =
        [&(total as u32).to_le_bytes()[..], &(last as u32).to_le_bytes(), &(elements.len() as u16).to_le_bytes()].concat();
    [&header[..], &entries, &[0xff]].concat()
}

fn requests() {
    for (name, text) in [
        ("set", &b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nhello\r\n"[..]),
        ("pipeline", b"*1\r\n$4\r\nPING\r\nPING\r\n*2\r\n$3\r\nGET\r\n$0\r\n\r\n*0\r\n\r\n"),
        ("inline", b"SET k \"a \\x41\\n\" 'it\\'s'\r\nGET k\n"),
        ("binary", b"*2\r\n$4\r\nECHO\r\n$4\r\n\r\n\0\xff\r\n"),
        ("bad-bulk", b"*1\r\nx3\r\nabc\r\n"),
        ("negative", b"*-1\r\n*1\r\n$-1\r\n"),
        ("unbalanced", b"GET \"a\r\n"),
        ("numbers", b"ZADD z 1.5 -inf 1e300 0x1p-3 4611686018427387904 5e-324 -0 3.0\r\n"),
        ("huge", b"*2147483647\r\n$536870912\r\na"),
    ] {
        keep("resp", name, &[&[0, 1][..], text].concat());
        keep("resp", &format!("{name}-limited"), &[&[3, 2][..], text].concat());
    }
}

fn aofs() {
    let select = request(&[b"SELECT", b"1"]);
    let transaction =
        [request(&[b"MULTI"]), request(&[b"SET", b"a", b"1"]), request(&[b"INCR", b"a"]), request(&[b"EXEC"])].concat();
    keep("aof", "transaction", &[&[0][..], &select, b"#TS:1700000000\r\n", &transaction].concat());
    keep("aof", "open-transaction", &[&[0][..], &select, &transaction[..transaction.len() - 14]].concat());
    keep("aof", "earlier-part", &[&[1][..], &select, &transaction].concat());
    for (name, commands) in VALUES {
        let commands = commands.iter().filter(|command| !command.starts_with("CONFIG"));
        let bytes = commands.flat_map(|command| request(&command.split(' ').map(str::as_bytes).collect::<Vec<_>>()));
        keep("aof", name, &std::iter::once(0).chain(bytes).collect::<Vec<_>>());
    }
    let manifest =
        "file appendonly.aof.1.base.rdb seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\nfile \"h x\" seq 1 type h\n";
    keep("aof", "manifest", &[&[2][..], manifest.as_bytes()].concat());
}

fn logs() {
    let effects = |commands: &[&str]| {
        let mut effects = Effects::default();
        for command in commands {
            effects.push(0, &command.split(' ').map(str::as_bytes).collect::<Vec<_>>());
        }
        effects.bytes().to_vec()
    };
    let frame = |first: u64, durable: u64, records: u32, payload: &[u8]| {
        let mut frame = vec![0; FRAME_HEADER_BYTES];
        frame.extend_from_slice(payload);
        seal_frame(&mut frame, records, Lsn(first), Lsn(durable), 0);
        frame
    };
    let segment = |id: u8, frames: &[Vec<u8>]| {
        let frames = frames.concat();
        [&[id][..], &(frames.len() as u16).to_le_bytes(), &frames].concat()
    };
    let (mut writes, mut transaction, mut mark, mut end) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    push_write(&mut writes, &effects(&["SET k 1", "RPUSH l a b"]));
    push_write(&mut writes, &effects(&["DEL k"]));
    push_transaction(&mut transaction, Seq(9), &[ShardId(0), ShardId(1)], &effects(&["SET t x"]));
    push_mark(&mut mark, Seq(10), FsyncMode::Always);
    push_end(&mut end, 2);
    let one = frame(1, 0, 2, &writes);
    let damaged = |mut frame: Vec<u8>| {
        frame[24..32].fill(0xff);
        frame
    };
    let rotated =
        [segment(1, &[one.clone(), frame(3, 2, 1, &end)]), segment(2, &[frame(4, 2, 1, &mark), frame(5, 3, 2, &writes)])];
    keep("frames", "one", &[&[0, 0, 0][..], &segment(1, &[one.clone()])].concat());
    keep("frames", "rotated", &[&[0, 0, 0][..], &rotated.concat()].concat());
    keep("frames", "ended", &[&[2, 0, 6][..], &rotated.concat()].concat());
    keep("frames", "covered", &[&[4, 2, 0][..], &rotated.concat()].concat());
    keep("frames", "tail", &[&[0, 0, 0][..], &segment(1, &[one.clone(), damaged(frame(3, 1, 2, &writes))])].concat());
    let damage = [one.clone(), damaged(frame(3, 1, 2, &writes)), frame(5, 4, 1, &mark)];
    keep("frames", "damage", &[&[0, 0, 0][..], &segment(1, &damage)].concat());
    for (name, options) in [("crash", 0x01), ("power-loss", 0x09), ("power-loss-always", 0x29), ("base", 0x0d)] {
        let here = segment(1, &[one.clone(), frame(3, 2, 1, &transaction), frame(4, 3, 1, &mark), frame(5, 3, 2, &writes)]);
        let there = segment(0x81, &[frame(1, 0, 1, &transaction), frame(2, 0, 1, &mark), frame(3, 1, 2, &writes)]);
        keep("frames", &format!("two-shards-{name}"), &[&[options, 1, 0][..], &here, &there].concat());
        keep("frames", &format!("torn-transaction-{name}"), &[&[options, 0, 0][..], &here].concat());
    }
}

fn manifests() {
    let first = "shardis-manifest 1\nwritten-by inode=12 birth-ns=34 boot-id=b-1\n";
    let base = "base id=2 generation=5 shards=1 mode=always format=rdb created-ms=-1\nbase-file shard=0 cut=12 bytes=99 crc=0000000000000abc \
                path=shard-0000/base-2.rdb\nbase-keys shard=0 db=0 keys=10 expires=3\n";
    let generation =
        "generation number=5 shards=1 mode=no logged=1\nlog-end shard=0 lsn=77\nsegment shard=0 id=3 bytes=1048576\n";
    let next = "generation number=6 shards=2 mode=everysec logged=1\nsegment shard=1 id=1 bytes=4096\n";
    for (name, text) in [
        ("empty", format!("{first}state running distrusted=0 next-base=1\n")),
        ("base", format!("{first}state clean distrusted=1 next-base=3\n{base}{generation}")),
        ("commands", format!("{first}state clean distrusted=0 next-base=3\n{}{generation}", base.replace("rdb", "commands"))),
        ("no-base", format!("{first}state running distrusted=0 next-base=3\n{generation}{next}")),
        ("generations", format!("{first}state running distrusted=0 next-base=3\n{base}{generation}{next}")),
        ("no-boot", "shardis-manifest 1\nwritten-by inode=0 birth-ns=0 boot-id=-\nstate clean distrusted=0 next-base=1\n".into()),
    ] {
        keep("manifest", name, text.as_bytes());
    }
}

fn settings() {
    let shown = std::fs::read_to_string("tests/data/config-get-7.0.15.txt").expect("run it from the repository's root");
    let pairs: Vec<(&str, &str)> = shown.lines().filter_map(|line| line.split_once('\t')).collect();
    for (number, pairs) in pairs.chunks(6).enumerate() {
        let lines: Vec<String> = pairs.iter().map(|(name, text)| format!("{name} {text}\n")).collect();
        let quoted: Vec<String> = pairs.iter().map(|(name, text)| format!("{name} {}\n", quote(text.as_bytes()))).collect();
        keep("conf", &format!("lines-{number:02}"), lines.concat().as_bytes());
        keep("conf", &format!("quoted-{number:02}"), quoted.concat().as_bytes());
        keep("conf", &format!("set-{number:02}"), format!("# nothing\n\0{}", lines.concat()).as_bytes());
    }
    for (name, text) in [
        ("save", "save 900 1\nsave 300 10\nsave \"\"\nsave 60 1000\n\0save 1 2 3 4\nsave "),
        ("buffers", "client-output-buffer-limit replica 256mb 64mb 60\nclient-output-buffer-limit pubsub 32mb 8mb 60\n"),
        ("lines", "user a on ~* +@all\nrename-command FLUSHALL \"\"\nrename-command GET LESEN\nloadmodule x.so\n"),
        (
            "words",
            "bind 127.0.0.1 -::1\nbind \"\"\nshutdown-on-sigterm save force\nnotify-keyspace-events AKE\noom-score-adj-values 0 200 800\n",
        ),
        ("ours", "shards 2\nrecovery-assume power-loss\nappendonly yes\nappendfsync always\npipeline-order relaxed\n"),
        ("spaces", "  PORT\t7000 \r\n\n# comment\nrequirepass \"a \\x41\\\"\"\nmaxmemory 1kb\nmaxmemory-clients 5%\n"),
    ] {
        keep("conf", name, text.as_bytes());
    }
}
