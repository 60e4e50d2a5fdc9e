//! One core: sockets, engine, disk and mailboxes, pass after pass.
//!
//! ```text
//! pass:  events → requests of all ready connections → messages of other shards → completions → requests that waited for these
//!        → Shard::end_pass → small log writes at once, other disk requests to the ring → messages to other shards
//!        → replies of all connections → sleep or go on
//! ```

use super::client::{Client, Core, Progress};
use super::listener::{Admission, Listener};
use super::{ClientFilter, NewClient, Question, ServerMessage, ShardStats, Shared, Told};
use crate::admin::Admin;
use crate::config::Config;
use crate::disk_uring::DiskUring;
use crate::journal;
use crate::mailbox::{Receiver, Sender};
use crate::runtime::{Bell, Idle, epoll_of};
use mio::unix::SourceFd;
use mio::{Events, Interest, Token};
use shards::commands::Session;
use shards::ids::{ConnId, ShardId};
use shards::shard::{Shard, Start};
use shards::transaction::Message;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const EVENTS_PER_PASS: usize = 1024;
/// The buffer that all connections of the shard read into.
const READ_BYTES: usize = 64 * 1024;
/// Batches of one other shard per pass.
const BATCHES_PER_PASS: usize = 64;
pub const WAKER: Token = Token(usize::MAX);
const LISTENER: usize = usize::MAX - 1024;
const CLIENT_CHECK_MS: i64 = 1000;

#[derive(Default)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {
        unreachable!("connection numbers are hashed as one word");
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = value.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

/// What shard 0 has besides.
pub struct Head {
    pub admin: Admin,
    pub listeners: Vec<Listener>,
    pub admission: Admission,
    pub rejected: u64,
    ready: usize,
    /// Listeners that had more than one pass's share.
    accept_more: Vec<usize>,
}

impl Head {
    pub fn new(admin: Admin, listeners: Vec<Listener>, admission: Admission) -> Head {
        Head { admin, listeners, admission, rejected: 0, ready: 0, accept_more: Vec::new() }
    }
}

pub struct ShardLoop {
    core: Core,
    poll: mio::Poll,
    clients: HashMap<ConnId, Client, BuildHasherDefault<IdHasher>>,
    /// Their turn comes in the next pass, without an event.
    resume: Vec<ConnId>,
    /// Maybe over, or with something to send.
    touched: Vec<ConnId>,
    waiting_for_pause: Vec<ConnId>,
    /// Connections that keep replies back, and until when.
    kept: VecDeque<(i64, ConnId)>,
    buffer: Vec<u8>,
    senders: Vec<Option<Sender<Message>>>,
    receivers: Vec<Option<Receiver<Message>>>,
    inbox: VecDeque<ServerMessage>,
    disk: DiskUring,
    shared: Arc<Shared>,
    config: Arc<Config>,
    head: Option<Head>,
    said_ready: bool,
    said_refusing: bool,
    said_stalled: bool,
    said_postponed: bool,
    connections_received: u64,
    passes: u64,
    next_client_check_ms: i64,
}

/// Everything that a thread starts with.
pub struct Parts {
    pub start: Start,
    pub poll: mio::Poll,
    pub senders: Vec<Option<Sender<Message>>>,
    pub receivers: Vec<Option<Receiver<Message>>>,
    pub shared: Arc<Shared>,
    pub config: Arc<Config>,
    pub head: Option<Head>,
}

/// What a pass leaves.
#[derive(PartialEq, Eq)]
enum Next {
    Again,
    SleepUntil(i64),
}

pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

pub async fn run(parts: Parts) {
    let bell = Bell::default();
    let disk = DiskUring::new(&parts.shared.dir, bell.clone());
    let mut idle = Idle::new(epoll_of(&parts.poll), bell).expect("a descriptor for the copy of the epoll set");
    let mut this = ShardLoop::new(parts, disk);
    let mut events = Events::with_capacity(EVENTS_PER_PASS);
    let mut limit = Duration::ZERO;
    loop {
        match this.poll.poll(&mut events, Some(limit)) {
            Err(error) if error.kind() != std::io::ErrorKind::Interrupted => panic!("waiting for sockets: {error}"),
            _ => {}
        }
        this.core_awake();
        let next = this.pass(&events);
        limit = Duration::ZERO;
        match next {
            Next::Again if this.disk.under_way() > 0 => idle.turn().await,
            Next::Again => {}
            Next::SleepUntil(due_ms) => {
                let pause = Duration::from_millis((due_ms - now_ms()).max(0) as u64);
                if !this.may_sleep() {
                    continue;
                }
                if this.disk.under_way() > 0 {
                    idle.wait(pause).await;
                } else {
                    // No task of the executor is alive: nothing but the set can wake this thread.
                    limit = pause;
                }
            }
        }
    }
}

impl ShardLoop {
    fn new(parts: Parts, disk: DiskUring) -> ShardLoop {
        let id = parts.start.id;
        let core = Core {
            shard: Shard::new(parts.start),
            id,
            limits: Default::default(),
            query_buffer_max: usize::MAX,
            has_password: false,
            paused: None,
            requests: Vec::new(),
            net_in: 0,
            net_out: 0,
            query_disconnections: 0,
            reads: 0,
            writes: 0,
            warned_of_http: None,
            timing: Default::default(),
        };
        let mut this = ShardLoop {
            core,
            poll: parts.poll,
            clients: HashMap::default(),
            resume: Vec::new(),
            touched: Vec::new(),
            waiting_for_pause: Vec::new(),
            kept: VecDeque::new(),
            buffer: vec![0; READ_BYTES],
            senders: parts.senders,
            receivers: parts.receivers,
            inbox: VecDeque::new(),
            disk,
            shared: parts.shared,
            config: parts.config,
            head: parts.head,
            said_ready: false,
            said_refusing: false,
            said_stalled: false,
            said_postponed: false,
            connections_received: 0,
            passes: 0,
            next_client_check_ms: 0,
        };
        this.core.configure(&this.config.clone());
        this
    }

    fn core_awake(&self) {
        self.shared.sleepers[self.core.id.0 as usize].is_awake();
    }

    /// Says that this shard sleeps, unless something has arrived.
    fn may_sleep(&mut self) -> bool {
        self.shared.sleepers[self.core.id.0 as usize].will_sleep();
        let has_mail = self.receivers.iter().flatten().any(|receiver| !receiver.is_empty());
        let has_control = self.head.is_some() && !self.shared.controls.lock().expect("no holder panics").is_empty();
        !has_mail && !has_control && !self.disk.has_results()
    }

    fn pass(&mut self, events: &Events) -> Next {
        self.passes += 1;
        self.core.timing.begin_pass();
        let now = now_ms();
        self.core.shard.begin_pass(now);
        self.handle_events(events, now);
        for id in std::mem::take(&mut self.resume) {
            self.go_on(id);
        }
        let mut is_full = self.receive();
        self.take_disk_results();
        // Pipelines that waited for another shard's answers go on in this pass: their next commands leave with its messages.
        for id in self.core.shard.take_wakes() {
            if let Some(client) = self.clients.get_mut(&id) {
                client.waits = false;
                self.go_on(id);
            }
        }
        self.serve(now);
        self.core.shard.end_pass(now);
        self.serve(now);
        self.say_state();
        if self.submit_to_disk() {
            // Written already: what waited for it leaves in this pass.
            self.take_disk_results();
            self.core.shard.end_pass(now);
            self.submit_to_disk();
        }
        is_full |= self.send();
        self.flush(now);
        self.wake();
        if self.next_client_check_ms <= now {
            self.next_client_check_ms = now + CLIENT_CHECK_MS;
            self.close_idle_clients(now);
        }
        self.end_pause(now);
        let has_work = is_full
            || !self.resume.is_empty()
            || !self.inbox.is_empty()
            || self.core.shard.is_busy()
            || self.disk.has_results()
            || self.head.as_ref().is_some_and(|head| !head.accept_more.is_empty());
        let kept_due_ms = self.kept.front().map_or(i64::MAX, |(due_ms, _)| *due_ms);
        if has_work { Next::Again } else { Next::SleepUntil(self.core.shard.next_due_ms().min(kept_due_ms)) }
    }

    // --- Connections -------------------------------------------------------------------------------------------------

    fn handle_events(&mut self, events: &Events, now: i64) {
        for event in events {
            match event.token() {
                WAKER => {}
                Token(token) if token >= LISTENER => self.accept(token - LISTENER),
                Token(token) => {
                    let id = ConnId(token as u64);
                    let Some(client) = self.clients.get_mut(&id) else { continue };
                    client.last_active_ms = now;
                    let mut progress = Progress::Settled;
                    if event.is_readable() || event.is_read_closed() || event.is_error() {
                        progress = client.is_readable(&mut self.core, &mut self.buffer, event.is_read_closed());
                    }
                    if event.is_writable() && progress != Progress::Broken {
                        self.touched.push(id);
                    }
                    self.after(id, progress);
                }
            }
        }
        if let Some(head) = &mut self.head {
            for listener in std::mem::take(&mut head.accept_more) {
                self.accept(listener);
            }
        }
    }

    fn go_on(&mut self, id: ConnId) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        let progress = client.go_on(&mut self.core, &mut self.buffer);
        self.after(id, progress);
    }

    fn after(&mut self, id: ConnId, progress: Progress) {
        match progress {
            Progress::Settled => {}
            Progress::More => self.resume.push(id),
            Progress::Broken => return self.close(id),
        }
        let Some(client) = self.clients.get(&id) else { return };
        if client.closing || client.keeps_until_ms.is_some() {
            self.touched.push(id);
        }
        if client.waits && self.core.paused.is_some() {
            self.waiting_for_pause.push(id);
        }
    }

    fn close(&mut self, id: ConnId) {
        let Some(client) = self.clients.remove(&id) else { return };
        _ = self.poll.registry().deregister(&mut SourceFd(&client.fd.as_raw_fd()));
        self.core.shard.disconnect(id);
        self.shared.clients[self.core.id.0 as usize].fetch_sub(1, Ordering::Relaxed);
    }

    fn accept(&mut self, index: usize) {
        let Some(head) = &mut self.head else { return };
        let Some(listener) = head.listeners.get(index) else { return };
        let mut accepted = Vec::new();
        let is_done =
            listener.accept(&self.shared, &head.admission, &mut head.rejected, |shard, client| accepted.push((shard, client)));
        if !is_done {
            head.accept_more.push(index);
        }
        for (shard, client) in accepted {
            self.tell(ShardId(shard as u16), ServerMessage::Client(client));
        }
    }

    fn add_client(&mut self, new: NewClient, now: i64) {
        let token = Token(new.id.0 as usize);
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.poll.registry().register(&mut SourceFd(&new.fd.as_raw_fd()), token, interest) {
            journal::warning(&format!("Error registering fd event for the new client: {error} (addr={})", new.peer));
            self.shared.clients[self.core.id.0 as usize].fetch_sub(1, Ordering::Relaxed);
            return;
        }
        self.connections_received += 1;
        self.core.shard.connect(Session {
            id: new.id,
            authenticated: !self.core.has_password,
            peer: new.peer,
            local: new.local,
            is_local: new.is_local,
            created_ms: now,
            ..Session::default()
        });
        self.clients.insert(new.id, Client::new(new.id, new.fd, new.is_local, now));
    }

    fn flush(&mut self, now: i64) {
        let mut ids = self.core.shard.take_sendable();
        ids.append(&mut self.touched);
        while let Some((_, id)) = self.kept.pop_front_if(|(due_ms, _)| *due_ms <= now) {
            ids.push(id);
        }
        for id in ids {
            let Some(client) = self.clients.get_mut(&id) else { continue };
            let kept = client.keeps_until_ms;
            if client.keeps_replies(&self.core, now) {
                let due_ms = client.keeps_until_ms.expect("it keeps replies until then");
                if kept.is_none() {
                    self.kept.push_back((due_ms, id));
                }
                continue;
            }
            match client.flush(&mut self.core) {
                Progress::Broken => self.close(id),
                _ if client.is_over(&self.core) => self.close(id),
                Progress::More => self.resume.push(id),
                Progress::Settled => {}
            }
        }
    }

    /// Requests that had to wait.
    fn wake(&mut self) {
        for id in self.core.shard.take_wakes() {
            if let Some(client) = self.clients.get_mut(&id) {
                client.waits = false;
                self.resume.push(id);
            }
        }
    }

    fn close_idle_clients(&mut self, now: i64) {
        let timeout_s: i64 = self.config.number("timeout");
        if timeout_s == 0 {
            return;
        }
        let is_idle = |client: &&Client| now - client.last_active_ms > timeout_s * 1000;
        let idle: Vec<ConnId> = self.clients.values().filter(is_idle).map(|client| client.id).collect();
        idle.into_iter().for_each(|id| self.close(id));
    }

    fn end_pause(&mut self, now: i64) {
        if self.core.paused.is_some_and(|(until_ms, _)| until_ms <= now) {
            self.core.paused = None;
        }
        if self.core.paused.is_none() {
            for id in std::mem::take(&mut self.waiting_for_pause) {
                if let Some(client) = self.clients.get_mut(&id) {
                    client.waits = false;
                    self.resume.push(id);
                }
            }
        }
    }

    // --- Other shards, disk --------------------------------------------------------------------------------------------

    /// True when there was more than one pass's share.
    fn receive(&mut self) -> bool {
        let mut is_full = false;
        for (from, receiver) in self.receivers.iter_mut().enumerate() {
            let Some(receiver) = receiver else { continue };
            for _ in 0..BATCHES_PER_PASS {
                let Some(batch) = receiver.receive() else { break };
                self.core.shard.begin_timing();
                let begun = Instant::now();
                self.core.shard.receive(ShardId(from as u16), batch);
                self.core.shard.end_timing(begun.elapsed().as_nanos() as u64, 1);
            }
            is_full |= !receiver.is_empty();
        }
        is_full
    }

    /// True when a ring is full: it is tried again in the next pass.
    fn send(&mut self) -> bool {
        let mut is_full = false;
        for (to, sender) in self.senders.iter_mut().enumerate() {
            let Some(sender) = sender else { continue };
            let to = ShardId(to as u16);
            if self.core.shard.has_messages(to) {
                sender.send(self.core.shard.take_messages(to));
            }
            is_full |= !sender.flush();
        }
        is_full
    }

    /// True when something was done at once.
    fn submit_to_disk(&mut self) -> bool {
        // Only those who wait for a durable write may stand still for it: no replies can leave, no other shard is to be told anything.
        let has_messages = (0..self.shared.shards).any(|shard| self.core.shard.has_messages(ShardId(shard)));
        let is_idle = !self.core.shard.has_sendable() && !has_messages;
        for request in self.core.shard.take_disk_requests() {
            self.disk.submit(request, is_idle);
        }
        self.disk.has_results()
    }

    fn take_disk_results(&mut self) {
        for result in self.disk.take_results() {
            self.core.shard.disk_done(result);
        }
    }

    // --- The server's own messages ---------------------------------------------------------------------------------------

    fn tell(&mut self, to: ShardId, message: ServerMessage) {
        if to == self.core.id {
            self.inbox.push_back(message);
        } else {
            self.core.shard.send_server(to, Box::new(message));
        }
    }

    fn say_state(&mut self) {
        if let Some(cause) = self.core.shard.refusing()
            && !std::mem::replace(&mut self.said_refusing, true)
        {
            journal::warning(&format!("{} refuses writes from now on: {cause}", self.core.id));
        }
        match self.core.shard.refusal().filter(|_| !self.said_refusing) {
            Some(cause) if !std::mem::replace(&mut self.said_stalled, true) => {
                journal::warning(&format!("{} refuses writes until the disk answers: {cause}", self.core.id));
            }
            None if std::mem::take(&mut self.said_stalled) && !self.said_refusing => {
                journal::warning(&format!("{} takes writes again", self.core.id))
            }
            _ => {}
        }
        if let Some(cause) = self.core.shard.postponed() {
            if !std::mem::replace(&mut self.said_postponed, true) {
                journal::warning(&format!(
                    "{}: the log's next segment could not be made and is tried again; writes go on as long as there is room: {cause}",
                    self.core.id
                ));
            }
        } else {
            self.said_postponed = false;
        }
        if !self.said_ready && self.core.shard.is_ready() {
            self.said_ready = true;
            self.tell(ShardId(0), ServerMessage::Ready);
        }
    }

    /// Everything that concerns the server around the engine.
    fn serve(&mut self, now: i64) {
        for (_, message) in self.core.shard.take_server_messages() {
            self.inbox.push_back(*message.downcast().expect("shards send each other ServerMessage only"));
        }
        for request in std::mem::take(&mut self.core.requests) {
            self.tell(ShardId(0), ServerMessage::Admin(request));
        }
        if self.head.is_some() {
            while let Some(control) = self.shared.take_control() {
                self.with_admin(|admin, shard| admin.control(control, shard, now));
            }
            for (job, outcome) in self.core.shard.take_results() {
                self.with_admin(|admin, shard| admin.job_done(job, outcome, shard, now));
            }
            self.with_admin(|admin, shard| admin.tick(shard, now));
        }
        while let Some(message) = self.inbox.pop_front() {
            self.handle(message, now);
        }
    }

    fn with_admin(&mut self, act: impl FnOnce(&mut Admin, &mut Shard)) {
        let Some(head) = &mut self.head else { return };
        act(&mut head.admin, &mut self.core.shard);
        let outgoing = std::mem::take(&mut head.admin.outgoing);
        if let Some(config) = head.admin.take_new_config() {
            head.admission = Admission::of(&config);
        }
        head.admin.rejected = head.rejected;
        for (to, message) in outgoing {
            self.tell(to, message);
        }
    }

    fn handle(&mut self, message: ServerMessage, now: i64) {
        match message {
            ServerMessage::Ready => self.shard_is_ready(),
            ServerMessage::Client(client) => self.add_client(client, now),
            ServerMessage::Admin(request) => {
                let args: Vec<&[u8]> = request.args.iter().map(Vec::as_slice).collect();
                let command = self.core.shard.settings.names.lookup(&args);
                let begun = Instant::now();
                self.with_admin(|admin, shard| admin.request(request, shard, now));
                if let Some(command) = command {
                    self.core.shard.took(command, begun.elapsed().as_nanos() as u64);
                }
            }
            ServerMessage::Answer { conn, ticket, bytes } => self.core.shard.answer(conn, ticket, bytes),
            ServerMessage::Ask { operation, question } => {
                let answer = self.answer(question, now);
                self.tell(ShardId(0), ServerMessage::Told { operation, answer });
            }
            ServerMessage::Told { operation, answer } => {
                self.with_admin(|admin, shard| admin.told(operation, answer, shard, now));
            }
        }
    }

    fn shard_is_ready(&mut self) {
        let head = self.head.as_mut().expect("shards tell shard 0 only");
        head.ready += 1;
        if head.ready < self.shared.shards as usize {
            return;
        }
        let backlog = self.config.number("tcp-backlog");
        for (index, listener) in head.listeners.iter().enumerate() {
            let source = listener.fd.as_raw_fd();
            let started = listener.start(backlog).and_then(|()| {
                let token = Token(LISTENER + index);
                self.poll.registry().register(&mut SourceFd(&source), token, Interest::READABLE)
            });
            if let Err(error) = started {
                journal::warning(&format!("Failed listening ({}): {error}, aborting.", listener.kind));
                std::process::exit(1);
            }
        }
        let mut kinds: Vec<&str> = head.listeners.iter().map(|listener| listener.kind).collect();
        kinds.dedup();
        kinds.iter().for_each(|kind| journal::notice(&format!("Ready to accept connections {kind}")));
    }

    fn answer(&mut self, question: Question, now: i64) -> Told {
        match question {
            Question::Stats => Told::Stats(Box::new(self.stats(false))),
            Question::StatsAndCalls => Told::Stats(Box::new(self.stats(true))),
            Question::ResetStats => {
                self.core.shard.reset_stats();
                (self.core.net_in, self.core.net_out) = (0, 0);
                (self.core.reads, self.core.writes, self.core.query_disconnections) = (0, 0, 0);
                self.connections_received = 0;
                Told::Done
            }
            Question::Settings(config) => {
                self.core.configure(&config);
                self.config = config;
                Told::Done
            }
            Question::ListClients(filter) => Told::Clients(self.list_clients(&filter, now)),
            Question::KillClients(filter) => {
                let killed: Vec<ConnId> = self.matching(&filter, now).map(|client| client.id).collect();
                let count = killed.len() as u64;
                for id in killed {
                    match self.clients.get_mut(&id) {
                        // Its own reply goes out first.
                        Some(client) if filter.asker == Some(id) => client.closing = true,
                        _ => self.close(id),
                    }
                }
                Told::Count(count)
            }
            Question::Pause { until_ms, writes_only } => {
                self.core.paused = Some((until_ms, writes_only));
                Told::Done
            }
            Question::Unpause => {
                self.core.paused = None;
                Told::Done
            }
            Question::Sleep { microseconds } => {
                std::thread::sleep(Duration::from_micros(microseconds));
                Told::Done
            }
            Question::ActiveExpire(is_on) => {
                self.core.shard.settings.active_expire = is_on;
                Told::Done
            }
            Question::SharedKeys(slots) => {
                let slot = slots[self.core.id.0 as usize].lock().expect("no holder panics");
                Told::Count(slot.as_ref().map_or(0, |keyspace| self.core.shard.shared_keys(keyspace)))
            }
            Question::TakeKeys { slots, keeps } => {
                let mut slot = slots[self.core.id.0 as usize].lock().expect("no holder panics");
                let keyspace = slot.take().expect("keys are taken once");
                if keeps {
                    self.core.shard.merge_keyspace(keyspace);
                } else {
                    *slot = Some(self.core.shard.replace_keyspace(keyspace));
                }
                Told::Done
            }
        }
    }

    fn matching<'a>(&'a self, filter: &'a ClientFilter, now: i64) -> impl Iterator<Item = &'a Client> {
        self.clients.values().filter(move |client| {
            let Some(session) = self.core.shard.session(client.id) else { return false };
            !filter.nobody
                && filter.ids.as_ref().is_none_or(|ids| ids.contains(&client.id.0))
                && filter.addr.as_ref().is_none_or(|addr| *addr == session.peer)
                && filter.laddr.as_ref().is_none_or(|addr| *addr == session.local)
                && filter.skip != Some(client.id)
                && filter.max_age_s.is_none_or(|seconds| now - session.created_ms >= seconds * 1000)
        })
    }

    fn list_clients(&self, filter: &ClientFilter, now: i64) -> Vec<(u64, Vec<u8>)> {
        let line = |client: &Client| {
            let session = self.core.shard.session(client.id)?;
            let line = shards::commands::client_line(session, now);
            Some((client.id.0, line))
        };
        self.matching(filter, now).filter_map(line).collect()
    }

    fn stats(&self, with_calls: bool) -> ShardStats {
        let shard = &self.core.shard;
        let keyspace = shard.keyspace();
        let keys = (0..keyspace.databases()).map(|db| keyspace.stats(db)).collect();
        ShardStats {
            commands: shard.calls().total_calls(),
            errors: shard.calls().total_errors(),
            calls: if with_calls { shard.calls().report() } else { Default::default() },
            memory: keyspace.memory_bytes() as u64,
            save_progress: shard.save_progress(),
            client_bytes: self
                .clients
                .values()
                .map(|client| (client.input_bytes() + shard.output_pending(client.id)) as u64)
                .sum(),
            query_disconnections: self.core.query_disconnections,
            reads: self.core.reads,
            writes: self.core.writes,
            net_in: self.core.net_in,
            net_out: self.core.net_out,
            connections_received: self.connections_received,
            hits: shard.stats.keyspace_hits,
            misses: shard.stats.keyspace_misses,
            expired: shard.stats.expired_keys,
            log_bytes: shard.log().bytes_appended,
            log_syncs: shard.log().syncs,
            lsns: (shard.log().last_lsn().0, shard.log().written_lsn().0, shard.log().durable_lsn().0),
            committed_behind: shard.log().last_lsn().0 - shard.committed().0.min(shard.log().last_lsn().0),
            clients: self.clients.len() as u64,
            input_max: self.clients.values().map(Client::input_bytes).max().unwrap_or(0) as u64,
            output_max: self.clients.keys().map(|id| shard.output_pending(*id)).max().unwrap_or(0) as u64,
            passes: self.passes,
            keys,
            changes_unsaved: shard.changes_unsaved(),
            refusing: shard.refusal().map(String::from),
        }
    }
}
