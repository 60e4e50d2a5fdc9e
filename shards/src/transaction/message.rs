//! The messages between shards. Between two shards they arrive in the order in which they were sent.

use super::args::PackedArgs;
use super::coordinator::JobId;
use crate::commands::{Command, Effects};
use crate::ids::{ConnId, DbIndex, Lsn, Seq, ShardId};
use crate::log::FsyncMode;
use crate::log::writer::SegmentName;
use crate::manifest::{BaseFile, BaseFormat};
use crate::resp::Protocol;
use crate::types::Value;
use std::sync::Arc;

/// What must be committed before a reply leaves: an LSN on each shard that it reflects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deps {
    first: Option<(ShardId, Lsn)>,
    more: Vec<(ShardId, Lsn)>,
}

impl Deps {
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub fn one(shard: ShardId, lsn: Lsn) -> Deps {
        Deps { first: Some((shard, lsn)), more: Vec::new() }
    }

    pub fn iter(&self) -> impl Iterator<Item = (ShardId, Lsn)> {
        self.first.iter().chain(&self.more).copied()
    }

    pub fn add(&mut self, shard: ShardId, lsn: Lsn) {
        if self.first.is_none() {
            self.first = Some((shard, lsn));
            return;
        }
        match self.first.iter_mut().chain(&mut self.more).find(|(s, _)| *s == shard) {
            Some((_, known)) => *known = lsn.max(*known),
            None => self.more.push((shard, lsn)),
        }
    }

    pub fn merge(&mut self, other: &Deps) {
        other.iter().for_each(|(shard, lsn)| self.add(shard, lsn));
    }

    pub fn clear(&mut self) {
        self.first = None;
        self.more.clear();
    }
}

/// A command whose keys all live on one other shard.
#[derive(Clone, Debug)]
pub struct Run {
    pub conn: ConnId,
    pub ticket: u64,
    pub command: &'static Command,
    pub db: DbIndex,
    pub protocol: Protocol,
    pub args: PackedArgs,
}

/// How a transaction is executed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Each participant runs its part at once.
    Split,
    /// The others lend their keys' values to `executor`, which runs the whole command and sends the effects back.
    Gather { executor: ShardId },
}

/// A transaction on its way to the coordinator.
#[derive(Clone, Debug)]
pub struct Request {
    pub home: ShardId,
    pub conn: ConnId,
    pub ticket: u64,
    pub command: &'static Command,
    pub db: DbIndex,
    pub protocol: Protocol,
    pub kind: Kind,
    pub writes: bool,
    /// Of a `Gather`: it may need keys that its arguments do not name. All shards take part, and nothing else runs on them meanwhile.
    pub whole: bool,
    /// In order of their numbers.
    pub participants: Vec<ShardId>,
    /// `Split`: one per participant; `Gather`: one for all.
    pub parts: Vec<PackedArgs>,
}

/// A transaction with its place in the order and its time.
#[derive(Debug)]
pub struct Transaction {
    pub seq: Seq,
    pub now_ms: i64,
    pub request: Request,
}

impl Transaction {
    pub fn part_of(&self, shard: ShardId) -> Option<&PackedArgs> {
        match self.request.kind {
            Kind::Gather { .. } => self.request.parts.first(),
            Kind::Split => {
                let index = self.request.participants.iter().position(|&p| p == shard)?;
                self.request.parts.get(index)
            }
        }
    }
}

/// A copy of an entry that another shard owns.
#[derive(Clone, Debug)]
pub struct LentEntry {
    pub db: DbIndex,
    pub key: Vec<u8>,
    pub value: Value,
    pub expire_at_ms: Option<i64>,
}

/// What every shard does at the one point of a barrier, while all of them stand still.
#[derive(Clone, Debug, PartialEq)]
pub enum BarrierAction {
    /// `report`: say `Durable` when the log is durable up to the mark (not for the periodic marks of `no`, which nobody syncs).
    Mark { mode: FsyncMode, report: bool },
    /// A base is taken of exactly this state. `log`: the mode of the log that is written from here on, if one is.
    /// `stay`: nothing is executed until `GoOn`.
    Cut { base: u64, format: BaseFormat, log: Option<FsyncMode>, stay: bool },
    /// Nothing is executed until `GoOn`; `Durable` when the log is.
    StandStill,
    /// No log is written from here on.
    EndLog,
    /// The server stops: nothing is executed any more.
    Stop,
}

#[derive(Debug)]
pub enum Message {
    // Home shard → owner of the keys, and back.
    Run(Run),
    Ran {
        conn: ConnId,
        ticket: u64,
        reply: Vec<u8>,
        needed: Lsn,
    },
    /// How far the sender is committed, and up to where all that its state reflects has been executed on every shard concerned.
    Watermark {
        committed: Lsn,
        ordered: Lsn,
    },

    // Transactions: home → coordinator → participants → home.
    Submit(Box<Request>),
    Begin(Arc<Transaction>),
    Lend {
        seq: Seq,
        entries: Vec<LentEntry>,
        needed: Lsn,
    },
    /// Executor → lender, of a whole transaction: these keys too.
    Want {
        seq: Seq,
        keys: Vec<Vec<u8>>,
    },
    /// Executor → lenders: the effects on the receiver's keys; `logged` = it wrote somewhere, so every participant logs its part.
    Finish {
        seq: Seq,
        effects: Effects,
        logged: bool,
    },
    Part {
        conn: ConnId,
        ticket: u64,
        reply: Vec<u8>,
        deps: Deps,
    },
    /// Participant → coordinator: its transactions up to these are executed; committed as far as it can tell alone.
    Progress {
        executed: Seq,
        committed: Seq,
    },
    /// Coordinator → participant: all its transactions up to these are executed, committed on all of their shards.
    Closed {
        ordered: Seq,
        committed: Seq,
    },

    // Barriers: coordinator ↔ all shards.
    Pause {
        seq: Seq,
    },
    Paused {
        seq: Seq,
    },
    Place {
        seq: Seq,
        action: BarrierAction,
    },
    /// The barrier will not happen: its number is never placed; or the end of the log or the stop that was placed is given up.
    Abandon {
        seq: Seq,
    },
    /// All logs are durable up to their ends: write no more, and go on.
    EndLog {
        seq: Seq,
    },
    /// The end of standing still.
    GoOn,
    /// The shard's log is durable up to and with the mark (EndLog, Stop: up to its end, which is `last`).
    Durable {
        seq: Seq,
        last: Lsn,
    },
    /// The mark is durable on all shards.
    MarkComplete {
        seq: Seq,
        mode: FsyncMode,
    },
    /// To all shards: something was written here behind the mark (or cut) `after`, first at `since_ms`. A mark is due, and the bound of
    /// everysec runs, for all shards together.
    Wrote {
        after: Seq,
        since_ms: i64,
    },

    // Files.
    /// A change of mode is coming: have a segment for it ready, then say `ModeReady`.
    PrepareMode {
        /// None: the change does not come; have one ready for this mode again.
        job: Option<JobId>,
        mode: FsyncMode,
    },
    ModeReady {
        job: JobId,
    },
    List {
        segment: SegmentName,
        bytes: u64,
        forget: Option<SegmentName>,
    },
    Listed {
        id: u64,
    },
    /// The shard's file of a base is durable; its log needs the segments from `first_segment` on.
    BaseDone {
        base: u64,
        file: BaseFile,
        first_segment: u64,
    },
    BaseFailed {
        base: u64,
        cause: String,
    },
    /// The manifest names the new base: these files of the shard are no longer needed.
    BaseCommitted {
        base: u64,
        /// `appendfsync` at its cut: the commit counts as a complete mark.
        mode: FsyncMode,
        remove: Vec<String>,
    },
    BaseAborted {
        base: u64,
    },

    // Faults.
    Fault {
        cause: String,
    },
    /// Refuse writes.
    Refuse {
        cause: String,
    },
    /// To all shards: the sender's log has waited for its disk for too long, or goes on again.
    Stalls {
        stalls: bool,
    },

    /// Work of the server around the engine (CONFIG SET, INFO …) for that shard's thread.
    Server(Box<dyn std::any::Any + Send>),
}
