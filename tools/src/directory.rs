//! A data directory under its lock: while a server runs on it, none of its files stands still.

use crate::disk::StdDisk;
use shards::disk::{Disk, read_all};
use shards::error::{Error, Result};
use shards::manifest::{BYTES_MAX, Manifest, PATH};
use shards::recovery::Parallel;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

/// The server holds this file's lock (flock) from its start to its end.
pub const LOCK_PATH: &str = "shardis.lock";

/// More than any configuration has; a database costs a pointer until it is used.
pub const DATABASES: u16 = u16::MAX;

pub struct Directory {
    pub disk: StdDisk,
    /// Held until the end.
    _lock: Option<File>,
}

impl Directory {
    /// To read only: shared with other readers. A directory without a lock file has never had a server; making one would be a change.
    pub fn open(dir: &Path) -> Result<Directory> {
        Directory::check_is_there(dir)?;
        let lock = match File::open(dir.join(LOCK_PATH)) {
            Ok(file) => {
                taken(dir, file.try_lock_shared())?;
                Some(file)
            }
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => None,
            Err(cause) => return Err(Error::io("opening", LOCK_PATH, &cause)),
        };
        Ok(Directory { disk: StdDisk::new(dir), _lock: lock })
    }

    pub fn open_to_write(dir: &Path) -> Result<Directory> {
        Directory::check_is_there(dir)?;
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(dir.join(LOCK_PATH));
        let file = file.map_err(|cause| Error::io("opening", LOCK_PATH, &cause))?;
        taken(dir, file.try_lock())?;
        Ok(Directory { disk: StdDisk::new(dir), _lock: Some(file) })
    }

    fn check_is_there(dir: &Path) -> Result<()> {
        match dir.is_dir() {
            true => Ok(()),
            false => Err(Error::usage(dir.display().to_string(), "there is no such directory")),
        }
    }

    /// `None` when there is none.
    pub fn manifest(&self) -> Result<Option<Manifest>> {
        read_all(&self.disk, PATH, BYTES_MAX)?.map(|bytes| Manifest::decode(&bytes)).transpose()
    }

    /// Bytes of all files that the manifest names, as far as they are there.
    pub fn bytes_of(&self, manifest: &Manifest) -> u64 {
        let bytes_of = |path: &String| self.disk.len(path).ok().flatten().unwrap_or(0);
        manifest.files().iter().map(bytes_of).sum()
    }
}

fn taken(dir: &Path, outcome: std::result::Result<(), TryLockError>) -> Result<()> {
    match outcome {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            let cause = "a server runs on this directory; stop it, or use its command EXPORT";
            Err(Error::usage(dir.display().to_string(), cause))
        }
        Err(TryLockError::Error(cause)) => Err(Error::io("locking", LOCK_PATH, &cause)),
    }
}

/// As many threads as there are CPUs; each takes the next shard.
pub struct Threads;

impl Parallel for Threads {
    fn run<'a>(&self, jobs: Vec<Box<dyn FnOnce() + Send + 'a>>) {
        let threads = cpus().min(jobs.len());
        let jobs = std::sync::Mutex::new(jobs.into_iter());
        let work = || {
            while let Some(job) = { jobs.lock().expect("taking a job does not panic").next() } {
                job();
            }
        };
        std::thread::scope(|scope| (0..threads).for_each(|_| _ = scope.spawn(work)));
    }
}

/// Of the affinity mask, within the cgroup's quota.
pub fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
