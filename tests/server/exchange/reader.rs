//! Reads everything that a server holds, by its own commands, in a form in which two servers can be compared.

use crate::harness::{Client, Reply};
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

pub type Content = BTreeMap<(i64, String), Entry>;

#[derive(Clone, PartialEq, Debug)]
pub struct Entry {
    pub kind: String,
    pub encoding: String,
    pub expire_at_ms: i64,
    /// Path and value, sorted: of lists the index is part of the path.
    pub elements: BTreeMap<String, String>,
}

/// What is not compared.
#[derive(Clone, Copy, Default)]
pub struct Tolerance {
    /// Names of fields of XINFO.
    pub stream_fields: &'static [&'static str],
    /// Types whose encoding depends on the server's version.
    pub encodings_of: &'static [&'static str],
}

/// Databases that the tests use.
const DATABASES: [i64; 3] = [0, 1, 9];

pub fn read(client: &mut Client) -> Content {
    let mut content = Content::new();
    for db in DATABASES {
        client.call(&format!("SELECT {db}"));
        let Reply::Array(keys) = client.call("KEYS *") else { panic!("KEYS is an array") };
        for key in keys {
            let Reply::Bulk(key) = key else { panic!("a key is a string") };
            let entry = read_entry(client, &key);
            content.insert((db, key.escape_ascii().to_string()), entry);
        }
    }
    client.call("SELECT 0");
    content
}

fn read_entry(client: &mut Client, key: &[u8]) -> Entry {
    let mut ask = |words: &[&[u8]]| client.call_args(words);
    let Reply::Simple(kind) = ask(&[b"TYPE", key]) else { panic!("TYPE is a status") };
    let expire_at_ms = match ask(&[b"PEXPIRETIME", key]) {
        Reply::Integer(at) => at,
        _ => expire_time_of_old_server(&ask(&[b"PTTL", key])),
    };
    let mut elements = BTreeMap::new();
    match &kind[..] {
        "string" => _ = elements.insert(String::new(), text(&ask(&[b"GET", key]))),
        "list" => flatten("", &ask(&[b"LRANGE", key, b"0", b"-1"]), &mut elements),
        "set" => list(ask(&[b"SMEMBERS", key])).iter().for_each(|member| _ = elements.insert(text(member), String::new())),
        "hash" => read_hash(&mut ask, key, &mut elements),
        "zset" => {
            let flat = list(ask(&[b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"]));
            for (rank, pair) in flat.chunks(2).enumerate() {
                let score: f64 = text(&pair[1]).parse().expect("a score");
                elements.insert(format!("{rank:06}"), format!("{} {score:?}", text(&pair[0])));
            }
        }
        "stream" => flatten("", &ask(&[b"XINFO", b"STREAM", key, b"FULL", b"COUNT", b"0"]), &mut elements),
        other => panic!("type {other}"),
    }
    let encoding = encoding_of(&text(&ask(&[b"OBJECT", b"ENCODING", key])), &elements);
    Entry { kind, encoding, expire_at_ms, elements }
}

/// What depends on how a value came about, or on the server's version, has one name.
fn encoding_of(name: &str, elements: &BTreeMap<String, String>) -> String {
    match name {
        "embstr" | "raw" => "text".into(),
        _ if elements.keys().any(|path| path.ends_with(EXPIRES)) => "with fields that expire".into(),
        _ => name.into(),
    }
}

/// Behind the name of a field that expires.
pub const EXPIRES: &str = " expires";

/// Redis 6.2 tells only what is left; all expiries of the tests are at full tens of seconds.
fn expire_time_of_old_server(left: &Reply) -> i64 {
    let Reply::Integer(left @ 0..) = *left else { return -1 };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is after 1970").as_millis() as i64;
    (now + left + 5000) / 10_000 * 10_000
}

fn read_hash(ask: &mut impl FnMut(&[&[u8]]) -> Reply, key: &[u8], elements: &mut BTreeMap<String, String>) {
    let flat = list(ask(&[b"HGETALL", key]));
    let Some(Reply::Bulk(_)) = flat.first() else { panic!("no empty hash: {key:?}") };
    for pair in flat.chunks(2) {
        elements.insert(text(&pair[0]), text(&pair[1]));
    }
    let fields: Vec<&[u8]> = flat.iter().step_by(2).map(bytes).collect();
    let count = fields.len().to_string();
    let question = [&[b"HPEXPIRETIME", key, b"FIELDS", count.as_bytes()], &fields[..]].concat();
    // Servers that do not know the command have no such fields.
    if let Reply::Array(times) = ask(&question) {
        for (field, at) in fields.iter().zip(&times).filter(|(_, at)| **at != Reply::Integer(-1)) {
            elements.insert(format!("{}{EXPIRES}", field.escape_ascii()), text(at));
        }
    }
}

fn bytes(reply: &Reply) -> &[u8] {
    let Reply::Bulk(bytes) = reply else { panic!("a string, not {reply:?}") };
    bytes
}

fn list(reply: Reply) -> Vec<Reply> {
    let Reply::Array(items) = reply else { panic!("an array, not {reply:?}") };
    items
}

fn text(reply: &Reply) -> String {
    match reply {
        Reply::Bulk(bytes) => bytes.escape_ascii().to_string(),
        Reply::Integer(number) => number.to_string(),
        other => format!("{other:?}"),
    }
}

/// Names of XINFO are steps of the path, and so are the indexes of arrays and the names of groups and consumers.
fn flatten(path: &str, reply: &Reply, elements: &mut BTreeMap<String, String>) {
    let Reply::Array(items) = reply else {
        elements.insert(path.to_string(), text(reply));
        return;
    };
    let is_map = items.len().is_multiple_of(2) && matches!(items.first(), Some(Reply::Bulk(name)) if is_name(name));
    if is_map {
        for pair in items.chunks(2) {
            flatten(&format!("{path}/{}", text(&pair[0])), &pair[1], elements);
        }
        return;
    }
    if items.is_empty() {
        elements.insert(path.to_string(), "empty".into());
    }
    for (index, item) in items.iter().enumerate() {
        flatten(&format!("{path}/{index:06}"), item, elements);
    }
}

/// First fields of the maps in XINFO STREAM FULL.
fn is_name(name: &[u8]) -> bool {
    matches!(name, b"length" | b"name")
}

/// How the radix tree of one server looks, and what newer servers add.
const OF_ONE_SERVER: [&str; 2] = ["radix-tree-keys", "radix-tree-nodes"];

/// Every difference, at most a page of them.
pub fn assert_same(found: &Content, expected: &Content, tolerance: Tolerance, what: &str) {
    let mut differences = Vec::new();
    for name in found.keys().filter(|name| !expected.contains_key(name)) {
        differences.push(format!("{name:?} is too much"));
    }
    for (name, expected) in expected {
        match found.get(name) {
            None => differences.push(format!("{name:?} is missing")),
            Some(found) => compare(name, found, expected, tolerance, &mut differences),
        }
    }
    let shown = differences.len().min(40);
    assert!(differences.is_empty(), "{what}: {} differences\n{}", differences.len(), differences[..shown].join("\n"));
    assert!(expected.len() > 200, "{what}: only {} keys", expected.len());
}

fn compare(name: &(i64, String), found: &Entry, expected: &Entry, tolerance: Tolerance, differences: &mut Vec<String>) {
    let mut differ = |what: &str, found: &str, expected: &str| {
        let short = |text: &str| text.chars().take(100).collect::<String>();
        if found != expected {
            differences.push(format!("{name:?} {what}: {}, expected {}", short(found), short(expected)));
        }
    };
    differ("type", &found.kind, &expected.kind);
    differ("expiry", &found.expire_at_ms.to_string(), &expected.expire_at_ms.to_string());
    if !tolerance.encodings_of.contains(&&expected.kind[..]) {
        differ("encoding", &found.encoding, &expected.encoding);
    }
    let is_compared = |path: &String| {
        let step = path.rsplit('/').next().unwrap_or(path);
        expected.kind != "stream" || !OF_ONE_SERVER.contains(&step) && !tolerance.stream_fields.contains(&step)
    };
    let paths = found.elements.keys().chain(expected.elements.keys()).filter(|path| is_compared(path));
    for path in paths.collect::<std::collections::BTreeSet<_>>() {
        let of = |entry: &Entry| entry.elements.get(path).map_or("nothing".to_string(), |value| format!("= {value}"));
        differ(path, &of(found), &of(expected));
    }
}
