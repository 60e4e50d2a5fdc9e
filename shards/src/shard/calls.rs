//! How often each command was called, how it ended and how long it took: INFO commandstats, errorstats and latencystats.
//!
//! Calls and errors are counted where the client's connection is, times where the command runs. The engine reads no clock: the driver
//! measures some of what it has executed and says so (`begin_timing`, `end_timing`). What runs under one measurement shares its time
//! equally; `weight` tells for how many times as much execution a measurement stands.

use super::Shard;
use crate::commands::{Command, CommandStats};
use crate::snapshot::BaseWriter;
use crate::types::Limits;
use hdrhistogram::Histogram;
use std::collections::BTreeMap;

/// Slots of the table of commands: a power of two, several times the number of commands.
const SLOTS: usize = 2048;

/// Errors of so many kinds are told apart; scripts can make up any number.
const ERROR_KINDS_MAX: usize = 128;

/// Times are told apart up to a minute, to two digits: 30 KiB for each command that a shard has really run.
/// (Redis stops at one second.)
const TIME_NS_MAX: u64 = 60_000_000_000;
const TIME_DIGITS: u8 = 2;

/// How often each time was seen; one beyond the bounds counts as the bound.
fn new_times() -> Box<Histogram<u64>> {
    Box::new(Histogram::new_with_bounds(1, TIME_NS_MAX, TIME_DIGITS).expect("constant bounds"))
}

#[derive(Clone, Default)]
struct Slot {
    /// None: a free slot.
    command: Option<&'static Command>,
    calls: u64,
    rejected: u64,
    failed: u64,
    time_ns: u64,
    times: Option<Box<Histogram<u64>>>,
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
    /// None: nothing was measured.
    times: Option<Box<Histogram<u64>>>,
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
                slot.times.get_or_insert_with(new_times).saturating_record_n(share, weight);
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
        let (calls, rejected, failed, time_ns) = (slot.calls, slot.rejected, slot.failed, slot.time_ns);
        self.merge(&CommandCalls { calls, rejected, failed, time_ns, times: slot.times.clone() });
    }

    fn merge(&mut self, other: &CommandCalls) {
        // Signed in spirit: one shard may have counted a refusal that another counts as a call.
        self.calls = self.calls.wrapping_add(other.calls);
        self.rejected += other.rejected;
        self.failed += other.failed;
        self.time_ns += other.time_ns;
        if let Some(times) = &other.times {
            self.times.get_or_insert_with(new_times).add(&**times).expect("all have the same bounds");
        }
    }

    /// The time that so many percent of the executions did not exceed. None: nothing was measured.
    pub fn percentile_ns(&self, percent: f64) -> Option<u64> {
        Some(self.times.as_ref()?.value_at_percentile(percent))
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

/// For the driver.
impl Shard {
    pub fn calls(&self) -> &Calls {
        &self.calls
    }

    /// `latency-tracking`.
    pub fn keep_times(&mut self, keeps: bool) {
        self.calls.keeps_times = keeps;
    }

    /// The thresholds of the compact encodings, for what changes from now on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.keyspace.set_limits(limits);
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
    fn percentiles_are_those_of_what_was_seen() {
        let mut calls = CommandCalls::default();
        assert_eq!(calls.percentile_ns(50.0), None);
        calls.add(&Slot { times: Some(times_of(&[(1000, 90), (1000, 8), (50_000, 2)])), ..Slot::default() });
        let close = |percent: f64, to: u64| calls.percentile_ns(percent).is_some_and(|ns| ns >= to && ns <= to + to / 100);
        assert!(close(50.0, 1000) && close(98.0, 1000) && close(99.0, 50_000) && close(100.0, 50_000));
    }

    #[test]
    fn a_weight_and_the_figures_of_another_shard_count_in_percentiles() {
        let (mut here, mut there) = (CommandCalls::default(), CommandCalls::default());
        here.add(&Slot { times: Some(times_of(&[(100, 30)])), ..Slot::default() });
        there.merge(&CommandCalls::default());
        there.merge(&here);
        there.add(&Slot { times: Some(times_of(&[(200, 70)])), ..Slot::default() });
        let at = |percent| there.percentile_ns(percent);
        assert_eq!((at(30.0), at(31.0), at(100.0)), (Some(100), Some(200), Some(200)));
    }

    #[test]
    fn times_out_of_bounds_count_as_the_bound_and_counters_have_64_bits() {
        let times = times_of(&[(0, 1), (u64::MAX, 1)]);
        assert_eq!(times.len(), 2);
        let top = times.value_at_percentile(100.0);
        assert!((TIME_NS_MAX..=TIME_NS_MAX + TIME_NS_MAX / 100).contains(&top), "{top}");
        // An hour and more of a fast command.
        let times = times_of(&[(1000, 1 << 33), (2000, 1 << 32)]);
        assert!(times.value_at_percentile(60.0) < 2000 && times.value_at_percentile(70.0) >= 2000);
    }

    #[test]
    fn only_a_command_that_was_measured_has_a_histogram_and_it_is_small() {
        let get = by_name(b"get").expect("a command");
        let mut calls = Calls::default();
        calls.called(get);
        let slot = calls.slot_of(get);
        assert!(calls.slots[slot].times.is_none());
        calls.keeps_times = false;
        calls.took(get, 1000);
        assert!(calls.slots[slot].times.is_none());
        calls.keeps_times = true;
        calls.took(get, 1000);
        let times = calls.slots[slot].times.as_ref().expect("measured");
        assert!(times.distinct_values() * size_of::<u64>() <= 32 * 1024, "{} counters", times.distinct_values());
    }

    fn times_of(seen: &[(u64, u64)]) -> Box<Histogram<u64>> {
        let mut times = new_times();
        seen.iter().for_each(|&(ns, count)| times.saturating_record_n(ns, count));
        times
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
