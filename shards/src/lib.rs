//! The engine of Shardis: keyspace, types, commands, log, snapshot, recovery and the cross-shard protocol.
//!
//! A deterministic state machine. This crate has no sockets, starts no threads, reads no clock and draws no
//! randomness: time, seeds and the disk arrive as arguments. The server drives it with glommio, the simulation
//! drives it from one seed, the tools drive it with blocking files.
//!
//! Imports point only downwards (checked by `tests/imports.rs` of the root package):
//! `error`, `ids` < `resp`, `disk` < `types` < `rdb`, `keyspace` < `commands`, `log` < `manifest` < `snapshot`
//! < `transaction`, `recovery` < `shard`.
//!
//! (Scores of sorted sets are numbers as text, which `resp` reads and writes. The manifest keeps modes and segments of the log; a snapshot writes what the manifest lists.)

pub mod commands;
pub mod disk;
pub mod error;
pub mod ids;
pub mod keyspace;
pub mod log;
pub mod manifest;
pub mod rdb;
pub mod recovery;
pub mod resp;
pub mod shard;
pub mod snapshot;
pub mod transaction;
pub mod types;
