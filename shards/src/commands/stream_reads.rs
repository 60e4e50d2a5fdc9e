//! Reading streams from where one has got to: XREAD, XREADGROUP.
//!
//! `Reading` is the request as it came; `resolve` turns ids such as `$` into those of the moment, and `serve` answers if there is
//! anything to answer: what a blocked reader would ask again and again.

use super::arguments::{Failure, NumberText, SYNTAX, integer, is, read_typed, typed_mut};
use super::context::Ctx;
use super::events::EventClasses;
use super::stream_arguments::{
    Refusal, answer_or_refuse, reform_stream, reply_entries, reply_entry, reply_id, stream_at, stream_id,
};
use super::streams::effect_of_ids;
use super::table::{Command, Multi, Route, Run, Spec, SpecBegin, SpecFind, flags};
use crate::keyspace::Entry;
use crate::resp::Protocol;
use crate::types::Stream;
use crate::types::stream::{Group, StreamId};

/// The keys behind the word STREAMS, which is looked for from an argument on.
const fn streams(start_from: isize) -> Spec {
    Spec {
        flags: "RO access",
        begin: SpecBegin::Keyword { keyword: "STREAMS", start_from },
        find: SpecFind::Range { last: -1, step: 1, limit: 2 },
        notes: "",
    }
}

pub static COMMANDS: &[Command] = &[
Command::new("xread", -4, flags::READONLY | flags::BLOCKING | flags::MOVABLEKEYS, Route::Keys(Multi::Gather), Run::Data(xread))
.find_keys(stream_keys)
.specs(&[streams(1)])
.acl(&["read", "stream", "slow", "blocking"])
.arguments("[COUNT count:integer] [BLOCK milliseconds:integer] STREAMS streams(key... id...)")
.doc("stream", "5.0.0", "", "Returns messages from multiple streams with IDs greater than the ones requested. Blocks until a message is available otherwise."),
Command::new("xreadgroup", -7, flags::WRITE | flags::BLOCKING | flags::MOVABLEKEYS, Route::Keys(Multi::Gather), Run::Data(xreadgroup))
.find_keys(stream_keys)
.specs(&[streams(4)])
.acl(&["write", "stream", "slow", "blocking"])
.arguments("GROUP group-block(group consumer) [COUNT count:integer] [BLOCK milliseconds:integer] [NOACK] STREAMS streams(key... id...)")
.doc("stream", "5.0.0", "For each stream mentioned: O(M) with M being the number of elements returned. If M is constant (e.g. always asking for the first 10 elements with COUNT), you can consider it O(1). On the other side when XREADGROUP blocks, XADD will pay the O(N) time in order to serve the N clients blocked on the stream getting new data.", "Returns new or historical messages from a stream for a consumer in a group. Blocks until a message is available otherwise."),
];

/// The keys behind STREAMS: the first half of what stands there.
fn stream_keys(args: &[&[u8]]) -> Result<Vec<usize>, &'static str> {
    let mut at = 1;
    while at < args.len() && !is(args[at], "STREAMS") {
        at += match args[at] {
            word if is(word, "BLOCK") || is(word, "COUNT") => 2,
            word if is(word, "GROUP") => 3,
            word if is(word, "NOACK") => 1,
            _ => args.len(),
        };
    }
    if at >= args.len() {
        // Whatever is wrong with them, they have no keys: the error that the command answers.
        return match Reading::parse(args, 0) {
            Err(Failure::Borrowed(text)) => Err(text),
            _ => Err("ERR syntax error"),
        };
    }
    let keys = (args.len() - at - 1) / 2;
    Ok((at + 1..at + 1 + keys).collect())
}

/// The options of XREAD and XREADGROUP.
pub struct Reading<'a> {
    pub group: Option<GroupOptions<'a>>,
    /// Of each stream. 0: all there are.
    count: usize,
    /// How long to wait, in milliseconds. 0: for ever.
    pub block_ms: Option<i64>,
    pub keys: &'a [&'a [u8]],
    ids: &'a [&'a [u8]],
}

pub struct GroupOptions<'a> {
    name: &'a [u8],
    consumer: &'a [u8],
    noack: bool,
}

/// From where on a stream is read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// Entries behind this id: those a group's consumer has got already, when it is read for a group.
    After(StreamId),
    /// `>`: what the group has delivered to nobody.
    New,
}

const NEW_WITHOUT_GROUP: &str =
    "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.";
const LAST_WITH_GROUP: &str = "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this \
    consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty result set.";
const PLUS_WITH_GROUP: &str = "ERR The + ID is meaningless in the context of XREADGROUP: you want to read the history of this \
    consumer by specifying a proper ID, or use the > ID to get new messages. The + ID would just return an empty result set.";

impl<'a> Reading<'a> {
    pub fn parse(args: &'a [&'a [u8]], now_ms: i64) -> Result<Reading<'a>, Failure> {
        let for_group = args[0].len() == "XREADGROUP".len();
        let mut reading = Reading { group: None, count: 0, block_ms: None, keys: &[], ids: &[] };
        let (mut noack, mut group, mut streams) = (false, None, None);
        let mut at = 1;
        while at < args.len() && streams.is_none() {
            let (word, more) = (args[at], args.len() - at - 1);
            if more > 0 && is(word, "BLOCK") {
                at += 1;
                reading.block_ms = Some(timeout(args[at], now_ms)?);
            } else if more > 0 && is(word, "COUNT") {
                at += 1;
                reading.count = usize::try_from(integer(args[at])?).unwrap_or(0);
            } else if more > 0 && is(word, "STREAMS") {
                streams = Some(&args[at + 1..]);
            } else if more > 1 && is(word, "GROUP") {
                if !for_group {
                    return Err("ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.".into());
                }
                group = Some((args[at + 1], args[at + 2]));
                at += 2;
            } else if is(word, "NOACK") {
                if !for_group {
                    return Err("ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.".into());
                }
                noack = true;
            } else {
                return Err(SYNTAX);
            }
            at += 1;
        }
        let streams: &'a [&'a [u8]] = streams.ok_or(SYNTAX)?;
        if !streams.len().is_multiple_of(2) {
            return Err(unbalanced(for_group).into());
        }
        if for_group && group.is_none() {
            return Err("ERR Missing GROUP option for XREADGROUP".into());
        }
        reading.group = group.map(|(name, consumer)| GroupOptions { name, consumer, noack });
        (reading.keys, reading.ids) = streams.split_at(streams.len() / 2);
        Ok(reading)
    }

    /// Where each stream is read from, as of now.
    pub fn resolve(&self, ctx: &mut Ctx<'_>) -> Result<Vec<From>, Refusal> {
        self.keys.iter().zip(self.ids).map(|(key, id)| self.resolve_one(ctx, key, id)).collect()
    }

    fn resolve_one(&self, ctx: &mut Ctx<'_>, key: &[u8], id: &[u8]) -> Result<From, Refusal> {
        let entry = read_typed::<Stream>(ctx, key)?;
        let stream = entry.map(|entry| stream_at(ctx.keyspace, entry));
        if let Some(group) = &self.group
            && stream.and_then(|stream| stream.group(group.name)).is_none()
        {
            return Err(no_group(key, group.name));
        }
        match (id, &self.group) {
            (b"$", Some(_)) => Err(LAST_WITH_GROUP.into()),
            (b"$", None) => Ok(From::After(stream.map_or(StreamId::ZERO, Stream::last_id))),
            (b"+", Some(_)) => Err(PLUS_WITH_GROUP.into()),
            (b"+", None) => Ok(stream.map_or(Ok(From::After(StreamId::ZERO)), before_last)?),
            (b">", None) => Err(NEW_WITHOUT_GROUP.into()),
            (b">", Some(_)) => Ok(From::New),
            (id, group) => match stream_id(id, 0)? {
                StreamId::MAX if group.is_some() => Ok(From::New),
                id => Ok(From::After(id)),
            },
        }
    }

    /// Answers with what there is; false, and no answer: there is nothing.
    pub fn serve(&self, ctx: &mut Ctx<'_>, from: &[From]) -> bool {
        let start = ctx.reply.out.len();
        let mut served = 0;
        // One after the other: a stream that is named twice has been read once when its second turn comes.
        for (key, from) in self.keys.iter().zip(from) {
            let Ok(Some(entry)) = read_typed::<Stream>(ctx, key) else { continue };
            let is_ready = match &self.group {
                None => has_entries(stream_at(ctx.keyspace, entry), *from),
                Some(group) => group.enter(ctx, key, entry, *from),
            };
            if is_ready {
                served += 1;
                if ctx.reply.protocol == Protocol::Resp2 {
                    ctx.reply.array(2);
                }
                ctx.reply.bulk(key);
                self.reply_stream(ctx, entry, key, *from);
            }
        }
        if served == 0 {
            return false;
        }
        let streams = ctx.reply.out.split_off(start);
        match ctx.reply.protocol {
            Protocol::Resp2 => ctx.reply.array(served),
            Protocol::Resp3 => ctx.reply.map(served),
        }
        ctx.reply.out.extend_from_slice(&streams);
        true
    }

    fn limit(&self) -> usize {
        if self.count == 0 { usize::MAX } else { self.count }
    }

    fn reply_stream(&self, ctx: &mut Ctx<'_>, entry: Entry, key: &[u8], from: From) {
        match (&self.group, from) {
            (Some(group), From::New) => group.deliver_new(ctx, key, entry, self.limit()),
            (Some(group), From::After(id)) => group.deliver_again(ctx, key, entry, id, self.limit()),
            (None, From::After(id)) => {
                let stream = stream_at(ctx.keyspace, entry);
                reply_entries(&mut ctx.reply, &entries_after(stream, id).take(self.limit()).collect::<Vec<_>>());
            }
            (None, From::New) => unreachable!("refused without a group"),
        }
    }
}

fn unbalanced(for_group: bool) -> &'static str {
    match for_group {
        false => "ERR Unbalanced 'xread' list of streams: for each stream key an ID or '$' must be specified.",
        true => "ERR Unbalanced 'xreadgroup' list of streams: for each stream key an ID or '>' must be specified.",
    }
}

fn no_group(key: &[u8], group: &[u8]) -> Refusal {
    let parts = ["NOGROUP No such key '", "' or consumer group '", "' in XREADGROUP with GROUP option"];
    Refusal::showing(parts, [key, group])
}

fn timeout(text: &[u8], now_ms: i64) -> Result<i64, Failure> {
    match integer(text) {
        Err(_) => Err("ERR timeout is not an integer or out of range".into()),
        Ok(..0) => Err("ERR timeout is negative".into()),
        Ok(timeout) if timeout > i64::MAX - now_ms => Err("ERR timeout is out of range".into()),
        Ok(timeout) => Ok(timeout),
    }
}

/// `+`: the last entry is read again, if it is still there: so Valkey 8 does.
fn before_last(stream: &Stream) -> Result<From, Failure> {
    let before = stream.last_id().previous();
    before.map(From::After).ok_or(Failure::Borrowed("ERR the stream last element ID is 0-0"))
}

fn has_entries(stream: &Stream, from: From) -> bool {
    match from {
        From::After(id) => stream.last().is_some_and(|last| last.id > id),
        _ => !stream.is_empty(),
    }
}

fn entries_after(stream: &Stream, id: StreamId) -> impl Iterator<Item = crate::types::stream::Entry<'_>> {
    id.next().into_iter().flat_map(|start| stream.range(start, StreamId::MAX))
}

impl GroupOptions<'_> {
    fn of<'s>(&self, stream: &'s Stream) -> &'s Group {
        stream.group(self.name).expect("it was there just now")
    }

    /// Makes the consumer if it is new, notes that it was seen; whether there is anything for it.
    fn enter(&self, ctx: &mut Ctx<'_>, key: &[u8], entry: Entry, from: From) -> bool {
        let Some(group) = stream_at(ctx.keyspace, entry).group(self.name) else { return false };
        let last_id = group.last_id;
        enter_consumer(ctx, [key, self.name, self.consumer], entry, ctx.now_ms);
        match from {
            From::New => has_entries(stream_at(ctx.keyspace, entry), From::After(last_id)),
            _ => true,
        }
    }

    fn deliver_new(&self, ctx: &mut Ctx<'_>, key: &[u8], entry: Entry, limit: usize) {
        let stream = stream_at(ctx.keyspace, entry);
        let group = self.of(stream);
        let entries: Vec<_> = entries_after(stream, group.last_id).take(limit).collect();
        let ids: Vec<StreamId> = entries.iter().map(|entry| entry.id).collect();
        let read = stream.entries_read_after(group, &ids);
        reply_entries(&mut ctx.reply, &entries);
        let Some(&last) = ids.last() else { return };
        let now_ms = ctx.now_ms;
        let change = |group: &mut Group| {
            (group.last_id, group.entries_read) = (last, read);
            group.touch(self.consumer, now_ms, !self.noack);
            if !self.noack {
                ids.iter().for_each(|id| group.deliver(self.consumer, *id, now_ms, 1));
            }
        };
        typed_mut::<Stream>(ctx, entry).change_group(self.name, change);
        if !self.noack {
            effect_of_delivery(ctx, [key, self.name, self.consumer], &ids, now_ms, 1);
        }
        effect_of_position(ctx, key, self.name, last, read);
    }

    /// What the consumer has got already and not acknowledged; entries that are gone are told as such.
    fn deliver_again(&self, ctx: &mut Ctx<'_>, key: &[u8], entry: Entry, after: StreamId, limit: usize) {
        let stream = stream_at(ctx.keyspace, entry);
        let group = self.of(stream);
        let consumer = group.consumer(self.consumer).expect("it has entered");
        let rank = after.next().map_or(consumer.len(), |start| consumer.rank(start));
        let ids: Vec<StreamId> = consumer.pending_from(rank).take(limit).collect();
        let mut delivered: Vec<(StreamId, u64)> = Vec::new();
        ctx.reply.array(ids.len());
        for id in ids {
            match stream.get(id) {
                Some(found) => {
                    reply_entry(&mut ctx.reply, found);
                    delivered.push((id, group.pending(id).expect("the consumer has it").deliveries.wrapping_add(1)));
                }
                None => {
                    ctx.reply.array(2);
                    reply_id(&mut ctx.reply, id);
                    ctx.reply.null_array();
                }
            }
        }
        redeliver(ctx, [key, self.name, self.consumer], entry, &delivered, ctx.now_ms, ctx.now_ms, false);
    }
}

/// Makes the consumer if it is not there yet, and notes that it was seen: that alone counts as no change.
pub fn enter_consumer(ctx: &mut Ctx<'_>, names: [&[u8]; 3], entry: Entry, seen_ms: i64) {
    let [_, group, consumer] = names;
    if !create_consumer(ctx, names, entry, seen_ms) {
        reform_stream(ctx, entry, |stream| {
            stream.change_group(group, |group| group.touch(consumer, seen_ms, false));
        });
    }
}

/// False: the consumer is there. The group must be.
pub fn create_consumer(ctx: &mut Ctx<'_>, names: [&[u8]; 3], entry: Entry, seen_ms: i64) -> bool {
    let [key, group, consumer] = names;
    let found = stream_at(ctx.keyspace, entry).group(group).expect("the group is there");
    if found.consumer(consumer).is_some() {
        return false;
    }
    typed_mut::<Stream>(ctx, entry).change_group(group, |group| group.create_consumer(consumer, seen_ms, None));
    ctx.effect(&[b"XGROUP", b"CREATECONSUMER", key, group, consumer]);
    effect_of_sight(ctx, names, seen_ms);
    ctx.notify(EventClasses::STREAM, "xgroup-createconsumer", key);
    true
}

/// States when a consumer was seen: a replay takes that from the time of a claim, also of one that claims nothing.
fn effect_of_sight(ctx: &mut Ctx<'_>, [key, group, consumer]: [&[u8]; 3], seen_ms: i64) {
    ctx.effect(&[b"XCLAIM", key, group, consumer, b"0", b"0-0", b"TIME", NumberText::new(seen_ms).bytes(), b"JUSTID"]);
}

/// Gives entries with these counts of deliveries to a consumer, and states it. Names here: key, group, consumer.
/// `active`: whether the consumer counts as active by it.
pub fn redeliver(
    ctx: &mut Ctx<'_>,
    names: [&[u8]; 3],
    entry: Entry,
    entries: &[(StreamId, u64)],
    delivered_ms: i64,
    seen_ms: i64,
    active: bool,
) {
    if entries.is_empty() {
        return;
    }
    let [_, group, consumer] = names;
    typed_mut::<Stream>(ctx, entry).change_group(group, |group| {
        group.touch(consumer, seen_ms, active);
        entries.iter().for_each(|(id, count)| group.deliver(consumer, *id, delivered_ms, *count));
    });
    for alike in entries.chunk_by(|a, b| a.1 == b.1) {
        let ids: Vec<StreamId> = alike.iter().map(|(id, _)| *id).collect();
        effect_of_delivery(ctx, names, &ids, delivered_ms, alike[0].1);
    }
    if seen_ms != delivered_ms {
        effect_of_sight(ctx, names, seen_ms);
    }
}

/// XCLAIM says of each entry who has it since when, whoever had it before.
fn effect_of_delivery(
    ctx: &mut Ctx<'_>,
    [key, group, consumer]: [&[u8]; 3],
    ids: &[StreamId],
    delivered_ms: i64,
    deliveries: u64,
) {
    let (time, count) = (NumberText::new(delivered_ms), NumberText::new(deliveries as i64));
    let options = [&b"TIME"[..], time.bytes(), b"RETRYCOUNT", count.bytes(), b"FORCE", b"JUSTID"];
    effect_of_ids(ctx, &[b"XCLAIM", key, group, consumer, b"0"], ids, &options);
}

/// States how far a group has got.
pub fn effect_of_position(ctx: &mut Ctx<'_>, key: &[u8], group: &[u8], last_id: StreamId, read: Option<u64>) {
    let read = NumberText::new(read.map_or(-1, |read| read as i64));
    ctx.effect(&[b"XGROUP", b"SETID", key, group, last_id.text().bytes(), b"ENTRIESREAD", read.bytes()]);
}

/// XREAD [COUNT count] [BLOCK milliseconds] STREAMS key [key …] id [id …]
fn xread(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer_or_refuse(ctx, |ctx| read(ctx, args));
}

/// XREADGROUP GROUP group consumer [COUNT count] [BLOCK milliseconds] [NOACK] STREAMS key [key …] id [id …]
fn xreadgroup(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer_or_refuse(ctx, |ctx| read(ctx, args));
}

/// Nobody waits here: BLOCK answers as in a transaction.
fn read(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Refusal> {
    let reading = Reading::parse(args, ctx.now_ms)?;
    let from = reading.resolve(ctx)?;
    if !reading.serve(ctx, &from) {
        ctx.reply.null_array();
    }
    Ok(())
}
