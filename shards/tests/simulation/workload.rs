//! What clients do, and what they were told.

use crate::world::World;
use shards::ids::{ConnId, Lsn};
use shards::log::FsyncMode;
use shards::log::format::{FRAME_HEADER_BYTES, push_end, seal_frame};
use shards::manifest::BaseFormat;
use shards::shard::Submit;
use shards::transaction::Job;
use std::collections::{HashSet, VecDeque};

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
    /// Values hold bytes that look like a frame of the log, but for the segment's seed.
    pub imitations: bool,
    /// A log write or sync fails, once in each generation but the last.
    pub faults: bool,
    /// Crash as soon as so many disk operations have been performed, instead of after so many steps.
    pub crash_at_operation: Option<usize>,
}

impl Plan {
    pub fn from_seed(seed: u64) -> Plan {
        let mut random = fastrand::Rng::with_seed(seed);
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
            restless: false,
            copies: false,
            slow_shard: false,
            chains: false,
            imitations: false,
            crash_at_operation: None,
        }
        .with_variant(&mut random)
    }

    /// Crashes soon after the start.
    fn early(&self, random: &mut fastrand::Rng) -> Vec<(usize, bool)> {
        self.crashes.iter().map(|&(_, is_power)| (random.usize(100..700), is_power)).collect()
    }

    fn with_variant(self, random: &mut fastrand::Rng) -> Plan {
        match random.u8(0..10) {
            0..2 => Plan { unique_keys: true, logged: random.bool(), toggles_log: random.bool(), snapshots: true, ..self },
            2 => Plan { faults: true, snapshots: false, ..self },
            // Leaving `always` too early shows only when a third shard has not written its mark.
            3 => Plan {
                restless: true,
                changes_mode: true,
                slow_shard: true,
                shards: 4,
                clients: self.clients + 2,
                crashes: self.crashes.iter().map(|_| (random.usize(1500..5000), true)).collect(),
                ..self
            },
            4 => Plan { copies: true, shards: 2, crashes: self.early(random), ..self },
            5 => Plan { chains: true, shards: 4, keys: 12, clients: self.clients + 3, crashes: self.early(random), ..self },
            6 => Plan { imitations: true, mode: FsyncMode::No, changes_mode: false, ..self },
            _ => self,
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
    /// Tokens up to here are from before the last start.
    first_token: u64,
    /// The log is being switched on or off.
    pub pending_log: Option<(u64, bool)>,
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
            first_token: 0,
            pending_log: None,
        }
    }

    /// New connections after a start.
    pub fn connect(&mut self, world: &mut World, plan: &Plan) {
        self.issued.clear();
        self.told.clear();
        self.pending_mode = None;
        self.pending_log = None;
        self.first_token = self.next_token;
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

    /// One client issues a command, or tries the refused one again.
    pub fn act(&mut self, world: &mut World, plan: &Plan) {
        let index = world.random.usize(0..self.clients.len());
        let limit = if world.random.bool() { 1 } else { 5 };
        if self.clients[index].refused.is_none() && self.clients[index].outstanding.len() >= limit {
            return;
        }
        let client = &mut self.clients[index];
        let command = match client.refused.take().or_else(|| client.follow.pop_front()) {
            Some(command) => Issued { issued_at: self.tick(), ..command },
            None if world.random.u8(0..12) == 0 && !plan.unique_keys => self.make_ordered(index),
            None => self.make(world, plan),
        };
        self.issue(world, index, command);
    }

    fn issue(&mut self, world: &mut World, index: usize, command: Issued) {
        let client = &mut self.clients[index];
        let args: Vec<&[u8]> = command.args.iter().map(Vec::as_slice).collect();
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

    fn make(&mut self, world: &mut World, plan: &Plan) -> Issued {
        self.clock += 1;
        let random = &mut world.random;
        let key = |random: &mut fastrand::Rng| format!("k{}", random.usize(0..plan.keys));
        let (a, b, c) = (key(random), key(random), key(random));
        let kind = random.u32(0..100);
        let token = self.token();
        let unique = |part: u32| format!("u{part}{token}");
        let recent = |random: &mut fastrand::Rng, next: u64| format!("u0<{}>", next.saturating_sub(random.u64(0..20)));
        let words: Vec<String> = match kind {
            0..79 if plan.chains => vec!["MSET".into(), a, token.clone(), b, token.clone()],
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
        let writes = words.contains(&token);
        let mut args: Vec<Vec<u8>> = words.into_iter().map(String::into_bytes).collect();
        if plan.imitations && args[0] == b"SET" {
            args[2].extend(imitated_frame());
        }
        Issued { issued_at: self.clock, token: writes.then_some(token), args }
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
                world.shards[0].start_job(self.next_job, Job::SetMode(mode));
                self.pending_mode = Some((self.next_job, mode));
                self.next_job += 1;
                // From the moment it is asked for, no more than the weaker of the two is promised.
                if mode != FsyncMode::Always {
                    self.promise = weaker(self.promise, promise(mode));
                }
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
                if !world.faulted {
                    world.reload();
                    self.reloaded += 1;
                }
                world.shards[0].start_job(self.next_job, Job::GoOn);
                self.next_job += 1;
            }
            if let Err(cause) = result {
                assert!(world.faulted, "jobs succeed without faults: {cause}");
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

    /// Takes released replies off all connections.
    pub fn read(&mut self, world: &mut World) {
        for index in 0..self.clients.len() {
            let client = &mut self.clients[index];
            let shard = &mut world.shards[client.home];
            let bytes = shard.output(client.conn).to_vec();
            if bytes.is_empty() {
                continue;
            }
            shard.sent(client.conn, bytes.len());
            client.input.extend_from_slice(&bytes);
            self.take_replies(index, world.now_ms);
        }
    }

    fn take_replies(&mut self, index: usize, now_ms: i64) {
        loop {
            let client = &mut self.clients[index];
            let Some(len) = reply_len(&client.input) else { return };
            let reply: Vec<u8> = client.input.drain(..len).collect();
            let command = client.outstanding.pop_front().expect("a reply belongs to a command");
            self.clock += 1;
            let at = self.clock;
            let tokens = tokens_in(reply.as_slice());
            if reply[0] != b'-' {
                self.check_order(index, &command, &tokens);
            }
            let claim = |what| Told { at, at_ms: now_ms, mode: self.promise, what };
            let text = String::from_utf8_lossy(&reply).into_owned();
            if let Some(token) = &command.token
                && (text == "+OK\r\n" || text == ":1\r\n")
            {
                self.told.push(claim(Claim::Acknowledged(token.clone())));
            }
            check_pair(&command, &text, &tokens);

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
