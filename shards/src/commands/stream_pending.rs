//! Pending entries: XPENDING, XCLAIM, XAUTOCLAIM.

use super::arguments::{Failure, SYNTAX, WRONG_TYPE, integer, is, typed_mut};
use super::context::Ctx;
use super::stream_arguments::{Bound, Refusal, answer_or_refuse, interval, reply_entry, reply_id, stream_at, stream_id};
use super::stream_groups::release;
use super::stream_reads::{effect_of_position, enter_consumer, redeliver};
use super::table::{Command, Multi, Route, Run, Spec, flags};
use crate::keyspace::Entry;
use crate::resp::parse_integer;
use crate::types::stream::{Group, Pending, StreamId};
use crate::types::{Stream, Typed};

pub static COMMANDS: &[Command] = &[
Command::new("xpending", -3, flags::READONLY, Route::Keys(Multi::Never), Run::Data(xpending))
.keys(1, 1, 1)
.specs(&[Spec::at(1, "RO access")])
.acl(&["read", "stream", "slow"])
.tips(&["nondeterministic_output"])
.arguments("key group [filters([IDLE min-idle-time:integer] start end count:integer [consumer])]")
.doc("stream", "5.0.0", "O(N) with N being the number of elements returned, so asking for a small fixed number of entries per call is O(1). O(M), where M is the total number of entries scanned when used with the IDLE filter. When the command returns just the summary and the list of consumers is small, it runs in O(1) time; otherwise, an additional O(N) time for iterating every consumer.", "Returns the information and entries from a stream consumer group's pending entries list."),
Command::new("xclaim", -6, flags::WRITE | flags::FAST, Route::Keys(Multi::Never), Run::Data(xclaim))
.keys(1, 1, 1)
.specs(&[Spec::at(1, "RW update")])
.acl(&["write", "stream", "fast"])
.tips(&["nondeterministic_output"])
.arguments("key group consumer min-idle-time id... [IDLE ms:integer] [TIME unix-time-milliseconds:unix-time] [RETRYCOUNT count:integer] [FORCE] [JUSTID] [LASTID lastid]")
.doc("stream", "5.0.0", "O(log N) with N being the number of messages in the PEL of the consumer group.", "Changes, or acquires, ownership of a message in a consumer group, as if the message was delivered a consumer group member."),
Command::new("xautoclaim", -6, flags::WRITE | flags::FAST, Route::Keys(Multi::Never), Run::Data(xautoclaim))
.keys(1, 1, 1)
.specs(&[Spec::at(1, "RW delete")])
.acl(&["write", "stream", "fast"])
.tips(&["nondeterministic_output"])
.arguments("key group consumer min-idle-time start [COUNT count:integer] [JUSTID]")
.doc("stream", "6.2.0", "O(1) if COUNT is small.", "Changes, or acquires, ownership of messages in a consumer group, as if the messages were delivered to as consumer group member."),
];

fn no_group(key: &[u8], group: &[u8]) -> Refusal {
    Refusal::showing(["NOGROUP No such key '", "' or consumer group '", "'"], [key, group])
}

/// The stream's entry; an error unless it has the group.
fn with_group(ctx: &mut Ctx<'_>, key: &[u8], group: &[u8]) -> Result<Entry, Refusal> {
    let entry = ctx.read(key);
    checked_to_have_group(ctx, entry, key, group)
}

fn checked_to_have_group(ctx: &Ctx<'_>, entry: Option<Entry>, key: &[u8], group: &[u8]) -> Result<Entry, Refusal> {
    let entry = entry.ok_or_else(|| no_group(key, group))?;
    let stream = Stream::of(ctx.value(entry)).ok_or(WRONG_TYPE)?;
    if stream.group(group).is_some() { Ok(entry) } else { Err(no_group(key, group)) }
}

/// Milliseconds since it was delivered.
fn idle_ms(now_ms: i64, pending: &Pending) -> i64 {
    now_ms.saturating_sub(pending.delivered_ms)
}

// --- XPENDING ------------------------------------------------------------------------------------------------------------

/// XPENDING key group [[IDLE min-idle-time] start end count [consumer]]
fn xpending(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer_or_refuse(ctx, |ctx| {
        let (key, name) = (args[1], args[2]);
        if args.len() > 3 && !(6..=9).contains(&args.len()) {
            return Err(SYNTAX.into());
        }
        let query = if args.len() > 3 { Some(Query::parse(&args[3..])?) } else { None };
        let entry = with_group(ctx, key, name)?;
        let group = stream_at(ctx.keyspace, entry).group(name).expect("just seen");
        match query {
            None => reply_summary(ctx, entry, name),
            Some(query) => {
                let found = query.find(group, ctx.now_ms);
                ctx.reply.array(found.len());
                for pending in found {
                    ctx.reply.array(4);
                    reply_id(&mut ctx.reply, pending.id);
                    ctx.reply.bulk(&pending.consumer);
                    ctx.reply.integer(idle_ms(ctx.now_ms, pending).max(0));
                    ctx.reply.integer(pending.deliveries as i64);
                }
            }
        }
        Ok(())
    });
}

fn reply_summary(ctx: &mut Ctx<'_>, entry: Entry, name: &[u8]) {
    let group = stream_at(ctx.keyspace, entry).group(name).expect("just seen");
    let reply = &mut ctx.reply;
    reply.array(4);
    reply.integer(group.pending_len() as i64);
    let Some(last) = group.pending_len().checked_sub(1) else {
        reply.null();
        reply.null();
        reply.null_array();
        return;
    };
    for rank in [0, last] {
        reply_id(reply, group.pending_from(rank).next().expect("it is within").id);
    }
    let owners = || group.consumers().filter(|consumer| !consumer.is_empty());
    reply.array(owners().count());
    for consumer in owners() {
        reply.array(2);
        reply.bulk(consumer.name());
        reply.bulk_integer(consumer.len() as i64);
    }
}

struct Query<'a> {
    min_idle_ms: i64,
    start: StreamId,
    end: StreamId,
    count: usize,
    consumer: Option<&'a [u8]>,
}

impl<'a> Query<'a> {
    fn parse(words: &[&'a [u8]]) -> Result<Query<'a>, Failure> {
        let (min_idle_ms, words) = match words {
            [word, idle, rest @ ..] if is(word, "IDLE") => {
                let idle = integer(idle)?;
                if rest.len() < 3 {
                    return Err(SYNTAX);
                }
                (idle, rest)
            }
            words => (0, words),
        };
        let [start, end, count, consumer @ ..] = words else { return Err(SYNTAX) };
        let count = usize::try_from(integer(count)?).unwrap_or(0);
        let (start, end) = interval(start, end)?;
        Ok(Query { min_idle_ms, start, end, count, consumer: consumer.first().copied() })
    }

    fn find<'g>(&self, group: &'g Group, now_ms: i64) -> Vec<&'g Pending> {
        let idle_enough = |pending: &&Pending| self.min_idle_ms == 0 || idle_ms(now_ms, pending) >= self.min_idle_ms;
        let within = |id: StreamId| id <= self.end;
        match self.consumer {
            None => {
                let from_start = group.pending_from(group.rank(self.start));
                from_start.take_while(|pending| within(pending.id)).filter(idle_enough).take(self.count).collect()
            }
            Some(consumer) => {
                let Some(consumer) = group.consumer(consumer) else { return Vec::new() };
                let ids = consumer.pending_from(consumer.rank(self.start)).take_while(|id| within(*id));
                let pending = ids.map(|id| group.pending(id).expect("what a consumer has is pending in its group"));
                pending.filter(idle_enough).take(self.count).collect()
            }
        }
    }
}

// --- XCLAIM --------------------------------------------------------------------------------------------------------------

struct Claim {
    min_idle_ms: i64,
    ids: Vec<StreamId>,
    delivered_ms: i64,
    deliveries: Option<u64>,
    force: bool,
    just_id: bool,
    last_id: StreamId,
}

impl Claim {
    fn parse(args: &[&[u8]], now_ms: i64, replaying: bool) -> Result<Claim, Refusal> {
        let min_idle_ms = parse_integer(args[4]).ok_or("ERR Invalid min-idle-time argument for XCLAIM")?.max(0);
        let ids: Vec<StreamId> = args[5..].iter().map_while(|id| stream_id(id, 0).ok()).collect();
        let mut claim = Claim {
            min_idle_ms,
            ids,
            delivered_ms: now_ms,
            deliveries: None,
            force: false,
            just_id: false,
            last_id: StreamId::ZERO,
        };
        let mut rest = &args[5 + claim.ids.len()..];
        while let [word, others @ ..] = rest {
            let taken = match others.first() {
                _ if is(word, "FORCE") => {
                    claim.force = true;
                    0
                }
                _ if is(word, "JUSTID") => {
                    claim.just_id = true;
                    0
                }
                Some(value) => claim.option(word, value, now_ms)?,
                None => return Err(unrecognized(word)),
            };
            rest = &others[taken..];
        }
        // A time to come, or before time, is now. What was logged is as it was.
        if !replaying && !(0..=now_ms).contains(&claim.delivered_ms) {
            claim.delivered_ms = now_ms;
        }
        Ok(claim)
    }

    /// An option with a value; gives the number of words that it takes behind its own.
    fn option(&mut self, word: &[u8], value: &[u8], now_ms: i64) -> Result<usize, Refusal> {
        let number = |name: &str| {
            let invalid = || Failure::Owned(format!("ERR Invalid {name} option argument for XCLAIM"));
            parse_integer(value).ok_or_else(invalid)
        };
        match word {
            word if is(word, "IDLE") => self.delivered_ms = now_ms.wrapping_sub(number("IDLE")?),
            word if is(word, "TIME") => self.delivered_ms = number("TIME")?,
            word if is(word, "RETRYCOUNT") => self.deliveries = u64::try_from(number("RETRYCOUNT")?).ok(),
            word if is(word, "LASTID") => self.last_id = stream_id(value, 0)?,
            word => return Err(unrecognized(word)),
        }
        Ok(1)
    }

    /// An entry that it names twice: claimed just now, so it is idle for no time, unless the claim says otherwise.
    fn again(&self, deliveries: u64, now_ms: i64) -> Outcome {
        if self.min_idle_ms > 0 && now_ms.saturating_sub(self.delivered_ms) < self.min_idle_ms {
            return Outcome::Nothing;
        }
        let counted = if self.just_id { deliveries } else { deliveries.wrapping_add(1) };
        Outcome::Claimed(self.deliveries.unwrap_or(counted))
    }

    /// What it finds of one entry.
    fn outcome(&self, stream: &Stream, group: &Group, id: StreamId, now_ms: i64, replaying: bool) -> Outcome {
        let pending = group.pending(id);
        // What was logged was there; a log of Redis 6.2 claims entries that are gone.
        if !replaying && !stream.contains(id) {
            return if pending.is_some() { Outcome::Gone } else { Outcome::Nothing };
        }
        let deliveries = match pending {
            None if !self.force => return Outcome::Nothing,
            None => 1,
            Some(pending) if self.min_idle_ms > 0 && idle_ms(now_ms, pending) < self.min_idle_ms => return Outcome::Nothing,
            Some(pending) => pending.deliveries,
        };
        let counted = if self.just_id { deliveries } else { deliveries.wrapping_add(1) };
        Outcome::Claimed(self.deliveries.unwrap_or(counted))
    }
}

fn unrecognized(word: &[u8]) -> Refusal {
    Refusal::showing(["ERR Unrecognized XCLAIM option '", "'", ""], [word, b""])
}

enum Outcome {
    Nothing,
    /// The entry is no longer in the stream: it is pending no longer.
    Gone,
    /// With its new count of deliveries.
    Claimed(u64),
}

/// XCLAIM key group consumer min-idle-time id [id …] [IDLE ms] [TIME ms] [RETRYCOUNT count] [FORCE] [JUSTID] [LASTID id]
fn xclaim(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer_or_refuse(ctx, |ctx| {
        let (key, name, consumer) = (args[1], args[2], args[3]);
        let entry = with_group(ctx, key, name)?;
        let claim = Claim::parse(args, ctx.now_ms, ctx.replaying)?;
        advance(ctx, key, entry, name, claim.last_id);
        let seen_ms = if ctx.replaying { claim.delivered_ms } else { ctx.now_ms };
        enter_consumer(ctx, [key, name, consumer], entry, seen_ms);
        let stream = stream_at(ctx.keyspace, entry);
        let group = stream.group(name).expect("just seen");
        let (mut claimed, mut gone) = (Vec::new(), Vec::new());
        let mut counts = std::collections::HashMap::new();
        for &id in &claim.ids {
            let again = counts.get(&id).map(|count| claim.again(*count, ctx.now_ms));
            match again.unwrap_or_else(|| claim.outcome(stream, group, id, ctx.now_ms, ctx.replaying)) {
                Outcome::Claimed(count) => {
                    counts.insert(id, count);
                    claimed.push((id, count));
                }
                Outcome::Gone => gone.push(id),
                Outcome::Nothing => {}
            }
        }
        reply_claimed(ctx, entry, &claimed, claim.just_id);
        redeliver(ctx, [key, name, consumer], entry, &claimed, claim.delivered_ms, seen_ms, true);
        release(ctx, key, entry, name, gone);
        Ok(())
    });
}

/// A group's last id only moves forwards.
fn advance(ctx: &mut Ctx<'_>, key: &[u8], entry: Entry, name: &[u8], last_id: StreamId) {
    let group = stream_at(ctx.keyspace, entry).group(name).expect("just seen");
    let (old, read) = (group.last_id, group.entries_read);
    if last_id > old {
        typed_mut::<Stream>(ctx, entry).change_group(name, |group| group.last_id = last_id);
        effect_of_position(ctx, key, name, last_id, read);
    }
}

/// Ids, or entries with their content.
fn reply_claimed(ctx: &mut Ctx<'_>, entry: Entry, claimed: &[(StreamId, u64)], just_id: bool) {
    let stream = stream_at(ctx.keyspace, entry);
    ctx.reply.array(claimed.len());
    for (id, _) in claimed {
        match stream.get(*id) {
            Some(entry) if !just_id => reply_entry(&mut ctx.reply, entry),
            _ => reply_id(&mut ctx.reply, *id),
        }
    }
}

// --- XAUTOCLAIM ----------------------------------------------------------------------------------------------------------

/// So many pending entries are looked at for each one that may be claimed.
const LOOKS_PER_ENTRY: usize = 10;

const AUTOCLAIM_COUNT: i64 = 100;

/// Highest COUNT, as in Redis: the size of what it keeps of them in memory must not overflow.
const AUTOCLAIM_COUNT_MAX: i64 = i64::MAX / 16;

/// XAUTOCLAIM key group consumer min-idle-time start [COUNT count] [JUSTID]
fn xautoclaim(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer_or_refuse(ctx, |ctx| {
        let (key, name, consumer) = (args[1], args[2], args[3]);
        // Looked up, and missed, before the arguments are read.
        let entry = ctx.read(key);
        let min_idle_ms = parse_integer(args[4]).ok_or("ERR Invalid min-idle-time argument for XAUTOCLAIM")?.max(0);
        let start = Bound::parse(args[5], 0)?.start()?;
        let (count, just_id) = autoclaim_options(&args[6..])?;
        let entry = checked_to_have_group(ctx, entry, key, name)?;
        enter_consumer(ctx, [key, name, consumer], entry, ctx.now_ms);
        let idle_enough = |pending: &Pending| min_idle_ms == 0 || idle_ms(ctx.now_ms, pending) >= min_idle_ms;
        let Found { claimed, gone, cursor } = look(stream_at(ctx.keyspace, entry), name, start, count, just_id, idle_enough);
        ctx.reply.array(3);
        reply_id(&mut ctx.reply, cursor);
        reply_claimed(ctx, entry, &claimed, just_id);
        ctx.reply.array(gone.len());
        gone.iter().for_each(|id| reply_id(&mut ctx.reply, *id));
        redeliver(ctx, [key, name, consumer], entry, &claimed, ctx.now_ms, ctx.now_ms, true);
        release(ctx, key, entry, name, gone);
        Ok(())
    });
}

/// What XAUTOCLAIM finds.
struct Found {
    claimed: Vec<(StreamId, u64)>,
    /// No longer in the stream.
    gone: Vec<StreamId>,
    /// Where to go on; 0-0 at the end.
    cursor: StreamId,
}

fn look(
    stream: &Stream,
    group: &[u8],
    start: StreamId,
    count: usize,
    just_id: bool,
    idle_enough: impl Fn(&Pending) -> bool,
) -> Found {
    let group = stream.group(group).expect("the caller has found it");
    let mut found = Found { claimed: Vec::new(), gone: Vec::new(), cursor: StreamId::ZERO };
    let mut pending = group.pending_from(group.rank(start));
    for _ in 0..count.saturating_mul(LOOKS_PER_ENTRY) {
        if found.claimed.len() + found.gone.len() == count {
            break;
        }
        let Some(pending) = pending.next() else { break };
        if !stream.contains(pending.id) {
            found.gone.push(pending.id);
        } else if idle_enough(pending) {
            found.claimed.push((pending.id, pending.deliveries.wrapping_add(!just_id as u64)));
        }
    }
    found.cursor = pending.next().map_or(StreamId::ZERO, |pending| pending.id);
    found
}

fn autoclaim_options(words: &[&[u8]]) -> Result<(usize, bool), Failure> {
    let (mut count, mut just_id) = (AUTOCLAIM_COUNT, false);
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        if is(word, "COUNT") && rest.len() > 0 {
            let value = parse_integer(rest.next().expect("just seen"));
            count = value.filter(|count| (1..=AUTOCLAIM_COUNT_MAX).contains(count)).ok_or("ERR COUNT must be > 0")?;
        } else if is(word, "JUSTID") {
            just_id = true;
        } else {
            return Err(SYNTAX);
        }
    }
    Ok((count as usize, just_id))
}
