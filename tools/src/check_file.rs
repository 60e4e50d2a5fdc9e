//! One file, told by its first bytes: RDB, AOF, segment, manifest.

use crate::disk::StdDisk;
use crate::progress::Progress;
use crate::rdb_summary::Summary;
use crate::show::count;
use crate::{Verdict, say};
use shards::disk::{Disk, read_all};
use shards::error::{Error, Result};
use shards::log::format::MAGIC;
use shards::log::reader::frames;
use shards::manifest::{BYTES_MAX, Manifest};
use shards::rdb::aof::{AofItem, AofReader, Part};
use shards::rdb::aof_manifest::AofManifest;
use shards::rdb::{Item, Source};
use shards::recovery::FileSource;
use std::path::Path;

/// What the first bytes say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Segment,
    Manifest,
    AofManifest,
    /// An RDB, or an AOF that begins with one.
    Rdb,
    Aof,
}

/// A disk and the file's name on it.
pub fn locate(path: &Path) -> Result<(StdDisk, String)> {
    let name = path.to_str().ok_or_else(|| Error::usage(path.display().to_string(), "the name is no UTF-8"))?;
    match path.is_file() {
        true => Ok((StdDisk::new(Path::new("")), name.to_string())),
        false => Err(Error::usage(name, "there is no such file (a directory goes to --dir)")),
    }
}

pub fn kind_of(disk: &dyn Disk, path: &str) -> Result<Kind> {
    let mut head = [0; 16];
    let got = disk.read_at(path, 0, &mut head)?;
    Ok(match &head[..got] {
        head if head.starts_with(MAGIC) => Kind::Segment,
        head if head.starts_with(b"shardis-manifest") => Kind::Manifest,
        head if head.starts_with(b"REDIS") || head.starts_with(b"VALKEY") => Kind::Rdb,
        head if head.starts_with(b"file ") => Kind::AofManifest,
        _ => Kind::Aof,
    })
}

pub fn check(path: &Path) -> Result<Verdict> {
    let (disk, path) = locate(path)?;
    let progress = Progress::show(&disk, disk.len(&path)?.unwrap_or(0), "checking");
    let outcome = match kind_of(&disk, &path)? {
        Kind::Segment => check_segment(&disk, &path),
        Kind::Manifest => check_manifest(&disk, &path),
        Kind::AofManifest => check_aof_manifest(&disk, &path),
        Kind::Rdb | Kind::Aof => read(FileSource::new(&disk, &path), &path).map(|summary| describe(&summary)),
    };
    drop(progress);
    match outcome {
        Ok(text) => {
            say(format_args!("{path}: sound; {text}"));
            Ok(Verdict::Sound)
        }
        Err(error) => {
            say(format_args!("DAMAGE     {error}"));
            Ok(Verdict::Damaged)
        }
    }
}

fn check_segment(disk: &dyn Disk, path: &str) -> Result<String> {
    let (mut number, mut records) = (0, 0);
    let end = frames(disk, path, &mut |frame| {
        number += 1;
        records += frame.records.len() as u64;
    })?;
    let tail =
        end.tail.map_or(String::new(), |tail| format!("; torn tail of {} bytes @ {}: {}", tail.bytes, tail.offset, tail.reason));
    let header = end.header;
    Ok(format!(
        "segment {} of {} in generation {}: {} with {}, up to byte {}{tail}",
        header.id,
        header.shard,
        header.generation.0,
        count(number, "frame", "frames"),
        count(records, "record", "records"),
        end.end_byte
    ))
}

fn check_manifest(disk: &dyn Disk, path: &str) -> Result<String> {
    let bytes = read_all(disk, path, BYTES_MAX)?.unwrap_or_default();
    // The decoder knows the file by its usual name only.
    let manifest = Manifest::decode(&bytes).map_err(|error| Error { path: path.to_string(), ..error })?;
    Ok(format!("a manifest that names {}; use --dir to check them", count(manifest.files().len() as u64, "file", "files")))
}

fn check_aof_manifest(disk: &dyn Disk, path: &str) -> Result<String> {
    let bytes = read_all(disk, path, BYTES_MAX)?.unwrap_or_default();
    let manifest = AofManifest::parse(&bytes, path)?;
    let names: Vec<String> = manifest.files().map(|file| file.name.clone()).collect();
    let mut texts = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let part_path = Path::new(path).with_file_name(name).display().to_string();
        if disk.len(&part_path)?.is_none() {
            return Err(Error::corrupt(&part_path, 0, format!("{path} names this file, but there is none")));
        }
        let part = if index + 1 == names.len() { Part::Last } else { Part::Earlier };
        let summary = read_part(FileSource::new(disk, &part_path), &part_path, part)?;
        texts.push(format!("{name}: {}", describe(&summary)));
    }
    Ok(texts.join("; "))
}

/// Reads an RDB or AOF to its end.
pub fn read(source: impl Source, path: &str) -> Result<Summary> {
    read_part(source, path, Part::Last)
}

fn read_part(source: impl Source, path: &str, part: Part) -> Result<Summary> {
    let mut reader = AofReader::new(source, path, part)?;
    let mut summary = Summary::default();
    while let Some(item) = reader.next_item()? {
        match item {
            AofItem::Preamble(Item::Eof { crc }) => summary.rdb_crc = Some(crc),
            AofItem::Preamble(Item::Entry { db, key, value, expire_at_ms }) => summary.entry(db, &key, &value, expire_at_ms),
            AofItem::Preamble(item) => summary.other(&item),
            AofItem::Command(command) => summary.command(&command.args),
            AofItem::Transaction(commands) => {
                summary.transactions += 1;
                commands.iter().for_each(|command| summary.command(&command.args));
            }
            AofItem::Timestamp(_) => {}
            AofItem::End(end) => summary.end = Some(end),
        }
    }
    Ok(summary)
}

fn describe(summary: &Summary) -> String {
    let mut parts = Vec::new();
    if summary.rdb_crc.is_some() {
        parts.push(format!("an RDB with {}", count(summary.entries, "key", "keys")));
    }
    if summary.rdb_crc.is_none() || summary.commands > 0 {
        parts.push(count(summary.commands, "command", "commands"));
    }
    if let Some(cut) = summary.end.and_then(|end| end.cut) {
        let at = summary.end.map_or(0, |end| end.valid_bytes);
        parts.push(format!("torn tail of {} bytes @ {at} ({:?})", cut.bytes, cut.reason));
    }
    parts.join(", ")
}
