//! The keyspace notifications of random commands against those that a real server publishes: the same events of the same keys in the same
//! order after every command, with all classes on and with some of them.
//!
//! A failure prints the seed, the step and the last commands; `DIFFERENTIAL_SEED` shifts the seeds, `DIFFERENTIAL_PEER` chooses the server.

mod both_sides;
mod random_commands;
mod snapshots;

use both_sides::*;
use random_commands::*;
use shards::commands::EventClasses;
use shards::resp::{Protocol, decode_command};
use std::io::{BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

const STEPS: usize = 40_000;

/// After so many commands other classes are asked for.
const STEPS_PER_CLASSES: usize = 100;

/// After so many commands some keys of any type expire, and are there until a command meets them.
const STEPS_PER_EXPIRY: usize = 1000;

const KEYS_PER_EXPIRY: usize = 20;

/// All that a command can raise here. `e` and `d` are missing: nothing is evicted, and there are no modules.
const CLASSES: &[char] = &['g', '$', 'l', 's', 'h', 'z', 'x', 't', 'm', 'n'];

/// One event as `__keyevent@db__:name` with the key as its message says it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Published {
    channel: String,
    key: String,
}

/// Subscribed to all events of the peer.
struct Subscriber(BufReader<UnixStream>);

impl Subscriber {
    fn new(redis: &Redis) -> Subscriber {
        let mut stream = connect(&redis.dir);
        let requests = [encode(&words("PSUBSCRIBE __keyevent@*__:*")), encode(&words("SUBSCRIBE marker"))];
        stream.get_mut().write_all(&requests.concat()).expect("it takes requests");
        (0..2).for_each(|_| read_reply(&mut stream, &mut Vec::new()));
        Subscriber(stream)
    }

    /// What was published since the last call: messages come in the order in which they were published, so behind the marker there is no more.
    fn published(&mut self, redis: &mut Redis) -> Vec<Published> {
        assert_eq!(redis.run(&words("PUBLISH marker x")), b":1\r\n");
        let mut published = Vec::new();
        loop {
            let mut message = Vec::new();
            read_reply(&mut self.0, &mut message);
            let (parts, _) = decode_command(&message).expect("a message is an array of strings");
            match parts[..] {
                [b"pmessage", _, channel, key] => published.push(Published::new(String::from_utf8_lossy(channel), key)),
                [b"message", b"marker", _] => return published,
                _ => panic!("{} is no message", show_all(&parts)),
            }
        }
    }
}

impl Published {
    fn new(channel: impl Into<String>, key: &[u8]) -> Published {
        Published { channel: channel.into(), key: key.escape_ascii().to_string() }
    }

    fn name(&self) -> &str {
        self.channel.split_once("__:").expect("the pattern of the subscription").1
    }
}

fn ask_for_some(sides: &mut Sides) {
    let random = &mut sides.generator.random;
    let some = random.u8(1..=100);
    let classes: String = CLASSES.iter().filter(|_| random.u8(..100) < some).collect();
    let classes = format!("E{classes}");
    sides.handlers.watched = EventClasses::parse(&classes);
    let set = words(&format!("CONFIG SET notify-keyspace-events {classes}"));
    assert_eq!(sides.redis.run(&set), b"+OK\r\n", "{classes}");
}

/// The time is long enough for a busy machine to set them all before the first one expires.
fn let_some_expire(sides: &mut Sides, gathered: bool) {
    let at_ms = (now_ms() + 100).to_string().into_bytes();
    for _ in 0..KEYS_PER_EXPIRY {
        let args = vec![b"PEXPIREAT".to_vec(), sides.generator.fill("K"), at_ms.clone()];
        sides.run(&args, gathered);
    }
    std::thread::sleep(Duration::from_millis(110));
}

/// The events of the handlers since the last call, as the peer would publish them for the command that it ran.
fn raised(handlers: &mut Handlers, args: &Args) -> Vec<Published> {
    // Whose members we choose; the peer has to remove the same.
    let spop = args[0].eq_ignore_ascii_case(b"SPOP");
    published_as(handlers, |name| if spop && name == "spop" { "srem" } else { name })
}

fn published_as(handlers: &mut Handlers, name: impl Fn(&'static str) -> &'static str) -> Vec<Published> {
    let events = std::mem::take(&mut handlers.events).into_iter();
    events.map(|event| Published::new(format!("__keyevent@{}__:{}", event.db, name(event.name)), &event.key)).collect()
}

fn check(seed: u64, gathered: bool) {
    let mut sides = Sides::start(seed, Protocol::Resp2);
    let mut subscriber = Subscriber::new(&sides.redis);
    let mut compared = 0;
    for step in 0..STEPS {
        if step % STEPS_PER_CLASSES == 0 {
            ask_for_some(&mut sides);
        }
        if step % STEPS_PER_EXPIRY == 0 {
            let_some_expire(&mut sides, gathered);
            subscriber.published(&mut sides.redis);
            sides.handlers.events.clear();
        }
        let args = sides.step(gathered);
        let (mut ours, theirs) = (raised(&mut sides.handlers, &args), subscriber.published(&mut sides.redis));
        if looked_up_elsewhere(sides.peer, &args) && ours != theirs {
            sides.handlers.run(&[b"TYPE".to_vec(), args[1].clone()], gathered);
            ours = raised(&mut sides.handlers, &args);
        }
        compared += theirs.len();
        assert!(
            same_events(sides.peer, &args, &ours, &theirs),
            "{}, {:?}: {}\n  ours:   {ours:?}\n  theirs: {theirs:?}\nbefore:\n{}",
            sides.place(),
            sides.handlers.watched,
            show_all(&args),
            sides.last_commands()
        );
    }
    assert!(compared > STEPS / 20, "only {compared} events");
    // With events on, keys are looked up that are replaced unseen otherwise: that must not change what happens.
    sides.check_end();
}

/// Commands that are refused here, while the peer looks for the key: 7.0 looks before it reads the other arguments of BITCOUNT, and LPOS takes
/// any RANK; Valkey 8 takes a start without an end.
fn looked_up_elsewhere(peer: Peer, args: &Args) -> bool {
    let name = args[0].to_ascii_uppercase();
    match peer {
        Peer::Redis7_0 => matches!(&name[..], b"BITCOUNT" | b"BITPOS" | b"LPOS"),
        _ => name == b"BITCOUNT" && args.len() == 3,
    }
}

/// What is tolerated, with the reason.
fn same_events(peer: Peer, args: &Args, ours: &[Published], theirs: &[Published]) -> bool {
    if peer == Peer::Redis7_0 {
        return same_but_for_lookups(args, ours, theirs);
    }
    // Valkey 8 has left the ways of 7.2: with an expiry in the past, a key expires at once. SET does not even set it, and EXPIRE tells of
    // `expired`, not of `del`. Redis 8 looks whether what RESTORE replaces has expired. So keys expire at other times than here.
    let name = args[0].to_ascii_uppercase();
    let expires = name.windows(6).any(|part| part == b"EXPIRE") || matches!(&name[..], b"SET" | b"GETEX");
    let past = args.iter().any(|arg| matches!(&arg[..], b"0" | b"1" | b"-1"));
    (expires && past) || same_but_for_lookups(args, &without("expired", ours), &without("expired", theirs))
}

/// Which of the keys that a pattern of SORT names is looked up first depends on the order inside sets and among equals; with LIMIT, so does
/// which are looked up at all. Redis looks none up when it takes a number for one out of range that is not (see `sort::same`).
fn same_but_for_lookups(args: &Args, ours: &[Published], theirs: &[Published]) -> bool {
    // XREAD knows `+` only later than 7.0.
    if args[0].eq_ignore_ascii_case(b"XREAD") && args.iter().any(|arg| arg == b"+") {
        return without("keymiss", ours) == without("keymiss", theirs);
    }
    if !args[0].to_ascii_uppercase().starts_with(b"SORT") {
        return ours == theirs;
    }
    let has = |option: &str| args.iter().any(|arg| arg.eq_ignore_ascii_case(option.as_bytes()));
    match theirs.is_empty() || (has("BY") && has("LIMIT")) {
        true => without("keymiss", ours) == without("keymiss", theirs),
        false => misses_last(ours) == misses_last(theirs),
    }
}

fn without(name: &str, events: &[Published]) -> Vec<Published> {
    events.iter().filter(|event| event.name() != name).cloned().collect()
}

/// The others in their order, then the misses, sorted.
fn misses_last(events: &[Published]) -> Vec<Published> {
    let (mut misses, mut events): (Vec<_>, Vec<_>) = events.iter().cloned().partition(|event| event.name() == "keymiss");
    misses.sort();
    events.append(&mut misses);
    events
}

#[test]
fn events_are_those_of_redis() {
    check(1, false);
}

#[test]
fn events_are_those_of_redis_when_keys_are_gathered_from_other_shards() {
    check(2, true);
}

/// Every event, raised by a command of which the peer raises it; `m` and `n` on.
const EACH: &[(&str, &str)] = &[
    ("SET s 5", "new set"),
    ("SET s 5 EX 1000", "set expire"),
    ("GET none", "keymiss"),
    ("APPEND s 1", "append"),
    ("SETRANGE s 1 0", "setrange"),
    ("INCR s", "incrby"),
    ("INCRBYFLOAT s 1", "incrbyfloat"),
    ("SETBIT s 90 1", "setbit"),
    ("BITFIELD s SET u8 0 7", "setbit"),
    ("BITOP NOT not s", "new set"),
    ("MSET s 1 t 1", "set new set"),
    ("PERSIST s", ""),
    ("EXPIRE s 100", "expire"),
    ("PERSIST s", "persist"),
    ("GETEX s PX 100000", "expire"),
    ("GETEX s PERSIST", "persist"),
    ("COPY s s DB 1", "new copy_to"),
    ("MOVE t 2", "new move_from move_to"),
    ("RENAME s t", "new rename_from rename_to"),
    ("COPY not t REPLACE", "new copy_to"),
    ("GETDEL t", "del"),
    ("DEL not none", "del"),
    ("RPUSH l a b c a b c", "new rpush"),
    ("LPUSH l a", "lpush"),
    ("LINSERT l BEFORE b x", "linsert"),
    ("LSET l 0 y", "lset"),
    ("LREM l 1 x", "lrem"),
    ("LTRIM l 0 3", "ltrim"),
    ("LPOP l", "lpop"),
    ("RPOP l", "rpop"),
    ("LMOVE l m LEFT RIGHT", "new rpush lpop"),
    ("RPOPLPUSH l m", "lpush rpop del"),
    ("SORT m ALPHA STORE l", "new sortstore"),
    ("SADD s a b c", "new sadd"),
    ("SREM s c", "srem"),
    ("SMOVE s t a", "srem new sadd"),
    ("SUNIONSTORE u s t", "new sunionstore"),
    ("SINTERSTORE u u u", "sinterstore"),
    ("SDIFFSTORE u u t", "sdiffstore"),
    ("SINTERSTORE u u t", "del"),
    ("HSET h f 1 g 1", "new hset"),
    ("HINCRBY h f 1", "hincrby"),
    ("HINCRBYFLOAT h f 1", "hincrbyfloat"),
    ("HDEL h f g", "hdel del"),
    ("ZADD z 1 a 2 b 3 c 4 d", "new zadd"),
    ("ZINCRBY z 1 a", "zincr"),
    ("ZREM z d", "zrem"),
    ("ZUNIONSTORE y 1 z", "new zunionstore"),
    ("ZINTERSTORE y 2 z y", "zinterstore"),
    ("ZDIFFSTORE x 2 z none", "keymiss new zdiffstore"),
    ("ZRANGESTORE x z 0 -1", "zrangestore"),
    ("ZREMRANGEBYRANK x 0 0", "zremrangebyrank"),
    ("ZREMRANGEBYSCORE x 2 2", "zremrangebyscore"),
    ("ZREMRANGEBYLEX y - (b", "zremrangebylex"),
    ("ZPOPMIN z", "zpopmin"),
    ("ZPOPMAX z", "zpopmax"),
    ("GEOADD g 1 1 p", "new zadd"),
    ("GEOSEARCHSTORE f g FROMLONLAT 1 1 BYRADIUS 9 km", "new geosearchstore"),
    ("GEORADIUS g 1 1 9 km STORE f", "georadiusstore"),
    ("PFADD p a", "new pfadd"),
    ("PFMERGE q p", "keymiss new pfadd"),
    ("XADD xs 1-1 f v", "new xadd"),
    ("XADD xs MAXLEN 1 2-1 f v", "xadd xtrim"),
    ("XGROUP CREATE xs g 0", "xgroup-create"),
    ("XGROUP CREATECONSUMER xs g c", "xgroup-createconsumer"),
    ("XREADGROUP GROUP g d STREAMS xs >", "xgroup-createconsumer"),
    ("XREAD STREAMS none 0", "keymiss keymiss"),
    ("XACK none g 1-1", "keymiss"),
    ("XGROUP DELCONSUMER xs g c", "xgroup-delconsumer"),
    ("XGROUP SETID xs g 0", "xgroup-setid"),
    ("XGROUP DESTROY xs g", "xgroup-destroy"),
    ("XSETID xs 9-9", "xsetid"),
    ("XDEL xs 2-1", "xdel"),
    ("XADD xs 10-1 f v", "xadd"),
    ("XTRIM xs MAXLEN 0", "xtrim"),
    ("EXPIREAT q 1", "del"),
    ("SET s 1 PXAT 1", "set expire"),
    ("SET s 1", "expired new set"),
];

/// Random commands meet some of them seldom.
#[test]
fn each_event_is_that_of_redis() {
    let mut redis = Redis::start(Peer::Redis7_0, "events");
    redis.run(&words("DEBUG SET-ACTIVE-EXPIRE 0"));
    redis.run(&words("CONFIG SET notify-keyspace-events EAmn"));
    let mut handlers = Handlers::new();
    handlers.watched = EventClasses::parse("EAmn");
    let mut subscriber = Subscriber::new(&redis);
    for (command, names) in EACH {
        let args = words(command);
        assert_eq!(String::from_utf8_lossy(&handlers.run(&args, false)), String::from_utf8_lossy(&redis.run(&args)), "{command}");
        let (ours, theirs) = (published_as(&mut handlers, |name| name), subscriber.published(&mut redis));
        assert_eq!(ours, theirs, "{command}");
        assert_eq!(theirs.iter().map(Published::name).collect::<Vec<_>>().join(" "), *names, "{command}");
    }
}
