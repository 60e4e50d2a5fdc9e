//! The engine on real files, without a server: shards, their messages and blocking disk operations in one thread.

use shardis_tool::disk::StdDisk;
use shards::commands::Session;
use shards::disk::{DiskOp, DiskRequest, DiskResult, FileId, FileIdentity, WriteMode};
use shards::ids::{ConnId, ShardId};
use shards::log::FsyncMode;
use shards::log::writer::SegmentBytes;
use shards::manifest::BaseFormat;
use shards::recovery::{Assume, OpenOptions, Sequential, open};
use shards::shard::{Settings, Shard, Start, Submit};
use shards::transaction::{Coordinator, Job};
use shards::types::Limits;
use std::collections::HashMap;
use std::fs::{File, OpenOptions as FileOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

const CONN: ConnId = ConnId(1);

pub struct Engine {
    dir: PathBuf,
    shards: Vec<Shard>,
    files: HashMap<(usize, FileId), (File, WriteMode)>,
    now_ms: i64,
    jobs: u64,
}

pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock behind 1970").as_millis() as i64
}

impl Engine {
    pub fn start(dir: &Path, shards: u16, mode: FsyncMode) -> Engine {
        Engine::try_start(dir, shards, mode, BaseFormat::Rdb).expect("starts")
    }

    pub fn try_start(dir: &Path, shards: u16, mode: FsyncMode, base_format: BaseFormat) -> shards::error::Result<Engine> {
        std::fs::create_dir_all(dir).expect("data directory");
        let disk = StdDisk::new(dir);
        let options = OpenOptions {
            shards,
            databases: 16,
            mode,
            logged: true,
            assume: Assume::Auto,
            dbfilename: "dump.rdb",
            appendfilename: "appendonly.aof",
            appenddirname: "appendonlydir",
            load_truncated: true,
            names: shards::commands::Names::TABLE,
            base_format,
            hash_seed: 1,
            limits: Limits::DEFAULT,
            now_ms: now_ms(),
        };
        let opened = open(&disk, &options, &Sequential)?;
        let generation = opened.manifest.generations.last().expect("a start opens a generation").number;
        let mut coordinator = Some(Coordinator::new(opened.manifest, now_ms()));
        let start = |(id, keyspace)| {
            Shard::new(Start {
                id: ShardId(id),
                shards,
                generation,
                mode,
                logged: true,
                keyspace,
                settings: Settings::default(),
                // Small, so that logs rotate.
                segment_bytes: SegmentBytes { min: 8192, max: 16384 },
                seed: 42 + id as u64,
                now_ms: now_ms(),
                coordinator: coordinator.take(),
            })
        };
        let shards = (0..shards).zip(opened.keyspaces).map(start).collect();
        let mut engine = Engine { dir: dir.to_path_buf(), shards, files: HashMap::new(), now_ms: now_ms(), jobs: 0 };
        engine.run_until("the shards are ready", |engine| engine.shards.iter().all(Shard::is_ready));
        engine.shards[0].connect(Session { id: CONN, authenticated: true, ..Session::default() });
        Ok(engine)
    }

    /// The reply to a command of a connection at shard 0.
    pub fn call(&mut self, args: &[&[u8]]) -> Vec<u8> {
        while self.shards[0].submit(CONN, args) == Submit::Wait {
            self.round();
        }
        self.run_until("a reply", |engine| !engine.shards[0].output(CONN).is_empty());
        let reply = self.shards[0].output(CONN).to_vec();
        self.shards[0].sent(CONN, reply.len());
        reply
    }

    pub fn ok(&mut self, command: &str) {
        let args: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
        let reply = self.call(&args);
        assert!(!reply.starts_with(b"-"), "{command}: {}", String::from_utf8_lossy(&reply));
    }

    pub fn job(&mut self, job: Job) {
        self.jobs += 1;
        self.shards[0].start_job(self.jobs, job);
        let mut results = Vec::new();
        self.run_until("the job's end", |engine| {
            results.extend(engine.shards[0].take_results());
            !results.is_empty()
        });
        assert_eq!(results, [(self.jobs, Ok(()))]);
    }

    pub fn stop(mut self) {
        self.job(Job::Stop);
    }

    fn run_until(&mut self, what: &str, mut is_reached: impl FnMut(&mut Engine) -> bool) {
        for _ in 0..100_000 {
            if is_reached(self) {
                return;
            }
            self.round();
        }
        let states: Vec<String> = self.shards.iter().map(Shard::describe).collect();
        panic!("{what} never comes: {states:?}");
    }

    fn round(&mut self) {
        self.now_ms += 1;
        for index in 0..self.shards.len() {
            self.shards[index].end_pass(self.now_ms);
            for to in 0..self.shards.len() {
                let batch = self.shards[index].take_messages(ShardId(to as u16));
                if !batch.is_empty() {
                    self.shards[to].receive(ShardId(index as u16), batch);
                }
            }
            for request in self.shards[index].take_disk_requests() {
                let outcome = self.perform(index, &request).map_err(|cause| cause.to_string());
                self.shards[index].disk_done(DiskResult { token: request.token, outcome });
            }
        }
    }

    fn perform(&mut self, shard: usize, request: &DiskRequest) -> std::io::Result<Option<FileIdentity>> {
        match &request.op {
            DiskOp::Create { file, path, mode, zero_bytes } => {
                // The manifest's temporary file may be left over.
                _ = std::fs::remove_file(self.dir.join(path));
                let created = FileOptions::new().write(true).create_new(true).open(self.dir.join(path))?;
                created.write_all_at(&vec![0; *zero_bytes as usize], 0)?;
                let metadata = created.metadata()?;
                self.files.insert((shard, *file), (created, *mode));
                let birth = metadata.created()?.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
                return Ok(Some(FileIdentity { inode: metadata.ino(), birth_ns: birth.as_nanos() as u64 }));
            }
            DiskOp::Write { file, offset, data } => self.files[&(shard, *file)].0.write_all_at(data, *offset)?,
            DiskOp::Close { file } => _ = self.files.remove(&(shard, *file)),
            DiskOp::CreateDir { path } => std::fs::create_dir_all(self.dir.join(path))?,
            DiskOp::Rename { from, to } => std::fs::rename(self.dir.join(from), self.dir.join(to))?,
            DiskOp::Remove { path } => std::fs::remove_file(self.dir.join(path))?,
            // What these tests damage is damaged behind the page cache's back anyway.
            DiskOp::Sync { .. } | DiskOp::SyncDir { .. } => {}
        }
        Ok(None)
    }
}
