//! The files of a running server, read while it stands still.

use super::decision::{Assume, decide};
use super::load::{Parallel, load};
use crate::disk::{Disk, read_all};
use crate::error::{Error, ErrorKind, Result};
use crate::keyspace::{Keyspace, KeyspaceOptions};
use crate::manifest::{BYTES_MAX, Manifest, PATH};

/// What a start after a kill at this moment would load. Reads only. An error when there is neither a base nor a log: an empty state
/// would be what nobody has ever saved.
pub fn read_back(disk: &dyn Disk, shards: u16, options: KeyspaceOptions, parallel: &dyn Parallel) -> Result<Vec<Keyspace>> {
    let missing = |cause: &str| Error {
        kind: ErrorKind::Corrupt,
        operation: "reading back",
        path: PATH.into(),
        offset: None,
        cause: cause.into(),
    };
    let bytes = read_all(disk, PATH, BYTES_MAX)?.ok_or_else(|| missing("there is no manifest"))?;
    let manifest = Manifest::decode(&bytes)?;
    if manifest.base.is_none() && !manifest.generations.iter().any(|generation| generation.logged) {
        return Err(missing("nothing has been saved yet"));
    }
    // The page cache is what it was: this very process is alive.
    let decision = decide(disk, &manifest, Assume::ProcessCrash)?;
    load(disk, &manifest, &decision, shards, options, parallel)
}
