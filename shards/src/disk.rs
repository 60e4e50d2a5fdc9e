//! The disk as the engine sees it: one narrow interface, in two halves.
//!
//! While the server runs, the engine hands out [`DiskRequest`]s and is told of each [`DiskResult`] later; it never waits. At start
//! and in the tools, nothing else is going on, and the blocking trait [`Disk`] is used.
//! Implementations: glommio (server), the simulated disk (tests), `std::fs` (tools, start).
//!
//! Paths are relative to the data directory, with `/` between parts.

use crate::error::Result;
use bytes::Bytes;

/// Names an open file between the engine and the driver; chosen by the engine, never used twice in a process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FileId(pub u64);

/// How a file is written; one way per file from its creation on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WriteMode {
    /// Through the page cache; durable after `Sync`.
    Buffered,
    /// Whole blocks of `BLOCK_BYTES` at multiples of it; durable when the write completes (O_DIRECT|O_DSYNC, or the driver's
    /// equal: buffered write and fdatasync).
    Durable,
}

/// Writes to `WriteMode::Durable` files start at a multiple of this and are a multiple of this long.
pub const BLOCK_BYTES: usize = 4096;

#[derive(Clone, Debug, PartialEq)]
pub enum DiskOp {
    /// Creates a file, with its first `zero_bytes` written as zeros. What an earlier attempt left under this name is dropped.
    Create {
        file: FileId,
        path: String,
        mode: WriteMode,
        zero_bytes: u64,
    },
    Write {
        file: FileId,
        offset: u64,
        data: Bytes,
    },
    /// Makes all completed writes and the length durable.
    Sync {
        file: FileId,
    },
    Close {
        file: FileId,
    },
    /// Makes creations, renames and removals in a directory durable. "" = the data directory itself.
    SyncDir {
        path: String,
    },
    CreateDir {
        path: String,
    },
    Rename {
        from: String,
        to: String,
    },
    Remove {
        path: String,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub struct DiskRequest {
    /// Given back with the result.
    pub token: u64,
    pub op: DiskOp,
}

/// The result of one request. A short write is an error: the driver retries the rest before it says so.
#[derive(Clone, Debug, PartialEq)]
pub struct DiskResult {
    pub token: u64,
    /// For `Create`: the identity of the new file.
    pub outcome: std::result::Result<Option<FileIdentity>, String>,
}

/// What tells a file from a copy of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FileIdentity {
    pub inode: u64,
    pub birth_ns: u64,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileInfo {
    /// Without the directory.
    pub name: String,
    pub bytes: u64,
    pub is_dir: bool,
}

/// The blocking half, for start-up and tools.
pub trait Disk: Sync {
    /// Entries of a directory in order of their names; empty when there is no such directory.
    fn list(&self, dir: &str) -> Result<Vec<FileInfo>>;
    /// Length in bytes, `None` when there is no such file.
    fn len(&self, path: &str) -> Result<Option<u64>>;
    /// Fills `buf` from `offset` on; less only at the end of the file.
    fn read_at(&self, path: &str, offset: u64, buf: &mut [u8]) -> Result<usize>;
    /// `None` when the file system does not tell.
    fn identity(&self, path: &str) -> Result<Option<FileIdentity>>;
    /// The kernel's boot id, `None` when it can't be read.
    fn boot_id(&self) -> Option<String>;

    fn create_dir(&self, path: &str) -> Result<()>;
    /// Creates or overwrites.
    fn create(&self, path: &str) -> Result<()>;
    /// Writes into a file that is there; the gap to its end, if any, reads as zeros.
    fn write_at(&self, path: &str, offset: u64, data: &[u8]) -> Result<()>;
    fn sync(&self, path: &str) -> Result<()>;
    fn sync_dir(&self, path: &str) -> Result<()>;
    fn rename(&self, from: &str, to: &str) -> Result<()>;
    fn remove(&self, path: &str) -> Result<()>;
}

/// The whole file, at most `limit` bytes of it.
pub fn read_all(disk: &dyn Disk, path: &str, limit: u64) -> Result<Option<Vec<u8>>> {
    let Some(bytes) = disk.len(path)? else { return Ok(None) };
    let mut buf = vec![0; bytes.min(limit) as usize];
    let got = disk.read_at(path, 0, &mut buf)?;
    buf.truncate(got);
    Ok(Some(buf))
}

/// Collects the requests of one shard between two passes of its loop. The owner's number travels in the token, so that a result
/// finds its way back without a table.
#[derive(Debug)]
pub struct DiskQueue {
    requests: Vec<DiskRequest>,
    next_token: u64,
    next_file: u64,
}

/// Who asked: the upper byte of a token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DiskOwner {
    Log = 1,
    Snapshot = 2,
    Coordinator = 3,
}

const OWNER_SHIFT: u32 = 56;

impl DiskOwner {
    pub fn of(token: u64) -> DiskOwner {
        match token >> OWNER_SHIFT {
            1 => DiskOwner::Log,
            2 => DiskOwner::Snapshot,
            3 => DiskOwner::Coordinator,
            other => unreachable!("token {token} names owner {other}: tokens are made by DiskQueue only"),
        }
    }
}

impl Default for DiskQueue {
    fn default() -> DiskQueue {
        DiskQueue { requests: Vec::new(), next_token: 1, next_file: 1 }
    }
}

impl DiskQueue {
    pub fn new_file(&mut self) -> FileId {
        self.next_file += 1;
        FileId(self.next_file)
    }

    /// Asks for an operation. Requests of one queue may complete in any order: who needs an order waits for the result.
    pub fn push(&mut self, owner: DiskOwner, op: DiskOp) -> u64 {
        self.next_token += 1;
        let token = (owner as u64) << OWNER_SHIFT | self.next_token;
        self.requests.push(DiskRequest { token, op });
        token
    }

    pub fn take(&mut self) -> Vec<DiskRequest> {
        std::mem::take(&mut self.requests)
    }

    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }
}
