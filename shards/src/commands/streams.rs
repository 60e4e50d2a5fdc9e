//! Streams without their groups: XADD, XLEN, XRANGE, XREVRANGE, XDEL, XTRIM, XSETID.

use super::arguments::{
    Failure, NO_SUCH_KEY, NumberText, SYNTAX, answer, find_typed, integer, is, read_typed, typed, typed_mut, typed_to_change,
};
use super::context::Ctx;
use super::events::EventClasses;
use super::lookup::wrong_number;
use super::stream_arguments::{
    IDS_PER_EFFECT, NewId, interval, new_id, reply_entries, reply_id, stream_at, stream_id, trim_options,
};
use super::table::{Command, Multi, Route, Run, Spec, flags};
use crate::keyspace::Entry;
use crate::types::Stream;
use crate::types::stream::{StreamId, Trim};

pub static COMMANDS: &[Command] = &[
Command::new("xadd", -5, flags::WRITE | flags::DENYOOM | flags::FAST, Route::Keys(Multi::Never), Run::Data(xadd))
.keys(1, 1, 1)
.specs(&[Spec::at(1, "RW update").notes("UPDATE instead of INSERT because of the optional trimming feature")])
.acl(&["write", "stream", "fast"])
.tips(&["nondeterministic_output"])
.arguments("key [NOMKSTREAM] [trim(strategy(MAXLEN | MINID) [operator(equal\"=\" | approximately\"~\")] threshold [LIMIT count:integer])] id-selector(auto-id\"*\" | id) data(field value)...")
.doc("stream", "5.0.0", "O(1) when adding a new entry, O(N) when trimming where N being the number of entries evicted.", "Appends a new message to a stream. Creates the key if it doesn't exist."),
Command::new("xlen", 2, flags::READONLY | flags::FAST, Route::Keys(Multi::Never), Run::Data(xlen))
.keys(1, 1, 1)
.specs(&[Spec::at(1, "RO")])
.acl(&["read", "stream", "fast"])
.arguments("key")
.doc("stream", "5.0.0", "O(1)", "Return the number of messages in a stream."),
Command::new("xrange", -4, flags::READONLY, Route::Keys(Multi::Never), Run::Data(xrange))
.keys(1, 1, 1)
.specs(&[Spec::at(1, "RO access")])
.acl(&["read", "stream", "slow"])
.arguments("key start end [COUNT count:integer]")
.doc("stream", "5.0.0", "O(N) with N being the number of elements being returned. If N is constant (e.g. always asking for the first 10 elements with COUNT), you can consider it O(1).", "Returns the messages from a stream within a range of IDs."),
Command::new("xrevrange", -4, flags::READONLY, Route::Keys(Multi::Never), Run::Data(xrevrange))
.keys(1, 1, 1)
.specs(&[Spec::at(1, "RO access")])
.acl(&["read", "stream", "slow"])
.arguments("key end start [COUNT count:integer]")
.doc("stream", "5.0.0", "O(N) with N being the number of elements returned. If N is constant (e.g. always asking for the first 10 elements with COUNT), you can consider it O(1).", "Returns the messages from a stream within a range of IDs in reverse order."),
Command::new("xdel", -3, flags::WRITE | flags::FAST, Route::Keys(Multi::Never), Run::Data(xdel))
.keys(1, 1, 1)
.specs(&[Spec::at(1, "RW delete")])
.acl(&["write", "stream", "fast"])
.arguments("key id...")
.doc("stream", "5.0.0", "O(1) for each single item to delete in the stream, regardless of the stream size.", "Returns the number of messages after removing them from a stream."),
Command::new("xtrim", -4, flags::WRITE, Route::Keys(Multi::Never), Run::Data(xtrim))
.keys(1, 1, 1)
.specs(&[Spec::at(1, "RW delete")])
.acl(&["write", "stream", "slow"])
.tips(&["nondeterministic_output"])
.arguments("key trim(strategy(MAXLEN | MINID) [operator(equal\"=\" | approximately\"~\")] threshold [LIMIT count:integer])")
.doc("stream", "5.0.0", "O(N), with N being the number of evicted entries. Constant times are very small however, since entries are organized in macro nodes containing multiple entries that can be released with a single deallocation.", "Deletes messages from the beginning of a stream."),
Command::new("xsetid", -3, flags::WRITE | flags::DENYOOM | flags::FAST, Route::Keys(Multi::Never), Run::Data(xsetid))
.keys(1, 1, 1)
.specs(&[Spec::at(1, "RW update")])
.acl(&["write", "stream", "fast"])
.arguments("key last-id [ENTRIESADDED entries-added:integer] [MAXDELETEDID max-deleted-id]")
.doc("stream", "5.0.0", "O(1)", "An internal command for replicating stream values."),
];

/// XADD key [NOMKSTREAM] [MAXLEN|MINID [=|~] threshold [LIMIT count]] *|id field value [field value …]
fn xadd(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let options = trim_options(args, true, ctx.keyspace.limits())?;
        let Some((id, pairs)) = args[options.next..].split_first().filter(|(_, pairs)| is_pairs(pairs)) else {
            return Err(wrong_number("xadd").into());
        };
        let new = if *id == b"*" { NewId::Auto } else { new_id(id)? };
        if new == NewId::Given(StreamId::ZERO) {
            return Err("ERR The ID specified in XADD must be greater than 0-0".into());
        }
        let entry = find_typed::<Stream>(ctx, args[1])?;
        if entry.is_none() && options.no_mkstream {
            ctx.reply.null();
            return Ok(());
        }
        let last_id = entry.map_or(StreamId::ZERO, |entry| typed::<Stream>(ctx, entry).last_id());
        let id = id_after(last_id, new, ctx.now_ms)?;
        if Stream::too_large(pairs) {
            return Err("ERR Elements are too large to be stored".into());
        }
        add(ctx, args[1], entry, id, pairs, options.trim.as_ref());
        reply_id(&mut ctx.reply, id);
        Ok(())
    });
}

fn is_pairs(words: &[&[u8]]) -> bool {
    !words.is_empty() && words.len().is_multiple_of(2)
}

/// The id of a new entry, above the last one.
fn id_after(last: StreamId, new: NewId, now_ms: i64) -> Result<StreamId, Failure> {
    let next = last.next().ok_or("ERR The stream has exhausted the last possible ID, unable to add more items")?;
    let now = StreamId::new(now_ms as u64, 0);
    let id = match new {
        NewId::Auto if now.ms > last.ms => now,
        NewId::Auto => next,
        NewId::AutoSeq(ms) if ms == last.ms => StreamId::new(ms, last.seq.wrapping_add(1)),
        NewId::AutoSeq(ms) => StreamId::new(ms, 0),
        NewId::Given(id) => id,
    };
    let too_low = "ERR The ID specified in XADD is equal or smaller than the target stream top item";
    if id > last { Ok(id) } else { Err(too_low.into()) }
}

/// Adds, trims, and states both: the id that was made, and the length that is left, so that replay needs no clock and no nodes.
fn add(ctx: &mut Ctx<'_>, key: &[u8], entry: Option<Entry>, id: StreamId, pairs: &[&[u8]], trim: Option<&Trim>) {
    let limits = *ctx.keyspace.limits();
    let stream = typed_to_change(ctx, key, entry, Stream::new);
    stream.add(id, pairs, &limits);
    let trimmed = trim.map_or(0, |trim| stream.trim_count(trim));
    stream.remove_oldest(trimmed);
    let (len, id) = (NumberText::new(stream.len() as i64), id.text());
    let mut effect: Vec<&[u8]> = Vec::with_capacity(pairs.len() + 6);
    effect.extend([b"XADD", key]);
    if trimmed > 0 {
        effect.extend([b"MAXLEN", &b"="[..], len.bytes()]);
    }
    effect.push(id.bytes());
    effect.extend(pairs);
    ctx.effect(&effect);
    ctx.notify(EventClasses::STREAM, "xadd", key);
    if trimmed > 0 {
        ctx.notify(EventClasses::STREAM, "xtrim", key);
    }
}

/// XLEN key
fn xlen(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let len = read_typed::<Stream>(ctx, args[1])?.map_or(0, |entry| typed::<Stream>(ctx, entry).len());
        ctx.reply.integer(len as i64);
        Ok(())
    });
}

/// XRANGE key start end [COUNT count]
fn xrange(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let range = interval(args[2], args[3])?;
        reply_range(ctx, args, range, false)
    });
}

/// XREVRANGE key end start [COUNT count]
fn xrevrange(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let range = interval(args[3], args[2])?;
        reply_range(ctx, args, range, true)
    });
}

fn reply_range(ctx: &mut Ctx<'_>, args: &[&[u8]], (start, end): (StreamId, StreamId), back: bool) -> Result<(), Failure> {
    let count = range_count(&args[4..])?;
    let Some(entry) = read_typed::<Stream>(ctx, args[1])? else {
        ctx.reply.array(0);
        return Ok(());
    };
    if count == 0 {
        ctx.reply.null_array();
        return Ok(());
    }
    let stream = stream_at(ctx.keyspace, entry);
    let entries: Vec<_> = match back {
        _ if start > end => Vec::new(),
        false => stream.range(start, end).take(count).collect(),
        true => stream.range_back(start, end).take(count).collect(),
    };
    reply_entries(&mut ctx.reply, &entries);
    Ok(())
}

fn range_count(words: &[&[u8]]) -> Result<usize, Failure> {
    let mut count = usize::MAX;
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        match rest.next() {
            Some(number) if is(word, "COUNT") => count = usize::try_from(integer(number)?).unwrap_or(0),
            _ => return Err(SYNTAX),
        }
    }
    Ok(count)
}

/// XDEL key id [id …]
fn xdel(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let key = args[1];
        let Some(entry) = find_typed::<Stream>(ctx, key)? else {
            ctx.reply.integer(0);
            return Ok(());
        };
        let ids = args[2..].iter().map(|id| stream_id(id, 0)).collect::<Result<Vec<_>, _>>()?;
        let mut deleted = Vec::new();
        if ids.iter().any(|id| typed::<Stream>(ctx, entry).contains(*id)) {
            let stream = typed_mut::<Stream>(ctx, entry);
            deleted.extend(ids.into_iter().filter(|id| stream.delete(*id)));
            effect_of_ids(ctx, &[b"XDEL", key], &deleted, &[]);
            ctx.notify(EventClasses::STREAM, "xdel", key);
        }
        ctx.reply.integer(deleted.len() as i64);
        Ok(())
    });
}

/// States a command on ids: `before`, the ids, `after`, as often as there are ids for it.
pub fn effect_of_ids(ctx: &mut Ctx<'_>, before: &[&[u8]], ids: &[StreamId], after: &[&[u8]]) {
    for ids in ids.chunks(IDS_PER_EFFECT) {
        let texts: Vec<_> = ids.iter().map(|id| id.text()).collect();
        let ids = texts.iter().map(|text| text.bytes());
        let effect: Vec<&[u8]> = before.iter().copied().chain(ids).chain(after.iter().copied()).collect();
        ctx.effect(&effect);
    }
}

/// XTRIM key MAXLEN|MINID [=|~] threshold [LIMIT count]
fn xtrim(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let key = args[1];
        let options = trim_options(args, false, ctx.keyspace.limits())?;
        let entry = find_typed::<Stream>(ctx, key)?;
        let count = match (entry, &options.trim) {
            (Some(entry), Some(trim)) => typed::<Stream>(ctx, entry).trim_count(trim),
            _ => 0,
        };
        if let (Some(entry), 1..) = (entry, count) {
            let stream = typed_mut::<Stream>(ctx, entry);
            stream.remove_oldest(count);
            let len = NumberText::new(stream.len() as i64);
            ctx.effect(&[b"XTRIM", key, b"MAXLEN", b"=", len.bytes()]);
            ctx.notify(EventClasses::STREAM, "xtrim", key);
        }
        ctx.reply.integer(count as i64);
        Ok(())
    });
}

/// XSETID key last-id [ENTRIESADDED entries-added] [MAXDELETEDID max-deleted-id]
fn xsetid(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let key = args[1];
        let id = stream_id(args[2], 0)?;
        let (added, max_deleted) = setid_options(&args[3..], id)?;
        let entry = find_typed::<Stream>(ctx, key)?.ok_or(NO_SUCH_KEY)?;
        let stream = typed::<Stream>(ctx, entry);
        if id < stream.max_deleted_id() {
            return Err("ERR The ID specified in XSETID is smaller than current max_deleted_entry_id".into());
        }
        if stream.last().is_some_and(|last| id < last.id) {
            return Err("ERR The ID specified in XSETID is smaller than the target stream top item".into());
        }
        if !stream.is_empty() && added.is_some_and(|added| added < stream.len() as u64) {
            return Err("ERR The entries_added specified in XSETID is smaller than the target stream length".into());
        }
        let added = added.unwrap_or(stream.entries_added());
        let max_deleted = if max_deleted == StreamId::ZERO { stream.max_deleted_id() } else { max_deleted };
        typed_mut::<Stream>(ctx, entry).set_ids(id, added, max_deleted);
        let (id, added, max_deleted) = (id.text(), NumberText::new(added as i64), max_deleted.text());
        ctx.effect(&[b"XSETID", key, id.bytes(), b"ENTRIESADDED", added.bytes(), b"MAXDELETEDID", max_deleted.bytes()]);
        ctx.notify(EventClasses::STREAM, "xsetid", key);
        ctx.reply.ok();
        Ok(())
    });
}

/// 0-0 leaves the highest deleted id as it is.
fn setid_options(words: &[&[u8]], id: StreamId) -> Result<(Option<u64>, StreamId), Failure> {
    let (mut added, mut max_deleted) = (None, StreamId::ZERO);
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let value = rest.next().ok_or(SYNTAX)?;
        if is(word, "ENTRIESADDED") {
            let value = u64::try_from(integer(value)?);
            added = Some(value.map_err(|_| Failure::Borrowed("ERR entries_added must be positive"))?);
        } else if is(word, "MAXDELETEDID") {
            max_deleted = stream_id(value, 0)?;
            if id < max_deleted {
                return Err("ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id".into());
            }
        } else {
            return Err(SYNTAX);
        }
    }
    Ok((added, max_deleted))
}
