//! The events of commands over several shards: raised once, whoever owns the keys.

use super::{Settings, Shard, Start};
use crate::commands::{EventClasses, Session};
use crate::ids::{ConnId, Generation, ShardId, Slot};
use crate::keyspace::Keyspace;
use crate::log::FsyncMode;
use crate::log::writer::SegmentBytes;
use crate::manifest::{GenerationEntry, Manifest};
use crate::transaction::Coordinator;

const SHARDS: u16 = 3;
const HOME: usize = 1;
const CONN: ConnId = ConnId(1);

/// Shards without a log, whose messages arrive one at a time.
struct Net {
    shards: Vec<Shard>,
    raised: Vec<String>,
    now_ms: i64,
}

impl Net {
    fn new() -> Net {
        let (mode, logged, number) = (FsyncMode::No, false, Generation(1));
        let generation = GenerationEntry { number, shards: SHARDS, mode, logged, log_ends: None, segments: Vec::new() };
        let mut coordinator = Some(Coordinator::new(Manifest { generations: vec![generation], ..Manifest::default() }, 1));
        let settings = Settings { events: EventClasses::parse("KEAmn"), ..Settings::default() };
        let shards = (0..SHARDS).map(|id| {
            Shard::new(Start {
                id: ShardId(id),
                shards: SHARDS,
                generation: number,
                mode,
                logged,
                keyspace: Keyspace::new(2, 1),
                settings: settings.clone(),
                segment_bytes: SegmentBytes { min: 8192, max: 16384 },
                seed: id as u64,
                now_ms: 1,
                coordinator: coordinator.take(),
            })
        });
        let mut net = Net { shards: shards.collect(), raised: Vec::new(), now_ms: 1 };
        net.shards[HOME].connect(Session { id: CONN, authenticated: true, ..Session::default() });
        net
    }

    /// The events of a command, with the shard that raised each.
    fn run(&mut self, command: &str) -> Vec<String> {
        let args: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
        self.shards[HOME].submit(CONN, &args);
        self.take_events(HOME);
        for _ in 0..10 {
            (0..SHARDS as usize).for_each(|from| self.pass(from));
        }
        let reply = self.shards[HOME].output(CONN).to_vec();
        assert!(!reply.is_empty() && reply[0] != b'-', "{command}: {}", reply.escape_ascii());
        self.shards[HOME].sent(CONN, reply.len());
        std::mem::take(&mut self.raised)
    }

    fn pass(&mut self, from: usize) {
        self.shards[from].end_pass(self.now_ms);
        self.take_events(from);
        for to in 0..SHARDS as usize {
            for message in self.shards[from].take_messages(ShardId(to as u16)) {
                self.shards[to].receive(ShardId(from as u16), vec![message]);
                self.take_events(to);
            }
        }
    }

    fn take_events(&mut self, shard: usize) {
        let effects = &mut self.shards[shard].effects;
        self.raised.extend(effects.events().iter().map(|event| format!("{}:{}", event.name, event.key.escape_ascii())));
        effects.clear();
    }
}

/// Keys of different shards.
fn keys() -> Vec<String> {
    let key_of = |shard| (0..).map(|n| format!("k{n}")).find(|key| Slot::of_key(key.as_bytes()).shard(SHARDS) == ShardId(shard));
    (0..SHARDS).map(|shard| key_of(shard).expect("some key lies there")).collect()
}

#[test]
fn a_command_over_several_shards_raises_each_event_once() {
    let keys = keys();
    let [a, b, c] = [&keys[0], &keys[1], &keys[2]];
    let mut net = Net::new();
    let check = |net: &mut Net, command: &str, expected: &str| {
        let in_place = |text: &str| text.replace("{a}", a).replace("{b}", b).replace("{c}", c);
        assert_eq!(net.run(&in_place(command)).join(" "), in_place(expected), "{command}");
    };
    // Split: each shard raises those of its own keys.
    check(&mut net, "MGET {c} {c}", "keymiss:{c} keymiss:{c}");
    check(&mut net, "MSET {a} 1 {b} 2", "new:{a} set:{a} new:{b} set:{b}");
    // Gathered: the executor raises all, in the command's order, for the lenders' keys too.
    check(&mut net, "RENAME {a} {c}", "new:{c} rename_from:{a} rename_to:{c}");
    check(&mut net, "COPY {b} {a}", "new:{a} copy_to:{a}");
    check(&mut net, "BITOP AND {b} {a} {c}", "set:{b}");
    check(&mut net, "DEL {b}", "del:{b}");
    check(&mut net, "RPUSH {b} x y", "new:{b} rpush:{b}");
    check(&mut net, "DEL {c}", "del:{c}");
    check(&mut net, "LMOVE {b} {c} LEFT LEFT", "new:{c} lpush:{c} lpop:{b}");
    check(&mut net, "LMOVE {b} {c} LEFT LEFT", "lpush:{c} lpop:{b} del:{b}");
    // It runs again for each set of keys that it asks for, and misses those once.
    check(
        &mut net,
        "SORT {c} BY none_* GET other_* GET # ALPHA STORE {b}",
        concat!("keymiss:none_y keymiss:none_x keymiss:other_y keymiss:other_x ", "new:{b} sortstore:{b}"),
    );
    // An expired key of a lender.
    check(&mut net, "PEXPIRE {c} 5", "expire:{c}");
    net.shards.iter_mut().for_each(|shard| shard.settings.active_expire = false);
    net.now_ms += 10;
    check(&mut net, "RENAME {a} {b}", "new:{b} rename_from:{a} rename_to:{b}");
    check(&mut net, "SUNIONSTORE {a} {c}", "expired:{c} keymiss:{c}");
}

#[test]
fn active_expiry_raises_expired() {
    let mut net = Net::new();
    assert_eq!(net.run("SET k v PX 5"), ["new:k", "set:k", "expire:k"]);
    net.now_ms += 1000;
    assert_eq!(net.run("PING"), ["expired:k"]);
}
