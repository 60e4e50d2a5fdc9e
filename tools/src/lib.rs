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
//!
//! Without the feature `tool`, only the blocking `disk` is here: the server starts with it.

pub mod disk;

#[cfg(feature = "tool")]
pub mod check;
#[cfg(feature = "tool")]
pub mod check_file;
#[cfg(feature = "tool")]
pub mod directory;
#[cfg(feature = "tool")]
pub mod export;
#[cfg(feature = "tool")]
pub mod import;
#[cfg(feature = "tool")]
pub mod inspect;
#[cfg(feature = "tool")]
mod output;
#[cfg(feature = "tool")]
mod progress;
#[cfg(feature = "tool")]
mod rdb_summary;
#[cfg(feature = "tool")]
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
