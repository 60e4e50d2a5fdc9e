//! COMMAND: the table as clients see it.

use super::argument_syntax::{arguments_of, reply_arguments};
use super::arguments::{Failure, SYNTAX, is, reply_help};
use super::connection::answer_home;
use super::glob::glob_matches;
use super::lookup::{Keys, possible_keys};
use super::names::Names;
use super::table::{Command, Home, KeySpec, Route, Run, Spec, SpecBegin, SpecFind, flags};
use crate::resp::Reply;

pub static COMMANDS: &[Command] =
    &[Command::new("command", -1, flags::LOADING | flags::STALE, Route::Home, Run::Home(all_infos))
        .acl(&["slow", "connection"])
        .tips(&["nondeterministic_output_order"])
        .doc("server", "2.8.13", "O(N) where N is the total number of Redis commands", "Get array of Redis command details")
        .subcommands(&[
            Command::new("command|count", 2, flags::LOADING | flags::STALE, Route::Home, Run::Home(count))
                .acl(&["slow", "connection"])
                .doc("server", "2.8.13", "O(1)", "Get total number of Redis commands"),
            Command::new("command|info", -2, flags::LOADING | flags::STALE, Route::Home, Run::Home(info))
                .acl(&["slow", "connection"])
                .tips(&["nondeterministic_output_order"])
                .arguments("[command-name...]")
                .doc(
                    "server",
                    "2.8.13",
                    "O(N) where N is the number of commands to look up",
                    "Get array of specific Redis command details, or all when no argument is given.",
                ),
            Command::new("command|docs", -2, flags::LOADING | flags::STALE, Route::Home, Run::Home(docs))
                .acl(&["slow", "connection"])
                .tips(&["nondeterministic_output_order"])
                .arguments("[command-name...]")
                .doc(
                    "server",
                    "7.0.0",
                    "O(N) where N is the number of commands to look up",
                    "Get array of specific Redis command documentation",
                ),
            Command::new("command|list", -2, flags::LOADING | flags::STALE, Route::Home, Run::Home(list))
                .acl(&["slow", "connection"])
                .tips(&["nondeterministic_output_order"])
                .arguments("[FILTERBY filterby(MODULE module-name | ACLCAT category | PATTERN pattern)]")
                .doc(
                    "server",
                    "7.0.0",
                    "O(N) where N is the total number of Redis commands",
                    "Get an array of Redis command names",
                ),
            Command::new("command|getkeys", -3, flags::LOADING | flags::STALE, Route::Home, Run::Home(getkeys))
                .acl(&["slow", "connection"])
                .arguments("command [arg...]")
                .doc(
                    "server",
                    "2.8.13",
                    "O(N) where N is the number of arguments to the command",
                    "Extract keys given a full Redis command",
                ),
            Command::new("command|getkeysandflags", -3, flags::LOADING | flags::STALE, Route::Home, Run::Home(getkeysandflags))
                .acl(&["slow", "connection"])
                .arguments("command [arg...]")
                .doc(
                    "server",
                    "7.0.0",
                    "O(N) where N is the number of arguments to the command",
                    "Extract keys and access flags given a full Redis command",
                ),
            Command::new("command|help", 2, flags::LOADING | flags::STALE, Route::Home, Run::Home(help))
                .acl(&["slow", "connection"])
                .doc("server", "5.0.0", "O(1)", "Show helpful text about the different subcommands"),
        ])];

/// COMMAND
fn all_infos(home: &mut Home<'_>, _args: &[&[u8]]) {
    let commands = home.names.all();
    home.reply.array(commands.len());
    for command in commands {
        reply_info(&mut home.reply, command);
    }
}

/// COMMAND COUNT
fn count(home: &mut Home<'_>, _args: &[&[u8]]) {
    home.reply.integer(home.names.all().len() as i64);
}

/// COMMAND INFO [command-name …]: null for a name of no command.
fn info(home: &mut Home<'_>, args: &[&[u8]]) {
    if args.len() == 2 {
        return all_infos(home, args);
    }
    home.reply.array(args.len() - 2);
    for name in &args[2..] {
        match home.names.by_full_name(name) {
            Some(command) => reply_info(&mut home.reply, command),
            None => home.reply.null(),
        }
    }
}

fn reply_info(reply: &mut Reply<'_>, command: &Command) {
    reply.array(10);
    reply.bulk(command.name.as_bytes());
    reply.integer(command.arity as i64);
    let names = flags::NAMES.iter().filter(|(bit, _)| command.flags & bit != 0);
    reply.set(names.clone().count());
    names.for_each(|(_, name)| reply.simple(name));
    for number in legacy_range(command) {
        reply.integer(number);
    }
    reply.set(command.acl.len());
    command.acl.iter().for_each(|category| reply.simple(&format!("@{category}")));
    reply.set(command.tips.len());
    command.tips.iter().for_each(|tip| reply.bulk(tip.as_bytes()));
    reply.set(command.specs.len());
    command.specs.iter().for_each(|spec| reply_spec(reply, spec));
    reply.set(command.subcommands.len());
    command.subcommands.iter().for_each(|sub| reply_info(reply, sub));
}

/// First key, last key, step: what clients older than key specifications read.
fn legacy_range(command: &Command) -> [i64; 3] {
    match command.keys {
        KeySpec::Range { first, last, step } => [first as i64, last as i64, step as i64],
        KeySpec::None => [0, 0, 0],
        // Redis shows the fixed keys in front of those that the arguments name.
        KeySpec::Find(_) => command.specs.first().map_or([0, 0, 0], |spec| match (spec.begin, spec.find) {
            (SpecBegin::Index(first), SpecFind::Range { last, step, .. }) => {
                let last = if last < 0 { last } else { first as isize + last };
                [first as i64, last as i64, step as i64]
            }
            _ => [0, 0, 0],
        }),
    }
}

fn reply_spec(reply: &mut Reply<'_>, spec: &Spec) {
    reply.map(if spec.notes.is_empty() { 3 } else { 4 });
    if !spec.notes.is_empty() {
        reply.bulk(b"notes");
        reply.bulk(spec.notes.as_bytes());
    }
    reply.bulk(b"flags");
    reply_words(reply, spec.flags);
    reply.bulk(b"begin_search");
    match spec.begin {
        SpecBegin::Index(index) => reply_search(reply, "index", &[("index", Field::Number(index as i64))]),
        SpecBegin::Keyword { keyword, start_from } => {
            let fields = [("keyword", Field::Text(keyword)), ("startfrom", Field::Number(start_from as i64))];
            reply_search(reply, "keyword", &fields);
        }
        SpecBegin::Unknown => reply_search(reply, "unknown", &[]),
    }
    reply.bulk(b"find_keys");
    match spec.find {
        SpecFind::Range { last, step, limit } => {
            let fields = [("lastkey", last as i64), ("keystep", step as i64), ("limit", limit as i64)];
            reply_search(reply, "range", &fields.map(|(name, number)| (name, Field::Number(number))));
        }
        SpecFind::KeyNum { num_index, first, step } => {
            let fields = [("keynumidx", num_index), ("firstkey", first), ("keystep", step)];
            reply_search(reply, "keynum", &fields.map(|(name, number)| (name, Field::Number(number as i64))));
        }
        SpecFind::Unknown => reply_search(reply, "unknown", &[]),
    }
}

enum Field {
    Number(i64),
    Text(&'static str),
}

fn reply_search(reply: &mut Reply<'_>, kind: &str, fields: &[(&str, Field)]) {
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(kind.as_bytes());
    reply.bulk(b"spec");
    reply.map(fields.len());
    for (name, field) in fields {
        reply.bulk(name.as_bytes());
        match field {
            Field::Number(number) => reply.integer(*number),
            Field::Text(text) => reply.bulk(text.as_bytes()),
        }
    }
}

fn reply_words(reply: &mut Reply<'_>, words: &str) {
    reply.set(words.split_whitespace().count());
    words.split_whitespace().for_each(|word| reply.simple(word));
}

/// COMMAND DOCS [command-name …]: names of no command are left out.
fn docs(home: &mut Home<'_>, args: &[&[u8]]) {
    let named: Vec<_> = match args.len() {
        2 => home.names.all(),
        _ => args[2..].iter().filter_map(|name| home.names.by_full_name(name)).collect(),
    };
    home.reply.map(named.len());
    named.into_iter().for_each(|command| reply_docs(&mut home.reply, command));
}

fn reply_docs(reply: &mut Reply<'_>, command: &Command) {
    reply.bulk(command.name.as_bytes());
    let facts =
        [("summary", command.summary), ("since", command.since), ("group", command.group), ("complexity", command.complexity)];
    let present = facts.iter().filter(|(_, text)| !text.is_empty());
    let arguments = arguments_of(command);
    let (has_arguments, has_subcommands) = (!arguments.is_empty(), !command.subcommands.is_empty());
    reply.map(present.clone().count() + has_arguments as usize + has_subcommands as usize);
    for (name, text) in present {
        reply.bulk(name.as_bytes());
        reply.bulk(text.as_bytes());
    }
    if has_arguments {
        reply.bulk(b"arguments");
        reply_arguments(reply, &arguments);
    }
    if has_subcommands {
        reply.bulk(b"subcommands");
        reply.map(command.subcommands.len());
        command.subcommands.iter().for_each(|sub| reply_docs(reply, sub));
    }
}

/// COMMAND LIST [FILTERBY MODULE module | ACLCAT category | PATTERN pattern]
fn list(home: &mut Home<'_>, args: &[&[u8]]) {
    answer_home(home, |home| {
        let names: Vec<_> = match args[2..] {
            [] => {
                home.reply.set(names(home).count());
                names(home).for_each(|command| home.reply.bulk(command.name.as_bytes()));
                return Ok(());
            }
            [by, _, _] if !is(by, "FILTERBY") => return Err(SYNTAX),
            [_, kind, pattern] if is(kind, "PATTERN") => {
                names(home).filter(|command| glob_matches(pattern, command.name.as_bytes(), true)).collect()
            }
            [_, kind, category] if is(kind, "ACLCAT") => {
                let in_category = |command: &&Command| command.acl.iter().any(|name| is(category, name));
                names(home).filter(in_category).collect()
            }
            [_, kind, _] if is(kind, "MODULE") => Vec::new(),
            _ => return Err(SYNTAX),
        };
        // As Redis: only the whole list is a set in RESP3.
        home.reply.array(names.len());
        names.iter().for_each(|command| home.reply.bulk(command.name.as_bytes()));
        Ok(())
    });
}

fn names(home: &Home<'_>) -> impl Iterator<Item = &'static Command> + use<> {
    home.names.all().into_iter().flat_map(|command| std::iter::once(command).chain(command.subcommands))
}

/// COMMAND GETKEYS command [arg …]
fn getkeys(home: &mut Home<'_>, args: &[&[u8]]) {
    answer_home(home, |home| {
        let (_, keys) = keys_in(home.names, &args[2..])?;
        home.reply.array(keys.len());
        keys.iter().for_each(|&index| home.reply.bulk(args[2 + index]));
        Ok(())
    });
}

/// COMMAND GETKEYSANDFLAGS command [arg …]
fn getkeysandflags(home: &mut Home<'_>, args: &[&[u8]]) {
    answer_home(home, |home| {
        let (command, keys) = keys_in(home.names, &args[2..])?;
        home.reply.array(keys.len());
        for (nth, index) in keys.into_iter().enumerate() {
            home.reply.array(2);
            home.reply.bulk(args[2 + index]);
            reply_words(&mut home.reply, key_flags(command, nth, index, &args[2..]));
        }
        Ok(())
    });
}

fn keys_in(names: &Names, args: &[&[u8]]) -> Result<(&'static Command, Vec<usize>), Failure> {
    let command = names.lookup(args).ok_or("ERR Invalid command specified")?;
    if matches!(command.keys, KeySpec::None) {
        return Err("ERR The command has no key arguments".into());
    }
    if !command.arity_matches(args.len()) {
        return Err("ERR Invalid number of arguments specified for command".into());
    }
    match possible_keys(command, args) {
        Ok(Keys::List(keys)) if keys.len() == 0 => Err("ERR Invalid arguments specified for command".into()),
        Ok(keys) => {
            // In their order among the arguments, whatever order routing wants.
            let mut keys: Vec<usize> = keys.collect();
            keys.sort_unstable();
            Ok((command, keys))
        }
        Err(_) => Err("ERR Invalid arguments specified for command".into()),
    }
}

/// The flags of the specification that the key comes from. Where they vary with the arguments, Redis looks at them.
fn key_flags(command: &Command, nth: usize, index: usize, args: &[&[u8]]) -> &'static str {
    match command.name {
        "set" if args[3..].iter().any(|word| is(word, "GET")) => return "RW access update",
        "set" => return "OW update",
        "bitfield" if args[2..].chunks(3).all(|words| words.len() == 3 && is(words[0], "GET")) => return "RO access",
        "bitfield" => return "RW access update",
        _ => {}
    }
    let begins_at = |spec: &&Spec| matches!(spec.begin, SpecBegin::Index(begin) if begin <= index);
    let spec = command.specs.iter().rev().find(begins_at).or(command.specs.get(nth)).or(command.specs.last());
    spec.map_or("", |spec| spec.flags)
}

/// COMMAND HELP
fn help(home: &mut Home<'_>, args: &[&[u8]]) {
    reply_help(&mut home.reply, args[0], HELP);
}

const HELP: &[&str] = &[
    "(no subcommand)",
    "    Return details about all Redis commands.",
    "COUNT",
    "    Return the total number of commands in this Redis server.",
    "LIST",
    "    Return a list of all commands in this Redis server.",
    "INFO [<command-name> ...]",
    "    Return details about multiple Redis commands.",
    "    If no command names are given, documentation details for all",
    "    commands are returned.",
    "DOCS [<command-name> ...]",
    "    Return documentation details about multiple Redis commands.",
    "    If no command names are given, documentation details for all",
    "    commands are returned.",
    "GETKEYS <full-command>",
    "    Return the keys from a full Redis command.",
    "GETKEYSANDFLAGS <full-command>",
    "    Return the keys and the access flags from a full Redis command.",
];
