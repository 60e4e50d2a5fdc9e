//! A shard's part of a base: the state at a cut, written while the shard goes on.
//!
//! ```text
//! cut ── begin_walk ── steps between requests; pre-images as they come ── walk done ── big values, in pieces ── end, sync ── BaseFile
//!                       small entries → body 1                                         → body 2
//! ```
//! A pre-image can't be put into the middle of a half-written big value, so big values go into a body of their own behind the small
//! ones; until then the sink holds a clone, which shares its chunks with the live value.

mod sink;
mod whole;
mod writer;

pub use sink::{BigEntry, Encoder};
pub use whole::write_whole;
pub use writer::{BaseProgress, BaseWriter, Creation};
