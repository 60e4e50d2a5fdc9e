//! SCAN and RANDOMKEY over all shards.
//!
//! A cursor is `position << SHARD_BITS | shard`, below 2^53 so that every client can hold it: the scan walks one shard after another.

use super::connection::Parts;
use super::merge::header_number;
use crate::commands::{self, Ctx, parse_scan, scan_step};
use crate::ids::ShardId;
use crate::resp::{Protocol, Reply};

/// 40 bits of position (keyspace) and 13 of shard: 53.
const SHARD_BITS: u32 = 13;

/// The shard that a SCAN goes on at. A cursor that no server gave out begins at shard 0; what is no number is refused there.
pub(super) fn shard_of_cursor(args: &[&[u8]], shards: u16) -> ShardId {
    let text = args.get(1).and_then(|arg| std::str::from_utf8(arg).ok());
    let cursor: u64 = text.and_then(|text| text.parse().ok()).unwrap_or(0);
    let shard = (cursor & ((1 << SHARD_BITS) - 1)) as u16;
    ShardId(if shard < shards { shard } else { 0 })
}

/// One step of SCAN on this shard's keys.
pub(super) fn scan(ctx: &mut Ctx<'_>, shard: ShardId, shards: u16, args: &[&[u8]]) {
    let (cursor, options) = match parse_scan(args) {
        Ok(parsed) => parsed,
        Err(text) => return ctx.reply.error(&text),
    };
    let mut keys = Vec::new();
    let next = scan_step(ctx, cursor >> SHARD_BITS, options.count, &options, &mut keys);
    let cursor = match next {
        0 if shard.0 + 1 < shards => (shard.0 + 1) as u64,
        0 => 0,
        next => next << SHARD_BITS | shard.0 as u64,
    };
    ctx.reply.array(2);
    ctx.reply.bulk(cursor.to_string().as_bytes());
    ctx.reply.array(keys.len());
    keys.iter().for_each(|key| ctx.reply.bulk(key));
}

/// RANDOMKEY on the only shard; of several, this shard's part: how many keys it has, and one of them.
pub(super) fn random_key(ctx: &mut Ctx<'_>, shards: u16) {
    match commands::random_key(ctx) {
        None if shards == 1 => ctx.reply.null(),
        Some(key) if shards == 1 => ctx.reply.bulk(&key),
        // Without a key to show (expired ones are left out) the shard takes no part in the choice.
        None => ctx.reply.integer(0),
        Some(key) => {
            ctx.reply.integer(ctx.keyspace.stats(ctx.db).keys as i64);
            ctx.reply.out.extend_from_slice(&key);
        }
    }
}

/// Chooses among the shards' keys with their counts as weights.
pub(super) fn merge_random_key(parts: &mut Parts, random: u64, protocol: Protocol, out: &mut Vec<u8>) {
    let replies: Vec<Vec<u8>> = parts.parts.iter_mut().map(|(_, reply, _)| reply.take().expect("all parts are there")).collect();
    let total: i64 = replies.iter().map(|reply| header_number(reply)).sum();
    let mut reply = Reply::new(out, protocol);
    if total == 0 {
        return reply.null();
    }
    let mut at = (random % total as u64) as i64;
    for part in &replies {
        let count = header_number(part);
        if at < count {
            let header = part.iter().position(|&byte| byte == b'\n').expect("random_key wrote a line") + 1;
            return reply.bulk(&part[header..]);
        }
        at -= count;
    }
    unreachable!("a number below the sum falls into one part");
}
