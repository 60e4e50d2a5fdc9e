//! Consumer groups: XGROUP, XACK.

use super::arguments::{Failure, find_typed, integer, is, read_typed, reply_help, typed, typed_mut, typed_to_change};
use super::context::Ctx;
use super::events::EventClasses;
use super::stream_arguments::{Refusal, answer_or_refuse, stream_at, stream_id};
use super::stream_reads::{create_consumer, effect_of_position};
use super::streams::effect_of_ids;
use super::table::{Command, Home, Multi, Route, Run, Spec, flags};
use crate::keyspace::Entry;
use crate::types::stream::{Group, StreamId};
use crate::types::{Stream, Typed};

pub static COMMANDS: &[Command] = &[
    Command::new("xgroup", -2, 0, Route::Home, Run::Container)
        .acl(&["slow"])
        .doc("stream", "5.0.0", "Depends on subcommand.", "A container for consumer groups commands.")
        .subcommands(&[
            Command::new("xgroup|create", -5, flags::WRITE | flags::DENYOOM, Route::Keys(Multi::Never), Run::Data(xgroup_create))
                .keys(2, 2, 1)
                .specs(&[Spec::at(2, "RW insert")])
                .acl(&["write", "stream", "slow"])
                .arguments("key group id-selector(id | new-id\"$\") [MKSTREAM] [ENTRIESREAD entriesread:integer=entries-read]")
                .doc("stream", "5.0.0", "O(1)", "Creates a consumer group."),
            Command::new(
                "xgroup|createconsumer",
                5,
                flags::WRITE | flags::DENYOOM,
                Route::Keys(Multi::Never),
                Run::Data(xgroup_createconsumer),
            )
            .keys(2, 2, 1)
            .specs(&[Spec::at(2, "RW insert")])
            .acl(&["write", "stream", "slow"])
            .arguments("key group consumer")
            .doc("stream", "6.2.0", "O(1)", "Creates a consumer in a consumer group."),
            Command::new("xgroup|delconsumer", 5, flags::WRITE, Route::Keys(Multi::Never), Run::Data(xgroup_delconsumer))
                .keys(2, 2, 1)
                .specs(&[Spec::at(2, "RW delete")])
                .acl(&["write", "stream", "slow"])
                .arguments("key group consumer")
                .doc("stream", "5.0.0", "O(1)", "Deletes a consumer from a consumer group."),
            Command::new("xgroup|destroy", 4, flags::WRITE, Route::Keys(Multi::Never), Run::Data(xgroup_destroy))
                .keys(2, 2, 1)
                .specs(&[Spec::at(2, "RW delete")])
                .acl(&["write", "stream", "slow"])
                .arguments("key group")
                .doc(
                    "stream",
                    "5.0.0",
                    "O(N) where N is the number of entries in the group's pending entries list (PEL).",
                    "Destroys a consumer group.",
                ),
            Command::new("xgroup|help", 2, flags::LOADING | flags::STALE, Route::Home, Run::Home(xgroup_help))
                .acl(&["stream", "slow"])
                .doc("stream", "5.0.0", "O(1)", "Returns helpful text about the different subcommands."),
            Command::new("xgroup|setid", -5, flags::WRITE, Route::Keys(Multi::Never), Run::Data(xgroup_setid))
                .keys(2, 2, 1)
                .specs(&[Spec::at(2, "RW update")])
                .acl(&["write", "stream", "slow"])
                .arguments("key group id-selector(id | new-id\"$\") [ENTRIESREAD entriesread:integer=entries-read]")
                .doc("stream", "5.0.0", "O(1)", "Sets the last-delivered ID of a consumer group."),
        ]),
    Command::new("xack", -4, flags::WRITE | flags::FAST, Route::Keys(Multi::Never), Run::Data(xack))
        .keys(1, 1, 1)
        .specs(&[Spec::at(1, "RW update")])
        .acl(&["write", "stream", "fast"])
        .arguments("key group id...")
        .doc(
            "stream",
            "5.0.0",
            "O(1) for each message ID processed.",
            "Returns the number of messages that were successfully acknowledged by the consumer group member of a stream.",
        ),
];

const NEEDS_KEY: Failure = Failure::Borrowed(
    "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create \
     an empty stream automatically.",
);

/// XGROUP HELP
fn xgroup_help(home: &mut Home<'_>, args: &[&[u8]]) {
    let lines = [
        "CREATE <key> <groupname> <id|$> [option]",
        "    Create a new consumer group. Options are:",
        "    * MKSTREAM",
        "      Create the empty stream if it does not exist.",
        "    * ENTRIESREAD entries_read",
        "      Set the group's entries_read counter (internal use).",
        "CREATECONSUMER <key> <groupname> <consumer>",
        "    Create a new consumer in the specified group.",
        "DELCONSUMER <key> <groupname> <consumer>",
        "    Remove the specified consumer.",
        "DESTROY <key> <groupname>",
        "    Remove the specified group.",
        "SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
        "    Set the current group ID and entries_read counter.",
    ];
    reply_help(&mut home.reply, args[0], &lines);
}

#[derive(Default)]
struct Options {
    mkstream: bool,
    entries_read: Option<u64>,
}

/// What may follow the id: MKSTREAM of CREATE only, ENTRIESREAD.
fn options(args: &[&[u8]], of_create: bool) -> Result<Options, Refusal> {
    let mut options = Options::default();
    let mut rest = args[5..].iter();
    while let Some(word) = rest.next() {
        if of_create && is(word, "MKSTREAM") {
            options.mkstream = true;
        } else if is(word, "ENTRIESREAD") && rest.len() > 0 {
            let value = integer(rest.next().expect("just seen"))?;
            if value < -1 {
                return Err("ERR value for ENTRIESREAD must be positive or -1".into());
            }
            options.entries_read = u64::try_from(value).ok();
        } else {
            return Err(subcommand_syntax(args));
        }
    }
    Ok(options)
}

/// For a container's sub-command whose words make no sense.
pub fn subcommand_syntax(args: &[&[u8]]) -> Refusal {
    let name = args[0].to_ascii_uppercase();
    let parts = ["ERR unknown subcommand or wrong number of arguments for '", "'. Try ", " HELP."];
    Refusal::showing(parts, [args[1], &name])
}

/// `$` is the stream's last id.
fn position(text: &[u8], stream: Option<&Stream>) -> Result<StreamId, Failure> {
    match text {
        b"$" => Ok(stream.map_or(StreamId::ZERO, Stream::last_id)),
        id => stream_id(id, 0),
    }
}

/// XGROUP CREATE key group id|$ [MKSTREAM] [ENTRIESREAD entries-read]
fn xgroup_create(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer_or_refuse(ctx, |ctx| {
        let (key, name) = (args[2], args[3]);
        let options = options(args, true)?;
        let entry = find_typed::<Stream>(ctx, key)?;
        if entry.is_none() && !options.mkstream {
            return Err(NEEDS_KEY.into());
        }
        let stream = entry.map(|entry| stream_at(ctx.keyspace, entry));
        let id = position(args[4], stream)?;
        if stream.is_some_and(|stream| stream.group(name).is_some()) {
            return Err("BUSYGROUP Consumer Group name already exists".into());
        }
        typed_to_change(ctx, key, entry, Stream::new).put_group(Group::new(name, id, options.entries_read));
        let id = id.text();
        let read = options.entries_read.map_or("-1".to_string(), |read| read.to_string());
        ctx.effect(&[b"XGROUP", b"CREATE", key, name, id.bytes(), b"MKSTREAM", b"ENTRIESREAD", read.as_bytes()]);
        ctx.notify(EventClasses::STREAM, "xgroup-create", key);
        ctx.reply.ok();
        Ok(())
    });
}

fn existing(ctx: &mut Ctx<'_>, key: &[u8]) -> Result<Entry, Failure> {
    find_typed::<Stream>(ctx, key)?.ok_or(NEEDS_KEY)
}

/// The stream's entry; an error unless it has the group.
fn with_group(ctx: &mut Ctx<'_>, key: &[u8], group: &[u8]) -> Result<Entry, Refusal> {
    let entry = existing(ctx, key)?;
    if stream_at(ctx.keyspace, entry).group(group).is_none() {
        return Err(no_such_group(key, group));
    }
    Ok(entry)
}

pub fn no_such_group(key: &[u8], group: &[u8]) -> Refusal {
    Refusal::showing(["NOGROUP No such consumer group '", "' for key name '", "'"], [group, key])
}

/// XGROUP SETID key group id|$ [ENTRIESREAD entries-read]
fn xgroup_setid(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer_or_refuse(ctx, |ctx| {
        let (key, name) = (args[2], args[3]);
        let read = options(args, false)?.entries_read;
        let entry = with_group(ctx, key, name)?;
        let id = position(args[4], Some(stream_at(ctx.keyspace, entry)))?;
        let set = |group: &mut Group| (group.last_id, group.entries_read) = (id, read);
        typed_mut::<Stream>(ctx, entry).change_group(name, set);
        effect_of_position(ctx, key, name, id, read);
        ctx.notify(EventClasses::STREAM, "xgroup-setid", key);
        ctx.reply.ok();
        Ok(())
    });
}

/// XGROUP DESTROY key group
fn xgroup_destroy(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer_or_refuse(ctx, |ctx| {
        let (key, name) = (args[2], args[3]);
        let entry = existing(ctx, key)?;
        let found = typed::<Stream>(ctx, entry).group(name).is_some();
        if found {
            let group = typed_mut::<Stream>(ctx, entry).remove_group(name).expect("just seen");
            // Freed in steps, as a value of its own.
            let mut last_of_it = Stream::new();
            last_of_it.put_group(group);
            ctx.keyspace.discard(last_of_it.into_value());
            ctx.effect(&[b"XGROUP", b"DESTROY", key, name]);
            ctx.notify(EventClasses::STREAM, "xgroup-destroy", key);
        }
        ctx.reply.integer(found as i64);
        Ok(())
    });
}

/// XGROUP CREATECONSUMER key group consumer
fn xgroup_createconsumer(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer_or_refuse(ctx, |ctx| {
        let (key, name, consumer) = (args[2], args[3], args[4]);
        let entry = with_group(ctx, key, name)?;
        let is_new = create_consumer(ctx, [key, name, consumer], entry, ctx.now_ms);
        ctx.reply.integer(is_new as i64);
        Ok(())
    });
}

fn has_no_consumer(ctx: &Ctx<'_>, entry: Entry, group: &[u8], consumer: &[u8]) -> bool {
    stream_at(ctx.keyspace, entry).group(group).is_none_or(|group| group.consumer(consumer).is_none())
}

/// XGROUP DELCONSUMER key group consumer
fn xgroup_delconsumer(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer_or_refuse(ctx, |ctx| {
        let (key, name, consumer) = (args[2], args[3], args[4]);
        let entry = with_group(ctx, key, name)?;
        let mut pending = 0;
        if !has_no_consumer(ctx, entry, name, consumer) {
            let delete = |group: &mut Group| group.delete_consumer(consumer);
            pending = typed_mut::<Stream>(ctx, entry).change_group(name, delete).flatten().expect("just seen");
            ctx.effect(&[b"XGROUP", b"DELCONSUMER", key, name, consumer]);
            ctx.notify(EventClasses::STREAM, "xgroup-delconsumer", key);
        }
        ctx.reply.integer(pending as i64);
        Ok(())
    });
}

/// XACK key group id [id …]
fn xack(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer_or_refuse(ctx, |ctx| {
        let (key, name) = (args[1], args[2]);
        let entry = read_typed::<Stream>(ctx, key)?;
        let Some(entry) = entry.filter(|entry| stream_at(ctx.keyspace, *entry).group(name).is_some()) else {
            ctx.reply.integer(0);
            return Ok(());
        };
        let ids = args[3..].iter().map(|id| stream_id(id, 0)).collect::<Result<Vec<_>, _>>()?;
        let released = release(ctx, key, entry, name, ids);
        ctx.reply.integer(released as i64);
        Ok(())
    });
}

/// Takes entries out of a group's pending ones, and states it; how many were there.
pub fn release(ctx: &mut Ctx<'_>, key: &[u8], entry: Entry, name: &[u8], mut ids: Vec<StreamId>) -> usize {
    let group = stream_at(ctx.keyspace, entry).group(name).expect("the caller has found it");
    if !ids.iter().any(|id| group.pending(*id).is_some()) {
        return 0;
    }
    typed_mut::<Stream>(ctx, entry).change_group(name, |group| ids.retain(|id| group.release(*id)));
    effect_of_ids(ctx, &[b"XACK", key, name], &ids, &[]);
    ids.len()
}
