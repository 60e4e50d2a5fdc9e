//! The tool on data directories that the engine itself has written, against `redis-server` and its check tools.

mod damage;
mod engine;
mod exchange;
mod peer;

use std::path::{Path, PathBuf};
use std::process::Command;

/// Gone when dropped.
pub struct TempDir(PathBuf);

impl TempDir {
    pub fn new(name: &str) -> TempDir {
        let path = std::env::temp_dir().join(format!("shardis-tool-{name}-{}", std::process::id()));
        _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("temporary directory");
        TempDir(path)
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.0);
    }
}

pub struct Outcome {
    pub status: i32,
    pub text: String,
}

/// Runs the tool. Standard output, then standard error.
pub fn tool(args: &[&dyn AsRef<std::ffi::OsStr>]) -> Outcome {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shardis-tool"));
    args.iter().for_each(|arg| _ = command.arg(arg));
    let output = command.output().expect("the tool runs");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let status = output.status.code().unwrap_or_else(|| panic!("ended by a signal: {text}"));
    assert!(!text.contains("panicked"), "{text}");
    Outcome { status, text }
}

pub fn tool_ok(args: &[&dyn AsRef<std::ffi::OsStr>]) -> String {
    let outcome = tool(args);
    assert_eq!(outcome.status, 0, "{}", outcome.text);
    outcome.text
}

/// Name and bytes of every file below a directory.
pub fn files_below(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("readable").path()) {
        if entry.is_dir() {
            files.extend(files_below(&entry));
        } else {
            files.push((entry.clone(), std::fs::read(&entry).expect("readable")));
        }
    }
    files.sort();
    files
}
