//! What clients do, and what they were told.

use crate::families::wide_command;
use crate::world::World;
use shards::ids::{ConnId, Lsn, ShardId, Slot};
use shards::log::FsyncMode;
use shards::log::format::{FRAME_HEADER_BYTES, push_end, seal_frame};
use shards::manifest::BaseFormat;
use shards::shard::Submit;
use shards::transaction::Job;
use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};

/// The default of `commit-timeout-ms`.
pub const PATIENT_MS: i64 = 10_000;

/// A seed's parameters.
#[derive(Clone, Debug)]
pub struct Plan {
    pub shards: u16,
    pub clients: usize,
    pub mode: FsyncMode,
    pub format: BaseFormat,
    /// Steps before each crash.
    pub crashes: Vec<(usize, bool)>,
    pub keys: usize,
    pub changes_mode: bool,
    pub snapshots: bool,
    /// Files are read back while everything stands still, and their keys taken. Not drawn from the seed: other seeds keep their meaning.
    pub reloads: bool,
    pub changes_shards: bool,
    /// Every write has a key of its own, so that the state alone tells which writes are there: for runs in which the log is off for a while.
    pub unique_keys: bool,
    pub logged: bool,
    pub toggles_log: bool,
    /// `appendfsync` changes all the time.
    pub restless: bool,
    /// One shard is slow.
    pub slow_shard: bool,
    /// Little else than SET and COPY.
    pub copies: bool,
    /// Little else than MSET over two of four shards.
    pub chains: bool,
    /// Only SET and GET, one at a time.
    pub singles: bool,
    /// All keys belong to this shard (true), or none (false).
    pub of_shard: Option<(u16, bool)>,
    /// Values hold bytes that look like a frame of the log, but for the segment's seed.
    pub imitations: bool,
    /// A log write or sync fails, once in each generation but the last.
    pub faults: bool,
    /// … or any other disk operation.
    pub faults_anywhere: bool,
    /// Keys get and lose deadlines.
    pub expiry: bool,
    /// … and are deleted only when they are met.
    pub lazy_expiry: bool,
    /// Two databases; FLUSHDB, FLUSHALL, SWAPDB, MOVE.
    pub databases: bool,
    /// Values above the size from which they are kept and saved in pieces.
    pub big_values: bool,
    /// Effects that depend on the value before: APPEND, SETRANGE, INCR, BITOP.
    pub dependent: bool,
    /// Lists, sets, hashes, sorted sets, streams.
    pub collections: bool,
    /// Readers of the whole keyspace: KEYS, SCAN, RANDOMKEY.
    pub scans: bool,
    /// So many keys that a walk takes several steps.
    pub many_keys: bool,
    /// `pipeline-order relaxed`.
    pub relaxed: bool,
    /// `commit-timeout-ms`: so short that a disk of normal speed exceeds it now and then, in some seeds.
    pub commit_timeout_ms: i64,
    /// Crash as soon as so many disk operations have been performed, instead of after so many steps.
    pub crash_at_operation: Option<usize>,
}

impl Plan {
    pub fn from_seed(seed: u64) -> Plan {
        let mut random = fastrand::Rng::with_seed(seed);
        let plan = Plan::parameters(&mut random).with_variant(&mut random);
        let commit_timeout_ms = if seed % 8 == 5 { 20 + seed as i64 % 300 } else { PATIENT_MS };
        Plan { commit_timeout_ms, ..plan }
    }

    /// Jobs and writes may fail without a fault.
    pub fn is_impatient(&self) -> bool {
        self.commit_timeout_ms < PATIENT_MS
    }

    fn key(&self, random: &mut fastrand::Rng) -> String {
        loop {
            let key = format!("k{}", random.usize(0..self.keys));
            let owner = Slot::of_key(key.as_bytes()).shard(self.shards);
            if self.of_shard.is_none_or(|(shard, wanted)| (owner == ShardId(shard)) == wanted) {
                return key;
            }
        }
    }

    /// Of no variant.
    pub fn plain(seed: u64) -> Plan {
        Plan::parameters(&mut fastrand::Rng::with_seed(seed))
    }

    fn parameters(random: &mut fastrand::Rng) -> Plan {
        let modes = [FsyncMode::Always, FsyncMode::Everysec, FsyncMode::No];
        let crashes = random.usize(1..4);
        Plan {
            shards: [1, 2, 2, 4][random.usize(0..4)],
            clients: random.usize(1..7),
            mode: modes[random.usize(0..3)],
            format: if random.bool() { BaseFormat::Rdb } else { BaseFormat::Commands },
            crashes: (0..crashes).map(|_| (random.usize(50..2500), random.bool())).collect(),
            keys: random.usize(2..12),
            changes_mode: random.u8(0..3) == 0,
            snapshots: random.bool(),
            reloads: false,
            changes_shards: random.u8(0..4) == 0,
            unique_keys: false,
            logged: true,
            toggles_log: false,
            faults: false,
            faults_anywhere: false,
            expiry: false,
            lazy_expiry: false,
            databases: false,
            big_values: false,
            dependent: false,
            collections: false,
            scans: false,
            many_keys: false,
            relaxed: false,
            restless: false,
            copies: false,
            slow_shard: false,
            chains: false,
            singles: false,
            of_shard: None,
            imitations: false,
            commit_timeout_ms: PATIENT_MS,
            crash_at_operation: None,
        }
    }

    /// Whether two keys written in order, without waiting, can be looked at in order.
    fn has_order(&self) -> bool {
        !self.unique_keys && !self.databases && !self.relaxed && !self.singles
    }

    /// Crashes soon after the start.
    fn early(&self, random: &mut fastrand::Rng) -> Vec<(usize, bool)> {
        self.crashes.iter().map(|&(_, is_power)| (random.usize(100..700), is_power)).collect()
    }

    fn with_variant(self, random: &mut fastrand::Rng) -> Plan {
        match random.u8(0..20) {
            0..4 => {
                let (logged, toggles_log, faults) = (random.bool(), random.bool(), random.u8(0..4) == 0);
                Plan { unique_keys: true, logged, toggles_log, snapshots: true, faults, faults_anywhere: faults, ..self }
            }
            4..6 => Plan { faults: true, snapshots: false, ..self },
            // Leaving `always` too early shows only when a third shard has not written its mark.
            6..8 => Plan {
                restless: true,
                changes_mode: true,
                slow_shard: true,
                shards: 4,
                clients: self.clients + 2,
                crashes: self.crashes.iter().map(|_| (random.usize(1500..5000), true)).collect(),
                ..self
            },
            8..10 => Plan { copies: true, shards: 2, crashes: self.early(random), ..self },
            10..12 => Plan { chains: true, shards: 4, keys: 12, clients: self.clients + 3, crashes: self.early(random), ..self },
            12..14 => Plan { imitations: true, mode: FsyncMode::No, changes_mode: false, ..self },
            14..16 => self,
            _ => self.wide(random),
        }
    }

    /// Any mixture of the commands that the other variants leave out.
    fn wide(self, random: &mut fastrand::Rng) -> Plan {
        let many_keys = random.u8(0..4) == 0;
        let faults = random.u8(0..3) == 0;
        Plan {
            expiry: random.bool(),
            lazy_expiry: random.bool(),
            databases: random.bool(),
            big_values: random.u8(0..4) == 0,
            dependent: random.bool(),
            scans: random.u8(0..3) == 0,
            relaxed: random.u8(0..4) == 0,
            many_keys,
            keys: if many_keys { 400 } else { self.keys },
            snapshots: self.snapshots || many_keys || faults,
            faults,
            faults_anywhere: faults,
            collections: random.bool(),
            ..self
        }
    }
}

#[derive(Clone, Debug)]
pub struct Issued {
    /// Order of all events, over all clients.
    pub issued_at: u64,
    /// Value written; None = a read or an administrator's command.
    pub token: Option<String>,
    pub args: Vec<Vec<u8>>,
}

impl Issued {
    /// The command, long arguments cut short.
    pub fn describe(&self) -> String {
        let short = |word: &Vec<u8>| String::from_utf8_lossy(&word[..word.len().min(40)]).into_owned();
        let words: Vec<String> = self.args.iter().map(short).collect();
        format!("{} (event {})", words.join(" "), self.issued_at)
    }
}

/// Something a client was told.
#[derive(Clone, Debug)]
pub struct Told {
    pub at: u64,
    pub at_ms: i64,
    pub mode: Promise,
    pub what: Claim,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Claim {
    Acknowledged(String),
    Shown(String),
}

/// What an acknowledgement promises at the time it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// There is no log.
    Nothing,
    Always,
    Everysec,
    No,
}

pub struct Client {
    pub conn: ConnId,
    pub home: usize,
    /// Commands that were taken, in order, without a reply.
    pub outstanding: VecDeque<Issued>,
    /// Given to the engine and answered `Wait`.
    pub refused: Option<Issued>,
    /// To be issued before anything else.
    follow: VecDeque<Issued>,
    /// What the last GET of the order's second key showed.
    ready_seen: u64,
    input: Vec<u8>,
    scan: Option<Scan>,
}

/// An iteration with SCAN.
struct Scan {
    started_at: u64,
    seen: BTreeSet<String>,
}

pub struct Clients {
    pub clients: Vec<Client>,
    pub clock: u64,
    pub next_token: u64,
    /// Every write that was taken by the engine, with when.
    pub issued: Vec<Issued>,
    pub told: Vec<Told>,
    pub promise: Promise,
    pub next_job: u64,
    pub pending_mode: Option<(u64, FsyncMode)>,
    /// Jobs that stand still, and how many of them were read back.
    reloads: HashSet<u64>,
    pub reloaded: u64,
    pub jobs_done: u64,
    /// In this generation.
    pub jobs_failed: u64,
    /// Of writes to keys that are never written again: on how many keys each stands.
    listed: BTreeMap<String, usize>,
    /// Tokens up to here are from before the last start.
    first_token: u64,
    /// The log is being switched on or off.
    pub pending_log: Option<(u64, bool)>,
    /// Writes that were refused, and replies that became errors because the log took too long.
    pub refused: usize,
    pub unknown: usize,
}

fn promise(mode: FsyncMode) -> Promise {
    match mode {
        FsyncMode::Always => Promise::Always,
        FsyncMode::Everysec => Promise::Everysec,
        FsyncMode::No => Promise::No,
    }
}

impl Clients {
    pub fn new(mode: FsyncMode) -> Clients {
        Clients {
            clients: Vec::new(),
            clock: 0,
            next_token: 1,
            issued: Vec::new(),
            told: Vec::new(),
            promise: promise(mode),
            next_job: 1,
            pending_mode: None,
            reloads: HashSet::new(),
            reloaded: 0,
            jobs_done: 0,
            jobs_failed: 0,
            listed: BTreeMap::new(),
            first_token: 0,
            pending_log: None,
            refused: 0,
            unknown: 0,
        }
    }

    /// New connections after a start.
    pub fn connect(&mut self, world: &mut World, plan: &Plan) {
        self.issued.clear();
        self.told.clear();
        self.pending_mode = None;
        self.pending_log = None;
        self.first_token = self.next_token;
        self.jobs_failed = 0;
        self.promise = if world.logged { promise(world.mode) } else { Promise::Nothing };
        self.clients.clear();
        for index in 0..plan.clients {
            let conn = ConnId(index as u64 + 1);
            let home = world.random.usize(0..world.shards.len());
            world.connect(conn, home);
            self.clients.push(Client {
                conn,
                home,
                outstanding: VecDeque::new(),
                refused: None,
                follow: VecDeque::new(),
                ready_seen: 0,
                input: Vec::new(),
                scan: None,
            });
        }
    }

    /// Nobody is connected, and nobody was told anything.
    pub fn forget(&mut self) {
        self.issued.clear();
        self.told.clear();
        self.clients.clear();
    }

    fn token(&mut self) -> String {
        self.next_token += 1;
        format!("<{}>", self.next_token)
    }

    /// Behind a step of the world: some client may issue a command, an administrator may act, all read their replies.
    pub fn turn(&mut self, world: &mut World, plan: &Plan) {
        if world.random.u8(0..3) == 0 {
            self.act(world, plan);
        }
        self.administrate(world, plan);
        self.read(world, plan);
    }

    /// One client issues a command, or tries the refused one again.
    fn act(&mut self, world: &mut World, plan: &Plan) {
        let index = world.random.usize(0..self.clients.len());
        let limit = if plan.singles || world.random.bool() { 1 } else { 5 };
        if self.clients[index].refused.is_none() && self.clients[index].outstanding.len() >= limit {
            return;
        }
        let client = &mut self.clients[index];
        let command = match client.refused.take().or_else(|| client.follow.pop_front()) {
            Some(command) => Issued { issued_at: self.tick(), ..command },
            None if world.random.u8(0..12) == 0 && plan.has_order() => self.make_ordered(index),
            None => self.make(world, plan, index),
        };
        self.issue(world, index, command);
    }

    fn issue(&mut self, world: &mut World, index: usize, command: Issued) {
        let client = &mut self.clients[index];
        let args: Vec<&[u8]> = command.args.iter().map(Vec::as_slice).collect();
        world.shards[client.home].begin_pass(world.now_ms);
        match world.shards[client.home].submit(client.conn, &args) {
            Submit::Done => {
                if command.token.is_some() {
                    self.issued.push(command.clone());
                }
                client.outstanding.push_back(command);
            }
            Submit::Wait => client.refused = Some(command),
            Submit::Engine(..) => unreachable!("no command of the workload is the server's"),
        }
    }

    pub fn resubmit_all(&mut self, world: &mut World) {
        for index in 0..self.clients.len() {
            if let Some(command) = self.clients[index].refused.take() {
                self.issue(world, index, command);
            }
        }
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// One connection sets data, then ready, on two shards, without waiting; the others look at ready, then at data: whoever sees ready
    /// must see the data, too.
    fn make_ordered(&mut self, index: usize) -> Issued {
        let (token, behind) = (self.token(), self.token());
        let issued = |words: &[&str], token: Option<&String>| Issued {
            issued_at: 0,
            token: token.cloned(),
            args: words.iter().map(|word| word.as_bytes().to_vec()).collect(),
        };
        let (first, second) = match index {
            0 => (issued(&["SET", ORDER_DATA, &token], Some(&token)), issued(&["SET", ORDER_READY, &behind], Some(&behind))),
            _ => (issued(&["GET", ORDER_READY], None), issued(&["GET", ORDER_DATA], None)),
        };
        self.clients[index].follow.push_back(second);
        Issued { issued_at: self.tick(), ..first }
    }

    fn make(&mut self, world: &mut World, plan: &Plan, client: usize) -> Issued {
        self.clock += 1;
        let random = &mut world.random;
        let key = |random: &mut fastrand::Rng| plan.key(random);
        let (a, b, c) = (key(random), key(random), key(random));
        let kind = random.u32(0..100);
        let token = self.token();
        let unique = |part: u32| format!("u{part}{token}");
        let recent = |random: &mut fastrand::Rng, next: u64| format!("u0<{}>", next.saturating_sub(random.u64(0..20)));
        if let Some(words) = wide_command(random, plan, [&a, &b, &c], &token) {
            return self.issued(words, token, client);
        }
        let words: Vec<String> = match kind {
            0..79 if plan.chains => vec!["MSET".into(), a, token.clone(), b, token.clone()],
            0..70 if plan.singles => vec!["SET".into(), a, token.clone()],
            70..100 if plan.singles => vec!["GET".into(), a],
            0..40 if plan.copies => vec!["SET".into(), a, token.clone()],
            40..90 if plan.copies => vec!["COPY".into(), a, b, "REPLACE".into()],
            0..40 if plan.unique_keys => vec!["SET".into(), unique(0), token.clone()],
            40..70 if plan.unique_keys => vec!["GET".into(), recent(random, self.next_token)],
            70..90 if plan.unique_keys => {
                vec!["MSET".into(), unique(0), token.clone(), unique(1), token.clone(), unique(2), token.clone()]
            }
            90..95 if plan.unique_keys => vec!["MSETNX".into(), unique(0), token.clone(), unique(1), token.clone()],
            _ if plan.unique_keys => vec!["MGET".into(), recent(random, self.next_token), recent(random, self.next_token)],
            0..25 => vec!["SET".into(), a, token.clone()],
            25..45 => vec!["GET".into(), a],
            45..58 => vec!["MSET".into(), a, token.clone(), b, token.clone(), c, token.clone()],
            58..68 => vec!["MGET".into(), a, b, c],
            68..74 => vec!["DEL".into(), a, b],
            74..79 => vec!["SET".into(), a, token.clone(), "NX".into()],
            79..83 => vec!["MSETNX".into(), a, token.clone(), b, token.clone()],
            83..87 => vec!["RENAME".into(), a, b],
            87..90 => vec!["COPY".into(), a, b, "REPLACE".into()],
            90..95 => vec!["MSET".into(), "pair-a".into(), token.clone(), "pair-b".into(), token.clone()],
            95..98 => vec!["MGET".into(), "pair-a".into(), "pair-b".into()],
            98 => vec!["DBSIZE".into()],
            _ => vec!["EXISTS".into(), a, b, c],
        };
        let mut issued = self.issued(words, token, client);
        if plan.imitations && issued.args[0] == b"SET" {
            issued.args[2].extend(imitated_frame());
        }
        issued
    }

    fn issued(&mut self, mut words: Vec<String>, token: String, client: usize) -> Issued {
        let listed = words.iter().filter(|word| word.starts_with(LISTED) && word.ends_with(&token)).count();
        if listed > 0 {
            self.listed.insert(token.clone(), listed);
        }
        if words[0] == "SCAN" && self.clients[client].scan.is_some() {
            words = vec!["RANDOMKEY".into()]; // One iteration at a time.
        } else if words[0] == "SCAN" {
            self.clients[client].scan = Some(Scan { started_at: 0, seen: BTreeSet::new() });
        }
        let writes = words.iter().any(|word| word.starts_with(&token));
        let args = words.into_iter().map(String::into_bytes).collect();
        Issued { issued_at: self.clock, token: writes.then_some(token), args }
    }

    /// Asks for another `appendfsync`.
    pub fn set_mode(&mut self, world: &mut World, mode: FsyncMode) {
        world.shards[0].start_job(self.next_job, Job::SetMode(mode));
        self.pending_mode = Some((self.next_job, mode));
        self.next_job += 1;
        // From the moment it is asked for, no more than the weaker of the two is promised.
        if mode != FsyncMode::Always {
            self.promise = weaker(self.promise, promise(mode));
        }
    }

    /// Sometimes an administrator does something.
    pub fn administrate(&mut self, world: &mut World, plan: &Plan) {
        match world.random.u32(0..if plan.restless { 25 } else { 600 }) {
            0 if plan.snapshots => {
                let format = plan.format;
                world.shards[0].start_job(self.next_job, Job::Snapshot { format, start_log: false });
                self.next_job += 1;
            }
            1 if plan.changes_mode && self.pending_mode.is_none() => {
                let mode = [FsyncMode::Always, FsyncMode::Everysec, FsyncMode::No][world.random.usize(0..3)];
                self.set_mode(world, mode);
            }
            2..5 if plan.toggles_log && self.pending_log.is_none() => {
                let on = !world.shards[0].coordinator().expect("shard 0").logging();
                let job = if on { Job::Snapshot { format: plan.format, start_log: true } } else { Job::EndLog };
                world.shards[0].start_job(self.next_job, job);
                self.pending_log = Some((self.next_job, on));
                self.next_job += 1;
                // The state of the switch decides: nothing is promised until it is known to be on.
                self.promise = Promise::Nothing;
            }
            5..9 if plan.reloads && !plan.restless => {
                let base = world.random.bool().then_some(plan.format);
                world.shards[0].start_job(self.next_job, Job::StandStill { base });
                self.reloads.insert(self.next_job);
                self.next_job += 1;
            }
            _ => {}
        }
        for (job, result) in std::mem::take(&mut world.results) {
            if self.reloads.remove(&job) && result.is_ok() {
                if world.fault.is_none() {
                    world.reload();
                    self.reloaded += 1;
                }
                world.shards[0].start_job(self.next_job, Job::GoOn);
                self.next_job += 1;
            }
            if let Err(cause) = result {
                assert!(world.fault.is_some() || plan.is_impatient(), "jobs succeed without faults: {cause}");
                self.jobs_failed += !plan.is_impatient() as u64;
                world.seen.insert("a failed base".into());
                self.forget_job(world, job);
                continue;
            }
            self.jobs_done += 1;
            if let Some((id, on)) = self.pending_log
                && id == job
            {
                self.pending_log = None;
                world.logged = on;
                // A change of mode that is asked for may come into force at any moment.
                let coming = self.pending_mode.map_or(world.mode, |(_, mode)| mode);
                self.promise = if on { weaker(promise(world.mode), promise(coming)) } else { Promise::Nothing };
            }
            if let Some((id, mode)) = self.pending_mode
                && id == job
            {
                self.pending_mode = None;
                world.mode = mode;
                if self.promise != Promise::Nothing {
                    self.promise = promise(mode);
                }
            }
        }
    }

    /// A job has failed: what it was to change is as the coordinator says, and nothing more is promised than before.
    fn forget_job(&mut self, world: &mut World, job: u64) {
        if self.pending_log.take_if(|(id, _)| *id == job).is_some() {
            world.logged = world.shards[0].coordinator().expect("shard 0").logging();
        }
        if self.pending_mode.take_if(|(id, _)| *id == job).is_some() {
            // It may come into force all the same; then the weaker of the two is promised until the next change.
            world.mode = world.shards[0].coordinator().expect("shard 0").mode();
        }
    }

    /// Takes released replies off all connections.
    pub fn read(&mut self, world: &mut World, plan: &Plan) {
        for index in 0..self.clients.len() {
            let client = &mut self.clients[index];
            let shard = &mut world.shards[client.home];
            let bytes = shard.output(client.conn).to_vec();
            if bytes.is_empty() {
                continue;
            }
            shard.sent(client.conn, bytes.len());
            client.input.extend_from_slice(&bytes);
            self.take_replies(index, world.now_ms, plan, world.fault.is_some() || plan.is_impatient());
        }
    }

    fn take_replies(&mut self, index: usize, now_ms: i64, plan: &Plan, faulted: bool) {
        loop {
            let client = &mut self.clients[index];
            let Some(len) = reply_len(&client.input) else { return };
            let reply: Vec<u8> = client.input.drain(..len).collect();
            let command = client.outstanding.pop_front().expect("a reply belongs to a command");
            self.clock += 1;
            let at = self.clock;
            let tokens = tokens_in(reply.as_slice());
            // After a disk fault the first of the two may have been refused, on the shard that knew of it first.
            if reply[0] != b'-' && plan.has_order() && !faulted {
                self.check_order(index, &command, &tokens);
            }
            let mode = self.promise;
            let claim = |what| Told { at, at_ms: now_ms, mode, what };
            let text = String::from_utf8_lossy(&reply).into_owned();
            if text.starts_with("-MISCONF") {
                *if text.contains("outcome unknown") { &mut self.unknown } else { &mut self.refused } += 1;
            }
            if let Some(token) = &command.token
                && is_acknowledgement(&command, &text)
            {
                self.told.push(claim(Claim::Acknowledged(token.clone())));
            }
            check_pair(&command, &text, &tokens);
            if reply[0] != b'-' {
                self.check_listed(&command, &tokens, plan);
                self.scanned(index, &command, &text, &tokens, plan);
            }

            self.told.extend(tokens.into_iter().map(|token| claim(Claim::Shown(token))));
        }
    }
}

/// A frame as a segment with seed 0 would hold it, far ahead in the log and claiming that everything before it is durable. Were it taken for
/// one of ours, a torn tail behind it would look like damage.
fn imitated_frame() -> Vec<u8> {
    let mut frame = vec![0; FRAME_HEADER_BYTES];
    push_end(&mut frame, 1);
    seal_frame(&mut frame, 1, Lsn(1 << 40), Lsn((1 << 40) - 1), 0);
    frame
}

/// On two shards when there are two (asserted), set in this order by one connection.
pub const ORDER_DATA: &str = "order-data";
pub const ORDER_READY: &str = "order-ready";

impl Clients {
    fn check_order(&mut self, index: usize, command: &Issued, tokens: &[String]) {
        let number = tokens.first().map_or(0, |token| token[1..token.len() - 1].parse().expect("tokens are numbers"));
        match command.args.get(1).map(Vec::as_slice) {
            _ if command.args[0] != b"GET" => {}
            Some(key) if key == ORDER_READY.as_bytes() => self.clients[index].ready_seen = number,
            Some(key) if key == ORDER_DATA.as_bytes() => {
                let ready = self.clients[index].ready_seen;
                // What an earlier generation wrote may have lost its order in a crash: it was not acknowledged.
                assert!(
                    number + 1 >= ready || ready <= self.first_token,
                    "ready was seen at {ready}, data behind it at {number}: out of program order"
                );
            }
            _ => {}
        }
    }
}

impl Clients {
    /// KEYS is one point in the order of all writes: every write that was acknowledged before is there, each on all of its keys.
    fn check_listed(&self, command: &Issued, tokens: &[String], plan: &Plan) {
        if command.args[0] != b"KEYS" {
            return;
        }
        let mut counts: BTreeMap<&String, usize> = BTreeMap::new();
        tokens.iter().for_each(|token| *counts.entry(token).or_default() += 1);
        let torn = counts.iter().find(|(token, count)| self.listed.get(**token) != Some(*count));
        assert!(
            torn.is_none(),
            "KEYS shows a part of a write: {torn:?} of {:?}",
            torn.and_then(|(token, _)| self.listed.get(*token))
        );
        if !plan.databases {
            self.check_seen("KEYS", command.issued_at, &|token| counts.contains_key(token));
        }
    }

    /// A key that is there during a whole iteration is shown by it.
    fn scanned(&mut self, index: usize, command: &Issued, text: &str, tokens: &[String], plan: &Plan) {
        let client = &mut self.clients[index];
        let Some(scan) = client.scan.as_mut().filter(|_| command.args[0] == b"SCAN") else { return };
        if command.args[1] == b"0" {
            scan.started_at = command.issued_at;
        }
        scan.seen.extend(tokens.iter().cloned());
        let cursor = text
            .split(
                "
",
            )
            .nth(2)
            .expect("a cursor");
        if cursor != "0" {
            let args = ["SCAN", cursor, "COUNT", "5"].map(|word| word.as_bytes().to_vec()).to_vec();
            return client.follow.push_back(Issued { issued_at: 0, token: None, args });
        }
        let scan = client.scan.take().expect("just seen");
        if !plan.databases {
            self.check_seen("SCAN", scan.started_at, &|token| scan.seen.contains(token));
        }
    }

    fn check_seen(&self, reader: &str, since: u64, is_seen: &dyn Fn(&String) -> bool) {
        let missed = self.told.iter().filter(|told| told.at < since).find(|told| match &told.what {
            Claim::Acknowledged(token) => self.listed.contains_key(token) && !is_seen(token),
            Claim::Shown(_) => false,
        });
        assert!(missed.is_none(), "{reader} misses {missed:?}, acknowledged before event {since}");
    }
}

fn is_acknowledgement(command: &Issued, text: &str) -> bool {
    match &command.args[0][..] {
        b"APPEND" | b"SETRANGE" | b"RPUSH" | b"LPUSH" | b"SADD" | b"HSET" | b"ZADD" | b"PFADD" => text.starts_with(':'),
        b"GETSET" | b"XADD" => text.starts_with('$'),
        _ => text == "+OK\r\n" || text == ":1\r\n",
    }
}

/// Keys that begin so are written once, and named after their write.
pub const LISTED: &str = "t";

/// The two keys of a pair are only ever written together: no reader may see them differ.
fn check_pair(command: &Issued, text: &str, tokens: &[String]) {
    let is_pair = command.args[0] == b"MGET" && command.args[1] == b"pair-a";
    assert!(
        !is_pair || tokens.is_empty() || tokens.len() == 2 && tokens[0] == tokens[1],
        "MGET of a pair shows a mixture: {text:?}"
    );
}

fn weaker(a: Promise, b: Promise) -> Promise {
    let rank = |p: Promise| match p {
        Promise::Always => 3,
        Promise::Everysec => 2,
        Promise::No => 1,
        Promise::Nothing => 0,
    };
    if rank(a) < rank(b) { a } else { b }
}

/// `<number>` tokens in any bytes.
pub fn tokens_in(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let after_open = text.split('<').skip(1);
    after_open
        .filter_map(|rest| {
            let (digits, _) = rest.split_once('>')?;
            (!digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())).then(|| format!("<{digits}>"))
        })
        .collect()
}

/// Length of the first whole reply: simple, error, integer, bulk, array of these.
fn reply_len(bytes: &[u8]) -> Option<usize> {
    let line = bytes.windows(2).position(|pair| pair == b"\r\n")? + 2;
    let number = || std::str::from_utf8(&bytes[1..line - 2]).expect("a number").parse::<i64>().expect("a number");
    match bytes[0] {
        b'$' => match number() {
            -1 => Some(line),
            len => (bytes.len() >= line + len as usize + 2).then_some(line + len as usize + 2),
        },
        b'*' => {
            let mut at = line;
            for _ in 0..number().max(0) {
                at += reply_len(&bytes[at..])?;
            }
            Some(at)
        }
        _ => Some(line),
    }
}
