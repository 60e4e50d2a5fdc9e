//! The tree as text, for the tests that read it.

use std::path::Path;

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below a directory of the repository: its path relative to the repository, and its text.
pub fn rust_files(dir: &str) -> Vec<(String, String)> {
    let mut files = Vec::new();
    collect(&root().join(dir), &mut files);
    assert!(!files.is_empty(), "{dir} holds Rust files");
    files.sort();
    files
}

fn collect(dir: &Path, files: &mut Vec<(String, String)>) {
    let paths = std::fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    for path in paths.map(|entry| entry.expect("readable").path()) {
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push((name_of(&path), std::fs::read_to_string(&path).expect("UTF-8")));
        }
    }
}

fn name_of(path: &Path) -> String {
    path.strip_prefix(root()).expect("below the root").display().to_string()
}

/// A file that holds tests only.
pub fn is_test_file(name: &str) -> bool {
    name.ends_with("tests.rs") || name.contains("/tests/")
}

/// Lines with their numbers, without comments and without a test module at the end of the file.
pub fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let tests = text.find("\n#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    let lines = text[..tests].lines().enumerate();
    lines.filter(|(_, line)| !line.trim_start().starts_with("//")).map(|(index, line)| (index + 1, line))
}
