//! The harness itself, run for about a second against the peer that every machine with these tests has.

use std::path::Path;
use std::process::Command;

/// Runs the harness and returns its standard output; `redis-server` must be in PATH.
fn bench(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_shardis-bench")).args(arguments).output().expect("the harness starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "is redis-server (apt-get install redis-server) in PATH? {stderr}");
    String::from_utf8(output.stdout).expect("the table is text")
}

fn lines(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(str::to_owned).collect()
}

#[test]
fn quick_run_fills_table_csv_and_histograms() {
    let out = std::env::temp_dir().join(format!("shardis-bench-test-{}", std::process::id()));
    let table = bench(&["--quick", "--servers", "redis", "--keys", "2000", "--out", out.to_str().expect("UTF-8")]);
    for case in ["SET P=1", "SET P=16", "GET P=1", "GET P=16"] {
        for mode in ["none", "always"] {
            let title = format!("{case} C=50 64 B, {mode}, 1 shard");
            assert!(table.contains(&title), "no {title} in\n{table}");
        }
    }
    let rows = table.lines().filter(|line| line.trim_start().starts_with("redis ") && line.contains(" 1.00 "));
    assert_eq!(rows.count(), 8, "{table}");

    let csv = lines(&out.join("raw.csv"));
    assert_eq!(csv.len(), 1 + 8);
    assert!(csv[1..].iter().all(|line| line.ends_with(',')), "no errors: {csv:?}");
    assert!(lines(&out.join("run.txt"))[0].starts_with("command: cargo run --release -p shardis-bench -- --quick"));
    let histograms = std::fs::read_dir(out.join("hdr")).expect("hdr is there").count();
    assert_eq!(histograms, 8);
    std::fs::remove_dir_all(&out).expect("the results were just written");
}

/// INCR compares the sum of all counters with the answered requests; a mistake in either makes the run fail.
#[test]
fn every_command_and_the_open_loop_pass_their_checks() {
    let closed = ["--quick", "--servers", "redis", "--keys", "500", "--modes", "none", "--pipelines", "3"];
    let all = bench(&[&closed[..], &["--commands", "set,get,incr,mset,mget,mixed"]].concat());
    for command in ["SET", "GET", "INCR", "MSET", "MGET", "MIXED"] {
        assert!(all.contains(&format!("{command} P=3")), "{all}");
    }
    let open = bench(&[&closed[..], &["--commands", "set", "--rates", "2000"]].concat());
    assert!(open.contains("SET 2000/s open"), "{open}");
}
