//! Redis's own files: RDB, DUMP payloads and the standard AOF, read and written.
//!
//! | part | what |
//! |---|---|
//! | `format` | the RDB format: opcodes, type codes, lengths; stands here and nowhere else |
//! | `values` | how each type of value is encoded, in pieces, and read |
//! | `writer` | encodes entries, headers and the end into a buffer |
//! | `reader` | yields the items of an RDB from any source of bytes |
//! | `dump` | payloads of DUMP and RESTORE |
//! | `bodies` | one shard's RDB file, and N of them merged into one `dump.rdb` without parsing entries |
//! | `survey` | what a file for readers of an older version will hold, and what it can't say |
//! | `aof`, `aof_manifest` | a standard AOF: commands, RDB preamble, `appendonlydir` |
//! | `old` | packed forms of old files |
//! | `crc64`, `lzf`, `input`, `quoting` | what these are made of |
//!
//! This module never opens a file and never reads the clock: bytes arrive through `Source` and leave in a `Vec<u8>`.

pub mod aof;
pub mod aof_manifest;
pub mod bodies;
pub mod crc64;
pub mod dump;
pub mod format;
pub mod input;
pub mod lzf;
pub mod old;
pub mod quoting;
pub mod reader;
pub mod survey;
pub mod values;
pub mod writer;

pub use crc64::Crc64;
pub use dump::{dump_value, restore_value};
pub use input::{IoSource, Source};
pub use reader::{Item, Reader};

#[cfg(test)]
mod redis_tests;
#[cfg(test)]
mod tests;
