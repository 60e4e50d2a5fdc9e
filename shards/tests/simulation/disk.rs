//! The simulated disk: page cache and platter, and what a crash does to them.
//!
//! Faults it makes:
//! - process crash: completed writes stay; each operation in flight has happened or not, in any order;
//! - pages that a failed sync has left clean may be evicted, and read as they were, once the server has recorded the fault;
//! - power loss: each unsynced create, rename and unlink is kept or undone; each unsynced 4 KiB page holds its last synced bytes, its
//!   newest bytes, or a mixture by 512-byte sector; an unsynced length is kept or undone; writes in flight land or not, by sector;
//! - a crash at any blocking operation of a start (`crash_after`);
//! - an operation of the running server that fails (`fail`).
//!
//! It does not make: bit rot, misdirected writes, lost synced data, a rename that fails and has happened, operations of a start that fail.

use shards::disk::{Disk, DiskOp, DiskRequest, DiskResult, FileId, FileIdentity, FileInfo, WriteMode};
use shards::error::{Error, ErrorKind, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

const PAGE: usize = 4096;
const SECTOR: usize = 512;

#[derive(Clone, Default)]
struct Inode {
    /// What a reader sees now.
    cached: Vec<u8>,
    /// What is on the platter.
    synced: Vec<u8>,
    dirty: BTreeSet<usize>,
    is_dir: bool,
}

#[derive(Clone)]
enum NameChange {
    Link(String, u64),
    Unlink(String),
    Rename(String, String),
}

impl NameChange {
    fn dir(&self) -> &str {
        let path = match self {
            NameChange::Link(path, _) | NameChange::Unlink(path) => path,
            NameChange::Rename(_, to) => to,
        };
        path.rsplit_once('/').map_or("", |(dir, _)| dir)
    }

    fn apply(&self, names: &mut BTreeMap<String, u64>) {
        match self {
            NameChange::Link(path, inode) => {
                names.insert(path.clone(), *inode);
            }
            NameChange::Unlink(path) => {
                names.remove(path);
            }
            NameChange::Rename(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
        }
    }
}

struct State {
    inodes: BTreeMap<u64, Inode>,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    changes: Vec<NameChange>,
    next_inode: u64,
    open: BTreeMap<(usize, FileId), (u64, WriteMode)>,
    boot: u64,
    crash_after: Option<usize>,
    random: fastrand::Rng,
    operations: usize,
}

pub struct SimDisk(Mutex<State>);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CrashKind {
    Process,
    Power,
}

impl SimDisk {
    pub fn new(seed: u64) -> SimDisk {
        SimDisk(Mutex::new(State {
            inodes: BTreeMap::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            changes: Vec::new(),
            next_inode: 1,
            open: BTreeMap::new(),
            boot: 1,
            crash_after: None,
            random: fastrand::Rng::with_seed(seed),
            operations: 0,
        }))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().expect("one thread")
    }

    /// The blocking operations fail from the n-th on, until the next `crash`.
    pub fn crash_after(&self, operations: Option<usize>) {
        self.state().crash_after = operations;
    }

    /// An operation that fails. A write may have written its beginning, a creation its file. After a failed sync the dirty pages count as
    /// clean, and are lost with the power. A rename, a removal or the sync of a directory has not happened.
    pub fn fail(&self, shard: usize, request: &DiskRequest) -> DiskResult {
        let mut state = self.state();
        match &request.op {
            DiskOp::Sync { file } => {
                let (inode, _) = state.open[&(shard, *file)];
                state.inodes.get_mut(&inode).expect("open files have an inode").dirty.clear();
            }
            DiskOp::Write { file, offset, data } => {
                let (inode, _) = state.open[&(shard, *file)];
                let written = state.random.usize(0..=data.len() / SECTOR) * SECTOR;
                state.write(inode, *offset as usize, &data[..written]);
            }
            DiskOp::Create { path, zero_bytes, .. } if *zero_bytes > 0 && state.random.bool() => {
                // No room for all of its zeros.
                let inode = state.create(path, false);
                let zeros = vec![0; state.random.usize(0..*zero_bytes as usize)];
                state.write(inode, 0, &zeros);
            }
            _ => {}
        }
        DiskResult { token: request.token, outcome: Err("Input/output error (simulated)".into()) }
    }

    /// Performs one request of a running shard.
    pub fn perform(&self, shard: usize, request: &DiskRequest) -> DiskResult {
        let outcome = self.state().perform(shard, &request.op);
        DiskResult { token: request.token, outcome }
    }

    /// The crash itself. `in_flight`: requests that were handed out and not completed.
    pub fn crash(&self, kind: CrashKind, in_flight: Vec<(usize, DiskRequest)>) {
        self.state().crash(kind, in_flight);
    }

    /// The kernel needs memory: clean pages leave the page cache. That shows only in what a failed sync has left clean without writing it.
    pub fn evict(&self) {
        let State { inodes, random, .. } = &mut *self.state();
        for inode in inodes.values_mut() {
            for page in 0..inode.cached.len().div_ceil(PAGE) {
                let (from, to) = (page * PAGE, (page * PAGE + PAGE).min(inode.cached.len()));
                if !inode.dirty.contains(&page) && random.bool() {
                    let old: Vec<u8> = (from..to).map(|at| inode.synced.get(at).copied().unwrap_or(0)).collect();
                    inode.cached[from..to].copy_from_slice(&old);
                }
            }
        }
    }

    /// Operations performed so far.
    pub fn operations(&self) -> usize {
        self.state().operations
    }

    pub fn damage(&self, path: &str, offset: usize) {
        let mut state = self.state();
        let inode = state.names[path];
        let inode = state.inodes.get_mut(&inode).expect("named");
        inode.cached[offset] ^= 0x40;
        inode.synced = inode.cached.clone();
    }

    pub fn files(&self) -> Vec<(String, usize)> {
        let state = self.state();
        let file = |(path, inode): (&String, &u64)| (path.clone(), state.inodes[inode].cached.len());
        state.names.iter().filter(|(_, inode)| !state.inodes[inode].is_dir).map(file).collect()
    }
}

impl State {
    fn create(&mut self, path: &str, is_dir: bool) -> u64 {
        let number = self.next_inode;
        self.next_inode += 1;
        self.inodes.insert(number, Inode { is_dir, ..Inode::default() });
        self.change(NameChange::Link(path.to_string(), number));
        number
    }

    fn change(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.changes.push(change);
    }

    fn sync_dir(&mut self, dir: &str) {
        let durable = &mut self.durable_names;
        self.changes.retain(|change| {
            let is_here = change.dir() == dir;
            if is_here {
                change.apply(durable);
            }
            !is_here
        });
    }

    fn write(&mut self, inode: u64, offset: usize, data: &[u8]) {
        let inode = self.inodes.get_mut(&inode).expect("open files have an inode");
        let end = offset + data.len();
        if inode.cached.len() < end {
            // Growing dirties the page of the old end as well.
            inode.dirty.extend(inode.cached.len() / PAGE..end.div_ceil(PAGE));
            inode.cached.resize(end, 0);
        }
        inode.cached[offset..end].copy_from_slice(data);
        inode.dirty.extend(offset / PAGE..end.div_ceil(PAGE));
    }

    /// Only dirty pages go to the platter: what an earlier failed sync has lost, no later one brings back.
    fn sync(&mut self, inode: u64) {
        let inode = self.inodes.get_mut(&inode).expect("open files have an inode");
        inode.synced.resize(inode.cached.len(), 0);
        for page in std::mem::take(&mut inode.dirty) {
            let from = (page * PAGE).min(inode.cached.len());
            let to = (from + PAGE).min(inode.cached.len());
            inode.synced[from..to].copy_from_slice(&inode.cached[from..to]);
        }
    }

    fn perform(&mut self, shard: usize, op: &DiskOp) -> std::result::Result<Option<FileIdentity>, String> {
        self.operations += 1;
        match op {
            DiskOp::Create { file, path, mode, zero_bytes } => {
                if self.names.contains_key(path) {
                    // As the server's disk: what an earlier attempt left counts for nothing.
                    self.change(NameChange::Unlink(path.clone()));
                }
                let inode = self.create(path, false);
                self.write(inode, 0, &vec![0; *zero_bytes as usize]);
                self.open.insert((shard, *file), (inode, *mode));
                return Ok(Some(identity(inode)));
            }
            DiskOp::Write { file, offset, data } => {
                let (inode, mode) = self.open[&(shard, *file)];
                self.write(inode, *offset as usize, data);
                if mode == WriteMode::Durable {
                    assert!(offset.is_multiple_of(PAGE as u64) && data.len().is_multiple_of(PAGE), "whole blocks");
                    self.sync(inode);
                }
            }
            DiskOp::Sync { file } => {
                let (inode, _) = self.open[&(shard, *file)];
                self.sync(inode);
            }
            DiskOp::Close { file } => {
                self.open.remove(&(shard, *file));
            }
            DiskOp::SyncDir { path } => self.sync_dir(path),
            DiskOp::CreateDir { path } => {
                self.create(path, true);
            }
            DiskOp::Rename { from, to } => self.change(NameChange::Rename(from.clone(), to.clone())),
            DiskOp::Remove { path } => self.change(NameChange::Unlink(path.clone())),
        }
        Ok(None)
    }

    fn crash(&mut self, kind: CrashKind, in_flight: Vec<(usize, DiskRequest)>) {
        self.crash_after = None;
        for (shard, request) in in_flight {
            if self.random.bool() {
                self.land(shard, &request.op, kind);
            }
        }
        self.open.clear();
        if kind == CrashKind::Process {
            return;
        }
        self.boot += 1;
        for change in std::mem::take(&mut self.changes) {
            if self.random.bool() {
                change.apply(&mut self.durable_names);
            }
        }
        self.names = self.durable_names.clone();
        let State { inodes, random, .. } = self;
        inodes.values_mut().for_each(|inode| inode.lose_power(random));
    }

    /// An operation in flight that happened; a write may have landed in part.
    fn land(&mut self, shard: usize, op: &DiskOp, kind: CrashKind) {
        match op {
            DiskOp::Write { file, offset, data } => {
                let Some(&(inode, mode)) = self.open.get(&(shard, *file)) else { return };
                for (index, sector) in data.chunks(SECTOR).enumerate() {
                    let at = *offset as usize + index * SECTOR;
                    if kind == CrashKind::Process || self.random.bool() {
                        self.write(inode, at, sector);
                        let lands = mode == WriteMode::Durable && self.random.bool();
                        if lands {
                            let inode = self.inodes.get_mut(&inode).expect("open");
                            let (from, to) = (at.min(inode.synced.len()), (at + sector.len()).min(inode.synced.len()));
                            let bytes = inode.cached[from..to].to_vec();
                            inode.synced[from..to].copy_from_slice(&bytes);
                        }
                    }
                }
            }
            DiskOp::Create { path, .. } if self.names.contains_key(path) => {}
            op => {
                if matches!(op, DiskOp::Sync { file } | DiskOp::Close { file } if !self.open.contains_key(&(shard, *file))) {
                    return;
                }
                self.perform(shard, op).expect("what was asked for can be done");
            }
        }
    }

    fn count(&mut self, operation: &'static str, path: &str) -> Result<()> {
        self.operations += 1;
        if let Some(left) = &mut self.crash_after {
            if *left == 0 {
                return Err(Error { kind: ErrorKind::Io, operation, path: path.into(), offset: None, cause: CRASH.into() });
            }
            *left -= 1;
        }
        Ok(())
    }
}

/// Cause of the errors that stand for a crash during a start.
pub const CRASH: &str = "simulated crash";

impl Inode {
    fn lose_power(&mut self, random: &mut fastrand::Rng) {
        let keeps_length = random.bool();
        let length =
            if keeps_length { self.cached.len() } else { self.synced.len().min(self.cached.len()).max(self.synced.len()) };
        let mut bytes = self.synced.clone();
        bytes.resize(length, 0);
        for &page in &self.dirty {
            let fate = random.u8(0..3);
            for sector in 0..PAGE / SECTOR {
                let from = (page * PAGE + sector * SECTOR).min(length);
                let to = (from + SECTOR).min(length).min(self.cached.len());
                let lands = fate == 1 || fate == 2 && random.bool();
                if lands && from < to {
                    bytes[from..to].copy_from_slice(&self.cached[from..to]);
                }
            }
        }
        self.dirty.clear();
        self.cached = bytes.clone();
        self.synced = bytes;
    }
}

fn identity(inode: u64) -> FileIdentity {
    FileIdentity { inode, birth_ns: inode * 1000 }
}

impl Disk for SimDisk {
    fn list(&self, dir: &str) -> Result<Vec<FileInfo>> {
        let state = self.state();
        let prefix = if dir.is_empty() { String::new() } else { format!("{dir}/") };
        let entry = |(path, inode): (&String, &u64)| {
            let name = path.strip_prefix(&prefix)?;
            let inode = &state.inodes[inode];
            (!name.contains('/')).then(|| FileInfo {
                name: name.to_string(),
                bytes: inode.cached.len() as u64,
                is_dir: inode.is_dir,
            })
        };
        Ok(state.names.iter().filter_map(entry).collect())
    }

    fn len(&self, path: &str) -> Result<Option<u64>> {
        let state = self.state();
        Ok(state.names.get(path).map(|inode| state.inodes[inode].cached.len() as u64))
    }

    fn read_at(&self, path: &str, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let state = self.state();
        let Some(inode) = state.names.get(path) else {
            return Err(Error {
                kind: ErrorKind::Io,
                operation: "reading",
                path: path.into(),
                offset: None,
                cause: "no such file".into(),
            });
        };
        let bytes = &state.inodes[inode].cached;
        let from = (offset as usize).min(bytes.len());
        let got = buf.len().min(bytes.len() - from);
        buf[..got].copy_from_slice(&bytes[from..from + got]);
        Ok(got)
    }

    fn identity(&self, path: &str) -> Result<Option<FileIdentity>> {
        Ok(self.state().names.get(path).map(|&inode| identity(inode)))
    }

    fn boot_id(&self) -> Option<String> {
        Some(format!("boot-{}", self.state().boot))
    }

    fn create_dir(&self, path: &str) -> Result<()> {
        let mut state = self.state();
        state.count("creating", path)?;
        if !state.names.contains_key(path) {
            state.create(path, true);
        }
        Ok(())
    }

    fn create(&self, path: &str) -> Result<()> {
        let mut state = self.state();
        state.count("creating", path)?;
        if state.names.contains_key(path) {
            state.change(NameChange::Unlink(path.to_string()));
        }
        state.create(path, false);
        Ok(())
    }

    fn write_at(&self, path: &str, offset: u64, data: &[u8]) -> Result<()> {
        let mut state = self.state();
        state.count("writing", path)?;
        let inode = state.names[path];
        state.write(inode, offset as usize, data);
        Ok(())
    }

    fn sync(&self, path: &str) -> Result<()> {
        let mut state = self.state();
        state.count("syncing", path)?;
        let inode = state.names[path];
        state.sync(inode);
        Ok(())
    }

    fn sync_dir(&self, path: &str) -> Result<()> {
        let mut state = self.state();
        state.count("syncing", path)?;
        state.sync_dir(path);
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        let mut state = self.state();
        state.count("renaming", from)?;
        state.change(NameChange::Rename(from.to_string(), to.to_string()));
        Ok(())
    }

    fn remove(&self, path: &str) -> Result<()> {
        let mut state = self.state();
        state.count("removing", path)?;
        state.change(NameChange::Unlink(path.to_string()));
        Ok(())
    }
}
