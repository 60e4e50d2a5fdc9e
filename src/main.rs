//! `shardis-server`: see README.md. This file is the order of a start.

mod admin;
// Not every getter of it is called yet.
mod config;
mod disk_uring;
mod inline_ring;
mod journal;
mod machine;
mod mailbox;
mod runtime;
mod server;
mod start;

use config::{Config, Start};
use journal::Level;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Set in the environment of the process that a daemon is.
const DAEMON: &str = "SHARDIS_DAEMON";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let config = match config::from_args(&args, &mut std::io::stdin()) {
        Ok(Start::Print(text)) => {
            // Whoever reads it may have seen enough: `| head`.
            _ = writeln!(std::io::stdout(), "{text}");
            return ExitCode::SUCCESS;
        }
        Ok(Start::Run(config)) => *config,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    if config.flag("daemonize") && std::env::var_os(DAEMON).is_none() {
        return daemonize(&args);
    }
    if let Err(error) = journal::configure(Level::of(config.text("loglevel")), config.text("logfile")) {
        eprintln!("Can't open the log file {}: {error}", config.text("logfile"));
        return ExitCode::FAILURE;
    }
    end_on_panic();
    match serve(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => {
            journal::warning(&cause);
            // The log may be a file: whoever started the server sees it too.
            eprintln!("shardis-server: {cause}");
            ExitCode::FAILURE
        }
    }
}

/// A shard that has panicked would leave the others waiting for it; and its memory is no longer to be believed. The log is recovered at the
/// next start.
fn end_on_panic() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        print(panic);
        journal::warning(&format!("Shardis {} crashed: {panic}", env!("CARGO_PKG_VERSION")));
        std::process::abort();
    }));
}

/// The same program again, in a session of its own; this process ends.
fn daemonize(args: &[String]) -> ExitCode {
    use std::process::{Command, Stdio};
    let started = std::env::current_exe().and_then(|program| {
        let mut command = Command::new(program);
        command.args(args).env(DAEMON, "1");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
    });
    match started {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("shardis-server: starting in the background: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(config: Config) -> Result<(), String> {
    let is_daemon = std::env::var_os(DAEMON).is_some();
    if is_daemon {
        // Fails only for a process that leads a group already.
        _ = rustix::process::setsid();
    }
    journal::notice(&format!("Shardis version={}, bits=64, pid={}, just started", env!("CARGO_PKG_VERSION"), std::process::id()));
    config.warnings().iter().for_each(|warning| journal::warning(warning));
    machine::probe_io_uring()?;
    let cpus = machine::placement(config.shards());
    let shards = cpus.len() as u16;
    machine::raise_memlock(shards)?;
    let maxclients = machine::raise_open_files(config.number("maxclients"), shards)?;
    let config = config.with_maxclients(maxclients);
    let dir = config.open_dir().map_err(|error| format!("the data directory {}: {error}", config.dir().display()))?;
    let lock = start::lock_directory(&dir)?;
    let listeners = server::listener::bind_all(&config)?;
    let mut remove_at_exit: Vec<PathBuf> = Vec::new();
    if let Some(path) = write_pidfile(&config, is_daemon) {
        remove_at_exit.push(path);
    }
    remove_at_exit.extend(listeners.iter().filter_map(|listener| listener.path().map(PathBuf::from)));
    journal::notice(&format!("{shards} shards on CPUs {cpus:?}, data in {}", dir.display()));
    let hash_seed = start::hash_seed();
    let startup_memory = admin::resident_memory();
    let opened = start::load(&config, &dir, shards, hash_seed)?;
    let plan = start::Plan { config: Arc::new(config), dir, cpus, listeners, opened, remove_at_exit, hash_seed, startup_memory };
    let server = start::start(plan)?;
    server.watch_signals()?;
    let cause = server.join();
    drop(lock);
    Err(cause)
}

/// As Redis: a failure to write it is no reason not to start.
fn write_pidfile(config: &Config, is_daemon: bool) -> Option<PathBuf> {
    let path = match config.text("pidfile") {
        "" if is_daemon => "/var/run/redis.pid",
        "" => return None,
        path => path,
    };
    match std::fs::write(path, format!("{}\n", std::process::id())) {
        Ok(()) => Some(path.into()),
        Err(error) => {
            journal::warning(&format!("Failed to write PID file: {error}"));
            None
        }
    }
}
