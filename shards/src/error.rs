//! Faults of the world: what failed, on which file, where, and why.

use std::fmt;

/// A fault with everything a person needs to find it: `reading shard-0003/17.aof @ 81920: crc 1f2e…, expected 9ab0…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    pub kind: ErrorKind,
    /// What was being done, as a participle: "reading", "creating".
    pub operation: &'static str,
    /// Relative to the data directory unless it came from the user.
    pub path: String,
    /// Byte offset in the file, where that means something.
    pub offset: Option<u64>,
    pub cause: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The operating system refused; the cause is its text.
    Io,
    /// The bytes are not what was once written.
    Corrupt,
    /// The file is sound but of a version or kind that this program does not read.
    Unsupported,
    /// A named limit was reached.
    Limit,
    /// The user asked for something that can't be done.
    Usage,
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub fn corrupt(path: impl Into<String>, offset: u64, cause: impl Into<String>) -> Error {
        Error { kind: ErrorKind::Corrupt, operation: "reading", path: path.into(), offset: Some(offset), cause: cause.into() }
    }

    pub fn io(operation: &'static str, path: impl Into<String>, cause: &std::io::Error) -> Error {
        Error { kind: ErrorKind::Io, operation, path: path.into(), offset: None, cause: cause.to_string() }
    }

    pub fn unsupported(path: impl Into<String>, offset: u64, cause: impl Into<String>) -> Error {
        Error { kind: ErrorKind::Unsupported, ..Error::corrupt(path, offset, cause) }
    }

    /// Says which key it is about.
    pub fn of_key(mut self, key: &[u8]) -> Error {
        self.cause = format!("key '{}': {}", key.escape_ascii(), self.cause);
        self
    }

    pub fn usage(path: impl Into<String>, cause: impl Into<String>) -> Error {
        Error { kind: ErrorKind::Usage, operation: "using", path: path.into(), offset: None, cause: cause.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.operation, self.path)?;
        if let Some(offset) = self.offset {
            write!(f, " @ {offset}")?;
        }
        write!(f, ": {}", self.cause)
    }
}

impl std::error::Error for Error {}
