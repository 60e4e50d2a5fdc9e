//! CONFIG GET and SET. A change is applied everywhere before it is answered: `appendfsync` when its mark is durable on all shards,
//! `appendonly yes` when the base of the new log is committed.

use super::{Admin, Purpose, Requester, Then};
use crate::config::{AppendFsync, Config, set_error};
use crate::journal::{self, Level};
use crate::machine;
use crate::server::Question;
use shards::log::FsyncMode;
use shards::manifest::BaseFormat;
use shards::shard::Shard;
use shards::transaction::Job;
use std::collections::VecDeque;
use std::sync::Arc;

/// How soon CONFIG GET shows a change that came after its asker was answered.
const FOLLOW_MS: i64 = 100;

/// A CONFIG SET whose jobs are not all done.
pub struct Pending {
    requester: Requester,
    config: Config,
    changed: Vec<&'static str>,
    /// What is still to be done, and for which directive.
    jobs: VecDeque<(&'static str, Job)>,
    current: &'static str,
}

pub fn fsync_mode(config: &Config) -> FsyncMode {
    match config.append_fsync() {
        AppendFsync::Always => FsyncMode::Always,
        AppendFsync::EverySec => FsyncMode::Everysec,
        AppendFsync::No => FsyncMode::No,
    }
}

/// Directives that this server only reads at its start, though Redis changes them while it runs.
const NOT_WHILE_RUNNING: [&str; 2] = ["port", "bind"];

const CANNOT_SERVE: &str = "The operating system is not able to handle the specified number of clients";

impl Admin {
    pub(super) fn config_get(&mut self, requester: Requester, args: &[&[u8]]) {
        let patterns: Vec<String> = args[2..].iter().map(|arg| String::from_utf8_lossy(arg).into_owned()).collect();
        let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
        let found = self.config.get(&patterns);
        self.answer(requester, |reply| {
            reply.map(found.len());
            for (name, text) in &found {
                reply.bulk(name.as_bytes());
                reply.bulk(text.as_bytes());
            }
        });
    }

    pub(super) fn config_set(&mut self, requester: Requester, args: &[&[u8]], is_local: bool, shard: &mut Shard) {
        let texts: Vec<String> = args[2..].iter().map(|arg| String::from_utf8_lossy(arg).into_owned()).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let change = match self.config.prepare_set(&texts, is_local) {
            Ok(change) => change,
            Err(text) => return self.error(requester, &text),
        };
        if let Some(name) = change.changed.iter().find(|name| NOT_WHILE_RUNNING.contains(name)) {
            return self.error(requester, &set_error(name, "this server changes it at a restart only"));
        }
        if change.changed.contains(&"maxclients") {
            let wanted = change.config.number("maxclients");
            let refusal = match machine::raise_open_files(wanted, self.shared.shards) {
                Ok(served) if served == wanted => None,
                Ok(served) => Some(format!("{CANNOT_SERVE}, try with {served}")),
                Err(_) => Some(CANNOT_SERVE.to_string()),
            };
            if let Some(reason) = refusal {
                return self.error(requester, &set_error("maxclients", &reason));
            }
        }
        let jobs = jobs_of(&change.config, &change.changed);
        let pending = Pending { requester, config: change.config, changed: change.changed, jobs, current: "" };
        self.advance_config(pending, shard);
    }

    fn advance_config(&mut self, mut pending: Pending, shard: &mut Shard) {
        if let Some((name, job)) = pending.jobs.pop_front() {
            pending.current = name;
            return self.start_job(job, Purpose::Config(Box::new(pending)), shard);
        }
        let requester = pending.requester;
        // Another CONFIG SET may have been answered meanwhile: only what this one changed is taken over.
        let config = self.config.with_changes_of(&pending.config, &pending.changed);
        journal::set_level(Level::of(config.text("loglevel")));
        let config = Arc::new(config);
        self.config = config.clone();
        self.new_config = Some(config.clone());
        self.ask(Question::Settings(config), Then::Ok(requester));
    }

    pub(super) fn config_job_done(&mut self, pending: Pending, outcome: Result<(), String>, shard: &mut Shard) {
        match outcome {
            Ok(()) => self.advance_config(pending, shard),
            Err(cause) => self.error(pending.requester, &set_error(pending.current, &cause)),
        }
    }

    /// CONFIG GET says what holds: a change whose asker was told that its outcome is unknown may come all the same, and of one that
    /// has failed a part may hold.
    pub(super) fn follow_log(&mut self, shard: &Shard, now: i64) {
        if now < self.next_follow_ms || self.jobs.values().any(|purpose| matches!(purpose, Purpose::Config(_))) {
            return;
        }
        self.next_follow_ms = now + FOLLOW_MS;
        let coordinator = shard.coordinator().expect("shard 0");
        let (mode, logging) = (coordinator.mode(), coordinator.logging());
        if fsync_mode(&self.config) == mode && self.config.flag("appendonly") == logging {
            return;
        }
        let mode = match mode {
            FsyncMode::Always => "always",
            FsyncMode::Everysec => "everysec",
            FsyncMode::No => "no",
        };
        let args = ["appendfsync", mode, "appendonly", if logging { "yes" } else { "no" }];
        let config = Arc::new(self.config.prepare_set(&args, true).expect("values of these directives").config);
        self.config = config.clone();
        self.new_config = Some(config.clone());
        self.ask(Question::Settings(config), Then::Nothing);
    }
}

fn jobs_of(config: &Config, changed: &[&'static str]) -> VecDeque<(&'static str, Job)> {
    let mut jobs = VecDeque::new();
    // The mode first: a log that is switched on begins in it.
    if changed.contains(&"appendfsync") {
        jobs.push_back(("appendfsync", Job::SetMode(fsync_mode(config))));
    }
    if changed.contains(&"appendonly") {
        let job = match config.flag("appendonly") {
            true => Job::Snapshot { format: BaseFormat::Rdb, start_log: true },
            false => Job::EndLog,
        };
        jobs.push_back(("appendonly", job));
    }
    jobs
}
