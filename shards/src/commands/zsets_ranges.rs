//! Ranges of sorted sets: by rank, by score, by member; to be answered, counted, stored or removed.

use super::arguments::{
    Failure, NumberText, SYNTAX, answer, find_typed, integer, is, read_typed, remove_emptied, typed, typed_mut,
};
use super::context::Ctx;
use super::events::EventClasses;
use super::table::{Command, Multi, Route, Run, Spec, flags};
use super::zsets::{reply_members, store, zset_at};
use crate::keyspace::Entry;
use crate::resp::parse_bound;
use crate::types::Zset;
use crate::types::listpack::Packed;
use crate::types::zset::{LexBound, LexRange, ScoreBound, ScoreRange};
use std::ops::Range;

pub static COMMANDS: &[Command] = &[
Command::new("zrange", -4, flags::READONLY, Route::Keys(Multi::Never), Run::Data(zrange))
.keys(1, 1, 1).specs(&[Spec::at(1, "RO access")]).acl(&["read", "sortedset", "slow"]).arguments("key start stop [sortby(BYSCORE | BYLEX)] [REV] [LIMIT limit(offset:integer count:integer)] [WITHSCORES]")
.doc("sorted-set", "1.2.0", "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements returned.", "Returns members in a sorted set within a range of indexes"),
Command::new("zrangestore", -5, flags::WRITE | flags::DENYOOM, Route::Keys(Multi::Gather), Run::Data(zrangestore))
.keys(1, 2, 1).specs(&[Spec::at(1, "OW update"), Spec::at(2, "RO access")]).acl(&["write", "sortedset", "slow"]).arguments("dst:key src:key min max [sortby(BYSCORE | BYLEX)] [REV] [LIMIT limit(offset:integer count:integer)]")
.doc("sorted-set", "6.2.0", "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements stored into the destination key.", "Stores a range of members from sorted set in a key"),
Command::new("zrangebyscore", -4, flags::READONLY, Route::Keys(Multi::Never), Run::Data(zrangebyscore))
.keys(1, 1, 1).specs(&[Spec::at(1, "RO access")]).acl(&["read", "sortedset", "slow"]).arguments("key min:double max:double [WITHSCORES] [LIMIT limit(offset:integer count:integer)]")
.doc("sorted-set", "1.0.5", "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements being returned. If M is constant (e.g. always asking for the first 10 elements with LIMIT), you can consider it O(log(N)).", "Returns members in a sorted set within a range of scores"),
Command::new("zrevrangebyscore", -4, flags::READONLY, Route::Keys(Multi::Never), Run::Data(zrevrangebyscore))
.keys(1, 1, 1).specs(&[Spec::at(1, "RO access")]).acl(&["read", "sortedset", "slow"]).arguments("key max:double min:double [WITHSCORES] [LIMIT limit(offset:integer count:integer)]")
.doc("sorted-set", "2.2.0", "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements being returned. If M is constant (e.g. always asking for the first 10 elements with LIMIT), you can consider it O(log(N)).", "Returns members in a sorted set within a range of scores in reverse order"),
Command::new("zrangebylex", -4, flags::READONLY, Route::Keys(Multi::Never), Run::Data(zrangebylex))
.keys(1, 1, 1).specs(&[Spec::at(1, "RO access")]).acl(&["read", "sortedset", "slow"]).arguments("key min max [LIMIT limit(offset:integer count:integer)]")
.doc("sorted-set", "2.8.9", "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements being returned. If M is constant (e.g. always asking for the first 10 elements with LIMIT), you can consider it O(log(N)).", "Returns members in a sorted set within a lexicographical range"),
Command::new("zrevrangebylex", -4, flags::READONLY, Route::Keys(Multi::Never), Run::Data(zrevrangebylex))
.keys(1, 1, 1).specs(&[Spec::at(1, "RO access")]).acl(&["read", "sortedset", "slow"]).arguments("key max min [LIMIT limit(offset:integer count:integer)]")
.doc("sorted-set", "2.8.9", "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements being returned. If M is constant (e.g. always asking for the first 10 elements with LIMIT), you can consider it O(log(N)).", "Returns members in a sorted set within a lexicographical range in reverse order"),
Command::new("zrevrange", -4, flags::READONLY, Route::Keys(Multi::Never), Run::Data(zrevrange))
.keys(1, 1, 1).specs(&[Spec::at(1, "RO access")]).acl(&["read", "sortedset", "slow"]).arguments("key start:integer stop:integer [WITHSCORES]")
.doc("sorted-set", "1.2.0", "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements returned.", "Returns members in a sorted set within a range of indexes in reverse order"),
Command::new("zcount", 4, flags::READONLY | flags::FAST, Route::Keys(Multi::Never), Run::Data(zcount))
.keys(1, 1, 1).specs(&[Spec::at(1, "RO access")]).acl(&["read", "sortedset", "fast"]).arguments("key min:double max:double")
.doc("sorted-set", "2.0.0", "O(log(N)) with N being the number of elements in the sorted set.", "Returns the count of members in a sorted set that have scores within a range"),
Command::new("zlexcount", 4, flags::READONLY | flags::FAST, Route::Keys(Multi::Never), Run::Data(zlexcount))
.keys(1, 1, 1).specs(&[Spec::at(1, "RO access")]).acl(&["read", "sortedset", "fast"]).arguments("key min max")
.doc("sorted-set", "2.8.9", "O(log(N)) with N being the number of elements in the sorted set.", "Returns the number of members in a sorted set within a lexicographical range"),
Command::new("zremrangebyrank", 4, flags::WRITE, Route::Keys(Multi::Never), Run::Data(zremrangebyrank))
.keys(1, 1, 1).specs(&[Spec::at(1, "RW delete")]).acl(&["write", "sortedset", "slow"]).arguments("key start:integer stop:integer")
.doc("sorted-set", "2.0.0", "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements removed by the operation.", "Removes members in a sorted set within a range of indexes. Deletes the sorted set if all members were removed"),
Command::new("zremrangebyscore", 4, flags::WRITE, Route::Keys(Multi::Never), Run::Data(zremrangebyscore))
.keys(1, 1, 1).specs(&[Spec::at(1, "RW delete")]).acl(&["write", "sortedset", "slow"]).arguments("key min:double max:double")
.doc("sorted-set", "1.2.0", "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements removed by the operation.", "Removes members in a sorted set within a range of scores. Deletes the sorted set if all members were removed"),
Command::new("zremrangebylex", 4, flags::WRITE, Route::Keys(Multi::Never), Run::Data(zremrangebylex))
.keys(1, 1, 1).specs(&[Spec::at(1, "RW delete")]).acl(&["write", "sortedset", "slow"]).arguments("key min max")
.doc("sorted-set", "2.8.9", "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements removed by the operation.", "Removes members in a sorted set within a lexicographical range. Deletes the sorted set if all members were removed")];

const NO_SCORE: Failure = Failure::Borrowed("ERR min or max is not a float");
const NO_MEMBER: Failure = Failure::Borrowed("ERR min or max not valid string range item");
const LIMIT_BY_RANK: Failure =
    Failure::Borrowed("ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX");
const SCORES_BY_LEX: Failure = Failure::Borrowed("ERR syntax error, WITHSCORES not supported in combination with BYLEX");

// --- What a range is -----------------------------------------------------------------------------------------------------

#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Lex,
}

/// A range with its bounds read.
enum Bounds<'a> {
    /// Counted from the end when negative.
    Ranks(i64, i64),
    Scores(ScoreRange),
    Members(LexRange<'a>),
}

impl<'a> Bounds<'a> {
    fn parse(by: By, min: &'a [u8], max: &'a [u8]) -> Result<Bounds<'a>, Failure> {
        Ok(match by {
            By::Rank => Bounds::Ranks(integer(min)?, integer(max)?),
            By::Score => Bounds::Scores(score_range(min, max)?),
            By::Lex => Bounds::Members(LexRange { min: lex_bound(min)?, max: lex_bound(max)? }),
        })
    }

    /// The ranks inside. `backwards`: ranks count from the greatest member, and so do the places of the result.
    fn ranks(&self, zset: &Zset, backwards: bool) -> Range<usize> {
        match self {
            Bounds::Ranks(start, end) => {
                let (ranks, len) = (clamp_ranks(*start, *end, zset.len()), zset.len());
                if backwards { len - ranks.end..len - ranks.start } else { ranks }
            }
            Bounds::Scores(range) => zset.score_ranks(range),
            Bounds::Members(range) => zset.lex_ranks(range, backwards),
        }
    }
}

/// Redis's rule for ranges of indices.
fn clamp_ranks(start: i64, end: i64, len: usize) -> Range<usize> {
    let from_end = |index: i64| if index < 0 { index.saturating_add(len as i64) } else { index };
    let (start, end) = (from_end(start).max(0), from_end(end));
    if start > end || start >= len as i64 {
        return 0..0;
    }
    start as usize..(end as usize + 1).min(len)
}

pub fn score_range(min: &[u8], max: &[u8]) -> Result<ScoreRange, Failure> {
    Ok(ScoreRange { min: score_bound(min)?, max: score_bound(max)? })
}

fn score_bound(text: &[u8]) -> Result<ScoreBound, Failure> {
    let (exclusive, number) = match text {
        [b'(', number @ ..] => (true, number),
        number => (false, number),
    };
    Ok(ScoreBound { score: parse_bound(number).ok_or(NO_SCORE)?, exclusive })
}

fn lex_bound(text: &[u8]) -> Result<LexBound<'_>, Failure> {
    match text {
        // Read as C strings: what stands behind a zero byte is not looked at.
        [b'-'] | [b'-', 0, ..] => Ok(LexBound::Least),
        [b'+'] | [b'+', 0, ..] => Ok(LexBound::Greatest),
        [b'[', member @ ..] => Ok(LexBound::Inclusive(member)),
        [b'(', member @ ..] => Ok(LexBound::Exclusive(member)),
        _ => Err(NO_MEMBER),
    }
}

// --- Answering -----------------------------------------------------------------------------------------------------------

/// What a command of the ZRANGE family asks for.
struct Query<'a> {
    bounds: Bounds<'a>,
    backwards: bool,
    with_scores: bool,
    /// `LIMIT offset count`; a negative count: all.
    offset: i64,
    count: i64,
}

/// What the command's name says already; ZRANGE and ZRANGESTORE leave it to options.
#[derive(Clone, Copy)]
struct Fixed {
    by: Option<By>,
    backwards: Option<bool>,
    stores: bool,
}

impl<'a> Query<'a> {
    /// `words`: the bounds and the options.
    fn parse(words: &[&'a [u8]], fixed: Fixed) -> Result<Query<'a>, Failure> {
        let (mut by, mut backwards) = (fixed.by, fixed.backwards);
        let (mut with_scores, mut offset, mut count) = (false, 0, -1);
        let mut rest = &words[2..];
        while let [word, behind @ ..] = rest {
            rest = behind;
            match () {
                () if !fixed.stores && is(word, "WITHSCORES") => with_scores = true,
                () if is(word, "LIMIT") && behind.len() >= 2 => {
                    (offset, count) = (integer(behind[0])?, integer(behind[1])?);
                    rest = &behind[2..];
                }
                () if fixed.backwards.is_none() && is(word, "REV") => backwards = Some(true),
                () if fixed.by.is_none() && by.is_none_or(|by| by == By::Lex) && is(word, "BYLEX") => by = Some(By::Lex),
                () if fixed.by.is_none() && by.is_none_or(|by| by == By::Score) && is(word, "BYSCORE") => by = Some(By::Score),
                () => return Err(SYNTAX),
            }
        }
        let (by, backwards) = (by.unwrap_or(By::Rank), backwards.unwrap_or(false));
        if by == By::Rank && count != -1 {
            return Err(LIMIT_BY_RANK);
        }
        if by == By::Lex && with_scores {
            return Err(SCORES_BY_LEX);
        }
        let (min, max) = if backwards && by != By::Rank { (words[1], words[0]) } else { (words[0], words[1]) };
        Ok(Query { bounds: Bounds::parse(by, min, max)?, backwards, with_scores, offset, count })
    }

    /// The ranks that are asked for, LIMIT applied. The result's order is theirs, or the reverse.
    fn ranks(&self, zset: &Zset) -> Range<usize> {
        let Range { start, end } = self.bounds.ranks(zset, self.backwards);
        if matches!(self.bounds, Bounds::Ranks(..)) {
            return start..end;
        }
        // A negative offset skips everything.
        let skipped = usize::try_from(self.offset).unwrap_or(usize::MAX).min(end - start);
        let taken = usize::try_from(self.count).unwrap_or(usize::MAX).min(end - start - skipped);
        if self.backwards { end - skipped - taken..end - skipped } else { start + skipped..start + skipped + taken }
    }

    /// The members of these ranks in the order that is asked for.
    fn members<'z>(&self, zset: &'z Zset, ranks: Range<usize>) -> impl Iterator<Item = (Packed<'z>, f64)> + use<'z> {
        let from = if self.backwards { zset.iter_back_from(ranks.end.wrapping_sub(1)) } else { zset.iter_from(ranks.start) };
        from.take(ranks.len())
    }
}

const BY_OPTIONS: Fixed = Fixed { by: None, backwards: None, stores: false };

/// ZRANGE key start stop [BYSCORE | BYLEX] [REV] [LIMIT offset count] [WITHSCORES]
fn zrange(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    reply_range(ctx, args, BY_OPTIONS);
}

/// ZREVRANGE key start stop [WITHSCORES]
fn zrevrange(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    reply_range(ctx, args, Fixed { by: Some(By::Rank), backwards: Some(true), ..BY_OPTIONS });
}

/// ZRANGEBYSCORE key min max [WITHSCORES] [LIMIT offset count]
fn zrangebyscore(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    reply_range(ctx, args, Fixed { by: Some(By::Score), backwards: Some(false), ..BY_OPTIONS });
}

/// ZREVRANGEBYSCORE key max min [WITHSCORES] [LIMIT offset count]
fn zrevrangebyscore(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    reply_range(ctx, args, Fixed { by: Some(By::Score), backwards: Some(true), ..BY_OPTIONS });
}

/// ZRANGEBYLEX key min max [LIMIT offset count]
fn zrangebylex(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    reply_range(ctx, args, Fixed { by: Some(By::Lex), backwards: Some(false), ..BY_OPTIONS });
}

/// ZREVRANGEBYLEX key max min [LIMIT offset count]
fn zrevrangebylex(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    reply_range(ctx, args, Fixed { by: Some(By::Lex), backwards: Some(true), ..BY_OPTIONS });
}

fn reply_range(ctx: &mut Ctx<'_>, args: &[&[u8]], fixed: Fixed) {
    answer(ctx, |ctx| {
        let query = Query::parse(&args[2..], fixed)?;
        let Some(entry) = read_typed::<Zset>(ctx, args[1])? else {
            ctx.reply.array(0);
            return Ok(());
        };
        let zset = zset_at(ctx.keyspace, entry);
        let ranks = query.ranks(zset);
        reply_members(&mut ctx.reply, ranks.len(), query.members(zset, ranks), query.with_scores);
        Ok(())
    });
}

/// ZRANGESTORE dst src min max [BYSCORE | BYLEX] [REV] [LIMIT offset count]
fn zrangestore(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let query = Query::parse(&args[3..], Fixed { stores: true, ..BY_OPTIONS })?;
        let entry = read_typed::<Zset>(ctx, args[2])?;
        let limits = *ctx.keyspace.limits();
        let result = entry.map_or(Zset::new(), |entry| {
            let zset = zset_at(ctx.keyspace, entry);
            let ranks = query.ranks(zset);
            // Only a range of ranks tells Redis beforehand how many there will be.
            let expected = if matches!(query.bounds, Bounds::Ranks(..)) { ranks.len() } else { 0 };
            let mut result = Zset::for_members(expected, 0, &limits);
            for (member, score) in query.members(zset, ranks) {
                member.with_bytes(|member| result.insert(member, score, &limits));
            }
            result
        });
        store(ctx, args[1], result, "zrangestore", args);
        Ok(())
    });
}

// --- Counting ------------------------------------------------------------------------------------------------------------

/// ZCOUNT key min max
fn zcount(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    reply_count(ctx, args, By::Score);
}

/// ZLEXCOUNT key min max
fn zlexcount(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    reply_count(ctx, args, By::Lex);
}

fn reply_count(ctx: &mut Ctx<'_>, args: &[&[u8]], by: By) {
    answer(ctx, |ctx| {
        let bounds = Bounds::parse(by, args[2], args[3])?;
        let count = read_typed::<Zset>(ctx, args[1])?.map_or(0, |entry| bounds.ranks(typed(ctx, entry), false).len());
        ctx.reply.integer(count as i64);
        Ok(())
    });
}

// --- Removing ------------------------------------------------------------------------------------------------------------

/// ZREMRANGEBYRANK key start stop
fn zremrangebyrank(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    remove_range(ctx, args, By::Rank, "zremrangebyrank");
}

/// ZREMRANGEBYSCORE key min max
fn zremrangebyscore(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    remove_range(ctx, args, By::Score, "zremrangebyscore");
}

/// ZREMRANGEBYLEX key min max
fn zremrangebylex(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    remove_range(ctx, args, By::Lex, "zremrangebylex");
}

/// The effect names ranks: a range of members in a set of several scores depends on the form, which replay may choose differently.
fn remove_range(ctx: &mut Ctx<'_>, args: &[&[u8]], by: By, event: &'static str) {
    answer(ctx, |ctx| {
        let bounds = Bounds::parse(by, args[2], args[3])?;
        let Some(entry) = find_typed::<Zset>(ctx, args[1])? else {
            ctx.reply.integer(0);
            return Ok(());
        };
        let ranks = bounds.ranks(typed(ctx, entry), false);
        ctx.reply.integer(ranks.len() as i64);
        if !ranks.is_empty() {
            remove_ranks(ctx, args[1], entry, ranks, event);
        }
        Ok(())
    });
}

/// Removes members by ranks that are not empty; states that and raises the notification.
pub fn remove_ranks(ctx: &mut Ctx<'_>, key: &[u8], entry: Entry, ranks: Range<usize>, event: &'static str) {
    let (first, last) = (NumberText::new(ranks.start as i64), NumberText::new(ranks.end as i64 - 1));
    ctx.effect(&[b"ZREMRANGEBYRANK", key, first.bytes(), last.bytes()]);
    ctx.notify(EventClasses::ZSET, event, key);
    if ranks.len() == typed::<Zset>(ctx, entry).len() {
        // Freed in steps by the keyspace, not member by member here.
        remove_emptied(ctx, key, entry);
    } else {
        typed_mut::<Zset>(ctx, entry).remove_ranks(ranks);
    }
}
