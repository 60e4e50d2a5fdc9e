//! Every command: one table entry and one function.
//!
//! A handler changes the keyspace through its `Ctx`, writes exactly one reply, and states its *effect*: what must be
//! replayed to make the same change, in absolute and deterministic form. Handlers never see logs, shards or sockets.

mod context;
mod effects;
mod table;

pub use context::{CommandStats, Ctx, Session};
pub use effects::{Effects, iter_bytes};
pub use table::{Command, EngineCommand, Home, KeySpec, Merge, Multi, Route, Run, flags, lookup};
