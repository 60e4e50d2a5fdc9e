//! DEBUG RELOAD and DEBUG LOADAOF: the files are read back while everything stands still.
//!
//! ```text
//! StandStill (RELOAD: with a new base) → a helper thread reads the files → every shard takes its keys → GoOn → the answer
//! ```
//! Nothing is taken before everything has been read: a reload that fails leaves all keys as they were.

use super::{Admin, Purpose, Requester, Then, word};
use crate::journal;
use crate::server::{Control, Question, Told};
use crate::start::Threads;
use shardis_tool::disk::StdDisk;
use shards::keyspace::{Keyspace, KeyspaceOptions};
use shards::manifest::BaseFormat;
use shards::recovery::read_back;
use shards::shard::Shard;
use shards::transaction::Job;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// The keys of each shard, for it to take; or what it had before, when it has.
pub type Slots = Arc<Vec<Mutex<Option<Keyspace>>>>;

#[derive(Clone, Copy)]
pub struct Reload {
    requester: Requester,
    /// A base is written first.
    saves: bool,
    /// `NOFLUSH`: what is there and not in the files stays; `merge`: what is in both is taken from the files.
    keeps: bool,
    merge: bool,
}

const FAILED: &str = "ERR Error trying to load the RDB dump, check server logs.";

impl Admin {
    /// DEBUG RELOAD [NOSAVE] [NOFLUSH] [MERGE]
    pub(super) fn debug_reload(&mut self, requester: Requester, options: &[&[u8]], shard: &mut Shard) {
        let mut reload = Reload { requester, saves: true, keeps: false, merge: false };
        for option in options {
            match word(option).as_str() {
                "nosave" => reload.saves = false,
                "noflush" => reload.keeps = true,
                "merge" => reload.merge = true,
                _ => return self.error(requester, "ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options."),
            }
        }
        let base = reload.saves.then_some(BaseFormat::Rdb);
        self.start_job(Job::StandStill { base }, Purpose::StandStill(reload), shard);
    }

    /// DEBUG LOADAOF
    pub(super) fn debug_loadaof(&mut self, requester: Requester, shard: &mut Shard) {
        if !shard.coordinator().is_some_and(|coordinator| coordinator.logging()) {
            return self.error(requester, "ERR DEBUG LOADAOF needs a log, but appendonly is no");
        }
        let reload = Reload { requester, saves: false, keeps: false, merge: false };
        self.start_job(Job::StandStill { base: None }, Purpose::StandStill(reload), shard);
    }

    pub(super) fn stands_still(&mut self, reload: Reload, outcome: Result<(), String>, shard: &mut Shard, now: i64) {
        if let Err(cause) = outcome {
            journal::warning(&format!("DEBUG RELOAD: {cause}"));
            return self.error(reload.requester, "ERR Error saving the DB, check server logs.");
        }
        if reload.saves {
            self.base_is_new(shard);
            self.saves.last_save_ms = now;
        }
        self.reloading = Some(reload);
        let shared = self.shared.clone();
        let options = KeyspaceOptions {
            databases: self.config.number::<u32>("databases").min(u16::MAX as u32) as u16,
            hash_seed: shared.hash_seed,
            limits: self.config.limits(),
        };
        let read = move || {
            let begun = Instant::now();
            let disk = StdDisk::new(&shared.dir);
            let outcome = read_back(&disk, shared.shards, options, &Threads).map_err(|error| error.to_string());
            if outcome.is_ok() {
                journal::notice(&format!("DB reloaded: {:.3} seconds", begun.elapsed().as_secs_f64()));
            }
            shared.control(Control::ReadBack(outcome));
        };
        if let Err(error) = std::thread::Builder::new().name("reload".into()).spawn(read) {
            self.end_reload(Err(format!("starting a thread: {error}")), shard);
        }
    }

    pub(super) fn was_read_back(&mut self, outcome: Result<Vec<Keyspace>, String>, shard: &mut Shard) {
        let Some(reload) = self.reloading else { return };
        match outcome {
            Ok(keyspaces) => {
                let slots: Slots = Arc::new(keyspaces.into_iter().map(|keyspace| Mutex::new(Some(keyspace))).collect());
                if reload.keeps && !reload.merge {
                    return self.ask(Question::SharedKeys(slots.clone()), Then::Compared(slots));
                }
                self.give_keys(slots, shard);
            }
            Err(cause) => self.end_reload(Err(cause), shard),
        }
    }

    pub(super) fn compared(&mut self, slots: Slots, told: &[Told], shard: &mut Shard) {
        let shared: u64 = told.iter().map(|told| if let Told::Count(count) = told { *count } else { 0 }).sum();
        if shared > 0 {
            // Redis ends the process here.
            return self.end_reload(Err(format!("{shared} keys are in the files and in memory: use MERGE with NOFLUSH")), shard);
        }
        self.give_keys(slots, shard);
    }

    fn give_keys(&mut self, slots: Slots, shard: &mut Shard) {
        // With a log the files hold all that is in memory: what would be kept is what is loaded.
        let logging = shard.coordinator().is_some_and(|coordinator| coordinator.logging());
        let keeps = self.reloading.is_some_and(|reload| reload.keeps) && !logging;
        self.ask(Question::TakeKeys { slots: slots.clone(), keeps }, Then::Reloaded(slots));
    }

    pub(super) fn keys_taken(&mut self, slots: Slots, shard: &mut Shard) {
        // The old keys: freeing them takes as long as they are many. Without a thread it is done here.
        drop(std::thread::Builder::new().name("free".into()).spawn(move || drop(slots)));
        self.end_reload(Ok(()), shard);
    }

    fn end_reload(&mut self, outcome: Result<(), String>, shard: &mut Shard) {
        let Some(reload) = self.reloading.take() else { return };
        if let Err(cause) = &outcome {
            journal::warning(&format!("Reading back failed, the keys stay as they were: {cause}"));
        }
        let purpose = Purpose::GoOn { requester: reload.requester, is_ok: outcome.is_ok() };
        self.start_job(Job::GoOn, purpose, shard);
    }

    pub(super) fn goes_on(&mut self, requester: Requester, is_ok: bool) {
        if is_ok { self.ok(requester) } else { self.error(requester, FAILED) }
    }
}
