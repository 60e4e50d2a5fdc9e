//! README and the other documents say what is so: links exist, and the lists are those of the program.
//!
//! `SHARDIS_UPDATE_README=1 cargo test --test readme` writes the generated lists anew.

use shards::commands::{self, Command};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const UPDATE: &str = "SHARDIS_UPDATE_README";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Compares what stands between two markers of README.md, or replaces it.
fn check_block(name: &str, expected: &str) {
    let path = root().join("README.md");
    let text = read(&path);
    let (begin, end) = (format!("<!-- {name}: generated -->\n"), format!("<!-- {name}: end -->"));
    let from = text.find(&begin).unwrap_or_else(|| panic!("README.md has no {begin}")) + begin.len();
    let to = from + text[from..].find(&end).unwrap_or_else(|| panic!("README.md has no {end}"));
    if text[from..to] == *expected {
        return;
    }
    if std::env::var_os(UPDATE).is_none() {
        panic!("the list of {name} in README.md is not that of the program; {UPDATE}=1 cargo test --test readme writes it anew");
    }
    // Another test may be replacing the other list: read again, as late as possible.
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let text = read(&path);
    let from = text.find(&begin).expect("just seen") + begin.len();
    let to = from + text[from..].find(&end).expect("just seen");
    std::fs::write(&path, format!("{}{expected}{}", &text[..from], &text[to..])).expect("writable");
}

static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());

#[test]
fn the_command_list_is_that_of_the_table() {
    let mut groups: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for command in commands::all() {
        let names = groups.entry(command.group).or_default();
        let shown = |command: &Command| command.name.to_uppercase().replace('|', " ");
        match command.subcommands {
            [] => names.push(shown(command)),
            subcommands => names.extend(subcommands.iter().map(shown)),
        }
    }
    let mut text = String::from("\n| group | commands |\n|---|---|\n");
    for (group, mut names) in groups {
        names.sort();
        text += &format!("| {group} | `{}` |\n", names.join("` `"));
    }
    check_block("commands", &format!("{text}\n"));
}

#[test]
fn the_option_table_is_that_of_the_help() {
    let output =
        std::process::Command::new(env!("CARGO_BIN_EXE_shardis-server")).arg("--help").output().expect("the server runs");
    let help = String::from_utf8(output.stdout).expect("UTF-8");
    let directives = help.split("Directives:\n").nth(1).expect("--help lists directives").split("\n\n").next().expect("a list");
    let mut text = String::from("\n| directive | values | default | meaning |\n|---|---|---|---|\n");
    let mut rows = 0;
    let mut lines = directives.lines().map(str::trim);
    while let Some(line) = lines.next() {
        let (name, values) = line.trim_start_matches('-').split_once(' ').unwrap_or((line, ""));
        let about = lines.next().expect("the meaning stands below the name");
        let (meaning, default) = about.split_once(" [default: ").unwrap_or((about, "]"));
        let default = default.trim_end_matches(']');
        let default = if default.is_empty() { String::new() } else { format!("`{default}`") };
        let values = values.trim_matches(['<', '>']).replace('|', "\\|");
        text += &format!("| `{name}` | {values} | {default} | {} |\n", meaning.replace('|', "\\|"));
        rows += 1;
    }
    assert!(rows > 20, "the help lists the directives: {rows}");
    check_block("options", &format!("{text}\n"));
}

/// README and every page of docs/.
fn documents() -> Vec<PathBuf> {
    let docs = std::fs::read_dir(root().join("docs")).expect("docs/");
    let pages = docs.map(|entry| entry.expect("readable").path()).filter(|path| path.extension().is_some_and(|e| e == "md"));
    pages.chain([root().join("README.md"), root().join("CHANGELOG.md")]).collect()
}

#[test]
fn relative_links_lead_somewhere() {
    let mut seen = 0;
    for page in documents() {
        for link in read(&page).split("](").skip(1).map(|rest| rest.split(')').next().unwrap_or_default()) {
            let target = link.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            let path = page.parent().expect("a page lies in a directory").join(target);
            assert!(path.exists(), "{}: the link {link} leads nowhere", page.display());
            seen += 1;
        }
    }
    assert!(seen > 10, "the test sees the links: {seen}");
}

/// Paths like `shards/src/shard/submit.rs` in the text of the documents.
#[test]
fn files_that_documents_name_exist() {
    for page in documents() {
        for word in read(&page).split(['`', '(', ')', ' ', '\n', ',', ';']) {
            let is_path = ["shards/src/", "src/", "tools/", "tests/", "benches/"].iter().any(|dir| word.starts_with(dir));
            if is_path && (word.ends_with(".rs") || word.ends_with('/')) {
                assert!(root().join(word).exists(), "{}: {word} does not exist", page.display());
            }
        }
    }
}
