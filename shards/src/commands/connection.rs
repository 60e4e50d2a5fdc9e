//! The connection itself: PING, ECHO, SELECT, AUTH, HELLO, RESET, QUIT; and TIME.

use super::arguments::{Failure, SYNTAX, db_index, integer, integer_32, is};
use super::clients::set_name;
use super::context::Session;
use super::lookup::wrong_number;
use super::table::{Command, Home, Route, Run, flags};
use crate::resp::Protocol;

pub static COMMANDS: &[Command] = &[
    Command::new("ping", -1, flags::FAST, Route::Home, Run::Home(ping))
        .acl(&["fast", "connection"])
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .arguments("[message]")
        .doc("connection", "1.0.0", "O(1)", "Ping the server"),
    Command::new("echo", 2, flags::LOADING | flags::STALE | flags::FAST, Route::Home, Run::Home(echo))
        .acl(&["fast", "connection"])
        .arguments("message")
        .doc("connection", "1.0.0", "O(1)", "Echo the given string"),
    Command::new("select", 2, flags::LOADING | flags::STALE | flags::FAST, Route::Home, Run::Home(select))
        .acl(&["fast", "connection"])
        .arguments("index:integer")
        .doc("connection", "1.0.0", "O(1)", "Change the selected database for the current connection"),
    Command::new(
        "auth",
        -2,
        flags::NOSCRIPT | flags::LOADING | flags::STALE | flags::FAST | flags::NO_AUTH | flags::ALLOW_BUSY,
        Route::Home,
        Run::Home(auth),
    )
    .acl(&["fast", "connection"])
    .arguments("[username] password")
    .doc("connection", "1.0.0", "O(N) where N is the number of passwords defined for the user", "Authenticate to the server"),
    Command::new(
        "hello",
        -1,
        flags::NOSCRIPT | flags::LOADING | flags::STALE | flags::FAST | flags::NO_AUTH | flags::ALLOW_BUSY,
        Route::Home,
        Run::Home(hello),
    )
    .acl(&["fast", "connection"])
    .arguments("[arguments(protover:integer [AUTH auth(username password)] [SETNAME clientname])]")
    .doc("connection", "6.0.0", "O(1)", "Handshake with Redis"),
    Command::new(
        "quit",
        -1,
        flags::NOSCRIPT | flags::LOADING | flags::STALE | flags::FAST | flags::NO_AUTH | flags::ALLOW_BUSY,
        Route::Home,
        Run::Home(quit),
    )
    .acl(&["fast", "connection"])
    .doc("connection", "1.0.0", "O(1)", "Close the connection"),
    Command::new(
        "reset",
        1,
        flags::NOSCRIPT | flags::LOADING | flags::STALE | flags::FAST | flags::NO_AUTH | flags::ALLOW_BUSY,
        Route::Home,
        Run::Home(reset),
    )
    .acl(&["fast", "connection"])
    .doc("connection", "6.2.0", "O(1)", "Reset the connection"),
    Command::new("time", 1, flags::LOADING | flags::STALE | flags::FAST, Route::Home, Run::Home(time))
        .acl(&["fast"])
        .tips(&["nondeterministic_output"])
        .doc("server", "2.6.0", "O(1)", "Return the current server time"),
    Command::new("lolwut", -1, flags::READONLY | flags::FAST, Route::Home, Run::Home(lolwut))
        .acl(&["read", "fast"])
        .arguments("[VERSION version:integer]")
        .doc("server", "5.0.0", "", "Display some computer art and the Redis version"),
];

/// Redis's version whose commands, replies and errors this server speaks.
pub const REDIS_VERSION: &str = "7.2.5";

/// Answers what `body` fails with.
pub fn answer_home<'a>(home: &mut Home<'a>, body: impl FnOnce(&mut Home<'a>) -> Result<(), Failure>) {
    if let Err(failure) = body(home) {
        home.reply.error(&failure);
    }
}

/// PING [message]
fn ping(home: &mut Home<'_>, args: &[&[u8]]) {
    match args {
        [_] => home.reply.simple("PONG"),
        [_, message] => home.reply.bulk(message),
        _ => home.reply.error(&wrong_number("ping")),
    }
}

/// ECHO message
fn echo(home: &mut Home<'_>, args: &[&[u8]]) {
    home.reply.bulk(args[1]);
}

/// SELECT index
fn select(home: &mut Home<'_>, args: &[&[u8]]) {
    answer_home(home, |home| {
        home.session.db = db_index(integer_32(args[1])?, home.databases)?;
        home.reply.ok();
        Ok(())
    });
}

/// QUIT
fn quit(home: &mut Home<'_>, _args: &[&[u8]]) {
    home.session.close_after_reply = true;
    home.reply.ok();
}

/// RESET: the connection as it was when it was accepted. What the engine keeps for it (MULTI, WATCH, subscriptions)
/// the engine drops.
fn reset(home: &mut Home<'_>, _args: &[&[u8]]) {
    let old = std::mem::take(home.session);
    *home.session = Session {
        id: old.id,
        peer: old.peer,
        local: old.local,
        created_ms: old.created_ms,
        lib_name: old.lib_name,
        lib_ver: old.lib_ver,
        authenticated: home.password.is_empty(),
        ..Session::default()
    };
    home.reply.protocol = Protocol::Resp2;
    home.reply.simple("RESET");
}

/// TIME: seconds and microseconds.
fn time(home: &mut Home<'_>, _args: &[&[u8]]) {
    home.reply.array(2);
    home.reply.bulk_integer(home.now_us.div_euclid(1_000_000));
    home.reply.bulk_integer(home.now_us.rem_euclid(1_000_000));
}

/// LOLWUT [VERSION version]
fn lolwut(home: &mut Home<'_>, args: &[&[u8]]) {
    answer_home(home, |home| {
        if let [_, word, version, options @ ..] = args
            && is(word, "VERSION")
        {
            let sizes = match integer(version)? {
                5 => 3,
                6 => 2,
                _ => 0,
            };
            options.iter().take(sizes).try_for_each(|size| integer(size).map(drop))?;
        }
        home.reply.verbatim(b"txt", format!("Redis ver. {REDIS_VERSION}\n").as_bytes());
        Ok(())
    });
}

/// AUTH [username] password
fn auth(home: &mut Home<'_>, args: &[&[u8]]) {
    answer_home(home, |home| {
        let (user, password) = match *args {
            [_, _] if home.password.is_empty() => return Err(NO_PASSWORD_SET.into()),
            [_, password] => (&b"default"[..], password),
            [_, user, password] => (user, password),
            _ => return Err(SYNTAX),
        };
        authenticate(home, user, password)?;
        home.reply.ok();
        Ok(())
    });
}

const NO_PASSWORD_SET: &str = "ERR AUTH <password> called without any password configured for the default user. Are you sure your \
                               configuration is correct?";

/// There is one user, `default`; without `requirepass` every password of it is right.
fn authenticate(home: &mut Home<'_>, user: &[u8], password: &[u8]) -> Result<(), Failure> {
    let right = user == b"default" && (home.password.is_empty() || same_secret(home.password, password));
    if !right {
        return Err("WRONGPASS invalid username-password pair or user is disabled.".into());
    }
    home.session.authenticated = true;
    Ok(())
}

/// Compares in a time that does not tell how many bytes are right.
fn same_secret(expected: &[u8], given: &[u8]) -> bool {
    let difference =
        expected.iter().enumerate().fold(0u8, |difference, (at, byte)| difference | (byte ^ given.get(at).copied().unwrap_or(0)));
    difference == 0 && expected.len() == given.len()
}

/// HELLO [protover [AUTH username password] [SETNAME clientname]]
fn hello(home: &mut Home<'_>, args: &[&[u8]]) {
    answer_home(home, |home| {
        let options = HelloOptions::parse(&args[1..])?;
        if let Some((user, password)) = options.credentials {
            authenticate(home, user, password)?;
        }
        if !home.session.authenticated {
            return Err(NOT_AUTHENTICATED.into());
        }
        if let Some(name) = options.name {
            set_name(home, name)?;
        }
        if let Some(protocol) = options.protocol {
            home.session.protocol = protocol;
            home.reply.protocol = protocol;
        }
        reply_hello(home);
        Ok(())
    });
}

const NOT_AUTHENTICATED: &str = "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH \
                                 <user> <pass> option can be used to authenticate the client and select the RESP \
                                 protocol version at the same time";

#[derive(Default)]
struct HelloOptions<'a> {
    protocol: Option<Protocol>,
    credentials: Option<(&'a [u8], &'a [u8])>,
    name: Option<&'a [u8]>,
}

impl<'a> HelloOptions<'a> {
    fn parse(words: &[&'a [u8]]) -> Result<HelloOptions<'a>, Failure> {
        let mut options = HelloOptions::default();
        let Some((version, mut rest)) = words.split_first() else {
            return Ok(options);
        };
        options.protocol = match integer(version) {
            Ok(2) => Some(Protocol::Resp2),
            Ok(3) => Some(Protocol::Resp3),
            Ok(_) => return Err("NOPROTO unsupported protocol version".into()),
            Err(_) => return Err("ERR Protocol version is not an integer or out of range".into()),
        };
        while let Some(word) = rest.first() {
            rest = match *rest {
                [_, user, password, ref rest @ ..] if is(word, "AUTH") => {
                    options.credentials = Some((user, password));
                    rest
                }
                [_, name, ref rest @ ..] if is(word, "SETNAME") => {
                    options.name = Some(name);
                    rest
                }
                _ => return Err(format!("ERR Syntax error in HELLO option '{}'", String::from_utf8_lossy(word)).into()),
            };
        }
        Ok(options)
    }
}

fn reply_hello(home: &mut Home<'_>) {
    let protocol = if home.session.protocol == Protocol::Resp3 { 3 } else { 2 };
    let id = home.session.id.0 as i64;
    let reply = &mut home.reply;
    reply.map(7);
    for (name, value) in [("server", "redis"), ("version", REDIS_VERSION)] {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
    for (name, value) in [("proto", protocol), ("id", id)] {
        reply.bulk(name.as_bytes());
        reply.integer(value);
    }
    for (name, value) in [("mode", "standalone"), ("role", "master")] {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"modules");
    reply.array(0);
}
