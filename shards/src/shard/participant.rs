//! This shard's part in transactions over several shards, in the order of their numbers.
//!
//! ```text
//! Split    Begin → run the part, log it → Part to the home shard
//! Gather   lender:   Begin → lock, Lend copies ────────────→ … Finish → apply the effects, log, unlock
//!          executor: Begin → lock, wait for every Lend → insert the copies, run, take them out, log → Part, Finish to the lenders
//! ```

use super::execute::{Call, misconf};
use super::lock::{Active, EarlyLend, effects_of};
use super::{OpenTransaction, Shard};
use crate::commands::{self, Ctx, Effects, Route, Unnamed};
use crate::ids::{Lsn, Seq, ShardId, Slot};
use crate::resp::Reply;
use crate::transaction::{Deps, Kind, LentEntry, Message, Transaction};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

impl Shard {
    pub(super) fn begin(&mut self, transaction: Arc<Transaction>) {
        self.queue.push_back(transaction);
        self.run_queue();
    }

    pub(super) fn run_queue(&mut self) {
        // Transactions arrive while this shard stands still only behind the end of a log, which it waits for.
        while !self.paused
            && self.active.is_none()
            && let Some(transaction) = self.queue.pop_front()
        {
            assert!(self.executed < transaction.seq, "transactions run in the order of their numbers");
            self.now_ms = self.now_ms.max(transaction.now_ms);
            match transaction.request.kind {
                Kind::Split => self.run_part(&transaction),
                Kind::Gather { executor } if executor == self.id => self.gather(transaction),
                Kind::Gather { executor } => self.lend(transaction, executor),
            }
        }
        self.try_pause();
    }

    fn call<'a>(&self, transaction: &Transaction, args: &'a [&'a [u8]], gathered: bool) -> Call<'a> {
        let request = &transaction.request;
        Call { command: request.command, args, db: request.db, protocol: request.protocol, now_ms: transaction.now_ms, gathered }
    }

    // --- One hop -----------------------------------------------------------------------------------------------------

    fn run_part(&mut self, transaction: &Transaction) {
        let mut reply = Vec::new();
        let part = transaction.part_of(self.id).expect("the coordinator sends to participants only");
        let before = self.log.last_lsn();
        let mut needed = part.with(|args| {
            let call = self.call(transaction, args, false);
            self.run_handler(&call, &mut reply)
        });
        if transaction.request.writes {
            needed = self.append_transaction(transaction.seq, &transaction.request.participants);
            self.opened(transaction.seq, before, needed);
        } else {
            if !self.effects.is_empty() {
                // Expired keys met by a reading command. Not as a part of it: each shard deletes its own, and the other participants
                // have no record of this number (or one that says the same of themselves, and recovery would find neither whole).
                self.append_write();
            }
            needed = needed.min(before);
            self.opened(transaction.seq, self.log.last_lsn(), before);
        }
        self.send_part(transaction, reply, Deps::one(self.id, needed));
    }

    /// Executed here; until it is closed nothing behind `floor` is committed. `own` must be written for its part to count.
    fn opened(&mut self, seq: Seq, floor: Lsn, own: Lsn) {
        self.executed = seq;
        self.open.push_back(OpenTransaction { seq, floor, own });
    }

    fn send_part(&mut self, transaction: &Transaction, reply: Vec<u8>, deps: Deps) {
        let request = &transaction.request;
        for (shard, needed) in deps.iter() {
            if shard == self.id {
                self.awaited_by(request.home, needed);
            }
        }
        self.send(request.home, Message::Part { conn: request.conn, ticket: request.ticket, reply, deps });
    }

    /// `home` will hold a reply until this shard has committed `needed`: it must hear of it.
    pub(super) fn awaited_by(&mut self, home: ShardId, needed: Lsn) {
        let told = &mut self.told[home.0 as usize];
        told.needed_max = told.needed_max.max(needed);
    }

    // --- Several hops --------------------------------------------------------------------------------------------------

    /// Each once, although a command may name a key twice.
    fn own_keys(&self, transaction: &Transaction) -> HashSet<Vec<u8>> {
        let args = transaction.part_of(self.id).expect("the coordinator sends to participants only");
        args.with(|args| {
            let keys = commands::keys_of(transaction.request.command, args).expect("checked by the home shard");
            let own = keys.map(|index| args[index]).filter(|key| Slot::of_key(key).shard(self.shards) == self.id);
            own.map(<[u8]>::to_vec).collect()
        })
    }

    fn activate(&mut self, transaction: Arc<Transaction>, missing: usize) {
        let keys = self.own_keys(&transaction);
        let is_executor = transaction.request.kind == Kind::Gather { executor: self.id };
        let unnamed = (transaction.request.whole && is_executor).then(|| Unnamed {
            here: self.id,
            shards: self.shards,
            lent: HashSet::new(),
            wanted: Vec::new(),
        });
        let (lent, needed) = (Vec::new(), Vec::new());
        self.active = Some(Active { transaction, keys, unnamed, effects: Effects::default(), missing, lent, needed });
    }

    fn lend(&mut self, transaction: Arc<Transaction>, executor: ShardId) {
        let keys = self.own_keys(&transaction);
        let (seq, home) = (transaction.seq, transaction.request.home);
        self.activate(transaction, 0);
        self.lend_keys(executor, home, seq, keys.iter());
    }

    /// On a lender: the executor has found out that it needs more.
    pub(super) fn wanted(&mut self, executor: ShardId, seq: Seq, keys: &[Vec<u8>]) {
        let active = self.active.as_ref().expect("a lender waits for its Finish");
        assert_eq!(active.transaction.seq, seq, "transactions run in the order of their numbers");
        self.lend_keys(executor, active.transaction.request.home, seq, keys.iter());
    }

    fn lend_keys<'k>(&mut self, executor: ShardId, home: ShardId, seq: Seq, keys: impl Iterator<Item = &'k Vec<u8>>) {
        self.keyspace.begin_command(self.log.last_lsn().next());
        let mut entries = Vec::new();
        for key in keys {
            // COPY names a second database, so an entry is lent from each in which it is there.
            for db in 0..self.keyspace.databases() {
                if let Some(entry) = self.keyspace.find(db, key) {
                    let (value, expire_at_ms) = (self.keyspace.value(entry).clone(), self.keyspace.expire_at_ms(entry));
                    entries.push(LentEntry { db, key: key.clone(), value, expire_at_ms });
                }
            }
        }
        let needed = self.keyspace.needed();
        self.awaited_by(home, needed);
        self.send(executor, Message::Lend { seq, entries, needed });
    }

    fn gather(&mut self, transaction: Arc<Transaction>) {
        let missing = transaction.request.participants.len() - 1;
        let seq = transaction.seq;
        self.activate(transaction, missing);
        for early in self.early.extract_if(.., |early| early.seq == seq).collect::<Vec<_>>() {
            self.take_lend(early);
        }
        self.run_gathered();
    }

    pub(super) fn lent(&mut self, from: ShardId, seq: Seq, entries: Vec<LentEntry>, needed: Lsn) {
        let lend = EarlyLend { from, seq, entries, needed };
        if self.active.as_ref().is_some_and(|active| active.transaction.seq == seq) {
            self.take_lend(lend);
            self.run_gathered();
        } else {
            self.early.push(lend);
        }
    }

    fn take_lend(&mut self, lend: EarlyLend) {
        let active = self.active.as_mut().expect("the caller has just seen it");
        active.missing -= 1;
        active.needed.push((lend.from, lend.needed));
        active.lent.extend(lend.entries);
    }

    /// On the executor, when every lender has answered.
    fn run_gathered(&mut self) {
        if self.active.as_ref().is_none_or(|active| active.missing > 0) {
            return;
        }
        let mut active = self.active.take().expect("just seen");
        let transaction = active.transaction.clone();
        let mut reply = Vec::new();
        let mut deps = Deps::default();
        active.needed.iter().for_each(|&(shard, lsn)| deps.add(shard, lsn));
        if transaction.request.writes
            && let Some(cause) = self.refusal()
        {
            Reply::new(&mut reply, transaction.request.protocol).error(&misconf(cause));
            self.effects.clear();
        } else {
            let stats = self.stats.clone();
            let needed = self.run_with_lent(&mut active, &mut reply);
            deps.add(self.id, needed);
            if let Some(wanted) = active.unnamed.as_mut().map(|unnamed| std::mem::take(&mut unnamed.wanted))
                && !wanted.is_empty()
            {
                active.needed.push((self.id, needed));
                // The next run looks the same keys up again.
                self.stats.forget_lookups_since(&stats);
                return self.want(active, wanted);
            }
        }
        self.finish_gathered(&active, reply, deps);
        // Their owners may have let go of them meanwhile: then these are the last clones, and big ones are freed in steps.
        active.lent.into_iter().for_each(|lent| self.keyspace.discard(lent.value));
    }

    /// Asks the owners for more keys; the handler runs again when they are here.
    fn want(&mut self, mut active: Active, mut wanted: Vec<Vec<u8>>) {
        wanted.sort();
        wanted.dedup();
        std::mem::swap(&mut active.effects, &mut self.effects);
        active.effects.forget_misses();
        let mut by_owner: BTreeMap<ShardId, Vec<Vec<u8>>> = BTreeMap::new();
        for key in wanted {
            let unnamed = active.unnamed.as_mut().expect("only a whole transaction wants more");
            unnamed.lent.insert(key.clone());
            by_owner.entry(Slot::of_key(&key).shard(self.shards)).or_default().push(key);
        }
        active.missing = by_owner.len();
        let seq = active.transaction.seq;
        self.active = Some(active);
        for (owner, keys) in by_owner {
            self.send(owner, Message::Want { seq, keys });
        }
    }

    fn run_with_lent(&mut self, active: &mut Active, reply: &mut Vec<u8>) -> Lsn {
        // Lent entries come and go without a record: nobody may wait for one.
        self.keyspace.begin_command(Lsn(0));
        for lent in &active.lent {
            let replaced = self.keyspace.insert(lent.db, &lent.key, lent.value.clone(), lent.expire_at_ms);
            assert!(!replaced, "a lent key lives on another shard");
        }
        let args = active.transaction.part_of(self.id).expect("the executor is a participant");
        let needed = args.with(|args| {
            let call = self.call(&active.transaction, args, true);
            self.effects.clear();
            std::mem::swap(&mut active.effects, &mut self.effects);
            self.calls.ran(call.command);
            self.run_handler_with(&call, active.unnamed.as_mut(), reply)
        });
        self.keyspace.begin_command(Lsn(0));
        self.remove_foreign(active);
        needed
    }

    /// Takes out what was lent, and what the command put under keys of other shards.
    fn remove_foreign(&mut self, active: &Active) {
        let args = active.transaction.part_of(self.id).expect("the executor is a participant");
        let foreign: Vec<Vec<u8>> = args.with(|args| {
            let keys = commands::keys_of(active.transaction.request.command, args).expect("checked by the home shard");
            let keys = keys.map(|index| args[index]).filter(|key| Slot::of_key(key).shard(self.shards) != self.id);
            keys.map(<[u8]>::to_vec).collect()
        });
        let unnamed = active.unnamed.iter().flat_map(|unnamed| unnamed.lent.iter().cloned());
        for key in foreign.into_iter().chain(unnamed) {
            for db in 0..self.keyspace.databases() {
                if let Some(entry) = self.keyspace.find(db, &key) {
                    self.keyspace.remove(entry);
                }
            }
        }
    }

    fn finish_gathered(&mut self, active: &Active, reply: Vec<u8>, mut deps: Deps) {
        let transaction = active.transaction.clone();
        let logged = !self.effects.is_empty();
        let before = self.log.last_lsn();
        let mut all = std::mem::take(&mut self.effects);
        let others = transaction.request.participants.iter().copied().filter(|&shard| shard != self.id);
        for shard in others.collect::<Vec<_>>() {
            let effects = effects_of(&all, shard, self.shards);
            self.send(shard, Message::Finish { seq: transaction.seq, effects, logged });
        }
        self.effects = effects_of(&all, self.id, self.shards);
        // The lenders apply what has happened to their keys, and raise nothing.
        self.effects.take_events(&mut all);
        self.close_part(&transaction, before, logged);
        if logged {
            deps.add(self.id, self.log.last_lsn());
        }
        self.send_part(&transaction, reply, deps);
        self.unlocked();
    }

    /// Logs this shard's part (`self.effects`) of a transaction that has ended.
    fn close_part(&mut self, transaction: &Transaction, before: Lsn, logged: bool) {
        if logged {
            let own = self.append_transaction(transaction.seq, &transaction.request.participants);
            self.opened(transaction.seq, before, own);
        } else {
            self.opened(transaction.seq, before, before);
        }
    }

    /// On a lender: the executor is done.
    pub(super) fn finish(&mut self, seq: Seq, effects: &Effects, logged: bool) {
        let active = self.active.take().expect("a lender waits for its Finish");
        assert_eq!(active.transaction.seq, seq, "transactions run in the order of their numbers");
        let before = self.log.last_lsn();
        self.keyspace.begin_command(before.next());
        self.effects.clear();
        self.effects.append(effects);
        apply(self, effects, active.transaction.now_ms);
        self.close_part(&active.transaction, before, logged);
        self.unlocked();
    }

    fn unlocked(&mut self) {
        self.stirred = true;
        self.run_queue();
        self.run_parked();
    }
}

/// Applies effects that another shard has computed, as replay does.
fn apply(shard: &mut Shard, effects: &Effects, now_ms: i64) {
    let (mut dropped, mut ignored) = (Vec::new(), Effects::default());
    for (db, resp) in effects.iter() {
        let (args, _) = crate::resp::decode_command(resp).expect("effects are well-formed");
        let command = commands::resolve(&args).expect("effects are commands");
        assert!(matches!(command.route, Route::Keys(_)), "a gathered command's effects name one key each");
        dropped.clear();
        let mut ctx = Ctx {
            keyspace: &mut shard.keyspace,
            reply: Reply::new(&mut dropped, Default::default()),
            effects: &mut ignored,
            db,
            now_ms,
            random: &mut shard.random,
            replaying: true,
            gathered: false,
            may_expire: false,
            stats: &mut shard.stats,
            unnamed: None,
        };
        commands::run_data(command, &mut ctx, &args);
    }
}
