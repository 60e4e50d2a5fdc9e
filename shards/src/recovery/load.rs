//! Bases and logs into keyspaces. Reads only.

use super::decision::{Decision, covered};
use crate::commands::{self, CommandStats, Ctx, Effects, iter_bytes};
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::ids::{DbIndex, Lsn, ShardId, Slot};
use crate::keyspace::{Keyspace, KeyspaceOptions};
use crate::log::Record;
use crate::log::reader::replay;
use crate::manifest::{Base, BaseFile, BaseFormat, GenerationEntry, Manifest};
use crate::rdb::aof::{AofItem, AofReader, Part};
use crate::rdb::{Item, Reader, Source};
use crate::resp::{Reply, decode_command_into};
use crate::types::Value;
use std::sync::Mutex;

/// Runs independent pieces of work, one per shard, on as many threads as the caller has. This crate starts none.
pub trait Parallel {
    fn run<'a>(&self, jobs: Vec<Box<dyn FnOnce() + Send + 'a>>);
}

/// One after another.
pub struct Sequential;

impl Parallel for Sequential {
    fn run<'a>(&self, jobs: Vec<Box<dyn FnOnce() + Send + 'a>>) {
        jobs.into_iter().for_each(|job| job());
    }
}

/// A file of the data directory as a stream.
pub struct FileSource<'a> {
    disk: &'a dyn Disk,
    path: String,
    offset: u64,
}

impl<'a> FileSource<'a> {
    pub fn new(disk: &'a dyn Disk, path: &str) -> FileSource<'a> {
        FileSource { disk, path: path.to_string(), offset: 0 }
    }
}

impl Source for FileSource<'_> {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        let got = self.disk.read_at(&self.path, self.offset, buf)?;
        self.offset += got as u64;
        Ok(got)
    }
}

/// The state that the decision calls for, spread over `shards` keyspaces.
pub fn load(
    disk: &dyn Disk,
    manifest: &Manifest,
    decision: &Decision,
    shards: u16,
    options: KeyspaceOptions,
    parallel: &dyn Parallel,
) -> Result<Vec<Keyspace>> {
    let empty = |count: u16| (0..count).map(|_| Keyspace::with(options)).collect::<Vec<_>>();
    let mut keyspaces = match &manifest.base {
        Some(base) => {
            let mut keyspaces = empty(base.files.len() as u16);
            each_shard(&mut keyspaces, parallel, &|shard, keyspace| load_base_file(disk, base, shard, keyspace))?;
            keyspaces
        }
        None => empty(shards),
    };
    // Replay finishes a generation on all shards before the next, in the layout that it was written with.
    for generation in manifest.generations.iter().filter(|generation| generation.logged) {
        let ends = decision.ends_of(generation.number).expect("the decision covers every logged generation");
        if ends.records == 0 {
            continue;
        }
        keyspaces = redistribute(keyspaces, generation.shards, options);
        each_shard(&mut keyspaces, parallel, &|shard, keyspace| {
            let after = covered(manifest, generation, shard);
            replay_shard(disk, generation, shard, after, ends.ends[shard.0 as usize], keyspace)
        })?;
    }
    Ok(redistribute(keyspaces, shards, options))
}

fn each_shard(
    keyspaces: &mut [Keyspace],
    parallel: &dyn Parallel,
    work: &(dyn Fn(ShardId, &mut Keyspace) -> Result<()> + Sync),
) -> Result<()> {
    let errors = Mutex::new(Vec::new());
    let job = |(shard, keyspace): (usize, &mut Keyspace)| {
        if let Err(error) = work(ShardId(shard as u16), keyspace) {
            errors.lock().expect("no job panics while it holds this").push(error);
        }
    };
    let jobs = keyspaces.iter_mut().enumerate().map(|item| Box::new(|| job(item)) as Box<dyn FnOnce() + Send + '_>);
    parallel.run(jobs.collect());
    let first = errors.into_inner().expect("no job panics while it holds this").into_iter().next();
    first.map_or(Ok(()), Err)
}

/// Moves every key to the shard that owns it now.
pub fn redistribute(keyspaces: Vec<Keyspace>, shards: u16, options: KeyspaceOptions) -> Vec<Keyspace> {
    if keyspaces.len() == shards as usize {
        return keyspaces;
    }
    let mut spread: Vec<Keyspace> = (0..shards).map(|_| Keyspace::with(options)).collect();
    for mut keyspace in keyspaces {
        for (db, key, value, expire_at_ms) in keyspace.drain() {
            let owner = Slot::of_key(&key).shard(shards);
            spread[owner.0 as usize].insert(db, &key, value, expire_at_ms);
        }
    }
    spread
}

// --- Bases -----------------------------------------------------------------------------------------------------------

fn load_base_file(disk: &dyn Disk, base: &Base, shard: ShardId, keyspace: &mut Keyspace) -> Result<()> {
    let file = &base.files[shard.0 as usize];
    let len = disk.len(&file.path)?;
    match len {
        None => return Err(Error::corrupt(&file.path, 0, "the manifest names this file, but there is none")),
        Some(len) if len != file.bytes => {
            return Err(Error::corrupt(
                &file.path,
                len.min(file.bytes),
                format!("the file has {len} bytes, expected {}", file.bytes),
            ));
        }
        Some(_) => {}
    }
    match base.format {
        BaseFormat::Rdb => load_rdb(disk, file, keyspace),
        BaseFormat::Commands => load_commands(disk, file, keyspace),
    }
}

/// Entries of an RDB inserted together: enough for their cache misses to overlap.
const BATCH_ENTRIES: usize = 16;

fn load_rdb(disk: &dyn Disk, file: &BaseFile, keyspace: &mut Keyspace) -> Result<()> {
    let databases = keyspace.databases();
    let mut reader = Reader::new(FileSource::new(disk, &file.path), &file.path)?;
    reader.set_limits(*keyspace.limits());
    let mut batch = Vec::with_capacity(BATCH_ENTRIES);
    let mut insert_all = |batch: &mut Vec<(DbIndex, Vec<u8>, Value, Option<i64>)>| {
        batch.iter().for_each(|(db, key, ..)| keyspace.warm(*db, key));
        for (db, key, value, expire_at_ms) in batch.drain(..) {
            keyspace.insert(db, &key, value, expire_at_ms);
        }
    };
    while let Some(item) = reader.next_item()? {
        match item {
            Item::Entry { db, key, value, expire_at_ms } => {
                check_db(db, databases, &file.path, reader.offset())?;
                batch.push((db, key, value, expire_at_ms));
                if batch.len() == BATCH_ENTRIES {
                    insert_all(&mut batch);
                }
            }
            Item::Eof { crc } if crc != file.crc => {
                return Err(Error::corrupt(
                    &file.path,
                    file.bytes - 8,
                    format!("crc {crc:016x}, the manifest says {:016x}", file.crc),
                ));
            }
            _ => {}
        }
    }
    insert_all(&mut batch);
    Ok(())
}

fn check_db(db: DbIndex, databases: DbIndex, path: &str, offset: u64) -> Result<()> {
    if db < databases {
        return Ok(());
    }
    Err(Error::corrupt(path, offset, format!("database {db}, but the configuration has {databases} (directive databases)")))
}

fn load_commands(disk: &dyn Disk, file: &BaseFile, keyspace: &mut Keyspace) -> Result<()> {
    check_commands_crc(disk, file)?;
    let mut reader = AofReader::new(FileSource::new(disk, &file.path), &file.path, Part::Earlier)?;
    let mut replayer = Replayer::new(keyspace, &file.path);
    while let Some(item) = reader.next_item()? {
        if let AofItem::Command(command) = item {
            let args: Vec<&[u8]> = command.args.iter().map(Vec::as_slice).collect();
            replayer.run_at(reader.item_offset(), command.db, &args)?;
        }
    }
    Ok(())
}

/// A base of commands against the checksum in the manifest, which is over the whole file.
pub fn check_commands_crc(disk: &dyn Disk, file: &BaseFile) -> Result<()> {
    let mut digest = crc64fast::Digest::new();
    let mut source = FileSource::new(disk, &file.path);
    let mut buf = vec![0; 1 << 20];
    loop {
        match source.read(&mut buf)? {
            0 => break,
            got => digest.write(&buf[..got]),
        }
    }
    match digest.sum64() {
        crc if crc == file.crc => Ok(()),
        crc => {
            Err(Error::corrupt(&file.path, 0, format!("crc {crc:016x} over the whole file, the manifest says {:016x}", file.crc)))
        }
    }
}

// --- Logs ------------------------------------------------------------------------------------------------------------

fn replay_shard(
    disk: &dyn Disk,
    generation: &GenerationEntry,
    shard: ShardId,
    after: Lsn,
    until: Lsn,
    keyspace: &mut Keyspace,
) -> Result<()> {
    if until <= after {
        return Ok(());
    }
    let files = generation.segment_files(shard);
    let path = files.first().map_or_else(String::new, |file| file.path.clone());
    let mut replayer = Replayer::new(keyspace, &path);
    replay(disk, &files, after, until, &mut |lsn, record| {
        let (Record::Write { effects } | Record::Transaction { effects, .. }) = record else { return Ok(()) };
        replayer.place = Place::Lsn(lsn);
        replayer.effects(effects)
    })
}

/// Where a command stands, for the error that names it.
#[derive(Clone, Copy)]
enum Place {
    Lsn(Lsn),
    /// In a standard AOF.
    Offset(u64),
}

/// Runs logged commands on a keyspace: nothing expires, replies and effects are dropped.
pub struct Replayer<'a> {
    keyspace: &'a mut Keyspace,
    path: String,
    place: Place,
    /// What a relative expiry counts from. Our logs hold none.
    now_ms: i64,
    reply: Vec<u8>,
    ignored: Effects,
    random: fastrand::Rng,
    stats: CommandStats,
}

impl<'a> Replayer<'a> {
    pub fn new(keyspace: &'a mut Keyspace, path: &str) -> Replayer<'a> {
        Replayer {
            keyspace,
            path: path.to_string(),
            place: Place::Offset(0),
            now_ms: 0,
            reply: Vec::new(),
            ignored: Effects::default(),
            // Never drawn from: effects are deterministic.
            random: fastrand::Rng::with_seed(0),
            stats: CommandStats::default(),
        }
    }

    /// For a standard AOF, where a relative expiry counts from its loading, as in Redis. No server writes one, but people and tools do.
    pub fn for_standard_aof(keyspace: &'a mut Keyspace, path: &str, now_ms: i64) -> Replayer<'a> {
        Replayer { now_ms, ..Replayer::new(keyspace, path) }
    }

    /// The command of a standard AOF that stands at `offset`.
    pub fn run_at(&mut self, offset: u64, db: DbIndex, args: &[&[u8]]) -> Result<()> {
        self.place = Place::Offset(offset);
        self.run(db, args)
    }

    fn effects(&mut self, bytes: &[u8]) -> Result<()> {
        let mut used = 0;
        for (db, resp) in iter_bytes(bytes) {
            used += commands::EFFECT_HEADER_BYTES + resp.len();
            let mut args = Vec::with_capacity(4);
            if decode_command_into(resp, &mut args) != Some(resp.len()) {
                return Err(self.malformed("an effect is no RESP array of bulk strings"));
            }
            self.run(db, &args)?;
        }
        if used == bytes.len() { Ok(()) } else { Err(self.malformed("an effect is cut short")) }
    }

    fn malformed(&self, cause: &str) -> Error {
        match self.place {
            Place::Lsn(lsn) => Error::corrupt(&self.path, 0, format!("LSN {}: {cause}", lsn.0)),
            Place::Offset(offset) => Error::corrupt(&self.path, offset, cause),
        }
    }

    fn run(&mut self, db: DbIndex, args: &[&[u8]]) -> Result<()> {
        if db >= self.keyspace.databases() {
            return Err(self.malformed(&format!(
                "database {db}, but the configuration has {} (directive databases)",
                self.keyspace.databases()
            )));
        }
        let (reply, effects) = (&mut self.reply, &mut self.ignored);
        replay_command_at(self.now_ms, self.keyspace, db, args, reply, effects, &mut self.random, &mut self.stats)
            .map_err(|cause| self.malformed(&cause))
    }
}

/// One logged command; an error reply is an error here: what was logged has succeeded before.
pub fn replay_command(
    keyspace: &mut Keyspace,
    db: DbIndex,
    args: &[&[u8]],
    reply: &mut Vec<u8>,
    effects: &mut Effects,
    random: &mut fastrand::Rng,
    stats: &mut CommandStats,
) -> std::result::Result<(), String> {
    replay_command_at(0, keyspace, db, args, reply, effects, random, stats)
}

#[expect(clippy::too_many_arguments)]
fn replay_command_at(
    now_ms: i64,
    keyspace: &mut Keyspace,
    db: DbIndex,
    args: &[&[u8]],
    reply: &mut Vec<u8>,
    effects: &mut Effects,
    random: &mut fastrand::Rng,
    stats: &mut CommandStats,
) -> std::result::Result<(), String> {
    let command = commands::resolve(args).map_err(|text| String::from_utf8_lossy(&text).into_owned())?;
    if !matches!(command.run, commands::Run::Data(_)) {
        return Err(format!("{} is not a command that changes data", command.name));
    }
    reply.clear();
    effects.clear();
    // Nobody reads them: what is replayed has been logged.
    effects.count_only();
    keyspace.begin_command(Lsn(0));
    let mut ctx = Ctx {
        keyspace,
        reply: Reply::new(reply, Default::default()),
        effects,
        db,
        now_ms,
        random,
        replaying: true,
        gathered: false,
        may_expire: false,
        stats,
        unnamed: None,
    };
    commands::run_data(command, &mut ctx, args);
    match reply.first() {
        Some(b'-') => Err(String::from_utf8_lossy(reply).trim_end().to_string()),
        _ => Ok(()),
    }
}
