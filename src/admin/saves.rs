//! SAVE, BGSAVE, BGREWRITEAOF, EXPORT, SHUTDOWN, save points and automatic rewrites: one base at a time, in the order of asking.

use super::export::Exported;
use super::{Admin, Purpose, Requester, Then, export, word};
use crate::config::{AppendFsync, SavePoint};
use crate::journal;
use crate::server::{Control, Question, ShardStats, Told};
use shards::manifest::BaseFormat;
use shards::shard::Shard;
use shards::transaction::Job;
use std::collections::VecDeque;

const WATCH_MS: i64 = 1000;
/// As Redis: after a failed save, the save points rest for this long.
const RETRY_MS: i64 = 5000;

/// How long a stop may take that is to happen whatever goes wrong (FORCE, NOW). Any other has `commit-timeout-ms`.
const FORCED_STOP_MS: i64 = 1000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Saving {
    /// Answered when it is done.
    Save,
    /// The last one, before the server stops.
    Final,
    /// Answered at once.
    BgSave,
    Rewrite,
    Export,
}

pub struct Order {
    pub saving: Saving,
    /// Who is answered at the end.
    pub requester: Option<Requester>,
    /// Merge the base into this standard file afterwards.
    pub export: Option<export::Target>,
}

pub struct Shutdown {
    /// Who is answered when it fails or is aborted.
    requesters: Vec<Requester>,
    urgency: Urgency,
    /// Then the process ends, whatever the log does.
    deadline_ms: Option<i64>,
    stopping: bool,
}

/// What happens when something can't be saved.
#[derive(Clone, Copy)]
struct Urgency {
    /// The process ends although the last save has failed.
    force: bool,
    /// … although the log can't be made durable: FORCE, NOSAVE, a signal.
    insists: bool,
    /// … although the disk does not answer.
    is_now: bool,
}

pub struct Saves {
    pub last_save_ms: i64,
    pub last_ok: bool,
    pub last_rewrite_ok: bool,
    pub rewrite_failures_in_a_row: u64,
    pub current: Option<(Order, i64)>,
    pub last_duration_ms: Option<i64>,
    pub last_rewrite_duration_ms: Option<i64>,
    pub saves: u64,
    pub rewrites: u64,
    queue: VecDeque<Order>,
    export_id: u64,
    failed_at_ms: i64,
    next_watch_ms: i64,
    /// Changes of all shards that no base holds.
    pub changes: u64,
    log_bytes: u64,
    pub log_bytes_at_base: u64,
    pub base_bytes: u64,
    watching: bool,
}

impl Saves {
    pub fn new(now_ms: i64) -> Saves {
        Saves {
            last_save_ms: now_ms,
            last_ok: true,
            last_rewrite_ok: true,
            rewrite_failures_in_a_row: 0,
            current: None,
            last_duration_ms: None,
            last_rewrite_duration_ms: None,
            saves: 0,
            rewrites: 0,
            queue: VecDeque::new(),
            export_id: 0,
            failed_at_ms: 0,
            next_watch_ms: 0,
            changes: 0,
            log_bytes: 0,
            log_bytes_at_base: 0,
            base_bytes: 0,
            watching: false,
        }
    }

    pub fn is_running(&self, saving: &[Saving]) -> bool {
        self.current.as_ref().is_some_and(|(order, _)| saving.contains(&order.saving))
    }

    pub fn is_queued(&self, saving: Saving) -> bool {
        self.queue.iter().any(|order| order.saving == saving)
    }

    /// Bytes of logs behind the base.
    pub fn log_size(&self) -> u64 {
        self.log_bytes.saturating_sub(self.log_bytes_at_base)
    }
}

impl Admin {
    pub(super) fn save(&mut self, requester: Requester, shard: &mut Shard, now: i64) {
        if self.saves.is_running(&[Saving::Save, Saving::Final, Saving::BgSave]) {
            return self.error(requester, "ERR Background save already in progress");
        }
        let export = self.export_on_save();
        self.order(Order { saving: Saving::Save, requester: Some(requester), export }, shard, now);
    }

    pub(super) fn bgsave(&mut self, requester: Requester, args: &[&[u8]], shard: &mut Shard, now: i64) {
        let schedule = match args[1..] {
            [] => false,
            [option] if word(option) == "schedule" => true,
            _ => return self.error(requester, "ERR syntax error"),
        };
        if self.saves.is_running(&[Saving::Save, Saving::Final, Saving::BgSave]) {
            return self.error(requester, "ERR Background save already in progress");
        }
        let is_busy = self.saves.current.is_some();
        if is_busy && !schedule {
            let text = "ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE SCHEDULE in order to schedule a \
                        BGSAVE whenever possible.";
            return self.error(requester, text);
        }
        let text = if is_busy { "Background saving scheduled" } else { "Background saving started" };
        self.answer(requester, |reply| reply.simple(text));
        if self.saves.is_queued(Saving::BgSave) {
            return;
        }
        let export = self.export_on_save();
        self.order(Order { saving: Saving::BgSave, requester: None, export }, shard, now);
    }

    pub(super) fn bgrewriteaof(&mut self, requester: Requester, shard: &mut Shard, now: i64) {
        if self.saves.is_running(&[Saving::Rewrite]) || self.saves.is_queued(Saving::Rewrite) {
            return self.error(requester, "ERR Background append only file rewriting already in progress");
        }
        let state = if self.saves.current.is_some() { "scheduled" } else { "started" };
        self.answer(requester, |reply| reply.simple(&format!("Background append only file rewriting {state}")));
        self.order(Order { saving: Saving::Rewrite, requester: None, export: None }, shard, now);
    }

    fn export_on_save(&self) -> Option<export::Target> {
        self.config.flag("export-on-save").then(|| export::Target::rdb(self.config.text("dbfilename")))
    }

    pub(super) fn order(&mut self, order: Order, shard: &mut Shard, now: i64) {
        self.saves.queue.push_back(order);
        self.next_order(shard, now);
    }

    fn next_order(&mut self, shard: &mut Shard, now: i64) {
        if self.saves.current.is_some() {
            return;
        }
        let Some(order) = self.saves.queue.pop_front() else { return };
        let commands = match &order.export {
            Some(target) => target.wants_commands_base(),
            None => order.saving == Saving::Rewrite && !self.config.flag("aof-use-rdb-preamble"),
        };
        let format = if commands { BaseFormat::Commands } else { BaseFormat::Rdb };
        self.saves.current = Some((order, now));
        self.start_job(Job::Snapshot { format, start_log: false }, Purpose::Snapshot, shard);
    }

    pub(super) fn snapshot_done(&mut self, outcome: Result<(), String>, shard: &mut Shard, now: i64) {
        if outcome.is_ok() {
            self.base_is_new(shard);
            let base = shard.coordinator().and_then(|coordinator| coordinator.manifest().base.as_ref());
            if let Some((Order { export: Some(target), .. }, _)) = &self.saves.current {
                let base = base.expect("a snapshot leaves a base").clone();
                self.saves.export_id += 1;
                let id = self.saves.export_id;
                self.exporting = Some(target.temporary(&self.shared.dir));
                let started = export::start(self.shared.clone(), base, target.clone(), move |shared, outcome| {
                    shared.control(Control::Exported { id, outcome });
                });
                return match started {
                    Ok(()) => {}
                    Err(cause) => self.finish_order(Err(cause), shard, now),
                };
            }
        }
        self.finish_order(outcome.map(|()| "OK".into()), shard, now);
    }

    /// What the size of the log is compared with.
    pub(super) fn base_is_new(&mut self, shard: &Shard) {
        self.saves.log_bytes_at_base = self.saves.log_bytes;
        let base = shard.coordinator().and_then(|coordinator| coordinator.manifest().base.as_ref());
        self.saves.base_bytes = base.map_or(0, |base| base.files.iter().map(|file| file.bytes).sum());
    }

    pub(super) fn exported(&mut self, id: u64, outcome: Result<Exported, String>, shard: &mut Shard, now: i64) {
        if id == self.saves.export_id {
            if let Ok(exported) = &outcome {
                journal::notice(&format!("Exported to {}", exported.name));
                exported.losses.named.iter().for_each(|named| journal::warning(&format!("Not in {}: {named}", exported.name)));
            }
            self.finish_order(outcome.map(|exported| exported.answer()), shard, now);
        }
    }

    /// `outcome`: what the requester is told.
    fn finish_order(&mut self, outcome: Result<String, String>, shard: &mut Shard, now: i64) {
        let Some((order, since_ms)) = self.saves.current.take() else { return };
        self.note_outcome(order.saving, outcome.is_ok(), now - since_ms, now);
        self.exporting = None;
        match &outcome {
            Ok(_) => journal::notice(match order.saving {
                Saving::Save | Saving::Final => "DB saved on disk",
                Saving::BgSave => "Background saving terminated with success",
                Saving::Rewrite => "Background AOF rewrite terminated with success",
                Saving::Export => "Export terminated with success",
            }),
            Err(cause) => journal::warning(&format!("Saving failed: {cause}")),
        }
        if let Some(requester) = order.requester {
            match &outcome {
                Ok(text) => self.answer(requester, |reply| reply.simple(text)),
                Err(cause) => self.error(requester, &format!("ERR {cause}")),
            }
        }
        // Not one that was given up for this shutdown, or left over from an aborted one.
        if order.saving == Saving::Final
            && !self.saves.is_queued(Saving::Final)
            && let Some(shutdown) = self.shutdown.take_if(|shutdown| !shutdown.stopping)
        {
            self.saved_for_shutdown(shutdown, outcome.is_ok(), shard, now);
        }
        self.next_order(shard, now);
    }

    fn note_outcome(&mut self, saving: Saving, is_ok: bool, duration_ms: i64, now: i64) {
        let saves = &mut self.saves;
        if saving == Saving::Rewrite {
            saves.last_rewrite_ok = is_ok;
            saves.rewrite_failures_in_a_row = if is_ok { 0 } else { saves.rewrite_failures_in_a_row + 1 };
            saves.last_rewrite_duration_ms = Some(duration_ms);
            saves.rewrites += is_ok as u64;
        } else {
            saves.last_ok = is_ok;
            saves.last_duration_ms = Some(duration_ms);
            saves.saves += is_ok as u64;
        }
        if is_ok {
            saves.last_save_ms = now;
        } else {
            saves.failed_at_ms = now;
        }
    }

    // --- Save points and automatic rewrites ------------------------------------------------------------------------------

    pub(super) fn watch_saves(&mut self, shard: &mut Shard, now: i64) {
        if now < self.saves.next_watch_ms || self.saves.watching {
            return;
        }
        self.saves.next_watch_ms = now + WATCH_MS;
        let logging = shard.coordinator().is_some_and(|coordinator| coordinator.logging());
        if logging || !self.config.save_points().is_empty() {
            self.saves.watching = true;
            self.ask(Question::Stats, Then::Watch);
        }
    }

    pub(super) fn watched(&mut self, told: &[Told], shard: &mut Shard, now: i64) {
        self.saves.watching = false;
        self.count_changes(told);
        if self.saves.current.is_some() || self.shutdown.is_some() || now - self.saves.failed_at_ms < RETRY_MS {
            return;
        }
        let logging = shard.coordinator().is_some_and(|coordinator| coordinator.logging());
        let unsaved = self.saves.changes;
        let age_s = (now - self.saves.last_save_ms) / 1000;
        let is_due = |point: &SavePoint| unsaved >= point.changes && age_s as u64 > point.seconds;
        // As Redis, with a log too: the base is what the next start reads first, and the log behind it is short.
        let point = self.config.save_points().into_iter().find(is_due);
        if let Some(point) = point {
            journal::notice(&format!("{} changes in {} seconds. Saving...", point.changes, point.seconds));
            let export = self.export_on_save();
            self.order(Order { saving: Saving::BgSave, requester: None, export }, shard, now);
        } else if logging && self.is_rewrite_due() {
            self.order(Order { saving: Saving::Rewrite, requester: None, export: None }, shard, now);
        }
    }

    fn is_rewrite_due(&self) -> bool {
        let percentage: u64 = self.config.number("auto-aof-rewrite-percentage");
        let min_size: u64 = self.config.number("auto-aof-rewrite-min-size");
        let (size, base) = (self.saves.base_bytes + self.saves.log_size(), self.saves.base_bytes.max(1));
        if percentage == 0 || size < min_size {
            return false;
        }
        let growth = (size * 100 / base).saturating_sub(100);
        if growth >= percentage {
            journal::notice(&format!("Starting automatic rewriting of AOF on {growth}% growth"));
        }
        growth >= percentage
    }

    pub(super) fn count_changes(&mut self, told: &[Told]) {
        let stats: Vec<&ShardStats> =
            told.iter().filter_map(|told| if let Told::Stats(stats) = told { Some(&**stats) } else { None }).collect();
        self.saves.changes = stats.iter().map(|stats| stats.changes_unsaved).sum();
        self.saves.log_bytes = stats.iter().map(|stats| stats.log_bytes).sum();
    }

    // --- Shutdown ------------------------------------------------------------------------------------------------------

    /// SHUTDOWN [NOSAVE | SAVE] [NOW] [FORCE] [ABORT]
    pub(super) fn shutdown_command(&mut self, requester: Requester, args: &[&[u8]], shard: &mut Shard, now: i64) {
        let (mut save, mut nosave, mut force, mut abort, mut is_now) = (false, false, false, false, false);
        for arg in &args[1..] {
            match word(arg).as_str() {
                "save" => save = true,
                "nosave" => nosave = true,
                "now" => is_now = true,
                "force" => force = true,
                "abort" => abort = true,
                _ => return self.error(requester, "ERR syntax error"),
            }
        }
        if (abort && (save || nosave || is_now || force)) || (save && nosave) {
            return self.error(requester, "ERR syntax error");
        }
        if abort {
            return match self.shutdown.take_if(|shutdown| !shutdown.stopping) {
                Some(shutdown) => {
                    journal::warning("Shutdown manually aborted.");
                    self.ok(requester);
                    self.shutdown_failed(&shutdown);
                }
                None => self.error(requester, "ERR No shutdown in progress."),
            };
        }
        journal::warning("User requested shutdown...");
        let saves = save || (!nosave && !self.config.save_points().is_empty());
        let urgency = Urgency { force, insists: force || nosave, is_now };
        self.begin_shutdown(Some(requester), saves, urgency, shard, now);
    }

    pub(super) fn signal(&mut self, name: &str, shard: &mut Shard, now: i64) {
        if let Some(shutdown) = &mut self.shutdown {
            // As Redis: Ctrl+C twice means it. SIGTERM may well come twice (`timeout`, a service manager and its group) and must not
            // cost what has not been saved.
            if name == "SIGINT" {
                journal::warning("You insist... exiting now.");
                self.exit(1);
            }
            shutdown.urgency.insists = true;
            return;
        }
        journal::warning(&format!("Received {name} scheduling shutdown..."));
        let option = self.config.text(if name == "SIGINT" { "shutdown-on-sigint" } else { "shutdown-on-sigterm" }).to_string();
        let has = |word: &str| option.split(' ').any(|found| found == word);
        let saves = has("save") || (!has("nosave") && !self.config.save_points().is_empty());
        let urgency = Urgency { force: has("force"), insists: true, is_now: has("now") };
        // What a server that refuses writes has in memory can't be saved; the next start recovers what is on the disk.
        let saves = saves && !shard.coordinator().is_some_and(|coordinator| coordinator.refusing());
        self.begin_shutdown(None, saves, urgency, shard, now);
    }

    fn begin_shutdown(&mut self, requester: Option<Requester>, saves: bool, urgency: Urgency, shard: &mut Shard, now: i64) {
        if let Some(shutdown) = &mut self.shutdown {
            // Already on the way.
            return shutdown.requesters.extend(requester);
        }
        self.cancel_saves(shard, now);
        // With a log everything is kept already; the save of Redis would only write it twice.
        let logging = shard.coordinator().is_some_and(|coordinator| coordinator.logging());
        let saves = saves && !logging;
        let requesters = requester.into_iter().collect();
        self.shutdown = Some(Shutdown { requesters, urgency, deadline_ms: None, stopping: false });
        if saves {
            journal::notice("Saving the final RDB snapshot before exiting.");
            // A save takes as long as it takes, if the disk answers.
            let export = self.export_on_save();
            self.order(Order { saving: Saving::Final, requester: None, export }, shard, now);
        } else {
            self.stop(shard, now);
        }
    }

    /// As Redis kills a child that saves: nobody waits for what a stop makes needless. What was durable before, counts.
    fn cancel_saves(&mut self, shard: &mut Shard, now: i64) {
        let Some((order, _)) = &self.saves.current else { return };
        journal::warning(match order.saving {
            Saving::Rewrite => "There is a rewrite of the AOF under way. Giving it up.",
            _ => "There is a save under way. Giving it up.",
        });
        for requester in std::mem::take(&mut self.saves.queue).into_iter().filter_map(|order| order.requester) {
            self.error(requester, "ERR The server is shutting down");
        }
        if let Some(temporary) = self.exporting.clone() {
            // The base is there; the helper thread ends with the process.
            self.remove_at_exit.push(temporary);
            self.saves.export_id += 1;
            return self.finish_order(Err("the server is shutting down".into()), shard, now);
        }
        shard.cancel_snapshots();
    }

    fn shutdown_failed(&mut self, shutdown: &Shutdown) {
        for requester in &shutdown.requesters {
            self.error(*requester, "ERR Errors trying to SHUTDOWN. Check logs.");
        }
    }

    fn saved_for_shutdown(&mut self, shutdown: Shutdown, is_saved: bool, shard: &mut Shard, now: i64) {
        if is_saved || shutdown.urgency.force {
            self.shutdown = Some(shutdown);
            return self.stop(shard, now);
        }
        journal::warning("Error trying to save the DB, can't exit.");
        self.shutdown_failed(&shutdown);
    }

    fn stop(&mut self, shard: &mut Shard, now: i64) {
        if let Some(shutdown) = &mut self.shutdown {
            let Urgency { force, is_now, .. } = shutdown.urgency;
            shutdown.stopping = true;
            shutdown.deadline_ms = (force || is_now).then_some(now + FORCED_STOP_MS);
        }
        let logging = shard.coordinator().is_some_and(|coordinator| coordinator.logging());
        if logging && self.config.append_fsync() != AppendFsync::Always {
            journal::notice("Calling fsync() on the AOF file.");
        }
        self.start_job(Job::Stop, Purpose::Stop, shard);
    }

    pub(super) fn stopped(&mut self, outcome: Result<(), String>, shard: &Shard) {
        let Err(cause) = outcome else {
            journal::warning("Redis is now ready to exit, bye bye...");
            self.exit(0)
        };
        journal::warning(&format!("The log could not be made durable: {cause}"));
        let Some(shutdown) = self.shutdown.take() else { return };
        let urgency = shutdown.urgency;
        let coordinator = shard.coordinator().expect("shard 0");
        // Everything is durable and the manifest may say so already: there is no way back.
        let is_too_late = coordinator.stopped();
        if is_too_late || urgency.insists || (urgency.is_now && !coordinator.refusing()) {
            journal::warning("Exiting all the same. The next start recovers what is on the disk.");
            self.exit(1);
        }
        journal::warning("Errors trying to shut down the server. Check the logs for more information.");
        self.shutdown_failed(&shutdown);
    }

    pub(super) fn watch_shutdown(&mut self, now: i64) {
        let deadline_ms = self.shutdown.as_ref().and_then(|shutdown| shutdown.deadline_ms);
        if deadline_ms.is_some_and(|deadline_ms| now > deadline_ms) {
            journal::warning("The log could not be made durable in time; exiting. The next start recovers what is on the disk.");
            self.exit(1);
        }
    }

    fn exit(&self, code: i32) -> ! {
        for path in &self.remove_at_exit {
            _ = std::fs::remove_file(path);
        }
        std::process::exit(code)
    }
}
