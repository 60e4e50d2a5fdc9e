//! What passes between shards: commands for other shards' keys, transactions over several shards, marks and cuts.
//!
//! One coordinator (on shard 0) puts everything that touches several shards into one order, `Seq`, and sends each shard its parts in
//! that order. Every shard executes them in that order, so they stand in the same order in every log.
//! The full protocol with its reasons: `docs/protocol.md`.

mod args;
mod closure;
mod coordinator;
mod manifest_writer;
mod message;

pub use args::PackedArgs;
pub use coordinator::{Coordinator, CoordinatorOutput, EVERYSEC_PERIOD_MS, Job, JobId, JobResult};
pub use message::{BarrierAction, Deps, Kind, LentEntry, Message, Request, Run, Transaction};
