//! Keys that were read back from the files take the place of those in memory (DEBUG RELOAD).

use super::Shard;
use crate::keyspace::Keyspace;

impl Shard {
    /// Puts what was read back from the files in the place of the keys, while everything stands still (`Job::StandStill`); returns
    /// what was there. Every reply to come depends on all that has been written so far.
    pub fn replace_keyspace(&mut self, mut keyspace: Keyspace) -> Keyspace {
        assert!(self.paused && self.base.is_none(), "keys are replaced while everything stands still");
        keyspace.set_limits(*self.keyspace.limits());
        keyspace.take_the_place_of(&self.keyspace, self.log.last_lsn());
        self.has_garbage = true;
        if !self.log.enabled() {
            // It is the newest base that was read.
            self.changes_saved = keyspace.changes();
        }
        std::mem::replace(&mut self.keyspace, keyspace)
    }

    /// Likewise, but what is there stays, unless a loaded key has the same name. Not with a log, which would not know of it.
    pub fn merge_keyspace(&mut self, mut loaded: Keyspace) {
        assert!(self.paused && self.base.is_none() && !self.log.enabled(), "keys are merged while everything stands still");
        self.keyspace.begin_command(self.log.last_lsn());
        for (db, key, value, expire_at_ms) in loaded.drain() {
            self.keyspace.insert(db, &key, value, expire_at_ms);
        }
    }

    /// How many of these keys are here too.
    pub fn shared_keys(&mut self, loaded: &Keyspace) -> u64 {
        let mut shared = 0;
        for db in 0..loaded.databases() {
            let mut cursor = 0;
            loop {
                cursor = loaded.scan(db, cursor, 1000, &mut |key, _, _| shared += self.keyspace.find(db, key).is_some() as u64);
                if cursor == 0 {
                    break;
                }
            }
        }
        shared
    }
}
