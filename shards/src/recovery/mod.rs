//! From the files of a data directory to keyspaces, and to the manifest of a new generation.
//!
//! `decide` and `load` only read; `open` is what a start does. The decision table (a test per row, `decision.rs`):
//!
//! | manifest | state, crash | found | action |
//! |---|---|---|---|
//! | none | | nothing | empty keyspace |
//! | none | | segments or bases in shard directories, no `shardis.importing` | stop: the manifest is lost |
//! | none | | dump.rdb, appendonly.aof, appendonlydir | import them |
//! | none | | the same, `shardis.importing` and files of shards | remove these files, import again |
//! | none | | `shardis.importing` and files of shards, nothing to import | stop: an import was interrupted |
//! | unreadable | | | stop, naming file and offset |
//! | sound | log ended (clean stop, earlier generation) | all records up to the end | load exactly these |
//! | sound | log ended | fewer | stop: damage |
//! | sound | process crash | valid prefixes | load the largest closed set of them; marks cut nothing |
//! | sound | power loss, newest complete mark says `always` | valid prefixes | load the largest closed set of them |
//! | sound | power loss, newest complete mark says another mode | valid prefixes | load up to that mark |
//! | sound | any | a listed file is missing, too short, of another id | stop: damage |
//! | sound | any | invalid bytes below what a later frame calls durable | stop: damage |
//!
//! *Process crash* is believed only when the boot id and the manifest's inode and birth time are those it was written with, and no
//! write had failed. Everything else means that the page cache was lost.

mod closed_set;
mod decision;
mod load;
mod open;
mod read_back;

pub use decision::{Assume, Crash, Decision, Examination, ExaminedLog, GenerationEnds, ShardCut, decide, examine};
pub use load::{FileSource, Parallel, Sequential, check_commands_crc, load, redistribute, replay_command};
pub use open::{Found, OpenOptions, Opened, commit, end_import, import, look, make_durable, open, shard_files, write_base};
pub use read_back::read_back;
