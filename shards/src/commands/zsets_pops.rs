//! Taking the least or greatest members out of sorted sets: ZPOPMIN, ZPOPMAX, ZMPOP.

use super::arguments::{Failure, SYNTAX, answer, find_typed, is, typed};
use super::context::Ctx;
use super::elements::MultiPop;
use super::lookup::counted_keys;
use super::table::{Command, Multi, Route, Run, Spec, flags};
use super::zsets::reply_members;
use super::zsets_ranges::remove_ranks;
use crate::keyspace::Entry;
use crate::resp::{Protocol, parse_integer};
use crate::types::Zset;
use crate::types::listpack::Packed;

pub static COMMANDS: &[Command] = &[
Command::new("zpopmin", -2, flags::WRITE | flags::FAST, Route::Keys(Multi::Never), Run::Data(zpopmin))
.keys(1, 1, 1).specs(&[Spec::at(1, "RW access delete")]).acl(&["write", "sortedset", "fast"]).arguments("key [count:integer]")
.doc("sorted-set", "5.0.0", "O(log(N)*M) with N being the number of elements in the sorted set, and M being the number of elements popped.", "Returns the lowest-scoring members from a sorted set after removing them. Deletes the sorted set if the last member was popped"),
Command::new("zpopmax", -2, flags::WRITE | flags::FAST, Route::Keys(Multi::Never), Run::Data(zpopmax))
.keys(1, 1, 1).specs(&[Spec::at(1, "RW access delete")]).acl(&["write", "sortedset", "fast"]).arguments("key [count:integer]")
.doc("sorted-set", "5.0.0", "O(log(N)*M) with N being the number of elements in the sorted set, and M being the number of elements popped.", "Returns the highest-scoring members from a sorted set after removing them. Deletes the sorted set if the last member was popped"),
Command::new("zmpop", -4, flags::WRITE | flags::MOVABLEKEYS, Route::Keys(Multi::Gather), Run::Data(zmpop))
.find_keys(counted_keys).specs(&[Spec::key_num(1, "RW access delete")]).acl(&["write", "sortedset", "slow"]).arguments("numkeys:integer key... where(MIN | MAX) [COUNT count:integer]")
.doc("sorted-set", "7.0.0", "O(K) + O(M*log(N)) where K is the number of provided keys, N being the number of elements in the sorted set, and M being the number of elements popped.", "Returns the highest- or lowest-scoring members from one or more sorted sets after removing them. Deletes the sorted set if the last member was popped")];

/// Which end of the set is popped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    Min,
    Max,
}

/// Takes up to `count` (not 0) members out at one end, in the order in which they are answered.
pub fn pop(ctx: &mut Ctx<'_>, key: &[u8], entry: Entry, end: End, count: usize) -> Vec<(Vec<u8>, f64)> {
    let zset = typed::<Zset>(ctx, entry);
    let len = zset.len();
    let count = count.min(len);
    let (members, ranks, event) = match end {
        End::Min => (zset.iter(), 0..count, "zpopmin"),
        End::Max => (zset.iter_back_from(len - 1), len - count..len, "zpopmax"),
    };
    let popped = members.take(count).map(|(member, score)| (member.bytes().into_owned(), score)).collect();
    remove_ranks(ctx, key, entry, ranks, event);
    popped
}

/// ZPOPMIN key [count]
fn zpopmin(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    pop_command(ctx, args, End::Min);
}

/// ZPOPMAX key [count]
fn zpopmax(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    pop_command(ctx, args, End::Max);
}

fn pop_command(ctx: &mut Ctx<'_>, args: &[&[u8]], end: End) {
    answer(ctx, |ctx| {
        let count = match args[2..] {
            [] => None,
            [count] => Some(pop_count(count)?),
            _ => return Err(SYNTAX),
        };
        let entry = find_typed::<Zset>(ctx, args[1])?;
        let popped = match (entry, count) {
            (Some(entry), None) => pop(ctx, args[1], entry, end, 1),
            (Some(entry), Some(count @ 1..)) => pop(ctx, args[1], entry, end, count),
            _ => Vec::new(),
        };
        match (count, &popped[..]) {
            // In RESP3 one that was popped without a count stands alone, not in a list of pairs.
            (None, [(member, score)]) if ctx.reply.protocol == Protocol::Resp3 => {
                ctx.reply.array(2);
                ctx.reply.bulk(member);
                ctx.reply.double(*score);
            }
            _ => reply_members(&mut ctx.reply, popped.len(), packed(&popped), true),
        }
        Ok(())
    });
}

fn pop_count(text: &[u8]) -> Result<usize, Failure> {
    let count = parse_integer(text).and_then(|count| usize::try_from(count).ok());
    count.ok_or(Failure::Borrowed("ERR value is out of range, must be positive"))
}

fn packed(members: &[(Vec<u8>, f64)]) -> impl Iterator<Item = (Packed<'_>, f64)> {
    members.iter().map(|(member, score)| (Packed::Bytes(member), *score))
}

/// ZMPOP numkeys key [key …] MIN | MAX [COUNT count]
fn zmpop(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let MultiPop { keys, end, count } = parse_mpop(&args[1..])?;
        for key in keys {
            if let Some(entry) = find_typed::<Zset>(ctx, key)? {
                let popped = pop(ctx, key, entry, end, count);
                reply_popped(ctx, key, &popped);
                return Ok(());
            }
        }
        ctx.reply.null_array();
        Ok(())
    });
}

/// `numkeys key [key …] MIN | MAX [COUNT count]`
pub fn parse_mpop<'a, 'w>(words: &'w [&'a [u8]]) -> Result<MultiPop<'a, 'w, End>, Failure> {
    MultiPop::parse(words, |word| match () {
        () if is(word, "MIN") => Ok(End::Min),
        () if is(word, "MAX") => Ok(End::Max),
        () => Err(SYNTAX),
    })
}

/// The answer of ZMPOP: the key and pairs, in both protocols.
pub fn reply_popped(ctx: &mut Ctx<'_>, key: &[u8], popped: &[(Vec<u8>, f64)]) {
    ctx.reply.array(2);
    ctx.reply.bulk(key);
    ctx.reply.array(popped.len());
    for (member, score) in popped {
        ctx.reply.array(2);
        ctx.reply.bulk(member);
        ctx.reply.double(*score);
    }
}
