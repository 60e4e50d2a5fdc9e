//! The engine's disk requests, performed on the shard's own io_uring.
//!
//! Each request is a local task; its result goes into a queue that the shard's loop empties, and the bell wakes the loop.
//! Small writes of the log are waited for on the spot, through a ring of their own (`inline_ring`): no turn of the executor, no extra pass,
//! and the replies that wait for them leave in the same pass.
//! Opening, writing, syncing and closing are ring operations. Renaming, removing and making directories are not offered by
//! the executor as such: it gives them to its helper thread, so they don't stall the loop either.

use crate::inline_ring::InlineRing;
use crate::runtime::{Bell, spawn_local};
use glommio::GlommioError;
use glommio::io::{BufferedFile, Directory, DmaFile, OpenOptions};
use shards::disk::{BLOCK_BYTES, DiskOp, DiskOwner, DiskRequest, DiskResult, FileId, FileIdentity, WriteMode};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Zeros go out in pieces of this size, so that other requests get their turn.
const ZERO_PIECE_BYTES: u64 = 256 * 1024;
static ZEROS: [u8; ZERO_PIECE_BYTES as usize] = [0; ZERO_PIECE_BYTES as usize];
/// Writes of the log up to this size are done at once: through the page cache into a file that is there, 3 µs for 4 KiB, 9 for 64.
const BUFFERED_NOW_BYTES_MAX: usize = 64 * 1024;
/// Likewise durable ones, while nobody waits for anything else. Bigger ones leave time to execute the next batch.
const DURABLE_NOW_BYTES_MAX: usize = 16 * 1024;
const FILE_MODE: u32 = 0o644;
const O_DSYNC: i32 = 0o10000;

type Outcome = Result<Option<FileIdentity>, String>;

pub struct DiskUring {
    shared: Rc<Shared>,
}

struct Shared {
    dir: PathBuf,
    files: RefCell<HashMap<FileId, Rc<OpenFile>>>,
    done: RefCell<Vec<DiskResult>>,
    under_way: Cell<usize>,
    bell: Bell,
    inline_ring: RefCell<InlineRing>,
}

struct OpenFile {
    path: String,
    kind: Kind,
}

enum Kind {
    Buffered(BufferedFile),
    /// O_DIRECT|O_DSYNC: durable when the write completes.
    Direct(DmaFile),
    /// The file system refuses O_DIRECT: each write is followed by fdatasync.
    Synced(BufferedFile),
}

impl DiskUring {
    pub fn new(dir: &Path, bell: Bell) -> DiskUring {
        let inline_ring = InlineRing::new().expect("io_uring was probed at the start");
        let shared = Shared {
            dir: dir.to_path_buf(),
            files: RefCell::default(),
            done: RefCell::default(),
            under_way: Cell::new(0),
            bell,
            inline_ring: RefCell::new(inline_ring),
        };
        DiskUring { shared: Rc::new(shared) }
    }

    /// `is_idle`: the shard has nothing else to do than to wait for what is durable.
    pub fn submit(&self, request: DiskRequest, is_idle: bool) {
        if let Some(outcome) = self.shared.perform_now(&request, is_idle) {
            self.shared.done.borrow_mut().push(DiskResult { token: request.token, outcome });
            return;
        }
        let shared = self.shared.clone();
        shared.under_way.set(shared.under_way.get() + 1);
        spawn_local(async move {
            let outcome = shared.perform(request.op).await;
            shared.done.borrow_mut().push(DiskResult { token: request.token, outcome });
            shared.under_way.set(shared.under_way.get() - 1);
            shared.bell.ring();
        });
    }

    pub fn take_results(&self) -> Vec<DiskResult> {
        std::mem::take(&mut *self.shared.done.borrow_mut())
    }

    pub fn has_results(&self) -> bool {
        !self.shared.done.borrow().is_empty()
    }

    /// Requests that have not completed.
    pub fn under_way(&self) -> usize {
        self.shared.under_way.get()
    }
}

impl Shared {
    fn full(&self, path: &str) -> PathBuf {
        if path.is_empty() { self.dir.clone() } else { self.dir.join(path) }
    }

    fn file(&self, file: FileId) -> Rc<OpenFile> {
        self.files.borrow().get(&file).expect("the engine uses files between Create and Close only").clone()
    }

    /// A small write of the log, if it can't take long, or nobody minds.
    fn perform_now(&self, request: &DiskRequest, is_idle: bool) -> Option<Outcome> {
        let DiskOp::Write { file, offset, data } = &request.op else { return None };
        if DiskOwner::of(request.token) != DiskOwner::Log {
            return None;
        }
        let file = self.file(*file);
        let written = match &file.kind {
            Kind::Buffered(buffered) if data.len() <= BUFFERED_NOW_BYTES_MAX => {
                self.inline_ring.borrow_mut().write(buffered.as_raw_fd(), *offset, data)
            }
            Kind::Direct(direct) if is_idle && data.len() <= DURABLE_NOW_BYTES_MAX => {
                let mut aligned = direct.alloc_dma_buffer(data.len());
                aligned.as_bytes_mut().copy_from_slice(data);
                self.inline_ring.borrow_mut().write(direct.as_raw_fd(), *offset, aligned.as_bytes())
            }
            _ => return None,
        };
        Some(written.map(|()| None).map_err(|e| format!("writing {} @ {offset}: {e}", file.path)))
    }

    async fn perform(&self, op: DiskOp) -> Outcome {
        match op {
            DiskOp::Create { file, path, mode, zero_bytes } => self.create(file, path, mode, zero_bytes).await,
            DiskOp::Write { file, offset, data } => {
                let file = self.file(file);
                file.write(offset, &data).await.map_err(|e| format!("writing {} @ {offset}: {e}", file.path))?;
                Ok(None)
            }
            DiskOp::Sync { file } => {
                let file = self.file(file);
                file.sync().await.map_err(|e| format!("syncing {}: {e}", file.path))?;
                Ok(None)
            }
            DiskOp::Close { file } => {
                // Closed when the last request that uses it is over.
                self.files.borrow_mut().remove(&file);
                Ok(None)
            }
            DiskOp::SyncDir { path } => {
                sync_dir(&self.full(&path)).await.map_err(|e| format!("syncing directory '{path}': {}", text(&e)))?;
                Ok(None)
            }
            DiskOp::CreateDir { path } => {
                Directory::create(self.full(&path)).await.map_err(|e| format!("creating {path}: {}", text(&e)))?;
                Ok(None)
            }
            DiskOp::Rename { from, to } => {
                let renamed = glommio::io::rename(self.full(&from), self.full(&to)).await;
                renamed.map_err(|e| format!("renaming {from} to {to}: {}", text(&e)))?;
                Ok(None)
            }
            DiskOp::Remove { path } => {
                glommio::io::remove(self.full(&path)).await.map_err(|e| format!("removing {path}: {}", text(&e)))?;
                Ok(None)
            }
        }
    }

    async fn create(&self, id: FileId, path: String, mode: WriteMode, zero_bytes: u64) -> Outcome {
        let full = self.full(&path);
        let failed = |e: &GlommioError<()>| format!("creating {path}: {}", text(e));
        // Zeros are written through the page cache whatever the mode: many small durable writes would take seconds.
        let buffered = new_options(0, true).buffered_open(&full).await.map_err(|e| failed(&e))?;
        let plain = OpenFile { path: path.clone(), kind: Kind::Buffered(buffered) };
        plain.write_zeros(zero_bytes).await.map_err(|e| format!("zeroing {path}: {e}"))?;
        let Kind::Buffered(buffered) = plain.kind else { unreachable!("just made") };
        let kind = match mode {
            WriteMode::Buffered => Kind::Buffered(buffered),
            WriteMode::Durable => {
                if zero_bytes > 0 {
                    // The first durable write of a block would otherwise wait for the zeros around it.
                    buffered.fdatasync().await.map_err(|e| format!("zeroing {path}: {}", text(&e)))?;
                }
                // A file system without O_DIRECT (tmpfs, some overlays) refuses it here.
                match new_options(O_DSYNC, false).dma_open(&full).await {
                    Ok(direct) => {
                        _ = buffered.close().await;
                        Kind::Direct(direct)
                    }
                    Err(_) => Kind::Synced(buffered),
                }
            }
        };
        self.files.borrow_mut().insert(id, Rc::new(OpenFile { path, kind }));
        shardis_tool::disk::identity_of(&full).map_err(|e| format!("looking at {}: {e}", full.display()))
    }
}

impl OpenFile {
    async fn write(&self, offset: u64, data: &[u8]) -> Result<(), String> {
        match &self.kind {
            Kind::Buffered(file) => write_buffered(file, offset, data).await,
            Kind::Synced(file) => {
                write_buffered(file, offset, data).await?;
                file.fdatasync().await.map_err(|e| text(&e))
            }
            Kind::Direct(file) => write_direct(file, offset, data).await,
        }
    }

    async fn sync(&self) -> Result<(), String> {
        match &self.kind {
            Kind::Buffered(file) | Kind::Synced(file) => file.fdatasync().await.map_err(|e| text(&e)),
            Kind::Direct(file) => file.fdatasync().await.map_err(|e| text(&e)),
        }
    }

    async fn write_zeros(&self, bytes: u64) -> Result<(), String> {
        let Kind::Buffered(file) = &self.kind else { unreachable!("files are zeroed before they become direct") };
        let mut offset = 0;
        while offset < bytes {
            let piece = (bytes - offset).min(ZERO_PIECE_BYTES);
            write_buffered(file, offset, &ZEROS[..piece as usize]).await?;
            offset += piece;
        }
        Ok(())
    }
}

/// The buffer belongs to the kernel until completion, so each attempt hands over a copy of what is left.
async fn write_buffered(file: &BufferedFile, offset: u64, data: &[u8]) -> Result<(), String> {
    let mut done = 0;
    while done < data.len() {
        let written = file.write_at(data[done..].to_vec(), offset + done as u64).await.map_err(|e| text(&e))?;
        if written == 0 {
            return Err(format!("{done} bytes written instead of {}: no space left on the device?", data.len()));
        }
        done += written;
    }
    Ok(())
}

async fn write_direct(file: &DmaFile, offset: u64, data: &[u8]) -> Result<(), String> {
    assert!(
        offset.is_multiple_of(BLOCK_BYTES as u64) && data.len().is_multiple_of(BLOCK_BYTES),
        "durable writes are whole blocks"
    );
    let mut done = 0;
    while done < data.len() {
        let mut buffer = file.alloc_dma_buffer(data.len() - done);
        buffer.as_bytes_mut().copy_from_slice(&data[done..]);
        let written = file.write_at(buffer, offset + done as u64).await.map_err(|e| text(&e))?;
        // What was cut inside a block is written again from the block's start.
        let whole = (written.min(data.len() - done) / BLOCK_BYTES) * BLOCK_BYTES;
        if whole == 0 {
            return Err(format!("{written} bytes written instead of {}: no space left on the device?", data.len() - done));
        }
        done += whole;
    }
    Ok(())
}

fn new_options(flags: i32, is_new: bool) -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).read(true).custom_flags(flags).mode(FILE_MODE);
    if is_new {
        // What an earlier attempt left under this name counts for nothing.
        options.create(true).truncate(true);
    }
    options
}

async fn sync_dir(path: &Path) -> Result<(), GlommioError<()>> {
    let dir = Directory::open(path).await?;
    dir.sync().await?;
    dir.close().await
}

/// The operating system's words, without the executor's.
fn text(error: &GlommioError<()>) -> String {
    match error {
        GlommioError::IoError(source) | GlommioError::EnhancedIoError { source, .. } => source.to_string(),
        other => other.to_string(),
    }
}
