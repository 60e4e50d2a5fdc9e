//! Files in human-readable form.

use crate::check_file::{self, Kind, kind_of, locate};
use crate::directory::Directory;
use crate::show::{self, count};
use crate::{Verdict, say};
use shards::disk::{Disk, read_all};
use shards::error::{Error, Result};
use shards::ids::{Lsn, ShardId};
use shards::log::reader::frames;
use shards::manifest::{BYTES_MAX, BaseFormat, GenerationEntry, Manifest, State};
use shards::rdb::aof::{AofItem, AofReader, Part};
use shards::recovery::FileSource;
use std::path::Path;
use std::time::SystemTime;

pub fn directory(directory: &Directory) -> Result<Verdict> {
    let Some(manifest) = directory.manifest()? else {
        say("no shardis.manifest: no server has run here, and nothing was imported");
        return Ok(Verdict::Sound);
    };
    say_manifest(&manifest);
    for path in manifest.files() {
        let bytes = directory.disk.len(&path)?.map_or("missing".into(), |bytes| format!("{bytes} bytes"));
        say(format_args!("file       {path}: {bytes}"));
    }
    Ok(Verdict::Sound)
}

pub fn file(path: &Path, limit: usize, top: usize) -> Result<Verdict> {
    let (disk, path) = locate(path)?;
    match kind_of(&disk, &path)? {
        Kind::Segment => say_segment(&disk, &path, limit)?,
        Kind::Manifest => {
            let bytes = read_all(&disk, &path, BYTES_MAX)?.unwrap_or_default();
            say_manifest(&Manifest::decode(&bytes).map_err(|error| Error { path, ..error })?);
        }
        Kind::AofManifest => say(String::from_utf8_lossy(&read_all(&disk, &path, BYTES_MAX)?.unwrap_or_default()).trim_end()),
        Kind::Rdb | Kind::Aof => say_standard(&disk, &path, limit, top)?,
    }
    Ok(Verdict::Sound)
}

fn say_manifest(manifest: &Manifest) {
    let state = if manifest.state == State::Clean { "stopped in order" } else { "running, or ended without a stop" };
    say(format_args!("state      {state}"));
    if manifest.distrusted {
        say("state      distrusted: a write or fsync had failed");
    }
    let boot = if manifest.boot_id.is_empty() { "an unknown boot" } else { &manifest.boot_id };
    say(format_args!("written    as inode {} in boot {boot}", manifest.identity.inode));
    match &manifest.base {
        None => say("base       none: logs begin with the empty keyspace"),
        Some(base) => {
            let format = if base.format == BaseFormat::Rdb { "RDB" } else { "commands" };
            let (id, generation, mode, created) = (base.id, base.generation.0, base.mode.name(), base.created_ms);
            say(format_args!(
                "base       {id}, {format}, from generation {generation}, appendfsync {mode}, made at {created} (Unix ms)"
            ));
            for file in &base.files {
                say(format_args!("base       {}: {} bytes, up to LSN {}", file.path, file.bytes, file.cut.0));
                for keys in &file.keys {
                    say(format_args!("base         db{}: {} keys, {} with an expiry", keys.db, keys.keys, keys.expires));
                }
            }
        }
    }
    manifest.generations.iter().for_each(say_generation);
}

fn say_generation(generation: &GenerationEntry) {
    let log = if generation.logged { "with a log" } else { "without a log" };
    let (number, mode) = (generation.number.0, generation.mode.name());
    say(format_args!("generation {number}: {} shards, {log}, appendfsync {mode} at its start", generation.shards));
    for (shard, end) in generation.log_ends.iter().flatten().enumerate() {
        say(format_args!("generation   {}: ended at LSN {}", ShardId(shard as u16), end.0));
    }
    for segment in &generation.segments {
        let path = generation.segment_name(segment).path();
        say(format_args!("generation   {path}: prepared with {} bytes", segment.bytes));
    }
}

fn say_segment(disk: &dyn Disk, path: &str, limit: usize) -> Result<()> {
    let mut shown = 0;
    let end = frames(disk, path, &mut |frame| {
        shown += 1;
        if shown > limit {
            return;
        }
        let header = &frame.header;
        say(format_args!(
            "@{}: LSN {} to {}, {} bytes, durable before it: LSN {}",
            frame.offset,
            header.first_lsn.0,
            header.last_lsn().0,
            header.payload_bytes,
            header.durable_lsn.0
        ));
        for (index, record) in frame.records.iter().enumerate() {
            say(format_args!("    {:>8} {}", Lsn(header.first_lsn.0 + index as u64).0, show::record(record)));
        }
    })?;
    if shown > limit {
        say(format_args!("… {} more (--limit)", count((shown - limit) as u64, "frame", "frames")));
    }
    let header = end.header;
    say(format_args!(
        "segment {} of {} ({} shards), generation {}; frames end @{}",
        header.id, header.shard, header.shards, header.generation.0, end.end_byte
    ));
    if let Some(tail) = end.tail {
        say(format_args!("torn tail of {} bytes @{}: {}", tail.bytes, tail.offset, tail.reason));
    }
    Ok(())
}

fn say_standard(disk: &dyn Disk, path: &str, limit: usize, top: usize) -> Result<()> {
    let now_ms = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
    say_commands(disk, path, limit)?;
    check_file::read(FileSource::new(disk, path), path)?.say(now_ms, top);
    Ok(())
}

fn say_commands(disk: &dyn Disk, path: &str, limit: usize) -> Result<()> {
    let mut reader = AofReader::new(FileSource::new(disk, path), path, Part::Last)?;
    let mut left = limit;
    while let Some(item) = reader.next_item()? {
        if left == 0 {
            say("… more commands (--limit)");
            break;
        }
        let show = |db: u16, args: &[Vec<u8>]| format!("db{db} {}", show::words(args.iter().map(Vec::as_slice)));
        match item {
            AofItem::Command(command) => say(show(command.db, &command.args)),
            AofItem::Transaction(commands) => {
                let texts: Vec<String> = commands.iter().map(|command| show(command.db, &command.args)).collect();
                say(format_args!("MULTI {} EXEC", texts.join(" | ")));
            }
            AofItem::Timestamp(at) => say(format_args!("at {at} (Unix seconds)")),
            AofItem::Preamble(_) | AofItem::End(_) => continue,
        }
        left -= 1;
    }
    Ok(())
}
