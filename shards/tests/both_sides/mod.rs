//! The two sides of a differential test: a real server of our own, and the handlers over one keyspace. They get the same random commands.

use crate::random_commands::*;
use crate::snapshots::{Snapshots, State, commands, dump, state};
use shards::commands::{CommandStats, Ctx, Effects, Event, EventClasses, Home, Names, Run, Session, resolve, run_data};
use shards::keyspace::Keyspace;
use shards::resp::{Protocol, Reply, decode_command};
use std::ffi::OsStr;
use std::io::{BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Where `tests/install` has put it.
pub fn program(peer: Peer) -> &'static str {
    match peer {
        Peer::Redis7_0 => "redis-server",
        Peer::Valkey8_1 => concat!(env!("CARGO_MANIFEST_DIR"), "/../target/peers/bin/valkey-server-8"),
        Peer::Redis8_2 => concat!(env!("CARGO_MANIFEST_DIR"), "/../target/peers/bin/redis-server-8"),
    }
}

/// The highest RDB version that it reads.
fn rdb_version(peer: Peer) -> u32 {
    match peer {
        Peer::Redis7_0 => 10,
        Peer::Valkey8_1 => 11,
        Peer::Redis8_2 => 12,
    }
}

/// A redis-server of our own; ends with the test.
pub struct Redis {
    child: Child,
    pub dir: PathBuf,
    stream: BufReader<UnixStream>,
}

impl Redis {
    pub fn start(peer: Peer, name: &str) -> Redis {
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
        let child = Command::new(program(peer))
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
        let stream = connect(&dir);
        Redis { child, dir, stream }
    }

    pub fn run(&mut self, args: &[Vec<u8>]) -> Vec<u8> {
        let request = encode(args);
        self.stream.get_mut().write_all(&request).expect("redis-server takes requests");
        let mut reply = Vec::new();
        read_reply(&mut self.stream, &mut reply);
        reply
    }
}

/// Waits for a server that has just been started in `dir`.
pub fn connect(dir: &Path) -> BufReader<UnixStream> {
    let started = Instant::now();
    loop {
        match UnixStream::connect(dir.join("socket")) {
            Ok(stream) => return BufReader::new(stream),
            Err(error) if started.elapsed() > Duration::from_secs(20) => panic!("redis-server does not answer: {error}"),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
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
pub struct Handlers {
    pub keyspace: Keyspace,
    session: Session,
    random: fastrand::Rng,
    /// All effects so far.
    pub log: Effects,
    snapshots: Snapshots,
    /// The events that are asked for.
    pub watched: EventClasses,
    /// Raised and not yet taken by the test.
    pub events: Vec<Event>,
}

impl Handlers {
    pub fn new() -> Handlers {
        let session = Session { authenticated: true, ..Session::default() };
        Handlers {
            keyspace: Keyspace::new(DATABASES, 1),
            session,
            random: fastrand::Rng::with_seed(1),
            log: Effects::default(),
            snapshots: Snapshots::new(),
            watched: EventClasses::NONE,
            events: Vec::new(),
        }
    }

    pub fn run(&mut self, args: &[Vec<u8>], gathered: bool) -> Vec<u8> {
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
        effects.watch(self.watched);
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
        self.events.extend_from_slice(effects.events());
        self.log.append(&effects);
        self.snapshots.step(&mut self.keyspace);
        while self.keyspace.reclaim(1000) {}
        out
    }
}

/// The state after running commands, as they are logged, on an empty keyspace.
pub fn replayed<'l>(log: impl Iterator<Item = (u16, &'l [u8])>) -> State {
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

pub fn assert_same_state(what: &str, seed: u64, found: &State, expected: &State) {
    for key in found.keys().chain(expected.keys()) {
        assert_eq!(found.get(key), expected.get(key), "seed {seed}: {what}: {} differs", String::from_utf8_lossy(&key.1));
    }
}

/// The state's `dump.rdb` in a real server: its digest is that of the server which ran the same commands.
fn loads_elsewhere(peer: Peer, redis: &mut Redis, state: &State, seed: u64) {
    let expected = redis.run(&words("DEBUG DIGEST"));
    let mut loaded = Redis::start_with(peer, &format!("{seed}-loaded"), Some(&dump(state, rdb_version(peer))));
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

/// A run of random commands on both sides.
pub struct Sides {
    pub peer: Peer,
    pub redis: Redis,
    pub handlers: Handlers,
    pub generator: Generator,
    seed: u64,
    /// Commands with the peer's replies, for the reader of a failure.
    history: Vec<String>,
}

impl Sides {
    /// Other seeds: `DIFFERENTIAL_SEED=1000`.
    pub fn start(seed: u64, protocol: Protocol) -> Sides {
        let first: u64 = std::env::var("DIFFERENTIAL_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
        let seed = first + seed;
        let peer = Peer::chosen();
        let mut redis = Redis::start(peer, &format!("{seed}"));
        // Expired keys go on both sides when a command meets them, not at some time before.
        redis.run(&words("DEBUG SET-ACTIVE-EXPIRE 0"));
        let mut handlers = Handlers::new();
        if protocol == Protocol::Resp3 {
            redis.run(&words("HELLO 3"));
            handlers.session.protocol = protocol;
        }
        let generator = Generator::new(seed, only(templates(peer)));
        Sides { peer, redis, handlers, generator, seed, history: Vec::new() }
    }

    /// Runs a random command on both sides.
    pub fn step(&mut self, gathered: bool) -> Args {
        let args = match self.generator.random.usize(..60) {
            0 => self.restore_of_dump(),
            _ => self.generator.command(),
        };
        self.run(&args, gathered);
        args
    }

    /// Both sides answer the same. `gathered`: as if the keys were lent by other shards; encodings may differ then.
    pub fn run(&mut self, args: &Args, gathered: bool) {
        let ours = self.handlers.run(args, gathered);
        if let Some(mirror) = mirror(args, &ours) {
            return mirror.commands.iter().for_each(|other| self.run_instead(args, other));
        }
        let theirs = self.redis.run(args);
        self.history.push(format!("{}-> {}", show_all(args), shown(&theirs)));
        assert!(
            same_reply(self.peer, args, &ours, &theirs, !gathered),
            "{}: {}\n  ours:   {}\n  theirs: {}\nbefore:\n{}",
            self.place(),
            show_all(args),
            shown(&ours),
            shown(&theirs),
            self.last_commands()
        );
    }

    fn run_instead(&mut self, args: &Args, other: &Args) {
        let theirs = self.redis.run(other);
        self.history.push(format!("{}as {}-> {}", show_all(args), show_all(other), shown(&theirs)));
        assert!(theirs[0] != b'-', "{}: {}", self.place(), self.last_commands());
    }

    /// Whether both sides hold the same at the end, and everything that is made of our state leads to the same again.
    pub fn check_end(mut self) {
        let (peer, seed) = (self.peer, self.seed);
        compare_states(peer, &mut self.redis, &mut self.handlers, seed);
        let state = state(&self.handlers.keyspace);
        assert_same_state("what the effects lead to", seed, &replayed(self.handlers.log.iter()), &state);
        let commands = commands(&state);
        assert_same_state("a base of commands", seed, &replayed(commands.iter().map(|(db, bytes)| (*db, &bytes[..]))), &state);
        loads_elsewhere(peer, &mut self.redis, &state, seed);
        let taken = self.handlers.snapshots.taken;
        assert!(taken > 10, "seed {seed}: {taken} snapshots were taken");
    }

    pub fn place(&self) -> String {
        format!("seed {}, step {}", self.seed, self.history.len())
    }

    pub fn last_commands(&self) -> String {
        self.history[self.history.len().saturating_sub(25)..].join("\n")
    }

    /// Either side's DUMP of a key, to be restored on both.
    fn restore_of_dump(&mut self) -> Args {
        let dump = vec![b"DUMP".to_vec(), self.generator.fill("K")];
        let (ours, theirs) = (self.handlers.run(&dump, false), self.redis.run(&dump));
        let reply = if self.generator.random.bool() { theirs } else { ours };
        let payload = reply.iter().position(|&byte| byte == b'\n').map(|at| &reply[at + 1..]).filter(|rest| rest.len() > 2);
        let Some(payload) = payload else { return dump };
        let payload = payload[..payload.len() - 2].to_vec();
        vec![b"RESTORE".to_vec(), self.generator.fill("K"), b"0".to_vec(), payload, b"REPLACE".to_vec()]
    }
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
                    shown(&ours),
                    shown(&theirs)
                );
            }
        }
    }
}
