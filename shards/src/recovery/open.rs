//! What a start does: look, decide, load, make durable what is kept, and commit the manifest of a new generation.

use super::decision::{Assume, Crash, Decision, decide};
use super::load::{FileSource, Parallel, Replayer, load, redistribute};
use crate::commands::Names;
use crate::disk::{Disk, read_all};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{DbIndex, Generation, ShardId};
use crate::keyspace::{Keyspace, KeyspaceOptions};
use crate::log::FsyncMode;
use crate::log::writer::shard_dir;
use crate::manifest::{BYTES_MAX, Base, BaseFile, BaseFormat, GenerationEntry, Manifest, PATH, State, TEMPORARY_PATH};
use crate::rdb::aof::{AofEnd, AofItem, AofReader, Command, Cut, Part};
use crate::rdb::aof_manifest::AofManifest;
use crate::rdb::{Item, Reader};
use crate::snapshot::write_whole;
use crate::types::Limits;

pub struct OpenOptions<'a> {
    pub shards: u16,
    pub databases: DbIndex,
    pub mode: FsyncMode,
    /// `appendonly`: whether a log is written from now on. What is loaded does not depend on it, once there is a manifest.
    pub logged: bool,
    pub assume: Assume,
    pub dbfilename: &'a str,
    pub appendfilename: &'a str,
    pub appenddirname: &'a str,
    /// `aof-use-rdb-preamble`.
    pub base_format: BaseFormat,
    /// `aof-load-truncated`: whether a standard AOF with a torn end is cut there, or refused. Our own logs do not ask it.
    pub load_truncated: bool,
    /// `rename-command`: who wrote a standard AOF under these names can read it under them. What has none is read by the table's.
    pub names: Names,
    pub hash_seed: u64,
    pub limits: Limits,
    pub now_ms: i64,
}

impl OpenOptions<'_> {
    fn keyspace(&self) -> KeyspaceOptions {
        KeyspaceOptions { databases: self.databases, hash_seed: self.hash_seed, limits: self.limits }
    }
}

/// What a directory holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Found {
    Manifest(Box<Manifest>),
    Rdb(String),
    SingleAof(String),
    MultiPartAof { dir: String, manifest: String },
    Nothing,
}

pub struct Opened {
    pub keyspaces: Vec<Keyspace>,
    /// Committed; its last generation is the one that begins.
    pub manifest: Manifest,
    pub found: Found,
    /// None when there was no manifest.
    pub decision: Option<Decision>,
    /// Standard files that lie beside a manifest and were not read.
    pub ignored: Vec<String>,
    /// Files that nobody needed and that were removed.
    pub removed: Vec<String>,
    /// The torn tail of an imported AOF.
    pub import_cut: Option<(String, AofEnd)>,
    /// What imported files hold besides keys and this server has no place for, file first.
    pub left_out: Vec<String>,
    pub kept_bytes: u64,
}

/// Is there from before the first file of an import is written until its manifest is committed: without a manifest, it tells the files
/// of an import that was interrupted from those of a directory that has lost its manifest.
pub const IMPORTING_PATH: &str = "shardis.importing";

/// What would be loaded; reads only.
pub fn look(disk: &dyn Disk, options: &OpenOptions<'_>) -> Result<Found> {
    if let Some(bytes) = read_all(disk, PATH, BYTES_MAX)? {
        return Ok(Found::Manifest(Box::new(Manifest::decode(&bytes)?)));
    }
    let left = shard_files(disk)?;
    let refuse = |why: &str| match left.first() {
        None => Ok(()),
        Some(path) => {
            let cause = format!("there is no {PATH}, but files of shards are there ({} of them): {why}", left.len());
            Err(Error { kind: ErrorKind::Corrupt, operation: "opening", path: path.clone(), offset: None, cause })
        }
    };
    if disk.len(IMPORTING_PATH)?.is_none() {
        refuse("the manifest was lost; restore it, or move these files away")?;
    }
    let found = look_for_standard_files(disk, options)?;
    if found == Found::Nothing {
        refuse("an import was interrupted, and what it read is gone; put it back, or remove these files")?;
    }
    Ok(found)
}

fn look_for_standard_files(disk: &dyn Disk, options: &OpenOptions<'_>) -> Result<Found> {
    let aof_manifest = format!("{}/{}.manifest", options.appenddirname, options.appendfilename);
    if disk.len(&aof_manifest)?.is_none() {
        refuse_parts_without_manifest(disk, options, &aof_manifest)?;
    }
    let multi_part =
        disk.len(&aof_manifest)?.map(|_| Found::MultiPartAof { dir: options.appenddirname.into(), manifest: aof_manifest });
    let single =
        disk.len(options.appendfilename)?.filter(|&bytes| bytes > 0).map(|_| Found::SingleAof(options.appendfilename.into()));
    let rdb = disk.len(options.dbfilename)?.map(|_| Found::Rdb(options.dbfilename.into()));
    let aof = multi_part.or(single);
    // As Redis: with a log, the log is the newer truth; without, the dump is what counts.
    let found = if options.logged { aof.or(rdb) } else { rdb.or(aof) };
    Ok(found.unwrap_or(Found::Nothing))
}

/// Parts of an AOF tell nothing without the manifest that puts them in order, and a start that took them for nothing would be an empty one.
fn refuse_parts_without_manifest(disk: &dyn Disk, options: &OpenOptions<'_>, manifest: &str) -> Result<()> {
    let is_part = |name: &str| {
        let rest = name.strip_prefix(options.appendfilename).and_then(|rest| rest.strip_prefix('.'));
        rest.is_some_and(|rest| rest.ends_with(".base.rdb") || rest.ends_with(".base.aof") || rest.ends_with(".incr.aof"))
    };
    match disk.list(options.appenddirname)?.into_iter().find(|file| is_part(&file.name)) {
        None => Ok(()),
        Some(part) => Err(Error::corrupt(
            manifest,
            0,
            format!(
                "there is none, but {}/{} is there: restore it, or move the directory away",
                options.appenddirname, part.name
            ),
        )),
    }
}

pub fn open(disk: &dyn Disk, options: &OpenOptions<'_>, parallel: &dyn Parallel) -> Result<Opened> {
    let found = look(disk, options)?;
    if disk.len(TEMPORARY_PATH)?.is_some() {
        disk.remove(TEMPORARY_PATH)?;
    }
    (0..options.shards).try_for_each(|shard| disk.create_dir(&shard_dir(ShardId(shard))))?;
    disk.sync_dir("")?;
    let mut opened = match &found {
        Found::Manifest(manifest) => reopen(disk, options, manifest, parallel)?,
        _ => import(disk, options, &found)?,
    };
    if opened.manifest.distrusted {
        rewrite(disk, options, &mut opened, next_generation(&found))?;
    }
    opened.manifest.generations.push(GenerationEntry {
        number: next_generation(&found),
        shards: options.shards,
        mode: options.mode,
        logged: options.logged,
        log_ends: None,
        segments: Vec::new(),
    });
    opened.manifest.state = State::Running;
    opened.manifest.distrusted = false;
    let unproven = opened.decision.as_ref().map_or(&[][..], |decision| &decision.unproven);
    opened.kept_bytes = make_durable(disk, &opened.manifest, unproven)?;
    commit(disk, &mut opened.manifest)?;
    end_import(disk)?;
    opened.removed = remove_leftovers(disk, &opened.manifest)?;
    opened.ignored = ignored_files(disk, options, &found)?;
    opened.found = found;
    Ok(opened)
}

/// After a failed write or fsync the page cache may show what the platter has not, and no later fsync brings it there: everything goes
/// into new files.
fn rewrite(disk: &dyn Disk, options: &OpenOptions<'_>, opened: &mut Opened, generation: Generation) -> Result<()> {
    let id = opened.manifest.next_base.max(1);
    opened.manifest.base = Some(write_base(disk, &mut opened.keyspaces, id, generation, options)?);
    opened.manifest.next_base = id + 1;
    opened.manifest.generations.clear();
    Ok(())
}

fn next_generation(found: &Found) -> Generation {
    let Found::Manifest(manifest) = found else { return Generation(1) };
    let last = manifest.generations.last().map_or(Generation(0), |generation| generation.number);
    Generation(last.0 + 1)
}

fn opened(keyspaces: Vec<Keyspace>, manifest: Manifest) -> Opened {
    Opened {
        keyspaces,
        manifest,
        found: Found::Nothing,
        decision: None,
        ignored: Vec::new(),
        removed: Vec::new(),
        import_cut: None,
        left_out: Vec::new(),
        kept_bytes: 0,
    }
}

fn reopen(disk: &dyn Disk, options: &OpenOptions<'_>, manifest: &Manifest, parallel: &dyn Parallel) -> Result<Opened> {
    let decision = decide(disk, manifest, options.assume)?;
    let keyspaces = load(disk, manifest, &decision, options.shards, options.keyspace(), parallel)?;
    let mut next = manifest.clone();
    // A generation without records of its own says nothing; its ends must be recorded otherwise.
    next.generations.retain_mut(|generation| {
        let Some(ends) = decision.ends_of(generation.number).filter(|ends| ends.records > 0) else { return false };
        generation.log_ends = Some(ends.ends.clone());
        true
    });
    Ok(Opened { decision: Some(decision), ..opened(keyspaces, next) })
}

// --- Import of standard files ------------------------------------------------------------------------------------------

/// Loads standard files and writes them as the first base, its files and their directories durable. The caller, who has made the
/// directories of the shards, commits the manifest and calls `end_import`.
pub fn import(disk: &dyn Disk, options: &OpenOptions<'_>, found: &Found) -> Result<Opened> {
    let mut whole = Import::new(options);
    let cut = match found {
        Found::Rdb(path) => import_rdb(disk, path, &mut whole).map(|()| None)?,
        Found::SingleAof(path) => import_aof(disk, path, Part::Last, &mut whole)?.map(|end| (path.clone(), end)),
        Found::MultiPartAof { dir, manifest } => import_parts(disk, dir, manifest, &mut whole)?,
        Found::Nothing | Found::Manifest(_) => None,
    };
    let mut keyspaces = redistribute(vec![whole.keyspace], options.shards, options.keyspace());
    let mut manifest = Manifest { next_base: 1, ..Manifest::default() };
    if *found != Found::Nothing {
        begin_import(disk)?;
        manifest.base = Some(write_base(disk, &mut keyspaces, 1, next_generation(found), options)?);
        manifest.next_base = 2;
    }
    Ok(Opened { import_cut: cut, left_out: whole.left_out, ..opened(keyspaces, manifest) })
}

/// What has been read so far.
struct Import {
    keyspace: Keyspace,
    names: Names,
    load_truncated: bool,
    now_ms: i64,
    left_out: Vec<String>,
}

impl Import {
    fn new(options: &OpenOptions<'_>) -> Import {
        let keyspace = Keyspace::with(options.keyspace());
        let (names, load_truncated) = (options.names.clone(), options.load_truncated);
        Import { keyspace, names, load_truncated, now_ms: options.now_ms, left_out: Vec::new() }
    }
}

/// An import that is interrupted must not stop the next start; what an earlier one has left is removed.
fn begin_import(disk: &dyn Disk) -> Result<()> {
    disk.create(IMPORTING_PATH)?;
    disk.sync(IMPORTING_PATH)?;
    disk.sync_dir("")?;
    shard_files(disk)?.iter().try_for_each(|path| disk.remove(path))
}

/// With the manifest committed. The name must be gone for good before anything builds on the manifest: if that is lost some day, the files
/// must not be taken for those of an import.
pub fn end_import(disk: &dyn Disk) -> Result<()> {
    if disk.len(IMPORTING_PATH)?.is_none() {
        return Ok(());
    }
    disk.remove(IMPORTING_PATH)?;
    disk.sync_dir("")
}

/// Writes all keys of these shards as a base with nothing behind it.
pub fn write_base(
    disk: &dyn Disk,
    keyspaces: &mut [Keyspace],
    id: u64,
    generation: Generation,
    options: &OpenOptions<'_>,
) -> Result<Base> {
    let write = |(shard, keyspace): (usize, &mut Keyspace)| -> Result<BaseFile> {
        write_whole(disk, keyspace, id, ShardId(shard as u16), options.base_format)
    };
    let files = keyspaces.iter_mut().enumerate().map(write).collect::<Result<Vec<_>>>()?;
    Ok(Base { id, generation, mode: options.mode, format: options.base_format, created_ms: options.now_ms, files })
}

fn import_rdb(disk: &dyn Disk, path: &str, import: &mut Import) -> Result<()> {
    let mut reader = Reader::new(FileSource::new(disk, path), path)?;
    reader.set_limits(*import.keyspace.limits());
    while let Some(item) = reader.next_item()? {
        import_item(item, path, reader.offset(), import)?;
    }
    Ok(())
}

fn import_item(item: Item, path: &str, offset: u64, import: &mut Import) -> Result<()> {
    let (db, key, value, expire_at_ms) = match item {
        Item::Entry { db, key, value, expire_at_ms } => (db, key, value, expire_at_ms),
        Item::Function(source) => {
            // The first line: `#!lua name=…`.
            let line = source.split(|&byte| byte == b'\n').next().unwrap_or_default();
            import.left_out.push(format!("{path}: a library of functions: {}", line.escape_ascii()));
            return Ok(());
        }
        Item::ModuleAux { module_id } => {
            import.left_out.push(format!("{path}: data of a module: {}", module_name(module_id)));
            return Ok(());
        }
        Item::Aux { .. } | Item::SelectDb(_) | Item::ResizeDb { .. } | Item::Eof { .. } => return Ok(()),
    };
    if db >= import.keyspace.databases() {
        let cause = format!("database {db}, but the configuration has {} (directive databases)", import.keyspace.databases());
        return Err(Error::unsupported(path, offset, cause));
    }
    import.keyspace.insert(db, &key, value, expire_at_ms);
    Ok(())
}

fn import_parts(disk: &dyn Disk, dir: &str, manifest: &str, import: &mut Import) -> Result<Option<(String, AofEnd)>> {
    let bytes = read_all(disk, manifest, BYTES_MAX)?.unwrap_or_default();
    let parts = AofManifest::parse(&bytes, manifest)?;
    let paths: Vec<String> = parts.files().map(|file| format!("{dir}/{}", file.name)).collect();
    let mut cut = None;
    for (index, path) in paths.iter().enumerate() {
        if disk.len(path)?.is_none() {
            return Err(Error::corrupt(path, 0, format!("{manifest} names this file, but there is none")));
        }
        let part = if index + 1 == paths.len() { Part::Last } else { Part::Earlier };
        cut = import_aof(disk, path, part, import)?.map(|end| (path.clone(), end));
    }
    Ok(cut)
}

/// A standard AOF; the end when it was torn.
fn import_aof(disk: &dyn Disk, path: &str, part: Part, import: &mut Import) -> Result<Option<AofEnd>> {
    if disk.len(path)? == Some(0) {
        return Ok(None);
    }
    let mut reader = AofReader::new(FileSource::new(disk, path), path, part)?;
    let mut torn = None;
    while let Some(item) = reader.next_item()? {
        match item {
            AofItem::Preamble(item) => import_item(item, path, reader.item_offset(), import)?,
            AofItem::Command(command) => import_command(&command, path, reader.item_offset(), import)?,
            AofItem::Transaction(commands) => {
                commands.iter().try_for_each(|command| import_command(command, path, reader.item_offset(), import))?;
            }
            AofItem::End(end @ AofEnd { cut: Some(cut), valid_bytes }) => {
                if !import.load_truncated {
                    return Err(refused_tail(path, valid_bytes, cut));
                }
                torn = Some(end);
            }
            AofItem::Timestamp(_) | AofItem::End(_) => {}
        }
    }
    Ok(torn)
}

/// As Redis refuses it; the file is repaired with the tools that it came with.
fn refused_tail(path: &str, offset: u64, cut: Cut) -> Error {
    let advice = "load it without its end (aof-load-truncated yes), or repair a copy with redis-check-aof --fix";
    Error::corrupt(path, offset, format!("the end is torn, and aof-load-truncated is no: {cut}; {advice}"))
}

fn import_command(command: &Command, path: &str, offset: u64, import: &mut Import) -> Result<()> {
    let mut args: Vec<&[u8]> = command.args.iter().map(Vec::as_slice).collect();
    if let Some(named) = import.names.by_name(args[0]) {
        args[0] = named.name.as_bytes();
    }
    Replayer::for_standard_aof(&mut import.keyspace, path, import.now_ms).run_at(offset, command.db, &args)
}

/// Nine letters of six bits, then ten bits for a version.
fn module_name(id: u64) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    (0..9).rev().map(|place| LETTERS[(id >> (10 + 6 * place) & 63) as usize] as char).collect()
}

// --- Durability ----------------------------------------------------------------------------------------------------------

/// Syncs every file that is kept and its directory: what was only in the page cache so far must not vanish later, when the next
/// generation builds on it. Of the `unproven` a sync would not be enough: they are copied first. Returns the bytes kept.
pub fn make_durable(disk: &dyn Disk, manifest: &Manifest, unproven: &[String]) -> Result<u64> {
    let mut dirs = std::collections::BTreeSet::new();
    let mut bytes = 0;
    for path in manifest.files() {
        bytes += disk.len(&path)?.unwrap_or(0);
        if unproven.contains(&path) {
            copy_in_place(disk, &path)?;
        }
        disk.sync(&path)?;
        dirs.insert(path.rsplit_once('/').map_or(String::new(), |(dir, _)| dir.to_string()));
    }
    dirs.iter().try_for_each(|dir| disk.sync_dir(dir))?;
    Ok(bytes)
}

/// Puts a file with the same bytes in its place: nothing in it is clean in the page cache without being on the disk. The caller syncs the
/// directory.
fn copy_in_place(disk: &dyn Disk, path: &str) -> Result<()> {
    let Some(bytes) = read_all(disk, path, u64::MAX)? else { return Ok(()) };
    // A start removes it as a file that no manifest lists.
    let copy = path.replace(".seg", "-copy.seg");
    if disk.len(&copy)?.is_some() {
        // Of a start that was interrupted. Gone for good, or a crash might put that one in place instead.
        disk.remove(&copy)?;
        disk.sync_dir(path.rsplit_once('/').map_or("", |(dir, _)| dir))?;
    }
    disk.create(&copy)?;
    let used = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    disk.write_at(&copy, 0, &bytes[..used])?;
    if used < bytes.len() {
        // The zeros behind are a hole.
        disk.write_at(&copy, bytes.len() as u64 - 1, &[0])?;
    }
    disk.sync(&copy)?;
    disk.rename(&copy, path)
}

/// Replaces the manifest and makes the replacement durable.
pub fn commit(disk: &dyn Disk, manifest: &mut Manifest) -> Result<()> {
    disk.create(TEMPORARY_PATH)?;
    manifest.identity = disk.identity(TEMPORARY_PATH)?.unwrap_or_default();
    manifest.boot_id = disk.boot_id().unwrap_or_default();
    disk.write_at(TEMPORARY_PATH, 0, &manifest.encode())?;
    disk.sync(TEMPORARY_PATH)?;
    disk.rename(TEMPORARY_PATH, PATH)?;
    // Sync the directory after the rename: a crash may otherwise lose the new name.
    disk.sync_dir("")
}

// --- Leftovers -----------------------------------------------------------------------------------------------------------

/// Files in shard directories that look like ours, listed in a manifest or not.
pub fn shard_files(disk: &dyn Disk) -> Result<Vec<String>> {
    let mut files = Vec::new();
    for dir in disk.list("")? {
        let is_shard =
            dir.is_dir && dir.name.strip_prefix("shard-").is_some_and(|n| n.len() == 4 && n.bytes().all(|b| b.is_ascii_digit()));
        if is_shard {
            let ours = |name: &str| (name.starts_with("log-") && name.ends_with(".seg")) || name.starts_with("base-");
            files.extend(
                disk.list(&dir.name)?
                    .into_iter()
                    .filter(|file| ours(&file.name))
                    .map(|file| format!("{}/{}", dir.name, file.name)),
            );
        }
    }
    Ok(files)
}

fn remove_leftovers(disk: &dyn Disk, manifest: &Manifest) -> Result<Vec<String>> {
    let kept: std::collections::HashSet<String> = manifest.files().into_iter().collect();
    let left: Vec<String> = shard_files(disk)?.into_iter().filter(|path| !kept.contains(path)).collect();
    left.iter().try_for_each(|path| disk.remove(path))?;
    Ok(left)
}

fn ignored_files(disk: &dyn Disk, options: &OpenOptions<'_>, found: &Found) -> Result<Vec<String>> {
    if !matches!(found, Found::Manifest(_)) {
        return Ok(Vec::new());
    }
    let aof_manifest = format!("{}/{}.manifest", options.appenddirname, options.appendfilename);
    let standard = [options.dbfilename.to_string(), options.appendfilename.to_string(), aof_manifest];
    let mut ignored = Vec::new();
    for path in standard {
        if disk.len(&path)?.is_some() {
            ignored.push(path);
        }
    }
    Ok(ignored)
}

impl Opened {
    /// One line for the server's log.
    pub fn summary(&self) -> String {
        let keys: u64 = self.keyspaces.iter().flat_map(|k| (0..k.databases()).map(|db| k.stats(db).keys)).sum();
        let from = match (&self.found, &self.decision) {
            (Found::Nothing, _) => "an empty directory".to_string(),
            (Found::Rdb(path) | Found::SingleAof(path), _) => path.clone(),
            (Found::MultiPartAof { manifest, .. }, _) => manifest.clone(),
            (Found::Manifest(_), Some(decision)) => match &decision.crash {
                Crash::Clean => "the files of a clean stop".into(),
                Crash::Process => "the files of a process that crashed".into(),
                Crash::PowerLoss(why) => format!("files taken as after a power loss ({why})"),
            },
            (Found::Manifest(_), None) => unreachable!("a manifest is always decided on"),
        };
        format!("{keys} keys loaded from {from}")
    }
}
