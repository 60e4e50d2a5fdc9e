//! What a handler may use: one shard's keyspace, the time of the command, the reply, the effects, the session.

use super::effects::Effects;
use super::events::EventClasses;
use crate::ids::{ConnId, DbIndex, ShardId, Slot};
use crate::keyspace::{Entry, Keyspace};
use crate::resp::{Protocol, Reply};
use crate::types::Value;
use std::collections::HashSet;

/// A connection's state that commands read and change (`SELECT`, `HELLO`, `AUTH`, `CLIENT SETNAME` …).
/// It lives on the connection's home shard; only commands with `Route::Home` and `Route::Engine` change it.
#[derive(Clone, Debug, Default)]
pub struct Session {
    pub id: ConnId,
    pub db: DbIndex,
    pub protocol: Protocol,
    pub authenticated: bool,
    pub name: Vec<u8>,
    pub lib_name: Vec<u8>,
    pub lib_ver: Vec<u8>,
    pub no_evict: bool,
    pub no_touch: bool,
    /// `CLIENT REPLY OFF` / `SKIP`.
    pub reply_off: bool,
    pub reply_skip_next: bool,
    /// `host:port` of the peer, of the socket that accepted it.
    pub peer: String,
    pub local: String,
    /// The peer is on this machine.
    pub is_local: bool,
    pub created_ms: i64,
    /// `client|list`; empty before the first one.
    pub last_command: &'static str,
    /// `QUIT` was answered: close after the reply is sent.
    pub close_after_reply: bool,
}

/// Everything a data command may use. Time and randomness are arguments of the engine and arrive here.
pub struct Ctx<'a> {
    pub keyspace: &'a mut Keyspace,
    pub reply: Reply<'a>,
    pub effects: &'a mut Effects,
    pub db: DbIndex,
    /// Unix time in milliseconds; one value for a whole command or transaction.
    pub now_ms: i64,
    /// A seeded generator (RANDOMKEY, SPOP …): what it decides must be in the effect.
    pub random: &'a mut fastrand::Rng,
    /// Replay of a log: nothing expires, nothing is refused, replies are dropped.
    pub replaying: bool,
    /// Keys were lent by other shards for this command (a cross-shard command): effects must name one key each
    /// and not read other keys (RENAME states DEL and RESTORE).
    pub gathered: bool,
    /// Expired keys may be deleted when met (not in the refusing state: then they only read as absent).
    pub may_expire: bool,
    pub stats: &'a mut CommandStats,
    /// Some: keys that the arguments do not name may live on other shards.
    pub unnamed: Option<&'a mut Unnamed>,
}

/// Keys that a command needs although its arguments do not name them, while they live on other shards.
#[derive(Debug)]
pub struct Unnamed {
    pub here: ShardId,
    pub shards: u16,
    /// Keys of other shards that were lent, or are known to be absent.
    pub lent: HashSet<Vec<u8>>,
    /// Keys that the command asked for and that were not lent yet: it must run again when they are.
    pub wanted: Vec<Vec<u8>>,
}

impl Unnamed {
    fn must_wait_for(&mut self, key: &[u8]) -> bool {
        let missing = Slot::of_key(key).shard(self.shards) != self.here && !self.lent.contains(key);
        if missing {
            self.wanted.push(key.to_vec());
        }
        missing
    }
}

/// Counters that data commands raise.
#[derive(Default, Debug, Clone)]
pub struct CommandStats {
    pub keyspace_hits: u64,
    pub keyspace_misses: u64,
    pub expired_keys: u64,
}

impl CommandStats {
    pub fn forget_lookups_since(&mut self, before: &CommandStats) {
        self.keyspace_hits = before.keyspace_hits;
        self.keyspace_misses = before.keyspace_misses;
    }
}

impl<'a> Ctx<'a> {
    /// As `read`, for a key that the arguments do not name. While `wants_more`, what it says about other keys is not to be used: the
    /// command asks for all the keys it can tell, changes nothing, and runs again when it has them.
    pub fn read_unnamed(&mut self, key: &[u8]) -> Option<Entry> {
        if let Some(unnamed) = &mut self.unnamed
            && unnamed.must_wait_for(key)
        {
            return None;
        }
        self.read(key)
    }

    pub fn wants_more(&self) -> bool {
        self.unnamed.as_ref().is_some_and(|unnamed| !unnamed.wanted.is_empty())
    }

    /// The entry of a key that is there and not expired. An expired one is deleted, with its DEL as an effect.
    /// Does not count as hit or miss.
    pub fn find(&mut self, key: &[u8]) -> Option<Entry> {
        self.find_in(self.db, key)
    }

    pub fn find_in(&mut self, db: DbIndex, key: &[u8]) -> Option<Entry> {
        let entry = self.keyspace.find(db, key)?;
        if self.replaying || self.keyspace.expire_at_ms(entry).is_none_or(|at| at > self.now_ms) {
            return Some(entry);
        }
        if self.may_expire {
            self.keyspace.remove(entry);
            self.effects.push(db, &[b"DEL", key]);
            self.effects.notify(db, EventClasses::EXPIRED, "expired", key);
            self.stats.expired_keys += 1;
        }
        None
    }

    /// As `find`, and counts a hit or a miss: what reading commands use.
    pub fn read(&mut self, key: &[u8]) -> Option<Entry> {
        let found = self.find(key);
        match found {
            Some(_) => self.stats.keyspace_hits += 1,
            None => {
                self.stats.keyspace_misses += 1;
                self.effects.notify(self.db, EventClasses::KEY_MISS, "keymiss", key);
            }
        }
        found
    }

    pub fn value(&self, entry: Entry) -> &Value {
        self.keyspace.value(entry)
    }

    /// States an effect in the command's database.
    pub fn effect(&mut self, args: &[&[u8]]) {
        self.effects.push(self.db, args);
    }

    /// Sets a key whatever it holds, before the effect that says so is stated: an expired value may be deleted on the way.
    #[inline]
    pub fn put(&mut self, key: &[u8], value: Value, expire_at_ms: Option<i64>) {
        // Only who watches can tell an expired key that comes into being from one that is replaced.
        if self.effects.watches(EventClasses::EXPIRED.and(EventClasses::NEW)) {
            self.find(key);
        }
        if !self.keyspace.insert(self.db, key, value, expire_at_ms) {
            self.notify(EventClasses::NEW, "new", key);
        }
    }

    /// Raises a keyspace notification in the command's database.
    #[inline]
    pub fn notify(&mut self, class: EventClasses, event: &'static str, key: &[u8]) {
        self.effects.notify(self.db, class, event, key);
    }
}
