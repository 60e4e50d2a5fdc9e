//! The append-only log of one shard: format, writer and reader.

pub mod format;
pub mod reader;
pub mod writer;

pub use format::{FsyncMode, Record};
pub use writer::LogWriter;
