//! A connection's command: where it runs, and whether it may run now.

use super::connection::{Connection, Expected, Parts, Pass, Reached};
use super::execute::Call;
use super::{DebugAccess, Shard, scan};
use crate::commands::{self, Command, EngineCommand, Home, Merge, Multi, Route, Run as Handler, flags};
use crate::ids::{ConnId, Lsn, ShardId, Slot};
use crate::resp::Reply;
use crate::transaction::{Deps, Kind, Message, PackedArgs, Request, Run};

/// What became of a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Submit {
    /// Taken; its reply comes in its turn.
    Done,
    /// Not taken: submit it again when the connection is among `take_wakes`.
    Wait,
    /// For the server around the engine, which answers with `Shard::answer` and this ticket.
    Engine(EngineCommand, u64),
}

impl Shard {
    /// One command of a connection of this shard. Commands of one connection are submitted in their order.
    pub fn submit(&mut self, id: ConnId, args: &[&[u8]]) -> Submit {
        let names = &self.settings.names;
        let command = match names.resolve(args) {
            Ok(command) => command,
            Err(text) => {
                let command = names.lookup(args);
                return self.reject_command(id, command, &text);
            }
        };
        if names.are_changed() && matches!(command.run, Handler::Data(_)) {
            // What is logged has the table's name, and some effects are the command as it came.
            let name = command.name.split('|').next().unwrap_or_default();
            let args = [&[name.as_bytes()], &args[1..]].concat();
            return self.submit_resolved(id, command, &args);
        }
        self.submit_resolved(id, command, args)
    }

    #[inline]
    fn submit_resolved(&mut self, id: ConnId, command: &'static Command, args: &[&[u8]]) -> Submit {
        let Some(conn) = self.conns.get_mut(&id) else { return Submit::Done };
        conn.session.last_command = command.name;
        if !conn.session.authenticated && !self.settings.requirepass.is_empty() && command.flags & flags::NO_AUTH == 0 {
            return self.reject_command(id, Some(command), b"NOAUTH Authentication required.");
        }
        let outcome = if conn.session.reply_off || conn.session.reply_skip_next {
            self.submit_silent(id, command, args)
        } else {
            self.route(id, command, args)
        };
        if outcome != Submit::Wait {
            self.calls.called(command);
        }
        outcome
    }

    fn route(&mut self, id: ConnId, command: &'static Command, args: &[&[u8]]) -> Submit {
        match command.route {
            Route::Home => self.run_home(id, command, args),
            Route::Keys(multi) => self.submit_keys(id, command, multi, args),
            Route::All(merge) => self.submit_all(id, command, merge, args),
            Route::Engine => self.submit_engine(id, command, args),
        }
    }

    /// A command whose reply is dropped, after `CLIENT REPLY OFF` or `SKIP`; unless it switches replies on again.
    fn submit_silent(&mut self, id: ConnId, command: &'static Command, args: &[&[u8]]) -> Submit {
        let Some(conn) = self.conns.get(&id) else { return Submit::Done };
        let (bytes, tickets) = (conn.out.len(), conn.next_ticket);
        let outcome = self.route(id, command, args);
        if let (Some(conn), false) = (self.conns.get_mut(&id), outcome == Submit::Wait) {
            if conn.session.reply_off || conn.session.reply_skip_next {
                conn.silence(bytes, tickets);
            }
            let skips_again = command.name == "client|reply" && args[2].eq_ignore_ascii_case(b"skip");
            conn.session.reply_skip_next &= skips_again;
        }
        outcome
    }

    /// It is not run at all, not even routed, but counts for `CLIENT REPLY OFF` and `SKIP` as any other.
    fn reject_command(&mut self, id: ConnId, command: Option<&'static Command>, text: &[u8]) -> Submit {
        self.calls.rejected(command, text);
        let Some(conn) = self.conns.get_mut(&id) else { return Submit::Done };
        if conn.session.reply_off || std::mem::take(&mut conn.session.reply_skip_next) {
            return Submit::Done;
        }
        self.reply_now(id, command, |out| Reply::new(out, Default::default()).error_bytes(text));
        Submit::Done
    }

    fn refuse_command(&mut self, id: ConnId, command: &'static Command, text: &str) -> Submit {
        let mut error = Vec::new();
        Reply::new(&mut error, Default::default()).error(text);
        self.calls.failed(command, &error);
        self.reply_now(id, Some(command), |out| out.extend_from_slice(&error));
        Submit::Done
    }

    fn run_home(&mut self, id: ConnId, command: &'static Command, args: &[&[u8]]) -> Submit {
        let Some(conn) = self.conns.get_mut(&id) else { return Submit::Done };
        let Handler::Home(handler) = command.run else { unreachable!("{} has no handler of its own", command.name) };
        let mut bytes = std::mem::take(&mut self.scratch);
        bytes.clear();
        let protocol = conn.session.protocol;
        let mut home = Home {
            session: &mut conn.session,
            reply: Reply::new(&mut bytes, protocol),
            now_ms: self.now_ms,
            now_us: self.now_ms * 1000,
            databases: self.settings.databases,
            password: &self.settings.requirepass,
            names: &self.settings.names,
            random: &mut self.random,
        };
        handler(&mut home, args);
        self.calls.ran(command);
        if bytes.first() == Some(&b'-') {
            self.calls.failed(command, &bytes);
        }
        self.reply_now(id, Some(command), |out| out.extend_from_slice(&bytes));
        self.scratch = bytes;
        Submit::Done
    }

    // --- By keys -----------------------------------------------------------------------------------------------------

    fn submit_keys(&mut self, id: ConnId, command: &'static Command, multi: Multi, args: &[&[u8]]) -> Submit {
        let mut keys = match commands::keys_of(command, args) {
            Ok(keys) => keys,
            Err(text) => return self.refuse_command(id, command, &text),
        };
        let Some(first) = keys.next() else {
            // No key at all (a syntax error, as a rule): any shard gives the right answer.
            return self.submit_to(id, self.id, command, args);
        };
        if self.shards > 1 && command.reads_unnamed.is_some_and(|reads_unnamed| reads_unnamed(args)) {
            return self.submit_whole(id, command, args, self.owner(args[first]));
        }
        let owner = self.owner(args[first]);
        if keys.all(|index| self.owner(args[index]) == owner) {
            return self.submit_to(id, owner, command, args);
        }
        match multi {
            Multi::Split(merge) => self.submit_split(id, command, merge, args),
            Multi::Gather => self.submit_gather(id, command, args),
            Multi::Never => unreachable!("{} has one key", command.name),
        }
    }

    fn owner(&self, key: &[u8]) -> ShardId {
        if self.shards == 1 { self.id } else { Slot::of_key(key).shard(self.shards) }
    }

    /// Program order over shards: a command may go to `target` when everything before it runs there too, or has been executed
    /// everywhere that it concerns. With `pipeline-order relaxed` only commands on the same key keep their order: those of one shard and
    /// those of several take different ways, on which one could overtake the other.
    fn may_go(&self, conn: &Connection, target: Option<ShardId>) -> bool {
        if !self.settings.strict_order {
            return conn.outstanding == 0 || conn.at.is_some() == target.is_some();
        }
        if conn.outstanding > 0 {
            return target.is_some() && conn.at == target;
        }
        conn.unordered.iter().all(|(shard, lsn)| Some(shard) == target || self.is_ordered(shard, lsn))
    }

    /// After `may_go` said no. Most wait for answers of other shards, and nothing else needs to wake them.
    fn wait_for_order(&mut self, id: ConnId) -> Submit {
        let conn = self.conns.get_mut(&id).expect("checked by submit");
        if conn.outstanding == 0 {
            return self.wait(id);
        }
        conn.waits_for_answers = true;
        Submit::Wait
    }

    fn wait(&mut self, id: ConnId) -> Submit {
        let conn = self.conns.get_mut(&id).expect("checked by submit");
        if !std::mem::replace(&mut conn.waiting, true) {
            self.waiting.push(id);
        }
        Submit::Wait
    }

    /// Clears what is known to be ordered, after `may_go` said yes.
    fn goes_to(conn: &mut Connection, target: Option<ShardId>) {
        if conn.at != target {
            conn.unordered.clear();
            conn.at = target;
        }
    }

    fn submit_to(&mut self, id: ConnId, target: ShardId, command: &'static Command, args: &[&[u8]]) -> Submit {
        let conn = self.conns.get(&id).expect("checked by submit");
        if !self.may_go(conn, Some(target)) {
            return self.wait_for_order(id);
        }
        if target == self.id {
            return self.run_here(id, command, args);
        }
        let conn = self.conns.get_mut(&id).expect("checked by submit");
        Self::goes_to(conn, Some(target));
        let ticket = conn.take_ticket(Some(command), Expected::One);
        let (db, protocol) = (conn.session.db, conn.session.protocol);
        self.send(target, Message::Run(Run { conn: id, ticket, command, db, protocol, args: PackedArgs::new(args) }));
        Submit::Done
    }

    fn run_here(&mut self, id: ConnId, command: &'static Command, args: &[&[u8]]) -> Submit {
        if self.must_park(command, args) {
            return self.wait(id);
        }
        let conn = self.conns.get_mut(&id).expect("checked by submit");
        Self::goes_to(conn, Some(self.id));
        let call =
            Call { command, args, db: conn.session.db, protocol: conn.session.protocol, now_ms: self.now_ms, gathered: false };
        let is_next = conn.tickets.is_empty();
        // The handler writes right behind the replies before it, unless some of these are still to come.
        let mut out = if is_next { std::mem::take(&mut conn.out) } else { Vec::new() };
        let start = out.len();
        let needed = self.execute(&call, &mut out);
        if out.get(start) == Some(&b'-') {
            self.calls.failed(command, &out[start..]);
        }
        let deps = Deps::one(self.id, needed);
        let reached = Reached { here: self.id, committed: self.committed(), ordered: self.ordered(), known: &self.known };
        let conn = self.conns.get_mut(&id).expect("execution does not touch connections");
        if is_next {
            conn.out = out;
            conn.release_or_gate(deps, &reached, Pass { number: self.pass, waited_ms: self.stall.waited_ms });
            self.replied(id);
        } else {
            conn.take_ticket(Some(command), Expected::Arrived(out, deps));
        }
        Submit::Done
    }

    fn must_park(&self, command: &Command, args: &[&[u8]]) -> bool {
        if self.paused {
            return true;
        }
        let Some(active) = &self.active else { return false };
        match commands::keys_of(command, args) {
            Ok(mut keys) => keys.any(|index| active.locks(0, args[index])),
            Err(_) => false,
        }
    }

    // --- For other shards ----------------------------------------------------------------------------------------------

    pub(super) fn run_for(&mut self, home: ShardId, run: Run) {
        let must_park = self.parked_conns.contains(&run.conn) || run.args.with(|args| self.must_park(run.command, args));
        if must_park {
            self.parked_conns.insert(run.conn);
            self.parked.push_back((home, run));
            return;
        }
        let mut reply = Vec::new();
        let needed = run.args.with(|args| {
            let call =
                Call { command: run.command, args, db: run.db, protocol: run.protocol, now_ms: self.now_ms, gathered: false };
            self.execute(&call, &mut reply)
        });
        // What is committed already may leave at once, also while home holds replies that are not.
        let needed = if needed <= self.committed() { Lsn(0) } else { needed };
        self.awaited_by(home, needed);
        self.send(home, Message::Ran { conn: run.conn, ticket: run.ticket, reply, needed });
    }

    /// Tries everything parked again, in order.
    pub(super) fn run_parked(&mut self) {
        if self.paused || self.parked.is_empty() {
            return;
        }
        self.parked_conns.clear();
        for (home, run) in std::mem::take(&mut self.parked) {
            self.run_for(home, run);
        }
    }

    // --- Transactions --------------------------------------------------------------------------------------------------

    fn submit_split(&mut self, id: ConnId, command: &'static Command, merge: Merge, args: &[&[u8]]) -> Submit {
        let keys: Vec<usize> = commands::keys_of(command, args).expect("checked by submit_keys").collect();
        // A key and the arguments that belong to it stand from its index to the next key's.
        let step = keys.get(1).map_or(1, |second| second - keys[0]);
        let mut by_shard: std::collections::BTreeMap<ShardId, (Vec<&[u8]>, Vec<usize>)> = Default::default();
        for (position, &index) in keys.iter().enumerate() {
            let (part, positions) =
                by_shard.entry(self.owner(args[index])).or_insert_with(|| (args[..keys[0]].to_vec(), Vec::new()));
            part.extend_from_slice(&args[index..(index + step).min(args.len())]);
            positions.push(position);
        }
        let participants: Vec<ShardId> = by_shard.keys().copied().collect();
        let parts = by_shard.values().map(|(part, _)| PackedArgs::new(part)).collect();
        let positions = by_shard.into_iter().map(|(shard, (_, positions))| (shard, None, positions)).collect();
        self.submit_transaction(id, command, merge, Kind::Split, participants, parts, positions)
    }

    fn submit_gather(&mut self, id: ConnId, command: &'static Command, args: &[&[u8]]) -> Submit {
        let keys: Vec<usize> = commands::keys_of(command, args).expect("checked by submit_keys").collect();
        let mut participants: Vec<ShardId> = keys.iter().map(|&index| self.owner(args[index])).collect();
        let executor = *participants.last().expect("several keys");
        participants.sort();
        participants.dedup();
        let positions = vec![(executor, None, Vec::new())];
        self.submit_transaction(
            id,
            command,
            Merge::First,
            Kind::Gather { executor },
            participants,
            vec![PackedArgs::new(args)],
            positions,
        )
    }

    fn submit_whole(&mut self, id: ConnId, command: &'static Command, args: &[&[u8]], executor: ShardId) -> Submit {
        let participants: Vec<ShardId> = (0..self.shards).map(ShardId).collect();
        let positions = vec![(executor, None, Vec::new())];
        let parts = vec![PackedArgs::new(args)];
        self.submit_transaction(id, command, Merge::First, Kind::Gather { executor }, participants, parts, positions)
    }

    fn submit_all(&mut self, id: ConnId, command: &'static Command, merge: Merge, args: &[&[u8]]) -> Submit {
        if self.shards == 1 {
            return self.submit_to(id, self.id, command, args);
        }
        let participants: Vec<ShardId> = (0..self.shards).map(ShardId).collect();
        let parts = participants.iter().map(|_| PackedArgs::new(args)).collect();
        let positions = participants.iter().map(|&shard| (shard, None, Vec::new())).collect();
        self.submit_transaction(id, command, merge, Kind::Split, participants, parts, positions)
    }

    #[allow(clippy::too_many_arguments)]
    fn submit_transaction(
        &mut self,
        id: ConnId,
        command: &'static Command,
        merge: Merge,
        kind: Kind,
        participants: Vec<ShardId>,
        parts: Vec<PackedArgs>,
        positions: Vec<(ShardId, Option<Vec<u8>>, Vec<usize>)>,
    ) -> Submit {
        let conn = self.conns.get(&id).expect("checked by submit");
        if !self.may_go(conn, None) {
            return self.wait_for_order(id);
        }
        if command.writes()
            && let Some(cause) = self.refusal()
        {
            let text = super::execute::misconf(cause);
            return self.refuse_command(id, command, &text);
        }
        let conn = self.conns.get_mut(&id).expect("checked by submit");
        Self::goes_to(conn, None);
        let expected = Parts { command, merge, missing: positions.len(), deps: Deps::default(), parts: positions };
        let ticket = conn.take_ticket(Some(command), Expected::Parts(Box::new(expected)));
        let (db, protocol) = (conn.session.db, conn.session.protocol);
        let whole = matches!(kind, Kind::Gather { .. })
            && command.reads_unnamed.is_some_and(|reads_unnamed| PackedArgs::with(&parts[0], reads_unnamed));
        let request = Request {
            home: self.id,
            conn: id,
            ticket,
            command,
            db,
            protocol,
            kind,
            writes: command.writes(),
            whole,
            participants,
            parts,
        };
        self.send_coordinator(Message::Submit(Box::new(request)));
        self.drain_inner();
        Submit::Done
    }

    pub(super) fn part_arrived(&mut self, from: ShardId, id: ConnId, ticket: u64, reply: Vec<u8>, deps: Deps) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let protocol = conn.session.protocol;
        let Some(Expected::Parts(parts)) = conn.ticket(ticket).map(|ticket| &mut ticket.expected) else { return };
        parts.deps.merge(&deps);
        parts.missing -= 1;
        let part = parts.parts.iter_mut().find(|(shard, ..)| *shard == from).expect("parts come from participants");
        part.1 = Some(reply);
        if parts.missing > 0 {
            return;
        }
        let mut bytes = Vec::new();
        if parts.command.run.is_random_key() {
            let random = self.random.u64(..);
            scan::merge_random_key(parts, random, protocol, &mut bytes);
        } else {
            parts.merge(&mut bytes);
        }
        let Some(Expected::Parts(parts)) = conn.ticket(ticket).map(|ticket| &mut ticket.expected) else {
            unreachable!("just used")
        };
        let deps = std::mem::take(&mut parts.deps);
        self.arrived(id, ticket, bytes, deps);
    }

    // --- For the engine and the server ---------------------------------------------------------------------------------

    fn may_debug(&self, id: ConnId) -> bool {
        match self.settings.debug {
            DebugAccess::No => false,
            DebugAccess::Local => self.session(id).is_some_and(|session| session.is_local),
            DebugAccess::Yes => true,
        }
    }

    fn submit_engine(&mut self, id: ConnId, command: &'static Command, args: &[&[u8]]) -> Submit {
        let Handler::Engine(engine) = command.run else { unreachable!("{} has no engine command", command.name) };
        match engine {
            EngineCommand::Scan => self.submit_to(id, scan::shard_of_cursor(args, self.shards), command, args),
            EngineCommand::Debug if is_of_object(args) && self.may_debug(id) => {
                self.submit_to(id, self.owner(args[2]), &commands::DEBUG_OBJECT, args)
            }
            EngineCommand::RandomKey => self.submit_all(id, command, Merge::First, args),
            other => {
                let conn = self.conns.get(&id).expect("checked by submit");
                // CONFIG, BGSAVE … concern all shards: everything before them has been executed.
                if !self.may_go(conn, None) {
                    return self.wait_for_order(id);
                }
                let conn = self.conns.get_mut(&id).expect("checked by submit");
                Self::goes_to(conn, None);
                Submit::Engine(other, conn.take_ticket(Some(command), Expected::One))
            }
        }
    }
}

fn is_of_object(args: &[&[u8]]) -> bool {
    args.len() == 3 && args[1].eq_ignore_ascii_case(b"object")
}

impl Handler {
    fn is_random_key(&self) -> bool {
        matches!(self, Handler::Engine(EngineCommand::RandomKey))
    }
}
