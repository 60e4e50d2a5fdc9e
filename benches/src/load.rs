//! The load generator: one thread, one epoll set, non-blocking sockets.
//!
//! Closed loop: each connection sends `depth` requests at once and sends the next batch when all replies are there;
//! latency counts from the batch's send. Open loop: request number i is due at i/rate whatever the server does, and its
//! latency counts from that instant, so a stall of the server shows in every request that it delayed (no coordinated
//! omission). No reply is counted before its content was checked.

use crate::workload::{Operation, Reply, Workload, mix};
use hdrhistogram::Histogram;
use rustix::event::{Timespec, epoll};
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// Latencies above this count as this.
const LATENCY_NS_MAX: u64 = 60_000_000_000;
/// An open loop gives up when so many requests wait: the server cannot keep up with the rate.
const BACKLOG_MAX: usize = 1_000_000;
/// A server that is silent for so long has failed.
const SILENCE_MAX: Duration = Duration::from_secs(10);
const READ_BYTES: usize = 256 * 1024;
/// Requests per chunk of the prefill.
const PREFILL_CHUNK: u64 = 1000;

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Pace {
    Closed { depth: usize },
    Open { per_second: f64 },
}

pub struct Load<'a> {
    pub address: SocketAddr,
    pub workload: &'a Workload,
    pub clients: usize,
    pub pace: Pace,
    pub warmup: Duration,
    pub duration: Duration,
    /// Each measurement draws other keys.
    pub seed: u64,
}

/// What one measurement saw. `S` is what the caller samples at both ends of the measured window (CPU times).
pub struct Measured<S> {
    /// Checked replies within the window.
    pub requests: u64,
    pub elapsed: Duration,
    /// Nanoseconds.
    pub latency: Histogram<u64>,
    pub before: S,
    pub after: S,
    /// All checked replies, warm-up and drain included.
    pub requests_ever: u64,
}

pub fn run<S>(load: &Load, sample: impl FnMut() -> S) -> Result<Measured<S>, String> {
    Generator::connect(load)?.run(sample)
}

/// Gives every key its value, over one connection.
pub fn prefill(address: SocketAddr, workload: &Workload) -> Result<(), String> {
    for_chunks(address, workload, Workload::encode_prefill, |line| match line {
        "+OK" => Ok(()),
        other => Err(format!("prefill: {other:?}")),
    })
}

/// The sum of all counters.
pub fn sum_of_counters(address: SocketAddr, workload: &Workload) -> Result<u64, String> {
    let mut sum = 0;
    for_chunks(address, workload, Workload::encode_get_counter, |line| {
        if !line.starts_with('$') {
            sum += line.parse::<u64>().map_err(|_| format!("counter: {line:?}"))?;
        }
        Ok(())
    })?;
    Ok(sum)
}

/// Sends one request per key in chunks and hands every line of the replies to `each`. A reply is one line, or a `$`
/// line and one line.
fn for_chunks(
    address: SocketAddr,
    workload: &Workload,
    encode: impl Fn(&Workload, u64, &mut Vec<u8>),
    mut each: impl FnMut(&str) -> Result<(), String>,
) -> Result<(), String> {
    use std::io::{BufRead, BufReader};
    let failed = |error| format!("prefill or count at {address}: {error}");
    let stream = TcpStream::connect(address).map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    stream.set_read_timeout(Some(SILENCE_MAX)).map_err(failed)?;
    let mut input = BufReader::with_capacity(READ_BYTES, &stream);
    let (mut out, mut line) = (Vec::new(), String::new());
    for first in (0..workload.keys).step_by(PREFILL_CHUNK as usize) {
        let last = workload.keys.min(first + PREFILL_CHUNK);
        out.clear();
        (first..last).for_each(|key| encode(workload, key, &mut out));
        (&stream).write_all(&out).map_err(failed)?;
        let mut open = last - first;
        while open > 0 {
            line.clear();
            input.read_line(&mut line).map_err(failed)?;
            each(line.trim_end())?;
            open -= u64::from(!line.starts_with('$') || line.starts_with("$-1"));
        }
    }
    Ok(())
}

struct Connection {
    stream: TcpStream,
    /// Requests that the socket did not take yet, from `sent` on.
    out: Vec<u8>,
    sent: usize,
    /// The beginning of a reply whose rest is not there yet.
    partial: Vec<u8>,
    /// In order of sending; the time is the send, or in an open loop the instant at which it was due.
    pending: VecDeque<(Operation, Instant)>,
}

impl Connection {
    /// Writes what the socket takes. Edge-triggered: a later writable event calls this again.
    fn flush(&mut self) -> Result<(), String> {
        while self.sent < self.out.len() {
            match self.stream.write(&self.out[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("send: {error}")),
            }
        }
        self.out.clear();
        self.sent = 0;
        Ok(())
    }
}

struct Generator<'a> {
    load: &'a Load<'a>,
    epoll: OwnedFd,
    connections: Vec<Connection>,
    scratch: Vec<u8>,
    latency: Histogram<u64>,
    /// Requests issued so far; with the seed it gives the next operation.
    issued: u64,
    backlog: usize,
    requests: u64,
    requests_ever: u64,
    /// Latencies of requests sent (or due) before this are not recorded.
    window_start: Instant,
}

impl<'a> Generator<'a> {
    fn connect(load: &'a Load<'a>) -> Result<Generator<'a>, String> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|error| format!("epoll_create: {error}"))?;
        let connections = (0..load.clients)
            .map(|index| open(load.address, &epoll, index as u64).map_err(|error| format!("connection {index}: {error}")))
            .collect::<Result<_, _>>()?;
        let latency = Histogram::new_with_bounds(100, LATENCY_NS_MAX, 3).expect("the bounds are valid constants");
        Ok(Generator {
            load,
            epoll,
            connections,
            scratch: vec![0; READ_BYTES],
            latency,
            issued: 0,
            backlog: 0,
            requests: 0,
            requests_ever: 0,
            window_start: Instant::now(),
        })
    }

    fn run<S>(mut self, mut sample: impl FnMut() -> S) -> Result<Measured<S>, String> {
        let start = Instant::now();
        self.window_start = start;
        self.drive(start, self.load.warmup)?;

        self.latency.reset();
        self.requests = 0;
        self.window_start = Instant::now();
        let before = sample();
        self.drive(start, self.window_start - start + self.load.duration)?;
        let after = sample();
        let elapsed = self.window_start.elapsed();
        let requests = self.requests;

        self.drain()?;
        let Generator { latency, requests_ever, .. } = self;
        Ok(Measured { requests, elapsed, latency, before, after, requests_ever })
    }

    /// Issues and receives until `end` after `start`. The open loop's schedule runs from `start`, so warm-up and
    /// measurement are one schedule.
    fn drive(&mut self, start: Instant, end: Duration) -> Result<(), String> {
        let mut heard = Instant::now();
        loop {
            let now = Instant::now();
            if now >= start + end {
                return Ok(());
            }
            let wait = match self.load.pace {
                Pace::Closed { depth } => {
                    // Only the first pass finds idle connections here: later each answered batch starts the next one.
                    if self.issued == 0 {
                        (0..self.connections.len()).try_for_each(|index| self.send_batch(index, depth, now))?;
                    }
                    start + end - now
                }
                Pace::Open { per_second } => self.send_due(start, per_second, now)?.min(start + end - now),
            };
            if self.receive(wait, true)? {
                heard = Instant::now();
            } else if self.backlog > 0 && heard.elapsed() > SILENCE_MAX {
                return Err(format!("no reply for {} s, {} requests wait", SILENCE_MAX.as_secs(), self.backlog));
            }
        }
    }

    fn drain(&mut self) -> Result<(), String> {
        while self.backlog > 0 {
            if !self.receive(SILENCE_MAX, false)? {
                return Err(format!("{} requests were never answered", self.backlog));
            }
        }
        Ok(())
    }

    fn send_batch(&mut self, index: usize, depth: usize, now: Instant) -> Result<(), String> {
        (0..depth).for_each(|_| self.queue(index, now));
        self.connections[index].flush()
    }

    /// Sends everything that is due, over the connections in turn; returns the time until the next request is due.
    fn send_due(&mut self, start: Instant, per_second: f64, now: Instant) -> Result<Duration, String> {
        let due = |issued: u64| start + Duration::from_secs_f64(issued as f64 / per_second);
        let first = self.issued;
        while due(self.issued) <= now {
            let index = (self.issued % self.connections.len() as u64) as usize;
            self.queue(index, due(self.issued));
        }
        if self.backlog > BACKLOG_MAX {
            return Err(format!("the server does not keep up with {per_second} requests/s: {BACKLOG_MAX} wait"));
        }
        let count = self.connections.len() as u64;
        for issued in first..self.issued.min(first + count) {
            self.connections[(issued % count) as usize].flush()?;
        }
        Ok(due(self.issued).saturating_duration_since(now))
    }

    fn queue(&mut self, index: usize, time: Instant) {
        let operation = self.load.workload.operation(mix(self.load.seed ^ self.issued.rotate_left(32)));
        let connection = &mut self.connections[index];
        self.load.workload.encode(operation, &mut connection.out);
        connection.pending.push_back((operation, time));
        self.issued += 1;
        self.backlog += 1;
    }

    /// Waits at most `wait` for events and handles them. `go_on`: an answered batch starts the next one.
    fn receive(&mut self, wait: Duration, go_on: bool) -> Result<bool, String> {
        let mut events = [epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) }; 256];
        let wait = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: wait.subsec_nanos().into() };
        let count = match epoll::wait(&self.epoll, &mut events[..], Some(&wait)) {
            Ok(count) => count,
            Err(rustix::io::Errno::INTR) => 0,
            Err(error) => return Err(format!("epoll_wait: {error}")),
        };
        for event in &events[..count] {
            let index = event.data.u64() as usize;
            self.connections[index].flush()?;
            // A copy: the kernel's structure is packed.
            let flags = event.flags;
            if flags.intersects(!epoll::EventFlags::OUT) {
                self.read(index)?;
                self.next_batch(index, go_on)?;
            }
        }
        Ok(count > 0)
    }

    fn next_batch(&mut self, index: usize, go_on: bool) -> Result<(), String> {
        match self.load.pace {
            Pace::Closed { depth } if go_on && self.connections[index].pending.is_empty() => {
                self.send_batch(index, depth, Instant::now())
            }
            _ => Ok(()),
        }
    }

    /// Reads until the socket is empty: with edge-triggered events nobody tells us twice.
    fn read(&mut self, index: usize) -> Result<(), String> {
        loop {
            match self.connections[index].stream.read(&mut self.scratch) {
                Ok(0) => return Err("the server closed the connection".to_owned()),
                Ok(count) => {
                    self.accept(index, count)?;
                    // A short read has emptied the socket (epoll(7), Q9).
                    if count < self.scratch.len() {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("receive: {error}")),
            }
        }
    }

    /// Checks the replies in the first `count` bytes of the scratch buffer, after what was left of the last read.
    fn accept(&mut self, index: usize, count: usize) -> Result<(), String> {
        let now = Instant::now();
        let connection = &mut self.connections[index];
        let mut carried = std::mem::take(&mut connection.partial);
        let mut input = &self.scratch[..count];
        if !carried.is_empty() {
            carried.extend_from_slice(input);
            input = &carried;
        }
        while !input.is_empty() {
            let Some(&(operation, time)) = connection.pending.front() else {
                return Err(format!(
                    "a reply that nobody asked for: {:?}",
                    String::from_utf8_lossy(&input[..input.len().min(60)])
                ));
            };
            match self.load.workload.check(operation, input) {
                Reply::Good(length) => input = &input[length..],
                Reply::Partial => break,
                Reply::Bad(message) => return Err(message),
            }
            connection.pending.pop_front();
            self.backlog -= 1;
            self.requests += 1;
            self.requests_ever += 1;
            if time >= self.window_start {
                self.latency.saturating_record((now - time).as_nanos() as u64);
            }
        }
        connection.partial = input.to_vec();
        Ok(())
    }
}

fn open(address: SocketAddr, epoll: &OwnedFd, index: u64) -> std::io::Result<Connection> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
    epoll::add(epoll, &stream, epoll::EventData::new_u64(index), flags)?;
    Ok(Connection { stream, out: Vec::new(), sent: 0, partial: Vec::new(), pending: VecDeque::new() })
}
