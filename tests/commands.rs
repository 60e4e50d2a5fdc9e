//! docs/commands.md says of every command of Redis 7.2 whether it is here and what differs. Whether the table has a command is checked;
//! what differs is written by hand, from what the differential tests tolerate.
//!
//! `SHARDIS_UPDATE_README=1 cargo test --test commands` adds lines for commands that have none, and puts all into their order.

use shards::commands;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const UPDATE: &str = "SHARDIS_UPDATE_README";
const TABLES: &str = "<!-- commands: generated, but for the second column -->\n";
/// Commands of the table that Redis 7.2 has not.
const OTHERS: &str = "not of Redis 7.2";

type Rows = BTreeMap<(String, String), String>;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every command and sub-command of Redis 7.2 with its group, as in `COMMAND DOCS`.
fn of_redis() -> Vec<(String, String)> {
    let golden = read("tests/data/commands-7.2.txt");
    golden
        .lines()
        .map(|line| line.split_once(' ').expect("group and name"))
        .map(|(group, name)| (group.into(), name.into()))
        .collect()
}

fn of_the_table() -> BTreeSet<&'static str> {
    commands::all().flat_map(|command| std::iter::once(command).chain(command.subcommands)).map(|command| command.name).collect()
}

fn shown(name: &str) -> String {
    name.to_uppercase().replace('|', " ")
}

/// The lines that the document must have, by group: Redis's commands, and what is here beyond them.
fn expected() -> BTreeMap<(String, String), bool> {
    let here = of_the_table();
    let redis = of_redis();
    let known: BTreeSet<&str> = redis.iter().map(|(_, name)| name.as_str()).collect();
    let others = here.iter().filter(|name| !known.contains(*name)).map(|name| ((OTHERS.to_string(), shown(name)), true));
    redis.iter().map(|(group, name)| ((group.clone(), shown(name)), here.contains(name.as_str()))).chain(others).collect()
}

/// What the document's tables say: group and command to the second column.
fn parse(tables: &str) -> Rows {
    let mut group = "";
    let mut rows = Rows::new();
    for line in tables.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            group = title;
        } else if let Some((name, note)) = line.strip_prefix("| `").and_then(|line| line.split_once("` | ")) {
            let note = note.strip_suffix(" |").unwrap_or_else(|| panic!("the line is not closed: {line}"));
            let before = rows.insert((group.into(), name.into()), note.into());
            assert!(before.is_none(), "{name} stands twice in {group}");
        }
    }
    rows
}

fn render(rows: &Rows) -> String {
    let (mut text, mut group) = (String::new(), "");
    for ((of, name), note) in rows {
        if of != group {
            group = of;
            text += &format!("\n## {group}\n\n| command | here |\n|---|---|\n");
        }
        text += &format!("| `{name}` | {note} |\n");
    }
    text
}

/// What is wrong with a line of a command that is here or is not.
fn objection(group: &str, note: &str, is_here: bool) -> Option<&'static str> {
    let (word, why) = note.split_once(": ").unwrap_or((note, ""));
    match (word, is_here) {
        ("same" | "differs", false) => Some("the table has no such command"),
        ("missing", true) => Some("the table has this command"),
        ("same", true) if why.is_empty() => None,
        ("same", true) => Some("what is the same needs no reason"),
        ("differs", true) | ("missing", false) if !why.is_empty() => None,
        ("differs", true) | ("missing", false) => Some("a reason is needed"),
        _ if group == OTHERS && !note.is_empty() => None,
        _ => Some("a line begins with same, differs or missing"),
    }
}

#[test]
fn every_command_of_redis_7_2_has_a_true_line() {
    let document = read("docs/commands.md");
    let (introduction, tables) = document.split_once(TABLES).expect("the document has the mark of its tables");
    let (expected, mut rows) = (expected(), parse(tables));
    if std::env::var_os(UPDATE).is_some() {
        rows.retain(|row, _| expected.contains_key(row));
        for (row, is_here) in &expected {
            rows.entry(row.clone()).or_insert_with(|| if *is_here { "same" } else { "missing: to be said" }.into());
        }
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/commands.md");
        std::fs::write(path, format!("{introduction}{TABLES}{}", render(&rows))).expect("writable");
    } else {
        assert!(rows.keys().eq(expected.keys()), "{}", differences(&rows, &expected));
        assert_eq!(tables, render(&rows), "the order of lines is another; {UPDATE}=1 cargo test --test commands puts it right");
    }
    let objections: Vec<String> = rows
        .iter()
        .filter_map(|(row, note)| Some(format!("{}: {note}: {}", row.1, objection(&row.0, note, expected[row])?)))
        .collect();
    assert!(objections.is_empty(), "docs/commands.md:\n{}", objections.join("\n"));
}

fn differences(rows: &Rows, expected: &BTreeMap<(String, String), bool>) -> String {
    let absent = expected.keys().filter(|row| !rows.contains_key(*row)).map(|(_, name)| format!("no line for {name}"));
    let unknown =
        rows.keys().filter(|row| !expected.contains_key(*row)).map(|(group, name)| format!("what is {name} in {group}?"));
    format!("docs/commands.md: {}; {UPDATE}=1 adds and removes lines", absent.chain(unknown).collect::<Vec<_>>().join(", "))
}

#[test]
fn lines_that_say_what_is_not_so_are_refused() {
    for (note, is_here, fine) in [
        ("same", true, true),
        ("same", false, false),
        ("same: because", true, false),
        ("differs: why", true, true),
        ("differs", true, false),
        ("differs: why", false, false),
        ("missing: why", false, true),
        ("missing: ", false, false),
        ("missing", false, false),
        ("missing: why", true, false),
        ("", true, false),
        ("of Redis 7.4", true, false),
    ] {
        assert_eq!(objection("string", note, is_here).is_none(), fine, "{note:?} of a command that is here: {is_here}");
    }
    assert_eq!(objection(OTHERS, "of Redis 7.4", true), None);
}
