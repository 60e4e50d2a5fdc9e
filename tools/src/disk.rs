//! The data directory through `std::fs`, blocking, with a progress bar over what is read.
//!
//! Paths are relative to the data directory; an absolute one (a file to import) stays as it is.

use indicatif::{ProgressBar, ProgressStyle};
use shards::disk::{Disk, FileIdentity, FileInfo};
use shards::error::{Error, Result};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

pub struct StdDisk {
    dir: PathBuf,
    /// The file that was read last: reading goes on piece by piece, mostly in one file.
    open: Mutex<Option<(String, Arc<File>)>>,
    progress: Mutex<ProgressBar>,
}

impl StdDisk {
    pub fn new(dir: &Path) -> StdDisk {
        StdDisk { dir: dir.to_path_buf(), open: Mutex::new(None), progress: Mutex::new(ProgressBar::hidden()) }
    }

    /// Shows from now on how much of so many bytes has been read. Indicatif shows nothing where standard error is no terminal.
    pub fn show_progress(&self, bytes: u64, what: &'static str) {
        let style = ProgressStyle::with_template("{msg} {bar:40} {bytes}/{total_bytes} {eta}").expect("a constant template");
        let bar = ProgressBar::new(bytes).with_style(style).with_message(what);
        *self.progress.lock().expect("no holder panics") = bar;
    }

    pub fn end_progress(&self) {
        self.progress.lock().expect("no holder panics").finish_and_clear();
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
        self.progress.lock().expect("no holder panics").inc(got as u64);
        Ok(got)
    }

    fn identity(&self, path: &str) -> Result<Option<FileIdentity>> {
        let metadata = fs::metadata(self.path(path)).map_err(|cause| Error::io("looking at", path, &cause))?;
        let birth = metadata.created().ok().and_then(|birth| birth.duration_since(SystemTime::UNIX_EPOCH).ok());
        Ok(birth.map(|birth| FileIdentity { inode: metadata.ino(), birth_ns: birth.as_nanos() as u64 }))
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
