//! Sorted sets as sets: ZUNION, ZINTER, ZDIFF, ZINTERCARD and their STORE forms. Sets take part with the score 1.

use super::arguments::{Failure, SYNTAX, WRONG_TYPE, answer, integer, is};
use super::context::Ctx;
use super::lookup::{counted_keys, stored_counted_keys};
use super::table::{Command, Multi, Route, Run, Spec, flags};
use super::zsets::{reply_members, store};
use crate::resp::{parse_double, parse_integer};
use crate::types::element::Element;
use crate::types::listpack::Packed;
use crate::types::{Value, Zset};
use std::collections::BTreeMap;
use std::ops::ControlFlow;

pub static COMMANDS: &[Command] = &[
Command::new("zunion", -3, flags::READONLY | flags::MOVABLEKEYS, Route::Keys(Multi::Gather), Run::Data(zunion))
.find_keys(counted_keys).specs(&[Spec::key_num(1, "RO access")]).acl(&["read", "sortedset", "slow"]).arguments("numkeys:integer key... [WEIGHTS weight:integer...] [AGGREGATE aggregate(SUM | MIN | MAX)] [WITHSCORES]")
.doc("sorted-set", "6.2.0", "O(N)+O(M*log(M)) with N being the sum of the sizes of the input sorted sets, and M being the number of elements in the resulting sorted set.", "Returns the union of multiple sorted sets"),
Command::new("zinter", -3, flags::READONLY | flags::MOVABLEKEYS, Route::Keys(Multi::Gather), Run::Data(zinter))
.find_keys(counted_keys).specs(&[Spec::key_num(1, "RO access")]).acl(&["read", "sortedset", "slow"]).arguments("numkeys:integer key... [WEIGHTS weight:integer...] [AGGREGATE aggregate(SUM | MIN | MAX)] [WITHSCORES]")
.doc("sorted-set", "6.2.0", "O(N*K)+O(M*log(M)) worst case with N being the smallest input sorted set, K being the number of input sorted sets and M being the number of elements in the resulting sorted set.", "Returns the intersect of multiple sorted sets"),
Command::new("zdiff", -3, flags::READONLY | flags::MOVABLEKEYS, Route::Keys(Multi::Gather), Run::Data(zdiff))
.find_keys(counted_keys).specs(&[Spec::key_num(1, "RO access")]).acl(&["read", "sortedset", "slow"]).arguments("numkeys:integer key... [WITHSCORES]")
.doc("sorted-set", "6.2.0", "O(L + (N-K)log(N)) worst case where L is the total number of elements in all the sets, N is the size of the first set, and K is the size of the result set.", "Returns the difference between multiple sorted sets"),
Command::new("zintercard", -3, flags::READONLY | flags::MOVABLEKEYS, Route::Keys(Multi::Gather), Run::Data(zintercard))
.find_keys(counted_keys).specs(&[Spec::key_num(1, "RO access")]).acl(&["read", "sortedset", "slow"]).arguments("numkeys:integer key... [LIMIT limit:integer]")
.doc("sorted-set", "7.0.0", "O(N*K) worst case with N being the smallest input sorted set, K being the number of input sorted sets.", "Returns the number of members of the intersect of multiple sorted sets"),
Command::new("zunionstore", -4, flags::WRITE | flags::DENYOOM | flags::MOVABLEKEYS, Route::Keys(Multi::Gather), Run::Data(zunionstore))
.find_keys(stored_counted_keys).specs(&[Spec::at(1, "OW update"), Spec::key_num(2, "RO access")]).acl(&["write", "sortedset", "slow"]).arguments("destination:key numkeys:integer key... [WEIGHTS weight:integer...] [AGGREGATE aggregate(SUM | MIN | MAX)]")
.doc("sorted-set", "2.0.0", "O(N)+O(M log(M)) with N being the sum of the sizes of the input sorted sets, and M being the number of elements in the resulting sorted set.", "Stores the union of multiple sorted sets in a key"),
Command::new("zinterstore", -4, flags::WRITE | flags::DENYOOM | flags::MOVABLEKEYS, Route::Keys(Multi::Gather), Run::Data(zinterstore))
.find_keys(stored_counted_keys).specs(&[Spec::at(1, "OW update"), Spec::key_num(2, "RO access")]).acl(&["write", "sortedset", "slow"]).arguments("destination:key numkeys:integer key... [WEIGHTS weight:integer...] [AGGREGATE aggregate(SUM | MIN | MAX)]")
.doc("sorted-set", "2.0.0", "O(N*K)+O(M*log(M)) worst case with N being the smallest input sorted set, K being the number of input sorted sets and M being the number of elements in the resulting sorted set.", "Stores the intersect of multiple sorted sets in a key"),
Command::new("zdiffstore", -4, flags::WRITE | flags::DENYOOM | flags::MOVABLEKEYS, Route::Keys(Multi::Gather), Run::Data(zdiffstore))
.find_keys(stored_counted_keys).specs(&[Spec::at(1, "OW update"), Spec::key_num(2, "RO access")]).acl(&["write", "sortedset", "slow"]).arguments("destination:key numkeys:integer key...")
.doc("sorted-set", "6.2.0", "O(L + (N-K)log(N)) worst case where L is the total number of elements in all the sets, N is the size of the first set, and K is the size of the result set.", "Stores the difference of multiple sorted sets in a key")];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Union,
    Inter,
    Diff,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn of(self, a: f64, b: f64) -> f64 {
        match self {
            Aggregate::Sum => number(a + b),
            Aggregate::Min if b < a => b,
            Aggregate::Max if b > a => b,
            Aggregate::Min | Aggregate::Max => a,
        }
    }
}

/// Infinities that even each other out, or that are multiplied by 0, give 0.
fn number(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

/// What a member of a set without scores counts.
const SCORE_IN_SET: f64 = 1.0;

/// One of the sets that a command combines.
#[derive(Clone)]
struct Source {
    /// A clone, which shares everything; None: the key is absent.
    value: Option<Value>,
    weight: f64,
}

impl Source {
    fn len(&self) -> usize {
        match &self.value {
            Some(Value::Zset(zset)) => zset.len(),
            Some(Value::Set(set)) => set.len(),
            _ => 0,
        }
    }

    fn score(&self, member: &[u8]) -> Option<f64> {
        match &self.value {
            Some(Value::Zset(zset)) => zset.score(member),
            Some(Value::Set(set)) => set.contains(member).then_some(SCORE_IN_SET),
            _ => None,
        }
    }

    fn for_each(&self, mut visit: impl FnMut(&[u8], f64) -> ControlFlow<()>) {
        let _ = match &self.value {
            Some(Value::Zset(zset)) => {
                zset.iter().try_for_each(|(member, score)| member.with_bytes(|member| visit(member, score)))
            }
            Some(Value::Set(set)) => set.iter().try_for_each(|member| member.with_bytes(|member| visit(member, SCORE_IN_SET))),
            _ => ControlFlow::Continue(()),
        };
    }
}

/// What a command asks for.
struct Query {
    operation: Operation,
    sources: Vec<Source>,
    aggregate: Aggregate,
    with_scores: bool,
    /// Of ZINTERCARD: count no further. 0: count all.
    limit: usize,
}

/// Which options a command takes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Answers,
    Stores,
    Counts,
}

impl Query {
    /// `words`: from the number of keys on.
    fn parse(ctx: &mut Ctx<'_>, name: &str, operation: Operation, form: Form, words: &[&[u8]]) -> Result<Query, Failure> {
        let count = integer(words[0])?;
        if count < 1 {
            return Err(format!("ERR at least 1 input key is needed for '{name}' command").into());
        }
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let (keys, mut rest) = words[1..].split_at_checked(count).ok_or(SYNTAX)?;
        let sources = keys.iter().map(|key| source(ctx, key)).collect::<Result<Vec<Source>, Failure>>()?;
        let mut query = Query { operation, sources, aggregate: Aggregate::Sum, with_scores: false, limit: 0 };
        while let [word, behind @ ..] = rest {
            let combines = operation != Operation::Diff && form != Form::Counts;
            rest = match () {
                () if combines && behind.len() >= count && is(word, "WEIGHTS") => query.weights(behind)?,
                () if combines && !behind.is_empty() && is(word, "AGGREGATE") => {
                    query.aggregate = aggregate(behind[0])?;
                    &behind[1..]
                }
                () if form == Form::Answers && is(word, "WITHSCORES") => {
                    query.with_scores = true;
                    behind
                }
                () if form == Form::Counts && !behind.is_empty() && is(word, "LIMIT") => {
                    let limit = parse_integer(behind[0]).and_then(|limit| usize::try_from(limit).ok());
                    query.limit = limit.ok_or("ERR LIMIT can't be negative")?;
                    &behind[1..]
                }
                () => return Err(SYNTAX),
            };
        }
        Ok(query)
    }

    /// Reads a weight for each source; gives the words behind them.
    fn weights<'w, 'a>(&mut self, words: &'w [&'a [u8]]) -> Result<&'w [&'a [u8]], Failure> {
        let (weights, rest) = words.split_at(self.sources.len());
        for (source, weight) in self.sources.iter_mut().zip(weights) {
            source.weight = parse_double(weight).ok_or("ERR weight value is not a float")?;
        }
        Ok(rest)
    }

    /// The result in order.
    fn run(mut self) -> Vec<(Element, f64)> {
        if self.operation != Operation::Diff {
            // The smallest first, as in Redis: sums of doubles depend on the order.
            self.sources.sort_by_key(Source::len);
        }
        let mut members = match self.operation {
            Operation::Union => self.union(),
            Operation::Inter => self.intersection(),
            Operation::Diff => self.difference(),
        };
        members.sort_by(|(a, a_score), (b, b_score)| {
            a_score.partial_cmp(b_score).expect("scores are never NaN").then_with(|| a.cmp(b))
        });
        members
    }

    fn union(&self) -> Vec<(Element, f64)> {
        let mut scores: BTreeMap<Element, f64> = BTreeMap::new();
        for source in &self.sources {
            source.for_each(|member, score| {
                let score = number(source.weight * score);
                let known = scores.entry(Element::new(member));
                known.and_modify(|known| *known = self.aggregate.of(*known, score)).or_insert(score);
                ControlFlow::Continue(())
            });
        }
        scores.into_iter().collect()
    }

    /// Shows the members that are in all sources.
    fn for_each_in_all(&self, mut visit: impl FnMut(&[u8], f64) -> ControlFlow<()>) {
        let (first, others) = self.sources.split_first().expect("at least one key");
        first.for_each(|member, score| {
            let score = others.iter().try_fold(number(first.weight * score), |score, source| {
                Some(self.aggregate.of(score, source.score(member)? * source.weight))
            });
            score.map_or(ControlFlow::Continue(()), |score| visit(member, score))
        });
    }

    fn intersection(&self) -> Vec<(Element, f64)> {
        let mut members = Vec::new();
        self.for_each_in_all(|member, score| {
            members.push((Element::new(member), score));
            ControlFlow::Continue(())
        });
        members
    }

    fn difference(&self) -> Vec<(Element, f64)> {
        let (first, others) = self.sources.split_first().expect("at least one key");
        let mut members = Vec::new();
        first.for_each(|member, score| {
            if others.iter().all(|source| source.score(member).is_none()) {
                members.push((Element::new(member), score));
            }
            ControlFlow::Continue(())
        });
        members
    }
}

fn source(ctx: &mut Ctx<'_>, key: &[u8]) -> Result<Source, Failure> {
    let value = match ctx.read(key).map(|entry| ctx.value(entry)) {
        None => None,
        Some(value @ (Value::Zset(_) | Value::Set(_))) => Some(value.clone()),
        Some(_) => return Err(WRONG_TYPE),
    };
    Ok(Source { value, weight: 1.0 })
}

fn aggregate(word: &[u8]) -> Result<Aggregate, Failure> {
    match () {
        () if is(word, "SUM") => Ok(Aggregate::Sum),
        () if is(word, "MIN") => Ok(Aggregate::Min),
        () if is(word, "MAX") => Ok(Aggregate::Max),
        () => Err(SYNTAX),
    }
}

/// ZUNION numkeys key [key …] [WEIGHTS weight …] [AGGREGATE SUM | MIN | MAX] [WITHSCORES]
fn zunion(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    reply_combined(ctx, args, "zunion", Operation::Union);
}

/// ZINTER: as ZUNION
fn zinter(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    reply_combined(ctx, args, "zinter", Operation::Inter);
}

/// ZDIFF numkeys key [key …] [WITHSCORES]
fn zdiff(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    reply_combined(ctx, args, "zdiff", Operation::Diff);
}

fn reply_combined(ctx: &mut Ctx<'_>, args: &[&[u8]], name: &str, operation: Operation) {
    answer(ctx, |ctx| {
        let query = Query::parse(ctx, name, operation, Form::Answers, &args[1..])?;
        let with_scores = query.with_scores;
        let members = query.run();
        let shown = members.iter().map(|(member, score)| (Packed::Bytes(member), *score));
        reply_members(&mut ctx.reply, members.len(), shown, with_scores);
        Ok(())
    });
}

/// ZINTERCARD numkeys key [key …] [LIMIT limit]
fn zintercard(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let mut query = Query::parse(ctx, "zintercard", Operation::Inter, Form::Counts, &args[1..])?;
        query.sources.sort_by_key(Source::len);
        let mut count = 0;
        query.for_each_in_all(|_, _| {
            count += 1;
            if count == query.limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        ctx.reply.integer(count as i64);
        Ok(())
    });
}

/// ZUNIONSTORE destination numkeys key [key …] [WEIGHTS weight …] [AGGREGATE SUM | MIN | MAX]
fn zunionstore(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    store_combined(ctx, args, "zunionstore", Operation::Union);
}

/// ZINTERSTORE: as ZUNIONSTORE
fn zinterstore(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    store_combined(ctx, args, "zinterstore", Operation::Inter);
}

/// ZDIFFSTORE destination numkeys key [key …]
fn zdiffstore(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    store_combined(ctx, args, "zdiffstore", Operation::Diff);
}

fn store_combined(ctx: &mut Ctx<'_>, args: &[&[u8]], name: &'static str, operation: Operation) {
    answer(ctx, |ctx| {
        let query = Query::parse(ctx, name, operation, Form::Stores, &args[2..])?;
        let result = Zset::from_ordered(query.run(), ctx.keyspace.limits());
        store(ctx, args[1], result, name, args);
        Ok(())
    });
}
