//! From a configuration to running shards: lock the directory, load, log what was found, start one thread per shard.

use crate::admin::{Admin, StartReport};
use crate::config::{Config, RecoveryAssume};
use crate::mailbox::{Receiver, Sender, Sleeper, channel};
use crate::server::listener::{Admission, Listener};
use crate::server::shard_loop::{Head, Parts, WAKER, now_ms};
use crate::server::{Control, Shared};
use crate::{journal, machine, runtime};
use rustix::fs::{FlockOperation, flock};
use shardis_tool::disk::StdDisk;
use shards::commands::Names;
use shards::ids::ShardId;
use shards::log::writer::SegmentBytes;
use shards::manifest::BaseFormat;
use shards::recovery::{Assume, Found, OpenOptions, Opened, Parallel, open};
use shards::shard::{Settings, Start};
use shards::transaction::{Coordinator, Message};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const LOCK: &str = "shardis.lock";
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// Held as long as the process lives.
pub struct DirectoryLock(#[expect(dead_code)] File);

/// A second server on the same directory would write into the first one's files.
pub fn lock_directory(dir: &Path) -> Result<DirectoryLock, String> {
    let path = dir.join(LOCK);
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|error| format!("opening {}: {error}", path.display()))?;
    let begun = Instant::now();
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            // A process that was killed may hold it for a moment, while the kernel takes its memory apart.
            Err(rustix::io::Errno::WOULDBLOCK) if begun.elapsed() < LOCK_PATIENCE => std::thread::sleep(LOCK_PATIENCE / 40),
            result => return locked(result, file, dir, &path),
        }
    }
}

fn locked(result: Result<(), rustix::io::Errno>, file: File, dir: &Path, path: &Path) -> Result<DirectoryLock, String> {
    match result {
        Ok(()) => Ok(DirectoryLock(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(format!(
            "another server uses the data directory {} (it holds {LOCK}). Stop it, or give this one another directory with --dir",
            dir.display()
        )),
        Err(error) => Err(format!("locking {}: {}", path.display(), std::io::Error::from(error))),
    }
}

pub struct Threads;

impl Parallel for Threads {
    fn run<'a>(&self, jobs: Vec<Box<dyn FnOnce() + Send + 'a>>) {
        let workers = machine::affinity().len().min(jobs.len()).max(1);
        let queue = Mutex::new(jobs);
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    loop {
                        let job = queue.lock().expect("no holder panics").pop();
                        match job {
                            Some(job) => job(),
                            None => return,
                        }
                    }
                });
            }
        });
    }
}

fn random_u64() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(now_ms())
}

pub fn load(config: &Config, dir: &Path, shards: u16, hash_seed: u64) -> Result<Opened, String> {
    let disk = StdDisk::new(dir);
    let options = OpenOptions {
        shards,
        databases: databases(config),
        mode: crate::admin::fsync_mode(config),
        logged: config.flag("appendonly"),
        assume: match config.recovery_assume() {
            RecoveryAssume::Auto => Assume::Auto,
            RecoveryAssume::ProcessCrash => Assume::ProcessCrash,
            RecoveryAssume::PowerLoss => Assume::PowerLoss,
        },
        dbfilename: config.text("dbfilename"),
        appendfilename: config.text("appendfilename"),
        appenddirname: config.text("appenddirname"),
        load_truncated: config.flag("aof-load-truncated"),
        names: names(config),
        base_format: if config.flag("aof-use-rdb-preamble") { BaseFormat::Rdb } else { BaseFormat::Commands },
        hash_seed,
        limits: config.limits(),
        now_ms: now_ms(),
    };
    let begun = Instant::now();
    let opened = open(&disk, &options, &Threads).map_err(|error| error.to_string())?;
    report(&opened, begun.elapsed().as_secs_f64());
    Ok(opened)
}

fn names(config: &Config) -> Names {
    config.command_names().expect("checked when the configuration was read")
}

fn databases(config: &Config) -> u16 {
    config.number::<u32>("databases").min(u16::MAX as u32) as u16
}

fn report(opened: &Opened, seconds: f64) {
    journal::notice(&format!("DB loaded: {}: {seconds:.3} seconds, {} bytes kept", opened.summary(), opened.kept_bytes));
    for cut in opened.decision.iter().flat_map(|decision| &decision.cuts) {
        if cut.records > 0 {
            journal::warning(&format!("{}: {} records behind the last whole state were cut off", cut.shard, cut.records));
        }
        if let Some(tail) = &cut.tail {
            journal::warning(&format!(
                "{} @ {}: {} bytes were cut off ({}): {}",
                tail.path, tail.offset, tail.bytes, cut.shard, tail.reason
            ));
        }
    }
    if let Some((path, end)) = &opened.import_cut
        && let Some(cut) = end.cut
    {
        journal::warning(&format!("{path} @ {}: its end was torn and is not loaded: {cut}", end.valid_bytes));
    }
    for what in &opened.left_out {
        journal::warning(&format!("{what}: not loaded, there is no place for it here. It stays in the file"));
    }
    for path in &opened.ignored {
        let why = "the server's own files are newer; move shardis.manifest and shard-* away to start from it";
        journal::warning(&format!("{path} lies in the data directory but was not read: {why}"));
    }
    for path in &opened.removed {
        journal::verbose(&format!("{path} belonged to nothing and was removed"));
    }
    if opened.found == Found::Nothing {
        journal::notice("The data directory was empty");
    }
}

pub struct Server {
    pub shared: Arc<Shared>,
    threads: Vec<runtime::Thread>,
}

/// One ring from each shard to each other.
type Mailboxes = Vec<(Vec<Option<Sender<Message>>>, Vec<Option<Receiver<Message>>>)>;

fn mailboxes(sleepers: &[Arc<Sleeper>]) -> Mailboxes {
    let shards = sleepers.len();
    let mut boxes: Mailboxes =
        (0..shards).map(|_| ((0..shards).map(|_| None).collect(), (0..shards).map(|_| None).collect())).collect();
    for from in 0..shards {
        for to in (0..shards).filter(|&to| to != from) {
            let (sender, receiver) = channel(sleepers[to].clone());
            boxes[from].0[to] = Some(sender);
            boxes[to].1[from] = Some(receiver);
        }
    }
    boxes
}

pub struct Plan {
    pub config: Arc<Config>,
    pub dir: PathBuf,
    pub cpus: Vec<usize>,
    pub listeners: Vec<Listener>,
    pub opened: Opened,
    pub remove_at_exit: Vec<PathBuf>,
    pub hash_seed: u64,
    /// Resident bytes before anything was loaded.
    pub startup_memory: u64,
}

pub fn hash_seed() -> u64 {
    random_u64()
}

pub fn start(plan: Plan) -> Result<Server, String> {
    let Plan { config, dir, cpus, listeners, mut opened, remove_at_exit, hash_seed, startup_memory } = plan;
    let shards = cpus.len() as u16;
    let failed = |error: std::io::Error| format!("making an epoll set: {error}");
    let polls = cpus.iter().map(|_| mio::Poll::new()).collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let mut sleepers = Vec::new();
    for poll in &polls {
        let waker = mio::Waker::new(poll.registry(), WAKER).map_err(failed)?;
        sleepers.push(Arc::new(Sleeper::new(waker)));
    }
    let shared = Arc::new(Shared {
        dir,
        shards,
        sleepers,
        clients: cpus.iter().map(|_| AtomicUsize::new(0)).collect(),
        next_conn: AtomicU64::new(1),
        started: Instant::now(),
        hash_seed,
        controls: Mutex::default(),
    });
    let now = now_ms();
    let report = StartReport::of(&opened, startup_memory);
    let admin = Admin::new(config.clone(), shared.clone(), report, remove_at_exit, now);
    let mut head = Some(Head::new(admin, listeners, Admission::of(&config)));
    let generation = opened.manifest.generations.last().expect("a start opens a generation").number;
    let mut coordinator = Some(Coordinator::new(opened.manifest, now));
    let mut threads = Vec::new();
    let keyspaces = std::mem::take(&mut opened.keyspaces);
    let parts = cpus.iter().zip(polls).zip(keyspaces).zip(mailboxes(&shared.sleepers));
    for (index, (((&cpu, poll), keyspace), (senders, receivers))) in parts.enumerate() {
        let start = Start {
            id: ShardId(index as u16),
            shards,
            generation,
            mode: crate::admin::fsync_mode(&config),
            logged: config.flag("appendonly"),
            keyspace,
            settings: Settings { databases: databases(&config), names: names(&config), ..Settings::default() },
            segment_bytes: SegmentBytes::within(config.number("log-prepare-bytes"), shards),
            seed: random_u64().wrapping_add(index as u64),
            now_ms: now,
            coordinator: coordinator.take(),
        };
        let parts = Parts { start, poll, senders, receivers, shared: shared.clone(), config: config.clone(), head: head.take() };
        let name = format!("shard-{index}");
        threads.push(runtime::spawn_pinned(&name, cpu, move || crate::server::shard_loop::run(parts))?);
    }
    Ok(Server { shared, threads })
}

impl Server {
    /// Signals become an orderly stop.
    pub fn watch_signals(&self) -> Result<(), String> {
        use signal_hook::consts::{SIGINT, SIGTERM};
        let shared = self.shared.clone();
        let mut signals =
            signal_hook::iterator::Signals::new([SIGTERM, SIGINT]).map_err(|error| format!("watching signals: {error}"))?;
        let watch = move || {
            for signal in signals.forever() {
                shared.control(Control::Signal(if signal == SIGINT { "SIGINT" } else { "SIGTERM" }));
            }
        };
        let thread = std::thread::Builder::new().name("signals".into()).spawn(watch);
        thread.map(drop).map_err(|error| format!("watching signals: {error}"))
    }

    /// Returns only when a shard has failed, whichever it is: an orderly stop ends the process.
    pub fn join(self) -> String {
        let (ended, first) = std::sync::mpsc::channel();
        for (shard, thread) in self.threads.into_iter().enumerate() {
            let ended = ended.clone();
            // An executor that could not be made says so only to who joins its thread.
            std::thread::spawn(move || {
                let cause = thread.join().err().unwrap_or_else(|| "it has ended".into());
                _ = ended.send(format!("{}: {cause}", ShardId(shard as u16)));
            });
        }
        first.recv().unwrap_or_else(|_| "all shards have ended".into())
    }
}
