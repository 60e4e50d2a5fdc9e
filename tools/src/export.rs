//! Base and logs of a stopped server → one standard file.
//!
//! ```text
//! no record behind the base   shard files' bodies are copied one behind the other; nothing is decoded
//! otherwise                   base and logs are loaded as a start would, and the state is encoded anew
//! ```
//! The target appears under its name only when it is complete.

use crate::directory::{DATABASES, Directory, Threads};
use crate::output::Output;
use crate::progress::Progress;
use crate::show::count;
use crate::{Verdict, say};
use shards::disk::Disk;
use shards::error::{Error, Result};
use shards::ids::DbIndex;
use shards::keyspace::{Keyspace, KeyspaceOptions};
use shards::manifest::{Base, BaseFile, BaseFormat, Manifest, PATH};
use shards::rdb::bodies::{
    Body, END_BYTES, ShardHeader, bodies_version, concatenate, file_end, merge_header, read_shard_header, sum_dbs,
};
use shards::rdb::format::{WRITE_VERSION_MIN, opcode};
use shards::rdb::survey::{Losses, Survey};
use shards::rdb::values::VERSION_ALL;
use shards::rdb::{Crc64, Reader};
use shards::recovery::{Assume, Decision, FileSource, decide, load};
use shards::snapshot::{BigEntry, Encoder};
use shards::types::{Limits, Value};
use std::path::PathBuf;

pub enum Format {
    Rdb(PathBuf),
    Aof { path: PathBuf, preamble: bool },
}

pub struct Options {
    pub format: Format,
    pub rdb_version: Option<u32>,
    pub verify: bool,
    pub assume: Assume,
}

/// Pending bytes are written from here on; strings above it go in pieces.
const WRITE_BYTES: usize = 1 << 20;
const SCAN_ENTRIES: usize = 1024;

pub fn export(directory: &Directory, options: &Options) -> Result<Verdict> {
    let manifest =
        directory.manifest()?.ok_or_else(|| Error::usage(PATH, "there is none: no server has run in this directory"))?;
    let mut output = Output::create(options.format.path())?;
    let decision = decide(&directory.disk, &manifest, options.assume)?;
    say_cuts(&decision);
    let progress = Progress::show(&directory.disk, directory.bytes_of(&manifest), "exporting");
    let written = match copyable(directory, &manifest, &decision, options)? {
        Some(sources) => copy(directory, &sources, options, &mut output)?,
        None => encode(directory, &manifest, &decision, options, &mut output)?,
    };
    drop(progress);
    let bytes = output.finish()?;
    let path = options.format.path().display().to_string();
    say(format_args!("{path}: {} in {bytes} bytes{}", count(written.keys, "key", "keys"), written.how));
    Ok(written.verdict)
}

impl Format {
    fn path(&self) -> &PathBuf {
        match self {
            Format::Rdb(path) | Format::Aof { path, .. } => path,
        }
    }

    fn aux(&self) -> &'static [(&'static str, &'static str)] {
        match self {
            Format::Rdb(_) => &[("redis-ver", "7.2.0"), ("redis-bits", "64")],
            Format::Aof { .. } => &[("redis-ver", "7.2.0"), ("redis-bits", "64"), ("aof-base", "1")],
        }
    }
}

struct Written {
    keys: u64,
    how: String,
    verdict: Verdict,
}

/// What is not in the export because a start would cut it.
fn say_cuts(decision: &Decision) {
    for cut in decision.cuts.iter().filter(|cut| cut.records > 0 || cut.tail.is_some()) {
        let bytes = cut.tail.as_ref().map_or(0, |tail| tail.bytes);
        say(format_args!("cut        {}: {} and {bytes} bytes, see `check`", cut.shard, count(cut.records, "record", "records")));
    }
}

// --- Copying bodies ------------------------------------------------------------------------------------------------------

struct Source<'a> {
    file: &'a BaseFile,
    header: ShardHeader,
}

/// The files to copy, when nothing needs to be decoded.
fn copyable<'a>(
    directory: &Directory,
    manifest: &'a Manifest,
    decision: &Decision,
    options: &Options,
) -> Result<Option<Vec<Source<'a>>>> {
    let is_commands = matches!(options.format, Format::Aof { preamble: false, .. });
    let base = match &manifest.base {
        Some(base) if base.format == BaseFormat::Rdb && !is_commands => base,
        _ => return Ok(None),
    };
    if decision.generations.iter().any(|ends| ends.records > 0) {
        return Ok(None);
    }
    let sources = read_headers(directory, base)?;
    let version_max = options.rdb_version.unwrap_or(u32::MAX);
    let all_fit = |sources: &Vec<Source<'_>>| sources.iter().all(|source| source.header.version <= version_max);
    Ok(sources.filter(all_fit))
}

/// `None` when a file lacks our counts.
fn read_headers<'a>(directory: &Directory, base: &'a Base) -> Result<Option<Vec<Source<'a>>>> {
    let mut sources = Vec::new();
    for file in &base.files {
        let bytes = directory.disk.len(&file.path)?;
        let bytes = bytes.ok_or_else(|| Error::corrupt(&file.path, 0, "the manifest names this file, but there is none"))?;
        if bytes != file.bytes {
            let cause = format!("the file has {bytes} bytes, the manifest says {}", file.bytes);
            return Err(Error::corrupt(&file.path, bytes.min(file.bytes), cause));
        }
        let mut reader = Reader::new(FileSource::new(&directory.disk, &file.path), &file.path)?;
        let header = read_shard_header(&mut reader)?;
        let Some(header) = header.filter(|header| header.body_offset + END_BYTES <= bytes) else { return Ok(None) };
        sources.push(Source { file, header });
    }
    Ok(Some(sources))
}

fn copy(directory: &Directory, sources: &[Source<'_>], options: &Options, output: &mut Output) -> Result<Written> {
    let needed = sources.iter().map(|source| source.header.version).fold(WRITE_VERSION_MIN, u32::max);
    let dbs = sum_dbs(sources.iter().map(|source| &source.header.dbs[..]));
    let mut header = Vec::new();
    merge_header(&mut header, options.rdb_version.unwrap_or(needed), options.format.aux(), &[], &dbs);
    output.write(&header)?;
    let bodies =
        sources.iter().map(|source| copy_body(directory, source, options.verify, output)).collect::<Result<Vec<Body>>>()?;
    output.write(&file_end(&header, &concatenate(&bodies)))?;
    let how = format!(", copied from {}", count(sources.len() as u64, "base file", "base files"));
    Ok(Written { keys: dbs.iter().map(|meta| meta.keys).sum(), how, verdict: Verdict::Sound })
}

/// Copies what stands between a shard file's header and its end.
fn copy_body(directory: &Directory, source: &Source<'_>, verify: bool, output: &mut Output) -> Result<Body> {
    let Source { file, header } = source;
    let (mut whole, mut body) = (Crc64::new(), Crc64::new());
    let mut buffer = vec![0; WRITE_BYTES];
    let start = &mut buffer[..];
    read_exactly(directory, file, 0, start, header.body_offset, &mut |piece| {
        whole.update(piece);
        Ok(())
    })?;
    let bytes = file.bytes - header.body_offset - END_BYTES;
    read_exactly(directory, file, header.body_offset, &mut buffer, bytes, &mut |piece| {
        whole.update(piece);
        body.update(piece);
        output.write(piece)
    })?;
    whole.update(&[opcode::EOF]);
    if verify && whole.value() != file.crc {
        let cause =
            format!("checksum {:016x}, the manifest says {:016x} (--no-verify copies it all the same)", whole.value(), file.crc);
        return Err(Error::corrupt(&file.path, file.bytes - END_BYTES + 1, cause));
    }
    Ok(Body { bytes, crc: body.value(), version: header.version, dbs: header.dbs.clone() })
}

/// Shows `bytes` bytes from `offset` on, piece by piece.
fn read_exactly(
    directory: &Directory,
    file: &BaseFile,
    mut offset: u64,
    buffer: &mut [u8],
    bytes: u64,
    piece: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let end = offset + bytes;
    while offset < end {
        let want = ((end - offset) as usize).min(buffer.len());
        match directory.disk.read_at(&file.path, offset, &mut buffer[..want])? {
            0 => return Err(Error::corrupt(&file.path, offset, "the file ends here")),
            got => {
                piece(&buffer[..got])?;
                offset += got as u64;
            }
        }
    }
    Ok(())
}

// --- Encoding anew --------------------------------------------------------------------------------------------------------

fn encode(
    directory: &Directory,
    manifest: &Manifest,
    decision: &Decision,
    options: &Options,
    output: &mut Output,
) -> Result<Written> {
    let shards = manifest.generations.last().map(|generation| generation.shards);
    let shards = shards.or(manifest.base.as_ref().map(|base| base.files.len() as u16)).unwrap_or(1);
    let keyspaces = load(
        &directory.disk,
        manifest,
        decision,
        shards,
        KeyspaceOptions { databases: DATABASES, hash_seed: 0, limits: Limits::default() },
        &Threads,
    )?;
    let version_max = options.rdb_version.unwrap_or(VERSION_ALL);
    let survey = survey(&keyspaces, version_max);
    match &options.format {
        Format::Aof { preamble: false, .. } => {
            encode_entries(&keyspaces, &survey, Encoder::for_export(BaseFormat::Commands, version_max), output)?;
        }
        Format::Aof { .. } | Format::Rdb(_) => encode_rdb(&keyspaces, &survey, options, output)?,
    }
    say_losses(&survey.losses, version_max);
    let keys = survey.dbs.iter().map(|meta| meta.keys).sum();
    let verdict = if survey.losses.have_data() { Verdict::Damaged } else { Verdict::Sound };
    Ok(Written { keys, how: String::new(), verdict })
}

fn survey(keyspaces: &[Keyspace], version_max: u32) -> Survey {
    let mut survey = Survey::new(version_max);
    each_database(keyspaces, |db| {
        each_entry(keyspaces, db, &mut |key, value, expire_at_ms| {
            survey.count(db, key, value, expire_at_ms);
            Ok(())
        })
    })
    .expect("counting does not fail");
    survey
}

fn say_losses(losses: &Losses, version: u32) {
    for (label, keys) in [("left out ", losses.keys_left_out), ("with less", losses.keys_with_less)] {
        if keys > 0 {
            say(format_args!("{label}  {}: RDB version {version} can't say all about them", count(keys, "key", "keys")));
        }
    }
    losses.named.iter().for_each(|named| say(format_args!("lost       {named}")));
}

fn each_database(keyspaces: &[Keyspace], mut visit: impl FnMut(DbIndex) -> Result<()>) -> Result<()> {
    let is_used = |db: &DbIndex| keyspaces.iter().any(|keyspace| keyspace.stats(*db).keys > 0);
    (0..DATABASES).filter(is_used).try_for_each(&mut visit)
}

/// Is shown key, value and expiry; the first error ends the walk.
type VisitEntry<'a> = dyn FnMut(&[u8], &Value, Option<i64>) -> Result<()> + 'a;

/// Every entry of a database once: nothing changes meanwhile.
fn each_entry(keyspaces: &[Keyspace], db: DbIndex, visit: &mut VisitEntry<'_>) -> Result<()> {
    let mut outcome = Ok(());
    for keyspace in keyspaces {
        let mut cursor = 0;
        loop {
            cursor = keyspace.scan(db, cursor, SCAN_ENTRIES, &mut |key, value, expire_at_ms| {
                if outcome.is_ok() {
                    outcome = visit(key, value, expire_at_ms);
                }
            });
            if cursor == 0 || outcome.is_err() {
                break;
            }
        }
    }
    outcome
}

fn encode_rdb(keyspaces: &[Keyspace], survey: &Survey, options: &Options, output: &mut Output) -> Result<()> {
    let mut header = Vec::new();
    let version = options.rdb_version.unwrap_or(survey.version);
    merge_header(&mut header, version, options.format.aux(), &[], &survey.dbs);
    output.write(&header)?;
    let body = encode_entries(keyspaces, survey, Encoder::for_export(BaseFormat::Rdb, version), output)?;
    assert_eq!(body.dbs, survey.dbs, "the header says what is in the body");
    assert_eq!(bodies_version([&body]), survey.version, "the survey has seen every value");
    output.write(&file_end(&header, &body))
}

fn encode_entries(keyspaces: &[Keyspace], survey: &Survey, mut encoder: Encoder, output: &mut Output) -> Result<Body> {
    each_database(keyspaces, |db| {
        each_entry(keyspaces, db, &mut |key, value, expire_at_ms| {
            if !survey.keeps(value) {
                return Ok(());
            }
            let mut entry = BigEntry::new(db, key.to_vec(), value.clone(), expire_at_ms);
            loop {
                let done = encoder.piece(&mut entry);
                if encoder.pending_bytes() >= WRITE_BYTES {
                    output.write(&encoder.take())?;
                }
                if done {
                    return Ok(());
                }
            }
        })
    })?;
    let (last, body) = encoder.finish();
    output.write(&last)?;
    Ok(body)
}
