//! What commands answer and which effects they state, one line per case. Replies in all their forms are compared with a
//! real server by `tests/differential_commands.rs`; here stand the effects, which no server shows.

mod hashes_and_sets;
mod streams;
mod zsets;

use super::*;
use crate::keyspace::Keyspace;
use crate::resp::{Protocol, Reply, decode_command};

const NOW_MS: i64 = 1_000_000;

struct Shard {
    keyspace: Keyspace,
    session: Session,
    random: fastrand::Rng,
    now_ms: i64,
    gathered: bool,
    replaying: bool,
    may_expire: bool,
    password: &'static str,
    stats: CommandStats,
}

impl Shard {
    fn new() -> Shard {
        Shard {
            keyspace: Keyspace::new(4, 1),
            session: Session { authenticated: true, ..Session::default() },
            random: fastrand::Rng::with_seed(1),
            now_ms: NOW_MS,
            gathered: false,
            replaying: false,
            may_expire: true,
            password: "",
            stats: CommandStats::default(),
        }
    }

    /// Reply and effects of a line of words, both as text: line ends as spaces, an effect as `db: words`.
    fn run(&mut self, line: &str) -> (String, Vec<String>) {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let (mut out, mut effects) = (Vec::new(), Effects::default());
        match resolve(&args) {
            Ok(command) => self.dispatch(command, &args, &mut out, &mut effects),
            Err(text) => Reply::new(&mut out, self.session.protocol).error_bytes(&text),
        }
        let reply = String::from_utf8_lossy(&out).replace("\r\n", " ").trim_end().to_string();
        (reply, effects.iter().map(|(db, bytes)| shown(db, bytes)).collect())
    }

    fn dispatch(&mut self, command: &Command, args: &[&[u8]], out: &mut Vec<u8>, effects: &mut Effects) {
        let reply = Reply::new(out, self.session.protocol);
        match command.run {
            Run::Data(_) => {
                let mut ctx = Ctx {
                    keyspace: &mut self.keyspace,
                    reply,
                    effects,
                    db: self.session.db,
                    now_ms: self.now_ms,
                    random: &mut self.random,
                    replaying: self.replaying,
                    gathered: self.gathered,
                    may_expire: self.may_expire,
                    stats: &mut self.stats,
                    unnamed: None,
                };
                run_data(command, &mut ctx, args);
            }
            Run::Home(handler) => {
                let mut home = Home {
                    session: &mut self.session,
                    reply,
                    now_ms: self.now_ms,
                    now_us: self.now_ms * 1000 + 7,
                    databases: 4,
                    password: self.password.as_bytes(),
                    names: &Names::TABLE,
                    random: &mut self.random,
                };
                handler(&mut home, args);
            }
            Run::Engine(_) | Run::Container => panic!("{} is not run here", command.name),
        }
    }
}

fn shown(db: u16, bytes: &[u8]) -> String {
    let (args, _) = decode_command(bytes).expect("an effect is a command");
    let words: Vec<_> = args.iter().map(|arg| String::from_utf8_lossy(arg)).collect();
    format!("{db}: {}", words.join(" "))
}

/// Each step: a command, its reply, its effects.
fn check(shard: &mut Shard, steps: &[(&str, &str, &[&str])]) {
    for (line, reply, effects) in steps {
        let (got_reply, got_effects) = shard.run(line);
        assert_eq!(got_reply, *reply, "reply of {line}");
        assert_eq!(got_effects, *effects, "effects of {line}");
    }
}

#[test]
fn strings_state_absolute_effects() {
    check(
        &mut Shard::new(),
        &[
            ("set a 1", "+OK", &["0: SET a 1"]),
            ("SET a 2 EX 10", "+OK", &["0: SET a 2 PXAT 1010000"]),
            ("set a 3 keepttl", "+OK", &["0: SET a 3 KEEPTTL"]),
            ("pttl a", ":10000", &[]),
            ("set a 4 nx", "$-1", &[]),
            ("set a 4 xx get", "$1 3", &["0: SET a 4"]),
            ("set a 4 ex 0", "-ERR invalid expire time in 'set' command", &[]),
            ("set a 4 ex 1 px 1", "-ERR syntax error", &[]),
            ("setex b 5 x", "+OK", &["0: SET b x PXAT 1005000"]),
            ("getex b persist", "$1 x", &["0: PERSIST b"]),
            ("getex b", "$1 x", &[]),
            ("getex b px 5", "$1 x", &["0: PEXPIREAT b 1000005"]),
            ("getex b exat 1", "$1 x", &["0: DEL b"]),
            ("getdel a", "$1 4", &["0: DEL a"]),
            ("getdel a", "$-1", &[]),
            ("mset a 1 b 2", "+OK", &["0: SET a 1", "0: SET b 2"]),
            ("msetnx c 1 a 2", ":0", &[]),
            ("msetnx c 1 d 2", ":1", &["0: SET c 1", "0: SET d 2"]),
            ("mget a nosuch d", "*3 $1 1 $-1 $1 2", &[]),
            ("incr a", ":2", &["0: INCRBY a 1"]),
            ("decrby a 5", ":-3", &["0: INCRBY a -5"]),
            ("decrby a -9223372036854775808", "-ERR decrement would overflow", &[]),
            ("incrbyfloat a 0.5", "$4 -2.5", &["0: SET a -2.5 KEEPTTL"]),
            ("incrby a 1", "-ERR value is not an integer or out of range", &[]),
            ("append a xy", ":6", &["0: APPEND a xy"]),
            ("setrange a 8 z", ":9", &["0: SETRANGE a 8 z"]),
            ("setrange nosuch 536870912 z", "-ERR string exceeds maximum allowed size (proto-max-bulk-len)", &[]),
        ],
    );
}

#[test]
fn bits_state_an_effect_only_when_something_changed() {
    check(
        &mut Shard::new(),
        &[
            ("setbit a 7 1", ":0", &["0: SETBIT a 7 1"]),
            ("setbit a 7 1", ":1", &[]),
            ("setbit a 4294967296 1", "-ERR bit offset is not an integer or out of range", &[]),
            ("bitfield a get u8 0", "*1 :1", &[]),
            ("bitfield a set u8 0 1", "*1 :1", &[]),
            ("bitfield a incrby u8 0 1", "*1 :2", &["0: bitfield a incrby u8 0 1"]),
            ("bitop not b a", ":1", &["0: SET b \u{fffd}"]),
            ("bitop and b nosuch nosuch", ":0", &["0: DEL b"]),
            ("bitop and b nosuch nosuch", ":0", &[]),
        ],
    );
}

#[test]
fn keys_state_one_effect_each_and_take_their_expiry_along() {
    check(
        &mut Shard::new(),
        &[
            ("mset a 1 b 2 c 3", "+OK", &["0: SET a 1", "0: SET b 2", "0: SET c 3"]),
            ("del a nosuch a", ":1", &["0: DEL a"]),
            ("expire b 10", ":1", &["0: PEXPIREAT b 1010000"]),
            ("expire b 20 lt", ":0", &[]),
            ("rename b b2", "+OK", &["0: RENAME b b2"]),
            ("rename b b2", "-ERR no such key", &[]),
            ("rename b2 b2", "+OK", &[]),
            ("renamenx b2 c", ":0", &[]),
            ("copy b2 c", ":0", &[]),
            ("copy b2 c replace", ":1", &["0: COPY b2 c DB 0 REPLACE"]),
            ("pexpiretime c", ":1010000", &[]),
            ("move c 1", ":1", &["0: MOVE c 1"]),
            ("swapdb 0 1", "+OK", &["0: SWAPDB 0 1"]),
            ("swapdb 0 0", "+OK", &[]),
            ("keys *", "*1 $1 c", &[]),
            ("expire c -1", ":1", &["0: DEL c"]),
            ("flushdb", "+OK", &[]),
            ("flushall", "+OK", &["1: FLUSHDB"]),
        ],
    );
}

#[test]
fn effects_on_gathered_keys_name_one_key_each() {
    let mut shard = Shard::new();
    shard.gathered = true;
    shard.run("set a 1 px 500");
    let (reply, effects) = shard.run("rename a b");
    assert_eq!((reply.as_str(), effects.len()), ("+OK", 2));
    assert_eq!(effects[0], "0: DEL a");
    assert!(effects[1].starts_with("0: RESTORE b 1000500 ") && effects[1].ends_with(" REPLACE ABSTTL"), "{}", effects[1]);
    let (reply, effects) = shard.run("copy b c db 2");
    assert_eq!((reply.as_str(), effects.len()), (":1", 1));
    assert!(effects[0].starts_with("2: RESTORE c 1000500 "), "{}", effects[0]);
}

#[test]
fn an_expired_key_is_deleted_when_met_with_its_effect() {
    let mut shard = Shard::new();
    shard.run("set a 1 px 10");
    shard.now_ms += 10;
    shard.may_expire = false;
    check(&mut shard, &[("get a", "$-1", &[]), ("keys *", "*0", &[]), ("dbsize", ":1", &[])]);
    shard.may_expire = true;
    check(&mut shard, &[("get a", "$-1", &["0: DEL a"]), ("get a", "$-1", &[]), ("dbsize", ":0", &[])]);
    assert_eq!((shard.stats.expired_keys, shard.stats.keyspace_hits, shard.stats.keyspace_misses), (1, 0, 3));
}

#[test]
fn nothing_expires_during_replay() {
    let mut shard = Shard::new();
    shard.replaying = true;
    check(
        &mut shard,
        &[
            ("SET a 1 PXAT 5", "+OK", &["0: SET a 1 PXAT 5"]),
            ("APPEND a x", ":2", &["0: APPEND a x"]),
            ("PEXPIREAT a 7", ":1", &["0: PEXPIREAT a 7"]),
            ("RENAME a b", "+OK", &["0: RENAME a b"]),
            ("GET b", "$2 1x", &[]),
        ],
    );
}

#[test]
fn a_connection_keeps_what_it_was_told() {
    let mut shard = Shard::new();
    shard.session.id = crate::ids::ConnId(9);
    check(
        &mut shard,
        &[
            ("ping", "+PONG", &[]),
            ("ping a b", "-ERR wrong number of arguments for 'ping' command", &[]),
            ("select 3", "+OK", &[]),
            ("select 4", "-ERR DB index is out of range", &[]),
            ("client id", ":9", &[]),
            ("client setname me", "+OK", &[]),
            ("client getname", "$2 me", &[]),
            ("client setinfo lib-name some-lib", "+OK", &[]),
            ("client setinfo foo bar", "-ERR Unrecognized option 'foo'", &[]),
            ("client foo", "-ERR unknown subcommand 'foo'. Try CLIENT HELP.", &[]),
            ("time", "*2 $4 1000 $1 7", &[]),
            ("hello 4", "-NOPROTO unsupported protocol version", &[]),
            ("hello 2 setname", "-ERR Syntax error in HELLO option 'setname'", &[]),
            ("client reply off", "", &[]),
        ],
    );
    assert!(shard.session.reply_off && shard.session.db == 3 && shard.session.lib_name == b"some-lib");
    let (reply, _) = shard.run("hello 3");
    assert!(reply.starts_with("%7 $6 server $5 redis $7 version $5 7.2."), "{reply}");
    assert_eq!(shard.session.protocol, Protocol::Resp3);
    check(&mut shard, &[("get a", "_", &[]), ("reset", "+RESET", &[]), ("get a", "$-1", &[])]);
    assert!(shard.session.db == 0 && !shard.session.reply_off && shard.session.authenticated);
}

#[test]
fn a_password_must_be_given_when_one_is_set() {
    let mut shard = Shard::new();
    shard.password = "secret";
    shard.session.authenticated = false;
    let wrong = "-WRONGPASS invalid username-password pair or user is disabled.";
    check(
        &mut shard,
        &[
            ("auth wrong", wrong, &[]),
            ("auth secre", wrong, &[]),
            ("auth secrets", wrong, &[]),
            ("auth someone secret", wrong, &[]),
        ],
    );
    assert!(shard.run("hello 3").0.starts_with("-NOAUTH HELLO must be called"));
    assert!(!shard.session.authenticated && shard.session.protocol == Protocol::Resp2);
    assert!(shard.run("hello 3 auth default secret").0.starts_with("%7"));
    assert!(shard.session.authenticated);
    check(&mut shard, &[("reset", "+RESET", &[])]);
    assert!(!shard.session.authenticated);
    check(&mut shard, &[("auth secret", "+OK", &[])]);
}

#[test]
#[should_panic(expected = "changed the keyspace: true, stated an effect: false")]
fn a_handler_that_forgets_its_effect_is_stopped() {
    fn forgetful(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
        ctx.keyspace.insert(ctx.db, args[1], crate::types::Value::Str(crate::types::Str::new(b"1")), None);
    }
    let command = Command::new("forgetful", 2, flags::WRITE, Route::Keys(Multi::Never), Run::Data(forgetful));
    Shard::new().dispatch(&command, &[b"forgetful", b"k"], &mut Vec::new(), &mut Effects::default());
}

#[test]
fn scan_and_random_key_leave_expired_keys_out() {
    let mut shard = Shard::new();
    shard.run("mset a1 x a2 x b1 x");
    shard.run("set a3 x px 1");
    shard.now_ms += 1;
    let (mut out, mut effects) = (Vec::new(), Effects::default());
    let mut ctx = Ctx {
        keyspace: &mut shard.keyspace,
        reply: Reply::new(&mut out, Protocol::Resp2),
        effects: &mut effects,
        db: 0,
        now_ms: shard.now_ms,
        random: &mut shard.random,
        replaying: false,
        gathered: false,
        may_expire: true,
        stats: &mut shard.stats,
        unnamed: None,
    };
    let args: Vec<&[u8]> = "scan 0 match a* type STRING count 1".split(' ').map(str::as_bytes).collect();
    let (mut cursor, options) = parse_scan(&args).expect("right arguments");
    let mut found = Vec::new();
    loop {
        cursor = scan_step(&ctx, cursor, options.count, &options, &mut found);
        if cursor == 0 {
            break;
        }
    }
    found.sort();
    assert_eq!(found, [b"a1", b"a2"]);
    for _ in 0..50 {
        assert_ne!(random_key(&mut ctx).expect("there are keys"), b"a3");
    }
}
