//! EXPORT RDB|AOF [name]: one standard file of one point in time, for backup or another server.
//!
//! A base is taken first; then a helper thread puts the shards' files together, without parsing an entry:
//! ```text
//! RDB bases      header with summed counts | body of shard 0 | body of shard 1 | … | EOF + CRC      (see `shards::rdb::bodies`)
//! command bases  the files one after another: each begins with its SELECT
//! ```
//! Written under a temporary name, synced, renamed, directory synced: a crash leaves the old file or the new one.

use super::saves::{Order, Saving};
use super::{Admin, Requester, word};
use crate::server::Shared;
use shards::manifest::{Base, BaseFormat};
use shards::rdb::bodies::{Body, DbMeta, END_BYTES, concatenate, file_end, merge_header, read_shard_header};
use shards::rdb::crc64::Crc64;
use shards::rdb::{IoSource, Reader};
use shards::shard::Shard;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Clone)]
pub struct Target {
    name: String,
    /// RESP commands instead of an RDB file.
    pub commands: bool,
}

impl Target {
    pub fn rdb(name: &str) -> Target {
        Target { name: name.into(), commands: false }
    }

    /// Where it is written before it gets its name.
    pub fn temporary(&self, dir: &Path) -> PathBuf {
        dir.join(format!("temp-export-{}.{}", std::process::id(), self.name))
    }
}

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
            _ => return self.error(requester, "ERR syntax error, use EXPORT RDB|AOF [name]"),
        };
        let name = match args[2..] {
            [] => default.to_string(),
            [name] => match std::str::from_utf8(name) {
                Ok(name) => name.to_string(),
                Err(_) => return self.error(requester, NOT_PLAIN),
            },
            _ => return self.error(requester, "ERR syntax error, use EXPORT RDB|AOF [name]"),
        };
        if name.is_empty() || name.contains('/') || name.starts_with('.') || name.contains('\0') {
            return self.error(requester, NOT_PLAIN);
        }
        if let Some(owner) = self.owner_of(&name) {
            return self.error(requester, &format!("ERR '{name}' {owner}; give the export another name"));
        }
        let export = Some(Target { name, commands });
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
    done: impl FnOnce(&Shared, Result<String, String>) + Send + 'static,
) -> Result<(), String> {
    let work = move || {
        let outcome = write_file(&shared.dir, &base, &target).map_err(|e| format!("exporting to {}: {e}", target.name));
        done(&shared, outcome.map(|()| target.name));
    };
    let thread = std::thread::Builder::new().name("export".into()).spawn(work);
    thread.map(drop).map_err(|e| format!("starting the export: {e}"))
}

fn write_file(dir: &Path, base: &Base, target: &Target) -> io::Result<()> {
    let temporary = target.temporary(dir);
    let written = write_temporary(dir, base, &temporary).and_then(|()| std::fs::rename(&temporary, dir.join(&target.name)));
    if written.is_err() {
        _ = std::fs::remove_file(&temporary);
    }
    written?;
    // Sync the directory after the rename: a crash may otherwise lose the new name.
    File::open(dir)?.sync_all()
}

fn write_temporary(dir: &Path, base: &Base, temporary: &Path) -> io::Result<()> {
    let mut out = io::BufWriter::with_capacity(1 << 20, File::create(temporary)?);
    match base.format {
        BaseFormat::Rdb => merge_rdb(dir, base, &mut out)?,
        BaseFormat::Commands => {
            for file in &base.files {
                io::copy(&mut File::open(dir.join(&file.path))?, &mut out)?;
            }
        }
    }
    out.into_inner().map_err(|e| e.into_error())?.sync_all()
}

fn merge_rdb(dir: &Path, base: &Base, out: &mut impl Write) -> io::Result<()> {
    let invalid = |path: &str, cause: &str| io::Error::other(format!("{path}: {cause}"));
    let mut bodies = Vec::new();
    for file in &base.files {
        let opened = File::open(dir.join(&file.path))?;
        let source = IoSource { inner: opened, path: file.path.clone() };
        let mut reader = Reader::new(source, &file.path).map_err(io::Error::other)?;
        let header = read_shard_header(&mut reader).map_err(io::Error::other)?;
        let header = header.ok_or_else(|| invalid(&file.path, "not a shard's file"))?;
        let bytes = file.bytes.checked_sub(header.body_offset + END_BYTES).ok_or_else(|| invalid(&file.path, "too short"))?;
        bodies.push((file, header, bytes));
    }
    // The body's checksum is not in the file's footer by itself: one pass over the bodies gives it, and finds bit rot.
    let mut parts = Vec::new();
    for (file, header, bytes) in &bodies {
        let mut crc = Crc64::new();
        copy_body(&dir.join(&file.path), header.body_offset, *bytes, &mut |piece| {
            crc.update(piece);
            Ok(())
        })?;
        let dbs = file.keys.iter().map(|keys| DbMeta { db: keys.db, keys: keys.keys, expires: keys.expires }).collect();
        parts.push(Body { bytes: *bytes, crc: crc.value(), version: header.version, dbs });
    }
    let body = concatenate(&parts);
    let version = parts.iter().map(|part| part.version).max().unwrap_or(9);
    let created = (base.created_ms / 1000).to_string();
    let aux = [("redis-ver", "7.2.0"), ("redis-bits", "64"), ("ctime", created.as_str())];
    let mut header = Vec::new();
    merge_header(&mut header, version, &aux, &[], &body.dbs);
    out.write_all(&header)?;
    for (file, shard_header, bytes) in &bodies {
        copy_body(&dir.join(&file.path), shard_header.body_offset, *bytes, &mut |piece| out.write_all(piece))?;
    }
    out.write_all(&file_end(&header, &body))
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
