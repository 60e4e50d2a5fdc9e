//! Replication, as a server answers that has no replicas and cannot be one yet.

use super::arguments::{Failure, SYNTAX, integer, is};
use super::connection::answer_home;
use super::table::{Command, Home, Route, Run, flags};

pub static COMMANDS: &[Command] = &[
    Command::new(
        "replicaof",
        3,
        flags::ADMIN | flags::NOSCRIPT | flags::STALE | flags::NO_ASYNC_LOADING,
        Route::Home,
        Run::Home(replicaof),
    )
    .acl(&["admin", "slow", "dangerous"])
    .arguments("args(host-port(host port:integer) | no-one(NO ONE))")
    .doc("server", "5.0.0", "O(1)", "Configures a server as replica of another, or promotes it to a master."),
    Command::new(
        "slaveof",
        3,
        flags::ADMIN | flags::NOSCRIPT | flags::STALE | flags::NO_ASYNC_LOADING,
        Route::Home,
        Run::Home(replicaof),
    )
    .acl(&["admin", "slow", "dangerous"])
    .arguments("args(host-port(host port:integer) | no-one(NO ONE))")
    .doc("server", "1.0.0", "O(1)", "Sets a Redis server as a replica of another, or promotes it to being a master."),
    Command::new("role", 1, flags::NOSCRIPT | flags::LOADING | flags::STALE | flags::FAST, Route::Home, Run::Home(role))
        .acl(&["admin", "fast", "dangerous"])
        .doc("server", "2.8.12", "O(1)", "Returns the replication role."),
    Command::new("wait", 3, flags::BLOCKING, Route::Home, Run::Home(wait))
        .acl(&["slow", "blocking", "connection"])
        .tips(&["request_policy:all_shards", "response_policy:agg_min"])
        .arguments("numreplicas:integer timeout:integer")
        .doc(
            "generic",
            "3.0.0",
            "O(1)",
            "Blocks until the asynchronous replication of all preceding write commands sent by the connection is completed.",
        ),
    Command::new("failover", -1, flags::ADMIN | flags::NOSCRIPT | flags::STALE, Route::Home, Run::Home(failover))
        .acl(&["admin", "slow", "dangerous"])
        .arguments("[TO target(host port:integer [FORCE])] [ABORT] [TIMEOUT milliseconds:integer]")
        .doc("server", "6.2.0", "O(1)", "Starts a coordinated failover from a server to one of its replicas."),
    Command::new(
        "replconf",
        -1,
        flags::ADMIN | flags::NOSCRIPT | flags::LOADING | flags::STALE | flags::ALLOW_BUSY,
        Route::Home,
        Run::Home(replconf),
    )
    .acl(&["admin", "slow", "dangerous"])
    .doc("server", "3.0.0", "O(1)", "An internal command for configuring the replication stream."),
    Command::new(
        "psync",
        -3,
        flags::ADMIN | flags::NOSCRIPT | flags::NO_ASYNC_LOADING | flags::NO_MULTI,
        Route::Home,
        Run::Home(sync),
    )
    .acl(&["admin", "slow", "dangerous"])
    .arguments("replicationid offset:integer")
    .doc("server", "2.8.0", "", "An internal command used in replication."),
    Command::new(
        "sync",
        1,
        flags::ADMIN | flags::NOSCRIPT | flags::NO_ASYNC_LOADING | flags::NO_MULTI,
        Route::Home,
        Run::Home(sync),
    )
    .acl(&["admin", "slow", "dangerous"])
    .doc("server", "1.0.0", "", "An internal command used in replication."),
];

/// What needs the other side of a replication.
const NO_REPLICATION: Failure = Failure::Borrowed("ERR replication is not supported yet");

/// REPLICAOF NO ONE | host port; SLAVEOF. No host can be followed yet.
fn replicaof(home: &mut Home<'_>, args: &[&[u8]]) {
    answer_home(home, |home| {
        if is(args[1], "NO") && is(args[2], "ONE") {
            home.reply.ok();
            return Ok(());
        }
        let is_port = integer(args[2]).is_ok_and(|port| (0..=65535).contains(&port));
        Err(if is_port { NO_REPLICATION } else { "ERR Invalid master port".into() })
    });
}

/// ROLE: a master at offset 0 without replicas.
fn role(home: &mut Home<'_>, _args: &[&[u8]]) {
    home.reply.array(3);
    home.reply.bulk(b"master");
    home.reply.integer(0);
    home.reply.array(0);
}

/// WAIT numreplicas timeout: nothing to wait for, because no replica can connect meanwhile.
fn wait(home: &mut Home<'_>, args: &[&[u8]]) {
    answer_home(home, |home| {
        integer(args[1])?;
        check_timeout(args[2], home.now_ms)?;
        home.reply.integer(0);
        Ok(())
    });
}

fn check_timeout(text: &[u8], now_ms: i64) -> Result<(), Failure> {
    match integer(text) {
        Err(_) => Err("ERR timeout is not an integer or out of range".into()),
        Ok(..0) => Err("ERR timeout is negative".into()),
        Ok(timeout_ms) if timeout_ms.checked_add(now_ms).is_none() => Err("ERR timeout is out of range".into()),
        Ok(_) => Ok(()),
    }
}

/// FAILOVER [TO host port [FORCE]] [ABORT] [TIMEOUT milliseconds]: refused after its arguments are checked.
fn failover(home: &mut Home<'_>, args: &[&[u8]]) {
    let refusal = match check_failover(&args[1..]) {
        Err(failure) => failure,
        Ok(Failover::Abort) => "ERR No failover in progress.".into(),
        Ok(Failover::Start) => "ERR FAILOVER requires connected replicas.".into(),
    };
    home.reply.error(&refusal);
}

enum Failover {
    Start,
    Abort,
}

fn check_failover(words: &[&[u8]]) -> Result<Failover, Failure> {
    if let [word] = words
        && is(word, "ABORT")
    {
        return Ok(Failover::Abort);
    }
    let (mut target, mut timeout, mut force) = (false, false, false);
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        match () {
            () if is(word, "TO") && !target => {
                target = true;
                let (_host, port) = (rest.next().ok_or(SYNTAX)?, rest.next().ok_or(SYNTAX)?);
                integer(port)?;
            }
            () if is(word, "TIMEOUT") && !timeout => {
                timeout = true;
                if integer(rest.next().ok_or(SYNTAX)?)? <= 0 {
                    return Err("ERR FAILOVER timeout must be greater than 0".into());
                }
            }
            () if is(word, "FORCE") && !force => force = true,
            () => return Err(SYNTAX),
        }
    }
    Ok(Failover::Start)
}

/// REPLCONF [option value]…: what a replica says of itself before it asks for the data with PSYNC. Checked and forgotten.
fn replconf(home: &mut Home<'_>, args: &[&[u8]]) {
    answer_home(home, |home| {
        let (pairs, odd) = args[1..].as_chunks::<2>();
        if !odd.is_empty() {
            return Err(SYNTAX);
        }
        pairs.iter().try_for_each(|[option, value]| check_replica_option(option, value))?;
        home.reply.ok();
        Ok(())
    });
}

const REPLICA_ADDRESS_BYTES_MAX: usize = 255;

fn check_replica_option(option: &[u8], value: &[u8]) -> Result<(), Failure> {
    match () {
        () if is(option, "LISTENING-PORT") => integer(value).map(|_| ()),
        () if is(option, "RDB-ONLY") => match integer(value)? {
            0 | 1 => Ok(()),
            _ => Err("ERR value is out of range, value must between 0 and 1".into()),
        },
        () if is(option, "CAPA") => Ok(()),
        () if is(option, "IP-ADDRESS") => match value.len() {
            ..=REPLICA_ADDRESS_BYTES_MAX => Ok(()),
            len => Err(format!("ERR REPLCONF ip-address provided by replica instance is too long: {len} bytes").into()),
        },
        () if is(option, "RDB-FILTER-ONLY") => check_filter(value),
        // Redis answers these with silence, which would leave a client waiting.
        () if is(option, "ACK") || is(option, "GETACK") => Err(NO_REPLICATION),
        () => Err(format!("ERR Unrecognized REPLCONF option: {}", String::from_utf8_lossy(option)).into()),
    }
}

/// Words between spaces; `functions` is the only one that Redis knows.
fn check_filter(value: &[u8]) -> Result<(), Failure> {
    match value.split(|&byte| byte == b' ').find(|word| !word.is_empty() && !is(word, "FUNCTIONS")) {
        None => Ok(()),
        Some(word) => Err(format!("ERR Unsupported rdb-filter-only option: {}", String::from_utf8_lossy(word)).into()),
    }
}

/// SYNC; PSYNC replicationid offset
fn sync(home: &mut Home<'_>, _args: &[&[u8]]) {
    home.reply.error(&NO_REPLICATION);
}
