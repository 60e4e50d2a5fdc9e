//! One shard: its keys, its log, its connections, and its part in everything that concerns several shards.
//!
//! The driver (the server's loop on this core, or the simulation) calls, again and again:
//! ```text
//!   begin_pass(now)        what time it is for what follows
//!   submit(conn, args) …   commands of this shard's connections, until one answers Wait
//!   receive(from, batch)   messages of other shards
//!   disk_done(result)      completions
//!   end_pass(now)          seals and writes the log, moves a base on, sends what was collected
//!   take_*                 disk requests, messages, connections with something to send or to submit again
//! ```
//! Nothing blocks, nothing is read from a clock: the driver says what time it is.

mod barrier;
mod bound;
mod calls;
mod connection;
#[cfg(test)]
mod event_tests;
mod execute;
mod lock;
mod merge;
mod participant;
mod reload;
mod scan;
mod stall;
mod submit;

pub use calls::{CallReport, Calls, CommandCalls};
pub use submit::Submit;

use crate::commands::{Command, CommandStats, Effects, EventClasses, Names, Session};
use crate::disk::{DiskOwner, DiskQueue, DiskRequest, DiskResult};
use crate::ids::{ConnId, Generation, Lsn, Seq, ShardId};
use crate::keyspace::Keyspace;
use crate::log::FsyncMode;
use crate::log::writer::{LogNews, LogWriter, SegmentBytes, SegmentName, write_mode};
use crate::snapshot::{BaseProgress, BaseWriter, Creation};
use crate::transaction::{Coordinator, CoordinatorOutput, Deps, Job, JobId, JobResult, Message, Run, Transaction};
use bound::Bound;
use connection::{ConnMap, Connection, Expected, Pass, Reached};
use stall::Stall;
use std::any::Any;
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

/// A segment that could not be made is tried again so much later.
const PREPARE_AGAIN_MS: i64 = 1000;
/// `appendfsync everysec`: a write on any shard that is older than this and that no complete mark covers makes replies to writes wait, on
/// all shards. The promise is two seconds; the difference is for the pass that finds it out.
pub const EVERYSEC_HOLD_MS: i64 = 1900;
/// Keys deleted by one step of active expiry.
const EXPIRE_KEYS_PER_STEP: usize = 32;
const EXPIRE_EFFORT_PER_STEP: usize = 256;
const EXPIRE_PERIOD_MS: i64 = 10;
/// Segments looked at for hashes with expired fields, in one step: only while there is a hash whose fields expire.
const EXPIRE_SEGMENTS_PER_STEP: usize = 16;
/// Entries of dropped tables freed per pass.
const RECLAIM_ENTRIES_PER_PASS: usize = 256;

/// Settings that every shard has its own copy of; changed by the server through `settings_mut`.
#[derive(Clone, Debug)]
pub struct Settings {
    pub databases: u16,
    /// `pipeline-order strict`.
    pub strict_order: bool,
    pub requirepass: Vec<u8>,
    /// `rename-command`.
    pub names: Names,
    pub active_expire: bool,
    /// `enable-debug-command`.
    pub debug: DebugAccess,
    /// How long replies, changes of the log and bases wait for a disk that does not answer, before they become errors
    /// (`commit-timeout-ms`).
    pub commit_timeout_ms: i64,
    /// `notify-keyspace-events`.
    pub events: EventClasses,
}

/// Who may use DEBUG.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DebugAccess {
    No,
    /// Clients on this machine.
    Local,
    Yes,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            databases: 16,
            strict_order: true,
            requirepass: Vec::new(),
            names: Names::TABLE,
            active_expire: true,
            debug: DebugAccess::No,
            commit_timeout_ms: 10_000,
            events: EventClasses::NONE,
        }
    }
}

/// How a shard begins.
pub struct Start {
    pub id: ShardId,
    pub shards: u16,
    pub generation: Generation,
    pub mode: FsyncMode,
    pub logged: bool,
    pub keyspace: Keyspace,
    pub settings: Settings,
    pub segment_bytes: SegmentBytes,
    pub seed: u64,
    pub now_ms: i64,
    /// On shard 0.
    pub coordinator: Option<Coordinator>,
}

/// A transaction executed here that is not known to be whole everywhere.
struct OpenTransaction {
    seq: Seq,
    /// The last LSN that does not depend on it.
    floor: Lsn,
    /// What must be written here for this part of it.
    own: Lsn,
}

/// How far another shard says it is.
#[derive(Clone, Copy, Default)]
struct Known {
    committed: Lsn,
    ordered: Lsn,
    /// Becomes `committed` when no replies are held here (see `bound`).
    committed_told: Lsn,
}

/// What has been sent to another shard, to know whether it waits for a watermark.
#[derive(Clone, Copy, Default)]
struct Told {
    committed: Lsn,
    ordered: Lsn,
    needed_max: Lsn,
}

struct MarkWait {
    seq: Seq,
    lsn: Lsn,
}

pub struct Shard {
    id: ShardId,
    shards: u16,
    pub settings: Settings,
    keyspace: Keyspace,
    log: LogWriter,
    /// What acknowledging means: follows `appendfsync`, but leaves `always` only when the mark is durable everywhere.
    ack_mode: FsyncMode,
    /// What a power loss may take, and whether replies wait because of it.
    bound: Bound,
    random: fastrand::Rng,
    now_ms: i64,
    pass: u64,
    pub stats: CommandStats,
    calls: Calls,
    effects: Effects,
    scratch: Vec<u8>,
    disk: DiskQueue,
    coordinator: Option<Coordinator>,
    results: Vec<JobResult>,

    conns: ConnMap<Connection>,
    gated: Vec<ConnId>,
    sendable: Vec<ConnId>,
    waiting: Vec<ConnId>,
    wakes: Vec<ConnId>,
    /// Something happened that may let waiting commands go on.
    stirred: bool,

    out: Vec<Vec<Message>>,
    inner: VecDeque<Message>,
    known: Vec<Known>,
    told: Vec<Told>,
    server_inbox: Vec<(ShardId, Box<dyn Any + Send>)>,

    // Transactions.
    queue: VecDeque<Arc<Transaction>>,
    active: Option<lock::Active>,
    early: Vec<lock::EarlyLend>,
    open: VecDeque<OpenTransaction>,
    executed: Seq,
    closed_ordered: Seq,
    reported: (Seq, Seq),
    parked: VecDeque<(ShardId, Run)>,
    parked_conns: HashSet<ConnId>,

    // Barriers.
    pausing: Option<Seq>,
    paused: bool,
    /// … until `GoOn`.
    stands: bool,
    waits: Vec<MarkWait>,
    /// And for which job.
    mode_wanted: Option<(Option<JobId>, FsyncMode)>,
    /// The others know that something was written here since the last mark.
    wrote_sent: bool,

    base: Option<BaseWriter>,
    /// Its cut.
    base_seq: Seq,
    base_first_segment: u64,
    /// When the disk last did something for it.
    base_moved_ms: i64,
    /// A base's file that is finished and not in the manifest yet.
    base_file: Option<(u64, String)>,
    /// Creations of files of bases that were given up meanwhile.
    base_creations: Vec<Creation>,
    /// Changes of the keyspace up to the newest cut, and up to the cut of the newest base that was committed.
    changes_at_cut: u64,
    changes_saved: u64,
    /// The base under way is the first of a new log.
    log_starts: bool,
    forget: Option<SegmentName>,
    refusing: Option<String>,
    refusing_since_ms: i64,
    stall: Stall,
    next_expire_ms: i64,
    /// Why the log's next segment could not be made, and when it is tried again.
    postponed: Option<(String, i64)>,
    has_garbage: bool,
}

impl Shard {
    pub fn new(start: Start) -> Shard {
        let mut seeds = fastrand::Rng::with_seed(start.seed);
        let log = LogWriter::new(
            start.id,
            start.shards,
            start.generation,
            start.mode,
            start.logged,
            start.segment_bytes,
            seeds.u64(..),
        );
        let per_shard = start.shards as usize;
        let mut shard = Shard {
            id: start.id,
            shards: start.shards,
            settings: start.settings,
            keyspace: start.keyspace,
            log,
            ack_mode: start.mode,
            bound: Bound::new(start.mode),
            random: seeds,
            now_ms: start.now_ms,
            pass: 0,
            stats: CommandStats::default(),
            calls: Calls::default(),
            effects: Effects::default(),
            scratch: Vec::new(),
            disk: DiskQueue::default(),
            coordinator: start.coordinator,
            results: Vec::new(),
            conns: ConnMap::default(),
            gated: Vec::new(),
            sendable: Vec::new(),
            waiting: Vec::new(),
            wakes: Vec::new(),
            stirred: false,
            out: (0..per_shard).map(|_| Vec::new()).collect(),
            inner: VecDeque::new(),
            known: vec![Known::default(); per_shard],
            told: vec![Told::default(); per_shard],
            server_inbox: Vec::new(),
            queue: VecDeque::new(),
            active: None,
            early: Vec::new(),
            open: VecDeque::new(),
            executed: Seq(0),
            closed_ordered: Seq(0),
            reported: (Seq(0), Seq(0)),
            parked: VecDeque::new(),
            parked_conns: HashSet::new(),
            pausing: None,
            paused: false,
            stands: false,
            waits: Vec::new(),
            mode_wanted: None,
            wrote_sent: false,
            base: None,
            base_seq: Seq(0),
            base_first_segment: 0,
            base_moved_ms: 0,
            base_file: None,
            base_creations: Vec::new(),
            changes_at_cut: 0,
            changes_saved: 0,
            log_starts: false,
            forget: None,
            refusing: None,
            refusing_since_ms: 0,
            stall: Stall::new(start.shards, start.now_ms),
            next_expire_ms: start.now_ms,
            postponed: None,
            has_garbage: false,
        };
        shard.changes_saved = shard.keyspace.changes();
        if start.logged {
            shard.log.prepare(write_mode(start.mode), &mut shard.disk);
        }
        shard
    }

    // --- What the driver asks ----------------------------------------------------------------------------------------

    pub fn id(&self) -> ShardId {
        self.id
    }

    pub fn keyspace(&self) -> &Keyspace {
        &self.keyspace
    }

    pub fn keyspace_mut(&mut self) -> &mut Keyspace {
        &mut self.keyspace
    }

    pub fn log(&self) -> &LogWriter {
        &self.log
    }

    pub fn coordinator(&self) -> Option<&Coordinator> {
        self.coordinator.as_ref()
    }

    /// False until the first segment is listed in the manifest: no connection is accepted before.
    pub fn is_ready(&self) -> bool {
        !self.log.enabled() || self.log.is_ready()
    }

    /// Why writes are refused until the next start, if they are.
    pub fn refusing(&self) -> Option<&str> {
        self.refusing.as_deref()
    }

    /// Why there is no room for more of the log, while there is still some.
    pub fn postponed(&self) -> Option<&str> {
        self.postponed.as_ref().map(|(cause, _)| &cause[..])
    }

    pub fn take_disk_requests(&mut self) -> Vec<DiskRequest> {
        self.disk.take()
    }

    /// Messages to another shard since the last call.
    pub fn take_messages(&mut self, to: ShardId) -> Vec<Message> {
        // The next pass will have about as many.
        let room = Vec::with_capacity(self.out[to.0 as usize].len());
        std::mem::replace(&mut self.out[to.0 as usize], room)
    }

    pub fn has_messages(&self, to: ShardId) -> bool {
        !self.out[to.0 as usize].is_empty()
    }

    pub fn has_sendable(&self) -> bool {
        !self.sendable.is_empty()
    }

    /// Connections that have released bytes.
    pub fn take_sendable(&mut self) -> Vec<ConnId> {
        std::mem::take(&mut self.sendable)
    }

    /// Connections whose submit answered `Wait` and may be tried again.
    pub fn take_wakes(&mut self) -> Vec<ConnId> {
        std::mem::take(&mut self.wakes)
    }

    /// Finished jobs of the coordinator (shard 0).
    pub fn take_results(&mut self) -> Vec<JobResult> {
        std::mem::take(&mut self.results)
    }

    pub fn take_server_messages(&mut self) -> Vec<(ShardId, Box<dyn Any + Send>)> {
        std::mem::take(&mut self.server_inbox)
    }

    /// A message of the server around the engine to the server's half on another shard (or on this one).
    pub fn send_server(&mut self, to: ShardId, message: Box<dyn Any + Send>) {
        self.send(to, Message::Server(message));
    }

    /// Asks the coordinator (shard 0 only).
    pub fn start_job(&mut self, id: JobId, job: Job) {
        self.coordinator.as_mut().expect("jobs are started on shard 0").start(id, job);
    }

    /// As `Coordinator::cancel_snapshots` (shard 0 only).
    pub fn cancel_snapshots(&mut self) {
        self.coordinator.as_mut().expect("the coordinator lives on shard 0").cancel_snapshots();
    }

    // --- Connections -------------------------------------------------------------------------------------------------

    pub fn connect(&mut self, session: Session) {
        self.conns.insert(session.id, Connection::new(session));
    }

    pub fn disconnect(&mut self, conn: ConnId) {
        self.conns.remove(&conn);
    }

    pub fn session(&self, conn: ConnId) -> Option<&Session> {
        Some(&self.conns.get(&conn)?.session)
    }

    pub fn session_mut(&mut self, conn: ConnId) -> Option<&mut Session> {
        Some(&mut self.conns.get_mut(&conn)?.session)
    }

    pub fn sessions(&self) -> impl Iterator<Item = &Session> {
        self.conns.values().map(|conn| &conn.session)
    }

    /// Released bytes of a connection.
    pub fn output(&self, conn: ConnId) -> &[u8] {
        self.conns.get(&conn).map_or(&[], |conn| &conn.out[..conn.sendable()])
    }

    /// Bytes that are waiting in all, released or not.
    pub fn output_pending(&self, conn: ConnId) -> usize {
        self.conns.get(&conn).map_or(0, |conn| conn.out.len())
    }

    /// Replies that are still to come from other shards or from the server.
    pub fn replies_outstanding(&self, conn: ConnId) -> usize {
        self.conns.get(&conn).map_or(0, |conn| conn.tickets.len())
    }

    /// About how many bytes these will be, judged by the last that came.
    pub fn bytes_outstanding(&self, conn: ConnId) -> usize {
        self.conns.get(&conn).map_or(0, |conn| conn.tickets.len().saturating_mul(conn.reply_bytes))
    }

    pub fn sent(&mut self, conn: ConnId, bytes: usize) {
        if let Some(conn) = self.conns.get_mut(&conn) {
            conn.sent(bytes);
        }
    }

    /// True when no reply is outstanding or gated: the connection may be closed without losing one.
    pub fn is_idle(&self, conn: ConnId) -> bool {
        self.conns.get(&conn).is_none_or(|conn| conn.tickets.is_empty() && !conn.is_gated() && conn.out.is_empty())
    }

    /// Answers a ticket that `Submit::Engine` handed out. `bytes` is one whole reply.
    pub fn answer(&mut self, conn: ConnId, ticket: u64, bytes: Vec<u8>) {
        self.arrived(conn, ticket, bytes, Deps::default());
    }

    /// A reply outside of a command's place, e.g. a protocol error before the connection is closed. In order behind all others.
    pub fn push_reply(&mut self, conn: ConnId, bytes: &[u8]) {
        if bytes.first() == Some(&b'-') {
            self.calls.error(bytes);
        }
        self.reply_now(conn, None, |out| out.extend_from_slice(bytes));
    }

    /// The state of the protocol on this shard, for a person who looks for what it waits for.
    pub fn describe(&self) -> String {
        format!(
            "{}: last {} written {} durable {} position {} committed {} ordered {} open {:?} active {} queue {} executed {} paused {} pausing {:?} waits {} reported {:?} parked {}",
            self.id,
            self.log.last_lsn().0,
            self.log.written_lsn().0,
            self.log.durable_lsn().0,
            self.position().0,
            self.committed().0,
            self.ordered().0,
            self.open.iter().map(|open| (open.seq.0, open.floor.0, open.own.0)).collect::<Vec<_>>(),
            self.active.is_some(),
            self.queue.len(),
            self.executed.0,
            self.paused,
            self.pausing,
            self.waits.len(),
            self.reported,
            self.parked.len(),
        )
    }

    // --- Positions ---------------------------------------------------------------------------------------------------

    /// Up to where this shard's own log is what `appendfsync` asks for.
    fn position(&self) -> Lsn {
        if !self.log.enabled() {
            return self.log.last_lsn();
        }
        match self.ack_mode {
            FsyncMode::Always => self.log.durable_lsn(),
            FsyncMode::Everysec | FsyncMode::No => self.log.written_lsn(),
        }
    }

    /// Everything up to here may be shown and acknowledged.
    pub fn committed(&self) -> Lsn {
        let position = self.position();
        self.open.front().map_or(position, |open| open.floor.min(position))
    }

    /// Everything up to here has been executed on all shards concerned.
    fn ordered(&self) -> Lsn {
        let unordered = self.open.iter().find(|open| open.seq > self.closed_ordered);
        unordered.map_or(self.log.last_lsn(), |open| open.floor)
    }

    fn is_ordered(&self, shard: ShardId, lsn: Lsn) -> bool {
        if shard == self.id { self.ordered() >= lsn } else { self.known[shard.0 as usize].ordered >= lsn }
    }

    // --- Messages ----------------------------------------------------------------------------------------------------

    fn send(&mut self, to: ShardId, message: Message) {
        if to == self.id {
            self.inner.push_back(message);
        } else {
            self.out[to.0 as usize].push(message);
        }
    }

    const COORDINATOR: ShardId = ShardId(0);

    fn send_coordinator(&mut self, message: Message) {
        self.send(Self::COORDINATOR, message);
    }

    /// A batch from another shard, in the order in which it was sent.
    pub fn receive(&mut self, from: ShardId, batch: Vec<Message>) {
        for message in batch {
            self.handle(from, message);
            self.drain_inner();
        }
    }

    fn drain_inner(&mut self) {
        while let Some(message) = self.inner.pop_front() {
            self.handle(self.id, message);
        }
    }

    fn handle(&mut self, from: ShardId, message: Message) {
        match message {
            Message::Run(run) => self.run_for(from, run),
            Message::Ran { conn, ticket, reply, needed } => self.arrived(conn, ticket, reply, Deps::one(from, needed)),
            Message::Watermark { committed, ordered } => {
                let known = &mut self.known[from.0 as usize];
                (known.ordered, known.committed_told) = (ordered, committed);
                if !self.bound.holds() {
                    known.committed = committed;
                }
                self.stirred = true;
            }
            Message::Begin(transaction) => self.begin(transaction),
            Message::Lend { seq, entries, needed } => self.lent(from, seq, entries, needed),
            Message::Want { seq, keys } => self.wanted(from, seq, &keys),
            Message::Finish { seq, effects, logged } => self.finish(seq, &effects, logged),
            Message::Part { conn, ticket, reply, deps } => self.part_arrived(from, conn, ticket, reply, deps),
            Message::Closed { ordered, committed } => self.closed(ordered, committed),
            Message::Pause { seq } => self.pause(seq),
            Message::Place { seq, action } => self.place(seq, action),
            Message::Abandon { seq } => self.abandon(seq),
            Message::EndLog { seq } => self.end_log(seq),
            Message::Wrote { after, since_ms } => self.someone_wrote(after, since_ms),
            Message::GoOn => self.stand_no_longer(),
            Message::MarkComplete { seq, mode } => self.mark_complete(seq, mode),
            Message::PrepareMode { job, mode } => self.mode_wanted = Some((job, mode)),
            Message::Listed { id } => self.log.listed(id, &mut self.disk),
            Message::BaseCommitted { mode, remove, .. } => self.base_committed(mode, remove),
            Message::BaseAborted { base } => self.base_aborted(base),
            Message::Refuse { cause } => self.refuse(cause),
            Message::Stalls { stalls } => self.someone_stalls(from, stalls),
            Message::Server(message) => self.server_inbox.push((from, message)),
            Message::Submit(_)
            | Message::Progress { .. }
            | Message::Paused { .. }
            | Message::Durable { .. }
            | Message::ModeReady { .. }
            | Message::List { .. }
            | Message::BaseDone { .. }
            | Message::BaseFailed { .. }
            | Message::Fault { .. } => self.handle_as_coordinator(from, message),
        }
    }

    fn handle_as_coordinator(&mut self, from: ShardId, message: Message) {
        let mut output = CoordinatorOutput::default();
        self.coordinator.as_mut().expect("the coordinator lives on shard 0").receive(from, message, &mut output);
        self.take_output(output);
    }

    fn take_output(&mut self, output: CoordinatorOutput) {
        output.messages.into_iter().for_each(|(to, message)| self.send(to, message));
        self.results.extend(output.results);
    }

    fn closed(&mut self, ordered: Seq, committed: Seq) {
        self.closed_ordered = ordered;
        while self.open.front().is_some_and(|open| open.seq <= committed) {
            self.open.pop_front();
        }
        self.stirred = true;
    }

    fn refuse(&mut self, cause: String) {
        if self.refusing.is_none() {
            self.refusing = Some(cause);
            self.refusing_since_ms = self.stall.waited_ms;
        }
        self.stirred = true;
    }

    // --- Disk --------------------------------------------------------------------------------------------------------

    pub fn disk_done(&mut self, result: DiskResult) {
        let DiskResult { token, outcome } = result;
        match DiskOwner::of(token) {
            DiskOwner::Log => {
                self.log.disk_done(token, &outcome.map(|_| ()), &mut self.disk);
                self.log_news();
            }
            DiskOwner::Snapshot => self.base_disk_done(token, &outcome.map(|_| ())),
            DiskOwner::Coordinator => {
                let mut output = CoordinatorOutput::default();
                let coordinator = self.coordinator.as_mut().expect("the coordinator lives on shard 0");
                coordinator.disk_done(token, outcome, &mut self.disk, &mut output);
                self.take_output(output);
            }
        }
        self.drain_inner();
        self.stirred = true;
    }

    fn log_news(&mut self) {
        while let Some(news) = self.log.take_news() {
            match news {
                LogNews::Prepared { segment, bytes } => {
                    self.postponed = None;
                    let forget = self.forget.take();
                    self.send_coordinator(Message::List { segment, bytes, forget });
                }
                LogNews::Rotated { .. } => {}
                LogNews::Postponed(cause) => self.postponed = Some((cause, self.now_ms + PREPARE_AGAIN_MS)),
                LogNews::Fault(cause) => {
                    self.refuse(format!("{}: {cause}", self.id));
                    self.send_coordinator(Message::Fault { cause });
                }
            }
        }
    }

    fn base_disk_done(&mut self, token: u64, outcome: &Result<(), String>) {
        if let Some(at) = self.base_creations.iter().position(|creation| creation.token == token) {
            let creation = self.base_creations.swap_remove(at);
            return creation.undo(outcome.is_ok(), &mut self.disk);
        }
        // Removals of old files and of an aborted base end here too: nobody waits for them.
        let Some(base) = &mut self.base else { return };
        self.base_moved_ms = self.stall.waited_ms;
        match base.disk_done(token, outcome, &mut self.disk) {
            BaseProgress::Working => {}
            BaseProgress::Done(file) => {
                let base = self.base.take().expect("just used").base;
                self.base_file = Some((base, file.path.clone()));
                let first_segment = self.base_first_segment;
                self.send_coordinator(Message::BaseDone { base, file, first_segment });
            }
            BaseProgress::Failed(cause) => {
                let base = base.base;
                self.send_coordinator(Message::BaseFailed { base, cause });
            }
        }
    }

    /// Commands and messages of a pass see this time: a driver that has slept says it first.
    pub fn begin_pass(&mut self, now_ms: i64) {
        self.now_ms = self.now_ms.max(now_ms);
        self.hold_when_too_old();
    }

    // --- The end of a pass ---------------------------------------------------------------------------------------------

    /// Everything that is done once per pass, after commands, messages and completions have been handled.
    pub fn end_pass(&mut self, now_ms: i64) {
        self.now_ms = self.now_ms.max(now_ms);
        self.expire();
        self.prepare_again();
        self.has_garbage = self.keyspace.reclaim(RECLAIM_ENTRIES_PER_PASS);
        self.drain_inner();
        self.step_base();
        self.log.commit(&mut self.disk);
        self.advance_marks();
        self.hold_when_too_old();
        self.watch_stall();
        self.report_progress();
        self.run_coordinator();
        self.drain_inner();
        self.log.commit(&mut self.disk);
        self.log_news();
        self.drain_inner();
        self.send_watermarks();
        self.open_gates();
        self.give_up();
        self.wake();
        self.pass += 1;
    }

    fn prepare_again(&mut self) {
        if let Some((_, due_ms)) = &mut self.postponed
            && *due_ms <= self.now_ms
        {
            *due_ms = self.now_ms + PREPARE_AGAIN_MS;
            self.log.prepare_again(&mut self.disk);
        }
    }

    /// True when the next pass has work to do without any event: the driver must not sleep.
    pub fn is_busy(&self) -> bool {
        self.base.as_ref().is_some_and(BaseWriter::wants_step) || !self.inner.is_empty() || self.has_garbage
    }

    /// When the driver must call `end_pass` again at the latest.
    pub fn next_due_ms(&self) -> i64 {
        let coordinator = self.coordinator.as_ref().map_or(i64::MAX, Coordinator::next_due_ms);
        coordinator.min(self.now_ms + 100)
    }

    fn run_coordinator(&mut self) {
        if let Some(coordinator) = &mut self.coordinator {
            let mut output = CoordinatorOutput::default();
            coordinator.pass(self.now_ms, self.stall.waited_ms, self.settings.commit_timeout_ms, &mut self.disk, &mut output);
            self.take_output(output);
        }
    }

    fn report_progress(&mut self) {
        let position = self.position();
        let written = self.open.iter().take_while(|open| open.own <= position).last();
        let committed = written.map_or(self.reported.1, |open| open.seq).max(self.reported.1);
        let committed = if self.open.is_empty() { self.executed.max(committed) } else { committed };
        if (self.executed, committed) != self.reported {
            self.reported = (self.executed, committed);
            self.send_coordinator(Message::Progress { executed: self.executed, committed });
        }
    }

    fn send_watermarks(&mut self) {
        let (committed, ordered) = (self.committed(), self.ordered());
        for shard in 0..self.shards as usize {
            let told = self.told[shard];
            let is_waiting = told.needed_max > told.committed.min(told.ordered);
            let has_news = (told.committed, told.ordered) != (committed, ordered);
            if shard != self.id.0 as usize && is_waiting && has_news {
                self.told[shard] = Told { committed, ordered, ..told };
                // In front of the replies of this pass: most of them can then leave at once.
                let watermark = Message::Watermark { committed, ordered };
                match self.out[shard].first_mut() {
                    // Of an earlier `end_pass`, not taken yet: behind the new one it would take it back.
                    Some(earlier @ Message::Watermark { .. }) => *earlier = watermark,
                    _ => self.out[shard].insert(0, watermark),
                }
            }
        }
    }

    fn open_gates(&mut self) {
        if self.bound.holds() {
            return;
        }
        let reached = Reached { here: self.id, committed: self.committed(), ordered: self.ordered(), known: &self.known };
        let mut gated = std::mem::take(&mut self.gated);
        let sendable = &mut self.sendable;
        gated.retain(|&id| {
            let Some(conn) = self.conns.get_mut(&id) else { return false };
            if conn.open_gates(&reached) {
                sendable.push(id);
            }
            conn.is_listed = conn.is_gated();
            conn.is_listed
        });
        self.gated = gated;
    }

    fn wake(&mut self) {
        if !std::mem::take(&mut self.stirred) {
            return;
        }
        for id in std::mem::take(&mut self.waiting) {
            if let Some(conn) = self.conns.get_mut(&id) {
                conn.waiting = false;
                self.wakes.push(id);
            }
        }
    }

    // --- Replies -----------------------------------------------------------------------------------------------------

    /// A reply that depends on nothing, in its place behind the replies that are still to come.
    fn reply_now(&mut self, id: ConnId, command: Option<&'static Command>, write: impl FnOnce(&mut Vec<u8>)) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        if conn.tickets.is_empty() {
            write(&mut conn.out);
            conn.close_reply(Deps::default(), Pass { number: self.pass, waited_ms: self.stall.waited_ms });
            if self.sendable.last() != Some(&id) {
                self.sendable.push(id);
            }
        } else {
            let mut bytes = Vec::new();
            write(&mut bytes);
            conn.take_ticket(command, Expected::Arrived(bytes, Deps::default()));
        }
    }

    fn arrived(&mut self, id: ConnId, ticket: u64, reply: Vec<u8>, deps: Deps) {
        let reached = Reached { here: self.id, committed: self.committed(), ordered: self.ordered(), known: &self.known };
        let Some(conn) = self.conns.get_mut(&id) else { return };
        if reply.first() == Some(&b'-')
            && let Some(command) = conn.ticket(ticket).and_then(|ticket| ticket.command)
        {
            self.calls.failed(command, &reply);
        }
        if !conn.ticket_arrived(ticket, reply, deps) {
            return;
        }
        while let Some(ticket) = conn.tickets.pop_front_if(|ticket| matches!(ticket.expected, Expected::Arrived(..))) {
            let Expected::Arrived(bytes, deps) = ticket.expected else { unreachable!("just matched") };
            if !ticket.silent {
                conn.out.extend_from_slice(&bytes);
            }
            conn.release_or_gate(deps, &reached, Pass { number: self.pass, waited_ms: self.stall.waited_ms });
        }
        if conn.outstanding == 0 && std::mem::take(&mut conn.waits_for_answers) {
            self.wakes.push(id);
        }
        self.replied(id);
    }

    /// Lists the connection for what its newest reply needs next.
    fn replied(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        if conn.is_gated() {
            if !std::mem::replace(&mut conn.is_listed, true) {
                self.gated.push(id);
            }
        } else if self.sendable.last() != Some(&id) {
            self.sendable.push(id);
        }
    }
}
