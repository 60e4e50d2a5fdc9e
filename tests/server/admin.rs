//! Commands about the server as a whole.

use crate::harness::{Dir, Redis, Reply, Server, bulk, ok};
use std::io::Read;
use std::time::{Duration, Instant};

#[test]
fn an_export_is_loaded_by_redis() {
    let dir = Dir::new();
    let server = Server::start(&dir, &["--shards", "2", "--appendonly", "yes"]);
    let mut client = server.client();
    for i in 0..500 {
        assert_eq!(client.call(&format!("set key:{i} value-{i}")), ok());
    }
    client.call("select 3");
    client.call("set other 1 ex 10000");
    assert_eq!(client.call("bgsave"), Reply::Simple("Background saving started".into()));
    assert_eq!(client.call("export rdb"), ok());
    assert_eq!(client.call("export aof backup.aof"), ok());
    assert!(matches!(client.call("export rdb ../x"), Reply::Error(_)));
    for (args, file) in [
        (["--appendonly", "no", "--dbfilename", "in.rdb"], ("dump.rdb", "in.rdb")),
        (["--appendonly", "yes", "--appendfilename", "in.aof"], ("backup.aof", "in.aof")),
    ] {
        let theirs = Dir::new();
        std::fs::copy(dir.file(file.0), theirs.file(file.1)).expect("exported");
        let redis = Redis::start(theirs.path(), &args);
        let mut client = crate::harness::Client::connect(redis.port);
        assert_eq!(client.call("dbsize"), Reply::Integer(500), "{file:?}");
        assert_eq!(client.call("get key:77"), bulk("value-77"));
        client.call("select 3");
        assert!(matches!(client.call("ttl other"), Reply::Integer(9000..=10000)));
    }
}

#[test]
fn a_directory_of_redis_is_started_from() {
    let dir = Dir::new();
    // In everysec Redis answers before it writes while a sync is slow: what a kill then takes, is not our loss.
    let redis = Redis::start(dir.path(), &["--appendonly", "yes", "--appendfsync", "always"]);
    let mut client = crate::harness::Client::connect(redis.port);
    for i in 0..100 {
        client.call(&format!("set key:{i} {i}"));
    }
    drop(redis);
    let server = Server::start(&dir, &["--shards", "2", "--appendonly", "yes"]);
    assert_eq!(server.client().call("dbsize"), Reply::Integer(100));
}

#[test]
fn saves_answer_as_redis_does() {
    let dir = Dir::new();
    let server = Server::start(&dir, &["--shards", "2"]);
    let mut client = server.client();
    let Reply::Integer(before) = client.call("lastsave") else { panic!("a time") };
    assert_eq!(client.call("set a 1"), ok());
    assert_eq!(client.call("save"), ok());
    assert!(matches!(client.call("lastsave"), Reply::Integer(after) if after >= before));
    assert_eq!(client.call("bgrewriteaof"), Reply::Simple("Background append only file rewriting started".into()));
    assert_eq!(client.call("bgsave nonsense"), Reply::Error("ERR syntax error".into()));
    server.kill();
    let server = Server::start(&dir, &["--shards", "2"]);
    assert_eq!(server.client().call("get a"), bulk("1"));
}

/// What was written before the log was switched on must not keep later writes from being covered by marks.
#[test]
fn a_log_that_is_switched_on_after_writes_goes_on_acknowledging() {
    let dir = Dir::new();
    let server = Server::start(&dir, &["--shards", "2", "--save", ""]);
    let mut client = server.client();
    for i in 0..20 {
        assert_eq!(client.call(&format!("set before:{i} 1")), ok());
    }
    assert_eq!(client.call("config set appendonly yes"), ok());
    // Longer than the bound of everysec: a reply that never came would fail here.
    let start = Instant::now();
    let mut writes = 0;
    while start.elapsed() < Duration::from_millis(3500) {
        assert_eq!(client.call(&format!("set after:{writes} 1")), ok());
        writes += 1;
        std::thread::sleep(Duration::from_millis(50));
    }
    server.kill();
    let server = Server::start(&dir, &["--shards", "2", "--save", ""]);
    assert_eq!(server.client().call("dbsize"), Reply::Integer(20 + writes));
}

#[test]
fn a_save_is_scheduled_once() {
    let dir = Dir::new();
    let server = Server::start(&dir, &["--shards", "2"]);
    let mut client = server.client();
    let value = "x".repeat(1 << 20);
    for i in 0..20 {
        assert_eq!(client.call(&format!("set key:{i} {value}")), ok());
    }
    client.send(b"BGREWRITEAOF\r\nBGSAVE SCHEDULE\r\nBGSAVE SCHEDULE\r\nBGSAVE SCHEDULE\r\n");
    assert_eq!(client.reply(), Reply::Simple("Background append only file rewriting started".into()));
    for _ in 0..3 {
        assert_eq!(client.reply(), Reply::Simple("Background saving scheduled".into()));
    }
    let begun = Instant::now();
    while client.info("aof_rewrite_in_progress") != "0" || client.info("rdb_bgsave_in_progress") != "0" {
        assert!(begun.elapsed() < Duration::from_secs(30), "the saves do not end");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(client.info("rdb_saves"), "1");
}

#[test]
fn settings_are_set_together_or_not_at_all() {
    let dir = Dir::new();
    let server = Server::start(&dir, &["--shards", "2"]);
    let mut client = server.client();
    assert!(matches!(client.call("config set timeout 10 maxclients none"), Reply::Error(_)));
    assert_eq!(client.call("config get timeout"), Reply::Array(vec![bulk("timeout"), bulk("0")]));
    assert_eq!(client.call("config set timeout 10 requirepass secret"), ok());
    let mut other = server.client();
    assert_eq!(other.call("get a"), Reply::Error("NOAUTH Authentication required.".into()));
    assert_eq!(other.call("auth secret"), ok());
    assert_eq!(other.call("get a"), Reply::Null);
}

#[test]
fn clients_are_listed_killed_and_paused() {
    let dir = Dir::new();
    let server = Server::start(&dir, &["--shards", "2"]);
    let mut clients: Vec<_> = (0..4).map(|_| server.client()).collect();
    let ids: Vec<i64> = clients
        .iter_mut()
        .map(|client| match client.call("client id") {
            Reply::Integer(id) => id,
            other => panic!("{other:?}"),
        })
        .collect();
    let Reply::Bulk(list) = clients[0].call("client list") else { panic!("a string") };
    let list = String::from_utf8(list).expect("text");
    assert!(ids.iter().all(|id| list.contains(&format!("id={id} "))), "{list}");
    assert_eq!(clients[0].call(&format!("client kill id {}", ids[3])), Reply::Integer(1));
    assert_eq!(clients[3].try_reply(), None);
    assert_eq!(clients[0].call("client pause 300 write"), ok());
    assert_eq!(clients[1].call("get a"), Reply::Null);
    let begun = Instant::now();
    assert_eq!(clients[1].call("set a 1"), ok());
    assert!(begun.elapsed() >= Duration::from_millis(200), "{:?}", begun.elapsed());
}

#[test]
fn debug_is_refused_unless_it_was_allowed() {
    let dir = Dir::new();
    let server = Server::start(&dir, &["--shards", "1"]);
    assert!(
        matches!(server.client().call("debug sleep 0"), Reply::Error(text) if text.starts_with("ERR DEBUG command not allowed"))
    );
    drop(server);
    let server = Server::start(&dir, &["--shards", "2", "--enable-debug-command", "local"]);
    assert_eq!(server.client().call("debug sleep 0.01"), ok());
    assert_eq!(server.client().call("debug set-active-expire 0"), ok());
}

#[test]
fn info_has_the_sections_of_redis() {
    let dir = Dir::new();
    let server = Server::start(&dir, &["--shards", "2", "--appendonly", "yes"]);
    let mut client = server.client();
    client.call("set a 1");
    client.call("get a");
    client.call("get b");
    let Reply::Bulk(text) = client.call("info everything") else { panic!("a string") };
    let text = String::from_utf8(text).expect("text");
    for section in
        ["Server", "Clients", "Memory", "Persistence", "Stats", "Replication", "CPU", "Errorstats", "Cluster", "Keyspace"]
    {
        assert!(text.contains(&format!("# {section}\r\n")), "no section {section}");
    }
    assert!(text.contains("db0:keys=1,expires=0"));
    assert_eq!((client.info("keyspace_hits"), client.info("keyspace_misses")), ("1".into(), "1".into()));
    assert!(client.info("redis_version").starts_with("7.2."));
}

/// The lines of one section, without its title.
fn section(client: &mut crate::harness::Client, name: &str) -> Vec<String> {
    let Reply::Bulk(text) = client.call(&format!("info {name}")) else { panic!("a string") };
    String::from_utf8(text).expect("text").lines().skip(1).map(String::from).collect()
}

/// `calls=…,rejected_calls=…,failed_calls=…` of a command, without its times.
fn counts(client: &mut crate::harness::Client, command: &str) -> Option<(u64, u64, u64)> {
    let lines = section(client, "commandstats");
    let line = lines.iter().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:")))?;
    let value =
        |name: &str| line.split(',').find_map(|field| field.strip_prefix(name)).expect("a field").parse().expect("a number");
    Some((value("calls="), value("rejected_calls="), value("failed_calls=")))
}

/// The same commands on Redis and on two shards: the same counts.
#[test]
fn calls_and_errors_are_counted_as_in_redis() {
    let (dir, theirs) = (Dir::new(), Dir::new());
    let server = Server::start(&dir, &["--shards", "2"]);
    let redis = Redis::start(theirs.path(), &["--save", ""]);
    let (mut client, mut other) = (server.client(), redis.client());
    assert_eq!(client.call("config resetstat"), ok());
    assert_eq!(other.call("config resetstat"), ok());
    let script = [
        "set a 1",
        "set b 1 ex 100",
        "set",
        "set a",
        "set a 1 nonsense",
        "get a",
        "get b",
        "get c",
        "mset a 1 b 2 c 3 d 4",
        "mset a 1 b",
        "mget a b c d",
        "incr a",
        "set text x",
        "incr text",
        "incr text",
        "del a b c d",
        "nonsense",
        "flushall nonsense",
        "dbsize",
        "select 99",
        "client nonsense",
        "config get nonsense",
        "config get",
        "config set maxmemory x",
        "keys *",
        "rename no-key x",
        "object encoding text",
        "setbit text 0 7",
        "getrange text 0 1",
        "auth x",
        "ping",
        "echo",
        "restore x 0 garbage",
    ];
    for line in script {
        let (ours, theirs) = (client.call(line), other.call(line));
        assert_eq!(matches!(ours, Reply::Error(_)), matches!(theirs, Reply::Error(_)), "{line}: {ours:?} {theirs:?}");
    }
    for name in [
        "set",
        "get",
        "mset",
        "mget",
        "incr",
        "del",
        "flushall",
        "dbsize",
        "select",
        "config|get",
        "config|set",
        "client",
        "keys",
        "rename",
        "object|encoding",
        "setbit",
        "getrange",
        "auth",
        "ping",
        "echo",
        "restore",
    ] {
        assert_eq!(counts(&mut client, name), counts(&mut other, name), "{name}");
    }
    assert_eq!(section(&mut client, "errorstats"), section(&mut other, "errorstats"));
    assert_eq!(client.info("total_error_replies"), other.info("total_error_replies"));
    assert!(section(&mut client, "latencystats").iter().any(|line| line.starts_with("latency_percentiles_usec_get:p50=")));
    assert_eq!(client.call("config resetstat"), ok());
    assert_eq!((section(&mut client, "errorstats").len(), client.info("total_error_replies")), (0, "0".into()));
    assert_eq!(counts(&mut client, "get"), None);
    client.call("config set latency-tracking-info-percentiles 90");
    client.call("get a");
    assert!(section(&mut client, "latencystats").iter().any(|line| line.starts_with("latency_percentiles_usec_get:p90=")));
    client.call("config set latency-tracking no");
    assert_eq!(section(&mut client, "latencystats").len(), 0);
}

/// A pipeline is measured by samples: the times must come near what was really needed.
#[test]
fn pipelines_are_measured() {
    let dir = Dir::new();
    let server = Server::start(&dir, &["--shards", "1"]);
    let mut client = server.client();
    let one = crate::harness::encode(&[b"set", b"key", b"value"]);
    let pipeline = one.repeat(100);
    for _ in 0..100 {
        client.send(&pipeline);
        (0..100).for_each(|_| assert_eq!(client.reply(), ok()));
    }
    assert_eq!(counts(&mut client, "set"), Some((10_000, 0, 0)));
    let line =
        section(&mut client, "commandstats").into_iter().find(|line| line.starts_with("cmdstat_set:")).expect("it was called");
    let per_call: f64 =
        line.split(',').find_map(|field| field.strip_prefix("usec_per_call=")).expect("a field").parse().expect("a number");
    assert!(per_call > 0.02 && per_call < 50.0, "{line}");
}

#[test]
fn info_shows_the_sections_that_are_asked_for_in_the_order_of_redis() {
    let (dir, theirs) = (Dir::new(), Dir::new());
    let server = Server::start(&dir, &["--shards", "2"]);
    let redis = Redis::start(theirs.path(), &["--save", ""]);
    let (mut client, mut other) = (server.client(), redis.client());
    let titles = |client: &mut crate::harness::Client, line: &str| -> Vec<String> {
        let Reply::Bulk(text) = client.call(line) else { panic!("a string") };
        String::from_utf8(text).expect("text").lines().filter(|line| line.starts_with('#')).map(String::from).collect()
    };
    for line in [
        "info",
        "info all",
        "info everything",
        "info default",
        "info stats server",
        "info nonsense",
        "info CPU nonsense commandstats",
        "info default latencystats",
        "info modules",
    ] {
        assert_eq!(titles(&mut client, line), titles(&mut other, line), "{line}");
    }
    for (line, value) in [("set a 1", "1"), ("set a 2", "2"), ("save", "0"), ("set b 1 px 100000", "1")] {
        client.call(line);
        assert_eq!(client.info("rdb_changes_since_last_save"), value, "{line}");
    }
    let line = section(&mut client, "keyspace").remove(0);
    let ttl: u64 = line.strip_prefix("db0:keys=2,expires=1,avg_ttl=").expect("one database").parse().expect("a number");
    assert!((90_000..=100_000).contains(&ttl), "{line}");
}

#[test]
fn debug_object_describes_a_key_where_it_is() {
    let (dir, theirs) = (Dir::new(), Dir::new());
    let server = Server::start(&dir, &["--shards", "2", "--enable-debug-command", "local"]);
    let redis = Redis::start(theirs.path(), &["--save", "", "--enable-debug-command", "yes"]);
    let (mut client, mut other) = (server.client(), redis.client());
    // Random letters: what can be compressed has another length with another implementation of LZF.
    let mut random = crate::harness::Random(7);
    let letters: String = (0..100).map(|_| char::from(b'!' + random.below(90) as u8)).collect();
    let long = format!("set long {letters}");
    for line in ["set a 7", "set b text", "set c 99999999", &long] {
        assert_eq!((client.call(line), other.call(line)), (ok(), ok()));
    }
    // What both say about a value: all but its address and the clock.
    let words = |client: &mut crate::harness::Client, key: &str| -> Vec<String> {
        let Reply::Simple(text) = client.call(&format!("debug object {key}")) else { panic!("a line") };
        let is_same = |word: &&str| !word.starts_with("at:") && !word.starts_with("lru:");
        text.split(' ').filter(is_same).map(String::from).collect()
    };
    for key in ["a", "b", "c", "long"] {
        assert_eq!(words(&mut client, key), words(&mut other, key), "{key}");
    }
    for line in ["debug object no-such-key", "debug object", "debug NoSuch a"] {
        assert_eq!(client.call(line), other.call(line), "{line}");
    }
    drop(server);
    let server = Server::start(&dir, &["--shards", "2"]);
    assert!(matches!(server.client().call("debug object a"), Reply::Error(text) if text.contains("not allowed")));
}

#[test]
fn config_get_names_a_directive_as_it_was_asked_for() {
    let dir = Dir::new();
    let server = Server::start(&dir, &["--shards", "1"]);
    let mut client = server.client();
    assert_eq!(client.call("config get TimeOut"), Reply::Array(vec![bulk("TimeOut"), bulk("0")]));
    assert_eq!(client.call("config get TIMEOU?"), Reply::Array(vec![bulk("timeout"), bulk("0")]));
}

#[test]
fn a_filtered_list_of_commands_is_an_array_in_both_protocols() {
    let dir = Dir::new();
    let server = Server::start(&dir, &["--shards", "1"]);
    let mut client = server.client();
    let listed = Reply::Array(vec![bulk("getrange")]);
    assert_eq!(client.call("command list filterby pattern getra*"), listed);
    client.send(b"HELLO 3\r\nCOMMAND LIST FILTERBY PATTERN getra*\r\nQUIT\r\n");
    let mut rest = Vec::new();
    client.stream.read_to_end(&mut rest).expect("replies");
    let rest = String::from_utf8_lossy(&rest).into_owned();
    assert!(rest.ends_with("*1\r\n$8\r\ngetrange\r\n+OK\r\n"), "{rest:?}");
}

#[test]
fn a_user_in_the_configuration_is_named_as_without_effect() {
    let dir = Dir::new();
    let server = Server::start(&dir, &["--shards", "1", "--user", "default", "on", ">secret"]);
    let log = server.log();
    assert!(
        log.contains("'user' has no effect: there are no users besides the default one yet; its password is requirepass"),
        "{log}"
    );
}

/// A hardened redis.conf keeps its protection, and what is logged can be read under other names too.
#[test]
fn renamed_and_disabled_commands_are_those_of_redis() {
    let names = "rename-command FLUSHALL \"\"\nrename-command CONFIG cfg-x\nrename-command EVAL \"\"\nrename-command SET Put\nrename-command DEL SET\nrename-command QUIT bye\nrename-command BITFIELD bits\nrename-command CLIENT cl\n";
    let (dir, theirs) = (Dir::new(), Dir::new());
    let file = dir.file("hardened.conf");
    std::fs::write(&file, names).expect("writable");
    let file = file.to_str().expect("UTF-8").to_string();
    let hardened = || {
        let mut program = Server::program();
        program.arg(&file);
        program
    };
    let server = Server::start_by(hardened(), &dir, &["--shards", "2", "--appendonly", "yes", "--appendfsync", "always"]);
    let redis = Redis::start_with(theirs.path(), &[&file], &["--appendonly", "yes", "--appendfsync", "always"]);
    let lines = "FlushAll now|Config get port|cfg-x|cfg-x foo|CFG-X get timeout|cfg-x help|put a|put a 1|Put b 2|get a|set a b c|del a|eval x|exists a b\
        |bits b set u8 0 67|get b|incr|config|command info set|command info put|command info del|command info config|command info cfg-x|command info cfg-x|get\
        |command list filterby pattern cfg*|command list filterby pattern del|command getkeys put a 1|command getkeys del a\
        |cl setname me|cl getname|client getname|put me 1|bye";
    let lines: Vec<String> = lines.replace("cfg-x|get", "cfg-x#get").split('|').map(|line| line.replace('#', "|")).collect();
    let (mut ours, mut their) = (server.client(), redis.client());
    for line in &lines {
        let sorted = |reply: Reply| if line.contains("info") { Reply::Simple(without_order(&reply)) } else { reply };
        assert_eq!(sorted(ours.call(line.trim())), sorted(their.call(line.trim())), "{line}");
    }
    assert_eq!(ours.try_reply(), None, "QUIT closes by its new name");
    let mut ours = server.client();
    let Reply::Integer(left) = ours.call("command count") else { panic!("a number") };
    // A client that pauses writes can end the pause by the new name.
    assert_eq!(ours.call("cl pause 100000 write"), ok());
    assert_eq!(ours.call("cl unpause"), ok());
    assert!(ours.info("cmdstat_set").starts_with("calls=3,"), "counted under the table's name");
    assert_eq!(ours.call("cfg-x rewrite"), ok());
    let rewritten = std::fs::read_to_string(&file).expect("there");
    assert!(names.lines().all(|line| rewritten.contains(line)), "{rewritten}");
    server.kill();
    drop(redis);
    // The log and Redis's AOF, which has Redis's own spelling of the new names.
    let server = Server::start(&dir, &["--shards", "2", "--appendonly", "yes"]);
    let mut client = server.client();
    assert_eq!(client.call("mget a b me"), Reply::Array(vec![Reply::Null, bulk("C"), bulk("1")]));
    assert_eq!(client.call("command count"), Reply::Integer(left + 1));
    std::fs::write(&file, names).expect("writable");
    let imported = Server::start_by(hardened(), &theirs, &["--shards", "2", "--appendonly", "yes"]);
    assert_eq!(imported.client().call("mget a b me"), Reply::Array(vec![Reply::Null, bulk("C"), bulk("1")]));
}

/// Sub-commands, flags and categories stand in no order.
fn without_order(reply: &Reply) -> String {
    match reply {
        Reply::Array(items) => {
            let mut texts: Vec<String> = items.iter().map(without_order).collect();
            texts.sort();
            format!("[{}]", texts.join(" "))
        }
        other => format!("{other:?}"),
    }
}

/// As Redis: CONFIG GET and INFO tell how many clients are served, not how many were asked for.
#[test]
fn maxclients_is_what_the_limit_of_open_files_allows() {
    let dir = Dir::new();
    let mut program = std::process::Command::new("sh");
    program.args(["-c", "ulimit -n 200 && exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_shardis-server")]);
    let server = Server::start_by(program, &dir, &["--shards", "2"]);
    let mut client = server.client();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.pid())).expect("it runs");
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files")).expect("a limit");
    let files: u32 = files.split_ascii_whitespace().next().expect("a number").parse().expect("a number");
    // A privileged process raises its limit and serves all; 128 are kept for two shards.
    let served = (files - 128).min(10_000);
    let shown = |served: u32| Reply::Array(vec![bulk("maxclients"), bulk(&served.to_string())]);
    assert_eq!(client.call("config get maxclients"), shown(served));
    assert_eq!(client.info("maxclients"), served.to_string());
    let Reply::Error(text) = client.call("config set maxclients 4000000000") else { panic!("more than any kernel allows") };
    let refusal = "ERR CONFIG SET failed (possibly related to argument 'maxclients') - The operating system is not able to handle the \
                   specified number of clients, try with ";
    assert!(text.strip_prefix(refusal).is_some_and(|number| number.parse::<u32>().is_ok()), "{text}");
    assert_eq!(client.call("config get maxclients"), shown(served));
    assert_eq!(client.call("config set maxclients 2"), ok());
    assert_eq!((client.call("config get maxclients"), client.info("maxclients")), (shown(2), "2".to_string()));
    let mut second = server.client();
    assert_eq!(second.call("ping"), Reply::Simple("PONG".into()));
    let mut third = server.client();
    assert_eq!(third.reply(), Reply::Error("ERR max number of clients reached".into()));
}

#[test]
fn an_export_takes_no_name_that_is_in_use() {
    let dir = Dir::new();
    let config = dir.file("server.conf");
    std::fs::write(&config, "hz 20\n").expect("written");
    std::fs::create_dir(dir.file("folder")).expect("new");
    let (pid, socket) = (dir.file("server.pid"), dir.file("server.sock"));
    let mut program = Server::program();
    program.arg(&config);
    let text = |path: &std::path::Path| path.to_str().expect("UTF-8").to_string();
    let server = Server::start_by(
        program,
        &dir,
        &["--shards", "2", "--appendonly", "yes", "--pidfile", &text(&pid), "--unixsocket", &text(&socket)],
    );
    let mut client = server.client();
    assert_eq!(client.call("set a 1"), ok());
    let before = std::fs::read(&config).expect("there");
    for (name, why) in [
        ("folder", "is a directory"),
        ("appendonlydir", "is a name that the server itself uses"),
        ("shardis.manifest", "is a name that the server itself uses"),
        ("shardis.lock", "is a name that the server itself uses"),
        ("shardis.importing", "is a name that the server itself uses"),
        ("shard-0000", "is a name that the server itself uses"),
        ("shard-0007", "is a name that the server itself uses"),
        ("server.conf", "is a file of the running server"),
        ("server.pid", "is a file of the running server"),
        ("server.sock", "is a file of the running server"),
    ] {
        for kind in ["rdb", "aof"] {
            let expected = Reply::Error(format!("ERR '{name}' {why}; give the export another name"));
            assert_eq!(client.call(&format!("export {kind} {name}")), expected);
        }
    }
    for name in [&b"../x"[..], b".", b"..", b"", b"a\0b", b"\xff"] {
        let Reply::Error(text) = client.call_args(&[b"export", b"rdb", name]) else { panic!("{name:?} was taken") };
        assert!(text.contains("must be a plain file name"), "{text}");
    }
    assert_eq!(std::fs::read(&config).expect("there"), before);
    // A file of before is replaced, as a dump is; shard-0000.rdb is a name like any other.
    std::fs::write(dir.file("backup.rdb"), "older").expect("written");
    for name in ["backup.rdb", "shard-0000.rdb"] {
        assert_eq!(client.call(&format!("export rdb {name}")), ok());
        assert!(std::fs::read(dir.file(name)).expect("exported").starts_with(b"REDIS"));
    }
    server.kill();
    assert_eq!(Server::start(&dir, &["--shards", "2", "--appendonly", "yes"]).client().call("get a"), bulk("1"));
}
