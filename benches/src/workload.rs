//! What is asked and what must come back.
//!
//! Every key has one value, derived from its number, and every operation is derived from one seed. So a reply can be
//! checked to the byte without remembering more than eight bytes per request in flight, and without a second store.
//! This module knows no sockets and no clock.

use clap::ValueEnum;

/// The command mix of one measurement.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Command {
    Set,
    Get,
    Incr,
    Mset,
    Mget,
    /// Four GETs to one SET.
    Mixed,
}

impl Command {
    pub fn name(self) -> &'static str {
        match self {
            Command::Set => "set",
            Command::Get => "get",
            Command::Incr => "incr",
            Command::Mset => "mset",
            Command::Mget => "mget",
            Command::Mixed => "mixed",
        }
    }
}

/// One request in flight.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Operation {
    pub kind: Kind,
    /// The keys follow from it: see [`Workload::key`].
    seed: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Set,
    Get,
    Incr,
    Mset,
    Mget,
}

const FILLER_BYTES: usize = 8192;

pub struct Workload {
    pub command: Command,
    /// Size of the key space; keys are drawn uniformly.
    pub keys: u64,
    pub value_bytes: usize,
    /// Keys per MSET and MGET.
    pub multi_keys: usize,
    /// Values are windows of this text, at an offset that depends on the key.
    filler: Vec<u8>,
    /// `$<size>\r\n`, which precedes every value in requests and replies.
    value_header: Vec<u8>,
}

/// A reply, as far as it is there.
#[derive(PartialEq, Eq, Debug)]
pub enum Reply {
    /// As expected; it took so many bytes.
    Good(usize),
    /// A correct beginning: read more.
    Partial,
    Bad(String),
}

impl Workload {
    pub fn new(command: Command, keys: u64, value_bytes: usize, multi_keys: usize) -> Workload {
        let filler = (0..(FILLER_BYTES + value_bytes) as u64).map(|at| b'a' + (mix(at) % 26) as u8).collect();
        let value_header = format!("${value_bytes}\r\n").into_bytes();
        Workload { command, keys, value_bytes, multi_keys, filler, value_header }
    }

    pub fn operation(&self, seed: u64) -> Operation {
        let kind = match self.command {
            Command::Set => Kind::Set,
            Command::Get => Kind::Get,
            Command::Incr => Kind::Incr,
            Command::Mset => Kind::Mset,
            Command::Mget => Kind::Mget,
            Command::Mixed if seed.is_multiple_of(5) => Kind::Set,
            Command::Mixed => Kind::Get,
        };
        Operation { kind, seed }
    }

    fn key(&self, operation: Operation, index: usize) -> u64 {
        mix(operation.seed.wrapping_add(index as u64)) % self.keys
    }

    fn value(&self, key: u64) -> &[u8] {
        let offset = mix(key) as usize % FILLER_BYTES;
        &self.filler[offset..offset + self.value_bytes]
    }

    /// Appends the request to `out`.
    pub fn encode(&self, operation: Operation, out: &mut Vec<u8>) {
        match operation.kind {
            Kind::Set => self.encode_set(self.key(operation, 0), out),
            Kind::Get => self.encode_get(self.key(operation, 0), out),
            Kind::Incr => {
                out.extend_from_slice(b"*2\r\n$4\r\nINCR\r\n");
                bulk_key(b"cnt:", self.key(operation, 0), out);
            }
            Kind::Mset => {
                out.extend_from_slice(format!("*{}\r\n$4\r\nMSET\r\n", 1 + 2 * self.multi_keys).as_bytes());
                for key in (0..self.multi_keys).map(|index| self.key(operation, index)) {
                    self.key_and_value(key, out);
                }
            }
            Kind::Mget => {
                out.extend_from_slice(format!("*{}\r\n$4\r\nMGET\r\n", 1 + self.multi_keys).as_bytes());
                for key in (0..self.multi_keys).map(|index| self.key(operation, index)) {
                    bulk_key(b"key:", key, out);
                }
            }
        }
    }

    fn encode_set(&self, key: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(b"*3\r\n$3\r\nSET\r\n");
        self.key_and_value(key, out);
    }

    fn encode_get(&self, key: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(b"*2\r\n$3\r\nGET\r\n");
        bulk_key(b"key:", key, out);
    }

    fn key_and_value(&self, key: u64, out: &mut Vec<u8>) {
        bulk_key(b"key:", key, out);
        self.bulk_value(key, out);
    }

    fn bulk_value(&self, key: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.value_header);
        out.extend_from_slice(self.value(key));
        out.extend_from_slice(b"\r\n");
    }

    /// Appends the request that puts key number `key` in its state before the measurement; its reply is `+OK`.
    pub fn encode_prefill(&self, key: u64, out: &mut Vec<u8>) {
        if self.command == Command::Incr {
            out.extend_from_slice(b"*3\r\n$3\r\nSET\r\n");
            bulk_key(b"cnt:", key, out);
            out.extend_from_slice(b"$1\r\n0\r\n");
        } else {
            self.encode_set(key, out);
        }
    }

    /// Appends a GET of counter `key`: the sum of all counters must equal the INCRs that were answered.
    pub fn encode_get_counter(&self, key: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(b"*2\r\n$3\r\nGET\r\n");
        bulk_key(b"cnt:", key, out);
    }

    /// Compares the beginning of `input` with the reply that `operation` must get.
    pub fn check(&self, operation: Operation, input: &[u8]) -> Reply {
        let mut left = input;
        let fits = match operation.kind {
            Kind::Set | Kind::Mset => take(&mut left, b"+OK\r\n"),
            Kind::Get => self.take_value(&mut left, self.key(operation, 0)),
            Kind::Incr => take_counter(&mut left),
            Kind::Mget => self.take_values(&mut left, operation),
        };
        match fits {
            Fit::Yes => Reply::Good(input.len() - left.len()),
            Fit::Short => Reply::Partial,
            Fit::No => Reply::Bad(format!("{:?} was answered by {}", operation.kind, excerpt(input))),
        }
    }

    fn take_value(&self, input: &mut &[u8], key: u64) -> Fit {
        take(input, &self.value_header).and_then(|| take(input, self.value(key))).and_then(|| take(input, b"\r\n"))
    }

    fn take_values(&self, input: &mut &[u8], operation: Operation) -> Fit {
        let header = format!("*{}\r\n", self.multi_keys);
        let mut fit = take(input, header.as_bytes());
        for index in 0..self.multi_keys {
            fit = fit.and_then(|| self.take_value(input, self.key(operation, index)));
        }
        fit
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fit {
    Yes,
    Short,
    No,
}

impl Fit {
    fn and_then(self, next: impl FnOnce() -> Fit) -> Fit {
        if self == Fit::Yes { next() } else { self }
    }
}

fn take(input: &mut &[u8], expected: &[u8]) -> Fit {
    let there = input.len().min(expected.len());
    if input[..there] != expected[..there] {
        return Fit::No;
    }
    if there < expected.len() {
        return Fit::Short;
    }
    *input = &input[there..];
    Fit::Yes
}

/// An integer above zero: INCR never answers less, because the counters start at zero.
fn take_counter(input: &mut &[u8]) -> Fit {
    let fit = take(input, b":");
    if fit != Fit::Yes {
        return fit;
    }
    let digits = input.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits > 19 || (digits > 0 && input[0] == b'0') || (digits == 0 && !input.is_empty()) {
        return Fit::No;
    }
    *input = &input[digits..];
    take(input, b"\r\n")
}

fn excerpt(input: &[u8]) -> String {
    let shown = input.split(|&byte| byte == b'\r').next().unwrap_or_default();
    format!("{:?}", String::from_utf8_lossy(&shown[..shown.len().min(120)]))
}

/// `$16\r\n<prefix><12 digits>\r\n`
fn bulk_key(prefix: &[u8; 4], key: u64, out: &mut Vec<u8>) {
    let mut text = *b"$16\r\n____000000000000\r\n";
    text[5..9].copy_from_slice(prefix);
    let mut rest = key;
    for digit in text[9..21].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out.extend_from_slice(&text);
}

/// SplitMix64 (Steele, Lea, Flood 2014): neighbouring inputs give unrelated outputs.
pub fn mix(input: u64) -> u64 {
    let mut z = input.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(command: Command) -> Workload {
        Workload::new(command, 1000, 10, 3)
    }

    /// The reply that a correct server gives.
    fn reply(workload: &Workload, operation: Operation) -> Vec<u8> {
        let mut out = Vec::new();
        match operation.kind {
            Kind::Set | Kind::Mset => out.extend_from_slice(b"+OK\r\n"),
            Kind::Incr => out.extend_from_slice(b":17\r\n"),
            Kind::Get => workload.bulk_value(workload.key(operation, 0), &mut out),
            Kind::Mget => {
                out.extend_from_slice(b"*3\r\n");
                (0..3).for_each(|index| workload.bulk_value(workload.key(operation, index), &mut out));
            }
        }
        out
    }

    #[test]
    fn every_beginning_of_a_good_reply_is_partial_and_the_whole_is_good() {
        for command in Command::value_variants() {
            let workload = workload(*command);
            let operation = workload.operation(7);
            let good = reply(&workload, operation);
            for length in 0..good.len() {
                assert_eq!(workload.check(operation, &good[..length]), Reply::Partial, "{command:?} {length}");
            }
            let mut followed = good.clone();
            followed.extend_from_slice(b"+OK\r\n");
            assert_eq!(workload.check(operation, &followed), Reply::Good(good.len()), "{command:?}");
        }
    }

    #[test]
    fn a_changed_byte_is_found() {
        for command in Command::value_variants() {
            let workload = workload(*command);
            let operation = workload.operation(7);
            let good = reply(&workload, operation);
            for at in 0..good.len() {
                let mut bad = good.clone();
                bad[at] = b'\0';
                assert!(matches!(workload.check(operation, &bad), Reply::Bad(_)), "{command:?} {at}");
            }
        }
    }

    #[test]
    fn an_error_reply_is_shown() {
        let workload = workload(Command::Set);
        let Reply::Bad(message) = workload.check(workload.operation(1), b"-MISCONF disk\r\n") else { panic!("accepted") };
        assert!(message.contains("-MISCONF disk"), "{message}");
    }

    #[test]
    fn requests_are_resp_arrays() {
        let workload = workload(Command::Get);
        let mut out = Vec::new();
        workload.encode_get(42, &mut out);
        assert_eq!(out, b"*2\r\n$3\r\nGET\r\n$16\r\nkey:000000000042\r\n");
    }
}
