//! What a transaction over several shards holds while it needs more than one hop.

use crate::commands::{self, Effects, Unnamed};
use crate::ids::{DbIndex, Lsn, Seq, ShardId};
use crate::transaction::{LentEntry, Transaction};
use std::collections::HashSet;
use std::sync::Arc;

/// The transaction under way on this shard. There is one at a time: transactions run in the order of their numbers.
pub(super) struct Active {
    pub transaction: Arc<Transaction>,
    /// This shard's keys of it: no other command touches them until it is finished.
    pub keys: HashSet<Vec<u8>>,
    /// Of a whole transaction on the executor: what it has asked for.
    pub unnamed: Option<Unnamed>,
    /// Of a whole transaction: effects of runs that ended with a wish for more keys (deleted expired keys).
    pub effects: Effects,
    /// On the executor: lenders that have not answered.
    pub missing: usize,
    pub lent: Vec<LentEntry>,
    /// What the lenders' values reflect.
    pub needed: Vec<(ShardId, Lsn)>,
}

/// The executor's lenders may be faster than the coordinator's message to the executor itself.
pub(super) struct EarlyLend {
    pub from: ShardId,
    pub seq: Seq,
    pub entries: Vec<LentEntry>,
    pub needed: Lsn,
}

impl Active {
    /// COPY and MOVE reach into another database, so a key is locked in all of them.
    pub fn locks(&self, _db: DbIndex, key: &[u8]) -> bool {
        self.transaction.request.whole || self.keys.contains(key)
    }
}

/// The effects that concern keys of `shard`: each names one key, where its command's table entry says (of XGROUP it is the second argument).
pub(super) fn effects_of(effects: &Effects, shard: ShardId, shards: u16) -> Effects {
    let mut own = Effects::default();
    for (db, resp) in effects.iter() {
        let (args, _) = crate::resp::decode_command(resp).expect("effects are well-formed");
        let command = commands::resolve(&args).expect("effects are commands");
        let mut keys = commands::keys_of(command, &args).expect("effects are right commands");
        let key = args[keys.next().expect("an effect of a gathered command names one key")];
        assert!(keys.next().is_none(), "{}: an effect of a gathered command names one key only", command.name);
        if crate::ids::Slot::of_key(key).shard(shards) == shard {
            own.push(db, &args);
        }
    }
    own
}
