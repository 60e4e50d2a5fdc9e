//! The coordinator: the one order of everything that touches several shards, the barriers, and the manifest.
//!
//! A barrier is how a mark or a cut becomes one point of the order of all writes:
//! ```text
//!   coordinator   hold new transactions; Pause ─→ all      Place ─→ all; send what was held
//!   shard         finish its transactions, execute         do the action, go on
//!                 nothing more; ←─ Paused
//! ```
//! When all have paused, nothing is in flight, so the action happens at one point on every shard: no transaction stands before it on
//! one shard and after it on another, and no reply to something after it leaves before all have placed it (those that have not,
//! stand still). A shard that does not pause in time (a long script) makes a periodic mark be abandoned.

use super::closure::Closure;
use super::manifest_writer::ManifestWriter;
use super::message::{BarrierAction, Message, Request, Transaction};
use crate::disk::{DiskQueue, FileIdentity};
use crate::ids::{Generation, Lsn, Seq, ShardId};
use crate::log::FsyncMode;
use crate::log::writer::SegmentName;
use crate::manifest::{Base, BaseFile, BaseFormat, Manifest, SegmentEntry, State};
use std::collections::VecDeque;
use std::sync::Arc;

/// How often a mark is placed in `everysec` and `no`, when something was written.
pub const EVERYSEC_PERIOD_MS: i64 = 1000;
/// A periodic mark that is not paused for by then is abandoned, and tried again a period later.
pub const PERIODIC_MARK_PATIENCE_MS: i64 = 50;

const AFTER_A_FAULT: &str = "the server refuses writes after a disk fault";

pub type JobId = u64;

/// What an administrator (or the server itself) asks of all shards together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Job {
    /// `CONFIG SET appendfsync`.
    SetMode(FsyncMode),
    /// A base of one cut; `start_log`: `CONFIG SET appendonly yes`.
    Snapshot { format: BaseFormat, start_log: bool },
    /// Everything stands still with the files holding all of it, until `GoOn`: with a base, when that is committed; without, when the
    /// log is durable. For who wants to read the files back.
    StandStill { base: Option<BaseFormat> },
    /// Ends a `StandStill`.
    GoOn,
    /// `CONFIG SET appendonly no`.
    EndLog,
    /// Everything durable, then the manifest says so.
    Stop,
}

pub type JobResult = (JobId, Result<(), String>);

#[derive(Default)]
pub struct CoordinatorOutput {
    pub messages: Vec<(ShardId, Message)>,
    pub results: Vec<JobResult>,
}

struct Barrier {
    seq: Seq,
    action: BarrierAction,
    paused: usize,
    since_ms: i64,
    /// None: a periodic mark.
    job: Option<JobId>,
}

/// A mark (or an end) that was placed and is waited for to be durable everywhere.
struct Durability {
    seq: Seq,
    action: BarrierAction,
    lasts: Vec<Option<Lsn>>,
    job: Option<JobId>,
}

/// The base that is being written.
struct Snapshot {
    job: JobId,
    base: u64,
    format: BaseFormat,
    mode: FsyncMode,
    log: bool,
    files: Vec<Option<(BaseFile, u64)>>,
}

enum Stage {
    Idle,
    /// Shards make segments for the mode (or the log) that is coming.
    Preparing {
        ready: usize,
    },
    /// The barrier is asked for or under way.
    Placing,
    /// Waiting for `Durability`, for `Snapshot`, or for the manifest.
    Working,
}

/// What happens when the manifest that is written next (or now) is durable.
enum OnCommit {
    Listed(ShardId, u64),
    Base {
        base: u64,
        mode: FsyncMode,
        log: bool,
        remove: Vec<String>,
    },
    /// This job is done, if it is still the one under way.
    Job(JobId),
    Nothing,
}

/// The job under way.
struct CurrentJob {
    id: JobId,
    job: Job,
    /// When it began to wait for what it waits for now.
    since_ms: i64,
    /// Its time was over, and whoever asked was told so; how it ends is still open, and no other job begins before.
    is_answered: bool,
}

pub struct Coordinator {
    shards: u16,
    generation: Generation,
    manifest: Manifest,
    writer: ManifestWriter,
    on_next_commit: Vec<OnCommit>,
    on_this_commit: Vec<OnCommit>,
    next_seq: Seq,
    closure: Closure,
    held: VecDeque<Request>,
    barrier: Option<Barrier>,
    wanted_barrier: Option<BarrierAction>,
    /// All shards stand still behind this end of the log, or stop.
    ending: Option<Seq>,
    durabilities: Vec<Durability>,
    snapshot: Option<Snapshot>,
    job: Option<CurrentJob>,
    stage: Stage,
    jobs: VecDeque<(JobId, Job)>,
    mode: FsyncMode,
    logging: bool,
    dirty: bool,
    next_mark_ms: i64,
    now_ms: i64,
    waited_ms: i64,
    stopped: bool,
    /// From placing a `StandStill` until it is over: nothing new begins, and no other job.
    standing: bool,
    cancels_snapshots: bool,
    refusing: bool,
}

impl Coordinator {
    /// `manifest` is the one that the start has committed: its last generation is the one that runs now.
    pub fn new(manifest: Manifest, now_ms: i64) -> Coordinator {
        let generation = manifest.generations.last().expect("a start opens a generation");
        let (shards, mode, logging, number) = (generation.shards, generation.mode, generation.logged, generation.number);
        Coordinator {
            shards,
            generation: number,
            manifest,
            writer: ManifestWriter::default(),
            on_next_commit: Vec::new(),
            on_this_commit: Vec::new(),
            next_seq: Seq(1),
            closure: Closure::new(shards),
            held: VecDeque::new(),
            barrier: None,
            wanted_barrier: None,
            ending: None,
            durabilities: Vec::new(),
            snapshot: None,
            job: None,
            stage: Stage::Idle,
            jobs: VecDeque::new(),
            mode,
            logging,
            dirty: false,
            next_mark_ms: now_ms + EVERYSEC_PERIOD_MS,
            now_ms,
            waited_ms: 0,
            stopped: false,
            standing: false,
            cancels_snapshots: false,
            refusing: false,
        }
    }

    pub fn mode(&self) -> FsyncMode {
        self.mode
    }

    pub fn logging(&self) -> bool {
        self.logging
    }

    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// True while a base is being written, by job.
    pub fn snapshot_running(&self) -> bool {
        matches!(self.job, Some(CurrentJob { job: Job::Snapshot { .. }, .. }))
    }

    /// A disk fault was seen: writes are refused.
    pub fn refusing(&self) -> bool {
        self.refusing
    }

    /// Nothing is executed any more, for good when the manifest may already say so.
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    /// After a fault: the manifest on the disk says so.
    pub fn has_recorded_fault(&self) -> bool {
        self.refusing && self.writer.is_idle() && self.on_next_commit.is_empty()
    }

    pub fn open_transactions(&self) -> usize {
        self.closure.open()
    }

    /// Jobs are done one after another.
    pub fn start(&mut self, id: JobId, job: Job) {
        self.jobs.push_back((id, job));
    }

    /// Gives up the snapshots that are asked for or under way, but for one that a new log needs, with the next pass: a stop does not
    /// wait for them. One whose files are all written is committed none the less.
    pub fn cancel_snapshots(&mut self) {
        self.cancels_snapshots = true;
    }

    // --- Messages --------------------------------------------------------------------------------------------------

    /// Some shard has written since the last mark.
    pub fn wrote(&mut self) {
        self.dirty = true;
    }

    pub fn receive(&mut self, from: ShardId, message: Message, out: &mut CoordinatorOutput) {
        match message {
            Message::Submit(request) => self.submit(*request, out),
            Message::Progress { executed, committed } => self.closure.progress(from, executed, committed),
            Message::Paused { seq } => self.paused(seq, out),
            Message::Durable { seq, last } => self.durable(from, seq, last, out),
            Message::ModeReady { job } => self.mode_ready(job),
            Message::List { segment, bytes, forget } => self.list(segment, bytes, forget),
            Message::BaseDone { base, file, first_segment } => self.base_done(from, base, file, first_segment),
            Message::BaseFailed { base, cause } => self.base_failed(base, &cause, out),
            Message::Fault { cause } => self.fault(&cause, out),
            other => unreachable!("no shard sends this to the coordinator: {other:?}"),
        }
    }

    fn submit(&mut self, request: Request, out: &mut CoordinatorOutput) {
        if self.barrier.is_some() || self.stopped || self.standing {
            self.held.push_back(request);
        } else {
            self.begin(request, out);
        }
    }

    fn begin(&mut self, request: Request, out: &mut CoordinatorOutput) {
        let seq = self.take_seq();
        self.closure.begin(seq, &request.participants);
        let transaction = Arc::new(Transaction { seq, now_ms: self.now_ms, request });
        for &shard in &transaction.request.participants {
            out.messages.push((shard, Message::Begin(transaction.clone())));
        }
    }

    fn take_seq(&mut self) -> Seq {
        let seq = self.next_seq;
        self.next_seq = Seq(seq.0 + 1);
        seq
    }

    fn broadcast(&self, out: &mut CoordinatorOutput, make: impl Fn(ShardId) -> Message) {
        out.messages.extend((0..self.shards).map(ShardId).map(|shard| (shard, make(shard))));
    }

    // --- Barriers --------------------------------------------------------------------------------------------------

    fn start_barrier(&mut self, action: BarrierAction, job: Option<JobId>, out: &mut CoordinatorOutput) {
        assert!(self.barrier.is_none(), "one barrier at a time");
        let seq = self.take_seq();
        self.barrier = Some(Barrier { seq, action, paused: 0, since_ms: self.now_ms, job });
        self.broadcast(out, |_| Message::Pause { seq });
    }

    fn paused(&mut self, seq: Seq, out: &mut CoordinatorOutput) {
        let Some(barrier) = self.barrier.as_mut().filter(|barrier| barrier.seq == seq) else { return };
        barrier.paused += 1;
        if barrier.paused < self.shards as usize {
            return;
        }
        let barrier = self.barrier.take().expect("just seen");
        self.placed(barrier, out);
        self.release(out);
    }

    /// All shards stand still: this is the one point.
    fn placed(&mut self, barrier: Barrier, out: &mut CoordinatorOutput) {
        let Barrier { seq, action, job, .. } = barrier;
        self.broadcast(out, |_| Message::Place { seq, action: action.clone() });
        match &action {
            BarrierAction::Mark { .. } => self.dirty = false,
            BarrierAction::Cut { base, format, log, stay } => {
                self.standing = *stay;
                let files = vec![None; self.shards as usize];
                let job = job.expect("a cut is asked for by a job");
                self.snapshot = Some(Snapshot { job, base: *base, format: *format, mode: self.mode, log: log.is_some(), files });
            }
            BarrierAction::EndLog => self.ending = Some(seq),
            BarrierAction::StandStill => self.standing = true,
            BarrierAction::Stop => {
                self.ending = Some(seq);
                self.stopped = true;
            }
        }
        if !matches!(action, BarrierAction::Cut { .. } | BarrierAction::Mark { report: false, .. }) {
            let lasts = vec![None; self.shards as usize];
            self.durabilities.push(Durability { seq, action, lasts, job });
        }
        if job.is_some() {
            self.stage = Stage::Working;
        }
    }

    fn release(&mut self, out: &mut CoordinatorOutput) {
        while !self.stopped
            && !self.standing
            && let Some(request) = self.held.pop_front()
        {
            self.begin(request, out);
        }
    }

    fn abandon_late_mark(&mut self, out: &mut CoordinatorOutput) {
        let is_late = |barrier: &Barrier| barrier.job.is_none() && self.now_ms - barrier.since_ms > PERIODIC_MARK_PATIENCE_MS;
        if let Some(barrier) = self.barrier.take_if(|barrier| is_late(barrier)) {
            self.broadcast(out, |_| Message::Abandon { seq: barrier.seq });
            self.release(out);
        }
    }

    /// What a job has asked all shards to stand still for does not happen: they go on.
    fn abandon(&mut self, out: &mut CoordinatorOutput) {
        self.wanted_barrier = None;
        let barrier = self.barrier.take().map(|barrier| barrier.seq);
        for seq in barrier.into_iter().chain(self.ending.take()) {
            self.durabilities.retain(|durability| durability.seq != seq);
            self.broadcast(out, |_| Message::Abandon { seq });
        }
        self.stopped = false;
        if self.manifest.state == State::Clean {
            self.manifest.state = State::Running;
            if self.logging {
                self.manifest.generations.last_mut().expect("a start opens a generation").log_ends = None;
            }
        }
        self.release(out);
    }

    fn durable(&mut self, from: ShardId, seq: Seq, last: Lsn, out: &mut CoordinatorOutput) {
        let Some(at) = self.durabilities.iter().position(|durability| durability.seq == seq) else { return };
        let durability = &mut self.durabilities[at];
        durability.lasts[from.0 as usize] = Some(last);
        let Some(lasts) = durability.lasts.iter().copied().collect::<Option<Vec<_>>>() else { return };
        let durability = self.durabilities.swap_remove(at);
        match durability.action {
            BarrierAction::Mark { mode, .. } => {
                self.broadcast(out, |_| Message::MarkComplete { seq, mode });
                if let Some(job) = durability.job {
                    self.mode = mode;
                    self.finish_job(job, Ok(()), out);
                }
            }
            BarrierAction::EndLog | BarrierAction::Stop => {
                let generation = self.manifest.generations.last_mut().expect("a start opens a generation");
                if generation.logged && generation.log_ends.is_none() {
                    generation.log_ends = Some(lasts);
                }
                if durability.action == BarrierAction::Stop {
                    self.manifest.state = State::Clean;
                } else {
                    self.ending = None;
                    self.logging = false;
                    self.broadcast(out, |_| Message::EndLog { seq });
                }
                self.on_next_commit.push(OnCommit::Job(durability.job.expect("a log is ended by a job")));
                self.waits_from_now();
            }
            BarrierAction::StandStill => self.finish_job(durability.job.expect("a job has all stand still"), Ok(()), out),
            BarrierAction::Cut { .. } => unreachable!("a cut is done when its files are"),
        }
    }

    // --- Jobs ------------------------------------------------------------------------------------------------------

    fn advance_job(&mut self, out: &mut CoordinatorOutput) {
        if self.job.as_ref().is_some_and(|job| job.is_answered) {
            let (allowed, refused): (VecDeque<_>, VecDeque<_>) = self.jobs.drain(..).partition(|(_, job)| *job == Job::GoOn);
            let refuse = |(id, _)| (id, Err("an earlier change still waits for the disk".to_string()));
            out.results.extend(refused.into_iter().map(refuse));
            self.jobs = allowed;
        }
        if self.job.is_none()
            && let Some((id, job)) = self.next_job()
        {
            self.job = Some(CurrentJob { id, job, since_ms: self.waited_ms, is_answered: false });
            self.begin_job(id, job, out);
        }
        if let (Stage::Placing, None, Some(action)) = (&self.stage, &self.barrier, self.wanted_barrier.clone()) {
            self.wanted_barrier = None;
            let job = self.job.as_ref().expect("a barrier is wanted by a job").id;
            self.start_barrier(action, Some(job), out);
        }
        self.refuse_stop(out);
    }

    /// After a fault there is no clean stop. It is over when the manifest says *distrusted*, for the start that follows.
    fn refuse_stop(&mut self, out: &mut CoordinatorOutput) {
        if self.has_recorded_fault()
            && let Some(CurrentJob { id, job: Job::Stop, .. }) = self.job
        {
            self.finish_job(id, Err(AFTER_A_FAULT.into()), out);
        }
    }

    fn waits_from_now(&mut self) {
        if let Some(job) = &mut self.job {
            job.since_ms = self.waited_ms;
        }
    }

    /// Nobody waits for ever, not for a disk that does not answer either.
    fn give_up_job(&mut self, timeout_ms: i64, out: &mut CoordinatorOutput) {
        // While a base is written, each shard watches its own file.
        let is_late = |job: &&mut CurrentJob| !job.is_answered && self.waited_ms - job.since_ms > timeout_ms;
        let Some(job) = self.job.as_mut().filter(is_late).filter(|_| self.snapshot.is_none()) else { return };
        let id = job.id;
        let cause = format!("the disk has not answered for {timeout_ms} ms");
        let stands_for = |waiting: &Durability| Some(waiting.seq) == self.ending || waiting.action == BarrierAction::StandStill;
        match self.stage {
            Stage::Preparing { .. } if self.logging => {
                // The segments that were made for it are replaced.
                self.broadcast(out, |_| Message::PrepareMode { job: None, mode: self.mode });
                self.finish_job(id, Err(cause), out);
            }
            Stage::Idle | Stage::Preparing { .. } => self.finish_job(id, Err(cause), out),
            Stage::Working if !self.durabilities.iter().any(stands_for) => {
                // It can't be taken back: the mark is placed, or the manifest on its way.
                job.is_answered = true;
                out.results.push((id, Err(format!("{cause}, outcome unknown"))));
                // Nobody will say so any more.
                self.go_on(out);
            }
            Stage::Placing | Stage::Working => {
                self.abandon(out);
                self.fail_job(&cause, out);
            }
        }
    }

    fn next_job(&mut self) -> Option<(JobId, Job)> {
        if !self.standing {
            return self.jobs.pop_front();
        }
        // Who had everything stand still is not done: others wait.
        let at = self.jobs.iter().position(|(_, job)| *job == Job::GoOn)?;
        self.jobs.remove(at)
    }

    fn begin_job(&mut self, id: JobId, job: Job, out: &mut CoordinatorOutput) {
        if self.refusing && job != Job::GoOn {
            self.stage = Stage::Working;
            return if job == Job::Stop { self.refuse_stop(out) } else { self.finish_job(id, Err(AFTER_A_FAULT.into()), out) };
        }
        match job {
            Job::SetMode(mode) if !self.logging => {
                self.mode = mode;
                self.manifest.generations.last_mut().expect("a start opens a generation").mode = mode;
                self.finish_job(id, Ok(()), out);
            }
            Job::SetMode(mode) => self.prepare(id, mode, out),
            Job::Snapshot { start_log: true, .. } if !self.logging => self.prepare(id, self.mode, out),
            Job::Snapshot { format, .. } => self.want_cut(format, self.logging, false),
            Job::StandStill { base: Some(format) } => self.want_cut(format, self.logging, true),
            Job::StandStill { base: None } => self.want(BarrierAction::StandStill),
            Job::GoOn => {
                self.go_on(out);
                self.finish_job(id, Ok(()), out);
            }
            Job::EndLog if !self.logging => self.finish_job(id, Ok(()), out),
            Job::EndLog => self.want(BarrierAction::EndLog),
            Job::Stop => self.want(BarrierAction::Stop),
        }
    }

    fn prepare(&mut self, job: JobId, mode: FsyncMode, out: &mut CoordinatorOutput) {
        self.stage = Stage::Preparing { ready: 0 };
        self.broadcast(out, |_| Message::PrepareMode { job: Some(job), mode });
    }

    fn mode_ready(&mut self, id: JobId) {
        let Stage::Preparing { ready } = &mut self.stage else { return };
        // An earlier job that was given up has asked for it, otherwise.
        let Some(&CurrentJob { job, .. }) = self.job.as_ref().filter(|job| job.id == id) else { return };
        *ready += 1;
        if *ready < self.shards as usize {
            return;
        }
        match job {
            Job::SetMode(mode) => self.want(BarrierAction::Mark { mode, report: true }),
            Job::Snapshot { format, .. } => self.want_cut(format, true, false),
            other => unreachable!("only these jobs prepare: {other:?}"),
        }
    }

    fn want(&mut self, action: BarrierAction) {
        self.stage = Stage::Placing;
        self.wanted_barrier = Some(action);
    }

    fn want_cut(&mut self, format: BaseFormat, log: bool, stay: bool) {
        let base = self.manifest.next_base.max(1);
        self.manifest.next_base = base + 1;
        self.want(BarrierAction::Cut { base, format, log: log.then_some(self.mode), stay });
    }

    /// What stands still goes on.
    fn go_on(&mut self, out: &mut CoordinatorOutput) {
        if std::mem::take(&mut self.standing) {
            self.durabilities.retain(|durability| durability.action != BarrierAction::StandStill);
            self.broadcast(out, |_| Message::GoOn);
            self.release(out);
        }
    }

    /// The job under way fails; nothing of it stands still any longer, and its barrier is not placed.
    fn fail_job(&mut self, cause: &str, out: &mut CoordinatorOutput) {
        let Some(&CurrentJob { id, job, .. }) = self.job.as_ref() else { return };
        if matches!(job, Job::StandStill { .. } | Job::Snapshot { .. }) {
            self.wanted_barrier = None;
            if let Some(barrier) = self.barrier.take_if(|barrier| barrier.job.is_some()) {
                self.broadcast(out, |_| Message::Abandon { seq: barrier.seq });
                self.release(out);
            }
            self.go_on(out);
        }
        self.finish_job(id, Err(cause.to_string()), out);
    }

    fn cancel(&mut self, out: &mut CoordinatorOutput) {
        const CAUSE: &str = "given up for a stop";
        let is_snapshot = |job: &Job| matches!(job, Job::Snapshot { start_log: false, .. });
        self.jobs.retain(|(id, job)| {
            if is_snapshot(job) {
                out.results.push((*id, Err(CAUSE.into())));
            }
            !is_snapshot(job)
        });
        if self.job.as_ref().is_some_and(|current| is_snapshot(&current.job)) {
            match (&self.stage, &self.snapshot) {
                (_, Some(snapshot)) => self.base_failed(snapshot.base, CAUSE, out),
                (Stage::Placing, None) => self.fail_job(CAUSE, out),
                // Its files are complete and the manifest is being written.
                _ => {}
            }
        }
    }

    fn finish_job(&mut self, id: JobId, outcome: Result<(), String>, out: &mut CoordinatorOutput) {
        let Some(job) = self.job.take_if(|job| job.id == id) else { return };
        self.stage = Stage::Idle;
        if !job.is_answered {
            out.results.push((id, outcome));
        }
    }

    // --- Bases -----------------------------------------------------------------------------------------------------

    fn base_done(&mut self, from: ShardId, base: u64, file: BaseFile, first_segment: u64) {
        let Some(snapshot) = self.snapshot.as_mut().filter(|snapshot| snapshot.base == base) else { return };
        snapshot.files[from.0 as usize] = Some((file, first_segment));
        if snapshot.files.iter().all(Option::is_some) {
            let snapshot = self.snapshot.take().expect("just seen");
            self.adopt_base(snapshot);
        }
    }

    /// The new base replaces the old one and every log before its cut.
    fn adopt_base(&mut self, snapshot: Snapshot) {
        let before = self.manifest.files();
        let files: Vec<_> = snapshot.files.into_iter().map(|file| file.expect("all are done")).collect();
        let generation = self.manifest.generations.last_mut().expect("a start opens a generation");
        generation.segments.retain(|segment| segment.id >= files[segment.shard.0 as usize].1);
        if snapshot.log {
            generation.logged = true;
            generation.log_ends = None;
        }
        let current = self.generation;
        self.manifest.generations.retain(|generation| generation.number == current);
        self.manifest.base = Some(Base {
            id: snapshot.base,
            generation: current,
            mode: snapshot.mode,
            format: snapshot.format,
            created_ms: self.now_ms,
            files: files.into_iter().map(|(file, _)| file).collect(),
        });
        let after = self.manifest.files();
        let remove = before.into_iter().filter(|path| !after.contains(path)).collect();
        self.on_next_commit.push(OnCommit::Base { base: snapshot.base, mode: snapshot.mode, log: snapshot.log, remove });
        self.on_next_commit.push(OnCommit::Job(snapshot.job));
        self.waits_from_now();
    }

    fn base_failed(&mut self, base: u64, cause: &str, out: &mut CoordinatorOutput) {
        if self.snapshot.take_if(|snapshot| snapshot.base == base).is_some() {
            self.broadcast(out, |_| Message::BaseAborted { base });
            self.fail_job(cause, out);
        }
    }

    // --- The manifest ----------------------------------------------------------------------------------------------

    fn list(&mut self, segment: SegmentName, bytes: u64, forget: Option<SegmentName>) {
        let generation = self.manifest.generations.last_mut().expect("a start opens a generation");
        assert_eq!(generation.number, segment.generation, "shards list segments of the running generation only");
        if let Some(forget) = forget {
            generation.segments.retain(|entry| (entry.shard, entry.id) != (forget.shard, forget.id));
        }
        generation.segments.push(SegmentEntry { shard: segment.shard, id: segment.id, bytes });
        generation.segments.sort_by_key(|entry| (entry.shard, entry.id));
        self.on_next_commit.push(OnCommit::Listed(segment.shard, segment.id));
    }

    fn write_manifest(&mut self, disk: &mut DiskQueue) {
        if self.on_next_commit.is_empty() || !self.writer.is_idle() {
            return;
        }
        self.on_this_commit = std::mem::take(&mut self.on_next_commit);
        self.writer.start(disk);
    }

    pub fn disk_done(
        &mut self,
        token: u64,
        outcome: Result<Option<FileIdentity>, String>,
        disk: &mut DiskQueue,
        out: &mut CoordinatorOutput,
    ) {
        let Some(written) = self.writer.disk_done(token, outcome, &mut self.manifest, disk) else { return };
        let actions = std::mem::take(&mut self.on_this_commit);
        match written {
            Ok(()) => actions.into_iter().for_each(|action| self.committed(action, out)),
            Err(cause) => {
                let cause = format!("writing the manifest: {cause}");
                self.fault(&cause, out);
                self.fail_job(&cause, out);
            }
        }
    }

    fn committed(&mut self, action: OnCommit, out: &mut CoordinatorOutput) {
        match action {
            OnCommit::Listed(shard, id) => out.messages.push((shard, Message::Listed { id })),
            OnCommit::Base { base, mode, log, remove } => {
                self.logging = log;
                // Each file is removed by one shard; files of shards that are no more, by some other.
                let owner = |path: &String, shard: ShardId| owner_of(path) % self.shards == shard.0;
                self.broadcast(out, |shard| {
                    let remove = remove.iter().filter(|path| owner(path, shard)).cloned().collect();
                    Message::BaseCommitted { base, mode, remove }
                });
            }
            OnCommit::Job(id) => self.finish_job(id, Ok(()), out),
            OnCommit::Nothing => {}
        }
    }

    fn fault(&mut self, cause: &str, out: &mut CoordinatorOutput) {
        if std::mem::replace(&mut self.refusing, true) {
            return;
        }
        // Before anything else: what the page cache holds is no longer to be believed.
        self.manifest.distrusted = true;
        self.on_next_commit.push(OnCommit::Nothing);
        self.broadcast(out, |_| Message::Refuse { cause: cause.to_string() });
        self.durabilities.clear();
        self.abandon(out);
        // A base of which nothing is in the manifest yet ends here. One that is adopted may be named on the disk already.
        if let Some(Snapshot { base, .. }) = self.snapshot {
            self.base_failed(base, cause, out);
        }
        match &self.job {
            // Ends when the manifest has been written: `refuse_stop`.
            Some(CurrentJob { job: Job::Stop, .. }) => self.stage = Stage::Working,
            _ => self.fail_job(cause, out),
        }
    }

    // --- Once per pass -----------------------------------------------------------------------------------------------

    /// `waited_ms`: the time by which a job waits for a disk that does not answer, at most `timeout_ms`.
    pub fn pass(&mut self, now_ms: i64, waited_ms: i64, timeout_ms: i64, disk: &mut DiskQueue, out: &mut CoordinatorOutput) {
        self.now_ms = self.now_ms.max(now_ms);
        self.waited_ms = waited_ms;
        self.closure.advance(|shard, ordered, committed| out.messages.push((shard, Message::Closed { ordered, committed })));
        self.abandon_late_mark(out);
        self.give_up_job(timeout_ms, out);
        if std::mem::take(&mut self.cancels_snapshots) {
            self.cancel(out);
        }
        self.advance_job(out);
        if self.now_ms >= self.next_mark_ms {
            self.next_mark_ms = self.now_ms + EVERYSEC_PERIOD_MS;
            let stands = self.stopped || self.standing || self.ending.is_some();
            let is_due = self.dirty && self.logging && self.mode != FsyncMode::Always && !self.refusing && !stands;
            if is_due && self.barrier.is_none() && !self.changes_mode() {
                let action = BarrierAction::Mark { mode: self.mode, report: self.mode != FsyncMode::No };
                self.start_barrier(action, None, out);
            }
        }
        self.write_manifest(disk);
    }

    /// From asking for the mark of a new mode until it is durable: a periodic mark in between would bring the old mode back.
    fn changes_mode(&self) -> bool {
        matches!(self.job, Some(CurrentJob { job: Job::SetMode(_), .. })) && matches!(self.stage, Stage::Placing | Stage::Working)
    }

    /// When `pass` must be called again at the latest.
    pub fn next_due_ms(&self) -> i64 {
        match &self.barrier {
            Some(barrier) if barrier.job.is_none() => self.next_mark_ms.min(barrier.since_ms + PERIODIC_MARK_PATIENCE_MS + 1),
            _ => self.next_mark_ms,
        }
    }
}

/// The shard number in `shard-0003/…`.
fn owner_of(path: &str) -> u16 {
    path.strip_prefix("shard-").and_then(|rest| rest.get(..4)).and_then(|digits| digits.parse().ok()).unwrap_or(0)
}
