//! The one table: name, arity, flags, keys, route, documentation and handler of every command.
//!
//! Dispatch, routing, COMMAND and its sub-commands, ACL categories, README's list and the random test generator all read it.

use super::context::{Ctx, Session};
use crate::resp::Reply;

/// One command or sub-command.
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
    pub subcommands: &'static [Command],
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
}

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
    Find(fn(args: &[&[u8]]) -> Result<Vec<usize>, &'static str>),
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
pub enum Run {
    Data(fn(&mut Ctx<'_>, args: &[&[u8]])),
    Home(fn(&mut Home<'_>, args: &[&[u8]])),
    Engine(EngineCommand),
    /// A container such as `CONFIG`: one of `subcommands` runs.
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
}

/// The entry for a command by its name in any case; containers are resolved with the second argument.
pub fn lookup(_args: &[&[u8]]) -> Option<&'static Command> {
    None
}
