//! One connection: bytes in, requests to the engine, bytes out.
//!
//! ```text
//! receive ─→ the shard's buffer, or `input` when a request began there ─→ parser ─→ Shard::submit
//!                                                                                      │ Wait: the request stays, and is tried again
//! send    ←─ Shard::output (released bytes) ←──────────────────────────────────────────┘
//! ```
//! Reading stops while a request waits, while too much output is pending, and once the connection is to be closed. A connection is
//! closed when nothing is left to be sent: a peer that has shut down its writing half gets all its replies.

use super::AdminRequest;
use crate::config::Config;
use crate::journal;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use shards::commands::{EventClasses, Session};
use shards::ids::{ConnId, ShardId};
use shards::resp::{Limits, Parsed, RequestParser};
use shards::shard::{DebugAccess, Shard, Submit};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// With more output than this pending, no further requests of the connection are run.
const OUTPUT_PENDING_MAX: usize = 1 << 20;
/// Likewise with so many replies to come from other shards, or with so many bytes as those may be, judged by the last that came.
const REPLIES_OUTSTANDING_MAX: usize = 256;
const BYTES_OUTSTANDING_MAX: usize = 4 << 20;
/// How often that is looked at within a pipeline.
const COMMANDS_PER_CHECK: u32 = 16;
/// Bytes read of one connection before others get their turn.
const READ_BYTES_PER_TURN: usize = 1 << 20;
/// Input buffers up to this size are kept by a connection.
const INPUT_KEPT_BYTES: usize = 4096;
/// While a pipeline's request waits for another shard, or its reply is on its way, replies are kept back to leave together: for so
/// long, and while they are fewer than so many bytes.
const REPLIES_KEPT_MS: i64 = 4;
const REPLIES_KEPT_BYTES: usize = 16 * 1024;
/// Sent bytes are taken off the engine's buffer when they are this many, or all.
const SENT_BYTES_MIN: usize = 1 << 20;

const HTTP_WARNING_PAUSE: Duration = Duration::from_secs(60);

/// What a connection needs of its shard's thread.
pub struct Core {
    pub shard: Shard,
    pub id: ShardId,
    pub limits: Limits,
    pub query_buffer_max: usize,
    pub has_password: bool,
    /// CLIENT PAUSE: until when, and whether reads go on.
    pub paused: Option<(i64, bool)>,
    pub requests: Vec<AdminRequest>,
    pub net_in: u64,
    pub net_out: u64,
    pub query_disconnections: u64,
    pub reads: u64,
    pub writes: u64,
    pub warned_of_http: Option<Instant>,
    pub timing: Timing,
}

/// Which commands of this core are measured: the first `MEASURED_PER_PASS` of a pass that come alone, and of all others, in pipelines
/// or on a busy core, one of `SAMPLE_PERIOD` on average, which then counts for so many. Reading the clock twice for each would cost
/// some percent of the throughput (docs/decisions.md).
pub struct Timing {
    random: u32,
    /// Commands until the next one that is measured.
    left: u32,
    left_in_pass: u32,
}

const MEASURED_PER_PASS: u32 = 2;

const SAMPLE_PERIOD: u32 = 32;

impl Default for Timing {
    fn default() -> Timing {
        Timing { random: 0x2545_F491, left: SAMPLE_PERIOD, left_in_pass: MEASURED_PER_PASS }
    }
}

impl Timing {
    pub fn begin_pass(&mut self) {
        self.left_in_pass = MEASURED_PER_PASS;
    }

    /// For how many commands this one is measured; 0 = it is not.
    fn weight(&mut self, is_alone: bool) -> u32 {
        if is_alone && self.left_in_pass > 0 {
            self.left_in_pass -= 1;
            return 1;
        }
        self.left -= 1;
        if self.left > 0 {
            return 0;
        }
        // At irregular distances, or a pipeline that repeats itself would show one of its commands only (xorshift; Marsaglia 2003).
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        self.left = 1 + self.random % (2 * SAMPLE_PERIOD - 1);
        SAMPLE_PERIOD
    }
}

impl Core {
    pub fn configure(&mut self, config: &Config) {
        self.limits.bulk_len_max = config.number::<u64>("proto-max-bulk-len") as usize;
        self.query_buffer_max = config.number::<u64>("client-query-buffer-limit") as usize;
        self.has_password = !config.text("requirepass").is_empty();
        let settings = &mut self.shard.settings;
        settings.strict_order = config.text("pipeline-order") == "strict";
        settings.events = EventClasses::parse(config.text("notify-keyspace-events"));
        settings.commit_timeout_ms = config.number("commit-timeout-ms");
        settings.requirepass = config.text("requirepass").as_bytes().to_vec();
        settings.debug = match config.text("enable-debug-command") {
            "yes" => DebugAccess::Yes,
            "local" => DebugAccess::Local,
            _ => DebugAccess::No,
        };
        self.shard.set_limits(config.limits());
        self.shard.keep_times(config.flag("latency-tracking"));
    }

    /// Once a minute, as Redis does.
    fn warn_of_http(&mut self, conn: ConnId) {
        if self.warned_of_http.is_none_or(|at| at.elapsed() > HTTP_WARNING_PAUSE) {
            self.warned_of_http = Some(Instant::now());
            journal::warning(&format!(
                "Possible SECURITY ATTACK detected. It looks like somebody is sending POST or Host: commands to Shardis. This is likely \
                 due to an attacker attempting to use Cross Protocol Scripting to compromise your instance. Connection id={} aborted.",
                conn.0
            ));
        }
    }

    fn is_paused_for(&self, args: &[&[u8]]) -> bool {
        match self.paused {
            None => false,
            // CLIENT itself must work, or nobody could end the pause.
            Some(_) if self.shard.settings.names.by_name(args[0]).is_some_and(|command| command.name == "client") => false,
            Some((_, false)) => true,
            Some((_, true)) => self.shard.settings.names.resolve(args).is_ok_and(|command| command.writes()),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// Everything that was there has been read and run, or it waits for something that will be told.
    Settled,
    /// More is there: its turn comes again in the next pass.
    More,
    /// The connection is broken.
    Broken,
}

pub struct Client {
    pub id: ConnId,
    pub fd: OwnedFd,
    pub is_local: bool,
    parser: RequestParser,
    /// Bytes of a request that is not complete, or could not be run yet.
    input: Vec<u8>,
    /// A parsed request that waits: its length.
    pending: Option<usize>,
    /// The kernel may have bytes that were not read.
    readable: bool,
    hung_up: bool,
    /// The engine said Wait and will wake it.
    pub waits: bool,
    /// Replies are kept back until then, because more of the same pipeline follow.
    pub keeps_until_ms: Option<i64>,
    /// Reading is stopped because of the output.
    pub congested: bool,
    /// No request is run any more; closed when the output is sent.
    pub closing: bool,
    /// Bytes of the engine's output that were sent but not taken off it yet.
    sent: usize,
    pub last_active_ms: i64,
}

impl Client {
    pub fn new(id: ConnId, fd: OwnedFd, is_local: bool, now_ms: i64) -> Client {
        Client {
            id,
            fd,
            is_local,
            parser: RequestParser::new(),
            input: Vec::new(),
            pending: None,
            readable: false,
            hung_up: false,
            waits: false,
            keeps_until_ms: None,
            congested: false,
            closing: false,
            sent: 0,
            last_active_ms: now_ms,
        }
    }

    pub fn input_bytes(&self) -> usize {
        self.input.len()
    }

    /// The kernel says that there is something to read (or the end).
    /// `hung_up`: the end of the stream is among it, which no later event will tell.
    pub fn is_readable(&mut self, core: &mut Core, buffer: &mut [u8], hung_up: bool) -> Progress {
        self.readable = true;
        self.hung_up |= hung_up;
        self.go_on(core, buffer)
    }

    fn may_run(&self) -> bool {
        !self.waits && !self.congested && !self.closing
    }

    /// Runs what is there already, then reads on.
    pub fn go_on(&mut self, core: &mut Core, buffer: &mut [u8]) -> Progress {
        if !self.input.is_empty() && self.may_run() {
            self.run_input(core);
        }
        let mut turn = 0;
        while self.readable && self.may_run() {
            if turn > READ_BYTES_PER_TURN {
                return Progress::More;
            }
            match self.receive(core, buffer) {
                Ok(0) => {
                    // The peer sends no more; what it has asked for is still answered.
                    self.readable = false;
                    self.closing = true;
                }
                Ok(bytes) => {
                    core.net_in += bytes as u64;
                    core.reads += 1;
                    turn += bytes;
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.readable = false,
                Err(_) => return Progress::Broken,
            }
        }
        Progress::Settled
    }

    /// One read, and what it completes. Edge-triggered: the next one happens at once, until the kernel says that there is no more, or has
    /// given less than it could.
    fn receive(&mut self, core: &mut Core, buffer: &mut [u8]) -> Result<usize, Errno> {
        if self.input.is_empty() {
            let (bytes, _) = rustix::net::recv(&self.fd, &mut *buffer, RecvFlags::empty())?;
            if bytes > 0 {
                self.readable = bytes == buffer.len() || self.hung_up;
                let taken = self.run(core, &buffer[..bytes]);
                self.input.extend_from_slice(&buffer[taken..bytes]);
            }
            return Ok(bytes);
        }
        // A big argument is read in place.
        let missing = self.parser.missing().saturating_sub(self.input.len()).clamp(buffer.len(), READ_BYTES_PER_TURN);
        self.reserve(missing);
        let room = self.input.capacity() - self.input.len();
        let (_, bytes) = rustix::net::recv(&self.fd, rustix::buffer::spare_capacity(&mut self.input), RecvFlags::empty())?;
        if bytes > 0 {
            self.readable = bytes >= room || self.hung_up;
            if self.input.len() > core.query_buffer_max {
                self.closing = true;
                core.query_disconnections += 1;
                return Ok(bytes);
            }
            self.run_input(core);
        }
        Ok(bytes)
    }

    /// Room for `bytes` more; grows by halves, so that a value of 512 MB is not copied five hundred times.
    fn reserve(&mut self, bytes: usize) {
        if self.input.capacity() - self.input.len() < bytes {
            self.input.reserve(bytes.max(self.input.len() / 2));
        }
    }

    fn run_input(&mut self, core: &mut Core) {
        let mut input = std::mem::take(&mut self.input);
        let taken = self.run(core, &input);
        if taken == input.len() {
            input.clear();
            if input.capacity() > INPUT_KEPT_BYTES {
                input = Vec::new();
            }
        } else if taken > 0 {
            input.drain(..taken);
        }
        self.input = input;
    }

    /// Runs the requests at the start of `data`; returns how many bytes are done with.
    fn run(&mut self, core: &mut Core, data: &[u8]) -> usize {
        // The arguments borrow from the parser while the connection changes.
        let mut parser = std::mem::take(&mut self.parser);
        let taken = self.run_with(&mut parser, core, data);
        self.parser = parser;
        taken
    }

    fn run_with(&mut self, parser: &mut RequestParser, core: &mut Core, data: &[u8]) -> usize {
        let mut at = 0;
        let mut commands = 0;
        let mut room: Vec<&[u8]> = Vec::with_capacity(8);
        loop {
            let consumed = match self.pending {
                Some(consumed) => consumed,
                None => {
                    if core.has_password {
                        core.limits.unauthenticated = core.shard.session(self.id).is_some_and(|session| !session.authenticated);
                    }
                    match parser.parse(&data[at..], &core.limits) {
                        Ok(Parsed::Request { consumed }) => consumed,
                        Ok(Parsed::Incomplete) => return at,
                        Err(error) => {
                            core.shard.push_reply(self.id, format!("-ERR {}\r\n", error.text()).as_bytes());
                            self.closing = true;
                            return data.len();
                        }
                    }
                }
            };
            let mut args = emptied(room);
            parser.fill_args(&data[at..], &mut args);
            if !args.is_empty() {
                self.pending = Some(consumed);
                if core.is_paused_for(&args) || !self.submit_timed(core, &args, commands == 0 && at + consumed == data.len()) {
                    self.waits = true;
                    return at;
                }
                self.pending = None;
            }
            room = emptied(args);
            at += consumed;
            if self.closing {
                return data.len();
            }
            commands += 1;
            if commands % COMMANDS_PER_CHECK == 0 && self.is_congested(core) {
                self.congested = true;
                return at;
            }
        }
    }

    /// Whether too much output is pending, or may be on its way.
    pub fn is_congested(&self, core: &Core) -> bool {
        core.shard.output_pending(self.id) - self.sent > OUTPUT_PENDING_MAX
            || core.shard.replies_outstanding(self.id) > REPLIES_OUTSTANDING_MAX
            || core.shard.bytes_outstanding(self.id) > BYTES_OUTSTANDING_MAX
    }

    fn submit_timed(&mut self, core: &mut Core, args: &[&[u8]], is_alone: bool) -> bool {
        let weight = core.timing.weight(is_alone);
        if weight == 0 {
            return self.submit(core, args);
        }
        core.shard.begin_timing();
        let begun = Instant::now();
        let is_taken = self.submit(core, args);
        core.shard.end_timing(begun.elapsed().as_nanos() as u64, weight as u64);
        is_taken
    }

    /// False: not taken, it has to wait.
    fn submit(&mut self, core: &mut Core, args: &[&[u8]]) -> bool {
        if is_of_http(args[0]) {
            core.warn_of_http(self.id);
            self.closing = true;
            return true;
        }
        match core.shard.submit(self.id, args) {
            Submit::Done => {
                // QUIT, told cheaply; by a name that it was given it takes the look-up.
                if args[0].len() == 4 && args[0].eq_ignore_ascii_case(b"quit") || core.shard.settings.names.are_changed() {
                    self.closing = core.shard.session(self.id).is_none_or(|session| session.close_after_reply);
                }
                true
            }
            Submit::Wait => false,
            Submit::Engine(command, ticket) => {
                let protocol = core.shard.session(self.id).map_or_else(Default::default, |session: &Session| session.protocol);
                core.requests.push(AdminRequest {
                    home: core.id,
                    conn: self.id,
                    ticket,
                    command,
                    args: args.iter().map(|arg| arg.to_vec()).collect(),
                    protocol,
                    is_local: self.is_local,
                });
                true
            }
        }
    }

    /// Whether replies had better wait for those of the requests that are already here: a pipeline that goes from shard to shard would
    /// otherwise send each reply by itself.
    pub fn keeps_replies(&mut self, core: &Core, now_ms: i64) -> bool {
        if !(self.waits || core.shard.replies_outstanding(self.id) > 0)
            || core.shard.output(self.id).len() - self.sent > REPLIES_KEPT_BYTES
        {
            return false;
        }
        now_ms < *self.keeps_until_ms.get_or_insert(now_ms + REPLIES_KEPT_MS)
    }

    /// Sends what is released, as much as the kernel takes.
    pub fn flush(&mut self, core: &mut Core) -> Progress {
        self.keeps_until_ms = None;
        loop {
            let output = core.shard.output(self.id);
            if self.sent == output.len() {
                break;
            }
            match rustix::net::send(&self.fd, &output[self.sent..], SendFlags::NOSIGNAL) {
                Ok(bytes) => {
                    self.sent += bytes;
                    core.net_out += bytes as u64;
                    core.writes += 1;
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(_) => return Progress::Broken,
            }
        }
        // Taking bytes off the front moves the rest: not for each piece that the kernel takes of a big reply.
        if self.sent > 0
            && (self.sent == core.shard.output(self.id).len()
                || self.sent >= SENT_BYTES_MIN.max(core.shard.output_pending(self.id) / 2))
        {
            core.shard.sent(self.id, self.sent);
            self.sent = 0;
        }
        if self.congested && !self.is_congested(core) {
            self.congested = false;
            return Progress::More;
        }
        Progress::Settled
    }

    /// Nothing will be read and nothing is left to be sent.
    pub fn is_over(&self, core: &Core) -> bool {
        self.closing && core.shard.is_idle(self.id)
    }
}

/// A browser that was tricked into sending commands in the body of a request. As Redis: what follows is not run.
fn is_of_http(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:")
}

/// The same memory for arguments of another life time: collecting in place allocates nothing.
fn emptied<'a>(mut args: Vec<&[u8]>) -> Vec<&'a [u8]> {
    args.clear();
    args.into_iter().map(|_| unreachable!("it was cleared")).collect()
}
