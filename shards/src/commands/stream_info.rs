//! What streams tell about themselves: XINFO.

use super::arguments::{Failure, NO_SUCH_KEY, integer, is, read_typed, reply_help};
use super::context::Ctx;
use super::stream_arguments::{Refusal, answer_or_refuse, reply_entries, reply_entry, reply_id, stream_at};
use super::stream_groups::{no_such_group, subcommand_syntax};
use super::table::{Command, Home, Multi, Route, Run, Spec, flags};
use crate::keyspace::Entry;
use crate::resp::Reply;
use crate::types::Stream;
use crate::types::stream::{Consumer, Group, StreamId};

pub static COMMANDS: &[Command] = &[Command::new("xinfo", -2, 0, Route::Home, Run::Container)
    .acl(&["slow"])
    .doc("stream", "5.0.0", "Depends on subcommand.", "A container for stream introspection commands.")
    .subcommands(&[
        Command::new("xinfo|consumers", 4, flags::READONLY, Route::Keys(Multi::Never), Run::Data(xinfo_consumers))
            .keys(2, 2, 1)
            .specs(&[Spec::at(2, "RO access")])
            .acl(&["read", "stream", "slow"])
            .tips(&["nondeterministic_output"])
            .arguments("key group")
            .doc("stream", "5.0.0", "O(1)", "Returns a list of the consumers in a consumer group."),
        Command::new("xinfo|groups", 3, flags::READONLY, Route::Keys(Multi::Never), Run::Data(xinfo_groups))
            .keys(2, 2, 1)
            .specs(&[Spec::at(2, "RO access")])
            .acl(&["read", "stream", "slow"])
            .arguments("key")
            .doc("stream", "5.0.0", "O(1)", "Returns a list of the consumer groups of a stream."),
        Command::new("xinfo|help", 2, flags::LOADING | flags::STALE, Route::Home, Run::Home(xinfo_help))
            .acl(&["stream", "slow"])
            .doc("stream", "5.0.0", "O(1)", "Returns helpful text about the different subcommands."),
        Command::new("xinfo|stream", -3, flags::READONLY, Route::Keys(Multi::Never), Run::Data(xinfo_stream))
            .keys(2, 2, 1)
            .specs(&[Spec::at(2, "RO access")])
            .acl(&["read", "stream", "slow"])
            .arguments("key [full-block(FULL [COUNT count:integer])]")
            .doc("stream", "5.0.0", "O(1)", "Returns information about a stream."),
    ])];

/// Entries, and pending ones of each group and consumer, that FULL shows.
const FULL_COUNT: usize = 10;

/// XINFO HELP
fn xinfo_help(home: &mut Home<'_>, args: &[&[u8]]) {
    let lines = [
        "CONSUMERS <key> <groupname>",
        "    Show consumers of <groupname>.",
        "GROUPS <key>",
        "    Show the stream consumer groups.",
        "STREAM <key> [FULL [COUNT <count>]",
        "    Show information about the stream.",
    ];
    reply_help(&mut home.reply, args[0], &lines);
}

fn existing(ctx: &mut Ctx<'_>, key: &[u8]) -> Result<Entry, Failure> {
    read_typed::<Stream>(ctx, key)?.ok_or(NO_SUCH_KEY)
}

/// XINFO STREAM key [FULL [COUNT count]]
fn xinfo_stream(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer_or_refuse(ctx, |ctx| {
        let entry = existing(ctx, args[2])?;
        let full = full_count(args)?;
        let stream = stream_at(ctx.keyspace, entry);
        let reply = &mut ctx.reply;
        reply.map(if full.is_some() { 9 } else { 10 });
        integer_field(reply, "length", stream.len() as i64);
        integer_field(reply, "radix-tree-keys", stream.nodes_len() as i64);
        integer_field(reply, "radix-tree-nodes", radix_tree_nodes(stream) as i64);
        id_field(reply, "last-generated-id", stream.last_id());
        id_field(reply, "max-deleted-entry-id", stream.max_deleted_id());
        integer_field(reply, "entries-added", stream.entries_added() as i64);
        id_field(reply, "recorded-first-entry-id", stream.first_id());
        match full {
            None => reply_ends(reply, stream),
            Some(count) => reply_full(reply, stream, count),
        }
        Ok(())
    });
}

/// Of FULL; None: it is not asked for.
fn full_count(args: &[&[u8]]) -> Result<Option<usize>, Refusal> {
    match &args[3..] {
        [] => Ok(None),
        [full] if is(full, "FULL") => Ok(Some(FULL_COUNT)),
        [full, word, count] if is(full, "FULL") && is(word, "COUNT") => match usize::try_from(integer(count)?) {
            Ok(0) => Ok(Some(usize::MAX)),
            Ok(count) => Ok(Some(count)),
            Err(_) => Ok(Some(FULL_COUNT)),
        },
        _ => Err(subcommand_syntax(args)),
    }
}

fn reply_ends(reply: &mut Reply<'_>, stream: &Stream) {
    integer_field(reply, "groups", stream.groups_len() as i64);
    for (name, entry) in [("first-entry", stream.first()), ("last-entry", stream.last())] {
        reply.bulk(name.as_bytes());
        match entry {
            Some(entry) => reply_entry(reply, entry),
            None => reply.null(),
        }
    }
}

fn reply_full(reply: &mut Reply<'_>, stream: &Stream, count: usize) {
    reply.bulk(b"entries");
    reply_entries(reply, &stream.range(StreamId::ZERO, StreamId::MAX).take(count).collect::<Vec<_>>());
    reply.bulk(b"groups");
    reply.array(stream.groups_len());
    for group in stream.groups() {
        reply.map(7);
        text_field(reply, "name", group.name());
        id_field(reply, "last-delivered-id", group.last_id);
        reply_progress(reply, stream, group);
        integer_field(reply, "pel-count", group.pending_len() as i64);
        reply.bulk(b"pending");
        reply.array(group.pending_len().min(count));
        for pending in group.pending_from(0).take(count) {
            reply.array(4);
            reply_id(reply, pending.id);
            reply.bulk(&pending.consumer);
            reply.integer(pending.delivered_ms);
            reply.integer(pending.deliveries as i64);
        }
        reply.bulk(b"consumers");
        reply.array(group.consumers_len());
        group.consumers().for_each(|consumer| reply_consumer(reply, group, consumer, count));
    }
}

fn reply_consumer(reply: &mut Reply<'_>, group: &Group, consumer: &Consumer, count: usize) {
    reply.map(5);
    text_field(reply, "name", consumer.name());
    integer_field(reply, "seen-time", consumer.seen_ms);
    integer_field(reply, "active-time", consumer.active_ms.unwrap_or(-1));
    integer_field(reply, "pel-count", consumer.len() as i64);
    reply.bulk(b"pending");
    reply.array(consumer.len().min(count));
    for id in consumer.pending_from(0).take(count) {
        let pending = group.pending(id).expect("what a consumer has is pending in its group");
        reply.array(3);
        reply_id(reply, id);
        reply.integer(pending.delivered_ms);
        reply.integer(pending.deliveries as i64);
    }
}

/// XINFO GROUPS key
fn xinfo_groups(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer_or_refuse(ctx, |ctx| {
        let entry = existing(ctx, args[2])?;
        let stream = stream_at(ctx.keyspace, entry);
        let reply = &mut ctx.reply;
        reply.array(stream.groups_len());
        for group in stream.groups() {
            reply.map(6);
            text_field(reply, "name", group.name());
            integer_field(reply, "consumers", group.consumers_len() as i64);
            integer_field(reply, "pending", group.pending_len() as i64);
            id_field(reply, "last-delivered-id", group.last_id);
            reply_progress(reply, stream, group);
        }
        Ok(())
    });
}

/// What a group has read, and what it has still to read; null where that can't be told.
fn reply_progress(reply: &mut Reply<'_>, stream: &Stream, group: &Group) {
    for (name, value) in [("entries-read", group.entries_read), ("lag", stream.lag(group))] {
        reply.bulk(name.as_bytes());
        match value {
            Some(value) => reply.integer(value as i64),
            None => reply.null(),
        }
    }
}

/// XINFO CONSUMERS key group
fn xinfo_consumers(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer_or_refuse(ctx, |ctx| {
        let entry = existing(ctx, args[2])?;
        let group = stream_at(ctx.keyspace, entry).group(args[3]).ok_or_else(|| no_such_group(args[2], args[3]))?;
        let reply = &mut ctx.reply;
        let since = |at: i64| ctx.now_ms.saturating_sub(at).max(0);
        reply.array(group.consumers_len());
        for consumer in group.consumers() {
            reply.map(4);
            text_field(reply, "name", consumer.name());
            integer_field(reply, "pending", consumer.len() as i64);
            integer_field(reply, "idle", since(consumer.seen_ms));
            integer_field(reply, "inactive", consumer.active_ms.map_or(-1, since));
        }
        Ok(())
    });
}

fn text_field(reply: &mut Reply<'_>, name: &str, value: &[u8]) {
    reply.bulk(name.as_bytes());
    reply.bulk(value);
}

fn integer_field(reply: &mut Reply<'_>, name: &str, value: i64) {
    reply.bulk(name.as_bytes());
    reply.integer(value);
}

fn id_field(reply: &mut Reply<'_>, name: &str, id: StreamId) {
    reply.bulk(name.as_bytes());
    reply_id(reply, id);
}

/// Of bigger streams the nodes are estimated from so many keys: nobody needs to wait for the exact number.
const RADIX_TREE_KEYS_MAX: usize = 4096;

/// How many nodes Redis's radix tree of the stream's nodes has. There is none here.
fn radix_tree_nodes(stream: &Stream) -> usize {
    let keys: Vec<[u8; StreamId::BYTES]> =
        stream.nodes_from(0).take(RADIX_TREE_KEYS_MAX).map(|node| node.master().to_bytes()).collect();
    let nodes = radix_nodes(&keys);
    match stream.nodes_len() {
        all if all <= keys.len() => nodes,
        all => (nodes as u128 * all as u128 / keys.len() as u128) as usize,
    }
}

/// Nodes of a radix tree over sorted keys: a leaf for each, a node wherever keys part, and one for the bytes in between that
/// lead to a leaf or such a node, if there are any.
fn radix_nodes(keys: &[[u8; StreamId::BYTES]]) -> usize {
    if keys.is_empty() {
        return 1;
    }
    // A node and what leads to it from the place above where keys part: that place's own byte is held there.
    let with_run = |above: Option<usize>, depth: usize| 1 + (depth > above.map_or(0, |above| above + 1)) as usize;
    let common = |pair: &[[u8; StreamId::BYTES]]| pair[0].iter().zip(&pair[1]).take_while(|(a, b)| a == b).count();
    let parted: Vec<usize> = keys.windows(2).map(common).collect();
    let between = |at: Option<usize>| at.and_then(|at| parted.get(at)).copied();
    let leaf = |at: usize| with_run(between(at.checked_sub(1)).max(between(Some(at))), StreamId::BYTES);
    let mut nodes: usize = (0..keys.len()).map(leaf).sum();
    // Places where keys part that lie above the current key, ascending; each is counted when it is left.
    let mut open: Vec<usize> = Vec::new();
    for depth in parted.iter().copied().map(Some).chain([None]) {
        while let Some(top) = open.pop_if(|top| Some(*top) > depth) {
            nodes += with_run(open.last().copied().max(depth), top);
        }
        if let Some(depth) = depth.filter(|depth| open.last() != Some(depth)) {
            open.push(depth);
        }
    }
    nodes
}
