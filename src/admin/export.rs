//! EXPORT RDB|AOF [name] [VERSION n]: one standard file of one point in time, for backup or another server.
//!
//! A base is taken first; then a helper thread puts the shards' files together, without parsing an entry:
//! ```text
//! RDB bases      header with summed counts | body of shard 0 | body of shard 1 | … | EOF + CRC      (see `shards::rdb::bodies`)
//! command bases  the files one after another: each begins with its SELECT
//! ```
//! For readers of an RDB version that does not hold everything, the entries are decoded and encoded anew, RDB and commands alike; what
//! can't be said to them is named in the log and counted in the reply.
//!
//! Written under a temporary name, synced, renamed, directory synced: a crash leaves the old file or the new one.

use super::saves::{Order, Saving};
use super::{Admin, Requester, word};
use crate::server::Shared;
use shards::manifest::{Base, BaseFile, BaseFormat};
use shards::rdb::bodies::{
    Body, DbMeta, END_BYTES, ShardHeader, bodies_version, concatenate, file_end, merge_header, read_shard_header,
};
use shards::rdb::crc64::Crc64;
use shards::rdb::survey::{Losses, Survey};
use shards::rdb::values::VERSION_ALL;
use shards::rdb::{IoSource, Item, Reader};
use shards::shard::Shard;
use shards::snapshot::{BigEntry, Encoder};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Clone)]
pub struct Target {
    name: String,
    /// RESP commands instead of an RDB file.
    commands: bool,
    /// The highest RDB version that the readers know, where that was said.
    version_max: Option<u32>,
}

/// RDB versions that can be asked for.
const VERSIONS: RangeInclusive<u32> = 9..=VERSION_ALL;

/// A file that is complete.
pub struct Exported {
    pub name: String,
    pub losses: Losses,
}

impl Exported {
    pub fn answer(&self) -> String {
        if self.losses.is_empty() { "OK".into() } else { format!("OK, but {}: see the log", self.losses) }
    }
}

impl Target {
    pub fn rdb(name: &str) -> Target {
        Target { name: name.into(), commands: false, version_max: None }
    }

    /// Bases of commands are copied; for a version the entries are needed, and those are read from RDB bases.
    pub fn wants_commands_base(&self) -> bool {
        self.commands && self.version_max.is_none()
    }

    /// Where it is written before it gets its name.
    pub fn temporary(&self, dir: &Path) -> PathBuf {
        dir.join(format!("temp-export-{}.{}", std::process::id(), self.name))
    }
}

const USAGE: &str = "ERR syntax error, use EXPORT RDB|AOF [name] [VERSION version]";
const NOT_PLAIN: &str = "ERR the name must be a plain file name; the file is written into the data directory";

impl Admin {
    /// Why an export must not take this name: whatever it replaced would be lost.
    fn owner_of(&self, name: &str) -> Option<&'static str> {
        let path = self.shared.dir.join(name);
        let is_ours = name.starts_with("shardis.") || name.starts_with("temp-export-") || is_shard_directory(name);
        // Links are followed: the rename would replace the link, but what it leads to is in use under this name.
        let is_file_of = |file: &Path| match (path.canonicalize(), file.canonicalize()) {
            (Ok(path), Ok(file)) => path == file,
            _ => false,
        };
        let of_config = [self.config.text("logfile"), self.config.text("pidfile"), self.config.text("aclfile")];
        let used = of_config.into_iter().filter(|file| !file.is_empty()).map(Path::new).chain(self.config.file());
        match path.symlink_metadata() {
            _ if is_ours || name == self.config.text("appenddirname") => Some("is a name that the server itself uses"),
            _ if used.into_iter().any(is_file_of) || self.remove_at_exit.iter().any(|file| is_file_of(file)) => {
                Some("is a file of the running server")
            }
            Ok(found) if found.is_dir() => Some("is a directory"),
            Ok(found) if !found.is_file() && !found.is_symlink() => Some("is there and is no file"),
            _ => None,
        }
    }

    pub(super) fn export(&mut self, requester: Requester, args: &[&[u8]], shard: &mut Shard, now: i64) {
        let (default, commands) = match word(args[1]).as_str() {
            "rdb" => (self.config.text("dbfilename"), false),
            // With a preamble, an AOF is an RDB file that commands may follow.
            "aof" => (self.config.text("appendfilename"), !self.config.flag("aof-use-rdb-preamble")),
            _ => return self.error(requester, USAGE),
        };
        let (args, version_max) = match args {
            [before @ .., option, version] if before.len() >= 2 && word(option) == "version" => {
                match std::str::from_utf8(version).ok().and_then(|text| text.parse().ok()) {
                    Some(version) if VERSIONS.contains(&version) => (before, Some(version)),
                    _ => return self.error(requester, "ERR the RDB version must be between 9 and 12"),
                }
            }
            _ => (args, None),
        };
        let name = match args[2..] {
            [] => default.to_string(),
            [name] => match std::str::from_utf8(name) {
                Ok(name) => name.to_string(),
                Err(_) => return self.error(requester, NOT_PLAIN),
            },
            _ => return self.error(requester, USAGE),
        };
        if name.is_empty() || name.contains('/') || name.starts_with('.') || name.contains('\0') {
            return self.error(requester, NOT_PLAIN);
        }
        if let Some(owner) = self.owner_of(&name) {
            return self.error(requester, &format!("ERR '{name}' {owner}; give the export another name"));
        }
        let export = Some(Target { name, commands, version_max });
        self.order(Order { saving: Saving::Export, requester: Some(requester), export }, shard, now);
    }
}

fn is_shard_directory(name: &str) -> bool {
    name.strip_prefix("shard-").is_some_and(|number| number.len() == 4 && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Merges the base on a thread of its own.
pub fn start(
    shared: Arc<Shared>,
    base: Base,
    target: Target,
    done: impl FnOnce(&Shared, Result<Exported, String>) + Send + 'static,
) -> Result<(), String> {
    let work = move || {
        let outcome = write_file(&shared.dir, &base, &target).map_err(|e| format!("exporting to {}: {e}", target.name));
        done(&shared, outcome.map(|losses| Exported { name: target.name, losses }));
    };
    let thread = std::thread::Builder::new().name("export".into()).spawn(work);
    thread.map(drop).map_err(|e| format!("starting the export: {e}"))
}

fn write_file(dir: &Path, base: &Base, target: &Target) -> io::Result<Losses> {
    let temporary = target.temporary(dir);
    let written = write_temporary(dir, base, target, &temporary).and_then(|losses| {
        std::fs::rename(&temporary, dir.join(&target.name))?;
        Ok(losses)
    });
    if written.is_err() {
        _ = std::fs::remove_file(&temporary);
    }
    let losses = written?;
    // Sync the directory after the rename: a crash may otherwise lose the new name.
    File::open(dir)?.sync_all()?;
    Ok(losses)
}

fn write_temporary(dir: &Path, base: &Base, target: &Target, temporary: &Path) -> io::Result<Losses> {
    let mut out = io::BufWriter::with_capacity(1 << 20, File::create(temporary)?);
    let mut losses = Losses::default();
    match (base.format, target.version_max) {
        (BaseFormat::Rdb, None) => merge_rdb(dir, &read_headers(dir, base)?, None, base, &mut out)?,
        (BaseFormat::Rdb, Some(version_max)) => {
            let sources = read_headers(dir, base)?;
            if !target.commands && sources.iter().all(|source| source.header.version <= version_max) {
                merge_rdb(dir, &sources, Some(version_max), base, &mut out)?;
            } else {
                losses = encode_anew(dir, base, target.commands, version_max, &mut out)?;
            }
        }
        (BaseFormat::Commands, _) => {
            for file in &base.files {
                io::copy(&mut File::open(dir.join(&file.path))?, &mut out)?;
            }
        }
    }
    out.into_inner().map_err(|e| e.into_error())?.sync_all()?;
    Ok(losses)
}

/// One shard's file of the base.
struct Source<'a> {
    file: &'a BaseFile,
    header: ShardHeader,
    body_bytes: u64,
}

fn read_headers<'a>(dir: &Path, base: &'a Base) -> io::Result<Vec<Source<'a>>> {
    let invalid = |path: &str, cause: &str| io::Error::other(format!("{path}: {cause}"));
    let mut sources = Vec::new();
    for file in &base.files {
        let mut reader = open(dir, file)?;
        let header = read_shard_header(&mut reader).map_err(io::Error::other)?;
        let header = header.ok_or_else(|| invalid(&file.path, "not a shard's file"))?;
        let bytes = file.bytes.checked_sub(header.body_offset + END_BYTES);
        sources.push(Source { file, header, body_bytes: bytes.ok_or_else(|| invalid(&file.path, "too short"))? });
    }
    Ok(sources)
}

fn open(dir: &Path, file: &BaseFile) -> io::Result<Reader<IoSource<File>>> {
    let source = IoSource { inner: File::open(dir.join(&file.path))?, path: file.path.clone() };
    Reader::new(source, &file.path).map_err(io::Error::other)
}

fn merge_rdb(dir: &Path, sources: &[Source<'_>], version: Option<u32>, base: &Base, out: &mut impl Write) -> io::Result<()> {
    // The body's checksum is not in the file's footer by itself: one pass over the bodies gives it, and finds bit rot.
    let mut parts = Vec::new();
    for Source { file, header, body_bytes } in sources {
        let mut crc = Crc64::new();
        copy_body(&dir.join(&file.path), header.body_offset, *body_bytes, &mut |piece| {
            crc.update(piece);
            Ok(())
        })?;
        let dbs = file.keys.iter().map(|keys| DbMeta { db: keys.db, keys: keys.keys, expires: keys.expires }).collect();
        parts.push(Body { bytes: *body_bytes, crc: crc.value(), version: header.version, dbs });
    }
    let body = concatenate(&parts);
    let file_header = header_of(base, version.unwrap_or(bodies_version(&parts)), &body.dbs);
    out.write_all(&file_header)?;
    for Source { file, header, body_bytes } in sources {
        copy_body(&dir.join(&file.path), header.body_offset, *body_bytes, &mut |piece| out.write_all(piece))?;
    }
    out.write_all(&file_end(&file_header, &body))
}

fn header_of(base: &Base, version: u32, dbs: &[DbMeta]) -> Vec<u8> {
    let created = (base.created_ms / 1000).to_string();
    let aux = [("redis-ver", "7.2.0"), ("redis-bits", "64"), ("ctime", created.as_str())];
    let mut header = Vec::new();
    merge_header(&mut header, version, &aux, &[], dbs);
    header
}

/// Reads the base twice: a header says how many keys follow.
fn encode_anew(dir: &Path, base: &Base, commands: bool, version_max: u32, out: &mut impl Write) -> io::Result<Losses> {
    let mut survey = Survey::new(version_max);
    each_entry(dir, base, &mut |entry| {
        survey.count(entry.db, &entry.key, &entry.value, entry.expire_at_ms);
        Ok(())
    })?;
    let header = if commands { Vec::new() } else { header_of(base, version_max, &survey.dbs) };
    out.write_all(&header)?;
    let mut encoder = Encoder::for_export(if commands { BaseFormat::Commands } else { BaseFormat::Rdb }, version_max);
    each_entry(dir, base, &mut |mut entry| {
        while survey.keeps(&entry.value) && !encoder.piece(&mut entry) {
            out.write_all(&encoder.take())?;
        }
        out.write_all(&encoder.take())
    })?;
    let (last, body) = encoder.finish();
    out.write_all(&last)?;
    if !commands {
        out.write_all(&file_end(&header, &body))?;
    }
    Ok(survey.losses)
}

fn each_entry(dir: &Path, base: &Base, visit: &mut dyn FnMut(BigEntry) -> io::Result<()>) -> io::Result<()> {
    for file in &base.files {
        let mut reader = open(dir, file)?;
        while let Some(item) = reader.next_item().map_err(io::Error::other)? {
            if let Item::Entry { db, key, value, expire_at_ms } = item {
                visit(BigEntry::new(db, key, value, expire_at_ms))?;
            }
        }
    }
    Ok(())
}

fn copy_body(path: &Path, offset: u64, bytes: u64, take: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut left = bytes;
    let mut buffer = vec![0; 1 << 20];
    while left > 0 {
        let wanted = left.min(buffer.len() as u64) as usize;
        file.read_exact(&mut buffer[..wanted])?;
        take(&buffer[..wanted])?;
        left -= wanted as u64;
    }
    Ok(())
}
