//! The handlers against a real redis-server: thousands of random commands with a fixed seed, replies compared byte for
//! byte, then the whole state, then the state that the stated effects lead to.
//!
//! A failure prints the seed, the step and the last commands; `DIFFERENTIAL_SEED` shifts the seeds. `redis-server` must be on PATH.

mod random_commands;
mod snapshots;

use random_commands::*;
use shards::commands::{CommandStats, Ctx, Effects, Home, Names, Run, Session, resolve, run_data};
use shards::keyspace::Keyspace;
use shards::resp::{Protocol, Reply, decode_command};
use snapshots::{Snapshots, State, commands, dump, state};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::{BufReader, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const STEPS: usize = 40_000;

/// A redis-server of our own; ends with the test.
struct Redis {
    child: Child,
    dir: std::path::PathBuf,
    stream: BufReader<UnixStream>,
}

impl Redis {
    fn start(peer: Peer, name: &str) -> Redis {
        Redis::start_with(peer, name, None)
    }

    fn start_with(peer: Peer, name: &str, dump: Option<&[u8]>) -> Redis {
        let dir = std::env::temp_dir().join(format!("shardis-differential-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a temporary directory");
        if let Some(dump) = dump {
            std::fs::write(dir.join("dump.rdb"), dump).expect("a temporary directory");
        }
        // A socket in our own directory: a port could be taken by another test.
        let socket = dir.join("socket");
        let child = Command::new(peer.program())
            .args([
                "--port",
                "0",
                "--save",
                "",
                "--appendonly",
                "no",
                "--databases",
                &DATABASES.to_string(),
                "--enable-debug-command",
                "yes",
            ])
            .args([OsStr::new("--dir"), dir.as_os_str(), OsStr::new("--unixsocket"), socket.as_os_str()])
            .stdout(Stdio::null())
            .spawn()
            .expect("this test needs redis-server on PATH (Debian: apt-get install redis-server)");
        let started = Instant::now();
        let stream = loop {
            match UnixStream::connect(&socket) {
                Ok(stream) => break stream,
                Err(error) if started.elapsed() > Duration::from_secs(20) => panic!("redis-server does not answer: {error}"),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        Redis { child, dir, stream: BufReader::new(stream) }
    }

    fn run(&mut self, args: &[Vec<u8>]) -> Vec<u8> {
        let request = encode(args);
        self.stream.get_mut().write_all(&request).expect("redis-server takes requests");
        let mut reply = Vec::new();
        read_reply(&mut self.stream, &mut reply);
        reply
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// The handlers over one keyspace, dispatched as the engine does for one shard.
struct Handlers {
    keyspace: Keyspace,
    session: Session,
    random: fastrand::Rng,
    /// All effects so far.
    log: Effects,
    snapshots: Snapshots,
}

impl Handlers {
    fn new() -> Handlers {
        let session = Session { authenticated: true, ..Session::default() };
        Handlers {
            keyspace: Keyspace::new(DATABASES, 1),
            session,
            random: fastrand::Rng::with_seed(1),
            log: Effects::default(),
            snapshots: Snapshots::new(),
        }
    }

    fn run(&mut self, args: &[Vec<u8>], gathered: bool) -> Vec<u8> {
        let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        let mut out = Vec::new();
        let protocol = self.session.protocol;
        let command = match resolve(&args) {
            Ok(command) => command,
            Err(text) => {
                Reply::new(&mut out, protocol).error_bytes(&text);
                return out;
            }
        };
        let mut effects = Effects::default();
        match command.run {
            Run::Data(_) => {
                let mut stats = CommandStats::default();
                let mut ctx = Ctx {
                    keyspace: &mut self.keyspace,
                    reply: Reply::new(&mut out, protocol),
                    effects: &mut effects,
                    db: self.session.db,
                    now_ms: now_ms(),
                    random: &mut self.random,
                    replaying: false,
                    gathered,
                    may_expire: true,
                    stats: &mut stats,
                    unnamed: None,
                };
                run_data(command, &mut ctx, &args);
            }
            Run::Home(handler) => {
                let mut home = Home {
                    session: &mut self.session,
                    reply: Reply::new(&mut out, protocol),
                    now_ms: now_ms(),
                    now_us: now_ms() * 1000,
                    databases: DATABASES,
                    password: b"",
                    names: &Names::TABLE,
                    random: &mut self.random,
                };
                handler(&mut home, &args);
            }
            Run::Engine(_) | Run::Container => panic!("{} is not run here", command.name),
        }
        self.log.append(&effects);
        self.snapshots.step(&mut self.keyspace);
        while self.keyspace.reclaim(1000) {}
        out
    }
}

/// The state after running commands, as they are logged, on an empty keyspace.
fn replayed<'l>(log: impl Iterator<Item = (u16, &'l [u8])>) -> State {
    let mut keyspace = Keyspace::new(DATABASES, 2);
    let mut random = fastrand::Rng::with_seed(2);
    for (db, mut bytes) in log {
        while !bytes.is_empty() {
            let (args, consumed) = decode_command(bytes).expect("what is logged are commands");
            let (mut out, mut effects, mut stats) = (Vec::new(), Effects::default(), CommandStats::default());
            let mut ctx = Ctx {
                keyspace: &mut keyspace,
                reply: Reply::new(&mut out, Protocol::Resp2),
                effects: &mut effects,
                db,
                now_ms: now_ms(),
                random: &mut random,
                replaying: true,
                gathered: false,
                may_expire: false,
                stats: &mut stats,
                unnamed: None,
            };
            run_data(resolve(&args).expect("logged commands are in the table"), &mut ctx, &args);
            assert_ne!(out[0], b'-', "replay of {} failed: {}", show_all(&args), String::from_utf8_lossy(&out));
            bytes = &bytes[consumed..];
        }
    }
    state(&keyspace)
}

fn assert_same_state(what: &str, seed: u64, found: &State, expected: &State) {
    for key in found.keys().chain(expected.keys()) {
        assert_eq!(found.get(key), expected.get(key), "seed {seed}: {what}: {} differs", String::from_utf8_lossy(&key.1));
    }
}

/// The state's `dump.rdb` in a real server: its digest is that of the server which ran the same commands.
fn loads_elsewhere(peer: Peer, redis: &mut Redis, state: &State, seed: u64) {
    let expected = redis.run(&words("DEBUG DIGEST"));
    let mut loaded = Redis::start_with(peer, &format!("{seed}-loaded"), Some(&dump(state)));
    let found = loaded.run(&words("DEBUG DIGEST"));
    if found != expected {
        let differing = state.keys().filter(|(db, key)| {
            let ask = |redis: &mut Redis| {
                redis.run(&words(&format!("SELECT {db}")));
                redis.run(&[words("DEBUG DIGEST-VALUE"), vec![key.clone()]].concat())
            };
            ask(redis) != ask(&mut loaded)
        });
        let names: Vec<String> = differing.map(|(db, key)| format!("{db}:{}", String::from_utf8_lossy(key))).collect();
        panic!("seed {seed}: {peer:?} has loaded another state from our dump.rdb: {names:?}");
    }
}

/// Runs `STEPS` random commands on both sides. `gathered`: as if the keys were lent by other shards; encodings may differ then.
fn check(seed: u64, protocol: Protocol, gathered: bool) {
    // Other seeds: DIFFERENTIAL_SEED=1000 cargo test -p shards --test differential_commands
    let first: u64 = std::env::var("DIFFERENTIAL_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let seed = first + seed;
    let peer = Peer::chosen();
    let mut redis = Redis::start(peer, &format!("{seed}"));
    let mut handlers = Handlers::new();
    let mut generator = Generator::new(seed, only(templates(peer)));
    if protocol == Protocol::Resp3 {
        redis.run(&words("HELLO 3"));
        handlers.session.protocol = protocol;
    }
    let mut history: Vec<String> = Vec::new();
    for step in 0..STEPS {
        let args = match generator.random.usize(..60) {
            0 => restore_of_dump(&mut redis, &mut handlers, &mut generator),
            _ => generator.command(),
        };
        let ours = handlers.run(&args, gathered);
        if let Some(mirror) = mirror(&args, &ours) {
            for other in mirror.commands {
                let theirs = redis.run(&other);
                history.push(format!(
                    "{}as {}-> {}",
                    show_all(&args),
                    show_all(&other),
                    String::from_utf8_lossy(&theirs).escape_debug()
                ));
                assert!(theirs[0] != b'-', "seed {seed}, step {step}: {}", history.last().expect("just pushed"));
            }
            continue;
        }
        let theirs = redis.run(&args);
        history.push(format!("{}-> {}", show_all(&args), String::from_utf8_lossy(&theirs).escape_debug()));
        assert!(
            same_reply(peer, &args, &ours, &theirs, !gathered),
            "seed {seed}, step {step}: {}\n  ours:   {}\n  theirs: {}\nbefore:\n{}",
            show_all(&args),
            String::from_utf8_lossy(&ours).escape_debug(),
            String::from_utf8_lossy(&theirs).escape_debug(),
            history[history.len().saturating_sub(25)..].join("\n")
        );
    }
    compare_states(peer, &mut redis, &mut handlers, seed);
    let state = state(&handlers.keyspace);
    assert_same_state("what the effects lead to", seed, &replayed(handlers.log.iter()), &state);
    let commands = commands(&state);
    assert_same_state("a base of commands", seed, &replayed(commands.iter().map(|(db, bytes)| (*db, &bytes[..]))), &state);
    loads_elsewhere(peer, &mut redis, &state, seed);
    assert!(handlers.snapshots.taken > 10, "seed {seed}: {} snapshots were taken", handlers.snapshots.taken);
}

/// Either side's DUMP of a key, to be restored on both.
fn restore_of_dump(redis: &mut Redis, handlers: &mut Handlers, generator: &mut Generator) -> Args {
    let dump = vec![b"DUMP".to_vec(), generator.fill("K")];
    let reply = if generator.random.bool() { redis.run(&dump) } else { handlers.run(&dump, false) };
    let payload = reply.iter().position(|&byte| byte == b'\n').map(|at| &reply[at + 1..]).filter(|rest| rest.len() > 2);
    let Some(payload) = payload else { return dump };
    let payload = payload[..payload.len() - 2].to_vec();
    vec![b"RESTORE".to_vec(), generator.fill("K"), b"0".to_vec(), payload, b"REPLACE".to_vec()]
}

fn shown(reply: &[u8]) -> String {
    String::from_utf8_lossy(reply).escape_debug().to_string()
}

fn compare_states(peer: Peer, redis: &mut Redis, handlers: &mut Handlers, seed: u64) {
    for db in 0..DATABASES {
        for command in [format!("SELECT {db}"), "KEYS *".to_string(), "DBSIZE".to_string()] {
            let args = words(&command);
            let (ours, theirs) = (handlers.run(&args, false), redis.run(&args));
            assert!(
                same_reply(peer, &args, &ours, &theirs, true),
                "seed {seed}, database {db}: {command} differs at the end:\n  ours:   {}\n  theirs: {}",
                shown(&ours),
                shown(&theirs)
            );
        }
        let families = FAMILIES.iter().flat_map(|family| family.keys.iter().map(|key| key.to_string()));
        for key in (0..6).map(|key| format!("k{key}")).chain(families) {
            let of_families = FAMILIES.iter().flat_map(|family| family.state.iter().copied());
            for command in ["TYPE K", "GET K", "PEXPIRETIME K"].into_iter().chain(of_families) {
                let args: Args = words(command)
                    .iter()
                    .map(|word| if word == b"K" { key.clone().into_bytes() } else { word.clone() })
                    .collect();
                let (ours, theirs) = (handlers.run(&args, false), redis.run(&args));
                assert!(
                    same_reply(peer, &args, &ours, &theirs, true),
                    "seed {seed}, database {db}: {} differs at the end\n  ours:   {}\n  theirs: {}",
                    show_all(&args),
                    String::from_utf8_lossy(&ours).escape_debug(),
                    String::from_utf8_lossy(&theirs).escape_debug()
                );
            }
        }
    }
}

#[test]
fn replies_and_state_are_those_of_redis_in_resp2() {
    check(1, Protocol::Resp2, false);
}

#[test]
fn replies_and_state_are_those_of_redis_in_resp3() {
    check(2, Protocol::Resp3, false);
}

#[test]
fn replies_and_state_are_those_of_redis_when_keys_are_gathered_from_other_shards() {
    check(3, Protocol::Resp2, true);
}

/// Not compared at random, and why. (Commands of the engine and the server are tested in `tests/server`.)
const NOT_RANDOM: &[(&str, &str)] = &[
    ("auth", "tests/server/connections.rs"),
    ("hello", "the protocol is the test's own choice"),
    ("quit", "closes the connection"),
    ("reset", "tests/server/connections.rs"),
    ("time", "tests of the handlers"),
    ("command", "not as many here"),
    ("command|count", "not as many here"),
    ("command|list", "not as many here"),
    ("command|docs", "tests/server/command_docs.rs"),
    ("restore", "not from a template, but of what either side has dumped"),
    ("object|idletime", "the servers are not asked in the same second"),
    ("lolwut", "art; its errors are compared one by one"),
    ("pfselftest", "takes seconds in Redis"),
];

/// A command that the generator never gets right is compared with its errors only.
#[test]
fn every_command_of_the_table_succeeds_in_some_random_command() {
    let mut handlers = Handlers::new();
    let mut reached = BTreeSet::new();
    // All together, then each family by itself: what many commands must have prepared is rare in the mixture.
    let mixture = (templates(Peer::Redis8_2), 40_000);
    let alone = FAMILIES.iter().map(|family| (family_templates(family, Peer::Redis8_2), 5_000));
    for (templates, commands) in std::iter::once(mixture).chain(alone) {
        let mut generator = Generator::new(7, templates);
        for _ in 0..commands {
            let args = generator.command();
            let words: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
            let reply = handlers.run(&args, false);
            if let (Ok(command), false) = (resolve(&words), reply.starts_with(b"-")) {
                reached.insert(command.name);
            }
        }
    }
    let all = shards::commands::all().flat_map(|command| std::iter::once(command).chain(command.subcommands));
    let here = all.filter(|command| matches!(command.run, Run::Data(_) | Run::Home(_)));
    let is_listed = |name: &str| NOT_RANDOM.iter().any(|(listed, _)| *listed == name) || name.starts_with("client|");
    let missed: Vec<&str> = here.map(|command| command.name).filter(|name| !reached.contains(name) && !is_listed(name)).collect();
    assert!(missed.is_empty(), "no random command is a right one of {missed:?}");
}

/// One by one, what random commands meet seldom.
#[test]
fn rare_cases_are_those_of_redis() {
    let mut redis = Redis::start(Peer::Redis7_0, "rare");
    let mut handlers = Handlers::new();
    let dump = handlers.run(&words("SET k abc"), false);
    assert_eq!(redis.run(&words("SET k abc")), dump);
    let dump = redis.run(&words("DUMP k"));
    let start = dump.iter().position(|&byte| byte == b'\n').expect("a bulk string") + 1;
    let payload = dump[start..dump.len() - 2].to_vec();
    let restore = |ttl: &str, options: &str| [words(&format!("RESTORE k {ttl}")), vec![payload.clone()], words(options)].concat();
    let mut cases: Vec<Args> = Vec::new();
    for value in ["abc", "123", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"] {
        for command in
            ["SETBIT k 0 0", "SETBIT k 0 2", "BITFIELD k GET u8 0", "BITFIELD k INCRBY u8 0 0", "INCRBYFLOAT k 1", "INCR k"]
        {
            cases.extend([words(&format!("SET k {value}")), words(command), words("OBJECT ENCODING k")]);
        }
        cases.extend([words("SETBIT k 1000 0"), words("BITFIELD k OVERFLOW FAIL INCRBY u1 0 9"), words("OBJECT ENCODING k")]);
    }
    for command in ["INCRBYFLOAT k 3", "INCRBYFLOAT k 1e60", "SETBIT k 0 0", "BITFIELD k OVERFLOW FAIL INCRBY u8 0 300"] {
        cases.extend([words("DEL k"), words(command), words("OBJECT ENCODING k"), words("GET k")]);
    }
    for ttl in ["9223372036854775807", "9223372036854775808", "9000000000000000000"] {
        for options in ["REPLACE", "REPLACE ABSTTL"] {
            cases.extend([restore(ttl, options), words("EXISTS k")]);
        }
    }
    cases.extend(["LOLWUT VERSION x", "LOLWUT VERSION 1.5", "LOLWUT VERSION 5 x", "LOLWUT VERSION 6 1 x"].map(words));
    cases.extend([vec![b"f\xff".to_vec(), b"a\r\n".to_vec()], vec![b"OBJECT".to_vec(), b"\xfe".to_vec()]]);
    for args in cases {
        let (ours, theirs) = (handlers.run(&args, false), redis.run(&args));
        assert_eq!(ours.escape_ascii().to_string(), theirs.escape_ascii().to_string(), "{}", show_all(&args));
    }
    assert_same_state("what the effects lead to", 0, &replayed(handlers.log.iter()), &state(&handlers.keyspace));
}

/// Entries that are as in 7.2, where 7.0 has others.
const OTHER_THAN_IN_7_0: &[&str] = &["command|getkeys", "command|getkeysandflags", "sinterstore", "zrank", "zrevrank"];

#[test]
fn entries_of_the_table_are_those_of_redis() {
    let mut redis = Redis::start(Peer::Redis7_0, "table");
    let mut handlers = Handlers::new();
    for command in shards::commands::all().flat_map(|command| std::iter::once(command).chain(command.subcommands)) {
        let args = words(&format!("COMMAND INFO {}", command.name));
        let (ours, theirs) = (handlers.run(&args, false), redis.run(&args));
        // Commands of 7.2, and our own; containers list their sub-commands in no fixed order.
        let unknown = theirs == b"*1\r\n$-1\r\n";
        if unknown || !command.subcommands.is_empty() || OTHER_THAN_IN_7_0.contains(&command.name) {
            continue;
        }
        assert_eq!(String::from_utf8_lossy(&ours), String::from_utf8_lossy(&theirs), "{}", command.name);
    }
}
