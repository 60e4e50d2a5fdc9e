//! SHUTDOWN: the server ends at once, and with everything that it has promised.

use crate::harness::{Client, Dir, Reply, Server, bulk, ok};
use std::time::{Duration, Instant};

const KEYS: u32 = 300_000;

fn fill(client: &mut Client) {
    for first in (0..KEYS).step_by(1000) {
        let mut bytes = Vec::new();
        for i in first..first + 1000 {
            let value = format!("{i}-{}", "x".repeat(200));
            bytes.extend(crate::harness::encode(&[b"set", format!("key:{i}").as_bytes(), value.as_bytes()]));
        }
        client.send(&bytes);
        (0..1000).for_each(|_| assert_eq!(client.reply(), ok()));
    }
}

fn bases(dir: &Dir) -> usize {
    let shards = ["shard-0000", "shard-0001"].iter().filter_map(|shard| std::fs::read_dir(dir.file(shard)).ok());
    let names = shards.flatten().map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("base-")).count()
}

#[test]
fn a_stop_gives_a_running_save_up() {
    for command in ["bgsave", "bgrewriteaof"] {
        let dir = Dir::new();
        let args = ["--shards", "2", "--appendonly", "yes", "--save", "", "--auto-aof-rewrite-percentage", "0"];
        let server = Server::start(&dir, &args);
        let mut client = server.client();
        fill(&mut client);
        assert!(matches!(client.call(command), Reply::Simple(_)));
        client.call("set last write");
        let begun = Instant::now();
        assert_eq!(client.ask(&["shutdown"]), None, "the connection is closed");
        let log = server.log();
        assert_eq!(server.wait(), 0);
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        assert!(log.contains("Giving it up"), "{log}");
        assert_eq!(bases(&dir), 0, "nothing half-written is left");
        let server = Server::start(&dir, &args);
        let mut client = server.client();
        assert_eq!(client.call("dbsize"), Reply::Integer(KEYS as i64 + 1));
        assert_eq!(client.call("get last"), bulk("write"));
        let value = format!("{}-{}", KEYS - 1, "x".repeat(200));
        assert_eq!(client.call(&format!("get key:{}", KEYS - 1)), bulk(&value));
    }
}

#[test]
fn without_a_log_the_state_before_the_save_counts() {
    let dir = Dir::new();
    let server = Server::start(&dir, &["--shards", "2", "--save", ""]);
    let mut client = server.client();
    client.call("set saved 1");
    assert_eq!(client.call("save"), ok());
    fill(&mut client);
    client.call("bgsave");
    assert_eq!(client.ask(&["shutdown", "nosave"]), None);
    assert_eq!(server.wait(), 0);
    let server = Server::start(&dir, &["--shards", "2", "--save", ""]);
    assert_eq!(server.client().call("dbsize"), Reply::Integer(1));
    assert_eq!(bases(&dir), 2);
}

/// With save points the last save comes after the one that is given up.
#[test]
fn a_stop_with_save_points_saves_everything() {
    let dir = Dir::new();
    let server = Server::start(&dir, &["--shards", "2", "--save", "3600 1"]);
    let mut client = server.client();
    fill(&mut client);
    client.call("bgsave");
    client.call("set last write");
    assert_eq!(client.ask(&["shutdown"]), None);
    assert_eq!(server.wait(), 0);
    let server = Server::start(&dir, &["--shards", "2"]);
    assert_eq!(server.client().call("dbsize"), Reply::Integer(KEYS as i64 + 1));
}

#[test]
fn the_options_are_those_of_redis() {
    let dir = Dir::new();
    let server = Server::start(&dir, &["--shards", "2"]);
    let mut client = server.client();
    let syntax = Reply::Error("ERR syntax error".into());
    for wrong in ["save nosave", "abort now", "abort force", "abort save", "abort nosave", "later", "now later"] {
        assert_eq!(client.call(&format!("shutdown {wrong}")), syntax, "{wrong}");
    }
    assert_eq!(client.call("shutdown abort"), Reply::Error("ERR No shutdown in progress.".into()));
    assert_eq!(client.ask(&["shutdown", "now", "force", "save", "now"]), None);
    assert_eq!(server.wait(), 0);
}
