//! The servers under comparison: where they are, how they are started with equal durability, and how they end.
//!
//! Each runs on a free loopback port in a temporary directory of its own, bound to the given cores from its first
//! instruction, and is ended by its process id only.

use crate::machine;
use clap::ValueEnum;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const START_MAX: Duration = Duration::from_secs(10);
const STOP_MAX: Duration = Duration::from_secs(5);

/// What an acknowledged write may lose.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Mode {
    /// No log at all.
    None,
    Always,
    Everysec,
    No,
}

impl Mode {
    pub fn name(self) -> &'static str {
        match self {
            Mode::None => "none",
            Mode::Always => "always",
            Mode::Everysec => "everysec",
            Mode::No => "no",
        }
    }

    fn appendonly(self) -> &'static str {
        if self == Mode::None { "no" } else { "yes" }
    }

    fn appendfsync(self) -> &'static str {
        if self == Mode::None { "no" } else { self.name() }
    }
}

/// How a server wants to be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Family {
    /// Redis's directives as flags, and `--shards`.
    Shardis,
    /// Redis's directives as flags.
    Redis,
    /// A TOML file.
    Kevy,
}

#[derive(Clone, Debug)]
pub struct Server {
    pub name: String,
    family: Family,
    program: PathBuf,
    extra: Vec<String>,
}

/// Known names, most wanted first, with the programs that are looked for.
const KNOWN: [(&str, &str); 5] = [
    ("shardis", "shardis-server"),
    ("redis", "redis-server"),
    ("redis8", "redis-server-8.2"),
    ("valkey", "valkey-server"),
    ("kevy", "kevy"),
];

/// The servers of `wanted` in that order, or every known one that is installed. `programs` and `extra` hold
/// `NAME=PATH` and `NAME=ARGUMENTS`.
pub fn find(wanted: &[String], programs: &[String], extra: &[String]) -> Result<Vec<Server>, String> {
    let programs = pairs(programs)?;
    let extra = pairs(extra)?;
    let names: Vec<&str> = match wanted {
        [] => KNOWN.iter().map(|&(name, _)| name).chain(programs.iter().map(|&(name, _)| name)).collect(),
        names => names.iter().map(String::as_str).collect(),
    };
    let mut found: Vec<Server> = Vec::new();
    for name in names {
        let given = programs.iter().find(|(of, _)| *of == name).map(|(_, path)| PathBuf::from(path));
        let program = given.or_else(|| look_for(name));
        match program {
            Some(_) if found.iter().any(|server| server.name == name) => {}
            Some(program) => found.push(Server {
                name: name.to_owned(),
                family: family(name),
                program,
                extra: extra.iter().filter(|(of, _)| *of == name).flat_map(|(_, args)| words(args)).collect(),
            }),
            None if wanted.is_empty() => {}
            None => return Err(format!("server {name} is not installed; say where with --program {name}=PATH")),
        }
    }
    if found.is_empty() {
        return Err("no server is installed".to_owned());
    }
    Ok(found)
}

/// By the beginning of the name, so that two builds can be compared: `--program shardis-before=PATH`.
fn family(name: &str) -> Family {
    match name {
        _ if name.starts_with("shardis") => Family::Shardis,
        _ if name.starts_with("kevy") => Family::Kevy,
        _ => Family::Redis,
    }
}

fn pairs(texts: &[String]) -> Result<Vec<(&str, &str)>, String> {
    texts.iter().map(|text| text.split_once('=').ok_or_else(|| format!("{text:?} is not NAME=VALUE"))).collect()
}

fn words(text: &str) -> impl Iterator<Item = String> {
    text.split_whitespace().map(str::to_owned)
}

/// Beside the harness itself (cargo builds both into one directory), then in PATH.
fn look_for(name: &str) -> Option<PathBuf> {
    let (_, file) = KNOWN.iter().find(|(known, _)| *known == name)?;
    let beside = std::env::current_exe().ok()?.parent()?.to_owned();
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::iter::once(beside).chain(std::env::split_paths(&path)).map(|folder| folder.join(file)).find(|file| file.is_file())
}

/// How one server is started for one measurement.
pub struct Setting<'a> {
    pub mode: Mode,
    pub shards: usize,
    /// The server's cores.
    pub cores: &'a [usize],
    /// The caller's core, to which it returns after the start.
    pub load_core: usize,
    /// Parent of the temporary directory.
    pub data: &'a Path,
}

/// A running server; dropping it ends the process and removes its directory.
pub struct Running {
    child: Child,
    folder: PathBuf,
    pub address: SocketAddr,
    pub version: String,
}

impl Server {
    pub fn start(&self, setting: &Setting) -> Result<Running, String> {
        let folder = temporary_folder(setting.data)?;
        let address = free_address()?;
        let mut command = self.command(setting, address, &folder)?;
        let log = std::fs::File::create(folder.join("output.txt")).map_err(|error| format!("{folder:?}: {error}"))?;
        let stderr = log.try_clone().map_err(|error| format!("{folder:?}: {error}"))?;
        command.args(&self.extra).current_dir(&folder).stdin(Stdio::null()).stdout(log).stderr(stderr);

        // The child inherits the mask, so no thread of it ever runs elsewhere.
        machine::pin(setting.cores)?;
        let child = command.spawn().map_err(|error| format!("{}: {error}", self.program.display()));
        machine::pin(&[setting.load_core])?;

        let mut running = Running { child: child?, folder, address, version: String::new() };
        running.wait_until_ready().map_err(|error| format!("{}: {error}\n{}", self.name, running.output()))?;
        running.version = running.read_version();
        if self.family != Family::Kevy {
            running.check_durability(setting.mode)?;
        }
        Ok(running)
    }

    fn command(&self, setting: &Setting, address: SocketAddr, folder: &Path) -> Result<Command, String> {
        let mut command = Command::new(&self.program);
        match self.family {
            Family::Kevy => {
                let file = folder.join("kevy.toml");
                std::fs::write(&file, kevy_config(setting, address, folder)).map_err(|error| format!("{file:?}: {error}"))?;
                command.arg("--config").arg(file);
            }
            Family::Redis | Family::Shardis => {
                let port = address.port().to_string();
                command.args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--daemonize", "no"]);
                command.args(["--appendonly", setting.mode.appendonly(), "--appendfsync", setting.mode.appendfsync()]);
                // A rewrite in the middle of one server's measurement would be chance; it is measured on its own.
                command.args(["--auto-aof-rewrite-percentage", "0"]).arg("--dir").arg(folder);
            }
        }
        if self.family == Family::Shardis {
            command.args(["--shards", &setting.shards.to_string()]);
        }
        Ok(command)
    }
}

fn kevy_config(setting: &Setting, address: SocketAddr, folder: &Path) -> String {
    format!(
        "[server]\nbind = \"127.0.0.1\"\nport = {}\nthreads = {}\ndata_dir = {folder:?}\n\
         [persistence]\naof = {}\nappendfsync = \"{}\"\nauto_aof_rewrite_min_size = \"1024gb\"\n",
        address.port(),
        setting.shards,
        setting.mode != Mode::None,
        setting.mode.appendfsync(),
    )
}

fn temporary_folder(data: &Path) -> Result<PathBuf, String> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let folder = data.join(format!("shardis-bench-{}-{number}", std::process::id()));
    std::fs::create_dir(&folder).map_err(|error| format!("cannot create {}: {error}", folder.display()))?;
    Ok(folder)
}

/// The kernel does not give the same port out again soon, so the server will find it free.
fn free_address() -> Result<SocketAddr, String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| format!("no free port: {error}"))?;
    listener.local_addr().map_err(|error| format!("no free port: {error}"))
}

impl Running {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn wait_until_ready(&mut self) -> Result<(), String> {
        let start = Instant::now();
        while start.elapsed() < START_MAX {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("ended at its start: {status}"));
            }
            if self.ask(&["PING"]).is_ok_and(|reply| reply == ["+PONG"]) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Err(format!("does not answer PING after {} s", START_MAX.as_secs()))
    }

    /// A comparison is fair only when the server really does what it was told.
    fn check_durability(&self, mode: Mode) -> Result<(), String> {
        for (directive, expected) in [("appendonly", mode.appendonly()), ("appendfsync", mode.appendfsync())] {
            let reply = self.ask(&["CONFIG", "GET", directive])?;
            if reply.last().map(String::as_str) != Some(expected) {
                return Err(format!("CONFIG GET {directive} says {reply:?} where {expected} was asked for"));
            }
        }
        Ok(())
    }

    /// The most specific `*_version` of INFO.
    fn read_version(&self) -> String {
        let info = self.ask(&["INFO", "server"]).unwrap_or_default();
        let field = |name: &str| info.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::to_owned);
        let names = ["shardis_version", "kevy_version", "valkey_version", "redis_version"];
        names.into_iter().find_map(field).unwrap_or_else(|| "unknown".to_owned())
    }

    /// The lines of the reply to one command on a connection of its own.
    fn ask(&self, words: &[&str]) -> Result<Vec<String>, String> {
        ask(self.address, words).map_err(|error| format!("{}: {error}", words.join(" ")))
    }

    /// The last lines that the server printed, for an error message.
    fn output(&self) -> String {
        let text = std::fs::read_to_string(self.folder.join("output.txt")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }

    fn stop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let start = Instant::now();
        while start.elapsed() < STOP_MAX {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn ask(address: SocketAddr, words: &[&str]) -> std::io::Result<Vec<String>> {
    let stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    let mut request = format!("*{}\r\n", words.len());
    words.iter().for_each(|word| request += &format!("${}\r\n{word}\r\n", word.len()));
    (&stream).write_all(request.as_bytes())?;
    let mut input = BufReader::new(&stream);
    let mut lines = Vec::new();
    read_reply(&mut input, &mut lines)?;
    Ok(lines)
}

/// Flat: arrays add their elements' lines, a bulk string adds its own.
fn read_reply(input: &mut BufReader<&TcpStream>, lines: &mut Vec<String>) -> std::io::Result<()> {
    let mut line = String::new();
    input.read_line(&mut line)?;
    let line = line.trim_end();
    match line.split_at_checked(1) {
        Some(("*", count)) => {
            for _ in 0..count.parse::<usize>().unwrap_or(0) {
                read_reply(input, lines)?;
            }
        }
        Some(("$", length)) => {
            let mut bulk = vec![0; length.parse::<usize>().map_or(0, |length| length + 2)];
            input.read_exact(&mut bulk)?;
            lines.extend(String::from_utf8_lossy(&bulk).trim_end().split("\r\n").map(str::to_owned));
        }
        Some(_) => lines.push(line.to_owned()),
        None => return Err(std::io::ErrorKind::UnexpectedEof.into()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_server_is_an_error_only_when_it_was_asked_for() {
        let missing = ["nowhere".to_owned()];
        assert!(find(&missing, &[], &[]).is_err());
        let given = find(&missing, &["nowhere=/bin/true".to_owned()], &["nowhere=--a b".to_owned()]).expect("given");
        assert_eq!(given[0].program, Path::new("/bin/true"));
        assert_eq!(given[0].extra, ["--a", "b"]);
    }
}
