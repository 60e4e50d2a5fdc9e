//! Commands on a keyspace, as the engine runs them for one shard.

use shards::commands::{CommandStats, Ctx, Effects, Run, resolve, run_data};
use shards::ids::DbIndex;
use shards::keyspace::{Keyspace, KeyspaceOptions};
use shards::recovery::replay_command;
use shards::resp::{Protocol, Reply, parse_integer};
use shards::types::{Limits, Value};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};

pub const DATABASES: DbIndex = 4;

/// What the clock of every command says.
pub const NOW_MS: i64 = 1_700_000_000_000;

/// Thresholds that a handful of elements crosses.
pub const SMALL: Limits = Limits {
    hash_max_listpack_entries: 3,
    hash_max_listpack_value: 4,
    list_max_listpack_size: 3,
    set_max_intset_entries: 3,
    set_max_listpack_entries: 3,
    set_max_listpack_value: 4,
    zset_max_listpack_entries: 3,
    zset_max_listpack_value: 4,
    hll_sparse_max_bytes: 30,
    stream_node_max_bytes: 64,
    stream_node_max_entries: 3,
};

thread_local! {
    /// Empty ones. A new one takes half a megabyte: more time than most inputs.
    static SPARE: RefCell<Vec<Keyspace>> = const { RefCell::new(Vec::new()) };
}

/// An empty keyspace, until it is dropped.
pub struct Lent(Option<Keyspace>);

pub fn keyspace(limits: Limits) -> Lent {
    let new = || Keyspace::with(KeyspaceOptions { databases: DATABASES, hash_seed: 1, limits });
    let mut keyspace = SPARE.with_borrow_mut(Vec::pop).unwrap_or_else(new);
    keyspace.set_limits(limits);
    Lent(Some(keyspace))
}

impl Deref for Lent {
    type Target = Keyspace;

    fn deref(&self) -> &Keyspace {
        self.0.as_ref().expect("there until it is dropped")
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut Keyspace {
        self.0.as_mut().expect("there until it is dropped")
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut keyspace = self.0.take().expect("dropped once");
        if std::thread::panicking() {
            return;
        }
        keyspace.drain().for_each(drop);
        while keyspace.reclaim(1000) {}
        SPARE.with_borrow_mut(|spare| spare.push(keyspace));
    }
}

/// Runs one data command; gives its reply. What it changed is added to `log`.
pub fn run(keyspace: &mut Keyspace, args: &[&[u8]], log: &mut Effects, random: &mut fastrand::Rng) -> Vec<u8> {
    let mut out = Vec::new();
    let command = match resolve(args) {
        Ok(command) => command,
        Err(text) => {
            Reply::new(&mut out, Protocol::Resp2).error_bytes(&text);
            return out;
        }
    };
    assert!(matches!(command.run, Run::Data(_)), "{} is no data command", command.name);
    let (mut effects, mut stats) = (Effects::default(), CommandStats::default());
    let mut ctx = Ctx {
        keyspace,
        reply: Reply::new(&mut out, Protocol::Resp2),
        effects: &mut effects,
        db: 0,
        now_ms: NOW_MS,
        random,
        replaying: false,
        gathered: false,
        may_expire: true,
        stats: &mut stats,
        unnamed: None,
    };
    run_data(command, &mut ctx, args);
    while keyspace.reclaim(1000) {}
    log.append(&effects);
    out
}

/// Runs one logged command. An error says that a log can't hold it.
pub fn replay(keyspace: &mut Keyspace, db: DbIndex, args: &[&[u8]]) -> Result<(), String> {
    let (mut reply, mut effects, mut stats) = (Vec::new(), Effects::default(), CommandStats::default());
    let mut random = fastrand::Rng::with_seed(0);
    replay_command(keyspace, db, args, &mut reply, &mut effects, &mut random, &mut stats)
}

pub type State = BTreeMap<(DbIndex, Vec<u8>), (Value, Option<i64>)>;

pub fn state(keyspace: &Keyspace) -> State {
    let mut state = State::new();
    for db in 0..keyspace.databases() {
        let mut cursor = 0;
        loop {
            cursor = keyspace.scan(db, cursor, 100, &mut |key, value, expire_at_ms| {
                state.insert((db, key.to_vec()), (value.clone(), expire_at_ms));
            });
            if cursor == 0 {
                break;
            }
        }
    }
    state
}

/// Commands that may take much memory or time by a number in their arguments, as in Redis: not what is looked for here.
pub fn is_costly(args: &[&[u8]]) -> bool {
    const NAMES: [&str; 8] = ["setrange", "setbit", "bitfield", "getbit", "srandmember", "hrandfield", "zrandmember", "swapdb"];
    const NUMBER_MAX: u64 = 10_000;
    let Some((name, rest)) = args.split_first() else { return false };
    let is_named = NAMES.iter().any(|costly| name.eq_ignore_ascii_case(costly.as_bytes()));
    let number = |arg: &&[u8]| parse_integer(arg.strip_prefix(b"#").unwrap_or(arg));
    is_named && rest.iter().filter_map(number).any(|number| number.unsigned_abs() > NUMBER_MAX)
}

/// All bulk strings of a RESP2 reply, however deep.
pub fn bulk_strings(mut reply: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    while let Some(end) = reply.windows(2).position(|pair| pair == b"\r\n") {
        let (line, rest) = (&reply[..end], &reply[end + 2..]);
        reply = rest;
        let len = line.strip_prefix(b"$").and_then(parse_integer).and_then(|len| usize::try_from(len).ok());
        if let Some(len) = len {
            found.push(rest[..len].to_vec());
            reply = &rest[len + 2..];
        }
    }
    found
}
