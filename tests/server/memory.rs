//! MEMORY over all shards.

use crate::harness::{Client, Dir, Redis, Reply, Server, bulk, ok};
use std::collections::BTreeMap;

fn stats(client: &mut Client) -> BTreeMap<String, Reply> {
    let Reply::Array(fields) = client.call("memory stats") else { panic!("a map") };
    let name = |reply: &Reply| {
        if let Reply::Bulk(bytes) = reply { String::from_utf8_lossy(bytes).into_owned() } else { panic!("a name") }
    };
    fields.chunks(2).map(|pair| (name(&pair[0]), pair[1].clone())).collect()
}

#[test]
fn memory_stats_add_up_and_are_fields_of_redis() {
    let (dir, theirs) = (Dir::new(), Dir::new());
    let server = Server::start(&dir, &["--shards", "2"]);
    let redis = Redis::start(theirs.path(), &["--save", ""]);
    let mut client = server.client();
    for i in 0..100 {
        assert_eq!(client.call(&format!("set key:{i} value-{i}")), ok());
    }
    let (ours, theirs) = (stats(&mut client), stats(&mut redis.client()));
    assert_eq!(ours["keys.count"], Reply::Integer(100));
    let Reply::Integer(dataset) = ours["dataset.bytes"] else { panic!("bytes") };
    let Reply::Integer(of_each) = ours["keys.bytes-per-key"] else { panic!("bytes") };
    assert_eq!(of_each, dataset / 100);
    assert!((16..2000).contains(&of_each), "{of_each}");
    for (name, value) in &ours {
        let same_kind = theirs.get(name).is_some_and(|other| std::mem::discriminant(other) == std::mem::discriminant(value));
        assert!(same_kind, "{name}: {value:?}");
    }
}

#[test]
fn a_key_takes_what_its_value_takes() {
    let dir = Dir::new();
    let server = Server::start(&dir, &["--shards", "2"]);
    let mut client = server.client();
    let mut bytes_of = |key: &str, value: &str| {
        assert_eq!(client.call(&format!("set {key} {value}")), ok());
        match client.call(&format!("memory usage {key} samples 0")) {
            Reply::Integer(bytes) => bytes,
            other => panic!("no number: {other:?}"),
        }
    };
    let short = bytes_of("a", "1");
    assert!((16..64).contains(&short), "{short}");
    assert_eq!(bytes_of("a-longer-key", "1") - short, 11);
    let long = bytes_of("a", &"x".repeat(100_000));
    assert!((100_000..140_000).contains(&long), "{long}");
}

#[test]
fn doctor_purge_and_malloc_stats_answer() {
    let dir = Dir::new();
    let server = Server::start(&dir, &["--shards", "2"]);
    let mut client = server.client();
    assert_eq!(client.call("memory purge"), ok());
    assert_eq!(client.call("memory malloc-stats"), bulk("Stats not supported for the current allocator"));
    let Reply::Bulk(text) = client.call("memory doctor") else { panic!("a text") };
    assert!(text.starts_with(b"0 keys take "), "{}", text.escape_ascii());
}
