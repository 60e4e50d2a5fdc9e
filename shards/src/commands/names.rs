//! What commands are called: by the table, unless `rename-command` has changed it.
//!
//! Clients use these names, and COMMAND finds entries by them. Errors, INFO, CLIENT LIST and the log go on using those of the table, as the
//! first three do in Redis; so a log can be read under any configuration.

use super::lookup::{all, by_name};
use super::table::Command;
use std::sync::Arc;

#[derive(Clone, Debug, Default)]
pub struct Names {
    /// None as a rule: finding a command costs one test more.
    changes: Option<Arc<Vec<Change>>>,
}

/// What one name stands for now, whatever the table says. A configuration has a handful: each command looks through all of them.
#[derive(Clone, Debug)]
struct Change {
    name: Vec<u8>,
    meaning: Option<Meaning>,
}

#[derive(Clone, Copy, Debug)]
enum Meaning {
    Command(&'static Command),
    /// A command of Redis that this server does not have: `rename-command EVAL ""` must not stop it.
    NotHere,
}

impl Names {
    /// Those of the table.
    pub const TABLE: Names = Names { changes: None };

    /// `rename-command name new`; an empty `new` disables the command. The error is Redis's.
    pub fn rename(&mut self, name: &[u8], new: &[u8]) -> Result<(), &'static str> {
        let meaning = self.meaning(name).ok_or("No such command in rename-command")?;
        self.change(name, None);
        if new.is_empty() {
            return Ok(());
        }
        if self.meaning(new).is_some() {
            return Err("Target command name already exists");
        }
        self.change(new, Some(meaning));
        Ok(())
    }

    pub fn are_changed(&self) -> bool {
        self.changes.is_some()
    }

    /// A command by its name, in any case, whether it is a container or not.
    #[inline]
    pub fn by_name(&self, name: &[u8]) -> Option<&'static Command> {
        match &self.changes {
            None => by_name(name),
            Some(changes) => match find(changes, name) {
                None => by_name(name),
                Some(change) => command_of(change),
            },
        }
    }

    /// Every command that a client can call.
    pub fn all(&self) -> Vec<&'static Command> {
        let changes = self.changes.as_deref().map_or(&[][..], Vec::as_slice);
        let unchanged = all().filter(|command| find(changes, command.name.as_bytes()).is_none());
        unchanged.chain(changes.iter().filter_map(command_of)).collect()
    }

    fn meaning(&self, name: &[u8]) -> Option<Meaning> {
        match self.changes.as_ref().and_then(|changes| find(changes, name)) {
            Some(change) => change.meaning,
            None => by_name(name).map(Meaning::Command).or_else(|| is_of_redis(name).then_some(Meaning::NotHere)),
        }
    }

    fn change(&mut self, name: &[u8], meaning: Option<Meaning>) {
        let changes = Arc::make_mut(self.changes.get_or_insert_default());
        changes.retain(|change| !change.name.eq_ignore_ascii_case(name));
        changes.push(Change { name: name.to_vec(), meaning });
    }
}

fn find<'a>(changes: &'a [Change], name: &[u8]) -> Option<&'a Change> {
    changes.iter().find(|change| change.name.eq_ignore_ascii_case(name))
}

fn command_of(change: &Change) -> Option<&'static Command> {
    match change.meaning {
        Some(Meaning::Command(command)) => Some(command),
        Some(Meaning::NotHere) | None => None,
    }
}

fn is_of_redis(name: &[u8]) -> bool {
    OF_REDIS.split(' ').any(|known| known.as_bytes().eq_ignore_ascii_case(name))
}

/// Every command of Redis 7.2, as COMMAND LIST names them.
const OF_REDIS: &str = "\
     acl append asking auth bgrewriteaof bgsave bitcount bitfield bitfield_ro bitop bitpos blmove blmpop blpop brpop brpoplpush \
     bzmpop bzpopmax bzpopmin client cluster command config copy dbsize debug decr decrby del discard dump echo eval eval_ro \
     evalsha evalsha_ro exec exists expire expireat expiretime failover fcall fcall_ro flushall flushdb function geoadd geodist \
     geohash geopos georadius georadius_ro georadiusbymember georadiusbymember_ro geosearch geosearchstore get getbit getdel getex \
     getrange getset hdel hello hexists hget hgetall hincrby hincrbyfloat hkeys hlen hmget hmset hrandfield hscan hset hsetnx \
     hstrlen hvals incr incrby incrbyfloat info keys lastsave latency lcs lindex linsert llen lmove lmpop lolwut lpop lpos lpush \
     lpushx lrange lrem lset ltrim memory mget migrate module monitor move mset msetnx multi object persist pexpire pexpireat \
     pexpiretime pfadd pfcount pfdebug pfmerge pfselftest ping psetex psubscribe psync pttl publish pubsub punsubscribe quit \
     randomkey readonly readwrite rename renamenx replconf replicaof reset restore restore-asking role rpop rpoplpush rpush rpushx \
     sadd save scan scard script sdiff sdiffstore select set setbit setex setnx setrange shutdown sinter sintercard sinterstore \
     sismember slaveof slowlog smembers smismember smove sort sort_ro spop spublish srandmember srem sscan ssubscribe strlen \
     subscribe substr sunion sunionstore sunsubscribe swapdb sync time touch ttl type unlink unsubscribe unwatch wait waitaof watch \
     xack xadd xautoclaim xclaim xdel xgroup xinfo xlen xpending xrange xread xreadgroup xrevrange xsetid xtrim zadd zcard zcount \
     zdiff zdiffstore zincrby zinter zintercard zinterstore zlexcount zmpop zmscore zpopmax zpopmin zrandmember zrange zrangebylex \
     zrangebyscore zrangestore zrank zrem zremrangebylex zremrangebyrank zremrangebyscore zrevrange zrevrangebylex zrevrangebyscore \
     zrevrank zscan zscore zunion zunionstore";

#[cfg(test)]
mod tests {
    use super::*;

    fn renamed(lines: &[(&str, &str)]) -> Result<Names, &'static str> {
        let mut names = Names::TABLE;
        lines.iter().try_for_each(|(name, new)| names.rename(name.as_bytes(), new.as_bytes()))?;
        Ok(names)
    }

    fn name_of(names: &Names, words: &[&str]) -> Option<&'static str> {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        names.lookup(&words).map(|command| command.name)
    }

    #[test]
    fn a_renamed_command_has_its_new_name_and_no_other() {
        let lines = [
            ("FLUSHALL", ""),
            ("Config", "cfg-X"),
            ("set", "PUT"),
            ("DEL", "SET"),
            ("get", "GET"),
            ("eval", ""),
            ("MIGRATE", "x"),
        ];
        let names = renamed(&lines).expect("all exist");
        for (words, expected) in [
            (&["flushall"][..], None),
            (&["config", "get"], None),
            (&["CFG-x", "get"], Some("config|get")),
            (&["cfg-x", "nothing"], None),
            (&["put"], Some("set")),
            (&["set"], Some("del")),
            (&["del"], None),
            (&["get"], Some("get")),
            (&["x"], None),
            (&["ping"], Some("ping")),
        ] {
            assert_eq!(name_of(&names, words), expected, "{words:?}");
        }
        assert_eq!(names.all().len(), all().count() - 1);
        let full_name = |name: &str| names.by_full_name(name.as_bytes()).map(|command| command.name);
        assert_eq!((full_name("cfg-x|get"), full_name("config|get")), (Some("config|get"), None));
    }

    #[test]
    fn errors_show_the_clients_words_or_the_tables_name_as_in_redis() {
        let names = renamed(&[("flushall", ""), ("config", "cfg-x"), ("set", "put")]).expect("all exist");
        for (words, text) in [
            (&[&b"FlushAll"[..], b"x"][..], "ERR unknown command 'FlushAll', with args beginning with: 'x' "),
            (&[b"Config", b"get"], "ERR unknown command 'Config', with args beginning with: 'get' "),
            (&[b"cfg-x"], "ERR wrong number of arguments for 'config' command"),
            (&[b"cfg-x", b"foo"], "ERR unknown subcommand 'foo'. Try CFG-X HELP."),
            (&[b"PUT", b"a"], "ERR wrong number of arguments for 'set' command"),
        ] {
            assert_eq!(names.resolve(words).err(), Some(text.as_bytes().to_vec()));
        }
    }

    #[test]
    fn what_is_not_there_or_taken_is_refused() {
        for (lines, error) in [
            (&[("nope", "x")][..], "No such command in rename-command"),
            (&[("", "x")], "No such command in rename-command"),
            (&[("client|list", "")], "No such command in rename-command"),
            (&[("get", ""), ("get", "x")], "No such command in rename-command"),
            (&[("eval", ""), ("EVAL", "x")], "No such command in rename-command"),
            (&[("get", "SET")], "Target command name already exists"),
            (&[("get", "lpush")], "Target command name already exists"),
            (&[("get", "x"), ("set", "X")], "Target command name already exists"),
        ] {
            assert_eq!(renamed(lines).err(), Some(error), "{lines:?}");
        }
    }
}
