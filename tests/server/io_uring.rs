//! The log goes to the disk through io_uring, and through nothing else.

use crate::harness::{Dir, Server, ok};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const VALUE: &str = "a-value-that-is-easy-to-find";

/// strace shows every system call that writes; `-y` names the file behind each descriptor. The ring's writes are none of them.
#[test]
fn log_bytes_go_through_io_uring() {
    for mode in ["always", "everysec"] {
        let dir = Dir::new();
        let server = Server::start(&dir, &["--shards", "1", "--appendonly", "yes", "--appendfsync", mode]);
        let trace = dir.file("trace");
        let mut strace = Command::new("strace")
            .args(["-f", "-y", "-e", "trace=write,pwrite64,writev,pwritev,pwritev2,sendfile,copy_file_range", "-o"])
            .arg(&trace)
            .args(["-p", &server.pid().to_string()])
            .stderr(Stdio::null())
            .spawn()
            .expect("strace: tests/install installs it");
        let mut client = server.client();
        let begun = Instant::now();
        // Attached as soon as an ordinary write of the server (it wakes itself by one) is in the trace.
        while std::fs::read_to_string(&trace).unwrap_or_default().is_empty() {
            assert!(begun.elapsed() < Duration::from_secs(30), "strace did not attach");
            client.call("bgsave");
            std::thread::sleep(Duration::from_millis(20));
        }
        for i in 0..200 {
            assert_eq!(client.call(&format!("set key:{i} {VALUE}")), ok());
        }
        let big = "x".repeat(300_000);
        assert_eq!(client.call(&format!("set big {big}")), ok());
        assert!(Command::new("kill").args(["-INT", &strace.id().to_string()]).status().expect("kill").success());
        strace.wait().expect("our child");
        server.kill();
        let trace = std::fs::read_to_string(&trace).expect("the trace");
        let plain: Vec<&str> = trace.lines().filter(|line| line.contains(".seg>")).collect();
        assert!(plain.is_empty(), "{mode}: the log was written by a plain system call: {:?}", plain[0]);
        let segments: Vec<_> =
            std::fs::read_dir(dir.path().join("shard-0000")).expect("the shard's directory").flatten().collect();
        let segments = segments.iter().map(|file| file.path()).filter(|path| path.extension().is_some_and(|e| e == "seg"));
        let found: usize = segments.map(|path| count(&std::fs::read(path).expect("a segment"), VALUE.as_bytes())).sum();
        assert!(found >= 200, "{mode}: only {found} of 200 values are in the log");
    }
}

fn count(bytes: &[u8], word: &[u8]) -> usize {
    bytes.windows(word.len()).filter(|window| *window == word).count()
}
