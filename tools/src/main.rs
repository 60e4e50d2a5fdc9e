//! The command line of `shardis-tool`.

use clap::{Args, Parser, Subcommand, ValueEnum};
use shardis_tool::directory::Directory;
use shardis_tool::{Verdict, check, check_file, export, import, inspect};
use shards::error::{Error, ErrorKind};
use shards::recovery::Assume;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "shardis-tool", version, about = "Export, import, check and inspect the files of a Shardis server")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Write the state of a stopped server's data directory as one standard file
    Export(Export),
    /// Make a data directory from the files of Redis or Valkey
    Import(Import),
    /// Check a data directory, or one file; exit status 0 sound, 1 damaged
    Check(Check),
    /// Show what is in a data directory, or in one file
    Inspect(Inspect),
}

#[derive(Args)]
struct Export {
    /// The server's data directory
    #[arg(long)]
    dir: PathBuf,
    #[command(flatten)]
    target: ExportTarget,
    /// Write for readers of this RDB version (Redis 6.2: 9, 7.0: 10, 7.2 and Valkey: 11, 7.4 and later: 12); what it can't say is
    /// named and counted. Without it, the lowest that holds everything (at least 9)
    #[arg(long, value_parser = clap::value_parser!(u32).range(9..=12))]
    rdb_version: Option<u32>,
    /// Commands only: an AOF without an RDB at its beginning
    #[arg(long, conflicts_with = "rdb")]
    no_preamble: bool,
    /// Copy bases although their checksums are wrong
    #[arg(long)]
    no_verify: bool,
    #[arg(long, value_enum, default_value_t)]
    recovery_assume: RecoveryAssume,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct ExportTarget {
    /// Write an RDB file
    #[arg(long)]
    rdb: Option<PathBuf>,
    /// Write a single-file AOF
    #[arg(long)]
    aof: Option<PathBuf>,
}

#[derive(Args)]
struct Import {
    /// The new data directory; it must not exist, or be empty
    #[arg(long)]
    dir: PathBuf,
    /// Shards to spread the keys over; without it, the number of CPUs. A server may start with another number
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    shards: Option<u16>,
    /// Refuse an AOF whose end is torn, as the server does with aof-load-truncated no; without it, the end is cut and reported
    #[arg(long, conflicts_with = "rdb")]
    no_truncated: bool,
    #[command(flatten)]
    source: ImportSource,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct ImportSource {
    /// An RDB file
    #[arg(long)]
    rdb: Option<PathBuf>,
    /// A single-file AOF, with or without an RDB at its beginning
    #[arg(long)]
    aof: Option<PathBuf>,
    /// A directory with a multi-part AOF (Redis 7)
    #[arg(long)]
    appendonlydir: Option<PathBuf>,
}

#[derive(Args)]
struct Check {
    #[command(flatten)]
    what: DirOrFile,
    /// Cut damaged and torn ends of logs, by recording earlier ends in the manifest; says what is lost
    #[arg(long, requires = "dir")]
    fix: bool,
    #[arg(long, value_enum, default_value_t)]
    recovery_assume: RecoveryAssume,
}

#[derive(Args)]
struct Inspect {
    #[command(flatten)]
    what: DirOrFile,
    /// Frames of a segment, commands of an AOF to show
    #[arg(long, default_value_t = 100)]
    limit: usize,
    /// Biggest keys of an RDB to show
    #[arg(long, default_value_t = 10)]
    top: usize,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct DirOrFile {
    /// A data directory
    #[arg(long)]
    dir: Option<PathBuf>,
    /// One file: RDB, segment, AOF, manifest
    file: Option<PathBuf>,
}

/// As the server's directive recovery-assume.
#[derive(Clone, Copy, Default, ValueEnum)]
enum RecoveryAssume {
    #[default]
    Auto,
    ProcessCrash,
    PowerLoss,
}

impl From<RecoveryAssume> for Assume {
    fn from(assume: RecoveryAssume) -> Assume {
        match assume {
            RecoveryAssume::Auto => Assume::Auto,
            RecoveryAssume::ProcessCrash => Assume::ProcessCrash,
            RecoveryAssume::PowerLoss => Assume::PowerLoss,
        }
    }
}

fn run(task: Task) -> Result<Verdict, Error> {
    match task {
        Task::Export(Export { dir, target, rdb_version, no_preamble, no_verify, recovery_assume }) => {
            let format = match target {
                ExportTarget { rdb: Some(path), .. } => export::Format::Rdb(path),
                ExportTarget { aof: Some(path), .. } => export::Format::Aof { path, preamble: !no_preamble },
                ExportTarget { rdb: None, aof: None } => unreachable!("clap asks for one of them"),
            };
            let options = export::Options { format, rdb_version, verify: !no_verify, assume: recovery_assume.into() };
            export::export(&Directory::open(&dir)?, &options)
        }
        Task::Import(Import { dir, shards, no_truncated, source }) => {
            let source = match source {
                ImportSource { rdb: Some(path), .. } => import::Source::Rdb(path),
                ImportSource { aof: Some(path), .. } => import::Source::Aof(path),
                ImportSource { appendonlydir: Some(path), .. } => import::Source::MultiPartAof(path),
                ImportSource { rdb: None, aof: None, appendonlydir: None } => unreachable!("clap asks for one of them"),
            };
            import::import(&dir, &source, shards, !no_truncated)
        }
        Task::Check(Check { what: DirOrFile { dir: Some(dir), .. }, fix, recovery_assume }) => {
            let directory = if fix { Directory::open_to_write(&dir)? } else { Directory::open(&dir)? };
            check::check(&directory, recovery_assume.into(), fix)
        }
        Task::Check(Check { what: DirOrFile { file: Some(file), .. }, .. }) => check_file::check(&file),
        Task::Inspect(Inspect { what: DirOrFile { dir: Some(dir), .. }, .. }) => inspect::directory(&Directory::open(&dir)?),
        Task::Inspect(Inspect { what: DirOrFile { file: Some(file), .. }, limit, top }) => inspect::file(&file, limit, top),
        Task::Check(_) | Task::Inspect(_) => unreachable!("clap asks for a directory or a file"),
    }
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(Verdict::Sound) => ExitCode::SUCCESS,
        Ok(Verdict::Damaged) => ExitCode::from(1),
        Err(error) => {
            eprintln!("shardis-tool: {error}");
            ExitCode::from(if error.kind == ErrorKind::Usage { 2 } else { 1 })
        }
    }
}
