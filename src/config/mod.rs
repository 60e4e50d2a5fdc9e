//! Settings: `redis.conf`, the command line, CONFIG GET, SET and REWRITE.
//!
//! | part | what |
//! |---|---|
//! | `table` | every directive, once |
//! | `kind`, `words` | what values may be |
//! | `file` | reads a configuration file and its includes |
//! | `args` | the command line, `--help` |
//! | `set` | CONFIG GET and CONFIG SET |
//! | `rewrite` | CONFIG REWRITE |
//!
//! A `Config` holds the text of every directive, as CONFIG GET shows it; each text was checked when it was set, so getters can't fail.
//! It is a value: the server keeps one, makes a changed copy, applies it, and only then keeps the copy.

mod args;
mod file;
mod kind;
mod rewrite;
mod set;
mod table;
mod words;

pub use args::{Start, from_args};
pub use set::set_error;
pub use table::{DIRECTIVES, Directive, Meaning};

use shards::commands::Names;
use shards::types::Limits;
use std::path::{Path, PathBuf};
use table::find;

#[derive(Clone, Debug)]
pub struct Config {
    /// One per entry of `DIRECTIVES`.
    texts: Vec<String>,
    /// Directives of which every line is kept (`user`, `rename-command`, …): index, words without the name.
    lines: Vec<(usize, Vec<String>)>,
    /// The file that CONFIG REWRITE changes.
    file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendFsync {
    Always,
    EverySec,
    No,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecoveryAssume {
    Auto,
    ProcessCrash,
    PowerLoss,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SavePoint {
    pub seconds: u64,
    pub changes: u64,
}

impl Default for Config {
    fn default() -> Config {
        let texts = DIRECTIVES.iter().map(default_text).collect();
        Config { texts, lines: Vec::new(), file: None }
    }
}

/// As CONFIG GET shows it.
fn default_text(directive: &Directive) -> String {
    use kind::Kind::Lines;
    if directive.default.is_empty() || matches!(directive.kind, Lines { .. }) {
        return String::new();
    }
    let words: Vec<&str> = match directive.kind.takes_words() {
        true => directive.default.split(' ').collect(),
        false => vec![directive.default],
    };
    directive.kind.parse(&words, "").expect("the defaults of the table are valid; a test reads them all")
}

impl Config {
    /// The text that CONFIG GET shows. Panics on a name that is not in the table.
    pub fn text(&self, name: &str) -> &str {
        &self.texts[find(name).unwrap_or_else(|| panic!("no directive '{name}'"))]
    }

    pub fn flag(&self, name: &str) -> bool {
        match self.text(name) {
            "yes" => true,
            "no" => false,
            other => panic!("directive '{name}' is '{other}', no flag"),
        }
    }

    /// Integers and bytes. Panics on any other kind.
    pub fn number<N: std::str::FromStr>(&self, name: &str) -> N {
        let text = self.text(name);
        text.parse().unwrap_or_else(|_| panic!("directive '{name}' is '{text}', no number of this type"))
    }

    /// The thresholds of the compact encodings.
    pub fn limits(&self) -> Limits {
        Limits {
            hash_max_listpack_entries: self.number("hash-max-listpack-entries"),
            hash_max_listpack_value: self.number("hash-max-listpack-value"),
            list_max_listpack_size: self.number("list-max-listpack-size"),
            set_max_intset_entries: self.number("set-max-intset-entries"),
            set_max_listpack_entries: self.number("set-max-listpack-entries"),
            set_max_listpack_value: self.number("set-max-listpack-value"),
            zset_max_listpack_entries: self.number("zset-max-listpack-entries"),
            zset_max_listpack_value: self.number("zset-max-listpack-value"),
            hll_sparse_max_bytes: self.number("hll-sparse-max-bytes"),
            stream_node_max_bytes: self.number("stream-node-max-bytes"),
            stream_node_max_entries: self.number("stream-node-max-entries"),
        }
    }

    /// Every line of a directive that is kept line by line, without its name.
    pub fn lines(&self, name: &str) -> impl Iterator<Item = &[String]> {
        let index = find(name);
        self.lines.iter().filter(move |(of, _)| Some(*of) == index).map(|(_, words)| &words[..])
    }

    /// What `rename-command` makes of the commands' names.
    pub fn command_names(&self) -> Result<Names, &'static str> {
        let mut names = Names::TABLE;
        for words in self.lines("rename-command") {
            names.rename(words[0].as_bytes(), words[1].as_bytes())?;
        }
        Ok(names)
    }

    /// These settings with the named ones of `other`.
    pub fn with_changes_of(&self, other: &Config, names: &[&str]) -> Config {
        let mut config = self.clone();
        for index in names.iter().filter_map(|name| find(name)) {
            config.texts[index] = other.texts[index].clone();
        }
        config
    }

    /// With what the limit of open files allows: CONFIG GET and INFO tell how many clients are served, as in Redis.
    pub fn with_maxclients(mut self, served: u32) -> Config {
        self.texts[find("maxclients").expect("in the table")] = served.to_string();
        self
    }

    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// One sentence for each setting that was changed and means nothing here.
    pub fn warnings(&self) -> Vec<String> {
        let changed = |i: usize| self.texts[i] != default_text(&DIRECTIVES[i]) || self.lines.iter().any(|(of, _)| *of == i);
        let warn = |(i, directive): (usize, &Directive)| match directive.meaning {
            Meaning::Ignored(why) if changed(i) => Some(format!("'{}' has no effect: {why}", directive.name)),
            _ => None,
        };
        DIRECTIVES.iter().enumerate().filter_map(warn).collect()
    }

    pub fn append_fsync(&self) -> AppendFsync {
        match self.text("appendfsync") {
            "always" => AppendFsync::Always,
            "everysec" => AppendFsync::EverySec,
            _ => AppendFsync::No,
        }
    }

    pub fn recovery_assume(&self) -> RecoveryAssume {
        match self.text("recovery-assume") {
            "process-crash" => RecoveryAssume::ProcessCrash,
            "power-loss" => RecoveryAssume::PowerLoss,
            _ => RecoveryAssume::Auto,
        }
    }

    /// `None`: one per CPU.
    pub fn shards(&self) -> Option<u16> {
        Some(self.number("shards")).filter(|&shards| shards > 0)
    }

    pub fn port(&self) -> u16 {
        self.number("port")
    }

    /// Addresses without the `-` that marks the optional ones, and whether they are optional. `*` = all of IPv4, `::*` = all of IPv6.
    pub fn bind(&self) -> Vec<(&str, bool)> {
        let words = self.text("bind").split_ascii_whitespace();
        words.map(|word| word.strip_prefix('-').map_or((word, false), |rest| (rest, true))).collect()
    }

    pub fn save_points(&self) -> Vec<SavePoint> {
        let numbers: Vec<u64> = self.numbers("save");
        numbers.chunks_exact(2).map(|pair| SavePoint { seconds: pair[0], changes: pair[1] }).collect()
    }

    fn numbers(&self, name: &str) -> Vec<u64> {
        let parse = |word: &str| word.parse().expect("checked when it was set");
        self.text(name).split_ascii_whitespace().map(parse).collect()
    }

    /// The data directory, absolute. May not exist yet: see `open_dir`.
    pub fn dir(&self) -> PathBuf {
        let dir = Path::new(self.text("dir"));
        std::path::absolute(dir).unwrap_or_else(|_| dir.to_path_buf())
    }

    /// The data directory. Only the default is made when it is missing: a missing directory that somebody named is a typing
    /// error, or a disk that is not mounted, and an empty one in its place would look like lost data.
    pub fn open_dir(&self) -> std::io::Result<PathBuf> {
        let dir = self.dir();
        if self.text("dir") == DIRECTIVES[find("dir").expect("in the table")].default {
            std::fs::create_dir_all(&dir)?;
        }
        std::fs::read_dir(&dir)?;
        Ok(dir)
    }
}

#[cfg(test)]
mod tests;
