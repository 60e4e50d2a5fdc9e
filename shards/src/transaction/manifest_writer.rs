//! Replaces the manifest, step by step: create, write, sync, rename, sync the directory. The rename is the commit; only after the directory's sync
//! may anyone rely on it.

use crate::disk::{DiskOp, DiskOwner, DiskQueue, FileId, FileIdentity, WriteMode};
use crate::manifest::{Manifest, PATH, TEMPORARY_PATH};
use bytes::Bytes;

enum Step {
    Idle,
    Creating,
    Writing,
    Syncing,
    Renaming,
    SyncingDir,
}

pub struct ManifestWriter {
    step: Step,
    file: FileId,
    token: u64,
}

impl Default for ManifestWriter {
    fn default() -> ManifestWriter {
        ManifestWriter { step: Step::Idle, file: FileId(0), token: 0 }
    }
}

impl ManifestWriter {
    pub fn is_idle(&self) -> bool {
        matches!(self.step, Step::Idle)
    }

    pub fn start(&mut self, disk: &mut DiskQueue) {
        assert!(self.is_idle(), "one replacement at a time");
        self.file = disk.new_file();
        let op = DiskOp::Create { file: self.file, path: TEMPORARY_PATH.into(), mode: WriteMode::Buffered, zero_bytes: 0 };
        self.push(Step::Creating, op, disk);
    }

    fn push(&mut self, step: Step, op: DiskOp, disk: &mut DiskQueue) {
        self.step = step;
        self.token = disk.push(DiskOwner::Coordinator, op);
    }

    /// `Some(Ok)` when the new manifest is the one that counts, `Some(Err)` when the old one still does (or nobody can tell).
    pub fn disk_done(
        &mut self,
        token: u64,
        outcome: Result<Option<FileIdentity>, String>,
        manifest: &mut Manifest,
        disk: &mut DiskQueue,
    ) -> Option<Result<(), String>> {
        if token != self.token || self.is_idle() {
            return None;
        }
        let identity = match outcome {
            Ok(identity) => identity,
            Err(cause) => {
                self.step = Step::Idle;
                return Some(Err(cause));
            }
        };
        match self.step {
            Step::Idle => unreachable!("checked above"),
            Step::Creating => {
                manifest.identity = identity.unwrap_or_default();
                let data = Bytes::from(manifest.encode());
                self.push(Step::Writing, DiskOp::Write { file: self.file, offset: 0, data }, disk);
            }
            Step::Writing => self.push(Step::Syncing, DiskOp::Sync { file: self.file }, disk),
            Step::Syncing => {
                disk.push(DiskOwner::Coordinator, DiskOp::Close { file: self.file });
                let op = DiskOp::Rename { from: TEMPORARY_PATH.into(), to: PATH.into() };
                self.push(Step::Renaming, op, disk);
            }
            // Sync the directory after the rename: a crash may otherwise lose the new name.
            Step::Renaming => self.push(Step::SyncingDir, DiskOp::SyncDir { path: String::new() }, disk),
            Step::SyncingDir => {
                self.step = Step::Idle;
                return Some(Ok(()));
            }
        }
        None
    }
}
