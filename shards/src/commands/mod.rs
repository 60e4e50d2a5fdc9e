//! Every command: one table entry and one function, both in the file of the command's family.
//!
//! A handler changes the keyspace through its `Ctx`, writes exactly one reply, and states its *effect*: what must be
//! replayed to make the same change, in absolute and deterministic form. Handlers never see logs, shards or sockets.
//!
//! To add a command: its entry in its family's `COMMANDS` and its function below. A new family: one line in `FAMILIES`.

mod argument_syntax;
mod arguments;
mod bitfield;
mod bitmaps;
mod clients;
mod cluster;
mod command_info;
mod connection;
mod context;
mod counters;
mod databases;
mod effects;
mod elements;
mod engine;
mod events;
mod expiry;
mod expiry_time;
mod field_expiry;
mod field_values;
mod geo;
mod geohash;
mod glob;
mod hashes;
mod hyperloglogs;
mod keys;
mod lists;
mod long_double;
mod lookup;
mod memory;
mod modules;
mod names;
mod objects;
mod replication;
mod run;
mod set_algebra;
mod sets;
mod sort;
mod stream_arguments;
mod stream_groups;
mod stream_info;
mod stream_pending;
mod stream_reads;
mod streams;
mod strings;
mod substrings;
mod table;
mod zsets;
mod zsets_algebra;
mod zsets_pops;
mod zsets_ranges;

pub use arguments::reply_help;
pub use clients::client_line;
pub use connection::REDIS_VERSION;
pub use context::{CommandStats, Ctx, Session, Unnamed};
pub use databases::{ScanOptions, parse_scan, random_key, scan_step};
pub use effects::{EFFECT_HEADER_BYTES, Effects, iter_bytes};
pub use events::{Event, EventClasses};
pub use glob::glob_matches;
pub use hashes::expire_fields_of;
pub use lookup::{Keys, all, by_name, keys_of, lookup, resolve, wrong_number};
pub use names::Names;
pub use objects::DEBUG_OBJECT;
pub use run::run_data;
pub use table::{Command, EngineCommand, Home, KeyFinder, KeySpec, Merge, Multi, Route, Run, Spec, SpecBegin, SpecFind, flags};

/// The whole table. Entries of one family stand in its file.
static FAMILIES: &[&[Command]] = &[
    strings::COMMANDS,
    counters::COMMANDS,
    substrings::COMMANDS,
    bitmaps::COMMANDS,
    bitfield::COMMANDS,
    hyperloglogs::COMMANDS,
    hashes::COMMANDS,
    field_expiry::COMMANDS,
    field_values::COMMANDS,
    sets::COMMANDS,
    set_algebra::COMMANDS,
    zsets::COMMANDS,
    zsets_ranges::COMMANDS,
    zsets_pops::COMMANDS,
    zsets_algebra::COMMANDS,
    geo::COMMANDS,
    lists::COMMANDS,
    streams::COMMANDS,
    stream_reads::COMMANDS,
    stream_groups::COMMANDS,
    stream_pending::COMMANDS,
    stream_info::COMMANDS,
    keys::COMMANDS,
    expiry::COMMANDS,
    objects::COMMANDS,
    databases::COMMANDS,
    connection::COMMANDS,
    clients::COMMANDS,
    command_info::COMMANDS,
    engine::COMMANDS,
    memory::COMMANDS,
    replication::COMMANDS,
    cluster::COMMANDS,
    modules::COMMANDS,
    sort::COMMANDS,
];

#[cfg(test)]
mod tests;
