//! Is a data directory sound, and what would a start load and cut? Only `fix` changes anything.
//!
//! Everything is read: the manifest, every base entry by entry, every log frame by frame. All damage is reported, not just the first.

use crate::directory::Directory;
use crate::progress::Progress;
use crate::show::count;
use crate::{Verdict, check_file, say};
use shards::disk::Disk;
use shards::error::{Error, Result};
use shards::ids::{Generation, Lsn, ShardId};
use shards::log::reader::frames;
use shards::manifest::{Base, BaseFile, BaseFormat, GenerationEntry, Manifest, PATH, SegmentEntry, State, TEMPORARY_PATH};
use shards::recovery::{
    Assume, Crash, Decision, Examination, ExaminedLog, FileSource, check_commands_crc, commit, examine, make_durable, shard_files,
};

/// A piece of a file that is copied.
const COPY_BYTES: usize = 1 << 20;

pub fn check(directory: &Directory, assume: Assume, fix: bool) -> Result<Verdict> {
    let manifest = match directory.manifest() {
        Ok(Some(manifest)) => manifest,
        Ok(None) => return without_manifest(directory),
        Err(error) => {
            damaged(&error);
            say("the manifest says which files count, so nothing else can be judged; restore the directory from a backup");
            return Ok(Verdict::Damaged);
        }
    };
    let progress = Progress::show(&directory.disk, directory.bytes_of(&manifest), "checking");
    let bases_are_sound = check_bases(&directory.disk, manifest.base.as_ref());
    let examination = examine(&directory.disk, &manifest, assume)?;
    drop(progress);
    say_manifest(&manifest);
    examination.logs.iter().for_each(say_log);
    say_decision(&manifest, &examination.decision);
    say_leftovers(directory, &manifest)?;
    let damage = examination.damage().count();
    examination.damage().for_each(damaged);
    let verdict = if damage == 0 && bases_are_sound { Verdict::Sound } else { Verdict::Damaged };
    match fix {
        true if !bases_are_sound => {
            say("not fixed: a damaged base can't be cut; restore the directory from a backup");
            Ok(Verdict::Damaged)
        }
        true if damage > 0 || examination.decision.is_cut() => repair(directory, manifest, &examination),
        _ => {
            say(if verdict == Verdict::Sound { "sound" } else { "DAMAGED: a start stops here; `check --fix` cuts logs" });
            Ok(verdict)
        }
    }
}

fn damaged(error: &Error) {
    say(format_args!("DAMAGE     {error}"));
}

fn without_manifest(directory: &Directory) -> Result<Verdict> {
    let files = shard_files(&directory.disk)?;
    if let Some(first) = files.first() {
        damaged(&Error::corrupt(PATH, 0, format!("there is none, but {} of shards, {first} first", count_files(files.len()))));
        return Ok(Verdict::Damaged);
    }
    say(format_args!("no {PATH}: no server has run here, and nothing was imported; a start reads the standard files, if any"));
    Ok(Verdict::Sound)
}

fn count_files(files: usize) -> String {
    count(files as u64, "file", "files")
}

fn say_manifest(manifest: &Manifest) {
    let state = if manifest.state == State::Clean { "stopped in order" } else { "not stopped in order" };
    let distrusted = if manifest.distrusted { ", a write or fsync had failed" } else { "" };
    say(format_args!("manifest   sound; {state}{distrusted}"));
}

fn check_bases(disk: &dyn Disk, base: Option<&Base>) -> bool {
    let Some(base) = base else {
        say("base       none: logs begin with the empty keyspace");
        return true;
    };
    let mut is_sound = true;
    for file in &base.files {
        match check_base(disk, base.format, file) {
            Ok(entries) => {
                say(format_args!(
                    "base       {}: sound, {} in {} bytes, up to LSN {}",
                    file.path,
                    count(entries, "key", "keys"),
                    file.bytes,
                    file.cut.0
                ));
            }
            Err(error) => {
                damaged(&error);
                is_sound = false;
            }
        }
    }
    is_sound
}

/// Number of its entries.
fn check_base(disk: &dyn Disk, format: BaseFormat, file: &BaseFile) -> Result<u64> {
    let bytes = disk.len(&file.path)?;
    let bytes = bytes.ok_or_else(|| Error::corrupt(&file.path, 0, "the manifest names this file, but there is none"))?;
    if bytes != file.bytes {
        let cause = format!("the file has {bytes} bytes, the manifest says {}", file.bytes);
        return Err(Error::corrupt(&file.path, bytes.min(file.bytes), cause));
    }
    let summary = check_file::read(FileSource::new(disk, &file.path), &file.path)?;
    match (format, summary.rdb_crc) {
        (BaseFormat::Commands, _) => check_commands_crc(disk, file)?,
        (BaseFormat::Rdb, Some(crc)) if crc == file.crc => {}
        (BaseFormat::Rdb, crc) => {
            let found = crc.map_or("no RDB".into(), |crc| format!("checksum {crc:016x}"));
            return Err(Error::corrupt(&file.path, 0, format!("{found}, the manifest says {:016x}", file.crc)));
        }
    }
    let (entries, expected) = (summary.entries + summary.commands, file.keys.iter().map(|keys| keys.keys).sum::<u64>());
    match format {
        BaseFormat::Rdb if entries != expected => {
            Err(Error::corrupt(&file.path, 0, format!("{entries} keys, the manifest says {expected}")))
        }
        _ => Ok(entries),
    }
}

fn say_log(log: &ExaminedLog) {
    let ExaminedLog { generation: Generation(generation), shard, scan, damage } = log;
    let torn = match (&scan.tail, damage) {
        (_, Some(_)) => "; DAMAGED behind that".to_string(),
        (Some(tail), None) => format!("; torn tail of {} bytes, {} @ {}: {}", tail.bytes, tail.path, tail.offset, tail.reason),
        (None, None) => String::new(),
    };
    let records = count(scan.records, "record", "records");
    say(format_args!(
        "log        generation {generation} {shard}: {records} behind the base, {} transactions, valid to LSN {}{torn}",
        scan.transactions.len(),
        scan.last.0
    ));
}

fn say_decision(manifest: &Manifest, decision: &Decision) {
    let how = match &decision.crash {
        Crash::Clean => "after a clean stop".to_string(),
        Crash::Process => "as after a process crash (page cache intact)".into(),
        Crash::PowerLoss(why) => format!("as after a power loss ({why})"),
    };
    let mark = decision.mark.map_or(String::new(), |seq| format!(", newest complete mark: seq {}", seq.0));
    say(format_args!("recovery   {how}{mark}"));
    for ends in &decision.generations {
        let logged = manifest.generations.iter().find(|generation| generation.number == ends.generation);
        let recorded = if logged.is_some_and(|g| g.log_ends.is_some()) { " (recorded)" } else { "" };
        let lsns: Vec<String> =
            ends.ends.iter().enumerate().map(|(shard, end)| format!("{}: {}", ShardId(shard as u16), end.0)).collect();
        say(format_args!(
            "recovery   generation {}: loads {} behind the base; last LSN{recorded} {}",
            ends.generation.0,
            count(ends.records, "record", "records"),
            lsns.join(", ")
        ));
    }
    for cut in decision.cuts.iter().filter(|cut| cut.records > 0 || cut.tail.is_some()) {
        let bytes = cut.tail.as_ref().map_or(0, |tail| tail.bytes);
        let why = cut.tail.as_ref().map_or("not in the largest closed set", |tail| &tail.reason);
        say(format_args!("recovery   {}: cuts {} and {bytes} bytes ({why})", cut.shard, count(cut.records, "record", "records")));
    }
}

fn say_leftovers(directory: &Directory, manifest: &Manifest) -> Result<()> {
    let named = manifest.files();
    for path in shard_files(&directory.disk)?.iter().filter(|path| !named.contains(path)) {
        say(format_args!("left over  {path}: not in the manifest, the next start removes it"));
    }
    if directory.disk.len(TEMPORARY_PATH)?.is_some() {
        say(format_args!("left over  {TEMPORARY_PATH}: an unfinished manifest, never in effect"));
    }
    Ok(())
}

// --- Repair ------------------------------------------------------------------------------------------------------------

/// Records where each log ends now. Files behind an end keep their bytes under another name; so does a file that keeps its place, because
/// it is sound up to its end, as a copy: the next snapshot removes it.
fn repair(directory: &Directory, mut manifest: Manifest, examination: &Examination) -> Result<Verdict> {
    let disk = &directory.disk;
    say_losses(&manifest, examination);
    for generation in manifest.generations.iter_mut().filter(|generation| generation.logged) {
        let ends = examination.decision.ends_of(generation.number).expect("the decision covers every logged generation");
        generation.log_ends = Some(ends.ends.clone());
        let log_of =
            |shard: ShardId| examination.logs.iter().find(|log| log.generation == generation.number && log.shard == shard);
        let kept = |generation: &GenerationEntry, entry: &SegmentEntry| -> Result<Option<u64>> {
            let log = log_of(entry.shard);
            let last_used = log.and_then(|log| log.scan.end).map(|(index, _)| index);
            let place = generation.segment_files(entry.shard).iter().position(|file| file.id == entry.id);
            // A generation without a record that counts needs no file.
            if ends.records == 0 || place > last_used {
                return Ok(None);
            }
            disk.len(&generation.segment_name(entry).path())
        };
        let mut segments = Vec::new();
        for entry in &generation.segments {
            let path = generation.segment_name(entry).path();
            match kept(generation, entry)? {
                Some(bytes) => {
                    if log_of(entry.shard).is_some_and(|log| loses_bytes_of(disk, log, &path, ends.ends[entry.shard.0 as usize]))
                    {
                        copy_aside(disk, &path)?;
                    }
                    segments.push(SegmentEntry { bytes: entry.bytes.min(bytes), ..entry.clone() });
                }
                None => set_aside(disk, &path)?,
            }
        }
        generation.segments = segments;
    }
    // Every log has a recorded end now, and what is kept is made durable before that is said.
    make_durable(disk, &manifest, &examination.decision.unproven)?;
    manifest.state = State::Clean;
    manifest.distrusted = false;
    commit(disk, &mut manifest)?;
    let again = examine(disk, &manifest, Assume::Auto)?;
    match again.damage().next() {
        Some(error) => Err(error.clone()),
        None => {
            say("fixed: the ends are recorded in the manifest, a start loads what stands before them");
            Ok(Verdict::Sound)
        }
    }
}

/// Whether this file has the damage, or known records behind the log's new end.
fn loses_bytes_of(disk: &dyn Disk, log: &ExaminedLog, path: &str, end: Lsn) -> bool {
    let is_damaged = log.damage.as_ref().is_some_and(|error| error.path == path);
    is_damaged || log.scan.last > end && last_lsn_in(disk, path).is_none_or(|last| last > end)
}

/// `None`: it can't be read as a segment.
fn last_lsn_in(disk: &dyn Disk, path: &str) -> Option<Lsn> {
    let mut last = Lsn(0);
    frames(disk, path, &mut |frame| last = frame.header.last_lsn()).ok().map(|_| last)
}

fn set_aside(disk: &dyn Disk, path: &str) -> Result<()> {
    if disk.len(path)?.is_some() {
        let aside = free_name(disk, path)?;
        disk.rename(path, &aside)?;
        say_aside(&aside);
    }
    Ok(())
}

/// Durable before the manifest says that the bytes do not count.
fn copy_aside(disk: &dyn Disk, path: &str) -> Result<()> {
    let aside = free_name(disk, path)?;
    disk.create(&aside)?;
    let mut piece = vec![0; COPY_BYTES];
    let mut offset = 0;
    loop {
        let bytes = disk.read_at(path, offset, &mut piece)?;
        if bytes == 0 {
            break;
        }
        disk.write_at(&aside, offset, &piece[..bytes])?;
        offset += bytes as u64;
    }
    disk.sync(&aside)?;
    disk.sync_dir(aside.rsplit_once('/').map_or("", |(dir, _)| dir))?;
    say_aside(&aside);
    Ok(())
}

/// What an earlier repair has kept stays.
fn free_name(disk: &dyn Disk, path: &str) -> Result<String> {
    let mut aside = format!("{path}.damaged");
    let mut number = 1;
    while disk.len(&aside)?.is_some() {
        number += 1;
        aside = format!("{path}.damaged-{number}");
    }
    Ok(aside)
}

fn say_aside(aside: &str) {
    say(format_args!("kept aside {aside}: remove it when nobody needs it any more"));
}

fn say_losses(manifest: &Manifest, examination: &Examination) {
    for log in &examination.logs {
        let ends = examination.decision.ends_of(log.generation).expect("every examined log is decided on");
        let end = ends.ends[log.shard.0 as usize];
        let recorded = manifest.generations.iter().find(|g| g.number == log.generation).and_then(|g| g.log_ends.as_ref());
        let was = recorded.map_or(log.scan.last, |ends| ends[log.shard.0 as usize]);
        let records = count(was.0.saturating_sub(end.0), "known record", "known records");
        match &log.damage {
            Some(error) => say(format_args!(
                "lost       generation {} {}: {records} behind LSN {} and all that stood from {} @ {} on",
                log.generation.0,
                log.shard,
                end.0,
                error.path,
                error.offset.unwrap_or(0)
            )),
            None if was > end => {
                say(format_args!("lost       generation {} {}: {records} behind LSN {}", log.generation.0, log.shard, end.0));
            }
            None => {}
        }
    }
}
