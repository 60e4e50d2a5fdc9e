//! Sorted sets, member by member: ZADD, ZINCRBY, ZREM, ZSCORE, ZMSCORE, ZCARD, ZRANK, ZREVRANK, ZRANDMEMBER, ZSCAN; and what the
//! other commands of sorted sets share.

use super::arguments::{
    Failure, NOT_FLOAT, SYNTAX, answer, find_typed, is, read_typed, remove_emptied, typed, typed_mut, typed_to_change,
};
use super::context::Ctx;
use super::elements::{EFFECT_ELEMENTS_MAX, ElementScan, RandomCount, last_option, reply_scan, shows};
use super::events::EventClasses;
use super::keys::delete_even_expired;
use super::table::{Command, Multi, Route, Run, Spec, flags};
use crate::keyspace::{Entry, Keyspace};
use crate::resp::{DOUBLE_TEXT_MAX, Protocol, Reply, double_text, parse_double};
use crate::types::listpack::Packed;
use crate::types::{Typed, Zset};

pub static COMMANDS: &[Command] = &[
Command::new("zadd", -4, flags::WRITE | flags::DENYOOM | flags::FAST, Route::Keys(Multi::Never), Run::Data(zadd))
.keys(1, 1, 1).specs(&[Spec::at(1, "RW update")]).acl(&["write", "sortedset", "fast"]).arguments("key [condition(NX | XX)] [comparison(GT | LT)] [CH=change] [INCR=increment] data(score:double member)...")
.doc("sorted-set", "1.2.0", "O(log(N)) for each item added, where N is the number of elements in the sorted set.", "Adds one or more members to a sorted set, or updates their scores. Creates the key if it doesn't exist"),
Command::new("zincrby", 4, flags::WRITE | flags::DENYOOM | flags::FAST, Route::Keys(Multi::Never), Run::Data(zincrby))
.keys(1, 1, 1).specs(&[Spec::at(1, "RW access update")]).acl(&["write", "sortedset", "fast"]).arguments("key increment:integer member")
.doc("sorted-set", "1.2.0", "O(log(N)) where N is the number of elements in the sorted set.", "Increments the score of a member in a sorted set"),
Command::new("zrem", -3, flags::WRITE | flags::FAST, Route::Keys(Multi::Never), Run::Data(zrem))
.keys(1, 1, 1).specs(&[Spec::at(1, "RW delete")]).acl(&["write", "sortedset", "fast"]).arguments("key member...")
.doc("sorted-set", "1.2.0", "O(M*log(N)) with N being the number of elements in the sorted set and M the number of elements to be removed.", "Removes one or more members from a sorted set. Deletes the sorted set if all members were removed"),
Command::new("zscore", 3, flags::READONLY | flags::FAST, Route::Keys(Multi::Never), Run::Data(zscore))
.keys(1, 1, 1).specs(&[Spec::at(1, "RO access")]).acl(&["read", "sortedset", "fast"]).arguments("key member")
.doc("sorted-set", "1.2.0", "O(1)", "Returns the score of a member in a sorted set"),
Command::new("zmscore", -3, flags::READONLY | flags::FAST, Route::Keys(Multi::Never), Run::Data(zmscore))
.keys(1, 1, 1).specs(&[Spec::at(1, "RO access")]).acl(&["read", "sortedset", "fast"]).arguments("key member...")
.doc("sorted-set", "6.2.0", "O(N) where N is the number of members being requested.", "Returns the score of one or more members in a sorted set"),
Command::new("zcard", 2, flags::READONLY | flags::FAST, Route::Keys(Multi::Never), Run::Data(zcard))
.keys(1, 1, 1).specs(&[Spec::at(1, "RO")]).acl(&["read", "sortedset", "fast"]).arguments("key")
.doc("sorted-set", "1.2.0", "O(1)", "Returns the number of members in a sorted set"),
Command::new("zrank", -3, flags::READONLY | flags::FAST, Route::Keys(Multi::Never), Run::Data(zrank))
.keys(1, 1, 1).specs(&[Spec::at(1, "RO access")]).acl(&["read", "sortedset", "fast"]).arguments("key member [WITHSCORE]")
.doc("sorted-set", "2.0.0", "O(log(N))", "Returns the index of a member in a sorted set ordered by ascending scores"),
Command::new("zrevrank", -3, flags::READONLY | flags::FAST, Route::Keys(Multi::Never), Run::Data(zrevrank))
.keys(1, 1, 1).specs(&[Spec::at(1, "RO access")]).acl(&["read", "sortedset", "fast"]).arguments("key member [WITHSCORE]")
.doc("sorted-set", "2.0.0", "O(log(N))", "Returns the index of a member in a sorted set ordered by descending scores"),
Command::new("zrandmember", -2, flags::READONLY, Route::Keys(Multi::Never), Run::Data(zrandmember))
.keys(1, 1, 1).specs(&[Spec::at(1, "RO access")]).acl(&["read", "sortedset", "slow"]).tips(&["nondeterministic_output"]).arguments("key [options(count:integer [WITHSCORES])]")
.doc("sorted-set", "6.2.0", "O(N) where N is the number of members returned", "Returns one or more random members from a sorted set"),
Command::new("zscan", -3, flags::READONLY, Route::Keys(Multi::Never), Run::Data(zscan))
.keys(1, 1, 1).specs(&[Spec::at(1, "RO access")]).acl(&["read", "sortedset", "slow"]).tips(&["nondeterministic_output"]).arguments("key cursor:integer [MATCH pattern] [COUNT count:integer]")
.doc("sorted-set", "2.8.0", "O(1) for every call. O(N) for a complete iteration, including enough command calls for the cursor to return back to 0. N is the number of elements inside the collection.", "Iterates over members and scores of a sorted set")];

// --- ZADD ----------------------------------------------------------------------------------------------------------------

/// The options of ZADD and GEOADD.
#[derive(Clone, Copy, Debug, Default)]
pub struct AddOptions {
    /// Only new members.
    pub nx: bool,
    /// Only members that are there.
    pub xx: bool,
    /// Only greater scores.
    pub gt: bool,
    /// Only lesser scores.
    pub lt: bool,
    /// The reply counts changed members too.
    pub ch: bool,
    pub incr: bool,
}

/// What the score of a member becomes.
enum Decision {
    Skip,
    /// Nothing to change, but not skipped: the score was this already.
    Keep(f64),
    Set(f64),
}

impl AddOptions {
    /// `current`: the member's score; None: it is not there.
    fn decide(&self, current: Option<f64>, score: f64) -> Result<Decision, Failure> {
        let Some(current) = current else {
            return Ok(if self.xx { Decision::Skip } else { Decision::Set(score) });
        };
        if self.nx {
            return Ok(Decision::Skip);
        }
        let score = if self.incr { current + score } else { score };
        if score.is_nan() {
            return Err("ERR resulting score is not a number (NaN)".into());
        }
        if (self.lt && score >= current) || (self.gt && score <= current) {
            return Ok(Decision::Skip);
        }
        Ok(if score == current { Decision::Keep(score) } else { Decision::Set(score) })
    }
}

/// What `add` did.
#[derive(Default)]
pub struct Added<'a> {
    added: usize,
    updated: usize,
    /// The score of the last member, unless it was skipped.
    score: Option<f64>,
    changed: Vec<(f64, &'a [u8])>,
}

impl<'a> Added<'a> {
    /// What the command answers.
    pub fn count(&self, options: AddOptions) -> usize {
        self.added + if options.ch { self.updated } else { 0 }
    }

    fn tally(&mut self, is_new: bool, decision: &Decision, member: &'a [u8]) {
        self.score = match *decision {
            Decision::Skip => None,
            Decision::Keep(score) => Some(score),
            Decision::Set(score) => {
                self.changed.push((score, member));
                if is_new {
                    self.added += 1
                } else {
                    self.updated += 1
                }
                Some(score)
            }
        };
    }
}

/// ZADD key [NX | XX] [GT | LT] [CH] [INCR] score member [score member …]
fn zadd(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let (mut options, mut at) = (AddOptions::default(), 2);
        while let Some(word) = args.get(at) {
            let option = match () {
                () if is(word, "NX") => &mut options.nx,
                () if is(word, "XX") => &mut options.xx,
                () if is(word, "CH") => &mut options.ch,
                () if is(word, "INCR") => &mut options.incr,
                () if is(word, "GT") => &mut options.gt,
                () if is(word, "LT") => &mut options.lt,
                () => break,
            };
            *option = true;
            at += 1;
        }
        add_pairs(ctx, args[1], options, &args[at..])
    });
}

/// ZINCRBY key increment member
fn zincrby(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    let options = AddOptions { incr: true, ..AddOptions::default() };
    answer(ctx, |ctx| add_pairs(ctx, args[1], options, &args[2..]));
}

/// ZADD and its kin from the first score on.
pub fn add_pairs(ctx: &mut Ctx<'_>, key: &[u8], options: AddOptions, words: &[&[u8]]) -> Result<(), Failure> {
    let AddOptions { nx, xx, gt, lt, incr, .. } = options;
    if !words.len().is_multiple_of(2) || words.is_empty() {
        return Err(SYNTAX);
    }
    if nx && xx {
        return Err("ERR XX and NX options at the same time are not compatible".into());
    }
    if [nx, gt, lt].into_iter().filter(|given| *given).count() > 1 {
        return Err("ERR GT, LT, and/or NX options at the same time are not compatible".into());
    }
    if incr && words.len() > 2 {
        return Err("ERR INCR option supports a single increment-element pair".into());
    }
    let mut members = Vec::with_capacity(words.len() / 2);
    for pair in words.chunks_exact(2) {
        members.push((parse_double(pair[0]).ok_or(NOT_FLOAT)?, pair[1]));
    }
    let done = add(ctx, key, options, &members)?;
    match (incr, done.score) {
        (true, Some(score)) => ctx.reply.double(score),
        (true, None) => ctx.reply.null(),
        (false, _) => ctx.reply.integer(done.count(options) as i64),
    }
    Ok(())
}

/// Gives members their scores, as the options say; states the effect and raises the notification.
pub fn add<'a>(ctx: &mut Ctx<'_>, key: &[u8], options: AddOptions, members: &[(f64, &'a [u8])]) -> Result<Added<'a>, Failure> {
    let entry = find_typed::<Zset>(ctx, key)?;
    let mut done = Added::default();
    // Looked at first: only what will be changed may be borrowed to be changed.
    let mut unchanged = 0;
    for (score, member) in members {
        let current = entry.and_then(|entry| typed::<Zset>(ctx, entry).score(member));
        let decision = options.decide(current, *score)?;
        if matches!(decision, Decision::Set(_)) {
            break;
        }
        done.tally(current.is_none(), &decision, member);
        unchanged += 1;
    }
    let limits = *ctx.keyspace.limits();
    let longest = members.iter().map(|(_, member)| member.len()).max().unwrap_or(0);
    if unchanged == members.len() {
        // Redis chooses the form by what is given, before it looks whether there is anything to write; OBJECT ENCODING tells.
        if let Some(entry) = entry.filter(|&entry| typed::<Zset>(ctx, entry).outgrown_by(members.len(), longest, &limits)) {
            ctx.keyspace.reform(entry, |value| Zset::of_mut(value).expect("the entry was checked").leave_pack());
        }
        return Ok(done);
    }
    let zset = typed_to_change(ctx, key, entry, Zset::new);
    if zset.outgrown_by(members.len(), longest, &limits) {
        zset.leave_pack();
    }
    for (score, member) in &members[unchanged..] {
        let current = zset.score(member);
        let decision = options.decide(current, *score)?;
        if let Decision::Set(score) = decision {
            zset.insert(member, score, &limits);
        }
        done.tally(current.is_none(), &decision, member);
    }
    add_effects(ctx, key, &done.changed);
    ctx.notify(EventClasses::ZSET, if options.incr { "zincr" } else { "zadd" }, key);
    Ok(done)
}

/// States the scores of members, in pieces.
fn add_effects(ctx: &mut Ctx<'_>, key: &[u8], members: &[(f64, &[u8])]) {
    for piece in members.chunks(EFFECT_ELEMENTS_MAX) {
        let mut texts = Vec::with_capacity(piece.len());
        for (score, _) in piece {
            let mut buffer = [0; DOUBLE_TEXT_MAX];
            let len = double_text(*score, &mut buffer).len();
            texts.push((buffer, len));
        }
        let mut args: Vec<&[u8]> = Vec::with_capacity(2 + 2 * piece.len());
        args.extend([&b"ZADD"[..], key]);
        for ((text, len), (_, member)) in texts.iter().zip(piece) {
            args.extend([&text[..*len], member]);
        }
        ctx.effect(&args);
    }
}

// --- ZREM ----------------------------------------------------------------------------------------------------------------

/// ZREM key member [member …]
fn zrem(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let (key, members) = (args[1], &args[2..]);
        let entry = find_typed::<Zset>(ctx, key)?;
        let Some(entry) = entry.filter(|&entry| members.iter().any(|member| typed::<Zset>(ctx, entry).score(member).is_some()))
        else {
            ctx.reply.integer(0);
            return Ok(());
        };
        let zset = typed_mut::<Zset>(ctx, entry);
        let removed: Vec<&[u8]> = members.iter().copied().filter(|member| zset.remove(member).is_some()).collect();
        let emptied = zset.is_empty();
        for piece in removed.chunks(EFFECT_ELEMENTS_MAX) {
            ctx.effect(&[&[&b"ZREM"[..], key], piece].concat());
        }
        ctx.notify(EventClasses::ZSET, "zrem", key);
        if emptied {
            remove_emptied(ctx, key, entry);
        }
        ctx.reply.integer(removed.len() as i64);
        Ok(())
    });
}

// --- Looking -------------------------------------------------------------------------------------------------------------

/// ZSCORE key member
fn zscore(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let entry = read_typed::<Zset>(ctx, args[1])?;
        match entry.and_then(|entry| typed::<Zset>(ctx, entry).score(args[2])) {
            Some(score) => ctx.reply.double(score),
            None => ctx.reply.null(),
        }
        Ok(())
    });
}

/// ZMSCORE key member [member …]
fn zmscore(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let entry = read_typed::<Zset>(ctx, args[1])?;
        ctx.reply.array(args.len() - 2);
        for member in &args[2..] {
            match entry.and_then(|entry| typed::<Zset>(ctx, entry).score(member)) {
                Some(score) => ctx.reply.double(score),
                None => ctx.reply.null(),
            }
        }
        Ok(())
    });
}

/// ZCARD key
fn zcard(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let len = read_typed::<Zset>(ctx, args[1])?.map_or(0, |entry| typed::<Zset>(ctx, entry).len());
        ctx.reply.integer(len as i64);
        Ok(())
    });
}

/// ZRANK key member [WITHSCORE]
fn zrank(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    reply_rank(ctx, args, "zrank", |rank, _| rank);
}

/// ZREVRANK key member [WITHSCORE]
fn zrevrank(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    reply_rank(ctx, args, "zrevrank", |rank, len| len - 1 - rank);
}

fn reply_rank(ctx: &mut Ctx<'_>, args: &[&[u8]], name: &str, counted: fn(usize, usize) -> usize) {
    answer(ctx, |ctx| {
        let with_score = match args[3..] {
            [] => false,
            [option] if is(option, "WITHSCORE") => true,
            [_] => return Err(SYNTAX),
            _ => return Err(super::wrong_number(name).into()),
        };
        let found = read_typed::<Zset>(ctx, args[1])?.and_then(|entry| {
            let zset = typed::<Zset>(ctx, entry);
            zset.rank(args[2]).map(|(rank, score)| (counted(rank, zset.len()), score))
        });
        match (found, with_score) {
            (None, false) => ctx.reply.null(),
            (None, true) => ctx.reply.null_array(),
            (Some((rank, _)), false) => ctx.reply.integer(rank as i64),
            (Some((rank, score)), true) => {
                ctx.reply.array(2);
                ctx.reply.integer(rank as i64);
                ctx.reply.double(score);
            }
        }
        Ok(())
    });
}

/// ZRANDMEMBER key [count [WITHSCORES]]
fn zrandmember(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let Some(count) = args.get(2) else { return reply_random_member(ctx, args[1]) };
        let count = RandomCount::parse(count)?;
        let with_scores = last_option(args, 3, "WITHSCORES")?;
        count.check_pairs(with_scores)?;
        let Some(entry) = read_typed::<Zset>(ctx, args[1])? else {
            ctx.reply.array(0);
            return Ok(());
        };
        let zset = zset_at(ctx.keyspace, entry);
        let ranks = count.ranks(ctx.random, zset.len());
        let members = ranks.iter().map(|rank| zset.get(*rank).expect("a rank below the length"));
        reply_members(&mut ctx.reply, ranks.len(), members, with_scores);
        Ok(())
    });
}

fn reply_random_member(ctx: &mut Ctx<'_>, key: &[u8]) -> Result<(), Failure> {
    match read_typed::<Zset>(ctx, key)? {
        None => ctx.reply.null(),
        Some(entry) => {
            let zset = zset_at(ctx.keyspace, entry);
            let (member, _) = zset.get(ctx.random.usize(..zset.len())).expect("a rank below the length");
            member.with_bytes(|member| ctx.reply.bulk(member));
        }
    }
    Ok(())
}

/// ZSCAN key cursor [MATCH pattern] [COUNT count]
fn zscan(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let scan = ElementScan::new(args)?;
        let Some(entry) = read_typed::<Zset>(ctx, args[1])? else {
            reply_scan(ctx, 0, &[]);
            return Ok(());
        };
        let (cursor, options) = scan.options()?;
        let mut found = Vec::new();
        let next = zset_at(ctx.keyspace, entry).scan(cursor, options.count, |member, score| {
            if shows(&options, member) {
                found.extend([member.to_vec(), score.to_vec()]);
            }
        });
        reply_scan(ctx, next, &found);
        Ok(())
    });
}

// --- Shared --------------------------------------------------------------------------------------------------------------

/// The sorted set of an entry that was checked to hold one; unlike `typed` it leaves the rest of the context free.
pub fn zset_at(keyspace: &Keyspace, entry: Entry) -> &Zset {
    Zset::of(keyspace.value(entry)).expect("the entry was checked to hold a sorted set")
}

/// Answers `count` members, with their scores as pairs in RESP3 and between them in RESP2.
pub fn reply_members<'m>(
    reply: &mut Reply<'_>,
    count: usize,
    members: impl Iterator<Item = (Packed<'m>, f64)>,
    with_scores: bool,
) {
    let pairs = with_scores && reply.protocol == Protocol::Resp3;
    reply.array(if with_scores && !pairs { count * 2 } else { count });
    for (member, score) in members {
        if pairs {
            reply.array(2);
        }
        member.with_bytes(|member| reply.bulk(member));
        if with_scores {
            reply.double(score);
        }
    }
}

/// What a STORE command does with its result: `key` holds it, or is deleted when it is empty. Answers the number of members.
/// `args` is the command itself, which is its effect where replay finds all keys.
pub fn store(ctx: &mut Ctx<'_>, key: &[u8], result: Zset, event: &'static str, args: &[&[u8]]) {
    let len = result.len();
    ctx.reply.integer(len as i64);
    if len == 0 {
        delete_even_expired(ctx, key);
        return;
    }
    let replaces = ctx.find(key).is_some();
    if ctx.gathered {
        if replaces {
            ctx.effect(&[b"DEL", key]);
        }
        let mut members = result.iter().map(|(member, score)| (score, member.bytes())).peekable();
        while members.peek().is_some() {
            let piece: Vec<_> = members.by_ref().take(EFFECT_ELEMENTS_MAX).collect();
            let piece: Vec<(f64, &[u8])> = piece.iter().map(|(score, member)| (*score, &**member)).collect();
            add_effects(ctx, key, &piece);
        }
    } else {
        ctx.effect(args);
    }
    ctx.put(key, result.into_value(), None);
    ctx.notify(EventClasses::ZSET, event, key);
}
