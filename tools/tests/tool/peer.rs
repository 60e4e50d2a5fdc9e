//! `redis-server` and its check tools, which `tests/install` installs: without them these tests fail.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Database and key to value and expiry (Unix milliseconds, -1 = none).
pub type Content = BTreeMap<(u16, Vec<u8>), (Vec<u8>, i64)>;

/// Ended when dropped, also by a failing test.
pub struct Redis {
    process: Child,
    connection: BufReader<TcpStream>,
}

impl Drop for Redis {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

impl Redis {
    /// On a free port of the loopback; waits until it has loaded its files.
    pub fn start(dir: &Path, options: &[&str]) -> Redis {
        let port = TcpListener::bind("127.0.0.1:0").expect("free port").local_addr().expect("address").port();
        let mut command = Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"]).arg(dir).args(options);
        let log = std::fs::File::create(dir.join("redis.log")).expect("log");
        let process = command.stdout(Stdio::from(log)).spawn().expect("redis-server is there: run tests/install");
        let mut process = Some(process);
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Ok(connection) = TcpStream::connect(("127.0.0.1", port)) {
                let process = process.take().expect("returned at once");
                let mut server = Redis { process, connection: BufReader::new(connection) };
                while server.call(&[b"PING"]) != b"PONG" {
                    std::thread::sleep(Duration::from_millis(10));
                }
                return server;
            }
            if Instant::now() > deadline {
                _ = process.as_mut().map(Child::kill);
                panic!("redis-server does not start: {}", std::fs::read_to_string(dir.join("redis.log")).unwrap_or_default());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The reply without its type; the elements of an array one per line.
    pub fn call(&mut self, args: &[&[u8]]) -> Vec<u8> {
        let mut request = Vec::new();
        shards::rdb::aof::encode_command(&mut request, args);
        self.connection.get_mut().write_all(&request).expect("request");
        self.reply()
    }

    fn reply(&mut self) -> Vec<u8> {
        let mut line = Vec::new();
        self.connection.read_until(b'\n', &mut line).expect("reply");
        line.truncate(line.len().checked_sub(2).expect("redis-server answers"));
        let number = || std::str::from_utf8(&line[1..]).expect("ascii").parse::<usize>().expect("number");
        match line[0] {
            b'$' if line != b"$-1" => {
                let mut bulk = vec![0; number() + 2];
                self.connection.read_exact(&mut bulk).expect("bulk");
                bulk.truncate(bulk.len() - 2);
                bulk
            }
            b'*' => (0..number()).map(|_| self.reply()).collect::<Vec<_>>().join(&b'\n'),
            _ => line[1..].to_vec(),
        }
    }

    /// Keys must not hold a newline.
    pub fn content(&mut self) -> Content {
        let mut content = Content::new();
        for db in 0..16u16 {
            self.call(&[b"SELECT", db.to_string().as_bytes()]);
            for key in self.call(&[b"KEYS", b"*"]).split(|&byte| byte == b'\n').filter(|key| !key.is_empty()) {
                let value = self.call(&[b"GET", key]);
                let expire = String::from_utf8(self.call(&[b"PEXPIRETIME", key])).expect("ascii").parse().expect("number");
                content.insert((db, key.to_vec()), (value, expire));
            }
        }
        content
    }
}

/// Runs one of the check tools; its output when it finds nothing.
pub fn approve(tool: &str, file: &Path) -> String {
    let output = Command::new(tool).arg(file).output().unwrap_or_else(|e| panic!("{tool} is there (run tests/install): {e}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{tool} {}: {text}{}", file.display(), String::from_utf8_lossy(&output.stderr));
    text
}
