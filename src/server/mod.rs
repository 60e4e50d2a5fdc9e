//! The server around the engine: what its threads share, and what they tell each other.
//!
//! | part | what |
//! |---|---|
//! | `shard_loop` | one core: sockets, engine, disk, mailboxes, again and again |
//! | `client` | one connection: bytes in, requests, bytes out |
//! | `listener` | accepts on shard 0, spreads connections |
//! | `crate::admin` | commands about the server as a whole, on shard 0 |

pub mod client;
pub mod listener;
pub mod shard_loop;

use crate::admin::{Exported, Slots};
use crate::config::Config;
use crate::mailbox::Sleeper;
use shards::commands::EngineCommand;
use shards::ids::{ConnId, ShardId};
use shards::keyspace::{DbStats, Keyspace};
use shards::resp::Protocol;
use shards::shard::CallReport;
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// What all threads see.
pub struct Shared {
    pub dir: PathBuf,
    pub shards: u16,
    pub sleepers: Vec<Arc<Sleeper>>,
    /// Connections per shard, those on their way included.
    pub clients: Vec<AtomicUsize>,
    pub next_conn: AtomicU64,
    pub started: Instant,
    /// Of the hashes of keys.
    pub hash_seed: u64,
    /// For shard 0, from helper threads.
    pub controls: Mutex<VecDeque<Control>>,
}

impl Shared {
    pub fn client_count(&self) -> usize {
        self.clients.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// From a helper thread to shard 0.
    pub fn control(&self, control: Control) {
        self.controls.lock().expect("no holder panics").push_back(control);
        self.sleepers[0].wake();
    }

    pub fn take_control(&self) -> Option<Control> {
        self.controls.lock().expect("no holder panics").pop_front()
    }
}

pub enum Control {
    /// SIGTERM or SIGINT, by its name.
    Signal(&'static str),
    /// A helper thread finished an export.
    Exported { id: u64, outcome: Result<Exported, String> },
    /// A helper thread has read the files.
    ReadBack(Result<Vec<Keyspace>, String>),
}

/// A command of a client for shard 0, which answers with `ServerMessage::Answer`.
pub struct AdminRequest {
    pub home: ShardId,
    pub conn: ConnId,
    pub ticket: u64,
    pub command: EngineCommand,
    pub args: Vec<Vec<u8>>,
    pub protocol: Protocol,
    /// The client is on this machine.
    pub is_local: bool,
}

pub struct NewClient {
    pub fd: OwnedFd,
    pub id: ConnId,
    pub peer: String,
    pub local: String,
    pub is_local: bool,
}

pub enum ServerMessage {
    /// The shard's log is usable.
    Ready,
    Client(NewClient),
    Admin(AdminRequest),
    Answer {
        conn: ConnId,
        ticket: u64,
        bytes: Vec<u8>,
    },
    /// From shard 0 to every shard; each answers with `Told`.
    Ask {
        operation: u64,
        question: Question,
    },
    Told {
        operation: u64,
        answer: Told,
    },
}

#[derive(Clone)]
pub enum Question {
    Stats,
    StatsAndCalls,
    ResetStats,
    /// New settings.
    Settings(Arc<Config>),
    ListClients(ClientFilter),
    /// Counts those it closes.
    KillClients(ClientFilter),
    Pause {
        until_ms: i64,
        writes_only: bool,
    },
    Unpause,
    /// DEBUG SLEEP: the whole thread.
    Sleep {
        microseconds: u64,
    },
    ActiveExpire(bool),
    /// How many of these keys are there already.
    SharedKeys(Slots),
    /// The keys in its slot are the shard's from now on; `keeps`: beside those that are there.
    TakeKeys {
        slots: Slots,
        keeps: bool,
    },
}

/// Which clients; every condition must hold.
#[derive(Clone, Default)]
pub struct ClientFilter {
    pub ids: Option<Vec<u64>>,
    pub addr: Option<String>,
    pub laddr: Option<String>,
    pub skip: Option<ConnId>,
    /// Whose CLIENT KILL it is.
    pub asker: Option<ConnId>,
    /// A type that no client has (`master`, `replica`, `pubsub`), or a user that does not exist.
    pub nobody: bool,
    pub max_age_s: Option<i64>,
}

pub enum Told {
    Done,
    Count(u64),
    Stats(Box<ShardStats>),
    Clients(Vec<(u64, Vec<u8>)>),
}

/// One shard's part of INFO.
#[derive(Default, Clone)]
pub struct ShardStats {
    pub commands: u64,
    pub net_in: u64,
    pub net_out: u64,
    pub connections_received: u64,
    pub errors: u64,
    pub calls: CallReport,
    /// Bytes of keys, values and their tables.
    pub memory: u64,
    /// Of the base being written: keys walked, keys in all.
    pub save_progress: (u64, u64),
    /// What the buffers of connections hold.
    pub client_bytes: u64,
    /// Clients whose query got too long.
    pub query_disconnections: u64,
    /// Of sockets.
    pub reads: u64,
    pub writes: u64,
    pub hits: u64,
    pub misses: u64,
    pub expired: u64,
    pub log_bytes: u64,
    pub log_syncs: u64,
    /// Last, written, durable.
    pub lsns: (u64, u64, u64),
    pub committed_behind: u64,
    pub clients: u64,
    pub input_max: u64,
    pub output_max: u64,
    pub passes: u64,
    /// Per database.
    pub keys: Vec<DbStats>,
    pub changes_unsaved: u64,
    pub refusing: Option<String>,
}
