//! Reads a configuration file: one directive per line, `#` comments, quoted words, `include`.

use super::Config;
use super::kind::Kind;
use super::table::{DIRECTIVES, find};
use shards::commands::glob_matches;
use shards::rdb::quoting::split_words;
use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};

/// A file that includes itself must not go on for ever.
const INCLUDE_DEPTH_MAX: usize = 16;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileError {
    /// Where the line stands: a path, or "the command line", "standard input".
    pub origin: String,
    /// From 1; 0 = the file as a whole.
    pub line: usize,
    pub text: String,
    pub reason: String,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            return write!(f, "Fatal error, can't open config file '{}': {}", self.origin, self.reason);
        }
        writeln!(f, "\n*** FATAL CONFIG FILE ERROR (Shardis {}) ***", env!("CARGO_PKG_VERSION"))?;
        writeln!(f, "Reading the configuration file, at line {} of {}", self.line, self.origin)?;
        write!(f, ">>> '{}'\n{}", self.text, self.reason)
    }
}

impl std::error::Error for FileError {}

/// One reading, over all files, standard input and the command line.
pub struct Loader {
    pub config: Config,
    /// Directives met: the first `save` line replaces the default, the next ones add to it.
    seen: HashSet<usize>,
}

impl Loader {
    pub fn new() -> Loader {
        Loader { config: Config::default(), seen: HashSet::new() }
    }

    /// The main file: CONFIG REWRITE will change it.
    pub fn main_file(&mut self, path: &Path) -> Result<(), FileError> {
        self.file(path, 0)?;
        // Absolute now: `path` is relative to the directory of the start.
        self.config.file = Some(std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf()));
        Ok(())
    }

    fn file(&mut self, path: &Path, depth: usize) -> Result<(), FileError> {
        let origin = path.display().to_string();
        let whole = |reason: String| FileError { origin: origin.clone(), line: 0, text: String::new(), reason };
        if depth > INCLUDE_DEPTH_MAX {
            return Err(whole(format!("included more than {INCLUDE_DEPTH_MAX} files deep")));
        }
        let bytes = std::fs::read(path).map_err(|error| whole(error.to_string()))?;
        self.bytes(&bytes, &origin, depth)
    }

    pub fn bytes(&mut self, bytes: &[u8], origin: &str, depth: usize) -> Result<(), FileError> {
        for (i, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
            let line = line.trim_ascii();
            let at_line =
                |reason| FileError { origin: origin.into(), line: i + 1, text: String::from_utf8_lossy(line).into(), reason };
            match parse_line(line).map_err(at_line)? {
                Some(words) if words[0].eq_ignore_ascii_case("include") && words.len() == 2 => self.include(&words[1], depth)?,
                Some(words) => self.directive(&words[0], &words[1..]).map_err(at_line)?,
                None => {}
            }
        }
        Ok(())
    }

    /// A pattern may match nothing; a plain name must exist.
    fn include(&mut self, pattern: &str, depth: usize) -> Result<(), FileError> {
        if !pattern.contains(['*', '?', '[']) {
            return self.file(Path::new(pattern), depth + 1);
        }
        for path in matching_files(pattern) {
            self.file(&path, depth + 1)?;
        }
        Ok(())
    }

    pub fn directive(&mut self, name: &str, words: &[String]) -> Result<(), String> {
        let index = find(name).ok_or("Bad directive or wrong number of arguments")?;
        let kind = DIRECTIVES[index].kind;
        let words: Vec<&str> = words.iter().map(|word| &word[..]).collect();
        let first = self.seen.insert(index);
        let before = match kind {
            Kind::SavePoints(_) if first => "",
            _ => &self.config.texts[index],
        };
        let text = kind.parse(&words, before)?;
        if let Kind::Lines { .. } = kind {
            self.config.lines.push((index, words.into_iter().map(String::from).collect()));
        }
        self.config.texts[index] = text;
        if DIRECTIVES[index].name == "rename-command" {
            self.config.command_names()?;
        }
        Ok(())
    }
}

/// `None` for blank lines and comments.
pub fn parse_line(line: &[u8]) -> Result<Option<Vec<String>>, String> {
    if line.is_empty() || line.starts_with(b"#") {
        return Ok(None);
    }
    let words = split_words(line).ok_or("Unbalanced quotes in configuration line")?;
    let words: Result<Vec<String>, _> = words.into_iter().map(String::from_utf8).collect();
    let words = words.map_err(|_| "the line is not UTF-8")?;
    Ok(Some(words).filter(|words| !words.is_empty()))
}

/// Files whose name matches; only the last component may be a pattern. Sorted.
fn matching_files(pattern: &str) -> Vec<PathBuf> {
    let (dir, name_pattern) =
        pattern.rsplit_once('/').map_or((".", pattern), |(dir, name)| (if dir.is_empty() { "/" } else { dir }, name));
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let matches = |name: &str| glob_matches(name_pattern.as_bytes(), name.as_bytes(), true) && !name.starts_with('.');
    let mut files: Vec<PathBuf> =
        entries.filter(|entry| entry.file_name().to_str().is_some_and(matches)).map(|entry| entry.path()).collect();
    files.sort();
    files
}
