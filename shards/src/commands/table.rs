//! The one table: name, arity, flags, keys, route, documentation and handler of every command.
//!
//! Each family's file holds its entries (`COMMANDS`) beside their functions; `FAMILIES` puts them together.
//! Dispatch, routing, COMMAND and its sub-commands, ACL categories, README's list and the random test generator all read it.

use super::context::{Ctx, Session};
use super::names::Names;
use crate::resp::Reply;
use std::fmt;

/// One command or sub-command.
#[derive(Clone, Copy)]
pub struct Command {
    /// Lower case; a sub-command is `parent|sub`.
    pub name: &'static str,
    /// Number of arguments with the name; negative = at least.
    pub arity: i32,
    pub flags: u64,
    pub keys: KeySpec,
    pub route: Route,
    pub run: Run,
    /// Redis's ACL categories without the `@`.
    pub acl: &'static [&'static str],
    pub group: &'static str,
    pub since: &'static str,
    pub summary: &'static str,
    pub complexity: &'static str,
    /// Its syntax without the name, in the notation of `argument_syntax`.
    pub arguments: &'static str,
    pub subcommands: &'static [Command],
    /// What COMMAND INFO says about the keys; `keys` is what routing uses.
    pub specs: &'static [Spec],
    /// Whether a call with these arguments may read keys that they do not name (SORT's BY and GET): then it runs while no other
    /// command runs on any shard, and what it turns out to need is lent to it on the way.
    pub reads_unnamed: Option<ArgsTest>,
    /// Hints for clients and proxies (`nondeterministic_output`, `request_policy:…`).
    pub tips: &'static [&'static str],
}

impl Command {
    /// A command without keys and documentation; the methods below add them.
    pub const fn new(name: &'static str, arity: i32, flags: u64, route: Route, run: Run) -> Command {
        Command {
            name,
            arity,
            flags,
            keys: KeySpec::None,
            route,
            run,
            acl: &[],
            group: "generic",
            since: "",
            summary: "",
            complexity: "",
            arguments: "",
            subcommands: &[],
            specs: &[],
            tips: &[],
            reads_unnamed: None,
        }
    }

    pub const fn reads_unnamed(self, reads_unnamed: ArgsTest) -> Command {
        Command { reads_unnamed: Some(reads_unnamed), ..self }
    }

    pub const fn keys(self, first: usize, last: isize, step: usize) -> Command {
        Command { keys: KeySpec::Range { first, last, step }, ..self }
    }

    pub const fn find_keys(self, find: KeyFinder) -> Command {
        Command { keys: KeySpec::Find(find), ..self }
    }

    pub const fn specs(self, specs: &'static [Spec]) -> Command {
        Command { specs, ..self }
    }

    pub const fn acl(self, acl: &'static [&'static str]) -> Command {
        Command { acl, ..self }
    }

    pub const fn tips(self, tips: &'static [&'static str]) -> Command {
        Command { tips, ..self }
    }

    pub const fn doc(self, group: &'static str, since: &'static str, complexity: &'static str, summary: &'static str) -> Command {
        Command { group, since, summary, complexity, ..self }
    }

    pub const fn arguments(self, arguments: &'static str) -> Command {
        Command { arguments, ..self }
    }

    pub const fn subcommands(self, subcommands: &'static [Command]) -> Command {
        Command { subcommands, ..self }
    }

    pub fn writes(&self) -> bool {
        self.flags & flags::WRITE != 0
    }

    /// Whether this many arguments, the name included, are right.
    pub fn arity_matches(&self, args: usize) -> bool {
        if self.arity < 0 { args >= self.arity.unsigned_abs() as usize } else { args == self.arity as usize }
    }

    /// The last part of the name: `getname` of `client|getname`.
    pub fn own_name(&self) -> &'static str {
        self.name.split_once('|').map_or(self.name, |(_, own)| own)
    }
}

/// Shown by name: messages that carry a command must be printable.
impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// One key specification as COMMAND INFO shows it.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// `RO access`, `RW access update variable_flags` …
    pub flags: &'static str,
    pub begin: SpecBegin,
    pub find: SpecFind,
    pub notes: &'static str,
}

#[derive(Clone, Copy, Debug)]
pub enum SpecBegin {
    Index(usize),
    Keyword { keyword: &'static str, start_from: isize },
    Unknown,
}

#[derive(Clone, Copy, Debug)]
pub enum SpecFind {
    /// `last` counts from the first key, or from the end of the arguments when negative.
    Range {
        last: isize,
        step: usize,
        limit: usize,
    },
    KeyNum {
        num_index: usize,
        first: usize,
        step: usize,
    },
    Unknown,
}

impl Spec {
    /// One key at `index`.
    pub const fn at(index: usize, flags: &'static str) -> Spec {
        Spec::range(index, 0, 1, flags)
    }

    pub const fn range(index: usize, last: isize, step: usize, flags: &'static str) -> Spec {
        Spec { flags, begin: SpecBegin::Index(index), find: SpecFind::Range { last, step, limit: 0 }, notes: "" }
    }

    /// A count of keys at `index`, followed by the keys.
    pub const fn key_num(index: usize, flags: &'static str) -> Spec {
        let find = SpecFind::KeyNum { num_index: 0, first: 1, step: 1 };
        Spec { flags, begin: SpecBegin::Index(index), find, notes: "" }
    }

    pub const fn unknown(flags: &'static str) -> Spec {
        Spec { flags, begin: SpecBegin::Unknown, find: SpecFind::Unknown, notes: "" }
    }

    pub const fn notes(self, notes: &'static str) -> Spec {
        Spec { notes, ..self }
    }
}

/// Bits of `Command::flags`, as COMMAND INFO names them.
pub mod flags {
    pub const WRITE: u64 = 1;
    pub const READONLY: u64 = 1 << 1;
    pub const DENYOOM: u64 = 1 << 2;
    pub const ADMIN: u64 = 1 << 3;
    pub const FAST: u64 = 1 << 4;
    pub const LOADING: u64 = 1 << 5;
    pub const STALE: u64 = 1 << 6;
    pub const NO_AUTH: u64 = 1 << 7;
    pub const NOSCRIPT: u64 = 1 << 8;
    pub const MOVABLEKEYS: u64 = 1 << 9;
    pub const SKIP_MONITOR: u64 = 1 << 10;
    pub const SKIP_SLOWLOG: u64 = 1 << 11;
    pub const ALLOW_BUSY: u64 = 1 << 12;
    pub const NO_MULTI: u64 = 1 << 13;
    pub const NO_ASYNC_LOADING: u64 = 1 << 14;
    pub const PUBSUB: u64 = 1 << 15;
    pub const BLOCKING: u64 = 1 << 16;
    pub const ASKING: u64 = 1 << 17;
    pub const MAY_REPLICATE: u64 = 1 << 18;
    pub const NO_MANDATORY_KEYS: u64 = 1 << 19;

    /// Names in the order in which Redis lists them.
    pub const NAMES: [(u64, &str); 20] = [
        (WRITE, "write"),
        (READONLY, "readonly"),
        (DENYOOM, "denyoom"),
        (ADMIN, "admin"),
        (PUBSUB, "pubsub"),
        (NOSCRIPT, "noscript"),
        (BLOCKING, "blocking"),
        (LOADING, "loading"),
        (STALE, "stale"),
        (SKIP_MONITOR, "skip_monitor"),
        (SKIP_SLOWLOG, "skip_slowlog"),
        (ASKING, "asking"),
        (FAST, "fast"),
        (NO_AUTH, "no_auth"),
        (MAY_REPLICATE, "may_replicate"),
        (NO_MANDATORY_KEYS, "no_mandatory_keys"),
        (NO_ASYNC_LOADING, "no_async_loading"),
        (NO_MULTI, "no_multi"),
        (MOVABLEKEYS, "movablekeys"),
        (ALLOW_BUSY, "allow_busy"),
    ];
}

/// A question about the arguments of a call.
pub type ArgsTest = fn(args: &[&[u8]]) -> bool;

/// A command's own rule for its keys: their indices among all arguments, or an error text with its code.
pub type KeyFinder = fn(args: &[&[u8]]) -> Result<Vec<usize>, &'static str>;

/// Where the keys stand among the arguments (index 0 is the command's name).
#[derive(Clone, Copy)]
pub enum KeySpec {
    None,
    /// From `first` to `last` (negative: counted from the end, -1 = last argument) in steps of `step`.
    Range {
        first: usize,
        last: isize,
        step: usize,
    },
    /// The rule is the command's own: indices of the keys, or an error text.
    Find(KeyFinder),
}

/// Where a command runs.
#[derive(Clone, Copy)]
pub enum Route {
    /// On the connection's home shard, at once, without touching a key (`Run::Home`).
    Home,
    /// Where its keys are (`Run::Data`). When they are on several shards, by the rule of `Multi`.
    Keys(Multi),
    /// On every shard, as one cross-shard transaction (`Run::Data` with that shard's own keys): FLUSHALL, DBSIZE, KEYS, SWAPDB.
    All(Merge),
    /// By the engine itself, which knows all shards (`Run::Engine`): CONFIG, INFO, BGSAVE, SCAN, RANDOMKEY …
    Engine,
}

/// How a command with keys on several shards is executed; always as one atomic transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Multi {
    /// It has one key only.
    Never,
    /// Every shard runs the same command on its own keys (with the arguments that belong to them, `step` each), one hop.
    Split(Merge),
    /// The values of the other shards' keys are lent to the shard of the last written key, the handler runs there as if all keys were
    /// local, and its effects go back to the owners of the keys.
    Gather,
}

/// How the replies of several shards become one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Merge {
    /// Each shard's reply is an array with one element per key it was given: put back into the order of the keys.
    ByKey,
    /// Arrays of any length, concatenated (KEYS).
    Concat,
    Sum,
    /// All the same (`+OK`): the first, or the first error.
    First,
}

/// The function of a command.
#[derive(Clone, Copy)]
pub enum Run {
    Data(fn(&mut Ctx<'_>, args: &[&[u8]])),
    Home(fn(&mut Home<'_>, args: &[&[u8]])),
    Engine(EngineCommand),
    /// A container such as `CONFIG`: one of `subcommands` runs. Never run itself: its arity wants a sub-command.
    Container,
}

/// What a command with `Route::Home` may use.
pub struct Home<'a> {
    pub session: &'a mut Session,
    pub reply: Reply<'a>,
    pub now_ms: i64,
    pub now_us: i64,
    pub databases: u16,
    /// `requirepass`, empty = none.
    pub password: &'a [u8],
    pub names: &'a Names,
    pub random: &'a mut fastrand::Rng,
}

/// Commands that the engine (or the server around it) implements, because they concern all shards.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum EngineCommand {
    Save,
    BgSave,
    BgRewriteAof,
    LastSave,
    Export,
    Shutdown,
    ConfigGet,
    ConfigSet,
    ConfigResetStat,
    ConfigRewrite,
    Info,
    Scan,
    RandomKey,
    Debug,
    ClientList,
    ClientKill,
    ClientPause,
    ClientUnpause,
    ClientUnblock,
}
