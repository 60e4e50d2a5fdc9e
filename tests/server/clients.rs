//! Clients and tools as users have them: redis-benchmark, redis-cli, redis-py. `tests/install` puts them there.

use crate::harness::{Dir, Reply, Server};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// What a tool prints; it must end well.
fn output(command: &mut Command, input: &str) -> String {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().expect("tests/install has run");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("our child");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}: {text}", output.status);
    text
}

#[test]
fn redis_benchmark_runs_with_pipelines_and_many_connections() {
    let dir = Dir::new();
    let server = Server::start(&dir, &["--shards", "2", "--appendonly", "yes"]);
    let port = server.port.to_string();
    let args = ["-p", &port, "-t", "set,get,incr,mset", "-P", "16", "-c", "200", "-n", "20000", "-r", "1000", "--csv"];
    let text = output(Command::new("redis-benchmark").args(args), "");
    for test in ["SET", "GET", "INCR", "MSET (10 keys)"] {
        assert!(text.contains(&format!("\"{test}\",")), "{test} is missing: {text}");
    }
    assert_eq!(server.client().info("total_error_replies"), "0");
    assert!(matches!(server.client().call("dbsize"), Reply::Integer(1000..=3000)));
}

#[test]
fn redis_cli_asks_and_scans() {
    let dir = Dir::new();
    let server = Server::start(&dir, &["--shards", "2"]);
    let port = server.port.to_string();
    let input = "set a \"x y\"\nget a\nincr a\nmset k:1 1 k:2 2 k:3 3\nhello 3\nselect 3\nget a\nobject encoding nothing\n";
    let text = output(Command::new("redis-cli").args(["-p", &port]), input);
    for line in ["OK", "x y", "ERR value is not an integer or out of range", "proto 3"] {
        assert!(text.contains(line), "no {line}: {text}");
    }
    let scanned = output(Command::new("redis-cli").args(["-p", &port, "--scan", "--pattern", "k:*"]), "");
    let mut keys: Vec<&str> = scanned.lines().collect();
    keys.sort_unstable();
    assert_eq!(keys, ["k:1", "k:2", "k:3"]);
}

#[test]
fn redis_py_speaks_both_protocols() {
    let dir = Dir::new();
    let server = Server::start(&dir, &["--shards", "2", "--appendonly", "yes"]);
    let script = r#"
import redis, sys
for protocol in (2, 3):
    client = redis.Redis(port=int(sys.argv[1]), protocol=protocol, decode_responses=True)
    assert client.flushall() and client.mset({"a": 1, "b": "x", "c": ""})
    assert client.mget("a", "b", "c", "d") == ["1", "x", "", None]
    pipeline = client.pipeline(transaction=False)
    for i in range(1000):
        pipeline.set(f"key:{i}", i).incr(f"key:{i}").get(f"key:{i}")
    assert pipeline.execute()[2::3] == [str(i + 1) for i in range(1000)]
    assert len(list(client.scan_iter(count=7))) == 1003 == client.dbsize()
    assert client.expire("a", 100) and 0 < client.ttl("a") <= 100
    assert client.restore("again", 0, redis.Redis(port=int(sys.argv[1])).dump("b"))
    assert client.get("again") == "x" and client.copy("a", "e") and client.rename("e", "f")
    assert client.info("persistence")["aof_enabled"] == 1 and client.config_get("appendonly") == {"appendonly": "yes"}
    assert client.bgsave() and len(client.command()) > 60
    try:
        client.incr("b")
        raise SystemExit("an error was expected")
    except redis.ResponseError as error:
        assert str(error) == "value is not an integer or out of range", error
print("done")
"#;
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers/bin/python");
    assert_eq!(output(Command::new(python).args(["-c", script, &server.port.to_string()]), ""), "done\n");
}
