//! A disk that does not answer, or has failed: writes are refused, and what waits for the log gets an error in the end
//! (`commit-timeout-ms`).
//!
//! A shard *stalls* when for so long its log has not gone on though it has something to write, or the bound of everysec has held. All
//! shards refuse writes while one stalls; it ends by itself, with what it waits for.
//!
//! Time is counted in passes here (`waited_ms`): a server that was stopped for an hour, or whose clock was set, has not waited an hour
//! for its disk.

use super::{Shard, execute};
use crate::ids::{Lsn, ShardId};
use crate::transaction::Message;

/// As much as one pass may count: drivers make several in a second.
const PASS_MS_MAX: i64 = 1000;
/// How often replies that wait too long are looked for.
const LOOK_MS: i64 = 50;

pub struct Stall {
    now_ms: i64,
    pub waited_ms: i64,
    /// The log's position when it last moved, or had nothing to do; and when that was.
    moved: (Lsn, i64),
    /// Since when the bound of everysec holds.
    held_since_ms: Option<i64>,
    shards: Vec<bool>,
    cause: Option<String>,
    next_look_ms: i64,
}

impl Stall {
    pub fn new(shards: u16, now_ms: i64) -> Stall {
        Stall {
            now_ms,
            waited_ms: 0,
            moved: (Lsn(0), 0),
            held_since_ms: None,
            shards: vec![false; shards as usize],
            cause: None,
            next_look_ms: 0,
        }
    }

    fn pass(&mut self, now_ms: i64) {
        self.waited_ms += (now_ms - self.now_ms).min(PASS_MS_MAX);
        self.now_ms = now_ms;
    }
}

impl Shard {
    /// Why writes are refused now: for good after a fault, or while a disk does not answer.
    pub fn refusal(&self) -> Option<&str> {
        self.refusing.as_deref().or(self.stall.cause.as_deref())
    }

    pub(super) fn watch_stall(&mut self) {
        self.stall.pass(self.now_ms);
        let (position, last) = (self.position(), self.log.last_lsn());
        // While everything stands still on purpose no mark is placed, however fast the disk is.
        let (holds, timeout_ms) = (self.bound.holds() && !self.stands, self.settings.commit_timeout_ms);
        let stall = &mut self.stall;
        if position >= last || position != stall.moved.0 {
            stall.moved = (position, stall.waited_ms);
        }
        stall.held_since_ms = if holds { stall.held_since_ms.or(Some(stall.waited_ms)) } else { None };
        let since_ms = stall.held_since_ms.map_or(stall.moved.1, |held_ms| held_ms.min(stall.moved.1));
        let stalls = stall.waited_ms - since_ms > timeout_ms;
        if stalls != stall.shards[self.id.0 as usize] {
            for shard in (0..self.shards).map(ShardId) {
                self.send(shard, Message::Stalls { stalls });
            }
        }
    }

    pub(super) fn someone_stalls(&mut self, from: ShardId, stalls: bool) {
        self.stall.shards[from.0 as usize] = stalls;
        let stalled = self.stall.shards.iter().position(|stalls| *stalls);
        let timeout_ms = self.settings.commit_timeout_ms;
        self.stall.cause =
            stalled.map(|shard| format!("{}: the disk has not answered for {timeout_ms} ms", ShardId(shard as u16)));
    }

    /// What waits for a log that can't be written any more is not answered OK, and not for ever without an answer.
    pub(super) fn give_up(&mut self) {
        let (waited_ms, timeout_ms) = (self.stall.waited_ms, self.settings.commit_timeout_ms);
        if waited_ms < self.stall.next_look_ms || self.gated.is_empty() {
            return;
        }
        self.stall.next_look_ms = waited_ms + LOOK_MS;
        let is_over = self.refusing.is_some() && waited_ms - self.refusing_since_ms > timeout_ms;
        let since_ms = if is_over { i64::MAX } else { waited_ms - timeout_ms };
        let cause = self.refusal().map_or_else(|| format!("not written for {timeout_ms} ms"), String::from);
        let error = format!("-{}, outcome unknown\r\n", execute::misconf(&cause));
        let mut gated = std::mem::take(&mut self.gated);
        gated.retain(|id| {
            let Some(conn) = self.conns.get_mut(id) else { return false };
            if conn.fail_gates(error.as_bytes(), since_ms) {
                self.sendable.push(*id);
            }
            conn.is_listed = conn.is_gated();
            conn.is_listed
        });
        self.gated = gated;
    }
}
