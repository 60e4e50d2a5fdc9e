//! What is acknowledged is there after the process was killed or stopped.

use crate::harness::{Dir, Reply, Server, bulk, ok};

/// Writes until the server is killed in the middle; everything that was acknowledged must be there afterwards.
#[test]
fn acknowledged_writes_survive_kill_in_every_mode() {
    for (mode, shards, next_shards) in [("always", "2", "1"), ("everysec", "1", "3"), ("no", "2", "2"), ("everysec", "2", "2")] {
        let dir = Dir::new();
        let server = Server::start(&dir, &["--shards", shards, "--appendonly", "yes", "--appendfsync", mode]);
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let mut client = server.client();
                std::thread::spawn(move || {
                    let mut acknowledged = 0;
                    loop {
                        let args = format!("mset {writer}:a:{acknowledged} {acknowledged} {writer}:b:{acknowledged} x");
                        let words: Vec<&[u8]> = args.split(' ').map(str::as_bytes).collect();
                        use std::io::Write;
                        if client.stream.write_all(&crate::harness::encode(&words)).is_err() {
                            return acknowledged;
                        }
                        match client.try_reply() {
                            Some(reply) => assert_eq!(reply, ok()),
                            None => return acknowledged,
                        }
                        acknowledged += 1;
                    }
                })
            })
            .collect();
        std::thread::sleep(std::time::Duration::from_millis(700));
        server.kill();
        let counts: Vec<u32> = writers.into_iter().map(|writer| writer.join().expect("no panic")).collect();
        assert!(counts.iter().all(|&count| count > 0), "{counts:?}");
        let server = Server::start(&dir, &["--shards", next_shards, "--appendonly", "yes", "--appendfsync", mode]);
        let mut client = server.client();
        for (writer, &count) in counts.iter().enumerate() {
            for i in 0..count {
                let both = client.call(&format!("mget {writer}:a:{i} {writer}:b:{i}"));
                assert_eq!(both, Reply::Array(vec![bulk(&i.to_string()), bulk("x")]), "{mode}: {writer}:{i} of {count}");
            }
            // The one that was not acknowledged is there whole or not at all.
            let Reply::Array(both) = client.call(&format!("mget {writer}:a:{count} {writer}:b:{count}")) else {
                panic!("an array")
            };
            assert_eq!(both[0] == Reply::Null, both[1] == Reply::Null, "{mode}: torn");
        }
    }
}

#[test]
fn a_stop_is_clean_and_another_number_of_shards_starts_from_it() {
    let dir = Dir::new();
    let mut expected = 0;
    for shards in ["1", "3", "2"] {
        let server = Server::start(&dir, &["--shards", shards, "--appendonly", "yes"]);
        let mut client = server.client();
        assert_eq!(client.call("dbsize"), Reply::Integer(expected));
        for i in 0..200 {
            assert_eq!(client.call(&format!("set {shards}:{i} {i}")), ok());
        }
        expected += 200;
        if shards == "1" {
            server.terminate();
        } else {
            client.send(b"SHUTDOWN\r\n");
            assert_eq!(client.try_reply(), None);
        }
        assert!(std::fs::read_to_string(dir.file("shardis.manifest")).is_ok());
        assert_eq!(server.wait(), 0);
        let manifest = std::fs::read_to_string(dir.file("shardis.manifest")).expect("there");
        assert!(manifest.contains("state clean"), "{manifest}");
    }
}

#[test]
fn without_a_log_a_stop_saves_when_there_are_save_points() {
    for (points, nosave, expected) in [("3600 1", false, bulk("1")), ("3600 1", true, Reply::Null), ("", false, Reply::Null)] {
        let dir = Dir::new();
        let args: Vec<&str> = ["--shards", "2", "--save"].into_iter().chain(points.split(' ')).collect();
        let server = Server::start(&dir, &args);
        let mut client = server.client();
        assert_eq!(client.call("set a 1"), ok());
        client.send(if nosave { b"SHUTDOWN NOSAVE\r\n" } else { b"SHUTDOWN\r\n" });
        assert_eq!(client.try_reply(), None);
        assert_eq!(server.wait(), 0);
        let server = Server::start(&dir, &["--shards", "2"]);
        assert_eq!(server.client().call("get a"), expected, "save {points:?}");
    }
}

#[test]
fn a_second_sigterm_does_not_cost_the_last_save() {
    let dir = Dir::new();
    let args = ["--shards", "2", "--save", "3600", "1"];
    let server = Server::start(&dir, &args);
    let mut client = server.client();
    let value = "x".repeat(1 << 20);
    for i in 0..20 {
        assert_eq!(client.call(&format!("set key:{i} {value}")), ok());
    }
    server.terminate();
    server.terminate();
    assert_eq!(server.wait(), 0);
    let server = Server::start(&dir, &args);
    assert_eq!(server.client().call("dbsize"), Reply::Integer(20));
}

#[test]
fn a_second_server_on_the_same_directory_is_refused() {
    let dir = Dir::new();
    let _first = Server::start(&dir, &["--shards", "1"]);
    let second = Server::launch(&dir, &["--shards", "1"]);
    let log = dir.file(&format!("log-{}", second.port));
    assert_eq!(second.wait(), 1);
    let text = std::fs::read_to_string(log).expect("its log");
    assert!(text.contains("another server uses the data directory"), "{text}");
}

#[test]
fn modes_and_the_log_itself_change_at_run_time() {
    let dir = Dir::new();
    let server = Server::start(&dir, &["--shards", "2", "--appendonly", "no"]);
    let mut client = server.client();
    let mut written = 0;
    for line in [
        "config set appendonly yes",
        "config set appendfsync always",
        "config set appendfsync no",
        "config set appendfsync everysec",
        "config set appendonly no",
        "config set appendfsync always",
        "config set appendonly yes",
    ] {
        assert_eq!(client.call(line), ok(), "{line}");
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(client.call(&format!("config get {}", words[2])), Reply::Array(vec![bulk(words[2]), bulk(words[3])]));
        for _ in 0..20 {
            assert_eq!(client.call(&format!("set key:{written} {written}")), ok());
            written += 1;
        }
    }
    assert_eq!(client.info("aof_enabled"), "1");
    server.kill();
    let server = Server::start(&dir, &["--shards", "2", "--appendonly", "yes"]);
    assert_eq!(server.client().call("dbsize"), Reply::Integer(written));
}

/// The kernel refuses every write that would reach behind this limit: those of the logs fail, the small manifest can still be written.
fn fail_writes_of(server: &Server) {
    let pid = server.pid().to_string();
    let limited = std::process::Command::new("prlimit").args(["--pid", &pid, "--fsize=4096:4096"]).status().expect("prlimit");
    assert!(limited.success());
}

#[test]
fn a_server_that_refuses_writes_stops_only_when_told_to_do_so_anyway() {
    for (stop, mode) in [("SHUTDOWN NOSAVE", "everysec"), ("SHUTDOWN FORCE", "always"), ("SIGTERM", "everysec")] {
        let dir = Dir::new();
        let args = ["--shards", "2", "--appendonly", "yes", "--appendfsync", mode, "--commit-timeout-ms", "500"];
        let server = Server::start_ignoring_file_limits(&dir, &args);
        let mut client = server.client();
        assert_eq!(client.call("set kept 1"), ok());
        fail_writes_of(&server);
        let begun = std::time::Instant::now();
        loop {
            match client.call("set lost 1") {
                Reply::Error(text) if text.starts_with("MISCONF") => break,
                other => assert!(begun.elapsed().as_secs() < 20, "writes are not refused: {other:?}"),
            }
        }
        let mut other = server.client();
        assert_eq!(other.call("shutdown"), Reply::Error("ERR Errors trying to SHUTDOWN. Check logs.".into()));
        assert_eq!(other.call("get kept"), bulk("1"), "reads go on");
        let begun = std::time::Instant::now();
        match stop {
            "SIGTERM" => server.terminate(),
            command => {
                other.send(format!("{command}\r\n").as_bytes());
                assert_eq!(other.try_reply(), None);
            }
        }
        assert_eq!(server.wait(), 1, "{stop}");
        assert!(begun.elapsed().as_secs() < 10, "{stop} took {:?}", begun.elapsed());
        let manifest = std::fs::read_to_string(dir.file("shardis.manifest")).expect("there");
        assert!(manifest.contains("distrusted=1") && !manifest.contains("state clean"), "{stop}: {manifest}");
        let server = Server::start(&dir, &["--shards", "2", "--appendonly", "yes"]);
        if mode == "always" {
            assert_eq!(server.client().call("get kept"), bulk("1"));
        }
    }
}
