//! N shards, their coordinator, their messages and the simulated disk, in one thread, driven by one seed.

use crate::disk::{CRASH, CrashKind, SimDisk};
use shards::commands::{Session, iter_bytes};
use shards::disk::{DiskOp, DiskOwner, DiskRequest};
use shards::ids::{ConnId, Generation, Lsn, Seq, ShardId};
use shards::keyspace::KeyspaceOptions;
use shards::log::FsyncMode;
use shards::log::format::{FRAME_HEADER_BYTES, HEADER_BYTES, MAGIC, Record, decode_frame_header, take_record};
use shards::log::writer::SegmentBytes;
use shards::manifest::{BaseFormat, Manifest};
use shards::rdb::values::{VERSION_ALL, encode_value};
use shards::rdb::writer::Compression;
use shards::recovery::{Assume, Found, OpenOptions, Opened, Sequential, decide, load, look, open, read_back};
use shards::shard::{Settings, Shard, Start};
use shards::transaction::{Coordinator, Message};
use shards::types::{BIG_STRING_BYTES, Limits, Value};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub const DATABASES: u16 = 2;

/// One record that was handed to the disk, as the oracle remembers it.
#[derive(Clone, Debug)]
pub struct Written {
    pub seq: Option<(Seq, Vec<ShardId>)>,
    pub effects: Vec<u8>,
}

/// What one generation of shards has logged: per shard, by LSN.
#[derive(Clone, Debug, Default)]
pub struct History {
    pub records: Vec<BTreeMap<Lsn, Written>>,
    /// Of the newest transaction in each log.
    last_seq: Vec<Seq>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stuck {
    Everything,
    Syncs,
}

pub struct World {
    pub disk: SimDisk,
    pub random: fastrand::Rng,
    pub now_ms: i64,
    pub shards: Vec<Shard>,
    pub generation: Generation,
    pub history: History,
    pub mode: FsyncMode,
    pub logged: bool,
    pub format: BaseFormat,
    pub settings: Settings,
    links: BTreeMap<(usize, usize), VecDeque<Vec<Message>>>,
    pending: Vec<(usize, DiskRequest)>,
    pub results: Vec<(u64, Result<(), String>)>,
    /// The operation that fails, counted from now: a write or sync of a log, or any one with `fault_anywhere`.
    pub fault_in: Option<u32>,
    pub fault_anywhere: bool,
    /// … or only a sync of a log.
    pub fault_of_syncs: bool,
    /// Whose operation has failed in this generation.
    pub fault: Option<DiskOwner>,
    /// … which was to remove a file that is no longer needed.
    pub removal_failed: bool,
    /// This shard gets a turn, and its disk completes, only now and then.
    pub slow: Option<usize>,
    /// This shard's disk completes nothing, or no syncs.
    pub stuck: Option<(usize, Stuck)>,
    /// Of the crashed generation, as the starts since then have decided.
    pub ends: Option<Vec<Lsn>>,
    /// What has happened, for `WANTED`.
    pub seen: BTreeSet<String>,
    /// The newest base that has been compared with the state at its cut.
    pub checked_base: u64,
}

const KEYSPACE: KeyspaceOptions = KeyspaceOptions { databases: DATABASES, hash_seed: 7, limits: Limits::DEFAULT };

impl World {
    pub fn new(seed: u64, mode: FsyncMode, logged: bool) -> World {
        let mut random = fastrand::Rng::with_seed(seed);
        World {
            disk: SimDisk::new(random.u64(..)),
            random,
            now_ms: 1_700_000_000_000,
            shards: Vec::new(),
            generation: Generation(0),
            history: History::default(),
            mode,
            logged,
            format: BaseFormat::Rdb,
            settings: Settings::default(),
            links: BTreeMap::new(),
            pending: Vec::new(),
            results: Vec::new(),
            fault_in: None,
            fault_anywhere: false,
            fault_of_syncs: false,
            fault: None,
            removal_failed: false,
            slow: None,
            stuck: None,
            ends: None,
            checked_base: 0,
            seen: BTreeSet::new(),
        }
    }

    fn options(&self, shards: u16) -> OpenOptions<'static> {
        OpenOptions {
            shards,
            databases: DATABASES,
            mode: self.mode,
            logged: self.logged,
            assume: Assume::Auto,
            dbfilename: "dump.rdb",
            appendfilename: "appendonly.aof",
            appenddirname: "appendonlydir",
            load_truncated: true,
            names: shards::commands::Names::TABLE,
            base_format: self.format,
            hash_seed: 7,
            limits: Limits::default(),
            now_ms: self.now_ms,
        }
    }

    /// A start. Err: it stopped with this error (never because of a simulated crash: those are taken, the start is repeated, and `worst`
    /// becomes a power loss when one of them was).
    pub fn start(&mut self, shards: u16, worst: &mut CrashKind) -> Result<Opened, String> {
        loop {
            let crash_point = self.random.usize(0..200);
            self.note_decision(shards);
            self.disk.crash_after((crash_point < 60).then_some(crash_point));
            match open(&self.disk, &self.options(shards), &Sequential) {
                Ok(opened) => {
                    self.disk.crash_after(None);
                    return Ok(opened);
                }
                Err(error) if error.cause == CRASH => {
                    let kind = if self.random.bool() { CrashKind::Process } else { CrashKind::Power };
                    if kind == CrashKind::Power {
                        *worst = kind;
                    }
                    self.disk.crash(kind, Vec::new());
                }
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    /// What this start decides about the generation that crashed. A start that crashes behind its commit may have dropped or rewritten it:
    /// then what it decided holds.
    fn note_decision(&mut self, shards: u16) {
        let Ok(Found::Manifest(manifest)) = look(&self.disk, &self.options(shards)) else { return };
        let Ok(decision) = decide(&self.disk, &manifest, Assume::Auto) else { return };
        if let Some(ends) = decision.ends_of(self.generation) {
            self.ends = Some(ends.ends.clone());
        }
    }

    pub fn run(&mut self, opened: Opened) {
        self.ends = None;
        self.checked_base = opened.manifest.base.as_ref().map_or(0, |base| base.id);
        let manifest = opened.manifest;
        let count = opened.keyspaces.len() as u16;
        self.generation = manifest.generations.last().expect("a start opens a generation").number;
        self.history = History { records: vec![BTreeMap::new(); count as usize], last_seq: vec![Seq(0); count as usize] };
        self.links.clear();
        self.pending.clear();
        self.results.clear();
        self.fault = None;
        self.removal_failed = false;
        let mut coordinator = Some(Coordinator::new(manifest, self.now_ms));
        self.shards = (0..count)
            .zip(opened.keyspaces)
            .map(|(id, keyspace)| {
                Shard::new(Start {
                    id: ShardId(id),
                    shards: count,
                    generation: self.generation,
                    mode: self.mode,
                    logged: self.logged,
                    keyspace,
                    settings: self.settings.clone(),
                    // Small, so that logs rotate often.
                    segment_bytes: SegmentBytes { min: 8192, max: 16384 },
                    seed: self.random.u64(..),
                    now_ms: self.now_ms,
                    coordinator: coordinator.take(),
                })
            })
            .collect();
    }

    fn saw(&mut self, what: &str) {
        if !self.seen.contains(what) {
            self.seen.insert(what.to_string());
        }
    }

    /// While everything stands still: the files hold exactly what is in memory, and their keys are taken.
    pub fn reload(&mut self) {
        let count = self.shards.len() as u16;
        let read = match read_back(&self.disk, count, KEYSPACE, &Sequential) {
            Ok(keyspaces) => keyspaces,
            Err(error) if error.cause == "nothing has been saved yet" => return,
            Err(error) => panic!("reading back: {error}"),
        };
        for (shard, keyspace) in self.shards.iter_mut().zip(read) {
            let found = contents(std::slice::from_ref(&keyspace));
            // Without a log it is the last base that is read.
            if shard.log().enabled() {
                assert_eq!(contents(std::slice::from_ref(shard.keyspace())), found, "{}", shard.describe());
                shard.replace_keyspace(keyspace);
            }
        }
    }

    pub fn crash(&mut self, kind: CrashKind) {
        self.stuck = None;
        if self.shards.iter().any(|shard| shard.stats.expired_keys > 0) {
            self.saw("an expired key");
        }
        // Before that nobody could tell: a named limit.
        if self.has_recorded_fault() {
            self.disk.evict();
        }
        self.shards.clear();
        self.links.clear();
        let pending = std::mem::take(&mut self.pending);
        self.disk.crash(kind, pending);
    }

    pub fn has_recorded_fault(&self) -> bool {
        self.shards.first().is_some_and(|shard| shard.coordinator().is_some_and(Coordinator::has_recorded_fault))
    }

    pub fn connect(&mut self, conn: ConnId, home: usize) {
        self.shards[home].connect(Session { id: conn, authenticated: true, ..Session::default() });
    }

    /// One random step; false when nothing at all is under way.
    pub fn step(&mut self) -> bool {
        match self.random.u32(0..100) {
            0..45 => self.pass(),
            45..75 => self.deliver(),
            75..97 => self.complete(),
            _ => self.now_ms += self.random.i64(0..40),
        }
        true
    }

    /// True when neither messages nor disk operations are under way.
    pub fn is_quiet(&self) -> bool {
        self.pending.is_empty() && self.links.values().all(VecDeque::is_empty) && !self.shards.iter().any(Shard::is_busy)
    }

    fn pass(&mut self) {
        let shard = self.random.usize(0..self.shards.len());
        if !self.is_left_out(shard) {
            self.pass_of(shard);
        }
    }

    pub fn pass_of(&mut self, index: usize) {
        self.shards[index].end_pass(self.now_ms);
        if self.shards[index].keyspace_mut().walk_sink().is_some() {
            self.saw("a walk of several steps");
        }
        let mut requests = self.shards[index].take_disk_requests();
        if self.stuck != Some((index, Stuck::Everything)) && self.random.bool() {
            // As the server does with small writes of the log: at once, and the pass ends again before its messages leave.
            let is_log = |request: &DiskRequest| {
                DiskOwner::of(request.token) == DiskOwner::Log && matches!(request.op, DiskOp::Write { .. })
            };
            for request in requests.extract_if(.., |request| is_log(request)).collect::<Vec<_>>() {
                self.observe(index, &request);
                self.perform(index, &request);
            }
            self.shards[index].end_pass(self.now_ms);
            requests.append(&mut self.shards[index].take_disk_requests());
        }
        for to in 0..self.shards.len() {
            let batch = self.shards[index].take_messages(ShardId(to as u16));
            if !batch.is_empty() {
                self.links.entry((index, to)).or_default().push_back(batch);
            }
        }
        self.results.extend(self.shards[index].take_results());
        for request in requests {
            self.observe(index, &request);
            self.pending.push((index, request));
        }
    }

    fn deliver(&mut self) {
        let waiting: Vec<_> = self.links.iter().filter(|(_, queue)| !queue.is_empty()).map(|(link, _)| *link).collect();
        if waiting.is_empty() {
            return;
        }
        let (from, to) = waiting[self.random.usize(0..waiting.len())];
        let batch = self.links.get_mut(&(from, to)).and_then(VecDeque::pop_front).expect("just seen");
        self.shards[to].begin_pass(self.now_ms);
        self.shards[to].receive(ShardId(from as u16), batch);
    }

    fn complete(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let at = self.random.usize(0..self.pending.len());
        if self.is_stuck(self.pending[at].0, &self.pending[at].1.op) || self.is_left_out(self.pending[at].0) || self.is_used(at) {
            return;
        }
        let (shard, request) = self.pending.swap_remove(at);
        self.perform(shard, &request);
    }

    fn perform(&mut self, shard: usize, request: &DiskRequest) {
        let result = if self.fails_now(request) { self.disk.fail(shard, request) } else { self.disk.perform(shard, request) };
        if let Err(cause) = &result.outcome
            && self.fault.is_none()
        {
            panic!("the disk makes no faults here: {cause}");
        }
        self.shards[shard].disk_done(result);
    }

    fn is_stuck(&self, shard: usize, op: &DiskOp) -> bool {
        match self.stuck {
            Some((stuck, what)) if stuck == shard => what == Stuck::Everything || matches!(op, DiskOp::Sync { .. }),
            _ => false,
        }
    }

    fn is_left_out(&mut self, shard: usize) -> bool {
        self.slow == Some(shard) && self.random.u8(0..20) != 0
    }

    fn fails_now(&mut self, request: &DiskRequest) -> bool {
        let owner = DiskOwner::of(request.token);
        let may_fail = match request.op {
            DiskOp::Close { .. } => false,
            _ if self.fault_anywhere => true,
            DiskOp::Write { .. } if self.fault_of_syncs => false,
            DiskOp::Write { .. } | DiskOp::Sync { .. } => owner == DiskOwner::Log,
            _ => false,
        };
        let Some(left) = self.fault_in.as_mut().filter(|_| may_fail) else { return false };
        if *left > 0 {
            *left -= 1;
            return false;
        }
        self.fault_in = None;
        self.fault = Some(owner);
        self.removal_failed = matches!(request.op, DiskOp::Remove { .. });
        self.saw(&format!("a fault of {owner:?}"));
        true
    }

    /// A shard that refuses writes after a fault.
    pub fn refuses(&self) -> bool {
        self.shards.iter().any(|shard| shard.refusing().is_some())
    }

    /// A file is closed when the last request that uses it is over.
    fn is_used(&self, close: usize) -> bool {
        let (shard, DiskRequest { op: DiskOp::Close { file }, .. }) = &self.pending[close] else { return false };
        self.pending.iter().any(|(other, request)| {
            let uses = matches!(&request.op, DiskOp::Write { file: used, .. } | DiskOp::Sync { file: used } if used == file);
            other == shard && uses
        })
    }

    /// Remembers the records of frames on their way to the disk.
    fn observe(&mut self, shard: usize, request: &DiskRequest) {
        let DiskOp::Write { offset, data, .. } = &request.op else { return };
        let is_log = DiskOwner::of(request.token) == DiskOwner::Log;
        if !is_log || data.starts_with(MAGIC) || (*offset as usize) < HEADER_BYTES {
            return;
        }
        let mut rest = &data[..];
        // A durable segment's write begins with the tail of an earlier frame: look for frames from there on.
        while rest.len() > FRAME_HEADER_BYTES {
            if self.take_frame(shard, rest).is_none() {
                rest = &rest[1..];
                continue;
            }
            let header = decode_frame_header(rest).expect("just decoded");
            rest = &rest[FRAME_HEADER_BYTES + header.payload_bytes..];
        }
    }

    fn take_frame(&mut self, shard: usize, bytes: &[u8]) -> Option<()> {
        let header = decode_frame_header(bytes)?;
        // Only what continues the log: anything else is a coincidence or known already.
        let expected = self.history.records[shard].keys().next_back().map_or(1, |last| last.0 + 1);
        if header.first_lsn != Lsn(expected) {
            return None;
        }
        let mut payload = bytes.get(FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + header.payload_bytes)?;
        let mut records = Vec::new();
        while !payload.is_empty() {
            let written = match take_record(&mut payload)? {
                Record::Write { effects } => Written { seq: None, effects: effects.to_vec() },
                Record::Transaction { seq, participants, effects } => {
                    Written { seq: Some((seq, participants)), effects: effects.to_vec() }
                }
                Record::Mark { .. } | Record::End { .. } => Written { seq: None, effects: Vec::new() },
            };
            records.push(written);
        }
        if records.len() != header.records as usize {
            return None;
        }
        for (index, written) in records.into_iter().enumerate() {
            iter_bytes(&written.effects).for_each(|(_, resp)| self.saw(effect_name(resp)));
            assert_eq!(iter_bytes(&written.effects).map(|(_, resp)| resp.len() + 6).sum::<usize>(), written.effects.len());
            if let Some((seq, _)) = &written.seq {
                // On every shard the same order: so all logs hold the transactions that they share in the same one.
                let last = &mut self.history.last_seq[shard];
                assert!(*last < *seq, "transaction {} stands behind {} in the log of shard {shard}", seq.0, last.0);
                *last = *seq;
            }
            self.history.records[shard].insert(Lsn(header.first_lsn.0 + index as u64), written);
        }
        Some(())
    }

    /// Runs until nothing is under way, with every shard passing; panics when that never happens.
    pub fn settle(&mut self) {
        for _ in 0..20_000 {
            for shard in 0..self.shards.len() {
                self.pass_of(shard);
            }
            if self.is_quiet() {
                return;
            }
            for _ in 0..4 {
                self.deliver();
                self.complete();
            }
        }
        panic!("messages and disk operations never end");
    }

    /// A base that is complete and has not been checked: its number, the cut on each shard, and what its files hold.
    pub fn new_base(&mut self) -> Option<(Vec<Lsn>, Contents)> {
        let coordinator = self.shards[0].coordinator().expect("shard 0");
        let base = coordinator.manifest().base.as_ref().filter(|base| base.id != self.checked_base)?;
        let cuts: Vec<Lsn> = base.files.iter().map(|file| file.cut).collect();
        let is_known = cuts.iter().zip(&self.history.records).all(|(cut, records)| cut.0 == 0 || records.contains_key(cut));
        if !is_known {
            return None; // Not handed to the disk yet.
        }
        let number = base.id;
        let alone = Manifest { generations: Vec::new(), ..coordinator.manifest().clone() };
        let decision = decide(&self.disk, &alone, Assume::ProcessCrash).expect("no log to decide about");
        let shards = cuts.len() as u16;
        let keyspaces = load(&self.disk, &alone, &decision, shards, KEYSPACE, &Sequential).expect("a complete base");
        self.checked_base = number;
        self.saw("a base compared with its cut");
        Some((cuts, contents(&keyspaces)))
    }

    /// The manifest on the disk.
    pub fn written_manifest(&self) -> Manifest {
        match look(&self.disk, &self.options(self.shards.len() as u16)).expect("a manifest") {
            Found::Manifest(manifest) => *manifest,
            _ => panic!("no manifest"),
        }
    }

    /// Files of bases that neither the manifest names nor a shard writes.
    pub fn leftover_bases(&self) -> usize {
        let listed = self.written_manifest().files();
        let is_leftover = |(path, _): &(String, usize)| path.contains("/base-") && !listed.contains(path);
        self.disk.files().iter().filter(|file| is_leftover(file)).count()
    }

    pub fn is_ready(&self) -> bool {
        self.shards.iter().all(Shard::is_ready)
    }
}

/// What some hundred seeds must have done: otherwise a workload has lost what it is for.
pub const WANTED: [&str; 22] = [
    "APPEND",
    "COPY",
    "DEL",
    "FLUSHDB",
    "INCRBY",
    "MOVE",
    "PERSIST",
    "PEXPIREAT",
    "RENAME",
    "RESTORE",
    "SET",
    "SETBIT",
    "SETRANGE",
    "SWAPDB",
    "a base compared with its cut",
    "a big value",
    "a fault of Coordinator",
    "a fault of Log",
    "a fault of Snapshot",
    "a walk of several steps",
    "an expired key",
    "a failed base",
];

/// The name of an effect, as RESP; a value of more than 64 KiB counts for itself.
fn effect_name(resp: &[u8]) -> &str {
    if resp.len() > BIG_STRING_BYTES {
        return "a big value";
    }
    let words = resp.split(|&byte| byte == b'\n').nth(2).expect("a name");
    std::str::from_utf8(&words[..words.len() - 1]).expect("names are text")
}

/// Value and expiry by database and key.
pub type Contents = BTreeMap<(u16, Vec<u8>), (Value, Option<i64>)>;

/// All that a value holds, as bytes in which tokens can be found.
pub fn text_of(value: &Value) -> Vec<u8> {
    let mut text = Vec::new();
    encode_value(&mut text, value, VERSION_ALL, Compression::Off);
    text
}

/// Everything a keyspace holds, expired or not, for comparison.
pub fn contents(keyspaces: &[shards::keyspace::Keyspace]) -> Contents {
    let mut all = Contents::new();
    for keyspace in keyspaces {
        for db in 0..keyspace.databases() {
            let mut cursor = 0;
            loop {
                cursor = keyspace.scan(db, cursor, 100, &mut |key, value, expire_at_ms| {
                    all.insert((db, key.to_vec()), (value.clone(), expire_at_ms));
                });
                if cursor == 0 {
                    break;
                }
            }
        }
    }
    all
}
