//! COMMAND DOCS against that of Valkey 8, which says what Redis 7.2 says: the arguments of every command that we have.

use crate::harness::{Client, Dir, Redis, Reply, Server};
use std::collections::BTreeMap;

/// Command, a part of its arguments there, the same part here, why. Arguments that came with Valkey 8 are left out before.
const EXCEPTIONS: [(&str, &str, &str, &str); 4] = [
    (
        "bgsave",
        "operation:oneof(SCHEDULE schedule:pure-token=schedule)",
        "SCHEDULE schedule:pure-token=schedule",
        "alone without Valkey's CANCEL",
    ),
    ("client|kill", "client-id{optional multiple}", "client-id{optional}", "Redis 7.2 takes one after each ID"),
    (
        "client|kill",
        "no:pure-token=no){optional}",
        "no:pure-token=no){optional} | MAXAGE maxage:integer=maxage{optional}",
        "of Redis 7.4",
    ),
    ("zscan", " NOSCORES noscores:pure-token=noscores{optional}", "", "of Valkey 8"),
];

/// Commands that only we have, and those of Redis 7.4 and 8.0 on the expiry of fields.
const OWN: [&str; 13] = [
    "export",
    "hexpire",
    "hgetdel",
    "hgetex",
    "hsetex",
    "hexpireat",
    "hexpiretime",
    "hpersist",
    "hpexpire",
    "hpexpireat",
    "hpexpiretime",
    "hpttl",
    "httl",
];

/// Full name of each command and sub-command to its arguments as text.
fn arguments_of_all(client: &mut Client) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    collect(&client.call("command docs"), &mut found);
    found
}

fn collect(docs: &Reply, found: &mut BTreeMap<String, String>) {
    for (name, doc) in fields(docs) {
        let doc: BTreeMap<_, _> = fields(doc).collect();
        found.insert(name, doc.get("arguments").map_or(String::new(), |arguments| shown_list(arguments, " ")));
        if let Some(subcommands) = doc.get("subcommands") {
            collect(subcommands, found);
        }
    }
}

fn fields(map: &Reply) -> impl Iterator<Item = (String, &Reply)> {
    list(map).chunks(2).map(|pair| (text(&pair[0]), &pair[1]))
}

fn list(reply: &Reply) -> &[Reply] {
    let Reply::Array(elements) = reply else { panic!("no array: {reply:?}") };
    elements
}

fn text(reply: &Reply) -> String {
    match reply {
        Reply::Bulk(bytes) => String::from_utf8(bytes.clone()).expect("text"),
        Reply::Simple(text) => text.clone(),
        Reply::Integer(number) => number.to_string(),
        other => panic!("no text: {other:?}"),
    }
}

fn shown_list(arguments: &Reply, between: &str) -> String {
    list(arguments).iter().filter_map(shown).collect::<Vec<_>>().join(between)
}

/// `TOKEN name:type=display text#key specification(arguments){flags}`; None: an argument of Valkey 8.
fn shown(argument: &Reply) -> Option<String> {
    let mut known: BTreeMap<String, &Reply> = fields(argument).collect();
    let mut take = |field: &str| known.remove(field);
    if take("since").is_some_and(|since| text(since).starts_with('8')) {
        return None;
    }
    let (name, kind) = (text(take("name")?), text(take("type")?));
    let mut line = take("token").map_or(String::new(), |token| text(token) + " ");
    line += &format!("{name}:{kind}");
    line += &take("display_text").map_or(String::new(), |display| format!("={}", text(display)));
    line += &take("key_spec_index").map_or(String::new(), |index| format!("#{}", text(index)));
    let between = if kind == "oneof" { " | " } else { " " };
    line += &take("arguments").map_or(String::new(), |inner| format!("({})", shown_list(inner, between)));
    let flags = take("flags").map_or(Vec::new(), |flags| list(flags).iter().map(text).collect());
    line += &if flags.is_empty() { String::new() } else { format!("{{{}}}", flags.join(" ")) };
    take("deprecated_since");
    assert!(known.is_empty(), "{name} has fields that the test does not compare: {known:?}");
    Some(line)
}

/// Group, name and the version that it came with, of a command and its sub-commands.
fn collect_names(docs: &Reply, found: &mut Vec<(String, String, String)>) {
    for (name, doc) in fields(docs) {
        let doc: BTreeMap<_, _> = fields(doc).collect();
        found.push((text(doc["group"]), name, text(doc["since"])));
        if let Some(subcommands) = doc.get("subcommands") {
            collect_names(subcommands, found);
        }
    }
}

#[test]
fn the_kept_list_of_commands_is_that_of_redis_7_2() {
    let dir = Dir::new();
    let there = Redis::start_peer("valkey-server-8", dir.path(), &["--save", ""]);
    let mut found = Vec::new();
    collect_names(&there.client().call("command docs"), &mut found);
    let of_7_2 = found.iter().filter(|(.., since)| !since.starts_with('8'));
    let mut lines: Vec<String> = of_7_2.map(|(group, name, _)| format!("{group} {name}")).collect();
    lines.sort();
    let kept: Vec<&str> = include_str!("../data/commands-7.2.txt").lines().collect();
    assert_eq!(lines, kept);
}

#[test]
fn arguments_are_described_as_by_redis_7_2() {
    let dir = Dir::new();
    let ours = arguments_of_all(&mut Server::start(&dir, &[]).client());
    let there = Redis::start_peer("valkey-server-8", dir.path(), &["--save", ""]);
    let theirs = arguments_of_all(&mut there.client());
    let mut differences = Vec::new();
    for (name, here) in ours.iter().filter(|(name, _)| !OWN.contains(&name.as_str())) {
        let mut there = theirs.get(name).map_or("no such command".to_string(), String::clone);
        for (_, part, instead, _) in EXCEPTIONS.iter().filter(|(of, ..)| of == name) {
            assert!(there.contains(part), "an exception that is none: {name} has no {part} in {there}");
            there = there.replace(part, instead);
        }
        if there != *here {
            differences.push(format!("{name}\n  there {there}\n  here  {here}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert!(EXCEPTIONS.iter().all(|(name, ..)| ours.contains_key(*name)), "an exception names no command of ours");
    assert!(ours["set"].starts_with("key:key=key#0 value:string=value"), "{}", ours["set"]);
}
