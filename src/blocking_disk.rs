//! The data directory by blocking calls: for the start, before any shard runs.

use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use shards::disk::{Disk, FileIdentity, FileInfo};
use shards::error::{Error, Result};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

pub struct BlockingDisk {
    dir: PathBuf,
    /// The file that was read last: a recovery reads one file piece by piece.
    open: Mutex<Option<(String, std::sync::Arc<File>)>>,
}

impl BlockingDisk {
    pub fn new(dir: &Path) -> BlockingDisk {
        BlockingDisk { dir: dir.to_path_buf(), open: Mutex::new(None) }
    }

    fn path(&self, path: &str) -> PathBuf {
        if path.is_empty() { self.dir.clone() } else { self.dir.join(path) }
    }

    fn reader(&self, path: &str) -> Result<std::sync::Arc<File>> {
        let mut open = self.open.lock().expect("no holder panics");
        if let Some((of, file)) = &*open
            && of == path
        {
            return Ok(file.clone());
        }
        let file = File::open(self.path(path)).map_err(|e| Error::io("opening", path, &e))?;
        let file = std::sync::Arc::new(file);
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

fn optional<T>(result: io::Result<T>, operation: &'static str, path: &str) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io(operation, path, &e)),
    }
}

impl Disk for BlockingDisk {
    fn list(&self, dir: &str) -> Result<Vec<FileInfo>> {
        let Some(entries) = optional(fs::read_dir(self.path(dir)), "listing", dir)? else { return Ok(Vec::new()) };
        let mut files = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|e| Error::io("listing", dir, &e))?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let Some(metadata) = optional(entry.metadata(), "listing", dir)? else { continue };
            files.push(FileInfo { name, bytes: metadata.len(), is_dir: metadata.is_dir() });
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(files)
    }

    fn len(&self, path: &str) -> Result<Option<u64>> {
        Ok(optional(fs::metadata(self.path(path)), "looking at", path)?.map(|metadata| metadata.len()))
    }

    fn read_at(&self, path: &str, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let file = self.reader(path)?;
        let mut got = 0;
        while got < buf.len() {
            match file.read_at(&mut buf[got..], offset + got as u64) {
                Ok(0) => break,
                Ok(bytes) => got += bytes,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(Error { offset: Some(offset), ..Error::io("reading", path, &e) }),
            }
        }
        Ok(got)
    }

    fn identity(&self, path: &str) -> Result<Option<FileIdentity>> {
        identity_of(&self.path(path)).map_err(|e| Error::io("looking at", path, &e))
    }

    fn boot_id(&self) -> Option<String> {
        let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_string();
        Some(id).filter(|id| !id.is_empty())
    }

    fn create_dir(&self, path: &str) -> Result<()> {
        fs::create_dir_all(self.path(path)).map_err(|e| Error::io("creating", path, &e))
    }

    fn create(&self, path: &str) -> Result<()> {
        self.forget();
        File::create(self.path(path)).map(drop).map_err(|e| Error::io("creating", path, &e))
    }

    fn write_at(&self, path: &str, offset: u64, data: &[u8]) -> Result<()> {
        let write = || OpenOptions::new().write(true).open(self.path(path))?.write_all_at(data, offset);
        write().map_err(|e| Error { offset: Some(offset), ..Error::io("writing", path, &e) })
    }

    fn sync(&self, path: &str) -> Result<()> {
        let sync = || OpenOptions::new().write(true).open(self.path(path))?.sync_all();
        sync().map_err(|e| Error::io("syncing", path, &e))
    }

    fn sync_dir(&self, path: &str) -> Result<()> {
        let sync = || File::open(self.path(path))?.sync_all();
        sync().map_err(|e| Error::io("syncing", path, &e))
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.forget();
        fs::rename(self.path(from), self.path(to)).map_err(|e| Error::io("renaming", from, &e))
    }

    fn remove(&self, path: &str) -> Result<()> {
        self.forget();
        fs::remove_file(self.path(path)).map_err(|e| Error::io("removing", path, &e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_of_a_file_has_another_identity() {
        let dir = std::env::temp_dir().join(format!("shardis-disk-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("temporary directory");
        let disk = BlockingDisk::new(&dir);
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
