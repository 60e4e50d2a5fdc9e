//! A connection on its home shard: replies in order, and when they may leave.
//!
//! ```text
//! out      [ sent … | released …            | gated: reply, reply, … ]   tickets: replies that are still to come, in order
//!                    ^ may be sent            ^ each gate: end of its bytes, and what must be committed first
//! ```

use super::Known;
use crate::commands::{Command, Merge, Session};
use crate::ids::{ConnId, Lsn, ShardId};
use crate::transaction::Deps;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

/// Connection numbers are counted, so multiplying by an odd constant spreads them well enough.
#[derive(Default)]
pub struct ConnHasher(u64);

impl Hasher for ConnHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(byte as u64));
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0 ^ value).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

pub type ConnMap<V> = HashMap<ConnId, V, BuildHasherDefault<ConnHasher>>;

/// How far this shard and, as it knows, the others are.
pub struct Reached<'a> {
    pub here: ShardId,
    pub committed: Lsn,
    pub ordered: Lsn,
    pub known: &'a [Known],
}

impl Reached<'_> {
    pub fn is_committed(&self, shard: ShardId, lsn: Lsn) -> bool {
        lsn <= if shard == self.here { self.committed } else { self.known[shard.0 as usize].committed }
    }

    pub fn is_ordered(&self, shard: ShardId, lsn: Lsn) -> bool {
        lsn <= if shard == self.here { self.ordered } else { self.known[shard.0 as usize].ordered }
    }
}

/// A reply that has not arrived.
pub enum Expected {
    /// Bytes that wait for an earlier ticket.
    Arrived(Vec<u8>, Deps),
    /// From one other shard, or from the server around the engine.
    One,
    /// From several shards.
    Parts(Box<Parts>),
}

/// The parts of a transaction's reply.
pub struct Parts {
    pub command: &'static Command,
    pub merge: Merge,
    pub missing: usize,
    pub deps: Deps,
    /// Per participant: its reply, and for `Merge::ByKey` the positions of its keys.
    pub parts: Vec<(ShardId, Option<Vec<u8>>, Vec<usize>)>,
}

pub struct Ticket {
    pub id: u64,
    pub command: Option<&'static Command>,
    /// The reply is dropped when it comes.
    pub silent: bool,
    pub expected: Expected,
}

/// When a reply was put out: in which pass, and by the time for which the shard waits for its disk.
#[derive(Clone, Copy)]
pub struct Pass {
    pub number: u64,
    pub waited_ms: i64,
}

struct Gate {
    /// Position in the stream of all bytes ever put out.
    end: u64,
    deps: Deps,
    pass: Pass,
    /// How many replies its bytes are.
    replies: u32,
}

pub struct Connection {
    pub session: Session,
    pub out: Vec<u8>,
    /// Stream position of `out[0]`.
    start: u64,
    /// Bytes before this stream position may be sent.
    released: u64,
    gates: VecDeque<Gate>,
    pub tickets: VecDeque<Ticket>,
    pub next_ticket: u64,
    /// Where all outstanding commands run, when that is one shard.
    pub at: Option<ShardId>,
    /// What the commands since the last change of shard reflect that is not yet executed everywhere.
    pub unordered: Deps,
    /// Tickets whose replies have not arrived.
    pub outstanding: usize,
    /// A command waits to be submitted again when none is outstanding.
    pub waits_for_answers: bool,
    /// A command waits to be submitted again when something has changed.
    pub waiting: bool,
    /// Listed among the shard's gated connections.
    pub is_listed: bool,
    /// About how big the replies of other shards are: from this it is judged how many may be on their way.
    pub reply_bytes: usize,
}

/// Assumed until the first reply has come: some big ones are enough to fill memory when many connections ask at once.
const REPLY_BYTES_AT_FIRST: usize = 256 * 1024;

impl Connection {
    pub fn new(session: Session) -> Connection {
        Connection {
            session,
            out: Vec::new(),
            start: 0,
            released: 0,
            gates: VecDeque::new(),
            tickets: VecDeque::new(),
            next_ticket: 1,
            at: None,
            unordered: Deps::default(),
            outstanding: 0,
            waits_for_answers: false,
            waiting: false,
            is_listed: false,
            reply_bytes: REPLY_BYTES_AT_FIRST,
        }
    }

    fn end(&self) -> u64 {
        self.start + self.out.len() as u64
    }

    /// Bytes that may be sent now.
    pub fn sendable(&self) -> usize {
        (self.released - self.start) as usize
    }

    pub fn sent(&mut self, bytes: usize) {
        assert!(bytes <= self.sendable(), "only released bytes are sent");
        self.start += bytes as u64;
        if bytes == self.out.len() {
            self.out.clear();
        } else {
            self.out.drain(..bytes);
        }
    }

    pub fn is_gated(&self) -> bool {
        !self.gates.is_empty()
    }

    /// Everything in `out` behind the last gate has these dependencies; `deps` is empty when they are committed already.
    pub fn close_reply(&mut self, deps: Deps, pass: Pass) {
        let end = self.end();
        let replies = (end > self.gates.back().map_or(self.released, |gate| gate.end)) as u32;
        match self.gates.back_mut() {
            None if deps.is_empty() => self.released = end,
            Some(gate) if deps.is_empty() || gate.pass.number == pass.number => {
                gate.end = end;
                gate.replies += replies;
                gate.deps.merge(&deps);
            }
            _ => self.gates.push_back(Gate { end, deps, pass, replies }),
        }
    }

    /// Gives up on what is gated since before `since_ms`: each reply becomes this error, and leaves. True when there was any.
    pub fn fail_gates(&mut self, error: &[u8], since_ms: i64) -> bool {
        let count = self.gates.iter().take_while(|gate| gate.pass.waited_ms < since_ms).count();
        let Some(end) = count.checked_sub(1).map(|last| self.gates[last].end) else { return false };
        let replies: u32 = self.gates.drain(..count).map(|gate| gate.replies).sum();
        let errors = error.repeat(replies as usize);
        let failed = self.sendable()..(end - self.start) as usize;
        self.out.splice(failed, errors.iter().copied());
        for gate in &mut self.gates {
            gate.end = gate.end - (end - self.released) + errors.len() as u64;
        }
        self.released += errors.len() as u64;
        true
    }

    /// Opens the gates whose dependencies are committed; true when something became sendable.
    pub fn open_gates(&mut self, reached: &Reached<'_>) -> bool {
        let before = self.released;
        while let Some(gate) = self.gates.front() {
            if !gate.deps.iter().all(|(shard, lsn)| reached.is_committed(shard, lsn)) {
                break;
            }
            self.released = gate.end;
            self.gates.pop_front();
        }
        self.released > before
    }

    pub fn take_ticket(&mut self, command: Option<&'static Command>, expected: Expected) -> u64 {
        let id = self.next_ticket;
        self.next_ticket += 1;
        self.outstanding += !matches!(expected, Expected::Arrived(..)) as usize;
        self.tickets.push_back(Ticket { id, command, silent: false, expected });
        id
    }

    /// Drops what the last command has put out, and what is still to come for it: bytes behind the first `bytes`, tickets from `ticket` on.
    pub fn silence(&mut self, bytes: usize, ticket: u64) {
        self.out.truncate(bytes);
        let end = self.end();
        self.released = self.released.min(end);
        for gate in self.gates.iter_mut().filter(|gate| gate.end > end) {
            // Its last reply is this one.
            gate.end = end;
            gate.replies -= 1;
        }
        self.tickets.iter_mut().filter(|waiting| waiting.id >= ticket).for_each(|waiting| waiting.silent = true);
    }

    pub fn ticket(&mut self, id: u64) -> Option<&mut Ticket> {
        // Numbers are given in order and tickets leave in order.
        let index = id.checked_sub(self.tickets.front()?.id)?;
        self.tickets.get_mut(index as usize)
    }

    /// False when nobody waits for it any more.
    pub fn ticket_arrived(&mut self, id: u64, reply: Vec<u8>, deps: Deps) -> bool {
        let Some(ticket) = self.ticket(id) else { return false };
        assert!(!matches!(ticket.expected, Expected::Arrived(..)), "a ticket is answered once");
        let bytes = reply.len();
        ticket.expected = Expected::Arrived(reply, deps);
        self.outstanding -= 1;
        self.reply_bytes = bytes.max(self.reply_bytes / 2);
        true
    }

    /// The bytes just put out reflect `deps`: releases or gates them.
    pub fn release_or_gate(&mut self, deps: Deps, reached: &Reached<'_>, pass: Pass) {
        for (shard, lsn) in deps.iter() {
            if !reached.is_ordered(shard, lsn) {
                self.unordered.add(shard, lsn);
            }
        }
        let is_open = deps.iter().all(|(shard, lsn)| reached.is_committed(shard, lsn));
        self.close_reply(if is_open { Deps::default() } else { deps }, pass);
    }
}
