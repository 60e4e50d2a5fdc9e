//! Commands about the server as a whole, answered on shard 0: CONFIG, INFO, MEMORY, CLIENT, SAVE and its kin, EXPORT, SHUTDOWN, DEBUG.
//!
//! Three kinds of waiting, each with a list of what is waited for:
//! * *operations* ask every shard a question and go on when all have told (INFO, CLIENT LIST, new settings);
//! * *jobs* are the coordinator's (a snapshot, a change of mode, the stop);
//! * an export runs on a helper thread.

mod clients;
mod config;
mod debug;
mod export;
mod info;
mod memory;
mod reload;
mod saves;

pub use config::fsync_mode;
pub use export::Exported;
pub use info::resident_memory;
pub use reload::Slots;

use crate::config::Config;
use crate::server::{AdminRequest, Control, Question, ServerMessage, Shared, Told};
use saves::Saves;
use shards::commands::EngineCommand;
use shards::ids::{ConnId, ShardId};
use shards::keyspace::Keyspace;
use shards::recovery::{Crash, Opened};
use shards::resp::{Protocol, Reply};
use shards::shard::Shard;
use shards::transaction::{Job, JobId};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

/// Who asked, and how to answer.
#[derive(Clone, Copy, Debug)]
pub struct Requester {
    home: ShardId,
    conn: ConnId,
    ticket: u64,
    protocol: Protocol,
}

struct Operation {
    missing: usize,
    told: Vec<Told>,
    then: Then,
}

/// What happens when all shards have told.
enum Then {
    Ok(Requester),
    Info(Requester, Vec<String>),
    MemoryStats(Requester),
    MemoryDoctor(Requester),
    ListClients(Requester),
    KilledClients {
        requester: Requester,
        is_old_form: bool,
    },
    /// DEBUG RELOAD: whether keys are in memory and in the files; every shard has taken its keys.
    Compared(Slots),
    Reloaded(Slots),
    Watch,
    Nothing,
}

/// Why a job was started.
enum Purpose {
    Snapshot,
    Config(Box<config::Pending>),
    StandStill(reload::Reload),
    GoOn { requester: Requester, is_ok: bool },
    Stop,
}

/// What the start found, for INFO.
pub struct StartReport {
    pub cut_records: u64,
    pub cut_bytes: u64,
    pub found: String,
    pub crash: &'static str,
    pub mark: Option<u64>,
    pub keys_loaded: u64,
    /// Resident bytes before anything was loaded.
    pub startup_memory: u64,
}

impl StartReport {
    pub fn of(opened: &Opened, startup_memory: u64) -> StartReport {
        let cuts = opened.decision.iter().flat_map(|decision| &decision.cuts);
        let (records, bytes) = cuts.fold((0, 0), |(records, bytes), cut| {
            (records + cut.records, bytes + cut.tail.as_ref().map_or(0, |tail| tail.bytes))
        });
        let decision = opened.decision.as_ref();
        let crash = match decision.map(|decision| &decision.crash) {
            None => "none",
            Some(Crash::Clean) => "clean",
            Some(Crash::Process) => "process",
            Some(Crash::PowerLoss(_)) => "power-loss",
        };
        let mark = decision.and_then(|decision| decision.mark).map(|seq| seq.0);
        let keys_of = |keyspace: &Keyspace| (0..keyspace.databases()).map(|db| keyspace.stats(db).keys).sum::<u64>();
        let keys_loaded = opened.keyspaces.iter().map(keys_of).sum();
        StartReport { cut_records: records, cut_bytes: bytes, found: opened.summary(), crash, mark, keys_loaded, startup_memory }
    }
}

pub struct Admin {
    /// For the loop to send, in this order.
    pub outgoing: Vec<(ShardId, ServerMessage)>,
    pub rejected: u64,
    config: Arc<Config>,
    new_config: Option<Arc<Config>>,
    shared: Arc<Shared>,
    report: StartReport,
    run_id: String,
    operations: HashMap<u64, Operation>,
    jobs: HashMap<JobId, Purpose>,
    next_number: u64,
    saves: Saves,
    shutdown: Option<saves::Shutdown>,
    next_follow_ms: i64,
    /// While files are read back.
    reloading: Option<reload::Reload>,
    cpu: info::CpuClock,
    /// What an export under way has written so far.
    exporting: Option<PathBuf>,
    /// Removed at the end.
    remove_at_exit: Vec<PathBuf>,
}

impl Admin {
    pub fn new(
        config: Arc<Config>,
        shared: Arc<Shared>,
        report: StartReport,
        remove_at_exit: Vec<PathBuf>,
        now_ms: i64,
    ) -> Admin {
        Admin {
            outgoing: Vec::new(),
            rejected: 0,
            config,
            new_config: None,
            shared,
            report,
            run_id: info::random_id(),
            operations: HashMap::new(),
            jobs: HashMap::new(),
            next_number: 1,
            saves: Saves::new(now_ms),
            shutdown: None,
            next_follow_ms: now_ms,
            reloading: None,
            cpu: info::CpuClock::default(),
            exporting: None,
            remove_at_exit,
        }
    }

    /// New settings that the loop has to follow.
    pub fn take_new_config(&mut self) -> Option<Arc<Config>> {
        self.new_config.take()
    }

    pub fn request(&mut self, request: AdminRequest, shard: &mut Shard, now: i64) {
        let requester = Requester { home: request.home, conn: request.conn, ticket: request.ticket, protocol: request.protocol };
        let args: Vec<&[u8]> = request.args.iter().map(Vec::as_slice).collect();
        match request.command {
            EngineCommand::ConfigGet => self.config_get(requester, &args),
            EngineCommand::ConfigSet => self.config_set(requester, &args, request.is_local, shard),
            EngineCommand::ConfigResetStat => {
                self.rejected = 0;
                self.ask(Question::ResetStats, Then::Ok(requester));
            }
            EngineCommand::ConfigRewrite => match self.config.rewrite() {
                Ok(()) => self.ok(requester),
                Err(text) => self.error(requester, &text),
            },
            EngineCommand::Info => {
                let sections = args[1..].iter().map(|arg| String::from_utf8_lossy(arg).to_ascii_lowercase()).collect();
                self.ask(Question::StatsAndCalls, Then::Info(requester, sections));
            }
            EngineCommand::Save => self.save(requester, shard, now),
            EngineCommand::BgSave => self.bgsave(requester, &args, shard, now),
            EngineCommand::BgRewriteAof => self.bgrewriteaof(requester, shard, now),
            EngineCommand::LastSave => {
                let seconds = self.saves.last_save_ms / 1000;
                self.answer(requester, |reply| reply.integer(seconds));
            }
            EngineCommand::Export => self.export(requester, &args, shard, now),
            EngineCommand::Shutdown => self.shutdown_command(requester, &args, shard, now),
            EngineCommand::Debug => self.debug(requester, &args, request.is_local, shard),
            EngineCommand::ClientList => self.client_list(requester, &args),
            EngineCommand::ClientKill => self.client_kill(requester, &args),
            EngineCommand::ClientPause => self.client_pause(requester, &args, now),
            EngineCommand::ClientUnpause => self.ask(Question::Unpause, Then::Ok(requester)),
            EngineCommand::ClientUnblock => self.client_unblock(requester, &args),
            EngineCommand::MemoryStats => self.ask(Question::Stats, Then::MemoryStats(requester)),
            EngineCommand::MemoryDoctor => self.ask(Question::Stats, Then::MemoryDoctor(requester)),
            EngineCommand::MemoryMallocStats => self.memory_malloc_stats(requester),
            // mimalloc gives free pages back by itself.
            EngineCommand::MemoryPurge => self.ok(requester),
            EngineCommand::Scan | EngineCommand::RandomKey => unreachable!("the engine runs these itself"),
        }
    }

    pub fn control(&mut self, control: Control, shard: &mut Shard, now: i64) {
        match control {
            Control::Signal(name) => self.signal(name, shard, now),
            Control::Exported { id, outcome } => self.exported(id, outcome, shard, now),
            Control::ReadBack(outcome) => self.was_read_back(outcome, shard),
        }
    }

    pub fn job_done(&mut self, job: JobId, outcome: Result<(), String>, shard: &mut Shard, now: i64) {
        match self.jobs.remove(&job) {
            Some(Purpose::Snapshot) => self.snapshot_done(outcome, shard, now),
            Some(Purpose::Config(pending)) => self.config_job_done(*pending, outcome, shard),
            Some(Purpose::StandStill(reload)) => self.stands_still(reload, outcome, shard, now),
            Some(Purpose::GoOn { requester, is_ok }) => self.goes_on(requester, is_ok),
            Some(Purpose::Stop) => self.stopped(outcome, shard),
            None => {}
        }
    }

    /// Once per pass.
    pub fn tick(&mut self, shard: &mut Shard, now: i64) {
        self.watch_saves(shard, now);
        self.watch_shutdown(now);
        self.follow_log(shard, now);
    }

    // --- Answers -----------------------------------------------------------------------------------------------------

    fn answer(&mut self, requester: Requester, write: impl FnOnce(&mut Reply<'_>)) {
        let mut bytes = Vec::new();
        write(&mut Reply::new(&mut bytes, requester.protocol));
        let answer = ServerMessage::Answer { conn: requester.conn, ticket: requester.ticket, bytes };
        self.outgoing.push((requester.home, answer));
    }

    fn ok(&mut self, requester: Requester) {
        self.answer(requester, |reply| reply.ok());
    }

    fn error(&mut self, requester: Requester, text: &str) {
        self.answer(requester, |reply| reply.error(text));
    }

    // --- Asking all shards ---------------------------------------------------------------------------------------------

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    fn ask(&mut self, question: Question, then: Then) {
        let operation = self.number();
        let shards = self.shared.shards;
        self.operations.insert(operation, Operation { missing: shards as usize, told: Vec::new(), then });
        for shard in (0..shards).map(ShardId) {
            self.outgoing.push((shard, ServerMessage::Ask { operation, question: question.clone() }));
        }
    }

    pub fn told(&mut self, operation: u64, answer: Told, shard: &mut Shard, now: i64) {
        let Some(entry) = self.operations.get_mut(&operation) else { return };
        entry.told.push(answer);
        entry.missing -= 1;
        if entry.missing > 0 {
            return;
        }
        let Operation { told, then, .. } = self.operations.remove(&operation).expect("just seen");
        match then {
            Then::Ok(requester) => self.ok(requester),
            Then::Info(requester, sections) => self.info(requester, &sections, &told, shard, now),
            Then::MemoryStats(requester) => self.memory_stats(requester, &told),
            Then::MemoryDoctor(requester) => self.memory_doctor(requester, &told),
            Then::ListClients(requester) => self.clients_listed(requester, told),
            Then::KilledClients { requester, is_old_form } => self.clients_killed(requester, is_old_form, &told),
            Then::Compared(slots) => self.compared(slots, &told, shard),
            Then::Reloaded(slots) => self.keys_taken(slots, shard),
            Then::Watch => self.watched(&told, shard, now),
            Then::Nothing => {}
        }
    }

    fn start_job(&mut self, job: Job, purpose: Purpose, shard: &mut Shard) {
        let id = self.number();
        self.jobs.insert(id, purpose);
        shard.start_job(id, job);
    }
}

/// An argument as text, for words that are ASCII.
fn word(arg: &[u8]) -> String {
    String::from_utf8_lossy(arg).to_ascii_lowercase()
}

fn integer(arg: &[u8]) -> Option<i64> {
    shards::resp::parse_integer(arg)
}
