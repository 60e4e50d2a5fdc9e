//! `shardis-tool`: what is done to a data directory while no server runs on it.
//!
//! ```text
//! export   base and log → one standard dump.rdb or appendonly.aof
//! import   standard files → a new data directory
//! check    is everything sound, what would a start load and cut; with --fix, cut what is damaged
//! inspect  manifest, segments, RDB and AOF files in human-readable form
//! ```
//! Exit status: 0 sound or done, 1 damaged or failed, 2 wrong usage (a running server included). The directory is locked meanwhile.
//! Only `import` and `check --fix` write into a data directory.

pub mod check;
pub mod check_file;
pub mod directory;
pub mod disk;
pub mod export;
pub mod import;
pub mod inspect;
mod output;
mod rdb_summary;
mod show;

use std::io::Write;

/// How a task ended that did not fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    Sound,
    Damaged,
}

/// Prints a line to standard output; a closed pipe (`| head`) ends the program quietly.
pub fn say(line: impl std::fmt::Display) {
    if writeln!(std::io::stdout().lock(), "{line}").is_err() {
        std::process::exit(0);
    }
}
