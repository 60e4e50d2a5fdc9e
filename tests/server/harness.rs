//! A running server, and a client that speaks just enough RESP to look at replies byte by byte.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

/// A directory that is removed at the end.
pub struct Dir(PathBuf);

impl Dir {
    pub fn new() -> Dir {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("shardis-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a temporary directory");
        Dir(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.0);
    }
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound").port()
}

pub struct Server {
    child: Child,
    pub port: u16,
    log: PathBuf,
}

impl Server {
    /// Starts and waits for the ready line.
    pub fn start(dir: &Dir, args: &[&str]) -> Server {
        Server::start_by(Server::program(), dir, args)
    }

    /// The server's program, for what a test has to say before the arguments of the harness.
    pub fn program() -> Command {
        Command::new(env!("CARGO_BIN_EXE_shardis-server"))
    }

    /// A write behind a limit that is set later (RLIMIT_FSIZE) fails and does not end the process.
    pub fn start_ignoring_file_limits(dir: &Dir, args: &[&str]) -> Server {
        let mut program = Command::new("sh");
        program.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_shardis-server")]);
        Server::start_by(program, dir, args)
    }

    /// `start` with a program of the test's own.
    pub fn start_by(program: Command, dir: &Dir, args: &[&str]) -> Server {
        let mut server = Server::launch_by(program, dir, args);
        let begun = Instant::now();
        while !server.log().contains("Ready to accept connections tcp") {
            assert!(begun.elapsed() < PATIENCE, "not ready in time:\n{}", server.log());
            if let Some(status) = server.child.try_wait().expect("our child") {
                panic!("the server ended ({status}):\n{}", server.log());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        server
    }

    pub fn launch(dir: &Dir, args: &[&str]) -> Server {
        Server::launch_by(Server::program(), dir, args)
    }

    fn launch_by(mut program: Command, dir: &Dir, args: &[&str]) -> Server {
        let port = free_port();
        let log = dir.file(&format!("log-{port}"));
        let out = std::fs::File::create(&log).expect("a log file");
        let child = program
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir"])
            .arg(dir.path())
            .args(args)
            .stdout(out.try_clone().expect("our file"))
            .stderr(out)
            .spawn()
            .expect("the server's binary");
        Server { child, port, log }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn client(&self) -> Client {
        Client::connect(self.port)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// As kill -9.
    pub fn kill(mut self) {
        self.child.kill().expect("our child");
        self.child.wait().expect("our child");
    }

    pub fn terminate(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill").success());
    }

    /// The exit code once it ends by itself.
    pub fn wait(mut self) -> i32 {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("our child") {
                return status.code().unwrap_or(-1);
            }
            assert!(begun.elapsed() < PATIENCE, "still running:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

#[derive(Clone, PartialEq, Debug)]
pub enum Reply {
    Simple(String),
    Error(String),
    Integer(i64),
    Bulk(Vec<u8>),
    Null,
    Array(Vec<Reply>),
}

pub fn bulk(text: &str) -> Reply {
    Reply::Bulk(text.into())
}

pub fn ok() -> Reply {
    Reply::Simple("OK".into())
}

pub struct Client {
    pub stream: TcpStream,
    reader: BufReader<TcpStream>,
}

pub fn encode(args: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        bytes.extend(format!("${}\r\n", arg.len()).bytes());
        bytes.extend_from_slice(arg);
        bytes.extend(b"\r\n");
    }
    bytes
}

impl Client {
    pub fn connect(port: u16) -> Client {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        stream.set_nodelay(true).expect("a socket");
        let reader = BufReader::new(stream.try_clone().expect("a socket"));
        Client { stream, reader }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server reads");
    }

    /// None: the connection was closed.
    pub fn ask(&mut self, args: &[impl AsRef<[u8]>]) -> Option<Reply> {
        let args: Vec<&[u8]> = args.iter().map(AsRef::as_ref).collect();
        self.stream.write_all(&encode(&args)).ok()?;
        self.try_reply()
    }

    pub fn call(&mut self, line: &str) -> Reply {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        self.call_args(&words)
    }

    pub fn call_args(&mut self, args: &[&[u8]]) -> Reply {
        self.send(&encode(args));
        self.reply()
    }

    pub fn reply(&mut self) -> Reply {
        self.try_reply().expect("a reply")
    }

    /// None: the connection was closed before or within the reply.
    pub fn try_reply(&mut self) -> Option<Reply> {
        let mut line = Vec::new();
        match self.reader.read_until(b'\n', &mut line) {
            Ok(_) if !line.ends_with(b"\n") => return None,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
            Err(error) => panic!("reading a reply: {error}"),
        }
        let text = String::from_utf8(line[1..line.len() - 2].to_vec()).expect("the first line is text");
        let length = || text.parse::<i64>().expect("a length");
        Some(match line[0] {
            b'+' => Reply::Simple(text),
            b'-' => Reply::Error(text),
            b':' => Reply::Integer(length()),
            b'$' if length() < 0 => Reply::Null,
            b'$' => {
                let mut bytes = vec![0; length() as usize + 2];
                self.reader.read_exact(&mut bytes).ok()?;
                bytes.truncate(bytes.len() - 2);
                Reply::Bulk(bytes)
            }
            b'*' if length() < 0 => Reply::Null,
            b'*' => Reply::Array((0..length()).map(|_| self.try_reply()).collect::<Option<_>>()?),
            other => panic!("a reply begins with {:?}", other as char),
        })
    }

    /// One field of INFO.
    pub fn info(&mut self, field: &str) -> String {
        let Reply::Bulk(text) = self.call("info all") else { panic!("INFO is a string") };
        let text = String::from_utf8(text).expect("text");
        let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        value.unwrap_or_else(|| panic!("no field {field} in {text}")).to_string()
    }
}

/// A real Redis on a directory, to read what was exported.
pub struct Redis {
    child: Child,
    pub port: u16,
}

impl Redis {
    pub fn start(dir: &Path, args: &[&str]) -> Redis {
        Redis::start_program(Path::new("redis-server"), dir, &[], args)
    }

    /// With arguments in front of those of the harness: a configuration file.
    pub fn start_with(dir: &Path, first: &[&str], args: &[&str]) -> Redis {
        Redis::start_program(Path::new("redis-server"), dir, first, args)
    }

    /// One of the servers that `tests/install` puts under target/peers.
    pub fn start_peer(name: &str, dir: &Path, args: &[&str]) -> Redis {
        Redis::start_program(&Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers/bin").join(name), dir, &[], args)
    }

    fn start_program(program: &Path, dir: &Path, first: &[&str], args: &[&str]) -> Redis {
        let port = free_port();
        let child = Command::new(program)
            .args(first)
            .args(["--port", &port.to_string(), "--dir"])
            .arg(dir)
            .args(args)
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{} is not there ({error}): run tests/install", program.display()));
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err()
            || Client::connect(port).call("ping") != Reply::Simple("PONG".into())
        {
            assert!(begun.elapsed() < Duration::from_secs(20), "{} does not start", program.display());
            std::thread::sleep(Duration::from_millis(10));
        }
        Redis { child, port }
    }

    pub fn client(&self) -> Client {
        Client::connect(self.port)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// Repeatable choices.
pub struct Random(pub u64);

impl Random {
    /// SplitMix64 (Steele, Lea, Flood 2014).
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub fn one_of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len() as u64) as usize]
    }
}

/// A number given in the environment, or the default.
pub fn number_of(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable} must be a number")))
}
