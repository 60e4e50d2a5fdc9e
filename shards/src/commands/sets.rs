//! Sets: SADD, SREM, SMEMBERS and their relatives. Operations on several sets are in `set_algebra`.

use super::arguments::{Failure, SYNTAX, answer, find_typed, read_typed, remove_emptied, typed, typed_mut, typed_to_change};
use super::context::Ctx;
use super::elements::{EFFECT_ELEMENTS_MAX, ElementScan, RandomCount, reply_scan, shows};
use super::events::EventClasses;
use super::table::{Command, Multi, Route, Run, Spec, flags};
use crate::keyspace::{Entry, Keyspace};
use crate::resp::parse_integer;
use crate::types::element::Element;
use crate::types::{Set, Typed};

pub static COMMANDS: &[Command] = &[
    Command::new("sadd", -3, flags::WRITE | flags::DENYOOM | flags::FAST, Route::Keys(Multi::Never), Run::Data(sadd))
    .keys(1, 1, 1)
    .specs(&[Spec::at(1, "RW insert")])
    .acl(&["write", "set", "fast"])
    .arguments("key member...")
    .doc("set", "1.0.0", "O(1) for each element added, so O(N) to add N elements when the command is called with multiple arguments.", "Adds one or more members to a set. Creates the key if it doesn't exist."),
    Command::new("srem", -3, flags::WRITE | flags::FAST, Route::Keys(Multi::Never), Run::Data(srem))
    .keys(1, 1, 1)
    .specs(&[Spec::at(1, "RW delete")])
    .acl(&["write", "set", "fast"])
    .arguments("key member...")
    .doc("set", "1.0.0", "O(N) where N is the number of members to be removed.", "Removes one or more members from a set. Deletes the set if the last member was removed."),
    Command::new("smembers", 2, flags::READONLY, Route::Keys(Multi::Never), Run::Data(smembers))
    .keys(1, 1, 1)
    .specs(&[Spec::at(1, "RO access")])
    .acl(&["read", "set", "slow"])
    .tips(&["nondeterministic_output_order"])
    .arguments("key")
    .doc("set", "1.0.0", "O(N) where N is the set cardinality.", "Returns all members of a set."),
    Command::new("sismember", 3, flags::READONLY | flags::FAST, Route::Keys(Multi::Never), Run::Data(sismember))
    .keys(1, 1, 1)
    .specs(&[Spec::at(1, "RO")])
    .acl(&["read", "set", "fast"])
    .arguments("key member")
    .doc("set", "1.0.0", "O(1)", "Determines whether a member belongs to a set."),
    Command::new("smismember", -3, flags::READONLY | flags::FAST, Route::Keys(Multi::Never), Run::Data(smismember))
    .keys(1, 1, 1)
    .specs(&[Spec::at(1, "RO access")])
    .acl(&["read", "set", "fast"])
    .arguments("key member...")
    .doc("set", "6.2.0", "O(N) where N is the number of elements being checked for membership", "Determines whether multiple members belong to a set."),
    Command::new("scard", 2, flags::READONLY | flags::FAST, Route::Keys(Multi::Never), Run::Data(scard))
    .keys(1, 1, 1)
    .specs(&[Spec::at(1, "RO")])
    .acl(&["read", "set", "fast"])
    .arguments("key")
    .doc("set", "1.0.0", "O(1)", "Returns the number of members in a set."),
    Command::new("spop", -2, flags::WRITE | flags::FAST, Route::Keys(Multi::Never), Run::Data(spop))
    .keys(1, 1, 1)
    .specs(&[Spec::at(1, "RW access delete")])
    .acl(&["write", "set", "fast"])
    .tips(&["nondeterministic_output"])
    .arguments("key [count:integer]")
    .doc("set", "1.0.0", "Without the count argument O(1), otherwise O(N) where N is the value of the passed count.", "Returns one or more random members from a set after removing them. Deletes the set if the last member was popped."),
    Command::new("srandmember", -2, flags::READONLY, Route::Keys(Multi::Never), Run::Data(srandmember))
    .keys(1, 1, 1)
    .specs(&[Spec::at(1, "RO access")])
    .acl(&["read", "set", "slow"])
    .tips(&["nondeterministic_output"])
    .arguments("key [count:integer]")
    .doc("set", "1.0.0", "Without the count argument O(1), otherwise O(N) where N is the absolute value of the passed count.", "Get one or multiple random members from a set"),
    Command::new("sscan", -3, flags::READONLY, Route::Keys(Multi::Never), Run::Data(sscan))
    .keys(1, 1, 1)
    .specs(&[Spec::at(1, "RO access")])
    .acl(&["read", "set", "slow"])
    .tips(&["nondeterministic_output"])
    .arguments("key cursor:integer [MATCH pattern] [COUNT count:integer]")
    .doc("set", "2.8.0", "O(1) for every call. O(N) for a complete iteration, including enough command calls for the cursor to return back to 0. N is the number of elements inside the collection.", "Iterates over members of a set."),
    Command::new("smove", 4, flags::WRITE | flags::FAST, Route::Keys(Multi::Gather), Run::Data(smove))
    .keys(1, 2, 1)
    .specs(&[Spec::at(1, "RW access delete"), Spec::at(2, "RW insert")])
    .acl(&["write", "set", "fast"])
    .arguments("source:key destination:key member")
    .doc("set", "1.0.0", "O(1)", "Moves a member from one set to another."),
];

/// The set of an entry that was checked to hold one. Of the keyspace alone, so that the reply can be written meanwhile.
pub fn set_at(keyspace: &Keyspace, entry: Entry) -> &Set {
    Set::of(keyspace.value(entry)).expect("the entry was checked to hold a set")
}

/// SADD key member [member …]
fn sadd(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let (key, members) = (args[1], &args[2..]);
        let entry = find_typed::<Set>(ctx, key)?;
        if let Some(entry) = entry {
            expect(ctx, entry, members.len());
        }
        let added = add_members(ctx, key, entry, members);
        ctx.reply.integer(added as i64);
        Ok(())
    });
}

/// Redis chooses the form by the number of members before it looks whether they are new; OBJECT ENCODING tells.
fn expect(ctx: &mut Ctx<'_>, entry: Entry, members: usize) {
    let limits = *ctx.keyspace.limits();
    if set_at(ctx.keyspace, entry).stays_compact_with(members, &limits) {
        return;
    }
    ctx.keyspace.reform(entry, |value| Set::of_mut(value).expect("checked to hold a set").expect(members, &limits));
}

/// Adds members to the set of `entry`, or to a new one, and states it; gives the number of new ones.
fn add_members(ctx: &mut Ctx<'_>, key: &[u8], entry: Option<Entry>, members: &[&[u8]]) -> usize {
    let limits = *ctx.keyspace.limits();
    let absent = |member: &&&[u8]| entry.is_none_or(|entry| !set_at(ctx.keyspace, entry).contains(member));
    let absent: Vec<&[u8]> = members.iter().filter(absent).copied().collect();
    if absent.is_empty() {
        return 0;
    }
    let set = typed_to_change(ctx, key, entry, || Set::for_members(members[0], members.len(), &limits));
    // A member named twice is new only once.
    let added: Vec<&[u8]> = absent.into_iter().filter(|member| set.add(member, &limits)).collect();
    for some in added.chunks(EFFECT_ELEMENTS_MAX) {
        ctx.effect(&[&[b"SADD", key], some].concat());
    }
    ctx.notify(EventClasses::SET, "sadd", key);
    added.len()
}

/// SREM key member [member …]
fn srem(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let removed = match find_typed::<Set>(ctx, args[1])? {
            Some(entry) => remove_members(ctx, args[1], entry, &args[2..]),
            None => 0,
        };
        ctx.reply.integer(removed as i64);
        Ok(())
    });
}

/// Removes members, and the set with its last one, and states it; gives the number of those that were there.
fn remove_members(ctx: &mut Ctx<'_>, key: &[u8], entry: Entry, members: &[&[u8]]) -> usize {
    let there = |member: &&&[u8]| set_at(ctx.keyspace, entry).contains(member);
    let members: Vec<&[u8]> = members.iter().filter(there).copied().collect();
    if members.is_empty() {
        return 0;
    }
    let set = typed_mut::<Set>(ctx, entry);
    // A member named twice is there only once.
    let removed: Vec<&[u8]> = members.into_iter().filter(|member| set.remove(member)).collect();
    let emptied = set.is_empty();
    state_removal(ctx, key, &removed);
    ctx.notify(EventClasses::SET, "srem", key);
    if emptied {
        remove_emptied(ctx, key, entry);
    }
    removed.len()
}

fn state_removal(ctx: &mut Ctx<'_>, key: &[u8], members: &[&[u8]]) {
    for some in members.chunks(EFFECT_ELEMENTS_MAX) {
        ctx.effect(&[&[b"SREM", key], some].concat());
    }
}

/// SMEMBERS key
fn smembers(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let entry = read_typed::<Set>(ctx, args[1])?;
        ctx.reply.set(entry.map_or(0, |entry| set_at(ctx.keyspace, entry).len()));
        for member in entry.into_iter().flat_map(|entry| set_at(ctx.keyspace, entry).iter()) {
            member.with_bytes(|member| ctx.reply.bulk(member));
        }
        Ok(())
    });
}

/// SISMEMBER key member
fn sismember(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    reply_number(ctx, args[1], |set| set.contains(args[2]) as usize);
}

/// SCARD key
fn scard(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    reply_number(ctx, args[1], Set::len);
}

/// Answers what `number` says of the set, 0 when there is none.
fn reply_number(ctx: &mut Ctx<'_>, key: &[u8], number: impl FnOnce(&Set) -> usize) {
    answer(ctx, |ctx| {
        let entry = read_typed::<Set>(ctx, key)?;
        let number = entry.map_or(0, |entry| number(set_at(ctx.keyspace, entry)));
        ctx.reply.integer(number as i64);
        Ok(())
    });
}

/// SMISMEMBER key member [member …]
fn smismember(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let entry = read_typed::<Set>(ctx, args[1])?;
        ctx.reply.array(args.len() - 2);
        for member in &args[2..] {
            let there = entry.is_some_and(|entry| set_at(ctx.keyspace, entry).contains(member));
            ctx.reply.integer(there as i64);
        }
        Ok(())
    });
}

/// SPOP key [count]
fn spop(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| match args {
        [_, key] => {
            let popped = find_typed::<Set>(ctx, key)?.map(|entry| pop(ctx, key, entry, 1));
            match popped.as_deref() {
                Some([member]) => ctx.reply.bulk(member),
                _ => ctx.reply.null(),
            }
            Ok(())
        }
        [_, key, count] => {
            let count = parse_integer(count).and_then(|count| usize::try_from(count).ok());
            let count = count.ok_or("ERR value is out of range, must be positive")?;
            let popped = find_typed::<Set>(ctx, key)?.map_or(Vec::new(), |entry| pop(ctx, key, entry, count));
            ctx.reply.set(popped.len());
            popped.iter().for_each(|member| ctx.reply.bulk(member));
            Ok(())
        }
        _ => Err(SYNTAX),
    });
}

/// Takes `count` members at random, or all, and states it.
fn pop(ctx: &mut Ctx<'_>, key: &[u8], entry: Entry, count: usize) -> Vec<Element> {
    let len = set_at(ctx.keyspace, entry).len();
    if count == 0 {
        return Vec::new();
    }
    ctx.notify(EventClasses::SET, "spop", key);
    if count >= len {
        let all = set_at(ctx.keyspace, entry).iter().map(|member| member.with_bytes(Element::new)).collect();
        remove_emptied(ctx, key, entry);
        ctx.effect(&[b"DEL", key]);
        return all;
    }
    let ranks: Vec<usize> = (0..count).map(|popped| ctx.random.usize(..len - popped)).collect();
    let set = typed_mut::<Set>(ctx, entry);
    let popped: Vec<Element> = ranks.into_iter().map(|rank| set.take_at(rank)).collect();
    state_removal(ctx, key, &popped.iter().map(|member| &**member).collect::<Vec<_>>());
    popped
}

/// SRANDMEMBER key [count]
fn srandmember(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| match args {
        [_, key] => random_member(ctx, key),
        [_, key, count] => {
            let count = RandomCount::parse(count)?;
            let Some(entry) = read_typed::<Set>(ctx, key)? else {
                ctx.reply.array(0);
                return Ok(());
            };
            let set = set_at(ctx.keyspace, entry);
            let ranks = count.ranks(ctx.random, set.len());
            ctx.reply.array(ranks.len());
            // Of a compact set one walk instead of one for each rank.
            let all: Vec<_> = if set.is_compact() { set.iter().collect() } else { Vec::new() };
            for rank in ranks {
                let member = all.get(rank).copied().or_else(|| set.at(rank)).expect("a rank below the length");
                member.with_bytes(|member| ctx.reply.bulk(member));
            }
            Ok(())
        }
        _ => Err(SYNTAX),
    });
}

fn random_member(ctx: &mut Ctx<'_>, key: &[u8]) -> Result<(), Failure> {
    let Some(entry) = read_typed::<Set>(ctx, key)? else {
        ctx.reply.null();
        return Ok(());
    };
    let set = set_at(ctx.keyspace, entry);
    let member = set.at(ctx.random.usize(..set.len())).expect("a rank below the length");
    member.with_bytes(|member| ctx.reply.bulk(member));
    Ok(())
}

/// SSCAN key cursor [MATCH pattern] [COUNT count]
fn sscan(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let scan = ElementScan::new(args)?;
        let Some(entry) = read_typed::<Set>(ctx, args[1])? else {
            reply_scan(ctx, 0, &[]);
            return Ok(());
        };
        let (cursor, options) = scan.options()?;
        let mut found = Vec::new();
        let next = set_at(ctx.keyspace, entry).scan(cursor, options.count, |member| {
            if member.with_bytes(|member| shows(&options, member)) {
                found.push(member.bytes().into_owned());
            }
        });
        reply_scan(ctx, next, &found);
        Ok(())
    });
}

/// SMOVE source destination member
fn smove(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let moved = move_member(ctx, args[1], args[2], args[3])?;
        ctx.reply.integer(moved as i64);
        Ok(())
    });
}

/// Two effects, each of one key: that suits keys of different shards too.
fn move_member(ctx: &mut Ctx<'_>, from: &[u8], to: &[u8], member: &[u8]) -> Result<bool, Failure> {
    let there = ctx.find(from).is_some();
    ctx.find(to);
    if !there {
        return Ok(false);
    }
    find_typed::<Set>(ctx, from)?;
    find_typed::<Set>(ctx, to)?;
    // Looked up again: deleting an expired `to` may have moved the entry.
    let Some(entry) = find_typed::<Set>(ctx, from)? else { return Ok(false) };
    if !typed::<Set>(ctx, entry).contains(member) {
        return Ok(false);
    }
    if from != to {
        remove_members(ctx, from, entry, &[member]);
        // Looked up behind the removal, which may have moved it.
        let entry = find_typed::<Set>(ctx, to)?;
        add_members(ctx, to, entry, &[member]);
    }
    Ok(true)
}
