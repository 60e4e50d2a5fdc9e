//! The whole server with two shards against a real redis-server: random commands over TCP, one at a time and in pipelines, replies byte for
//! byte; then the whole state, also after `kill -9` and with another number of shards.
//!
//! `shards/tests/differential_commands.rs` does the same for the handlers alone. Here the keys lie on different shards, so that most commands
//! of several keys are transactions. A failure prints the seed; `DIFFERENTIAL_SEED` shifts the seeds, `DIFFERENTIAL_STEPS` sets the number of commands.

#[path = "../../shards/tests/random_commands/mod.rs"]
mod random_commands;

use crate::harness::{Dir, Redis, Server, number_of};
use random_commands::*;
use std::collections::BTreeSet;
use std::io::{BufReader, Write};
use std::net::TcpStream;

/// What `harness::Redis` starts.
const PEER: Peer = Peer::Redis7_0;

/// A connection whose replies are compared as bytes.
struct Raw(BufReader<TcpStream>);

impl Raw {
    fn connect(port: u16) -> Raw {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(std::time::Duration::from_secs(60))).expect("a socket");
        Raw(BufReader::new(stream))
    }

    fn send(&mut self, commands: &[Args]) {
        let bytes: Vec<u8> = commands.iter().flat_map(|args| encode(args)).collect();
        self.0.get_mut().write_all(&bytes).expect("it reads");
    }

    fn reply(&mut self) -> Vec<u8> {
        let mut reply = Vec::new();
        read_reply(&mut self.0, &mut reply);
        reply
    }

    fn run(&mut self, line: &str) -> Vec<u8> {
        self.run_args(&words(line))
    }

    fn run_args(&mut self, args: &Args) -> Vec<u8> {
        self.send(std::slice::from_ref(args));
        self.reply()
    }
}

fn check(seed: u64, protocol: u8, pipeline_max: usize) {
    let seed = seed + number_of("DIFFERENTIAL_SEED", 0);
    let steps = number_of("DIFFERENTIAL_STEPS", 12_000) as usize;
    let (dir, their_dir) = (Dir::new(), Dir::new());
    let args = ["--appendonly", "yes", "--databases", "4", "--save", "", "--shards"];
    let mut server = Server::start(&dir, &[&args[..], &["2"]].concat());
    let redis = Redis::start(their_dir.path(), &["--save", "", "--appendonly", "no", "--databases", "4"]);
    let (mut ours, mut theirs) = (Raw::connect(server.port), Raw::connect(redis.port));
    let hello = format!("HELLO {protocol}");
    ours.run(&hello);
    theirs.run(&hello);
    let mut generator = Generator::new(seed, only(templates(PEER)));
    let mut history: Vec<String> = Vec::new();
    let mut step = 0;
    while step < steps {
        let count = 1 + generator.random.usize(..pipeline_max);
        let commands: Vec<Args> = (0..count).map(|_| command(&mut generator, &mut ours, &mut theirs)).collect();
        ours.send(&commands);
        let our_replies: Vec<Vec<u8>> = commands.iter().map(|_| ours.reply()).collect();
        // What chooses at random has chosen: the other side does the same.
        let mirrored: Vec<Option<Mirror>> = commands.iter().zip(&our_replies).map(|(args, reply)| mirror(args, reply)).collect();
        for (args, mirror) in commands.iter().zip(&mirrored) {
            theirs.send(mirror.as_ref().map_or(std::slice::from_ref(args), |mirror| &mirror.commands));
        }
        for ((args, our_reply), mirror) in commands.iter().zip(our_replies).zip(mirrored) {
            assert!(
                !our_reply.is_empty(),
                "seed {seed}, step {step}: {} closed the connection: {}",
                show_all(args),
                server.log()
            );
            if let Some(mirror) = mirror {
                for other in &mirror.commands {
                    let reply = theirs.reply();
                    history.push(format!(
                        "{}as {}-> {}",
                        show_all(args),
                        show_all(other),
                        String::from_utf8_lossy(&reply).escape_debug()
                    ));
                    assert_ne!(reply.first(), Some(&b'-'), "seed {seed}, step {step}: {}", history.last().expect("just pushed"));
                }
                step += 1;
                continue;
            }
            let their_reply = theirs.reply();
            history.push(format!("{}-> {}", show_all(args), String::from_utf8_lossy(&their_reply).escape_debug()));
            assert!(
                same_reply(PEER, args, &our_reply, &their_reply, false),
                "seed {seed}, step {step}: {}\n  ours:   {}\n  theirs: {}\nbefore:\n{}",
                show_all(args),
                String::from_utf8_lossy(&our_reply).escape_debug(),
                String::from_utf8_lossy(&their_reply).escape_debug(),
                history[history.len().saturating_sub(40)..].join("\n")
            );
            step += 1;
        }
    }
    compare_states(&mut ours, &mut theirs, seed);
    for shards in ["2", "3"] {
        server.kill();
        server = Server::start(&dir, &[&args[..], &[shards]].concat());
        ours = Raw::connect(server.port);
        ours.run(&hello);
        compare_states(&mut ours, &mut theirs, seed);
    }
}

/// Sometimes what either side dumped is restored on both.
fn command(generator: &mut Generator, ours: &mut Raw, theirs: &mut Raw) -> Args {
    if generator.random.usize(..60) > 0 {
        return generator.command();
    }
    let dump = vec![b"DUMP".to_vec(), generator.fill("K")];
    let reply = if generator.random.bool() { ours.run_args(&dump) } else { theirs.run_args(&dump) };
    let payload = reply.iter().position(|&byte| byte == b'\n').map(|at| &reply[at + 1..]).filter(|rest| rest.len() > 2);
    let Some(payload) = payload else { return vec![b"GET".to_vec(), generator.fill("K")] };
    let payload = payload[..payload.len() - 2].to_vec();
    vec![b"RESTORE".to_vec(), generator.fill("K"), b"0".to_vec(), payload, b"REPLACE".to_vec()]
}

fn compare_states(ours: &mut Raw, theirs: &mut Raw, seed: u64) {
    for db in 0..DATABASES {
        let select = format!("SELECT {db}");
        ours.run(&select);
        theirs.run(&select);
        let keys = theirs.run("KEYS *");
        let names: BTreeSet<Vec<u8>> = shards::resp::decode_command(&keys)
            .map(|(names, _)| names.into_iter().map(<[u8]>::to_vec).collect())
            .unwrap_or_default();
        let mut questions = vec![words("DBSIZE"), words("KEYS *")];
        for name in &names {
            let of_families = FAMILIES.iter().flat_map(|family| family.state.iter().copied());
            for question in ["TYPE K", "GET K", "PEXPIRETIME K"].into_iter().chain(of_families) {
                let words = words(question);
                questions.push(words.into_iter().map(|word| if word == b"K" { name.clone() } else { word }).collect());
            }
        }
        for args in &questions {
            let (ours, theirs) = (ours.run_args(args), theirs.run_args(args));
            assert!(
                same_reply(PEER, args, &ours, &theirs, true),
                "seed {seed}, database {db}: {} differs at the end:\n  ours:   {}\n  theirs: {}",
                show_all(args),
                String::from_utf8_lossy(&ours).escape_debug(),
                String::from_utf8_lossy(&theirs).escape_debug()
            );
        }
        let random = ours.run("RANDOMKEY");
        assert!(
            names.is_empty()
                || names
                    .iter()
                    .any(|name| random.split(|&byte| byte == b'\n').any(|line| line.strip_suffix(b"\r") == Some(name))),
            "{random:?}"
        );
        assert_eq!(scanned(ours), names, "seed {seed}, database {db}: SCAN");
    }
}

/// All keys that a complete SCAN returns.
fn scanned(connection: &mut Raw) -> BTreeSet<Vec<u8>> {
    let (mut found, mut cursor) = (BTreeSet::new(), "0".to_string());
    loop {
        let reply = connection.run(&format!("SCAN {cursor} COUNT 2"));
        // *2, the cursor as a bulk string, the keys as an array.
        let text = String::from_utf8_lossy(&reply).into_owned();
        cursor = text.split("\r\n").nth(2).expect("a cursor").to_string();
        let header = text.split("\r\n").take(3).map(|line| line.len() + 2).sum::<usize>();
        if let Some((keys, _)) = shards::resp::decode_command(&reply[header..]) {
            found.extend(keys.into_iter().map(<[u8]>::to_vec));
        }
        if cursor == "0" {
            return found;
        }
    }
}

#[test]
fn one_command_after_another_gets_the_replies_of_redis() {
    check(1, 2, 1);
}

#[test]
fn pipelines_get_the_replies_of_redis() {
    check(2, 2, 60);
}

#[test]
fn pipelines_get_the_replies_of_redis_in_resp3() {
    check(3, 3, 60);
}

/// A key of another shard is lent to the executor; one that is named twice was lent twice, which ended the process.
#[test]
fn a_key_may_be_named_twice_in_a_command_over_shards() {
    let dir = Dir::new();
    let server = Server::start(&dir, &["--shards", "4", "--appendonly", "yes"]);
    let mut raw = Raw::connect(server.port);
    for line in ["MSET a 1 b 2 c 3 d 4", "MSET a 1 a 2 b 3"] {
        assert_eq!(raw.run(line), b"+OK\r\n", "{line}");
    }
    for destination in ["a", "b", "c", "d"] {
        assert_eq!(raw.run(&format!("BITOP AND {destination} a b b a c d {destination}")), b":1\r\n");
        assert_eq!(raw.run(&format!("MSETNX {destination} x n y n z")), b":0\r\n");
    }
    assert_eq!(raw.run("MSETNX n y m x n z m a o b"), b":1\r\n");
    assert_eq!(raw.run("MGET n m o"), b"*3\r\n$1\r\nz\r\n$1\r\na\r\n$1\r\nb\r\n");
    assert_eq!((raw.run("EXISTS n n m a a"), raw.run("DEL n n m a a")), (b":5\r\n".to_vec(), b":3\r\n".to_vec()));
}

#[test]
fn while_keys_come_and_go_a_scan_returns_those_that_stay() {
    for shards in ["1", "2", "4"] {
        let dir = Dir::new();
        let server = Server::start(&dir, &["--shards", shards]);
        let mut raw = Raw::connect(server.port);
        for i in 0..3000 {
            raw.run(&format!("SET stay:{i} x"));
        }
        let mut other = Raw::connect(server.port);
        let (mut found, mut cursor, mut turn) = (BTreeSet::new(), "0".to_string(), 0);
        loop {
            let reply = raw.run(&format!("SCAN {cursor} MATCH stay:* COUNT 50"));
            let text = String::from_utf8(reply.clone()).expect("text");
            let mut lines = text.split("\r\n").filter(|line| !line.is_empty());
            cursor = lines.by_ref().nth(2).expect("a cursor").to_string();
            found.extend(lines.filter(|line| line.starts_with("stay:")).map(str::to_string));
            for i in 0..200 {
                other.run(&if turn % 2 == 0 { format!("SET go:{i}:{turn} x") } else { format!("DEL go:{i}:{}", turn - 1) });
            }
            turn += 1;
            if cursor == "0" {
                break;
            }
        }
        assert_eq!(found.len(), 3000, "{shards} shards");
    }
}
