//! The data directory by blocking calls: for the tools, and for a server's start, before any shard runs.
//!
//! Paths are relative to the data directory; an absolute one (a file to import) stays as it is.

use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use shards::disk::{Disk, FileIdentity, FileInfo};
use shards::error::{Error, Result};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Is told the bytes of each read.
pub type Watcher = Box<dyn Fn(u64) + Send>;

pub struct StdDisk {
    dir: PathBuf,
    /// The file that was read last: reading goes on piece by piece, mostly in one file.
    open: Mutex<Option<(String, Arc<File>)>>,
    watcher: Mutex<Option<Watcher>>,
}

impl StdDisk {
    pub fn new(dir: &Path) -> StdDisk {
        StdDisk { dir: dir.to_path_buf(), open: Mutex::new(None), watcher: Mutex::new(None) }
    }

    pub fn watch_reads(&self, watcher: Option<Watcher>) {
        *self.watcher.lock().expect("no holder panics") = watcher;
    }

    fn path(&self, path: &str) -> PathBuf {
        // Joining an empty path would add a slash, which is harmless for a directory.
        self.dir.join(path)
    }

    fn reader(&self, path: &str) -> Result<Arc<File>> {
        let mut open = self.open.lock().expect("no holder panics");
        if let Some((of, file)) = &*open
            && of == path
        {
            return Ok(file.clone());
        }
        let file = Arc::new(File::open(self.path(path)).map_err(|cause| Error::io("opening", path, &cause))?);
        *open = Some((path.to_string(), file.clone()));
        Ok(file)
    }

    fn forget(&self) {
        *self.open.lock().expect("no holder panics") = None;
    }
}

/// Inode and birth time, `None` when the file system does not tell the latter.
pub fn identity_of(path: &Path) -> io::Result<Option<FileIdentity>> {
    let stat = statx(CWD, path, AtFlags::empty(), StatxFlags::INO | StatxFlags::BTIME)?;
    let told = StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::INO | StatxFlags::BTIME);
    let birth_ns = (stat.stx_btime.tv_sec as u64).wrapping_mul(1_000_000_000) + stat.stx_btime.tv_nsec as u64;
    Ok(told.then_some(FileIdentity { inode: stat.stx_ino, birth_ns }))
}

fn unless_missing<T>(result: io::Result<T>, operation: &'static str, path: &str) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(Error::io(operation, path, &cause)),
    }
}

impl Disk for StdDisk {
    fn list(&self, dir: &str) -> Result<Vec<FileInfo>> {
        let Some(entries) = unless_missing(fs::read_dir(self.path(dir)), "listing", dir)? else { return Ok(Vec::new()) };
        let mut files = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|cause| Error::io("listing", dir, &cause))?;
            let metadata = unless_missing(entry.metadata(), "listing", dir)?;
            // No file of ours has a name that is no UTF-8; one that vanished meanwhile is none.
            if let (Ok(name), Some(metadata)) = (entry.file_name().into_string(), metadata) {
                files.push(FileInfo { name, bytes: metadata.len(), is_dir: metadata.is_dir() });
            }
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(files)
    }

    fn len(&self, path: &str) -> Result<Option<u64>> {
        Ok(unless_missing(fs::metadata(self.path(path)), "looking at", path)?.map(|metadata| metadata.len()))
    }

    fn read_at(&self, path: &str, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let file = self.reader(path)?;
        let mut got = 0;
        while got < buf.len() {
            match file.read_at(&mut buf[got..], offset + got as u64) {
                Ok(0) => break,
                Ok(bytes) => got += bytes,
                Err(cause) if cause.kind() == ErrorKind::Interrupted => {}
                Err(cause) => return Err(Error { offset: Some(offset + got as u64), ..Error::io("reading", path, &cause) }),
            }
        }
        if let Some(watcher) = &*self.watcher.lock().expect("no holder panics") {
            watcher(got as u64);
        }
        Ok(got)
    }

    fn identity(&self, path: &str) -> Result<Option<FileIdentity>> {
        identity_of(&self.path(path)).map_err(|cause| Error::io("looking at", path, &cause))
    }

    fn boot_id(&self) -> Option<String> {
        let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_string();
        (!id.is_empty()).then_some(id)
    }

    fn create_dir(&self, path: &str) -> Result<()> {
        fs::create_dir_all(self.path(path)).map_err(|cause| Error::io("creating", path, &cause))
    }

    fn create(&self, path: &str) -> Result<()> {
        self.forget();
        File::create(self.path(path)).map(drop).map_err(|cause| Error::io("creating", path, &cause))
    }

    fn write_at(&self, path: &str, offset: u64, data: &[u8]) -> Result<()> {
        let write = || OpenOptions::new().write(true).open(self.path(path))?.write_all_at(data, offset);
        write().map_err(|cause| Error { offset: Some(offset), ..Error::io("writing", path, &cause) })
    }

    fn sync(&self, path: &str) -> Result<()> {
        let sync = || OpenOptions::new().write(true).open(self.path(path))?.sync_all();
        sync().map_err(|cause| Error::io("syncing", path, &cause))
    }

    fn sync_dir(&self, path: &str) -> Result<()> {
        let sync = || File::open(self.path(path))?.sync_all();
        sync().map_err(|cause| Error::io("syncing", path, &cause))
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.forget();
        fs::rename(self.path(from), self.path(to)).map_err(|cause| Error::io("renaming", from, &cause))
    }

    fn remove(&self, path: &str) -> Result<()> {
        self.forget();
        fs::remove_file(self.path(path)).map_err(|cause| Error::io("removing", path, &cause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_of_a_file_has_another_identity() {
        let dir = std::env::temp_dir().join(format!("shardis-disk-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("temporary directory");
        let disk = StdDisk::new(&dir);
        disk.create("a").expect("new file");
        disk.write_at("a", 3, b"xyz").expect("there");
        fs::copy(dir.join("a"), dir.join("b")).expect("there");
        let (a, b) = (disk.identity("a").expect("there"), disk.identity("b").expect("there"));
        assert!(a.is_none() || a != b);
        let mut bytes = [9; 10];
        assert_eq!(disk.read_at("a", 0, &mut bytes).expect("there"), 6);
        assert_eq!(&bytes[..6], b"\0\0\0xyz");
        assert_eq!(disk.len("no").expect("readable"), None);
        fs::remove_dir_all(dir).expect("just made");
    }
}
