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
    let redis = Redis::start(dir.path(), &["--appendonly", "yes"]);
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
