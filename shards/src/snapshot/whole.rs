//! A shard's file of a base, written at once by a program that has nothing else to do: at an import.

use super::writer::BaseWriter;
use crate::disk::{Disk, DiskOp, DiskQueue};
use crate::error::Result;
use crate::ids::{Lsn, ShardId};
use crate::keyspace::Keyspace;
use crate::manifest::{BaseFile, BaseFormat};
use crate::snapshot::BaseProgress;

/// Drives a `BaseWriter` with a blocking disk. The file and its directory are durable when this returns.
pub fn write_whole(disk: &dyn Disk, keyspace: &mut Keyspace, base: u64, shard: ShardId, format: BaseFormat) -> Result<BaseFile> {
    let mut queue = DiskQueue::default();
    let mut writer = BaseWriter::begin(base, shard, format, Lsn(0), keyspace, &[("redis-ver", "7.2.0")], &mut queue);
    let path = writer.path().to_string();
    loop {
        writer.step(keyspace, &mut queue);
        for request in queue.take() {
            perform(disk, &path, &request.op)?;
            if let BaseProgress::Done(file) = writer.disk_done(request.token, &Ok(()), &mut queue) {
                return Ok(file);
            }
        }
    }
}

fn perform(disk: &dyn Disk, path: &str, op: &DiskOp) -> Result<()> {
    match op {
        DiskOp::Create { path, .. } => disk.create(path),
        DiskOp::Write { offset, data, .. } => disk.write_at(path, *offset, data),
        DiskOp::Sync { .. } => disk.sync(path),
        DiskOp::SyncDir { path } => disk.sync_dir(path),
        DiskOp::Close { .. } => Ok(()),
        DiskOp::CreateDir { .. } | DiskOp::Rename { .. } | DiskOp::Remove { .. } => {
            unreachable!("a base writer asks for no {op:?}")
        }
    }
}
