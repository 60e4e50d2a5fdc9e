//! Standard files → a new data directory: a base per shard and the manifest, as a server leaves them that was stopped in order.

use crate::directory::{DATABASES, Directory, LOCK_PATH, cpus};
use crate::progress::Progress;
use crate::show::count;
use crate::{Verdict, say};
use shards::disk::Disk;
use shards::error::{Error, Result};
use shards::ids::ShardId;
use shards::log::FsyncMode;
use shards::log::writer::shard_dir;
use shards::manifest::{BaseFormat, State};
use shards::recovery::{Assume, Found, OpenOptions, commit, end_import, import as import_files};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

pub enum Source {
    Rdb(PathBuf),
    Aof(PathBuf),
    MultiPartAof(PathBuf),
}

pub fn import(dir: &Path, source: &Source, shards: Option<u16>, load_truncated: bool) -> Result<Verdict> {
    let (found, bytes) = find(source)?;
    std::fs::create_dir_all(dir).map_err(|cause| Error::io("creating", dir.display().to_string(), &cause))?;
    let directory = Directory::open_to_write(dir)?;
    refuse_unless_empty(dir, &directory)?;
    let shards = shards.unwrap_or(cpus().clamp(1, 1024) as u16);
    let disk = &directory.disk;
    let progress = Progress::show(disk, bytes, "importing");
    (0..shards).try_for_each(|shard| disk.create_dir(&shard_dir(ShardId(shard))))?;
    disk.sync_dir("")?;
    let mut opened = import_files(disk, &options(shards, load_truncated), &found)?;
    opened.manifest.state = State::Clean;
    commit(disk, &mut opened.manifest)?;
    end_import(disk)?;
    drop(progress);
    if let Some((path, end)) = &opened.import_cut {
        let bytes = end.cut.map_or(0, |cut| cut.bytes);
        say(format_args!("cut        {path} @ {}: a torn tail of {bytes} bytes", end.valid_bytes));
    }
    opened.left_out.iter().for_each(|what| say(format_args!("left out   {what}")));
    let base = opened.manifest.base.as_ref().expect("an import writes a base");
    let keys = base.files.iter().flat_map(|file| &file.keys);
    let databases = keys.clone().map(|keys| keys.db + 1).max().unwrap_or(0);
    say(format_args!("{}: {} in {shards} shards", dir.display(), count(keys.map(|keys| keys.keys).sum(), "key", "keys")));
    if databases > 16 {
        say(format_args!("note       database {} is used: start the server with `databases {databases}` or more", databases - 1));
    }
    Ok(Verdict::Sound)
}

fn options(shards: u16, load_truncated: bool) -> OpenOptions<'static> {
    OpenOptions {
        shards,
        databases: DATABASES,
        // There is no log behind the base, so what a mode promises holds for all of it.
        mode: FsyncMode::Always,
        logged: false,
        assume: Assume::Auto,
        dbfilename: "",
        appendfilename: "",
        appenddirname: "",
        load_truncated,
        names: shards::commands::Names::TABLE,
        base_format: BaseFormat::Rdb,
        hash_seed: std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0),
        limits: shards::types::Limits::default(),
        now_ms: SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64),
    }
}

/// The files to read, with absolute names, and their bytes.
fn find(source: &Source) -> Result<(Found, u64)> {
    match source {
        Source::Rdb(path) => absolute(path).map(|(path, bytes)| (Found::Rdb(path), bytes)),
        Source::Aof(path) => absolute(path).map(|(path, bytes)| (Found::SingleAof(path), bytes)),
        Source::MultiPartAof(dir) => find_parts(dir),
    }
}

fn find_parts(dir: &Path) -> Result<(Found, u64)> {
    let usage = |cause: &str| Error::usage(dir.display().to_string(), cause);
    let entries = std::fs::read_dir(dir).map_err(|cause| usage(&cause.to_string()))?;
    let paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    let mut manifests = paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "manifest"));
    match (manifests.next(), manifests.next()) {
        (Some(manifest), None) => {
            let (manifest, _) = absolute(manifest)?;
            let dir = Path::new(&manifest).parent().map_or(String::new(), |dir| dir.display().to_string());
            let bytes = paths.iter().filter_map(|path| path.metadata().ok()).map(|metadata| metadata.len()).sum();
            Ok((Found::MultiPartAof { dir, manifest }, bytes))
        }
        (None, _) => Err(usage("no file here ends in .manifest: this is no multi-part AOF")),
        (Some(_), Some(_)) => Err(usage("several files here end in .manifest")),
    }
}

fn absolute(path: &Path) -> Result<(String, u64)> {
    let usage = |cause: &str| Error::usage(path.display().to_string(), cause);
    let whole = path.canonicalize().map_err(|cause| usage(&cause.to_string()))?;
    let metadata = whole.metadata().map_err(|cause| usage(&cause.to_string()))?;
    if !metadata.is_file() {
        return Err(usage("not a file"));
    }
    let name = whole.to_str().ok_or_else(|| usage("the name is no UTF-8"))?;
    Ok((name.to_string(), metadata.len()))
}

fn refuse_unless_empty(dir: &Path, directory: &Directory) -> Result<()> {
    let entries = directory.disk.list("")?;
    match entries.iter().find(|entry| entry.name != LOCK_PATH && entry.name != "lost+found") {
        None => Ok(()),
        Some(entry) => Err(Error::usage(
            dir.display().to_string(),
            format!("not empty ({} is there); import into a new directory", entry.name),
        )),
    }
}
