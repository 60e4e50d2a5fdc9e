//! Several sets: SINTER, SUNION, SDIFF, the forms that store the result, SINTERCARD.

use super::arguments::{Failure, SYNTAX, answer, integer, is, read_typed};
use super::context::Ctx;
use super::elements::EFFECT_ELEMENTS_MAX;
use super::events::EventClasses;
use super::keys::delete_even_expired;
use super::lookup::counted_keys;
use super::sets::set_at;
use super::table::{Command, Multi, Route, Run, Spec, flags};
use crate::keyspace::Entry;
use crate::resp::parse_integer;
use crate::types::listpack::Packed;
use crate::types::set::Seen;
use crate::types::{Limits, Set, Typed};
use std::ops::ControlFlow;

pub static COMMANDS: &[Command] = &[
    Command::new("sinter", -2, flags::READONLY, Route::Keys(Multi::Gather), Run::Data(sinter))
        .keys(1, -1, 1)
        .specs(&[Spec::range(1, -1, 1, "RO access")])
        .acl(&["read", "set", "slow"])
        .tips(&["nondeterministic_output_order"])
        .arguments("key...")
        .doc(
            "set",
            "1.0.0",
            "O(N*M) worst case where N is the cardinality of the smallest set and M is the number of sets.",
            "Returns the intersect of multiple sets.",
        ),
    Command::new("sintercard", -3, flags::READONLY | flags::MOVABLEKEYS, Route::Keys(Multi::Gather), Run::Data(sintercard))
        .find_keys(counted_keys)
        .specs(&[Spec::key_num(1, "RO access")])
        .acl(&["read", "set", "slow"])
        .arguments("numkeys:integer key... [LIMIT limit:integer]")
        .doc(
            "set",
            "7.0.0",
            "O(N*M) worst case where N is the cardinality of the smallest set and M is the number of sets.",
            "Returns the number of members of the intersect of multiple sets.",
        ),
    Command::new("sinterstore", -3, flags::WRITE | flags::DENYOOM, Route::Keys(Multi::Gather), Run::Data(sinterstore))
        .keys(1, -1, 1)
        .specs(&[Spec::at(1, "OW update"), Spec::range(2, -1, 1, "RO access")])
        .acl(&["write", "set", "slow"])
        .arguments("destination:key key...")
        .doc(
            "set",
            "1.0.0",
            "O(N*M) worst case where N is the cardinality of the smallest set and M is the number of sets.",
            "Stores the intersect of multiple sets in a key.",
        ),
    Command::new("sunion", -2, flags::READONLY, Route::Keys(Multi::Gather), Run::Data(sunion))
        .keys(1, -1, 1)
        .specs(&[Spec::range(1, -1, 1, "RO access")])
        .acl(&["read", "set", "slow"])
        .tips(&["nondeterministic_output_order"])
        .arguments("key...")
        .doc(
            "set",
            "1.0.0",
            "O(N) where N is the total number of elements in all given sets.",
            "Returns the union of multiple sets.",
        ),
    Command::new("sunionstore", -3, flags::WRITE | flags::DENYOOM, Route::Keys(Multi::Gather), Run::Data(sunionstore))
        .keys(1, -1, 1)
        .specs(&[Spec::at(1, "OW update"), Spec::range(2, -1, 1, "RO access")])
        .acl(&["write", "set", "slow"])
        .arguments("destination:key key...")
        .doc(
            "set",
            "1.0.0",
            "O(N) where N is the total number of elements in all given sets.",
            "Stores the union of multiple sets in a key.",
        ),
    Command::new("sdiff", -2, flags::READONLY, Route::Keys(Multi::Gather), Run::Data(sdiff))
        .keys(1, -1, 1)
        .specs(&[Spec::range(1, -1, 1, "RO access")])
        .acl(&["read", "set", "slow"])
        .tips(&["nondeterministic_output_order"])
        .arguments("key...")
        .doc(
            "set",
            "1.0.0",
            "O(N) where N is the total number of elements in all given sets.",
            "Returns the difference of multiple sets.",
        ),
    Command::new("sdiffstore", -3, flags::WRITE | flags::DENYOOM, Route::Keys(Multi::Gather), Run::Data(sdiffstore))
        .keys(1, -1, 1)
        .specs(&[Spec::at(1, "OW update"), Spec::range(2, -1, 1, "RO access")])
        .acl(&["write", "set", "slow"])
        .arguments("destination:key key...")
        .doc(
            "set",
            "1.0.0",
            "O(N) where N is the total number of elements in all given sets.",
            "Stores the difference of multiple sets in a key.",
        ),
];

/// SINTER key [key …]
fn sinter(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    reply_result(ctx, &args[1..], intersection);
}

/// SUNION key [key …]
fn sunion(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    reply_result(ctx, &args[1..], union);
}

/// SDIFF key [key …]
fn sdiff(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    reply_result(ctx, &args[1..], difference);
}

/// SINTERSTORE destination key [key …]
fn sinterstore(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    store_result(ctx, args, intersection, "sinterstore");
}

/// SUNIONSTORE destination key [key …]
fn sunionstore(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    store_result(ctx, args, union, "sunionstore");
}

/// SDIFFSTORE destination key [key …]
fn sdiffstore(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    store_result(ctx, args, difference, "sdiffstore");
}

/// SINTERCARD numkeys key [key …] [LIMIT limit]
fn sintercard(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let (keys, options) = args[2..].split_at(parse_number(args)?);
        let limit = parse_limit(options)?;
        let entries = read_sets(ctx, keys)?;
        let mut common = 0;
        each_common(&sets_of(ctx, &entries), |_| {
            common += 1;
            if common == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        ctx.reply.integer(common);
        Ok(())
    });
}

/// The number of keys, which is argument 1.
fn parse_number(args: &[&[u8]]) -> Result<usize, Failure> {
    let number = parse_integer(args[1]).filter(|&number| number > 0).ok_or("ERR numkeys should be greater than 0")?;
    if number as usize > args.len() - 2 {
        return Err("ERR Number of keys can't be greater than number of args".into());
    }
    Ok(number as usize)
}

/// 0: no limit.
fn parse_limit(words: &[&[u8]]) -> Result<i64, Failure> {
    let mut limit = 0;
    for option in words.chunks(2) {
        match option {
            [word, number] if is(word, "LIMIT") => {
                limit = integer(number).ok().filter(|&limit| limit >= 0).ok_or("ERR LIMIT can't be negative")?;
            }
            _ => return Err(SYNTAX),
        }
    }
    Ok(limit)
}

// --- Keys --------------------------------------------------------------------------------------------------------------

/// The entries of the sets; None for a key that does not exist. All keys are looked at: any of them may be of another type.
fn read_sets(ctx: &mut Ctx<'_>, keys: &[&[u8]]) -> Result<Vec<Option<Entry>>, Failure> {
    let there = keys.iter().map(|key| Ok(read_typed::<Set>(ctx, key)?.is_some()));
    let there: Vec<bool> = there.collect::<Result<_, Failure>>()?;
    // Looked up once more: deleting an expired key may have moved the entries found before.
    let entries = keys.iter().zip(there).map(|(key, there)| if there { ctx.keyspace.find(ctx.db, key) } else { None });
    Ok(entries.collect())
}

fn sets_of<'c>(ctx: &'c Ctx<'_>, entries: &[Option<Entry>]) -> Vec<Option<&'c Set>> {
    entries.iter().map(|entry| entry.map(|entry| set_at(ctx.keyspace, entry))).collect()
}

type Operation = fn(&[Option<&Set>], &Limits) -> Set;

fn reply_result(ctx: &mut Ctx<'_>, keys: &[&[u8]], operation: Operation) {
    answer(ctx, |ctx| {
        let entries = read_sets(ctx, keys)?;
        let result = operation(&sets_of(ctx, &entries), ctx.keyspace.limits());
        ctx.reply.set(result.len());
        result.iter().for_each(|member| member.with_bytes(|member| ctx.reply.bulk(member)));
        ctx.keyspace.discard(result.into_value());
        Ok(())
    });
}

fn store_result(ctx: &mut Ctx<'_>, args: &[&[u8]], operation: Operation, event: &'static str) {
    answer(ctx, |ctx| {
        let entries = read_sets(ctx, &args[2..])?;
        let result = operation(&sets_of(ctx, &entries), ctx.keyspace.limits());
        ctx.reply.integer(result.len() as i64);
        store(ctx, args, result, event);
        Ok(())
    });
}

/// Puts the result in the place of what the destination holds, and states it.
fn store(ctx: &mut Ctx<'_>, args: &[&[u8]], result: Set, event: &'static str) {
    let key = args[1];
    if result.is_empty() {
        delete_even_expired(ctx, key);
        return;
    }
    let old = ctx.find(key);
    if ctx.gathered {
        // The sources belong to other shards, whose keys replay does not know: the result is stated.
        state_members(ctx, key, &result, old.is_some());
    } else {
        ctx.effect(args);
    }
    ctx.put(key, result.into_value(), None);
    ctx.notify(EventClasses::SET, event, key);
}

fn state_members(ctx: &mut Ctx<'_>, key: &[u8], set: &Set, replaces: bool) {
    if replaces {
        ctx.effect(&[b"DEL", key]);
    }
    let mut members = set.iter().map(Packed::bytes).peekable();
    while members.peek().is_some() {
        let some: Vec<_> = members.by_ref().take(EFFECT_ELEMENTS_MAX).collect();
        let words: Vec<&[u8]> = [&b"SADD"[..], key].into_iter().chain(some.iter().map(|member| &**member)).collect();
        ctx.effect(&words);
    }
}

// --- Operations --------------------------------------------------------------------------------------------------------

/// Visits what is in all sets, until `visit` breaks off; the smallest set says in which order.
fn each_common(sets: &[Option<&Set>], mut visit: impl FnMut(Packed<'_>) -> ControlFlow<()>) {
    let Some(mut sets) = sets.iter().copied().collect::<Option<Vec<&Set>>>() else { return };
    sets.sort_by_key(|set| set.len());
    let (smallest, others) = sets.split_first().expect("at least one key");
    for member in smallest.iter() {
        let common = member.with_bytes(|member| others.iter().all(|set| set.contains(member)));
        if common && visit(member).is_break() {
            return;
        }
    }
}

fn intersection(sets: &[Option<&Set>], limits: &Limits) -> Set {
    let smallest = sets.iter().flatten().min_by_key(|set| set.len());
    let mut result = if smallest.is_some_and(|set| set.encoding_name() == "intset") { Set::new() } else { Set::packed() };
    let mut seen = Seen::new();
    each_common(sets, |member| {
        member.with_bytes(|member| result.push(member, limits, &mut seen));
        ControlFlow::Continue(())
    });
    result.make_ints(limits);
    result
}

fn union(sets: &[Option<&Set>], limits: &Limits) -> Set {
    let (mut result, mut seen) = (Set::new(), Seen::new());
    for member in sets.iter().flatten().flat_map(|set| set.iter()) {
        member.with_bytes(|member| result.push(member, limits, &mut seen));
    }
    result
}

/// What is in the first set only. By looking each of its members up in the others, or, when these have few members, by
/// taking those out of a copy of it. Which of the two is by Redis's rule: it decides about the encoding of the result.
fn difference(sets: &[Option<&Set>], limits: &Limits) -> Set {
    let Some(first) = sets[0] else { return Set::new() };
    let others: Vec<&Set> = sets[1..].iter().copied().flatten().collect();
    let members: usize = first.len() + others.iter().map(|set| set.len()).sum::<usize>();
    if first.len() * (others.len() + 1) / 2 <= members {
        let none_has = |member: &[u8]| others.iter().all(|set| !set.contains(member));
        return rebuilt(first.iter().filter(|member| member.with_bytes(none_has)), limits);
    }
    let mut result = copied(first, limits);
    for member in others.iter().flat_map(|set| set.iter()) {
        member.with_bytes(|member| result.remove(member));
    }
    result
}

/// A copy in the form that it would have were it made anew. A big set is copied by copying nothing.
fn copied(set: &Set, limits: &Limits) -> Set {
    let big = set.len() > limits.set_max_intset_entries.max(limits.set_max_listpack_entries);
    if big { set.clone() } else { rebuilt(set.iter(), limits) }
}

fn rebuilt<'a>(members: impl Iterator<Item = Packed<'a>>, limits: &Limits) -> Set {
    let (mut result, mut seen) = (Set::new(), Seen::new());
    members.for_each(|member| _ = member.with_bytes(|member| result.push(member, limits, &mut seen)));
    result
}
