//! CLIENT: what a connection says about itself. What concerns all connections is the engine's.

use super::arguments::{Failure, SYNTAX, is, reply_help};
use super::connection::answer_home;
use super::context::Session;
use super::table::{Command, EngineCommand, Home, Route, Run, flags};
use crate::resp::Protocol;

pub static COMMANDS: &[Command] = &[Command::new("client", -2, 0, Route::Home, Run::Container)
    .acl(&["slow"])
    .doc("connection", "2.4.0", "Depends on subcommand.", "A container for client connection commands")
    .subcommands(&[
        Command::new("client|id", 2, flags::NOSCRIPT | flags::LOADING | flags::STALE, Route::Home, Run::Home(id))
            .acl(&["slow", "connection"])
            .doc("connection", "5.0.0", "O(1)", "Returns the client ID for the current connection"),
        Command::new("client|getname", 2, flags::NOSCRIPT | flags::LOADING | flags::STALE, Route::Home, Run::Home(getname))
            .acl(&["slow", "connection"])
            .doc("connection", "2.6.9", "O(1)", "Get the current connection name"),
        Command::new("client|setname", 3, flags::NOSCRIPT | flags::LOADING | flags::STALE, Route::Home, Run::Home(setname))
            .acl(&["slow", "connection"])
            .arguments("connection-name")
            .doc("connection", "2.6.9", "O(1)", "Set the current connection name"),
        Command::new("client|info", 2, flags::NOSCRIPT | flags::LOADING | flags::STALE, Route::Home, Run::Home(info))
            .acl(&["slow", "connection"])
            .tips(&["nondeterministic_output"])
            .doc("connection", "6.2.0", "O(1)", "Returns information about the current client connection."),
        Command::new("client|no-touch", 3, flags::NOSCRIPT | flags::LOADING | flags::STALE, Route::Home, Run::Home(no_touch))
            .acl(&["slow", "connection"])
            .arguments("enabled(ON | OFF)")
            .doc(
                "connection",
                "7.2.0",
                "O(1)",
                "Controls whether commands sent by the client affect the LRU/LFU of accessed keys.",
            ),
        Command::new("client|setinfo", 4, flags::NOSCRIPT | flags::LOADING | flags::STALE, Route::Home, Run::Home(setinfo))
            .acl(&["slow", "connection"])
            .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
            .arguments("attr(LIB-NAME libname | LIB-VER libver)")
            .doc("connection", "7.2.0", "O(1)", "Sets information specific to the client or connection."),
        Command::new(
            "client|no-evict",
            3,
            flags::ADMIN | flags::NOSCRIPT | flags::LOADING | flags::STALE,
            Route::Home,
            Run::Home(no_evict),
        )
        .acl(&["admin", "slow", "dangerous", "connection"])
        .arguments("enabled(ON | OFF)")
        .doc("connection", "7.0.0", "O(1)", "Set client eviction mode for the current connection"),
        Command::new("client|reply", 3, flags::NOSCRIPT | flags::LOADING | flags::STALE, Route::Home, Run::Home(reply))
            .acl(&["slow", "connection"])
            .arguments("action(ON | OFF | SKIP)")
            .doc("connection", "3.2.0", "O(1)", "Instruct the server whether to reply to commands"),
        Command::new("client|getredir", 2, flags::NOSCRIPT | flags::LOADING | flags::STALE, Route::Home, Run::Home(getredir))
            .acl(&["slow", "connection"])
            .doc("connection", "6.0.0", "O(1)", "Get tracking notifications redirection client ID if any"),
        Command::new(
            "client|list",
            -2,
            flags::ADMIN | flags::NOSCRIPT | flags::LOADING | flags::STALE,
            Route::Engine,
            Run::Engine(EngineCommand::ClientList),
        )
        .acl(&["admin", "slow", "dangerous", "connection"])
        .tips(&["nondeterministic_output"])
        .arguments("[TYPE client-type(NORMAL | MASTER | REPLICA | PUBSUB)] [ID client-id:integer...]")
        .doc(
            "connection",
            "2.4.0",
            "O(N) where N is the number of client connections",
            "Get the list of client connections",
        ),
        Command::new(
            "client|kill",
            -3,
            flags::ADMIN | flags::NOSCRIPT | flags::LOADING | flags::STALE,
            Route::Engine,
            Run::Engine(EngineCommand::ClientKill),
        )
        .acl(&["admin", "slow", "dangerous", "connection"])
        .arguments(
            "filter(old-format=ip:port | new-format([ID client-id:integer] | [TYPE client-type(NORMAL | \
             MASTER | SLAVE | REPLICA | PUBSUB)] | [USER username] | [ADDR addr=ip:port] | [LADDR \
             laddr=ip:port] | [SKIPME skipme(YES | NO)] | [MAXAGE maxage:integer])...)",
        )
        .doc(
            "connection",
            "2.4.0",
            "O(N) where N is the number of client connections",
            "Kill the connection of a client",
        ),
        Command::new(
            "client|pause",
            -3,
            flags::ADMIN | flags::NOSCRIPT | flags::LOADING | flags::STALE,
            Route::Engine,
            Run::Engine(EngineCommand::ClientPause),
        )
        .acl(&["admin", "slow", "dangerous", "connection"])
        .arguments("timeout:integer [mode(WRITE | ALL)]")
        .doc("connection", "2.9.50", "O(1)", "Stop processing commands from clients for some time"),
        Command::new(
            "client|unpause",
            2,
            flags::ADMIN | flags::NOSCRIPT | flags::LOADING | flags::STALE,
            Route::Engine,
            Run::Engine(EngineCommand::ClientUnpause),
        )
        .acl(&["admin", "slow", "dangerous", "connection"])
        .doc(
            "connection",
            "6.2.0",
            "O(N) Where N is the number of paused clients",
            "Resume processing of clients that were paused",
        ),
        Command::new(
            "client|unblock",
            -3,
            flags::ADMIN | flags::NOSCRIPT | flags::LOADING | flags::STALE,
            Route::Engine,
            Run::Engine(EngineCommand::ClientUnblock),
        )
        .acl(&["admin", "slow", "dangerous", "connection"])
        .arguments("client-id:integer [unblock-type(TIMEOUT | ERROR)]")
        .doc(
            "connection",
            "5.0.0",
            "O(log N) where N is the number of client connections",
            "Unblock a client blocked in a blocking command from a different connection",
        ),
        Command::new("client|help", 2, flags::LOADING | flags::STALE, Route::Home, Run::Home(help))
            .acl(&["slow", "connection"])
            .doc("connection", "5.0.0", "O(1)", "Show helpful text about the different subcommands"),
    ])];

/// CLIENT ID
fn id(home: &mut Home<'_>, _args: &[&[u8]]) {
    home.reply.integer(home.session.id.0 as i64);
}

/// CLIENT GETNAME
fn getname(home: &mut Home<'_>, _args: &[&[u8]]) {
    if home.session.name.is_empty() {
        home.reply.null();
    } else {
        home.reply.bulk(&home.session.name);
    }
}

/// CLIENT SETNAME name: an empty name takes it away.
fn setname(home: &mut Home<'_>, args: &[&[u8]]) {
    answer_home(home, |home| {
        set_name(home, args[2])?;
        home.reply.ok();
        Ok(())
    });
}

pub fn set_name(home: &mut Home<'_>, name: &[u8]) -> Result<(), Failure> {
    check_attribute("Client names", name)?;
    home.session.name = name.to_vec();
    Ok(())
}

/// Names stand in CLIENT LIST between spaces.
fn check_attribute(what: &str, value: &[u8]) -> Result<(), Failure> {
    if value.iter().all(u8::is_ascii_graphic) {
        return Ok(());
    }
    Err(format!("ERR {what} cannot contain spaces, newlines or special characters.").into())
}

/// CLIENT SETINFO LIB-NAME name | LIB-VER version
fn setinfo(home: &mut Home<'_>, args: &[&[u8]]) {
    answer_home(home, |home| {
        let option = String::from_utf8_lossy(args[2]);
        let attribute = match () {
            () if is(args[2], "LIB-NAME") => &mut home.session.lib_name,
            () if is(args[2], "LIB-VER") => &mut home.session.lib_ver,
            () => return Err(format!("ERR Unrecognized option '{option}'").into()),
        };
        check_attribute(&option, args[3])?;
        *attribute = args[3].to_vec();
        home.reply.ok();
        Ok(())
    });
}

/// CLIENT INFO
fn info(home: &mut Home<'_>, _args: &[&[u8]]) {
    let mut line = client_line(home.session, home.now_ms);
    line.push(b'\n');
    home.reply.verbatim(b"txt", &line);
}

/// One client as CLIENT LIST and CLIENT INFO show it, without a line end. What the network layer alone knows (buffers,
/// the descriptor, subscriptions) is 0 here.
pub fn client_line(session: &Session, now_ms: i64) -> Vec<u8> {
    let age_s = (now_ms - session.created_ms).max(0) / 1000;
    let last_command = if session.last_command.is_empty() { "NULL" } else { session.last_command };
    let protocol = if session.protocol == Protocol::Resp3 { 3 } else { 2 };
    let client_flags = match (session.no_evict, session.no_touch) {
        (false, false) => "N",
        (true, false) => "e",
        (false, true) => "T",
        (true, true) => "eT",
    };
    let mut line = format!("id={} addr={} laddr={} fd=0 name=", session.id.0, session.peer, session.local).into_bytes();
    line.extend_from_slice(&session.name);
    let middle = format!(
        " age={age_s} idle=0 flags={client_flags} db={} sub=0 psub=0 ssub=0 multi=-1 qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 \
         rbs=0 rbp=0 obl=0 oll=0 omem=0 tot-mem=0 events=r cmd={last_command} user=default redir=-1 resp={protocol} lib-name=",
        session.db
    );
    line.extend_from_slice(middle.as_bytes());
    line.extend_from_slice(&session.lib_name);
    line.extend_from_slice(b" lib-ver=");
    line.extend_from_slice(&session.lib_ver);
    line
}

/// CLIENT NO-EVICT ON | OFF
fn no_evict(home: &mut Home<'_>, args: &[&[u8]]) {
    answer_home(home, |home| {
        home.session.no_evict = on_or_off(args[2])?;
        home.reply.ok();
        Ok(())
    });
}

/// CLIENT NO-TOUCH ON | OFF
fn no_touch(home: &mut Home<'_>, args: &[&[u8]]) {
    answer_home(home, |home| {
        home.session.no_touch = on_or_off(args[2])?;
        home.reply.ok();
        Ok(())
    });
}

fn on_or_off(word: &[u8]) -> Result<bool, Failure> {
    match () {
        () if is(word, "ON") => Ok(true),
        () if is(word, "OFF") => Ok(false),
        () => Err(SYNTAX),
    }
}

/// CLIENT REPLY ON | OFF | SKIP: the only command that may write no reply itself.
fn reply(home: &mut Home<'_>, args: &[&[u8]]) {
    match () {
        () if is(args[2], "ON") => {
            home.session.reply_off = false;
            home.session.reply_skip_next = false;
            home.reply.ok();
        }
        () if is(args[2], "OFF") => home.session.reply_off = true,
        () if is(args[2], "SKIP") => home.session.reply_skip_next = !home.session.reply_off,
        () => home.reply.error(&SYNTAX),
    }
}

/// CLIENT GETREDIR: tracking is never on.
fn getredir(home: &mut Home<'_>, _args: &[&[u8]]) {
    home.reply.integer(-1);
}

/// CLIENT HELP
fn help(home: &mut Home<'_>, args: &[&[u8]]) {
    reply_help(&mut home.reply, args[0], HELP);
}

const HELP: &[&str] = &[
    "CACHING (YES|NO)",
    "    Enable/disable tracking of the keys for next command in OPTIN/OPTOUT modes.",
    "GETREDIR",
    "    Return the client ID we are redirecting to when tracking is enabled.",
    "GETNAME",
    "    Return the name of the current connection.",
    "ID",
    "    Return the ID of the current connection.",
    "INFO",
    "    Return information about the current client connection.",
    "KILL <ip:port>",
    "    Kill connection made from <ip:port>.",
    "KILL <option> <value> [<option> <value> [...]]",
    "    Kill connections. Options are:",
    "    * ADDR (<ip:port>|<unixsocket>:0)",
    "      Kill connections made from the specified address",
    "    * LADDR (<ip:port>|<unixsocket>:0)",
    "      Kill connections made to specified local address",
    "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
    "      Kill connections by type.",
    "    * USER <username>",
    "      Kill connections authenticated by <username>.",
    "    * SKIPME (YES|NO)",
    "      Skip killing current connection (default: yes).",
    "LIST [options ...]",
    "    Return information about client connections. Options:",
    "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
    "      Return clients of specified type.",
    "UNPAUSE",
    "    Stop the current client pause, resuming traffic.",
    "PAUSE <timeout> [WRITE|ALL]",
    "    Suspend all, or just write, clients for <timeout> milliseconds.",
    "REPLY (ON|OFF|SKIP)",
    "    Control the replies sent to the current connection.",
    "SETNAME <name>",
    "    Assign the name <name> to the current connection.",
    "UNBLOCK <clientid> [TIMEOUT|ERROR]",
    "    Unblock the specified blocked client.",
    "TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]]",
    "         [OPTIN] [OPTOUT] [NOLOOP]",
    "    Control server assisted client side caching.",
    "TRACKINGINFO",
    "    Report tracking status for the current connection.",
    "NO-EVICT (ON|OFF)",
    "    Protect current client connection from eviction.",
    "NO-TOUCH (ON|OFF)",
    "    Will not touch LRU/LFU stats when this mode is on.",
];
