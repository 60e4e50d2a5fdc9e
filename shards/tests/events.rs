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

const STEPS: usize = 40_000;

/// After so many commands other classes are asked for.
const STEPS_PER_CLASSES: usize = 100;

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
        let mut stream = redis.another_connection();
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

/// The events of the handlers since the last call, as the peer would publish them for the command that it ran.
fn raised(sides: &mut Sides, args: &Args) -> Vec<Published> {
    // Whose members we choose; the peer has to remove the same.
    let spop = args[0].eq_ignore_ascii_case(b"SPOP");
    let name = |name: &'static str| if spop && name == "spop" { "srem" } else { name };
    let events = std::mem::take(&mut sides.handlers.events);
    events.iter().map(|event| Published::new(format!("__keyevent@{}__:{}", event.db, name(event.name)), &event.key)).collect()
}

fn check(seed: u64, gathered: bool) {
    let mut sides = Sides::start(seed, Protocol::Resp2);
    let mut subscriber = Subscriber::new(&sides.redis);
    // Expired keys go on both sides when a command meets them, not at some time before.
    sides.redis.run(&words("DEBUG SET-ACTIVE-EXPIRE 0"));
    let mut compared = 0;
    for step in 0..STEPS {
        if step % STEPS_PER_CLASSES == 0 {
            ask_for_some(&mut sides);
        }
        let args = sides.step(gathered);
        let (ours, theirs) = (raised(&mut sides, &args), subscriber.published(&mut sides.redis));
        compared += theirs.len();
        assert!(
            same_events(&args, &ours, &theirs),
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

fn same_events(args: &Args, ours: &[Published], theirs: &[Published]) -> bool {
    _ = args;
    ours == theirs
}

#[test]
fn events_are_those_of_redis() {
    check(1, false);
}

#[test]
fn events_are_those_of_redis_when_keys_are_gathered_from_other_shards() {
    check(2, true);
}
