//! Imports point only downwards. The order stands in the documentation of `shards/src/lib.rs`, and is read from there.

mod source;

use source::{code_lines, is_test_file, root, rust_files};
use std::collections::BTreeMap;

const ENGINE: &str = "shards/src/";

/// Module to level, from the lines `//! `a`, `b` < `c` …` of lib.rs.
fn levels() -> BTreeMap<String, usize> {
    let text = std::fs::read_to_string(root().join(ENGINE).join("lib.rs")).expect("lib.rs");
    let lines: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("//! ")).collect();
    let begin = lines.iter().position(|line| line.starts_with("Imports point only downwards")).expect("the order is documented");
    let order: Vec<&str> =
        lines[begin + 1..].iter().copied().take_while(|line| line.starts_with('`') || line.starts_with('<')).collect();
    let mut levels = BTreeMap::new();
    for (level, part) in order.join(" ").split('<').enumerate() {
        // Every second piece between backticks is a name.
        for name in part.split('`').skip(1).step_by(2) {
            assert_eq!(levels.insert(name.to_string(), level), None, "{name} stands twice in the order");
        }
    }
    levels
}

fn module_of(file: &str) -> &str {
    let inside = file.strip_prefix(ENGINE).expect("a file of the engine");
    inside.split('/').next().map_or(inside, |first| first.trim_end_matches(".rs"))
}

/// What stands behind each `crate::` of a line: one name, or those of a group in braces.
fn crate_names(line: &str) -> Vec<&str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    line.split("crate::")
        .skip(1)
        .flat_map(|rest| match rest.strip_prefix('{') {
            None => vec![rest.split(|c| !is_name(c)).next().unwrap_or_default()],
            Some(group) => group.split(", ").map(|part| part.split(|c| !is_name(c)).next().unwrap_or_default()).collect(),
        })
        .collect()
}

#[test]
fn modules_of_the_engine_import_only_what_is_below_them() {
    let levels = levels();
    let mut seen = 0;
    for (file, text) in rust_files(ENGINE) {
        let module = module_of(&file).to_string();
        if module == "lib" {
            continue;
        }
        let level = levels.get(&module).unwrap_or_else(|| panic!("{file}: module {module} is not in the order of lib.rs"));
        for (number, line) in code_lines(&text) {
            for name in crate_names(line).into_iter().filter(|name| *name != module) {
                let below = levels.get(name).unwrap_or_else(|| panic!("{file}:{number}: crate::{name} is no module: {line}"));
                assert!(below < level, "{file}:{number}: {module} (level {level}) imports {name} (level {below}): {line}");
                seen += 1;
            }
        }
    }
    assert!(seen > 100, "the test sees the imports: {seen}");
}

#[test]
fn the_engine_has_no_clock_no_sockets_no_threads_and_no_files() {
    let forbidden =
        ["std::net", "std::thread", "std::fs", "SystemTime", "Instant::now", "std::env", "std::process", "RandomState::new"];
    for (file, text) in rust_files(ENGINE).into_iter().filter(|(file, _)| !is_test_file(file)) {
        for (number, line) in code_lines(&text) {
            let found = forbidden.iter().find(|word| line.contains(**word));
            assert_eq!(found, None, "{file}:{number}: {line}");
        }
    }
}

/// Names of the dependencies with a path in a manifest, without those of tests.
fn path_dependencies(manifest: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join(manifest)).expect("Cargo.toml");
    let lines = text.lines().skip_while(|line| *line != "[dependencies]").skip(1).take_while(|line| !line.starts_with('['));
    lines.filter(|line| line.contains("path =")).map(|line| line.split_whitespace().next().expect("a name").to_string()).collect()
}

#[test]
fn the_tool_stands_on_the_engine_and_the_server_on_both() {
    for (manifest, allowed) in [
        ("shards/Cargo.toml", &[][..]),
        ("Cargo.toml", &["shards", "shardis-tool"]),
        ("tools/Cargo.toml", &["shards"]),
        // The harness talks to servers as any client does.
        ("benches/Cargo.toml", &[]),
    ] {
        assert_eq!(path_dependencies(manifest), allowed, "{manifest}");
    }
}

#[test]
fn the_server_takes_nothing_from_the_tool_but_its_disk() {
    let text = std::fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml");
    let dependency = text.lines().find(|line| line.starts_with("shardis-tool =")).expect("a dependency");
    assert!(dependency.contains("default-features = false"), "clap and indicatif would come along: {dependency}");
    let mut seen = 0;
    for (file, text) in rust_files("src") {
        for (number, line) in code_lines(&text).filter(|(_, line)| line.contains("shardis_tool")) {
            assert_eq!(
                line.matches("shardis_tool").count(),
                line.matches("shardis_tool::disk::").count(),
                "{file}:{number}: {line}"
            );
            seen += 1;
        }
    }
    assert!(seen > 0, "the test sees the imports");
}

#[test]
fn the_server_owns_no_file_format() {
    let forbidden = [
        "b\"REDIS",
        "SHARDLOG",
        "rdb::format",
        "rdb::writer",
        "log::format::",
        "crc64fast",
        "crc_fast",
        "push_transaction",
        "encode_segment_header",
    ];
    for (file, text) in rust_files("src").into_iter().filter(|(file, _)| !is_test_file(file)) {
        for (number, line) in code_lines(&text) {
            let found = forbidden.iter().find(|word| line.contains(**word));
            assert_eq!(found, None, "{file}:{number}: {line}");
        }
    }
}
