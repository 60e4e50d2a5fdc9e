//! How often each command was called, how it ended and how long it took: INFO commandstats, errorstats and latencystats.
//!
//! Calls and errors are counted where the client's connection is, times where the command runs. The engine reads no clock: the driver
//! measures some of what it has executed and says so (`begin_timing`, `end_timing`). What runs under one measurement shares its time
//! equally; `weight` tells for how many times as much execution a measurement stands.

use super::Shard;
use crate::commands::{Command, CommandStats};
use crate::snapshot::BaseWriter;
use std::collections::BTreeMap;

/// Slots of the table of commands: a power of two, several times the number of commands.
const SLOTS: usize = 2048;

/// Errors of so many kinds are told apart; scripts can make up any number.
const ERROR_KINDS_MAX: usize = 128;

#[derive(Clone, Default)]
struct Slot {
    /// None: a free slot.
    command: Option<&'static Command>,
    calls: u64,
    rejected: u64,
    failed: u64,
    time_ns: u64,
    times: Option<Box<Times>>,
}

pub struct Calls {
    slots: Box<[Slot]>,
    errors: BTreeMap<Vec<u8>, u64>,
    total_calls: u64,
    total_errors: u64,
    is_timing: bool,
    /// Slots of what has run since `begin_timing`.
    ran: Vec<u16>,
    /// `latency-tracking`.
    pub keeps_times: bool,
}

/// One command's figures.
#[derive(Clone, Default)]
pub struct CommandCalls {
    pub calls: u64,
    pub rejected: u64,
    pub failed: u64,
    pub time_ns: u64,
    pub times: Times,
}

/// What INFO shows, to be added up over shards.
#[derive(Clone, Default)]
pub struct CallReport {
    pub commands: BTreeMap<&'static str, CommandCalls>,
    /// By the first word of the error.
    pub errors: BTreeMap<Vec<u8>, u64>,
}

impl Default for Calls {
    fn default() -> Calls {
        Calls {
            slots: vec![Slot::default(); SLOTS].into_boxed_slice(),
            errors: BTreeMap::new(),
            total_calls: 0,
            total_errors: 0,
            is_timing: false,
            ran: Vec::new(),
            keeps_times: true,
        }
    }
}

impl Calls {
    /// By the entry's address, which is its identity; nothing that is observable depends on where entries lie.
    fn slot_of(&mut self, command: &'static Command) -> usize {
        let address = std::ptr::from_ref(command) as u64;
        let mut slot = (address.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - SLOTS.trailing_zeros())) as usize;
        loop {
            match self.slots[slot].command {
                Some(found) if std::ptr::eq(found, command) => return slot,
                Some(_) => slot = (slot + 1) & (SLOTS - 1),
                None => {
                    // There are fewer commands than slots, so a free one is always found.
                    self.slots[slot].command = Some(command);
                    return slot;
                }
            }
        }
    }

    pub fn total_calls(&self) -> u64 {
        self.total_calls
    }

    pub fn total_errors(&self) -> u64 {
        self.total_errors
    }

    // --- Counting ----------------------------------------------------------------------------------------------------

    pub(super) fn called(&mut self, command: &'static Command) {
        let slot = self.slot_of(command);
        self.slots[slot].calls = self.slots[slot].calls.wrapping_add(1);
        self.total_calls = self.total_calls.wrapping_add(1);
    }

    /// Never run: a wrong number of arguments, no permission. `error`: `-CODE text`.
    pub(super) fn rejected(&mut self, command: Option<&'static Command>, error: &[u8]) {
        if let Some(command) = command {
            let slot = self.slot_of(command);
            self.slots[slot].rejected += 1;
        }
        self.error(error);
    }

    /// A call (counted by `called` as well) whose reply is this error.
    #[cold]
    pub(super) fn failed(&mut self, command: &'static Command, error: &[u8]) {
        let slot = self.slot_of(command);
        if error.starts_with(b"-MISCONF") {
            // Refused before it ran: no call. It may be counted as one only later.
            self.slots[slot].rejected += 1;
            self.slots[slot].calls = self.slots[slot].calls.wrapping_sub(1);
            self.total_calls = self.total_calls.wrapping_sub(1);
        } else {
            self.slots[slot].failed += 1;
        }
        self.error(error);
    }

    pub(super) fn error(&mut self, error: &[u8]) {
        self.total_errors += 1;
        let text = error.strip_prefix(b"-").unwrap_or(error);
        let end = text.iter().position(|byte| byte.is_ascii_whitespace()).unwrap_or(text.len());
        if let Some(count) = self.errors.get_mut(&text[..end]) {
            *count += 1;
        } else if self.errors.len() < ERROR_KINDS_MAX {
            self.errors.insert(text[..end].to_vec(), 1);
        }
    }

    // --- Times -------------------------------------------------------------------------------------------------------

    pub(super) fn ran(&mut self, command: &'static Command) {
        if self.is_timing {
            let slot = self.slot_of(command);
            self.ran.push(slot as u16);
        }
    }

    pub(super) fn begin_timing(&mut self) {
        self.is_timing = true;
        self.ran.clear();
    }

    pub(super) fn end_timing(&mut self, elapsed_ns: u64, weight: u64) {
        self.is_timing = false;
        let share = elapsed_ns / self.ran.len().max(1) as u64;
        for &slot in &self.ran {
            let slot = &mut self.slots[slot as usize];
            slot.time_ns += share * weight;
            if self.keeps_times {
                slot.times.get_or_insert_default().add(share, weight);
            }
        }
    }

    /// Of a command that runs outside of the engine.
    pub(super) fn took(&mut self, command: &'static Command, elapsed_ns: u64) {
        self.begin_timing();
        self.ran(command);
        self.end_timing(elapsed_ns, 1);
    }

    // --- Reports -----------------------------------------------------------------------------------------------------

    pub(super) fn reset(&mut self) {
        *self = Calls { keeps_times: self.keeps_times, ..Calls::default() };
    }

    pub fn report(&self) -> CallReport {
        let mut report = CallReport { commands: BTreeMap::new(), errors: self.errors.clone() };
        for slot in &self.slots {
            if let Some(command) = slot.command {
                report.commands.entry(command.name).or_default().add(slot);
            }
        }
        report
    }
}

impl CommandCalls {
    fn add(&mut self, slot: &Slot) {
        let times = slot.times.as_deref().cloned().unwrap_or_default();
        let (calls, rejected, failed, time_ns) = (slot.calls, slot.rejected, slot.failed, slot.time_ns);
        self.merge(&CommandCalls { calls, rejected, failed, time_ns, times });
    }

    fn merge(&mut self, other: &CommandCalls) {
        // Signed in spirit: one shard may have counted a refusal that another counts as a call.
        self.calls = self.calls.wrapping_add(other.calls);
        self.rejected += other.rejected;
        self.failed += other.failed;
        self.time_ns += other.time_ns;
        self.times.merge(&other.times);
    }
}

impl CallReport {
    pub fn merge(&mut self, other: &CallReport) {
        for (name, calls) in &other.commands {
            self.commands.entry(name).or_default().merge(calls);
        }
        for (kind, count) in &other.errors {
            *self.errors.entry(kind.clone()).or_default() += count;
        }
    }
}

/// Sixteen buckets to each doubling: a bucket is at most 1/16 wide.
const STEP_BITS: u32 = 4;
const STEPS: u64 = 1 << STEP_BITS;
/// Up to 2^40 ns, 18 minutes.
const BUCKETS: usize = (40 - STEP_BITS as usize + 1) << STEP_BITS;

/// How often each duration was seen, in buckets.
#[derive(Clone, Default)]
pub struct Times {
    /// Empty before the first one.
    counts: Vec<u64>,
    total: u64,
}

fn bucket_of(ns: u64) -> usize {
    if ns < STEPS {
        return ns as usize;
    }
    let shift = ns.ilog2() - STEP_BITS;
    ((((shift + 1) as usize) << STEP_BITS) + ((ns >> shift) & (STEPS - 1)) as usize).min(BUCKETS - 1)
}

/// The greatest duration of a bucket.
fn top_of(bucket: usize) -> u64 {
    let (octave, step) = (bucket as u64 >> STEP_BITS, bucket as u64 & (STEPS - 1));
    if octave == 0 { step } else { ((STEPS + step + 1) << (octave - 1)) - 1 }
}

impl Times {
    fn add(&mut self, ns: u64, weight: u64) {
        if self.counts.is_empty() {
            self.counts = vec![0; BUCKETS];
        }
        self.counts[bucket_of(ns)] += weight;
        self.total += weight;
    }

    fn merge(&mut self, other: &Times) {
        if self.counts.is_empty() {
            *self = other.clone();
        } else if !other.counts.is_empty() {
            self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
            self.total += other.total;
        }
    }

    /// None: nothing was measured.
    pub fn percentile_ns(&self, percent: f64) -> Option<u64> {
        let rank = (percent / 100.0 * self.total as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        let bucket = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        Some(top_of(bucket))
    }
}

/// For the driver.
impl Shard {
    pub fn calls(&self) -> &Calls {
        &self.calls
    }

    /// `latency-tracking`.
    pub fn keep_times(&mut self, keeps: bool) {
        self.calls.keeps_times = keeps;
    }

    /// Changes that no base holds.
    pub fn changes_unsaved(&self) -> u64 {
        self.keyspace.changes() - self.changes_saved
    }

    /// Of the base that is being written: keys walked, and how many there are.
    pub fn save_progress(&self) -> (u64, u64) {
        self.base.as_ref().map_or((0, 0), BaseWriter::progress)
    }

    pub fn reset_stats(&mut self) {
        self.stats = CommandStats::default();
        self.calls.reset();
    }

    /// The driver measures how long what it does next takes …
    pub fn begin_timing(&mut self) {
        self.calls.begin_timing();
    }

    /// … until now; it does so for one of `weight` such things.
    pub fn end_timing(&mut self, elapsed_ns: u64, weight: u64) {
        self.calls.end_timing(elapsed_ns, weight);
    }

    /// The server around the engine has run a command for so long.
    pub fn took(&mut self, command: &'static Command, elapsed_ns: u64) {
        self.calls.took(command, elapsed_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::by_name;

    #[test]
    fn buckets_are_narrow_and_in_order() {
        let mut last = 0;
        for ns in (0..2000).chain((11..40).flat_map(|bit| [(1 << bit) - 1, 1 << bit, (1 << bit) + (1 << (bit - 2))])) {
            let (bucket, top) = (bucket_of(ns), top_of(bucket_of(ns)));
            assert!(top >= ns && top <= ns + ns / 16, "{ns}: {top}");
            assert!(ns < last || bucket >= bucket_of(last));
            last = ns;
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_those_of_what_was_seen() {
        let mut times = Times::default();
        assert_eq!(times.percentile_ns(50.0), None);
        (0..98).for_each(|_| times.add(1000, 1));
        times.add(50_000, 2);
        let close = |found: Option<u64>, to: u64| found.is_some_and(|found| found >= to && found <= to + to / 16);
        assert!(close(times.percentile_ns(50.0), 1000));
        assert!(close(times.percentile_ns(98.0), 1000));
        assert!(close(times.percentile_ns(99.0), 50_000));
        assert!(close(times.percentile_ns(100.0), 50_000));
    }

    #[test]
    fn what_runs_together_shares_the_time() {
        let (get, set) = (by_name(b"get").expect("a command"), by_name(b"set").expect("a command"));
        let mut calls = Calls::default();
        calls.begin_timing();
        calls.ran(get);
        calls.ran(set);
        calls.ran(get);
        calls.end_timing(3000, 2);
        // Not under a measurement.
        calls.ran(set);
        calls.called(get);
        calls.failed(get, b"-WRONGTYPE Operation\r\n");
        calls.rejected(None, b"-ERR unknown\r\n");
        let report = calls.report();
        assert_eq!((report.commands["get"].time_ns, report.commands["set"].time_ns), (4000, 2000));
        assert_eq!((report.commands["get"].calls, report.commands["get"].failed), (1, 1));
        assert_eq!(report.errors[&b"WRONGTYPE"[..]], 1);
        assert_eq!(calls.total_errors(), 2);
    }
}
