//! Execution of one command (or one part of a transaction) on this shard's keys, and its record in the log.

use super::{EXPIRE_EFFORT_PER_STEP, EXPIRE_KEYS_PER_STEP, EXPIRE_PERIOD_MS, EXPIRE_SEGMENTS_PER_STEP, Shard};
use crate::commands::{self, Command, Ctx, EngineCommand, EventClasses, Route, Run as Handler, Unnamed};
use crate::ids::{DbIndex, Lsn, Seq, ShardId};
use crate::resp::{Protocol, Reply};

/// Who the command runs for, and how.
pub(super) struct Call<'a> {
    pub command: &'static Command,
    pub args: &'a [&'a [u8]],
    pub db: DbIndex,
    pub protocol: Protocol,
    pub now_ms: i64,
    pub gathered: bool,
}

impl Shard {
    /// Runs the handler: reply into `out`, effects into `self.effects`. Returns the LSN that the reply needs because of what it read.
    pub(super) fn run_handler(&mut self, call: &Call<'_>, out: &mut Vec<u8>) -> Lsn {
        self.calls.ran(call.command);
        self.effects.clear();
        self.run_handler_with(call, None, out)
    }

    /// The same for a command that may ask for more keys; effects are added to those there are.
    pub(super) fn run_handler_with(&mut self, call: &Call<'_>, unnamed: Option<&mut Unnamed>, out: &mut Vec<u8>) -> Lsn {
        self.effects.watch(self.settings.events);
        // Of a gathered command the lenders get their effects.
        if !self.log.enabled() && !call.gathered {
            self.effects.count_only();
        }
        self.keyspace.begin_command(self.log.last_lsn().next());
        let may_expire = self.refusal().is_none();
        let mut ctx = Ctx {
            keyspace: &mut self.keyspace,
            reply: Reply::new(out, call.protocol),
            effects: &mut self.effects,
            db: call.db,
            now_ms: call.now_ms,
            random: &mut self.random,
            replaying: false,
            gathered: call.gathered,
            may_expire,
            stats: &mut self.stats,
            unnamed,
        };
        match call.command.run {
            Handler::Data(_) => commands::run_data(call.command, &mut ctx, call.args),
            Handler::Engine(EngineCommand::Scan) => super::scan::scan(&mut ctx, self.id, self.shards, call.args),
            Handler::Engine(EngineCommand::RandomKey) => super::scan::random_key(&mut ctx, self.shards),
            _ => unreachable!("{} does not run on keys", call.command.name),
        }
        if matches!(call.command.route, Route::All(_) | Route::Engine) {
            // It saw the whole keyspace.
            self.keyspace.need_everything(self.log.last_lsn());
        }
        self.keyspace.needed()
    }

    /// A command whose keys are all here: run, log, and what must be committed before its reply leaves.
    pub(super) fn execute(&mut self, call: &Call<'_>, out: &mut Vec<u8>) -> Lsn {
        if call.command.writes()
            && let Some(cause) = self.refusal()
        {
            Reply::new(out, call.protocol).error(&misconf(cause));
            return Lsn(0);
        }
        let needed = self.run_handler(call, out);
        if self.effects.is_empty() {
            return needed;
        }
        let lsn = self.append_write();
        // A read that met an expired key logged its DEL; nobody needs to wait for that.
        if call.command.writes() { lsn } else { needed.min(Lsn(lsn.0 - 1)) }
    }

    pub(super) fn append_write(&mut self) -> Lsn {
        let lsn = self.log.append_write(self.effects.bytes());
        self.wrote();
        lsn
    }

    pub(super) fn append_transaction(&mut self, seq: Seq, participants: &[ShardId]) -> Lsn {
        let lsn = self.log.append_transaction(seq, participants, self.effects.bytes());
        self.wrote();
        lsn
    }

    pub(super) fn wrote(&mut self) {
        if self.log.enabled() && !std::mem::replace(&mut self.wrote_sent, true) {
            self.tell_of_write();
        }
    }

    /// Active expiry: a bounded number of keys per period, more when many are due.
    pub(super) fn expire(&mut self) {
        if self.now_ms < self.next_expire_ms || !self.settings.active_expire || self.paused || self.refusal().is_some() {
            return;
        }
        self.next_expire_ms = self.now_ms + EXPIRE_PERIOD_MS;
        let due = self.keyspace.due(self.now_ms, EXPIRE_EFFORT_PER_STEP, EXPIRE_KEYS_PER_STEP);
        if due.len() == EXPIRE_KEYS_PER_STEP {
            // More are waiting: go on with the next pass.
            self.next_expire_ms = self.now_ms;
        }
        let locked = |db, key: &Vec<u8>| self.active.as_ref().is_some_and(|active| active.locks(db, key));
        let due: Vec<_> = due.into_iter().filter(|(db, key)| !locked(*db, key)).collect();
        let inside = self.keyspace.due_inside(self.now_ms, EXPIRE_SEGMENTS_PER_STEP, EXPIRE_KEYS_PER_STEP);
        let inside: Vec<_> = inside.into_iter().filter(|(db, key)| !locked(*db, key)).collect();
        if due.is_empty() && inside.is_empty() {
            return;
        }
        self.effects.clear();
        self.effects.watch(self.settings.events);
        // No reader of these keys needs to wait for this record: it sees them absent by its own clock.
        self.keyspace.begin_command(Lsn(0));
        for (db, key) in &due {
            if let Some(entry) = self.keyspace.find(*db, key) {
                self.keyspace.remove(entry);
                self.effects.push(*db, &[b"DEL", key]);
                self.effects.notify(*db, EventClasses::EXPIRED, "expired", key);
                self.stats.expired_keys += 1;
            }
        }
        for (db, key) in &inside {
            let mut ignored = Vec::new();
            let mut ctx = Ctx {
                keyspace: &mut self.keyspace,
                reply: Reply::new(&mut ignored, Protocol::default()),
                effects: &mut self.effects,
                db: *db,
                now_ms: self.now_ms,
                random: &mut self.random,
                replaying: false,
                gathered: false,
                may_expire: true,
                stats: &mut self.stats,
                unnamed: None,
            };
            commands::expire_fields_of(&mut ctx, key);
        }
        if !self.effects.is_empty() {
            self.append_write();
        }
    }
}

/// Redis's words for a server that can't write what it promises to keep.
pub(super) fn misconf(cause: &str) -> String {
    format!("MISCONF Errors writing to the AOF file: {cause}")
}
