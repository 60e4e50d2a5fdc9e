//! DEBUG: the few sub-commands that tests of clients need.

use super::{Admin, Requester, Then, word};
use crate::server::Question;
use shards::commands::reply_help;
use shards::shard::Shard;

const NOT_ALLOWED: &str = "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from a \
local connection, otherwise you need to set this option in the configuration file, and then restart the server.";

const HELP: &[&str] = &[
    "LOADAOF",
    "    Make the log durable and load the keys from the base and the log.",
    "OBJECT <key>",
    "    Show low level info about `key` and associated value.",
    "RELOAD [option ...]",
    "    Save the RDB on disk and reload it back to memory. Valid <option> values:",
    "    * MERGE: conflicting keys will be loaded from RDB.",
    "    * NOFLUSH: the existing database will not be removed before load; conflicting",
    "      keys are an error, and nothing is loaded.",
    "    * NOSAVE: the database will be loaded from the existing files.",
    "    Examples:",
    "    * DEBUG RELOAD: verify that the server is able to persist, flush and reload",
    "      the database.",
    "    * DEBUG RELOAD NOSAVE: replace the current database with what the files hold.",
    "    * DEBUG RELOAD NOSAVE NOFLUSH MERGE: add what the files hold to the database.",
    "SET-ACTIVE-EXPIRE <0|1>",
    "    Setting it to 0 disables expiring keys in background when they are not",
    "    accessed (otherwise the Redis behavior). Setting it to 1 reenables back the",
    "    default.",
    "SLEEP <seconds>",
    "    Stop the server for <seconds>. Decimals allowed.",
    "STRINGMATCH-LEN <length> <pattern>",
    "    Match a string of <length> letters against a glob-style pattern.",
];

impl Admin {
    pub(super) fn debug(&mut self, requester: Requester, args: &[&[u8]], is_local: bool, shard: &mut Shard) {
        match self.config.text("enable-debug-command") {
            "yes" => {}
            "local" if is_local => {}
            _ => return self.error(requester, NOT_ALLOWED),
        }
        match (word(args[1]).as_str(), &args[2..]) {
            ("sleep", [seconds]) => {
                let seconds: f64 = String::from_utf8_lossy(seconds).parse().unwrap_or(0.0);
                let microseconds = (seconds * 1e6).max(0.0) as u64;
                self.ask(Question::Sleep { microseconds }, Then::Ok(requester));
            }
            ("set-active-expire", [flag]) => {
                let is_on = *flag != b"0";
                self.ask(Question::ActiveExpire(is_on), Then::Ok(requester));
            }
            ("reload", options) => self.debug_reload(requester, options, shard),
            ("loadaof", []) => self.debug_loadaof(requester, shard),
            ("stringmatch-len", [length, pattern]) => {
                let length = super::integer(length).unwrap_or(0).clamp(0, 1 << 24) as usize;
                let matches = shards::commands::glob_matches(pattern, &vec![b'a'; length], false);
                self.answer(requester, |reply| reply.integer(matches as i64));
            }
            ("jmap" | "change-repl-id" | "quicklist-packed-threshold" | "replybuffer" | "listpack" | "stringencoding", _) => {
                self.ok(requester);
            }
            ("help", []) => self.answer(requester, |reply| reply_help(reply, args[0], HELP)),
            _ => {
                let name = String::from_utf8_lossy(&args[1][..args[1].len().min(128)]).into_owned();
                let text = format!("ERR unknown subcommand or wrong number of arguments for '{name}'. Try DEBUG HELP.");
                self.error(requester, &text);
            }
        }
    }
}
