//! A file that appears under its name only when it is complete and durable.

use shards::error::{Error, Result};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

pub struct Output {
    path: PathBuf,
    temporary: PathBuf,
    file: Option<File>,
    bytes: u64,
}

impl Output {
    pub fn create(path: &Path) -> Result<Output> {
        if path.is_dir() {
            return Err(Error::usage(path.display().to_string(), "this is a directory; name a file"));
        }
        let name = path.file_name().ok_or_else(|| Error::usage(path.display().to_string(), "this names no file"))?;
        // In the same directory: a rename does not cross file systems.
        let temporary = path.with_file_name(format!(".{}.{}.new", name.to_string_lossy(), std::process::id()));
        let file = File::create(&temporary).map_err(|cause| Error::io("creating", temporary.display().to_string(), &cause))?;
        Ok(Output { path: path.to_path_buf(), temporary, file: Some(file), bytes: 0 })
    }

    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let file = self.file.as_mut().expect("open until it is finished");
        file.write_all(bytes).map_err(|cause| Error::io("writing", self.temporary.display().to_string(), &cause))?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Makes it durable, gives it its name and makes that durable. Returns its length.
    pub fn finish(mut self) -> Result<u64> {
        let file = self.file.take().expect("open until it is finished");
        let path = self.path.display().to_string();
        file.sync_all().map_err(|cause| Error::io("syncing", &*path, &cause))?;
        fs::rename(&self.temporary, &self.path).map_err(|cause| Error::io("renaming", &*path, &cause))?;
        let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // Sync the directory after the rename: a crash may otherwise lose the new name.
        let synced = File::open(parent).and_then(|dir| dir.sync_all());
        synced.map_err(|cause| Error::io("syncing", parent.display().to_string(), &cause))?;
        Ok(self.bytes)
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if self.file.is_some() {
            // Not finished: nothing under the name that was asked for, and nothing beside it.
            _ = fs::remove_file(&self.temporary);
        }
    }
}
